"""The state of a Trial: what its steps add up to, in whatever order they come."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from hanse.core.model.blob import Blob
from hanse.core.model.trial import (
    SealedTerms,
    TrialClose,
    TrialGrant,
    TrialRefusal,
    TrialRequest,
    TrialState,
)
from hanse.core.trade.trial_state import RULES, Party, SaidStep, fold_trial

BUYER, SELLER, OTHER = b"b" * 32, b"s" * 32, b"o" * 32
TRIAL = b"t" * 32
REQUEST = TrialRequest(release=bytes(32), way="sealed", commit=None, expires=9)
GRANT = TrialGrant(
    trial=TRIAL,
    artifact=b"a" * 32,
    sealed=SealedTerms(runs_max=3, until_ms=9, certify=False, keys=Blob(bytes(32), 32, bytes(32))),
    answers=None,
)
REFUSAL = TrialRefusal(trial=TRIAL, reason="not_now", text="")
CLOSE = TrialClose(trial=TRIAL, n=0, last=None)


def said(step, identity, time_ms, entry=None):
    entry_id = entry or bytes([time_ms]) * 32
    return SaidStep(entry_id, b"D" + identity[1:], identity, time_ms, step)


OPENING = said(REQUEST, BUYER, 1, TRIAL)


def fold(*steps, **local):
    found = fold_trial(steps, TRIAL, SELLER, **local)
    return None if found is None else found.state


def test_every_step_has_a_rule():
    assert set(RULES) == {TrialRequest, TrialGrant, TrialRefusal, TrialClose}
    assert RULES[TrialClose].signers == set(Party)


def test_a_trial_goes_from_request_to_replay():
    grant, close = said(GRANT, SELLER, 2), said(CLOSE, BUYER, 3)
    assert fold() is None
    assert fold(OPENING) is TrialState.REQUESTED
    assert fold(OPENING, grant) is TrialState.GRANTED
    assert fold(OPENING, grant, used=1) is TrialState.RUNNING
    assert fold(OPENING, grant, close, used=1) is TrialState.CLOSED
    assert fold(OPENING, grant, close, used=1, replayed="match") is TrialState.REPLAYED
    assert fold(OPENING, said(REFUSAL, SELLER, 2)) is TrialState.REFUSED


def test_the_order_in_which_steps_come_changes_nothing():
    steps = [OPENING, said(GRANT, SELLER, 2), said(REFUSAL, SELLER, 3), said(CLOSE, SELLER, 4)]
    states = {fold(*order) for order in permutations(steps)}
    assert states == {TrialState.CLOSED}
    repeated = {fold(*order, *order) for order in permutations(steps)}
    assert repeated == {TrialState.CLOSED}


def test_of_a_grant_and_a_refusal_the_first_counts():
    assert fold(OPENING, said(REFUSAL, SELLER, 2), said(GRANT, SELLER, 3)) is TrialState.REFUSED
    assert fold(OPENING, said(REFUSAL, SELLER, 3), said(GRANT, SELLER, 2)) is TrialState.GRANTED


@pytest.mark.parametrize(
    "step",
    [
        said(GRANT, BUYER, 2),
        said(GRANT, OTHER, 2),
        said(msgspec.structs.replace(GRANT, trial=bytes(32)), SELLER, 2),
        said(CLOSE, BUYER, 2),
        said(REFUSAL, BUYER, 2),
    ],
    ids=["by the buyer", "by a stranger", "of another", "close before", "refused by the buyer"],
)
def test_a_step_that_does_not_belong_does_not_count(step):
    assert fold(OPENING, step) is TrialState.REQUESTED


def test_a_stranger_closes_nothing():
    assert fold(OPENING, said(GRANT, SELLER, 2), said(CLOSE, OTHER, 3)) is TrialState.GRANTED


def test_a_grant_in_another_way_does_not_count():
    opening = said(
        TrialRequest(release=bytes(32), way="answers", commit=None, expires=9), BUYER, 1, TRIAL
    )
    assert fold(opening, said(GRANT, SELLER, 2)) is TrialState.REQUESTED


def test_a_seller_does_not_try_his_own_release():
    assert fold(said(REQUEST, SELLER, 1, TRIAL)) is None


def test_a_granted_trial_names_both_devices_and_entries():
    grant = said(GRANT, SELLER, 2)
    found = fold_trial([grant, OPENING], TRIAL, SELLER)
    assert found is not None
    assert found.granted is not None
    assert (found.granted.buyer, found.granted.seller) == (OPENING.author, grant.author)
    assert (found.granted.trial, found.granted.grant_id) == (TRIAL, grant.entry_id)
    assert (found.buyer_identity, found.refusal, found.close) == (BUYER, None, None)


def test_piece_keys_show_in_no_representation():
    key = bytes(range(32))
    terms = msgspec.structs.replace(GRANT.sealed, keys=Blob(bytes(32), 32, key))
    grant = msgspec.structs.replace(GRANT, sealed=terms)
    shown = repr([grant, said(grant, SELLER, 2)])
    assert key.hex() not in shown
    assert repr(key)[2:-1] not in shown
