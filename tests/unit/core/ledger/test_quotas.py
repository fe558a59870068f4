"""How much of a Feed is held: by how near its Identity is, and never less than nothing."""

from __future__ import annotations

import itertools

import pytest

from hanse.core.ledger.quotas import DAY_MS, Tier, allowance

MIB = 1024**2


@pytest.mark.parametrize(
    ("tier", "headers", "body_bytes"),
    [
        (Tier.NEAR, 1_000_000, 1024 * MIB),
        (Tier.HOP, 2000, 64 * MIB),
        (Tier.STRANGER, 2000, MIB),
    ],
)
def test_each_tier_holds_so_much(tier, headers, body_bytes):
    assert allowance(tier, 0, 0) == (headers, body_bytes)
    assert allowance(tier, 1, 2) == (headers - 1, body_bytes - 2)
    assert allowance(tier, headers, body_bytes) == (0, 0)


@pytest.mark.parametrize("tier", Tier)
def test_what_is_held_beyond_leaves_nothing_and_no_debt(tier):
    assert allowance(tier, 10**9, 10**12) == (0, 0)


@pytest.mark.parametrize("tier", Tier)
def test_headers_and_bodies_are_counted_apart(tier):
    headers, body_bytes = allowance(tier, 0, 0)
    assert allowance(tier, headers, 0) == (0, body_bytes)
    assert allowance(tier, 0, body_bytes) == (headers, 0)


@pytest.mark.parametrize(("tier", "a_day"), [(Tier.NEAR, 0), (Tier.HOP, 200), (Tier.STRANGER, 50)])
def test_with_every_day_it_is_known_a_feed_may_grow(tier, a_day):
    at_once = allowance(tier, 0, 0)[0]
    assert allowance(tier, at_once, 0, DAY_MS - 1)[0] == 0
    assert allowance(tier, at_once, 0, 3 * DAY_MS)[0] == 3 * a_day
    assert allowance(tier, at_once, 0, -DAY_MS)[0] == 0


def test_who_is_nearer_is_never_held_less_of():
    for near, far in itertools.pairwise(Tier):
        assert all(a >= b for a, b in zip(allowance(near, 0, 0), allowance(far, 0, 0), strict=True))
