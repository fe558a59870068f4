"""The same Entries in any order, any batches and any repetition give the same Projections.

Worlds are made by ``Author`` from a seed: Devices that fork, are revoked on one of
their branches, erase and are rotated away; a failing seed is a test of its own.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from hanse.core.engine.ledger import counted_of
from hanse.core.engine.syncing import accept_batch
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.ledger.replay import MemoryLedger
from hanse.core.store.engines import Store
from tests.fakes.author import START_MS, Author, DeviceFeed

NOW_MS = START_MS + 10_000_000
SEEDS = (*range(22), 103, 311)


def a_world(seed: int) -> list[CheckedEntry]:
    """Return every Entry of a small world with trouble in it."""
    dice = random.Random(seed)
    entries: list[CheckedEntry] = []
    for number in range(dice.randint(1, 2)):
        author = Author(f"{seed}/{number}")
        devices = [author.device(f"device {it}") for it in range(dice.randint(1, 3))]
        branches: list[DeviceFeed] = []
        for step in range(dice.randint(3, 14)):
            device = dice.choice(devices)
            match dice.choice(
                ["write"] * 6 + ["fork"] * 3 + ["revoke"] * 2 + ["erase", "rotate", "mirror"]
            ):
                case "write":
                    _write(device, dice, step)
                case "fork" if len(device.entries) > 2:
                    branch = device.fork_at(dice.randint(2, len(device.entries)))
                    for more in range(dice.randint(1, 3)):
                        _write(branch, dice, 100 + 10 * step + more)
                    branches.append(branch)
                case "revoke":
                    same = [it for it in [*devices, *branches] if it.key == device.key]
                    chosen = same[-1] if dice.random() < 0.6 else same[0]
                    author.revoke(chosen, dice.randint(0, len(chosen.entries)))
                case "erase":
                    erasable = [
                        it.entry_id for it in dice.choice(devices).entries if it.kind == "profile/1"
                    ]
                    if erasable:
                        device.erase([dice.choice(erasable)])
                case "rotate" if author.r < 2:
                    going_on = [it for it in devices if dice.random() < 0.7]
                    author.rotate([(it, None) for it in going_on])
                case "mirror":
                    mirror = author.device("mirror", "mirror")
                    _write(mirror, dice, 500 + step)
                    devices.append(mirror)
        if dice.random() < 0.3 and len(author.root.entries) > 1:
            side = author.root.fork_at(len(author.root.entries))
            author.revoke(dice.choice(devices), 1, root=side)
            entries += side.entries
        entries += author.root_entries
        for feed in [*devices, *branches]:
            entries += feed.entries
    unique = {entry.entry_id: entry for entry in entries}
    return list(unique.values())


def _write(device: DeviceFeed, dice: random.Random, step: int) -> None:
    if dice.random() < 0.8:
        device.append("profile/1", device.profile(f"name {step} {dice.random()}"))
    else:
        device.append("haiku/1" if dice.random() < 0.5 else "follow/1")


def _in_store(batches: list[list[CheckedEntry]]) -> tuple[bytes, dict[bytes, int]]:
    """Take the batches into a fresh store; return digest of the Projections and what counts."""
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name))
        try:
            for batch in batches:
                with store.unit_of_work() as uow:
                    accept_batch(uow, batch, NOW_MS)
                    uow.commit()
            with store.unit_of_work() as uow:
                digest = uow.projections.digest()
                assert uow.projections.difference() is None
                uow.projections.rebuild()
                assert uow.projections.digest() == digest
                counts = {bytes(row.author): counted_of(uow, row) for row in uow.feeds.all()}
            return digest, counts
        finally:
            store.close()


def _shuffled(entries: list[CheckedEntry], dice: random.Random) -> list[list[CheckedEntry]]:
    """Return the Entries in random order, some of them twice, in batches of random size."""
    order = [*entries, *dice.sample(entries, len(entries) // 2)]
    dice.shuffle(order)
    batches = []
    while order:
        size = dice.randint(1, 8)
        batches.append(order[:size])
        order = order[size:]
    return batches


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_repetition_gives_the_same_projections(seed: int) -> None:
    entries = a_world(seed)
    dice = random.Random(seed * 7 + 1)
    # Everything is brought once more at the end, as sync does: a Body that was dropped for
    # an erasure, which a later revocation made void, is wanted again.
    digest, counts = _in_store([entries, entries])
    for _ in range(2):
        again, counts_again = _in_store([*_shuffled(entries, dice), entries])
        assert again == digest
        assert _relevant(counts_again) == _relevant(counts)


def _relevant(counts: dict[bytes, int]) -> dict[bytes, int]:
    return dict(sorted(counts.items()))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_store_and_the_ledger_in_memory_agree_about_what_is_held(seed: int) -> None:
    """Two implementations of one gate: same Feeds, same Forks, for the same order."""
    entries = a_world(seed)
    random.Random(seed).shuffle(entries)
    memory = MemoryLedger()
    for entry in entries:
        memory.accept(entry, NOW_MS)
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name))
        try:
            with store.unit_of_work() as uow:
                for entry in entries:
                    accept_batch(uow, [entry], NOW_MS)
                frozen = {
                    bytes(row.author): (row.frozen_seq, counted_of(uow, row))
                    for row in uow.feeds.all()
                    if row.opening
                }
        finally:
            store.close()
    counts = memory.what_counts()
    assert frozen == {
        bytes(author): (feed.verifier.frozen_seq, counts[author])
        for author, feed in memory.feeds.items()
        if feed.opening
    }


@pytest.mark.parametrize("order", ["main first", "branch first", "revocation first"])
def test_the_branch_a_revocation_names_is_the_one_that_counts(order: str) -> None:
    author = Author("switch")
    device = author.device()
    device.append("profile/1", device.profile("before"))
    branch = device.fork_at(3)
    device.append("profile/1", device.profile("thief"))
    device.append("profile/1", device.profile("thief again"))
    branch.append("profile/1", branch.profile("owner"))
    branch.append("profile/1", branch.profile("owner again"))
    branch.append("profile/1", branch.profile("after the cut"))
    author.revoke(branch, 4)
    root, revocation = author.root_entries[:1], author.root_entries[1:]
    match order:
        case "main first":
            batches = [root, device.entries, branch.entries, revocation]
        case "branch first":
            batches = [root, branch.entries, device.entries, revocation]
        case _:
            batches = [revocation, root, device.entries[::-1], branch.entries[::-1]]
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name))
        try:
            for batch in batches:
                with store.unit_of_work() as uow:
                    accept_batch(uow, batch, NOW_MS)
                    uow.commit()
            with store.unit_of_work() as uow:
                profile = uow.projections.profile(author.identity)
                row = uow.feeds.get(device.key)
                assert row is not None
                counted = counted_of(uow, row)
                assert uow.projections.difference() is None
        finally:
            store.close()
    assert profile is not None
    assert profile.name == "owner again"
    assert counted == 4
    memory = MemoryLedger()
    for batch in batches:
        for entry in batch:
            memory.accept(entry, NOW_MS)
    assert memory.what_counts()[device.key] == 4
    assert memory.feeds[device.key].entries[3].entry_id == branch.ids[3]


def test_a_revocation_on_a_branch_counts_once_its_body_is_brought() -> None:
    author = Author("late body")
    device = author.device()
    device.append("profile/1", device.profile("kept"))
    device.append("profile/1", device.profile("cut off"))
    side = author.root.fork_at(2)
    author.revoke(author.device("other"), 1)
    revocation = author.revoke(device, 2, root=side)
    hidden = CheckedEntry(revocation.without_body())
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name))
        try:
            names = []
            for batch in ([*author.root_entries, *device.entries, hidden], [revocation]):
                with store.unit_of_work() as uow:
                    accept_batch(uow, batch, NOW_MS)
                    uow.commit()
                    profile = uow.projections.profile(author.identity)
                    assert profile is not None
                    names.append(profile.name)
                    assert uow.projections.difference() is None
        finally:
            store.close()
    assert names == ["cut off", "kept"]


@pytest.mark.parametrize("way", ["branch", "parked"])
def test_a_wrong_body_that_came_first_does_not_keep_the_right_one_out(way: str) -> None:
    author = Author("wrong body")
    device = author.device()
    device.append("profile/1", device.profile("kept"))
    device.append("profile/1", device.profile("cut off"))
    if way == "branch":
        side = author.root.fork_at(2)
        author.revoke(author.device("other"), 1)
        revocation = author.revoke(device, 2, root=side)
    else:
        revocation = author.revoke(device, 2)
    wrong = CheckedEntry(revocation._replace(body=b"\0" * 5000))
    first, rest = author.root_entries[:1], [it for it in author.root_entries[1:] if it.body]
    others = [it for it in rest if it.entry_id != revocation.entry_id]
    if way == "parked":
        batches = [[wrong], [revocation], first, device.entries]
    else:
        batches = [first, others, device.entries, [wrong], [revocation]]
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name))
        try:
            for batch in batches:
                with store.unit_of_work() as uow:
                    accept_batch(uow, batch, NOW_MS)
                    uow.commit()
            with store.reads() as reads:
                profile = reads.projections.profile(author.identity)
        finally:
            store.close()
    assert profile is not None
    assert profile.name == "kept"
