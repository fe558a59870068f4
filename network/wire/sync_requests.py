"""What one sync session has asked for, and whether an answer holds just that.

* A request is open from when it is sent until all it brought is committed.
* Entries answer a range by Author and seq, read off their first bytes: nothing else of them is
  looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from hanse.core.limits import SEQ_MAX, SYNC_ANSWER_SIZE_BYTES_MAX
from hanse.network.wire.sync_messages import MESSAGES

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey, EntryId
    from hanse.core.model.network import SeqRange

_ARRAY, _BYTES_OF_32, _KEY_SIZE_BYTES = 4, b"\x58\x20", 32
_UINT_WIDTHS: Final = {24: 1, 25: 2, 26: 4}  # of the number behind a head; a seq has 31 bits


@unique
class Purpose(Enum):
    """Why something is asked for."""

    ANNOUNCED = 1  # the other side said it has it
    FOLLOWED = 2  # it may have it
    OWN = 3  # its claim about our own Feed


@dataclass(frozen=True, slots=True)
class Ask:
    """A range of one Feed that is wanted."""

    author: AuthorKey
    first: int
    last: int
    with_bodies: bool
    purpose: Purpose

    @property
    def group(self) -> tuple[Purpose, bool]:
        """Asks of one group share a request."""
        return self.purpose, self.with_bodies


@dataclass(slots=True)
class OpenRequest:
    """One request, from when it is sent until all it brought is committed."""

    number: int
    asks: tuple[Ask, ...] = ()
    ids: tuple[EntryId, ...] = ()
    got: dict[int, int] = field(default_factory=dict)  # place in ``asks`` -> last seq that came
    place: int = 0  # of what came last, in ``asks``; how many came of ``ids``
    size_bytes: int = 0
    came: int = 0
    frames: int = 0
    is_answered: bool = False
    batches: int = 0  # not committed yet


def ask_of(it: SeqRange, purpose: Purpose, *, with_bodies: bool) -> Ask:
    """Make a range one that is wanted."""
    return Ask(it.author, it.first, it.last, with_bodies, purpose)


def check_size(request: OpenRequest) -> None:
    """Raise ``ProtocolViolation`` for an answer of too many bytes."""
    if request.size_bytes > SYNC_ANSWER_SIZE_BYTES_MAX:
        raise MESSAGES.violation("too_big")


def take_place(request: OpenRequest, header: bytes) -> None:
    """Move on to what ``header`` answers; raises ``ProtocolViolation`` for what was not asked."""
    author, seq = place_of(header)
    asks = request.asks
    while request.place < len(asks):
        ask = asks[request.place]
        if ask.author == author:
            # Several of one seq are the branches of a Fork, and come together.
            if max(ask.first, request.got.get(request.place, 0)) <= seq <= ask.last:
                request.got[request.place] = seq
                return
            break
        request.place += 1
    raise MESSAGES.violation("unexpected")


def place_of(header: bytes) -> tuple[bytes, int]:
    """Return Author and seq of a Header without reading the rest; raises ``ProtocolViolation``.

    Later versions may hold more; where they begin otherwise nothing can be said of them.
    """
    author_at = 2 + (header[1:2] == b"\x18") + len(_BYTES_OF_32)
    seq_at = author_at + _KEY_SIZE_BYTES
    if (
        len(header) > seq_at
        and header[0] >> 5 == _ARRAY
        and header[author_at - len(_BYTES_OF_32) : author_at] == _BYTES_OF_32
        and header[seq_at] >> 5 == 0
    ):
        info = header[seq_at] & 31
        width = _UINT_WIDTHS.get(info, 0)
        number = header[seq_at + 1 : seq_at + 1 + width]
        seq = int.from_bytes(number, "big") if width else info
        if len(number) == width and info in {*range(24), *_UINT_WIDTHS} and 1 <= seq <= SEQ_MAX:
            return header[author_at:seq_at], seq
    raise MESSAGES.violation("bad_frame")
