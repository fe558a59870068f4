"""Two models made by others, measured here; skipped where ``HANSE_TEST_MODELS`` names no folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.datasets import load_digits

from hanse.core.certify.certifying import certify
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.data import DataMapping
from hanse.core.certify.inspecting import inspect_files
from hanse.core.clock import SystemClock
from hanse.core.engine.certify_data import read_evaluation, wanted_of
from hanse.core.model.card import ModelCard, Recipe, RecipeStep
from hanse.core.model.control import Control
from tests.fakes.certification import MACHINE, SETTINGS, job_of, suite_of

FOLDER = os.environ.get("HANSE_TEST_MODELS", "")

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="HANSE_TEST_MODELS names no folder of real models"
)

# Eight by eight pixels of 0 to 16 become 20 by 20 of 0 to 1 in a field of 28 by 28.
RECIPE = Recipe(
    pre=(
        RecipeStep(op="scale", numbers_micro=(62_500, 0)),
        RecipeStep(op="resize", numbers_micro=(20_000_000, 20_000_000)),
        RecipeStep(op="pad", numbers_micro=(28_000_000, 28_000_000, 0)),
    ),
    labels=tuple("0123456789"),
)


def run(job, suite):
    settings = replace(SETTINGS, threads=1)
    clock = SystemClock()
    runner = WorkerClient()
    return certify(job, suite, runner, settings, Control(), clock=clock, machine=MACHINE)


def test_a_network_for_digits_reaches_level_three_on_digits_it_never_saw(tmp_path):
    digits = load_digits()
    data = tmp_path / "digits.npz"
    np.savez(data, image=digits.images.astype(np.float32)[:, None], digit=digits.target)
    card = msgspec.structs.replace(ModelCard(), recipe=RECIPE)
    runner, control = WorkerClient(), Control()
    job = job_of(tmp_path, Path(FOLDER, "mnist.onnx").read_bytes(), "model.onnx", card=card)
    (facts,) = inspect_files(runner, job.files, job.scratch, control).facts
    inputs = tuple(one for one in facts.inputs if one.name == "Input3")
    wanted = wanted_of(msgspec.structs.replace(facts, inputs=inputs), card, "image-classification")
    mapping = DataMapping(inputs={"Input3": "image"}, target="digit")
    own = read_evaluation(data, wanted, mapping, runner, job.scratch, control, is_public=True)
    found = run(replace(job, evaluations=(own,)), suite_of())
    assert [one for one in found.measured.checks if one.result == "fail"] == []
    accuracy = next(
        row for row in found.measured.quality if row.metric == "accuracy" and not row.slice
    )
    assert accuracy.n == 1797
    assert accuracy.method == "wilson"
    assert accuracy.low_micro < 874_000 < accuracy.high_micro  # others measured 0.874
    assert found.measured.level == 3
    assert found.measured.determinism.repeat == "bitwise"


def test_a_recurrent_model_runs_one_step_from_a_given_state(tmp_path):
    raw = Path(FOLDER, "silero_vad_16k_op15.onnx").read_bytes()
    found = run(job_of(tmp_path, raw), suite_of())
    results = {one.id: one for one in found.measured.checks}
    assert [one for one in results.values() if one.result == "fail"] == []
    assert results["run.golden"].result in ("pass", "warn")
    assert results["quality.metric"].reason == "no_data_set"
    assert found.measured.level == 2
    assert found.measured.determinism.repeat == "bitwise"
    assert found.golden is not None
