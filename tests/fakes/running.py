"""A ``ModelRunner`` in this process: models are functions of Python, and time is made up.

It keeps every rule of the port that its contract test (``test_running.py``) asks of it and of
the real one.  A test that wants a Worker to lie or to fail says so by ``fails`` or by what a
model's function returns or raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hanse.core.certify.signature import Misfit, check_inputs, check_rows
from hanse.core.model.artifact import TensorFacts
from hanse.core.model.running import Latencies, Loaded, Ran, Usage, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import Format, ModelFacts
    from hanse.core.model.control import Control
    from hanse.core.model.running import (
        Block,
        ConvertRequest,
        Grade,
        Made,
        Optimisation,
        Profile,
        Stage,
        WorkerLimits,
    )


def tensor(name: str, dtype: str, *shape: int | str | None) -> TensorFacts:
    """Write one row of a signature."""
    return TensorFacts(name=name, dtype=dtype, shape=shape)


@dataclass(frozen=True, slots=True)
class FakeModel:
    """A model: its signature, and what it makes of its inputs; ``ns`` is how long a run takes."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    run: Callable[[Mapping[str, Array]], Mapping[str, Array]]
    ns: int = 1000
    facts: ModelFacts | None = None


@dataclass(slots=True)
class FakeRunner:
    """Starts Workers that know ``models`` by file name and ``pictures`` as arrays.

    ``fails`` names what the Workers are asked for (``load``, ``run`` ...) and what they raise
    then; ``started`` keeps all of them.
    """

    models: Mapping[str, FakeModel] = field(default_factory=dict)
    pictures: Mapping[str, Array] = field(default_factory=dict)
    fails: dict[str, Exception] = field(default_factory=dict)
    grade: Grade = "full"
    layers: tuple[str, ...] = ("fake",)
    started: list[FakeWorker] = field(default_factory=list)

    def start(
        self, stage: Stage, limits: WorkerLimits, profile: Profile, python: Path | None = None
    ) -> FakeWorker:
        """Start one; with ``python`` nothing is known to convert here."""
        assert python is None
        if "start" in self.fails:
            raise self.fails["start"]
        self.started.append(FakeWorker(self, stage, limits, profile))
        return self.started[-1]


@dataclass(slots=True)
class FakeWorker:
    """One Worker of a ``FakeRunner``."""

    runner: FakeRunner
    stage: Stage
    limits: WorkerLimits
    profile: Profile
    layers: tuple[str, ...] = ()
    grade: Grade = "full"
    versions: Mapping[str, str] = field(default_factory=lambda: {"onnxruntime": "1.0.0"})
    memory: dict[str, bytes] = field(default_factory=dict)
    is_closed: bool = False
    loaded: Loaded | None = None
    _model: FakeModel | None = None

    def __post_init__(self) -> None:
        self.layers, self.grade = self.runner.layers, self.runner.grade

    def inspect(self, file: str, file_format: Format, control: Control) -> ModelFacts:
        """Return the facts the model was given."""
        self._begin("inspect", control)
        facts = self.runner.models[file].facts
        assert facts is not None
        assert facts.format == file_format
        return facts

    def convert(self, request: ConvertRequest, control: Control) -> Made:
        """Refuse: nothing converts here."""
        self._begin("convert", control)
        raise WorkerFailed("refused", "convert", f"no converter {request.converter}")

    def put(self, file: str, data: bytes | memoryview, control: Control) -> None:
        """Append to a file in memory."""
        self._begin("put", control)
        self.memory[file] = self.memory.get(file, b"") + bytes(data)

    def load(
        self,
        file: str,
        file_format: Format,
        threads: int,
        control: Control,
        *,
        in_memory: bool = False,
        optimisation: Optimisation = "all",
    ) -> Loaded:
        """Take the model of this name, if the file is where it should be."""
        assert threads >= 1
        self._begin("load", control)
        self._model = self.loaded = None
        if file_format not in ("onnx", "tflite"):
            raise WorkerFailed("refused", "load", f"{file}: {file_format} does not run here")
        if file not in self.runner.models or (in_memory and file not in self.memory):
            raise WorkerFailed("refused", "load", f"{file} is not there")
        self._model = self.runner.models[file]
        self.loaded = Loaded(
            inputs=self._model.inputs,
            outputs=self._model.outputs,
            load_ns=1_000_000,
            base_rss_bytes=50 * 2**20,
            rss_bytes=60 * 2**20,
            runtime="onnxruntime",
            version=self.versions["onnxruntime"],
            provider="cpu",
            optimisation=optimisation,
        )
        return self.loaded

    def run(self, inputs: Mapping[str, Array], control: Control) -> Ran:
        """Call the model once."""
        model = self._fitting("run", inputs, control)
        return Ran(self._call("run", model, inputs), model.ns)

    def evaluate(self, inputs: Mapping[str, Array], batch: int, control: Control) -> Ran:
        """Call the model batch by batch and join what it makes."""
        self._begin("evaluate", control)
        model = self._any_model("evaluate")
        try:
            rows = check_rows(model.inputs, inputs, batch)
        except Misfit as misfit:
            raise WorkerFailed("refused", "evaluate", str(misfit)) from misfit
        parts: list[Mapping[str, Array]] = []
        for start in range(0, rows.count, rows.batch):
            count = min(rows.batch, rows.count - start)
            index = np.minimum(np.arange(rows.batch if rows.fixed else count), count - 1) + start
            made = self._call(
                "evaluate", model, {k: a[index] if a.ndim else a for k, a in inputs.items()}
            )
            for key, array in made.items():
                if array.ndim == 0 or len(array) != len(index):
                    raise WorkerFailed("refused", "evaluate", f"{key} does not have the rows first")
            parts.append({key: array[:count] for key, array in made.items()})
            control.checkpoint("evaluate", start + count, rows.count)
        joined = {key: np.concatenate([one[key] for one in parts]) for key in parts[0]}
        return Ran(joined, model.ns * len(parts))

    def bench(self, inputs: Mapping[str, Array], block: Block, control: Control) -> Latencies:
        """Count out as many equal times as the block wants."""
        model = self._fitting("bench", inputs, control)
        self._call("bench", model, inputs)
        count = max(block.runs_least, block.ns_least // model.ns)
        count = max(1, min(count, block.runs_most, block.ns_most // model.ns))
        warm = min(2 * block.window_runs, block.warmup_runs_most)
        return Latencies((model.ns,) * count, warm, warm > 0, model.ns * count, 60 * 2**20)

    def read_images(
        self, files: Sequence[str], size: tuple[int, int] | None, channels: int, control: Control
    ) -> Array:
        """Return the pictures of these names, which must have the size asked for."""
        self._begin("images", control)
        found = [self.runner.pictures[one] for one in files]
        for one in found:
            assert one.dtype == np.uint8
            assert one.ndim == 3
            assert one.shape[2] == channels
            if one.shape[:2] != (size or found[0].shape[:2]):
                raise WorkerFailed("refused", "images", f"{one.shape[:2]}, the first another size")
        return np.stack(found)

    def close(self) -> Usage:
        """End it."""
        self.is_closed = True
        return Usage(cpu_ms=10, peak_rss_bytes=70 * 2**20, wall_ms=20)

    def kill(self) -> None:
        """End it."""
        self.is_closed = True

    def _begin(self, check: str, control: Control) -> None:
        if self.is_closed:
            raise WorkerFailed("protocol", check, "the Worker has ended")
        control.checkpoint(check, 0, 1)
        if check in self.runner.fails:
            raise self.runner.fails[check]

    def _any_model(self, check: str) -> FakeModel:
        if self._model is None:
            raise WorkerFailed("refused", check, "no model is loaded")
        return self._model

    def _fitting(self, check: str, inputs: Mapping[str, Array], control: Control) -> FakeModel:
        self._begin(check, control)
        model = self._any_model(check)
        try:
            check_inputs(model.inputs, inputs)
        except Misfit as misfit:
            raise WorkerFailed("refused", check, str(misfit)) from misfit
        return model

    def _call(
        self, check: str, model: FakeModel, inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        try:
            return dict(model.run(inputs))
        except ValueError as error:
            raise WorkerFailed("refused", check, str(error)) from error


def doubling(**values: object) -> FakeModel:
    """A model that returns its input ``x`` twice as large, as ``y``."""
    model = FakeModel(
        (tensor("x", "float32", "n", 3),),
        (tensor("y", "float32", "n", 3),),
        lambda inputs: {"y": inputs["x"] * 2},
    )
    return replace(model, **values)
