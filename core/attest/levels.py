"""What Level the checks of a run allow, and whether the parts of a Statement fit each other.

* A Level needs every check of its suite at that Level and below: passed, warned, or skipped with
  a reason.  A check that is not there counts as one that failed.
* Level 2 needs a model that was loaded and gave right outputs, locked in at least by limits.
* Level 3 needs figures: latency, load, memory, repetition, and quality on 100 examples or more;
  where the task has no metric, the check of quality is skipped for exactly that reason.
* Level 4 is never signed: ``attest.reproduction`` computes it for whoever looks.
* A Statement may claim less than its checks allow, never more.

A fault names the step "consistent" and the JSON path of the field that does not fit.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from hanse.core.attest.faults import BadStatement
from hanse.core.attest.reproduction import reproduction_verdict
from hanse.core.attest.statement import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.model.certificate import (
        CheckResult,
        Isolation,
        Measured,
        Outcome,
        PerfRow,
        QualityRow,
        Reproduces,
        Statement,
    )
    from hanse.core.model.suite import Suite

LEVEL_WORDS: Final = ("declared", "well_formed", "runs", "measured", "reproduced")
QUALITY_ROWS_LEAST: Final = 100  # examples; fewer never count for Level 3
NO_METRIC: Final = "no_metric"  # why quality is skipped where the task has none: Level 3 stands
P99_RUNS_LEAST: Final = 1000

_PASSED: Final = frozenset({"pass", "warn"})
# What a Level is about cannot be skipped for any reason.
_NEEDED: Final = {
    1: frozenset[str](),
    2: frozenset({"run.load", "run.golden"}),
    3: frozenset({"measure.latency", "measure.load", "measure.memory", "det.repeat"}),
}
_QUALITY: Final = "quality."
_OF_OUTPUT: Final = "output="  # a slice that tells outputs of a model apart, not examples


def outcome(checks: Iterable[CheckResult]) -> Outcome:
    """Say what checks come to together: the worst of them."""
    found = {one.result for one in checks}
    return "FAILED" if "fail" in found else "WARNED" if "warn" in found else "PASSED"


def allowed_level(
    suite: Suite,
    checks: Sequence[CheckResult],
    quality: Sequence[QualityRow],
    isolation: Isolation,
) -> int:
    """Return the highest Level, 0 to 3, that these results allow under ``suite``."""
    level = 0
    by_plan = _by_plan(suite, checks)
    for candidate in (1, 2, 3):
        if candidate > 1 and isolation.grade == "none":
            break
        if not _all_hold(suite, by_plan, candidate):
            break
        if candidate == 3 and not _has_quality(checks, quality):
            break
        level = candidate
    return level


def _by_plan(suite: Suite, checks: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    """Return the results of each check of the suite; those that are not of it are left out.

    ``quality.accuracy`` is a result of ``quality.*``.
    """
    found: dict[str, list[CheckResult]] = {one.id: [] for one in suite.data.checks}
    for one in checks:
        rows = found.get(one.id)
        if rows is None:
            rows = found.get(one.id.partition(".")[0] + ".*")
        if rows is not None:
            rows.append(one)
    return found


def _all_hold(suite: Suite, by_plan: Mapping[str, Sequence[CheckResult]], level: int) -> bool:
    """Say whether every check of the suite at ``level`` was done and stands."""
    has_passed = False
    for planned in suite.data.checks:
        if planned.level != level:
            continue
        found = by_plan[planned.id]
        if not found:
            return False
        for one in found:
            if one.result in _PASSED:
                has_passed = True
            elif one.result == "fail" or not one.reason or one.id in _NEEDED[level]:
                return False
    return has_passed


def _has_quality(checks: Sequence[CheckResult], quality: Sequence[QualityRow]) -> bool:
    if any(row.n >= QUALITY_ROWS_LEAST and _is_of_all(row) for row in quality):
        return True
    found = [one for one in checks if one.id.startswith(_QUALITY)]
    return bool(found) and all(one.result == "skip" and one.reason == NO_METRIC for one in found)


def _is_of_all(row: QualityRow) -> bool:
    """Say whether a figure is of all examples; that of one of several outputs is."""
    return not row.slice or row.slice.startswith(_OF_OUTPUT)


def check_consistent(statement: Statement, suite: Suite | None) -> None:
    """Raise ``BadStatement`` (step 7) at the first field that does not fit the others.

    ``suite`` is the one the Statement names, ``None`` when it is unknown here: then what needs
    its checks is not compared.
    """
    measured = statement.measured
    _check_subjects(statement)
    _check_checks(measured.checks, suite)
    _check_figures(measured)
    if statement.reproduces is not None:
        _check_reproduces(statement.reproduces)
    if suite is None:
        return
    allowed = allowed_level(suite, measured.checks, measured.quality, measured.isolation)
    if measured.level > allowed:
        raise _odd("level", f"<= {allowed}", measured.level)
    if measured.level == 3 and not measured.perf:
        raise _odd("perf", "a_value", "nothing")
    if measured.level == 3 and measured.memory is None:
        raise _odd("memory", "a_value", "nothing")


def _odd(where: str, expected: object, found: object) -> BadStatement:
    return BadStatement("consistent", f"$.predicate.{where}", expected, found)


def _check_subjects(statement: Statement) -> None:
    names = [one.name for one in statement.subjects]
    for n, name in enumerate(names):
        if name in names[:n]:
            raise BadStatement("consistent", f"$.subject[{n}].name", "once", "twice")
    is_manifest = names == [MANIFEST_NAME] and statement.subjects[0].sha256 == statement.artifact
    if len(names) != statement.files and not is_manifest:
        raise _odd("artifact.files", len(names), statement.files)


def _check_checks(checks: Sequence[CheckResult], suite: Suite | None) -> None:
    seen: set[str] = set()
    of_suite = None
    if suite is not None:
        of_suite = {one.id for rows in _by_plan(suite, checks).values() for one in rows}
    for n, one in enumerate(checks):
        if one.id in seen:
            raise _odd(f"checks[{n}].id", "once", "twice")
        seen.add(one.id)
        if one.result == "skip" and not one.reason:
            raise _odd(f"checks[{n}].reason", "a_value", "nothing")
        if of_suite is not None and one.id not in of_suite:
            raise _odd(f"checks[{n}].id", "check_of_suite", one.id)


def _check_figures(measured: Measured) -> None:
    if measured.finished_ms < measured.started_ms:
        raise _odd("finished", "not_before_start", measured.finished_ms - measured.started_ms)
    if not measured.machine.machine_class.endswith(f"/{measured.machine.cores}c"):
        raise _odd("machine.cores", measured.machine.machine_class, measured.machine.cores)
    if measured.isolation.grade == "none" and (measured.perf or measured.quality):
        raise _odd("isolation.grade", "limits", "none")
    for n, row in enumerate(measured.perf):
        _check_perf(f"perf[{n}]", row)
    for n, figure in enumerate(measured.quality):
        low, high = figure.low_micro, figure.high_micro
        if low is not None and high is not None and low > high:
            raise _odd(f"quality[{n}].ci95", "rising", [low, high])


def _check_perf(where: str, row: PerfRow) -> None:
    rising = [("min", row.min), ("p10", row.p10), ("p50", row.p50), ("p90", row.p90)]
    if row.p99 is not None:
        rising.append(("p99", row.p99))
        if row.n < P99_RUNS_LEAST:
            raise _odd(f"{where}.p99", "null", row.p99)
    for (below, least), (name, value) in itertools.pairwise(rising):
        if value < least:
            raise _odd(f"{where}.{name}", f">= {least} ({below})", value)


def _check_reproduces(found: Reproduces) -> None:
    if found.failing > found.compared:
        raise _odd("reproduces.failing", f"<= {found.compared}", found.failing)
    if found.verdict == "not_comparable":
        if not found.reason:
            raise _odd("reproduces.reason", "a_value", "nothing")
        return
    if found.compared == 0:
        raise _odd("reproduces.compared", ">= 1", found.compared)
    follows = reproduction_verdict(found.compared, found.failing)
    if found.verdict != follows:
        raise _odd("reproduces.verdict", follows, found.verdict)
