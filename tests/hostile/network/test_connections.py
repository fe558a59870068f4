"""Peers that connect as they should not, and connections that are not what they seem."""

from __future__ import annotations

import hanse.network.transport  # noqa: F401  libp2p cannot be imported before it

# isort: split

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest
import trio
from libp2p import new_host
from libp2p.crypto import ed25519
from libp2p.custom_types import TProtocol
from libp2p.network.exceptions import SwarmException
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from hanse.core.engine.ports import NoPeer, PeerSilent, PortTaken
from hanse.core.limits import CONNECTIONS_PER_PEER_MAX
from hanse.network.addresses import parse_address
from hanse.network.ports import Bounds, Listeners, StreamEnded
from hanse.network.transport import muxer
from hanse.network.transport.gate import Gate
from hanse.network.transport.host import LibP2PHost
from hanse.network.transport.muxer import Pace
from tests.fakes.hosts import LOOPBACK, real_hosts, seed_of
from tests.hostile.network.attacker import DATA, SOON, UPDATE, attacker, frame, until, victim
from tests.hostile.network.victim import DEAF, ECHO, GUSH, serve

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey

BRISK = Pace(every_seconds=0.1, patience_seconds=0.5)


def run(main) -> None:
    async def bounded() -> None:
        with trio.fail_after(3 * SOON):
            await main()

    trio.run(bounded)


def test_plaintext_client_is_refused() -> None:
    async def main() -> None:
        keys = ed25519.create_new_key_pair(seed_of(5))
        plain = new_host(
            key_pair=keys,
            sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(keys)},
            muxer_opt={TProtocol(YAMUX_ID): Yamux},
        )
        plain.get_network().retry_config.max_retries = 0
        async with real_hosts(1, lambda _, host: serve(host)) as (host,), plain.run([]):
            with pytest.raises(Exception, match="unable to connect"):
                await plain.connect(info_from_p2p_addr(Multiaddr(host.addresses()[0])))
            assert not host.connections()
            await plain.close()

    run(main)


def test_gate_turns_away_who_comes_too_often_from_one_address() -> None:
    async def main() -> None:
        gate = Gate(per_lan_address=3)
        host = LibP2PHost(seed_of(0), gate=gate)
        async with host.running([LOOPBACK]), real_hosts(5) as (_, *others):  # the first is ours
            for other in others[:3]:
                await other.dial(host.addresses()[0])
            assert gate.inside == 3
            with pytest.raises(NoPeer):
                await others[3].dial(host.addresses()[0])
            assert gate.refused >= 1
            await others[0].hang_up(host.device)
            await until(lambda: gate.inside == 2)
            assert await others[3].dial(host.addresses()[0]) == host.device

    run(main)


def test_socket_on_which_nobody_says_who_he_is_is_freed() -> None:
    async def main() -> None:
        gate = Gate(per_lan_address=4)
        host = LibP2PHost(seed_of(0), gate=gate, upgrade_seconds=0.2)
        async with host.running([LOOPBACK]):
            port = parse_address(host.addresses()[0]).port
            sockets = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(8)]
            await until(lambda: gate.refused == 4)
            await until(lambda: gate.inside == 0)
            for each in sockets:
                await each.aclose()

    run(main)


def test_place_of_a_connection_that_ended_is_free_again() -> None:
    async def main() -> None:
        gate = Gate(connections=8)  # libp2p alone would serve eight inbound ones in its whole life
        host = LibP2PHost(seed_of(0), gate=gate)
        async with host.running([LOOPBACK]):
            for _ in range(20):
                async with attacker(host.addresses()[0]):
                    pass
                await until(lambda: gate.inside == 0)
            assert gate.refused == 0

    run(main)


def test_strangers_cannot_take_all_places() -> None:
    async def main() -> None:
        host = LibP2PHost(seed_of(0), gate=Gate(connections=8))
        async with host.running([LOOPBACK]), real_hosts(10) as (_, *others):
            for other in others[:7]:
                await other.dial(host.addresses()[0])
            with pytest.raises(NoPeer):
                await others[7].dial(host.addresses()[0])
            assert await host.dial(others[7].addresses()[0]) == others[7].device
            assert len(host.connections()) == 8
            with pytest.raises(NoPeer):  # eight is all
                await host.dial(others[8].addresses()[0])

    run(main)


def test_library_dials_nobody_whom_the_gate_refuses() -> None:
    async def main() -> None:
        gate = Gate(is_denied_address=lambda host: host == "127.0.0.1")
        caller = LibP2PHost(seed_of(1), gate=gate)
        async with real_hosts(1) as (host,), caller.running([]):
            whom = info_from_p2p_addr(Multiaddr(host.addresses()[0]))
            with pytest.raises(SwarmException, match="gate"):
                await caller.inner.connect(whom)
            await caller.inner.get_network().auto_connector.maybe_connect()
            assert not host.connections()

    run(main)


def test_one_peer_has_two_connections_at_most() -> None:
    async def main() -> None:
        lost: list[AuthorKey] = []
        host = LibP2PHost(seed_of(0), listeners=Listeners(on_lost=[lost.append]))
        serve(host)
        async with host.running([LOOPBACK]), attacker(host.addresses()[0]) as peer:
            place = parse_address(host.addresses()[0])
            for _ in range(4):
                await peer.host.inner.get_network().dial_addr(
                    Multiaddr(place.text), peer.muxed.peer_id
                )
            await until(lambda: len(host._peers[peer.host.device]) <= CONNECTIONS_PER_PEER_MAX)
            await until(lambda: host.gate.inside <= CONNECTIONS_PER_PEER_MAX)
            assert not lost
            stream = await peer.open(ECHO)
            await stream.write(b"still here")
            assert await stream.read(SOON) == b"still here"

    run(main)


def test_peer_that_is_cut_off_is_named() -> None:
    async def main() -> None:
        named: list[AuthorKey] = []
        host = LibP2PHost(seed_of(0), on_overrun=named.append)
        serve(host)
        async with host.running([LOOPBACK]), attacker(host.addresses()[0]) as peer:
            stream = await peer.open(DEAF)
            await peer.send(frame(DATA, 0, stream._muxed.stream_id, value=1 << 30))
            await peer.lost()
            await until(lambda: bool(named))
            assert named == [peer.host.device]

    run(main)


@pytest.mark.parametrize("streams", [1, 4])
def test_honest_fast_sender_is_never_cut_off_whatever_the_reader_does(streams: int) -> None:
    named: list[AuthorKey] = []
    piece, pieces, pauses = bytes(256 * 1024), 48, 4
    got = []

    async def dawdle(stream) -> None:
        size = 0
        for _ in range(pauses):  # the window is full, and then it is read at once
            await trio.sleep(0.05)
            for _ in range(10):
                size += len(await stream.read())
        while data := await stream.read():
            size += len(data)
        got.append(size)

    async def main() -> None:
        host = LibP2PHost(seed_of(0), on_overrun=named.append)
        host.serve("/hanse/test-dawdle/1", dawdle, Bounds(per_peer=8, in_all=8))
        async with host.running([LOOPBACK]), attacker(host.addresses()[0]) as peer:

            async def send() -> None:
                stream = await peer.open("/hanse/test-dawdle/1")
                for _ in range(pieces):
                    await stream.write(piece)
                await stream.close()
                assert await stream.read(SOON) == b""

            async with trio.open_nursery() as nursery:
                for _ in range(streams):
                    nursery.start_soon(send)

    run(main)
    assert got == [len(piece) * pieces] * streams
    assert not named


def test_writer_is_told_when_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muxer, "WRITE_SECONDS", 0.1)

    async def main() -> None:
        async with real_hosts(2, lambda _, host: serve(host)) as (host, other):
            await other.dial(host.addresses()[0])
            stream = await other.open(host.device, DEAF)
            with pytest.raises(PeerSilent):
                await stream.write(bytes(1 << 20))
            with pytest.raises(StreamEnded):  # it was reset: a part of it is of no use
                await stream.read(SOON)

    run(main)


def test_peer_whose_machine_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muxer, "STUCK_SECONDS", 0.2)
    ended = trio.Event()

    async def gush(stream) -> None:
        try:
            while True:
                await stream.write(bytes(1 << 20))
        except StreamEnded:
            ended.set()

    async def main() -> None:
        host = LibP2PHost(seed_of(0))
        host.serve(GUSH, gush, Bounds(per_peer=8, in_all=8))
        async with host.running([LOOPBACK]), attacker(host.addresses()[0]) as peer:
            stream = await peer.open(GUSH)
            await peer.stop_reading()
            # A window nobody has: the victim believes it, and writes until the socket is full.
            await peer.send(frame(UPDATE, 0, stream._muxed.stream_id, value=1 << 30))
            with trio.fail_after(SOON):
                await ended.wait()
            await until(lambda: not host.connections())

    run(main)


def test_cancelled_call_does_not_break_the_connection_for_others() -> None:
    async def main() -> None:
        async with real_hosts(2, lambda _, host: serve(host)) as (host, other):
            await other.dial(host.addresses()[0])
            kept = await other.open(host.device, ECHO)
            for _ in range(20):
                gushing = await other.open(host.device, GUSH)
                deaf = await other.open(host.device, DEAF)
                with trio.move_on_after(0.003):
                    while await gushing.read():
                        pass
                with trio.move_on_after(0.003):
                    await deaf.write(bytes(1 << 22))
                await gushing.reset()
                await deaf.reset()
            await kept.write(b"whole")
            assert await kept.read(SOON) == b"whole"
            assert other.is_connected(host.device)

    run(main)


def test_read_that_is_cancelled_loses_nothing() -> None:
    sent = bytes(range(256)) * 8192  # 2 MiB

    async def give(stream) -> None:
        for start in range(0, len(sent), 1000):
            await stream.write(sent[start : start + 1000])

    async def main() -> None:
        host = LibP2PHost(seed_of(0))
        host.serve("/hanse/test-give/1", give, Bounds(per_peer=1, in_all=1))
        async with host.running([LOOPBACK]), attacker(host.addresses()[0]) as peer:
            stream = await peer.open("/hanse/test-give/1")
            got, pauses = bytearray(), 0
            while len(got) < len(sent):
                try:
                    part = await stream.read(0.0002)
                except PeerSilent:
                    pauses += 1
                    continue
                assert part
                got += part
            assert bytes(got) == sent

    run(main)


def test_second_host_on_one_port_is_told_so() -> None:
    async def main() -> None:
        async with real_hosts(1) as (host,):
            port = parse_address(host.addresses()[0]).port
            for listen in (f"/ip4/127.0.0.1/tcp/{port}", f"/ip4/0.0.0.0/tcp/{port}"):
                with pytest.raises(PortTaken) as caught:
                    async with LibP2PHost(seed_of(1)).running([listen]):
                        pass
                assert caught.value.values == {"port": port}

    run(main)


def test_port_of_another_program_is_not_shared() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        async def main() -> None:
            with pytest.raises(PortTaken):  # bound, and it does not even listen
                async with LibP2PHost(seed_of(1)).running([f"/ip4/127.0.0.1/tcp/{port}"]):
                    pass

        run(main)


def test_who_was_not_there_is_found_as_soon_as_he_is() -> None:
    async def main() -> None:
        async with real_hosts(1) as (host,):
            address = host.addresses()[0]
        caller = LibP2PHost(seed_of(1))
        async with caller.running([LOOPBACK]):
            for _ in range(2):
                with trio.fail_after(2), pytest.raises(NoPeer):
                    await caller.dial(address)
            port = parse_address(address).port
            again = LibP2PHost(seed_of(0))
            async with again.running([f"/ip4/127.0.0.1/tcp/{port}"]):
                with trio.fail_after(2):
                    assert await caller.dial(address) == again.device

    run(main)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP there")
def test_frozen_peer_is_lost_and_found_again() -> None:
    with victim() as target:

        async def main() -> None:
            lost = trio.Event()
            host = LibP2PHost(
                seed_of(0), pace=BRISK, listeners=Listeners(on_lost=[lambda _: lost.set()])
            )
            async with host.running([LOOPBACK]):
                await host.dial(target.address)
                stream = await host.open(target.device, ECHO)
                os.kill(target.process.pid, signal.SIGSTOP)
                try:
                    with trio.fail_after(SOON):
                        with pytest.raises(StreamEnded):
                            await stream.read()  # without any number: the pings end it
                        await lost.wait()
                    assert not host.connections()
                finally:
                    os.kill(target.process.pid, signal.SIGCONT)
                await host.dial(target.address)
                stream = await host.open(target.device, ECHO)
                await stream.write(b"again")
                assert await stream.read(SOON) == b"again"

        run(main)


def test_peer_that_answers_is_not_lost_however_often_it_is_asked() -> None:
    async def main() -> None:
        lost: list[AuthorKey] = []
        one = LibP2PHost(
            seed_of(0),
            pace=Pace(every_seconds=0.01, patience_seconds=1),
            listeners=Listeners(on_lost=[lost.append]),
        )
        serve(one)
        async with one.running([LOOPBACK]), attacker(one.addresses()[0]) as peer:
            muxed = one._peers[peer.host.device][0].muxed
            await until(lambda: muxed._ping_id > 10)
            assert muxed.rtt() > 0
            assert not lost

    run(main)
