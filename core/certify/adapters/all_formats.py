"""Which reader reads which format, all imported at once, before a Worker sees a model byte."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from hanse.core.certify.adapters import (
    gguf_model,
    hdf5_model,
    onnx_model,
    safetensors_model,
    tflite_model,
    unloaded,
)
from hanse.core.certify.adapters.refusal import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hanse.core.model.artifact import Format, ModelFacts

_OPAQUE: Final[tuple[Format, ...]] = (
    "pt2",
    "savedmodel",
    "torchscript",
    "pytorch",
    "pickle",
    "joblib",
    "ort",
    "archive",
    "unknown",
)
READERS: Final[Mapping[Format, Callable[[Path, str], ModelFacts]]] = {
    "onnx": onnx_model.read,
    "tflite": tflite_model.read,
    "gguf": gguf_model.read,
    "safetensors": safetensors_model.read,
    "skops": unloaded.read_skops,
    "keras": unloaded.read_keras,
    "keras_h5": hdf5_model.read,
    "npy": unloaded.read_npy,
    "npz": unloaded.read_npz,
    **{one: partial(unloaded.read_opaque, one) for one in _OPAQUE},
}


def inspect(stage: Path, file: str, file_format: Format) -> ModelFacts:
    """Read the facts of one file of the stage, or raise ``Unfit``."""
    if (stage / file).stat().st_size == 0:
        raise Unfit("empty", 0, "1 ..")
    return READERS[file_format](stage, file)


def versions() -> dict[str, str]:
    """Name what models are read with."""
    return onnx_model.versions() | safetensors_model.versions() | hdf5_model.versions()
