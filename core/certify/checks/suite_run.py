"""One run of a suite over one Artifact: what is given, what was found so far, and its Workers.

* The model runs in one shared Worker for the checks that only run it; whatever is measured, or
  compared between sessions, gets a fresh one.
* A Worker that failed is ended and never used again; the next check that needs one starts it.
* What the Worker answers is kept here as it came; labels and thresholds never go in.
* Before every question the bound of the check is looked at, and whether a person wants to stop.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psutil

from hanse.core.certify.generated import OPEN_SIZES, Generator, plan_inputs
from hanse.core.model.certificate import Determinism, Isolation, MemoryFacts, RuntimeFacts
from hanse.core.model.running import WorkerFailed, WorkerLimits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hanse.core.artifacts.manifest import Manifest
    from hanse.core.certify.checks.quality import Evaluation
    from hanse.core.certify.compare import Tolerance
    from hanse.core.certify.golden import GoldenVector, GoldenVectors
    from hanse.core.certify.source import ModelSource
    from hanse.core.clock import Clock
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.card import ModelCard
    from hanse.core.model.certificate import Machine, PerfRow, QualityRow, Sameness
    from hanse.core.model.control import Control
    from hanse.core.model.running import Loaded, ModelRunner, Ran, Worker
    from hanse.core.model.suite import Suite, SuiteCheck

_MIB: Final = 1024**2
_GIB: Final = 1024**3
_THREAD_BYTES: Final = 128 * _MIB  # ORT takes 72 MiB of addresses a thread (measured)
_LOADED_A_SECOND_BYTES: Final = 100 * _MIB
_LOAD: Final = "run.load"
_RUNS: Final = "run."


@dataclass(frozen=True, slots=True)
class Job:
    """What is certified.

    ``source`` is what runs, ``None`` where nothing of it runs here (weights without a graph);
    ``files`` are its plain files by the names of the Manifest, ``None`` for a sealed Trial,
    whose bytes are in memory only and were checked Piece by Piece against the Manifest's roots.
    ``scratch`` is a folder on the disk of the files.  ``facts`` stand in where files cannot be
    looked at.  ``samples`` are the seller's inputs, with outputs where he gave them.
    ``unreadable`` names data given with the Listing that could not be read for the model, and why.
    ``reference`` are the vectors of a Certificate that is reproduced, ``declared`` a tolerance
    that may be tighter than ours.  ``has_metric`` says whether the task is judged by a number.
    """

    manifest: Manifest
    source: ModelSource | None
    files: Mapping[str, Path] | None
    scratch: Path | None
    facts: tuple[ModelFacts, ...] = ()
    card: ModelCard | None = None
    samples: GoldenVectors | None = None
    evaluations: tuple[Evaluation, ...] = ()
    unreadable: tuple[str, str] | None = None
    has_metric: bool = True
    reference: GoldenVectors | None = None
    declared: Tolerance | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run may use this machine: ``nice`` is added to our own; ``cores`` 0 for all.

    ``threads`` is the most a model is run with; ``app`` is the version of this program.
    """

    threads: int = 1
    cores: int = 0
    nice: int = 10
    app: str = ""


@dataclass(slots=True)
class SuiteRun:
    """What one run is given, and what it found so far."""

    job: Job
    suite: Suite
    runner: ModelRunner
    settings: Settings
    control: Control
    clock: Clock
    machine: Machine
    facts: ModelFacts | None = None
    generator: Generator | None = None
    open_sizes: tuple[int, int] = OPEN_SIZES[0]
    loaded: Loaded | None = None
    isolation: Isolation | None = None
    golden: tuple[GoldenVector, ...] = ()
    takes_batch: bool = False
    perf: tuple[PerfRow, ...] = ()
    probes: tuple[MemoryFacts, ...] = ()
    quality: tuple[QualityRow, ...] = ()
    sameness: dict[str, Sameness] = field(default_factory=dict)
    _shared: AbstractContextManager[Worker] | None = None
    _worker: Worker | None = None
    _check: SuiteCheck | None = None
    _until: float = 0.0

    # --- what was found ---------------------------------------------------------------------

    @property
    def determinism(self) -> Determinism:
        """Return what running again came to."""
        return Determinism(**self.sameness)

    @property
    def memory(self) -> MemoryFacts | None:
        """Return the memory of the probe whose load took the middle time."""
        if not self.probes:
            return None
        in_order = sorted(self.probes, key=lambda one: one.load_ns)
        return in_order[(len(in_order) - 1) // 2]

    @property
    def runtime(self) -> RuntimeFacts | None:
        """Return what ran the model, if anything did."""
        if self.loaded is None:
            return None
        return RuntimeFacts(
            name=self.loaded.runtime,
            version=self.loaded.version,
            provider=self.loaded.provider,
            optimisation=self.loaded.optimisation,
            app=self.settings.app,
        )

    def inputs(self) -> Generator:
        """Return the maker of inputs for the model as loaded; raise ``NoInput``."""
        if self.generator is None:
            assert self.loaded is not None
            job = self.job
            plans = plan_inputs(self.loaded.inputs, job.card, job.samples, self.open_sizes)
            self.generator = Generator(self.suite.sha256, job.manifest.artifact_id, plans)
        return self.generator

    def choose_sizes(self, open_sizes: tuple[int, int]) -> None:
        """Give open dimensions other sizes from now on."""
        self.open_sizes, self.generator = open_sizes, None

    # --- Workers ----------------------------------------------------------------------------

    def begin(self, check: SuiteCheck) -> None:
        """Begin a check: from now on its bounds hold."""
        self._check = check
        self._until = time.monotonic() + check.bounds.wall_s

    def checkpoint(self, done: int, total: int) -> None:
        """Say how far the check is; leave when a person ends it or its time is over."""
        assert self._check is not None
        before = time.monotonic()
        self.control.checkpoint(self._check.id, done, total)
        now = time.monotonic()
        self._until += now - before  # time spent paused does not count
        if now > self._until:
            seconds = self._check.bounds.wall_s
            raise WorkerFailed("timeout", self._check.id, f"not done within {seconds} s")

    def limits(self, threads: int) -> WorkerLimits:
        """Return how much a Worker of this check may take.

        Any Worker loads the model first, and the shared one serves all checks that run it.
        """
        assert self._check is not None
        assert self.job.source is not None
        size = self.job.source.size_bytes
        wanted = max(2 * _GIB, _GIB + 4 * size + _THREAD_BYTES * threads)
        served = [one for one in self.suite.data.checks if one.id.startswith(_RUNS)]
        load = self.suite.check(_LOAD)
        loading = [] if load is None else [load]
        seconds = max(_question_seconds(one) for one in (self._check, *loading))
        return WorkerLimits(
            memory_bytes=min(psutil.virtual_memory().total * 3 // 4, wanted),
            cpu_seconds=max(one.bounds.cpu_s for one in (self._check, *served)),
            wall_seconds=float(seconds + size // _LOADED_A_SECOND_BYTES),
            nice=self.settings.nice,
            cores=self.settings.cores,
        )

    @contextmanager
    def fresh(self, threads: int) -> Iterator[tuple[Worker, Loaded]]:
        """Start a Worker of its own and load the model with ``threads``."""
        source = self.job.source
        assert source is not None
        limits = self.limits(threads)
        with source.worker(self.runner, limits, self.control) as worker:
            self.note_worker(worker, limits)
            yield worker, source.load(worker, threads, self.control)

    def shared(self) -> Worker:
        """Return the Worker in which the model stands loaded with one thread."""
        source = self.job.source
        assert source is not None
        if self._worker is None:
            limits = self.limits(1)
            self._shared = source.worker(self.runner, limits, self.control)
            self._worker = self._shared.__enter__()
            try:
                self.note_worker(self._worker, limits)
                self.loaded = source.load(self._worker, 1, self.control)
            except BaseException:
                self.end_shared()
                raise
        return self._worker

    def end_shared(self) -> None:
        """End the shared Worker; harmless when there is none."""
        shared, self._shared, self._worker = self._shared, None, None
        if shared is not None:
            shared.__exit__(None, None, None)

    def run(self, inputs: Mapping[str, Array]) -> Ran:
        """Run the model once in the shared Worker; end the Worker when it gives no answer."""
        worker = self.shared()
        try:
            return worker.run(inputs, self.control)
        except WorkerFailed as error:
            if error.kind != "refused":
                self.end_shared()
            raise

    def note_worker(self, worker: Worker, limits: WorkerLimits) -> None:
        """Keep how the first Worker that ran the model was locked in."""
        if self.isolation is None:
            self.isolation = Isolation(
                grade=worker.grade,
                os=self.machine.os,
                layers=worker.layers,
                memory_mib=limits.memory_bytes // _MIB,
                cpu_s=limits.cpu_seconds,
            )


def _question_seconds(check: SuiteCheck) -> int:
    """Return how long one question of a check may take."""
    return check.params.get("run_s", check.bounds.wall_s)
