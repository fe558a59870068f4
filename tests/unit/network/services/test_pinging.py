"""Who is silent is let go; who is slow, or speaks no ping, is not."""

from __future__ import annotations

import trio

from hanse.network.ports import Bounds
from hanse.network.services.pinging import PROTOCOL
from tests.fakes.meeting import echo, in_no_time, meeting

OTHER = bytes([9]) * 32


def connected_to(account, handler, main):
    """Run ``main`` with Anna pinging a host that serves ping by ``handler``."""

    async def run():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(OTHER)
            if handler is not None:
                other.serve(PROTOCOL, handler, Bounds(8, 8))
            await anna.host.dial(other.addresses()[0])
            await there.nursery.start(anna.pinging.run)
            await main(there, anna, other)

    in_no_time(run)


def test_who_answers_stays(account):
    asked = []

    async def counted(stream):
        asked.append(trio.current_time())
        await echo(stream)

    async def main(_there, anna, _other):
        await trio.sleep(200)
        assert anna.host.is_connected(OTHER)
        assert len(asked) == 6

    connected_to(account, counted, main)


def test_who_speaks_no_ping_stays(account):
    async def main(_there, anna, _other):
        await trio.sleep(200)
        assert anna.host.is_connected(OTHER)

    connected_to(account, None, main)


def test_who_is_silent_twice_is_gone(account):
    async def silent(_stream):
        await trio.sleep(10_000)

    async def main(_there, anna, _other):
        await trio.sleep(45)
        assert anna.host.is_connected(OTHER)
        await trio.sleep(10)
        assert not anna.host.is_connected(OTHER)
        assert anna.told("peer_silent") == [{"device": OTHER.hex()}]

    connected_to(account, silent, main)


def test_who_misses_once_stays(account):
    answers = []

    async def once_silent(stream):
        answers.append(trio.current_time())
        if len(answers) == 1:
            await trio.sleep(10_000)
        await echo(stream)

    async def main(_there, anna, _other):
        await trio.sleep(100)
        assert anna.host.is_connected(OTHER)
        assert len(answers) >= 3

    connected_to(account, once_silent, main)


def test_who_is_frozen_is_gone_within_a_minute(account):
    async def main(there, anna, other):
        there.network.freeze(other)
        await trio.sleep(60)
        assert not anna.host.is_connected(OTHER)

    connected_to(account, echo, main)
