"""Greeting Peers: who answers, what it says of itself, and where it sees us.

* Whoever dialled says HELLO right after connecting and every five minutes; both sides learn.
* Any libp2p program may ask; one that speaks no ``/hanse/status/1`` is no Hanse and is not kept.
* A claim stays a claim: the engine believes an Identity by its Delegation.  Addresses are taken
  only as far away as the Peer is itself, a clock that differs by ten minutes is told, not set.
* Whom we pass on is asked at most once in ten minutes by each Peer, and the same goes for us.

Whom to dial is not decided here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.executor import TooBusy
from hanse.core.engine.peering import Heard, OwnPlace
from hanse.core.engine.ports import NoPeer, PeerBusy, PeerRefused, PeerSilent
from hanse.core.errors import HanseError
from hanse.core.limits import (
    CONNECTIONS_MAX,
    PROGRAM_CHARACTERS_MAX,
    STATUS_ADDRESSES_MAX,
    STATUS_PEERS_CLAIMED_MAX,
    STATUS_PEERS_MAX,
)
from hanse.core.model.ids import IdentityId
from hanse.core.model.network import Met, Path
from hanse.network.addresses import Reach, is_told_by, peer_id_text, read_address
from hanse.network.conduct import Offence
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.services.message_stream import MessageStream
from hanse.network.services.reach import ReachTally
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.status import (
    ANSWERS,
    PROTOCOL,
    QUESTIONS,
    ROLES,
    VERSION,
    About,
    Hello,
    MorePeers,
    PeerLine,
    PeerLines,
    Sorry,
    write_status,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import PeerView
    from hanse.network.addresses import PeerAddress
    from hanse.network.ports import Connection, Stream
    from hanse.network.services.reach import Sighting
    from hanse.network.services.surroundings import Surroundings

_log: Final = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10
AGAIN_MS: Final = 5 * 60 * 1000
MORE_PEERS_MS: Final = 10 * 60 * 1000
CLOCK_OFF_MS: Final = 10 * 60 * 1000

_BOUNDS: Final = Bounds(per_peer=2, in_all=32)
_CALLS_OF_A_STREAM: Final = 8
_HEARD_MS: Final = 10_000  # a Peer that greets more often is answered, and not written down
_CLOCK_TOLD_MS: Final = 60 * 60 * 1000
_LOOK_SECONDS: Final = 5.0


class StatusService:
    """Answers and asks ``/hanse/status/1``; belongs to the network thread."""

    def __init__(
        self,
        surroundings: Surroundings,
        program: str,
        roles: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Introduce ourselves as ``program``, with the roles of the moment (of ``ROLES``)."""
        self._surroundings = surroundings
        self._program = program[:PROGRAM_CHARACTERS_MAX]
        self._roles = roles
        self._calls = 0
        self._greeted: dict[AuthorKey, PeerView] = {}
        self._heard_ms: dict[AuthorKey, int] = {}
        self._due_ms: dict[AuthorKey, int] = {}
        self._asked_us_ms: dict[AuthorKey, int] = {}
        self._asked_ms: dict[AuthorKey, int] = {}
        self._clock_told_ms: dict[AuthorKey, int] = {}
        self._places: tuple[OwnPlace, ...] = ()
        self.tally: Final = ReachTally()
        self.on_greeted: list[Callable[[PeerView], None]] = []  # told of each Hanse; must not wait

    def serve(self) -> None:
        """Let Peers ask."""
        self._surroundings.host.serve(PROTOCOL, self._answer, _BOUNDS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Greet again whom we dialled, and note where we are reached, until cancelled."""
        listeners = self._surroundings.listeners
        listeners.on_lost.append(self._lost)
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await self._note_places()
                    for connection in self._surroundings.host.connections():
                        if connection.is_outbound and self._is_due(connection.device):
                            self._due_ms[connection.device] = ticks_ms() + AGAIN_MS
                            nursery.start_soon(self._greet_again, connection.device)
                    await trio.sleep(_LOOK_SECONDS)
        finally:
            listeners.on_lost.remove(self._lost)

    # --- what others of the program ask ----------------------------------------------------------

    def is_hanse(self, device: AuthorKey) -> bool:
        """Say whether a connected Peer has greeted as a Hanse."""
        return device in self._greeted

    def greeted(self, device: AuthorKey) -> PeerView | None:
        """Return what a connected Peer says of itself, once it did."""
        return self._greeted.get(device)

    def refreshed(self, views: Mapping[AuthorKey, PeerView]) -> None:
        """Show connected Peers as the engine knows them now."""
        self._greeted |= {it: view for it, view in views.items() if it in self._greeted}

    def open_places(self) -> tuple[Sighting, ...]:
        """Return where we answer from outside, as Peers of several regions tell."""
        return self.tally.open_places(self._surroundings.clock.now_ms())

    async def hello(self, device: AuthorKey, met: Met = Met.INBOUND) -> PeerView:
        """Greet a connected Peer, keep what it says and return it; ``met`` is how we came by it.

        Raises ``NoPeer``, ``PeerSilent``, ``PeerBusy``, ``PeerRefused`` or ``ProtocolViolation``.
        """
        self._due_ms[device] = ticks_ms() + AGAIN_MS
        call = self._next_call()
        answer = await self._ask(device, Hello(call, self._about(self._connection(device))))
        if not isinstance(answer, Hello) or answer.call != call:
            raise self._broken(device, QUESTIONS.violation("unexpected"))
        if answer.about.v != VERSION:
            raise PeerRefused(peer=peer_id_text(device), reason="version")
        view = await self._hear(device, answer.about, met)
        if view is None:  # our own key at the other end, or a queue that is full
            raise PeerBusy(peer=peer_id_text(device), retry_ms=_HEARD_MS)
        return view

    async def more_peers(self, device: AuthorKey) -> tuple[PeerLine, ...]:
        """Ask whom a Peer knows; nothing when it was asked in the last ten minutes.

        Raises as ``hello`` does.
        """
        if not _is_time(self._asked_ms, device, MORE_PEERS_MS):
            return ()
        call = self._next_call()
        answer = await self._ask(device, MorePeers(call, STATUS_PEERS_MAX))
        if not isinstance(answer, PeerLines) or answer.call != call:
            raise self._broken(device, QUESTIONS.violation("unexpected"))
        return answer.peers

    # --- asking ----------------------------------------------------------------------------------

    async def _ask(self, device: AuthorKey, question: Hello | MorePeers) -> object:
        """Open a stream, ask once and return the answer."""
        whom = peer_id_text(device)
        with trio.move_on_after(ANSWER_SECONDS):
            stream = await self._surroundings.host.open(device, PROTOCOL)
            try:
                await stream.write(write_status(question))
                framed = await MessageStream(stream, ANSWERS).next(ANSWER_SECONDS)
                await stream.close()
            except StreamEnded as error:
                raise NoPeer(whom=whom, tried=0) from error
            except ProtocolViolation as error:
                await stream.reset()
                raise self._broken(device, error) from error
            except BaseException:
                with trio.CancelScope(shield=True):
                    await stream.reset()
                raise
            if framed is None:
                raise NoPeer(whom=whom, tried=0)
            if not isinstance(sorry := framed.message, Sorry):
                return framed.message
            if sorry.code == "busy":
                raise PeerBusy(peer=whom, retry_ms=sorry.retry_ms)
            raise PeerRefused(peer=whom, reason=sorry.code)
        raise PeerSilent(peer=whom, seconds=ANSWER_SECONDS)

    def _broken(self, device: AuthorKey, error: ProtocolViolation) -> ProtocolViolation:
        self._surroundings.blame(device, Offence.FRAME)
        return error

    def _next_call(self) -> int:
        self._calls = (self._calls + 1) % 2**32
        return self._calls

    # --- answering -------------------------------------------------------------------------------

    async def _answer(self, stream: Stream) -> None:
        """Serve one stream; what a Peer does wrong ends it and no more."""
        line = MessageStream(stream, QUESTIONS)
        try:
            for _ in range(_CALLS_OF_A_STREAM):
                framed = await line.next(ANSWER_SECONDS)
                if framed is None:
                    return
                if not await self._answer_one(stream, framed.message):
                    return
            await stream.reset()
        except ProtocolViolation as error:
            self._broken(stream.peer, error)
            with trio.move_on_after(1):
                reason = str(error.values["reason"])
                await stream.write(write_status(Sorry(0, reason, 0)))
            await stream.reset()
        except (HanseError, StreamEnded) as error:
            _log.debug("%s asked and left: %r", stream.peer.hex(), error)
            await stream.reset()

    async def _answer_one(self, stream: Stream, message: object) -> bool:
        """Answer one call; say whether another may follow."""
        if isinstance(message, MorePeers):
            await stream.write(write_status(await self._lines(stream.peer, message)))
            return True
        assert isinstance(message, Hello)
        if message.about.v != VERSION:
            await stream.write(write_status(Sorry(message.call, "version", 0)))
            return False
        about = self._about(self._connection(stream.peer))
        await stream.write(write_status(Hello(message.call, about)))
        if _is_time(self._heard_ms, stream.peer, _HEARD_MS):
            await self._hear(stream.peer, message.about, Met.INBOUND)
        return True

    async def _lines(self, asker: AuthorKey, asked: MorePeers) -> PeerLines | Sorry:
        if not _is_time(self._asked_us_ms, asker, MORE_PEERS_MS):
            left = self._asked_us_ms[asker] + MORE_PEERS_MS - ticks_ms()
            return Sorry(asked.call, "busy", max(1, left))
        peering = self._surroundings.engine.peering
        try:
            found = await self._surroundings.read(lambda: peering.passed_on(asker, asked.n))
        except TooBusy:
            return Sorry(asked.call, "busy", MORE_PEERS_MS)
        return PeerLines(
            asked.call, tuple(PeerLine(it.device, it.addresses, it.seen_s) for it in found)
        )

    # --- what is said ----------------------------------------------------------------------------

    def _about(self, connection: Connection | None) -> About:
        """Say who we are to the Peer at the other end of ``connection``."""
        host = self._surroundings.host
        place = None if connection is None else read_address(connection.address)
        reach = None if place is None else place.reach
        return About(
            v=VERSION,
            program=self._program,
            roles=tuple(role for role in self._roles() if role in ROLES),
            identity=self._surroundings.engine.context.identity,
            observed=None if place is None or place.relay is not None else place.place,
            time_ms=self._surroundings.clock.now_ms(),
            peers=min(len(host.connections()), STATUS_PEERS_CLAIMED_MAX),
            addresses=self._own_addresses(Reach.PUBLIC if reach is None else reach),
        )

    def _own_addresses(self, reach: Reach) -> tuple[str, ...]:
        """Return where a Peer so far away may dial us: nobody is sent to his own machine."""
        places = (read_address(own.address) for own in self._places)
        told = [place for place in places if place is not None and is_told_by(place, reach)]
        told.sort(key=lambda place: (place.relay is not None, -(place.reach or 0)))
        return tuple(place.place for place in told)[:STATUS_ADDRESSES_MAX]

    async def _note_places(self) -> None:
        """Note where we listen and where Peers say that we answer."""
        sightings = {it.place.place: it.told for it in self.open_places()}
        for text in self._surroundings.host.addresses():
            if (place := read_address(text)) is not None:
                sightings.setdefault(place.place, 0)
        places = tuple(OwnPlace(place, told) for place, told in sightings.items())
        if set(places) == set(self._places):
            return
        self._places = places
        self._surroundings.tell(
            "own_places", places=[{"address": it.address, "told": it.told} for it in places]
        )
        peering = self._surroundings.engine.peering
        try:
            await self._surroundings.write(lambda: peering.note_own_places(places))
        except HanseError as error:
            _log.warning("where we are reached was not noted: %s", error)
            self._places = ()  # noted at the next look

    # --- what is heard ---------------------------------------------------------------------------

    async def _hear(self, device: AuthorKey, about: About, met: Met) -> PeerView | None:
        """Keep what a Peer said; ``None`` when it could not be kept."""
        connection = self._connection(device)
        if connection is None:
            raise NoPeer(whom=peer_id_text(device), tried=0)
        self._check_clock(device, about.time_ms)
        teller = read_address(connection.address)
        observed = None if about.observed is None else read_address(about.observed)
        if teller is not None and observed is not None and connection.path is not Path.RELAY:
            now_ms = self._surroundings.clock.now_ms()
            dialled_us = not connection.is_outbound
            self.tally.note(device, teller, observed, now_ms, dialled_us=dialled_us)
        heard = Heard(
            device=device,
            met=Met.LAN if met is Met.INBOUND and connection.path is Path.LAN else met,
            program=about.program,
            roles=tuple(role for role in dict.fromkeys(about.roles) if role in ROLES),
            identity=None if about.identity is None else IdentityId(about.identity),
            addresses=_believed(device, about.addresses, teller),
            dialled=_dialled(connection, teller),
        )
        peering = self._surroundings.engine.peering
        try:
            view = await self._surroundings.write(lambda: peering.heard(heard))
        except TooBusy:
            return None
        if view is None or not self._surroundings.host.is_connected(device):
            return view
        is_new = device not in self._greeted
        self._greeted[device] = view
        if is_new:
            for told in self.on_greeted:
                told(view)
        return view

    def _check_clock(self, device: AuthorKey, time_ms: int) -> None:
        off_ms = time_ms - self._surroundings.clock.now_ms()
        if abs(off_ms) > CLOCK_OFF_MS and _is_time(self._clock_told_ms, device, _CLOCK_TOLD_MS):
            self._surroundings.tell("clock_off", device=device.hex(), off_seconds=off_ms // 1000)

    def _connection(self, device: AuthorKey) -> Connection | None:
        found = (it for it in self._surroundings.host.connections() if it.device == device)
        return next(found, None)

    def _is_due(self, device: AuthorKey) -> bool:
        return self._due_ms.get(device, 0) <= ticks_ms()

    async def _greet_again(self, device: AuthorKey) -> None:
        try:
            await self.hello(device)
        except HanseError as error:
            _log.debug("%s was not greeted: %s", device.hex(), error)

    def _lost(self, device: AuthorKey) -> None:
        self._greeted.pop(device, None)
        self._due_ms.pop(device, None)


def _believed(
    device: AuthorKey, texts: Sequence[str], teller: PeerAddress | None
) -> tuple[PeerAddress, ...]:
    """Return the places a Peer may name as its own: none nearer to us than it is itself."""
    reach = Reach.PUBLIC if teller is None or teller.reach is None else teller.reach
    if teller is not None and teller.relay is not None:
        reach = Reach.PUBLIC
    places = (read_address(text) for text in texts)
    return tuple(
        place.of(device)
        for place in places
        if place is not None
        and place.device in {None, device}
        and place.relay != device
        and is_told_by(place, reach)
    )


def _dialled(connection: Connection, place: PeerAddress | None) -> PeerAddress | None:
    """Return where a Peer answered us; over a relay it is the relay that did."""
    if place is None or not connection.is_outbound or connection.path is Path.RELAY:
        return None
    return place.of(connection.device)


def _is_time(last_ms: dict[AuthorKey, int], device: AuthorKey, least_ms: int) -> bool:
    """Say whether so long has passed since this was true of ``device``, and note it.

    Keys cost a stranger nothing, so only so many are remembered.
    """
    now_ms = ticks_ms()
    last = last_ms.get(device)
    if last is not None and now_ms - last < least_ms:
        return False
    last_ms.pop(device, None)
    last_ms[device] = now_ms
    while len(last_ms) > 2 * CONNECTIONS_MAX:
        del last_ms[next(iter(last_ms))]
    return True
