"""Runs sync sessions on streams that can break, with an engine call or a portion of bytes a step.

* A ``Stream`` is reliable and in order as long as it lasts; when it breaks, what is in flight may
  be cut at any byte and the rest is gone.
* A ``Session`` does what ``hanse.network.services.sync_session`` does, in steps that somebody
  else chooses: reading, telling and taking go on side by side, each in its order; what an engine
  call came to is given to the exchange in a later step, and the world may end in between.
* Nothing here knows a clock, a thread or chance of its own.
"""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING

from hanse.network.wire.sync import Phase
from hanse.network.wire.sync_actions import (
    Blame,
    Close,
    Ending,
    Send,
    Take,
    TellingAction,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hanse.core.model.ids import AuthorKey
    from hanse.network.wire.sync import SyncExchange, Waiting
    from hanse.network.wire.sync_actions import Action, Misdeed

# What a muxer lets a writer have in flight before it has to wait.
WINDOW_BYTES = 256 * 1024
UNANSWERED = object()


@dataclass
class Pipe:
    """One direction of a stream."""

    data: bytearray = field(default_factory=bytearray)
    is_closed: bool = False  # nothing comes behind what is in flight

    @property
    def has_something(self) -> bool:
        return bool(self.data) or self.is_closed


class Stream:
    """Two pipes between a dialler and whom it dialled."""

    def __init__(self, dialler: AuthorKey, dialled: AuthorKey) -> None:
        self.dialler = dialler
        self.dialled = dialled
        self.pipes = (Pipe(), Pipe())
        self.is_accepted = False

    def joins(self, device: AuthorKey) -> bool:
        return device in {self.dialler, self.dialled}

    def break_off(self, keep: Callable[[int], int]) -> None:
        """Lose what is in flight but the first ``keep(size)`` bytes each way, and end."""
        for pipe in self.pipes:
            del pipe.data[keep(len(pipe.data)) :]
            pipe.is_closed = True

    @property
    def in_flight_bytes(self) -> int:
        return sum(len(pipe.data) for pipe in self.pipes)


@dataclass
class Checking:
    """A batch, and what became of it once its signatures were checked."""

    action: Take
    batch: object = None


class Party:
    """Whoever has sessions: it does what their exchanges ask for.  See ``world``."""

    device: AuthorKey

    def do(self, session: Session, action: Action) -> object:
        """Do an action; return its result, or ``UNANSWERED`` where none is wanted."""
        raise NotImplementedError

    def check(self, session: Session, take: Take) -> object:
        """Check a batch."""
        raise NotImplementedError

    def take(self, session: Session, take: Take, batch: object) -> object:
        """Take a checked batch."""
        raise NotImplementedError

    def supplied(self, session: Session, action: Action, result: object) -> None:
        """Note what an action came to, after the exchange was told."""

    def sent(self, session: Session, frame: bytes) -> None:
        """Note a frame that leaves."""

    def blame(self, session: Session, misdeed: Misdeed) -> None:
        """Hold something against the other side."""

    def over(self, session: Session) -> None:
        """Note that a session has ended; its ``end`` says why."""


class Session:
    """One end of a stream, with its exchange."""

    def __init__(
        self, party: Party, stream: Stream, exchange: SyncExchange, *, is_dialler: bool
    ) -> None:
        self.party = party
        self.stream = stream
        self.exchange = exchange
        self.is_dialler = is_dialler
        self.device = stream.dialled if is_dialler else stream.dialler
        self.telling: deque[TellingAction] = deque()
        self.taking: deque[Action | Checking] = deque()
        self._told: tuple[Action, object] | None = None  # done, and the exchange does not know
        self._took: tuple[Action, object] | None = None
        self.waited: tuple[Waiting, int] | None = None
        self.end: Close | None = None
        self.is_over = False
        self.step(exchange.start)

    @property
    def _in(self) -> Pipe:
        return self.stream.pipes[1 if self.is_dialler else 0]

    @property
    def out(self) -> Pipe:
        return self.stream.pipes[0 if self.is_dialler else 1]

    @property
    def is_settled(self) -> bool:
        return self.exchange.is_settled and not self.taking

    def step(self, act: Callable[[], tuple[Action, ...]]) -> None:
        """Let the exchange do something, and queue what it asks for."""
        for action in act():
            if isinstance(action, TellingAction):
                self.telling.append(action)
                if isinstance(action, Close):
                    self.end = action
            else:
                self.taking.append(Checking(action) if isinstance(action, Take) else action)

    # --- what can be done next ------------------------------------------------------------------

    def possible(self) -> Iterable[Callable[[Callable[[int], int]], None]]:
        """Yield each step that can be done now; it wants to know how much of a number to do."""
        if self.is_over:
            return
        if self.end is None and self._in.has_something:
            yield self._read
        if self._told is not None or (self.telling and self._may_tell()):
            yield self._tell
        if self.end is None:
            if self._took is not None or (self.taking and self._may_take()):
                yield self._take
            if any(isinstance(it, Checking) and it.batch is None for it in self.taking):
                yield self._check

    def _may_tell(self) -> bool:
        is_send = isinstance(self.telling[0], Send)
        return not is_send or len(self.out.data) < WINDOW_BYTES or self.out.is_closed

    def _may_take(self) -> bool:
        first = self.taking[0]
        return not isinstance(first, Checking) or first.batch is not None

    def _read(self, portion: Callable[[int], int]) -> None:
        pipe = self._in
        if not pipe.data:
            self.step(self.exchange.ended)
            return
        size = max(1, portion(len(pipe.data)))
        data = bytes(pipe.data[:size])
        del pipe.data[:size]
        self.step(lambda: self.exchange.feed(data))

    def _tell(self, _portion: Callable[[int], int]) -> None:
        if self._told is not None:
            action, result = self._told
            self._told = None
            if result is not UNANSWERED:  # a Peer that keeps silent leaves it at that
                self._supply(action, result)
            return
        action = self.telling.popleft()
        match action:
            case Send():
                if self.out.is_closed:
                    self.step(self.exchange.ended)
                    return
                self.party.sent(self, action.frame)
                self.out.data += action.frame
            case Blame():
                self.party.blame(self, action.misdeed)
            case Close():
                self.finish()
            case _:
                self._told = action, self.party.do(self, action)

    def _check(self, _portion: Callable[[int], int]) -> None:
        for it in self.taking:
            if isinstance(it, Checking) and it.batch is None:
                it.batch = self.party.check(self, it.action)
                return

    def _take(self, _portion: Callable[[int], int]) -> None:
        if self._took is not None:
            action, result = self._took
            self._took = None
            self.taking.popleft()  # stayed until it was done: nothing was settled
            if result is not UNANSWERED:
                self._supply(action, result)
            return
        first = self.taking[0]
        if isinstance(first, Checking):
            self._took = first.action, self.party.take(self, first.action, first.batch)
        else:
            self._took = first, self.party.do(self, first)

    def _supply(self, action: Action, result: object) -> None:
        self.step(lambda: self.exchange.supplied(action, result))
        self.party.supplied(self, action, result)

    # --- how it ends ----------------------------------------------------------------------------

    def finish(self) -> None:
        """End: the stream closes behind what was sent, and what comes is not read any more."""
        if self.is_over:
            return
        self.is_over = True
        self.out.is_closed = True
        self._in.data.clear()
        self._in.is_closed = True
        if self.end is None:
            self.end = Close(Ending.GONE)
        self.party.over(self)

    # --- what it holds --------------------------------------------------------------------------

    @property
    def is_reconciling(self) -> bool:
        return not self.is_over and self.exchange.phase is Phase.RECON

    def queued_bytes(self) -> int:
        """Return the bytes that wait in both rows: cheap enough for every step."""
        told = sum(len(it.frame) for it in self.telling if isinstance(it, Send))
        taken = 0
        for it in self.taking:
            if isinstance(it, Checking):
                taken += sum(
                    len(entry.header) + len(entry.sig) + len(entry.body or b"")
                    for entry in it.action.entries
                )
        return told + taken

    def held_bytes(self) -> int:
        """Return what the exchange and both rows hold in memory, object by object."""
        return deep_bytes([self.exchange, self.telling, self.taking, self._told, self._took])


_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, Enum)


def deep_bytes(roots: Iterable[object]) -> int:
    """Return the size of everything that can be reached, without what all share."""
    seen: set[int] = set()
    waiting = list(roots)
    total = 0
    while waiting:
        it = waiting.pop()
        if id(it) in seen or isinstance(it, _SHARED):
            continue
        seen.add(id(it))
        total += it.__sizeof__()
        waiting.extend(gc.get_referents(it))
    return total
