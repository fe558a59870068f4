"""Intervals: what they are held against, and that everybody gets the same."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from hanse.core.certify.data import intervals
from hanse.core.certify.data.intervals import interval_of, seed_of
from hanse.core.certify.data.metrics import mean, share, summed
from tests.fakes.data_sets import judged

CHANCE = np.random.default_rng(5)
VALUES = CHANCE.gamma(2, 3, 400)


def test_a_share_has_wilsons_interval():
    hits = np.arange(1797) < 1570
    found = interval_of(share(hits, np.ones(1797, bool)), None, 1)
    assert (round(found.low, 3), round(found.high, 3), found.method) == (0.858, 0.888, "wilson")


def test_a_mean_is_resampled_as_scipy_does_it():
    found = interval_of(mean(VALUES), None, seed_of(b"\1" * 32, "mae"))
    want = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=2000, method="percentile", batch=100, rng=1
    ).confidence_interval
    assert found.method == "bootstrap"
    assert found.low == pytest.approx(want.low, rel=0.01)
    assert found.high == pytest.approx(want.high, rel=0.01)


def test_the_same_data_and_metric_give_the_same_interval():
    assert seed_of(b"\1" * 32, "mae") == seed_of(b"\1" * 32, "mae")
    assert len({seed_of(d * 32, m) for d in (b"\1", b"\2") for m in ("mae", "rmse")}) == 4
    first, second = (interval_of(mean(VALUES), None, 7) for _ in range(2))
    assert first == second
    assert first != interval_of(mean(VALUES), None, 8)


def test_cells_of_the_confusion_matrix_are_drawn_as_rows_would_be():
    truth, said = CHANCE.integers(0, 3, 300), CHANCE.integers(0, 3, 300)
    said = np.where(CHANCE.random(300) < 0.6, truth, said)
    of = judged(truth, {"label": said})
    exact = summed("macro_f1", of)
    by_cells = interval_of(exact, None, 3)
    (values,) = intervals.resampled((exact,), None, 300, np.random.default_rng(3))
    low, high = np.quantile(values, (0.025, 0.975))
    assert by_cells.method == "multinomial"
    assert by_cells.low == pytest.approx(low, abs=0.008)
    assert by_cells.high == pytest.approx(high, abs=0.008)


def test_rows_of_one_series_are_drawn_together():
    series = np.repeat(np.arange(40), 10)
    values = np.repeat(CHANCE.normal(size=40), 10)
    alone = interval_of(mean(values), None, 1)
    together = interval_of(mean(values), series, 1)
    assert together.method == "bootstrap_groups"
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert interval_of(share(values > 0, values > -9), series, 1).method == "bootstrap_groups"


def test_blocks_of_many_rows_give_the_interval_of_the_rows(monkeypatch):
    values = CHANCE.gamma(2, 3, 6000)
    rows = interval_of(mean(values), None, 1)
    monkeypatch.setattr(intervals, "ROWS_DRAWN_MOST", 1000)
    blocks = interval_of(mean(values), None, 1)
    assert blocks.low == pytest.approx(rows.low, rel=0.005)
    assert blocks.high == pytest.approx(rows.high, rel=0.005)


def test_a_quantile_of_many_rows_has_the_interval_of_its_places(monkeypatch):
    said = np.zeros(3000)
    truth = CHANCE.exponential(size=3000)
    of = judged(truth, {"y": said}, "regression")
    rows = interval_of(summed("p90_ae", of), None, 1)
    monkeypatch.setattr(intervals, "ROWS_DRAWN_MOST", 1000)
    counted = interval_of(summed("p90_ae", of), None, 1)
    assert counted.method == "order"
    assert counted.low == pytest.approx(rows.low, rel=0.03)
    assert counted.high == pytest.approx(rows.high, rel=0.03)


def test_resamples_without_a_value_are_left_out_and_too_many_leave_none():
    one_find = judged((np.arange(200) == 0).astype(int), {"prob": CHANCE.random(200)})
    metric = summed("roc_auc", one_find)
    (values,) = intervals.resampled((metric,), None, 200, np.random.default_rng(1))
    assert 0.3 < np.isnan(values).mean() < 0.45  # nobody drew the one find
    assert interval_of(metric, None, 1).low is not None
    assert intervals.spread(np.where(np.arange(9) < 5, np.nan, 1.0), 1.0) is None


def test_an_interval_holds_its_value():
    calibrated = judged(CHANCE.integers(0, 2, 60), {"prob": np.full(60, 0.5)})
    exact = summed("ece", calibrated)
    found = interval_of(exact, None, 1)
    assert found.low <= exact.estimate() <= found.high


@pytest.mark.slow
def test_five_thousand_rows_take_a_tenth_of_a_second_a_metric():
    truth = CHANCE.integers(0, 2, 5000)
    of = judged(truth, {"prob": np.clip(truth * 0.3 + CHANCE.random(5000) * 0.7, 0, 1)})
    began = time.perf_counter()
    for metric in ("roc_auc", "brier", "ece", "log_loss", "macro_f1"):
        interval_of(summed(metric, of, drawn=True), None, 1)
    assert time.perf_counter() - began < 5
