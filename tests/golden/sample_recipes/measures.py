"""Short definitions of the metrics of the sample models, each with its 95 % interval.

Shares of rows have Wilson's interval; everything else is resampled by rows (or by what
each row stands for, such as one shopper), percentile method.  The tests hold them against
scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, rankdata

from tests.golden.sample_recipes.kinds import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

RESAMPLES = 1000
BINS = 15


def share(metric: str, hits: np.ndarray, *, at: str = "", threshold: float | None = None) -> Figure:
    count, total = int(np.count_nonzero(hits)), len(hits)
    found = binomtest(count, total).proportion_ci(method="wilson")
    return Figure(metric, count / total, float(found.low), float(found.high), at, threshold)


def resampled(
    metric: str, of: Callable[..., float], *rows: np.ndarray, at: str = "", seed: int = 0
) -> Figure:
    chance = np.random.default_rng(seed)
    total = len(rows[0])
    found = []
    for _ in range(RESAMPLES):
        picked = chance.integers(0, total, total)
        value = of(*(row[picked] for row in rows))
        if np.isfinite(value):  # a resample of one class has no such figure
            found.append(value)
    value = float(of(*rows))
    low, high = np.quantile(found, (0.025, 0.975))
    # A calibration error of a resample leans upwards, so the interval is made to hold its value.
    return Figure(metric, value, min(float(low), value), max(float(high), value), at)


def accuracy(labels: np.ndarray, truth: np.ndarray, at: str = "") -> Figure:
    return share("accuracy", labels == truth, at=at)


def balanced(labels: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.mean(labels[truth == one] == one) for one in np.unique(truth)]))


def macro_f1(labels: np.ndarray, truth: np.ndarray) -> float:
    found = []
    for one in np.unique(np.concatenate([labels, truth])):
        both = np.count_nonzero((labels == one) & (truth == one))
        either = np.count_nonzero(labels == one) + np.count_nonzero(truth == one)
        found.append(2 * both / either)
    return float(np.mean(found))


def roc_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    positives = np.count_nonzero(truth == 1)
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)[truth == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def brier(scores: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((scores - truth) ** 2))


def calibration_error(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected calibration error over equally wide bins."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    total = 0.0
    for one in range(BINS):
        inside = bins == one
        if inside.any():
            gap = abs(scores[inside].mean() - truth[inside].mean())
            total += np.count_nonzero(inside) * gap
    return float(total / len(truth))


def mean_absolute(got: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(np.abs(got - truth)))


def mean_absolute_percentage(got: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean of |error| / truth, rows with nothing sold left out."""
    some = truth != 0
    return float(np.mean(np.abs(got[some] - truth[some]) / np.abs(truth[some])))


def pinball(got: np.ndarray, truth: np.ndarray) -> float:
    """Return the pinball loss at the median: half the mean absolute error."""
    return float(np.mean(np.maximum(0.5 * (truth - got), -0.5 * (truth - got))))


def explained(got: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - np.sum((got - truth) ** 2) / np.sum((truth - truth.mean()) ** 2))


def gain_at(items: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return for each row 1 / log2(rank + 1) of the one wanted item, 0 where it is missing."""
    hit = items == wanted[:, None]
    rank = np.argmax(hit, axis=1) + 1
    return np.where(hit.any(axis=1), 1 / np.log2(rank + 1), 0.0)
