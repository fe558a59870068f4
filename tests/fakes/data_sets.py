"""Small data sets on disk, and what a model is that wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hanse.core.certify.data import DataSet, QualityPlan, Wanted, judge, read_dataset
from hanse.core.certify.data.mapping import DataMapping
from hanse.core.model.artifact import TensorFacts
from hanse.core.model.card import MICRO, ModelCard, Recipe, RecipeStep
from hanse.core.model.control import Control

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.certify.data.outputs import Judged


def port(name: str, *shape: int | str | None, dtype: str = "float32") -> TensorFacts:
    """Write one input or output."""
    return TensorFacts(name=name, dtype=dtype, shape=shape)


def step(op: Any, *numbers: float, tensor: str = "", words: tuple[str, ...] = ()) -> RecipeStep:
    """Write one step of a recipe with plain numbers."""
    scaled = tuple(round(one * MICRO) for one in numbers)
    return RecipeStep(op=op, tensor=tensor, numbers_micro=scaled, words=words)


def wanted(
    *inputs: TensorFacts,
    pre: tuple[RecipeStep, ...] = (),
    labels: tuple[str, ...] = (),
    task: str = "tabular-classification",
    **card: Any,
) -> Wanted:
    """Describe a model with a card of its own."""
    return Wanted(inputs, (), ModelCard(recipe=Recipe(pre=pre, labels=labels), **card), task)


def write_csv(path: Path, text: str | bytes) -> Path:
    """Write a table."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read_csv(
    folder: Path, text: str | bytes, model: Wanted, mapping: DataMapping | None = None
) -> DataSet:
    """Write a table and read it for a model."""
    return read_dataset(write_csv(folder / "t.csv", text), model, mapping, None, Control())


def data_set(truth: Any, name: str = "d", **more: Any) -> DataSet:
    """Make a data set of nothing but its truth."""
    truth = np.asarray(truth)
    values = {
        "name": name,
        "sha256": b"\1" * 32,
        "n": len(truth),
        "inputs": {},
        "truth": truth,
        "targets": ("y",),
        "mapping": DataMapping(),
        "recipe_sha256": b"\2" * 32,
    }
    return DataSet(**(values | more))


def judged(
    truth: Any, outputs: dict[str, Any], kind: Any = "classification", **more: Any
) -> Judged:
    """Judge outputs against a truth; ``more`` goes to the plan, ``groups`` to the data."""
    of_data = {key: more.pop(key) for key in ("groups", "slices", "targets") if key in more}
    plan = QualityPlan(task="", kind=kind, **({"metrics": ()} | more))
    found = {name: np.asarray(one) for name, one in outputs.items()}
    return judge(data_set(truth, **of_data), found, plan)
