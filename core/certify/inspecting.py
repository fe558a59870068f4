"""One call that looks at all files of an Artifact: recognise, stage, ask a Worker, throw it away.

* The parent chooses the formats by their first bytes; everything else is read in the Worker.
* One Worker serves one Artifact and ends with it, whatever happened.

What the facts lead to, a card or a refusal to publish, is decided by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil

from hanse.core.artifacts.formats import recognise_artifact
from hanse.core.certify.staging import staged
from hanse.core.model.running import Stage, WorkerLimits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hanse.core.artifacts.formats import Layout
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner

_GIB: Final = 1024**3
_THREAD_BYTES: Final = 128 * 1024**2  # ORT takes 72 MiB of addresses a thread (measured)
_SECONDS: Final = 60
_BYTES_A_SECOND: Final = 100 * 1024**2  # every byte may be read for its checksum


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found: the facts of every model file, and the names of all other files."""

    facts: tuple[ModelFacts, ...]
    others: tuple[str, ...]


def inspect_limits(size_bytes: int, threads: int = 1) -> WorkerLimits:
    """Return how much a Worker may take that reads ``size_bytes``, and writes nothing."""
    seconds = _SECONDS + size_bytes // _BYTES_A_SECOND
    return WorkerLimits(
        memory_bytes=_memory_bytes(size_bytes, threads),
        cpu_seconds=seconds,
        wall_seconds=float(seconds),
    )


def run_limits(
    size_bytes: int,
    threads: int,
    cpu_seconds: int,
    wall_seconds: float,
    nice: int = 10,
    cores: int = 0,
) -> WorkerLimits:
    """Return how much a Worker may take that runs a model of ``size_bytes`` by ``threads``.

    ``cpu_seconds`` is for all it does, ``wall_seconds`` for each thing it is asked; it writes
    nothing.
    """
    return WorkerLimits(
        memory_bytes=_memory_bytes(size_bytes, threads),
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
        nice=nice,
        cores=cores,
    )


def _memory_bytes(size_bytes: int, threads: int) -> int:
    wanted = max(2 * _GIB, _GIB + 4 * size_bytes + _THREAD_BYTES * threads)
    return min(psutil.virtual_memory().total * 3 // 4, wanted)


def inspect_files(
    runner: ModelRunner, files: Mapping[str, Path], scratch: Path, control: Control
) -> Inspection:
    """Read the facts of an Artifact: its relative names, with where their bytes lie.

    Raise ``FormatRefused`` for the first file that breaks a rule and ``WorkerFailed`` when
    the Worker gives no answer.  ``scratch`` is a folder on the disk of the files, if it can be.
    """
    layout = recognise_artifact(files)
    others = (*layout.arrays, *layout.others)
    if not layout.models:
        return Inspection(facts=(), others=others)
    wanted, copied = _to_stage(layout, files)
    size = sum(files[one].stat().st_size for one in wanted)
    found: list[ModelFacts] = []
    with staged({one: files[one] for one in wanted}, scratch, copied, control) as folder:
        worker = runner.start(Stage(folder), inspect_limits(size), "inspect")
        try:
            for number, model in enumerate(layout.models):
                control.checkpoint("inspect", number, len(layout.models))
                found.append(worker.inspect(model.file, model.format, control))
        finally:
            worker.close()
    return Inspection(facts=tuple(found), others=others)


def _to_stage(layout: Layout, files: Mapping[str, Path]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Name the files a Worker must see, and of them the ones that may not be links.

    A graph may keep its weights in a file beside it, and ONNX refuses to read one that has
    two names ("potential hardlink attack", measured in 1.23.2).
    """
    models = tuple(one.file for one in layout.models)
    if not any(one.format == "onnx" for one in layout.models):
        return models, frozenset()
    beside = frozenset(one for one in (*layout.arrays, *layout.others) if files[one].stat().st_size)
    return (*models, *sorted(beside)), beside
