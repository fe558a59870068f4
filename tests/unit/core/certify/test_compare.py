"""What counts as the same output, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.certify.compare import (
    FULL,
    HALF,
    QUANTISED,
    Tolerance,
    agree,
    agree_outputs,
    has_odd_numbers,
    is_quantised,
    tolerance_of,
    widest,
)
from hanse.core.model.artifact import ModelFacts


def f32(*values):
    return np.array(values, dtype=np.float32)


def facts(*operators, quantisation=""):
    return ModelFacts(
        format="onnx",
        file="model.onnx",
        operators=dict.fromkeys(operators, 1),
        quantisation=quantisation,
    )


def full(ref, got):
    return agree(ref, got, FULL.rtol_nano, FULL.atol_nano)


def test_equal_bytes_are_bitwise_the_same():
    found = full(f32(1, np.nan, np.inf), f32(1, np.nan, np.inf))
    assert (found.agrees, found.is_bitwise, found.sameness) == (True, True, "bitwise")


def test_the_tolerance_is_relative_to_the_largest_of_the_tensor():
    ref = f32(1000, 0.001)
    assert full(ref, f32(1000, 0.1)).sameness == "tolerance"  # 0.1 + 1e-5 are allowed everywhere
    assert full(ref, f32(1000, 0.102)).difference == "value"


def test_the_distance_is_said_in_billionths():
    assert full(f32(1, 2), f32(1, 2.5)).max_abs_nano == 500_000_000
    huge = np.array([1e300])
    assert full(huge, -huge).max_abs_nano == 2**53 - 1


@pytest.mark.parametrize(
    ("ref", "got", "difference"),
    [
        (f32(1), np.array([1.0]), "type"),
        (f32(1), np.array([1]), "type"),
        (f32(1, 2), f32(1), "shape"),
        (f32(1, 2), f32(1, 2).reshape(2, 1), "shape"),
        (f32(1, np.nan), f32(1, 2), "not_finite"),
        (f32(1, 2), f32(np.nan, 2), "not_finite"),
        (f32(np.inf), f32(-np.inf), "not_finite"),
        (f32(np.inf), f32(np.nan), "not_finite"),
        (np.array([1, 2]), np.array([1, 3]), "value"),
        (np.array([True]), np.array([False]), "value"),
        (np.array(["a"]), np.array(["b"]), "value"),
    ],
)
def test_a_difference_has_its_word(ref, got, difference):
    found = full(ref, got)
    assert (found.difference, found.sameness) == (difference, "differs")


def test_texts_of_other_widths_are_equal():
    assert full(np.array(["a", "bc"], dtype="U2"), np.array(["a", "bc"], dtype="U9")).agrees


@pytest.mark.parametrize("shape", [(0,), (0, 3), ()])
def test_empty_and_scalar_tensors_compare(shape):
    assert full(np.zeros(shape, np.float32), np.zeros(shape, np.float32) * -1).agrees


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), st.integers(0, 19))
def test_no_element_may_leave_the_tolerance(values, place):
    ref = np.array(values, dtype=np.float64)
    most = np.abs(ref).max() * 1e-4 + 1e-5
    inside, outside = ref.copy(), ref.copy()
    inside[place % len(ref)] += 0.99 * most
    outside[place % len(ref)] += 1.01 * most
    assert full(ref, inside).agrees
    assert not full(ref, outside).agrees


def test_tolerance_follows_type_and_graph():
    assert tolerance_of("float32") == tolerance_of("float64") == FULL
    assert tolerance_of("float16") == HALF
    assert tolerance_of("float32", facts("Conv", quantisation="bfloat16")) == HALF
    assert tolerance_of("float32", facts("com.microsoft::QLinearAdd")) == QUANTISED
    assert tolerance_of("int64", facts("QuantizeLinear")) == Tolerance(0, 0)
    assert tolerance_of("string") == tolerance_of("bool") == Tolerance(0, 0)


@pytest.mark.parametrize(
    ("operator", "quantised"),
    [
        ("DequantizeLinear", True),
        ("DynamicQuantizeLinear", True),
        ("MatMulInteger", True),
        ("com.microsoft::MatMulNBits", True),
        ("com.microsoft::QAttention", True),
        ("Conv", False),
        ("Squeeze", False),
        ("Sqrt", False),
    ],
)
def test_quantised_operators_are_known_by_name(operator, quantised):
    assert is_quantised(facts(operator)) is quantised


def test_a_declared_tolerance_is_never_wider():
    assert FULL.tightened(Tolerance(1, 10**9)) == Tolerance(1, FULL.atol_nano)
    assert FULL.tightened(None) == FULL
    assert widest({"a": FULL, "b": Tolerance(0, 10**9)}) == Tolerance(FULL.rtol_nano, 10**9)


def test_a_declared_tolerance_is_held():
    ref, got = {"y": f32(1)}, {"y": f32(1.00005)}
    assert agree_outputs(ref, got).agrees
    assert not agree_outputs(ref, got, declared=Tolerance(1000, 1000)).agrees


def test_every_output_must_be_there_and_no_other():
    assert agree_outputs({"y": f32(1)}, {}).difference == "missing"
    found = agree_outputs({"y": f32(1)}, {"y": f32(1), "z": f32(1)})
    assert (found.difference, found.tensor) == ("missing", "z")


def test_the_first_tensor_that_differs_is_named():
    found = agree_outputs({"a": f32(1), "b": f32(1)}, {"a": f32(1), "b": f32(2)})
    assert (found.difference, found.tensor) == ("value", "b")


def test_a_label_may_differ_only_where_its_scores_nearly_tie():
    near = {"label": np.array([0]), "scores": f32(0.50002, 0.49998).reshape(1, 2)}
    flipped = {"label": np.array([1]), "scores": f32(0.49998, 0.50002).reshape(1, 2)}
    assert agree_outputs(near, flipped).sameness == "tolerance"
    far = {"label": np.array([0]), "scores": f32(0.6, 0.4).reshape(1, 2)}
    assert agree_outputs(far, {**far, "label": np.array([1])}).tensor == "label"


def test_a_label_that_is_not_the_highest_score_must_be_equal():
    ref = {"label": np.array([1]), "scores": f32(0.50002, 0.49998).reshape(1, 2)}
    assert not agree_outputs(ref, {**ref, "label": np.array([0])}).agrees


@pytest.mark.parametrize("label", [-1, 2, 9])
def test_a_label_outside_the_scores_must_be_equal(label):
    ref = {"label": np.array([0]), "scores": f32(0.5, 0.5).reshape(1, 2)}
    assert not agree_outputs(ref, {**ref, "label": np.array([label])}).agrees


def test_near_ties_do_not_excuse_scores_that_differ():
    ref = {"label": np.array([0]), "scores": f32(0.50002, 0.49998).reshape(1, 2)}
    got = {"label": np.array([1]), "scores": f32(0.3, 0.7).reshape(1, 2)}
    assert agree_outputs(ref, got).tensor == "scores"


def test_neighbours_among_the_best_may_change_places_when_they_tie():
    scores = f32(0.9, 0.50001, 0.5, 0.1).reshape(1, 4)
    ref = {"items": np.array([[7, 3, 5, 1]]), "scores": scores}
    assert agree_outputs(ref, {**ref, "items": np.array([[7, 5, 3, 1]])}).agrees
    assert not agree_outputs(ref, {**ref, "items": np.array([[3, 7, 5, 1]])}).agrees
    assert not agree_outputs(ref, {**ref, "items": np.array([[7, 8, 5, 1]])}).agrees


def test_the_last_of_the_best_may_be_one_that_was_just_left_out():
    ref = {"items": np.array([[7, 3]]), "scores": f32(0.9, 0.5).reshape(1, 2)}
    assert agree_outputs(ref, {**ref, "items": np.array([[7, 4]])}).agrees


def test_values_that_are_no_finite_numbers_are_found():
    assert has_odd_numbers({"a": f32(1), "b": f32(np.inf)}) == "b"
    assert has_odd_numbers({"a": f32(1), "b": np.array([1]), "c": np.array(["x"])}) == ""
