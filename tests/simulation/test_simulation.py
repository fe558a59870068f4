"""Fifty worlds, each from a seed, in which everything goes wrong that may, and what stays true.

And that the simulation would notice: with one thing broken on purpose, it finds a seed that fails.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hanse.core.engine.replication.showing import _Audience
from hanse.core.keystore.guards import CopyState
from hanse.network.wire.sync_actions import KeepCursor
from hanse.network.wire.sync_asking import Asking
from hanse.network.wire.sync_telling import Telling
from tests.simulation import sim_peer
from tests.simulation.sim_peer import Template, make_templates
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEEDS = range(50)
TRIES = 6  # seeds in which a broken exchange must have been noticed


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def templates(base: Path) -> list[Template]:
    return make_templates(base / "templates")


@pytest.fixture
def world(base: Path, templates: list[Template], tmp_path: Path) -> Callable[..., World]:
    def make(seed: int, **how: object) -> World:
        return World(seed, base / tmp_path.name / str(len(made)), templates, **how)

    made: list[World] = []
    return lambda seed, **how: made.append(make(seed, **how)) or made[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_of_faults_comes_to_one_truth(world: Callable[..., World], seed: int) -> None:
    with world(seed, is_small=True) as one:
        one.run()


def test_one_seed_gives_one_world(world: Callable[..., World]) -> None:
    traces = []
    for _ in range(2):
        with world(4, is_small=True) as one:
            one.run()
        traces.append(one.trace)
    assert traces[0] == traces[1]


# --- what is broken on purpose is noticed ---------------------------------------------------------


def notice(
    world: Callable[..., World], words: str, *faults: str, first: int, **how: object
) -> None:
    """Run seeds from ``first``, which did it once, until one fails with these words."""
    said = []
    for seed in range(first, first + TRIES):
        with world(seed, faults=frozenset(faults), **how) as one:
            try:
                one.run()
            except AssertionError as error:
                said.append(str(error))
                if words in said[-1] and f"seed {seed}:" in said[-1]:
                    return
    raise AssertionError(f"nothing was noticed in {TRIES} seeds, but {said}")


def test_a_cursor_that_is_kept_too_early_is_noticed(world, monkeypatch):
    told = Asking.told

    def too_early(self, rows, cursor, *, more):
        self._out.append(KeepCursor(cursor))
        told(self, rows, cursor, more=more)

    monkeypatch.setattr(Asking, "told", too_early)
    often = {"lose": 40, "dial": 40, "write": 30}
    notice(world, "hold different Entries", "loss", first=6, steps=400, often=often)


def test_news_that_are_not_told_are_noticed(world, monkeypatch):
    monkeypatch.setattr(Telling, "news", lambda _self: None)
    notice(world, "hold different Entries", "loss", first=3)


def test_branches_that_nobody_asks_for_are_noticed(world, monkeypatch):
    monkeypatch.setattr(Asking, "_follow", lambda _self, _ranges: None)
    monkeypatch.setattr(Telling, "tell_fork", lambda _self, _author, _proof: None)
    notice(world, "hold different Entries", "fork", first=3)


def test_a_private_body_that_is_shown_to_anybody_is_noticed(world, monkeypatch):
    monkeypatch.setattr(_Audience, "may_have", lambda *_: True)
    notice(world, "a Private body", first=3)


def test_a_device_that_goes_on_behind_what_it_sent_is_noticed(world, monkeypatch):
    monkeypatch.setattr(sim_peer, "_judge_copy", lambda *_: CopyState.FINE)
    monkeypatch.setattr("hanse.core.engine.replication.own_feed.OwnFeed.is_confirmed", True)
    notice(world, "a Fork of an honest Device", "torn", first=3)
