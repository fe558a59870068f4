"""Each model that ships with Hanse, run in a Worker on its own rows, is what it claims to be."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from sklearn import metrics

from hanse.core.certify.certifying import certify
from hanse.core.certify.checks.quality import Evaluation
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.data import plan_quality
from hanse.core.certify.inspecting import inspect_files
from hanse.core.clock import SystemClock
from hanse.core.engine.certify_data import listings_own, wanted_of
from hanse.core.market.claims import compare_claims
from hanse.core.market.samples import ROWS_FILE, sample_model, sample_models
from hanse.core.model.artifact import ModelFacts, TensorFacts
from hanse.core.model.control import Control
from tests.fakes.certification import MACHINE, SETTINGS, job_of, suite_of

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.certify.certifying import Found

FAST = ("customer-satisfaction", "diagnosis", "recommender")  # each takes two seconds
MORE = {"predictive-maintenance": ("recall_at_fpr@0.05",)}  # measured beside the usual ones
SLOW = tuple(one.id for one in sample_models() if one.id not in FAST)
JUDGED = ("format.hashes", "run.load", "run.golden", "quality.*")
ROUNDED = 5  # millionths, where another processor sums float32 in another order
Z = 1.959963984540054  # of 95 in 100, for Wilson's interval


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Certify a sample when it is first asked for, in Workers, without what is measured."""
    held: dict[str, Found] = {}

    def find(sample_id: str) -> Found:
        if sample_id not in held:
            held[sample_id] = certify_sample(sample_id, tmp_path_factory.mktemp(sample_id))
        return held[sample_id]

    return find


def certify_sample(sample_id: str, folder: Path) -> Found:
    sample, control, runner = sample_model(sample_id), Control(), WorkerClient()
    draft = sample.draft("en")
    job = job_of(folder, sample.graph(), card=draft.card)
    (facts,) = inspect_files(runner, job.files, job.scratch, control).facts
    wanted = wanted_of(facts, draft.card, draft.task)
    own = [listings_own(sample.rows(), draft.card, wanted, runner, job.scratch, control)]
    if sample_id in MORE:
        plan = plan_quality(wanted, own[0].dataset, MORE[sample_id])
        own.append(Evaluation(own[0].dataset, plan, is_public=True))
    job = replace(job, evaluations=tuple(own))
    return certify(
        job, suite_of(*JUDGED), runner, SETTINGS, control, clock=SystemClock(), machine=MACHINE
    )


def quality(found, metric, part=""):
    return next(row for row in found.measured.quality if (row.metric, row.slice) == (metric, part))


def ran(sample_id):
    """Return outputs by name, as bare onnxruntime gives them, and the rows by column."""
    sample = sample_model(sample_id)
    session = onnxruntime.InferenceSession(sample.graph(), providers=["CPUExecutionProvider"])
    read = list(csv.DictReader(io.StringIO(sample.rows().decode())))
    columns = [one.name for one in sample.figures.column]
    dtype = {"float32": np.float32, "int64": np.int64}[sample.figures.input.dtype]
    table = np.array([[float(row[name]) for name in columns] for row in read]).astype(dtype)
    if sample.figures.input.apart:
        inputs = {name: table[:, [number]] for number, name in enumerate(columns)}
    else:
        inputs = {session.get_inputs()[0].name: table}
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True)), read


def micro(value):
    return round(float(value) * 1_000_000)


@pytest.mark.parametrize(
    "sample_id", [*FAST, *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW)]
)
def test_every_claim_about_the_bundled_rows_is_within_what_is_measured(sample_id, certified):
    found = certified(sample_id)
    failing = [one for one in found.measured.checks if one.result == "fail"]
    assert failing == []
    card = sample_model(sample_id).draft("en").card
    about = [one for one in card.claims if one.dataset == ROWS_FILE]
    compared = compare_claims(about, found.measured.quality)
    assert compared
    assert {one.relation for one in compared} == {"within"}
    assert max(one.n for one in compared) == 200
    assert all(abs(one.claimed_micro - one.measured_micro) <= ROUNDED for one in compared)


def test_the_figures_of_the_diagnosis_model_are_those_of_scikit_learn(certified):
    found = certified("diagnosis")
    outputs, rows = ran("diagnosis")
    truth = np.array([int(row["malignant"]) for row in rows])
    label, score = outputs["label"], outputs["probabilities"][:, 1].astype(np.float64)
    expected = {
        "accuracy": metrics.accuracy_score(truth, label),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, label),
        "macro_f1": metrics.f1_score(truth, label, average="macro"),
        "recall": metrics.recall_score(truth, label),
        "specificity": metrics.recall_score(truth, label, pos_label=0),
        "roc_auc": metrics.roc_auc_score(truth, score),
        "brier": metrics.brier_score_loss(truth, score),
    }
    measured = {name: quality(found, name).value_micro for name in expected}
    assert measured == {name: pytest.approx(micro(one), abs=1) for name, one in expected.items()}


def test_the_interval_of_an_accuracy_is_wilsons(certified):
    row = quality(certified("diagnosis"), "accuracy")
    share, n = row.value_micro / 1e6, row.n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    assert row.method == "wilson"
    assert (row.low_micro, row.high_micro) == (
        pytest.approx(micro(centre - half), abs=1),
        pytest.approx(micro(centre + half), abs=1),
    )


def test_satisfaction_is_shown_for_each_language(certified):
    found = certified("customer-satisfaction")
    outputs, rows = ran("customer-satisfaction")
    truth = np.array([int(row["satisfaction"]) for row in rows])
    language = np.array([row["language"] for row in rows])
    for one in ("en", "zh"):
        row = quality(found, "accuracy", f"language={one}")
        part = language == one
        assert row.n == part.sum() > 0
        assert row.value_micro == micro(np.mean(outputs["label"][part] == truth[part]))
        assert row.low_micro < row.value_micro < row.high_micro
    whole = quality(found, "accuracy")
    assert whole.n == len(rows)


def test_the_recommender_has_ndcg_at_ten_with_an_interval(certified):
    row = quality(certified("recommender"), "ndcg@10")
    outputs, rows = ran("recommender")
    wanted = np.array([int(one["hidden_item"]) for one in rows])
    hits = outputs["items"] == wanted[:, None]  # the best first; one item is right
    gains = (hits / np.log2(np.arange(10) + 2)).sum(axis=1)
    assert row.value_micro == pytest.approx(micro(gains.mean()), abs=1)
    assert row.low_micro < row.value_micro < row.high_micro
    assert row.n == len(rows)


@pytest.mark.slow
def test_failures_are_found_at_a_fixed_rate_of_false_alarms(certified):
    row = quality(certified("predictive-maintenance"), "recall_at_fpr@0.05")
    outputs, rows = ran("predictive-maintenance")
    truth = np.array([int(one["fails_soon"]) for one in rows])
    alarms, found, _ = metrics.roc_curve(
        truth, outputs["probabilities"][:, 1], drop_intermediate=False
    )
    assert row.value_micro == pytest.approx(micro(found[alarms <= 0.05].max()), abs=1)


@pytest.mark.slow
def test_each_figure_of_the_production_model_is_judged_apart(certified):
    found = certified("production-optimisation")
    outputs, rows = ran("production-optimisation")
    names = ("scrap_percent", "energy_kwh", "cycle_s")
    for number, name in enumerate(names):
        truth = np.array([float(one[name]) for one in rows])
        said = outputs["variable"][:, number].astype(np.float64)
        row = quality(found, "mae", f"output={name}")
        expected = metrics.mean_absolute_error(truth, said)
        assert row.value_micro == pytest.approx(micro(expected), abs=ROUNDED)


def test_rows_outside_the_range_the_production_model_is_made_for_are_marked(tmp_path):
    sample = sample_model("production-optimisation")
    head, first, *rest = sample.rows().decode().splitlines(keepends=True)
    values = first.split(",")
    values[0] = "900"  # of the melt, in degrees
    draft = sample.draft("en")
    job = job_of(tmp_path, sample.graph())
    facts = ModelFacts(
        format="onnx",
        file="model.onnx",
        inputs=tuple(
            TensorFacts(name=one.name, dtype=one.dtype, shape=one.shape)
            for one in draft.card.signature.inputs
        ),
        outputs=tuple(
            TensorFacts(name=one.name, dtype=one.dtype, shape=one.shape)
            for one in draft.card.signature.outputs
        ),
    )
    wanted = wanted_of(facts, draft.card, draft.task)
    raw = "".join([head, ",".join(values), *rest]).encode()
    own = listings_own(raw, draft.card, wanted, WorkerClient(), job.scratch, Control())
    (note,) = [one for one in own.dataset.notes if one.code.endswith("outside_range")]
    assert (note.column, note.count) == ("melt_temperature", 1)
