"""Two ledgers of one truth: every exchange with another Device, as use cases.

* A Peer is named by its Device key.  What it says is checked before it changes anything; what it
  did wrong comes back as ``Fault``, for whoever speaks with it to hold against it.
* Every method blocks.  ``check`` belongs on a working thread; ``take``, ``take_bodies``,
  ``take_fork``, ``own_head_shown``, ``reconciled`` and ``housekeeping`` on the one that writes; the
  others on a reading one.
* Every question names the Peer that asks, also where the answer is the same for all.
* Our own Feed is shown no further than it may leave (``replication.own_feed``).

The parts are in ``hanse.core.engine.replication``; here they meet the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.engine.changes import Changes, Topic
from hanse.core.engine.replication.asking import Asking, Claims
from hanse.core.engine.replication.making_room import FORGOTTEN_AFTER_MS, MakingRoom
from hanse.core.engine.replication.muting import Muting
from hanse.core.engine.replication.own_feed import OwnFeed
from hanse.core.engine.replication.showing import Showing
from hanse.core.engine.replication.taking import Taking
from hanse.core.engine.replication.tiering import Tiering
from hanse.core.engine.replication.values import Greeting
from hanse.core.ledger.quotas import DAY_MS
from hanse.core.limits import DROPPED_FEEDS_REMEMBERED_MAX, HOUSEKEEPING_ROWS_MAX
from hanse.core.model.network import HeadClaim, Interest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.engine.context import Context
    from hanse.core.engine.replication.values import (
        BodiesPage,
        CheckedBatch,
        ConfirmationView,
        EntriesPage,
        HeadsPage,
        HeadsRow,
        MissingBodies,
        MutedView,
        OwnHead,
        SentBody,
        Taken,
        Wanted,
    )
    from hanse.core.model.ids import AuthorKey, EntryId
    from hanse.core.model.network import Cursor, SentEntry, SeqRange

RECONCILED_EVERY_MS: Final = DAY_MS
EVERYTHING: Final = Interest()


class Replicating:
    """What this folder tells other Devices, and takes from them; ``Engine.replicating``."""

    def __init__(self, context: Context) -> None:
        """Bind the Account; nothing of our own may leave yet that has not left before."""
        self._context = context
        self._own = OwnFeed(context)
        self._asking = Asking(context, Claims())
        self._tiering = Tiering(context)
        self._muting = Muting(context)
        self._room = MakingRoom(context)
        self._showing = Showing(context, self._own)
        self._taking = Taking(context, self._own, self._asking, self._tiering, self._muting)

    # --- hello ------------------------------------------------------------------------------

    def greeting(self, device: AuthorKey) -> Greeting:
        """Return what we say first to a Peer.  Reads."""
        context = self._context
        with context.store.reads() as reads:
            peer = reads.peers.get(device)
            theirs = reads.arrivals.claims_of([device]).get(device)
            cursor = None if peer is None else peer.cursor
            at_ms = None if peer is None else peer.reconciled_ms
            since_ms = None if at_ms is None else context.clock.now_ms() - at_ms
            return Greeting(
                store_epoch=reads.meta.store_epoch(),
                newest_n=self._showing.newest_n(reads),
                cursor=cursor,
                your_head=None
                if theirs is None
                else HeadClaim(theirs.author, theirs.seq, theirs.entry_id),
                interest=EVERYTHING,
                needs_reconciling=cursor is None
                or since_ms is None
                or not 0 <= since_ms < RECONCILED_EVERY_MS,
            )

    def judge_own_head(self, device: AuthorKey, claim: HeadClaim | None) -> OwnHead:
        """Judge what a Peer says it holds of our Feed; ``None``: nothing of it.  Reads.

        After ``ASK``, WANT that one Entry (``claim.seq``); its answer is for ``own_head_shown``.
        """
        with self._context.store.reads() as reads:
            return self._own.judge(reads, device, claim)

    def own_head_shown(self, device: AuthorKey, entry: SentEntry | None) -> bool:  # noqa: ARG002
        """Look at the Entry that a Peer claims to hold of our Feed, ``None`` if it showed none.

        True: our key signed what we do not have, so own appends stop for good.  False: the Peer's
        word was empty, an offence.  Writes.
        """
        with self._context.store.reads() as reads:
            return self._own.shown(reads, entry)

    # --- showing ----------------------------------------------------------------------------

    def heads_since(
        self,
        device: AuthorKey,  # noqa: ARG002
        n: int,
        interest: Interest,
        limit: int,
    ) -> HeadsPage:
        """Return the Feeds to which something came after arrival ``n`` of ours.  Reads."""
        with self._context.store.reads() as reads:
            return self._showing.heads_since(reads, n, interest, limit)

    def frontier(
        self,
        device: AuthorKey,  # noqa: ARG002
        interest: Interest,
    ) -> tuple[HeadClaim, ...]:
        """Return what is held of every Feed, by Author: the set that is reconciled.  Reads.

        Give a claim of the other side's list to ``wanted`` as a row from its seq to its seq.
        """
        with self._context.store.reads() as reads:
            return self._showing.frontier(reads, interest)

    def entries(
        self,
        device: AuthorKey,
        ranges: Sequence[SeqRange],
        *,
        with_bodies: bool,
        interest: Interest,
        most_bytes: int,
        most_entries: int,
    ) -> EntriesPage:
        """Return the Entries a Peer asked for, as many as fit, with the Bodies it may have.

        Moves the marks of what left first.  Reads.
        """
        with self._context.store.reads() as reads:
            return self._showing.entries(
                reads,
                device,
                ranges,
                with_bodies=with_bodies,
                interest=interest,
                most_bytes=most_bytes,
                most_entries=most_entries,
            )

    def bodies(self, device: AuthorKey, ids: Sequence[EntryId], *, most_bytes: int) -> BodiesPage:
        """Return Bodies by the ids of their Entries, ``None`` for what it may not have.  Reads."""
        with self._context.store.reads() as reads:
            return self._showing.bodies(reads, device, ids, most_bytes)

    def fork_proof(self, author: AuthorKey) -> bytes | None:
        """Return the proof that disputes the most of a Feed.  Reads."""
        with self._context.store.reads() as reads:
            proofs = reads.forks.of(author)
            return proofs[0].proof if proofs else None

    def own_hint(self) -> SentEntry | None:
        """Return the newest own Entry that may leave, without Body, to be gossiped.  Reads."""
        with self._context.store.reads() as reads:
            return self._own.hint(reads)

    # --- asking -----------------------------------------------------------------------------

    def wanted(self, device: AuthorKey, rows: Sequence[HeadsRow]) -> Wanted:
        """Return what to ask of the Peer that sent ``rows``.  Reads."""
        with self._context.store.reads() as reads:
            return self._asking.wanted(reads, device, rows)

    def missing_bodies(self, device: AuthorKey, after: int = 0) -> MissingBodies:
        """Return Bodies that are missing here, in pages: ask after reconciling.  Reads."""
        with self._context.store.reads() as reads:
            return self._asking.missing(reads, device, after)

    # --- taking -----------------------------------------------------------------------------

    def check(self, entries: Sequence[SentEntry]) -> CheckedBatch:
        """Check a batch of at most 500 Entries (5,000 at a first sync) off the writer."""
        return self._taking.check(entries)

    def take(
        self,
        device: AuthorKey,
        batch: CheckedBatch,
        cursor: Cursor | None = None,
        *,
        with_bodies: bool = True,
    ) -> Taken:
        """Take a checked batch in one transaction; ``cursor`` is kept in the same.  Writes.

        ``with_bodies`` is what was asked.  ``cursor`` goes with the last batch of its rows; it is
        not kept when what is returned names ``ranges`` or ``bodies`` to ask for: then this was not
        the last one.
        """
        return self._taking.take(device, batch, cursor, with_bodies=with_bodies)

    def take_bodies(self, device: AuthorKey, bodies: Sequence[SentBody]) -> Taken:
        """Take Bodies of Entries that are held; only those asked for may be given.  Writes."""
        return self._taking.take_bodies(device, bodies)

    def take_fork(self, device: AuthorKey, proof: bytes) -> Taken:
        """Take a Fork proof: ``forks`` names it if it is new, ``ranges`` its branches.  Writes."""
        return self._taking.take_fork(device, proof)

    def reconciled(self, device: AuthorKey, cursor: Cursor) -> None:
        """Note that everything up to ``cursor`` of the Peer's arrivals was asked for.  Writes."""
        with self._context.store.unit_of_work() as uow:
            uow.peers.keep_cursor(device, cursor, self._context.clock.now_ms())
            uow.commit()

    def keep_cursor(self, device: AuthorKey, cursor: Cursor) -> None:
        """Note how far the Peer's arrivals were looked at.  Writes."""
        with self._context.store.unit_of_work() as uow:
            uow.peers.keep_cursor(device, cursor)
            uow.commit()

    # --- our own Feed -----------------------------------------------------------------------

    def may_leave(self, n: int) -> bool:
        """Say whether the own Entry with arrival number ``n`` may be sent.  Reads."""
        with self._context.store.reads() as reads:
            row = reads.feeds.get(self._context.device)
            seq = self._own.visible_seq(reads)
            if row is None or row.head is None or seq == 0:
                return False
            last = reads.arrivals.number_at(row, seq)
            return last is not None and n <= last

    def note_leaving(self) -> None:
        """Move the marks of what left; call before an own Entry is sent by other ways.  Reads."""
        with self._context.store.reads() as reads:
            self._own.note_leaving(reads)

    def confirmation(self) -> ConfirmationView:
        """Return whether own Entries may leave, and what it rests on."""
        return self._own.confirmation()

    def confirm_by_hand(self) -> None:
        """Let own Entries leave on the word of the person that no other copy of the folder runs."""
        self._own.confirm_by_hand()

    # --- everything else --------------------------------------------------------------------

    def muted_views(self) -> tuple[MutedView, ...]:
        """Return what is not shown because its writer wrote too much.  Reads."""
        with self._context.store.reads() as reads:
            return self._muting.views(reads)

    def housekeeping(self) -> Changes:
        """Do what is due, a bounded part of it: tiers, muted Entries, the strangers' budget.

        Call every few minutes.  Writes.
        """
        context, now_ms = self._context, self._context.clock.now_ms()
        with context.store.reads() as reads:
            is_full = self._room.is_due(reads)
        topics: set[Topic] = set()
        with context.store.unit_of_work() as uow:
            self._tiering.forget()
            self._tiering.refresh(uow)
            self._tiering.settle(uow, HOUSEKEEPING_ROWS_MAX)
            if self._muting.give_turns(uow, self._tiering.tier_of, now_ms):
                topics.add(Topic.CATALOGUE)
            uow.room.forget_dropped(now_ms - FORGOTTEN_AFTER_MS, DROPPED_FEEDS_REMEMBERED_MAX)
            if is_full and self._room.round(uow, now_ms):
                topics |= {Topic.LEDGER, Topic.CATALOGUE, Topic.PROFILES}
            uow.commit()
        return Changes(frozenset(topics))
