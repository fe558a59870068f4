"""All parts of one running network, connected: made on the network's thread, before it listens.

What each part does stands in its own module; here is only who knows whom.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.peering import Nearness
from hanse.core.errors import HanseError
from hanse.core.limits import CONNECTIONS_MAX, NODE_CONNECTIONS_MAX
from hanse.core.model.network import Met
from hanse.network.addresses import peer_id_text
from hanse.network.conduct import Offence
from hanse.network.ports import Listeners
from hanse.network.services.blaming import Blaming
from hanse.network.services.fetching import FetchingService
from hanse.network.services.finding import FindingService
from hanse.network.services.hints import TOPICS, HintService
from hanse.network.services.post import PostService
from hanse.network.services.reaching import Reaching
from hanse.network.services.relaying import RelayingService
from hanse.network.services.seeding import NODE_SLOTS, SLOTS, SeedingService
from hanse.network.services.status import StatusService
from hanse.network.services.surroundings import Surroundings
from hanse.network.services.sync import SyncService
from hanse.network.services.trials import TrialService
from hanse.network.transport.dht import Directory
from hanse.network.transport.gate import Gate
from hanse.network.transport.gossip import Gossip
from hanse.network.transport.host import LibP2PHost
from hanse.network.transport.lan import Lan
from hanse.network.transport.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.executor import Executor
    from hanse.core.engine.peering import HeldAgainst
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import NetworkEvent, NetworkSettings, PeerView
    from hanse.network.ports import Connection

_log: Final = logging.getLogger(__name__)

NODE_WANTED: Final = 64  # connections a program without a window keeps
_SEED_SECONDS: Final = 10 * 60.0
_PLACE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Made:
    """What everything is made from."""

    engine: Engine
    executor: Executor
    settings: NetworkSettings
    program: str
    on_event: Callable[[NetworkEvent], None]
    seed: bytes
    held_against: Sequence[HeldAgainst]


class Parts:
    """One network; belongs to its thread."""

    def __init__(self, made: Made) -> None:
        """Make everything; nothing is opened yet."""
        engine, settings = made.engine, made.settings
        clock, chance = engine.context.clock, engine.context.chance
        self.blaming = Blaming(clock, made.held_against)
        listeners = Listeners()
        self.host = LibP2PHost(
            made.seed,
            gate=Gate(
                connections=NODE_CONNECTIONS_MAX if settings.is_node else CONNECTIONS_MAX,
                is_denied_device=self.blaming.is_denied,
            ),
            listeners=listeners,
            clock=clock,
            on_overrun=lambda device: self.blaming.on_offence(device, Offence.OVERRUN),
        )
        self.around = Surroundings(
            host=self.host,
            engine=engine,
            executor=made.executor,
            clock=clock,
            chance=chance,
            on_event=made.on_event,
            on_offence=self.blaming.on_offence,
            listeners=listeners,
        )
        self.settings = settings
        self._was_dialled = False
        self._nearness: dict[AuthorKey, Nearness] = {}
        listeners.on_connected.append(self._connected)
        listeners.on_lost.append(lambda device: self.around.tell("lost", device=device.hex()))
        self._make_found(made)
        self._make_moved(made)

    def _make_found(self, made: Made) -> None:
        """Make what finds Peers: status, DHT, LAN, relays, gossip."""
        settings, inner = made.settings, self.host.inner
        self.status = StatusService(self.around, made.program, self._roles)
        self.directory = (
            Directory(inner, self._is_server, is_server=settings.is_node)
            if settings.is_dht
            else None
        )
        self.reaching = Reaching(self.around, self.directory)
        self.finding = FindingService(
            self.around,
            self.status,
            wanted=NODE_WANTED if settings.is_node else settings.connections,
            is_denied=self.blaming.is_denied,
            sources=(self.reaching,) if settings.is_dht else (),
        )
        self.lan = Lan(self.host.addresses, self._on_lan) if settings.is_lan else None
        self.relay = Relay(inner, is_offered=settings.is_node) if settings.is_relay else None
        self.relaying = None
        if self.relay is not None:
            self.host.dial_relayed = self.relay.dial
            self.host.relayed_places = self._relayed_places
            self.relaying = RelayingService(self.around, self.status, self.relay.reserve)
        self.gossip = Gossip(inner, TOPICS, self._is_news)
        self.status.on_greeted.append(self._greeted)

    def _make_moved(self, made: Made) -> None:
        """Make what moves things: sync and hints, pieces, post, trials; and let Peers ask."""
        settings, engine = made.settings, made.engine
        self.sync = SyncService(self.around)
        self.hints = HintService(self.around, lambda: self.gossip, self.sync.hint)
        self.fetching = FetchingService(
            self.around, find=self.reaching.find, download_rate=settings.down_rate or None
        )
        self.seeding = SeedingService(
            self.around,
            slots=NODE_SLOTS if settings.is_node else SLOTS,
            rank=lambda device: self._nearness.get(device, Nearness.STRANGER),
            upload_rate=settings.up_rate or None,
        )
        self.post = PostService(self.around, self.reaching.reach, engine.replicating.may_leave)
        self.trials = TrialService(self.around, self.reaching.reach)
        self.sync.on_fork = self.hints.tell_fork
        self.hints.on_fork = self.sync.show_fork
        self.sync.on_judged = self._judged
        self.post.on_taken = self.sync.announce
        for service in (self.status, self.sync, self.seeding, self.post, self.trials):
            service.serve()

    async def begin(self, nursery: trio.Nursery) -> None:
        """Start all services in ``nursery``, once the host listens."""
        self._nursery = nursery
        await nursery.start(self.blaming.run, self.around)
        for service in (
            self.status,
            self.gossip,
            self.hints,
            self.sync,
            self.seeding,
            self.fetching,
            self.post,
            self.trials,
            self.reaching,
            self.finding,
        ):
            await nursery.start(service.run)
        if self.relaying is not None:
            await nursery.start(self.relaying.run)
        if self.lan is not None:
            nursery.start_soon(self.lan.run)  # it takes seconds, and nobody waits for it
        nursery.start_soon(self._seed_followed)
        nursery.start_soon(self._place_peers)

    # --- who knows whom ---------------------------------------------------------------------------

    def _roles(self) -> Sequence[str]:
        """Say what others may ask of us now."""
        if not self.settings.is_node:
            return ("seeder",)
        # Whoever nobody has ever dialled is of no use as a relay.
        relay = ("relay",) if self.relay is not None and self._was_dialled else ()
        return ("node", "seeder", "mailbox", *relay)

    def _connected(self, connection: Connection) -> None:
        self._was_dialled |= not connection.is_outbound
        self.around.tell(
            "connected",
            device=connection.device.hex(),
            address=connection.address,
            path=connection.path.value,
            outbound=connection.is_outbound,
        )

    def _greeted(self, view: PeerView) -> None:
        self.around.tell(
            "greeted",
            device=view.device.hex(),
            name=view.name,
            program=view.program,
            roles=list(view.roles),
        )
        if self.directory is not None and "node" in view.roles:
            self._nursery.start_soon(self.directory.met, view.device)

    def _is_server(self, device: AuthorKey) -> bool:
        """Say whether a Peer answers for the DHT; asking those who do not would cost time."""
        view = self.status.greeted(device)
        return view is not None and "node" in view.roles

    def _judged(self) -> None:
        """Tell and deliver what was held back until a Peer confirmed our own Feed."""
        self.hints.announce()
        self.post.wake()

    def _is_news(self, topic: str, data: bytes) -> bool:
        return self.hints.is_news(topic, data)

    def _on_lan(self, addresses: Sequence[str]) -> None:
        self.finding.found(addresses, Met.LAN)

    def _relayed_places(self) -> Sequence[str]:
        assert self.relay is not None
        places = []
        for connection in self.host.connections():
            if connection.device in self.relay.relays():
                address = connection.address.partition("/p2p/")[0]
                places.append(f"{address}/p2p/{peer_id_text(connection.device)}/p2p-circuit")
        return places

    async def _place_peers(self) -> None:
        """Look now and then how near the connected Peers are: a Delegation may have come."""
        peering = self.around.engine.peering
        while True:
            devices = [it.device for it in self.host.connections()]
            self._nearness = await self.around.read(partial(peering.nearness_of, devices))
            await trio.sleep(_PLACE_SECONDS)

    async def _seed_followed(self) -> None:
        """Ask for what is to be seeded of sellers one follows, now and then."""
        while True:
            try:
                if await self.around.write(self.around.engine.seeding.seed_followed):
                    self.fetching.look()
            except HanseError as error:  # a full disk, say: the network goes on
                _log.warning("what those one follows sell was not looked at: %s", error)
            await trio.sleep(_SEED_SECONDS)
