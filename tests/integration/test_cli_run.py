"""``hanse run`` at the terminal: real Workers, rows from files and streams, good and bad input."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from PIL import Image

from hanse.core.errors import EXIT_DONE, EXIT_NO, EXIT_REFUSED, EXIT_WRONG_USE
from hanse.core.market.samples import sample_model
from hanse.core.model.card import (
    MICRO,
    Recipe,
    RecipeStep,
    Signature,
    StatePair,
    Tensor,
    Trials,
)
from hanse.core.model.control import Control
from tests.fakes.shop import AS_IS, seller
from tests.fakes.terminal import Terminal
from tests.fakes.trial_shop import offer_sample

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("amount", "amount_ratio", "hour", "minutes_since_last", "payments_24h")
NAMES += ("distance_km", "card_age_days", "merchant_risk", "is_online", "foreign")


@dataclass
class Desk:
    """One person with models of every sort, at a terminal."""

    term: Terminal
    base: Path
    folder: Path
    fraud: str
    diagnosis: str
    counter: str
    pictures: str

    @property
    def common(self):
        return ("--data-dir", self.folder)

    def run(self, *arguments, **options):
        return self.term.run("run", *arguments, *self.common, **options)

    def ok(self, *arguments, **options):
        assert self.run(*arguments, **options) == EXIT_DONE, self.said
        return self.term.console.out_text

    def json(self, *arguments, **options):
        return self.term.json("run", *arguments, *self.common, **options)

    @property
    def lines(self):
        return [json.loads(one) for one in self.term.console.out_text.splitlines()]

    @property
    def said(self):
        return self.term.console.err_text

    def rows(self, sample_id):
        path = self.base / f"{sample_id}.csv"
        path.write_bytes(sample_model(sample_id).rows())
        return path


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return [*csv.DictReader(stream)]


def saved(graph, path):
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[opset]), path)
    return path


def counter(path):
    """Write a model that adds what comes to its state and says the sum."""
    shape, value = ["n", 1], helper.make_tensor_value_info
    nodes = [
        helper.make_node("Add", ["x", "state"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["next"]),
    ]
    inputs = [value("x", TensorProto.FLOAT, shape), value("state", TensorProto.FLOAT, [1, 1])]
    outputs = [value("sum", TensorProto.FLOAT, [1, 1]), value("next", TensorProto.FLOAT, [1, 1])]
    graph = helper.make_graph(nodes, "counter", inputs, outputs)
    return saved(graph, path)


def brightness(path):
    """Write a model whose scores are how dark and how light a picture of 4 x 4 is."""
    shape, value = ["n", 4, 4, 1], helper.make_tensor_value_info
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceMean", ["flat", "axes"], ["light"], keepdims=1),
        helper.make_node("Sub", ["one", "light"], ["dark"]),
        helper.make_node("Concat", ["dark", "light"], ["scores"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [value("x", TensorProto.FLOAT, shape)],
        [value("scores", TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    return saved(graph, path)


def drafted(engine, path, **card):
    """Import a model as a draft whose card says ``card``."""
    begun = engine.publishing.begin(path, Control(), preparation=AS_IS)

    def change(draft):
        changed = msgspec.structs.replace(draft.card, **card)
        return msgspec.structs.replace(draft, title=path.stem, card=changed)

    engine.publishing.edit(begun.draft_id, change)
    return begun.draft_id.hex()


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    anna = seller(base, "anna")
    x, state = (Tensor(name=one, dtype="float32", shape=(None, 1)) for one in ("x", "state"))
    picture = Tensor(name="x", dtype="float32", shape=(None, 4, 4, 1))
    scale = RecipeStep(op="scale", tensor="x", numbers_micro=(MICRO // 255, 0))
    with anna.open() as engine:
        fraud = offer_sample(engine, base, "fraud-detection", Trials(), untested=True).release.hex()
        diagnosis = offer_sample(engine, base, "diagnosis", Trials(), untested=True).listing.hex()
        pair = (StatePair(output="next", input="state"),)
        counting = drafted(
            engine,
            counter(base / "counter.onnx"),
            signature=Signature(inputs=(x, state), states=pair),
        )
        pictures = drafted(
            engine,
            brightness(base / "brightness.onnx"),
            signature=Signature(inputs=(picture,)),
            recipe=Recipe(pre=(scale,), labels=("dark", "light")),
        )
    term = Terminal(base, environ={"HANSE_CONFIG_DIR": str(anna.home.config)}, clock=anna.clock)
    return Desk(term, base, anna.home.folder, fraud, diagnosis, counting, pictures)


# --- files ----------------------------------------------------------------------------------


def test_a_csv_comes_out_as_onnxruntime_answers_it_with_the_input_beside(desk):
    rows, out = desk.rows("fraud-detection"), desk.base / "out.csv"
    assert f"Written: {out}" in desk.ok(desk.fraud[:12], "--input", rows, "--output", out)
    given, found = map(read_csv, (rows, out))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(sample_model("fraud-detection").graph(), options)
    table = np.array([[one[name] for name in NAMES] for one in given], np.float32)
    name = session.get_inputs()[0].name
    # As many rows and threads as we use: a tree ensemble adds up in another order for others.
    parts = [session.run(None, {name: table[i : i + 64]}) for i in range(0, len(table), 64)]
    labels, scores = (np.concatenate(one) for one in zip(*parts, strict=True))
    assert [one["answer"] for one in found] == [("honest", "fraud")[it] for it in labels]
    written = np.array([one["score.fraud"] for one in found], np.float32)
    assert np.array_equal(written, scores[:, 1])
    assert [one["amount"] for one in found] == [one["amount"] for one in given]
    # Nothing is overwritten unless that is said.
    assert desk.run(desk.fraud[:12], "--input", rows, "--output", out) == EXIT_REFUSED
    arrays = desk.base / "out.npz"
    arrays.write_bytes(b"old")
    desk.ok(desk.fraud, "--input", rows, "--output", arrays, "--force")
    with np.load(arrays) as npz:
        assert np.array_equal(npz["scores"], scores)


def test_a_medical_model_says_what_it_is_not_beside_every_answer(desk):
    rows, out = desk.rows("diagnosis"), desk.base / "out.json"
    found = desk.json(desk.diagnosis[:12], "--input", rows, "--output", out)
    notice = "This model supports a decision of qualified people. It does not take it."
    assert found["notice"] == notice
    assert found["limitations"]
    assert (found["n"], found["isolation"]) == (200, "full")
    written = json.loads(out.read_bytes())
    assert written["notice"] == notice
    assert written["model"] in desk.said
    assert notice in desk.said
    assert {one["answer"] for one in written["rows"]} == {"benign", "malignant"}
    desk.ok(desk.diagnosis, "--input", rows, "--lang", "zh")
    assert "并不代替其作出决定" in desk.said
    assert "答" not in desk.term.console.out_text
    assert "结果" in desk.term.console.out_text


def test_without_a_file_the_first_rows_are_shown_and_rows_out_of_range_marked(desk):
    path = desk.base / "few.csv"
    row = "10,1,12,60,2,5,400,0.01,0,0"
    path.write_text(",".join(NAMES) + f"\n{row}\n{row.replace('12', '99')}\n", "utf-8")
    said = desk.ok(desk.fraud, "--input", path)
    assert "out of range" in said
    assert "hour" in said
    assert "1 rows have values outside the range" in said
    found = desk.json(desk.fraud, "--input", path)
    assert (found["out_of_range"], found["rows"][1]["out_of_range"]) == (1, ["hour"])
    assert found["rows"][0]["scores"]["fraud"] < 1


def test_pictures_are_decoded_in_a_worker_and_prepared_as_the_card_says(desk):
    folder = desk.base / "pictures"
    folder.mkdir()
    for name, grey in (("a.png", 0), ("b.png", 255), ("c.jpg", 250)):
        Image.new("L", (4, 4), grey).save(folder / name)
    found = desk.json(desk.pictures[:12], "--input", folder)
    assert [(one["file"], one["answer"]) for one in found["rows"]] == [
        ("a.png", "dark"),
        ("b.png", "light"),
        ("c.jpg", "light"),
    ]
    alone = desk.json(desk.pictures, "--input", folder / "a.png")
    assert alone["rows"][0]["answer"] == "dark"
    (folder / "notes.txt").write_text("no picture", "utf-8")
    error = desk.json(desk.pictures, "--input", folder, status=EXIT_REFUSED)
    assert error["values"]["rule"] == "not_an_image"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_wrong_with_a_file_is_said_and_no_file_is_made(desk, language):
    path, out = desk.base / "bad.csv", desk.base / "never.csv"
    row = "10,1,12,60,2,5,400,0.01,0,0\n"
    cases = {
        ",".join(NAMES) + "\n" + row + row.replace("60", "soon"): ("minutes_since_last", "soon"),
        ",".join(NAMES) + "\n" + row + row.replace("60", ""): ("minutes_since_last", "2"),
        "p,q\n1,2\n": ("amount", "p"),
    }
    for text, named in cases.items():
        path.write_text(text, "utf-8")
        status = desk.run(desk.fraud, "--input", path, "--output", out, "--lang", language)
        assert status == EXIT_REFUSED
        assert all(one in desk.said for one in named)
    assert not out.exists()
    assert [one for one in desk.base.iterdir() if one.name.startswith(".never")] == []


def test_what_was_typed_wrong_is_said_before_anything_runs(desk):
    rows = desk.rows("fraud-detection")
    for arguments, code in (
        ((), "usage.missing_value"),
        ((desk.fraud,), "usage.missing_value"),
        ((desk.fraud, "--input", rows, "--stdin"), "usage.exclude_each_other"),
        ((desk.fraud, "--stdin"), "usage.exclude_each_other"),  # with --json
        ((desk.fraud, "--trial", "12345678", "--input", rows), "usage.exclude_each_other"),
        ((desk.fraud, "--input", rows, "--output", desk.base / "o.xlsx"), "run.output_unknown"),
        (("ffffffff", "--input", rows), "certify.nothing"),
        ((desk.fraud, "--input", rows, "--stateful"), "run.no_states"),
    ):
        assert desk.json(*arguments, status=EXIT_WRONG_USE)["code"] == code


def test_an_input_that_is_not_found_by_name_is_asked_for_and_taken_when_said(desk):
    path = desk.base / "other.csv"
    path.write_text(
        ",".join(f"c{i}" for i in range(11)) + "\n" + ",".join("1" * 11) + "\n", "utf-8"
    )
    columns = ("--input-columns", "payment=" + ",".join(f"c{i}" for i in range(10)))
    assert desk.run(desk.fraud, "--input", path) == EXIT_REFUSED
    assert desk.json(desk.fraud, "--input", path, *columns)["n"] == 1


# --- streams --------------------------------------------------------------------------------


def test_every_line_of_a_stream_is_answered_in_order_and_bad_ones_end_nothing(desk):
    first = dict(zip(NAMES, (10, 1, 12, 60, 2, 5, 400, 0.01, 0, 0), strict=True))
    rows = [first, {**first, "id": "b7", "hour": 99}, {**first, "hour": None}, [*first.values()]]
    lines = [json.dumps(one) for one in rows]
    lines[1:1] = ["{bad", ""]
    assert desk.run(desk.fraud, "--stdin", piped="\n".join(lines) + "\n") == EXIT_NO
    good, bad, empty, marked, missing, listed = desk.lines
    assert good["answer"] == "honest"
    assert good == listed
    assert (bad["line"], bad["code"]) == (2, "run.row")
    assert (empty["line"], empty["code"]) == (3, "run.row")
    assert (marked["id"], marked["out_of_range"]) == ("b7", ["hour"])
    assert missing["line"] == 5
    assert "hour" in missing["error"]
    assert "3 of 6 lines" in desk.said


def test_a_recurrent_model_remembers_only_when_it_is_told_to(desk):
    lines = "\n".join(json.dumps({"x": one}) for one in (1, 10, 100))
    desk.ok(desk.counter[:12], "--stdin", piped=lines)
    assert [one["outputs"]["sum"] for one in desk.lines] == [1, 10, 100]
    desk.ok(desk.counter[:12], "--stdin", "--stateful", piped=lines)
    assert [one["outputs"] for one in desk.lines] == [{"sum": 1}, {"sum": 11}, {"sum": 111}]


def test_lines_are_answered_while_the_stream_is_open_and_ctrl_c_ends_it(desk):
    command = [sys.executable, "-m", "hanse.app.cli", "run", desk.fraud, "--stdin"]
    row = json.dumps([10, 1, 12, 60, 2, 5, 400, 0.01, 0, 0]).encode()
    with subprocess.Popen(
        [*command, *map(str, desk.common)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HANSE_LANG": "en"},
    ) as process:
        for _ in range(3):
            process.stdin.write(row + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["answer"] == "honest"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == EXIT_NO
        assert time.monotonic() - began < 2
        assert b"Traceback" not in process.stderr.read()
