"""Data folders of every part so far open with the present program, and nothing in them is lost."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from hanse.core.crypto.phrase import parse_phrase
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.errors import CopiedDisk
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.shop import check_whole, described
from tests.golden.certified_folder import stated_certification
from tests.golden.make_folder import FOLDERS, PARTS, stated_ledger, stated_market

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES_MAX = 1024 * 1024  # a repository is no place for large folders


@pytest.mark.parametrize("part", PARTS)
def test_an_old_data_folder_opens_and_holds_what_it_held(part: str, tmp_path: Path) -> None:
    expected = json.loads((FOLDERS / part / "expected.json").read_text(encoding="utf-8"))
    shutil.copytree(FOLDERS / part / "data", tmp_path / "data")
    home = Home(tmp_path / "data", tmp_path / "config")
    clock = FakeClock(expected["now_ms"])
    with Engine.open(home, clock=clock, chance=SeededChance("old folder")) as engine:
        engine.accounts.unlock(expected["passphrase"])
        assert engine.context.identity.hex() == expected["identity"]
        assert engine.context.device.hex() == expected["device"]
        for _ in range(2):
            held = stated_ledger(engine)
            assert held == {name: expected[name] for name in held}
            if "market" in expected:
                assert stated_market(engine) == expected["market"]
            if "certification" in expected:
                assert stated_certification(engine) == expected["certification"]
            check_whole(engine)
            engine.ledger.rebuild()
        # It was copied here, so it reads everything and signs nothing.
        with pytest.raises(CopiedDisk):
            engine.accounts.edit_profile(about="x")
        for draft in engine.publishing.drafts():
            engine.publishing.edit(draft.draft_id, described(title="Goes on"))
        # Nor is the phrase forgotten: it still is that of the Identity.
        engine.accounts.confirm_phrase(parse_phrase(expected["phrase"]))


@pytest.mark.parametrize("part", PARTS)
def test_a_folder_kept_for_later_programs_is_small(part: str) -> None:
    assert sum(path.stat().st_size for path in (FOLDERS / part).rglob("*")) < SIZE_BYTES_MAX


def test_there_is_a_folder_of_every_part() -> None:
    assert sorted(path.name for path in FOLDERS.iterdir()) == list(PARTS)
