"""The terms of a licence as a matrix that programs can compare.

* A right is 0 (no), 1 (yes) or 2 (yes, on the condition of a clause of the text, whose
  number stands in ``clauses``).
* The matrix sums up, the text binds: ``text_hash`` says which text.
* A fixed set of fields: what both sides sign must mean the same to both programs.
* A tier in a Release is a map of four keys.  What it ``adds`` to the price, in minor units
  of the price's currency, is one more term of the price and may be negative.

Which templates there are, and what a base model's licence allows, is decided in
``hanse.core.trade``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.errors import BadShape
from hanse.core.limits import (
    CARD_LINE_CHARACTERS_MAX,
    LICENCE_CLAUSES_MAX,
    LICENCE_ID_CHARACTERS_MAX,
    LICENCE_TERM_DAYS_MAX,
    LISTING_TAG_CHARACTERS_MAX,
    MONEY_AMOUNT_MAX,
    TIER_NAME_CHARACTERS_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Right = Literal[0, 1, 2]
RightName = Literal[
    "commercial",
    "internal",
    "research",
    "saas",
    "redistribute_weights",
    "derivatives",
    "fine_tune",
    "distil",
    "resale",
]
USES: Final[tuple[RightName, ...]] = ("commercial", "internal", "research", "saas")
RIGHTS: Final[tuple[RightName, ...]] = (
    *USES,
    "redistribute_weights",
    "derivatives",
    "fine_tune",
    "distil",
    "resale",
)

CONDITIONAL: Final = 2

Days = Annotated[int, msgspec.Meta(ge=0, le=LICENCE_TERM_DAYS_MAX)]
Clause = Annotated[int, msgspec.Meta(ge=1, le=LICENCE_CLAUSES_MAX)]
Places = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
FieldTag = Annotated[str, msgspec.Meta(min_length=1, max_length=LISTING_TAG_CHARACTERS_MAX)]
Country = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]  # ISO 3166-1


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one licence grants; ``spdx`` is an SPDX expression or a LicenseRef.

    ``seats`` and ``devices`` 0 are unlimited, ``term_days`` 0 is perpetual, empty
    ``territories`` are the world.  ``liability_cap_pct`` is a share of the price.
    """

    spdx: Annotated[str, msgspec.Meta(min_length=1, max_length=LICENCE_ID_CHARACTERS_MAX)]
    text_hash: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    commercial: Right
    internal: Right
    research: Right
    saas: Right
    redistribute_weights: Right
    derivatives: Right
    fine_tune: Right
    distil: Right
    resale: Right
    clauses: dict[RightName, Clause] = {}
    outputs: Literal["licensee", "licensor", "nobody"] = "licensee"
    attribution: bool = False
    fields_denied: Annotated[tuple[FieldTag, ...], msgspec.Meta(max_length=16)] = ()
    territories: Annotated[tuple[Country, ...], msgspec.Meta(max_length=64)] = ()
    seats: Places = 0
    devices: Places = 0
    term_days: Days = 0
    upgrades: Literal["none", "patch", "minor", "all"] = "none"
    upgrades_until: Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None = None  # ms
    support_days: Days = 0
    warranty_days: Days = 30
    liability_cap_pct: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    transfer: Literal["none", "once"] = "none"
    law: Country | None = None
    export_note: Annotated[str, msgspec.Meta(max_length=CARD_LINE_CHARACTERS_MAX)] = ""

    def right(self, name: RightName) -> Right:
        """Return what is said of one use or right."""
        value: Right = getattr(self, name)
        return value


@dataclass(frozen=True, slots=True)
class Tier:
    """One licence a Release is offered under, and what it adds to the price (minor units)."""

    name: str
    terms: Terms
    adds: int


class _TierMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tier as it stands in ``release/1``."""

    v: Literal[1]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=TIER_NAME_CHARACTERS_MAX)]
    terms: Terms
    adds: Annotated[int, msgspec.Meta(ge=-MONEY_AMOUNT_MAX, le=MONEY_AMOUNT_MAX)]


def tier_map(terms: Terms, name: str, adds: int) -> dict[str, object]:
    """Write a tier as ``release/1`` holds it; ``adds`` is in minor units."""
    plain: dict[str, object] = msgspec.to_builtins(terms, builtin_types=(bytes,))
    # Lists, as they come back out of a Body: what is previewed equals what is read.
    listed = {key: list(one) if isinstance(one, tuple) else one for key, one in plain.items()}
    return {"v": 1, "name": name, "terms": listed, "adds": adds}


def read_tier(held: Mapping[str, object]) -> Tier:
    """Read a tier out of a ``release/1``, or raise ``BadShape``."""
    try:
        read = msgspec.convert(dict(held), _TierMap, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise BadShape(f"tier: {error}") from error
    if fault := terms_fault(read.terms):
        raise BadShape(f"tier {read.name}: {fault}")
    return Tier(read.name, read.terms, read.adds)


def terms_fault(terms: Terms) -> str | None:
    """Say which right and clause do not go together, or None."""
    for name in RIGHTS:
        is_conditional = terms.right(name) == CONDITIONAL
        if is_conditional and name not in terms.clauses:
            return f"{name} is conditional, and no clause is named"
        if not is_conditional and name in terms.clauses:
            return f"{name} is not conditional, and clause {terms.clauses[name]} is named"
    return None
