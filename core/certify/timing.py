"""Timed runs of a model, in the Worker: nothing but runs between two looks at the clock.

* Each run is timed by itself, in nanoseconds of a clock that never goes back.
* Garbage is collected before and not during; warm-up is not among the times.
* A block ends when it has its runs and its time, and at its most of either.

What the times say of a model, and whether they are believed, is not known here.
"""

from __future__ import annotations

import gc
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hanse.core.certify.adapters.session import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hanse.core.certify.adapters.session import Raw, Session, Stop
    from hanse.core.model.arrays import Array
    from hanse.core.model.running import Block


@dataclass(frozen=True, slots=True)
class Times:
    """What one block took: nanoseconds of each run, and of all processors together."""

    ns: list[int]
    warmup_runs: int
    is_stable: bool
    cpu_ns: int


def time_runs(session: Session, inputs: Mapping[str, Array], block: Block, stop: Stop) -> Times:
    """Run ``session`` on ``inputs`` as ``block`` says, or raise ``Stopped`` or ``Refusal``."""
    with refusals(stop, session.words):
        # Copied to where numpy would have put them: what came in a frame lies by chance.
        run = session.bind({key: np.array(array) for key, array in inputs.items()}, stop)
        with _without_collecting():
            warm, is_stable = _warm_up(run, block, stop)
            began = time.process_time_ns()
            ns = _timed(run, stop, block.runs_least, block.ns_least, block.runs_most, block.ns_most)
            return Times(ns, warm, is_stable, time.process_time_ns() - began)


def _warm_up(run: Callable[[], Raw], block: Block, stop: Stop) -> tuple[int, bool]:
    """Run until two windows agree; say how often it ran, and whether they did."""
    if block.warmup_runs_most == 0:
        return 0, False
    window = max(1, block.window_runs)
    end = time.perf_counter_ns() + block.warmup_ns_most
    before, runs = 0, 0
    while runs < block.warmup_runs_most and (left := end - time.perf_counter_ns()) > 0:
        count = min(window, block.warmup_runs_most - runs)
        times = _timed(run, stop, count, 0, count, left)
        runs += len(times)
        if len(times) < window:
            break
        middle = int(statistics.median(times))
        low, high = sorted((before, middle))
        if before and (high - low) * 100 <= low * block.window_percent:
            return runs, True
        before = middle
    return runs, False


def _timed(
    run: Callable[[], Raw], stop: Stop, runs_least: int, ns_least: int, runs_most: int, ns_most: int
) -> list[int]:
    clock = time.perf_counter_ns
    times: list[int] = []
    note = times.append
    first = clock()
    while True:
        began = clock()
        run()
        ended = clock()
        note(max(1, ended - began))  # a clock of coarse steps may not have moved
        took = ended - first
        count = len(times)
        if count >= runs_most or took >= ns_most or (count >= runs_least and took >= ns_least):
            return times
        if stop.is_asked:
            stop.check()


@contextmanager
def _without_collecting() -> Iterator[None]:
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
