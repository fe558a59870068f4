"""What somebody asks of the catalogue, as a value that can be kept, and what comes back.

* Filters of unlike kinds are all met; of the values given for one filter any is enough,
  but every right asked for must be granted.
* Open Listings that still hold are found; ``with_paused`` and ``with_expired`` add the others.
* Prices compare within one currency only, in millionths of its major unit.
* A place in the results is the value sorted by and the row's number, and belongs to the very
  query it came from.

How a query is answered is the store's (``hanse.core.store.catalogue_search``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.errors import WrongUse
from hanse.core.limits import (
    MONEY_AMOUNT_MAX,
    SEARCH_CURSOR_CHARACTERS_MAX,
    SEARCH_FILTER_VALUES_MAX,
    SEARCH_PAGE_ROWS_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.market.facets import Facet

Sort = Literal[
    "relevance", "newest", "price_up", "price_down", "size_up", "size_down", "level", "rating"
]
SORTS: Final[tuple[Sort, ...]] = (
    "relevance",
    "newest",
    "price_up",
    "price_down",
    "size_up",
    "size_down",
    "level",
    "rating",
)

_HASH_SIZE_BYTES: Final = 8

_Value = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
_Values = Annotated[tuple[_Value, ...], msgspec.Meta(max_length=SEARCH_FILTER_VALUES_MAX)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=MONEY_AMOUNT_MAX)]
_Identity = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class MalformedCursor(WrongUse):
    """A place in the results is not one that a search gave."""

    code = "search.malformed_cursor"
    text = "cursor {cursor} is not one of a search"
    fields = ("cursor",)


class ForeignCursor(WrongUse):
    """A place in the results of one query was used in another."""

    code = "search.foreign_cursor"
    text = "the cursor is of query {found}, not of {expected}"
    fields = ("found", "expected")


class PriceWithoutCurrency(WrongUse):
    """Prices are compared, and in which currency is not said."""

    code = "search.price_without_currency"
    text = "a price range or order needs a currency"


class BadQuery(WrongUse):
    """A filter has a value that none can have; ``detail`` says which."""

    code = "search.bad_query"
    text = "the query is not one: {detail}"
    fields = ("detail",)


class EmptyRange(WrongUse):
    """The least value asked for is above the most."""

    code = "search.empty_range"
    text = "{name} from {least} to {most} is no range"
    fields = ("name", "least", "most")


class PageOutOfRange(WrongUse):
    """So many rows are not given at once."""

    code = "search.page_out_of_range"
    text = "a page has 1 to {most} rows, not {found}"
    fields = ("found", "most")


class CatalogueQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What is looked for; without anything it is the whole catalogue, the newest first.

    ``text`` is a person's line (``hanse.core.market.search``), ``is_typing`` says that its last
    word is not finished.  ``identity`` is one seller, ``followed_by`` an Identity whose
    followed sellers count.  ``contradicted`` asks for those, or for those without, whose claim a
    measured figure falls short of.  Sizes are in bytes, scores in thousandths.
    """

    text: str = ""
    is_typing: bool = False
    sectors: _Values = ()
    tasks: _Values = ()
    formats: _Values = ()
    frameworks: _Values = ()
    licences: _Values = ()
    rights: _Values = ()
    trials: _Values = ()
    langs: _Values = ()
    currency: _Value | None = None
    price_min_micro: _Size | None = None
    price_max_micro: _Size | None = None
    size_min: _Size | None = None
    size_max: _Size | None = None
    level_min: Annotated[int, msgspec.Meta(ge=0, le=4)] = 0
    contradicted: bool | None = None
    score_min_milli: _Size | None = None
    identity: _Identity | None = None
    followed_by: _Identity | None = None
    with_paused: bool = False
    with_expired: bool = False
    sort: Sort = "relevance"

    @property
    def digest(self) -> str:
        """Return what tells this query from others: 16 hexadecimal digits."""
        raw = msgspec.json.encode(self, order="deterministic")
        return hashlib.sha256(raw).digest()[:_HASH_SIZE_BYTES].hex()

    def check(self) -> None:
        """Raise ``BadQuery``, ``PriceWithoutCurrency`` or ``EmptyRange`` for what has no answer."""
        try:
            msgspec.json.decode(msgspec.json.encode(self), type=CatalogueQuery)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise BadQuery(detail=str(error)) from error
        has_price = self.price_min_micro is not None or self.price_max_micro is not None
        if self.currency is None and (has_price or self.sort in {"price_up", "price_down"}):
            raise PriceWithoutCurrency
        for name, least, most in (
            ("price", self.price_min_micro, self.price_max_micro),
            ("size", self.size_min, self.size_max),
        ):
            if least is not None and most is not None and least > most:
                raise EmptyRange(name=name, least=least, most=most)


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in the results of one query: behind the row ``n`` with ``value``.

    ``value`` is null among the rows that have none, which come last.  ``count`` is how many
    hits were counted when the first page was made.
    """

    query: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    value: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None
    n: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    count: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    is_more: bool

    def encode(self) -> str:
        """Return the text a caller keeps and gives back."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read what ``encode`` wrote; raise ``MalformedCursor`` for anything else."""
        shown = text[:20]
        if len(text) > SEARCH_CURSOR_CHARACTERS_MAX:
            raise MalformedCursor(cursor=shown)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            return msgspec.json.decode(raw, type=cls)
        except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise MalformedCursor(cursor=shown) from error

    def check(self, query: CatalogueQuery) -> None:
        """Raise ``ForeignCursor`` unless this is a place in the results of ``query``."""
        if self.query != query.digest:
            raise ForeignCursor(found=self.query, expected=query.digest)


def check_page(limit: int) -> None:
    """Raise ``PageOutOfRange`` for a page that is not given."""
    if not 1 <= limit <= SEARCH_PAGE_ROWS_MAX:
        raise PageOutOfRange(found=limit, most=SEARCH_PAGE_ROWS_MAX)


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """What the catalogue shows of one Listing; columns as ``catalogue`` has them.

    ``cert_failed`` says that the seller's own newest Certificate failed.  ``reproduced`` and
    ``differ`` count others who ran it again, ``objections`` people who object.
    """

    n: int
    listing: bytes
    identity: bytes
    release: bytes
    price: bytes
    artifact: bytes
    version: str
    state: str
    lang: str
    task: str
    sectors: tuple[str, ...]
    tags: tuple[str, ...]
    title: str
    formats: tuple[str, ...]
    frameworks: tuple[str, ...]
    licence: str | None
    rights: tuple[str, ...]
    trials: tuple[str, ...]
    mode: str
    price_minor: int | None
    currency: str
    exponent: int
    price_micro: int | None
    price_band: str
    size: int
    size_band: str
    level: int
    cert_failed: bool
    contradicted: bool
    reproduced: int
    differ: int
    objections: int
    score_milli: int | None
    reviews: int | None
    published_ms: int
    updated_ms: int
    valid_until_ms: int
    releases: int
    trial_editions: int


@dataclass(frozen=True, slots=True)
class Hits:
    """One page: its rows in order, the place of the next, and how many hits there are.

    ``is_more`` says that there are more than ``count``, which is then shown with a plus.
    ``is_cut`` says that the line of search was longer than is looked at.
    """

    rows: tuple[CatalogueRow, ...]
    next: Cursor | None
    count: int
    is_more: bool
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many of the Listings looked at have a value."""

    value: str
    listings: int


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """The values of each facet, the most frequent first.

    ``is_sample`` says that only the newest hits were counted.
    """

    counts: Mapping[Facet, tuple[FacetCount, ...]]
    is_sample: bool
