"""Keeping the catalogue true to the Projection rows it is made of.

* Whoever changed rows of a Listing has it ``follow`` in the same transaction; what
  comes out is the same as if everything were made again.
* ``n`` goes up when an Entry about the Listing came or went, so "what is new since n"
  has an answer.  A row that is merely read in another way, or renewed, keeps its n.
* The counts of the facets are kept, not counted: there may be a million Listings.

What stands in a row is ``hanse.core.store.catalogue``; how words are found is the
search index's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from hanse.core.store.catalogue_rows import (
    ALL_HELD,
    ALL_NOT_HELD,
    DOC_COLUMNS,
    FACETS_OF,
    HELD_OF_IDENTITY,
    IDS,
    LISTINGS_PER_SLICE,
    NOT_HELD_OF_IDENTITY,
    VALUES,
    CatalogueRows,
    Held,
)
from hanse.core.store.tables import catalogue, catalogue_text, facet_values, listing_facets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.market.search import SearchDoc
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.catalogue import CatalogueEntry, SearchIndex
    from hanse.core.store.projections import Judged


@dataclass(slots=True)
class _Changes:
    """What is to be written: out first, then in, so that a number may be used again.

    ``kept`` stay as they are but for the columns of those that are ``restated``.
    """

    out: list[Held] = field(default_factory=list)
    into: list[tuple[int, CatalogueEntry]] = field(default_factory=list)
    kept: list[tuple[int, CatalogueEntry]] = field(default_factory=list)
    restated: list[tuple[int, CatalogueEntry]] = field(default_factory=list)


class CatalogueKeeper(CatalogueRows):
    """The catalogue, its facets and its index, on one connection."""

    def __init__(self, connection: Connection, index: SearchIndex) -> None:
        """Work on ``connection``, on which ``index`` works too."""
        super().__init__(connection)
        self._index = index

    def follow(self, changed: Iterable[bytes]) -> None:
        """Make the rows of these Listings again, after their Projection rows changed."""
        wanted = sorted(set(changed))
        for start in range(0, len(wanted), LISTINGS_PER_SLICE):
            self._follow_slice(wanted[start : start + LISTINGS_PER_SLICE])

    def follow_judged(self, judged: Judged) -> None:
        """Make rows again after something was found, taken back or said about what they show."""
        showing = self.showing(judged)
        while part := set(islice(showing, LISTINGS_PER_SLICE)):
            self._follow_slice(sorted(part))

    def follow_identity(self, identity: IdentityId) -> None:
        """Make the rows of all Listings of one Identity again."""
        self._follow_all(HELD_OF_IDENTITY, NOT_HELD_OF_IDENTITY, identity=identity)

    def rebuild(self) -> None:
        """Make everything again, the search index too; what did not change keeps its n."""
        for part in (listing_facets, facet_values):
            self._connection.execute(delete(part))
        self._connection.execute(
            delete(catalogue_text).where(catalogue_text.c.n.not_in(select(catalogue.c.n)))
        )
        self._follow_all(ALL_HELD, ALL_NOT_HELD, is_rebuild=True)
        self._index.rebuild(self.docs())

    # --- following --------------------------------------------------------------------------

    def _follow_all(
        self,
        held: Select[*tuple[Any, ...]],
        not_held: Select[*tuple[Any, ...]],
        *,
        is_rebuild: bool = False,
        **which: bytes,
    ) -> None:
        # A row that gets a new number goes behind the last one and is not met again.
        last, after = self.newest_n(), 0
        while page := self._connection.execute(held, {"after": after, "last": last, **which}).all():
            self._follow_slice([row.listing for row in page], is_rebuild=is_rebuild)
            after = page[-1].n
        at = {"after_ms": -1, "after": b""}
        while page := self._connection.execute(not_held, {**at, **which}).all():
            self._follow_slice([row.listing for row in page], is_rebuild=is_rebuild)
            at = {"after_ms": page[-1].time_ms, "after": page[-1].listing}

    def _follow_slice(self, ids: Sequence[bytes], *, is_rebuild: bool = False) -> None:
        made, held = self.made(ids), self.held(ids)
        changes = _Changes()
        fresh: list[CatalogueEntry] = []
        for listing in ids:
            entry, before = made.get(listing), held.get(listing)
            if before is None:
                if entry is not None:
                    fresh.append(entry)
            elif entry is None:
                changes.out.append(before)
            elif before.values["updated_ms"] != entry.values["updated_ms"]:
                changes.out.append(before)
                fresh.append(entry)
            elif before.doc != entry.doc:
                changes.out.append(before)
                changes.into.append((before.n, entry))
            else:
                changes.kept.append((before.n, entry))
                if before.values != entry.values:
                    changes.restated.append((before.n, entry))
        if fresh:
            fresh.sort(key=lambda it: (it.values["updated_ms"], it.values["listing"]))
            changes.into += enumerate(fresh, self.newest_n() + 1)
        self._write(changes)
        if not is_rebuild:
            _tell(self._index, changes)
        elif changes.kept:
            self._count(changes.kept)

    # --- writing ----------------------------------------------------------------------------

    def _write(self, changes: _Changes) -> None:
        if changes.out:
            gone = {"ids": [held.n for held in changes.out]}
            self._uncount(gone)
            for part in (listing_facets, catalogue_text, catalogue):
                self._connection.execute(delete(part).where(part.c.n.in_(IDS)), gone)
        if changes.into:
            self._connection.execute(
                insert(catalogue), [{"n": n, **entry.values} for n, entry in changes.into]
            )
            self._connection.execute(
                insert(catalogue_text),
                [{"n": n, **_doc_values(entry.doc)} for n, entry in changes.into],
            )
            self._count(changes.into)
        if changes.out:
            self._connection.execute(delete(facet_values).where(facet_values.c.listings == 0))
        for n, entry in changes.restated:
            self._connection.execute(
                update(catalogue).where(catalogue.c.n == n).values(dict(entry.values))
            )

    def _uncount(self, gone: Mapping[str, Sequence[int]]) -> None:
        counts = self._connection.execute(
            select(listing_facets.c.value, func.count().label("times"))
            .where(listing_facets.c.n.in_(IDS))
            .group_by(listing_facets.c.value),
            gone,
        ).all()
        for row in counts:
            self._connection.execute(
                update(facet_values)
                .where(facet_values.c.number == row.value)
                .values(listings=facet_values.c.listings - row.times)
            )

    def _count(self, entries: Sequence[tuple[int, CatalogueEntry]]) -> None:
        times = Counter(pair for _, entry in entries for pair in entry.facets)
        numbers = {
            pair: self._connection.execute(
                _COUNT, {"facet": pair[0], "value": pair[1], "listings": count}
            ).scalar_one()
            for pair, count in times.items()
        }
        self._connection.execute(
            insert(listing_facets),
            [{"n": n, "value": numbers[pair]} for n, entry in entries for pair in entry.facets],
        )

    # --- comparing --------------------------------------------------------------------------

    def difference(self) -> str | None:
        """Say where the catalogue is not what its rows give, or ``None``; changes nothing."""
        found = 0
        last, after = self.newest_n(), 0
        while page := self._connection.execute(ALL_HELD, {"after": after, "last": last}).all():
            ids = [row.listing for row in page]
            made, held = self.made(ids), self.held(ids)
            for listing in ids:
                fault = self._fault(made.get(listing), held.get(listing))
                if fault is not None:
                    return f"listing {listing.hex()} in the catalogue: {fault}"
            found += len(page)
            after = page[-1].n
        at = {"after_ms": -1, "after": b""}
        while page := self._connection.execute(ALL_NOT_HELD, at).all():
            missing = self.made([row.listing for row in page])
            if missing:
                return f"listing {min(missing).hex()} is missing in the catalogue"
            at = {"after_ms": page[-1].time_ms, "after": page[-1].listing}
        return self._count_fault(found)

    def _fault(self, entry: CatalogueEntry | None, held: Held | None) -> str | None:
        if held is None:
            return "its text is missing"
        if entry is None:
            return "it should not be there"
        if held.values != entry.values:
            names = [name for name in VALUES if held.values[name] != entry.values[name]]
            return f"{', '.join(names)} are not what its rows give"
        if held.doc != entry.doc:
            return "its text is not what its rows give"
        pairs = self._connection.execute(FACETS_OF, {"n": held.n})
        if {(row.facet, row.value) for row in pairs} != set(entry.facets):
            return "its facets are not what its rows give"
        return None

    def _count_fault(self, found: int) -> str | None:
        for part in (catalogue, catalogue_text):
            count = self._connection.execute(select(func.count()).select_from(part)).scalar_one()
            if count != found:
                return f"{count} rows in {part.name}, the listings give {found}"
        counted = self._connection.execute(
            select(listing_facets.c.value, func.count().label("times")).group_by(
                listing_facets.c.value
            )
        )
        kept = self._connection.execute(select(facet_values.c.number, facet_values.c.listings))
        if {row.value: row.times for row in counted} != {row.number: row.listings for row in kept}:
            return "the counts of the facets are not what the listings give"
        return None


_new_value: Final = upsert(facet_values)
_COUNT: Final = _new_value.on_conflict_do_update(
    index_elements=[facet_values.c.facet, facet_values.c.value],
    set_={"listings": facet_values.c.listings + _new_value.excluded.listings},
).returning(facet_values.c.number)


def _tell(index: SearchIndex, changes: _Changes) -> None:
    """Tell the index; one that keeps its number is put in place of what stood there."""
    stays = {n for n, _ in changes.into}
    before = {held.n: held.doc for held in changes.out}
    for held in changes.out:
        if held.n not in stays:
            index.remove(held.n, held.doc)
    for n, entry in changes.into:
        index.put(n, entry.doc, before.get(n))


def _doc_values(doc: SearchDoc) -> dict[str, str]:
    return {name: getattr(doc, name) for name in DOC_COLUMNS}
