"""What a buyer commits to, and the order nobody picks."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import msgspec
import pytest

from hanse.core.errors import BadShape
from hanse.core.ledger.codec import encode
from hanse.core.ledger.tree import root_of
from hanse.core.limits import TRIAL_INPUT_SIZE_BYTES_MAX, TRIAL_LABEL_SIZE_BYTES_MAX
from hanse.core.model.trial import Query
from hanse.core.trade.trial_commitment import (
    CommitRefused,
    _Draws,
    asking_order,
    commit,
    is_committed,
    leaf_of,
    salted_hash,
)
from hanse.core.trade.trial_messages import read_query
from tests.fakes.chance import SeededChance
from tests.fakes.trials import on_trial

ROWS = [(b"row %d" % number, b"label %d" % (number % 3)) for number in range(7)]


def test_a_leaf_is_the_one_of_the_specification():
    committed = commit(ROWS, SeededChance(1))
    one = committed.inputs[2]
    by_hand = sha256(
        b"\0" + sha256(one.salt_x + one.x).digest() + sha256(one.salt_y + one.y).digest()
    ).digest()
    assert sha256(b"\0" + one.leaf).digest() == by_hand
    assert committed.root == root_of([it.leaf for it in committed.inputs])
    assert {len(it.salt_x) for it in committed.inputs} == {16}
    assert (
        len({it.salt_x for it in committed.inputs} | {it.salt_y for it in committed.inputs}) == 14
    )


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_every_leaf_has_a_path_to_the_root(rows):
    trial = on_trial(rows=rows)
    for i in range(rows):
        assert is_committed(trial.query(i), trial.granted.request.commit)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": b"another input"},
        {"salt_x": bytes(16)},
        {"label_hash": bytes(32)},
        {"index": 0},
        {"path": ()},
        {"path": (bytes(32),) * 14},
    ],
    ids=["input", "salt", "label", "leaf", "no path", "long path"],
)
def test_what_was_not_committed_is_seen(changes):
    trial = on_trial(rows=9)
    query = next(trial.query(i) for i in range(9) if trial.query(i).index != 0)
    assert is_committed(query, trial.granted.request.commit)
    changed = msgspec.structs.replace(query, **changes)
    assert not is_committed(changed, trial.granted.request.commit)


def test_a_salt_cannot_be_made_longer_at_the_cost_of_a_label():
    # With salts of free length "S" + "17" would open as "S1" + "7".
    salt = bytes(range(16))
    assert salted_hash(salt, b"17") == sha256(salt + b"17").digest()
    with pytest.raises(AssertionError):
        salted_hash(salt + b"1", b"7")
    query = on_trial().query(0)
    fields = {name: getattr(query, name) for name in Query.__struct_fields__}
    longer = encode(fields | {"salt_x": query.salt_x + query.x[:1], "x": query.x[1:]})
    with pytest.raises(BadShape, match="salt_x"):
        read_query(longer, bytes(64))


def test_a_guess_of_the_label_needs_the_salt_the_seller_never_gets():
    trial = on_trial()
    query = trial.query(0)
    row = trial.committed.inputs[query.index]
    guesses = {salted_hash(query.salt_x, b"%d" % label) for label in range(10)}
    assert query.label_hash not in guesses
    assert query.label_hash == salted_hash(row.salt_y, row.y)
    assert leaf_of(salted_hash(query.salt_x, query.x), query.label_hash) == row.leaf


@pytest.mark.parametrize(
    ("rows", "reason", "number"),
    [
        ([], "none", 0),
        ([(b"", b"1")], "input_size", 1),
        ([(b"a", b"1"), (bytes(TRIAL_INPUT_SIZE_BYTES_MAX + 1), b"1")], "input_size", 2),
        ([(b"a", bytes(TRIAL_LABEL_SIZE_BYTES_MAX + 1))], "label_size", 1),
        ([(b"a", b"1"), (b"b", b"1"), (b"a", b"2")], "twice", 3),
        ([(b"%d" % n, b"") for n in range(10_001)], "too_many", 10_001),
    ],
    ids=["none", "empty", "huge", "label", "twice", "too many"],
)
def test_unfit_rows_are_named(rows, reason, number):
    with pytest.raises(CommitRefused) as caught:
        commit(rows, SeededChance(1))
    assert (caught.value.reason, caught.value.values["row"]) == (reason, number)


def test_the_order_is_a_permutation_that_both_sides_compute():
    order = asking_order(b"r" * 32, b"n" * 32, 100, 100)
    assert sorted(order) == list(range(100))
    assert asking_order(b"r" * 32, b"n" * 32, 100, 10) == order[:10]
    # Frozen: another program must ask in the same order.
    assert order[:6] == (6, 74, 93, 85, 70, 12)


def test_a_draw_beyond_the_last_whole_multiple_is_left_out():
    draws = _Draws(bytes(32))
    assert all(draws.below(2**63 + 1) < 2**63 + 1 for _ in range(20))
    assert draws._drawn > 20  # about half are drawn again


def test_neither_side_alone_fixes_the_order():
    orders = {
        asking_order(root * 32, nonce * 32, 50, 50)
        for root in (b"a", b"b", b"c")
        for nonce in (b"x", b"y", b"z")
    }
    assert len(orders) == 9


def test_every_leaf_is_as_likely_first():
    firsts = Counter(
        asking_order(sha256(b"%d" % n).digest(), bytes(32), 5, 1)[0] for n in range(2000)
    )
    assert all(abs(count - 400) < 80 for count in firsts.values())


def test_the_buyers_rows_show_in_no_representation():
    trial = on_trial()
    row = trial.committed.inputs[0]
    shown = repr([trial.committed, trial.query(0), trial.ask(0)])
    for secret in (row.x, row.salt_x, row.salt_y, trial.query(0).x):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
