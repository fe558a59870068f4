"""Tables: what is read, and what is refused with its column and row."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hanse.core.certify.data import csv_file, read_dataset
from hanse.core.certify.data.faults import (
    BadEncoding,
    DatasetRefused,
    MissingValue,
    NotANumber,
    UnknownCategory,
)
from hanse.core.certify.data.mapping import DataMapping
from hanse.core.errors import FileUnreadable
from hanse.core.model.control import Cancelled, Control
from tests.fakes.data_sets import port, read_csv, step, wanted, write_csv

TWO = wanted(port("x", None, 2))


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_is_read_whatever_stands_between_its_columns(tmp_path, sign):
    text = f"a{sign}b{sign}label\n1{sign}2.5{sign}0\n-3e2{sign}.5{sign}1\n"
    found = read_csv(tmp_path, text, TWO)
    assert found.inputs["x"].tolist() == [[1.0, 2.5], [-300.0, 0.5]]
    assert found.inputs["x"].dtype == np.float32
    assert found.truth.tolist() == [0, 1]
    assert found.sha256 == hashlib.sha256(text.encode()).digest()


def test_a_mark_of_utf_8_blank_lines_and_quoted_cells_change_nothing(tmp_path):
    text = '\ufeff"a", b ,label\r\n\r\n1,"2",yes\r\n" 3",4,"n,o"\r\n'
    found = read_csv(tmp_path, text, TWO)
    assert found.inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert found.truth.tolist() == ["yes", "n,o"]


def test_many_pieces_are_put_together_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "_CHUNK_ROWS", 3)
    monkeypatch.setattr(csv_file, "_CHUNK_BYTES", 7)
    rows = "".join(f"{i},{-i},é{i % 2}\n" for i in range(20))
    found = read_csv(tmp_path, "a,b,label\n" + rows, TWO)
    assert found.inputs["x"][:, 1].tolist() == [-i for i in range(20)]
    assert found.truth.tolist() == [f"é{i % 2}" for i in range(20)]


@pytest.mark.parametrize(
    ("raw", "line", "found"),
    [
        ("a,b,label\n1,2,Zürich\n".encode("latin-1"), 2, "0xfc"),
        ("a,b,label\n1,2,0\n".encode("utf-16"), 1, "0xff"),
        ("a,b,label\n1,2,0\n".encode("utf-16-le"), 1, "0x00"),
        ("a,b,label\n1,2,好\n".encode("gb18030"), 2, "0xba"),
    ],
)
def test_another_encoding_is_refused_with_its_line(tmp_path, raw, line, found):
    with pytest.raises(BadEncoding) as fault:
        read_csv(tmp_path, raw, TWO)
    assert fault.value.values == {"file": "t.csv", "line": line, "found": found}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b,label\n", "no_rows"),
        ("a,,label\n1,2,0\n", "column_empty"),
        ("a,b,a\n1,2,0\n", "column_twice"),
        ("1,2,0\n3,4,1\n", "no_header"),
        ("a,b,label\n1,2,0\n1,2\n", "width"),
        ("a,b,label\n1,2,0\n1,2,3,4\n", "width"),
        ('a,b,label\n1,"2"x,0\n', "quoting"),
        ('a,b,label\n1,"2,0\n', "quoting"),
        ("a;b,label\n1;2,0\n", "delimiter"),
    ],
)
def test_a_table_that_is_none_is_refused_by_its_rule(tmp_path, text, rule):
    with pytest.raises(DatasetRefused) as fault:
        read_csv(tmp_path, text, TWO)
    assert fault.value.rule == rule


def test_a_decimal_comma_among_semicolons_is_no_second_delimiter(tmp_path):
    with pytest.raises(NotANumber) as fault:
        read_csv(tmp_path, "a;b;label\n1;2,5;0\n", TWO)
    assert fault.value.values["found"] == "2,5"


@pytest.mark.parametrize("cell", ["x", "1_000", "0x10", "inf", "1,5", "٣", "1e999", "--1", "True"])
def test_what_is_no_number_is_refused_with_column_and_row(tmp_path, cell):
    with pytest.raises(NotANumber) as fault:
        read_csv(tmp_path, f'a,b,label\n1,2,0\n3,"{cell}",1\n', TWO)
    assert fault.value.values == {"column": "b", "row": 2, "found": cell, "expected": "number"}


@pytest.mark.parametrize("cell", ["", "NA", "nan", " ", "null", "N/A"])
def test_a_missing_value_is_refused_with_column_and_row(tmp_path, cell):
    with pytest.raises(MissingValue) as fault:
        read_csv(tmp_path, f"a,b,label\n1,2,0\n{cell},2,1\n", TWO)
    assert fault.value.values == {"column": "a", "row": 2}


def test_a_missing_label_is_refused(tmp_path):
    with pytest.raises(MissingValue):
        read_csv(tmp_path, "a,b,label\n1,2,0\n1,2,\n", TWO)


def test_a_column_that_is_not_used_may_hold_anything(tmp_path):
    mapping = DataMapping(inputs={"x": ("a", "b")}, target="label")
    found = read_csv(tmp_path, "a,note,b,label\n1,,2,0\n3,so so,4,1\n", TWO, mapping)
    assert found.inputs["x"].tolist() == [[1, 2], [3, 4]]


def test_the_recipe_fills_missing_values_column_by_column(tmp_path):
    model = wanted(port("x", None, 2), pre=(step("impute", 7, 9.5),))
    found = read_csv(tmp_path, "a,b,label\n,2,0\n1,NA,1\n", model)
    assert found.inputs["x"].tolist() == [[7, 2], [1, 9.5]]


def test_the_recipe_turns_words_into_numbers(tmp_path):
    model = wanted(
        port("x", None, 2),
        pre=(step("category", 0, 1, tensor="sex", words=("f", "m")),),
    )
    found = read_csv(tmp_path, "age,sex,label\n30,m,0\n40,f,1\n", model)
    assert found.inputs["x"].tolist() == [[30, 1], [40, 0]]
    with pytest.raises(UnknownCategory) as fault:
        read_csv(tmp_path, "age,sex,label\n30,m,0\n40,d,1\n", model)
    assert fault.value.values["known"] == ("f", "m")


def test_whole_numbers_stay_exact_and_fractions_are_refused(tmp_path):
    model = wanted(port("x", None, 1, dtype="int64"))
    mapping = DataMapping(inputs={"x": ("a",)}, target="label")
    found = read_csv(tmp_path, f"a,label\n{2**62 + 1},0\n3.0,1\n", model, mapping)
    assert found.inputs["x"].ravel().tolist() == [2**62 + 1, 3]
    with pytest.raises(NotANumber) as fault:
        read_csv(tmp_path, "a,label\n1,0\n1.5,1\n", model, mapping)
    assert fault.value.values["expected"] == "whole"


def test_text_goes_into_an_input_of_text(tmp_path):
    model = wanted(port("text", None, dtype="string"))
    found = read_csv(tmp_path, "text,label\nso so,0\n不好,1\n", model)
    assert found.inputs["text"].tolist() == ["so so", "不好"]


def test_labels_that_are_whole_numbers_are_numbers(tmp_path):
    assert read_csv(tmp_path, "a,b,label\n1,2,1.0\n3,4,10\n", TWO).truth.tolist() == [1, 10]
    assert read_csv(tmp_path, "a,b,label\n1,2,01\n3,4,10\n", TWO).truth.tolist() == ["01", "10"]


def test_a_line_without_an_end_is_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "DATASET_LINE_SIZE_BYTES_MAX", 100)
    with pytest.raises(DatasetRefused) as fault:
        read_csv(tmp_path, "a,b,label\n" + "1" * 200, TWO)
    assert fault.value.rule == "line"


def test_no_more_rows_are_held_than_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "DATASET_ROWS_MAX", 3)
    with pytest.raises(DatasetRefused) as fault:
        read_csv(tmp_path, "a,b,label\n" + "1,2,0\n" * 4, TWO)
    assert fault.value.rule == "rows"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"PAR1....", "t.parquet"),
        (b"PK\x03\x04....", "t.xlsx"),
        (b"\x89HDF\r\n", "t.csv"),
        (b"\x93NUMPY", "t.npy"),
    ],
)
def test_another_kind_of_table_is_refused_by_its_bytes(tmp_path, raw, name):
    with pytest.raises(DatasetRefused) as fault:
        read_dataset(write_csv(tmp_path / name, raw), TWO, None, None, Control())
    assert fault.value.rule == "format"


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileUnreadable):
        read_dataset(tmp_path / "none.csv", TWO, None, None, Control())


def test_reading_can_be_cancelled(tmp_path):
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        read_dataset(write_csv(tmp_path / "t.csv", "a,b,label\n1,2,0\n"), TWO, None, None, control)
