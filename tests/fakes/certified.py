"""Statements of Certificates as a tester would come to them, without running anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.attest.suites import bundled
from hanse.core.model.certificate import (
    CheckResult,
    Determinism,
    GoldenRef,
    Isolation,
    Machine,
    Measured,
    MemoryFacts,
    PerfRow,
    QualityRow,
    Reproduces,
    RuntimeFacts,
    Statement,
    Subject,
)

if TYPE_CHECKING:
    from hanse.core.model.ids import EntryId

SUITE = "core/1.0.0"
GOLDEN = GoldenRef(sha256=b"g" * 32, size=4096, n=24, rtol_nano=100_000, atol_nano=10_000)
_METRIC = "quality.accuracy"


def statement(
    artifact: bytes,
    *,
    nonce: bytes = bytes(16),
    level: int = 3,
    fails: str | None = None,
    reproduces: tuple[EntryId, str] | None = None,
    suite: str = SUITE,
    suite_sha256: bytes | None = None,
    golden: GoldenRef | None = GOLDEN,
    role: str = "seller",
    release: EntryId | None = None,
    at_ms: int = 1_700_000_000_000,
) -> Statement:
    """Make a statement of ``level``; ``fails`` is the check that failed, if any did."""
    known = bundled().named(SUITE)
    assert known is not None
    ids = [one.id.replace("quality.*", _METRIC) for one in known.data.checks if one.level <= level]
    if fails is not None and fails not in ids:
        ids.append(fails)
    measured = Measured(
        suite=suite,
        suite_sha256=known.sha256 if suite_sha256 is None else suite_sha256,
        level=level,
        checks=tuple(CheckResult(one, "fail" if one == fails else "pass") for one in ids),
        isolation=Isolation("full", "linux 6.18", ("rlimits", "landlock:7"), 2048, 600),
        machine=Machine("x86_64-v4/2c", "x86_64", "x86_64-v4", "a processor", 2, 24, "linux 6.18"),
        runtime=RuntimeFacts("onnxruntime", "1.32.0", "cpu", "all", "0"),
        golden=golden,
        perf=tuple(
            PerfRow(1, threads, 300, 100, 110, 120 + threads, 130, None, 2, (121,), False, -1, -1)
            for threads in (2, 1)
        ),
        memory=MemoryFacts(1000, 2000, 3000, 5_000_000),
        quality=(
            QualityRow(
                "digits", b"d" * 32, 1797, True, b"r" * 32, "accuracy", 874_000, None, None, ""
            ),
        )
        if level == 3
        else (),
        determinism=Determinism("bitwise", "bitwise", "bitwise"),
        started_ms=at_ms,
        finished_ms=at_ms + 70_000,
    )
    verdict = None if reproduces is None else reproduces[1]
    return Statement(
        subjects=(Subject("model.onnx", b"s" * 32),),
        artifact=artifact,
        files=1,
        size=26_143,
        made_from=None,
        role=role,
        release=release,
        grant=None,
        supersedes=None,
        measured=measured,
        parity=None,
        reproduces=None
        if reproduces is None
        else Reproduces(
            entry=reproduces[0],
            verdict=verdict,
            reason="" if verdict != "not_comparable" else "suite",
            max_abs_nano=950,
            compared=24,
            failing=24 if verdict == "differ" else 0,
        ),
        nonce=nonce,
    )
