"""Searches a person keeps by name, and up to where he has seen what they find.

A search is its owner's text; what it finds is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from hanse.core.errors import Refused, WrongUse
from hanse.core.limits import (
    SAVED_SEARCH_NAME_CHARACTERS_MAX,
    SAVED_SEARCH_SIZE_BYTES_MAX,
    SAVED_SEARCHES_MAX,
)
from hanse.core.store.tables import saved_searches

if TYPE_CHECKING:
    from hanse.core.store.feed_rows import AnyRow

SEARCH_OF_NAME: Final = select(saved_searches).where(saved_searches.c.name == bindparam("name"))
ALL_SEARCHES: Final = (
    select(saved_searches).order_by(saved_searches.c.name).limit(SAVED_SEARCHES_MAX)
)


class SavedSearchBad(WrongUse):
    """A saved search has no name that fits, or is too long."""

    code = "search.saved_bad"
    text = "a saved search has a name of 1 to {most} characters and {most_bytes} bytes at most"
    fields = ("most", "most_bytes")


class TooManySavedSearches(Refused):
    """No more searches are kept in one folder."""

    code = "search.saved_too_many"
    text = "{most} searches are kept already"
    fields = ("most",)


class SavedSearchUnknown(WrongUse):
    """No search is kept under this name."""

    code = "search.saved_unknown"
    text = "no search is kept as {name!r}"
    fields = ("name",)


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """One search; ``seen_n`` is the ``catalogue.n`` up to which its person has looked."""

    name: str
    query: str
    created_ms: int
    seen_n: int


class SavedSearchRepository:
    """All saved searches of this folder."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def put(self, search: SavedSearch) -> None:
        """Keep a search under its name, in place of what was there.

        Raises ``SavedSearchBad`` or ``TooManySavedSearches``.
        """
        is_named = 1 <= len(search.name) <= SAVED_SEARCH_NAME_CHARACTERS_MAX
        if not is_named or len(search.query.encode()) > SAVED_SEARCH_SIZE_BYTES_MAX:
            raise SavedSearchBad(
                most=SAVED_SEARCH_NAME_CHARACTERS_MAX, most_bytes=SAVED_SEARCH_SIZE_BYTES_MAX
            )
        count = select(func.count()).select_from(saved_searches)
        if (
            self.get(search.name) is None
            and self._connection.execute(count).scalar_one() >= SAVED_SEARCHES_MAX
        ):
            raise TooManySavedSearches(most=SAVED_SEARCHES_MAX)
        statement = insert(saved_searches).values(
            name=search.name,
            query=search.query,
            created_ms=search.created_ms,
            seen_n=search.seen_n,
        )
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[saved_searches.c.name],
                set_={name: statement.excluded[name] for name in ("query", "seen_n")},
            )
        )

    def get(self, name: str) -> SavedSearch | None:
        """Return one search."""
        row = self._connection.execute(SEARCH_OF_NAME, {"name": name}).first()
        return None if row is None else _search(row)

    def all(self) -> list[SavedSearch]:
        """Return every search, by name."""
        return [_search(row) for row in self._connection.execute(ALL_SEARCHES)]

    def seen(self, name: str, n: int) -> None:
        """Note that everything up to ``n`` was looked at; raise ``SavedSearchUnknown``."""
        found = self._connection.execute(
            update(saved_searches).where(saved_searches.c.name == name).values(seen_n=n)
        )
        if not found.rowcount:
            raise SavedSearchUnknown(name=name)

    def drop(self, name: str) -> None:
        """Forget a search; raise ``SavedSearchUnknown``."""
        found = self._connection.execute(
            delete(saved_searches).where(saved_searches.c.name == name)
        )
        if not found.rowcount:
            raise SavedSearchUnknown(name=name)


def _search(row: AnyRow) -> SavedSearch:
    return SavedSearch(row.name, row.query, row.created_ms, row.seen_n)
