"""Certifying that is killed, stopped or finds no room: it goes on where it was, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from hanse.app.workers import JobRunner
from hanse.core.artifacts.small import SmallStore
from hanse.core.engine.certify_target import CertifyRequest
from hanse.core.errors import StoreFull
from hanse.core.ledger.codec import decode, encode
from hanse.core.market.samples import sample_model
from hanse.core.model.certificate import CheckResult
from hanse.core.model.control import Cancelled, Control
from hanse.core.store.jobs import JobState
from tests.fakes.people import START_MS
from tests.fakes.running import FakeWorker
from tests.fakes.shop import check_whole, publish, said, seller
from tests.fakes.testers import certify, draft_with, open_with, publish_draft
from tests.fakes.trial_shop import in_process
from tests.hostile.onnx_models import endless_loop

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX: fork, kill -9")

ROOT = Path(__file__).parents[2]
SAMPLE = "diagnosis"
DAY_MS = 24 * 60 * 60 * 1000
KEPT = "kept before"
STRUCTURE = 10  # checks of the first Level, whose results stand by themselves

# Where it dies: the Level asked for, the state found, how many checks were kept.
POINTS = {
    "stage 0": (3, JobState.STAGING, 0),
    "certify 5": (2, JobState.RUNNING, 5),
    "run.golden 3": (2, JobState.RUNNING, 11),
    "det.session 0": (3, JobState.RUNNING, 15),
    "after result": (1, JobState.DONE, 0),
    "before commit": (1, JobState.DONE, 0),
    "after commit": (1, JobState.DONE, 0),
}


@dataclass
class Killed:
    """An Account in which certifying was killed at every point, and what was found after each."""

    person: object
    published: object
    jobs: dict[str, int]
    found: dict[str, tuple[JobState, list[str], int]]
    workers: dict[str, list]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    base = tmp_path_factory.mktemp("killed")
    person = seller(base)
    with open_with(person, in_process(SAMPLE)) as engine:
        rows = sample_model(SAMPLE).rows()
        draft = draft_with(engine, base, SAMPLE, "killed", rows=rows, untested=True)
        published = publish_draft(engine, draft.draft_id)
    result = Killed(person, published, {}, {}, {})
    program = [sys.executable, "-m", "tests.fakes.certifier"]
    with subprocess.Popen(
        program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for number, (point, (level, _, _)) in enumerate(POINTS.items()):
            wish = {
                "data": str(person.home.folder),
                "config": str(person.home.config),
                "title": point,
                "artifact": published.artifact.hex(),
                "release": published.release.hex(),
                "level_most": str(level),
                "number": str(number),
                "point": point,
                "workers": str(base / f"{number}.workers"),
            }
            process.stdin.write(json.dumps(wish) + "\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) == -signal.SIGKILL, point
            result.workers[point] = json.loads(Path(wish["workers"]).read_text())
            with person.open(unlocked=False) as engine:
                row = engine.certifying.jobs()[0].row
                result.jobs[point] = row.job
                result.found[point] = (row.state, kept(engine, row.job), certificates(engine))
        process.stdin.close()
        process.wait(30)
    return result


def kept(engine, job):
    with engine.context.store.reads() as reads:
        return list(reads.jobs.finished_checks(job))


def certificates(engine):
    with engine.context.store.reads() as reads:
        rows = reads.certificates.by_identity(engine.context.identity)
        return len(rows)


def found_again(worker):
    """Return the very process that was seen, unless it ended."""
    pid, began = worker
    try:
        process = psutil.Process(pid)
        return process if process.create_time() == began else None
    except psutil.NoSuchProcess:
        return None


def test_each_finished_check_is_kept_and_a_result_before_it_is_signed(killed):
    for point, (_, state, checks) in POINTS.items():
        was, names, signed = killed.found[point]
        assert (point, was, len(names)) == (point, state, checks)
        assert signed == (1 if point == "after commit" else 0)


def test_no_worker_outlives_the_program_that_was_killed(killed):
    seen = [one for several in killed.workers.values() for one in several]
    assert seen
    assert killed.workers["run.golden 3"]
    _, alive = psutil.wait_procs([one for one in map(found_again, seen) if one], timeout=20)
    assert not alive


def test_they_go_on_after_a_restart_and_nothing_is_signed_twice(killed):
    runner = in_process(SAMPLE)
    with open_with(killed.person, runner) as engine:
        mark_kept(engine)
        open_jobs = {
            job for point, job in killed.jobs.items() if POINTS[point][1] is not JobState.DONE
        }
        assert engine.certifying.recover() == len(open_jobs)
        states = {engine.certifying.job(job).row.state for job in open_jobs}
        assert states == {JobState.QUEUED}
        for point, (_, _, checks) in POINTS.items():
            job = killed.jobs[point]
            if job in open_jobs:
                before = killed.found[point][1]
                view = engine.certifying.run(job, Control())
                results = {one.id: one for one in view.tested.measured.checks}
                stood = [name for name, one in results.items() if one.detail == KEPT]
                # What stands by itself is not tried again; what was run or measured is.
                assert stood == [one for one in before[:STRUCTURE] if results[one].result == "pass"]
                assert len(results) >= 21
                assert len(before) == checks
            view = engine.certifying.job(job)
            assert view.row.state is JobState.DONE
            assert view.tested.measured.outcome == "PASSED"
            assert kept(engine, job) == []
        assert engine.certifying.next_job() is None
        assert certificates(engine) == 1
        # What was measured before the end is signed now, without another run.
        started = len(runner.started)
        engine.certifying.sign(engine.certifying.preview(killed.jobs["before commit"]))
        assert len(runner.started) == started
        assert certificates(engine) == 2
        assert engine.certifying.sign_if_better(killed.jobs["after commit"]) is None
        check_whole(engine)


def mark_kept(engine):
    """Write into every kept check that it was kept."""
    with engine.context.store.unit_of_work() as uow:
        for row in uow.jobs.page():
            for name, raw in uow.jobs.finished_checks(row.job).items():
                result = replace(decode(raw, CheckResult), detail=KEPT)
                uow.jobs.keep_check(row.job, name, encode(result))
        uow.commit()


def test_a_sweep_removes_the_folders_the_killed_programs_left(killed):
    with killed.person.open() as engine:
        work = killed.person.home.folder / "store" / "work"
        assert list(work.iterdir())
        killed.person.clock.advance(int(time.time() * 1000) + 2 * DAY_MS - START_MS)
        engine.storing.sweep()
        assert list(work.iterdir()) == []
        assert all(one.is_whole for one in engine.storing.heal(Control()))
