"""Who stands how: what root Entries say of an Identity, and how much of a Feed counts.

The rules are in ``ledger.identities`` and ``ledger.branches``; here is only what
they are shown: every Entry by a Root key that is held, on whatever branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from hanse.core.ledger.branches import valid_on_any_branch
from hanse.core.ledger.feed import judge_body
from hanse.core.ledger.identities import (
    Opening,
    RootStatement,
    Standing,
    Void,
    counted_until,
    speaks_for,
    standing,
)
from hanse.core.ledger.kinds import Device1
from hanse.core.limits import ROOT_FEED_ENTRIES_MAX
from hanse.core.model.ids import AuthorKey, IdentityId

if TYPE_CHECKING:
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.store.feed_reads import FeedReads
    from hanse.core.store.feed_rows import FeedRow
    from hanse.core.store.forks import ForkRepository
    from hanse.core.store.memory import Memory

STATE_LIVE: Final = "live"
STATE_FROZEN: Final = "frozen"
STATE_REVOKED: Final = "revoked"
STATE_VOID: Final = "void"
STATE_DISPUTED: Final = "disputed"
_REVOCATION_REASONS: Final = frozenset({"lost", "stolen", "sold", "other"})

Values = Mapping[str, object]


class Voice:
    """How much of one Feed counts, and for whom."""

    def __init__(self, opening: Opening, known: Standing | None, counted: int) -> None:
        """Hold what ``counted_until`` said."""
        self.opening = opening
        self.known = known
        self.counted = counted
        self._by_kind: dict[str, bool] = {}

    def counts(self, kind: str, seq: int, entry: Callable[[], CheckedEntry]) -> bool:
        """Say whether the Entry of ``kind`` at ``seq`` speaks for the Identity.

        ``entry`` gives one when it is needed: of all Entries of a kind up to the
        last seq that counts one answer holds.
        """
        if self.known is None or seq > self.counted:
            return False
        answer = self._by_kind.get(kind)
        if answer is None:
            said = speaks_for(entry(), self.opening, self.known, self.counted)
            answer = self._by_kind[kind] = not isinstance(said, Void)
        return answer


class Standings:
    """What is known of Identities on one connection."""

    def __init__(self, feeds: FeedReads, forks: ForkRepository, memory: Memory) -> None:
        """Read through ``feeds`` and ``forks``."""
        self._feeds = feeds
        self._forks = forks
        self._memory = memory

    def of(self, identity: IdentityId) -> Standing | None:
        """Fold the root Entries held of ``identity``; ``None`` while its first one is missing."""
        if not self._memory.knows(identity):
            self._memory.remember(identity, self._read(identity))
        return self._memory.standing(identity)

    def _read(self, identity: IdentityId) -> Standing | None:
        # By Author and not by the row's Identity: a key that opened two Feeds at seq 1
        # is a Root key on one branch, whichever branch is the one held here.
        statements: list[RootStatement] = []
        seen: set[AuthorKey] = set()
        wanted = {AuthorKey(bytes(identity))}
        known = None
        while wanted:
            for author in sorted(wanted):
                statements.extend(self._statements(author))
            seen |= wanted
            known = standing(identity, statements)
            wanted = set() if known is None else set(known.roots) - seen
        return known

    def _statements(self, author: AuthorKey) -> list[RootStatement]:
        others = self._feeds.branch_entries(author)
        stored = self._feeds.entries(author, limit=ROOT_FEED_ENTRIES_MAX)
        main = [item.entry for item in stored]
        statements = []
        for entry in valid_on_any_branch(main, others):
            body = judge_body(entry).body
            if body is not None:
                statements.append(
                    RootStatement(author, entry.seq, entry.entry_id, entry.header.time_ms, body)
                )
        return statements

    def voice(self, row: FeedRow) -> Voice | None:
        """Say how much of a Feed counts, ``None`` for one that has not opened."""
        opening = row.opening
        if opening is None:
            return None
        known = self.of(opening.identity)
        if known is None:
            return Voice(opening, None, 0)
        counted = counted_until(
            opening,
            row.author,
            known,
            row.frozen_seq,
            lambda seq: self._feeds.id_at(row, seq),
        )
        return Voice(opening, known, counted)

    def identity_values(self, identity: IdentityId) -> Values | None:
        """Return the row of an Identity."""
        known = self.of(identity)
        if known is None:
            return None
        r, root = known.newest_root
        return {
            "identity": identity,
            "r": r,
            "root": root,
            "epoch": known.epoch,
            "box": known.box,
            "state": STATE_FROZEN if known.is_frozen else STATE_LIVE,
        }

    def device_values(self, row: FeedRow) -> Values | None:
        """Return the row of a Device, ``None`` for a Feed that is no Device's.

        A Device that signed two Entries 1 has no row until the Root confirms one of
        them: which Peer holds which is chance.
        """
        voice = self.voice(row)
        if voice is None or voice.opening.is_root:
            return None
        if voice.counted == 0 and self._opened_twice(row):
            return None
        first = self._feeds.entry_at(row.author, 1)
        assert first is not None
        body = judge_body(first).body
        assert isinstance(body, Device1)
        opening, known = voice.opening, voice.known
        cut = None if known is None else known.cut_of(row.author, opening.r)
        if known is None or opening.r not in known.roots.values():
            state = STATE_VOID
        elif cut is not None:
            state = STATE_REVOKED if cut.reason in _REVOCATION_REASONS else STATE_VOID
        else:
            state = STATE_LIVE if row.frozen_seq is None else STATE_DISPUTED
        return {
            "device": row.author,
            "identity": opening.identity,
            "r": opening.r,
            "role": opening.role,
            "name": body.name,
            "box": body.box,
            "created_ms": first.header.time_ms,
            "state": state,
            "cut_seq": None if cut is None else cut.last_seq,
            "successor": None if cut is None else cut.successor,
            "reason": None if cut is None else cut.reason,
        }

    def _opened_twice(self, row: FeedRow) -> bool:
        return row.frozen_seq == 1 and any(
            fork.disputed_seq == 1 and fork.is_of_one_seq for fork in self._forks.of(row.author)
        )
