"""Statistics of latencies: from the nanoseconds of timed runs to one row of a Certificate.

* Percentiles are by nearest rank: every figure is a time that was really measured.
* p99 is stated from 1,000 runs on; below, the slowest few say nothing.
* A row is noisy when the medians of its blocks lie more than 10 % apart: then something else
  used the machine, and whoever compares must know.
* All figures are whole nanoseconds; nothing here reads a clock.

What is run, and for how long, is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.model.certificate import PerfRow

if TYPE_CHECKING:
    from collections.abc import Sequence

P99_RUNS_LEAST: Final = 1000

_NOISY_PERCENT: Final = 10


def nearest_rank(in_order: Sequence[int], percent: int) -> int:
    """Return the smallest of ``in_order`` that at least ``percent`` of them do not exceed."""
    assert in_order
    assert 0 < percent <= 100
    return in_order[-(-percent * len(in_order) // 100) - 1]


def median_absolute_deviation(in_order: Sequence[int]) -> int:
    """Return the median distance from the median, both by nearest rank."""
    middle = nearest_rank(in_order, 50)
    return nearest_rank(sorted(abs(one - middle) for one in in_order), 50)


def is_noisy(medians: Sequence[int]) -> bool:
    """Say whether the medians of the blocks differ by over 10 % of the smallest."""
    return max(medians) * 100 > min(medians) * (100 + _NOISY_PERCENT)


def perf_row(
    batch: int,
    threads: int,
    blocks: Sequence[Sequence[int]],
    load_before_centi: int,
    load_after_centi: int,
) -> PerfRow:
    """Sum up the blocks of one batch size and number of threads; no block may be empty."""
    together = sorted(one for block in blocks for one in block)
    medians = tuple(nearest_rank(sorted(block), 50) for block in blocks)
    return PerfRow(
        batch=batch,
        threads=threads,
        n=len(together),
        min=together[0],
        p10=nearest_rank(together, 10),
        p50=nearest_rank(together, 50),
        p90=nearest_rank(together, 90),
        p99=nearest_rank(together, 99) if len(together) >= P99_RUNS_LEAST else None,
        mad=median_absolute_deviation(together),
        blocks=medians,
        is_noisy=is_noisy(medians),
        load_before_centi=load_before_centi,
        load_after_centi=load_after_centi,
    )
