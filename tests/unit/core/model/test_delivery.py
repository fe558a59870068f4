"""What is known of a message decides its state, in whatever order it was learnt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.model.delivery import (
    LATER_MS,
    RESTING,
    RETRY_MS,
    TRANSITIONS,
    DeliveryEvent,
    DeliveryState,
    after,
    retry_ms,
)

S, E = DeliveryState, DeliveryEvent
FACTS = (E.SENDING, E.UNANSWERED, E.HELD, E.GOT, E.LAPSED)


def played(events, state=S.QUEUED):
    """Return the state after some events; a promise stays out once it was given."""
    is_promised = False
    for event in events:
        is_promised |= event is E.HELD
        state = after(state, event, is_promised=is_promised)
    return state


def of_facts(facts):
    """Say it again, from the set of facts alone."""
    if E.GOT in facts:
        return S.FETCHED if E.HELD in facts else S.ACKNOWLEDGED
    for fact, state in ((E.LAPSED, S.FAILED), (E.HELD, S.HELD), (E.UNANSWERED, S.OFFERING)):
        if fact in facts:
            return state
    return S.SENT if E.SENDING in facts else S.QUEUED


@given(st.lists(st.sampled_from(FACTS), max_size=12))
def test_the_state_is_a_function_of_what_is_known_in_any_order_and_repetition(events):
    assert played(events) is of_facts(set(events))


@given(st.lists(st.sampled_from(FACTS), max_size=8), st.sampled_from(FACTS))
def test_the_same_fact_again_changes_nothing(events, fact):
    once = played([*events, fact])
    assert played([*events, fact, *events, fact]) is once


@given(st.lists(st.sampled_from(list(E)), max_size=20))
def test_every_state_can_be_sent_again_and_delivered(events):
    state = played(events)
    again = after(state, E.RESENT, is_promised=False)
    assert again not in RESTING
    assert after(again, E.GOT, is_promised=False) in {S.ACKNOWLEDGED, S.FETCHED}


@given(st.lists(st.sampled_from([*FACTS, E.EXPIRED]), max_size=12))
def test_only_a_person_takes_back_that_the_reader_has_it(events):
    assert played([E.GOT, *events]) in {S.ACKNOWLEDGED, S.FETCHED}


def test_a_promise_that_ran_out_is_asked_for_again():
    assert TRANSITIONS[S.HELD, E.EXPIRED] is S.OFFERING
    unmoved = set(S) - {S.HELD}
    assert all(TRANSITIONS[state, E.EXPIRED] is state for state in unmoved)


def test_the_table_has_every_pair_once():
    assert set(TRANSITIONS) == {(state, event) for state in S for event in E}


@pytest.mark.parametrize(
    ("tries", "seconds"),
    [(1, 30), (2, 60), (3, 120), (4, 300), (5, 900), (6, 1800), (7, 3600), (50, 3600)],
)
def test_tries_become_rarer_until_one_an_hour(tries, seconds):
    assert retry_ms(tries) == seconds * 1000
    assert (*RETRY_MS, LATER_MS) == tuple(sorted((*RETRY_MS, LATER_MS)))
