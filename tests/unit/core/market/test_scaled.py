"""Figures are whole millionths; text in and out is exact."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.market.scaled import micro_text, read_decimal, read_micro, scaled_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(874_000, "0.874"), (-12_500_000, "-12.5"), (0, "0"), (1, "0.000001"), (10**9, "1000")],
)
def test_a_figure_is_written_plainly(value, text):
    assert micro_text(value) == text


@given(st.integers(-(10**17), 10**17))
def test_what_is_written_is_read_again(value):
    assert read_micro(micro_text(value)) == value


@pytest.mark.parametrize(
    ("given", "value"),
    [
        *((1, 10**6), ("1e-3", 1000), (Decimal("0.0000005"), 0), (Decimal("0.0000015"), 2)),
        *((".5", 500_000), (" 7 ", 7_000_000), ("+1", 10**6)),
    ],
)
def test_a_figure_is_rounded_once_half_to_even(given, value):
    assert read_micro(given) == value


@pytest.mark.parametrize(
    "given",
    [
        *(None, True, "x", "", "NaN", Decimal("NaN"), Decimal("1e13"), "1e99", 2**70, [1], 0.5),
        *("1e999999999", "1_0"),
    ],
)
def test_what_is_no_figure_is_none(given):
    assert read_micro(given) is None
    assert read_decimal(given) is None


def test_a_figure_of_another_scale():
    assert [scaled_text(1234, 3), scaled_text(567, 6), scaled_text(5, 0)] == [
        "1.234",
        "0.000567",
        "5",
    ]
