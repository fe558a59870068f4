"""Hosts for the tests of services: in memory, several Devices in one ``trio.run``, or real ones.

``MemoryNetwork`` keeps the contract of ``network.ports.Host`` (``test_host_contract.py`` runs the
same tests on it and on libp2p) and can do what a wire does: lose a connection, fall silent.

    async with MemoryNetwork() as network:
        seller, buyer = network.host(seller_key), network.host(buyer_key)
        seller.serve("/hanse/status/1", answer, Bounds(per_peer=2, in_all=8))
        await buyer.dial(seller.addresses()[0])
        stream = await buyer.open(seller_key, "/hanse/status/1")

``real_hosts`` does the same with libp2p on 127.0.0.1.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import trio

from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.core.limits import CONNECTIONS_MAX, STREAMS_PER_PEER_MAX
from hanse.core.model.network import Path
from hanse.network.addresses import peer_id_text
from hanse.network.ports import Connection, Listeners, StreamEnded
from hanse.network.transport.host import LibP2PHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Bounds, Stream

READ_SIZE_BYTES: Final = 262_144
SLICE_SIZE_BYTES: Final = 65_507
WINDOW_SIZE_BYTES: Final = 2 << 20  # what a reader may leave unread before the writer waits
WRITE_SECONDS: Final = 20.0  # as ``LibP2PHost``
OPEN_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 1.0  # for who serves a stream, when its connection was lost


class _Half:
    """Bytes on their way in one direction of a stream."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.is_finished = False  # the writer closed
        self.is_lost = False
        self.changed = trio.Event()

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class MemoryStream:
    """One end of a stream in memory; ``read(None)`` waits as long as the connection lives."""

    def __init__(self, link: _Link, me: MemoryHost, other: MemoryHost, ways: list[_Half]) -> None:
        self._link = link
        self._me, self._other = me, other
        self._in, self._out = ways
        self._is_reset = False

    @property
    def peer(self) -> AuthorKey:
        return self._other.device

    @property
    def path(self) -> Path:
        return self._link.path

    async def read(self, within_seconds: float | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(math.inf if within_seconds is None else within_seconds):
            while True:
                if self._in.is_lost:
                    raise StreamEnded
                if self._flows():
                    if self._in.held:
                        taken = bytes(self._in.held[:READ_SIZE_BYTES])
                        del self._in.held[:READ_SIZE_BYTES]
                        self._link.count(self._other, len(taken))
                        self._in.wake()
                        return taken
                    if self._in.is_finished:
                        return b""
                await self._in.changed.wait()
        raise PeerSilent(peer=peer_id_text(self.peer), seconds=within_seconds)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(bytes(data))
        if not view:
            await self._write_slice(b"")
        for start in range(0, len(view), SLICE_SIZE_BYTES):
            await self._write_slice(bytes(view[start : start + SLICE_SIZE_BYTES]))

    async def _write_slice(self, part: bytes) -> None:
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(WRITE_SECONDS):
            while True:
                if self._out.is_lost or self._out.is_finished:
                    raise StreamEnded
                if self._flows() and len(self._out.held) + len(part) <= WINDOW_SIZE_BYTES:
                    self._out.held += part
                    self._out.wake()
                    return
                await self._out.changed.wait()
        await self.reset()
        raise PeerSilent(peer=peer_id_text(self.peer), seconds=int(WRITE_SECONDS))

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self._out.is_finished = True
        self._out.wake()

    async def reset(self) -> None:
        await trio.lowlevel.checkpoint()
        self.lose()

    def lose(self) -> None:
        for half in (self._in, self._out):
            half.is_lost = True
            half.held.clear()
            half.wake()

    def wake(self) -> None:
        self._in.wake()
        self._out.wake()

    @property
    def is_over(self) -> bool:
        """Both sides have closed and everything was read, or it is lost."""
        return self._in.is_lost or (
            self._in.is_finished and self._out.is_finished and not self._in.held
        )

    async def over(self) -> None:
        while not self.is_over:
            await self._in.changed.wait()
            self._in.held.clear()  # nobody reads it any more

    def _flows(self) -> bool:
        return not (self._me.is_frozen or self._other.is_frozen)


@dataclass(slots=True, eq=False)
class _Link:
    """One connection between two hosts."""

    dialler: MemoryHost
    dialled: MemoryHost
    path: Path
    relay: AuthorKey | None
    since_ms: int
    streams: list[MemoryStream] = field(default_factory=list)
    served: set[trio.CancelScope] = field(default_factory=set)
    sent: dict[AuthorKey, int] = field(default_factory=dict)

    def other(self, host: MemoryHost) -> MemoryHost:
        return self.dialled if host is self.dialler else self.dialler

    def count(self, sender: MemoryHost, size: int) -> None:
        self.sent[sender.device] = self.sent.get(sender.device, 0) + size

    def seen_by(self, host: MemoryHost) -> Connection:
        other = self.other(host)
        return Connection(
            device=other.device,
            address=other.addresses()[0],
            is_outbound=host is self.dialler,
            path=self.path,
            since_ms=self.since_ms,
            relay=self.relay,
            in_bytes=self.sent.get(other.device, 0),
            out_bytes=self.sent.get(host.device, 0),
        )


@dataclass(slots=True)
class _Served:
    handler: Callable[[Stream], Awaitable[None]]
    bounds: Bounds
    open_by: dict[AuthorKey, int] = field(default_factory=dict)


class MemoryHost:
    """One Device on a ``MemoryNetwork``."""

    def __init__(
        self,
        network: MemoryNetwork,
        device: AuthorKey,
        address: str,
        listeners: Listeners | None,
        is_refused: Callable[[AuthorKey], bool] | None,
    ) -> None:
        self._network = network
        self._device = device
        self._address = f"{address}/p2p/{peer_id_text(device)}"
        self._served: dict[str, _Served] = {}
        self._links: dict[AuthorKey, _Link] = {}
        self._inbound: dict[AuthorKey, int] = {}
        self._is_refused = is_refused or (lambda _: False)
        self.listeners = listeners or Listeners()
        self.is_frozen = False
        self.is_gone = False
        self.dialled: list[str] = []  # every address that was tried, in order

    @property
    def device(self) -> AuthorKey:
        return self._device

    def addresses(self) -> Sequence[str]:
        return (self._address,)

    def serve(
        self, protocol: str, handler: Callable[[Stream], Awaitable[None]], bounds: Bounds
    ) -> None:
        assert protocol not in self._served
        self._served[protocol] = _Served(handler, bounds)

    def connections(self) -> Sequence[Connection]:
        return tuple(link.seen_by(self) for link in self._links.values())

    def is_connected(self, device: AuthorKey) -> bool:
        return device in self._links

    async def dial(self, address: str) -> AuthorKey:
        await trio.lowlevel.checkpoint()
        self.dialled.append(address)
        other = self._network.at(address)
        if (
            other is None
            or other is self
            or other.is_gone
            or other.is_frozen
            or self._is_refused(other.device)
            or other._is_refused(self.device)
            or other.addresses()[0] != address
            or len(self._links) >= CONNECTIONS_MAX
            or len(other._links) >= CONNECTIONS_MAX
        ):
            raise NoPeer(whom=address, tried=1)
        if other.device not in self._links:
            self._network.join(self, other)
        return other.device

    async def open(self, device: AuthorKey, protocol: str) -> Stream:
        await trio.lowlevel.checkpoint()
        link = self._links.get(device)
        if link is None:
            raise NoPeer(whom=peer_id_text(device), tried=0)
        other = link.other(self)
        with trio.move_on_after(OPEN_SECONDS):
            while self.is_frozen or other.is_frozen:
                await self._network.thawed.wait()
            if self._links.get(device) is not link or protocol not in other._served:
                raise NoPeer(whom=peer_id_text(device), tried=0)
            return self._network.connect_stream(link, self, other, protocol)
        raise PeerSilent(peer=peer_id_text(device), seconds=int(OPEN_SECONDS))

    async def hang_up(self, device: AuthorKey) -> None:
        await trio.lowlevel.checkpoint()
        if (link := self._links.get(device)) is not None:
            self._network.part(link)

    async def _handle(self, served: _Served, stream: MemoryStream) -> None:
        peer = stream.peer
        if (
            served.open_by.get(peer, 0) >= served.bounds.per_peer
            or sum(served.open_by.values()) >= served.bounds.in_all
            or self._inbound.get(peer, 0) >= STREAMS_PER_PEER_MAX
        ):
            stream.lose()
            return
        served.open_by[peer] = served.open_by.get(peer, 0) + 1
        self._inbound[peer] = self._inbound.get(peer, 0) + 1
        scope = trio.CancelScope()
        stream._link.served.add(scope)
        try:
            with scope:
                await served.handler(stream)
                await stream.close()
                with trio.move_on_after(OPEN_SECONDS):
                    await stream.over()
        except Exception as error:  # noqa: BLE001  what a handler raises resets its stream, no more
            self._network.raised.append(error)
        finally:
            stream._link.served.discard(scope)
            if not stream.is_over:
                stream.lose()
            served.open_by[peer] -= 1
            self._inbound[peer] -= 1


class MemoryNetwork:
    """The wire between ``MemoryHost``s; what goes wrong on it is asked for by name."""

    def __init__(self) -> None:
        self._hosts: dict[AuthorKey, MemoryHost] = {}
        self._links: list[_Link] = []
        self._time_ms = 1_700_000_000_000
        self.thawed = trio.Event()
        self.raised: list[
            Exception
        ] = []  # what handlers raised; a test of a service wants it empty

    async def __aenter__(self) -> Self:
        self._opening = trio.open_nursery()
        self._nursery = await self._opening.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._nursery.cancel_scope.cancel()
        await self._opening.__aexit__(*error)

    def host(
        self,
        device: AuthorKey,
        listeners: Listeners | None = None,
        *,
        address: str | None = None,
        is_refused: Callable[[AuthorKey], bool] | None = None,
    ) -> MemoryHost:
        """Add a Device; a host of the same Device that was there before is gone."""
        if (before := self._hosts.get(device)) is not None:
            self.stop(before)
        address = address or f"/ip4/198.51.100.{len(self._hosts) + 1}/tcp/4801"
        made = MemoryHost(self, device, address, listeners, is_refused)
        self._hosts[device] = made
        return made

    def at(self, address: str) -> MemoryHost | None:
        place, _, _ = address.partition("/p2p/")
        for host in self._hosts.values():
            if host.addresses()[0].partition("/p2p/")[0] == place and not host.is_gone:
                return host
        return None

    def join(
        self, dialler: MemoryHost, dialled: MemoryHost, relay: AuthorKey | None = None
    ) -> None:
        """Connect two hosts; with ``relay`` as if over that Device."""
        self._time_ms += 1
        path = Path.DIRECT if relay is None else Path.RELAY
        link = _Link(dialler, dialled, path, relay, self._time_ms)
        self._links.append(link)
        for host in (dialler, dialled):
            host._links[link.other(host).device] = link
        for host in (dialler, dialled):
            for told in host.listeners.on_connected:
                told(link.seen_by(host))

    def part(self, link: _Link) -> None:
        """Lose a connection and every stream on it."""
        self._links.remove(link)
        for stream in link.streams:
            stream.lose()
        for scope in link.served:
            scope.deadline = trio.current_time() + GRACE_SECONDS
        for host in (link.dialler, link.dialled):
            del host._links[link.other(host).device]
        for host in (link.dialler, link.dialled):
            for told in host.listeners.on_lost:
                told(link.other(host).device)

    def cut(self, one: MemoryHost, other: MemoryHost) -> None:
        """Lose the connection between two hosts."""
        self.part(one._links[other.device])

    def stop(self, host: MemoryHost) -> None:
        """Let a host end, as a killed program does: its connections are lost."""
        for link in list(host._links.values()):
            self.part(link)
        host.is_gone = True

    def freeze(self, host: MemoryHost) -> None:
        """Let a host fall silent without losing its connections, as SIGSTOP does."""
        host.is_frozen = True

    def thaw(self, host: MemoryHost) -> None:
        """Let a host go on."""
        host.is_frozen = False
        self.thawed.set()
        self.thawed = trio.Event()
        for link in host._links.values():
            for stream in link.streams:
                stream.wake()

    def connect_stream(
        self, link: _Link, opener: MemoryHost, other: MemoryHost, protocol: str
    ) -> MemoryStream:
        link.streams = [stream for stream in link.streams if not stream.is_over]
        there, back = _Half(), _Half()
        near = MemoryStream(link, opener, other, [back, there])
        far = MemoryStream(link, other, opener, [there, back])
        link.streams += [near, far]
        self._nursery.start_soon(other._handle, other._served[protocol], far)
        return near


LOOPBACK: Final = "/ip4/127.0.0.1/tcp/0"


def seed_of(number: int) -> bytes:
    """Return the seed of the Device key of a test's n-th host."""
    return hashlib.sha256(b"host %d" % number).digest()


@asynccontextmanager
async def real_hosts(
    count: int,
    before: Callable[[int, LibP2PHost], None] = lambda _, __: None,
    **arguments: object,
) -> AsyncIterator[list[LibP2PHost]]:
    """Run ``count`` real hosts on loopback; ``before`` registers the handlers of each.

    ``arguments`` are those of ``LibP2PHost``, the same for all.
    """
    async with AsyncExitStack() as stack:
        hosts = []
        for number in range(count):
            host = LibP2PHost(seed_of(number), **arguments)
            before(number, host)
            await stack.enter_async_context(host.running([LOOPBACK]))
            hosts.append(host)
        yield hosts
