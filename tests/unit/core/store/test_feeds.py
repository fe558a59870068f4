from __future__ import annotations

import pytest

from hanse.core.ledger.disclosure import seal_body
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.ledger.feed import Accepted, BodyState, FeedState, Forked, Known, judge_body
from hanse.core.ledger.kinds import Message1
from hanse.core.ledger.quotas import Tier
from hanse.core.model.ids import AuthorKey, EntryId
from tests.fakes.author import Author
from tests.unit.core.store.conftest import NOW_MS


@pytest.fixture
def author():
    return Author("feeds")


def append(uow, writer, *, now_ms=NOW_MS):
    """Pass every Entry of one Feed through its rules and append it."""
    verifier = uow.feeds.verifier(writer.key, uow.projections.standing_of)
    accepted = []
    for entry in writer.entries:
        verdict = verifier.accept(entry, now_ms)
        if isinstance(verdict, Accepted):
            accepted.append((entry, verdict))
    uow.feeds.save(verifier, now_ms)
    return uow.feeds.append(accepted)


def test_arrival_numbers_go_on_and_are_never_used_twice(store, author):
    device = author.device()
    with store.unit_of_work() as uow:
        assert append(uow, author.root) == [1]
    with store.unit_of_work() as uow:
        first = append(uow, author.root)
        second = append(uow, device)
        uow.commit()
    assert (first, second) == ([1], [2])
    with store.reads() as reads:
        assert reads.feeds.newest_n() == 2


def test_an_entry_comes_back_as_the_bytes_that_travelled(store, author, take):
    device = author.device()
    entry = device.append("profile/1", refs=[device.ids[0]])
    take(*author.root_entries, *device.entries)
    with store.reads() as reads:
        stored = reads.feeds.find(entry.entry_id)
        assert stored.entry == entry
        assert stored.body_state is BodyState.HERE
        assert reads.feeds.entry_at(device.key, 2) == entry
        assert reads.feeds.entry_at(device.key, 3) is None
        assert reads.feeds.find(EntryId(bytes(32))) is None


def test_a_feed_is_read_in_order_and_in_pages(store, author, take):
    device = author.device()
    for _ in range(7):
        device.append("follow/1")
    take(*author.root_entries, *device.entries)
    with store.reads() as reads:
        page = reads.feeds.entries(device.key, 3, 4)
        assert [stored.entry.seq for stored in page] == [3, 4, 5, 6]
        assert reads.feeds.ids(device.key) == device.ids
        assert reads.feeds.ids(device.key, up_to=5) == device.ids[:5]
        newest = reads.feeds.newest(limit=3)
        assert [stored.n for stored in newest] == [9, 8, 7]
        assert [stored.n for stored in reads.feeds.newest(before=7, limit=2)] == [6, 5]
        assert [stored.n for stored in reads.feeds.arrived_after(7)] == [8, 9]
        assert reads.feeds.entries(AuthorKey(bytes(32))) == []


def test_feeds_are_listed_by_author(store, take):
    people = [Author(number) for number in range(5)]
    for person in people:
        take(*person.root_entries, *person.device().entries)
    with store.reads() as reads:
        heads = reads.feeds.heads(limit=4)
        assert len(heads) == 4
        rest = reads.feeds.heads(after=heads[-1].author)
        keys = [head.author for head in (*heads, *rest)]
        assert keys == sorted(keys)
        assert len(keys) == 10
        assert [row.author for row in reads.feeds.all()] == keys
        own = list(reads.feeds.of_identity(people[0].identity))
        assert {row.opening.role for row in own} == {"root", "full"}
        assert reads.feeds.totals() == (10, 10)


def test_a_verifier_goes_on_where_the_last_one_was_saved(store, author, take):
    device = author.device()
    device.append("profile/1")
    take(*author.root_entries, *device.entries)
    late = device.append("profile/1")
    with store.unit_of_work() as uow:
        verifier = uow.feeds.verifier(device.key, uow.projections.standing_of)
        assert verifier.head.seq == 2
        assert isinstance(verifier.accept(device.entries[1], NOW_MS), Known)
        assert isinstance(verifier.accept(late, NOW_MS), Accepted)
        assert verifier.peaks.count == 3


def test_a_body_is_kept_only_when_it_is_here_or_void(store, author, take):
    device = author.device()
    absent = device.append("profile/1")
    void = device.append("profile/1", b"\xa1\x61a\x01")
    unknown = device.append("nobody-knows/1")
    take(
        *author.root_entries, device.entries[0], CheckedEntry(absent.without_body()), void, unknown
    )
    with store.reads() as reads:
        found = {it.entry.seq: it for it in reads.feeds.entries(device.key)}
        assert (found[2].body_state, found[2].entry.body) == (BodyState.ABSENT, None)
        assert (found[3].body_state, found[3].entry.body) == (BodyState.VOID, void.body)
        assert (found[4].body_state, found[4].entry.body) == (BodyState.HERE, unknown.body)


def test_bytes_of_bodies_are_counted_as_they_come_and_go(store, author, take):
    device = author.device()
    entry = device.append("profile/1")
    size = len(device.entries[0].body)
    take(*author.root_entries, device.entries[0], CheckedEntry(entry.without_body()))
    with store.unit_of_work() as uow:
        assert uow.feeds.body_bytes(device.key) == size
        uow.feeds.give_body(entry.entry_id, entry.body, BodyState.HERE)
        assert uow.feeds.body_bytes(device.key) == size + len(entry.body)
        uow.feeds.give_body(entry.entry_id, b"twice", BodyState.HERE)
        assert uow.feeds.find(entry.entry_id).entry.body == entry.body
        uow.feeds.drop_body(entry.entry_id, BodyState.ERASED)
        assert uow.feeds.body_bytes(device.key) == size
        stored = uow.feeds.find(entry.entry_id)
        assert (stored.body_state, stored.entry.body) == (BodyState.ERASED, None)
        assert uow.feeds.body_bytes(AuthorKey(bytes(32))) == 0


def test_the_tier_of_a_feed_is_its_first_until_somebody_says_otherwise(store, author):
    with store.unit_of_work() as uow:
        verifier = uow.feeds.verifier(author.root.key, uow.projections.standing_of)
        assert uow.feeds.tier_of(author.root.key) is None
        uow.feeds.save(verifier, NOW_MS, tier=Tier.HOP)
        uow.feeds.save(verifier, NOW_MS, tier=Tier.STRANGER)
        assert uow.feeds.tier_of(author.root.key) is Tier.HOP
        uow.feeds.set_tier(author.root.key, Tier.NEAR)
        assert uow.feeds.tier_of(author.root.key) is Tier.NEAR


def test_known_looks_at_feeds_and_branches_together(store, author, take):
    device = author.device()
    device.append("profile/1")
    other = device.fork_at(2)
    branch = other.append("profile/1")
    take(*author.root_entries, *device.entries, branch)
    stranger = EntryId(bytes(32))
    with store.reads() as reads:
        asked = [*device.ids, branch.entry_id, stranger]
        assert reads.feeds.known(asked) == {*device.ids, branch.entry_id}
        assert reads.feeds.known([]) == set()
        assert reads.feeds.in_branches(branch.entry_id)
        assert not reads.feeds.in_branches(device.ids[1])
        assert not reads.feeds.in_branches(stranger)
    with store.reads() as reads:
        assert reads.feeds.in_branches(branch.entry_id)
        assert reads.feeds.branch_entries(device.key) == [branch]
        assert reads.feeds.branch_entries(AuthorKey(bytes(32))) == []


def test_known_of_more_ids_than_one_query_takes(store, author, take):
    take(*author.root_entries)
    many = [EntryId(number.to_bytes(32, "big")) for number in range(2500)]
    with store.reads() as reads:
        assert reads.feeds.known([*many, *author.root.ids]) == set(author.root.ids)


def test_what_ended_a_feed_is_remembered(store, author, take):
    device = author.device()
    wrong = device.spoil("root")
    take(*author.root_entries, *device.entries, wrong)
    with store.unit_of_work() as uow:
        row = uow.feeds.get(device.key)
        assert (row.state, row.broken_id) == (FeedState.BROKEN, wrong.entry_id)
        verifier = uow.feeds.verifier(device.key, uow.projections.standing_of)
        assert isinstance(verifier.accept(CheckedEntry(wrong), NOW_MS), Known)
        good = device.append("profile/1")
        verdict = verifier.accept(good, NOW_MS)
        assert isinstance(verdict, Forked)
        assert verdict.accepted is not None


def test_a_feed_that_never_opened_has_a_row_without_head(store, author, take):
    device = author.device(spoil="sig")
    take(*author.root_entries, *device.entries)
    with store.reads() as reads:
        row = reads.feeds.get(device.key)
        assert (row.head, row.opening, row.state) == (None, None, FeedState.BROKEN)
        assert reads.feeds.verifier(device.key, reads.projections.standing_of).head is None
        assert list(reads.rehash()) == []
        assert reads.projections.difference() is None


def test_branches_are_bounded_and_the_lowest_stay_whatever_the_order(
    store, author, take, monkeypatch
):
    monkeypatch.setattr("hanse.core.store.feeds.BRANCH_ENTRIES_PER_FEED_MAX", 3)
    device = author.device()
    device.append("profile/1")
    take(*author.root_entries, *device.entries)
    branches = []
    for _ in range(5):
        other = device.fork_at(2)
        branches.append(other.append("profile/1"))
    lowest = sorted(branches, key=lambda entry: entry.entry_id)[:3]
    for order in (branches, branches[::-1]):
        with store.unit_of_work() as uow:
            for entry in order:
                uow.feeds.add_branch(entry, is_broken=False)
                uow.feeds.add_branch(entry, is_broken=False)
            assert uow.feeds.branch_entries(device.key) == lowest
            held = [uow.feeds.in_branches(entry.entry_id) for entry in lowest]
            assert all(held)


def test_what_ended_a_feed_stays_however_many_branches_there_are(store, author, take, monkeypatch):
    monkeypatch.setattr("hanse.core.store.feeds.BRANCH_ENTRIES_PER_FEED_MAX", 2)
    device = author.device()
    device.append("profile/1")
    device.append("profile/1")
    wrong = device.spoil("root")
    take(*author.root_entries, *device.entries, wrong)
    with store.unit_of_work() as uow:
        for _ in range(4):
            uow.feeds.add_branch(device.fork_at(2).append("profile/1"), is_broken=False)
        assert uow.feeds.in_branches(wrong.entry_id)
        assert len(uow.feeds.branch_entries(device.key)) == 2


def forked(author):
    device = author.device()
    for _ in range(3):
        device.append("profile/1", refs=[device.ids[0]])
    other = device.fork_at(3)
    for _ in range(4):
        other.append("follow/1")
    return device, other


def test_a_switch_puts_one_branch_in_the_place_of_the_other(store, author, take):
    device, other = forked(author)
    take(*author.root_entries, *device.entries, *other.entries[2:])
    with store.unit_of_work() as uow:
        assert uow.feeds.branch_entries(device.key) == other.entries[2:]
        uow.private_to.add(device.ids[2], [author.identity])
        uow.outbox.announce(device.ids[3], NOW_MS)
        verifier = uow.feeds.verifier_at(device.key, 2, uow.projections.standing_of)
        accepted = [(entry, verifier.accept(entry, NOW_MS)) for entry in other.entries[2:]]
        numbers = uow.feeds.switch_branch(device.key, 2, accepted, verifier)
        uow.commit()
    with store.reads() as reads:
        assert min(numbers) > 5
        assert reads.feeds.ids(device.key) == other.ids
        assert reads.feeds.branch_entries(device.key) == device.entries[2:]
        row = reads.feeds.get(device.key)
        assert (row.head.seq, row.head.entry_id) == (6, other.ids[-1])
        assert (row.state, row.frozen_seq) == (FeedState.FROZEN, 3)
        assert row.body_bytes == sum(len(entry.body) for entry in other.entries)
        assert not reads.feeds.in_branches(other.ids[3])
        assert reads.outbox.due(NOW_MS) == []
        assert list(reads.rehash()) == []


def test_a_switch_there_and_back_loses_nothing(store, author, take):
    device, other = forked(author)
    take(*author.root_entries, *device.entries, *other.entries[2:])
    with store.unit_of_work() as uow:
        for branch in (other, device):
            verifier = uow.feeds.verifier_at(device.key, 2, uow.projections.standing_of)
            accepted = [(entry, verifier.accept(entry, NOW_MS)) for entry in branch.entries[2:]]
            uow.feeds.switch_branch(device.key, 2, accepted, verifier)
        assert [it.entry for it in uow.feeds.entries(device.key)] == device.entries
        assert uow.feeds.branch_entries(device.key) == other.entries[2:]
        refs = uow._connection.exec_driver_sql("SELECT target, n FROM refs").all()
        numbers = [uow.feeds.find(entry_id).n for entry_id in device.ids[1:]]
        assert sorted(refs) == sorted((device.ids[0], n) for n in numbers)


def test_a_late_body_is_taken_for_a_branch_too(store, author, take):
    device, other = forked(author)
    bare = CheckedEntry(other.entries[2].without_body())
    take(*author.root_entries, *device.entries, bare)
    with store.unit_of_work() as uow:
        uow.feeds.give_body(bare.entry_id, other.entries[2].body, BodyState.HERE)
        assert uow.feeds.branch_entries(device.key) == [other.entries[2]]
        uow.feeds.drop_body(bare.entry_id, BodyState.ERASED)
        assert uow.feeds.branch_entries(device.key) == [bare]


def test_private_bodies_of_an_identity_are_found_by_kind(store, author, take):
    device = author.device()
    device.append("profile/1")
    body, _ = seal_body(
        author=device.key,
        seq=3,
        header_kind="private/1",
        inner_kind="message/1",
        inner_body=Message1(order=None, text="hello", files=()),
        readers=[author.chance.bytes(32)],
        chance=author.chance,
    )
    entry = device.append("private/1", body)
    withheld = device.append("private/1", body)
    take(*author.root_entries, *device.entries[:3], CheckedEntry(withheld.without_body()))
    with store.reads() as reads:
        assert list(reads.feeds.private_of(author.identity)) == [entry]
        ((found, n),) = reads.feeds.private_after(author.identity, 0)
        assert found == entry
        assert list(reads.feeds.private_after(author.identity, n)) == []
        assert reads.feeds.find(withheld.entry_id).body_state is BodyState.PRIVATE


def test_scanning_gives_what_is_here_of_one_kind_in_slices(store, author, take):
    device, phone = author.device(), author.device("phone")
    for _ in range(3):
        device.append("profile/1")
        device.append("follow/1")
        phone.append("profile/1")
    bare = CheckedEntry(phone.entries[2].without_body())
    take(*author.root_entries, *device.entries, *phone.entries[:2], bare, phone.entries[3])
    with store.reads() as reads:
        found, after = [], (0, 0)
        while page := reads.feeds.scan("profile/1", after, limit=2):
            found.extend(row.id for row in page)
            after = (page[-1].feed, page[-1].seq)
        expected = {*device.ids[1::2], phone.ids[1], phone.ids[3]}
        assert set(found) == expected
        assert len(found) == len(expected)
        assert reads.feeds.scan("never-seen/1") == []


def test_judging_a_stored_entry_again_gives_what_was_stored(store, author, take):
    device = author.device()
    device.append("profile/1")
    take(*author.root_entries, *device.entries)
    with store.reads() as reads:
        for stored in reads.feeds.entries(device.key):
            assert judge_body(stored.entry).body_state is stored.body_state


def test_numbers_above_everything_are_empty_pages(store, author, take):
    take(*author.root_entries)
    with store.reads() as reads:
        assert reads.feeds.entries(author.root.key, 99) == []
        assert reads.feeds.arrived_after(99) == []
        assert reads.feeds.heads(after=b"\xff" * 33) == []
