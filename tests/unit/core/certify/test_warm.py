"""A child that waits for a job: taken once, replaced, and ended with whoever keeps it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from hanse.core.certify import client
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.inspecting import run_limits
from hanse.core.certify.warm import WarmRunner
from hanse.core.model.control import Control
from hanse.core.model.running import Stage, WorkerFailed
from tests.fakes import models

LIMITS = run_limits(2**20, threads=1, cpu_seconds=60, wall_seconds=30.0)
STAND_IN = Path(__file__).with_name("stand_in.py")


def own(how="sound"):
    """Return a runner of Workers that start at once and answer ``inspect``."""
    return WorkerClient((sys.executable, "-I", str(STAND_IN), how))


@pytest.fixture
def warm():
    runner = WarmRunner(own())
    yield runner
    runner.close()


def waiting(runner):
    return runner._waiting


def number_of(worker):
    return worker._child._popen.pid


def test_nothing_is_begun_before_it_is_wanted(warm):
    assert waiting(warm) is None


def test_the_one_that_waits_gets_the_job_and_another_waits_then(warm, tmp_path):
    warm.warm_up()
    first = waiting(warm)
    worker = warm.start(Stage(tmp_path), LIMITS, "inspect")
    assert worker._child is first
    assert waiting(warm) is not first
    assert waiting(warm).is_alive
    assert worker.inspect("m.onnx", "onnx", Control()).format == "onnx"
    worker.close()


def test_no_worker_is_used_for_two_jobs(warm, tmp_path):
    numbers = []
    for profile in ("inspect", "run", "inspect", "convert"):
        worker = warm.start(Stage(tmp_path), LIMITS, profile)
        numbers.append(number_of(worker))
        worker.close()
    assert len(set(numbers)) == 4


def test_warming_up_twice_begins_one(warm):
    warm.warm_up()
    first = waiting(warm)
    warm.warm_up()
    assert waiting(warm) is first


def test_the_next_waits_for_the_end_of_one_that_is_measured(warm, tmp_path):
    warm.warm_up()
    worker = warm.start(Stage(tmp_path), LIMITS, "run")
    assert waiting(warm) is None
    worker.close()
    assert waiting(warm).is_alive


def test_one_that_died_while_it_waited_is_replaced(warm, tmp_path):
    warm.warm_up()
    dead = waiting(warm)
    dead.kill()
    psutil.wait_procs([psutil.Process(dead._popen.pid)], 0)
    dead._reap()
    worker = warm.start(Stage(tmp_path), LIMITS, "inspect")
    assert worker._child is not dead
    assert worker.inspect("m.onnx", "onnx", Control()).format == "onnx"
    worker.close()


def test_one_that_dies_when_it_is_greeted_is_replaced(tmp_path, monkeypatch):
    runner = WarmRunner(own())
    monkeypatch.setattr(runner._runner, "_command", own("ends_at_start")._command)
    runner.warm_up()
    monkeypatch.undo()
    worker = runner.start(Stage(tmp_path), LIMITS, "inspect")
    assert worker.inspect("m.onnx", "onnx", Control()).format == "onnx"
    worker.close()
    runner.close()


def test_what_cannot_be_started_is_said_by_the_job(tmp_path):
    runner = WarmRunner(WorkerClient(("/nowhere/python",)))
    runner.warm_up()
    assert waiting(runner) is None
    with pytest.raises(WorkerFailed, match="start"):
        runner.start(Stage(tmp_path), LIMITS, "inspect")
    runner.close()


def test_closing_ends_the_one_that_waits_and_begins_no_other(warm, tmp_path):
    warm.warm_up()
    process = psutil.Process(waiting(warm)._popen.pid)
    warm.close()
    warm.close()
    assert not process.is_running()
    worker = warm.start(Stage(tmp_path), LIMITS, "inspect")
    assert waiting(warm) is None
    worker.close()


def test_inside_an_outer_layer_nothing_can_wait(monkeypatch):
    monkeypatch.setattr(client, "outer_command", lambda command, *_: (command, ("bwrap",)))
    runner = WarmRunner(WorkerClient())
    runner.warm_up()
    assert waiting(runner) is None
    runner.close()


def test_a_conversion_by_another_interpreter_does_not_take_the_one_that_waits(warm, tmp_path):
    warm.warm_up()
    first = waiting(warm)
    warm.start(Stage(tmp_path), LIMITS, "convert", python=Path(sys.executable))
    assert waiting(warm) is first


def test_time_spent_waiting_is_nobodys(warm, tmp_path):
    warm.warm_up()
    waiting(warm)._started -= 1000
    worker = warm.start(Stage(tmp_path), LIMITS, "inspect")
    assert worker.close().wall_ms < 100_000


def test_a_real_one_that_waited_is_locked_and_runs_a_model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(models.doubled().SerializeToString())
    runner = WarmRunner(WorkerClient())
    runner.warm_up()
    child = waiting(runner)
    worker = runner.start(Stage(tmp_path), LIMITS, "run")
    if child is not None:  # where there is an outer layer, nothing waits
        assert worker._child is child
    assert worker.grade in ("full", "limits")
    worker.load("m.onnx", "onnx", 1, Control())
    rows = np.ones((2, 3), np.float32)
    assert worker.run({"x": rows}, Control()).outputs["y"].tolist() == [[2, 2, 2]] * 2
    runner.close()
    worker.close()


def test_one_that_waits_ends_with_the_program():
    program = (
        "import sys\n"
        "from hanse.core.certify.client import WorkerClient\n"
        "from hanse.core.certify.warm import WarmRunner\n"
        f"runner = WarmRunner(WorkerClient((sys.executable, '-I', {str(STAND_IN)!r}, 'sound')))\n"
        "runner.warm_up()\n"
        "print(runner._waiting._popen.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], 10)
    assert not alive
