"""Small facts about this store itself, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from hanse.core.store.tables import meta

if TYPE_CHECKING:
    from hanse.core.clock import Chance

STORE_EPOCH: Final = "store_epoch"
_EPOCH_SIZE_BYTES: Final = 16


class MetaRepository:
    """Names and texts; whoever writes a name owns it."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def get(self, name: str) -> str | None:
        """Return what was put under ``name``."""
        return self._connection.execute(
            select(meta.c.value).where(meta.c.name == name)
        ).scalar_one_or_none()

    def put(self, name: str, value: str) -> None:
        """Keep ``value`` under ``name``, in place of what was there."""
        statement = insert(meta).values(name=name, value=value)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[meta.c.name], set_={"value": statement.excluded.value}
            )
        )

    def store_epoch(self) -> bytes:
        """Return the 16 bytes that name this numbering of arrivals."""
        value = self.get(STORE_EPOCH)
        assert value is not None
        return bytes.fromhex(value)

    def renew_store_epoch(self, chance: Chance) -> bytes:
        """Begin a new numbering: cursors that peers keep of the old one mean nothing any more."""
        epoch = chance.bytes(_EPOCH_SIZE_BYTES)
        self.put(STORE_EPOCH, epoch.hex())
        return epoch
