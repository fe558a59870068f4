"""A model card made for a model hub (README.md with YAML front matter) as a Draft.

* Each field that fits is taken; each that does not is told with what was found, and the
  rest goes on.  Wrong types never end the import; unreadable front matter does.
* What Hanse has no place for is named once, in one sentence.
* The licence is given as an SPDX id or LicenseRef: which template or text becomes a tier is
  decided with ``hanse.core.trade.terms``.
* Nothing is fetched: names of data sets and base models stay names.

Source: the model card specification of the Hugging Face hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.errors import WrongUse
from hanse.core.ledger.codec import is_text
from hanse.core.limits import (
    CARD_LINE_CHARACTERS_MAX,
    CARD_RESULTS_MAX,
    CARD_ROWS_MAX,
    DRAFT_TEXT_CHARACTERS_MAX,
    HUB_CARD_SIZE_BYTES_MAX,
    LISTING_TAG_CHARACTERS_MAX,
    LISTING_TAGS_MAX,
    LISTING_TITLE_CHARACTERS_MAX,
)
from hanse.core.market.front_matter import read_front_matter, split_front_matter
from hanse.core.market.hub_words import RELATIONS, licence_of_word
from hanse.core.market.listing_bodies import plain_text
from hanse.core.market.scaled import read_decimal, read_micro
from hanse.core.model.card import BaseModel, Dataset, Energy, ModelCard, Result
from hanse.core.model.listing import Draft
from hanse.core.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.market.concepts import Concepts

_HEADING: Final = re.compile(r"# +(.*\S) *\Z")
_CODE_FENCES: Final = ("```", "~~~")
_LANG: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,4})?\Z")
_TAG: Final = re.compile(r"[^\W_]([\w .:+/#@&()-]*[\w+#)])?\Z")
_GRAMS_MOST: Final = 10**15
_SHOWN_MOST: Final = 20  # values named in one sentence
_TOLD_MOST: Final = 100
_SEEN_MOST: Final = 1000


class HubCardUnfit(WrongUse):
    """A file is no model card: too large, or no UTF-8 text."""

    code = "hub_card.unfit"
    text = "this is no model card, {reason}: {found}, allowed {most}"
    fields = ("reason", "found", "most")


@dataclass(frozen=True, slots=True)
class HubCard:
    """What was taken over, the licence the card names (or an empty text), and what is told."""

    draft: Draft
    licence: str
    told: tuple[Problem, ...]


def read_hub_card(raw: bytes, *, vocabulary: Concepts, draft: Draft | None = None) -> HubCard:
    """Read a card into ``draft`` or a new Draft; raise ``HubCardUnfit``, ``FrontMatterUnfit``."""
    if len(raw) > HUB_CARD_SIZE_BYTES_MAX:
        raise HubCardUnfit(reason="size", found=len(raw), most=HUB_CARD_SIZE_BYTES_MAX)
    try:
        text = plain_text(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise HubCardUnfit(reason="encoding", found=error.start, most="UTF-8") from error
    front, body = split_front_matter(text)
    reading = _Reading(read_front_matter(front), vocabulary)
    return reading.card(draft if draft is not None else Draft(), body)


@dataclass(slots=True)
class _Reading:
    """One card while it is read: keys are taken out of ``front`` as they are understood."""

    front: dict[str, object]
    vocabulary: Concepts
    told: list[Problem] = field(default_factory=list)

    def card(self, draft: Draft, body: str) -> HubCard:
        licence = self._licence()
        changes: dict[str, object] = {"card": self._model_card(draft.card)}
        title, rest = self._title(body)
        if title:
            changes["title"] = title
        if rest.strip():
            changes["text"] = self._cut(rest.strip())
        if lang := self._language():
            changes["lang"] = lang
        if task := self._task():
            changes["task"] = task
        if tags := self._tags():
            changes["tags"] = tags
        left = tuple(sorted(str(key) for key in self.front))
        if left:
            values = {"keys": tuple(key[:_SHOWN_MOST] for key in left[:_SHOWN_MOST])}
            self.told.append(Problem("hub_card.no_place", "", values, is_warning=True))
        return HubCard(msgspec.structs.replace(draft, **changes), licence, self._all_told())

    def _all_told(self) -> tuple[Problem, ...]:
        """Return what is told, each once and not without end."""
        told = [one for at, one in enumerate(self.told[:_SEEN_MOST]) if one not in self.told[:at]]
        if len(told) > _TOLD_MOST:
            values = {"count": len(self.told) - _TOLD_MOST}
            told[_TOLD_MOST:] = [Problem("hub_card.more", "", values, is_warning=True)]
        return tuple(told)

    # --- taking values ---------------------------------------------------------------------

    def _tell(self, key: str, found: object) -> None:
        shown = found if isinstance(found, str) else type(found).__name__
        values = {"key": key, "found": shown[:CARD_LINE_CHARACTERS_MAX]}
        self.told.append(Problem("hub_card.not_taken", key, values, is_warning=True))

    def _text(self, key: str, value: object) -> str:
        """Take a text or a number as one line; tell what is none."""
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            self._tell(key, value)
            return ""
        line = " ".join(plain_text(str(value)).split())
        if not 1 <= len(line) <= CARD_LINE_CHARACTERS_MAX or not is_text(line, multiline=False):
            self._tell(key, line)
            return ""
        return line

    def _texts(self, key: str) -> tuple[str, ...]:
        """Take a text or a list of texts; each once."""
        value = self.front.pop(key, None)
        items = value if isinstance(value, list) else [value]
        found = (self._text(key, item) for item in items)
        return tuple(dict.fromkeys(one for one in found if one))

    def _map(self, key: str, value: object) -> dict[str, object]:
        if isinstance(value, dict):
            return value
        if value is not None:
            self._tell(key, value)
        return {}

    def _rows(self, key: str, value: object) -> Iterator[dict[str, object]]:
        """Give the maps in a list of maps; tell everything else."""
        if value is not None and not isinstance(value, list):
            self._tell(key, value)
            return
        for item in value or ():
            if isinstance(item, dict):
                yield item
            else:
                self._tell(key, item)

    # --- the fields ------------------------------------------------------------------------

    def _licence(self) -> str:
        words, names = self._texts("license"), self._texts("license_name")
        self.front.pop("license_link", None)
        if len(words) > 1:
            self._tell("license", ", ".join(words[1:]))
        return licence_of_word(words[0], names[0] if names else "") if words else ""

    def _language(self) -> str:
        languages = self._texts("language")
        fitting = [one for one in languages if _LANG.match(one)]
        for one in languages:
            if one not in fitting[:1]:
                self._tell("language", one)
        return fitting[0] if fitting else ""

    def _task(self) -> str:
        found = self._texts("pipeline_tag")
        if not found:
            return ""
        concept = self.vocabulary.find(found[0], "task")
        if concept is None:
            self._tell("pipeline_tag", found[0])
            return ""
        return concept.partition(".")[2]

    def _tags(self) -> tuple[str, ...]:
        library = self._texts("library_name")
        tags = dict.fromkeys((*self._texts("tags"), *library))
        fitting = [
            tag for tag in tags if len(tag) <= LISTING_TAG_CHARACTERS_MAX and _TAG.match(tag)
        ][:LISTING_TAGS_MAX]
        for tag in tags:
            if tag not in fitting:
                self._tell("tags", tag)
        return tuple(fitting)

    def _title(self, body: str) -> tuple[str, str]:
        """Take the first heading as the title, and the body without it."""
        lines = body.split("\n")
        is_code = False
        for number, line in enumerate(lines):
            if line.lstrip().startswith(_CODE_FENCES):
                is_code = not is_code
            found = None if is_code else _HEADING.match(line)
            if found is None:
                continue
            title = found.group(1).strip()
            if len(title) > LISTING_TITLE_CHARACTERS_MAX or not is_text(title, multiline=False):
                self._tell("title", title)
                break
            return title, "\n".join((*lines[:number], *lines[number + 1 :]))
        return "", body

    def _cut(self, text: str) -> str:
        if len(text) > DRAFT_TEXT_CHARACTERS_MAX:
            values = {"found": len(text), "most": DRAFT_TEXT_CHARACTERS_MAX}
            self.told.append(Problem("hub_card.cut", "text", values, is_warning=True))
        return text[:DRAFT_TEXT_CHARACTERS_MAX]

    def _model_card(self, card: ModelCard) -> ModelCard:
        claims = tuple(self._claims())[:CARD_RESULTS_MAX]
        datasets = tuple(Dataset(name=one) for one in self._texts("datasets"))[:CARD_ROWS_MAX]
        bases = self._base_models()[:CARD_ROWS_MAX]
        metrics = {claim.metric for claim in claims}
        for metric in self._texts("metrics"):
            if metric not in metrics:
                self._tell("metrics", metric)  # a name without a figure
        changes: dict[str, object] = {"energy": self._energy(card.energy)}
        if claims:
            changes["claims"] = claims
        if datasets:
            changes["training"] = msgspec.structs.replace(card.training, datasets=datasets)
        if bases:
            changes["lineage"] = msgspec.structs.replace(card.lineage, base_models=bases)
        return msgspec.structs.replace(card, **changes)

    def _base_models(self) -> tuple[BaseModel, ...]:
        word = self._texts("base_model_relation")
        relation = RELATIONS.get(word[0]) if word else None
        if word and relation is None:
            self._tell("base_model_relation", word[0])
        return tuple(
            BaseModel(name=name, id=name, relation=relation) for name in self._texts("base_model")
        )

    def _energy(self, energy: Energy) -> Energy:
        key = "co2_eq_emissions"
        held = self.front.pop(key, None)
        facts = held if isinstance(held, dict) else {"emissions": held}
        grams = facts.pop("emissions", None)
        changes: dict[str, object] = {}
        number = read_decimal(grams)
        if number is not None and 0 <= number <= _GRAMS_MOST:
            changes["co2e_g"] = int(number.to_integral_value(rounding=ROUND_HALF_EVEN))
            if number != changes["co2e_g"]:
                values = {"key": key, "found": f"{number:f}"[:40], "taken": changes["co2e_g"]}
                self.told.append(Problem("hub_card.rounded", key, values, is_warning=True))
        elif grams is not None:
            self._tell(f"{key}.emissions", grams)
        for name, ours in (("hardware_used", "hardware"), ("geographical_location", "region")):
            if line := self._text(f"{key}.{name}", facts.pop(name, None)):
                changes[ours] = line
        for name, value in facts.items():
            self._tell(f"{key}.{name}"[:CARD_LINE_CHARACTERS_MAX], value)
        return msgspec.structs.replace(energy, **changes)

    def _claims(self) -> Iterator[Result]:
        key = "model-index"
        for model in self._rows(key, self.front.pop(key, None)):
            for result in self._rows(f"{key}.results", model.get("results")):
                dataset = self._map(f"{key}.dataset", result.get("dataset"))
                name = dataset.get("name") or dataset.get("type")
                where = self._text(f"{key}.dataset.name", name)
                split = self._text(f"{key}.dataset.split", dataset.get("split"))
                for metric in self._rows(f"{key}.metrics", result.get("metrics")):
                    kind = self._text(f"{key}.metrics.type", metric.get("type"))
                    value = read_micro(metric.get("value"))
                    if not kind or value is None:
                        self._tell(f"{key}.metrics.{kind or 'type'}", metric.get("value"))
                        continue
                    yield Result(dataset=where, split=split, metric=kind, value_micro=value)
