"""Real processes on loopback, killed and started again while an Artifact moves."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from hanse.core.clock import SystemClock
from hanse.core.model.control import Control
from tests.fakes.content import MIB
from tests.fakes.network_process import Process
from tests.fakes.people import PASSPHRASE, Person
from tests.fakes.shop import AS_IS, plain_weights, publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 240


class Town:
    """A seller with one sealed Release, and some buyers; each a process that may die."""

    def __init__(self, base: Path, buyers: int, size: int) -> None:
        self.people = [Person.make(base, "seller", SystemClock())]
        with self.people[0].open() as engine:
            engine.accounts.confirm_phrase(self.people[0].phrase)
            files = plain_weights(base / "files", size)
            self.release = publish(engine, files, preparation=AS_IS).release.hex()
        self.people += [Person.make(base, f"buyer{it}", SystemClock()) for it in range(buyers)]
        self.running: list[Process | None] = [None] * len(self.people)
        self.ports = [0] * len(self.people)
        self.kills = 0

    def start(self, number: int) -> Process:
        process = Process.start(self.people[number], PASSPHRASE, self.ports[number])
        self.ports[number] = process.port
        self.running[number] = process
        return process

    def at(self, number: int) -> Process:
        process = self.running[number]
        assert process is not None
        return process

    def connect(self, number: int) -> None:
        """Let a buyer know the seller and the buyer before it."""
        for other in {0, max(0, number - 1)} - {number}:
            self.at(number).ask("add", self.at(other).addresses[0])

    def kill_and_start_again(self, number: int) -> None:
        self.at(number).kill()
        self.kills += 1
        self.start(number)

    def end(self) -> None:
        for process in self.running:
            if process is not None and process.process.poll() is None:
                process.end()


@pytest.fixture
def towns() -> Iterator[list[Town]]:
    made: list[Town] = []
    yield made
    for town in made:
        town.end()


def wait_for(town: Town, buyers: range, rng: random.Random, kills: int) -> None:
    """Wait until all buyers have the Artifact, and kill somebody now and then meanwhile."""
    end = time.monotonic() + SECONDS
    last: dict[int, int] = {}
    while True:
        assert time.monotonic() < end, (last, town.kills)
        states = {}
        for number in buyers:
            transfer = town.at(number).ask("transfer", town.release)
            if "error" in transfer:  # its Entries have not come yet
                town.at(number).ask("fetch", town.release)
                continue
            states[number] = transfer["state"]
            last[number] = transfer["done"]
        if len(states) == len(buyers) and set(states.values()) == {"done"}:
            return
        is_moving = any(done > 0 for done in last.values())
        if kills and is_moving:
            town.kill_and_start_again(rng.choice([0, *buyers]))
            kills -= 1
        town.at(buyers[0]).something(0.3)


def check(town: Town, buyers: range) -> None:
    """Everybody holds the same Entries, and what came is whole."""
    end = time.monotonic() + 60
    while True:
        heads = [town.at(number).ask("heads") for number in [0, *buyers]]
        if all(found == heads[0] for found in heads) and len(heads[0]) == 2 * len(town.people):
            break
        assert time.monotonic() < end, [len(found) for found in heads]
        town.at(buyers[0]).something(0.2)
    assert len({town.at(number).ask("digest") for number in [0, *buyers]}) == 1
    town.end()
    for number in buyers:
        with town.people[number].open() as engine:
            assert engine.ledger.verify().holds
            for healed in engine.storing.heal(Control()):
                assert healed.is_whole


def test_two_processes_killed_at_random_while_an_artifact_moves(
    towns: list[Town], tmp_path: Path
) -> None:
    town = Town(tmp_path, 1, 24 * MIB)
    towns.append(town)
    town.start(0)
    town.start(1)
    town.connect(1)
    wait_for(town, range(1, 2), random.Random(1), kills=2)
    check(town, range(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_eight_processes_killed_at_random_while_200_mb_move(
    towns: list[Town], tmp_path: Path, seed: int
) -> None:
    town = Town(tmp_path, 7, 200 * MIB)
    towns.append(town)
    for number in range(8):
        town.start(number)
        if number:
            town.connect(number)
    wait_for(town, range(1, 8), random.Random(seed), kills=12)
    check(town, range(1, 8))
    assert town.kills >= 5  # as many as fell into the time it took
