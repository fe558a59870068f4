"""Which of several models differ on one data set, row by row.

* Two models answered the same rows, so it is their difference that is tested: McNemar's exact test
  for the share of right answers, resampled differences for every other metric.
* All models see the same 2,000 resamples.  p is the normal one of the difference over its resampled
  standard error: 2,000 draws alone could not show a p as small as Holm's over 190 pairs asks for.
* Holm's step-down over all pairs keeps the chance of one false difference at 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.intervals import resampled, spread, units_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.certify.data.intervals import Summed
    from hanse.core.model.arrays import Array

ALPHA: Final = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """Model ``first`` less model ``second`` (places in the list given), with its 95 % interval.

    ``p`` is adjusted by Holm.  Without bounds the two could not be compared and count as equal.
    """

    first: int
    second: int
    value: float
    low: float | None
    high: float | None
    p: float

    @property
    def is_significant(self) -> bool:
        """Say whether the two differ by more than chance."""
        return self.p <= ALPHA


def differences(
    metrics: Sequence[Summed], values: Sequence[float], groups: Array | None, seed: int
) -> tuple[tuple[Difference, ...], tuple[Array, ...]]:
    """Compare every pair; return the differences, and what each model came to in each resample.

    ``metrics`` are drawn from, ``values`` are what each comes to over all rows.
    """
    if not metrics:
        return (), ()
    chance = np.random.default_rng(seed)
    are_groups = any(one.are_groups for one in metrics)
    groups = None if are_groups else groups
    units, count = units_of(metrics[0].n, groups, chance)
    drawn = resampled(tuple(metrics), units, count, chance)
    is_exact = groups is None and all(one.is_share and _counts_all(one) for one in metrics)
    found = []
    for first, second in combinations(range(len(metrics)), 2):
        value = values[first] - values[second]
        apart = drawn[first] - drawn[second]
        bounds = spread(apart, value)
        p = (
            mcnemar(_hits(metrics[first]), _hits(metrics[second]))
            if is_exact
            else _normal(value, apart)
        )
        low, high = (None, None) if bounds is None else bounds
        found.append(Difference(first, second, value, low, high, 1.0 if bounds is None else p))
    adjusted = holm([one.p for one in found])
    return (
        tuple(
            Difference(one.first, one.second, one.value, one.low, one.high, p)
            for one, p in zip(found, adjusted, strict=True)
        ),
        drawn,
    )


def mcnemar(first: Array, second: Array) -> float:
    """Return the exact two-sided p of McNemar's test: who was right where the other was wrong."""
    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    if only_first + only_second == 0:
        return 1.0
    from scipy.stats import binomtest  # noqa: PLC0415 - takes half a second

    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Return p adjusted for all of them, in their order."""
    found = [1.0] * len(values)
    highest = 0.0
    for place, one in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, values[one] * (len(values) - place)))
        found[one] = highest
    return found


def _normal(value: float, apart: Array) -> float:
    known = apart[np.isfinite(apart)]
    error = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    if not np.isfinite(value) or error == 0.0:
        return 1.0 if value == 0 or not np.isfinite(value) else 0.0
    from scipy.stats import norm  # noqa: PLC0415 - takes half a second

    return float(2 * norm.sf(abs(value) / error))


def _counts_all(metric: Summed) -> bool:
    """Say whether a share is of all rows, so that its hits can be set side by side."""
    return isinstance(metric.rows, np.ndarray) and bool((metric.rows[:, 1] == 1).all())


def _hits(metric: Summed) -> Array:
    assert isinstance(metric.rows, np.ndarray)
    return metric.rows[:, 0] > 0
