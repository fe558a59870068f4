"""Gossip over real hosts: what is published is heard once, and what raises hurts nobody."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import trio

from hanse.network.transport.gossip import Gossip
from tests.fakes.hosts import real_hosts

TOPIC = "hanse/heads/1"


@asynccontextmanager
async def meshed(count, is_news=lambda _topic, _data: True):
    made = []

    def before(_number, host):
        made.append(Gossip(host.inner, [TOPIC], is_news))

    async with AsyncExitStack() as stack:
        hosts = await stack.enter_async_context(real_hosts(count, before))
        for gossip in made:
            await stack.enter_async_context(gossip.beside())
        async with trio.open_nursery() as nursery:
            for gossip in made:
                await nursery.start(gossip.run)
            for host in hosts[1:]:
                await host.dial(hosts[0].addresses()[0])
            for host in hosts[1:]:
                await made[0]._pubsub.wait_for_subscription(host.inner.get_id(), TOPIC)
            for gossip in made[1:]:
                await gossip._pubsub.wait_for_subscription(hosts[0].inner.get_id(), TOPIC)
            yield made
            nursery.cancel_scope.cancel()


def run(work):
    async def main():
        with trio.fail_after(30):
            await work()

    trio.run(main)


def test_a_hint_reaches_those_who_are_not_connected_to_its_author():
    async def work():
        async with meshed(3) as (hub, anna, bo):
            await anna.publish(TOPIC, b"news")
            assert await bo.heard() == (TOPIC, b"news")
            assert await hub.heard() == (TOPIC, b"news")

    run(work)


def test_what_is_no_news_is_not_passed_on():
    async def work():
        async with meshed(3, lambda _topic, data: data != b"old") as (_, anna, bo):
            await anna.publish(TOPIC, b"old")
            await anna.publish(TOPIC, b"new")
            assert await bo.heard() == (TOPIC, b"new")

    run(work)


def test_a_judge_that_raises_ends_nothing():
    def judge(_topic, data):
        if data == b"bad":
            raise RuntimeError
        return True

    async def work():
        async with meshed(2, judge) as (anna, bo):
            await anna.publish(TOPIC, b"bad")
            await bo.publish(TOPIC, b"good")
            assert await anna.heard() == (TOPIC, b"good")

    run(work)


def test_nothing_is_published_after_the_end():
    async def work():
        async with meshed(2) as (anna, _):
            pass
        await anna.publish(TOPIC, b"late")
        assert not anna._heard

    run(work)
