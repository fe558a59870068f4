"""Tensors as they are named here: numpy arrays of numbers, truth values, or text.

* Numbers are little-endian and one of ``DTYPES``; text is numpy's fixed-width unicode.
* Objects never: what an array holds can be written as plain bytes and read back.
* At most ``TENSOR_DIMENSIONS_MAX`` dimensions.

How an array is written into a frame or a Blob is decided where that is done.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DTYPES: Final[tuple[str, ...]] = (
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
)


def dtype_name(array: Array) -> str:
    """Name the type of ``array`` as ``DTYPES`` does, or say ``object`` for anything else."""
    if array.dtype.kind == "U":
        return "string"
    name = array.dtype.name
    return name if name in DTYPES else "object"


def empty(dtype: str, shape: tuple[int, ...]) -> Array:
    """Make an array of ``shape`` that holds zeros, or empty text."""
    return np.zeros(shape, dtype="U1" if dtype == "string" else dtype)
