"""Yamux as Hanse runs it: what one connection may make us hold, and where the time goes.

``SafeYamux`` and ``SafeStream`` take the place of the library's classes (network.md 2):

* A sender that ignores its window is cut off; an honest one never is, because what was read is
  granted once.  Held in all: 2 MiB a stream, 8 MiB a connection, 256 MiB the program.
* Streams a Peer has open are counted here, before a task is started for one: those over the bound
  are refused, and who goes on opening is cut off.
* A frame is written whole or the connection ends: whoever waits for a write may be cancelled at
  any time, and half an encrypted message would be the end of all other streams.
* What was received and not yet handed to a reader cannot be lost to a cancelled ``read`` either.
* A Peer is alive as long as anything comes from it.  One that answers nothing to two pings is
  not, whatever its machine says about the connection.
* Small parts are copied together; a part keeps no larger message alive than itself twice.

What the bytes mean, and whose they are, is not known here.
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakSet

import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux import yamux

from hanse.core.limits import (
    CONNECTION_HELD_BYTES_MAX,
    CONNECTION_STREAMS_MAX,
    CONNECTIONS_HELD_BYTES_MAX,
    STREAM_WINDOW_BYTES_MAX,
    STREAMS_PER_PEER_MAX,
)
from hanse.network.transport.sockets import BufferedTCP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

READ_SIZE_BYTES: Final = 262_144
SLICE_SIZE_BYTES: Final = 65_507  # with its header one Noise message: 65,535 - 16
WRITE_SECONDS: Final = 20.0  # a reader may pause this long
STUCK_SECONDS: Final = 10.0  # the machine at the other end takes no byte at all
GRACE_SECONDS: Final = 1.0  # for who serves a stream, when its connection has ended
REFUSED_STREAMS_MAX: Final = CONNECTION_STREAMS_MAX - STREAMS_PER_PEER_MAX

_HEADER: Final = struct.Struct("!BBHII")
_FIRST_WINDOW: Final[int] = yamux.DEFAULT_WINDOW_SIZE
_SMALL: Final = 4096  # parts below are copied together
_CHUNK: Final = 65_536
# Windows grow up to this sum; the rest is for streams that begin, each with its first window.
_PROMISED_BYTES: Final = CONNECTION_HELD_BYTES_MAX * 3 // 4
_SHARE_BYTES: Final = 1 << 20  # held by one connection before it counts towards the program's


class Overrun(trio.TooSlowError):
    """The Peer made us hold, or begin, more than it may; the connection ends."""


class WriteStalled(MuxedStreamError):
    """The other side stopped reading for ``WRITE_SECONDS``."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a Peer is pinged, how long it may take, and how often it may miss."""

    every_seconds: float = 30.0
    patience_seconds: float = 10.0
    misses: int = 2


class Chunks:
    """What came for one stream and was not read yet."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        """Begin empty."""
        self._parts: deque[bytearray | memoryview] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, part: memoryview) -> None:
        """Keep ``part``: by reference where it is most of its message, else copied together."""
        size = len(part)
        self._size += size
        if size >= _SMALL and 2 * size >= len(part.obj):  # type: ignore[arg-type]  # bytes
            self._parts.append(part)
            return
        last = self._parts[-1] if self._parts else None
        if isinstance(last, bytearray) and len(last) + size <= _CHUNK:
            last += part
        else:
            self._parts.append(bytearray(part))

    def take(self, most: int) -> bytes:
        """Remove and return 1 to ``most`` bytes; nothing only where nothing is held."""
        parts, room = [], most
        while self._parts and room:
            part = self._parts[0]
            if len(part) <= room:
                parts.append(part)
                room -= len(part)
                self._parts.popleft()
            else:
                parts.append(memoryview(part)[:room])
                self._parts[0] = memoryview(part)[room:]
                room = 0
        self._size -= most - room
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


class Buffers(dict[int, Chunks]):
    """The unread bytes of one connection, stream by stream, and their sum."""

    everywhere: ClassVar[WeakSet[Buffers]] = WeakSet()
    __hash__ = object.__hash__  # type: ignore[assignment]  # each is itself, in the set above

    def __init__(self) -> None:
        """Count from now on."""
        super().__init__()
        self.held_bytes = 0
        Buffers.everywhere.add(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __setitem__(self, stream_id: int, _: object) -> None:
        """Begin a stream; the library gives a bytearray, which is not what is kept."""
        if len(self) >= CONNECTION_STREAMS_MAX:
            raise Overrun
        super().__setitem__(stream_id, Chunks())

    def add(self, stream_id: int, part: memoryview) -> None:
        """Keep ``part`` of a stream, or raise ``Overrun``."""
        held = self.held_bytes + len(part)
        if held > CONNECTION_HELD_BYTES_MAX or (
            held > _SHARE_BYTES
            and sum(buffers.held_bytes for buffers in Buffers.everywhere) + len(part)
            > CONNECTIONS_HELD_BYTES_MAX
        ):
            raise Overrun
        self[stream_id].add(part)
        self.held_bytes = held

    def take(self, stream_id: int, most: int) -> bytes:
        """Remove and return what was kept of a stream."""
        taken = self[stream_id].take(most)
        self.held_bytes -= len(taken)
        return taken

    def pop(self, stream_id: int, *default: Any) -> Any:
        """Forget a stream and what was not read of it."""
        if (buffer := self.get(stream_id)) is not None:
            self.held_bytes -= len(buffer)
        return super().pop(stream_id, *default)

    def __delitem__(self, stream_id: int) -> None:
        self.pop(stream_id)

    def clear(self) -> None:
        """Forget all streams."""
        super().clear()
        self.held_bytes = 0


class SafeStream(yamux.YamuxStream):
    """A stream whose reads lose nothing and whose grants are exact."""

    conn: SafeYamux

    def __init__(self, stream_id: int, conn: SafeYamux, is_initiator: bool) -> None:  # noqa: FBT001
        """Open both ways, as the library does."""
        super().__init__(stream_id, conn, is_initiator)
        self.was_granted = trio.Event()  # set whenever a waiting writer should look again

    async def read(self, n: int | None = -1) -> bytes:
        """Return what is there, 1 to ``n`` bytes; raises EOF at a half-close, Reset when lost."""
        most = READ_SIZE_BYTES if n is None or n < 0 else n
        conn, stream_id = self.conn, self.stream_id
        await trio.lowlevel.checkpoint_if_cancelled()
        while not conn.stream_buffers.get(stream_id):
            if self.reset_received or conn.event_shutting_down.is_set():
                raise MuxedStreamReset("stream was lost")
            if self.recv_closed:
                raise MuxedStreamEOF("nothing more comes")
            event = conn.stream_events.get(stream_id)
            if self.closed or event is None:
                raise MuxedStreamReset("stream is closed")
            await event.wait()
            if stream_id in conn.stream_events:
                conn.stream_events[stream_id] = trio.Event()
        data = conn.stream_buffers.take(stream_id, most)  # from here on, nothing may be lost
        if self.closed:
            conn._finalize_stream_locked(self, fully_closed=True)
        elif grant := self._due():
            with trio.CancelScope(shield=True):  # as long as a frame may take, at most
                await conn.grant(stream_id, grant)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        """Grant what was consumed, once; ``read`` does it itself."""
        del bytes_read
        if grant := self._due():
            await self.conn.grant(self.stream_id, grant)

    def _due(self) -> int:
        """Return what to grant now: a quarter of the window at least, or nothing yet."""
        unread = len(self.conn.stream_buffers.get(self.stream_id, ()))
        due = self.target_recv_window - (self.recv_window + unread)
        if self.recv_closed or due < self.target_recv_window // 4:
            return 0
        now = trio.current_time()
        is_fast = not self.epoch_start or now - self.epoch_start < 4 * self._effective_rtt()
        self.epoch_start = now
        if is_fast and self.target_recv_window < STREAM_WINDOW_BYTES_MAX:
            more = min(self.target_recv_window, STREAM_WINDOW_BYTES_MAX - self.target_recv_window)
            if self.conn.promised_bytes() + due + more <= _PROMISED_BYTES:
                self.target_recv_window += more
                due += more
        self.recv_window += due
        return due

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``; raises ``WriteStalled`` when nobody reads it."""
        view = memoryview(data)
        while view:
            if not await self._may_send():
                raise MuxedStreamError("stream is closed for sending")
            size = min(self.send_window, SLICE_SIZE_BYTES, len(view))
            self.send_window -= size
            head = _HEADER.pack(0, yamux.TYPE_DATA, 0, self.stream_id, size)
            await self.conn._write_frame(b"".join((head, view[:size])))
            view = view[size:]

    async def _may_send(self) -> bool:
        """Wait for a window; False when nothing can be sent any more."""
        with trio.move_on_after(WRITE_SECONDS):
            while not (self.send_closed or self.closed or self.reset_received):
                if self.send_window > 0:
                    return True
                self.was_granted = trio.Event()
                await self.was_granted.wait()
            return False
        raise WriteStalled("the other side does not read")


class SafeYamux(yamux.Yamux):
    """One connection, every part of it bounded."""

    stream_buffers: Buffers  # type: ignore[assignment]
    streams: dict[int, SafeStream]  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing held."""
        super().__init__(*args, **kwargs)
        self.stream_buffers = Buffers()
        self.in_bytes = 0
        self.out_bytes = 0
        self.why: Exception | None = None  # what ended it, where the Peer was at fault
        self.served: set[trio.CancelScope] = set()  # in each, one of its streams is served
        self._refused = 0

    def promised_bytes(self) -> int:
        """Return what may still come unasked, and what came and was not read."""
        return self.stream_buffers.held_bytes + sum(
            max(0, stream.recv_window) for stream in self.streams.values()
        )

    async def start(self) -> None:
        """Run until the connection ends; nothing that happens on it goes further."""
        try:
            await super().start()
        except Exception as error:  # noqa: BLE001  one connection is not the program
            log.debug("a connection failed: %r", error)
            await self._cleanup_on_error()
        finally:
            self.event_started.set()

    async def _measure_rtt_loop(self) -> None:
        """Leave pings to ``watch``, which looks at the answers."""
        await self.event_shutting_down.wait()

    async def watch(self, pace: Pace) -> None:
        """Ping until the connection ends, and end it when the Peer is not there any more."""
        missed, pause = 0, min(1.0, pace.every_seconds)  # the first soon: windows follow the delay
        while True:
            with trio.move_on_after(pause):
                await self.event_shutting_down.wait()
                return
            pause = pace.every_seconds
            missed = 0 if await self._is_alive(pace.patience_seconds) else missed + 1
            if missed >= pace.misses:
                log.debug("nothing comes from %s; closing", self.peer_id)
                await self.abort()
                return
            if missed:
                pause = 0

    async def _is_alive(self, patience_seconds: float) -> bool:
        heard_bytes = self.in_bytes
        self._ping_id = (self._ping_id + 1) & 0xFFFF_FFFF
        self._ping_event = trio.Event()
        ping = _HEADER.pack(0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id)
        with trio.move_on_after(patience_seconds), suppress(ConnectionClosedError):
            await self._write_frame(ping)
            self._ping_sent_time = trio.current_time()
            await self._ping_event.wait()
            return True
        return self.in_bytes != heard_bytes

    # --- ending ------------------------------------------------------------------------------

    async def goodbye(self) -> None:
        """Say that we go, as far as the Peer still takes it."""
        word = _HEADER.pack(0, yamux.TYPE_GO_AWAY, 0, 0, yamux.GO_AWAY_NORMAL)
        with suppress(Exception):
            await self._write_frame(word)

    async def abort(self) -> None:
        """End the connection at once; every reader and writer of it wakes up."""
        self.event_shutting_down.set()
        for stream in self.streams.values():
            stream.reset_received = True
        self._wake()
        with trio.move_on_after(1, shield=True), suppress(Exception):
            await self.secured_conn.close()

    def _wake(self) -> None:
        for event in self.stream_events.values():
            event.set()
        for stream in self.streams.values():
            stream.was_granted.set()

    async def _cleanup_on_error(self) -> None:
        streams = list(self.streams.values())
        await super()._cleanup_on_error()
        for stream in streams:
            stream.was_granted.set()

    async def close(self, error_code: int = yamux.GO_AWAY_NORMAL) -> None:
        """Close it, and wake who waits for a window."""
        streams = list(self.streams.values())
        for stream in streams:
            stream.reset_received = True
        await super().close(error_code)
        for stream in streams:
            stream.was_granted.set()

    # --- writing -----------------------------------------------------------------------------

    async def _write_frame(self, data: bytes) -> None:
        """Write one frame whole; a Peer whose machine takes nothing any more is left."""
        async with self._write_lock:
            if self.event_shutting_down.is_set():
                raise ConnectionClosedError("connection is closed")
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + STUCK_SECONDS
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            await self.abort()
            raise ConnectionClosedError("the other side takes nothing")
        self.out_bytes += len(data)

    async def grant(self, stream_id: int, more: int) -> None:
        """Let the Peer send ``more`` bytes on a stream."""
        frame = _HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, 0, stream_id, more)
        with suppress(ConnectionClosedError):  # what was read is read; the next read finds out
            await self._write_frame(frame)

    async def open_stream(self) -> SafeStream:
        """Open a stream; cancelled or failed, it leaves nothing behind."""
        await self.stream_backlog_semaphore.acquire()
        if self.event_shutting_down.is_set():
            self.stream_backlog_semaphore.release()
            raise MuxedStreamError("connection is closed")
        stream_id, self.next_stream_id = self.next_stream_id, self.next_stream_id + 2
        stream = SafeStream(stream_id, self, is_initiator=True)
        stream._owns_backlog_slot = True
        try:
            self._begin(stream)
            frame = _HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_SYN, stream_id, 0)
            await self._write_frame(frame)
        except BaseException as error:
            self.stream_buffers.pop(stream_id, None)
            self._finalize_stream_locked(stream, fully_closed=True)
            if isinstance(error, Overrun | ConnectionClosedError):
                raise MuxedStreamError("no stream could be opened") from error
            raise
        return stream

    def _begin(self, stream: SafeStream) -> None:
        self.stream_buffers[stream.stream_id] = Chunks()
        self.streams[stream.stream_id] = stream
        self.stream_events[stream.stream_id] = trio.Event()

    # --- reading -----------------------------------------------------------------------------

    async def handle_incoming(self) -> None:
        """Read frames until the connection ends, whoever ends it."""
        try:
            await self._pump(self._messages())
        except Overrun as error:
            self.why = error
            log.debug("%s was cut off: it ignored a bound", self.peer_id)
        except Exception as error:  # noqa: BLE001  a Peer can break it in any way
            log.debug("the connection to %s ended: %r", self.peer_id, error)
        self.event_shutting_down.set()
        for scope in self.served:
            scope.deadline = trio.current_time() + GRACE_SECONDS
        await self._cleanup_on_error()

    def _messages(self) -> Callable[[], Awaitable[bytes]]:
        """Return what reads the next decrypted message, the shortest way there is."""
        session = self.secured_conn
        if not isinstance(session, SecureSession):
            return session.read
        noise = session.conn
        if not isinstance(noise, NoiseTransportReadWriter):
            return noise.read_msg
        tcp = getattr(noise.read_writer.read_write_closer, "stream", None)
        state = noise.noise_state.noise_protocol
        if not isinstance(tcp, BufferedTCP) or state is None:
            return noise.read_msg  # over a relay
        decrypt = state.cipher_state_decrypt.decrypt_with_ad

        async def message() -> bytes:
            return bytes(decrypt(None, await tcp.message()))  # bytes already: no copy

        return message

    async def _pump(self, next_message: Callable[[], Awaitable[bytes]]) -> None:
        body, flags, stream_id = 0, 0, 0  # what is still to come of a DATA frame
        rest = b""
        session = self.secured_conn
        message = session._drain(None) if isinstance(session, SecureSession) else b""
        while not self.event_shutting_down.is_set():
            data = rest + message if rest else message
            view, at, end = memoryview(data), 0, len(data)
            while at < end:
                if body:
                    size = min(body, end - at)
                    self._arrived(stream_id, view[at : at + size])
                    at, body = at + size, body - size
                    if not body:
                        self._flagged(stream_id, flags)
                    continue
                if end - at < _HEADER.size:
                    break
                version, kind, flags, stream_id, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size
                if version != 0 or kind > yamux.TYPE_GO_AWAY:
                    raise Overrun
                if kind == yamux.TYPE_DATA:
                    if flags & yamux.FLAG_SYN:
                        await self._syn(stream_id)
                    body = length
                    if body > STREAM_WINDOW_BYTES_MAX:
                        raise Overrun
                    if not body:
                        self._flagged(stream_id, flags)
                elif kind == yamux.TYPE_WINDOW_UPDATE:
                    if flags & yamux.FLAG_SYN:
                        await self._syn(stream_id)
                    if length and (stream := self.streams.get(stream_id)) is not None:
                        stream.send_window += length
                        stream.was_granted.set()
                    self._flagged(stream_id, flags)
                elif kind == yamux.TYPE_PING:
                    await self._pinged(flags, length)
                else:
                    return  # GO_AWAY, whatever the reason
            rest = bytes(view[at:])
            message = await next_message()
            self.in_bytes += len(message)

    def _arrived(self, stream_id: int, part: memoryview) -> None:
        """Keep data of a stream that is still open to it; what came too late is dropped."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.recv_closed or stream.closed:
            return
        stream.recv_window -= len(part)
        if stream.recv_window < 0:
            raise Overrun
        self.stream_buffers.add(stream_id, part)
        self.stream_events[stream_id].set()

    def _flagged(self, stream_id: int, flags: int) -> None:
        """End what a frame ends: one half by FIN, all by RST."""
        stream = self.streams.get(stream_id)
        if stream is None or not flags & (yamux.FLAG_FIN | yamux.FLAG_RST):
            return
        if flags & yamux.FLAG_RST:
            stream.closed = stream.reset_received = True
            self.stream_events[stream_id].set()
            self.stream_buffers.take(stream_id, len(self.stream_buffers[stream_id]))
        else:
            stream.recv_closed = True
            stream.closed = stream.send_closed
            self.stream_events[stream_id].set()
        stream.was_granted.set()
        if stream.closed:
            self._finalize_stream_locked(stream, fully_closed=True)

    async def _syn(self, stream_id: int) -> None:
        """Begin a stream of the Peer, or refuse it, or leave a Peer that does not stop asking."""
        if stream_id % 2 == self.next_stream_id % 2 or stream_id in self.streams or not stream_id:
            raise Overrun
        theirs = sum(not stream.is_initiator for stream in self.streams.values())
        if theirs >= STREAMS_PER_PEER_MAX:
            self._refused += 1
            if self._refused > REFUSED_STREAMS_MAX:
                raise Overrun
            await self._write_frame(
                _HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_RST, stream_id, 0)
            )
            return
        self._refused = 0
        stream = SafeStream(stream_id, self, is_initiator=False)
        self._begin(stream)
        await self._write_frame(
            _HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_ACK, stream_id, 0)
        )
        await self.new_stream_send_channel.send(stream)

    async def _pinged(self, flags: int, value: int) -> None:
        if flags & yamux.FLAG_SYN:
            answer = _HEADER.pack(0, yamux.TYPE_PING, yamux.FLAG_ACK, 0, value)
            await self._write_frame(answer)
        elif flags & yamux.FLAG_ACK:
            took = trio.current_time() - self._ping_sent_time
            self._rtt = (self._rtt + took) / 2 if self._rtt else took
            self._ping_event.set()
