"""What a person types about a Listing, turned into a change of its Draft.

* Everything typed is looked at before anything is done, and all that is wrong with it is
  told at once, as Problems.
* What was not typed leaves the Draft alone; an empty text empties what is a list.
* A card gives way to what is typed beside it.

Whether the Draft may be published is not decided here.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

import msgspec

from hanse.app.commands.certify_typed import OptionNeedsOther
from hanse.app.commands.listing_card import GivenCard, read_given_card
from hanse.app.commands.listing_evaluation import GivenEvaluation, read_given_evaluation
from hanse.app.commands.typed_files import read_text
from hanse.core.engine.naming import id_digits
from hanse.core.engine.publishing import STANDARD_TIER
from hanse.core.errors import EnvironmentFault, UserError
from hanse.core.limits import (
    DRAFT_TEXT_CHARACTERS_MAX,
    LICENCE_CLAUSES_MAX,
    LICENCE_TEXT_CHARACTERS_MAX,
    LISTING_SUMMARY_CHARACTERS_MAX,
    TRIAL_ANSWERS_PER_30_DAYS_MAX,
    TRIAL_ANSWERS_PER_BUYER_MAX,
    TRIAL_DAYS_MAX,
    TRIAL_RUNS_MAX,
)
from hanse.core.market.listings import Problem
from hanse.core.model.card import AnswersTrial, BaseModel, OpenTrial, SealedTrial, Trials
from hanse.core.model.ids import BadId, parse_id
from hanse.core.model.licence import CONDITIONAL, RIGHTS, RightName, Terms
from hanse.core.model.listing import Draft, PriceTerm, TierDraft
from hanse.core.trade.terms import DEFAULT_LICENCE, own_terms, template, templates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    BaseOf = Callable[[str], tuple[bytes, str]]  # digits of a Release -> its id and title

T = TypeVar("T")

TRIALS: Final = "open=ARTIFACT:RELATION, sealed=RUNS:DAYS[:certify], answers=BUYER:MONTH[:SHOWN]"
_NO_TEXT: Final = bytes(32)
_HEX: Final = re.compile(r"[0-9a-f]{8,64}\Z")
_RELATIONS: Final = ("finetune", "merge", "quantise", "distil", "adapter")
_TRIAL_RELATIONS: Final = ("smaller", "older", "fewer_classes", "lower_precision")
_SHOWN: Final = ("top1", "digits2", "tokens256", "full")
_END_OF_DAY: Final = dt.time(23, 59, 59)


class ListingWords(TypedDict, total=False):
    """Options that describe a Listing, as they were given; ``None`` and nothing say nothing."""

    name: str | None
    description: str | None
    text_file: Path | None
    price: str | None
    price_term: Sequence[str]
    currency: str | None
    sector: Sequence[str]
    task: str | None
    tag: Sequence[str]
    language: str | None
    valid_until: str | None
    capacity: int | None


class ListingOptions(ListingWords, total=False):
    """And those that describe a Release of it."""

    release_version: str | None
    notes: str | None
    licence: str | None
    licence_file: Path | None
    right: Sequence[str]
    spdx: str | None
    tier: Sequence[str]
    base: Sequence[str]
    original: bool
    trial: Sequence[str]
    card: Path | None
    untested: bool
    evaluation: Path | None
    target: Sequence[str]
    slice_column: str | None
    group: str | None
    positive: str | None


@dataclass(slots=True)
class Said:
    """What was typed, understood: ``edit`` puts it into a Draft.

    ``problems`` forbid to go on; ``notes`` are told.
    """

    typed: ListingOptions
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    card: GivenCard | None = None
    changes: dict[str, object] = field(default_factory=dict)
    bases: tuple[BaseModel, ...] = ()
    trials: Trials | None = None
    evaluation: GivenEvaluation | None = None

    def edit(self, draft: Draft) -> Draft:
        """Return ``draft`` with the card, and then with what was typed."""
        if self.card is not None:
            draft = self.card.change(draft)
        draft = msgspec.structs.replace(draft, **self.changes)
        card = draft.card
        if self.bases or self.typed.get("original"):
            lineage = msgspec.structs.replace(
                card.lineage,
                base_models=self.bases,
                is_original=True if self.typed.get("original") else None,
            )
            card = msgspec.structs.replace(card, lineage=lineage)
        if self.evaluation is not None:
            card = msgspec.structs.replace(card, evaluation=self.evaluation.stated)
        if self.trials is not None:
            card = msgspec.structs.replace(card, trial=self.trials)
        return msgspec.structs.replace(draft, card=card)


def understand(typed: ListingOptions, base_of: BaseOf) -> Said:
    """Read all that was typed; ``base_of`` finds the id and the title of a Release held here."""
    said = Said(typed)
    reader = _Reader(said, base_of)
    reader.read()
    return said


@dataclass(slots=True)
class _Reader:
    said: Said
    base_of: BaseOf

    def read(self) -> None:
        said, typed = self.said, self.said.typed
        if (path := typed.get("card")) is not None:
            said.card = self._tried("card", lambda: read_given_card(path))
            said.notes += () if said.card is None else said.card.told
        self._words()
        self._tiers()
        self._bases()
        if typed.get("trial"):
            said.trials = self._trials()
        if typed.get("untested"):
            said.changes["untested"] = True
        said.evaluation = self._tried("card.evaluation", self._evaluation)
        if (day := typed.get("valid_until")) is not None:
            until = self._until(day)
            if until is not None:
                said.changes["valid_until"] = until
        if (capacity := typed.get("capacity")) is not None:
            said.changes["capacity"] = capacity
        if typed.get("price_term"):
            said.changes["price_terms"] = self._price_terms()

    def _tried(self, name: str, read: Callable[[], T]) -> T | None:
        """Read, and turn an error into a Problem beside the field ``name``."""
        try:
            return read()
        except (UserError, EnvironmentFault) as error:
            self.said.problems.append(Problem(error.code, name, error.values))
            return None

    def _wrong(self, option: str, found: str, expected: str) -> None:
        values = {"option": option, "found": found, "form": expected}
        self.said.problems.append(Problem("typed.form", option.removeprefix("--"), values))

    def _evaluation(self) -> GivenEvaluation | None:
        typed = self.said.typed
        targets, path = tuple(typed.get("target", ())), typed.get("evaluation")
        beside = (typed.get("slice_column"), typed.get("group"), typed.get("positive"))
        if path is None:
            if targets or any(one is not None for one in beside):
                raise OptionNeedsOther(option="--target, --slice, ...", needed="evaluation")
            return None
        return read_given_evaluation(path, targets, *beside)

    # --- words -----------------------------------------------------------------------------

    def _words(self) -> None:
        typed, changes = self.said.typed, self.said.changes
        for name, value in (
            ("title", typed.get("name")),
            ("price", typed.get("price")),
            ("currency", typed.get("currency")),
            ("task", typed.get("task")),
            ("lang", typed.get("language")),
            ("version", typed.get("release_version")),
            ("notes", typed.get("notes")),
        ):
            if value is not None:
                changes[name] = value
        for name, values in (("sectors", typed.get("sector", ())), ("tags", typed.get("tag", ()))):
            if values:
                changes[name] = tuple(one for one in values if one)
        if (description := typed.get("description")) is not None:
            changes["text"] = description
            changes["summary"] = description[:LISTING_SUMMARY_CHARACTERS_MAX]
        if (file := typed.get("text_file")) is not None:
            text = self._tried("text", lambda: read_text(file, DRAFT_TEXT_CHARACTERS_MAX))
            if text is not None:
                changes["text"] = text[:DRAFT_TEXT_CHARACTERS_MAX]

    def _price_terms(self) -> tuple[PriceTerm, ...]:
        terms = []
        for one in self.said.typed.get("price_term", ()):
            name, equals, amount = one.rpartition("=")
            if one and not (equals and name.strip() and amount.strip()):
                self._wrong("--price-term", one, "NAME=AMOUNT")
            elif one:
                terms.append(PriceTerm(name=name.strip(), amount=amount.strip()))
        return tuple(terms)

    # --- licences --------------------------------------------------------------------------

    def _tiers(self) -> None:
        typed = self.said.typed
        tiers = []
        names, card = ("licence", "licence_file", "spdx"), self.said.card
        if any(typed.get(name) is not None for name in names):
            tiers += self._first_tier()
        elif card is not None and card.licence and not typed.get("tier"):
            tiers += self._tier_of_card(card.licence)
        if typed.get("right") and typed.get("licence_file") is None:
            self.said.problems.append(Problem("typed.right_without_text", "tiers"))
        tiers += [tier for one in typed.get("tier", ()) if (tier := self._tier(one)) is not None]
        if tiers:
            self.said.changes["tiers"] = tuple(tiers)

    def _first_tier(self) -> list[TierDraft]:
        typed = self.said.typed
        name, spdx = typed.get("licence"), typed.get("spdx")
        if (path := typed.get("licence_file")) is not None:
            return self._own_licence(path)
        if name is None:
            assert spdx is not None
            name = _template_of_spdx(spdx)
            if name is None:
                values = {"spdx": spdx}
                self.said.problems.append(Problem("typed.licence_text_needed", "tiers", values))
                return []
        terms = self._template(name)
        return [] if terms is None else [TierDraft(name=STANDARD_TIER, terms=terms)]

    def _own_licence(self, path: Path) -> list[TierDraft]:
        typed = self.said.typed
        matrix = _nothing_granted()
        if (name := typed.get("licence")) is not None:
            matrix = self._template(name) or matrix
        text = self._tried("tiers", lambda: read_text(path, LICENCE_TEXT_CHARACTERS_MAX))
        if text is None:
            return []
        matrix = self._with_rights(matrix)
        terms = self._tried("tiers", lambda: own_terms(text, matrix))
        if terms is None:
            return []
        if (spdx := typed.get("spdx")) is not None:
            terms = msgspec.structs.replace(terms, spdx=spdx)
        return [TierDraft(name=STANDARD_TIER, terms=terms, text=text)]

    def _with_rights(self, matrix: Terms) -> Terms:
        changes: dict[str, object] = {}
        clauses = dict(matrix.clauses)
        for one in self.said.typed.get("right", ()):
            name, _, value = one.partition("=")
            right = _right_named(name)
            granted = {"no": 0, "yes": 1}.get(value.strip().lower())
            is_clause = value.strip().isascii() and value.strip().isdigit()
            if right is None or (granted is None and not is_clause):
                self._wrong("--right", one, f"NAME=no|yes|CLAUSE; {', '.join(RIGHTS)}")
                continue
            clauses.pop(right, None)
            if granted is None:
                clause = int(value.strip()[:9])
                if not 1 <= clause <= LICENCE_CLAUSES_MAX:
                    self._wrong("--right", one, f"CLAUSE: 1 - {LICENCE_CLAUSES_MAX}")
                    continue
                clauses[right] = clause
            changes[right] = CONDITIONAL if granted is None else granted
        return msgspec.structs.replace(matrix, clauses=clauses, **changes)

    def _tier(self, one: str) -> TierDraft | None:
        name, equals, rest = one.partition("=")
        licence, _, price = rest.partition(":")
        if not (equals and name.strip() and licence.strip()):
            self._wrong("--tier", one, "NAME=TEMPLATE[:PRICE]")
            return None
        terms = self._template(licence.strip())
        if terms is None:
            return None
        return TierDraft(name=name.strip(), terms=terms, price=price.strip())

    def _tier_of_card(self, licence: str) -> list[TierDraft]:
        name = _template_of_spdx(licence)
        if name is None:
            values = {"licence": licence}
            self.said.notes.append(Problem("typed.card_licence", "tiers", values, is_warning=True))
            return []
        return [TierDraft(name=STANDARD_TIER, terms=template(name).terms)]

    def _template(self, name: str) -> Terms | None:
        return self._tried("tiers", lambda: template(name).terms)

    # --- base models, Trials, time ---------------------------------------------------------

    def _bases(self) -> None:
        typed = self.said.typed
        bases = [base for one in typed.get("base", ()) if (base := self._base(one)) is not None]
        if bases and typed.get("original"):
            self.said.problems.append(Problem("typed.original_with_base", "card.lineage"))
        self.said.bases = tuple(bases)

    def _base(self, one: str) -> BaseModel | None:
        name, _, rest = one.partition("=")
        name = name.strip()
        licence, relation = rest.strip(), None
        head, colon, last = licence.rpartition(":")
        if colon:
            licence, relation = head, last
        if not name or (relation is not None and relation not in _RELATIONS):
            form = f"RELEASE|NAME[=LICENCE[:RELATION]]; RELATION: {', '.join(_RELATIONS)}"
            self._wrong("--base", one, form)
            return None
        release, title = None, ""
        if _HEX.match(name.lower()):
            found = self._tried("card.lineage", lambda: self.base_of(id_digits(name)))
            if found is None:
                return None
            release, title = found
        return BaseModel(
            name=title if release is not None else name,
            id="" if release is not None else name,
            release=release,
            licence=licence,
            relation=relation,  # type: ignore[arg-type] # one of _RELATIONS
        )

    def _trials(self) -> Trials:
        ways: dict[str, object] = {}
        for one in self.said.typed.get("trial", ()):
            way, _, rest = one.partition("=")
            given = [part.strip() for part in rest.split(":")] if rest else []
            match way.strip():
                case "open" if len(given) == 2 and given[1] in _TRIAL_RELATIONS:
                    made: object = self._open_trial(given)
                    name = "open"
                case "sealed":
                    made, name = _sealed_trial(given), "sealed_local"
                case "answers":
                    made, name = _answers_trial(given), "signed_answers"
                case "":
                    continue  # an empty text switches all off
                case _:
                    made, name = None, ""
            if made is None:
                self._wrong("--trial", one, TRIALS)
            else:
                ways[name] = made
        return msgspec.structs.replace(Trials(), **ways)

    def _open_trial(self, given: Sequence[str]) -> OpenTrial | None:
        try:
            artifact = parse_id(given[0])
        except BadId:
            return None
        return OpenTrial(artifact=artifact, relation=given[1])  # type: ignore[arg-type] # checked

    def _until(self, text: str) -> int | None:
        until = read_time(text)
        if until is None:
            self._wrong("--valid-until", text, "2027-12-31")
        return until


def read_time(text: str) -> int | None:
    """Read a day (its end, here) or a time as ISO 8601 has it, in ms; None for anything else."""
    try:
        if len(text.strip()) == len("2027-12-31"):
            when = dt.datetime.combine(dt.date.fromisoformat(text.strip()), _END_OF_DAY)
        else:
            when = dt.datetime.fromisoformat(text.strip())
        if when.tzinfo is None:
            when = when.astimezone()
        return int(when.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def _nothing_granted() -> Terms:
    return Terms(
        spdx=DEFAULT_LICENCE,
        text_hash=_NO_TEXT,
        commercial=0,
        internal=0,
        research=0,
        saas=0,
        redistribute_weights=0,
        derivatives=0,
        fine_tune=0,
        distil=0,
        resale=0,
    )


def _template_of_spdx(spdx: str) -> str | None:
    return next(
        (name for name, one in templates().items() if one.terms.spdx.casefold() == spdx.casefold()),
        None,
    )


def _right_named(text: str) -> RightName | None:
    asked = text.strip().lower().replace("-", "_")
    return next((name for name in RIGHTS if name == asked), None)


def _numbers(given: Sequence[str], bounds: Sequence[int]) -> list[int] | None:
    """Read one number for each bound, each 1 or more and at most its bound."""
    if len(given) < len(bounds):
        return None
    found = [int(one[:9]) if one.isascii() and one.isdigit() else 0 for one in given[: len(bounds)]]
    fits = all(1 <= one <= most for one, most in zip(found, bounds, strict=True))
    return found if fits else None


def _sealed_trial(given: Sequence[str]) -> SealedTrial | None:
    found = _numbers(given, (TRIAL_RUNS_MAX, TRIAL_DAYS_MAX))
    if found is None or given[2:] not in ([], ["certify"]):
        return None
    return SealedTrial(runs=found[0], days=found[1], certify=bool(given[2:]))


def _answers_trial(given: Sequence[str]) -> AnswersTrial | None:
    found = _numbers(given, (TRIAL_ANSWERS_PER_BUYER_MAX, TRIAL_ANSWERS_PER_30_DAYS_MAX))
    shown = given[2] if len(given) == 3 else _SHOWN[0]
    if found is None or len(given) > 3 or shown not in _SHOWN:
        return None
    return AnswersTrial(per_buyer=found[0], per_30d=found[1], shown=shown)  # type: ignore[arg-type]
