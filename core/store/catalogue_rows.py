"""Reading for the catalogue: the rows it is made of, and what stands in it now.

Every list is read for some Listings at a time, or page by page; every query searches by
an index (a test reads its plan).
"""

from __future__ import annotations

import itertools
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
from hanse.core.store.catalogue import (
    CatalogueEntry,
    Sources,
    catalogue_entry,
    shown_release,
)
from hanse.core.store.certificates import (
    ARTIFACTS_OF_CERTS,
    ARTIFACTS_OF_IDENTITY,
    COUNTING,
    RELEASES_REVIEWED_BY,
    VERDICTS_OF_RELEASES,
)
from hanse.core.store.projections import Judged
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
SHOWING_ARTIFACT: Final = ALL_HELD.where(catalogue.c.artifact == bindparam("artifact"))
LISTINGS_OF_RELEASES: Final = select(releases.c.listing).where(releases.c.release.in_(IDS))
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
        for listed in own_releases.values():
            listed.sort(key=lambda it: (it.time_ms, it.author, it.seq))
        shown = {listing: shown_release(it) for listing, it in own_releases.items()}
        found_of, reviews_of = self._judged(it for it in shown.values() if it is not None)
        made: dict[bytes, CatalogueEntry] = {}
        for row in found:
            release = shown.get(row.listing)
            entry = catalogue_entry(
                Sources(
                    row,
                    own_releases.get(row.listing, ()),
                    own_prices.get(row.listing, ()),
                    renewed.get(row.listing),
                    () if release is None else found_of.get(release.artifact, ()),
                    () if release is None else reviews_of.get(release.release, ()),
                )
            )
            if entry is not None:
                made[row.listing] = entry
        return made

    def _judged(
        self, shown: Iterable[AnyRow]
    ) -> tuple[dict[bytes, list[AnyRow]], dict[bytes, list[AnyRow]]]:
        """Return what was found of Artifacts shown, and what people say of the Releases."""
        artifact_of = {release.release: release.artifact for release in shown}
        if not artifact_of:
            return {}, {}
        found = self._connection.execute(COUNTING, {"ids": sorted(set(artifact_of.values()))})
        said = self._connection.execute(VERDICTS_OF_RELEASES, {"ids": sorted(artifact_of)})
        return (
            _grouped(found, "artifact"),
            _grouped((it for it in said if it.artifact == artifact_of[it.release]), "release"),
        )

    def judged_by_identity(self, identity: bytes) -> Judged:
        """Return what one Identity said something about, as the rows have it now."""
        which = {"identity": identity}
        return Judged(
            artifacts=set(self._connection.execute(ARTIFACTS_OF_IDENTITY, which).scalars()),
            releases=set(self._connection.execute(RELEASES_REVIEWED_BY, which).scalars()),
        )

    def showing(self, judged: Judged) -> Iterator[bytes]:
        """Yield the Listings whose rows may say something else now; one may come twice."""
        artifacts = set(judged.artifacts)
        for ids in _sliced(judged.certs):
            artifacts.update(self._connection.execute(ARTIFACTS_OF_CERTS, {"ids": ids}).scalars())
        last = self.newest_n()
        for artifact in sorted(artifacts):
            which = {"artifact": artifact, "after": 0, "last": last}
            while page := self._connection.execute(SHOWING_ARTIFACT, which).all():
                yield from (row.listing for row in page)
                which["after"] = page[-1].n
        for ids in _sliced(judged.releases):
            yield from self._connection.execute(LISTINGS_OF_RELEASES, {"ids": ids}).scalars().all()

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


def _sliced(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(sorted(ids))
    while part := list(itertools.islice(rest, LISTINGS_PER_SLICE)):
        yield part


def _grouped(rows: Iterable[AnyRow], name: str) -> dict[bytes, list[AnyRow]]:
    found: dict[bytes, list[AnyRow]] = defaultdict(list)
    for row in rows:
        found[getattr(row, name)].append(row)
    return found


def _doc(row: AnyRow, prefix: str) -> SearchDoc:
    return SearchDoc(**{name: getattr(row, prefix + name) for name in DOC_COLUMNS})
