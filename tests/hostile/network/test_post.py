"""Peers that mean no good, on ``/hanse/post/1``."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from hanse.core.limits import (
    POST_PER_PEER_AND_MINUTE_MAX,
    POST_STREAMS_PER_PEER_MAX,
)
from hanse.core.model.delivery import DeliveryState
from hanse.network.conduct import Offence
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.services.message_stream import MessageStream
from hanse.network.wire.post import (
    MESSAGES,
    PROTOCOL,
    Collect,
    Drop,
    Got,
    Item,
    Items,
    Post,
    Sorry,
    write,
)
from tests.fakes.people import Person, give
from tests.fakes.post_office import office, words

MALLORY = b"\x4d" * 32


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    base = tmp_path_factory.mktemp("people")
    anna = Person.make(base, "anna")
    bert = Person.make(base, "bert", anna.clock)
    give(bert, anna, base)
    return anna, bert


class Mallory:
    """A Device nobody knows, with a stream of the protocol."""

    def __init__(self, place, target):
        self.host = place.network.host(MALLORY)
        self.target = target

    async def line(self):
        await self.host.dial(self.target.host.addresses()[0])
        return MessageStream(await self.host.open(self.target.device, PROTOCOL), MESSAGES)

    async def ask(self, line, message):
        await line.send(write(message))
        framed = await line.next(10)
        return None if framed is None else framed.message


def post_of(entry, call=0, **changes):
    values = {
        "header": entry.header_bytes, "sig": entry.signature, "body": entry.body,
        "reader": None, "stamp": None,
    }  # fmt: skip
    return Post(call, **(values | changes))


async def asked_again(line, frame):
    await line.send(frame)
    return await line.next(10)


def run(main):
    trio.run(main)


def test_a_wrong_signature_or_body_is_refused_and_blamed(people):
    anna, bert = people

    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            entry = words(sender, reader)
            mallory = Mallory(place, reader)
            line = await mallory.line()
            for wrong in (
                {"sig": bytes(64)},
                {"body": entry.body + b"x"},
                {"header": b"\x00"},
                {"reader": reader.identity, "sig": bytes(64)},
            ):
                answer = await mallory.ask(line, post_of(entry, **wrong))
                assert answer == Sorry(0, "refused", 0)
            assert reader.offences == [(MALLORY, Offence.WRONG_BYTES)] * 4
            assert reader.mailed() == 0

    run(main)


def test_public_entries_do_not_come_by_post(people):
    anna, bert = people

    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            with sender.engine.context.store.reads() as reads:
                entry = reads.feeds.entry_at(sender.device, 2)
            mallory = Mallory(place, reader)
            answer = await mallory.ask(await mallory.line(), post_of(entry))
            assert answer == Sorry(0, "refused", 0)

    run(main)


def test_a_stranger_collects_and_drops_nothing(people):
    anna, bert = people

    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(bert)
            entry = words(sender, node)
            node.engine.posting.mailbox.hold(entry, node.identity)
            mallory = Mallory(place, node)
            line = await mallory.line()
            assert await mallory.ask(line, Collect(1, 0, 512)) == Sorry(1, "refused", 0)
            assert await mallory.ask(line, Drop(2, (entry.entry_id,))) == Sorry(2, "refused", 0)
            assert node.mailed() == 1
            node.engine.posting.mailbox.drop(node.device, [entry.entry_id])

    run(main)


def test_a_mailbox_serves_its_own_identity_alone(people):
    anna, bert = people

    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(bert)
            entry = words(sender, node)
            mallory = Mallory(place, node)
            answer = await mallory.ask(await mallory.line(), post_of(entry, reader=sender.identity))
            assert answer == Sorry(0, "refused", 0)
            assert node.mailed() == 0

    run(main)


def test_a_flood_of_requests_is_put_off_and_then_cut(people):
    _, bert = people

    async def main():
        async with office() as place:
            reader = place.open(bert)
            line, codes = await Mallory(place, reader).line(), []
            flood = write(Collect(0, 0, 1))
            with suppress(StreamEnded):
                while (framed := await asked_again(line, flood)) is not None:
                    codes.append(framed.message.code)
            assert codes.count("refused") == POST_PER_PEER_AND_MINUTE_MAX
            assert codes.count("busy") == POST_PER_PEER_AND_MINUTE_MAX
            assert codes[-1] == "bad_frame"
            assert set(reader.offences) == {
                (MALLORY, Offence.OVERRUN),
                (MALLORY, Offence.FRAME),
            }

    run(main)


def test_answers_nobody_asked_for_and_broken_frames_end_the_stream(people):
    _, bert = people

    async def main():
        async with office() as place:
            reader = place.open(bert)
            mallory = Mallory(place, reader)
            for raw in (
                write(Got(0, bytes(32), "got", None, None)),
                write(Items(0, (), more=False)),
                b"\xff\xff\xff\xff",
                b"\x00\x00\x00\x01\xff",
            ):
                line = await mallory.line()
                await line.send(raw)
                framed = await line.next(10)
                assert isinstance(framed.message, Sorry)
                assert await line.next(10) is None
                await line.stream.reset()
            assert reader.offences == [(MALLORY, Offence.FRAME)] * 4

    run(main)


def test_half_a_frame_for_ever_holds_no_more_than_it_announced(people):
    _, bert = people

    async def main():
        async with office() as place:
            reader = place.open(bert)
            mallory = Mallory(place, reader)
            lines = [await mallory.line() for _ in range(POST_STREAMS_PER_PEER_MAX)]
            for line in lines:
                await line.send(b"\x00\x10\x00\x00" + bytes(1000))
            third = await mallory.line()
            with pytest.raises(StreamEnded):
                await asked_again(third, write(Collect(0, 0, 1)))

    run(main)


class Liar:
    """A Device that answers post as a test says."""

    def __init__(self, place, person, answer):
        with person.open() as engine:
            self.device = engine.context.device
        self.host = place.network.host(self.device)
        self.answer = answer
        self.host.serve(PROTOCOL, self.serve, Bounds(4, 4))

    async def serve(self, stream):
        line = MessageStream(stream, MESSAGES)
        with suppress(StreamEnded):
            while (framed := await line.next(10)) is not None:
                await line.send(write(self.answer(framed.message)))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("another id", lambda post: Got(post.call, bytes(32), "got", None, None)),
        ("another call", lambda post: Got(post.call + 1, bytes(32), "got", None, None)),
        ("a promise", lambda post: Got(post.call, bytes(32), "held", 2**62, bytes(64))),
        ("a question", lambda post: post),
        ("items", lambda post: Items(post.call, (), more=False)),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_false_acknowledgement_delivers_nothing(people, name, answer):
    anna, bert = people

    async def main():
        async with office() as place:
            sender = place.open(anna)
            liar = Liar(place, bert, answer)
            await sender.host.dial(liar.host.addresses()[0])
            entry = words(sender, bert)
            await sender.service.look()
            states = {it.state for it in sender.views() if it.entry_id == entry.entry_id}
            assert states == {DeliveryState.OFFERING}, name
            assert (liar.device, Offence.FRAME) in sender.offences

    run(main)


def test_a_mailbox_that_hands_out_what_it_made_up_is_left_and_blamed(people):
    anna, bert = people

    async def main():
        async with office() as place:
            reader = place.open(bert)
            made_up = Items(0, (Item(1, b"\x00", bytes(64), b"x"),), more=True)
            liar = Liar(place, anna, lambda _: made_up)
            await reader.host.dial(liar.host.addresses()[0])
            assert await reader.service.collect(liar.device) == 0
            assert reader.offences == [(liar.device, Offence.WRONG_BYTES)]

    run(main)


def test_a_mailbox_whose_numbers_do_not_grow_is_left(people):
    anna, bert = people

    async def main():
        async with office() as place:
            reader, sender = place.open(bert), place.open(anna)
            entry = words(sender, reader)
            place.close(sender)
            item = Item(5, entry.header_bytes, entry.signature, entry.body)
            liar = Liar(place, anna, lambda asked: Items(asked.call, (item,), more=True))
            await reader.host.dial(liar.host.addresses()[0])
            assert await reader.service.collect(liar.device) == 1  # the first time it was news
            assert reader.offences == [(liar.device, Offence.FRAME)]

    run(main)
