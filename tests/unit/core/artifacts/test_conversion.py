from __future__ import annotations

import ast
import importlib
import sys
from importlib.resources import files

import msgspec
import numpy as np
import pytest

from hanse.core.artifacts.conversion import (
    ALL_EXTRAS,
    EXTRAS,
    ConversionUnavailable,
    NotConvertible,
    ParityFailed,
    Plan,
    TooManyTrustedTypes,
    check_parity,
    importable_extras,
    plan_conversion,
    prepare,
)
from hanse.core.artifacts.converters import CONVERTERS
from hanse.core.artifacts.converters.parity import report_parity
from hanse.core.certify.client import WorkerClient
from hanse.core.errors import FileUnreadable
from hanse.core.limits import CONVERT_SOURCE_SIZE_BYTES_MAX
from hanse.core.model.artifact import MAY_CARRY_CODE, READABLE, ModelFacts, Parity
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import ConversionRefused, WorkerFailed
from hanse.core.sentences import catalogue, say
from tests.fakes.converting import (
    EXAMPLES,
    FORMATS,
    MODELS,
    facts_of,
    old_style_model,
    prepare_by_worker,
    save,
)

ARTICLE = EXAMPLES / "image_recognition_model.h5"
NONE = frozenset()
FOLDER = "hanse.core.artifacts.converters"
SHARED = ("answering", "parity")


def plan(name, extras=NONE, **facts):
    return plan_conversion(ModelFacts(format=name, file="m", **facts), extras)


# --- the plan -----------------------------------------------------------------------------------


def test_what_a_format_needs_is_decided_by_facts_and_extras_alone():
    keras, torch = frozenset({"keras"}), frozenset({"torch"})
    assert plan("onnx") == Plan("normalise", ("normalise_onnx",))
    assert plan("onnx", external_files=("w.bin",)) == Plan("nothing", reason="external_data")
    assert plan("tflite") == Plan("nothing")
    assert plan("gguf") == Plan("nothing", reason="not_run_here")
    assert plan("safetensors") == Plan("nothing", reason="weights_only")
    assert plan("skops", frozenset({"sklearn"})) == Plan("convert", ("sklearn_skops",))
    assert plan("skops", keras | torch) == Plan("unavailable", reason="skops", extra="sklearn")
    assert plan("keras_h5", keras) == Plan("convert", ("keras_h5",))
    assert plan("keras_h5", keras | torch) == Plan("convert", ("keras_h5", "keras3"))
    assert plan("keras_h5", torch) == Plan("convert", ("keras3",))
    assert plan("keras_h5") == Plan("unavailable", reason="keras_h5", extra="keras")
    assert plan("keras", keras) == Plan("unavailable", reason="keras", extra="torch")
    assert plan("pt2", torch) == Plan("convert", ("torch_pt2",))


@pytest.mark.parametrize("name", sorted(READABLE | MAY_CARRY_CODE))
def test_every_format_has_a_plan_and_every_no_has_its_sentence(name):
    made = plan(name)
    known = catalogue("en")
    if made.act == "impossible":
        assert f"convert.impossible.reason.{made.reason}" in known
    elif made.act == "unavailable":
        assert f"convert.unavailable.format.{made.reason}" in known
        assert made.extra in ALL_EXTRAS
    else:
        assert made.act in {"nothing", "normalise"}
        assert not made.reason or f"convert.note.{made.reason}" in known
    assert plan(name, ALL_EXTRAS).act != "unavailable"


def test_the_extras_of_this_machine_are_those_that_can_be_imported():
    found = importable_extras()
    for extra, packages in EXTRAS.items():
        missing = [one for one in packages if importlib.util.find_spec(one) is None]
        assert (extra in found) == (not missing)


# --- what a person reads ------------------------------------------------------------------------


def test_a_missing_extra_names_the_one_command(tmp_path):
    with pytest.raises(ConversionUnavailable) as refusal:
        prepare_by_worker(tmp_path, ARTICLE, extras=NONE)
    error = refusal.value
    said = say(error.code, error.values, "en")
    assert said.startswith("This Keras file cannot be certified here.")
    assert 'pip install "hanse[keras]"' in said
    assert "may carry code" in said
    assert 'pip install "hanse[keras]"' in say(error.code, error.values, "zh_CN")
    assert not list(tmp_path.iterdir())


def test_a_pickle_is_refused_with_the_lines_that_help(tmp_path):
    facts = ModelFacts(format="joblib", file="m.joblib")
    with pytest.raises(NotConvertible) as refusal:
        prepare_by_worker(tmp_path, tmp_path / "m.joblib", facts=facts)
    said = say(refusal.value.code, refusal.value.values, "en")
    assert "m.joblib" in said
    assert "skops.io.dump" in said


def words_of_refusals():
    """Every word with which any converter refuses, read from their sources."""
    found = set()
    for name in (*CONVERTERS, *SHARED):
        for node in ast.walk(ast.parse(source_of(name))):
            if isinstance(node, ast.Call) and node.args:
                called = node.func
                is_refusal = getattr(called, "id", "") == "ConversionRefused"
                is_refusal |= getattr(called, "attr", "") == "refuse"
                for one in ast.walk(node.args[0]) if is_refusal else ():
                    if isinstance(one, ast.Constant):
                        found.add(one.value)
    return found


def test_every_word_of_a_converter_has_its_sentence():
    words = words_of_refusals()
    assert len(words) > 25
    missing = {word for word in words if f"convert.refused.reason.{word}" not in catalogue("en")}
    assert not missing


# --- converters run where Hanse is not installed ------------------------------------------------


def source_of(name):
    return (files(FOLDER) / f"{name}.py").read_text("utf-8")


def test_the_folder_holds_the_converters_and_what_they_share():
    found = {one.name for one in files(FOLDER).iterdir() if one.name.endswith(".py")}
    assert found == {f"{name}.py" for name in ("__init__", *CONVERTERS, *SHARED)}
    for name in CONVERTERS:
        assert callable(importlib.import_module(f"{FOLDER}.{name}").convert)


@pytest.mark.parametrize("name", sorted({*CONVERTERS, *SHARED}))
def test_a_converter_imports_of_ours_only_what_is_shared_and_no_framework_at_the_top(name):
    tree = ast.parse(source_of(name))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module
            imported.add(module if module.startswith("hanse") else module.partition(".")[0])
    shared = {f"{FOLDER}.{one}" for one in SHARED}
    assert imported <= set(sys.stdlib_module_names) | {"numpy"} | shared


# --- prepare ------------------------------------------------------------------------------------


def test_the_other_files_of_an_artifact_stay_with_it(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("0\n1\n")
    facts = ModelFacts(format="keras_h5", file="net/model.h5")
    given = {"labels.txt": labels, "net/model.h5": ARTICLE}
    made = prepare(facts, given, WorkerClient(), tmp_path / "scratch", Control())
    assert set(made.files) == {"labels.txt", "net/model.onnx"}
    assert made.files["labels.txt"] == labels
    assert len(made.made_from) == 32


def test_the_named_python_is_asked_without_our_extras(tmp_path):
    made = prepare_by_worker(tmp_path, ARTICLE, python=sys.executable)
    assert made.kept
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path / "b", MODELS / "with_lambda.keras", python=sys.executable)
    assert (refusal.value.reason, refusal.value.detail) == ("code", "double_it (Lambda)")


def test_a_python_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WorkerFailed) as failure:
        prepare_by_worker(tmp_path, ARTICLE, python=tmp_path / "no-python")
    assert "no-python" in str(failure.value)


def test_a_model_too_large_is_refused_before_it_is_copied(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(CONVERT_SOURCE_SIZE_BYTES_MAX + 1)
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path / "scratch", path)
    assert refusal.value.reason == "too_large"
    assert not list((tmp_path / "scratch").glob("stage/*"))


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(FileUnreadable) as failure:
        prepare_by_worker(tmp_path / "scratch", path)
    assert str(path) in str(failure.value)


def test_samples_that_are_no_archive_are_refused(tmp_path):
    samples = tmp_path / "samples.npz"
    samples.write_bytes(b"not a zip")
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path / "scratch", ARTICLE, samples)
    assert refusal.value.reason == "unreadable"


def test_samples_with_objects_are_refused_and_not_loaded(tmp_path):
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path / "scratch", ARTICLE, samples)
    assert refusal.value.reason == "samples_unfit"


def test_a_cancelled_conversion_leaves_no_copy(tmp_path):
    source = save(old_style_model(), tmp_path / "m.onnx")
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        prepare(facts_of(source), {"m.onnx": source}, WorkerClient(), tmp_path / "s", control)
    assert not (tmp_path / "s" / "stage").exists()


def test_more_trusted_types_than_fit_are_refused(tmp_path):
    with pytest.raises(TooManyTrustedTypes):
        prepare_by_worker(tmp_path, ARTICLE, trusted=["a.b"] * 1000)


def test_formats_of_the_test_files_are_convertible():
    assert set(FORMATS.values()) - {"onnx"} == {"skops", "keras_h5", "keras", "pt2"}


# --- parity -------------------------------------------------------------------------------------


def parity_of(*outputs, **more):
    raw = report_parity("onnx", {"onnx": "1"}, 3, "drawn", list(outputs), **more)
    outputs = raw.pop("outputs")
    whole = Parity(outputs=(), **raw)
    return whole, outputs


def verdict(*outputs):
    return parity_of(*outputs)[0].verdict


SCORES = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])


def test_outputs_within_the_tolerance_pass_and_others_fail():
    assert verdict(("y", SCORES, SCORES + 9e-5)) == "pass"  # 1e-4 of 0.9, and 1e-5
    assert verdict(("y", SCORES, SCORES + 2e-4)) == "fail"
    assert verdict(("y", SCORES, SCORES[:2])) == "fail"
    assert verdict() == "not_shown"


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_must_stand_at_the_same_places(odd):
    spoilt = SCORES.copy()
    spoilt[0, 0] = odd
    assert verdict(("y", spoilt, spoilt)) == "pass"
    assert verdict(("y", spoilt, SCORES)) == "fail"
    assert verdict(("y", SCORES, spoilt)) == "fail"
    assert parity_of(("y", SCORES, spoilt))[1][0]["max_abs_nano"] == 2**62


def test_a_label_may_differ_only_where_its_scores_are_tied():
    labels = np.array([0, 1, 1])
    scores = ("scores", SCORES, SCORES)
    assert verdict(("label", labels, np.array([0, 0, 1])), scores) == "pass"
    assert verdict(("label", labels, np.array([1, 1, 1])), scores) == "fail"
    assert verdict(("label", labels, np.array([0, 0, 1]))) == "fail"
    texts = np.array(["a", "b", "b"], dtype=object)
    assert verdict(("label", texts, texts.copy())) == "pass"


def test_half_precision_has_its_own_tolerance():
    half = SCORES.astype(np.float16)
    assert verdict(("y", half, (half + 5e-3).astype(np.float16))) == "pass"


def test_labels_are_counted_for_scores_and_for_nothing_else():
    turned = SCORES[:, ::-1] + 0.0
    (row,) = parity_of(("y", SCORES, turned))[1]
    assert (row["labels_equal"], row["labels"]) == (1, 3)
    (row,) = parity_of(("y", SCORES, turned), no_scores=frozenset({"y"}))[1]
    assert (row["labels_equal"], row["labels"]) == (0, 0)


def test_a_failed_parity_names_the_worst_output(tmp_path):
    samples = dict(np.load(EXAMPLES / "image_recognition_samples.npz"))
    np.savez(tmp_path / "s.npz", x=samples["x"], y=samples["y"] + np.float32(0.25))
    prepared = prepare_by_worker(tmp_path / "scratch", ARTICLE, tmp_path / "s.npz")
    assert prepared.kept
    with pytest.raises(ParityFailed) as failure:
        check_parity(prepared.parity)
    values = failure.value.values
    assert values["tensor"] == "digit"
    assert values["max_abs"].startswith("0.25")
    assert values["tolerance"].startswith("0.0001")
    assert "digit" in say(failure.value.code, values, "en")


def test_a_parity_that_passes_or_is_not_shown_stops_nothing():
    passed, _ = parity_of(("y", SCORES, SCORES))
    check_parity(passed)
    shown, _ = parity_of()
    check_parity(shown)
    with pytest.raises(ParityFailed):
        check_parity(msgspec.structs.replace(shown, verdict="fail"))
