"""What is to be measured on a data set: the task, the metrics, the labels, the thresholds.

* A metric is named by a word and, after ``@``, its parameter: ``ndcg@10``, ``recall_at_fpr@0.05``,
  ``pinball@0.9``.  A name means one number with and without the extras.
* The usual metrics of a task are a proposal; the figures a card claims are measured too.

How a metric is computed stands in ``metrics.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from hanse.core.certify.data.dataset import DataSet, Wanted
    from hanse.core.model.card import ModelCard, RecipeStep

Kind = Literal["classification", "regression", "series", "ranking"]


@dataclass(frozen=True, slots=True)
class QualityPlan:
    """What to measure; ``metrics`` in the order of the rows that come out.

    ``labels`` are the model's classes in the order of its scores, empty when nobody said;
    ``post`` the steps behind the model; ``positive`` the label that counts as a find, empty for
    the second of two; ``thresholds_micro`` by metric, where it is not the model's own label.
    """

    task: str
    kind: Kind
    metrics: tuple[str, ...]
    labels: tuple[str, ...] = ()
    post: tuple[RecipeStep, ...] = ()
    positive: str = ""
    thresholds_micro: Mapping[str, int] = field(default_factory=dict)
