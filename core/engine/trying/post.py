"""The signed steps of a Trial on their way: appended here, enclosed in a file, taken in there.

* A step is a Private Entry in the sender's own Feed, sealed to the Box key of the other
  Identity and to the sender's own.
* A file brings all that a stranger needs to judge it: the sender's root feed, and his Device's
  Feed up to the step.  What is taken in passes the gate every Entry passes, and stays in the
  Ledger like any other.
* A step counts only from an Entry that stands, of a Device that speaks for its Identity.

What a step means for a Trial is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hanse.core.engine.ledger import counted_of
from hanse.core.engine.sources import accept_unchecked
from hanse.core.errors import Refused, RejectedEntry, VerificationFailed
from hanse.core.ledger.disclosure import disclose, open_body
from hanse.core.ledger.entry import is_private_kind
from hanse.core.ledger.feed import BodyState
from hanse.core.ledger.identities import Void, speaks_for
from hanse.core.ledger.kinds import Trial1, Warranty1
from hanse.core.limits import TRIAL_FILE_ENTRIES_MAX
from hanse.core.model.ids import identity_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.file import TrialFile
    from hanse.core.ledger.disclosure import Disclosure
    from hanse.core.ledger.entry import CheckedEntry, SignedEntry
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

TRIAL_KIND: Final = "trial/1"
WARRANTY_KIND: Final = "warranty/1"
_PAGE: Final = 1000


class PartyUnknown(Refused):
    """The root feed of an Identity is not held here, so nothing can be sealed to it."""

    code = "trial.party_unknown"
    text = "no feed of {identity} is held here, so nothing can be sealed to it"
    fields = ("identity",)


class FeedTooLong(Refused):
    """The own Feed does not fit a trial file; a network or a feed file has to carry it."""

    code = "trial.feed_too_long"
    text = "the own feed has {found} entries, a trial file carries {most}"
    fields = ("found", "most")


class StepRefused(VerificationFailed):
    """An Entry in a trial file does not hold, or is not what it has to be."""

    code = "trial.step_refused"

    def __init__(self, where: str, reason: str) -> None:
        """Name the Entry and the rule it breaks."""
        super().__init__(where=where, reason=reason)


class NotForUs(Refused):
    """A step was sealed to another Account, or to a Device of ours that has other keys."""

    code = "trial.not_for_us"
    text = "the step {entry} does not open with the keys of this account"
    fields = ("entry",)


@dataclass(frozen=True, slots=True)
class Step:
    """One signed step: who says what, in which Entry; ``key`` shows it to a third party."""

    entry: CheckedEntry
    identity: IdentityId
    body: Trial1
    key: bytes = field(repr=False)

    @property
    def entry_id(self) -> EntryId:
        """Return the id of the Entry."""
        return self.entry.entry_id


def append_step(
    context: Context, uow: UnitOfWork, body: Trial1 | Warranty1, to: IdentityId
) -> CheckedEntry:
    """Append a step, or a Proof, to this Device's Feed, for ``to``; the caller commits."""
    own = uow.projections.standing_of(context.identity)
    assert own is not None
    theirs = uow.projections.standing_of(to)
    if theirs is None:
        raise PartyUnknown(identity=identity_text(to))
    boxes = [theirs.box, context.newest_box(own)]
    kind = TRIAL_KIND if isinstance(body, Trial1) else WARRANTY_KIND
    return context.append_private(uow, kind, body, boxes, [to, context.identity])


def enclosed(
    context: Context, held: Repositories, steps: Sequence[EntryId]
) -> tuple[SignedEntry, ...]:
    """Return all Entries of ours that whoever gets ``steps`` needs to judge them.

    Root feeds come first and whole; of a Device's Feed the Bodies of its Delegation and of
    the steps, of everything else the Headers.  A step of somebody else is left out.
    """
    wanted = set(steps)
    rows = [
        (row.opening, row.author)
        for row in held.feeds.of_identity(context.identity)
        if row.opening is not None
    ]
    authors = {stored.entry.author for step in wanted if (stored := held.feeds.find(step))}
    roots = sorted((opening.r, author) for opening, author in rows if opening.is_root)
    devices = sorted(author for opening, author in rows if not opening.is_root)
    result: list[SignedEntry] = [entry for _, author in roots for entry in _feed(held, author)]
    for author in devices:
        if author not in authors:
            continue
        result += (
            entry if entry.seq == 1 or entry.entry_id in wanted else entry.without_body()
            for entry in _feed(held, author)
        )
    if len(result) > TRIAL_FILE_ENTRIES_MAX:
        raise FeedTooLong(found=len(result), most=TRIAL_FILE_ENTRIES_MAX)
    return tuple(result)


def opening_entries(held: Repositories, identities: Sequence[IdentityId]) -> Iterator[SignedEntry]:
    """Yield what says which Devices speak for these Identities: root feeds, then Delegations."""
    for identity in identities:
        rows = [(row.opening, row.author) for row in held.feeds.of_identity(identity)]
        roots = sorted((it.r, author) for it, author in rows if it is not None and it.is_root)
        for _, author in roots:
            yield from _feed(held, author)
        for author in sorted(author for it, author in rows if it is not None and not it.is_root):
            opening = held.feeds.entry_at(author, 1)
            assert opening is not None
            yield opening


def disclose_own(context: Context, held: Repositories, entry: CheckedEntry) -> Disclosure:
    """Make the evidence that shows an own Private body to anybody."""
    opened = open_body(entry, context.box_secrets(held))
    assert opened is not None
    return disclose(entry, opened.key)


def _feed(held: Repositories, author: AuthorKey) -> Iterator[SignedEntry]:
    seq = 1
    while page := held.feeds.entries(author, seq, _PAGE):
        yield from (stored.entry for stored in page)
        seq = page[-1].entry.seq + 1


def take_entries(context: Context, uow: UnitOfWork, file: TrialFile) -> tuple[Step, ...]:
    """Take in the Entries of a file; return its steps, in the order they came.

    Raises ``StepRefused`` for the first that does not hold, ``NotForUs`` for a step that was
    sealed to somebody else.  The caller commits, or leaves everything as it was.
    """
    outcome = accept_unchecked(uow, file.entries, context.clock.now_ms())
    for refusal in outcome.refused:
        raise StepRefused(f"seq {refusal.seq} of {refusal.author.hex()}", refusal.reason)
    found = []
    for entry in file.entries:
        if not is_private_kind(entry.kind) or entry.body is None:
            continue
        step = read_step(context, uow, entry.entry_id)
        if step.identity != file.sender:
            raise StepRefused(_place(entry), "other_sender")
        found.append(step)
    return tuple(found)


def read_step(context: Context, held: Repositories, entry_id: EntryId) -> Step:
    """Open a step that is held here, or raise ``StepRefused`` or ``NotForUs``."""
    stored = held.feeds.find(entry_id)
    if stored is None:
        raise StepRefused(entry_id.hex(), "not_held")
    entry = stored.entry
    row = held.feeds.get(entry.author)
    assert row is not None
    known = None if row.opening is None else held.projections.standing_of(row.opening.identity)
    if row.opening is None or known is None:
        raise StepRefused(_place(entry), "delegation")
    identity = speaks_for(entry, row.opening, known, counted_of(held, row))
    if isinstance(identity, Void):
        raise StepRefused(_place(entry), identity.reason)
    if stored.body_state is not BodyState.HERE:
        raise StepRefused(_place(entry), "body")
    try:
        opened = open_body(entry, context.box_secrets(held))
    except RejectedEntry as error:
        raise StepRefused(_place(entry), error.reason) from error
    if opened is None:
        raise NotForUs(entry=entry.entry_id)
    if not isinstance(opened.body, Trial1):
        raise StepRefused(_place(entry), "inner_kind")
    return Step(entry, identity, opened.body, opened.key)


def _place(entry: SignedEntry) -> str:
    return f"seq {entry.seq} of {entry.author.hex()}"
