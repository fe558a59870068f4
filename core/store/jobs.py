"""Long jobs of this folder, which go on after a restart: what is asked, how far it is.

* A job moves along ``MOVES`` and no other way; what is finished stays as it was.
* Each check that is finished is kept at once, so a job that was interrupted goes on at the
  next one.
* What is queued under a ``key`` is queued once: the same thing is not done twice side by side.
* Of the jobs waiting the lowest priority number goes first, then the oldest.
* Finished jobs are history: only so many are kept.

What a job does, how many run at once and what its bytes mean is its owner's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, false, func, insert, select, update

from hanse.core.errors import Refused, WrongUse
from hanse.core.limits import (
    JOB_CHECK_SIZE_BYTES_MAX,
    JOB_CHECKS_MAX,
    JOB_ERROR_CHARACTERS_MAX,
    JOB_REQUEST_SIZE_BYTES_MAX,
    JOB_RESULT_SIZE_BYTES_MAX,
    JOBS_FINISHED_MAX,
    JOBS_OPEN_MAX,
)
from hanse.core.store.catalogue_plan import aside
from hanse.core.store.certification_tables import job_checks, jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hanse.core.store.feed_rows import AnyRow

JOBS_PER_PAGE: Final = 50
PRIORITY_NOW: Final = 0
PRIORITY_BACKGROUND: Final = 10
KIND_CERTIFY: Final = "certify"

_LAST: Final = 2**63 - 1


class JobUnknown(WrongUse):
    """There is no job of this number."""

    code = "job.unknown"
    text = "there is no job {job}"
    fields = ("job",)


class JobNotThere(Refused):
    """A job is not where it could move from like this."""

    code = "job.wrong_state"
    text = "job {job} is {state} and cannot become {wanted}"
    fields = ("job", "state", "wanted")


class JobTooLarge(Refused):
    """Bytes of a job are more than is kept of it; ``part`` is a stable word."""

    code = "job.too_large"
    text = "{part} of a job has {found_bytes} bytes, limit {most_bytes}"
    fields = ("part", "found_bytes", "most_bytes")


class TooManyJobs(Refused):
    """No more jobs are queued in one folder, or no more checks kept of one."""

    code = "job.too_many"
    text = "{most} {what} are kept already"
    fields = ("what", "most")


@unique
class JobState(Enum):
    """How far a job is."""

    QUEUED = "QUEUED"
    STAGING = "STAGING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def is_finished(self) -> bool:
        """Say whether nothing comes after."""
        return not MOVES[self]


MOVES: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.STAGING, JobState.CANCELLED}),
        JobState.STAGING: frozenset(
            {JobState.RUNNING, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}
        ),
        JobState.RUNNING: frozenset(
            {JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}
        ),
        JobState.INTERRUPTED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
        JobState.DONE: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)
_UNFINISHED: Final = tuple(state.value for state in JobState if not state.is_finished)
_FINISHED: Final = tuple(state.value for state in JobState if state.is_finished)
_UNDER_WAY: Final = (JobState.STAGING.value, JobState.RUNNING.value)


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is to be queued; ``key`` names what it does, so that it is not done twice at once."""

    kind: str
    key: str
    request: bytes
    artifact: bytes | None = None
    priority: int = PRIORITY_BACKGROUND


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job, ``done`` of ``total`` steps of ``stage``.

    ``request`` and ``result`` are its owner's.  ``error_code`` is the code of the error it failed
    with, ``error_values`` are the sentence's.
    """

    job: int
    kind: str
    key: str
    state: JobState
    is_paused: bool
    priority: int
    artifact: bytes | None
    stage: str
    done: int
    total: int
    request: bytes
    result: bytes | None
    error_code: str | None
    error_values: Mapping[str, str | int]
    created_ms: int
    updated_ms: int


JOB_OF_ID: Final = select(jobs).where(jobs.c.job == bindparam("job"))
JOB_OF_KEY: Final = (
    select(jobs).where(jobs.c.key == bindparam("key")).order_by(jobs.c.job.desc()).limit(1)
)
NEXT_QUEUED: Final = (
    select(jobs)
    .where(jobs.c.state == JobState.QUEUED.value, jobs.c.paused.is_(false()))
    .order_by(jobs.c.priority, jobs.c.job)
    .limit(1)
)
JOBS_BEFORE: Final = (
    select(jobs)
    .where(jobs.c.job < bindparam("before"))
    .order_by(jobs.c.job.desc())
    .limit(bindparam("limit"))
)
JOBS_OF_ARTIFACT: Final = (
    select(jobs)
    .where(jobs.c.artifact == bindparam("artifact"), jobs.c.job < bindparam("before"))
    .order_by(jobs.c.job.desc())
    .limit(bindparam("limit"))
)
JOBS_UNDER_WAY: Final = select(jobs).where(jobs.c.state.in_(_UNDER_WAY)).limit(JOBS_OPEN_MAX)
OPEN_JOBS: Final = select(func.count()).select_from(jobs).where(jobs.c.state.in_(_UNFINISHED))
FINISHED_CHECKS: Final = (
    select(job_checks.c.check_id, job_checks.c.raw)
    .where(job_checks.c.job == bindparam("job"))
    .order_by(job_checks.c.place)
    .limit(JOB_CHECKS_MAX)
)
CHECKS_KEPT: Final = (
    select(func.count()).select_from(job_checks).where(job_checks.c.job == bindparam("job"))
)
OLDEST_KEPT: Final = (
    select(jobs.c.job)
    .where(jobs.c.job > 0, aside(jobs.c.state).in_(_FINISHED))
    .order_by(jobs.c.job.desc())
    .limit(1)
    .offset(bindparam("most"))
)


class JobRepository:
    """All jobs of this folder."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    # --- queueing ---------------------------------------------------------------------------

    def queue(self, new: NewJob, now_ms: int, *, again: bool = True) -> JobRow:
        """Queue a job; one of the same key that is not finished is returned in place of it.

        It goes as early as the more urgent of the two asks.
        Without ``again`` a finished one is returned too: what happens by itself happens once.
        Raises ``JobTooLarge`` or ``TooManyJobs``.
        """
        held = self.of_key(new.key)
        if held is not None and not (again and held.state.is_finished):
            if held.state.is_finished or new.priority >= held.priority:
                return held
            self.set_priority(held.job, new.priority, now_ms)
            return self._held(held.job)
        _check_size("request", new.request, JOB_REQUEST_SIZE_BYTES_MAX)
        if self._connection.execute(OPEN_JOBS).scalar_one() >= JOBS_OPEN_MAX:
            raise TooManyJobs(what="jobs", most=JOBS_OPEN_MAX)
        number = self._connection.execute(
            insert(jobs)
            .values(
                kind=new.kind,
                key=new.key,
                state=JobState.QUEUED.value,
                paused=False,
                priority=new.priority,
                artifact=new.artifact,
                stage="",
                done=0,
                total=0,
                created_ms=now_ms,
                updated_ms=now_ms,
                request=new.request,
            )
            .returning(jobs.c.job)
        ).scalar_one()
        return self._held(number)

    def next_queued(self) -> JobRow | None:
        """Return the job that is due next; those that are paused wait."""
        row = self._connection.execute(NEXT_QUEUED).first()
        return None if row is None else _job(row)

    def set_priority(self, job: int, priority: int, now_ms: int) -> None:
        """Move a job that is not finished to the front or the back of those waiting.

        Raises ``JobUnknown`` or ``JobNotThere``.
        """
        self._change_open(job, priority=priority, updated_ms=now_ms)

    def set_paused(self, job: int, now_ms: int, *, is_paused: bool) -> None:
        """Note that a job that is not finished is to wait, or to go on.

        Raises ``JobUnknown`` or ``JobNotThere``.
        """
        self._change_open(job, paused=is_paused, updated_ms=now_ms)

    # --- going on ---------------------------------------------------------------------------

    def start(self, job: int, now_ms: int) -> JobRow:
        """Begin to stage a job that was queued."""
        return self._move(job, JobState.STAGING, now_ms, stage="", done=0, total=0)

    def running(self, job: int, total: int, now_ms: int) -> JobRow:
        """Note that the files are staged and ``total`` checks begin."""
        return self._move(job, JobState.RUNNING, now_ms, total=total)

    def progress(self, job: int, stage: str, done: int, total: int, now_ms: int) -> None:
        """Note how far a job under way is; of one that is not under way nothing is noted."""
        self._connection.execute(
            update(jobs)
            .where(jobs.c.job == job, jobs.c.state.in_(_UNDER_WAY))
            .values(stage=stage, done=done, total=total, updated_ms=now_ms)
        )

    def keep_check(self, job: int, check_id: str, raw: bytes) -> None:
        """Keep what a finished check came to, in place of what it came to before.

        Raises ``JobUnknown``, ``JobNotThere``, ``JobTooLarge`` or ``TooManyJobs``.
        """
        held = self._held(job)
        if held.state.value not in _UNDER_WAY:
            raise JobNotThere(job=job, state=held.state.value, wanted=JobState.RUNNING.value)
        _check_size("check", raw, JOB_CHECK_SIZE_BYTES_MAX)
        which = (job_checks.c.job == job) & (job_checks.c.check_id == check_id)
        self._connection.execute(delete(job_checks).where(which))
        place = self._connection.execute(CHECKS_KEPT, {"job": job}).scalar_one()
        if place >= JOB_CHECKS_MAX:
            raise TooManyJobs(what="checks", most=JOB_CHECKS_MAX)
        last = self._connection.execute(
            select(func.coalesce(func.max(job_checks.c.place), 0)).where(job_checks.c.job == job)
        ).scalar_one()
        self._connection.execute(
            insert(job_checks).values(job=job, check_id=check_id, place=last + 1, raw=raw)
        )

    def finished_checks(self, job: int) -> dict[str, bytes]:
        """Return what the finished checks of a job came to, in the order they were kept."""
        rows = self._connection.execute(FINISHED_CHECKS, {"job": job})
        return {row.check_id: row.raw for row in rows}

    def drop_checks(self, job: int, check_ids: Iterable[str]) -> None:
        """Forget what these checks came to: they are to be made again."""
        self._connection.execute(
            delete(job_checks).where(
                job_checks.c.job == job, job_checks.c.check_id.in_(list(check_ids))
            )
        )

    # --- ending -----------------------------------------------------------------------------

    def done(self, job: int, result: bytes, now_ms: int) -> JobRow:
        """Note that a job is done, and its result; what its checks came to is dropped."""
        _check_size("result", result, JOB_RESULT_SIZE_BYTES_MAX)
        row = self._move(job, JobState.DONE, now_ms, result=result, paused=False)
        self._connection.execute(delete(job_checks).where(job_checks.c.job == job))
        return row

    def failed(self, job: int, code: str, values: Mapping[str, object], now_ms: int) -> JobRow:
        """Note the error a job failed with, by its code and values."""
        return self._move(
            job,
            JobState.FAILED,
            now_ms,
            error_code=code,
            error_values=_written(values),
            paused=False,
        )

    def cancelled(self, job: int, now_ms: int) -> JobRow:
        """Note that a job was given up."""
        return self._move(job, JobState.CANCELLED, now_ms, paused=False)

    def interrupted(self, job: int, now_ms: int) -> JobRow:
        """Note that a job under way stopped and is to go on later."""
        return self._move(job, JobState.INTERRUPTED, now_ms)

    def requeue(self, job: int, now_ms: int) -> JobRow:
        """Queue an interrupted job again; its finished checks stay."""
        return self._move(job, JobState.QUEUED, now_ms)

    def interrupted_on_start(self, now_ms: int) -> list[JobRow]:
        """Note that what was under way when the program ended is interrupted; return those."""
        found = [_job(row) for row in self._connection.execute(JOBS_UNDER_WAY)]
        return [self.interrupted(row.job, now_ms) for row in found]

    # --- asking -----------------------------------------------------------------------------

    def get(self, job: int) -> JobRow | None:
        """Return one job."""
        row = self._connection.execute(JOB_OF_ID, {"job": job}).first()
        return None if row is None else _job(row)

    def of_key(self, key: str) -> JobRow | None:
        """Return the newest job of a key, finished or not."""
        row = self._connection.execute(JOB_OF_KEY, {"key": key}).first()
        return None if row is None else _job(row)

    def page(self, before: int | None = None, limit: int = JOBS_PER_PAGE) -> list[JobRow]:
        """Return jobs, the newest first; ``before`` is the number of the last one shown."""
        rows = self._connection.execute(JOBS_BEFORE, {"before": before or _LAST, "limit": limit})
        return [_job(row) for row in rows]

    def of_artifact(
        self, artifact: bytes, before: int | None = None, limit: int = JOBS_PER_PAGE
    ) -> list[JobRow]:
        """Return the jobs about one Artifact, the newest first."""
        rows = self._connection.execute(
            JOBS_OF_ARTIFACT, {"artifact": artifact, "before": before or _LAST, "limit": limit}
        )
        return [_job(row) for row in rows]

    def sweep(self, most: int = JOBS_FINISHED_MAX) -> int:
        """Forget finished jobs, the oldest first, until ``most`` are left; return how many went."""
        oldest = self._connection.execute(OLDEST_KEPT, {"most": most}).scalar_one_or_none()
        if oldest is None:
            return 0
        return self._connection.execute(
            delete(jobs).where(jobs.c.job <= oldest, jobs.c.state.in_(_FINISHED))
        ).rowcount

    # --- one row ----------------------------------------------------------------------------

    def _held(self, job: int) -> JobRow:
        held = self.get(job)
        if held is None:
            raise JobUnknown(job=job)
        return held

    def _move(self, job: int, state: JobState, now_ms: int, **values: object) -> JobRow:
        held = self._held(job)
        if state not in MOVES[held.state]:
            raise JobNotThere(job=job, state=held.state.value, wanted=state.value)
        self._connection.execute(
            update(jobs)
            .where(jobs.c.job == job)
            .values(state=state.value, updated_ms=now_ms, **values)
        )
        return self._held(job)

    def _change_open(self, job: int, **values: object) -> None:
        held = self._held(job)
        if held.state.is_finished:
            raise JobNotThere(job=job, state=held.state.value, wanted=JobState.QUEUED.value)
        self._connection.execute(update(jobs).where(jobs.c.job == job).values(**values))


def _check_size(part: str, raw: bytes, most_bytes: int) -> None:
    if len(raw) > most_bytes:
        raise JobTooLarge(part=part, found_bytes=len(raw), most_bytes=most_bytes)


def _written(values: Mapping[str, object]) -> str:
    """Write the values of an error; what is neither text nor a whole number as its text."""
    shown = {
        name: value if isinstance(value, int) else _as_text(value)[:JOB_ERROR_CHARACTERS_MAX]
        for name, value in values.items()
    }
    return msgspec.json.encode(shown).decode()


def _as_text(value: object) -> str:
    match value:
        case bytes():
            return value.hex()
        case tuple() | list():
            return ", ".join(map(_as_text, value))
        case _:
            return str(value)


def _job(row: AnyRow) -> JobRow:
    values = row.error_values or "{}"
    return JobRow(
        job=row.job,
        kind=row.kind,
        key=row.key,
        state=JobState(row.state),
        is_paused=row.paused,
        priority=row.priority,
        artifact=row.artifact,
        stage=row.stage,
        done=row.done,
        total=row.total,
        request=row.request,
        result=row.result,
        error_code=row.error_code,
        error_values=msgspec.json.decode(values.encode(), type=dict[str, str | int]),
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )
