"""``hanse job``: the queue of certifications that may wait: look at it, work it off, change it.

* Jobs outlive the program; one that was under way when it ended goes on with the next check.
* Nothing is signed here unless the person asks for it; then of own models only what is better
  than what was signed before.  What failed is always left for a person to sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.commands.certify import (
    CheckProgress,
    chosen_cores,
    result_answer,
)
from hanse.app.commands.certify_shown import check_name, headed_by
from hanse.app.commands.listing_bodies import rows_of
from hanse.app.commands.listing_words import NOTHING, level
from hanse.app.commands.showing import short_id
from hanse.app.progress import long_work
from hanse.app.workers import JobRunner
from hanse.core.errors import EXIT_NO, HanseError
from hanse.core.model.control import Cancelled
from hanse.core.sentences import show_time
from hanse.core.store.jobs import PRIORITY_NOW, JobState

if TYPE_CHECKING:
    from hanse.app.desk import Desk
    from hanse.core.engine.certifying import Certifying, JobView

_UNDER_WAY: Final = frozenset({JobState.STAGING, JobState.RUNNING, JobState.INTERRUPTED})


class JobsFailed(HanseError):
    """Some of the jobs that were worked off came to no result."""

    code = "job.some_failed"
    text = "jobs {jobs} came to no result"
    fields = ("jobs",)
    exit_code = EXIT_NO


def show_list(desk: Desk, *, before: int | None) -> Answer:
    """List jobs, the newest first: what each is, and how far."""
    with desk.reading() as engine:
        found = engine.certifying.jobs(before)
    rows = [_plain_row(one) for one in found]
    if not found:
        return Answer(rows, [desk.say("job.none")])
    cells = [
        (
            str(one.row.job),
            _state(desk, one),
            _how_far(desk, one),
            one.request.suite,
            short_id(one.request.artifact),
            desk.say("job.now" if one.row.priority <= PRIORITY_NOW else "job.background"),
            show_time(one.row.updated_ms),
            _error(desk, one),
        )
        for one in found
    ]
    names = ("job", "state", "progress", "suite", "artifact", "priority", "changed", "remark")
    return Answer(rows, headed_by(desk, names, cells))


def show(desk: Desk, *, job: int, sign: bool) -> Answer:
    """Show what a job came to, and with ``sign`` sign it after a yes."""
    with desk.opened(is_signing=True) if sign else desk.reading() as engine:
        view = engine.certifying.job(job)
        if view.tested is not None:
            return result_answer(desk, engine, view, is_signing=sign)
        if sign:
            engine.certifying.preview(job)  # says why there is nothing to sign
    values = {
        "job": str(view.row.job),
        "state": _state(desk, view),
        "progress": _how_far(desk, view),
        "suite": view.request.suite,
        "artifact": view.request.artifact.hex(),
        "changed": show_time(view.row.updated_ms),
        "remark": _error(desk, view) or NOTHING,
    }
    lines = rows_of([(desk.say(f"certify.head.{name}"), value) for name, value in values.items()])
    return Answer(_plain_row(view), lines)


def run(desk: Desk, *, cores: int | None, sign: bool) -> Answer:
    """Work off what is queued, one job at a time, until nothing is left or Ctrl-C."""
    done: list[JobView] = []

    def finished(view: JobView) -> None:
        done.append(view)
        if not desk.is_json:
            progress.clear()
            desk.console.out(_done_line(desk, view))

    describe = CheckProgress(desk)
    with desk.opened(is_signing=sign) as engine:
        if sign:
            desk.confirm([desk.say("job.will_sign")])
        with desk.measuring(), long_work(desk, describe) as progress:
            runner = JobRunner(
                engine,
                on_done=finished,
                on_progress=lambda _job, stage, at, of: progress.control.report(stage, at, of),
                is_signing=sign,
                cores=chosen_cores(desk, cores),
            )
            progress.on_end = runner.close
            runner.finish()
            is_stopped = progress.control.is_cancelled
        waiting = engine.certifying.next_job()
    result = {"jobs": [_plain_row(one) for one in done], "is_stopped": is_stopped}
    if is_stopped:
        return Answer(result, [desk.say("job.stopped")], Cancelled())
    failed = tuple(one.row.job for one in done if one.row.state is JobState.FAILED)
    lines = [desk.say("job.all_done", count=len(done))] if waiting is None else []
    return Answer(result, lines, JobsFailed(jobs=failed) if failed else None)


def pause(desk: Desk, *, job: int) -> Answer:
    """Let a job wait until it is told to go on."""
    with desk.writing() as engine:
        view = _runner_or(desk, engine.certifying).pause(job, is_paused=True)
    return Answer(_plain_row(view), [desk.say("job.paused", job=job)])


def resume(desk: Desk, *, job: int) -> Answer:
    """Let a job go on that was told to wait, or that was interrupted."""
    with desk.writing() as engine:
        view = _runner_or(desk, engine.certifying).pause(job, is_paused=False)
        if view.row.state is JobState.INTERRUPTED:
            view = engine.certifying.requeue(job)
    return Answer(_plain_row(view), [desk.say("job.resumed", job=job)])


def cancel(desk: Desk, *, job: int) -> Answer:
    """Give a job up for good."""
    with desk.writing() as engine:
        _runner_or(desk, engine.certifying).cancel(job)
        view = engine.certifying.job(job)
    return Answer(_plain_row(view), [desk.say("job.cancelled", job=job)])


def _runner_or(desk: Desk, certifying: Certifying) -> JobRunner | Certifying:
    """Return who works off the queue in this process, who also stops what is under way."""
    running = None if desk.runtime is None else desk.runtime.jobs
    return running or certifying


def _plain_row(view: JobView) -> dict[str, object]:
    """Return what programs are told of a job; its figures are asked for with ``job show``."""
    row, tested = view.row, view.tested
    return {
        "job": row.job,
        "state": row.state,
        "is_paused": row.is_paused,
        "stage": row.stage,
        "done": row.done,
        "total": row.total,
        "priority": row.priority,
        "suite": view.request.suite,
        "artifact": view.request.artifact,
        "release": view.request.release,
        "error": None
        if row.error_code is None
        else {"code": row.error_code, "values": row.error_values},
        "level": None if tested is None else tested.measured.level,
        "outcome": None if tested is None else tested.measured.outcome,
        "created_ms": row.created_ms,
        "updated_ms": row.updated_ms,
    }


def _state(desk: Desk, view: JobView) -> str:
    said = desk.say(f"word.state.{view.row.state.value}")
    return f"{said} ({desk.say('job.is_paused')})" if view.row.is_paused else said


def _how_far(desk: Desk, view: JobView) -> str:
    row = view.row
    if view.tested is not None:
        outcome = desk.say(f"certify.outcome.{view.tested.measured.outcome}")
        reached = level(desk, view.tested.measured.level)
        return desk.say("value", value=(outcome, reached))
    if row.state in _UNDER_WAY and row.total:
        return f"{row.done}/{row.total} {check_name(desk, row.stage)}".rstrip()
    return NOTHING


def _error(desk: Desk, view: JobView) -> str:
    """Say what a job failed with; the values were kept as text."""
    row = view.row
    if row.error_code is None:
        return ""
    try:
        return desk.say(row.error_code, **row.error_values)
    except KeyError:  # kept by another version
        return row.error_code


def _done_line(desk: Desk, view: JobView) -> str:
    outcome = _error(desk, view) or _how_far(desk, view)
    return desk.say("job.line", job=view.row.job, state=_state(desk, view), outcome=outcome)
