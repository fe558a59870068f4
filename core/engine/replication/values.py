"""What replication says to whoever speaks with a Peer: values only, nothing here does anything.

* ``HeadsRow.entry_id`` names everything held of a Feed up to ``to_seq``: where the Feed is whole it
  is the id of its Entry there; where a Fork disputes it, a digest over all branches.  Compare it,
  never look it up.
* Ids and keys are bytes as in ``hanse.core.model``; times are milliseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TYPE_CHECKING

from hanse.core.engine.changes import Changes

if TYPE_CHECKING:
    from hanse.core.engine.syncing import Outcome
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.model.network import Cursor, HeadClaim, Interest, SentEntry, SeqRange


@dataclass(frozen=True, slots=True)
class Greeting:
    """What we say first to one Peer.

    ``cursor`` is how far we have read the Peer's arrivals, ``your_head`` what we hold of the
    Peer's own Feed.  ``needs_reconciling`` when the cursor alone is not enough; it is not either
    when the Peer names another ``store_epoch`` than the cursor does, or fewer arrivals.
    """

    store_epoch: bytes
    newest_n: int
    cursor: Cursor | None
    your_head: HeadClaim | None
    interest: Interest
    needs_reconciling: bool


@unique
class OwnHead(Enum):
    """What a Peer's word about our own Feed calls for."""

    CONFIRMED = "confirmed"  # it holds a prefix of our Feed
    ABSENT = "absent"  # it holds nothing of it
    ASK = "ask"  # more than we have, or another: ask for that one Entry and show it us


@dataclass(frozen=True, slots=True)
class HeadsRow:
    """That ``from_seq`` to ``to_seq`` of one Feed came to the speaker since the place asked.

    ``late_n`` is the arrival number of what came last other than at the end of the Feed, such as a
    Body: the row says something new then, though it looks as before.  0 where nothing did.
    """

    author: AuthorKey
    from_seq: int
    to_seq: int
    entry_id: EntryId
    late_n: int = 0


@dataclass(frozen=True, slots=True)
class HeadsPage:
    """Rows in no promised order; all arrivals up to ``up_to`` are in; ``more`` came since."""

    rows: tuple[HeadsRow, ...]
    up_to: int
    more: bool


@dataclass(frozen=True, slots=True)
class WantedRange:
    """Entries to ask for, and whether with their Bodies: not before we know how near a Feed is."""

    range: SeqRange
    with_bodies: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask of the Peer that sent some rows.

    ``ranges`` stand in the order of the tiers.  ``suspects`` are ranges where the Peer holds other
    Entries than we do: ask for them whole; what comes proves the Fork.  ``bodies`` are Bodies of
    Entries held here that are missing and that came to the Peer since.
    """

    ranges: tuple[WantedRange, ...] = ()
    suspects: tuple[SeqRange, ...] = ()
    bodies: tuple[EntryId, ...] = ()


@dataclass(frozen=True, slots=True)
class MissingBodies:
    """One page of Bodies that are missing here; go on at ``up_to`` while there is ``more``."""

    ids: tuple[EntryId, ...]
    up_to: int
    more: bool


@dataclass(frozen=True, slots=True)
class EntriesPage:
    """Entries of the ranges asked for, by Author and seq, as many as fit.

    ``rest`` is what did not fit: call again with it.  ``forks`` proves each Feed in the page that
    is forked: send a proof once per connection, before the Entries.
    """

    entries: tuple[SentEntry, ...]
    rest: tuple[SeqRange, ...] = ()
    forks: tuple[tuple[AuthorKey, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class SentBody:
    """One Body that was asked for by the id of its Entry.

    ``None``: not held, erased, or not for whoever asks.
    """

    entry_id: EntryId
    body: bytes | None


@dataclass(frozen=True, slots=True)
class BodiesPage:
    """Answers for the first ids asked for, in their order; ``rest`` did not fit."""

    bodies: tuple[SentBody, ...]
    rest: tuple[EntryId, ...] = ()


@unique
class Fault(Enum):
    """What a Peer, not an Author, did wrong in a batch."""

    MALFORMED = "malformed"  # an Entry that is too big, not canonical, or of no known shape
    BAD_SIGNATURE = "bad_signature"
    WRONG_BODY = "wrong_body"  # not the Body its Header names
    UNPROVEN = "unproven"  # a claim or a proof that proves nothing


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """Entries whose signatures hold, and what was wrong with the others."""

    checked: tuple[CheckedEntry, ...]
    known: tuple[SentEntry, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch.

    ``bodies`` are Bodies to ask the same Peer for next.  ``ranges`` are Entries to ask for next:
    the place before what came too early, or the branches of a Fork.  ``forks`` are proofs that are
    new here: pass them on.  ``faults`` are the Peer's, one for each offence; what an Author did
    wrong is in ``outcome.refused`` and is not the Peer's.  ``paused`` says that a quota held
    something back.
    """

    outcome: Outcome
    changes: Changes = field(default_factory=Changes)
    bodies: tuple[EntryId, ...] = ()
    ranges: tuple[SeqRange, ...] = ()
    forks: tuple[tuple[AuthorKey, bytes], ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def paused(self) -> bool:
        """Say whether a quota held something back."""
        return self.outcome.paused > 0


@dataclass(frozen=True, slots=True)
class ConfirmationView:
    """Whether own Entries may leave, and what it rests on.

    ``confirmed_by`` is the Peer that holds a prefix of our Feed, ``absent_at`` those that hold
    nothing of it, of ``needed``; ``by_hand`` when the person said that no other copy runs.
    """

    may_leave: bool
    confirmed_by: AuthorKey | None
    absent_at: tuple[AuthorKey, ...]
    needed: int
    has_left: bool
    by_hand: bool
    stale: bool


@dataclass(frozen=True, slots=True)
class MutedView:
    """How many Entries of one sort an Identity wrote beyond the rate, by day of arrival."""

    identity: IdentityId
    sort: str
    day: int
    count: int
    most: int
