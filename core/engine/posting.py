"""Post: Private bodies on their way to their readers, and what came of each.

* A message was written with its Entry.  It is tried, ever more seldom, until a Device of the
  reader says that it has it; a Mailbox that promised to keep it is kept as a receipt.
* A reader's Devices are those the Root says speak for him now: a revoked one is given nothing.
* Handing over is noted before it is done, with the time of the next try, so that a program
  killed in between only sends once more.
* A person can send anything again at any time.

How Devices are reached, and what they are told, is the network's to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.engine.mailboxes import Mailbox, live_devices, promise_holds
from hanse.core.engine.post_receiving import Receiving
from hanse.core.errors import RejectedEntry, WrongUse
from hanse.core.ledger.disclosure import open_body
from hanse.core.ledger.feed import BodyState
from hanse.core.ledger.identities import ROLE_FULL, ROLE_MIRROR
from hanse.core.limits import MAILBOXES_PER_READER_MAX, POST_SHOWN_MAX
from hanse.core.model.delivery import RESTING, DeliveryEvent, DeliveryState, after, retry_ms
from hanse.core.model.ids import AuthorKey, identity_text
from hanse.core.model.network import SentEntry
from hanse.core.store.outbox import HeldReceipt

if TYPE_CHECKING:
    from hanse.core.engine.context import Context
    from hanse.core.model.ids import EntryId, IdentityId
    from hanse.core.store.outbox import OutboxMessage
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

MAILBOX_ROLE: Final = "mailbox"
_SENT_AT_ONCE: Final = 100


class UnknownMessage(WrongUse):
    """There is no message of this number."""

    code = "post.unknown_message"
    text = "there is no message {message} in the outbox"
    fields = ("message",)


@dataclass(frozen=True, slots=True)
class Routes:
    """Who can be asked to take post for an Identity, by key: its own Devices and Mailboxes."""

    devices: tuple[AuthorKey, ...]
    mailboxes: tuple[AuthorKey, ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message as it leaves; ``promised_by`` are Mailboxes that keep it already."""

    message: int
    to: IdentityId
    entry_id: EntryId
    entry: SentEntry
    promised_by: frozenset[AuthorKey]


@dataclass(frozen=True, slots=True)
class HeldView:
    """Who keeps a message until when; ``name`` is the Device's."""

    mailbox: AuthorKey
    name: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One message as a person sees it.

    ``kind`` is what is inside, or the kind of the Header while the Account is locked.  ``next_ms``
    is missing when nothing more is tried; ``reason`` says why it failed, by a stable word.
    """

    message: int
    to: IdentityId
    to_name: str
    entry_id: EntryId
    kind: str
    state: DeliveryState
    tries: int
    created_ms: int
    next_ms: int | None
    reason: str | None
    held: tuple[HeldView, ...]


class Posting:
    """The outbox, and what others post to us."""

    def __init__(self, context: Context) -> None:
        """Bind the Account."""
        self._context = context
        self.receiving = Receiving(context)
        self.mailbox = Mailbox(context, self.receiving)

    # --- for whoever sends ------------------------------------------------------------------

    def due(self) -> tuple[OutboxMessage, ...]:
        """Return the deliveries that should be tried now, the longest overdue first."""
        with self._context.store.reads() as reads:
            return tuple(reads.outbox.deliveries_due(self._context.clock.now_ms(), _SENT_AT_ONCE))

    def waiting_for(self, identity: IdentityId) -> tuple[OutboxMessage, ...]:
        """Return what one Identity does not have yet: it has just been met."""
        with self._context.store.reads() as reads:
            return tuple(reads.outbox.waiting_for(identity, _SENT_AT_ONCE))

    def next_ms(self) -> int | None:
        """Return when the next delivery is due; ``None`` when none waits."""
        with self._context.store.reads() as reads:
            return reads.outbox.next_delivery_ms()

    def identity_of(self, device: AuthorKey) -> IdentityId | None:
        """Return for whom a Device speaks now; ``None`` for one that is unknown or revoked."""
        with self._context.store.reads() as reads:
            return reads.peers.delegations([device]).get(device)

    def routes(self, identity: IdentityId) -> Routes:
        """Return whom to ask: Devices that read, and those that keep mail."""
        own = self._context.device
        with self._context.store.reads() as reads:
            rows = [row for row in live_devices(reads, identity) if row.device != own]
            peers = {row.device: reads.peers.get(row.device) for row in rows}
        keeps = {device for device, row in peers.items() if row and MAILBOX_ROLE in row.roles}
        mailboxes = [row.device for row in rows if row.role == ROLE_MIRROR or row.device in keeps]
        return Routes(
            devices=tuple(row.device for row in rows if row.role == ROLE_FULL),
            mailboxes=tuple(mailboxes[:MAILBOXES_PER_READER_MAX]),
        )

    def begin(self, message: int) -> Parcel | None:
        """Note that a message is tried now, and return what leaves; ``None`` for one that rests.

        On the writer; may leave the machine when this has returned.
        """
        context, now_ms = self._context, self._context.clock.now_ms()
        with context.store.unit_of_work() as uow:
            found = uow.outbox.get(message)
            if found is None or found.to is None or found.state in RESTING:
                return None
            stored = uow.feeds.find(found.entry_id)
            entry = None if stored is None else stored.entry
            if (
                entry is None
                or stored is None
                or stored.body_state is not BodyState.HERE
                or not uow.private_to.may_read(found.entry_id, found.to)
            ):
                self._move(uow, found, DeliveryEvent.LAPSED, reason="erased")
                uow.commit()
                return None
            promises = [one for one in uow.outbox.promises(message) if one.until_ms > now_ms]
            state = found.state
            if not promises:
                state = after(state, DeliveryEvent.EXPIRED, is_promised=False)
            state = after(state, DeliveryEvent.SENDING, is_promised=bool(promises))
            tries = found.tries + 1
            uow.outbox.mark(message, state, now_ms + retry_ms(tries), tries=tries)
            uow.commit()
        with context.store.reads() as reads:
            context.note_leaving(reads)
        return Parcel(
            message,
            found.to,
            found.entry_id,
            SentEntry(entry.header_bytes, entry.signature, entry.body),
            frozenset(one.mailbox for one in promises),
        )

    def unanswered(self, message: int) -> DeliveryState:
        """Note that no Device of the reader took it.  On the writer."""
        return self._note(message, DeliveryEvent.UNANSWERED)

    def got(self, message: int) -> DeliveryState:
        """Note that a Device of the reader has it.  On the writer."""
        return self._note(message, DeliveryEvent.GOT)

    def promised(self, message: int, mailbox: AuthorKey, until_ms: int, sig: bytes) -> bool:
        """Keep a Mailbox's promise; say no when it is not its word, or over already.

        On the writer.
        """
        now_ms = self._context.clock.now_ms()
        with self._context.store.unit_of_work() as uow:
            found = self._found(uow, message)
            if found.to is None or until_ms <= now_ms:
                return False
            if not promise_holds(mailbox, found.entry_id, found.to, until_ms, sig):
                return False
            uow.outbox.keep_promise(message, HeldReceipt(mailbox, until_ms, sig))
            self._move(uow, found, DeliveryEvent.HELD)
            uow.commit()
        return True

    def lapse(self, entry_id: EntryId, reason: str) -> None:
        """Try no more to deliver an Entry: it is of no use any more, for ``reason``.

        On the writer.
        """
        with self._context.store.unit_of_work() as uow:
            for found in uow.outbox.of_entry(entry_id):
                if found.to is not None:
                    self._move(uow, found, DeliveryEvent.LAPSED, reason=reason)
            uow.commit()

    # --- for a person -----------------------------------------------------------------------

    def resend(self, message: int) -> DeliveryView:
        """Try a message again now, whatever came of it; raises ``UnknownMessage``.

        On the writer.
        """
        context = self._context
        with context.store.unit_of_work() as uow:
            found = self._found(uow, message)
            if found.to is None:
                raise UnknownMessage(message=message)
            state = after(found.state, DeliveryEvent.RESENT, is_promised=False)
            uow.outbox.mark(message, state, context.clock.now_ms(), tries=0)
            uow.commit()
            return self._view(uow, self._found(uow, message))

    def views(self, before: int = 2**63 - 1, limit: int = 100) -> tuple[DeliveryView, ...]:
        """Return the deliveries, newest first; go on with the number of the last one."""
        with self._context.store.reads() as reads:
            found = reads.outbox.deliveries(before, min(limit, POST_SHOWN_MAX))
            return tuple(self._view(reads, one) for one in found)

    # --- inside -----------------------------------------------------------------------------

    def _note(self, message: int, event: DeliveryEvent) -> DeliveryState:
        with self._context.store.unit_of_work() as uow:
            state = self._move(uow, self._found(uow, message), event)
            uow.commit()
        return state

    def _move(
        self,
        uow: UnitOfWork,
        found: OutboxMessage,
        event: DeliveryEvent,
        reason: str | None = None,
    ) -> DeliveryState:
        is_promised = bool(uow.outbox.promises(found.message))
        state = after(found.state, event, is_promised=is_promised)
        if state is not found.state or event is DeliveryEvent.LAPSED:
            next_ms = None if state in RESTING else found.next_ms
            why = (reason or found.reason) if state is DeliveryState.FAILED else None
            uow.outbox.mark(found.message, state, next_ms, tries=found.tries, reason=why)
        return state

    def _found(self, held: Repositories, message: int) -> OutboxMessage:
        found = held.outbox.get(message)
        if found is None:
            raise UnknownMessage(message=message)
        return found

    def _view(self, held: Repositories, found: OutboxMessage) -> DeliveryView:
        assert found.to is not None
        profile = held.projections.profile(found.to)
        names = {row.device: row.name for row in held.projections.devices(found.to)}
        return DeliveryView(
            message=found.message,
            to=found.to,
            to_name=profile.name if profile is not None else identity_text(found.to),
            entry_id=found.entry_id,
            kind=self._kind(held, found.entry_id),
            state=found.state,
            tries=found.tries,
            created_ms=found.created_ms,
            next_ms=found.next_ms,
            reason=found.reason,
            held=tuple(
                HeldView(one.mailbox, names.get(one.mailbox, one.mailbox.hex()), one.until_ms)
                for one in held.outbox.promises(found.message)
            ),
        )

    def _kind(self, held: Repositories, entry_id: EntryId) -> str:
        stored = held.feeds.find(entry_id)
        if stored is None:
            return ""
        if self._context.keys is None:
            return stored.entry.kind
        try:
            opened = open_body(stored.entry, self._context.box_secrets(held))
        except RejectedEntry:
            opened = None
        return stored.entry.kind if opened is None else opened.inner.kind
