"""Finding Listings: which are hits, in which order, page by page, and how many of what kind.

* Words and facet tokens are asked of the full-text index, ranges and validity of the row.
* By relevance the newest ``SEARCH_RANKED_MAX`` hits are ranked by bm25, then the best
  ``SEARCH_BOOSTED_MAX`` of them again with what else speaks for them, in whole numbers.
* In every other order all hits are gone through: few are sorted at once, many are met on a
  walk along the index of that order.  A walk has a budget, so a page may be short or even
  empty and still have a next one.
* A page is found again by the value it ended with, never by counting rows.
* Counts end at ``SEARCH_COUNTED_MAX``, and facets are counted among the newest hits; both say
  so.  The clock is an argument: what has expired depends on it.
* What an Identity wrote beyond the rate is left out like what has expired; nothing else differs.

What is in the catalogue is ``hanse.core.store.cataloguing``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import (
    Connection,
    Integer,
    bindparam,
    cast,
    func,
    select,
    union_all,
)

from hanse.core.limits import (
    FACET_VALUES_SHOWN_MAX,
    SEARCH_BOOSTED_MAX,
    SEARCH_COUNTED_MAX,
    SEARCH_EXAMINED_MAX,
    SEARCH_FOLLOWED_MAX,
    SEARCH_HIDDEN_MAX,
    SEARCH_LISTED_MAX,
    SEARCH_PROBED_MAX,
    SEARCH_RANKED_MAX,
    SEARCH_READ_MAX,
    SEARCH_SORTED_MAX,
    SEARCH_WALKED_MAX,
)
from hanse.core.market.catalogue_query import (
    CatalogueQuery,
    CatalogueRow,
    Cursor,
    FacetCount,
    FacetCounts,
    Hits,
    check_page,
)
from hanse.core.market.facets import FACETS, Facet
from hanse.core.store.catalogue_order import Found, Order, order_of
from hanse.core.store.catalogue_plan import (
    NOTHING,
    PAUSED,
    Plan,
    found_by_index,
    holding,
    is_among,
    is_probed,
    listed,
    matches,
    plan_of,
    rows_among,
)
from hanse.core.store.network_tables import muted
from hanse.core.store.projections import read_list
from hanse.core.store.search import COLUMN_WEIGHTS, FTS_SELF, catalogue_fts, facets_of
from hanse.core.store.tables import catalogue, facet_values, follows, listing_facets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement

    from hanse.core.store.catalogue_plan import Numbers
    from hanse.core.store.feed_rows import AnyRow

_RANK_SCALE: Final = 1000
_RANK_PER_LEVEL: Final = 400
_SCORE_PER_RANK: Final = 20  # thousandths of a Score for one point of rank
_RANK_AHEAD: Final = 2**40  # of those looked at again, before all others

_BOOST: Final = (
    catalogue.c.level * _RANK_PER_LEVEL
    + func.coalesce(catalogue.c.score_milli, 0) // _SCORE_PER_RANK
)
# The negated bm25, which is a small number with a fraction, in whole thousandths.
_RANK: Final = cast(func.round(func.bm25(FTS_SELF, *COLUMN_WEIGHTS) * -_RANK_SCALE), Integer).label(
    "rank"
)
_LISTS: Final = ("sectors", "tags", "formats", "frameworks", "rights", "trials")

FOLLOWED: Final = (
    select(follows.c.target)
    .where(follows.c.identity == bindparam("identity"), follows.c.weight > 0)
    .order_by(follows.c.target)
    .limit(bindparam("limit"))
)
BOOSTS: Final = select(catalogue.c.n, _BOOST.label("boost")).where(
    catalogue.c.n.in_(bindparam("numbers", expanding=True))
)
ROWS: Final = select(catalogue).where(catalogue.c.n.in_(bindparam("numbers", expanding=True)))
ALL_COUNTS: Final = select(facet_values.c.facet, facet_values.c.value, facet_values.c.listings)
ALL: Final = select(func.coalesce(func.sum(facet_values.c.listings), 0)).where(
    facet_values.c.facet == "state"  # which every Listing has one of
)
EXPIRED: Final = select(catalogue.c.n.label("n"))  # with the time, which is the caller's
MUTED: Final = (
    select(catalogue.c.n.label("n"))
    .select_from(muted)
    .join(
        catalogue,
        (catalogue.c.listing == muted.c.listing) & (catalogue.c.identity == muted.c.identity),
    )
    .where(muted.c.listing.is_not(None))
    .group_by(catalogue.c.n)
)
IS_MUTING: Final = select(muted.c.place).where(muted.c.listing.is_not(None)).limit(1)
# The index knows them by their token; the facets themselves have no index by value.
NOT_OPEN: Final = select(catalogue_fts.c.rowid.label("n")).where(matches(facets_of((PAUSED,))))


@dataclass(frozen=True, slots=True)
class _Count:
    """How many hits were counted, and whether there are more."""

    hits: int
    is_more: bool

    @classmethod
    def of(cls, found: int, *, is_all: bool) -> _Count:
        """Say what is shown of so many found, which may not be all there are."""
        return cls(min(found, SEARCH_COUNTED_MAX), found > SEARCH_COUNTED_MAX or not is_all)


class CatalogueSearch:
    """Answers queries on one connection; changes nothing."""

    def __init__(self, connection: Connection) -> None:
        """Read on ``connection``, in the transaction it has begun."""
        self._connection = connection

    def query(
        self, query: CatalogueQuery, after: Cursor | None = None, limit: int = 50, *, now_ms: int
    ) -> Hits:
        """Return the page of ``query`` behind ``after``.

        Raises ``PriceWithoutCurrency``, ``EmptyRange``, ``ForeignCursor`` or
        ``PageOutOfRange``.
        """
        check_page(limit)
        query.check()
        if after is not None:
            after.check(query)
        plan = self._plan(query, now_ms)
        if query.sort == "relevance" and plan.is_worded:
            return self._ranked(query, plan, after, limit)
        return self._sorted(query, plan, after, limit)

    def count_since(self, query: CatalogueQuery, n: int, *, now_ms: int) -> int:
        """Count the hits that came or changed after the row ``n``, up to the most counted."""
        query.check()
        plan = self._plan(query, now_ms)
        return len(self._newest(plan, SEARCH_COUNTED_MAX, above=n)[0])

    def facets(self, query: CatalogueQuery, *, now_ms: int) -> FacetCounts:
        """Count the values of every facet among the hits of ``query``."""
        query.check()
        plan = self._plan(query, now_ms)
        hidden = self._hidden(plan)
        if hidden is not None:
            return FacetCounts(_by_facet(self._all_counts(hidden)), is_sample=False)
        numbers, is_all = self._newest(plan, SEARCH_RANKED_MAX + 1)
        is_sample = len(numbers) > SEARCH_RANKED_MAX or not is_all
        return FacetCounts(_by_facet(self._counts_of(numbers[:SEARCH_RANKED_MAX])), is_sample)

    # --- hits -------------------------------------------------------------------------------

    def _plan(self, query: CatalogueQuery, now_ms: int) -> Plan:
        followed = None if query.followed_by is None else self._followed(query.followed_by)
        is_muting = self._connection.execute(IS_MUTING).first() is not None
        hidden = self._expired(query, now_ms, is_muting=is_muting)
        return plan_of(query, followed, hidden, now_ms, is_muting=is_muting)

    def _followed(self, identity: bytes) -> list[bytes]:
        found = self._connection.execute(
            FOLLOWED, {"identity": identity, "limit": SEARCH_FOLLOWED_MAX}
        )
        return [row.target for row in found]

    def _expired(self, query: CatalogueQuery, now_ms: int, *, is_muting: bool) -> Numbers | None:
        """Select what has expired and is not asked for, and what is muted.

        ``None`` when it is too much for a set.
        """
        parts: list[Numbers] = [MUTED] if is_muting else []
        if not query.with_expired:
            parts.append(EXPIRED.where(catalogue.c.valid_until_ms <= bindparam("now", now_ms)))
        if not parts:
            return NOTHING
        hidden = parts[0]
        if len(parts) > 1:
            either = union_all(*parts).subquery("either")
            hidden = select(either.c.n.label("n"))
        found = hidden.limit(bindparam("most", SEARCH_HIDDEN_MAX + 1)).subquery("found")
        count = self._connection.execute(select(func.count()).select_from(found)).scalar_one()
        if not count:
            return NOTHING
        return hidden if count <= SEARCH_HIDDEN_MAX else None

    def _newest(self, plan: Plan, most: int, *, above: int | None = None) -> tuple[list[int], bool]:
        """Return the newest hits, and whether every row that may be one was looked at.

        Where rows decide, no more than ``SEARCH_EXAMINED_MAX`` are read.
        """
        found = found_by_index(plan, above)
        if not plan.reads_rows:
            return self._first(holding(plan, found), most), True
        numbers = self._first(found, SEARCH_EXAMINED_MAX + 1)
        hits = self._among(plan, numbers[:SEARCH_EXAMINED_MAX], most)
        return hits, len(numbers) <= SEARCH_EXAMINED_MAX

    def _among(self, plan: Plan, numbers: list[int], most: int) -> list[int]:
        """Return which of ``numbers`` are hits, the newest first."""
        return self._first(rows_among(plan, numbers), most)

    def _first(self, numbers: Numbers, most: int) -> list[int]:
        """Fetch the greatest numbers, as one value: row by row takes longer than to find them."""
        found = numbers.limit(bindparam("most", most)).subquery("found")
        raw = self._connection.execute(select(func.json_group_array(found.c.n))).scalar_one()
        return sorted(msgspec.json.decode(raw, type=list[int]), reverse=True)

    def _count(self, plan: Plan, found: list[int] | None) -> _Count:
        """Count hits, as far as that is shown; ``found`` is what the index finds, or the newest."""
        hidden = self._hidden(plan)
        if hidden is not None:
            return _Count.of(self._connection.execute(ALL).scalar_one() - len(hidden), is_all=True)
        is_found = found is not None and len(found) > SEARCH_COUNTED_MAX
        if is_found and not plan.reads_rows and plan.expired is NOTHING:
            return _Count(SEARCH_COUNTED_MAX, is_more=True)
        if found is not None and plan.reads_rows:
            hits = self._among(plan, found[:SEARCH_EXAMINED_MAX], SEARCH_COUNTED_MAX + 1)
            return _Count.of(len(hits), is_all=len(found) <= SEARCH_EXAMINED_MAX)
        hits, is_all = self._newest(plan, SEARCH_COUNTED_MAX + 1)
        return _Count.of(len(hits), is_all=is_all)

    def _hidden(self, plan: Plan) -> list[int] | None:
        """Return what is not shown of the whole catalogue, if that is asked for and not much."""
        if not plan.is_plain or plan.expired is None:
            return None
        hidden = set(self._first(plan.expired, SEARCH_HIDDEN_MAX + 1))
        if plan.is_without_paused:
            hidden.update(self._first(NOT_OPEN, SEARCH_HIDDEN_MAX + 1))
        return sorted(hidden) if len(hidden) <= SEARCH_HIDDEN_MAX else None

    # --- by relevance -----------------------------------------------------------------------

    def _ranked(self, query: CatalogueQuery, plan: Plan, after: Cursor | None, limit: int) -> Hits:
        most = SEARCH_COUNTED_MAX + 1 if after is None else SEARCH_RANKED_MAX
        numbers, is_all = self._newest(plan, most)
        count = _Count.of(len(numbers), is_all=is_all)
        if after is not None:
            count = _Count(after.count, after.is_more)
        numbers = numbers[:SEARCH_RANKED_MAX]
        is_among_best = after is None or after.value is None or after.value >= _RANK_AHEAD
        most = SEARCH_BOOSTED_MAX + limit + 1 if is_among_best else SEARCH_RANKED_MAX
        ranked = self._boosted(self._rank(plan, numbers, most))
        if after is not None:
            place = _falling(Found(after.n, after.value))
            ranked = [hit for hit in ranked if _falling(hit) > place]
        return self._page(query, plan, ranked, limit, count)

    def _rank(self, plan: Plan, numbers: list[int], most: int) -> list[Found]:
        """Return the best of ``numbers`` by their words; when these tell nothing, the newest."""
        if plan.words is None or not numbers:
            return [Found(n, 0) for n in numbers[:most]]
        n = catalogue_fts.c.rowid
        rows = self._connection.execute(
            select(n, _RANK)
            .where(matches(plan.words), n >= numbers[-1], n <= numbers[0], is_among(n, numbers))
            .order_by(_RANK.desc(), n.desc())
            .limit(bindparam("most", most))
        )
        found = [Found(n, rank) for n, rank in rows]
        if len(found) == most:
            return found
        # What has the words in another form or language only comes after them.
        told = {hit.n for hit in found}
        return found + [Found(n, 0) for n in numbers if n not in told][: most - len(found)]

    def _boosted(self, hits: list[Found]) -> list[Found]:
        """Put the best hits in order again with their boosts, which they carry from here on."""
        best = hits[:SEARCH_BOOSTED_MAX]
        boosted = self._connection.execute(BOOSTS, {"numbers": [hit.n for hit in best]})
        boosts = {row.n: row.boost for row in boosted}
        lifted = [Found(hit.n, (hit.value or 0) + boosts[hit.n] + _RANK_AHEAD) for hit in best]
        return sorted(lifted, key=_falling) + hits[SEARCH_BOOSTED_MAX:]

    # --- in another order -------------------------------------------------------------------

    def _sorted(self, query: CatalogueQuery, plan: Plan, after: Cursor | None, limit: int) -> Hits:
        found = None
        if plan.match is not None:
            most = SEARCH_LISTED_MAX if plan.by_row is None else SEARCH_EXAMINED_MAX
            found = self._first(found_by_index(plan), most + 1)
            if len(found) <= SEARCH_SORTED_MAX:
                return self._sorted_at_once(query, plan, found, after, limit)
        count = self._count(plan, found) if after is None else _Count(after.count, after.is_more)
        conditions = [*plan.ranges, *plan.shown]
        budget = SEARCH_READ_MAX
        if plan.by_row is not None:
            conditions += plan.by_row
        elif found is not None and len(found) <= SEARCH_LISTED_MAX:
            conditions.append(is_among(catalogue.c.n, found))
            budget = SEARCH_WALKED_MAX
        else:
            conditions.append(is_probed(plan))
            budget = SEARCH_PROBED_MAX
        hits, stopped = self._walk(order_of(query), conditions, budget, after, limit + 1)
        return self._page(query, plan, hits, limit, count, stopped)

    def _sorted_at_once(
        self,
        query: CatalogueQuery,
        plan: Plan,
        found: list[int],
        after: Cursor | None,
        limit: int,
    ) -> Hits:
        order = order_of(query)
        statement = rows_among(plan, found, order.column.label("value"))
        if after is None:
            statement = statement.add_columns(func.count().over().label("hits"))
        else:
            statement = statement.where(order.behind(Found(after.n, after.value)))
        rows = self._connection.execute(
            statement.order_by(*order.sorted_by).limit(bindparam("most", limit + 1))
        ).all()
        count = _Count.of(rows[0].hits if rows and after is None else 0, is_all=True)
        if after is not None:
            count = _Count(after.count, after.is_more)
        return self._page(query, plan, [Found(row.n, row.value) for row in rows], limit, count)

    def _walk(
        self,
        order: Order,
        conditions: Sequence[ColumnElement[bool]],
        budget: int,
        after: Cursor | None,
        most: int,
    ) -> tuple[list[Found], Found | None]:
        """Collect ``most`` hits along an index; return where the budget ended, if it did."""
        place = None if after is None else Found(after.n, after.value)
        found: list[Found] = []
        for step in order.steps(place):
            ahead = (*order.within, *step.ahead)
            ends = self._connection.execute(
                select(catalogue.c.n, order.column)
                .where(*ahead)
                .order_by(*step.by)
                .limit(1)
                .offset(bindparam("budget", budget - 1))
            ).one_or_none()
            end = None if ends is None else Found(*ends)
            rows = self._connection.execute(
                select(catalogue.c.n, order.column)
                .where(*ahead, *step.until(end), *conditions)
                .order_by(*step.by)
                .limit(bindparam("most", most - len(found)))
            )
            found += [Found(n, value) for n, value in rows]
            if len(found) == most or end is not None:
                return found, end
        return found, None

    # --- facets -------------------------------------------------------------------------------

    def _all_counts(self, hidden: list[int]) -> dict[tuple[str, str], int]:
        """Return the kept counts less what is not shown."""
        counts = {
            (facet, value): listings
            for facet, value, listings in self._connection.execute(ALL_COUNTS)
        }
        for pair, listings in self._counts_of(hidden).items():
            counts[pair] -= listings
        return counts

    def _counts_of(self, numbers: list[int]) -> dict[tuple[str, str], int]:
        among = listed(numbers)
        counted = (
            select(listing_facets.c.value, func.count().label("listings"))
            .select_from(among)
            .join(listing_facets, listing_facets.c.n == among.c.value)
            .group_by(listing_facets.c.value)
            .subquery("counted")
        )
        found = self._connection.execute(
            select(facet_values.c.facet, facet_values.c.value, counted.c.listings).join_from(
                counted, facet_values, facet_values.c.number == counted.c.value
            )
        )
        return {(facet, value): listings for facet, value, listings in found}

    # --- pages --------------------------------------------------------------------------------

    def _page(
        self,
        query: CatalogueQuery,
        plan: Plan,
        hits: Sequence[Found],
        limit: int,
        count: _Count,
        stopped: Found | None = None,
    ) -> Hits:
        shown = hits[:limit]
        place = shown[-1] if len(hits) > limit else stopped
        following = None
        if place is not None:
            following = Cursor(query.digest, place.value, place.n, count.hits, count.is_more)
        rows = self._rows([hit.n for hit in shown])
        return Hits(rows, following, count.hits, count.is_more, plan.is_cut)

    def _rows(self, numbers: Sequence[int]) -> tuple[CatalogueRow, ...]:
        found = self._connection.execute(ROWS, {"numbers": list(numbers)})
        by_number = {row.n: _row(row) for row in found}
        return tuple(by_number[n] for n in numbers)


def _falling(hit: Found) -> tuple[int, int]:
    """Return what sorts the greatest value first, of equals the newest row."""
    return (-(hit.value or 0), -hit.n)


def _by_facet(
    counts: Mapping[tuple[str, str], int],
) -> dict[Facet, tuple[FacetCount, ...]]:
    found: dict[str, list[FacetCount]] = {facet: [] for facet in FACETS}
    for (facet, value), listings in counts.items():
        if listings and facet in found:
            found[facet].append(FacetCount(value, listings))
    return {
        facet: tuple(
            sorted(found[facet], key=lambda it: (-it.listings, it.value))[:FACET_VALUES_SHOWN_MAX]
        )
        for facet in FACETS
    }


def _row(row: AnyRow) -> CatalogueRow:
    values = dict(row._mapping)  # noqa: SLF001  the public way to a row's columns
    for name in _LISTS:
        values[name] = read_list(values[name])
    return CatalogueRow(**values)
