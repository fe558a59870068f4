"""Arrays in an NPZ file: numbers and text, never objects, each checked before it is unpacked.

* The zip directory and the header of every array are read first; a member that would be larger
  than what may be held, or than its header says, is refused unread.
* ``allow_pickle`` is off: an array of objects is code, whatever its name.

Which array is an input and which the truth is decided in ``naming.py``.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.faults import DatasetRefused, shown
from hanse.core.errors import FileUnreadable
from hanse.core.limits import (
    DATASET_ARRAYS_MAX,
    DATASET_MEMORY_BYTES_MAX,
    DATASET_ROWS_MAX,
    NPY_HEADER_SIZE_BYTES_MAX,
    TENSOR_DIMENSIONS_MAX,
    ZIP_RATIO_MAX,
    ZIP_UNPACKED_SPARE_BYTES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import IO

    from hanse.core.model.arrays import Array
    from hanse.core.model.control import Control

_CHUNK_BYTES: Final = 1024**2
_ENCRYPTED: Final = 0x1


@dataclass(frozen=True, slots=True)
class NpzArray:
    """What the header of one array says."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


def read_arrays(path: Path) -> dict[str, NpzArray]:
    """Read the headers of all arrays; raise ``DatasetRefused`` for a file that cannot be one."""
    found: dict[str, NpzArray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > DATASET_ARRAYS_MAX:
                raise DatasetRefused(path.name, "arrays", len(members), DATASET_ARRAYS_MAX)
            for member in members:
                array = _header(path.name, archive, member)
                if array.name in found:
                    raise DatasetRefused(path.name, "array_twice", array.name, 1)
                found[array.name] = array
    except OSError as fault:
        raise FileUnreadable(path=path, detail=fault.strerror or str(fault)) from fault
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as fault:
        raise DatasetRefused(path.name, "npz", shown(str(fault)), "npz") from fault
    if not found:
        raise DatasetRefused(path.name, "no_arrays", 0, 1)
    return found


def load_arrays(
    path: Path, headers: dict[str, NpzArray], names: Iterable[str], control: Control
) -> dict[str, Array]:
    """Unpack the arrays ``names``, all of which ``headers`` has."""
    kept = sorted(set(names))
    total = sum(_size(headers[name]) for name in kept)
    if total > DATASET_MEMORY_BYTES_MAX:
        raise DatasetRefused(path.name, "memory", total, DATASET_MEMORY_BYTES_MAX)
    found: dict[str, Array] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for number, name in enumerate(kept):
                control.checkpoint("read_data", number, len(kept))
                array = file[name]
                if array.shape != headers[name].shape or array.dtype != headers[name].dtype:
                    raise DatasetRefused(path.name, "changed", name, name)
                found[name] = array.astype(array.dtype.newbyteorder("="))
    except OSError as fault:
        raise FileUnreadable(path=path, detail=fault.strerror or str(fault)) from fault
    except (ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as fault:
        raise DatasetRefused(path.name, "npz", shown(str(fault)), "npz") from fault
    return found


def file_digest(path: Path, control: Control) -> bytes:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    try:
        total = path.stat().st_size
        done = 0
        with path.open("rb") as stream:
            while raw := stream.read(_CHUNK_BYTES):
                digest.update(raw)
                done += len(raw)
                control.checkpoint("hash_data", done, total)
    except OSError as fault:
        raise FileUnreadable(path=path, detail=fault.strerror or str(fault)) from fault
    return digest.digest()


def _header(file: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NpzArray:
    name = member.filename.removesuffix(".npy")
    if name == member.filename or not name:
        raise DatasetRefused(file, "array_name", shown(member.filename), ".npy")
    if member.flag_bits & _ENCRYPTED:
        raise DatasetRefused(file, "encrypted", shown(name), "")
    ratio = member.file_size // max(1, member.compress_size)
    if member.file_size > ZIP_UNPACKED_SPARE_BYTES_MAX and ratio > ZIP_RATIO_MAX:
        raise DatasetRefused(file, "ratio", ratio, ZIP_RATIO_MAX)
    with archive.open(member) as stream:
        try:
            array = _array_header(name, stream)
        except (ValueError, EOFError, SyntaxError) as fault:
            raise DatasetRefused(file, "array_header", shown(f"{name}: {fault}"), "npy") from fault
        if array.dtype.hasobject or array.dtype.kind not in "biufU":
            raise DatasetRefused(file, "array_type", f"{name}: {array.dtype}", "bool int float str")
        if _size(array) != member.file_size - stream.tell():
            raise DatasetRefused(file, "array_size", name, _size(array))
    if len(array.shape) > TENSOR_DIMENSIONS_MAX:
        raise DatasetRefused(file, "array_shape", name, TENSOR_DIMENSIONS_MAX)
    if array.shape and array.shape[0] > DATASET_ROWS_MAX:
        raise DatasetRefused(file, "rows", array.shape[0], DATASET_ROWS_MAX)
    return array


def _array_header(name: str, stream: IO[bytes]) -> NpzArray:
    version = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version}")
    shape, _, dtype = read(stream, max_header_size=NPY_HEADER_SIZE_BYTES_MAX)
    return NpzArray(name, np.dtype(dtype), tuple(int(one) for one in shape))


def _size(array: NpzArray) -> int:
    size = array.dtype.itemsize
    for one in array.shape:
        size *= one
    return size
