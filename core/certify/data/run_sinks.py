"""Where answers go: a CSV with the input's own columns, an NPZ, JSON, or JSON lines.

* The end of the file's name says which; another end is refused before anything is run.
* A table keeps every column of the input as it came and adds the answers; a name that stands
  already gets ``model.`` in front.  A cell that a spreadsheet would calculate is quoted.
* Rows out of range are marked in every form.

The stream is the caller's, and so is that a file appears whole or not at all.
"""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import numpy as np

from hanse.core.errors import Refused, WrongUse
from hanse.core.limits import DATASET_MEMORY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from hanse.core.certify.data.run_answers import Answers
    from hanse.core.certify.data.run_rows import RunRows
    from hanse.core.model.arrays import Array

OUT_OF_RANGE: Final = "out_of_range"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate
_NUMERIC: Final = frozenset("0123456789+-.eE")


class OutputUnknown(WrongUse):
    """The end of a file's name says no kind that answers are written as."""

    code = "run.output_unknown"
    text = "{path} ends in none of {known}"
    fields = ("path", "known")


class OutputTooLarge(Refused):
    """Arrays are written whole, and these would not fit."""

    code = "run.output_too_large"
    text = "{found_bytes} of arrays, limit {most_bytes}"
    fields = ("found_bytes", "most_bytes")


class OutputsUnlike(Refused):
    """Later rows are answered in another form than the first: one table cannot hold both."""

    code = "run.outputs_unlike"
    text = "row {row} is answered by {found}, the first by {expected}"
    fields = ("row", "found", "expected")


class RunSink(Protocol):
    """Takes answers in the order of their rows."""

    def write(self, rows: RunRows, answers: Answers) -> None:
        """Take some."""
        ...

    def close(self) -> None:
        """Write what ends the file."""
        ...


def open_sink(
    path: Path, stream: BinaryIO, columns: Sequence[str], head: Mapping[str, object]
) -> RunSink:
    """Return what writes answers to ``stream`` as the name of ``path`` says.

    ``columns`` are those of the input; ``head`` stands in JSON: what ran, and what to know of it.
    """
    check_output(path)
    return _SINKS[path.suffix.lower()](stream, columns, head)


def check_output(path: Path) -> None:
    """Raise ``OutputUnknown`` unless answers can be written to a file of this name."""
    if path.suffix.lower() not in _SINKS:
        raise OutputUnknown(path=path, known=tuple(_SINKS))


def row_object(answer: Mapping[str, object], outside: Sequence[str]) -> dict[str, object]:
    """Return what is told of one row as JSON."""
    found = dict(answer)
    if outside:
        found[OUT_OF_RANGE] = list(outside)
    return found


class _CsvSink:
    """Columns of the input, then those of the answer."""

    def __init__(
        self, stream: BinaryIO, columns: Sequence[str], head: Mapping[str, object]
    ) -> None:
        del head
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._given = tuple(columns)
        self._added: tuple[str, ...] | None = None

    def write(self, rows: RunRows, answers: Answers) -> None:
        table = answers.table()
        table[OUT_OF_RANGE] = ["; ".join(one) for one in rows.outside]
        if self._added is None:
            self._added = tuple(table)
            if not self._given:  # rows without columns are told by their number
                self._given = ("row",)
            taken = set(self._given)
            self._writer.writerow(
                (*self._given, *(_plain(_free(one, taken)) for one in self._added))
            )
        if tuple(table) != self._added:
            raise OutputsUnlike(row=rows.first, found=tuple(table), expected=self._added)
        for number, cells in enumerate(zip(*table.values(), strict=True)):
            row = rows.given[number] or {"row": str(rows.first + number)}
            kept = (str(row.get(one, "")) for one in self._given)
            self._writer.writerow((*kept, *(_plain(cell) for cell in cells)))

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _LinesSink:
    """One JSON object a line, with the row it is about."""

    def __init__(
        self, stream: BinaryIO, columns: Sequence[str], head: Mapping[str, object]
    ) -> None:
        del columns
        self._stream = stream
        self._notice = {name: one for name, one in head.items() if name == "notice"}

    def write(self, rows: RunRows, answers: Answers) -> None:
        self._stream.write(
            b"".join(
                msgspec.json.encode({**one, **self._notice}) + b"\n"
                for one in _objects(rows, answers)
            )
        )

    def close(self) -> None:
        """Every line stands for itself."""


class _JsonSink:
    """One JSON object: what ran, and a list of rows."""

    def __init__(
        self, stream: BinaryIO, columns: Sequence[str], head: Mapping[str, object]
    ) -> None:
        del columns
        self._stream = stream
        self._before = b""
        stream.write(msgspec.json.encode(head)[:-1] + (b"," if head else b"") + b'"rows":[\n')

    def write(self, rows: RunRows, answers: Answers) -> None:
        for one in _objects(rows, answers):
            self._stream.write(self._before + msgspec.json.encode(one))
            self._before = b",\n"

    def close(self) -> None:
        self._stream.write(b"\n]}\n")


class _NpzSink:
    """Arrays by name, held until the end: an NPZ knows how long each is."""

    def __init__(
        self, stream: BinaryIO, columns: Sequence[str], head: Mapping[str, object]
    ) -> None:
        del columns, head
        self._stream = stream
        self._parts: dict[str, list[Array]] = {}
        self._bytes = 0

    def write(self, rows: RunRows, answers: Answers) -> None:
        arrays = {**answers.arrays(), OUT_OF_RANGE: np.array([bool(one) for one in rows.outside])}
        if self._parts and set(arrays) != set(self._parts):
            raise OutputsUnlike(row=rows.first, found=tuple(arrays), expected=tuple(self._parts))
        for name, one in arrays.items():
            parts = self._parts.setdefault(name, [])
            if parts and parts[0].shape[1:] != one.shape[1:]:
                found, expected = (str(list(it.shape[1:])) for it in (one, parts[0]))
                raise OutputsUnlike(row=rows.first, found=found, expected=expected)
            parts.append(one)
            self._bytes += one.nbytes
        if self._bytes > DATASET_MEMORY_BYTES_MAX:
            raise OutputTooLarge(found_bytes=self._bytes, most_bytes=DATASET_MEMORY_BYTES_MAX)

    def close(self) -> None:
        with zipfile.ZipFile(self._stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, parts in self._parts.items():
                member = zipfile.ZipInfo(f"{name}.npy")  # without the time: same rows, same bytes
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.concatenate(parts), allow_pickle=False)


_SINKS: Final[Mapping[str, Callable[..., RunSink]]] = {
    ".csv": _CsvSink,
    ".npz": _NpzSink,
    ".json": _JsonSink,
    ".jsonl": _LinesSink,
    ".ndjson": _LinesSink,
}


def _objects(rows: RunRows, answers: Answers) -> list[dict[str, object]]:
    found = []
    for number, answer in enumerate(answers.objects()):
        given: Mapping[str, object] = rows.given[number]
        one: dict[str, object] = {"row": rows.first + number}
        if given:
            one["input"] = given
        found.append({**one, **row_object(answer, rows.outside[number])})
    return found


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"model.{name}"
    taken.add(name)
    return name


def _plain(cell: str) -> str:
    if cell.startswith(_FORMULA) and not _NUMERIC.issuperset(cell):
        return "'" + cell
    return cell
