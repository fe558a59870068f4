"""What each object cost and gave, in bytes: what came in for it, what went out.

* Counted here are the bytes of files; what a protocol puts around them is not.
* Only so many rows are kept; the one that changed longest ago goes first.

Who gave and who got is nobody's business and not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from hanse.core.limits import TRAFFIC_ROWS_MAX
from hanse.core.store.network_tables import traffic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.store.objects import ObjectName

TRAFFIC_OF: Final = select(traffic.c.in_bytes, traffic.c.out_bytes).where(
    traffic.c.root == bindparam("root"), traffic.c.size == bindparam("size")
)
TOTALS: Final = select(
    func.coalesce(func.sum(traffic.c.in_bytes), 0), func.coalesce(func.sum(traffic.c.out_bytes), 0)
)
_OLD: Final = (
    select(traffic.c.root, traffic.c.size)
    .order_by(traffic.c.changed_ms.desc(), traffic.c.root, traffic.c.size)
    .offset(TRAFFIC_ROWS_MAX)
)


class TrafficRepository:
    """The counts of all objects."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def add(
        self,
        came: Mapping[ObjectName, int],
        went: Mapping[ObjectName, int],
        now_ms: int,
    ) -> None:
        """Count bytes in and out, each for its object."""
        statement = insert(traffic)
        rows = [
            {
                "root": name[0],
                "size": name[1],
                "in_bytes": came.get(name, 0),
                "out_bytes": went.get(name, 0),
                "changed_ms": now_ms,
            }
            for name in dict.fromkeys((*came, *went))
        ]
        if not rows:
            return
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(traffic.primary_key.columns),
                set_={
                    "in_bytes": traffic.c.in_bytes + statement.excluded.in_bytes,
                    "out_bytes": traffic.c.out_bytes + statement.excluded.out_bytes,
                    "changed_ms": statement.excluded.changed_ms,
                },
            ),
            rows,
        )
        if self._count() > TRAFFIC_ROWS_MAX:
            which = tuple_(traffic.c.root, traffic.c.size).in_(_OLD)
            self._connection.execute(delete(traffic).where(which))

    def of(self, name: ObjectName) -> tuple[int, int]:
        """Return the bytes in and out of one object."""
        row = self._connection.execute(TRAFFIC_OF, {"root": name[0], "size": name[1]}).first()
        return (0, 0) if row is None else (row.in_bytes, row.out_bytes)

    def totals(self) -> tuple[int, int]:
        """Return all bytes in and out."""
        came, went = self._connection.execute(TOTALS).one()
        return came, went

    def _count(self) -> int:
        return self._connection.execute(select(func.count()).select_from(traffic)).scalar_one()
