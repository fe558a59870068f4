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
STAND = ("format", "onnx", "safety", "run.batch", "run.hostile")  # the results by themselves

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
                assert stood == [one for one in before if one.startswith(STAND)]
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


# --- the queue ----------------------------------------------------------------------------------

SOON_SECONDS = 20.0  # on a machine that does other things as well
CANCEL_SECONDS = 5.0  # the promise is two


class Door:
    """Something a model does at its first run: it says that it began, and waits."""

    def __init__(self):
        self.began, self.may_go = threading.Event(), threading.Event()

    def __call__(self, made):
        self.began.set()
        assert self.may_go.wait(SOON_SECONDS)
        return made


class Watch:
    """Jobs as they end, in order."""

    def __init__(self):
        self.ended = []
        self._changed = threading.Condition()

    def __call__(self, view):
        with self._changed:
            self.ended.append((view.row.job, view.row.state))
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ended) >= count, SOON_SECONDS)
        return self.ended


@dataclass
class Shop:
    """An Account with one listed model, which runs in this process, through a door."""

    person: object
    published: object

    def asking(self, **more):
        known = {"suite": "quick", "level_most": 2, "cores": 1, **more}
        return CertifyRequest(
            artifact=self.published.artifact, release=self.published.release, **known
        )

    @contextmanager
    def open(self, door=dict, *, is_to_go_on=False):
        """Open the Account; what is queued at the end is given up, unless it is to go on."""
        with open_with(self.person, in_process(SAMPLE, door)) as engine:
            yield engine
            if not is_to_go_on:
                for view in engine.certifying.jobs():
                    if not view.row.state.is_finished:
                        engine.certifying.cancel(view.row.job)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    base = tmp_path_factory.mktemp("shop")
    person = seller(base)
    with open_with(person, in_process(SAMPLE)) as engine:
        draft = draft_with(engine, base, SAMPLE, "queued", untested=True)
        return Shop(person, publish_draft(engine, draft.draft_id))


@contextmanager
def working(engine, **options):
    """Work off the jobs of an engine on the thread of a runner, until the block ends."""
    watch = Watch()
    runner = JobRunner(engine, on_done=watch, **options)
    recovered = runner.start()
    try:
        yield runner, watch, recovered
    finally:
        runner.close()


def test_what_a_person_waits_for_goes_between_two_checks_of_what_runs_by_itself(shop):
    door = Door()
    with shop.open(door) as engine, working(engine) as (runner, watch, _):
        slow = engine.certifying.queue(shop.asking(), now=False).row.job
        runner.wake()
        assert door.began.wait(SOON_SECONDS)
        urgent = engine.certifying.queue(shop.asking(level_most=1), now=True).row.job
        door.may_go.set()
        ended = watch.wait_for(3)
        assert ended == [
            (slow, JobState.INTERRUPTED),
            (urgent, JobState.DONE),
            (slow, JobState.DONE),
        ]


def test_of_two_jobs_that_run_by_themselves_the_older_is_finished_first(shop):
    door = Door()
    with shop.open(door) as engine, working(engine) as (runner, watch, _):
        first = engine.certifying.queue(shop.asking(), now=False).row.job
        runner.wake()
        assert door.began.wait(SOON_SECONDS)
        second = engine.certifying.queue(shop.asking(level_most=1), now=False).row.job
        door.may_go.set()
        assert watch.wait_for(2) == [(first, JobState.DONE), (second, JobState.DONE)]


def test_the_same_thing_is_queued_once_until_it_is_finished(shop):
    with shop.open() as engine:
        certifying = engine.certifying
        first = certifying.queue(shop.asking(), now=False).row.job
        assert certifying.queue(shop.asking(), now=False).row.job == first
        assert certifying.queue(shop.asking(), now=True).row.job == first
        certifying.run(first, Control())
        assert certifying.queue(shop.asking(), now=False, again=False).row.job == first
        assert certifying.queue(shop.asking(), now=False).row.job != first


def test_a_person_who_asks_for_what_waits_already_has_it_go_first(shop):
    with shop.open() as engine:
        certifying = engine.certifying
        other = certifying.queue(shop.asking(level_most=1), now=False).row.job
        wanted = certifying.queue(shop.asking(), now=False).row.job
        assert certifying.next_job().row.job == other
        certifying.queue(shop.asking(), now=True)
        assert certifying.next_job().row.job == wanted


def test_a_paused_job_stands_and_goes_on(shop):
    door, stands = Door(), threading.Event()

    def progress(*_said):
        if door.may_go.is_set():
            stands.set()  # it says how far it is, and then it waits

    with shop.open(door) as engine, working(engine, on_progress=progress) as (runner, watch, _):
        job = engine.certifying.queue(shop.asking(), now=False).row.job
        runner.wake()
        assert door.began.wait(SOON_SECONDS)
        assert runner.pause(job, is_paused=True).row.is_paused
        door.may_go.set()
        assert stands.wait(SOON_SECONDS)
        stood = engine.certifying.job(job).row
        assert (stood.state, stood.is_paused) == (JobState.RUNNING, True)
        assert watch.ended == []
        runner.pause(job, is_paused=False)
        assert watch.wait_for(1) == [(job, JobState.DONE)]


def test_a_paused_job_does_not_hold_up_what_a_person_waits_for(shop):
    door = Door()
    with shop.open(door) as engine, working(engine) as (runner, watch, _):
        slow = engine.certifying.queue(shop.asking(), now=False).row.job
        runner.wake()
        assert door.began.wait(SOON_SECONDS)
        runner.pause(slow, is_paused=True)
        door.may_go.set()
        urgent = engine.certifying.queue(shop.asking(level_most=1), now=True).row.job
        runner.wake()
        assert watch.wait_for(2) == [(slow, JobState.INTERRUPTED), (urgent, JobState.DONE)]
        waiting = engine.certifying.job(slow).row
        assert (waiting.state, waiting.is_paused) == (JobState.QUEUED, True)
        runner.pause(slow, is_paused=False)
        assert watch.wait_for(3)[-1] == (slow, JobState.DONE)


def test_closing_interrupts_and_the_next_start_goes_on(shop):
    door = Door()
    with shop.open(door, is_to_go_on=True) as engine:
        with working(engine) as (runner, watch, _):
            job = engine.certifying.queue(shop.asking(), now=False).row.job
            runner.wake()
            assert door.began.wait(SOON_SECONDS)
            runner.interrupt()
            runner._closing.set()  # as ``close`` does first; the door would hold it up
            door.may_go.set()
        assert watch.ended == [(job, JobState.INTERRUPTED)]
        names = kept(engine, job)
        assert "format.hashes" in names
        assert "run.golden" not in names
    with shop.open() as engine, working(engine) as (_, watch, recovered):
        assert recovered == 1
        assert watch.wait_for(1) == [(job, JobState.DONE)]


def test_a_job_that_fails_is_kept_with_its_error_and_the_queue_goes_on(shop):
    with shop.open() as engine, working(engine) as (runner, watch, _):
        bad = engine.certifying.queue(shop.asking(reproduces=bytes(32)), now=False).row.job
        good = engine.certifying.queue(shop.asking(level_most=1), now=False).row.job
        runner.wake()
        assert watch.wait_for(2) == [(bad, JobState.FAILED), (good, JobState.DONE)]
        assert engine.certifying.job(bad).row.error_code == "certify.unknown_certificate"


def test_a_job_whose_file_cannot_be_written_does_not_end_the_queue(shop, monkeypatch):
    def no_room(*_args, **_more):
        raise OSError(28, "No space left on device")

    with shop.open() as engine, working(engine) as (runner, watch, _):
        with monkeypatch.context() as patched:
            patched.setattr("tempfile.mkdtemp", no_room)
            bad = engine.certifying.queue(shop.asking(), now=False).row.job
            runner.wake()
            assert watch.wait_for(1) == [(bad, JobState.FAILED)]
        assert engine.certifying.job(bad).row.error_code == "store.full"
        good = engine.certifying.queue(shop.asking(), now=False).row.job
        runner.wake()
        assert watch.wait_for(2)[-1] == (good, JobState.DONE)


def test_finish_works_off_what_is_queued_and_returns(shop):
    with shop.open() as engine:
        watch = Watch()
        jobs = [
            engine.certifying.queue(shop.asking(level_most=level), now=False).row.job
            for level in (1, 2)
        ]
        JobRunner(engine, on_done=watch).finish()
        assert watch.ended == [(job, JobState.DONE) for job in jobs]


def test_a_better_result_is_signed_by_itself_while_the_account_is_unlocked(shop):
    with shop.open() as engine:
        engine.certifying.queue(shop.asking(), now=False)
        JobRunner(engine, is_signing=True).finish()
        (row,) = engine.certificates.of_release(shop.published.release).rows
        assert row.level == 2
        engine.certifying.queue(shop.asking(nice=5), now=False)
        JobRunner(engine, is_signing=True).finish()
        assert len(engine.certificates.of_release(shop.published.release).rows) == 1


# --- ended by a person --------------------------------------------------------------------------


def test_a_running_worker_is_cancelled_at_once(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(endless_loop())
    person, runs = seller(tmp_path), threading.Event()

    def progress(_job, stage, *_said):
        if stage == "run":  # it runs, and would for ever
            runs.set()

    with open_with(person) as engine:
        published = publish(engine, file)
        with working(engine, on_progress=progress) as (runner, watch, _):
            request = CertifyRequest(artifact=published.artifact, suite="quick", level_most=2)
            job = engine.certifying.queue(request, now=True).row.job
            runner.wake()
            assert runs.wait(SOON_SECONDS)
            began = time.monotonic()
            runner.cancel(job)
            assert watch.wait_for(1) == [(job, JobState.CANCELLED)]
            assert time.monotonic() - began < CANCEL_SECONDS
        assert psutil.Process().children(recursive=True) == []
        assert engine.certifying.job(job).tested is None
        work = person.home.folder / "store" / "work"
        assert list(work.iterdir()) == []


def test_a_cancelled_job_leaves_no_result_and_may_be_asked_for_again(shop):
    with shop.open() as engine:
        control = Control(lambda *said: said[0] == "run.golden" and control.cancel())
        job = engine.certifying.queue(shop.asking(), now=True).row.job
        with pytest.raises(Cancelled):
            engine.certifying.run(job, control)
        view = engine.certifying.job(job)
        assert (view.row.state, view.tested) == (JobState.CANCELLED, None)
        again = engine.certifying.queue(shop.asking(), now=True).row.job
        assert again != job
        assert engine.certifying.run(again, Control()).row.state is JobState.DONE


# --- a machine that sleeps, and a disk that is full ---------------------------------------------


def test_a_laptop_that_slept_in_a_block_times_it_again_and_says_so(shop, monkeypatch):
    bench = FakeWorker.bench
    naps = iter([3 * 60 * 60 * 1000])

    def bench_and_sleep(worker, *given):
        found = bench(worker, *given)
        shop.person.clock.advance(next(naps, 0))
        return found

    monkeypatch.setattr(FakeWorker, "bench", bench_and_sleep)
    with shop.open() as engine:
        view = certify(engine, shop.published.artifact, shop.published.release)
        latency = next(one for one in view.tested.measured.checks if one.id == "measure.latency")
        assert (latency.result, latency.reason) == ("pass", "slept_in_block")
        assert latency.values == {"count": 1}
        assert view.row.state is JobState.DONE
        assert all(len(row.blocks) == 3 for row in view.tested.measured.perf)
        measured = view.tested.measured
        assert measured.finished_ms - measured.started_ms >= 3 * 60 * 60 * 1000


def test_a_full_disk_is_noted_with_the_job_and_nothing_is_half_written(shop, monkeypatch):
    def no_room(small, _raw):
        raise StoreFull(path=small._root)

    with shop.open() as engine:
        job = engine.certifying.queue(shop.asking(), now=True).row.job
        with monkeypatch.context() as patched:
            patched.setattr(SmallStore, "put", no_room)
            with pytest.raises(StoreFull) as caught:
                engine.certifying.run(job, Control())
        said(caught.value)
        view = engine.certifying.job(job)
        assert (view.row.state, view.row.error_code) == (JobState.FAILED, "store.full")
        assert view.tested is None
        assert list((shop.person.home.folder / "store" / "work").iterdir()) == []
        check_whole(engine)
        again = certify(engine, shop.published.artifact, shop.published.release, level_most=2)
        assert again.row.state is JobState.DONE
        assert engine.content.small.get(again.tested.golden) is not None


WITH_A_LIMIT = """
import json, resource, sys
from pathlib import Path
from hanse.core.errors import EnvironmentFault
from hanse.core.model.control import Control
from tests.fakes.certifier import request_of
from tests.fakes.publisher import open_engine
from tests.fakes.shop import check_whole
from tests.fakes.trial_shop import in_process

wish = json.loads(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
wal = Path(wish["data"]) / "hanse.db-wal"
told = {}
with open_engine(wish, in_process("diagnosis")) as engine:
    certifying = engine.certifying
    job = certifying.queue(request_of(wish), now=True).row.job
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 40_000, hard))
    try:
        certifying.run(job, Control())
    except EnvironmentFault as error:
        told["code"] = error.code
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    view = certifying.job(job)
    told["state"], told["has_result"] = view.row.state.value, view.tested is not None
    check_whole(engine)
    if view.row.state.value == "FAILED":
        job = certifying.queue(request_of(wish), now=True).row.job
    told["after"] = certifying.run(job, Control()).row.state.value
    check_whole(engine)
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_database_without_room_stops_a_job_and_it_goes_on_when_there_is_some(shop):
    wish = {
        "data": str(shop.person.home.folder),
        "config": str(shop.person.home.config),
        "title": "full",
        "artifact": shop.published.artifact.hex(),
        "release": shop.published.release.hex(),
        "level_most": "2",
        "number": "0",
    }
    ran = subprocess.run(
        [sys.executable, "-c", WITH_A_LIMIT, json.dumps(wish)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["code"], told["has_result"]) == ("store.full", False)
    assert told["state"] in ("STAGING", "RUNNING", "FAILED")
    assert told["after"] == "DONE"
