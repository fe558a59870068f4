"""The buyer's side of a Trial: ask, hand over files, take what comes back, say what it decides.

* Committed first: inputs and true answers are fixed, and their root is signed in the REQUEST,
  before the seller says anything.  Which of them are asked, and in which order, neither picks.
* Queries are a function of commitment and grant, so the same one again is the same bytes.
* What comes back is checked whole before anything of it is kept: who signed it, for which Trial
  and Artifact, chained from the GRANT.  The same file again changes nothing.
* The seller sees the inputs that are asked, never the true answers; of an output the buyer reads
  what the grant shows.

What may be granted is ``hanse.core.trade``'s to say; running a sealed model is
``sealed``'s, judging after delivery ``replaying``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.artifacts.memory_opening import check_piece_keys
from hanse.core.certify.data import kind_of
from hanse.core.crypto.blobs import open_blob
from hanse.core.engine.trying.data import read_own_data, wanted_of
from hanse.core.engine.trying.editions import OpenEditions
from hanse.core.engine.trying.file import Message, TrialFile, read_trial_file, write_trial_file
from hanse.core.engine.trying.holding import hold_no_longer, hold_sealed
from hanse.core.engine.trying.inputs import InputFiles, draw_inputs
from hanse.core.engine.trying.keys import erase_keys, keep_keys
from hanse.core.engine.trying.post import (
    StepRefused,
    append_step,
    enclosed,
    read_step,
    take_entries,
)
from hanse.core.engine.trying.records import (
    BUYER,
    BuyerNotes,
    encode_notes,
    keep_step,
    notes_of,
    step_id,
    trial_of,
    trial_row,
)
from hanse.core.engine.trying.showing import verdict_of, view_of
from hanse.core.engine.trying.subject import OwnRelease, sealed_files, subject_of
from hanse.core.errors import Refused, RejectedEntry, WrongUse
from hanse.core.ledger.kinds import Trial1
from hanse.core.limits import (
    TRIAL_COMMITTED_MAX,
    TRIAL_FILE_MESSAGES_MAX,
    TRIAL_FILE_SIZE_BYTES_MAX,
)
from hanse.core.market.trial_plan import (
    ALPHA_MICRO,
    BETA_MICRO,
    TooManyAnswersNeeded,
    check_plan,
    plan_of,
)
from hanse.core.model.ids import EntryId
from hanse.core.model.trial import (
    Exchange,
    Query,
    TrialClose,
    TrialCommit,
    TrialRequest,
    TrialState,
)
from hanse.core.store.trials import KeptGrant, TrialAnswer, TrialAnswerDiffers, TrialRow
from hanse.core.trade.trial_messages import read_answer, sign_query
from hanse.core.trade.trial_rules import (
    DAY_MS,
    BadTranscript,
    TrialRefused,
    check_answer,
    check_grant,
    is_right,
    query_order,
)

if TYPE_CHECKING:
    from hanse.core.artifacts.manifest import Manifest, SealedManifest
    from hanse.core.certify.data import Wanted
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.data import OwnData
    from hanse.core.engine.trying.inputs import KeptInputs
    from hanse.core.engine.trying.post import Step
    from hanse.core.engine.trying.subject import Subject
    from hanse.core.engine.trying.views import TrialView, VerdictView
    from hanse.core.model.card import ModelCard
    from hanse.core.model.control import Control
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.trial import Granted, SignedQuery, Way
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

ASKED_MS: Final = 14 * DAY_MS  # how long a REQUEST may be granted
_ACCURACY: Final = "accuracy"
_ERROR: Final = "error"  # no share of right answers: outputs are figures
_ROOM_PERCENT: Final = 75  # of a file for queries; what stands around them needs the rest


class NoShareOfRight(WrongUse):
    """A claim is a share of right answers, and the outputs of this task are figures."""

    code = "trial.no_share"
    text = "task {task} has no share of right answers to claim"
    fields = ("task",)


class QuestionNeeded(WrongUse):
    """Signed answers need data to ask about."""

    code = "trial.question_needed"
    text = "signed answers to release {release} need a data set"
    fields = ("release",)


class OtherDevice(Refused):
    """The Device that asked must go on; another one of this Identity signs other queries."""

    code = "trial.other_device"
    text = "trial {trial} was begun by device {device}"
    fields = ("trial", "device")


class BegunElsewhere(Refused):
    """Asked by this Identity, but not from this folder: inputs and counters are not in it.

    So it is on another Device, and after a restore, which is always a new one.
    """

    code = "trial.begun_elsewhere"
    text = "trial {trial} was begun by device {device}, and nothing of it is in this folder"
    fields = ("trial", "device")


class TooFewRows(WrongUse):
    """The buyer's data have fewer different rows than the test of his claim needs answers."""

    code = "trial.too_few_rows"
    text = "claim {claim} with margin {margin} needs {needed} answers, the data have {found} rows"
    fields = ("claim", "margin", "needed", "found")


class NothingToAsk(Refused):
    """No query is left, or none may be asked any more; ``reason`` is a stable word."""

    code = "trial.nothing_to_ask"
    text = "nothing is left to ask in trial {trial}: {reason}"
    fields = ("trial", "reason")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of signed answers: the buyer's data, and a share of right ones to test.

    Shares are in millionths; without ``claim_micro`` and ``margin_micro`` there is no plan.
    """

    data: OwnData
    claim_micro: int | None = None
    margin_micro: int | None = None
    alpha_micro: int = ALPHA_MICRO
    beta_micro: int = BETA_MICRO


class Buying:
    """Trials this Account asked for."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner) -> None:
        """Bind the Account, its files, and what starts Workers."""
        self._context = context
        self._content = content
        self._runner = runner
        self.inputs = InputFiles(context.home.folder)
        self.editions = OpenEditions(context, content, runner)

    # --- asking ------------------------------------------------------------------------------

    def start(
        self, release: bytes, way: Way, control: Control, question: Question | None = None
    ) -> TrialView:
        """Begin to try a Release; the REQUEST is on disk when this returns.

        An open edition needs none: it is looked for here, and the view says how it differs.
        """
        with self._context.store.reads() as reads:
            subject = subject_of(reads, self._content, release)
        if subject.seller == self._context.identity:
            raise OwnRelease(release=release)
        if way == "open":
            return self.editions.find(subject)
        if way == "sealed":
            if subject.card.trial.sealed_local is None:
                raise TrialRefused("not_offered")
            self._context.may_sign()
            held = sealed_files(subject, self._content, control)
            return self._request(subject, way, None, BuyerNotes(), held)
        if subject.card.trial.signed_answers is None:
            raise TrialRefused("not_offered")
        if question is None:
            raise QuestionNeeded(release=release)
        self._context.may_sign()
        return self._ask_answers(subject, question, control)

    def _ask_answers(self, subject: Subject, question: Question, control: Control) -> TrialView:
        wanted = wanted_of(subject.card, subject.task, subject.artifact)
        is_labelled = kind_of(wanted) == "classification"
        if question.claim_micro is not None and not is_labelled:
            raise NoShareOfRight(task=subject.task)
        data = read_own_data(question.data, wanted, self._content, self._runner, control)
        drawn = draw_inputs(data, self._context.chance, control)
        commit = TrialCommit(
            root=drawn.commitment.root,
            n=len(drawn.commitment.inputs),
            metric=_ACCURACY if is_labelled else _ERROR,
            claim=question.claim_micro,
            margin=question.margin_micro,
            alpha=question.alpha_micro,
            beta=question.beta_micro,
        )
        self._check_plan(subject, commit)
        notes = BuyerNotes(
            dataset=data.name,
            dataset_sha256=data.sha256,
            recipe_sha256=data.recipe_sha256,
            output=_judged_output(subject.card, wanted),
            labels=data.mapping.labels or subject.card.recipe.labels,
            left_out=drawn.left_out,
        )
        self._sweep()
        self.inputs.keep(drawn.commitment)
        return self._request(subject, "answers", commit, notes)

    def _check_plan(self, subject: Subject, commit: TrialCommit) -> None:
        """Say before anything is signed that so many answers cannot be had."""
        offer = subject.card.trial.signed_answers
        assert offer is not None
        try:
            plan_of(commit, offer.per_buyer)
        except TooManyAnswersNeeded as error:
            # With rows enough, would the answers do?  Else it raises what says that they do not.
            plan_of(msgspec.structs.replace(commit, n=TRIAL_COMMITTED_MAX), offer.per_buyer)
            values = {name: error.values[name] for name in ("claim", "margin", "needed")}
            raise TooFewRows(**values, found=commit.n) from error

    def _request(
        self,
        subject: Subject,
        way: Way,
        commit: TrialCommit | None,
        notes: BuyerNotes,
        held: tuple[Manifest, SealedManifest] | None = None,
    ) -> TrialView:
        context = self._context
        assert way != "open"
        with context.store.unit_of_work() as uow:
            now_ms = context.clock.now_ms()
            request = TrialRequest(
                release=subject.release, way=way, commit=commit, expires=now_ms + ASKED_MS
            )
            entry = append_step(context, uow, Trial1.of(request), subject.seller)
            step = read_step(context, uow, entry.entry_id)
            row = TrialRow(
                trial=entry.entry_id,
                role=BUYER,
                way=way,
                state=TrialState.REQUESTED,
                counterparty=subject.seller,
                listing=subject.row.listing,
                release=subject.release,
                artifact=subject.artifact,
                buyer=entry.author,
                request=keep_step(step),
                created_ms=now_ms,
                updated_ms=now_ms,
                last_seen_ms=now_ms,
                data=encode_notes(notes),
            )
            uow.trials.add(row)
            if held is not None:
                hold_sealed(uow, subject, *held, now_ms)
            uow.commit()
        return self.show(row.trial)

    def _sweep(self) -> None:
        """Remove inputs that a program killed between file and row left behind."""
        wanted: set[bytes] = set()
        with self._context.store.reads() as reads:
            before = None
            while page := reads.trials.page(BUYER, before):
                for row in page:
                    trial = trial_of(reads, row, self._context.identity)
                    if trial.request.commit is not None:
                        wanted.add(trial.request.commit.root)
                before = (page[-1].updated_ms, page[-1].trial)
        self.inputs.sweep(wanted, self._context.clock.now_ms())

    # --- handing over ------------------------------------------------------------------------

    def outgoing(self, trial: bytes) -> bytes:
        """Return the file for the seller: the REQUEST, and the CLOSE once there is one."""
        with self._context.store.reads() as reads:
            self._context.note_leaving(reads)
            row = self._row(reads, trial)
            steps = [row.trial] if row.close is None else [row.trial, step_id(row, row.close)]
            entries = enclosed(self._context, reads, steps)
        return write_trial_file(TrialFile(self._context.identity, trial, entries))

    def next_queries(
        self,
        trial: bytes,
        most: int = TRIAL_FILE_MESSAGES_MAX,
        most_bytes: int = TRIAL_FILE_SIZE_BYTES_MAX,
    ) -> bytes:
        """Return a file with the next queries, at most so many; raise ``NothingToAsk``.

        Longer than ``most_bytes`` it is only where one query alone is.  The same queries again,
        until their answers were taken.
        """
        with self._context.store.reads() as reads:
            row = self._row(reads, trial)
            view = view_of(self._context, reads, row)
            found = trial_of(reads, row, self._context.identity)
        if found.granted is None or row.way != "answers":
            raise NothingToAsk(trial=trial, reason=view.over or found.state.value)
        if view.over:
            raise NothingToAsk(trial=trial, reason=view.over)
        asking = self._asking(found.granted)
        messages: list[Message] = []
        room = most_bytes * _ROOM_PERCENT // 100
        for i in range(row.answers, min(row.answers + most, len(asking.order))):
            signed = asking.query(i)
            room -= len(signed.raw) + 256
            if messages and room < 0:
                break
            messages.append(Message(signed.raw, signed.signature))
        return write_trial_file(TrialFile(self._context.identity, trial, messages=tuple(messages)))

    def _asking(self, granted: Granted) -> _Asking:
        keys = self._context.may_sign()
        if granted.buyer != keys.device:
            raise OtherDevice(trial=granted.trial, device=granted.buyer)
        commit = granted.request.commit
        assert commit is not None
        return _Asking(self._context, granted, self.inputs.load(commit.root))

    def close(self, trial: bytes) -> TrialView:
        """End a granted Trial; the keys of a sealed one go at once."""
        context = self._context
        with context.store.unit_of_work() as uow:
            row = self._row(uow, trial)
            if row.close is None:
                found = trial_of(uow, row, context.identity)
                if found.granted is None:
                    raise NothingToAsk(trial=trial, reason=found.state.value)
                last = uow.trials.last_answer(row.trial, BUYER)
                body = TrialClose(
                    trial=row.trial,
                    n=found.used,
                    last=None if last is None else read_answer(last.answer, last.answer_sig).id,
                )
                entry = append_step(context, uow, Trial1.of(body), row.counterparty)
                now_ms = context.clock.now_ms()
                kept = keep_step(read_step(context, uow, entry.entry_id))
                uow.trials.closed(row.trial, BUYER, kept, now_ms)
                if row.way == "sealed":
                    erase_keys(uow, row, now_ms)
                uow.commit()
        return self.show(trial)

    # --- taking ------------------------------------------------------------------------------

    def take(self, raw: bytes) -> TrialView:
        """Take what the seller sent: grant, refusal, answers, close; all of it or nothing.

        Raises ``TrialFileDamaged``, ``StepRefused``, ``TrialRefused`` or ``BadTranscript``.
        """
        context = self._context
        file = read_trial_file(raw)
        context.unlocked()
        with context.store.unit_of_work() as uow:
            row = self._row(uow, file.trial)
            if file.sender != row.counterparty:
                raise StepRefused("sender", "other_sender")
            steps = take_entries(context, uow, file)
            for step in steps:
                if _named_trial(step) != row.trial:
                    raise StepRefused(f"seq {step.entry.seq}", "other_trial")
                self._take_step(uow, trial_row(uow, file.trial, BUYER), step, file)
            if file.messages or file.stopped:
                self._take_answers(uow, trial_row(uow, file.trial, BUYER), file)
            for step in steps:
                if step.body.close is not None:
                    self._take_close(uow, trial_row(uow, file.trial, BUYER), step)
            uow.commit()
        return self.show(file.trial)

    def _take_step(self, uow: UnitOfWork, row: TrialRow, step: Step, file: TrialFile) -> None:
        if step.body.grant is not None:
            self._take_grant(uow, row, step, file)
        elif step.body.refuse is not None and row.refusal is None:
            if row.grant is not None:
                raise StepRefused(f"seq {step.entry.seq}", "after_grant")
            now_ms = self._context.clock.now_ms()
            uow.trials.refused(row.trial, BUYER, keep_step(step), now_ms)
            hold_no_longer(uow, row, now_ms)
        elif step.body.request is not None:
            raise StepRefused(f"seq {step.entry.seq}", "other_step")

    def _take_grant(self, uow: UnitOfWork, row: TrialRow, step: Step, file: TrialFile) -> None:
        grant, now_ms = step.body.grant, self._context.clock.now_ms()
        assert grant is not None
        if row.grant_id == step.entry_id:
            return
        if row.grant is not None or row.refusal is not None:
            raise StepRefused(f"seq {step.entry.seq}", "second_answer")
        request = trial_of(uow, row, self._context.identity).request
        check_grant(grant, request, row.trial, row.artifact, now_ms)
        if now_ms > grant.until_ms:
            raise TrialRefused("expired")
        runs_max = None
        if grant.sealed is not None:
            self._take_keys(uow, row, file, grant.sealed.keys.sha256, grant.sealed.keys.key)
            runs_max = grant.sealed.runs_max
        elif grant.answers is not None:
            assert request.commit is not None
            check_plan(request.commit, grant.answers)
        kept = KeptGrant(
            raw=keep_step(step),
            entry=step.entry_id,
            seller=step.entry.author,
            runs_max=runs_max,
            until_ms=grant.until_ms,
        )
        uow.trials.granted(row.trial, BUYER, kept, now_ms)

    def _take_keys(
        self, uow: UnitOfWork, row: TrialRow, file: TrialFile, digest: bytes, key: bytes | None
    ) -> None:
        """Keep the piece keys of a grant, which are of the right length for its Artifact."""
        sealed = file.blobs.get(digest)
        if sealed is None:
            raise StepRefused("piece keys", "not_in_file")
        plain = None if key is None else open_blob(sealed, key)
        if plain is None:
            raise StepRefused("piece keys", "do_not_open")
        subject = subject_of(uow, self._content, row.release)
        assert subject.row.seal is not None
        check_piece_keys(plain, self._content.manifest(subject.row.seal.manifests[0]))
        keep_keys(self._context, uow, row.trial, sealed)

    def _take_answers(self, uow: UnitOfWork, row: TrialRow, file: TrialFile) -> None:
        context = self._context
        granted = trial_of(uow, row, context.identity).granted
        if granted is None or granted.grant.answers is None:
            raise StepRefused("answers", "no_grant")
        asking = self._asking(granted)
        notes = notes_of(row)
        right = list(notes.right)
        last = uow.trials.last_answer(row.trial, BUYER)
        prev: bytes = granted.grant_id
        if last is not None:
            prev = read_answer(last.answer, last.answer_sig).id
        for number, message in enumerate(file.messages):
            try:
                signed = read_answer(message.raw, message.signature)
            except RejectedEntry as error:
                raise StepRefused(f"message {number}", error.reason) from error
            i = signed.answer.i
            if i < len(right):
                known = uow.trials.answer(row.trial, BUYER, i)
                if known is None or known.answer != signed.raw:
                    raise TrialAnswerDiffers(trial=row.trial, i=i)
                continue
            if i != len(right) or i >= len(asking.order):
                raise BadTranscript(i, "number")
            asked = asking.query(i)
            check_answer(granted, asked, signed, prev)
            kept = TrialAnswer.of(Exchange(asked, signed), context.clock.now_ms())
            uow.trials.keep_answer(row.trial, BUYER, kept)
            prev = signed.id
            right.append(is_right(signed.answer.shown, notes.output, asking.truth(i), notes.labels))
        if row.answers != len(right) and row.state is TrialState.GRANTED:
            uow.trials.runs(row.trial, BUYER, context.clock.now_ms())
        notes = msgspec.structs.replace(notes, right=bytes(right), stopped=file.stopped)
        uow.trials.put_data(row.trial, BUYER, encode_notes(notes), context.clock.now_ms())

    def _take_close(self, uow: UnitOfWork, row: TrialRow, step: Step) -> None:
        close = step.body.close
        assert close is not None
        if row.close is not None:
            return
        if row.grant is None:
            raise StepRefused(f"seq {step.entry.seq}", "no_grant")
        if close.last is not None and close.n <= row.answers:
            kept = uow.trials.answer(row.trial, BUYER, close.n - 1)
            if kept is None or read_answer(kept.answer, kept.answer_sig).id != close.last:
                raise BadTranscript(close.n - 1, "last")
        now_ms = self._context.clock.now_ms()
        uow.trials.closed(row.trial, BUYER, keep_step(step), now_ms)
        if row.way == "sealed":
            erase_keys(uow, row, now_ms)

    # --- looking -----------------------------------------------------------------------------

    def show(self, trial: bytes) -> TrialView:
        """Return a Trial as it stands now."""
        with self._context.store.reads() as reads:
            return view_of(self._context, reads, self._row(reads, trial))

    def granted_by(self, trial: bytes) -> AuthorKey | None:
        """Return the Device that granted a Trial and so answers in it; ``None`` for none yet."""
        with self._context.store.reads() as reads:
            row = reads.trials.get(EntryId(trial), BUYER)
        return None if row is None else row.seller

    def verdict(self, trial: bytes) -> VerdictView:
        """Say what the answers decide so far; "continue" and nothing else before they do."""
        with self._context.store.reads() as reads:
            row = self._row(reads, trial)
            found = trial_of(reads, row, self._context.identity)
            return verdict_of(row, found, notes_of(row))

    def _row(self, held: Repositories, trial: bytes) -> TrialRow:
        """Return a Trial as its buyer has it; raise ``BegunElsewhere`` or ``TrialNotHeld``."""
        begun = held.feeds.find(EntryId(trial))
        if begun is not None and held.trials.get(EntryId(trial), BUYER) is None:
            feed = held.feeds.get(begun.entry.author)
            opening = None if feed is None else feed.opening
            if opening is not None and opening.identity == self._context.identity:
                raise BegunElsewhere(trial=trial, device=begun.entry.author)
        return trial_row(held, trial, BUYER)


class _Asking:
    """The queries of one granted Trial, by number."""

    def __init__(self, context: Context, granted: Granted, inputs: KeptInputs) -> None:
        self._signer = context.unlocked().device_signer
        self._granted = granted
        self._inputs = inputs
        self.order = query_order(granted)

    def query(self, i: int) -> SignedQuery:
        """Make query ``i``; always the same bytes."""
        index = self.order[i]
        one = self._inputs.inputs[index]
        query = Query(
            trial=self._granted.trial,
            i=i,
            index=index,
            x=one.x,
            salt_x=one.salt_x,
            label_hash=one.label_hash,
            path=self._inputs.path(index),
        )
        return sign_query(query, self._signer)

    def truth(self, i: int) -> str:
        """Return the true answer to query ``i``, which never leaves."""
        return self._inputs.inputs[self.order[i]].y.decode(errors="replace")


def _named_trial(step: Step) -> bytes:
    said = step.body.step
    return step.entry_id if isinstance(said, TrialRequest) else said.trial


def _judged_output(card: ModelCard, wanted: Wanted) -> str:
    """Name the output whose first value is the answer: the first that is no state."""
    states = {pair.output for pair in card.signature.states}
    names = [one.name for one in wanted.outputs if one.name not in states]
    return names[0] if names else ""
