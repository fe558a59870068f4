"""From an inspected file to one that runs: normalised, converted, left alone, or refused by name.

* What happens to a file depends on its facts and on the extras that are installed, and on
  nothing else: ``plan_conversion`` is pure.
* Converters run in a Worker, on a copy, with every bound told to them; what they made lies in the
  scratch folder and is inspected again by whoever publishes it.
* Several converters may fit one format; the first whose result passes its Parity wins.
* A Parity that fails is returned, not hidden: it stops publishing above Level 0, by
  ``check_parity``.

How a Worker is started and how a format is converted is not known here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.artifacts import normalise
from hanse.core.durable import make_private_folder
from hanse.core.errors import FileUnreadable, Refused, StoreFull
from hanse.core.limits import (
    CONVERT_FEATURES_MAX,
    CONVERT_MEMORY_BYTES_MAX,
    CONVERT_SAMPLE_ROWS_MAX,
    CONVERT_SAMPLES_SIZE_BYTES_MAX,
    CONVERT_SECONDS_MAX,
    CONVERT_SOURCE_SIZE_BYTES_MAX,
    CONVERT_TRUSTED_TYPES_MAX,
    CONVERT_WRITTEN_FACTOR_MAX,
    CONVERT_WRITTEN_SPARE_BYTES_MAX,
    HDF5_OBJECTS_MAX,
    KERAS_CONFIG_DEPTH_MAX,
    KERAS_CONFIG_SIZE_BYTES_MAX,
    KERAS_LAYERS_MAX,
    ZIP_MEMBERS_MAX,
    ZIP_RATIO_MAX,
    ZIP_UNPACKED_FACTOR_MAX,
    ZIP_UNPACKED_SPARE_BYTES_MAX,
)
from hanse.core.model.artifact import CONVERTIBLE, READABLE, RUNNABLE, Parity
from hanse.core.model.running import ConversionRefused, ConvertRequest, Stage, WorkerLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.core.model.artifact import ModelFacts, OutputParity
    from hanse.core.model.control import Control
    from hanse.core.model.running import Made, ModelRunner

Act = Literal["nothing", "normalise", "convert", "unavailable", "impossible"]

EXTRAS: Final[dict[str, tuple[str, ...]]] = {  # an extra, and the packages that tell it is here
    "sklearn": ("sklearn", "skops", "skl2onnx"),
    "keras": ("h5py",),
    "torch": ("torch", "onnxscript", "keras"),
}
ALL_EXTRAS: Final = frozenset(EXTRAS)
_CONVERTERS: Final[dict[str, tuple[tuple[str, str], ...]]] = {  # (extra, converter), by preference
    "skops": (("sklearn", "sklearn_skops"),),
    "keras_h5": (("keras", "keras_h5"), ("torch", "keras3")),
    "keras": (("torch", "keras3"),),
    "pt2": (("torch", "torch_pt2"),),
}
_LISTED_AS_IT_IS: Final = {"safetensors": "weights_only", "gguf": "not_run_here"}
assert _CONVERTERS.keys() == CONVERTIBLE.keys()
assert all(CONVERTIBLE[one] == ways[0][0] for one, ways in _CONVERTERS.items())
# Another converter may know what this one does not; code, damage and excess stay what they are.
_TRY_NEXT: Final = frozenset({"layer", "activation", "setting", "shape", "graph", "weights_type"})
_PARTS_OF_NANO: Final = 10**9
_CHUNK_BYTES: Final = 4 * 1024**2


class ConversionUnavailable(Refused):
    """The format could be converted, but what that needs is not installed."""

    code = "convert.unavailable"
    text = "{format} is converted only with the extra [{extra}]: {command}"
    fields = ("format", "extra", "command")

    def __init__(self, format: str, extra: str) -> None:  # noqa: A002  the word of the design
        """Name the format, the extra, and the one command that installs it."""
        super().__init__(format=format, extra=extra, command=install_command(extra))


class NotConvertible(Refused):
    """The format is never converted; ``reason`` is the format, whose sentence says what to do."""

    code = "convert.impossible"
    text = "{file} cannot be converted: {reason}"
    fields = ("file", "reason")


class ParityFailed(Refused):
    """A converted model does not agree with its source; nothing above Level 0 is published."""

    code = "convert.parity_failed"
    text = "output {tensor} differs by {max_abs}, allowed {tolerance}"
    fields = ("tensor", "max_abs", "tolerance")


class TooManyTrustedTypes(Refused):
    """The seller vouches for more types than any estimator has."""

    code = "convert.too_many_trusted"
    text = "{found} trusted types, at most {most}"
    fields = ("found", "most")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: ``converters`` in the order they are tried, or a ``reason`` against it.

    ``extra`` is the one that is missing where ``act`` is ``unavailable``.
    """

    act: Act
    converters: tuple[str, ...] = ()
    reason: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The files to go on with: a name in the Artifact, and where its bytes are.

    ``made_from`` is the SHA-256 of the file that was replaced, ``None`` when none was
    (``kept`` is then False); ``notes`` are stable words of ``convert.note``.
    """

    files: Mapping[str, Path]
    parity: Parity | None
    notes: tuple[str, ...]
    made_from: bytes | None
    kept: bool
    figures: Mapping[str, int] = field(default_factory=dict)


def install_command(extra: str) -> str:
    """Return the one command that installs an extra."""
    return f'pip install "hanse[{extra}]"'


def importable_extras() -> frozenset[str]:
    """Look which extras are installed, without importing any of them."""
    return frozenset(
        extra
        for extra, packages in EXTRAS.items()
        if all(importlib.util.find_spec(package) is not None for package in packages)
    )


def plan_conversion(facts: ModelFacts, extras: frozenset[str]) -> Plan:
    """Decide what a file of these facts needs, with these extras at hand."""
    if facts.format == "onnx":
        reason = normalise.reason_against(facts)
        return Plan("nothing", reason=reason) if reason else Plan("normalise", ("normalise_onnx",))
    if facts.format in RUNNABLE | READABLE:
        return Plan("nothing", reason=_LISTED_AS_IT_IS.get(facts.format, ""))
    ways = _CONVERTERS.get(facts.format)
    if ways is None:
        return Plan("impossible", reason=facts.format)
    found = tuple(converter for extra, converter in ways if extra in extras)
    if not found:
        return Plan("unavailable", reason=facts.format, extra=ways[0][0])
    return Plan("convert", found)


def prepare(
    facts: ModelFacts,
    files: Mapping[str, Path],
    runner: ModelRunner,
    scratch: Path,
    control: Control,
    samples: Path | None = None,
    python: Path | None = None,
    *,
    trusted: Sequence[str] = (),
    extras: frozenset[str] | None = None,
) -> Prepared:
    """Normalise or convert the file that ``facts`` are of, in ``scratch``, by a Worker.

    ``samples`` is a ``.npz`` of the seller's: ``x`` (and ``y``), or arrays under the names of
    the inputs and outputs.  ``python`` is an interpreter of his that has the framework;
    ``trusted`` are types of a ``.skops`` that he vouches for.  Raises ``NotConvertible``,
    ``ConversionUnavailable``, ``ConversionRefused``, ``WorkerFailed`` or ``Cancelled``; the
    source is never changed.
    """
    if len(trusted) > CONVERT_TRUSTED_TYPES_MAX:
        raise TooManyTrustedTypes(found=len(trusted), most=CONVERT_TRUSTED_TYPES_MAX)
    if extras is None:
        extras = ALL_EXTRAS if python is not None else importable_extras()
    plan = plan_conversion(facts, extras)
    source = files[facts.file]
    match plan.act:
        case "impossible":
            raise NotConvertible(file=source.name, reason=plan.reason)
        case "unavailable":
            raise ConversionUnavailable(plan.reason, plan.extra)
        case "nothing":
            notes = (plan.reason,) if plan.reason else ()
            return Prepared(files, None, notes, made_from=None, kept=False)
        case "normalise" | "convert":
            pass
    if plan.act == "normalise":
        python = None  # ONNX needs nothing that is not here
    stage = _Stage(scratch)
    try:
        stage.fill(source, samples, control)
        made = _run_first_that_passes(plan, stage, runner, control, python, trusted)
    finally:
        shutil.rmtree(stage.folder)
    if plan.act == "normalise" and not normalise.is_better(made):
        parity = made.parity if made.parity.outputs else None
        return Prepared(files, parity, made.notes, made_from=None, kept=False, figures=made.figures)
    others = {name: path for name, path in files.items() if name != facts.file}
    name = PurePosixPath(facts.file).with_suffix(".onnx").as_posix()
    result = {**others, name: stage.made / made.files[0]}
    return Prepared(
        result, made.parity, made.notes, made_from=stage.digest, kept=True, figures=made.figures
    )


def check_parity(parity: Parity) -> None:
    """Raise ``ParityFailed`` for the worst output of a Parity that failed."""
    if parity.verdict != "fail":
        return
    worst = max(parity.outputs, key=lambda one: one.max_abs_nano, default=None)
    if worst is None:
        raise ParityFailed(tensor="", max_abs="", tolerance=_tolerance(parity, None))
    raise ParityFailed(
        tensor=worst.name,
        max_abs=_decimal(worst.max_abs_nano),
        tolerance=_tolerance(parity, worst),
    )


def _tolerance(parity: Parity, worst: OutputParity | None) -> str:
    top_nano = 0  # the largest reference value: what is absolute over what is relative
    if worst is not None and worst.max_rel_nano:
        top_nano = worst.max_abs_nano * _PARTS_OF_NANO // worst.max_rel_nano
    return _decimal(parity.atol_nano + parity.rtol_nano * top_nano // _PARTS_OF_NANO)


def _decimal(nano: int) -> str:
    if nano >= 2**62:
        return ">= 4611686018"
    whole, rest = divmod(nano, _PARTS_OF_NANO)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")


class _Stage:
    """A folder that a Worker may read, with copies of the source and the samples."""

    def __init__(self, scratch: Path) -> None:
        self.folder = scratch / "stage"
        self.made = scratch / "made"
        for folder in (self.folder, self.made):
            make_private_folder(folder)
        self.source = ""
        self.samples = ""
        self.size_bytes = 0
        self.digest = b""

    def fill(self, source: Path, samples: Path | None, control: Control) -> None:
        """Copy what is converted: what a framework does to a file never reaches the seller's."""
        try:
            self.size_bytes = source.stat().st_size
            if self.size_bytes > CONVERT_SOURCE_SIZE_BYTES_MAX:
                found = f"{self.size_bytes} > {CONVERT_SOURCE_SIZE_BYTES_MAX}"
                raise ConversionRefused("too_large", found)
            self.source = f"source{_safe_suffix(source)}"
            self.digest = _copy(source, self.folder / self.source, self.size_bytes, control)
            if samples is not None:
                size = samples.stat().st_size
                if size > CONVERT_SAMPLES_SIZE_BYTES_MAX:
                    raise ConversionRefused("samples_unfit", f"{size} bytes")
                self.samples = "samples.npz"
                _copy(samples, self.folder / self.samples, size, control)
        except OSError as error:
            if error.errno in StoreFull.ERRNOS:
                raise StoreFull(path=self.folder) from error
            path = error.filename or source
            raise FileUnreadable(path=path, detail=os.strerror(error.errno or 0)) from error


def _safe_suffix(source: Path) -> str:
    """Return the ending that frameworks go by; the rest of a name could be anything."""
    known = {".onnx", ".skops", ".h5", ".hdf5", ".keras", ".pt2"}
    return source.suffix.lower() if source.suffix.lower() in known else ""


def _copy(source: Path, target: Path, size: int, control: Control) -> bytes:
    digest, done = sha256(), 0
    with source.open("rb") as old, target.open("wb") as new:
        while chunk := old.read(_CHUNK_BYTES):
            new.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            control.checkpoint("stage", min(done, size), size)
    return digest.digest()


def _run_first_that_passes(
    plan: Plan,
    stage: _Stage,
    runner: ModelRunner,
    control: Control,
    python: Path | None,
    trusted: Sequence[str],
) -> Made:
    first: Made | None = None
    refusal: ConversionRefused | None = None
    for converter in plan.converters:
        try:
            made = _run(converter, stage, runner, control, python, trusted)
        except ConversionRefused as error:
            refusal = refusal or error
            if error.reason not in _TRY_NEXT:
                break
            continue
        first = first or made
        if made.parity.verdict != "fail":
            return made
    if first is not None:
        return first
    assert refusal is not None
    raise refusal


def _run(
    converter: str,
    stage: _Stage,
    runner: ModelRunner,
    control: Control,
    python: Path | None,
    trusted: Sequence[str],
) -> Made:
    write_bytes = CONVERT_WRITTEN_FACTOR_MAX * stage.size_bytes + CONVERT_WRITTEN_SPARE_BYTES_MAX
    limits = WorkerLimits(
        memory_bytes=CONVERT_MEMORY_BYTES_MAX,
        cpu_seconds=CONVERT_SECONDS_MAX,
        wall_seconds=CONVERT_SECONDS_MAX,
        write_bytes=write_bytes,
    )
    options: dict[str, str | int | bool | Sequence[str]] = {**bounds(), "trusted": tuple(trusted)}
    if stage.samples:
        options["samples"] = stage.samples
    request = ConvertRequest(converter, stage.source, f"{converter}.onnx", options)
    worker = runner.start(Stage(stage.folder, stage.made), limits, "convert", python)
    try:
        made = worker.convert(request, control)
    finally:
        worker.close()
    if made.kept and len(made.files) != 1:
        raise ConversionRefused("not_exportable", ", ".join(made.files))
    return made


def bounds() -> dict[str, int]:
    """Return every bound a converter needs: it cannot import them, and none has its own."""
    return {
        "source_size_bytes": CONVERT_SOURCE_SIZE_BYTES_MAX,
        "samples_size_bytes": CONVERT_SAMPLES_SIZE_BYTES_MAX,
        "weights_size_bytes": CONVERT_SOURCE_SIZE_BYTES_MAX,
        "rows": CONVERT_SAMPLE_ROWS_MAX,
        "features": CONVERT_FEATURES_MAX,
        "zip_members": ZIP_MEMBERS_MAX,
        "zip_factor": ZIP_UNPACKED_FACTOR_MAX,
        "zip_spare_bytes": ZIP_UNPACKED_SPARE_BYTES_MAX,
        "ratio": ZIP_RATIO_MAX,
        "objects": HDF5_OBJECTS_MAX,
        "config_size_bytes": KERAS_CONFIG_SIZE_BYTES_MAX,
        "config_depth": KERAS_CONFIG_DEPTH_MAX,
        "layers": KERAS_LAYERS_MAX,
    }
