"""Quality rows: every metric over all rows and over each value of a slice, with its interval.

* Judging happens here, outside the Worker: it never saw a label.
* What cannot be measured is left out and told with its reason; nothing is filled in.
* Fewer than ``QUALITY_ROWS_LEAST`` rows are measured all the same and never count for Level 3.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hanse.core.attest.levels import QUALITY_ROWS_LEAST
from hanse.core.certify.data.dataset import DataNote
from hanse.core.certify.data.faults import DataTooSmall
from hanse.core.certify.data.intervals import interval_of, seed_of
from hanse.core.certify.data.metrics import Unmeasurable, confusion, summed
from hanse.core.certify.data.outputs import judge
from hanse.core.limits import DATASET_SLICES_MAX
from hanse.core.market.scaled import micro_text
from hanse.core.market.trial_plan import fixed_n
from hanse.core.model.card import MICRO
from hanse.core.model.certificate import QualityRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.certify.data.dataset import DataSet
    from hanse.core.certify.data.outputs import Judged
    from hanse.core.certify.data.plan import QualityPlan
    from hanse.core.model.arrays import Array
    from hanse.core.model.control import Control


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A metric that has no value here; ``reason`` is a stable word of the sentence ``code``."""

    code: ClassVar[str] = "quality.left_out"
    metric: str
    slice: str
    reason: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each label was said for each true one: ``counts[truth][said]``."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Quality:
    """All that was measured on one data set."""

    rows: tuple[QualityRow, ...]
    left_out: tuple[LeftOut, ...]
    confusion: Confusion | None
    notes: tuple[DataNote, ...]


def evaluate_quality(
    dataset: DataSet, outputs: Mapping[str, Array], plan: QualityPlan, *, is_public: bool
) -> tuple[QualityRow, ...]:
    """Return the rows of ``measure_quality``."""
    return measure_quality(judge(dataset, outputs, plan), is_public=is_public).rows


def measure_quality(judged: Judged, *, is_public: bool, control: Control | None = None) -> Quality:
    """Measure every metric of the plan, over all rows first and then over each slice."""
    dataset, plan = judged.dataset, judged.plan
    parts, notes = _parts(judged)
    rows: list[QualityRow] = []
    left_out: list[LeftOut] = []
    for number, (name, part, target) in enumerate(parts):
        for metric in plan.metrics:
            if control is not None:
                control.checkpoint("measure_quality", number, len(parts))
            try:
                rows.append(_row(metric, name, part, target, is_public=is_public))
            except Unmeasurable as fault:
                left_out.append(LeftOut(metric, name, fault.reason))
    return Quality(tuple(rows), tuple(left_out), _confusion(judged), (*dataset.notes, *notes))


def counts_for_level_3(row: QualityRow) -> bool:
    """Say whether a row has data enough to be the figure of a Level 3."""
    return row.n >= QUALITY_ROWS_LEAST and not row.slice and row.low_micro is not None


def needed_n(claim_micro: int, margin_micro: int) -> int:
    """Return how many rows tell a share of ``claim_micro`` from one lower by the margin.

    Error rates 5 % and 10 %, exact binomial (``market.md`` 6).
    """
    return fixed_n(claim_micro, margin_micro)


def check_rows(n: int, claim_micro: int, margin_micro: int) -> None:
    """Raise ``DataTooSmall`` when ``n`` rows cannot test the claim within its margin."""
    needed = needed_n(claim_micro, margin_micro)
    if n < needed:
        raise DataTooSmall(
            n=n, needed=needed, claim=micro_text(claim_micro), margin=micro_text(margin_micro)
        )


def micro(value: float) -> int:
    """Return a figure in millionths."""
    return round(value * MICRO)


def recipe_of(judged: Judged, metric: str) -> bytes:
    """Return the digest under which a figure compares: recipe, mapping, and a threshold if any."""
    threshold = judged.plan.thresholds_micro.get(metric)
    digest = judged.dataset.recipe_sha256
    if threshold is None:
        return digest
    return hashlib.sha256(digest + f"{metric}@{threshold}".encode()).digest()


def _parts(judged: Judged) -> tuple[list[tuple[str, Judged, int]], tuple[DataNote, ...]]:
    """List what is measured apart: all rows, values of a slice, and each of several figures."""
    wide = judged.truth.shape[1] if judged.truth.ndim == 2 else 1
    targets = judged.dataset.targets
    names = [f"output={one}" for one in targets] if wide > 1 else [""]
    found = [(name, judged, place) for place, name in enumerate(names)]
    notes: list[DataNote] = []
    for column, values in judged.dataset.slices.items():
        texts, counts = np.unique(values, return_counts=True)
        order = np.lexsort((texts, -counts))
        kept = sorted(order[:DATASET_SLICES_MAX])
        if len(order) > len(kept):
            notes.append(DataNote("dataset.note.slices_left_out", column, len(order) - len(kept)))
        for one in kept:
            part = judged.only(values == texts[one])
            for place, name in enumerate(names):
                found.append(
                    (",".join(x for x in (name, f"{column}={texts[one]}") if x), part, place)
                )
    return found, tuple(notes)


def _row(metric: str, name: str, part: Judged, target: int, *, is_public: bool) -> QualityRow:
    dataset = part.dataset
    exact = summed(metric, part, target)
    value = exact.estimate()
    if not np.isfinite(value):
        raise Unmeasurable("no_value")
    seed = seed_of(dataset.sha256, metric)
    found = interval_of(summed(metric, part, target, drawn=True), part.groups, seed)
    low, high = found.low, found.high
    return QualityRow(
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        n=len(part.truth),
        is_public=is_public,
        recipe_sha256=recipe_of(part, metric),
        metric=metric,
        value_micro=micro(value),
        low_micro=None if low is None else micro(min(low, value)),
        high_micro=None if high is None else micro(max(high, value)),
        method=found.method,
        slice=name,
    )


def _confusion(judged: Judged) -> Confusion | None:
    if judged.said is None or len(judged.labels) > DATASET_SLICES_MAX:
        return None
    counts = confusion(judged)
    return Confusion(judged.labels, tuple(tuple(int(x) for x in row) for row in counts))
