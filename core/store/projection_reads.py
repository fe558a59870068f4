"""Asking what the Projections say of Identities, and comparing them as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam, literal, select, tuple_

from hanse.core.ledger.codec import encode
from hanse.core.model.ids import AuthorKey, IdentityId
from hanse.core.store.forks import ForkRepository
from hanse.core.store.projections import PROJECTIONS, read_list
from hanse.core.store.standings import Standings
from hanse.core.store.tables import devices, follows, identities, profiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hanse.core.ledger.identities import Standing
    from hanse.core.store.feed_rows import AnyRow
    from hanse.core.store.feeds import FeedRepository
    from hanse.core.store.memory import Memory

_ROWS_PER_PAGE: Final = 1000

# Folds over what the Root said; the version counts like that of a Projection.
OF_STANDINGS: Final = {identities: 1, devices: 1}
TABLES: Final = (
    *sorted(
        (*OF_STANDINGS, *(projection.table for projection in PROJECTIONS)),
        key=lambda table: table.name,
    ),
)


FOLLOWS_OF: Final = (
    select(follows.c.target, follows.c.weight)
    .where(follows.c.identity == bindparam("identity"), follows.c.target > bindparam("after"))
    .order_by(follows.c.target)
    .limit(_ROWS_PER_PAGE)
)


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One Device of an Identity: live, revoked, void or disputed."""

    device: AuthorKey
    identity: IdentityId
    r: int
    role: str
    name: str
    box: bytes
    created_ms: int
    state: str
    cut_seq: int | None
    successor: AuthorKey | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """The newest Profile of an Identity."""

    identity: IdentityId
    name: str
    about: str
    web: tuple[str, ...]
    contact: str | None
    sectors: tuple[str, ...]
    lang: str | None
    avatar: bytes | None
    time_ms: int


@dataclass(frozen=True, slots=True)
class FollowRow:
    """Somebody who is followed (weight 1) or vouched for (3)."""

    target: IdentityId
    weight: int


class ProjectionReads:
    """What is asked of the Projections, on one connection."""

    def __init__(self, connection: Connection, feeds: FeedRepository, memory: Memory) -> None:
        """Work on ``connection``, whose Feeds are ``feeds``."""
        self._connection = connection
        self._feeds = feeds
        self._memory = memory
        self._standings = Standings(feeds, ForkRepository(connection), memory)

    def standing_of(self, identity: IdentityId) -> Standing | None:
        """Fold the root Entries held of an Identity; ``None`` while its first one is missing."""
        return self._standings.of(identity)

    def identities(self) -> Iterator[IdentityId]:
        """Yield every Identity held, page by page."""
        after = b""
        while page := self._connection.execute(
            select(identities.c.identity)
            .where(identities.c.identity > after)
            .order_by(identities.c.identity)
            .limit(_ROWS_PER_PAGE)
        ).all():
            yield from (IdentityId(row.identity) for row in page)
            after = page[-1].identity

    def devices(self, identity: IdentityId) -> list[DeviceRow]:
        """Return the Devices of an Identity, by key."""
        rows = self._connection.execute(
            select(devices)
            .where(devices.c.identity == identity)
            .order_by(devices.c.device)
            .limit(_ROWS_PER_PAGE)
        )
        return [DeviceRow(**row) for row in rows.mappings()]

    def device(self, device: AuthorKey) -> DeviceRow | None:
        """Return one Device by its key, whose ever it is."""
        row = self._connection.execute(select(devices).where(devices.c.device == device)).first()
        return None if row is None else DeviceRow(**row._mapping)  # noqa: SLF001  a row's columns

    def profile(self, identity: IdentityId) -> ProfileRow | None:
        """Return the newest Profile of an Identity."""
        row = self._connection.execute(
            select(profiles).where(profiles.c.identity == identity)
        ).first()
        if row is None:
            return None
        return ProfileRow(
            identity=identity,
            name=row.name,
            about=row.about,
            web=read_list(row.web),
            contact=row.contact,
            sectors=read_list(row.sectors),
            lang=row.lang,
            avatar=row.avatar,
            time_ms=row.time_ms,
        )

    def follows_of(self, identity: IdentityId) -> Iterator[FollowRow]:
        """Yield whom an Identity follows now, by id, page by page."""
        after = b""
        while page := self._connection.execute(
            FOLLOWS_OF, {"identity": identity, "after": after}
        ).all():
            yield from (FollowRow(IdentityId(row.target), row.weight) for row in page if row.weight)
            after = page[-1].target

    def digest(self) -> bytes:
        """Return SHA-256 over all rows of all Projections: equal where two Peers know the same."""
        digest = sha256()
        for table in TABLES:
            digest.update(encode([str(table.name), [str(column.name) for column in table.columns]]))
            for page in self._pages(table):
                for row in page:
                    digest.update(encode(list(row)))
        return digest.digest()

    def _pages(self, table: Table) -> Iterator[Sequence[AnyRow]]:
        """Yield all rows in the order of their keys."""
        key = list(table.primary_key.columns)
        after: list[bytes] | None = None
        while True:
            statement = select(table).order_by(*key).limit(_ROWS_PER_PAGE)
            if after is not None:
                statement = statement.where(_is_after(table, after))
            page = self._connection.execute(statement).all()
            yield page
            if len(page) < _ROWS_PER_PAGE:
                return
            after = [getattr(page[-1], column.name) for column in key]


def _is_after(table: Table, after: Sequence[bytes]) -> ColumnElement[bool]:
    """Compare the whole primary key with ``after``."""
    key = list(table.primary_key.columns)
    if len(key) == 1:
        return key[0] > after[0]
    return tuple_(*key) > tuple_(*(literal(part) for part in after))
