"""Columns find their inputs by name, or the person is asked."""

from __future__ import annotations

import pytest

from hanse.core.certify.data.dataset import DataNote
from hanse.core.certify.data.faults import (
    ColumnsMissing,
    MappingNeeded,
    MappingRefused,
    UnknownColumn,
    UnknownInput,
    UnknownLabel,
)
from hanse.core.certify.data.mapping import DataMapping, mapping_of, read_mapping
from hanse.core.model.card import Column, EvaluationSet, Signature, Tensor
from tests.fakes.data_sets import port, read_csv, wanted

AGE = Column(name="age", low_micro=0, high_micro=99_100_000)
SEX = Column(name="sex", categories=("0", "1"))


def described(*columns, **more):
    tensor = Tensor(name="x", dtype="float32", shape=(None, len(columns)), columns=columns)
    return wanted(port("x", None, len(columns)), signature=Signature(inputs=(tensor,)), **more)


def test_the_columns_of_the_card_are_taken_by_name_in_its_order(tmp_path):
    found = read_csv(tmp_path, "label,sex,id,age\n0,1,7,30\n", described(AGE, SEX))
    assert found.inputs["x"].tolist() == [[30, 1]]
    assert found.notes == ()
    assert found.mapping.inputs == {"x": ("age", "sex")}


def test_a_table_that_lacks_columns_of_the_card_is_refused_with_them(tmp_path):
    with pytest.raises(ColumnsMissing) as fault:
        read_csv(tmp_path, "label,sex,alter\n0,1,30\n", described(AGE, SEX))
    assert fault.value.values["missing"] == ("age",)
    assert fault.value.values["found"] == ("label", "sex", "alter")


def test_values_out_of_range_are_counted_and_their_rows_used(tmp_path):
    text = "age,sex,label\n-1,0,0\n99.1,1,1\n120,1,0\n"
    found = read_csv(tmp_path, text, described(AGE, SEX))
    assert found.n == 3
    assert found.notes == (DataNote("dataset.note.outside_range", "age", 2),)


def test_inputs_of_one_column_are_found_by_their_own_names(tmp_path):
    model = wanted(port("b", None, 1), port("a", None), task="tabular-regression")
    found = read_csv(tmp_path, "a,b,y\n1,2,0.5\n", model)
    assert found.inputs["b"].tolist() == [[2]]
    assert found.inputs["a"].tolist() == [1]
    assert found.truth.tolist() == [0.5]


def test_columns_taken_by_their_order_are_told(tmp_path):
    found = read_csv(tmp_path, "u,v,label\n1,2,0\n", wanted(port("x", None, 2)))
    assert found.notes == (DataNote("dataset.note.by_order", "x", 2),)


def test_the_one_column_left_is_the_target_and_that_is_told(tmp_path):
    found = read_csv(tmp_path, "sex,fraud,age\n1,1,30\n", described(AGE, SEX))
    assert found.targets == ("fraud",)
    assert found.notes == (DataNote("dataset.note.target_left", "fraud"),)


@pytest.mark.parametrize(
    ("header", "tensor"), [("u,v,w,label", "x"), ("u,label", "x"), ("u,v,w", "x")]
)
def test_what_does_not_fit_is_asked_for(tmp_path, header, tensor):
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(MappingNeeded) as fault:
        read_csv(tmp_path, f"{header}\n{row}\n", wanted(port("x", None, 2)))
    assert fault.value.values["tensor"] == tensor
    assert fault.value.values["expected"] == "float32[?, 2]"


def test_a_target_that_could_be_several_columns_is_asked_for(tmp_path):
    with pytest.raises(MappingNeeded) as fault:
        read_csv(tmp_path, "age,sex,u,v\n1,1,1,1\n", described(AGE, SEX))
    assert fault.value.values == {"tensor": "target", "expected": "", "found": ("u", "v")}


def test_a_mapping_wins_over_names(tmp_path):
    mapping = DataMapping(inputs={"x": ("v", "u")}, target="w", slice="s", group="g")
    found = read_csv(tmp_path, "u,v,w,s,g\n1,2,0,n,7\n3,4,1,s,8\n", described(AGE, SEX), mapping)
    assert found.inputs["x"].tolist() == [[2, 1], [4, 3]]
    assert found.slices["s"].tolist() == ["n", "s"]
    assert found.groups.tolist() == ["7", "8"]


def test_a_star_stands_for_all_columns_that_are_left(tmp_path):
    mapping = DataMapping(inputs={"x": "*"}, target="w", slice="s")
    found = read_csv(tmp_path, "s,u,w,v\nn,1,0,2\n", described(AGE, SEX), mapping)
    assert found.inputs["x"].tolist() == [[1, 2]]
    with pytest.raises(MappingNeeded):
        read_csv(tmp_path, "s,u,w\nn,1,0\n", described(AGE, SEX), mapping)


def test_a_mapping_to_what_is_not_there_is_refused(tmp_path):
    text = "u,v,w\n1,2,0\n"
    with pytest.raises(UnknownColumn) as fault:
        read_csv(tmp_path, text, wanted(port("x", None, 2)), DataMapping(target="z"))
    assert fault.value.values == {"column": "z", "known": ("u", "v", "w")}
    with pytest.raises(UnknownInput):
        read_csv(tmp_path, text, wanted(port("x", None, 2)), DataMapping(inputs={"y": ("u",)}))


def test_the_listings_own_mapping_is_used_where_its_columns_are(tmp_path):
    own = EvaluationSet(name="t.csv", sha256=b"\0" * 32, size=9, targets=("w",), slice="s")
    model = wanted(port("x", None, 1), evaluation=own)
    assert read_csv(tmp_path, "u,s,w\n1,n,0\n", model).slices["s"].tolist() == ["n"]
    assert read_csv(tmp_path, "u,w\n1,0\n", model).targets == ("w",)
    assert mapping_of(own).targets == ("w",)


def test_several_targets_stand_side_by_side(tmp_path):
    model = wanted(port("x", None, 1), task="tabular-regression")
    mapping = DataMapping(target=("p", "q"))
    found = read_csv(tmp_path, "u,p,q\n1,2,3\n4,5,6\n", model, mapping)
    assert found.truth.tolist() == [[2, 3], [5, 6]]


def test_a_label_the_model_does_not_know_is_refused_with_those_it_knows(tmp_path):
    model = wanted(port("x", None, 1), labels=("cat", "dog"))
    with pytest.raises(UnknownLabel) as fault:
        read_csv(tmp_path, "u,label\n1,cat\n2,cow\n", model)
    assert fault.value.values == {"found": ("cow",), "known": ("cat", "dog")}
    with pytest.raises(UnknownLabel) as fault:
        read_csv(tmp_path, "u,label\n1,0\n2,2\n", model)
    assert fault.value.values["found"] == ("2",)


def test_a_mapping_is_written_in_json_or_toml():
    mapping = DataMapping(inputs={"x": ("a", "b"), "z": "*"}, target="y", positive="yes")
    json = b'{"inputs":{"x":["a","b"],"z":"*"},"target":"y","positive":"yes"}'
    toml = b'target = "y"\npositive = "yes"\n[inputs]\nx = ["a", "b"]\nz = "*"\n'
    assert read_mapping(json, "json") == read_mapping(toml, "toml") == mapping


@pytest.mark.parametrize(
    "raw", [b"{", b'{"target":1}', b'{"targets":"y"}', b"\xff", b" " * 300_000]
)
def test_a_mapping_that_cannot_be_read_is_refused(raw):
    for kind in ("json", "toml"):
        with pytest.raises(MappingRefused):
            read_mapping(raw, kind)


def test_recipe_and_mapping_are_hashed_beside_the_data(tmp_path):
    model, text = wanted(port("x", None, 1)), "u,v,label\n1,2,0\n"
    first = read_csv(tmp_path, text, model, DataMapping(inputs={"x": ("u",)}))
    second = read_csv(tmp_path, text, model, DataMapping(inputs={"x": ("v",)}))
    again = read_csv(tmp_path, text, model, DataMapping(inputs={"x": "u"}, target="label"))
    assert first.sha256 == second.sha256
    assert len({first.recipe_sha256, second.recipe_sha256}) == 2
    assert again.recipe_sha256 == first.recipe_sha256
