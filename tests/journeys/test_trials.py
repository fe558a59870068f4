"""Testing before purchase: two people, real Releases, real Workers, files and a peer in process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hanse.core.engine.trial_buyer import NothingToAsk, Question, QuestionNeeded
from hanse.core.engine.trial_data import OwnData
from hanse.core.engine.trial_file import read_trial_file, write_trial_file
from hanse.core.engine.trial_peer import (
    FileTrialPeer,
    LocalTrialPeer,
    NoReplyYet,
    answer_folder,
)
from hanse.core.engine.trial_post import StepRefused
from hanse.core.engine.trial_subject import OwnRelease, UnknownRelease
from hanse.core.model.control import Control
from hanse.core.model.trial import TrialState
from hanse.core.store.trials import TrialNotHeld
from hanse.core.trade.trial_rules import BadTranscript, TrialRefused, TrialSpent
from tests.fakes.shop import said
from tests.fakes.trial_shop import DAY_MS, EVERY_WAY, MovingPace, open_market

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.trial_shop import Market

CLAIM = 900_000
MARGIN = 100_000


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    found = open_market(tmp_path_factory.mktemp("market"))
    yield found
    assert found.selling.ledger.verify().holds
    assert found.buying.ledger.verify().holds
    found.close()


def question(market: Market) -> Question:
    return Question(OwnData(market.rows), CLAIM, MARGIN)


def asked(market: Market) -> bytes:
    """Return a Trial of signed answers that was granted."""
    trials = market.buying.trials
    trial = trials.buying.start(
        market.published.release, "answers", Control(), question(market)
    ).trial
    assert trial is not None
    reply = market.selling.trials.answering.answer(trials.buying.outgoing(trial), Control())
    trials.buying.take(reply.reply)
    return trial


def test_signed_answers_decide_a_claim_without_the_model_leaving(market: Market) -> None:
    buying, selling = market.buying.trials, market.selling.trials
    trial = buying.buying.start(
        market.published.release, "answers", Control(), question(market)
    ).trial
    assert trial is not None
    peer = LocalTrialPeer(selling.answering, market.pace)
    view = buying.carry(trial, peer, Control(), market.pace)
    assert (view.state, view.over, view.honest) == (
        TrialState.RUNNING,
        "decided",
        "trial.honest.answers_buyer",
    )
    found = buying.verdict(trial)
    assert found.word == "passed"
    assert found.right is not None
    assert found.right <= found.answers <= view.answers
    assert found.confidence_micro == 868_128
    with pytest.raises(NothingToAsk) as caught:
        buying.buying.next_queries(trial)
    said(caught.value)
    (seller_view,) = [one for one in selling.page("seller") if one.trial == trial]
    assert (seller_view.answers, seller_view.honest) == (
        view.answers,
        "trial.honest.answers_seller",
    )


def test_nothing_is_said_of_the_share_before_it_is_decided(market: Market) -> None:
    trial, buying = asked(market), market.buying.trials.buying
    reply = market.selling.trials.answering.answer(
        buying.next_queries(trial, 3), Control(), market.pace
    )
    assert reply.answered == 3
    assert buying.take(reply.reply).answers == 3
    found = market.buying.trials.verdict(trial)
    assert (found.word, found.right, found.confidence_micro) == ("continue", None, None)


def test_the_same_file_again_gives_the_same_answers_and_changes_nothing(market: Market) -> None:
    trial, buying = asked(market), market.buying.trials.buying
    answering = market.selling.trials.answering
    steps = buying.outgoing(trial)
    assert read_trial_file(answering.answer(steps, Control()).reply).entries == (
        read_trial_file(answering.answer(steps, Control()).reply).entries
    )
    queries = buying.next_queries(trial, 2)
    first = answering.answer(queries, Control(), market.pace)
    again = answering.answer(queries, Control(), market.pace)
    assert (again.answered, again.repeated) == (0, 2)
    assert read_trial_file(again.reply).messages == read_trial_file(first.reply).messages
    assert buying.take(first.reply).answers == 2
    assert buying.take(again.reply).answers == 2
    # Those that were answered are not asked again.
    assert read_trial_file(buying.next_queries(trial, 1)).messages[0] not in (
        read_trial_file(queries).messages
    )


def test_a_restart_of_both_programs_goes_on_where_it_stopped(tmp_path: Path) -> None:
    market = open_market(tmp_path)
    trial = asked(market)
    pace = market.pace
    reply = market.selling.trials.answering.answer(
        market.buying.trials.buying.next_queries(trial, 2), Control(), pace
    )
    market.buying.trials.buying.take(reply.reply)
    market.close()
    with market.anna.open() as selling, market.bert.open() as buying:
        queries = buying.trials.buying.next_queries(trial, 1)
        again = selling.trials.answering.answer(queries, Control(), pace)
        assert again.answered == 1
        assert buying.trials.buying.take(again.reply).answers == 3


def test_answers_come_one_a_second(market: Market) -> None:
    trial, buying = asked(market), market.buying.trials.buying
    answering = market.selling.trials.answering
    peer = LocalTrialPeer(answering)
    market.anna.clock.advance(10_000)
    view = buying.take(peer.query(buying.next_queries(trial, 3), Control()))
    assert (view.answers, view.stopped) == (1, "too_fast")
    view = buying.take(peer.query(buying.next_queries(trial, 3), Control()))
    assert (view.answers, view.stopped) == (1, "too_fast")
    market.anna.clock.advance(1000)
    view = buying.take(peer.query(buying.next_queries(trial, 1), Control()))
    assert (view.answers, view.stopped) == (2, "")


def test_an_answer_that_was_changed_on_the_way_is_named(market: Market) -> None:
    trial, buying = asked(market), market.buying.trials.buying
    reply = market.selling.trials.answering.answer(
        buying.next_queries(trial, 2), Control(), market.pace
    ).reply
    file = read_trial_file(reply)
    swapped = replace(file, messages=file.messages[::-1])
    with pytest.raises(BadTranscript) as caught:
        buying.take(write_trial_file(swapped))
    said(caught.value)
    first = file.messages[0]
    forged = replace(
        file, messages=(replace(first, signature=bytes(64)), *file.messages[1:])
    )
    with pytest.raises(BadTranscript) as caught:
        buying.take(write_trial_file(forged))
    assert caught.value.reason == "signature"
    assert buying.show(trial).answers == 0
    assert buying.take(reply).answers == 2


def test_a_reply_for_another_trial_or_account_is_refused(market: Market) -> None:
    first, second = asked(market), asked(market)
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    reply = answering.answer(buying.outgoing(first), Control()).reply
    file = read_trial_file(reply)
    with pytest.raises(StepRefused) as caught:
        buying.take(write_trial_file(replace(file, trial=second)))
    assert caught.value.values["reason"] == "other_trial"
    said(caught.value)
    with pytest.raises(TrialNotHeld):
        buying.take(write_trial_file(replace(file, trial=bytes(32))))
    with pytest.raises(StepRefused) as caught:
        buying.take(write_trial_file(replace(file, sender=market.buying.context.identity)))
    assert caught.value.values["reason"] == "other_sender"
    with pytest.raises(TrialNotHeld):
        answering.answer(reply, Control())


def test_what_makes_no_sense_is_said_before_anything_is_signed(market: Market) -> None:
    buying, release = market.buying.trials.buying, market.published.release
    before = market.buying.ledger.show()[-1].seq
    for expected, act in (
        (UnknownRelease, lambda: buying.start(bytes(32), "sealed", Control())),
        (QuestionNeeded, lambda: buying.start(release, "answers", Control())),
        (TrialRefused, lambda: buying.start(release, "open", Control())),
        (
            OwnRelease,
            lambda: market.selling.trials.buying.start(release, "sealed", Control()),
        ),
    ):
        with pytest.raises(expected) as caught:
            act()
        said(caught.value)
    assert market.buying.ledger.show()[-1].seq == before


# --- sealed -----------------------------------------------------------------------------------


def test_a_sealed_trial_runs_the_full_model_as_often_as_granted(tmp_path: Path) -> None:
    market = open_market(tmp_path)
    buying = market.buying.trials
    trial = buying.buying.start(market.published.release, "sealed", Control()).trial
    assert trial is not None
    with pytest.raises(TrialRefused):
        buying.sealed.evaluate(trial, OwnData(market.rows), Control())
    peer = LocalTrialPeer(market.selling.trials.answering)
    view = buying.carry(trial, peer, Control())
    assert (view.runs_most, view.may_certify, view.honest) == (
        3,
        True,
        "trial.honest.sealed_buyer",
    )
    found = buying.sealed.evaluate(trial, OwnData(market.rows), Control(), ("accuracy",))
    assert (found.runs_used, found.rows[0].metric) == (1, "accuracy")
    assert found.rows[0].value_micro > CLAIM
    with market.buying.context.store.reads() as reads:
        assert reads.objects.of_artifact(market.published.artifact) == []
    market.close()
    with market.bert.open() as again:
        assert again.trials.buying.show(trial).runs_used == 1
        with again.trials.sealed.memory_source(trial, Control()) as source:
            assert source.size_bytes > 0
        row = {"x": np.zeros((1, 1), np.float32)}
        names = {name: row["x"] for name in again.trials.sealed.inputs_of(trial)}
        assert names
        with pytest.raises(Exception) as caught:  # noqa: PT011  the shape is the model's to refuse
            again.trials.sealed.run(trial, names, Control())
        said(caught.value)
        assert again.trials.buying.show(trial).over == "runs"
        with pytest.raises(TrialSpent):
            again.trials.sealed.evaluate(trial, OwnData(market.rows), Control())
        with again.context.store.reads() as reads:
            assert reads.secrets.named("trial_keys/") == []
