"""What a person types about the data a model is measured on, as a ``DataMapping``.

* A mapping file comes first; what is typed beside it wins, field by field.
* Names are taken as they are: whether the data have such columns is seen when they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hanse.app.command_line import BadValue
from hanse.app.commands.typed_files import read_bounded
from hanse.core.certify.data import DataMapping, read_mapping
from hanse.core.certify.data.mapping import EVERY
from hanse.core.errors import WrongUse
from hanse.core.limits import DATASET_MAPPING_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FORMATS: Final[Mapping[str, Literal["json", "toml"]]] = {".json": "json", ".toml": "toml"}


class UnknownMappingFile(WrongUse):
    """A mapping is JSON or TOML, by the ending of its name."""

    code = "certify.mapping_file"
    text = "{path} is no mapping: a .json or .toml file is expected"
    fields = ("path",)


class OptionNeedsOther(WrongUse):
    """An option says nothing without another one, or contradicts it; ``needed`` is a word."""

    code = "certify.options"
    text = "{option}: {needed}"
    fields = ("option", "needed")


class TextTooLong(WrongUse):
    """A text that is to be signed is longer than the Ledger takes."""

    code = "certify.text_too_long"
    text = "{option} has {found} characters, at most {most} are taken"
    fields = ("option", "found", "most")


def data_mapping(
    file: Path | None,
    *,
    target: Sequence[str] = (),
    slice_column: str | None = None,
    group: str | None = None,
    positive: str | None = None,
    inputs: Sequence[str] = (),
) -> DataMapping | None:
    """Return how the data are to be read; ``None`` where nothing was said of it."""
    changes: dict[str, object] = {}
    if target:
        changes["target"] = target[0] if len(target) == 1 else tuple(target)
    if inputs:
        changes["inputs"] = dict(map(_input, inputs))
    named = {"slice": slice_column, "group": group, "positive": positive}
    changes |= {name: value for name, value in named.items() if value is not None}
    if file is None and not changes:
        return None
    mapping = DataMapping() if file is None else _read(file)
    return msgspec.structs.replace(mapping, **changes)


def check_length(option: str, text: str, most: int) -> str:
    """Return ``text``, or raise ``TextTooLong``."""
    if len(text) > most:
        raise TextTooLong(option=option, found=len(text), most=most)
    return text


def _read(file: Path) -> DataMapping:
    file_format = _FORMATS.get(file.suffix.lower())
    if file_format is None:
        raise UnknownMappingFile(path=file)
    return read_mapping(read_bounded(file, DATASET_MAPPING_SIZE_BYTES_MAX), file_format)


def _input(one: str) -> tuple[str, str | tuple[str, ...]]:
    tensor, equals, columns = one.partition("=")
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    if not (tensor.strip() and equals and names):
        raise BadValue(name="--input", found=one, expected="TENSOR=COLUMN,COLUMN or TENSOR=*")
    return tensor.strip(), EVERY if names == (EVERY,) else names
