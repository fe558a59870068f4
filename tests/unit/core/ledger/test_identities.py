"""Who speaks for whom and until where: a fold over a set, so the order never matters."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from hanse.core.crypto.signing import PREFIX_ROTATE, Signer
from hanse.core.ledger.feed import judge_body
from hanse.core.ledger.identities import (
    ROLE_FULL,
    ROLE_MIRROR,
    ROLE_ROOT,
    Opening,
    Void,
    counted_until,
    rotate_message,
    speaks_for,
    standing,
)
from hanse.core.ledger.kinds import Identity1, Rotate1
from hanse.core.limits import ROOT_ROTATIONS_MAX, SEQ_MAX
from hanse.core.model.ids import IdentityId
from tests.fakes.author import Author, DeviceFeed, Writer
from tests.fakes.kept_feed import standing_of, statements


@pytest.fixture
def author() -> Author:
    return Author(1)


def longer(device: DeviceFeed, count: int = 5) -> DeviceFeed:
    for _ in range(count):
        device.append("profile/1")
    return device


def opening(author: Author, r: int = 0, role: str = ROLE_FULL) -> Opening:
    return Opening(author.identity, r, role)


def folded_the_same_in_any_order(author: Author, *more) -> None:
    """Fold the statements in many orders, and with repetitions."""
    found = statements([*author.root_entries, *more])
    expected = standing(author.identity, found)
    assert expected is not None
    dice = random.Random(5)
    orders = itertools.islice(itertools.permutations(found), 24)
    for order in itertools.chain(orders, (dice.sample(found, len(found)) for _ in range(60))):
        assert standing(author.identity, [*order, *order[:2]]) == expected


# --- the fold --------------------------------------------------------------------------------


def test_nothing_is_known_while_the_first_root_entry_is_missing(author):
    assert standing(author.identity, []) is None
    author.revoke(author.device())
    assert standing(author.identity, statements(author.root.entries[1:])) is None
    assert standing(IdentityId(bytes(32)), statements(author.root.entries)) is None


def test_a_new_identity_has_one_root_key_and_epoch_0(author):
    known = standing_of(author)
    assert known.roots == {author.root.key: 0}
    assert known.opened == {author.root.key}
    assert (known.epoch, known.newest_root) == (0, (0, author.root.key))
    assert known.box == judge_body(author.root.entries[0]).body.box
    assert (known.cuts, known.rotations, known.is_frozen) == ({}, (), False)


def test_a_root_key_that_opens_another_identity_says_nothing_about_this_one(author):
    stranger = Author(2)
    found = statements([*author.root_entries, *stranger.root_entries])
    stranger.revoke(author.device())
    found += statements(stranger.root.entries[1:])
    assert standing(author.identity, found) == standing_of(author)


def test_what_a_device_says_is_no_statement_of_the_root(author):
    device = longer(author.device(), 1)
    found = statements([*author.root_entries, *device.entries])
    assert standing(author.identity, found) == standing_of(author)
    own = author.root.fork_at(2).append("profile/1")
    assert standing_of(author, own) == standing_of(author)


def test_each_revocation_starts_an_epoch_with_its_own_box(author):
    boxes = [judge_body(author.root.entries[0]).body.box]
    boxes += [judge_body(author.revoke(author.device(name))).body.box for name in ("a", "b")]
    known = standing_of(author)
    assert known.boxes == dict(enumerate(boxes))
    assert (known.epoch, known.box) == (2, boxes[2])


def test_of_two_boxes_of_one_epoch_the_later_root_key_and_entry_counts(author):
    side = author.root.fork_at(2)
    author.revoke(author.device())
    author.epoch = 0
    author.revoke(author.device("b"), root=side)
    author.epoch = 0
    last = author.revoke(author.device("c"))
    known = standing_of(author, *side.entries)
    assert known.box == judge_body(last).body.box
    folded_the_same_in_any_order(author, *side.entries)


# --- cuts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations((4, 2, 3))))
def test_of_several_revocations_the_lowest_counts(author, order):
    device = longer(author.device())
    for last_seq in order:
        author.revoke(device, last_seq)
    cut = standing_of(author).cut_of(device.key, 0)
    assert (cut.last_seq, cut.last_id, cut.reason) == (2, device.ids[1], "lost")


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_revocations_after_one_seq_the_lower_id_counts(author, order):
    device = longer(author.device(), 1)
    branch = device.fork_at(2)
    branch.append("haiku/1")
    for writer in (device, branch)[::order]:
        author.revoke(writer, 2)
    cut = standing_of(author).cut_of(device.key, 0)
    assert cut.last_id == min(device.ids[1], branch.ids[1])
    folded_the_same_in_any_order(author)


def test_of_two_equal_cuts_the_first_says_why_whichever_arrives_first(author):
    device = author.device()
    successor = author.device("next")
    author.revoke(device, 1, successor=successor.key, reason="stolen")
    author.revoke(device, 1, reason="sold")
    cut = standing_of(author).cut_of(device.key, 0)
    assert (cut.successor, cut.reason) == (successor.key, "stolen")
    folded_the_same_in_any_order(author)


def test_a_revocation_of_all_makes_the_whole_feed_void(author):
    device = longer(author.device())
    author.revoke(device, 0)
    cut = standing_of(author).cut_of(device.key, 0)
    assert (cut.last_seq, cut.last_id) == (0, None)


def test_revocations_on_every_branch_of_a_root_feed_count(author):
    device, other = longer(author.device()), longer(author.device("b"))
    side = author.root.fork_at(2)
    author.revoke(device, 3)
    author.revoke(device, 2, root=side)
    author.revoke(other, 1, root=side)
    known = standing_of(author, *side.entries)
    assert known.cut_of(device.key, 0).last_seq == 2
    assert known.cut_of(other.key, 0).last_seq == 1
    folded_the_same_in_any_order(author, *side.entries)


def test_a_device_nobody_cut_has_no_cut(author):
    device = author.device()
    author.revoke(author.device("b"))
    assert standing_of(author).cut_of(device.key, 0) is None


# --- rotations -------------------------------------------------------------------------------


def test_a_rotation_makes_the_next_root_key(author):
    author.rotate()
    author.rotate()
    known = standing_of(author)
    assert known.roots == {root.key: r for r, root in enumerate(author.roots)}
    assert known.opened == set(known.roots)
    assert known.newest_root == (2, author.root.key)
    assert [rotation.new_root for rotation in known.rotations] == [
        root.key for root in author.roots[1:]
    ]
    folded_the_same_in_any_order(author)


def test_a_rotation_says_of_each_device_whether_it_goes_on(author):
    stays, cut, void, gone = (longer(author.device(name)) for name in "abcd")
    author.revoke(gone, 4)
    author.rotate([(stays, None), (cut, 3), (void, 0)])
    known = standing_of(author)
    unnamed = author.device("e")
    assert known.cut_of(stays.key, 0) is None
    assert (known.cut_of(cut.key, 0).last_seq, known.cut_of(cut.key, 0).last_id) == (
        3,
        cut.ids[2],
    )
    assert known.cut_of(void.key, 0).last_seq == 0
    assert known.cut_of(gone.key, 0).last_seq == 4  # revoked before, so it need not be named
    assert known.cut_of(unnamed.key, 0).reason == "rotated"
    assert known.cut_of(unnamed.key, 0).last_seq == 0


def test_a_rotation_does_not_touch_devices_of_later_root_keys(author):
    author.rotate()
    device = author.device("later")
    known = standing_of(author)
    assert known.cut_of(device.key, 1) is None
    author.rotate()
    assert standing_of(author).cut_of(device.key, 1).last_seq == 0


def test_the_lower_of_rotation_and_revocation_counts(author):
    device = longer(author.device())
    author.revoke(device, 2)
    author.rotate([(device, 4)])
    assert standing_of(author).cut_of(device.key, 0).last_seq == 2
    other = Author(2)
    device = longer(other.device())
    other.revoke(device, 4)
    other.rotate([(device, 2)])
    assert standing_of(other).cut_of(device.key, 0).last_seq == 2


def test_a_rotation_that_is_not_in_turn_or_not_signed_by_the_new_key_is_none(author):
    new = Writer(Signer.from_seed(b"\3" * 32), author.chance)
    good = Rotate1(
        salt=bytes(16),
        r=1,
        root=new.key,
        epoch=1,
        sig=new.signer.sign(PREFIX_ROTATE, rotate_message(author.identity, 1, new.key)),
        devices=(),
    )
    two = new.signer.sign(PREFIX_ROTATE, rotate_message(author.identity, 2, new.key))
    own = author.root.signer
    to_itself = own.sign(PREFIX_ROTATE, rotate_message(author.identity, 1, own.public_key))
    for bad in (
        msgspec.structs.replace(good, sig=bytes(64)),
        msgspec.structs.replace(good, sig=two),
        msgspec.structs.replace(good, r=2, sig=two),
        msgspec.structs.replace(good, root=own.public_key, sig=to_itself),
    ):
        entry = author.root.fork_at(2).append("rotate/1", bad)
        known = standing_of(author, entry)
        assert (known.roots, known.rotations) == ({author.root.key: 0}, ())
    entry = author.root.fork_at(2).append("rotate/1", good)
    known = standing_of(author, entry)
    assert known.roots == {author.root.key: 0, new.key: 1}
    assert known.opened == {author.root.key}


def test_a_later_root_key_opens_with_the_rotation_that_names_it_only(author):
    first = author.rotate()
    second = author.rotate()
    body = judge_body(author.root.entries[0]).body
    assert isinstance(body, Identity1)
    wrong = (
        msgspec.structs.replace(body, rotated_from=first.entry_id),
        msgspec.structs.replace(body, rotated_from=b"\1" * 32),
        msgspec.structs.replace(body, r=1),
        msgspec.structs.replace(body, identity=bytes(32)),
    )
    others = [it for it in author.root_entries if it.author != author.root.key]
    for bad in wrong:
        entry = author.root.fork_at(1).append("identity/1", bad)
        known = standing(author.identity, statements([*others, entry]))
        assert known.opened == {root.key for root in author.roots[:2]}
        assert known.roots[author.root.key] == 2
    assert second.entry_id in {rotation.entry_id for rotation in known.rotations}


def test_root_keys_end_with_the_last_number(author):
    for _ in range(ROOT_ROTATIONS_MAX):
        author.rotate()
    known = standing_of(author)
    assert known.newest_root == (ROOT_ROTATIONS_MAX, author.root.key)


# --- two rotations of one Root key -----------------------------------------------------------


def frozen_author() -> tuple[Author, DeviceFeed, DeviceFeed, list]:
    """Rotate Root key 0 twice, with a Device of its own and one of each later key."""
    author = Author(1)
    device = longer(author.device())
    side = author.root.fork_at(2)
    old = author.root
    author.rotate([(device, 4)])
    later = longer(author.device("later"))
    author.r = 0
    author.rotate([(device, 3)], root=side)
    assert author.roots[0] is old
    return author, device, later, side.entries


def test_two_rotations_of_one_root_key_freeze_the_identity():
    author, device, later, side = frozen_author()
    known = standing_of(author, *side)
    assert known.is_frozen
    assert known.cut_of(device.key, 0).last_seq == 3
    assert (known.cut_of(later.key, 1).last_seq, known.cut_of(later.key, 1).reason) == (
        0,
        "frozen",
    )
    assert known.newest_root == (1, min(root.key for root in author.roots[1:]))
    folded_the_same_in_any_order(author, *side)


def test_one_rotation_given_twice_freezes_nothing(author):
    author.rotate()
    again = statements(author.root_entries) * 2
    assert not standing(author.identity, again).is_frozen


def test_a_root_key_cannot_open_with_the_rotation_to_its_rival():
    author, _, _, side = frozen_author()
    first, second = author.roots[1:]
    rivals = [judge_body(root.entries[0]).body.rotated_from for root in (second, first)]
    swapped = [
        root.fork_at(1).append(
            "identity/1", msgspec.structs.replace(judge_body(root.entries[0]).body, rotated_from=it)
        )
        for root, it in zip((first, second), rivals, strict=True)
    ]
    found = statements([*author.roots[0].entries, *side, *swapped])
    known = standing(author.identity, found)
    assert known.opened == {author.roots[0].key}
    assert set(known.roots) == {root.key for root in author.roots}


@pytest.mark.parametrize("seed", range(4))
def test_a_key_named_by_rotations_of_two_numbers_has_the_lower_one(seed):
    """Nobody honest does it, and still all must agree."""
    author = Author(seed)
    chance = author.chance
    keys = {name: Signer.from_seed(chance.bytes(32)) for name in "abcx"}
    box = {"salt": bytes(16), "epoch": 0, "box": bytes(32)}

    def rotation(writer: Writer, r: int, name: str):
        signer = keys[name]
        message = rotate_message(author.identity, r, signer.public_key)
        sig = signer.sign(PREFIX_ROTATE, message)
        body = Rotate1(salt=bytes(16), r=r, root=signer.public_key, epoch=r, sig=sig, devices=())
        return writer.append("rotate/1", body)

    def opened(name: str, r: int, by) -> Writer:
        writer = Writer(keys[name], chance)
        body = Identity1(identity=author.identity, r=r, rotated_from=by.entry_id, **box)
        writer.append("identity/1", body)
        return writer

    side = author.root.fork_at(2)
    a = opened("a", 1, rotation(author.root, 1, "a"))
    b = opened("b", 1, rotation(side, 1, "b"))
    c = opened("c", 2, rotation(a, 2, "c"))
    third = rotation(c, 3, "x")
    x = opened("x", 2, rotation(b, 2, "x"))
    others = [*side.entries, *a.entries, *b.entries, *c.entries]
    known = standing_of(author, *others, *x.entries)
    assert known.roots[x.key] == 2
    assert x.key in known.opened
    folded_the_same_in_any_order(author, *others, *x.entries)
    # It opens with the rotation of its own number only, whichever is read first.
    wrong = opened("x", 2, third)
    assert wrong.key not in standing_of(author, *others, *wrong.entries).opened
    folded_the_same_in_any_order(author, *others, *wrong.entries)


# --- what counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "branch", "frozen_seq", "held", "expected"),
    [
        # no cut
        (None, "own", None, 6, SEQ_MAX),
        (None, "own", 4, 6, 3),
        (None, "own", 1, 6, 0),
        # all of it cut
        (0, "own", None, 6, 0),
        (0, "own", 4, 6, 0),
        # the branch held here is the one the Root named: the dispute is lifted up to there
        (3, "own", None, 6, 3),
        (4, "own", 3, 6, 4),
        (4, "own", 5, 6, 4),
        # what the Root named is not here yet
        (5, "own", None, 4, 5),
        (5, "own", 3, 4, 2),
        # another branch is held
        (5, "other", None, 6, 4),
        (5, "other", 3, 6, 2),
        (1, "own", 1, 6, 1),
    ],
)
def test_a_feed_counts_up_to_its_cut_or_its_dispute(cut, branch, frozen_seq, held, expected):
    author = Author(1)
    device = longer(author.device())
    other = longer(device.fork_at(3), 4)
    if cut is not None:
        author.revoke(device if branch == "own" else other, cut)
    ids = dict(enumerate(device.ids[:held], 1))
    counted = counted_until(opening(author), device.key, standing_of(author), frozen_seq, ids.get)
    assert counted == expected


def test_a_root_feed_counts_whatever_disputes_it(author):
    known = standing_of(author)
    for frozen_seq in (None, 1):
        opened = opening(author, role=ROLE_ROOT)
        assert counted_until(opened, author.root.key, known, frozen_seq, {}.get) == SEQ_MAX


# --- who speaks ------------------------------------------------------------------------------


def test_a_device_speaks_up_to_where_its_feed_counts(author):
    device = longer(author.device())
    known = standing_of(author)
    said = [speaks_for(entry, opening(author), known, 3) for entry in device.entries]
    assert said == [author.identity] * 3 + [Void("disputed")] * 3
    author.revoke(device, 3)
    said = [speaks_for(entry, opening(author), standing_of(author), 3) for entry in device.entries]
    assert said == [author.identity] * 3 + [Void("cut")] * 3


def test_a_mirror_says_that_it_is_one_and_what_it_saw_only(author):
    mirror = author.device("mirror", ROLE_MIRROR)
    mirror.append("profile/1")
    mirror.append("witness/1", b"\xa0")
    said = [
        speaks_for(entry, opening(author, role=ROLE_MIRROR), standing_of(author), SEQ_MAX)
        for entry in mirror.entries
    ]
    assert said == [author.identity, Void("mirror"), author.identity]


def test_a_root_key_speaks_for_its_identity(author):
    author.rotate()
    known = standing_of(author)
    for entry in author.root_entries:
        opened = opening(author, known.roots[entry.author], ROLE_ROOT)
        assert speaks_for(entry, opened, known, SEQ_MAX) == author.identity


def test_a_device_of_a_root_key_that_is_not_known_speaks_for_nobody(author):
    before = standing_of(author)
    author.rotate()
    device = author.device("later")
    opened = opening(author, 1)
    assert speaks_for(device.entries[0], opened, before, SEQ_MAX) == Void("delegation")
    assert speaks_for(device.entries[0], opened, standing_of(author), SEQ_MAX) == author.identity
