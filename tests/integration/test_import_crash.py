"""Imports of killed programs, on full disks and in little memory: all or nothing, and on again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.pieces import PieceStore
from hanse.core.artifacts.sealing import seal_artifact
from hanse.core.errors import StoreFull
from hanse.core.model.control import Control
from tests.fakes.content import CONTENT_KEY, MIB, SALT, imported, some_bytes, write_files

ROOT = Path(__file__).parents[2]
FILES = {
    "large": some_bytes(7 * MIB + 5),
    "middle": some_bytes(3 * MIB),
    "small": some_bytes(300_000),
    "tiny": b"x",
}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork, signals and file limits")

# Every import is a process of its own that kills itself at its n-th event: before or after a
# file is synced or renamed, or at a checkpoint.
KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from hanse.core.artifacts import parts
from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.pieces import PieceStore
from hanse.core.artifacts.sealing import seal_artifact
from hanse.core.model.control import Control
from tests.fakes.content import CONTENT_KEY, MIB, SALT

parts.PIECES_PER_CHECKPOINT_MAX = 1
source, base = Path(sys.argv[1]), Path(sys.argv[2])
fsync, replace = os.fsync, os.replace

def work(folder, kill_at):
    events = 0

    def event(*_):
        nonlocal events
        events += 1
        if events == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(act):
        def acted(*arguments, **named):
            event()
            result = act(*arguments, **named)
            event()
            return result
        return acted

    os.fsync, os.replace = around(fsync), around(replace)
    store = PieceStore(folder, step_bytes=2 * MIB)
    manifest = import_artifact(source, store, Control(report=event)).manifest
    sealed = seal_artifact(manifest, CONTENT_KEY, SALT, store, Control(report=event))
    Path(folder, "done").write_bytes(manifest.encode() + sealed.manifest.encode())
    Path(folder, "events").write_text(str(events))

def run(folder, kill_at):
    if (child := os.fork()) == 0:
        try:
            work(folder, kill_at)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return "killed" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

def check(folder):
    store = PieceStore(folder)
    for held in store.objects():
        assert not store.verify(held.root, held.size, Control()), "a listed object is not whole"

def folder_of(name):
    folder = base / name
    folder.mkdir()
    return folder

whole = folder_of("whole")
assert run(whole, 0) == 0
expected, events = (whole / "done").read_bytes(), int((whole / "events").read_text())
kills = 0
for kill_at in range(1, events, int(sys.argv[3])):
    folder = folder_of(f"once {kill_at}")
    kills += run(folder, kill_at) == "killed"
    check(folder)
    assert run(folder, 0) == 0
    check(folder)
    assert (folder / "done").read_bytes() == expected
    left = [path.name for path in (folder / "store" / "part").iterdir()]
    assert not left, (kill_at, left)
    shutil.rmtree(folder)
folder = folder_of("again and again")
chain = 0
while run(folder, events * 2 // 5) == "killed":
    chain += 1
    check(folder)
    assert chain < 12, "it starts from nothing each time"
assert (folder / "done").read_bytes() == expected
print(json.dumps([events, kills, chain]))
"""

MEMORY = """
import sys
from pathlib import Path
from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.pieces import PieceStore
from hanse.core.model.control import Control

def peak():  # not ru_maxrss, which begins with the peak of whoever started this process
    [line] = [it for it in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in it]
    return int(line.split()[1]) * 1024

before = peak()
import_artifact(Path(sys.argv[1]), PieceStore(Path(sys.argv[2])), Control())
print(peak() - before)
"""

LIMITED = """
import resource, sys
from pathlib import Path
from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.pieces import PieceStore
from hanse.core.errors import StoreFull
from hanse.core.model.control import Control

source, data = Path(sys.argv[1]), Path(sys.argv[2])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3 * 1024**2 + 5, hard))
store = PieceStore(data, step_bytes=1024**2)
try:
    import_artifact(source, store, Control())
except StoreFull as error:
    print(error.code, len(list(store.objects())), len(list((store.folder / "part").iterdir())))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(len(import_artifact(source, store, Control()).manifest.files))
"""


def run(program, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def killed(tmp_path, stride):
    source = write_files(tmp_path / "source", FILES)
    base = tmp_path / "runs"
    base.mkdir()
    events, kills, chain = json.loads(run(KILLED, source, base, stride))
    assert events > 60
    assert kills == len(range(1, events, stride))
    assert chain >= 2


def test_a_killed_import_lists_nothing_half_written_and_ends_the_same(tmp_path):
    killed(tmp_path, stride=29)


@pytest.mark.slow
def test_an_import_killed_nearly_anywhere_ends_the_same(tmp_path):
    killed(tmp_path, stride=3)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the peak as Linux tells it")
@pytest.mark.parametrize("size", [96 * MIB, pytest.param(600 * MIB, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_file(tmp_path, size):
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", size)
    peak = int(run(MEMORY, tmp_path / "large", tmp_path / "data"))
    assert 4 * MIB < peak < 32 * MIB


def test_a_file_that_may_not_grow_stops_the_import_and_leaves_nothing(tmp_path):
    write_files(tmp_path, {"source": some_bytes(5 * MIB)})
    assert run(LIMITED, tmp_path / "source", tmp_path / "data").split() == [
        *("store.full", "0", "0"),
        "1",
    ]


@contextmanager
def small_disk(folder, size):
    """Mount a disk of ``size`` bytes at ``folder``, or skip."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("a small disk needs the right to mount one")
    options = ["-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield lambda larger: subprocess.run(
            [mount, "-o", f"remount,size={larger}", str(folder)], check=True
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def names(store):
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_a_full_disk_stops_an_import_cleanly_and_room_lets_it_through(tmp_path):
    source = write_files(tmp_path / "source", FILES)
    with small_disk(tmp_path / "disk", 5 * MIB) as resize:
        store = PieceStore(tmp_path / "disk", free=lambda _: 10**12, step_bytes=2 * MIB)
        with pytest.raises(StoreFull):
            import_artifact(source, store, Control())
        assert names(store) == []
        resize(25 * MIB)
        manifest = import_artifact(source, store, Control()).manifest
        assert manifest.size == sum(map(len, FILES.values()))
        assert manifest == imported(tmp_path / "elsewhere", FILES)[1]


def test_a_full_disk_stops_sealing_cleanly(tmp_path):
    source = write_files(tmp_path / "source", FILES)
    with small_disk(tmp_path / "disk", 14 * MIB) as resize:
        store = PieceStore(tmp_path / "disk", free=lambda _: 10**12, step_bytes=2 * MIB)
        manifest = import_artifact(source, store, Control()).manifest
        before = names(store)
        with pytest.raises(StoreFull):
            seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())
        assert names(store) == before
        resize(40 * MIB)
        sealed = seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())
        assert all(map(store.has, sealed.manifest.roots, [file.size for file in manifest.files]))
