"""Acceptance, rule by rule: what each Entry is to a Feed, and what a refusal leaves alone."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from hanse.core.crypto.signing import PREFIX_ENTRY, Signer
from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import CheckedEntry, Head, check_entry, parse_entry
from hanse.core.ledger.feed import (
    Accepted,
    BodyState,
    FeedState,
    Forked,
    Known,
    Parked,
    Rejected,
    judge_body,
)
from hanse.core.ledger.forks import Fork, check_fork
from hanse.core.ledger.identities import ROLE_MIRROR, ROLE_ROOT, Opening
from hanse.core.ledger.kinds import KINDS, encode_body
from hanse.core.ledger.tree import Peaks
from hanse.core.limits import CLOCK_AHEAD_MS_MAX, ROOT_FEED_ENTRIES_MAX
from tests.fakes.author import START_MS, Author, Writer
from tests.fakes.kept_feed import NOW_MS, KeptFeed, standing_of
from tests.vectors.make_kinds import VALID

EXAMPLES = {kind: encode_body(body) for kind, body in zip(KINDS, VALID, strict=True)}
ROOT_KINDS = ["identity/1", "revoke/1", "rotate/1"]
DEVICE_KINDS = [kind for kind in KINDS if kind not in {*ROOT_KINDS, "device/1"}]


def kept(author: Author, writer: Writer, *, taken: bool = True) -> KeptFeed:
    """Return a reader of ``writer`` who knows ``author``, and has taken what was written."""
    feed = KeptFeed(writer.key, {author.identity: standing_of(author)})
    if taken:
        for verdict in feed.take_all(writer.entries):
            assert isinstance(verdict, Accepted)
    return feed


def resigned(writer: Writer, entry: CheckedEntry, **changes: object) -> CheckedEntry:
    """Sign the same Header with some fields changed."""
    raw = encode(msgspec.structs.replace(entry.header, **changes))
    return check_entry(parse_entry(raw, writer.signer.sign(PREFIX_ENTRY, raw), entry.body))


def without_bodies(fork: Fork) -> Fork:
    """Return the Fork as a proof shows it."""
    first, second = (CheckedEntry(it.without_body()) for it in (fork.first, fork.second))
    return replace(fork, first=first, second=second)


def next_one(writer: Writer, kind: str = "haiku/1", **given: object) -> CheckedEntry:
    """Return what would be the next Entry; the Feed stays as it is."""
    return writer.fork_at(len(writer.entries) + 1).append(kind, **given)


def state_of(feed: KeptFeed) -> tuple[object, ...]:
    it = feed.verifier
    return it.head, it.peaks.to_bytes(), it.peaks.count, it.opening, it.state, it.frozen_seq


@pytest.fixture
def author() -> Author:
    return Author(1)


# --- A4, A6: something is held at this seq ---------------------------------------------------


def test_a4_an_entry_that_is_held_is_known_and_changes_nothing(author):
    device = author.device()
    device.append("profile/1")
    feed = kept(author, device)
    before = state_of(feed)
    for entry in [*device.entries, device.entries[0].without_body()]:
        assert feed.take(entry) == Known()
    assert state_of(feed) == before


def test_a4_an_entry_that_is_held_is_known_before_any_other_rule_is_asked(author):
    device = author.device()
    feed = kept(author, device)
    assert feed.take(device.entries[0], now_ms=0) == Known()


def test_a6_another_entry_at_a_held_seq_disputes_it(author):
    device = author.device()
    device.append("profile/1")
    feed = kept(author, device)
    head = feed.verifier.head
    other = device.fork_at(2).append("haiku/1")
    verdict = feed.take(other)
    assert isinstance(verdict, Forked)
    assert verdict.accepted is None
    assert verdict.fork.disputed_seq == 2
    assert check_fork(verdict.fork.proof) == without_bodies(verdict.fork)
    assert {verdict.fork.first.entry_id, verdict.fork.second.entry_id} == {
        device.ids[1],
        other.entry_id,
    }
    assert (feed.verifier.state, feed.verifier.frozen_seq) == (FeedState.FROZEN, 2)
    assert feed.verifier.head == head


def test_a6_a_second_entry_1_disputes_the_whole_feed(author):
    device = author.device()
    feed = kept(author, device)
    again = device.fork_at(1)
    author.delegate(again, "again")
    verdict = feed.take(again.entries[0])
    assert isinstance(verdict, Forked)
    assert verdict.fork.disputed_seq == 1


def test_a6_a_later_entry_of_another_branch_disputes_the_place_before(author):
    device = author.device()
    branch = device.fork_at(2)
    for _ in range(3):
        device.append("profile/1")
        branch.append("haiku/1")
    feed = kept(author, device)
    verdict = feed.take(branch.entries[2])
    assert isinstance(verdict, Forked)
    assert verdict.fork.disputed_seq == 2
    assert verdict.fork.first == device.entries[1]
    verdict = feed.take(branch.entries[1])
    assert isinstance(verdict, Forked)
    assert verdict.fork.disputed_seq == 2


def test_of_several_forks_the_lowest_disputed_seq_stays(author):
    device = author.device()
    for _ in range(4):
        device.append("profile/1")
    feed = kept(author, device)
    frozen = []
    for seq in (4, 2, 5):
        feed.take(device.fork_at(seq).append("haiku/1"))
        frozen.append(feed.verifier.frozen_seq)
    assert frozen == [4, 2, 2]


def test_a_frozen_feed_goes_on_with_the_branch_that_is_held(author):
    device = author.device()
    device.append("profile/1")
    feed = kept(author, device)
    feed.take(device.fork_at(2).append("haiku/1"))
    assert isinstance(feed.take(device.append("profile/1")), Accepted)
    assert feed.verifier.state is FeedState.FROZEN


# --- A7, A8: too early -----------------------------------------------------------------------


def test_a7_an_entry_more_than_ten_minutes_ahead_waits(author):
    device = author.device()
    feed = kept(author, device)
    before = state_of(feed)
    ahead = next_one(device, time_ms=NOW_MS + CLOCK_AHEAD_MS_MAX + 1)
    assert feed.take(ahead) == Parked("future")
    assert state_of(feed) == before
    assert isinstance(feed.take(ahead, NOW_MS + 1), Accepted)


def test_a8_an_entry_after_a_gap_waits(author):
    device = author.device()
    missing, later = device.append("profile/1"), device.append("profile/1")
    feed = kept(author, device, taken=False)
    assert feed.take(missing) == Parked("gap")
    feed.take(device.entries[0])
    before = state_of(feed)
    assert feed.take(later) == Parked("gap")
    assert state_of(feed) == before
    assert isinstance(feed.take(missing), Accepted)
    assert isinstance(feed.take(later), Accepted)


# --- A9, A10: it does not follow -------------------------------------------------------------


def test_a9_a_next_entry_that_names_another_predecessor_disputes_the_head(author):
    device = author.device()
    branch = device.fork_at(2)
    device.append("profile/1")
    branch.append("haiku/1")
    feed = kept(author, device)
    verdict = feed.take(branch.append("haiku/1"))
    assert isinstance(verdict, Forked)
    assert verdict.fork.disputed_seq == 2
    assert verdict.fork.first == device.entries[1]
    assert feed.verifier.head == Head(2, device.ids[1], device.entries[1].header.time_ms)


@pytest.mark.parametrize("what", ["root", "time"])
def test_a10_another_history_or_a_step_back_in_time_ends_the_feed(author, what):
    device = author.device()
    feed = kept(author, device)
    before = (feed.verifier.head, feed.verifier.peaks.to_bytes())
    spoiled = check_entry(device.spoil(what))
    verdict = feed.take(spoiled)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.ends_feed) == ("broken", True)
    assert feed.verifier.state is FeedState.BROKEN
    assert feed.verifier.broken == spoiled
    assert (feed.verifier.head, feed.verifier.peaks.to_bytes()) == before
    assert feed.take(spoiled) == Known()


def test_a10_the_same_time_as_the_head_is_no_step_back(author):
    device = author.device()
    feed = kept(author, device)
    assert isinstance(feed.take(next_one(device, time_ms=START_MS)), Accepted)


def test_after_a_broken_entry_a_good_one_is_a_fork_and_goes_on(author):
    device = author.device()
    feed = kept(author, device)
    spoiled = check_entry(device.spoil("root"))
    feed.take(spoiled)
    good = device.append("profile/1")
    verdict = feed.take(good)
    assert isinstance(verdict, Forked)
    assert verdict.accepted == judge_body(good)
    assert verdict.fork.disputed_seq == 2
    assert feed.verifier.head == Head(2, good.entry_id, good.header.time_ms)
    assert (feed.verifier.state, feed.verifier.frozen_seq) == (FeedState.FROZEN, 2)
    assert isinstance(feed.take(device.append("profile/1")), Accepted)
    assert isinstance(feed.take(spoiled), Forked)


def test_two_broken_entries_at_one_place_are_a_fork_and_the_first_stays(author):
    device = author.device()
    feed = kept(author, device)
    first, second = check_entry(device.spoil("root")), check_entry(device.spoil("time"))
    feed.take(first)
    verdict = feed.take(second)
    assert isinstance(verdict, Forked)
    assert verdict.accepted is None
    assert feed.verifier.broken == first
    assert feed.verifier.state is FeedState.FROZEN


def test_a_broken_entry_does_not_lift_a_dispute(author):
    device = author.device()
    device.append("profile/1")
    feed = kept(author, device)
    feed.take(device.fork_at(2).append("haiku/1"))
    assert isinstance(feed.take(check_entry(device.spoil("time"))), Rejected)
    assert (feed.verifier.state, feed.verifier.frozen_seq) == (FeedState.FROZEN, 2)


def test_after_a_broken_entry_one_of_the_future_waits_and_is_not_lost(author):
    device = author.device()
    feed = kept(author, device)
    feed.take(check_entry(device.spoil("root")))
    ahead = device.append("profile/1", time_ms=NOW_MS + CLOCK_AHEAD_MS_MAX + 1)
    assert feed.take(ahead) == Parked("future")
    verdict = feed.take(ahead, NOW_MS + 1)
    assert isinstance(verdict, Forked)
    assert verdict.accepted is not None


def test_after_a_broken_entry_1_a_delegation_waits_and_is_not_lost(author):
    device = author.device()
    wrong = device.fork_at(1).append("profile/1")
    feed = KeptFeed(device.key)
    assert isinstance(feed.take(wrong), Rejected)
    assert feed.take(device.entries[0]) == Parked("delegation")
    feed.known[author.identity] = standing_of(author)
    verdict = feed.take(device.entries[0])
    assert isinstance(verdict, Forked)
    assert verdict.accepted is not None
    assert feed.verifier.opening == Opening(author.identity, 0, "full")


def test_after_a_broken_entry_one_of_another_branch_is_a_fork_with_the_head(author):
    device = author.device()
    branch = device.fork_at(2)
    device.append("profile/1")
    branch.append("haiku/1")
    feed = kept(author, device)
    feed.take(check_entry(device.spoil("root")))
    verdict = feed.take(branch.append("haiku/1"))
    assert isinstance(verdict, Forked)
    assert verdict.fork.disputed_seq == feed.verifier.frozen_seq == 2
    assert verdict.accepted is None


# --- A11: whose Feed it is -------------------------------------------------------------------


def test_a11_a_first_root_key_opens_its_own_identity(author):
    feed = KeptFeed(author.root.key)
    assert isinstance(feed.take(author.root.entries[0]), Accepted)
    assert feed.verifier.opening == Opening(author.identity, 0, ROLE_ROOT)
    assert feed.verifier.opening.is_root


def test_a11_a_first_root_key_cannot_open_another_identity(author):
    other = Author(2)
    stolen = author.root.fork_at(1)
    stolen.append("identity/1", other.root.entries[0].body)
    verdict = KeptFeed(stolen.key).take(stolen.entries[0])
    assert verdict == Rejected("role", "first root key is not the identity", ends_feed=True)


@pytest.mark.parametrize("kind", ["profile/1", "haiku/1", "revoke/1"])
def test_a11_another_kind_at_seq_1_ends_the_feed(author, kind):
    writer = author.root.fork_at(1)
    writer.append(kind, EXAMPLES.get(kind))
    feed = KeptFeed(writer.key)
    assert feed.take(writer.entries[0]) == Rejected("role", f"{kind} at seq 1", ends_feed=True)
    assert feed.verifier.state is FeedState.BROKEN
    assert feed.verifier.head is None


@pytest.mark.parametrize("kind", ["identity/1", "device/1"])
def test_a11_a_void_body_at_seq_1_ends_the_feed(author, kind):
    writer = author.root.fork_at(1)
    writer.append(kind, b"\xa0")
    verdict = KeptFeed(writer.key).take(writer.entries[0])
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.ends_feed) == ("role", True)
    assert verdict.detail.startswith(f"body of {kind}: ")


@pytest.mark.parametrize("missing", ["none", "wrong"])
def test_a11_entry_1_waits_for_its_body(author, missing):
    for writer in (author.root, author.device()):
        feed = kept(author, writer, taken=False)
        entry = writer.entries[0]
        bare = entry._replace(body=None if missing == "none" else b"\0")
        assert feed.take(bare) == Parked("body")
        assert feed.verifier.head is None
        assert isinstance(feed.take(entry), Accepted)


def test_a11_a_device_waits_for_its_root_key(author):
    device = author.device()
    feed = KeptFeed(device.key)
    assert feed.take(device.entries[0]) == Parked("delegation")
    feed.known[author.identity] = standing_of(author)
    assert isinstance(feed.take(device.entries[0]), Accepted)
    assert feed.verifier.opening == Opening(author.identity, 0, "full")


def test_a11_a_device_of_a_later_root_key_waits_for_the_rotation(author):
    before = standing_of(author)
    author.rotate()
    device = author.device("later", ROLE_MIRROR)
    feed = KeptFeed(device.key, {author.identity: before})
    assert feed.take(device.entries[0]) == Parked("delegation")
    feed.known[author.identity] = standing_of(author)
    assert isinstance(feed.take(device.entries[0]), Accepted)
    assert feed.verifier.opening == Opening(author.identity, 1, ROLE_MIRROR)


@pytest.mark.parametrize("spoil", ["sig", "root", "identity", "r"])
def test_a11_a_delegation_that_the_root_key_did_not_sign_ends_the_feed(author, spoil):
    device = author.device(spoil=spoil)
    feed = kept(author, device, taken=False)
    assert feed.take(device.entries[0]) == Rejected(
        "role", "the root key did not sign this delegation", ends_feed=True
    )


def test_a11_a_delegation_is_for_one_device_at_one_time(author):
    device = author.device()
    thief = Writer(Signer.from_seed(b"\7" * 32), author.chance)
    thief.append("device/1", device.entries[0].body, time_ms=START_MS)
    assert isinstance(kept(author, thief, taken=False).take(thief.entries[0]), Rejected)
    later = device.fork_at(1)
    later.append("device/1", device.entries[0].body, time_ms=START_MS + 1)
    assert isinstance(kept(author, later, taken=False).take(later.entries[0]), Rejected)


def test_a11_a_root_key_under_another_number_ends_the_feed(author):
    author.r = 1
    device = author.device()
    assert kept(author, device, taken=False).take(device.entries[0]) == Rejected(
        "role", "root key is not number 1", ends_feed=True
    )


def test_a11_a_later_root_key_waits_for_the_rotation_to_it(author):
    known = standing_of(author)
    author.rotate()
    feed = KeptFeed(author.root.key)
    entry = author.root.entries[0]
    assert feed.take(entry) == Parked("delegation")
    feed.known[author.identity] = known
    assert feed.take(entry) == Parked("delegation")
    feed.known[author.identity] = standing_of(author)
    assert isinstance(feed.take(entry), Accepted)
    assert feed.verifier.opening == Opening(author.identity, 1, ROLE_ROOT)


def test_a11_a_known_root_key_waits_for_the_rotation_it_names(author):
    author.rotate()
    body = msgspec.structs.replace(judge_body(author.root.entries[0]).body, rotated_from=b"\5" * 32)
    writer = author.root.fork_at(1)
    writer.append("identity/1", body)
    assert kept(author, writer, taken=False).take(writer.entries[0]) == Parked("delegation")


def test_a11_a_root_key_cannot_use_the_rotation_to_another(author):
    first = author.rotate()
    author.rotate()
    body = judge_body(author.root.entries[0]).body
    for changed in (
        msgspec.structs.replace(body, rotated_from=first.entry_id),
        msgspec.structs.replace(body, r=1),
    ):
        writer = author.root.fork_at(1)
        writer.append("identity/1", changed)
        assert kept(author, writer, taken=False).take(writer.entries[0]) == Rejected(
            "role", "the rotation it names is to another root key", ends_feed=True
        )


# --- A11: what its Author may sign -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["identity/1", "device/1"])
def test_a11_what_opens_a_feed_stands_at_seq_1_only(author, kind):
    for writer in (author.root, author.device()):
        feed = kept(author, writer)
        assert feed.take(next_one(writer, kind, body=EXAMPLES[kind])) == Rejected(
            "role", f"{kind} at seq 2, allowed at seq 1 only", ends_feed=True
        )


@pytest.mark.parametrize("kind", DEVICE_KINDS)
def test_a11_a_device_signs_every_kind_that_is_not_the_roots(author, kind):
    device = author.device()
    entry = next_one(device, kind, body=EXAMPLES[kind])
    verdict = kept(author, device).take(entry)
    assert isinstance(verdict, Accepted)
    assert verdict.body_state is BodyState.HERE
    root_entry = next_one(author.root, kind, body=EXAMPLES[kind])
    assert kept(author, author.root).take(root_entry) == Rejected(
        "role", f"{kind} by a root key", ends_feed=True
    )


@pytest.mark.parametrize("kind", ["revoke/1", "rotate/1"])
def test_a11_only_a_root_key_revokes_and_rotates(author, kind):
    device = author.device()
    entry = next_one(device, kind, body=EXAMPLES[kind])
    assert kept(author, device).take(entry) == Rejected(
        "role", f"{kind} by a device key", ends_feed=True
    )
    root_entry = next_one(author.root, kind, body=EXAMPLES[kind])
    assert isinstance(kept(author, author.root).take(root_entry), Accepted)


def test_a11_an_unknown_kind_is_accepted_in_every_feed(author):
    for writer in (author.root, author.device()):
        assert kept(author, writer).take(next_one(writer)) == Accepted(BodyState.HERE)


def test_a11_a_rotation_ends_its_root_feed(author):
    old = author.root
    author.rotate()
    feed = kept(author, old)
    assert feed.verifier.state is FeedState.ENDED
    assert feed.take(next_one(old)) == Rejected(
        "role", "haiku/1 after the rotation that ended this root feed", ends_feed=True
    )


def test_a11_nothing_follows_a_rotation_in_a_disputed_root_feed(author):
    old = author.root
    branch = old.fork_at(2)
    author.rotate()
    for early in (True, False):
        feed = kept(author, old, taken=False)
        feed.take(old.entries[0])
        other = next_one(branch)
        if early:
            feed.take(old.entries[1])
            feed.take(other)
        else:
            feed.verifier.freeze(2)
            feed.take(old.entries[1])
        assert feed.verifier.state is FeedState.FROZEN
        verdict = feed.take(next_one(old))
        assert isinstance(verdict, Rejected)
        assert verdict.ends_feed


def test_a11_a_second_entry_after_a_rotation_is_a_fork_and_does_not_stand(author):
    old = author.root
    author.rotate()
    feed = kept(author, old)
    feed.take(next_one(old))
    verdict = feed.take(next_one(old))
    assert isinstance(verdict, Forked)
    assert verdict.accepted is None
    assert feed.verifier.head == Head(2, old.ids[1], old.entries[1].header.time_ms)


def test_a11_a_rotation_that_is_void_ends_nothing(author):
    author.root.append("rotate/1", b"\xa0")
    feed = kept_root = KeptFeed(author.root.key)
    first, void = kept_root.take_all(author.root.entries)
    assert isinstance(first, Accepted)
    assert isinstance(void, Accepted)
    assert void.body_state is BodyState.VOID
    assert feed.verifier.state is FeedState.LIVE
    feed.verifier.freeze(2)
    assert isinstance(feed.take(next_one(author.root)), Accepted)


def test_a11_a_root_feed_has_a_last_place(author):
    opening = author.root.entries[0]
    held = resigned(
        author.root,
        author.root.append("haiku/1"),
        seq=ROOT_FEED_ENTRIES_MAX - 1,
        prev=bytes(32),
        root=bytes(32),
    )
    peaks = Peaks()
    for number in range(ROOT_FEED_ENTRIES_MAX - 1):
        peaks.add(number.to_bytes(32, "big"))
    feed = KeptFeed(
        author.root.key,
        head=Head(held.seq, held.entry_id, held.header.time_ms),
        peaks=peaks,
        opening=Opening(author.identity, 0, ROLE_ROOT),
    )
    last = resigned(
        author.root,
        opening,
        seq=held.seq + 1,
        prev=held.entry_id,
        root=peaks.root(),
        kind="aa/1",
        time_ms=held.header.time_ms,
    )
    assert isinstance(feed.take(last), Accepted)
    beyond = resigned(
        author.root, last, seq=last.seq + 1, prev=last.entry_id, root=feed.verifier.peaks.root()
    )
    assert feed.take(beyond) == Rejected(
        "role", "root feed of more than 1024 entries", ends_feed=True
    )


# --- A12, A14: the Body ----------------------------------------------------------------------


def test_a12_a_body_that_is_not_the_one_named_is_dropped_and_the_header_stays(author):
    device = author.device()
    feed = kept(author, device)
    verdict = feed.take(check_entry(device.spoil("body")))
    assert isinstance(verdict, Accepted)
    assert (verdict.body_state, verdict.body) == (BodyState.ABSENT, None)
    assert verdict.body_fault.startswith("body of ")
    assert feed.verifier.head.seq == 2


def test_a12_a_missing_body_is_absent_or_private_by_its_kind(author):
    device = author.device()
    states = {
        kind: judge_body(next_one(device, kind, body=EXAMPLES[kind]).without_body()).body_state
        for kind in DEVICE_KINDS
    }
    private = {kind for kind, state in states.items() if state is BodyState.PRIVATE}
    assert private == {"private/1", "receipt/1", "ruling/1"}
    assert {states[kind] for kind in states if kind not in private} == {BodyState.ABSENT}
    assert judge_body(next_one(device).without_body()) == Accepted(BodyState.ABSENT)


@pytest.mark.parametrize("kind", ["revoke/1", "rotate/1", "haiku/1"])
@pytest.mark.parametrize("body", [None, b"\0"])
def test_a12_in_a_root_feed_an_entry_waits_for_its_body(author, kind, body):
    feed = kept(author, author.root)
    before = state_of(feed)
    entry = next_one(author.root, kind, body=EXAMPLES.get(kind))
    assert feed.take(entry._replace(body=body)) == Parked("body")
    assert state_of(feed) == before
    assert isinstance(feed.take(entry), Accepted)


@pytest.mark.parametrize("raw", [b"\xa0", b"\0", b"\xff", b"\xa1aa\xfb" + bytes(8)])
def test_a14_a_body_that_breaks_its_schema_is_void_and_the_header_stays(author, raw):
    device = author.device()
    feed = kept(author, device)
    verdict = feed.take(next_one(device, "profile/1", body=raw))
    assert isinstance(verdict, Accepted)
    assert (verdict.body_state, verdict.body) == (BodyState.VOID, None)
    assert verdict.body_fault
    assert feed.verifier.head.seq == 2


def test_a14_what_a_body_of_an_unknown_kind_holds_is_nobodys_business(author):
    device = author.device()
    entry = next_one(device, "haiku/1", body=b"\xff not DAG-CBOR")
    assert kept(author, device).take(entry) == Accepted(BodyState.HERE)


def test_a_body_is_read_once_and_handed_on(author):
    device = author.device()
    verdict = kept(author, device).take(next_one(device, "profile/1"))
    assert isinstance(verdict, Accepted)
    assert verdict.body.name.startswith("name ")
    assert verdict.body_fault is None


# --- where an earlier verifier stopped -------------------------------------------------------


def test_a_verifier_goes_on_where_another_one_stopped(author):
    device = author.device()
    device.append("profile/1")
    stopped = kept(author, device)
    more = device.append("haiku/1")
    again = KeptFeed(
        device.key,
        stopped.known,
        head=stopped.verifier.head,
        peaks=Peaks.from_bytes(2, stopped.verifier.peaks.to_bytes()),
        opening=stopped.verifier.opening,
    )
    assert again.take(more) == stopped.take(more)
    assert state_of(again) == state_of(stopped)


def test_a_verifier_that_knows_what_broke_the_feed_names_the_fork(author):
    device = author.device()
    stopped = kept(author, device)
    broken = check_entry(device.spoil("root"))
    stopped.take(broken)
    again = KeptFeed(
        device.key,
        stopped.known,
        head=stopped.verifier.head,
        peaks=stopped.verifier.peaks,
        opening=stopped.verifier.opening,
        state=stopped.verifier.state,
        broken=broken,
    )
    assert again.take(broken) == Known()
    assert isinstance(again.take(device.append("profile/1")), Forked)


def test_a_verifier_at_an_earlier_entry_takes_another_branch_and_stays_disputed(author):
    device = author.device()
    branch = device.fork_at(2)
    device.append("profile/1")
    other = branch.append("haiku/1")
    feed = kept(author, device)
    feed.take(other)
    peaks = Peaks()
    peaks.add(device.ids[0])
    earlier = feed.verifier.at(Head(1, device.ids[0], START_MS), peaks)
    assert isinstance(earlier.accept(other, NOW_MS), Accepted)
    assert (earlier.state, earlier.frozen_seq) == (FeedState.FROZEN, 2)
    assert feed.verifier.head.entry_id == device.ids[1]
