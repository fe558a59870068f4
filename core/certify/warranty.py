"""The Proof of a failed Replay: made by the buyer, checked by anybody, run again by who can.

* A Proof shows at most eight failing answers, with their queries and with what the delivered
  model gave; the two Blobs hold them in the order of ``answers``.  Queries and answers stand
  there as they were signed, since sealed outputs are too long for a Body.
* Anybody can check: both signatures of each, that each query is the committed leaf that was due,
  the chain where two neighbours are shown, the seal key, and that the Artifact is the Release's.
* An answer whose seal does not open, or that showed what it did not seal, is **proven** by that
  alone.  That the delivered model answers otherwise is the buyer's word until somebody who
  holds the model runs it again; ``n`` and ``failing`` beyond the answers shown stay his word.
* A claimed output that agrees with the sealed one refutes the Proof.

Who rules on it, and what it costs whom, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from hanse.core.certify.replay import failure_without_run, replay_each
from hanse.core.certify.trial_outputs import agree_kept, read_kept
from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import bound_items, decode, encode
from hanse.core.ledger.kinds import Warranty1
from hanse.core.limits import BLOB_SIZE_BYTES_MAX, PROOF_ANSWERS_MAX, TRIAL_MESSAGE_ITEMS_MAX
from hanse.core.model.trial import Exchange
from hanse.core.trade.trial_messages import read_answer, read_query
from hanse.core.trade.trial_rules import BadTranscript, check_answer, check_asked, query_order
from hanse.core.trade.trial_sealing import open_output, seal_commitment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.certify.replay import Session
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.blob import Blob
    from hanse.core.model.control import Control
    from hanse.core.model.ids import EntryId
    from hanse.core.model.trial import FailureWord, Granted, ReplayResult

# A private Blob is padded and sealed, so the plain bytes stay a little below its limit.
_ROOM_BYTES: Final = BLOB_SIZE_BYTES_MAX - 8192
_Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class BadWarranty(VerificationFailed):
    """A Proof of a failed Replay does not hold; both values are stable words."""

    code = "trial.bad_warranty"
    text = "proof of a failed replay does not hold, {part}: {reason}"
    fields = ("part", "reason")

    def __init__(self, part: str, reason: str) -> None:
        """Name the part and what is wrong with it."""
        super().__init__(part=part, reason=reason)
        self.part = part
        self.reason = reason


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    query: bytes
    query_signature: _Signature
    answer: bytes
    answer_signature: _Signature


_Rows = Annotated[tuple[_Row, ...], msgspec.Meta(min_length=1, max_length=PROOF_ANSWERS_MAX)]
_Outputs = Annotated[
    tuple[bytes | None, ...], msgspec.Meta(min_length=1, max_length=PROOF_ANSWERS_MAX)
]


@dataclass(frozen=True, slots=True)
class ProofParts:
    """A Proof before its Blobs are sealed; ``body`` makes the Entry's Body of it."""

    answers: tuple[bytes, ...]
    inputs: bytes = field(repr=False)
    outputs: bytes = field(repr=False)
    seal_key: bytes = field(repr=False)
    grant_id: EntryId
    artifact: bytes
    n: int
    failing: int
    isolation: str
    runtime: str

    def body(self, order: EntryId | None, inputs: Blob, outputs: Blob) -> Warranty1:
        """Return the Body; both Blobs are private."""
        return Warranty1(
            order=order,
            grant=self.grant_id,
            seal_key=self.seal_key,
            answers=self.answers,
            inputs=inputs,
            outputs=outputs,
            n=self.n,
            failing=self.failing,
            isolation=self.isolation,
            runtime=self.runtime,
            artifact=self.artifact,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What one answer of a Proof comes to; ``is_proven`` without running the model."""

    i: int
    reason: FailureWord
    is_proven: bool


@dataclass(frozen=True, slots=True)
class ProofCheck:
    """A Proof that holds: what each shown answer comes to."""

    findings: tuple[Finding, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def is_proven(self) -> bool:
        """Say whether a fault is shown without running the model; else it is a signed claim."""
        return any(one.is_proven for one in self.findings)


def make_proof(
    granted: Granted, exchanges: Sequence[Exchange], seal_key: bytes, result: ReplayResult
) -> ProofParts:
    """Show the first failing answers of a mismatch, as many as fit."""
    assert result.verdict == "mismatch"
    by_number = {one.answer.answer.i: one for one in exchanges}
    rows: list[_Row] = []
    outputs: list[bytes | None] = []
    answers: list[bytes] = []
    room_in, room_out = _ROOM_BYTES, _ROOM_BYTES
    for failure in sorted(result.failures, key=lambda one: one.i)[:PROOF_ANSWERS_MAX]:
        exchange = by_number[failure.i]
        query, answer = exchange.query, exchange.answer
        room_in -= len(query.raw) + len(answer.raw) + 256
        room_out -= len(failure.output) + 16
        if rows and min(room_in, room_out) < 0:
            break
        rows.append(_Row(query.raw, query.signature, answer.raw, answer.signature))
        outputs.append(failure.output or None)
        answers.append(answer.id)
    return ProofParts(
        answers=tuple(answers),
        inputs=encode(rows),
        outputs=encode(outputs),
        seal_key=seal_key,
        grant_id=granted.grant_id,
        artifact=granted.grant.artifact,
        n=result.n,
        failing=result.failing,
        isolation=result.isolation,
        runtime=result.runtime,
    )


def verify_proof(
    proof: Warranty1,
    granted: Granted,
    inputs: bytes,
    outputs: bytes,
    release_artifact: bytes,
    facts: ModelFacts | None = None,
) -> ProofCheck:
    """Check what anybody can, or raise ``BadWarranty``.

    ``granted`` comes from the disclosed Entries of REQUEST and GRANT, ``inputs`` and ``outputs``
    are the opened Blobs, ``release_artifact`` is what the signed Release names.
    """
    # (1) It is about this grant, this Artifact and this key.
    terms = granted.grant.answers
    if terms is None or proof.grant != granted.grant_id:
        raise BadWarranty("grant", "other_grant")
    if not proof.artifact == granted.grant.artifact == release_artifact:
        raise BadWarranty("artifact", "other_artifact")
    if seal_commitment(proof.seal_key) != terms.seal_commit:
        raise BadWarranty("seal_key", "other_key")
    order = query_order(granted)
    if proof.n > len(order) or proof.failing * 100 <= proof.n:
        raise BadWarranty("figures", "no_mismatch")

    # (2) The Blobs hold just the answers it names.
    exchanges, claimed = _read_blobs(proof, inputs, outputs)

    # (3) Signatures, the committed leaf that was due, and the chain where it can be seen.
    _check_exchanges(granted, exchanges, order)

    # (4) What each comes to, and that no claimed output refutes it.
    findings = tuple(
        _finding(granted, exchange, output, proof.seal_key, facts)
        for exchange, output in zip(exchanges, claimed, strict=True)
    )
    return ProofCheck(findings, exchanges)


def rerun_proof(
    proof: Warranty1, granted: Granted, check: ProofCheck, session: Session, control: Control
) -> ReplayResult:
    """Run the answers of a checked Proof on the model; for whoever holds it.

    Its ``failures`` are those that are confirmed.
    """
    return replay_each(granted, check.exchanges, proof.seal_key, session, control)


def _read_blobs(
    proof: Warranty1, inputs: bytes, outputs: bytes
) -> tuple[tuple[Exchange, ...], tuple[bytes | None, ...]]:
    for part, raw in (("inputs", inputs), ("outputs", outputs)):
        if len(raw) > BLOB_SIZE_BYTES_MAX:
            raise BadWarranty(part, "too_large")
    try:
        bound_items(inputs, TRIAL_MESSAGE_ITEMS_MAX)
        rows = decode(inputs, _Rows)
        exchanges = tuple(
            Exchange(
                read_query(row.query, row.query_signature),
                read_answer(row.answer, row.answer_signature),
            )
            for row in rows
        )
    except RejectedEntry as error:
        raise BadWarranty("inputs", error.reason) from error
    try:
        bound_items(outputs, TRIAL_MESSAGE_ITEMS_MAX)
        claimed = decode(outputs, _Outputs)
    except RejectedEntry as error:
        raise BadWarranty("outputs", error.reason) from error
    if tuple(one.answer.id for one in exchanges) != proof.answers:
        raise BadWarranty("inputs", "other_answers")
    if len(claimed) != len(exchanges):
        raise BadWarranty("outputs", "other_answers")
    return exchanges, claimed


def _check_exchanges(
    granted: Granted, exchanges: Sequence[Exchange], order: tuple[int, ...]
) -> None:
    commit = granted.request.commit
    assert commit is not None
    for before, after in pairwise(exchanges):
        if before.answer.answer.i >= after.answer.answer.i:
            raise BadWarranty("inputs", "not_in_order")
    previous: Exchange | None = None
    for exchange in exchanges:
        answer = exchange.answer.answer
        prev = answer.prev
        if answer.i == 0:
            prev = granted.grant_id
        elif previous is not None and previous.answer.answer.i == answer.i - 1:
            prev = previous.answer.id
        try:
            check_asked(granted, exchange.query, commit, order, answer.i)
            check_answer(granted, exchange.query, exchange.answer, prev)
        except BadTranscript as error:
            raise BadWarranty("answer", error.reason) from error
        previous = exchange


def _finding(
    granted: Granted,
    exchange: Exchange,
    output: bytes | None,
    seal_key: bytes,
    facts: ModelFacts | None,
) -> Finding:
    answer = exchange.answer.answer
    failure = failure_without_run(granted, exchange, seal_key)
    if failure is not None:
        return Finding(answer.i, failure.reason, is_proven=True)
    if output is None:
        return Finding(answer.i, "run", is_proven=False)
    raw = open_output(answer, seal_key)
    assert raw is not None
    ref = read_kept(raw)
    try:
        got = read_kept(output)
    except RejectedEntry as error:
        raise BadWarranty("outputs", error.reason) from error
    if not agree_kept(ref, got, facts).agrees:
        return Finding(answer.i, "differs", is_proven=False)
    if not any(one.is_sample for one in ref.values()):
        raise BadWarranty("answer", "agrees")
    # What was shown of a sampled output can only be compared by running the model.
    return Finding(answer.i, "shown", is_proven=False)
