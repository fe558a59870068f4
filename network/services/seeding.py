"""Answers ``/hanse/piece/1``: what we hold, to whoever asks, within slots and bounds.

* Bytes are read on a job thread, one Piece ahead of the one that is being written: of a Peer
  that does not read, two Pieces are in memory however many it asked for.
* Who has no upload slot hears SORRY busy at once, and when to ask again.  Manifests, hashes and
  what is held are told without one.
* An upload that is to be slow sleeps between slices; the calls behind it wait.
* Whoever breaks a rule of the protocol loses the stream, and it is held against it.

What is held, and what of it is for others, ``Engine.seeding`` says.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.executor import TooBusy
from hanse.core.engine.peering import Nearness
from hanse.core.engine.ports import PeerSilent
from hanse.core.errors import HanseError
from hanse.core.limits import PIECE_STREAMS_MAX, PIECE_STREAMS_PER_PEER_MAX, PIECE_WANT_HAVE_MAX
from hanse.network.conduct import Offence
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.bucket import SECOND_MS, Bucket
from hanse.network.wire.choke import STRANGER, Choke
from hanse.network.wire.frames import ProtocolViolation, encode_frame
from hanse.network.wire.transfer import (
    PROTOCOL,
    STREAM_CALL,
    Answering,
    Cancel,
    Excuse,
    Get,
    Hashes,
    Have,
    Piece,
    Question,
    Ref,
    Reply,
    Small,
    Sorry,
    WantHashes,
    WantHave,
    WantSmall,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Stream
    from hanse.network.services.surroundings import Surroundings

_log = logging.getLogger(__name__)

SLOTS: Final = 4
NODE_SLOTS: Final = 16

assert Nearness.STRANGER.value == STRANGER

_IDLE_SECONDS: Final = 300.0  # without a byte from who asks
_FLUSH_SECONDS: Final = 60.0
_SLICE_SIZE_BYTES: Final = 65_507  # one Noise message
_HAVE_MS_LEAST: Final = 9 * SECOND_MS  # they ask every 10 s at most; a second for the way
_LATER_MS: Final = 5 * SECOND_MS
_FAULT_MS: Final = 60 * SECOND_MS


class SeedingService:
    """Sends Pieces, hashes and small objects to Peers that ask for them."""

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        slots: int = SLOTS,
        rank: Callable[[AuthorKey], int] = lambda _: STRANGER,
        upload_rate: int | None = None,
    ) -> None:
        """Have ``slots``; ``rank`` says how near a Peer is, ``upload_rate`` is bytes a second.

        A rank is a ``Nearness``, or lower for whoever is to be served before all others.
        """
        self.surroundings = surroundings
        self.choke = Choke(slots)
        self.rank = rank
        self.upload = Bucket(upload_rate, 0)

    def serve(self) -> None:
        """Let the host bring us the streams."""
        bounds = Bounds(PIECE_STREAMS_PER_PEER_MAX, PIECE_STREAMS_MAX)
        self.surroundings.host.serve(PROTOCOL, self._answer, bounds)

    def set_upload_rate(self, rate: int | None) -> None:
        """Let another bound hold, in bytes a second; ``None`` for no bound."""
        self.upload.set_rate(rate, ticks_ms())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write down every minute, and at the end, what was sent."""
        task_status.started()
        try:
            while True:
                await trio.sleep(_FLUSH_SECONDS)
                await self._flush()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(_LATER_MS / SECOND_MS):
                await self._flush()

    async def _flush(self) -> None:
        try:
            await self.surroundings.write(self.surroundings.engine.seeding.flush)
        except HanseError as error:
            _log.warning("what was sent could not be counted: %s", error)

    async def _answer(self, stream: Stream) -> None:
        peer = stream.peer
        try:
            await _Upload(self, stream).run()
        except* ProtocolViolation as group:
            violation = group.exceptions[0]
            _log.debug("%s asked against the rules: %s", peer.hex(), violation)
            self.surroundings.blame(peer, Offence.FRAME)
            await stream.reset()
        except* (StreamEnded, PeerSilent):
            await stream.reset()
        finally:
            self.choke.leave(peer)


class _Upload:
    """One stream we answer."""

    def __init__(self, service: SeedingService, stream: Stream) -> None:
        self._service = service
        self._surroundings = service.surroundings
        self._stream = stream
        self._answering = Answering()
        self._short: deque[Question | Sorry] = deque()  # goes before Pieces
        self._gets: deque[Get] = deque()
        self._have_asked: dict[Ref, int] = {}
        self._some = trio.Event()
        self._is_over = False
        self._is_writing = False

    async def run(self) -> None:
        """Answer until the other side closes and has everything it asked for."""
        made, to_write = trio.open_memory_channel[tuple[Question | Sorry, Reply, bytes]](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._make_all, made)
            nursery.start_soon(self._write_all, to_write)
            await self._read_all()
            self._is_over = True
            self._some.set()

    # --- what is asked ----------------------------------------------------------------------

    async def _read_all(self) -> None:
        while True:
            try:
                data = await self._stream.read(_IDLE_SECONDS)
            except PeerSilent:
                if not self._answering.open_calls:
                    raise
                continue  # it waits for us: slots or rates can make that long
            if not data:
                return
            try:
                asked = self._answering.feed(data)
            except ProtocolViolation as violation:
                await self._give_up(violation)
                raise
            for message in asked:
                self._take(message)
            if asked:
                self._some.set()
                self._some = trio.Event()

    async def _give_up(self, violation: ProtocolViolation) -> None:
        """Say why the stream ends, unless a tail is on its way, where nothing can be said."""
        if self._is_writing:
            return
        with trio.move_on_after(1):
            sorry = Sorry(STREAM_CALL, str(violation.values["reason"]), 0)
            await self._stream.write(encode_frame(sorry))

    def _take(self, message: Question | Cancel) -> None:
        match message:
            case Cancel():
                waiting = [it for it in self._gets if it.call == message.call]
                for get in waiting:  # none when it is being read or written: then it comes whole
                    self._gets.remove(get)
                    self._short.append(Sorry(get.call, Excuse.CANCELLED, 0))
            case Get():
                service = self._service
                peer = self._stream.peer
                retry_ms = service.choke.ask(peer, service.rank(peer), ticks_ms())
                if retry_ms is None:
                    self._gets.append(message)
                else:
                    self._short.append(Sorry(message.call, Excuse.BUSY, retry_ms))
            case WantHave() if (retry_ms := self._have_wait_ms(message.ref)) > 0:
                self._short.append(Sorry(message.call, Excuse.BUSY, retry_ms))
            case _:
                self._short.append(message)

    def _have_wait_ms(self, ref: Ref) -> int:
        """Return for how long it is too early to say again what is held of an object."""
        now = ticks_ms()
        asked_ms = self._have_asked.pop(ref, None)
        if asked_ms is not None and now - asked_ms < _HAVE_MS_LEAST:
            self._have_asked[ref] = asked_ms
            return _HAVE_MS_LEAST - (now - asked_ms)
        self._have_asked[ref] = now
        if len(self._have_asked) > PIECE_WANT_HAVE_MAX:
            del self._have_asked[next(iter(self._have_asked))]
        return 0

    # --- what is answered -------------------------------------------------------------------

    async def _make_all(
        self, made: trio.MemorySendChannel[tuple[Question | Sorry, Reply, bytes]]
    ) -> None:
        async with made:
            while True:
                while not self._short and not self._gets:
                    if self._is_over:
                        return
                    await self._some.wait()
                asked = self._short.popleft() if self._short else self._gets.popleft()
                reply, tail = await self._make(asked)
                await made.send((asked, reply, tail))

    async def _make(self, asked: Question | Sorry) -> tuple[Reply, bytes]:
        if isinstance(asked, Sorry):
            return asked, b""
        try:
            found = await self._look_up(asked)
        except TooBusy:
            return Sorry(asked.call, Excuse.BUSY, _LATER_MS), b""
        except HanseError as error:
            _log.debug("%s could not be read: %s", type(asked).__name__, error)
            return Sorry(asked.call, Excuse.INTERNAL, _FAULT_MS), b""
        return found or (Sorry(asked.call, Excuse.NOT_HELD, 0), b"")

    async def _look_up(self, asked: Question) -> tuple[Reply, bytes] | None:
        seeding, job = self._surroundings.engine.seeding, self._surroundings.job
        match asked:
            case Get(call, ref, piece, offset, length):
                tail = await job(lambda: seeding.piece(ref.root, ref.size, piece, offset, length))
                return (Piece(call, len(tail)), tail) if tail else None
            case WantSmall(call, sha256):
                tail = await job(lambda: seeding.small(self._stream.peer, sha256))
                return (Small(call, len(tail)), tail) if tail else None
            case WantHashes(call, ref, layer, first, count):
                tail = await job(lambda: seeding.hashes(ref.root, ref.size, layer, first, count))
                return (Hashes(call, len(tail)), tail) if tail else None
            case WantHave(call, ref):
                held = await job(lambda: seeding.have(ref.root, ref.size))
                free = self._service.choke.free(ticks_ms())
                return (Have(call, held.bits, free), b"") if held else None

    async def _write_all(
        self, to_write: trio.MemoryReceiveChannel[tuple[Question | Sorry, Reply, bytes]]
    ) -> None:
        async for asked, reply, tail in to_write:
            frame = self._answering.answer(reply)
            self._is_writing = True
            if self._service.upload.rate is None:
                await self._write_fast(frame, tail)
            else:
                await self._write_slowly(frame + tail)
            self._is_writing = False
            if isinstance(asked, Get) and isinstance(reply, Piece):
                self._service.choke.touch(self._stream.peer, ticks_ms())
                self._surroundings.engine.seeding.served(asked.ref.root, asked.ref.size, len(tail))

    async def _write_fast(self, frame: bytes, tail: bytes) -> None:
        """Write in whole slices, the frame in one of them with the beginning of its tail."""
        first = _SLICE_SIZE_BYTES - len(frame)
        await self._stream.write(frame + tail[:first] if tail else frame)
        if len(tail) > first:
            await self._stream.write(memoryview(tail)[first:])

    async def _write_slowly(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _SLICE_SIZE_BYTES):
            part = view[start : start + _SLICE_SIZE_BYTES]
            await self._stream.write(part)
            now = ticks_ms()
            self._service.choke.touch(self._stream.peer, now)
            if wait_ms := self._service.upload.take(len(part), now):
                await trio.sleep(wait_ms / SECOND_MS)
