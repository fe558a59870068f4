"""Who is near, and how much of one writer is shown."""

from __future__ import annotations

import pytest

from hanse.core.ledger.kinds import KINDS
from hanse.core.ledger.quotas import Tier
from hanse.core.market import admission
from hanse.core.market.admission import (
    RATES,
    SORT_ANY,
    STRANGERS_KINDS,
    is_shown,
    rate_of,
    sort_of,
    tiers,
)
from hanse.core.model.ids import IdentityId


def who(number: int) -> IdentityId:
    return IdentityId(bytes([number]) * 32)


US, A, B, C, D, E = (who(number) for number in range(6))


def found(follows, parties=()):
    return tiers(US, lambda it: follows.get(it, ()), parties)


def test_we_and_whom_we_follow_are_near_and_two_follows_on_is_a_hop():
    chain = {US: [A], A: [B], B: [C], C: [D]}
    assert found(chain) == {US: Tier.NEAR, A: Tier.NEAR, B: Tier.HOP, C: Tier.HOP}


def test_parties_are_near_and_whom_they_follow_is_a_hop_away():
    assert found({A: [B]}, [A]) == {US: Tier.NEAR, A: Tier.NEAR, B: Tier.HOP}


def test_the_shorter_way_counts():
    follows = {US: [A, D], A: [B], B: [C], C: [E], D: [C]}
    assert found(follows)[E] is Tier.HOP


def test_who_follows_us_gets_no_nearer_by_it():
    assert A not in found({A: [US]})


def test_circles_end():
    assert found({US: [A], A: [US, A, B], B: [A]}) == {
        US: Tier.NEAR,
        A: Tier.NEAR,
        B: Tier.HOP,
    }


def test_only_so_many_are_looked_at(monkeypatch):
    monkeypatch.setattr(admission, "TIERED_IDENTITIES_MAX", 3)
    assert len(found({US: [A], A: [B, C, D]})) == 3


@pytest.mark.parametrize(
    ("kind", "sort"),
    [
        ("listing/1", "listing"),
        ("listing/2", "listing"),
        ("profile/1", SORT_ANY),
        ("nobody-knows/1", SORT_ANY),
        ("private/1", None),
        ("revoke/1", None),
        ("erase/1", None),
    ],
)
def test_kinds_are_counted_by_sort(kind, sort):
    assert sort_of(kind) == sort


def test_whatever_says_who_somebody_is_or_takes_something_back_is_never_muted():
    for kind, rule in KINDS.items():
        if rule.root or not rule.erasable:
            assert sort_of(kind) is None or kind in {"sale/1", "fault/1"}, kind


def test_what_strangers_are_asked_for_are_kinds_that_exist():
    assert set(KINDS) >= STRANGERS_KINDS


@pytest.mark.parametrize("tier", Tier)
def test_near_ones_may_have_ten_times_as_much_shown(tier):
    for sort, rate in RATES.items():
        assert rate_of(sort, tier) == rate * (10 if tier is Tier.NEAR else 1)


def test_one_more_is_shown_below_both_rates_only():
    full_sort = {"listing": 10, SORT_ANY: 10}
    full_day = {"listing": 0, SORT_ANY: 200}
    room = {"listing": 9, SORT_ANY: 199}
    shown = [
        is_shown(lambda name, counts=counts: counts[name], "listing", Tier.STRANGER)
        for counts in (full_sort, full_day, room)
    ]
    assert shown == [False, False, True]
