"""What the rest of Hanse asks of a Worker: the port, and the values that cross it.

* A Worker is a child process with a read-only stage, at most one scratch folder, and
  hard bounds; it is started for one job and thrown away.
* A model is loaded from the stage, or from bytes that were put into the Worker's memory.
* Data goes in once, outside the timed part; labels never go in.
* Whatever it answers is treated as written by the model's author.

How the child is started, bounded and read is ``hanse.core.certify``'s; what it is
asked for is decided by those who take a ``ModelRunner`` as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from hanse.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import Format, ModelFacts, Parity, TensorFacts
    from hanse.core.model.control import Control

Profile = Literal["inspect", "run", "convert"]
Grade = Literal["full", "limits", "none"]
Optimisation = Literal["all", "off"]
FailureKind = Literal["refused", "limit", "timeout", "crash", "cancelled", "protocol"]


class NoSandbox(Refused):
    """A layer of the lock could not be put on; no model byte was read."""

    code = "worker.no_sandbox"
    text = "no sandbox, so nothing was run: {layer}: {reason}"
    fields = ("layer", "reason")


class WorkerFailed(Refused):
    """A Worker gave no answer that can be used; ``check`` is what it was asked for."""

    code = "worker.failed"
    text = "worker failed at {check}, {kind}: {detail}"
    fields = ("kind", "check", "detail")

    def __init__(self, kind: FailureKind, check: str, detail: str) -> None:
        """Say how it failed, at what, and what was seen."""
        super().__init__(kind=kind, check=check, detail=detail)
        self.kind: FailureKind = kind
        self.check = check
        self.detail = detail


class ConversionRefused(Refused):
    """A converter says no; ``reason`` is its stable word, ``detail`` what it found."""

    code = "convert.refused"
    text = "conversion refused, {reason}: {detail}"
    fields = ("reason", "detail")

    def __init__(self, reason: str, detail: str) -> None:
        """Name the rule that says no and what was found."""
        super().__init__(reason=reason, detail=detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a Worker finds its files; ``scratch`` is the one folder it may write, if any."""

    folder: Path
    scratch: Path | None = None


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much one Worker may take; ``wall_seconds`` counts for each thing it is asked.

    ``nice`` is added to our own; ``cores`` is how many it may run on, 0 for all.
    """

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: float
    write_bytes: int = 0
    nice: int = 10
    cores: int = 0


@dataclass(frozen=True, slots=True)
class ConvertRequest:
    """One Conversion: ``converter`` is the name of a module of ``core/artifacts/converters``.

    ``source`` is relative to the stage, ``target`` a new name in the scratch folder;
    ``options`` holds plain values (text, numbers, lists of them) and is the converter's.
    """

    converter: str
    source: str
    target: str
    options: Mapping[str, str | int | bool | Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """What a Conversion left in the scratch folder: ``files`` are names there.

    ``kept`` is False when the result is worse than its source (normalising only);
    ``notes`` are stable words of the catalogue (``convert.note.WORD``); ``figures``
    are whole numbers by name, such as ``p50_before_ns``.
    """

    files: tuple[str, ...]
    parity: Parity
    kept: bool
    notes: tuple[str, ...]
    figures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a Worker took from start to end."""

    cpu_ms: int
    peak_rss_bytes: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session that stands: its signature, its runtime, and what it took.

    ``base_rss_bytes`` is the Worker's memory before the load, ``rss_bytes`` after it.
    """

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    load_ns: int
    base_rss_bytes: int
    rss_bytes: int
    runtime: str  # onnxruntime or litert
    version: str
    provider: str
    optimisation: Optimisation


@dataclass(frozen=True, slots=True)
class Ran:
    """The outputs of a model by name, and how long its runs took, as the Worker measured it."""

    outputs: Mapping[str, Array]
    ns: int


@dataclass(frozen=True, slots=True)
class Block:
    """One block of timed runs: warm up, then at least so many runs and so long, at most so long.

    Warm-up ends when two windows of ``window_runs`` agree within ``window_percent`` of their
    medians, or at ``warmup_runs_most`` or ``warmup_ns_most``; no warm-up at 0 runs.
    """

    runs_least: int
    ns_least: int
    ns_most: int
    runs_most: int
    warmup_runs_most: int = 0
    warmup_ns_most: int = 0
    window_runs: int = 10
    window_percent: int = 5


@dataclass(frozen=True, slots=True)
class Latencies:
    """What one block took: nanoseconds of each timed run in order, warm-up left out."""

    ns: tuple[int, ...]
    warmup_runs: int
    is_stable: bool
    cpu_ns: int
    rss_bytes: int


class Worker(Protocol):
    """One running child process; not to be shared between threads, but for ``kill``.

    ``layers`` names what the lock consists of, ``grade`` what that is worth, ``versions``
    the packages it reads and runs with.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """Name the layers in force, outermost first."""
        ...

    @property
    def grade(self) -> Grade:
        """Say what the layers are worth."""
        ...

    @property
    def versions(self) -> Mapping[str, str]:
        """Name the packages models are read and run with, and their versions."""
        ...

    def inspect(self, file: str, file_format: Format, control: Control) -> ModelFacts:
        """Read the facts of one file of the stage; raise ``FormatRefused`` or ``WorkerFailed``."""
        ...

    def convert(self, request: ConvertRequest, control: Control) -> Made:
        """Convert one file; raise ``ConversionRefused`` or ``WorkerFailed``."""
        ...

    def put(self, file: str, data: bytes | memoryview, control: Control) -> None:
        """Append ``data`` to the in-memory file ``file``; it is never written to a disk."""
        ...

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
        """Make a session of a file of the stage, or of one that was ``put``.

        Another load replaces the session.  Raise ``WorkerFailed``.
        """
        ...

    def run(self, inputs: Mapping[str, Array], control: Control) -> Ran:
        """Run the loaded model once on ``inputs`` by name; raise ``WorkerFailed``."""
        ...

    def evaluate(self, inputs: Mapping[str, Array], batch: int, control: Control) -> Ran:
        """Run over all rows (the first dimension) in batches; outputs are joined row by row.

        A model that takes one row only is given one at a time.
        """
        ...

    def bench(self, inputs: Mapping[str, Array], block: Block, control: Control) -> Latencies:
        """Time runs on ``inputs``, inside; refuse latencies that exceed our own clock."""
        ...

    def read_images(
        self, files: Sequence[str], size: tuple[int, int] | None, channels: int, control: Control
    ) -> Array:
        """Decode pictures of the stage: uint8 of shape [n, h, w, channels], resized to ``size``."""
        ...

    def close(self) -> Usage:
        """End it and say what it took; harmless when repeated."""
        ...

    def kill(self) -> None:
        """End it at once, from any thread."""
        ...


class ModelRunner(Protocol):
    """Starts Workers."""

    def start(
        self, stage: Stage, limits: WorkerLimits, profile: Profile, python: Path | None = None
    ) -> Worker:
        """Start a child; ``python`` is the interpreter for a Conversion with its own packages."""
        ...
