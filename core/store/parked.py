"""Entries that came too early: checked, waiting for what is missing, neither shown nor passed on.

Four bounds, and the oldest go first: so many of one Feed, so many and so many bytes
in all, and none for longer than a day.  Whoever sent an Entry can send it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from hanse.core.ledger.entry import CheckedEntry, recall_entry
from hanse.core.limits import (
    PARKED_ENTRIES_MAX,
    PARKED_MS_MAX,
    PARKED_PER_FEED_MAX,
    PARKED_SIZE_BYTES_MAX,
)
from hanse.core.store.tables import parked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.model.ids import AuthorKey, EntryId
    from hanse.core.store.feed_rows import AnyRow
    from hanse.core.store.memory import Memory

_IDS_PER_QUERY: Final = 1000

_COLUMNS: Final = (parked.c.header, parked.c.sig, parked.c.body)
HELD: Final = select(func.count(), func.coalesce(func.sum(parked.c.size_bytes), 0)).select_from(
    parked
)
PARKED_AT: Final = (
    select(*_COLUMNS)
    .where(parked.c.author == bindparam("author"), parked.c.seq == bindparam("seq"))
    .order_by(parked.c.id)
    .limit(bindparam("limit"))
)
PARKED_OF_ID: Final = select(*_COLUMNS).where(parked.c.id == bindparam("id"))
PARKED_OF_AUTHOR: Final = (
    select(*_COLUMNS)
    .where(parked.c.author == bindparam("author"))
    .order_by(parked.c.seq, parked.c.id)
    .limit(bindparam("limit"))
)
PARKED_OF_PREV: Final = (
    select(*_COLUMNS)
    .where(parked.c.prev == bindparam("prev"))
    .order_by(parked.c.id)
    .limit(bindparam("limit"))
)
PARKED_BY_REASON: Final = (
    select(parked.c.place, *_COLUMNS)
    .where(parked.c.reason == bindparam("reason"), parked.c.place > bindparam("after"))
    .order_by(parked.c.place)
    .limit(bindparam("limit"))
)
OLDEST: Final = (
    select(parked.c.place, parked.c.size_bytes).order_by(parked.c.place).limit(bindparam("limit"))
)
OLDEST_OF_AUTHOR: Final = (
    select(parked.c.place, parked.c.size_bytes)
    .where(parked.c.author == bindparam("author"))
    .order_by(parked.c.place)
    .limit(bindparam("limit"))
)


class ParkedRepository:
    """Everything that waits."""

    def __init__(self, connection: Connection, memory: Memory) -> None:
        """Work on ``connection``."""
        self._connection = connection
        self._memory = memory

    def add(self, entry: CheckedEntry, reason: str, now_ms: int) -> None:
        """Let ``entry`` wait; one that waits already keeps its place and may get its Body."""
        connection = self._connection
        size = len(entry.header_bytes) + len(entry.signature) + len(entry.body or b"")
        row = connection.execute(
            select(parked.c.place, parked.c.size_bytes).where(parked.c.id == entry.entry_id)
        ).first()
        count, held_bytes = self.held()
        if row is not None:
            values: dict[str, object] = {"reason": reason}
            if size > row.size_bytes:
                values |= {"body": entry.body, "size_bytes": size}
                self._memory.parked = (count, held_bytes + size - row.size_bytes)
            connection.execute(update(parked).where(parked.c.place == row.place).values(**values))
        else:
            connection.execute(
                insert(parked),
                {
                    "author": entry.author,
                    "seq": entry.seq,
                    "id": entry.entry_id,
                    "prev": entry.header.prev,
                    "reason": reason,
                    "since_ms": now_ms,
                    "size_bytes": size,
                    "header": entry.header_bytes,
                    "sig": entry.signature,
                    "body": entry.body,
                },
            )
            self._memory.parked = (count + 1, held_bytes + size)
        self._make_room(entry.author)

    def held(self) -> tuple[int, int]:
        """Return how many Entries wait, and how many bytes they are."""
        if self._memory.parked is None:
            count, size = self._connection.execute(HELD).one()
            self._memory.parked = (count, size)
        return self._memory.parked

    def count(self) -> int:
        """Return how many Entries wait."""
        return self.held()[0]

    def get(self, entry_id: EntryId) -> CheckedEntry | None:
        """Return one Entry that waits."""
        found = self._entries(PARKED_OF_ID, {"id": entry_id})
        return found[0] if found else None

    def at(self, author: AuthorKey, seq: int) -> CheckedEntry | None:
        """Return an Entry that waits at ``seq``: of several, the one with the lowest id."""
        found = self._entries(PARKED_AT, {"author": author, "seq": seq, "limit": 1})
        return found[0] if found else None

    def ready_for(self, author: AuthorKey) -> list[CheckedEntry]:
        """Return everything of one Feed that waits, by seq."""
        return self._entries(PARKED_OF_AUTHOR, {"author": author, "limit": PARKED_PER_FEED_MAX})

    def of_prev(self, entry_id: EntryId) -> list[CheckedEntry]:
        """Return what waits and names ``entry_id`` as the one before it."""
        return self._entries(PARKED_OF_PREV, {"prev": entry_id, "limit": PARKED_PER_FEED_MAX})

    def by_reason(self, reason: str) -> list[CheckedEntry]:
        """Return everything that waits for one reason, oldest first."""
        found: list[CheckedEntry] = []
        if self.held() == (0, 0):
            return found
        after = 0
        while True:
            page = self._connection.execute(
                PARKED_BY_REASON, {"reason": reason, "after": after, "limit": _IDS_PER_QUERY}
            ).all()
            found.extend(_entry(row) for row in page)
            if len(page) < _IDS_PER_QUERY:
                return found
            after = page[-1].place

    def remove(self, ids: Sequence[EntryId]) -> None:
        """Take these out; what does not wait is ignored."""
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[start : start + _IDS_PER_QUERY]
            self._connection.execute(delete(parked).where(parked.c.id.in_(some)))
        self._memory.parked = None

    def expire(self, now_ms: int) -> int:
        """Drop what has waited for a day; return how many that were."""
        result = self._connection.execute(
            delete(parked).where(parked.c.since_ms <= now_ms - PARKED_MS_MAX)
        )
        self._memory.parked = None
        return result.rowcount

    def _entries(self, statement: object, values: dict[str, object]) -> list[CheckedEntry]:
        # An empty queue, the usual case, costs one query for the whole transaction.
        if self.held() == (0, 0):
            return []
        rows = self._connection.execute(statement, values)  # type: ignore[call-overload]
        return [_entry(row) for row in rows]

    def _make_room(self, author: AuthorKey) -> None:
        of_author = self._connection.execute(
            select(func.count()).select_from(parked).where(parked.c.author == author)
        ).scalar_one()
        if of_author > PARKED_PER_FEED_MAX:
            self._drop(OLDEST_OF_AUTHOR, {"author": author}, of_author - PARKED_PER_FEED_MAX)
        while True:
            count, size = self.held()
            if count <= PARKED_ENTRIES_MAX and size <= PARKED_SIZE_BYTES_MAX:
                return
            self._drop(OLDEST, {}, max(1, count - PARKED_ENTRIES_MAX))

    def _drop(self, oldest: object, values: dict[str, object], count: int) -> None:
        rows = self._connection.execute(
            oldest,  # type: ignore[call-overload]
            {**values, "limit": count},
        ).all()
        self._connection.execute(
            delete(parked).where(parked.c.place.in_([row.place for row in rows]))
        )
        held, held_bytes = self.held()
        self._memory.parked = (held - len(rows), held_bytes - sum(row.size_bytes for row in rows))


def _entry(row: AnyRow) -> CheckedEntry:
    return recall_entry(row.header, row.sig, row.body)
