"""Reading a data set for one model: CSV, NPZ, or a folder of pictures.

* The format is told by the bytes; a spreadsheet or another file is refused by name.
* Values outside the range a card gives are counted and told; the rows are used all the same.
* Labels that the card does not know are refused here, before anything is run.

What the model makes of it is judged in ``evaluating.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.csv_file import CellsWanted, read_columns, read_header
from hanse.core.certify.data.dataset import DataNote, DataSet
from hanse.core.certify.data.faults import DatasetRefused, MappingNeeded, MissingValue, WrongShape
from hanse.core.certify.data.image_folder import folder_digest, list_images
from hanse.core.certify.data.labels import as_labels, encode
from hanse.core.certify.data.mapping import recipe_digest
from hanse.core.certify.data.naming import (
    map_arrays,
    map_folder,
    map_table,
)
from hanse.core.certify.data.npz_file import file_digest, load_arrays, read_arrays
from hanse.core.certify.data.plan import kind_of
from hanse.core.certify.data.ranges import outside_range
from hanse.core.certify.data.recipe import applied, columns_of, imputed
from hanse.core.errors import FileUnreadable
from hanse.core.limits import DATASET_MEMORY_BYTES_MAX
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.core.certify.data.csv_file import CellKind
    from hanse.core.certify.data.dataset import ReadImages, Wanted
    from hanse.core.certify.data.image_folder import ImageFile
    from hanse.core.certify.data.mapping import DataMapping
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.card import RecipeStep
    from hanse.core.model.control import Control

_ZIP: Final = b"PK\x03\x04"
_OTHERS: Final = (  # first bytes of what people keep tables in, and what it is called
    (b"PAR1", "Parquet"),
    (b"\xd0\xcf\x11\xe0", "XLS"),
    (b"SQLite format 3", "SQLite"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "NPY"),
    (b"%PDF", "PDF"),
    (b"\x1f\x8b", "gzip"),
    (b"ARROW1", "Arrow"),
)
_CHANGES_VALUES: Final = frozenset({"cast", "scale", "normalise", "category", "impute"})
_CHANNELS: Final = frozenset({1, 3})
_IMAGES_AT_ONCE: Final = 64
_PICTURE_AXES: Final = 4


def read_dataset(
    path: Path,
    wanted: Wanted,
    mapping: DataMapping | None,
    worker_images: ReadImages | None,
    control: Control,
) -> DataSet:
    """Read the file or folder ``path`` for the model ``wanted``.

    ``worker_images`` is ``Worker.read_images`` of a Worker whose stage holds the files of
    ``list_images(path)`` under their names; it is needed for a folder only.  Raises one of the
    errors of ``faults.py``, or ``FileUnreadable``.
    """
    if path.is_dir():
        return _read_folder(path, wanted, mapping, worker_images, control)
    start = first_bytes(path)
    other = other_format(path, start)
    if other is not None:
        raise DatasetRefused(path.name, "format", other, "CSV, NPZ")
    if start.startswith(_ZIP):
        return _read_npz(path, wanted, mapping, control)
    return _read_csv(path, wanted, mapping, control)


def other_format(path: Path, start: bytes) -> str | None:
    """Name the kind of file that begins with ``start`` and is not read, ``None`` for ours."""
    other = next((name for magic, name in _OTHERS if start.startswith(magic)), None)
    if other is None and start.startswith(_ZIP):
        suffix = path.suffix.lower()
        return None if suffix in (".npz", ".zip", "") else suffix.lstrip(".").upper()
    return other


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, by which its kind is told, or ``FileUnreadable``."""
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except OSError as fault:
        raise FileUnreadable(path=path, detail=fault.strerror or str(fault)) from fault


# --- CSV ------------------------------------------------------------------------------------


def _read_csv(path: Path, wanted: Wanted, given: DataMapping | None, control: Control) -> DataSet:
    header = read_header(path)
    mapping, notes = map_table(header.columns, wanted, given)
    steps = _pre(wanted)
    asked: list[CellsWanted] = []
    for tensor in wanted.inputs:
        columns = _names(mapping.inputs[tensor.name])
        kind = cell_kind(tensor, steps)
        asked += [
            CellsWanted(name, kind, done)
            for name, done in zip(columns, columns_of(steps, tensor.name, columns), strict=True)
        ]
    of_inputs = len(asked)
    is_figure = kind_of(wanted) in ("regression", "series")
    asked += [CellsWanted(one, "float64" if is_figure else "label") for one in mapping.targets]
    others = [one for one in (mapping.slice, mapping.group) if one]
    asked += [CellsWanted(one, "mark") for one in others]
    rows = read_columns(path, header, asked, control)

    inputs: dict[str, Array] = {}
    at = 0
    for tensor in wanted.inputs:
        columns = _names(mapping.inputs[tensor.name])
        made = rows.columns[at : at + len(columns)]
        at += len(columns)
        notes += _out_of_range(wanted, tensor, columns, made)
        flat = made[0] if len(made) == 1 else np.stack(made, axis=1)
        inputs[tensor.name] = applied(steps, tensor, flat)
    truths = rows.columns[of_inputs : of_inputs + len(mapping.targets)]
    marks = dict(zip(others, rows.columns[of_inputs + len(truths) :], strict=False))
    return _finished(_Raw(path.name, rows.sha256, inputs, truths, marks, notes), wanted, mapping)


def cell_kind(tensor: TensorFacts, steps: Sequence[RecipeStep]) -> CellKind:
    """Choose how a column of ``tensor`` is held: as precisely as the input takes it."""
    if tensor.dtype == "string":
        return "text"
    if tensor.dtype in ("float16", "float32"):
        return "float32"
    if tensor.dtype == "float64":
        return "float64"
    is_changed = any(
        step.op in _CHANGES_VALUES and step.tensor in ("", tensor.name) for step in steps
    )
    return "float64" if is_changed else "int64"


def _out_of_range(
    wanted: Wanted, tensor: TensorFacts, names: Sequence[str], columns: Sequence[Array]
) -> tuple[DataNote, ...]:
    """Count, column by column, the values that the card says the model is not made for."""
    counted = (
        (name, int(np.count_nonzero(outside)))
        for name, outside in outside_range(wanted, tensor, names, columns)
    )
    return tuple(
        DataNote("dataset.note.outside_range", name, count) for name, count in counted if count
    )


# --- NPZ ------------------------------------------------------------------------------------


def _read_npz(path: Path, wanted: Wanted, given: DataMapping | None, control: Control) -> DataSet:
    headers = read_arrays(path)
    mapping = map_arrays(tuple(headers), wanted, given)
    others = [one for one in (mapping.slice, mapping.group) if one]
    asked = [*mapping.targets, *others]
    for chosen in mapping.inputs.values():
        asked += _names(chosen)
    arrays = load_arrays(path, headers, asked, control)
    n = _rows(path.name, {name: arrays[name] for name in asked})
    steps = _pre(wanted)
    notes: tuple[DataNote, ...] = ()
    inputs = {}
    for tensor in wanted.inputs:
        names = _names(mapping.inputs[tensor.name])
        columns = [arrays[one] for one in names]
        flat = columns[0] if len(names) == 1 else np.stack([_flat(n, x) for x in columns], axis=1)
        flat = imputed(steps, tensor.name, flat)
        if flat.dtype.kind == "f" and np.isnan(flat).any():
            row = int(np.argwhere(np.isnan(flat))[0][0]) + 1
            raise MissingValue(column=names[0], row=row)
        notes += _out_of_range(wanted, tensor, names[:1], (flat,))
        inputs[tensor.name] = applied(steps, tensor, flat)
    truths = [_flat(n, arrays[one]) for one in mapping.targets]
    marks = {one: _flat(n, arrays[one]).astype(np.str_) for one in others}
    digest = file_digest(path, control)
    return _finished(_Raw(path.name, digest, inputs, truths, marks, notes), wanted, mapping)


def _rows(file: str, arrays: Mapping[str, Array]) -> int:
    lengths = {name: len(one) if one.ndim else 0 for name, one in arrays.items()}
    first, n = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != n:
            raise DatasetRefused(file, "rows_differ", f"{name}: {length}", f"{first}: {n}")
    if n == 0:
        raise DatasetRefused(file, "no_rows", 0, 1)
    return n


def _flat(n: int, column: Array) -> Array:
    """Return an array of one value a row without its other dimensions; others as they are."""
    return column.reshape(n) if column.size == n else column


# --- pictures -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Picture:
    """How an input takes pictures: their size where it is fixed, channels, and which come first."""

    size: tuple[int, int] | None
    channels: int
    is_channels_first: bool


def _read_folder(
    path: Path,
    wanted: Wanted,
    given: DataMapping | None,
    worker_images: ReadImages | None,
    control: Control,
) -> DataSet:
    mapping = map_folder(wanted, given)
    images = list_images(path, control)
    (tensor,) = wanted.inputs
    assert worker_images is not None, "pictures are decoded by a Worker"
    truth = np.array([one.label for one in images])
    known = mapping.labels or (() if wanted.card is None else wanted.card.recipe.labels)
    if known:  # before a picture is decoded
        encode(as_labels(truth), known)
    made = picture_rows(images, tensor, _pre(wanted), worker_images, control)
    digest = folder_digest(images, control)
    raw = _Raw(path.name, digest, {tensor.name: made}, (truth,), {}, ())
    return _finished(raw, wanted, mapping)


def picture_rows(
    images: Sequence[ImageFile],
    tensor: TensorFacts,
    steps: Sequence[RecipeStep],
    read: ReadImages,
    control: Control,
) -> Array:
    """Decode pictures by ``read`` and make the rows of ``tensor`` of them."""
    picture = _picture(tensor, steps)
    decoded = _decoded(images, picture, read, control)
    is_laid_out = any(step.op == "layout" and step.tensor in ("", tensor.name) for step in steps)
    if picture.is_channels_first and not is_laid_out:
        decoded = decoded.transpose(0, 3, 1, 2)
    return applied(steps, tensor, decoded, was_resized=picture.size is not None)


def _picture(tensor: TensorFacts, steps: Sequence[RecipeStep]) -> _Picture:
    """Read size and channels off the recipe and the shape of the input, or ask."""
    resize = next(
        (one for one in steps if one.op == "resize" and one.tensor in ("", tensor.name)), None
    )
    size = None
    if resize is not None and len(resize.numbers_micro) == 2:
        size = (resize.numbers_micro[0] // MICRO, resize.numbers_micro[1] // MICRO)
    shape = tensor.shape or ()
    sides: tuple[object, ...]
    if len(shape) == _PICTURE_AXES:
        is_first = shape[1] in _CHANNELS and shape[3] not in _CHANNELS
        channels = shape[1] if is_first else shape[3]
        sides = shape[2:4] if is_first else shape[1:3]
    elif len(shape) == _PICTURE_AXES - 1:
        is_first, channels, sides = False, 1, shape[1:3]
    else:
        raise MappingNeeded(tensor=tensor.name, expected=f"{tensor.dtype}{shape}", found=())
    if size is None:
        high, wide = sides
        if isinstance(high, int) and isinstance(wide, int):
            size = (high, wide)
    if not isinstance(channels, int) or channels not in _CHANNELS:
        raise MappingNeeded(tensor=tensor.name, expected=f"{tensor.dtype}{shape}", found=())
    return _Picture(size, channels, is_first)


def _decoded(
    images: Sequence[ImageFile], picture: _Picture, read: ReadImages, control: Control
) -> Array:
    """Let the Worker decode the pictures, some at a time; what comes is a stranger's."""
    parts: list[Array] = []
    held = 0
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        control.checkpoint("decode_pictures", start, len(images))
        some = [one.name for one in images[start : start + _IMAGES_AT_ONCE]]
        part = read(some, picture.size, picture.channels, control)
        before = parts[0].shape[1:] if parts else part.shape[1:]
        is_right = part.ndim == _PICTURE_AXES and part.dtype == np.uint8 and len(part) == len(some)
        if not is_right or part.shape[1:] != before or part.shape[3] != picture.channels:
            raise WrongShape(
                tensor=some[0],
                expected=f"uint8[{len(some)}, {', '.join(map(str, before))}]",
                found=f"{part.dtype}{list(part.shape)}",
            )
        held += part.nbytes
        if held > DATASET_MEMORY_BYTES_MAX:
            raise DatasetRefused(some[0], "memory", held, DATASET_MEMORY_BYTES_MAX)
        parts.append(part)
    return np.concatenate(parts)


# --- what all of them become ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Raw:
    """What one of the readers found."""

    name: str
    sha256: bytes
    inputs: dict[str, Array]
    truths: Sequence[Array]
    marks: Mapping[str, Array]
    notes: tuple[DataNote, ...]


def _finished(raw: _Raw, wanted: Wanted, mapping: DataMapping) -> DataSet:
    truth = _truth(raw, wanted, mapping)
    groups = raw.marks.get(mapping.group)
    return DataSet(
        name=raw.name,
        sha256=raw.sha256,
        n=len(truth),
        inputs=raw.inputs,
        truth=truth,
        targets=mapping.targets,
        mapping=mapping,
        recipe_sha256=recipe_digest(wanted.card, mapping),
        slices={one: raw.marks[one] for one in (mapping.slice,) if one},
        groups=groups,
        notes=raw.notes,
    )


def _truth(raw: _Raw, wanted: Wanted, mapping: DataMapping) -> Array:
    columns = list(raw.truths)
    if kind_of(wanted) in ("regression", "series"):
        for name, values in zip(mapping.targets, columns, strict=True):
            if values.dtype.kind not in "biuf":
                raise DatasetRefused(raw.name, "not_figures", name, "float")
            if not np.isfinite(values).all():
                row = int(np.argwhere(~np.isfinite(values))[0][0]) + 1
                raise MissingValue(column=name, row=row)
        figures = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
        return figures.astype(np.float64)
    if len(columns) != 1:
        raise DatasetRefused(raw.name, "targets", len(columns), 1)
    (labels,) = columns
    if labels.dtype.kind == "f":
        if not (np.isfinite(labels).all() and (labels == np.floor(labels)).all()):
            name = mapping.targets[0] if mapping.targets else ""
            raise DatasetRefused(raw.name, "not_labels", name, "label")
        labels = labels.astype(np.int64)
    truth = as_labels(labels) if labels.dtype.kind == "U" else labels.astype(np.int64)
    known = mapping.labels or (() if wanted.card is None else wanted.card.recipe.labels)
    if known and truth.ndim == 1:
        encode(truth, known)
    return truth


def _pre(wanted: Wanted) -> tuple[RecipeStep, ...]:
    return () if wanted.card is None else wanted.card.recipe.pre


def _names(chosen: Sequence[str] | str) -> tuple[str, ...]:
    return (chosen,) if isinstance(chosen, str) else tuple(chosen)
