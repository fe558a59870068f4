"""What came on each day of each Identity, and what of it is not shown for being too much.

* Counted is what is shown; what is over the rate waits in ``muted``, in the order it came, and
  gets its turn on a later day.
* A muted Entry stands in the Projections like any other.  A Listing is left out of results while
  an Entry of it is muted.

What the rates are is the market's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from hanse.core.limits import HOUSEKEEPING_ROWS_MAX
from hanse.core.model.ids import EntryId, IdentityId
from hanse.core.store.network_tables import intake, muted

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTED: Final = select(intake.c.count).where(
    intake.c.day == bindparam("day"),
    intake.c.identity == bindparam("identity"),
    intake.c.sort == bindparam("sort"),
)
WAITING: Final = (
    select(
        muted.c.place, muted.c.entry, muted.c.identity, muted.c.sort, muted.c.day, muted.c.listing
    )
    .where(muted.c.place > bindparam("after"))
    .order_by(muted.c.place)
    .limit(bindparam("limit"))
)
BY_SORT: Final = (
    select(muted.c.identity, muted.c.sort, muted.c.day, func.count().label("entries"))
    .group_by(muted.c.identity, muted.c.sort, muted.c.day)
    .order_by(muted.c.identity, muted.c.sort, muted.c.day)
    .limit(bindparam("limit"))
)
IS_WAITING: Final = (
    select(muted.c.place)
    .where(muted.c.identity == bindparam("identity"), muted.c.sort == bindparam("sort"))
    .limit(1)
)
_MUTE: Final = insert(muted).on_conflict_do_nothing()


@dataclass(frozen=True, slots=True)
class Muted:
    """One Entry that is not to be shown yet, and what it is of."""

    entry: EntryId
    identity: IdentityId
    sort: str
    listing: bytes | None


@dataclass(frozen=True, slots=True)
class MutedEntry:
    """One Entry that is not shown: its place in the queue, and what it is of."""

    place: int
    entry_id: EntryId
    identity: IdentityId
    sort: str
    day: int
    listing: bytes | None


@dataclass(frozen=True, slots=True)
class MutedCount:
    """How many Entries of one sort that came on one day are not shown."""

    identity: IdentityId
    sort: str
    day: int
    count: int


class IntakeRepository:
    """Counts and queue, on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    # --- counting ---------------------------------------------------------------------------

    def counted(self, day: int, identity: IdentityId, sort: str) -> int:
        """Return how many of one sort were shown of what came on ``day``."""
        values = {"day": day, "identity": identity, "sort": sort}
        return self._connection.execute(_COUNTED, values).scalar_one_or_none() or 0

    def count(self, day: int, identity: IdentityId, sort: str, more: int) -> None:
        """Count ``more`` of one sort."""
        statement = insert(intake).values(day=day, identity=identity, sort=sort, count=more)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[intake.c.day, intake.c.identity, intake.c.sort],
                set_={"count": intake.c.count + more},
            )
        )

    def forget_before(self, day: int) -> None:
        """Drop the counts of earlier days."""
        self._connection.execute(delete(intake).where(intake.c.day < day))

    # --- what waits -------------------------------------------------------------------------

    def mute(self, day: int, rows: Sequence[Muted]) -> None:
        """Let Entries wait for their turn to be shown, in this order."""
        if rows:
            self._connection.execute(
                _MUTE,
                [
                    {
                        "entry": it.entry,
                        "identity": it.identity,
                        "sort": it.sort,
                        "day": day,
                        "listing": it.listing,
                    }
                    for it in rows
                ],
            )

    def is_waiting(self, identity: IdentityId, sort: str) -> bool:
        """Say whether something of this sort waits already, and so has the earlier turn."""
        values = {"identity": identity, "sort": sort}
        return self._connection.execute(IS_WAITING, values).first() is not None

    def waiting(self, after: int = 0, limit: int = HOUSEKEEPING_ROWS_MAX) -> list[MutedEntry]:
        """Return what waits, in the order it came."""
        return [
            MutedEntry(
                row.place,
                EntryId(row.entry),
                IdentityId(row.identity),
                row.sort,
                row.day,
                row.listing,
            )
            for row in self._connection.execute(WAITING, {"after": after, "limit": limit})
        ]

    def unmute(self, places: Sequence[int]) -> None:
        """Show what waited at these places."""
        if places:
            self._connection.execute(
                delete(muted).where(muted.c.place == bindparam("at")),
                [{"at": place} for place in places],
            )

    def forget(self, identity: IdentityId) -> None:
        """Drop what waits of an Identity whose Feeds were given up, or that is ours."""
        self._connection.execute(delete(muted).where(muted.c.identity == identity))

    def by_sort(self, limit: int = HOUSEKEEPING_ROWS_MAX) -> list[MutedCount]:
        """Return how much waits, by Identity, sort and day of arrival."""
        return [
            MutedCount(IdentityId(row.identity), row.sort, row.day, row.entries)
            for row in self._connection.execute(BY_SORT, {"limit": limit})
        ]
