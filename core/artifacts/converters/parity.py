"""Inputs for both models, given by the seller or drawn, and how far their outputs lie apart.

* Floats agree within ``RTOL`` of the largest finite value of the reference, and ``ATOL``; what is
  no number must stand at the same places; a label may differ only where its scores are tied.
* Drawn inputs are the same every time.
* Only the standard library and numpy are imported at the top, onnx and onnxruntime when they are
  needed: this runs where Hanse is not installed.

Which outputs belong together is the converter's business.
"""

from __future__ import annotations

import math
import zipfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hanse.core.artifacts.converters.answering import (
    ConversionRefused,
    bound,
    check_zip,
    framework,
)

if TYPE_CHECKING:
    from pathlib import Path

RTOL: Final = 1e-4  # times the largest finite value of the reference
ATOL: Final = 1e-5
RTOL_HALF: Final = 1e-2  # where an output has half precision
ATOL_HALF: Final = 1e-3
NANO_MOST: Final = 2**62
SEED: Final = 0  # drawn inputs are the same every time
DRAWN_ELEMENTS_MOST: Final = 2**24
TYPES: Final[dict[str, Any]] = {  # numpy's scalar types have no common static type
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


def read_samples(source: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read the seller's samples (``.npz``), a name to an array; empty when there are none."""
    name = str(options.get("samples", ""))
    if not name:
        return {}
    path = source.parent / name
    if path.name != name:
        raise ConversionRefused("samples_unfit", name)
    if path.stat().st_size > bound(options, "samples_size_bytes"):
        raise ConversionRefused("samples_unfit", f"{path.stat().st_size} bytes")
    check_zip(path, options)
    try:
        with np.load(path, allow_pickle=False) as packed:
            arrays = {key: packed[key] for key in packed.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise ConversionRefused("samples_unfit", error) from None
    for key, array in arrays.items():
        if array.dtype.kind not in "biufUS" or array.ndim == 0:
            raise ConversionRefused("samples_unfit", f"{key}: {array.dtype} {array.shape}")
    return arrays


def open_session(model: bytes) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Load a model in the runtime, on one thread, or refuse with the runtime's reason."""
    runtime = framework("onnxruntime")
    settings = runtime.SessionOptions()
    settings.log_severity_level = 3  # or hundreds of KiB of warnings, one for each initialiser
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    try:
        return runtime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  the runtime's errors share no other base
        raise ConversionRefused("not_loadable", error) from None


def run(session: Any, inputs: dict[str, Any]) -> list[Any]:  # noqa: ANN401  as above
    """Run a model once, or refuse with the runtime's reason."""
    try:
        return list(session.run(None, inputs))
    except Exception as error:  # noqa: BLE001  as above
        raise ConversionRefused("not_runnable", error) from None


def draw_inputs(session: Any, rows: int, other: int) -> dict[str, Any] | None:  # noqa: ANN401
    """Draw inputs to the signature, or ``None`` when it asks for what cannot be drawn.

    An open first dimension becomes ``rows``, any other one ``other``; floats lie in [-1, 1),
    integers are 0 or 1.
    """
    chance = np.random.default_rng(SEED)
    drawn: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for one in session.get_inputs():
        kind = TYPES.get(one.type)
        if kind is None:
            return None
        shape = []
        for place, size in enumerate(one.shape):
            open_size = sizes.setdefault(str(size), rows if place == 0 else other)
            shape.append(size if isinstance(size, int) and size >= 0 else open_size)
        if math.prod(shape) > DRAWN_ELEMENTS_MOST:
            return None
        if kind is np.object_:
            drawn[one.name] = chance.choice(np.array(["a", "b"], dtype=object), shape)
        elif np.issubdtype(kind, np.floating):
            drawn[one.name] = chance.uniform(-1, 1, shape).astype(kind)
        else:
            drawn[one.name] = chance.integers(0, 2, shape).astype(kind)
    return drawn


def match_samples(session: Any, samples: dict[str, Any], rows: int) -> dict[str, Any]:  # noqa: ANN401
    """Give each input its sample: ``x`` where there is one input, else by name; cut to ``rows``."""
    wanted = session.get_inputs()
    matched = {}
    for one in wanted:
        array = samples.get("x") if len(wanted) == 1 and "x" in samples else samples.get(one.name)
        kind = TYPES.get(one.type)
        if array is None or kind is None:
            raise ConversionRefused("samples_unfit", f"{one.name} {one.type}")
        sizes = [size for size in one.shape if isinstance(size, int)]
        if array.ndim != len(one.shape) or not set(sizes) <= set(array.shape):
            raise ConversionRefused("samples_unfit", f"{one.name}: {array.shape}, {one.shape}")
        matched[one.name] = array[:rows].astype(kind)
    return matched


def compare(name: str, reference: Any, got: Any, rtol: float, atol: float) -> dict[str, Any]:  # noqa: ANN401
    """Say how far one output lies from its reference; ``ok`` is taken off before it is told."""
    reference, got = np.asarray(reference), np.asarray(got)
    if reference.shape != got.shape:
        return {"name": name, "max_abs": math.inf, "max_rel": math.inf, "equal": 0, "of": 0}
    if reference.dtype.kind not in "fc" or got.dtype.kind not in "fc":
        same = reference.astype(str) == got.astype(str)
        if reference.dtype.kind in "biuf" and got.dtype.kind in "biuf":
            same = reference == got
        return {
            "name": name,
            "max_abs": 0.0,
            "max_rel": 0.0,
            "equal": int(same.sum()),
            "of": same.size,
            "unequal": ~same,
        }
    wide, other = reference.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True):
        return {"name": name, "max_abs": math.inf, "max_rel": math.inf, "equal": 0, "of": 0}
    top = float(np.abs(wide[finite]).max(initial=0.0))
    largest = float(np.abs(wide[finite] - other[finite]).max(initial=0.0))
    allowed = rtol * top + atol
    said = {
        "name": name,
        "max_abs": largest,
        "max_rel": largest / top if top else largest,
        "equal": 0,
        "of": 0,
        "far": not largest <= allowed,
    }
    if wide.ndim == 2 and wide.shape[1] > 1:  # scores of classes: the label is the largest
        said["equal"] = int((wide.argmax(1) == other.argmax(1)).sum())
        said["of"] = wide.shape[0]
        best = np.sort(np.nan_to_num(wide), axis=1)
        said["tied"] = best[:, -1] - best[:, -2] <= 2 * allowed
    return said


def report_parity(
    source_format: str,
    tools: dict[str, str],
    count: int,
    origin: str,
    outputs: list[tuple[str, Any, Any]],
    no_scores: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Compare outputs (name, reference, got); a label may differ where its scores are tied.

    ``no_scores`` names the outputs whose largest column says nothing.
    """
    half = any(np.asarray(got).dtype == np.float16 for _, _, got in outputs)
    rtol, atol = (RTOL_HALF, ATOL_HALF) if half else (RTOL, ATOL)
    rows = [compare(name, reference, got, rtol, atol) for name, reference, got in outputs]
    tied = [row["tied"] for row in rows if "tied" in row and row["name"] not in no_scores]
    is_far = False
    for row in rows:
        if row["name"] in no_scores and "tied" in row:
            row["equal"] = row["of"] = 0
        unequal = row.get("unequal")
        if unequal is not None:
            excused = [mask for mask in tied if mask.shape == unequal.shape]
            is_far |= bool((unequal & ~excused[0] if excused else unequal).any())
        else:
            is_far |= bool(row.get("far", True))
    return {
        "source_format": source_format,
        "tools": tools,
        "inputs": count,
        "origin": origin,
        "outputs": [
            {
                "name": row["name"],
                "max_abs_nano": to_nano(row["max_abs"]),
                "max_rel_nano": to_nano(row["max_rel"]),
                "labels_equal": row["equal"],
                "labels": row["of"],
            }
            for row in rows
        ],
        "rtol_nano": to_nano(rtol),
        "atol_nano": to_nano(atol),
        "verdict": "not_shown" if not rows else "fail" if is_far else "pass",
    }


def to_nano(value: float) -> int:
    """Round up to billionths, cut where a Parity ends."""
    if not math.isfinite(value):
        return NANO_MOST
    return min(math.ceil(round(value * 1e9, 6)), NANO_MOST)


def check_model(model: Any) -> bytes:  # noqa: ANN401  onnx's ModelProto is not typed
    """Merge equal opset rows, check the model in full and return its bytes, or refuse."""
    onnx = framework("onnx")
    versions: dict[str, int] = {}
    for row in model.opset_import:
        domain = "" if row.domain == "ai.onnx" else row.domain
        if versions.setdefault(domain, row.version) != row.version:
            raise ConversionRefused("opset_twice", domain or "ai.onnx")
    del model.opset_import[:]
    for domain, version in versions.items():
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))
    try:
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
    except Exception as error:  # noqa: BLE001  checker, inference and protobuf share no other base
        raise ConversionRefused("not_valid", error) from None
