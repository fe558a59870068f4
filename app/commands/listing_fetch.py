"""``hanse listing fetch``: the sealed files of a Release, from whoever has them.

* Where a Hanse runs on the folder it fetches, and ``--wait`` looks on; Ctrl-C ends the looking on.
* Without one the network runs for as long as the command; Ctrl-C leaves a transfer that goes on.
* Offline the wish is kept, and fulfilled when the network runs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.commands.peer_shown import error_of, how_far
from hanse.app.commands.transfer import moving_now
from hanse.app.progress import long_work
from hanse.core.errors import EXIT_NO, HanseError
from hanse.core.model.control import Cancelled
from hanse.core.model.network import TransferState
from hanse.core.model.transfer import PRIORITY_ASKED

if TYPE_CHECKING:
    from hanse.app.desk import Desk
    from hanse.app.progress import Progress
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.ports import Peers
    from hanse.core.model.network import TransferView

_LOOK_SECONDS: Final = 0.2
_UNDER_WAY: Final = frozenset(
    {TransferState.QUEUED, TransferState.SEARCHING, TransferState.RUNNING}
)


class NotFetched(HanseError):
    """A transfer ended without the files, or was paused."""

    code = "transfer.not_fetched"
    text = "transfer {number} is {state}"
    fields = ("number", "state")
    exit_code = EXIT_NO


def fetch(desk: Desk, *, release: str, wait: bool, priority: int | None) -> Answer:
    """Ask for the files of a Release, and show how far they are."""
    wish = PRIORITY_ASKED if priority is None else priority
    is_off = desk.hanse.settings.is_offline
    if desk.runtime is not None or is_off:
        with desk.writing() as engine:
            view = _asked(engine, release, wish)
            network = None if desk.runtime is None else desk.runtime.peers
            if network is None:
                return _queued(desk, view, "transfer.fetched_later")
            network.fetch(view.release)
            if not wait:
                return _queued(desk, view, "transfer.fetching")
            return _watched(desk, engine, view)
    with desk.online() as (engine, network):
        view = _asked(engine, release, wish)
        network.fetch(view.release)
        return _watched(desk, engine, view, network)


def _asked(engine: Engine, text: str, priority: int) -> TransferView:
    release, _ = engine.catalogue.base_named(text)
    return engine.fetching.ask(release, priority=priority)


def _queued(desk: Desk, view: TransferView, said: str) -> Answer:
    if view.state is TransferState.DONE:
        return Answer(view, [desk.say("transfer.done", title=_title(view))])
    return Answer(view, [desk.say(said, number=view.transfer, title=_title(view))])


def _watched(
    desk: Desk, engine: Engine, view: TransferView, network: Peers | None = None
) -> Answer:
    """Show how far it is until it has ended, or Ctrl-C."""
    shown = [view]
    with long_work(desk, lambda *_: _line(desk, shown[-1])) as progress:
        try:
            view = _ended(desk, engine, shown, progress, network)
        except Cancelled as error:
            view = engine.fetching.view(view.release)
            said = "transfer.goes_on" if desk.runtime is not None else "transfer.left"
            line = desk.say(said, number=view.transfer, progress=how_far(desk, view))
            return Answer(view, [line], error)
    if view.state is TransferState.DONE:
        return Answer(view, [desk.say("transfer.done", title=_title(view))])
    state = desk.say(f"word.transfer.{view.state.value}")
    lines = [line] if (line := error_of(desk, view)) else []
    return Answer(view, lines, NotFetched(number=view.transfer, state=state))


def _ended(
    desk: Desk,
    engine: Engine,
    shown: list[TransferView],
    progress: Progress,
    network: Peers | None,
) -> TransferView:
    release = shown[-1].release
    while (view := engine.fetching.view(release)).state in _UNDER_WAY:
        live = network.transfers() if network is not None else moving_now(desk, engine)
        shown.append(next((one for one in live if one.release == release), view))
        del shown[:-1]
        progress.control.checkpoint("fetch", view.done_bytes, view.total_bytes)
        time.sleep(_LOOK_SECONDS)
    return view


def _line(desk: Desk, view: TransferView) -> str:
    return desk.say(
        "transfer.line",
        state=desk.say(f"word.transfer.{view.state.value}"),
        progress=how_far(desk, view),
        rate_bytes=view.rate,
        seeders=view.seeders,
    )


def _title(view: TransferView) -> str:
    return view.title or view.release.hex()
