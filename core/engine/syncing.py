"""Taking in Entries, from a file, a peer or ourselves: one gate for all.

* ``check_entries`` runs the signature checks (A5), which depend on the bytes
  alone, before the writer is taken.
* ``Acceptor`` takes checked Entries into one unit of work: it asks the rules of
  ``ledger.feed``, appends what is accepted, parks what came too early, keeps
  Forks and the branches they prove, and tries again what was waiting.
* The order in which Entries arrive decides nothing: the same set gives the same
  Feeds that count and the same Projections.
* Quotas pause a stranger's Feed and never punch a hole into it.
* An ``Acceptor`` remembers what it took, for those who ask for more or show less because of it.

Nothing here reads a clock or sends anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.branches import branch_to, judged_along
from hanse.core.ledger.entry import (
    CheckedEntry,
    SignedEntry,
    body_fits,
    check_entry,
    is_private_kind,
)
from hanse.core.ledger.feed import (
    Accepted,
    BodyState,
    FeedState,
    FeedVerifier,
    Forked,
    Known,
    Parked,
    Rejected,
    Verdict,
    judge_body,
)
from hanse.core.ledger.kinds import Device1, Identity1
from hanse.core.ledger.quotas import Tier, allowance
from hanse.core.limits import CLOCK_AHEAD_MS_MAX, ENTRIES_PER_SLICE
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor

    from hanse.core.ledger.forks import Fork
    from hanse.core.store.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Refusal:
    """One Entry that was refused, and by which rule."""

    author: bytes
    seq: int
    reason: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    accepted: int = 0
    known: int = 0
    parked: int = 0
    paused: int = 0
    forks: int = 0
    refused: list[Refusal] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count another batch's outcome in."""
        self.accepted += other.accepted
        self.known += other.known
        self.parked += other.parked
        self.paused += other.paused
        self.forks += other.forks
        self.refused.extend(other.refused)


def _check_slice(entries: Sequence[SignedEntry]) -> list[CheckedEntry | Refusal]:
    result: list[CheckedEntry | Refusal] = []
    for entry in entries:
        try:
            result.append(check_entry(entry))
        except RejectedEntry as error:
            result.append(Refusal(entry.author, entry.seq, error.reason, error.detail))
    return result


def check_entries(
    entries: Sequence[SignedEntry], pool: Executor | None = None
) -> list[CheckedEntry | Refusal]:
    """Check every signature, in slices on ``pool`` where one is given.

    PyNaCl gives the interpreter lock back while it verifies, so two threads help.
    """
    if pool is None or len(entries) < 2 * ENTRIES_PER_SLICE:
        return _check_slice(entries)
    slices = [
        entries[start : start + ENTRIES_PER_SLICE]
        for start in range(0, len(entries), ENTRIES_PER_SLICE)
    ]
    return [item for part in pool.map(_check_slice, slices) for item in part]


TierOf = Callable[[IdentityId], Tier]


@dataclass(frozen=True, slots=True)
class TakenEntry:
    """One Entry that was accepted: whose, how near that is, and what is held of its Body."""

    entry: CheckedEntry
    identity: IdentityId
    tier: Tier
    body_state: BodyState


@dataclass(slots=True)
class _Feed:
    """One Feed while a batch is taken; ``pending`` holds what is not appended yet, by seq.

    A Feed that nobody has opened yet has no ``tier``: whose it is says its Entry 1.
    """

    verifier: FeedVerifier
    pending: dict[int, CheckedEntry]
    tier: Tier | None
    headers_left: int
    body_bytes_left: int
    has_branches: bool
    is_met: bool  # it was opened before this batch

    def is_next(self, entry: CheckedEntry) -> bool:
        """Say whether ``entry`` comes after everything held."""
        return self.verifier.head is None or entry.seq > self.verifier.head.seq


class Acceptor:
    """Takes checked Entries into one unit of work.

    ``finish`` must be called before the commit; until then accepted Entries may
    wait in memory to be appended together.
    """

    def __init__(self, uow: UnitOfWork, now_ms: int, tier: Tier | TierOf = Tier.NEAR) -> None:
        """Accept at the time ``now_ms``; Feeds met for the first time get ``tier``.

        A function gives it for the Identity that Entry 1 names.
        """
        self._uow = uow
        self._now_ms = now_ms
        self._tier_of: TierOf = tier if callable(tier) else lambda _: tier
        self._feeds: dict[AuthorKey, _Feed] = {}
        self._pending: list[tuple[CheckedEntry, Accepted]] = []
        self._identities: list[IdentityId] = []  # of the Feeds of what is pending
        self._changed_identities: set[IdentityId] = set()
        self._branched: list[EntryId] = []
        self._moved_roots: set[IdentityId] = set()
        self.outcome = Outcome()
        self.taken: list[TakenEntry] = []
        self.forks: list[Fork] = []  # that are new here
        self.gaps: dict[AuthorKey, int] = {}  # the lowest seq that waits for the one before it
        self.branched: set[AuthorKey] = set()  # Feeds of which a branch grew

    def accept_all(self, entries: Iterable[CheckedEntry]) -> None:
        """Take many, in the order given."""
        for entry in entries:
            self.accept(entry)

    def accept(self, entry: CheckedEntry) -> Verdict:
        """Take one Entry, and count what became of it."""
        verdict = self._take(entry)
        match verdict:
            case Accepted():
                # Counted when it was taken.
                pass
            case Known():
                self.outcome.known += 1
            case Parked("quota"):
                self.outcome.paused += 1
            case Parked():
                self.outcome.parked += 1
            case Forked():
                self.outcome.forks += 1
            case Rejected(reason, detail):
                self.outcome.refused.append(Refusal(entry.author, entry.seq, reason, detail))
        return verdict

    def finish(self) -> Outcome:
        """Append what waits, try again what was parked, and fold what changed."""
        self._flush()
        self._retry()
        for identity in sorted(self._changed_identities):
            self._settle(identity)
        return self.outcome

    # --- one Entry --------------------------------------------------------------------------

    def _feed(self, author: AuthorKey) -> _Feed:
        feed = self._feeds.get(author)
        if feed is None:
            held = self._uow.feeds
            pending: dict[int, CheckedEntry] = {}

            def held_at(seq: int) -> CheckedEntry | None:
                waiting = pending.get(seq)
                return held.entry_at(author, seq) if waiting is None else waiting

            verifier = held.verifier(author, self._uow.projections.standing_of, held_at=held_at)
            tier = None if verifier.head is None else held.tier_of(author)
            headers, body_bytes = self._allowance(author, verifier, tier)
            # A Feed gets its first branch by a Fork or by what ended it.
            is_undisputed = verifier.state in {FeedState.LIVE, FeedState.ENDED}
            has_branches = not is_undisputed and bool(held.branch_entries(author))
            is_met = verifier.head is not None
            feed = _Feed(verifier, pending, tier, headers, body_bytes, has_branches, is_met)
            self._feeds[author] = feed
        return feed

    def _allowance(
        self, author: AuthorKey, verifier: FeedVerifier, tier: Tier | None
    ) -> tuple[int, int]:
        held, head = self._uow.feeds, verifier.head
        if tier is None or head is None:
            return allowance(Tier.STRANGER, 0, 0)
        known_ms = 0
        if tier is not Tier.NEAR and not allowance(tier, head.seq, 0)[0]:
            # Only a Feed that has used up what it may at once is asked since when it is known.
            known_ms = self._now_ms - held.note_met(author, self._now_ms)
        return allowance(tier, head.seq, held.body_bytes(author), known_ms)

    def _take(self, entry: CheckedEntry) -> Verdict:
        uow = self._uow
        if entry.body is None and is_private_kind(entry.kind) and uow.parked.count():
            # Post brings a sealed Body before the Feed reaches it; the Header that comes with the
            # Feed must not take its place.
            entry = uow.parked.get(entry.entry_id) or entry
        feed = self._feed(AuthorKey(entry.header.author))
        if feed.has_branches and uow.feeds.in_branches(entry.entry_id):
            self._late_branch_body(feed, entry)
            return Known()
        if feed.headers_left <= 0 and feed.is_next(entry):
            # Its tier holds no more of it; nothing is lost by asking again later.
            return Parked("quota")
        verdict = feed.verifier.accept(entry, self._now_ms)
        match verdict:
            case Accepted():
                self._append(feed, entry, verdict)
            case Known():
                self._late_body(feed, entry)
            case Parked("gap") if feed.has_branches and _prev_in_branches(uow, entry):
                # It continues a branch that is not the one held here.
                self._keep_branch(feed, entry, is_broken=False)
                self._changed(feed)
            case Parked(reason):
                uow.parked.add(_fitting(entry), reason, self._now_ms)
                if reason == "gap":
                    author = entry.author
                    self.gaps[author] = min(entry.seq, self.gaps.get(author, entry.seq))
            case Forked(fork, accepted):
                if uow.forks.add(fork):
                    self.forks.append(fork)
                if accepted is None:
                    self._keep_branch(feed, entry, is_broken=False)
                else:
                    self._append(feed, entry, accepted)
                self._changed(feed)
            case Rejected(ends_feed=True):
                self._keep_branch(feed, entry, is_broken=True)
                self._changed(feed)
            case Rejected():
                pass
        return verdict

    def _append(self, feed: _Feed, entry: CheckedEntry, accepted: Accepted) -> None:
        opening = feed.verifier.opening
        assert opening is not None
        if feed.tier is None:
            self._opened(feed, opening.identity)
        tier = feed.tier
        assert tier is not None
        if entry.body is not None:
            if accepted.body_fault is not None and accepted.body_state is not BodyState.VOID:
                entry = CheckedEntry(entry.without_body())
            elif (size := entry.header.body_len) <= feed.body_bytes_left:
                feed.body_bytes_left -= size
            elif not opening.is_root and entry.seq > 1:
                # The Body can be asked for again; the chain cannot have a hole.
                entry = CheckedEntry(entry.without_body())
                accepted = judge_body(entry)
        feed.headers_left -= 1
        feed.pending[entry.header.seq] = entry
        self._pending.append((entry, accepted))
        self._identities.append(opening.identity)
        self.taken.append(TakenEntry(entry, opening.identity, tier, accepted.body_state))
        self.outcome.accepted += 1
        if feed.verifier.frozen_seq is not None:
            # It may be the very Entry that a cut confirms, and so lift the dispute.
            self._changed(feed)
        if opening.is_root:
            # What others may say depends on it, so it must be there at once.
            is_new = self._uow.projections.standing_of(opening.identity) is None
            self._moved_roots.add(opening.identity)
            self._flush()
            if is_new:
                # Nothing of this Identity is held yet: folded now, at no cost.
                self._uow.projections.refold(opening.identity)
            else:
                self._changed(feed)

    def _opened(self, feed: _Feed, identity: IdentityId) -> None:
        """Give a Feed that has just been opened the tier of its Identity."""
        author = feed.verifier.author
        feed.tier = self._tier_of(identity)
        feed.headers_left, feed.body_bytes_left = allowance(feed.tier, 0, 0)
        if self._uow.feeds.get(author) is not None:
            # Evidence came before the Feed was opened, and nobody knew how near it is.
            self._uow.feeds.set_tier(author, feed.tier)

    def _late_body(self, feed: _Feed, entry: CheckedEntry) -> None:
        """Take a Body for a Header that is held without one."""
        if entry.body is None:
            return
        if entry.seq in feed.pending:
            self._flush()
        stored = self._uow.feeds.find(entry.entry_id)
        assert stored is not None
        if stored.body_state not in {BodyState.ABSENT, BodyState.PRIVATE}:
            return
        judged = judge_body(entry)
        if judged.body_state in {BodyState.HERE, BodyState.VOID}:
            opening = feed.verifier.opening
            is_root = opening is not None and opening.is_root
            if not is_root and len(entry.body) > feed.body_bytes_left:
                self.outcome.paused += 1
                return
            feed.body_bytes_left -= len(entry.body)
            self._uow.feeds.give_body(entry.entry_id, entry.body, judged.body_state)
            self._changed(feed)

    def _late_branch_body(self, feed: _Feed, entry: CheckedEntry) -> None:
        """Take a Body for a Header kept as evidence: it may be a revocation that was hidden."""
        judged = judge_body(entry)
        if entry.body is None or judged.body_state not in {BodyState.HERE, BodyState.VOID}:
            return
        held = self._uow.feeds.branch_entry(entry.entry_id)
        if held is not None and held.body is None:
            self._uow.feeds.give_body(entry.entry_id, entry.body, judged.body_state)
            self._note_branch(feed, entry)
            self._changed(feed)

    def _keep_branch(self, feed: _Feed, entry: CheckedEntry, *, is_broken: bool) -> None:
        self._flush()
        self._save(feed)
        self._uow.feeds.add_branch(_fitting(entry), is_broken=is_broken)
        feed.has_branches = True
        self._note_branch(feed, entry)

    def _save(self, feed: _Feed) -> None:
        self._uow.feeds.save(feed.verifier, self._now_ms, feed.tier or Tier.STRANGER)
        if not feed.is_met and feed.tier not in {None, Tier.NEAR}:
            self._uow.feeds.note_met(feed.verifier.author, self._now_ms)
            feed.is_met = True

    def _note_branch(self, feed: _Feed, entry: CheckedEntry) -> None:
        self.branched.add(feed.verifier.author)
        self._branched.append(entry.entry_id)
        opening = feed.verifier.opening
        if opening is not None and opening.is_root:
            # A rotation counts on every branch, so what it delegates may have its turn.
            self._moved_roots.add(opening.identity)

    def _changed(self, feed: _Feed) -> None:
        if feed.verifier.opening is not None:
            self._changed_identities.add(feed.verifier.opening.identity)

    # --- together ---------------------------------------------------------------------------

    def _flush(self) -> None:
        """Append what waits, with its Feeds' rows and Projections."""
        if not self._pending:
            return
        uow = self._uow
        for author in sorted(self._feeds):
            feed = self._feeds[author]
            if feed.pending:
                self._save(feed)
                feed.pending.clear()
        pending, self._pending = self._pending, []
        identities, self._identities = self._identities, []
        if uow.parked.count():
            uow.parked.remove([entry.entry_id for entry, _ in pending])
        numbers = uow.feeds.append(pending)
        uow.projections.apply(pending, numbers, identities)

    def _retry(self) -> None:
        """Try again what was parked and may have its turn now, as long as anything moves."""
        parked = self._uow.parked
        if parked.count() == 0:
            return
        parked.expire(self._now_ms)
        moved = True
        while moved:
            moved = False
            for author in list(self._feeds):
                moved |= self._retry_all(parked.ready_for(author))
            while self._branched:
                moved |= self._retry_all(parked.of_prev(self._branched.pop()))
            roots, self._moved_roots = self._moved_roots, set()
            if roots:
                moved |= self._retry_all(
                    entry
                    for entry in parked.by_reason("delegation")
                    if _identity_of(entry) in roots
                )
            moved |= self._retry_all(parked.by_reason("future"))
            self._flush()

    def _retry_all(self, waiting: Iterable[CheckedEntry]) -> bool:
        """Accept what has its turn; say whether anything did not go back to waiting."""
        moved = False
        for entry in waiting:
            head = self._feed(entry.author).verifier.head
            if entry.header.time_ms > self._now_ms + CLOCK_AHEAD_MS_MAX:
                continue
            is_early = entry.seq > (1 if head is None else head.seq + 1)
            if is_early and not _prev_in_branches(self._uow, entry):
                continue
            self._uow.parked.remove([entry.entry_id])
            if isinstance(self.accept(entry), Parked):
                self.outcome.parked -= 1  # it was counted when it was parked first
            else:
                moved = True
        return moved

    def _settle(self, identity: IdentityId) -> None:
        """Switch Feeds to the branch a revocation confirmed, then fold the Identity anew."""
        known = self._uow.projections.standing_of(identity)
        if known is not None:
            for row in self._uow.feeds.of_identity(identity):
                if row.opening is None or row.opening.is_root:
                    continue
                cut = known.cut_of(row.author, row.opening.r)
                if cut is None or cut.last_id is None:
                    continue
                held = self._uow.feeds.entry_at(row.author, cut.last_seq)
                if (held is None or held.entry_id != cut.last_id) and (
                    self._uow.feeds.in_branches(cut.last_id)
                ):
                    self._switch(row.author, cut.last_id)
        self._uow.projections.refold(identity)

    def _switch(self, author: AuthorKey, last_id: EntryId) -> None:
        """Put the branch that ends in ``last_id`` in the place of the one held."""
        feeds = self._uow.feeds
        path = branch_to(last_id, {it.entry_id: it for it in feeds.branch_entries(author)})
        row = feeds.get(author)
        assert path
        assert row is not None
        assert row.opening is not None
        joint = path[0].seq - 1
        held = feeds.entry_at(author, joint) if joint else None
        if path[0].header.prev != (None if held is None else held.entry_id):
            return
        verifier = feeds.verifier_at(author, joint, self._uow.projections.standing_of)
        accepted = judged_along(verifier, path, self._now_ms)
        if accepted is None:
            return  # that branch does not hold either; what is held stays
        opening = verifier.opening
        if opening is None or opening.identity != row.opening.identity:
            return  # another Identity's branch is not this one's to confirm
        feeds.switch_branch(author, joint, accepted, verifier)
        self._feeds.pop(author, None)


def _fitting(entry: CheckedEntry) -> CheckedEntry:
    """Return ``entry`` without a Body that is not its own: it must not keep the right one out."""
    if entry.body is None or body_fits(entry, entry.body):
        return entry
    return CheckedEntry(entry.without_body())


def _prev_in_branches(uow: UnitOfWork, entry: CheckedEntry) -> bool:
    prev = entry.header.prev
    return prev is not None and uow.feeds.in_branches(EntryId(prev))


def _identity_of(entry: CheckedEntry) -> IdentityId | None:
    """Return the Identity that an Entry 1 names."""
    body = judge_body(entry).body
    return IdentityId(body.identity) if isinstance(body, Identity1 | Device1) else None


def accept_batch(
    uow: UnitOfWork,
    entries: Iterable[CheckedEntry],
    now_ms: int,
    tier: Tier | TierOf = Tier.NEAR,
) -> Outcome:
    """Take one batch into ``uow``; the caller commits."""
    acceptor = Acceptor(uow, now_ms, tier)
    acceptor.accept_all(entries)
    return acceptor.finish()
