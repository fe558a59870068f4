from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hanse.core.artifacts.normalise import is_better, reason_against
from hanse.core.model.artifact import OutputParity, Parity
from hanse.core.model.running import ConversionRefused, Made
from tests.fakes.converting import (
    convert_here,
    facts_of,
    old_style_model,
    prepare_by_worker,
    refusal_of,
    run_onnx,
    save,
)

X = np.random.default_rng(5).normal(size=(3, 64)).astype(np.float32)


def small_model(nodes, initialisers=(), inputs=("x",), ir_version=8, **more):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in inputs]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    graph = helper.make_graph(nodes, "small", values, outputs, list(initialisers))
    more.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, ir_version=ir_version, **more)


def test_weights_among_the_inputs_become_constants_and_the_model_is_faster(tmp_path):
    source = save(old_style_model(ir_version=6), tmp_path / "old.onnx")
    before = source.read_bytes()
    prepared = prepare_by_worker(tmp_path / "scratch", source)
    assert prepared.kept
    assert prepared.notes == ("defaults_fixed",)
    assert prepared.parity.verdict == "pass"
    assert prepared.parity.origin == "drawn"
    assert prepared.figures["p50_after_ns"] < prepared.figures["p50_before_ns"]
    assert source.read_bytes() == before
    made = prepared.files["old.onnx"]
    model = onnx.load(made)
    assert [one.name for one in model.graph.input] == ["x"]
    assert model.ir_version == 6
    np.testing.assert_allclose(run_onnx(made, {"x": X}), run_onnx(source, {"x": X}), atol=1e-6)
    assert not (tmp_path / "scratch" / "stage").exists()


def test_a_model_of_ir_3_becomes_one_of_ir_4(tmp_path):
    source = save(old_style_model(), tmp_path / "old.onnx")
    made = convert_here(tmp_path / "here", "normalise_onnx", source)
    assert made["notes"][-2:] == ["initialisers_fixed", "ir_raised"]
    assert made["parity"]["verdict"] == "pass"
    if made["kept"]:  # as fast as before, but for the noise of the machine
        model = onnx.load(tmp_path / "here" / "out.onnx")
        assert (model.ir_version, len(model.graph.input)) == (4, 1)


def test_a_normal_model_is_left_alone(tmp_path):
    source = save(small_model([helper.make_node("Relu", ["x"], ["y"])]), tmp_path / "new.onnx")
    prepared = prepare_by_worker(tmp_path / "scratch", source)
    assert not prepared.kept
    assert prepared.files == {"new.onnx": source}
    assert prepared.notes == ("nothing_to_do",)
    assert prepared.parity is None
    assert prepared.made_from is None


def test_a_default_becomes_a_constant_and_is_named(tmp_path):
    bias = numpy_helper.from_array(np.ones((1, 4), np.float32), "b")
    model = small_model([helper.make_node("Add", ["x", "b"], ["y"])], [bias], ("x", "b"))
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 1
    made = convert_here(tmp_path, "normalise_onnx", save(model, tmp_path / "m.onnx"))
    assert "defaults_fixed" in made["notes"]


def test_equal_opset_rows_become_one(tmp_path):
    rows = [helper.make_opsetid("", 17), helper.make_opsetid("", 17)]
    model = small_model([helper.make_node("Relu", ["x"], ["y"])], opset_imports=rows)
    changed = convert_here(tmp_path, "normalise_onnx", save(model, tmp_path / "m.onnx"))
    assert changed["notes"][-1] == "opset_merged"
    if changed["kept"]:
        assert len(onnx.load(tmp_path / "out.onnx").opset_import) == 1


def test_rows_that_differ_are_refused(tmp_path):
    rows = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx", 13)]
    model = small_model([helper.make_node("Relu", ["x"], ["y"])], opset_imports=rows)
    assert refusal_of(tmp_path, "normalise_onnx", save(model, tmp_path / "m.onnx")) == (
        "opset_twice",
        "ai.onnx",
    )


def test_branches_and_functions_survive(tmp_path):
    branch = [
        helper.make_graph(
            [helper.make_node(operator, ["x"], [f"o{operator}"])],
            operator,
            [],
            [helper.make_tensor_value_info(f"o{operator}", TensorProto.FLOAT, ["n", 4])],
        )
        for operator in ("Relu", "Neg")
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Less", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["b"], then_branch=branch[0], else_branch=branch[1]),
        helper.make_node("Twice", ["b"], ["y"], domain="own"),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    twice = helper.make_function(
        "own", "Twice", ["a"], ["r"], [helper.make_node("Add", ["a", "a"], ["r"])], opsets[:1]
    )
    model = small_model(nodes, [zero], opset_imports=opsets, functions=[twice])
    model.graph.input.append(helper.make_tensor_value_info("zero", TensorProto.FLOAT, []))
    source = save(model, tmp_path / "m.onnx")
    made = convert_here(tmp_path, "normalise_onnx", source)
    assert made["notes"][0] == "defaults_fixed"
    assert made["parity"]["verdict"] == "pass"
    if made["kept"]:
        for sign in (1, -1):
            x = sign * np.abs(X[:, :4])
            np.testing.assert_array_equal(
                run_onnx(tmp_path / "out.onnx", {"x": x}), run_onnx(source, {"x": x})
            )


def test_weights_in_other_files_are_left_alone(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(
        old_style_model(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert convert_here(tmp_path / "here", "normalise_onnx", path)["notes"] == ["external_data"]
    facts = facts_of(path, external_files=("weights.bin",))
    prepared = prepare_by_worker(tmp_path / "scratch", path, facts=facts)
    assert prepared.notes == (reason_against(facts),) == ("external_data",)
    assert not prepared.kept
    assert not (tmp_path / "scratch").exists()


def test_external_data_inside_a_branch_is_seen(tmp_path):
    hidden = numpy_helper.from_array(np.ones((1, 4), np.float32), "hidden")
    onnx.external_data_helper.set_external_data(hidden, "elsewhere.bin")
    hidden.ClearField("raw_data")
    hidden.data_location = TensorProto.EXTERNAL
    out = [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["o"], value=hidden)], "inner", [], out
    )
    cond = numpy_helper.from_array(np.array(1, dtype=bool), "c")
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    source = save(small_model([node], [cond]), tmp_path / "m.onnx")
    assert convert_here(tmp_path / "here", "normalise_onnx", source)["notes"] == ["external_data"]


def test_samples_of_the_seller_are_used(tmp_path):
    source = save(old_style_model(), tmp_path / "m.onnx")
    made = convert_here(tmp_path / "here", "normalise_onnx", source, {"x": X})
    assert made["parity"]["origin"] == "seller"
    assert made["parity"]["inputs"] == 3


@pytest.mark.parametrize(
    "samples",
    [
        {"z": X},
        {"x": X[:, :5]},
        {"x": X.astype(object).astype(str)[0]},
        {"x": np.float32(1)},
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path, samples):
    source = save(old_style_model(), tmp_path / "m.onnx")
    word, _ = refusal_of(tmp_path / "here", "normalise_onnx", source, samples)
    assert word == "samples_unfit"


def test_noise_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\xff" * 50)
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path / "scratch", path)
    assert refusal.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("change", "better"),
    [
        ({}, True),
        ({"kept": False}, False),
        ({"files": ()}, False),
        ({"figures": {}}, False),
        ({"figures": {"p50_before_ns": 100, "p50_after_ns": 120}}, False),
        ({"figures": {"p50_before_ns": 100, "p50_after_ns": 0}}, False),
        ({"verdict": "fail"}, False),
    ],
)
def test_what_a_worker_claims_is_judged_again(change, better):
    output = OutputParity(name="y", max_abs_nano=0, max_rel_nano=0, labels_equal=0, labels=0)
    parity = Parity(
        source_format="onnx",
        tools={},
        inputs=4,
        origin="drawn",
        outputs=(output,),
        rtol_nano=1,
        atol_nano=1,
        verdict=change.get("verdict", "pass"),
    )
    made = Made(
        files=change.get("files", ("m.onnx",)),
        parity=parity,
        kept=change.get("kept", True),
        notes=(),
        figures=change.get("figures", {"p50_before_ns": 100, "p50_after_ns": 102}),
    )
    assert is_better(made) is better
