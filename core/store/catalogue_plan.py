"""A query as the tables are asked: a match of words and tokens, and conditions on the row.

* What the index can say (words, values of facets, sellers) is asked of it; a range is asked
  of it as bands and then exactly of the row.
* Conditions never make SQLite choose another index than that of the order.

How hits are sorted, counted and shown is ``hanse.core.store.catalogue_search``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    Integer,
    Select,
    UnaryExpression,
    bindparam,
    column,
    false,
    func,
    select,
    true,
)
from sqlalchemy.sql import operators

from hanse.core.limits import MONEY_AMOUNT_MAX
from hanse.core.market.facets import Facet, price_band, size_band
from hanse.core.market.search import Bridge, Word, facet_token, parse_search
from hanse.core.store.catalogue import CONTRADICTED
from hanse.core.store.catalogue_order import between
from hanse.core.store.network_tables import muted
from hanse.core.store.search import FTS_SELF, catalogue_fts, match_of, rank_of
from hanse.core.store.tables import catalogue, facet_values, listing_facets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.sql.selectable import TableValuedAlias

    from hanse.core.market.catalogue_query import CatalogueQuery
    from hanse.core.market.search import Term

T = TypeVar("T")
Numbers = Select[int]  # of rows of the catalogue
Rows = Select[*tuple[Any, ...]]

STATE_OPEN: Final = "open"
PAUSED: Final = facet_token("state", "paused")  # what is withdrawn is not in the catalogue at all
NOTHING: Final[Numbers] = select(catalogue.c.n.label("n")).where(false())

_LEVELS: Final = range(5)
_MICRO_DIGITS: Final = 6
_MAGNITUDES: Final = 19  # powers of ten that a 64-bit number can have
_WIDE_LETTERS: Final = 3  # a beginning this short is found too often to tell hits apart


@dataclass(frozen=True, slots=True)
class Plan:
    """A query as the tables are asked.

    ``match`` is of words and facet tokens, and of nothing paused that is not asked for;
    ``words`` is of the words that tell hits apart, any of them.  ``ranges`` and ``shown`` are
    conditions on the row.  ``by_row`` says the same as ``match`` of a row, if there are no
    words in it.  ``expired``, where it is given, are the numbers of what has expired or is muted,
    so that no row needs to be read for it.
    """

    match: str | None
    words: str | None
    ranges: tuple[ColumnElement[bool], ...]
    shown: tuple[ColumnElement[bool], ...]
    by_row: tuple[ColumnElement[bool], ...] | None
    expired: Numbers | None
    is_worded: bool
    is_without_paused: bool
    is_cut: bool

    @property
    def reads_rows(self) -> bool:
        """Say whether the index alone does not tell what a hit is."""
        return self.match is None or bool(self.ranges) or self.expired is None

    @property
    def is_plain(self) -> bool:
        """Say whether nothing is asked for but what is shown."""
        return self.match is None and not self.ranges


def plan_of(
    query: CatalogueQuery,
    sellers: Iterable[bytes] | None,
    expired: Numbers | None,
    now_ms: int,
    *,
    is_muting: bool = False,
) -> Plan:
    """Plan ``query``; ``sellers``, where given, are the only ones whose Listings count.

    With ``is_muting`` some Listing is not shown because its seller wrote too much.
    """
    search = parse_search(query.text, is_typing=query.is_typing)
    sellers = None if sellers is None else tuple(sellers)
    groups = list(_token_groups(query))
    if sellers is not None:
        groups.append([facet_token("identity", seller.hex()) for seller in sellers])
    without = [] if query.with_paused else [PAUSED]
    levels = [facet_token("level", str(level)) for level in _LEVELS]
    if query.level_min and (query.level_min > len(_LEVELS) // 2 or not (search.terms or groups)):
        groups.append(levels[query.level_min :])
    else:  # the few Levels that do not count are left out sooner than the many are found
        without += levels[: query.level_min]
    shown: list[ColumnElement[bool]] = []
    if not query.with_paused:
        shown.append(aside(catalogue.c.state) == STATE_OPEN)
    if not query.with_expired:
        shown.append(aside(catalogue.c.valid_until_ms) > now_ms)
    if is_muting:
        here = select(muted.c.place).where(
            muted.c.listing == catalogue.c.listing, muted.c.identity == catalogue.c.identity
        )
        shown.append(~here.correlate(catalogue).exists())
    return Plan(
        match=match_of(search.terms, groups, without),
        # What is looked for by every place of the index is not looked for a second time.
        words=rank_of([term for term in search.terms if not _is_wide(term)]),
        ranges=tuple(_ranges(query)),
        shown=tuple(shown),
        by_row=None if search.terms else tuple(_by_row(query, sellers)),
        expired=expired,
        is_worded=bool(search.terms),
        is_without_paused=not query.with_paused,
        is_cut=search.is_cut,
    )


def found_by_index(plan: Plan, above: int | None = None) -> Numbers:
    """Select what the index finds, the newest first, whatever else its rows must meet."""
    n = catalogue.c.n if plan.match is None else catalogue_fts.c.rowid
    statement = select(n.label("n")).order_by(n.desc())
    if plan.match is not None:
        statement = statement.where(matches(plan.match))
    return statement if above is None else statement.where(n > above)


def holding(plan: Plan, found: Numbers) -> Numbers:
    """Leave out of what the index finds what has expired; only for a plan that reads no rows."""
    if plan.expired is None or plan.expired is NOTHING:
        return found
    return found.where(aside(catalogue_fts.c.rowid).not_in(plan.expired))


def rows_among(plan: Plan, numbers: list[int], *values: ColumnElement[Any]) -> Rows:
    """Select number and ``values`` of the rows in ``numbers`` that are hits, in no order."""
    among = listed(numbers)
    return (
        select(catalogue.c.n, *values)
        .select_from(among)
        .join(catalogue, catalogue.c.n == among.c.value)
        .where(*plan.ranges, *plan.shown)
    )


def is_among(column: ColumnElement[int], numbers: list[int]) -> ColumnElement[bool]:
    """Say that ``column`` is one of ``numbers``; they are looked up in a set, not one by one."""
    return aside(column).in_(select(listed(numbers).c.value))


def listed(numbers: list[int]) -> TableValuedAlias:
    """Select from ``numbers`` as if they were a table with the column ``value``."""
    # One value, whatever their count: a statement takes only so many.
    raw = msgspec.json.encode(numbers).decode()
    return func.json_each(bindparam("numbers", raw, unique=True)).table_valued(
        column("value", Integer), name="numbers"
    )


def is_probed(plan: Plan) -> ColumnElement[bool]:
    """Say that a row of the catalogue is a hit of the index, which is asked row by row."""
    here = select(catalogue_fts.c.rowid).where(
        matches(plan.match), catalogue_fts.c.rowid == catalogue.c.n
    )
    return here.correlate(catalogue).exists()


def matches(match: str | None) -> ColumnElement[bool]:
    """Say that a row of the index is a hit of ``match``."""
    assert match is not None
    return FTS_SELF.bool_op("MATCH")(bindparam("match", match, unique=True))


def aside(column: ColumnElement[T]) -> ColumnElement[T]:
    """Keep SQLite from choosing an index of ``column``: the order's index is the one to walk."""
    return UnaryExpression(column, operator=operators.custom_op("+"), type_=column.type)


def _ranges(query: CatalogueQuery) -> Iterator[ColumnElement[bool]]:
    """Say what of a row must be met beside its tokens; no index is chosen for it."""
    yield from between(aside(catalogue.c.price_micro), query.price_min_micro, query.price_max_micro)
    yield from between(aside(catalogue.c.size), query.size_min, query.size_max)
    yield from between(aside(catalogue.c.score_milli), query.score_min_milli, None)
    if query.contradicted is False:  # those that are have a token, the many others none
        yield aside(catalogue.c.contradicted).is_(false())


def _chosen(query: CatalogueQuery) -> Iterator[tuple[Facet, Sequence[str]]]:
    """Give the values chosen of each facet; a hit has one of each."""
    chosen: tuple[tuple[Facet, Sequence[str]], ...] = (
        ("sector", query.sectors),
        ("task", query.tasks),
        ("format", query.formats),
        ("framework", query.frameworks),
        ("licence", query.licences),
        ("trial", query.trials),
        ("lang", query.langs),
        *(("right", (right,)) for right in query.rights),
    )
    return ((facet, values) for facet, values in chosen if values)


def _token_groups(query: CatalogueQuery) -> Iterator[list[str]]:
    """Give the facet tokens of each filter; a hit has one of each group."""
    for facet, values in _chosen(query):
        yield [facet_token(facet, value) for value in values]
    yield from _bands(query)
    if query.identity is not None:
        yield [facet_token("identity", query.identity.hex())]
    if query.contradicted:
        yield [CONTRADICTED]


def _by_row(
    query: CatalogueQuery, sellers: Sequence[bytes] | None
) -> Iterator[ColumnElement[bool]]:
    """Say the same of a row: along a walk that is sooner asked than the index is."""
    for facet, values in _chosen(query):
        numbers = select(facet_values.c.number).where(
            facet_values.c.facet == facet,
            facet_values.c.value.in_([value.casefold() for value in values]),
        )
        has = select(listing_facets.c.n).where(
            listing_facets.c.n == catalogue.c.n, listing_facets.c.value.in_(numbers)
        )
        yield has.correlate(catalogue).exists()
    if query.level_min:
        yield aside(catalogue.c.level) >= query.level_min
    if query.contradicted:
        yield aside(catalogue.c.contradicted).is_(true())
    if query.currency is not None:
        yield aside(catalogue.c.currency) == query.currency.upper()
    if query.identity is not None:
        yield aside(catalogue.c.identity) == query.identity
    if sellers is not None:
        yield aside(catalogue.c.identity).in_(sellers)


def _bands(query: CatalogueQuery) -> Iterator[list[str]]:
    """Give the bands that the ranges touch; those of a price say its currency too."""
    currency = query.currency
    if currency is not None and (query.price_min_micro or query.price_max_micro is not None):
        prices = _magnitudes(query.price_min_micro, query.price_max_micro)
        bands = {price_band(micro, currency, _MICRO_DIGITS) for micro in prices}
        yield [facet_token("price_band", band) for band in sorted(bands)]
    elif currency is not None:
        yield [facet_token("currency", currency)]
    if query.size_min or query.size_max is not None:
        bands = {size_band(size) for size in _magnitudes(query.size_min, query.size_max)}
        yield [facet_token("size_band", band) for band in sorted(bands)]


def _magnitudes(least: int | None, most: int | None) -> Iterator[int]:
    """Give a number of every band that the range touches: bands begin at powers of ten."""
    low = least or 0
    high = MONEY_AMOUNT_MAX if most is None else most
    yield low
    # What is less than a millionth is kept as none, and yet it is not free.
    yield max(low, 1)
    yield from (10**power for power in range(_MAGNITUDES) if low < 10**power <= high)


def _is_wide(term: Term) -> bool:
    if isinstance(term, Bridge):
        return any(_is_wide(word) for word in term.words)
    return isinstance(term, Word) and term.is_typed and len(term.text) <= _WIDE_LETTERS
