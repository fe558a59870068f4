"""Projections: tables that are computed from the Ledger alone.

A Projection is a *join*: each of its rows is made of a set of Entries, one after
the other, and which came first changes nothing.

* ``fold`` is pure, commutative and idempotent.  Newest wins by (time_ms, author,
  seq), never by arrival.
* A row belongs to one Identity, so it can be made again from that Identity's
  Entries alone when something changed what counts of them.
* Only Entries that count and whose Body is here are ever folded.
* New meaning is a new ``version``: everything is folded again at the next start.

Later parts add theirs to ``PROJECTIONS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.kinds import Body, Erase1, Profile1, parse_body
from hanse.core.store.tables import erasures, profiles

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
    version: int
    kinds: frozenset[str]
    table: Table

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Return the primary keys of the rows that ``item`` belongs to."""
        ...

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Return the row with ``item`` in it; the very same one when that changes nothing."""
        ...


class Profiles:
    """The newest ``profile/1`` of each Identity."""

    name = "profiles"
    version = 1
    kinds = frozenset({"profile/1"})
    table = profiles

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name the Identity: it has one Profile."""
        return ((item.identity,),)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Newest wins."""
        if row is not None and (row["time_ms"], row["author"], row["seq"]) >= item.order:
            return row
        body = item.body
        if not isinstance(body, Profile1):
            return row
        return {
            "identity": key[0],
            "time_ms": item.time_ms,
            "author": item.author,
            "seq": item.seq,
            "name": body.name,
            "about": body.about,
            "web": _list(body.web),
            "contact": body.contact,
            "sectors": _list(body.sectors),
            "lang": body.lang,
            "avatar": body.avatar,
        }


class Erasures:
    """Which Bodies an Identity asked to drop; whether they are its own is looked at later."""

    name = "erasures"
    version = 1
    kinds = frozenset({"erase/1"})
    table = erasures

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Each target is a row."""
        body = item.body
        if not isinstance(body, Erase1):
            return ()
        return ((target, item.identity) for target in body.targets)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Of several Entries that erase one the lowest id is named."""
        by = row["by"] if row is not None else None
        if isinstance(by, bytes) and by <= item.entry_id:
            return row
        target, identity = key
        return {"target": target, "identity": identity, "by": item.entry_id}


ERASURES: Final = Erasures()
PROJECTIONS: Final[tuple[Projection, ...]] = (ERASURES, Profiles())

assert len({projection.name for projection in PROJECTIONS}) == len(PROJECTIONS)


def _list(texts: Iterable[str]) -> str:
    return msgspec.json.encode(list(texts)).decode()


def read_list(text: str) -> tuple[str, ...]:
    """Read back a list of texts from its column."""
    return msgspec.json.decode(text.encode(), type=tuple[str, ...])
