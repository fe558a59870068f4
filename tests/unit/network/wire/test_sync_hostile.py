"""Sides that break the rules of the sync, or bend them: each is bounded, and blamed where due."""

from __future__ import annotations

import pytest

from hanse.core.engine.replication.values import Fault, Taken
from hanse.core.engine.syncing import Outcome
from hanse.core.ledger.codec import encode
from hanse.core.limits import (
    FRAME_SIZE_BYTES_MAX,
    SEQ_MAX,
    SYNC_DELIVERIES_OPEN_MAX,
    SYNC_ENTRIES_MAX,
    SYNC_FORKS_MAX,
    SYNC_FRUITLESS_MAX,
    SYNC_OWN_CLAIMS_MAX,
    SYNC_RECON_ROUNDS_MAX,
    SYNC_WANTS_OPEN_MAX,
)
from hanse.core.model.network import Cursor, SeqRange
from hanse.network.wire.frames import FrameReader
from hanse.network.wire.sync import ANSWER_SECONDS, HELLO_SECONDS, Phase
from hanse.network.wire.sync_actions import Close, Ending, JudgeOwnHead, Misdeed, Send
from hanse.network.wire.sync_messages import (
    FINGERPRINT,
    LIST,
    MESSAGES,
    N_LAST,
    SKIP,
    VERSION,
    Bodies,
    BodyItem,
    Deliver,
    Entries,
    ForkShown,
    Got,
    HeadPlace,
    Heads,
    Hello,
    InterestMap,
    Item,
    Place,
    Recon,
    ReconRange,
    ReconRow,
    Row,
    Seen,
    Sorry,
    Want,
    WantBodies,
    WantRange,
    write,
)
from tests.fakes.sync_pair import MemoryLedger, Side, entry, id_of, key

EVIL = key("evil")
EPOCH = b"evil's epoch...!"
ALL = InterestMap("all", "all", 65_536)


class Attack:
    """An honest side, and what a hostile one says to it."""

    def __init__(self, *, is_dialler=False, is_live=True):
        self.ledger = MemoryLedger("anna")
        self.ledger.write(self.ledger.device, 3)
        if is_live:
            self.ledger.cursors[EVIL] = Cursor(EPOCH, 0)
        exchange = self.ledger.exchange(EVIL, is_dialler=is_dialler)
        self.side = Side(self.ledger, exchange)
        self.reader = FrameReader(MESSAGES)
        self.side.add(exchange.start())
        self.side.work()
        self.heard = 0

    def hello(self, **values):
        cursor = Place(self.ledger.epoch, 0)
        said = {
            "version": VERSION,
            "store_epoch": EPOCH,
            "nonce": bytes(16),
            "newest_n": N_LAST,
            "cursor": cursor,
            "your_head": None,
            "interest": ALL,
        } | values
        self.say(Hello(**said))
        return self

    def say(self, *messages):
        for message in messages:
            self.raw(write(message))
        return self

    def raw(self, data):
        self.side.add(self.side.exchange.feed(data))
        self.side.work()
        return self

    def answers(self):
        """Return what the honest side has said since it was asked last."""
        frames, self.heard = self.side.frames[self.heard :], len(self.side.frames)
        return [framed.message for frame in frames for framed in self.reader.feed(frame)]

    def is_closed(self, code="unexpected", misdeed=Misdeed.FRAME):
        assert self.side.closed == Close(Ending.BROKEN, code)
        assert self.side.exchange.phase is Phase.CLOSED
        blamed = [it.misdeed for it in self.side.blamed]
        assert blamed == ([] if misdeed is None else [misdeed])
        said = self.answers()
        assert isinstance(said[-1], Sorry)
        assert said[-1].code == code
        return True

    @property
    def is_open(self):
        return self.side.closed is None and not self.side.blamed


def row(author, last=1, first=1):
    return Row(author, first, last, bytes(32))


def item(sent, *, body=True):
    return Item(sent.header, sent.sig, sent.body if body else None)


def asked(attack):
    return [message for message in attack.answers() if isinstance(message, Want)]


# --- order of things -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", [Seen(0), Heads((), 1, more=False), Recon(()), Got(bytes(32)), ForkShown(b"x")]
)
def test_nothing_may_come_before_hello(message):
    assert Attack().say(message).is_closed()


def test_hello_comes_once():
    assert Attack().hello().hello().is_closed()


def test_a_later_version_is_told_so_and_not_blamed():
    assert Attack().hello(version=2).is_closed("version", misdeed=None)


@pytest.mark.parametrize(
    "message",
    [
        Seen(3),  # nothing was told up to there
        Got(bytes(32)),
        Recon(()),
        Entries(1, (), last=True),
        Bodies(1, (), last=True),
    ],
)
def test_what_nobody_waits_for_closes(message):
    attack = Attack().hello().say(Seen(3))
    assert attack.is_open
    assert attack.say(message).is_closed()


def test_a_page_while_reconciling_closes():
    attack = Attack(is_live=False).hello(cursor=None)
    assert attack.say(Heads((), 1, more=False)).is_closed()


def test_silence_before_hello_is_named():
    attack = Attack()
    waiting = attack.side.exchange.waiting_for
    assert (waiting.what, waiting.seconds) == ("hello", HELLO_SECONDS)
    attack.side.add(attack.side.exchange.overdue())
    attack.side.work()
    assert attack.side.closed == Close(Ending.SILENT)


# --- frames --------------------------------------------------------------------------------------


def test_a_length_that_is_too_long_closes_before_anything_is_held():
    attack = Attack().hello().raw((FRAME_SIZE_BYTES_MAX + 1).to_bytes(4, "big"))
    assert attack.is_closed("too_big")
    assert attack.side.exchange._reader.held_bytes <= 4


@pytest.mark.parametrize(
    "raw",
    [
        b"\x81" * 10_000,  # lists in lists
        b"\x82\x18\x0c\x00",  # SEEN with a number that is longer than it need be
        b"\x82\x0d\x00",  # a message nobody knows
        b"\x9a\x00\x0f\xff\xff",  # a million values in five bytes
        b"\xff",
    ],
    ids=["nested", "not canonical", "unknown", "a million", "nonsense"],
)
def test_frames_that_are_no_message_close(raw):
    assert Attack().hello().raw(len(raw).to_bytes(4, "big") + raw).is_closed("bad_frame")


@pytest.mark.parametrize(
    "message",
    [
        [4, 1, [[key("x"), 1, SYNC_ENTRIES_MAX], [key("y"), 1, 1]], True],
        [4, 1, [[key("x"), 1, 5], [key("x"), 5, 6]], True],
        [4, 1, [[key("x"), 2, 1]], True],
        [4, 1, [], True],
        [2, [[key("x"), 1, 1, bytes(32)]] * 2, 1, False],
        [2, [[key("x"), 2, 1, bytes(32)]], 1, False],
        [3, [[None, FINGERPRINT, None]]],
        [3, [[None, SKIP, bytes(16)]]],
        [3, [[None, LIST, [[key("x"), 1, None]]]]],
        [5, 1, [], False],
        [6, 1, [bytes(32), bytes(32)]],
        [7, 1, [], False],
    ],
    ids=[
        "too many entries",
        "overlap",
        "backwards",
        "no range",
        "a feed twice",
        "row backwards",
        "no fingerprint",
        "something to skip",
        "seq without id",
        "nothing and more",
        "id twice",
        "no bodies and more",
    ],
)
def test_lists_that_break_their_rule_are_bad_frames(message):
    raw = encode(message)
    assert Attack().hello().raw(len(raw).to_bytes(4, "big") + raw).is_closed("bad_frame")


# --- telling us too much -------------------------------------------------------------------------


def test_a_second_page_before_the_first_was_seen_closes():
    attack = Attack().hello().say(Heads((row(key("x")),), 1, more=True))
    assert attack.is_open
    assert attack.say(Heads((), 2, more=False)).is_closed()


def test_pages_that_do_not_go_on_close():
    assert Attack().hello().say(Heads((), 0, more=True)).is_closed()


def test_pages_that_go_back_close():
    attack = Attack().hello().say(Heads((), 9, more=False))
    assert attack.is_open
    assert attack.say(Heads((), 8, more=False)).is_closed()


def test_a_claim_of_absurd_length_asks_for_little_and_holds_nothing():
    attack = Attack().hello()
    attack.say(Heads(tuple(row(key(str(n)), SEQ_MAX) for n in range(300)), 1, more=False))
    wants = asked(attack)
    assert len(wants) == SYNC_WANTS_OPEN_MAX
    for want in wants:
        assert sum(it.last - it.first + 1 for it in want.ranges) <= SYNC_ENTRIES_MAX
    assert attack.side.exchange.behind_by == 300 * SEQ_MAX


def test_who_announces_and_shows_nothing_is_blamed_at_last():
    attack = Attack().hello()
    answered = 0
    n = 0
    while attack.side.closed is None:
        n += 1
        attack.say(Heads((row(key(f"never {n}"), 5),), n, more=True))
        for want in asked(attack):
            answered += 1
            attack.say(Entries(want.request, (), last=True))
    assert answered == SYNC_FRUITLESS_MAX
    assert [it.misdeed for it in attack.side.blamed] == [Misdeed.WRONG_BYTES]


def test_who_never_answers_is_silent():
    attack = Attack().hello().say(Heads((row(key("x"), 5),), 1, more=False))
    first = attack.side.exchange.waiting_for
    assert (first.what, first.seconds) == ("answer", ANSWER_SECONDS)
    attack.say(
        ForkShown(b"\x8a\x01\x58\x20" + bytes(32) + b"\x01"),
        Want(1, (WantRange(key("x"), 1, 1),), with_bodies=True),
    )
    assert attack.side.exchange.waiting_for == first  # other words do not count
    attack.side.add(attack.side.exchange.overdue())
    attack.side.work()
    assert attack.side.closed == Close(Ending.SILENT)
    assert not attack.side.blamed


def test_our_own_feed_with_another_tail_is_judged_only_so_often():
    attack = Attack().hello()
    judged = []
    judge = attack.ledger._judge
    attack.ledger._judge = lambda claim: (judged.append(claim), judge(claim))[1]
    own = attack.ledger.device
    for n in range(1, 4 * SYNC_OWN_CLAIMS_MAX):
        attack.say(Heads((Row(own, 1, 10 + n, bytes([n] * 32)),), n, more=True))
        for want in asked(attack):
            attack.say(Entries(want.request, (), last=True))
    assert len(judged) == SYNC_OWN_CLAIMS_MAX
    assert len(attack.side.blamed) == SYNC_OWN_CLAIMS_MAX
    assert len(attack.ledger.feeds[own]) == 3


def test_a_claim_of_our_feed_that_is_not_shown_is_blamed():
    attack = Attack().hello(your_head=HeadPlace(9, bytes(32)))
    (want,) = asked(attack)
    assert [(it.author, it.first, it.last) for it in want.ranges] == [(attack.ledger.device, 9, 9)]
    attack.say(Entries(want.request, (), last=True))
    assert [it.misdeed for it in attack.side.blamed] == [Misdeed.WRONG_BYTES]
    assert attack.side.closed is None


def test_only_so_many_forks_are_taken():
    attack = Attack().hello()
    for n in range(SYNC_FORKS_MAX):
        attack.say(ForkShown(b"\x8a\x01\x58\x20" + key(str(n)) + b"\x01"))
    assert attack.is_open
    assert attack.say(ForkShown(b"x")).is_closed()


def test_only_so_much_is_delivered_before_it_is_on_disk():
    attack = Attack().hello()
    side = attack.side
    for seq in range(SYNC_DELIVERIES_OPEN_MAX):
        private = entry(EVIL, seq + 1)
        side.add(side.exchange.feed(write(Deliver(private.header, private.sig, private.body))))
    assert side.exchange.phase is not Phase.CLOSED
    side.add(side.exchange.feed(write(Deliver(private.header, private.sig, private.body))))
    side.work()
    assert attack.is_closed()


# --- answers -------------------------------------------------------------------------------------


def waiting(last=5):
    attack = Attack().hello().say(Heads((row(key("x"), last),), 1, more=False))
    (want,) = asked(attack)
    return attack, want.request


@pytest.mark.parametrize(
    "sent",
    [
        [entry(key("y"), 1)],
        [entry(key("x"), 6)],
        [entry(key("x"), 2), entry(key("x"), 1)],
    ],
    ids=["another author", "beyond the range", "backwards"],
)
def test_what_was_not_asked_for_closes_and_is_not_taken(sent):
    attack, request = waiting()
    attack.say(Entries(request, tuple(item(it) for it in sent), last=True))
    assert attack.is_closed()
    assert set(attack.ledger.feeds) == {attack.ledger.device}


def test_an_entry_that_names_no_place_closes():
    attack, request = waiting()
    attack.say(Entries(request, (Item(b"\x8a\x01", bytes(64), None),), last=True))
    assert attack.is_closed("bad_frame")


def test_an_answer_after_the_last_frame_closes():
    attack, request = waiting()
    last = Entries(request, (item(entry(key("x"), 5)),), last=True)
    attack.say(Entries(request, tuple(item(entry(key("x"), n)) for n in range(1, 5)), last=False))
    assert attack.say(last).is_open
    assert attack.say(last).is_closed()


def test_an_answer_that_repeats_itself_for_ever_closes():
    attack, request = waiting()
    again = Entries(request, tuple(item(entry(key("x"), 1)) for _ in range(500)), last=False)
    for _ in range(SYNC_ENTRIES_MAX // 500):
        assert attack.say(again).is_open
    assert attack.say(again).is_closed("too_big")


def test_an_answer_of_too_many_bytes_closes():
    attack, request = waiting(last=100)
    for n in range(1, 4):
        frame = tuple(
            item(entry(key("x"), seq, body_bytes=65_000)) for seq in range(11 * n, 11 * n + 11)
        )
        assert attack.say(Entries(request, frame, last=False)).is_open or n == 3
    assert attack.is_closed("too_big")


def test_an_answer_in_drops_is_asked_on_as_long_as_it_brings_something():
    attack, request = waiting(last=3)
    for seq in (1, 2, 3):
        attack.say(Entries(request, (item(entry(key("x"), seq)),), last=True))
        request += 1
    assert attack.is_open
    assert len(attack.ledger.feeds[key("x")]) == 3
    assert attack.side.exchange.phase is Phase.LIVE


def test_what_an_answer_passed_over_is_not_asked_again():
    attack = Attack().hello()
    first, second = sorted([key("x"), key("y")])
    attack.say(Heads((row(first, 3), row(second, 1)), 1, more=False))
    (want,) = asked(attack)
    attack.say(Entries(want.request, (item(entry(second, 1)),), last=True))
    assert not asked(attack)
    assert attack.side.exchange.phase is Phase.LIVE


def test_a_gap_that_is_never_filled_is_followed_once():
    attack, request = waiting(last=9)
    attack.ledger._take = lambda action, _peer: Taken(
        Outcome(parked=len(action.entries)), ranges=(SeqRange(key("x"), 1, 4),)
    )
    attack.say(Entries(request, tuple(item(entry(key("x"), n)) for n in range(5, 10)), last=True))
    (want,) = asked(attack)
    attack.say(Entries(want.request, (item(entry(key("x"), 3)),), last=True))
    for again in asked(attack):
        attack.say(Entries(again.request, (), last=True))
    assert not asked(attack)
    assert attack.side.exchange.phase is Phase.LIVE


def test_a_forged_signature_closes_and_is_blamed_once():
    attack, request = waiting()
    attack.ledger._take = lambda _action, _peer: Taken(
        Outcome(), faults=(Fault.BAD_SIGNATURE,) * 400
    )
    attack.say(Entries(request, (item(entry(key("x"), 1)),), last=True))
    assert attack.is_closed("bad_frame", Misdeed.WRONG_BYTES)


def test_a_proof_that_proves_nothing_closes():
    assert Attack().hello().say(ForkShown(b"no proof")).is_closed("bad_frame", Misdeed.WRONG_BYTES)


def test_a_wrong_body_is_blamed_and_the_session_goes_on():
    attack, request = waiting()
    attack.ledger._take = lambda _action, _peer: Taken(Outcome(), faults=(Fault.WRONG_BODY,))
    attack.say(Entries(request, (item(entry(key("x"), 1)),), last=True))
    assert attack.side.closed is None
    assert [it.misdeed for it in attack.side.blamed] == [Misdeed.WRONG_BYTES]


def test_bodies_come_in_the_order_asked():
    attack = Attack().hello().say(Heads((row(key("x"), 2),), 1, more=False))
    attack.ledger.without_bodies = True
    (want,) = asked(attack)
    entries = [entry(key("x"), 1), entry(key("x"), 2)]
    attack.say(Entries(want.request, tuple(item(it, body=False) for it in entries), last=True))
    (bodies,) = [it for it in attack.answers() if isinstance(it, WantBodies)]
    assert bodies.ids == tuple(id_of(it) for it in entries)
    wrong = tuple(BodyItem(it, None) for it in reversed(bodies.ids))
    assert attack.say(Bodies(bodies.request, wrong, last=True)).is_closed()


# --- asking too much of us -----------------------------------------------------------------------


def test_only_so_many_requests_are_open():
    attack = Attack().hello()
    side = attack.side
    for request in range(1, SYNC_WANTS_OPEN_MAX + 2):
        want = Want(request, (WantRange(key("x"), 1, 1),), with_bodies=True)
        side.add(side.exchange.feed(write(want)))
    side.work()
    assert attack.is_closed()


def test_requests_are_numbered_upwards():
    attack = Attack().hello()
    want = Want(7, (WantRange(attack.ledger.device, 1, 3),), with_bodies=True)
    assert attack.say(want).is_open
    assert attack.say(want).is_closed()


def test_an_answer_ends_within_its_bounds_however_much_was_asked():
    attack = Attack().hello()
    attack.ledger.write("big", 60, body_bytes=60_000)
    attack.answers()
    attack.say(Want(1, (WantRange(key("big"), 1, 2000),), with_bodies=True))
    answers = [it for it in attack.answers() if isinstance(it, Entries)]
    size = sum(len(it.header) + len(it.sig) + len(it.body) for a in answers for it in a.entries)
    assert 1_000_000 < size <= 2 * 1024**2
    assert [it.last for it in answers] == [False] * (len(answers) - 1) + [True]


def test_a_request_for_nothing_we_hold_is_answered_with_nothing():
    attack = Attack().hello()
    attack.answers()
    attack.say(Want(1, (WantRange(key("x"), 1, 2000),), with_bodies=True))
    assert attack.answers() == [Entries(1, (), last=True)]


# --- reconciling ---------------------------------------------------------------------------------


def whole(mode, data):
    return Recon((ReconRange(None, mode, data),))


def reconciling(feeds=40):
    attack = Attack(is_live=False)
    for n in range(feeds):
        attack.ledger.write(f"feed {n}")
    return attack.hello(cursor=None)


def test_a_dialled_side_may_not_begin_to_reconcile():
    attack = Attack(is_live=False, is_dialler=True)
    attack.ledger.do = lambda *_: pytest.fail("nothing is asked")
    exchange = attack.side.exchange
    exchange.feed(write(Hello(VERSION, EPOCH, bytes(16), 5, None, None, ALL)))
    actions = exchange.feed(write(whole(FINGERPRINT, bytes(16))))
    assert actions[-1] == Close(Ending.BROKEN, "unexpected")


def test_fingerprints_that_never_agree_end_in_lists():
    attack = reconciling(1000)
    attack.answers()
    attack.say(whole(FINGERPRINT, bytes(16)))
    rounds = 0
    while attack.side.exchange.phase is Phase.RECON:
        (said,) = [it for it in attack.answers() if isinstance(it, Recon)]
        rounds += 1
        differs = {FINGERPRINT: (FINGERPRINT, bytes(16)), LIST: (SKIP, None), SKIP: (SKIP, None)}
        attack.say(Recon(tuple(ReconRange(it.upper, *differs[it.mode]) for it in said.ranges)))
    assert rounds <= SYNC_RECON_ROUNDS_MAX
    assert attack.is_open


@pytest.mark.parametrize(
    "message",
    [
        Recon((ReconRange(b"b", SKIP, None),)),  # does not reach the end
        Recon((ReconRange(b"b", SKIP, None), ReconRange(b"a", SKIP, None))),
        Recon((ReconRange(None, SKIP, None), ReconRange(None, SKIP, None))),
        whole(LIST, (ReconRow(key("x"), 0, None),)),
        whole(LIST, (ReconRow(b"\2" * 32, 1, bytes(32)), ReconRow(b"\1" * 32, 1, bytes(32)))),
        Recon(
            (
                ReconRange(b"\1", LIST, (ReconRow(b"\2" * 32, 1, bytes(32)),)),
                ReconRange(None, SKIP, None),
            )
        ),
    ],
    ids=["short", "back", "two ends", "seq 0", "unsorted", "outside"],
)
def test_ranges_out_of_order_close(message):
    assert reconciling().say(message).is_closed("bad_frame")


def test_what_is_settled_is_not_opened_again():
    attack = reconciling(100)
    attack.say(whole(FINGERPRINT, bytes(16)))
    (said,) = [it for it in attack.answers() if isinstance(it, Recon)]
    settled = [ReconRange(it.upper, SKIP, None) for it in said.ranges]
    settled[3] = ReconRange(said.ranges[3].upper, FINGERPRINT, bytes(16))
    attack.say(Recon(tuple(settled)))
    assert attack.side.closed is None
    assert attack.say(whole(FINGERPRINT, bytes(16))).is_closed()


def test_reconciling_again_and_again_closes():
    attack = reconciling(100)
    attack.say(whole(LIST, ()))
    assert attack.side.exchange.phase is not Phase.RECON
    assert attack.say(whole(LIST, ())).is_closed()


def test_who_gives_up_is_told_everything():
    attack = reconciling(5)
    attack.answers()
    attack.say(Recon(()))
    (told,) = [it for it in attack.answers() if isinstance(it, Heads)]
    assert len(told.rows) == 6


def test_nothing_comes_out_after_the_end():
    attack = Attack().hello().hello()
    assert attack.side.closed is not None
    exchange = attack.side.exchange
    assert exchange.feed(write(Seen(3))) == ()
    assert exchange.supplied(JudgeOwnHead(None), None) == ()
    assert exchange.look_again() == exchange.overdue() == exchange.ended() == ()
    assert not [it for it in exchange.failed("busy") if isinstance(it, Send)]
