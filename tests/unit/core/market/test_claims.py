"""Claims: what changed between Releases, and what was measured beside them."""

from __future__ import annotations

import pytest

from hanse.core.market.claims import (
    BETTER,
    MetricChange,
    compare_claims,
    direction_of,
    metric_changes,
    metric_id,
)
from hanse.core.model.card import ModelCard, Result
from hanse.core.model.certificate import QualityRow

DIGITS = b"d" * 32


def claim(value, metric="accuracy", **values):
    return Result(metric=metric, value_micro=value, **({"dataset": "digits"} | values))


def row(value, low=None, high=None, metric="accuracy", **values):
    made = {
        "dataset": "digits",
        "dataset_sha256": DIGITS,
        "n": 1797,
        "is_public": True,
        "recipe_sha256": bytes(32),
        "metric": metric,
        "value_micro": value,
        "low_micro": low,
        "high_micro": high,
        "method": "",
    }
    return QualityRow(**(made | values))


def relation(one, *rows):
    (found,) = compare_claims([one], rows)
    return found.relation


def test_figures_that_changed_appeared_or_went_are_told():
    before = ModelCard(claims=(claim(1), claim(2, "mae"), claim(3, "r2")))
    after = ModelCard(claims=(claim(1), claim(4, "mae"), claim(5, "ece")))
    assert metric_changes(before, after) == (
        MetricChange("mae", "digits", "", "", 2, 4),
        MetricChange("r2", "digits", "", "", 3, None),
        MetricChange("ece", "digits", "", "", None, 5),
    )


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        (857_999, "better"),
        (858_000, "within"),
        (874_000, "within"),
        (888_000, "within"),
        (888_001, "worse"),
    ],
)
def test_a_claim_is_within_the_interval_with_its_ends(claimed, expected):
    assert relation(claim(claimed), row(874_000, 858_000, 888_000)) == expected


@pytest.mark.parametrize("metric", [one for one, way in BETTER.items() if way == "lower"])
def test_of_an_error_less_is_better(metric):
    measured = row(100, 90, 110, metric)
    assert relation(claim(80, metric), measured) == "worse"
    assert relation(claim(120, metric), measured) == "better"


@pytest.mark.parametrize("metric", [one for one, way in BETTER.items() if way == "higher"])
def test_of_a_score_more_is_better(metric):
    measured = row(100, 90, 110, metric)
    assert relation(claim(80, metric), measured) == "better"
    assert relation(claim(120, metric), measured) == "worse"


@pytest.mark.parametrize(
    ("claimed", "low", "high", "expected"),
    [
        (10, 20, 30, "worse"),
        (-10, 20, 30, "worse"),
        (40, 20, 30, "better"),
        (-40, 20, 30, "better"),
        (10, -30, -20, "worse"),
        (-40, -30, -20, "better"),
        (40, -10, 30, "better"),
    ],
)
def test_a_bias_is_the_better_the_nearer_it_is_to_zero(claimed, low, high, expected):
    assert relation(claim(claimed, "bias"), row((low + high) // 2, low, high, "bias")) == expected


def test_without_an_interval_the_figure_alone_is_compared():
    assert relation(claim(5), row(5)) == "within"
    assert relation(claim(6), row(5)) == "worse"
    assert relation(claim(4), row(5)) == "better"


def test_figures_stand_beside_each_other():
    (found,) = compare_claims([claim(900_000)], [row(874_000, 858_000, 888_000)])
    assert (found.claimed_micro, found.measured_micro, found.n) == (900_000, 874_000, 1797)
    assert (found.low_micro, found.high_micro) == (858_000, 888_000)
    assert found.relation == "worse"


def test_other_data_are_shown_and_not_judged():
    (found,) = compare_claims([claim(1, sha256=b"x" * 32)], [row(5)])
    assert (found.relation, found.measured_micro) == ("other_data", 5)
    assert relation(claim(1, dataset="iris"), row(5)) == "other_data"
    assert relation(claim(1, dataset=""), row(5, dataset=" ")) == "other_data"


def test_data_are_the_same_by_digest_whatever_they_are_called():
    assert relation(claim(5, sha256=DIGITS, dataset="MNIST"), row(5)) == "within"
    assert relation(claim(5, dataset=" Digits "), row(5)) == "within"


def test_its_own_data_come_before_other_data_and_more_examples_before_fewer():
    other = row(9, dataset="iris", dataset_sha256=b"i" * 32, n=10**6)
    assert relation(claim(5), other, row(5)) == "within"
    (found,) = compare_claims([claim(5)], [row(6, n=10), row(5, n=2000), row(7, n=20)])
    assert found.n == 2000


def test_another_metric_or_another_part_of_the_data_is_not_this_one():
    assert relation(claim(5), row(5, metric="macro_f1")) == "not_measured"
    assert relation(claim(5, slice="sex=f"), row(5)) == "not_measured"
    assert relation(claim(5, slice="sex=f"), row(5, slice="sex=f")) == "within"
    (found,) = compare_claims([claim(5)], [])
    assert (found.measured_micro, found.n) == (None, 0)


def test_a_metric_goes_by_several_names():
    assert metric_id("Balanced accuracy") == "balanced_accuracy"
    assert metric_id("F1-macro") == "macro_f1"
    assert relation(claim(5, "AUROC"), row(5, metric="roc_auc")) == "within"
    assert relation(claim(5, "NDCG@10"), row(5, metric="ndcg@10")) == "within"
    assert relation(claim(5, "NDCG@5"), row(5, metric="ndcg@10")) == "not_measured"


def test_a_metric_nobody_knows_is_not_judged():
    assert direction_of("bleu") is None
    assert relation(claim(5, "bleu"), row(5, metric="bleu")) == "not_measured"
