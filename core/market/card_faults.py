"""Every place where a Model card breaks a bound of its own types, not the first alone.

* The bounds stand once, in ``hanse.core.model.card``; they are read from its types.
* Text is NFC without control characters, a newline only in long text.  Names that came
  out of a model file are kept as they are: a tensor is fed by its exact name.
* A place is written as its path: ``training.datasets[0].known_bias``.

Whether what is said is true, or enough, is not looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import inspect

from hanse.core.ledger.codec import is_text
from hanse.core.limits import CARD_LINE_CHARACTERS_MAX, FACT_NAME_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Fault:
    """One bound that is broken: the value or length ``found``, and what is allowed."""

    path: str
    kind: Literal["too_long", "too_many", "out_of_range", "not_text", "not_a_value"]
    found: object
    allowed: object


def faults_of(value: msgspec.Struct, path: str = "") -> Iterator[Fault]:
    """Give every fault in ``value`` and in what it holds, in the order of its fields."""
    for field in _fields(type(value)):
        inner = f"{path}.{field.name}" if path else field.name
        held = getattr(value, field.name)
        if held is not msgspec.UNSET:
            yield from _faults(held, field.type, inner)


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _faults(value: object, info: inspect.Type, path: str) -> Iterator[Fault]:
    match info:
        case inspect.UnionType():
            fitting = [one for one in info.types if _is_of(value, one)]
            if not fitting:
                yield Fault(path, "not_a_value", _short(value), "")
            else:
                yield from _faults(value, fitting[0], path)
        case inspect.StructType() if isinstance(value, info.cls):
            assert isinstance(value, msgspec.Struct)
            yield from faults_of(value, path)
        case inspect.StrType() if isinstance(value, str):
            yield from _text_faults(value, info.max_length, path)
        case inspect.BytesType() if isinstance(value, bytes):
            if info.min_length is not None and len(value) != info.min_length:
                yield Fault(path, "not_a_value", f"{len(value)} B", f"{info.min_length} B")
        case inspect.IntType() if type(value) is int:
            low, high = info.ge, info.le
            if (low is not None and value < low) or (high is not None and value > high):
                yield Fault(path, "out_of_range", value, f"{low} - {high}")
        case inspect.VarTupleType() if isinstance(value, tuple):
            if info.max_length is not None and len(value) > info.max_length:
                yield Fault(path, "too_many", len(value), info.max_length)
            else:
                for number, item in enumerate(value):
                    yield from _faults(item, info.item_type, f"{path}[{number}]")
        case inspect.DictType() if isinstance(value, dict):
            for key, item in value.items():
                yield from _faults(item, info.value_type, f"{path}.{key}")
        case _:
            if not _is_of(value, info):
                yield Fault(path, "not_a_value", _short(value), _allowed(info))


def _text_faults(value: str, most: int | None, path: str) -> Iterator[Fault]:
    if most is not None and len(value) > most:
        yield Fault(path, "too_long", len(value), most)
    is_of_a_file = most == FACT_NAME_CHARACTERS_MAX
    is_multiline = most is not None and most > CARD_LINE_CHARACTERS_MAX
    has_surrogate = any("\ud800" <= character <= "\udfff" for character in value)
    if has_surrogate or not (is_of_a_file or is_text(value, multiline=is_multiline)):
        yield Fault(path, "not_text", _short(value), "")


def _is_of(value: object, info: inspect.Type) -> bool:
    """Say whether ``value`` has the kind of ``info``, whatever its bounds."""
    match info:
        case inspect.NoneType():
            return value is None
        case inspect.BoolType():
            return type(value) is bool
        case inspect.LiteralType():
            return any(type(value) is type(one) and value == one for one in info.values)
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.IntType():
            return type(value) is int
        case inspect.BytesType():
            return isinstance(value, bytes)
        case inspect.VarTupleType():
            return isinstance(value, tuple)
        case inspect.DictType():
            return isinstance(value, dict)
        case inspect.StructType():
            return isinstance(value, info.cls)
        case inspect.UnionType():
            return any(_is_of(value, one) for one in info.types)
        case _:
            return False


def _allowed(info: inspect.Type) -> str:
    if isinstance(info, inspect.LiteralType):
        return ", ".join(str(one) for one in info.values)
    return ""


def _short(value: object) -> str:
    return ascii(value)[:40]
