"""A sync that meets trouble: ours, the wire's, and too many Peers at once."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from contextlib import suppress

import pytest
import trio

from hanse.core.errors import StoreFull
from hanse.core.ledger.forks import fork_of
from hanse.core.limits import SYNC_RANGES_MAX, SYNC_SESSIONS_PULLING_FULLY_MAX, SYNC_WANTS_OPEN_MAX
from hanse.network.ports import Listeners, StreamEnded
from hanse.network.wire.frames import FrameReader
from hanse.network.wire.sync import Phase
from hanse.network.wire.sync_messages import (
    MESSAGES,
    PROTOCOL,
    Heads,
    Hello,
    InterestMap,
    Recon,
    Row,
    Want,
    write,
)
from tests.fakes.author import Author
from tests.fakes.meeting import InlineExecutor
from tests.fakes.syncing import agreed, meet, until


class SlowWriter(InlineExecutor):
    """An executor whose writer can be held up, and whose disk can be full."""

    def __init__(self):
        super().__init__()
        self.is_held = False
        self.trouble = None
        self.waiting = deque()

    def write(self, work):
        if not self.is_held:
            return self._done(work if self.trouble is None else self._refuse)
        future = Future()
        self.waiting.append((work, future))
        return future

    def _refuse(self):
        raise self.trouble

    def go_on(self):
        self.is_held = False
        while self.waiting:
            work, future = self.waiting.popleft()
            future.set_result(work())


def with_slow_writer(device):
    """Give a Device that is on another executor; its services ask for it each time."""
    device.around.executor = device.executor = SlowWriter()
    return device.executor


def test_what_is_taken_after_its_session_was_lost_is_told_all_the_same(people):
    async def talk(network, anna, bo, cleo):
        await anna.host.dial(bo.address)
        await cleo.host.dial(bo.address)
        await agreed(anna, bo, cleo)
        await cleo.sync.sync_now()
        writer = with_slow_writer(bo)
        writer.is_held = True
        anna.write("Anna the second")
        anna.sync.announce()
        await until(lambda: writer.waiting)
        network.cut(anna.host, bo.host)
        await until(lambda: bo.view(anna) is None)
        writer.go_on()
        await agreed(anna, bo, cleo)

    meet(people, talk)


def test_a_new_connection_waits_for_no_pause(people):
    async def talk(network, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        session = bo.sync._sessions[anna.key]
        session.step(lambda: session.exchange.failed("busy", 60_000))
        await until(lambda: anna.view(bo) is None)
        await trio.sleep(2)
        network.cut(anna.host, bo.host)
        await anna.host.dial(bo.address)
        started = trio.current_time()
        await until(lambda: anna.view(bo) is not None)
        assert trio.current_time() - started < 2

    meet(people[:2], talk)


def test_who_both_take_themselves_for_the_dialled_agree_after_a_while(people):
    async def talk(network, anna, bo):
        told = anna.around.listeners.on_connected
        told.remove(anna.sync._connected)
        network.join(anna.host, bo.host)  # and neither opens a session
        told.append(anna.sync._connected)
        started = trio.current_time()
        await agreed(anna, bo)
        assert trio.current_time() - started < 20
        assert bo.sync._sessions[anna.key].is_dialler

    meet(people[:2], talk)


@pytest.mark.logs
def test_a_full_disk_ends_a_session_and_is_nobodys_fault(people):
    async def talk(_, anna, bo):
        writer = with_slow_writer(bo)
        writer.trouble = StoreFull(path="/data/hanse.db")
        await anna.host.dial(bo.address)
        await until(lambda: "sync_failed" in bo.words())
        failed = next(event for event in bo.events if event.word == "sync_failed")
        assert failed.values == {"device": anna.key.hex(), "code": "store.full"}
        assert not anna.offences
        assert not bo.offences
        assert len(bo.heads()) == 2
        writer.trouble = None
        await agreed(anna, bo)

    meet(people[:2], talk)


@pytest.mark.logs
def test_what_breaks_one_session_breaks_neither_the_others_nor_the_sync(people):
    async def talk(_, anna, bo, cleo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        await trio.sleep(30)  # nothing is left to do with bo
        anna.executor.error = RuntimeError("a bug of ours")
        await anna.host.dial(cleo.address)
        await trio.sleep(10)
        assert anna.view(cleo) is None
        assert anna.view(bo).phase is Phase.LIVE
        anna.executor.error = None
        await agreed(anna, bo, cleo)

    meet(people, talk)


def test_one_peer_or_all_of_them_are_synchronised_with(people):
    async def talk(_, anna, bo, cleo):
        await anna.host.dial(bo.address)
        await anna.host.dial(cleo.address)
        assert await anna.sync.sync_now(bo.key) == {bo.key: 3}
        found = await anna.sync.sync_now()
        assert found.keys() == {bo.key, cleo.key}
        await agreed(anna, bo, cleo)

    meet(people, talk)


def test_a_peer_that_is_lost_while_it_is_waited_for_is_left_out(people):
    async def talk(network, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        network.freeze(bo.host)
        anna.write("Anna the second")
        anna.sync.announce()
        found = {}

        async def wait():
            found["all"] = await anna.sync.sync_now()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(1)
            assert not found
            network.cut(anna.host, bo.host)
        assert found == {"all": {}}

    meet(people[:2], talk)


def test_a_fork_that_gossip_brought_is_shown_to_every_peer(people):
    author = Author("forger")
    device = author.device()
    device.append("profile/1")
    other = device.fork_at(2)
    other.append("profile/1")

    async def talk(_, anna, bo, cleo):
        anna.take(*author.root.entries, *device.entries)
        await anna.host.dial(bo.address)
        await bo.host.dial(cleo.address)
        await agreed(anna, bo, cleo)
        proof = fork_of(device.entries[1], other.entries[1]).proof
        taken = bo.engine.replicating.take_fork(bo.key, proof)
        assert [it for it, _ in taken.forks] == [device.key]
        bo.sync.show_fork(device.key, proof)
        await until(lambda: anna.engine.replicating.fork_proof(device.key) == proof)

    meet(people, talk)


# --- many at once ---------------------------------------------------------------------------------


class Teller:
    """A stranger that announces long Feeds and never shows them."""

    def __init__(self, network, number):
        self.number = number
        self.host = network.host(bytes([200, number]) * 16, Listeners())
        self.reader = FrameReader(MESSAGES)
        self.wants = 0

    async def tell(self, other, feeds):
        await self.host.dial(other.address)
        stream = await self.host.open(other.key, PROTOCOL)
        hello = Hello(1, bytes(16), bytes(16), 10, None, None, InterestMap("all", "all", 65_536))
        rows = tuple(
            Row(bytes([self.number]) * 30 + n.to_bytes(2, "big"), 1, 1, bytes(32))
            for n in range(feeds)
        )
        for message in (hello, Recon(()), Heads(rows, 10, more=False)):
            await stream.write(write(message))
        with suppress(StreamEnded):
            while data := await stream.read(1000):
                self.wants += sum(isinstance(it.message, Want) for it in self.reader.feed(data))


@pytest.mark.parametrize(
    ("peers", "open_at_once"),
    [(3, SYNC_WANTS_OPEN_MAX), (SYNC_SESSIONS_PULLING_FULLY_MAX + 4, 1)],
)
def test_many_peers_at_once_are_asked_for_less_each(people, peers, open_at_once):
    async def talk(network, anna):
        tellers = [Teller(network, number) for number in range(peers)]
        async with trio.open_nursery() as nursery:
            for teller in tellers:
                nursery.start_soon(teller.tell, anna, SYNC_WANTS_OPEN_MAX * SYNC_RANGES_MAX)
            await trio.sleep(20)
            # Those that came first were asked before it was known how many would come.
            assert min(teller.wants for teller in tellers) == open_at_once
            assert max(teller.wants for teller in tellers) <= SYNC_WANTS_OPEN_MAX
            nursery.cancel_scope.cancel()

    meet(people[:1], talk)


def test_what_is_counted_of_peers_that_are_gone_is_bounded(people):
    async def talk(network, anna):
        anna.sync._entries_in.update({n.to_bytes(32, "big"): 1 for n in range(1000)})
        teller = Teller(network, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(teller.tell, anna, 0)
            await until(lambda: anna.sync._sessions)
            network.stop(teller.host)
            await until(lambda: not anna.sync._sessions)
            nursery.cancel_scope.cancel()
        assert len(anna.sync._entries_in) <= 1000
        assert teller.host.device in anna.sync._entries_in

    meet(people[:1], talk)
