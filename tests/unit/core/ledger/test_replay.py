"""The ledger in memory: any order and repetition of the same Entries gives the same Feeds."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from hanse.core.crypto.signing import PREFIX_ENTRY
from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import CheckedEntry, check_entry, parse_entry
from hanse.core.ledger.feed import Accepted, FeedState, Forked, Known, Parked, Rejected
from hanse.core.ledger.replay import MemoryLedger, root_statements
from hanse.core.limits import CLOCK_AHEAD_MS_MAX, SEQ_MAX
from tests.fakes.author import Author, DeviceFeed
from tests.fakes.kept_feed import NOW_MS, standing_of


@pytest.fixture
def author() -> Author:
    return Author(1)


def longer(device: DeviceFeed, count: int) -> DeviceFeed:
    for _ in range(count):
        device.append("profile/1")
    return device


def taken(entries, now_ms: int = NOW_MS) -> MemoryLedger:
    ledger = MemoryLedger()
    for entry in entries:
        ledger.accept(entry, now_ms)
    return ledger


def held(ledger: MemoryLedger) -> dict:
    """Return what is the same whatever the order was."""
    return {
        author: (
            feed.opening,
            feed.verifier.frozen_seq,
            {entry.entry_id for entry in (*feed.entries, *feed.others.values())},
            ledger.what_counts().get(author),
        )
        for author, feed in ledger.feeds.items()
    }


def same_in_any_order(entries: list[CheckedEntry]) -> MemoryLedger:
    first = taken(entries)
    dice = random.Random(3)
    for _ in range(40):
        order = dice.sample([*entries, *entries[::2]], len(entries) + len(entries[::2]))
        ledger = taken(order)
        assert not ledger.waiting
        assert held(ledger) == held(first)
    return first


def test_what_waits_is_taken_when_what_it_waited_for_comes(author):
    device = longer(author.device(), 3)
    ledger = MemoryLedger()
    for entry in device.entries[::-1]:
        assert isinstance(ledger.accept(entry, NOW_MS), Parked)
    assert {reason for _, reason in ledger.waiting.values()} == {"gap", "delegation"}
    assert ledger.what_counts() == {}
    assert isinstance(ledger.accept(author.root.entries[0], NOW_MS), Accepted)
    assert ledger.waiting == {}
    assert ledger.feeds[device.key].entries == device.entries
    assert ledger.what_counts() == {author.root.key: SEQ_MAX, device.key: SEQ_MAX}


def test_a_repeated_entry_is_known_and_changes_nothing(author):
    device = longer(author.device(), 2)
    branch = longer(device.fork_at(2), 1)
    entries = [*author.root_entries, *device.entries, *branch.entries]
    ledger = taken(entries)
    before = held(ledger)
    assert all(ledger.accept(entry, NOW_MS) == Known() for entry in entries)
    assert held(ledger) == before


def test_a_refused_entry_is_kept_as_evidence_when_it_ends_the_feed(author):
    device = author.device()
    broken = check_entry(device.spoil("root"))
    ledger = taken([*author.root_entries, *device.entries])
    assert isinstance(ledger.accept(broken, NOW_MS), Rejected)
    feed = ledger.feeds[device.key]
    assert feed.others == {broken.entry_id: broken}
    assert feed.verifier.state is FeedState.BROKEN


def test_an_entry_that_continues_a_branch_is_kept_with_it(author):
    device = longer(author.device(), 1)
    branch = longer(device.fork_at(2), 3)
    ledger = taken([*author.root_entries, *device.entries])
    later = branch.entries[:0:-1]
    assert [type(ledger.accept(entry, NOW_MS)) for entry in later] == [Parked, Forked, Forked]
    assert ledger.feeds[device.key].others.keys() == set(branch.ids[1:])
    assert ledger.waiting == {}
    assert {fork.disputed_seq for fork in ledger.forks.values()} == {2}


def test_a_broken_and_a_good_entry_give_the_same_in_both_orders(author):
    device = author.device()
    broken = check_entry(device.spoil("time"))
    longer(device, 2)
    ledger = same_in_any_order([*author.root_entries, *device.entries, broken])
    assert ledger.feeds[device.key].verifier.frozen_seq == 2


def test_a_broken_entry_1_and_a_delegation_give_the_same_in_any_order(author):
    device = longer(author.device(), 2)
    broken = device.fork_at(1).append("profile/1")
    author.revoke(device, 2)
    ledger = same_in_any_order([*author.root_entries, *device.entries, broken])
    assert ledger.what_counts()[device.key] == 2


def test_a_revoked_branch_stands_in_the_feed_in_any_order(author):
    device = longer(author.device(), 2)
    branch = longer(device.fork_at(2), 3)
    author.revoke(branch, 3)
    ledger = same_in_any_order([*author.root_entries, *device.entries, *branch.entries])
    assert ledger.what_counts()[device.key] == 3
    assert ledger.feeds[device.key].entries[2] == branch.entries[2]


def test_a_revocation_confirms_a_branch_from_entry_1_on_in_any_order(author):
    """Who has a Device's key can copy the Delegation into another Entry 1."""
    device = longer(author.device(), 2)
    branch = device.fork_at(1)
    author.delegate(branch, "again")
    author.revoke(longer(branch, 3), 3)
    ledger = same_in_any_order([*author.root_entries, *device.entries, *branch.entries])
    assert ledger.what_counts()[device.key] == 3
    assert ledger.feeds[device.key].entries[:3] == branch.entries[:3]


def test_a_branch_of_another_identity_is_not_confirmed(author):
    other = Author(2)
    device = longer(author.device(), 1)
    branch = device.fork_at(1)
    other.delegate(branch)
    author.revoke(branch, 1)
    entries = [*author.root_entries, *device.entries, *other.root_entries, *branch.entries]
    ledger = taken(entries)
    assert ledger.feeds[device.key].entries == device.entries
    for order in (entries, entries[::-1]):
        assert taken(order).what_counts()[device.key] == 0


def test_a_cut_that_names_an_id_at_another_seq_moves_nothing(author):
    device = longer(author.device(), 8)
    short = longer(device.fork_at(2), 2)
    lost = longer(device.fork_at(2), 8)
    ledger = taken([*author.root_entries, *device.entries, *short.entries])
    assert isinstance(ledger.accept(lost.append("profile/1"), NOW_MS), Parked | Forked)
    far = lost.entries[-1]
    lower = author.root.fork_at(2)
    ledger.accept(author.revoke(short, 3), NOW_MS)
    assert ledger.feeds[device.key].entries == short.entries
    short.entries[1] = far  # the Root names it at seq 2, where it never stood
    ledger.accept(author.revoke(short, 2, root=lower), NOW_MS)
    assert len(ledger.feeds[device.key].entries) == 3
    assert ledger.what_counts()[device.key] == 1


def test_two_rotations_and_their_devices_give_the_same_in_any_order(author):
    device = longer(author.device(), 3)
    side = author.root.fork_at(2)
    author.rotate([(device, 3)])
    later = longer(author.device("later"), 2)
    author.r = 0
    author.rotate([(device, 2)], root=side)
    entries = [*author.root_entries, *side.entries[1:], *device.entries, *later.entries]
    ledger = same_in_any_order(entries)
    counts = ledger.what_counts()
    assert (counts[device.key], counts[later.key]) == (2, 0)
    assert ledger.standing_of(author.identity).is_frozen


def test_a_branch_that_the_root_confirmed_but_that_does_not_hold_stays_out(author):
    device = longer(author.device(), 2)
    branch = device.fork_at(2)
    branch.append("profile/1")
    branch.entries.append(check_entry(branch.spoil("root")))
    author.revoke(branch, 3)
    ledger = taken([*author.root_entries, *device.entries, *branch.entries])
    assert ledger.feeds[device.key].entries == device.entries
    assert ledger.what_counts()[device.key] == 1


def test_a_confirmed_branch_whose_joint_is_missing_waits(author):
    device = longer(author.device(), 2)
    branch = longer(device.fork_at(2), 3)
    author.revoke(branch, 4)
    entries = [*author.root_entries, *device.entries, branch.entries[3], branch.entries[2]]
    ledger = taken(entries)
    assert ledger.feeds[device.key].entries == device.entries
    ledger.accept(branch.entries[1], NOW_MS)
    assert ledger.feeds[device.key].entries == branch.entries
    assert ledger.what_counts()[device.key] == 4


def test_an_entry_of_the_future_waits_for_its_time(author):
    device = author.device()
    ahead = device.append("profile/1", time_ms=NOW_MS + CLOCK_AHEAD_MS_MAX + 1)
    last = device.append("profile/1")
    ledger = taken([*author.root_entries, *device.entries])
    assert {entry.entry_id: reason for entry, reason in ledger.waiting.values()} == {
        ahead.entry_id: "future",
        last.entry_id: "future",
    }
    ledger.accept(Author(2).root.entries[0], NOW_MS + 2000)
    assert ledger.waiting == {}


def test_an_entry_that_turns_out_to_be_refused_waits_no_more(author):
    device = author.device(spoil="sig")
    later = longer(device, 1).entries[1]
    ledger = taken([later, device.entries[0]])
    assert ledger.waiting == {}
    assert ledger.feeds[device.key].others.keys() == {device.ids[0], later.entry_id}
    other = author.device()
    other.append("profile/1", time_ms=0)
    ledger = taken([other.entries[1], other.entries[0], author.root.entries[0]])
    assert ledger.waiting == {}
    assert ledger.feeds[other.key].verifier.state is FeedState.BROKEN


@pytest.mark.parametrize("without", ["none", "wrong"])
def test_a_body_that_came_before_is_not_lost_to_a_repetition_without_it(author, without):
    device = author.device()
    entry = device.entries[0]
    bare = CheckedEntry(entry._replace(body=None if without == "none" else b"\0"))
    for order in itertools.permutations([entry, bare, author.root.entries[0]]):
        ledger = taken(order)
        assert ledger.feeds[device.key].entries == [entry]


@pytest.mark.parametrize("without", ["none", "wrong"])
def test_a_revocation_on_a_branch_is_not_hidden_by_withholding_its_body(author, without):
    device = longer(author.device(), 3)
    side = author.root.fork_at(2)
    author.revoke(author.device("b"), 1)
    hidden = author.revoke(device, 2, root=side)
    bare = CheckedEntry(hidden._replace(body=None if without == "none" else b"\0"))
    ledger = taken([*author.root_entries, *device.entries, bare])
    assert ledger.what_counts()[device.key] == SEQ_MAX
    for again in (hidden, bare):
        assert ledger.accept(again, NOW_MS) == Known()
        assert ledger.what_counts()[device.key] == 2


def test_a_rotation_whose_body_came_late_lets_wait_no_more(author):
    side = author.root.fork_at(2)
    author.revoke(author.device("b"), 1)
    rotation = author.rotate(root=side)
    later = author.device("later")
    bare = CheckedEntry(rotation.without_body())
    main = [it for it in author.root_entries if it.author != author.root.key]
    ledger = taken([*main, bare, *author.root.entries, *later.entries])
    assert len(ledger.waiting) == 2
    ledger.accept(rotation, NOW_MS)
    assert ledger.waiting == {}
    assert ledger.feeds[later.key].entries == later.entries


@pytest.mark.parametrize("seq", [2, 9])
def test_an_entry_on_a_branch_with_a_seq_that_does_not_follow_counts_on_none(author, seq):
    device = longer(author.device(), 3)
    side = author.root.fork_at(2)
    author.revoke(author.device("b"), 1)
    first = author.revoke(author.device("c"), 1, root=side)
    author.revoke(device, 2, root=side)
    header = msgspec.structs.replace(side.entries[2].header, seq=seq)
    raw = encode(header)
    signature = side.signer.sign(PREFIX_ENTRY, raw)
    jumps = check_entry(parse_entry(raw, signature, side.entries[2].body))
    ledger = taken([*author.root_entries, *device.entries, first, jumps])
    assert ledger.feeds[author.root.key].others.keys() == {first.entry_id, jumps.entry_id}
    assert ledger.what_counts()[device.key] == SEQ_MAX


def test_the_statements_are_those_of_all_branches(author):
    device = author.device()
    side = author.root.fork_at(2)
    author.revoke(device, 1)
    author.revoke(device, 0, root=side)
    ledger = taken([*author.root_entries, *side.entries])
    found = root_statements(author.root.key, ledger.feeds[author.root.key])
    assert {it.entry_id for it in found} == {*author.root.ids, *side.ids}
    assert ledger.standing_of(author.identity) == standing_of(author, *side.entries)


def test_what_is_void_or_of_no_known_kind_is_no_statement(author):
    author.root.append("revoke/1", b"\xa0")
    author.root.append("haiku/1")
    ledger = taken(author.root_entries)
    found = root_statements(author.root.key, ledger.feeds[author.root.key])
    assert [it.entry_id for it in found] == author.root.ids[:1]
