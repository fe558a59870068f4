"""What must still reach others, kept until they say that they have it.

* A message is about one own Entry: an announcement to everybody (a new Head), or a
  delivery to one Identity.
* It is written in the transaction of its Entry, so nothing is announced that a
  crash could take back.
* Of announcements the newest of a Feed is enough: it takes the place of an earlier
  one that was not sent yet.
* What a Mailbox promised is kept with the message it keeps, also when the promise is over: it
  is dated evidence.

Nothing is sent here, and nothing is decided about when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from hanse.core.model.delivery import RESTING, DeliveryState
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.store.network_tables import held_receipts
from hanse.core.store.tables import entries, outbox

if TYPE_CHECKING:
    from hanse.core.store.feed_rows import AnyRow

_COLUMNS: Final = (
    outbox.c.message,
    outbox.c.to_identity,
    outbox.c.n,
    entries.c.id,
    outbox.c.state,
    outbox.c.tries,
    outbox.c.next_ms,
    outbox.c.created_ms,
    outbox.c.reason,
)
_MESSAGES: Final = select(*_COLUMNS).join(entries, entries.c.n == outbox.c.n)
_BY_TIME: Final = (outbox.c.next_ms, outbox.c.message)
DUE: Final = (
    _MESSAGES.where(outbox.c.next_ms <= bindparam("now"))
    .order_by(*_BY_TIME)
    .limit(bindparam("limit"))
)
DELIVERIES_DUE: Final = (
    _MESSAGES.where(outbox.c.next_ms <= bindparam("now"), outbox.c.to_identity.is_not(None))
    .order_by(*_BY_TIME)
    .limit(bindparam("limit"))
)
# Whatever waits has a time, and what rests has none: the index of times has few rows.
WAITING_FOR: Final = (
    _MESSAGES.where(outbox.c.next_ms >= 0, outbox.c.to_identity == bindparam("to"))
    .order_by(*_BY_TIME)
    .limit(bindparam("limit"))
)
NEXT_DELIVERY: Final = (
    select(outbox.c.next_ms)
    .where(outbox.c.next_ms >= 0, outbox.c.to_identity.is_not(None))
    .order_by(*_BY_TIME)
    .limit(1)
)
DELIVERIES_BEFORE: Final = (
    _MESSAGES.where(outbox.c.message < bindparam("before"), outbox.c.to_identity.is_not(None))
    .order_by(outbox.c.message.desc())
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One message; ``to`` is missing when it is for everybody."""

    message: int
    to: IdentityId | None
    n: int
    entry_id: EntryId
    state: DeliveryState
    tries: int
    next_ms: int | None
    created_ms: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class HeldReceipt:
    """What one Mailbox promised of one message: to keep it until ``until_ms``, signed."""

    mailbox: AuthorKey
    until_ms: int
    sig: bytes


class OutboxRepository:
    """All messages of this Device."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    # --- writing ----------------------------------------------------------------------------

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
                outbox.c.state == DeliveryState.QUEUED.value,
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
                state=DeliveryState.QUEUED.value,
                tries=0,
                next_ms=now_ms,
                created_ms=now_ms,
            )
        )
        assert result.inserted_primary_key is not None
        return int(result.inserted_primary_key[0])

    def mark(
        self,
        message: int,
        state: DeliveryState,
        next_ms: int | None = None,
        *,
        tries: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Note how far a message has come, and when to look at it again.

        Without ``next_ms`` it rests: it is kept and never due.  Without ``tries`` a message that
        is sent now was tried once more.
        """
        assert next_ms is None or state not in RESTING
        values: dict[str, object] = {"state": state.value, "next_ms": next_ms, "reason": reason}
        if tries is not None:
            values["tries"] = tries
        elif state in {DeliveryState.SENT, DeliveryState.OFFERING}:
            values["tries"] = outbox.c.tries + 1
        self._connection.execute(update(outbox).where(outbox.c.message == message).values(**values))

    def keep_promise(self, message: int, promise: HeldReceipt) -> None:
        """Keep what a Mailbox promised; of one Mailbox the later promise counts."""
        values = {"until_ms": promise.until_ms, "sig": promise.sig}
        self._connection.execute(
            insert(held_receipts)
            .values(message=message, mailbox=promise.mailbox, **values)
            .on_conflict_do_update(
                index_elements=[held_receipts.c.message, held_receipts.c.mailbox],
                set_=values,
                where=held_receipts.c.until_ms < promise.until_ms,
            )
        )

    # --- asking -----------------------------------------------------------------------------

    def due(self, now_ms: int, limit: int = 100) -> list[OutboxMessage]:
        """Return what should be tried now, the longest overdue first."""
        rows = self._connection.execute(DUE, {"now": now_ms, "limit": limit})
        return [_message(row) for row in rows]

    def deliveries_due(self, now_ms: int, limit: int = 100) -> list[OutboxMessage]:
        """Return the deliveries among them."""
        rows = self._connection.execute(DELIVERIES_DUE, {"now": now_ms, "limit": limit})
        return [_message(row) for row in rows]

    def waiting_for(self, to: IdentityId, limit: int = 100) -> list[OutboxMessage]:
        """Return everything one Identity does not have yet, due or not."""
        rows = self._connection.execute(WAITING_FOR, {"to": to, "limit": limit})
        return [_message(row) for row in rows]

    def next_delivery_ms(self) -> int | None:
        """Return when the next delivery is due; ``None`` when none waits."""
        return self._connection.execute(NEXT_DELIVERY).scalar_one_or_none()

    def deliveries(self, before: int = 2**63 - 1, limit: int = 100) -> list[OutboxMessage]:
        """Return the deliveries, newest first, also those that rest."""
        rows = self._connection.execute(DELIVERIES_BEFORE, {"before": before, "limit": limit})
        return [_message(row) for row in rows]

    def of_entry(self, entry_id: EntryId) -> list[OutboxMessage]:
        """Return every message about one Entry."""
        rows = self._connection.execute(_MESSAGES.where(entries.c.id == entry_id))
        return [_message(row) for row in rows]

    def get(self, message: int) -> OutboxMessage | None:
        """Return one message."""
        row = self._connection.execute(_MESSAGES.where(outbox.c.message == message)).first()
        return None if row is None else _message(row)

    def promises(self, message: int) -> list[HeldReceipt]:
        """Return what Mailboxes promised of one message, by Device, also what is over."""
        rows = self._connection.execute(
            select(held_receipts.c.mailbox, held_receipts.c.until_ms, held_receipts.c.sig)
            .where(held_receipts.c.message == message)
            .order_by(held_receipts.c.mailbox)
        )
        return [HeldReceipt(AuthorKey(row.mailbox), row.until_ms, row.sig) for row in rows]

    def count_waiting(self) -> int:
        """Return how many deliveries are not done."""
        return self._connection.execute(
            select(func.count())
            .select_from(outbox)
            .where(outbox.c.next_ms >= 0, outbox.c.to_identity.is_not(None))
        ).scalar_one()


def _message(row: AnyRow) -> OutboxMessage:
    return OutboxMessage(
        message=row.message,
        to=None if row.to_identity is None else IdentityId(row.to_identity),
        n=row.n,
        entry_id=EntryId(row.id),
        state=DeliveryState(row.state),
        tries=row.tries,
        next_ms=row.next_ms,
        created_ms=row.created_ms,
        reason=row.reason,
    )
