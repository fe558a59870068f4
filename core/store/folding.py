"""Keeping the Projections true as Entries arrive, and when what counts changes.

* ``apply`` folds Entries that were just appended.
* ``refold`` makes every row of one Identity again.  Its caller calls it when a root
  Entry, a Fork, a branch or a late Body changed what counts.

Both have the catalogue follow.  An erased Body is dropped here, because only here it
is known whose it is; when the Entry that erased it no longer counts, the Body is
wanted again.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from hanse.core.ledger.feed import Accepted, BodyState
from hanse.core.ledger.kinds import KINDS
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.store.fold_table import FoldTable, Rows, fold_into, items_of
from hanse.core.store.projection_reads import ProjectionReads
from hanse.core.store.projections import (
    ERASURES,
    PROJECTIONS,
    FoldItem,
    Key,
    Projection,
    judged_by,
    listings_named,
)
from hanse.core.store.tables import devices, entries, erasures, feeds, identities

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.store.cataloguing import CatalogueKeeper
    from hanse.core.store.feed_rows import FeedRow
    from hanse.core.store.feeds import FeedRepository
    from hanse.core.store.memory import Memory

_IDS_PER_QUERY: Final = 1000
_DEVICE: Final = "device/1"
NEWEST_FIRST: Final = attrgetter("order")
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


class Folding(ProjectionReads):
    """All Projections and the catalogue made of them, on one connection."""

    def __init__(
        self,
        connection: Connection,
        feeds: FeedRepository,
        memory: Memory,
        catalogue: CatalogueKeeper,
    ) -> None:
        """Work on ``connection``, on which ``feeds`` and ``catalogue`` work too."""
        super().__init__(connection, feeds, memory)
        self._catalogue = catalogue

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
        self._catalogue.follow(listing for item in fresh for listing in listings_named(item))
        self._catalogue.follow_judged(judged_by(fresh))
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
        table = FoldTable(self._connection, projection, is_empty=False)
        table.fold(sorted(items, key=NEWEST_FIRST, reverse=True))
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

    def forget_device(self, device: AuthorKey) -> None:
        """Drop the row of a Device whose Feed was given up; then ``refold`` its Identity."""
        self._connection.execute(delete(devices).where(devices.c.device == device))

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
        before = self._catalogue.judged_by_identity(identity)
        for projection in PROJECTIONS:
            if projection is not ERASURES:
                self._replace(projection, identity, self._folded(projection, identity))
        self._catalogue.follow_identity(identity)
        self._catalogue.follow_judged(before | self._catalogue.judged_by_identity(identity))

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
                    for item in items_of(page, kind, row.author, voice):
                        fold_into(rows, projection, item)
        return rows


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
