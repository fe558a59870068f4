"""``hanse listing amend`` and its like: what happens to a Listing after it was published.

Each act is shown as the Entries it comes to, and signed as shown after a yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack, cast

from hanse.app.answers import Answer
from hanse.app.commands.listing_bodies import preview_lines
from hanse.app.commands.listing_drafts import warning_lines
from hanse.app.commands.listing_typed import ListingWords, read_time, understand
from hanse.app.commands.listing_words import told
from hanse.app.commands.showing import entry_lines
from hanse.core.engine.publishing import DraftHasProblems
from hanse.core.errors import WrongUse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.app.commands.listing_typed import ListingOptions
    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.offering import Amendment


class BadTime(WrongUse):
    """A text is neither a day nor a time."""

    code = "time.bad"
    text = "{found} is neither a day (2027-12-31) nor a time"
    fields = ("found",)


def amend(desk: Desk, *, listing: str, **typed: Unpack[ListingWords]) -> Answer:
    """Sign other words or another price for a Listing."""
    with desk.unlocked() as engine:
        found = engine.catalogue.listing_named(listing)
        said = understand(cast("ListingOptions", typed), engine.catalogue.base_named)

        def make() -> Amendment:
            if said.problems:
                raise DraftHasProblems(said.problems)
            return engine.offering.amend(found, said.edit)

        return _signed(desk, engine, make, "listing.amended")


def pause(desk: Desk, *, listing: str) -> Answer:
    """Take a Listing out of the results until it is opened again."""
    with desk.unlocked() as engine:
        found = engine.catalogue.listing_named(listing)
        return _signed(
            desk, engine, lambda: engine.offering.set_state(found, "paused"), "listing.paused"
        )


def reopen(desk: Desk, *, listing: str) -> Answer:
    """Put a paused Listing back."""
    with desk.unlocked() as engine:
        found = engine.catalogue.listing_named(listing)
        return _signed(
            desk, engine, lambda: engine.offering.set_state(found, "open"), "listing.opened"
        )


def withdraw(desk: Desk, *, listing: str) -> Answer:
    """End a Listing for good."""
    return _ended(desk, listing, None, "listing.ended_for_good")


def retire(desk: Desk, *, listing: str, successor: str | None) -> Answer:
    """End a Listing for good, and name the one that takes its place."""
    return _ended(desk, listing, successor, "listing.retired")


def renew(desk: Desk, *, listing: Sequence[str], until: str) -> Answer:
    """Extend the validity of Listings by one short Entry."""
    until_ms = read_time(until)
    if until_ms is None:
        raise BadTime(found=until)
    with desk.unlocked() as engine:
        found = [engine.catalogue.listing_named(one) for one in listing]
        return _signed(
            desk, engine, lambda: engine.offering.renew(found, until_ms), "listing.renewed"
        )


def _ended(desk: Desk, listing: str, successor: str | None, said: str) -> Answer:
    with desk.unlocked() as engine:
        found = engine.catalogue.listing_named(listing)
        next_one = None if successor is None else engine.catalogue.listing_named(successor)
        return _signed(
            desk,
            engine,
            lambda: engine.offering.set_state(found, "withdrawn", next_one),
            said,
            for_good="listing.no_way_back",
        )


def _signed(
    desk: Desk,
    engine: Engine,
    make: Callable[[], Amendment],
    said: str,
    *,
    for_good: str = "root.for_ever",
) -> Answer:
    """Show what an act comes to, ask, sign, and say that it is done."""
    try:
        amendment = make()
    except DraftHasProblems as error:
        reasons = told(desk, error.problems)
        return Answer({"problems": error.problems}, reasons, error)
    desk.confirm(
        [
            desk.say("preview.begin"),
            "",
            *preview_lines(desk, amendment.preview),
            *warning_lines(desk, amendment.warnings),
            desk.say(for_good),
        ]
    )
    entries = engine.offering.sign(amendment)
    lines = [desk.say(said)]
    for entry in entries:
        lines += ["", *entry_lines(desk, entry)]
    if amendment.warnings:
        lines += ["", *warning_lines(desk, amendment.warnings)]
    return Answer({"entries": entries, "warnings": amendment.warnings}, lines)
