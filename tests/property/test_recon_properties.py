"""Reconciling by ranges: any two sets end with exactly what differs known to both."""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.core.limits import FRAME_SIZE_BYTES_MAX, SYNC_RECON_ROUNDS_MAX
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.model.network import HeadClaim
from hanse.network.wire.frames import FrameReader
from hanse.network.wire.recon import Frontier, Reconciler, salt_of
from hanse.network.wire.sync_messages import MESSAGES, Recon, write

SALT = salt_of(bytes(16), bytes([1] * 16))


def hashed(*parts: object) -> bytes:
    return sha256(repr(parts).encode()).digest()


def claim(author: bytes, seq: int, branch: int = 0) -> HeadClaim:
    return HeadClaim(AuthorKey(author), seq, EntryId(hashed(author, seq, branch)))


class Talk:
    """Two sides that reconcile, every message through the codec."""

    def __init__(self, dialler, dialled, salts=(SALT, SALT)):
        self.dialler = Reconciler(Frontier(dialler, salts[0]))
        self.dialled = Reconciler(Frontier(dialled, salts[1]))
        self.bytes = self.messages = 0
        said, turns = self.dialler.begin(), (self.dialled, self.dialler)
        while said is not None:
            frame = write(Recon(said))
            assert len(frame) <= FRAME_SIZE_BYTES_MAX + 4
            self.bytes += len(frame)
            self.messages += 1
            (framed,) = FrameReader(MESSAGES).feed(frame)
            if turns[0].is_done:
                break
            said = turns[0].receive(framed.message.ranges)
            turns = turns[::-1]
        assert self.dialler.is_done
        assert self.dialled.is_done
        assert self.dialler.gave_up == self.dialled.gave_up
        assert self.messages <= 2 * SYNC_RECON_ROUNDS_MAX

    def knows(self, dialler, dialled):
        """Both sides know exactly what differs, each Head once."""
        only_dialler, only_dialled = set(dialler) - set(dialled), set(dialled) - set(dialler)
        expected = (Counter(only_dialler), Counter(only_dialled))
        return (Counter(self.dialler.ours), Counter(self.dialler.theirs)) == expected and (
            Counter(self.dialled.theirs),
            Counter(self.dialled.ours),
        ) == expected


def authors():
    """Keys that share long beginnings as well as keys that share none."""
    return st.one_of(
        st.integers(0, 400).map(hashed),
        st.integers(0, 400).map(lambda n: bytes(30) + n.to_bytes(2, "big")),
        st.integers(0, 400).map(lambda n: n.to_bytes(2, "big") + bytes([255] * 30)),
    )


def frontiers():
    return st.dictionaries(authors(), st.tuples(st.integers(1, 3), st.integers(0, 1)), max_size=300)


@given(common=frontiers(), left=frontiers(), right=frontiers())
@settings(max_examples=60, deadline=None)
def test_two_sets_end_with_exactly_what_differs_known_to_both(common, left, right):
    dialler = [claim(a, *it) for a, it in {**common, **left}.items()]
    dialled = [claim(a, *it) for a, it in {**common, **right}.items()]
    talk = Talk(dialler, dialled)
    assert not talk.dialler.gave_up
    assert talk.knows(dialler, dialled)


@pytest.mark.parametrize(
    "sizes", [(0, 0), (0, 1), (1, 0), (15, 16), (16, 15), (3000, 0), (0, 3000)]
)
def test_sets_of_any_size_are_reconciled(sizes):
    dialler, dialled = ([claim(hashed(i), 1) for i in range(size)] for size in sizes)
    assert Talk(dialler, dialled).knows(dialler, dialled)


def test_equal_sets_cost_two_messages():
    heads = [claim(hashed(i), i + 1) for i in range(10_000)]
    talk = Talk(heads, heads)
    assert talk.messages == 2
    assert talk.bytes < 500


def test_two_branches_of_a_fork_differ():
    shared = [claim(hashed(i), 1) for i in range(100)]
    one, other = claim(hashed("forked"), 7, 0), claim(hashed("forked"), 7, 1)
    talk = Talk([*shared, one], [*shared, other])
    assert talk.dialler.theirs == [other]
    assert talk.dialled.theirs == [one]


def test_the_salt_changes_every_fingerprint():
    heads = [claim(hashed(i), 1) for i in range(40)]
    one, other = (Frontier(heads, salt_of(bytes(16), bytes([n] * 16))) for n in (1, 2))
    assert one.fingerprint(0, 40) != other.fingerprint(0, 40)
    assert one.fingerprint(3, 3) == other.fingerprint(5, 5)  # nothing is nothing


def test_a_fingerprint_is_what_the_protocol_says():
    head = claim(hashed("a"), 5)
    value = sha256(SALT + head.author + (5).to_bytes(8, "big") + head.entry_id).digest()
    total = value + (1).to_bytes(4, "big")  # one value: its sum is itself
    assert Frontier([head], SALT).fingerprint(0, 1) == sha256(total).digest()[:16]


# Feeds, changed ones, bytes and messages: 100 Entries in a tenth as many Feeds, and in as many.
COSTS = [
    (500, 10, 6_400, 5),
    (500, 91, 27_000, 5),
    (10_000, 10, 10_000, 5),
    (10_000, 100, 66_000, 5),
]


@pytest.mark.parametrize(("feeds", "changed", "most_bytes", "most_messages"), COSTS)
def test_what_is_told_stays_small(feeds, changed, most_bytes, most_messages):
    chance = random.Random(1)
    before = [claim(hashed(i), 10) for i in range(feeds)]
    after = list(before)
    for place in chance.sample(range(feeds), changed):
        after[place] = claim(before[place].author, 20)
    talk = Talk(before, after)
    assert talk.knows(before, after)
    assert talk.bytes <= most_bytes
    assert talk.messages <= most_messages


def test_too_much_to_tell_gives_up_instead_of_growing():
    dialler = [claim(hashed("left", i), 1) for i in range(12_000)]
    dialled = [claim(hashed("right", i), 1) for i in range(12_000)]
    talk = Talk(dialler, dialled)
    assert talk.dialler.gave_up
    assert not talk.dialler.theirs
    assert not talk.dialled.theirs


def test_sides_that_never_agree_give_up():
    # Another salt on either side: every fingerprint differs, whatever the sets are.
    heads = [claim(bytes(30) + n.to_bytes(2, "big"), 1) for n in range(40_000)]
    talk = Talk(heads, heads, salts=(SALT, bytes(32)))
    assert talk.dialler.gave_up
