"""Which runtime runs which format, all imported at once, before a Worker sees a model byte.

A runtime that is an extra is left out when it is not installed; asked for, it is named.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from hanse.core.certify.adapters import onnx_model
from hanse.core.certify.adapters.ort_session import OrtSession
from hanse.core.certify.adapters.session import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hanse.core.certify.adapters.session import Session
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import Format
    from hanse.core.model.running import Optimisation

LITERT: Final = importlib.util.find_spec("ai_edge_litert") is not None
PILLOW: Final = importlib.util.find_spec("PIL") is not None

if LITERT:
    from hanse.core.certify.adapters import litert_session
if PILLOW:
    from hanse.core.certify.adapters import images


class ExtraMissing(Refusal):
    """What would read or run this is not installed."""


def load(
    stage: Path,
    file: str,
    file_format: Format,
    memory: Mapping[str, bytes] | None,
    threads: int,
    optimisation: Optimisation,
) -> Session:
    """Make a session of a file of the stage, or of ``memory`` when that is given."""
    model: Path | bytes = stage / file if memory is None else memory[file]
    if file_format == "onnx":
        return OrtSession(model, _beside(file, memory or {}), threads, optimisation, stage)
    if file_format != "tflite":
        raise Refusal(f"{file_format} does not run here")
    if not LITERT:
        raise ExtraMissing("tflite")
    return litert_session.LitertSession(model, threads, optimisation, stage)


def read_images(
    stage: Path,
    files: tuple[str, ...],
    size: tuple[int, int] | None,
    channels: int,
    *,
    resize: bool,
) -> Array:
    """Decode pictures of the stage."""
    if not PILLOW:
        raise ExtraMissing("images")
    return images.read(stage, files, size, channels, resize=resize)


def versions() -> dict[str, str]:
    """Name what models are run with, and what is read for them."""
    found = {"onnxruntime": onnx_model.versions()["onnxruntime"]}
    if LITERT:
        found["litert"] = litert_session.LitertSession.version
    if PILLOW:
        found["pillow"] = images.version()
    return found


def _beside(file: str, memory: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the other files by the names a graph has for them: seen from its own folder."""
    folder = PurePosixPath(file).parent
    return {
        str(PurePosixPath(other).relative_to(folder)): held
        for other, held in memory.items()
        if other != file and PurePosixPath(other).is_relative_to(folder)
    }
