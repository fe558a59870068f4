"""What must still reach others, kept until they say that they have it.

* A message is about one own Entry: an announcement to everybody (a new Head), or a
  delivery to one Identity.
* It is written in the transaction of its Entry, so nothing is announced that a
  crash could take back.
* Of announcements the newest of a Feed is enough: it takes the place of an earlier
  one that was not sent yet.

Nothing is sent here, and nothing is decided about when.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from hanse.core.model.ids import EntryId, IdentityId
from hanse.core.store.tables import entries, outbox

if TYPE_CHECKING:
    from hanse.core.store.feed_rows import AnyRow


@unique
class OutboxState(Enum):
    """How far a message has come."""

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    OFFERING = "offering"  # to a Mailbox
    HELD = "held"  # by a Mailbox
    FETCHED = "fetched"  # from there, by its reader
    FAILED = "failed"


_WAITING: Final = frozenset(
    {OutboxState.QUEUED, OutboxState.SENT, OutboxState.OFFERING, OutboxState.HELD}
)

_COLUMNS: Final = (
    outbox.c.message,
    outbox.c.to_identity,
    outbox.c.n,
    entries.c.id,
    outbox.c.state,
    outbox.c.tries,
    outbox.c.next_ms,
    outbox.c.created_ms,
)
DUE: Final = (
    select(*_COLUMNS)
    .join(entries, entries.c.n == outbox.c.n)
    .where(outbox.c.next_ms <= bindparam("now"))
    .order_by(outbox.c.next_ms, outbox.c.message)
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One message; ``to`` is missing when it is for everybody."""

    message: int
    to: IdentityId | None
    n: int
    entry_id: EntryId
    state: OutboxState
    tries: int
    next_ms: int | None
    created_ms: int


class OutboxRepository:
    """All messages of this Device."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def announce(self, entry_id: EntryId, now_ms: int) -> int:
        """Tell everybody of a new Head; return the number of the message."""
        feed, n = self._connection.execute(
            select(entries.c.feed, entries.c.n).where(entries.c.id == entry_id)
        ).one()
        of_feed = select(entries.c.n).where(entries.c.n == outbox.c.n, entries.c.feed == feed)
        self._connection.execute(
            delete(outbox).where(
                outbox.c.next_ms.is_not(None),
                outbox.c.to_identity.is_(None),
                outbox.c.state == OutboxState.QUEUED.value,
                of_feed.exists(),
            )
        )
        return self._add(None, n, now_ms)

    def send(self, to: IdentityId, entry_id: EntryId, now_ms: int) -> int:
        """Deliver an Entry to one Identity; return the number of the message."""
        n = self._connection.execute(
            select(entries.c.n).where(entries.c.id == entry_id)
        ).scalar_one()
        return self._add(to, n, now_ms)

    def _add(self, to: IdentityId | None, n: int, now_ms: int) -> int:
        result = self._connection.execute(
            insert(outbox).values(
                to_identity=to,
                n=n,
                state=OutboxState.QUEUED.value,
                tries=0,
                next_ms=now_ms,
                created_ms=now_ms,
            )
        )
        assert result.inserted_primary_key is not None
        return int(result.inserted_primary_key[0])

    def due(self, now_ms: int, limit: int = 100) -> list[OutboxMessage]:
        """Return what should be tried now, the longest overdue first."""
        rows = self._connection.execute(DUE, {"now": now_ms, "limit": limit})
        return [_message(row) for row in rows]

    def get(self, message: int) -> OutboxMessage | None:
        """Return one message."""
        row = self._connection.execute(
            select(*_COLUMNS)
            .join(entries, entries.c.n == outbox.c.n)
            .where(outbox.c.message == message)
        ).first()
        return None if row is None else _message(row)

    def mark(self, message: int, state: OutboxState, next_ms: int | None = None) -> None:
        """Note how far a message has come, and when to look at it again.

        Without ``next_ms`` it rests: it is kept and never due.
        """
        assert next_ms is None or state in _WAITING
        values: dict[str, object] = {"state": state.value, "next_ms": next_ms}
        if state in {OutboxState.SENT, OutboxState.OFFERING}:
            values["tries"] = outbox.c.tries + 1
        self._connection.execute(update(outbox).where(outbox.c.message == message).values(**values))


def _message(row: AnyRow) -> OutboxMessage:
    return OutboxMessage(
        message=row.message,
        to=None if row.to_identity is None else IdentityId(row.to_identity),
        n=row.n,
        entry_id=EntryId(row.id),
        state=OutboxState(row.state),
        tries=row.tries,
        next_ms=row.next_ms,
        created_ms=row.created_ms,
    )
