"""Where a model comes from when it is run: files of a stage, or bytes that are in memory only.

* Whoever runs a model takes a ``ModelSource`` and need not know which it is.
* A Worker is started, greeted and ended here; it never outlives the ``with`` block.

What is then asked of the Worker is the caller's.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hanse.core.certify.staging import staged
from hanse.core.model.running import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hanse.core.model.artifact import Format
    from hanse.core.model.control import Control
    from hanse.core.model.running import (
        Loaded,
        ModelRunner,
        Optimisation,
        Worker,
        WorkerLimits,
    )


class ModelSource(Protocol):
    """One runnable model of an Artifact."""

    @property
    def file(self) -> str:
        """Return the name of the model file in its Artifact."""
        ...

    @property
    def format(self) -> Format:
        """Return its format."""
        ...

    @property
    def size_bytes(self) -> int:
        """Return how many bytes the model and what lies beside it are."""
        ...

    def worker(
        self, runner: ModelRunner, limits: WorkerLimits, control: Control
    ) -> AbstractContextManager[Worker]:
        """Start a Worker (profile ``run``) that can load this model; it ends with the block."""
        ...

    def load(
        self,
        worker: Worker,
        threads: int,
        control: Control,
        optimisation: Optimisation = "all",
    ) -> Loaded:
        """Load this model into a Worker that ``worker`` gave."""
        ...


@dataclass(frozen=True, slots=True)
class StagedModel:
    """A model whose plain files are on disk: ``files`` by relative name, all that it needs.

    ``copied`` names those that may not be links; ``scratch`` is a folder on the same disk.
    """

    file: str
    format: Format
    files: Mapping[str, Path]
    scratch: Path
    copied: frozenset[str] = frozenset()

    @property
    def size_bytes(self) -> int:
        """Return the sum of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    @contextmanager
    def worker(
        self, runner: ModelRunner, limits: WorkerLimits, control: Control
    ) -> Iterator[Worker]:
        """Stage the files and start a Worker on them."""
        with staged(self.files, self.scratch, self.copied, control) as folder:
            worker = runner.start(Stage(folder), limits, "run")
            try:
                yield worker
            finally:
                worker.close()

    def load(
        self,
        worker: Worker,
        threads: int,
        control: Control,
        optimisation: Optimisation = "all",
    ) -> Loaded:
        """Load the file from the stage."""
        return worker.load(self.file, self.format, threads, control, optimisation=optimisation)
