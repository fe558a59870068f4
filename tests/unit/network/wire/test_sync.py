"""A session of the sync between two sides without a store: both agree, whatever the portions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.engine.replication.values import HeadsPage, HeadsRow
from hanse.core.limits import (
    SYNC_BATCH_ENTRIES_MAX,
    SYNC_DELIVERIES_OPEN_MAX,
    SYNC_HEARD_MAX,
    SYNC_OPEN_BYTES_MAX,
)
from hanse.core.model.network import Cursor, HeadClaim, SentEntry
from hanse.network.wire.frames import FrameReader
from hanse.network.wire.sync import Phase
from hanse.network.wire.sync_actions import (
    Close,
    Ending,
    KeepCursor,
    Send,
    Take,
    TakeBodies,
)
from hanse.network.wire.sync_messages import MESSAGES, Entries, ForkShown, Heads, Recon, Seen, Want
from hanse.network.wire.sync_telling import Telling
from tests.fakes.sync_pair import MemoryLedger, Pair, entry, id_of, key


@pytest.fixture
def anna():
    ledger = MemoryLedger("anna")
    ledger.write(ledger.device, 3)
    return ledger


@pytest.fixture
def bo():
    ledger = MemoryLedger("bo")
    ledger.write(ledger.device, 2)
    return ledger


def messages(side, kind):
    reader = FrameReader(MESSAGES)
    read = [framed.message for frame in side.frames for framed in reader.feed(frame)]
    return [message for message in read if isinstance(message, kind)]


def agreed(pair):
    assert pair.dialler.ledger.heads() == pair.dialled.ledger.heads()
    for side in (pair.dialler, pair.dialled):
        assert side.closed is None
        assert not side.blamed
        assert side.exchange.phase is Phase.LIVE
        assert side.exchange.is_settled
        assert side.exchange.behind_by == 0
        assert side.exchange.waiting_for is None
    return True


@pytest.mark.parametrize("portion", [1, 7, 262_144])
def test_strangers_agree(anna, bo, portion):
    anna.write("x", 30)
    bo.write("y", 5)
    assert agreed(Pair(anna, bo).run(portion))
    assert anna.reconciled == [Cursor(bo.epoch, 7)]
    assert bo.reconciled == [Cursor(anna.epoch, 33)]


def test_who_was_there_before_goes_on_from_its_cursor(anna, bo):
    Pair(anna, bo).run()
    anna.write("x", 4)
    bo.write(bo.device, 2)
    pair = Pair(anna, bo).run()
    assert agreed(pair)
    assert not messages(pair.dialler, Recon)
    assert len(bo.reconciled) == 1


def test_another_epoch_reconciles(anna, bo):
    Pair(anna, bo).run()
    anna.epoch = bytes(16)
    anna.write("x", 4)
    pair = Pair(anna, bo).run()
    assert agreed(pair)
    assert messages(pair.dialler, Recon)


def test_a_cursor_beyond_all_arrivals_reconciles(anna, bo):
    Pair(anna, bo).run()
    bo.cursors[anna.device] = Cursor(anna.epoch, 2**63 - 1)
    pair = Pair(anna, bo).run()
    assert agreed(pair)
    assert messages(pair.dialler, Recon)


def test_what_comes_later_is_told_at_once(anna, bo):
    pair = Pair(anna, bo).run()
    anna.write(anna.device, 2)
    pair.dialler.add(pair.dialler.exchange.news())
    assert agreed(pair.run())
    assert bo.cursors[anna.device] == Cursor(anna.epoch, 7)  # both of bo's, too


def test_a_page_waits_until_the_last_one_was_seen(anna, bo):
    pair = Pair(anna, bo).run()
    for _ in range(5):
        anna.write("x")
        pair.dialler.add(pair.dialler.exchange.news())
        pair.dialler.work()
    told = messages(pair.dialler, Heads)
    assert agreed(pair.run())
    assert len(messages(pair.dialler, Heads)) == len(told) + 1


def test_what_one_was_told_is_not_told_back(anna, bo):
    pair = Pair(anna, bo).run()
    anna.write("x", 3)
    pair.dialler.add(pair.dialler.exchange.news())
    pair.run()
    pair.dialled.add(pair.dialled.exchange.news())
    pair.run()
    assert all(
        key("x") not in {row.author for row in it.rows} for it in messages(pair.dialled, Heads)
    )
    assert anna.cursors[bo.device] == Cursor(bo.epoch, len(bo.arrivals))


def test_what_came_late_is_told_though_the_head_is_the_same():
    """Who was told of an Entry may have asked for its Body before it was here."""
    out = []
    telling = Telling(out)
    telling.tell_from(0)
    row = HeadsRow(key("x"), 1, 3, id_of(entry(key("x"), 3)))
    for up_to, late_n in ((3, 0), (4, 4), (5, 4)):
        telling.heads_read(HeadsPage((replace(row, late_n=late_n),), up_to, more=False))
        telling.seen(up_to)
        telling.news()
    sent = [it.frame for it in out if isinstance(it, Send)]
    reader = FrameReader(MESSAGES)
    told = [framed.message.rows for frame in sent for framed in reader.feed(frame)]
    assert [len(rows) for rows in told] == [1, 1, 0]


def test_in_steady_state_the_wire_carries_little_but_entries(anna, bo):
    pair = Pair(anna, bo).run()
    before = pair.bytes_sent
    anna.write("x", 100, body_bytes=300)
    pair.dialler.add(pair.dialler.exchange.news())
    assert agreed(pair.run())
    size = sum(len(it.header) + len(it.sig) + len(it.body) for it in anna.feeds[key("x")])
    assert pair.bytes_sent - before <= 1.2 * size


def test_a_long_feed_comes_in_several_answers_and_batches(anna, bo):
    anna.write("x", 4321)
    pair = Pair(anna, bo).run()
    assert agreed(pair)
    assert max(bo.batches) <= SYNC_BATCH_ENTRIES_MAX
    assert len(messages(pair.dialled, Want)) == 4  # the Feed of her Device is in the first


def test_large_bodies_come_within_the_bounds_of_an_answer(anna, bo):
    anna.write("x", 120, body_bytes=65_000)  # 8 MB
    pair = Pair(anna, bo).run()
    assert agreed(pair)
    assert len(messages(pair.dialled, Want)) >= 4


def test_never_more_is_asked_for_than_may_be_open(anna, bo):
    for author in range(10):
        anna.write(f"x{author}", 20, body_bytes=60_000)
    pair = Pair(anna, bo)
    most = 0
    while not (pair.dialled.exchange.is_settled and pair.dialler.exchange.is_settled):
        pair.dialler.work()
        data, pair.dialler.sent = bytes(pair.dialler.sent), bytearray()
        held = 0
        for start in range(0, len(data), 100_000):
            part = data[start : start + 100_000]
            pair.dialled.add(pair.dialled.exchange.feed(part))
            held = sum(
                len(it.header) + len(it.sig) + len(it.body or b"")
                for action in pair.dialled.waiting
                if isinstance(action, Take)
                for it in action.entries
            )
            most = max(most, held)
        pair.dialled.work()
        data, pair.dialled.sent = bytes(pair.dialled.sent), bytearray()
        pair.dialler.add(pair.dialler.exchange.feed(data))
    assert anna.heads() == bo.heads()
    assert 0 < most <= SYNC_OPEN_BYTES_MAX


def test_nothing_more_is_asked_before_a_batch_is_committed(anna, bo):
    pair = Pair(anna, bo).run()
    pair.dialled.exchange.set_most_open(1)
    for author in range(600):
        anna.write(f"x{author}")
    pair.dialler.add(pair.dialler.exchange.news())
    pair.dialler.work()
    side = pair.dialled
    side.add(side.exchange.feed(bytes(pair.dialler.sent)))
    side.work()
    before = len(messages(side, Want))
    pair.dialler.sent.clear()
    pair.dialler.add(pair.dialler.exchange.feed(bytes(side.sent)))
    side.sent.clear()
    pair.dialler.work()
    side.add(side.exchange.feed(bytes(pair.dialler.sent)))
    pair.dialler.sent.clear()
    assert any(isinstance(action, Take) for action in side.waiting)
    assert len(messages(side, Want)) == before
    assert agreed(pair.run())


def test_the_cursor_goes_with_the_last_batch(anna, bo):
    pair = Pair(anna, bo).run()
    anna.write("x", 700)
    pair.dialler.add(pair.dialler.exchange.news())
    kept = []
    take = bo._take

    def note(action, peer):
        kept.append(action.cursor)
        return take(action, peer)

    bo._take = note
    assert agreed(pair.run())
    assert kept == [None, Cursor(anna.epoch, len(anna.arrivals))]


def test_a_cursor_waits_for_the_bodies_its_batch_calls_for(anna, bo):
    bo.without_bodies = True
    pair = Pair(anna, bo).run()
    before = bo.cursors[anna.device]
    anna.write("x", 3)
    pair.dialler.add(pair.dialler.exchange.news())
    kept = []
    do = bo.do

    def note(action, peer):
        result = do(action, peer)
        kept.append((type(action), bo.cursors[anna.device]))
        return result

    bo.do = note
    assert agreed(pair.run())
    assert not bo.missing_bodies
    assert [cursor for kind, cursor in kept if kind in {Take, TakeBodies}] == [before, before]
    assert kept[-1] == (KeepCursor, Cursor(anna.epoch, len(anna.arrivals)))


def test_bodies_that_were_left_out_are_asked_for(anna, bo):
    anna.write("x", 600)
    bo.without_bodies = True
    assert agreed(Pair(anna, bo).run())
    assert not bo.missing_bodies


def test_two_branches_prove_a_fork_to_both(anna, bo):
    anna.write("x", 3)
    bo.write("x", 2)
    bo.write("x", 1, branch="other")
    pair = Pair(anna, bo).run()
    assert key("x") in anna.forks
    assert key("x") in bo.forks
    shown = messages(pair.dialler, ForkShown) + messages(pair.dialled, ForkShown)
    assert 1 <= len(shown) <= 2
    assert not pair.dialler.blamed + pair.dialled.blamed
    assert pair.dialler.exchange.is_settled


def test_a_fork_found_elsewhere_is_shown_once(anna, bo):
    pair = Pair(anna, bo).run()
    proof = entry(key("x"), 2).header
    for _ in range(2):
        pair.dialler.add(pair.dialler.exchange.show_fork(key("x"), proof))
    pair.run()
    assert bo.forks == {key("x"): proof}
    assert len(messages(pair.dialler, ForkShown)) == 1


def test_our_head_is_judged_before_anything_is_told(anna, bo):
    Pair(anna, bo).run()
    assert anna.claims[0] is None
    assert bo.claims[0] is None
    Pair(anna, bo).run()
    head = HeadClaim(anna.device, 3, id_of(anna.feeds[anna.device][2]))
    assert anna.claims[-1] == head


def test_an_entry_of_ours_that_we_lack_is_asked_for_and_shown(anna, bo):
    bo.feeds[anna.device] = [*anna.feeds[anna.device], entry(anna.device, 4, "elsewhere")]
    bo.arrivals += [(anna.device, seq) for seq in (1, 2, 3, 4)]
    pair = Pair(anna, bo).run()
    assert anna.proofs == [SentEntry(bo.feeds[anna.device][3].header, bo.feeds[anna.device][3].sig)]
    assert len(anna.feeds[anna.device]) == 3
    assert not pair.dialler.blamed


def test_many_heads_are_told_page_by_page(anna, bo):
    for author in range(2500):
        anna.write(f"x{author}")
    bo.exchange = lambda *_args, **how: _without_room(MemoryLedger.exchange(bo, *_args, **how))
    pair = Pair(anna, bo).run()
    assert agreed(pair)
    assert len(messages(pair.dialler, Heads)) == 3
    assert [it.n for it in bo.reconciled] == [len(anna.arrivals)]


def _without_room(exchange):
    """Let a side have no room for a frontier: then everything is told instead."""
    built = exchange._frontier_built
    exchange._frontier_built = lambda _frontier: built(None)
    return exchange


def test_either_side_may_have_no_room_to_reconcile(anna, bo):
    anna.write("x", 5)
    anna.exchange = lambda *_args, **how: _without_room(MemoryLedger.exchange(anna, *_args, **how))
    assert agreed(Pair(anna, bo).run(1))


@pytest.mark.slow
def test_one_may_hold_far_more_than_the_other(anna, bo):
    for author in range(8500):
        anna.write(f"x{author}")
    assert agreed(Pair(bo, anna).run())


def test_hints_are_asked_for_and_may_be_wrong(anna, bo):
    pair = Pair(anna, bo).run()
    anna.write("x", 2)
    exchange = pair.dialled.exchange
    pair.dialled.add(exchange.hinted(HeadClaim(key("x"), 2, id_of(anna.feeds[key("x")][1]))))
    pair.dialled.add(exchange.hinted(HeadClaim(key("nobody"), 9, id_of(anna.feeds[key("x")][1]))))
    assert agreed(pair.run())
    assert len(bo.feeds[key("x")]) == 2


def test_what_is_delivered_is_acknowledged(anna, bo):
    pair = Pair(anna, bo).run()
    private = entry(anna.device, 4)
    pair.dialler.add(pair.dialler.exchange.deliver(private, id_of(private)))
    pair.run()
    assert bo.delivered == anna.got == [id_of(private)]


def test_only_so_much_is_delivered_at_once(anna, bo):
    pair = Pair(anna, bo).run()
    exchange = pair.dialler.exchange
    for seq in range(SYNC_DELIVERIES_OPEN_MAX):
        assert exchange.may_deliver
        private = entry(anna.device, seq + 4)
        pair.dialler.add(exchange.deliver(private, id_of(private)))
    assert not exchange.may_deliver
    pair.run()
    assert exchange.may_deliver


def test_sorry_ends_it_and_says_when_to_come_again(anna, bo):
    pair = Pair(anna, bo).run()
    pair.dialler.add(pair.dialler.exchange.failed("busy", 7000))
    pair.run()
    assert pair.dialler.closed == Close(Ending.FAILED, "busy", 7000)
    assert pair.dialled.closed == Close(Ending.SORRY, "busy", 7000)
    assert not pair.dialled.blamed
    assert pair.dialled.exchange.feed(b"\0") == ()
    assert pair.dialled.exchange.news() == ()


def test_the_end_of_the_stream_is_nobodys_fault(anna, bo):
    pair = Pair(anna, bo).run()
    assert pair.dialler.exchange.ended() == (Close(Ending.GONE),)


def test_the_same_bytes_lead_to_the_same_bytes():
    def once():
        left, right = MemoryLedger("anna"), MemoryLedger("bo")
        for author in range(100):
            left.write(f"x{author}", 3)
            right.write(f"y{author}", 2)
        pair = Pair(left, right).run(1000)
        return pair.dialler.frames, pair.dialled.frames

    assert once() == once()


def test_what_was_heard_is_remembered_within_bounds(anna, bo):
    for author in range(SYNC_HEARD_MAX + 500):
        anna.write(f"x{author}")
    pair = Pair(anna, bo).run()
    anna.write("x", 1)
    pair.dialler.add(pair.dialler.exchange.news())
    assert agreed(pair.run())
    assert len(pair.dialled.exchange._telling._heard) <= SYNC_HEARD_MAX


def test_every_page_is_seen_once_it_is_dealt_with(anna, bo):
    pair = Pair(anna, bo).run()
    seen = messages(pair.dialled, Seen)
    assert [it.n for it in seen] == [3]
    assert [it.n for it in messages(pair.dialler, Seen)] == [2]
    assert not messages(pair.dialler, Entries)[-1].request > 2
    assert all(isinstance(it, Send) for it in pair.dialler.exchange.failed("internal")[:1])
