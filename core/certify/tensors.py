"""Tensors on the wire between the program and a Worker: ``{dtype, shape, data}``.

* Numbers are little-endian bytes in row order; text is a list of UTF-8 strings; never objects.
* The product of the shape times the size of an item equals the bytes, on both sides.
* A number tensor comes out as a view into the frame; it cannot be written to.
* How much text may come of one frame is bounded before any of it is built.

NaN and infinity are values like others here; what they mean is the caller's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import msgspec
import numpy as np

from hanse.core.limits import (
    TENSOR_DIMENSIONS_MAX,
    TENSOR_TEXT_SIZE_BYTES_MAX,
    TENSOR_TEXTS_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
)
from hanse.core.model.arrays import DTYPES, dtype_name
from hanse.core.model.artifact import Name, Natural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.arrays import Array

Dtype = Literal[
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "string",
]
assert Dtype.__args__ == DTYPES  # type: ignore[attr-defined]  # what a Literal holds at run time

_CHARACTER_BYTES: Final = 4  # of numpy's text
_VIEWS: Final = msgspec.msgpack.Decoder(memoryview)
_TEXTS: Final = msgspec.msgpack.Decoder(tuple[str, ...])


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array; ``data`` is looked at when the rest is known to fit."""

    dtype: Dtype
    shape: Annotated[tuple[Natural, ...], msgspec.Meta(max_length=TENSOR_DIMENSIONS_MAX)]
    data: msgspec.Raw


Tensors = Annotated[dict[Name, Tensor], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)]


class BadTensor(Exception):
    """An array cannot be written, or what came is none; the text says why."""


def to_wire(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Write arrays by name; numbers are not copied where they lie in one piece."""
    return {key: tensor_of(array, key) for key, array in arrays.items()}


def from_wire(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Read arrays by name, or raise ``BadTensor``; they share one bound on text."""
    texts = 0
    read: dict[str, Array] = {}
    for key, tensor in tensors.items():
        if tensor.dtype == "string":
            texts += math.prod(tensor.shape)
            if texts > TENSOR_TEXTS_MAX:
                raise BadTensor(f"{texts} texts, limit {TENSOR_TEXTS_MAX}")
        read[key] = array_of(tensor, key)
    return read


def tensor_of(array: Array, shown: str = "") -> Tensor:
    """Write one array, or raise ``BadTensor`` for what is no tensor."""
    dtype = dtype_name(array)
    if dtype == "object":
        raise BadTensor(f"{shown}: {array.dtype} is no tensor")
    if array.ndim > TENSOR_DIMENSIONS_MAX:
        raise BadTensor(f"{shown}: {array.ndim} dimensions, limit {TENSOR_DIMENSIONS_MAX}")
    data: object
    if dtype == "string":
        data = [str(one) for one in array.ravel()]
    else:
        plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        data = plain.reshape(-1).view(np.uint8).data
    # The encoder writes bytes and lists as they are; the field has the type they come back as.
    return Tensor(dtype=cast("Dtype", dtype), shape=array.shape, data=cast("msgspec.Raw", data))


def array_of(tensor: Tensor, shown: str = "") -> Array:
    """Read one array as a view into its frame, or raise ``BadTensor``."""
    count = math.prod(tensor.shape)
    if tensor.dtype == "string":
        return _text(tensor, count, shown)
    try:
        data = _VIEWS.decode(tensor.data)
    except msgspec.DecodeError as error:
        raise BadTensor(f"{shown}: {error}") from error
    item = np.dtype(tensor.dtype).newbyteorder("<")
    if count * item.itemsize != len(data):
        wanted = f"{tensor.dtype} {list(tensor.shape)}"
        raise BadTensor(f"{shown}: {len(data)} bytes for {wanted}")
    try:
        array = np.frombuffer(data, item).reshape(tensor.shape)
    except ValueError as error:  # a zero among dimensions that numpy cannot multiply
        raise BadTensor(f"{shown}: {error}") from error
    if tensor.dtype == "bool" and array.view(np.uint8).max(initial=0) > 1:
        raise BadTensor(f"{shown}: a truth value is 0 or 1")
    array.flags.writeable = False
    return array


def _text(tensor: Tensor, count: int, shown: str) -> Array:
    if count > TENSOR_TEXTS_MAX:
        raise BadTensor(f"{shown}: {count} texts, limit {TENSOR_TEXTS_MAX}")
    if (found := _listed(bytes(memoryview(tensor.data)[:5]))) != count:
        raise BadTensor(f"{shown}: {found} texts for {list(tensor.shape)}")
    try:
        texts = _TEXTS.decode(tensor.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadTensor(f"{shown}: {error}") from error
    size = count * max((len(one) for one in texts), default=0) * _CHARACTER_BYTES
    if size > TENSOR_TEXT_SIZE_BYTES_MAX:
        raise BadTensor(f"{shown}: {size} bytes of text, limit {TENSOR_TEXT_SIZE_BYTES_MAX}")
    try:
        return np.array(texts, dtype=np.str_).reshape(tensor.shape)
    except ValueError as error:
        raise BadTensor(f"{shown}: {error}") from error


def _listed(head: bytes) -> int:
    """Return how long a MessagePack array says it is (-1 for none), before it is built."""
    if head and head[0] & 0xF0 == 0x90:
        return head[0] & 0x0F
    if head[:1] == b"\xdc":
        return int.from_bytes(head[1:3], "big")
    if head[:1] == b"\xdd":
        return int.from_bytes(head[1:5], "big")
    return -1
