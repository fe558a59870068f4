"""TFLite models, run by LiteRT on the processor; there only where the extra is installed.

* Only a dimension that the model leaves open is resized; a model for one row takes one row.
* What a model keeps between two runs is cleared before each: every run begins alike.
* A run cannot be ended here, only between two; who waits too long ends the process.

Whether the answers are right is measured elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from ai_edge_litert import __version__ as _version  # type: ignore[import-untyped]  # ships no types
from ai_edge_litert.interpreter import (  # type: ignore[import-untyped]
    Interpreter,
    OpResolverType,
)

from hanse.core.certify.adapters.refusal import name
from hanse.core.certify.adapters.session import Raw, Refusal, Stop, refusals
from hanse.core.limits import TENSOR_DIMENSIONS_MAX, TENSORS_OF_A_SIGNATURE_MAX
from hanse.core.model.artifact import TensorFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hanse.core.model.arrays import Array
    from hanse.core.model.running import Optimisation

_OPEN: Final = -1  # a dimension that may be resized
_OUT_OF_MEMORY: Final = ("bad_alloc", "Failed to allocate", "failed to allocate")
_Details = dict[str, Any]  # as the library describes a tensor


class LitertSession:
    """One TFLite model, loaded."""

    runtime: Literal["litert"] = "litert"
    version: str = _version

    def __init__(
        self, model: Path | bytes, threads: int, optimisation: Optimisation, stage: Path
    ) -> None:
        """Load a file or bytes; raise ``Refusal``."""
        self._stage = stage
        resolvers = OpResolverType
        source = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        with refusals(Stop(), self.words):
            self._interpreter = Interpreter(
                **source,
                num_threads=threads,
                experimental_op_resolver_type=(
                    resolvers.AUTO
                    if optimisation == "all"
                    else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                ),
            )
            self._interpreter.allocate_tensors()
            given = self._interpreter.get_input_details()
            made = self._interpreter.get_output_details()
        self.inputs = _signature(given)
        self.outputs = _signature(made)
        self._given = {shown.name: one for shown, one in zip(self.inputs, given, strict=True)}
        self._made = [int(one["index"]) for one in made]
        self._shapes = {key: tuple(one["shape"].tolist()) for key, one in self._given.items()}

    def bind(self, inputs: Mapping[str, Array], stop: Stop) -> Callable[[], Raw]:
        """Take inputs that fit the signature; what comes back runs the model once on them."""
        stop.check()
        with refusals(stop, self.words):
            self._resize({key: array.shape for key, array in inputs.items()})
        feeds = [(int(self._given[key]["index"]), _fed(array)) for key, array in inputs.items()]
        interpreter, made = self._interpreter, self._made

        def run() -> Raw:
            stop.check()
            interpreter.reset_all_variables()
            for index, array in feeds:
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in made]

        return run

    def words(self, error: Exception) -> str:
        """Return what the runtime said, or raise ``MemoryError`` when that is what it meant."""
        said = " ".join(str(error).split()).replace(f"{self._stage}/", "")
        if any(words in said for words in _OUT_OF_MEMORY):
            raise MemoryError from error
        return name(said)

    def _resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        for key, shape in shapes.items():
            index = int(self._given[key]["index"])
            self._interpreter.resize_tensor_input(index, list(shape), strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = dict(shapes)


def _fed(array: Array) -> Array:
    if array.dtype.kind != "U":
        return array
    return np.array([one.encode() for one in array.ravel()], object).reshape(array.shape)


def _signature(details: Sequence[_Details]) -> tuple[TensorFacts, ...]:
    if len(details) > TENSORS_OF_A_SIGNATURE_MAX:
        raise Refusal(f"{len(details)} inputs or outputs, limit {TENSORS_OF_A_SIGNATURE_MAX}")
    facts = tuple(_tensor(one) for one in details)
    if len({one.name for one in facts}) < len(facts):
        raise Refusal("two inputs or outputs have one name")
    return facts


def _tensor(details: _Details) -> TensorFacts:
    shape = [int(one) for one in details["shape"]]
    opened = [int(one) for one in details["shape_signature"]] or shape
    if len(shape) > TENSOR_DIMENSIONS_MAX:
        raise Refusal(f"{details['name']}: {len(shape)} dimensions, limit {TENSOR_DIMENSIONS_MAX}")
    return TensorFacts(
        name=name(str(details["name"])),
        dtype=_dtype(details["dtype"]),
        shape=tuple(None if one == _OPEN else one for one in opened),
    )


def _dtype(given: Any) -> str:  # noqa: ANN401  a type of numpy, named by the library
    dtype = np.dtype(given)
    return "string" if dtype.kind in "OSU" else name(dtype.name)
