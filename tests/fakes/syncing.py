"""Devices with a sync each: real engines, one thread, a network in memory, no time lost waiting."""

from __future__ import annotations

from contextlib import ExitStack

import trio
from trio.testing import MockClock

from hanse.core.engine.engine import Engine
from hanse.core.model.network import HeadClaim, Met, SentEntry
from hanse.core.store.peers import PeerRow
from hanse.network.ports import Listeners
from hanse.network.services.surroundings import Surroundings
from hanse.network.services.sync import SyncService
from tests.fakes.hosts import MemoryNetwork
from tests.fakes.meeting import InlineExecutor
from tests.fakes.people import PASSPHRASE, START_MS


class Device:
    """One Device with its sync."""

    def __init__(self, engine, make_host, executor=None):
        self.engine = engine
        self.events = []
        self.offences = []
        listeners = Listeners()
        self.host = make_host(engine.context.device, listeners)
        self.executor = executor or InlineExecutor()
        self.around = Surroundings(
            host=self.host,
            engine=engine,
            executor=self.executor,
            clock=engine.context.clock,
            chance=engine.context.chance,
            on_event=self.events.append,
            on_offence=lambda device, offence: self.offences.append((device, offence)),
            listeners=listeners,
        )
        self.sync = SyncService(self.around)

    @property
    def key(self):
        return self.host.device

    @property
    def address(self):
        return self.host.addresses()[0]

    def heads(self):
        with self.engine.context.store.reads() as reads:
            return {row.author: (row.head.seq, row.head.entry_id) for row in reads.feeds.all()}

    def head(self):
        return HeadClaim(self.key, *self.heads()[self.key])

    def write(self, name):
        self.engine.accounts.edit_profile(name=name)

    def take(self, *entries):
        """Take Entries in as if a Peer had sent them."""
        replicating = self.engine.replicating
        sent = [SentEntry(it.header_bytes, it.signature, it.body) for it in entries]
        return replicating.take(self.key, replicating.check(sent))

    def words(self):
        return [event.word for event in self.events]

    def view(self, other):
        self.sync._show()
        return next((it for it in self.sync.views() if it.device == other.key), None)


def opened(stack, person):
    engine = stack.enter_context(Engine.open(person.home, clock=person.clock, chance=person.chance))
    engine.accounts.unlock(PASSPHRASE)
    return engine


def know(devices):
    """Let each have a row for the others, as they have once they told their status."""
    for device in devices:
        with device.engine.context.store.unit_of_work() as uow:
            for other in devices:
                if other is not device:
                    uow.peers.put(PeerRow(other.key, (), Met.INBOUND, START_MS))
            uow.commit()


def meet(people, talk):
    """Let ``talk`` have everybody's Devices, which are on."""

    async def main():
        with trio.fail_after(100_000):
            async with MemoryNetwork() as network, trio.open_nursery() as nursery:
                devices = [Device(engine, network.host) for engine in engines]
                know(devices)
                for device in devices:
                    device.sync.serve()
                    await nursery.start(device.sync.run)
                await talk(network, *devices)
                assert not network.raised
                nursery.cancel_scope.cancel()

    with ExitStack() as stack:
        engines = [opened(stack, person) for person in people]
        trio.run(main, clock=MockClock(autojump_threshold=0))


async def agreed(*devices):
    await until(lambda: len({frozenset(it.heads().items()) for it in devices}) == 1)
    assert not [it for device in devices for it in device.offences]


def sent(*devices):
    return sum(
        device.view(other).entries_out
        for device in devices
        for other in devices
        if other is not device
    )


async def until(is_true):
    while not is_true():  # noqa: ASYNC110  a state that several services come to
        await trio.sleep(0.05)
