"""How much is held of strangers, who is used least, and what must stay all the same.

A Feed counts as used when something of it came last.  Nothing is given up here:
``FeedRepository.drop`` does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, exists, func, select, union_all

from hanse.core.ledger.quotas import Tier
from hanse.core.model.ids import IdentityId
from hanse.core.store.network_tables import dropped_feeds, transfers
from hanse.core.store.tables import entries, feeds, manifests, object_uses, private_to, refs

TOTALS: Final = select(
    func.count(),
    func.coalesce(func.sum(feeds.c.head_seq), 0),
    func.coalesce(func.sum(feeds.c.body_bytes), 0),
).where(feeds.c.tier == Tier.STRANGER.value)
LEAST_USED: Final = (
    select(feeds.c.identity)
    .where(feeds.c.tier == Tier.STRANGER.value, feeds.c.identity.is_not(None))
    .group_by(feeds.c.identity)
    .order_by(func.max(feeds.c.seen_ms), feeds.c.identity)
    .limit(bindparam("limit"))
)
_OURS: Final = feeds.alias("ours")
_WRITING: Final = entries.alias("writing")
_NAMED: Final = (
    select(refs.c.n)
    .join(_WRITING, _WRITING.c.n == refs.c.n)
    .join(_OURS, _OURS.c.feed == _WRITING.c.feed)
    .where(refs.c.target == entries.c.id, _OURS.c.identity == bindparam("own"))
    .correlate(entries)
)
_USED: Final = union_all(
    select(transfers.c.release),
    select(manifests.c.release).where(manifests.c.release.is_not(None)),
    select(object_uses.c.release).where(object_uses.c.release.is_not(None)),
)
IS_NEEDED: Final = (
    select(entries.c.n)
    .join(feeds, feeds.c.feed == entries.c.feed)
    .where(
        feeds.c.identity == bindparam("identity"),
        exists(_NAMED)
        | entries.c.id.in_(_USED)
        | exists(select(private_to.c.n).where(private_to.c.n == entries.c.n)),
    )
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Totals:
    """What is held of all strangers together."""

    feeds: int
    headers: int
    body_bytes: int


class RoomRepository:
    """Answers on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def totals(self) -> Totals:
        """Return what is held of strangers; reads every Feed's row."""
        return Totals(*self._connection.execute(TOTALS).one())

    def least_used(self, limit: int) -> list[IdentityId]:
        """Return the strangers of whom something came longest ago."""
        rows = self._connection.execute(LEAST_USED, {"limit": limit}).scalars()
        return [IdentityId(identity) for identity in rows]

    def is_needed(self, identity: IdentityId, own: IdentityId) -> bool:
        """Say whether an Entry of ``own`` names one of theirs, or their files are used here."""
        values = {"identity": identity, "own": own}
        return self._connection.execute(IS_NEEDED, values).first() is not None

    def forget_dropped(self, before_ms: int, most: int) -> None:
        """Let Feeds be fetched again that were given up before ``before_ms``, or are too many."""
        self._connection.execute(
            dropped_feeds.delete().where(dropped_feeds.c.dropped_ms < before_ms)
        )
        count = self._connection.execute(
            select(func.count()).select_from(dropped_feeds)
        ).scalar_one()
        if count > most:
            oldest = (
                select(dropped_feeds.c.author)
                .order_by(dropped_feeds.c.dropped_ms, dropped_feeds.c.author)
                .limit(count - most)
            )
            self._connection.execute(
                dropped_feeds.delete().where(dropped_feeds.c.author.in_(oldest))
            )

    def want_again(self, identity: IdentityId) -> None:
        """Let what was given up of an Identity be fetched again at once."""
        self._connection.execute(dropped_feeds.delete().where(dropped_feeds.c.identity == identity))
