"""Rates: what may pass, and how long to wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hanse.network.wire.bucket import Bucket, Pace

NOW = 1_000_000


def test_without_a_rate_everything_passes():
    bucket = Bucket(None, NOW)
    assert bucket.take(10**12, NOW) == bucket.wait_ms(NOW) == 0


def test_a_seconds_worth_passes_at_once_and_then_by_the_second():
    bucket = Bucket(1000, NOW)
    assert bucket.take(1000, NOW) == 0
    assert bucket.take(500, NOW) == 500
    assert bucket.wait_ms(NOW + 200) == 300
    assert bucket.wait_ms(NOW + 500) == 0


def test_what_is_taken_may_exceed_what_is_there():
    bucket = Bucket(100, NOW)
    assert bucket.take(1100, NOW) == 10_000
    assert bucket.wait_ms(NOW + 9_999) == 1


def test_it_never_holds_more_than_a_second():
    bucket = Bucket(1000, NOW)
    assert bucket.take(1000, NOW + 10**9) == 0
    assert bucket.take(1, NOW + 10**9) == 1


def test_a_new_rate_holds_at_once_and_a_debt_is_kept():
    bucket = Bucket(1000, NOW)
    bucket.take(3000, NOW)
    bucket.set_rate(2000, NOW)
    assert bucket.rate == 2000
    assert bucket.wait_ms(NOW) == 1000
    bucket.set_rate(None, NOW)
    assert bucket.wait_ms(NOW) == 0


def test_a_clock_that_was_set_back_gives_nothing():
    bucket = Bucket(1000, NOW)
    bucket.take(2000, NOW)
    assert bucket.wait_ms(NOW - 5000) == 1000


@given(st.integers(1, 10**9), st.lists(st.integers(1, 10**7), min_size=1, max_size=50))
def test_who_waits_as_told_keeps_to_the_rate(rate, sizes):
    bucket, now = Bucket(rate, NOW), NOW
    for size in sizes:
        now += bucket.take(size, now)
    assert sum(sizes) <= rate + rate * (now - NOW + 1) / 1000 + 1


def test_a_pace_nobody_knows_says_so():
    pace = Pace(NOW)
    assert pace.needs_ms(1000) is None
    pace.begin(NOW)
    pace.add(500, NOW + 500)
    assert pace.rate is None  # half a second says too little, unless a Piece came whole
    pace.add(500, NOW + 1000)
    assert (pace.rate, pace.needs_ms(2000)) == (1000, 2000)
