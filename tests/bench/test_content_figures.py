"""The content store's speed, each figure as a ratio to plain tools on the same bytes.

Conditions, the same for both sides of a ratio: the source lies in the page cache, what an
earlier round wrote is removed before the clock starts, and on the disk both sides end with
their copy synced.  ``memory`` is a file system in memory, where syncing costs neither side.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.opening import check_opens, open_artifact
from hanse.core.artifacts.pieces import PieceStore
from hanse.core.artifacts.sealing import seal_artifact
from hanse.core.artifacts.tree import hash_leaves, piece_node, root_of_layer
from hanse.core.model.control import Control
from tests.bench.figures import report, report_ratio, seconds
from tests.fakes.content import CONTENT_KEY, MIB, SALT, some_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hanse.core.artifacts.manifest import FileEntry

ROOT = Path(__file__).parents[2]
SIZE = 512 * MIB
ROUNDS = 5
MEMORY = Path("/dev/shm")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("cp")), reason="no yardstick"),
]

PEAK = """
import sys
from pathlib import Path
from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.pieces import PieceStore
from hanse.core.model.control import Control

def peak():  # not ru_maxrss, which begins with the peak of whoever started this process
    [line] = [it for it in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in it]
    return int(line.split()[1]) * 1024

idle = peak()
import_artifact(Path(sys.argv[1]), PieceStore(Path(sys.argv[2])), Control())
print(idle, peak())
"""


class Place:
    """A source of random bytes, and room beside it for what is written."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.source = folder / "source"
        with self.source.open("wb") as file:
            for number in range(SIZE // MIB):
                file.write(some_bytes(MIB, str(number % 7)))
            file.flush()
            os.fsync(file.fileno())
        self.copy = folder / "copy"

    def clean(self) -> None:
        """Remove what a round wrote."""
        self.copy.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def store(self) -> PieceStore:
        return PieceStore(self.folder / "data")

    def cp(self) -> None:
        subprocess.run(["cp", self.source, self.copy], check=True)
        subprocess.run(["sync", self.copy], check=True)

    def openssl_then_cp(self) -> None:
        subprocess.run(
            ["openssl", "dgst", "-sha256", self.source], check=True, stdout=subprocess.DEVNULL
        )
        self.cp()

    def flat_sha256(self) -> None:
        digest, buffer = sha256(), bytearray(MIB)
        with self.source.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(memoryview(buffer)[:count])


@pytest.fixture(scope="module", params=["disk", "memory"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if request.param == "memory":
        if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < 6 * SIZE:
            pytest.skip("no file system in memory with room")
        folder = MEMORY / f"hanse-bench-{os.getpid()}"
        folder.mkdir()
    else:
        folder = tmp_path_factory.mktemp("content")
    try:
        yield Place(folder, request.param)
    finally:
        shutil.rmtree(folder)


def measure(
    name: str,
    place: Place,
    work: Callable[[], object],
    yardstick: Callable[[], object],
    *,
    goal: str,
    prepare: Callable[[], object] | None = None,
) -> None:
    """Report work against yardstick, taking turns, with everything removed in between."""
    works, yards = [], []
    for _ in range(ROUNDS):
        place.copy.unlink(missing_ok=True)
        yards.append(seconds(yardstick))
        (prepare or place.clean)()
        works.append(seconds(work))
    place.clean()
    ratios = [yard / took for yard, took in zip(yards, works, strict=True)]
    report(
        f"{name} ({place.name})",
        f"{statistics.median(ratios):.2f}",
        goal,
        f"{min(ratios):.2f} to {max(ratios):.2f}; best {SIZE / MIB / min(works):.0f} MiB/s "
        f"against {SIZE / MIB / min(yards):.0f} MiB/s",
    )


def test_import_to_openssl_then_cp(place: Place) -> None:
    measure(
        "import with whole-file SHA-256 / (openssl dgst, then cp)",
        place,
        lambda: import_artifact(place.source, place.store(), Control()),
        place.openssl_then_cp,
        goal=">= 0.85",
    )


def file_of(place: Place) -> FileEntry:
    [file] = import_artifact(place.source, place.store(), Control()).manifest.files
    return file


def test_tree_only_to_cp(place: Place) -> None:
    file = file_of(place)

    def add() -> None:
        with place.source.open("rb", buffering=0) as stream:
            place.store().add(file.root, file.size, stream)

    measure("store with its tree only / cp", place, add, place.cp, goal=">= 0.30")


def test_sealing_and_opening_to_flat_sha256(place: Place) -> None:
    place.clean()
    store = place.store()
    manifest = import_artifact(place.source, store, Control()).manifest
    [file] = manifest.files
    sealed = seal_artifact(manifest, CONTENT_KEY, SALT, store, Control()).manifest
    [cipher_root] = sealed.roots

    measure(
        "open and check every leaf, writing nothing / flat SHA-256",
        place,
        lambda: check_opens(manifest, sealed, CONTENT_KEY, store, Control()),
        place.flat_sha256,
        goal=">= 0.50",
        prepare=lambda: None,
    )
    store = place.store()
    manifest = import_artifact(place.source, store, Control()).manifest
    measure(
        "seal with both trees / flat SHA-256",
        place,
        lambda: seal_artifact(manifest, CONTENT_KEY, SALT, store, Control()),
        place.flat_sha256,
        goal=">= 0.30",
        prepare=lambda: store.remove(cipher_root, file.size),
    )
    store = place.store()
    manifest = import_artifact(place.source, store, Control()).manifest
    seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())
    measure(
        "open into the store, with the whole-file digest / flat SHA-256",
        place,
        lambda: open_artifact(manifest, sealed, CONTENT_KEY, store, None, Control()),
        place.flat_sha256,
        goal="-",
        prepare=lambda: store.path(file.root, file.size).unlink(missing_ok=True),
    )


def test_tree_to_one_call_sha256() -> None:
    data = some_bytes(128 * MIB)
    view = memoryview(data)

    def tree() -> None:
        nodes = [
            piece_node(hash_leaves(view[start : start + MIB])) for start in range(0, len(view), MIB)
        ]
        root_of_layer(b"".join(nodes))

    report_ratio(
        "BEP 52 tree / one-call SHA-256, in memory",
        tree,
        lambda: sha256(data).digest(),
        goal=">= 0.80",
        note="128 MiB",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs the peak as Linux tells it")
def test_peak_memory_of_a_large_import(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, 4 * 1024 * MIB)
    result = subprocess.run(
        [sys.executable, "-c", PEAK, source, tmp_path / "data"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shutil.rmtree(tmp_path / "data")
    idle, peak = map(int, result.stdout.split())
    report(
        "peak memory of a 4 GiB import, above idle",
        f"{(peak - idle) / 1e6:.0f} MB",
        "< 100 MB",
        f"a sparse file; idle {idle / 1e6:.0f} MB",
    )
