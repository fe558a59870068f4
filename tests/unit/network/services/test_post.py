"""The outbox carried out between whole engines on a network in memory."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import trio

from hanse.core.engine.context import MirrorSigns
from hanse.core.engine.home import Home
from hanse.core.engine.post_receiving import check_post
from hanse.core.engine.sources import accept_unchecked
from hanse.core.keystore.keystore import SeedsMissing
from hanse.core.limits import (
    MAILBOX_ITEMS_PER_SENDER_MAX,
    MAILBOX_MS_MAX,
    MAILBOX_OF_STRANGERS_DIVISOR,
    MAILBOX_OF_STRANGERS_MS_MAX,
    POST_ASKS_PER_STRANGER_MAX,
)
from hanse.core.model.delivery import RETRY_MS, DeliveryState
from hanse.core.model.network import SentEntry
from hanse.network.services.post import PostService
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.people import START_MS, Person, give
from tests.fakes.post_office import office, words

S = DeliveryState


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Anna, Bert, and a Node of Bert's that holds no seeds; she knows both, they do not know her.

    Made once: each test has copies of their folders.
    """
    base = tmp_path_factory.mktemp("town")
    anna = Person.make(base, "anna")
    bert = Person.make(base, "bert", anna.clock)
    feed = base / "bert.hanse-feed"
    with bert.open() as engine:
        engine.ledger.export(feed)
    mirror, _ = bert.restore_to(base / "mirror", feed, is_mirror=True)
    give(mirror, bert, base)
    give(bert, anna, base)
    return {"anna": anna, "bert": bert, "mirror": mirror}


@pytest.fixture
def clock():
    return FakeClock(START_MS)


@pytest.fixture
def anna(town, tmp_path, clock):
    return moved(town, "anna", tmp_path, clock)


@pytest.fixture
def bert(town, tmp_path, clock):
    return moved(town, "bert", tmp_path, clock)


@pytest.fixture
def mirror(town, tmp_path, clock):
    return moved(town, "mirror", tmp_path, clock)


def moved(town, name, tmp_path, clock):
    """Move a person's folders to where this test has them."""
    person = town[name]
    home = Home(tmp_path / name / "data", tmp_path / name / "config")
    shutil.copytree(person.home.folder, home.folder)
    shutil.copytree(person.home.config, home.config)
    return replace(person, home=home, clock=clock, chance=SeededChance(f"{name}, moved"))


def run(main):
    trio.run(main)


def message_of(stop, entry):
    return next(it.message for it in stop.views() if it.entry_id == entry.entry_id)


def knows_back(base, giver, taker):
    """Let ``taker`` hold the Feeds of ``giver``, and so not count him as a stranger."""
    give(giver, taker, base)


def test_a_private_body_reaches_its_reader_and_is_acknowledged(tmp_path, anna, bert):
    knows_back(tmp_path, anna, bert)

    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            entry = words(sender, reader)
            await sender.service.look()
            assert reader.holds(entry)
            (view,) = sender.views()
            assert (view.state, view.tries, view.next_ms) == (S.ACKNOWLEDGED, 1, None)
            assert (view.kind, view.to_name) == ("message/1", "bert")
            with reader.engine.context.store.reads() as reads:
                assert reads.private_to.may_read(entry.entry_id, reader.identity)

    run(main)


def test_a_body_whose_feed_is_missing_waits_and_is_there_once_the_headers_come(
    tmp_path, anna, bert
):
    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            entry = words(sender, reader)
            await sender.service.look()
            assert sender.state(message_of(sender, entry)) is S.ACKNOWLEDGED
            assert not reader.holds(entry)
            path = tmp_path / "headers.hanse-feed"
            sender.engine.ledger.export(path)
            with reader.engine.context.store.unit_of_work() as uow:
                assert uow.parked.get(entry.entry_id) is not None
            reader.engine.ledger.import_file(path)
            assert reader.holds(entry)

    run(main)


def test_the_body_that_waited_is_kept_when_its_header_comes_alone(anna, bert):
    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            entry = words(sender, reader)
            await sender.service.look()
            with sender.engine.context.store.reads() as reads:
                feeds = [
                    stored.entry
                    for row in reads.feeds.of_identity(sender.identity)
                    for stored in reads.feeds.entries(row.author)
                ]
            bare = [it.without_body() if it.kind == "private/1" else it for it in feeds]
            with reader.engine.context.store.unit_of_work() as uow:
                accept_all(uow, bare, anna.clock.now_ms())
                uow.commit()
            assert reader.holds(entry)

    run(main)


def accept_all(uow, entries, now_ms):
    assert not accept_unchecked(uow, entries, now_ms).refused


def test_the_same_post_again_is_acknowledged_again(tmp_path, anna, bert):
    knows_back(tmp_path, anna, bert)

    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            message = message_of(sender, words(sender, reader))
            await sender.service.look()
            for _ in range(2):
                view = sender.engine.posting.resend(message)
                assert (view.state, view.tries) == (S.QUEUED, 0)
                await sender.service.look()
                assert sender.state(message) is S.ACKNOWLEDGED
            with reader.engine.context.store.reads() as reads:
                row = reads.feeds.get(sender.device)
            assert row.head.seq == 3

    run(main)


def test_a_reader_who_is_off_is_tried_ever_more_seldom_and_when_he_connects(anna, bert):
    async def main():
        async with office() as place:
            sender = place.open(anna)
            message = message_of(sender, words(sender, bert))
            waits = []
            for wait_ms in RETRY_MS:
                await sender.service.look()
                (view,) = sender.views()
                assert view.state is S.OFFERING
                waits.append(view.next_ms - anna.clock.now_ms())
                anna.clock.advance(wait_ms)
            assert tuple(waits) == RETRY_MS
            await sender.service.look()  # an hour from now
            assert not await due_after(sender, 0)
            reader = place.open(bert)
            await reader.host.dial(sender.host.addresses()[0])
            await sender.service.look()
            assert sender.state(message) is S.ACKNOWLEDGED

    run(main)


async def due_after(sender, ms):
    sender.surroundings.clock.advance(ms)
    return sender.engine.posting.due()


def test_nothing_leaves_before_our_own_head_is_confirmed(anna, bert):
    async def main():
        async with office() as place:
            place.may_leave = lambda _: False
            sender, reader = place.open(anna), place.open(bert)
            entry = words(sender, reader)
            await sender.service.look()
            (view,) = sender.views()
            assert (view.state, view.tries) == (S.QUEUED, 0)
            place.may_leave = lambda _: True
            await sender.service.look()
            assert sender.state(message_of(sender, entry)) is S.ACKNOWLEDGED

    run(main)


def test_a_crash_between_commit_and_got_costs_one_more_try(tmp_path, anna, bert):
    knows_back(tmp_path, anna, bert)

    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            entry = words(sender, reader)
            message = message_of(sender, entry)
            take = reader.engine.posting.receiving.take

            def take_and_die(*args, **values):
                taken = take(*args, **values)
                trio.from_thread.run_sync(place.network.stop, reader.host, trio_token=token)
                return taken

            token = trio.lowlevel.current_trio_token()
            reader.engine.posting.receiving.take = take_and_die
            await sender.service.look()
            assert sender.state(message) is S.OFFERING
            place.close(reader)
            again = place.open(bert)
            assert again.holds(entry)
            anna.clock.advance(RETRY_MS[0])
            await sender.service.look()
            assert sender.state(message) is S.ACKNOWLEDGED

    run(main)


def test_a_sender_killed_between_handing_over_and_the_answer_sends_again(tmp_path, anna, bert):
    knows_back(tmp_path, anna, bert)

    async def main():
        async with office() as place:
            sender = place.open(anna)
            message = message_of(sender, words(sender, bert))
            assert sender.engine.posting.begin(message) is not None
            place.close(sender)
            sender, _ = place.open(anna), place.open(bert)
            assert sender.state(message) is S.SENT
            await sender.service.look()
            assert sender.state(message) is S.SENT  # not due yet
            anna.clock.advance(RETRY_MS[0])
            await sender.service.look()
            assert sender.state(message) is S.ACKNOWLEDGED

    run(main)


def test_a_revoked_device_of_the_reader_is_given_nothing(tmp_path, anna, bert):
    feed = tmp_path / "before.hanse-feed"
    with bert.open() as engine:
        engine.ledger.export(feed)
    rescuer, _ = bert.restore_to(tmp_path / "rescuer", feed)
    with rescuer.open() as engine:
        engine.accounts.revoke(bert.view.device, bert.phrase, reason="stolen")
    give(rescuer, anna, tmp_path)

    async def main():
        async with office() as place:
            sender, stolen = place.open(anna), place.open(bert)
            await sender.host.dial(stolen.host.addresses()[0])
            entry = words(sender, bert)
            await sender.service.look()
            assert not stolen.holds(entry)
            assert stolen.events == []
            assert sender.state(message_of(sender, entry)) is S.OFFERING

    run(main)


def test_a_mirror_opens_its_account_without_seeds_and_signs_nothing_of_its_own(mirror):
    with mirror.open() as engine:
        assert engine.context.unlocked().is_mirror
        with pytest.raises(SeedsMissing):
            _ = engine.context.unlocked().newest_seeds
        with pytest.raises(MirrorSigns):
            engine.accounts.edit_profile(name="other")
        assert [view.role for view in engine.accounts.devices()] == ["full", "mirror"]


def test_mail_for_a_reader_who_is_off_is_kept_by_his_mirror_and_collected(
    tmp_path, anna, bert, mirror
):
    knows_back(tmp_path, anna, bert)

    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(mirror)
            entry = words(sender, bert)
            message = message_of(sender, entry)
            await sender.service.look()
            (view,) = sender.views()
            assert view.state is S.HELD
            (held,) = view.held
            assert held.mailbox == node.device
            assert held.name == "new laptop"
            assert held.until_ms == anna.clock.now_ms() + MAILBOX_OF_STRANGERS_MS_MAX
            assert node.mailed() == 1
            assert not node.holds(entry)

            reader = place.open(bert)
            await reader.host.dial(node.host.addresses()[0])
            await reader.service.collect_all()
            assert reader.holds(entry)
            assert node.mailed() == 0

            anna.clock.advance(RETRY_MS[0])
            await sender.service.look()
            assert sender.state(message) is S.FETCHED

    run(main)


def test_a_sender_the_mirror_knows_has_thirty_days(tmp_path, anna, bert, mirror):
    knows_back(tmp_path, anna, mirror)

    async def main():
        async with office() as place:
            sender, _ = place.open(anna), place.open(mirror)
            words(sender, bert)
            await sender.service.look()
            (view,) = sender.views()
            assert view.held[0].until_ms == anna.clock.now_ms() + MAILBOX_MS_MAX

    run(main)


def test_what_comes_into_the_mailbox_is_pushed_to_a_device_that_is_connected(
    tmp_path, anna, bert, mirror
):
    knows_back(tmp_path, anna, bert)

    async def main():
        async with office() as place:
            sender, node, reader = place.open(anna), place.open(mirror), place.open(bert)
            await reader.host.dial(node.host.addresses()[0])
            entry = words(sender, bert)
            message = message_of(sender, entry)
            assert isinstance(sender.service, PostService)
            parcel = sender.engine.posting.begin(message)
            await sender.host.dial(node.host.addresses()[0])
            await sender.service._offer(node.device, [parcel])
            assert sender.state(message) is S.HELD
            await node.service.look()
            assert reader.holds(entry)
            await reader.service.look()  # fetches, and so confirms
            assert node.mailed() == 0

    run(main)


def test_a_mailbox_keeps_an_item_until_every_device_that_reads_has_it(tmp_path, anna, bert, mirror):
    feed = tmp_path / "both.hanse-feed"
    with bert.open() as engine:
        engine.ledger.export(feed)
    second, _ = bert.restore_to(tmp_path / "second", feed)
    for taker in (anna, bert, mirror):
        give(second, taker, tmp_path)

    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(mirror)
            words(sender, bert)
            await sender.service.look()
            for person, left in ((bert, 1), (second, 0)):
                reader = place.open(person)
                await reader.host.dial(node.host.addresses()[0])
                assert await reader.service.collect(node.device) == 1
                assert node.mailed() == left
                assert await reader.service.collect(node.device) == 0

    run(main)


def test_a_full_mailbox_takes_nothing_more_and_keeps_what_it_promised(anna, bert, mirror):
    room = MAILBOX_ITEMS_PER_SENDER_MAX // MAILBOX_OF_STRANGERS_DIVISOR

    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(mirror)
            sent = [words(sender, bert, f"{n}") for n in range(room + 2)]
            await sender.service.look()
            states = [view.state for view in sender.views()]
            assert states.count(S.HELD) == room
            assert states.count(S.OFFERING) == 2
            assert node.mailed() == room
            first = sender.engine.posting.begin(message_of(sender, sent[0]))
            assert first.promised_by == {node.device}

    run(main)


def test_a_promise_that_ran_out_is_asked_for_again(anna, bert, mirror):
    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(mirror)
            words(sender, bert)
            await sender.service.look()
            anna.clock.advance(MAILBOX_OF_STRANGERS_MS_MAX + 1)
            await sender.service.look()
            (view,) = sender.views()
            assert view.state is S.HELD
            assert view.held[0].until_ms == anna.clock.now_ms() + MAILBOX_OF_STRANGERS_MS_MAX
            assert node.mailed() == 1

    run(main)


def test_a_promise_counts_only_with_the_signature_of_the_mailbox(anna, bert, mirror):
    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(mirror)
            entry = words(sender, bert)
            message = message_of(sender, entry)
            kept = node.engine.posting.mailbox.hold(entry, bert.view.identity)
            posting = sender.engine.posting
            assert not posting.promised(message, node.device, kept.until_ms + 1, kept.sig)
            assert not posting.promised(message, sender.device, kept.until_ms, kept.sig)
            assert sender.state(message) is S.QUEUED
            assert posting.promised(message, node.device, kept.until_ms, kept.sig)
            assert sender.state(message) is S.HELD

    run(main)


def test_a_device_reads_what_its_own_mailbox_holds(tmp_path, anna, bert):
    knows_back(tmp_path, anna, bert)

    async def main():
        async with office() as place:
            sender, node = place.open(anna), place.open(bert)
            entry = words(sender, node)
            node.engine.posting.mailbox.hold(entry, node.identity)
            assert node.mailed() == 1
            await node.service.collect_all()
            assert node.holds(entry)
            assert node.mailed() == 0

    run(main)


def test_a_stranger_may_begin_so_much_a_day(anna, bert):
    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            for number in range(POST_ASKS_PER_STRANGER_MAX + 2):
                words(sender, reader, f"offer {number}")
            await sender.service.look()
            states = [view.state for view in sender.views()]
            assert states.count(S.ACKNOWLEDGED) == POST_ASKS_PER_STRANGER_MAX
            anna.clock.advance(24 * 60 * 60 * 1000)
            await sender.service.look()
            assert {view.state for view in sender.views()} == {S.ACKNOWLEDGED}

    run(main)


def test_what_is_not_for_us_is_refused(tmp_path, anna, bert):
    carl = Person.make(tmp_path, "carl", anna.clock)
    give(carl, anna, tmp_path)

    async def main():
        async with office() as place:
            sender, reader = place.open(anna), place.open(bert)
            entry = words(sender, carl)
            sent = SentEntry(entry.header_bytes, entry.signature, entry.body)
            taken = reader.engine.posting.receiving.take(check_post(sent), is_named=False)
            assert taken.code == "refused"
            with reader.engine.context.store.reads() as reads:
                assert reads.parked.count() == 0

    run(main)


def test_a_message_of_no_use_any_more_is_tried_no_more_and_can_be_sent_by_hand(anna, bert):
    async def main():
        async with office() as place:
            sender = place.open(anna)
            entry = words(sender, bert)
            message = message_of(sender, entry)
            sender.engine.posting.lapse(entry.entry_id, "expired")
            (view,) = sender.views()
            assert (view.state, view.reason, view.next_ms) == (S.FAILED, "expired", None)
            assert sender.engine.posting.begin(message) is None
            place.open(bert)
            sender.engine.posting.resend(message)
            await sender.service.look()
            (view,) = sender.views()
            assert (view.state, view.reason) == (S.ACKNOWLEDGED, None)

    run(main)


def test_the_service_runs_by_itself_until_it_is_cancelled(anna, bert):
    async def main():
        async with office() as place, trio.open_nursery() as nursery:
            sender, reader = place.open(anna), place.open(bert)
            for stop in (sender, reader):
                await nursery.start(stop.service.run)
            entry = words(sender, reader)
            sender.service.wake()
            await reader.has_event()
            assert reader.events[0][0] == "post"
            assert reader.events[0][1]["entry"] == entry.entry_id
            nursery.cancel_scope.cancel()

    run(main)
