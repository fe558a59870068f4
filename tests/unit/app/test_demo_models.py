"""The models the demo trains: quick, repeatable, and fit for the product's own conversion."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import skops.io

from hanse.app.demo_models import SAMPLE_ROWS, SECTORS, TrainingNeeds, train
from hanse.core.artifacts.converters.sklearn_skops import KNOWN_SAFE
from hanse.core.sentences import LANGUAGES, say

SEED = 7


@pytest.mark.parametrize("sector", SECTORS)
def test_a_model_is_better_than_guessing_and_says_on_how_many_rows(sector, tmp_path):
    trained = train(sector, tmp_path, SEED)
    assert trained.n_test >= 50
    assert trained.value_micro > 700_000
    if trained.metric == "accuracy":
        assert trained.ci_low_micro < trained.value_micro <= trained.ci_high_micro
    else:
        assert (trained.labels, trained.ci_low_micro, trained.ci_high_micro) == ((), None, None)


@pytest.mark.parametrize("sector", SECTORS)
def test_a_model_holds_only_types_that_conversion_knows_to_be_data(sector, tmp_path):
    trained = train(sector, tmp_path, SEED)
    types = skops.io.get_untrusted_types(file=trained.path)
    assert set(types) <= KNOWN_SAFE
    estimator = skops.io.load(trained.path, trusted=types)
    with np.load(trained.samples, allow_pickle=False) as packed:
        rows = packed["x"]
    assert rows.dtype == np.float32
    assert rows.shape == (SAMPLE_ROWS, len(trained.columns)) == (16, estimator.n_features_in_)
    assert len(estimator.predict(rows)) == SAMPLE_ROWS


def test_one_seed_gives_one_figure(tmp_path):
    first, again, other = (train("finance", tmp_path, seed) for seed in (SEED, SEED, SEED + 1))
    assert first == again
    assert first != other


def test_generated_data_is_called_synthetic_and_shipped_data_is_not(tmp_path):
    synthetic = {sector for sector in SECTORS if train(sector, tmp_path, SEED).is_synthetic}
    assert synthetic == {"finance", "retail"}


@pytest.mark.parametrize("package", ["skops.io", "sklearn.datasets"])
def test_without_the_extra_it_says_what_to_install(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks what is not there
    with pytest.raises(TrainingNeeds) as caught:
        train("medical", tmp_path, SEED)
    assert "hanse[sklearn]" in caught.value.values["command"]
    for language in LANGUAGES:
        assert "hanse[sklearn]" in say(caught.value.code, caught.value.values, language)
    assert list(tmp_path.iterdir()) == []
