"""A Worker that lies about what it ran is ended, and nothing it said is believed."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hanse.core.certify.client import WorkerClient
from hanse.core.model.control import Control
from hanse.core.model.running import Block, Stage, WorkerFailed, WorkerLimits
from tests.hostile import lying_worker

LIAR = Path(__file__).with_name("lying_worker.py")
X = np.ones((1, 3), np.float32)
ROWS = np.ones((5, 3), np.float32)
BLOCK = Block(runs_least=20, ns_least=0, ns_most=10**12, runs_most=100)


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(how, wall_seconds=20.0):
        limits = WorkerLimits(memory_bytes=2**30, cpu_seconds=20, wall_seconds=wall_seconds)
        runner = WorkerClient((sys.executable, "-I", str(LIAR), how))
        started.append(runner.start(Stage(tmp_path), limits, "run"))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture
def loaded(start):
    def begin(how):
        worker = start(how)
        worker.load("m.onnx", "onnx", 1, Control())
        return worker

    return begin


def breaks(worker, kind, ask):
    """See that the answer is not believed and that nobody asks this Worker again."""
    with pytest.raises(WorkerFailed) as failed:
        ask()
    assert failed.value.kind == kind
    assert worker._child._ending is not None
    with pytest.raises(WorkerFailed, match="has ended"):
        worker.run({"x": X}, Control())
    return failed.value


def test_the_liar_tells_the_truth_when_it_is_asked_to(loaded):
    worker = loaded("sound")
    assert worker.run({"x": X}, Control()).outputs["y"].tolist() == [[0, 0, 0]]
    assert worker.evaluate({"x": ROWS}, 2, Control()).outputs["y"].shape == (5, 3)
    assert worker.bench({"x": X}, BLOCK, Control()).ns == (5,) * 20
    assert worker.read_images(["a", "b"], (2, 3), 3, Control()).shape == (2, 2, 3, 3)
    worker.put("m.onnx", b"abc", Control())


def test_a_tensor_may_hold_what_is_no_number(loaded):
    assert np.isnan(loaded("run_nan").run({"x": X}, Control()).outputs["y"]).all()


@pytest.mark.parametrize("how", ["ready_without_lock", "ready_with_unknown_grade"])
def test_a_worker_without_a_lock_is_not_taken(how, start):
    with pytest.raises(WorkerFailed) as failed:
        start(how)
    assert (failed.value.kind, failed.value.check) == ("protocol", "start")


@pytest.mark.parametrize(
    "how",
    [
        *("load_two_names", "load_odd_name", "load_negative_dimension", "load_many_dimensions"),
        *("load_too_long", "load_in_no_time", "load_other_optimisation", "load_other_runtime"),
    ],
)
def test_a_signature_that_cannot_be_is_not_believed(how, start):
    worker = start(how)
    breaks(worker, "protocol", lambda: worker.load("m.onnx", "onnx", 1, Control()))


@pytest.mark.parametrize(
    "how",
    [
        *lying_worker.OUTPUTS,
        *("run_long_frame", "run_ready_again", "run_unknown", "run_part"),
        *("run_in_no_time", "run_too_long", "run_floods_errors"),
    ],
)
def test_outputs_that_cannot_be_are_not_believed(how, loaded):
    worker = loaded(how)
    breaks(worker, "protocol", lambda: worker.run({"x": X}, Control()))


def test_an_end_within_a_frame_is_a_crash(loaded):
    worker = loaded("run_ends_in_frame")
    breaks(worker, "crash", lambda: worker.run({"x": X}, Control()))


def test_what_it_says_in_words_is_cleaned(loaded):
    with pytest.raises(WorkerFailed) as failed:
        loaded("run_speaks_in_colours").run({"x": X}, Control())
    assert (failed.value.kind, failed.value.detail) == (
        "refused",
        "\N{REPLACEMENT CHARACTER}[2Jno way",
    )


@pytest.mark.parametrize(
    "how",
    [
        *("rows_missing", "rows_too_many", "rows_miscounted", "rows_none", "rows_of_two_widths"),
        *("rows_of_another", "rows_for_ever", "rows_again_at_the_end", "rows_too_long"),
    ],
)
def test_rows_that_do_not_add_up_are_not_believed(how, loaded):
    worker = loaded(how)
    breaks(worker, "protocol", lambda: worker.evaluate({"x": ROWS}, 2, Control()))


@pytest.mark.parametrize(
    "how",
    [*lying_worker.TIMES, "bench_warm_for_ever", "bench_much_processor", "bench_negative_memory"],
)
def test_times_that_cannot_be_are_not_believed(how, loaded):
    worker = loaded(how)
    breaks(worker, "protocol", lambda: worker.bench({"x": X}, BLOCK, Control()))


@pytest.mark.parametrize(
    "how",
    [
        *("pixels_fewer", "pixels_other_size", "pixels_other_channels"),
        *("pixels_flat", "pixels_floats"),
    ],
)
def test_pixels_that_were_not_asked_for_are_not_believed(how, start):
    worker = start(how)
    breaks(worker, "protocol", lambda: worker.read_images(["a.png"], (2, 3), 3, Control()))


def test_a_part_of_a_model_that_was_not_sent_is_not_believed(start):
    worker = start("put_more")
    breaks(worker, "protocol", lambda: worker.put("m.onnx", b"abc", Control()))


def test_silence_ends_at_the_wall(loaded):
    worker = loaded("silent")
    worker._limits = replace(worker._limits, wall_seconds=0.3)  # the load may take its time
    breaks(worker, "timeout", lambda: worker.run({"x": X}, Control()))


@pytest.mark.parametrize("how", ["deaf", "sips"])
def test_one_that_hardly_reads_does_not_hold_us(how, start):
    worker = start(how, wall_seconds=0.5)
    began = time.monotonic()
    breaks(worker, "timeout", lambda: worker.put("m.onnx", bytes(2**20), Control()))
    assert time.monotonic() - began < 20
