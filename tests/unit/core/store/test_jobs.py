from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hanse.core.store import jobs as jobs_module
from hanse.core.store.engines import Store
from hanse.core.store.jobs import (
    MOVES,
    PRIORITY_BACKGROUND,
    PRIORITY_NOW,
    JobNotThere,
    JobState,
    JobTooLarge,
    JobUnknown,
    NewJob,
    TooManyJobs,
)

ARTIFACT = bytes([9]) * 32
NEW = NewJob("certify", "certify:09", b"\x00asked", ARTIFACT)

NUMBERS = itertools.count()


@pytest.fixture
def held(store):
    """Give the jobs of one transaction."""
    with store.unit_of_work() as uow:
        yield uow.jobs


def queue(held, name, **values):
    return held.queue(NewJob("certify", name, b"", **values), 1000)


def brought_to(held, state):
    """Queue a job and bring it to a state, by the shortest way."""
    job = queue(held, f"{next(NUMBERS)} to {state.value}").job
    steps = {
        JobState.QUEUED: (),
        JobState.STAGING: ("start",),
        JobState.RUNNING: ("start", "running"),
        JobState.DONE: ("start", "running", "done"),
        JobState.FAILED: ("start", "failed"),
        JobState.CANCELLED: ("cancelled",),
        JobState.INTERRUPTED: ("start", "interrupted"),
    }
    for step in steps[state]:
        move(held, job, step)
    assert held.get(job).state is state
    return job


def move(held, job, step):
    more = {"running": (3,), "done": (b"found",), "failed": ("worker.failed", {"kind": "crash"})}
    return getattr(held, step)(job, *more.get(step, ()), 2000)


MOVERS = {
    JobState.QUEUED: "requeue",
    JobState.STAGING: "start",
    JobState.RUNNING: "running",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.INTERRUPTED: "interrupted",
}


def test_a_job_that_is_queued_is_there_with_all_that_was_asked(held):
    job = held.queue(NEW, 1000)
    assert held.get(job.job) == job
    assert (job.kind, job.key, job.request, job.artifact) == (
        NEW.kind,
        NEW.key,
        NEW.request,
        ARTIFACT,
    )
    assert (job.state, job.is_paused, job.priority) == (JobState.QUEUED, False, PRIORITY_BACKGROUND)
    assert (job.created_ms, job.updated_ms, job.result, job.error_code) == (1000, 1000, None, None)


def test_a_job_that_is_not_there_is_nothing_and_cannot_be_changed(held):
    assert held.get(7) is None
    with pytest.raises(JobUnknown):
        held.start(7, 1)
    with pytest.raises(JobUnknown):
        held.keep_check(7, "format.magic", b"")


def test_every_state_goes_where_it_may_and_nowhere_else(held):
    for before, after in itertools.product(JobState, JobState):
        job = brought_to(held, before)
        at = held.get(job)
        if after in MOVES[before]:
            assert move(held, job, MOVERS[after]).state is after
            continue
        with pytest.raises(JobNotThere) as caught:
            move(held, job, MOVERS[after])
        assert caught.value.values == {"job": job, "state": before.value, "wanted": after.value}
        assert held.get(job) == at


def test_what_is_asked_twice_is_queued_once_until_it_is_finished(held):
    first = held.queue(NEW, 1000)
    assert held.queue(NEW, 2000) == first
    held.cancelled(first.job, 3000)
    again = held.queue(NEW, 4000)
    assert again.job != first.job
    assert held.of_key(NEW.key) == again


def test_what_is_asked_again_more_urgently_goes_earlier_and_never_later(held):
    first = held.queue(NEW, 1000)
    now = held.queue(replace(NEW, priority=PRIORITY_NOW), 2000)
    assert (now.job, now.priority, now.updated_ms) == (first.job, PRIORITY_NOW, 2000)
    assert held.queue(NEW, 3000) == now


def test_what_happens_by_itself_happens_once(held):
    first = held.queue(NEW, 1000, again=False)
    finished = held.cancelled(first.job, 3000)
    assert held.queue(NEW, 4000, again=False) == finished


def test_the_next_one_is_the_most_urgent_then_the_oldest_and_none_that_waits(held):
    slow, other = queue(held, "slow"), queue(held, "other")
    urgent = queue(held, "urgent", priority=PRIORITY_NOW)
    assert held.next_queued() == urgent
    held.start(urgent.job, 2000)
    assert held.next_queued() == slow
    held.set_paused(slow.job, 2000, is_paused=True)
    assert held.next_queued() == other
    held.set_paused(slow.job, 2000, is_paused=False)
    held.set_priority(other.job, PRIORITY_NOW, 3000)
    assert held.next_queued().job == other.job


def test_a_job_that_is_finished_neither_pauses_nor_hurries(held):
    for state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED):
        job = brought_to(held, state)
        with pytest.raises(JobNotThere):
            held.set_paused(job, 1, is_paused=True)
        with pytest.raises(JobNotThere):
            held.set_priority(job, PRIORITY_NOW, 1)


def test_progress_is_noted_while_a_job_is_under_way_only(held):
    job = brought_to(held, JobState.RUNNING)
    held.progress(job, "run.golden", 2, 9, 5000)
    row = held.get(job)
    assert (row.stage, row.done, row.total, row.updated_ms) == ("run.golden", 2, 9, 5000)
    held.cancelled(job, 6000)
    held.progress(job, "run.batch", 3, 9, 7000)
    assert held.get(job).stage == "run.golden"


def test_checks_are_kept_one_by_one_in_their_order(held):
    job = brought_to(held, JobState.RUNNING)
    for name in ("format.magic", "run.load", "det.repeat"):
        held.keep_check(job, name, name.encode())
    held.drop_checks(job, ["run.load"])
    held.keep_check(job, "format.magic", b"again")
    assert list(held.finished_checks(job).items()) == [
        ("det.repeat", b"det.repeat"),
        ("format.magic", b"again"),
    ]


def test_a_check_is_kept_of_no_job_that_is_not_under_way(held):
    with pytest.raises(JobNotThere):
        held.keep_check(brought_to(held, JobState.QUEUED), "run.load", b"")


def test_what_was_under_way_is_interrupted_at_the_next_start_and_goes_on(store):
    with store.unit_of_work() as uow:
        running = brought_to(uow.jobs, JobState.RUNNING)
        uow.jobs.keep_check(running, "format.magic", b"kept")
        staging = brought_to(uow.jobs, JobState.STAGING)
        queued = brought_to(uow.jobs, JobState.QUEUED)
        uow.commit()
    store.close()
    with closing(Store.open(Path(store.path).parent)) as again, again.unit_of_work() as uow:
        found = uow.jobs.interrupted_on_start(9000)
        assert {row.job: row.state for row in found} == dict.fromkeys(
            (running, staging), JobState.INTERRUPTED
        )
        assert uow.jobs.get(queued).state is JobState.QUEUED
        assert uow.jobs.requeue(running, 9500).state is JobState.QUEUED
        assert uow.jobs.finished_checks(running) == {"format.magic": b"kept"}
        assert uow.jobs.interrupted_on_start(9900) == []


def test_a_result_is_kept_and_the_checks_behind_it_are_not(held):
    job = brought_to(held, JobState.RUNNING)
    held.keep_check(job, "format.magic", b"kept")
    assert held.done(job, b"found", 3000).result == b"found"
    assert held.finished_checks(job) == {}


def test_an_error_is_kept_as_its_code_and_values(held):
    job = brought_to(held, JobState.STAGING)
    values = {"path": Path("/models/a.onnx"), "found": 3, "detail": "x" * 5000, "why": None}
    row = held.failed(job, "format.refused", values, 2000)
    assert row.error_code == "format.refused"
    assert row.error_values["path"] == str(Path("/models/a.onnx"))
    assert row.error_values["found"] == 3
    assert len(row.error_values["detail"]) == 1000


def test_jobs_come_in_pages_the_newest_first(held):
    numbers = [queue(held, str(n), artifact=ARTIFACT if n % 2 else None).job for n in range(5)]
    assert [row.job for row in held.page(limit=2)] == numbers[:2:-1]
    assert [row.job for row in held.page(before=numbers[3], limit=9)] == numbers[2::-1]
    of = held.of_artifact(ARTIFACT, limit=1)
    assert [row.job for row in of] == [numbers[3]]
    assert [row.job for row in held.of_artifact(ARTIFACT, before=of[0].job)] == [numbers[1]]


def test_only_so_much_history_is_kept_and_nothing_that_is_not_finished(held):
    waiting = queue(held, "waiting").job
    gone = brought_to(held, JobState.RUNNING)
    held.keep_check(gone, "format.magic", b"kept")
    held.failed(gone, "worker.failed", {}, 3000)
    kept = [brought_to(held, state) for state in (JobState.DONE, JobState.CANCELLED)]
    assert held.sweep(most=2) == 1
    assert [row.job for row in held.page()] == [*reversed(kept), waiting]
    assert held.finished_checks(gone) == {}
    assert held.sweep(most=2) == 0


def test_more_than_is_kept_of_a_job_is_refused(held, monkeypatch):
    for name in ("JOB_REQUEST", "JOB_CHECK", "JOB_RESULT"):
        monkeypatch.setattr(jobs_module, f"{name}_SIZE_BYTES_MAX", 4)
    with pytest.raises(JobTooLarge) as caught:
        held.queue(NewJob("certify", "large", b"12345"), 1)
    assert caught.value.values == {"part": "request", "found_bytes": 5, "most_bytes": 4}
    job = brought_to(held, JobState.STAGING)
    with pytest.raises(JobTooLarge):
        held.keep_check(job, "format.magic", b"12345")
    held.running(job, 1, 2)
    with pytest.raises(JobTooLarge):
        held.done(job, b"12345", 3)
    assert held.get(job).state is JobState.RUNNING


def test_more_jobs_and_checks_than_are_kept_are_refused(held, monkeypatch):
    monkeypatch.setattr(jobs_module, "JOBS_OPEN_MAX", 2)
    monkeypatch.setattr(jobs_module, "JOB_CHECKS_MAX", 1)
    job = brought_to(held, JobState.RUNNING)
    held.keep_check(job, "format.magic", b"")
    held.keep_check(job, "format.magic", b"")
    with pytest.raises(TooManyJobs):
        held.keep_check(job, "run.load", b"")
    brought_to(held, JobState.CANCELLED)
    queue(held, "second")
    with pytest.raises(TooManyJobs) as caught:
        queue(held, "third")
    assert caught.value.values == {"what": "jobs", "most": 2}
