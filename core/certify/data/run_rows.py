"""Rows that are to be run become tensors: cells of a table, JSON values, arrays, pictures.

* The same columns, recipe and types as when a data set is read; only there need be no truth.
* A row that cannot be used is refused by its number and by what is wrong with it.
* A value outside the range its card states is marked with its row and is run all the same.
* An input without dimensions takes one value a row here; whoever runs it takes it apart again.

Where rows come from, and what the model makes of them, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.csv_file import CellsWanted, read_cells
from hanse.core.certify.data.faults import MappingRefused, NotANumber, named, shown
from hanse.core.certify.data.mapping import EVERY
from hanse.core.certify.data.naming import map_inputs, stated_columns
from hanse.core.certify.data.ranges import outside_range
from hanse.core.certify.data.reading import cell_kind
from hanse.core.certify.data.recipe import UNCHANGED, applied, columns_of, imputed
from hanse.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.certify.data.dataset import DataNote, Wanted
    from hanse.core.certify.data.mapping import DataMapping
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.card import RecipeStep

_NUMBERS: Final = "biuf"
_ROW_AXES: Final = 2  # rows, and the columns of each


class RowRefused(Refused):
    """A row cannot be given to the model; ``reason`` is a stable word, ``row`` counts from 1."""

    code = "run.row"
    text = "row {row}: {reason}: {found}, expected {expected}"
    fields = ("row", "reason", "found", "expected")

    def __init__(self, row: int, reason: str, found: object, expected: object) -> None:
        """Name the row, what is wrong, what was found and what was expected."""
        super().__init__(row=row, reason=reason, found=found, expected=expected)
        self.row = row
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RunRows:
    """Rows that are ready: every array has ``n`` of them, the first of which is row ``first``.

    ``given`` is what is kept of each row as it came; ``outside`` names the columns of each row
    that are out of range.
    """

    first: int
    n: int
    inputs: Mapping[str, Array]
    given: Sequence[Mapping[str, object]]
    outside: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Port:
    """One input, and the columns it is made of; ``cells`` says how each of them is read."""

    tensor: TensorFacts
    columns: tuple[str, ...]
    cells: tuple[CellsWanted, ...]

    @property
    def has_steps(self) -> bool:
        """Say whether the recipe does something to single columns."""
        return any(one.steps != UNCHANGED for one in self.cells)


def rows_wanted(wanted: Wanted, left_out: Iterable[str] = ()) -> Wanted:
    """Return what rows are read for: inputs but for those ``left_out``, each with rows.

    What a recurrent model hands from one call to the next is no part of a row.
    """
    out = frozenset(left_out)
    kept = (one for one in wanted.inputs if one.name not in out)
    inputs = (
        one
        if one.shape is None or one.shape
        else type(one)(name=one.name, dtype=one.dtype, shape=(None,))
        for one in kept
    )
    return replace(wanted, inputs=tuple(inputs))


class TableRows:
    """Makes tensors of the rows of one table; ``notes`` say what was taken without a name."""

    def __init__(self, columns: Sequence[str], wanted: Wanted, mapping: DataMapping | None) -> None:
        """Find the columns of every input, or raise what ``map_inputs`` does."""
        self.columns = tuple(columns)
        self.mapping, self.notes = map_inputs(columns, wanted, mapping)
        self._wanted = wanted
        self._steps = _pre(wanted)
        self._ports = [
            _port(one, _names(self.mapping.inputs[one.name]), self._steps) for one in wanted.inputs
        ]
        self._places = {name: place for place, name in enumerate(columns)}

    def read(self, rows: Sequence[Sequence[str]], first: int) -> RunRows:
        """Read rows of the table's width; ``first`` is the number of the first."""
        cells = list(zip(*rows, strict=True))
        marks: list[tuple[str, Array]] = []
        inputs = {}
        for port in self._ports:
            made = [
                read_cells(one, cells[self._places[one.column]], first - 1) for one in port.cells
            ]
            marks += outside_range(self._wanted, port.tensor, port.columns, made)
            flat = made[0] if len(made) == 1 else np.stack(made, axis=1)
            inputs[port.tensor.name] = applied(self._steps, port.tensor, flat)
        given = [dict(zip(self.columns, row, strict=True)) for row in rows]
        return RunRows(first, len(rows), inputs, given, _by_row(len(rows), marks))


class JsonRows:
    """Makes tensors of JSON values, one a row: an object by columns or inputs, or a list."""

    def __init__(self, wanted: Wanted, mapping: DataMapping | None) -> None:
        """Find out by which names an object may give each input."""
        self.notes: tuple[DataNote, ...] = ()
        self._wanted = wanted
        self._steps = _pre(wanted)
        chosen = {} if mapping is None else mapping.inputs
        if EVERY in chosen.values():
            raise MappingRefused(detail=repr(EVERY))
        self._keys: dict[str, str] = {}
        self._ports: list[_Port] = []
        for tensor in wanted.inputs:
            said = chosen.get(tensor.name)
            stated = tuple(one.name for one in stated_columns(wanted.card, tensor.name))
            self._keys[tensor.name] = said if isinstance(said, str) else tensor.name
            columns = said if isinstance(said, tuple) else stated
            self._ports.append(_port(tensor, columns, self._steps))

    def read(self, values: Sequence[object], first: int) -> RunRows:
        """Read decoded JSON values; ``first`` is the number of the first."""
        marks: list[tuple[str, Array]] = []
        inputs = {}
        for port in self._ports:
            cells = [self._cells(port, one, first + i) for i, one in enumerate(values)]
            flat = self._array(port, cells, first)
            marks += _marks(self._wanted, port.tensor, port.columns, flat)
            inputs[port.tensor.name] = applied(self._steps, port.tensor, flat)
        given = [one if isinstance(one, dict) else {} for one in values]
        return RunRows(first, len(values), inputs, given, _by_row(len(values), marks))

    def _cells(self, port: _Port, value: object, row: int) -> object:
        """Return what a row gives one input."""
        if isinstance(value, list) and len(self._ports) == 1:
            return value
        if not isinstance(value, dict):
            raise RowRefused(row, "not_a_row", shown(repr(value)), self._expected())
        key = self._keys[port.tensor.name]
        missing = [one for one in port.columns if one not in value]
        if port.columns and not missing:
            return [value[one] for one in port.columns]
        if key in value:
            return value[key]
        if port.columns and len(missing) < len(port.columns):
            raise RowRefused(row, "missing", named(missing), named(port.columns))
        raise RowRefused(row, "missing", named(map(str, value)), self._expected())

    def _expected(self) -> tuple[str, ...]:
        names = [name for one in self._ports for name in one.columns or (one.tensor.name,)]
        return named(names)

    def _array(self, port: _Port, cells: Sequence[object], first: int) -> Array:
        """Make one array of what all rows give an input."""
        kind = cell_kind(port.tensor, self._steps)
        if kind == "text" or port.has_steps:
            return self._read_texts(port, cells, first)
        try:
            made = np.array(cells)
        except (ValueError, OverflowError):
            raise _ragged(port, cells, first) from None
        if made.dtype.kind not in _NUMBERS:  # a text, nothing, or a number beyond all types
            return self._read_texts(port, cells, first)
        if made.dtype.kind == "f" and not np.isfinite(made).all():
            row = int(np.argwhere(~np.isfinite(made))[0][0])
            column = port.columns[0] if len(port.columns) == 1 else port.tensor.name
            raise NotANumber(column=column, row=first + row, found="1e999", expected="number")
        with np.errstate(over="ignore"):
            return made if kind == "int64" else made.astype(kind)

    def _read_texts(self, port: _Port, cells: Sequence[object], first: int) -> Array:
        """Read the cells of columns as those of a table are: text, nothing, categories."""
        rows = [one if isinstance(one, list) else [one] for one in cells]
        width = len(rows[0])
        columns = port.columns
        if len(columns) != width:
            columns = tuple(f"{port.tensor.name}[{i}]" for i in range(width))
            port = _port(port.tensor, columns, self._steps)
        for number, row in enumerate(rows):
            if len(row) != width or any(isinstance(one, list | dict) for one in row):
                raise (
                    _ragged(port, cells, first)
                    if number
                    else RowRefused(first, "not_plain", port.tensor.name, _shape(port.tensor))
                )
        texts = list(zip(*([_text(one) for one in row] for row in rows), strict=True))
        made = [read_cells(one, texts[place], first - 1) for place, one in enumerate(port.cells)]
        return made[0] if len(made) == 1 else np.stack(made, axis=1)


def array_rows(
    arrays: Mapping[str, Array], wanted: Wanted, mapping: DataMapping, first: int
) -> RunRows:
    """Make tensors of some rows of arrays that ``mapping`` gives every input of."""
    steps = _pre(wanted)
    marks: list[tuple[str, Array]] = []
    inputs = {}
    n = 0
    for tensor in wanted.inputs:
        names = _names(mapping.inputs[tensor.name])
        made = [arrays[one] for one in names]
        n = len(made[0])
        flat = made[0] if len(made) == 1 else np.stack([one.reshape(n) for one in made], axis=1)
        flat = imputed(steps, tensor.name, flat)
        if flat.dtype.kind == "f" and np.isnan(flat).any():
            row = int(np.argwhere(np.isnan(flat))[0][0])
            raise RowRefused(first + row, "no_value", names[0], _shape(tensor))
        marks += _marks(wanted, tensor, (), flat)
        inputs[tensor.name] = applied(steps, tensor, flat)
    return RunRows(first, n, inputs, [{} for _ in range(n)], _by_row(n, marks))


# --- shared ---------------------------------------------------------------------------------


def _port(tensor: TensorFacts, columns: tuple[str, ...], steps: Sequence[RecipeStep]) -> _Port:
    kind = cell_kind(tensor, steps)
    done = columns_of(steps, tensor.name, columns)
    cells = (CellsWanted(name, kind, one) for name, one in zip(columns, done, strict=True))
    return _Port(tensor, columns, tuple(cells))


def _pre(wanted: Wanted) -> tuple[RecipeStep, ...]:
    return () if wanted.card is None else wanted.card.recipe.pre


def _names(chosen: Sequence[str] | str) -> tuple[str, ...]:
    return (chosen,) if isinstance(chosen, str) else tuple(chosen)


def _text(value: object) -> str:
    """Write a JSON value as it would stand in a table."""
    match value:
        case None:
            return ""
        case bool():
            return str(int(value))
        case str():
            return value
        case _:
            return repr(value)


def _marks(
    wanted: Wanted, tensor: TensorFacts, columns: Sequence[str], flat: Array
) -> list[tuple[str, Array]]:
    """Mark rows out of range: by column where the columns have names, else as a whole."""
    stated = tuple(one.name for one in stated_columns(wanted.card, tensor.name))
    for names in (tuple(columns), stated):
        if names and flat.ndim == _ROW_AXES and flat.shape[1] == len(names):
            return outside_range(wanted, tensor, names, list(flat.T))
    whole = outside_range(wanted, tensor, (tensor.name,), (flat,))
    return [(name, np.asarray(one.reshape(len(flat), -1).any(axis=1))) for name, one in whole]


def _by_row(n: int, marks: Sequence[tuple[str, Array]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()] * n
    for name, outside in marks:
        for row in np.flatnonzero(outside):
            found[row] = (*found[row], name)
    return found


def _ragged(port: _Port, cells: Sequence[object], first: int) -> RowRefused:
    """Name the first row whose value is no array, or has another shape than the first row's."""
    expected: object = _shape(port.tensor)
    shape: tuple[int, ...] | None = None
    for number, one in enumerate(cells):
        try:
            found = np.array(one).shape
        except (ValueError, OverflowError):
            return RowRefused(first + number, "ragged", port.tensor.name, expected)
        if shape is not None and found != shape:
            return RowRefused(first + number, "ragged", str(list(found)), str(list(shape)))
        shape = found
    return RowRefused(first, "ragged", port.tensor.name, expected)


def _shape(tensor: TensorFacts) -> str:
    sizes = () if tensor.shape is None else tensor.shape
    return f"{tensor.dtype}[{', '.join('?' if one is None else str(one) for one in sizes)}]"
