"""Sets of Pieces as bits: what is set, how it travels, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.model.transfer import Bitmap, bitmap_size


@given(st.integers(0, 200).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, 199)))))
def test_a_bitmap_is_a_set_of_numbers(drawn):
    count, numbers = drawn
    wanted = {one for one in numbers if one < count}
    bits = Bitmap(count)
    bits.add_all(wanted)
    assert {one for one in range(count) if one in bits} == wanted
    assert set(bits.missing()) == set(range(count)) - wanted
    assert len(bits) == len(wanted)
    assert bits.is_full == (len(wanted) == count)
    again = Bitmap(count, bytes(bits))
    assert bytes(again) == bytes(bits)
    assert len(again) == len(bits)


def test_bit_i_of_byte_n_stands_for_8_n_plus_i():
    bits = Bitmap(12)
    bits.add_all((0, 9))
    assert bytes(bits) == b"\x01\x02"


def test_what_was_set_can_be_cleared_again():
    bits = Bitmap.full(9)
    bits.discard(8)
    bits.discard(8)
    bits.discard(100)
    assert list(bits.missing()) == [8]
    assert len(bits) == 8


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x01\x00\x00", b"\x00\x02"])
def test_bytes_that_are_no_set_of_so_many_are_refused(raw):
    with pytest.raises(ValueError, match="set"):
        Bitmap(9, raw)


def test_a_copy_changes_nothing_in_the_first():
    bits = Bitmap(3)
    bits.copy().add(1)
    assert len(bits) == 0


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1), (8, 1), (9, 2), (65_536, 8192)])
def test_a_set_takes_one_bit_for_each(count, size):
    assert bitmap_size(count) == size
    assert Bitmap.full(count).is_full
