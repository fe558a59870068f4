"""How far our own Feed may be shown, and when it must stop (ledger.md 1).

* Somebody may have copied this folder, or set it back in time.  So what was written since it last
  left is *held back* after each start, until a Peer holds a prefix of our Feed, or three hold
  nothing of it.  What is held back has never left, so there is no Fork yet.
* A Device of which nothing ever went to a Peer has nobody who could hold a prefix: one Peer that
  holds nothing is enough then.  What was handed to a Peer is noted beside the high-water mark,
  durably, before it leaves.
* An Entry with our signature that is not held here proves another copy: own appends stop, for
  good, and the proof is kept.  A Peer's bare word stops nobody.

Everything here may be called from any thread.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from hanse.core.engine.replication.values import ConfirmationView, OwnHead
from hanse.core.errors import RejectedEntry
from hanse.core.keystore.guards import CopyState, LeftMark, ShownHeader
from hanse.core.ledger.entry import check_entry, parse_entry
from hanse.core.model.network import SentEntry

if TYPE_CHECKING:
    from hanse.core.engine.context import Context
    from hanse.core.ledger.entry import SignedEntry
    from hanse.core.model.ids import AuthorKey, EntryId
    from hanse.core.model.network import HeadClaim
    from hanse.core.store.unit_of_work import Repositories

NEEDED_ABSENT: Final = 3
NEEDED_ABSENT_AT_FIRST: Final = 1


class OwnFeed:
    """What of our own Feed others may have; one for an open Account."""

    def __init__(self, context: Context) -> None:
        """Hold back everything that never left, until somebody confirms."""
        self._context = context
        self._lock = Lock()
        self._mark = LeftMark(context.home.config, context.device)
        self._left: tuple[int, EntryId] | None = None
        self._had_left: bool | None = None  # at the start; not known before the mark is read
        self._confirmed_by: AuthorKey | None = None
        self._absent: set[AuthorKey] = set()
        self._by_hand = False

    # --- what Peers say ---------------------------------------------------------------------

    def judge(self, held: Repositories, device: AuthorKey, claim: HeadClaim | None) -> OwnHead:
        """Judge what a Peer says it holds of our Feed."""
        own = self._context.device
        if claim is None:
            with self._lock:
                if len(self._absent) < NEEDED_ABSENT:
                    self._absent.add(device)
            return OwnHead.ABSENT
        row = held.feeds.get(own)
        if claim.author == own and row is not None and row.head is not None:
            at = held.feeds.id_at(row, claim.seq)
            # Where our own Feed is forked, a Peer names all its branches at once.
            whole = held.arrivals.claims_of([own])[own]
            if at == claim.entry_id or (whole.seq, whole.entry_id) == (claim.seq, claim.entry_id):
                with self._lock:
                    self._confirmed_by = self._confirmed_by or device
                return OwnHead.CONFIRMED
        return OwnHead.ASK

    def shown(self, held: Repositories, entry: SentEntry | None) -> bool:
        """Say whether a Peer showed an Entry by our key that is not held here; then stop."""
        if entry is None:
            return False
        try:
            checked = check_entry(parse_entry(entry.header, entry.sig))
        except RejectedEntry:
            return False
        if checked.author != self._context.device or held.feeds.known([checked.entry_id]):
            return False
        self.stop(checked)
        return True

    def stop(self, evidence: SignedEntry) -> None:
        """Sign nothing any more, now and after a restart: ``evidence`` is not of this folder."""
        context = self._context
        shown = ShownHeader(context.home.config, context.device)
        shown.write(evidence.header_bytes, evidence.signature)
        if context.copy_state.may_sign:
            context.copy_state = CopyState.STALE

    def confirm_by_hand(self) -> None:
        """Take the person's word that no other copy of this folder runs."""
        with self._lock:
            self._by_hand = True

    # --- how far ----------------------------------------------------------------------------

    @property
    def is_confirmed(self) -> bool:
        """Say whether everything we have written may leave."""
        if not self._context.copy_state.may_sign:
            return False
        with self._lock:
            return (
                self._by_hand
                or self._confirmed_by is not None
                or len(self._absent) >= self._needed()
            )

    def visible_seq(self, held: Repositories) -> int:
        """Return up to which seq our Feed may be shown, 0 for nothing of it."""
        row = held.feeds.get(self._context.device)
        if row is None or row.head is None:
            return 0
        if self.is_confirmed:
            return row.head.seq
        with self._lock:
            left = self._last_left()
        return 0 if left is None else min(left[0], row.head.seq)

    def note_leaving(self, held: Repositories) -> None:
        """Move both marks to what may leave now; durable when it returns."""
        context = self._context
        row = held.feeds.get(context.device)
        seq = self.visible_seq(held)
        with self._lock:
            left = self._last_left()
        if row is None or seq == 0 or (left is not None and left[0] >= seq):
            return
        entry_id = held.feeds.id_at(row, seq)
        assert entry_id is not None
        context.note_leaving(held)
        with self._lock:
            # A reader may know an older state than the one that was just noted.
            if self._left is None or self._left[0] < seq:
                self._mark.write(seq, entry_id)
                self._left = (seq, entry_id)

    def confirmation(self) -> ConfirmationView:
        """Return what holds the Feed back, or lets it go."""
        may_leave = self.is_confirmed
        with self._lock:
            left = self._last_left()
            return ConfirmationView(
                may_leave=may_leave,
                confirmed_by=self._confirmed_by,
                absent_at=tuple(sorted(self._absent)),
                needed=self._needed(),
                has_left=left is not None,
                by_hand=self._by_hand,
                stale=not self._context.copy_state.may_sign,
            )

    def hint(self, held: Repositories) -> SentEntry | None:
        """Return the newest own Entry that may leave, without its Body; marks come first."""
        self.note_leaving(held)
        seq = self.visible_seq(held)
        entry = held.feeds.entry_at(self._context.device, seq) if seq else None
        return None if entry is None else SentEntry(entry.header_bytes, entry.signature)

    # --- inside -----------------------------------------------------------------------------

    def _last_left(self) -> tuple[int, EntryId] | None:
        """Return what last left to a Peer; holds the lock."""
        if self._had_left is None:
            self._left = self._mark.read()
            self._had_left = self._left is not None
        return self._left

    def _needed(self) -> int:
        """Return how many Peers must hold nothing of us; holds the lock."""
        self._last_left()
        return NEEDED_ABSENT if self._had_left else NEEDED_ABSENT_AT_FIRST
