"""Whether inputs fit the signature of a model, said before a runtime sees them.

* Every input of the model is given, and nothing else; the types are equal, never cast.
* A dimension that the model fixes is kept; one it names or leaves open is free.
* Over the rows of a data set the first dimension is the rows; an input without dimensions
  is the same for all of them.

What a runtime says to inputs that fit is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.model.arrays import DTYPES, dtype_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts


class Misfit(Exception):
    """Inputs do not fit; the text names the input and both values."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How a model goes over rows: how many there are, and how many it takes at once.

    ``fixed`` says that it takes no other number.
    """

    count: int
    batch: int
    fixed: bool


def check_inputs(signature: Sequence[TensorFacts], inputs: Mapping[str, Array]) -> None:
    """Raise ``Misfit`` unless ``inputs`` can be given to a model of ``signature`` as they are."""
    _check_names(signature, inputs)
    for tensor in signature:
        array = inputs[tensor.name]
        _check_type(tensor, array)
        if not _fits(tensor.shape, array.shape):
            raise Misfit(_shapes(tensor, array))


def check_rows(signature: Sequence[TensorFacts], inputs: Mapping[str, Array], batch: int) -> Rows:
    """Say how a model of ``signature`` goes over the rows of ``inputs``, or raise ``Misfit``."""
    assert batch >= 1
    _check_names(signature, inputs)
    counts: dict[str, int] = {}
    fixed: dict[str, int] = {}
    for tensor in signature:
        array = inputs[tensor.name]
        _check_type(tensor, array)
        shape = tensor.shape
        if array.ndim == 0:
            if shape:
                raise Misfit(_shapes(tensor, array))
            continue
        if shape and (len(shape) != array.ndim or not _fits(shape[1:], array.shape[1:])):
            raise Misfit(_shapes(tensor, array))
        counts[tensor.name] = array.shape[0]
        if shape and isinstance(shape[0], int):
            fixed[tensor.name] = shape[0]
    rows = _one_number(counts, "rows")
    if not rows:
        raise Misfit("no rows are given")
    if not fixed:
        return Rows(rows, min(batch, rows), fixed=False)
    taken = _one_number(fixed, "rows at once")
    if taken < 1:
        raise Misfit("the model takes no rows")
    return Rows(rows, taken, fixed=True)


def _check_names(signature: Sequence[TensorFacts], inputs: Mapping[str, Array]) -> None:
    wanted = {one.name for one in signature}
    if wanted != set(inputs):
        raise Misfit(f"inputs {sorted(inputs)}, the model takes {sorted(wanted)}")


def _check_type(tensor: TensorFacts, array: Array) -> None:
    given = dtype_name(array)
    if given != tensor.dtype or given not in DTYPES:
        raise Misfit(f"{tensor.name}: {given} given, the model takes {tensor.dtype}")


def _fits(wanted: Sequence[int | str | None] | None, given: Sequence[int]) -> bool:
    if not wanted:  # a runtime says the same of a number and of a shape nobody knows
        return True
    return len(wanted) == len(given) and all(
        not isinstance(one, int) or one == other for one, other in zip(wanted, given, strict=True)
    )


def _shapes(tensor: TensorFacts, array: Array) -> str:
    wanted = ", ".join("?" if one is None else str(one) for one in tensor.shape or ())
    return f"{tensor.name}: shape {list(array.shape)} given, the model takes [{wanted}]"


def _one_number(counts: Mapping[str, int], what: str) -> int:
    numbers = set(counts.values())
    if len(numbers) > 1:
        shown = ", ".join(f"{key}: {count}" for key, count in sorted(counts.items()))
        raise Misfit(f"inputs with unlike {what}: {shown}")
    return numbers.pop() if numbers else 0
