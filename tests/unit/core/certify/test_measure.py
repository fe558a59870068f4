"""Statistics of latencies, against numpy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.certify.measure import (
    is_noisy,
    median_absolute_deviation,
    nearest_rank,
    perf_row,
)

TIMES = st.lists(st.integers(1, 10**12), min_size=1, max_size=300)


@given(TIMES, st.sampled_from([1, 10, 50, 90, 99, 100]))
def test_a_percentile_is_numpys_by_inverted_distribution(times, percent):
    expected = np.percentile(np.array(times, dtype=object), percent, method="inverted_cdf")
    assert nearest_rank(sorted(times), percent) == expected


@pytest.mark.parametrize(
    ("count", "percent", "place"),
    [(1, 50, 1), (2, 50, 1), (3, 50, 2), (10, 10, 1), (11, 10, 2), (100, 99, 99), (101, 99, 100)],
)
def test_nearest_rank_is_the_least_place_that_covers_the_share(count, percent, place):
    assert nearest_rank(range(1, count + 1), percent) == place


def test_deviation_is_the_middle_distance_from_the_middle():
    assert median_absolute_deviation([1, 2, 3, 4, 100]) == 1
    assert median_absolute_deviation([7]) == 0


def test_blocks_are_noisy_beyond_ten_percent_and_not_at_it():
    assert not is_noisy([100, 110, 105])
    assert is_noisy([100, 111])
    assert not is_noisy([5])


def test_p99_is_stated_from_a_thousand_runs():
    few = perf_row(1, 1, [[5] * 500, [5] * 499], 0, 0)
    many = perf_row(1, 1, [[5] * 500, [5] * 490 + [9] * 10], 0, 0)
    assert few.p99 is None
    assert (many.n, many.p99) == (1000, 5)


def test_a_row_sums_up_its_blocks():
    row = perf_row(8, 2, [[10, 30, 20], [40, 50, 60]], 12, 34)
    assert (row.batch, row.threads, row.n, row.min, row.p10) == (8, 2, 6, 10, 10)
    assert (row.p50, row.p90, row.mad) == (30, 60, 10)
    assert (row.blocks, row.is_noisy) == ((20, 50), True)
    assert (row.load_before_centi, row.load_after_centi) == (12, 34)
    assert row.rows_per_second == 8 * 1_000_000_000 // 30


@given(st.lists(TIMES, min_size=1, max_size=4))
def test_figures_of_a_row_rise(blocks):
    row = perf_row(1, 1, blocks, -1, -1)
    assert row.min <= row.p10 <= row.p50 <= row.p90 <= (row.p99 or row.p90)
