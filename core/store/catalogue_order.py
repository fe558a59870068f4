"""The orders hits can stand in, and how to go on in one of them from a place.

* Each order is an index of the catalogue that ends in ``n``, so no two rows are level.
* Rows that have no value where they would be sorted by it stand last, the newest first.
* Sorting hits in memory and walking the index give the same order.

Which rows are hits is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import tuple_

from hanse.core.store.tables import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement

    from hanse.core.market.catalogue_query import CatalogueQuery, Cursor

# The column, whether it falls, and whether rows may have no value there.
_SORT_COLUMNS: Final[Mapping[str, tuple[ColumnElement[int], bool, bool]]] = {
    "newest": (catalogue.c.published_ms, True, False),
    "price_up": (catalogue.c.price_micro, False, True),
    "price_down": (catalogue.c.price_micro, True, True),
    "size_up": (catalogue.c.size, False, False),
    "size_down": (catalogue.c.size, True, False),
    "level": (catalogue.c.level, True, False),
    "rating": (catalogue.c.score_milli, True, True),
}


class Found(NamedTuple):
    """A hit before its row is read: its number and what it is sorted by."""

    n: int
    value: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of an index: what is ahead of the place reached, and in which order."""

    column: ColumnElement[int]
    ahead: tuple[ColumnElement[bool], ...]
    falls: bool
    lacks: bool

    @property
    def by(self) -> tuple[ColumnElement[int], ...]:
        """Return what the rows of this stretch are sorted by."""
        n = catalogue.c.n
        if self.lacks:
            return (n.desc(),)
        return (self.column.desc(), n.desc()) if self.falls else (self.column.asc(), n.asc())

    def until(self, end: Found | None) -> tuple[ColumnElement[bool], ...]:
        """Say what lies no further than ``end``."""
        n = catalogue.c.n
        if end is None:
            return ()
        if self.lacks:
            return (n >= end.n,)
        here, there = tuple_(self.column, n), tuple_(end.value, end.n)
        return (here >= there,) if self.falls else (here <= there,)


@dataclass(frozen=True, slots=True)
class Order:
    """A column with an index that ends in ``n``; rows without a value stand last, by ``n``."""

    column: ColumnElement[int]
    falls: bool
    may_lack: bool
    within: tuple[ColumnElement[bool], ...]  # where in the index hits can be

    def steps(self, after: Found | None) -> Iterator[Step]:
        """Give what is still to be walked behind ``after``: values first, then the rest."""
        n = catalogue.c.n
        is_among_rest = after is not None and after.value is None
        if not is_among_rest:
            ahead: list[ColumnElement[bool]] = []
            if self.may_lack:
                ahead.append(self.column.is_not(None))
            if after is not None:
                here, place = tuple_(self.column, n), tuple_(after.value, after.n)
                ahead.append(here < place if self.falls else here > place)
            yield Step(self.column, tuple(ahead), self.falls, lacks=False)
        if self.may_lack:
            ahead = [self.column.is_(None)]
            if after is not None and is_among_rest:
                ahead.append(n < after.n)
            yield Step(self.column, tuple(ahead), falls=True, lacks=True)

    def key(self, hit: Found) -> tuple[bool, int, int]:
        """Return what sorts hits as the steps would."""
        if hit.value is None:
            return (True, 0, -hit.n)
        return (False, -hit.value, -hit.n) if self.falls else (False, hit.value, hit.n)


def order_of(query: CatalogueQuery) -> Order:
    """Return the order ``query`` asks for; what nothing ranks stands newest first."""
    sort = "newest" if query.sort == "relevance" else query.sort
    column, falls, may_lack = _SORT_COLUMNS[sort]
    within: list[ColumnElement[bool]] = []
    if sort in {"price_up", "price_down"}:
        within.append(catalogue.c.currency == query.currency)
        within += between(column, query.price_min_micro, query.price_max_micro)
    elif sort in {"size_up", "size_down"}:
        within += between(column, query.size_min, query.size_max)
    elif sort == "level" and query.level_min:
        within.append(column >= query.level_min)
    elif sort == "rating":
        within += between(column, query.score_min_milli, None)
    return Order(column, falls, may_lack, tuple(within))


def in_order(hits: Sequence[Found], order: Order, after: Cursor | None) -> list[Found]:
    """Sort ``hits`` and leave those up to ``after`` out."""
    return behind(sorted(hits, key=order.key), after, order.key)


def behind(
    hits: list[Found], after: Cursor | None, key: Callable[[Found], tuple[int, ...]]
) -> list[Found]:
    """Leave out of ``hits``, sorted by ``key``, those up to ``after``."""
    if after is None:
        return hits
    place = key(Found(after.n, after.value))
    return [hit for hit in hits if key(hit) > place]


def falling(hit: Found) -> tuple[int, int]:
    """Return what sorts the greatest value first, of equals the newest row."""
    return (-(hit.value or 0), -hit.n)


def between(
    column: ColumnElement[int], least: int | None, most: int | None
) -> Iterator[ColumnElement[bool]]:
    """Say that ``column`` is within the bounds that are given, both included."""
    if least is not None:
        yield column >= least
    if most is not None:
        yield column <= most
