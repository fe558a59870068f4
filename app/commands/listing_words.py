"""Values of the market in a person's words: money, licences, rights, facets, concepts.

What has no word in this program is shown as it was signed: it may come from a newer one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from babel import Locale

from hanse.app.columns import table
from hanse.core.market.concepts import concepts
from hanse.core.market.currencies import EXPONENTS, show_money
from hanse.core.model.licence import CONDITIONAL, RIGHTS
from hanse.core.model.money import Money
from hanse.core.trade.terms import templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.app.desk import Desk
    from hanse.core.model.licence import RightName, Terms, Tier
    from hanse.core.model.problem import Problem

LEVELS: Final = ("declared", "well_formed", "runs", "measured", "reproduced")
NOTHING: Final = "-"
_CONCEPT_FACETS: Final = frozenset({"task", "sector", "format", "framework"})
_BELOW: Final = {"lt10": 10, "lt100": 100, "lt1k": 1_000, "lt10k": 10_000}
_MOST: Final = {"more": 10_000}
_SIZES: Final = {
    "lt1mb": 10**6,
    "lt10mb": 10**7,
    "lt100mb": 10**8,
    "lt1gb": 10**9,
    "lt10gb": 10**10,
}
_SIZE_MOST: Final = 10**10


def concept(desk: Desk, group: str, value: str) -> str:
    """Say a sector, task, format or framework."""
    return concepts().name(f"{group}.{value}", desk.language)


def concept_list(desk: Desk, group: str, values: Iterable[str]) -> str:
    """Say several of one group, or that there is none."""
    return desk.say("value", value=tuple(concept(desk, group, one) for one in values)) or NOTHING


def money(desk: Desk, amount_minor: int, currency: str, exponent: int) -> str:
    """Write an amount as people of the language do."""
    return show_money(Money(amount_minor, currency, exponent), desk.language)


def level(desk: Desk, number: int) -> str:
    """Say a Level: its number and its word."""
    word = desk.say(f"word.level.{LEVELS[number]}") if number < len(LEVELS) else NOTHING
    return desk.say("level.shown", number=number, word=word)


def pair(desk: Desk, name: str, value: str) -> str:
    """Say a value and what it is called on one line."""
    return desk.say("pair", name=name, value=value)


def licence(desk: Desk, spdx: str | None) -> str:
    """Say the name of a template, or the SPDX id of another licence."""
    if spdx is None:
        return NOTHING
    known = _templates_by_spdx().get(spdx.casefold())
    return spdx if known is None else templates()[known].name(desk.language)


@cache
def _templates_by_spdx() -> dict[str, str]:
    return {one.terms.spdx.casefold(): name for name, one in templates().items()}


def right(desk: Desk, name: str) -> str:
    """Say what one right is called."""
    return desk.say(f"word.right.{name}") if name in RIGHTS else name


def granted(desk: Desk, terms: Terms, name: RightName) -> str:
    """Say whether a right is granted, and by which clause on a condition."""
    value = terms.right(name)
    if value == CONDITIONAL:
        return desk.say("rights.clause", clause=terms.clauses.get(name, 0))
    return desk.say("word.answer.yes" if value else "word.answer.no")


def rights_matrix(desk: Desk, tiers: Sequence[Tier]) -> tuple[str, ...]:
    """Set rights in rows and tiers in columns."""
    heads = [desk.say("label.rights"), *(tier.name for tier in tiers)]
    rows = [
        [right(desk, name), *(granted(desk, tier.terms, name) for tier in tiers)] for name in RIGHTS
    ]
    return table(heads, rows)


def trial(desk: Desk, way: str) -> str:
    """Say a way to try."""
    return desk.say(f"word.way.{way}")


def language_name(desk: Desk, tag: str) -> str:
    """Say a language by its tag."""
    names = Locale.parse(desk.language).languages
    return str(names.get(tag.partition("-")[0], tag))


def facet_value(desk: Desk, facet: str, value: str) -> str:
    """Say one value of a facet."""
    match facet:
        case _ if facet in _CONCEPT_FACETS:
            return concept(desk, facet, value)
        case "licence":
            return licence(desk, value)
        case "right":
            return right(desk, value)
        case "trial" if value in {"open", "sealed", "answers"}:
            return trial(desk, value)
        case "level" if value.isdigit() and int(value) < len(LEVELS):
            return level(desk, int(value))
        case "lang":
            return language_name(desk, value)
        case "state" if value in {"open", "paused"}:
            return desk.say(f"word.offered.{value}")
        case "price_band":
            return _price_band(desk, value)
        case "size_band":
            return _size_band(desk, value)
        case _:
            return value


def _price_band(desk: Desk, value: str) -> str:
    currency, _, band = value.rpartition(":")
    code = currency.upper()
    exponent = EXPONENTS.get(code, 0)
    if band == "ask":
        return desk.say("band.ask")
    if band == "free":
        return desk.say("band.free", currency=code)
    most = {**_BELOW, **_MOST}.get(band)
    if most is None:
        return value
    amount = money(desk, most * 10**exponent, code, exponent)
    return desk.say("band.below" if band in _BELOW else "band.from", amount=amount)


def _size_band(desk: Desk, value: str) -> str:
    if value in _SIZES:
        return desk.say("band.size_below", size_bytes=_SIZES[value])
    return desk.say("band.size_from", size_bytes=_SIZE_MOST)


def told(desk: Desk, problems: Iterable[Problem], indent: str = "") -> tuple[str, ...]:
    """Say each Problem in a sentence, each once."""
    said = (indent + desk.say(one.code, **one.values) for one in problems)
    return tuple(dict.fromkeys(said))
