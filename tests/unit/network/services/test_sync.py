"""Ledgers that agree: real Accounts, a session with every Peer, a network in memory."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from hanse.core.engine.ports import NoPeer
from hanse.core.model.network import HeadClaim
from hanse.network.conduct import Offence
from hanse.network.ports import Listeners
from hanse.network.services.surroundings import Surroundings
from hanse.network.services.sync import SyncService
from hanse.network.wire.sync import Phase
from tests.fakes.hosts import MemoryNetwork
from tests.fakes.meeting import InlineExecutor
from tests.fakes.people import Person, digest

NAMES = ("anna", "bo", "cleo")


class Place:
    """One Device with its sync."""

    def __init__(self, network, engine, executor=None):
        self.engine = engine
        self.events = []
        self.offences = []
        listeners = Listeners()
        self.host = network.host(engine.context.device, listeners)
        self.around = Surroundings(
            host=self.host,
            engine=engine,
            executor=executor or InlineExecutor(),
            clock=engine.context.clock,
            chance=engine.context.chance,
            on_event=self.events.append,
            on_offence=lambda device, offence: self.offences.append((device, offence)),
            listeners=listeners,
        )
        self.sync = SyncService(self.around)

    @property
    def device(self):
        return self.host.device

    def heads(self):
        with self.engine.context.store.reads() as reads:
            return {row.author: (row.head.seq, row.head.entry_id) for row in reads.feeds.all()}

    def write(self, name):
        self.engine.accounts.edit_profile(name=name)
        self.sync.announce()

    def words(self):
        return [event.word for event in self.events]


@pytest.fixture
def people(tmp_path):
    return [Person.make(tmp_path, name) for name in NAMES]


def meet(people, talk):
    """Open everybody, let ``talk`` have their places in a time that jumps, and close them."""

    async def main():
        with trio.fail_after(600):
            async with MemoryNetwork() as network, trio.open_nursery() as nursery:
                places = [Place(network, engine) for engine in engines]
                for place in places:
                    place.sync.serve()
                    await nursery.start(lambda task_status, it=place: it.sync.run(task_status=task_status))
                await talk(network, *places)
                assert not network.raised
                nursery.cancel_scope.cancel()

    with ExitStack() as stack:
        engines = [stack.enter_context(person.open()) for person in people]
        trio.run(main, clock=MockClock(autojump_threshold=0))


async def agreed(*places):
    while len({frozenset(place.heads().items()) for place in places}) > 1:
        await trio.sleep(0.05)


def test_two_accounts_agree_and_go_on_agreeing(people):
    async def talk(network, anna, bo):
        await anna.host.dial(bo.host.addresses()[0])
        await agreed(anna, bo)
        assert len(anna.heads()) == 4  # a root feed and a Device's of each
        anna.write("Anna the second")
        await agreed(anna, bo)
        assert await anna.sync.sync_now(bo.device) == {bo.device: 0}
        (view,) = [it for it in (anna.sync._show(), anna.sync.views())[1] if it.device == bo.device]
        assert view.phase is Phase.LIVE
        assert view.behind_by == 0
        assert "synced" in bo.words()
        assert not anna.offences + bo.offences

    meet(people[:2], talk)
    assert digest(people[0]) == digest(people[1])
