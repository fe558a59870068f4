"""A Draft: everything a seller has typed and the program has found, before it is signed.

* A Draft may be wrong.  Text stands as it was typed, amounts too (``"12.345"``), so that
  every problem can be shown beside its field, all at once, by ``hanse.core.market``.
* It never changes: the next version is made with ``msgspec.structs.replace``.
* A field left out means "not stated", or the default a Listing has.
* What the file shows (Artifact, size, formats, facts) stands apart from what was typed.

Whether it may be published is decided in ``hanse.core.market.listings``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hanse.core.limits import (
    ARTIFACT_FILES_MAX,
    ARTIFACT_SIZE_BYTES_MAX,
    DRAFT_ROWS_MAX,
    DRAFT_TEXT_CHARACTERS_MAX,
    LICENCE_TEXT_CHARACTERS_MAX,
)
from hanse.core.model.artifact import ModelFacts, Parity
from hanse.core.model.card import Digest, ModelCard
from hanse.core.model.licence import Terms

Typed = Annotated[str, msgspec.Meta(max_length=DRAFT_TEXT_CHARACTERS_MAX)]
TypedList = Annotated[tuple[Typed, ...], msgspec.Meta(max_length=DRAFT_ROWS_MAX)]
TrialMode = Literal["open", "sealed", "answers"]


class PriceTerm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named adjustment of a fixed price, such as a launch reduction of "-10.00"."""

    name: Typed
    amount: Typed


class TierDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One licence a buyer may choose: its terms and, as typed, what it costs.

    An empty ``price`` is the price of the Listing.  ``text`` is the seller's own licence
    text where ``terms`` is of no template.
    """

    name: Typed
    terms: Terms
    price: Typed = ""
    text: Annotated[str, msgspec.Meta(max_length=LICENCE_TEXT_CHARACTERS_MAX)] = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Listing with one Release and its price, on the way to being signed.

    ``price`` is in major units as typed; ``valid_until`` ``None`` takes the default.
    ``listing`` names the Listing that is amended or gets a new Release, ``supersedes``
    the Release before.  ``guessed`` names the fields that were suggested and not typed;
    ``untested`` says that the seller lists the model without running it here, at Level 0.
    """

    v: Literal[1] = 1
    # What is typed.
    title: Typed = ""
    summary: Typed = ""
    text: Typed = ""
    lang: Typed = "en"
    tags: TypedList = ()
    sectors: TypedList = ()
    task: Typed = ""
    version: Typed = "1.0.0"
    notes: Typed = ""
    price: Typed = ""
    currency: Typed = "USD"
    price_terms: Annotated[tuple[PriceTerm, ...], msgspec.Meta(max_length=DRAFT_ROWS_MAX)] = ()
    tiers: Annotated[tuple[TierDraft, ...], msgspec.Meta(max_length=DRAFT_ROWS_MAX)] = ()
    card: ModelCard = ModelCard()
    valid_until: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)] | None = None  # ms
    capacity: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)] | None = None
    mediators: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=DRAFT_ROWS_MAX)] = ()
    prefs: dict[str, object] = {}
    media: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=DRAFT_ROWS_MAX)] = ()
    # What it continues.
    listing: Digest | None = None
    supersedes: Digest | None = None
    edition: Literal["full", "trial"] = "full"
    of: Digest | None = None
    untested: bool = False
    # What the file shows.
    artifact: Digest | None = None
    size: Annotated[int, msgspec.Meta(ge=0, le=ARTIFACT_SIZE_BYTES_MAX)] = 0
    files: Annotated[int, msgspec.Meta(ge=0, le=ARTIFACT_FILES_MAX)] = 0
    formats: TypedList = ()
    facts: Annotated[tuple[ModelFacts, ...], msgspec.Meta(max_length=64)] = ()
    parity: Parity | None = None
    made_from: Digest | None = None
    guessed: TypedList = ()

    @property
    def trials(self) -> tuple[TrialMode, ...]:
        """Return the ways to try that the card switches on."""
        ways = self.card.trial
        switched: tuple[tuple[TrialMode, object], ...] = (
            ("open", ways.open),
            ("sealed", ways.sealed_local),
            ("answers", ways.signed_answers),
        )
        return tuple(mode for mode, way in switched if way is not None)

    @property
    def base(self) -> tuple[bytes, ...]:
        """Return the Releases this model was made from, each once."""
        named = (base.release for base in self.card.lineage.base_models)
        return tuple(dict.fromkeys(release for release in named if release is not None))
