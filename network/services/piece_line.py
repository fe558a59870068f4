"""The stream to one Peer we fetch from: calls and their answers, Pieces and whose they are.

* All transfers that fetch from a Peer share its line, and the line's pace.
* Questions are written by one task, so that nobody waits who asks.
* A line ends with its stream; then each call fails, and every GET is given back to its owner, with
  what came of it.
* A Peer that is asked and silent for 20 s loses its line.

What the bytes mean, and what to ask next, is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import trio

from hanse.core.engine.ports import NoPeer, PeerBusy, PeerRefused, PeerSilent
from hanse.core.limits import PIECE_CALLS_OPEN_MAX, PIECE_GETS_OPEN_MAX, PIECE_WANT_HAVE_MAX
from hanse.network.ports import StreamEnded
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.bucket import SECOND_MS, SILENT_MS, Pace
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.transfer import PROTOCOL, Answer, Asking, Excuse, Get, Have, Ref, Sorry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Host, Stream

_CALLS_MOST: Final = PIECE_CALLS_OPEN_MAX - PIECE_GETS_OPEN_MAX
_HAVE_MS: Final = 10 * SECOND_MS  # they say it no more often
_OPEN_SECONDS: Final = 10.0
_BYTES_A_SECOND_LEAST: Final = 16 * 1024  # of what is asked whole, from one Peer after another

Question = Callable[[Asking], tuple[int, bytes]]


class Owner(Protocol):
    """Who asked for Pieces; told on the network thread, and does not wait."""

    def piece_came(self, peer: AuthorKey, number: int, data: bytes) -> None:
        """Take a Piece that came whole; what is in it nobody has looked at."""
        ...

    def piece_refused(self, peer: AuthorKey, number: int, sorry: Sorry) -> None:
        """Learn that a Piece will not come."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a line ended; ``broken`` has what came of each owner's Piece that was under way."""

    peer: AuthorKey
    cause: Exception | None
    broken: Mapping[Owner, Mapping[int, bytes]]


@dataclass(slots=True)
class _Get:
    owner: Owner
    number: int
    held: bytes


@dataclass(slots=True)
class _Waiter:
    done: trio.Event = field(default_factory=trio.Event)
    answer: Answer | None = None


class PieceLine:
    """One stream to a Peer, from the first question to its end."""

    def __init__(self, host: Host, peer: AuthorKey, on_room: Callable[[PieceLine], None]) -> None:
        """Open nothing yet; ``on_room`` is called when more may be asked."""
        self.peer = peer
        self.pace = Pace(ticks_ms())
        self.used_ms = ticks_ms()
        self._host = host
        self._on_room = on_room
        self._asking = Asking()
        self._gets: dict[int, _Get] = {}
        self._waiters: dict[int, _Waiter] = {}
        self._out = bytearray()
        self._to_write = trio.Event()
        self._scope = trio.CancelScope()
        self._stall: PeerSilent | None = None
        self.is_open = False
        self.is_over = False
        self.answers = 0  # how many came
        self._haves: dict[Ref, tuple[int, Have]] = {}  # when it was said

    @property
    def room(self) -> int:
        """Return how many more Pieces may be asked for now."""
        if not self.is_open or self.is_over:
            return 0
        return min(self.pace.depth, PIECE_GETS_OPEN_MAX) - self._asking.open_gets

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is open on it."""
        return not self._asking.open_calls

    # --- asking -----------------------------------------------------------------------------

    def get(self, owner: Owner, number: int, ref: Ref, piece: int, held: bytes = b"") -> None:
        """Ask for a Piece, or for what is behind ``held``; the owner is told what comes of it."""
        assert self.room > 0
        self._begin()
        call, frame = self._asking.get(ref, piece, len(held))
        self._gets[call] = _Get(owner, number, held)
        self._send(frame)

    def cancel(self, owner: Owner, number: int | None = None) -> None:
        """Want one Piece, or all of an owner, no more; nothing is told of them."""
        for call, it in list(self._gets.items()):
            if it.owner is owner and number in {None, it.number}:
                del self._gets[call]
                self._send(self._asking.cancel(call))

    async def call(self, question: Question, size_bytes: int = 0) -> Answer:
        """Ask and wait for the answer, which may have ``size_bytes`` of a tail.

        Raises ``PeerBusy``, ``PeerRefused``, ``PeerSilent``, ``NoPeer`` or ``StreamEnded``.
        """
        if self.is_over:
            raise StreamEnded
        if len(self._waiters) >= _CALLS_MOST or self._asking.open_calls >= PIECE_CALLS_OPEN_MAX:
            raise PeerBusy(peer=self.peer.hex(), retry_ms=SECOND_MS)
        self._begin()
        call, frame = question(self._asking)
        waiter = self._waiters[call] = _Waiter()
        self._send(frame)
        seconds = SILENT_MS / SECOND_MS + size_bytes / _BYTES_A_SECOND_LEAST
        try:
            with trio.move_on_after(seconds):
                await waiter.done.wait()
        finally:
            if self._waiters.pop(call, None) is not None and not self.is_over:
                self._asking.cancel(call)  # a late answer is dropped
        if waiter.answer is None:
            if waiter.done.is_set():
                raise StreamEnded
            raise PeerSilent(peer=self.peer.hex(), seconds=int(seconds))
        if isinstance(sorry := waiter.answer.reply, Sorry):
            if sorry.code in {Excuse.BUSY, Excuse.QUOTA}:
                raise PeerBusy(peer=self.peer.hex(), retry_ms=sorry.retry_ms)
            raise PeerRefused(peer=self.peer.hex(), reason=sorry.code)
        return waiter.answer

    async def have(self, ref: Ref) -> Have:
        """Return what the Peer has of an object; what it said a moment ago still holds.

        Raises what ``call`` does.
        """
        now = ticks_ms()
        said = self._haves.pop(ref, None)
        if said is None or now - said[0] >= _HAVE_MS:
            answer = await self.call(lambda asking: asking.want_have(ref))
            assert isinstance(answer.reply, Have)
            said = now, answer.reply
        self._haves[ref] = said
        if len(self._haves) > PIECE_WANT_HAVE_MAX:
            del self._haves[next(iter(self._haves))]
        return said[1]

    def _begin(self) -> None:
        now = ticks_ms()
        self.used_ms = now
        if not self._asking.open_calls:
            self.pace.begin(now)

    def _send(self, frame: bytes) -> None:
        if frame:
            self._out += frame
            self._to_write.set()

    # --- the stream -------------------------------------------------------------------------

    def check(self, now_ms: int) -> None:
        """End the line when the Peer was silent for too long."""
        if self._asking.open_calls and self.pace.is_silent(now_ms) and not self.is_over:
            self._stall = PeerSilent(peer=self.peer.hex(), seconds=SILENT_MS // SECOND_MS)
            self._scope.cancel()

    def end(self) -> None:
        """Close the stream; what was asked is given back."""
        self._scope.cancel()

    async def run(self) -> Ended:
        """Keep the line until it ends, and say how; never raises but when it is cancelled."""
        cause: Exception | None = None
        try:
            with self._scope:
                await self._converse()
        except* (NoPeer, PeerSilent, StreamEnded, ProtocolViolation) as group:
            cause = _first(group)
        finally:
            self.is_over, self.is_open = True, False
            for waiter in self._waiters.values():
                waiter.done.set()
        return Ended(self.peer, cause or self._stall, self._broken())

    async def _converse(self) -> None:
        with trio.fail_after(_OPEN_SECONDS) as opening:
            stream = await self._host.open(self.peer, PROTOCOL)
            opening.deadline = math.inf
        try:
            self.is_open = True
            self.pace.begin(ticks_ms())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_all, stream)
                self._on_room(self)
                await self._read_all(stream)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await stream.reset()

    async def _write_all(self, stream: Stream) -> None:
        while True:
            await self._to_write.wait()
            self._to_write = trio.Event()
            data, self._out = self._out, bytearray()
            await stream.write(data)

    async def _read_all(self, stream: Stream) -> None:
        while data := await stream.read():
            answers = self._asking.feed(data)
            is_whole = any(isinstance(it.question, Get) for it in answers)
            self.pace.add(len(data), ticks_ms(), is_whole=is_whole)
            self.answers += len(answers)
            for answer in answers:
                self._deliver(answer)
            if answers:
                self._on_room(self)

    def _deliver(self, answer: Answer) -> None:
        call = answer.question.call
        if (get := self._gets.pop(call, None)) is not None:
            if isinstance(answer.reply, Sorry):
                get.owner.piece_refused(self.peer, get.number, answer.reply)
            else:
                data = get.held + answer.tail if get.held else answer.tail
                get.owner.piece_came(self.peer, get.number, data)
        elif (waiter := self._waiters.get(call)) is not None:
            waiter.answer = answer
            waiter.done.set()

    def _broken(self) -> Mapping[Owner, Mapping[int, bytes]]:
        found: dict[Owner, dict[int, bytes]] = {}
        if (tail := self._asking.broken_tail()) is not None:
            question, came = tail
            if (get := self._gets.get(question.call)) is not None:
                found[get.owner] = {get.number: get.held + came}
        for get in self._gets.values():
            if get.held:
                found.setdefault(get.owner, {}).setdefault(get.number, get.held)
        return found


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """Return the one error behind nested groups: what came first tells most."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
