"""What may be granted, asked and believed: every rule, and every way to cheat."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import msgspec
import pytest

from hanse.core.crypto.signing import Signer
from hanse.core.limits import TRIAL_ANSWERS_PER_30_DAYS_MAX
from hanse.core.model.artifact import ModelFacts
from hanse.core.model.blob import Blob
from hanse.core.model.card import AnswersTrial, SealedTrial, Trials
from hanse.core.model.trial import (
    AnswersUsed,
    Exchange,
    LocalUse,
    PlanSteps,
    SealedTerms,
    TrialClose,
    TrialGrant,
    TrialRequest,
)
from hanse.core.trade.trial_messages import sign_answer, sign_query
from hanse.core.trade.trial_rules import (
    BadTranscript,
    TrialRefused,
    TrialSpent,
    answer_limits,
    check_answer,
    check_close,
    check_grant,
    check_local,
    check_may_grant,
    check_transcript,
    check_trial,
    count_run,
    is_given_away_by_answers,
    is_right,
    query_order,
    refusal_word,
    shown_to,
)
from tests.fakes.trials import ARTIFACT, DAY_MS, NOW_MS, on_trial, with_terms

HOUR_MS = 60 * 60 * 1000
FRESH = AnswersUsed()
OFFER = Trials(
    sealed_local=SealedTrial(runs=50, days=7),
    signed_answers=AnswersTrial(per_buyer=200, per_30d=1000),
)
LARGE = ModelFacts(format="onnx", file="m", parameters=60_000, operators={"Gemm": 2, "Relu": 1})


@pytest.fixture
def trial():
    return on_trial()


def refusal(trial, signed, used=FRESH, now_ms=NOW_MS, *, is_stranger=True):
    with pytest.raises(TrialRefused) as caught:
        check_trial(trial.granted, used, signed, now_ms, is_stranger=is_stranger)
    return caught.value.reason


def fault(trial, exchanges):
    with pytest.raises(BadTranscript) as caught:
        check_transcript(trial.granted, exchanges)
    return caught.value.i, caught.value.reason


# --- queries --------------------------------------------------------------------------------


def test_the_query_that_is_due_passes(trial):
    check_trial(trial.granted, FRESH, trial.ask(0), NOW_MS, is_stranger=True)
    used = AnswersUsed(answers=1, total_bytes=100, last_ms=NOW_MS, inputs=frozenset())
    check_trial(trial.granted, used, trial.ask(1), NOW_MS + 1000, is_stranger=True)


def test_a_query_outside_the_commitment_is_refused(trial):
    assert refusal(trial, trial.ask(0, x=b"made up to steal the model")) == "not_committed"
    assert refusal(trial, trial.ask(0, label_hash=bytes(32))) == "not_committed"


def test_a_leaf_out_of_turn_is_refused_though_it_is_committed(trial):
    favourite = trial.query(3)
    signed = sign_query(msgspec.structs.replace(favourite, i=0), trial.buyer)
    assert refusal(trial, signed) == "other_leaf"
    assert refusal(trial, trial.ask(1)) == "out_of_order"


def test_an_input_is_answered_once(trial):
    used = AnswersUsed(inputs=frozenset({sha256(trial.query(0).x).digest()}))
    assert refusal(trial, trial.ask(0), used) == "input_twice"


def test_a_repeat_of_an_answered_number_is_refused(trial):
    used = AnswersUsed(answers=1, last_ms=NOW_MS - 5000)
    assert refusal(trial, trial.ask(0), used) == "out_of_order"


def test_the_budget_ends(trial):
    used = AnswersUsed(answers=20, last_ms=NOW_MS - 5000)
    assert refusal(trial, trial.ask(19), used) == "budget"


def test_a_listing_gives_strangers_so_many_answers_in_thirty_days(trial):
    used = AnswersUsed(strangers_30_days=TRIAL_ANSWERS_PER_30_DAYS_MAX)
    assert refusal(trial, trial.ask(0), used) == "listing_budget"
    check_trial(trial.granted, used, trial.ask(0), NOW_MS, is_stranger=False)
    with pytest.raises(TrialRefused) as caught:
        check_trial(
            trial.granted,
            AnswersUsed(strangers_30_days=50),
            trial.ask(0),
            NOW_MS,
            is_stranger=True,
            per_30_days=50,
        )
    assert caught.value.reason == "listing_budget"


def test_one_answer_a_second(trial):
    used = AnswersUsed(answers=1, last_ms=NOW_MS)
    assert refusal(trial, trial.ask(1), used, NOW_MS + 999) == "too_fast"
    # A grant that says less does not make it faster.
    limits = msgspec.structs.replace(trial.granted.grant.answers.limits, interval_ms=0)
    hasty = replace(trial, granted=with_terms(trial.granted, limits=limits))
    assert refusal(hasty, hasty.ask(1), used, NOW_MS + 999) == "too_fast"


def test_a_clock_that_went_back_lets_nobody_ask_faster(trial):
    used = AnswersUsed(answers=1, last_ms=NOW_MS)
    assert refusal(trial, trial.ask(1), used, NOW_MS - 1000) == "too_fast"
    assert refusal(trial, trial.ask(1), used, NOW_MS - 2 * HOUR_MS) == "clock"


def test_a_date_ends_it(trial):
    assert refusal(trial, trial.ask(0), now_ms=NOW_MS + DAY_MS + 1) == "expired"


def test_inputs_have_a_size_one_and_all(trial):
    assert refusal(trial, trial.ask(0, x=bytes(1025))) == "input_too_large"
    used = AnswersUsed(answers=1, total_bytes=64 * 1024, last_ms=NOW_MS - 5000)
    assert refusal(trial, trial.ask(1), used) == "inputs_too_large"


def test_only_the_device_that_asked_for_the_trial_may_ask(trial):
    stranger = sign_query(trial.query(0), Signer.from_seed(b"s" * 32))
    assert refusal(trial, stranger) == "signature"
    assert refusal(trial, sign_query(trial.query(0), trial.seller)) == "signature"


def test_a_query_of_another_trial_is_refused(trial):
    other = on_trial(seed="another")
    assert refusal(trial, other.ask(0)) == "other_trial"


def test_a_sealed_trial_answers_no_query(trial):
    request = TrialRequest(release=bytes(32), way="sealed", commit=None, expires=NOW_MS)
    with pytest.raises(TrialRefused, match="other_way"):
        query_order(replace(trial.granted, request=request))


def test_the_order_is_as_long_as_rows_and_answers_allow(trial):
    assert len(query_order(trial.granted)) == 20
    assert len(query_order(on_trial(rows=5).granted)) == 5


# --- granting -------------------------------------------------------------------------------


def granting(trial, facts=LARGE, offer=OFFER, **changes):
    values = {"is_stranger": True, "strangers_30_days": 0, "now_ms": NOW_MS} | changes
    try:
        check_may_grant(changes.pop("request", trial.granted.request), offer, facts, **values)
    except TrialRefused as error:
        return error.reason
    return "granted"


def test_what_the_card_switches_on_is_granted(trial):
    assert granting(trial) == "granted"
    assert granting(trial, offer=Trials(sealed_local=OFFER.sealed_local)) == "not_offered"
    assert granting(trial, offer=Trials()) == "not_offered"


def test_a_sealed_trial_is_granted_only_where_it_is_offered():
    request = TrialRequest(release=bytes(32), way="sealed", commit=None, expires=NOW_MS)
    for offer, outcome in (
        (OFFER, None),
        (Trials(signed_answers=OFFER.signed_answers), "not_offered"),
    ):
        if outcome is None:
            check_may_grant(
                request, offer, None, is_stranger=True, strangers_30_days=0, now_ms=NOW_MS
            )
            continue
        with pytest.raises(TrialRefused, match=outcome):
            check_may_grant(
                request, offer, None, is_stranger=True, strangers_30_days=0, now_ms=NOW_MS
            )


def test_a_request_lapses_and_a_listing_runs_dry(trial):
    assert granting(trial, now_ms=NOW_MS + 2 * DAY_MS) == "expired"
    assert granting(trial, strangers_30_days=1000) == "budget"
    assert granting(trial, strangers_30_days=1000, is_stranger=False) == "granted"


def test_small_and_linear_models_answer_no_stranger(trial):
    small = ModelFacts(format="onnx", file="m", parameters=4999, operators={"Gemm": 2, "Tanh": 1})
    assert granting(trial, small) == "small_model"
    assert granting(trial, small, is_stranger=False) == "granted"
    assert granting(trial, None) == "small_model"


@pytest.mark.parametrize(
    ("operators", "is_given_away"),
    [
        ({"ai.onnx.ml::LinearClassifier": 1, "ai.onnx.ml::Normalizer": 1, "Cast": 1}, True),
        ({"Gemm": 1, "Softmax": 1}, True),
        ({"MatMul": 3, "Add": 3}, True),  # a chain of layers without a bend is one layer
        ({"MatMul": 2, "Add": 2, "Sigmoid": 1}, False),
        ({"Conv": 3, "Relu": 3, "Gemm": 1}, False),
        ({"FULLY_CONNECTED": 1, "LOGISTIC": 1}, True),
        ({"FULLY_CONNECTED": 2, "RELU": 1}, False),
        ({"LSTM": 1}, False),
    ],
)
def test_linear_models_are_told_by_their_operators(operators, is_given_away):
    facts = ModelFacts(format="onnx", file="m", parameters=10_000, operators=operators)
    assert is_given_away_by_answers(facts) is is_given_away


def test_trees_are_not_small_because_their_weights_are_not_counted():
    facts = ModelFacts(format="onnx", file="m", operators={"ai.onnx.ml::TreeEnsembleClassifier": 1})
    assert not is_given_away_by_answers(facts)


def test_limits_of_a_grant_never_exceed_the_offer():
    limits = answer_limits(OFFER, 400, NOW_MS)
    assert (limits.answers, limits.interval_ms) == (200, 1000)
    assert (limits.input_bytes, limits.total_bytes) == (8 * 1024**2, 256 * 1024**2)
    assert answer_limits(OFFER, 120, NOW_MS).answers == 120


def test_a_refusal_has_a_word_of_its_own_or_not_now():
    assert refusal_word(TrialRefused("small_model")) == "small_model"
    assert refusal_word(TrialRefused("listing_budget")) == "not_now"


# --- grants, as the buyer sees them ---------------------------------------------------------


def check(on, **changes):
    grant = msgspec.structs.replace(on.granted.grant, **changes)
    try:
        check_grant(grant, on.granted.request, on.granted.trial, ARTIFACT, NOW_MS)
    except TrialRefused as error:
        return error.reason
    return "fits"


def test_a_grant_must_answer_the_request(trial):
    assert check(trial) == "fits"
    assert check(trial, trial=bytes(32)) == "other_trial"
    assert check(trial, artifact=bytes(32)) == "other_artifact"
    sealed = SealedTerms(
        runs_max=1, until_ms=NOW_MS, certify=False, keys=Blob(bytes(32), 32, bytes(32))
    )
    assert check(trial, sealed=sealed, answers=None) == "other_way"


def test_a_plan_beyond_rows_or_answers_is_refused(trial):
    steps = PlanSteps(right=-1, wrong=1, fail=9, pass_=-9, cap=21, k=3)
    terms = msgspec.structs.replace(trial.granted.grant.answers, plan=steps)
    assert check(trial, answers=terms) == "plan_beyond_budget"


def test_a_sealed_grant_of_more_than_thirty_days_is_refused(trial):
    request = TrialRequest(release=bytes(32), way="sealed", commit=None, expires=NOW_MS)
    sealed = SealedTerms(
        runs_max=1,
        until_ms=NOW_MS + 31 * DAY_MS,
        certify=False,
        keys=Blob(bytes(32), 32, bytes(32)),
    )
    grant = TrialGrant(trial=trial.granted.trial, artifact=ARTIFACT, sealed=sealed, answers=None)
    with pytest.raises(TrialRefused, match="too_long"):
        check_grant(grant, request, trial.granted.trial, ARTIFACT, NOW_MS)


# --- answers --------------------------------------------------------------------------------


def test_a_transcript_by_the_rules_holds(trial):
    exchanges = trial.exchange(4)
    assert check_transcript(trial.granted, exchanges) == exchanges[-1].answer.id
    assert check_transcript(trial.granted, ()) == trial.granted.grant_id


def test_a_broken_chain_is_seen(trial):
    exchanges = list(trial.exchange(3))
    broken = sign_answer(trial.answer(exchanges[1].query, prev=bytes(32)), trial.seller)
    exchanges[1] = Exchange(exchanges[1].query, broken)
    assert fault(trial, exchanges) == (1, "prev")


def test_an_answer_left_out_is_seen(trial):
    exchanges = trial.exchange(3)
    assert fault(trial, (exchanges[0], exchanges[2])) == (1, "number")
    assert fault(trial, exchanges[1:]) == (0, "number")


def test_an_answer_signed_by_another_device_is_seen(trial):
    (first,) = trial.exchange(1)
    forged = sign_answer(first.answer.answer, Signer.from_seed(b"x" * 32))
    assert fault(trial, [Exchange(first.query, forged)]) == (0, "signature")


def test_an_answer_of_another_trial_cannot_be_replayed(trial):
    (mine,) = trial.exchange(1)
    (other,) = replace(on_trial(seed="other"), buyer=trial.buyer, seller=trial.seller).exchange(1)
    with pytest.raises(BadTranscript) as caught:
        check_answer(trial.granted, mine.query, other.answer, trial.granted.grant_id)
    assert caught.value.reason == "trial"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"query": bytes(32)}, "query"), ({"artifact": bytes(32)}, "artifact"), ({"i": 1}, "number")],
)
def test_an_answer_to_something_else_is_seen(trial, changes, reason):
    (first,) = trial.exchange(1)
    answer = sign_answer(msgspec.structs.replace(first.answer.answer, **changes), trial.seller)
    assert fault(trial, [Exchange(first.query, answer)]) == (0, reason)


def test_a_transcript_of_questions_the_buyer_did_not_commit_to_is_seen(trial):
    asked = trial.ask(0, label_hash=bytes(32))
    answer = sign_answer(trial.answer(asked), trial.seller)
    assert fault(trial, [Exchange(asked, answer)]) == (0, "not_committed")
    favourite = sign_query(msgspec.structs.replace(trial.query(2), i=0), trial.buyer)
    answer = sign_answer(trial.answer(favourite), trial.seller)
    assert fault(trial, [Exchange(favourite, answer)]) == (0, "leaf")
    forged = sign_query(trial.query(0), trial.seller)
    answer = sign_answer(trial.answer(forged), trial.seller)
    assert fault(trial, [Exchange(forged, answer)]) == (0, "query_signature")


def test_a_close_binds_number_and_last_answer(trial):
    exchanges = trial.exchange(2)
    last = exchanges[-1].answer.id
    check_close(trial.granted, TrialClose(trial=trial.granted.trial, n=2, last=last), exchanges)
    check_close(trial.granted, TrialClose(trial=trial.granted.trial, n=0, last=None), ())
    for close, reason in (
        (TrialClose(trial=bytes(32), n=2, last=last), "trial"),
        (TrialClose(trial=trial.granted.trial, n=1, last=last), "number"),
        (TrialClose(trial=trial.granted.trial, n=2, last=bytes(32)), "last"),
    ):
        with pytest.raises(BadTranscript) as caught:
            check_close(trial.granted, close, exchanges)
        assert caught.value.reason == reason


def test_an_answer_is_right_by_its_place_or_its_label():
    assert is_right({"label": (2,)}, "label", "2")
    assert is_right({"label": (2,)}, "label", "cat", ("dog", "fox", "cat"))
    assert not is_right({"label": (1,)}, "label", "cat", ("dog", "fox", "cat"))
    assert is_right({"text": ("cat",)}, "text", "cat")
    assert not is_right({"label": ()}, "label", "2")
    assert not is_right({}, "label", "2")


# --- sealed local trials --------------------------------------------------------------------

TERMS = SealedTerms(
    runs_max=3,
    until_ms=NOW_MS + DAY_MS,
    certify=False,
    keys=Blob(bytes(32), 32, bytes(32)),
)


def spent(use, now_ms):
    with pytest.raises(TrialSpent) as caught:
        count_run(TERMS, use, now_ms)
    return caught.value.limit


def test_runs_are_counted_up_to_their_limit():
    use = LocalUse()
    for number in (1, 2, 3):
        use = count_run(TERMS, use, NOW_MS + number)
        assert use == LocalUse(number, NOW_MS + number)
    assert spent(use, NOW_MS + 4) == "runs"


def test_the_last_day_passes():
    assert spent(LocalUse(0, NOW_MS), NOW_MS + DAY_MS + 1) == "date"


def test_a_clock_that_goes_back_an_hour_ends_it():
    use = LocalUse(1, NOW_MS)
    assert spent(use, NOW_MS - HOUR_MS - 1) == "clock"
    check_local(TERMS, use, NOW_MS - HOUR_MS)


def test_a_clock_a_little_back_does_not_win_time():
    over = LocalUse(1, NOW_MS + DAY_MS + 1)
    assert spent(over, NOW_MS + DAY_MS - 60_000) == "date"
    assert count_run(TERMS, LocalUse(1, NOW_MS), NOW_MS - 60_000) == LocalUse(2, NOW_MS)


# --- what is shown --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "to_stranger_of_class", "to_stranger_of_figure"),
    [
        ("top1", "top1", "top1"),
        ("tokens256", "tokens256", "tokens256"),
        ("digits2", "top1", "digits2"),
        ("full", "top1", "digits2"),
    ],
)
def test_a_stranger_is_shown_no_score_and_of_a_figure_two_digits(
    offer, to_stranger_of_class, to_stranger_of_figure
):
    assert shown_to(offer, is_stranger=True, is_figure=False) == to_stranger_of_class
    assert shown_to(offer, is_stranger=True, is_figure=True) == to_stranger_of_figure
    assert shown_to(offer, is_stranger=False, is_figure=False) == offer
