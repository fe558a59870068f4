"""A Trial before purchase, as values: its signed steps, queries and answers, plan, and Replay.

* Three ways, in the words a Listing uses: ``open`` (a Trial edition, needs no step), ``sealed``
  (a Sealed local trial, by piece keys), ``answers`` (Signed answers).
* Steps (request, grant, refusal, close) stand in private Entries ``trial/1``; a Trial is named by
  the Entry id of its REQUEST.
* Queries and answers are signed messages of their own; ``raw`` is what was signed, byte for byte.
* Probabilities are in millionths, log-likelihoods in micro-nats, all whole numbers.
* Inputs, salts and keys show in no representation.

What may be asked, granted and believed is decided in ``hanse.core.trade.trial_rules``; when a
Trial has been passed, in ``hanse.core.market.trial_plan``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.limits import (
    PIECE_KEYS_SIZE_BYTES_MAX,
    SEQ_MAX,
    TRIAL_ANSWERS_PER_BUYER_MAX,
    TRIAL_COMMITTED_MAX,
    TRIAL_INPUT_SIZE_BYTES_MAX,
    TRIAL_INPUTS_SIZE_BYTES_MAX,
    TRIAL_METRIC_CHARACTERS_MAX,
    TRIAL_NOTE_CHARACTERS_MAX,
    TRIAL_OUTPUTS_MAX,
    TRIAL_PLANNED_ANSWERS_MAX,
    TRIAL_RUNS_MAX,
    TRIAL_RUNTIME_CHARACTERS_MAX,
    TRIAL_SEALED_SIZE_BYTES_MAX,
    TRIAL_SHOWN_TEXT_CHARACTERS_MAX,
    TRIAL_SHOWN_VALUES_MAX,
)
from hanse.core.model.artifact import Name
from hanse.core.model.blob import Blob
from hanse.core.model.card import MICRO, Digest, Shown
from hanse.core.model.listing import TrialMode
from hanse.core.model.money import Money

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId

Way = TrialMode
SALT_SIZE_BYTES: Final = 16
_INT_MAX: Final = 2**63 - 1
_NAT_MAX: Final = 2**40

Salt = Annotated[bytes, msgspec.Meta(min_length=SALT_SIZE_BYTES, max_length=SALT_SIZE_BYTES)]
Ms = Annotated[int, msgspec.Meta(ge=0, le=_INT_MAX)]
Share = Annotated[int, msgspec.Meta(ge=1, le=MICRO - 1)]  # millionths, neither nothing nor all
Index = Annotated[int, msgspec.Meta(ge=0, lt=TRIAL_COMMITTED_MAX)]
Answers = Annotated[int, msgspec.Meta(ge=1, le=TRIAL_ANSWERS_PER_BUYER_MAX)]
MicroNats = Annotated[int, msgspec.Meta(ge=-_NAT_MAX, le=_NAT_MAX)]
Runtime = Annotated[str, msgspec.Meta(max_length=TRIAL_RUNTIME_CHARACTERS_MAX)]
RefusalWord = Literal[
    "not_offered", "expired", "budget", "small_model", "too_many", "other_artifact", "not_now"
]
PlanWord = Literal["continue", "passed", "failed"]
ReplayWord = Literal["match", "mismatch", "not_comparable"]
# shown: what it shows is not what it sealed; seal: it does not open; differs: the delivered
# model answers otherwise; run: the delivered model gives no answer to this input.
FailureWord = Literal["shown", "seal", "differs", "run"]


class TrialPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of a step or message is: a map without unknown fields."""


# --- the steps ------------------------------------------------------------------------------


class TrialCommit(TrialPart, frozen=True, kw_only=True):
    """What the buyer commits to before the grant: ``n`` inputs with their true answers, by root.

    ``metric`` names how an answer counts as right.  ``claim`` and ``margin`` are null when
    there is no share of right answers to test; then the Trial has no plan.
    """

    root: Digest
    n: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_COMMITTED_MAX)]
    metric: Annotated[str, msgspec.Meta(min_length=1, max_length=TRIAL_METRIC_CHARACTERS_MAX)]
    claim: Share | None  # the share of right answers the seller claims
    margin: Share | None  # how far below it the buyer would no longer want the model
    alpha: Share  # failing a model that keeps the claim
    beta: Share  # passing one that misses it by the margin


class TrialRequest(TrialPart, frozen=True, kw_only=True):
    """REQUEST: a buyer asks to try a Release; signed answers need a commitment."""

    release: Digest
    way: Literal["sealed", "answers"]
    commit: TrialCommit | None
    expires: Ms

    def fault(self) -> str | None:
        """Say which fields do not fit each other, or nothing."""
        if (self.way == "answers") != (self.commit is not None):
            return f"a commitment does not fit the way {self.way}"
        if self.commit is not None:
            claim, margin = self.commit.claim, self.commit.margin
            if (claim is None) != (margin is None):
                return "a claim and its margin stand together"
            if claim is not None and margin is not None and margin >= claim:
                return "the margin is not below the claim"
            if self.commit.alpha + self.commit.beta >= MICRO:
                return "both error rates together leave nothing to test"
        return None


class SealedTerms(TrialPart, frozen=True, kw_only=True):
    """What a Sealed local trial allows; ``keys`` is the private Blob of piece keys."""

    runs_max: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_RUNS_MAX)]
    until_ms: Ms
    certify: bool
    keys: Blob


class TrialLimits(TrialPart, frozen=True, kw_only=True):
    """How much is answered: number of answers, bytes of one input and of all, pace, and date."""

    answers: Answers
    input_bytes: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_INPUT_SIZE_BYTES_MAX)]
    total_bytes: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_INPUTS_SIZE_BYTES_MAX)]
    interval_ms: Annotated[int, msgspec.Meta(ge=0, le=24 * 60 * 60 * 1000)]
    until_ms: Ms


class PlanSteps(TrialPart, frozen=True, kw_only=True):
    """The sequential test both sides compute alike: steps and bounds in micro-nats.

    The sum begins at 0 and grows by ``right`` or ``wrong`` with each answer; at ``fail`` or above
    the claim is refused, at ``pass_`` or below it stands.  Undecided after ``cap`` answers, it
    fails with at most ``k`` right ones.
    """

    right: MicroNats
    wrong: MicroNats
    fail: MicroNats
    pass_: MicroNats = msgspec.field(name="pass")
    cap: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_PLANNED_ANSWERS_MAX)]
    k: Annotated[int, msgspec.Meta(ge=-1, le=TRIAL_PLANNED_ANSWERS_MAX)]


class AnswersTerms(TrialPart, frozen=True, kw_only=True):
    """What signed answers the seller gives, and how they are sealed.

    ``seal_commit`` is the SHA-256 of the key the full outputs are sealed with, which comes from
    the Content key of ``seal_salt``.
    """

    limits: TrialLimits
    shown: Shown
    plan: PlanSteps | None
    seal_salt: Digest
    seal_commit: Digest
    seller_nonce: Digest
    pass_price: Money | None


class TrialGrant(TrialPart, frozen=True, kw_only=True):
    """GRANT: the seller lets a buyer try this Artifact in exactly one way."""

    trial: Digest
    artifact: Digest
    sealed: SealedTerms | None
    answers: AnswersTerms | None

    @property
    def way(self) -> Way:
        """Return the way it grants."""
        return "answers" if self.answers is not None else "sealed"

    @property
    def until_ms(self) -> int:
        """Return when it ends."""
        if self.answers is not None:
            return self.answers.limits.until_ms
        assert self.sealed is not None
        return self.sealed.until_ms

    def fault(self) -> str | None:
        """Say which fields do not fit each other, or nothing."""
        if (self.sealed is None) == (self.answers is None):
            return "a grant is of exactly one way"
        if self.sealed is not None:
            if self.sealed.keys.key is None:
                return "piece keys are private"
            if self.sealed.keys.size > PIECE_KEYS_SIZE_BYTES_MAX:
                return f"piece keys of {self.sealed.keys.size} bytes"
        if self.answers is not None and self.answers.pass_price is not None:
            amount = self.answers.pass_price.amount
            return None if amount >= 0 else f"amount {amount} is below 0"
        return None


class TrialRefusal(TrialPart, frozen=True, kw_only=True):
    """REFUSE: the seller says no, with a stable word and, if he likes, a sentence."""

    trial: Digest
    reason: RefusalWord
    text: Annotated[str, msgspec.Meta(max_length=TRIAL_NOTE_CHARACTERS_MAX)]


class TrialClose(TrialPart, frozen=True, kw_only=True):
    """CLOSE: either side ends the Trial after ``n`` answers; ``last`` is the id of the last one."""

    trial: Digest
    n: Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
    last: Digest | None  # of a sealed trial, and of no answers, there is none


TrialStep = TrialRequest | TrialGrant | TrialRefusal | TrialClose


# --- queries and answers ----------------------------------------------------------------------


class Query(TrialPart, frozen=True, kw_only=True):
    """One of the committed inputs, asked as number ``i`` (from 0); ``path`` leads to the root.

    ``x`` is the input as it was committed; of the true answer only its hash is shown.
    """

    trial: Digest
    i: Annotated[int, msgspec.Meta(ge=0, lt=TRIAL_ANSWERS_PER_BUYER_MAX)]
    index: Index
    x: Annotated[bytes, msgspec.Meta(min_length=1, max_length=TRIAL_INPUT_SIZE_BYTES_MAX)]
    salt_x: Salt
    label_hash: Digest
    path: Annotated[
        tuple[Digest, ...], msgspec.Meta(max_length=(TRIAL_COMMITTED_MAX - 1).bit_length())
    ]

    def __repr__(self) -> str:
        return f"Query({self.i} of {self.trial.hex()}, leaf {self.index}, {len(self.x)} bytes)"


ShownText = Annotated[str, msgspec.Meta(max_length=TRIAL_SHOWN_TEXT_CHARACTERS_MAX)]
ShownValues = Annotated[
    tuple[int | ShownText, ...], msgspec.Meta(max_length=TRIAL_SHOWN_VALUES_MAX)
]
ShownOutputs = Annotated[dict[Name, ShownValues], msgspec.Meta(max_length=TRIAL_OUTPUTS_MAX)]


class Answer(TrialPart, frozen=True, kw_only=True):
    """What the model said to query ``i``: ``shown`` in the clear, the full output ``sealed``.

    ``prev`` is the id of the answer before, of the GRANT for the first one; ``query`` the
    SHA-256 of the query's bytes.
    """

    trial: Digest
    i: Annotated[int, msgspec.Meta(ge=0, lt=TRIAL_ANSWERS_PER_BUYER_MAX)]
    prev: Digest
    query: Digest
    artifact: Digest
    runtime: Runtime
    shown: ShownOutputs
    sealed: Annotated[
        bytes, msgspec.Meta(min_length=16, max_length=TRIAL_SEALED_SIZE_BYTES_MAX + 16)
    ]
    time_ms: Ms


@dataclass(frozen=True, slots=True)
class SignedQuery:
    """A query, the bytes that were signed, and the signature of the buyer's Device."""

    query: Query
    raw: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """Return what an answer names it by: SHA-256 of its bytes."""
        return sha256(self.raw).digest()


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """An answer, the bytes that were signed, and the signature of the seller's Device."""

    answer: Answer
    raw: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """Return what the next answer names it by: SHA-256 of bytes and signature."""
        return sha256(self.raw + self.signature).digest()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A query and its answer: one line of a transcript."""

    query: SignedQuery
    answer: SignedAnswer


# --- state ------------------------------------------------------------------------------------


@unique
class TrialState(Enum):
    """What the steps of a Trial add up to; computed, never stored as truth."""

    REQUESTED = "requested"
    GRANTED = "granted"
    REFUSED = "refused"
    RUNNING = "running"  # granted, and something was run or answered
    CLOSED = "closed"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class Granted:
    """Everything a rule needs of a granted Trial: both steps, their Entries, and who signed them.

    Queries are signed by ``buyer``, answers by ``seller``: the Devices of the two Entries.
    """

    request: TrialRequest
    trial: EntryId  # the Entry of the REQUEST
    grant: TrialGrant
    grant_id: EntryId  # the Entry of the GRANT
    buyer: AuthorKey
    seller: AuthorKey


@dataclass(frozen=True, slots=True)
class Trial:
    """One Trial as its steps say it is; ``used`` counts answers, or runs of a sealed one."""

    trial: EntryId
    state: TrialState
    request: TrialRequest
    buyer: AuthorKey
    buyer_identity: IdentityId
    granted: Granted | None
    refusal: TrialRefusal | None
    close: TrialClose | None
    used: int
    replayed: ReplayWord | None


@dataclass(frozen=True, slots=True)
class AnswersUsed:
    """What the seller has answered in one Trial so far, and on the whole Listing.

    ``inputs`` are SHA-256 of every ``x`` answered; ``strangers_30_days`` counts the answers to
    strangers about the Listing in the last 30 days, this Trial's included.
    """

    answers: int = 0
    total_bytes: int = 0
    last_ms: int = 0
    inputs: frozenset[bytes] = frozenset()
    strangers_30_days: int = 0


@dataclass(frozen=True, slots=True)
class LocalUse:
    """How often a sealed trial was run here, and the latest time its counter has seen."""

    runs: int = 0
    seen_ms: int = 0


# --- plan and Replay --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """A sequential test with everything it costs, exact; shares in millionths.

    ``fixed_n`` and ``fixed_cut`` are the test of a fixed number of answers with both error
    rates.  ``false_alarm`` is how often a model that keeps the claim fails, ``power`` how often
    one that misses it by the margin does.  ``mean_*`` are expected numbers of answers.
    """

    claim_micro: int
    margin_micro: int
    alpha_micro: int
    beta_micro: int
    budget: int
    fixed_n: int
    fixed_cut: int
    steps: PlanSteps
    false_alarm_micro: int
    power_micro: int
    mean_if_true_milli: int
    mean_if_false_milli: int

    @property
    def budget_binds(self) -> bool:
        """Say whether more answers would make it surer than the budget lets it be."""
        return self.steps.cap == self.budget


@dataclass(frozen=True, slots=True)
class PlanVerdict:
    """What the answers so far decide; no share of right ones, which would mislead before the end.

    A ``failed`` is wrong with at most ``false_alarm_micro``, a ``passed`` with at most
    ``miss_micro``: 1 minus them is the confidence.
    """

    word: PlanWord
    answers: int
    left: int  # at most so many more
    false_alarm_micro: int
    miss_micro: int


@dataclass(frozen=True, slots=True)
class ReplayFailure:
    """One answer the delivered model does not stand for; ``tensor`` and figures where it differs.

    Distances are in billionths, cut at 2**53.  ``output`` is what came instead, as bytes of a
    Proof, of the first few that failed; empty where nothing was run.
    """

    i: int
    reason: FailureWord
    tensor: str = ""
    max_abs_nano: int = 0
    output: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What running signed answers again came to; ``reason`` says why it could not be compared.

    ``n`` is how many answers were compared.  A mismatch is more than one failing in a hundred.
    """

    n: int
    failures: tuple[ReplayFailure, ...]
    max_abs_nano: int
    runtime: str
    isolation: str
    reason: str = ""

    @property
    def failing(self) -> int:
        """Return how many answers failed."""
        return len(self.failures)

    @property
    def verdict(self) -> ReplayWord:
        """Say what it comes to."""
        if self.reason or self.n == 0:
            return "not_comparable"
        return "mismatch" if self.failing * 100 > self.n else "match"

    def and_then(self, later: ReplayResult) -> ReplayResult:
        """Join the result over the first answers with that over the rest."""
        return ReplayResult(
            n=self.n + later.n,
            failures=self.failures + later.failures,
            max_abs_nano=max(self.max_abs_nano, later.max_abs_nano),
            runtime=self.runtime or later.runtime,
            isolation=self.isolation or later.isolation,
            reason=self.reason or later.reason,
        )
