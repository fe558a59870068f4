"""What a model said about each row, found among its outputs.

* Outputs are a stranger's: their rows are counted, their numbers must be finite, and a label
  that is none of the classes is refused.
* Classes: an output of whole numbers or text with one value a row is the label, one of floats
  with a column a class holds the scores; one float a row speaks for the second of two classes.
* Where several outputs would do, names decide (``prob``, ``score``, ``label``); the recipe's own
  steps behind the model come before all that.
* Scores are probabilities if every row adds up to one.  Nothing is made into a probability unless
  the recipe says ``softmax``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.faults import OutputsUnusable, RecipeRefused, UnknownLabel, named
from hanse.core.certify.data.labels import all_of, are_places, as_labels, as_text, encode
from hanse.core.limits import CLASSES_MAX
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.certify.data.dataset import DataSet
    from hanse.core.certify.data.plan import QualityPlan
    from hanse.core.model.arrays import Array
    from hanse.core.model.card import RecipeStep

_SUM_TOLERANCE: Final = 1e-3
_SCORE_WORDS: Final = ("prob", "softmax", "score", "logit", "output")
_LABEL_WORDS: Final = ("label", "class", "pred")
_ITEM_WORDS: Final = ("item", "rank", "top", "indices")
_BEFORE_MODEL: Final = frozenset(
    {"cast", "scale", "normalise", "resize", "layout", "pad", "category", "impute"}
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One model's answers beside the truth, row by row; ``None`` where its kind has none.

    Classes: ``truth`` and ``said`` are codes of ``labels``, ``scores`` [n, classes] in doubles,
    ``positive`` the code of a find.  Figures: ``truth`` and ``values`` are [n, targets].
    Ranking: ``items`` [n, k] are the places put first and ``truth`` the one wanted, or ``values``
    [n, 1] score each row of a group and ``truth`` says how wanted it is.
    """

    dataset: DataSet
    plan: QualityPlan
    truth: Array
    labels: tuple[str, ...] = ()
    said: Array | None = None
    scores: Array | None = None
    is_probability: bool = False
    positive: int | None = None
    values: Array | None = None
    items: Array | None = None
    groups: Array | None = None

    def only(self, rows: Array) -> Judged:
        """Return the rows that are marked, or of the numbers given."""

        def part(held: Array | None) -> Array | None:
            return None if held is None else held[rows]

        return replace(
            self,
            truth=self.truth[rows],
            said=part(self.said),
            scores=part(self.scores),
            values=part(self.values),
            items=part(self.items),
            groups=part(self.groups),
        )


def judge(dataset: DataSet, outputs: Mapping[str, Array], plan: QualityPlan) -> Judged:
    """Find what ``plan`` judges; raise ``OutputsUnusable`` or ``UnknownLabel``."""
    found = {name: flat_rows(dataset.n, name, one) for name, one in outputs.items()}
    for number, step in enumerate(plan.post, start=1):
        if step.op in _BEFORE_MODEL or step.op == "nms":
            reason = "later" if step.op == "nms" else "not_after"
            raise RecipeRefused(number=number, step=step.op, reason=reason, detail=step.tensor)
    match plan.kind:
        case "classification":
            judged = _classes(dataset, found, plan)
        case "regression" | "series":
            truth = dataset.truth.reshape(dataset.n, -1)
            values = _values(found, dataset.targets, truth.shape[1])
            judged = Judged(dataset, plan, truth, values=values)
        case "ranking":
            judged = _ranking(dataset, found, plan)
    return replace(judged, groups=dataset.groups)


def flat_rows(n: int, name: str, output: Array) -> Array:
    """Return [n] or [n, k]: dimensions of one row, and of one, are taken out."""
    if output.ndim == 0 or len(output) != n:
        rows = len(output) if output.ndim else 1
        raise OutputsUnusable("rows", f"{name}: {rows}, {n}")
    bare = [size for size in output.shape[1:] if size != 1]
    return output.reshape([n, *bare])


def _finite(name: str, output: Array) -> Array:
    values = output.astype(np.float64)
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise OutputsUnusable("not_finite", f"{name}: {count}")
    return values


def _shapes(found: Mapping[str, Array]) -> tuple[str, ...]:
    return named(f"{name} {one.dtype.name}{list(one.shape)}" for name, one in found.items())


def _preferred(found: Mapping[str, Array], words: Sequence[str]) -> str | None:
    """Return the one output, or the one whose name has the earliest of ``words``."""
    if len(found) <= 1:
        return next(iter(found), None)
    for word in words:
        hits = [name for name in found if word in name.lower()]
        if len(hits) == 1:
            return hits[0]
    return None


# --- classes --------------------------------------------------------------------------------


def _classes(dataset: DataSet, found: Mapping[str, Array], plan: QualityPlan) -> Judged:
    scored, labelled = find_scores(found, plan), find_label(found)
    scores = None if scored is None else scored[1]
    label = None if labelled is None else labelled[1]
    if scores is None and label is None:
        raise OutputsUnusable("no_answer", _shapes(found))
    labels = _label_names(dataset, scores, label, plan)
    truth = encode(dataset.truth, labels)
    positive = _positive(labels, plan)
    said = None if label is None else _encoded_answer(label, labels)
    is_probability = False
    if scores is not None:
        totals = scores.sum(axis=1)
        is_probability = bool((scores >= 0).all() and (abs(totals - 1) <= _SUM_TOLERANCE).all())
        threshold = next((one for one in plan.post if one.op == "threshold"), None)
        if threshold is not None and positive is not None and len(labels) == 2:
            said = np.where(
                _reaches(scores[:, positive], _number(threshold)), positive, 1 - positive
            )
        elif said is None or any(one.op == "argmax" for one in plan.post):
            said = scores.argmax(axis=1)
    return Judged(
        dataset, plan, truth, labels, said, scores, is_probability=is_probability, positive=positive
    )


def _reaches(scores: Array, threshold: float) -> Array:
    return scores >= threshold


def _number(step: RecipeStep) -> float:
    return step.numbers_micro[0] / MICRO if step.numbers_micro else 0.5


def find_scores(found: Mapping[str, Array], plan: QualityPlan) -> tuple[str, Array] | None:
    """Return the output that scores, and [n, classes] in doubles; ``None`` when none does.

    ``found`` are outputs as ``flat_rows`` makes them.  Raises ``OutputsUnusable``.
    """
    wide = {name: one for name, one in found.items() if one.ndim == 2 and one.dtype.kind == "f"}
    step = next((one for one in plan.post if one.op in ("softmax", "argmax", "threshold")), None)
    if plan.labels:
        fitting = {name: one for name, one in wide.items() if one.shape[1] == len(plan.labels)}
        wide = fitting or wide
    if step is not None and step.tensor and step.tensor in found:
        name: str | None = step.tensor
        wide = {step.tensor: found[step.tensor]}
    else:
        name = _preferred(wide, _SCORE_WORDS)
    if name is None and wide:
        raise OutputsUnusable("several", _shapes(wide))
    if name is not None and wide[name].ndim == 2:
        if wide[name].shape[1] > CLASSES_MAX:
            raise OutputsUnusable("classes", _shapes(wide))
        scores = _finite(name, wide[name])
        if any(one.op == "softmax" for one in plan.post):
            grown = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = grown / grown.sum(axis=1, keepdims=True)
        return name, scores
    narrow = {name: one for name, one in found.items() if one.ndim == 1 and one.dtype.kind == "f"}
    one_name = _preferred(narrow, _SCORE_WORDS)
    if one_name is None:
        return None
    second = _finite(one_name, narrow[one_name])
    if second.size and (second.min() < 0 or second.max() > 1):  # a logit: 0 is the border
        return one_name, np.stack([-second, second], axis=1)
    return one_name, np.stack([1 - second, second], axis=1)


def find_label(found: Mapping[str, Array]) -> tuple[str, Array] | None:
    """Return the output that is the label, and its values; ``None`` when none is."""
    single = {
        name: one for name, one in found.items() if one.ndim == 1 and one.dtype.kind in "biuU"
    }
    name = _preferred(single, _LABEL_WORDS)
    if name is None:
        return None
    label = single[name]
    return name, as_labels(label) if label.dtype.kind == "U" else label.astype(np.int64)


def _label_names(
    dataset: DataSet, scores: Array | None, label: Array | None, plan: QualityPlan
) -> tuple[str, ...]:
    """Return the names of the classes in the order of the scores."""
    count = None if scores is None else scores.shape[1]
    if plan.labels:
        if count is not None and count != len(plan.labels):
            raise OutputsUnusable("label_count", f"{count}, {len(plan.labels)}")
        return plan.labels
    columns = [one for one in (label, dataset.truth) if one is not None]
    if count is not None and all(are_places(one, count) for one in columns):
        return tuple(str(i) for i in range(count))
    # Whoever trains on named classes gets them in their order; that holds when all of them occur.
    names = all_of(*columns)
    if len(names) > CLASSES_MAX:
        raise OutputsUnusable("classes", len(names))
    if count is not None and len(names) != count:
        known = all_of(label) if label is not None else ()
        if known and len(known) == count:
            raise UnknownLabel(found=named(one for one in names if one not in known), known=known)
        raise OutputsUnusable("labels_unknown", f"{count}, {len(names)}")
    return names


def _encoded_answer(label: Array, labels: tuple[str, ...]) -> Array:
    try:
        return encode(label, labels)
    except UnknownLabel as fault:
        raise OutputsUnusable("label", fault.values["found"]) from fault


def _positive(labels: tuple[str, ...], plan: QualityPlan) -> int | None:
    if plan.positive:
        if plan.positive in labels:
            return labels.index(plan.positive)
        if plan.positive.isdecimal() and int(plan.positive) < len(labels):
            return int(plan.positive)
        raise UnknownLabel(found=named([plan.positive]), known=named(labels))
    return 1 if len(labels) == 2 else None


# --- figures --------------------------------------------------------------------------------


def _values(found: Mapping[str, Array], targets: Sequence[str], width: int) -> Array:
    """Return [n, width] in doubles: one output, or one for each target."""
    numbers = {name: one for name, one in found.items() if one.dtype.kind in "fiu"}
    if len(targets) > 1 and all(one in numbers and numbers[one].ndim == 1 for one in targets):
        return np.stack([_finite(one, numbers[one]) for one in targets], axis=1)
    fitting = {
        name: one
        for name, one in numbers.items()
        if one.ndim <= 2 and (one.shape[1] if one.ndim == 2 else 1) == width
    }
    if len(fitting) > 1:
        fitting = {name: one for name, one in fitting.items() if one.dtype.kind == "f"} or fitting
    name = _preferred(fitting, (*targets, "variable", "pred", "output"))
    if name is None:
        raise OutputsUnusable("several" if fitting else "width", _shapes(found))
    return _finite(name, fitting[name]).reshape(-1, width)


# --- ranking --------------------------------------------------------------------------------


def _ranking(dataset: DataSet, found: Mapping[str, Array], plan: QualityPlan) -> Judged:
    """Find the items put first, or scores of all items, or one score for each row of a group."""
    wide = {name: one for name, one in found.items() if one.ndim == 2}
    whole = {name: one for name, one in wide.items() if one.dtype.kind in "iu"}
    name = _preferred(whole, _ITEM_WORDS)
    if name is not None:
        items = whole[name].astype(np.int64)
        wanted = encode(dataset.truth, plan.labels) if plan.labels else _whole_truth(dataset)
        return Judged(dataset, plan, wanted, plan.labels, items=items)
    scored = {name: one for name, one in wide.items() if one.dtype.kind == "f"}
    name = _preferred(scored, _SCORE_WORDS)
    if name is not None:
        scores = _finite(name, scored[name])
        labels = plan.labels or tuple(str(i) for i in range(scores.shape[1]))
        items = np.argsort(-scores, axis=1, kind="stable")
        return Judged(dataset, plan, encode(dataset.truth, labels), labels, items=items)
    single = {name: one for name, one in found.items() if one.ndim == 1 and one.dtype.kind == "f"}
    name = _preferred(single, _SCORE_WORDS)
    if name is None or dataset.groups is None:
        raise OutputsUnusable("no_ranking", _shapes(found))
    wanted = _whole_truth(dataset)
    if (wanted < 0).any():
        raise OutputsUnusable("relevance", int(wanted.min()))
    return Judged(dataset, plan, wanted, values=_finite(name, single[name])[:, None])


def _whole_truth(dataset: DataSet) -> Array:
    if dataset.truth.dtype.kind not in "iu":
        raise UnknownLabel(found=named(as_text(np.unique(dataset.truth)[:8])), known=())
    return dataset.truth.astype(np.int64)
