"""What each metric is: a few lines of numpy, so that a name means one number everywhere.

* Definitions are those of scikit-learn where it has them; the tests hold the two equal.  Chosen
  where there is a choice: Brier of more than two classes sums over them; the calibration error has
  15 equally wide bins, of the positive's probability for two classes and of the answer's for more;
  the AUC of more classes is the mean of each against the rest; a percentage leaves rows out whose
  truth is 0; gain is linear in relevance.
* A metric that cannot be computed is not computed: ``Unmeasurable`` says why, in one word.

Intervals are made in ``intervals.py`` of the sums that are returned here.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import csr_array

from hanse.core.certify.data.intervals import ROWS_DRAWN_MOST, Summed
from hanse.core.certify.data.plan import base_of, parameter_of
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from hanse.core.certify.data.outputs import Judged
    from hanse.core.model.arrays import Array

BINS: Final = 15
_COARSE_BINS: Final = 1024
_FINE_BINS: Final = 2048  # where a single bin is looked for
_CLASS_BINS: Final = 256
_CLASSES_OF_AUC_MOST: Final = 64
_NO_MORE_THAN: Final = 1e-12  # rounding of a share against a bound


class Unmeasurable(Exception):
    """A metric has no value here; ``reason`` is a stable word."""

    def __init__(self, reason: str) -> None:
        """Say why."""
        super().__init__(reason)
        self.reason = reason


def summed(metric: str, judged: Judged, target: int = 0, *, drawn: bool = False) -> Summed:
    """Return ``metric`` as a function of sums over rows; raise ``Unmeasurable``.

    With ``drawn`` scores may be put together in bins, for an interval; the value is always taken
    from the exact sums.  ``target`` is the figure looked at where a model gives several.
    """
    base = base_of(metric)
    is_coarse = drawn and len(judged.truth) > ROWS_DRAWN_MOST
    match judged.plan.kind:
        case "classification":
            return _of_classes(metric, base, judged, is_coarse=is_coarse, is_drawn=drawn)
        case "regression" | "series":
            return _of_figures(metric, base, judged, target, is_coarse=is_coarse)
        case "ranking":
            return _of_ranks(metric, base, judged)


# --- classes --------------------------------------------------------------------------------


def _of_classes(
    metric: str, base: str, judged: Judged, *, is_coarse: bool, is_drawn: bool
) -> Summed:
    match base:
        case "accuracy":
            said = _said(metric, judged)
            return share(said == judged.truth, np.ones(len(said), np.bool_))
        case "balanced_accuracy" | "macro_f1":
            return _of_confusion(base, judged.truth, _said(metric, judged))
        case "precision" | "recall" | "specificity" | "false_positive_rate" | "f1":
            return _of_finds(metric, base, judged)
        case "roc_auc":
            if judged.scores is not None and judged.scores.shape[1] > 2:
                return _auc_of_many(judged, is_drawn=is_drawn)
            return _auc(*_of_positive(judged), _COARSE_BINS if is_coarse else 0)
        case "recall_at_fpr":
            scores, hits = _of_positive(judged)
            return _recall_at(scores, hits, parameter_of(metric), _FINE_BINS if is_coarse else 0)
        case _:
            return _of_probabilities(base, judged)


def _of_probabilities(base: str, judged: Judged) -> Summed:
    if not judged.is_probability or judged.scores is None:
        raise Unmeasurable("no_probabilities")
    match base:
        case "log_loss":
            own = np.take_along_axis(judged.scores, judged.truth[:, None], axis=1)[:, 0]
            edge = np.finfo(np.float64).eps
            return mean(-np.log(np.clip(own, edge, 1 - edge)))
        case "brier":
            return mean(_squared(judged))
        case _:
            assert base == "ece"
            return _calibration(judged)


def _said(metric: str, judged: Judged) -> Array:
    """Return the answers: the model's own, or by the threshold of this metric."""
    threshold = judged.plan.thresholds_micro.get(metric)
    if threshold is not None and judged.scores is not None and judged.scores.shape[1] == 2:
        assert judged.positive is not None
        finds = judged.scores[:, judged.positive] >= threshold / MICRO
        return np.where(finds, judged.positive, 1 - judged.positive)
    if judged.said is None:
        raise Unmeasurable("no_answer")
    return judged.said


def confusion(judged: Judged, metric: str = "accuracy") -> Array:
    """Return the counts [truth, said] of all labels; raise ``Unmeasurable``."""
    size = len(judged.labels)
    codes = judged.truth * size + _said(metric, judged)
    return np.bincount(codes, minlength=size * size).reshape(size, size)


def _of_confusion(base: str, truth: Array, said: Array) -> Summed:
    """Return a metric of the confusion matrix, of which only cells that occur are held."""
    classes, places = np.unique(np.concatenate([truth, said]), return_inverse=True)
    size = len(classes)
    codes = places[: len(truth)] * size + places[len(truth) :]
    some, cells = np.unique(codes, return_inverse=True)
    rows, columns = np.divmod(some, size)
    ones = np.ones(len(some))
    of_truth = csr_array((ones, (rows, np.arange(len(some)))), shape=(size, len(some)))
    of_said = csr_array((ones, (columns, np.arange(len(some)))), shape=(size, len(some)))
    right = (rows == columns).astype(np.float64)

    def value(sums: Array) -> Array:
        true = (of_truth @ sums.T).T
        hits = (of_truth @ (sums * right).T).T
        if base == "balanced_accuracy":
            return _mean_of_some(hits / true, true > 0)
        both = true + (of_said @ sums.T).T
        return _mean_of_some(2 * hits / both, both > 0)

    return Summed(value, cells=cells, size=len(some), is_confusion=True)


def _mean_of_some(values: Array, counted: Array) -> Array:
    """Return the mean over the last axis of the values that are counted."""
    return _over(np.where(counted, values, 0.0).sum(axis=-1), counted.sum(axis=-1))


def _of_finds(metric: str, base: str, judged: Judged) -> Summed:
    if judged.positive is None:
        raise Unmeasurable("no_positive")
    finds = _said(metric, judged) == judged.positive
    true = judged.truth == judged.positive
    match base:
        case "precision":
            return share(finds & true, finds)
        case "recall":
            return share(finds & true, true)
        case "specificity":
            return share(~finds & ~true, ~true)
        case "false_positive_rate":
            return share(finds & ~true, ~true)
        case _:
            return _f1(finds, true)


def _f1(finds: Array, true: Array) -> Summed:
    cells = finds.astype(np.int64) * 2 + true  # neither, missed, false alarm, found

    def value(sums: Array) -> Array:
        found = sums[..., 3]
        return _over(2 * found, 2 * found + sums[..., 1] + sums[..., 2])

    return Summed(value, cells=cells, size=4, is_confusion=True)


def _of_positive(judged: Judged) -> tuple[Array, Array]:
    """Return the scores of the positive label, and which rows truly have it."""
    if judged.scores is None:
        raise Unmeasurable("no_scores")
    if judged.positive is None:
        raise Unmeasurable("no_positive")
    return judged.scores[:, judged.positive], judged.truth == judged.positive


def _in_order(scores: Array, bins: int) -> tuple[Array, int]:
    """Return for each score its place among the different ones, or in so many equal bins."""
    if bins:
        from scipy.stats import rankdata  # noqa: PLC0415 - takes half a second

        ranks = rankdata(scores, method="average")
        return np.minimum((ranks * bins / (len(scores) + 1)).astype(np.int64), bins - 1), bins
    values, places = np.unique(scores, return_inverse=True)
    return places, len(values)


def _auc_value(sums: Array) -> Array:
    """Return the AUC of [..., places, 2]: how often a find lies above another, ties half."""
    others, finds = sums[..., 0], sums[..., 1]
    below = np.cumsum(others, axis=-1) - others / 2
    return _over((finds * below).sum(axis=-1), finds.sum(axis=-1) * others.sum(axis=-1))


def _auc(scores: Array, hits: Array, bins: int) -> Summed:
    places, size = _in_order(scores, bins)

    def value(sums: Array) -> Array:
        return _auc_value(sums.reshape(*sums.shape[:-1], size, 2))

    return Summed(value, cells=places * 2 + hits, size=size * 2)


def _auc_of_many(judged: Judged, *, is_drawn: bool) -> Summed:
    """Return the mean AUC of each class against the rest."""
    assert judged.scores is not None
    if not judged.is_probability:
        raise Unmeasurable("no_probabilities")
    n, classes = judged.scores.shape
    if classes > _CLASSES_OF_AUC_MOST:
        raise Unmeasurable("too_many_classes")
    columns, sizes = [], [0]
    for one in range(classes):
        places, size = _in_order(judged.scores[:, one], _CLASS_BINS if is_drawn else 0)
        columns.append(sizes[-1] * 2 + places * 2 + (judged.truth == one))
        sizes.append(sizes[-1] + size)
    cells = np.stack(columns, axis=1)
    starts = np.arange(n + 1) * classes
    rows = csr_array((np.ones(n * classes), cells.ravel(), starts), shape=(n, sizes[-1] * 2))

    def value(sums: Array) -> Array:
        pairs = sums.reshape(*sums.shape[:-1], sizes[-1], 2)
        every = [_auc_value(pairs[..., start:end, :]) for start, end in itertools.pairwise(sizes)]
        stacked = np.stack(every, axis=-1)
        return _mean_of_some(stacked, np.isfinite(stacked))

    return Summed(value, rows=rows)


def _recall_at(scores: Array, hits: Array, fpr: float, bins: int) -> Summed:
    """Return the best recall at which no more than a share ``fpr`` of the others is raised."""
    places, size = _in_order(-scores, bins)  # the highest first

    def value(sums: Array) -> Array:
        pairs = sums.reshape(*sums.shape[:-1], size, 2).cumsum(axis=-2)
        others, finds = pairs[..., 0], pairs[..., 1]
        is_allowed = others / others[..., -1:] <= fpr + _NO_MORE_THAN
        return _over(np.where(is_allowed, finds, 0.0).max(axis=-1), finds[..., -1])

    return Summed(value, cells=places * 2 + hits, size=size * 2)


def _squared(judged: Judged) -> Array:
    assert judged.scores is not None
    if judged.scores.shape[1] == 2:
        scores, hits = _of_positive(judged)
        gaps: Array = np.square(scores - hits)
        return gaps
    own = np.take_along_axis(judged.scores, judged.truth[:, None], axis=1)[:, 0]
    total: Array = np.square(judged.scores).sum(axis=1) - np.square(own) + np.square(own - 1)
    return total


def _calibration(judged: Judged) -> Summed:
    """Return the mean gap between probability and truth over equally wide bins."""
    assert judged.scores is not None
    if judged.scores.shape[1] == 2:
        scores, hits = _of_positive(judged)
    else:
        scores = judged.scores.max(axis=1)
        hits = judged.scores.argmax(axis=1) == judged.truth
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    n = len(scores)
    cells = bins[:, None] * 3 + np.arange(3)
    parts = np.stack([np.ones(n), scores, hits.astype(np.float64)], axis=1)
    rows = csr_array((parts.ravel(), cells.ravel(), np.arange(n + 1) * 3), shape=(n, BINS * 3))

    def value(sums: Array) -> Array:
        by_bin = sums.reshape(*sums.shape[:-1], BINS, 3)
        gaps = np.abs(by_bin[..., 1] - by_bin[..., 2]).sum(axis=-1)
        return _over(gaps, by_bin[..., 0].sum(axis=-1))

    return Summed(value, rows=rows)


# --- figures --------------------------------------------------------------------------------


def _of_figures(metric: str, base: str, judged: Judged, target: int, *, is_coarse: bool) -> Summed:
    assert judged.values is not None
    truth, said = judged.truth[:, target], judged.values[:, target]
    error = said - truth
    match base:
        case "mae":
            return mean(np.abs(error))
        case "bias":
            return mean(error)
        case "rmse":
            return Summed(lambda sums: np.sqrt(_ratio(sums)), rows=_counted(np.square(error)))
        case "mape":
            some = truth != 0
            shares = np.abs(error) / np.where(some, np.abs(truth), 1.0)
            if not some.any():
                raise Unmeasurable("truth_zero")
            return Summed(_ratio, rows=np.stack([np.where(some, shares, 0.0), some], axis=1))
        case "pinball":
            share_below = parameter_of(metric)
            return mean(np.maximum(-share_below * error, (1 - share_below) * error))
        case "r2":
            centred = truth - truth.mean()  # or the squares would eat the digits of a large level
            ones = np.ones(len(truth))
            rows = np.stack([np.square(error), centred, np.square(centred), ones], axis=1)
            return Summed(_explained, rows=rows)
        case _:
            below = {"median_ae": 0.5, "p90_ae": 0.9}[base]
            return _quantile(np.abs(error), below, is_coarse=is_coarse)


def _explained(sums: Array) -> Array:
    squares, total, of_squares, n = (sums[..., i] for i in range(4))
    spread = of_squares - np.square(total) / n
    return np.subtract(1.0, _over(squares, np.where(spread > 0, spread, np.nan)))


def _quantile(sizes: Array, below: float, *, is_coarse: bool) -> Summed:
    """Return the value that a share ``below`` of rows does not exceed, linear between rows."""
    ordered = np.sort(sizes)
    if is_coarse:
        places, size = _in_order(sizes, _COARSE_BINS)
        ends = np.minimum((np.arange(size) + 1) * len(ordered) // size, len(ordered)) - 1
        values = ordered[np.maximum(ends, 0)]
    else:
        values, places = np.unique(sizes, return_inverse=True)
        size = len(values)

    def value(sums: Array) -> Array:
        heaped = np.cumsum(sums, axis=-1)
        at = (heaped[..., -1] - 1) * below
        low = np.floor(at)
        first = (heaped > low[..., None]).argmax(axis=-1)
        second = (heaped > np.ceil(at)[..., None]).argmax(axis=-1)
        part = at - low
        between: Array = values[first] + (values[second] - values[first]) * part
        return between

    return Summed(value, cells=places, size=size, quantile=(ordered, below))


# --- ranks ----------------------------------------------------------------------------------


def _of_ranks(metric: str, base: str, judged: Judged) -> Summed:
    places = int(parameter_of(metric))
    if judged.items is None:
        return _of_groups(base, judged, places)
    hits = judged.items[:, :places] == judged.truth[:, None]
    is_found = hits.any(axis=1)
    if base != "ndcg":  # with one wanted item it is in the list or not
        return share(is_found, np.ones(len(is_found), np.bool_))
    rank = hits.argmax(axis=1) + 1
    return mean(np.where(is_found, 1 / np.log2(rank + 1), 0.0))


def _of_groups(base: str, judged: Judged, places: int) -> Summed:
    """Return a metric over users who have each several rows; one who wants nothing is left out."""
    assert judged.values is not None
    assert judged.groups is not None
    _, groups = np.unique(judged.groups, return_inverse=True)
    wanted = judged.truth.astype(np.float64)
    total = np.bincount(groups, wanted)
    users = total > 0
    if not users.any():
        raise Unmeasurable("nothing_wanted")

    def gathered(by: Array, what: Array) -> Array:
        """Sum ``what`` over the first places of each group, in the order of ``by`` falling."""
        order = np.lexsort((np.arange(len(by)), -by, groups))
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        rank = np.arange(len(by)) - np.repeat(starts, np.diff([*starts, len(by)]))
        kept = rank < places
        worth = what[order] / (np.log2(rank + 2) if base == "ndcg" else 1.0)
        return np.bincount(groups[order][kept], worth[kept], minlength=len(total))[users]

    scores = judged.values[:, 0]
    if base == "ndcg":
        found = mean(gathered(scores, wanted) / gathered(wanted, wanted))
    elif base == "recall":
        is_wanted = (wanted > 0).astype(np.float64)
        found = mean(gathered(scores, is_wanted) / np.bincount(groups, is_wanted)[users])
    else:
        hits = gathered(scores, (wanted > 0).astype(np.float64)) > 0
        found = share(hits, np.ones(len(hits), np.bool_))
    return Summed(found.value, rows=found.rows, is_share=found.is_share, are_groups=True)


# --- sums -----------------------------------------------------------------------------------


def share(hits: Array, counted: Array) -> Summed:
    """Return the share of ``hits`` among the rows ``counted``."""
    if not counted.any():
        raise Unmeasurable("no_rows")
    return Summed(_ratio, rows=np.stack([hits, counted], axis=1).astype(np.float64), is_share=True)


def mean(values: Array) -> Summed:
    """Return the mean of one value a row."""
    return Summed(_ratio, rows=_counted(values))


def _counted(values: Array) -> Array:
    return np.stack([values, np.ones(len(values))], axis=1)


def _ratio(sums: Array) -> Array:
    return _over(sums[..., 0], sums[..., 1])


def _over(upper: Array, lower: Array) -> Array:
    return np.divide(upper, lower)
