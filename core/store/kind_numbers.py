"""Entry kinds as small numbers, so that a row holds two bytes and not a word.

Numbers are given as kinds are met, never changed, and known in memory only as far
as they were read: a flood of invented kinds costs rows, not memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select

from hanse.core.limits import KINDS_REMEMBERED_MAX
from hanse.core.store.tables import kinds

if TYPE_CHECKING:
    from collections.abc import Iterable


class KindNumbers:
    """What one side of the store (the writer, or the readers) has read of the table."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._numbers: dict[str, int] = {}
        self._kinds: dict[int, str] = {}

    def forget(self) -> None:
        """Forget everything: a transaction that was rolled back may have given numbers."""
        self._numbers = {}
        self._kinds = {}

    def number(self, connection: Connection, kind: str) -> int:
        """Return the number of ``kind``, giving it one if it has none."""
        found = self.find(connection, kind)
        if found is None:
            result = connection.execute(insert(kinds).values(kind=kind))
            assert result.inserted_primary_key is not None
            found = int(result.inserted_primary_key[0])
            self._remember(kind, found)
        return found

    def find(self, connection: Connection, kind: str) -> int | None:
        """Return the number of ``kind``, or ``None`` when no Entry of it was ever held."""
        number = self._numbers.get(kind)
        if number is None:
            number = connection.execute(
                select(kinds.c.number).where(kinds.c.kind == kind)
            ).scalar_one_or_none()
            if number is not None:
                self._remember(kind, number)
        return number

    def find_all(self, connection: Connection, wanted: Iterable[str]) -> list[int]:
        """Return the numbers of those of ``wanted`` that have one."""
        found = (self.find(connection, kind) for kind in sorted(wanted))
        return [number for number in found if number is not None]

    def kind(self, connection: Connection, number: int) -> str:
        """Return the kind with this number."""
        kind = self._kinds.get(number)
        if kind is None:
            kind = connection.execute(
                select(kinds.c.kind).where(kinds.c.number == number)
            ).scalar_one()
            self._remember(kind, number)
        return kind

    def _remember(self, kind: str, number: int) -> None:
        if len(self._numbers) >= KINDS_REMEMBERED_MAX:
            self.forget()
        self._numbers[kind] = number
        self._kinds[number] = kind
