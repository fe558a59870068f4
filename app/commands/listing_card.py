"""``--card FILE``: a model hub's ``README.md``, or a Model card of ours as TOML.

* The ending says which: ``.md`` is a hub's card with its front matter, ``.toml`` has the
  fields of the Model card (``docs/how-to/model-card.md``).
* In TOML a figure is written as a number (``value = 0.874``) and becomes whole millionths
  exactly; a hash is written in hexadecimal; the checklist is a table of its points.
* A card replaces the groups it names.  What the model file shows stays as the file shows it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.app.commands.typed_files import read_bounded
from hanse.core.errors import WrongUse
from hanse.core.limits import HUB_CARD_SIZE_BYTES_MAX
from hanse.core.market.concepts import concepts
from hanse.core.market.hub_card import read_hub_card
from hanse.core.market.listings import apply_facts
from hanse.core.market.scaled import read_micro
from hanse.core.model.card import CHECKLIST, NOT_STATED, ModelCard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hanse.core.model.listing import Draft
    from hanse.core.model.problem import Problem

_SCALED: Final = frozenset({"value", "ci_low", "ci_high", "threshold", "low", "high"})
_DIGESTS: Final = frozenset(
    {
        "sha256",
        "samples",
        "acceptable_use",
        "training_summary_sha256",
        "artifact",
        "release",
        "made_from",
    }
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_CHECKLIST: Final = "checklist"


class CardFileUnfit(WrongUse):
    """A file is no Model card that can be read."""

    code = "card_file.unfit"
    text = "{path} is no model card: {detail}"
    fields = ("path", "detail")


class UnknownCardFile(WrongUse):
    """The ending of a file does not say which kind of card it is."""

    code = "card_file.unknown"
    text = "{path} ends neither with .md nor with .toml"
    fields = ("path",)


@dataclass(frozen=True, slots=True)
class GivenCard:
    """A card that was read: how it changes a Draft, its licence, and what is told."""

    change: Callable[[Draft], Draft]
    licence: str = ""
    told: tuple[Problem, ...] = ()


def read_given_card(path: Path) -> GivenCard:
    """Read a card of either kind; raise what is wrong with it as an error of ours."""
    if path.suffix.lower() not in {".md", ".toml"}:
        raise UnknownCardFile(path=path)
    raw = read_bounded(path, HUB_CARD_SIZE_BYTES_MAX)
    if path.suffix.lower() == ".toml":
        return _own_card(path, raw)
    vocabulary = concepts()
    found = read_hub_card(raw, vocabulary=vocabulary)
    return GivenCard(
        lambda draft: read_hub_card(raw, vocabulary=vocabulary, draft=draft).draft,
        found.licence,
        found.told,
    )


def _own_card(path: Path, raw: bytes) -> GivenCard:
    try:
        table = tomllib.loads(raw.decode("utf-8-sig"), parse_float=Decimal)
        given = {name: _plain(name, value) for name, value in table.items()}
        card = msgspec.convert(given, ModelCard, builtin_types=(bytes,))
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise CardFileUnfit(path=path, detail=str(error)) from error
    groups = {name: getattr(card, name) for name in given}

    def change(draft: Draft) -> Draft:
        draft = msgspec.structs.replace(
            draft, card=msgspec.structs.replace(draft.card, **groups), lang=card.lang or draft.lang
        )
        if draft.facts:
            draft, _ = apply_facts(draft, draft.facts, vocabulary=concepts())
        return draft

    return GivenCard(change)


def _plain(name: str, value: object) -> object:
    """Turn what TOML says into what a Model card holds; raise ``ValueError`` that names it."""
    if name == _CHECKLIST and isinstance(value, dict):
        return _checklist(value)
    if name in _DIGESTS and isinstance(value, str):
        if not _DIGEST.match(value.lower()):
            raise ValueError(f"{name} is no hash of 64 hexadecimal digits: {value[:70]}")
        return bytes.fromhex(value)
    match value:
        case dict():
            return dict(_scaled(key, one) for key, one in value.items())
        case list():
            return [_plain(name, one) for one in value]
        case _:
            return value


def _scaled(name: str, value: object) -> tuple[str, object]:
    if name == "numbers" and isinstance(value, list):
        return "numbers_micro", [_micro(name, one) for one in value]
    if name in _SCALED:
        return f"{name}_micro", _micro(name, value)
    return name, _plain(name, value)


def _micro(name: str, value: object) -> int:
    found = read_micro(value)
    if found is None:
        raise ValueError(f"{name} is no number that a card can hold: {value}")
    return found


def _checklist(points: Mapping[str, object]) -> list[object]:
    for point in points:
        if point not in CHECKLIST:
            raise ValueError(f"the checklist has no point {point}: {', '.join(CHECKLIST)}")
    return [points.get(point, NOT_STATED) for point in CHECKLIST]
