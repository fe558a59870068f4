"""Rows of Trials as values: steps kept as evidence, what each side notes, and the state they give.

* A step is kept as a Disclosure: Entry, signature, sealed Body and its key.  It can be read by a
  locked Account, checked again, and shown to a third party.
* The state is folded from the steps each time; a row's own word only helps to list.
* What a side notes for itself is versioned, bounded, and read strictly.

Who may say which step is ``hanse.core.trade``'s to decide.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.errors import EnvironmentFault, RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.disclosure import Disclosure, check_disclosure, disclose
from hanse.core.ledger.kinds import Trial1
from hanse.core.limits import CARD_LABELS_MAX, TRIAL_ANSWERS_PER_BUYER_MAX
from hanse.core.model.card import Digest, Line
from hanse.core.model.ids import EntryId
from hanse.core.model.trial import Exchange
from hanse.core.store.trials import ANSWERS_PER_PAGE, TrialNotHeld
from hanse.core.trade.trial_messages import read_answer, read_query
from hanse.core.trade.trial_state import SaidStep, fold_trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.engine.trying.post import Step
    from hanse.core.model.ids import IdentityId
    from hanse.core.model.trial import Trial
    from hanse.core.store.trials import TrialRole, TrialRow
    from hanse.core.store.unit_of_work import Repositories

BUYER: Final = "buyer"
SELLER: Final = "seller"


class TrialDamaged(EnvironmentFault):
    """What is kept of a Trial cannot be read any more; ``part`` is a stable word."""

    code = "trial.damaged"
    text = "what is kept of trial {trial} cannot be read: {part}"
    fields = ("trial", "part")


class BuyerNotes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a buyer keeps beside a Trial of signed answers, and shows nobody.

    ``output`` is the output that is judged, ``labels`` its classes; both were fixed before the
    first answer.  ``left_out`` counts rows that were not committed to.  ``right`` has a byte for
    each answer, 1 where it was the true one.
    """

    v: Literal[1] = 1
    dataset: Line = ""
    dataset_sha256: Digest | None = None
    recipe_sha256: Digest | None = None
    output: str = ""
    labels: Annotated[tuple[str, ...], msgspec.Meta(max_length=CARD_LABELS_MAX)] = ()
    left_out: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    right: Annotated[bytes, msgspec.Meta(max_length=TRIAL_ANSWERS_PER_BUYER_MAX)] = b""
    stopped: str = ""


def encode_notes(notes: BuyerNotes) -> bytes:
    """Return the bytes a row keeps."""
    return encode(notes)


def notes_of(row: TrialRow) -> BuyerNotes:
    """Read what a buyer noted, or raise ``TrialDamaged``."""
    try:
        return decode(row.data, BuyerNotes) if row.data else BuyerNotes()
    except RejectedEntry as error:
        raise TrialDamaged(trial=row.trial, part="notes") from error


def keep_step(step: Step) -> bytes:
    """Return a step as a row keeps it."""
    return encode(disclose(step.entry, step.key))


def trial_row(held: Repositories, trial: bytes, role: TrialRole) -> TrialRow:
    """Return a Trial in one role, or raise ``TrialNotHeld``."""
    row = held.trials.get(EntryId(trial), role)
    if row is None:
        raise TrialNotHeld(trial=trial, role=role)
    return row


def trial_of(held: Repositories, row: TrialRow, own: IdentityId) -> Trial:
    """Fold the kept steps of a row into the Trial, or raise ``TrialDamaged``."""
    said = [
        _said(held, row, raw)
        for raw in (row.request, row.grant, row.refusal, row.close)
        if raw is not None
    ]
    seller = row.counterparty if row.role == BUYER else own
    used = row.answers if row.way == "answers" else row.runs_used
    trial = fold_trial(said, row.trial, seller, used=used, replayed=row.replayed)
    if trial is None:
        raise TrialDamaged(trial=row.trial, part="request")
    return trial


def _said(held: Repositories, row: TrialRow, raw: bytes) -> SaidStep:
    """Read one kept step; that its Device spoke for its Identity was checked when it was taken."""
    try:
        entry, opened = check_disclosure(decode(raw, Disclosure))
    except (RejectedEntry, VerificationFailed) as error:
        raise TrialDamaged(trial=row.trial, part="step") from error
    feed = held.feeds.get(entry.author)
    if feed is None or feed.opening is None or not isinstance(opened.body, Trial1):
        raise TrialDamaged(trial=row.trial, part="step")
    identity = feed.opening.identity
    time_ms = entry.header.time_ms
    return SaidStep(entry.entry_id, entry.author, identity, time_ms, opened.body.step)


def exchanges_of(held: Repositories, row: TrialRow) -> Iterator[Exchange]:
    """Yield the kept queries and answers of a Trial in order, or raise ``TrialDamaged``."""
    after = -1
    while page := held.trials.transcript(row.trial, row.role, after, ANSWERS_PER_PAGE):
        for kept in page:
            try:
                query = read_query(kept.query, kept.query_sig)
                answer = read_answer(kept.answer, kept.answer_sig)
            except RejectedEntry as error:
                raise TrialDamaged(trial=row.trial, part="answer") from error
            yield Exchange(query, answer)
        after = page[-1].i


def disclosure_of(row: TrialRow, raw: bytes) -> Disclosure:
    """Return a kept step as the evidence that shows it, or raise ``TrialDamaged``."""
    try:
        return decode(raw, Disclosure)
    except RejectedEntry as error:
        raise TrialDamaged(trial=row.trial, part="step") from error


def step_id(row: TrialRow, raw: bytes) -> EntryId:
    """Return the Entry id of a kept step."""
    kept = disclosure_of(row, raw)
    return EntryId(sha256(kept.header + kept.signature).digest())
