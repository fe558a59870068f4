"""How much of a Model card is answered, what is missing, and what a sector needs.

* One table of questions says for every field which group it is of, how much it is
  needed, whether buyers filter by it, and when it applies at all.
* Completeness is answered over applicable, in whole numbers; within a group and over
  all, what buyers filter by is asked for first.
* Need: ``P`` required to publish, ``S`` required for *medical* and *finance*, ``A`` asked,
  ``C`` comes from the file.
* The gap list names the articles of Regulation (EU) 2024/1689 a field belongs to.  It is
  a documentation aid, not legal advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.model.card import CHECKLIST

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.model.listing import Draft

Need = Literal["P", "S", "A", "C"]
Group = Literal[
    "names",
    "place",
    "files",
    "signature",
    "recipe",
    "architecture",
    "lineage",
    "training",
    "claims",
    "use",
    "risk",
    "ai_act",
    "energy",
    "licence",
    "trial",
    "checklist",
]
GapState = Literal["stated", "not_stated", "not_applicable"]

SECTORS_WITH_RISK: Final = frozenset({"medical", "finance"})


def _always(_draft: Draft) -> bool:
    return True


def _is_gpai(draft: Draft) -> bool:
    return draft.card.ai_act.is_gpai is True


def _discloses(draft: Draft) -> bool:
    return not draft.card.training.cannot_disclose


def _has_base(draft: Draft) -> bool:
    return bool(draft.card.lineage.base_models)


def _risks_matter(draft: Draft) -> bool:
    return not SECTORS_WITH_RISK.isdisjoint(draft.sectors)


@dataclass(frozen=True, slots=True)
class Question:
    """One field of a Draft: how to see whether it is answered, and when it is asked."""

    field: str
    group: Group
    need: Need
    is_answered: Callable[[Draft], bool]
    is_filter: bool = False
    applies: Callable[[Draft], bool] = _always


@dataclass(frozen=True, slots=True)
class GroupCompleteness:
    """What of one group is answered; ``missing`` are its fields in the order to ask them."""

    group: Group
    answered: int
    applicable: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Completeness:
    """What of the whole is answered; ``missing`` begins with what buyers filter by."""

    answered: int
    applicable: int
    groups: tuple[GroupCompleteness, ...]
    missing: tuple[str, ...]

    @property
    def percent(self) -> int:
        """Return the share answered, rounded down: only a whole card is 100."""
        return 100 * self.answered // self.applicable


@dataclass(frozen=True, slots=True)
class Gap:
    """One field the AI Act asks for, where it asks, and whether it is stated."""

    field: str
    article: str
    state: GapState


def _datasets_say(name: str) -> Callable[[Draft], bool]:
    def is_said(draft: Draft) -> bool:
        datasets = draft.card.training.datasets
        values = [getattr(dataset, name) for dataset in datasets]
        return bool(values) and all(value not in ("", None, "not_stated") for value in values)

    return is_said


def _bases_say(name: str) -> Callable[[Draft], bool]:
    def is_said(draft: Draft) -> bool:
        return all(getattr(base, name) for base in draft.card.lineage.base_models)

    return is_said


def _checked(number: int) -> Callable[[Draft], bool]:
    return lambda draft: draft.card.checklist[number : number + 1] not in ((), ("not_stated",))


_Q = Question
QUESTIONS: Final[tuple[Question, ...]] = (
    _Q("title", "names", "P", lambda d: bool(d.title.strip())),
    _Q("text", "names", "P", lambda d: bool(d.text.strip())),
    _Q("summary", "names", "A", lambda d: bool(d.summary.strip())),
    _Q("tags", "names", "A", lambda d: bool(d.tags)),
    _Q("task", "place", "A", lambda d: d.task not in ("", "other"), is_filter=True),
    _Q("sectors", "place", "A", lambda d: bool(d.sectors), is_filter=True),
    _Q("card.modality_in", "place", "A", lambda d: bool(d.card.modality_in)),
    _Q("card.modality_out", "place", "A", lambda d: bool(d.card.modality_out)),
    _Q("formats", "files", "C", lambda d: bool(d.formats), is_filter=True),
    _Q(
        "card.variants.framework",
        "files",
        "C",
        lambda d: any(variant.framework for variant in d.card.variants),
        is_filter=True,
    ),
    _Q("card.signature.inputs", "signature", "C", lambda d: bool(d.card.signature.inputs)),
    _Q("card.signature.outputs", "signature", "C", lambda d: bool(d.card.signature.outputs)),
    _Q(
        "card.signature.semantics",
        "signature",
        "A",
        lambda d: all(
            one.semantics for one in (*d.card.signature.inputs, *d.card.signature.outputs)
        ),
        applies=lambda d: bool(d.card.signature.inputs or d.card.signature.outputs),
    ),
    _Q("card.recipe.pre", "recipe", "A", lambda d: bool(d.card.recipe.pre)),
    _Q("card.recipe.post", "recipe", "A", lambda d: bool(d.card.recipe.post)),
    _Q(
        "card.recipe.labels",
        "recipe",
        "A",
        lambda d: bool(d.card.recipe.labels),
        applies=lambda d: "classification" in d.task or "detection" in d.task,
    ),
    _Q("card.recipe.samples", "recipe", "A", lambda d: d.card.recipe.samples is not None),
    _Q("card.architecture.family", "architecture", "A", lambda d: bool(d.card.architecture.family)),
    _Q(
        "card.architecture.parameters",
        "architecture",
        "C",
        lambda d: d.card.architecture.parameters is not None,
    ),
    _Q(
        "card.architecture.objective",
        "architecture",
        "A",
        lambda d: bool(d.card.architecture.objective),
    ),
    _Q(
        "card.lineage.base_models",
        "lineage",
        "A",
        lambda d: _has_base(d) or d.card.lineage.is_original is not None,
    ),
    _Q("card.lineage.licence", "lineage", "A", _bases_say("licence"), applies=_has_base),
    _Q("card.lineage.relation", "lineage", "A", _bases_say("relation"), applies=_has_base),
    _Q(
        "card.lineage.method",
        "lineage",
        "A",
        lambda d: bool(d.card.lineage.method),
        applies=_has_base,
    ),
    _Q(
        "card.training.datasets",
        "training",
        "S",
        lambda d: bool(d.card.training.datasets or d.card.training.cannot_disclose),
    ),
    _Q("card.training.source", "training", "S", _datasets_say("source"), applies=_discloses),
    _Q(
        "card.training.provenance",
        "training",
        "A",
        _datasets_say("provenance"),
        applies=_discloses,
    ),
    _Q("card.training.size_band", "training", "A", _datasets_say("size_band"), applies=_discloses),
    _Q("card.training.personal", "training", "S", _datasets_say("personal"), applies=_discloses),
    _Q("card.training.sensitive", "training", "S", _datasets_say("sensitive"), applies=_discloses),
    _Q("card.training.licence", "training", "A", _datasets_say("licence"), applies=_discloses),
    _Q(
        "card.training.known_bias",
        "training",
        "A",
        _datasets_say("known_bias"),
        applies=_discloses,
    ),
    _Q("card.claims", "claims", "A", lambda d: bool(d.card.claims)),
    _Q("card.use.users", "use", "S", lambda d: bool(d.card.use.users)),
    _Q("card.use.uses", "use", "S", lambda d: bool(d.card.use.uses)),
    _Q("card.use.out_of_scope", "use", "S", lambda d: bool(d.card.use.out_of_scope)),
    _Q("card.use.limitations", "use", "S", lambda d: bool(d.card.use.limitations)),
    _Q("card.use.trade_offs", "use", "A", lambda d: bool(d.card.use.trade_offs)),
    _Q(
        "card.risk.ethics",
        "risk",
        "S",
        lambda d: bool(d.card.risk.ethics),
        applies=_risks_matter,
    ),
    _Q(
        "card.risk.fairness",
        "risk",
        "S",
        lambda d: bool(d.card.risk.fairness),
        applies=_risks_matter,
    ),
    _Q(
        "card.risk.explainability",
        "risk",
        "S",
        lambda d: bool(d.card.risk.explainability),
        applies=_risks_matter,
    ),
    _Q(
        "card.risk.safety_risk",
        "risk",
        "S",
        lambda d: bool(d.card.risk.safety_risk),
        applies=_risks_matter,
    ),
    _Q(
        "card.risk.human_oversight",
        "risk",
        "S",
        lambda d: bool(d.card.risk.human_oversight),
        applies=_risks_matter,
    ),
    _Q("card.ai_act.role", "ai_act", "A", lambda d: d.card.ai_act.role is not None),
    _Q("card.ai_act.is_gpai", "ai_act", "A", lambda d: d.card.ai_act.is_gpai is not None),
    _Q(
        "card.ai_act.no_prohibited_use",
        "ai_act",
        "A",
        lambda d: d.card.ai_act.no_prohibited_use is not None,
    ),
    _Q(
        "card.ai_act.systemic",
        "ai_act",
        "A",
        lambda d: d.card.ai_act.systemic is not None,
        applies=_is_gpai,
    ),
    _Q(
        "card.ai_act.training_summary",
        "ai_act",
        "A",
        lambda d: bool(d.card.ai_act.training_summary_url),
        applies=_is_gpai,
    ),
    _Q(
        "card.ai_act.copyright_policy",
        "ai_act",
        "A",
        lambda d: bool(d.card.ai_act.copyright_policy),
        applies=_is_gpai,
    ),
    _Q("card.energy.training_wh", "energy", "A", lambda d: d.card.energy.training_wh is not None),
    _Q("card.energy.co2e_g", "energy", "A", lambda d: d.card.energy.co2e_g is not None),
    _Q("card.energy.hardware", "energy", "A", lambda d: bool(d.card.energy.hardware)),
    _Q("price", "licence", "P", lambda d: bool(d.price.strip()), is_filter=True),
    _Q("tiers", "licence", "P", lambda d: bool(d.tiers), is_filter=True),
    _Q("card.trial", "trial", "A", lambda d: bool(d.trials)),
    *(
        _Q(f"card.checklist.{point}", "checklist", "A", _checked(number))
        for number, point in enumerate(CHECKLIST)
    ),
)

_ARTICLES: Final[tuple[tuple[str, str, Callable[[Draft], bool]], ...]] = (
    ("card.ai_act.role", "Art. 3(3)-(7)", _always),
    ("card.ai_act.no_prohibited_use", "Art. 5", _always),
    ("card.ai_act.annex_iii_area", "Art. 6(2), Annex III", _risks_matter),
    ("card.ai_act.is_gpai", "Art. 3(63)", _always),
    ("card.ai_act.systemic", "Art. 51", _is_gpai),
    ("task", "Art. 53(1)(a), Annex XI 1(1)(a); Annex XII 1(a)", _is_gpai),
    ("card.use.uses", "Annex XII 1(a)", _is_gpai),
    ("card.use.out_of_scope", "Annex XII 1(b)", _is_gpai),
    ("card.architecture.parameters", "Annex XII 1(f)", _is_gpai),
    ("card.modality_in", "Annex XII 1(g)", _is_gpai),
    ("tiers", "Annex XII 1(h)", _is_gpai),
    ("card.signature.inputs", "Annex XII 2(b)", _is_gpai),
    ("card.training.datasets", "Annex XI 1(2)(c); Annex XII 2(c)", _is_gpai),
    ("card.energy.training_wh", "Annex XI 1(2)(e)", _is_gpai),
    ("card.ai_act.copyright_policy", "Art. 53(1)(c)", _is_gpai),
    ("card.ai_act.training_summary", "Art. 53(1)(d)", _is_gpai),
    ("card.ai_act.eu_contact", "Art. 54", _is_gpai),
    ("card.risk.human_oversight", "Art. 14", _risks_matter),
)
_UNASKED: Final[dict[str, Callable[[Draft], bool]]] = {
    "card.ai_act.annex_iii_area": lambda d: bool(d.card.ai_act.annex_iii_area),
    "card.ai_act.eu_contact": lambda d: bool(d.card.ai_act.eu_contact),
}
_BY_FIELD: Final = {question.field: question for question in QUESTIONS}

assert len(_BY_FIELD) == len(QUESTIONS)
assert all(field in _BY_FIELD or field in _UNASKED for field, _, _ in _ARTICLES)


def completeness(draft: Draft) -> Completeness:
    """Count what of ``draft`` is answered, group by group and in all."""
    asked = [question for question in QUESTIONS if question.applies(draft)]
    missing = [question for question in asked if not question.is_answered(draft)]
    missing.sort(key=lambda question: not question.is_filter)  # stable: else in table order
    groups = []
    for group in dict.fromkeys(question.group for question in asked):
        applicable = sum(question.group == group for question in asked)
        fields = tuple(question.field for question in missing if question.group == group)
        groups.append(GroupCompleteness(group, applicable - len(fields), applicable, fields))
    return Completeness(
        answered=len(asked) - len(missing),
        applicable=len(asked),
        groups=tuple(groups),
        missing=tuple(question.field for question in missing),
    )


def needed_for_sector(draft: Draft) -> tuple[str, ...]:
    """Return the fields that a sector of ``draft`` needs and that are not answered."""
    if not _risks_matter(draft):
        return ()
    return tuple(
        question.field
        for question in QUESTIONS
        if question.need == "S" and question.applies(draft) and not question.is_answered(draft)
    )


def ai_act_gaps(draft: Draft) -> tuple[Gap, ...]:
    """List what the AI Act asks for, where it asks, and whether ``draft`` states it."""
    gaps = []
    for field, article, applies in _ARTICLES:
        state: GapState = "not_applicable"
        if applies(draft):
            question = _BY_FIELD.get(field)
            is_answered = question.is_answered if question is not None else _UNASKED[field]
            state = "stated" if is_answered(draft) else "not_stated"
        gaps.append(Gap(field, article, state))
    return tuple(gaps)
