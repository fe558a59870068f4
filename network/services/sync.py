"""Agreeing with every connected Peer on the Ledger: one session each, opened by who dialled.

* What one session takes in is told by the others; what one asks for, the others do not ask.
* A hint of a new Head lets sessions ask at once, once for each Author in ten seconds.
* A session that ends while the Peer stays connected is opened again, ever more slowly; at once
  when the connection is a new one.
* Who dialled us and opens none is opened one: when both dial, each may take itself for the dialled.
* Every few minutes the Ledger's housekeeping is done: tiers, muted Entries, room for strangers.

What a session says is ``hanse.network.wire.sync``'s, how it is run ``sync_session``'s.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.core.errors import HanseError
from hanse.core.limits import (
    HINT_AUTHORS_REMEMBERED_MAX,
    NODE_CONNECTIONS_MAX,
    SYNC_BATCH_ENTRIES_MAX,
    SYNC_FIRST_BATCH_ENTRIES_MAX,
    SYNC_RECONCILING_MAX,
    SYNC_SESSIONS_PULLING_FULLY_MAX,
    SYNC_WANTS_OPEN_MAX,
)
from hanse.network.ports import Bounds
from hanse.network.services.sync_session import SyncSession
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.hints import AUTHOR_INTERVAL_MS
from hanse.network.wire.sync import Phase, SyncExchange
from hanse.network.wire.sync_messages import NONCE_SIZE_BYTES, PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hanse.core.engine.replication.values import Taken
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import HeadClaim
    from hanse.network.ports import Connection, Stream
    from hanse.network.services.surroundings import Surroundings

_log: Final = logging.getLogger(__name__)

# Two: a Peer that lost its end may be back before we know.
_BOUNDS: Final = Bounds(per_peer=2, in_all=NODE_CONNECTIONS_MAX)
_AGAIN_MS: Final = 1_000  # doubled with each session that brought nothing
_AGAIN_MS_MOST: Final = 60_000
_HOUSEKEEPING_SECONDS: Final = 5 * 60.0
_SHOW_SECONDS: Final = 0.5
_SYNC_SECONDS: Final = 120.0  # how long one is waited for who asked for all to be agreed
_SESSION_SECONDS: Final = 15.0  # for a session to begin with who is connected


@dataclass(frozen=True, slots=True)
class SyncView:
    """How far one session is; times are milliseconds since 1970."""

    device: AuthorKey
    phase: Phase
    entries_in: int
    entries_out: int
    behind_by: int
    since_ms: int
    settled_ms: int | None


class SyncService:
    """All sessions; belongs to the network thread, but ``views`` may be read from any."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Open nothing yet."""
        self._around = surroundings
        self._sessions: dict[AuthorKey, SyncSession] = {}
        self._reconciling = trio.CapacityLimiter(SYNC_RECONCILING_MAX)
        self._hinted: OrderedDict[AuthorKey, int] = OrderedDict()
        self._keeping: dict[AuthorKey, trio.Event] = {}  # set by a new connection
        self._expected: set[AuthorKey] = set()
        self._is_telling_rest = False
        self._nursery: trio.Nursery | None = None
        self._shown: tuple[SyncView, ...] = ()
        self._entries_in: dict[AuthorKey, int] = {}  # of sessions that are over
        #: Told of each Fork that is new here; must not wait.
        self.on_fork: Callable[[AuthorKey, bytes], None] = lambda _author, _proof: None
        #: Told when a Peer's word on our own Feed was judged: more of it may leave now.
        self.on_judged: Callable[[], None] = lambda: None

    def serve(self) -> None:
        """Let Peers open sessions."""
        self._around.host.serve(PROTOCOL, self._answer, _BOUNDS)

    def views(self) -> tuple[SyncView, ...]:
        """Return how far each session is, as of a moment ago; from any thread."""
        return self._shown

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a session with every Peer until cancelled."""
        listeners = self._around.listeners
        listeners.on_connected.append(self._connected)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._keep_house)
                for connection in self._around.host.connections():
                    self._connected(connection)
                task_status.started()
                while True:
                    self._show()
                    await trio.sleep(_SHOW_SECONDS)
        finally:
            self._nursery = None
            listeners.on_connected.remove(self._connected)

    def announce(self) -> None:
        """Tell every Peer what came into our store, or may leave it now."""
        for session in tuple(self._sessions.values()):
            session.step(session.exchange.news)

    def hint(self, claim: HeadClaim) -> None:
        """Ask for a Head that somebody hinted at; once for each Author in ten seconds."""
        now_ms = ticks_ms()
        last_ms = self._hinted.get(claim.author)
        if last_ms is not None and now_ms - last_ms < AUTHOR_INTERVAL_MS:
            return
        self._hinted[claim.author] = now_ms
        self._hinted.move_to_end(claim.author)
        while len(self._hinted) > HINT_AUTHORS_REMEMBERED_MAX:
            self._hinted.popitem(last=False)
        for session in tuple(self._sessions.values()):
            session.step(partial(session.exchange.hinted, claim))

    def show_fork(self, author: AuthorKey, proof: bytes) -> None:
        """Show every Peer a Fork that came by another way and is new here."""
        for session in tuple(self._sessions.values()):
            session.step(partial(session.exchange.show_fork, author, proof))
        self.announce()

    async def sync_now(self, device: AuthorKey | None = None) -> Mapping[AuthorKey, int]:
        """Wait until all is agreed with one Peer, or with all that are connected.

        Returns how many Entries came of each meanwhile.  Raises ``NoPeer`` when a Peer that was
        named is not connected, ``PeerSilent`` when it takes too long with it.
        """
        connected = [it.device for it in self._around.host.connections()]
        if device is not None and device not in connected:
            raise NoPeer(whom=device.hex(), tried=0)
        peers = connected if device is None else [device]
        before = {peer: self._brought(peer) for peer in peers}
        settled: set[AuthorKey] = set()
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(self._settle, peer, settled)
        self._show()
        if device is not None and device not in settled:
            raise PeerSilent(peer=device.hex(), seconds=round(_SYNC_SECONDS))
        return {peer: self._brought(peer) - before[peer] for peer in peers if peer in settled}

    # --- sessions --------------------------------------------------------------------------------

    def _connected(self, connection: Connection) -> None:
        device, nursery = connection.device, self._nursery
        if nursery is None:
            return
        if (is_new := self._keeping.get(device)) is not None:
            is_new.set()
        elif connection.is_outbound:
            nursery.start_soon(self._keep, device)
        elif device not in self._expected:
            self._expected.add(device)
            nursery.start_soon(self._expect, device)

    async def _expect(self, device: AuthorKey) -> None:
        """Open a session with who dialled us when he does not."""
        await trio.sleep(_SESSION_SECONDS)
        if device in self._expected:
            self._expected.discard(device)
            await self._keep(device)

    async def _keep(self, device: AuthorKey) -> None:
        """Open a session again and again, as long as the Peer is connected."""
        if device in self._keeping:
            return
        self._keeping[device] = trio.Event()
        wait_ms = _AGAIN_MS
        try:
            while self._around.host.is_connected(device):
                if device in self._sessions:  # the Peer has dialled us, too, and opened it
                    await trio.sleep(_AGAIN_MS / 1000)
                    continue
                brought = self._brought(device)
                retry_ms = await self._open(device)
                if self._brought(device) > brought:
                    wait_ms = _AGAIN_MS
                with trio.move_on_after(max(wait_ms, min(retry_ms, _AGAIN_MS_MOST)) / 1000):
                    await self._keeping[device].wait()
                    self._keeping[device] = trio.Event()
                    wait_ms = _AGAIN_MS
                    continue
                wait_ms = min(2 * wait_ms, _AGAIN_MS_MOST)
        finally:
            del self._keeping[device]

    async def _open(self, device: AuthorKey) -> int:
        """Open one session and run it to its end; return when the Peer wants to be asked again."""
        try:
            stream = await self._around.host.open(device, PROTOCOL)
        except (NoPeer, PeerSilent) as error:
            _log.debug("no session with %s: %s", device.hex(), error)
            return 0
        try:
            return await self._session(stream, is_dialler=True)
        except Exception:  # noqa: BLE001
            # A bug of ours, contained as the host does for streams that came in.
            _log.exception("a session with %s broke", device.hex())
            return _AGAIN_MS_MOST

    async def _answer(self, stream: Stream) -> None:
        self._expected.discard(stream.peer)
        await self._session(stream, is_dialler=False)

    async def _session(self, stream: Stream, *, is_dialler: bool) -> int:
        device, around = stream.peer, self._around
        try:
            greeting = await around.read(lambda: around.engine.replicating.greeting(device))
        except HanseError as error:
            _log.debug("no session with %s: %s", device.hex(), error)
            await stream.reset()
            return _AGAIN_MS_MOST
        is_first = greeting.cursor is None
        exchange = SyncExchange(
            around.host.device,
            device,
            greeting,
            around.chance.bytes(NONCE_SIZE_BYTES),
            is_dialler=is_dialler,
            batch_entries=SYNC_FIRST_BATCH_ENTRIES_MAX if is_first else SYNC_BATCH_ENTRIES_MAX,
        )
        session = SyncSession(
            around,
            stream,
            exchange,
            is_dialler=is_dialler,
            asked_elsewhere=self._asked_elsewhere,
            on_looked=self._looked,
            on_judged=self._judged,
            on_taken=self._taken,
            on_received=self.announce,
            on_fork=self._fork,
            reconciling=self._reconciling,
        )
        old = self._sessions.get(device)
        if old is not None:
            is_ours = around.host.device < device
            if old.is_dialler is not is_dialler and is_dialler is not is_ours:
                # Both dialled at once: on either side the session of the smaller key goes on.
                await stream.reset()
                return _AGAIN_MS
            old.step(lambda: old.exchange.failed("busy"))
        self._sessions[device] = session
        self._share()
        try:
            end = await session.run()
        finally:
            self._entries_in[device] = self._entries_in.pop(device, 0) + exchange.entries_in
            while len(self._entries_in) > NODE_CONNECTIONS_MAX:
                del self._entries_in[next(iter(self._entries_in))]
            if self._sessions.get(device) is session:
                del self._sessions[device]
            self._share()
            self._show()
            if exchange.asked_authors and self._nursery is not None and not self._is_telling_rest:
                self._is_telling_rest = True
                self._nursery.start_soon(self._tell_rest)
        if end is not None:
            _log.debug("a session with %s ended: %s %s", device.hex(), end.ending, end.code)
        return 0 if end is None else end.retry_ms

    async def _tell_rest(self) -> None:
        """Tell what a session that ended had given to the writer: it is taken all the same."""
        try:
            await self._around.write(lambda: None)  # behind it
        except HanseError as error:
            _log.debug("what was taken last is told later: %s", error)
        self._is_telling_rest = False
        self.announce()

    def _judged(self) -> None:
        self.announce()
        self.on_judged()

    def _share(self) -> None:
        """Let many sessions at once ask for less each."""
        count = max(1, len(self._sessions))
        fully = count <= SYNC_SESSIONS_PULLING_FULLY_MAX
        for session in self._sessions.values():
            session.exchange.set_most_open(SYNC_WANTS_OPEN_MAX if fully else 1)

    def _asked_elsewhere(self, asking: SyncSession) -> Mapping[AuthorKey, SyncSession]:
        return {
            author: session
            for session in self._sessions.values()
            if session is not asking
            for author in session.asks_for
        }

    def _looked(self, by: SyncSession) -> None:
        """Let the others look again: what one was about to ask for, it may not want."""
        for session in tuple(self._sessions.values()):
            if session is not by and session.exchange.has_later:
                session.step(session.exchange.look_again)

    def _taken(self, by: SyncSession, taken: Taken) -> None:
        if taken.outcome.accepted or taken.forks or taken.changes.topics:
            for session in tuple(self._sessions.values()):
                session.step(session.exchange.news)
        self._looked(by)
        if taken.outcome.accepted:
            self._around.tell("synced", device=by.device.hex(), entries=taken.outcome.accepted)

    def _fork(self, by: SyncSession, author: AuthorKey, proof: bytes) -> None:
        self._around.tell("fork", device=by.device.hex(), author=author.hex())
        for session in tuple(self._sessions.values()):
            if session is not by:
                session.step(partial(session.exchange.show_fork, author, proof))
        self.on_fork(author, proof)

    # --- waiting, showing ------------------------------------------------------------------------

    def _brought(self, device: AuthorKey) -> int:
        session = self._sessions.get(device)
        now = 0 if session is None else session.exchange.entries_in
        return self._entries_in.get(device, 0) + now

    async def _settle(self, device: AuthorKey, settled: set[AuthorKey]) -> None:
        started_ms = ticks_ms()
        with trio.move_on_after(_SYNC_SECONDS):
            while self._around.host.is_connected(device):
                session = self._sessions.get(device)
                if session is None:
                    if ticks_ms() - started_ms > _SESSION_SECONDS * 1000:
                        return
                    await trio.sleep(0.02)  # one begins, or begins again
                    continue
                if session.is_settled:
                    settled.add(device)
                    return
                changed = session.changed
                with trio.move_on_after(1):
                    await changed.wait()

    def _show(self) -> None:
        self._shown = tuple(
            SyncView(
                device=device,
                phase=session.exchange.phase,
                entries_in=session.exchange.entries_in,
                entries_out=session.exchange.entries_out,
                behind_by=session.exchange.behind_by,
                since_ms=session.since_ms,
                settled_ms=session.settled_ms,
            )
            for device, session in self._sessions.items()
        )

    async def _keep_house(self) -> None:
        while True:
            await trio.sleep(_HOUSEKEEPING_SECONDS)
            try:
                await self._around.write(self._around.engine.replicating.housekeeping)
            except HanseError as error:
                _log.warning("the housekeeping of the ledger was not done: %s", error)
