"""From a Draft to the Bodies that are signed, and the cleaning both sides of that share.

* ``cleaned`` is the Draft with what a person cannot mean taken out: text in NFC with plain
  newlines, a sector or task given by any of its names as its value.  Nothing else is
  changed, and what cannot be understood stays as it was typed.
* A Body is made only of a Draft without problems; ids, hashes, salts and the time are
  arguments.  What this module refuses, the Ledger would refuse too.
* The price of a Listing is ``base + named terms``; a tier adds to that.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.ledger.kinds import Listing1, Price1, Release1
from hanse.core.limits import (
    LISTING_CONCEPTS_MAX,
    LISTING_TAG_CHARACTERS_MAX,
    PRICE_TERMS_MAX,
)
from hanse.core.market.currencies import parse_money
from hanse.core.model.licence import tier_map
from hanse.core.model.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

    from hanse.core.ledger.kinds import Seal
    from hanse.core.market.concepts import Concepts
    from hanse.core.model.card import ModelCard
    from hanse.core.model.listing import Draft, TierDraft

NO_TASK: Final = "other"
LISTING_MS_USUAL: Final = 365 * 24 * 60 * 60 * 1000  # from the signature to valid_until
_FRAMEWORKS: Final = "framework"


def cleaned(draft: Draft, vocabulary: Concepts) -> Draft:
    """Return ``draft`` with its text normalised, and sectors and task by their values."""
    return msgspec.structs.replace(
        draft,
        title=plain_text(draft.title),
        summary=plain_text(draft.summary),
        text=plain_text(draft.text),
        notes=plain_text(draft.notes),
        version=draft.version.strip(),
        currency=draft.currency.strip().upper(),
        tags=tuple(plain_text(tag).strip() for tag in draft.tags),
        sectors=tuple(_value(vocabulary, sector, "sector") for sector in draft.sectors),
        task=_value(vocabulary, draft.task, "task"),
    )


def plain_text(text: str) -> str:
    """Return ``text`` in NFC with plain newlines, as the Ledger keeps it."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def card_of(draft: Draft) -> ModelCard:
    """Return the Model card as it is signed: with the language of the Draft and its Conversion."""
    return msgspec.structs.replace(
        draft.card,
        lang=draft.card.lang or draft.lang,
        made_from=draft.made_from,
        parity=draft.parity,
    )


def base_money(draft: Draft) -> Money:
    """Return the price as typed, without its named terms, or raise ``BadMoney``."""
    return parse_money(draft.price, draft.currency)


def total_money(draft: Draft) -> Money:
    """Return the price with its named terms: 100 and a launch term of -10 are 90."""
    base = base_money(draft)
    terms = (
        parse_money(term.amount, draft.currency, is_adjustment=True).amount
        for term in draft.price_terms
    )
    return Money(base.amount + sum(terms), base.currency, base.exponent)


def named_terms(params: Mapping[str, object]) -> tuple[tuple[str, int], ...]:
    """Read the named terms out of the ``params`` of a price: names and minor units.

    Anybody may write ``params``: what is no pair of a text and a whole number is passed over.
    """
    terms = params.get("terms")
    if not isinstance(terms, list | tuple):
        return ()
    return tuple(
        (term[0], term[1])
        for term in terms[:PRICE_TERMS_MAX]
        if isinstance(term, list | tuple)
        and len(term) == 2
        and type(term[0]) is str
        and type(term[1]) is int
    )


def tier_adds(draft: Draft, tier: TierDraft) -> int:
    """Return what ``tier`` adds to the price, in minor units, so that it costs what was typed."""
    if not tier.price.strip():
        return 0
    return parse_money(tier.price, draft.currency).amount - total_money(draft).amount


def listing_body(
    draft: Draft,
    salt: bytes,
    *,
    now_ms: int,
    vocabulary: Concepts,
    state: Literal["open", "paused", "withdrawn"] = "open",
) -> Listing1:
    """Make the Listing's Body; one without an end ends ``LISTING_MS_USUAL`` after ``now_ms``."""
    draft = cleaned(draft, vocabulary)
    until = draft.valid_until
    return Listing1(
        salt=salt,
        listing=draft.listing,
        title=draft.title,
        summary=draft.summary,
        text=draft.text,
        lang=draft.lang,
        task=draft.task or NO_TASK,
        sectors=draft.sectors,
        tags=draft.tags,
        concepts=concepts_of(draft, vocabulary),
        trials=draft.trials,
        prefs=draft.prefs,
        capacity=draft.capacity,
        mediators=draft.mediators,
        valid_until=now_ms + LISTING_MS_USUAL if until is None else until,
        state=state,
        media=draft.media,
    )


def release_body(
    draft: Draft,
    salt: bytes,
    *,
    listing: bytes,
    card: bytes,
    seal: Seal | None,
) -> Release1:
    """Make the Release's Body: ``card`` is the hash of the Model card, no ``seal`` is in clear."""
    assert draft.artifact is not None
    return Release1(
        salt=salt,
        listing=listing,
        version=draft.version.strip(),
        artifact=draft.artifact,
        size=draft.size,
        files=draft.files,
        formats=draft.formats,
        edition=draft.edition,
        of=draft.of,
        seal=seal,
        tiers=tuple(
            tier_map(tier.terms, plain_text(tier.name), tier_adds(draft, tier))
            for tier in draft.tiers
        ),
        card=card,
        base=draft.base,
        notes=plain_text(draft.notes),
        supersedes=draft.supersedes,
    )


def price_body(
    draft: Draft, salt: bytes, *, listing: bytes, release: bytes | None = None
) -> Price1:
    """Make the Body of a fixed price: the base, and its named terms in ``params``."""
    base, total = base_money(draft), total_money(draft)
    terms = [
        [
            plain_text(term.name),
            parse_money(term.amount, draft.currency, is_adjustment=True).amount,
        ]
        for term in draft.price_terms
    ]
    return Price1(
        salt=salt,
        listing=listing,
        release=release,
        mode="fixed",
        amount=base,
        floor=min(base.amount, total.amount),
        ceil=max(base.amount, total.amount),
        tick=1,
        params={"terms": terms} if terms else {},
        anchors=(),
    )


def concepts_of(draft: Draft, vocabulary: Concepts) -> tuple[str, ...]:
    """Return the Concepts a Listing is found by: stated ones first, then those it mentions."""
    known = (concept for concept in _concepts(draft, vocabulary) if vocabulary.get(concept))
    short = (concept for concept in known if len(concept) <= LISTING_TAG_CHARACTERS_MAX)
    return tuple(dict.fromkeys(short))[:LISTING_CONCEPTS_MAX]


def _concepts(draft: Draft, vocabulary: Concepts) -> Iterator[str]:
    yield from (f"sector.{sector}" for sector in draft.sectors)
    yield f"task.{draft.task or NO_TASK}"
    yield from (f"format.{one}" for one in draft.formats)
    for variant in draft.card.variants:
        if found := vocabulary.find(variant.framework, _FRAMEWORKS):
            yield found
    for text in (draft.title, *draft.tags, draft.summary, draft.text):
        yield from vocabulary.tokens(text)


def _value(vocabulary: Concepts, typed: str, group: str) -> str:
    found = vocabulary.find(typed, group) if typed.strip() else None
    return typed.strip() if found is None else found.partition(".")[2]
