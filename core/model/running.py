"""What the rest of Hanse asks of a Worker: the port, and the values that cross it.

* A Worker is a child process with a read-only stage, at most one scratch folder, and
  hard bounds; it is started for one job and thrown away.
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

    from hanse.core.model.artifact import Format, ModelFacts, Parity
    from hanse.core.model.control import Control

Profile = Literal["inspect", "convert"]
FailureKind = Literal["refused", "limit", "timeout", "crash", "cancelled", "protocol"]


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
    """How much one Worker may take; ``wall_seconds`` counts for each thing it is asked."""

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: float
    write_bytes: int = 0


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


class Worker(Protocol):
    """One running child process; not to be shared between threads, but for ``kill``."""

    def inspect(self, file: str, file_format: Format, control: Control) -> ModelFacts:
        """Read the facts of one file of the stage; raise ``FormatRefused`` or ``WorkerFailed``."""
        ...

    def convert(self, request: ConvertRequest, control: Control) -> Made:
        """Convert one file; raise ``ConversionRefused`` or ``WorkerFailed``."""
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
