"""Rows become tensors, and outputs answers, whatever form they come in and go out."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from hanse.core.certify.data.csv_file import CsvTable, read_header
from hanse.core.certify.data.dataset import Wanted
from hanse.core.certify.data.faults import (
    ColumnsMissing,
    DatasetRefused,
    MappingNeeded,
    MissingValue,
    NotANumber,
    OutputsUnusable,
    UnknownCategory,
    WrongShape,
)
from hanse.core.certify.data.mapping import DataMapping
from hanse.core.certify.data.run_answers import SCORES_SHOWN, AnswerReader
from hanse.core.certify.data.run_rows import (
    JsonRows,
    RowRefused,
    RunRows,
    TableRows,
    rows_wanted,
)
from hanse.core.certify.data.run_sinks import (
    OutputsUnlike,
    OutputUnknown,
    check_output,
    open_sink,
    row_object,
)
from hanse.core.certify.data.run_sources import open_source
from hanse.core.errors import FileUnreadable
from hanse.core.model.card import MICRO, Column, ModelCard, Recipe, Signature, Tensor
from hanse.core.model.control import Cancelled, Control
from hanse.core.sentences import LANGUAGES, say
from tests.fakes.data_sets import port, step, wanted, write_csv

X = port("x", None, 2)


def tabular(**more) -> Wanted:
    """Describe a model of two named columns, the first of which has a range."""
    columns = (Column(name="a", low_micro=0, high_micro=10 * MICRO), Column(name="b"))
    tensor = Tensor(name="x", dtype="float32", shape=(None, 2), columns=columns)
    return wanted(X, signature=Signature(inputs=(tensor,)), **more)


def read_all(path, model, mapping=None):
    source = open_source(path, model, mapping, Control())
    return source, list(source.batches(Control()))


def said(error):
    for language in LANGUAGES:
        assert say(error.code, error.values, language)
    return error


# --- rows -----------------------------------------------------------------------------------


def test_a_table_gives_the_columns_of_the_card_and_keeps_the_others(tmp_path):
    path = write_csv(tmp_path / "t.csv", "id,b,a,truth\nu,2,1.5,0\nv,4,3,1\n")
    source, (rows,) = read_all(path, tabular())
    assert source.columns == ("id", "b", "a", "truth")
    assert rows.inputs["x"].tolist() == [[1.5, 2], [3, 4]]
    assert rows.inputs["x"].dtype == np.float32
    assert rows.given[0] == {"id": "u", "b": "2", "a": "1.5", "truth": "0"}


def test_rows_out_of_range_are_marked_by_column_and_kept(tmp_path):
    path = write_csv(tmp_path / "t.csv", "a,b\n-1,0\n10,99\n11,0\n")
    _, (rows,) = read_all(path, tabular())
    assert rows.outside == [("a",), (), ("a",)]
    assert rows.n == 3


def test_one_input_takes_the_columns_in_order_and_says_so(tmp_path):
    path = write_csv(tmp_path / "t.csv", "p,q,label\n1,2,0\n")
    source, (rows,) = read_all(path, wanted(X))
    assert rows.inputs["x"].tolist() == [[1, 2]]
    assert [one.code for one in source.notes] == ["dataset.note.by_order"]


def test_an_input_that_is_not_found_is_asked_for(tmp_path):
    path = write_csv(tmp_path / "t.csv", "p,q,r\n1,2,3\n")
    with pytest.raises(MappingNeeded) as caught:
        open_source(path, wanted(X), None, Control())
    assert caught.value.values["found"] == ("p", "q", "r")
    _, (rows,) = read_all(path, wanted(X), DataMapping(inputs={"x": ("r", "p")}))
    assert rows.inputs["x"].tolist() == [[3, 1]]


def test_named_columns_that_lack_one_are_refused(tmp_path):
    path = write_csv(tmp_path / "t.csv", "a,c\n1,2\n")
    with pytest.raises(ColumnsMissing):
        open_source(path, tabular(), None, Control())


@pytest.mark.parametrize(
    ("cell", "error"), [("", MissingValue), ("many", NotANumber), ("nan", MissingValue)]
)
def test_a_bad_cell_is_named_by_column_and_row(tmp_path, cell, error):
    path = write_csv(tmp_path / "t.csv", f"a,b\n1,2\n3,{cell}\n")
    with pytest.raises(error) as caught:
        read_all(path, tabular())
    assert (caught.value.values["column"], caught.value.values["row"]) == ("b", 2)


def test_a_table_is_read_in_parts_that_count_on(tmp_path):
    path = write_csv(tmp_path / "t.csv", "a,b\n" + "1,2\n" * 4100)
    _, batches = read_all(path, tabular())
    assert [one.first for one in batches] == [1, 2001, 4001]
    assert sum(one.n for one in batches) == 4100
    with pytest.raises(NotANumber) as caught:
        read_all(write_csv(path, "a,b\n" + "1,2\n" * 2500 + "1,x\n"), tabular())
    assert caught.value.values["row"] == 2501


def test_a_table_without_rows_or_a_missing_one_is_refused(tmp_path):
    with pytest.raises(DatasetRefused):
        read_all(write_csv(tmp_path / "t.csv", "a,b\n"), tabular())
    with pytest.raises(FileUnreadable):
        open_source(tmp_path / "none.csv", tabular(), None, Control())


def test_reading_ends_when_it_is_cancelled(tmp_path):
    path = write_csv(tmp_path / "t.csv", "a,b\n" + "1,2\n" * 10)
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        next(CsvTable(path, read_header(path)).chunks(control))


def test_the_recipe_is_done_before_the_model(tmp_path):
    model = wanted(
        port("x", None, 2),
        pre=(step("category", tensor="a", words=("no", "yes")), step("scale", 2, 1)),
        signature=tabular().card.signature,
    )
    path = write_csv(tmp_path / "t.csv", "a,b\nyes,3\n")
    _, (rows,) = read_all(path, model)
    assert rows.inputs["x"].tolist() == [[3, 7]]
    with pytest.raises(UnknownCategory):
        read_all(write_csv(path, "a,b\nperhaps,3\n"), model)
    assert JsonRows(model, None).read([{"a": "yes", "b": 3}], 1).inputs["x"].tolist() == [[3, 7]]


# --- JSON -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [{"a": 1, "b": 2.5}, {"b": 2.5, "a": True, "more": []}, [1, 2.5], {"x": [1, 2.5]}]
)
def test_a_json_row_is_an_object_by_columns_or_input_or_a_list(value):
    rows = JsonRows(tabular(), None).read([value], 1)
    assert rows.inputs["x"].tolist() == [[1, 2.5]]
    assert rows.inputs["x"].dtype == np.float32


def test_json_and_table_give_the_same_numbers():
    text = ["0.1", "123456.789"]
    table = TableRows(("a", "b"), tabular(), None).read([text], 1)
    rows = JsonRows(tabular(), None).read([dict(zip("ab", map(float, text), strict=True))], 1)
    assert rows.inputs["x"].tobytes() == table.inputs["x"].tobytes()


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (7, RowRefused),
        ("text", RowRefused),
        ({"a": 1}, RowRefused),
        ({}, RowRefused),
        ({"a": 1, "b": [2]}, RowRefused),
        ({"a": 1, "b": {}}, RowRefused),
        ({"a": 1, "b": None}, MissingValue),
        ({"a": 1, "b": "x"}, NotANumber),
        ({"a": 1, "b": 10**400}, NotANumber),
        ([1, 2, 3], WrongShape),
        ([[1, 2], [3]], RowRefused),
        ([], WrongShape),
    ],
)
def test_a_json_row_that_cannot_be_used_says_why(value, error):
    with pytest.raises(error) as caught:
        JsonRows(tabular(), None).read([value], 5)
    said(caught.value)
    if "row" in caught.value.values:
        assert caught.value.values["row"] == 5


def test_the_row_at_fault_is_named_among_others():
    with pytest.raises(RowRefused) as caught:
        JsonRows(wanted(X), None).read([{"x": [1, 2]}, {"x": [1]}], 3)
    assert caught.value.row == 4


def test_texts_go_to_an_input_of_text():
    model = wanted(port("t", None, 1, dtype="string"))
    assert JsonRows(model, None).read([{"t": "ab"}], 1).inputs["t"].tolist() == [["ab"]]


def test_an_input_without_dimensions_takes_one_value_a_row():
    model = rows_wanted(Wanted((port("s", 2, 1), port("x", 1, 2), port("sr", dtype="int64"))), "s")
    rows = JsonRows(model, None).read([{"x": [1, 2], "sr": 16000}, {"x": [3, 4], "sr": 8000}], 1)
    assert rows.inputs["sr"].tolist() == [16000, 8000]
    assert set(rows.inputs) == {"x", "sr"}


def test_lines_and_one_value_and_a_table_of_json_are_told_apart(tmp_path):
    lines = tmp_path / "r.jsonl"
    lines.write_text('{"a":1,"b":2}\n\n[3,4]\n', "utf-8")
    _, batches = read_all(lines, tabular())
    assert [(one.first, one.n) for one in batches] == [(1, 1), (3, 1)]
    whole = tmp_path / "r.json"
    whole.write_text(json.dumps([{"a": 1, "b": 2}, [3, 4]]), "utf-8")
    _, (rows,) = read_all(whole, tabular())
    assert rows.inputs["x"].tolist() == [[1, 2], [3, 4]]
    bare = tmp_path / "r.txt"
    bare.write_text('{"a":1,"b":2}\n', "utf-8")
    assert read_all(bare, tabular())[1][0].n == 1
    lines.write_text('{"a":1,"b":2}\n{"a":\n', "utf-8")
    with pytest.raises(RowRefused) as caught:
        read_all(lines, tabular())
    assert (caught.value.row, caught.value.reason) == (2, "not_json")
    for path, text in ((lines, "\n"), (whole, "[]")):
        path.write_text(text, "utf-8")
        with pytest.raises(DatasetRefused):
            read_all(path, tabular())


def test_arrays_are_run_in_their_order_and_checked_for_range(tmp_path):
    path = tmp_path / "r.npz"
    np.savez(path, x=np.array([[1, 2], [20, 4]], np.float32), y=np.arange(2))
    _, (rows,) = read_all(path, tabular())
    assert rows.inputs["x"].tolist() == [[1, 2], [20, 4]]
    assert rows.outside == [(), ("a",)]
    np.savez(path, x=np.array([[1, 2], [np.nan, 4]], np.float32))
    with pytest.raises(RowRefused) as caught:
        read_all(path, tabular())
    assert said(caught.value).row == 2


def test_another_kind_of_file_is_refused_by_name(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 and more")
    with pytest.raises(DatasetRefused) as caught:
        open_source(path, tabular(), None, Control())
    assert caught.value.values["found"] == "Parquet"


# --- answers --------------------------------------------------------------------------------

PROBABILITIES = np.array([[0.9, 0.1], [0.25, 0.75]], np.float32)


def test_classes_are_told_by_label_score_and_scores():
    reader = AnswerReader(tabular(labels=("no", "yes")), None)
    found = reader.read({"label": np.array([0, 1]), "probabilities": PROBABILITIES}, 2)
    assert found.objects() == [
        {"answer": "no", "score": 0.9, "scores": {"no": 0.9, "yes": 0.1}},
        {"answer": "yes", "score": 0.75, "scores": {"no": 0.25, "yes": 0.75}},
    ]
    assert found.table() == {
        "answer": ["no", "yes"],
        "score": ["0.9", "0.75"],
        "score.no": ["0.9", "0.25"],
        "score.yes": ["0.1", "0.75"],
    }


def test_the_steps_of_the_card_are_done_behind_the_model():
    model = tabular(labels=("no", "yes"))
    recipe = Recipe(post=(step("softmax"),), labels=("no", "yes"))
    soft = replace(model, card=msgspec.structs.replace(model.card, recipe=recipe))
    logits = np.array([[0.0, np.log(3.0)]], np.float32)
    (row,) = AnswerReader(soft, None).read({"logits": logits}, 1).objects()
    assert row["answer"] == "yes"
    assert row["score"] == pytest.approx(0.75)
    recipe = Recipe(post=(step("threshold", 0.8),), labels=("no", "yes"))
    strict = replace(model, card=msgspec.structs.replace(model.card, recipe=recipe))
    answers = AnswerReader(strict, None).read({"probabilities": PROBABILITIES}, 2)
    assert answers.labels == ("no", "no")
    assert AnswerReader(soft, None, raw=True).read({"logits": logits}, 1).objects() == [
        {"outputs": {"logits": [0.0, 1.0986123]}}
    ]


def test_figures_stand_under_their_own_names():
    model = Wanted((X,), (), ModelCard(), "tabular-regression")
    found = AnswerReader(model, None).read({"units": np.array([[1.5], [2]], np.float32)}, 2)
    assert found.objects() == [{"outputs": {"units": 1.5}}, {"outputs": {"units": 2.0}}]
    assert found.table() == {"units": ["1.5", "2.0"]}


def test_several_figures_have_the_names_of_their_columns():
    output = Tensor(
        name="y", dtype="float32", columns=(Column(name="scrap"), Column(name="energy"))
    )
    card = ModelCard(signature=Signature(outputs=(output,)))
    model = Wanted((X,), (), card, "tabular-regression")
    found = AnswerReader(model, None).read({"y": np.array([[1, 2]], np.float32)}, 1)
    assert found.objects() == [{"outputs": {"y": {"scrap": 1.0, "energy": 2.0}}}]
    assert list(found.table()) == ["y.scrap", "y.energy"]


def test_of_many_classes_the_highest_are_told():
    model = tabular(labels=tuple(f"c{i}" for i in range(100)))
    scores = np.linspace(0, 1, 100, dtype=np.float32)[None]
    answers = AnswerReader(model, None).read({"scores": scores}, 1)
    (row,) = answers.objects()
    assert len(row["scores"]) == SCORES_SHOWN
    assert next(iter(row["scores"])) == row["answer"] == "c99"
    assert list(answers.table()) == ["answer", "score"]


def test_what_is_no_number_is_told_as_nothing_and_keeps_its_columns():
    reader = AnswerReader(tabular(labels=("no", "yes")), None)
    first = reader.read({"probabilities": PROBABILITIES}, 2).table()
    second = reader.read({"probabilities": np.full((1, 2), np.nan, np.float32)}, 1)
    assert list(second.table()) == list(first)
    assert {one for (one,) in second.table().values()} == {""}
    line = msgspec.json.encode(row_object(second.objects()[0], ()))
    assert json.loads(line)["score"] is None


def test_outputs_with_other_rows_are_refused():
    with pytest.raises(OutputsUnusable):
        AnswerReader(tabular(), None).read({"y": np.zeros((3, 2), np.float32)}, 2)


# --- files ----------------------------------------------------------------------------------


def written(name, tmp_path, head=None, columns=("id", "answer"), answers=None):
    given = [{"id": "=1+1", "answer": "old"}, {"id": "v", "answer": "b"}] if columns else [{}, {}]
    rows = RunRows(1, 2, {}, given, [("a",), ()])
    if answers is None:
        reader = AnswerReader(tabular(labels=("no", "yes")), None)
        answers = reader.read({"probabilities": PROBABILITIES}, 2)
    stream = io.BytesIO()
    sink = open_sink(tmp_path / name, stream, columns, head or {})
    sink.write(rows, answers)
    sink.close()
    return stream.getvalue()


def test_a_csv_keeps_the_input_and_adds_the_answers(tmp_path):
    first, second = csv.DictReader(io.StringIO(written("o.csv", tmp_path).decode()))
    assert first["id"] == "=1+1"  # as it came
    assert (first["answer"], first["model.answer"], first["score"]) == ("old", "no", "0.9")
    assert (first["out_of_range"], second["out_of_range"]) == ("a", "")
    bare = written("o.csv", tmp_path, columns=()).decode().splitlines()
    assert bare[0].startswith("row,answer,")
    assert bare[2].startswith("2,yes,")


def test_a_label_that_a_spreadsheet_would_calculate_is_quoted(tmp_path):
    model = tabular(labels=("=cmd()", "-1.5"))
    answers = AnswerReader(model, None).read({"probabilities": PROBABILITIES}, 2)
    first, second = csv.DictReader(
        io.StringIO(written("o.csv", tmp_path, answers=answers).decode())
    )
    assert (first["model.answer"], second["model.answer"]) == ("'=cmd()", "-1.5")


def test_json_names_the_model_and_its_notice_and_lines_stand_for_themselves(tmp_path):
    head = {"model": "M", "notice": "N"}
    whole = json.loads(written("o.json", tmp_path, head))
    assert (whole["model"], whole["notice"]) == ("M", "N")
    assert [one["row"] for one in whole["rows"]] == [1, 2]
    lines = [json.loads(one) for one in written("o.jsonl", tmp_path, head).splitlines()]
    assert [one["notice"] for one in lines] == ["N", "N"]
    assert lines[0]["input"]["id"] == "=1+1"
    assert (lines[0]["out_of_range"], "out_of_range" in lines[1]) == (["a"], False)


def test_an_npz_holds_arrays_by_name_and_is_the_same_every_time(tmp_path):
    raw = written("o.npz", tmp_path)
    assert raw == written("o.npz", tmp_path)
    with np.load(io.BytesIO(raw)) as found:
        assert found["answer"].tolist() == ["no", "yes"]
        assert np.array_equal(found["scores"], PROBABILITIES)
        assert found["out_of_range"].tolist() == [True, False]


def test_rows_in_another_form_do_not_fit_one_table(tmp_path):
    figures = Wanted((X,), (), ModelCard(), "tabular-regression")
    reader = AnswerReader(figures, None)
    for name in ("o.csv", "o.npz"):
        sink = open_sink(tmp_path / name, io.BytesIO(), (), {})
        sink.write(RunRows(1, 1, {}, [{}], [()]), reader.read({"y": np.zeros((1, 2))}, 1))
        with pytest.raises(OutputsUnlike) as caught:
            sink.write(RunRows(2, 1, {}, [{}], [()]), reader.read({"y": np.zeros((1, 3))}, 1))
        said(caught.value)


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(OutputUnknown) as caught:
        check_output(tmp_path / "o.xlsx")
    said(caught.value)
