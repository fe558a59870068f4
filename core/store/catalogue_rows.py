"""Reading for the catalogue: the rows it is made of, and what stands in it now.

Every list is read for some Listings at a time, or page by page; every query searches by
an index (a test reads its plan).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import (
    BindParameter,
    Connection,
    and_,
    bindparam,
    column,
    func,
    select,
    table,
    true,
    tuple_,
)

from hanse.core.market.search import SearchDoc
from hanse.core.store.catalogue import CatalogueEntry, Sources, catalogue_entry
from hanse.core.store.tables import (
    catalogue,
    catalogue_text,
    facet_values,
    listing_facets,
    listings,
    prices,
    releases,
    renewals,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hanse.core.store.feed_rows import AnyRow

LISTINGS_PER_SLICE: Final = 500
_ROWS_PER_PAGE: Final = 1000
_sqlite_sequence: Final = table("sqlite_sequence", column("name"), column("seq"))

IDS: Final[BindParameter[Sequence[object]]] = bindparam("ids", expanding=True)
_OPENED: Final = and_(listings.c.listing.in_(IDS), listings.c.opened.is_(true()))

OPENED: Final = select(listings).where(_OPENED)
RELEASES_OF_OPENED: Final = (
    select(*(it for it in releases.columns if it is not releases.c.notes))
    .select_from(listings)
    .join(
        releases,
        and_(releases.c.listing == listings.c.listing, releases.c.identity == listings.c.identity),
    )
    .where(_OPENED)
)
PRICES_OF_OPENED: Final = (
    select(prices)
    .select_from(listings)
    .join(
        prices,
        and_(prices.c.listing == listings.c.listing, prices.c.identity == listings.c.identity),
    )
    .where(_OPENED)
)
RENEWALS_OF_OPENED: Final = (
    select(renewals)
    .select_from(listings)
    .join(
        renewals,
        and_(renewals.c.target == listings.c.listing, renewals.c.identity == listings.c.identity),
    )
    .where(_OPENED)
)
DOC_COLUMNS: Final = tuple(it.name for it in catalogue_text.columns if it.name != "n")
VALUES: Final = tuple(it.name for it in catalogue.columns if it.name != "n")
HELD: Final = (
    select(
        *catalogue.columns,
        *(func.coalesce(catalogue_text.c[it], "").label(f"doc_{it}") for it in DOC_COLUMNS),
    )
    .outerjoin(catalogue_text, catalogue_text.c.n == catalogue.c.n)
    .where(catalogue.c.listing.in_(IDS))
)
_IS_AFTER: Final = tuple_(listings.c.time_ms, listings.c.listing) > tuple_(
    bindparam("after_ms"), bindparam("after")
)
_NOT_HELD: Final = ~(
    select(catalogue.c.n).where(catalogue.c.listing == listings.c.listing).exists()
)
ALL_NOT_HELD: Final = (
    select(listings.c.listing, listings.c.time_ms)
    .where(listings.c.opened.is_(true()), _IS_AFTER, _NOT_HELD)
    .order_by(listings.c.time_ms, listings.c.listing)
    .limit(LISTINGS_PER_SLICE)
)
NOT_HELD_OF_IDENTITY: Final = ALL_NOT_HELD.where(listings.c.identity == bindparam("identity"))
ALL_HELD: Final = (
    select(catalogue.c.n, catalogue.c.listing)
    .where(catalogue.c.n > bindparam("after"), catalogue.c.n <= bindparam("last"))
    .order_by(catalogue.c.n)
    .limit(LISTINGS_PER_SLICE)
)
HELD_OF_IDENTITY: Final = ALL_HELD.where(catalogue.c.identity == bindparam("identity"))
DOCS_AFTER: Final = (
    select(catalogue_text)
    .where(catalogue_text.c.n > bindparam("after"))
    .order_by(catalogue_text.c.n)
    .limit(_ROWS_PER_PAGE)
)
FACETS_OF: Final = (
    select(facet_values.c.facet, facet_values.c.value)
    .join(listing_facets, listing_facets.c.value == facet_values.c.number)
    .where(listing_facets.c.n == bindparam("n"))
)
NEWEST_N: Final = select(_sqlite_sequence.c.seq).where(_sqlite_sequence.c.name == catalogue.name)


@dataclass(frozen=True, slots=True)
class Held:
    """One Listing as the catalogue has it now."""

    n: int
    values: Mapping[str, object]
    doc: SearchDoc


class CatalogueRows:
    """What the catalogue is made of and what stands in it, on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Read on ``connection``."""
        self._connection = connection

    def made(self, ids: Sequence[bytes]) -> dict[bytes, CatalogueEntry]:
        """Return what should stand in the catalogue of these Listings."""
        which = {"ids": ids}
        found = self._connection.execute(OPENED, which).all()
        if not found:
            return {}
        own_releases = _grouped(self._connection.execute(RELEASES_OF_OPENED, which), "listing")
        own_prices = _grouped(self._connection.execute(PRICES_OF_OPENED, which), "listing")
        renewed = {row.target: row for row in self._connection.execute(RENEWALS_OF_OPENED, which)}
        made: dict[bytes, CatalogueEntry] = {}
        for row in found:
            in_order = sorted(
                own_releases.get(row.listing, ()), key=lambda it: (it.time_ms, it.author, it.seq)
            )
            entry = catalogue_entry(
                Sources(row, in_order, own_prices.get(row.listing, ()), renewed.get(row.listing))
            )
            if entry is not None:
                made[row.listing] = entry
        return made

    def held(self, ids: Sequence[bytes]) -> dict[bytes, Held]:
        """Return what stands in the catalogue of these Listings."""
        found = self._connection.execute(HELD, {"ids": ids})
        return {
            row.listing: Held(
                row.n, {name: getattr(row, name) for name in VALUES}, _doc(row, "doc_")
            )
            for row in found
        }

    def newest_n(self) -> int:
        """Return the number of the change that came last, 0 before the first."""
        return cast("int | None", self._connection.execute(NEWEST_N).scalar_one_or_none()) or 0

    def docs(self) -> Iterator[tuple[int, SearchDoc]]:
        """Yield what is indexed, in the order of the numbers."""
        after = 0
        while page := self._connection.execute(DOCS_AFTER, {"after": after}).all():
            for row in page:
                yield row.n, _doc(row, "")
            after = page[-1].n


def _grouped(rows: Iterable[AnyRow], name: str) -> dict[bytes, list[AnyRow]]:
    found: dict[bytes, list[AnyRow]] = defaultdict(list)
    for row in rows:
        found[getattr(row, name)].append(row)
    return found


def _doc(row: AnyRow, prefix: str) -> SearchDoc:
    return SearchDoc(**{name: getattr(row, prefix + name) for name in DOC_COLUMNS})
