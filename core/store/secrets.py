"""Sealed boxes by name: secrets that must change together with rows.

The store cannot open them: they are sealed under the Local key, which is in the
Keystore.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from hanse.core.store.tables import secrets

_AFTER_ANY_NAME = "\U0010ffff"


class SecretRepository:
    """Opaque boxes; names are few and ours."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def get(self, name: str) -> bytes | None:
        """Return the box under ``name``."""
        return self._connection.execute(
            select(secrets.c.box).where(secrets.c.name == name)
        ).scalar_one_or_none()

    def put(self, name: str, box: bytes) -> None:
        """Keep ``box`` under ``name``, in place of what was there."""
        statement = insert(secrets).values(name=name, box=box)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[secrets.c.name], set_={"box": statement.excluded.box}
            )
        )

    def named(self, prefix: str, limit: int = 1000) -> list[tuple[str, bytes]]:
        """Return names and boxes whose name begins with ``prefix``, by name."""
        rows = self._connection.execute(
            select(secrets.c.name, secrets.c.box)
            .where(secrets.c.name >= prefix, secrets.c.name < prefix + _AFTER_ANY_NAME)
            .order_by(secrets.c.name)
            .limit(limit)
        )
        return [(name, box) for name, box in rows]

    def remove(self, name: str) -> None:
        """Forget the box under ``name``, if there is one."""
        self._connection.execute(delete(secrets).where(secrets.c.name == name))
