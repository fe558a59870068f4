"""Rows of one Projection while Entries are folded into them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Table, bindparam, select
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert

from hanse.core.ledger.entry import recall_entry
from hanse.core.limits import FOLDED_ROWS_IN_MEMORY_MAX
from hanse.core.store.projections import FoldItem, Key, Projection, Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hanse.core.model.ids import AuthorKey
    from hanse.core.store.feed_rows import AnyRow
    from hanse.core.store.standings import Voice

Rows = dict[Key, Values]


class FoldTable:
    """Rows of one Projection while they are folded: in memory, and in the table when too many."""

    def __init__(self, connection: Connection, projection: Projection, *, is_empty: bool) -> None:
        """Begin with the rows of the table, which ``is_empty`` when it says so."""
        self._connection = connection
        self._projection = projection
        self._is_empty = is_empty
        self._rows: dict[Key, Values | None] = {}
        self._changed: set[Key] = set()
        self._flushed: set[Key] = set()
        self.touched: set[Key] = set()

    def fold(self, items: Iterable[FoldItem]) -> None:
        """Fold Entries into their rows; of those that stand in the table note the keys."""
        rows, projection = self._rows, self._projection
        for item in items:
            for key in projection.keys(item):
                if key not in rows:
                    if len(rows) >= FOLDED_ROWS_IN_MEMORY_MAX:
                        self.flush()
                    rows[key] = self._read(key)
                old = rows[key]
                new = projection.fold(key, old, item)
                if new is not old:
                    rows[key] = new
                    self._changed.add(key)
                if not self._is_empty:
                    self.touched.add(key)

    def _read(self, key: Key) -> Values | None:
        if self._is_empty and key not in self._flushed:
            return None
        table = self._projection.table
        names = [column.name for column in table.primary_key.columns]
        row = (
            self._connection.execute(_row_of_key(table), dict(zip(names, key, strict=True)))
            .mappings()
            .first()
        )
        return None if row is None else dict(row)

    def flush(self) -> None:
        """Write what changed, and forget all rows."""
        table = self._projection.table
        written = [dict(row) for key in self._changed if (row := self._rows[key]) is not None]
        if written:
            self._connection.execute(_put(table), written)
        if self._is_empty:
            self._flushed.update(self._rows)
        self._rows.clear()
        self._changed.clear()


@cache
def _row_of_key(table: Table) -> Select[*tuple[Any, ...]]:
    return select(table).where(
        *(column == bindparam(column.name) for column in table.primary_key.columns)
    )


@cache
def _put(table: Table) -> Insert:
    """Write rows, in place of those with the same key."""
    statement = upsert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={column.name: statement.excluded[column.name] for column in table.columns},
    )


def fold_into(rows: Rows, projection: Projection, item: FoldItem) -> None:
    """Fold one Entry into rows that are all in memory."""
    for key in projection.keys(item):
        new = projection.fold(key, rows.get(key), item)
        if new is not None:
            rows[key] = new


def items_of(
    page: Iterable[AnyRow], kind: str, author: AuthorKey, voice: Voice
) -> Iterator[FoldItem]:
    """Yield what counts of one Feed's Entries of one kind; no Header and no Body is parsed."""
    identity = voice.opening.identity
    for _, seq, entry_id, time_ms, header, sig, body in page:
        if voice.counts(kind, seq, lambda h=header, s=sig: recall_entry(h, s, None)):  # type: ignore[misc]
            yield FoldItem(entry_id, author, seq, time_ms, kind, identity, body)
