"""What is to be measured on a data set: the task, the metrics, the labels, the thresholds.

* A metric is named by a word and, after ``@``, its parameter: ``ndcg@10``, ``recall_at_fpr@0.05``,
  ``pinball@0.9``.  A name means one number with and without the extras.
* The usual metrics of a task are a proposal; the figures a card claims are measured too.

``bias`` is better the nearer it is to nothing.  How a metric is computed stands in ``metrics.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.certify.data.faults import UnknownMetric, shown
from hanse.core.market.claims import metric_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


_CLASSES: Final[tuple[Kind, ...]] = ("classification",)
_FIGURES: Final[tuple[Kind, ...]] = ("regression", "series")
_RANKS: Final[tuple[Kind, ...]] = ("ranking",)
METRICS: Final[Mapping[str, tuple[Kind, ...]]] = {  # what is judged by which
    "accuracy": _CLASSES,
    "balanced_accuracy": _CLASSES,
    "macro_f1": _CLASSES,
    "f1": _CLASSES,
    "precision": _CLASSES,
    "recall": (*_CLASSES, *_RANKS),
    "specificity": _CLASSES,
    "false_positive_rate": _CLASSES,
    "recall_at_fpr": _CLASSES,
    "roc_auc": _CLASSES,
    "log_loss": _CLASSES,
    "brier": _CLASSES,
    "ece": _CLASSES,
    "mae": _FIGURES,
    "rmse": _FIGURES,
    "r2": _FIGURES,
    "median_ae": _FIGURES,
    "p90_ae": _FIGURES,
    "bias": _FIGURES,
    "mape": _FIGURES,
    "pinball": _FIGURES,
    "ndcg": _RANKS,
    "hit_rate": _RANKS,
}
_CLASSIFICATION: Final = (
    *("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "brier", "ece"),
)
_PLACES_USUAL: Final = 10
_FPR_USUAL: Final = 0.05
_QUANTILE_USUAL: Final = 0.5
_PLACES_MOST: Final = 10_000
_USUAL: Final[Mapping[Kind, tuple[str, ...]]] = {
    "classification": _CLASSIFICATION,
    "regression": ("mae", "rmse", "r2", "median_ae", "p90_ae", "bias"),
    "series": ("mae", "mape", "pinball", "rmse", "r2", "bias"),
    "ranking": ("ndcg@10", "recall@10"),
}
_KINDS: Final[Mapping[str, Kind]] = {
    "time-series-forecasting": "series",
    "recommendation": "ranking",
    "ranking": "ranking",
    "text-ranking": "ranking",
    "tabular-regression": "regression",
    "depth-estimation": "regression",
    "survival-analysis": "regression",
    "optimisation": "regression",
    "sentiment-analysis": "classification",
    "anomaly-detection": "classification",
    "voice-activity-detection": "classification",
}
_PLACES: Final = re.compile(r"[1-9][0-9]{0,4}\Z")
_SHARE: Final = re.compile(r"0?\.[0-9]{1,6}\Z")  # above 0, below 1
_WORDS_OF_CLASSES: Final = ("label", "class", "prob", "score", "logit", "softmax")


def base_of(metric: str) -> str:
    """Return the word of a metric without its parameter."""
    return metric.partition("@")[0]


def parameter_of(metric: str) -> float:
    """Return what stands behind the ``@`` of a metric, or what is usual where nothing does."""
    base, at, text = metric.partition("@")
    if at:
        return float(text)
    return {"recall_at_fpr": _FPR_USUAL, "pinball": _QUANTILE_USUAL}.get(base, _PLACES_USUAL)


def check_metric(metric: str, kind: Kind) -> None:
    """Raise ``UnknownMetric`` for a name that is none, or none of this kind of task."""
    if not _is_metric(metric, kind):
        known = tuple(one for one, kinds in METRICS.items() if kind in kinds)
        raise UnknownMetric(metric=shown(metric), known=known)


def _is_metric(metric: str, kind: Kind) -> bool:
    base, at, text = metric.partition("@")
    if kind not in METRICS.get(base, ()):
        return False
    if not at:
        return True
    if kind == "ranking":
        return bool(_PLACES.match(text)) and int(text) <= _PLACES_MOST
    return base in ("recall_at_fpr", "pinball") and bool(_SHARE.match(text))


def kind_of(wanted: Wanted) -> Kind:
    """Say how a model of this task is judged; a task that is not stated is read off the outputs."""
    return _kind(wanted.task, wanted.card, tuple(one.name for one in wanted.outputs))


def _kind(task: str, card: ModelCard | None, outputs: tuple[str, ...] = ()) -> Kind:
    if task in _KINDS:
        return _KINDS[task]
    if "classification" in task or (card is not None and card.recipe.labels):
        return "classification"
    names = " ".join(outputs).lower()
    if not outputs or any(word in names for word in _WORDS_OF_CLASSES):
        return "classification"
    return "regression"


def usual_metrics(task: str, card: ModelCard | None) -> tuple[str, ...]:
    """Return the metrics that a model of this task is usually judged by."""
    return _USUAL[_kind(task, card)]


def plan_quality(
    wanted: Wanted, dataset: DataSet, metrics: Sequence[str] | None = None
) -> QualityPlan:
    """Plan the measurement of ``wanted`` on ``dataset``.

    Without ``metrics``: those the card claims, then the usual ones of the task.  A threshold that
    a claim names is used for its metric.  Raises ``UnknownMetric`` for one that was asked for.
    """
    card, kind = wanted.card, kind_of(wanted)
    claims = () if card is None else card.claims
    asked = tuple(metrics or ())
    if not asked:
        names = [metric_id(one.metric) for one in claims]  # a card may claim what nobody measures
        claimed = [one for one in names if _is_metric(one, kind)]
        asked = tuple(dict.fromkeys((*claimed, *_USUAL[kind])))
    for one in asked:
        check_metric(one, kind)
    thresholds: dict[str, int] = {}
    for claim in claims:
        if claim.threshold_micro is not None:
            thresholds.setdefault(metric_id(claim.metric), claim.threshold_micro)
    mapping = dataset.mapping
    recipe = None if card is None else card.recipe
    post = () if recipe is None else recipe.post
    named = next((one.words for one in post if one.op == "labels"), ())
    stated = () if recipe is None else recipe.labels
    return QualityPlan(
        task=wanted.task,
        kind=kind,
        metrics=asked,
        labels=mapping.labels or stated or named,
        post=post,
        positive=mapping.positive,
        thresholds_micro=thresholds,
    )
