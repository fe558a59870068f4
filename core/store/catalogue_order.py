"""The orders hits can stand in, and how to go on in one of them from a place.

* Each order is an index of the catalogue that ends in ``n``, so no two rows are level.
* Rows that have no value where they would be sorted by it stand last, the newest first.
* Sorting hits at once and walking the index to them give the same order.

Which rows are hits is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, case, or_, tuple_

from hanse.core.store.tables import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import ColumnElement

    from hanse.core.market.catalogue_query import CatalogueQuery

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

    @property
    def sorted_by(self) -> tuple[ColumnElement[Any], ...]:
        """Return what sorts rows at once as the steps would walk to them."""
        n = catalogue.c.n
        column = self.column.desc() if self.falls else self.column.asc()
        if not self.may_lack:
            return (column, n.desc() if self.falls else n.asc())
        if self.falls:
            return (self.column.is_(None), column, n.desc())
        # Of those without a value the newest is first, of the others the oldest.
        rising = case((self.column.is_(None), -n), else_=n)
        return (self.column.is_(None), column, rising)

    def behind(self, after: Found) -> ColumnElement[bool]:
        """Say that a row stands behind ``after``."""
        return or_(*(and_(*step.ahead) for step in self.steps(after)))

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


def order_of(query: CatalogueQuery) -> Order:
    """Return the order ``query`` asks for; what nothing ranks stands newest first."""
    sort = "newest" if query.sort == "relevance" else query.sort
    column, falls, may_lack = _SORT_COLUMNS[sort]
    within: list[ColumnElement[bool]] = []
    if sort in {"price_up", "price_down"}:
        within.append(catalogue.c.currency == (query.currency or "").upper())
        within += between(column, query.price_min_micro, query.price_max_micro)
    elif sort in {"size_up", "size_down"}:
        within += between(column, query.size_min, query.size_max)
    elif sort == "level" and query.level_min:
        within.append(column >= query.level_min)
    elif sort == "rating":
        within += between(column, query.score_min_milli, None)
    return Order(column, falls, may_lack, tuple(within))


def between(
    column: ColumnElement[int], least: int | None, most: int | None
) -> Iterator[ColumnElement[bool]]:
    """Say that ``column`` is within the bounds that are given, both included."""
    if least is not None:
        yield column >= least
    if most is not None:
        yield column <= most
