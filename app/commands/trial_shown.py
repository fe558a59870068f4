"""Trials as lines for people: what is offered, the test of a claim, how far it is, its verdict.

* No running percentage: until a claim is decided, how many answers are left is all that is said.
* A verdict stands with how sure it is and how many answers it rests on.
* What an edition to try differs in stands beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.columns import table
from hanse.app.commands.listing_words import NOTHING, trial
from hanse.app.commands.showing import headed, named, short_id, short_identity
from hanse.core.engine.trying.records import BUYER
from hanse.core.market.scaled import micro_text
from hanse.core.market.trial_plan import percent
from hanse.core.model.ids import identity_text
from hanse.core.sentences import show_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.trying.offer import TrialOffer
    from hanse.core.engine.trying.views import TrialView, VerdictView
    from hanse.core.model.certificate import QualityRow
    from hanse.core.model.trial import Plan, Way

_MILLI: Final = 1000


def offer_lines(desk: Desk, offer: TrialOffer, way: Way, seller: str) -> tuple[str, ...]:
    """Say what is tried, of whom, and within which limits of its card."""
    values: dict[str, object] = {
        "model": f"{offer.title} {offer.version}",
        "seller": seller or None,
        "identity": identity_text(offer.seller),
        "release": offer.release,
        "way": trial(desk, way),
    }
    ways = offer.ways
    if way == "sealed" and ways.sealed_local is not None:
        offered = ways.sealed_local
        values["runs_most"] = offered.runs
        values["days"] = offered.days
        values["may_certify"] = offered.certify
    if way == "answers" and ways.signed_answers is not None:
        values["answers_most"] = ways.signed_answers.per_buyer
        values["shown"] = desk.say(f"word.shown.{ways.signed_answers.shown}")
    if way == "open" and ways.open is not None and ways.open.relation is not None:
        values["relation"] = desk.say(f"word.trial_relation.{ways.open.relation}")
    return named(desk, values)


def plan_lines(desk: Desk, plan: Plan) -> list[str]:
    """Say how a claim will be tested: the budget, what is expected, and how often it errs."""
    return [
        desk.say("trial.plan", claim=percent(plan.claim_micro), margin=percent(plan.margin_micro)),
        desk.say("trial.plan_budget", cap=plan.steps.cap, fixed=plan.fixed_n),
        desk.say(
            "trial.plan_expected",
            kept=_nearest(plan.mean_if_true_milli),
            missed=_nearest(plan.mean_if_false_milli),
        ),
        desk.say(
            "trial.plan_errors",
            alarm=_tenths(plan.false_alarm_micro),
            power=_tenths(plan.power_micro),
        ),
        *([desk.say("trial.plan_binds")] if plan.budget_binds else []),
        desk.say("trial.plan_silent"),
    ]


def trial_lines(
    desk: Desk, view: TrialView, verdict: VerdictView | None = None, *, is_full: bool = False
) -> list[str]:
    """Describe one Trial as it stands."""
    values: dict[str, object] = {
        "trial_id": view.trial,
        "state": desk.say(f"word.trial_state.{view.state.value}"),
        "way": trial(desk, view.way),
        "role": desk.say(f"word.role.{view.role}"),
        "counterparty": identity_text(view.counterparty),
    }
    if is_full or view.trial is None:
        values |= {"release": view.release, "artifact": view.artifact}
    if view.relation is not None:
        values["relation"] = desk.say(f"word.trial_relation.{view.relation}")
    if view.note:
        values["note"] = view.note
    if view.runs_most is not None:
        values["runs_used"] = desk.say("trial.of", used=view.runs_used, most=view.runs_most)
    if view.may_certify:
        values["may_certify"] = True
    if view.answers_most is not None:
        values["answers"] = desk.say("trial.of", used=view.answers, most=view.answers_most)
    if view.committed:
        values["committed"] = view.committed
    if view.rows_left_out:
        values["left_out"] = view.rows_left_out
    if view.until_ms is not None:
        values["until"] = show_time(view.until_ms)
    lines = list(named(desk, values))
    if view.refused:
        lines.append(desk.say("trial.was_refused", reason=_said(desk, view.refused)))
        if view.refused_text:
            lines.append(view.refused_text)
    elif view.over:
        lines.append(desk.say("trial.over", over=view.over))
    if view.stopped and not view.over:
        lines.append(desk.say("trial.stopped", reason=_said(desk, view.stopped)))
    if verdict is not None:
        lines += ["", *verdict_lines(desk, verdict)]
    return lines


def verdict_lines(desk: Desk, verdict: VerdictView) -> list[str]:
    """Say what the answers decide, how sure that is, and nothing before they do."""
    if verdict.word == "continue" or verdict.right is None:
        return [desk.say("trial.continue", answers=verdict.answers, left=verdict.left)]
    if verdict.word == "unplanned":
        return [desk.say("trial.unplanned", right=verdict.right, answers=verdict.answers)]
    assert verdict.claim_micro is not None
    assert verdict.margin_micro is not None
    assert verdict.confidence_micro is not None
    return [
        desk.say(
            "trial.passed" if verdict.word == "passed" else "trial.failed",
            claim=percent(verdict.claim_micro),
            below=percent(verdict.claim_micro - verdict.margin_micro),
        ),
        desk.say(
            "trial.confidence",
            confidence=_tenths(verdict.confidence_micro),
            right=verdict.right,
            answers=verdict.answers,
        ),
    ]


def next_lines(desk: Desk, view: TrialView) -> list[str]:
    """Say what a buyer does next."""
    digits = short_id(view.trial)
    if view.trial is None:
        return [desk.say("trial.next.open", release=short_id(view.release))]
    if view.over or view.state.value == "requested":
        return []
    if view.way == "sealed":
        return [desk.say("trial.next.run", trial=digits)]
    return [desk.say("trial.next.ask", trial=digits)]


def verdict_of(engine: Engine, view: TrialView) -> VerdictView | None:
    """Return what a buyer's questions have decided so far, or None where nothing can be."""
    if view.trial is None or view.role != BUYER or view.way != "answers":
        return None
    return engine.trials.verdict(view.trial) if view.answers_most is not None else None


def trial_table(desk: Desk, views: Sequence[TrialView]) -> tuple[str, ...]:
    """Set Trials in a table."""
    rows = [
        (
            short_id(view.trial),
            trial(desk, view.way),
            desk.say(f"word.trial_state.{view.state.value}"),
            desk.say(f"word.role.{view.role}"),
            short_identity(view.counterparty),
            _used(desk, view),
            NOTHING if view.until_ms is None else show_time(view.until_ms),
            desk.say(f"word.over.{view.over}") if view.over else "",
        )
        for view in views
    ]
    columns = ("trial_id", "way", "state", "role", "counterparty", "used", "until", "remark")
    return headed(desk, columns, rows)


def quality_lines(desk: Desk, rows: Sequence[QualityRow]) -> tuple[str, ...]:
    """Set figures in a table, each with its interval and how many examples it rests on."""
    heads = [
        desk.say(f"certify.head.{name}") for name in ("metric", "slice", "measured", "interval")
    ]
    cells = [
        (row.metric, row.slice or NOTHING, micro_text(row.value_micro), _interval(row), str(row.n))
        for row in rows
    ]
    return table([*heads, desk.say("certify.head.examples")], cells)


def _interval(row: QualityRow) -> str:
    if row.low_micro is None or row.high_micro is None:
        return NOTHING
    return f"{micro_text(row.low_micro)} - {micro_text(row.high_micro)}"


def _used(desk: Desk, view: TrialView) -> str:
    if view.runs_most is not None:
        return desk.say("trial.of", used=view.runs_used, most=view.runs_most)
    if view.answers_most is not None:
        return desk.say("trial.of", used=view.answers, most=view.answers_most)
    return NOTHING


def _said(desk: Desk, word: str) -> str:
    """Say the word of a rule as its refusal does."""
    return desk.say("trial.refused", reason=word)


def _nearest(milli: int) -> int:
    return (milli + _MILLI // 2) // _MILLI


def _tenths(share_micro: int) -> str:
    """Write a share in percent with one digit behind the point."""
    return percent((share_micro + _MILLI // 2) // _MILLI * _MILLI)
