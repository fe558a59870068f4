"""ONNX models, run by onnxruntime on the processor.

* One provider, named: a plain install offers another that would reach for the network.
* As many threads as asked, for one operator at a time; what it would write to the terminal
  is in its errors.
* A run that lasts can be ended: the runtime looks at a flag between two operators.

Whether the answers are right is measured elsewhere.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import onnxruntime  # type: ignore[import-untyped]  # ships no types

from hanse.core.certify.adapters.onnx_model import OUT_OF_MEMORY, runtime_words
from hanse.core.certify.adapters.refusal import name
from hanse.core.certify.adapters.session import Raw, Refusal, Stop, aligned, refusals
from hanse.core.limits import TENSOR_DIMENSIONS_MAX, TENSORS_OF_A_SIGNATURE_MAX
from hanse.core.model.artifact import TensorFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hanse.core.model.arrays import Array
    from hanse.core.model.running import Optimisation

_PROVIDERS: Final = ("CPUExecutionProvider",)
_SAY_NOTHING: Final = 4  # the severity "fatal"
_TENSOR: Final = re.compile(r"^tensor\((\w+)\)$")
_NUMPY_NAMES: Final = {"float": "float32", "double": "float64"}


class OrtSession:
    """One ONNX model, loaded."""

    runtime: Literal["onnxruntime"] = "onnxruntime"
    version: str = onnxruntime.__version__

    def __init__(
        self,
        model: Path | bytes,
        beside: Mapping[str, bytes],
        threads: int,
        optimisation: Optimisation,
        stage: Path,
    ) -> None:
        """Load a file, or bytes with the files ``beside`` them; raise ``Refusal``."""
        self._stage = stage
        self._options: tuple[Stop, object] | None = None
        options = _options(threads, optimisation)
        if beside:
            options.add_external_initializers_from_files_in_memory(
                list(beside), list(beside.values()), [len(one) for one in beside.values()]
            )
        with refusals(Stop(), self.words):
            self._session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=_PROVIDERS
            )
            given, made = self._session.get_inputs(), self._session.get_outputs()
        self.inputs = _signature(given)
        self.outputs = _signature(made)
        self._given = {shown.name: one.name for shown, one in zip(self.inputs, given, strict=True)}
        self._made = [one.name for one in made]

    def bind(self, inputs: Mapping[str, Array], stop: Stop) -> Callable[[], Raw]:
        """Take inputs that fit the signature; what comes back runs the model once on them."""
        feeds = {
            self._given[key]: array.astype(object) if array.dtype.kind == "U" else aligned(array)
            for key, array in inputs.items()
        }
        run: Callable[[], Raw] = partial(
            self._session.run, self._made, feeds, self._run_options(stop)
        )
        return run

    def words(self, error: Exception) -> str:
        """Return what the runtime said, or raise ``MemoryError`` when that is what it meant."""
        if any(words in str(error) for words in OUT_OF_MEMORY):
            raise MemoryError from error
        return runtime_words(error, self._stage)

    def _run_options(self, stop: Stop) -> object:
        """Return the options of this question, which carry the flag that ends a run."""
        if self._options is None or self._options[0] is not stop:
            options = onnxruntime.RunOptions()
            options.log_severity_level = _SAY_NOTHING
            stop.tells(partial(options.__setattr__, "terminate", True))  # noqa: FBT003
            self._options = (stop, options)
        return self._options[1]


def _options(threads: int, optimisation: Optimisation) -> onnxruntime.SessionOptions:
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SAY_NOTHING
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimisation == "all" else levels.ORT_DISABLE_ALL
    )
    if threads > _processors():  # threads that wait by spinning would take turns with the others
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _processors() -> int:
    own = getattr(os, "sched_getaffinity", None)  # some systems do not say
    return len(own(0)) if own is not None else os.cpu_count() or 1


def _signature(values: Sequence[onnxruntime.NodeArg]) -> tuple[TensorFacts, ...]:
    if len(values) > TENSORS_OF_A_SIGNATURE_MAX:
        raise Refusal(f"{len(values)} inputs or outputs, limit {TENSORS_OF_A_SIGNATURE_MAX}")
    facts = tuple(_tensor(one) for one in values)
    if len({one.name for one in facts}) < len(facts):
        raise Refusal("two inputs or outputs look alike")
    return facts


def _tensor(value: onnxruntime.NodeArg) -> TensorFacts:
    kind = str(value.type)
    found = _TENSOR.match(kind)
    if found is None:
        return TensorFacts(name=name(value.name), dtype=name(_spoken(kind)), shape=None)
    if len(value.shape) > TENSOR_DIMENSIONS_MAX:
        raise Refusal(f"{value.name}: {len(value.shape)} dimensions, limit {TENSOR_DIMENSIONS_MAX}")
    return TensorFacts(
        name=name(value.name),
        dtype=name(_spoken(found[1])),
        shape=tuple(_dimension(one) for one in value.shape),
    )


def _dimension(given: object) -> int | str | None:
    if isinstance(given, int):
        return given if given >= 0 else None
    return name(given) or None if isinstance(given, str) else None


def _spoken(kind: str) -> str:
    """Write a type of the runtime as inspection does: ``sequence(map(int64, tensor(float32)))``."""
    written = re.sub(r"\w+", lambda word: _NUMPY_NAMES.get(word[0], word[0]), kind)
    return written.replace("seq(", "sequence(").replace(",", ", ")
