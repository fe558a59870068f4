"""Fifty worlds, each from a seed, in which everything goes wrong that may, and what stays true."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.simulation.sim_peer import Template, make_templates
from tests.simulation.world import World

SEEDS = range(50)


@pytest.fixture(scope="module")
def base():
    memory = Path("/dev/shm")  # noqa: S108 - a folder in memory, where there is one
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def templates(base) -> list[Template]:
    return make_templates(base / "templates")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_of_faults_comes_to_one_truth(base, templates, seed):
    with World(seed, base / str(seed), templates) as world:
        world.run()
