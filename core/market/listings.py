"""What makes a Draft a Listing that may be signed: every problem, at once.

* ``validate_draft`` looks at everything and stops at nothing; a Problem names its field,
  what was found and what is allowed.  A warning lets the person go on.
* The rules are those of the Bodies (``hanse.core.ledger.kinds``), of the sectors, and of
  good sense: nothing that has ended, no Trial that cannot work, no use the law forbids.
* The texts and base models of licences are ``hanse.core.trade``'s: its
  ``licence_problems`` and ``lineage_problems`` are asked beside this.
* ``may_amend`` and ``may_supersede`` say whether one signed Body may follow another.

Nothing here knows whether what is said is true.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.ledger.codec import is_text
from hanse.core.limits import (
    LISTING_MEDIA_MAX,
    LISTING_MEDIATORS_MAX,
    LISTING_MS_MAX,
    LISTING_SECTORS_MAX,
    LISTING_SUMMARY_CHARACTERS_MAX,
    LISTING_TAG_CHARACTERS_MAX,
    LISTING_TAGS_MAX,
    LISTING_TEXT_CHARACTERS_MAX,
    LISTING_TITLE_CHARACTERS_MAX,
    MONEY_AMOUNT_MAX,
    PRICE_TERMS_MAX,
    RELEASE_BASES_MAX,
    RELEASE_NOTES_CHARACTERS_MAX,
    RELEASE_TIERS_MAX,
    RELEASE_VERSION_CHARACTERS_MAX,
    TIER_NAME_CHARACTERS_MAX,
)
from hanse.core.market.card_faults import faults_of
from hanse.core.market.completeness import SECTORS_WITH_RISK, needed_for_sector
from hanse.core.market.currencies import (
    BadMoney,
    UnknownCurrency,
    WrongDecimals,
    find_currency,
    parse_money,
    plain_amount,
)
from hanse.core.market.listing_bodies import (
    base_money,
    card_of,
    cleaned,
    concepts_of,
    listing_body,
    plain_text,
    price_body,
    release_body,
    tier_adds,
    total_money,
)
from hanse.core.market.listing_facts import apply_facts, suggest_task
from hanse.core.model.artifact import MAY_CARRY_CODE, RUNNABLE
from hanse.core.model.card import CHECKLIST
from hanse.core.model.licence import terms_fault
from hanse.core.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hanse.core.ledger.kinds import Listing1, Release1
    from hanse.core.market.concepts import Concepts
    from hanse.core.model.listing import Draft

__all__ = [
    "Problem",
    "apply_facts",
    "base_money",
    "card_of",
    "cleaned",
    "concepts_of",
    "listing_body",
    "may_amend",
    "may_supersede",
    "price_body",
    "release_body",
    "suggest_task",
    "tier_adds",
    "total_money",
    "validate_draft",
    "version_order",
]

_LANG: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,4})?\Z")
_TAG: Final = re.compile(r"[^\W_]([\w .:+/#@&()-]*[\w+#)])?\Z")
_VERSION: Final = re.compile(  # Semantic Versioning 2.0.0
    r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z"
)
_KEY_SIZE_BYTES: Final = 32
_SHOWN_CHARACTERS: Final = 60  # of a text that is quoted in a sentence
_FINEST_CURRENCY: Final = "XMR"  # has the most decimals
_FINAL_ANSWERS: Final = ("may_sell", "no_prohibited_use")  # "no" here ends it

VersionOrder = tuple[int, int, int, tuple[tuple[int, int, str], ...]]


def validate_draft(
    draft: Draft, *, now_ms: int, vocabulary: Concepts, needs_model: bool = True
) -> tuple[Problem, ...]:
    """Return every Problem of ``draft``; those that are warnings do not forbid publishing.

    ``needs_model=False`` leaves out what an imported model would show.
    """
    clean = cleaned(draft, vocabulary)
    return tuple(
        chain(
            _names(clean),
            _place(clean, vocabulary),
            _release(clean),
            _model(clean) if needs_model else (),
            _prices(clean),
            _tiers(clean),
            _sale(clean, now_ms),
            _trials(clean, needs_model=needs_model),
            _card(clean),
            _sector_needs(clean),
            _checklist(clean),
        )
    )


def may_amend(old: Listing1, new: Listing1, *, listing_id: bytes) -> tuple[Problem, ...]:
    """Say what forbids ``new`` to follow ``old`` as the words of one Listing."""
    problems = []
    if old.state == "withdrawn":
        problems.append(Problem("listing.withdrawn", "state", {"title": old.title}))
    if new.listing != listing_id:
        values = {"found": new.listing, "expected": listing_id}
        problems.append(Problem("listing.other_listing", "listing", values))
    if msgspec.structs.replace(new, salt=old.salt, listing=old.listing) == old:
        problems.append(Problem("listing.nothing_changed", "title", {"title": old.title}))
    return tuple(problems)


def may_supersede(old: Release1, new: Release1) -> tuple[Problem, ...]:
    """Say what forbids ``new`` to follow ``old``, or should be looked at."""
    problems = []
    held, found = version_order(old.version), version_order(new.version)
    if held is not None and found is not None and found <= held:
        values = {"found": new.version, "held": old.version}
        problems.append(Problem("release.version_not_newer", "version", values))
    if new.listing != old.listing:
        other = {"found": new.listing, "expected": old.listing}
        problems.append(Problem("listing.other_listing", "listing", other))
    if new.artifact == old.artifact:
        same = {"version": old.version}
        problems.append(Problem("release.same_model", "artifact", same, is_warning=True))
    return tuple(problems)


def version_order(version: str) -> VersionOrder | None:
    """Return what Semantic Versioning orders ``version`` by, or None for another form."""
    found = _VERSION.match(version)
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    # Without a pre-release comes last; numbers come before words.
    parts = ((2, 0, ""),) if before is None else tuple(map(_identifier, before.split(".")))
    return int(major), int(minor), int(patch), parts


def _identifier(part: str) -> tuple[int, int, str]:
    is_number = part.isascii() and part.isdigit()
    return (0, int(part[:18]), "") if is_number else (1, 0, part)


# --- the groups of a Draft, one function each ------------------------------------------------


def _names(draft: Draft) -> Iterator[Problem]:
    if not draft.title.strip():
        yield _missing("title")
    if not draft.text.strip():
        yield _missing("text")
    yield from _text("title", draft.title, LISTING_TITLE_CHARACTERS_MAX, is_multiline=False)
    yield from _text("summary", draft.summary, LISTING_SUMMARY_CHARACTERS_MAX)
    yield from _text("text", draft.text, LISTING_TEXT_CHARACTERS_MAX)
    if not _LANG.match(draft.lang):
        yield Problem("listing.language", "lang", {"found": _quoted(draft.lang)})
    yield from _count("tags", draft.tags, LISTING_TAGS_MAX)
    for number, tag in enumerate(draft.tags):
        field = f"tags[{number}]"
        if len(tag) > LISTING_TAG_CHARACTERS_MAX:
            yield _too_long(field, len(tag), LISTING_TAG_CHARACTERS_MAX)
        elif not _TAG.match(tag):
            yield Problem("listing.tag", field, {"found": _quoted(tag)})


def _place(draft: Draft, vocabulary: Concepts) -> Iterator[Problem]:
    yield from _count("sectors", draft.sectors, LISTING_SECTORS_MAX)
    known = set(vocabulary.sectors())
    for number, sector in enumerate(draft.sectors):
        if sector not in known:
            nearest = vocabulary.nearest(sector, "sector")
            values = {"found": _quoted(sector), "nearest": nearest}
            yield Problem("listing.unknown_sector", f"sectors[{number}]", values)
    if draft.task and draft.task not in vocabulary.tasks():
        nearest = vocabulary.nearest(draft.task, "task")
        values = {"found": _quoted(draft.task), "nearest": nearest}
        yield Problem("listing.unknown_task", "task", values)


def _release(draft: Draft) -> Iterator[Problem]:
    if len(draft.version) > RELEASE_VERSION_CHARACTERS_MAX or not _VERSION.match(draft.version):
        yield Problem("release.version", "version", {"found": _quoted(draft.version)})
    yield from _text("notes", draft.notes, RELEASE_NOTES_CHARACTERS_MAX)
    yield from _count("card.lineage.base_models", draft.base, RELEASE_BASES_MAX)
    if draft.edition == "trial" and draft.of is None:
        yield Problem("release.trial_of", "of")
    if draft.edition == "full" and draft.of is not None:
        yield Problem("release.full_of", "of")


def _model(draft: Draft) -> Iterator[Problem]:
    if draft.artifact is None or draft.size < 1 or draft.files < 1:
        yield Problem("listing.no_model", "artifact")
        return
    if draft.parity is not None and draft.parity.verdict == "fail":
        yield Problem("listing.parity_failed", "parity", is_warning=True)
    risky = tuple(one for one in draft.formats if one in MAY_CARRY_CODE)
    if risky and not RUNNABLE.intersection(draft.formats):
        yield Problem("listing.not_certifiable", "formats", {"format": risky}, is_warning=True)


def _prices(draft: Draft) -> Iterator[Problem]:
    try:
        find_currency(draft.currency)
    except UnknownCurrency as error:
        yield Problem(error.code, "currency", error.values)
    if not draft.price.strip():
        yield _missing("price")
    elif (problem := _money(draft, "price", draft.price)) is not None:
        yield problem
    yield from _count("price_terms", tuple(one.name for one in draft.price_terms), PRICE_TERMS_MAX)
    for number, term in enumerate(draft.price_terms):
        field = f"price_terms[{number}]"
        yield from _name(f"{field}.name", "price_terms.name", term.name)
        problem = _money(draft, f"{field}.amount", term.amount, is_adjustment=True)
        if problem is not None:
            yield problem
    try:
        total = total_money(draft)
    except (BadMoney, UnknownCurrency):
        return  # said above
    if not 0 <= total.amount <= MONEY_AMOUNT_MAX:
        shown = plain_amount(total)
        values = {"total": shown, "currency": total.currency}
        yield Problem("price.total", "price_terms", values)


def _tiers(draft: Draft) -> Iterator[Problem]:
    if not draft.tiers:
        yield _missing("tiers")
    yield from _count("tiers", tuple(tier.name for tier in draft.tiers), RELEASE_TIERS_MAX)
    for number, tier in enumerate(draft.tiers):
        field = f"tiers[{number}]"
        yield from _name(f"{field}.name", "tiers.name", tier.name)
        if tier.price.strip():
            problem = _money(draft, f"{field}.price", tier.price)
            if problem is not None:
                yield problem
        for fault in faults_of(tier.terms, f"{field}.terms"):
            yield Problem("card.bound", fault.path, {"field": fault.path, "found": fault.found})
        if fault_text := terms_fault(tier.terms):
            yield Problem("licence.clauses", f"{field}.terms", {"detail": fault_text})


def _sale(draft: Draft, now_ms: int) -> Iterator[Problem]:
    until = draft.valid_until
    if until is not None and until <= now_ms:
        yield Problem("listing.ended", "valid_until", {"until_ms": until, "now_ms": now_ms})
    elif until is not None and until > now_ms + LISTING_MS_MAX:
        values = {"until_ms": until, "most_ms": now_ms + LISTING_MS_MAX}
        yield Problem("listing.ends_too_late", "valid_until", values)
    if draft.capacity is not None and not 1 <= draft.capacity < 2**31:
        yield Problem("listing.capacity", "capacity", {"found": draft.capacity})
    yield from _keys("mediators", draft.mediators, LISTING_MEDIATORS_MAX)
    yield from _keys("media", draft.media, LISTING_MEDIA_MAX)


def _trials(draft: Draft, *, needs_model: bool) -> Iterator[Problem]:
    ways = draft.card.trial
    if ways.open is not None:
        for field, value in (
            ("card.trial.open.artifact", ways.open.artifact),
            ("card.trial.open.relation", ways.open.relation),
        ):
            if value is None:
                yield Problem("trial.needs", field, {"way": "open", "field": field})
    can_run = bool(RUNNABLE.intersection(draft.formats))
    if not needs_model or can_run:
        return
    for way in draft.trials:
        if way != "open":
            values = {"way": way, "format": draft.formats}
            yield Problem("trial.cannot_run", "card.trial", values)


def _card(draft: Draft) -> Iterator[Problem]:
    for fault in faults_of(draft.card, "card"):
        field = re.sub(r"\[[0-9]+\]", "", fault.path)
        match fault.kind:
            case "too_long":
                values = {"field": field, "found": fault.found, "most": fault.allowed}
                yield Problem("listing.too_long", fault.path, values)
            case "too_many":
                values = {"field": field, "found": fault.found, "most": fault.allowed}
                yield Problem("listing.too_many", fault.path, values)
            case "not_text":
                yield Problem("listing.control_characters", fault.path, {"field": field})
            case _:
                values = {"field": field, "found": fault.found}
                yield Problem("card.bound", fault.path, values)


def _sector_needs(draft: Draft) -> Iterator[Problem]:
    sectors = tuple(one for one in draft.sectors if one in SECTORS_WITH_RISK)
    for field in needed_for_sector(draft):
        yield Problem("listing.sector_needs", field, {"sector": sectors[0], "field": field})


def _checklist(draft: Draft) -> Iterator[Problem]:
    answers = dict(zip(CHECKLIST, draft.card.checklist, strict=False))
    for point in _FINAL_ANSWERS:
        if answers.get(point) == "no":
            yield Problem("checklist.refused", f"card.checklist.{point}", {"point": point})
    if draft.card.ai_act.no_prohibited_use is False:
        values = {"point": "no_prohibited_use"}
        yield Problem("checklist.refused", "card.ai_act.no_prohibited_use", values)
    for answer, code in (("no", "checklist.no"), ("not_stated", "checklist.open")):
        points = tuple(
            point
            for point, given in answers.items()
            if given == answer and not (answer == "no" and point in _FINAL_ANSWERS)
        )
        if points:
            yield Problem(code, "card.checklist", {"point": points}, is_warning=True)


# --- what every field can have wrong ----------------------------------------------------------


def _missing(field: str) -> Problem:
    return Problem("listing.missing", field, {"field": field})


def _too_long(field: str, found: int, most: int) -> Problem:
    bare = re.sub(r"\[[0-9]+\]", "", field)
    return Problem("listing.too_long", field, {"field": bare, "found": found, "most": most})


def _text(field: str, text: str, most: int, *, is_multiline: bool = True) -> Iterator[Problem]:
    if len(text) > most:
        yield _too_long(field, len(text), most)
    has_surrogate = any("\ud800" <= character <= "\udfff" for character in text)
    if has_surrogate or not is_text(text, multiline=is_multiline):
        bare = re.sub(r"\[[0-9]+\]", "", field)
        yield Problem("listing.control_characters", field, {"field": bare})


def _name(field: str, kind: str, name: str) -> Iterator[Problem]:
    """Look at the name of a tier or a term of the price; ``kind`` is its word."""
    if not name.strip():
        yield Problem("listing.missing", field, {"field": kind})
    yield from _text(field, plain_text(name), TIER_NAME_CHARACTERS_MAX, is_multiline=False)


def _count(field: str, values: Sequence[object], most: int) -> Iterator[Problem]:
    if len(values) > most:
        found = {"field": field, "found": len(values), "most": most}
        yield Problem("listing.too_many", field, found)
    twice = [value for number, value in enumerate(values) if value in values[:number]]
    if twice:
        yield Problem("listing.twice", field, {"field": field, "found": _quoted(twice[0])})


def _keys(field: str, keys: tuple[bytes, ...], most: int) -> Iterator[Problem]:
    yield from _count(field, keys, most)
    for number, key in enumerate(keys):
        if len(key) != _KEY_SIZE_BYTES:
            values = {"field": field, "found": len(key), "expected": _KEY_SIZE_BYTES}
            yield Problem("listing.key_size", f"{field}[{number}]", values)


def _money(draft: Draft, field: str, text: str, *, is_adjustment: bool = False) -> Problem | None:
    try:
        parse_money(text, draft.currency, is_adjustment=is_adjustment)
    except BadMoney as error:
        return Problem(error.code, field, error.values)
    except UnknownCurrency:
        # The currency is said once; of the amount, what is wrong in any currency.
        return _money_anyway(draft, field, text, is_adjustment=is_adjustment)
    return None


def _money_anyway(draft: Draft, field: str, text: str, *, is_adjustment: bool) -> Problem | None:
    try:
        parse_money(text, _FINEST_CURRENCY, is_adjustment=is_adjustment)
    except WrongDecimals:
        return None
    except BadMoney as error:
        values = {**error.values}
        if "currency" in values:
            values["currency"] = _quoted(draft.currency)
        return Problem(error.code, field, values)
    return None


def _quoted(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
    return value
