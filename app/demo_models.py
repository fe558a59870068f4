"""The four models that ``hanse demo`` trains before it sells them, one for each sector.

* Medicine and manufacturing learn from data that scikit-learn ships, measured on real tissue and
  real wine; finance and retail from data it generates, which ``is_synthetic`` says.
* What leaves here is what a seller has on disk: an estimator kept by ``skops``, and a few of
  its own rows as samples.  Making ONNX of it is the product's work, not the demo's.
* Figures are of rows kept away from training; one seed gives one model.

scikit-learn is an extra; nothing of it is imported before a model is trained.
"""

from __future__ import annotations

import csv
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy.stats import binomtest

from hanse.core.errors import EnvironmentFault
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Sector = Literal["finance", "medical", "retail", "manufacturing"]
Metric = Literal["accuracy", "r2"]

SECTORS: Final[tuple[Sector, ...]] = ("medical", "finance", "retail", "manufacturing")
SAMPLE_ROWS: Final = 16
TARGET: Final = "truth"

_COMMAND: Final = 'pip install "hanse[sklearn]"'
# Kept from training.  Under a hundred rows measure nothing, and there are few wines.
_SHARE_KEPT: Final[dict[Sector, float]] = {
    "medical": 0.3,
    "finance": 0.3,
    "retail": 0.3,
    "manufacturing": 0.6,
}


class TrainingNeeds(EnvironmentFault):
    """A package of the extra ``sklearn`` is not installed; ``command`` installs it."""

    code = "demo.training_needs"
    text = "training needs {package}; install it with {command}"
    fields = ("package", "command")


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A fitted estimator on disk and what it reached; figures are in millionths.

    ``samples`` is an ``.npz`` whose array ``x`` holds rows for the Parity, ``rows`` a CSV of all
    rows kept from training, with the truth in the column ``TARGET``.  The interval
    is Wilson's at 95 %, ``None`` where the metric is no share of rows.
    """

    sector: Sector
    path: Path
    samples: Path
    rows: Path
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    is_synthetic: bool
    metric: Metric
    value_micro: int
    ci_low_micro: int | None
    ci_high_micro: int | None
    n_train: int
    n_test: int


@dataclass(frozen=True, slots=True)
class _Task:
    """Rows, truth, and an estimator that is not fitted yet."""

    x: Any
    y: Any
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    is_synthetic: bool
    estimator: Any


def train(sector: Sector, folder: Path, seed: int) -> TrainedModel:
    """Train the model of ``sector`` and write it into ``folder``, which must exist.

    Raises ``TrainingNeeds`` when scikit-learn or skops is missing; takes under a second.
    """
    keeper = _package("skops.io")
    task = _TASKS[sector](seed)
    is_classifier = bool(task.labels)
    x_train, x_test, y_train, y_test = _package("sklearn.model_selection").train_test_split(
        task.x,
        task.y,
        test_size=_SHARE_KEPT[sector],
        random_state=seed,
        stratify=task.y if is_classifier else None,
    )
    fitted = task.estimator.fit(x_train, y_train)
    path, samples = folder / f"{sector}.skops", folder / f"{sector}-samples.npz"
    keeper.dump(fitted, path)
    np.savez(samples, x=x_test[:SAMPLE_ROWS])
    rows = folder / f"{sector}-rows.csv"
    _write_rows(rows, task.columns, x_test, y_test)
    said = fitted.predict(x_test)
    low = high = None
    if is_classifier:
        right = int(np.count_nonzero(said == y_test))
        value = right / len(y_test)
        interval = binomtest(right, len(y_test)).proportion_ci(method="wilson")
        low, high = _micro(interval.low), _micro(interval.high)
    else:
        value = _package("sklearn.metrics").r2_score(y_test, said)
    return TrainedModel(
        sector=sector,
        path=path,
        samples=samples,
        rows=rows,
        columns=task.columns,
        labels=task.labels,
        is_synthetic=task.is_synthetic,
        metric="accuracy" if is_classifier else "r2",
        value_micro=_micro(value),
        ci_low_micro=low,
        ci_high_micro=high,
        n_train=len(x_train),
        n_test=len(x_test),
    )


def _write_rows(path: Path, columns: tuple[str, ...], x: Any, y: Any) -> None:  # noqa: ANN401
    """Write rows so that reading them gives the same numbers to the last bit."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((*columns, TARGET))
        writer.writerows((*row, truth) for row, truth in zip(x.tolist(), y.tolist(), strict=True))


def _medical(seed: int) -> _Task:
    """Tell benign from malignant tissue by thirty measures of its cells."""
    del seed  # nothing is drawn: the split alone depends on it
    return _shipped("load_breast_cancer", _linear())


def _manufacturing(seed: int) -> _Task:
    """Tell the grower of a wine by what a laboratory finds in it, as incoming goods are tested."""
    del seed
    return _shipped("load_wine", _linear())


def _finance(seed: int) -> _Task:
    """Tell loans that fail from loans that are paid back, on generated columns."""
    x, y = _package("sklearn.datasets").make_classification(
        n_samples=1500,
        n_features=10,
        n_informative=6,
        n_redundant=2,
        weights=[0.75],
        class_sep=1.2,
        random_state=seed,
    )
    forest = _package("sklearn.ensemble").RandomForestClassifier(
        n_estimators=30, max_depth=7, random_state=seed
    )
    names = tuple(f"indicator_{number}" for number in range(1, 11))
    return _Task(x.astype(np.float32), y, names, ("paid back", "failed"), True, forest)  # noqa: FBT003


def _retail(seed: int) -> _Task:
    """Forecast a demand index from five columns that matter and five that do not."""
    x, y = _package("sklearn.datasets").make_friedman1(
        n_samples=1200, n_features=10, noise=1.0, random_state=seed
    )
    forest = _package("sklearn.ensemble").RandomForestRegressor(
        n_estimators=30, max_depth=9, random_state=seed
    )
    names = tuple(f"signal_{number}" for number in range(1, 11))
    return _Task(x.astype(np.float32), y, names, (), True, forest)  # noqa: FBT003


_TASKS: Final[dict[Sector, Callable[[int], _Task]]] = {
    "medical": _medical,
    "finance": _finance,
    "retail": _retail,
    "manufacturing": _manufacturing,
}


def _shipped(loader: str, estimator: Any) -> _Task:  # noqa: ANN401  scikit-learn has no types
    data = getattr(_package("sklearn.datasets"), loader)()
    columns, labels = (
        tuple(str(name) for name in names) for names in (data.feature_names, data.target_names)
    )
    rows = data.data.astype(np.float32)
    return _Task(rows, data.target, columns, labels, False, estimator)  # noqa: FBT003


def _linear() -> Any:  # noqa: ANN401  scikit-learn has no types
    return _package("sklearn.pipeline").make_pipeline(
        _package("sklearn.preprocessing").StandardScaler(),
        _package("sklearn.linear_model").LogisticRegression(C=0.3, max_iter=500),
    )


def _package(name: str) -> Any:  # noqa: ANN401  a module without types
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TrainingNeeds(package=error.name or name, command=_COMMAND) from None


def _micro(value: float) -> int:
    return round(value * MICRO)
