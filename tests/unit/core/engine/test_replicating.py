"""What is asked of Peers, shown to them and taken from them: over real Accounts, by plain calls."""

from __future__ import annotations

import random

import pytest

from hanse.core.engine.changes import Topic
from hanse.core.engine.ledger import HeldLedger
from hanse.core.engine.replicating import Replicating
from hanse.core.engine.replication import asking, making_room
from hanse.core.engine.replication.values import Fault, HeadsRow, SentBody
from hanse.core.ledger import quotas
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.ledger.feed import BodyState
from hanse.core.ledger.forks import fork_of
from hanse.core.ledger.kinds import Follow1, Message1, Renew1
from hanse.core.ledger.quotas import DAY_MS, Tier
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.model.ids import AuthorKey, IdentityId
from hanse.core.model.network import Cursor, Interest, SentEntry, SeqRange
from tests.fakes.author import Author
from tests.fakes.clock import FakeClock
from tests.fakes.exchanging import ALL, Pull, Side, exchange
from tests.fakes.people import Person

NOW_MS = 1_700_100_000_000
SOMEBODY = AuthorKey(b"\5" * 32)


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    base = tmp_path_factory.mktemp("registered")
    return {name: Person.make(base, name, FakeClock(NOW_MS)) for name in ("anna", "bo", "eve")}


@pytest.fixture
def people(registered, tmp_path):
    """Return a function that opens an Account until the end of the test."""
    engines = []

    def open_(name: str) -> Side:
        engines.append(registered[name].copy(tmp_path).open())
        return Side.of(engines[-1])

    yield open_
    for engine in engines:
        engine.close()


def sent(entry, *, with_body: bool = True) -> SentEntry:
    body = entry.body if with_body else None
    return SentEntry(entry.header_bytes, entry.signature, body)


def take(side: Side, entries, **values):
    return side.replicating.take(SOMEBODY, side.replicating.check(entries), **values)


def tier_of(side: Side, author: AuthorKey) -> Tier:
    with side.context.store.reads() as reads:
        return reads.feeds.get(author).tier


def state_of(side: Side, entry) -> BodyState:
    with side.context.store.reads() as reads:
        return reads.feeds.find(entry.entry_id).body_state


def follow(side: Side, identity: IdentityId, weight: int = 1) -> None:
    context = side.context
    with context.store.unit_of_work() as uow:
        body = Follow1(salt=context.body_salt(), identity=identity, weight=weight)
        context.append_own(uow, body)
        uow.commit()


def titles(side: Side) -> list[str]:
    now_ms = side.context.clock.now_ms()
    with side.context.store.reads() as reads:
        found = reads.search.query(CatalogueQuery(), limit=200, now_ms=now_ms)
        assert found.count == len(found.rows)
        facets = reads.search.facets(CatalogueQuery(), now_ms=now_ms).counts
        assert sum(it.listings for it in facets["lang"]) == found.count
    return sorted(row.title for row in found.rows)


# --- blame -------------------------------------------------------------------------------------


def test_a_bad_signature_is_the_peers_fault_and_the_rest_of_the_batch_is_taken(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    spoilt = device.spoil("signature")
    taken = take(side, [*map(sent, author.root_entries), *map(sent, device.entries), sent(spoilt)])
    assert taken.faults == (Fault.BAD_SIGNATURE,)
    assert taken.outcome.accepted == 2


@pytest.mark.parametrize("what", ["size", "refs"])
def test_bytes_that_are_no_entry_are_the_peers_fault(people, what):
    side, author = people("anna"), Author("x")
    assert take(side, [sent(author.device().spoil(what))]).faults == (Fault.MALFORMED,)


def test_a_later_version_is_nobodys_fault(people):
    side, author = people("anna"), Author("x")
    assert take(side, [sent(author.device().spoil("version"))]).faults == ()


@pytest.mark.parametrize("what", ["prev", "root", "time", "kind"])
def test_a_chain_that_does_not_fit_is_its_authors_and_not_the_peers_fault(people, what):
    side, author = people("anna"), Author("x")
    device = author.device()
    device.append("profile/1")
    entries = [*author.root_entries, *device.entries, device.spoil(what)]
    taken = take(side, list(map(sent, entries)))
    assert taken.faults == ()
    assert taken.outcome.refused or taken.forks


def test_another_body_is_the_peers_fault_and_the_header_stays(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    entry = device.append("profile/1")
    other = SentEntry(entry.header_bytes, entry.signature, b"\xa0")
    taken = take(side, [*map(sent, [*author.root_entries, device.entries[0]]), other])
    assert taken.faults == (Fault.WRONG_BODY,)
    assert state_of(side, entry) is BodyState.ABSENT
    wrong = side.replicating.take_bodies(SOMEBODY, [SentBody(entry.entry_id, b"\xa0")])
    assert wrong.faults == (Fault.WRONG_BODY,)
    right = side.replicating.take_bodies(SOMEBODY, [SentBody(entry.entry_id, entry.body)])
    assert Topic.PROFILES in right.changes.topics
    assert state_of(side, entry) is BodyState.HERE


def test_known_entries_cost_no_signature(people, monkeypatch):
    side, author = people("anna"), Author("x")
    entries = list(map(sent, [*author.root_entries, *author.device().entries]))
    take(side, entries)
    monkeypatch.setattr("hanse.core.engine.syncing.check_entry", None)
    assert take(side, entries).outcome.known == 2


def test_the_cursor_is_kept_with_the_last_batch(people):
    side, other = people("anna"), people("bo")
    side.meet(other)
    cursor = Cursor(b"e" * 16, 7)
    side.replicating.take(other.device, side.replicating.check([]), cursor)
    assert side.replicating.greeting(other.device).cursor == cursor


def test_a_batch_that_leads_to_more_is_not_the_last_one(people):
    side, other = people("anna"), people("bo")
    exchange(side, other)
    before = side.replicating.greeting(other.device).cursor
    follow(other, side.context.identity)
    with other.context.store.reads() as reads:
        head = reads.feeds.get(other.device).head
        entry = reads.feeds.entry_at(other.device, head.seq)
    cursor = Cursor(b"e" * 16, 7)
    batch = side.replicating.check([sent(entry, with_body=False)])
    taken = side.replicating.take(other.device, batch, cursor, with_bodies=False)
    assert taken.bodies == (entry.entry_id,)
    assert side.replicating.greeting(other.device).cursor == before


def test_everything_is_compared_at_first_and_again_after_a_day(people):
    side, other = people("anna"), people("bo")
    exchange(side, other)
    assert not side.replicating.greeting(other.device).needs_reconciling
    side.context.clock.advance(DAY_MS)
    assert side.replicating.greeting(other.device).needs_reconciling


# --- asking ------------------------------------------------------------------------------------


def test_of_a_long_unknown_feed_entry_1_is_asked_for_first_and_then_the_rest(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    for _ in range(40):
        device.append("profile/1")
    row = HeadsRow(device.key, 1, 41, device.ids[-1])
    wanted = side.replicating.wanted(SOMEBODY, [row])
    assert [it.range for it in wanted.ranges] == [SeqRange(device.key, 1, 1)]
    taken = take(side, [*map(sent, author.root_entries), sent(device.entries[0])])
    assert taken.ranges == (SeqRange(device.key, 2, 41),)


def test_near_feeds_come_first_and_only_they_bring_all_bodies(people):
    side = people("anna")
    near, far = Author("near"), Author("far")
    follow(side, near.identity)
    rows = []
    for author in (far, near):
        device = author.device()
        device.append("profile/1")
        take(side, list(map(sent, [*author.root_entries, *device.entries])))
        device.append("profile/1")
        rows.append(HeadsRow(device.key, 3, 3, device.ids[-1]))
    wanted = side.replicating.wanted(SOMEBODY, rows).ranges
    assert [it.range.author for it in wanted] == [rows[1].author, rows[0].author]
    assert [it.with_bodies for it in wanted] == [True, False]


def test_of_strangers_only_the_bodies_a_market_needs_are_asked_for(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    entries = {
        kind: device.append(kind) for kind in ("profile/1", "listing/1", "nobody-knows/1", "cert/1")
    }
    bare = [sent(it, with_body=it.seq == 1) for it in [*author.root_entries, *device.entries]]
    taken = take(side, bare, with_bodies=False)
    assert taken.bodies == tuple(
        entries[kind].entry_id for kind in ("profile/1", "listing/1", "cert/1")
    )
    assert side.replicating.missing_bodies(SOMEBODY).ids == taken.bodies


def test_what_came_too_early_asks_for_what_is_between(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    for _ in range(6):
        device.append("profile/1")
    take(side, list(map(sent, [*author.root_entries, *device.entries[:2]])))
    taken = take(side, [sent(device.entries[5])])
    assert taken.outcome.parked == 1
    assert taken.ranges == (SeqRange(device.key, 3, 5),)


def test_a_claim_that_differs_is_looked_at_and_proves_the_fork(people):
    one, other, author = people("anna"), people("bo"), Author("x")
    device = author.device()
    for _ in range(5):
        device.append("profile/1")
    branch = device.fork_at(4)
    branch.append("profile/1")
    one.take([*author.root_entries, *device.entries])
    other.take([*author.root_entries, *branch.entries])
    pulls = exchange(one, other)
    assert sum(pull.forks for pull in pulls) >= 1
    assert not [fault for pull in pulls for fault in pull.faults]
    assert one.ids()[device.key] == other.ids()[device.key]
    for side in (one, other):
        assert side.replicating.fork_proof(device.key) is not None
        with side.context.store.reads() as reads:
            assert reads.feeds.get(device.key).frozen_seq == 4


@pytest.mark.parametrize("length", [1, 120])
def test_a_branch_that_leaves_deep_below_is_followed_down(people, monkeypatch, length):
    """Both know another end only; what lies between is asked for in windows."""
    monkeypatch.setattr(asking, "BRANCH_WINDOW_ENTRIES_MAX", 40)
    one, other, author = people("anna"), people("bo"), Author("x")
    device = author.device()
    for _ in range(150):
        device.append("nobody-knows/1", b"\xa0")
    branch = device.fork_at(3)
    for _ in range(length):
        branch.append("nobody-knows/1", b"\xa1\x61a\x01")
    one.take([*author.root_entries, *device.entries])
    other.take([*author.root_entries, *branch.entries])
    exchange(one, other)
    assert one.ids()[device.key] == other.ids()[device.key]
    assert len(one.ids()[device.key]) == 151 + length
    assert one.digest() == other.digest()


def test_a_proof_of_a_feed_not_held_is_held_against_it_when_it_comes(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    device.append("profile/1")
    branch = device.fork_at(2)
    branch.append("profile/1")
    fork = fork_of(device.entries[1], branch.entries[1])
    taken = side.replicating.take_fork(SOMEBODY, fork.proof)
    assert taken.forks == ((device.key, fork.proof),)
    assert taken.changes.touch(Topic.FORKS)
    assert side.replicating.take_fork(SOMEBODY, fork.proof).forks == ()
    take(side, list(map(sent, [*author.root_entries, *device.entries])))
    with side.context.store.reads() as reads:
        assert reads.feeds.get(device.key).frozen_seq == 2


# --- showing -----------------------------------------------------------------------------------


def test_answers_are_cut_between_seqs_and_the_rest_is_named(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    for _ in range(6):
        device.append("profile/1")
    branch = device.fork_at(3)
    branch.append("profile/1")
    side.take([*author.root_entries, *device.entries, branch.entries[-1]])
    ranges = (SeqRange(device.key, 1, 9), SeqRange(author.root.key, 1, 1))
    for most_bytes in range(1, 3000, 97):
        got, rest = [], ranges
        while rest:
            page = side.replicating.entries(
                SOMEBODY,
                rest,
                with_bodies=True,
                interest=ALL,
                most_bytes=most_bytes,
                most_entries=3,
            )
            assert page.entries
            assert len(page.entries) <= 3
            got += page.entries
            rest = page.rest
        headers = [it.header for it in got]
        assert len(headers) == len(set(headers)) >= 8
        if most_bytes > 1000:
            assert len(headers) == 9


def test_bodies_go_by_interest_but_always_those_of_entry_1_and_of_root_feeds(people):
    side, author = people("anna"), Author("x")
    device = author.device()
    device.append("profile/1")
    listing = device.append("listing/1")
    author.revoke(device, 3)
    side.take([*author.root_entries, *device.entries])
    ranges = (SeqRange(device.key, 1, 9), SeqRange(author.root.key, 1, 9))

    def shown(interest, *, with_bodies):
        page = side.replicating.entries(
            SOMEBODY,
            ranges,
            with_bodies=with_bodies,
            interest=interest,
            most_bytes=10**6,
            most_entries=99,
        )
        return [it.body is not None for it in page.entries]

    assert shown(Interest(kinds=("listing/1",)), with_bodies=True) == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert shown(ALL, with_bodies=False) == [True, False, False, True, True]
    small = Interest(body_bytes_max=len(listing.body) - 1)
    assert shown(small, with_bodies=True) == [True, True, False, True, True]


def test_only_the_authors_asked_for_are_told(people):
    side, one, two = people("anna"), Author("one"), Author("two")
    side.take([*one.root_entries, *two.root_entries])
    interest = Interest(authors=(two.root.key,))
    assert [it.author for it in side.replicating.frontier(SOMEBODY, interest)] == [two.root.key]
    page = side.replicating.heads_since(SOMEBODY, 0, interest, 9)
    assert [it.author for it in page.rows] == [two.root.key]


def test_what_came_since_is_told_in_pages(people):
    side = people("anna")
    authors = [Author(str(n)) for n in range(5)]
    for author in authors:
        side.take(author.root_entries)
    n, told, more = 0, [], True
    side.replicating.confirm_by_hand()
    while more:
        page = side.replicating.heads_since(SOMEBODY, n, ALL, 2)
        assert len(page.rows) <= 2
        told += [row.author for row in page.rows]
        n, more = page.up_to, page.more
    assert {author.root.key for author in authors} <= set(told)
    assert side.replicating.heads_since(SOMEBODY, n, ALL, 2).rows == ()


def test_erased_bodies_leave_nobody_any_more(people):
    one, other, author = people("anna"), people("bo"), Author("x")
    device = author.device()
    entry = device.append("profile/1")
    kept = CheckedEntry(entry)
    one.take([*author.root_entries, *device.entries])
    exchange(one, other)
    assert state_of(other, entry) is BodyState.HERE
    erase = device.erase([entry.entry_id])
    one.take([erase])
    pulls = exchange(one, other)
    assert state_of(other, entry) is BodyState.ERASED
    assert kept.body not in [it.body for pull in pulls for it in pull.sent]
    page = other.replicating.bodies(SOMEBODY, [entry.entry_id], most_bytes=10**6)
    assert page.bodies == (SentBody(entry.entry_id, None),)
    again = other.replicating.take_bodies(SOMEBODY, [SentBody(entry.entry_id, kept.body)])
    assert not again.faults
    assert state_of(other, entry) is BodyState.ERASED


# --- Private bodies ------------------------------------------------------------------------------


def whisper(side: Side, to: IdentityId, box: bytes) -> CheckedEntry:
    context = side.context
    with context.store.unit_of_work() as uow:
        known = uow.projections.standing_of(context.identity)
        boxes = [box, context.newest_box(known)]
        body = Message1(order=None, text="hush", files=())
        entry = context.append_private(uow, "message/1", body, boxes, [to, context.identity])
        uow.commit()
    return entry


def box_of(side: Side, identity: IdentityId) -> bytes:
    with side.context.store.reads() as reads:
        return reads.projections.standing_of(identity).box


def test_a_private_body_goes_to_its_reader_and_to_nobody_else(people):
    anna, bo, eve = people("anna"), people("bo"), people("eve")
    for other in (bo, eve):
        exchange(anna, other)
    follow(eve, anna.context.identity)  # wants all her Bodies
    follow(bo, anna.context.identity)
    entry = whisper(anna, bo.context.identity, box_of(anna, bo.context.identity))
    pulls = [*exchange(anna, eve), *exchange(bo, eve), *exchange(anna, bo), *exchange(bo, eve)]
    assert state_of(bo, entry) is BodyState.HERE
    assert state_of(eve, entry) is BodyState.PRIVATE
    given = {
        pull.taker.device
        for pull in pulls
        if entry.body in [it.body for it in pull.sent] + [body for _, body in pull.bodies_sent]
    }
    assert given == {bo.device}
    for holder in (anna, bo):
        for asker in (eve.device, SOMEBODY):
            page = holder.replicating.bodies(asker, [entry.entry_id], most_bytes=10**6)
            assert page.bodies[0].body is None
    # Back from the reader to the writer, who may have lost it.
    page = bo.replicating.bodies(anna.device, [entry.entry_id], most_bytes=10**6)
    assert page.bodies[0].body == entry.body


def test_a_private_body_that_is_not_for_us_is_not_kept(people):
    anna, bo, eve = people("anna"), people("bo"), people("eve")
    exchange(anna, bo)
    entry = whisper(anna, bo.context.identity, box_of(anna, bo.context.identity))
    exchange(anna, eve)
    assert state_of(eve, entry) is BodyState.PRIVATE
    eve.replicating.take_bodies(anna.device, [SentBody(entry.entry_id, entry.body)])
    assert state_of(eve, entry) is BodyState.PRIVATE


def test_a_revoked_device_gets_no_private_body(people):
    anna, author = people("anna"), Author("reader")
    device = author.device()
    anna.take([*author.root_entries, *device.entries])
    entry = whisper(anna, author.identity, box_of(anna, author.identity))
    anna.replicating.confirm_by_hand()
    page = anna.replicating.bodies(device.key, [entry.entry_id], most_bytes=10**6)
    assert page.bodies[0].body == entry.body
    author.revoke(device, 1)
    anna.take(author.root_entries)
    page = anna.replicating.bodies(device.key, [entry.entry_id], most_bytes=10**6)
    assert page.bodies[0].body is None


def test_what_was_disclosed_to_everybody_is_given_to_anybody(people):
    anna, bo, eve = people("anna"), people("bo"), people("eve")
    exchange(anna, bo)
    entry = whisper(anna, bo.context.identity, box_of(anna, bo.context.identity))
    anna.replicating.confirm_by_hand()
    page = anna.replicating.bodies(SOMEBODY, [entry.entry_id], most_bytes=10**6)
    assert page.bodies[0].body is None
    HeldLedger(anna.context).disclose(entry.entry_id, None, public=True)
    page = anna.replicating.bodies(SOMEBODY, [entry.entry_id], most_bytes=10**6)
    assert page.bodies[0].body == entry.body
    follow(eve, anna.context.identity)
    exchange(anna, eve)
    eve.replicating.take_bodies(anna.device, [SentBody(entry.entry_id, entry.body)])
    assert state_of(eve, entry) is BodyState.HERE


# --- tiers and quotas ----------------------------------------------------------------------------


def test_who_is_followed_is_near_and_whom_they_follow_a_hop_away(people):
    side = people("anna")
    near, hop, second, far = (Author(name) for name in ("near", "hop", "second", "far"))
    devices = {}
    for author, target in ((near, hop), (hop, second), (second, far), (far, near)):
        devices[author.identity] = device = author.device()
        device.append("follow/1", device.follow(target.identity))
    follow(side, near.identity)
    for author in (far, second, hop, near):
        device = devices[author.identity]
        take(side, list(map(sent, [*author.root_entries, *device.entries])))
    side.replicating.housekeeping()
    found = [tier_of(side, devices[it.identity].key) for it in (near, hop, second, far)]
    assert found == [Tier.NEAR, Tier.HOP, Tier.HOP, Tier.STRANGER]
    follow(side, near.identity, 0)
    side.replicating.housekeeping()
    assert {tier_of(side, device.key) for device in devices.values()} == {Tier.STRANGER}


def test_who_was_left_while_the_network_was_off_is_no_longer_near(people):
    side, near = people("anna"), Author("near")
    device = near.device()
    follow(side, near.identity)
    take(side, list(map(sent, [*near.root_entries, *device.entries])))
    side.replicating.housekeeping()
    follow(side, near.identity, 0)
    Replicating(side.context).housekeeping()
    assert tier_of(side, device.key) is Tier.STRANGER


def test_a_reader_of_our_private_bodies_is_near(people):
    side, author = people("anna"), Author("reader")
    device = author.device()
    take(side, list(map(sent, [*author.root_entries, *device.entries])))
    assert tier_of(side, device.key) is Tier.STRANGER
    whisper(side, author.identity, box_of(side, author.identity))
    side.replicating.housekeeping()
    assert tier_of(side, device.key) is Tier.NEAR


@pytest.fixture
def small_quotas(monkeypatch):
    held = {**quotas._HELD_MAX, Tier.STRANGER: (10, 3, 2000)}
    monkeypatch.setattr(quotas, "_HELD_MAX", held)


@pytest.mark.usefixtures("small_quotas")
def test_a_strangers_feed_pauses_at_its_quota_and_goes_on_day_by_day(people):
    one, other, author = people("anna"), people("bo"), Author("x")
    device = author.device()
    for _ in range(30):
        device.append("nobody-knows/1", b"\xa0")
    one.take([*author.root_entries, *device.entries])
    held = []
    for _ in range(3):
        exchange(one, other, reconcile=True)
        held.append(len(other.ids()[device.key]))
        one.context.clock.advance(DAY_MS)
        other.context.clock.advance(DAY_MS)
    assert held == [10, 13, 16]


@pytest.mark.usefixtures("small_quotas")
def test_bodies_of_a_stranger_stop_at_their_quota_and_are_fetched_when_he_is_followed(people):
    one, other, author = people("anna"), people("bo"), Author("x")
    device = author.device()
    listings = [device.append("listing/1") for _ in range(9)]
    one.take([*author.root_entries, *device.entries])
    exchange(one, other)
    here = [it for it in listings if state_of(other, it) is BodyState.HERE]
    assert 0 < len(here) < 9
    follow(other, author.identity)
    other.replicating.housekeeping()
    exchange(one, other, reconcile=True)
    assert all(state_of(other, it) is BodyState.HERE for it in listings)


def test_strangers_are_given_up_when_there_is_no_room_and_fetched_again_later(people, monkeypatch):
    side, other = people("anna"), people("bo")
    authors = [Author(f"stranger {n}") for n in range(6)]
    devices = [author.device() for author in authors]
    for author, device in zip(authors, devices, strict=True):
        device.publish(f"of {device.key.hex()[:4]}")
        other.take([*author.root_entries, *device.entries])
        take(side, list(map(sent, [*author.root_entries, *device.entries])))
        side.context.clock.advance(1000)
    named = devices[0].entries[1].entry_id
    with side.context.store.unit_of_work() as uow:
        body = Renew1(salt=side.context.body_salt(), of=(named,), until=NOW_MS)
        side.context.append_own(uow, body, refs=[named])
        uow.commit()
    follow(side, authors[1].identity)
    monkeypatch.setattr(making_room, "STRANGERS_HEADERS_MAX", 14)
    changes = side.replicating.housekeeping()
    assert changes.touch(Topic.CATALOGUE)
    held = [device.key in side.ids() for device in devices]
    assert held == [True, True, False, False, False, True]
    with side.context.store.reads() as reads:
        assert reads.projections.difference() is None
        assert not list(reads.rehash())
    exchange(side, other, reconcile=True)
    assert devices[2].key not in side.ids()  # not fetched again at once
    monkeypatch.undo()
    side.context.clock.advance(31 * DAY_MS)
    side.replicating.housekeeping()
    exchange(side, other, reconcile=True)
    assert side.ids()[devices[2].key] == other.ids()[devices[2].key]
    assert len(titles(side)) == 6


# --- rates -------------------------------------------------------------------------------------


def test_what_a_stranger_writes_beyond_the_rate_waits_for_later_days(people):
    one, other, author = people("anna"), people("bo"), Author("loud")
    device = author.device()
    for n in range(12):
        device.publish(f"Model {n:02}")
    one.take([*author.root_entries, *device.entries])
    exchange(one, other)
    assert len(titles(one)) == 12
    assert titles(other) == [f"Model {n:02}" for n in range(10)]
    assert one.digest() == other.digest()
    (view,) = other.replicating.muted_views()
    assert (view.identity, view.sort, view.count, view.most) == (author.identity, "listing", 2, 10)
    assert not other.replicating.housekeeping().touch(Topic.CATALOGUE)
    other.context.clock.advance(DAY_MS)
    assert other.replicating.housekeeping().touch(Topic.CATALOGUE)
    assert len(titles(other)) == 12
    assert other.replicating.muted_views() == ()


@pytest.mark.parametrize(
    "query",
    [
        CatalogueQuery(text="model", sort="relevance"),
        CatalogueQuery(sort="newest"),
        CatalogueQuery(sort="price_up", currency="USD"),
        CatalogueQuery(sort="size_down", size_min=1, with_expired=True),
        CatalogueQuery(tasks=("image-classification",), with_paused=True),
    ],
    ids=("words", "newest", "price", "size", "task"),
)
def test_what_is_muted_is_in_no_list_however_it_is_asked_for(people, query):
    side, author = people("anna"), Author("loud")
    device = author.device()
    for n in range(12):
        device.publish(f"Model {n:02}")
    take(side, list(map(sent, [*author.root_entries, *device.entries])))
    with side.context.store.reads() as reads:
        found, after = [], None
        while True:
            page = reads.search.query(query, after, limit=4, now_ms=NOW_MS)
            found += [row.title for row in page.rows]
            assert page.count == 10
            after = page.next
            if after is None:
                break
        assert reads.search.count_since(query, 0, now_ms=NOW_MS) == 10
    assert sorted(found) == [f"Model {n:02}" for n in range(10)]


def test_who_is_near_may_write_ten_times_as_much(people):
    one, other, author = people("anna"), people("bo"), Author("loud")
    device = author.device()
    for n in range(12):
        device.publish(f"Model {n:02}")
    follow(other, author.identity)
    one.take([*author.root_entries, *device.entries])
    exchange(one, other)
    assert len(titles(other)) == 12


def test_following_shows_what_was_muted(people):
    one, other, author = people("anna"), people("bo"), Author("loud")
    device = author.device()
    for n in range(12):
        device.publish(f"Model {n:02}")
    one.take([*author.root_entries, *device.entries])
    exchange(one, other)
    follow(other, author.identity)
    other.replicating.housekeeping()
    assert len(titles(other)) == 12


def test_nobody_hides_a_listing_of_somebody_else_by_writing_too_much_of_it(people):
    side, author, loud = people("anna"), Author("quiet"), Author("loud")
    device, other = author.device(), loud.device()
    listing, _, _ = device.publish("Mine")
    for _ in range(30):
        other.append("price/1", other.price(listing.entry_id, 1))
    entries = [*author.root_entries, *device.entries, *loud.root_entries, *other.entries]
    take(side, list(map(sent, entries)))
    assert [it.count for it in side.replicating.muted_views()] == [10]
    assert titles(side) == ["Mine"]


def test_own_entries_of_another_device_are_never_muted(tmp_path):
    person = Person.make(tmp_path, "cem", FakeClock(NOW_MS))
    second, _ = person.restore_to(tmp_path / "second", None)
    with person.open() as engine, second.open() as again:
        first, other = Side.of(engine), Side.of(again)
        for n in range(110):
            follow(first, IdentityId(n.to_bytes(32, "big")))
        exchange(first, other)
        assert other.ids()[first.device] == first.ids()[first.device]
        assert other.replicating.muted_views() == ()


# --- all together --------------------------------------------------------------------------------


def test_accounts_with_everything_in_them_converge_but_for_private_bodies(people):
    anna, bo, author = people("anna"), people("bo"), Author("x")
    chance = random.Random(3)
    laptop, phone = author.device("laptop"), author.device("phone")
    laptop.publish("A model")
    gone = laptop.append("profile/1")
    laptop.erase([gone.entry_id])
    branch = phone.fork_at(2)
    phone.append("profile/1")
    branch.append("profile/1")
    author.revoke(branch, 2)
    author.rotate([(laptop, None)])
    world = [*author.root_entries, *laptop.entries, *phone.entries, *branch.entries[1:]]
    chance.shuffle(world)
    anna.take(world[: len(world) // 2])
    bo.take(world[len(world) // 3 :])
    exchange(anna, bo)
    whisper(anna, bo.context.identity, box_of(anna, bo.context.identity))
    follow(bo, anna.context.identity)
    pulls = exchange(anna, bo)
    assert anna.ids() == bo.ids()
    assert anna.digest() == bo.digest()
    assert not [fault for pull in pulls for fault in pull.faults]
    quiet = Pull(anna, bo).run()
    assert (quiet.asked_entries, quiet.outcome.accepted, quiet.bodies_sent) == (0, 0, [])


def test_a_body_of_a_muted_entry_is_still_passed_on(people):
    one, other, third = people("anna"), people("bo"), people("eve")
    author = Author("loud")
    device = author.device()
    for n in range(12):
        device.publish(f"Model {n:02}")
    one.take([*author.root_entries, *device.entries])
    exchange(one, other)
    exchange(other, third)
    assert third.ids()[device.key] == one.ids()[device.key]
    assert third.digest() == other.digest()
