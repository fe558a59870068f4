"""Runs a suite over one Artifact: which checks, in which order, and what follows from each.

* Integrity first: of a file that is not the Manifest's nothing further is looked at or run.
* Then structure and the safety policy; what fails there is not run.  Then the model runs, is run
  again, is measured, and is compared with data.
* A crash, a timeout or a refusal is the failure of the check in which it happened, with its
  cause; checks that can still run get a new Worker, and those that cannot are left out with a
  reason.  A check is never left out in silence.
* Without a lock nothing runs: ``NoSandbox`` leaves as it is, and there is no result at all.  So
  does ``Cancelled``, and a disk that is full.
* Every finished check is kept at once by the caller.  Of an interrupted run those are not tried
  again whose result stands by itself; what is measured, or compared with what was run before,
  starts anew.

Nothing is signed here, and no store is known.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.attest.levels import NO_METRIC, allowed_level
from hanse.core.attest.reproduction import reproduction_verdict
from hanse.core.certify.checks import determinism, measuring, quality, running, structure
from hanse.core.certify.checks.results import (
    failed_by,
    failed_worker,
    passed,
    skipped,
)
from hanse.core.certify.checks.structure import READERS, Looked
from hanse.core.certify.checks.suite_run import Job, Settings, SuiteRun
from hanse.core.certify.compare import agree_outputs, tolerance_of, widest
from hanse.core.certify.generated import NoInput
from hanse.core.certify.golden import GoldenTooLarge, GoldenVectors, fitting, write_golden
from hanse.core.model.arrays import dtype_name
from hanse.core.model.artifact import RUNNABLE
from hanse.core.model.certificate import CheckResult, GoldenRef, Isolation, Measured
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hanse.core.clock import Clock
    from hanse.core.model.certificate import Machine, Verdict
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.suite import Suite, SuiteCheck

_INTEGRITY: Final = "format.hashes"
_LOAD: Final = "run.load"
_QUALITY: Final = "quality.*"
_GOLDEN: Final = "run.golden"
_STANDS_ALONE: Final = frozenset({"format", "onnx", "st", "gguf", "safety"})
_NS_A_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PlannedCheck:
    """One check of the suite; with a reason when it is left out."""

    check: SuiteCheck
    skip: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What decides which checks can be tried.

    ``formats`` are those of the model files; ``is_in_memory`` says that there are no files to
    look at, ``is_runnable`` that something runs, ``has_data`` that there is a data set and
    ``has_metric`` that the task is judged by a number at all.
    """

    formats: frozenset[str]
    is_in_memory: bool
    is_runnable: bool
    has_data: bool
    has_metric: bool
    cores: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What running another's golden vectors came to; ``reason`` where nothing was compared."""

    compared: int
    failing: int
    max_abs_nano: int
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Say what it comes to: none may differ, of a hundred and more one in a hundred."""
        if self.reason:
            return "not_comparable"
        return reproduction_verdict(self.compared, self.failing)


@dataclass(frozen=True, slots=True)
class Found:
    """What a run came to: figures, the Blob of golden vectors, and what comparing came to."""

    measured: Measured
    golden: bytes | None
    compared: Compared | None


def choose_checks(suite: Suite, scope: Scope) -> tuple[PlannedCheck, ...]:
    """Plan every check of the suite, those left out with their reason."""
    return tuple(
        PlannedCheck(check, _reason_to_skip(check.id, scope)) for check in suite.data.checks
    )


def certify(
    job: Job,
    suite: Suite,
    runner: ModelRunner,
    settings: Settings,
    control: Control,
    *,
    clock: Clock,
    machine: Machine,
    done: Mapping[str, CheckResult] | None = None,
    keep: Callable[[CheckResult], None] = lambda _: None,
    level_most: int = 3,
) -> Found:
    """Run the suite and return what it came to.

    Checks above ``level_most`` are left out: what is published is seen to run at once, and
    measured later.

    ``done`` holds the results of an interrupted run; ``keep`` is called with each new result.
    Raise ``NoSandbox`` when the lock does not hold, ``Cancelled``, or ``EnvironmentFault``.
    """
    run = SuiteRun(job, suite, runner, settings, control, clock, machine)
    started_ms = clock.now_ms()
    try:
        course = _Course(run, done or {}, keep, level_most)
        results = course.go()
    finally:
        run.end_shared()
    golden, reference = _written(run)
    isolation = run.isolation or Isolation("none", machine.os, (), 0, 0)
    measured = Measured(
        suite=suite.name,
        suite_sha256=suite.sha256,
        level=allowed_level(suite, results, run.quality, isolation),
        checks=results,
        isolation=isolation,
        machine=machine,
        runtime=run.runtime,
        golden=reference,
        perf=run.perf,
        memory=run.memory,
        quality=run.quality,
        determinism=run.determinism,
        started_ms=started_ms,
        finished_ms=max(started_ms, clock.now_ms()),
    )
    return Found(measured, golden, course.compared)


class _Course:
    """Goes through the planned checks once."""

    def __init__(
        self,
        run: SuiteRun,
        done: Mapping[str, CheckResult],
        keep: Callable[[CheckResult], None],
        level_most: int,
    ) -> None:
        self._run = run
        self._level_most = level_most
        self._done = done
        self._keep = keep
        self._results: list[CheckResult] = []
        self._looked: Looked | None = None
        self._blocked = ""  # the check after whose failure nothing is run
        self.compared: Compared | None = None

    def go(self) -> tuple[CheckResult, ...]:
        """Try every check of the suite in its order."""
        checks = self._run.suite.data.checks
        for number, check in enumerate(checks):
            self._run.control.checkpoint("certify", number, len(checks))
            before = self._done.get(check.id)
            if before is not None and before.result != "skip" and _stands_alone(check.id):
                self._take(check, before, is_new=False)
                continue
            began = time.monotonic_ns()
            tried = self._result_of(check)
            took_ms = (time.monotonic_ns() - began) // _NS_A_MS
            for one in tried if isinstance(tried, tuple) else (tried,):
                self._take(check, replace(one, ms=took_ms), is_new=True)
                took_ms = 0  # several results of one check took that long together
            if check.id == _GOLDEN:
                self._compare_reference(check)
        return tuple(self._results)

    def _take(self, check: SuiteCheck, result: CheckResult, *, is_new: bool) -> None:
        self._results.append(result)
        if result.result == "fail" and (check.level == 1 or check.id == _LOAD):
            self._blocked = self._blocked or check.id
        if check.id == "run.batch":
            self._run.takes_batch = result.result == "pass"
        if is_new:
            self._keep(result)

    def _result_of(self, check: SuiteCheck) -> CheckResult | tuple[CheckResult, ...]:
        if self._blocked and (check.level > 1 or self._blocked == _INTEGRITY):
            return skipped(_shown(check.id), "earlier_failed", check=self._blocked)
        if check.level > self._level_most:
            return skipped(_shown(check.id), "not_asked", level=self._level_most)
        try:
            self._run.begin(check)
            if check.id == _QUALITY and not self._run.job.evaluations and self._run.job.unreadable:
                return quality.not_read(*self._run.job.unreadable)
            if check.id != _INTEGRITY and (reason := self._reason(check)):
                return skipped(_shown(check.id), reason)
            if check.level == 1:
                return self._structural(check)
            tried = _TRIES.get(check.id)
            if tried is None:
                return skipped(check.id, "not_known")
            return tried(self._run, check)
        except WorkerFailed as error:
            self._run.end_shared()
            if error.kind == "cancelled":
                self._run.control.checkpoint(check.id, 0, 1)  # leaves, when a person said so
            return failed_worker(_shown(check.id), error)
        except NoInput as error:
            return failed_by(_shown(check.id), error)

    def _reason(self, check: SuiteCheck) -> str:
        job = self._run.job
        looked = self._look()
        known = looked.formats or {one.format for one in job.facts}
        if job.source is not None:
            known = known or {job.source.format}
        scope = Scope(
            formats=frozenset(known),
            is_in_memory=job.files is None,
            is_runnable=job.source is not None,
            has_data=bool(job.evaluations),
            has_metric=job.has_metric,
            cores=self._run.machine.cores,
        )
        return _reason_to_skip(check.id, scope)

    def _look(self) -> Looked:
        """Look at all files once, after their integrity is known."""
        if self._looked is not None:
            return self._looked
        job, run = self._run.job, self._run
        self._looked = Looked(facts=job.facts)
        if job.files is not None:
            assert job.scratch is not None
            self._looked = structure.look(job.files, job.scratch, run.runner, run.control)
        if job.source is not None:
            run.facts = self._looked.facts_of(job.source.file)
        return self._looked

    def _structural(self, check: SuiteCheck) -> CheckResult:
        job, control = self._run.job, self._run.control
        match check.id:
            case "format.hashes":
                return structure.check_integrity(check.id, job.manifest, job.files, control)
            case "format.paths":
                return structure.check_manifest_paths(check.id, job.manifest, self._look())
            case "format.limits":
                return structure.check_manifest_limits(check.id, job.manifest, self._look())
            case "safety.policy":
                if job.files is None:  # nothing but what the runtime loads from memory
                    return passed(check.id, job.source.format if job.source else "")
                return structure.check_policy(check.id, self._look(), job.files, control)
            case "format.magic" | "onnx.domains" | "onnx.tensors" | "onnx.checker":
                return structure.check_read(check.id, self._look())
            case "st.header" | "gguf.header":
                return structure.check_read(check.id, self._look())
            case _:
                return skipped(check.id, "not_known")

    def _compare_reference(self, check: SuiteCheck) -> None:
        """Run the vectors of the Certificate that is reproduced, and count what differs."""
        job = self._run.job
        if job.reference is None:
            return
        if self._blocked or not self._run.golden:
            self.compared = Compared(0, 0, 0, "not_run")
            return
        self._run.begin(check)
        failing = largest = 0
        vectors = job.reference.vectors
        for number, vector in enumerate(vectors):
            try:
                self._run.checkpoint(number, len(vectors))
                outputs = self._run.run(vector.inputs).outputs
            except WorkerFailed as error:
                if error.kind == "refused":
                    failing += 1
                    continue
                self._run.control.checkpoint(check.id, number, len(vectors))
                self.compared = Compared(0, 0, 0, "worker")
                return
            found = agree_outputs(vector.outputs, outputs, self._run.facts, job.declared)
            failing += not found.agrees
            largest = max(largest, found.max_abs_nano)
        self.compared = Compared(len(vectors), failing, largest)


def _reason_to_skip(check_id: str, scope: Scope) -> str:
    group = check_id.partition(".")[0]
    if check_id in READERS and READERS[check_id].isdisjoint(scope.formats):
        return "other_format"
    if scope.is_in_memory and (check_id in READERS or check_id == "format.magic"):
        return "in_memory"
    if group in _STANDS_ALONE:
        return ""
    if not scope.is_runnable or scope.formats.isdisjoint(RUNNABLE):
        return "not_runnable"
    if check_id == "det.threads" and scope.cores == 1:
        return "one_core"
    if group == "quality" and not scope.has_data:
        return "no_data_set" if scope.has_metric else NO_METRIC
    return ""


def _stands_alone(check_id: str) -> bool:
    return check_id.partition(".")[0] in _STANDS_ALONE or check_id in {"run.batch", "run.hostile"}


def _shown(check_id: str) -> str:
    """Return the id a result has: that of all metrics together is a name like any other."""
    return check_id.replace("*", "metric")


def _written(run: SuiteRun) -> tuple[bytes | None, GoldenRef | None]:
    """Write the golden vectors that fit a Blob, and how to name them."""
    if not run.golden:
        return None, None
    kept = fitting(GoldenVectors(run.golden))
    try:
        raw = write_golden(kept)
    except GoldenTooLarge:  # one vector alone is larger than a Blob
        return None, None
    own = {
        name: tolerance_of(dtype_name(one), run.facts)
        for name, one in kept.vectors[0].outputs.items()
    }
    stated = widest(own).tightened(run.job.declared)
    return raw, GoldenRef(
        sha256=sha256(raw).digest(),
        size=len(raw),
        n=len(kept.vectors),
        rtol_nano=stated.rtol_nano,
        atol_nano=stated.atol_nano,
    )


_TRIES: Final[
    Mapping[str, Callable[[SuiteRun, SuiteCheck], CheckResult | tuple[CheckResult, ...]]]
] = {
    "run.load": running.check_load,
    "run.golden": running.check_golden,
    "run.batch": running.check_batch,
    "run.hostile": running.check_hostile,
    "det.repeat": determinism.check_repeat,
    "det.session": determinism.check_session,
    "det.threads": determinism.check_threads,
    "measure.latency": measuring.check_latency,
    "measure.load": measuring.check_load_time,
    "measure.memory": measuring.check_memory,
    "quality.*": quality.check_quality,
}
