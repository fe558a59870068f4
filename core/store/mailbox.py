"""Sealed post kept for an Identity whose Devices are off, and who of them has read how far.

* An item is bytes that nobody here can open: Header, signature, sealed Body.
* Numbers grow and are never used twice, so "what came since n" has one answer.
* Room is asked for before anything is added; nothing that was promised is pushed out.
* What every Device that can read has fetched goes, what a Device gives up goes, and so does what
  is over its date.

Whose post is taken, and who may fetch it, is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, and_, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.store.network_tables import intake, mailbox, mailbox_readers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from hanse.core.ledger.entry import SignedEntry
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.feed_rows import AnyRow

_IDS_PER_QUERY: Final = 500
_ITEMS: Final = select(
    mailbox.c.n, mailbox.c.id, mailbox.c.header, mailbox.c.sig, mailbox.c.body, mailbox.c.until_ms
)
ITEMS_AFTER: Final = (
    _ITEMS.where(mailbox.c.n > bindparam("after"), mailbox.c.reader == bindparam("reader"))
    .order_by(mailbox.c.n)
    .limit(bindparam("limit"))
)
ITEM_OF_ID: Final = _ITEMS.where(
    mailbox.c.reader == bindparam("reader"), mailbox.c.id == bindparam("id")
)
_USED: Final = (func.count(), func.coalesce(func.sum(mailbox.c.size_bytes), 0))
POSTED: Final = (
    select(func.coalesce(func.sum(intake.c.count), 0))
    .where(intake.c.day == bindparam("day"))
    .where(intake.c.sort.in_(bindparam("sorts", expanding=True)))
)


@dataclass(frozen=True, slots=True)
class MailboxItem:
    """One item, and its number."""

    n: int
    entry_id: EntryId
    header: bytes = field(repr=False)
    sig: bytes = field(repr=False)
    body: bytes = field(repr=False)
    until_ms: int


@dataclass(frozen=True, slots=True)
class MailboxUse:
    """How many items, and how many bytes."""

    items: int
    size_bytes: int


def item_size(entry: SignedEntry) -> int:
    """Return how much of a Mailbox an Entry takes."""
    return len(entry.header_bytes) + len(entry.signature) + len(entry.body or b"")


class MailboxRepository:
    """The Mailbox of this folder."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    # --- items ------------------------------------------------------------------------------

    def add(
        self,
        reader: IdentityId,
        entry: SignedEntry,
        now_ms: int,
        until_ms: int,
        *,
        is_stranger: bool,
    ) -> None:
        """Keep an Entry for ``reader``; one that is kept already stays as it is."""
        self._connection.execute(
            insert(mailbox)
            .values(
                reader=reader,
                id=entry.entry_id,
                author=entry.author,
                header=entry.header_bytes,
                sig=entry.signature,
                size_bytes=item_size(entry),
                received_ms=now_ms,
                until_ms=until_ms,
                is_stranger=is_stranger,
                body=entry.body,
            )
            .on_conflict_do_nothing()
        )

    def get(self, reader: IdentityId, entry_id: EntryId) -> MailboxItem | None:
        """Return one item."""
        row = self._connection.execute(ITEM_OF_ID, {"reader": reader, "id": entry_id}).first()
        return None if row is None else _item(row)

    def after(self, reader: IdentityId, n: int, limit: int) -> list[MailboxItem]:
        """Return the items that came after number ``n``, in order."""
        rows = self._connection.execute(ITEMS_AFTER, {"reader": reader, "after": n, "limit": limit})
        return [_item(row) for row in rows]

    def newest_n(self) -> int:
        """Return the highest number that is kept now."""
        return int(
            self._connection.execute(select(func.coalesce(func.max(mailbox.c.n), 0))).scalar_one()
        )

    def drop(self, reader: IdentityId, ids: Sequence[EntryId]) -> int:
        """Keep these no longer; return how many were here."""
        count = 0
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[start : start + _IDS_PER_QUERY]
            count += self._drop(and_(mailbox.c.reader == reader, mailbox.c.id.in_(some)))
        return count

    def drop_up_to(self, reader: IdentityId, n: int) -> int:
        """Keep nothing up to number ``n``: everybody has it."""
        return self._drop(and_(mailbox.c.reader == reader, mailbox.c.n <= n))

    def expire(self, now_ms: int) -> int:
        """Drop what is over its date; return how many items that were."""
        return self._drop(mailbox.c.until_ms <= now_ms)

    def _drop(self, which: ColumnElement[bool]) -> int:
        return self._connection.execute(delete(mailbox).where(which)).rowcount

    # --- room -------------------------------------------------------------------------------

    def used(
        self,
        reader: IdentityId | None = None,
        authors: Sequence[AuthorKey] = (),
        *,
        by_strangers: bool = False,
    ) -> MailboxUse:
        """Return what is kept: in all, for one reader, of some Authors, or of strangers."""
        statement = select(*_USED)
        if reader is not None:
            statement = statement.where(mailbox.c.reader == reader)
        if authors:
            statement = statement.where(mailbox.c.author.in_(authors))
        if by_strangers:
            statement = statement.where(mailbox.c.is_stranger.is_(True))
        items, size = self._connection.execute(statement).one()
        return MailboxUse(items, size)

    # --- readers ----------------------------------------------------------------------------

    def read_up_to(self, device: AuthorKey) -> int:
        """Return the number up to which a Device has everything."""
        found = self._connection.execute(
            select(mailbox_readers.c.n).where(mailbox_readers.c.device == device)
        ).scalar_one_or_none()
        return 0 if found is None else int(found)

    def note_read(self, device: AuthorKey, n: int) -> None:
        """Note that a Device has everything up to ``n``; it never goes back."""
        self._connection.execute(
            insert(mailbox_readers)
            .values(device=device, n=n)
            .on_conflict_do_update(
                index_elements=[mailbox_readers.c.device],
                set_={"n": n},
                where=mailbox_readers.c.n < n,
            )
        )

    # --- how much came ----------------------------------------------------------------------

    def posted(self, day: int, sorts: Sequence[str], sender: bytes | None = None) -> int:
        """Return how much post of these sorts came on a day, of one sender or of all."""
        statement = POSTED if sender is None else POSTED.where(intake.c.identity == sender)
        return int(
            self._connection.execute(statement, {"day": day, "sorts": list(sorts)}).scalar_one()
        )

    def count_post(self, day: int, sort: str, sender: bytes) -> None:
        """Count one more of ``sender``."""
        self._connection.execute(
            insert(intake)
            .values(day=day, identity=sender, sort=sort, count=1)
            .on_conflict_do_update(
                index_elements=[intake.c.day, intake.c.identity, intake.c.sort],
                set_={"count": intake.c.count + 1},
            )
        )


def _item(row: AnyRow) -> MailboxItem:
    return MailboxItem(row.n, EntryId(row.id), row.header, row.sig, row.body, row.until_ms)
