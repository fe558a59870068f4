"""Checks that compare the model with data: one result for each metric, over all data sets.

* Inputs go into a fresh Worker; the truth never does: outputs come out, and are judged here.
* A metric fails where the card claims a value that lies outside the measured interval on the
  bad side, on the same data; both figures are said.
* A data set that cannot be judged is told and does not stop the others.

How data are read and what a metric is, is ``hanse.core.certify.data``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.attest.levels import QUALITY_ROWS_LEAST as ROWS_LEAST
from hanse.core.certify.checks.results import failed, passed, skipped, warned
from hanse.core.certify.data import judge, measure_quality
from hanse.core.errors import Refused
from hanse.core.limits import STATEMENT_QUALITY_ROWS_MAX
from hanse.core.market.claims import compare_claims, metric_id
from hanse.core.market.scaled import micro_text
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.certify.checks.suite_run import SuiteRun
    from hanse.core.certify.data.dataset import DataSet
    from hanse.core.certify.data.plan import QualityPlan
    from hanse.core.model.certificate import CheckResult, ComparedClaim, QualityRow
    from hanse.core.model.suite import SuiteCheck

ALL_METRICS: Final = "quality.metric"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One data set, and what is measured on it; ``is_public`` where anybody may have it."""

    dataset: DataSet
    plan: QualityPlan
    is_public: bool = False


def check_quality(run: SuiteRun, check: SuiteCheck) -> tuple[CheckResult, ...]:
    """Run every data set through the model and return a result for each metric."""
    rows: list[QualityRow] = []
    odd: list[CheckResult] = []
    if run.job.unreadable is not None:
        odd.append(not_read(*run.job.unreadable))
    left_out: dict[str, str] = {}
    with run.fresh(1) as (worker, _):
        for number, one in enumerate(run.job.evaluations):
            run.checkpoint(number, len(run.job.evaluations))
            try:
                ran = worker.evaluate(one.dataset.inputs, check.params["batch"], run.control)
                judged = judge(one.dataset, ran.outputs, one.plan)
                found = measure_quality(judged, is_public=one.is_public, control=run.control)
            except WorkerFailed as error:
                if error.kind != "refused":
                    raise
                name = one.dataset.name
                odd.append(failed(ALL_METRICS, "data_refused", dataset=name, said=error.detail))
            except Refused as error:
                name = one.dataset.name
                odd.append(failed(ALL_METRICS, "not_judged", dataset=name, said=str(error)))
            else:
                rows += found.rows
                left_out |= {lost.metric: one.dataset.name for lost in found.left_out}
    # Figures over all rows come first: of very many slices a Certificate has no room for the last.
    run.quality = tuple(sorted(rows, key=lambda row: bool(row.slice))[:STATEMENT_QUALITY_ROWS_MAX])
    measured = {row.metric for row in rows}
    lost = [
        skipped(f"quality.{metric}", "not_measurable", metric=metric, dataset=name)
        for metric, name in left_out.items()
        if metric not in measured
    ]
    return (*odd[:1], *_judged(run, rows), *lost)


def not_read(dataset: str, said: str) -> CheckResult:
    """Say that data given with the Listing could not be read for the model."""
    return failed(ALL_METRICS, "not_judged", dataset=dataset, said=said)


def _judged(run: SuiteRun, rows: Sequence[QualityRow]) -> list[CheckResult]:
    """Hold every metric against what the card claims of it."""
    card = run.job.card
    claims = () if card is None else compare_claims(card.claims, rows)
    results: list[CheckResult] = []
    for metric in dict.fromkeys(one.metric for one in rows):
        mine = [one for one in rows if one.metric == metric]
        whole = next((one for one in mine if not one.slice), mine[0])
        detail = f"{micro_text(whole.value_micro)}, n {whole.n}"
        worse = [
            one
            for one in claims
            if metric_id(one.metric) == metric_id(metric) and one.relation == "worse"
        ]
        check_id = f"quality.{metric}"
        if worse:
            results.append(_worse(check_id, detail, worse[0]))
        elif whole.n < ROWS_LEAST:
            results.append(warned(check_id, "few_rows", detail, count=whole.n, least=ROWS_LEAST))
        else:
            results.append(passed(check_id, detail))
    return results


def _worse(check_id: str, detail: str, claim: ComparedClaim) -> CheckResult:
    assert claim.measured_micro is not None  # or it would not be worse
    return failed(
        check_id,
        "claim_worse",
        detail,
        claimed=micro_text(claim.claimed_micro),
        measured=micro_text(claim.measured_micro),
        low="-" if claim.low_micro is None else micro_text(claim.low_micro),
        high="-" if claim.high_micro is None else micro_text(claim.high_micro),
        dataset=claim.dataset,
        slice=claim.slice,
    )
