"""Provider records over real hosts."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import trio

from hanse.core.limits import DHT_KEYS_MAX
from hanse.core.model.ids import IdentityId
from hanse.network.transport.dht import Directory
from hanse.network.wire.directory_keys import content_key, feed_key
from tests.fakes.hosts import real_hosts

KEY = content_key(bytes(32))


@asynccontextmanager
async def directories(count, is_ours=lambda _peer: True, servers=2):
    made = []

    def before(number, host):
        made.append(Directory(host.inner, is_ours, is_server=number < servers))

    async with AsyncExitStack() as stack:
        hosts = await stack.enter_async_context(real_hosts(count, before))
        for directory in made:
            await stack.enter_async_context(directory.beside())
        for host in hosts[1:]:
            await host.dial(hosts[0].addresses()[0])
        for directory in made[1:]:
            await directory.met(hosts[0].device)
        yield hosts, made


def run(work):
    async def main():
        with trio.fail_after(30):
            await work()

    trio.run(main)


def test_who_has_something_is_found_through_a_third():
    async def work():
        async with directories(3, servers=1) as (hosts, (_, seller, buyer)):
            assert await seller.provide(KEY)
            ((device, addresses),) = await buyer.providers(KEY)
            assert device == hosts[1].device
            assert set(hosts[1].addresses()) <= set(addresses)

    run(work)


def test_what_nobody_has_is_not_found():
    async def work():
        async with directories(2, servers=1) as (_, (_, buyer)):
            assert await buyer.providers(content_key(b"x" * 32)) == ()

    run(work)


def test_alone_nothing_is_provided_and_nothing_found():
    async def work():
        async with directories(1) as (_, (alone,)):
            assert not await alone.provide(KEY)
            assert await alone.providers(content_key(b"x" * 32)) == ()

    run(work)


def test_only_a_hanse_enters_the_table():
    async def work():
        async with directories(2, is_ours=lambda _peer: False) as (_, made):
            assert [directory.size for directory in made] == [0, 0]

    run(work)


def test_the_keys_of_others_are_bounded():
    async def work():
        async with directories(2) as (hosts, (server, _)):
            store = server._dht.provider_store
            store.providers.update({n.to_bytes(4, "big"): {} for n in range(DHT_KEYS_MAX)})
            store.add_provider(b"new", SimpleNamespace(peer_id=hosts[1].inner.get_id(), addrs=[]))
            assert len(store.providers) == DHT_KEYS_MAX
            assert b"new" in store.providers
            assert bytes(4) not in store.providers

    run(work)


def test_keys_of_content_and_of_feeds_are_not_the_same():
    assert content_key(b"a" * 32) != feed_key(IdentityId(b"a" * 32))
    assert len(KEY) == 68
    assert KEY.startswith("1220")
