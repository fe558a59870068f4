"""Hints by gossip: of our own Head in good time, of others to the sync, of Forks to everybody."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack

import pytest
import trio

from hanse.core.engine.executor import TooBusy
from hanse.core.ledger.forks import fork_of
from hanse.core.model.network import HeadClaim, SentEntry
from hanse.network.services.hints import HintService
from hanse.network.wire.hints import FORKS_TOPIC, HEADS_TOPIC, read_hint, write_hint
from tests.fakes.author import Author
from tests.fakes.hosts import MemoryNetwork
from tests.fakes.meeting import in_no_time
from tests.fakes.syncing import Device, opened


class Mesh:
    """A mesh of one: what is published is kept, what is put in is heard."""

    def __init__(self):
        self.published = []
        self._waiting = deque()
        self._arrived = trio.Event()

    async def publish(self, topic, data):
        await trio.lowlevel.checkpoint()
        self.published.append((topic, data))

    async def heard(self):
        while not self._waiting:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()

    def say(self, topic, data):
        self._waiting.append((topic, data))
        self._arrived.set()


class Gossip:
    """The hints of one Device that is on."""

    def __init__(self, device, clock):
        self.device = device
        self.clock = clock
        self.mesh = Mesh()
        self.heads = []
        self.forks = []
        self.service = HintService(device.around, lambda: self.mesh, self.heads.append)
        self.service.on_fork = lambda author, proof: self.forks.append((author, proof))

    def told(self):
        return [read_hint(data).seq for topic, data in self.mesh.published if topic == HEADS_TOPIC]

    async def sleep(self, seconds):
        """Let time pass by both clocks."""
        await trio.sleep(seconds)
        self.clock.advance(round(seconds * 1000))


@pytest.fixture
def anna(people):
    with ExitStack() as stack:
        yield opened(stack, people[0]), people[0].clock


def gossiping(anna, talk):
    """Let ``talk`` have the hints of an Account that is on."""
    engine, clock = anna

    async def main():
        async with MemoryNetwork() as network, trio.open_nursery() as nursery:
            gossip = Gossip(Device(engine, network.host), clock)
            await nursery.start(gossip.service.run)
            await talk(gossip)
            nursery.cancel_scope.cancel()

    in_no_time(main)


def forker():
    """Return an Author, and two branches of its Device's Feed."""
    author = Author("forker")
    device = author.device()
    device.append("profile/1")
    other = device.fork_at(2)
    other.append("profile/1")
    return author, device, other


def hint_of(entry):
    return write_hint(SentEntry(entry.header_bytes, entry.signature, None))


def test_our_newest_head_is_told_at_once_and_again_in_its_time(anna):
    async def talk(gossip):
        device = gossip.device
        device.engine.replicating.confirm_by_hand()
        gossip.service.announce()
        await gossip.sleep(1)
        first = device.head().seq
        assert gossip.told() == [first]
        for name in ("Anna the second", "Anna the third"):
            device.write(name)
            gossip.service.announce()
            await gossip.sleep(5)
        assert gossip.told() == [first]
        await gossip.sleep(20)
        assert gossip.told() == [first, first + 2]

    gossiping(anna, talk)


def test_the_same_head_is_told_once(anna):
    async def talk(gossip):
        gossip.device.engine.replicating.confirm_by_hand()
        for _ in range(3):
            gossip.service.announce()
            await gossip.sleep(40)
        assert len(gossip.told()) == 1

    gossiping(anna, talk)


def test_nothing_of_ours_is_told_before_somebody_confirmed_our_feed(anna):
    async def talk(gossip):
        gossip.service.announce()
        await gossip.sleep(60)
        assert gossip.mesh.published == []
        gossip.device.engine.replicating.confirm_by_hand()
        gossip.service.announce()
        await gossip.sleep(1)
        assert len(gossip.told()) == 1

    gossiping(anna, talk)


def test_a_store_that_is_busy_costs_time_and_no_hint(anna):
    async def talk(gossip):
        gossip.device.engine.replicating.confirm_by_hand()
        gossip.device.executor.error = TooBusy(found=1000, most=1000)
        gossip.service.announce()
        gossip.mesh.say(FORKS_TOPIC, b"not even looked at")
        await gossip.sleep(25)
        assert gossip.mesh.published == []
        gossip.device.executor.error = None
        await gossip.sleep(15)
        assert len(gossip.told()) == 1

    gossiping(anna, talk)


def test_a_hint_of_somebody_else_is_handed_to_the_sync(anna):
    _, device, _ = forker()
    newest = device.entries[-1]

    async def talk(gossip):
        engine = gossip.device.engine
        engine.replicating.confirm_by_hand()
        gossip.mesh.say(HEADS_TOPIC, hint_of(newest))
        gossip.mesh.say(HEADS_TOPIC, write_hint(engine.replicating.own_hint()))
        await gossip.sleep(1)
        assert gossip.heads == [HeadClaim(device.key, newest.seq, newest.entry_id)]

    gossiping(anna, talk)


def test_a_fork_is_kept_and_told_once(anna):
    author, device, other = forker()
    proof = fork_of(device.entries[-1], other.entries[-1]).proof

    async def talk(gossip):
        gossip.device.take(*author.root.entries, *device.entries)
        for _ in range(2):
            gossip.mesh.say(FORKS_TOPIC, proof)
        await gossip.sleep(1)
        assert gossip.device.engine.replicating.fork_proof(device.key) == proof
        assert gossip.forks == [(device.key, proof)]

    gossiping(anna, talk)


def test_forks_the_sync_found_are_told_in_their_order_and_bounded(anna):
    async def talk(gossip):
        for number in range(300):
            gossip.service.tell_fork(gossip.device.key, b"%d" % number)
        await gossip.sleep(1)
        assert gossip.mesh.published == [(FORKS_TOPIC, b"%d" % n) for n in range(44, 300)]

    gossiping(anna, talk)


def test_what_is_news_is_said_by_form_signature_and_time(anna):
    _, device, other = forker()
    first, second = device.entries
    forged = bytearray(hint_of(second))
    forged[-1] ^= 1
    proof = fork_of(second, other.entries[-1]).proof

    async def talk(gossip):
        is_news = gossip.service.is_news
        assert not is_news(HEADS_TOPIC, b"\xff" * 40)
        assert not is_news(HEADS_TOPIC, bytes(forged))
        assert not is_news(FORKS_TOPIC, bytes(reversed(proof)))
        assert is_news(HEADS_TOPIC, hint_of(first))
        assert not is_news(HEADS_TOPIC, hint_of(second))  # too soon
        await gossip.sleep(11)
        assert is_news(HEADS_TOPIC, hint_of(second))
        await gossip.sleep(11)
        assert not is_news(HEADS_TOPIC, hint_of(first))  # older
        assert is_news(FORKS_TOPIC, proof)  # whatever its author hinted at
        assert not is_news(FORKS_TOPIC, proof)

    gossiping(anna, talk)
