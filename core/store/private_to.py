"""For whom a Private body is: the Identities whose Devices may be given it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from hanse.core.limits import ENVELOPE_SLOTS_MAX
from hanse.core.model.ids import EntryId, IdentityId
from hanse.core.store.tables import entries, private_to

if TYPE_CHECKING:
    from collections.abc import Iterable


class PrivateToRepository:
    """Readers of own Private bodies."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def add(self, entry_id: EntryId, identities: Iterable[IdentityId]) -> None:
        """Let Devices of ``identities`` have the Body of an Entry that is held."""
        n = self._connection.execute(
            select(entries.c.n).where(entries.c.id == entry_id)
        ).scalar_one()
        rows = [{"n": n, "identity": identity} for identity in sorted(set(identities))]
        if rows:
            self._connection.execute(insert(private_to).on_conflict_do_nothing(), rows)

    def may_read(self, entry_id: EntryId, identity: IdentityId) -> bool:
        """Say whether a Device of ``identity`` may be given this Body."""
        row = self._connection.execute(
            select(private_to.c.n)
            .join(entries, entries.c.n == private_to.c.n)
            .where(entries.c.id == entry_id, private_to.c.identity == identity)
        ).first()
        return row is not None

    def parties(self, limit: int) -> list[IdentityId]:
        """Return every Identity that was sent something sealed, by id."""
        rows = self._connection.execute(
            select(private_to.c.identity)
            .group_by(private_to.c.identity)
            .order_by(private_to.c.identity)
            .limit(limit)
        ).scalars()
        return [IdentityId(identity) for identity in rows]

    def newest(self) -> int:
        """Return the highest arrival number of an Entry that has readers, 0 for none."""
        return self._connection.execute(select(func.max(private_to.c.n))).scalar_one() or 0

    def readers(self, entry_id: EntryId, limit: int = ENVELOPE_SLOTS_MAX) -> list[IdentityId]:
        """Return the Identities that may be given this Body."""
        rows = self._connection.execute(
            select(private_to.c.identity)
            .join(entries, entries.c.n == private_to.c.n)
            .where(entries.c.id == entry_id)
            .order_by(private_to.c.identity)
            .limit(limit)
        ).scalars()
        return [IdentityId(identity) for identity in rows]
