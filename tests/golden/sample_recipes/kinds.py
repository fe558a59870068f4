"""What a recipe of a sample model hands over: the data, the fitted model, and how it is judged.

Every recipe draws with one seed of its own, keeps its test rows away from fitting and from
every choice (a threshold is chosen on a third split), and rounds its columns, so that the
committed CSV holds the very numbers the figures were computed from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of an input: its range is what the model was fitted on."""

    name: str
    en: str
    zh: str
    unit: str  # "" for a count or a share
    low: float
    high: float
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Port:
    """One tensor of the graph and what it means."""

    name: str
    en: str
    zh: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number with its 95 % interval."""

    metric: str
    value: float
    low: float
    high: float
    slice: str = ""
    threshold: float | None = None


Outputs = dict[str, np.ndarray]


@dataclass(slots=True)
class Recipe:
    """A fitted sample model; ``columns`` are further columns of the CSV, such as a text."""

    id: str
    seed: int
    input: Port  # one column for each feature
    features: tuple[Feature, ...]
    outputs: tuple[Port, ...]
    labels: tuple[tuple[str, str], ...]  # English, Chinese; empty for a number
    target: tuple[str, ...]  # names of the CSV's truth columns
    model: onnx.ModelProto
    predict: Callable[[np.ndarray], Outputs]  # as the framework computes it
    x_test: np.ndarray
    y_test: np.ndarray  # one column for each of ``target``
    measure: Callable[[Outputs, np.ndarray, dict[str, np.ndarray]], list[Figure]]
    train_rows: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    compared: list[Figure] = field(default_factory=list)  # what else reaches on the same rows
    apart: bool = False  # one input for each feature, so that each has its range in the signature
    sample_rows: int = 200


def rounded(columns: list[np.ndarray], features: tuple[Feature, ...]) -> np.ndarray:
    """Cut to the range, round to the decimals, and stack as float32 rows."""
    assert len(columns) == len(features)
    return np.stack(
        [
            np.clip(np.round(column, feature.decimals), feature.low, feature.high)
            for column, feature in zip(columns, features, strict=True)
        ],
        axis=1,
    ).astype(np.float32)


def logistic(value: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-value))
