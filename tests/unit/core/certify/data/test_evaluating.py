"""Quality rows of real models on real data, over all rows and over slices."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from hanse.core.certify.data import (
    DataTooSmall,
    Wanted,
    check_rows,
    counts_for_level_3,
    evaluate_quality,
    evaluating,
    judge,
    measure_quality,
    needed_n,
    plan_quality,
    read_dataset,
    usual_metrics,
)
from hanse.core.certify.data.faults import UnknownMetric
from hanse.core.certify.data.mapping import DataMapping
from hanse.core.market.samples import sample_model, sample_models
from hanse.core.model.artifact import TensorFacts
from hanse.core.model.card import Result
from hanse.core.model.control import Control
from tests.fakes.data_sets import data_set, judged, port, read_csv, step, wanted

DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}
MODELS = os.environ.get("HANSE_TEST_MODELS")


def session(graph):
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def facts(ports):
    return tuple(
        TensorFacts(name=one.name, dtype=DTYPES[one.type], shape=tuple(one.shape)) for one in ports
    )


def answers(runs, inputs):
    return dict(zip([one.name for one in runs.get_outputs()], runs.run(None, inputs), strict=True))


def measure(sample):
    folder = files("hanse.resources").joinpath("sample_models", sample.figures.id)
    runs = session(folder.joinpath("model.onnx").read_bytes())
    card = sample.draft("en").card
    model = Wanted(facts(runs.get_inputs()), facts(runs.get_outputs()), card, sample.card.task)
    rows = Path(str(folder.joinpath("sample.csv")))
    data = read_dataset(rows, model, None, None, Control())
    plan = plan_quality(model, data)
    return measure_quality(judge(data, answers(runs, data.inputs), plan), is_public=True)


measured = cache(lambda sample_id: measure(sample_model(sample_id)))


@pytest.mark.parametrize("sample", sample_models(), ids=[one.figures.id for one in sample_models()])
def test_the_figures_of_a_sample_model_come_out_again(sample):
    found = {(one.metric, one.slice): one for one in measured(sample.figures.id).rows}
    told = [one for one in sample.figures.figure if one.data == "sample.csv"]
    assert told
    for one in told:
        row = found[one.metric, one.slice]
        assert row.value_micro == one.value_micro
        assert row.low_micro <= one.value_micro <= row.high_micro
        wide = one.high_micro - one.low_micro
        assert abs(row.low_micro - one.low_micro) <= wide // 8
        assert abs(row.high_micro - one.high_micro) <= wide // 8
        if row.method == "wilson":
            assert (row.low_micro, row.high_micro) == (one.low_micro, one.high_micro)
        assert row.dataset_sha256.hex() == sample.figures.sha256["sample.csv"]
        assert counts_for_level_3(row) == (not one.slice)


def test_measuring_again_gives_the_very_same_rows():
    sample = sample_model("predictive-maintenance")
    assert measure(sample).rows == measured(sample.figures.id).rows


def test_both_languages_of_a_survey_are_told_apart():
    rows = measured("customer-satisfaction").rows
    slices = {one.slice: one.n for one in rows if one.metric == "accuracy"}
    assert slices == {"": 200, "language=en": 100, "language=zh": 100}


def test_a_threshold_of_the_card_changes_under_what_a_figure_compares():
    rows = {one.metric: one for one in measured("fraud-detection").rows}
    assert rows["recall"].recipe_sha256 != rows["roc_auc"].recipe_sha256
    assert rows["roc_auc"].recipe_sha256 == rows["brier"].recipe_sha256


@pytest.mark.skipif(MODELS is None, reason="HANSE_TEST_MODELS names no folder of real models")
def test_mnist_reads_scaled_digits_as_others_measured_it(tmp_path):
    digits = load_digits()
    np.savez_compressed(
        tmp_path / "digits.npz", images=zoom(digits.images, (1, 2.5, 2.5), order=1), y=digits.target
    )
    runs = session(str(Path(MODELS) / "mnist.onnx"))
    model = wanted(
        *facts(runs.get_inputs()),
        pre=(step("scale", 15.9375, 0), step("pad", 28, 28, 0)),
        labels=tuple("0123456789"),
        task="image-classification",
    )
    data = read_dataset(tmp_path / "digits.npz", model, None, None, Control())
    name = runs.get_inputs()[0].name
    scores = np.concatenate([runs.run(None, {name: row[None]})[0] for row in data.inputs[name]])
    rows = evaluate_quality(data, {"z": scores}, plan_quality(model, data), is_public=True)
    accuracy = next(one for one in rows if one.metric == "accuracy")
    assert (accuracy.n, accuracy.value_micro // 1000) == (1797, 873)
    assert (round(accuracy.low_micro, -3), round(accuracy.high_micro, -3)) == (858_000, 888_000)


# --- plans ----------------------------------------------------------------------------------


def test_the_usual_metrics_follow_the_task():
    assert usual_metrics("tabular-classification", None)[:2] == ("accuracy", "balanced_accuracy")
    assert "pinball" in usual_metrics("time-series-forecasting", None)
    assert usual_metrics("recommendation", None) == ("ndcg@10", "recall@10")
    assert "r2" in usual_metrics("tabular-regression", None)


def test_metrics_that_were_asked_for_are_the_only_ones():
    data = data_set([0, 1])
    plan = plan_quality(wanted(port("x", None, 1)), data, ("brier",))
    assert plan.metrics == ("brier",)
    with pytest.raises(UnknownMetric):
        plan_quality(wanted(port("x", None, 1)), data, ("bries",))


def test_what_a_card_claims_is_measured_under_its_own_name_here():
    claims = (
        Result(metric="F1-macro", value_micro=1, threshold_micro=7),
        Result(metric="recall", value_micro=1, threshold_micro=300_000),
        Result(metric="happiness", value_micro=1),
        Result(metric="recall_at_fpr@x", value_micro=1),
    )
    plan = plan_quality(wanted(port("x", None, 1), claims=claims), data_set([0, 1]))
    assert plan.metrics[:3] == ("macro_f1", "recall", "accuracy")
    assert set(plan.metrics) - {"recall"} == set(usual_metrics("tabular-classification", None))
    assert plan.thresholds_micro == {"macro_f1": 7, "recall": 300_000}


# --- rows -----------------------------------------------------------------------------------


def test_what_cannot_be_measured_is_told_and_the_rest_is_there():
    of = judged([0, 1, 2, 2], {"z": np.eye(3)[[0, 1, 2, 1]] * 9}, metrics=("accuracy", "brier"))
    found = measure_quality(of, is_public=False)
    assert [one.metric for one in found.rows] == ["accuracy"]
    assert [(one.metric, one.reason) for one in found.left_out] == [("brier", "no_probabilities")]
    assert found.confusion.counts == ((1, 0, 0), (0, 1, 0), (0, 1, 1))


def test_more_values_of_a_slice_than_are_told_apart_are_counted(monkeypatch):
    monkeypatch.setattr(evaluating, "DATASET_SLICES_MAX", 2)
    site = np.array(["b", "a", "b", "a", "c", "b"])
    of = judged([0, 1, 1, 1, 0, 1], {"label": [0, 1, 1, 0, 0, 1]}, metrics=("accuracy",),
                slices={"site": site})  # fmt: skip
    found = measure_quality(of, is_public=False)
    assert [(one.slice, one.n) for one in found.rows] == [("", 6), ("site=a", 2), ("site=b", 3)]
    assert [(one.code, one.count) for one in found.notes] == [("dataset.note.slices_left_out", 1)]


def test_fewer_than_a_hundred_rows_never_count_for_level_3():
    def row(n):
        of = judged(np.arange(n) % 2, {"label": np.arange(n) % 2}, metrics=("accuracy",))
        return measure_quality(of, is_public=True).rows[0]

    assert not counts_for_level_3(row(99))
    assert counts_for_level_3(row(100))


def test_intervals_of_a_series_are_drawn_by_series(tmp_path):
    chance = np.random.default_rng(1)
    lines = [f"{i % 5},{chance.normal():.3f},{chance.normal():.3f}" for i in range(100)]
    model = wanted(port("x", None, 1), task="time-series-forecasting")
    mapping = DataMapping(inputs={"x": ("v",)}, target="units", group="shop")
    data = read_csv(tmp_path, "shop,v,units\n" + "\n".join(lines), model, mapping)
    plan = plan_quality(model, data, ("mae",))
    (row,) = evaluate_quality(data, {"variable": data.inputs["x"]}, plan, is_public=False)
    assert row.method == "bootstrap_groups"


def test_data_too_small_for_a_claim_say_how_many_rows_are_needed():
    assert needed_n(900_000, 50_000) == 368
    check_rows(368, 900_000, 50_000)
    with pytest.raises(DataTooSmall) as fault:
        check_rows(367, 900_000, 50_000)
    assert fault.value.values == {"n": 367, "needed": 368, "claim": "0.9", "margin": "0.05"}
