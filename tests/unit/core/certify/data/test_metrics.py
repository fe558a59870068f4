"""Every metric against scikit-learn, which is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle

from hanse.core.certify.data.faults import UnknownMetric
from hanse.core.certify.data.metrics import Unmeasurable, summed
from hanse.core.certify.data.plan import METRICS, check_metric
from hanse.core.market.claims import BETTER
from tests.fakes.data_sets import judged

CHANCE = np.random.default_rng(11)
N = 997
TRUTH = CHANCE.integers(0, 2, N)
SCORE = np.round(np.clip(0.3 * TRUTH + CHANCE.beta(2, 3, N) * 0.7, 0.001, 0.999), 2)  # with ties
MANY = CHANCE.integers(0, 5, N)
LOGITS = CHANCE.normal(size=(N, 5)) + 1.2 * np.eye(5)[MANY]
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
FIGURES = CHANCE.gamma(3, 50, N) + 10_000
SAID = FIGURES + CHANCE.normal(2, 20, N)


def two(**more):
    outputs = {
        "label": (SCORE >= 0.5).astype(int),
        "probabilities": np.stack([1 - SCORE, SCORE], 1),
    }
    return judged(TRUTH, outputs, **more)


def many():
    return judged(MANY, {"probabilities": PROBABILITIES})


def value(metric, of):
    return summed(metric, of).estimate()


LABEL = SCORE >= 0.5
OF_TWO = {
    "accuracy": oracle.accuracy_score(TRUTH, LABEL),
    "balanced_accuracy": oracle.balanced_accuracy_score(TRUTH, LABEL),
    "macro_f1": oracle.f1_score(TRUTH, LABEL, average="macro"),
    "f1": oracle.f1_score(TRUTH, LABEL),
    "precision": oracle.precision_score(TRUTH, LABEL),
    "recall": oracle.recall_score(TRUTH, LABEL),
    "specificity": oracle.recall_score(TRUTH, LABEL, pos_label=0),
    "false_positive_rate": 1 - oracle.recall_score(TRUTH, LABEL, pos_label=0),
    "roc_auc": oracle.roc_auc_score(TRUTH, SCORE),
    "log_loss": oracle.log_loss(TRUTH, np.stack([1 - SCORE, SCORE], 1)),
    "brier": oracle.brier_score_loss(TRUTH, SCORE),
}
OF_MANY = {
    "accuracy": oracle.accuracy_score(MANY, PROBABILITIES.argmax(1)),
    "balanced_accuracy": oracle.balanced_accuracy_score(MANY, PROBABILITIES.argmax(1)),
    "macro_f1": oracle.f1_score(MANY, PROBABILITIES.argmax(1), average="macro"),
    "roc_auc": oracle.roc_auc_score(MANY, PROBABILITIES, multi_class="ovr"),
    "log_loss": oracle.log_loss(MANY, PROBABILITIES),
    "brier": oracle.brier_score_loss(MANY, PROBABILITIES),
}
OF_FIGURES = {
    "mae": oracle.mean_absolute_error(FIGURES, SAID),
    "rmse": oracle.root_mean_squared_error(FIGURES, SAID),
    "r2": oracle.r2_score(FIGURES, SAID),
    "median_ae": oracle.median_absolute_error(FIGURES, SAID),
    "p90_ae": np.quantile(np.abs(FIGURES - SAID), 0.9),
    "bias": np.mean(SAID - FIGURES),
    "mape": oracle.mean_absolute_percentage_error(FIGURES, SAID),
    "pinball": oracle.mean_pinball_loss(FIGURES, SAID, alpha=0.5),
    "pinball@0.9": oracle.mean_pinball_loss(FIGURES, SAID, alpha=0.9),
}


@pytest.mark.parametrize("metric", OF_TWO)
def test_metrics_of_two_classes_equal_the_oracle(metric):
    assert value(metric, two()) == pytest.approx(OF_TWO[metric], rel=1e-12)


@pytest.mark.parametrize("metric", OF_MANY)
def test_metrics_of_many_classes_equal_the_oracle(metric):
    assert value(metric, many()) == pytest.approx(OF_MANY[metric], rel=1e-12)


@pytest.mark.parametrize("metric", OF_FIGURES)
def test_metrics_of_figures_equal_the_oracle(metric):
    of = judged(FIGURES, {"variable": SAID[:, None]}, "regression")
    assert value(metric, of) == pytest.approx(OF_FIGURES[metric], rel=1e-9)


@pytest.mark.parametrize("bound", [0.05, 0.1, 0.01])
def test_recall_at_a_fixed_rate_of_false_alarms_equals_the_oracle(bound):
    rates, recalls, _ = oracle.roc_curve(TRUTH, SCORE, drop_intermediate=False)
    assert value(f"recall_at_fpr@{bound}", two()) == pytest.approx(max(recalls[rates <= bound]))


def test_a_label_that_counts_as_a_find_can_be_the_first():
    of = two(positive="0")
    assert value("recall", of) == pytest.approx(OF_TWO["specificity"])
    assert value("roc_auc", of) == pytest.approx(OF_TWO["roc_auc"])


def test_a_threshold_counts_for_its_metric_only():
    of = two(thresholds_micro={"recall": 300_000})
    assert value("recall", of) == pytest.approx(oracle.recall_score(TRUTH, SCORE >= 0.3))
    assert value("precision", of) == pytest.approx(OF_TWO["precision"])


def test_the_calibration_error_is_the_gap_of_15_bins():
    gap = 0.0
    for low in range(15):
        inside = np.minimum(SCORE * 15 // 1, 14) == low
        if inside.any():
            gap += inside.sum() * abs(SCORE[inside].mean() - TRUTH[inside].mean())
    assert value("ece", two()) == pytest.approx(gap / N)
    sure = PROBABILITIES.max(axis=1)
    right = PROBABILITIES.argmax(axis=1) == MANY
    bins = np.minimum((sure * 15).astype(int), 14)
    gap = sum(abs(sure[bins == b].sum() - right[bins == b].sum()) for b in range(15))
    assert value("ece", many()) == pytest.approx(gap / N)


def test_the_gain_of_one_wanted_item_equals_the_oracle():
    scores = CHANCE.normal(size=(50, 30))
    wanted = CHANCE.integers(0, 30, 50)
    want = oracle.ndcg_score(np.eye(30)[wanted], scores, k=10)
    items = np.argsort(-scores, axis=1)[:, :10]
    for outputs in ({"scores": scores}, {"items": items, "scores": np.sort(scores)[:, :10]}):
        of = judged(wanted, outputs, "ranking")
        assert value("ndcg@10", of) == pytest.approx(want)
        found = np.mean([one in row for one, row in zip(wanted, items, strict=True)])
        assert value("recall@10", of) == value("hit_rate@10", of) == pytest.approx(found)


def test_the_gain_over_the_rows_of_users_equals_the_oracle():
    users = np.repeat([f"u{i}" for i in range(20)], 12)
    scores, wanted = CHANCE.normal(size=240), CHANCE.integers(0, 4, 240)
    mixed = CHANCE.permutation(240)
    of = judged(wanted[mixed], {"score": scores[mixed]}, "ranking", groups=users[mixed])
    want = oracle.ndcg_score(wanted.reshape(20, 12), scores.reshape(20, 12), k=5)
    assert value("ndcg@5", of) == pytest.approx(want)
    first = np.argsort(-scores.reshape(20, 12), axis=1)[:, :5]
    hits = np.take_along_axis(wanted.reshape(20, 12) > 0, first, axis=1)
    total = (wanted.reshape(20, 12) > 0).sum(axis=1)
    assert value("recall@5", of) == pytest.approx(np.mean(hits.sum(axis=1) / total))
    assert value("hit_rate@5", of) == pytest.approx(np.mean(hits.any(axis=1)))


def test_users_who_want_nothing_are_left_out():
    users = np.repeat(["a", "b"], 3)
    of = judged([0, 0, 0, 0, 1, 0], {"score": [3.0, 2, 1, 3, 2, 1]}, "ranking", groups=users)
    assert value("ndcg@10", of) == pytest.approx(1 / np.log2(3))
    none = judged([0, 0], {"score": [1.0, 2]}, "ranking", groups=np.array(["a", "a"]))
    with pytest.raises(Unmeasurable) as fault:
        value("ndcg@10", none)
    assert fault.value.reason == "nothing_wanted"


def test_a_percentage_leaves_out_rows_whose_truth_is_zero():
    of = judged([0.0, 10.0], {"y": [5.0, 12.0]}, "series")
    assert value("mape", of) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [("log_loss", "no_probabilities"), ("recall", "no_positive"), ("roc_auc", "no_probabilities")],
)
def test_what_cannot_be_measured_says_why(metric, reason):
    with pytest.raises(Unmeasurable) as fault:
        value(metric, judged(MANY, {"logits": LOGITS}))
    assert fault.value.reason == reason


def test_a_model_that_gives_labels_only_has_no_curve():
    of = judged(TRUTH, {"label": TRUTH})
    assert value("accuracy", of) == 1
    with pytest.raises(Unmeasurable):
        value("roc_auc", of)


@pytest.mark.parametrize("drawn", [True, False])
def test_scores_in_bins_come_to_nearly_the_same(drawn, monkeypatch):
    monkeypatch.setattr("hanse.core.certify.data.metrics.ROWS_DRAWN_MOST", 100)
    for metric in ("roc_auc", "recall_at_fpr"):
        of = two()
        assert summed(metric, of, drawn=drawn).estimate() == pytest.approx(
            value(metric, of), abs=0.02
        )
    of = judged(FIGURES, {"variable": SAID}, "regression")
    assert summed("p90_ae", of, drawn=drawn).estimate() == pytest.approx(
        value("p90_ae", of), rel=0.02
    )


@pytest.mark.parametrize(
    "metric",
    [
        "",
        "nothing",
        "mae",
        "ndcg@10",
        "accuracy@2",
        "recall@10",
        "recall_at_fpr@1",
        "recall_at_fpr@",
    ],
)
def test_a_name_that_is_no_metric_of_the_task_is_refused(metric):
    with pytest.raises(UnknownMetric) as fault:
        check_metric(metric, "classification")
    assert "roc_auc" in fault.value.values["known"]


def test_metrics_with_a_parameter_are_known():
    for metric, kind in (
        ("ndcg@10", "ranking"),
        ("recall@5", "ranking"),
        ("recall_at_fpr@0.05", "classification"),
        ("pinball@0.9", "series"),
    ):
        check_metric(metric, kind)
    for bad in ("ndcg@0", "ndcg@-1", "ndcg@1e3", "ndcg@100000"):
        with pytest.raises(UnknownMetric):
            check_metric(bad, "ranking")


def test_it_is_known_of_every_metric_which_way_is_better():
    assert set(METRICS) == set(BETTER)
