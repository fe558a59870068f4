"""The seller's side of a Trial: a buyer's file in, the reply out.

* A file that does not hold changes nothing.
* The same file again gives the same reply: a REQUEST that was decided stays decided, a query
  that was answered is answered with the same bytes.
* The reply holds every step of ours and the answers to the queries of this file; where a rule
  ended the answering early, its word goes along.

Deciding is ``granting``'s, answering ``answering``'s.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from hanse.core.crypto.derivation import trial_seal_key
from hanse.core.engine.trying.answering import Desk, Served
from hanse.core.engine.trying.file import Message, TrialFile, read_trial_file, write_trial_file
from hanse.core.engine.trying.granting import Granting
from hanse.core.engine.trying.keys import content_key_of
from hanse.core.engine.trying.pace import Waiting
from hanse.core.engine.trying.post import (
    StepRefused,
    append_step,
    enclosed,
    read_step,
    take_entries,
)
from hanse.core.engine.trying.records import SELLER, keep_step, step_id, trial_of, trial_row
from hanse.core.engine.trying.showing import view_of
from hanse.core.engine.trying.subject import OwnRelease, subject_of
from hanse.core.engine.trying.views import AnsweredFile
from hanse.core.errors import Refused, RejectedEntry
from hanse.core.ledger.kinds import Trial1
from hanse.core.model.trial import TrialClose, TrialState
from hanse.core.store.trials import TrialRow
from hanse.core.trade.trial_messages import read_answer, read_query

if TYPE_CHECKING:
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.pace import Pace
    from hanse.core.engine.trying.post import Step
    from hanse.core.engine.trying.views import TrialView
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.trial import SignedQuery
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork


class NotYourRelease(Refused):
    """A buyer asks for a Release of somebody else; his file is for another seller."""

    code = "trial.not_your_release"
    text = "the trial asks for release {release}, which is not of this account"
    fields = ("release",)


class NotGranted(Refused):
    """There is no grant to end; ``state`` is a stable word."""

    code = "trial.not_granted"
    text = "trial {trial} has no grant: {state}"
    fields = ("trial", "state")


class Answering:
    """Trials others asked this Account for."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner) -> None:
        """Bind the Account, its files, and what starts Workers."""
        self._context = context
        self._content = content
        self._runner = runner
        self._granting = Granting(context, content, runner)

    def answer(self, raw: bytes, control: Control, pace: Pace | None = None) -> AnsweredFile:
        """Take a buyer's file and return the reply: grant, refusal, answers.

        Raises ``TrialFileDamaged``, ``StepRefused``, ``NotForUs`` or ``NotYourRelease`` for a
        file that does not hold.  By default it waits between two answers as the grant says.
        """
        context = self._context
        file = read_trial_file(raw)
        context.may_sign()
        queries = [_query_of(number, one) for number, one in enumerate(file.messages)]
        if file.entries:
            self._take(file, control)
        with context.store.reads() as reads:
            row = trial_row(reads, file.trial, SELLER)
        if file.sender != row.counterparty:
            raise StepRefused("sender", "other_sender")
        served = self._serve(row, queries, control, pace or Waiting(context.clock))
        with context.store.reads() as reads:
            row = trial_row(reads, file.trial, SELLER)
            reply = self._steps(reads, row)
            view = view_of(context, reads, row)
        messages = tuple(Message(one.raw, one.signature) for one in served.answers)
        reply = TrialFile(
            reply.sender, reply.trial, reply.entries, reply.blobs, messages, served.stopped
        )
        return AnsweredFile(
            reply=write_trial_file(reply),
            trial=view,
            answered=served.answered,
            repeated=served.repeated,
            stopped=served.stopped,
        )

    def outgoing(self, trial: bytes) -> bytes:
        """Return the file for the buyer with every step of ours so far."""
        with self._context.store.reads() as reads:
            return write_trial_file(self._steps(reads, trial_row(reads, trial, SELLER)))

    def close(self, trial: bytes) -> TrialView:
        """End a granted Trial: nothing more is answered."""
        context = self._context
        with context.store.unit_of_work() as uow:
            row = trial_row(uow, trial, SELLER)
            if row.close is None:
                found = trial_of(uow, row, context.identity)
                if found.granted is None:
                    raise NotGranted(trial=trial, state=found.state.value)
                last = uow.trials.last_answer(row.trial, SELLER)
                body = TrialClose(
                    trial=row.trial,
                    n=row.answers,
                    last=None if last is None else read_answer(last.answer, last.answer_sig).id,
                )
                entry = append_step(context, uow, Trial1.of(body), row.counterparty)
                kept = keep_step(read_step(context, uow, entry.entry_id))
                uow.trials.closed(row.trial, SELLER, kept, context.clock.now_ms())
                uow.commit()
        return self.show(trial)

    def show(self, trial: bytes) -> TrialView:
        """Return a Trial as it stands now."""
        with self._context.store.reads() as reads:
            return view_of(self._context, reads, trial_row(reads, trial, SELLER))

    # --- taking ------------------------------------------------------------------------------

    def _take(self, file: TrialFile, control: Control) -> None:
        """Take the buyer's steps in, then decide a REQUEST that was not decided yet."""
        context = self._context
        with context.store.unit_of_work() as uow:
            for step in take_entries(context, uow, file):
                self._take_step(uow, step, file.trial)
            row = trial_row(uow, file.trial, SELLER)
            uow.commit()
        if row.grant is None and row.refusal is None:
            self._granting.decide(row, control)

    def _take_step(self, uow: UnitOfWork, step: Step, trial: bytes) -> None:
        place = f"seq {step.entry.seq}"
        request, close = step.body.request, step.body.close
        if request is not None:
            if step.entry_id != trial:
                raise StepRefused(place, "other_trial")
            self._take_request(uow, step)
        elif close is not None:
            if close.trial != trial:
                raise StepRefused(place, "other_trial")
            row = trial_row(uow, trial, SELLER)
            if step.identity != row.counterparty:
                raise StepRefused(place, "other_sender")
            if row.grant is None:
                raise StepRefused(place, "no_grant")
            if row.close is None:
                now_ms = self._context.clock.now_ms()
                uow.trials.closed(row.trial, SELLER, keep_step(step), now_ms)
        else:
            raise StepRefused(place, "other_step")

    def _take_request(self, uow: UnitOfWork, step: Step) -> None:
        context = self._context
        request, now_ms = step.body.request, context.clock.now_ms()
        assert request is not None
        subject = subject_of(uow, self._content, request.release)
        if subject.seller != context.identity:
            raise NotYourRelease(release=request.release)
        if step.identity == context.identity:
            raise OwnRelease(release=request.release)
        uow.trials.add(
            TrialRow(
                trial=step.entry_id,
                role=SELLER,
                way=request.way,
                state=TrialState.REQUESTED,
                counterparty=step.identity,
                listing=subject.row.listing,
                release=subject.release,
                artifact=subject.artifact,
                buyer=step.entry.author,
                request=keep_step(step),
                created_ms=now_ms,
                updated_ms=now_ms,
                last_seen_ms=now_ms,
            )
        )

    # --- replying ----------------------------------------------------------------------------

    def _serve(
        self, row: TrialRow, queries: list[SignedQuery], control: Control, pace: Pace
    ) -> Served:
        context = self._context
        if not queries:
            return Served()
        with context.store.reads() as reads:
            granted = trial_of(reads, row, context.identity).granted
            if granted is None or granted.grant.answers is None:
                return Served(stopped="no_grant")
            subject = subject_of(reads, self._content, row.release)
            assert subject.row.seal is not None
            content_key = content_key_of(context, reads, subject.row.seal)
        with ExitStack() as stack:
            desk = Desk(
                context=context,
                content=self._content,
                runner=self._runner,
                granted=granted,
                subject=subject,
                seal_key=trial_seal_key(content_key, row.trial),
                stack=stack,
                pace=pace,
            )
            return desk.serve(queries, control)

    def _steps(self, held: Repositories, row: TrialRow) -> TrialFile:
        """Enclose every step of ours, and the piece keys of a sealed trial that goes on."""
        context = self._context
        context.note_leaving(held)
        steps = [step_id(row, kept) for kept in (row.grant, row.refusal, row.close) if kept]
        blobs: dict[bytes, bytes] = {}
        granted = trial_of(held, row, context.identity).granted
        if granted is not None and granted.grant.sealed is not None and row.close is None:
            digest = granted.grant.sealed.keys.sha256
            blobs[digest] = self._content.object(digest)
        return TrialFile(context.identity, row.trial, enclosed(context, held, steps), blobs)


def _query_of(number: int, message: Message) -> SignedQuery:
    try:
        return read_query(message.raw, message.signature)
    except RejectedEntry as error:
        raise StepRefused(f"message {number}", error.reason) from error
