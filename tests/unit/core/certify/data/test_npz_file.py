"""Arrays: found by usual names, never objects, never larger than they may be."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from hanse.core.certify.data import npz_file, read_dataset
from hanse.core.certify.data.faults import (
    DatasetRefused,
    MappingNeeded,
    MappingRefused,
    MissingValue,
    WrongShape,
)
from hanse.core.certify.data.mapping import DataMapping
from hanse.core.model.control import Control
from tests.fakes.data_sets import port, step, wanted

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
TWO = wanted(port("x", None, 2))


def read(path, model=TWO, mapping=None, **arrays):
    np.savez(path / "t.npz", **arrays)
    return read_dataset(path / "t.npz", model, mapping, None, Control())


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("X", "labels"), ("inputs", "target")])
def test_usual_names_are_known(tmp_path, x, y):
    found = read(tmp_path, **{x: ROWS.astype(">f8"), y: np.array([0, 1, 1])})
    assert found.inputs["x"].tolist() == ROWS.tolist()
    assert found.inputs["x"].dtype == np.dtype("<f4")
    assert found.truth.tolist() == [0, 1, 1]


def test_one_array_for_each_column_is_put_side_by_side(tmp_path):
    mapping = DataMapping(inputs={"x": ("a", "b")}, target="t", slice="s")
    found = read(
        tmp_path,
        mapping=mapping,
        a=[1, 2],
        b=[[3], [4]],
        t=np.array(["no", "yes"]),
        s=np.array([7, 8]),
    )
    assert found.inputs["x"].tolist() == [[1, 3], [2, 4]]
    assert found.slices["s"].tolist() == ["7", "8"]


def test_arrays_without_a_usual_name_are_asked_for(tmp_path):
    with pytest.raises(MappingNeeded) as fault:
        read(tmp_path, rows=ROWS, y=[0, 1, 1])
    assert fault.value.values["found"] == ("rows", "y")
    with pytest.raises(MappingNeeded) as fault:
        read(tmp_path, x=ROWS, answer=[0, 1, 1])
    assert fault.value.values["tensor"] == "target"
    with pytest.raises(MappingRefused):
        read(tmp_path, mapping=DataMapping(inputs={"x": "*"}), x=ROWS, y=[0, 1, 1])


def test_an_array_of_objects_is_never_loaded(tmp_path):
    with pytest.raises(DatasetRefused) as fault:
        read(tmp_path, x=ROWS, y=np.array([print, None, 1], dtype=object))
    assert fault.value.rule == "array_type"


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({"x": ROWS, "y": np.arange(4)}, "rows_differ"),
        ({"x": ROWS[:0], "y": np.arange(0)}, "no_rows"),
        ({"x": ROWS, "y": np.array([0.5, 1, 1])}, "not_labels"),
        ({"x": ROWS, "y": np.zeros(3, np.complex64)}, "array_type"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(tmp_path, arrays, rule):
    with pytest.raises(DatasetRefused) as fault:
        read(tmp_path, **arrays)
    assert fault.value.rule == rule


def test_what_is_missing_is_refused_or_filled_by_the_recipe(tmp_path):
    rows = ROWS.copy()
    rows[1, 1] = np.nan
    with pytest.raises(MissingValue) as fault:
        read(tmp_path, x=rows, y=[0, 1, 1])
    assert fault.value.values["row"] == 2
    model = wanted(port("x", None, 2), pre=(step("impute", 9),))
    assert read(tmp_path, model, x=rows, y=[0, 1, 1]).inputs["x"][1].tolist() == [2, 9]


def test_rows_of_another_width_are_refused_with_both(tmp_path):
    with pytest.raises(WrongShape) as fault:
        read(tmp_path, x=np.zeros((3, 5)), y=[0, 1, 1])
    assert fault.value.values == {
        "tensor": "x",
        "expected": "float32[?, 2]",
        "found": "float64[3, 5]",
    }


def member(shape, data):
    raw = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(raw, header)
    return raw.getvalue() + data


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ({}, "no_arrays"),
        ({"x.npy": b"no array"}, "array_header"),
        ({"x.txt": b"text"}, "array_name"),
        ({"x.npy": member((2**40, 2**40), b"")}, "array_size"),
        ({"x.npy": member((3, 2), b"\0" * 23)}, "array_size"),
        ({"x.npy": member((11_000_000, 0), b"")}, "rows"),
    ],
)
def test_a_hostile_file_is_refused_before_it_is_unpacked(tmp_path, members, rule):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
        if not members:
            archive.writestr("a/", b"")
    raw = (tmp_path / "t.npz").read_bytes()
    if rule == "no_arrays":  # an archive of nothing begins with its end
        (tmp_path / "t.npz").write_bytes(b"PK\x03\x04" + raw)
        rule = "array_name"
    with pytest.raises(DatasetRefused) as fault:
        read_dataset(tmp_path / "t.npz", TWO, None, None, Control())
    assert fault.value.rule == rule


def test_a_damaged_file_is_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=ROWS, y=[0, 1, 1])
    raw = bytearray((tmp_path / "t.npz").read_bytes())
    at = raw.index(ROWS.tobytes())
    raw[at] ^= 1
    (tmp_path / "t.npz").write_bytes(raw)
    with pytest.raises(DatasetRefused) as fault:
        read_dataset(tmp_path / "t.npz", TWO, None, None, Control())
    assert fault.value.rule == "npz"


def test_a_member_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_file, "ZIP_UNPACKED_SPARE_BYTES_MAX", 1000)
    np.savez_compressed(tmp_path / "t.npz", x=np.zeros((100_000, 2)), y=np.zeros(100_000))
    with pytest.raises(DatasetRefused) as fault:
        read_dataset(tmp_path / "t.npz", TWO, None, None, Control())
    assert fault.value.rule == "ratio"


def test_no_more_is_held_than_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_file, "DATASET_MEMORY_BYTES_MAX", 10)
    with pytest.raises(DatasetRefused) as fault:
        read(tmp_path, x=ROWS, y=[0, 1, 1])
    assert fault.value.rule == "memory"
