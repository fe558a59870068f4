from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.model.trial import (
    Answer,
    AnswersUsed,
    Exchange,
    LocalUse,
    Query,
    SignedAnswer,
    SignedQuery,
    TrialState,
)
from hanse.core.store import trials as trials_module
from hanse.core.store.trials import (
    KeptGrant,
    TooManyTrials,
    TrialAnswer,
    TrialAnswerDiffers,
    TrialNotHeld,
    TrialPartTooLarge,
    TrialRow,
    TrialRunsSpent,
)

TRIAL = EntryId(bytes([1]) * 32)
BO = IdentityId(bytes([2]) * 32)
LISTING = EntryId(bytes([3]) * 32)
RELEASE = EntryId(bytes([4]) * 32)
ARTIFACT = bytes([5]) * 32
GRANT = KeptGrant(b"granted", EntryId(bytes([6]) * 32), AuthorKey(bytes([7]) * 32), 3, 90_000)
DAY_MS = 24 * 60 * 60 * 1000


def row(**values):
    made = TrialRow(
        trial=TRIAL,
        role="buyer",
        way="sealed",
        state=TrialState.REQUESTED,
        counterparty=BO,
        listing=LISTING,
        release=RELEASE,
        artifact=ARTIFACT,
        buyer=AuthorKey(bytes([8]) * 32),
        request=b"asked",
        created_ms=1000,
        updated_ms=1000,
        last_seen_ms=1000,
    )
    return replace(made, **values)


def answer(i=0, x=b"input", **values):
    made = TrialAnswer(
        i=i,
        input_hash=sha256(x).digest(),
        input_bytes=len(x),
        query=b"query" + x,
        query_sig=bytes(64),
        answer=b"answer",
        answer_sig=bytes([1]) * 64,
        time_ms=5000 + i,
    )
    return replace(made, **values)


@pytest.fixture
def held(store):
    """Give the Trials of one transaction."""
    with store.unit_of_work() as uow:
        yield uow.trials


@pytest.fixture
def granted(held):
    """Give Trials with one that was granted three runs."""
    held.add(row())
    held.granted(TRIAL, "buyer", GRANT, 2000)
    return held


@pytest.fixture
def selling(held):
    """Give Trials with one that answers questions."""
    held.add(row(role="seller", way="answers"))
    return held


def test_a_trial_comes_back_as_it_was_added_in_each_role(held):
    held.add(row())
    held.add(row(role="seller", data=b"secrets"))
    assert held.get(TRIAL, "buyer") == row()
    assert held.get(TRIAL, "seller") == row(role="seller", data=b"secrets")


def test_a_trial_added_again_stays_as_it_is(granted):
    before = granted.get(TRIAL, "buyer")
    granted.add(row())
    assert granted.get(TRIAL, "buyer") == before


def test_each_step_is_kept_with_what_it_brings(granted):
    at = granted.get(TRIAL, "buyer")
    assert (at.state, at.grant, at.grant_id) == (TrialState.GRANTED, GRANT.raw, GRANT.entry)
    assert (at.seller, at.runs_max, at.until_ms) == (GRANT.seller, 3, 90_000)
    granted.runs(TRIAL, "buyer", 3000)
    assert granted.get(TRIAL, "buyer").state is TrialState.RUNNING
    granted.closed(TRIAL, "buyer", b"over", 4000)
    granted.replayed(TRIAL, "buyer", "match", 5000)
    at = granted.get(TRIAL, "buyer")
    assert (at.state, at.close, at.replayed, at.updated_ms) == (
        TrialState.REPLAYED,
        b"over",
        "match",
        5000,
    )


def test_a_refusal_is_kept(held):
    held.add(row())
    held.refused(TRIAL, "buyer", b"no", 2000)
    at = held.get(TRIAL, "buyer")
    assert (at.state, at.refusal) == (TrialState.REFUSED, b"no")


def test_runs_are_counted_up_to_what_was_granted(granted):
    assert [granted.count_run(TRIAL, 3000 + n) for n in range(3)] == [1, 2, 3]
    with pytest.raises(TrialRunsSpent) as caught:
        granted.count_run(TRIAL, 4000)
    assert caught.value.values == {"trial": TRIAL, "used": 3, "most": 3}
    assert granted.local_use(TRIAL) == LocalUse(runs=3, seen_ms=3002)


def test_a_run_that_was_counted_stays_counted_when_the_program_dies_behind_it(store):
    with store.unit_of_work() as uow:
        uow.trials.add(row(runs_max=2))
        uow.commit()
    with store.unit_of_work() as uow:
        assert uow.trials.count_run(TRIAL, 2000) == 1
        uow.commit()
    with store.unit_of_work() as uow:
        uow.trials.count_run(TRIAL, 3000)  # never committed: the run did not begin
    with store.reads() as reads:
        assert reads.trials.local_use(TRIAL).runs == 1


def test_the_latest_time_seen_never_goes_back(granted):
    assert granted.seen(TRIAL, "buyer", 50_000) == 2000
    assert granted.seen(TRIAL, "buyer", 3000) == 50_000
    granted.count_run(TRIAL, 4000)
    granted.put_data(TRIAL, "buyer", b"notes", 5000)
    assert granted.get(TRIAL, "buyer").last_seen_ms == 50_000
    assert granted.get(TRIAL, "buyer").updated_ms == 5000
    granted.closed(TRIAL, "buyer", None, 10)
    assert granted.get(TRIAL, "buyer").updated_ms == 5000


def test_that_keys_were_erased_is_noted_once(granted):
    granted.erased_keys(TRIAL, "buyer", 7000)
    granted.erased_keys(TRIAL, "buyer", 8000)
    assert granted.get(TRIAL, "buyer").keys_erased_ms == 7000


def test_an_exchange_is_kept_byte_for_byte():
    query = Query(
        trial=TRIAL, i=3, index=9, x=b"input", salt_x=bytes(16), label_hash=bytes(32), path=()
    )
    said = Answer(
        trial=TRIAL,
        i=3,
        prev=bytes(32),
        query=bytes(32),
        artifact=ARTIFACT,
        runtime="onnxruntime 1.32.0",
        shown={},
        sealed=bytes(16),
        time_ms=1,
    )
    exchange = Exchange(SignedQuery(query, b"q", b"qs"), SignedAnswer(said, b"a", b"as"))
    assert TrialAnswer.of(exchange, 7000, counts=False) == TrialAnswer(
        3, sha256(b"input").digest(), 5, b"q", b"qs", b"a", b"as", 7000, counts=False
    )


def test_an_answer_is_kept_once_and_the_same_again_is_harmless(selling):
    assert selling.keep_answer(TRIAL, "seller", answer())
    assert not selling.keep_answer(TRIAL, "seller", answer())
    assert selling.answer(TRIAL, "seller", 0) == answer()
    at = selling.get(TRIAL, "seller")
    assert (at.answers, at.answers_bytes, at.input_bytes) == (1, answer().size_bytes, 5)


@pytest.mark.parametrize(
    "other", [answer(query=b"another"), answer(answer=b"another"), answer(i=1)]
)
def test_another_answer_under_a_number_or_to_an_input_is_refused(selling, other):
    selling.keep_answer(TRIAL, "seller", answer())
    before = selling.get(TRIAL, "seller")
    with pytest.raises(TrialAnswerDiffers) as caught:
        selling.keep_answer(TRIAL, "seller", other)
    assert caught.value.values["i"] == 0
    assert selling.get(TRIAL, "seller") == before


def test_a_transcript_comes_in_pages_in_order(selling):
    kept = [answer(i, bytes([i])) for i in range(5)]
    for one in reversed(kept):
        selling.keep_answer(TRIAL, "seller", one)
    assert selling.transcript(TRIAL, "seller", limit=2) == kept[:2]
    assert selling.transcript(TRIAL, "seller", after=1) == kept[2:]
    assert selling.last_answer(TRIAL, "seller") == kept[4]
    assert selling.answered_input(TRIAL, "seller", kept[3].input_hash) == 3
    assert selling.answered_input(TRIAL, "seller", bytes(32)) is None


def test_what_was_answered_is_added_up_for_the_rules(selling):
    other = EntryId(bytes([99]) * 32)
    selling.add(row(trial=other, role="seller"))
    selling.add(row(role="buyer"))
    now_ms = 40 * DAY_MS
    selling.keep_answer(TRIAL, "seller", answer(0, b"old", time_ms=now_ms - 31 * DAY_MS))
    selling.keep_answer(TRIAL, "seller", answer(1, b"new", time_ms=now_ms - DAY_MS))
    selling.keep_answer(other, "seller", answer(0, b"other", time_ms=now_ms))
    selling.keep_answer(other, "seller", answer(1, b"friend", time_ms=now_ms, counts=False))
    selling.keep_answer(TRIAL, "buyer", answer(0, b"bought", time_ms=now_ms))
    since_ms = now_ms - 30 * DAY_MS
    assert selling.answers_since(LISTING, since_ms) == 2
    assert selling.answers_since(EntryId(bytes(32)), since_ms) == 0
    assert selling.answers_to(LISTING, BO) == 4
    assert selling.answers_to(LISTING, IdentityId(bytes(32))) == 0
    assert selling.answers_used(TRIAL, since_ms) == AnswersUsed(
        answers=2,
        total_bytes=6,
        last_ms=now_ms - DAY_MS,
        inputs=frozenset(sha256(x).digest() for x in (b"old", b"new")),
        strangers_30_days=2,
    )


def test_nothing_answered_adds_up_to_nothing(selling):
    assert selling.answers_used(TRIAL, 0) == AnswersUsed()


def test_trials_come_in_pages_the_one_changed_last_first(held):
    ids = [EntryId(bytes([n]) * 32) for n in range(4)]
    for n, trial in enumerate(ids):
        held.add(row(trial=trial, updated_ms=1000 + n // 2))
    held.add(row(trial=EntryId(bytes([9]) * 32), role="seller"))
    first = held.page("buyer", limit=3)
    assert [it.trial for it in first] == [ids[3], ids[2], ids[1]]
    rest = held.page("buyer", (first[-1].updated_ms, first[-1].trial))
    assert [it.trial for it in rest] == [ids[0]]
    assert [it.trial for it in held.of_release(RELEASE, "buyer", limit=2)] == [ids[3], ids[2]]
    assert held.of_release(EntryId(bytes(32)), "buyer") == []
    held.refused(ids[0], "buyer", b"no", 9000)
    assert [it.trial for it in held.page("buyer", state=TrialState.REFUSED)] == [ids[0]]


def test_an_artifact_is_on_trial_until_every_trial_of_it_is_over(held):
    assert not held.is_on_trial(ARTIFACT)
    held.add(row())
    assert held.is_on_trial(ARTIFACT)
    held.closed(TRIAL, "buyer", None, 2000)
    assert not held.is_on_trial(ARTIFACT)


def test_inputs_steps_and_notes_show_in_no_representation():
    secret = b"shown nowhere"
    values = dict.fromkeys(("request", "grant", "refusal", "close", "data"), secret)
    shown = (row(**values), replace(GRANT, raw=secret), answer(query=secret, answer=secret))
    assert not [one for one in shown if "nowhere" in repr(one)]


def test_a_trial_can_be_dropped_with_its_answers(selling):
    selling.keep_answer(TRIAL, "seller", answer())
    assert selling.drop(TRIAL, "seller")
    assert not selling.drop(TRIAL, "seller")
    assert selling.transcript(TRIAL, "seller") == []
    assert selling.answers_since(LISTING, 0) == 0


def test_a_trial_that_is_not_there_cannot_change(held):
    assert held.get(TRIAL, "buyer") is None
    for act in (
        lambda: held.granted(TRIAL, "buyer", GRANT, 1),
        lambda: held.count_run(TRIAL, 1),
        lambda: held.seen(TRIAL, "buyer", 1),
        lambda: held.keep_answer(TRIAL, "buyer", answer()),
    ):
        with pytest.raises(TrialNotHeld) as caught:
            act()
        assert caught.value.values == {"trial": TRIAL, "role": "buyer"}


def test_more_than_is_kept_of_a_trial_is_refused(selling, monkeypatch):
    for name in ("STEP_SIZE", "DATA_SIZE", "QUERY_KEPT", "ANSWER_KEPT"):
        monkeypatch.setattr(trials_module, f"TRIAL_{name}_BYTES_MAX", 5)
    large = b"123456"
    acts = {
        "request": lambda: selling.add(row(request=large)),
        "grant": lambda: selling.granted(TRIAL, "seller", replace(GRANT, raw=large), 1),
        "refusal": lambda: selling.refused(TRIAL, "seller", large, 1),
        "close": lambda: selling.closed(TRIAL, "seller", large, 1),
        "data": lambda: selling.put_data(TRIAL, "seller", large, 1),
        "query": lambda: selling.keep_answer(TRIAL, "seller", answer(query=large)),
        "answer": lambda: selling.keep_answer(TRIAL, "seller", answer(query=b"", answer=large)),
    }
    before = selling.get(TRIAL, "seller")
    for part, act in acts.items():
        with pytest.raises(TrialPartTooLarge) as caught:
            act()
        assert caught.value.values == {"part": part, "found_bytes": 6, "most_bytes": 5}
    assert selling.get(TRIAL, "seller") == before


def test_the_answers_of_one_trial_are_bounded_together(selling, monkeypatch):
    monkeypatch.setattr(trials_module, "TRIAL_KEPT_BYTES_MAX", answer().size_bytes)
    selling.keep_answer(TRIAL, "seller", answer())
    with pytest.raises(TrialPartTooLarge) as caught:
        selling.keep_answer(TRIAL, "seller", answer(1, b"more"))
    assert caught.value.values["part"] == "answers"


def test_more_trials_than_are_kept_are_refused(held, monkeypatch):
    monkeypatch.setattr(trials_module, "TRIALS_HELD_MAX", 1)
    held.add(row())
    held.add(row(role="seller"))
    with pytest.raises(TooManyTrials):
        held.add(row(trial=EntryId(bytes(32))))
