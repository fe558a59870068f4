"""A whole Hanse under attack: one process with all protocols, and a raw host against each.

What an attack may make it hold is measured from outside, as the growth of its memory over all of
them; afterwards somebody honest still agrees with it and fetches from it.
"""

from __future__ import annotations

import hanse.network.transport  # noqa: F401  libp2p cannot be imported before it

# isort: split

import random
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest
import trio

from hanse.core.clock import SystemClock
from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.core.ledger.kinds import Release1
from hanse.core.limits import FRAME_SIZE_BYTES_MAX, PIECE_SIZE_BYTES
from hanse.core.model.network import TransferState
from hanse.network.ports import StreamEnded
from hanse.network.wire import post, status, sync_messages, transfer, trials
from hanse.network.wire.transfer import Asking, Ref
from tests.fakes.network_process import NODE, Process
from tests.fakes.online import online
from tests.fakes.people import PASSPHRASE, Person
from tests.fakes.shop import AS_IS, body_of, manifests, plain_weights, publish
from tests.hostile.network.attacker import MIB, SOON, attacker, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.network.ports import Stream

# Minutes of silent streams.  What each protocol does with nonsense is tested beside it in
# tests/unit/network, what the host bears in test_memory.py; here they come together.
pytestmark = pytest.mark.slow

OURS = (
    status.PROTOCOL,
    sync_messages.PROTOCOL,
    transfer.PROTOCOL,
    post.PROTOCOL,
    trials.PROTOCOL,
)
THEIRS = (
    "/meshsub/1.2.0",
    "/meshsub/1.1.0",
    "/ipfs/ping/1.0.0",
    "/ipfs/id/1.0.0",
    "/ipfs/id/push/1.0.0",
    "/ipfs/kad/1.0.0",
    "/libp2p/circuit/relay/0.2.0/hop",
    "/libp2p/circuit/relay/0.2.0/stop",
)
STREAMS = 200
AT_ONCE = 20
GROWTH_BYTES_MAX = 64 * MIB  # of all attacks together; what they send is several times that
FILE_BYTES = 24 * MIB
WINDOW_BYTES = 256 * 1024  # as much is sent to a reader that reads nothing
LOST = (NoPeer, PeerSilent, StreamEnded)


@dataclass
class Shop:
    """A seller in a process of its own."""

    process: Process
    release: bytes
    refs: tuple[Ref, ...]

    @property
    def address(self) -> str:
        return self.process.addresses[0]

    def held_bytes(self) -> int:
        size: int = psutil.Process(self.process.process.pid).memory_info().rss
        return size


@dataclass
class Before:
    """How much it held before the first attack."""

    held_bytes: int


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    base = tmp_path_factory.mktemp("attacked")
    person = Person.make(base, "anna", SystemClock())
    with person.open() as engine:
        engine.accounts.confirm_phrase(person.phrase)
        files = plain_weights(base / "files", FILE_BYTES)
        release = publish(engine, files, preparation=AS_IS).release
        body = body_of(engine, release)
        assert isinstance(body, Release1)
        plain, sealed = manifests(engine, body)
    refs = tuple(Ref(root, file.size) for root, file in zip(sealed.roots, plain.files, strict=True))
    process = Process.start(person, PASSPHRASE, kind=NODE)
    try:
        yield Shop(process, release, refs)
        process.end()  # in good order, after all of it
    finally:
        if process.process.poll() is None:
            process.kill()


@pytest.fixture(scope="module")
def buyer(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person.make(tmp_path_factory.mktemp("honest"), "bert", SystemClock())


@pytest.fixture(scope="module")
def before(shop: Shop, buyer: Person) -> Before:
    """Let somebody honest be served once: what is loaded late is loaded now."""
    check_serves(shop, buyer)
    return Before(shop.held_bytes())


def check_serves(shop: Shop, buyer: Person) -> None:
    """Let somebody honest connect, agree and fetch."""
    with online(buyer) as one:
        one.network.add(shop.address).result(SOON)
        one.until(lambda: has_release(one, shop.release))
        if one.engine.fetching.ask(shop.release).state is TransferState.DONE:
            one.engine.accounts.edit_profile(about="still here")
            head = one.engine.ledger.show()[-1].entry_id.hex()
            one.until(lambda: head in shop.process.ask("heads").values())
            return
        one.network.fetch(shop.release)
        one.until(lambda: one.engine.fetching.view(shop.release).state is TransferState.DONE)


def has_release(one, release: bytes) -> bool:
    with one.engine.context.store.reads() as reads:
        return reads.listings.release(release) is not None


def nonsense(number: int, chance: random.Random) -> tuple[bytes, ...]:
    """Return what one stream says: junk, half a frame, a frame without end, a long one."""
    match number % 5:
        case 0:
            return (chance.randbytes(64),)
        case 1:
            return (struct.pack(">I", 1000) + chance.randbytes(10),)
        case 2:
            return (struct.pack(">I", 2**32 - 1) + chance.randbytes(1000),)
        case 3:
            size = FRAME_SIZE_BYTES_MAX
            return (struct.pack(">I", size) + chance.randbytes(size),)
        case _:  # as libp2p's own write their lengths, and then nonsense in protobuf
            return (b"\x80\x80\x04" + chance.randbytes(65_536),)


async def say(peer, protocol: str, number: int, chance: random.Random) -> None:
    """Open one stream, say something that is none, and half the time leave without a word."""
    with suppress(*LOST), trio.move_on_after(SOON):
        stream = await peer.open(protocol)
        for part in nonsense(number, chance):
            await stream.write(part)
        if number % 2:
            await stream.reset()
            return
        await stream.close()
        while await stream.read(0.3):
            pass


async def flood(peer, protocol: str) -> None:
    chance = random.Random(protocol)
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            if peer.is_connected:
                await say(peer, protocol, number, chance)

    async with trio.open_nursery() as nursery:
        for number in range(STREAMS):
            nursery.start_soon(one, number)


def run(main) -> None:
    async def bounded() -> None:
        with trio.fail_after(4 * SOON):
            await main()

    trio.run(bounded)


@pytest.mark.parametrize("protocol", OURS)
def test_who_talks_nonsense_is_refused(shop: Shop, before: Before, protocol: str) -> None:
    async def main() -> None:
        async with attacker(shop.address) as peer:
            while peer.is_connected:
                await flood(peer, protocol)
            with suppress(*LOST):  # it may come as far as being hung up on
                await peer.host.dial(shop.address)
            await until(lambda: not peer.is_connected)

    run(main)
    assert shop.held_bytes() - before.held_bytes < GROWTH_BYTES_MAX


@pytest.mark.parametrize("protocol", THEIRS)
def test_nonsense_in_libp2ps_own_protocols_ends_its_streams_alone(
    shop: Shop, before: Before, protocol: str
) -> None:
    async def main() -> None:
        async with attacker(shop.address) as peer:
            await flood(peer, protocol)

    run(main)
    assert shop.held_bytes() - before.held_bytes < GROWTH_BYTES_MAX
    assert shop.process.process.poll() is None


def test_who_asks_for_pieces_and_reads_none_costs_a_window(shop: Shop, before: Before) -> None:
    ref = max(shop.refs, key=lambda it: it.size)

    async def ask(stream: Stream) -> None:
        asking = Asking()
        with suppress(*LOST):
            for piece in range(8):
                await stream.write(asking.get(ref, piece)[1])

    async def main() -> None:
        async with attacker(shop.address) as peer:
            streams = [await peer.open(transfer.PROTOCOL) for _ in range(2)]
            for stream in streams:
                await ask(stream)
            await until(lambda: peer.muxed.in_bytes > WINDOW_BYTES)
            assert shop.held_bytes() - before.held_bytes < GROWTH_BYTES_MAX
            for stream in streams:
                await stream.reset()

    run(main)
    assert ref.size > 8 * PIECE_SIZE_BYTES


def test_who_never_says_hello_takes_no_place_from_others(shop: Shop, before: Before) -> None:
    async def main() -> None:
        async with attacker(shop.address) as one, attacker(shop.address) as other:
            for peer in (one, other):
                for protocol in OURS:
                    for _ in range(4):
                        with suppress(*LOST):
                            await peer.open(protocol)
            await trio.to_thread.run_sync(lambda: shop.process.ask("peers"))
            async with attacker(shop.address) as third:  # and is heard
                stream = await third.open(status.PROTOCOL)
                await stream.write(status.write_status(status.MorePeers(1, 4)))
                assert await stream.read(SOON)

    run(main)
    assert shop.held_bytes() - before.held_bytes < GROWTH_BYTES_MAX


def test_after_all_of_it_somebody_honest_is_served(
    shop: Shop, before: Before, buyer: Person
) -> None:
    check_serves(shop, buyer)
    assert shop.held_bytes() - before.held_bytes < GROWTH_BYTES_MAX
