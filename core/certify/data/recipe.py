"""The steps that turn data into inputs, and outputs into answers: data, never code.

* A step names a tensor, or every tensor when it names none; ``category`` and ``impute`` may name
  one column and are done while the file is read (``columns_of``).
* Numbers are millionths in the card and doubles here; the last thing done is the cast to what the
  input takes.
* A step that does not fit what it is given is refused with its number; nothing is skipped.

Pictures are scaled as the Worker's decoder does it: bilinear, and a triangle as wide as the step
when they shrink, so that a folder of pictures and an array of them come to the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.faults import RecipeRefused, WrongShape
from hanse.core.limits import DATASET_MEMORY_BYTES_MAX
from hanse.core.model.arrays import DTYPES
from hanse.core.model.card import MICRO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.card import RecipeStep

_OF_COLUMNS: Final = frozenset({"category", "impute"})
_CHANNELS: Final = frozenset({1, 3, 4})
_BATCH_ROWS: Final = 4096  # resized at once


@dataclass(frozen=True, slots=True)
class ColumnSteps:
    """What is done to one column while it is read: text to a number, a number for nothing."""

    categories: Mapping[str, float] | None = None
    missing: float | None = None


UNCHANGED: Final = ColumnSteps()


def columns_of(
    steps: Sequence[RecipeStep], tensor: str, columns: Sequence[str]
) -> list[ColumnSteps]:
    """Return what the recipe does to each of ``columns``, of which ``tensor`` is made."""
    found = [UNCHANGED for _ in columns]
    for number, step in enumerate(steps, start=1):
        if step.op not in _OF_COLUMNS:
            continue
        whole = step.tensor in ("", tensor)
        at = [i for i, name in enumerate(columns) if whole or name == step.tensor]
        for place, i in enumerate(at):
            found[i] = _with(found[i], step, number, place, len(at))
    return found


def _with(before: ColumnSteps, step: RecipeStep, number: int, place: int, of: int) -> ColumnSteps:
    numbers = _numbers(step)
    if step.op == "category":
        if not step.words:
            raise _refused(number, step, "no_words", 0)
        if numbers and len(numbers) != len(step.words):
            raise _refused(number, step, "counts", f"{len(step.words)}, {len(numbers)}")
        values = numbers or [float(i) for i in range(len(step.words))]
        return ColumnSteps(dict(zip(step.words, values, strict=True)), before.missing)
    if len(numbers) not in (1, of):
        raise _refused(number, step, "counts", f"{of}, {len(numbers)}")
    return ColumnSteps(before.categories, numbers[place] if len(numbers) == of else numbers[0])


def applied(
    steps: Sequence[RecipeStep], wanted: TensorFacts, made: Array, *, was_resized: bool = False
) -> Array:
    """Do the steps before the model on the rows of one input, and fit them to its shape and type.

    ``made`` is [n, ...]; the result is [n, ...] as ``wanted`` says, its first dimension aside.
    """
    for number, step in enumerate(steps, start=1):
        if step.tensor not in ("", wanted.name) or step.op in _OF_COLUMNS:
            continue
        if made.dtype.kind not in "biuf":
            raise _refused(number, step, "not_numbers", wanted.name)
        made = _step(number, step, made, was_resized=was_resized)
    return _cast(_fit(made, wanted), wanted)


def imputed(steps: Sequence[RecipeStep], tensor: str, made: Array) -> Array:
    """Put the recipe's number where an array has none (NaN); arrays have no columns by name."""
    for number, step in enumerate(steps, start=1):
        if step.op == "impute" and step.tensor in ("", tensor) and made.dtype.kind == "f":
            numbers = _numbers(step)
            if len(numbers) == 1:
                made = np.where(np.isnan(made), np.asarray(numbers[0], made.dtype), made)
            elif made.ndim == 2 and made.shape[1] == len(numbers):
                made = np.where(np.isnan(made), np.asarray(numbers, made.dtype), made)
            else:
                raise _refused(number, step, "counts", f"{made.shape[-1]}, {len(numbers)}")
    return made


def _step(number: int, step: RecipeStep, made: Array, *, was_resized: bool) -> Array:
    numbers = _numbers(step)
    match step.op:
        case "cast":
            if len(step.words) != 1 or step.words[0] not in DTYPES or step.words[0] == "string":
                raise _refused(number, step, "type", step.words)
            return made.astype(step.words[0])
        case "scale":
            if len(numbers) != 2:
                raise _refused(number, step, "counts", f"2, {len(numbers)}")
            scaled: Array = _floating(made) * numbers[0] + numbers[1]
            return scaled
        case "normalise":
            return _normalised(number, step, _floating(made), numbers)
        case "resize":
            if len(numbers) != 2 or not all(one >= 1 and one == int(one) for one in numbers):
                raise _refused(number, step, "size", step.numbers_micro)
            if was_resized:  # by the Worker, when it decoded the picture
                return made
            return _resized(number, step, made, int(numbers[0]), int(numbers[1]))
        case "layout":
            return _laid_out(number, step, made)
        case "pad":
            return _padded(number, step, made, numbers)
        case _:
            raise _refused(number, step, "not_before", step.op)


def _floating(made: Array) -> Array:
    """Return the rows as floats: what is measured in float32 stays so, wholes become doubles."""
    return made if made.dtype.kind == "f" else made.astype(np.float64)


def _normalised(number: int, step: RecipeStep, made: Array, numbers: list[float]) -> Array:
    half = len(numbers) // 2
    if not half or len(numbers) % 2 or 0.0 in numbers[half:]:
        raise _refused(number, step, "counts", len(numbers))
    mean, std = np.asarray(numbers[:half]), np.asarray(numbers[half:])
    if half > 1:
        axes = [axis for axis in (made.ndim - 1, 1) if axis > 0 and made.shape[axis] == half]
        if not axes:
            raise _refused(number, step, "channels", f"{half}, {_text(made.shape[1:])}")
        shape = [1] * made.ndim
        shape[axes[0]] = half
        mean, std = mean.reshape(shape), std.reshape(shape)
    return np.asarray((made - mean) / std, dtype=made.dtype)


def _laid_out(number: int, step: RecipeStep, made: Array) -> Array:
    """Reorder the dimensions of a row; a letter that is new, or gone, stands for a size of one."""
    before, arrow, after = (step.words[0] if len(step.words) == 1 else "").partition(">")
    fits = arrow and len(before) == made.ndim - 1
    if not fits or len(set(before)) != len(before) or len(set(after)) != len(after) or not after:
        raise _refused(number, step, "layout", f"{' '.join(step.words)}, {_text(made.shape[1:])}")
    kept = [letter for letter in after if letter in before]
    gone = [i for i, letter in enumerate(before, start=1) if letter not in after]
    if any(made.shape[axis] != 1 for axis in gone):
        raise _refused(number, step, "layout", f"{step.words[0]}, {_text(made.shape[1:])}")
    moved = made.transpose([0, *(before.index(letter) + 1 for letter in kept), *gone])
    sizes = {letter: made.shape[before.index(letter) + 1] for letter in kept}
    return moved.reshape([len(made), *(sizes.get(letter, 1) for letter in after)])


def _padded(number: int, step: RecipeStep, made: Array, numbers: list[float]) -> Array:
    """Fill rows up to n at their end, or pictures to h x w all around; the last number fills."""
    sizes = [int(one) for one in numbers[:-1] or numbers]
    value = numbers[-1] if len(numbers) > 1 else 0.0
    if len(sizes) not in (1, 2) or made.ndim < 2 or any(one != int(one) for one in numbers[:-1]):
        raise _refused(number, step, "counts", len(numbers))
    axes = (1,) if len(sizes) == 1 else _sides(number, step, made)
    shape = list(made.shape)
    around = [(0, 0)] * made.ndim
    for axis, size in zip(axes, sizes, strict=True):
        missing = size - made.shape[axis]
        if missing < 0:
            raise _refused(number, step, "too_long", f"{made.shape[axis]} > {size}")
        before = missing // 2 if len(sizes) == 2 else 0
        shape[axis], around[axis] = size, (before, missing - before)
    _check_size(tuple(shape), made.itemsize, number, step)
    return np.pad(made, around, constant_values=value)


# --- scaling pictures -----------------------------------------------------------------------


def _resized(number: int, step: RecipeStep, made: Array, height: int, width: int) -> Array:
    rows, columns = _sides(number, step, made)
    shape = list(made.shape)
    shape[rows], shape[columns] = height, width
    _check_size(tuple(shape), 4, number, step)
    if not made.size:
        raise _refused(number, step, "no_picture", _text(made.shape[1:]))
    down = _weights(made.shape[rows], height)
    across = _weights(made.shape[columns], width)
    result = np.empty(shape, np.float32)
    for start in range(0, len(made), _BATCH_ROWS):
        part = made[start : start + _BATCH_ROWS].astype(np.float32)
        part = np.moveaxis(np.tensordot(part, down, axes=([rows], [1])), -1, rows)
        part = np.moveaxis(np.tensordot(part, across, axes=([columns], [1])), -1, columns)
        result[start : start + _BATCH_ROWS] = part
    return result


def _sides(number: int, step: RecipeStep, made: Array) -> tuple[int, int]:
    """Find height and width in [n, h, w], [n, h, w, c] or [n, c, h, w]; c is 1, 3 or 4."""
    if made.ndim == 3 or (made.ndim == 4 and made.shape[3] in _CHANNELS):
        return 1, 2
    if made.ndim == 4 and made.shape[1] in _CHANNELS:
        return 2, 3
    raise _refused(number, step, "no_picture", _text(made.shape[1:]))


def _weights(old: int, new: int) -> Array:
    """Return the [new, old] weights of a bilinear scaling, antialiased when it shrinks."""
    step = old / new
    reach = max(step, 1.0)
    centres = (np.arange(new) + 0.5) * step
    places = np.arange(old) + 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(places[None, :] - centres[:, None]) / reach)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


# --- fitting an input -----------------------------------------------------------------------


def _fit(made: Array, wanted: TensorFacts) -> Array:
    """Give rows the dimensions of the input: ones come and go, and a flat row may be folded."""
    if wanted.shape is None or not wanted.shape:
        if wanted.shape is None:
            return made
        raise _misfit(made, wanted)
    tail = wanted.shape[1:]
    if _fits(made.shape[1:], tail):
        return made
    bare = [size for size in made.shape[1:] if size != 1]
    at = 0
    sizes: list[int] = []
    for dimension in tail:
        if dimension == 1:
            sizes.append(1)
        elif at < len(bare) and (not isinstance(dimension, int) or dimension == bare[at]):
            sizes.append(bare[at])
            at += 1
        elif not isinstance(dimension, int):
            sizes.append(1)
        else:
            break
    if len(sizes) == len(tail) and at == len(bare):
        return made.reshape([len(made), *sizes])
    known = [one for one in tail if isinstance(one, int)]
    if len(known) == len(tail) and len(bare) <= 1 and int(np.prod(known)) == int(np.prod(bare)):
        return made.reshape([len(made), *known])
    raise _misfit(made, wanted)


def _fits(shape: tuple[int, ...], tail: Sequence[object]) -> bool:
    return len(shape) == len(tail) and all(
        not isinstance(want, int) or want == have for have, want in zip(shape, tail, strict=True)
    )


def _cast(made: Array, wanted: TensorFacts) -> Array:
    """Give rows the type of the input; numbers that would change are refused."""
    if wanted.dtype == "string" or wanted.dtype not in DTYPES:
        if (made.dtype.kind == "U") == (wanted.dtype == "string"):
            return made
        raise _misfit(made, wanted)
    if made.dtype.kind == "U":
        raise _misfit(made, wanted)
    target = np.dtype(wanted.dtype)
    if target.kind in "iub" and made.dtype != target:
        low, high = (0, 1) if target.kind == "b" else _range(target)
        fits = np.isfinite(made).all() and (made == np.floor(made)).all()
        if not fits or (made.size and (made.min() < low or made.max() > high)):
            raise _misfit(made, wanted)
    with np.errstate(over="ignore"):  # a double may lie beyond float32: infinite, as when exported
        return np.ascontiguousarray(made, dtype=target)


def _range(target: np.dtype[np.generic]) -> tuple[int, int]:
    limits = np.iinfo(target.type)  # type: ignore[type-var]
    return int(limits.min), int(limits.max)


def _misfit(made: Array, wanted: TensorFacts) -> WrongShape:
    shape = "?" if wanted.shape is None else _text(wanted.shape)
    return WrongShape(
        tensor=wanted.name,
        expected=f"{wanted.dtype}{shape}",
        found=f"{made.dtype.name}{_text(made.shape)}",
    )


def _text(shape: Sequence[object]) -> str:
    return "[" + ", ".join("?" if one is None else str(one) for one in shape) + "]"


def _check_size(shape: tuple[int, ...], item: int, number: int, step: RecipeStep) -> None:
    size = item
    for one in shape:  # in Python: a product in numpy wraps around
        size *= int(one)
    if size > DATASET_MEMORY_BYTES_MAX:
        raise _refused(number, step, "too_large", f"{size} > {DATASET_MEMORY_BYTES_MAX}")


def _numbers(step: RecipeStep) -> list[float]:
    return [one / MICRO for one in step.numbers_micro]


def _refused(number: int, step: RecipeStep, reason: str, detail: object) -> RecipeRefused:
    return RecipeRefused(number=number, step=step.op, reason=reason, detail=str(detail))
