"""By which values Listings are counted and filtered, and how they are told from a Listing.

* A value is a short word in lower case that never changes: ``finance``, ``usd:lt100``.
  Unlike currencies share no price band.
* A band is the decimal magnitude of a number.
* Tiers and the terms of a price are open maps from anybody: what does not fit is passed
  over.

What the words are called in which language is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.errors import BadShape
from hanse.core.limits import MONEY_AMOUNT_MAX
from hanse.core.market.listing_bodies import named_terms
from hanse.core.model.licence import RIGHTS, Tier, read_tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Facet = Literal[
    "task",
    "sector",
    "format",
    "framework",
    "licence",
    "right",
    "trial",
    "level",
    "lang",
    "state",
    "price_band",
    "size_band",
]
FACETS: Final[tuple[Facet, ...]] = (
    "task",
    "sector",
    "format",
    "framework",
    "licence",
    "right",
    "trial",
    "level",
    "lang",
    "state",
    "price_band",
    "size_band",
)

_PRICE_BANDS: Final = (
    (0, "free"),
    (10, "lt10"),
    (100, "lt100"),
    (1_000, "lt1k"),
    (10_000, "lt10k"),
)
_PRICE_ABOVE: Final = "more"
_PRICE_ON_REQUEST: Final = "ask"
_SIZE_BANDS: Final = (
    (10**6, "lt1mb"),
    (10**7, "lt10mb"),
    (10**8, "lt100mb"),
    (10**9, "lt1gb"),
    (10**10, "lt10gb"),
)
_SIZE_ABOVE: Final = "more"
_MODE_FIXED: Final = "fixed"
_MICRO_DIGITS: Final = 6
_FRAMEWORK: Final = "framework."
# What a file's format says of where it came from, where the seller says nothing.
_FRAMEWORK_OF_FORMAT: Final = {
    "joblib": "sklearn",
    "keras": "keras",
    "keras_h5": "keras",
    "pt2": "pytorch",
    "pytorch": "pytorch",
    "savedmodel": "tensorflow",
    "skops": "sklearn",
    "tflite": "tensorflow",
    "torchscript": "pytorch",
}


@dataclass(frozen=True, slots=True)
class TierFacts:
    """What a catalogue says of a Release's tiers: the first one's licence, the lowest price.

    ``rights`` are those that any tier grants, with or without a condition.
    """

    licence: str | None
    rights: tuple[str, ...]
    lowest_minor: int


def price_band(amount_minor: int | None, currency: str, exponent: int) -> str:
    """Name the band of a price; ``None`` is a price on request."""
    if amount_minor is None:
        return _PRICE_ON_REQUEST
    unit = 10**exponent
    band = next(
        (word for below, word in _PRICE_BANDS if amount_minor < below * unit or amount_minor == 0),
        _PRICE_ABOVE,
    )
    return f"{currency.casefold()}:{band}"


def price_micro(amount_minor: int, exponent: int) -> int:
    """Return millionths of a major unit, rounded down: prices of unlike exponents compare."""
    shift = _MICRO_DIGITS - exponent
    micro = int(amount_minor * 10**shift if shift >= 0 else amount_minor // 10**-shift)
    return min(micro, MONEY_AMOUNT_MAX)


def size_band(size_bytes: int) -> str:
    """Name the band of a size."""
    return next((word for below, word in _SIZE_BANDS if size_bytes < below), _SIZE_ABOVE)


def frameworks(concepts: Iterable[str], formats: Iterable[str]) -> tuple[str, ...]:
    """Return the frameworks a seller names, or else those his formats are of, sorted."""
    named = {it.removeprefix(_FRAMEWORK) for it in concepts if it.startswith(_FRAMEWORK)}
    if not named:
        named = {_FRAMEWORK_OF_FORMAT[it] for it in formats if it in _FRAMEWORK_OF_FORMAT}
    return tuple(sorted(named))


def asked_minor(
    mode: str, amount: int, bounds: tuple[int, int], params: Mapping[str, object]
) -> int:
    """Return what a price comes to with its named terms: a fixed one, within its own bounds.

    All are minor units and stand in ``price/1``; ``bounds`` are its floor and ceil.
    """
    if mode != _MODE_FIXED:
        return amount
    floor, ceil = bounds
    added = sum(minor for _, minor in named_terms(params))
    return min(max(amount + added, floor), ceil)


def tier_facts(tiers: Iterable[Mapping[str, object]], minor: int) -> TierFacts:
    """Read tiers; ``minor`` is the price that each adds to."""
    read = [_tier(tier) for tier in tiers]
    known = [tier for tier in read if tier is not None]
    first = read[0] if read else None
    return TierFacts(
        licence=None if first is None else first.terms.spdx,
        rights=tuple(name for name in RIGHTS if any(tier.terms.right(name) for tier in known)),
        lowest_minor=max(0, minor + min((tier.adds for tier in known), default=0)),
    )


def _tier(held: Mapping[str, object]) -> Tier | None:
    try:
        return read_tier(held)
    except BadShape:
        return None
