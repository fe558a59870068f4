"""Checks that run the model once: it loads, it answers right, in batches, and to nonsense.

* Vectors are the seller's samples and inputs generated from the suite; all outputs are kept, as
  the golden vectors others compare with.
* An input the seller gave must run.  A generated one may be refused by a graph that wants more
  than its signature says; that is told, and fails only where nothing else runs.
* NaN and infinity are allowed where the seller's own outputs hold them, and told where they come
  of inputs whose range nobody stated.
* Nonsense (NaN, the largest values, no rows, empty text) may be answered or refused; what may
  not happen is that the process dies or hangs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.checks.results import failed, failed_by, passed, skipped, warned
from hanse.core.certify.compare import Agreement, agree_outputs, has_odd_numbers
from hanse.core.certify.generated import OPEN_SIZES, NoInput, batch_axis, batch_symbol
from hanse.core.certify.golden import GoldenVector, Keeping
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hanse.core.certify.checks.suite_run import SuiteRun
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.certificate import CheckResult
    from hanse.core.model.suite import SuiteCheck

_FLOATS: Final = "f"
_TENSOR_TYPES: Final = ("tensor(", "sequence(", "map(", "optional(")


def check_load(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Load the model, and compare its signature with what inspection found in the file."""
    run.shared()
    assert run.loaded is not None
    loaded = run.loaded
    detail = f"{loaded.runtime} {loaded.version}"
    if run.facts is None:
        return passed(check.id, detail)
    for found, said in (
        (loaded.inputs, run.facts.inputs),
        (loaded.outputs, run.facts.outputs),
    ):
        odd = _first_odd(found, said)
        if odd:
            return failed(check.id, "signature", detail, tensor=odd)
    return passed(check.id, detail)


def check_golden(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Run samples and generated inputs, and keep their outputs."""
    samples, generated = check.params["samples"], check.params["generated"]
    given = () if run.job.samples is None else run.job.samples.vectors[:samples]
    kept = Keeping()
    total = len(given) + generated
    run.shared()
    for number, sample in enumerate(given):
        run.checkpoint(number, total)
        outputs = run.run(sample.inputs).outputs
        if fault := _sample_fault(run, check.id, number, sample, outputs):
            return fault
        kept.add(GoldenVector(sample.inputs, outputs, "sample"))
    notes = _run_generated(run, generated, kept)
    run.golden = kept.vectors
    if isinstance(notes, WorkerFailed) and not kept.ran:
        return failed(check.id, "no_input_runs", said=notes.detail)
    if isinstance(notes, NoInput) and not kept.ran:
        return failed_by(check.id, notes)
    detail = f"{kept.ran} of {total}"
    if isinstance(notes, WorkerFailed):
        return warned(check.id, "generated_refused", detail, count=total - kept.ran)
    if isinstance(notes, NoInput):
        return warned(check.id, "generated_none", detail, tensor=str(notes.values["tensor"]))
    if notes:
        if run.inputs().has_ranges:
            return failed(check.id, "not_finite", detail, tensor=notes)
        return warned(check.id, "not_finite_generated", detail, tensor=notes)
    return passed(check.id, detail)


def check_batch(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Compare the rows of a batch with the same rows run one by one."""
    rows = check.params["rows"]
    run.shared()
    generator = run.inputs()
    if not generator.has_batch:
        return skipped(check.id, "fixed_batch")
    assert run.loaded is not None
    together = run.run(generator.batch(0, rows)).outputs
    symbol = batch_symbol(run.loaded.inputs)
    axes = {one.name: batch_axis(one.shape, symbol) for one in run.loaded.outputs}
    for name, one in sorted(together.items()):
        axis = axes.get(name)
        if axis is None or axis >= one.ndim or one.shape[axis] != rows:
            return warned(check.id, "not_by_rows", tensor=name, shape=str(list(one.shape)))
    for number in range(rows):
        run.checkpoint(number, rows)
        alone = run.run(generator.inputs(number)).outputs
        part = {name: np.take(one, [number], axis=axes[name]) for name, one in together.items()}
        found = agree_outputs(alone, part, run.facts)
        if not found.agrees:
            return _differs(check.id, "batch_differs", found, number)
    return passed(check.id, f"{rows} of {rows}")


def check_hostile(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Run nonsense: every input must come to an answer or an error."""
    run.shared()
    usual = _usual_inputs(run)
    tried = list(_nonsense(usual, has_batch=_takes_rows(run)))
    answers = errors = 0
    for number, (word, inputs) in enumerate(tried):
        run.checkpoint(number, len(tried))
        try:
            run.run(inputs)
            answers += 1
        except WorkerFailed as error:
            if error.kind == "cancelled":
                raise
            if error.kind != "refused":
                kind, said = error.kind, error.detail
                return failed(check.id, "hostile", word, input=word, kind=kind, said=said)
            errors += 1
    return passed(check.id, f"{answers} answered, {errors} refused")


def _run_generated(run: SuiteRun, count: int, kept: Keeping) -> NoInput | WorkerFailed | str:
    """Run generated inputs; return why not all ran, or the output that was not finite."""
    odd = ""
    try:
        refusal = _choose_sizes(run)
    except NoInput as error:
        return error
    if refusal is not None:
        return refusal
    first = kept.ran
    for number in range(count):
        run.checkpoint(first + number, first + count)
        inputs = run.inputs().inputs(number)
        try:
            outputs = run.run(inputs).outputs
        except WorkerFailed as error:
            if error.kind != "refused":
                raise
            return error
        odd = odd or has_odd_numbers(outputs)
        kept.add(GoldenVector(inputs, outputs, "generated"))
    return odd


def _choose_sizes(run: SuiteRun) -> WorkerFailed | None:
    """Give open dimensions the first sizes the model runs with; return why it runs with none."""
    refusal: WorkerFailed | None = None
    for sizes in OPEN_SIZES:
        run.choose_sizes(sizes)
        try:
            run.run(run.inputs().inputs(0))
        except WorkerFailed as error:
            if error.kind != "refused":
                raise
            refusal = refusal or error
            if not run.inputs().is_open:
                break
        else:
            return None
    return refusal


def _sample_fault(
    run: SuiteRun,
    check_id: str,
    number: int,
    sample: GoldenVector,
    outputs: Mapping[str, Array],
) -> CheckResult | None:
    """Say what is wrong with the outputs of a sample, against those the seller gave."""
    missing = sorted(set(sample.outputs) - set(outputs))
    if missing:
        return failed(check_id, "output_missing", tensor=missing[0])
    given = {name: outputs[name] for name in sample.outputs}
    found = agree_outputs(sample.outputs, given, run.facts, run.job.declared)
    if not found.agrees:
        return _differs(check_id, "sample_differs", found, number)
    others = {name: one for name, one in outputs.items() if name not in sample.outputs}
    if odd := has_odd_numbers(others):
        return failed(check_id, "not_finite", tensor=odd)
    return None


def _differs(check_id: str, reason: str, found: Agreement, number: int) -> CheckResult:
    return failed(
        check_id,
        reason,
        found.difference,
        tensor=found.tensor,
        number=number + 1,
        max_abs=nano_text(found.max_abs_nano),
    )


def nano_text(nano: int) -> str:
    """Write billionths as a decimal fraction without zeros that say nothing."""
    whole, rest = divmod(nano, 1_000_000_000)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")


# --- the signature ------------------------------------------------------------------------------


def _first_odd(found: Sequence[TensorFacts], said: Sequence[TensorFacts]) -> str:
    """Name the first tensor whose name, type or fixed dimensions are not what the file says."""
    by_name = {one.name: one for one in said}
    for one in found:
        other = by_name.pop(one.name, None)
        if other is None or not _is_same(one, other):
            return one.name
    return next(iter(by_name), "")


def _is_same(one: TensorFacts, other: TensorFacts) -> bool:
    if one.dtype.startswith(_TENSOR_TYPES) or other.dtype.startswith(_TENSOR_TYPES):
        return True  # no tensor: written by each in its own way
    if one.dtype != other.dtype:
        return False
    if one.shape is None or other.shape is None:
        return True
    if len(one.shape) != len(other.shape):
        return False
    pairs = zip(one.shape, other.shape, strict=True)
    return all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))


# --- nonsense -----------------------------------------------------------------------------------


def _usual_inputs(run: SuiteRun) -> Mapping[str, Array]:
    """Return inputs that ran, or were made to run."""
    if run.golden:
        return run.golden[0].inputs
    return run.inputs().inputs(0)


def _takes_rows(run: SuiteRun) -> bool:
    try:
        return run.inputs().has_batch
    except NoInput:
        return False


def _nonsense(
    usual: Mapping[str, Array], *, has_batch: bool
) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield a word for what is wrong with the inputs, and the inputs."""
    kinds = {one.dtype.kind for one in usual.values()}
    if _FLOATS in kinds:
        yield "nan", _filled(usual, _FLOATS, lambda _: np.nan)
        yield "infinity", _filled(usual, _FLOATS, lambda _: np.inf)
        yield "largest", _filled(usual, _FLOATS, lambda one: np.finfo(one.dtype).max)
        yield "smallest", _filled(usual, _FLOATS, lambda one: np.finfo(one.dtype).min)
    if kinds & {"i", "u"}:
        yield "largest_whole", _filled(usual, "iu", lambda one: np.iinfo(one.dtype).max)
        yield "smallest_whole", _filled(usual, "iu", lambda one: np.iinfo(one.dtype).min)
    if "U" in kinds:
        yield "empty_text", _filled(usual, "U", lambda _: "")
    if has_batch:
        yield "no_rows", {name: one[:0] if one.ndim else one for name, one in usual.items()}


def _filled(
    usual: Mapping[str, Array], kinds: str, value: Callable[[Array], object]
) -> dict[str, Array]:
    return {
        name: np.full(one.shape, value(one), one.dtype) if one.dtype.kind in kinds else one
        for name, one in usual.items()
    }
