"""Nothing that was acknowledged is lost: killed programs, torn logs."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hanse.core.store.engines import DATABASE_FILE, Store
from tests.fakes.appender import append, check_whole, feed_of

ROOT = Path(__file__).parents[2]
KILLS = 5
FEED = 600
WAL_FILE = DATABASE_FILE + "-wal"


def killed_after(folder: Path, acknowledgements: int) -> int:
    """Let a program append, kill it after so many acknowledgements, return the last one seen."""
    program = [sys.executable, "-m", "tests.fakes.appender", str(folder), str(FEED)]
    last = 0
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        for _ in range(acknowledgements):
            line = process.stdout.readline()
            if not line:
                break
            last = int(line)
        process.kill()
        # What it wrote to the pipe before it died was acknowledged too.
        for line in process.stdout:
            if line.endswith("\n"):
                last = int(line)
    return last


def kill_again_and_again(folder: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    _, device = feed_of(FEED)
    before = 0
    for _ in range(kills):
        acknowledged = killed_after(folder, chance.randint(1, FEED // kills // 2))
        with closing(Store.open(folder)) as store:
            length = check_whole(store, device)
        assert length >= max(acknowledged, before)
        before = length


def test_a_killed_program_loses_no_acknowledged_entry(tmp_path):
    kill_again_and_again(tmp_path / "data", KILLS, seed=KILLS)


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """A store as a crash leaves it, its log not checkpointed; and where each commit ends."""
    folder = tmp_path_factory.mktemp("torn")
    author, device = feed_of(FEED)
    ends = []
    with closing(Store.open(folder / "data")) as store:
        append(store, author.root_entries)
        wal = store.path.with_name(WAL_FILE)
        for entry in device.entries[:40]:
            append(store, [entry])
            ends.append(wal.stat().st_size)
        copy = folder / "copy"
        copy.mkdir()
        for name in (DATABASE_FILE, WAL_FILE):
            shutil.copy2(folder / "data" / name, copy / name)
    assert ends == sorted(ends)
    assert ends[-1] == (copy / WAL_FILE).stat().st_size
    return copy, ends


def cut(raw: bytearray, at: int, _: random.Random) -> bytes:
    return bytes(raw[:at])


def zero_tail(raw: bytearray, at: int, _: random.Random) -> bytes:
    return bytes(raw[:at]) + bytes(len(raw) - at)


def lost_page(raw: bytearray, at: int, _: random.Random) -> bytes:
    size = min(4096, len(raw) - at)
    raw[at : at + size] = bytes(size)
    return bytes(raw)


def garbage_tail(raw: bytearray, at: int, chance: random.Random) -> bytes:
    raw[at:] = chance.randbytes(len(raw) - at)
    return bytes(raw)


@pytest.mark.parametrize("tear", [cut, zero_tail, lost_page, garbage_tail])
def test_a_torn_log_gives_an_exact_prefix_with_everything_written_before(tmp_path, torn, tear):
    whole, ends = torn
    chance = random.Random(tear.__name__)
    _, device = feed_of(FEED)
    for number in range(6):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        wal = folder / WAL_FILE
        raw = bytearray(wal.read_bytes())
        at = chance.randrange(32, len(raw))
        wal.write_bytes(tear(raw, at, chance))
        with closing(Store.open(folder)) as store:
            length = check_whole(store, device)
        # A commit whose last byte lies before the tear was on disk.
        assert length >= sum(end <= at for end in ends)
        assert length < len(ends) or at >= ends[-1]


def test_an_untorn_log_gives_everything(tmp_path, torn):
    whole, ends = torn
    folder = tmp_path / "data"
    shutil.copytree(whole, folder)
    with closing(Store.open(folder)) as store:
        assert check_whole(store, feed_of(FEED)[1]) == len(ends)
