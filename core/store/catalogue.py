"""What stands in the catalogue of one Listing: a pure function of its Projection rows.

* In the catalogue is every Listing that was opened, was not withdrawn, has a full
  Release and a price, all by its own Identity.  What is paused or has expired is in it
  too: whether that is shown is asked with the clock.
* The newest full Release is shown, and its own price before the Listing's.
* The Level is that of the seller's newest Certificate of the Artifact shown, 0 where it failed
  or there is none, and 4 where enough others came to the same: heads are counted, for a weight
  is each viewer's own.  Of every Identity the newest Certificate counts that was not revoked
  and is of a known suite.
* The scores are missing until Reviews are counted.

Which rows those are, and that the tables follow, is ``hanse.core.store.cataloguing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol, cast

from hanse.core.attest.reproduction import is_reproduced
from hanse.core.ledger.codec import decode_any
from hanse.core.limits import FACET_TOKENS_REMEMBERED_MAX
from hanse.core.market.facets import (
    Facet,
    asked_minor,
    frameworks,
    price_band,
    price_micro,
    size_band,
    tier_facts,
)
from hanse.core.market.search import SearchDoc, facet_token
from hanse.core.store.projections import NO_RELEASE, read_list, write_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.store.feed_rows import AnyRow

CATALOGUE_VERSION: Final = 2  # another one makes the catalogue again at the next start

CONTRADICTED: Final = facet_token("flag", "contradicted")  # a claim, by what was measured

STATE_WITHDRAWN: Final = "withdrawn"
EDITION_FULL: Final = "full"
MODE_ON_REQUEST: Final = "rfq"
LEVEL_NONE: Final = 0
LEVEL_REPRODUCED: Final = 4
_ONE_MILLI: Final = 1000  # of trust: here every head counts as one
_FAILED: Final = "FAILED"
_AGREE: Final = "agree"
_DIFFER: Final = "differ"
_OBJECT: Final = "object"


class SearchIndex(Protocol):
    """What finds Listings by words; told of every change in the transaction that makes it."""

    def put(self, n: int, doc: SearchDoc, old_doc: SearchDoc | None) -> None:
        """Index ``doc`` under ``n``, in place of ``old_doc`` if that stands there."""
        ...

    def remove(self, n: int, old_doc: SearchDoc) -> None:
        """Forget ``n``, which stands there as ``old_doc``."""
        ...

    def rebuild(self, docs: Iterable[tuple[int, SearchDoc]]) -> None:
        """Begin anew with ``docs``, in the order of their numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """The rows of one opened Listing: its own, and its Identity's Releases, prices, renewal.

    The Releases are in version order.  ``certificates`` are those of the Artifact that is
    shown, of each Identity the one that counts; ``reviews`` are of the Release that is shown.
    """

    listing: AnyRow
    releases: Sequence[AnyRow]
    prices: Sequence[AnyRow]
    renewal: AnyRow | None
    certificates: Sequence[AnyRow] = ()
    reviews: Sequence[AnyRow] = ()


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One Listing in the catalogue: its columns but ``n``, its words, its values by facet."""

    values: Mapping[str, object]
    doc: SearchDoc
    facets: tuple[tuple[Facet, str], ...]


def valid_until_ms(listing: AnyRow, renewal: AnyRow | None) -> int:
    """Return until when a Listing holds: a renewal newer than its newest Entry says so."""
    is_renewed = renewal is not None and (renewal.time_ms, renewal.author, renewal.seq) > (
        listing.time_ms,
        listing.author,
        listing.seq,
    )
    return cast(
        "int", renewal.until_ms if renewal is not None and is_renewed else listing.valid_until_ms
    )


def price_of(release: bytes, prices: Iterable[AnyRow]) -> AnyRow | None:
    """Return the price of a Release: its own, or else the Listing's."""
    by_release = {bytes(price.release): price for price in prices}
    return by_release.get(release) or by_release.get(NO_RELEASE)


def shown_release(releases: Iterable[AnyRow]) -> AnyRow | None:
    """Return the newest full Release of those given, which are in version order."""
    return next((it for it in reversed(list(releases)) if it.edition == EDITION_FULL), None)


def findings(
    seller: bytes, certificates: Sequence[AnyRow], reviews: Iterable[AnyRow]
) -> dict[str, object]:
    """Return what the catalogue says of what was found, column by column.

    ``certificates`` are of one Artifact, the one that counts of each Identity.
    """
    own = next((cert for cert in certificates if cert.identity == seller), None)
    verdicts = [cert.verdict for cert in certificates if cert.identity != seller]
    reproduced, differ = verdicts.count(_AGREE), verdicts.count(_DIFFER)
    failed = own is not None and own.outcome == _FAILED
    level = LEVEL_NONE if own is None or failed else cast("int", own.level)
    is_enough = is_reproduced(reproduced, reproduced * _ONE_MILLI, differ * _ONE_MILLI)
    return {
        "level": LEVEL_REPRODUCED if level and is_enough else level,
        "cert_failed": failed,
        "contradicted": any(cert.quality_failed for cert in certificates),
        "reproduced": reproduced,
        "differ": differ,
        "objections": sum(it.identity != seller and it.verdict == _OBJECT for it in reviews),
    }


def catalogue_entry(sources: Sources) -> CatalogueEntry | None:
    """Return what the catalogue says of a Listing, ``None`` when it is not in it."""
    listing = sources.listing
    release = shown_release(sources.releases)
    if not listing.opened or listing.state == STATE_WITHDRAWN or release is None:
        return None
    price = price_of(release.release, sources.prices)
    if price is None:
        return None
    params = cast("dict[str, object]", decode_any(price.params))
    asked = asked_minor(price.mode, price.amount, (price.floor, price.ceil), params)
    tiers = tier_facts(cast("list[dict[str, object]]", decode_any(release.tiers)), asked)
    amount = None if price.mode == MODE_ON_REQUEST else tiers.lowest_minor
    formats = read_list(release.formats)
    named = frameworks(read_list(listing.concepts), formats)
    values: dict[str, object] = {
        "listing": listing.listing,
        "identity": listing.identity,
        "release": release.release,
        "price": price.price,
        "artifact": release.artifact,
        "version": release.version,
        "state": listing.state,
        "lang": listing.lang,
        "task": listing.task,
        "sectors": listing.sectors,
        "tags": listing.tags,
        "title": listing.title,
        "formats": release.formats,
        "frameworks": write_list(named),
        "licence": tiers.licence,
        "rights": write_list(tiers.rights),
        "trials": listing.trials,
        "mode": price.mode,
        "price_minor": amount,
        "currency": price.currency,
        "exponent": price.exponent,
        "price_micro": None if amount is None else price_micro(amount, price.exponent),
        "price_band": price_band(amount, price.currency, price.exponent),
        "size": release.size,
        "size_band": size_band(release.size),
        **findings(listing.identity, sources.certificates, sources.reviews),
        "score_milli": None,
        "reviews": None,
        "published_ms": listing.created_ms,
        # Not the renewal: that it still holds is no news.  Nor what others found of it.
        "updated_ms": max(
            listing.time_ms,
            *(it.time_ms for it in sources.releases),
            *(it.time_ms for it in sources.prices),
        ),
        "valid_until_ms": valid_until_ms(listing, sources.renewal),
        "releases": len(sources.releases),
        "trial_editions": sum(it.edition != EDITION_FULL for it in sources.releases),
    }
    facets = _facets(values)
    return CatalogueEntry(values, _doc(listing, values, facets), facets)


def _facets(values: Mapping[str, object]) -> tuple[tuple[Facet, str], ...]:
    """Return each value of each facet once, in lower case: so the index compares them too."""
    found: dict[tuple[Facet, str], None] = {}

    def add(facet: Facet, texts: Iterable[str]) -> None:
        found.update(((facet, text.casefold()), None) for text in texts)

    def column(name: str) -> str:
        return cast("str", values[name])

    add("task", [column("task")])
    add("sector", read_list(column("sectors")))
    add("format", read_list(column("formats")))
    add("framework", read_list(column("frameworks")))
    add("licence", [] if values["licence"] is None else [column("licence")])
    add("right", read_list(column("rights")))
    add("trial", read_list(column("trials")))
    add("level", [str(values["level"])])
    add("lang", [column("lang").partition("-")[0]])
    add("state", [column("state")])
    add("price_band", [column("price_band")])
    add("size_band", [column("size_band")])
    return tuple(found)


# A few thousand values make up nearly all facets of a million Listings.
_token: Final = lru_cache(maxsize=FACET_TOKENS_REMEMBERED_MAX)(facet_token)
_CONCEPT_FACETS: Final = frozenset({"task", "sector", "format", "framework"})


def _doc(
    listing: AnyRow, values: Mapping[str, object], facets: tuple[tuple[Facet, str], ...]
) -> SearchDoc:
    ids = [
        *read_list(listing.concepts),
        *(f"{facet}.{value}" for facet, value in facets if facet in _CONCEPT_FACETS),
    ]
    words = [_token(facet, value) for facet, value in facets]
    # Not counted, but filtered by.
    words += [
        facet_token("identity", listing.identity.hex()),
        _token("currency", cast("str", values["currency"])),
    ]
    if values["contradicted"]:
        words.append(CONTRADICTED)
    return SearchDoc(
        title=listing.title,
        tags=", ".join(read_list(listing.tags)),
        text="\n".join(part for part in (listing.summary, listing.text) if part),
        # What has a space in it is the id of no Concept.
        stems_source=" ".join(dict.fromkeys(it for it in ids if " " not in it)),
        facets=" ".join(words),
    )
