"""Asking about Listings, their Releases and prices, as their Identity last said.

* A Listing is one whose first Entry is held; what others wrote about it is not asked.
* Lists that can be long come in pages, which go on by key.
* What is withdrawn, paused or expired is given like all else: what is shown is asked
  with the clock, and of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import Connection, Select, and_, bindparam, select, true, tuple_

from hanse.core.ledger.codec import decode, decode_any
from hanse.core.ledger.kinds import Seal
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.model.money import Money
from hanse.core.store.catalogue import EDITION_FULL, valid_until_ms
from hanse.core.store.projections import NO_RELEASE, read_hashes, read_list
from hanse.core.store.tables import listings, prices, releases, renewals

if TYPE_CHECKING:
    from typing import Any

    from hanse.core.store.feed_rows import AnyRow

RELEASES_PER_PAGE: Final = 100
LISTINGS_PER_PAGE: Final = 50
_PRICES_PER_LISTING: Final = 1000  # one of each Release, and the Listing's

PageKey = tuple[int, bytes]  # time in ms, id

LISTING_OF_ID: Final = select(listings).where(
    listings.c.listing == bindparam("listing"), listings.c.opened.is_(true())
)
RENEWAL_OF: Final = select(renewals).where(
    renewals.c.target == bindparam("listing"), renewals.c.identity == bindparam("identity")
)
RELEASES_NEWEST: Final = (
    select(releases)
    .where(releases.c.listing == bindparam("listing"), releases.c.identity == bindparam("identity"))
    .order_by(releases.c.time_ms.desc(), releases.c.author.desc(), releases.c.seq.desc())
    .limit(bindparam("limit"))
)
RELEASES_BEFORE: Final = RELEASES_NEWEST.where(
    tuple_(releases.c.time_ms, releases.c.author, releases.c.seq)
    < tuple_(bindparam("time_ms"), bindparam("author"), bindparam("seq"))
)
NEWEST_FULL: Final = RELEASES_NEWEST.where(releases.c.edition == EDITION_FULL)
RELEASE_OF_ID: Final = select(releases).where(releases.c.release == bindparam("release"))
PRICES_OF: Final = (
    select(prices)
    .where(prices.c.listing == bindparam("listing"), prices.c.identity == bindparam("identity"))
    .order_by(prices.c.release)
    .limit(_PRICES_PER_LISTING)
)
OF_IDENTITY: Final = (
    select(listings.c.listing, listings.c.time_ms)
    .where(
        listings.c.identity == bindparam("identity"),
        listings.c.opened.is_(true()),
        tuple_(listings.c.time_ms, listings.c.listing)
        < tuple_(bindparam("before_ms"), bindparam("before")),
    )
    .order_by(listings.c.time_ms.desc(), listings.c.listing.desc())
    .limit(bindparam("limit"))
)
BY_ARTIFACT: Final = (
    select(releases.c.identity, releases.c.listing, releases.c.release, releases.c.time_ms)
    .join(
        listings,
        and_(
            listings.c.listing == releases.c.listing,
            listings.c.identity == releases.c.identity,
            listings.c.opened.is_(true()),
        ),
    )
    .where(
        releases.c.artifact == bindparam("artifact"),
        tuple_(releases.c.time_ms, releases.c.release)
        > tuple_(bindparam("after_ms"), bindparam("after")),
    )
    .order_by(releases.c.time_ms, releases.c.release)
    .limit(bindparam("limit"))
)
LISTINGS_BETWEEN: Final = (
    select(listings.c.listing)
    .where(
        listings.c.listing.between(bindparam("low"), bindparam("high")),
        listings.c.opened.is_(true()),
    )
    .order_by(listings.c.listing)
    .limit(bindparam("limit"))
)
RELEASES_BETWEEN: Final = (
    select(releases.c.release)
    .where(releases.c.release.between(bindparam("low"), bindparam("high")))
    .order_by(releases.c.release)
    .limit(bindparam("limit"))
)
_FIRST: Final[PageKey] = (-1, b"")
_LAST: Final[PageKey] = (2**63 - 1, b"")


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One Release as it was signed; ``order`` is its place among the others, the newest last."""

    release: EntryId
    listing: EntryId
    identity: IdentityId
    order: tuple[int, AuthorKey, int]
    version: str
    artifact: bytes
    size: int
    files: int
    formats: tuple[str, ...]
    edition: str
    of: EntryId | None
    seal: Seal | None
    tiers: tuple[dict[str, object], ...]
    card: bytes
    base: tuple[bytes, ...]
    notes: str
    supersedes: EntryId | None

    @property
    def time_ms(self) -> int:
        """Return when it was signed."""
        return self.order[0]


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The newest price of a Listing, or of one ``release``; ``price`` is the id of its Entry."""

    price: EntryId
    release: EntryId | None
    mode: str
    amount: Money
    floor: int
    ceil: int
    tick: int
    params: dict[str, object]
    anchors: tuple[bytes, ...]
    time_ms: int


@dataclass(frozen=True, slots=True)
class ListingRow:
    """A Listing with its newest Releases in version order, and the prices of all.

    ``entry`` is the newest one about it; ``valid_until_ms`` follows a newer renewal.
    """

    listing: EntryId
    identity: IdentityId
    first_author: AuthorKey
    created_ms: int
    entry: EntryId
    time_ms: int
    title: str
    summary: str
    text: str
    lang: str
    task: str
    sectors: tuple[str, ...]
    tags: tuple[str, ...]
    concepts: tuple[str, ...]
    trials: tuple[str, ...]
    prefs: dict[str, object]
    capacity: int | None
    mediators: tuple[bytes, ...]
    valid_until_ms: int
    state: str
    media: tuple[bytes, ...]
    releases: tuple[ReleaseRow, ...]
    prices: tuple[PriceRow, ...]

    @property
    def newest_release(self) -> ReleaseRow | None:
        """Return the newest full Release among ``releases``."""
        full = [release for release in self.releases if release.edition == EDITION_FULL]
        return full[-1] if full else None

    def price_of(self, release: EntryId) -> PriceRow | None:
        """Return the price of a Release: its own, or else the Listing's."""
        by_release = {price.release: price for price in self.prices}
        return by_release.get(release) or by_release.get(None)


@dataclass(frozen=True, slots=True)
class ArtifactUse:
    """A Release that gives an Artifact, and whose."""

    identity: IdentityId
    listing: EntryId
    release: EntryId
    time_ms: int


class ListingRepository:
    """All Listings held."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def get(self, listing: EntryId) -> ListingRow | None:
        """Return a Listing with its newest ``RELEASES_PER_PAGE`` Releases."""
        row = self._row(listing)
        if row is None:
            return None
        which = {"listing": listing, "identity": row.identity}
        renewal = self._connection.execute(RENEWAL_OF, which).first()
        newest = self._releases(RELEASES_NEWEST, {**which, "limit": RELEASES_PER_PAGE})
        return _listing(
            row,
            renewal,
            tuple(reversed(newest)),
            tuple(_price(it) for it in self._connection.execute(PRICES_OF, which)),
        )

    def releases_before(
        self, release: ReleaseRow, limit: int = RELEASES_PER_PAGE
    ) -> list[ReleaseRow]:
        """Return the Releases of the same Listing that are older, the newest of them first."""
        time_ms, author, seq = release.order
        return self._releases(
            RELEASES_BEFORE,
            {
                "listing": release.listing,
                "identity": release.identity,
                "time_ms": time_ms,
                "author": author,
                "seq": seq,
                "limit": limit,
            },
        )

    def release(self, release: EntryId) -> ReleaseRow | None:
        """Return one Release, also of a Listing that is not held."""
        found = self._releases(RELEASE_OF_ID, {"release": release})
        return found[0] if found else None

    def newest_release(self, listing: EntryId) -> ReleaseRow | None:
        """Return the newest full Release of a Listing."""
        row = self._row(listing)
        if row is None:
            return None
        found = self._releases(
            NEWEST_FULL, {"listing": listing, "identity": row.identity, "limit": 1}
        )
        return found[0] if found else None

    def of_identity(
        self,
        identity: IdentityId,
        before: PageKey | None = None,
        limit: int = LISTINGS_PER_PAGE,
    ) -> list[ListingRow]:
        """Return Listings of one Identity, the one changed last first.

        ``before`` is the (time_ms, listing) of the last one of the page before.
        """
        before_ms, before_id = before or _LAST
        rows = self._connection.execute(
            OF_IDENTITY,
            {"identity": identity, "before_ms": before_ms, "before": before_id, "limit": limit},
        ).all()
        found = (self.get(EntryId(row.listing)) for row in rows)
        return [row for row in found if row is not None]

    def by_artifact(
        self, artifact: bytes, after: PageKey | None = None, limit: int = LISTINGS_PER_PAGE
    ) -> list[ArtifactUse]:
        """Return which Releases of Listings held give an Artifact, the earliest first.

        ``after`` is the (time_ms, release) of the last one of the page before.
        """
        after_ms, after_id = after or _FIRST
        rows = self._connection.execute(
            BY_ARTIFACT,
            {"artifact": artifact, "after_ms": after_ms, "after": after_id, "limit": limit},
        )
        return [
            ArtifactUse(
                IdentityId(row.identity), EntryId(row.listing), EntryId(row.release), row.time_ms
            )
            for row in rows
        ]

    def between(self, low: bytes, high: bytes, limit: int) -> list[EntryId]:
        """Return the ids of Listings from ``low`` to ``high``, in order."""
        which = {"low": low, "high": high, "limit": limit}
        return [EntryId(row.listing) for row in self._connection.execute(LISTINGS_BETWEEN, which)]

    def releases_between(self, low: bytes, high: bytes, limit: int) -> list[EntryId]:
        """Return the ids of Releases from ``low`` to ``high``, in order."""
        which = {"low": low, "high": high, "limit": limit}
        return [EntryId(row.release) for row in self._connection.execute(RELEASES_BETWEEN, which)]

    def _row(self, listing: EntryId) -> AnyRow | None:
        return self._connection.execute(LISTING_OF_ID, {"listing": listing}).first()

    def _releases(
        self, statement: Select[*tuple[Any, ...]], which: dict[str, object]
    ) -> list[ReleaseRow]:
        return [_release(row) for row in self._connection.execute(statement, which)]


def _listing(
    row: AnyRow,
    renewal: AnyRow | None,
    newest: tuple[ReleaseRow, ...],
    priced: tuple[PriceRow, ...],
) -> ListingRow:
    return ListingRow(
        listing=EntryId(row.listing),
        identity=IdentityId(row.identity),
        first_author=AuthorKey(row.first_author),
        created_ms=row.created_ms,
        entry=EntryId(row.entry),
        time_ms=row.time_ms,
        title=row.title,
        summary=row.summary,
        text=row.text,
        lang=row.lang,
        task=row.task,
        sectors=read_list(row.sectors),
        tags=read_list(row.tags),
        concepts=read_list(row.concepts),
        trials=read_list(row.trials),
        prefs=cast("dict[str, object]", decode_any(row.prefs)),
        capacity=row.capacity,
        mediators=read_hashes(row.mediators),
        valid_until_ms=valid_until_ms(row, renewal),
        state=row.state,
        media=read_hashes(row.media),
        releases=newest,
        prices=priced,
    )


def _release(row: AnyRow) -> ReleaseRow:
    return ReleaseRow(
        release=EntryId(row.release),
        listing=EntryId(row.listing),
        identity=IdentityId(row.identity),
        order=(row.time_ms, AuthorKey(row.author), row.seq),
        version=row.version,
        artifact=row.artifact,
        size=row.size,
        files=row.files,
        formats=read_list(row.formats),
        edition=row.edition,
        of=None if row.of_release is None else EntryId(row.of_release),
        seal=None if row.seal is None else decode(row.seal, Seal),
        tiers=tuple(cast("list[dict[str, object]]", decode_any(row.tiers))),
        card=row.card,
        base=read_hashes(row.base),
        notes=row.notes,
        supersedes=None if row.supersedes is None else EntryId(row.supersedes),
    )


def _price(row: AnyRow) -> PriceRow:
    return PriceRow(
        price=EntryId(row.price),
        release=None if row.release == NO_RELEASE else EntryId(row.release),
        mode=row.mode,
        amount=Money(row.amount, row.currency, row.exponent),
        floor=row.floor,
        ceil=row.ceil,
        tick=row.tick,
        params=cast("dict[str, object]", decode_any(row.params)),
        anchors=read_hashes(row.anchors),
        time_ms=row.time_ms,
    )
