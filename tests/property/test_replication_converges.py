"""Two ledgers that exchange all they hold end with the same Feeds and the same Projections."""

from __future__ import annotations

import random
import shutil
from contextlib import ExitStack
from itertools import islice

import pytest

from hanse.core.engine.context import Context
from hanse.core.engine.home import Home
from hanse.core.engine.replicating import Replicating
from hanse.core.engine.syncing import accept_batch
from hanse.core.keystore.guards import CopyState
from hanse.core.keystore.keystore import read_public
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.store.engines import Store
from tests.fakes.author import Author
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.exchanging import Side, exchange
from tests.fakes.people import Person
from tests.property.test_convergence import NOW_MS, SEEDS, a_world
from tests.property.test_store_converges import (
    SCENARIOS,
    erased_by_a_thief,
    forked,
    forked_and_confirmed,
    forked_at_the_start_and_confirmed,
    forked_root,
    offered_and_erased,
    offered_on_two_branches,
    rotated_twice_over,
)

# The worlds in which order mattered once; all others run where there is time.
_BRANCHED = {
    forked,
    forked_and_confirmed,
    forked_at_the_start_and_confirmed,
    forked_root,
    rotated_twice_over,
    erased_by_a_thief,
    offered_and_erased,
    offered_on_two_branches,
}
_WORLDS = [
    pytest.param(it, id=it.__name__, marks=() if it in _BRANCHED else pytest.mark.slow)
    for it in SCENARIOS
]
_SEEDS = [
    pytest.param(seed, marks=() if seed in {3, 10, 103} else pytest.mark.slow) for seed in SEEDS
]


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    base = tmp_path_factory.mktemp("people")
    return [Person.make(base, name) for name in ("anna", "bo", "cem")]


@pytest.fixture
def sides(templates, tmp_path):
    """Return a maker of Sides: copies of Accounts, locked, whose folders count as their own."""
    with ExitStack() as stack:

        def make(number: int, name: str = "") -> Side:
            person = templates[number]
            base = tmp_path / f"{name or person.name}"
            shutil.copytree(person.home.folder, base / "data")
            home = Home(base / "data", base / "config")
            store = Store.open(home.folder)
            stack.callback(store.close)
            public = read_public(home.keystore)
            clock = FakeClock(NOW_MS)
            chance = SeededChance(person.name)
            context = Context(home, store, clock, chance, public, CopyState.FINE)
            return Side(context, Replicating(context))

        yield make


def feed(side: Side, entries, chance: random.Random) -> None:
    """Let a part of a world arrive in any order, in batches."""
    rest = iter(entries)
    while batch := list(islice(rest, chance.randint(1, 12))):
        with side.context.store.unit_of_work() as uow:
            accept_batch(uow, batch, NOW_MS)
            uow.commit()


def parts(entries, chance: random.Random, number: int):
    """Give each Side a part of a world: some whole, some half, some with Bodies missing."""
    for _ in range(number):
        share = chance.choice([0.0, 0.5, 0.8, 1.0])
        mine = [it for it in entries if chance.random() < share]
        chance.shuffle(mine)
        yield mine


def converged(*sides: Side) -> None:
    first, *others = sides
    for other in others:
        assert other.ids() == first.ids()
        assert other.digest() == first.digest()
    with first.context.store.reads() as reads:
        assert reads.projections.difference() is None


@pytest.mark.parametrize("seed", _SEEDS)
def test_two_with_parts_of_a_random_world_converge(sides, seed):
    chance = random.Random(seed)
    world = a_world(seed)
    one, other, all_at_once = sides(0), sides(1), sides(0, "union")
    for side, part in zip((one, other), parts(world, chance, 2), strict=True):
        feed(side, part, chance)
        feed(all_at_once, part, chance)
    exchange(one, other)
    converged(one, other)
    # Nothing was lost on the way: it is what one gets who is given both parts.
    authors = {it.author for it in world}
    given = {author: ids for author, ids in all_at_once.ids().items() if author in authors}
    assert given == {author: ids for author, ids in one.ids().items() if author in authors}


@pytest.mark.parametrize("scenario", _WORLDS)
def test_who_knows_nothing_learns_every_world(sides, scenario):
    chance = random.Random(scenario.__name__)
    one, other = sides(0), sides(1)
    feed(one, scenario(Author(scenario.__name__)), chance)
    exchange(one, other)
    converged(one, other)


@pytest.mark.parametrize("seed", _SEEDS)
def test_news_travel_along_a_line_by_what_came_since(sides, seed):
    """Nobody compares everything twice: what came late is told like what came in order."""
    chance = random.Random(1000 + seed)
    world = a_world(seed)
    line = [sides(0), sides(1), sides(2)]
    for side, part in zip(line, parts(world, chance, 3), strict=True):
        bare = [it for it in part if chance.random() < 0.3 and it.seq > 1]
        feed(side, [CheckedEntry(it.without_body()) for it in bare], chance)
        feed(side, [it for it in part if it not in bare], chance)
    first, middle, last = line
    exchange(middle, last)
    exchange(first, middle)
    for _ in range(4):
        assert not any(pull.reconciled for pull in exchange(middle, last))
        assert not any(pull.reconciled for pull in exchange(first, middle))
        if first.ids() == middle.ids() == last.ids() and middle.digest() == last.digest():
            break
    converged(*line)
