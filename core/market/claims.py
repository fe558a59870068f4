"""Stated figures: what became of them from one Release to the next, and what was measured.

* Two figures of cards are the same one when data, split, part and metric are; each is compared
  in millionths, as it was signed.
* A figure that only one of the two cards has is told as well: leaving one out is news.
* A claim is compared with what was measured by the same metric on the same part of the same
  data.  Data are the same by their digest; a claim that states none is taken at its name.
* Which of two figures is the better one stands in ``BETTER``.  What is not there is not judged.

Nothing here decides whether a difference matters: both figures are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.model.certificate import ComparedClaim

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.model.card import ModelCard, Result
    from hanse.core.model.certificate import QualityRow

Direction = Literal["higher", "lower", "nearer_zero"]

BETTER: Final[Mapping[str, Direction]] = {
    "accuracy": "higher",
    "balanced_accuracy": "higher",
    "macro_f1": "higher",
    "f1": "higher",
    "precision": "higher",
    "recall": "higher",
    "specificity": "higher",
    "false_positive_rate": "lower",
    "recall_at_fpr": "higher",
    "roc_auc": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "ece": "lower",
    "mae": "lower",
    "rmse": "lower",
    "r2": "higher",
    "median_ae": "lower",
    "p90_ae": "lower",
    "bias": "nearer_zero",
    "mape": "lower",
    "pinball": "lower",
    "ndcg": "higher",
    "hit_rate": "higher",
}

# How cards name what is measured here under another name.
_ALIASES: Final = {
    "acc": "accuracy",
    "f1_macro": "macro_f1",
    "auc": "roc_auc",
    "auroc": "roc_auc",
    "logloss": "log_loss",
    "cross_entropy": "log_loss",
    "brier_score": "brier",
    "r_squared": "r2",
}


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One figure before and after, in millionths; ``None`` where it is not stated."""

    metric: str
    dataset: str
    split: str
    slice: str
    before_micro: int | None
    after_micro: int | None


def metric_changes(before: ModelCard, after: ModelCard) -> tuple[MetricChange, ...]:
    """Compare the figures of two cards; what stayed the same is left out."""
    old, new = _figures(before), _figures(after)
    return tuple(
        MetricChange(*key, old.get(key), new.get(key))
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key)
    )


def _figures(card: ModelCard) -> dict[tuple[str, str, str, str], int]:
    return {_key(one): one.value_micro for one in card.claims}


def _key(one: Result) -> tuple[str, str, str, str]:
    return one.metric, one.dataset, one.split, one.slice


def metric_id(name: str) -> str:
    """Return the name under which a metric is measured: ``Balanced accuracy`` is one of them."""
    plain = name.strip().casefold().replace("-", "_").replace(" ", "_")
    return _ALIASES.get(plain, plain)


def direction_of(metric: str) -> Direction | None:
    """Say which of two figures is the better one; ``None`` for a metric that is not known.

    A cut-off stands behind an ``@``: ``ndcg@10`` is ``ndcg``.
    """
    return BETTER.get(metric_id(metric).partition("@")[0])


def compare_claims(
    claims: Sequence[Result], measured: Sequence[QualityRow]
) -> tuple[ComparedClaim, ...]:
    """Set each claim of a card beside what was measured, in the order of the card.

    Metrics are named as they are measured, whatever the card calls them.
    """
    return tuple(_compared(one, measured) for one in claims)


def _compared(claim: Result, measured: Sequence[QualityRow]) -> ComparedClaim:
    same = [
        row
        for row in measured
        if metric_id(row.metric) == metric_id(claim.metric) and row.slice == claim.slice
    ]
    on_its_data = [row for row in same if _is_same_data(claim, row)]
    # Of several measurements the one of most examples says most.
    row = max(on_its_data or same, key=lambda it: it.n, default=None)
    if row is None or direction_of(claim.metric) is None:
        return ComparedClaim(
            metric=metric_id(claim.metric),
            dataset=claim.dataset,
            slice=claim.slice,
            claimed_micro=claim.value_micro,
            measured_micro=None,
            low_micro=None,
            high_micro=None,
            n=0,
            relation="not_measured",
        )
    return ComparedClaim(
        metric=metric_id(claim.metric),
        dataset=claim.dataset,
        slice=claim.slice,
        claimed_micro=claim.value_micro,
        measured_micro=row.value_micro,
        low_micro=row.low_micro,
        high_micro=row.high_micro,
        n=row.n,
        relation=claim_relation(claim.metric, claim.value_micro, row)
        if on_its_data
        else "other_data",
    )


def claim_relation(
    metric: str, claimed_micro: int, row: QualityRow
) -> Literal["within", "better", "worse"]:
    """Say whether what was measured is ``better`` or ``worse`` than claimed.

    A claim inside the interval, its ends included, is ``within`` it; without an interval the
    figure alone is the interval.  The metric is one of ``BETTER``.
    """
    low = row.value_micro if row.low_micro is None else row.low_micro
    high = row.value_micro if row.high_micro is None else row.high_micro
    if low <= claimed_micro <= high:
        return "within"
    direction = direction_of(metric)
    assert direction is not None
    if direction == "nearer_zero":
        # How far off the nearest figure of the interval is; nothing is nearer than zero itself.
        nearest = 0 if low <= 0 <= high else min(abs(low), abs(high))
        return "better" if nearest < abs(claimed_micro) else "worse"
    is_above = low > claimed_micro
    return "better" if is_above == (direction == "higher") else "worse"


def _is_same_data(claim: Result, row: QualityRow) -> bool:
    if claim.sha256 is not None:
        return claim.sha256 == row.dataset_sha256
    name = claim.dataset.strip().casefold()
    return bool(name) and name == row.dataset.strip().casefold()
