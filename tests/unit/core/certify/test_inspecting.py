"""Facts of real models, against those who made them and, for TFLite, against a runtime."""

from __future__ import annotations

import json
import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hanse.core.artifacts.formats import FormatRefused, recognise
from hanse.core.certify.adapters import onnx_graph
from hanse.core.certify.adapters.onnx_graph import QUANTISER_OPERATORS
from hanse.core.certify.adapters.refusal import Unfit, Words, counted, text
from hanse.core.certify.adapters.tflite_operators import OPERATORS
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.inspecting import inspect_files, inspect_limits
from hanse.core.limits import FACT_VALUES_MAX, FACTS_CHARACTERS_MAX
from hanse.core.model.control import Control
from hanse.core.model.running import Stage
from tests.hostile.header_models import (
    gguf,
    gguf_array,
    gguf_number,
    gguf_tensor,
    gguf_text,
    gguf_word,
    row,
    safetensors,
)
from tests.hostile.onnx_models import (
    external,
    nested_ifs,
    onnx_bytes,
    onnx_model,
    put_data,
)
from tests.hostile.tflite_models import tflite

REAL = os.environ.get("HANSE_TEST_MODELS", "")


@pytest.fixture(scope="module")
def _shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage")
    worker = WorkerClient().start(Stage(folder), inspect_limits(0), "inspect")
    yield folder, worker
    worker.close()


@pytest.fixture
def facts_of(_shared, tmp_path):
    """Read the facts of one file, in a Worker that serves the whole module."""

    def run(name: str, raw: bytes):
        folder, worker = _shared
        own = folder / tmp_path.name
        own.mkdir(exist_ok=True)
        (own / name).write_bytes(raw)
        file = f"{tmp_path.name}/{name}"
        return worker.inspect(file, recognise(own / name), Control())

    return run


@pytest.fixture
def look(tmp_path):
    """Put files into a folder that stands for the content store, and inspect them as one."""
    store, scratch = tmp_path / "store", tmp_path / "scratch"
    store.mkdir()
    scratch.mkdir()

    def run(**files: bytes):
        held = {}
        for number, (name, raw) in enumerate(files.items()):
            path = store / f"{number:064x}.{len(raw)}"
            path.write_bytes(raw)
            held[name] = path
        found = inspect_files(WorkerClient(), held, scratch, Control())
        assert list(scratch.iterdir()) == []
        return found

    return run


def of_sklearn(name):
    datasets = pytest.importorskip("sklearn.datasets")
    linear = pytest.importorskip("sklearn.linear_model")
    skl2onnx = pytest.importorskip("skl2onnx")
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    model = linear.LogisticRegression(max_iter=20, tol=1.0).fit(x / x.max(), y)
    sample = x[:1].astype(np.float32)
    made = skl2onnx.to_onnx(model, sample, options={"zipmap": False}, target_opset=18)
    return made, x.shape[1], sorted(set(y.tolist()))


@pytest.mark.parametrize("name", ["iris", "digits", "breast_cancer"])
def test_a_classifier_of_scikit_learn_has_its_columns_and_labels(name, facts_of):
    made, columns, labels = of_sklearn(name)
    facts = facts_of("m.onnx", made.SerializeToString())
    assert facts.format == "onnx"
    assert facts.inputs[0].shape == (None, columns)
    assert facts.inputs[0].dtype == "float32"
    assert [one.name for one in facts.outputs] == [one.name for one in made.graph.output]
    assert facts.opset["ai.onnx.ml"] >= 1
    assert facts.nodes == len(made.graph.node)
    assert json.loads(facts.suggested["labels"]) == [str(one) for one in labels]
    assert facts.producer.startswith("skl2onnx")


def test_a_network_has_its_symbols_counts_and_words(facts_of):
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    bias = numpy_helper.from_array(np.ones(3, np.float32), "b")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Add", ["h", "b"], ["y"]),
        ],
        "leaf counter",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [weight, bias],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="me", ir_version=10
    )
    helper.set_model_props(model, {"license": "MIT", "labels": '["a", "b", "c"]', "odd": "\x1b[2J"})
    facts = facts_of("m.onnx", model.SerializeToString())
    assert facts.inputs[0].shape == ("batch", 4)
    assert facts.parameters == 15
    assert facts.dtypes == {"float32": 15}
    assert facts.tensors == 2
    assert facts.operators == {"MatMul": 1, "Add": 1}
    assert facts.graph_name == "leaf counter"
    assert facts.suggested["title"] == "leaf counter"
    assert facts.suggested["licence"] == "MIT"
    assert facts.suggested["labels"] == '["a", "b", "c"]'
    assert "\x1b" not in facts.metadata["odd"]
    assert facts.quantisation == ""


def test_a_quantised_network_is_named_as_one(facts_of):
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    zero = numpy_helper.from_array(np.array(0, np.uint8), "z")
    rows = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node(
            "QLinearAdd", ["q", "s", "z", "q", "s", "z", "s", "z"], ["r"], domain="com.microsoft"
        ),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    raw = onnx_bytes(nodes=nodes, initializers=[scale, zero], rows=rows)
    facts = facts_of("m.onnx", raw)
    assert facts.quantisation == "int8"
    assert facts.operators["com.microsoft::QLinearAdd"] == 1


def test_weights_beside_the_graph_are_found_although_the_store_has_two_names(look, tmp_path):
    path = tmp_path / "m.onnx"
    external("w.data", put_data)(path)
    found = look(
        **{
            "m.onnx": path.read_bytes(),
            "w.data": (tmp_path / "w.data").read_bytes(),
            "README.md": b"# words\n",
        }
    )
    (facts,) = found.facts
    assert facts.external_files == ("w.data",)
    assert facts.parameters == 4
    assert found.others == ("README.md", "w.data")


def test_several_model_files_are_variants_and_the_rest_lies_beside(look):
    found = look(
        **{
            "a/m.onnx": onnx_bytes(),
            "m.safetensors": safetensors({"a": row(0, 16)}, bytes(16)),
            "labels.txt": b"cat\ndog\n",
            "samples.npy": array(np.zeros((2, 3))),
        }
    )
    assert [(one.file, one.format) for one in found.facts] == [
        ("a/m.onnx", "onnx"),
        ("m.safetensors", "safetensors"),
    ]
    assert set(found.others) == {"labels.txt", "samples.npy"}


def test_no_model_at_all_needs_no_worker(look):
    found = look(**{"a.txt": b"a\n", "b.txt": b"b\n"})
    assert (found.facts, found.others) == ((), ("a.txt", "b.txt"))


def test_the_first_file_that_breaks_a_rule_is_named(look):
    with pytest.raises(FormatRefused, match=r"b/m\.onnx refused, opset_newer"):
        look(**{"a/m.onnx": onnx_bytes(), "b/m.onnx": onnx_bytes(opset=99)})


def test_weights_of_the_library_are_read_as_it_wrote_them(facts_of):
    save = pytest.importorskip("safetensors.numpy").save
    tensors = {"w": np.ones((3, 5), np.float16), "b": np.ones(5, np.float32)}
    raw = save(tensors, metadata={"modelspec.title": "Leaves", "license": "apache-2.0"})
    facts = facts_of("m.safetensors", raw)
    assert (facts.tensors, facts.parameters) == (2, 20)
    assert facts.dtypes == {"float16": 15, "float32": 5}
    assert facts.quantisation == "float16"
    assert facts.suggested == {"title": "Leaves", "licence": "apache-2.0"}


def test_a_language_model_tells_its_architecture_context_and_lineage(facts_of):
    words = [gguf_text(one) for one in ("a", "b", "c")]
    rows = (
        gguf_word("general.architecture", "llama"),
        gguf_word("general.name", "Small"),
        gguf_word("general.license", "mit"),
        gguf_number("general.file_type", 15),
        gguf_number("llama.context_length", 8192),
        gguf_number("general.base_model.count", 1),
        gguf_word("general.base_model.0.name", "Base"),
        gguf_word("general.base_model.0.organization", "Somebody"),
        gguf_word("tokenizer.chat_template", "{{ messages }}"),
        gguf_array("tokenizer.ggml.tokens", 8, 3, b"".join(words)),
    )
    infos = (gguf_tensor("t", [256, 2], 12, 0), gguf_tensor("u", [8], 0, 288))
    facts = facts_of("m.gguf", gguf(rows, infos, bytes(288 + 32)))
    assert (facts.architecture, facts.context, facts.quantisation) == ("llama", 8192, "Q4_K_M")
    assert facts.dtypes == {"Q4_K": 512, "F32": 8}
    assert facts.parameters == 520
    assert facts.suggested["base_model"] == "Somebody/Base"
    assert facts.suggested["title"] == "Small"
    assert facts.metadata["vocabulary"] == "3"
    assert facts.warnings == ("template_is_code",)


def test_a_phone_model_is_read_as_its_runtime_reads_it(facts_of):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    raw = tflite()
    facts = facts_of("m.tflite", raw)
    runtime = interpreter.Interpreter(model_content=raw, num_threads=1)
    for ours, theirs in (
        (facts.inputs, runtime.get_input_details()),
        (facts.outputs, runtime.get_output_details()),
    ):
        assert [one.name for one in ours] == [one["name"] for one in theirs]
        assert [one.shape for one in ours] == [tuple(one["shape"]) for one in theirs]
        assert [one.dtype for one in ours] == [np.dtype(one["dtype"]).name for one in theirs]
    assert facts.operators == {"ADD": 1}
    assert facts.parameters == 4


def test_operators_of_phone_models_have_the_numbers_of_the_schema():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    named = {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if isinstance(number, int)
    }
    assert dict(enumerate(OPERATORS)) == {number: named[number] for number in range(len(OPERATORS))}


def test_an_estimator_file_lists_the_types_it_asks_for(facts_of):
    skops = pytest.importorskip("skops.io")
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    facts = facts_of("m.skops", skops.dumps(model))
    assert facts.format == "skops"
    assert "sklearn.linear_model._logistic.LogisticRegression" in facts.metadata["types"]
    assert facts.architecture == "LogisticRegression"
    assert facts.warnings == ("never_loaded",)


def test_arrays_are_data_with_a_shape(facts_of):
    facts = facts_of("m.npy", array(np.zeros((2, 3), np.int8)))
    assert (facts.format, facts.outputs[0].shape, facts.warnings) == ("npy", (2, 3), ())
    facts = facts_of("m.npz", arrays(a=np.zeros(4), b=np.zeros((1, 2))))
    assert (facts.format, facts.tensors, facts.warnings) == ("npz", 2, ())
    facts = facts_of("m.npy", array(np.array([{}])))
    assert facts.warnings == ("objects",)


def array(value: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, value, allow_pickle=True)
    return stream.getvalue()


def arrays(**values: np.ndarray) -> bytes:
    stream = BytesIO()
    np.savez_compressed(stream, **values)
    assert zipfile.is_zipfile(stream)
    return stream.getvalue()


@pytest.mark.skipif(not REAL, reason="HANSE_TEST_MODELS names no folder of real models")
@pytest.mark.parametrize(
    ("file", "inputs", "opset"),
    [
        ("mnist.onnx", {"Input3": (1, 1, 28, 28)}, 8),
        (
            "silero_vad_16k_op15.onnx",
            {"input": ("batch", "sequence"), "state": (2, "batch", 128), "sr": ()},
            15,
        ),
    ],
)
def test_models_nobody_here_wrote_have_the_signature_their_authors_say(
    file, inputs, opset, facts_of
):
    path = Path(REAL, file)
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    facts = facts_of(file, path.read_bytes())
    assert {one.name: one.shape for one in facts.inputs} == inputs
    assert facts.opset == {"ai.onnx": opset}
    assert ("initializers_as_inputs" in facts.warnings) == (file == "mnist.onnx")


# --- what needs no Worker -------------------------------------------------------------------------


def test_limits_grow_with_the_file_and_end_at_the_machine():
    small, large = inspect_limits(0), inspect_limits(2**40)
    assert small.memory_bytes <= large.memory_bytes
    assert small.wall_seconds == 60
    assert large.wall_seconds > 10_000
    assert small.write_bytes == large.write_bytes == 0


def test_nesting_has_a_bound_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_graph, "ONNX_NESTING_MAX", 3)
    model = onnx.ModelProto.FromString(nested_ifs(4))
    with pytest.raises(Unfit, match="nesting"):
        onnx_graph.walk(model, tmp_path)


@pytest.mark.parametrize(
    ("bound", "rule"),
    [("ONNX_INITIALIZERS_MAX", "initializers"), ("ONNX_FUNCTIONS_MAX", "functions")],
)
def test_counts_of_a_graph_are_bounded(bound, rule, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_graph, bound, 0)
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    identity = helper.make_node("Identity", ["a"], ["b"])
    function = helper.make_function(
        "own", "f", ["a"], ["b"], [identity], [helper.make_opsetid("", 18)]
    )
    model = onnx_model(initializers=[weight], functions=[function])
    with pytest.raises(Unfit, match=rule):
        onnx_graph.walk(model, tmp_path)


@pytest.mark.parametrize("operator", sorted(QUANTISER_OPERATORS))
def test_operators_of_the_quantiser_pass(operator, tmp_path):
    node = helper.make_node(operator, ["x"], ["y"], domain="com.microsoft")
    assert onnx_graph.walk(onnx_model(nodes=[node]), tmp_path).nodes == 1


def test_words_of_a_file_have_one_budget():
    words = Words()
    for number in range(FACT_VALUES_MAX + 10):
        words.say(f"k{number}", "x" * 20_000)
    assert sum(map(len, (*words.metadata, *words.metadata.values()))) <= FACTS_CHARACTERS_MAX
    assert len(counted({str(number): 1 for number in range(5000)})) == FACT_VALUES_MAX
    assert text("a\x00\x1b\N{RIGHT-TO-LEFT OVERRIDE}\nb") == "a\N{REPLACEMENT CHARACTER}" + (
        "\N{REPLACEMENT CHARACTER}" * 2 + "\nb"
    )
