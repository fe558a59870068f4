"""Post that came: whose it is, whether it may be taken, and the gate it passes.

* Every Entry passes the gate of the Ledger; the answer is given after the commit, and the same
  one again whenever the same Entry comes again.
* What opens with our keys is ours.  What does not open and was said to be for us is kept sealed:
  a mirror has no keys, and a full Device may get the seeds of an epoch later.  The rest is refused.
* What a stranger may send in a day is bounded, the more so what begins something.
* An Entry whose Feed has not come yet waits; its sealed Body waits with it.

Who brought it, and over what, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.engine.syncing import Acceptor
from hanse.core.errors import RejectedEntry
from hanse.core.ledger.disclosure import open_body
from hanse.core.ledger.entry import (
    body_fits,
    check_entry,
    is_private_kind,
    parse_entry,
)
from hanse.core.ledger.feed import BodyState, Forked, Parked, Rejected
from hanse.core.ledger.kinds import Message1, Trial1
from hanse.core.ledger.quotas import Tier
from hanse.core.limits import (
    POST_ASKS_PER_STRANGER_MAX,
    POST_OF_STRANGERS_MAX,
    POST_PER_STRANGER_MAX,
)
from hanse.core.model.ids import EntryId

if TYPE_CHECKING:
    from hanse.core.engine.context import Context
    from hanse.core.ledger.disclosure import Opened
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey, IdentityId
    from hanse.core.model.network import SentEntry
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

DAY_MS: Final = 24 * 60 * 60 * 1000
HOUR_MS: Final = 60 * 60 * 1000
_ASK: Final = "post.ask"  # what begins something
_ANY: Final = "post.any"
_TRIAL: Final = "trial.ask"
_SORTS: Final = (_ASK, _ANY, _TRIAL)
_OPENINGS: Final = (Message1,)


@dataclass(frozen=True, slots=True)
class Received:
    """An Entry is on disk here: in its Feed, or waiting for its Feed."""

    entry_id: EntryId
    state: Literal["got", "parked"]


@dataclass(frozen=True, slots=True)
class Declined:
    """It was not taken: ``refused`` for good, ``quota`` until ``retry_ms`` from now."""

    code: Literal["refused", "quota"]
    retry_ms: int = 0


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose post it is; the Identity is missing while its Feed is not here."""

    author: AuthorKey
    identity: IdentityId | None
    is_stranger: bool

    @property
    def counted_as(self) -> bytes:
        """Return the name its post is counted under."""
        return self.author if self.identity is None else self.identity


def sender_of(context: Context, held: Repositories, author: AuthorKey) -> Sender:
    """Say whose post an Author's is, as far as is known here."""
    row = held.feeds.get(author)
    identity = None if row is None or row.opening is None else row.opening.identity
    is_near = row is not None and row.tier is not Tier.STRANGER
    return Sender(author, identity, not is_near and identity != context.identity)


def check_post(sent: SentEntry) -> CheckedEntry:
    """Check what depends on the bytes alone: shape, Body, signature; raise ``RejectedEntry``."""
    if sent.body is None:
        raise RejectedEntry("bad_shape", "post without a body")
    entry = parse_entry(sent.header, sent.sig, sent.body)
    if not is_private_kind(entry.kind):
        raise RejectedEntry("bad_shape", f"post of public kind {entry.kind}")
    if not body_fits(entry, sent.body):
        raise RejectedEntry("wrong_body", f"seq {entry.seq}")
    return check_entry(entry)


class Receiving:
    """Takes post in."""

    def __init__(self, context: Context) -> None:
        """Bind the Account."""
        self._context = context

    def take(
        self, entry: CheckedEntry, *, is_named: bool, is_counted: bool = True
    ) -> Received | Declined:
        """Take one Entry in; ``is_named`` when it was said to be for this Identity.

        Without ``is_counted`` its sender was counted where it was kept.  On the writer.
        What is returned is on disk.
        """
        context, now_ms = self._context, self._context.clock.now_ms()
        with context.store.unit_of_work() as uow:
            if _has_body(uow, entry):
                return Received(entry.entry_id, "got")
            sender = sender_of(context, uow, entry.author)
            try:
                opened = open_body(entry, context.box_secrets(uow))
            except RejectedEntry:
                return Declined("refused")  # sealed to us for another place: copied or made up
            if opened is None and not is_named:
                return Declined("refused")
            is_new = uow.parked.get(entry.entry_id) is None
            if is_counted and sender.is_stranger and is_new:
                over = _count(uow, sender, _ASK if _begins(opened) else _ANY, now_ms)
                if over is not None:
                    return over
            acceptor = Acceptor(uow, now_ms, Tier.STRANGER if sender.is_stranger else Tier.NEAR)
            verdict = acceptor.accept(entry)
            acceptor.finish()
            match verdict:
                case Rejected():
                    return Declined("refused")
                case Parked("quota"):
                    return Declined("quota", HOUR_MS)
                case Parked() if uow.feeds.find(entry.entry_id) is None:
                    uow.commit()
                    return Received(entry.entry_id, "parked")
                case Forked() if not _has_body(uow, entry):
                    uow.commit()  # the proof is kept, and with it the Entry on its branch
                    return Received(entry.entry_id, "got")
                case _:
                    pass
            if not _has_body(uow, entry):
                return Declined("quota", HOUR_MS)  # no room for Bodies of this Feed, or erased
            uow.private_to.add(entry.entry_id, [context.identity])
            uow.commit()
        return Received(entry.entry_id, "got")

    def admit_ask(self, device: AuthorKey, trial: bytes) -> Declined | None:
        """Count a Trial a Device asks for that is not held yet; say no where it is too many.

        On the writer.
        """
        context = self._context
        with context.store.unit_of_work() as uow:
            if uow.trials.get(EntryId(trial), "seller") is not None:
                return None
            sender = sender_of(context, uow, device)
            if not sender.is_stranger:
                return None
            over = _count(uow, sender, _TRIAL, context.clock.now_ms())
            uow.commit()
        return over


def _has_body(held: Repositories, entry: CheckedEntry) -> bool:
    stored = held.feeds.find(entry.entry_id)
    return stored is not None and stored.body_state is BodyState.HERE


def _begins(opened: Opened | None) -> bool:
    """Say whether a Body begins something; one that does not open may."""
    if opened is None or isinstance(opened.body, _OPENINGS):
        return True
    return isinstance(opened.body, Trial1) and opened.body.request is not None


def _count(uow: UnitOfWork, sender: Sender, sort: str, now_ms: int) -> Declined | None:
    """Count what a stranger sends; say no where it is more than a day may bring."""
    day, name, box = now_ms // DAY_MS, sender.counted_as, uow.mailbox
    if (
        (sort != _ANY and box.posted(day, (sort,), name) >= POST_ASKS_PER_STRANGER_MAX)
        or box.posted(day, _SORTS, name) >= POST_PER_STRANGER_MAX
        or box.posted(day, _SORTS) >= POST_OF_STRANGERS_MAX
    ):
        return Declined("quota", (day + 1) * DAY_MS - now_ms)
    box.count_post(day, sort, name)
    return None
