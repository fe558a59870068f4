"""Whether the licences of base models allow what a Draft offers.

* The matrix of a base model comes from its SPDX id (``resources/licences/spdx.toml``, a
  dated summary), from the terms of a Release, or from a template of ours.
* An error to answer: a right is offered where the base gives none; the base allows no
  derivatives, no passing on, or no sale; the base asks for another licence.
* A warning: the base sets conditions, its licence is not stated, or not known here.
* "A OR B" is the licence that speaks least against the offer; "A AND B" is both.

It warns; it is no legal advice, and it never reads a licence text.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.model.licence import CONDITIONAL, RIGHTS, Right, RightName, Terms
from hanse.core.model.problem import Problem
from hanse.core.trade.spdx import AllOf, AnyOf, BadLicence, Expression, licence_ids, read_licence
from hanse.core.trade.terms import templates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.card import BaseModel, Relation
    from hanse.core.model.listing import Draft

_FIELD: Final = "card.lineage.base_models"
_ITSELF: Final = "self"
_MONEY: Final = re.compile("[1-9]")
_NEEDED: Final[Mapping[Relation | None, RightName]] = {
    "finetune": "fine_tune",
    "adapter": "fine_tune",
    "distil": "distil",
}

Kind = Literal[
    "public_domain",
    "permissive",
    "share_alike",
    "copyleft",
    "non_commercial",
    "no_derivatives",
    "use_limits",
    "own",
]


Condition = Literal[
    "notice",
    "attribution",
    "changes",
    "source",
    "share_alike",
    "use_limits",
    "network",
    "gain",
    "terms",
]


class KnownLicence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one licence allows with a model it covers; ``conditions`` are stable words.

    Models made from it are passed on under ``share_alike`` only, where that is not empty.
    """

    ids: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    kind: Kind
    rights: dict[RightName, Right]
    conditions: tuple[Condition, ...] = ()
    share_alike: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    date: dt.date
    licence: tuple[KnownLicence, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """One tier against one base model."""

    field: str
    base: str
    relation: Relation | None
    tier: str
    terms: Terms
    is_sold: bool

    def of_base(self, base: BaseModel, held: Mapping[bytes, tuple[Terms, ...]]) -> list[Problem]:
        """Find the licence of ``base`` and say what speaks against the tier."""
        if base.release is not None and held.get(base.release):
            return _least([self._of_known(_of_terms(one)) for one in held[base.release]])
        if not base.licence.strip():
            return [self._problem("lineage.not_stated", {}, is_warning=True)]
        template = templates().get(base.licence)
        if template is not None:
            return self._of_known(_of_terms(template.terms))
        try:
            return self._of_expression(read_licence(base.licence))
        except BadLicence:
            return [self._unknown(base.licence)]

    def _of_expression(self, licence: Expression) -> list[Problem]:
        match licence:
            case AllOf(parts):
                return [problem for part in parts for problem in self._of_expression(part)]
            case AnyOf(parts):
                return _least([self._of_expression(part) for part in parts])
            case _:
                row = known_licences().get(licence.partition(" WITH ")[0])
                if row is None:
                    return [self._unknown(licence)]
                return self._of_known(msgspec.structs.replace(row, ids=(licence,)))

    def _of_known(self, row: KnownLicence) -> list[Problem]:
        licence = row.ids[0]
        problems: list[Problem] = []
        values: dict[str, object]
        for offered, code in ((1, "lineage.right"), (2, "lineage.right_conditional")):
            rights = tuple(
                name
                for name in RIGHTS
                if (row.rights[name], self.terms.right(name)) == (0, offered)
            )
            if rights:
                values = {"licence": licence, "right": rights, "tier": self.tier}
                problems.append(self._problem(code, values, is_warning=offered != 1))
        needed = _NEEDED.get(self.relation, "derivatives")
        if 0 in (row.rights["derivatives"], row.rights[needed]):
            relation = self.relation or "other"
            values = {"licence": licence, "relation": relation}
            problems.append(self._problem("lineage.no_derivatives", values))
        if row.rights["redistribute_weights"] == 0 and self.relation != "distil":
            problems.append(self._problem("lineage.no_passing_on", {"licence": licence}))
        if self.is_sold and 0 in (row.rights["commercial"], row.rights["resale"]):
            problems.append(
                self._problem("lineage.no_sale", {"licence": licence, "tier": self.tier})
            )
        allowed = tuple(licence if one == _ITSELF else one for one in row.share_alike)
        if allowed and not set(_ids(self.terms)) <= set(allowed):
            values = {
                "licence": licence,
                "tier": self.tier,
                "found": self.terms.spdx,
                "allowed": tuple(dict.fromkeys(allowed)),
            }
            problems.append(self._problem("lineage.share_alike", values))
        if row.conditions:
            values = {"licence": licence, "condition": row.conditions}
            problems.append(self._problem("lineage.conditions", values, is_warning=True))
        return problems

    def _unknown(self, licence: str) -> Problem:
        return self._problem("lineage.unknown", {"licence": licence}, is_warning=True)

    def _problem(
        self, code: str, values: dict[str, object], *, is_warning: bool = False
    ) -> Problem:
        return Problem(code, self.field, {"base": self.base, **values}, is_warning)


def lineage_problems(
    draft: Draft,
    *,
    known: Mapping[bytes, tuple[Terms, ...]] | None = None,
    own: frozenset[bytes] = frozenset(),
) -> tuple[Problem, ...]:
    """Hold every tier of ``draft`` against every base model.

    ``known`` are the terms of Releases the base models name, of which the seller takes one;
    ``own`` are his own Releases, for which he needs no licence.
    """
    held = known or {}
    problems: list[Problem] = []
    for number, base in enumerate(draft.card.lineage.base_models):
        if base.release in own:
            continue
        for tier in draft.tiers:
            case = _Case(
                field=f"{_FIELD}[{number}]",
                base=base.name or base.id or (base.release or b"").hex()[:16] or str(number + 1),
                relation=base.relation,
                tier=tier.name,
                terms=tier.terms,
                is_sold=_asks_money(tier.price or draft.price),
            )
            problems += case.of_base(base, held)
    return tuple(one for at, one in enumerate(problems) if one not in problems[:at])


@cache
def known_licences() -> Mapping[str, KnownLicence]:
    """Read what is known of licences, by id; read once for each process."""
    rows = _read().licence
    table = {one: row for row in rows for one in row.ids}
    assert len(table) == sum(len(row.ids) for row in rows)
    assert all(row.rights.keys() == set(RIGHTS) for row in rows)
    own = {
        template.terms.spdx: _of_terms(template.terms)
        for template in templates().values()
        if template.terms.spdx not in table
    }
    return {**table, **own}


def known_since() -> dt.date:
    """Return the day on which what is known of licences was written down."""
    return _read().date


@cache
def _read() -> _File:
    text = files("hanse.resources").joinpath("licences", "spdx.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _File)


def _of_terms(terms: Terms) -> KnownLicence:
    """Return the matrix of a licence of ours as that of a base model."""
    has_conditions = any(terms.right(name) == CONDITIONAL for name in RIGHTS)
    return KnownLicence(
        ids=(terms.spdx,),
        kind="own",
        rights={name: terms.right(name) for name in RIGHTS},
        conditions=("terms",) if has_conditions else (),
    )


def _least(choices: list[list[Problem]]) -> list[Problem]:
    """Return the choice that speaks least against the offer: fewest errors, then warnings."""
    return min(choices, key=lambda found: (sum(not one.is_warning for one in found), len(found)))


def _ids(terms: Terms) -> tuple[str, ...]:
    try:
        return licence_ids(read_licence(terms.spdx))
    except BadLicence:
        return (terms.spdx,)


def _asks_money(price: str) -> bool:
    return _MONEY.search(unicodedata.normalize("NFKC", price)) is not None
