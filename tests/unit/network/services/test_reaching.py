"""Devices that are needed now: those known, those the DHT names, and what is said to it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio

from hanse.core.engine.executor import TooBusy
from hanse.core.model.network import Met
from hanse.core.store.peers import PeerRow
from hanse.network.services.reaching import PROVIDE_SECONDS, Reaching
from hanse.network.wire.directory_keys import feed_key
from tests.fakes.hosts import MemoryNetwork
from tests.fakes.meeting import in_no_time
from tests.fakes.people import START_MS, give
from tests.fakes.syncing import Device, opened


class Records:
    """A directory in memory; ``takes`` says whether anybody keeps what is provided."""

    def __init__(self):
        self.found = {}
        self.asked = []
        self.provided = []
        self.takes = True

    async def provide(self, key):
        await trio.lowlevel.checkpoint()
        self.provided.append(key)
        return self.takes

    async def providers(self, key):
        await trio.lowlevel.checkpoint()
        self.asked.append(key)
        return self.found.get(key, [])


@pytest.fixture
def engines(people, tmp_path):
    """Open anna, who holds bo's Feeds, and bo."""
    anna, bo, _ = people
    give(bo, anna, tmp_path)
    with ExitStack() as stack:
        yield [opened(stack, person) for person in (anna, bo)]


def reaching(engines, talk, *, has_directory=True):
    """Let ``talk`` have both Devices, the directory and what reaches on anna's behalf."""

    async def main():
        async with MemoryNetwork() as network:
            anna, bo = (Device(engine, network.host) for engine in engines)
            records = Records() if has_directory else None
            await talk(anna, bo, records, Reaching(anna.around, records))

    in_no_time(main)


def identity(device):
    return device.engine.context.identity


def remember(device, other, *addresses):
    with device.engine.context.store.unit_of_work() as uow:
        uow.peers.put(PeerRow(other.key, addresses, Met.INBOUND, START_MS))
        uow.commit()


def test_who_is_connected_is_found_without_asking(engines):
    async def talk(anna, bo, records, it):
        await anna.host.dial(bo.address)
        assert list(await it.reach(identity(bo))) == [bo.key]
        assert records.asked == []

    reaching(engines, talk)


def test_who_is_known_is_dialled_address_after_address(engines):
    async def talk(anna, bo, records, it):
        nobody = bo.address.replace("198.51.100", "203.0.113")
        remember(anna, bo, nobody, bo.address)
        assert list(await it.reach(identity(bo))) == [bo.key]
        assert records.asked == []

    reaching(engines, talk)


def test_who_moved_is_found_by_the_directory(engines):
    async def talk(_, bo, records, it):
        records.found[feed_key(identity(bo))] = [(bo.key, [bo.address])]
        assert list(await it.reach(identity(bo))) == [bo.key]

    reaching(engines, talk)


def test_who_is_wanted_is_dialled_though_another_device_is_there(engines):
    async def talk(anna, bo, records, it):
        remember(anna, bo, bo.address)
        assert list(await it.reach(identity(bo), [bo.key, bytes(32)])) == [bo.key]
        assert records.asked == []

    reaching(engines, talk)


@pytest.mark.parametrize("has_directory", [True, False])
def test_who_is_nowhere_is_not_found(engines, has_directory):
    async def talk(_, bo, _records, it):
        assert list(await it.reach(identity(bo))) == []
        assert list(await it.reach(bytes(32))) == []

    reaching(engines, talk, has_directory=has_directory)


def test_an_address_that_lies_finds_nobody(engines):
    async def talk(anna, bo, records, it):
        records.found[feed_key(identity(bo))] = [(bo.key, ["/ip4/198.51.100.1", "nonsense", ""])]
        assert list(await it.reach(identity(bo))) == []
        assert not anna.host.connections()

    reaching(engines, talk)


def test_our_own_devices_are_looked_for(engines):
    async def talk(anna, bo, records, it):
        records.found[feed_key(identity(anna))] = [(bo.key, [bo.address])]
        found = []
        await it.look(lambda addresses, met: found.append((addresses, met)))
        assert found == [([bo.address], Met.DHT)]

    reaching(engines, talk)


def test_what_is_held_is_said_twice_a_day_and_soon_again_when_nobody_took_it(engines):
    async def talk(anna, _bo, records, it):
        own = feed_key(identity(anna))
        async with trio.open_nursery() as nursery:
            records.takes = False
            await nursery.start(it.run)
            await trio.sleep(200)
            assert records.provided == [own] * 3
            anna.executor.error = TooBusy(found=1000, most=1000)
            await trio.sleep(200)
            assert len(records.provided) == 3
            anna.executor.error = None
            records.takes = True
            await trio.sleep(200)
            assert len(records.provided) == 4
            await trio.sleep(PROVIDE_SECONDS)
            assert len(records.provided) == 5
            nursery.cancel_scope.cancel()

    reaching(engines, talk)


def test_without_a_directory_nothing_is_said(engines):
    async def talk(_anna, _bo, _records, it):
        assert await it.provide() is False

    reaching(engines, talk, has_directory=False)
