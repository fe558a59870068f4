"""Keras 3 files and ``.pt2``, by an interpreter that has torch, onnxscript and Keras.

It is this one, or the one that ``HANSE_TEST_TORCH_PYTHON`` names; without either, skipped.
What needs no torch (code is found before Keras sees the file) is tested always.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from hanse.core.artifacts.conversion import importable_extras
from hanse.core.model.running import ConversionRefused
from tests.fakes.converting import MODELS, prepare_by_worker, refusal_of, run_onnx

KERAS = MODELS / "image_recognition_model.keras"
HELD_OUT = MODELS / "digits_held_out.npz"

PROGRAM = """
import sys, torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).eval()
rows = {0: torch.export.Dim("rows")}
program = torch.export.export(net, (torch.randn(2, 6),), dynamic_shapes=(rows,))
torch.export.save(program, sys.argv[1])
"""


@pytest.fixture
def torch_python():
    """The interpreter that has torch; ``None`` when it is this one."""
    named = os.environ.get("HANSE_TEST_TORCH_PYTHON")
    if named:
        return Path(named)
    if "torch" in importable_extras():
        return None
    pytest.skip("no torch here; HANSE_TEST_TORCH_PYTHON can name an interpreter that has it")
    return None


@pytest.mark.slow
def test_a_keras_file_agrees_with_keras_and_with_what_it_said_before(tmp_path, torch_python):
    prepared = prepare_by_worker(tmp_path, KERAS, HELD_OUT, torch_python)
    parity = prepared.parity
    assert (parity.verdict, parity.origin, parity.inputs) == ("pass", "seller", 397)
    assert (parity.outputs[0].labels_equal, parity.outputs[0].name) == (397, "digit")
    samples = np.load(HELD_OUT)
    made = prepared.files["image_recognition_model.onnx"]
    (said,) = run_onnx(made, {"image": samples["x"]})
    np.testing.assert_allclose(said, samples["y"], atol=5e-6)


@pytest.mark.slow
def test_a_layer_that_cannot_be_read_as_data_is_converted_by_keras(tmp_path, torch_python):
    prepared = prepare_by_worker(tmp_path, MODELS / "recurrent.h5", None, torch_python)
    assert prepared.parity.verdict == "pass"
    assert prepared.parity.tools["keras"]


@pytest.mark.slow
def test_an_exported_program_agrees_with_torch(tmp_path, torch_python):
    source = tmp_path / "net.pt2"
    python = torch_python or sys.executable
    subprocess.run(
        [python, "-I", "-c", PROGRAM, source], check=True, capture_output=True, timeout=120
    )
    prepared = prepare_by_worker(tmp_path / "scratch", source, None, torch_python)
    assert prepared.parity.verdict == "pass"
    assert prepared.parity.outputs[0].max_abs_nano < 1_000
    made = prepared.files["net.onnx"]
    name = onnx.load(made).graph.input[0].name
    (said,) = run_onnx(made, {name: np.ones((5, 6), np.float32)})
    assert said.shape == (5, 3)


# --- without torch ------------------------------------------------------------------------------


def packed(path, configuration):
    with zipfile.ZipFile(path, "w") as file:
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        file.writestr("config.json", text)
        file.writestr("metadata.json", "{}")
    return path


@pytest.mark.parametrize("name", ["with_lambda.keras", "with_lambda.h5"])
def test_code_is_found_before_keras_is_asked(tmp_path, name):
    word, what = refusal_of(tmp_path, "keras3", MODELS / name)
    assert (word, what) == ("code", "double_it (Lambda)")


def held(value):
    return {"class_name": "Functional", "module": "keras", "config": {"layers": [value]}}


@pytest.mark.parametrize(
    ("configuration", "word"),
    [
        # CVE-2025-1550: a class of any module, named by the configuration
        (held({"class_name": "system", "module": "os", "config": "id"}), "code"),
        (held({"class_name": "function", "module": "builtins", "config": "eval"}), "code"),
        (held({"class_name": "__lambda__", "config": {"value": ["4wE="]}}), "code"),
        (held({"class_name": "TorchModuleWrapper", "config": {"name": "w"}}), "code"),
        (held({"class_name": "Mine", "module": "keras_mine", "config": {}}), "code"),
        (held([[[[[[[[[[]]]]]]]]]] * 3), "package_missing"),
        ("[" * 100 + "]" * 100, "config_too_deep"),
        ("[" * 100, "config_too_deep"),
        ("{", "unreadable"),
        ("[]", "no_config"),
        ('"' + "x" * 5_000_000 + '"', "config_too_large"),
    ],
)
def test_a_configuration_is_read_as_data_first(tmp_path, configuration, word):
    if word == "package_missing" and "torch" in importable_extras():
        pytest.skip("torch is here: the file would reach Keras")
    path = packed(tmp_path / "m.keras", configuration)
    assert refusal_of(tmp_path / "here", "keras3", path)[0] == word


@pytest.mark.parametrize(("converter", "name"), [("keras3", "m.keras"), ("torch_pt2", "m.pt2")])
def test_an_archive_of_something_else_is_refused(tmp_path, converter, name):
    with zipfile.ZipFile(tmp_path / name, "w") as file:
        file.writestr("other.txt", "")
    assert refusal_of(tmp_path / "here", converter, tmp_path / name)[0] in {
        "no_config",
        "unreadable",
    }


def test_an_interpreter_without_torch_names_the_package(tmp_path):
    if "torch" in importable_extras():
        pytest.skip("torch is here")
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path, KERAS, None, sys.executable)
    assert refusal.value.reason == "package_missing"
    assert refusal.value.detail in {"keras", "torch"}
