"""Keeping connected: whom we know, whom others tell of, and dialling one after the other.

* ``dialling`` decides whom; here the clock is asked, addresses are dialled and answers are kept.
* Every way of hearing of Peers ends in ``found``: a hint, bounded, gone when the program ends,
  and kept only once the Device itself has answered.
* A lost connection is dialled again; all are, when the machine slept or has another address.
* Nobody we refuse is dialled, nor we ourselves, nor a place a stranger may not send us to.

What a Peer says once it answers is the business of ``status``.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from hanse.core.engine.inviting import read_invitation
from hanse.core.engine.peering import Nearness, OwnPeer
from hanse.core.engine.ports import NoPeer, PeerBusy, PeerRefused, PeerSilent
from hanse.core.errors import HanseError
from hanse.core.limits import PEER_ADDRESSES_MAX, PEERS_HEARD_MAX, PEERS_HEARD_OF_ONE_MAX
from hanse.core.model.ids import AuthorKey
from hanse.core.model.network import Met, PeerView
from hanse.network.addresses import peer_id_text, read_address
from hanse.network.services.dialling import (
    WANTED,
    Attempt,
    Candidate,
    Link,
    Scene,
    Way,
    candidate_of,
    choose,
    missing,
    told_places,
    ways_open,
)
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.frames import ProtocolViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.network.ports import Connection
    from hanse.network.services.status import StatusService
    from hanse.network.services.surroundings import Surroundings

_log: Final = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
REFRESH_MS: Final = 60_000  # the Peers kept are read again, and bytes are written down
LOOK_AGAIN_MS: Final = 10 * 60 * 1000  # the same as for asking one Peer
CLOCK_JUMP_MS: Final = 60_000
SWEEP_MS: Final = 24 * 60 * 60 * 1000

_DIAL_SECONDS: Final = 30.0  # all addresses of one Peer
_LOOK_SECONDS: Final = 60.0


class Source(Protocol):
    """One more way to hear of Peers, looked at while too few are connected."""

    async def look(self, found: Callable[[Sequence[str], Met], object]) -> None:
        """Look once; give the multiaddr texts of each Peer, with its key, to ``found``."""
        ...


@dataclass(frozen=True, slots=True)
class _Under:
    """A dial under way, or a connection: how we came to it."""

    link: Link
    since_ms: int
    is_over: trio.Event = field(default_factory=trio.Event)  # of the dial


class FindingService:
    """Dials; belongs to the network thread, but ``shown`` may be read from any."""

    def __init__(
        self,
        surroundings: Surroundings,
        status: StatusService,
        *,
        wanted: int = WANTED,
        is_denied: Callable[[AuthorKey], bool] = lambda _: False,
        sources: Sequence[Source] = (),
    ) -> None:
        """Dial nobody yet; ``sources`` are asked last, such as the DHT."""
        self._surroundings = surroundings
        self._status = status
        self._wanted = wanted
        self._is_denied = is_denied
        self._sources = tuple(sources)
        self._kept: tuple[Candidate, ...] = ()
        self._heard: OrderedDict[AuthorKey, Candidate] = OrderedDict()
        self._unplaced: set[AuthorKey] = set()  # heard of, and not known yet how near
        self._attempts: dict[AuthorKey, Attempt] = {}
        self._dialling: dict[AuthorKey, _Under] = {}
        self._links: dict[AuthorKey, _Under] = {}
        self._counted: dict[AuthorKey, tuple[int, int]] = {}
        self._started_ms = 0
        self._refreshed_ms = -REFRESH_MS
        self._looked_ms = -LOOK_AGAIN_MS
        self._swept_ms = -SWEEP_MS
        self._exchanged_ms: dict[AuthorKey, int] = {}
        self._addresses: tuple[str, ...] = ()
        self._wake = trio.Event()
        self._shown: tuple[PeerView, ...] = ()

    @property
    def shown(self) -> tuple[PeerView, ...]:
        """Return whom we are connected to, as of a moment ago; from any thread."""
        return self._shown

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep connected until cancelled."""
        listeners = self._surroundings.listeners
        listeners.on_connected.append(self._connected)
        listeners.on_lost.append(self._lost)
        for connection in self._surroundings.host.connections():
            self._connected(connection)
        self._started_ms = ticks_ms()
        wall_ms, ticked_ms = self._surroundings.clock.now_ms(), ticks_ms()
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    was_ms, before_ms = wall_ms, ticked_ms
                    wall_ms, ticked_ms = self._surroundings.clock.now_ms(), ticks_ms()
                    if abs((wall_ms - was_ms) - (ticked_ms - before_ms)) > CLOCK_JUMP_MS:
                        await self._begin_again("clock")
                    await self._tick(nursery)
                    with trio.move_on_after(TICK_SECONDS):
                        await self._wake.wait()
                    self._wake = trio.Event()
        finally:
            listeners.on_connected.remove(self._connected)
            listeners.on_lost.remove(self._lost)
            with trio.move_on_after(1, shield=True), suppress(HanseError):
                await self._count_bytes()

    # --- hearing of Peers ------------------------------------------------------------------------

    def found(self, texts: Sequence[str], met: Met, teller: AuthorKey | None = None) -> int:
        """Hear of Peers at multiaddr texts that end in a key; return how many may be dialled.

        On the network thread; ``teller`` is the Peer that told of them.
        """
        source = met.value if teller is None else f"{met.value}:{teller.hex()}"
        way = Way.LAN if met is Met.LAN else Way.DIRECTORY if met is Met.DHT else Way.EXCHANGE
        taken = 0
        for device, places in told_places(texts, met).items():
            if device == self._surroundings.host.device or self._is_denied(device):
                continue
            new = Candidate(device, places, way, met, source=source)
            held = self._heard.get(device)
            if held is not None:
                # The nearer way counts, then who told first: a later teller takes nobody over.
                better = held if held.way <= way else replace(new, nearness=held.nearness)
                merged = tuple(dict.fromkeys((*places, *held.addresses)))
                new = replace(better, addresses=merged[:PEER_ADDRESSES_MAX])
            else:
                self._unplaced.add(device)
            self._heard[device] = new
            taken += 1
        self._bound_heard()
        if taken:
            self._wake.set()
        return taken

    async def add(self, text: str, *, is_kept: bool = True) -> PeerView:
        """Dial an address, a link or an invitation's text, greet, and return who answered.

        With ``is_kept`` it stands on the person's list before it is dialled, whatever comes of it.
        Raises what reading it raises, ``OwnPeer``, ``PeerListFull``, ``PeerRefused``, ``NoPeer``,
        ``PeerSilent`` or ``PeerBusy``.
        """
        invitation = read_invitation(text)
        device = invitation.device
        if device == self._surroundings.host.device:
            raise OwnPeer(peer=peer_id_text(device))
        peering = self._surroundings.engine.peering
        if is_kept:
            await self._surroundings.write(lambda: peering.keep(text))
            self._refreshed_ms = -REFRESH_MS
        if self._is_denied(device):
            raise PeerRefused(peer=peer_id_text(device), reason="refused")
        met = Met.KEPT if is_kept else Met.INVITATION
        known = next((it.addresses for it in self._kept if it.device == device), ())
        places = tuple(dict.fromkeys((*invitation.addresses, *known)))
        candidate = Candidate(device, places, Way.LIST, met)
        while (under := self._dialling.get(device)) is not None:
            await under.is_over.wait()  # the loop is at it
        self._attempts.pop(device, None)
        self._dialling[device] = _under(candidate)
        try:
            await self._reach(candidate)
        except HanseError as error:
            await self._note_failure(candidate, error)
            raise
        finally:
            self._end_dial(device)
        view = self._status.greeted(device)
        if view is None:
            raise NoPeer(whom=peer_id_text(device), tried=len(invitation.addresses))
        return self._with_connection(view)

    # --- one look around -------------------------------------------------------------------------

    async def _tick(self, nursery: trio.Nursery) -> None:
        await self._watch_addresses()
        if ticks_ms() - self._refreshed_ms >= REFRESH_MS:
            await self._refresh()
        if self._unplaced:
            await self._place()
        scene = self._scene()
        for candidate in choose(scene, ticks_ms(), self._surroundings.chance):
            self._dialling[candidate.device] = _under(candidate)
            nursery.start_soon(self._dial, candidate)
        if missing(scene) and Way.EXCHANGE in scene.ways:
            self._ask_others(nursery)
            if Way.DIRECTORY in scene.ways and ticks_ms() - self._looked_ms >= LOOK_AGAIN_MS:
                self._looked_ms = ticks_ms()
                for source in self._sources:
                    nursery.start_soon(self._look, source)
        self._show()

    def _scene(self) -> Scene:
        known = {candidate.device for candidate in self._kept}
        heard = [it for it in self._heard.values() if it.device not in known]
        links = [under.link for under in self._links.values()]
        candidates = (*self._kept, *heard)
        refused = {it.device for it in candidates if self._is_denied(it.device)}
        return Scene(
            candidates=candidates,
            links=links,
            dialling=[under.link for under in self._dialling.values()],
            attempts=self._attempts,
            refused=refused | {self._surroundings.host.device},
            ways=ways_open(ticks_ms() - self._started_ms, len(links), self._wanted),
            wanted=self._wanted,
        )

    async def _refresh(self) -> None:
        """Read again whom we keep, note bytes, and let go of who is long gone."""
        self._refreshed_ms = ticks_ms()
        peering = self._surroundings.engine.peering
        try:
            known = await self._surroundings.read(peering.known)
            linked = tuple(self._links)
            views = await self._surroundings.read(lambda: peering.views_of(linked))
            if ticks_ms() - self._swept_ms >= SWEEP_MS:
                self._swept_ms = ticks_ms()
                await self._surroundings.write(peering.sweep)
            await self._count_bytes()
        except HanseError as error:  # the disk is full, too much waits: later again
            _log.warning("the list of peers was not looked after: %s", error)
            return
        self._status.refreshed(views)
        self._kept = tuple(candidate_of(peer) for peer in known)
        nearness = {candidate.device: candidate.nearness for candidate in self._kept}
        for device, under in self._links.items():
            near = nearness.get(device, Nearness.STRANGER)
            source = None if near <= Nearness.NEAR else under.link.source
            self._links[device] = replace(
                under, link=replace(under.link, nearness=near, source=source)
            )
        living = nearness.keys() | self._heard.keys() | self._links.keys()
        self._attempts = {it: attempt for it, attempt in self._attempts.items() if it in living}
        self._exchanged_ms = {it: at for it, at in self._exchanged_ms.items() if it in living}

    async def _place(self) -> None:
        """Find out how near those are that were heard of just now."""
        devices = tuple(self._unplaced)
        self._unplaced.clear()
        peering = self._surroundings.engine.peering
        try:
            found = await self._surroundings.read(lambda: peering.nearness_of(devices))
        except HanseError as error:
            _log.debug("how near peers are was not found out: %s", error)
            return
        for device, nearness in found.items():
            if (candidate := self._heard.get(device)) is not None:
                source = None if nearness <= Nearness.NEAR else candidate.source
                self._heard[device] = replace(candidate, nearness=nearness, source=source)

    def _ask_others(self, nursery: trio.Nursery) -> None:
        """Ask each Peer that greeted whom it knows, once in ten minutes."""
        for device in self._links:
            if not self._status.is_hanse(device):
                continue
            if ticks_ms() - self._exchanged_ms.get(device, -LOOK_AGAIN_MS) >= LOOK_AGAIN_MS:
                self._exchanged_ms[device] = ticks_ms()
                nursery.start_soon(self._exchange, device)

    async def _exchange(self, device: AuthorKey) -> None:
        try:
            lines = await self._status.more_peers(device)
        except HanseError as error:
            _log.debug("%s told of nobody: %s", device.hex(), error)
            return
        for line in lines:
            places = [read_address(text) for text in line.addresses]
            about = AuthorKey(line.device)
            texts = [it.of(about).text for it in places if it and it.device in {None, about}]
            self.found(texts, Met.EXCHANGE, device)

    async def _look(self, source: Source) -> None:
        with trio.move_on_after(_LOOK_SECONDS):
            try:
                await source.look(self.found)
            except HanseError as error:
                _log.debug("a source gave nobody: %s", error)

    async def _watch_addresses(self) -> None:
        addresses = tuple(sorted(self._surroundings.host.addresses()))
        if self._addresses and set(addresses) - set(self._addresses):
            await self._begin_again("address")
        self._addresses = addresses

    async def _begin_again(self, reason: str) -> None:
        """Dial all again: what was tried, was tried in another place or long ago."""
        self._surroundings.tell("redial", reason=reason)
        self._attempts.clear()
        self._started_ms = ticks_ms()
        self._refreshed_ms = self._looked_ms = -LOOK_AGAIN_MS

    # --- dialling --------------------------------------------------------------------------------

    async def _dial(self, candidate: Candidate) -> None:
        """Dial a candidate, greet it, and remember what came of it; never raises."""
        try:
            await self._reach(candidate)
        except HanseError as error:
            await self._note_failure(candidate, error)
        finally:
            self._end_dial(candidate.device)

    def _end_dial(self, device: AuthorKey) -> None:
        self._dialling.pop(device).is_over.set()
        self._wake.set()

    async def _reach(self, candidate: Candidate) -> None:
        """Connect to one address after the other until the key answers, then greet.

        Raises ``NoPeer`` or ``PeerSilent`` when none does, and what greeting raises.
        """
        host, device = self._surroundings.host, candidate.device
        failure: HanseError = NoPeer(whom=peer_id_text(device), tried=0)
        with trio.move_on_after(_DIAL_SECONDS) as scope:
            for place in candidate.addresses:
                if host.is_connected(device):
                    break
                try:
                    answered = await host.dial(place.of(device).text)
                except (NoPeer, PeerSilent) as error:
                    failure = error
                    continue
                if answered != device:
                    await host.hang_up(answered)
                    failure = WrongKey(whom=peer_id_text(device), tried=1)
        if not host.is_connected(device):
            if scope.cancelled_caught:
                raise PeerSilent(peer=peer_id_text(device), seconds=int(_DIAL_SECONDS))
            raise failure
        try:
            await self._status.hello(device, candidate.met)
        except (NoPeer, PeerRefused, ProtocolViolation) as error:
            is_there = host.is_connected(device)
            if candidate.way is not Way.LIST:  # another libp2p program: nothing to talk about
                await host.hang_up(device)
            if is_there and not isinstance(error, PeerRefused):
                raise NotHanse(whom=peer_id_text(device), tried=1) from error
            raise

    async def _note_failure(self, candidate: Candidate, error: HanseError) -> None:
        device = candidate.device
        attempt = self._attempts.get(device, Attempt())
        self._attempts[device] = attempt.after_failure(ticks_ms(), self._surroundings.chance)
        if self._attempts[device].failures > 1 and not candidate.has_answered:
            self._heard.pop(device, None)  # a hint that led nowhere twice
        reason = reason_of(error)
        _log.debug("%s was not reached: %s", device.hex(), reason)
        peering = self._surroundings.engine.peering
        if isinstance(error, PeerBusy):
            return
        try:
            await self._surroundings.write(partial(peering.failed, device, reason))
        except HanseError as failure:
            _log.debug("a failed dial was not noted: %s", failure)

    # --- who is there ----------------------------------------------------------------------------

    def _connected(self, connection: Connection) -> None:
        under = self._dialling.get(connection.device)
        if under is None:
            known = next((it for it in self._kept if it.device == connection.device), None)
            nearness = Nearness.STRANGER if known is None else known.nearness
            link = Link(connection.device, nearness, None, is_outbound=connection.is_outbound)
            under = _Under(link, 0)
        self._links[connection.device] = replace(under, since_ms=ticks_ms())
        self._show()

    def _lost(self, device: AuthorKey) -> None:
        under = self._links.pop(device, None)
        self._counted.pop(device, None)
        if under is None:
            return
        if under.link.is_outbound:
            attempt = self._attempts.get(device, Attempt())
            now_ms = ticks_ms()
            lasted_ms = now_ms - under.since_ms
            self._attempts[device] = attempt.after_loss(
                now_ms, lasted_ms, self._surroundings.chance
            )
        self._show()
        self._wake.set()

    def _show(self) -> None:
        shown = []
        for connection in self._surroundings.host.connections():
            view = self._status.greeted(connection.device)
            if view is None:
                view = _unknown(connection)
            shown.append(_joined(view, connection))
        self._shown = tuple(shown)

    def _with_connection(self, view: PeerView) -> PeerView:
        for connection in self._surroundings.host.connections():
            if connection.device == view.device:
                return _joined(view, connection)
        return view

    async def _count_bytes(self) -> None:
        """Write down what came and went since the last time."""
        counted: dict[AuthorKey, tuple[int, int]] = {}
        for connection in self._surroundings.host.connections():
            device = connection.device
            before = self._counted.get(device, (0, 0))
            now = (connection.in_bytes, connection.out_bytes)
            if now[0] < before[0] or now[1] < before[1]:  # another connection since
                before = (0, 0)
            self._counted[device] = now
            if now != before:
                counted[device] = (now[0] - before[0], now[1] - before[1])
        if counted:
            peering = self._surroundings.engine.peering
            await self._surroundings.write(lambda: peering.count_bytes(counted))

    def _bound_heard(self) -> None:
        """Forget hints: of a teller that has too many, then the oldest."""
        by_source = Counter(candidate.source for candidate in self._heard.values())
        for device, candidate in list(self._heard.items()):
            is_over = len(self._heard) > PEERS_HEARD_MAX
            if is_over or by_source[candidate.source] > PEERS_HEARD_OF_ONE_MAX:
                by_source[candidate.source] -= 1
                del self._heard[device]


class WrongKey(NoPeer):
    """Somebody answers at the address, under another key."""


class NotHanse(NoPeer):
    """A libp2p program answers that does not speak our protocols."""


def reason_of(error: BaseException) -> str:
    """Return the stable word for why a dial failed.

    The words: ``refused``, ``silent``, ``wrong_key``, ``not_hanse``, ``unreachable``.
    """
    if isinstance(error, NotHanse):
        return "not_hanse"
    if isinstance(error, WrongKey):
        return "wrong_key"
    for cause in _causes(error):
        name = type(cause).__name__
        if name == "PeerIDMismatchesPubkey":  # libp2p is not known here but by name
            return "wrong_key"
        if name == "ParseError":
            return "not_hanse"
        if isinstance(cause, ConnectionRefusedError | PeerRefused):
            return "refused"
        if isinstance(cause, PeerSilent | TimeoutError | trio.TooSlowError):
            return "silent"
    return "unreachable"


def _causes(error: BaseException | None) -> list[BaseException]:
    """Return the errors behind an error, itself first; what is behind is libp2p's to say."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < 32:
        one = waiting.pop(0)
        if one is None or one in found:
            continue
        found.append(one)
        waiting.append(one.__cause__ or one.__context__)
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
    return found


def _under(candidate: Candidate) -> _Under:
    link = Link(candidate.device, candidate.nearness, candidate.source)
    return _Under(link, ticks_ms())


def _unknown(connection: Connection) -> PeerView:
    """Show a Peer that has not said who it is."""
    return PeerView(
        device=connection.device,
        identity=None,
        name="",
        addresses=(connection.address,),
        met=Met.INBOUND,
        is_kept=False,
    )


def _joined(view: PeerView, connection: Connection) -> PeerView:
    return replace(
        view,
        is_connected=True,
        path=connection.path,
        relay=connection.relay,
        in_bytes=max(view.in_bytes, connection.in_bytes),
        out_bytes=max(view.out_bytes, connection.out_bytes),
    )
