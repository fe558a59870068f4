"""``hanse transfer``: Releases on their way here: look at them, pause, go on, end, put in order.

* A transfer is named by its number or by the first digits of its Release.
* What has come stays until the transfer is cancelled; it goes on whenever the network runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.commands.peer_shown import how_far, transfer_lines
from hanse.core.errors import WrongUse
from hanse.core.model.network import TransferState

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.model.network import TransferView

_ENDED: Final = frozenset({TransferState.DONE, TransferState.CANCELLED})
_NUMBER_DIGITS: Final = 7  # one less than the digits of an id that are enough


class NoTransfer(WrongUse):
    """No transfer has this number, or is of a Release that begins so."""

    code = "transfer.none_named"
    text = "no transfer is named {found}"
    fields = ("found",)


class SeveralTransfers(WrongUse):
    """Several transfers are of a Release that begins so."""

    code = "transfer.several_named"
    text = "{count} transfers begin with {found}"
    fields = ("found", "count")


def show_list(desk: Desk, *, all: bool) -> Answer:  # noqa: A002 - named as the option
    """List transfers, those that have ended with ``--all``."""
    with desk.reading() as engine:
        found = [one for one in moving_now(desk, engine) if all or one.state not in _ENDED]
    if not found:
        return Answer(found, [desk.say("transfer.none")])
    return Answer(found, transfer_lines(desk, found))


def pause(desk: Desk, *, transfer: str) -> Answer:
    """Let a transfer wait."""
    return _steered(desk, transfer, lambda engine, release: engine.fetching.pause(release))


def resume(desk: Desk, *, transfer: str) -> Answer:
    """Let a transfer go on that waits, failed or was cancelled."""
    return _steered(desk, transfer, lambda engine, release: engine.fetching.go_on(release))


def cancel(desk: Desk, *, transfer: str) -> Answer:
    """End a transfer and drop what came of it."""
    return _steered(desk, transfer, lambda engine, release: engine.fetching.cancel(release))


def priority(desk: Desk, *, transfer: str, number: int) -> Answer:
    """Put a transfer before or behind others: 0 is first."""
    return _steered(
        desk, transfer, lambda engine, release: engine.fetching.set_priority(release, number)
    )


def moving_now(desk: Desk, engine: Engine) -> list[TransferView]:
    """Return all transfers, with their rates where the network runs."""
    network = None if desk.runtime is None else desk.runtime.peers
    live = {} if network is None else {one.release: one for one in network.transfers()}
    return [live.get(one.release, one) for one in engine.fetching.views()]


def _steered(desk: Desk, text: str, act: Callable[[Engine, bytes], TransferView]) -> Answer:
    with desk.writing() as engine:
        view = act(engine, _named(engine, text).release)
        if desk.runtime is not None and desk.runtime.peers is not None:
            desk.runtime.peers.fetch(view.release)
    state = desk.say(f"word.transfer.{view.state.value}")
    said = desk.say(
        "transfer.is_now", number=view.transfer, state=state, progress=how_far(desk, view)
    )
    return Answer(view, [said])


def _named(engine: Engine, text: str) -> TransferView:
    """Find a transfer by its number, or by the first digits of its Release."""
    typed = text.strip().lower()
    views = engine.fetching.views()
    if typed.isascii() and typed.isdigit() and len(typed) <= _NUMBER_DIGITS:
        found = [one for one in views if one.transfer == int(typed)]
    else:
        found = [one for one in views if typed and one.release.hex().startswith(typed)]
    if not found:
        raise NoTransfer(found=text)
    if len(found) > 1:
        raise SeveralTransfers(found=text, count=len(found))
    return found[0]
