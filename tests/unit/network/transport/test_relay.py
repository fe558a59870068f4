"""Circuits over real hosts: two that know only a third speak through it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from hanse.core.engine.ports import NoPeer
from hanse.core.model.network import Path
from hanse.network.addresses import peer_id_text
from hanse.network.ports import Bounds
from hanse.network.transport.relay import Relay
from tests.fakes.hosts import real_hosts

ECHO = "/hanse/test-echo/1"


async def echo(stream):
    while data := await stream.read(10):
        await stream.write(data)


@asynccontextmanager
async def relayed(*, is_offered=True):
    made = []

    def before(number, host):
        relay = Relay(host.inner, is_offered=is_offered and number == 0)
        host.dial_relayed = relay.dial
        host.serve(ECHO, echo, Bounds(4, 8))
        made.append(relay)

    async with AsyncExitStack() as stack:
        hosts = await stack.enter_async_context(real_hosts(3, before))
        for relay in made:
            await stack.enter_async_context(relay.beside())
        for host in hosts[1:]:
            await host.dial(hosts[0].addresses()[0])
        yield hosts, made


def run(work):
    async def main():
        with trio.fail_after(40):
            await work()

    trio.run(main)


def through(hosts):
    return f"{hosts[0].addresses()[0]}/p2p-circuit/p2p/{peer_id_text(hosts[2].device)}"


def test_two_behind_a_relay_speak_through_it_and_both_know_that():
    async def work():
        async with relayed() as (hosts, (_, _, reserved)):
            middle, anna, bo = hosts
            again = await reserved.reserve(middle.device)
            assert again is not None
            assert again > 60
            assert reserved.relays() == (middle.device,)
            assert await anna.dial(through(hosts)) == bo.device
            stream = await anna.open(bo.device, ECHO)
            await stream.write(b"hello" * 20_000)
            got = b""
            while len(got) < 100_000:
                got += await stream.read(10)
            assert got == b"hello" * 20_000
            assert stream.path is Path.RELAY
            (seen,) = [it for it in anna.connections() if it.device == bo.device]
            assert (seen.path, seen.relay) == (Path.RELAY, middle.device)
            (seen,) = [it for it in bo.connections() if it.device == anna.device]
            assert seen.path is Path.RELAY

    run(work)


def test_who_reserved_nothing_is_not_reached():
    async def work():
        async with relayed() as (hosts, _):
            with pytest.raises(NoPeer):
                await hosts[1].dial(through(hosts))

    run(work)


def test_who_offers_no_relay_gives_no_reservation():
    async def work():
        async with relayed(is_offered=False) as (hosts, (_, _, asking)):
            assert await asking.reserve(hosts[0].device) is None
            assert asking.relays() == ()

    run(work)
