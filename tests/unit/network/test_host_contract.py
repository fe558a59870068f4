"""What a service may rely on, the same for hosts in memory and for libp2p on loopback."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest
import trio

from hanse.core.crypto.signing import Signer
from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.core.model.ids import AuthorKey
from hanse.core.model.network import Path
from hanse.network.addresses import peer_id_text
from hanse.network.ports import Bounds, Connection, Host, Listeners, Stream, StreamEnded
from hanse.network.transport.gate import Gate
from hanse.network.transport.host import LibP2PHost
from tests.fakes.hosts import LOOPBACK, MemoryNetwork, seed_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

ECHO = "/hanse/test-echo/1"
BOUNDS = Bounds(per_peer=4, in_all=8)
SOON = 10


@dataclass
class Told:
    """What listeners heard."""

    connected: list[Connection] = field(default_factory=list)
    lost: list[AuthorKey] = field(default_factory=list)

    @property
    def listeners(self) -> Listeners:
        return Listeners([self.connected.append], [self.lost.append])


class Pair(Protocol):
    def __call__(
        self,
        handler: Callable[[Stream], Awaitable[None]],
        bounds: Bounds = BOUNDS,
        told: tuple[Told, Told] | None = None,
    ) -> AbstractAsyncContextManager[tuple[Host, Host]]: ...


@asynccontextmanager
async def in_memory(
    handler: Callable[[Stream], Awaitable[None]],
    bounds: Bounds = BOUNDS,
    told: tuple[Told, Told] | None = None,
) -> AsyncIterator[tuple[Host, Host]]:
    one, other = told or (Told(), Told())
    async with MemoryNetwork() as network:
        hosts = network.host(device(0), one.listeners), network.host(device(1), other.listeners)
        hosts[0].serve(ECHO, handler, bounds)
        yield hosts


@asynccontextmanager
async def over_libp2p(
    handler: Callable[[Stream], Awaitable[None]],
    bounds: Bounds = BOUNDS,
    told: tuple[Told, Told] | None = None,
) -> AsyncIterator[tuple[Host, Host]]:
    one, other = told or (Told(), Told())
    first = LibP2PHost(seed_of(0), listeners=one.listeners)
    second = LibP2PHost(seed_of(1), listeners=other.listeners)
    first.serve(ECHO, handler, bounds)
    async with first.running([LOOPBACK]), second.running([LOOPBACK]):
        yield first, second


def device(number: int) -> AuthorKey:
    return AuthorKey(Signer.from_seed(seed_of(number)).public_key)


@pytest.fixture(params=[in_memory, over_libp2p], ids=["memory", "libp2p"])
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    return found


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def silence(stream: Stream) -> None:
    del stream
    await trio.sleep_forever()


async def read_all(stream: Stream) -> bytes:
    found = b""
    while data := await stream.read(SOON):
        found += data
    return found


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(3 * SOON):
            await main()

    trio.run(bounded)


def test_dial_tells_whose_key_answered_and_both_sides_are_connected(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo) as (seller, buyer):
            assert seller.device == device(0)
            assert not buyer.is_connected(seller.device)
            assert await buyer.dial(seller.addresses()[0]) == seller.device
            assert buyer.is_connected(seller.device)
            (out,) = buyer.connections()
            assert (out.device, out.is_outbound) == (seller.device, True)
            assert out.address == seller.addresses()[0]
            with trio.fail_after(SOON):
                while not seller.is_connected(buyer.device):
                    await trio.lowlevel.checkpoint()
            (came,) = seller.connections()
            assert (came.device, came.is_outbound) == (buyer.device, False)
            assert came.path in {Path.DIRECT, Path.LAN}

    run(main)


def test_addresses_name_their_device(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo) as (seller, _):
            assert seller.addresses()
            for address in seller.addresses():
                assert address.endswith(f"/p2p/{peer_id_text(seller.device)}")

    run(main)


def test_what_is_written_comes_back_whole_and_a_half_close_reads_as_nothing(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(seller.device, ECHO)
            assert stream.peer == seller.device
            sent = bytes(range(256)) * 2000
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_and_close, stream, sent)
                assert await read_all(stream) == sent
            assert await stream.read(SOON) == b""

    run(main)


async def write_and_close(stream: Stream, data: bytes) -> None:
    await stream.write(memoryview(data))
    await stream.close()


def test_one_read_returns_at_most_a_quarter_of_a_mebibyte(pair: Pair) -> None:
    sizes = []

    async def measure(stream: Stream) -> None:
        while data := await stream.read():
            sizes.append(len(data))

    async def main() -> None:
        async with pair(measure) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(seller.device, ECHO)
            await stream.write(bytes(1_000_000))
            await stream.close()
            assert await stream.read(SOON) == b""

    run(main)
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 262_144


def test_silence_raises_and_the_stream_can_be_read_again(pair: Pair) -> None:
    async def late(stream: Stream) -> None:
        await stream.read()
        await stream.write(b"late")

    async def main() -> None:
        async with pair(late) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(seller.device, ECHO)
            with pytest.raises(PeerSilent):
                await stream.read(0.05)
            await stream.write(b"now")
            assert await stream.read(SOON) == b"late"

    run(main)


def test_reset_ends_the_other_side(pair: Pair) -> None:
    seen = trio.Event()

    async def watch(stream: Stream) -> None:
        with pytest.raises(StreamEnded):
            await read_all(stream)
        with pytest.raises(StreamEnded):
            await stream.write(b"too late")
        seen.set()

    async def main() -> None:
        async with pair(watch) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(seller.device, ECHO)
            await stream.write(b"begin")
            await stream.reset()
            await stream.reset()
            with trio.fail_after(SOON):
                await seen.wait()

    run(main)


def test_write_after_close_is_an_end_and_not_an_accident(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(seller.device, ECHO)
            await stream.close()
            with pytest.raises(StreamEnded):
                await stream.write(b"more")

    run(main)


def test_what_a_handler_raises_costs_its_stream_and_nothing_else(pair: Pair) -> None:
    async def careless(stream: Stream) -> None:
        if await stream.read() == b"bad":
            raise StreamEnded("careless")
        await stream.write(b"good")

    async def main() -> None:
        async with pair(careless) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            bad = await buyer.open(seller.device, ECHO)
            await bad.write(b"bad")
            with pytest.raises(StreamEnded):
                await bad.read(SOON)
            good = await buyer.open(seller.device, ECHO)
            await good.write(b"fine")
            assert await good.read(SOON) == b"good"

    run(main)


def test_streams_over_the_bound_are_refused_and_the_others_go_on(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo, Bounds(per_peer=2, in_all=8)) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            kept = []
            for _ in range(2):
                stream = await buyer.open(seller.device, ECHO)
                await stream.write(b"x")
                assert await stream.read(SOON) == b"x"
                kept.append(stream)
            third = await buyer.open(seller.device, ECHO)
            with pytest.raises(StreamEnded):
                await read_all(third)
            await kept[0].write(b"y")
            assert await kept[0].read(SOON) == b"y"
            await kept[0].close()
            assert await kept[0].read(SOON) == b""
            again = await buyer.open(seller.device, ECHO)  # its place is free
            await again.write(b"z")
            assert await again.read(SOON) == b"z"

    run(main)


def test_dialling_an_address_where_another_key_answers_finds_nobody(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo) as (seller, buyer):
            place, _, _ = seller.addresses()[0].partition("/p2p/")
            with pytest.raises(NoPeer):
                await buyer.dial(f"{place}/p2p/{peer_id_text(device(7))}")
            assert not buyer.connections()

    run(main)


@pytest.mark.parametrize(
    "address", ["", "nonsense", "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1"]
)
def test_what_is_no_address_of_a_device_finds_nobody(pair: Pair, address: str) -> None:
    async def main() -> None:
        async with pair(echo) as (_, buyer):
            with pytest.raises(NoPeer):
                await buyer.dial(address)

    run(main)


def test_dialling_ourselves_finds_nobody(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo) as (_, buyer):
            with pytest.raises(NoPeer):
                await buyer.dial(buyer.addresses()[0])

    run(main)


def test_opening_to_who_is_not_connected_or_does_not_speak_it_finds_nobody(pair: Pair) -> None:
    async def main() -> None:
        async with pair(echo) as (seller, buyer):
            with pytest.raises(NoPeer):
                await buyer.open(seller.device, ECHO)
            await buyer.dial(seller.addresses()[0])
            with pytest.raises(NoPeer):
                await buyer.open(seller.device, "/hanse/unknown/1")
            assert await buyer.open(seller.device, ECHO)

    run(main)


def test_listeners_hear_of_a_peer_once_and_of_its_loss_once(pair: Pair) -> None:
    told = Told(), Told()

    async def main() -> None:
        async with pair(echo, told=told) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            assert [each.device for each in told[1].connected] == [seller.device]
            await buyer.dial(seller.addresses()[0])  # they are connected: nothing new
            assert len(told[1].connected) == 1
            await buyer.hang_up(seller.device)
            await buyer.hang_up(seller.device)
            with trio.fail_after(SOON):
                while not (told[0].lost and told[1].lost):
                    await trio.lowlevel.checkpoint()
            assert told[0].lost == [buyer.device]
            assert told[1].lost == [seller.device]
            assert not buyer.connections()
            await buyer.dial(seller.addresses()[0])
            assert len(told[1].connected) == 2

    run(main)


def test_hanging_up_ends_every_stream(pair: Pair) -> None:
    async def main() -> None:
        async with pair(silence) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(seller.device, ECHO)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(buyer.hang_up, seller.device)
                with pytest.raises(StreamEnded):
                    await stream.read(SOON)
            with pytest.raises(StreamEnded):
                await stream.write(b"gone")
            with pytest.raises(NoPeer):
                await buyer.open(seller.device, ECHO)

    run(main)


def test_who_serves_a_stream_of_a_lost_peer_is_cancelled(pair: Pair) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def wait(stream: Stream) -> None:
        del stream
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def main() -> None:
        async with pair(wait) as (seller, buyer):
            await buyer.dial(seller.addresses()[0])
            assert await buyer.open(seller.device, ECHO)
            with trio.fail_after(SOON):
                await begun.wait()
                await buyer.hang_up(seller.device)
                await ended.wait()

    run(main)


def test_both_sides_may_dial_at_once_and_are_told_once(pair: Pair) -> None:
    told = Told(), Told()

    async def main() -> None:
        async with pair(echo, told=told) as (seller, buyer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(buyer.dial, seller.addresses()[0])
                nursery.start_soon(seller.dial, buyer.addresses()[0])
            assert len(buyer.connections()) == len(seller.connections()) == 1
            assert len(told[0].connected) == len(told[1].connected) == 1

    run(main)


def test_who_is_refused_is_neither_dialled_nor_let_in() -> None:
    async def main() -> None:
        refusing = LibP2PHost(seed_of(0), gate=Gate(is_denied_device=lambda key: key == device(1)))
        refused = LibP2PHost(seed_of(1))
        async with refusing.running([LOOPBACK]), refused.running([LOOPBACK]):
            with pytest.raises(NoPeer):
                await refusing.dial(refused.addresses()[0])
            assert not refused.connections()
            with suppress(NoPeer):  # his key is known only when he has said it
                await refused.dial(refusing.addresses()[0])
            with trio.fail_after(SOON):
                while refused.is_connected(refusing.device):
                    await trio.lowlevel.checkpoint()
            assert not refusing.connections()

    run(main)
