"""Which Entries publishing a Draft comes to: Listing, Release, price, and its Certificate.

* A Listing and a price are written only where they say something new; the Release always.
* What was found when the model was tested is signed with the Release, in one transaction.
* Before anything is signed the card and the licence texts are on disk.

Whether the Draft may be published is decided before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.engine.redraft import differs, gives_in_the_clear, own_listing
from hanse.core.engine.signing import PlannedEntry
from hanse.core.market.card_codec import encode_card
from hanse.core.market.concepts import concepts
from hanse.core.market.listings import card_of, listing_body, price_body, release_body
from hanse.core.trade.terms import licence_text, template_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.gate import Gate
    from hanse.core.ledger.kinds import Body
    from hanse.core.model.ids import EntryId
    from hanse.core.model.listing import Draft


def plan_release(
    context: Context, content: Content, gate: Gate, draft: Draft
) -> tuple[PlannedEntry, ...]:
    """Say which Entries a Draft comes to; a Listing or price that says nothing new is left out."""
    assert draft.artifact is not None
    vocabulary = concepts()
    now_ms = context.clock.now_ms()
    card = content.small.put(encode_card(card_of(draft)))
    for tier in draft.tiers:
        known = template_of(tier.terms)
        text = licence_text(tier.text) if known is None else known.document
        content.small.put(text.encode())
    seal = None
    if not gives_in_the_clear(draft):
        with context.store.reads() as reads:
            sealing = content.sealing(reads, draft.artifact)
        assert sealing is not None
        seal = sealing.seal
    old = None
    if draft.listing is not None:
        with context.store.reads() as reads:
            old = own_listing(reads, context.identity, draft.listing)

    def make_listing(salt: bytes, _ids: Sequence[EntryId]) -> Body:
        return listing_body(draft, salt, now_ms=now_ms, vocabulary=vocabulary)

    def listing_of(ids: Sequence[EntryId]) -> bytes:
        return draft.listing or ids[0]

    def make_release(salt: bytes, ids: Sequence[EntryId]) -> Body:
        return release_body(draft, salt, listing=listing_of(ids), card=card, seal=seal)

    def make_price(salt: bytes, ids: Sequence[EntryId]) -> Body:
        return price_body(draft, salt, listing=listing_of(ids))

    def refs_listing(_ids: Sequence[EntryId]) -> Sequence[bytes]:
        return () if draft.listing is None else (draft.listing,)

    def refs_release(ids: Sequence[EntryId]) -> Sequence[bytes]:
        before = () if draft.supersedes is None else (draft.supersedes,)
        return (listing_of(ids), *before)

    def refs_price(ids: Sequence[EntryId]) -> Sequence[bytes]:
        return (listing_of(ids),)

    plan = [PlannedEntry(make_release, refs_release)]
    new_listing = listing_body(draft, bytes(16), now_ms=now_ms, vocabulary=vocabulary)
    if old is None or differs(old.listing, new_listing):
        plan.insert(0, PlannedEntry(make_listing, refs_listing))
    new_price = price_body(draft, bytes(16), listing=draft.listing or bytes(32))
    if old is None or old.price is None or differs(old.price, new_price):
        plan.append(PlannedEntry(make_price, refs_price))
    place = next(n for n, one in enumerate(plan) if one.make is make_release)
    with context.store.reads() as reads:
        certificate = gate.plan(reads, draft, card_of(draft), lambda ids: ids[place])
    if certificate is not None:
        plan.append(certificate)
    return tuple(plan)
