"""A seller's desk for one granted Trial of signed answers: queries in, signed answers out.

* One transaction an answer, and it is on disk before it leaves.  What was answered is sent
  again as it was signed; no number ever gets a second, different answer.
* Every query is checked against the grant, what was answered before, and the clock, just before
  it is run.
* The model runs in one Worker of its own, from the plain files only the seller has; it is
  started for the first query that must be run.
* What ends the answering is a stable word, sent along for people.

What a buyer may ask is ``hanse.core.trade.trial_rules``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hanse.core.certify.replay import Session, SeveralRows, answer_query
from hanse.core.certify.trial_outputs import AnswerTooLarge
from hanse.core.engine.certify_target import Named, staged_model, target_of
from hanse.core.engine.trying.granting import is_stranger
from hanse.core.engine.trying.records import SELLER, trial_row
from hanse.core.engine.trying.subject import NoRunnableModel, run_limits
from hanse.core.errors import RejectedEntry
from hanse.core.limits import TRIAL_ANSWER_INTERVAL_MS
from hanse.core.model.running import WorkerFailed
from hanse.core.model.trial import Exchange, TrialState
from hanse.core.store.trials import TrialAnswer
from hanse.core.trade.trial_messages import read_answer, read_query, sign_answer
from hanse.core.trade.trial_rules import COUNTED_MS, TrialRefused, check_trial

if TYPE_CHECKING:
    from contextlib import ExitStack

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.pace import Pace
    from hanse.core.engine.trying.subject import Subject
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.trial import Granted, SignedAnswer, SignedQuery

_TOO_FAST: Final = "too_fast"
_REFUSED: Final = "refused"


@dataclass(slots=True)
class Served:
    """What came of the queries of one call; ``stopped`` is empty when all were answered."""

    answers: list[SignedAnswer] = field(default_factory=list)
    answered: int = 0
    repeated: int = 0
    stopped: str = ""


@dataclass(slots=True)
class Desk:
    """Answers the queries of one Trial; its Worker ends with ``stack``."""

    context: Context
    content: Content
    runner: ModelRunner
    granted: Granted
    subject: Subject
    seal_key: bytes = field(repr=False)
    stack: ExitStack
    pace: Pace
    _session: Session | None = None

    def serve(self, asked: list[SignedQuery], control: Control) -> Served:
        """Answer as many queries as the rules allow, in order."""
        served = Served()
        for number, signed in enumerate(asked):
            control.checkpoint("answer", number, len(asked))
            kept = self._kept(signed)
            if kept is not None and kept.query.raw != signed.raw:
                served.stopped = "answered_otherwise"
                break
            if kept is not None:
                served.repeated += 1
                served.answers.append(kept.answer)
                continue
            try:
                served.answers.append(self._answer(signed, control))
            except TrialRefused as error:
                served.stopped = error.reason
                break
            served.answered += 1
        control.checkpoint("answer", len(asked), len(asked))
        return served

    def _kept(self, signed: SignedQuery) -> Exchange | None:
        """Return what was answered under the number of a query."""
        with self.context.store.reads() as reads:
            kept = reads.trials.answer(self.granted.trial, SELLER, signed.query.i)
        if kept is None or signed.query.trial != self.granted.trial:
            return None
        return Exchange(
            read_query(kept.query, kept.query_sig), read_answer(kept.answer, kept.answer_sig)
        )

    def _answer(self, signed: SignedQuery, control: Control) -> SignedAnswer:
        """Run one query and keep its answer, or raise ``TrialRefused`` with the rule's word."""
        counts, prev = self._wait_for_turn(signed, control)
        session = self._ready(control)
        try:
            answer = answer_query(
                self.granted,
                signed,
                prev,
                self.seal_key,
                session,
                self.context.clock.now_ms(),
                control,
            )
        except RejectedEntry as error:
            raise TrialRefused("not_an_input") from error
        except SeveralRows as error:
            raise TrialRefused("several_rows") from error
        except AnswerTooLarge as error:
            raise TrialRefused("answer_too_large") from error
        except WorkerFailed as error:
            if error.kind != _REFUSED:
                raise
            raise TrialRefused("not_an_input") from error
        done = sign_answer(answer, self.context.may_sign().device_signer)
        now_ms = self.context.clock.now_ms()
        with self.context.store.unit_of_work() as uow:
            row = trial_row(uow, self.granted.trial, SELLER)
            if row.answers != signed.query.i:
                raise TrialRefused("out_of_order")
            kept = TrialAnswer.of(Exchange(signed, done), now_ms, counts=counts)
            uow.trials.keep_answer(row.trial, SELLER, kept)
            if row.state is TrialState.GRANTED:
                uow.trials.runs(row.trial, SELLER, now_ms)
            uow.commit()
        return done

    def _wait_for_turn(self, signed: SignedQuery, control: Control) -> tuple[bool, bytes]:
        """Return whether the answer counts against the Listing's budget, and what it chains to.

        Waits where only the pace forbids it; raises ``TrialRefused`` for every other rule.
        """
        while True:
            try:
                return self._check(signed)
            except TrialRefused as error:
                if error.reason != _TOO_FAST:
                    raise
                if not self.pace.wait_until(self._next_ms(), control):
                    raise

    def _check(self, signed: SignedQuery) -> tuple[bool, bytes]:
        now_ms = self.context.clock.now_ms()
        offer = self.subject.card.trial.signed_answers
        assert offer is not None
        with self.context.store.reads() as reads:
            row = trial_row(reads, self.granted.trial, SELLER)
            if row.close is not None:
                raise TrialRefused("closed")
            if self.granted.seller != self.context.device:
                raise TrialRefused("other_device")
            if reads.trials.answers_to(row.listing, row.counterparty) >= offer.per_buyer:
                raise TrialRefused("budget")
            counts = is_stranger(self.context, reads, row.counterparty)
            check_trial(
                self.granted,
                reads.trials.answers_used(row.trial, now_ms - COUNTED_MS),
                signed,
                now_ms,
                is_stranger=counts,
                per_30_days=offer.per_30d,
            )
            last = reads.trials.last_answer(row.trial, SELLER)
        if last is None:
            return counts, self.granted.grant_id
        return counts, read_answer(last.answer, last.answer_sig).id

    def _next_ms(self) -> int:
        """Return when the next answer may be given."""
        terms = self.granted.grant.answers
        assert terms is not None
        with self.context.store.reads() as reads:
            last = reads.trials.last_answer(self.granted.trial, SELLER)
        before_ms = 0 if last is None else last.time_ms
        return before_ms + max(terms.limits.interval_ms, TRIAL_ANSWER_INTERVAL_MS)

    def _ready(self, control: Control) -> Session:
        """Return the Worker with the model loaded, started for the first query."""
        if self._session is None:
            scratch = self.stack.enter_context(self.content.work())
            with self.context.store.reads() as reads:
                what = Named(self.subject.artifact, self.subject.release)
                target = target_of(reads, self.content, self.context.identity, what)
            model = staged_model(target, scratch)
            if model is None:
                raise NoRunnableModel(
                    artifact=self.subject.artifact, formats=self.subject.row.formats
                )
            limits = run_limits(model.size_bytes)
            worker = self.stack.enter_context(model.worker(self.runner, limits, control))
            self._session = Session(worker, model.load(worker, 1, control))
        return self._session
