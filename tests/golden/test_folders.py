"""Data folders of every part so far open with the present program, and nothing in them is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hanse.core.crypto.phrase import parse_phrase
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.errors import CopiedDisk
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock

FOLDERS = sorted((Path(__file__).parent / "folders").glob("part-*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_old_data_folder_opens_and_holds_what_it_held(folder: Path, tmp_path: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    shutil.copytree(folder / "data", tmp_path / "data")
    home = Home(tmp_path / "data", tmp_path / "config")
    clock = FakeClock(expected["now_ms"])
    with Engine.open(home, clock=clock, chance=SeededChance("old folder")) as engine:
        engine.accounts.unlock(expected["passphrase"])
        profile = engine.accounts.profile()
        assert profile.identity.hex() == expected["identity"]
        assert (profile.about, list(profile.web)) == (expected["about"], expected["web"])
        assert profile.contact == expected["contact"]
        assert (
            sorted(
                [view.device.hex(), view.name, view.state, view.cut_seq]
                for view in engine.accounts.devices()
            )
            == expected["devices"]
        )
        assert (
            sorted(
                [feed.author.hex(), feed.role, feed.state, feed.head_seq, feed.frozen_seq]
                for feed in engine.ledger.feeds()
            )
            == expected["feeds"]
        )
        report = engine.ledger.verify()
        assert report.holds
        assert (report.entries, report.forks, report.waiting) == (
            expected["entries"],
            expected["forks"],
            expected["waiting"],
        )
        engine.ledger.rebuild()
        assert engine.ledger.verify().holds
        # It was copied here, so it reads everything and signs nothing.
        with pytest.raises(CopiedDisk):
            engine.accounts.edit_profile(about="x")
        # Nor is the phrase forgotten: it still is that of the Identity.
        engine.accounts.confirm_phrase(parse_phrase(expected["phrase"]))


def test_there_is_a_folder_of_every_part() -> None:
    assert [folder.name for folder in FOLDERS][:1] == ["part-01"]
