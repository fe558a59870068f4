"""What a wire in memory can do that a real one does, too."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.core.model.ids import AuthorKey
from hanse.core.model.network import Path
from hanse.network.ports import Bounds, Listeners, Stream, StreamEnded
from tests.fakes.hosts import MemoryNetwork

ECHO = "/hanse/test-echo/1"
SELLER, BUYER, RELAY = (AuthorKey(bytes([number]) * 32) for number in (1, 2, 3))


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


def run(main) -> None:
    """Run ``main`` with a clock that jumps to what is waited for."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_frozen_host_is_silent_and_goes_on_where_it_was() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            seller, buyer = network.host(SELLER), network.host(BUYER)
            seller.serve(ECHO, echo, Bounds(2, 8))
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(SELLER, ECHO)
            network.freeze(seller)
            with pytest.raises(PeerSilent):
                await buyer.open(SELLER, ECHO)
            with pytest.raises(PeerSilent):
                await stream.read(60)
            network.thaw(seller)
            await stream.write(b"awake")
            assert await stream.read(1) == b"awake"

    run(main)


def test_writer_to_a_frozen_host_is_told_and_its_stream_is_lost() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            seller, buyer = network.host(SELLER), network.host(BUYER)
            seller.serve(ECHO, echo, Bounds(2, 8))
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(SELLER, ECHO)
            network.freeze(seller)
            with pytest.raises(PeerSilent):
                await stream.write(b"x")
            with pytest.raises(StreamEnded):
                await stream.read()

    run(main)


def test_host_that_is_stopped_is_lost_and_found_under_the_same_key() -> None:
    lost: list[AuthorKey] = []

    async def main() -> None:
        async with MemoryNetwork() as network:
            seller = network.host(SELLER)
            buyer = network.host(BUYER, Listeners(on_lost=[lost.append]))
            await buyer.dial(seller.addresses()[0])
            network.stop(seller)
            assert lost == [SELLER]
            with pytest.raises(NoPeer):
                await buyer.dial(seller.addresses()[0])
            again = network.host(SELLER)
            assert await buyer.dial(again.addresses()[0]) == SELLER

    run(main)


def test_connection_over_a_relay_says_so() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            seller, buyer = network.host(SELLER), network.host(BUYER)
            network.join(buyer, seller, RELAY)
            (seen,) = buyer.connections()
            assert (seen.path, seen.relay) == (Path.RELAY, RELAY)

    run(main)


def test_what_handlers_raise_is_kept_for_the_test() -> None:
    async def fail(stream: Stream) -> None:
        del stream
        raise ValueError("a bug")

    async def main() -> None:
        async with MemoryNetwork() as network:
            seller, buyer = network.host(SELLER), network.host(BUYER)
            seller.serve(ECHO, fail, Bounds(2, 8))
            await buyer.dial(seller.addresses()[0])
            stream = await buyer.open(SELLER, ECHO)
            with pytest.raises(StreamEnded):
                await stream.read(1)
            assert [str(error) for error in network.raised] == ["a bug"]

    run(main)
