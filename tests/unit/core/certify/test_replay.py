"""Warranty by Replay: honest models are not accused, swaps are caught, Proofs hold."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from hanse.core.certify.golden import GoldenVector, GoldenVectors
from hanse.core.certify.replay import SeveralRows, check_one_row, replay, replay_golden
from hanse.core.certify.trial_outputs import kept_of, read_arrays, read_kept, write_kept
from hanse.core.certify.warranty import BadWarranty, make_proof, rerun_proof, verify_proof
from hanse.core.crypto.signing import Signer
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.ledger.kinds import Warranty1
from hanse.core.model.artifact import TensorFacts
from hanse.core.model.blob import Blob
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import WorkerFailed
from hanse.core.model.trial import Exchange, ReplayFailure, ReplayResult
from hanse.core.trade.trial_commitment import commit
from hanse.core.trade.trial_messages import sign_answer, sign_query
from hanse.core.trade.trial_rules import BadTranscript
from hanse.core.trade.trial_sealing import WrongSealKey, open_output, seal_output
from tests.fakes.chance import SeededChance
from tests.fakes.trials import (
    ARTIFACT,
    FEATURES,
    in_int8,
    network,
    of_weights,
    on_other_cpu,
    on_trial,
    session_of,
)

BLOB = Blob(bytes(32), 1, bytes(32))


@pytest.fixture(scope="module")
def played():
    """A finished Trial of twenty honest answers; tests do not change it."""
    trial = on_trial()
    trial.exchange(20)
    return trial


def replayed(trial, model, exchanges=None, **parts):
    given = tuple(trial.exchanges) if exchanges is None else exchanges
    return replay(trial.granted, given, trial.seal_key, session_of(model), Control(), **parts)


def with_last(trial, **changes):
    """Let the seller sign another answer to the last question; return the transcript."""
    last = trial.exchanges[-1]
    answer = msgspec.structs.replace(last.answer.answer, **changes)
    return (*trial.exchanges[:-1], Exchange(last.query, sign_answer(answer, trial.seller)))


def lying(trial):
    """Let the last answer show another label than it seals; return the transcript."""
    honest = trial.exchanges[-1].answer.answer
    output = open_output(honest, trial.seal_key)
    other = (honest.shown["logits"][0] + 1) % 4
    answer = msgspec.structs.replace(honest, shown={"logits": (other,)})
    answer = seal_output(answer, output, trial.seal_key)
    return with_last(trial, shown=answer.shown, sealed=answer.sealed)


# --- verdicts -------------------------------------------------------------------------------


def test_the_model_that_answered_matches(played):
    found = replayed(played, network())
    assert (found.verdict, found.n, found.failing) == ("match", 20, 0)
    assert (found.runtime, found.isolation) == ("onnxruntime 1.0.0 cpu", "full")


def test_the_same_model_on_another_cpu_is_not_accused(played):
    found = replayed(played, on_other_cpu(network()))
    assert found.verdict == "match"
    assert 0 < found.max_abs_nano < 10_000


def test_a_copy_rounded_to_int8_is_caught_though_its_labels_agree(played):
    found = replayed(played, in_int8(network()))
    assert found.verdict == "mismatch"
    assert found.failing > 10
    assert {one.reason for one in found.failures} == {"differs"}
    assert {one.tensor for one in found.failures} == {"logits"}
    first = found.failures[0]
    served = read_kept(open_output(played.exchanges[first.i].answer.answer, played.seal_key))
    delivered = read_kept(first.output)
    labels = [np.argmax(one["logits"].values, axis=-1) for one in (served, delivered)]
    assert np.array_equal(*labels)


def test_another_model_delivered_is_caught(played):
    assert replayed(played, network(seed=2)).failing == 20


def test_another_model_served_in_the_trial_is_caught():
    trial = on_trial()
    exchanges = trial.exchange(12, model=network(seed=9))
    assert replayed(trial, network(), exchanges).verdict == "mismatch"


def test_one_other_answer_in_a_hundred_is_no_mismatch():
    failure = ReplayFailure(0, "differs")
    one_of_99 = ReplayResult(99, (failure,), 0, "onnxruntime", "full")
    assert one_of_99.verdict == "mismatch"
    assert replace(one_of_99, n=100).verdict == "match"
    assert replace(one_of_99, n=100, failures=(failure,) * 2).verdict == "mismatch"


def test_no_answers_can_be_compared(played):
    assert replayed(played, network(), ()).verdict == "not_comparable"


def test_the_first_answers_and_the_rest_add_up(played):
    model = in_int8(network())
    first, rest = replayed(played, model, stop=8), replayed(played, model, start=8)
    whole = replayed(played, model)
    assert first.n == 8
    joined = first.and_then(rest)
    assert (joined.n, joined.failing, joined.verdict) == (20, whole.failing, "mismatch")


def test_another_runtime_is_not_compared(played):
    session = session_of(network(seed=2), runtime="litert")
    found = replay(played.granted, played.exchanges, played.seal_key, session, Control())
    assert (found.verdict, found.reason) == ("not_comparable", "other_runtime")


def test_a_worker_that_ends_accuses_nobody(played):
    session = session_of(network())
    session.worker.runner.fails["run"] = WorkerFailed("crash", "run", "signal 11")
    found = replay(played.granted, played.exchanges, played.seal_key, session, Control())
    assert (found.verdict, found.reason) == ("not_comparable", "worker_failed")


def test_a_delivered_model_that_refuses_the_inputs_fails(played):
    session = session_of(network())
    session.worker.runner.fails["run"] = WorkerFailed("refused", "run", "bad shape")
    found = replay(played.granted, played.exchanges, played.seal_key, session, Control())
    assert found.verdict == "mismatch"
    assert {one.reason for one in found.failures} == {"run"}


def test_it_can_be_ended(played):
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        replay(played.granted, played.exchanges, played.seal_key, session_of(network()), control)


def test_without_a_trial_the_golden_vectors_of_a_certificate_are_run(played):
    vectors = GoldenVectors(
        tuple(
            GoldenVector(inputs, network()(inputs), "sample")
            for inputs in (read_arrays(row.x) for row in played.committed.inputs)
        )
    )
    assert replay_golden(vectors, session_of(network()), Control()).verdict == "match"
    swapped = replay_golden(vectors, session_of(in_int8(network())), Control())
    assert (swapped.verdict, swapped.n) == ("mismatch", 24)
    session = session_of(network())
    session.worker.runner.fails["run"] = WorkerFailed("refused", "run", "bad shape")
    assert replay_golden(vectors, session, Control()).failing == 24
    session.worker.runner.fails["run"] = WorkerFailed("timeout", "run", "too slow")
    assert replay_golden(vectors, session, Control()).reason == "worker_failed"


# --- what fails without a run ---------------------------------------------------------------


def test_what_was_shown_against_what_was_sealed_fails_without_a_run(played):
    found = replayed(played, network(), lying(played))
    assert [(one.i, one.reason, one.output) for one in found.failures] == [(19, "shown", b"")]


def test_a_seal_that_does_not_open_fails_without_a_run(played):
    found = replayed(played, network(), with_last(played, sealed=bytes(60)))
    assert [(one.i, one.reason) for one in found.failures] == [(19, "seal")]


def test_a_seal_that_holds_no_output_fails_without_a_run(played):
    nonsense = seal_output(played.exchanges[-1].answer.answer, b"nothing", played.seal_key)
    found = replayed(played, network(), with_last(played, sealed=nonsense.sealed))
    assert [one.reason for one in found.failures] == ["seal"]


def test_another_seal_key_than_the_committed_one_is_no_replay(played):
    with pytest.raises(WrongSealKey):
        replay(played.granted, played.exchanges, bytes(32), session_of(network()), Control())


def test_a_broken_transcript_is_no_replay(played):
    with pytest.raises(BadTranscript):
        replayed(played, network(), with_last(played, prev=bytes(32)))
    with pytest.raises(BadTranscript):
        replayed(played, network(), tuple(played.exchanges[1:]))


# --- outputs too large to be sealed whole ---------------------------------------------------


def wide(seed=4):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(FEATURES, 16)).astype(np.float32)
    return of_weights(first, rng.normal(size=(16, 80_000)).astype(np.float32))


@pytest.fixture(scope="module")
def sampled():
    trial = on_trial(seed="wide")
    trial.exchange(3, model=wide())
    return trial


def test_of_large_outputs_a_sample_is_compared(sampled):
    assert len(sampled.exchanges[0].answer.answer.sealed) < 32 * 1024
    assert replayed(sampled, wide()).verdict == "match"
    assert replayed(sampled, on_other_cpu(wide())).verdict == "match"
    assert replayed(sampled, in_int8(wide())).verdict == "mismatch"
    assert replayed(sampled, network()).failing == 3


def test_of_large_outputs_a_lie_in_what_was_shown_is_seen_by_running_the_model(sampled):
    honest = sampled.exchanges[-1].answer.answer
    output = open_output(honest, sampled.seal_key)
    answer = msgspec.structs.replace(honest, shown={"logits": (honest.shown["logits"][0] ^ 1,)})
    answer = seal_output(answer, output, sampled.seal_key)
    exchanges = with_last(sampled, shown=answer.shown, sealed=answer.sealed)
    result = replayed(sampled, wide(), exchanges)
    assert [(one.i, one.reason, one.tensor) for one in result.failures] == [(2, "shown", "logits")]
    parts = make_proof(sampled.granted, exchanges, sampled.seal_key, result)
    body = parts.body(None, BLOB, BLOB)
    found = verify(sampled, body, parts)
    assert [(one.reason, one.is_proven) for one in found.findings] == [("shown", False)]
    confirmed = rerun_proof(body, sampled.granted, found, session_of(wide()), Control())
    assert confirmed.failing == 1


def test_a_delivered_model_with_more_outputs_than_an_answer_holds_differs(played):
    many = {f"o{number}": np.zeros(1, np.float32) for number in range(65)}
    found = replayed(played, lambda _: many)
    assert {(one.reason, one.output) for one in found.failures} == {("differs", b"")}


def test_what_the_delivered_model_gives_is_no_evidence_when_it_is_too_large(played):
    texts = {"logits": np.array(["z" * 600_000])}
    found = replayed(played, lambda _: texts)
    assert {(one.reason, one.output) for one in found.failures} == {("differs", b"")}
    parts = make_proof(played.granted, played.exchanges, played.seal_key, found)
    check = verify(played, parts.body(None, BLOB, BLOB), parts)
    assert {(one.reason, one.is_proven) for one in check.findings} == {("run", False)}


def test_an_answer_to_an_input_that_is_none_fails():
    chance = SeededChance("nonsense")
    trial = on_trial(seed="nonsense")
    committed = commit([(b"no arrays", b"0")], chance)
    asked_of = msgspec.structs.replace(trial.granted.request.commit, root=committed.root, n=1)
    request = msgspec.structs.replace(trial.granted.request, commit=asked_of)
    trial.committed, trial.granted = committed, replace(trial.granted, request=request)
    asked = trial.ask(0)
    honest = on_trial().exchange(1)[0].answer.answer
    answer = msgspec.structs.replace(
        honest, trial=trial.granted.trial, prev=trial.granted.grant_id, query=asked.digest
    )
    output = write_kept(kept_of({"logits": np.zeros((1, 4), np.float32)}, asked.digest))
    answer = msgspec.structs.replace(answer, shown={"logits": (0,)})
    answer = seal_output(answer, output, trial.seal_key)
    exchange = Exchange(asked, sign_answer(answer, trial.seller))
    found = replayed(trial, network(), (exchange,))
    assert [one.reason for one in found.failures] == ["run"]


# --- the Proof ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proven(played):
    """A Proof that the delivered model is another one; parts and Body."""
    result = replayed(played, network(seed=2))
    parts = make_proof(played.granted, played.exchanges, played.seal_key, result)
    return parts, parts.body(None, BLOB, BLOB)


def verify(played, body, parts, **other):
    values = {
        "granted": played.granted,
        "inputs": parts.inputs,
        "outputs": parts.outputs,
        "release_artifact": ARTIFACT,
    } | other
    return verify_proof(body, **values)


def fault(played, body, parts, **other):
    with pytest.raises(BadWarranty) as caught:
        verify(played, body, parts, **other)
    return caught.value.part, caught.value.reason


def test_a_proof_shows_eight_answers_and_the_figures_of_all(played, proven):
    parts, body = proven
    assert len(body.answers) == 8
    assert (body.n, body.failing) == (20, 20)
    assert body.artifact == ARTIFACT
    body.check()
    found = verify(played, body, parts)
    assert [one.i for one in found.findings] == list(range(8))
    assert {one.reason for one in found.findings} == {"differs"}


def test_without_the_model_a_difference_is_a_signed_claim(played, proven):
    parts, body = proven
    assert not verify(played, body, parts).is_proven


def test_whoever_holds_the_model_runs_the_proof_again(played, proven):
    parts, body = proven
    check = verify(played, body, parts)
    confirmed = rerun_proof(body, played.granted, check, session_of(network(seed=2)), Control())
    assert (confirmed.n, confirmed.failing) == (8, 8)
    refuted = rerun_proof(body, played.granted, check, session_of(network()), Control())
    assert (refuted.n, refuted.failing) == (8, 0)


def test_a_lie_in_what_was_shown_is_proven_to_everybody(played):
    exchanges = lying(played)
    result = replayed(played, network(), exchanges)
    parts = make_proof(played.granted, exchanges, played.seal_key, result)
    found = verify(played, parts.body(None, BLOB, BLOB), parts)
    assert found.is_proven
    assert [(one.i, one.reason, one.is_proven) for one in found.findings] == [(19, "shown", True)]


def test_a_proof_is_about_its_grant_artifact_and_key(played, proven):
    parts, body = proven
    other = on_trial(seed="other").granted
    assert fault(played, body, parts, granted=other) == ("grant", "other_grant")
    assert fault(played, body, parts, release_artifact=bytes(32)) == ("artifact", "other_artifact")
    changed = msgspec.structs.replace(body, artifact=bytes(32))
    assert fault(played, changed, parts) == ("artifact", "other_artifact")
    changed = msgspec.structs.replace(body, seal_key=bytes(32))
    assert fault(played, changed, parts) == ("seal_key", "other_key")


def test_figures_that_are_no_mismatch_are_refused(played, proven):
    parts, body = proven
    changed = msgspec.structs.replace(body, n=21)
    assert fault(played, changed, parts) == ("figures", "no_mismatch")


def changed_rows(parts, change):
    rows = decode_any(parts.inputs)
    change(rows)
    return encode(rows)


def test_changed_bytes_are_not_those_the_proof_names(played, proven):
    parts, body = proven

    def swap(rows):
        rows[0], rows[1] = rows[1], rows[0]

    for inputs in (changed_rows(parts, swap), changed_rows(parts, lambda rows: rows.pop())):
        assert fault(played, body, parts, inputs=inputs) == ("inputs", "other_answers")
    fewer = encode(decode_any(parts.outputs)[:-1])
    assert fault(played, body, parts, outputs=fewer) == ("outputs", "other_answers")
    assert fault(played, body, parts, inputs=b"\x00") == ("inputs", "bad_shape")
    assert fault(played, body, parts, outputs=b"") == ("outputs", "not_canonical")
    large = bytes(16 * 1024**2 + 1)
    assert fault(played, body, parts, inputs=large) == ("inputs", "too_large")


def test_answers_out_of_order_are_refused(played, proven):
    parts, body = proven
    rows, outputs = decode_any(parts.inputs), decode_any(parts.outputs)
    turned = msgspec.structs.replace(body, answers=body.answers[::-1])
    found = fault(played, turned, parts, inputs=encode(rows[::-1]), outputs=encode(outputs[::-1]))
    assert found == ("inputs", "not_in_order")


def as_proof(played, exchanges, result):
    parts = make_proof(played.granted, exchanges, played.seal_key, result)
    return parts.body(None, BLOB, BLOB), parts


def test_forged_signatures_and_chains_are_refused(played):
    result = replayed(played, network(seed=2))
    stranger = Signer.from_seed(b"f" * 32)
    first, second = played.exchanges[:2]
    forged = Exchange(first.query, sign_answer(first.answer.answer, stranger))
    body, parts = as_proof(played, (forged, *played.exchanges[1:]), result)
    assert fault(played, body, parts) == ("answer", "signature")
    asked = Exchange(sign_query(first.query.query, stranger), first.answer)
    body, parts = as_proof(played, (asked, *played.exchanges[1:]), result)
    assert fault(played, body, parts) == ("answer", "query_signature")
    unchained = msgspec.structs.replace(second.answer.answer, prev=bytes(32))
    broken = Exchange(second.query, sign_answer(unchained, played.seller))
    body, parts = as_proof(played, (first, broken, *played.exchanges[2:]), result)
    assert fault(played, body, parts) == ("answer", "prev")


def test_an_accusation_whose_own_outputs_agree_is_refuted(played, proven):
    parts, body = proven
    outputs = decode_any(parts.outputs)
    answer = played.exchanges[0].answer.answer
    outputs[0] = write_kept(read_kept(open_output(answer, played.seal_key)))
    assert fault(played, body, parts, outputs=encode(outputs)) == ("answer", "agrees")
    outputs[0] = b"nonsense"
    assert fault(played, body, parts, outputs=encode(outputs))[0] == "outputs"


def test_a_proof_shows_no_more_than_a_blob_holds(played, monkeypatch):
    result = replayed(played, network(seed=2))
    monkeypatch.setattr("hanse.core.certify.warranty._ROOM_BYTES", 5000)
    parts = make_proof(played.granted, played.exchanges, played.seal_key, result)
    assert 1 <= len(parts.answers) < 8
    assert verify(played, parts.body(None, BLOB, BLOB), parts)
    monkeypatch.setattr("hanse.core.certify.warranty._ROOM_BYTES", 1)
    parts = make_proof(played.granted, played.exchanges, played.seal_key, result)
    assert len(parts.answers) == 1


def test_a_proof_shows_no_key_and_no_input(proven):
    parts, body = proven
    shown = repr([parts, body])
    assert parts.seal_key.hex() not in shown
    assert repr(parts.seal_key)[2:-1] not in shown
    assert isinstance(body, Warranty1)


# --- one row at a time ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "rows", "is_refused"),
    [
        ((None, 6), 1, False),
        (("batch", 6), 2, True),
        ((None, 6), 0, True),
        ((2, 6), 2, False),  # the model takes nothing else
        (None, 2, True),  # nothing is said, so the first axis counts
    ],
)
def test_an_input_holds_one_row(shape, rows, is_refused):
    loaded = replace(
        session_of(network()).loaded, inputs=(TensorFacts(name="x", dtype="float32", shape=shape),)
    )
    inputs = {"x": np.zeros((rows, 6), np.float32)}
    if not is_refused:
        check_one_row(inputs, loaded)
        return
    with pytest.raises(SeveralRows) as caught:
        check_one_row(inputs, loaded)
    assert caught.value.values == {"name": "x", "found": rows}
