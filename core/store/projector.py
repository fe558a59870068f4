"""All Projections: kept true, made again from nothing, and compared with what they should be.

* ``rebuild`` makes everything again from the Entries; ``difference`` says whether
  that would change anything.  These two, ``apply`` and ``refold`` lead to the same
  rows.
* Two tables are not folds over Entries but over what the Root said of Devices:
  ``identities`` and ``devices``.
* The catalogue is made of Projections, so it comes last and has a version like one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Final

from sqlalchemy import Table, delete, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from hanse.core.limits import ENTRIES_PER_BATCH_MAX
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.store.catalogue import CATALOGUE_VERSION
from hanse.core.store.fold_table import FoldTable, items_of
from hanse.core.store.folding import NEWEST_FIRST, Folding
from hanse.core.store.projection_reads import OF_STANDINGS, TABLES
from hanse.core.store.projections import ERASURES, PROJECTIONS, FoldItem, Projection, Values
from hanse.core.store.tables import (
    catalogue,
    devices,
    erasures,
    feeds,
    identities,
    projections,
)

Progress = Callable[[int], None]

_ROWS_PER_PAGE: Final = 1000
assert {table.name for table in TABLES} == {table.name for table in OF_STANDINGS} | {
    projection.name for projection in PROJECTIONS
}


class Projector(Folding):
    """All Projections, on one connection."""

    def is_outdated(self) -> bool:
        """Say whether this program folds differently from the one that wrote the tables."""
        held = self._connection.execute(select(projections.c.name, projections.c.version))
        return {row.name: row.version for row in held} != _versions()

    def rebuild(self, progress: Progress | None = None) -> int:
        """Make everything again from the Entries; return how many were folded.

        In the caller's transaction: readers see the old rows until it commits, and
        the old rows stay if it does not.
        """
        self._memory.forget_standings()
        connection = self._connection
        before = self._every_erasure()
        for table in TABLES:
            connection.execute(delete(table))
        self._rebuild_standings()
        count = self._rebuild_fold(ERASURES, 0, progress)
        now = self._every_erasure()
        for target, identity in sorted(before - now):
            self._want_again(IdentityId(identity), [EntryId(target)])
        self._erase(EntryId(target) for target, _ in sorted(now))
        for projection in PROJECTIONS:
            if projection is not ERASURES:
                count = self._rebuild_fold(projection, count, progress)
        self._catalogue.rebuild()
        newest = self._feeds.newest_n()
        connection.execute(delete(projections))
        connection.execute(
            insert(projections),
            [
                {"name": name, "version": version, "n": newest}
                for name, version in sorted(_versions().items())
            ],
        )
        return count

    def _every_erasure(self) -> set[tuple[bytes, bytes]]:
        rows = self._connection.execute(select(erasures.c.target, erasures.c.identity))
        return {(target, identity) for target, identity in rows}

    def _rebuild_standings(self) -> None:
        last: IdentityId | None = None
        for row in self._feeds.all():
            if row.opening is None:
                continue
            self._write_device(row)
            if row.opening.is_root and row.opening.identity != last:
                last = row.opening.identity
                values = self._standings.identity_values(last)
                if values is not None:
                    self._connection.execute(
                        upsert(identities).on_conflict_do_nothing(), dict(values)
                    )

    def _rebuild_fold(self, projection: Projection, count: int, progress: Progress | None) -> int:
        table = FoldTable(self._connection, projection, is_empty=True)
        for kind in sorted(projection.kinds):
            for items, size in self._scanned(kind):
                table.fold(items)
                count += size
                if progress is not None:
                    progress(count)
        table.flush()
        return count

    def _scanned(self, kind: str) -> Iterator[tuple[list[FoldItem], int]]:
        """Yield every Entry of one kind that counts, in slices, newest first in each."""
        after = (0, 0)
        feed, author, voice = 0, AuthorKey(b""), None
        while page := self._feeds.scan(kind, after):
            items: list[FoldItem] = []
            for at, part in groupby(page, key=lambda item: item.feed):
                if at != feed:
                    row = self._feeds.by_number(at)
                    feed, author, voice = at, row.author, self._standings.voice(row)
                if voice is not None:
                    items.extend(items_of(part, kind, author, voice))
            # Where newest wins, all others lose without their Bodies being read.
            items.sort(key=NEWEST_FIRST, reverse=True)
            yield items, len(page)
            if len(page) < ENTRIES_PER_BATCH_MAX:
                return
            after = (page[-1].feed, page[-1].seq)

    # --- comparing --------------------------------------------------------------------------

    def difference(self) -> str | None:
        """Say where the tables differ from what the Entries give, or ``None``; changes nothing."""
        held = {table.name: 0 for table in TABLES}
        seen: IdentityId | None = None
        for identity in self._every_identity():
            assert identity != seen
            seen = identity
            for table, rows in self._rows_of(identity):
                held[table.name] += len(rows)
                found = self._rows_held(table, identity)
                if found != rows:
                    return f"rows of {identity.hex()} in {table.name} are not what its entries give"
        for table in TABLES:
            count = self._connection.execute(select(func.count()).select_from(table)).scalar_one()
            if count != held[table.name]:
                return f"{count} rows in {table.name}, the entries give {held[table.name]}"
        return self._catalogue.difference()

    def _every_identity(self) -> Iterator[IdentityId]:
        after = b""
        while page := self._connection.execute(
            select(feeds.c.identity)
            .where(feeds.c.identity > after)
            .group_by(feeds.c.identity)
            .order_by(feeds.c.identity)
            .limit(_ROWS_PER_PAGE)
        ).all():
            yield from (IdentityId(row.identity) for row in page)
            after = page[-1].identity

    def _rows_of(self, identity: IdentityId) -> Iterator[tuple[Table, list[tuple[object, ...]]]]:
        values = self._standings.identity_values(identity)
        yield identities, _as_rows(identities, [] if values is None else [values])
        found = [self._standings.device_values(row) for row in self._feeds.of_identity(identity)]
        yield devices, _as_rows(devices, [row for row in found if row is not None])
        for projection in PROJECTIONS:
            rows = self._folded(projection, identity)
            yield projection.table, _as_rows(projection.table, rows.values())

    def _rows_held(self, table: Table, identity: IdentityId) -> list[tuple[object, ...]]:
        rows = self._connection.execute(
            select(table).where(table.c.identity == identity).order_by(*table.primary_key.columns)
        )
        return [tuple(row) for row in rows]


def _versions() -> dict[str, int]:
    """Return how this program folds; asked for when needed, since it may read files."""
    return {
        **{table.name: version for table, version in OF_STANDINGS.items()},
        **{projection.name: projection.version for projection in PROJECTIONS},
        catalogue.name: CATALOGUE_VERSION,
    }


def _as_rows(table: Table, values: Iterable[Values]) -> list[tuple[object, ...]]:
    rows = [tuple(row[column.name] for column in table.columns) for row in values]
    names = [column.name for column in table.columns]
    at = [names.index(column.name) for column in table.primary_key.columns]
    return sorted(rows, key=lambda row: tuple(bytes(row[i]) for i in at))  # type: ignore[call-overload]
