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
        self._tail_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame or tail."""
        return len(self._held)

    @property
    def is_between_frames(self) -> bool:
        """Say whether the stream may end here."""
        return not self._held and self._awaiting is None

    def feed(self, data: bytes | bytearray | memoryview) -> list[Framed]:
        """Take what came and return each message that is whole; raises ``ProtocolViolation``."""
        self._held += data
        found = []
        while (framed := self._next()) is not None:
            found.append(framed)
        return found

    def _next(self) -> Framed | None:
        if self._awaiting is None:
            raw = self._frame()
            if raw is None:
                return None
            message = self._messages.read(raw)
            size = self._messages.tail_bytes(message)
            if not size:
                return Framed(message)
            if not 0 < size <= STREAM_TAIL_SIZE_BYTES_MAX:
                raise self._messages.violation("too_big")
            self._awaiting, self._tail_bytes = message, size
        if len(self._held) < self._tail_bytes:
            return None
        tail = bytes(memoryview(self._held)[: self._tail_bytes])
        del self._held[: self._tail_bytes]
        message, self._awaiting = self._awaiting, None
        return Framed(message, tail)

    def _frame(self) -> bytes | None:
        if len(self._held) < LENGTH_SIZE_BYTES:
            return None
        size = int.from_bytes(self._held[:LENGTH_SIZE_BYTES], "big")
        if not size:
            raise self._messages.violation("bad_frame")
        if size > self._messages.frame_bytes_max:
            raise self._messages.violation("too_big")
        end = LENGTH_SIZE_BYTES + size
        if len(self._held) < end:
            return None
        raw = bytes(memoryview(self._held)[LENGTH_SIZE_BYTES:end])
        del self._held[:end]
        return raw
