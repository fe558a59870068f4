from __future__ import annotations

import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from hanse.core.artifacts import estimators
from hanse.core.artifacts.conversion import ConversionUnavailable
from hanse.core.artifacts.estimators import UnfitEstimator, save_estimator

X, Y = load_iris(return_X_y=True)


def test_a_fitted_estimator_is_written_and_read_again(tmp_path):
    fitted = LogisticRegression(max_iter=500).fit(X, Y)
    save_estimator(fitted, tmp_path / "m.skops")
    again = skops.io.load(tmp_path / "m.skops")
    assert (again.predict(X) == fitted.predict(X)).all()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (LogisticRegression(), "not_fitted"),
        (object(), "no_estimator"),
        (LogisticRegression, "no_estimator"),
    ],
)
def test_what_is_no_fitted_estimator_is_refused(tmp_path, given, reason):
    with pytest.raises(UnfitEstimator) as refusal:
        save_estimator(given, tmp_path / "m.skops")
    assert refusal.value.values["reason"] == reason
    assert not list(tmp_path.iterdir())


def test_an_estimator_with_a_part_that_cannot_be_kept_is_refused(tmp_path):
    fitted = LogisticRegression(max_iter=500).fit(X, Y)
    fitted.rows_ = (row for row in X)
    with pytest.raises(UnfitEstimator) as refusal:
        save_estimator(fitted, tmp_path / "m.skops")
    assert refusal.value.values["reason"] == "not_savable"
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(estimators, "importable_extras", frozenset)
    with pytest.raises(ConversionUnavailable) as refusal:
        save_estimator(LogisticRegression(max_iter=500).fit(X, Y), tmp_path / "m.skops")
    assert refusal.value.values["command"] == 'pip install "hanse[sklearn]"'
