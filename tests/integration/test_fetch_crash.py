"""Fetching killed with SIGKILL wherever it touches the disk: it goes on, and loses little."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from random import Random

import pytest

from hanse.core.artifacts.sealing import check_sealed
from hanse.core.engine.fetching import TransferUnknown
from hanse.core.limits import PART_MS_MAX
from hanse.core.model.control import Control
from tests.fakes.content import MIB, some_bytes, write_files
from tests.fakes.fetcher import PIECES_PER_CHECKPOINT
from tests.fakes.people import Person
from tests.fakes.shop import AS_IS, body_of, check_whole, manifests, publish, seller

KILLS, SEEDS, MANY_SEEDS = 3, 2, 12
PIECES = 7 + 2
NOWHERE = 10**9


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX: fork, kill -9")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Publish a sealed Release of two files; prepare a buyer who has its Entries alone."""
    base = tmp_path_factory.mktemp("shop")
    anna = seller(base)
    files = {"a.bin": some_bytes(6 * MIB + 77, "a"), "b.bin": some_bytes(2 * MIB, "b")}
    with anna.open() as engine:
        release = publish(engine, write_files(base / "m", files), preparation=AS_IS).release
        engine.ledger.export(base / "anna.hanse-feed")
    bo = Person.make(base, "bo", anna.clock)
    with bo.open() as engine:
        engine.ledger.import_file(base / "anna.hanse-feed")
    return base, bo, release


@pytest.fixture(scope="module")
def fetcher():
    """Start the program that is killed again and again; it answers one line with one."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.fetcher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:

        def ask(**wish: object) -> dict[str, object]:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(json.dumps(wish) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        yield ask
        program.stdin.close()


@pytest.fixture
def start_over(shop):
    """Let the buyer have nothing of it again."""
    _, bo, release = shop
    with bo.open() as engine:
        with suppress(TransferUnknown):  # nothing was asked for yet
            engine.fetching.cancel(release)
        with engine.context.store.unit_of_work() as uow:
            uow.objects.release_artifact(body_of(engine, release).artifact)
            uow.commit()
    shutil.rmtree(bo.home.folder / "store", ignore_errors=True)


def durable(told: list[dict[str, int]]) -> int:
    return sum(one.get("came", 0) for one in told)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("start_over")
def test_a_fetch_killed_anywhere_goes_on_and_only_unsynced_pieces_come_again(shop, fetcher, seed):
    check_kills(shop, fetcher, seed, KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS, MANY_SEEDS))
@pytest.mark.usefixtures("start_over")
def test_a_fetch_killed_many_times_goes_on_each_time(shop, fetcher, seed):
    check_kills(shop, fetcher, seed, 2 * KILLS)


def check_kills(shop, fetcher, seed: int, most: int) -> None:
    base, bo, release = shop
    wish = {"giver": str(base / "anna"), "taker": str(base / "bo"), "release": release.hex()}
    chance, kept, kills = Random(seed), 0, 0
    for _ in range(most):
        found = fetcher(**wish, place=chance.randint(1, 90))
        came = durable(found["told"])
        kept += came
        if found["status"] == 0:
            break
        assert found["status"] == -signal.SIGKILL
        kills += 1
        with bo.open(unlocked=False) as engine:
            # What a checkpoint noted as durable is still there, whatever happened after it.
            with engine.fetching.open(release) as fetch:
                if fetch.is_known:
                    missing = sum(
                        len(list(fetch.have(one.root, one.size).missing()))
                        for one in fetch.objects()
                    )
                    assert missing <= PIECES - kept
            bo.clock.advance(2 * PART_MS_MAX)
            engine.storing.sweep()  # finds nothing of it that is too old to be kept
    else:
        found = fetcher(**wish, place=NOWHERE)
        kept += durable(found["told"])
    assert kills
    assert found["status"] == 0
    assert found["told"][-1]["done"], found
    # Each kill costs at most what had come since the checkpoint before it.
    assert kept <= PIECES + kills * PIECES_PER_CHECKPOINT
    with bo.open(unlocked=False) as engine:
        body = body_of(engine, release)
        plain, sealed = manifests(engine, body)
        check_sealed(plain, sealed, body.seal, body.files, engine.content.pieces, Control())
        check_whole(engine)
