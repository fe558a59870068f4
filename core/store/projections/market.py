"""What is offered: Listings, their Releases and prices, and how long they hold.

* A Listing has the id of its first Entry.  Whoever names that id in a ``listing/1``
  writes into a row of his own, which never opens unless the first Entry is his.
* A Release, a price or a renewal may name anything: what counts of a Listing is
  joined by Identity where it is read.
* An amount is not judged here, not even whether its currency exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.ledger.codec import encode
from hanse.core.ledger.kinds import Listing1, Price1, Release1, Renew1
from hanse.core.model.ids import ID_SIZE_BYTES
from hanse.core.store.projections.fold import FoldItem, Key, Values, is_newest, write_list
from hanse.core.store.tables import listings, prices, releases, renewals

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_RELEASE: Final = bytes(ID_SIZE_BYTES)  # in the key of a price that is of the whole Listing


class Listings:
    """Each Listing as its Identity last described it, on whichever Device."""

    name = "listings"
    version = 1
    kinds = frozenset({"listing/1"})
    table = listings

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name the Listing: a first Entry is one itself."""
        body = item.body
        if not isinstance(body, Listing1):
            return ()
        return ((item.entry_id if body.listing is None else body.listing, item.identity),)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Newest wins; the first Entry opens the row, whenever it comes."""
        body = item.body
        assert isinstance(body, Listing1)
        opens = body.listing is None
        newest = is_newest(row, item)
        if not newest and (not opens or (row is not None and row["opened"])):
            return row
        values: dict[str, object] = (
            {
                "listing": key[0],
                "identity": key[1],
                "opened": False,
                "created_ms": None,
                "first_author": None,
            }
            if row is None
            else dict(row)
        )
        if opens:
            values |= {"opened": True, "created_ms": item.time_ms, "first_author": item.author}
        if newest:
            values |= _stated(item, body)
        return values


def _stated(item: FoldItem, body: Listing1) -> Values:
    return {
        "entry": item.entry_id,
        "time_ms": item.time_ms,
        "author": item.author,
        "seq": item.seq,
        "title": body.title,
        "summary": body.summary,
        "lang": body.lang,
        "task": body.task,
        "sectors": write_list(body.sectors),
        "tags": write_list(body.tags),
        "concepts": write_list(body.concepts),
        "trials": write_list(body.trials),
        "prefs": encode(body.prefs),
        "capacity": body.capacity,
        "mediators": b"".join(body.mediators),
        "valid_until_ms": body.valid_until,
        "state": body.state,
        "media": b"".join(body.media),
        "text": body.text,
    }


class Releases:
    """Every Release, as it was signed: one is never amended."""

    name = "releases"
    version = 1
    kinds = frozenset({"release/1"})
    table = releases

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name the Release: it has the id of its Entry."""
        return ((item.entry_id, item.identity),)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """There is one Entry to a row."""
        body = item.body
        if row is not None or not isinstance(body, Release1):
            return row
        return {
            "release": key[0],
            "identity": key[1],
            "listing": body.listing,
            "time_ms": item.time_ms,
            "author": item.author,
            "seq": item.seq,
            "version": body.version,
            "artifact": body.artifact,
            "size": body.size,
            "files": body.files,
            "formats": write_list(body.formats),
            "edition": body.edition,
            "of_release": body.of,
            "seal": None if body.seal is None else encode(body.seal),
            "card": body.card,
            "base": b"".join(body.base),
            "supersedes": body.supersedes,
            "tiers": encode(body.tiers),
            "notes": body.notes,
        }


class Prices:
    """The newest price of each Listing, and of each Release that has its own."""

    name = "prices"
    version = 1
    kinds = frozenset({"price/1"})
    table = prices

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name what it is the price of."""
        body = item.body
        if not isinstance(body, Price1):
            return ()
        release = NO_RELEASE if body.release is None else body.release
        return ((body.listing, item.identity, release),)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Newest wins."""
        if not is_newest(row, item):
            return row
        body = item.body
        assert isinstance(body, Price1)
        listing, identity, release = key
        return {
            "listing": listing,
            "identity": identity,
            "release": release,
            "price": item.entry_id,
            "time_ms": item.time_ms,
            "author": item.author,
            "seq": item.seq,
            "mode": body.mode,
            "amount": body.amount.amount,
            "currency": body.amount.currency,
            "exponent": body.amount.exponent,
            "floor": body.floor,
            "ceil": body.ceil,
            "tick": body.tick,
            "params": encode(body.params),
            "anchors": b"".join(body.anchors),
        }


class Renewals:
    """Until when a Listing or Demand was said to hold, after it was written."""

    name = "renewals"
    version = 1
    kinds = frozenset({"renew/1"})
    table = renewals

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Each one it renews is a row."""
        body = item.body
        if not isinstance(body, Renew1):
            return ()
        return ((target, item.identity) for target in body.of)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Newest wins, even one that shortens."""
        if not is_newest(row, item):
            return row
        body = item.body
        assert isinstance(body, Renew1)
        return {
            "target": key[0],
            "identity": key[1],
            "time_ms": item.time_ms,
            "author": item.author,
            "seq": item.seq,
            "until_ms": body.until,
        }


def listings_named(item: FoldItem) -> Iterable[bytes]:
    """Return the Listings that an Entry may change something about, whosever they are."""
    match item.body:
        case Listing1(listing=listing):
            return (item.entry_id if listing is None else listing,)
        case Release1(listing=listing) | Price1(listing=listing):
            return (listing,)
        case Renew1(of=targets):
            return targets
        case _:
            return ()


def read_hashes(raw: bytes) -> tuple[bytes, ...]:
    """Read back a list of hashes or keys from its column."""
    return tuple(raw[at : at + ID_SIZE_BYTES] for at in range(0, len(raw), ID_SIZE_BYTES))
