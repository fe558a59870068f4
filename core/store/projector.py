"""Keeping the Projections true: as Entries arrive, when what counts changes, and from nothing.

* ``apply`` folds Entries that were just appended.
* ``refold`` makes every row of one Identity again.  Its caller calls it when a root
  Entry, a Fork, a branch or a late Body changed what counts.
* ``rebuild`` makes everything again from the Entries; ``difference`` says whether
  that would change anything.  All four ways lead to the same rows.

Two tables are not folds over Entries but over what the Root said of Devices:
``identities`` and ``devices``.  An erased Body is dropped here, because only here it
is known whose it is; when the Entry that erased it no longer counts, the Body is
wanted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert

from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import CheckedEntry, recall_entry
from hanse.core.ledger.feed import Accepted, BodyState
from hanse.core.ledger.kinds import KINDS
from hanse.core.limits import ENTRIES_PER_BATCH_MAX, FOLDED_ROWS_IN_MEMORY_MAX
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.store.forks import ForkRepository
from hanse.core.store.projections import (
    ERASURES,
    PROJECTIONS,
    FoldItem,
    Key,
    Projection,
    Values,
    read_list,
)
from hanse.core.store.standings import Standings, Voice
from hanse.core.store.tables import (
    devices,
    entries,
    erasures,
    feeds,
    identities,
    profiles,
    projections,
)

if TYPE_CHECKING:
    from hanse.core.ledger.identities import Standing
    from hanse.core.store.feed_rows import AnyRow, FeedRow
    from hanse.core.store.feeds import FeedRepository
    from hanse.core.store.memory import Memory

Progress = Callable[[int], None]
Rows = dict[Key, Values]

_IDS_PER_QUERY: Final = 1000
_ROWS_PER_PAGE: Final = 1000
_DEVICE: Final = "device/1"
_ORDER: Final = attrgetter("order")

# Folds over what the Root said; the version counts like that of a Projection.
_OF_STANDINGS: Final = {identities: 1, devices: 1}
_TABLES: Final = (
    *sorted(
        (*_OF_STANDINGS, *(projection.table for projection in PROJECTIONS)),
        key=lambda table: table.name,
    ),
)
_VERSIONS: Final = {table.name: version for table, version in _OF_STANDINGS.items()} | {
    projection.name: projection.version for projection in PROJECTIONS
}
assert set(_VERSIONS) == {table.name for table in _TABLES}
_FOLDED_KINDS: Final = frozenset().union(*(projection.kinds for projection in PROJECTIONS))

TO_ERASE: Final = (
    select(entries.c.id, entries.c.kind, entries.c.body_state, feeds.c.identity)
    .join(erasures, erasures.c.target == entries.c.id)
    .join(feeds, (feeds.c.feed == entries.c.feed) & (feeds.c.identity == erasures.c.identity))
    .where(
        erasures.c.target.in_(bindparam("ids", expanding=True)),
        entries.c.body_state != BodyState.ERASED.value,
    )
)
HAS_ERASED: Final = (
    select(erasures.c.target)
    .where(erasures.c.identity.in_(bindparam("identities", expanding=True)))
    .limit(1)
)
ERASED: Final = (
    select(entries.c.id, entries.c.kind)
    .join(feeds, feeds.c.feed == entries.c.feed)
    .where(
        entries.c.id.in_(bindparam("ids", expanding=True)),
        feeds.c.identity == bindparam("identity"),
        entries.c.body_state == BodyState.ERASED.value,
    )
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


class Projector:
    """All Projections, on one connection."""

    def __init__(self, connection: Connection, feeds: FeedRepository, memory: Memory) -> None:
        """Work on ``connection``, whose Feeds are ``feeds``."""
        self._connection = connection
        self._feeds = feeds
        self._memory = memory
        self._standings = Standings(feeds, ForkRepository(connection), memory)

    # --- asking -----------------------------------------------------------------------------

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

    def digest(self) -> bytes:
        """Return SHA-256 over all rows of all Projections: equal where two Peers know the same."""
        digest = sha256()
        for table in _TABLES:
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

    # --- as Entries arrive ------------------------------------------------------------------

    def apply(
        self,
        accepted: Sequence[tuple[CheckedEntry, Accepted]],
        numbers: Sequence[int],
        opened_for: Sequence[IdentityId],
    ) -> None:
        """Fold Entries that were just appended, whose Feeds' rows are saved.

        ``opened_for`` names the Identity of each one's Feed.  What the Entries change
        about *earlier* ones is folded here for erasures; for all else see ``refold``.
        """
        assert len(accepted) == len(numbers) == len(opened_for)
        items: list[FoldItem] = []
        opened: set[AuthorKey] = set()
        last: dict[tuple[AuthorKey, str], int] = {}  # seq that counts, by Feed and kind
        for (entry, verdict), identity in zip(accepted, opened_for, strict=True):
            header = entry.header
            kind = header.kind
            if kind not in _FOLDED_KINDS or verdict.body_state is not BodyState.HERE:
                if kind == _DEVICE:
                    opened.add(entry.author)
                continue
            feed = AuthorKey(header.author), kind
            if feed not in last:
                last[feed] = self._counted(entry)
            if header.seq <= last[feed]:
                items.append(_fresh_item(entry, verdict, identity))

        for author in sorted(opened):
            row = self._feeds.get(author)
            assert row is not None
            self._write_device(row)
        erasing = [item for item in items if item.kind in ERASURES.kinds]
        targets = self._fold_into_table(ERASURES, erasing)
        erased: dict[EntryId, IdentityId] = {}
        fresh = items
        if self._has_erased(opened_for):
            ids = [entry.entry_id for entry, _ in accepted]
            erased = self._erase((*ids, *(EntryId(target) for target, _ in targets)))
            fresh = [item for item in items if item.entry_id not in erased]
        for projection in PROJECTIONS:
            if projection is not ERASURES:
                self._fold_into_table(
                    projection, [item for item in fresh if item.kind in projection.kinds]
                )
        if erased:
            newly = {entry.entry_id for entry, _ in accepted}
            for identity in sorted({it for id_, it in erased.items() if id_ not in newly}):
                self._write_folds(identity)

    def _counted(self, entry: CheckedEntry) -> int:
        """Return the last seq at which Entries of this kind count in this Feed; 0 for none."""
        row = self._feeds.get(entry.author)
        voice = None if row is None else self._standings.voice(row)
        if voice is None or not voice.counts(entry.kind, entry.seq, lambda: entry):
            return 0  # and later ones of the batch neither: what counts is a beginning
        return voice.counted

    def _has_erased(self, identities: Iterable[IdentityId]) -> bool:
        """Say whether any of these has ever erased something that still is."""
        wanted = sorted(set(identities))
        return any(
            self._connection.execute(
                HAS_ERASED, {"identities": wanted[start : start + _IDS_PER_QUERY]}
            ).first()
            for start in range(0, len(wanted), _IDS_PER_QUERY)
        )

    def _fold_into_table(self, projection: Projection, items: Sequence[FoldItem]) -> list[Key]:
        """Fold ``items`` into the rows that are there; return the keys they belong to."""
        if not items:
            return []
        table = _FoldTable(self._connection, projection, is_empty=False)
        table.fold(sorted(items, key=_ORDER, reverse=True))
        table.flush()
        return list(table.touched)

    def _erase(self, ids: Iterable[EntryId]) -> dict[EntryId, IdentityId]:
        """Drop the Bodies of those that are named by an erasure of their own Identity."""
        erased: dict[EntryId, IdentityId] = {}
        wanted = list(ids)
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            rows = self._connection.execute(
                TO_ERASE, {"ids": wanted[start : start + _IDS_PER_QUERY]}
            ).all()
            for row in rows:
                kind = self._memory.kinds.kind(self._connection, row.kind)
                if _is_erasable(kind):
                    self._feeds.drop_body(EntryId(row.id), BodyState.ERASED)
                    erased[EntryId(row.id)] = IdentityId(row.identity)
        return erased

    def _want_again(self, identity: IdentityId, ids: Iterable[EntryId]) -> None:
        """Note that Bodies which were erased are merely missing."""
        wanted = list(ids)
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            rows = self._connection.execute(
                ERASED, {"ids": wanted[start : start + _IDS_PER_QUERY], "identity": identity}
            ).all()
            for row in rows:
                rule = KINDS.get(self._memory.kinds.kind(self._connection, row.kind))
                is_private = rule is not None and rule.private
                state = BodyState.PRIVATE if is_private else BodyState.ABSENT
                self._feeds.drop_body(EntryId(row.id), state)

    # --- when what counts changes -----------------------------------------------------------

    def refold(self, identity: IdentityId) -> None:
        """Make every row of one Identity again from its Entries that count."""
        self._connection.execute(delete(identities).where(identities.c.identity == identity))
        values = self._standings.identity_values(identity)
        if values is not None:
            self._connection.execute(insert(identities), dict(values))
        for row in self._feeds.of_identity(identity):
            self._write_device(row)
        self._write_erasures(identity)
        self._write_folds(identity)

    def _write_device(self, row: FeedRow) -> None:
        values = self._standings.device_values(row)
        self._connection.execute(delete(devices).where(devices.c.device == row.author))
        if values is not None:
            self._connection.execute(insert(devices), dict(values))

    def _write_erasures(self, identity: IdentityId) -> None:
        before = set(
            self._connection.execute(
                select(erasures.c.target).where(erasures.c.identity == identity)
            ).scalars()
        )
        rows = self._folded(ERASURES, identity)
        self._replace(ERASURES, identity, rows)
        now = {target for target, _ in rows}
        self._want_again(identity, [EntryId(target) for target in sorted(before - now)])
        self._erase([EntryId(target) for target in sorted(now)])

    def _write_folds(self, identity: IdentityId) -> None:
        for projection in PROJECTIONS:
            if projection is not ERASURES:
                self._replace(projection, identity, self._folded(projection, identity))

    def _replace(self, projection: Projection, identity: IdentityId, rows: Rows) -> None:
        table = projection.table
        self._connection.execute(delete(table).where(table.c.identity == identity))
        if rows:
            self._connection.execute(insert(table), [dict(row) for row in rows.values()])

    def _folded(self, projection: Projection, identity: IdentityId) -> Rows:
        """Fold everything of one Identity that counts, in memory."""
        rows: Rows = {}
        for row in self._feeds.of_identity(identity):
            voice = self._standings.voice(row)
            if voice is None or voice.known is None:
                continue
            for kind in sorted(projection.kinds):
                for page in self._feeds.scan_feed(row, kind, voice.counted):
                    for item in _items(page, kind, row.author, voice):
                        _fold_into(rows, projection, item)
        return rows

    # --- from nothing -----------------------------------------------------------------------

    def is_outdated(self) -> bool:
        """Say whether this program folds differently from the one that wrote the tables."""
        held = self._connection.execute(select(projections.c.name, projections.c.version))
        return {row.name: row.version for row in held} != _VERSIONS

    def rebuild(self, progress: Progress | None = None) -> int:
        """Make everything again from the Entries; return how many were folded.

        In the caller's transaction: readers see the old rows until it commits, and
        the old rows stay if it does not.
        """
        self._memory.forget_standings()
        connection = self._connection
        before = self._every_erasure()
        for table in _TABLES:
            connection.execute(delete(table))
        self._rebuild_standings()
        count = self._rebuild_fold(ERASURES, 0, progress)
        now = self._every_erasure()
        for target, identity in sorted(before - now):
            self._want_again(IdentityId(identity), [EntryId(target)])
        self._erase(EntryId(target) for target, _ in sorted(now))
        for projection in PROJECTIONS:
            if projection is not ERASURES:
                count = self._rebuild_fold(projection, count, progress)
        newest = self._feeds.newest_n()
        connection.execute(delete(projections))
        connection.execute(
            insert(projections),
            [
                {"name": name, "version": version, "n": newest}
                for name, version in sorted(_VERSIONS.items())
            ],
        )
        return count

    def _every_erasure(self) -> set[tuple[bytes, bytes]]:
        rows = self._connection.execute(select(erasures.c.target, erasures.c.identity))
        return {(target, identity) for target, identity in rows}

    def _rebuild_standings(self) -> None:
        last: IdentityId | None = None
        for row in self._feeds.all():
            if row.opening is None:
                continue
            self._write_device(row)
            if row.opening.is_root and row.opening.identity != last:
                last = row.opening.identity
                values = self._standings.identity_values(last)
                if values is not None:
                    self._connection.execute(
                        upsert(identities).on_conflict_do_nothing(), dict(values)
                    )

    def _rebuild_fold(self, projection: Projection, count: int, progress: Progress | None) -> int:
        table = _FoldTable(self._connection, projection, is_empty=True)
        for kind in sorted(projection.kinds):
            for items, size in self._scanned(kind):
                table.fold(items)
                count += size
                if progress is not None:
                    progress(count)
        table.flush()
        return count

    def _scanned(self, kind: str) -> Iterator[tuple[list[FoldItem], int]]:
        """Yield every Entry of one kind that counts, in slices, newest first in each."""
        after = (0, 0)
        feed, author, voice = 0, AuthorKey(b""), None
        while page := self._feeds.scan(kind, after):
            items: list[FoldItem] = []
            for at, part in groupby(page, key=lambda item: item.feed):
                if at != feed:
                    row = self._feeds.by_number(at)
                    feed, author, voice = at, row.author, self._standings.voice(row)
                if voice is not None:
                    items.extend(_items(part, kind, author, voice))
            # Where newest wins, all others lose without their Bodies being read.
            items.sort(key=_ORDER, reverse=True)
            yield items, len(page)
            if len(page) < ENTRIES_PER_BATCH_MAX:
                return
            after = (page[-1].feed, page[-1].seq)

    # --- comparing --------------------------------------------------------------------------

    def difference(self) -> str | None:
        """Say where the tables differ from what the Entries give, or ``None``; changes nothing."""
        held = {table.name: 0 for table in _TABLES}
        seen: IdentityId | None = None
        for identity in self._every_identity():
            assert identity != seen
            seen = identity
            for table, rows in self._rows_of(identity):
                held[table.name] += len(rows)
                found = self._rows_held(table, identity)
                if found != rows:
                    return f"rows of {identity.hex()} in {table.name} are not what its entries give"
        for table in _TABLES:
            count = self._connection.execute(select(func.count()).select_from(table)).scalar_one()
            if count != held[table.name]:
                return f"{count} rows in {table.name}, the entries give {held[table.name]}"
        return None

    def _every_identity(self) -> Iterator[IdentityId]:
        after = b""
        while page := self._connection.execute(
            select(feeds.c.identity)
            .where(feeds.c.identity > after)
            .group_by(feeds.c.identity)
            .order_by(feeds.c.identity)
            .limit(_ROWS_PER_PAGE)
        ).all():
            yield from (IdentityId(row.identity) for row in page)
            after = page[-1].identity

    def _rows_of(self, identity: IdentityId) -> Iterator[tuple[Table, list[tuple[object, ...]]]]:
        values = self._standings.identity_values(identity)
        yield identities, _as_rows(identities, [] if values is None else [values])
        found = [self._standings.device_values(row) for row in self._feeds.of_identity(identity)]
        yield devices, _as_rows(devices, [row for row in found if row is not None])
        for projection in PROJECTIONS:
            rows = self._folded(projection, identity)
            yield projection.table, _as_rows(projection.table, rows.values())

    def _rows_held(self, table: Table, identity: IdentityId) -> list[tuple[object, ...]]:
        rows = self._connection.execute(
            select(table).where(table.c.identity == identity).order_by(*table.primary_key.columns)
        )
        return [tuple(row) for row in rows]


class _FoldTable:
    """Rows of one Projection while they are folded: in memory, and in the table when too many."""

    def __init__(self, connection: Connection, projection: Projection, *, is_empty: bool) -> None:
        self._connection = connection
        self._projection = projection
        self._is_empty = is_empty
        self._rows: dict[Key, Values | None] = {}
        self._changed: set[Key] = set()
        self._flushed: set[Key] = set()
        self.touched: set[Key] = set()

    def fold(self, items: Iterable[FoldItem]) -> None:
        rows, projection = self._rows, self._projection
        for item in items:
            for key in projection.keys(item):
                if key not in rows:
                    if len(rows) >= FOLDED_ROWS_IN_MEMORY_MAX:
                        self.flush()
                    rows[key] = self._read(key)
                old = rows[key]
                new = projection.fold(key, old, item)
                if new is not old:
                    rows[key] = new
                    self._changed.add(key)
                if not self._is_empty:
                    self.touched.add(key)

    def _read(self, key: Key) -> Values | None:
        if self._is_empty and key not in self._flushed:
            return None
        table = self._projection.table
        names = [column.name for column in table.primary_key.columns]
        row = (
            self._connection.execute(_row_of_key(table), dict(zip(names, key, strict=True)))
            .mappings()
            .first()
        )
        return None if row is None else dict(row)

    def flush(self) -> None:
        table = self._projection.table
        written = [dict(row) for key in self._changed if (row := self._rows[key]) is not None]
        if written:
            self._connection.execute(_put(table), written)
        if self._is_empty:
            self._flushed.update(self._rows)
        self._rows.clear()
        self._changed.clear()


@cache
def _row_of_key(table: Table) -> Select[*tuple[Any, ...]]:
    return select(table).where(
        *(column == bindparam(column.name) for column in table.primary_key.columns)
    )


@cache
def _put(table: Table) -> Insert:
    """Write rows, in place of those with the same key."""
    statement = upsert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={column.name: statement.excluded[column.name] for column in table.columns},
    )


def _fold_into(rows: Rows, projection: Projection, item: FoldItem) -> None:
    for key in projection.keys(item):
        new = projection.fold(key, rows.get(key), item)
        if new is not None:
            rows[key] = new


def _items(
    page: Iterable[AnyRow], kind: str, author: AuthorKey, voice: Voice
) -> Iterator[FoldItem]:
    """Yield what counts of one Feed's Entries of one kind; no Header and no Body is parsed."""
    identity = voice.opening.identity
    for _, seq, entry_id, time_ms, header, sig, body in page:
        if voice.counts(kind, seq, lambda h=header, s=sig: recall_entry(h, s, None)):  # type: ignore[misc]
            yield FoldItem(entry_id, author, seq, time_ms, kind, identity, body)


def _fresh_item(entry: CheckedEntry, verdict: Accepted, identity: IdentityId) -> FoldItem:
    assert entry.body is not None
    return FoldItem(
        entry.entry_id,
        entry.author,
        entry.seq,
        entry.header.time_ms,
        entry.kind,
        identity,
        entry.body,
        verdict.body,
    )


def _is_erasable(kind: str) -> bool:
    rule = KINDS.get(kind)
    return rule is None or rule.erasable


def _is_after(table: Table, after: Sequence[bytes]) -> ColumnElement[bool]:
    """Compare the whole primary key with ``after``."""
    key = list(table.primary_key.columns)
    if len(key) == 1:
        return key[0] > after[0]
    return tuple_(*key) > tuple_(*(literal(part) for part in after))


def _as_rows(table: Table, values: Iterable[Values]) -> list[tuple[object, ...]]:
    rows = [tuple(row[column.name] for column in table.columns) for row in values]
    names = [column.name for column in table.columns]
    at = [names.index(column.name) for column in table.primary_key.columns]
    return sorted(rows, key=lambda row: tuple(bytes(row[i]) for i in at))  # type: ignore[call-overload]
