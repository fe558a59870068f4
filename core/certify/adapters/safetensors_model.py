"""Reads the header of a safetensors file: our own check first, then the library's.

* The header is at most 16 MiB of JSON, and no key stands in it twice: the library takes the
  last one, so two readers could see two models (measured).
* The tensors lie one after the other from 0 to the end of the file: nothing hides between or
  behind them.
* Type times shape is the range of each.

It holds weights without a graph, so nothing of it can run.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import safetensors

from hanse.core.certify.adapters.refusal import Unfit, Words, counted, name
from hanse.core.limits import (
    SAFETENSORS_HEADER_SIZE_BYTES_MAX,
    SAFETENSORS_TENSORS_MAX,
    TENSOR_DIMENSIONS_MAX,
)
from hanse.core.model.artifact import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LENGTH_BYTES: Final = 8
_METADATA: Final = "__metadata__"
_BITS: Final = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
_NAMES: Final = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "BOOL": "bool",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}
_SUGGESTIONS: Final = {
    "modelspec.title": "title",
    "title": "title",
    "modelspec.description": "summary",
    "description": "summary",
    "modelspec.license": "licence",
    "license": "licence",
    "modelspec.author": "author",
    "author": "author",
    "base_model": "base_model",
}


def versions() -> dict[str, str]:
    """Name the reader of this format and its version."""
    return {"safetensors": safetensors.__version__}


def read(stage: Path, file: str) -> ModelFacts:
    """Read the facts of ``file``, or raise ``Unfit`` with the first rule it breaks."""
    path = stage / file
    header, present = _header(path)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(one, str) for one in metadata.values()):
        raise Unfit("header", _METADATA, "text: text")
    if len(header) > SAFETENSORS_TENSORS_MAX:
        raise Unfit("tensors", len(header), SAFETENSORS_TENSORS_MAX)
    elements = _check_ranges(header, present)
    _ask_library(path, set(header))
    words = Words()
    for key, value in metadata.items():
        words.say(key, value)
        if suggested := _SUGGESTIONS.get(key.lower()):
            words.suggest(suggested, value)
    dtypes = counted(elements)
    largest = max(dtypes, key=lambda one: dtypes[one], default="")
    return ModelFacts(
        format="safetensors",
        file=file,
        tensors=len(header),
        parameters=min(elements.total(), 2**62),
        dtypes=dtypes,
        quantisation="" if largest in ("float32", "float64") else largest,
        architecture=name(str(metadata.get("modelspec.architecture", ""))),
        producer=name(str(metadata.get("format", ""))),
        metadata=words.metadata,
        suggested=words.suggested,
    )


def _header(path: Path) -> tuple[dict[str, Any], int]:  # Any: JSON, checked row by row below
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_LENGTH_BYTES)
        length = int.from_bytes(head, "little")
        if len(head) < _LENGTH_BYTES or length > SAFETENSORS_HEADER_SIZE_BYTES_MAX:
            raise Unfit("header_size", length, SAFETENSORS_HEADER_SIZE_BYTES_MAX)
        if _LENGTH_BYTES + length > size:
            raise Unfit("header_size", length, size - _LENGTH_BYTES)
        raw = stream.read(length)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unfit("header", str(error), "JSON") from error
    if not isinstance(header, dict):
        raise Unfit("header", type(header).__name__, "JSON {}")
    return header, size - _LENGTH_BYTES - length


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Unfit("key_twice", twice, "")
    return found


def _check_ranges(header: Mapping[str, object], present: int) -> Counter[str]:
    elements: Counter[str] = Counter()
    rows = sorted(_row(key, value) for key, value in header.items())
    expected = 0
    for begin, end, key, dtype, count in rows:
        if begin != expected or end < begin:
            raise Unfit("tensor_range", f"{key}: {begin} .. {end}", expected)
        if (needed := -(-count * _BITS[dtype] // 8)) != end - begin:
            raise Unfit("tensor_bytes", f"{key}: {end - begin}", needed)
        elements[_NAMES.get(dtype, dtype.lower())] += count
        expected = end
    if expected > present:
        raise Unfit("tensor_range", expected, present)
    if expected < present:
        raise Unfit("tail", present - expected, 0)
    return elements


def _row(key: str, value: object) -> tuple[int, int, str, str, int]:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise Unfit("header", key, "dtype, shape, data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise Unfit("tensor_type", f"{key}: {dtype}", ", ".join(_BITS))
    sizes, both = _naturals(shape), _naturals(offsets)
    if sizes is None or len(sizes) > TENSOR_DIMENSIONS_MAX:
        raise Unfit("dimensions", f"{key}: {shape}", TENSOR_DIMENSIONS_MAX)
    if both is None or len(both) != 2:
        raise Unfit("tensor_range", f"{key}: {offsets}", "0 ..")
    return both[0], both[1], key, dtype, math.prod(sizes)


def _naturals(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(type(one) is int and one >= 0 for one in value):
        return None
    return tuple(value)


def _ask_library(path: Path, expected: set[str]) -> None:
    try:
        with safetensors.safe_open(str(path), framework="numpy") as opened:
            found = set(opened.keys())
    except MemoryError:
        raise
    except Exception as error:  # whatever the library raises means: not valid
        raise Unfit("library", str(error).replace(str(path), ""), "") from error
    if found != expected:
        raise Unfit("library", len(found), len(expected))
