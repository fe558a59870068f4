"""Inputs made from suite and Artifact: the same for ever, and within what is stated."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from hanse.core.certify.generated import (
    OPEN_SIZES,
    Generator,
    NoInput,
    batch_axis,
    batch_symbol,
    plan_inputs,
)
from hanse.core.certify.golden import GoldenVector, GoldenVectors
from hanse.core.model.artifact import TensorFacts
from hanse.core.model.card import Column, ModelCard, Signature, Tensor

SUITE, ARTIFACT = b"s" * 32, b"a" * 32


def tensor(name="x", dtype="float32", shape=(None, 3)):
    return TensorFacts(name=name, dtype=dtype, shape=shape)


def card(**stated):
    one = Tensor(**{"name": "x", "dtype": "float32"} | stated)
    return ModelCard(signature=Signature(inputs=(one,)))


def samples(**inputs):
    return GoldenVectors((GoldenVector(inputs, {}, "sample"),))


def generator(*inputs, **given):
    given = {"card": None, "samples": None} | given
    return Generator(SUITE, ARTIFACT, plan_inputs(inputs, **given))


def words(name, count, artifact=ARTIFACT):
    """The rule of the design, written once more in the plainest way."""
    found = []
    for counter in range(-(-count // 8)):
        parts = (SUITE, artifact, name.encode(), counter.to_bytes(8, "big"))
        digest = sha256(b"".join(len(one).to_bytes(4, "big") + one for one in parts)).digest()
        found += [int.from_bytes(digest[at : at + 4], "big") for at in range(0, 32, 4)]
    return found[:count]


def test_numbers_are_words_of_the_hash_scaled_to_the_range():
    made = np.concatenate([generator(tensor()).inputs(n)["x"][0] for n in range(9)])
    expected = [-1 + 2 * (one / 2**32) for one in words("x", 27)]
    assert made.dtype == np.float32
    assert made.tolist() == np.array(expected).astype(np.float32).tolist()


def test_these_are_the_numbers_of_every_version():
    made = generator(tensor()).inputs(0)["x"]
    assert made.tolist() == [[-0.6058990359306335, -0.4583801031112671, 0.6349918842315674]]


def test_suite_artifact_and_name_each_change_the_numbers():
    plans = plan_inputs([tensor()], None, None)
    usual = Generator(SUITE, ARTIFACT, plans).inputs(0)["x"]
    assert not np.array_equal(usual, Generator(b"t" * 32, ARTIFACT, plans).inputs(0)["x"])
    assert not np.array_equal(usual, Generator(SUITE, b"b" * 32, plans).inputs(0)["x"])
    assert not np.array_equal(usual, generator(tensor("z")).inputs(0)["z"])
    # Lengths stand before the parts, so bytes cannot move from one into the next.
    moved = Generator(SUITE + ARTIFACT[:1], ARTIFACT[1:], plans).inputs(0)["x"]
    assert not np.array_equal(usual, moved)


def test_a_batch_is_its_rows():
    made = generator(tensor())
    assert made.has_batch
    rows = np.concatenate([made.inputs(number)["x"] for number in range(2, 6)])
    assert np.array_equal(made.batch(2, 4)["x"], rows)


def test_a_stated_range_is_kept_to():
    made = generator(tensor(), card=card(low_micro=5_000_000, high_micro=7_500_000))
    values = np.concatenate([made.inputs(number)["x"] for number in range(40)])
    assert 5 <= values.min() < 5.2
    assert 7.3 < values.max() <= 7.5
    assert made.has_ranges


def test_each_column_has_its_own_range_and_categories():
    columns = (
        Column(name="age", low_micro=18_000_000, high_micro=90_000_000),
        Column(name="kind", categories=("a", "b", "c")),
        Column(name="code", categories=("10", "20")),
    )
    made = generator(tensor(), card=card(columns=columns))
    values = np.concatenate([made.inputs(number)["x"] for number in range(40)])
    assert values[:, 0].min() >= 18
    assert values[:, 0].max() <= 90
    assert set(values[:, 1].tolist()) == {0, 1, 2}
    assert set(values[:, 2].tolist()) == {10, 20}


@pytest.mark.parametrize(
    ("dtype", "stated", "least", "most"),
    [
        ("int64", {}, 0, 1),
        ("uint8", {}, 0, 1),
        ("int8", {"low_micro": -3_000_000, "high_micro": 3_900_000}, -3, 3),
        ("uint8", {"low_micro": -5_000_000, "high_micro": 900_000_000}, 0, 255),
        ("int64", {"low_micro": -(2**62), "high_micro": 2**62}, -(2**62), 2**62),
        ("int32", {"low_micro": 1_200_000, "high_micro": 1_800_000}, 2, 2),
        ("bool", {}, False, True),
    ],
)
def test_whole_numbers_lie_in_their_range(dtype, stated, least, most):
    made = generator(
        tensor(dtype=dtype, shape=(None, 64)), card=card(dtype=dtype, **stated)
    ).inputs(0)["x"]
    assert made.dtype == np.dtype(dtype)
    assert least <= made.min()
    assert made.max() <= most


def test_half_precision_stays_finite_in_a_range_beyond_it():
    stated = card(dtype="float16", low_micro=-(10**12), high_micro=10**12)
    made = generator(tensor(dtype="float16"), card=stated).inputs(0)["x"]
    assert np.isfinite(made).all()


def test_text_is_a_category_or_hex_digits():
    chosen = generator(
        tensor(dtype="string"), card=card(dtype="string", categories=("red", "blue"))
    )
    assert set(chosen.inputs(0)["x"].ravel()) <= {"red", "blue"}
    made = generator(tensor(dtype="string")).inputs(0)["x"]
    assert made.shape == (1, 3)
    assert all(len(one) == 8 and int(one, 16) >= 0 for one in made.ravel())


def test_an_open_dimension_has_the_size_of_the_sample_then_of_the_card():
    known = tensor(shape=("n", "seq"))
    by_sample = generator(known, samples=samples(x=np.zeros((1, 5), np.float32)))
    assert by_sample.inputs(0)["x"].shape == (1, 5)
    by_card = generator(known, card=card(shape=(None, 6)))
    assert by_card.inputs(0)["x"].shape == (1, 6)
    assert not by_card.is_open


def test_other_open_dimensions_have_sizes_that_are_tried_in_turn():
    known = [tensor("ids", "int64", ("n", "seq")), tensor("mask", "int64", ("n", "seq"))]
    for size, side in OPEN_SIZES:
        made = Generator(SUITE, ARTIFACT, plan_inputs(known, None, None, (size, side)))
        assert {one.shape for one in made.inputs(0).values()} == {(1, size)}
    assert made.is_open


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), ("n", "h", "w", 1)])
def test_sides_of_a_picture_are_as_long_as_pictures_are(shape):
    made = generator(tensor(shape=shape)).inputs(0)["x"]
    assert sorted(made.shape[1:])[1:] == [224, 224]


def test_a_state_with_the_batch_second_grows_there():
    made = generator(tensor("x", shape=("n", 4)), tensor("state", shape=(2, "n", 3)))
    together = made.batch(0, 5)
    assert (together["x"].shape, together["state"].shape) == ((5, 4), (2, 5, 3))
    assert np.array_equal(together["state"][:, 2:3], made.inputs(2)["state"])


def test_a_fixed_first_dimension_takes_no_batch():
    assert not generator(tensor(shape=(1, 3))).has_batch
    assert not generator(tensor(), tensor("state", shape=(2, 1, 4))).has_batch


def test_a_number_without_dimensions_is_shared_by_the_batch():
    made = generator(tensor(), tensor("rate", "int64", ()))
    assert made.has_batch
    assert made.batch(0, 3)["rate"].shape == ()
    assert int(made.inputs(0)["rate"]) in (0, 1)


def test_a_number_without_dimensions_and_range_is_taken_from_the_sample():
    given = samples(x=np.zeros((1, 3), np.float32), rate=np.array(16000))
    made = generator(tensor(), tensor("rate", "int64", ()), samples=given)
    assert int(made.inputs(3)["rate"]) == 16000


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (tensor(dtype="bfloat16"), "type"),
        (tensor(dtype="sequence(tensor(float32))", shape=None), "type"),
        (tensor(shape=None), "shape"),
        (tensor(shape=(1, 2**40)), "too_large"),
    ],
)
def test_an_input_that_cannot_be_made_is_named(facts, reason):
    with pytest.raises(NoInput, match="x") as refused:
        plan_inputs([facts], None, None)
    assert refused.value.reason == reason


def test_the_batch_is_found_by_symbol_or_by_place():
    assert batch_symbol([tensor(shape=(2, "n")), tensor(shape=("b", 1))]) == "b"
    assert batch_axis((2, "b", 3), "b") == 1
    assert batch_axis((None, 3), "b") == 0
    assert batch_axis((2, 3), "b") is None
    assert batch_axis((), "b") is None
    assert batch_axis(None, "") == 0
