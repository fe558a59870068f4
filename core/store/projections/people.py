"""What Identities say of themselves and of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.ledger.kinds import Erase1, Follow1, Profile1
from hanse.core.store.projections.fold import FoldItem, Key, Values, is_newest, write_list
from hanse.core.store.tables import erasures, follows, profiles

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        if not is_newest(row, item):
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
            "web": write_list(body.web),
            "contact": body.contact,
            "sectors": write_list(body.sectors),
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


class Follows:
    """Whom an Identity follows, and how much: the newest ``follow/1`` about each."""

    name = "follows"
    version = 1
    kinds = frozenset({"follow/1"})
    table = follows

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name whom it is about."""
        body = item.body
        return ((body.identity, item.identity),) if isinstance(body, Follow1) else ()

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Newest wins; a follow that was taken back stays as weight 0."""
        if not is_newest(row, item):
            return row
        body = item.body
        assert isinstance(body, Follow1)
        target, identity = key
        return {
            "target": target,
            "identity": identity,
            "time_ms": item.time_ms,
            "author": item.author,
            "seq": item.seq,
            "weight": body.weight,
        }
