"""``hanse node``: an open Account with its network and no window, until it is told to end.

* It unlocks first: whoever cannot give the passphrase finds out before anything listens.
* Until SIGTERM or SIGINT it prints what happens, one line each: a sentence where a person cares, or
  with ``--events`` one JSON object ``{"word": ..., "time_ms": ..., ...}``; the words are stable.
* Who does not read the lines loses the oldest; the node goes on.
* The first signal ends it in good order, with exit code 0; a second one does not wait.

What runs meanwhile is ``hanse.app.runtime``'s.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer, plain
from hanse.app.commands.showing import SHORT_CHARACTERS
from hanse.app.runtime import Runtime
from hanse.core.errors import EnvironmentFault
from hanse.core.limits import NODE_EVENTS_WAITING_MAX
from hanse.core.model.network import NetworkEvent
from hanse.core.sentences import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    from hanse.app.desk import Desk
    from hanse.core.clock import Clock
    from hanse.core.model.network import NetworkSettings

_IDS: Final = frozenset({"device", "peer", "author", "trial"})
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP")


class NodeStuck(EnvironmentFault):
    """Something did not end in time when the node was told to."""

    code = "node.stuck"
    text = "something of the node did not end in time"


class Told(BaseException):
    """A signal says to end; raised on the main thread wherever it waits."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, and when it was told."""

    event: NetworkEvent
    time_ms: int


class Events:
    """What happened and was not printed yet: at most so many, the oldest goes first."""

    def __init__(self, clock: Clock) -> None:
        """Hold nothing."""
        self._clock = clock
        self._waiting: queue.Queue[Happened] = queue.Queue(NODE_EVENTS_WAITING_MAX)
        self._lock = threading.Lock()
        self.dropped = 0

    def put(self, event: NetworkEvent) -> None:
        """Add one; never waits."""
        happened = Happened(event, self._clock.now_ms())
        with self._lock:
            while True:
                try:
                    self._waiting.put_nowait(happened)
                except queue.Full:
                    with contextlib.suppress(queue.Empty):
                        self._waiting.get_nowait()
                        self.dropped += 1
                else:
                    return

    def take(self) -> Happened:
        """Wait for the next one."""
        return self._waiting.get()

    def rest(self) -> Iterator[Happened]:
        """Take those that are there."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._waiting.get_nowait()


def run_node(
    desk: Desk,
    *,
    is_events: bool,
    port: int | None,
    listen: Sequence[str],
) -> Answer:
    """Run a node until a signal; raises what keeps it from starting."""
    hanse = desk.hanse
    events = Events(hanse.clock)
    settings = _as_typed(hanse.settings.network, port, listen)
    printer = _Printer(desk, is_events=is_events)
    is_started, is_ended = False, True
    with _told_by_signals():
        runtime: Runtime | None = None
        try:
            runtime = Runtime(hanse, settings=settings, on_event=events.put)
            _start(desk, runtime)
            is_started = True
            while True:
                printer.show(events.take())
        except Told:
            if not is_started:
                raise KeyboardInterrupt from None
        finally:
            _end_at_once_by_signals()
            if runtime is not None:
                is_ended = runtime.stop()
        events.put(NetworkEvent("stopped", {"dropped": events.dropped}))
        for happened in events.rest():
            printer.show(happened)
    return Answer({"is_ended": is_ended}, (), None if is_ended else NodeStuck())


def _start(desk: Desk, runtime: Runtime) -> None:
    """Unlock, go online unless switched off, and hold the folder for others."""
    runtime.unlock(desk.passphrase())
    if runtime.fault is not None:
        raise runtime.fault
    runtime.hold()
    context = runtime.engine.context
    network = runtime.health()["network"]
    runtime.tell(
        "started",
        name=context.public.name,
        identity=context.identity,
        device=context.device,
        folder=context.home.folder,
        role="mirror" if context.unlocked().is_mirror else "full",
        is_offline=runtime.is_offline,
        addresses=network.get("addresses", ()) if isinstance(network, dict) else (),
    )


def _as_typed(
    settings: NetworkSettings, port: int | None, listen: Sequence[str]
) -> NetworkSettings:
    if port is not None:
        settings = replace(settings, port=port, listen=())
    if listen:
        settings = replace(settings, listen=tuple(listen))
    return replace(settings, is_node=True)


class _Printer:
    """Shows events: lines of JSON, or sentences."""

    def __init__(self, desk: Desk, *, is_events: bool) -> None:
        self._desk = desk
        self._is_events = is_events

    def show(self, happened: Happened) -> None:
        """Print one line."""
        event = happened.event
        if self._is_events:
            values = {str(name): plain(value, str(name)) for name, value in event.values.items()}
            line = {"word": event.word, "time_ms": happened.time_ms, **values}
            self._desk.console.out(json.dumps(line))
        elif not self._desk.is_json and (said := self._sentence(event)):
            self._desk.console.out(said)

    def _sentence(self, event: NetworkEvent) -> str:
        """Say it; nothing of what only programs care for."""
        code = f"word.event.{event.word}"
        if code not in catalogue(self._desk.language):
            return ""
        values = dict(event.values)
        if isinstance(fault := values.pop("code", None), str):
            values["sentence"] = self._fault(fault, values.pop("values", {}))
        for name in _IDS & values.keys():
            values[name] = str(plain(values[name], name))[:SHORT_CHARACTERS]
        return self._desk.say(code, **values)

    def _fault(self, code: str, values: object) -> str:
        named: Mapping[str, object] = values if isinstance(values, dict) else {}
        return self._desk.say(code, **named)


@contextlib.contextmanager
def _told_by_signals() -> Iterator[None]:
    """Raise ``Told`` on this, the main thread, at the first signal to end."""

    def tell(_number: int, _frame: FrameType | None) -> None:
        raise Told

    before = {number: signal.signal(number, tell) for number in _numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once_by_signals() -> None:
    """Let a second signal end the process at once, which loses nothing that was stored."""
    for number in _numbers():
        signal.signal(number, signal.SIG_DFL)


def _numbers() -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in _SIGNALS if hasattr(signal, name))
