"""The client's side of the pipes, against a stand-in that does everything wrong."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from hanse.core.certify import asking
from hanse.core.certify.client import WorkerClient
from hanse.core.limits import WORKER_STDERR_SIZE_BYTES_MAX
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import NoSandbox, Stage, WorkerFailed, WorkerLimits

STAND_IN = Path(__file__).with_name("stand_in.py")


def start(how, tmp_path, wall_seconds=20.0):
    runner = WorkerClient((sys.executable, "-I", str(STAND_IN), how))
    limits = WorkerLimits(memory_bytes=2**30, cpu_seconds=20, wall_seconds=wall_seconds)
    return runner.start(Stage(tmp_path, tmp_path), limits, "inspect")


def fails(worker, control=None):
    with pytest.raises(WorkerFailed) as failed:
        worker.inspect("m.onnx", "onnx", control or Control())
    assert_reaped(worker)
    return failed.value


def cancels_when_asked():
    """Cancel at the second report: the first comes before the question is sent."""
    seen = []

    def report(*_):
        seen.append(1)
        if len(seen) == 2:
            control.cancel()

    control = Control(report)
    return control


def assert_reaped(worker):
    assert worker._child._ending is not None
    assert not worker._reader.is_alive()
    assert not worker._child._drain.is_alive()


def test_a_sound_answer_is_taken_and_the_worker_can_be_asked_again(tmp_path):
    worker = start("sound", tmp_path)
    for _ in range(2):
        assert worker.inspect("m.onnx", "onnx", Control()).format == "onnx"
    usage = worker.close()
    assert usage.peak_rss_bytes > 2**20
    assert usage.wall_ms > 0
    assert worker.close() == usage
    assert_reaped(worker)


@pytest.mark.parametrize(
    "how",
    [
        *("long_frame", "wrong_number", "wrong_file", "wrong_format", "wrong_sizes"),
        *("too_many_words", "ready_again", "made_instead", "floods_answers"),
    ],
)
def test_what_is_not_the_answer_to_the_question_is_a_broken_protocol(how, tmp_path):
    assert fails(start(how, tmp_path)).kind == "protocol"


@pytest.mark.parametrize(
    "how", ["not_messagepack", "unknown_frame", "unknown_field", "first_an_answer"]
)
def test_what_is_not_ready_is_a_broken_protocol(how, tmp_path):
    with pytest.raises(WorkerFailed) as failed:
        start(how, tmp_path)
    assert (failed.value.kind, failed.value.check) == ("protocol", "start")


def test_an_end_without_ready_says_its_last_words(tmp_path):
    with pytest.raises(WorkerFailed, match="exit status 3; no library") as failed:
        start("ends_at_start", tmp_path)
    assert failed.value.kind == "crash"


def test_a_layer_that_cannot_be_put_on_is_named_and_nothing_is_run(tmp_path):
    with pytest.raises(NoSandbox) as missing:
        start("cannot_lock", tmp_path)
    assert missing.value.values == {"layer": "landlock", "reason": "this kernel has none"}


def test_its_status_without_its_words_is_a_crash(tmp_path):
    with pytest.raises(WorkerFailed, match="exit status 70"):
        start("cannot_lock_wordless", tmp_path)


def test_a_program_that_is_not_there_is_named(tmp_path):
    runner = WorkerClient(("/nowhere/python",))
    with pytest.raises(WorkerFailed) as failed:
        runner.start(Stage(tmp_path), WorkerLimits(2**30, 1, 1.0), "inspect")
    assert (failed.value.kind, failed.value.check) == ("crash", "start")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("ends", "exit status 5"),
        ("ends_in_frame", "exit status 0"),
        ("segmentation_fault", "SIGSEGV"),
    ],
)
def test_an_end_without_an_answer_is_a_crash(how, said, tmp_path):
    failed = fails(start(how, tmp_path))
    assert (failed.kind, failed.check) == ("crash", "inspect")
    assert said in failed.detail


@pytest.mark.parametrize("how", ["too_much_time", "claims_memory", "aborts_for_memory"])
def test_taking_too_much_is_a_limit(how, tmp_path):
    assert fails(start(how, tmp_path)).kind == "limit"


@pytest.mark.parametrize("how", ["silent", "deaf"])
def test_silence_ends_at_the_wall(how, tmp_path):
    started = time.monotonic()
    assert fails(start(how, tmp_path, wall_seconds=0.3)).kind == "timeout"
    assert time.monotonic() - started < 10


def test_silence_before_ready_ends_too(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "HELLO_SECONDS", 0.3)
    with pytest.raises(WorkerFailed) as failed:
        start("silent_at_start", tmp_path)
    assert (failed.value.kind, failed.value.check) == ("timeout", "start")


def test_a_flood_of_errors_is_cut_and_ends_it(tmp_path):
    worker = start("floods_errors", tmp_path)
    assert fails(worker).kind == "protocol"
    assert len(worker._child.errors) == WORKER_STDERR_SIZE_BYTES_MAX


def test_what_it_started_ends_with_it(tmp_path):
    worker = start("with_a_child", tmp_path, wall_seconds=1.0)
    number = worker._child._popen.pid
    seen = []

    def look(*_):
        seen.extend(psutil.Process(number).children())

    assert fails(worker, Control(look)).kind == "timeout"
    assert seen
    _, alive = psutil.wait_procs(set(seen), 5)
    assert not alive


def test_a_cancelled_question_ends_the_worker_and_says_so(tmp_path, monkeypatch):
    control = cancels_when_asked()
    worker = start("silent", tmp_path)
    monkeypatch.setattr(asking, "CANCEL_SECONDS", 0.2)
    with pytest.raises(Cancelled):
        worker.inspect("m.onnx", "onnx", control)
    assert_reaped(worker)


def test_what_was_cancelled_before_is_not_asked_at_all(tmp_path):
    worker = start("sound", tmp_path)
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        worker.inspect("m.onnx", "onnx", control)
    assert worker.inspect("m.onnx", "onnx", Control()).format == "onnx"
    worker.close()


def test_time_spent_paused_does_not_count(tmp_path):
    """The Worker never answers; pausing for longer than the wall must not end it by itself."""
    worker = start("silent", tmp_path, wall_seconds=0.8)
    times = []

    def report(*_):
        times.append(time.monotonic())
        if len(times) == 2:
            control.pause()
            threading.Timer(1.2, control.go_on).start()

    control = Control(report)
    assert fails(worker, control).kind == "timeout"
    assert times[2] - times[1] > 1.1
    assert len(times) > 3


def test_a_kill_from_another_thread_is_no_crash(tmp_path):
    worker = start("silent", tmp_path)
    control = Control(lambda *_: threading.Thread(target=worker.kill).start())
    assert fails(worker, control).kind == "cancelled"


def test_a_worker_that_has_ended_is_not_asked(tmp_path):
    worker = start("sound", tmp_path)
    worker.close()
    assert fails(worker).kind == "protocol"
    worker.kill()
