"""A model over the rows of a data set, in the Worker: batch by batch, outputs joined again.

* An input without dimensions is given to every batch as it is; all others are cut.
* Every output must have the rows it was given as its first dimension; else nothing is joined.
* A model that takes only a fixed number of rows gets the last one again where rows are
  missing, and what it makes of those is cut off.
* Outputs are handed on in parts, so that what is held stays small.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.adapters.session import Refusal, aligned, named, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hanse.core.certify.adapters.session import Session, Stop
    from hanse.core.model.arrays import Array

_PART_BYTES: Final = 16 * 1024**2
_PART_NS: Final = 50_000_000  # a part also says how far it is: at most 20 a second


def evaluate(
    session: Session,
    inputs: Mapping[str, Array],
    batch: int,
    stop: Stop,
    give: Callable[[int, dict[str, Array]], None],
    *,
    fixed: bool,
) -> int:
    """Run over all rows and ``give`` outputs with the number of rows in them.

    Return the nanoseconds of all runs together; raise ``Refusal`` or ``Stopped``.
    """
    inputs = {key: aligned(array) for key, array in inputs.items()}  # once, not batch by batch
    count = max(len(array) for array in inputs.values() if array.ndim)
    waiting: list[dict[str, Array]] = []
    held, total_ns, last = 0, 0, time.perf_counter_ns()
    for start in range(0, count, batch):
        rows = min(batch, count - start)
        part = {
            key: _cut(array, start, rows, batch if fixed else rows) for key, array in inputs.items()
        }
        try:
            run = session.bind(part, stop)
            began = time.perf_counter_ns()
            raw = run()
            now = time.perf_counter_ns()
        except Exception as error:
            raise refusal_of(error, stop, session.words) from error
        stop.check()
        total_ns += now - began
        outputs = _of_rows(named(raw, session.outputs), batch if fixed else rows, rows)
        held += sum(array.nbytes for array in outputs.values())
        waiting.append(outputs)
        if held >= _PART_BYTES or now - last >= _PART_NS:
            _hand_on(waiting, give)
            held, last = 0, now
    _hand_on(waiting, give)
    return total_ns


def _cut(array: Array, start: int, rows: int, wanted: int) -> Array:
    if array.ndim == 0:
        return array
    part = array[start : start + rows]
    if wanted == rows:
        return part
    return np.concatenate([part, np.repeat(part[-1:], wanted - rows, axis=0)])


def _of_rows(outputs: dict[str, Array], given: int, rows: int) -> dict[str, Array]:
    for key, array in outputs.items():
        if array.ndim == 0 or len(array) != given:
            raise Refusal(
                f"output {key} has shape {list(array.shape)} for {given} rows:"
                " its first dimension is not the rows, so it cannot be joined"
            )
    return outputs if given == rows else {key: array[:rows] for key, array in outputs.items()}


def _hand_on(
    waiting: list[dict[str, Array]], give: Callable[[int, dict[str, Array]], None]
) -> None:
    """Give what waits, in pieces that one frame holds."""
    if not waiting:
        return
    try:
        joined = {key: np.concatenate([one[key] for one in waiting]) for key in waiting[0]}
    except ValueError as error:
        raise Refusal("the rows of an output differ in shape") from error
    waiting.clear()
    count = len(next(iter(joined.values())))
    row_bytes = max(1, sum(array.nbytes for array in joined.values()) // count)
    step = max(1, _PART_BYTES // row_bytes)
    for start in range(0, count, step):
        piece = {key: array[start : start + step] for key, array in joined.items()}
        give(min(step, count - start), piece)
