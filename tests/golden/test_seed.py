"""``docs/seed.md``: every demand stands there once, and every test it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "seed.md").read_text(encoding="utf-8")
ROWS_ASKED_FOR = 134
ROW = re.compile(r"^\| S(\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`((?:[a-z_]+/)+test_[a-z0-9_]+\.py)::(test_\w+)`")
STATE = re.compile(
    r"\*\*(done|partly|Part \d+|with S\d+(?: to S\d+| and S\d+(?: to S\d+)?)?)\*\*|\*later\*"
)
CHAINS = {"blockchain", "web3", "bitcoin", "python-bitcoinlib", "vyper", "eth-account", "eth-abi"}

ROWS = [(int(number), demand, state) for number, demand, state in ROW.findall(PAGE)]


@cache
def named_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return frozenset(node.name for node in found)


def test_every_row_stands_there_once_and_in_order():
    assert [number for number, _, _ in ROWS] == list(range(1, ROWS_ASKED_FOR + 1))
    assert PAGE.count("\n| S") == ROWS_ASKED_FOR


@pytest.mark.parametrize(("number", "state"), [(row[0], row[2]) for row in ROWS])
def test_a_row_says_how_far_it_is_and_what_shows_it(number, state):
    found = STATE.match(state)
    assert found is not None, state
    names = NAMED.findall(state)
    # What is met, wholly or partly, has a test; what is not has none to boast of.
    assert bool(names) == (found[1] in {"done", "partly"}), number
    assert state.count("::") == len(names)


def test_every_test_named_exists():
    missing = [
        f"S{number}: {path}::{name}"
        for number, _, state in ROWS
        for path, name in NAMED.findall(state)
        if not (ROOT / "tests" / path).exists() or name not in named_in(path)
    ]
    assert missing == []


def summed_up(state: str) -> set[int]:
    """Return the rows that a row of kind *with* stands for."""
    words = state.partition("**with")[2].partition("**")[0]
    found = re.findall(r"S(\d+)(?: to S(\d+))?", words)
    return {number for low, high in found for number in range(int(low), int(high or low) + 1)}


def test_a_row_that_sums_up_others_is_called_done_once_they_are():
    is_done = {number: state.startswith("**done") for number, _, state in ROWS}
    late = [
        f"S{number}"
        for number, _, state in ROWS
        if (others := summed_up(state)) and all(is_done[one] for one in others)
    ]
    assert late == []
    assert summed_up("**with S2 and S23 to S25**") == {2, 23, 24, 25}


def test_no_library_of_a_chain_is_needed():
    locked = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    needed = set(re.findall(r"^([a-z0-9-]+)==", locked, re.MULTILINE))
    assert needed
    assert needed & CHAINS == set()
