"""A buyer's inputs: drawn evenly, committed to once each, and read back only whole."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hanse.core.certify.data import DataMapping, DataSet
from hanse.core.certify.trial_outputs import read_arrays
from hanse.core.engine.trying import inputs as trial_inputs
from hanse.core.engine.trying.inputs import InputFiles, InputsMissing, draw_inputs
from hanse.core.ledger.tree import check_inclusion
from hanse.core.limits import PART_MS_MAX
from hanse.core.model.control import Control
from tests.fakes.chance import SeededChance
from tests.fakes.shop import said


def rows(values):
    x = np.array(values, np.float32).reshape(-1, 1)
    return DataSet(
        name="rows.csv",
        sha256=bytes(32),
        n=len(x),
        inputs={"x": x},
        truth=np.arange(len(x)),
        targets=("y",),
        mapping=DataMapping(),
        recipe_sha256=bytes(32),
    )


def drawn(values):
    return draw_inputs(rows(values), SeededChance(1), Control())


def test_every_row_is_committed_to_with_its_truth():
    found = drawn(range(5))
    assert found.left_out == 0
    inputs = found.commitment.inputs
    assert [read_arrays(one.x)["x"].item() for one in inputs] == [0, 1, 2, 3, 4]
    assert [one.y for one in inputs] == [b"0", b"1", b"2", b"3", b"4"]
    assert len({salt for one in inputs for salt in (one.salt_x, one.salt_y)}) == 10


def test_an_input_that_stands_twice_is_committed_to_once():
    found = drawn([7, 8, 7, 8, 9])
    assert [one.y for one in found.commitment.inputs] == [b"0", b"1", b"4"]
    assert found.left_out == 2


def test_rows_are_spread_over_the_whole_file_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(trial_inputs, "TRIAL_COMMITTED_MAX", 4)
    found = drawn(range(100))
    assert [one.y for one in found.commitment.inputs] == [b"0", b"25", b"50", b"75"]
    assert found.left_out == 96


def test_kept_inputs_are_read_back_with_their_paths(tmp_path):
    files = InputFiles(tmp_path)
    commitment = drawn(range(6)).commitment
    files.keep(commitment)
    kept = files.load(commitment.root)
    assert kept.inputs == commitment.inputs
    for index, leaf in enumerate(kept.leaves):
        check_inclusion(leaf, index + 1, 6, kept.path(index), commitment.root)


def test_inputs_that_were_cut_or_changed_are_missing(tmp_path):
    files = InputFiles(tmp_path)
    commitment = drawn(range(3)).commitment
    files.keep(commitment)
    (path,) = (tmp_path / "store" / "trials").iterdir()
    whole = path.read_bytes()
    path.chmod(0o600)
    for changed in (b"", whole[:-1], whole[:40], whole[:-1] + bytes([whole[-1] ^ 1]), b"x" + whole):
        path.write_bytes(changed)
        with pytest.raises(InputsMissing) as caught:
            files.load(commitment.root)
        said(caught.value)
    files.drop(commitment.root)
    with pytest.raises(InputsMissing):
        files.load(commitment.root)


def test_only_old_files_of_no_trial_are_swept(tmp_path):
    files = InputFiles(tmp_path)
    kept, orphan = drawn(range(3)).commitment, drawn(range(4)).commitment
    for one in (kept, orphan):
        files.keep(one)
    now_ms = 1_700_000_000_000
    for path in (tmp_path / "store" / "trials").iterdir():
        os.utime(path, (now_ms / 1000, now_ms / 1000))
    files.sweep([kept.root], now_ms + PART_MS_MAX - 1000)
    files.load(orphan.root)
    files.sweep([kept.root], now_ms + PART_MS_MAX + 1000)
    files.load(kept.root)
    with pytest.raises(InputsMissing):
        files.load(orphan.root)
