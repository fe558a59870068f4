"""What a model said about rows, as people and programs read it: a label and scores, or figures.

* The steps behind the model are those of its card: softmax, argmax, threshold, labels.
* A model that gives classes is told by label and score; what else it gives stands beside it under
  its own names.  ``raw`` leaves everything as the model gave it.
* What the first rows are told by, all rows are told by: a file has one set of columns.
* Nothing is rounded: a figure is the shortest text that reads back as the same number.

Outputs are a stranger's: their rows are counted, and what is no number is told as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hanse.core.certify.data.faults import OutputsUnusable
from hanse.core.certify.data.labels import are_places
from hanse.core.certify.data.outputs import find_label, find_scores, flat_rows
from hanse.core.certify.data.plan import QualityPlan, kind_of
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.certify.data.dataset import Wanted
    from hanse.core.certify.data.mapping import DataMapping
    from hanse.core.model.arrays import Array

SCORES_SHOWN: Final = 20  # classes that stand in a table; of more the highest in JSON
_CELLS_SHOWN: Final = 4096  # values of one output that stand in a table
_TWO: Final = 2


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to ``n`` rows; ``labels`` and ``score`` are there for a model that gives classes.

    ``scores`` is [n, classes] and ``classes`` their names; ``outputs`` holds what is told as it
    came, by name, each with ``n`` rows; ``columns`` names the columns of some of them.
    """

    n: int
    outputs: Mapping[str, Array]
    columns: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...] | None = None
    score: Array | None = None
    scores: Array | None = None
    classes: tuple[str, ...] = ()

    def objects(self) -> list[dict[str, object]]:
        """Return one JSON object a row."""
        rows: list[dict[str, object]] = [{} for _ in range(self.n)]
        if self.labels is not None:
            _put(rows, "answer", self.labels)
        if self.score is not None:
            _put(rows, "score", _plain(self.score))
        if self.scores is not None:
            for row, scores in zip(rows, self._ranked(), strict=True):
                row["scores"] = scores
        if self.outputs:
            parts = {name: self._objects(name, one) for name, one in self.outputs.items()}
            for number, row in enumerate(rows):
                row["outputs"] = {name: one[number] for name, one in parts.items()}
        return rows

    def table(self) -> dict[str, list[str]]:
        """Return columns of text by name, for a CSV; an output of many values is one column."""
        found: dict[str, list[str]] = {}
        if self.labels is not None:
            found["answer"] = list(self.labels)
        if self.score is not None:
            found["score"] = _texts(self.score)
        if self.scores is not None and len(self.classes) <= SCORES_SHOWN:
            for place, name in enumerate(self.classes):
                found[f"score.{name}"] = _texts(self.scores[:, place])
        for name, output in self.outputs.items():
            flat = output.reshape(self.n, -1) if output.size else output
            if output.ndim == 1:
                found[name] = _texts(output)
            elif output.ndim == _TWO or flat.shape[1] <= _CELLS_SHOWN:
                names = self.columns.get(name) or tuple(str(i) for i in range(flat.shape[1]))
                for place, one in enumerate(names):
                    found[f"{name}.{one}"] = _texts(flat[:, place])
            else:
                raise OutputsUnusable("many_values", f"{name}: {flat.shape[1]}")
        return found

    def arrays(self) -> dict[str, Array]:
        """Return arrays by name, for an NPZ."""
        found: dict[str, Array] = dict(self.outputs)
        if self.labels is not None:
            found["answer"] = np.array(self.labels, dtype=np.str_)
        if self.scores is not None:
            found["scores"] = self.scores
        return found

    def _ranked(self) -> list[dict[str, object]]:
        assert self.scores is not None
        plain = _plain(self.scores)
        if len(self.classes) <= SCORES_SHOWN:
            return [dict(zip(self.classes, row, strict=True)) for row in plain]
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :SCORES_SHOWN]
        return [
            {self.classes[place]: row[place] for place in places}
            for row, places in zip(plain, order.tolist(), strict=True)
        ]

    def _objects(self, name: str, output: Array) -> list[object]:
        plain = _plain(output)
        names = self.columns.get(name)
        if names is None:
            return plain
        return [dict(zip(names, row, strict=True)) for row in plain]


class AnswerReader:
    """Reads the answers of one model, all in the same way."""

    def __init__(
        self,
        wanted: Wanted,
        mapping: DataMapping | None,
        *,
        raw: bool = False,
        left_out: Iterable[str] = (),
    ) -> None:
        """Take the steps and labels of the card, or the labels a person gave."""
        recipe = None if wanted.card is None else wanted.card.recipe
        given = () if mapping is None else mapping.labels
        post = () if recipe is None else recipe.post
        said = next((one.words for one in post if one.op == "labels"), ())
        self._plan = QualityPlan(
            task=wanted.task,
            kind=kind_of(wanted),
            metrics=(),
            labels=given or (() if recipe is None else recipe.labels) or said,
            post=post,
            positive="" if mapping is None else mapping.positive,
        )
        self._left_out = frozenset(left_out)
        self._stated = _stated(wanted)
        self._has_classes: bool | None = None
        if raw or self._plan.kind != "classification":
            self._has_classes = False

    def read(self, outputs: Mapping[str, Array], n: int) -> Answers:
        """Read what came for ``n`` rows; raise ``OutputsUnusable`` where rows do not add up."""
        found = {
            name: flat_rows(n, name, one)
            for name, one in outputs.items()
            if name not in self._left_out
        }
        if self._has_classes is not False:
            answers = self._classes(found, n)
            if self._has_classes is None:
                self._has_classes = answers is not None
            if answers is not None:
                return answers
        plain = Answers(n, found, self._columns(found))
        if self._has_classes:  # these rows have no label, and their columns stay
            return self._without_label(found, n)
        return plain

    def _classes(self, found: Mapping[str, Array], n: int) -> Answers | None:
        try:
            scored = find_scores(found, self._plan)
        except OutputsUnusable:
            return None
        labelled = find_label(found)
        if scored is None and labelled is None:
            return None
        count = None if scored is None else scored[1].shape[1]
        names = self._names(count)
        said = _said(scored, labelled, self._plan, names)
        score = scores = None
        if scored is not None:
            kind = found[scored[0]].dtype
            scores = scored[1].astype(kind if kind.kind == "f" else np.float64)
            if are_places(said, scores.shape[1]):
                score = scores[np.arange(n), said]
        used = {one[0] for one in (scored, labelled) if one is not None}
        rest = {name: one for name, one in found.items() if name not in used}
        return Answers(
            n, rest, self._columns(rest), _words(said, names), score, scores, names if count else ()
        )

    def _without_label(self, found: Mapping[str, Array], n: int) -> Answers:
        wide = next((one for one in found.values() if one.ndim == _TWO), None)
        names = self._names(None if wide is None else wide.shape[1])
        nothing = np.full(n, np.nan, np.float32)
        scores = None if wide is None else np.full(wide.shape, np.nan, np.float32)
        return Answers(n, {}, {}, ("",) * n, nothing, scores, names if wide is not None else ())

    def _names(self, count: int | None) -> tuple[str, ...]:
        """Return the names of the classes, their places where the card does not name all."""
        labels = self._plan.labels
        if count is None or len(labels) == count:
            return labels
        return tuple(str(i) for i in range(count))

    def _columns(self, found: Mapping[str, Array]) -> dict[str, tuple[str, ...]]:
        return {
            name: names
            for name, names in self._stated.items()
            if name in found and found[name].ndim == _TWO and found[name].shape[1] == len(names)
        }


def _stated(wanted: Wanted) -> dict[str, tuple[str, ...]]:
    outputs = () if wanted.card is None else wanted.card.signature.outputs
    named = ((one.name, tuple(it.name for it in one.stated_columns)) for one in outputs)
    return {name: columns for name, columns in named if columns}


def _said(
    scored: tuple[str, Array] | None,
    labelled: tuple[str, Array] | None,
    plan: QualityPlan,
    names: Sequence[str],
) -> Array:
    """Return the answer to each row: a place among the classes, or the label as it came."""
    if scored is not None:
        scores = scored[1]
        threshold = next((one for one in plan.post if one.op == "threshold"), None)
        if threshold is not None and scores.shape[1] == _TWO:
            find = names.index(plan.positive) if plan.positive in names else 1
            least = threshold.numbers_micro[0] / MICRO if threshold.numbers_micro else 0.5
            return np.where(scores[:, find] >= least, find, 1 - find)
        if labelled is None or any(one.op == "argmax" for one in plan.post):
            return np.asarray(scores.argmax(axis=1))
    assert labelled is not None
    label = labelled[1]
    if label.dtype.kind == "U" and set(label.tolist()) <= set(names):
        by_name = {name: place for place, name in enumerate(names)}
        return np.array([by_name[one] for one in label.tolist()], dtype=np.int64)
    return label


def _words(said: Array, names: Sequence[str]) -> tuple[str, ...]:
    if names and are_places(said, len(names)):
        return tuple(names[place] for place in said.tolist())
    return tuple(str(one) for one in said.tolist())


def _put(rows: Sequence[dict[str, object]], name: str, values: Sequence[object]) -> None:
    for row, value in zip(rows, values, strict=True):
        row[name] = value


def _plain(array: Array) -> list[Any]:
    """Return nested lists; a short float is the number its shortest text is."""
    if array.dtype.kind == "f" and array.dtype.itemsize < np.dtype(np.float64).itemsize:
        array = array.astype(np.str_).astype(np.float64)
    plain: list[Any] = array.tolist()
    return plain


def _texts(array: Array) -> list[str]:
    """Return one text a row; what is no number is left empty."""
    texts: list[str] = array.astype(np.str_).tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        texts = ["" if one == "nan" else one for one in texts]
    return texts
