"""What normalising wins, and that it never loses: p10 of both models, in turns, in one run."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.bench.figures import report
from tests.fakes.converting import convert_here, old_style_model, save

ROUNDS = 15
BLOCK_SECONDS = 0.05
GOAL = "<= 1.02"


def session_of(path):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def p10(session, inputs, calls):
    times = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        session.run(None, inputs)
        times.append(time.perf_counter_ns() - begin)
    return statistics.quantiles(times, n=10)[0]


def figure(name, before_path, after_path):
    before, after = session_of(before_path), session_of(after_path)
    (wanted,) = before.get_inputs()
    shape = [size if isinstance(size, int) else 1 for size in wanted.shape]
    inputs = {wanted.name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    for session in (before, after):
        session.run(None, inputs)
    begin = time.perf_counter()
    before.run(None, inputs)
    calls = max(10, int(BLOCK_SECONDS / (time.perf_counter() - begin)))
    ratios, befores, afters = [], [], []
    for number in range(ROUNDS):
        turns = [before, after] if number % 2 else [after, before]
        took = {id(session): p10(session, inputs, calls) for session in turns}
        befores.append(took[id(before)])
        afters.append(took[id(after)])
        ratios.append(took[id(after)] / took[id(before)])
    report(
        f"normalised / original p10, {name}",
        f"{statistics.median(ratios):.3f}",
        GOAL,
        f"rounds {min(ratios):.3f} to {max(ratios):.3f}; "
        f"{statistics.median(befores) / 1000:.1f} to {statistics.median(afters) / 1000:.1f} us",
    )


@pytest.mark.slow
@pytest.mark.parametrize("ir_version", [3, 6])
@pytest.mark.parametrize("folded", [True, False])
def test_weights_among_the_inputs(tmp_path, ir_version, folded):
    model = old_style_model(width=128, folded=folded, ir_version=ir_version)
    source = save(model, tmp_path / "old.onnx")
    made = convert_here(tmp_path / "here", "normalise_onnx", source)
    assert made["parity"]["verdict"] == "pass"
    name = f"IR {ir_version}, {'constants to fold' if folded else 'nothing to fold'}"
    if made["kept"]:
        figure(name, source, tmp_path / "here" / "out.onnx")
    else:
        report(f"normalised / original p10, {name}", "original kept", GOAL, made["notes"][0])


@pytest.mark.slow
def test_mnist(tmp_path):
    folder = os.environ.get("HANSE_TEST_MODELS")
    source = Path(folder or tmp_path, "mnist.onnx")
    if not source.exists():
        pytest.skip("no mnist.onnx; HANSE_TEST_MODELS can name a folder that has it")
    assert onnx.load(source).ir_version == 3
    made = convert_here(tmp_path / "here", "normalise_onnx", source)
    assert made["parity"]["verdict"] == "pass"
    if made["kept"]:
        figure("mnist.onnx", source, tmp_path / "here" / "out.onnx")
    else:
        report("normalised / original p10, mnist.onnx", "original kept", GOAL, made["notes"][0])
