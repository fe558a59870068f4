"""What was asked and answered in Trials: kept byte for byte, read in order, and counted.

* An answer has a number within its Trial; pages and the chain go by it.
* Counts are of what this folder answered as a seller.

Which answers may be given, and when one is kept, is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import Connection, bindparam, func, select, true

from hanse.core.store.certification_tables import trial_answers, trials

if TYPE_CHECKING:
    from hanse.core.model.ids import EntryId, IdentityId
    from hanse.core.model.trial import Exchange
    from hanse.core.store.feed_rows import AnyRow

TrialRole = Literal["buyer", "seller"]

ANSWERS_PER_PAGE: Final = 16  # an input may be of several MiB


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """One query and its answer, as they were signed; ``input_hash`` tells inputs apart.

    ``counts`` says that it counts against what a Listing answers to strangers in 30 days.
    """

    i: int
    input_hash: bytes
    input_bytes: int
    query: bytes = field(repr=False)
    query_sig: bytes
    answer: bytes = field(repr=False)
    answer_sig: bytes
    time_ms: int
    counts: bool = True

    @classmethod
    def of(cls, exchange: Exchange, time_ms: int, *, counts: bool = True) -> TrialAnswer:
        """Return what is kept of ``exchange``, which was answered at ``time_ms``."""
        query, answer = exchange.query, exchange.answer
        return cls(
            i=query.query.i,
            input_hash=sha256(query.query.x).digest(),
            input_bytes=len(query.query.x),
            query=query.raw,
            query_sig=query.signature,
            answer=answer.raw,
            answer_sig=answer.signature,
            time_ms=time_ms,
            counts=counts,
        )

    @property
    def size_bytes(self) -> int:
        """Return how many bytes are kept of both."""
        return len(self.query) + len(self.answer)


_OF_TRIAL: Final = (trial_answers.c.trial == bindparam("trial")) & (
    trial_answers.c.role == bindparam("role")
)

ANSWERS_TO: Final = select(func.coalesce(func.sum(trials.c.answers), 0)).where(
    trials.c.counterparty == bindparam("counterparty"),
    trials.c.role == "seller",
    trials.c.listing == bindparam("listing"),
)
ANSWER_AT: Final = select(trial_answers).where(_OF_TRIAL, trial_answers.c.i == bindparam("i"))
ANSWER_OF_INPUT: Final = select(trial_answers.c.i).where(
    _OF_TRIAL, trial_answers.c.input_hash == bindparam("input_hash")
)
INPUTS_OF: Final = (
    select(trial_answers.c.input_hash)
    .where(_OF_TRIAL)
    .order_by(trial_answers.c.input_hash)
    .limit(bindparam("limit"))
)
ANSWERS_AFTER: Final = (
    select(trial_answers)
    .where(_OF_TRIAL, trial_answers.c.i > bindparam("after"))
    .order_by(trial_answers.c.i)
    .limit(bindparam("limit"))
)
LAST_ANSWER: Final = (
    select(trial_answers).where(_OF_TRIAL).order_by(trial_answers.c.i.desc()).limit(1)
)
ANSWERS_SINCE: Final = (
    select(func.count())
    .select_from(trial_answers)
    .where(
        trial_answers.c.listing == bindparam("listing"),
        trial_answers.c.role == "seller",
        trial_answers.c.counts.is_(true()),
        trial_answers.c.time_ms > bindparam("since_ms"),
    )
)


class TrialAnswerReads:
    """What was asked and answered in every Trial of this folder."""

    def __init__(self, connection: Connection) -> None:
        """Read on ``connection``."""
        self._connection = connection

    def answer(self, trial: EntryId, role: TrialRole, i: int) -> TrialAnswer | None:
        """Return the answer under one number."""
        which = {"trial": trial, "role": role, "i": i}
        row = self._connection.execute(ANSWER_AT, which).first()
        return None if row is None else _answer(row)

    def answered_input(self, trial: EntryId, role: TrialRole, input_hash: bytes) -> int | None:
        """Return under which number an input was answered."""
        which = {"trial": trial, "role": role, "input_hash": input_hash}
        return self._connection.execute(ANSWER_OF_INPUT, which).scalar_one_or_none()

    def last_answer(self, trial: EntryId, role: TrialRole) -> TrialAnswer | None:
        """Return the answer with the highest number, which the next one is chained to."""
        row = self._connection.execute(LAST_ANSWER, {"trial": trial, "role": role}).first()
        return None if row is None else _answer(row)

    def transcript(
        self, trial: EntryId, role: TrialRole, after: int = -1, limit: int = ANSWERS_PER_PAGE
    ) -> list[TrialAnswer]:
        """Return answers in order; ``after`` is the number of the last one of the page before."""
        which = {"trial": trial, "role": role, "after": after, "limit": limit}
        return [_answer(row) for row in self._connection.execute(ANSWERS_AFTER, which)]

    def answers_since(self, listing: EntryId, since_ms: int) -> int:
        """Count what a seller's Listing answered after ``since_ms``, of what counts."""
        which = {"listing": listing, "since_ms": since_ms}
        return self._connection.execute(ANSWERS_SINCE, which).scalar_one()

    def answers_to(self, listing: EntryId, counterparty: IdentityId) -> int:
        """Count what a seller's Listing ever answered one buyer, over all his Trials."""
        which = {"listing": listing, "counterparty": counterparty}
        return int(self._connection.execute(ANSWERS_TO, which).scalar_one())


def _answer(row: AnyRow) -> TrialAnswer:
    return TrialAnswer(
        i=row.i,
        input_hash=row.input_hash,
        input_bytes=row.input_bytes,
        query=row.query,
        query_sig=row.query_sig,
        answer=row.answer,
        answer_sig=row.answer_sig,
        time_ms=row.time_ms,
        counts=row.counts,
    )
