"""What happens to a Listing after it was published: words, price, pause, end, successor.

* Every act is shown as the Entries it comes to and signed as shown, like publishing.
* A Listing that was withdrawn is never opened again; its Releases and Licences stand.
* A successor is named in the last Entry of the Listing, under ``prefs.successor``: who
  finds the old one finds the new one.
* Amending changes words and price.  Another model, card or licence is a new Release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from hanse.core.engine.accounts import entry_view
from hanse.core.engine.publishing import DraftHasProblems
from hanse.core.engine.redraft import (
    SUCCESSOR,
    HeldListing,
    differs,
    draft_of,
    held_listing,
    own_listing,
)
from hanse.core.engine.signing import PlannedEntry, Preview, show, sign
from hanse.core.ledger.kinds import Renew1
from hanse.core.limits import LISTING_MS_MAX, RENEWED_MAX
from hanse.core.market.concepts import concepts
from hanse.core.market.listings import (
    Problem,
    listing_body,
    may_amend,
    price_body,
    validate_draft,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.views import EntryView
    from hanse.core.ledger.kinds import Body, Listing1
    from hanse.core.model.ids import EntryId
    from hanse.core.model.listing import Draft
    from hanse.core.store.unit_of_work import Repositories

State = Literal["open", "paused", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Amendment:
    """What will be signed, and what the seller should know before."""

    preview: Preview
    warnings: tuple[Problem, ...]


class Offering:
    """Own Listings that are published."""

    def __init__(self, context: Context, content: Content) -> None:
        """Bind the Account and its files."""
        self._context = context
        self._content = content

    def draft(self, listing: bytes) -> Draft:
        """Return an own Listing as a Draft to change."""
        with self._context.store.reads() as reads:
            return draft_of(own_listing(reads, self._context.identity, listing), self._content)

    def amend(self, listing: bytes, change: Callable[[Draft], Draft]) -> Amendment:
        """Show what changing words and price comes to, or raise ``DraftHasProblems``."""
        context, vocabulary = self._context, concepts()
        context.may_sign()
        now_ms = context.clock.now_ms()
        with context.store.reads() as reads:
            found = own_listing(reads, context.identity, listing)
        draft = change(draft_of(found, self._content))
        problems = list(
            validate_draft(draft, now_ms=now_ms, vocabulary=vocabulary, needs_model=False)
        )
        plan: list[PlannedEntry] = []
        if not _errors(problems):
            state = found.listing.state
            new = listing_body(draft, bytes(16), now_ms=now_ms, vocabulary=vocabulary, state=state)
            if differs(found.listing, new):
                plan.append(_planned(new, listing))
            price = price_body(draft, bytes(16), listing=listing)
            if found.price is None or differs(found.price, price):
                plan.append(_planned(price, listing))
            if found.listing.state == "withdrawn" or not plan:
                problems += may_amend(found.listing, new, listing_id=listing)
        if _errors(problems):
            raise DraftHasProblems(_errors(problems))
        return Amendment(show(context, plan), tuple(problems))

    def set_state(self, listing: bytes, state: State, successor: bytes | None = None) -> Amendment:
        """Show what pausing, opening or withdrawing comes to; withdrawing has no way back.

        ``successor`` is another Listing held here that takes the place of this one.
        """
        context = self._context
        context.may_sign()
        with context.store.reads() as reads:
            found = own_listing(reads, context.identity, listing)
            warnings = self._about_successor(reads, found, successor)
        prefs = dict(found.listing.prefs)
        if successor is not None:
            prefs[SUCCESSOR] = successor
        new = msgspec.structs.replace(found.listing, listing=listing, state=state, prefs=prefs)
        problems = may_amend(found.listing, new, listing_id=listing)
        if problems:
            raise DraftHasProblems(problems)
        return Amendment(show(context, [_planned(new, listing)]), warnings)

    def renew(self, listings: Sequence[bytes], until_ms: int) -> Amendment:
        """Show what extending the validity of own Listings comes to: one short Entry."""
        context = self._context
        context.may_sign()
        now_ms = context.clock.now_ms()
        problems = []
        with context.store.reads() as reads:
            for listing in listings:
                found = own_listing(reads, context.identity, listing)
                if found.listing.state == "withdrawn":
                    title = found.listing.title
                    problems.append(Problem("listing.withdrawn", "state", {"title": title}))
        if len(set(listings)) > RENEWED_MAX:
            counted = {"field": "listings", "found": len(listings), "most": RENEWED_MAX}
            problems.append(Problem("listing.too_many", "listings", counted))
        if until_ms <= now_ms:
            times = {"until_ms": until_ms, "now_ms": now_ms}
            problems.append(Problem("listing.ended", "valid_until", times))
        elif until_ms > now_ms + LISTING_MS_MAX:
            times = {"until_ms": until_ms, "most_ms": now_ms + LISTING_MS_MAX}
            problems.append(Problem("listing.ends_too_late", "valid_until", times))
        if problems:
            raise DraftHasProblems(problems)
        of = tuple(sorted(set(listings)))

        def make(salt: bytes, _ids: Sequence[EntryId]) -> Body:
            return Renew1(salt=salt, of=of, until=until_ms)

        return Amendment(show(context, [PlannedEntry(make, lambda _: ())]), ())

    def sign(self, amendment: Amendment) -> tuple[EntryView, ...]:
        """Sign what was shown; the Entries are on disk when this returns."""
        with self._context.store.unit_of_work() as uow:
            made = sign(self._context, uow, amendment.preview)
            views = tuple(entry_view(entry, self._context.identity) for entry in made)
            uow.commit()
        return views

    def _about_successor(
        self, held: Repositories, found: HeldListing, successor: bytes | None
    ) -> tuple[Problem, ...]:
        if successor is None:
            return ()
        other = held_listing(held, successor)
        problems = []
        if successor == found.listing_id:
            raise DraftHasProblems([Problem("listing.own_successor", "successor")])
        if other.identity != self._context.identity:
            values = {"title": other.listing.title, "identity": other.identity}
            problems.append(
                Problem("listing.foreign_successor", "successor", values, is_warning=True)
            )
        if other.listing.state == "withdrawn":
            title = other.listing.title
            raise DraftHasProblems([Problem("listing.withdrawn", "successor", {"title": title})])
        return tuple(problems)


def _planned(body: Listing1 | Body, listing: bytes) -> PlannedEntry:
    def make(salt: bytes, _ids: Sequence[EntryId]) -> Body:
        return msgspec.structs.replace(body, salt=salt)

    return PlannedEntry(make, lambda _: (listing,))


def _errors(problems: Sequence[Problem]) -> list[Problem]:
    return [one for one in problems if not one.is_warning]
