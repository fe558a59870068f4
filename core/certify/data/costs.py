"""What a wrong answer costs: a matrix that a person gives, and the cost expected under it.

* Rows are the truth, columns what the model says; a number is what one such row costs, and a
  negative one is a gain.  Amounts are millionths of the person's unit, which is his to name.
* A matrix must have every label of the model, by name, once; it may stand in any order.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import numpy as np

from hanse.core.certify.data.faults import CostsRefused, named, shown
from hanse.core.certify.data.intervals import Summed
from hanse.core.limits import CARD_LINE_CHARACTERS_MAX, COST_LABELS_MAX, COST_MATRIX_SIZE_BYTES_MAX
from hanse.core.market.scaled import read_decimal, read_micro
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.certify.data.outputs import Judged
    from hanse.core.model.arrays import Array

_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=CARD_LINE_CHARACTERS_MAX)]
_COST_DIGITS: Final = 10**9  # a row costs less than a thousand million


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A matrix in JSON; amounts may be numbers or their text."""

    labels: Annotated[tuple[_Label, ...], msgspec.Meta(min_length=2, max_length=COST_LABELS_MAX)]
    costs: Annotated[tuple[tuple[msgspec.Raw, ...], ...], msgspec.Meta(max_length=COST_LABELS_MAX)]
    unit: Annotated[str, msgspec.Meta(max_length=CARD_LINE_CHARACTERS_MAX)] = ""


@dataclass(frozen=True, slots=True)
class CostMatrix:
    """``costs_micro[truth][said]`` in the order of ``labels``; ``unit`` such as EUR, or empty."""

    labels: tuple[str, ...]
    costs_micro: tuple[tuple[int, ...], ...]
    unit: str = ""


def read_costs(raw: bytes, file_format: Literal["json", "csv"]) -> CostMatrix:
    """Read a matrix; raise ``CostsRefused``.

    JSON: ``{"labels": [...], "costs": [[...], ...], "unit": "EUR"}``.  CSV: a header of the labels
    said behind one cell that may name the unit, and a row for each true label that begins with it.
    """
    if len(raw) > COST_MATRIX_SIZE_BYTES_MAX:
        raise CostsRefused("too_large", len(raw), COST_MATRIX_SIZE_BYTES_MAX)
    return _of_json(raw) if file_format == "json" else _of_csv(raw)


def expected_cost(confusion: Sequence[Sequence[int]], matrix: Sequence[Sequence[int]]) -> int:
    """Return what a row costs on average, in millionths: counts and costs by [truth][said]."""
    total = sum(sum(row) for row in confusion)
    cost = sum(
        count * price
        for counts, prices in zip(confusion, matrix, strict=True)
        for count, price in zip(counts, prices, strict=True)
    )
    return (2 * cost + total) // (2 * total) if total else 0


def ordered_costs(matrix: CostMatrix, labels: Sequence[str]) -> Array:
    """Return the costs [truth, said] in the order of a model's ``labels``."""
    missing = [one for one in labels if one not in matrix.labels]
    extra = [one for one in matrix.labels if one not in labels]
    if missing or extra:
        raise CostsRefused("labels", named(matrix.labels), named(labels))
    places = [matrix.labels.index(one) for one in labels]
    return np.array(matrix.costs_micro, dtype=np.float64)[np.ix_(places, places)] / MICRO


def cost_of(judged: Judged, matrix: CostMatrix) -> Summed:
    """Return the cost of a row as a mean over rows."""
    assert judged.said is not None
    costs = ordered_costs(matrix, judged.labels)[judged.truth, judged.said]
    rows = np.stack([costs, np.ones(len(costs))], axis=1)

    def value(sums: Array) -> Array:
        found: Array = sums[..., 0] / sums[..., 1]
        return found

    return Summed(value, rows=rows)


def _of_json(raw: bytes) -> CostMatrix:
    try:
        file = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise CostsRefused("not_readable", shown(str(fault)), "labels, costs") from fault
    costs = [[_cell(bytes(one).decode().strip('"')) for one in row] for row in file.costs]
    return _checked(file.labels, costs, file.unit)


def _of_csv(raw: bytes) -> CostMatrix:
    try:
        text = raw.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as fault:
        raise CostsRefused("not_readable", shown(str(fault)), "UTF-8 CSV") from fault
    if len(rows) < 3:
        raise CostsRefused("size", len(rows), 3)
    labels = tuple(one.strip() for one in rows[0][1:])
    by_label: dict[str, list[int]] = {}
    for row in rows[1:]:
        name = row[0].strip()
        if name in by_label:
            raise CostsRefused("label_twice", shown(name), 1)
        by_label[name] = [_cell(one.strip()) for one in row[1:]]
    if set(by_label) != set(labels):
        raise CostsRefused("labels", named(by_label), named(labels))
    return _checked(labels, [by_label[one] for one in labels], rows[0][0].strip())


def _cell(text: str) -> int:
    number = read_decimal(text)
    value = read_micro(text)
    if number is None or value is None or abs(number) > _COST_DIGITS:
        raise CostsRefused("amount", shown(text), f"-{_COST_DIGITS} … {_COST_DIGITS}")
    return value


def _checked(labels: tuple[str, ...], costs: Sequence[Sequence[int]], unit: str) -> CostMatrix:
    size = len(labels)
    if not 2 <= size <= COST_LABELS_MAX or any(
        not one or len(one) > CARD_LINE_CHARACTERS_MAX for one in labels
    ):
        raise CostsRefused("size", size, f"2 … {COST_LABELS_MAX}")
    twice = [one for i, one in enumerate(labels) if one in labels[:i]]
    if twice:
        raise CostsRefused("label_twice", named(twice), 1)
    if len(costs) != size or any(len(row) != size for row in costs):
        raise CostsRefused("size", f"{len(costs)} x {max(map(len, costs), default=0)}", size)
    return CostMatrix(labels, tuple(tuple(row) for row in costs), unit)
