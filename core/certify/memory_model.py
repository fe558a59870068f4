"""A sealed model that is run without its files: opened in memory, Piece by Piece, by piece keys.

* A ``ModelSource`` like any other: whoever runs a model need not know which it is.
* Plain bytes go from this process's one buffer into the Worker's memory, and nowhere else; the
  stage of the Worker is an empty folder.
* Refused before a Piece is opened: a graph over 2 GiB, or a model over 60 % of the memory that
  is free, since both processes hold parts of it and the session beside it.

How often it may be run, and what a person is told of it, is not known here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psutil

from hanse.core.artifacts.formats import FormatRefused
from hanse.core.certify.staging import staged
from hanse.core.errors import Refused
from hanse.core.limits import (
    MODEL_IN_MEMORY_SIZE_BYTES_MAX,
    MODEL_OF_FREE_MEMORY_PERCENT_MAX,
)
from hanse.core.model.running import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hanse.core.artifacts.memory_opening import MemoryOpening
    from hanse.core.model.artifact import Format
    from hanse.core.model.control import Control
    from hanse.core.model.running import Loaded, ModelRunner, Optimisation, Worker, WorkerLimits

_PERCENT: Final = 100


class TooLargeForMemory(Refused):
    """A model does not fit into this machine's memory beside everything else."""

    code = "trial.too_large_for_memory"
    text = "model {file} has {found_bytes} bytes, {most_bytes} can be opened in memory"
    fields = ("file", "found_bytes", "most_bytes")


def free_memory_bytes() -> int:
    """Return how much memory a new process could have without swapping."""
    return int(psutil.virtual_memory().available)


@dataclass(frozen=True, slots=True)
class SealedModel:
    """A model of a sealed Artifact; ``beside`` names the files its tensors lie in.

    ``scratch`` is where the empty stage is made.
    """

    file: str
    format: Format
    opening: MemoryOpening
    scratch: Path
    beside: tuple[str, ...] = ()
    free_bytes: Callable[[], int] = field(default=free_memory_bytes, repr=False)

    @property
    def size_bytes(self) -> int:
        """Return how many bytes the model and what lies beside it are."""
        return sum(self._file_size(name) for name in (self.file, *self.beside))

    def check_memory(self) -> None:
        """Raise ``TooLargeForMemory``, or ``FormatRefused`` for a file that is not there."""
        graph, all_files = self._file_size(self.file), self.size_bytes
        free = self.free_bytes() * MODEL_OF_FREE_MEMORY_PERCENT_MAX // _PERCENT
        for found, most in ((graph, MODEL_IN_MEMORY_SIZE_BYTES_MAX), (all_files, free)):
            if found > most:
                raise TooLargeForMemory(file=self.file, found_bytes=found, most_bytes=most)

    @contextmanager
    def worker(
        self, runner: ModelRunner, limits: WorkerLimits, control: Control
    ) -> Iterator[Worker]:
        """Start a Worker that sees no file at all."""
        self.check_memory()
        with staged({}, self.scratch, frozenset(), control) as folder:
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
        """Open every file into the Worker's memory and make a session of them.

        Raise what ``MemoryOpening.pieces`` does, and ``WorkerFailed``.
        """
        total, done = self.size_bytes, 0
        for name in (*self.beside, self.file):
            for opened in self.opening.pieces(self._number(name)):
                control.checkpoint("open", done, total)
                worker.put(name, opened, control)
                done += len(opened)
        control.checkpoint("open", total, total)
        return worker.load(
            self.file, self.format, threads, control, in_memory=True, optimisation=optimisation
        )

    def _file_size(self, name: str) -> int:
        return self.opening.manifest.files[self._number(name)].size

    def _number(self, name: str) -> int:
        number = self.opening.number_of(name)
        if number is None:
            raise FormatRefused(
                file=self.file, rule="external_missing", found=name, allowed="a file beside it"
            )
        return number
