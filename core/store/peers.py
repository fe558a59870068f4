"""Other Devices: those that spoke to us once, and those the person named.

* One row for each Device key.  What a Peer says of itself (``identity``, ``roles``, ``program``)
  is its claim; whether a Delegation bears it out is asked of the Devices held.
* Only so many rows are kept, and only so long.  What goes first: who never answered where we
  dialled it, then whom nothing held here names, then who was heard of longest ago.  The person's
  own list never goes by itself.
* The cursor into a Peer's arrivals goes with its row: without one everything is compared anew.

What an address may be and who is dialled is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, false, func, select, true, update
from sqlalchemy.dialects.sqlite import insert

from hanse.core.limits import PEERS_KEPT_MAX
from hanse.core.model.ids import AuthorKey, IdentityId
from hanse.core.model.network import Cursor, Met
from hanse.core.store.network_tables import peers
from hanse.core.store.projections import read_list
from hanse.core.store.projections.fold import write_list
from hanse.core.store.tables import devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.store.feed_rows import AnyRow

FORGOTTEN_AFTER_MS: Final = 90 * 24 * 60 * 60 * 1000
_SPARE: Final = 50  # rows dropped at once beyond the one that comes, so that not each one sorts all


@dataclass(frozen=True, slots=True)
class PeerRow:
    """What is kept of one Device; ``addresses`` are multiaddr texts with its key, the best first.

    ``seen_ms`` is the last time it said something, ``answered_ms`` the last time it did so at
    ``addresses[0]``, where we had dialled it.  ``failures`` counts dials in a row that failed.
    """

    device: AuthorKey
    addresses: tuple[str, ...]
    met: Met
    met_ms: int
    is_kept: bool = False
    identity: IdentityId | None = None
    roles: tuple[str, ...] = ()
    program: str = ""
    name: str = ""
    cursor: Cursor | None = None
    reconciled_ms: int | None = None
    seen_ms: int | None = None
    answered_ms: int | None = None
    tried_ms: int | None = None
    failures: int = 0
    reason: str | None = None
    penalty_milli: int = 0
    penalty_ms: int = 0
    refused_until_ms: int | None = None
    in_bytes: int = 0
    out_bytes: int = 0


OF_DEVICE: Final = select(peers).where(peers.c.device == bindparam("device"))
IS_KEPT: Final = select(peers.c.device).where(peers.c.device == bindparam("device"))
_INSERT: Final = insert(peers)
PUT: Final = _INSERT.on_conflict_do_update(
    index_elements=[peers.c.device],
    set_={it.name: _INSERT.excluded[it.name] for it in peers.c if it.name != "device"},
)
EVERY: Final = select(peers).order_by(peers.c.device).limit(2 * PEERS_KEPT_MAX)
COUNT: Final = select(func.count()).select_from(peers)
COUNT_KEPT: Final = COUNT.where(peers.c.is_kept == true())
_HEARD_MS: Final = func.coalesce(peers.c.seen_ms, peers.c.met_ms)
LEAST_USEFUL: Final = (
    select(peers.c.device)
    .outerjoin(devices, devices.c.device == peers.c.device)
    .where(peers.c.is_kept == false())
    .order_by(
        peers.c.answered_ms.is_not(None),
        devices.c.device.is_not(None),
        func.coalesce(peers.c.answered_ms, _HEARD_MS),
        peers.c.device,
    )
    .limit(bindparam("most"))
)
CONDUCTS: Final = (
    select(peers)
    .where(peers.c.penalty_milli > 0)
    .order_by(peers.c.device)
    .limit(2 * PEERS_KEPT_MAX)
)


class PeerRepository:
    """All Peers of this folder."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    # --- asking -----------------------------------------------------------------------------

    def get(self, device: AuthorKey) -> PeerRow | None:
        """Return what is kept of one Device."""
        row = self._connection.execute(OF_DEVICE, {"device": device}).first()
        return None if row is None else _peer(row)

    def all(self) -> list[PeerRow]:
        """Return every Peer, by key; there are never more than a few thousand."""
        return [_peer(row) for row in self._connection.execute(EVERY)]

    def with_penalties(self) -> list[PeerRow]:
        """Return the Peers something is or was held against."""
        return [_peer(row) for row in self._connection.execute(CONDUCTS)]

    def last_heard(self, since_ms: int) -> tuple[int | None, int]:
        """Return when a Peer we exchange with last spoke, and how many did since ``since_ms``."""
        when = func.max(peers.c.reconciled_ms, func.coalesce(peers.c.seen_ms, 0))
        exchanged = select(when.label("heard_ms")).where(peers.c.reconciled_ms.is_not(None))
        times = exchanged.subquery()
        row = self._connection.execute(
            select(
                func.max(times.c.heard_ms),
                func.count().filter(times.c.heard_ms >= since_ms),
            ).select_from(times)
        ).one()
        return row[0], row[1]

    def count_kept(self) -> int:
        """Return how long the person's own list is."""
        return self._connection.execute(COUNT_KEPT).scalar_one()

    def delegations(self, found: Sequence[AuthorKey]) -> dict[AuthorKey, IdentityId]:
        """Return for whom Devices speak as a Delegation held here says, and nothing revoked."""
        rows = self._connection.execute(
            select(devices.c.device, devices.c.identity).where(
                devices.c.device.in_(list(found)), devices.c.state == "live"
            )
        )
        return {AuthorKey(row.device): IdentityId(row.identity) for row in rows}

    # --- keeping ----------------------------------------------------------------------------

    def put(self, row: PeerRow) -> None:
        """Keep a Peer, in place of what was kept of it; make room for one that is new."""
        if self._connection.execute(IS_KEPT, {"device": row.device}).first() is None:
            self._make_room()
        self._connection.execute(PUT, _values(row))

    def forget(self, device: AuthorKey) -> bool:
        """Drop a Peer; say whether there was one."""
        return bool(
            self._connection.execute(delete(peers).where(peers.c.device == device)).rowcount
        )

    def keep_cursor(
        self, device: AuthorKey, cursor: Cursor | None, reconciled_ms: int | None = None
    ) -> None:
        """Note how far the arrivals of a Peer were read, and when everything was last compared.

        Of a Peer that is not kept nothing is noted.
        """
        values: dict[str, object] = {
            "arrivals_epoch": None if cursor is None else cursor.store_epoch,
            "arrivals_n": None if cursor is None else cursor.n,
        }
        if reconciled_ms is not None:
            values["reconciled_ms"] = reconciled_ms
        self._connection.execute(update(peers).where(peers.c.device == device).values(**values))

    def count_bytes(self, device: AuthorKey, in_bytes: int, out_bytes: int) -> None:
        """Add to what came from a Peer and went to it."""
        self._connection.execute(
            update(peers)
            .where(peers.c.device == device)
            .values(in_bytes=peers.c.in_bytes + in_bytes, out_bytes=peers.c.out_bytes + out_bytes)
        )

    def sweep(self, now_ms: int) -> int:
        """Forget whom nothing was heard of for 90 days; return how many went."""
        return self._connection.execute(
            delete(peers).where(
                peers.c.is_kept == false(),
                now_ms - FORGOTTEN_AFTER_MS > _HEARD_MS,
                func.coalesce(peers.c.refused_until_ms, 0) < now_ms,
            )
        ).rowcount

    def _make_room(self) -> None:
        over = self._connection.execute(COUNT).scalar_one() + 1 - PEERS_KEPT_MAX
        if over <= 0:
            return
        least = [
            row.device for row in self._connection.execute(LEAST_USEFUL, {"most": over + _SPARE})
        ]
        self._connection.execute(delete(peers).where(peers.c.device.in_(least)))


def _values(row: PeerRow) -> dict[str, object]:
    return {
        "device": row.device,
        "identity": row.identity,
        "addresses": write_list(row.addresses),
        "source": row.met.value,
        "is_kept": row.is_kept,
        "roles": write_list(row.roles),
        "program": row.program,
        "name": row.name,
        "arrivals_epoch": None if row.cursor is None else row.cursor.store_epoch,
        "arrivals_n": None if row.cursor is None else row.cursor.n,
        "reconciled_ms": row.reconciled_ms,
        "met_ms": row.met_ms,
        "seen_ms": row.seen_ms,
        "answered_ms": row.answered_ms,
        "tried_ms": row.tried_ms,
        "failures": row.failures,
        "reason": row.reason,
        "penalty_milli": row.penalty_milli,
        "penalty_ms": row.penalty_ms,
        "refused_until_ms": row.refused_until_ms,
        "in_bytes": row.in_bytes,
        "out_bytes": row.out_bytes,
    }


def _peer(row: AnyRow) -> PeerRow:
    cursor = None
    if row.arrivals_epoch is not None:
        cursor = Cursor(row.arrivals_epoch, row.arrivals_n)
    return PeerRow(
        device=AuthorKey(row.device),
        addresses=read_list(row.addresses),
        met=Met(row.source),
        met_ms=row.met_ms,
        is_kept=row.is_kept,
        identity=None if row.identity is None else IdentityId(row.identity),
        roles=read_list(row.roles),
        program=row.program,
        name=row.name,
        cursor=cursor,
        reconciled_ms=row.reconciled_ms,
        seen_ms=row.seen_ms,
        answered_ms=row.answered_ms,
        tried_ms=row.tried_ms,
        failures=row.failures,
        reason=row.reason,
        penalty_milli=row.penalty_milli,
        penalty_ms=row.penalty_ms,
        refused_until_ms=row.refused_until_ms,
        in_bytes=row.in_bytes,
        out_bytes=row.out_bytes,
    )
