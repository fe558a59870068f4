"""What certifying costs: the suite in full, the window beside it, and verifying a result."""

from __future__ import annotations

import os
import threading
import time
from base64 import b64decode
from typing import TYPE_CHECKING

import msgspec
import pytest
from nacl.bindings import crypto_sign_open

from hanse.app.demo_market import Market
from hanse.app.workers import JobRunner
from hanse.core.attest.cert_file import read_cert_file, verify_cert_file
from hanse.core.attest.envelope import read_envelope
from hanse.core.attest.suites import bundled
from hanse.core.attest.verifying import verify_envelope
from hanse.core.engine.certify_target import CertifyRequest
from hanse.core.model.control import Control
from tests.bench.figures import report, report_ratio
from tests.fakes.people import START_MS
from tests.fakes.shop import seller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hanse.app.demo_certify import Sold
    from hanse.core.engine.engine import Engine

pytestmark = pytest.mark.slow

TICK_SECONDS = 0.01
IDLE_SECONDS = 10.0
QUEUE_SECONDS = 20.0
VERIFIED = 200


def _silent(*_: object, **__: object) -> None:
    """Tell nobody."""


def _must(holds: bool, *_: object, **__: object) -> None:
    assert holds


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, tuple[Sold, ...]]]:
    """Train, convert and publish the demo's four models, as ``hanse demo`` does."""
    base = tmp_path_factory.mktemp("shop")
    with seller(base).open() as engine:
        sold = Market(base, "en", _silent, _must).train_and_sell(engine)
        assert len(sold) == 4
        yield engine, sold


def certify(engine: Engine, one: Sold, suite: str) -> int:
    """Certify one model, as a person who waits for it, and return the job."""
    request = CertifyRequest(
        artifact=one.done.artifact_id, release=one.done.release_id, suite=suite, nice=0
    )
    job = engine.certifying.queue(request, now=True).row.job
    engine.certifying.run(job, Control())
    return job


def test_certifying_the_four_models_of_the_demo(shop: tuple[Engine, Sequence[Sold]]) -> None:
    engine, sold = shop
    whole = 0.0
    for one in sold:
        before, began = os.getloadavg()[0], time.perf_counter()
        job = certify(engine, one, "core")
        took = time.perf_counter() - began
        whole += took
        tested = engine.certifying.job(job).tested
        assert tested is not None
        measured = tested.measured
        checks = [check.result for check in measured.checks]
        report(
            f"certification under core/1.0.0, {one.trained.sector}",
            f"{took:.1f} s",
            "-",
            f"Level {measured.level}, {measured.outcome}, {checks.count('pass')} checks passed, "
            f"{checks.count('skip')} left out; p50 {measured.perf[0].p50 / 1000:.1f} us; "
            f"load {before:.1f}",
        )
    report("the four together", f"{whole:.0f} s")


class Ticks(threading.Thread):
    """A timer as a window has one: notes how long each of its short waits took."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.gaps: list[float] = []
        self._end = threading.Event()

    def run(self) -> None:
        before = time.perf_counter()
        while not self._end.wait(TICK_SECONDS):
            now = time.perf_counter()
            self.gaps.append((now - before) * 1000)
            before = now

    def over(self, work: Callable[[], object]) -> tuple[float, float]:
        """Return p95 and p99 of the gaps in milliseconds while ``work`` is done elsewhere."""
        self.start()
        work()
        self._end.set()
        self.join()
        found = sorted(self.gaps)
        return found[len(found) * 95 // 100], found[len(found) * 99 // 100]


def test_the_window_while_the_queue_runs(shop: tuple[Engine, Sequence[Sold]]) -> None:
    engine, sold = shop
    idle = Ticks().over(lambda: threading.Event().wait(IDLE_SECONDS))
    done, enough = [], threading.Event()
    runner = JobRunner(engine, on_done=done.append)
    number = 0
    while number < 8:  # background jobs, as many as nobody waits for
        one = sold[number % len(sold)]
        request = CertifyRequest(
            artifact=one.done.artifact_id,
            release=one.done.release_id,
            suite="quick",
            level_most=3 if number < len(sold) else 2,
        )
        engine.certifying.queue(request, now=False)
        number += 1
    runner.start()
    busy = Ticks().over(lambda: enough.wait(QUEUE_SECONDS))
    runner.close()
    assert done
    for name, at_rest, at_work in zip(("p95", "p99"), idle, busy, strict=True):
        report(
            f"gap of a 10 ms timer, {name}, queue of certifications running / idle",
            f"{at_work / at_rest:.2f}",
            "<= 2" if name == "p95" else "-",
            f"{at_work:.2f} ms against {at_rest:.2f} ms; {len(done)} jobs ended in "
            f"{QUEUE_SECONDS:.0f} s, suite quick, Workers at nice 10",
        )


def test_verifying_a_certificate(shop: tuple[Engine, Sequence[Sold]], tmp_path: Path) -> None:
    engine, sold = shop
    cert = engine.certifying.sign(engine.certifying.preview(certify(engine, sold[0], "quick")))
    path = tmp_path / "one.hanse-cert"
    engine.certificates.export(cert, path)
    raw, suites = path.read_bytes(), bundled()
    file = read_cert_file(raw)
    found = read_envelope(file.envelope)
    kind = found.payload_type
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(found.payload), found.payload)
    assert b64decode(msgspec.json.decode(file.envelope)["payload"]) == found.payload

    def bare() -> None:
        for _ in range(VERIFIED):
            crypto_sign_open(found.signature + signed, file.device)

    def envelope() -> None:
        for _ in range(VERIFIED):
            verify_envelope(file.envelope, file.device, index=None, suites=suites, manifest=None)

    def whole() -> None:
        for _ in range(VERIFIED):
            verify_cert_file(read_cert_file(raw), suites, START_MS + 10**9)

    for name, work, size in (
        ("a Certificate", envelope, len(file.envelope)),
        ("a `.hanse-cert` whole", whole, len(raw)),
    ):
        report_ratio(
            f"speed of verifying {name} / bare crypto_sign_open of the same bytes",
            work,
            bare,
            goal=">= 0.10" if work is envelope else "-",
            note=f"{size} bytes, {VERIFIED} times",
        )
