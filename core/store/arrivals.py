"""What came since, what is held of every Feed, and the bytes of it: what two ledgers compare.

* A *claim* is one row for a Feed: the seq it reaches, and 32 bytes that are the id of its Head, or,
  where branches are held beside it, a digest over every end of it.  Equal claims mean the same
  Entries, whichever branch stands in the Feed and whichever is evidence.
* What came since an arrival number is found along two indexes: the Entries', and that of what came
  other than at a Feed's end.  A page has a limit and says how far it goes.
* Rows are given as they lie on disk; nothing is parsed to be sent.

To whom they may be shown is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection, bindparam, func, literal_column, select

from hanse.core.crypto.signing import LABEL_BRANCHES
from hanse.core.ledger.entry import CheckedEntry, recall_entry
from hanse.core.ledger.feed import BodyState
from hanse.core.ledger.quotas import Tier
from hanse.core.limits import (
    ARRIVALS_PER_PAGE_MAX,
    BRANCH_ENTRIES_PER_FEED_MAX,
    FEEDS_MAX,
    MISSING_BODIES_PER_PAGE_MAX,
    MISSING_LOOKED_AT_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.store.network_tables import dropped_feeds, feeds_met, late_arrivals
from hanse.core.store.tables import branches, entries, feeds, refs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hanse.core.store.feed_reads import FeedReads
    from hanse.core.store.feed_rows import AnyRow, FeedRow
    from hanse.core.store.memory import Memory

T = TypeVar("T")

_PER_QUERY: Final = 1000
_CLAIMS_PER_PAGE: Final = 2000
_NAMING_LOOKED_AT: Final = 16

ARRIVED: Final = (
    select(entries.c.n, entries.c.feed, entries.c.seq)
    .where(entries.c.n > bindparam("after"))
    .order_by(entries.c.n)
    .limit(bindparam("limit"))
)
ARRIVED_LATE: Final = (
    select(late_arrivals.c.n, late_arrivals.c.feed, late_arrivals.c.seq)
    .where(late_arrivals.c.n > bindparam("after"))
    .order_by(late_arrivals.c.n)
    .limit(bindparam("limit"))
)
_HEAD_COLUMNS: Final = (
    feeds.c.feed,
    feeds.c.author,
    feeds.c.head_seq,
    feeds.c.head_id,
    feeds.c.frozen_seq,
)
HEADS_OF_ALL: Final = (
    select(*_HEAD_COLUMNS)
    .where(feeds.c.author > bindparam("after"))
    .order_by(feeds.c.author)
    .limit(bindparam("limit"))
)
HEADS_OF_NUMBERS: Final = select(*_HEAD_COLUMNS).where(
    feeds.c.feed.in_(bindparam("feeds", expanding=True))
)
HEADS_OF_AUTHORS: Final = select(*_HEAD_COLUMNS).where(
    feeds.c.author.in_(bindparam("authors", expanding=True))
)
BRANCHES_OF: Final = (
    select(branches.c.feed, branches.c.seq, branches.c.id, branches.c.prev)
    .where(branches.c.feed.in_(bindparam("feeds", expanding=True)))
    .order_by(branches.c.feed, branches.c.seq, branches.c.id)
)
STANDING_IDS: Final = select(entries.c.id).where(entries.c.id.in_(bindparam("ids", expanding=True)))
N_AT: Final = select(entries.c.n).where(
    entries.c.feed == bindparam("feed"), entries.c.seq == bindparam("seq")
)
_SHOWN_COLUMNS: Final = (
    entries.c.n,
    entries.c.feed,
    entries.c.seq,
    entries.c.id,
    entries.c.kind,
    entries.c.header,
    entries.c.sig,
    entries.c.body,
)
SHOWN: Final = (
    select(*_SHOWN_COLUMNS)
    .where(
        entries.c.feed == bindparam("feed"),
        entries.c.seq >= bindparam("first"),
        entries.c.seq <= bindparam("last"),
    )
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)
SHOWN_ON_BRANCHES: Final = (
    select(branches.c.seq, branches.c.id, branches.c.header, branches.c.sig, branches.c.body)
    .where(
        branches.c.feed == bindparam("feed"),
        branches.c.seq >= bindparam("first"),
        branches.c.seq <= bindparam("last"),
    )
    .order_by(branches.c.seq, branches.c.id)
    .limit(BRANCH_ENTRIES_PER_FEED_MAX)
)
BODIES_OF: Final = (
    select(*_SHOWN_COLUMNS, feeds.c.author, feeds.c.identity)
    .join(feeds, feeds.c.feed == entries.c.feed)
    .where(entries.c.id.in_(bindparam("ids", expanding=True)))
)
BODIES_ON_BRANCHES: Final = (
    select(branches.c.seq, branches.c.id, branches.c.header, branches.c.body, feeds.c.author)
    .join(feeds, feeds.c.feed == branches.c.feed)
    .where(branches.c.id.in_(bindparam("ids", expanding=True)))
)
DROPPED: Final = select(dropped_feeds.c.author).where(
    dropped_feeds.c.author.in_(bindparam("authors", expanding=True))
)
NAMING: Final = (
    select(entries.c.header, entries.c.sig, entries.c.body)
    .join(refs, refs.c.n == entries.c.n)
    .where(refs.c.target == bindparam("target"), entries.c.kind == bindparam("kind"))
    .order_by(refs.c.n)
    .limit(_NAMING_LOOKED_AT)
)
MISSING: Final = (
    select(entries.c.n, entries.c.id, entries.c.kind, feeds.c.tier, feeds.c.body_bytes)
    .join(feeds, feeds.c.feed == entries.c.feed)
    # Written out, as the index of what is missing has it.
    .where(entries.c.body_state == literal_column("'absent'"), entries.c.n > bindparam("after"))
    .order_by(entries.c.n)
    .limit(bindparam("limit"))
)
MISSING_BETWEEN: Final = (
    select(entries.c.id, entries.c.kind, entries.c.body_state)
    .where(
        entries.c.feed == bindparam("feed"),
        entries.c.seq >= bindparam("first"),
        entries.c.seq <= bindparam("last"),
        entries.c.body_state.in_([BodyState.ABSENT.value, BodyState.PRIVATE.value]),
    )
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)
MISSING_ON_BRANCHES: Final = (
    select(branches.c.id, branches.c.header)
    .where(branches.c.feed == bindparam("feed"), branches.c.body.is_(None))
    .order_by(branches.c.seq, branches.c.id)
    .limit(bindparam("limit"))
)
FEEDS_WITH_BRANCHES: Final = (
    select(branches.c.feed)
    .where(branches.c.feed > bindparam("after"))
    .group_by(branches.c.feed)
    .order_by(branches.c.feed)
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is held of one Feed; ``from_seq`` is where its branches part, or its Head's seq."""

    feed: int
    author: AuthorKey
    from_seq: int
    seq: int
    entry_id: EntryId
    has_branches: bool


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Which Feeds something came to, each from its lowest seq; all up to arrival ``up_to``.

    ``last_late`` numbers what came to a Feed last other than at its end, where anything did.
    """

    lowest: dict[int, int]
    last_late: dict[int, int]
    up_to: int
    more: bool


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """The bytes of one Entry; ``n`` is missing on a branch, ``body`` where none is held."""

    n: int | None
    seq: int
    entry_id: EntryId
    kind: str | None
    header: bytes
    sig: bytes
    body: bytes | None


@dataclass(frozen=True, slots=True)
class HeldBody:
    """The Body of one Entry, and whose it is; ``kind`` is missing on a branch."""

    n: int | None
    author: AuthorKey
    seq: int
    entry_id: EntryId
    kind: str | None
    header: bytes
    body: bytes | None


class ArrivalRepository:
    """Answers on one connection; changes nothing."""

    def __init__(self, connection: Connection, memory: Memory, held: FeedReads) -> None:
        """Read on ``connection``, whose Feeds are ``held``."""
        self._connection = connection
        self._memory = memory
        self._feeds = held

    # --- what came --------------------------------------------------------------------------

    def since(self, after: int, most_feeds: int) -> Arrivals:
        """Return to which Feeds something came after arrival ``after``, at most ``most_feeds``."""
        values = {"after": after, "limit": ARRIVALS_PER_PAGE_MAX}
        own = [tuple(row) for row in self._connection.execute(ARRIVED, values)]
        late = [tuple(row) for row in self._connection.execute(ARRIVED_LATE, values)]
        is_cut = max(len(own), len(late)) == ARRIVALS_PER_PAGE_MAX
        lowest: dict[int, int] = {}
        last_late: dict[int, int] = {}
        numbers_late = {n for n, _, _ in late}
        up_to = after
        for n, feed, seq in sorted(own + late)[:ARRIVALS_PER_PAGE_MAX]:
            if feed not in lowest and len(lowest) == most_feeds:
                return Arrivals(lowest, last_late, up_to, more=True)
            lowest[feed] = min(seq, lowest.get(feed, seq))
            if n in numbers_late:
                last_late[feed] = n
            up_to = n
        if is_cut:
            return Arrivals(lowest, last_late, up_to, more=True)
        return Arrivals(lowest, last_late, self._feeds.newest_n(), more=False)

    def number_at(self, row: FeedRow, seq: int) -> int | None:
        """Return the arrival number of the Entry at ``seq``."""
        return self._connection.execute(N_AT, {"feed": row.feed, "seq": seq}).scalar_one_or_none()

    # --- claims -----------------------------------------------------------------------------

    def claims(self) -> Iterator[Claim]:
        """Yield what is held of every Feed, by Author, page by page."""
        branched = {feed for page in self._branched() for feed in page}
        after = b""
        while page := self._connection.execute(
            HEADS_OF_ALL, {"after": after, "limit": _CLAIMS_PER_PAGE}
        ).all():
            yield from self._claims(page, [row.feed for row in page if row.feed in branched])
            after = page[-1].author

    def _branched(self) -> Iterator[Sequence[int]]:
        """Yield the numbers of Feeds with branches, page by page."""
        after = 0
        while (
            page := self._connection.execute(
                FEEDS_WITH_BRANCHES, {"after": after, "limit": _PER_QUERY}
            )
            .scalars()
            .all()
        ):
            yield page
            after = page[-1]

    def claims_of(self, authors: Iterable[AuthorKey]) -> dict[AuthorKey, Claim]:
        """Return what is held of the Feeds of ``authors``."""
        found: dict[AuthorKey, Claim] = {}
        for some in _in_parts(sorted(set(authors))):
            rows = self._connection.execute(HEADS_OF_AUTHORS, {"authors": some}).all()
            found.update((claim.author, claim) for claim in self._claims(rows))
        return found

    def claims_of_numbers(self, numbers: Iterable[int]) -> list[Claim]:
        """Return what is held of the Feeds that ``since`` names, by Author."""
        found: list[Claim] = []
        for some in _in_parts(sorted(numbers)):
            rows = self._connection.execute(HEADS_OF_NUMBERS, {"feeds": some}).all()
            found.extend(self._claims(rows))
        return sorted(found, key=lambda claim: claim.author)

    def _claims(
        self, rows: Sequence[AnyRow], branched: Sequence[int] | None = None
    ) -> Iterator[Claim]:
        """Make claims of rows; ``branched``, where it is known, are those with branches."""
        sides: dict[int, list[tuple[int, bytes, bytes | None]]] = {}
        for some in _in_parts([row.feed for row in rows] if branched is None else branched):
            for feed, seq, entry_id, prev in self._connection.execute(BRANCHES_OF, {"feeds": some}):
                sides.setdefault(feed, []).append((seq, entry_id, prev))
        for row in rows:
            side = sides.get(row.feed)
            author = AuthorKey(row.author)
            if side is not None:
                first, last = side[0][0], side[-1][0]
                yield Claim(
                    row.feed,
                    author,
                    from_seq=min(row.frozen_seq or first, first),
                    seq=max(row.head_seq, last),
                    entry_id=self._digest(row.head_id, side),
                    has_branches=True,
                )
            elif row.head_seq:
                yield Claim(
                    row.feed,
                    author,
                    from_seq=row.head_seq,
                    seq=row.head_seq,
                    entry_id=EntryId(row.head_id),
                    has_branches=False,
                )

    def _digest(
        self, head_id: bytes | None, side: Sequence[tuple[int, bytes, bytes | None]]
    ) -> EntryId:
        """Name a Feed with branches by its ends, and by what is missing between them."""
        named = {prev for _, _, prev in side if prev is not None}
        ids = {entry_id for _, entry_id, _ in side}
        ends = ids - named
        if head_id is not None and head_id not in named:
            ends.add(head_id)
        missing = self._missing(named - ids)
        raw = b"".join(sorted(ends)) + bytes(32) + b"".join(sorted(missing))
        return EntryId(sha256(LABEL_BRANCHES + raw).digest())

    def _missing(self, ids: set[bytes]) -> set[bytes]:
        standing: set[bytes] = set()
        for some in _in_parts(sorted(ids)):
            standing.update(self._connection.execute(STANDING_IDS, {"ids": some}).scalars())
        return ids - standing

    def lowest_gap(self, author: AuthorKey) -> int | None:
        """Return the lowest seq at which an Entry is missing under a branch of this Feed."""
        row = self._feeds.get(author)
        if row is None:
            return None
        side = self._connection.execute(BRANCHES_OF, {"feeds": [row.feed]}).all()
        ids = {it.id for it in side}
        missing = self._missing({it.prev for it in side if it.prev is not None} - ids)
        return min((it.seq - 1 for it in side if it.prev in missing), default=None)

    def count_feeds(self) -> int:
        """Return how many Feeds are held, or more than that where they are few."""
        highest = self._connection.execute(select(func.max(feeds.c.feed))).scalar_one() or 0
        if highest < FEEDS_MAX:
            return highest
        return self._connection.execute(select(func.count()).select_from(feeds)).scalar_one()

    def met_ms(self, row: FeedRow) -> int | None:
        """Return since when a Feed is held, where that was noted."""
        return self._connection.execute(
            select(feeds_met.c.met_ms).where(feeds_met.c.feed == row.feed)
        ).scalar_one_or_none()

    def dropped(self, authors: Sequence[AuthorKey]) -> set[AuthorKey]:
        """Return those of ``authors`` whose Feeds were given up lately."""
        found: set[AuthorKey] = set()
        for some in _in_parts(authors):
            rows = self._connection.execute(DROPPED, {"authors": some}).scalars()
            found.update(AuthorKey(author) for author in rows)
        return found

    # --- bytes ------------------------------------------------------------------------------

    def shown(self, author: AuthorKey, first: int, last: int, limit: int) -> list[ShownEntry]:
        """Return what is held of a Feed from ``first`` on, branches too, by seq.

        About ``limit`` of them: Entries of one seq are never parted.
        """
        row = self._feeds.get(author)
        if row is None:
            return []
        values = {"feed": row.feed, "first": first, "last": last, "limit": limit}
        found = [
            ShownEntry(
                it.n, it.seq, EntryId(it.id), self._kind(it.kind), it.header, it.sig, it.body
            )
            for it in self._connection.execute(SHOWN, values)
        ]
        reach = found[-1].seq if len(found) == limit else last
        values["last"] = reach
        del values["limit"]
        found.extend(
            ShownEntry(None, it.seq, EntryId(it.id), None, it.header, it.sig, it.body)
            for it in self._connection.execute(SHOWN_ON_BRANCHES, values)
        )
        return sorted(found, key=lambda it: (it.seq, it.n is None, it.entry_id))

    def bodies(self, ids: Sequence[EntryId]) -> dict[EntryId, HeldBody]:
        """Return the Bodies of those of ``ids`` that are held, also without Body."""
        found: dict[EntryId, HeldBody] = {}
        for some in _in_parts(ids):
            for it in self._connection.execute(BODIES_OF, {"ids": some}):
                found[EntryId(it.id)] = HeldBody(
                    it.n,
                    AuthorKey(it.author),
                    it.seq,
                    EntryId(it.id),
                    self._kind(it.kind),
                    it.header,
                    it.body,
                )
            for on in self._connection.execute(BODIES_ON_BRANCHES, {"ids": some}):
                found[EntryId(on.id)] = HeldBody(
                    None, AuthorKey(on.author), on.seq, EntryId(on.id), None, on.header, on.body
                )
        return found

    def naming(self, entry_id: EntryId, kind: str) -> list[CheckedEntry]:
        """Return Entries of one kind that name ``entry_id`` in their refs, a few of them."""
        number = self._memory.kinds.find(self._connection, kind)
        if number is None:
            return []
        rows = self._connection.execute(NAMING, {"target": entry_id, "kind": number})
        return [recall_entry(row.header, row.sig, row.body) for row in rows]

    # --- what is missing --------------------------------------------------------------------

    def missing(
        self, after: int, is_wanted: Callable[[Tier, int, str], bool]
    ) -> tuple[list[EntryId], int, bool]:
        """Return ids of Entries without Body that arrived after ``after``, how far that goes, more.

        ``is_wanted(tier, body_bytes, kind)`` says which.  Branches come on the first page.
        """
        rows = self._connection.execute(
            MISSING, {"after": after, "limit": MISSING_LOOKED_AT_MAX}
        ).all()
        found = [] if after else self._missing_on_branches()
        up_to = after
        for row in rows:
            if len(found) >= MISSING_BODIES_PER_PAGE_MAX:
                return found, up_to, True
            up_to = row.n
            if is_wanted(Tier(row.tier), row.body_bytes, self._kind(row.kind)):
                found.append(EntryId(row.id))
        return found, up_to, len(rows) == MISSING_LOOKED_AT_MAX

    def _missing_on_branches(self) -> list[EntryId]:
        found: list[EntryId] = []
        for page in self._branched():
            for feed in page:
                room = MISSING_BODIES_PER_PAGE_MAX - len(found)
                if room <= 0:
                    return found
                rows = self._connection.execute(MISSING_ON_BRANCHES, {"feed": feed, "limit": room})
                found.extend(EntryId(row.id) for row in rows)
        return found

    def missing_between(
        self, row: FeedRow, first: int, last: int, is_wanted: Callable[[str, bool], bool]
    ) -> list[EntryId]:
        """Return ids of Entries of one Feed whose Bodies are missing.

        ``is_wanted(kind, is_sealed)`` says which.
        """
        values = {
            "feed": row.feed,
            "first": first,
            "last": last,
            "limit": MISSING_BODIES_PER_PAGE_MAX,
        }
        return [
            EntryId(it.id)
            for it in self._connection.execute(MISSING_BETWEEN, values)
            if is_wanted(self._kind(it.kind), it.body_state == BodyState.PRIVATE.value)
        ]

    def missing_on_branches(self, row: FeedRow) -> list[EntryId]:
        """Return ids of Entries on branches of one Feed whose Bodies are missing."""
        rows = self._connection.execute(
            MISSING_ON_BRANCHES, {"feed": row.feed, "limit": MISSING_BODIES_PER_PAGE_MAX}
        )
        return [EntryId(it.id) for it in rows]

    def _kind(self, number: int) -> str:
        return self._memory.kinds.kind(self._connection, number)


def _in_parts(items: Sequence[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), _PER_QUERY):
        yield list(items[start : start + _PER_QUERY])
