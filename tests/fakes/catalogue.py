"""Listings put straight into the catalogue, as its keeper would have made them of Entries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

from sqlalchemy import insert

from hanse.core.ledger.codec import encode
from hanse.core.model.licence import RIGHTS, Terms, tier_map
from hanse.core.store.catalogue import CatalogueEntry, Sources, catalogue_entry
from hanse.core.store.certification_tables import certificates
from hanse.core.store.projections import NO_RELEASE, write_list
from hanse.core.store.search import Fts5Index
from hanse.core.store.tables import (
    catalogue,
    catalogue_text,
    facet_values,
    listing_facets,
    listings,
    prices,
    releases,
)
from tests.fakes.author import START_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Table

YEAR_MS = 365 * 24 * 3600 * 1000
ANNA, BO, CAI = (bytes([digit]) * 32 for digit in (1, 2, 3))


@dataclass(frozen=True)
class Shown:
    """What a test says of one Listing; the rest is as usual."""

    title: str = "A model"
    text: str = ""
    summary: str = ""
    tags: tuple[str, ...] = ()
    task: str = "other"
    sectors: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("onnx",)
    licence: str = "MIT"
    rights: tuple[str, ...] = ("commercial",)
    trials: tuple[str, ...] = ()
    lang: str = "en"
    price_minor: int | None = 1000  # None: on request
    currency: str = "USD"
    exponent: int = 2
    size: int = 1_000_000
    level: int = 0
    contradicted: bool = False
    score_milli: int | None = None
    seller: bytes = ANNA
    state: str = "open"
    published_ms: int = START_MS
    valid_until_ms: int = START_MS + YEAR_MS


class Row(SimpleNamespace):
    """A row of a table as the driver would give it; columns that are not said are empty."""

    def __init__(self, table: Table, **said: object) -> None:
        empty = {column.name: _EMPTY.get(column.type.python_type) for column in table.columns}
        super().__init__(**{**empty, **said})

    @property
    def _mapping(self) -> dict[str, object]:
        return vars(self)


_EMPTY = {bytes: b"", str: "", int: 0, bool: False}


def entry_of(shown: Shown, number: int) -> CatalogueEntry:
    """Make the catalogue's entry out of the rows that Entries would have left."""
    name = number.to_bytes(32, "big")
    listing = Row(
        listings,
        listing=name,
        identity=shown.seller,
        opened=True,
        created_ms=shown.published_ms,
        time_ms=shown.published_ms,
        author=shown.seller,
        seq=1,
        title=shown.title,
        summary=shown.summary,
        text=shown.text,
        lang=shown.lang,
        task=shown.task,
        sectors=write_list(shown.sectors),
        tags=write_list(shown.tags),
        concepts=write_list(shown.concepts),
        trials=write_list(shown.trials),
        valid_until_ms=shown.valid_until_ms,
        state=shown.state,
    )
    release = Row(
        releases,
        release=name,
        time_ms=shown.published_ms,
        version="1.0.0",
        artifact=name,
        size=shown.size,
        formats=write_list(shown.formats),
        edition="full",
        tiers=encode([tier_map(_terms(shown), "usual", 0)]),
    )
    price = Row(
        prices,
        release=NO_RELEASE,
        price=name,
        time_ms=shown.published_ms,
        mode="rfq" if shown.price_minor is None else "fixed",
        amount=shown.price_minor or 0,
        currency=shown.currency,
        exponent=shown.exponent,
        ceil=shown.price_minor or 0,
        params=encode({}),
    )
    found = (
        Row(
            certificates,
            identity=shown.seller,
            level=shown.level,
            outcome="PASSED",
            quality_failed=shown.contradicted,
        ),
    )
    made = catalogue_entry(Sources(listing, (release,), (price,), None, found))
    assert made is not None
    values = {**made.values, "score_milli": shown.score_milli}
    return CatalogueEntry(values, made.doc, made.facets)


@dataclass
class Shelf:
    """Fills one catalogue; numbers go up."""

    connection: Connection
    newest_n: int = 0
    entries: dict[int, CatalogueEntry] = field(default_factory=dict)

    def put(self, *shown: Shown) -> list[int]:
        """Put Listings into rows, facets and index; return their numbers."""
        numbers = []
        index = Fts5Index(self.connection)
        for one in shown:
            self.newest_n += 1
            entry = entry_of(one, self.newest_n)
            self.entries[self.newest_n] = entry
            index.put(self.newest_n, entry.doc, None)
            numbers.append(self.newest_n)
        write_rows(self.connection, ((n, self.entries[n]) for n in numbers))
        return numbers


def _terms(shown: Shown) -> Terms:
    granted = {name: 1 if name in shown.rights else 0 for name in RIGHTS}
    return Terms(spdx=shown.licence, text_hash=bytes(32), **granted)


def write_rows(connection: Connection, entries: Iterable[tuple[int, CatalogueEntry]]) -> None:
    """Write everything but the index, and count the facets."""
    found = list(entries)
    connection.execute(insert(catalogue), [{"n": n, **entry.values} for n, entry in found])
    connection.execute(insert(catalogue_text), [text_row(n, entry) for n, entry in found])
    held = {
        (row.facet, row.value): (row.number, row.listings)
        for row in connection.execute(facet_values.select())
    }
    times = Counter(pair for _, entry in found for pair in entry.facets)
    fresh = [pair for pair in times if pair not in held]
    if fresh:
        connection.execute(
            insert(facet_values), [{"facet": f, "value": v, "listings": 0} for f, v in fresh]
        )
    numbers = {
        (row.facet, row.value): row.number for row in connection.execute(facet_values.select())
    }
    for pair, count in times.items():
        connection.execute(
            facet_values.update()
            .where(facet_values.c.number == numbers[pair])
            .values(listings=facet_values.c.listings + count)
        )
    connection.execute(insert(listing_facets), list(facet_rows(found, numbers)))


def text_row(n: int, entry: CatalogueEntry) -> dict[str, object]:
    """Return the row that keeps what was indexed."""
    doc = entry.doc
    return {
        "n": n,
        "title": doc.title,
        "tags": doc.tags,
        "stems_source": doc.stems_source,
        "facets": doc.facets,
        "text": doc.text,
    }


def facet_rows(
    entries: Iterable[tuple[int, CatalogueEntry]], numbers: dict[tuple[str, str], int]
) -> Iterator[dict[str, int]]:
    """Give a row for every value of every Listing."""
    for n, entry in entries:
        for pair in entry.facets:
            yield {"n": n, "value": numbers[pair]}
