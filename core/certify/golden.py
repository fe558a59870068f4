"""Golden vectors: inputs and the full outputs of a model, as a Blob others compare with.

* Outputs are kept in full, since only raw outputs can be compared within a tolerance.
* The Blob is canonical DAG-CBOR ``{v, vectors: [{origin, inputs, outputs}]}``; an array is
  ``{dtype, shape, data}``, its numbers little-endian bytes, its texts a list.
* At most ``BLOB_SIZE_BYTES_MAX``; reading is strict, and what is read is written again to the
  same bytes.
* ``origin`` says where an input came from: the seller's ``sample``, or ``generated`` from the
  suite.

Whether outputs are right is not known here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import numpy as np

from hanse.core.errors import BadShape, Refused
from hanse.core.ledger.codec import decode, encode
from hanse.core.limits import (
    BLOB_SIZE_BYTES_MAX,
    FACT_NAME_CHARACTERS_MAX,
    GOLDEN_KEPT_SIZE_BYTES_MAX,
    GOLDEN_TENSORS_MAX,
    GOLDEN_TEXT_SIZE_BYTES_MAX,
    GOLDEN_VECTORS_MAX,
    SAMPLES_MAX,
    TENSOR_DIMENSIONS_MAX,
)
from hanse.core.model.arrays import DTYPES, dtype_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.model.arrays import Array

Origin = Literal["sample", "generated"]

_VERSION: Final = 1
_CHARACTER_BYTES: Final = 4  # of numpy's text
_NUMBERS: Final = frozenset(DTYPES) - {"string"}


class GoldenTooLarge(Refused):
    """The vectors do not fit a Blob."""

    code = "golden.too_large"
    text = "golden vectors have {found_bytes} bytes, limit {most_bytes}"
    fields = ("found_bytes", "most_bytes")


class SamplesRefused(Refused):
    """Sample inputs and outputs do not fit the model; ``reason`` is a stable word."""

    code = "golden.samples_refused"
    text = "samples refused, {reason}: {tensor}"
    fields = ("reason", "tensor")

    def __init__(self, reason: str, tensor: str) -> None:
        """Name the rule broken, and the tensor that breaks it."""
        super().__init__(reason=reason, tensor=tensor)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class GoldenVector:
    """The inputs of one run by name, and its outputs."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    origin: Origin


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """Vectors in their order: samples first."""

    vectors: tuple[GoldenVector, ...]


class ArrayRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array: numbers as little-endian bytes, or a list of texts."""

    dtype: Annotated[str, msgspec.Meta(max_length=16)]
    shape: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=2**40)]],
        msgspec.Meta(max_length=TENSOR_DIMENSIONS_MAX),
    ]
    data: bytes | list[str]


Name = Annotated[str, msgspec.Meta(max_length=FACT_NAME_CHARACTERS_MAX)]
Arrays = Annotated[dict[Name, ArrayRow], msgspec.Meta(max_length=GOLDEN_TENSORS_MAX)]


class VectorRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One vector."""

    origin: Origin
    inputs: Arrays
    outputs: Arrays


class GoldenFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the Blob holds."""

    v: Literal[1]
    vectors: Annotated[list[VectorRow], msgspec.Meta(min_length=1, max_length=GOLDEN_VECTORS_MAX)]


def write_golden(golden: GoldenVectors) -> bytes:
    """Return the bytes of the Blob, or raise ``GoldenTooLarge``."""
    size = sum(_size(one) for one in golden.vectors)
    if size > BLOB_SIZE_BYTES_MAX:  # before they are copied
        raise GoldenTooLarge(found_bytes=size, most_bytes=BLOB_SIZE_BYTES_MAX)
    rows = [
        VectorRow(origin=one.origin, inputs=_rows(one.inputs), outputs=_rows(one.outputs))
        for one in golden.vectors
    ]
    raw = encode(GoldenFile(v=1, vectors=rows))
    if len(raw) > BLOB_SIZE_BYTES_MAX:
        raise GoldenTooLarge(found_bytes=len(raw), most_bytes=BLOB_SIZE_BYTES_MAX)
    return raw


def read_golden(raw: bytes) -> GoldenVectors:
    """Read a Blob, or raise ``BadShape`` or ``NotCanonical`` with what is odd about it."""
    if len(raw) > BLOB_SIZE_BYTES_MAX:
        raise BadShape(f"{len(raw)} bytes, limit {BLOB_SIZE_BYTES_MAX}")
    found = decode(raw, GoldenFile)
    return GoldenVectors(
        tuple(
            GoldenVector(
                {name: array_of_row(row, name) for name, row in one.inputs.items()},
                {name: array_of_row(row, name) for name, row in one.outputs.items()},
                one.origin,
            )
            for one in found.vectors
        )
    )


def row_of_array(array: Array) -> ArrayRow:
    """Write one array of ``DTYPES``."""
    dtype = dtype_name(array)
    assert dtype in DTYPES, dtype
    shape = [int(one) for one in array.shape]
    if dtype == "string":
        return ArrayRow(dtype=dtype, shape=shape, data=[str(one) for one in array.ravel()])
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return ArrayRow(dtype=dtype, shape=shape, data=little.tobytes())


def array_of_row(row: ArrayRow, name: str) -> Array:
    """Read one array, which cannot be written to; raise ``BadShape`` naming it ``name``."""
    count = math.prod(row.shape)
    if isinstance(row.data, list):
        return _text(row.dtype, row.data, row.shape, count, name)
    if row.dtype not in _NUMBERS:
        raise BadShape(f"{name}: no numbers of type {row.dtype}")
    kind = np.dtype(row.dtype).newbyteorder("<")
    if len(row.data) != count * kind.itemsize:
        raise BadShape(f"{name}: {len(row.data)} bytes for {count} x {kind.itemsize}")
    if row.dtype == "bool" and row.data.translate(None, b"\0\1"):
        raise BadShape(f"{name}: a truth value is 0 or 1")
    try:
        return np.frombuffer(row.data, kind).reshape(row.shape)
    except ValueError as error:  # no elements, and dimensions no array can have
        raise BadShape(f"{name}: {error}") from error


def vectors_of_rows(
    arrays: Mapping[str, Array], inputs: Sequence[str], outputs: Sequence[str]
) -> GoldenVectors:
    """Cut tables of samples, such as an ``.npz`` holds, into vectors of one row each.

    Every array has as many rows as the others; each vector keeps one, with its first dimension
    of 1.  At most ``SAMPLES_MAX`` rows are kept.  Raise ``SamplesRefused`` when an input is
    missing, none of the outputs is there, or the arrays differ in their rows.
    """
    for name in inputs:
        if name not in arrays:
            raise SamplesRefused("input_missing", name)
    given = [name for name in outputs if name in arrays]
    for name in (*inputs, *given):
        if dtype_name(arrays[name]) not in DTYPES or arrays[name].ndim == 0:
            raise SamplesRefused("not_rows", name)
    kept = [*inputs, *given]
    count = min((len(arrays[name]) for name in kept), default=0)
    for name in kept:
        if len(arrays[name]) != count:
            raise SamplesRefused("rows_differ", name)
    return GoldenVectors(
        tuple(
            GoldenVector(
                {name: arrays[name][row : row + 1] for name in inputs},
                {name: arrays[name][row : row + 1] for name in given},
                "sample",
            )
            for row in range(min(count, SAMPLES_MAX))
        )
    )


def fitting(golden: GoldenVectors) -> GoldenVectors:
    """Leave out vectors from the end until the rest fits a Blob; at least one stays."""
    room = BLOB_SIZE_BYTES_MAX - BLOB_SIZE_BYTES_MAX // 64  # names, shapes, map keys
    kept: list[GoldenVector] = []
    for one in golden.vectors[:GOLDEN_VECTORS_MAX]:
        room -= _size(one)
        if room < 0 and kept:
            break
        kept.append(one)
    return GoldenVectors(tuple(kept))


class Keeping:
    """Keeps the vectors of one run as they come, so many as memory is meant for.

    The first of each origin is always kept; of the others those that still fit.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.ran = 0
        self._kept: list[GoldenVector] = []
        self._room = GOLDEN_KEPT_SIZE_BYTES_MAX

    def add(self, vector: GoldenVector) -> None:
        """Count a vector that ran, and keep it if there is room."""
        self.ran += 1
        size = _size(vector)
        is_first = all(one.origin != vector.origin for one in self._kept)
        if is_first or size <= self._room:
            self._room -= size
            self._kept.append(vector)

    @property
    def vectors(self) -> tuple[GoldenVector, ...]:
        """Return what was kept, in the order it came."""
        return tuple(self._kept)


def _rows(arrays: Mapping[str, Array]) -> dict[str, ArrayRow]:
    return {name: row_of_array(array) for name, array in arrays.items()}


def _size(vector: GoldenVector) -> int:
    return sum(
        len(name) + (one.nbytes if one.dtype.kind != "U" else _text_size(one))
        for arrays in (vector.inputs, vector.outputs)
        for name, one in arrays.items()
    )


def _text_size(array: Array) -> int:
    return sum(len(str(one).encode()) + 5 for one in array.ravel())


def _text(dtype: str, data: list[str], shape: list[int], count: int, name: str) -> Array:
    if dtype != "string":
        raise BadShape(f"{name}: texts of type {dtype}")
    if len(data) != count:
        raise BadShape(f"{name}: {len(data)} texts for {count}")
    width = max((len(one) for one in data), default=1)
    if count * width * _CHARACTER_BYTES > GOLDEN_TEXT_SIZE_BYTES_MAX:
        raise BadShape(f"{name}: {count} texts of up to {width} characters")
    if any(one.endswith("\0") for one in data):  # numpy cannot keep it
        raise BadShape(f"{name}: a text ends with a null character")
    try:
        found = np.array(data, dtype=f"U{max(1, width)}").reshape(shape)
    except ValueError as error:
        raise BadShape(f"{name}: {error}") from error
    found.flags.writeable = False
    return found
