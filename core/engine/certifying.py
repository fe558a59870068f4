"""Certification on one's own machine: jobs, what they come to, and signing it.

* A job is kept before it begins, each finished check when it is finished, and the result
  before anybody sees it: killing the program loses at most the check that ran.
* What was measured is kept unsigned until a person signs it; figures on private data are left
  out of what is signed.
* A failing result is signed as loudly as a passing one.
* A Certificate that reproduces another one runs its golden vectors and says what came of it.

Checks are ``hanse.core.certify``'s, the statement ``hanse.core.attest``'s.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.engine.certificate_plan import plan_certificate
from hanse.core.engine.certify_target import (
    CertifyRequest,
    Named,
    named,
    target_of,
)
from hanse.core.engine.signing import Preview, show, sign
from hanse.core.engine.suite_runs import SuiteRuns, suite_of
from hanse.core.engine.tested import Tested, encode_tested, read_tested
from hanse.core.errors import HanseError, Refused
from hanse.core.ledger.codec import decode, encode
from hanse.core.market.claims import compare_claims
from hanse.core.model.certificate import CheckResult, Statement
from hanse.core.model.control import Cancelled
from hanse.core.model.ids import EntryId
from hanse.core.store.jobs import (
    KIND_CERTIFY,
    PRIORITY_BACKGROUND,
    PRIORITY_NOW,
    JobState,
    JobUnknown,
    NewJob,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from hanse.core.certify.source import ModelSource
    from hanse.core.engine.certify_target import Target
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.model.certificate import ComparedClaim
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.store.jobs import JobRow
    from hanse.core.store.unit_of_work import Repositories

_JOBS_LOOKED_AT: Final = 200
_LOOK_SECONDS: Final = 0.1  # between two looks at a job that another thread runs


class NotTested(Refused):
    """A job has no result that could be signed."""

    code = "certify.no_result"
    text = "job {job} is {state} and has no result"
    fields = ("job", "state")


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with what it was asked, and what it came to."""

    row: JobRow
    request: CertifyRequest
    tested: Tested | None


@dataclass(frozen=True, slots=True)
class ToSign:
    """Exactly what will be signed, and what was left out of it because it is private."""

    preview: Preview
    statement: Statement
    private_rows: int


class Certifying:
    """Jobs of this machine, and Certificates of this Account."""

    def __init__(
        self,
        context: Context,
        content: Content,
        runner: ModelRunner,
        sealed: Callable[[bytes, Control], AbstractContextManager[ModelSource]],
        app: str = "",
    ) -> None:
        """Bind the Account, its files, and what starts Workers; ``app`` is our version.

        ``sealed`` opens the model of a sealed Trial in memory.
        """
        self._context = context
        self._content = content
        self._runs = SuiteRuns(context, content, runner, sealed, app)
        self._lock = threading.Lock()
        self._under_way: dict[int, threading.Event] = {}

    def named(self, text: str) -> Target:
        """Return what a person means by the first digits of an id, or raise what is wrong.

        The plain files must be here, else ``ArtifactNotHeld``.
        """
        with self._context.store.reads() as reads:
            what = named(reads, text)
            return target_of(reads, self._content, self._context.identity, what)

    def offered_or_held(self, text: str) -> Named:
        """Return what a person means, whether its files are here or not."""
        with self._context.store.reads() as reads:
            return named(reads, text)

    # --- jobs --------------------------------------------------------------------------------

    def queue(self, request: CertifyRequest, *, now: bool, again: bool = True) -> JobView:
        """Keep a job; the same thing that is not finished is not queued twice."""
        suite_of(request.suite)
        raw = encode(request)
        new = NewJob(
            kind=KIND_CERTIFY,
            key=f"{KIND_CERTIFY}:{sha256(raw).hexdigest()}",
            request=raw,
            artifact=request.artifact,
            priority=PRIORITY_NOW if now else PRIORITY_BACKGROUND,
        )
        with self._context.store.unit_of_work() as uow:
            row = uow.jobs.queue(new, self._context.clock.now_ms(), again=again)
            uow.jobs.sweep()
            uow.commit()
        return _view(row)

    def jobs(self, before: int | None = None) -> tuple[JobView, ...]:
        """Return jobs, the newest first; ``before`` is the number of the last one shown."""
        with self._context.store.reads() as reads:
            return tuple(_view(row) for row in reads.jobs.page(before))

    def job(self, job: int) -> JobView:
        """Return one job, or raise ``JobUnknown``."""
        with self._context.store.reads() as reads:
            row = reads.jobs.get(job)
        if row is None:
            raise JobUnknown(job=job)
        return _view(row)

    def next_job(self) -> JobView | None:
        """Return the job that is due next."""
        with self._context.store.reads() as reads:
            row = reads.jobs.next_queued()
        return None if row is None else _view(row)

    def recover(self) -> int:
        """Queue again what was under way when the program ended; return how many."""
        with self._context.store.unit_of_work() as uow:
            now_ms = self._context.clock.now_ms()
            uow.jobs.interrupted_on_start(now_ms)
            found = [
                row
                for row in uow.jobs.page(limit=_JOBS_LOOKED_AT)
                if row.state is JobState.INTERRUPTED
            ]
            for row in found:
                uow.jobs.requeue(row.job, now_ms)
            uow.commit()
        return len(found)

    def pause(self, job: int, *, is_paused: bool) -> JobView:
        """Let a job that is not finished wait, or go on."""
        with self._context.store.unit_of_work() as uow:
            uow.jobs.set_paused(job, self._context.clock.now_ms(), is_paused=is_paused)
            uow.commit()
        return self.job(job)

    def cancel(self, job: int) -> JobView:
        """Give up a job that waits; one that runs is cancelled by its ``Control``."""
        with self._context.store.unit_of_work() as uow:
            uow.jobs.cancelled(job, self._context.clock.now_ms())
            uow.commit()
        return self.job(job)

    def requeue(self, job: int) -> JobView:
        """Queue a job again that was interrupted; what it has finished stays."""
        with self._context.store.unit_of_work() as uow:
            uow.jobs.requeue(job, self._context.clock.now_ms())
            uow.commit()
        return self.job(job)

    def run(
        self,
        job: int,
        control: Control,
        *,
        is_interrupted: Callable[[], bool] = lambda: False,
        cores: int = 0,
    ) -> JobView:
        """Run a job to its end; every check is kept when it is finished.

        A cancelled job is over; with ``is_interrupted`` it goes on later.  Whatever error
        ends it is noted with the job and raised.  On no more than ``cores`` cores, 0 for what
        the job asks.
        """
        with self._lock:
            other = self._under_way.get(job)
            ended = self._under_way.setdefault(job, threading.Event())
        if other is not None:  # another thread of ours runs it: there is nothing to do but wait
            while not other.wait(_LOOK_SECONDS):
                control.checkpoint("certify", 0, 1)
            return self.job(job)
        try:
            return self._run_alone(job, control, is_interrupted, cores)
        finally:
            with self._lock:
                del self._under_way[job]
            ended.set()

    def _run_alone(
        self, job: int, control: Control, is_interrupted: Callable[[], bool], cores: int
    ) -> JobView:
        clock = self._context.clock
        with self._context.store.unit_of_work() as uow:
            row = uow.jobs.get(job)
            if row is None:
                raise JobUnknown(job=job)
            if row.state is JobState.DONE:  # by another thread, a moment ago
                return _view(row)
            if row.state in (JobState.STAGING, JobState.RUNNING):
                row = uow.jobs.interrupted(job, clock.now_ms())  # by the end of its program
            if row.state is JobState.INTERRUPTED:
                uow.jobs.requeue(job, clock.now_ms())
            row = uow.jobs.start(job, clock.now_ms())
            done = {
                name: decode(raw, CheckResult)
                for name, raw in uow.jobs.finished_checks(job).items()
            }
            uow.commit()
        request = decode(row.request, CertifyRequest)
        if cores:
            most = min(request.cores or cores, cores)
            request = msgspec.structs.replace(request, cores=most)
        try:
            tested = self._runs.run(
                request,
                control,
                done=done,
                begun=lambda total: self._note_running(job, total),
                keep=lambda one: self._keep(job, one),
            )
        except Cancelled:
            with self._context.store.unit_of_work() as uow:
                end = uow.jobs.interrupted if is_interrupted() else uow.jobs.cancelled
                end(job, clock.now_ms())
                uow.commit()
            raise
        except HanseError as error:
            with self._context.store.unit_of_work() as uow:
                uow.jobs.failed(job, error.code, error.values, clock.now_ms())
                uow.commit()
            raise
        except BaseException:
            with self._context.store.unit_of_work() as uow:
                uow.jobs.interrupted(job, clock.now_ms())
                uow.commit()
            raise
        with self._context.store.unit_of_work() as uow:
            row = uow.jobs.done(job, encode_tested(tested), clock.now_ms())
            uow.commit()
        return _view(row)

    def tested(self, artifact: bytes, suite: str = "core") -> JobView | None:
        """Return the best result for an Artifact under the newest version of a suite."""
        with self._context.store.reads() as reads:
            return self.tested_in(reads, artifact, suite_of(suite).sha256)

    def tested_in(self, held: Repositories, artifact: bytes, suite_sha256: bytes) -> JobView | None:
        """Return the result for an Artifact that went furthest, of those the newest."""
        found = [
            _view(row)
            for row in held.jobs.of_artifact(artifact)
            if row.state is JobState.DONE and row.result is not None
        ]
        counted = [
            one
            for one in found
            if one.tested is not None and one.tested.measured.suite_sha256 == suite_sha256
        ]
        return max(counted, key=lambda one: one.request.level_most, default=None)

    def _note_running(self, job: int, total: int) -> None:
        with self._context.store.unit_of_work() as uow:
            uow.jobs.running(job, total, self._context.clock.now_ms())
            uow.commit()

    def _keep(self, job: int, result: CheckResult) -> None:
        with self._context.store.unit_of_work() as uow:
            uow.jobs.keep_check(job, result.id, encode(result))
            row = uow.jobs.get(job)
            assert row is not None
            uow.jobs.progress(job, result.id, row.done + 1, row.total, self._context.clock.now_ms())
            uow.commit()

    def claims(self, job: int) -> tuple[ComparedClaim, ...]:
        """Set what the card claims beside what a job measured; nothing where there is no card."""
        view = self.job(job)
        if view.tested is None:
            return ()
        request = view.request
        release = None if request.release is None else EntryId(request.release)
        with self._context.store.reads() as reads:
            what = Named(request.artifact, release)
            target = target_of(
                reads,
                self._content,
                self._context.identity,
                what,
                is_sealed=request.trial is not None,
            )
        if target.card is None:
            return ()
        return compare_claims(target.card.claims, view.tested.measured.quality)

    # --- signing -----------------------------------------------------------------------------

    def preview(self, job: int) -> ToSign:
        """Show exactly what signing the result of a job comes to."""
        context = self._context
        context.may_sign()
        view = self.job(job)
        if view.tested is None:
            raise NotTested(job=job, state=view.row.state.value)
        request = view.request
        release = None if request.release is None else EntryId(request.release)
        with context.store.reads() as reads:
            target = target_of(
                reads,
                self._content,
                context.identity,
                Named(request.artifact, release),
                is_sealed=request.trial is not None,
            )
            before = reads.certificates.newest_by(context.identity, request.artifact)
        supersedes = None if before is None or before.revocation is not None else before.cert
        planned = plan_certificate(
            context, target, view.tested, lambda _: target.release, supersedes, request.trial
        )
        shown = show(context, [planned.entry])
        rows = view.tested.measured.quality
        left_out = sum(not row.is_public for row in rows)
        return ToSign(shown, planned.statement(shown.salts[0], ()), left_out)

    def sign(self, to_sign: ToSign) -> EntryId:
        """Sign what was shown; the Certificate is on disk when this returns."""
        with self._context.store.unit_of_work() as uow:
            (made,) = sign(self._context, uow, to_sign.preview)
            uow.commit()
        return made.entry_id

    def sign_if_better(self, job: int) -> EntryId | None:
        """Sign a result of an own model that says more than what was signed before.

        What failed is left for a person to sign; a locked Account signs nothing.
        """
        context = self._context
        view = self.job(job)
        if context.keys is None or view.tested is None or view.tested.measured.outcome == "FAILED":
            return None
        with context.store.reads() as reads:
            before = reads.certificates.newest_by(context.identity, view.request.artifact)
            own = [
                use
                for use in reads.listings.by_artifact(view.request.artifact)
                if use.identity == context.identity
            ]
        if not own or (before is not None and before.level >= view.tested.measured.level):
            return None
        return self.sign(self.preview(job))


def _view(row: JobRow) -> JobView:
    return JobView(
        row=row,
        request=decode(row.request, CertifyRequest),
        tested=None if row.result is None else read_tested(row.result),
    )
