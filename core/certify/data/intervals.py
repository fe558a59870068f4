"""95 % intervals: Wilson's for a share of rows, resampling for everything else.

* A metric is a function of sums over rows (``Summed``), so that a resample is a product of
  counts and rows, and every metric is resampled by the same few lines.
* 2,000 resamples, percentile method, in batches of 100.  What is drawn are rows, or whole users
  or series where the data name them.  A metric of the confusion matrix is drawn from its cells,
  which is the same thing and faster.
* Above 5,000 rows it is blocks of rows that are drawn, put together by chance, or counts of
  cells: for sums over rows that is the same interval at a cost that does not grow.
* The seed is the first 8 bytes of SHA-256(data digest, metric): whoever has the data gets the same
  interval.  An interval always holds its value.

A resample without a value (no row of a class) is left out; with most of them gone there is no
interval, which is said and not papered over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.model.arrays import Array

RESAMPLES: Final = 2000
BATCH: Final = 100
LEVEL: Final = 0.95
ROWS_DRAWN_MOST: Final = 5_000
_BLOCKS: Final = 2000


@dataclass(frozen=True, slots=True)
class Summed:
    """A metric as a function of sums: row i adds ``weights[i]`` at ``cells[i]``, or a whole row.

    Either ``rows`` [n, k] holds what each row adds, or ``cells`` [n] says which of ``size`` counts
    it adds one to.  ``value`` takes sums [..., k] and gives [...], NaN where there is none.
    ``is_share`` marks a share: the first sum over the second.  ``are_groups`` says that its rows
    are users or series already, ``is_confusion`` that its cells are those of a confusion matrix.
    ``quantile`` is the sorted sample and the share below, where the metric is such a value: of
    many rows its interval is found by counting.
    """

    value: Callable[[Array], Array]
    rows: Array | csr_array | None = None
    cells: Array | None = None
    size: int = 0
    is_share: bool = False
    are_groups: bool = False
    is_confusion: bool = False
    quantile: tuple[Array, float] | None = None

    @property
    def n(self) -> int:
        """Return the number of rows."""
        counted = self.rows if self.rows is not None else self.cells
        assert counted is not None
        return int(counted.shape[0])

    def totals(self) -> Array:
        """Return the sums over all rows."""
        if self.rows is not None:
            return np.asarray(self.rows.sum(axis=0), dtype=np.float64)
        assert self.cells is not None
        return np.bincount(self.cells, minlength=self.size).astype(np.float64)

    def estimate(self) -> float:
        """Return the value over all rows."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(self.value(self.totals()[None, :])[0])

    def table(self, units: Array | None, count: int) -> Array | csr_array:
        """Return what each of ``count`` units adds, [count, k]; a row is one without ``units``."""
        if self.rows is not None:
            if units is None:
                return self.rows
            made = _indicator(units, count) @ self.rows
            return made if isinstance(made, csr_array) else np.asarray(made)
        assert self.cells is not None
        places = np.arange(len(self.cells)) if units is None else units
        ones = np.ones(len(self.cells))
        found = csr_array((ones, (places, self.cells)), shape=(count, self.size))
        found.sum_duplicates()
        return found


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a value and how they were come by; ``None`` where there are none."""

    low: float | None
    high: float | None
    method: str


def seed_of(dataset_sha256: bytes, metric: str) -> int:
    """Return the seed that everybody uses for this metric on these data."""
    return int.from_bytes(hashlib.sha256(dataset_sha256 + metric.encode()).digest()[:8], "big")


def interval_of(metric: Summed, groups: Array | None, seed: int) -> Interval:
    """Return the 95 % interval of ``metric``; ``groups`` are drawn whole where they are given."""
    groups = None if metric.are_groups else groups
    if metric.is_share and groups is None:
        hits, counted = (round(one) for one in metric.totals())
        return _wilson(hits, counted)
    is_large = metric.n > ROWS_DRAWN_MOST
    if groups is None and is_large and metric.quantile is not None:
        return _counted(*metric.quantile)
    chance = np.random.default_rng(seed)
    if groups is None and metric.cells is not None and (is_large or metric.is_confusion):
        method = "multinomial" if metric.is_confusion else "bootstrap"
        return _percentiles(metric, _from_cells(metric, chance), method)
    units, count = units_of(metric.n, groups, chance)
    (values,) = resampled((metric,), units, count, chance)
    is_grouped = groups is not None or metric.are_groups
    return _percentiles(metric, values, "bootstrap_groups" if is_grouped else "bootstrap")


def units_of(n: int, groups: Array | None, chance: np.random.Generator) -> tuple[Array | None, int]:
    """Return to which unit each row belongs, and how many there are: rows, groups, or blocks."""
    if groups is None and n <= ROWS_DRAWN_MOST:
        return None, n
    units, count = np.arange(n), n
    if groups is not None:
        names, units = np.unique(groups, return_inverse=True)
        count = len(names)
    if count > ROWS_DRAWN_MOST:
        units = (chance.permutation(count) % _BLOCKS)[units]
        count = _BLOCKS
    return units, count


def resampled(
    metrics: tuple[Summed, ...], units: Array | None, count: int, chance: np.random.Generator
) -> tuple[Array, ...]:
    """Draw units with replacement; return for each metric its value in each resample.

    All metrics see the same draws, so that their differences are paired.
    """
    tables = [one.table(units, count) for one in metrics]
    found = [np.empty(RESAMPLES) for _ in metrics]
    for start in range(0, RESAMPLES, BATCH):
        drawn = chance.integers(0, count, (BATCH, count))
        drawn += np.arange(BATCH)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=BATCH * count).reshape(BATCH, count)
        weights = counts.astype(np.float64)
        for metric, table, values in zip(metrics, tables, found, strict=True):
            with np.errstate(invalid="ignore", divide="ignore"):
                values[start : start + BATCH] = metric.value(_product(weights, table))
    return tuple(found)


def spread(values: Array, estimate: float) -> tuple[float, float] | None:
    """Return the percentile bounds of resampled ``values``, widened to hold ``estimate``."""
    known = values[np.isfinite(values)]
    if len(known) * 2 < len(values) or not np.isfinite(estimate):
        return None
    edge = (1 - LEVEL) / 2
    low, high = np.quantile(known, (edge, 1 - edge))
    return min(float(low), estimate), max(float(high), estimate)


def _wilson(hits: int, counted: int) -> Interval:
    if counted == 0:
        return Interval(None, None, "")
    from scipy.stats import binomtest  # noqa: PLC0415 - takes half a second

    found = binomtest(hits, counted).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Interval(float(found.low), float(found.high), "wilson")


def _percentiles(metric: Summed, values: Array, method: str) -> Interval:
    bounds = spread(values, metric.estimate())
    return Interval(None, None, "") if bounds is None else Interval(*bounds, method)


def _from_cells(metric: Summed, chance: np.random.Generator) -> Array:
    totals = metric.totals()
    some = np.flatnonzero(totals)
    found = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, BATCH):
        drawn = np.zeros((BATCH, len(totals)))
        drawn[:, some] = chance.multinomial(metric.n, totals[some] / metric.n, BATCH)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[start : start + BATCH] = metric.value(drawn)
    return found


def _counted(ordered: Array, share: float) -> Interval:
    """Return the interval of a quantile by the places it may have in the sample (binomial)."""
    edge = (1 - LEVEL) / 2
    n = len(ordered)
    from scipy.stats import binom  # noqa: PLC0415 - takes half a second

    low, high = (int(binom.ppf(one, n, share)) for one in (edge, 1 - edge))
    return Interval(float(ordered[max(0, low - 1)]), float(ordered[min(n - 1, high)]), "order")


def _product(weights: Array, table: Array | csr_array) -> Array:
    if isinstance(table, csr_array):
        return np.asarray((table.T @ weights.T).T)
    return np.asarray(weights @ table)


def _indicator(units: Array, count: int) -> csr_array:
    n = len(units)
    return csr_array((np.ones(n), (units, np.arange(n))), shape=(count, n))
