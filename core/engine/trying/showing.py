"""A Trial as people see it, made of its row, its steps and what this side noted.

* Why nothing more can be run or asked is said by the limits of the grant and the clock.
* Until a planned Trial is decided its verdict is "continue" and nothing else.

Nothing is changed here: a date that passed is shown, and acted upon elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.engine.trying.keys import spent_word
from hanse.core.engine.trying.records import BUYER, BuyerNotes, notes_of, trial_of
from hanse.core.engine.trying.views import (
    HONEST_ANSWERS_BUYER,
    HONEST_ANSWERS_SELLER,
    HONEST_SEALED_BUYER,
    HONEST_SEALED_SELLER,
    TrialView,
    VerdictView,
)
from hanse.core.market.trial_plan import plan_of, verdict
from hanse.core.model.card import MICRO
from hanse.core.model.trial import TrialState

if TYPE_CHECKING:
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.views import OverWord
    from hanse.core.model.trial import Plan, Trial
    from hanse.core.store.trials import TrialRow
    from hanse.core.store.unit_of_work import Repositories

_HONEST = {
    ("sealed", "buyer"): HONEST_SEALED_BUYER,
    ("sealed", "seller"): HONEST_SEALED_SELLER,
    ("answers", "buyer"): HONEST_ANSWERS_BUYER,
    ("answers", "seller"): HONEST_ANSWERS_SELLER,
}


def view_of(context: Context, held: Repositories, row: TrialRow) -> TrialView:
    """Return a Trial as it stands now."""
    trial = trial_of(held, row, context.identity)
    notes = notes_of(row) if row.role == BUYER else BuyerNotes()
    sealed = None if trial.granted is None else trial.granted.grant.sealed
    terms = None if trial.granted is None else trial.granted.grant.answers
    commit = trial.request.commit
    return TrialView(
        trial=row.trial,
        role=row.role,
        way=row.way,
        state=trial.state,
        release=row.release,
        listing=row.listing,
        artifact=row.artifact,
        counterparty=row.counterparty,
        honest=_HONEST[row.way, row.role],
        over=_over(context, held, row, trial, notes),
        created_ms=row.created_ms,
        until_ms=row.until_ms,
        runs_used=row.runs_used,
        runs_most=row.runs_max,
        may_certify=sealed is not None and sealed.certify,
        answers=row.answers,
        answers_most=None if terms is None else terms.limits.answers,
        committed=0 if commit is None else commit.n,
        rows_left_out=notes.left_out,
        plan=_plan(trial),
        refused="" if trial.refusal is None else trial.refusal.reason,
        refused_text="" if trial.refusal is None else trial.refusal.text,
        stopped=notes.stopped,
        shown="" if terms is None else terms.shown,
    )


def _plan(trial: Trial) -> Plan | None:
    """Return the plan of a grant, nothing where there is none."""
    commit = trial.request.commit
    terms = None if trial.granted is None else trial.granted.grant.answers
    return None if commit is None or terms is None else plan_of(commit, terms.limits.answers)


def verdict_of(row: TrialRow, trial: Trial, notes: BuyerNotes) -> VerdictView:
    """Say what the kept answers decide."""
    commit = trial.request.commit
    terms = None if trial.granted is None else trial.granted.grant.answers
    plan = _plan(trial)
    right = [bool(one) for one in notes.right]
    most = 0 if terms is None or commit is None else min(terms.limits.answers, commit.n)
    if plan is None:
        left = most - len(right)
        is_ended = bool(right) and (left == 0 or trial.state is TrialState.CLOSED)
        return VerdictView(
            trial=row.trial,
            word="unplanned",
            answers=len(right),
            left=left,
            right=sum(right) if is_ended else None,
            confidence_micro=None,
            claim_micro=None,
            margin_micro=None,
            most=most,
        )
    found = verdict(plan, right)
    wrong_micro = {"passed": found.miss_micro, "failed": found.false_alarm_micro}
    is_decided = found.word != "continue"
    return VerdictView(
        trial=row.trial,
        word=found.word,
        answers=found.answers,
        left=found.left,
        right=sum(right[: found.answers]) if is_decided else None,
        confidence_micro=MICRO - wrong_micro[found.word] if is_decided else None,
        claim_micro=plan.claim_micro,
        margin_micro=plan.margin_micro,
        most=plan.steps.cap,
        plan=plan,
    )


def _over(
    context: Context, held: Repositories, row: TrialRow, trial: Trial, notes: BuyerNotes
) -> OverWord:
    if trial.refusal is not None:
        return "refused"
    if trial.state in {TrialState.CLOSED, TrialState.REPLAYED}:
        return "closed"
    if trial.granted is None:
        return ""
    now_ms = context.clock.now_ms()
    sealed, terms = trial.granted.grant.sealed, trial.granted.grant.answers
    if sealed is not None:
        return (spent_word(held, row, now_ms) or "") if row.role == BUYER else ""
    assert terms is not None
    assert trial.request.commit is not None
    if row.role == BUYER and verdict_of(row, trial, notes).word in {"passed", "failed"}:
        return "decided"
    if row.answers >= min(terms.limits.answers, trial.request.commit.n):
        return "answers"
    return "date" if now_ms > terms.limits.until_ms else ""
