"""Two ledgers that exchange everything by plain calls: what the wire does, without a wire.

``Side`` is one Account as the other one sees it.  ``exchange`` lets each pull from the other until
nothing new comes; ``Pull`` is one direction, as it is asked and answered on the stream.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hanse.core.engine.replication.values import HeadsRow, OwnHead, Taken
from hanse.core.engine.syncing import Outcome, accept_batch
from hanse.core.ledger.quotas import Tier
from hanse.core.limits import SYNC_BATCH_ENTRIES_MAX, SYNC_BODIES_MAX, SYNC_ENTRIES_MAX
from hanse.core.model.network import Cursor, Interest, Met, SentEntry, SeqRange
from hanse.core.store.peers import PeerRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.engine.context import Context
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.replicating import Replicating
    from hanse.core.engine.replication.values import Fault
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey, EntryId

ALL = Interest()


@dataclass
class Side:
    """One Account in an exchange."""

    context: Context
    replicating: Replicating
    interest: Interest = ALL

    @property
    def device(self) -> AuthorKey:
        return self.context.device

    @classmethod
    def of(cls, engine: Engine, interest: Interest = ALL) -> Side:
        return cls(engine.context, engine.replicating, interest)

    def take(self, entries: Iterable[CheckedEntry], tier: Tier = Tier.NEAR) -> None:
        """Take Entries in as from a file."""
        with self.context.store.unit_of_work() as uow:
            accept_batch(uow, entries, self.context.clock.now_ms(), tier)
            uow.commit()

    def meet(self, other: Side) -> None:
        """Keep a row for the other one, as a status call does."""
        with self.context.store.unit_of_work() as uow:
            if uow.peers.get(other.device) is None:
                now_ms = self.context.clock.now_ms()
                uow.peers.put(PeerRow(other.device, (), Met.INBOUND, now_ms))
                uow.commit()

    def ids(self) -> dict[bytes, list[bytes]]:
        """Return everything held, in Feeds and on branches, by Author."""
        with self.context.store.reads() as reads:
            return {
                row.author: sorted(
                    [*reads.feeds.ids(row.author)]
                    + [it.entry_id for it in reads.feeds.branch_entries(row.author)]
                )
                for row in reads.feeds.all()
            }

    def digest(self) -> bytes:
        with self.context.store.reads() as reads:
            return reads.projections.digest()


@dataclass
class Pull:
    """One direction: ``taker`` asks, ``giver`` answers; what happened is kept."""

    taker: Side
    giver: Side
    most_bytes: int = 900_000
    outcome: Outcome = field(default_factory=Outcome)
    faults: list[Fault] = field(default_factory=list)
    asked_entries: int = 0
    sent: list[SentEntry] = field(default_factory=list)
    bodies_sent: list[tuple[EntryId, bytes | None]] = field(default_factory=list)
    own_head: OwnHead | None = None
    reconciled: bool = False
    forks: int = 0
    proved: set[AuthorKey] = field(default_factory=set)
    is_new: bool = False

    def run(self, *, reconcile: bool = False) -> Pull:
        taker, giver = self.taker, self.giver
        mine = taker.replicating.greeting(giver.device)
        theirs = giver.replicating.greeting(taker.device)
        self._own(theirs.your_head)
        cursor = mine.cursor
        self.reconciled = (
            reconcile
            or mine.needs_reconciling
            or cursor is None
            or cursor.store_epoch != theirs.store_epoch
            or cursor.n > theirs.newest_n
        )
        if self.reconciled:
            self._reconcile(theirs.store_epoch)
        else:
            assert cursor is not None
            n, more = cursor.n, True
            while more:
                page = giver.replicating.heads_since(taker.device, n, taker.interest, 4096)
                n, more = page.up_to, page.more
                self.pull(page.rows, Cursor(theirs.store_epoch, n))
        return self

    def _own(self, claim) -> None:
        taker, giver = self.taker, self.giver
        self.own_head = taker.replicating.judge_own_head(giver.device, claim)
        if self.own_head is OwnHead.ASK:
            part = SeqRange(taker.device, claim.seq, claim.seq)
            answer = self._ask([part], with_bodies=False)
            shown = [
                taker.replicating.own_head_shown(giver.device, it)
                for it in answer.entries or (None,)
            ]
            self.own_claim_held = any(shown)

    def _reconcile(self, epoch: bytes) -> None:
        taker, giver = self.taker, self.giver
        newest = giver.replicating.heads_since(taker.device, 0, taker.interest, 4096)
        ours = set(taker.replicating.frontier(giver.device, giver.interest))
        theirs = giver.replicating.frontier(taker.device, taker.interest)
        rows = [HeadsRow(it.author, it.seq, it.seq, it.entry_id) for it in theirs if it not in ours]
        self.pull(rows, None)
        after, more = 0, True
        while more:
            page = taker.replicating.missing_bodies(giver.device, after)
            after, more = page.up_to, page.more
            self._bodies(page.ids)
        taker.replicating.reconciled(giver.device, Cursor(epoch, newest.up_to))

    def pull(self, rows, cursor: Cursor | None) -> None:
        taker, giver = self.taker, self.giver
        wanted = taker.replicating.wanted(giver.device, rows)
        waiting: deque[tuple[tuple[SeqRange, ...], bool]] = deque()
        for it in wanted.ranges:
            waiting.append(((it.range,), it.with_bodies))
        waiting.extend(((it,), True) for it in wanted.suspects)
        bodies = list(wanted.bodies)
        budget = 2000
        while waiting:
            budget -= 1
            assert budget, "the asking does not end"
            ranges, with_bodies = waiting.popleft()
            answer = self._ask(ranges, with_bodies=with_bodies)
            if answer.rest:
                waiting.append((answer.rest, with_bodies))
            for author, proof in answer.forks:
                if author in self.proved:
                    continue
                self.proved.add(author)
                self._took(taker.replicating.take_fork(giver.device, proof), waiting, bodies)
            entries = list(answer.entries)
            while entries:
                some, entries = entries[:SYNC_BATCH_ENTRIES_MAX], entries[SYNC_BATCH_ENTRIES_MAX:]
                batch = taker.replicating.check(some)
                taken = taker.replicating.take(giver.device, batch, with_bodies=with_bodies)
                self._took(taken, waiting, bodies)
        self._bodies(bodies)
        if cursor is not None:
            empty = taker.replicating.check([])
            taker.replicating.take(giver.device, empty, cursor)

    def _ask(self, ranges, *, with_bodies: bool):
        for it in ranges:
            self.asked_entries += it.last - it.first + 1
        answer = self.giver.replicating.entries(
            self.taker.device,
            ranges,
            with_bodies=with_bodies,
            interest=self.taker.interest,
            most_bytes=self.most_bytes,
            most_entries=SYNC_ENTRIES_MAX,
        )
        self.sent.extend(answer.entries)
        return answer

    def _took(self, taken: Taken, waiting, bodies) -> None:
        self.outcome.add(taken.outcome)
        self.faults.extend(taken.faults)
        self.forks += len(taken.forks)
        self.is_new |= bool(
            taken.outcome.accepted or taken.outcome.forks or taken.forks or taken.changes.topics
        )
        waiting.extend(((it,), True) for it in taken.ranges)
        bodies.extend(taken.bodies)
        for _, proof in taken.forks:
            self.giver.replicating.take_fork(self.taker.device, proof)

    def _bodies(self, ids) -> None:
        taker, giver = self.taker, self.giver
        rest = tuple(dict.fromkeys(ids))
        while rest:
            some, later = rest[:SYNC_BODIES_MAX], rest[SYNC_BODIES_MAX:]
            page = giver.replicating.bodies(taker.device, some, most_bytes=self.most_bytes)
            rest = (*page.rest, *later)
            self.bodies_sent.extend((it.entry_id, it.body) for it in page.bodies)
            waiting: deque = deque()
            more: list = []
            self._took(taker.replicating.take_bodies(giver.device, page.bodies), waiting, more)


def exchange(one: Side, other: Side, *, rounds: int = 8, reconcile: bool = False) -> list[Pull]:
    """Let both pull until nothing comes any more; return every pull, in order."""
    one.meet(other)
    other.meet(one)
    pulls: list[Pull] = []
    for _ in range(rounds):
        both = [
            Pull(one, other).run(reconcile=reconcile),
            Pull(other, one).run(reconcile=reconcile),
        ]
        pulls += both
        if not any(pull.is_new for pull in both):
            return pulls
    raise AssertionError(f"still something new after {rounds} rounds")
