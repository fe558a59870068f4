"""``/hanse/sync/1``: the messages by which two ledgers tell and ask each other (ledger.md 7).

* Frames are those of ``frames``; each message is a list that begins with its number.
* Every list has a bound, every number a range, every key its length: what does not fit is a
  ``ProtocolViolation`` before anything is made of it.
* Rows, ranges and Entries stand in the one order their message asks for, so that each is looked
  at once and nothing is there twice.

What a message means at which moment is not known here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.limits import (
    BODY_SIZE_BYTES_MAX,
    FORK_PROOF_SIZE_BYTES_MAX,
    HEADER_SIZE_BYTES_MAX,
    SEQ_MAX,
    SIGNATURE_SIZE_BYTES,
    SYNC_BODIES_MAX,
    SYNC_ENTRIES_MAX,
    SYNC_FRAME_ITEMS_MAX,
    SYNC_HEADS_MAX,
    SYNC_INTEREST_AUTHORS_MAX,
    SYNC_INTEREST_KINDS_MAX,
    SYNC_RANGES_MAX,
    SYNC_RECON_RANGES_MAX,
    SYNC_RECON_ROWS_MAX,
)
from hanse.core.model.ids import ID_SIZE_BYTES, AuthorKey
from hanse.core.model.network import Interest
from hanse.network.wire.frames import Messages, encode_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

PROTOCOL: Final = "/hanse/sync/1"
VERSION: Final = 1
NONCE_SIZE_BYTES: Final = 16
EPOCH_SIZE_BYTES: Final = 16
FINGERPRINT_SIZE_BYTES: Final = 16
N_LAST: Final = 2**63 - 1  # arrival numbers
REQUEST_LAST: Final = 2**32 - 1
RETRY_MS_LAST: Final = 24 * 60 * 60 * 1000

SKIP: Final = 0
FINGERPRINT: Final = 1
LIST: Final = 2

_Key = Annotated[bytes, msgspec.Meta(min_length=ID_SIZE_BYTES, max_length=ID_SIZE_BYTES)]
_Epoch = Annotated[bytes, msgspec.Meta(min_length=EPOCH_SIZE_BYTES, max_length=EPOCH_SIZE_BYTES)]
_Nonce = Annotated[bytes, msgspec.Meta(min_length=NONCE_SIZE_BYTES, max_length=NONCE_SIZE_BYTES)]
_N = Annotated[int, msgspec.Meta(ge=0, le=N_LAST)]
_Seq = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
_Request = Annotated[int, msgspec.Meta(ge=1, le=REQUEST_LAST)]
_Kind = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z-]{1,30}/[1-9][0-9]{0,2}\Z")]
_Header = Annotated[bytes, msgspec.Meta(min_length=1, max_length=HEADER_SIZE_BYTES_MAX)]
_Sig = Annotated[
    bytes, msgspec.Meta(min_length=SIGNATURE_SIZE_BYTES, max_length=SIGNATURE_SIZE_BYTES)
]
_Body = Annotated[bytes, msgspec.Meta(min_length=1, max_length=BODY_SIZE_BYTES_MAX)]
SorryCode = Literal["bad_frame", "too_big", "unexpected", "version", "busy", "quota", "internal"]


def _rises(named: str | Sequence[bytes] | Sequence[str]) -> bool:
    if isinstance(named, str):
        return True
    raw = [it.encode() if isinstance(it, str) else it for it in named]
    return all(a < b for a, b in pairwise(raw))


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    pass


class Place(_Message, frozen=True):
    """A cursor: the place ``n`` in the arrivals of the store ``store_epoch``."""

    store_epoch: _Epoch
    n: _N


class HeadPlace(_Message, frozen=True):
    """What is held of one Feed: up to ``seq``, where ``entry_id`` stands."""

    seq: _Seq
    entry_id: _Key


class InterestMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the speaker wants to hear of; lists stand sorted, each value once."""

    feeds: (
        Literal["all"]
        | Annotated[tuple[_Key, ...], msgspec.Meta(max_length=SYNC_INTEREST_AUTHORS_MAX)]
    )
    bodies: (
        Literal["all"]
        | Annotated[tuple[_Kind, ...], msgspec.Meta(max_length=SYNC_INTEREST_KINDS_MAX)]
    )
    body_max: Annotated[int, msgspec.Meta(ge=0, le=BODY_SIZE_BYTES_MAX)]

    def __post_init__(self) -> None:
        # msgspec makes a ValidationError of it, as of every other wrong value.
        is_sorted = _rises(self.feeds) and _rises(self.bodies)
        if not is_sorted:
            raise ValueError("an interest is not sorted")

    @classmethod
    def of(cls, interest: Interest) -> InterestMap:
        """Write an ``Interest``."""
        authors, kinds = interest.authors, interest.kinds
        return cls(
            "all" if authors is None else tuple(sorted(set(authors))),
            "all" if kinds is None else tuple(sorted(set(kinds))),
            interest.body_bytes_max,
        )

    def interest(self) -> Interest:
        """Read it as an ``Interest``."""
        return Interest(
            None if isinstance(self.feeds, str) else tuple(AuthorKey(it) for it in self.feeds),
            None if isinstance(self.bodies, str) else self.bodies,
            self.body_max,
        )


class Hello(_Message, frozen=True, tag=1):
    """Begin: where the speaker's store stands, and how far it has read the other's.

    ``your_head`` is what the speaker holds of the Feed of the Device it speaks to.
    """

    version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    store_epoch: _Epoch
    nonce: _Nonce
    newest_n: _N
    cursor: Place | None
    your_head: HeadPlace | None
    interest: InterestMap


class Row(_Message, frozen=True):
    """That ``from_seq`` to ``to_seq`` of one Feed came; ``entry_id`` names all up to there."""

    author: _Key
    from_seq: _Seq
    to_seq: _Seq
    entry_id: _Key

    def __post_init__(self) -> None:
        if self.from_seq > self.to_seq:
            raise ValueError("a row ends before it begins")


class Heads(_Message, frozen=True, tag=2):
    """Tell what came up to arrival ``up_to``, each Feed once; the next page waits for SEEN."""

    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=SYNC_HEADS_MAX)]
    up_to: _N
    more: bool

    def __post_init__(self) -> None:
        if len({row.author for row in self.rows}) != len(self.rows):
            raise ValueError("a Feed stands twice")


class ReconRow(_Message, frozen=True):
    """One Head in a listed range; seq 0 and no id in a reply: nothing is held of that Feed."""

    author: _Key
    seq: Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
    entry_id: _Key | None

    def __post_init__(self) -> None:
        if (self.seq == 0) != (self.entry_id is None):
            raise ValueError("seq and id do not fit")


class ReconRange(_Message, frozen=True):
    """One range of Authors, from the range before up to, and without, ``upper``.

    Modes: 0 nothing to say, 1 a fingerprint, 2 a list.
    """

    upper: Annotated[bytes, msgspec.Meta(min_length=1, max_length=ID_SIZE_BYTES)] | None
    mode: Literal[0, 1, 2]
    data: (
        Annotated[
            bytes,
            msgspec.Meta(min_length=FINGERPRINT_SIZE_BYTES, max_length=FINGERPRINT_SIZE_BYTES),
        ]
        | Annotated[tuple[ReconRow, ...], msgspec.Meta(max_length=SYNC_RECON_ROWS_MAX)]
        | None
    )

    def __post_init__(self) -> None:
        found = SKIP if self.data is None else FINGERPRINT if type(self.data) is bytes else LIST
        if found != self.mode:
            raise ValueError("mode and data do not fit")


class Recon(_Message, frozen=True, tag=3):
    """One step of reconciling; no range at all: tell everything instead, both ways."""

    ranges: Annotated[tuple[ReconRange, ...], msgspec.Meta(max_length=SYNC_RECON_RANGES_MAX)]


class WantRange(_Message, frozen=True):
    """Entries ``first`` to ``last`` of one Feed, both counted."""

    author: _Key
    first: _Seq
    last: _Seq

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("a range ends before it begins")


class Want(_Message, frozen=True, tag=4):
    """Ask for Entries; the ranges stand sorted and do not overlap."""

    request: _Request
    ranges: Annotated[tuple[WantRange, ...], msgspec.Meta(min_length=1, max_length=SYNC_RANGES_MAX)]
    with_bodies: bool

    def __post_init__(self) -> None:
        for a, b in pairwise(self.ranges):
            if (a.author, a.last) >= (b.author, b.first):
                raise ValueError("ranges are not sorted")
        if sum(it.last - it.first + 1 for it in self.ranges) > SYNC_ENTRIES_MAX:
            raise ValueError("too many Entries")


class Item(_Message, frozen=True):
    """One Entry on its way."""

    header: _Header
    sig: _Sig
    body: _Body | None


class Entries(_Message, frozen=True, tag=5):
    """Answer WANT, in one frame or several; each but the last brings something."""

    request: _Request
    entries: Annotated[tuple[Item, ...], msgspec.Meta(max_length=SYNC_ENTRIES_MAX)]
    last: bool

    def __post_init__(self) -> None:
        if not self.entries and not self.last:
            raise ValueError("nothing, and more to come")


class WantBodies(_Message, frozen=True, tag=6):
    """Ask for Bodies by the ids of their Entries, each once."""

    request: _Request
    ids: Annotated[tuple[_Key, ...], msgspec.Meta(min_length=1, max_length=SYNC_BODIES_MAX)]

    def __post_init__(self) -> None:
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("an id stands twice")


class BodyItem(_Message, frozen=True):
    """One Body, or that there is none for whoever asked."""

    entry_id: _Key
    body: _Body | None


class Bodies(_Message, frozen=True, tag=7):
    """Answer WANT_BODIES, in the order asked, in one frame or several."""

    request: _Request
    bodies: Annotated[tuple[BodyItem, ...], msgspec.Meta(max_length=SYNC_BODIES_MAX)]
    last: bool

    def __post_init__(self) -> None:
        if not self.bodies and not self.last:
            raise ValueError("nothing, and more to come")


class Deliver(_Message, frozen=True, tag=8):
    """Hand over a Private Entry that is for whoever is at the other end."""

    header: _Header
    sig: _Sig
    body: _Body


class Got(_Message, frozen=True, tag=9):
    """What was delivered is on disk here."""

    entry_id: _Key


class ForkShown(_Message, frozen=True, tag=10):
    """Show a Fork proof (FORK on the wire)."""

    proof: Annotated[bytes, msgspec.Meta(min_length=1, max_length=FORK_PROOF_SIZE_BYTES_MAX)]


class Sorry(_Message, frozen=True, tag=11):
    """End it, and say why; ``retry_ms`` 0: whenever you like."""

    code: SorryCode
    text: Annotated[str, msgspec.Meta(max_length=200)]
    retry_ms: Annotated[int, msgspec.Meta(ge=0, le=RETRY_MS_LAST)]


class Seen(_Message, frozen=True, tag=12):
    """Everything up to arrival ``n`` is on disk here or not wanted: tell what came after."""

    n: _N


SyncMessage = (
    Hello
    | Heads
    | Recon
    | Want
    | Entries
    | WantBodies
    | Bodies
    | Deliver
    | Got
    | ForkShown
    | Sorry
    | Seen
)
MESSAGES: Final = Messages("sync", SyncMessage, SYNC_FRAME_ITEMS_MAX)


def write(message: SyncMessage) -> bytes:
    """Return the frame of ``message``."""
    return encode_frame(message)
