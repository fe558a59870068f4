"""A loaded model and the rows that are given to it: together where it takes rows, else one by one.

* Rows of a file go together in a fixed number, so that the same file gives the same answers to
  the last digit: a runtime adds up in another order when there are more rows.
* Of a stream more go together while they are answered at once, and fewer when they are not: a
  first answer does not wait for a thousandth.
* A model with states, with an input that has no dimensions, or whose outputs are not by rows is
  run once for each row; all others by batches.
* States begin at zero with every row, or go from each row to the next.
* The time counted is the Worker's own, of runs alone.

What the rows are and what the outputs mean is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.faults import OutputsUnusable
from hanse.core.errors import WrongUse
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.certify.data.dataset import Wanted
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.control import Control
    from hanse.core.model.running import Loaded, Ran, Worker

_BATCH: Final = 64
_ROWS_MOST: Final = 512  # of a stream, in one question
_FAST_NS: Final = 20_000_000  # then more rows may go together
_SLOW_NS: Final = 500_000_000  # then fewer
_REFUSED: Final = "refused"


class NoStates(WrongUse):
    """Rows can be steps of one sequence only for a model whose card names its states."""

    code = "run.no_states"
    text = "the card of {model} names no states"
    fields = ("model",)


class StateUnknown(WrongUse):
    """The card names a state that the model does not have."""

    code = "run.state_unknown"
    text = "the model has no state {name}; it has {known}"
    fields = ("name", "known")


class RunSession:
    """One loaded model; ``ns`` is the time of all its runs so far."""

    def __init__(
        self,
        worker: Worker,
        loaded: Loaded,
        wanted: Wanted,
        states: Sequence[tuple[str, str]],
        *,
        is_stateful: bool,
        is_stream: bool,
    ) -> None:
        """Take a Worker that has loaded a model; ``states`` are pairs of output and input."""
        self.wanted = wanted
        self.ns = 0
        self._worker = worker
        self._loaded = loaded
        self._states = tuple(states)
        self._is_stateful = is_stateful
        inputs = {one.name: one for one in loaded.inputs}
        outputs = {one.name for one in loaded.outputs}
        for output, name in states:
            if name not in inputs or output not in outputs:
                raise StateUnknown(name=f"{output} > {name}", known=(*inputs, *outputs))
        self._scalars = {one.name for one in loaded.inputs if one.shape == ()}
        self._state = {name: _zero(inputs[name]) for _, name in states}
        self._is_by_rows = not self._states and not self._scalars
        self._is_stream = is_stream
        self._at_once = 1 if is_stream else _BATCH

    @property
    def isolation(self) -> str:
        """Return what the lock is worth."""
        return self._worker.grade

    @property
    def runtime(self) -> str:
        """Return what runs the model, with its version."""
        return f"{self._loaded.runtime} {self._loaded.version}"

    @property
    def rows_at_once(self) -> int:
        """Return how many rows are best given together now."""
        return self._at_once if self._is_by_rows else 1

    def run(self, inputs: Mapping[str, Array], n: int, control: Control) -> dict[str, Array]:
        """Run ``n`` rows; every output returned has as many.

        Raises ``WorkerFailed`` or ``OutputsUnusable``.
        """
        if not self._is_by_rows:
            return self._one_by_one(inputs, n, control)
        try:
            return self._in_parts(inputs, n, control)
        except WorkerFailed as error:
            if error.kind != _REFUSED:
                raise
            # Outputs that are not by rows come out when there is one row; a row that the model
            # takes in no way is refused again, alone.
            found = self._one_by_one(inputs, n, control)
            self._is_by_rows = False
            return found

    def _in_parts(self, inputs: Mapping[str, Array], n: int, control: Control) -> dict[str, Array]:
        parts: list[dict[str, Array]] = []
        start = 0
        while start < n:
            control.checkpoint("run", start, n)
            size, before = min(self._at_once, n - start), self.ns
            part = {name: one[start : start + size] for name, one in inputs.items()}
            parts.append(self._together(part, size, control))
            self._adapt(size, self.ns - before)
            start += size
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _adapt(self, size: int, ns: int) -> None:
        if not self._is_stream:
            return
        if ns < _FAST_NS and size == self._at_once:
            self._at_once = min(2 * size, _ROWS_MOST)
        elif ns > _SLOW_NS:
            self._at_once = max(1, size // 2)

    def _together(self, inputs: Mapping[str, Array], n: int, control: Control) -> dict[str, Array]:
        firsts = {one.shape[0] for one in self._loaded.inputs if one.shape}
        if n == 1 and all(not isinstance(one, int) or one == 1 for one in firsts):
            ran = self._worker.run(inputs, control)  # one answer less than over rows
        else:
            ran = self._worker.evaluate(inputs, n, control)
        self.ns += ran.ns
        return {name: _of_rows(name, one, n) for name, one in ran.outputs.items()}

    def _one_by_one(
        self, inputs: Mapping[str, Array], n: int, control: Control
    ) -> dict[str, Array]:
        parts: list[Ran] = []
        before = dict(self._state)
        try:
            for row in range(n):
                control.checkpoint("run", row, n)
                parts.append(self._step({name: one[row] for name, one in inputs.items()}, control))
        except WorkerFailed:
            self._state = before  # the rows are given again, each by itself
            raise
        return _joined(
            [{name: _alone(one) for name, one in part.outputs.items()} for part in parts]
        )

    def _step(self, row: Mapping[str, Array], control: Control) -> Ran:
        given = {
            name: np.asarray(one) if name in self._scalars else np.asarray(one)[None]
            for name, one in row.items()
        }
        ran = self._worker.run({**given, **self._state}, control)
        self.ns += ran.ns
        if self._is_stateful:
            self._state = {name: ran.outputs[output] for output, name in self._states}
        return ran


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Put rows behind each other, or raise ``OutputsUnusable`` where they are unlike."""
    found = {}
    for name in parts[0]:
        rows = [part[name] for part in parts]
        shapes = sorted({one.shape[1:] for one in rows})
        if len(shapes) > 1:
            raise OutputsUnusable("rows", f"{name}: {shapes[0]}, {shapes[1]}")
        found[name] = np.concatenate(rows)
    return found


def _zero(tensor: TensorFacts) -> Array:
    """Return the state a sequence begins with; open dimensions are one."""
    shape = [one if isinstance(one, int) else 1 for one in tensor.shape or ()]
    return np.zeros(shape, dtype="U1" if tensor.dtype == "string" else tensor.dtype)


def _of_rows(name: str, output: Array, n: int) -> Array:
    if output.ndim and len(output) == n:
        return output
    if n == 1:
        return output[None]
    raise OutputsUnusable("rows", f"{name}: {list(output.shape)}, {n}")


def _alone(output: Array) -> Array:
    """Return the output of one row as [1, ...]."""
    return output if output.ndim and len(output) == 1 else output[None]
