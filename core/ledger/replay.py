"""A whole ledger in memory: what verifying a file needs, and what the store is measured against.

* ``MemoryLedger`` takes Entries in any order and repetition and keeps what the
  rules of ``ledger.feed`` accept; nothing is ever written.
* Entries that came too early wait and are tried again when what they waited for
  arrives, so the same Entries give the same Feeds whatever their order.
* ``what_counts`` gives, for each Feed, up to where it counts.

It knows no store, no file and no clock; it holds everything it is given, so its
caller bounds that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hanse.core.ledger.branches import branch_to, judged_along, valid_on_any_branch
from hanse.core.ledger.entry import Head, body_fits
from hanse.core.ledger.feed import (
    Accepted,
    FeedVerifier,
    Forked,
    Known,
    Parked,
    Rejected,
    Verdict,
    judge_body,
)
from hanse.core.ledger.identities import (
    Opening,
    RootStatement,
    Standing,
    counted_until,
    standing,
)
from hanse.core.ledger.tree import Peaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.ledger.forks import Fork
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId


@dataclass(slots=True)
class MemoryFeed:
    """One Feed as far as it was accepted, and what disputes it."""

    verifier: FeedVerifier
    entries: list[CheckedEntry] = field(default_factory=list)
    others: dict[EntryId, CheckedEntry] = field(default_factory=dict)

    def switch(self, joint: int, path: Sequence[CheckedEntry], now_ms: int) -> None:
        """Let ``path`` follow the Entry at ``joint``; what stood there becomes a branch."""
        head, peaks = None, Peaks()
        for entry in self.entries[:joint]:
            head = Head(entry.seq, entry.entry_id, entry.header.time_ms)
            peaks.add(entry.entry_id)
        verifier = self.verifier.at(head, peaks)
        if judged_along(verifier, path, now_ms) is None:
            return  # that branch does not hold either; what is held stays
        opened, before = verifier.opening, self.opening
        if opened is None or before is None or opened.identity != before.identity:
            return  # another Identity's branch is not this one's to confirm
        for entry in self.entries[joint:]:
            self.others[entry.entry_id] = entry
        for entry in path:
            del self.others[entry.entry_id]
        self.entries[joint:] = path
        self.verifier = verifier

    def stands_at(self, seq: int, entry_id: bytes | None) -> bool:
        """Say whether this is the id at ``seq``; before Entry 1 there is none."""
        if seq == 0:
            return entry_id is None
        return seq <= len(self.entries) and self.entries[seq - 1].entry_id == entry_id

    @property
    def opening(self) -> Opening | None:
        """Return whose Feed this is, once Entry 1 is accepted."""
        return self.verifier.opening


class MemoryLedger:
    """All Feeds of one file or one test."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.feeds: dict[AuthorKey, MemoryFeed] = {}
        self.forks: dict[bytes, Fork] = {}
        self.waiting: dict[EntryId, tuple[CheckedEntry, str]] = {}
        self._is_settling = False

    def accept(self, entry: CheckedEntry, now_ms: int) -> Verdict:
        """Take one Entry and then whatever was waiting for it; return the verdict on it alone."""
        verdict = self._accept_one(entry, now_ms)
        if self.waiting and (self._is_settling or not isinstance(verdict, Known | Parked)):
            self._retry(now_ms)
        if self._is_settling:
            self._settle(now_ms)
        return verdict

    def _settle(self, now_ms: int) -> None:
        """Put the branch that a revocation confirmed in the place of the one held."""
        self._is_settling = False
        for author, feed in self.feeds.items():
            opening = feed.opening
            if opening is None or opening.is_root or not feed.others:
                continue
            known = self.standing_of(opening.identity)
            cut = None if known is None else known.cut_of(author, opening.r)
            if cut is None or cut.last_id not in feed.others:
                continue
            path = branch_to(cut.last_id, feed.others)
            joint = path[0].seq - 1
            if feed.stands_at(joint, path[0].header.prev):
                feed.switch(joint, path, now_ms)

    def _feed(self, author: AuthorKey) -> MemoryFeed:
        feed = self.feeds.get(author)
        if feed is None:
            entries: list[CheckedEntry] = []

            def held_at(seq: int) -> CheckedEntry | None:
                return entries[seq - 1] if 1 <= seq <= len(entries) else None

            verifier = FeedVerifier(author, held_at=held_at, standing_of=self.standing_of)
            feed = self.feeds[author] = MemoryFeed(verifier, entries)
        return feed

    def _accept_one(self, entry: CheckedEntry, now_ms: int) -> Verdict:
        feed = self._feed(entry.author)
        held = feed.others.get(entry.entry_id)
        if held is not None:
            if (fuller := _fuller(held, entry)) is not held:
                feed.others[entry.entry_id] = fuller  # it may be a revocation that was hidden
                self._is_settling = True
            return Known()
        verdict = feed.verifier.accept(entry, now_ms)
        match verdict:
            case Accepted():
                feed.entries.append(entry)
                self.waiting.pop(entry.entry_id, None)
                opening = feed.opening
                assert opening is not None
                self._is_settling |= opening.is_root and bool(self.forks)
            case Parked("gap") if entry.header.prev in feed.others:
                # It continues a branch that is not the one held here.
                feed.others[entry.entry_id] = entry
                self._is_settling = True
                self.waiting.pop(entry.entry_id, None)
            case Parked(reason):
                waiting = self.waiting.get(entry.entry_id)
                fuller = entry if waiting is None else _fuller(waiting[0], entry)
                self.waiting[entry.entry_id] = (fuller, reason)
            case Forked(fork, accepted):
                self.forks[fork.proof] = fork
                self._is_settling = True
                if accepted is None:
                    feed.others[entry.entry_id] = entry
                else:
                    feed.entries.append(entry)
                self.waiting.pop(entry.entry_id, None)
            case Rejected(ends_feed=True):
                feed.others[entry.entry_id] = entry
                self.waiting.pop(entry.entry_id, None)
            case _:
                self.waiting.pop(entry.entry_id, None)
        return verdict

    def _retry(self, now_ms: int) -> None:
        """Try what waits, until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            ordered = sorted(self.waiting.values(), key=lambda item: item[0].seq)
            for entry, _ in ordered:
                if not isinstance(self._accept_one(entry, now_ms), Parked) or (
                    entry.entry_id not in self.waiting
                ):
                    moved = True

    def standing_of(self, identity: IdentityId) -> Standing | None:
        """Fold every root Entry held that is valid on any branch."""
        statements = [
            statement
            for author, feed in self.feeds.items()
            if feed.opening is not None and feed.opening.is_root
            if feed.opening.identity == identity
            for statement in root_statements(author, feed)
        ]
        return standing(identity, statements)

    def what_counts(self) -> dict[AuthorKey, int]:
        """Return for each opened Feed the last seq that counts."""
        result: dict[AuthorKey, int] = {}
        for author, feed in self.feeds.items():
            opening = feed.opening
            if opening is None:
                continue
            known = self.standing_of(opening.identity)
            if known is None:
                result[author] = 0
                continue
            entries = feed.entries

            def id_at(seq: int, entries: list[CheckedEntry] = entries) -> EntryId | None:
                return entries[seq - 1].entry_id if 1 <= seq <= len(entries) else None

            result[author] = counted_until(opening, author, known, feed.verifier.frozen_seq, id_at)
        return result


def _fuller(held: CheckedEntry, again: CheckedEntry) -> CheckedEntry:
    """Return the one with the Body of two that are the same Entry; ``held`` if it has it."""
    if held.body is not None and body_fits(held, held.body):
        return held
    return again if again.body is not None and body_fits(again, again.body) else held


def root_statements(author: AuthorKey, feed: MemoryFeed) -> Iterable[RootStatement]:
    """Return the statements of one root feed that are valid on any of its branches."""
    for entry in valid_on_any_branch(feed.entries, feed.others.values()):
        body = judge_body(entry).body  # None where it is missing, void or of an unknown kind
        if body is not None:
            yield RootStatement(author, entry.seq, entry.entry_id, entry.header.time_ms, body)
