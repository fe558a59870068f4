"""The file wins over what was typed, words in it are suggestions, and the seller is told both."""

from __future__ import annotations

import json

import pytest

from hanse.core.market.listings import apply_facts, suggest_task
from hanse.core.model.artifact import ModelFacts, Parity, TensorFacts
from hanse.core.model.card import Architecture, ModelCard, Recipe, Signature, Tensor, Variant
from hanse.core.model.listing import Draft
from tests.fakes.drafts import VOCABULARY, said


def tensor(name, *shape, dtype="float32"):
    return TensorFacts(name=name, dtype=dtype, shape=shape)


def onnx(**values):
    facts = {
        "format": "onnx",
        "file": "model.onnx",
        "inputs": (tensor("X", "batch", 30),),
        "outputs": (tensor("label", "batch", dtype="int64"), tensor("probabilities", "batch", 2)),
        "producer": "skl2onnx 1.20.0",
        "opset": {"ai.onnx": 18, "ai.onnx.ml": 1},
        "parameters": 62,
        **values,
    }
    return ModelFacts(**facts)


def test_the_file_fills_signature_variants_parameters_and_formats():
    draft, told = apply_facts(Draft(), onnx(quantisation="int8"))
    assert draft.formats == ("onnx",)
    assert draft.card.variants == (
        Variant(
            file="model.onnx", format="onnx", framework="sklearn", opset=18, quantisation="int8"
        ),
    )
    assert [one.name for one in draft.card.signature.outputs] == ["label", "probabilities"]
    assert draft.card.signature.inputs[0].shape == ("batch", 30)
    assert draft.card.architecture.parameters == 62
    assert not [one for one in told if one.code == "facts.overwritten"]


def test_a_typed_value_the_file_contradicts_is_overwritten_and_told():
    card = ModelCard(
        variants=(Variant(file="other.onnx", format="onnx"),),
        architecture=Architecture(parameters=1_000_000, family="CNN"),
        signature=Signature(
            inputs=(Tensor(name="X", dtype="float64", shape=("n", 30), semantics="cells"),)
        ),
    )
    draft, told = apply_facts(Draft(card=card), onnx(architecture="llama"))
    overwritten = {one.field: one.values for one in told if one.code == "facts.overwritten"}
    assert set(overwritten) == {
        "card.variants",
        "card.architecture.parameters",
        "card.architecture.family",
        "card.signature.inputs",
    }
    assert overwritten["card.architecture.parameters"]["typed"] == 1_000_000
    assert overwritten["card.signature.inputs"]["found"] == "X float32[batch, 30]"
    (kept,) = draft.card.signature.inputs
    assert (kept.dtype, kept.semantics) == ("float32", "cells")
    assert all(one.is_warning for one in told)
    assert all(said(told))


def test_the_same_facts_twice_tell_nothing_new():
    draft, _ = apply_facts(Draft(title="A form"), onnx(), vocabulary=VOCABULARY)
    again, told = apply_facts(draft, onnx(), vocabulary=VOCABULARY)
    assert (again, told) == (draft, ())


def test_weights_without_a_graph_leave_a_typed_signature_alone():
    typed = Signature(inputs=(Tensor(name="x", dtype="float32"),))
    facts = ModelFacts(format="safetensors", file="w.safetensors", parameters=7)
    draft, _ = apply_facts(Draft(card=ModelCard(signature=typed)), facts)
    assert draft.card.signature == typed


def test_of_several_files_all_are_variants_and_the_first_gives_the_signature():
    other = onnx(file="small.onnx", inputs=(tensor("Y", 1),))
    draft, _ = apply_facts(Draft(), (onnx(), other))
    assert [one.file for one in draft.card.variants] == ["model.onnx", "small.onnx"]
    assert draft.card.signature.inputs[0].name == "X"
    assert draft.formats == ("onnx",)


def test_a_converted_model_comes_from_the_framework_of_its_source():
    parity = Parity(
        source_format="keras_h5",
        tools={},
        inputs=0,
        origin="none",
        outputs=(),
        rtol_nano=1,
        atol_nano=1,
        verdict="not_shown",
    )
    draft, _ = apply_facts(Draft(parity=parity), onnx(producer="hanse"))
    assert draft.card.variants[0].framework == "keras"


def test_words_in_the_file_fill_what_is_empty_and_are_marked():
    words = {"title": "Digit reader", "summary": "Reads digits.", "labels": '["zero", "one"]'}
    draft, told = apply_facts(Draft(), onnx(suggested=words))
    assert (draft.title, draft.summary) == ("Digit reader", "Reads digits.")
    assert draft.card.recipe.labels == ("zero", "one")
    assert {"title", "summary", "card.recipe.labels"} <= set(draft.guessed)
    assert {one.code for one in told} == {"facts.suggested"}
    assert all(said(told))


def test_words_in_the_file_do_not_replace_what_was_typed():
    typed = Draft(title="Mine", card=ModelCard(recipe=Recipe(labels=("a",))))
    draft, _ = apply_facts(typed, onnx(suggested={"title": "Theirs", "labels": "b,c"}))
    assert (draft.title, draft.card.recipe.labels) == ("Mine", ("a",))


@pytest.mark.parametrize("title", ["x" * 121, "a\x1b[31mb", " ", "a\nb"])
def test_a_title_that_would_not_fit_is_not_suggested(title):
    assert apply_facts(Draft(), onnx(suggested={"title": title}))[0].title == ""


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('["a", "b"]', ("a", "b")),
        ('{"1": "b", "0": "a", "10": "c"}', ("a", "b", "c")),
        ("{0: 'person', 1: 'traffic light'}", ("person", "traffic light")),
        ("a\nb\n", ("a", "b")),
        ("a, b", ("a", "b")),
        ("[1, 2]", ("1", "2")),
        ("猫,狗", ("猫", "狗")),
        ('["a", {"b": 1}]', ()),
        ('{"a": "x"}', ()),
        ("[" * 5000, ()),
        ("{1: 'a'}", ()),
        ('["a", ""]', ()),
        ("", ()),
    ],
)
def test_labels_are_read_as_files_hold_them_and_never_evaluated(text, labels):
    draft, _ = apply_facts(Draft(), onnx(suggested={"labels": text}))
    assert draft.card.recipe.labels == labels


def test_more_labels_than_a_card_holds_are_left_out():
    text = json.dumps([str(number) for number in range(10_001)])
    assert apply_facts(Draft(), onnx(suggested={"labels": text}))[0].card.recipe.labels == ()


@pytest.mark.parametrize(
    ("facts", "task"),
    [
        (onnx(), "tabular-classification"),
        (onnx(outputs=(tensor("variable", "n", 1),)), "tabular-regression"),
        (
            onnx(inputs=(tensor("image", 1, 3, 224, 224),), outputs=(tensor("y", 1, 1000),)),
            "image-classification",
        ),
        (
            onnx(inputs=(tensor("image", 1, 224, 224, 3),), outputs=(tensor("y", 1, 10),)),
            "image-classification",
        ),
        (ModelFacts(format="gguf", file="m.gguf", context=4096), "text-generation"),
        (onnx(suggested={"task": "object-detection"}), "object-detection"),
        (onnx(outputs=(tensor("y", "n", 7),)), ""),
        (onnx(inputs=(tensor("a", 1), tensor("b", 1))), ""),
        (ModelFacts(format="safetensors", file="w.safetensors"), ""),
    ],
)
def test_a_task_is_guessed_from_shapes_only_where_they_are_plain(facts, task):
    draft, told = apply_facts(Draft(), facts, vocabulary=VOCABULARY)
    assert draft.task == task
    assert ("task" in draft.guessed) == bool(task)
    assert all(said(told)) or not told


def test_a_task_named_in_the_title_comes_before_the_shapes():
    draft, _ = apply_facts(Draft(title="图像识别模型"), onnx(), vocabulary=VOCABULARY)
    assert draft.task == "image-classification"


def test_two_tasks_in_one_sentence_point_nowhere():
    text = "translation or summarization"
    assert suggest_task(Draft(title=text), VOCABULARY) == ""


def test_a_typed_task_is_left_alone():
    draft, _ = apply_facts(Draft(task="other"), onnx(), vocabulary=VOCABULARY)
    assert draft.task == "other"


def test_what_a_draft_keeps_of_facts_is_bounded():
    facts = onnx(
        metadata={str(n): "x" * 16_000 for n in range(1000)},
        suggested={str(n): "x" * 16_000 for n in range(1000)},
    )
    (kept,) = apply_facts(Draft(), facts)[0].facts
    assert len(kept.metadata) == len(kept.suggested) == 32
    assert max(map(len, kept.metadata.values())) == 200
