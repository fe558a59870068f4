"""Inputs made from the suite and the Artifact, the same on every machine and in every year.

* Numbers come from SHA-256 over suite hash, Artifact id, tensor name and a counter, each with
  its length before it, as unsigned 32-bit numbers scaled to the tensor's range: generators of
  libraries change between versions.  Each tensor is one stream; input ``i`` takes its elements
  ``i * n`` to ``(i + 1) * n``.
* The range is the card's: of the tensor, or of each column.  Where nothing is stated floats are
  in [-1, 1), whole numbers in [0, 2), text is one of its categories or eight hex digits.
* A whole number without dimensions and without a range (such as a sample rate) is taken from
  the seller's first sample, where there is one.
* An open first dimension is the batch: 1 row, or as many as are asked for.  Its symbol means
  the batch elsewhere too (a state may have it second).  Any other open dimension has the size
  it has in the seller's first sample, else in the card, else the first of ``OPEN_SIZES`` with
  which the model runs; one symbol is one size throughout.

Whether a model takes them is seen when it runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.errors import Refused
from hanse.core.limits import GENERATED_SIZE_BYTES_MAX
from hanse.core.model.arrays import DTYPES
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.certify.golden import GoldenVectors
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.card import Column, ModelCard, Tensor

# Of an open dimension, and of an open side of a picture; short first, since a run may take long.
OPEN_SIZES: Final = ((8, 224), (64, 256), (256, 512), (1024, 640))

_WORD_BYTES: Final = 4
_WORDS: Final = 8  # of one digest
_SPAN: Final = 2**32
_PICTURE_DIMENSIONS: Final = 4
_CHANNELS: Final = frozenset({1, 3, 4})
_FLOAT_RANGE: Final = (-1.0, 1.0)
_WHOLE_RANGE: Final = (0, 1)
_TEXT_BYTES: Final = 8 * 4


class NoInput(Refused):
    """No input can be made for a tensor; ``reason`` is a stable word."""

    code = "generated.no_input"
    text = "no input can be made for {tensor}, {reason}: {found}"
    fields = ("tensor", "reason", "found")

    def __init__(self, tensor: str, reason: str, found: str) -> None:
        """Name the tensor, the rule, and what was found."""
        super().__init__(tensor=tensor, reason=reason, found=found)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class InputPlan:
    """What one input is made from; ``shape`` has 1 at ``batch_axis``, where there is one.

    ``is_open`` says that a size was chosen which nobody states.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    batch_axis: int | None
    stated: Tensor | None
    fixed: Array | None = None
    is_open: bool = False

    @property
    def has_range(self) -> bool:
        """Say whether the card states what may stand in it."""
        one = self.stated
        return one is not None and (
            _is_range(one) or bool(one.categories) or bool(one.stated_columns)
        )


@dataclass(frozen=True, slots=True)
class Generator:
    """Makes inputs for one model under one suite."""

    suite_sha256: bytes
    artifact: bytes
    plans: tuple[InputPlan, ...]

    @property
    def has_batch(self) -> bool:
        """Say whether several rows can be given at once: every input with dimensions is open."""
        sized = [one for one in self.plans if one.shape]
        return bool(sized) and all(one.batch_axis is not None for one in sized)

    @property
    def is_open(self) -> bool:
        """Say whether another of ``OPEN_SIZES`` would give other inputs."""
        return any(one.is_open for one in self.plans)

    @property
    def has_ranges(self) -> bool:
        """Say whether the card states the range of every input."""
        return all(one.has_range or one.fixed is not None for one in self.plans)

    def inputs(self, number: int) -> dict[str, Array]:
        """Make input ``number``, counting from 0."""
        return {one.name: self._array(one, number) for one in self.plans}

    def batch(self, first: int, count: int) -> dict[str, Array]:
        """Put inputs ``first`` to ``first + count`` into one, row by row."""
        assert self.has_batch
        rows = [self.inputs(number) for number in range(first, first + count)]
        return {
            one.name: rows[0][one.name]
            if one.batch_axis is None
            else np.concatenate([row[one.name] for row in rows], axis=one.batch_axis)
            for one in self.plans
        }

    def _array(self, plan: InputPlan, number: int) -> Array:
        if plan.fixed is not None:
            return plan.fixed
        count = math.prod(plan.shape)
        words = self._words(plan.name, number * count, count)
        return _scaled(words, plan).reshape(plan.shape)

    def _words(self, name: str, first: int, count: int) -> Array:
        """Return ``count`` words of the stream of tensor ``name``, from word ``first`` on."""
        head = sha256()
        for part in (self.suite_sha256, self.artifact, name.encode()):
            head.update(len(part).to_bytes(4, "big") + part)
        block, skipped = divmod(first, _WORDS)
        digests = []
        for counter in range(block, -(-(first + count) // _WORDS)):
            one = head.copy()
            one.update((8).to_bytes(4, "big") + counter.to_bytes(8, "big"))
            digests.append(one.digest())
        words = np.frombuffer(b"".join(digests), ">u4")
        return words[skipped : skipped + count].astype(np.uint64)


def plan_inputs(
    inputs: Sequence[TensorFacts],
    card: ModelCard | None,
    samples: GoldenVectors | None,
    open_sizes: tuple[int, int] = OPEN_SIZES[0],
) -> tuple[InputPlan, ...]:
    """Decide type, shape and range of every input, or raise ``NoInput``."""
    stated = {} if card is None else {one.name: one for one in card.signature.inputs}
    first = samples.vectors[0].inputs if samples is not None and samples.vectors else {}
    known = _Sizes(open_sizes, batch_symbol(inputs), {})
    plans = [_plan(one, stated.get(one.name), first.get(one.name), known) for one in inputs]
    taken = sum(_bytes(one) for one in plans)
    if taken > GENERATED_SIZE_BYTES_MAX:
        largest = max(plans, key=_bytes)
        raise NoInput(largest.name, "too_large", f"{taken} > {GENERATED_SIZE_BYTES_MAX}")
    return tuple(plans)


def batch_symbol(inputs: Sequence[TensorFacts]) -> str:
    """Return the symbol of the batch: of the first open first dimension; empty without one."""
    firsts = (one.shape[0] for one in inputs if one.shape)
    return next((one for one in firsts if isinstance(one, str)), "")


def batch_axis(shape: tuple[int | str | None, ...] | None, symbol: str) -> int | None:
    """Return the dimension that counts rows: an open first one, or where the symbol stands."""
    if shape is None:
        return 0
    if symbol and symbol in shape:
        return shape.index(symbol)
    return 0 if shape and not isinstance(shape[0], int) else None


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What open dimensions come to: sizes to choose, the batch, and symbols met before."""

    chosen: tuple[int, int]
    batch: str
    known: dict[str, int]


def _plan(
    facts: TensorFacts, stated: Tensor | None, sample: Array | None, sizes: _Sizes
) -> InputPlan:
    if facts.dtype not in DTYPES:
        raise NoInput(facts.name, "type", facts.dtype)
    if facts.shape is None and sample is None:
        raise NoInput(facts.name, "shape", "")
    dimensions: tuple[int | str | None, ...] = (
        (None,) * sample.ndim if facts.shape is None and sample is not None else facts.shape or ()
    )
    axis = batch_axis(dimensions, sizes.batch)
    shape: list[int] = []
    is_open = False
    for place, found in enumerate(dimensions):
        size = 1 if place == axis else _stated_size(place, dimensions, stated, sample, sizes)
        if size is None:
            size = sizes.chosen[_is_side(place, dimensions)]
            is_open = True
        if isinstance(found, str):
            sizes.known[found] = size
        shape.append(size)
    is_taken = (
        not shape
        and sample is not None
        and sample.ndim == 0
        and sample.dtype.kind in "iu"
        and (stated is None or not _is_range(stated))
    )
    fixed = np.asarray(sample, dtype=facts.dtype) if is_taken else None
    return InputPlan(facts.name, facts.dtype, tuple(shape), axis, stated, fixed, is_open)


def _stated_size(
    place: int,
    dimensions: tuple[int | str | None, ...],
    stated: Tensor | None,
    sample: Array | None,
    sizes: _Sizes,
) -> int | None:
    """Return the size that the file, a symbol, the sample or the card says; None without."""
    found = dimensions[place]
    if isinstance(found, int):
        return found
    if found is not None and found in sizes.known:
        return sizes.known[found]
    if sample is not None and sample.ndim == len(dimensions) and sample.shape[place] > 0:
        return int(sample.shape[place])
    if stated is not None and stated.shape is not None and len(stated.shape) == len(dimensions):
        said = stated.shape[place]
        return said if isinstance(said, int) and said > 0 else None
    return None


def _is_side(place: int, dimensions: tuple[int | str | None, ...]) -> bool:
    if len(dimensions) != _PICTURE_DIMENSIONS:
        return False
    if dimensions[1] in _CHANNELS:
        return place in (2, 3)
    return dimensions[3] in _CHANNELS and place in (1, 2)


def _bytes(plan: InputPlan) -> int:
    each = _TEXT_BYTES if plan.dtype == "string" else np.dtype(plan.dtype).itemsize
    return math.prod(plan.shape) * each


# --- from words to values -----------------------------------------------------------------------


def _scaled(words: Array, plan: InputPlan) -> Array:
    """Scale each word to the range of its place; columns are those of the last dimension."""
    stated = plan.stated
    columns = stated.stated_columns if stated is not None else ()
    if columns and plan.shape and plan.shape[-1] == len(columns):
        rows = words.reshape(-1, len(columns))
        made = [_values(rows[:, at], plan.dtype, one) for at, one in enumerate(columns)]
        return np.stack(made, axis=1)
    return _values(words, plan.dtype, stated)


def _values(words: Array, dtype: str, stated: Tensor | Column | None) -> Array:
    categories = () if stated is None else stated.categories
    if dtype == "string":
        if categories:
            return np.array([categories[_at(one, len(categories))] for one in words.tolist()])
        return np.array([f"{one:08x}" for one in words.tolist()])
    if dtype == "bool":
        return words >= _SPAN // 2
    if categories and (stated is None or not _is_range(stated)):
        known = _numbers(categories)
        chosen = [known[_at(one, len(known))] for one in words.tolist()]
        return np.array(chosen).astype(dtype)
    if np.dtype(dtype).kind in "iu":
        return _whole(words, dtype, stated)
    low, high = _FLOAT_RANGE
    if stated is not None and _is_range(stated):
        assert stated.low_micro is not None
        assert stated.high_micro is not None
        low, high = stated.low_micro / MICRO, stated.high_micro / MICRO
    made = low + (high - low) * (words.astype(np.float64) / _SPAN)
    edge = float(np.finfo(dtype).max)
    return np.clip(made, -edge, edge).astype(dtype)


def _whole(words: Array, dtype: str, stated: Tensor | Column | None) -> Array:
    low, high = _WHOLE_RANGE
    if stated is not None and _is_range(stated):
        assert stated.low_micro is not None
        assert stated.high_micro is not None
        low, high = -(-stated.low_micro // MICRO), stated.high_micro // MICRO
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    low, high = max(low, least), min(high, most)
    span = max(1, high - low + 1)  # a range without a whole number gives its lower end
    made = [min(most, max(least, low + one * span // _SPAN)) for one in words.tolist()]
    return np.array(made, dtype=dtype)


def _numbers(categories: tuple[str, ...]) -> list[int]:
    """Read categories as whole numbers; names stand for their places."""
    plain = [one for one in categories if one.lstrip("-").isdecimal() and len(one) < 10]
    if len(plain) == len(categories):
        return [int(one) for one in categories]
    return list(range(len(categories)))


def _at(word: int, count: int) -> int:
    return word * count // _SPAN


def _is_range(stated: Tensor | Column) -> bool:
    low, high = stated.low_micro, stated.high_micro
    return low is not None and high is not None and low <= high
