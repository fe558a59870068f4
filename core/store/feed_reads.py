"""Asking about Feeds and their Entries.

Every list has a limit and goes on by key; every query that runs often sorts by an
index (a test reads its plan).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    Connection,
    bindparam,
    column,
    func,
    literal,
    select,
    table,
    tuple_,
    union_all,
)

from hanse.core.ledger.entry import CheckedEntry, Head, recall_entry
from hanse.core.ledger.feed import FeedState, FeedVerifier, HeldAt, StandingOf
from hanse.core.ledger.tree import Peaks
from hanse.core.limits import ENTRIES_PER_BATCH_MAX, FEED_ROWS_REMEMBERED_MAX, SEQ_MAX
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.store.feed_rows import (
    ENTRY_COLUMNS,
    FEED_COLUMNS,
    AnyRow,
    FeedRow,
    HeadRow,
    StoredEntry,
    feed_row,
    stored_entry,
)
from hanse.core.store.tables import branches, entries, feeds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hanse.core.ledger.quotas import Tier
    from hanse.core.store.memory import Memory

_IDS_PER_QUERY: Final = 1000
_ENTRIES_PER_PAGE: Final = 500
_FEEDS_PER_PAGE: Final = 1000
_IDS_PER_PAGE: Final = 20_000
_PRIVATE: Final = "private/1"
SQLITE_SEQUENCE: Final = table("sqlite_sequence", column("name"), column("seq"))

NEWEST_N: Final = select(SQLITE_SEQUENCE.c.seq).where(SQLITE_SEQUENCE.c.name == entries.name)
NUMBER_OF_AUTHOR: Final = select(feeds.c.feed).where(feeds.c.author == bindparam("author"))
FEED_OF_AUTHOR: Final = select(*FEED_COLUMNS).where(feeds.c.author == bindparam("author"))
FEED_OF_NUMBER: Final = select(*FEED_COLUMNS).where(feeds.c.feed == bindparam("feed"))
FEEDS_OF_IDENTITY: Final = (
    select(*FEED_COLUMNS)
    .where(feeds.c.identity == bindparam("identity"), feeds.c.author > bindparam("after"))
    .order_by(feeds.c.author)
    .limit(bindparam("limit"))
)
ALL_FEEDS: Final = (
    select(*FEED_COLUMNS)
    .where(feeds.c.author > bindparam("after"))
    .order_by(feeds.c.author)
    .limit(bindparam("limit"))
)
HEADS: Final = (
    select(feeds.c.author, feeds.c.head_seq, feeds.c.head_id)
    .where(feeds.c.author > bindparam("after"), feeds.c.head_seq > 0)
    .order_by(feeds.c.author)
    .limit(bindparam("limit"))
)
ENTRY_OF_ID: Final = select(*ENTRY_COLUMNS).where(entries.c.id == bindparam("id"))
ENTRY_AT: Final = (
    select(*ENTRY_COLUMNS)
    .join(feeds, feeds.c.feed == entries.c.feed)
    .where(feeds.c.author == bindparam("author"), entries.c.seq == bindparam("seq"))
)
ENTRIES_FROM: Final = (
    select(*ENTRY_COLUMNS)
    .where(entries.c.feed == bindparam("feed"), entries.c.seq >= bindparam("from_seq"))
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)
ID_AT: Final = select(entries.c.id).where(
    entries.c.feed == bindparam("feed"), entries.c.seq == bindparam("seq")
)
IDS_FROM: Final = (
    select(entries.c.seq, entries.c.id)
    .where(
        entries.c.feed == bindparam("feed"),
        entries.c.seq >= bindparam("from_seq"),
        entries.c.seq <= bindparam("up_to"),
    )
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)
ARRIVED_AFTER: Final = (
    select(*ENTRY_COLUMNS)
    .where(entries.c.n > bindparam("after"))
    .order_by(entries.c.n)
    .limit(bindparam("limit"))
)
NEWEST: Final = (
    select(*ENTRY_COLUMNS)
    .where(entries.c.n < bindparam("before"))
    .order_by(entries.c.n.desc())
    .limit(bindparam("limit"))
)
OF_KIND_IN_FEED: Final = (
    select(entries.c.seq, *ENTRY_COLUMNS)
    .where(
        entries.c.kind == bindparam("kind"),
        entries.c.feed == bindparam("feed"),
        entries.c.seq > bindparam("after"),
    )
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)
_RAW_COLUMNS: Final = (
    entries.c.feed,
    entries.c.seq,
    entries.c.id,
    entries.c.time_ms,
    entries.c.header,
    entries.c.sig,
    entries.c.body,
)
SCAN_FEED: Final = (
    select(*_RAW_COLUMNS)
    .where(
        entries.c.kind == bindparam("kind"),
        entries.c.feed == bindparam("feed"),
        entries.c.seq < bindparam("before"),
        entries.c.body_state == "here",
    )
    .order_by(entries.c.seq.desc())
    .limit(bindparam("limit"))
)
SCAN: Final = (
    select(*_RAW_COLUMNS)
    .where(
        entries.c.kind == bindparam("kind"),
        tuple_(entries.c.feed, entries.c.seq) > tuple_(bindparam("feed"), bindparam("seq")),
        entries.c.body_state == "here",
    )
    .order_by(entries.c.feed, entries.c.seq)
    .limit(bindparam("limit"))
)
KNOWN: Final = union_all(
    select(entries.c.id, literal(0).label("is_branch")).where(
        entries.c.id.in_(bindparam("ids", expanding=True))
    ),
    select(branches.c.id, literal(1)).where(branches.c.id.in_(bindparam("ids", expanding=True))),
)
BRANCH_IDS: Final = select(branches.c.id).where(branches.c.id.in_(bindparam("ids", expanding=True)))
BRANCH_ENTRIES: Final = (
    select(branches.c.header, branches.c.sig, branches.c.body)
    .where(branches.c.feed == bindparam("feed"))
    .order_by(branches.c.seq, branches.c.id)
)


class FeedReads:
    """What can be asked; see ``FeedRepository`` for what can be done."""

    def __init__(self, connection: Connection, memory: Memory) -> None:
        """Work on ``connection``, in the transaction it has begun."""
        self._connection = connection
        self._memory = memory
        self._numbers: dict[AuthorKey, int] = {}
        self._rows: dict[AuthorKey, FeedRow] = {}
        # Whether an id is on a branch, for those that were asked about together.
        self._is_branch: dict[EntryId, bool] = {}

    # --- Feeds ------------------------------------------------------------------------------

    def get(self, author: AuthorKey) -> FeedRow | None:
        """Return what is held of the Feed of ``author``."""
        found = self._rows.get(author)
        if found is None:
            row = self._connection.execute(FEED_OF_AUTHOR, {"author": author}).first()
            if row is None:
                return None
            found = feed_row(row)
            if len(self._rows) >= FEED_ROWS_REMEMBERED_MAX:
                self._rows.clear()
            self._rows[author] = found
        return found

    def tier_of(self, author: AuthorKey) -> Tier | None:
        """Return how near the Feed is, ``None`` for one that is not held."""
        row = self.get(author)
        return None if row is None else row.tier

    def body_bytes(self, author: AuthorKey) -> int:
        """Return how many bytes of Bodies are held of the Feed."""
        row = self.get(author)
        return 0 if row is None else row.body_bytes

    def of_identity(self, identity: IdentityId) -> Iterator[FeedRow]:
        """Yield the Feeds that opened for ``identity``, by Author, page by page."""
        after = b""
        while page := self._connection.execute(
            FEEDS_OF_IDENTITY, {"identity": identity, "after": after, "limit": _FEEDS_PER_PAGE}
        ).all():
            yield from (feed_row(row) for row in page)
            after = page[-1].author

    def all(self) -> Iterator[FeedRow]:
        """Yield every Feed, by Author, page by page."""
        after = b""
        while page := self._connection.execute(
            ALL_FEEDS, {"after": after, "limit": _FEEDS_PER_PAGE}
        ).all():
            yield from (feed_row(row) for row in page)
            after = page[-1].author

    def by_number(self, feed: int) -> FeedRow:
        """Return the Feed that ``scan`` names by its number."""
        return feed_row(self._connection.execute(FEED_OF_NUMBER, {"feed": feed}).one())

    def heads(self, after: bytes = b"", limit: int = 1000) -> list[HeadRow]:
        """Return the Heads of Feeds, by Author."""
        rows = self._connection.execute(HEADS, {"after": after, "limit": limit})
        return [HeadRow(AuthorKey(row.author), row.head_seq, EntryId(row.head_id)) for row in rows]

    def totals(self) -> tuple[int, int]:
        """Return how many Feeds and Entries are held."""
        count, total = self._connection.execute(
            select(func.count(), func.coalesce(func.sum(feeds.c.head_seq), 0)).select_from(feeds)
        ).one()
        return count, total

    # --- verifying --------------------------------------------------------------------------

    def verifier(
        self, author: AuthorKey, standing_of: StandingOf, held_at: HeldAt | None = None
    ) -> FeedVerifier:
        """Return the rules for this Feed, where they stopped when it was last saved.

        ``held_at`` is for a caller that has accepted Entries he did not append yet.
        """
        if held_at is None:

            def held_at(seq: int) -> CheckedEntry | None:
                return self.entry_at(author, seq)

        row = self.get(author)
        if row is None:
            return FeedVerifier(author, held_at=held_at, standing_of=standing_of)
        broken = None
        if row.broken_id is not None:
            broken = self.branch_entry(row.broken_id)
            assert broken is not None
        return FeedVerifier(
            author,
            held_at=held_at,
            standing_of=standing_of,
            head=row.head,
            peaks=row.fresh_peaks(),
            opening=row.opening,
            state=row.state,
            frozen_seq=row.frozen_seq,
            broken=broken,
        )

    def verifier_at(self, author: AuthorKey, seq: int, standing_of: StandingOf) -> FeedVerifier:
        """Return the rules for this Feed as it was after ``seq``, still as disputed as it is now.

        For a branch that leaves the Feed there; after seq 0 nobody has opened it yet.
        """
        row = self.get(author)
        assert row is not None
        head = None
        if seq:
            last = self.entry_at(author, seq)
            assert last is not None
            head = Head(seq, last.entry_id, last.header.time_ms)
        peaks = Peaks()
        for entry_id in self.ids(author, up_to=seq) if seq else ():
            peaks.add(entry_id)
        return FeedVerifier(
            author,
            held_at=lambda at: self.entry_at(author, at),
            standing_of=standing_of,
            head=head,
            peaks=peaks,
            opening=None if head is None else row.opening,
            state=FeedState.LIVE if row.frozen_seq is None else FeedState.FROZEN,
            frozen_seq=row.frozen_seq,
        )

    # --- Entries ----------------------------------------------------------------------------

    def find(self, entry_id: EntryId) -> StoredEntry | None:
        """Return the Entry with this id, if it stands in a Feed held here."""
        row = self._connection.execute(ENTRY_OF_ID, {"id": entry_id}).first()
        return None if row is None else stored_entry(row)

    def entry_at(self, author: AuthorKey, seq: int) -> CheckedEntry | None:
        """Return the Entry that stands at ``seq``."""
        stored = self.stored_at(author, seq)
        return None if stored is None else stored.entry

    def stored_at(self, author: AuthorKey, seq: int) -> StoredEntry | None:
        """Return the Entry that stands at ``seq``, and what is held of its Body."""
        row = self._connection.execute(ENTRY_AT, {"author": author, "seq": seq}).first()
        return None if row is None else stored_entry(row)

    def entries(
        self, author: AuthorKey, from_seq: int = 1, limit: int = _ENTRIES_PER_PAGE
    ) -> list[StoredEntry]:
        """Return Entries of one Feed in order, from ``from_seq`` on."""
        feed = self._number(author)
        if feed is None:
            return []
        rows = self._connection.execute(
            ENTRIES_FROM, {"feed": feed, "from_seq": from_seq, "limit": limit}
        )
        return [stored_entry(row) for row in rows]

    def ids(self, author: AuthorKey, up_to: int | None = None) -> list[bytes]:
        """Return the ids of one Feed from seq 1 on: what proofs are made of."""
        feed = self._number(author)
        found: list[bytes] = []
        while feed is not None:
            page = self._connection.execute(
                IDS_FROM,
                {
                    "feed": feed,
                    "from_seq": len(found) + 1,
                    "up_to": SEQ_MAX if up_to is None else up_to,
                    "limit": _IDS_PER_PAGE,
                },
            ).all()
            found.extend(row.id for row in page)
            if len(page) < _IDS_PER_PAGE:
                break
        return found

    def id_at(self, row: FeedRow, seq: int) -> EntryId | None:
        """Return the id that stands at ``seq`` of a Feed."""
        found = self._connection.execute(ID_AT, {"feed": row.feed, "seq": seq}).scalar_one_or_none()
        return None if found is None else EntryId(found)

    def arrived_after(self, n: int, limit: int = _ENTRIES_PER_PAGE) -> list[StoredEntry]:
        """Return Entries of all Feeds in the order they arrived, after arrival ``n``."""
        rows = self._connection.execute(ARRIVED_AFTER, {"after": n, "limit": limit})
        return [stored_entry(row) for row in rows]

    def newest(
        self, before: int | None = None, limit: int = _ENTRIES_PER_PAGE
    ) -> list[StoredEntry]:
        """Return the Entries of all Feeds that arrived last, newest first."""
        last = self.newest_n() + 1 if before is None else before
        rows = self._connection.execute(NEWEST, {"before": last, "limit": limit})
        return [stored_entry(row) for row in rows]

    def newest_n(self) -> int:
        """Return the highest arrival number that was ever given."""
        if self._memory.newest_n is None:
            seq = self._connection.execute(NEWEST_N).scalar_one_or_none()
            self._memory.newest_n = 0 if seq is None else int(seq)
        return self._memory.newest_n

    def scan(
        self, kind: str, after: tuple[int, int] = (0, 0), limit: int = ENTRIES_PER_BATCH_MAX
    ) -> Sequence[AnyRow]:
        """Return (feed, seq, id, time_ms, header, sig, body) of one kind where a Body is here.

        In the order of (feed, seq), after ``after``; nothing is parsed.
        """
        number = self._memory.kinds.find(self._connection, kind)
        if number is None:
            return []
        feed, seq = after
        return self._connection.execute(
            SCAN, {"kind": number, "feed": feed, "seq": seq, "limit": limit}
        ).all()

    def scan_feed(self, row: FeedRow, kind: str, up_to: int) -> Iterator[Sequence[AnyRow]]:
        """Yield pages of the same columns for one Feed, newest first, from ``up_to`` down."""
        number = self._memory.kinds.find(self._connection, kind)
        before = up_to + 1
        while number is not None:
            page = self._connection.execute(
                SCAN_FEED,
                {"kind": number, "feed": row.feed, "before": before, "limit": _IDS_PER_QUERY},
            ).all()
            yield page
            if len(page) < _IDS_PER_QUERY:
                return
            before = page[-1].seq

    def private_of(self, identity: IdentityId, after: int = 0) -> Iterator[CheckedEntry]:
        """Yield the Private Entries of an Identity whose Bodies are here, arrived later."""
        for entry, _ in self.private_after(identity, after):
            yield entry

    def private_after(self, identity: IdentityId, after: int) -> Iterator[tuple[CheckedEntry, int]]:
        """Yield them with their arrival numbers, Feed by Feed."""
        for row in self.of_identity(identity):
            for stored in self._of_kind(row, _PRIVATE):
                if stored.n > after and stored.entry.body is not None:
                    yield stored.entry, stored.n

    def _of_kind(self, row: FeedRow, kind: str) -> Iterator[StoredEntry]:
        """Yield the Entries of one kind in one Feed, in order."""
        number = self._memory.kinds.find(self._connection, kind)
        after = 0
        while number is not None:
            page = self._connection.execute(
                OF_KIND_IN_FEED,
                {"kind": number, "feed": row.feed, "after": after, "limit": _ENTRIES_PER_PAGE},
            ).all()
            yield from (stored_entry(item) for item in page)
            if len(page) < _ENTRIES_PER_PAGE:
                return
            after = page[-1].seq

    # --- held or not ------------------------------------------------------------------------

    def known(self, ids: Iterable[EntryId]) -> set[EntryId]:
        """Return those that are held in a Feed or on a branch of one."""
        found: set[EntryId] = set()
        self._is_branch.clear()
        for some in _in_parts(ids):
            self._is_branch.update(dict.fromkeys(some, False))
            for entry_id, is_branch in self._connection.execute(KNOWN, {"ids": some}):
                found.add(EntryId(entry_id))
                self._is_branch[EntryId(entry_id)] = bool(is_branch)
        return found

    def in_branches(self, entry_id: EntryId) -> bool:
        """Say whether an Entry stands on a branch that is not the one held as the Feed."""
        answer = self._is_branch.get(entry_id)
        if answer is None:
            answer = self._connection.execute(BRANCH_IDS, {"ids": [entry_id]}).first() is not None
        return answer

    def branch_entry(self, entry_id: EntryId) -> CheckedEntry | None:
        """Return one Entry that stands on a branch."""
        row = self._connection.execute(
            select(branches.c.header, branches.c.sig, branches.c.body).where(
                branches.c.id == entry_id
            )
        ).first()
        return None if row is None else recall_entry(row.header, row.sig, row.body)

    def branch_entries(self, author: AuthorKey) -> list[CheckedEntry]:
        """Return what stands on other branches of this Feed, by seq and id."""
        feed = self._number(author)
        if feed is None:
            return []
        rows = self._connection.execute(BRANCH_ENTRIES, {"feed": feed})
        return [recall_entry(row.header, row.sig, row.body) for row in rows]

    def _number(self, author: AuthorKey) -> int | None:
        number = self._numbers.get(author)
        if number is None:
            number = self._connection.execute(
                NUMBER_OF_AUTHOR, {"author": author}
            ).scalar_one_or_none()
            if number is not None:
                self._numbers[author] = number
        return number


def _in_parts(ids: Iterable[EntryId]) -> Iterator[list[EntryId]]:
    """Split what is asked for, so that one query never has more than SQLite's parameters."""
    rest = iter(ids)
    while some := list(islice(rest, _IDS_PER_QUERY)):
        yield some
