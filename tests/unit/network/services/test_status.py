"""Greeting on a network in memory: what both sides learn, and what hostile ones achieve."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from hanse.core.engine.executor import TooBusy
from hanse.core.engine.peering import Heard
from hanse.core.engine.ports import NoPeer, PeerBusy, PeerRefused, PeerSilent
from hanse.core.ledger.codec import encode
from hanse.core.model.addresses import parse_address, peer_id_text
from hanse.core.model.network import Met
from hanse.network.conduct import Offence
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.services.status import AGAIN_MS, MORE_PEERS_MS, _believed
from hanse.network.wire.frames import FrameReader, ProtocolViolation
from hanse.network.wire.status import (
    ANSWERS,
    PROTOCOL,
    About,
    Hello,
    MorePeers,
    PeerLine,
    PeerLines,
    Sorry,
    write_status,
)
from tests.fakes.meeting import PROGRAM, in_no_time, meeting

STRANGER = bytes([9]) * 32


def framed(value):
    raw = encode(value)
    return len(raw).to_bytes(4, "big") + raw


def about(**values):
    usual = {
        "v": 1,
        "program": "other/2",
        "roles": ("node",),
        "identity": bytes([7]) * 32,
        "observed": None,
        "time_ms": 1_700_000_000_000,
        "peers": 3,
    }
    return About(**usual | values)


async def ask(host, device, *frames):
    """Ask as a program does that knows the wire alone; return the answers."""
    stream = await host.open(device, PROTOCOL)
    reader, found = FrameReader(ANSWERS), []
    for frame in frames:
        await stream.write(frame)
    await stream.close()
    while data := await stream.read(30):
        found += [it.message for it in reader.feed(data)]
    return found


def answering(host, *frames, seen=None):
    """Let a host answer every call with the same bytes."""

    async def handler(stream):
        data = await stream.read(10)
        if seen is not None:
            seen.append(data)
        for frame in frames:
            await stream.write(frame)
        await stream.close()

    host.serve(PROTOCOL, handler, Bounds(per_peer=8, in_all=8))


def test_both_sides_learn_who_the_other_is(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"), roles=("node", "seeder"))
            bert = there.place(account("bert"))
            greeted = []
            anna.status.on_greeted.append(greeted.append)
            await bert.host.dial(anna.address)
            view = await bert.status.hello(anna.device, Met.LAN)
            assert (view.device, view.program, view.met) == (anna.device, PROGRAM, Met.LAN)
            assert view.roles == ("node", "seeder")
            assert view.identity == anna.engine.context.identity
            assert not view.is_proven
            assert view.addresses == (anna.address,)
            assert view.answered_ms == bert.engine.context.clock.now_ms()
            back = anna.engine.peering.view(bert.device)
            assert (back.met, back.answered_ms, back.is_kept) == (Met.INBOUND, None, False)
            assert greeted == [back]
            assert anna.status.is_hanse(bert.device)
            assert bert.status.greeted(anna.device) == view

    in_no_time(main)


def test_a_peer_says_where_it_may_be_dialled(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            bert = there.place(account("bert"))
            await there.begin(bert)
            await trio.sleep(1)
            await bert.host.dial(anna.address)
            await bert.status.hello(anna.device)
            assert anna.engine.peering.view(bert.device).addresses == (bert.address,)

    in_no_time(main)


def test_another_program_may_ask_knowing_the_specification_alone(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"), roles=("node",))
            other = there.network.host(STRANGER, address="/ip4/203.0.113.9/tcp/7")
            await other.dial(anna.address)
            plain = {
                "v": 1,
                "program": "js",
                "roles": ["node", "of_tomorrow"],
                "identity": None,
                "observed": anna.address.partition("/p2p/")[0],
                "time_ms": anna.engine.context.clock.now_ms(),
                "peers": 0,
            }
            (found,) = await ask(other, anna.device, framed([1, 41, plain]))
            assert (found.call, found.about.v, found.about.roles) == (41, 1, ("node",))
            assert found.about.observed == "/ip4/203.0.113.9/tcp/7"
            assert found.about.identity == anna.engine.context.identity
            view = anna.engine.peering.view(STRANGER)
            assert (view.program, view.roles, view.identity) == ("js", ("node",), None)

    in_no_time(main)


def test_whom_we_dialled_is_greeted_again_every_five_minutes(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            await there.begin(anna)
            await anna.host.dial(bert.address)
            await trio.sleep(20)
            assert bert.status.is_hanse(anna.device)
            bert.engine.peering.forget(anna.device)
            await trio.sleep(AGAIN_MS / 1000 + 20)
            assert bert.engine.peering.view(anna.device).program == PROGRAM

    in_no_time(main)


def test_another_version_is_told_and_not_blamed(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            answering(other, write_status(Hello(1, about(v=2))))
            await other.dial(anna.address)
            frames = [write_status(Hello(5, about(v=2))), write_status(MorePeers(6, 1))]
            assert await ask(other, anna.device, *frames) == [Sorry(5, "version", 0)]
            with pytest.raises(PeerRefused) as caught:
                await anna.status.hello(STRANGER)
            assert caught.value.values["reason"] == "version"
            assert anna.blaming.penalty_milli(STRANGER) == 0
            assert not anna.status.is_hanse(STRANGER)

    in_no_time(main)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        framed([1, 1, {"v": "one"}]),
        framed([3, 1, []]),
        write_status(Hello(1, about())) + b"\x00\x00",
    ],
    ids=["empty", "huge", "shape", "answer", "cut"],
)
def test_a_broken_question_costs_its_stream_and_a_penalty(account, frame):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            await other.dial(anna.address)
            found = []
            with suppress(StreamEnded):  # what was said before the reset may be lost
                found = await ask(other, anna.device, frame)
            assert all(isinstance(it, Hello | Sorry) for it in found)
            await trio.sleep(1)
            assert anna.blaming.penalty_milli(STRANGER) == Offence.FRAME.value
            assert other.is_connected(anna.device)
            assert len(await ask(other, anna.device, write_status(Hello(1, about())))) == 1

    in_no_time(main)


def test_a_silent_asker_is_let_go(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            await other.dial(anna.address)
            stream = await other.open(anna.device, PROTOCOL)
            begun = trio.current_time()
            with pytest.raises(StreamEnded):
                await stream.read()
            assert trio.current_time() - begun < 12

    in_no_time(main)


def test_many_calls_on_one_stream_come_to_an_end(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            await other.dial(anna.address)
            with pytest.raises(StreamEnded):
                await ask(other, anna.device, *[write_status(Hello(1, about()))] * 100)

    in_no_time(main)


@pytest.mark.parametrize(
    ("frames", "error", "penalty"),
    [
        ((), NoPeer, 0),
        ((b"\x00\x00\x00\x01\xff",), ProtocolViolation, Offence.FRAME.value),
        ((write_status(Hello(77, about())),), ProtocolViolation, Offence.FRAME.value),
        ((write_status(PeerLines(1, ())),), ProtocolViolation, Offence.FRAME.value),
        ((write_status(Sorry(1, "busy", 5)),), PeerBusy, 0),
        ((write_status(Sorry(1, "no_idea", 5)),), PeerRefused, 0),
    ],
    ids=["nothing", "junk", "other call", "other answer", "busy", "refused"],
)
def test_a_wrong_answer_is_an_error_of_that_peer(account, frames, error, penalty):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            answering(other, *frames)
            await anna.host.dial(other.addresses()[0])
            with pytest.raises(error):
                await anna.status.hello(STRANGER)
            assert anna.blaming.penalty_milli(STRANGER) == penalty
            assert anna.engine.peering.views() == ()

    in_no_time(main)


def test_a_peer_that_does_not_answer_in_time_is_silent(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)

            async def sleep(_stream):
                await trio.sleep(1000)

            other.serve(PROTOCOL, sleep, Bounds(8, 8))
            await anna.host.dial(other.addresses()[0])
            begun = trio.current_time()
            with pytest.raises(PeerSilent):
                await anna.status.hello(STRANGER)
            assert trio.current_time() - begun <= 10

    in_no_time(main)


def test_a_clock_that_is_off_is_told_once_an_hour(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            await other.dial(anna.address)
            now_ms = anna.engine.context.clock.now_ms()
            for off_ms in (-601_000, 601_000, 599_000):
                await trio.sleep(20)
                hello = Hello(1, about(time_ms=now_ms + off_ms))
                await ask(other, anna.device, write_status(hello))
            (told,) = anna.told("clock_off")
            assert told == {"device": STRANGER.hex(), "off_seconds": -601}

    in_no_time(main)


def test_a_peer_that_greets_all_the_time_is_written_down_now_and_then(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            await other.dial(anna.address)
            for number in range(5):
                hello = Hello(number, about(program=f"other/{number}"))
                (found,) = await ask(other, anna.device, write_status(hello))
                assert found.call == number
            assert anna.engine.peering.view(STRANGER).program == "other/0"

    in_no_time(main)


def test_when_too_much_waits_the_asker_is_answered_all_the_same(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(STRANGER)
            await other.dial(anna.address)
            anna.surroundings.executor.error = TooBusy(found=9, most=9)
            frames = [write_status(Hello(1, about())), write_status(MorePeers(2, 5))]
            hello, sorry = await ask(other, anna.device, *frames)
            assert isinstance(hello, Hello)
            assert (sorry.code, sorry.retry_ms) == ("busy", MORE_PEERS_MS)
            assert anna.engine.peering.views() == ()

    in_no_time(main)


# --- exchange ------------------------------------------------------------------------------------


def test_nodes_are_passed_on_once_in_ten_minutes(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            node = bytes([3]) * 32
            place = parse_address("/ip4/203.0.113.3/tcp/3").of(node)
            anna.engine.peering.heard(
                Heard(device=node, met=Met.KEPT, roles=("node",), dialled=place)
            )
            await bert.host.dial(anna.address)
            assert await bert.status.more_peers(anna.device) == (PeerLine(node, (place.text,), 0),)
            assert await bert.status.more_peers(anna.device) == ()
            # Who asks all the same is told when to come again.
            (sorry,) = await ask(bert.host, anna.device, write_status(MorePeers(1, 32)))
            assert (sorry.code, 0 < sorry.retry_ms <= MORE_PEERS_MS) == ("busy", True)
            await trio.sleep(MORE_PEERS_MS / 1000)
            assert len(await bert.status.more_peers(anna.device)) == 1

    in_no_time(main)


# --- how we are reached --------------------------------------------------------------------------


def test_two_peers_that_dialled_us_show_that_we_answer_from_outside(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            others = [there.place(account(name)) for name in ("bert", "carl")]
            await there.begin(anna)
            for other in others:
                assert anna.status.open_places() == ()
                await other.host.dial(anna.address)
                await other.status.hello(anna.device)
            (found,) = anna.status.open_places()
            assert (found.place.place, found.told) == (anna.address.partition("/p2p/")[0], 2)
            await trio.sleep(6)
            (own,) = anna.engine.peering.own_places()
            assert own.told == 2
            assert anna.told("own_places")[-1]["places"] == [
                {"address": own.address, "told": own.told}
            ]

    in_no_time(main)


def test_a_peer_names_no_place_nearer_than_itself():
    ends = f"/p2p/{peer_id_text(STRANGER)}"
    texts = (
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/192.168.1.1/tcp/1",
        "/ip4/203.0.113.1/tcp/1",
        f"/ip4/203.0.113.2/tcp/1{ends}",
        f"/ip4/203.0.113.3/tcp/1/p2p/{peer_id_text(bytes(32))}",
        f"/ip4/203.0.113.4/tcp/1{ends}/p2p-circuit",
        "/dns4/localhost/tcp/1",
        "junk",
    )
    expected = {
        "/ip4/203.0.113.9/tcp/9": ["203.0.113.1", "203.0.113.2"],
        "/ip4/192.168.1.9/tcp/9": ["192.168.1.1", "203.0.113.1", "203.0.113.2"],
        "/ip4/127.0.0.1/tcp/9": ["127.0.0.1", "192.168.1.1", "203.0.113.1", "203.0.113.2"],
    }
    for teller, hosts in expected.items():
        found = _believed(STRANGER, texts, parse_address(teller))
        assert [it.host for it in found] == hosts
        assert {it.device for it in found} == {STRANGER}
    assert [it.host for it in _believed(STRANGER, texts, None)] == ["203.0.113.1", "203.0.113.2"]
