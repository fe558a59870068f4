"""What a Projection is: how Entries become the rows of one table.

A Projection is a *join*: each of its rows is made of a set of Entries, one after
the other, and which came first changes nothing.

* ``fold`` is pure, commutative and idempotent.  Newest wins by (time_ms, author,
  seq), never by arrival.
* A row belongs to one Identity, so it can be made again from that Identity's
  Entries alone when something changed what counts of them.
* Only Entries that count and whose Body is here are ever folded.
* New meaning is a new ``version``: everything is folded again at the next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.kinds import Body, parse_body

if TYPE_CHECKING:
    from sqlalchemy import Table

    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId

Key = tuple[bytes, ...]
Values = Mapping[str, object]


class FoldItem:
    """One Entry that counts, as a Projection sees it; its Body is read when it is asked for."""

    __slots__ = (
        "_body",
        "_raw",
        "author",
        "entry_id",
        "identity",
        "kind",
        "order",
        "seq",
        "time_ms",
    )

    def __init__(
        self,
        entry_id: EntryId,
        author: AuthorKey,
        seq: int,
        time_ms: int,
        kind: str,
        identity: IdentityId,
        raw: bytes,
        body: Body | None = None,
    ) -> None:
        """Hold the columns; ``body`` is given where it was parsed already."""
        self.entry_id = entry_id
        self.author = author
        self.seq = seq
        self.time_ms = time_ms
        self.kind = kind
        self.identity = identity
        self.order = (time_ms, author, seq)  # of two the greater is newer
        self._raw: bytes | None = raw
        self._body = body

    @property
    def body(self) -> Body | None:
        """Return the Body, ``None`` when it is void."""
        if self._body is None and self._raw is not None:
            try:
                self._body = parse_body(self.kind, self._raw)
            except RejectedEntry:
                self._raw = None
        return self._body


class Projection(Protocol):
    """One table, the kinds it is made of, and how."""

    name: str
    kinds: frozenset[str]
    table: Table

    @property
    def version(self) -> int:
        """Return another number where Entries are folded differently."""
        ...

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Return the primary keys of the rows that ``item`` belongs to."""
        ...

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Return the row with ``item`` in it; the very same one when that changes nothing."""
        ...


def is_newest(row: Values | None, item: FoldItem) -> bool:
    """Say whether ``item`` is newer than the one whose values ``row`` holds."""
    return row is None or (row["time_ms"], row["author"], row["seq"]) < item.order


def write_list(texts: Iterable[str]) -> str:
    """Write a list of texts as one column holds it."""
    return msgspec.json.encode(list(texts)).decode()


def read_list(text: str) -> tuple[str, ...]:
    """Read back a list of texts from its column."""
    return msgspec.json.decode(text.encode(), type=tuple[str, ...])
