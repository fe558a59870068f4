"""Two ledgers of one truth: every exchange with another Device, as use cases.

* A Peer is named by its Device key.  What it says is checked before it changes anything; what it
  did wrong comes back as ``Fault``, for whoever speaks with it to hold against it.
* Every method blocks.  ``check`` belongs on a working thread; ``take``, ``take_bodies``,
  ``take_fork``, ``own_head_shown``, ``reconciled`` and ``housekeeping`` on the one that writes; the
  others on a reading one.
* Our own Feed is shown no further than it may leave (``own_head``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.engine.changes import Changes
    from hanse.core.engine.context import Context
    from hanse.core.engine.replication.values import (
        BodiesPage,
        CheckedBatch,
        ConfirmationView,
        EntriesPage,
        Greeting,
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
    from hanse.core.model.network import Cursor, HeadClaim, Interest, SentEntry, SeqRange


class Replicating:
    """What this folder tells other Devices, and takes from them; ``Engine.replicating``."""

    def __init__(self, context: Context) -> None: ...

    # --- hello ------------------------------------------------------------------------------

    def greeting(self, device: AuthorKey) -> Greeting:
        """Return what we say first to a Peer.  Reads."""

    def judge_own_head(self, device: AuthorKey, claim: HeadClaim | None) -> OwnHead:
        """Judge what a Peer says it holds of our Feed; ``None``: nothing of it.  Reads.

        After ``ASK``, WANT that one Entry (``claim.seq``) and give the answer to ``own_head_shown``.
        """

    def own_head_shown(self, device: AuthorKey, entry: SentEntry | None) -> bool:
        """Look at the Entry that a Peer claims to hold of our Feed, ``None`` if it showed none.

        True: our key signed what we do not have, so own appends stop for good.  False: the Peer's
        word was empty, an offence.  Writes.
        """

    # --- showing ----------------------------------------------------------------------------

    def heads_since(
        self, device: AuthorKey, n: int, interest: Interest, limit: int
    ) -> HeadsPage:
        """Return the Feeds to which something came after arrival ``n`` of ours.  Reads."""

    def frontier(self, device: AuthorKey, interest: Interest) -> tuple[HeadClaim, ...]:
        """Return what is held of every Feed, by Author: the set that is reconciled.  Reads.

        Give a claim of the other side's list to ``wanted`` as a row from its seq to its seq.
        """

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

    def bodies(
        self, device: AuthorKey, ids: Sequence[EntryId], *, most_bytes: int
    ) -> BodiesPage:
        """Return Bodies by the ids of their Entries, ``None`` for what it may not have.  Reads."""

    def fork_proof(self, author: AuthorKey) -> bytes | None:
        """Return the proof that disputes the most of a Feed.  Reads."""

    def own_hint(self) -> SentEntry | None:
        """Return the newest own Entry that may leave, without Body, to be gossiped.  Reads."""

    # --- asking -----------------------------------------------------------------------------

    def wanted(self, device: AuthorKey, rows: Sequence[HeadsRow]) -> Wanted:
        """Return what to ask of the Peer that sent ``rows``.  Reads."""

    def missing_bodies(self, device: AuthorKey, after: int = 0) -> MissingBodies:
        """Return Bodies that are missing here, in pages: ask after reconciling.  Reads."""

    # --- taking -----------------------------------------------------------------------------

    def check(self, entries: Sequence[SentEntry]) -> CheckedBatch:
        """Check a batch of at most 500 Entries (5,000 at a first sync) off the writer."""

    def take(
        self,
        device: AuthorKey,
        batch: CheckedBatch,
        cursor: Cursor | None = None,
        *,
        with_bodies: bool = True,
    ) -> Taken:
        """Take a checked batch in one transaction; ``cursor`` is kept in the same.  Writes.

        ``with_bodies`` is what was asked.  ``cursor`` goes with the last batch of its rows.
        """

    def take_bodies(self, device: AuthorKey, bodies: Sequence[SentBody]) -> Taken:
        """Take Bodies of Entries that are held; only those asked for may be given.  Writes."""

    def take_fork(self, device: AuthorKey, proof: bytes) -> Taken:
        """Take a Fork proof: ``forks`` names it if it is new, ``ranges`` its branches.  Writes."""

    def reconciled(self, device: AuthorKey, cursor: Cursor) -> None:
        """Note that everything up to ``cursor`` of the Peer's arrivals was asked for.  Writes."""

    # --- our own Feed -----------------------------------------------------------------------

    def may_leave(self, n: int) -> bool:
        """Say whether the own Entry with arrival number ``n`` may be sent.  Reads."""

    def note_leaving(self) -> None:
        """Move the marks of what left; call before an own Entry is sent by other ways.  Reads."""

    def confirmation(self) -> ConfirmationView:
        """Return whether own Entries may leave, and what it rests on."""

    def confirm_by_hand(self) -> None:
        """Let own Entries leave on the word of the person that no other copy of the folder runs."""

    # --- everything else --------------------------------------------------------------------

    def muted_views(self) -> tuple[MutedView, ...]:
        """Return what is not shown because its writer wrote too much.  Reads."""

    def housekeeping(self) -> Changes:
        """Do what is due, a bounded part of it: tiers, muted Entries, the strangers' budget.

        Call every few minutes.  Writes.
        """
