"""Converters called in process, and ``prepare`` through real Workers; files for both."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from hanse.core.artifacts.conversion import bounds, prepare
from hanse.core.certify.client import WorkerClient
from hanse.core.model.artifact import ModelFacts
from hanse.core.model.control import Control

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MODELS = ROOT / "tests" / "data" / "models"
FORMATS = {
    ".h5": "keras_h5",
    ".keras": "keras",
    ".onnx": "onnx",
    ".pt2": "pt2",
    ".skops": "skops",
}


def convert_here(folder, converter, source, samples=None, **options):
    """Call one converter in this process; the result is ``folder/out.onnx``."""
    module = importlib.import_module(f"hanse.core.artifacts.converters.{converter}")
    folder.mkdir(exist_ok=True)
    staged = folder / f"source{source.suffix}"
    shutil.copyfile(source, staged)
    if samples is not None:
        if isinstance(samples, dict):
            np.savez(folder / "samples.npz", **samples)
        else:
            shutil.copyfile(samples, folder / "samples.npz")
        options["samples"] = "samples.npz"
    return module.convert(staged, folder / "out.onnx", {**bounds(), **options})


def refusal_of(folder, converter, source, samples=None, **options):
    """Return the word and the finding of the refusal that must come."""
    try:
        convert_here(folder, converter, source, samples, **options)
    except Exception as error:
        if type(error).__name__ != "ConversionRefused":
            raise
        assert not (folder / "out.onnx").exists()
        return error.code, error.values["what"]
    raise AssertionError("not refused")


def facts_of(path, **values):
    return ModelFacts(format=FORMATS[path.suffix], file=path.name, **values)


def prepare_by_worker(folder, path, samples=None, python=None, facts=None, **options):
    """Run ``prepare`` with a real Worker."""
    facts = facts or facts_of(path)
    files = {path.name: path}
    return prepare(facts, files, WorkerClient(), folder, Control(), samples, python, **options)


def run_onnx(path, inputs):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def old_style_model(width=64, layers=6, folded=True, ir_version=3):
    """A model whose initialisers are inputs too.

    Below IR 4 that is how it must be, and the runtime knows; from IR 4 on they are defaults
    that a caller may replace, so it folds nothing.
    """
    chance = np.random.default_rng(1)
    nodes, initialisers, value = [], [], "x"
    for number in range(layers):
        weights = chance.normal(size=(width, width)).astype(np.float32) / width**0.5
        initialisers.append(numpy_helper.from_array(weights, f"w{number}"))
        name = f"w{number}"
        if folded:  # work that a runtime does once, when it may
            for step in range(4):
                nodes.append(helper.make_node("Tanh", [name], [f"{name}t{step}"]))
                name = f"{name}t{step}"
        nodes.append(helper.make_node("MatMul", [value, name], [f"h{number}"]))
        value = f"h{number}"
    nodes.append(helper.make_node("Relu", [value], ["y"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])]
    inputs += [
        helper.make_tensor_value_info(one.name, TensorProto.FLOAT, list(one.dims))
        for one in initialisers
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])]
    graph = helper.make_graph(nodes, "old", inputs, outputs, initialisers)
    return helper.make_model(
        graph, ir_version=ir_version, opset_imports=[helper.make_opsetid("", 11)]
    )


def save(model, path):
    onnx.save(model, path)
    return path
