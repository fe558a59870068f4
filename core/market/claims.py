"""What became of the stated figures from one Release to the next.

* Two figures are the same one when data, split, part and metric are; each is compared in
  millionths, as it was signed.
* A figure that only one of the two cards has is told as well: leaving one out is news.

Whether more is better depends on the metric and is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hanse.core.model.card import ModelCard, Result


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
