"""The network's speed and size: real processes on loopback, each figure a ratio in one run.

A fetched Artifact is sent, checked Piece by Piece, hashed into its tree and written; the yardstick
is ``requests`` reading the same bytes from ``http.server`` in another process and throwing them
away, and, beside it, one that hashes and writes them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from hashlib import sha256
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from hanse.core.clock import SystemClock
from tests.bench.figures import report
from tests.fakes.content import MIB
from tests.fakes.network_process import Process
from tests.fakes.people import PASSPHRASE, Person
from tests.fakes.shop import AS_IS, plain_weights, publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

SIZE = 256 * MIB
ROUNDS = 3
PEERS = 30  # all from one address, of which a gate takes 32

SERVER = """
import functools, http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), functools.partial(Quiet, directory=sys.argv[1])
)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def seller(tmp_path_factory: pytest.TempPathFactory) -> tuple[Person, str, Path]:
    """A seller with one sealed Release of 256 MiB, and where its ciphertext lies."""
    base = tmp_path_factory.mktemp("figures")
    person = Person.make(base, "seller", SystemClock())
    with person.open() as engine:
        engine.accounts.confirm_phrase(person.phrase)
        release = publish(engine, plain_weights(base / "files", SIZE), preparation=AS_IS).release
        largest = max(engine.content.pieces.objects(), key=lambda it: it.size)
        path = engine.content.pieces.path(largest.root, largest.size)
    return person, release.hex(), path


def http_seconds(port: int, name: str, sink: Path | None) -> float:
    """Read the file over HTTP; with ``sink`` also hash and write it."""
    begin = time.perf_counter()
    digest, got = sha256(), 0
    with ExitStack() as stack:
        address = f"http://127.0.0.1:{port}/{name}"
        answer = stack.enter_context(requests.get(address, stream=True, timeout=60))
        file = None if sink is None else stack.enter_context(sink.open("wb"))
        for chunk in answer.iter_content(MIB):
            got += len(chunk)
            if file is not None:
                digest.update(chunk)
                file.write(chunk)
    assert got >= SIZE
    return time.perf_counter() - begin


def fetch_seconds(buyer: Process, release: str) -> float:
    """Let a buyer fetch the Release, from the asking to the last checked byte."""
    begin = time.perf_counter()
    buyer.ask("fetch", release)
    while buyer.ask("transfer", release)["state"] != "done":
        assert time.perf_counter() - begin < 300
        buyer.something(0.02)
    return time.perf_counter() - begin


@pytest.fixture
def web(seller: tuple[Person, str, Path]) -> Iterator[int]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(seller[2].parent)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    yield int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.mark.parametrize("seeders", [1, 4])
def test_fetching_a_sealed_artifact(
    seller: tuple[Person, str, Path], web: int, tmp_path: Path, seeders: int
) -> None:
    person, release, path = seller
    with ExitStack() as stack:
        first = Process.start(person, PASSPHRASE)
        stack.callback(first.end)
        sources = [first]
        for number in range(1, seeders):
            other = Process.start(Person.make(tmp_path, f"s{number}", SystemClock()), PASSPHRASE)
            stack.callback(other.end)
            other.ask("add", first.addresses[0])
            wait_for_release(other, release)
            fetch_seconds(other, release)
            sources.append(other)
        plain, full, took = [], [], []
        for number in range(ROUNDS):
            buyer = Process.start(Person.make(tmp_path, f"b{number}", SystemClock()), PASSPHRASE)
            for source in sources:
                buyer.ask("add", source.addresses[0])
            wait_for_release(buyer, release)
            plain.append(http_seconds(web, path.name, None))
            full.append(http_seconds(web, path.name, tmp_path / "sink"))
            took.append(fetch_seconds(buyer, release))
            buyer.end()
    rate = SIZE / MIB / statistics.median(took)
    bare = [http / ours for http, ours in zip(plain, took, strict=True)]
    hashed = [http / ours for http, ours in zip(full, took, strict=True)]
    note = f"{min(bare):.2f} to {max(bare):.2f}; {rate:.0f} MiB/s"
    report(
        f"256 MiB fetched, checked, written from {seeders} / requests from http.server",
        f"{statistics.median(bare):.2f}",
        ">= 0.15",
        note,
    )
    report(
        f"the same from {seeders} / requests that hashes and writes",
        f"{statistics.median(hashed):.2f}",
        ">= 0.15",
        f"{min(hashed):.2f} to {max(hashed):.2f}",
    )


def wait_for_release(process: Process, release: str) -> None:
    end = time.monotonic() + 60
    while not process.ask("known", release):
        assert time.monotonic() < end
        process.something(0.05)


def test_memory_with_thirty_peers(tmp_path: Path) -> None:
    hub = Process.start(Person.make(tmp_path, "hub", SystemClock()), PASSPHRASE)
    before = psutil.Process(hub.process.pid).memory_info().rss
    script = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.crowd", hub.addresses[0], str(PEERS), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert script.stdout is not None
    assert script.stdin is not None
    assert script.stdout.readline().strip() == "settled"
    after = psutil.Process(hub.process.pid).memory_info().rss
    connected = hub.ask("peers")
    script.stdin.close()
    script.wait(60)
    script.stdout.close()
    hub.end()
    assert connected == PEERS
    report(
        f"memory of a node with {PEERS} peers, each with a live session",
        f"{after / MIB:.0f} MiB",
        "-",
        f"{before / MIB:.0f} MiB alone; {(after - before) / PEERS / 1024:.0f} KiB a peer",
    )
