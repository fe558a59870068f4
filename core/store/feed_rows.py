"""What the store gives back of Feeds and Entries: values, made from rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from hanse.core.ledger.entry import CheckedEntry, Head, recall_entry
from hanse.core.ledger.feed import BodyState, FeedState
from hanse.core.ledger.identities import Opening
from hanse.core.ledger.quotas import Tier
from hanse.core.ledger.tree import Peaks
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.store.tables import entries, feeds

FEED_COLUMNS = (
    feeds.c.feed,
    feeds.c.author,
    feeds.c.identity,
    feeds.c.r,
    feeds.c.role,
    feeds.c.state,
    feeds.c.head_seq,
    feeds.c.head_id,
    feeds.c.head_time_ms,
    feeds.c.peaks,
    feeds.c.frozen_seq,
    feeds.c.broken_id,
    feeds.c.tier,
    feeds.c.body_bytes,
    feeds.c.seen_ms,
)
ENTRY_COLUMNS = (
    entries.c.n,
    entries.c.body_state,
    entries.c.header,
    entries.c.sig,
    entries.c.body,
)
# A row is a tuple of what the columns hold; the types are those of the values below.
AnyRow = Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One Feed as far as it is held; ``head`` and ``opening`` are missing before Entry 1."""

    feed: int
    author: AuthorKey
    opening: Opening | None
    state: FeedState
    head: Head | None
    peaks: bytes
    frozen_seq: int | None
    broken_id: EntryId | None
    tier: Tier
    body_bytes: int
    seen_ms: int

    def fresh_peaks(self) -> Peaks:
        """Return the peaks over all ids of the Feed, to be added to."""
        return Peaks.from_bytes(0 if self.head is None else self.head.seq, self.peaks)


@dataclass(frozen=True, slots=True)
class HeadRow:
    """The Head of one Feed."""

    author: AuthorKey
    seq: int
    entry_id: EntryId


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One Entry of a Feed, with its arrival number and what is held of its Body."""

    n: int
    entry: CheckedEntry
    body_state: BodyState


def feed_row(row: AnyRow) -> FeedRow:
    """Read one row of ``FEED_COLUMNS``."""
    has_head = row.head_seq > 0
    return FeedRow(
        feed=row.feed,
        author=AuthorKey(row.author),
        opening=Opening(IdentityId(row.identity), row.r, row.role) if has_head else None,
        state=FeedState(row.state),
        head=Head(row.head_seq, EntryId(row.head_id), row.head_time_ms) if has_head else None,
        peaks=row.peaks,
        frozen_seq=row.frozen_seq,
        broken_id=None if row.broken_id is None else EntryId(row.broken_id),
        tier=Tier(row.tier),
        body_bytes=row.body_bytes,
        seen_ms=row.seen_ms,
    )


def stored_entry(row: AnyRow) -> StoredEntry:
    """Read one row of ``ENTRY_COLUMNS``."""
    return StoredEntry(
        row.n, recall_entry(row.header, row.sig, row.body), BodyState(row.body_state)
    )
