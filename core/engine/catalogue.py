"""Finding and reading Listings: search, facets, one Listing whole, saved searches, follows.

* Everything is asked of what is held here; no network is needed.
* What is read of a Listing is what its Identity signed; its card may not be here yet.
* A saved search remembers up to where its person has looked.

Who is trusted, and what a rating is worth, is not known here yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hanse.core.artifacts.manifest import read_manifest
from hanse.core.engine.accounts import entry_view
from hanse.core.engine.naming import listing_named, release_named
from hanse.core.engine.redraft import SUCCESSOR, draft_of, held_listing, readable_tiers
from hanse.core.errors import Refused, RejectedEntry, WrongUse
from hanse.core.ledger.kinds import Follow1
from hanse.core.market.bom import BomFile, BomSubject, bom_json
from hanse.core.market.card_codec import read_card
from hanse.core.market.card_markdown import card_markdown
from hanse.core.market.catalogue_query import CatalogueQuery, Cursor
from hanse.core.market.claims import metric_changes
from hanse.core.market.completeness import Completeness, Gap, ai_act_gaps, completeness
from hanse.core.model.ids import EntryId, IdentityId, identity_text
from hanse.core.store.searches import SavedSearch, SavedSearchUnknown

if TYPE_CHECKING:
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.views import EntryView
    from hanse.core.market.catalogue_query import CatalogueRow, FacetCounts, Hits
    from hanse.core.market.claims import MetricChange
    from hanse.core.model.card import ModelCard
    from hanse.core.model.licence import Tier
    from hanse.core.store.listings import ListingRow, PriceRow, ReleaseRow
    from hanse.core.store.unit_of_work import Repositories

_PAGE: Final = 20
_SERIAL_SIZE_BYTES: Final = 16
Weight = Literal[0, 1, 3]


class NoRelease(Refused):
    """A Listing has nothing to export yet."""

    code = "listing.no_release"
    text = "listing {listing} has no release"
    fields = ("listing",)


class CardMissing(Refused):
    """The Model card of a Release is not held here, or is not what the Release names."""

    code = "listing.card_missing"
    text = "the model card of release {release} is not held here"
    fields = ("release",)


class FollowsItself(WrongUse):
    """An Identity needs not follow itself."""

    code = "follow.self"
    text = "{identity} is this account's own identity"
    fields = ("identity",)


@dataclass(frozen=True, slots=True)
class SellerName:
    """Whose a Listing is, by the newest Profile held."""

    identity: bytes
    name: str | None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of a search; ``next`` is handed back for the one after it."""

    rows: tuple[CatalogueRow, ...]
    sellers: dict[bytes, str | None]
    next: str | None
    count: int
    is_more: bool
    is_cut: bool


@dataclass(frozen=True, slots=True)
class ListingView:
    """A Listing whole: words, Releases with the newest last, prices, licences, card."""

    row: ListingRow
    seller: SellerName
    release: ReleaseRow | None
    price: PriceRow | None
    tiers: tuple[Tier, ...]
    card: ModelCard | None
    completeness: Completeness
    gaps: tuple[Gap, ...]
    successor: bytes | None
    is_own: bool
    is_expired: bool


@dataclass(frozen=True, slots=True)
class SavedView:
    """A saved search, and how many hits came or changed since its person looked."""

    name: str
    query: CatalogueQuery
    created_ms: int
    new: int


class Catalogue:
    """What somebody who looks for a model can do."""

    def __init__(self, context: Context, content: Content) -> None:
        """Bind the Account and its files."""
        self._context = context
        self._content = content

    # --- searching ---------------------------------------------------------------------------

    def search(
        self, query: CatalogueQuery, after: str | None = None, limit: int = _PAGE
    ) -> SearchPage:
        """Return one page; ``after`` is the ``next`` of the page before, of the same query."""
        cursor = None if after is None else Cursor.decode(after)
        now_ms = self._context.clock.now_ms()
        with self._context.store.reads() as reads:
            hits = reads.search.query(query, cursor, limit, now_ms=now_ms)
            return self._page(reads, hits)

    def facets(self, query: CatalogueQuery) -> FacetCounts:
        """Count the values of every facet among the hits."""
        with self._context.store.reads() as reads:
            return reads.search.facets(query, now_ms=self._context.clock.now_ms())

    def _page(self, held: Repositories, hits: Hits) -> SearchPage:
        sellers = {row.identity: _name(held, row.identity) for row in hits.rows}
        return SearchPage(
            rows=hits.rows,
            sellers=sellers,
            next=None if hits.next is None else hits.next.encode(),
            count=hits.count,
            is_more=hits.is_more,
            is_cut=hits.is_cut,
        )

    # --- one Listing -------------------------------------------------------------------------

    def listing_named(self, text: str) -> EntryId:
        """Return the Listing whose id begins with ``text``; raise what ``naming`` raises."""
        with self._context.store.reads() as reads:
            return listing_named(reads, text)

    def base_named(self, text: str) -> tuple[bytes, str]:
        """Return the Release whose id begins with ``text``, and the title of its Listing.

        The title is empty when all digits were given and it is not held here; otherwise
        what is wrong with ``text`` is raised as ``naming`` does.
        """
        with self._context.store.reads() as reads:
            found = release_named(reads, text)
            release = reads.listings.release(found)
            row = None if release is None else reads.listings.get(release.listing)
            return found, "" if row is None else row.title

    def show(self, listing: bytes) -> ListingView:
        """Read a Listing whole, or raise ``UnknownListing``."""
        with self._context.store.reads() as reads:
            found = held_listing(reads, listing)
            row = reads.listings.get(EntryId(listing))
            assert row is not None
            release = row.newest_release
            price = row.prices[0] if release is None and row.prices else None
            if release is not None:
                price = row.price_of(release.release)
            seller = SellerName(row.identity, _name(reads, row.identity))
        draft = draft_of(found, self._content)
        successor = row.prefs.get(SUCCESSOR)
        return ListingView(
            row=row,
            seller=seller,
            release=release,
            price=price,
            tiers=() if release is None else readable_tiers(release),
            card=None if release is None else self._card(release.card),
            completeness=completeness(draft),
            gaps=ai_act_gaps(draft),
            successor=successor if isinstance(successor, bytes) else None,
            is_own=row.identity == self._context.identity,
            is_expired=row.valid_until_ms <= self._context.clock.now_ms(),
        )

    def metric_changes(self, row: ListingRow) -> dict[bytes, tuple[MetricChange, ...]]:
        """Return by Release what its stated figures changed against the Release before.

        Only where both cards are held here; Trial editions are passed over.
        """
        full = [release for release in row.releases if release.edition == "full"]
        cards = [self._card(release.card) for release in full]
        changes = {}
        for before, after, release in zip(cards, cards[1:], full[1:], strict=False):
            if before is not None and after is not None:
                changes[bytes(release.release)] = metric_changes(before, after)
        return changes

    def own(self, limit: int = 200) -> tuple[ListingRow, ...]:
        """Return the Listings of this Account, the last changed first."""
        with self._context.store.reads() as reads:
            return tuple(reads.listings.of_identity(self._context.identity, limit=limit))

    def card_text(self, listing: bytes, language: str) -> str:
        """Write the Model card of the newest Release as Markdown."""
        with self._context.store.reads() as reads:
            found = held_listing(reads, listing)
        if found.release is None or found.release_id is None:
            raise NoRelease(listing=listing)
        if self._card(found.release.card) is None:
            raise CardMissing(release=found.release_id)
        return card_markdown(draft_of(found, self._content), language)

    def bom(self, listing: bytes) -> str:
        """Write the newest Release as a CycloneDX 1.6 ML-BOM."""
        with self._context.store.reads() as reads:
            found = held_listing(reads, listing)
            name = _name(reads, found.identity)
        if found.release is None or found.release_id is None:
            raise NoRelease(listing=listing)
        card = self._card(found.release.card)
        if card is None:
            raise CardMissing(release=found.release_id)
        raw = self._content.small.get(found.release.artifact)
        files = () if raw is None else read_manifest(raw).files
        identity = identity_text(found.identity)
        subject = BomSubject(
            listing=found.listing,
            release=found.release,
            card=card,
            listing_id=listing,
            release_id=found.release_id,
            supplier=name or identity,
            identity=identity,
            files=tuple(BomFile(file.path, file.size, file.sha256) for file in files),
        )
        serial = self._context.chance.bytes(_SERIAL_SIZE_BYTES)
        return bom_json(subject, time_ms=self._context.clock.now_ms(), serial=serial)

    def _card(self, digest: bytes) -> ModelCard | None:
        raw = self._content.small.get(digest)
        if raw is None:
            return None
        try:
            return read_card(raw)
        except RejectedEntry:
            return None  # the seller signed the hash of something else

    # --- saved searches ----------------------------------------------------------------------

    def save(self, name: str, query: CatalogueQuery) -> None:
        """Keep a search under a name; what it finds now counts as seen."""
        query.check()
        with self._context.store.unit_of_work() as uow:
            uow.saved_searches.put(
                SavedSearch(
                    name=name,
                    query=msgspec.json.encode(query).decode(),
                    created_ms=self._context.clock.now_ms(),
                    seen_n=uow.catalogue.newest_n(),
                )
            )
            uow.commit()

    def saved(self) -> tuple[SavedView, ...]:
        """Return every saved search with how much is new."""
        now_ms = self._context.clock.now_ms()
        with self._context.store.reads() as reads:
            found = []
            for one in reads.saved_searches.all():
                query = msgspec.json.decode(one.query, type=CatalogueQuery)
                new = reads.search.count_since(query, one.seen_n, now_ms=now_ms)
                found.append(SavedView(one.name, query, one.created_ms, new))
        return tuple(found)

    def look(self, name: str) -> CatalogueQuery:
        """Return a saved search and note that its person looks now."""
        with self._context.store.unit_of_work() as uow:
            one = uow.saved_searches.get(name)
            if one is None:
                raise SavedSearchUnknown(name=name)
            uow.saved_searches.seen(name, uow.catalogue.newest_n())
            uow.commit()
        return msgspec.json.decode(one.query, type=CatalogueQuery)

    def forget(self, name: str) -> None:
        """Drop a saved search."""
        with self._context.store.unit_of_work() as uow:
            uow.saved_searches.drop(name)
            uow.commit()

    # --- follows -----------------------------------------------------------------------------

    def follow(self, identity: IdentityId, weight: Weight) -> EntryView:
        """Say in public: follows (1), vouches for (3), or follows no longer (0)."""
        context = self._context
        if identity == context.identity:
            raise FollowsItself(identity=identity)
        with context.store.unit_of_work() as uow:
            body = Follow1(salt=context.body_salt(), identity=identity, weight=weight)
            entry = context.append_own(uow, body)
            uow.commit()
        return entry_view(entry, context.identity)

    def followed(self) -> tuple[tuple[SellerName, int], ...]:
        """Return whom this Identity follows, with the weight of each."""
        with self._context.store.reads() as reads:
            return tuple(
                (SellerName(row.target, _name(reads, row.target)), row.weight)
                for row in reads.projections.follows_of(self._context.identity)
            )


def _name(held: Repositories, identity: bytes) -> str | None:
    profile = held.projections.profile(IdentityId(identity))
    return None if profile is None else profile.name
