"""What is shown of a Trial: frozen values with stable words, for terminal, window and node alike.

* ``honest`` is the code of the sentence that says what a way of trying cannot prevent, or what
  the other side gets to see; whoever shows a Trial shows it.
* No running percentage: until a Trial is decided its verdict is "continue" and nothing else.
* Figures are whole numbers with their scale in the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from hanse.core.model.arrays import Array
    from hanse.core.model.card import TrialRelation
    from hanse.core.model.certificate import QualityRow
    from hanse.core.model.trial import Plan, ReplayResult, TrialState, Way
    from hanse.core.store.trials import TrialRole

HONEST_SEALED_BUYER: Final = "trial.honest.sealed_buyer"
HONEST_SEALED_SELLER: Final = "trial.honest.sealed_seller"
HONEST_ANSWERS_BUYER: Final = "trial.honest.answers_buyer"
HONEST_ANSWERS_SELLER: Final = "trial.honest.answers_seller"
HONEST_OPEN: Final = "trial.honest.open"

OverWord = Literal["", "runs", "date", "clock", "answers", "closed", "refused", "decided"]


@dataclass(frozen=True, slots=True)
class TrialView:
    """One Trial as it stands; ``trial`` is None for an open edition, which needs no grant.

    ``over`` says why nothing more can be run or asked, empty while it can.  ``relation`` is how
    an open edition differs from the full model.  ``shown`` is what is read of an answer,
    ``stopped`` why the seller's app answered no further in the file that was taken last.
    """

    trial: bytes | None
    role: TrialRole
    way: Way
    state: TrialState
    release: bytes
    listing: bytes
    artifact: bytes
    counterparty: bytes
    honest: str
    over: OverWord
    created_ms: int
    until_ms: int | None = None
    runs_used: int = 0
    runs_most: int | None = None
    may_certify: bool = False
    answers: int = 0
    answers_most: int | None = None
    committed: int = 0
    rows_left_out: int = 0
    plan: Plan | None = None
    refused: str = ""
    refused_text: str = ""
    relation: TrialRelation | None = None
    note: str = ""
    stopped: str = ""
    shown: str = ""


@dataclass(frozen=True, slots=True)
class VerdictView:
    """What the answers so far decide; ``right`` only once nothing more will be asked.

    ``word`` is ``continue``, ``passed``, ``failed``, or ``unplanned`` for a Trial without a
    claim to test.  ``confidence_micro`` is 1 minus how often such a verdict is wrong.  ``answers``
    of ``most`` were given and at most ``left`` more are asked; how many are to be expected, and
    the exact error rates, stand in ``plan``.
    """

    trial: bytes
    word: Literal["continue", "passed", "failed", "unplanned"]
    answers: int
    left: int
    right: int | None
    confidence_micro: int | None
    claim_micro: int | None
    margin_micro: int | None
    most: int = 0
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class OpenQuality:
    """What a Trial edition came to on the buyer's data; ``relation`` stands beside every figure.

    It says how the edition differs from the model that is sold, ``note`` the seller's words.
    """

    artifact: bytes
    relation: TrialRelation | None
    note: str
    rows: tuple[QualityRow, ...]
    isolation: str


@dataclass(frozen=True, slots=True)
class SealedRun:
    """What one run of a sealed Trial gave; ``runs_used`` counts it."""

    runs_used: int
    runs_most: int
    outputs: dict[str, Array]
    ns: int
    isolation: str


@dataclass(frozen=True, slots=True)
class SealedQuality:
    """What one evaluation of a sealed Trial came to on the buyer's data; nothing of it leaves."""

    runs_used: int
    runs_most: int
    rows: tuple[QualityRow, ...]
    isolation: str


@dataclass(frozen=True, slots=True)
class ReplayView:
    """What running the answers again on the delivered model came to.

    ``proof`` are the bytes of a ``.hanse-warranty`` file where it is a mismatch.
    """

    trial: bytes
    result: ReplayResult
    proof: bytes | None


@dataclass(frozen=True, slots=True)
class AnsweredFile:
    """What a seller's app made of a buyer's file: the reply, and the Trial it was about.

    ``answered`` counts answers signed now, ``repeated`` those that were kept and are sent again;
    ``stopped`` is the word of the rule that ended it, empty when everything was answered.
    """

    reply: bytes
    trial: TrialView
    answered: int
    repeated: int
    stopped: str
