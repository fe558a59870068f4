"""A size as people type it: ``20GB``, ``1.5 TiB``, ``4096``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from hanse.core.errors import WrongUse

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([a-z]*)\Z")
_UNITS: Final[Mapping[str, int]] = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}


class BadSize(WrongUse):
    """A text is no size."""

    code = "size.bad"
    text = "{found} is no size; write 500MB, 20GB or a number of bytes"
    fields = ("found",)


def parse_size(text: str) -> int:
    """Read a size in bytes, rounded down to a whole one, or raise ``BadSize``."""
    found = _SIZE.match(text.strip().lower())
    if found is None or found.group(2) not in _UNITS:
        raise BadSize(found=text)
    return int(Decimal(found.group(1)) * _UNITS[found.group(2)])
