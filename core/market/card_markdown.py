"""A Draft as a model card in Markdown: YAML front matter as hubs read it, then headings.

* Headings and labels are in the language asked for; what the seller wrote stays as he
  wrote it.
* All values go through the YAML writer, so no text can end the front matter or add a key;
  in tables and lists a line stays a line, and ``|`` and ``<`` are escaped.
* Nothing that is not stated appears.

``hub_card`` reads the result again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import yaml

from hanse.core.market.hub_words import RELATIONS, word_of_licence
from hanse.core.market.scaled import micro_text, scaled_text
from hanse.core.model.card import CHECKLIST
from hanse.core.sentences import catalogue, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hanse.core.model.card import AiAct, ModelCard, Result, Tensor
    from hanse.core.model.listing import Draft

_OPEN_WIDTH: Final = 2**20  # no line of the front matter is broken
_RELATION_WORDS: Final = {relation: word for word, relation in RELATIONS.items()}


class _Writer(yaml.SafeDumper):
    """Writes plain values and exact decimals."""


def _write_decimal(writer: _Writer, value: Decimal) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:float", f"{value:f}")


_Writer.add_representer(Decimal, _write_decimal)


def card_markdown(draft: Draft, language: str) -> str:
    """Write ``draft`` as a model card; headings in ``language``."""
    front = yaml.dump(
        _front_matter(draft),
        Dumper=_Writer,
        allow_unicode=True,
        default_flow_style=False,
        sort_keys=False,
        width=_OPEN_WIDTH,
    )
    parts = [f"---\n{front}---", f"# {_line(draft.title)}"]
    if draft.summary.strip():
        parts.append(f"> {_line(draft.summary)}")
    if draft.text.strip():
        parts.append(draft.text.strip())
    for heading, lines in _sections(draft.card, language):
        if lines:
            parts.append(f"## {say(heading, {}, language)}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


# --- front matter -----------------------------------------------------------------------------


def _front_matter(draft: Draft) -> dict[str, object]:
    card = draft.card
    front: dict[str, object] = {}
    licences = tuple(dict.fromkeys(tier.terms.spdx for tier in draft.tiers))
    if licences:
        word, name = word_of_licence(licences[0])
        front["license"] = word
        if name:
            front["license_name"] = name
    front["language"] = [draft.lang]
    front["tags"] = list(draft.tags)
    front["pipeline_tag"] = draft.task if draft.task not in ("", "other") else ""
    frameworks = [variant.framework for variant in card.variants if variant.framework]
    front["library_name"] = frameworks[0] if frameworks else ""
    front["datasets"] = [one.name for one in card.training.datasets if one.name]
    front["metrics"] = list(dict.fromkeys(one.metric for one in card.claims))
    bases = [base.id or base.name for base in card.lineage.base_models]
    front["base_model"] = [base for base in bases if base]
    relations = {base.relation for base in card.lineage.base_models}
    if len(relations) == 1 and (relation := relations.pop()) is not None:
        front["base_model_relation"] = _RELATION_WORDS[relation]
    front["co2_eq_emissions"] = _emissions(card)
    if card.claims:
        front["model-index"] = [
            {"name": draft.title, "results": [_result(one, draft.task) for one in card.claims]}
        ]
    return {key: value for key, value in front.items() if value not in ("", [], {})}


def _emissions(card: ModelCard) -> dict[str, object]:
    energy = card.energy
    facts = {
        "emissions": energy.co2e_g,
        "geographical_location": energy.region,
        "hardware_used": energy.hardware,
    }
    return {} if energy.co2e_g is None else {key: one for key, one in facts.items() if one != ""}


def _result(result: Result, task: str) -> dict[str, object]:
    dataset = {"name": result.dataset, "type": result.dataset, "split": result.split}
    value = micro_text(result.value_micro)
    number: int | Decimal = Decimal(value) if "." in value else int(value)
    stated = {key: one for key, one in dataset.items() if one}
    return {
        "task": {"type": task or "other"},
        **({"dataset": stated} if stated else {}),
        "metrics": [{"type": result.metric, "value": number}],
    }


# --- headings ---------------------------------------------------------------------------------


def _sections(card: ModelCard, language: str) -> Iterator[tuple[str, list[str]]]:
    use, risk, training = card.use, card.risk, card.training
    yield "card.heading.signature", _signature(card, language)
    yield (
        "card.heading.use",
        _stated(
            language,
            ("card.use.users", use.users),
            ("card.use.uses", use.uses),
            ("card.use.out_of_scope", use.out_of_scope),
            ("card.use.limitations", use.limitations),
            ("card.use.trade_offs", use.trade_offs),
        ),
    )
    yield "card.heading.training", _training(card, language)
    if training.cannot_disclose:
        values = {"reason": _line(training.cannot_disclose)}
        yield "card.heading.undisclosed", [say("card.cannot_disclose", values, language)]
    yield "card.heading.claims", _claims(card.claims, language)
    yield (
        "card.heading.risk",
        [
            *(_pair(one.risk, one.mitigation) for one in risk.ethics),
            *(_pair(f"{one.group}: {one.harm}", one.mitigation) for one in risk.fairness),
            *_stated(
                language,
                ("card.risk.explainability", risk.explainability),
                ("card.risk.safety_risk", risk.safety_risk),
                ("card.risk.human_oversight", risk.human_oversight),
            ),
        ],
    )
    yield "card.heading.lineage", _lineage(card, language)
    yield "card.heading.energy", _energy(card, language)
    yield "card.heading.ai_act", _ai_act(card.ai_act, language)
    checked = [
        f"- {_word('point', point, language)}: {_word('answer', answer, language)}"
        for point, answer in zip(CHECKLIST, card.checklist, strict=True)
        if answer != "not_stated"
    ]
    yield "card.heading.checklist", checked
    yield "card.heading.references", [f"- {_line(one)}" for one in card.references]


def _signature(card: ModelCard, language: str) -> list[str]:
    rows = [
        [_word("side", side, language), one.name, one.dtype, _shape(one), one.semantics, one.unit]
        for side, tensors in (("in", card.signature.inputs), ("out", card.signature.outputs))
        for one in tensors
    ]
    return _table("card.table.signature", rows, language)


def _training(card: ModelCard, language: str) -> list[str]:
    lines = []
    for one in card.training.datasets:
        lines.append(f"### {_line(one.name)}" if one.name else "###")
        lines += [
            "",
            *_stated(
                language,
                ("card.training.source", _word("source", one.source or "", language)),
                ("card.training.provenance", one.provenance),
                ("card.training.period", one.period),
                ("card.training.size_band", _word("size_band", one.size_band or "", language)),
                ("card.training.personal", _answer(one.personal, language)),
                ("card.training.sensitive", _answer(one.sensitive, language)),
                ("card.training.licence", one.licence),
                ("card.training.collection", one.collection),
                ("card.training.preprocessing", one.preprocessing),
                ("card.training.known_bias", one.known_bias),
            ),
            "",
        ]
    return lines[:-1]


def _claims(claims: Sequence[Result], language: str) -> list[str]:
    rows = []
    for one in claims:
        low, high = one.ci_low_micro, one.ci_high_micro
        interval = "" if low is None or high is None else f"{micro_text(low)} … {micro_text(high)}"
        where = ", ".join(part for part in (one.dataset, one.split, one.slice) if part)
        rows.append([one.metric, micro_text(one.value_micro), interval, where])
    return _table("card.table.claims", rows, language)


def _lineage(card: ModelCard, language: str) -> list[str]:
    lines = []
    for base in card.lineage.base_models:
        relation = _word("relation", base.relation or "", language)
        facts = (base.name or base.id, relation, base.licence)
        lines.append("- " + ", ".join(_line(fact) for fact in facts if fact))
    return lines + _stated(language, ("card.lineage.method", card.lineage.method))


def _energy(card: ModelCard, language: str) -> list[str]:
    energy = card.energy
    kwh = "" if energy.training_wh is None else f"{scaled_text(energy.training_wh, 3)} kWh"
    grams = "" if energy.co2e_g is None else f"{energy.co2e_g} g CO2e"
    return _stated(
        language,
        ("card.energy.training_wh", kwh),
        ("card.energy.co2e_g", grams),
        ("card.energy.hardware", energy.hardware),
        ("card.energy.region", energy.region),
    )


def _ai_act(act: AiAct, language: str) -> list[str]:
    lines = _stated(
        language,
        ("card.ai_act.role", _word("ai_role", act.role or "", language)),
        ("card.ai_act.is_gpai", _truth(act.is_gpai, language)),
        ("card.ai_act.systemic", _truth(act.systemic, language)),
        ("card.ai_act.annex_iii_area", act.annex_iii_area),
        ("card.ai_act.no_prohibited_use", _truth(act.no_prohibited_use, language)),
        ("card.ai_act.training_summary", act.training_summary_url),
        ("card.ai_act.copyright_policy", act.copyright_policy),
        ("card.ai_act.eu_contact", act.eu_contact),
    )
    return [*lines, "", say("card.no_legal_advice", {}, language)] if lines else []


def _table(heads: str, rows: list[list[str]], language: str) -> list[str]:
    if not rows:
        return []
    head = say(heads, {}, language)
    columns = head.count("|") - 1
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return [head, "|" + " --- |" * columns, *lines]


def _stated(language: str, *facts: tuple[str, str]) -> list[str]:
    return [
        f"- **{_word('field', field, language)}**: {_line(value)}"
        for field, value in facts
        if value
    ]


def _pair(risk: str, mitigation: str) -> str:
    return f"- {_line(risk)}" + (f" → {_line(mitigation)}" if mitigation else "")


def _shape(tensor: Tensor) -> str:
    if tensor.shape is None:
        return ""
    return "[" + ", ".join("?" if size is None else str(size) for size in tensor.shape) + "]"


def _answer(answer: str, language: str) -> str:
    return "" if answer == "not_stated" else _word("answer", answer, language)


def _truth(value: bool | None, language: str) -> str:  # noqa: FBT001  it is a value to be shown
    return "" if value is None else _word("answer", "yes" if value else "no", language)


def _word(name: str, word: str, language: str) -> str:
    """Say a stable word in ``language``."""
    return catalogue(language).get(f"word.{name}.{word}", word)


def _line(text: str) -> str:
    """Keep ``text`` on one line, with nothing in it that begins HTML."""
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")
