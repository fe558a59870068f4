"""Which values lie outside the range that a card says its model is made for.

* A range belongs to a column where the card names columns, else to the whole input.
* Bounds are rounded as the values are, so that a value that equals one as written is inside.

What is done about such a value is the caller's: it is told, and the row is used all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hanse.core.certify.data.naming import card_tensor, stated_columns
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.certify.data.dataset import Wanted
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts


def outside_range(
    wanted: Wanted, tensor: TensorFacts, names: Sequence[str], columns: Sequence[Array]
) -> list[tuple[str, Array]]:
    """Mark the values outside, column by column, of those the card states a range for."""
    stated = card_tensor(wanted.card, tensor.name)
    if stated is None:
        return []
    of_columns = stated_columns(wanted.card, tensor.name)
    found = []
    for place, (name, values) in enumerate(zip(names, columns, strict=True)):
        port = of_columns[place] if len(of_columns) == len(names) else stated
        if values.dtype.kind == "U":
            if port.categories:
                found.append((name, ~np.isin(values, port.categories)))
        elif port.low_micro is not None or port.high_micro is not None:
            found.append((name, _outside(values, port.low_micro, port.high_micro)))
    return found


def _outside(values: Array, low_micro: int | None, high_micro: int | None) -> Array:
    outside = np.zeros(values.shape, np.bool_)
    kind = values.dtype.type if values.dtype.kind == "f" else np.float64
    if low_micro is not None:
        outside |= values < kind(low_micro / MICRO)
    if high_micro is not None:
        outside |= values > kind(high_micro / MICRO)
    return outside
