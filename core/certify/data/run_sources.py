"""Where rows to be run come from: a table, arrays, JSON, pictures; some at a time.

* The kind of file is told by its first bytes; only JSON lines and one JSON value are told apart
  by the end of their name.
* A file of rows is read as it is needed, so that its length does not matter; arrays and one JSON
  value are held whole, within their limits.
* A row that cannot be used ends the reading and is named: a file is run whole or not at all.

What becomes of the rows is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from hanse.core.certify.data.csv_file import CsvTable, TextLines, read_header
from hanse.core.certify.data.faults import DatasetRefused, MappingNeeded, shown
from hanse.core.certify.data.image_folder import list_pictures
from hanse.core.certify.data.naming import map_input_arrays
from hanse.core.certify.data.npz_file import load_arrays, read_arrays
from hanse.core.certify.data.reading import first_bytes, other_format, picture_rows
from hanse.core.certify.data.run_rows import JsonRows, RowRefused, RunRows, TableRows, array_rows
from hanse.core.errors import FileTooLarge, FileUnreadable
from hanse.core.limits import RUN_JSON_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hanse.core.certify.data.dataset import DataNote, ReadImages, Wanted
    from hanse.core.certify.data.image_folder import ImageFile
    from hanse.core.certify.data.mapping import DataMapping
    from hanse.core.model.control import Control

PICTURES_AT_ONCE: Final = 64
_ROWS_AT_ONCE: Final = 1024
_LINES: Final = (".jsonl", ".ndjson")
_PICTURES: Final = (b"\x89PNG", b"\xff\xd8\xff")
_ZIP: Final = b"PK\x03\x04"
_FILE: Final = "file"


class RunSource(Protocol):
    """Rows that are read as they are needed.

    ``columns`` are what is kept of each row, in order; ``notes`` tell how inputs were found.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of what is kept."""
        ...

    @property
    def notes(self) -> tuple[DataNote, ...]:
        """Return what was odd and is told."""
        ...

    def batches(self, control: Control) -> Iterator[RunRows]:
        """Yield all rows in order, some at a time."""
        ...


def are_pictures(path: Path) -> bool:
    """Say whether ``path`` is a picture, or a folder of them."""
    return path.is_dir() or first_bytes(path).startswith(_PICTURES)


def open_source(
    path: Path,
    wanted: Wanted,
    mapping: DataMapping | None,
    control: Control,
    read_images: ReadImages | None = None,
) -> RunSource:
    """Open a file or folder for the model ``wanted``; raise what is wrong with it.

    Pictures are decoded by ``read_images``, from a stage with those of ``list_pictures``.
    """
    if are_pictures(path):
        assert read_images is not None, "pictures are decoded by a Worker"
        return _Pictures(list_pictures(path, control), wanted, read_images)
    start = first_bytes(path)
    is_lines = path.suffix.lower() in _LINES
    begins = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if path.suffix.lower() == ".json" or (begins == b"[" and not is_lines):
        return _JsonValue(path, wanted, mapping)
    if is_lines or begins == b"{":
        return _JsonLines(path, wanted, mapping)
    other = other_format(path, start)
    if other is not None:
        raise DatasetRefused(path.name, "format", other, "CSV, NPZ, JSON, PNG, JPEG")
    if start.startswith(_ZIP):
        return _Arrays(path, wanted, mapping, control)
    return _Table(path, wanted, mapping)


class _Table:
    """The rows of a CSV file."""

    def __init__(self, path: Path, wanted: Wanted, mapping: DataMapping | None) -> None:
        self._path = path
        self._header = read_header(path)
        self._rows = TableRows(self._header.columns, wanted, mapping)
        self.columns = self._header.columns
        self.notes = self._rows.notes

    def batches(self, control: Control) -> Iterator[RunRows]:
        table = CsvTable(self._path, self._header)
        for rows in table.chunks(control):
            yield self._rows.read(rows, table.n - len(rows) + 1)
        if table.n == 0:
            raise DatasetRefused(self._path.name, "no_rows", 0, 1)


class _Arrays:
    """Arrays of an NPZ file."""

    columns: tuple[str, ...] = ()
    notes: tuple[DataNote, ...] = ()

    def __init__(
        self, path: Path, wanted: Wanted, mapping: DataMapping | None, control: Control
    ) -> None:
        headers = read_arrays(path)
        self._wanted = wanted
        self._mapping = map_input_arrays(tuple(headers), wanted, mapping)
        names = {
            name
            for one in self._mapping.inputs.values()
            for name in ((one,) if isinstance(one, str) else one)
        }
        self._arrays = load_arrays(path, headers, names, control)
        lengths = {name: len(one) if one.ndim else 0 for name, one in self._arrays.items()}
        self._n = next(iter(lengths.values()), 0)
        for name, length in lengths.items():
            if length != self._n:
                raise DatasetRefused(path.name, "rows_differ", f"{name}: {length}", self._n)
        if self._n == 0:
            raise DatasetRefused(path.name, "no_rows", 0, 1)

    def batches(self, control: Control) -> Iterator[RunRows]:
        for start in range(0, self._n, _ROWS_AT_ONCE):
            control.checkpoint("read_data", start, self._n)
            part = {name: one[start : start + _ROWS_AT_ONCE] for name, one in self._arrays.items()}
            yield array_rows(part, self._wanted, self._mapping, start + 1)


class _Json:
    """Rows as JSON values; what is kept of each is the whole object."""

    columns: tuple[str, ...] = ()

    def __init__(self, path: Path, wanted: Wanted, mapping: DataMapping | None) -> None:
        self._path = path
        self._rows = JsonRows(wanted, mapping)
        self.notes: tuple[DataNote, ...] = ()


class _JsonLines(_Json):
    """One JSON value a line; empty lines are passed over, and counted."""

    def batches(self, control: Control) -> Iterator[RunRows]:
        values: list[object] = []
        size = number = 0
        is_empty = True
        try:
            total = self._path.stat().st_size
            with self._path.open("rb") as stream:
                lines = TextLines(self._path.name, stream)
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        values.append(read_json(line.encode(), number))
                        size += len(line)
                    elif values:  # rows are counted by lines: what follows begins anew
                        yield self._rows.read(values, number - len(values))
                        values, size = [], 0
                    is_empty = is_empty and not values
                    if len(values) == _ROWS_AT_ONCE or size > RUN_JSON_SIZE_BYTES_MAX // 4:
                        control.checkpoint("read_data", lines.size, total)
                        yield self._rows.read(values, number + 1 - len(values))
                        values, size = [], 0
        except OSError as fault:
            detail = fault.strerror or str(fault)
            raise FileUnreadable(path=self._path, detail=detail) from fault
        if values:
            yield self._rows.read(values, number + 1 - len(values))
        if is_empty:
            raise DatasetRefused(self._path.name, "no_rows", 0, 1)


class _JsonValue(_Json):
    """A file that is one JSON value: a list of rows, or a single row."""

    def batches(self, control: Control) -> Iterator[RunRows]:
        try:
            found = self._path.stat().st_size
            if found > RUN_JSON_SIZE_BYTES_MAX:
                raise FileTooLarge(path=self._path, found=found, most=RUN_JSON_SIZE_BYTES_MAX)
            raw = self._path.read_bytes()
        except OSError as fault:
            detail = fault.strerror or str(fault)
            raise FileUnreadable(path=self._path, detail=detail) from fault
        whole = read_json(raw, 1)
        values = whole if isinstance(whole, list) else [whole]
        if not values:
            raise DatasetRefused(self._path.name, "no_rows", 0, 1)
        for start in range(0, len(values), _ROWS_AT_ONCE):
            control.checkpoint("read_data", start, len(values))
            yield self._rows.read(values[start : start + _ROWS_AT_ONCE], start + 1)


class _Pictures:
    """Pictures, which a Worker decodes."""

    columns = (_FILE,)
    notes: tuple[DataNote, ...] = ()

    def __init__(self, images: Sequence[ImageFile], wanted: Wanted, read: ReadImages) -> None:
        if len(wanted.inputs) != 1:
            names = ", ".join(one.name for one in wanted.inputs)
            raise MappingNeeded(tensor=names, expected=str(len(wanted.inputs)), found=())
        self._images = images
        self._tensor = wanted.inputs[0]
        self._steps = () if wanted.card is None else wanted.card.recipe.pre
        self._read = read

    def batches(self, control: Control) -> Iterator[RunRows]:
        for start in range(0, len(self._images), PICTURES_AT_ONCE):
            control.checkpoint("decode_pictures", start, len(self._images))
            some = self._images[start : start + PICTURES_AT_ONCE]
            made = picture_rows(some, self._tensor, self._steps, self._read, control)
            given = [{_FILE: one.name} for one in some]
            yield RunRows(start + 1, len(some), {self._tensor.name: made}, given, [()] * len(some))


def read_json(raw: bytes, row: int) -> object:
    """Decode one JSON value, or raise ``RowRefused`` with the place of what is wrong."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as fault:
        raise RowRefused(row, "not_json", shown(str(fault)), "JSON") from fault
