"""Which Level results allow, and which parts of a statement cannot both be true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.attest.faults import BadStatement
from hanse.core.attest.levels import NO_METRIC, allowed_level, check_consistent, outcome
from hanse.core.attest.suites import bundled
from hanse.core.model.certificate import CheckResult, Reproduces, Subject
from tests.fakes.certified import statement

SUITE = bundled().named("core/1.0.0")
WHOLE = statement(b"a" * 32)
MEASURED = WHOLE.measured
FULL = MEASURED.isolation
LIMITS = replace(FULL, grade="limits")
NONE = replace(FULL, grade="none")


def level(checks=MEASURED.checks, quality=MEASURED.quality, isolation=FULL):
    return allowed_level(SUITE, checks, quality, isolation)


def without(check_id):
    return tuple(one for one in MEASURED.checks if one.id != check_id)


def having(check_id, result, reason=""):
    return (*without(check_id), CheckResult(check_id, result, reason))


def odd(whole, suite=SUITE):
    with pytest.raises(BadStatement) as caught:
        check_consistent(whole, suite)
    assert caught.value.step == "consistent"
    return caught.value.what.removeprefix("$.predicate.")


def with_measured(**changes):
    return replace(WHOLE, measured=replace(MEASURED, **changes))


def test_all_checks_passed_on_enough_data_are_level_3():
    assert level() == 3
    check_consistent(WHOLE, SUITE)


def test_the_worst_result_is_the_outcome():
    assert outcome(()) == "PASSED"
    assert outcome(MEASURED.checks) == "PASSED"
    assert outcome(having("det.repeat", "skip", "one_core")) == "PASSED"
    assert outcome(having("det.repeat", "warn")) == "WARNED"
    assert outcome((*having("det.repeat", "warn"), CheckResult("run.x", "fail"))) == "FAILED"


@pytest.mark.parametrize("check", [one for one in SUITE.data.checks if "*" not in one.id])
@pytest.mark.parametrize("result", ["fail", "missing", "silent"])
def test_a_check_that_failed_or_was_left_out_in_silence_ends_below_its_level(check, result):
    checks = without(check.id)
    if result != "missing":
        checks = having(check.id, "fail" if result == "fail" else "skip")
    assert level(checks) == check.level - 1


def test_a_check_that_warns_or_is_left_out_for_a_reason_does_not():
    assert level(having("format.paths", "warn")) == 3
    assert level(having("st.header", "skip", "other_format")) == 3
    assert level(having("det.threads", "skip", "one_core")) == 3


@pytest.mark.parametrize(
    ("check", "most"),
    [
        ("run.load", 1),
        ("run.golden", 1),
        ("measure.latency", 2),
        ("measure.memory", 2),
        ("det.repeat", 2),
    ],
)
def test_what_a_level_is_about_cannot_be_left_out_for_any_reason(check, most):
    assert level(having(check, "skip", "not_runnable")) == most


def test_a_level_where_everything_was_left_out_is_not_reached():
    skipped = tuple(CheckResult(one.id, "skip", "other_format") for one in MEASURED.checks)
    assert level(skipped) == 0


def test_nothing_runs_without_a_lock_and_limits_are_enough():
    assert level(isolation=LIMITS) == 3
    assert level(isolation=NONE) == 1


def test_fewer_than_100_examples_never_count():
    assert level(quality=(replace(MEASURED.quality[0], n=99),)) == 2
    assert level(quality=(replace(MEASURED.quality[0], n=100),)) == 3
    assert level(quality=(replace(MEASURED.quality[0], slice="sex=f"),)) == 2
    assert level(quality=()) == 2


def test_a_task_without_a_metric_is_measured_all_the_same():
    checks = without("quality.accuracy")
    no_metric = (*checks, CheckResult("quality.metric", "skip", NO_METRIC))
    no_data = (*checks, CheckResult("quality.metric", "skip", "no_data_set"))
    assert level(no_metric, quality=()) == 3
    assert level(no_data, quality=()) == 2


def test_a_claim_that_fails_ends_at_level_2():
    assert level(having("quality.accuracy", "fail", "claim_worse")) == 2


def test_a_statement_may_claim_less_than_it_could():
    check_consistent(with_measured(level=1), SUITE)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"checks": without("run.load")}, "level"),
        ({"checks": (*MEASURED.checks, MEASURED.checks[0])}, f"checks[{len(MEASURED.checks)}].id"),
        ({"checks": (CheckResult("run.magic", "pass"),), "level": 0}, "checks[0].id"),
        ({"checks": (CheckResult("run.load", "skip"),), "level": 0}, "checks[0].reason"),
        ({"finished_ms": MEASURED.started_ms - 1}, "finished"),
        ({"machine": replace(MEASURED.machine, cores=3)}, "machine.cores"),
        ({"isolation": NONE, "level": 1}, "isolation.grade"),
        (
            {"quality": (replace(MEASURED.quality[0], low_micro=2, high_micro=1),)},
            "quality[0].ci95",
        ),
        ({"perf": ()}, "perf"),
        ({"memory": None}, "memory"),
    ],
)
def test_parts_that_cannot_both_be_true_are_named(changes, what):
    assert odd(with_measured(**changes)) == what


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"p10": 99}, "p10"),
        ({"p10": 10**6}, "p50"),
        ({"p50": 10**6}, "p90"),
        ({"p90": 119}, "p90"),
        ({"p99": 129, "n": 1000}, "p99"),
        ({"p99": 10**6, "n": 999}, "p99"),
    ],
)
def test_latencies_rise_and_a_p99_takes_a_thousand_runs(changes, what):
    row = replace(MEASURED.perf[0], **changes)
    assert odd(with_measured(perf=(row,))) == f"perf[0].{what}"


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (Reproduces(b"e" * 32, "agree", "", 1, 24, 25), "failing"),
        (Reproduces(b"e" * 32, "agree", "", 1, 24, 1), "verdict"),
        (Reproduces(b"e" * 32, "differ", "", 1, 24, 0), "verdict"),
        (Reproduces(b"e" * 32, "agree", "", 1, 0, 0), "compared"),
        (Reproduces(b"e" * 32, "not_comparable", "", 0, 0, 0), "reason"),
    ],
)
def test_a_verdict_follows_from_what_was_compared(found, what):
    assert odd(replace(WHOLE, reproduces=found)) == f"reproduces.{what}"


def test_a_verdict_that_follows_is_consistent():
    for found in (
        Reproduces(b"e" * 32, "agree", "", 1, 200, 2),
        Reproduces(b"e" * 32, "differ", "", 1, 200, 3),
        Reproduces(b"e" * 32, "not_comparable", "suite", 0, 0, 0),
    ):
        check_consistent(replace(WHOLE, reproduces=found), SUITE)


def test_the_number_of_files_is_that_of_the_subjects_or_of_their_list():
    twice = replace(WHOLE, subjects=WHOLE.subjects * 2, files=2)
    with pytest.raises(BadStatement, match=r"\$\.subject\[1\]\.name"):
        check_consistent(twice, SUITE)
    assert odd(replace(WHOLE, files=2)) == "artifact.files"
    listed = replace(WHOLE, files=70, subjects=(Subject("manifest", WHOLE.artifact),))
    check_consistent(listed, SUITE)
    other = replace(WHOLE, files=70, subjects=(Subject("manifest", bytes(32)),))
    assert odd(other) == "artifact.files"


def test_without_its_suite_only_what_needs_it_is_passed_over():
    check_consistent(with_measured(checks=(), perf=(), memory=None), None)
    assert odd(with_measured(finished_ms=0), None) == "finished"
