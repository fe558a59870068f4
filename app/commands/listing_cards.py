"""What a Model card states: in short for whoever looks, and field by field for who signs it.

The whole of it in sentences is its Markdown (``listing export --card``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.app.commands.listing_bodies import rows_of
from hanse.core.market.scaled import micro_text
from hanse.core.model.card import CHECKLIST
from hanse.core.sentences import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.app.desk import Desk
    from hanse.core.model.card import ModelCard, Tensor

_DIMENSIONS_OPEN: Final = "?"
_NUMBER: Final = re.compile(r"\[[0-9]+\]")


def stated_lines(desk: Desk, card: ModelCard) -> tuple[str, ...]:
    """Show every field of a card that is stated, as it will be signed."""
    words = catalogue(desk.language)
    rows = []
    for path, value in _stated("card", card):
        word = words.get(f"word.field.{_NUMBER.sub('', path)}")
        rows.append((path if word is None else f"{word} [{path}]", _shown(desk, path, value)))
    return rows_of(rows, "  ")


def _stated(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Give the fields that differ from "not stated", each with its path."""
    match value:
        case msgspec.Struct():
            for field in msgspec.structs.fields(value):
                held = getattr(value, field.name)
                if held not in (None, "", (), "not_stated") and held != field.default:
                    yield from _stated(f"{path}.{field.name}", held)
        case tuple() if path == "card.checklist":
            yield from ((f"{path}.{point}", it) for point, it in zip(CHECKLIST, value, strict=True))
        case tuple() if value and isinstance(value[0], msgspec.Struct):
            for number, one in enumerate(value):
                yield from _stated(f"{path}[{number}]", one)
        case _:
            yield path, value


def _shown(desk: Desk, path: str, value: object) -> str:
    if path.endswith("_micro") and isinstance(value, int):
        return micro_text(value)
    if isinstance(value, tuple) and any(one is None for one in value):
        value = tuple(_DIMENSIONS_OPEN if one is None else one for one in value)
    return desk.say("value", value=value)


def card_lines(desk: Desk, card: ModelCard) -> list[str]:
    """Say what a card states, as far as it states it; nothing for an empty one."""
    rows: list[tuple[str, str]] = []
    for name, values in (
        ("files", [_joined(it.file, it.format, it.framework) for it in card.variants]),
        ("inputs", [_tensor(it) for it in card.signature.inputs]),
        ("outputs", [_tensor(it) for it in card.signature.outputs]),
        (
            "figures",
            [
                _joined(it.metric, micro_text(it.value_micro), it.dataset, it.split)
                for it in card.claims
            ],
        ),
        (
            "base",
            [
                _joined(it.name or it.id, it.licence, it.relation or "")
                for it in card.lineage.base_models
            ],
        ),
    ):
        if values:
            rows.append((desk.say(f"label.{name}"), "\n".join(values)))
    if (parameters := card.architecture.parameters) is not None:
        rows.append((desk.say("label.parameters"), desk.say("value", value=parameters)))
    for name, text in (
        ("card.use.uses", card.use.uses),
        ("card.use.out_of_scope", card.use.out_of_scope),
        ("card.use.limitations", card.use.limitations),
    ):
        if text:
            rows.append((desk.say(f"word.field.{name}"), text))
    return ["", desk.say("label.card"), *rows_of(rows, "  ")] if rows else []


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _tensor(tensor: Tensor) -> str:
    shape = ""
    if tensor.shape is not None:
        sizes = (_DIMENSIONS_OPEN if it is None else str(it) for it in tensor.shape)
        shape = f" [{', '.join(sizes)}]"
    return _joined(f"{tensor.name} {tensor.dtype}{shape}", tensor.semantics, tensor.unit)
