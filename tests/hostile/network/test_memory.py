"""What a Peer can make us hold, measured from outside: the memory of a program under attack.

One program stands all of it, one attack after the other, and must stop in good order at the end.
A bound is what the attack may cost, with room for what Python and the allocator keep for
themselves; what the attacks send is many times that.
"""

from __future__ import annotations

import hanse.network.transport  # noqa: F401  libp2p cannot be imported before it

# isort: split

import random
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import MuxedStreamError

from hanse.core.limits import (
    CONNECTION_HELD_BYTES_MAX,
    CONNECTIONS_PER_LAN_ADDRESS_MAX,
    STREAMS_PER_PEER_MAX,
)
from hanse.network.ports import StreamEnded
from hanse.network.transport import muxer
from tests.hostile.network.attacker import (
    DATA,
    MIB,
    PING,
    SOON,
    SYN,
    UPDATE,
    Victim,
    assert_serves,
    attacker,
    frame,
    until,
    victim,
)
from tests.hostile.network.victim import DEAF, GUSH, OFFERED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SLACK_BYTES = 8 * MIB


@pytest.fixture(scope="module")
def target() -> Iterator[Victim]:
    with victim() as found:
        trio.run(assert_serves, found.address)  # what is loaded late is loaded now
        yield found


def attack(target: Victim, work: Callable[[], Awaitable[None]], most_bytes: int) -> None:
    """Run an attack, look at the victim's memory all the while, and see that it serves others."""

    async def main() -> None:
        before = highest = target.held_bytes()

        async def look() -> None:
            nonlocal highest
            while True:
                highest = max(highest, target.held_bytes())
                await trio.sleep(0.005)

        with trio.fail_after(3 * SOON):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(look)
                await work()
                await assert_serves(target.address)
                nursery.cancel_scope.cancel()
        assert highest - before <= most_bytes + SLACK_BYTES, f"{(highest - before) / MIB:.1f} MiB"

    trio.run(main)


def test_sender_that_ignores_the_window_is_cut_off(target: Victim) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            stream = await peer.open(DEAF)
            piece = frame(DATA, 0, stream._muxed.stream_id, bytes(60_000))
            with suppress(ConnectionClosedError):
                for _ in range(4000):  # 240 MB
                    await peer.send(piece)
            await peer.lost()

    attack(target, work, 2 * MIB)


def test_streams_full_of_unread_data_are_bounded_together(target: Victim) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            async with trio.open_nursery() as nursery:
                for _ in range(STREAMS_PER_PEER_MAX - 4):
                    nursery.start_soon(fill_one, peer)
            await peer.lost()

    async def fill_one(peer) -> None:
        with suppress(Exception):
            stream = await peer.open(DEAF)
            await stream.write(bytes(250 * 1024))  # within its window: no rule of Yamux is broken

    attack(target, work, CONNECTION_HELD_BYTES_MAX)


def test_three_thousand_streams_are_not_begun(target: Victim) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            first = peer.muxed.next_stream_id + 1000  # what the library opens itself stays below
            with suppress(ConnectionClosedError):
                for start in range(first, first + 6000, 200):
                    ids = range(start, start + 200, 2)
                    await peer.send(*(frame(UPDATE, SYN, stream_id) for stream_id in ids))
            await peer.lost()

    attack(target, work, 3 * MIB)


def test_tiny_parts_cost_what_they_weigh(target: Victim) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            stream = await peer.open(DEAF)
            piece = frame(DATA, 0, stream._muxed.stream_id, b"x") * 5000  # 13 bytes for one
            for _ in range(20):
                await peer.send(piece)
            assert peer.is_connected

    attack(target, work, MIB)


def test_large_messages_are_not_kept_for_their_smallest_part(target: Victim) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            stream = await peer.open(DEAF)
            # One byte for a stream that is there, 60,000 for one that never was.
            piece = frame(DATA, 0, stream._muxed.stream_id, b"x") + frame(DATA, 0, 8, bytes(60_000))
            for _ in range(1000):  # 60 MB
                await peer.send(piece)
            assert peer.is_connected

    attack(target, work, MIB)


def test_frame_longer_than_any_window_is_not_waited_for(target: Victim) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            stream = await peer.open(DEAF)
            await peer.send(frame(DATA, 0, stream._muxed.stream_id, value=1 << 30))
            await peer.lost()

    attack(target, work, MIB)


@pytest.mark.parametrize("length", [1 << 30, (1 << 63) - 1])
def test_line_of_a_negotiation_longer_than_any_is_not_read(target: Victim, length: int) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            stream = await peer.muxed.open_stream()
            with suppress(MuxedStreamError):
                await stream.write(varint(length))
                for _ in range(500):  # 30 MB, within the window that is granted
                    await stream.write(bytes(60_000))
            await stream.reset()

    attack(target, work, MIB)


def test_line_of_a_negotiation_is_bounded_before_anybody_said_who_he_is(target: Victim) -> None:
    async def work() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", target.port)
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(varint(1 << 30))
                for _ in range(500):
                    await stream.send_all(bytes(60_000))

    attack(target, work, MIB)


@pytest.mark.parametrize("protocol", OFFERED, ids=[name.strip("/") for name in OFFERED])
def test_junk_costs_its_stream(target: Victim, protocol: str) -> None:
    chance = random.Random(protocol)
    junk = [varint(1 << 34) + bytes(100), b"\x00", b"\xff" * 40, varint(8)]
    junk += [varint(20) + chance.randbytes(20) for _ in range(4)]  # of the length it says

    async def work() -> None:
        async with attacker(target.address) as peer:
            for each in junk:
                stream = await peer.open(protocol)
                with suppress(StreamEnded):
                    await stream.write(each)
                    await stream.close()
                    with trio.move_on_after(0.05):
                        while await stream.read(0.05):
                            pass
                await stream.reset()

    attack(target, work, 4 * MIB)


def test_junk_instead_of_frames_ends_the_connection(target: Victim) -> None:
    async def work() -> None:
        for number in range(3):
            async with attacker(target.address) as peer:
                await peer.send(random.Random(number).randbytes(200))
                await peer.lost()

    attack(target, work, MIB)


def test_who_asks_for_much_and_reads_nothing_costs_no_more_than_the_sockets(target: Victim) -> None:
    async def work() -> None:
        async with attacker(target.address) as peer:
            streams = [await peer.open(GUSH) for _ in range(4)]
            await peer.stop_reading()
            await trio.sleep(0.3)  # it writes into the socket, and then it waits
            assert len(streams) == 4

    attack(target, work, 8 * MIB)


def test_pings_nobody_takes_the_answers_of_are_not_kept(
    target: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muxer, "STUCK_SECONDS", 0.3)  # ours: the victim stops reading, too

    async def work() -> None:
        async with attacker(target.address) as peer:
            await peer.stop_reading()
            piece = b"".join(frame(PING, SYN, 0, value=number + 1) for number in range(5000))
            with trio.move_on_after(0.5), suppress(ConnectionClosedError):
                for _ in range(200):
                    await peer.send(piece)

    attack(target, work, 4 * MIB)


def test_sockets_on_which_nobody_says_who_he_is_are_few(target: Victim) -> None:
    async def work() -> None:
        sockets = []
        try:
            # From another address than honest Peers come from: the gate counts by address.
            here, there = ("127.0.0.2", 0), ("127.0.0.1", target.port)
            for _ in range(100):
                sockets += [socket.create_connection(there, 5, source_address=here)]
            await until(lambda: len(connected(target)) <= CONNECTIONS_PER_LAN_ADDRESS_MAX)
            await assert_serves(target.address)
        finally:
            for each in sockets:
                each.close()

    attack(target, work, 4 * MIB)


def connected(target: Victim) -> list[object]:
    return [
        each
        for each in target.process.net_connections("tcp")
        if each.status == "ESTABLISHED" and each.raddr.ip == "127.0.0.2"
    ]


def varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
