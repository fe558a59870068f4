"""Golden vectors as a Blob: what goes in comes out, and nothing odd is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hanse.core.certify.golden import (
    GoldenTooLarge,
    GoldenVector,
    GoldenVectors,
    Keeping,
    SamplesRefused,
    fitting,
    read_golden,
    vectors_of_rows,
    write_golden,
)
from hanse.core.errors import BadShape, NotCanonical
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.limits import (
    BLOB_SIZE_BYTES_MAX,
    GOLDEN_KEPT_SIZE_BYTES_MAX,
    GOLDEN_VECTORS_MAX,
    SAMPLES_MAX,
)
from hanse.core.model.arrays import DTYPES

NUMBERS = [one for one in DTYPES if one != "string"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def vector(array, origin="generated"):
    return GoldenVector({"x": array}, {"y": array}, origin)


def golden_file(**changed):
    row = {"dtype": "float32", "shape": [2], "data": bytes(8)} | changed
    vectors = [{"origin": "sample", "inputs": {"x": row}, "outputs": {}}]
    return {"v": 1, "vectors": vectors}


@given(st.sampled_from(NUMBERS).flatmap(lambda name: arrays.arrays(np.dtype(name), SHAPES)))
def test_numbers_come_out_as_they_went_in(array):
    (found,) = read_golden(write_golden(GoldenVectors((vector(array),)))).vectors
    assert found.outputs["y"].dtype == array.dtype
    assert found.outputs["y"].shape == array.shape
    assert found.outputs["y"].tobytes() == array.tobytes()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_texts_come_out_as_they_went_in(texts):
    array = np.array(texts, dtype=np.str_)
    (found,) = read_golden(write_golden(GoldenVectors((vector(array),)))).vectors
    assert found.inputs["x"].tolist() == array.tolist()


def test_what_is_read_is_written_again_to_the_same_bytes():
    big_endian = vector(np.arange(3, dtype=">f4"))
    raw = write_golden(GoldenVectors((big_endian, vector(np.array(["a", ""]), "sample"))))
    assert write_golden(read_golden(raw)) == raw


def test_what_is_read_cannot_be_written_to():
    raw = write_golden(GoldenVectors((vector(np.arange(3.0)), vector(np.array(["a"])))))
    for one in read_golden(raw).vectors:
        with pytest.raises(ValueError, match="read-only"):
            one.inputs["x"][0] = one.inputs["x"][0]


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": "float33"},
        {"dtype": "object"},
        {"dtype": "string"},
        {"dtype": "float32", "data": ["a", "b"]},
        {"data": bytes(7)},
        {"data": bytes(9)},
        {"shape": [2, 2]},
        {"shape": [-2]},
        {"shape": [2**41]},
        {"shape": [0, 2**40, 2**40], "data": b""},
        {"shape": [1] * 33, "data": bytes(4)},
        {"dtype": "bool", "data": b"\1\2"},
        {"dtype": "string", "data": ["a"]},
        {"dtype": "string", "data": ["a", "b\0"]},
        {"dtype": "string", "shape": [0, 2**40, 2**40], "data": []},
        {"more": 1},
        {"data": None},
    ],
)
def test_an_odd_array_is_refused(changed):
    with pytest.raises(BadShape):
        read_golden(encode(golden_file(**changed)))


def test_texts_that_would_blow_up_at_equal_width_are_refused():
    texts = ["x" * 4000, *[""] * 5000]
    with pytest.raises(BadShape, match="4000 characters"):
        read_golden(encode(golden_file(dtype="string", shape=[5001], data=texts)))


@pytest.mark.parametrize(
    "raw",
    [
        encode({"v": 2, "vectors": golden_file()["vectors"]}),
        encode({"v": 1, "vectors": []}),
        encode({"v": 1, "vectors": golden_file()["vectors"] * (GOLDEN_VECTORS_MAX + 1)}),
        encode({"v": 1, "vectors": [{"origin": "other", "inputs": {}, "outputs": {}}]}),
        encode([1]),
        bytes(BLOB_SIZE_BYTES_MAX + 1),
    ],
)
def test_an_odd_file_is_refused(raw):
    with pytest.raises(BadShape):
        read_golden(raw)


def test_bytes_that_are_not_canonical_are_refused():
    raw = encode(golden_file())
    assert decode_any(raw)
    for broken in (raw[:-1], raw + b"\0", b""):
        with pytest.raises(NotCanonical):
            read_golden(broken)


def test_what_is_too_large_is_said_and_the_first_vectors_fit():
    large = np.zeros(BLOB_SIZE_BYTES_MAX // 40, np.float32)  # a fifth of a Blob, in and out
    vectors = GoldenVectors(tuple(vector(large) for _ in range(5)))
    with pytest.raises(GoldenTooLarge, match=str(BLOB_SIZE_BYTES_MAX)):
        write_golden(vectors)
    kept = fitting(vectors)
    assert len(kept.vectors) == 4
    assert len(write_golden(kept)) <= BLOB_SIZE_BYTES_MAX


def test_what_one_run_keeps_in_memory_has_an_end_and_the_first_of_each_origin_stays():
    large = np.zeros(GOLDEN_KEPT_SIZE_BYTES_MAX // 4 // 3, np.float32)  # a third, in and out
    kept = Keeping()
    for origin in ("sample", "sample", "generated", "generated"):
        kept.add(vector(large, origin))
    assert kept.ran == 4
    assert [one.origin for one in kept.vectors] == ["sample", "generated"]


def test_a_table_is_cut_into_vectors_of_one_row():
    table = {"x": np.arange(6.0).reshape(3, 2), "y": np.array([7, 8, 9]), "other": np.zeros(1)}
    found = vectors_of_rows(table, ["x"], ["y", "not_given"])
    assert [one.inputs["x"].tolist() for one in found.vectors] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert [one.outputs["y"].tolist() for one in found.vectors] == [[7], [8], [9]]
    assert {one.origin for one in found.vectors} == {"sample"}


def test_no_more_rows_are_kept_than_samples_may_be():
    found = vectors_of_rows({"x": np.zeros((SAMPLES_MAX + 1, 1))}, ["x"], [])
    assert len(found.vectors) == SAMPLES_MAX


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({}, "input_missing"),
        ({"x": np.zeros(())}, "not_rows"),
        ({"x": np.zeros(2, np.complex64)}, "not_rows"),
        ({"x": np.zeros(2), "y": np.zeros(3)}, "rows_differ"),
    ],
)
def test_samples_that_do_not_fit_are_refused(table, reason):
    with pytest.raises(SamplesRefused) as refused:
        vectors_of_rows(table, ["x"], ["y"])
    assert refused.value.reason == reason
