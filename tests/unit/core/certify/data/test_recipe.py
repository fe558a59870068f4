"""Steps before the model, one by one, and what they may not do."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hanse.core.certify.data import recipe
from hanse.core.certify.data.faults import RecipeRefused, WrongShape
from hanse.core.certify.data.recipe import applied
from tests.fakes.data_sets import port, step

ROWS = np.array([[1.0, 2.0], [3.0, 5.0]])


def made(steps, rows, *shape, dtype="float32"):
    return applied(steps, port("x", None, *shape, dtype=dtype), np.asarray(rows))


def test_numbers_are_scaled_normalised_and_cast_in_order():
    steps = (step("scale", 2, 1), step("normalise", 3, 5, 2, 4), step("cast", words=("float64",)))
    assert made(steps, ROWS, 2).tolist() == [[0, 0], [2, 1.5]]
    assert made(steps, ROWS, 2).dtype == np.float32
    assert made((step("normalise", 1, 2),), ROWS, 2).tolist() == [[0, 0.5], [1, 2]]


def test_a_step_for_another_input_changes_nothing():
    assert made((step("scale", 2, 0, tensor="other"),), ROWS, 2).tolist() == ROWS.tolist()


def test_channels_are_normalised_whether_first_or_last():
    picture = np.ones((1, 2, 2, 3))
    steps = (step("normalise", 1, 0, 0.5, 1, 1, 0.5),)
    assert made(steps, picture, 2, 2, 3)[0, 0, 0].tolist() == [0, 1, 1]
    first = made((step("layout", words=("HWC>CHW",)), *steps), picture, 3, 2, 2)
    assert first[0, :, 0, 0].tolist() == [0, 1, 1]


def test_layout_moves_adds_and_takes_out_dimensions():
    rows = np.arange(12).reshape(1, 2, 2, 3)
    moved = made((step("layout", words=("HWC>CHW",)),), rows, 3, 2, 2)
    assert moved.tolist() == rows.transpose(0, 3, 1, 2).tolist()
    assert made((step("layout", words=("HW>CHW",)),), rows[..., 0], 1, 2, 2).shape == (1, 1, 2, 2)
    assert made((step("layout", words=("HWC>WH",)),), rows[..., :1], 2, 2).shape == (1, 2, 2)


@pytest.mark.parametrize(("old", "new"), [((8, 8), (28, 20)), ((28, 20), (8, 8)), ((9, 5), (9, 7))])
def test_a_picture_is_scaled_as_pillow_does_it(old, new):
    pictures = np.random.default_rng(3).uniform(0, 255, (2, *old)).astype(np.float32)
    found = made((step("resize", *new),), pictures, *new)
    for got, picture in zip(found, pictures, strict=True):
        want = Image.fromarray(picture).resize(new[::-1], Image.Resampling.BILINEAR)
        assert np.abs(got - np.asarray(want)).max() < 1e-3


def test_a_picture_with_channels_is_scaled_channel_by_channel():
    pictures = np.random.default_rng(3).uniform(0, 9, (2, 5, 5, 3)).astype(np.float32)
    last = made((step("resize", 6, 6),), pictures, 6, 6, 3)
    first = made((step("resize", 6, 6),), pictures.transpose(0, 3, 1, 2), 3, 6, 6)
    assert np.array_equal(first, last.transpose(0, 3, 1, 2))
    alone = made((step("resize", 6, 6),), pictures[..., 1], 6, 6)
    assert np.allclose(last[..., 1], alone)


def test_rows_are_filled_at_their_end_and_pictures_all_around():
    assert made((step("pad", 4, 9),), ROWS, 4).tolist() == [[1, 2, 9, 9], [3, 5, 9, 9]]
    picture = np.ones((1, 2, 2))
    found = made((step("pad", 4, 5, 0),), picture, 4, 5)
    assert found[0].sum(axis=0).tolist() == [0, 2, 2, 0, 0]
    assert found[0].sum(axis=1).tolist() == [0, 2, 2, 0]


def test_ones_come_and_go_and_a_flat_row_is_folded():
    assert made((), np.zeros((5, 8, 8)), 1, 8, 8).shape == (5, 1, 8, 8)
    assert made((), np.zeros((5, 8, 8)), 8, 8, 1).shape == (5, 8, 8, 1)
    assert made((), np.zeros((5, 1, 8, 8)), "h", "w").shape == (5, 8, 8)
    assert made((), np.zeros((5, 64)), 1, 8, 8).shape == (5, 1, 8, 8)
    assert made((), np.zeros((5, 1))).shape == (5,)
    assert made((), np.zeros(5), 1).shape == (5, 1)


@pytest.mark.parametrize("shape", [(3,), (2, 2), ("a", "b", 3)])
def test_what_does_not_fit_is_refused(shape):
    with pytest.raises(WrongShape):
        made((), ROWS, *shape)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(0.5, "int64"), (300, "uint8"), (-1, "uint8"), (np.nan, "int8"), (2, "bool")],
)
def test_a_number_that_would_change_in_the_cast_is_refused(value, dtype):
    with pytest.raises(WrongShape):
        made((), [[1.0], [value]], 1, dtype=dtype)


def test_text_and_numbers_are_not_taken_for_each_other():
    for rows, dtype in ((np.array(["a"]), "float32"), (np.array([1.0]), "string")):
        with pytest.raises(WrongShape):
            made((), rows, dtype=dtype)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (step("scale", 1), "counts"),
        (step("normalise", 1, 0), "counts"),
        (step("normalise", 1, 2, 3), "counts"),
        (step("normalise", 1, 2, 3, 1, 1, 1), "channels"),
        (step("resize", 2, 2), "no_picture"),
        (step("resize", 0, 2), "size"),
        (step("layout", words=("HWC>CHW",)), "layout"),
        (step("layout", words=("W>",)), "layout"),
        (step("pad", 1, 0), "too_long"),
        (step("pad"), "counts"),
        (step("cast", words=("object",)), "type"),
        (step("softmax"), "not_before"),
    ],
)
def test_a_step_that_cannot_be_done_is_refused_with_its_number(bad, reason):
    with pytest.raises(RecipeRefused) as fault:
        made((step("scale", 1, 0), bad), ROWS, 2)
    assert fault.value.values["number"] == 2
    assert fault.value.values["reason"] == reason


@pytest.mark.parametrize("bad", [step("resize", 100_000, 100_000), step("pad", 2**40, 2**40, 0)])
def test_a_step_that_would_fill_the_memory_is_refused(bad):
    with pytest.raises(RecipeRefused) as fault:
        made((bad,), np.zeros((9, 4, 4)), 4, 4)
    assert fault.value.values["reason"] == "too_large"


def test_steps_of_columns_are_those_of_the_input_or_of_one_column():
    steps = (step("impute", 5), step("impute", 7, tensor="b"), step("scale", 2, 0))
    found = recipe.columns_of(steps, "x", ("a", "b"))
    assert [one.missing for one in found] == [5, 7]


@pytest.mark.parametrize(
    "bad", [step("category"), step("category", 1, words=("a", "b")), step("impute", 1, 2, 3)]
)
def test_steps_of_columns_with_wrong_counts_are_refused(bad):
    with pytest.raises(RecipeRefused):
        recipe.columns_of((bad,), "x", ("a", "b"))
