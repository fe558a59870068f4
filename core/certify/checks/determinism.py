"""Checks that run the model again: in the same session, in a new one, with more threads.

* Bitwise equal or within the tolerance both pass, and which of the two is recorded: it is seen
  on one machine, and other CPUs round differently.
* An output that differs by more fails: figures of such a model could not be repeated.
* Each run is one step from given inputs; a state is an input like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.certify.checks.results import failed, passed, skipped
from hanse.core.certify.checks.running import nano_text
from hanse.core.certify.compare import agree_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hanse.core.certify.checks.suite_run import SuiteRun
    from hanse.core.model.arrays import Array
    from hanse.core.model.certificate import CheckResult, Sameness
    from hanse.core.model.suite import SuiteCheck


def check_repeat(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Run the same inputs again in the session that ran them first."""
    run.shared()
    return _again(run, check, "repeat", lambda inputs: run.run(inputs).outputs)


def check_session(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Run the same inputs in a new Worker."""
    with run.fresh(1) as (worker, _):
        return _again(run, check, "session", lambda inputs: worker.run(inputs, run.control).outputs)


def check_threads(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Run the same inputs with more than one thread."""
    with run.fresh(check.params["threads"]) as (worker, _):
        return _again(run, check, "threads", lambda inputs: worker.run(inputs, run.control).outputs)


def _again(
    run: SuiteRun,
    check: SuiteCheck,
    name: str,
    run_once: Callable[[Mapping[str, Array]], Mapping[str, Array]],
) -> CheckResult:
    """Run kept vectors again by ``run_once`` and keep under ``name`` how equal they were."""
    count = check.params["inputs"]
    # Generated inputs first, so that the same are repeated whatever the seller gave.
    vectors = sorted(run.golden, key=lambda one: one.origin != "generated")[:count]
    if not vectors:
        return skipped(check.id, "no_vectors")
    found: Sameness = "bitwise"
    for number, vector in enumerate(vectors):
        run.checkpoint(number, len(vectors))
        agreement = agree_outputs(vector.outputs, run_once(vector.inputs), run.facts)
        if not agreement.agrees:
            run.sameness[name] = "differs"
            return failed(
                check.id,
                "run_differs",
                agreement.difference,
                tensor=agreement.tensor,
                max_abs=nano_text(agreement.max_abs_nano),
            )
        if not agreement.is_bitwise:
            found = "tolerance"
    run.sameness[name] = found
    return passed(check.id, found)
