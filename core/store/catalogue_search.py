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

What is in the catalogue is ``hanse.core.store.cataloguing``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection, Integer, bindparam, cast, func, literal, select

from hanse.core.limits import (
    FACET_VALUES_SHOWN_MAX,
    SEARCH_BOOSTED_MAX,
    SEARCH_COUNTED_MAX,
    SEARCH_EXAMINED_MAX,
    SEARCH_FOLLOWED_MAX,
    SEARCH_PROBED_MAX,
    SEARCH_RANKED_MAX,
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
from hanse.core.store.catalogue_order import Found, Order, behind, falling, in_order, order_of
from hanse.core.store.catalogue_plan import (
    STATE_OPEN,
    Plan,
    hits_of,
    newest,
    number_in,
    plan_of,
    probe,
)
from hanse.core.store.projections import read_list
from hanse.core.store.search import COLUMN_WEIGHTS, FTS_SELF, catalogue_fts
from hanse.core.store.tables import catalogue, facet_values, follows, listing_facets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Select

    from hanse.core.store.feed_rows import AnyRow

_RANK_SCALE: Final = 1000
_RANK_PER_LEVEL: Final = 400
_SCORE_PER_RANK: Final = 20  # thousandths of a Score for one point of rank
_RANK_AHEAD: Final = 2**40  # of those looked at again, before all others

_BOOST: Final = (
    catalogue.c.level * _RANK_PER_LEVEL
    + func.coalesce(catalogue.c.score_milli, 0) // _SCORE_PER_RANK
)
_LISTS: Final = ("sectors", "tags", "formats", "frameworks", "rights", "trials")

# The negated bm25, which is a small number with a fraction, in whole thousandths.
BY_WORDS: Final = cast(func.round(func.bm25(FTS_SELF, *COLUMN_WEIGHTS) * -_RANK_SCALE), Integer)

FOLLOWED: Final = (
    select(follows.c.target)
    .where(follows.c.identity == bindparam("identity"), follows.c.weight > 0)
    .order_by(follows.c.target)
    .limit(bindparam("limit"))
)
ROWS: Final = select(catalogue).where(catalogue.c.n.in_(bindparam("numbers", expanding=True)))
ALL_COUNTS: Final = select(facet_values.c.facet, facet_values.c.value, facet_values.c.listings)
_numbers: Final = func.json_each(bindparam("numbers")).table_valued("value", name="numbers")
_counted: Final = (
    select(listing_facets.c.value, func.count().label("listings"))
    .select_from(_numbers)
    .join(listing_facets, listing_facets.c.n == _numbers.c.value)
    .group_by(listing_facets.c.value)
    .subquery("counted")
)
COUNTS_OF: Final = select(
    facet_values.c.facet, facet_values.c.value, _counted.c.listings
).join_from(_counted, facet_values, facet_values.c.number == _counted.c.value)
# Each by its index.
EXPIRED: Final = (
    select(catalogue.c.n)
    .where(catalogue.c.valid_until_ms <= bindparam("now"))
    .limit(bindparam("limit"))
)
NOT_OPEN: Final = (
    select(listing_facets.c.n)
    .select_from(facet_values)
    .join(listing_facets, listing_facets.c.value == facet_values.c.number)
    .where(facet_values.c.facet == "state", facet_values.c.value != STATE_OPEN)
    .limit(bindparam("limit"))
)


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
        if query.sort == "relevance" and plan.terms:
            return self._ranked(query, plan, after, limit)
        return self._sorted(query, plan, after, limit)

    def count_since(self, query: CatalogueQuery, n: int, *, now_ms: int) -> int:
        """Count the hits that came or changed after the row ``n``, up to the most counted."""
        query.check()
        plan = self._plan(query, now_ms)
        return self._how_many(plan, SEARCH_COUNTED_MAX, floor=n)

    def facets(self, query: CatalogueQuery, *, now_ms: int) -> FacetCounts:
        """Count the values of every facet among the hits of ``query``."""
        query.check()
        plan = self._plan(query, now_ms)
        if plan.is_plain:
            counted = self._all_counts(now_ms)
            if counted is not None:
                return FacetCounts(_by_facet(counted), is_sample=False)
        floor = self._floor(plan)
        hits = self._newest(plan, SEARCH_RANKED_MAX + 1, floor=floor)
        numbers = [row[0] for row in hits[:SEARCH_RANKED_MAX]]
        is_sample = len(hits) > SEARCH_RANKED_MAX or floor is not None
        return FacetCounts(_by_facet(self._counts_of(numbers)), is_sample)

    # --- hits -------------------------------------------------------------------------------

    def _plan(self, query: CatalogueQuery, now_ms: int) -> Plan:
        followed = None if query.followed_by is None else self._followed(query.followed_by)
        return plan_of(query, followed, now_ms)

    def _followed(self, identity: bytes) -> list[bytes]:
        found = self._connection.execute(
            FOLLOWED, {"identity": identity, "limit": SEARCH_FOLLOWED_MAX}
        )
        return [row.target for row in found]

    def _floor(self, plan: Plan) -> int | None:
        """Return the lowest number that is looked at, or ``None`` when every hit is.

        What meets the words is then asked for more; of very many only the newest are.
        """
        if plan.is_wide:  # to go through such hits costs as much as to find them
            return None
        row = self._connection.execute(
            newest(plan, number_in(plan))
            .limit(1)
            .offset(bindparam("examined", SEARCH_EXAMINED_MAX))
        ).first()
        return None if row is None else int(row[0])

    def _newest(
        self, plan: Plan, most: int, *values: ColumnElement[int], floor: int | None = None
    ) -> Sequence[AnyRow]:
        """Return number and ``values`` of the newest hits above ``floor``."""
        statement = hits_of(plan, number_in(plan), *values)
        if floor is not None:
            statement = statement.where(number_in(plan) > floor)
        return self._connection.execute(statement.limit(bindparam("most", most))).all()

    def _how_many(
        self, plan: Plan, most: int, *, floor: int | None, below: int | None = None
    ) -> int:
        """Count the hits above ``floor`` and under ``below``, up to ``most``."""
        statement = hits_of(plan, number_in(plan).label("n"))
        if floor is not None:
            statement = statement.where(number_in(plan) > floor)
        if below is not None:
            statement = statement.where(number_in(plan) < below)
        found = statement.limit(bindparam("most", most)).subquery("found")
        return self._connection.execute(select(func.count()).select_from(found)).scalar_one()

    def _count(self, plan: Plan) -> _Count:
        floor = self._floor(plan)
        hits = self._how_many(plan, SEARCH_COUNTED_MAX + 1, floor=floor)
        return _Count.of(hits, is_all=floor is None)

    # --- by relevance -----------------------------------------------------------------------

    def _ranked(self, query: CatalogueQuery, plan: Plan, after: Cursor | None, limit: int) -> Hits:
        floor = self._floor(plan)
        is_among_best = after is None or after.value is None or after.value >= _RANK_AHEAD
        most = SEARCH_BOOSTED_MAX + limit + 1 if is_among_best else SEARCH_RANKED_MAX
        rows = self._connection.execute(best_of(plan, floor).limit(bindparam("most", most))).all()
        if after is not None:
            count = _Count(after.count, after.is_more)
        else:
            found, lowest = (rows[0].found, rows[0].lowest) if rows else (0, 0)
            if found == SEARCH_RANKED_MAX:
                rest = SEARCH_COUNTED_MAX + 1 - found
                found += self._how_many(plan, rest, floor=floor, below=lowest)
            count = _Count.of(found, is_all=floor is None)
        return self._page(query, plan, behind(_boosted(rows), after, falling), limit, count)

    # --- in another order -------------------------------------------------------------------

    def _sorted(self, query: CatalogueQuery, plan: Plan, after: Cursor | None, limit: int) -> Hits:
        order = order_of(query)
        if plan.match is not None and self._floor(plan) is None:
            rows = self._newest(plan, SEARCH_SORTED_MAX + 1, order.column)
            if len(rows) <= SEARCH_SORTED_MAX:
                hits = [Found(n, value) for n, value in rows]
                count = _Count.of(len(hits), is_all=True)
                return self._page(query, plan, in_order(hits, order, after), limit, count)
        count = self._count(plan) if after is None else _Count(after.count, after.is_more)
        found, stopped = self._walk(order, plan, after, limit + 1)
        return self._page(query, plan, found, limit, count, stopped)

    def _walk(
        self, order: Order, plan: Plan, after: Cursor | None, most: int
    ) -> tuple[list[Found], Found | None]:
        """Collect ``most`` hits along an index; return where the budget ended, if it did."""
        budget = SEARCH_WALKED_MAX if plan.match is None else SEARCH_PROBED_MAX
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
                .where(*ahead, *step.until(end), *plan.conditions, *probe(plan))
                .order_by(*step.by)
                .limit(bindparam("most", most - len(found)))
            )
            found += [Found(n, value) for n, value in rows]
            if len(found) == most or end is not None:
                return found, end
        return found, None

    # --- facets -------------------------------------------------------------------------------

    def _all_counts(self, now_ms: int) -> dict[tuple[str, str], int] | None:
        """Return the kept counts less what is not shown; ``None`` when that is too much."""
        most = {"limit": SEARCH_RANKED_MAX + 1}
        hidden = {row.n for row in self._connection.execute(EXPIRED, {"now": now_ms, **most})}
        hidden.update(row.n for row in self._connection.execute(NOT_OPEN, most))
        if len(hidden) > SEARCH_RANKED_MAX:
            return None
        counts = {
            (facet, value): listings
            for facet, value, listings in self._connection.execute(ALL_COUNTS)
        }
        for pair, listings in self._counts_of(sorted(hidden)).items():
            counts[pair] -= listings
        return counts

    def _counts_of(self, numbers: Sequence[int]) -> dict[tuple[str, str], int]:
        found = self._connection.execute(
            COUNTS_OF, {"numbers": msgspec.json.encode(numbers).decode()}
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


def best_of(plan: Plan, floor: int | None) -> Select[*tuple[int, ...]]:
    """Select the newest hits, ordered by their words, with how many and the oldest of them."""
    n = catalogue_fts.c.rowid
    rank = literal(0) if plan.is_wide else BY_WORDS
    newest = hits_of(plan, n.label("n"), rank.label("rank"), _BOOST.label("boost"))
    if floor is not None:
        newest = newest.where(n > floor)
    found = newest.limit(bindparam("ranked", SEARCH_RANKED_MAX)).subquery("newest")
    return select(
        found.c.n,
        found.c.rank,
        found.c.boost,
        func.count().over().label("found"),
        func.min(found.c.n).over().label("lowest"),
    ).order_by(found.c.rank.desc(), found.c.n.desc())


def _boosted(rows: Sequence[AnyRow]) -> list[Found]:
    """Put the best hits in order again with their boosts, which they carry; leave the rest."""
    best = [Found(row.n, row.rank + row.boost + _RANK_AHEAD) for row in rows[:SEARCH_BOOSTED_MAX]]
    return sorted(best, key=falling) + [Found(row.n, row.rank) for row in rows[SEARCH_BOOSTED_MAX:]]


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
