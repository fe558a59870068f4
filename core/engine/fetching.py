"""Releases that are fetched from whoever has them: asked for, paused, gone on with, ended.

* Whether there is room is asked before anything is fetched: of the disk, and of the quota when the
  files are kept for others.
* What is here already is not fetched; a Release of which all is here is done at once.
* A transfer waits for as long as it takes: its bytes stay, whatever the day, until it is cancelled.
* One that failed because the disk was full goes on by itself when there is room.

From whom the bytes come is the network's; how one transfer is worked on, ``Fetch``'s.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.pieces import NotEnoughSpace, gathering_name, leaf_gathering_name
from hanse.core.artifacts.quota import Whose
from hanse.core.engine.fetch import Fetch, TransferNotUnderWay, parts_held, transfer_view, whose_for
from hanse.core.engine.gatherings import Gatherings
from hanse.core.engine.release_parts import note_held, parts_here, parts_of, unwanted_bytes
from hanse.core.engine.trying.subject import UnknownRelease
from hanse.core.errors import Refused, StoreFull, WrongUse
from hanse.core.model.ids import EntryId
from hanse.core.model.network import TransferState, TransferView
from hanse.core.model.transfer import PRIORITY_ASKED, PRIORITY_NOW, Reason
from hanse.core.store.transfers import NewTransfer, TransferRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.release_parts import Parts
    from hanse.core.engine.storing import Storing
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.objects import ObjectName
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

# A stronger reason takes the place of a weaker one.
_STRENGTH: Final = (Reason.SEED, Reason.HEAL, Reason.ASKED, Reason.TRIAL, Reason.ORDER)
_FULL_DISK: Final = frozenset({StoreFull.code, NotEnoughSpace.code})


class TransferUnknown(WrongUse):
    """The Release was never asked for."""

    code = "transfer.unknown"
    text = "there is no transfer of release {release}"
    fields = ("release",)


class TransferInUse(Refused):
    """Somebody works on this transfer already."""

    code = "transfer.in_use"
    text = "the transfer of release {release} is being worked on"
    fields = ("release",)


class Fetching:
    """All transfers of one Account; its methods wait for the store and the disk."""

    def __init__(self, context: Context, content: Content, storing: Storing) -> None:
        """Bind the Account, its files and its quota."""
        self._context = context
        self._content = content
        self._storing = storing
        self._lock = threading.Lock()
        self._open: dict[EntryId, Fetch | None] = {}
        self.gatherings = Gatherings(content.pieces)

    # --- asking ------------------------------------------------------------------------------

    def ask(
        self,
        release: bytes,
        *,
        reason: Reason = Reason.ASKED,
        priority: int = PRIORITY_ASKED,
    ) -> TransferView:
        """Ask for a Release whose Entry is held; the more urgent and the stronger wish stands.

        Raises ``UnknownRelease``, ``NotEnoughSpace``, ``QuotaFull`` or ``TooManyTransfers``, and
        then nothing is begun.
        """
        name = EntryId(release)
        with self._context.store.reads() as reads:
            row = reads.listings.release(name)
            if row is None:
                raise UnknownRelease(release=name)
            known = reads.transfers.get(name)
            parts = parts_held(row, self._content, reads)
            if parts is None and (known is None or not known.is_due):
                self._check_room(reads, row, reason)
        with self._context.store.unit_of_work() as uow:
            now_ms = self._context.clock.now_ms()
            if parts is not None:
                kept = self._put_done(uow, parts, reason, priority, now_ms)
            elif known is not None and known.is_due:
                kept = _strengthened(uow, known, reason, priority, now_ms)
            else:
                done = self._gathered_bytes(row)
                new = NewTransfer(
                    name, row.artifact, reason, TransferState.QUEUED, priority, row.size, done
                )
                kept = uow.transfers.put(new, now_ms)
            view = transfer_view(uow, kept)
            uow.commit()
        return view

    def _put_done(
        self, uow: UnitOfWork, parts: Parts, reason: Reason, priority: int, now_ms: int
    ) -> TransferRow:
        """Note that everything of a Release is here already."""
        size = sum(size for _, size in parts.travelling())
        for name in parts.wanted():
            self._content.pieces.has(*name)  # makes the empty file
        note_held(uow, parts, now_ms, whose_for(reason))
        row = parts.row
        return uow.transfers.put(
            NewTransfer(
                row.release, row.artifact, reason, TransferState.DONE, priority, size, size
            ),
            now_ms,
        )

    def _check_room(self, held: Repositories, row: ReleaseRow, reason: Reason) -> None:
        """Refuse what fits neither the disk nor, for others, the quota."""
        parts = parts_here(row, self._content.small)
        size = row.size if parts is None else sum(size for _, size in parts.travelling())
        if whose_for(reason) is Whose.OTHERS:
            coming = row.size if parts is None else unwanted_bytes(held, parts)
            self._storing.check_quota(coming)
        names = [] if parts is None else parts.travelling()
        whole = sum(size for root, size in names if self._content.pieces.has(root, size))
        here = max(self._gathered_bytes(row), whole)
        others = sum(
            one.total_bytes - one.done_bytes
            for one in held.transfers.due()
            if one.release != row.release
        )
        self._content.pieces.check_room(max(0, size - here) + others)

    def _gathered_bytes(self, row: ReleaseRow) -> int:
        """Return what an earlier attempt noted of a Release."""
        with self._context.store.reads() as reads:
            known = reads.transfers.get(row.release)
        is_left = known is not None and known.state not in {
            TransferState.DONE,
            TransferState.CANCELLED,
        }
        return known.done_bytes if known is not None and is_left else 0

    # --- steering ----------------------------------------------------------------------------

    def pause(self, release: bytes) -> TransferView:
        """Have a transfer wait; whoever works on it is told at the next checkpoint."""
        return self._steer(
            release,
            lambda uow, row, now_ms: uow.transfers.set_paused(row.release, now_ms, is_paused=True),
        )

    def go_on(self, release: bytes) -> TransferView:
        """Go on with a transfer that was paused, failed or was cancelled.

        Raises what ``ask`` does when there is no room.
        """
        name = EntryId(release)
        known = self._known(name)
        if known.is_ended or known.state is TransferState.FAILED:
            return self.ask(release, reason=known.reason, priority=known.priority)
        return self._steer(
            release,
            lambda uow, row, now_ms: uow.transfers.set_paused(row.release, now_ms, is_paused=False),
        )

    def set_priority(self, release: bytes, priority: int) -> TransferView:
        """Move a transfer to the front (0) or the back."""
        return self._steer(
            release,
            lambda uow, row, now_ms: uow.transfers.set_priority(row.release, priority, now_ms),
        )

    def cancel(self, release: bytes) -> TransferView:
        """End a transfer and drop what came of it, but for what another one wants."""
        view = self._steer(
            release,
            lambda uow, row, now_ms: uow.transfers.move(
                row.release, TransferState.CANCELLED, now_ms
            ),
        )
        with self._lock:
            is_open = EntryId(release) in self._open
        if not is_open:
            self._drop_parts(EntryId(release))
        return view

    def _steer(
        self,
        release: bytes,
        act: Callable[[UnitOfWork, TransferRow, int], TransferRow],
    ) -> TransferView:
        name = EntryId(release)
        with self._context.store.unit_of_work() as uow:
            row = uow.transfers.get(name)
            if row is None:
                raise TransferUnknown(release=name)
            if not row.is_ended:
                row = act(uow, row, self._context.clock.now_ms())
            view = transfer_view(uow, row)
            uow.commit()
        return view

    def _known(self, release: EntryId) -> TransferRow:
        with self._context.store.reads() as reads:
            row = reads.transfers.get(release)
        if row is None:
            raise TransferUnknown(release=release)
        return row

    # --- looking -----------------------------------------------------------------------------

    def view(self, release: bytes) -> TransferView:
        """Return one transfer, or raise ``TransferUnknown``."""
        row = self._known(EntryId(release))
        with self._context.store.reads() as reads:
            return transfer_view(reads, row)

    def views(self) -> tuple[TransferView, ...]:
        """Return all transfers, the most urgent first; those that have ended too."""
        with self._context.store.reads() as reads:
            return tuple(transfer_view(reads, row) for row in reads.transfers.all())

    def due(self) -> tuple[TransferView, ...]:
        """Return what to work on, the most urgent first; also what a full disk had stopped."""
        self._retry_full()
        with self._context.store.reads() as reads:
            return tuple(transfer_view(reads, row) for row in reads.transfers.due())

    def _retry_full(self) -> None:
        """Queue again what failed for want of room, where there is room now."""
        with self._context.store.reads() as reads:
            failed = [
                row
                for row in reads.transfers.live()
                if row.state is TransferState.FAILED
                and not row.is_paused
                and row.error is not None
                and row.error[0] in _FULL_DISK
            ]
        for row in failed:
            try:
                self._content.pieces.check_room(max(1, row.total_bytes - row.done_bytes))
            except NotEnoughSpace:
                continue
            with self._context.store.unit_of_work() as uow:
                uow.transfers.move(row.release, TransferState.QUEUED, self._context.clock.now_ms())
                uow.commit()

    # --- working -----------------------------------------------------------------------------

    def open(self, release: bytes) -> Fetch:
        """Begin to work on a transfer that is due; it is held until it is closed.

        Raises ``TransferUnknown``, ``TransferNotUnderWay``, ``TransferInUse``, and what makes it
        fail at once: ``BadRelease``, ``UnknownRelease``, ``NotEnoughSpace`` or ``QuotaFull``.
        """
        name = EntryId(release)
        with self._lock:
            if name in self._open:
                raise TransferInUse(release=name)
            self._open[name] = None
        try:
            fetch = self._begin(name)
        except BaseException:
            with self._lock:
                self._open.pop(name, None)
            raise
        with self._lock:
            self._open[name] = fetch
        return fetch

    def _begin(self, name: EntryId) -> Fetch:
        context = self._context
        with context.store.unit_of_work() as uow:
            transfer = uow.transfers.get(name)
            if transfer is None:
                raise TransferUnknown(release=name)
            if not transfer.is_due:
                state = transfer_view(uow, transfer).state.value
                raise TransferNotUnderWay(release=name, state=state)
            row = uow.listings.release(name)
            now_ms = context.clock.now_ms()
            if row is None:  # erased since it was asked for
                gone = UnknownRelease(release=name)
                uow.transfers.move(name, TransferState.FAILED, now_ms, gone)
                uow.commit()
                raise gone
            transfer = uow.transfers.move(name, TransferState.RUNNING, now_ms)
            uow.commit()
        fetch = Fetch(
            context,
            self._content,
            self._storing,
            self.gatherings,
            row,
            transfer,
            self._closed,
        )
        try:
            fetch.begin()
        except BaseException:
            fetch.close()
            raise
        return fetch

    def _closed(self, fetch: Fetch) -> None:
        with self._lock:
            self._open.pop(fetch.release, None)
        with self._context.store.reads() as reads:
            row = reads.transfers.get(fetch.release)
        if row is not None and row.state is TransferState.CANCELLED:
            self._drop_parts(fetch.release)

    def _drop_parts(self, release: EntryId) -> None:
        """Remove what came of a cancelled transfer and no other one wants.

        A Release that was whole once, and is being healed, keeps what it has.
        """
        with self._context.store.unit_of_work() as uow:
            whole: list[ObjectName] = []
            if uow.objects.manifest_of_release(release) is None:
                whole = uow.objects.leave_release(release)
                uow.commit()
        with self._context.store.reads() as reads:
            row = reads.listings.release(release)
            mine = None if row is None else parts_here(row, self._content.small)
            if mine is None:
                return  # the sweep finds it
            live = [one.release for one in reads.transfers.live()]
            others = {
                name for one in parts_of(reads, self._content.small, live) for name in _names(one)
            }
        for name in whole:
            if name not in others:
                self._content.pieces.remove(*name)
        for name in _names(mine):
            if name not in others and not self.gatherings.is_live(name):
                self._content.pieces.drop_part(gathering_name(*name))
                self._content.pieces.drop_part(leaf_gathering_name(*name))

    # --- mending -----------------------------------------------------------------------------

    def mend(self, root: bytes, size: int, pieces: Sequence[int]) -> bool:
        """Have damaged or missing Pieces of a file come again; False for one that does not travel.

        The file is taken apart and gathered like any other: its sound Pieces count.
        """
        name = (root, size)
        with self._context.store.reads() as reads:
            release = self._release_of(reads, name)
        if release is None:
            return False
        if not self.gatherings.is_live(name) and self._content.pieces.path(root, size).exists():
            self._content.pieces.take_apart(root, size, pieces)
        self.ask(release, reason=Reason.HEAL, priority=PRIORITY_NOW)
        return True

    def _release_of(self, held: Repositories, name: ObjectName) -> EntryId | None:
        """Find a Release by which an object travels."""
        for artifact in dict.fromkeys(use.artifact for use in held.objects.uses_of(name)):
            releases = [row.release for row in held.objects.manifests_of(artifact)]
            found = [one for one in releases if one is not None]
            for parts in parts_of(held, self._content.small, found):
                if name in parts.travelling():
                    return parts.row.release
        return None


def _strengthened(
    uow: UnitOfWork, known: TransferRow, reason: Reason, priority: int, now_ms: int
) -> TransferRow:
    """Let the more urgent and the stronger of two wishes stand."""
    row = known
    if priority < row.priority:
        row = uow.transfers.set_priority(row.release, priority, now_ms)
    if _STRENGTH.index(reason) > _STRENGTH.index(row.reason):
        row = uow.transfers.set_reason(row.release, reason, now_ms)
    return row


def _names(parts: Parts) -> list[ObjectName]:
    """Return what of a Release may be on its way: objects, and files of leaf layers."""
    return [*parts.travelling(), *((file.root, file.size) for file in parts.leaf_files())]
