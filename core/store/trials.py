"""Trials of this folder, as a buyer and as a seller: what was asked, granted, run and answered.

* A Trial has the id of its REQUEST, and a row for each role this folder has in it.
* A run is counted *before* it happens, in a transaction of its own: whoever ends the program
  between the two has lost a run, not won one.
* An answer stands for ever under its number: the same bytes again are harmless, others are
  refused.  No input is answered twice in one Trial.
* ``last_seen_ms`` is the latest time a Trial was looked at; a clock that shows less went back.
* Keys are not kept here, only that they were erased; inputs and steps show in no representation.

What may be granted, run or answered is decided by the rules of Trials; these rows only say
what was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, func, insert, select, tuple_, update

from hanse.core.errors import Refused, WrongUse
from hanse.core.limits import (
    TRIAL_ANSWER_KEPT_BYTES_MAX,
    TRIAL_ANSWERS_PER_BUYER_MAX,
    TRIAL_DATA_SIZE_BYTES_MAX,
    TRIAL_KEPT_BYTES_MAX,
    TRIAL_QUERY_KEPT_BYTES_MAX,
    TRIAL_STEP_SIZE_BYTES_MAX,
    TRIALS_HELD_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.model.trial import AnswersUsed, LocalUse, TrialState
from hanse.core.store.certification_tables import trial_answers, trials
from hanse.core.store.trial_answers import (
    ANSWERS_PER_PAGE,
    INPUTS_OF,
    TrialAnswer,
    TrialAnswerReads,
    TrialRole,
)

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from hanse.core.model.trial import ReplayWord, Way
    from hanse.core.store.feed_rows import AnyRow

__all__ = [  # with what was asked and answered: its users need both
    "ANSWERS_PER_PAGE",
    "KeptGrant",
    "TooManyTrials",
    "TrialAnswer",
    "TrialAnswerDiffers",
    "TrialNotHeld",
    "TrialPartTooLarge",
    "TrialRepository",
    "TrialRole",
    "TrialRow",
    "TrialRunsSpent",
]

TRIALS_PER_PAGE: Final = 50

TrialKey = tuple[int, bytes]  # updated_ms, trial

_LAST: Final[TrialKey] = (2**63 - 1, b"")
_FINISHED: Final = tuple(
    state.value for state in (TrialState.REFUSED, TrialState.CLOSED, TrialState.REPLAYED)
)


class TrialNotHeld(WrongUse):
    """There is no Trial of this id in this role."""

    code = "trial.not_held"
    text = "there is no trial {trial} as {role}"
    fields = ("trial", "role")


class TrialRunsSpent(Refused):
    """Every run that was granted was counted."""

    code = "trial.runs_spent"
    text = "trial {trial} has used {used} of {most} runs"
    fields = ("trial", "used", "most")


class TrialAnswerDiffers(Refused):
    """Another answer stands under this number, or this input was answered under another one."""

    code = "trial.answer_differs"
    text = "trial {trial} holds another answer {i}"
    fields = ("trial", "i")


class TrialPartTooLarge(Refused):
    """Bytes of a Trial are more than is kept of it; ``part`` is a stable word."""

    code = "trial.part_too_large"
    text = "{part} of a trial has {found_bytes} bytes, limit {most_bytes}"
    fields = ("part", "found_bytes", "most_bytes")


class TooManyTrials(Refused):
    """No more Trials are kept in one folder."""

    code = "trial.too_many_held"
    text = "{most} trials are kept already"
    fields = ("most",)


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One Trial in one role.

    ``counterparty`` is the other Identity; ``buyer`` and ``seller`` are the Devices that sign,
    ``grant_id`` is the Entry of the GRANT.  ``request``, ``grant``, ``refusal`` and ``close`` are
    the steps as they came; ``data`` is what this side keeps for itself.  ``answers`` counts
    those kept, ``answers_bytes`` their bytes with their queries, ``input_bytes`` the inputs'.
    """

    trial: EntryId
    role: TrialRole
    way: Way
    state: TrialState
    counterparty: IdentityId
    listing: EntryId
    release: EntryId
    artifact: bytes
    buyer: AuthorKey
    request: bytes = field(repr=False)
    created_ms: int
    updated_ms: int
    last_seen_ms: int
    runs_max: int | None = None
    until_ms: int | None = None
    seller: AuthorKey | None = None
    grant_id: EntryId | None = None
    grant: bytes | None = field(default=None, repr=False)
    refusal: bytes | None = field(default=None, repr=False)
    close: bytes | None = field(default=None, repr=False)
    replayed: ReplayWord | None = None
    data: bytes = field(default=b"", repr=False)
    runs_used: int = 0
    keys_erased_ms: int | None = None
    answers: int = 0
    answers_bytes: int = 0
    input_bytes: int = 0


@dataclass(frozen=True, slots=True)
class KeptGrant:
    """A GRANT as it came: its bytes, its Entry, the Device that signed it, its bounds."""

    raw: bytes = field(repr=False)
    entry: EntryId
    seller: AuthorKey
    runs_max: int | None = None
    until_ms: int | None = None


_BEFORE: Final = tuple_(trials.c.updated_ms, trials.c.trial) < tuple_(
    bindparam("before_ms"), bindparam("before")
)
_NEWEST: Final = (trials.c.updated_ms.desc(), trials.c.trial.desc())

TRIAL_OF_ID: Final = select(trials).where(
    trials.c.trial == bindparam("trial"), trials.c.role == bindparam("role")
)
TRIALS_BEFORE: Final = (
    select(trials)
    .where(trials.c.role == bindparam("role"), _BEFORE)
    .order_by(*_NEWEST)
    .limit(bindparam("limit"))
)
TRIALS_IN_STATE: Final = (
    select(trials)
    .where(trials.c.role == bindparam("role"), trials.c.state == bindparam("state"), _BEFORE)
    .order_by(*_NEWEST)
    .limit(bindparam("limit"))
)
TRIALS_OF_RELEASE: Final = (
    select(trials)
    .where(trials.c.release == bindparam("release"), trials.c.role == bindparam("role"), _BEFORE)
    .order_by(*_NEWEST)
    .limit(bindparam("limit"))
)
TRIALS_HELD: Final = (
    select(func.count()).select_from(trials).where(trials.c.role == bindparam("role"))
)
ARTIFACT_ON_TRIAL: Final = (
    select(trials.c.trial)
    .where(trials.c.artifact == bindparam("artifact"), trials.c.state.not_in(_FINISHED))
    .limit(1)
)


class TrialRepository(TrialAnswerReads):
    """All Trials of this folder, in both roles."""

    # --- one Trial --------------------------------------------------------------------------

    def get(self, trial: EntryId, role: TrialRole) -> TrialRow | None:
        """Return one Trial as this folder has it in ``role``."""
        row = self._connection.execute(TRIAL_OF_ID, {"trial": trial, "role": role}).first()
        return None if row is None else _trial(row)

    def add(self, row: TrialRow) -> None:
        """Keep a new Trial; one that is held already stays as it is.

        Raises ``TrialPartTooLarge`` or ``TooManyTrials``.
        """
        if self.get(row.trial, row.role) is not None:
            return
        _check_parts(request=row.request, grant=row.grant, refusal=row.refusal, close=row.close)
        _check_size("data", row.data, TRIAL_DATA_SIZE_BYTES_MAX)
        held = self._connection.execute(TRIALS_HELD, {"role": row.role}).scalar_one()
        if held >= TRIALS_HELD_MAX:
            raise TooManyTrials(most=TRIALS_HELD_MAX)
        values = {column.name: getattr(row, column.name) for column in trials.columns}
        self._connection.execute(insert(trials).values({**values, "state": row.state.value}))

    def granted(
        self,
        trial: EntryId,
        role: TrialRole,
        grant: KeptGrant,
        now_ms: int,
    ) -> None:
        """Note the GRANT and its bounds."""
        _check_parts(grant=grant.raw)
        self._change(
            trial,
            role,
            now_ms,
            state=TrialState.GRANTED.value,
            grant=grant.raw,
            grant_id=grant.entry,
            seller=grant.seller,
            runs_max=grant.runs_max,
            until_ms=grant.until_ms,
        )

    def refused(self, trial: EntryId, role: TrialRole, refusal: bytes, now_ms: int) -> None:
        """Note the REFUSE."""
        _check_parts(refusal=refusal)
        self._change(trial, role, now_ms, state=TrialState.REFUSED.value, refusal=refusal)

    def runs(self, trial: EntryId, role: TrialRole, now_ms: int) -> None:
        """Note that something was run or answered."""
        self._change(trial, role, now_ms, state=TrialState.RUNNING.value)

    def closed(self, trial: EntryId, role: TrialRole, close: bytes | None, now_ms: int) -> None:
        """Note that a Trial is over, with its CLOSE if one came."""
        _check_parts(close=close)
        self._change(trial, role, now_ms, state=TrialState.CLOSED.value, close=close)

    def replayed(self, trial: EntryId, role: TrialRole, word: ReplayWord, now_ms: int) -> None:
        """Note what the Replay after delivery came to."""
        self._change(trial, role, now_ms, state=TrialState.REPLAYED.value, replayed=word)

    def put_data(self, trial: EntryId, role: TrialRole, data: bytes, now_ms: int) -> None:
        """Keep what this side needs for itself, in place of what was there."""
        _check_size("data", data, TRIAL_DATA_SIZE_BYTES_MAX)
        self._change(trial, role, now_ms, data=data)

    # --- runs, time and keys ----------------------------------------------------------------

    def count_run(self, trial: EntryId, now_ms: int, role: TrialRole = "buyer") -> int:
        """Count a run that is about to happen; return how many that makes.

        Belongs into a transaction of its own that commits before the run.  Raises
        ``TrialNotHeld`` or ``TrialRunsSpent``.
        """
        held = self._held(trial, role)
        if held.runs_max is not None and held.runs_used >= held.runs_max:
            raise TrialRunsSpent(trial=trial, used=held.runs_used, most=held.runs_max)
        used = held.runs_used + 1
        self._change(trial, role, now_ms, runs_used=used)
        return used

    def seen(self, trial: EntryId, role: TrialRole, now_ms: int) -> int:
        """Note that a Trial was looked at; return the latest time it was before."""
        before = self._held(trial, role).last_seen_ms
        self._connection.execute(
            update(trials).where(_is_trial(trial, role)).values(last_seen_ms=max(before, now_ms))
        )
        return before

    def local_use(self, trial: EntryId, role: TrialRole = "buyer") -> LocalUse:
        """Return how often a Trial was run here, and the latest time it has seen."""
        held = self._held(trial, role)
        return LocalUse(runs=held.runs_used, seen_ms=held.last_seen_ms)

    def erased_keys(self, trial: EntryId, role: TrialRole, now_ms: int) -> None:
        """Note that the keys of a Trial are gone; the first time stands."""
        if self._held(trial, role).keys_erased_ms is None:
            self._change(trial, role, now_ms, keys_erased_ms=now_ms)

    # --- answers ----------------------------------------------------------------------------

    def keep_answer(self, trial: EntryId, role: TrialRole, answer: TrialAnswer) -> bool:
        """Keep a query and its answer; say whether they are new.

        Raises ``TrialNotHeld``, ``TrialAnswerDiffers`` or ``TrialPartTooLarge``.
        """
        held = self._held(trial, role)
        before = self.answer(trial, role, answer.i)
        if before is not None:
            if (before.query, before.answer) != (answer.query, answer.answer):
                raise TrialAnswerDiffers(trial=trial, i=answer.i)
            return False
        earlier = self.answered_input(trial, role, answer.input_hash)
        if earlier is not None:
            raise TrialAnswerDiffers(trial=trial, i=earlier)
        _check_size("query", answer.query, TRIAL_QUERY_KEPT_BYTES_MAX)
        _check_size("answer", answer.answer, TRIAL_ANSWER_KEPT_BYTES_MAX)
        size_bytes = held.answers_bytes + answer.size_bytes
        if size_bytes > TRIAL_KEPT_BYTES_MAX:
            raise TrialPartTooLarge(
                part="answers", found_bytes=size_bytes, most_bytes=TRIAL_KEPT_BYTES_MAX
            )
        self._connection.execute(
            insert(trial_answers).values(
                trial=trial,
                role=role,
                i=answer.i,
                input_hash=answer.input_hash,
                input_bytes=answer.input_bytes,
                listing=held.listing,
                time_ms=answer.time_ms,
                counts=answer.counts,
                query=answer.query,
                query_sig=answer.query_sig,
                answer=answer.answer,
                answer_sig=answer.answer_sig,
            )
        )
        self._change(
            trial,
            role,
            answer.time_ms,
            answers=held.answers + 1,
            answers_bytes=size_bytes,
            input_bytes=held.input_bytes + answer.input_bytes,
        )
        return True

    def answers_used(self, trial: EntryId, since_ms: int) -> AnswersUsed:
        """Return what a seller has answered in one Trial, and on its Listing after ``since_ms``."""
        held = self._held(trial, "seller")
        last = self.last_answer(trial, "seller")
        which = {"trial": trial, "role": "seller", "limit": TRIAL_ANSWERS_PER_BUYER_MAX}
        return AnswersUsed(
            answers=held.answers,
            total_bytes=held.input_bytes,
            last_ms=0 if last is None else last.time_ms,
            inputs=frozenset(self._connection.execute(INPUTS_OF, which).scalars()),
            strangers_30_days=self.answers_since(held.listing, since_ms),
        )

    # --- lists ------------------------------------------------------------------------------

    def page(
        self,
        role: TrialRole,
        before: TrialKey | None = None,
        limit: int = TRIALS_PER_PAGE,
        *,
        state: TrialState | None = None,
    ) -> list[TrialRow]:
        """Return Trials in one role, the one changed last first; of one state, if given.

        ``before`` is the (updated_ms, trial) of the last one of the page before.
        """
        before_ms, before_id = before or _LAST
        which = {"role": role, "before_ms": before_ms, "before": before_id, "limit": limit}
        if state is None:
            rows = self._connection.execute(TRIALS_BEFORE, which)
        else:
            rows = self._connection.execute(TRIALS_IN_STATE, {**which, "state": state.value})
        return [_trial(row) for row in rows]

    def of_release(
        self,
        release: EntryId,
        role: TrialRole,
        before: TrialKey | None = None,
        limit: int = TRIALS_PER_PAGE,
    ) -> list[TrialRow]:
        """Return the Trials of one Release, the one changed last first."""
        before_ms, before_id = before or _LAST
        rows = self._connection.execute(
            TRIALS_OF_RELEASE,
            {
                "release": release,
                "role": role,
                "before_ms": before_ms,
                "before": before_id,
                "limit": limit,
            },
        )
        return [_trial(row) for row in rows]

    def is_on_trial(self, artifact: bytes) -> bool:
        """Say whether a Trial of an Artifact is not over, in either role."""
        return (
            self._connection.execute(ARTIFACT_ON_TRIAL, {"artifact": artifact}).first() is not None
        )

    def drop(self, trial: EntryId, role: TrialRole) -> bool:
        """Forget a Trial with all its answers; say whether it was there."""
        gone = self._connection.execute(delete(trials).where(_is_trial(trial, role)))
        return bool(gone.rowcount)

    # --- one row ----------------------------------------------------------------------------

    def _held(self, trial: EntryId, role: TrialRole) -> TrialRow:
        held = self.get(trial, role)
        if held is None:
            raise TrialNotHeld(trial=trial, role=role)
        return held

    def _change(self, trial: EntryId, role: TrialRole, now_ms: int, **values: object) -> None:
        """Change a row; the times never go back, whatever the clock does."""
        held = self._held(trial, role)
        self._connection.execute(
            update(trials)
            .where(_is_trial(trial, role))
            .values(
                updated_ms=max(held.updated_ms, now_ms),
                last_seen_ms=max(held.last_seen_ms, now_ms),
                **values,
            )
        )


def _is_trial(trial: EntryId, role: TrialRole) -> ColumnElement[bool]:
    return (trials.c.trial == trial) & (trials.c.role == role)


def _check_size(part: str, raw: bytes, most_bytes: int) -> None:
    if len(raw) > most_bytes:
        raise TrialPartTooLarge(part=part, found_bytes=len(raw), most_bytes=most_bytes)


def _check_parts(**parts: bytes | None) -> None:
    for part, raw in parts.items():
        if raw is not None:
            _check_size(part, raw, TRIAL_STEP_SIZE_BYTES_MAX)


def _trial(row: AnyRow) -> TrialRow:
    return TrialRow(
        trial=EntryId(row.trial),
        role=row.role,
        way=row.way,
        state=TrialState(row.state),
        counterparty=IdentityId(row.counterparty),
        listing=EntryId(row.listing),
        release=EntryId(row.release),
        artifact=row.artifact,
        request=row.request,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        last_seen_ms=row.last_seen_ms,
        runs_max=row.runs_max,
        until_ms=row.until_ms,
        buyer=AuthorKey(row.buyer),
        seller=None if row.seller is None else AuthorKey(row.seller),
        grant_id=None if row.grant_id is None else EntryId(row.grant_id),
        grant=row.grant,
        refusal=row.refusal,
        close=row.close,
        replayed=row.replayed,
        data=row.data,
        runs_used=row.runs_used,
        keys_erased_ms=row.keys_erased_ms,
        answers=row.answers,
        answers_bytes=row.answers_bytes,
        input_bytes=row.input_bytes,
    )
