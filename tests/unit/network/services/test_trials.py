"""Signed answers over a network in memory: a real buyer, a real seller, every byte on a stream."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest
import trio
import trio.lowlevel

from hanse.core.engine.executor import Executor
from hanse.core.engine.ports import NoPeer, PeerBusy, PeerRefused
from hanse.core.engine.trying.file import TrialFile, read_trial_file, write_trial_file
from hanse.core.limits import POST_ASKS_PER_STRANGER_MAX, STREAM_TAIL_SIZE_BYTES_MAX
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.trial import TrialState
from hanse.network.conduct import Offence
from hanse.network.ports import Listeners
from hanse.network.services.message_stream import MessageStream
from hanse.network.services.surroundings import Surroundings
from hanse.network.services.trials import Exchange, TrialService
from hanse.network.wire.trials import MESSAGES, PROTOCOL, Answer, Ask, Query, Sorry, Told, write
from tests.fakes.hosts import MemoryNetwork
from tests.fakes.people import give
from tests.fakes.trial_play import claimed, unplanned
from tests.fakes.trial_shop import open_market


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Anna offers signed answers, Bert may ask; one market for all tests of this module."""
    base = tmp_path_factory.mktemp("market")
    market = open_market(base, untested=True)
    market.close()
    give(market.bert, market.anna, base)
    market.restart()
    yield market
    market.close()


class Ends:
    """Both parties of a market on one network."""

    def __init__(self, network, market):
        self.network = network
        self.market = market
        self.executors = []
        self.offences = []
        self.events = []
        self.selling = self._service(market.selling, market.anna)
        self.buying = self._service(market.buying, market.bert)
        self.token = trio.lowlevel.current_trio_token()

    def _service(self, engine, person):
        executor = Executor()
        self.executors.append(executor)
        listeners = Listeners()
        host = self.network.host(engine.context.device, listeners)
        around = Surroundings(
            host=host,
            engine=engine,
            executor=executor,
            clock=person.clock,
            chance=person.chance,
            on_event=lambda event: self.events.append(event.word),
            on_offence=lambda device, offence: self.offences.append((device, offence)),
            listeners=listeners,
        )

        async def reach(identity, wanted=()):  # noqa: ARG001 - there is one
            if identity == self.market.selling.context.identity and not self.seller.is_gone:
                await self.buyer.dial(self.seller.addresses()[0])
            return [one.device for one in self.buyer.connections()]

        service = TrialService(around, reach, pace=lambda: self.market.pace)
        service.serve()
        service.host = host
        return service

    @property
    def seller(self):
        return self.selling.host

    @property
    def buyer(self):
        return self.buying.host

    def submit(self, call, *args):
        """Run a call on this thread, as the network thread does."""
        future = Future()

        async def work():
            try:
                future.set_result(await call(*args))
            except Exception as error:  # noqa: BLE001 - it is the caller's
                future.set_exception(error)

        self.token.run_sync_soon(lambda: trio.lowlevel.spawn_system_task(work))
        return future

    def peer(self):
        return self.buying.peer(self.market.selling.context.identity, self.submit)

    async def line(self):
        await self.buyer.dial(self.seller.addresses()[0])
        return MessageStream(await self.buyer.open(self.seller.device, PROTOCOL), MESSAGES)

    async def answer_to(self, message, tail=b""):
        line = await self.line()
        await line.send(write(message) + tail)
        answer = await line.next(10)
        await line.stream.reset()
        return answer

    def close(self):
        for executor in self.executors:
            executor.close()


@asynccontextmanager
async def ends(market):
    with trio.fail_after(30):
        async with MemoryNetwork() as network, trio.open_nursery() as nursery:
            both = Ends(network, market)
            await nursery.start(both.selling.run)
            try:
                yield both
            finally:
                nursery.cancel_scope.cancel()
                both.close()
        assert network.raised == []


def run(market, main):
    async def within():
        async with ends(market) as both:
            await main(both)

    trio.run(within)


def begun(market, question=None):
    buying = market.buying.trials.buying
    view = buying.start(
        market.published.release, "answers", Control(), question or unplanned(market)
    )
    return view.trial


def test_a_trial_is_asked_for_granted_and_answered_until_it_is_decided(shop):
    trial = begun(shop, claimed(shop))

    async def main(both):
        trials = shop.buying.trials
        view = await trio.to_thread.run_sync(
            lambda: trials.carry(trial, both.peer(), Control(), shop.pace)
        )
        assert view.state is TrialState.RUNNING
        assert view.over
        assert trials.verdict(trial).word == "passed"
        assert both.offences == []
        assert set(both.events) == {"trial"}

    run(shop, main)


def test_the_same_bytes_again_give_the_same_reply(shop):
    trial = begun(shop)
    buying = shop.buying.trials.buying

    async def main(both):
        peer = both.peer()
        steps = buying.outgoing(trial)
        told = await trio.to_thread.run_sync(peer.ask, steps, Control())
        assert await trio.to_thread.run_sync(peer.ask, steps, Control()) == told
        buying.take(told)
        queries = buying.next_queries(trial, 2, peer.most_bytes)
        first = await trio.to_thread.run_sync(peer.query, queries, Control())
        again = await trio.to_thread.run_sync(peer.query, queries, Control())
        assert sha256(first).digest() == sha256(again).digest()
        assert buying.take(first).answers == 2

    run(shop, main)


def test_a_connection_lost_on_the_way_is_asked_again_and_nothing_is_signed_twice(shop):
    trial = begun(shop)
    buying = shop.buying.trials.buying

    async def main(both):
        peer = both.peer()
        buying.take(await trio.to_thread.run_sync(peer.ask, buying.outgoing(trial), Control()))
        queries = buying.next_queries(trial, 3, peer.most_bytes)
        answering = shop.selling.trials.answering
        answer, replies = answering.answer, []

        def answer_and_lose(*args):
            reply = answer(*args)
            replies.append(reply)
            if len(replies) == 1:
                trio.from_thread.run_sync(
                    both.network.cut, both.buyer, both.seller, trio_token=both.token
                )
            return reply

        answering.answer = answer_and_lose
        try:
            reply = await trio.to_thread.run_sync(peer.query, queries, Control())
        finally:
            del answering.answer
        assert buying.take(reply).answers == 3
        assert [(one.answered, one.repeated) for one in replies] == [(3, 0), (0, 3)]

    run(shop, main)


def test_a_person_ends_a_call_that_takes_long(shop):
    async def main(both):
        await both.line()
        both.network.freeze(both.seller)
        control = Control()
        trio.lowlevel.spawn_system_task(cancel_soon, control)
        with pytest.raises(Cancelled):
            await trio.to_thread.run_sync(
                both.peer().ask, shop.buying.trials.buying.outgoing(begun(shop)), control
            )
        both.network.thaw(both.seller)

    run(shop, main)


async def cancel_soon(control):
    await trio.lowlevel.checkpoint()
    control.cancel()


def test_a_seller_who_cannot_be_reached_is_named(shop):
    async def main(both):
        both.network.stop(both.seller)
        with pytest.raises(NoPeer):
            await both.buying.exchange(
                shop.selling.context.identity,
                Ask,
                shop.buying.trials.buying.outgoing(begun(shop)),
                Exchange(),
            )

    run(shop, main)


def test_a_file_that_was_changed_is_refused_and_held_against_who_sent_it(shop):
    raw = bytearray(shop.buying.trials.buying.outgoing(begun(shop)))
    raw[-1] ^= 1

    async def main(both):
        answer = await both.answer_to(Query(0, len(raw)), bytes(raw))
        assert answer.message == Sorry(0, "refused", 0)
        assert both.offences == [(shop.buying.context.device, Offence.FRAME)]

    run(shop, main)


def test_a_trial_the_seller_has_never_seen_is_not_held(shop):
    raw = write_trial_file(TrialFile(shop.buying.context.identity, b"?" * 32))

    async def main(both):
        answer = await both.answer_to(Query(3, len(raw)), raw)
        assert answer.message == Sorry(3, "not_held", 0)
        assert both.offences == []

    run(shop, main)


def test_sixteen_mebibytes_of_zeros_are_refused_and_cost_nothing_more(shop):
    async def main(both):
        size = STREAM_TAIL_SIZE_BYTES_MAX
        answer = await both.answer_to(Ask(7, size), bytes(size))
        assert answer.message == Sorry(7, "refused", 0)
        assert both.offences == [(shop.buying.context.device, Offence.FRAME)]

    run(shop, main)


def test_a_longer_tail_is_refused_before_it_is_sent(shop):
    async def main(both):
        with pytest.raises(PeerRefused):
            both.peer().ask(bytes(STREAM_TAIL_SIZE_BYTES_MAX + 1), Control())
        line = await both.line()
        frame = bytearray(write(Ask(0, STREAM_TAIL_SIZE_BYTES_MAX)))
        frame[-1] |= 1  # one byte more than a tail may have
        await line.send(bytes(frame))
        answer = await line.next(10)
        assert answer.message == Sorry(0, "bad_frame", 0)

    run(shop, main)


def test_an_answer_nobody_asked_for_ends_the_stream(shop):
    async def main(both):
        for message in (Told(0, 1), Answer(0, 1)):
            answer = await both.answer_to(message, b"x")
            assert answer.message == Sorry(0, "bad_frame", 0)

    run(shop, main)


def test_one_buyer_is_answered_one_call_at_a_time(shop):
    trial = begun(shop)
    raw = shop.buying.trials.buying.outgoing(trial)
    answering = shop.selling.trials.answering
    answer, may_go_on, is_begun = answering.answer, threading.Event(), threading.Event()

    def answer_later(*args):
        is_begun.set()
        may_go_on.wait()
        return answer(*args)

    async def main(both):
        answering.answer = answer_later
        try:
            first = await both.line()
            await first.send(write(Ask(1, len(raw))) + raw)
            await trio.to_thread.run_sync(is_begun.wait)
            second = await both.answer_to(Ask(2, len(raw)), raw)
            assert isinstance(second.message, Sorry)
            assert (second.message.call, second.message.code) == (2, "busy")
            with pytest.raises(PeerBusy):
                await both.buying.exchange(shop.selling.context.identity, Ask, raw, Exchange())
        finally:
            may_go_on.set()
            del answering.answer
        framed = await first.next(10)
        assert isinstance(framed.message, Told)

    run(shop, main)


def test_a_buyer_who_leaves_ends_what_is_answered_for_him(shop):
    trial = begun(shop)
    raw = shop.buying.trials.buying.outgoing(trial)
    answering = shop.selling.trials.answering
    is_begun, ended = threading.Event(), []

    def answer_for_ever(_raw, control, _pace):
        is_begun.set()
        try:
            while True:
                control.checkpoint("answer", 0, 1)
        except Cancelled:
            ended.append(True)
            raise

    async def within():
        async with MemoryNetwork() as network:
            async with trio.open_nursery() as nursery:
                both = Ends(network, shop)
                await nursery.start(both.selling.run)
                answering.answer = answer_for_ever
                line = await both.line()
                await line.send(write(Ask(1, len(raw))) + raw)
                await trio.to_thread.run_sync(is_begun.wait)
                nursery.cancel_scope.cancel()  # the network stops
            both.close()

    try:
        with_deadline(within)
    finally:
        del answering.answer
    assert ended == [True]


def with_deadline(main):
    async def within():
        with trio.fail_after(20):
            await main()

    trio.run(within)


def test_a_stranger_may_ask_for_so_many_trials_a_day(shop):
    receiving = shop.selling.posting.receiving
    device = b"\x07" * 32  # of nobody who is known here
    for number in range(POST_ASKS_PER_STRANGER_MAX):
        assert receiving.admit_ask(device, bytes([number]) * 32) is None
    over = receiving.admit_ask(device, b"\xff" * 32)
    assert (over.code, over.retry_ms > 0) == ("quota", True)
    assert receiving.admit_ask(shop.buying.context.device, b"\xff" * 32) is None


def test_queries_are_split_to_fit_what_carries_them(shop):
    trial = begun(shop)
    buying = shop.buying.trials.buying

    async def main(both):
        peer = both.peer()
        buying.take(await trio.to_thread.run_sync(peer.ask, buying.outgoing(trial), Control()))
        assert peer.most_bytes == STREAM_TAIL_SIZE_BYTES_MAX
        whole = buying.next_queries(trial, 10, peer.most_bytes)
        assert len(read_trial_file(whole).messages) == 10
        half = buying.next_queries(trial, 10, len(whole) // 2)
        assert 1 < len(read_trial_file(half).messages) < 10
        assert len(half) <= len(whole) // 2
        assert len(read_trial_file(buying.next_queries(trial, 10, 1)).messages) == 1

    run(shop, main)
