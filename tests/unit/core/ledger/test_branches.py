from __future__ import annotations

import itertools

from hanse.core.ledger.branches import valid_on_any_branch
from hanse.core.ledger.entry import CheckedEntry
from tests.fakes.author import Author


def ids(entries):
    return [entry.entry_id for entry in entries]


def by_place(entries):
    return ids(sorted(entries, key=lambda entry: (entry.seq, entry.entry_id)))


def test_a_feed_without_branches_is_valid_as_it_is():
    author = Author(1)
    author.revoke(author.device())
    author.revoke(author.device("phone"))
    assert ids(valid_on_any_branch(author.root.entries, [])) == author.root.ids


def test_which_branch_stands_in_the_feed_changes_nothing():
    author = Author(1)
    devices = [author.device(name) for name in ("a", "b", "c", "d")]
    author.revoke(devices[0])
    other = author.root.fork_at(2)
    third = author.root.fork_at(3)
    author.revoke(devices[1], root=other)
    author.revoke(devices[2], root=other)
    author.revoke(devices[3], root=third)
    everything = {
        entry.entry_id: entry for entry in (*author.root.entries, *other.entries, *third.entries)
    }
    expected = by_place(everything.values())
    for main in (author.root, other, third):
        rest = [entry for entry in everything.values() if entry not in main.entries]
        for others in itertools.islice(itertools.permutations(rest), 6):
            assert ids(valid_on_any_branch(main.entries, others)) == expected


def test_a_broken_entry_and_what_follows_it_count_on_no_path():
    author = Author(1)
    device = author.device()
    wrong = author.root.spoil("root", "revoke/1", author.revoke(device).body)
    assert wrong.seq == 3
    other = author.root.fork_at(3)
    other.entries.append(CheckedEntry(wrong))
    author.revoke(device, root=other)
    found = valid_on_any_branch(author.root.entries, other.entries[2:])
    assert ids(found) == author.root.ids


def test_what_follows_a_rotation_counts_on_no_path():
    author = Author(1)
    device = author.device()
    old = author.root
    author.rotate([(device, None)])
    author.revoke(device, root=old)
    assert ids(valid_on_any_branch(old.entries, [])) == old.ids[:2]
    assert ids(valid_on_any_branch([old.entries[0]], old.entries[1:])) == old.ids[:2]


def test_a_missing_body_ends_its_path_until_it_is_there():
    author = Author(1)
    for name in ("a", "b"):
        author.revoke(author.device(name))
    bare = CheckedEntry(author.root.entries[1].without_body())
    main = [author.root.entries[0]]
    others = [bare, author.root.entries[2]]
    assert ids(valid_on_any_branch(main, others)) == author.root.ids[:1]
    with_body = [*others, author.root.entries[1]]
    assert ids(valid_on_any_branch(main, with_body)) == author.root.ids
    assert ids(valid_on_any_branch(main, with_body[::-1])) == author.root.ids


def test_a_feed_opened_twice_has_two_paths():
    author = Author(1)
    again = author.root.fork_at(1)
    again.append("identity/1", Author(1).root.entries[0].body, time_ms=5)
    author.revoke(author.device())
    author.revoke(author.device("b"), root=again)
    everything = [*author.root.entries, *again.entries]
    assert ids(valid_on_any_branch(author.root.entries, again.entries)) == by_place(everything)


def test_what_opens_no_root_feed_has_no_path():
    author = Author(1)
    device = author.device()
    device.append("profile/1")
    assert valid_on_any_branch(device.entries, []) == []
    assert valid_on_any_branch([], author.root.entries[1:]) == []
    void = author.root.fork_at(1)
    void.append("identity/1", b"\xa0")
    assert valid_on_any_branch(void.entries, []) == []


def test_a_later_root_key_is_taken_at_its_word_here():
    author = Author(1)
    author.rotate()
    assert ids(valid_on_any_branch(author.root.entries, [])) == author.root.ids
