"""One session of the sync, run: a stream on one side, the engine on the other.

* Whoever reads the stream never waits for the engine: the exchange bounds what may come.
* What is told (read here, written to the stream) and what is taken in go on side by side, each in
  its order; while one batch is written the signatures of the next are checked.
* What the other side owes us has its time; silence ends the session.
* Trouble of ours, such as a full disk, ends it too and is nobody's fault.

What to ask and to tell is the exchange's (``hanse.network.wire.sync``).
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.executor import TooBusy
from hanse.core.engine.ports import PeerSilent
from hanse.core.engine.post_receiving import Received, check_post
from hanse.core.engine.replication.values import OwnHead, Taken, Wanted
from hanse.core.errors import HanseError, RejectedEntry
from hanse.network.conduct import Offence
from hanse.network.ports import StreamEnded
from hanse.network.services.sync_acts import read, reconcile, write
from hanse.network.services.sync_pace import Pace
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.recon import Frontier
from hanse.network.wire.sync import Phase
from hanse.network.wire.sync_actions import (
    Blame,
    Close,
    Ending,
    JudgeOwnHead,
    KeepCursor,
    Look,
    Looked,
    Misdeed,
    NoteDelivered,
    NoteReconciled,
    PassFork,
    ReadBodies,
    ReadEntries,
    ReadFrontier,
    ReadHeads,
    ReadMissing,
    Reconcile,
    Send,
    ShowOwnHead,
    Take,
    TakeBodies,
    TakeDelivery,
    TakeFork,
    TakingAction,
    TellingAction,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hanse.core.engine.replication.values import CheckedBatch, HeadsRow
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import SentEntry
    from hanse.network.ports import Stream
    from hanse.network.services.surroundings import Surroundings
    from hanse.network.services.sync_acts import ReadAction, WriteAction
    from hanse.network.wire.sync import SyncExchange, Waiting
    from hanse.network.wire.sync_actions import Action

_log: Final = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.5
RENEW_MS: Final = 24 * 60 * 60 * 1000
CURSOR_SECONDS: Final = 5.0  # a cursor that moved without Entries is kept as seldom
PATIENCE_SECONDS: Final = 10.0  # in which whoever is asked instead has to bring something
_PATIENCE_ENTRIES: Final = 100
_LOOKS_PER_SECOND: Final = 20  # pages of one Peer, after a burst of as many
_FRAMES_PER_SECOND: Final = 400
_BUSY_MS: Final = 5_000
_GOODBYE_SECONDS: Final = 2.0
_OFFENCES: Final = {
    Misdeed.FRAME: Offence.FRAME,
    Misdeed.WRONG_BYTES: Offence.WRONG_BYTES,
}


@dataclass(slots=True)
class _Trust:
    """That a session is left to ask for a Feed, and what it had brought when it was."""

    session: SyncSession
    brought: int
    since_ms: int


@dataclass(slots=True)
class _Checking:
    """A batch whose signatures are being checked."""

    action: Take
    done: trio.Event
    batch: CheckedBatch | None = None
    error: Exception | None = None


class SyncSession:
    """Runs one exchange on one stream until it closes."""

    def __init__(
        self,
        surroundings: Surroundings,
        stream: Stream,
        exchange: SyncExchange,
        *,
        is_dialler: bool,
        asked_elsewhere: Callable[[SyncSession], Mapping[AuthorKey, SyncSession]],
        on_looked: Callable[[SyncSession], None],
        on_judged: Callable[[], None],
        on_taken: Callable[[SyncSession, Taken], None],
        on_received: Callable[[], None],
        on_fork: Callable[[SyncSession, AuthorKey, bytes], None],
        reconciling: trio.CapacityLimiter,
    ) -> None:
        """``asked_elsewhere`` says which session asks for whose Entries; nothing waits in them."""
        self._around = surroundings
        self._replicating = surroundings.engine.replicating
        self._stream = stream
        self.exchange = exchange
        self.device = stream.peer
        self.is_dialler = is_dialler
        self._asked_elsewhere = asked_elsewhere
        self._on_looked = on_looked
        self._on_judged = on_judged
        self._on_taken = on_taken
        self._on_received = on_received
        self._on_fork = on_fork
        self._reconciling = reconciling
        self._telling: deque[TellingAction] = deque()
        self._taking: deque[TakingAction | _Checking] = deque()
        self._has_telling = trio.Event()
        self._has_taking = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._waited: tuple[Waiting, int, int] | None = None
        self._left_to: dict[AuthorKey, _Trust] = {}
        self._looking_at: frozenset[AuthorKey] = frozenset()
        self._cursor: KeepCursor | None = None  # not kept yet
        self._cursor_ms = 0
        self._looks = Pace(_LOOKS_PER_SECOND)
        self._frames = Pace(_FRAMES_PER_SECOND)
        self.changed = trio.Event()
        self.since_ms = surroundings.clock.now_ms()
        self.settled_ms: int | None = None
        self.end: Close | None = None

    # --- what others tell it -------------------------------------------------------------------

    def step(self, act: Callable[[], tuple[Action, ...]]) -> None:
        """Let the exchange do something, and see to what it asks for."""
        self._dispatch(act())

    # --- running ---------------------------------------------------------------------------------

    async def run(self) -> Close | None:
        """Run until the session closes; return why.  Raises only what is our own bug."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.step(self.exchange.start)
                nursery.start_soon(self._read_all)
                nursery.start_soon(self._take_all)
                nursery.start_soon(self._tick)
                await self._tell_all()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            self._release_frontier()
            self._change()
            with trio.move_on_after(_GOODBYE_SECONDS, shield=True):
                await self._keep_cursor()
                if self.end is not None and self.end.ending is not Ending.SILENT:
                    await self._close_softly()
                else:
                    await self._stream.reset()
        return self.end

    async def _close_softly(self) -> None:
        try:
            await self._stream.close()
        except (StreamEnded, PeerSilent):
            await self._stream.reset()

    async def _read_all(self) -> None:
        while self.end is None:
            try:
                data = await self._stream.read()
            except (StreamEnded, PeerSilent):
                data = b""
            if not data:
                self.step(self.exchange.ended)
                return
            self.step(partial(self.exchange.feed, data))
            await self._frames.wait(self.exchange.frames_in)

    async def _tick(self) -> None:
        """Look whether what is owed to us is overdue, and at rows that others had asked for."""
        while True:
            await trio.sleep(TICK_SECONDS)
            if self.exchange.has_later:
                self.step(self.exchange.look_again)
            if self.exchange.phase is not Phase.RECON:
                self._release_frontier()
            await self._do_what_is_due()
            waiting, now_ms = self.exchange.waiting_for, ticks_ms()
            came = self.exchange.buffered_bytes  # a frame that grows on a slow link is no silence
            if waiting is None:
                self._waited = None
            elif self._waited is None or self._waited[:2] != (waiting, came):
                self._waited = (waiting, came, now_ms)
            elif now_ms - self._waited[2] >= waiting.seconds * 1000:
                self._around.tell("sync_silent", device=self.device.hex(), waiting=waiting.what)
                self.step(self.exchange.overdue)

    async def _do_what_is_due(self) -> None:
        if ticks_ms() - self._cursor_ms >= CURSOR_SECONDS * 1000:
            await self._keep_cursor()
        if (
            self.is_dialler
            and self.is_settled
            and self._around.clock.now_ms() - self.since_ms >= RENEW_MS
        ):
            self.step(self.exchange.ended)  # the next one reconciles

    def _dispatch(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if isinstance(action, TellingAction):
                self._telling.append(action)
                if isinstance(action, Close):
                    self.end = action
            elif isinstance(action, Take):
                checking = _Checking(action, trio.Event())
                self._taking.append(checking)
                if self._nursery is not None:
                    self._nursery.start_soon(self._check, checking)
            else:
                self._taking.append(action)
        self._has_telling.set()
        self._has_taking.set()
        if self.is_settled:
            self.settled_ms = self._around.clock.now_ms()
        self._change()

    @property
    def asks_for(self) -> frozenset[AuthorKey]:
        """Return whose Entries this session asks for, or is about to."""
        return self._looking_at.union(self.exchange.asked_authors)

    @property
    def is_settled(self) -> bool:
        """Say whether each side has what the other told, and it is on disk here."""
        return self.exchange.is_settled and not self._taking

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def _supply(self, action: Action, result: object) -> None:
        self.step(lambda: self.exchange.supplied(action, result))

    # --- telling ---------------------------------------------------------------------------------

    async def _tell_all(self) -> None:
        while True:
            while self._telling:
                action = self._telling.popleft()
                if isinstance(action, Close):
                    return
                try:
                    await self._tell(action)
                except (StreamEnded, PeerSilent):
                    self.step(self.exchange.ended)
                except HanseError as error:
                    self._fail(error)
            self._has_telling = trio.Event()
            await self._has_telling.wait()

    async def _tell(self, action: TellingAction) -> None:
        match action:
            case Send():
                await self._stream.write(action.frame)
            case ReadFrontier():
                self._supply(action, await self._frontier(action))
            case Reconcile():
                self._supply(action, await self._around.job(lambda: reconcile(action)))
            case ReadHeads() | ReadEntries() | ReadBodies():
                self._supply(action, await self._read(action))
            case Blame():
                self._around.blame(self.device, _OFFENCES[action.misdeed])
            case Close():
                raise AssertionError(action)

    async def _read(self, action: ReadAction) -> object:
        return await self._around.read(lambda: read(self._replicating, self.device, action))

    async def _frontier(self, action: ReadFrontier) -> Frontier | None:
        """Build the set that is reconciled; ``None`` when too many sessions do that already."""
        try:
            self._reconciling.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            return None
        # Given back when the session is through with it: that is how long it is in memory.
        claims = await self._around.read(
            lambda: self._replicating.frontier(self.device, action.interest)
        )
        return await self._around.job(lambda: Frontier(claims, action.salt))

    def _release_frontier(self) -> None:
        if self in self._reconciling.statistics().borrowers:
            self._reconciling.release_on_behalf_of(self)

    # --- taking in -------------------------------------------------------------------------------

    async def _check(self, checking: _Checking) -> None:
        try:
            checking.batch = await self._around.job(
                lambda: self._replicating.check(checking.action.entries)
            )
        except HanseError as error:
            checking.error = error
        finally:
            checking.done.set()

    async def _take_all(self) -> None:
        while True:
            while self._taking:
                action = self._taking[0]  # stays until it is done: then nothing is settled
                try:
                    await self._take(action)
                except HanseError as error:
                    self._fail(error)
                    return
                finally:
                    self._taking.popleft()
                if self.is_settled:
                    self.settled_ms = self._around.clock.now_ms()
                    self._change()
            self._has_taking = trio.Event()
            await self._has_taking.wait()

    async def _take(self, action: TakingAction | _Checking) -> None:
        match action:
            case _Checking():
                await self._take_checked(action)
            case Look():
                looked = await self._look(action)
                if not looked.later:
                    self._left_to.clear()
                self._supply(action, looked)
                if self._looking_at:
                    self._looking_at = frozenset()
                    self._on_looked(self)
            case JudgeOwnHead():
                judged = await self._read(action)
                self._supply(action, judged)
                if judged is not OwnHead.ASK:
                    self._on_judged()
            case ReadMissing():
                self._supply(action, await self._read(action))
            case ShowOwnHead():
                is_proof = await self._write(action)
                if is_proof:
                    self._around.tell("own_feed_elsewhere", device=self.device.hex())
                self._supply(action, is_proof)
            case TakeBodies() | TakeFork():
                taken = await self._write(action)
                assert isinstance(taken, Taken)
                self._taken(action, taken)
            case KeepCursor():
                self._cursor = action
                if ticks_ms() - self._cursor_ms >= CURSOR_SECONDS * 1000:
                    await self._keep_cursor()
            case NoteReconciled():
                self._cursor = None
                await self._write(action)
            case TakeDelivery():
                self._supply(action, await self._received(action.entry))
            case PassFork():
                self._on_fork(self, action.author, action.proof)
            case NoteDelivered() | Take():
                raise AssertionError(action)  # nothing is handed over here; batches come checked

    async def _write(self, action: WriteAction) -> object:
        return await self._around.write(lambda: write(self._replicating, self.device, action))

    async def _take_checked(self, checking: _Checking) -> None:
        await checking.done.wait()
        if checking.error is not None:
            raise checking.error
        batch, action = checking.batch, checking.action
        assert batch is not None
        if action.cursor is not None:
            self._cursor = None
        taken = await self._around.write(
            lambda: self._replicating.take(
                self.device, batch, action.cursor, with_bodies=action.with_bodies
            )
        )
        self._taken(action, taken)

    def _taken(self, action: Take | TakeBodies | TakeFork, taken: Taken) -> None:
        self._supply(action, taken)
        self._on_taken(self, taken)

    async def _look(self, action: Look) -> Looked:
        """Leave to other sessions what they ask for; look at it again when they have it."""
        elsewhere = {} if action.is_hint else self._asked_elsewhere(self)
        later: list[HeadsRow] = []
        rows: list[HeadsRow] = []
        for row in action.rows:
            asked = elsewhere.get(row.author)
            is_left = asked is not None and self._is_left_to(asked, row.author)
            (later if is_left else rows).append(row)
        if not rows:
            return Looked(Wanted(), tuple(later))
        await self._looks.wait()
        self._looking_at = frozenset(row.author for row in rows)
        wanted = await self._around.read(lambda: self._replicating.wanted(self.device, rows))
        return Looked(wanted, tuple(later))

    def _is_left_to(self, asked: SyncSession, author: AuthorKey) -> bool:
        """Say whether somebody else is left to bring a Feed: as long as he brings things."""
        now_ms, brought = ticks_ms(), asked.exchange.entries_in
        trust = self._left_to.get(author)
        if trust is None or trust.session is not asked:
            if trust is not None:
                return False  # the second who is asked instead: one is enough
            self._left_to[author] = _Trust(asked, brought, now_ms)
            return True
        if brought - trust.brought >= _PATIENCE_ENTRIES:
            trust.brought, trust.since_ms = brought, now_ms
        return now_ms - trust.since_ms < PATIENCE_SECONDS * 1000

    async def _keep_cursor(self) -> None:
        """Keep the cursor that waits for it; it only saves rows, so trouble is passed over."""
        action, self._cursor = self._cursor, None
        if action is None:
            return
        self._cursor_ms = ticks_ms()
        try:
            await self._write(action)
        except HanseError as error:
            _log.debug("a cursor was not kept: %s", error)

    async def _received(self, entry: SentEntry) -> bytes | None:
        """Take a Private Entry that was handed over; its id once it is on disk."""
        try:
            checked = await self._around.job(lambda: check_post(entry))
        except RejectedEntry:
            self._around.blame(self.device, Offence.WRONG_BYTES)
            return None
        receiving = self._around.engine.posting.receiving
        taken = await self._around.write(
            lambda: receiving.take(checked, is_named=False, is_counted=True)
        )
        if not isinstance(taken, Received):
            return None
        self._on_received()
        return taken.entry_id

    def _fail(self, error: HanseError) -> None:
        if isinstance(error, TooBusy):
            self.step(lambda: self.exchange.failed("busy", _BUSY_MS))
            return
        _log.warning("a session of the sync ended: %s", error)
        self._around.tell("sync_failed", device=self.device.hex(), code=error.code)
        self.step(lambda: self.exchange.failed("internal", _BUSY_MS))
