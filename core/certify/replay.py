"""Warranty by Replay: the answers of a Trial, run again on the model that was delivered.

* The whole transcript is checked first; what breaks a signature or the chain is no mismatch, it
  is no transcript.
* An answer whose seal does not open under the committed key, or whose ``shown`` does not follow
  from what it sealed, fails without a run.
* Everything else is run, and the raw outputs are compared within the tolerance of their type
  (``hanse.core.certify.compare``): another CPU is no other model.
* A mismatch is more than one failing answer in a hundred.  Nothing is said where another
  runtime would be compared, or the Worker itself fails.

How a failed Replay becomes a Proof for others is ``warranty``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.compare import NANO, agree_outputs, tolerance_of
from hanse.core.certify.trial_outputs import (
    AnswerTooLarge,
    agree_kept,
    follows,
    kept_of,
    project,
    read_arrays,
    read_kept,
    shown_fits,
    write_kept,
)
from hanse.core.errors import Refused, RejectedEntry
from hanse.core.limits import (
    FACT_NAME_CHARACTERS_MAX,
    PROOF_ANSWERS_MAX,
    TRIAL_OUTPUTS_MAX,
    TRIAL_RUNTIME_CHARACTERS_MAX,
)
from hanse.core.model.arrays import dtype_name
from hanse.core.model.running import WorkerFailed
from hanse.core.model.trial import Answer, ReplayFailure, ReplayResult
from hanse.core.trade.trial_rules import check_transcript
from hanse.core.trade.trial_sealing import (
    WrongSealKey,
    open_output,
    seal_commitment,
    seal_output,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.certify.compare import Tolerance
    from hanse.core.certify.golden import GoldenVectors
    from hanse.core.certify.trial_outputs import Kept
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.control import Control
    from hanse.core.model.running import Loaded, Worker
    from hanse.core.model.trial import Exchange, Granted, SignedQuery

FIRST: Final = 64  # answers replayed before a Release is handed over, the rest behind
_TAG: Final = bytes(16)  # stands in ``sealed`` until it is sealed


class SeveralRows(Refused):
    """An input of a Trial holds more than one row: each would be an answer that nobody counts."""

    code = "trial.several_rows"
    text = "input {name} holds {found} rows, one is answered at a time"
    fields = ("name", "found")


def runtime_text(loaded: Loaded) -> str:
    """Say what runs a model, as answers and Proofs do: ``onnxruntime 1.32.0 cpu``."""
    text = f"{loaded.runtime} {loaded.version} {loaded.provider}"
    return text[:TRIAL_RUNTIME_CHARACTERS_MAX]


@dataclass(frozen=True, slots=True)
class Session:
    """A Worker with the model loaded, and what is known of the model; ``declared`` is tighter."""

    worker: Worker
    loaded: Loaded
    facts: ModelFacts | None = None
    declared: Tolerance | None = None


def answer_query(
    granted: Granted,
    asked: SignedQuery,
    prev: bytes,
    seal_key: bytes,
    session: Session,
    now_ms: int,
    control: Control,
) -> Answer:
    """Run one query and make the answer to it, ready to be signed; the seller's side.

    Raise ``BadShape`` for an input that is none, ``SeveralRows`` for more than one,
    ``WorkerFailed`` where the model does not take it, ``AnswerTooLarge`` for outputs that fit no
    answer.
    """
    terms = granted.grant.answers
    assert terms is not None
    inputs = read_arrays(asked.query.x)
    check_one_row(inputs, session.loaded)
    ran = session.worker.run(inputs, control)
    kept = kept_of(ran.outputs, asked.digest)
    answer = Answer(
        trial=granted.trial,
        i=asked.query.i,
        prev=prev,
        query=asked.digest,
        artifact=granted.grant.artifact,
        runtime=runtime_text(session.loaded),
        shown=project(ran.outputs, terms.shown),
        sealed=_TAG,
        time_ms=now_ms,
    )
    return seal_output(answer, write_kept(kept), seal_key)


def check_one_row(inputs: Mapping[str, Array], loaded: Loaded) -> None:
    """Raise ``SeveralRows`` where an input whose first axis is free has another length than 1."""
    for tensor in loaded.inputs:
        array, shape = inputs.get(tensor.name), tensor.shape
        is_fixed = shape is not None and (not shape or isinstance(shape[0], int))
        if array is not None and array.ndim and not is_fixed and array.shape[0] != 1:
            raise SeveralRows(name=tensor.name, found=array.shape[0])


def replay(
    granted: Granted,
    exchanges: Sequence[Exchange],
    seal_key: bytes,
    session: Session,
    control: Control,
    *,
    start: int = 0,
    stop: int | None = None,
) -> ReplayResult:
    """Run answers ``start`` to ``stop`` again and say which the delivered model stands for.

    Raise ``BadTranscript`` for a transcript that is none, ``WrongSealKey`` for another key than
    the GRANT committed to.
    """
    terms = granted.grant.answers
    check_transcript(granted, exchanges)
    assert terms is not None
    if (found := seal_commitment(seal_key)) != terms.seal_commit:
        raise WrongSealKey(expected=terms.seal_commit.hex(), found=found.hex())
    chosen = exchanges[start:stop]
    return replay_each(granted, chosen, seal_key, session, control)


def replay_each(
    granted: Granted,
    exchanges: Sequence[Exchange],
    seal_key: bytes,
    session: Session,
    control: Control,
) -> ReplayResult:
    """Run answers that were checked already."""
    failures: list[ReplayFailure] = []
    largest = compared = 0
    reason = ""
    for number, exchange in enumerate(exchanges):
        control.checkpoint("replay", number, len(exchanges))
        if not _is_same_runtime(exchange.answer.answer.runtime, session.loaded):
            reason = "other_runtime"
            break
        try:
            failure, gap = _replay_one(granted, exchange, seal_key, session, control)
        except WorkerFailed:
            reason = "worker_failed"
            break
        compared += 1
        largest = max(largest, gap)
        if failure is not None:
            has_room = sum(bool(one.output) for one in failures) < PROOF_ANSWERS_MAX
            failures.append(failure if has_room else _without_output(failure))
    control.checkpoint("replay", len(exchanges), len(exchanges))
    return ReplayResult(
        n=compared,
        failures=tuple(failures),
        max_abs_nano=largest,
        runtime=runtime_text(session.loaded),
        isolation=session.worker.grade,
        reason=reason,
    )


def replay_golden(golden: GoldenVectors, session: Session, control: Control) -> ReplayResult:
    """Run the golden vectors of a seller's Certificate again: what stands in for a Trial.

    There is no signed answer in it, so no Proof comes of a mismatch; the Certificate itself
    is what was not kept.
    """
    failures: list[ReplayFailure] = []
    largest, reason = 0, ""
    compared = 0
    for number, vector in enumerate(golden.vectors):
        control.checkpoint("replay", number, len(golden.vectors))
        try:
            ran = session.worker.run(vector.inputs, control)
        except WorkerFailed as error:
            if error.kind != "refused":
                reason = "worker_failed"
                break
            failures.append(ReplayFailure(number, "run"))
        else:
            found = agree_outputs(vector.outputs, ran.outputs, session.facts, session.declared)
            largest = max(largest, found.max_abs_nano)
            if not found.agrees:
                failures.append(ReplayFailure(number, "differs", found.tensor, found.max_abs_nano))
        compared += 1
    control.checkpoint("replay", len(golden.vectors), len(golden.vectors))
    return ReplayResult(
        n=compared,
        failures=tuple(failures),
        max_abs_nano=largest,
        runtime=runtime_text(session.loaded),
        isolation=session.worker.grade,
        reason=reason,
    )


def _replay_one(
    granted: Granted, exchange: Exchange, seal_key: bytes, session: Session, control: Control
) -> tuple[ReplayFailure | None, int]:
    """Return why an answer fails, or ``None``; and the largest distance seen."""
    answer, query = exchange.answer.answer, exchange.query
    unrun = failure_without_run(granted, exchange, seal_key)
    if unrun is not None:
        return unrun, 0
    try:
        ran = session.worker.run(read_arrays(query.query.x), control)
    except RejectedEntry:
        return ReplayFailure(answer.i, "run"), 0
    except WorkerFailed as error:
        if error.kind != "refused":
            raise
        return ReplayFailure(answer.i, "run"), 0
    if len(ran.outputs) > TRIAL_OUTPUTS_MAX:  # more than any answer can have
        return ReplayFailure(answer.i, "differs"), 0
    raw, terms = open_output(answer, seal_key), granted.grant.answers
    assert raw is not None
    assert terms is not None
    ref, got = read_kept(raw), kept_of(ran.outputs, query.digest)
    found = agree_kept(ref, got, session.facts, session.declared)
    if not found.agrees:
        tensor = found.tensor[:FACT_NAME_CHARACTERS_MAX]
        return ReplayFailure(answer.i, "differs", tensor, found.max_abs_nano, _as_evidence(got)), 0
    if any(one.is_sample for one in ref.values()):
        allowed = _allowed_gaps(ran.outputs, session.facts)
        if name := shown_fits(answer.shown, ran.outputs, terms.shown, allowed):
            return ReplayFailure(answer.i, "shown", name, output=_as_evidence(got)), 0
    return None, found.max_abs_nano


def _as_evidence(got: Mapping[str, Kept]) -> bytes:
    """Write what the delivered model gave as a Proof shows it; nothing where it is too large."""
    try:
        return write_kept(got)
    except AnswerTooLarge:
        return b""


def failure_without_run(
    granted: Granted, exchange: Exchange, seal_key: bytes
) -> ReplayFailure | None:
    """Say what is wrong with an answer by itself: its seal, or what it showed of it."""
    answer = exchange.answer.answer
    terms = granted.grant.answers
    assert terms is not None
    raw = open_output(answer, seal_key)
    if raw is None:
        return ReplayFailure(answer.i, "seal")
    try:
        kept = read_kept(raw)
    except RejectedEntry:
        return ReplayFailure(answer.i, "seal")
    if not follows(answer.shown, kept, terms.shown):
        return ReplayFailure(answer.i, "shown")
    return None


def _allowed_gaps(outputs: Mapping[str, Array], facts: ModelFacts | None) -> dict[str, float]:
    """Return how far numbers of each output may lie apart."""
    found = {}
    for name, array in outputs.items():
        if array.dtype.kind != "f":
            continue
        tolerance = tolerance_of(dtype_name(array), facts)
        finite = np.abs(array[np.isfinite(array)].astype(np.float64))
        most = np.max(finite, initial=0.0)
        found[name] = most * tolerance.rtol_nano / NANO + tolerance.atol_nano / NANO
    return found


def _without_output(failure: ReplayFailure) -> ReplayFailure:
    return ReplayFailure(failure.i, failure.reason, failure.tensor, failure.max_abs_nano)


def _is_same_runtime(said: str, loaded: Loaded) -> bool:
    return said.partition(" ")[0] == loaded.runtime
