"""What a seller's app refuses to tell strangers, and what a Trial says of its own figures."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from hanse.core.engine.trying import inputs as trial_inputs
from hanse.core.engine.trying.buyer import Question, TooFewRows
from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.file import Message, read_trial_file
from hanse.core.engine.trying.pace import NotWaiting
from hanse.core.engine.trying.peer import LocalTrialPeer
from hanse.core.engine.trying.post import StepRefused
from hanse.core.engine.trying.records import notes_of
from hanse.core.limits import TRIAL_ANSWERS_PER_BUYER_MAX, TRIAL_INPUT_SIZE_BYTES_MAX
from hanse.core.market.samples import sample_model
from hanse.core.market.trial_plan import TooManyAnswersNeeded
from hanse.core.model.card import AnswersTrial, Trials
from hanse.core.model.control import Control
from hanse.core.model.ids import EntryId
from hanse.core.model.trial import TrialState
from hanse.core.sentences import say
from hanse.core.trade import trial_rules
from hanse.core.trade.trial_messages import read_answer, sign_query
from hanse.core.trade.trial_rules import TrialRefused
from tests.fakes.shop import said
from tests.fakes.trial_play import (
    answered,
    asked,
    claimed,
    forged,
    next_query,
    signed_file,
    with_input,
)
from tests.fakes.trial_shop import in_process, open_market

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.engine.trying.views import AnsweredFile
    from hanse.core.model.trial import Answer
    from tests.fakes.trial_shop import Market

GENEROUS = Trials(signed_answers=AnswersTrial(per_buyer=400, per_30d=4000, shown="full"))


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    found = open_market(tmp_path_factory.mktemp("limits"), trials=GENEROUS, untested=True)
    yield found
    found.close()


@pytest.fixture
def _followed(market: Market) -> Iterator[None]:
    """Let the seller follow the buyer, for this test."""
    market.selling.catalogue.follow(market.bert.view.identity, 1)
    yield
    market.selling.catalogue.follow(market.bert.view.identity, 0)


def serve(market: Market, raw: bytes) -> AnsweredFile:
    return market.selling.trials.answering.answer(raw, Control(), market.pace)


def answers_in(reply: AnsweredFile) -> list[Answer]:
    messages = read_trial_file(reply.reply).messages
    return [read_answer(one.raw, one.signature).answer for one in messages]


# --- what is shown --------------------------------------------------------------------------


def test_a_stranger_reads_labels_and_no_scores_whatever_the_card_offers(market: Market) -> None:
    trial = asked(market)
    assert market.buying.trials.buying.show(trial).shown == "top1"
    for answer in answers_in(answered(market, trial, 3)):
        assert {name: len(values) for name, values in answer.shown.items()} == {
            "label": 1,
            "probabilities": 1,
        }
        assert all(value in {0, 1} for values in answer.shown.values() for value in values)


@pytest.mark.usefixtures("_followed")
def test_somebody_the_seller_follows_reads_all_that_the_card_offers(market: Market) -> None:
    trial = asked(market)
    assert market.buying.trials.buying.show(trial).shown == "full"
    (answer,) = answers_in(answered(market, trial, 1))
    scores = [float(one) for one in answer.shown["probabilities"]]
    assert len(scores) == 2
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert any(len(one) > 5 for one in answer.shown["probabilities"])


def test_of_a_figure_a_stranger_reads_two_significant_digits(market: Market) -> None:
    offered = market.offer("production-optimisation", GENEROUS, untested=True)
    rows = market.base / "production.csv"
    rows.write_bytes(sample_model("production-optimisation").rows())
    before = (market.sells, market.buys)
    market.work(in_process("production-optimisation"), market.buys)
    try:
        trial = asked(market, Question(OwnData(rows)), offered.release)
        (answer,) = answers_in(answered(market, trial, 1))
    finally:
        market.work(*before)
    assert market.buying.trials.buying.show(trial).shown == "digits2"
    assert len(answer.shown["variable"]) == 3
    assert all(len(one.lstrip("-")) == len("1.2e+01") for one in answer.shown["variable"])


# --- how much is answered -------------------------------------------------------------------


def test_a_question_with_many_rows_is_one_too_many(market: Market) -> None:
    trial = asked(market)
    many = with_input(
        next_query(market, trial),
        lambda arrays: {name: np.repeat(one, 500, axis=0) for name, one in arrays.items()},
    )
    reply = serve(market, signed_file(market, trial, many))
    assert (reply.answered, reply.stopped) == (0, "not_committed")


def test_rows_that_were_committed_to_in_one_input_are_not_answered_together(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = trial_inputs.write_arrays
    monkeypatch.setattr(
        trial_inputs,
        "write_arrays",
        lambda arrays: honest({name: np.repeat(one, 500, axis=0) for name, one in arrays.items()}),
    )
    trial = asked(market)
    reply = answered(market, trial, 1)
    assert (reply.answered, reply.stopped) == (0, "several_rows")
    view = market.buying.trials.buying.take(reply.reply)
    assert (view.answers, view.stopped) == (0, "several_rows")
    said(TrialRefused("several_rows"))


def test_only_the_committed_leaf_that_is_due_is_answered(market: Market) -> None:
    trial = asked(market)
    due = next_query(market, trial)
    made_up = with_input(due, lambda arrays: {name: one + 1 for name, one in arrays.items()})
    for query, reason in (
        (made_up, "not_committed"),
        (msgspec.structs.replace(due, index=(due.index + 1) % 200), "other_leaf"),
        (msgspec.structs.replace(due, i=1), "out_of_order"),
        (msgspec.structs.replace(due, salt_x=bytes(16)), "not_committed"),
        (msgspec.structs.replace(due, trial=bytes(32)), "other_trial"),
    ):
        reply = serve(market, signed_file(market, trial, query))
        assert (reply.answered, reply.stopped) == (0, reason)
        said(TrialRefused(reason))
    assert market.selling.trials.answering.show(trial).answers == 0


def test_a_question_signed_by_somebody_else_is_not_answered(market: Market) -> None:
    trial = asked(market)
    signed = sign_query(next_query(market, trial), market.selling.context.unlocked().device_signer)
    file = market.buying.trials.buying.next_queries(trial, 1)
    reply = serve(market, forged(file, messages=(Message(signed.raw, signed.signature),)))
    assert (reply.answered, reply.stopped) == (0, "signature")


def test_an_input_is_answered_once_and_its_number_never_otherwise(market: Market) -> None:
    trial = asked(market)
    first = next_query(market, trial)
    reply = serve(market, signed_file(market, trial, first))
    again = serve(market, signed_file(market, trial, first))
    assert answers_in(again) == answers_in(reply)
    otherwise = serve(
        market, signed_file(market, trial, msgspec.structs.replace(first, salt_x=bytes(16)))
    )
    assert (otherwise.answered, otherwise.stopped) == (0, "answered_otherwise")
    assert answers_in(otherwise) == []


def test_answers_come_one_a_second_and_nobody_is_kept_waiting(market: Market) -> None:
    trial = asked(market)
    queries = market.buying.trials.buying.next_queries(trial, 5)
    market.anna.clock.advance(5000)
    reply = market.selling.trials.answering.answer(queries, Control(), NotWaiting())
    assert (reply.answered, reply.stopped) == (1, "too_fast")
    market.anna.clock.advance(999)
    reply = market.selling.trials.answering.answer(queries, Control(), NotWaiting())
    assert (reply.answered, reply.repeated, reply.stopped) == (0, 1, "too_fast")
    assert serve(market, queries).answered == 4


def test_an_input_over_8_mib_is_refused_before_it_is_looked_at(market: Market) -> None:
    trial = asked(market)
    due = next_query(market, trial)
    large = msgspec.structs.replace(due, x=bytes(TRIAL_INPUT_SIZE_BYTES_MAX + 1))
    with pytest.raises(StepRefused) as caught:
        serve(market, signed_file(market, trial, large))
    said(caught.value)
    assert caught.value.values["reason"] == "bad_shape"
    assert market.selling.trials.answering.show(trial).answers == 0


def test_all_inputs_together_have_a_limit(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = asked(market)
    size = len(next_query(market, trial).x)
    monkeypatch.setattr(trial_rules, "TRIAL_INPUTS_SIZE_BYTES_MAX", 2 * size + size // 2)
    reply = answered(market, trial, 4)
    assert (reply.answered, reply.stopped) == (2, "inputs_too_large")
    said(TrialRefused("inputs_too_large"))


def test_a_buyer_has_one_budget_for_a_listing_however_often_he_asks(market: Market) -> None:
    ways = Trials(signed_answers=AnswersTrial(per_buyer=3, per_30d=4000))
    offered = market.offer("fraud-detection", ways, named="narrow", untested=True)
    first = asked(market, release=offered.release)
    second = asked(market, release=offered.release)
    assert answered(market, first, 2).answered == 2
    reply = answered(market, second, 3)
    assert (reply.answered, reply.stopped) == (1, "budget")
    third = market.buying.trials.buying.show(asked(market, release=offered.release))
    assert (third.state, third.refused) == (TrialState.REFUSED, "budget")


def test_strangers_share_what_a_listing_answers_in_30_days_and_a_followed_person_does_not(
    market: Market,
) -> None:
    ways = Trials(signed_answers=AnswersTrial(per_buyer=100, per_30d=2))
    offered = market.offer("fraud-detection", ways, named="rare", untested=True)
    trial = asked(market, release=offered.release)
    reply = answered(market, trial, 5)
    assert (reply.answered, reply.stopped) == (2, "listing_budget")
    said(TrialRefused("listing_budget"))
    market.buying.trials.buying.take(reply.reply)
    refused = market.buying.trials.buying.show(asked(market, release=offered.release))
    assert (refused.state, refused.refused) == (TrialState.REFUSED, "budget")
    market.selling.catalogue.follow(market.bert.view.identity, 1)
    assert answered(market, trial, 3).answered == 3
    market.selling.catalogue.follow(market.bert.view.identity, 0)
    market.anna.clock.advance(31 * 24 * 60 * 60 * 1000)
    view = market.buying.trials.buying.show(asked(market, release=offered.release))
    assert view.state is TrialState.GRANTED  # the 30 days are over


@pytest.mark.parametrize(
    ("operators", "parameters"),
    [
        ({"Gemm": 1, "Softmax": 1}, 100_000),  # linear, whatever its size
        ({"ai.onnx.ml::LinearClassifier": 1}, 0),
        ({"Gemm": 2, "Relu": 1}, 4_999),
    ],
)
def test_what_answers_would_give_away_is_told_no_stranger(
    market: Market, operators: dict[str, int], parameters: int
) -> None:
    before = (market.sells, market.buys)
    market.work(
        in_process("fraud-detection", operators=operators, parameters=parameters), market.buys
    )
    try:
        view = market.buying.trials.buying.show(asked(market))
        assert (view.state, view.refused) == (TrialState.REFUSED, "small_model")
        market.selling.catalogue.follow(market.bert.view.identity, 1)
        assert market.buying.trials.buying.show(asked(market)).state is TrialState.GRANTED
    finally:
        market.selling.catalogue.follow(market.bert.view.identity, 0)
        market.work(*before)
    sentence = say("trial.refused", {"reason": view.refused}, "en")
    assert all(word in sentence for word in ("certificate", "replay", "refund"))
    assert say("trial.refused", {"reason": view.refused}, "zh_CN") != sentence


# --- what the figures say -------------------------------------------------------------------


def test_a_planned_trial_shows_its_plan_and_budget_and_no_share(market: Market) -> None:
    trial = asked(market, claimed(market))
    market.buying.trials.buying.take(answered(market, trial, 7).reply)
    found = market.buying.trials.verdict(trial)
    assert (found.word, found.answers, found.most, found.left) == ("continue", 7, 120, 113)
    assert (found.right, found.confidence_micro) == (None, None)
    assert found.plan is not None
    assert (found.plan.steps.cap, found.plan.steps.k, found.plan.fixed_n) == (120, 101, 109)
    assert 53_000 < found.plan.mean_if_true_milli < 55_000
    assert (found.claim_micro, found.margin_micro) == (900_000, 100_000)


def test_no_view_of_a_trial_holds_a_running_share(market: Market) -> None:
    trial = asked(market, claimed(market))
    market.buying.trials.buying.take(answered(market, trial, 9).reply)
    with market.buying.context.store.reads() as reads:
        notes = notes_of(reads.trials.get(EntryId(trial), "buyer"))
    assert len(notes.right) == 9  # what it would be computed from is known here
    views = (
        market.buying.trials.buying.show(trial),
        market.buying.trials.verdict(trial),
        *market.buying.trials.page("buyer"),
        *market.selling.trials.page("seller"),
    )
    names = {field.name for one in views for field in dataclasses.fields(one)}
    assert not {name for name in names if "share" in name or "percent" in name}
    assert market.buying.trials.verdict(trial).right is None


def test_a_decided_trial_says_how_sure_it_is(market: Market) -> None:
    trial = asked(market, claimed(market))
    view = market.buying.trials.carry(
        trial,
        LocalTrialPeer(market.selling.trials.answering, market.pace),
        Control(),
        market.pace,
    )
    found = market.buying.trials.verdict(trial)
    assert (view.over, found.word, found.left) == ("decided", "passed", 0)
    assert found.plan is not None
    assert found.confidence_micro == found.plan.power_micro
    assert found.right is not None
    assert found.right <= found.answers <= found.most


def test_a_margin_that_needs_too_many_answers_is_told_with_a_local_way(market: Market) -> None:
    before = market.buying.ledger.show()[-1].seq
    narrow = Question(OwnData(market.rows), 900_000, 20_000)
    with pytest.raises(TooManyAnswersNeeded) as caught:
        market.buying.trials.buying.start(market.published.release, "answers", Control(), narrow)
    assert caught.value.values["needed"] == 2096
    assert caught.value.values["budget"] == TRIAL_ANSWERS_PER_BUYER_MAX
    english, chinese = said(caught.value)
    assert "locally" in english
    assert "本地" in chinese
    assert market.buying.ledger.show()[-1].seq == before


def test_data_too_small_for_the_claim_say_how_many_rows_it_takes(market: Market) -> None:
    header, *rows = market.rows.read_text().splitlines()
    few = market.base / "few.csv"
    few.write_text("\n".join([header, *rows[:30]]) + "\n")
    with pytest.raises(TooFewRows) as caught:
        asked(market, Question(OwnData(few), 900_000, 100_000))
    said(caught.value)
    assert (caught.value.values["needed"], caught.value.values["found"]) == (109, 30)
