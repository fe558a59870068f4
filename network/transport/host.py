"""``network.ports.Host`` on libp2p: Noise and Yamux over TCP, under one Device key, and guarded.

* The seed of the Device key is given by the caller, lives in libp2p's own objects as long as the
  host does, and is written nowhere: no log line, no peerstore file.
* Who comes in passes the ``Gate`` before anything is read, and again by his key.
* A stream over its bounds is refused at once; none waits for another to end.
* Whatever a handler raises costs its stream.  What no Peer can cause is a bug, and is logged.
* A dial goes to the one address that was named, for the one key it names, and every way it fails
  is ``NoPeer``.  Addresses the library keeps for itself are not used.
* ``on_connected`` and ``on_lost`` are told once for each Peer, however many connections it has.

A host lives inside ``running``; handlers are registered before it.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from libp2p import new_host
from libp2p.abc import INotifee
from libp2p.crypto import ed25519, x25519
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from multiaddr import Multiaddr

from hanse.core.clock import SystemClock
from hanse.core.engine.ports import NoPeer, PeerSilent, PortTaken
from hanse.core.errors import HanseError
from hanse.core.limits import CONNECTIONS_PER_PEER_MAX, STREAMS_PER_PEER_MAX
from hanse.core.model.addresses import PEER_ID_PREFIX
from hanse.core.model.ids import AuthorKey
from hanse.core.model.network import Path
from hanse.network.addresses import BadAddress, parse_address, peer_id_text, read_address
from hanse.network.ports import Connection, Listeners, StreamEnded
from hanse.network.transport.gate import Gate, is_near
from hanse.network.transport.hardening import guard_peerstore, use_safe_parts
from hanse.network.transport.interfaces import reachable
from hanse.network.transport.muxer import Overrun, Pace, SafeYamux
from hanse.network.transport.streams import LibP2PStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from hanse.core.clock import Clock
    from hanse.network.ports import Bounds, Stream

log = logging.getLogger(__name__)

DIAL_SECONDS: Final = 8.0
OPEN_SECONDS: Final = 10.0
UPGRADE_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 3.0
_NEVER: Final = 1 << 30

# What is the work's own end, and no bug of a handler.
_EXPECTED: Final = (HanseError, StreamEnded, BaseLibp2pError, trio.TooSlowError)


@dataclass(slots=True)
class _Served:
    handler: Callable[[Stream], Awaitable[None]]
    bounds: Bounds
    open_by: Counter[AuthorKey] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class _Held:
    """One connection of a Peer, as the library holds it."""

    swarm_conn: Any
    muxed: SafeYamux
    device: AuthorKey
    address: str
    path: Path
    relay: AuthorKey | None
    since_ms: int
    is_gone: trio.Event = field(default_factory=trio.Event)

    @property
    def is_open(self) -> bool:
        return not (self.swarm_conn.is_closed or self.muxed.event_shutting_down.is_set())


class LibP2PHost:
    """Our Device among others.  Every method belongs to the network thread."""

    def __init__(
        self,
        seed: bytes,
        *,
        gate: Gate | None = None,
        listeners: Listeners | None = None,
        clock: Clock | None = None,
        pace: Pace | None = None,
        on_overrun: Callable[[AuthorKey], None] = lambda _: None,
        upgrade_seconds: float = UPGRADE_SECONDS,
    ) -> None:
        """Make a host for the Device whose Ed25519 seed (32 bytes) is given; nothing is opened.

        ``on_overrun`` hears of each Peer that was cut off for ignoring a bound;
        ``upgrade_seconds`` is how long somebody may take to say who he is.
        """
        assert len(seed) == 32
        use_safe_parts()
        keys = ed25519.create_new_key_pair(seed)
        noise = Noise(keys, noise_privkey=x25519.create_new_key_pair().private_key)
        self.gate = gate or Gate()
        self.listeners = listeners or Listeners()
        self._clock = clock or SystemClock()
        self._pace = pace or Pace()
        self._on_overrun = on_overrun
        self._device = AuthorKey(keys.public_key.to_bytes())
        self._served: dict[str, _Served] = {}
        self._peers: dict[AuthorKey, list[_Held]] = {}
        self._dialled_at: dict[AuthorKey, str] = {}
        self._dials: dict[AuthorKey, trio.Lock] = {}
        self._streams: Counter[AuthorKey] = Counter()
        self._is_closing = False
        #: Dials an address that leads over a relay; set by whoever speaks the relay protocol.
        self.dial_relayed: Callable[[str], Awaitable[object]] | None = None
        #: Where others reach us through relays, without our key; set by whoever reserves there.
        self.relayed_places: Callable[[], Sequence[str]] = tuple
        #: The library's own host (``BasicHost``), for the rest of this package.
        self.inner: Any = new_host(
            key_pair=keys,
            muxer_opt={TProtocol(YAMUX_ID): SafeYamux},
            sec_opt={NOISE_ID: noise},
            connection_config=ConnectionConfig(
                max_connections=_NEVER,  # ours to count: it counts for a while who is gone
                high_watermark=_NEVER,
                low_watermark=0,
                min_connections=0,
                max_connections_per_peer=_NEVER,  # we see to it ourselves, without a grace period
                inbound_upgrade_timeout=upgrade_seconds,
                outbound_upgrade_timeout=upgrade_seconds,
            ),
            addrs_factory=lambda candidates: [
                Multiaddr(text) for text in reachable([str(each) for each in candidates])
            ],
        )
        guard_peerstore(self.inner.get_peerstore(), self.inner.get_id())
        # Any: what is replaced below has no type.
        self._swarm = cast("Any", self.inner.get_network())
        self._swarm.retry_config = RetryConfig(max_retries=0)  # who dials again is decided above
        self._swarm.set_resource_manager(None)  # its bounds are wider than ours, and they queue
        self._swarm.auto_connector.maybe_connect = _dial_nobody  # it would dial all it heard of
        self._swarm.connection_gate.is_allowed = self._may_dial  # for the library's own dials
        self._swarm.set_stream_handler(self._admit(self._swarm.common_stream_handler))
        self._swarm._handle_inbound_connection = self._came_in
        self._swarm.register_notifee(_Notices(self))

    @property
    def device(self) -> AuthorKey:
        """Return our own Device key."""
        return self._device

    @asynccontextmanager
    async def running(self, listen: Sequence[str]) -> AsyncIterator[None]:
        """Listen at multiaddr texts (port 0 for any) and serve; at the end, leave every Peer.

        Raises ``PortTaken`` and leaves nothing open when one of the ports is not to be had.
        """
        for text in listen:
            await _probe(text)
        async with self.inner.run(listen_addrs=[]):
            try:
                for text in listen:
                    if not await self._swarm.listen(Multiaddr(text)):
                        raise PortTaken(port=_port(text))
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await self._leave()

    def addresses(self) -> Sequence[str]:
        """Return the multiaddr texts others may reach us at, each ending in ``/p2p/<peer id>``."""
        bound = [str(address) for address in self.inner.get_transport_addrs()]
        ours = peer_id_text(self._device)
        return tuple(f"{text}/p2p/{ours}" for text in (*reachable(bound), *self.relayed_places()))

    def serve(
        self, protocol: str, handler: Callable[[Stream], Awaitable[None]], bounds: Bounds
    ) -> None:
        """Let ``handler`` have every inbound stream of ``protocol``, within ``bounds``.

        When it returns, what it wrote still arrives and the stream is closed.
        """
        assert protocol not in self._served
        served = self._served[protocol] = _Served(handler, bounds)

        async def run(inner: Any) -> None:
            await self._run(served, inner)

        self.inner.set_stream_handler(TProtocol(protocol), run)

    def connections(self) -> Sequence[Connection]:
        """Return who is connected, each Peer once: by its shortest path, then its oldest."""
        shown = []
        for held in self._peers.values():
            best = min(held, key=lambda each: (each.path is Path.RELAY, each.since_ms))
            shown.append(
                Connection(
                    device=best.device,
                    address=best.address,
                    is_outbound=bool(best.muxed.is_initiator),
                    path=best.path,
                    since_ms=best.since_ms,
                    relay=best.relay,
                    in_bytes=sum(each.muxed.in_bytes for each in held),
                    out_bytes=sum(each.muxed.out_bytes for each in held),
                )
            )
        return tuple(shown)

    def is_connected(self, device: AuthorKey) -> bool:
        """Say whether ``device`` is connected."""
        return any(held.is_open for held in self._peers.get(device, ()))

    # --- outwards ----------------------------------------------------------------------------

    async def dial(self, address: str) -> AuthorKey:
        """Connect to one address, for the key it names, and return the key; raises ``NoPeer``."""
        nobody = NoPeer(whom=address, tried=1)
        try:
            place = parse_address(address)
        except BadAddress as error:
            raise nobody from error
        device = place.device
        if (
            device is None
            or device == self._device
            or not self.gate.may_speak(device)
            or not self.gate.may_dial(place.host)
            or not self._has_room
        ):
            raise nobody
        async with self._dials.setdefault(device, trio.Lock()):  # one at a time for each Peer
            try:
                if not self.is_connected(device):
                    await self._dial(address, device, is_relayed=place.relay is not None)
                    await trio.lowlevel.checkpoint()
            except Exception as error:  # the library's are many
                raise nobody from error
            finally:
                self._dialled_at.pop(device, None)
                if not self._dials[device].statistics().tasks_waiting:
                    self._dials.pop(device)
        if not self.is_connected(device):
            raise nobody
        return device

    async def _dial(self, address: str, device: AuthorKey, *, is_relayed: bool) -> None:
        peer_id = ID(PEER_ID_PREFIX + device)
        # Who was not there a moment ago may be there now: the library would not look for 60 s.
        self._swarm._negative_peer_cache.evict(str(peer_id))
        self._dialled_at[device] = address
        with trio.fail_after(DIAL_SECONDS):
            if not is_relayed:
                await self._swarm.dial_addr(Multiaddr(address), peer_id)
            elif self.dial_relayed is not None:
                await self.dial_relayed(address)

    async def _may_dial(self, address: Multiaddr) -> bool:
        place = read_address(str(address))
        return (
            place is not None
            and self.gate.may_dial(place.host)
            and (place.device is None or self.gate.may_speak(place.device))
            and self._has_room
        )

    async def open(self, device: AuthorKey, protocol: str) -> Stream:
        """Open a stream to a connected Peer; raises ``NoPeer`` or ``PeerSilent``."""
        held = self._best(device)
        if held is None:
            raise NoPeer(whom=peer_id_text(device), tried=0)
        with trio.move_on_after(OPEN_SECONDS):
            try:
                inner = await self.inner.new_stream(ID(PEER_ID_PREFIX + device), [protocol])
            except Exception as error:  # it does not speak the protocol, or is gone
                raise NoPeer(whom=peer_id_text(device), tried=0) from error
            return self._stream(inner, device)
        raise PeerSilent(peer=peer_id_text(device), seconds=round(OPEN_SECONDS))

    async def hang_up(self, device: AuthorKey) -> None:
        """Close every connection to ``device``; never raises."""
        async with trio.open_nursery() as nursery:
            for held in tuple(self._peers.get(device, ())):
                nursery.start_soon(self._end, held)

    # --- inwards -----------------------------------------------------------------------------

    async def _came_in(self, tcp: Any, listening_at: Any) -> None:
        """Serve one connection that came in, as long as it lasts.

        The library's own keeps a place for each that ever came, until none is left.
        """
        remote = tcp.get_remote_address()
        if remote is None or self._is_closing or not self.gate.enter(remote[0]):
            return  # the socket is closed behind us
        try:
            raw = RawConnection(tcp, initiator=False)
            muxed = await self._swarm.upgrade_inbound_raw_conn(raw, listening_at)
            await muxed.event_closed.wait()
        except Exception as error:  # noqa: BLE001  a stranger can break it in any way
            log.debug("a connection from %s failed: %r", remote[0], error)
        finally:
            self.gate.leave(remote[0])

    def _admit(self, handle: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """Bound the streams of one Peer over all its connections, and contain what they raise."""

        async def admitted(inner: Any) -> None:
            device = device_of(inner.muxed_conn.peer_id)
            if device is None or self._streams[device] >= STREAMS_PER_PEER_MAX:
                await inner.reset()
                return
            self._streams[device] += 1
            scope, served = trio.CancelScope(), inner.muxed_conn.served
            served.add(scope)
            try:
                with scope:  # else who waits for something else would go on without a Peer
                    await handle(inner)
            except Exception as error:  # noqa: BLE001  here the library would end the program
                log.debug("a stream of %s failed: %r", peer_id_text(device), error)
                with trio.move_on_after(2, shield=True), suppress(Exception):
                    await inner.reset()
            finally:
                served.discard(scope)
                self._streams[device] -= 1
                if not self._streams[device]:
                    del self._streams[device]

        return admitted

    async def _run(self, served: _Served, inner: Any) -> None:
        device = device_of(inner.muxed_conn.peer_id)
        assert device is not None  # ``_admit`` saw to it
        open_by = served.open_by
        if open_by[device] >= served.bounds.per_peer or open_by.total() >= served.bounds.in_all:
            await inner.reset()
            return
        open_by[device] += 1
        stream = self._stream(inner, device)
        is_over = False
        try:
            await served.handler(stream)
            await stream.finish()
            is_over = True
        except _EXPECTED as error:
            log.debug("a stream of %s ended: %r", peer_id_text(device), error)
        except Exception:
            log.exception("serving a stream failed")
        finally:
            open_by[device] -= 1
            if not open_by[device]:
                del open_by[device]
            if not is_over:
                await stream.reset()

    def _stream(self, inner: Any, device: AuthorKey) -> LibP2PStream:
        for held in self._peers.get(device, ()):
            if held.muxed is inner.muxed_conn:
                return LibP2PStream(inner, device, held.path)
        return LibP2PStream(inner, device, Path.DIRECT)

    # --- who is there --------------------------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        found = sum(len(held) for held in self._peers.values())
        return not self._is_closing and found < self.gate.connections

    def _best(self, device: AuthorKey) -> _Held | None:
        return next((held for held in self._peers.get(device, ()) if held.is_open), None)

    def appeared(self, swarm_conn: Any) -> None:
        """Take note of a new connection; called by the library before it is used."""
        muxed = swarm_conn.muxed_conn
        device = device_of(muxed.peer_id)
        remote = muxed.get_remote_address()
        path, relay = _path(swarm_conn, remote)
        if (
            device is None
            or device == self._device
            or not self._has_room
            or not self.gate.may_speak(device)
            or (remote is not None and not self.gate.may_dial(remote[0]))
            or len(self._peers.get(device, ())) >= CONNECTIONS_PER_PEER_MAX
        ):
            self._spawn(self._end_conn, muxed)
            return
        address = self._dialled_at.get(device) if muxed.is_initiator else None
        held = _Held(
            swarm_conn,
            muxed,
            device,
            address or _address(swarm_conn, remote, device),
            path,
            relay,
            self._clock.now_ms(),
        )
        is_first = device not in self._peers
        self._peers.setdefault(device, []).append(held)
        self._spawn(self._watch, held)
        if is_first:
            shown = next(each for each in self.connections() if each.device == device)
            for told in self.listeners.on_connected:
                told(shown)

    async def _watch(self, held: _Held) -> None:
        """Ping one connection until it ends, then take note of that."""
        try:
            await held.muxed.watch(self._pace)
            await held.muxed.event_closed.wait()
        finally:
            self._disappeared(held)

    def _disappeared(self, held: _Held) -> None:
        if isinstance(held.muxed.why, Overrun):
            self._on_overrun(held.device)
        left = self._peers[held.device]
        left.remove(held)
        held.is_gone.set()
        if not left:
            del self._peers[held.device]
            for told in self.listeners.on_lost:
                told(held.device)

    def _spawn(self, work: Callable[[Any], Awaitable[None]], what: Any) -> None:
        """Run ``work`` beside the library's tasks; like theirs, it ends with the host."""

        async def contained() -> None:
            try:
                await work(what)
            except Exception:  # what raises here would end the program
                log.exception("work on a connection failed")

        self._swarm.manager.run_task(contained)

    # --- the end -------------------------------------------------------------------------------

    async def _end(self, held: _Held) -> None:
        await self._end_conn(held.muxed)
        with trio.move_on_after(_GOODBYE_SECONDS):
            await held.is_gone.wait()

    async def _end_conn(self, muxed: SafeYamux) -> None:
        with trio.move_on_after(_GOODBYE_SECONDS):
            await muxed.goodbye()
        await muxed.abort()

    async def _leave(self) -> None:
        """Leave all Peers at once; the library would do it one after the other."""
        self._is_closing = True
        with trio.move_on_after(_CLOSE_SECONDS):
            async with trio.open_nursery() as nursery:
                for device in tuple(self._peers):
                    nursery.start_soon(self.hang_up, device)
        with trio.move_on_after(_CLOSE_SECONDS):
            await self.inner.close()


class _Notices(INotifee):
    """Hears of new connections; of their end, we hear from the connection itself."""

    def __init__(self, host: LibP2PHost) -> None:
        self._host = host

    async def connected(self, network: Any, conn: Any) -> None:
        del network
        self._host.appeared(conn)

    async def disconnected(self, network: Any, conn: Any) -> None:
        del network, conn

    async def opened_stream(self, network: Any, stream: Any) -> None:
        del network, stream

    async def closed_stream(self, network: Any, stream: Any) -> None:
        del network, stream

    async def listen(self, network: Any, multiaddr: Any) -> None:
        del network, multiaddr

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        del network, multiaddr


async def _dial_nobody() -> None:
    """Leave it to our own policy whom to dial."""


def peer_id_of(device: AuthorKey) -> ID:
    """Return the peer id of a Device key."""
    return ID(PEER_ID_PREFIX + device)


def device_of(peer_id: Any) -> AuthorKey | None:
    """Return the Device key in a peer id; ``None`` for keys that are no Device's."""
    raw: bytes = peer_id.to_bytes()
    device = raw.removeprefix(PEER_ID_PREFIX)
    return AuthorKey(device) if len(device) == 32 and len(raw) == 38 else None


def _path(swarm_conn: Any, remote: tuple[str, int] | None) -> tuple[Path, AuthorKey | None]:
    for address in swarm_conn.get_transport_addresses():
        before, circuit, _ = str(address).partition("/p2p-circuit")
        if circuit:
            _, _, relay = before.rpartition("/p2p/")
            return Path.RELAY, device_of(ID.from_string(relay))
    return (Path.LAN if remote is not None and is_near(remote[0]) else Path.DIRECT), None


def _address(swarm_conn: Any, remote: tuple[str, int] | None, device: AuthorKey) -> str:
    for address in swarm_conn.get_transport_addresses():
        if "/p2p-circuit" in str(address):
            return str(address)
    if remote is None:
        return f"/p2p/{peer_id_text(device)}"
    host, port = remote
    kind = "ip6" if ":" in host else "ip4"
    return f"/{kind}/{host}/tcp/{port}/p2p/{peer_id_text(device)}"


def _port(text: str) -> int:
    return int(text.split("/")[4])


async def _probe(text: str) -> None:
    """Raise ``PortTaken`` if somebody listens there: two would share the port without a word."""
    _, kind, host, _, port_text, *_ = text.split("/")
    port = int(port_text)
    if not port:
        return
    family = socket.AF_INET6 if kind == "ip6" else socket.AF_INET
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  not bound: looked for
    with trio.move_on_after(1), suppress(OSError):
        async with await trio.open_tcp_stream(everywhere.get(host, host), port):
            raise PortTaken(port=port)
    if os.name == "nt":  # there, binding says nothing about who else is bound
        return
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(port=port) from error
