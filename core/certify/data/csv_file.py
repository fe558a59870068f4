"""Tables in CSV files: UTF-8, a header, one delimiter, read once from start to end.

* The file is streamed; what is held are the columns that were asked for, as numbers, or as
  codes of the texts that occur.  The digest is of the very bytes that were read.
* Nothing is guessed: two possible delimiters, a name that stands twice, a row of another width,
  text among numbers are refused with the column and the row.  Rows count from 1 below the header.
* A number is what a pocket calculator would take.  Nothing, ``NA``, ``NaN``, ``null`` and their
  like are missing values, refused unless the recipe says what to put there.

Which columns are wanted, and what they mean, is the caller's.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

import numpy as np

from hanse.core.certify.data.faults import (
    BadEncoding,
    DatasetRefused,
    MissingValue,
    NotANumber,
    UnknownCategory,
    named,
    shown,
)
from hanse.core.certify.data.labels import as_labels
from hanse.core.certify.data.recipe import UNCHANGED, ColumnSteps
from hanse.core.errors import FileUnreadable
from hanse.core.limits import (
    CARD_LINE_CHARACTERS_MAX,
    DATASET_COLUMNS_MAX,
    DATASET_FIELD_CHARACTERS_MAX,
    DATASET_LINE_SIZE_BYTES_MAX,
    DATASET_MEMORY_BYTES_MAX,
    DATASET_ROWS_MAX,
    DATASET_SIZE_BYTES_MAX,
    DATASET_VALUES_MAX,
    FACT_NAME_CHARACTERS_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hanse.core.model.arrays import Array
    from hanse.core.model.control import Control

CellKind = Literal["float32", "float64", "int64", "text", "mark", "label"]

_DELIMITERS: Final = (",", ";", "\t")
_CHUNK_BYTES: Final = 1024**2
_CHUNK_ROWS: Final = 2000  # few enough to stay near the processor
_CHUNK_CHARACTERS: Final = 16 * 1024**2
_SNIFFED_LINES: Final = 40
_MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_EXACT_WHOLE: Final = 2**53  # beyond it not every whole number is a double


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The names of the columns in the order of the file, and what stands between them."""

    columns: tuple[str, ...]
    delimiter: str


@dataclass(frozen=True, slots=True)
class CellsWanted:
    """One column to be read: as what, and what the recipe does to its cells.

    ``mark`` is a text of at most a line; ``label`` too, and whole numbers if all of it are.
    ``steps`` count for numbers only.
    """

    column: str
    kind: CellKind
    steps: ColumnSteps = UNCHANGED


@dataclass(frozen=True, slots=True)
class CsvRows:
    """What was read: the digest of the file, the number of rows, the columns as asked."""

    sha256: bytes
    n: int
    columns: tuple[Array, ...]


def read_header(path: Path) -> CsvHeader:
    """Read the names of the columns; raise ``DatasetRefused`` or ``BadEncoding``."""
    with _opened(path) as stream:
        head = list(islice(TextLines(path.name, stream), _SNIFFED_LINES))
    if not "".join(head).strip():
        raise DatasetRefused(path.name, "empty", "", "header")
    tables = {one: rows for one in _DELIMITERS if (rows := _parsed(head, one))}
    if not tables:
        raise DatasetRefused(path.name, "quoting", "1", '"')
    delimiter = _delimiter(path.name, tables)
    return CsvHeader(_checked_names(path.name, tables[delimiter][0]), delimiter)


def read_columns(
    path: Path, header: CsvHeader, wanted: Sequence[CellsWanted], control: Control
) -> CsvRows:
    """Read the columns ``wanted``, which ``header`` must have, in one pass over the file."""
    places = [header.columns.index(one.column) for one in wanted]
    made = [_column(one) for one in wanted]
    total = _size(path)
    if total > DATASET_SIZE_BYTES_MAX:
        raise DatasetRefused(path.name, "too_large", total, DATASET_SIZE_BYTES_MAX)
    rows_most = min(
        DATASET_ROWS_MAX, DATASET_MEMORY_BYTES_MAX // max(1, sum(one.row_bytes for one in made))
    )
    table = CsvTable(path, header)
    for rows in table.chunks(control):
        if table.n > rows_most:
            raise DatasetRefused(path.name, "rows", table.n, rows_most)
        cells = list(zip(*rows, strict=True))
        for column, place in zip(made, places, strict=True):
            column.add(cells[place], table.n - len(rows))
    if table.n == 0:
        raise DatasetRefused(path.name, "no_rows", 0, 1)
    control.checkpoint("read_data", total, total)
    return CsvRows(table.digest, table.n, tuple(one.array() for one in made))


def read_cells(wanted: CellsWanted, cells: Sequence[str], before: int) -> Array:
    """Read some cells of one column, at least one; ``before`` rows came earlier."""
    column = _column(wanted)
    column.add(cells, before)
    return column.array()


class CsvTable:
    """The rows of a table, some at a time; ``n`` counts those that were given out."""

    def __init__(self, path: Path, header: CsvHeader) -> None:
        """Open nothing yet."""
        self._path = path
        self._header = header
        self._lines: TextLines | None = None
        self.n = 0

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of all bytes read so far."""
        return b"" if self._lines is None else self._lines.digest

    def chunks(self, control: Control) -> Iterator[list[list[str]]]:
        """Yield rows of the header's width; raise ``DatasetRefused`` or ``BadEncoding``."""
        file, total = self._path.name, _size(self._path)
        with _opened(self._path) as stream:
            lines = self._lines = TextLines(file, stream)
            reader = csv.reader(lines, delimiter=self._header.delimiter, strict=True)
            try:
                first = next(reader, [])
                if tuple(one.strip() for one in first) != self._header.columns:
                    raise DatasetRefused(file, "changed", named(first), named(self._header.columns))
                while rows := _chunk(reader):
                    control.checkpoint("read_data", lines.size, total)
                    rows = [row for row in rows if row]
                    if not rows:
                        continue
                    _check_widths(file, rows, len(self._header.columns), self.n)
                    self.n += len(rows)
                    yield rows
            except csv.Error as fault:
                where = f"{reader.line_num}: {fault}"
                raise DatasetRefused(file, "quoting", where, '"') from fault


def _chunk(reader: Iterator[list[str]]) -> list[list[str]]:
    """Take rows until there are enough, or their text is long."""
    rows: list[list[str]] = []
    size = 0
    for row in reader:
        rows.append(row)
        size += sum(map(len, row))
        if len(rows) == _CHUNK_ROWS or size > _CHUNK_CHARACTERS:
            break
    return rows


# --- lines ----------------------------------------------------------------------------------


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as fault:
        raise FileUnreadable(path=path, detail=fault.strerror or str(fault)) from fault


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as fault:
        raise FileUnreadable(path=path, detail=fault.strerror or str(fault)) from fault


class TextLines:
    """The lines of a stream as text, each bounded; ``size`` and ``digest`` are of what was read."""

    def __init__(self, file: str, stream: BinaryIO) -> None:
        """Take a stream at its start."""
        self._file = file
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self._lines = 0  # complete ones
        self.size = 0

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of all bytes read so far."""
        return self._sha256.digest()

    def __iter__(self) -> Iterator[str]:
        """Yield line by line, each with its end."""
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        tail, is_first = "", True
        while True:
            try:
                raw = self._stream.read(_CHUNK_BYTES)
            except OSError as fault:
                detail = fault.strerror or str(fault)
                raise FileUnreadable(path=self._file, detail=detail) from fault
            self.size += len(raw)
            self._sha256.update(raw)
            text = self._decoded(decoder, raw)
            if is_first:  # a byte order mark says UTF-8 and nothing else
                text, is_first = text.removeprefix("\ufeff"), False
            *whole, tail = (tail + text).split("\n")
            for one in whole:
                self._lines += 1
                yield one + "\n"
            if len(tail) > DATASET_LINE_SIZE_BYTES_MAX:
                raise DatasetRefused(
                    self._file, "line", self._lines + 1, DATASET_LINE_SIZE_BYTES_MAX
                )
            if not raw:
                break
        if tail:
            yield tail

    def _decoded(self, decoder: codecs.IncrementalDecoder, raw: bytes) -> str:
        try:
            text = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as fault:
            line = self._lines + fault.object.count(b"\n", 0, fault.start) + 1
            found = f"0x{fault.object[fault.start]:02x}"
            raise BadEncoding(file=self._file, line=line, found=found) from fault
        if "\0" in text:  # what UTF-16 without a mark looks like
            line = self._lines + text.count("\n", 0, text.index("\0")) + 1
            raise BadEncoding(file=self._file, line=line, found="0x00")
        return text


# --- header ---------------------------------------------------------------------------------


def _parsed(head: Sequence[str], delimiter: str) -> list[list[str]]:
    """Return the first rows under one delimiter, none where even the header cannot be read so.

    The last row may be cut and is left out.
    """
    rows: list[list[str]] = []
    with suppress(csv.Error):  # of a row below: told with its line when that is read
        rows.extend(row for row in csv.reader(head, delimiter=delimiter, strict=True) if row)
    return rows[:-1] if len(head) == _SNIFFED_LINES and len(rows) > 1 else rows


def _delimiter(file: str, tables: dict[str, list[list[str]]]) -> str:
    wide = [one for one, rows in tables.items() if len(rows[0]) > 1]
    if len(wide) <= 1:
        return wide[0] if wide else ","
    even = [one for one in wide if len({len(row) for row in tables[one]}) == 1]
    if len(even) != 1:
        raise DatasetRefused(file, "delimiter", " ".join(repr(one) for one in wide), ", ; \\t")
    return even[0]


def _checked_names(file: str, names: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(one.strip() for one in names)
    if len(columns) > DATASET_COLUMNS_MAX:
        raise DatasetRefused(file, "columns", len(columns), DATASET_COLUMNS_MAX)
    if "" in columns:
        raise DatasetRefused(file, "column_empty", columns.index("") + 1, len(columns))
    twice = (
        [one for i, one in enumerate(columns) if one in columns[:i]]
        if len(set(columns)) < len(columns)
        else []
    )
    if twice:
        raise DatasetRefused(file, "column_twice", named(twice), 1)
    long = next((one for one in columns if len(one) > FACT_NAME_CHARACTERS_MAX), None)
    if long is not None:
        raise DatasetRefused(file, "column_name", shown(long), FACT_NAME_CHARACTERS_MAX)
    is_numbered = columns == tuple(str(i) for i in range(len(columns)))
    if not is_numbered and all(_NUMBER.match(one) for one in columns):
        raise DatasetRefused(file, "no_header", named(columns), "")
    return columns


def _check_widths(file: str, rows: Sequence[Sequence[str]], width: int, before: int) -> None:
    if set(map(len, rows)) == {width}:
        return
    at = next(i for i, row in enumerate(rows) if len(row) != width)
    raise DatasetRefused(file, "width", f"{before + at + 1}: {len(rows[at])}", width)


# --- cells ----------------------------------------------------------------------------------


def _column(wanted: CellsWanted) -> _Numbers | _Texts:
    return _Texts(wanted) if wanted.kind in ("text", "mark", "label") else _Numbers(wanted)


class _Numbers:
    """One column of numbers, piece by piece."""

    def __init__(self, wanted: CellsWanted) -> None:
        self._name = wanted.column
        self._steps = wanted.steps
        self._dtype = np.dtype(wanted.kind)
        self._parts: list[Array] = []
        self.row_bytes = self._dtype.itemsize

    def add(self, cells: Sequence[str], before: int) -> None:
        """Take cells; ``before`` rows came earlier."""
        self._parts.append(self._read(cells, before))

    def array(self) -> Array:
        """Return all of them."""
        return np.concatenate(self._parts)

    def _read(self, cells: Sequence[str], before: int) -> Array:
        read = float if self._dtype.kind == "f" else int
        try:
            if self._steps.categories is not None:
                values = map(self._steps.categories.__getitem__, cells)
                return np.fromiter(values, np.float64, len(cells)).astype(self._dtype)
            found = np.fromiter(map(read, cells), np.dtype(read), len(cells))
        except (ValueError, KeyError, OverflowError):
            return self._read_slowly(cells, before)
        written = "".join(cells)
        # Python reads more than people write as numbers: 1_000, other scripts' digits, infinity.
        if "_" in written or not written.isascii() or not np.isfinite(found).all():
            return self._read_slowly(cells, before)
        with np.errstate(over="ignore"):
            return found.astype(self._dtype)

    def _read_slowly(self, cells: Sequence[str], before: int) -> Array:
        """Read cell by cell, so that the row can be named, and missing ones filled."""
        values = [self._cell(cell.strip(), before + i) for i, cell in enumerate(cells, start=1)]
        return np.array(values, dtype=self._dtype)

    def _cell(self, cell: str, row: int) -> float | int:
        categories = self._steps.categories
        if categories is not None and cell in categories:
            return self._stored(categories[cell], cell, row)
        if cell.lower() in _MISSING:
            if self._steps.missing is None:
                raise MissingValue(column=self._name, row=row)
            return self._stored(self._steps.missing, cell, row)
        if categories is not None:
            raise UnknownCategory(
                column=self._name, row=row, found=shown(cell), known=named(categories)
            )
        if _NUMBER.match(cell):
            if self._dtype.kind == "i" and cell.lstrip("+-").isdigit():
                return self._stored(int(cell), cell, row)
            value = float(cell)
            if np.isfinite(value):
                return self._stored(value, cell, row)
        expected = "number" if self._dtype.kind == "f" else "whole"
        raise NotANumber(column=self._name, row=row, found=shown(cell), expected=expected)

    def _stored(self, value: float, cell: str, row: int) -> float | int:
        if self._dtype.kind == "f":
            return value
        is_exact = isinstance(value, int) or abs(value) <= _EXACT_WHOLE
        if is_exact and value == int(value) and -(2**63) <= value < 2**63:
            return int(value)
        raise NotANumber(column=self._name, row=row, found=shown(cell), expected="whole")


class _Texts:
    """One column of texts, kept as codes of those that occur."""

    row_bytes = 4

    def __init__(self, wanted: CellsWanted) -> None:
        self._name = wanted.column
        self._most = (
            DATASET_FIELD_CHARACTERS_MAX if wanted.kind == "text" else CARD_LINE_CHARACTERS_MAX
        )
        self._is_label = wanted.kind == "label"
        self._codes: dict[str, int] = {}
        self._parts: list[Array] = []

    def add(self, cells: Sequence[str], before: int) -> None:
        """Take cells; ``before`` rows came earlier."""
        codes = self._codes
        known = len(codes)
        found = [codes.setdefault(cell.strip(), len(codes)) for cell in cells]
        if len(codes) > known:
            self._check_new(list(islice(codes, known, None)), found, before)
        self._parts.append(np.array(found, dtype=np.int32))

    def _check_new(self, texts: Sequence[str], found: Sequence[int], before: int) -> None:
        for text in texts:
            row = before + found.index(self._codes[text]) + 1
            if not text:
                raise MissingValue(column=self._name, row=row)
            if len(text) > self._most:
                raise NotANumber(column=self._name, row=row, found=shown(text), expected="shorter")
        if len(self._codes) > DATASET_VALUES_MAX:
            raise DatasetRefused(self._name, "values", len(self._codes), DATASET_VALUES_MAX)

    def array(self) -> Array:
        """Return all of them as text, or as the whole numbers that they are."""
        codes = np.concatenate(self._parts)
        widest = max(map(len, self._codes))
        texts = np.array(list(self._codes), dtype=f"U{widest}")
        if self._is_label and (numbers := as_labels(texts)).dtype.kind == "i":
            return np.take(numbers, codes)
        if len(codes) * widest * 4 > DATASET_MEMORY_BYTES_MAX:
            raise DatasetRefused(
                self._name, "memory", len(codes) * widest * 4, DATASET_MEMORY_BYTES_MAX
            )
        return np.take(texts, codes)
