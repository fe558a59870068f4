"""A Draft of what is published already: to amend a Listing, or to give it a new Release.

* It says what the newest Entries say, so that signing it unchanged would say it again.
* A Listing of somebody else is never a Draft of ours.

What may be changed is ``hanse.core.market.listings``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from hanse.core.errors import RejectedEntry, WrongUse
from hanse.core.ledger.kinds import Listing1, Price1, Release1, parse_body
from hanse.core.market.card_codec import read_card
from hanse.core.market.currencies import plain_amount
from hanse.core.market.facets import asked_minor
from hanse.core.market.listing_bodies import named_terms
from hanse.core.market.listings import total_money, version_order
from hanse.core.model.card import ModelCard
from hanse.core.model.ids import EntryId
from hanse.core.model.licence import CONDITIONAL, Terms, Tier, read_tier
from hanse.core.model.listing import Draft, PriceTerm, TierDraft
from hanse.core.model.money import Money

if TYPE_CHECKING:
    from hanse.core.engine.content import Content
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.listings import ListingRow, PriceRow, ReleaseRow
    from hanse.core.store.unit_of_work import Repositories

B = TypeVar("B", Listing1, Release1, Price1)
SUCCESSOR: Final = "successor"  # in ``prefs``: the Listing that takes the place of one
_YES: Final = 1


class UnknownListing(WrongUse):
    """No Listing with this id is held."""

    code = "listing.unknown"
    text = "no listing {listing} is held here"
    fields = ("listing",)


class NotYourListing(WrongUse):
    """The Listing is another Identity's."""

    code = "listing.not_yours"
    text = "listing {listing} is of {identity}"
    fields = ("listing", "identity")


@dataclass(frozen=True, slots=True)
class HeldListing:
    """The Bodies that make up a Listing now, each with its Entry id; newest full Release."""

    listing_id: bytes
    identity: IdentityId
    listing: Listing1
    release_id: bytes | None
    release: Release1 | None
    price_id: bytes | None
    price: Price1 | None


def held_listing(held: Repositories, listing: bytes) -> HeldListing:
    """Read the Bodies of a Listing, or raise ``UnknownListing``."""
    row = held.listings.get(EntryId(listing))
    if row is None:
        raise UnknownListing(listing=listing)
    release = row.newest_release
    price = _price_of(row, release)
    return HeldListing(
        listing_id=listing,
        identity=row.identity,
        listing=_body(held, row.entry, Listing1),
        release_id=None if release is None else release.release,
        release=None if release is None else _body(held, release.release, Release1),
        price_id=None if price is None else price.price,
        price=None if price is None else _body(held, price.price, Price1),
    )


def own_listing(held: Repositories, identity: IdentityId, listing: bytes) -> HeldListing:
    """Read a Listing of ours, or raise ``UnknownListing`` or ``NotYourListing``."""
    found = held_listing(held, listing)
    if found.identity != identity:
        raise NotYourListing(listing=listing, identity=found.identity)
    return found


def draft_of(found: HeldListing, content: Content) -> Draft:
    """Write a Listing back as the Draft it could have come from."""
    words = found.listing
    draft = Draft(
        title=words.title,
        summary=words.summary,
        text=words.text,
        lang=words.lang,
        tags=words.tags,
        sectors=words.sectors,
        task=words.task,
        valid_until=words.valid_until,
        capacity=words.capacity,
        mediators=words.mediators,
        prefs=words.prefs,
        media=words.media,
        listing=found.listing_id,
    )
    if found.price is not None:
        draft = _with_price(draft, found.price)
    if found.release is not None:
        draft = _with_release(draft, found.release, found.price, content)
    return draft


def next_release(draft: Draft, release_id: bytes | None) -> Draft:
    """Turn the Draft of a Listing into that of its next Release: without model, version raised."""
    return msgspec.structs.replace(
        draft,
        version=next_version(draft.version),
        notes="",
        supersedes=release_id,
        artifact=None,
        size=0,
        files=0,
        formats=(),
        facts=(),
        parity=None,
        made_from=None,
    )


def next_version(version: str) -> str:
    """Return the next minor version: 1.2.3 goes on as 1.3.0; another form gets ``-next``."""
    order = version_order(version)
    if order is None:
        return f"{version}-next"
    major, minor, _, _ = order
    return f"{major}.{minor + 1}.0"


def gives_in_the_clear(draft: Draft) -> bool:
    """Say whether anybody gets the model unsealed: it is free, and may be passed on.

    A free model whose licence forbids passing it on is sealed like any other, since its
    Licence is still granted one buyer at a time.  A Trial edition is there to be run by anybody,
    whatever the model costs that it is of.
    """
    if draft.edition == "trial":
        return True
    if total_money(draft).amount != 0 or not draft.tiers:
        return False
    return all(
        not tier.price.strip().strip("0.") and _may_be_passed_on(tier.terms) for tier in draft.tiers
    )


def _may_be_passed_on(terms: Terms) -> bool:
    """Say whether anybody may; what a public licence asks for is asked of who passes it on."""
    is_public = not terms.spdx.startswith("LicenseRef-")
    right = terms.redistribute_weights
    return right == _YES or (right == CONDITIONAL and is_public)


def differs(old: Listing1 | Price1, new: Listing1 | Price1) -> bool:
    """Say whether ``new`` says anything else than ``old``; salts say nothing."""
    return msgspec.structs.replace(new, salt=old.salt, listing=old.listing) != old


def readable_tiers(release: ReleaseRow) -> tuple[Tier, ...]:
    """Return the licences of a Release that this program understands."""
    found = []
    for held in release.tiers:
        try:
            found.append(read_tier(held))
        except RejectedEntry:
            continue  # of a newer Hanse, or of no meaning
    return tuple(found)


def _with_price(draft: Draft, price: Price1) -> Draft:
    currency, exponent = price.amount.currency, price.amount.exponent
    named = tuple(
        PriceTerm(name=name, amount=plain_amount(Money(amount, currency, exponent)))
        for name, amount in named_terms(price.params)
    )
    return msgspec.structs.replace(
        draft, price=plain_amount(price.amount), currency=currency, price_terms=named
    )


def _with_release(draft: Draft, release: Release1, price: Price1 | None, content: Content) -> Draft:
    card = _card(release.card, content)
    total = None if price is None else total_of(price)
    tiers = []
    for held in release.tiers:
        try:
            tier = read_tier(held)
        except RejectedEntry:
            continue  # of a newer Hanse, or of no meaning; ours can be read
        text = content.small.get(tier.terms.text_hash)
        tiers.append(
            TierDraft(
                name=tier.name,
                terms=tier.terms,
                price=_tier_price(total, tier.adds),
                text="" if text is None else text.decode(errors="replace"),
            )
        )
    return msgspec.structs.replace(
        draft,
        version=release.version,
        notes=release.notes,
        tiers=tuple(tiers),
        card=card,
        artifact=release.artifact,
        size=release.size,
        files=release.files,
        formats=release.formats,
        edition=release.edition,
        of=release.of,
        supersedes=release.supersedes,
        parity=card.parity,
        made_from=card.made_from,
    )


def total_of(price: Price1 | PriceRow) -> Money:
    """Return what a price comes to, in the currency and decimals it was signed with."""
    base = price.amount
    asked = asked_minor(price.mode, base.amount, (price.floor, price.ceil), price.params)
    return Money(asked, base.currency, base.exponent)


def _tier_price(total: Money | None, adds: int) -> str:
    if total is None or adds == 0:
        return ""
    return plain_amount(Money(total.amount + adds, total.currency, total.exponent))


def _card(digest: bytes, content: Content) -> ModelCard:
    raw = content.small.get(digest)
    try:
        return ModelCard() if raw is None else read_card(raw)
    except RejectedEntry:
        return ModelCard()  # a stranger may sign the hash of anything


def _price_of(row: ListingRow, release: ReleaseRow | None) -> PriceRow | None:
    if release is not None:
        return row.price_of(release.release)
    return row.prices[0] if row.prices else None


def _body(held: Repositories, entry_id: bytes, kind: type[B]) -> B:
    stored = held.feeds.find(EntryId(entry_id))
    assert stored is not None
    assert stored.entry.body is not None
    body = parse_body(stored.entry.kind, stored.entry.body)
    assert isinstance(body, kind)
    return body
