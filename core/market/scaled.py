"""Figures of a card: millionths as whole numbers, read from and written as decimal text."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from hanse.core.model.card import MICRO

_PLACES: Final = 6
_WHOLE_DIGITS_MOST: Final = 12  # far above any figure, far below 2**62 millionths
_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?\Z"
)


def micro_text(value_micro: int) -> str:
    """Write millionths as a plain decimal number: 874000 is ``0.874``."""
    sign = "-" if value_micro < 0 else ""
    whole, rest = divmod(abs(value_micro), MICRO)
    decimals = f"{rest:06d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def scaled_text(value: int, places: int) -> str:
    """Write ``value`` x 10**-``places`` as a plain decimal number without trailing zeros."""
    return micro_text(value * 10 ** (_PLACES - places))


def read_micro(given: object) -> int | None:
    """Read a number or its text as millionths, rounded half to even; None for anything else."""
    number = read_decimal(given)
    if number is None:
        return None
    return int((number * MICRO).to_integral_value(rounding=ROUND_HALF_EVEN))


def read_decimal(given: object) -> Decimal | None:
    """Read a number or its text exactly; None when it is none, or beyond any figure of a card."""
    match given:
        case bool():
            return None
        case int() if given.bit_length() < 64:
            number = Decimal(given)
        case Decimal():
            number = given
        case str() if _NUMBER.match(given.strip()):
            number = Decimal(given.strip())
        case _:
            return None
    is_figure = number.is_finite() and (number == 0 or number.adjusted() < _WHOLE_DIGITS_MOST)
    return number if is_figure else None
