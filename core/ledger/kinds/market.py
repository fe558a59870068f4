"""Bodies of what is offered, wanted, priced and judged: ``ledger.md`` 3.1, ``market.md``.

Maps that another part owns (``prefs``, ``need``, ``params``, tiers) are open
here: bounded in size, their content is that part's to read.
"""

from typing import Annotated, ClassVar, Literal

import msgspec

from hanse.core.errors import BadShape
from hanse.core.ledger.kinds.fields import (
    Count,
    FactBytes,
    Hash,
    Id,
    Key,
    Lang,
    Minor,
    Ms,
    Nonce,
    Number,
    OpenMap,
    PublicBody,
    Seal,
    Sectors,
    ShortTag,
    Sig,
    State,
    Tag,
    Title,
    check_fact,
    check_price,
    check_sorted,
)
from hanse.core.limits import (
    ARTIFACT_FILES_MAX,
    ARTIFACT_SIZE_BYTES_MAX,
    MONEY_AMOUNT_MAX,
    RENEWED_MAX,
)
from hanse.core.model.money import Money

Factor = Literal["need", "metric", "price", "level", "reputation", "headroom", "delivery"]
AspectName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z_]{0,39}\Z")]
Rating = Annotated[int, msgspec.Meta(ge=1, le=10)]
ShortTags = Annotated[tuple[ShortTag, ...], msgspec.Meta(max_length=8)]
Text5000 = Annotated[str, msgspec.Meta(max_length=5000)]
Text200 = Annotated[str, msgspec.Meta(max_length=200)]


class Listing1(PublicBody, frozen=True, kw_only=True):
    """A Listing; its id is that of its first Entry (``listing`` null), which later ones name."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"summary", "text"})
    SETS: ClassVar[frozenset[str]] = frozenset(
        {"sectors", "tags", "concepts", "trials", "mediators", "media"}
    )

    listing: Id | None
    title: Title
    summary: Annotated[str, msgspec.Meta(max_length=500)]
    text: Annotated[str, msgspec.Meta(max_length=16_000)]
    lang: Lang
    task: Tag
    sectors: Sectors
    tags: Annotated[tuple[Tag, ...], msgspec.Meta(max_length=16)]
    concepts: Annotated[tuple[Tag, ...], msgspec.Meta(max_length=24)]
    trials: tuple[Literal["open", "sealed", "answers"], ...]
    prefs: OpenMap
    capacity: Number | None
    mediators: Annotated[tuple[Key, ...], msgspec.Meta(max_length=8)]
    valid_until: Ms
    state: State
    media: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=8)]


class Release1(PublicBody, frozen=True, kw_only=True):
    """One Release; ``files`` is the signed number of files that every Proof rests on."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"notes"})
    SETS: ClassVar[frozenset[str]] = frozenset({"formats", "base"})

    listing: Id
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    artifact: Hash
    size: Annotated[int, msgspec.Meta(ge=1, le=ARTIFACT_SIZE_BYTES_MAX)]
    files: Annotated[int, msgspec.Meta(ge=1, le=ARTIFACT_FILES_MAX)]
    formats: ShortTags
    edition: Literal["full", "trial"]
    of: Id | None
    seal: Seal | None
    tiers: Annotated[tuple[OpenMap, ...], msgspec.Meta(max_length=8)]
    card: Hash
    base: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=8)]
    notes: Text5000
    supersedes: Id | None

    def check(self) -> None:
        """Refuse a full edition *of* something, and a seal over another Artifact."""
        if self.edition == "full" and self.of is not None:
            raise BadShape("a full edition is of nothing else - at `$.of`")
        if self.seal is not None and self.seal.manifests[0] != self.artifact:
            raise BadShape("the sealed manifest is not the artifact's - at `$.seal.manifests`")


class Price1(PublicBody, frozen=True, kw_only=True):
    """The price policy of a Listing or one Release of it."""

    SETS: ClassVar[frozenset[str]] = frozenset({"anchors"})

    listing: Id
    release: Id | None
    mode: Literal["fixed", "signals", "rfq"]
    amount: Money
    floor: Minor
    ceil: Minor
    tick: Annotated[int, msgspec.Meta(ge=1, le=MONEY_AMOUNT_MAX)]
    params: OpenMap
    anchors: Annotated[tuple[Key, ...], msgspec.Meta(max_length=16)]

    def check(self) -> None:
        """Refuse a base price outside its own bounds."""
        check_price("amount", self.amount)
        if not self.floor <= self.amount.amount <= self.ceil:
            raise BadShape(
                f"{self.amount.amount} is not within {self.floor} to {self.ceil} - at `$.amount`"
            )


class Epoch1(PublicBody, frozen=True, kw_only=True):
    """The price facts of one closed epoch, the facts sorted by id."""

    price: Id
    epoch: Count
    asked_milli: Minor
    paid: Count
    facts: Annotated[tuple[Id, ...], msgspec.Meta(max_length=512)]
    amount: Money

    def check(self) -> None:
        """Refuse more paid sales than facts."""
        check_price("amount", self.amount)
        check_sorted("facts", self.facts)
        if self.paid > len(self.facts):
            raise BadShape(f"{self.paid} paid of {len(self.facts)} facts - at `$.paid`")


class Sale1(PublicBody, frozen=True, kw_only=True):
    """A sale shown in public, co-signed by its anonymous rating key."""

    fact: FactBytes
    rating_sig: Sig

    def check(self) -> None:
        """Refuse bytes that are no sale fact."""
        check_fact("fact", self.fact)


class Demand1(PublicBody, frozen=True, kw_only=True):
    """What a buyer looks for; ``amount`` is the most he pays."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"text"})
    SETS: ClassVar[frozenset[str]] = frozenset({"sectors"})

    demand: Id | None
    title: Title
    text: Text5000
    task: Tag
    sectors: Sectors
    need: OpenMap
    weights: dict[Factor, Annotated[int, msgspec.Meta(ge=0, le=100)]]
    amount: Money
    valid_until: Ms
    state: State

    def check(self) -> None:
        """Refuse an amount below zero."""
        check_price("amount", self.amount)


class Offer1(PublicBody, frozen=True, kw_only=True):
    """A public binding bid for one Demand."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"note"})

    demand: Id
    listing: Id
    release: Id | None
    amount: Money
    expires: Ms
    note: Annotated[str, msgspec.Meta(max_length=1000)]

    def check(self) -> None:
        """Refuse an amount below zero."""
        check_price("amount", self.amount)


class Review1(PublicBody, frozen=True, kw_only=True):
    """A buyer's Rating of one sale, in his own Feed."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"text"})

    fact: FactBytes
    seller_sig: Sig
    claim_sig: Sig
    receipt: Id | None
    nonce: Nonce | None
    rating: Rating
    aspects: Annotated[dict[AspectName, Rating], msgspec.Meta(max_length=8)]
    text: Text5000
    supersedes: Id | None
    withdrawn: bool

    def check(self) -> None:
        """Refuse half a proof of sale, and a withdrawal of nothing."""
        check_fact("fact", self.fact)
        if (self.receipt is None) != (self.nonce is None):
            raise BadShape("receipt and nonce go together - at `$.nonce`")
        if self.withdrawn and self.supersedes is None:
            raise BadShape("it withdraws nothing - at `$.withdrawn`")


class Reply1(PublicBody, frozen=True, kw_only=True):
    """An answer to a Review, Label or human review; it changes no Score."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"text"})

    to: Id
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class Renew1(PublicBody, frozen=True, kw_only=True):
    """Extends the validity of Listings and Demands."""

    SETS: ClassVar[frozenset[str]] = frozenset({"of"})

    of: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=RENEWED_MAX)]
    until: Ms


class LicenceRevoke1(PublicBody, frozen=True, kw_only=True):
    """Says that a Licence no longer stands, and by which Step."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"reason"})

    licence: Nonce | None
    unlock: Id
    reason: Text200


class Mediator1(PublicBody, frozen=True, kw_only=True):
    """On which terms its Author mediates."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"text"})
    SETS: ClassVar[frozenset[str]] = frozenset({"classes", "langs", "rails"})

    fee: Money | None
    fee_bp: Annotated[int, msgspec.Meta(ge=0, le=10_000)]
    hours: Annotated[int, msgspec.Meta(ge=1, le=8760)]
    classes: ShortTags
    langs: Annotated[tuple[Lang, ...], msgspec.Meta(max_length=8)]
    rails: ShortTags
    holds_keys: bool
    text: Annotated[str, msgspec.Meta(max_length=2000)]

    def check(self) -> None:
        """Refuse a fee below zero."""
        check_price("fee", self.fee)
