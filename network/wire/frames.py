"""Frames, the same for all five protocols: a length, a message, and perhaps a tail.

* Frame = u32 big-endian length + DAG-CBOR ``[type, ...]``, at most 1 MiB.  The length is checked
  before anything of the frame is waited for, and nothing is held beyond what was announced.
* A tail is exactly n raw bytes behind the frame that announces it, so that Pieces never pass
  the codec.  How long it is, the message says and its protocol bounds.
* A frame that is not canonical, or of no known message, is a ``ProtocolViolation``.

Bytes come in any portions, also one by one.  Who sent them is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import bound_items, decode_any, encode
from hanse.core.limits import FRAME_SIZE_BYTES_MAX, STREAM_TAIL_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH_SIZE_BYTES: Final = 4

_PORTION_SIZE_BYTES: Final = 16 * 1024  # of a tail: from here on a portion is worth its own object


class ProtocolViolation(VerificationFailed):
    """A Peer broke a rule of a protocol; ``where`` names it, ``reason`` is a stable word.

    The words: ``bad_frame``, ``too_big``, ``unexpected``, ``version``.
    """

    code = "network.violation"

    def __init__(self, where: str, reason: str) -> None:
        """Name the protocol and the rule."""
        super().__init__(where=where, reason=reason)


@dataclass(frozen=True, slots=True)
class Messages:
    """How one protocol reads its messages.

    ``union`` is a union of ``msgspec.Struct`` classes with ``array_like`` and the message's number
    as ``tag``; ``tail_bytes`` says how many raw bytes follow a message.
    """

    name: str
    union: object
    items_max: int  # values in one frame, as ``codec.bound_items`` counts them
    frame_bytes_max: int = FRAME_SIZE_BYTES_MAX
    tail_bytes: Callable[[object], int] = lambda _: 0

    def read(self, raw: bytes) -> object:
        """Read one frame, or raise ``ProtocolViolation``."""
        try:
            bound_items(raw, self.items_max)
            value = decode_any(raw)
            return msgspec.convert(value, self.union, builtin_types=(bytes,))
        except (RejectedEntry, msgspec.ValidationError) as error:
            raise self.violation("bad_frame") from error

    def violation(self, reason: str) -> ProtocolViolation:
        """Name a broken rule of this protocol, as an error to raise."""
        return ProtocolViolation(self.name, reason)


@dataclass(frozen=True, slots=True)
class Framed:
    """One message and the tail behind it; the tail is empty for most."""

    message: object
    tail: bytes = b""


def encode_frame(value: object, most_bytes: int = FRAME_SIZE_BYTES_MAX) -> bytes:
    """Write one frame; a longer one than ``most_bytes`` is our own bug."""
    raw = encode(value)
    assert len(raw) <= most_bytes
    return len(raw).to_bytes(LENGTH_SIZE_BYTES, "big") + raw


class FrameReader:
    """Cuts what one stream brings into messages."""

    def __init__(self, messages: Messages) -> None:
        """Read the messages of one protocol."""
        self._messages = messages
        self._held = bytearray()
        self._awaiting: object | None = None  # a message whose tail is not whole yet
        self._tail = _Tail(0)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame or tail."""
        return len(self._held) + self._tail.held_bytes

    @property
    def is_between_frames(self) -> bool:
        """Say whether the stream may end here."""
        return not self._held and self._awaiting is None

    @property
    def awaiting(self) -> object | None:
        """Return the message whose tail is coming in, or ``None``."""
        return self._awaiting

    @property
    def tail_held_bytes(self) -> int:
        """Return how much of that tail has come."""
        return self._tail.held_bytes

    def take_partial_tail(self) -> bytes:
        """Return what came of a tail when the stream ended in it; nothing is read afterwards."""
        tail, self._tail = self._tail.whole(), _Tail(0)
        return tail

    def feed(self, data: bytes | bytearray | memoryview) -> list[Framed]:
        """Take what came and return each message that is whole; raises ``ProtocolViolation``."""
        if self._awaiting is not None and len(data) < self._tail.missing_bytes:
            self._tail.add(data)  # nearly all that comes is the middle of a tail
            return []
        found: list[Framed] = []
        rest = memoryview(data)
        while rest:
            if self._awaiting is None:
                raw, rest = self._frame(rest)
                if raw is not None and (framed := self._begin(self._messages.read(raw))):
                    found.append(framed)
                continue
            now = rest[: self._tail.missing_bytes]
            rest = rest[len(now) :]
            self._tail.add(now)
            if not self._tail.missing_bytes:
                found.append(Framed(self._awaiting, self._tail.whole()))
                self._awaiting, self._tail = None, _Tail(0)
        return found

    def _begin(self, message: object) -> Framed | None:
        """Return a message that has no tail; begin to wait for the tail of another."""
        size = self._messages.tail_bytes(message)
        if not size:
            return Framed(message)
        if not 0 < size <= STREAM_TAIL_SIZE_BYTES_MAX:
            raise self._messages.violation("too_big")
        self._awaiting, self._tail = message, _Tail(size)
        return None

    def _frame(self, rest: memoryview) -> tuple[bytes | None, memoryview]:
        """Take what one frame lacks; return the frame when it is whole, and what is left."""
        held = self._held
        if (lacks := LENGTH_SIZE_BYTES - len(held)) > 0:
            held += rest[:lacks]
            rest = rest[lacks:]
            if len(held) < LENGTH_SIZE_BYTES:
                return None, rest
        size = int.from_bytes(held[:LENGTH_SIZE_BYTES], "big")
        if not size:
            raise self._messages.violation("bad_frame")
        if size > self._messages.frame_bytes_max:
            raise self._messages.violation("too_big")
        lacks = LENGTH_SIZE_BYTES + size - len(held)
        held += rest[:lacks]
        rest = rest[lacks:]
        if len(held) < LENGTH_SIZE_BYTES + size:
            return None, rest
        raw = bytes(memoryview(held)[LENGTH_SIZE_BYTES:])
        held.clear()
        return raw, rest


class _Tail:
    """The raw bytes behind a frame, kept in the portions they came in and joined once.

    Small portions share one buffer, so that a Peer that sends byte by byte costs no more.
    """

    __slots__ = ("_portions", "_size", "held_bytes")

    def __init__(self, size: int) -> None:
        self._size = size
        self.held_bytes = 0
        self._portions: list[bytes | bytearray | memoryview] = []

    @property
    def missing_bytes(self) -> int:
        return self._size - self.held_bytes

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next portion; what cannot change any more is kept as it is."""
        self.held_bytes += len(data)
        if len(data) < _PORTION_SIZE_BYTES:
            if not self._portions or not isinstance(self._portions[-1], bytearray):
                self._portions.append(bytearray())
            last = self._portions[-1]
            assert isinstance(last, bytearray)
            last += data
        elif isinstance(data.obj if isinstance(data, memoryview) else data, bytes):
            self._portions.append(data)
        else:
            self._portions.append(bytes(data))

    def whole(self) -> bytes:
        return b"".join(self._portions)
