"""What goes when others' content becomes too much, and what never goes."""

from __future__ import annotations

import hashlib

import pytest

from hanse.core.artifacts.quota import Held, QuotaFull, Whose, check_room, choose_drops
from hanse.core.limits import OTHERS_CONTENT_BYTES_MAX


def held(name, size, seeded_ms=0, whose=Whose.OTHERS):
    return Held(hashlib.sha256(name.encode()).digest(), size, whose, seeded_ms)


def test_nothing_goes_while_it_fits():
    assert choose_drops([held("a", 60), held("b", 40)], 100) == ()
    assert choose_drops([], 0) == ()


def test_the_least_recently_seeded_goes_first_and_no_more_than_must():
    old, middle, new = held("a", 30, 1), held("b", 30, 2), held("c", 60, 3)
    assert choose_drops([new, old, middle], 100) == (old,)
    assert choose_drops([new, old, middle], 89) == (old, middle)


def test_of_two_equally_old_the_larger_goes():
    small, large = held("a", 10), held("b", 90)
    assert choose_drops([small, large], 50) == (large,)


@pytest.mark.parametrize("whose", [one for one in Whose if one is not Whose.OTHERS])
def test_what_is_not_others_neither_counts_nor_goes(whose):
    mine = held("a", 1000, 0, whose)
    others = held("b", 100, 5)
    assert choose_drops([mine, others], 100) == ()
    assert choose_drops([mine, others], 99) == (others,)


def test_a_file_we_need_ourselves_stays_though_others_want_it_too():
    both = [held("a", 100), held("a", 100, 0, Whose.ORDER)]
    assert choose_drops(both, 0) == ()
    assert choose_drops(both[::-1], 0) == ()


def test_a_file_in_two_artifacts_counts_once_with_its_last_seeding():
    twice = [held("a", 60, 9), held("a", 60, 1)]
    other = held("b", 40, 5)
    assert choose_drops([*twice, other], 100) == ()
    assert choose_drops([*twice, other], 99) == (other,)


def test_room_is_made_for_what_comes():
    old = held("a", 60, 1)
    assert check_room([old, held("b", 40, 2)], 30, 100) == (old,)
    assert check_room([], 100, 100) == ()


def test_what_never_fits_is_refused():
    with pytest.raises(QuotaFull) as caught:
        check_room([], OTHERS_CONTENT_BYTES_MAX + 1)
    assert caught.value.values["most_bytes"] == 50 * 1024**3


def test_the_choice_does_not_depend_on_the_order_asked_in():
    rows = [held(str(n), n % 7 + 1, n % 5) for n in range(40)]
    assert choose_drops(rows, 50) == choose_drops(rows[::-1], 50)
