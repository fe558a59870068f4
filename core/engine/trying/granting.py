"""A seller's answer to a REQUEST: grant or refuse, by rule, in one transaction.

* Granted is what the card of the Release switches on, while its Listing is open; to people one
  does not follow no more than the Listing answers in 30 days, no scores behind a class, and
  nothing that answers would give away.
* A grant never holds the Content key.  A Sealed local trial gets piece keys, one of them a buyer
  and Release in 30 days; signed answers the commitment to a key that the buyer derives after
  the purchase.
* Both sides compute the plan from claim, margin and budget alike; the grant only fixes it.

What may be granted is ``hanse.core.trade.trial_rules``'s; this is where its numbers come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.memory_opening import piece_keys
from hanse.core.certify.data import kind_of
from hanse.core.certify.inspecting import inspect_files
from hanse.core.crypto.blobs import seal_blob
from hanse.core.crypto.derivation import trial_seal_key
from hanse.core.crypto.passwords import KEY_SIZE_BYTES, NONCE_SIZE_BYTES
from hanse.core.engine.trying.data import NoSignature, wanted_of
from hanse.core.engine.trying.keys import content_key_of
from hanse.core.engine.trying.post import append_step, read_step
from hanse.core.engine.trying.records import SELLER, keep_step, trial_of, trial_row
from hanse.core.engine.trying.subject import subject_of
from hanse.core.ledger.kinds import Trial1
from hanse.core.market.trial_plan import BadClaim, TooManyAnswersNeeded, plan_of
from hanse.core.model.artifact import RUNNABLE
from hanse.core.model.blob import Blob
from hanse.core.model.trial import AnswersTerms, SealedTerms, TrialGrant, TrialRefusal
from hanse.core.store.trials import KeptGrant
from hanse.core.trade.trial_rules import (
    COUNTED_MS,
    DAY_MS,
    TrialRefused,
    answer_limits,
    check_may_grant,
    refusal_word,
    shown_to,
)
from hanse.core.trade.trial_sealing import seal_commitment

if TYPE_CHECKING:
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.subject import Subject
    from hanse.core.ledger.kinds import Seal
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.control import Control
    from hanse.core.model.ids import IdentityId
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.trial import RefusalWord, TrialRequest
    from hanse.core.store.trials import TrialRow
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

ANSWERED_MS: Final = 30 * DAY_MS  # how long signed answers are given
_NONCE_SIZE_BYTES: Final = 32
_OPEN: Final = "open"


class Granting:
    """Decides REQUESTs to this Account."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner) -> None:
        """Bind the Account, its files, and what starts Workers."""
        self._context = context
        self._content = content
        self._runner = runner

    def decide(self, row: TrialRow, control: Control) -> None:
        """Sign a GRANT or a REFUSE; the model is looked at first where its size decides."""
        context = self._context
        with context.store.reads() as reads:
            subject = subject_of(reads, self._content, row.release)
            needs_facts = row.way == "answers" and is_stranger(context, reads, row.counterparty)
        facts = self._facts(subject, control) if needs_facts else None
        with context.store.unit_of_work() as uow:
            row = trial_row(uow, row.trial, SELLER)
            try:
                grant = self._grant(uow, row, subject, facts)
            except TrialRefused as error:
                self._refuse(uow, row, refusal_word(error))
            else:
                self._sign(uow, row, grant)
            uow.commit()

    def _facts(self, subject: Subject, control: Control) -> ModelFacts | None:
        """Look at the own model, by its plain files."""
        files = self._content.files(self._content.manifest(subject.artifact))
        with self._content.work() as scratch:
            found = inspect_files(self._runner, files, scratch, control).facts
        return next((one for one in found if one.format in RUNNABLE), None)

    def _grant(
        self, uow: UnitOfWork, row: TrialRow, subject: Subject, facts: ModelFacts | None
    ) -> TrialGrant:
        """Make the grant that the card allows, or raise ``TrialRefused``."""
        context = self._context
        now_ms = context.clock.now_ms()
        request = trial_of(uow, row, context.identity).request
        check_may_grant(
            request,
            subject.card.trial,
            facts,
            is_stranger=is_stranger(context, uow, row.counterparty),
            strangers_30_days=uow.trials.answers_since(row.listing, now_ms - COUNTED_MS),
            now_ms=now_ms,
        )
        listing = uow.listings.get(row.listing)
        if listing is None or listing.state != _OPEN:
            raise TrialRefused("not_now")
        seal = subject.row.seal
        if seal is None:  # given in the clear: there is nothing to try beforehand
            raise TrialRefused("not_offered")
        content_key = content_key_of(context, uow, seal)
        if row.way == "sealed":
            sealed = self._sealed(uow, row, subject, seal, content_key)
            return TrialGrant(trial=row.trial, artifact=row.artifact, sealed=sealed, answers=None)
        answers = self._answers(uow, row, subject, request, seal, content_key)
        return TrialGrant(trial=row.trial, artifact=row.artifact, sealed=None, answers=answers)

    def _sealed(
        self, uow: UnitOfWork, row: TrialRow, subject: Subject, seal: Seal, content_key: bytes
    ) -> SealedTerms:
        offer, now_ms = subject.card.trial.sealed_local, self._context.clock.now_ms()
        assert offer is not None
        if _had_one(uow, row, now_ms):
            raise TrialRefused("too_many")
        chance = self._context.chance
        keys = piece_keys(content_key, self._content.manifest(seal.manifests[0]))
        blob_key = chance.bytes(KEY_SIZE_BYTES)
        sealed = seal_blob(keys, blob_key, chance.bytes(NONCE_SIZE_BYTES))
        return SealedTerms(
            runs_max=offer.runs,
            until_ms=now_ms + offer.days * DAY_MS,
            certify=offer.certify,
            keys=Blob(self._content.small.put(sealed), len(sealed), blob_key),
        )

    def _answers(
        self,
        uow: UnitOfWork,
        row: TrialRow,
        subject: Subject,
        request: TrialRequest,
        seal: Seal,
        content_key: bytes,
    ) -> AnswersTerms:
        context = self._context
        offer, commit = subject.card.trial.signed_answers, request.commit
        assert offer is not None
        assert commit is not None
        left = offer.per_buyer - uow.trials.answers_to(row.listing, row.counterparty)
        budget = min(left, commit.n)
        if budget < 1:
            raise TrialRefused("budget")
        try:
            plan = plan_of(commit, budget)
        except (TooManyAnswersNeeded, BadClaim) as error:
            raise TrialRefused("budget") from error
        if plan is not None:
            budget = plan.budget
        until_ms = context.clock.now_ms() + ANSWERED_MS
        limits = answer_limits(subject.card.trial, budget, until_ms)
        return AnswersTerms(
            limits=limits,
            shown=shown_to(
                offer.shown,
                is_stranger=is_stranger(context, uow, row.counterparty),
                is_figure=_is_figure(subject),
            ),
            plan=None if plan is None else plan.steps,
            seal_salt=seal.salt,
            seal_commit=seal_commitment(trial_seal_key(content_key, row.trial)),
            seller_nonce=context.chance.bytes(_NONCE_SIZE_BYTES),
            pass_price=None,
        )

    def _sign(self, uow: UnitOfWork, row: TrialRow, grant: TrialGrant) -> None:
        context = self._context
        entry = append_step(context, uow, Trial1.of(grant), row.counterparty)
        kept = KeptGrant(
            raw=keep_step(read_step(context, uow, entry.entry_id)),
            entry=entry.entry_id,
            seller=entry.author,
            runs_max=None if grant.sealed is None else grant.sealed.runs_max,
            until_ms=grant.until_ms,
        )
        uow.trials.granted(row.trial, SELLER, kept, context.clock.now_ms())

    def _refuse(self, uow: UnitOfWork, row: TrialRow, reason: RefusalWord) -> None:
        context = self._context
        body = Trial1.of(TrialRefusal(trial=row.trial, reason=reason, text=""))
        entry = append_step(context, uow, body, row.counterparty)
        kept = keep_step(read_step(context, uow, entry.entry_id))
        uow.trials.refused(row.trial, SELLER, kept, context.clock.now_ms())


def is_stranger(context: Context, held: Repositories, identity: IdentityId) -> bool:
    """Say whether this Account follows somebody not at all."""
    return not any(
        row.target == identity and row.weight > 0
        for row in held.projections.follows_of(context.identity)
    )


def _is_figure(subject: Subject) -> bool:
    """Say whether the model answers with figures, as far as its card says so."""
    try:
        wanted = wanted_of(subject.card, subject.task, subject.artifact)
    except NoSignature:
        return False  # then the least is shown
    return kind_of(wanted) in {"regression", "series"}


def _had_one(uow: UnitOfWork, row: TrialRow, now_ms: int) -> bool:
    """Say whether this buyer had a sealed trial of this Release in the last 30 days."""
    before = None
    while page := uow.trials.of_release(row.release, SELLER, before):
        for other in page:
            is_his = other.counterparty == row.counterparty and other.trial != row.trial
            was_sealed = other.way == "sealed" and other.grant is not None
            if is_his and was_sealed and other.created_ms > now_ms - COUNTED_MS:
                return True
        before = (page[-1].updated_ms, page[-1].trial)
    return False
