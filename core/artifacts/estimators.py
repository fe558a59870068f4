"""A fitted scikit-learn estimator becomes a file that can be converted, and holds no code.

* ``skops`` writes it, never pickle; scikit-learn is imported only when somebody calls.
* Nothing is written for what is no estimator, is not fitted, or cannot be written.

What becomes of the file is decided as for any other ``.skops``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hanse.core.artifacts.conversion import ConversionUnavailable, importable_extras
from hanse.core.durable import write_durably
from hanse.core.errors import WrongUse

if TYPE_CHECKING:
    from pathlib import Path


class UnfitEstimator(WrongUse):
    """What was given cannot be kept as an estimator; ``reason`` is a stable word."""

    code = "estimator.unfit"
    text = "{found} cannot be saved as an estimator: {reason}"
    fields = ("found", "reason")


def save_estimator(estimator: object, path: Path) -> None:
    """Write a fitted estimator as ``.skops``, whole or not at all.

    Raises ``UnfitEstimator``, ``ConversionUnavailable`` without the extra ``[sklearn]``, or
    what a full or read-only disk raises.
    """
    if "sklearn" not in importable_extras():
        raise ConversionUnavailable("skops", "sklearn")
    found = type(estimator).__name__
    base = _module("sklearn.base")
    if not isinstance(estimator, base.BaseEstimator):
        raise UnfitEstimator(found=found, reason="no_estimator")
    try:
        _module("sklearn.utils.validation").check_is_fitted(estimator)
    except _module("sklearn.exceptions").NotFittedError as error:
        raise UnfitEstimator(found=found, reason="not_fitted") from error
    try:
        raw: bytes = _module("skops.io").dumps(estimator)
    except Exception as error:  # whatever a member of the estimator raises when it is written
        raise UnfitEstimator(found=found, reason="not_savable") from error
    write_durably(path, raw)


def _module(name: str) -> Any:  # noqa: ANN401  these packages have no types
    return importlib.import_module(name)
