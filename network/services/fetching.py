"""Fetches the Releases that are asked for, from several Peers at once.

* What is to be fetched the engine says (``Engine.fetching.due``); it is looked at again whenever
  somebody calls ``look``, and twice a minute.
* A few transfers run at once; of what one Peer may be asked, the one of the lowest priority
  number takes what it can use, then the next.  One that finds nobody holds up no other.
* While 32 MiB wait to be written nothing is asked; a rate delays asking, never reading.
* Events and views say at most four times a second how far each is.

Which Piece is asked of whom is the picker's; what a Release needs is the engine's.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.ports import PeerSilent
from hanse.core.errors import HanseError
from hanse.core.limits import (
    PIECES_QUEUED_BYTES_MAX,
    TRANSFERS_FETCHED_MAX,
    TRANSFERS_RUNNING_MAX,
)
from hanse.core.model.network import Path, TransferState
from hanse.network.conduct import Offence
from hanse.network.services.downloading import Download
from hanse.network.services.piece_line import PieceLine
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.bucket import SECOND_MS, Bucket
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.picker import REST_MS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import TransferView
    from hanse.network.ports import Connection
    from hanse.network.services.surroundings import Surroundings

    Find = Callable[[TransferView, bytes], Awaitable[Sequence[AuthorKey]]]

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 30.0
_TICK_SECONDS: Final = 0.25
_IDLE_MS: Final = 60 * SECOND_MS  # without a question; then a line is closed
_HOLD_OFF_MS: Final = 30 * SECOND_MS  # after a transfer stopped with an error


async def _find_nobody(_view: TransferView, _seller: bytes) -> Sequence[AuthorKey]:
    return ()


class FetchingService:
    """All transfers under way, and the lines they share."""

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        find: Find = _find_nobody,
        download_rate: int | None = None,
    ) -> None:
        """Begin with nothing.

        ``find`` is asked, given a transfer and its seller's Identity, when nobody connected has
        what is missing: it connects to whom it finds and returns their Devices, the likeliest
        first.  ``download_rate`` is bytes a second.
        """
        self.surroundings = surroundings
        self._find = find
        self._bucket = Bucket(download_rate, 0)
        self._lines: dict[AuthorKey, PieceLine] = {}
        self._failures: dict[AuthorKey, int] = {}  # lines in a row that brought nothing
        self._downloads: dict[bytes, Download] = {}
        self._held_off: dict[bytes, int] = {}
        self._queued_bytes = 0
        self._due: tuple[TransferView, ...] = ()
        self._shown: tuple[TransferView, ...] = ()
        self._told: dict[bytes, tuple[object, ...]] = {}
        self._wake = trio.Event()
        self._nursery: trio.Nursery | None = None

    # --- for whoever uses it --------------------------------------------------------------------

    def look(self) -> None:
        """Look at once at what is to be fetched: on the network thread, without waiting."""
        self._held_off.clear()
        self._wake.set()

    def transfers(self) -> tuple[TransferView, ...]:
        """Return what is under way or waits, as it was a moment ago; from any thread."""
        return self._shown

    def set_download_rate(self, rate: int | None) -> None:
        """Let another bound hold, in bytes a second; ``None`` for no bound."""
        self._bucket.set_rate(rate, ticks_ms())
        self.refill()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetch until cancelled."""
        listeners = self.surroundings.listeners
        listeners.on_connected.append(self._on_connected)
        listeners.on_lost.append(self._on_lost)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._tick_all)
                task_status.started()
                while True:
                    self._wake = trio.Event()
                    await self._choose()
                    with trio.move_on_after(_LOOK_SECONDS):
                        await self._wake.wait()
        finally:
            self._nursery = None
            listeners.on_connected.remove(self._on_connected)
            listeners.on_lost.remove(self._on_lost)

    # --- which transfers run --------------------------------------------------------------------

    async def _choose(self) -> None:
        """Run the first few that are due, and stop those that no longer are."""
        try:
            self._due = await self.surroundings.write(self.surroundings.engine.fetching.due)
        except HanseError as error:
            _log.warning("what is to be fetched could not be read: %s", error)
            return
        chosen = self._first_of_due()
        for release, download in self._downloads.items():
            if release in chosen:
                download.set_priority(chosen[release].priority)
            else:
                download.scope.cancel()
        for release, view in chosen.items():
            if release not in self._downloads:
                self._downloads[release] = Download(self, view)
                assert self._nursery is not None
                self._nursery.start_soon(self._run_one, self._downloads[release])
        self._show()

    def _first_of_due(self) -> dict[bytes, TransferView]:
        now = ticks_ms()
        chosen: dict[bytes, TransferView] = {}
        running = 0
        for view in self._due:
            if self._held_off.get(view.release, now) > now:
                continue
            download = self._downloads.get(view.release)
            is_searching = download is not None and download.is_searching
            if running < TRANSFERS_RUNNING_MAX and len(chosen) < TRANSFERS_FETCHED_MAX:
                chosen[view.release] = view
                running += not is_searching
        return chosen

    async def _run_one(self, download: Download) -> None:
        release = download.view.release
        try:
            await download.run()
        finally:
            del self._downloads[release]
        if download.error is not None:
            self._held_off[release] = ticks_ms() + _HOLD_OFF_MS
            _log.info("transfer %s stopped: %s", release.hex(), download.error)
        self._told.pop(release, None)
        ended = download.view
        values: dict[str, object] = {
            "release": release.hex(),
            "state": ended.state.value,
            "done_bytes": ended.done_bytes,
            "total_bytes": ended.total_bytes,
        }
        if download.error is not None:
            values["error"] = download.error.code
        self.surroundings.tell("transfer_stopped", **values)
        self._wake.set()

    async def find(self, view: TransferView, seller: bytes) -> Sequence[AuthorKey]:
        """Look farther than at who is connected; nobody when that fails."""
        try:
            return await self._find(view, seller)
        except HanseError as error:
            _log.debug("nobody found for %s: %s", view.release.hex(), error)
            return ()

    # --- lines ----------------------------------------------------------------------------------

    @property
    def lines(self) -> tuple[PieceLine, ...]:
        """Return the lines there are."""
        return tuple(self._lines.values())

    def line(self, peer: AuthorKey) -> PieceLine:
        """Return the line to a Peer; it is opened when there is none."""
        found = self._lines.get(peer)
        if found is None or found.is_over:
            assert self._nursery is not None
            found = self._lines[peer] = PieceLine(self.surroundings.host, peer, self.refill)
            self._nursery.start_soon(self._run_line, found)
        return found

    def path(self, peer: AuthorKey) -> Path | None:
        """Return how a Peer is reached, or ``None`` when it is not."""
        for connection in self.surroundings.host.connections():
            if connection.device == peer:
                return connection.path
        return None

    async def _run_line(self, line: PieceLine) -> None:
        peer = line.peer
        ended = await line.run()
        if self._lines.get(peer) is line:
            del self._lines[peer]
        rest_ms: int | None = None
        if isinstance(ended.cause, ProtocolViolation):
            _log.debug("%s answered against the rules: %s", peer.hex(), ended.cause)
            self.surroundings.blame(peer, Offence.FRAME)
        if self.surroundings.host.is_connected(peer):
            failures = 0 if line.answers else self._failures.get(peer, 0)
            self._failures[peer] = failures + 1
            rest_ms = min(SECOND_MS << failures, REST_MS)
            if isinstance(ended.cause, ProtocolViolation | PeerSilent):
                rest_ms = REST_MS
        else:
            self._failures.pop(peer, None)
        for download in self._downloads.values():
            download.line_ended(peer, ended.broken.get(download, {}), rest_ms)
        self.refill()

    def _on_connected(self, _: Connection) -> None:
        for download in self._downloads.values():
            download.met()

    def _on_lost(self, peer: AuthorKey) -> None:
        if peer not in self._lines:  # else its line ends, and gives back what came
            for download in self._downloads.values():
                download.line_ended(peer, {}, None)

    # --- what is asked --------------------------------------------------------------------------

    def hold(self, size: int) -> None:
        """Count bytes that came and are not written."""
        self._queued_bytes += size

    def let_go(self, size: int) -> None:
        """Count bytes that are written, or dropped."""
        self._queued_bytes -= size
        assert self._queued_bytes >= 0

    def refill(self, line: PieceLine | None = None) -> None:
        """Ask for as many Pieces, on one line or all, as may be open now."""
        if self._queued_bytes >= PIECES_QUEUED_BYTES_MAX:
            return
        now = ticks_ms()
        downloads = sorted(
            self._downloads.values(), key=lambda it: (it.view.priority, it.view.transfer)
        )
        for one in self.lines if line is None else (line,):
            for download in downloads:
                while one.room > 0 and not self._bucket.wait_ms(now):
                    most = one.room if self._bucket.rate is None else 1
                    if not (asked := download.ask(one, most)):
                        break
                    self._bucket.take(asked, now)

    async def _tick_all(self) -> None:
        while True:
            await trio.sleep(_TICK_SECONDS)
            now = ticks_ms()
            for line in self.lines:
                line.check(now)
                if line.is_idle and now - line.used_ms >= _IDLE_MS:
                    line.end()
            for download in tuple(self._downloads.values()):
                for peer in download.peers_to_open(now):
                    if self.surroundings.host.is_connected(peer):
                        self.line(peer)
                if self._nursery is not None:
                    self._nursery.start_soon(download.note)  # disks and stores take their time
            self.refill()
            self._show()

    # --- what is shown --------------------------------------------------------------------------

    def _show(self) -> None:
        now = ticks_ms()
        shown = []
        for view in self._due:
            download = self._downloads.get(view.release)
            seen = _queued(view) if download is None else download.seen(now)
            shown.append(seen)
            figures = (seen.state, seen.done_bytes, seen.seeders)
            if download is not None and self._told.get(view.release) != figures:
                self._told[view.release] = figures
                self.surroundings.tell(
                    "transfer_progress",
                    release=view.release.hex(),
                    state=seen.state.value,
                    done_bytes=seen.done_bytes,
                    total_bytes=seen.total_bytes,
                    seeders=seen.seeders,
                    rate=seen.rate,
                    is_relayed=download.is_relayed,
                )
        self._shown = tuple(shown)


def _queued(view: TransferView) -> TransferView:
    return replace(view, state=TransferState.QUEUED, seeders=0, rate=0)
