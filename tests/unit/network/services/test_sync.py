"""Ledgers that agree: real Accounts, a session with every Peer, a network in memory.

Everything happens on one thread, in a time that jumps over every wait.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack

import pytest
import trio

from hanse.core.engine.executor import Executor, TooBusy
from hanse.core.engine.ports import NoPeer
from hanse.network.conduct import Offence
from hanse.network.ports import Listeners
from hanse.network.transport.host import LibP2PHost
from hanse.network.wire.frames import FrameReader
from hanse.network.wire.sync import Phase
from hanse.network.wire.sync_messages import (
    MESSAGES,
    PROTOCOL,
    Entries,
    Heads,
    Hello,
    InterestMap,
    Place,
    Recon,
    Row,
    Seen,
    Sorry,
    Want,
    write,
)
from tests.fakes.author import Author
from tests.fakes.hosts import LOOPBACK
from tests.fakes.people import digest
from tests.fakes.syncing import Device, agreed, know, meet, opened, sent, until


def test_two_accounts_agree_and_go_on_agreeing(people):
    async def talk(_, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        assert len(anna.heads()) == 4  # a root feed and a Device's of each
        anna.write("Anna the second")
        anna.sync.announce()
        await agreed(anna, bo)
        assert await anna.sync.sync_now(bo.key) == {bo.key: 0}
        assert await bo.sync.sync_now() == {anna.key: 0}
        view = anna.view(bo)
        assert view.phase is Phase.LIVE
        assert view.behind_by == 0
        assert view.entries_in == 3
        assert view.settled_ms is not None
        assert bo.words() == ["synced"] * len(bo.words()) != []

    meet(people[:2], talk)
    assert digest(people[0]) == digest(people[1])


def test_what_one_tells_another_reaches_the_third(people):
    async def talk(_, anna, bo, cleo):
        await anna.host.dial(bo.address)
        await cleo.host.dial(bo.address)
        await agreed(anna, bo, cleo)
        anna.write("Anna the second")
        anna.sync.announce()
        await agreed(anna, bo, cleo)

    meet(people, talk)
    assert len({digest(person) for person in people}) == 1


def test_what_is_asked_of_one_is_not_asked_of_another(people):
    async def talk(_, anna, bo, cleo):
        for near, far in ((anna, bo), (anna, cleo), (bo, cleo)):
            await near.host.dial(far.address)
        await agreed(anna, bo, cleo)
        await trio.sleep(60)
        before = sent(anna, bo, cleo)
        for n in range(20):
            anna.write(f"Anna {n}")
        anna.sync.announce()
        await agreed(anna, bo, cleo)
        await trio.sleep(60)
        assert sent(anna, bo, cleo) - before == 40

    meet(people, talk)


def test_a_lost_connection_costs_only_what_came_meanwhile(people):
    async def talk(network, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        await anna.sync.sync_now(bo.key)
        network.cut(anna.host, bo.host)
        anna.write("Anna the second")
        bo.write("Bo the second")
        await trio.sleep(1)
        assert anna.view(bo) is None
        await bo.host.dial(anna.address)
        await agreed(anna, bo)
        assert anna.view(bo).entries_in == 1

    meet(people[:2], talk)


def test_a_session_that_ends_is_opened_again(people):
    async def talk(_, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        session = bo.sync._sessions[anna.key]
        session.step(lambda: session.exchange.failed("busy", 20_000))
        started = trio.current_time()
        await until(lambda: bo.sync._sessions.get(anna.key) not in {None, session})
        assert 20 <= trio.current_time() - started < 62
        anna.write("Anna the second")
        anna.sync.announce()
        await agreed(anna, bo)

    meet(people[:2], talk)


def test_who_dial_each_other_at_once_have_one_session(people):
    async def talk(network, anna, bo):
        network.join(anna.host, bo.host)
        link = anna.host._links[bo.key]
        for told in bo.around.listeners.on_connected:  # as if both had dialled
            told(link.seen_by(anna.host).__class__(anna.key, anna.address, True, link.path, 0))
        await agreed(anna, bo)
        await trio.sleep(120)
        assert anna.view(bo).phase is bo.view(anna).phase is Phase.LIVE
        assert {anna.sync._sessions[bo.key].is_dialler, bo.sync._sessions[anna.key].is_dialler} == {
            True,
            False,
        }

    meet(people[:2], talk)


def test_a_session_of_a_day_is_begun_anew_and_reconciles(people):
    async def talk(_, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        await anna.sync.sync_now(bo.key)
        session = anna.sync._sessions[bo.key]
        for person in people[:2]:
            person.clock.advance(24 * 60 * 60 * 1000)
        await until(lambda: anna.sync._sessions.get(bo.key) not in {None, session})
        await anna.sync.sync_now(bo.key)
        with anna.engine.context.store.reads() as reads:
            assert reads.peers.get(bo.key).reconciled_ms == people[0].clock.now_ms()

    meet(people[:2], talk)


def test_a_hint_asks_for_what_nobody_told(people):
    async def talk(_, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        await bo.sync.sync_now(anna.key)
        anna.write("Anna the second")  # and no word of it
        await trio.sleep(30)
        assert anna.heads() != bo.heads()
        bo.sync.hint(anna.head())
        await agreed(anna, bo)

    meet(people[:2], talk)


def test_hints_of_one_author_count_once_in_ten_seconds(people):
    async def talk(_, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        anna.write("Anna the second")
        bo.sync.hint(anna.head())
        await agreed(anna, bo)
        await trio.sleep(1)  # bo tells anna what it holds of her, and she looks for news then
        anna.write("Anna the third")
        bo.sync.hint(anna.head())
        await trio.sleep(5)
        assert anna.heads() != bo.heads()
        await trio.sleep(6)
        bo.sync.hint(anna.head())
        await agreed(anna, bo)

    meet(people[:2], talk)


def test_a_fork_is_proved_to_everybody(people):
    author = Author("forger")
    device = author.device()
    device.append("profile/1")
    other = device.fork_at(2)
    other.append("profile/1")

    async def talk(_, anna, bo, cleo):
        anna.take(*author.root.entries, *device.entries)
        bo.take(*author.root.entries, *other.entries)
        await anna.host.dial(cleo.address)
        await bo.host.dial(cleo.address)
        everybody = (anna, bo, cleo)
        proofs = [it.engine.replicating.fork_proof for it in everybody]
        await until(lambda: all(proof(device.key) for proof in proofs))
        assert len({proof(device.key) for proof in proofs}) == 1
        assert "fork" in cleo.words()
        assert not [it for device in everybody for it in device.offences]
        await cleo.sync.sync_now()

    meet(people, talk)
    assert len({digest(person) for person in people}) == 1


def test_who_is_not_connected_cannot_be_synchronised_with(people):
    async def talk(_, anna, bo):
        with pytest.raises(NoPeer):
            await anna.sync.sync_now(bo.key)
        assert await anna.sync.sync_now() == {}

    meet(people[:2], talk)


def test_work_that_cannot_be_done_now_is_done_later(people):
    async def talk(_, anna, bo):
        bo.executor.error = TooBusy(found=1000, most=1000)
        await anna.host.dial(bo.address)
        await trio.sleep(10)
        assert len(bo.heads()) == 2
        bo.executor.error = None
        await agreed(anna, bo)

    meet(people[:2], talk)


# --- Peers that do not play by the rules ----------------------------------------------------------


class Liar:
    """A Device without an engine that says what a test likes."""

    def __init__(self, network):
        self.host = network.host(b"l" * 32, Listeners())
        self.reader = FrameReader(MESSAGES)

    async def open(self, other):
        await self.host.dial(other.address)
        self.stream = await self.host.open(other.key, PROTOCOL)
        return self

    async def say(self, *messages):
        for message in messages:
            await self.stream.write(write(message))

    async def hear(self, kind):
        while True:
            data = await self.stream.read(1000)
            assert data
            for framed in self.reader.feed(data):
                if isinstance(framed.message, kind):
                    return framed.message

    async def hello(self):
        heard = await self.hear(Hello)
        await self.say(
            Hello(
                1,
                bytes(16),
                bytes(16),
                10,
                Place(heard.store_epoch, heard.newest_n),
                None,
                InterestMap("all", "all", 65_536),
            )
        )


def test_nonsense_is_an_offence_and_ends_one_session(people):
    async def talk(network, anna, bo):
        await anna.host.dial(bo.address)
        liar = await Liar(network).open(anna)
        await liar.stream.write(b"\xff" * 100)
        await until(lambda: anna.offences)
        assert anna.offences == [(liar.host.device, Offence.FRAME)]
        anna.offences.clear()
        await agreed(anna, bo)

    meet(people[:2], talk)


def test_silence_ends_a_session_without_an_offence(people):
    async def talk(network, anna):
        liar = await Liar(network).open(anna)
        await until(lambda: liar.host.device in anna.sync._sessions)
        started = trio.current_time()
        await until(lambda: liar.host.device not in anna.sync._sessions)
        assert 30 <= trio.current_time() - started < 40
        assert not anna.offences

    meet(people[:1], talk)


def test_who_announces_what_he_never_shows_holds_nobody_up(people):
    async def talk(network, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        await anna.sync.sync_now(bo.key)
        bo.write("Bo the second")
        liar = await Liar(network).open(anna)
        await liar.hello()
        heads = bo.heads()[bo.key]
        await liar.say(Recon(()), Heads((Row(bo.key, 1, heads[0], heads[1]),), 10, more=False))
        await liar.hear(Want)
        bo.sync.announce()  # anna leaves it to the liar, for a while
        started = trio.current_time()
        await until(lambda: anna.heads()[bo.key] == heads)
        assert trio.current_time() - started < 15
        await until(lambda: liar.host.device not in anna.sync._sessions)
        assert not anna.offences

    meet(people[:2], talk)


def test_empty_answers_are_an_offence_at_last(people):
    async def talk(network, anna):
        liar = await Liar(network).open(anna)
        await liar.hello()
        await liar.say(Recon(()))
        n = 0
        said = None
        while not isinstance(said, Sorry):
            n += 1
            await liar.say(Heads((Row(bytes([n] * 32), 1, 5, bytes(32)),), n, more=True))
            want = await liar.hear(Want)
            await liar.say(Entries(want.request, (), last=True))
            said = await liar.hear((Seen, Sorry))
        assert anna.offences == [(liar.host.device, Offence.WRONG_BYTES)]

    meet(people[:1], talk)


def test_who_does_not_read_loses_the_session_alone(people):
    async def talk(network, anna, bo):
        await anna.host.dial(bo.address)
        await agreed(anna, bo)
        liar = await Liar(network).open(anna)
        await liar.hello()
        network.freeze(liar.host)
        anna.write("Anna the second")
        anna.sync.announce()
        await agreed(anna, bo)
        await until(lambda: liar.host.device not in anna.sync._sessions)
        assert not anna.offences

    meet(people[:2], talk)


def test_pages_without_end_are_slowed_down(people):
    async def talk(network, anna):
        liar = await Liar(network).open(anna)
        await liar.hello()
        own = anna.heads()
        known = tuple(Row(author, 1, seq, head) for author, (seq, head) in sorted(own.items()))
        known = tuple(row for row in known if row.author != anna.key)
        await liar.say(Recon(()))
        started = trio.current_time()
        for n in range(1, 101):
            await liar.say(Heads(known, n, more=True))
            await liar.hear(Seen)
        assert trio.current_time() - started >= 3.5  # twenty a second, after a burst

    meet(people[:1], talk)


# --- over libp2p ----------------------------------------------------------------------------------


def test_two_accounts_agree_over_real_hosts(people):
    async def main(engines, executors):
        def make_host(engine):
            seed = engine.context.unlocked().device_seed
            return lambda _key, listeners: LibP2PHost(seed, listeners=listeners)

        with trio.fail_after(60):
            devices = [
                Device(engine, make_host(engine), executor)
                for engine, executor in zip(engines, executors, strict=True)
            ]
            anna, bo = devices
            know(devices)
            async with AsyncExitStack() as stack:
                for device in devices:
                    device.sync.serve()
                    await stack.enter_async_context(device.host.running([LOOPBACK]))
                nursery = await stack.enter_async_context(trio.open_nursery())
                for device in devices:
                    await nursery.start(device.sync.run)
                await anna.host.dial(bo.address)
                await agreed(anna, bo)
                anna.write("Anna the second")
                anna.sync.announce()
                await agreed(anna, bo)
                nursery.cancel_scope.cancel()

    with ExitStack() as stack:
        engines = [opened(stack, person) for person in people[:2]]
        executors = [Executor() for _ in engines]
        for executor in executors:
            stack.callback(executor.close)
        trio.run(main, engines, executors)
