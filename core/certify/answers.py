"""What a Worker answered about a model it ran, before it is believed.

* Outputs have the names and the types of the signature; their shapes are the model's own.
* Outputs over rows have the rows as their first dimension, every row once and in order.
* A time is above 0, and together they are no longer than it took by our own clock.
* How much is held of all answers together is bounded.

A native library that lies about what it computed, or how fast, within these bounds stays
possible; that is what reproduction by others is for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.adapters.refusal import name
from hanse.core.certify.tensors import BadTensor, array_of, from_wire
from hanse.core.limits import WORKER_RESULTS_SIZE_BYTES_MAX
from hanse.core.model.arrays import DTYPES, dtype_name
from hanse.core.model.running import Latencies, Loaded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.certify import frames
    from hanse.core.certify.tensors import Tensor
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.running import Block, Optimisation

_CPU_SPARE_NS: Final = 1_000_000_000  # clocks of a process and of the wall are read apart


class Doubt(Exception):
    """An answer cannot be true; the text says what is wrong with it."""


def loaded_of(answer: frames.Session, optimisation: Optimisation, wall_ns: int) -> Loaded:
    """Return what was loaded, or raise ``Doubt``."""
    for signature in (answer.inputs, answer.outputs):
        names = [one.name for one in signature]
        if len(set(names)) < len(names):
            raise Doubt("a signature with one name twice")
        if odd := [one for one in names if one != name(one)]:
            raise Doubt(f"a name with control characters: {odd[0]!r}")
        if any(name(one.dtype) != one.dtype for one in signature):
            raise Doubt("a type with control characters")
    if not 0 < answer.load_ns <= wall_ns:
        raise Doubt(f"loaded in {answer.load_ns} ns, we waited {wall_ns}")
    if answer.optimisation != optimisation:
        raise Doubt(f"optimisation {answer.optimisation}, asked {optimisation}")
    return Loaded(
        inputs=answer.inputs,
        outputs=answer.outputs,
        load_ns=answer.load_ns,
        base_rss_bytes=answer.base_rss_bytes,
        rss_bytes=answer.rss_bytes,
        runtime=answer.runtime,
        version=name(answer.version),
        provider=name(answer.provider),
        optimisation=answer.optimisation,
    )


def outputs_of(tensors: Mapping[str, Tensor], signature: Sequence[TensorFacts]) -> dict[str, Array]:
    """Return the outputs in the order of ``signature``, or raise ``Doubt``."""
    wanted = {one.name: one.dtype for one in signature}
    if wanted.keys() != tensors.keys():
        raise Doubt(f"outputs {_few(tensors)}, the model has {_few(wanted)}")
    try:
        arrays = from_wire(tensors)
    except BadTensor as error:
        raise Doubt(str(error)) from error
    for key, dtype in wanted.items():
        given = dtype_name(arrays[key])
        if dtype in DTYPES and given != dtype:
            raise Doubt(f"{key}: {given}, the model has {dtype}")
    return {key: arrays[key] for key in wanted}


def latencies_of(answer: frames.Timed, block: Block, wall_ns: int) -> Latencies:
    """Return the times of one block, or raise ``Doubt``."""
    try:
        times = array_of(answer.ns, "latencies")
    except BadTensor as error:
        raise Doubt(str(error)) from error
    if times.dtype != np.int64 or times.ndim != 1:
        raise Doubt(f"latencies {times.dtype} {list(times.shape)}")
    if not 1 <= times.size <= block.runs_most:
        raise Doubt(f"{times.size} runs, asked at most {block.runs_most}")
    if times.min() <= 0:
        raise Doubt(f"a run in {times.min()} ns")
    ns = tuple(int(one) for one in times)
    if sum(ns) > wall_ns:
        raise Doubt(f"{sum(ns)} ns in all, we waited {wall_ns}")
    if len(ns) < block.runs_least and wall_ns < block.ns_most:
        raise Doubt(f"{len(ns)} runs, asked at least {block.runs_least}")
    if answer.warmup_runs > block.warmup_runs_most:
        raise Doubt(f"{answer.warmup_runs} runs before, asked at most {block.warmup_runs_most}")
    if answer.cpu_ns > wall_ns * (os.cpu_count() or 1) + _CPU_SPARE_NS:
        raise Doubt(f"{answer.cpu_ns} ns of processors, we waited {wall_ns}")
    return Latencies(ns, answer.warmup_runs, answer.is_stable, answer.cpu_ns, answer.rss_bytes)


def pixels_of(
    answer: frames.Pixels, count: int, size: tuple[int, int] | None, channels: int
) -> Array:
    """Return pictures as uint8 [count, height, width, channels], or raise ``Doubt``."""
    try:
        pixels = array_of(answer.pixels, "pixels")
    except BadTensor as error:
        raise Doubt(str(error)) from error
    shape = pixels.shape
    is_right = len(shape) == 4 and shape[0] == count and shape[3] == channels
    if (
        pixels.dtype != np.uint8
        or not is_right
        or size not in (None, shape[1:3])
        or not pixels.size
    ):
        raise Doubt(f"pixels {pixels.dtype} {list(shape)}, asked {count} of {size}, {channels}")
    return pixels


class Joined:
    """Outputs over the rows of a data set, as they come in."""

    def __init__(self, signature: Sequence[TensorFacts]) -> None:
        """Hold nothing yet."""
        self._signature = signature
        self._parts: list[dict[str, Array]] = []
        self._bytes = 0
        self._done = 0
        self._end = 0

    def expect(self, rows: int) -> None:
        """Take outputs of as many rows more."""
        self._end += rows

    def add(self, part: frames.Part) -> int:
        """Keep one part and return how many rows there are now, or raise ``Doubt``."""
        arrays = outputs_of(part.outputs, self._signature)
        counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
        if counts != {part.rows} or not 1 <= part.rows <= self._end - self._done:
            shown = sorted(counts)[:4]
            raise Doubt(f"{part.rows} rows of {shown} after {self._done} of {self._end}")
        first = self._parts[0] if self._parts else arrays
        for key, array in arrays.items():
            if array.shape[1:] != first[key].shape[1:]:
                raise Doubt(
                    f"{key}: rows of {list(array.shape[1:])} and {list(first[key].shape[1:])}"
                )
        self._bytes += sum(array.nbytes for array in arrays.values())
        if self._bytes > WORKER_RESULTS_SIZE_BYTES_MAX:
            raise Doubt(f"{self._bytes} bytes of outputs, limit {WORKER_RESULTS_SIZE_BYTES_MAX}")
        self._parts.append(arrays)
        self._done += part.rows
        return self._done

    def check_complete(self) -> None:
        """Raise ``Doubt`` when rows are missing."""
        if self._done != self._end:
            raise Doubt(f"{self._done} rows of {self._end}")

    def outputs(self) -> dict[str, Array]:
        """Return all of it, row by row."""
        return {
            one.name: np.concatenate([part[one.name] for part in self._parts])
            for one in self._signature
        }


def _few(names: Mapping[str, object]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "")
