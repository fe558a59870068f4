"""The Mailbox a Node keeps for the Identity it belongs to: sealed post, promised and handed out.

* Only post for our own Identity is taken, and only our own Devices fetch it: live ones, as the
  Root said.
* What is promised is signed with its date and kept until then, until every Device that can read
  has fetched it, or until one that did gives it up.
* Room is bounded for each sender, for the reader and in all; a stranger has a tenth of each, and
  three days.  Where there is no room the answer is no, and nothing else goes for it.

Nothing is opened here: a mirror could not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.crypto.signing import PREFIX_HELD, verify
from hanse.core.engine.post_receiving import (
    HOUR_MS,
    Declined,
    Received,
    check_post,
    sender_of,
)
from hanse.core.ledger.codec import encode
from hanse.core.ledger.feed import BodyState
from hanse.core.ledger.identities import ROLE_FULL
from hanse.core.limits import (
    MAILBOX_ITEMS_PER_READER_MAX,
    MAILBOX_ITEMS_PER_SENDER_MAX,
    MAILBOX_MS_MAX,
    MAILBOX_OF_STRANGERS_DIVISOR,
    MAILBOX_OF_STRANGERS_MS_MAX,
    MAILBOX_SIZE_BYTES_MAX,
    MAILBOX_SIZE_PER_READER_BYTES_MAX,
    MAILBOX_SIZE_PER_SENDER_BYTES_MAX,
    POST_ITEMS_MAX,
)
from hanse.core.model.network import SentEntry
from hanse.core.store.mailbox import item_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.engine.context import Context
    from hanse.core.engine.post_receiving import Receiving, Sender
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.store.mailbox import MailboxItem, MailboxUse
    from hanse.core.store.projection_reads import DeviceRow
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

LIVE: Final = "live"
_READ_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Promised:
    """An Entry is kept here until ``until_ms``; ``sig`` is this Device's word for it."""

    entry_id: EntryId
    until_ms: int
    sig: bytes


@dataclass(frozen=True, slots=True)
class Collected:
    """What a Device has not fetched yet, by number; ``more`` when there may be more."""

    items: tuple[MailboxItem, ...]
    more: bool


def held_message(entry_id: EntryId, reader: IdentityId, until_ms: int) -> bytes:
    """Return what a Mailbox signs to promise, behind ``PREFIX_HELD``."""
    return encode([entry_id, reader, until_ms])


def promise_holds(
    mailbox: AuthorKey, entry_id: EntryId, reader: IdentityId, until_ms: int, sig: bytes
) -> bool:
    """Say whether ``sig`` is the word of that Mailbox for this Entry, this reader, this date."""
    return verify(mailbox, PREFIX_HELD, held_message(entry_id, reader, until_ms), sig)


def live_devices(held: Repositories, identity: IdentityId) -> list[DeviceRow]:
    """Return the Devices that speak for an Identity now, as far as is known here."""
    return [row for row in held.projections.devices(identity) if row.state == LIVE]


class Mailbox:
    """What this Node keeps for the other Devices of its Identity."""

    def __init__(self, context: Context, receiving: Receiving) -> None:
        """Bind the Account, and what takes in post that this Device reads itself."""
        self._context = context
        self._receiving = receiving

    def hold(self, entry: CheckedEntry, reader: IdentityId) -> Promised | Received | Declined:
        """Keep an Entry for ``reader``, or say that it is there already, or no.

        On the writer.  What is returned is on disk.
        """
        context, now_ms = self._context, self._context.clock.now_ms()
        if reader != context.identity:
            return Declined("refused")
        signer = context.may_sign().device_signer
        with context.store.unit_of_work() as uow:
            stored = uow.feeds.find(entry.entry_id)
            if stored is not None and stored.body_state is BodyState.HERE:
                return Received(entry.entry_id, "got")  # another Device of ours has brought it
            uow.mailbox.expire(now_ms)
            kept = uow.mailbox.get(reader, entry.entry_id)
            if kept is None:
                sender = sender_of(context, uow, entry.author)
                if not _has_room(uow, entry, reader, sender):
                    return Declined("quota", HOUR_MS)
                length = MAILBOX_OF_STRANGERS_MS_MAX if sender.is_stranger else MAILBOX_MS_MAX
                until_ms = now_ms + length
                uow.mailbox.add(reader, entry, now_ms, until_ms, is_stranger=sender.is_stranger)
                uow.commit()
            else:
                until_ms = kept.until_ms
        message = held_message(entry.entry_id, reader, until_ms)
        return Promised(entry.entry_id, until_ms, signer.sign(PREFIX_HELD, message))

    def collect(self, device: AuthorKey, after: int, limit: int) -> Collected | Declined:
        """Take ``after`` as read by a Device of ours, and return what it has not read.

        On the writer.
        """
        context = self._context
        limit = min(limit, POST_ITEMS_MAX)
        with context.store.unit_of_work() as uow:
            if not _is_own(context, uow, device):
                return Declined("refused")
            box, reader = uow.mailbox, context.identity
            box.expire(context.clock.now_ms())
            # A number that was never given confirms nothing: it is of another store.
            if after <= box.newest_n():
                box.note_read(device, after)
                self._drop_read(uow)
            items = box.after(reader, box.read_up_to(device), limit)
            uow.commit()
        return Collected(tuple(items), more=len(items) == limit)

    def drop(self, device: AuthorKey, ids: Sequence[EntryId]) -> int | Declined:
        """Keep these no longer: a Device of ours has them, or has no use for them.

        On the writer.
        """
        context = self._context
        with context.store.unit_of_work() as uow:
            if not _is_own(context, uow, device):
                return Declined("refused")
            count = uow.mailbox.drop(context.identity, ids[:POST_ITEMS_MAX])
            uow.commit()
        return count

    def read_own(self) -> int:
        """Take in some of what this Device has not read itself; return how many items that were.

        A mirror reads nothing.  On the writer.
        """
        context = self._context
        if context.unlocked().is_mirror:
            return 0
        with context.store.reads() as reads:
            read = reads.mailbox.read_up_to(context.device)
            items = reads.mailbox.after(context.identity, read, _READ_AT_ONCE)
        for item in items:
            sent = SentEntry(item.header, item.sig, item.body)
            # Taken or refused: it is looked at once, and stays for the other Devices.
            self._receiving.take(check_post(sent), is_named=True, is_counted=False)
        if items:
            with context.store.unit_of_work() as uow:
                uow.mailbox.note_read(context.device, items[-1].n)
                self._drop_read(uow)
                uow.commit()
        return len(items)

    def item(self, entry_id: EntryId) -> MailboxItem | None:
        """Return one item, to be brought to a Device of ours."""
        with self._context.store.reads() as reads:
            return reads.mailbox.get(self._context.identity, entry_id)

    def use(self) -> MailboxUse:
        """Return how much is kept."""
        with self._context.store.reads() as reads:
            return reads.mailbox.used()

    def _drop_read(self, uow: UnitOfWork) -> None:
        """Keep no longer what every Device that can read has fetched."""
        identity = self._context.identity
        readers = [row for row in live_devices(uow, identity) if row.role == ROLE_FULL]
        if readers:
            read = min(uow.mailbox.read_up_to(row.device) for row in readers)
            uow.mailbox.drop_up_to(identity, read)


def _is_own(context: Context, held: Repositories, device: AuthorKey) -> bool:
    return any(row.device == device for row in live_devices(held, context.identity))


def _has_room(uow: UnitOfWork, entry: CheckedEntry, reader: IdentityId, sender: Sender) -> bool:
    size = item_size(entry)
    authors = [sender.author]
    if sender.identity is not None:
        authors = [row.author for row in uow.feeds.of_identity(sender.identity)]
    box, is_stranger = uow.mailbox, sender.is_stranger
    share = MAILBOX_OF_STRANGERS_DIVISOR if is_stranger else 1
    bounds = (
        (
            box.used(reader, authors),
            MAILBOX_ITEMS_PER_SENDER_MAX // share,
            MAILBOX_SIZE_PER_SENDER_BYTES_MAX // share,
        ),
        (
            box.used(reader, by_strangers=is_stranger),
            MAILBOX_ITEMS_PER_READER_MAX // share,
            MAILBOX_SIZE_PER_READER_BYTES_MAX // share,
        ),
        (box.used(by_strangers=is_stranger), None, MAILBOX_SIZE_BYTES_MAX // share),
        (box.used(reader), MAILBOX_ITEMS_PER_READER_MAX, MAILBOX_SIZE_PER_READER_BYTES_MAX),
        (box.used(), None, MAILBOX_SIZE_BYTES_MAX),
    )
    return all(
        used.size_bytes + size <= most_bytes and (most_items is None or used.items < most_items)
        for used, most_items, most_bytes in bounds
    )
