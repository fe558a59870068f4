"""Fifty kills while appending: no acknowledged Entry is lost, and what is held is sound."""

from __future__ import annotations

import pytest

from tests.integration.test_store_crash import kill_again_and_again

KILLS = 50
PARTS = 5  # each well under the time after which a test counts as hanging


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_fifty_kills_lose_no_acknowledged_entry(tmp_path, part):
    kill_again_and_again(tmp_path / "data", KILLS // PARTS, seed=part)
