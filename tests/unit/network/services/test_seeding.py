"""What a seeder answers to whoever asks, also to whoever does not play by the rules."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from hashlib import sha256

import pytest
import trio
import trio.lowlevel
import trio.testing

from hanse.core.artifacts.tree import hash_leaves
from hanse.core.engine.ports import PeerSilent
from hanse.core.limits import PIECE_GETS_OPEN_MAX, PIECE_SIZE_BYTES
from hanse.core.model.ids import AuthorKey
from hanse.core.model.transfer import HashLayer
from hanse.network.conduct import Offence
from hanse.network.ports import StreamEnded
from hanse.network.wire.frames import encode_frame
from hanse.network.wire.transfer import (
    PROTOCOL,
    Asking,
    Cancel,
    Get,
    Have,
    Piece,
    Ref,
    Sorry,
    WantHashes,
    WantHave,
    WantSmall,
)
from tests.fakes.hosts import MemoryNetwork
from tests.fakes.shop import body_of
from tests.fakes.transfers import Manners, Seen, seed, shelf, surroundings, until

SELLER = AuthorKey(b"s" * 32)
BUYERS = [AuthorKey(bytes([number]) * 32) for number in range(1, 9)]
SIZE = 9 * PIECE_SIZE_BYTES + 70_000


@pytest.fixture(scope="module")
def giver(tmp_path_factory):
    found = shelf(tmp_path_factory.mktemp("giver"), SIZE)
    yield found
    found.close()


@pytest.fixture(scope="module")
def ref(giver):
    """The large file as it travels."""
    sealed = body_of(giver.engine, giver.release).seal.manifests[1]
    with giver.engine.context.store.reads() as reads:
        for use in reads.objects.of_artifact(body_of(giver.engine, giver.release).artifact):
            if use.size == SIZE and giver.engine.content.pieces.has(use.root, use.size):
                return Ref(use.root, use.size)
    raise AssertionError(sealed.hex())


class Customer:
    """One stream that asks, frame by frame."""

    def __init__(self, stream):
        self.stream = stream
        self.asking = Asking()

    async def ask(self, question):
        call, frame = question(self.asking)
        await self.stream.write(frame)
        return call

    async def answers(self, count=1):
        found = []
        while len(found) < count:
            data = await self.stream.read(5)
            assert data
            found += self.asking.feed(data)
        return found

    async def one(self, question):
        await self.ask(question)
        return (await self.answers())[0]

    async def is_dropped(self):
        """Wait for the end of the stream; what comes before it does not matter."""
        with trio.fail_after(5):
            try:
                while await self.stream.read(5):
                    pass
            except StreamEnded:
                return True
        return False


@asynccontextmanager
async def a_shop(giver, *, manners=None, **how):
    """Yield a function that opens a stream for a buyer; nothing may be raised meanwhile."""
    seen = Seen()
    async with MemoryNetwork() as network:
        host = network.host(SELLER)
        service = seed(surroundings(host, giver, seen, seeding=manners), **how)

        async def come(buyer=BUYERS[0]):
            mine = network.at(host_of.get(buyer, "")) or network.host(buyer)
            host_of[buyer] = mine.addresses()[0]
            if not mine.is_connected(SELLER):
                await mine.dial(host.addresses()[0])
            return Customer(await mine.open(SELLER, PROTOCOL))

        host_of = {}
        come.seen, come.service, come.network = seen, service, network
        yield come
        assert network.raised == []


def run(giver, test, **how):
    async def main():
        with trio.fail_after(20):
            async with a_shop(giver, **how) as come:
                await test(come)

    trio.run(main)


# --- straight ----------------------------------------------------------------------------------


def test_a_manifest_comes_as_it_is_named(giver):
    names = body_of(giver.engine, giver.release).seal.manifests

    async def test(come):
        customer = await come()
        for name in names:
            answer = await customer.one(lambda a, name=name: a.want_small(name, 4 << 20))
            assert sha256(answer.tail).digest() == name

    run(giver, test)


def test_a_seeder_of_all_says_so_and_how_many_slots_are_free(giver, ref):
    async def test(come):
        answer = await (await come()).one(lambda a: a.want_have(ref))
        assert answer.reply == Have(1, None, 4)

    run(giver, test)


def test_hashes_and_pieces_fit_each_other(giver, ref):
    async def test(come):
        customer = await come()
        leaves = await customer.one(lambda a: a.want_hashes(ref, HashLayer.LEAVES, 64, 64))
        piece = await customer.one(lambda a: a.get(ref, 1))
        assert hash_leaves(piece.tail) == leaves.tail

    run(giver, test)


def test_the_rest_of_a_piece_is_behind_what_came_of_it(giver, ref):
    async def test(come):
        customer = await come()
        whole = await customer.one(lambda a: a.get(ref, 9))
        rest = await customer.one(lambda a: a.get(ref, 9, 60_000))
        assert len(whole.tail) == 70_000
        assert rest.tail == whole.tail[60_000:]

    run(giver, test)


def test_what_is_not_held_is_denied(giver, ref):
    other = Ref(b"o" * 32, ref.size)

    async def test(come):
        customer = await come()
        asked = [
            lambda a: a.want_small(b"o" * 32, 1000),
            lambda a: a.want_have(other),
            lambda a: a.want_hashes(other, HashLayer.PIECES, 0, 5),
            lambda a: a.get(other, 0),
        ]
        for question in asked:
            assert (await customer.one(question)).reply.code == "not_held"

    run(giver, test)


def test_short_answers_do_not_wait_behind_pieces(giver, ref):
    async def test(come):
        customer = await come()
        for piece in range(6):
            await customer.ask(lambda a, piece=piece: a.get(ref, piece))
        await customer.ask(lambda a: a.want_have(ref))
        answers = await customer.answers(7)
        assert isinstance(answers[-1].reply, Piece)

    run(giver, test)


def test_what_was_sent_is_counted(giver, ref):
    async def test(come):
        before = giver.engine.seeding.view().out_bytes
        await (await come()).one(lambda a: a.get(ref, 0))
        await until(lambda: giver.engine.seeding.view().out_bytes - before == PIECE_SIZE_BYTES)

    run(giver, test)


def test_who_closes_still_gets_what_it_asked_for(giver, ref):
    async def test(come):
        customer = await come()
        for piece in range(4):
            await customer.ask(lambda a, piece=piece: a.get(ref, piece))
        await customer.stream.close()
        assert len(await customer.answers(4)) == 4
        assert await customer.stream.read(5) == b""

    run(giver, test)


# --- bounds ------------------------------------------------------------------------------------


def test_what_is_held_is_said_every_ten_seconds_at_most(giver, ref):
    async def test(come):
        customer = await come()
        await customer.one(lambda a: a.want_have(ref))
        again = await customer.one(lambda a: a.want_have(ref))
        assert again.reply.code == "busy"
        assert 0 < again.reply.retry_ms <= 10_000

    run(giver, test)


def test_a_cancelled_get_is_answered_by_sorry_or_comes_whole(giver, ref):
    async def test(come):
        customer = await come()
        calls = [await customer.ask(lambda a, p=piece: a.get(ref, p)) for piece in range(8)]
        for call in calls[2:]:
            await customer.stream.write(customer.asking.cancel(call))
        assert len(await customer.answers(2)) == 2
        while customer.asking.open_gets:
            customer.asking.feed(await customer.stream.read(5))

    run(giver, test)


def test_who_has_no_slot_hears_so_at_once(giver, ref):
    async def test(come):
        first, second = await come(BUYERS[0]), await come(BUYERS[1])
        await first.one(lambda a: a.get(ref, 0))
        refused = await second.one(lambda a: a.get(ref, 0))
        assert isinstance(refused.reply, Sorry)
        assert refused.reply.code == "busy"
        assert 0 < refused.reply.retry_ms <= 30_000

    run(giver, test, slots=1)


def test_a_nearer_peer_takes_the_slot_of_a_stranger(giver, ref):
    rank = {BUYERS[0]: 3, BUYERS[1]: 3, BUYERS[2]: 1}

    async def test(come):
        customers = [await come(buyer) for buyer in BUYERS[:3]]
        got = [(await it.one(lambda a: a.get(ref, 0))).reply for it in customers]
        assert [type(it) for it in got] == [Piece, Piece, Piece]
        again = [(await it.one(lambda a: a.get(ref, 1))).reply for it in customers]
        assert sorted(type(it).__name__ for it in again[:2]) == ["Piece", "Sorry"]
        assert isinstance(again[2], Piece)

    run(giver, test, slots=2, rank=rank.__getitem__)


def test_of_a_peer_that_never_reads_two_pieces_are_held_at_most(giver, ref):
    manners = Manners(giver)

    async def test(come):
        customer = await come()
        for piece in range(PIECE_GETS_OPEN_MAX):
            await customer.ask(lambda a, piece=piece: a.get(ref, piece))
        await until(lambda: len(manners.pieces) >= 3)
        await trio.testing.wait_all_tasks_blocked(0.1)
        # Two fill the window of the stream, one is being written, one is ready.
        assert len(manners.pieces) <= 4

    run(giver, test, manners=manners)


def test_an_upload_keeps_to_its_rate(giver, ref):
    async def test(come):
        customer = await come()
        began = trio.current_time()
        for piece in range(3):
            await customer.ask(lambda a, piece=piece: a.get(ref, piece))
        await customer.answers(3)
        # One second's worth goes at once; the third MiB takes half a second.
        assert 0.4 < trio.current_time() - began < 3

    run(giver, test, upload_rate=2 << 20)


# --- against the rules -------------------------------------------------------------------------

WRONG = {
    "junk": b"\x00\x00\x00\x05hello",
    "too_long": b"\xff\xff\xff\xff",
    "empty": b"\x00\x00\x00\x00",
    "an_answer": encode_frame(Piece(1, 5)) + b"hello",
    "a_piece_behind_the_last": encode_frame(Get(1, Ref(b"r" * 32, 5), 1, 0, 1)),
    "more_than_a_piece": encode_frame(Get(1, Ref(b"r" * 32, 5), 0, 3, 3)),
    "hashes_behind_the_last": encode_frame(
        WantHashes(1, Ref(b"r" * 32, 5), HashLayer.LEAVES, 0, 2)
    ),
    "a_cancel_of_nothing": encode_frame(Cancel(7)),
    "not_canonical": b"\x00\x00\x00\x04\x82\x09\x18\x07",
    "ten_fields": b"\x00\x00\x00\x0b\x8a" + b"\x09" * 10,
}
# Wrong only while what came before is not answered.
WRONG_AT_ONCE = {
    "one_call_twice": encode_frame(WantSmall(1, b"r" * 32)) * 2,
    "nine_gets": b"".join(
        encode_frame(Get(n, Ref(b"r" * 32, 1 << 30), n, 0, 1 << 20)) for n in range(1, 10)
    ),
    "too_many_calls": b"".join(encode_frame(WantSmall(n, b"r" * 32)) for n in range(1, 40)),
}
CASES = [
    *(pytest.param(frames, 1 << 20, id=f"{name}-whole") for name, frames in WRONG.items()),
    *(pytest.param(frames, 1, id=f"{name}-bytewise") for name, frames in WRONG.items()),
    *(pytest.param(frames, 1 << 20, id=name) for name, frames in WRONG_AT_ONCE.items()),
]


@pytest.mark.parametrize(("frames", "portion"), CASES)
def test_who_breaks_a_rule_loses_the_stream_and_nothing_else(giver, ref, frames, portion):
    async def test(come):
        customer = await come()
        with trio.move_on_after(5):
            try:
                for start in range(0, len(frames), portion):
                    await customer.stream.write(frames[start : start + portion])
            except StreamEnded:
                pass
        assert await customer.is_dropped()
        assert come.seen.offences == [(BUYERS[0], Offence.FRAME)]
        answer = await (await come(BUYERS[1])).one(lambda a: a.get(ref, 9))
        assert len(answer.tail) == 70_000

    run(giver, test)


def test_cancelling_for_ever_ends_the_stream(giver, ref):
    async def test(come):
        customer = await come()
        call = await customer.ask(lambda a: a.get(ref, 0))
        with suppress(StreamEnded):
            for _ in range(100_000):
                await customer.stream.write(encode_frame(Cancel(call)))
        assert come.seen.offences == [(BUYERS[0], Offence.FRAME)]

    run(giver, test)


def test_whatever_comes_is_answered_or_an_offence(giver, ref):
    chance = random.Random(7)
    sound = [
        encode_frame(it)
        for it in (
            WantSmall(1, b"r" * 32),
            WantHave(2, ref),
            WantHashes(3, ref, HashLayer.PIECES, 0, 9),
            Get(4, ref, 2, 0, 1000),
            Cancel(4),
        )
    ]

    def spoiled():
        frame = bytearray(chance.choice(sound))
        for _ in range(chance.randrange(4)):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        return bytes(frame[: chance.choice((len(frame), chance.randrange(len(frame) + 1)))])

    async def test(come):
        for _ in range(150):
            customer = await come(chance.choice(BUYERS))
            try:
                for _ in range(3):
                    await customer.stream.write(spoiled())
                await customer.stream.close()
                while await customer.stream.read(5):
                    pass
            except (StreamEnded, PeerSilent):
                pass
        assert {offence for _, offence in come.seen.offences} == {Offence.FRAME}
        answer = await (await come()).one(lambda a: a.get(ref, 9))
        assert len(answer.tail) == 70_000

    run(giver, test)
