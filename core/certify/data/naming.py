"""Finding by name which columns or arrays are which inputs, and which the truth.

* What the person says comes first and must exist.  Then names: the columns the card gives an
  input, an input of one column named like it; for arrays the input's own name or a usual one.
* One input of rows whose width is that of the columns left takes them in the order of the file,
  and that is told.  Nothing else is guessed: ``MappingNeeded`` asks, with what there is.
* Names a card gives its columns are believed: a table that lacks some is refused with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.certify.data.dataset import DataNote
from hanse.core.certify.data.faults import (
    ColumnsMissing,
    MappingNeeded,
    MappingRefused,
    UnknownColumn,
    UnknownInput,
    named,
)
from hanse.core.certify.data.mapping import EVERY, DataMapping, mapping_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from hanse.core.certify.data.dataset import Wanted
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.card import Column, ModelCard, Tensor

TARGET: Final = "target"  # what ``MappingNeeded`` calls the truth

_TRUTHS: Final = ("target", "targets", "label", "labels", "class", "y", "truth")
_INPUTS: Final = ("x", "X", "inputs", "input", "images", "features", "data")


def card_tensor(card: ModelCard | None, name: str) -> Tensor | None:
    """Return what the card says of the input ``name``."""
    inputs = () if card is None else card.signature.inputs
    return next((one for one in inputs if one.name == name), None)


def stated_columns(card: ModelCard | None, name: str) -> tuple[Column, ...]:
    """Return the columns that the card gives the input ``name``."""
    tensor = card_tensor(card, name)
    return () if tensor is None else tensor.stated_columns


def map_table(
    columns: Sequence[str], wanted: Wanted, mapping: DataMapping | None
) -> tuple[DataMapping, tuple[DataNote, ...]]:
    """Complete ``mapping`` for a table with ``columns``."""
    given = _given(columns, wanted, mapping)
    _check_names(columns, wanted, given)
    notes: list[DataNote] = []
    targets = given.targets or _named_truth(columns, wanted)
    reserved = {*targets, given.slice, given.group}
    inputs: dict[str, tuple[str, ...] | str] = {}
    open_ones: list[TensorFacts] = []
    for tensor in wanted.inputs:
        chosen = _chosen(tensor, columns, wanted, given)
        if chosen is None:
            open_ones.append(tensor)
        else:
            inputs[tensor.name] = chosen
    for tensor in open_ones:
        used = {name for one in inputs.values() for name in one}
        left = tuple(one for one in columns if one not in used and one not in reserved)
        is_every = given.inputs.get(tensor.name) == EVERY
        if not is_every and (len(open_ones) > 1 or width(tensor) != len(left) or not targets):
            raise _unmapped(tensor, left if targets else columns)
        if not left:
            raise _unmapped(tensor, columns)
        inputs[tensor.name] = left
        if not is_every:
            notes.append(DataNote("dataset.note.by_order", tensor.name, len(left)))
    if not targets:
        used = {name for one in inputs.values() for name in one}
        left = tuple(one for one in columns if one not in used and one not in reserved)
        if len(left) != 1:
            raise MappingNeeded(tensor=TARGET, expected="", found=named(left or columns))
        targets = left
        notes.append(DataNote("dataset.note.target_left", left[0]))
    for tensor in wanted.inputs:
        if width(tensor) not in (None, len(inputs[tensor.name])):
            raise _unmapped(tensor, inputs[tensor.name])
    return _complete(given, inputs, targets), tuple(notes)


def map_inputs(
    columns: Sequence[str], wanted: Wanted, mapping: DataMapping | None
) -> tuple[DataMapping, tuple[DataNote, ...]]:
    """Complete ``mapping`` for a table of rows to run: there need be no truth in it.

    Columns that are the truth by name are left out where columns are taken in their order.
    """
    given = _given(columns, wanted, mapping)
    _check_names(columns, wanted, given)
    reserved = {*(given.targets or _named_truth(columns, wanted)), given.slice, given.group}
    inputs: dict[str, tuple[str, ...] | str] = {}
    open_ones: list[TensorFacts] = []
    notes: list[DataNote] = []
    for tensor in wanted.inputs:
        chosen = _chosen(tensor, columns, wanted, given)
        if chosen is None:
            open_ones.append(tensor)
        else:
            inputs[tensor.name] = chosen
    for tensor in open_ones:
        used = {name for one in inputs.values() for name in one}
        left = tuple(one for one in columns if one not in used and one not in reserved)
        is_every = given.inputs.get(tensor.name) == EVERY
        if not left or (not is_every and (len(open_ones) > 1 or width(tensor) != len(left))):
            raise _unmapped(tensor, columns)
        inputs[tensor.name] = left
        if not is_every:
            notes.append(DataNote("dataset.note.by_order", tensor.name, len(left)))
    for tensor in wanted.inputs:
        if width(tensor) not in (None, len(inputs[tensor.name])):
            raise _unmapped(tensor, inputs[tensor.name])
    return _complete(given, inputs, given.targets), tuple(notes)


def map_input_arrays(
    names: Sequence[str], wanted: Wanted, mapping: DataMapping | None
) -> DataMapping:
    """Complete ``mapping`` for arrays to run: there need be no truth among them."""
    given = _given(names, wanted, mapping)
    _check_names(names, wanted, given)
    reserved = {*given.targets, given.slice, given.group}
    inputs = {one.name: _array_of(one, names, wanted, given, reserved) for one in wanted.inputs}
    return _complete(given, inputs, given.targets)


def map_arrays(names: Sequence[str], wanted: Wanted, mapping: DataMapping | None) -> DataMapping:
    """Complete ``mapping`` for arrays by name; an input is one array, or one for each column."""
    given = _given(names, wanted, mapping)
    _check_names(names, wanted, given)
    targets = given.targets or _named_truth(names, wanted)
    if not targets:
        raise MappingNeeded(tensor=TARGET, expected=_TRUTHS[-2], found=named(names))
    reserved = {*targets, given.slice, given.group}
    inputs = {one.name: _array_of(one, names, wanted, given, reserved) for one in wanted.inputs}
    return _complete(given, inputs, targets)


def _array_of(
    tensor: TensorFacts,
    names: Sequence[str],
    wanted: Wanted,
    given: DataMapping,
    reserved: Collection[str],
) -> tuple[str, ...] | str:
    chosen = given.inputs.get(tensor.name)
    if chosen == EVERY:
        raise MappingRefused(detail=f"{tensor.name} = {EVERY!r}")
    if chosen is not None:
        return chosen
    usual = _INPUTS if len(wanted.inputs) == 1 else ()
    for one in (tensor.name, *usual):
        if one in names and one not in reserved:
            return str(one)
    raise _unmapped(tensor, names)


def map_folder(wanted: Wanted, mapping: DataMapping | None) -> DataMapping:
    """Complete ``mapping`` for a folder of pictures, which one input takes."""
    if len(wanted.inputs) != 1:
        first = wanted.inputs[0].name if wanted.inputs else ""
        raise MappingNeeded(tensor=first, expected=str(len(wanted.inputs)), found=())
    given = DataMapping() if mapping is None else mapping
    return msgspec.structs.replace(given, inputs={}, target="", slice="", group="")


def width(tensor: TensorFacts) -> int | None:
    """Return how many columns a row of ``tensor`` has, ``None`` where the model takes any."""
    if tensor.shape is None:
        return None
    size = 1
    for one in tensor.shape[1:]:
        if not isinstance(one, int):
            return None
        size *= one
    return size


def _given(names: Sequence[str], wanted: Wanted, mapping: DataMapping | None) -> DataMapping:
    """Return what was said: by the person, or by the Listing if its names are those there are."""
    if mapping is not None:
        return mapping
    evaluation = None if wanted.card is None else wanted.card.stated_evaluation
    if evaluation is None:
        return DataMapping()
    stated = mapping_of(evaluation)
    used = {*stated.targets, stated.slice, stated.group} - {""}
    return stated if used.issubset(names) else DataMapping(positive=stated.positive)


def _check_names(names: Sequence[str], wanted: Wanted, given: DataMapping) -> None:
    known = [one.name for one in wanted.inputs]
    for tensor, chosen in given.inputs.items():
        if tensor not in known:
            raise UnknownInput(tensor=tensor, known=named(known))
        columns = (chosen,) if isinstance(chosen, str) else chosen
        _check_exist((one for one in columns if one != EVERY), names)
    _check_exist((*given.targets, *(one for one in (given.slice, given.group) if one)), names)


def _check_exist(asked: Iterable[str], names: Sequence[str]) -> None:
    there = set(names)
    for one in asked:
        if one not in there:
            raise UnknownColumn(column=one, known=named(names))


def _named_truth(names: Sequence[str], wanted: Wanted) -> tuple[str, ...]:
    """Find the truth by the names the card gives its outputs, else by a usual one."""
    there = set(names)
    card = wanted.card
    for output in () if card is None else card.signature.outputs:
        columns = tuple(one.name for one in output.stated_columns)
        if columns and there.issuperset(columns):
            return columns
    evaluation = None if card is None else card.stated_evaluation
    if evaluation is not None and evaluation.targets and there.issuperset(evaluation.targets):
        return evaluation.targets
    outputs = [one.name for one in wanted.outputs]
    taken = {one.name for one in wanted.inputs}
    return next(((one,) for one in (*outputs, *_TRUTHS) if one in there and one not in taken), ())


def _chosen(
    tensor: TensorFacts, columns: Sequence[str], wanted: Wanted, given: DataMapping
) -> tuple[str, ...] | None:
    chosen = given.inputs.get(tensor.name)
    if chosen is not None:
        return None if chosen == EVERY else (chosen,) if isinstance(chosen, str) else chosen
    stated = [one.name for one in stated_columns(wanted.card, tensor.name)]
    missing = [one for one in stated if one not in columns]
    if missing:
        raise ColumnsMissing(tensor=tensor.name, missing=named(missing), found=named(columns))
    if stated:
        return tuple(stated)
    if tensor.name in columns and width(tensor) in (None, 1):
        return (tensor.name,)
    return None


def _complete(
    given: DataMapping, inputs: dict[str, tuple[str, ...] | str], targets: tuple[str, ...]
) -> DataMapping:
    target = targets[0] if len(targets) == 1 else targets
    return msgspec.structs.replace(given, inputs=inputs, target=target)


def _unmapped(tensor: TensorFacts, found: Iterable[str]) -> MappingNeeded:
    shape = (
        ""
        if tensor.shape is None
        else ", ".join("?" if x is None else str(x) for x in tensor.shape)
    )
    return MappingNeeded(
        tensor=tensor.name, expected=f"{tensor.dtype}[{shape}]", found=named(found)
    )
