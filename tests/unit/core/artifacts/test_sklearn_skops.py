from __future__ import annotations

import io
import json
import warnings
import zipfile

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from hanse.core.artifacts.estimators import save_estimator
from tests.fakes.converting import convert_here, prepare_by_worker, refusal_of, run_onnx

FLOWERS, KINDS = load_iris(return_X_y=True)
CELLS, ILL = load_breast_cancer(return_X_y=True)
PEOPLE, PROGRESS = load_diabetes(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[KINDS]


def saved(tmp_path, estimator, x=FLOWERS, y=KINDS):
    path = tmp_path / "model.skops"
    save_estimator(estimator.fit(x, y), path)
    return path


def test_a_forest_agrees_with_itself_within_a_millionth(tmp_path):
    path = saved(tmp_path, RandomForestClassifier(25, random_state=1), CELLS, ILL)
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=CELLS)
    prepared = prepare_by_worker(tmp_path / "scratch", path, samples)
    label, scores = prepared.parity.outputs
    assert (label.name, label.labels_equal, label.labels) == ("label", 569, 569)
    assert scores.max_abs_nano < 1_000
    assert prepared.parity.verdict == "pass"
    assert prepared.parity.origin == "seller"
    assert set(prepared.parity.tools) >= {"scikit-learn", "skops", "skl2onnx"}


def test_a_pipeline_agrees_with_itself_on_drawn_rows(tmp_path):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    path = saved(tmp_path, pipeline, CELLS, ILL)
    parity = convert_here(tmp_path / "here", "sklearn_skops", path)["parity"]
    assert (parity["verdict"], parity["origin"], parity["inputs"]) == ("pass", "drawn", 256)
    made = tmp_path / "here" / "out.onnx"
    label, scores = run_onnx(made, {"X": CELLS.astype(np.float32)})
    assert np.array_equal(label, pipeline.predict(CELLS.astype(np.float32)))
    np.testing.assert_allclose(scores, pipeline.predict_proba(CELLS.astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "x", "y", "notes"),
    [
        (RandomForestClassifier(5, random_state=1), FLOWERS, NAMES, []),
        (SVC(), FLOWERS[:100], KINDS[:100], ["margins_turned"]),
        (SVC(), FLOWERS, KINDS, []),
        (LinearSVC(), CELLS, ILL, []),
        (LinearRegression(), PEOPLE, PROGRESS, []),
        (LinearRegression(), PEOPLE, np.stack([PROGRESS, -PROGRESS], axis=1), []),
        (RandomForestRegressor(5, random_state=1), PEOPLE, PROGRESS, []),
        (HistGradientBoostingRegressor(max_iter=10), PEOPLE, PROGRESS, []),
        (PCA(2), FLOWERS, KINDS, []),
        (KMeans(3, random_state=1), FLOWERS, KINDS, []),
        (IsolationForest(n_estimators=10, random_state=1), FLOWERS, KINDS, []),
        (
            VotingClassifier(
                [("a", LogisticRegression(max_iter=500)), ("b", RandomForestClassifier(3))],
                voting="soft",
                flatten_transform=False,
            ),
            FLOWERS,
            KINDS,
            [],
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_an_estimator_agrees_with_itself(tmp_path, estimator, x, y, notes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a solver that would like more rounds
        path = saved(tmp_path, estimator, x.astype(np.float32), y)
    made = convert_here(tmp_path / "here", "sklearn_skops", path, {"x": x})
    assert made["parity"]["verdict"] == "pass"
    assert made["notes"] == notes


def test_columns_of_numbers_are_no_scores(tmp_path):
    made = convert_here(tmp_path / "here", "sklearn_skops", saved(tmp_path, PCA(2)))
    assert [row["labels"] for row in made["parity"]["outputs"]] == [0]


def test_an_estimator_without_a_rule_is_refused_by_name(tmp_path):
    path = saved(tmp_path, NearestCentroid())
    word, what = refusal_of(tmp_path / "here", "sklearn_skops", path)
    assert word == "estimator"
    assert what.startswith("NearestCentroid: ")


def double(x):
    return x * 2


def test_an_unknown_type_is_refused_by_name_unless_the_seller_vouches_for_it(tmp_path):
    pipeline = make_pipeline(FunctionTransformer(double), StandardScaler())
    path = saved(tmp_path, pipeline)
    word, what = refusal_of(tmp_path / "here", "sklearn_skops", path)
    assert word == "types_unknown"
    assert what == f"{double.__module__}.double"
    word, _ = refusal_of(tmp_path / "here", "sklearn_skops", path, trusted=["other.thing"])
    assert word == "types_unknown"
    word, what = refusal_of(tmp_path / "here", "sklearn_skops", path, trusted=[what])
    assert word == "estimator"  # loaded, but no rule writes a function as ONNX


def rewritten(path, change):
    """Pack the file again, with its schema or members changed."""
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    schema = json.loads(members["schema.json"])
    change(schema, members)
    members["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as packed:
        for name, raw in members.items():
            packed.writestr(name, raw)
    return path


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval")])
@pytest.mark.parametrize("loader", ["ObjectNode", "FunctionNode", "TypeNode", "PartialNode"])
def test_a_schema_that_names_code_is_refused_and_nothing_runs(tmp_path, module, name, loader):
    def change(schema, members):
        del members
        schema.update({"__module__": module, "__class__": name, "__loader__": loader})

    path = rewritten(saved(tmp_path, StandardScaler()), change)
    word, what = refusal_of(tmp_path / "here", "sklearn_skops", path)
    assert word in {"types_unknown", "unreadable"}
    assert word == "unreadable" or f"{module}.{name}" in what


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickled_array_in_the_archive_is_refused_and_does_not_run(tmp_path):
    marker = tmp_path / "marker"

    def change(schema, members):
        del schema
        raw = io.BytesIO()
        np.save(raw, np.array([Marker(marker)], dtype=object), allow_pickle=True)
        changed = [name for name in members if name.endswith(".npy")]
        assert changed
        members.update(dict.fromkeys(changed, raw.getvalue()))

    path = rewritten(saved(tmp_path, StandardScaler()), change)
    assert refusal_of(tmp_path / "here", "sklearn_skops", path)[0] == "unreadable"
    assert not marker.exists()


def test_what_is_no_zip_is_refused(tmp_path):
    path = tmp_path / "m.skops"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    assert refusal_of(tmp_path / "here", "sklearn_skops", path)[0] == "unreadable"


def test_a_zip_without_a_schema_is_refused(tmp_path):
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("other.json", "{}")
    assert refusal_of(tmp_path / "here", "sklearn_skops", path) == ("unreadable", "schema.json")


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path):
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("schema.json", bytes(70 * 1024**2))
    assert refusal_of(tmp_path / "here", "sklearn_skops", path)[0] == "zip_unfit"


@pytest.mark.parametrize("name", ["../schema.json", "/schema.json"])
def test_a_member_that_leads_out_is_refused(tmp_path, name):
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(name, "{}")
    assert refusal_of(tmp_path / "here", "sklearn_skops", path)[0] == "zip_unfit"


@pytest.mark.parametrize("x", [FLOWERS[:, :3], FLOWERS[0], FLOWERS.astype(str)])
def test_samples_of_another_width_are_refused(tmp_path, x):
    path = saved(tmp_path, StandardScaler())
    word, what = refusal_of(tmp_path / "here", "sklearn_skops", path, {"x": x})
    assert word == "samples_unfit"
    assert "(n, 4)" in what
