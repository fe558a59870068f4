"""One Release on its way here: from its Manifests to its last Piece.

* Small objects and hashes are asked of one Peer after another, and of the next one already when
  a Peer is slow; whoever sends wrong ones is out for this Release.
* Pieces are asked by the rules of ``network.wire.picker``.  What comes is checked and written on
  a job thread, several Pieces in one go while the next ones arrive.
* Everything ends at once when the transfer is paused or cancelled: what was written is made
  durable, what was asked is taken back.

Which transfers run, and over which lines, ``FetchingService`` says.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.artifacts.tree import HASH_SIZE_BYTES
from hanse.core.engine.executor import TooBusy
from hanse.core.engine.ports import NoPeer, PeerBusy, PeerRefused, PeerSilent
from hanse.core.errors import HanseError
from hanse.core.limits import PIECE_PUTS_MAX, UNSYNCED_BYTES_MAX
from hanse.core.model.network import Path, TransferState
from hanse.core.model.transfer import PRIORITY_NOW, HashLayer
from hanse.network.conduct import Offence
from hanse.network.ports import StreamEnded
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.bucket import SECOND_MS
from hanse.network.wire.picker import Layout, Picker
from hanse.network.wire.transfer import Excuse, Ref, Sorry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from hanse.core.engine.fetch import Fetch
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import TransferView
    from hanse.core.model.transfer import HashesWanted, SmallWanted
    from hanse.network.services.fetching import FetchingService
    from hanse.network.services.piece_line import PieceLine
    from hanse.network.wire.transfer import Asking

_log = logging.getLogger(__name__)

_NEXT_SECONDS: Final = 1.0  # without an answer; then somebody else is asked too
_AT_ONCE: Final = 4  # small objects, ranges of hashes, or Peers asked what they have
_SEARCH_SECONDS: Final = 30.0
_HAVE_AGAIN_MS: Final = 15 * SECOND_MS  # of who has not all yet
_ASK_AGAIN_MS: Final = 60 * SECOND_MS  # who had nothing
_GONE_MS: Final = 2 * SECOND_MS  # without anybody to ask; then it is searched for
_ROUNDS_MORE: Final = 3
_REFUSALS: Final = 8  # in a row; then a Peer is not asked about the files behind
_RATE_MS: Final = 2 * SECOND_MS
_NOT_ANSWERED: Final = (NoPeer, PeerBusy, PeerRefused, PeerSilent, StreamEnded)


@dataclass(frozen=True, slots=True)
class _Came:
    """A Piece nobody has looked at."""

    peer: AuthorKey
    number: int
    data: bytes


class Download:
    """One transfer under way."""

    def __init__(self, service: FetchingService, view: TransferView) -> None:
        """Prepare for the transfer of ``view``; ``run`` begins it."""
        self.service = service
        self.surroundings = service.surroundings
        self.view = view
        self.scope = trio.CancelScope()
        self.error: HanseError | None = None
        self._fetch: Fetch | None = None
        self._objects: tuple[Ref, ...] = ()
        self._layout = Layout(())
        self._picker = Picker(self._layout, self.surroundings.chance)
        self._came: deque[_Came] = deque()
        self._some = trio.Event()
        self._news = trio.Event()
        self._liars: set[AuthorKey] = set()
        self._asked_ms: dict[AuthorKey, int] = {}  # when a Peer was last asked what it has
        self._partial: set[AuthorKey] = set()  # who has some Pieces only
        self._found: tuple[AuthorKey, ...] = ()
        self._judged: set[int] = set()  # places of objects whose Pieces can be judged
        self._done_bytes = view.done_bytes
        self._unsynced_bytes = 0
        self._had_seeders_ms = ticks_ms()
        self._meter: deque[tuple[int, int]] = deque()  # when, and how many bytes were done then
        self._is_searching = self._is_noted_searching = view.state is TransferState.SEARCHING

    # --- the whole of it ----------------------------------------------------------------------

    async def run(self) -> None:
        """Fetch until everything is here, the scope is cancelled, or ``error`` says why not."""
        engine, job = self.surroundings.engine, self.surroundings.job
        try:
            with self.scope:
                self._fetch = await job(lambda: engine.fetching.open(self.view.release))
                is_whole = await self._round(self._fetch)
                for _ in range(_ROUNDS_MORE):
                    if not is_whole:  # something broke on the disk, and is wanted again
                        is_whole = await self._round(self._fetch)
        except* HanseError as group:
            self.error = _first_of(group)
            _log.debug("transfer %s stopped: %s", self.view.release.hex(), self.error)
        finally:
            self._take_back()
            if (fetch := self._fetch) is not None:
                with trio.CancelScope(shield=True):
                    await self._leave(fetch)

    async def _leave(self, fetch: Fetch) -> None:
        def leave() -> TransferView | None:
            with fetch, suppress(HanseError):
                return fetch.checkpoint() if self._unsynced_bytes else None
            return None

        with suppress(TooBusy):
            left = await self.surroundings.job(leave)
            if left is not None:
                self.view = left
            return
        fetch.close()

    def _take_back(self) -> None:
        for line in self.service.lines:
            line.cancel(self)
        self.service.let_go(sum(len(it.data) for it in self._came))
        self._came.clear()
        self._picker = Picker(Layout(()), self.surroundings.chance)

    async def _round(self, fetch: Fetch) -> bool:
        """Fetch what is missing and say whether that was all."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._search)
            nursery.start_soon(self._look_farther)
            await self._get_small(fetch, only_needed=True)
            await self._lay_out(fetch)
            nursery.start_soon(self._keep_all, fetch)
            await self._get_rest(fetch)
            while not self._picker.is_done:
                await self._next_news(_SEARCH_SECONDS)
            nursery.cancel_scope.cancel()
        self.view = await self.surroundings.job(fetch.finish)
        self._unsynced_bytes = 0
        self._done_bytes = self.view.done_bytes
        return self.view.state is TransferState.DONE

    async def _get_rest(self, fetch: Fetch) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._get_hashes, fetch)
            await self._get_small(fetch, only_needed=False)

    # --- who has it ---------------------------------------------------------------------------

    @property
    def is_searching(self) -> bool:
        """Say whether nobody is there to fetch from."""
        return self._is_searching

    def set_priority(self, priority: int) -> None:
        """Go before or after others from now on."""
        self.view = replace(self.view, priority=priority)
        self._picker.is_in_order = priority == PRIORITY_NOW

    def met(self) -> None:
        """Look again at who is there: somebody connected, or rested."""
        self._tell_news()

    async def _search(self) -> None:
        """Ask who is connected what it has, again and again."""
        while True:
            await self._ask_what_they_have()
            await self._next_news(_NEXT_SECONDS)

    async def _look_farther(self) -> None:
        """Look for others while nobody who is connected has it."""
        if self._candidates():  # they are asked first
            await trio.sleep(_GONE_MS / SECOND_MS)
        while True:
            if not self._picker.seeders(ticks_ms()) and not self._is_found:
                self._found = tuple(await self.service.find(self.view, self._seller))
                self._tell_news()
            await trio.sleep(_SEARCH_SECONDS)

    @property
    def _is_found(self) -> bool:
        """Say whether all Pieces are here, or on their way to the disk."""
        return bool(self._objects) and self._picker.is_done

    @property
    def _seller(self) -> bytes:
        return self._fetch.seller if self._fetch else b""

    async def _ask_what_they_have(self) -> None:
        if not self._objects or self._picker.is_done:
            return
        now = ticks_ms()
        limiter = trio.CapacityLimiter(_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for peer in self._candidates():
                again_ms = _HAVE_AGAIN_MS if peer in self._partial else _ASK_AGAIN_MS
                if now - self._asked_ms.get(peer, now - again_ms) < again_ms:
                    continue
                if peer in self._picker.peers and peer not in self._partial:
                    continue
                self._asked_ms[peer] = now
                nursery.start_soon(self._ask_what_it_has, peer, limiter)

    async def _ask_what_it_has(self, peer: AuthorKey, limiter: trio.CapacityLimiter) -> None:
        is_whole, refusals, picker = True, 0, self._picker
        async with limiter:
            for place, ref in enumerate(self._objects):
                if place in self._judged and not picker.is_missing(self._layout.mask(place, None)):
                    continue  # it came whole meanwhile
                line = self.service.line(peer)
                try:
                    have = await line.have(ref)
                except PeerRefused:
                    is_whole = False
                    refusals += 1
                    if refusals == _REFUSALS and peer not in picker.peers:
                        break  # of ten thousand files it will hardly have the others
                    continue
                except _NOT_ANSWERED:
                    is_whole = False
                    break
                is_whole = is_whole and have.bitmap is None
                if have.bitmap is not None and not any(have.bitmap):
                    continue
                is_relayed = self.service.path(peer) is Path.RELAY
                picker.meet(peer, line.pace, is_relayed=is_relayed)
                picker.has(peer, place, have.bitmap)
                self.service.refill(line)
        is_partial = not is_whole and peer in picker.peers
        (self._partial.add if is_partial else self._partial.discard)(peer)

    def _candidates(self) -> list[AuthorKey]:
        """Return who is connected and may be asked: who is said to have it first, relayed last."""
        connected = {it.device: it.path for it in self.surroundings.host.connections()}
        known = dict.fromkeys((*self._picker.peers, *self._found, *connected))
        able = [it for it in known if it in connected and not self._is_out(it)]
        return sorted(able, key=lambda it: connected[it] is Path.RELAY)

    def _is_out(self, peer: AuthorKey) -> bool:
        return peer in self._liars or self._picker.is_out(peer)

    # --- small objects and hashes -----------------------------------------------------------------

    async def _get_small(self, fetch: Fetch, *, only_needed: bool) -> None:
        while True:
            wanted = await self.surroundings.job(fetch.small_wanted)
            if only_needed:
                wanted = tuple(it for it in wanted if it.is_needed)
            if not wanted:
                return
            async with trio.open_nursery() as nursery:
                for one in wanted[:_AT_ONCE]:
                    nursery.start_soon(self._get_one_small, fetch, one)

    async def _get_one_small(self, fetch: Fetch, wanted: SmallWanted) -> None:
        def question(asking: Asking) -> tuple[int, bytes]:
            return asking.want_small(wanted.sha256, wanted.bytes_max)

        async def take(peer: AuthorKey) -> bool:
            answer = await self.service.line(peer).call(question, wanted.bytes_max)
            put = await self.surroundings.job(lambda: fetch.put_small(wanted.sha256, answer.tail))
            return put or self._lied(peer)

        if await self._ask_around(take):
            return
        if wanted.is_needed:
            self._show_searching(is_searching=True)
            await self._next_news(_SEARCH_SECONDS)
        else:
            await self.surroundings.job(lambda: fetch.skip_small(wanted.sha256))

    async def _get_hashes(self, fetch: Fetch) -> None:
        """Fetch Piece layers, which open their Pieces, and leaf layers; several at once."""
        while wanted := await self.surroundings.job(fetch.hashes_wanted):
            # All ranges of one object's Piece layer are asked of one Peer, to be judged together.
            groups: dict[tuple[bytes, int, HashLayer], list[HashesWanted]] = {}
            for it in wanted:
                groups.setdefault((it.root, it.size, it.layer), []).append(it)
            got = 0
            limiter = trio.CapacityLimiter(_AT_ONCE)

            async def get(ranges: list[HashesWanted], limiter: trio.CapacityLimiter) -> None:
                nonlocal got
                async with limiter:
                    got += await self._get_ranges(fetch, ranges)

            async with trio.open_nursery() as nursery:
                for ranges in groups.values():
                    nursery.start_soon(get, ranges, limiter)
            if not got:
                self._show_searching(is_searching=True)
                await self._next_news(_SEARCH_SECONDS)

    async def _get_ranges(self, fetch: Fetch, ranges: Sequence[HashesWanted]) -> bool:
        async def take(peer: AuthorKey) -> bool:
            for one in ranges:
                await self._get_range(fetch, peer, one)
            return not self._is_out(peer)

        if not await self._ask_around(take):
            return False
        if ranges[0].layer is HashLayer.PIECES:
            await self._want(fetch)
        return True

    async def _get_range(self, fetch: Fetch, peer: AuthorKey, wanted: HashesWanted) -> None:
        def question(asking: Asking) -> tuple[int, bytes]:
            ref = Ref(wanted.root, wanted.size)
            return asking.want_hashes(ref, wanted.layer, wanted.first, wanted.count)

        answer = await self.service.line(peer).call(question, wanted.count * HASH_SIZE_BYTES)
        is_right = await self.surroundings.job(
            lambda: fetch.put_hashes(
                wanted.root, wanted.size, wanted.layer, wanted.first, answer.tail
            )
        )
        if not is_right:
            self._lied(peer)
            raise PeerRefused(peer=peer.hex(), reason=Excuse.INTERNAL)

    async def _ask_around(self, take: Callable[[AuthorKey], Awaitable[bool]]) -> bool:
        """Ask one Peer after another until one answers well, the next one also when it is slow."""
        peers = deque(self._candidates())
        is_good, running = False, 0
        changed = trio.Event()

        async def attempt(peer: AuthorKey) -> None:
            nonlocal is_good, running, changed
            try:
                is_good = await take(peer) or is_good
            except _NOT_ANSWERED as error:
                _log.debug("%s did not answer: %s", peer.hex(), error)
            finally:
                running -= 1
                changed.set()

        async with trio.open_nursery() as nursery:
            while not is_good and (peers or running):
                if peers:
                    running += 1
                    nursery.start_soon(attempt, peers.popleft())
                changed = trio.Event()
                with trio.move_on_after(_NEXT_SECONDS if peers else math.inf):
                    await changed.wait()
            nursery.cancel_scope.cancel()
        return is_good

    def _lied(self, peer: AuthorKey) -> bool:
        """Hold wrong bytes against a Peer, and ask it nothing more; always ``False``."""
        self._liars.add(peer)
        self._picker.ban(peer)
        for line in self.service.lines:
            if line.peer == peer:
                line.cancel(self)
        self.surroundings.blame(peer, Offence.WRONG_BYTES)
        return False

    # --- Pieces -------------------------------------------------------------------------------

    async def _lay_out(self, fetch: Fetch) -> None:
        """Find out which Pieces are missing, and want those that can be judged."""
        objects = await self.surroundings.job(fetch.objects)
        self._objects = tuple(Ref(it.root, it.size) for it in objects)
        self._layout = Layout([it.size for it in self._objects])
        is_first = self.view.priority == PRIORITY_NOW
        self._picker = Picker(self._layout, self.surroundings.chance, is_in_order=is_first)
        self._judged.clear()
        self._asked_ms.clear()
        await self._want(fetch)

    async def _want(self, fetch: Fetch) -> None:
        new = [it for it in range(len(self._objects)) if it not in self._judged]

        def look() -> list[tuple[int, int]]:
            found = []
            for place in new:
                root, size = self._objects[place].root, self._objects[place].size
                if fetch.can_take(root, size):
                    have = self._layout.mask(place, bytes(fetch.have(root, size)))
                    found.append((place, self._layout.mask(place, None) & ~have))
            return found

        for place, missing in await self.surroundings.job(look):
            if place not in self._judged:
                self._judged.add(place)
                self._picker.want(missing)
        self._tell_news()
        self.service.refill()

    def ask(self, line: PieceLine, most: int) -> int:
        """Ask for up to ``most`` Pieces over ``line``; return how many bytes were asked for."""
        asked_bytes = 0
        for ask in self._picker.ask(line.peer, most, ticks_ms()):
            place, piece = self._layout.find(ask.number)
            line.get(self, ask.number, self._objects[place], piece, ask.held)
            asked_bytes += self._layout.length(ask.number) - len(ask.held)
        return asked_bytes

    def peers_to_open(self, now_ms: int) -> Iterable[AuthorKey]:
        """Return the Peers that could be asked for something now."""
        return self._picker.ready(now_ms)

    def piece_came(self, peer: AuthorKey, number: int, data: bytes) -> None:
        """Take a Piece that came whole; it is checked before anything else."""
        if self._picker.came(peer, number):
            self._came.append(_Came(peer, number, data))
            self.service.hold(len(data))
            self._some.set()

    def piece_refused(self, peer: AuthorKey, number: int, sorry: Sorry) -> None:
        """Learn that a Piece will not come."""
        if sorry.code == Excuse.NOT_HELD:
            self._picker.denied(peer, number)
        else:
            self._picker.busy(peer, number, sorry.retry_ms, ticks_ms())

    def line_ended(self, peer: AuthorKey, broken: Mapping[int, bytes], rest_ms: int | None) -> None:
        """Take back what was asked of a Peer; it rests, or is gone when ``rest_ms`` is ``None``."""
        if rest_ms is None:
            self._picker.lose(peer, broken)
            self._asked_ms.pop(peer, None)
        else:
            self._picker.rest(peer, ticks_ms() + rest_ms, broken)
        self._tell_news()

    async def _keep_all(self, fetch: Fetch) -> None:
        """Check and write what comes, on a job thread, while more comes."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            while self._came:
                batch = [self._came.popleft() for _ in range(min(len(self._came), PIECE_PUTS_MAX))]
                await self._keep(fetch, batch)

    async def _keep(self, fetch: Fetch, batch: Sequence[_Came]) -> None:
        def put() -> list[bool]:
            return [self._put(fetch, it) for it in batch]

        size = sum(len(it.data) for it in batch)
        try:
            verdicts = await self.surroundings.job(put)
        finally:
            self.service.let_go(size)
        for it, is_good in zip(batch, verdicts, strict=True):
            if is_good:
                self._kept(it)
            else:
                self._picker.wrong(it.peer, it.number)
                self._lied(it.peer)  # once for each wrong Piece
        if self._picker.is_done:
            self._tell_news()
        self.service.refill()
        if self._unsynced_bytes >= UNSYNCED_BYTES_MAX:
            self._unsynced_bytes = 0
            self.view = await self.surroundings.job(fetch.checkpoint)

    def _put(self, fetch: Fetch, came: _Came) -> bool:
        place, piece = self._layout.find(came.number)
        ref = self._objects[place]
        # Another transfer may have brought the same file meanwhile: that is nobody's fault.
        return fetch.put_piece(ref.root, ref.size, piece, came.data) or piece in fetch.have(
            ref.root, ref.size
        )

    def _kept(self, came: _Came) -> None:
        self._done_bytes += len(came.data)
        self._unsynced_bytes += len(came.data)
        for peer in self._picker.good(came.number):
            for line in self.service.lines:
                if line.peer == peer:
                    line.cancel(self, came.number)

    # --- what is shown ------------------------------------------------------------------------

    def seen(self, now_ms: int) -> TransferView:
        """Return how far it is and how fast."""
        seeders = self._picker.seeders(now_ms)
        is_looking = bool(self._objects) and not self._picker.is_done
        if seeders or not is_looking:
            self._had_seeders_ms = now_ms
        if is_looking:  # who rests for a moment is not gone
            is_gone = now_ms - self._had_seeders_ms >= _GONE_MS
            self._show_searching(is_searching=is_gone)
        self._meter.append((now_ms, self._done_bytes))
        while len(self._meter) > 2 and now_ms - self._meter[1][0] >= _RATE_MS:
            self._meter.popleft()
        (since_ms, before), passed = self._meter[0], max(1, now_ms - self._meter[0][0])
        rate = max(0, self._done_bytes - before) * SECOND_MS // passed if since_ms < now_ms else 0
        state = TransferState.SEARCHING if self._is_searching else TransferState.RUNNING
        return replace(
            self.view, state=state, done_bytes=self._done_bytes, seeders=seeders, rate=rate
        )

    @property
    def is_relayed(self) -> bool:
        """Say whether Pieces come over a relay, because nobody is reached directly."""
        return self._picker.is_relayed

    async def note(self) -> None:
        """Write down whether it is searching, when that changed."""
        fetch, is_searching = self._fetch, self._is_searching
        if fetch is None or is_searching == self._is_noted_searching:
            return
        self._is_noted_searching = is_searching
        with suppress(HanseError):
            await self.surroundings.job(lambda: fetch.note(is_searching=is_searching))

    def _show_searching(self, *, is_searching: bool) -> None:
        self._is_searching = is_searching

    def _tell_news(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _next_news(self, seconds: float) -> None:
        news = self._news
        with trio.move_on_after(seconds):
            await news.wait()


def _first_of(group: BaseExceptionGroup[HanseError]) -> HanseError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, HanseError)
    return error
