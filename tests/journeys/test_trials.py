"""Testing before purchase: two people, real Releases, real Workers, files and a peer in process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hanse.core.artifacts.pieces import ObjectMissing
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.data.faults import ColumnsMissing
from hanse.core.certify.warranty import BadWarranty
from hanse.core.engine.trying.bakeoff import Candidate
from hanse.core.engine.trying.buyer import NothingToAsk, Question, QuestionNeeded
from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.file import read_trial_file, write_trial_file
from hanse.core.engine.trying.peer import (
    FileTrialPeer,
    LocalTrialPeer,
    NoReplyYet,
    answer_folder,
)
from hanse.core.engine.trying.post import StepRefused
from hanse.core.engine.trying.proof import BadProofFile, verify_proof_file
from hanse.core.engine.trying.replaying import OtherArtifact
from hanse.core.engine.trying.subject import OwnRelease, UnknownRelease
from hanse.core.market.samples import sample_model
from hanse.core.model.card import AnswersTrial, Trials
from hanse.core.model.control import Control
from hanse.core.model.running import WorkerFailed
from hanse.core.model.trial import TrialState
from hanse.core.store.objects import Part
from hanse.core.store.trials import TrialNotHeld
from hanse.core.trade.trial_rules import BadTranscript, TrialRefused, TrialSpent
from hanse.core.trade.trial_sealing import WrongSealKey
from tests.fakes.shop import body_of, carry_sealed, manifests, said
from tests.fakes.trial_shop import DAY_MS, draft_sample, in_process, open_market

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hanse.core.model.arrays import Array
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


def test_a_model_is_tried_in_workers_bought_and_stands_for_its_answers(market: Market) -> None:
    before = (market.sells, market.buys)
    market.work(WorkerClient(), WorkerClient())
    try:
        trial = answered(market, 3)
        sealed, _ = granted(market)
        found = market.buying.trials.sealed.evaluate(
            sealed, OwnData(market.rows), Control(), ("accuracy",)
        )
        assert found.isolation in {"full", "limits"}
        assert found.rows[0].value_micro > CLAIM
        replayed = market.buying.trials.replaying.replay(
            trial, content_key(market), Control(), delivered(market)
        )
        assert (replayed.result.verdict, replayed.result.n) == ("match", 3)
    finally:
        market.work(*before)


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


def test_a_restart_of_both_programs_goes_on_where_it_stopped(market: Market) -> None:
    trial, pace = asked(market), market.pace
    queries = market.buying.trials.buying.next_queries(trial, 2)
    reply = market.selling.trials.answering.answer(queries, Control(), pace)
    market.buying.trials.buying.take(reply.reply)
    market.restart()
    queries = market.buying.trials.buying.next_queries(trial, 1)
    again = market.selling.trials.answering.answer(queries, Control(), pace)
    assert again.answered == 1
    assert market.buying.trials.buying.take(again.reply).answers == 3


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
    forged = replace(file, messages=(replace(first, signature=bytes(64)), *file.messages[1:]))
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
    with pytest.raises(StepRefused) as caught:
        answering.answer(reply, Control())
    assert caught.value.values["reason"] == "other_step"


def test_a_step_that_was_changed_on_the_way_is_named_and_nothing_is_kept(market: Market) -> None:
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    trial = buying.start(market.published.release, "answers", Control(), question(market)).trial
    assert trial is not None
    reply = read_trial_file(answering.answer(buying.outgoing(trial), Control()).reply)
    *before, grant = reply.entries
    assert grant.body is not None
    body = bytearray(grant.body)
    body[-1] ^= 1
    for changed, reason in (
        (grant._replace(signature=bytes(64)), "bad_signature"),
        (grant._replace(body=bytes(body)), "body"),
    ):
        file = replace(reply, entries=(*before, changed))
        with pytest.raises(StepRefused) as caught:
            buying.take(write_trial_file(file))
        assert caught.value.values["reason"] == reason
        said(caught.value)
    assert buying.show(trial).state is TrialState.REQUESTED
    assert buying.take(write_trial_file(reply)).state is TrialState.GRANTED


def test_what_makes_no_sense_is_said_before_anything_is_signed(market: Market) -> None:
    buying, release = market.buying.trials.buying, market.published.release
    before = market.buying.ledger.show()[-1].seq
    unfit = market.base / "unfit.csv"
    unfit.write_text("a,b\n1,2\n")
    for expected, act in (
        (
            ColumnsMissing,
            lambda: buying.start(release, "answers", Control(), Question(OwnData(unfit))),
        ),
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


def granted(market: Market) -> tuple[bytes, bytes]:
    """Return a sealed trial that was granted, and the seller's reply."""
    # One in 30 days: time passes since the last test that had one.
    market.anna.clock.advance(31 * DAY_MS)
    buying = market.buying.trials.buying
    trial = buying.start(market.published.release, "sealed", Control()).trial
    assert trial is not None
    steps = buying.outgoing(trial)
    reply = market.selling.trials.answering.answer(steps, Control()).reply
    buying.take(reply)
    return trial, reply


def has_keys(market: Market, trial: bytes) -> bool:
    with market.buying.context.store.reads() as reads:
        return reads.secrets.get(f"trial_keys/{trial.hex()}") is not None


def test_a_sealed_trial_runs_the_full_model_as_often_as_granted(market: Market) -> None:
    trial, reply = granted(market)
    view = market.buying.trials.buying.show(trial)
    assert (view.runs_most, view.may_certify) == (3, True)
    assert view.honest == "trial.honest.sealed_buyer"
    data = OwnData(market.rows)
    found = market.buying.trials.sealed.evaluate(trial, data, Control(), ("accuracy",))
    assert (found.runs_used, found.rows[0].metric) == (1, "accuracy")
    assert found.rows[0].value_micro > CLAIM
    with market.buying.context.store.reads() as reads:
        uses = reads.objects.of_artifact(market.published.artifact)
    assert {use.part for use in uses} == {Part.CIPHER}  # the plain model is nowhere
    market.restart()
    buying = market.buying.trials
    assert buying.buying.show(trial).runs_used == 1
    with buying.sealed.memory_source(trial, Control()) as source:
        assert source.size_bytes > 0
    # What fails while it runs has cost a run all the same, and the last one takes the keys.
    with pytest.raises(WorkerFailed) as failed:
        buying.sealed.run(trial, {"x": np.zeros((1, 1), np.float32)}, Control())
    said(failed.value)
    assert buying.buying.show(trial).over == "runs"
    assert not has_keys(market, trial)
    with pytest.raises(TrialSpent) as spent:
        buying.sealed.evaluate(trial, data, Control())
    said(spent.value)
    # The same file brings the keys no second time.
    buying.buying.take(reply)
    assert not has_keys(market, trial)


def test_the_keys_go_when_the_date_has_passed(market: Market) -> None:
    trial, _ = granted(market)
    market.buying.trials.sealed.expire()
    assert has_keys(market, trial)
    market.anna.clock.advance(6 * DAY_MS)
    with pytest.raises(TrialSpent) as spent:
        market.buying.trials.sealed.evaluate(trial, OwnData(market.rows), Control())
    assert spent.value.limit == "date"
    assert not has_keys(market, trial)
    assert market.buying.trials.buying.show(trial).over == "date"


def test_the_keys_go_when_the_clock_went_back_and_stay_gone(market: Market) -> None:
    trial, _ = granted(market)
    sealed = market.buying.trials.sealed
    market.anna.clock.advance(3 * DAY_MS)
    sealed.expire()
    market.anna.clock.set_back(30 * 60_000)
    sealed.expire()
    assert has_keys(market, trial)
    market.anna.clock.set_back(2 * 60 * 60_000)
    assert sealed.expire() == 1
    assert not has_keys(market, trial)
    market.anna.clock.advance(3 * 60 * 60_000)
    with pytest.raises(TrialSpent) as spent:
        sealed.evaluate(trial, OwnData(market.rows), Control())
    assert spent.value.limit == "clock"


def test_one_sealed_trial_a_buyer_in_30_days(market: Market) -> None:
    granted(market)
    buying = market.buying.trials.buying
    trial = buying.start(market.published.release, "sealed", Control()).trial
    assert trial is not None
    steps = buying.outgoing(trial)
    view = buying.take(market.selling.trials.answering.answer(steps, Control()).reply)
    assert (view.state, view.refused, view.over) == (TrialState.REFUSED, "too_many", "refused")


def test_missing_ciphertext_is_named_and_costs_no_run(market: Market) -> None:
    trial, _ = granted(market)
    body = body_of(market.buying, market.published.release)
    plain, sealed = manifests(market.buying, body)
    name = (sealed.roots[0], plain.files[0].size)
    market.buying.content.pieces.remove(*name)
    try:
        with pytest.raises(ObjectMissing) as missing:
            market.buying.trials.sealed.evaluate(trial, OwnData(market.rows), Control())
        said(missing.value)
        assert sealed.roots[0].hex() in str(missing.value)
        with pytest.raises(ObjectMissing):
            market.buying.trials.buying.start(market.published.release, "sealed", Control())
    finally:
        carry_sealed(market.selling, market.buying, market.published.release)
    assert market.buying.trials.buying.show(trial).runs_used == 0


# --- after delivery ---------------------------------------------------------------------------


def answered(market: Market, count: int) -> bytes:
    trial = asked(market)
    queries = market.buying.trials.buying.next_queries(trial, count)
    reply = market.selling.trials.answering.answer(queries, Control(), market.pace).reply
    market.buying.trials.buying.take(reply)
    return trial


def content_key(market: Market) -> bytes:
    seal = body_of(market.selling, market.published.release).seal
    with market.selling.context.store.reads() as reads:
        return market.selling.context.all_seeds(reads)[seal.epoch].content_key(seal.salt)


def delivered(market: Market) -> Path:
    folder = market.base / "delivered"
    if not folder.exists():
        folder.mkdir()
        (folder / "model.onnx").write_bytes(sample_model("fraud-detection").graph())
    return folder / "model.onnx"


def test_the_delivered_model_stands_for_its_answers(market: Market) -> None:
    trial = answered(market, 5)
    found = market.buying.trials.replaying.replay(
        trial, content_key(market), Control(), delivered(market)
    )
    assert (found.result.verdict, found.result.n, found.proof) == ("match", 5, None)
    assert market.buying.trials.buying.show(trial).state is TrialState.REPLAYED


def test_other_files_and_another_key_are_told_without_a_run(market: Market) -> None:
    trial = answered(market, 1)
    other = market.base / "other.onnx"
    other.write_bytes(sample_model("diagnosis").graph())
    replaying = market.buying.trials.replaying
    with pytest.raises(OtherArtifact) as caught:
        replaying.replay(trial, content_key(market), Control(), other)
    said(caught.value)
    with pytest.raises(WrongSealKey) as wrong:
        replaying.replay(trial, bytes(32), Control(), delivered(market))
    said(wrong.value)
    assert market.buying.trials.buying.show(trial).state is TrialState.RUNNING


def other_model(outputs: dict[str, Array]) -> dict[str, Array]:
    """Return what a model says that is sure of the contrary."""
    return {
        name: array[:, ::-1].copy() if array.dtype == np.float32 else 1 - array
        for name, array in outputs.items()
    }


def test_a_model_swapped_after_the_trial_is_proven_to_anybody(market: Market) -> None:
    honest = market.sells
    market.work(in_process("fraud-detection", other_model), market.buys)
    try:
        trial = answered(market, 4)
    finally:
        market.work(honest, market.buys)
    found = market.buying.trials.replaying.replay(
        trial, content_key(market), Control(), delivered(market)
    )
    assert (found.result.verdict, found.result.failing) == ("mismatch", 4)
    assert found.proof is not None
    now_ms = market.anna.clock.now_ms()
    proof = verify_proof_file(found.proof, now_ms)
    assert (proof.trial, proof.release) == (trial, market.published.release)
    assert proof.seller == market.selling.context.identity
    assert proof.buyer == market.buying.context.identity
    assert (proof.n, proof.failing, proof.is_proven) == (4, 4, False)
    for place in range(12, len(found.proof), len(found.proof) // 40):
        changed = bytearray(found.proof)
        changed[place] ^= 1
        with pytest.raises((BadProofFile, BadWarranty)) as caught:
            verify_proof_file(bytes(changed), now_ms)
        said(caught.value)


# --- ways to carry ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["local", "files"])
def test_a_trial_is_carried_by_a_peer_or_by_files_alike(market: Market, way: str) -> None:
    buying, answering = market.buying.trials, market.selling.trials.answering
    market.anna.clock.advance(10_000)
    trial = buying.buying.start(
        market.published.release, "answers", Control(), question(market)
    ).trial
    assert trial is not None
    if way == "local":
        peer = LocalTrialPeer(answering, market.pace)
        view = buying.carry(trial, peer, Control(), market.pace)
    else:
        out, back = market.base / f"out-{trial.hex()}", market.base / f"back-{trial.hex()}"
        peer = FileTrialPeer(out, back)
        waited = 0
        while True:
            try:
                view = buying.carry(trial, peer, Control(), market.pace)
                break
            except NoReplyYet as error:
                said(error)
                waited += 1
                assert answer_folder(answering, out, back, Control(), market.pace) == 1
        assert waited > 1
    assert view.over == "decided"
    assert buying.verdict(trial).word == "passed"


def test_closing_ends_both_sides(market: Market) -> None:
    trial = answered(market, 2)
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    queries = buying.next_queries(trial, 1)
    assert buying.close(trial).over == "closed"
    said_back = answering.answer(buying.outgoing(trial), Control())
    assert said_back.trial.state is TrialState.CLOSED
    assert answering.answer(queries, Control(), market.pace).stopped == "closed"
    other = answered(market, 1)
    answering.close(other)
    assert buying.take(answering.outgoing(other)).state is TrialState.CLOSED


# --- budgets and bake-off ---------------------------------------------------------------------


def test_the_budget_of_a_listing_is_kept_over_all_trials(market: Market) -> None:
    ways = Trials(signed_answers=AnswersTrial(per_buyer=3, per_30d=4))
    offered = market.offer("diagnosis", ways)
    rows = market.base / "diagnosis.csv"
    rows.write_bytes(sample_model("diagnosis").rows())
    before = (market.sells, market.buys)
    market.work(in_process("diagnosis"), market.buys)
    buying, answering = market.buying.trials.buying, market.selling.trials.answering

    def ask() -> bytes:
        unplanned = Question(OwnData(rows))
        trial = buying.start(offered.release, "answers", Control(), unplanned).trial
        assert trial is not None
        buying.take(answering.answer(buying.outgoing(trial), Control()).reply)
        return trial

    first, second = ask(), ask()
    assert buying.show(first).answers_most == 3
    served = answering.answer(buying.next_queries(first, 2), Control(), market.pace)
    assert (served.answered, served.stopped) == (2, "")
    served = answering.answer(buying.next_queries(second, 3), Control(), market.pace)
    assert (served.answered, served.stopped) == (1, "budget")
    view = buying.take(served.reply)
    assert (view.answers, view.stopped) == (1, "budget")
    third = buying.show(ask())
    assert (third.state, third.refused) == (TrialState.REFUSED, "budget")
    found = market.buying.trials.verdict(second)
    assert (found.word, found.right) == ("unplanned", None)
    market.work(*before)


def test_a_small_model_answers_no_stranger(market: Market) -> None:
    before = (market.sells, market.buys)
    small = in_process("fraud-detection", operators={"Gemm": 1}, parameters=300)
    market.work(small, market.buys)
    view = market.buying.trials.buying.show(asked(market))
    assert (view.state, view.refused) == (TrialState.REFUSED, "small_model")
    followed = market.bert.view.identity
    market.selling.catalogue.follow(followed, 1)
    view = market.buying.trials.buying.show(asked(market))
    assert view.state is TrialState.GRANTED
    market.selling.catalogue.follow(followed, 0)
    market.work(*before)


def test_one_data_set_compares_a_sealed_trial_with_an_own_model(market: Market) -> None:
    trial, _ = granted(market)
    own = market.base / "own-model"
    own.mkdir()
    mine = draft_sample(market.buying, own, "fraud-detection", Trials()).draft.artifact
    market.work(WorkerClient(), WorkerClient())
    try:
        found = market.buying.trials.bakeoffs.run(
            [Candidate(trial=trial), Candidate(artifact=mine, name="mine")],
            OwnData(market.rows),
            "accuracy",
            Control(),
        )
    finally:
        market.work(in_process("fraud-detection"), in_process("fraud-detection"))
    assert found.suite == "bakeoff/1.0.0"
    assert [row.failure for row in found.table.rows] == ["", ""]
    assert {row.rank for row in found.table.rows} == {1}  # the same model twice
    for row in found.table.rows:
        assert row.low_micro < row.value_micro < row.high_micro
        assert row.p50_ns > 0
        assert row.peak_rss_bytes > 0
    assert all(row.price is not None for row in found.table.rows)
    assert found.csv.count("\r\n") == 3
    assert market.buying.trials.buying.show(trial).runs_used == 1
