"""What may be granted, asked and believed in a Trial: every rule once, for both sides.

* A seller's app grants what the card switches on, within its limits, and no more to strangers
  than a Listing gives in 30 days.  A model that its answers would give away (under 5,000
  parameters, or linear) answers no stranger.
* To strangers a class is shown without its scores, a figure by two significant digits.
* ``check_trial`` decides each query: in order, in budget, in pace, committed, never twice.
* ``check_answer`` decides each answer: signed by the granting Device, chained from the GRANT.
  What it seals can be judged only by whoever has the seal key.
* A sealed local run is counted *before* it happens; its keys end with the runs, with the date,
  and when the clock went back by more than an hour.
* Nothing here moves a Trial's state by time alone.

The state of a Trial is ``trial_state``'s, running models and comparing outputs
``hanse.core.certify``'s.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, Protocol

from hanse.core.errors import Refused, VerificationFailed
from hanse.core.limits import (
    TRIAL_ANSWER_INTERVAL_MS,
    TRIAL_ANSWERS_PER_30_DAYS_MAX,
    TRIAL_ANSWERS_PER_BUYER_MAX,
    TRIAL_CLOCK_BACK_MS_MAX,
    TRIAL_DAYS_MAX,
    TRIAL_INPUT_SIZE_BYTES_MAX,
    TRIAL_INPUTS_SIZE_BYTES_MAX,
    TRIAL_STRANGER_PARAMETERS_MIN,
)
from hanse.core.model.trial import LocalUse, RefusalWord, TrialLimits
from hanse.core.trade.trial_commitment import asking_order, is_committed
from hanse.core.trade.trial_messages import is_signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.card import Shown, Trials
    from hanse.core.model.trial import (
        AnswersTerms,
        AnswersUsed,
        Exchange,
        Granted,
        ShownOutputs,
        SignedAnswer,
        SignedQuery,
        TrialClose,
        TrialCommit,
        TrialGrant,
        TrialRequest,
    )

SpentWord = Literal["runs", "date", "clock"]

DAY_MS: Final = 24 * 60 * 60 * 1000
COUNTED_MS: Final = 30 * DAY_MS  # over which answers to strangers are counted

# Operators that keep a model linear, those that may end one, and those that hold a layer.
_LINEAR: Final = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Neg", "Identity", "Cast", "Reshape", "Flatten", "Concat"),
        *("Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Constant", "Shape", "Sum"),
        *("ReduceSum", "ReduceMean", "ConstantOfShape", "BatchNormalization", "Expand", "Dropout"),
        *("MatMul", "Gemm", "Conv", "AveragePool", "GlobalAveragePool", "Pad", "QuantizeLinear"),
        *("DequantizeLinear", "ai.onnx.ml::Scaler", "ai.onnx.ml::FeatureVectorizer"),
        *("ai.onnx.ml::LinearClassifier", "ai.onnx.ml::LinearRegressor", "ai.onnx.ml::CastMap"),
        *("ADD", "SUB", "MUL", "DIV", "NEG", "CAST", "RESHAPE", "CONCATENATION", "TRANSPOSE"),
        *("SQUEEZE", "EXPAND_DIMS", "FULLY_CONNECTED", "CONV_2D", "AVERAGE_POOL_2D", "MEAN"),
        *("PAD", "QUANTIZE", "DEQUANTIZE", "SHAPE", "PACK"),
    }
)
_ENDS: Final = frozenset(
    {
        *("Softmax", "LogSoftmax", "Sigmoid", "Exp", "ArgMax", "TopK", "Clip", "Relu", "Tanh"),
        *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Where", "Equal"),
        *("ai.onnx.ml::Normalizer", "ai.onnx.ml::ZipMap", "ai.onnx.ml::LabelEncoder"),
        *("ai.onnx.ml::ArrayFeatureExtractor", "ai.onnx.ml::Binarizer"),
        *("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "ARG_MAX", "RELU", "GREATER"),
    }
)
_LAYERS: Final = frozenset(
    {
        *("MatMul", "Gemm", "Conv", "ai.onnx.ml::LinearClassifier", "ai.onnx.ml::LinearRegressor"),
        *("FULLY_CONNECTED", "CONV_2D"),
    }
)
# Their weights are attributes of the operator and are not counted as parameters.
_UNCOUNTED: Final = frozenset(
    {
        *("ai.onnx.ml::TreeEnsembleClassifier", "ai.onnx.ml::TreeEnsembleRegressor"),
        *("ai.onnx.ml::TreeEnsemble", "ai.onnx.ml::SVMClassifier", "ai.onnx.ml::SVMRegressor"),
    }
)


_REFUSALS: Final[dict[str, RefusalWord]] = {
    "not_offered": "not_offered",
    "expired": "expired",
    "budget": "budget",
    "small_model": "small_model",
    "too_many": "too_many",
    "other_artifact": "other_artifact",
}


class LocalBounds(Protocol):
    """How often and how long a sealed model may be run: of a GRANT, or of the row that keeps it."""

    @property
    def runs_max(self) -> int:
        """Return how many runs were granted."""
        ...

    @property
    def until_ms(self) -> int:
        """Return the last moment of the Trial."""
        ...


class TrialRefused(Refused):
    """A rule of the Trial says no; ``reason`` is a stable word, nothing was run or counted."""

    code = "trial.refused"
    text = "trial refused: {reason}"
    fields = ("reason",)

    def __init__(self, reason: str) -> None:
        """Name the rule."""
        super().__init__(reason=reason)
        self.reason = reason


class TrialSpent(Refused):
    """A sealed trial is over; ``limit`` is ``runs``, ``date`` or ``clock``. Its keys go."""

    code = "trial.spent"
    text = "trial spent: {limit}"
    fields = ("limit",)

    def __init__(self, limit: SpentWord) -> None:
        """Name the limit that was reached."""
        super().__init__(limit=limit)
        self.limit = limit


class BadTranscript(VerificationFailed):
    """An answer is not one of this Trial, or does not follow the one before.

    ``number`` counts from 1.
    """

    code = "trial.bad_transcript"
    text = "answer {number} does not belong into this trial: {reason}"
    fields = ("number", "reason")

    def __init__(self, i: int, reason: str) -> None:
        """Name the answer (from 0) and the rule it breaks."""
        super().__init__(number=i + 1, reason=reason)
        self.i = i
        self.reason = reason


# --- granting -------------------------------------------------------------------------------


def check_may_grant(
    request: TrialRequest,
    offer: Trials,
    facts: ModelFacts | None,
    *,
    is_stranger: bool,
    strangers_30_days: int,
    now_ms: int,
) -> None:
    """Raise ``TrialRefused`` where the seller's app may not grant; the words are ``REFUSE``'s.

    ``facts`` are the model's, ``strangers_30_days`` counts answers about the whole Listing.
    """
    if now_ms > request.expires:
        raise TrialRefused("expired")
    if request.way == "sealed":
        if offer.sealed_local is None:
            raise TrialRefused("not_offered")
        return
    if offer.signed_answers is None:
        raise TrialRefused("not_offered")
    if is_stranger:
        if facts is None or is_given_away_by_answers(facts):
            raise TrialRefused("small_model")
        if strangers_30_days >= min(offer.signed_answers.per_30d, TRIAL_ANSWERS_PER_30_DAYS_MAX):
            raise TrialRefused("budget")


def is_given_away_by_answers(facts: ModelFacts) -> bool:
    """Say whether so few answers teach the model that strangers get none.

    A linear model of 30 inputs fell to 31 scores (measured); rounding only doubled that.
    """
    if facts.parameters < TRIAL_STRANGER_PARAMETERS_MIN and not _UNCOUNTED & facts.operators.keys():
        return True
    if facts.operators.keys() <= _LINEAR:
        return True
    # With one layer whatever bends its result can be bent back.
    layers = sum(count for name, count in facts.operators.items() if name in _LAYERS)
    return layers <= 1 and facts.operators.keys() <= _LINEAR | _ENDS


def answer_limits(offer: Trials, answers: int, until_ms: int) -> TrialLimits:
    """Return the limits of a grant: ``answers`` as planned, never more than is offered."""
    assert offer.signed_answers is not None
    most = min(answers, offer.signed_answers.per_buyer, TRIAL_ANSWERS_PER_BUYER_MAX)
    return TrialLimits(
        answers=most,
        input_bytes=TRIAL_INPUT_SIZE_BYTES_MAX,
        total_bytes=TRIAL_INPUTS_SIZE_BYTES_MAX,
        interval_ms=TRIAL_ANSWER_INTERVAL_MS,
        until_ms=until_ms,
    )


def shown_to(offer: Shown, *, is_stranger: bool, is_figure: bool) -> Shown:
    """Return what a buyer reads of each answer: a stranger never the scores behind a class.

    Scores teach a copier the model, labels little more than his own do (measured); of a figure a
    stranger reads two significant digits.  What the seller shows less of stays as it is.
    """
    if not is_stranger or offer in {"top1", "tokens256"}:
        return offer
    return "digits2" if is_figure else "top1"


def check_grant(
    grant: TrialGrant, request: TrialRequest, trial: bytes, artifact: bytes, now_ms: int
) -> None:
    """Raise ``TrialRefused`` unless the grant answers this request, for the Release's Artifact.

    The buyer's side; ``artifact`` is what the Release names.
    """
    if grant.trial != trial:
        raise TrialRefused("other_trial")
    if grant.way != request.way:
        raise TrialRefused("other_way")
    if grant.artifact != artifact:
        raise TrialRefused("other_artifact")
    if grant.sealed is not None and grant.sealed.until_ms > now_ms + TRIAL_DAYS_MAX * DAY_MS:
        raise TrialRefused("too_long")
    if grant.answers is not None and request.commit is not None:
        plan = grant.answers.plan
        if plan is not None and plan.cap > min(grant.answers.limits.answers, request.commit.n):
            raise TrialRefused("plan_beyond_budget")


# --- queries --------------------------------------------------------------------------------


def query_order(granted: Granted) -> tuple[int, ...]:
    """Return the leaves in the order they must be asked, as many as the grant answers."""
    commit, terms = _answers_of(granted)
    count = min(commit.n, terms.limits.answers)
    return asking_order(commit.root, terms.seller_nonce, commit.n, count)


def check_trial(
    granted: Granted,
    used: AnswersUsed,
    signed: SignedQuery,
    now_ms: int,
    *,
    is_stranger: bool,
    per_30_days: int = TRIAL_ANSWERS_PER_30_DAYS_MAX,
) -> None:
    """Raise ``TrialRefused`` unless the seller's app may answer this query now.

    A query that was answered already is not checked again: its kept answer is sent.
    """
    commit, terms = _answers_of(granted)
    limits, query = terms.limits, signed.query
    # (1) Cheap refusals first, so that a flood costs us no hashing.
    if query.trial != granted.trial:
        raise TrialRefused("other_trial")
    if now_ms > limits.until_ms:
        raise TrialRefused("expired")
    if now_ms < used.last_ms - TRIAL_CLOCK_BACK_MS_MAX:
        raise TrialRefused("clock")
    if used.answers >= min(limits.answers, TRIAL_ANSWERS_PER_BUYER_MAX):
        raise TrialRefused("budget")
    if is_stranger and used.strangers_30_days >= min(per_30_days, TRIAL_ANSWERS_PER_30_DAYS_MAX):
        raise TrialRefused("listing_budget")
    if used.answers and now_ms < used.last_ms + max(limits.interval_ms, TRIAL_ANSWER_INTERVAL_MS):
        raise TrialRefused("too_fast")
    if len(query.x) > min(limits.input_bytes, TRIAL_INPUT_SIZE_BYTES_MAX):
        raise TrialRefused("input_too_large")
    total = used.total_bytes + len(query.x)
    if total > min(limits.total_bytes, TRIAL_INPUTS_SIZE_BYTES_MAX):
        raise TrialRefused("inputs_too_large")

    # (2) The order: number by number, leaf by leaf, no input twice.
    if query.i != used.answers:
        raise TrialRefused("out_of_order")
    if query.i >= commit.n or query.index != query_order(granted)[query.i]:
        raise TrialRefused("other_leaf")
    if sha256(query.x).digest() in used.inputs:
        raise TrialRefused("input_twice")

    # (3) Who asks, and whether this is what he committed to.
    if not is_signed_by(signed, granted.buyer):
        raise TrialRefused("signature")
    if not is_committed(query, commit):
        raise TrialRefused("not_committed")


# --- answers --------------------------------------------------------------------------------


def check_answer(granted: Granted, asked: SignedQuery, signed: SignedAnswer, prev: bytes) -> None:
    """Raise ``BadTranscript`` unless this is the seller's next answer to this query.

    ``prev`` is the id of the answer before, or of the GRANT.
    """
    answer = signed.answer
    for reason, is_wrong in (
        ("trial", answer.trial != granted.trial),
        ("number", answer.i != asked.query.i),
        ("query", answer.query != asked.digest),
        ("artifact", answer.artifact != granted.grant.artifact),
        ("prev", answer.prev != prev),
    ):
        if is_wrong:
            raise BadTranscript(asked.query.i, reason)
    if not is_signed_by(signed, granted.seller):
        raise BadTranscript(asked.query.i, "signature")


def check_transcript(granted: Granted, exchanges: Iterable[Exchange]) -> bytes:
    """Check a whole transcript as a third party does; return the id of its last answer.

    Raise ``BadTranscript`` for the first query or answer that breaks a rule both sides signed.
    Budgets of pace and bytes are not looked at: they were the seller's to refuse.
    """
    commit, _ = _answers_of(granted)
    order = query_order(granted)
    last: bytes = granted.grant_id
    for number, exchange in enumerate(exchanges):
        check_asked(granted, exchange.query, commit, order, number)
        check_answer(granted, exchange.query, exchange.answer, last)
        last = exchange.answer.id
    return last


def check_asked(
    granted: Granted, signed: SignedQuery, commit: TrialCommit, order: tuple[int, ...], number: int
) -> None:
    """Raise ``BadTranscript`` unless the buyer signed query ``number``, of the leaf it must be."""
    query = signed.query
    for reason, is_wrong in (
        ("trial", query.trial != granted.trial),
        ("number", query.i != number),
        ("leaf", number >= len(order) or query.index != order[number]),
        ("query_signature", not is_signed_by(signed, granted.buyer)),
        ("not_committed", not is_committed(query, commit)),
    ):
        if is_wrong:
            raise BadTranscript(number, reason)


def check_close(granted: Granted, close: TrialClose, exchanges: Sequence[Exchange]) -> None:
    """Raise ``BadTranscript`` unless CLOSE names the number of answers held, and the last one."""
    if close.trial != granted.trial:
        raise BadTranscript(close.n, "trial")
    if close.n != len(exchanges):
        raise BadTranscript(close.n, "number")
    last = exchanges[-1].answer.id if exchanges else None
    if close.last != last:
        raise BadTranscript(close.n, "last")


def is_right(shown: ShownOutputs, output: str, truth: str, labels: tuple[str, ...] = ()) -> bool:
    """Say whether the first value shown of ``output`` is the true answer.

    A place counts as its label where the card names labels, else as its number.
    """
    values = shown.get(output, ())
    if not values:
        return False
    value = values[0]
    if isinstance(value, int) and 0 <= value < len(labels) and labels[value] == truth:
        return True
    return str(value) == truth


# --- sealed local trials --------------------------------------------------------------------


def count_run(terms: LocalBounds, use: LocalUse, now_ms: int) -> LocalUse:
    """Return the counters with one more run, to be kept *before* it; else raise ``TrialSpent``."""
    check_local(terms, use, now_ms)
    return LocalUse(use.runs + 1, max(use.seen_ms, now_ms))


def check_local(terms: LocalBounds, use: LocalUse, now_ms: int) -> None:
    """Raise ``TrialSpent`` when the keys of a sealed trial must be erased."""
    if now_ms < use.seen_ms - TRIAL_CLOCK_BACK_MS_MAX:
        raise TrialSpent("clock")
    # A clock a little back does not make the trial longer: the latest time seen counts.
    if max(now_ms, use.seen_ms) > terms.until_ms:
        raise TrialSpent("date")
    if use.runs >= terms.runs_max:
        raise TrialSpent("runs")


def _answers_of(granted: Granted) -> tuple[TrialCommit, AnswersTerms]:
    commit, terms = granted.request.commit, granted.grant.answers
    if commit is None or terms is None:
        raise TrialRefused("other_way")
    return commit, terms


def refusal_word(error: TrialRefused) -> RefusalWord:
    """Return the word a REFUSE says for ``error``; ``not_now`` where it has none of its own."""
    return _REFUSALS.get(error.reason, "not_now")
