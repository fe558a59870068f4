"""Checks that measure: latency, load time and memory, on this machine, as numbers.

* Latency is timed inside a fresh Worker: warm up until two windows agree, then blocks of so many
  runs and so long, for one row and for a batch, with one thread and with all.
* Inputs are the generated ones: the same on every machine.  Only where a model refuses them,
  the seller's first sample is timed.
* A block in which the machine slept is timed again, and said: the clock on the wall went on
  while the one that counts only waking hours stood still.
* Load time and memory are each of a Worker of their own; of several, the middle one.

Nothing here fails for being slow: a figure is recorded, and compared by whoever looks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from hanse.core.certify.checks.results import failed, passed, skipped
from hanse.core.certify.generated import NoInput
from hanse.core.certify.hardware import load_average_centi
from hanse.core.certify.measure import perf_row
from hanse.core.model.certificate import MemoryFacts
from hanse.core.model.running import Block, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.certify.checks.suite_run import SuiteRun
    from hanse.core.model.arrays import Array
    from hanse.core.model.certificate import CheckResult, PerfRow
    from hanse.core.model.running import Latencies, Worker
    from hanse.core.model.suite import SuiteCheck

SLEPT_MS_LEAST: Final = 5000

_NS_A_MS: Final = 1_000_000
_KIB: Final = 1024


class MachineSlept(Exception):
    """The machine slept in the middle of a block, again and again."""


def check_latency(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Time the model for one row and a batch, with one thread and with all allowed."""
    inputs = _timed_inputs(run, check.params["batch"])
    if not inputs:
        return skipped(check.id, "no_vectors")
    threads = sorted({1, max(1, run.settings.threads)})
    rows: list[PerfRow] = []
    repeated = 0
    for count in threads:
        with run.fresh(count) as (worker, _):
            for batch, one in inputs:
                run.checkpoint(len(rows), len(threads) * len(inputs))
                before = load_average_centi()
                try:
                    blocks, again = time_blocks(run, worker, one, check.params)
                except MachineSlept:
                    return failed(check.id, "slept")
                repeated += again
                rows.append(perf_row(batch, count, blocks, before, load_average_centi()))
    run.perf = tuple(rows)
    detail = f"p50 {rows[0].p50} ns, n {rows[0].n}"
    if any(one.is_noisy for one in rows):
        return passed(check.id, detail, "noisy")
    if repeated:
        return passed(check.id, detail, "slept_in_block", count=repeated)
    return passed(check.id, detail)


def time_blocks(
    run: SuiteRun, worker: Worker, inputs: Mapping[str, Array], params: Mapping[str, int]
) -> tuple[Sequence[Sequence[int]], int]:
    """Time the blocks of one row; also say how many had to be timed again.

    The first block warms up; the others follow at once and need not.  Raise ``MachineSlept``.
    """
    blocks: list[Sequence[int]] = []
    repeated = 0
    while len(blocks) < params["blocks"]:
        run.checkpoint(len(blocks), params["blocks"])
        is_cold = not blocks or repeated > 0
        before_ms, before = run.clock.now_ms(), time.monotonic()
        found = worker.bench(inputs, block_of(params, is_cold=is_cold), run.control)
        awake_ms = round((time.monotonic() - before) * 1000)
        if run.clock.now_ms() - before_ms - awake_ms <= SLEPT_MS_LEAST:
            blocks.append(_times(found))
        elif repeated < params["again"]:
            repeated += 1
        else:
            raise MachineSlept
    return blocks, repeated


def block_of(params: Mapping[str, int], *, is_cold: bool) -> Block:
    """Read a block from the parameters of a suite; one that is warm warms up no more."""
    return Block(
        runs_least=params["runs_least"],
        ns_least=params["block_ms_least"] * _NS_A_MS,
        ns_most=params["block_ms_most"] * _NS_A_MS,
        runs_most=params["runs_most"],
        warmup_runs_most=params["warmup_runs"] if is_cold else 0,
        warmup_ns_most=params["warmup_ms"] * _NS_A_MS if is_cold else 0,
        window_runs=params["window_runs"],
        window_percent=params["window_percent"],
    )


def check_load_time(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Load the model in fresh Workers and keep what each took, memory too."""
    loads = check.params["loads"]
    run.probes = ()
    for number in range(loads):
        run.checkpoint(number, loads)
        run.probes += (_probe(run),)
    assert run.memory is not None
    return passed(check.id, f"{run.memory.load_ns // _NS_A_MS} ms")


def check_memory(run: SuiteRun, check: SuiteCheck) -> CheckResult:
    """Keep the memory of a fresh Worker that loaded the model and ran it once."""
    if not run.probes:
        run.probes = (_probe(run),)
    assert run.memory is not None
    return passed(check.id, f"peak {run.memory.peak_kib} KiB")


def _probe(run: SuiteRun) -> MemoryFacts:
    inputs = _timed_inputs(run, 1)
    with run.fresh(1) as (worker, loaded):
        if inputs:
            worker.run(inputs[0][1], run.control)
        usage = worker.close()
    return MemoryFacts(
        base_kib=loaded.base_rss_bytes // _KIB,
        loaded_kib=loaded.rss_bytes // _KIB,
        peak_kib=max(usage.peak_rss_bytes, loaded.rss_bytes) // _KIB,
        load_ns=loaded.load_ns,
    )


def _timed_inputs(run: SuiteRun, batch: int) -> list[tuple[int, Mapping[str, Array]]]:
    """Return rows and inputs that the model was seen to take; the batch where it takes one."""
    generated = [one for one in run.golden if one.origin == "generated"]
    if not generated:
        return [(1, one.inputs) for one in run.golden[:1]]
    found: list[tuple[int, Mapping[str, Array]]] = [(1, generated[0].inputs)]
    if batch > 1:
        try:
            generator = run.inputs()
            if generator.has_batch and run.takes_batch:
                found.append((batch, generator.batch(0, batch)))
        except NoInput:
            pass
    return found


def _times(found: Latencies) -> Sequence[int]:
    if not found.ns:
        raise WorkerFailed("protocol", "bench", "no times")
    return found.ns
