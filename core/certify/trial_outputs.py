"""Inputs and outputs of a Trial as bytes, and what of an output is sealed and what is shown.

* Inputs and outputs are canonical DAG-CBOR maps of arrays, as in golden vectors.
* Sealed is the full output up to 256 KiB together; above, of every tensor with more than 4,096
  elements so many, drawn by the hash of the query: no seller can know which before he runs.
* Shown is what the grant says: ``top1`` the place of the highest score of each row (the lower
  one of two that are equal), ``digits2`` two significant digits, ``tokens256`` the first 256
  tokens, ``full`` everything, each number as the shortest text that reads back to it.  At most
  4,096 values and 64 Ki characters, taken by the names of the outputs.
* A tensor that was sealed whole shows what its sealed numbers say, bit by bit.  Of a sampled one
  that cannot be said; it is compared with the delivered model's, within the tolerance.

Whose answer it is, and with which key it is sealed, is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import numpy as np

from hanse.core.certify.compare import Agreement, agree_outputs
from hanse.core.certify.golden import ArrayRow, array_of_row, row_of_array
from hanse.core.errors import BadShape, Refused
from hanse.core.ledger.codec import bound_items, decode, encode
from hanse.core.limits import (
    TENSOR_DIMENSIONS_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
    TRIAL_INPUT_ITEMS_MAX,
    TRIAL_OUTPUTS_MAX,
    TRIAL_SAMPLED_ELEMENTS_MAX,
    TRIAL_SEALED_SIZE_BYTES_MAX,
    TRIAL_SEALED_WHOLE_BYTES_MAX,
    TRIAL_SHOWN_CHARACTERS_MAX,
    TRIAL_SHOWN_TEXT_CHARACTERS_MAX,
    TRIAL_SHOWN_TOKENS_MAX,
    TRIAL_SHOWN_VALUES_MAX,
)
from hanse.core.model.artifact import Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hanse.core.certify.compare import Tolerance
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.card import Shown

_SCORES: Final = frozenset({"int8", "uint8", "int16", "uint16"})  # of quantised models
_DRAW_BYTES: Final = 8
_TOKEN_CHARACTERS: Final = TRIAL_SHOWN_TEXT_CHARACTERS_MAX // TRIAL_SHOWN_TOKENS_MAX
# A token is a sign of Chinese, Japanese or Korean, or a run of anything else without spaces.
_CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN: Final = re.compile(rf"\s*(?:[{_CJK}]|[^\s{_CJK}]{{1,{_TOKEN_CHARACTERS - 1}}})")


class AnswerTooLarge(Refused):
    """The outputs of a model do not fit a signed answer; ``what`` is a stable word."""

    code = "trial.answer_too_large"
    text = "an answer holds {most} {what}, not {found}"
    fields = ("what", "found", "most")


class KeptRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sealed tensor: whole, or ``sample`` drawn from a tensor of that type and shape."""

    shape: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, le=2**40)], ...],
        msgspec.Meta(max_length=TENSOR_DIMENSIONS_MAX),
    ]
    is_sample: bool
    values: ArrayRow


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of one output: all of it, or its drawn elements in a row."""

    shape: tuple[int, ...]
    is_sample: bool
    values: Array


Arrays = Annotated[dict[Name, ArrayRow], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)]
KeptRows = Annotated[dict[Name, KeptRow], msgspec.Meta(max_length=TRIAL_OUTPUTS_MAX)]


# --- arrays as bytes ------------------------------------------------------------------------


def write_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Write arrays by name: the one encoding of an input that is committed to."""
    return encode({name: row_of_array(array) for name, array in arrays.items()})


def read_arrays(raw: bytes) -> dict[str, Array]:
    """Read arrays by name, or raise ``BadShape`` or ``NotCanonical``."""
    bound_items(raw, TRIAL_INPUT_ITEMS_MAX)
    rows = decode(raw, Arrays)
    return {name: array_of_row(row, name) for name, row in rows.items()}


# --- what is sealed -------------------------------------------------------------------------


def kept_of(outputs: Mapping[str, Array], query: bytes) -> dict[str, Kept]:
    """Keep the outputs whole, or the elements that the query's hash draws of the large ones."""
    if len(outputs) > TRIAL_OUTPUTS_MAX:
        raise AnswerTooLarge(what="outputs", found=len(outputs), most=TRIAL_OUTPUTS_MAX)
    is_large = sum(_size(one) for one in outputs.values()) > TRIAL_SEALED_WHOLE_BYTES_MAX
    return {
        name: _sample(name, array, query)
        if is_large and array.size > TRIAL_SAMPLED_ELEMENTS_MAX
        else Kept(tuple(array.shape), is_sample=False, values=array)
        for name, array in outputs.items()
    }


def agree_kept(
    ref: Mapping[str, Kept],
    got: Mapping[str, Kept],
    facts: ModelFacts | None = None,
    declared: Tolerance | None = None,
) -> Agreement:
    """Compare what was kept of two runs of one query, within the tolerance of each type."""
    for name in sorted(ref.keys() & got.keys()):
        here, there = ref[name], got[name]
        if (here.shape, here.is_sample) != (there.shape, there.is_sample):
            return Agreement("shape", 0, is_bitwise=False, tensor=name)
    return agree_outputs(
        {name: one.values for name, one in ref.items()},
        {name: one.values for name, one in got.items()},
        facts,
        declared,
    )


def write_kept(kept: Mapping[str, Kept]) -> bytes:
    """Write what is sealed; raise ``AnswerTooLarge`` when it does not fit."""
    rows = {
        name: KeptRow(shape=one.shape, is_sample=one.is_sample, values=row_of_array(one.values))
        for name, one in kept.items()
    }
    raw = encode(rows)
    if len(raw) > TRIAL_SEALED_SIZE_BYTES_MAX:
        raise AnswerTooLarge(what="bytes", found=len(raw), most=TRIAL_SEALED_SIZE_BYTES_MAX)
    return raw


def read_kept(raw: bytes) -> dict[str, Kept]:
    """Read what was sealed, or raise ``BadShape`` or ``NotCanonical``."""
    found = {}
    for name, row in decode(raw, KeptRows).items():
        values = array_of_row(row.values, name)
        whole = () if row.is_sample else row.shape
        if row.is_sample:
            if values.shape != (TRIAL_SAMPLED_ELEMENTS_MAX,):
                raise BadShape(f"{name}: a sample of {list(values.shape)}")
        elif values.shape != whole:
            raise BadShape(f"{name}: {list(values.shape)} for {list(row.shape)}")
        found[name] = Kept(row.shape, row.is_sample, values)
    return found


def _size(array: Array) -> int:
    if array.dtype.kind == "U":
        return sum(len(str(one).encode()) for one in array.ravel())
    return int(array.nbytes)


def _sample(name: str, array: Array, query: bytes) -> Kept:
    seed = sha256(query + name.encode("utf-8", "surrogatepass")).digest()
    draws = (
        sha256(seed + number.to_bytes(4, "big")).digest()[:_DRAW_BYTES]
        for number in range(TRIAL_SAMPLED_ELEMENTS_MAX)
    )
    places = [int.from_bytes(one, "big") % array.size for one in draws]
    return Kept(tuple(array.shape), is_sample=True, values=array.ravel()[places])


# --- what is shown --------------------------------------------------------------------------


def project(outputs: Mapping[str, Array], shown: Shown) -> dict[str, tuple[int | str, ...]]:
    """Return what a buyer reads of the outputs before he buys."""
    left = TRIAL_SHOWN_VALUES_MAX
    characters = TRIAL_SHOWN_CHARACTERS_MAX
    found: dict[str, tuple[int | str, ...]] = {}
    for name in sorted(outputs):
        values: list[int | str] = []
        for value in _shown_values(outputs[name], shown, left):
            characters -= len(value) if isinstance(value, str) else 1
            if characters < 0:
                break
            values.append(value)
        left -= len(values)
        found[name] = tuple(values)
    return found


def follows(
    shown: Mapping[str, tuple[int | str, ...]], kept: Mapping[str, Kept], way: Shown
) -> bool:
    """Say whether ``shown`` is what the sealed outputs say, as far as they were sealed whole."""
    if shown.keys() != kept.keys():
        return False
    if any(one.is_sample for one in kept.values()):
        # Which values the limit leaves to a later tensor is not known; the first ones are.
        return all(
            _begins(shown[name], project({name: one.values}, way)[name])
            for name, one in kept.items()
            if not one.is_sample
        )
    return dict(shown) == project({name: one.values for name, one in kept.items()}, way)


def shown_fits(
    shown: Mapping[str, tuple[int | str, ...]],
    outputs: Mapping[str, Array],
    way: Shown,
    allowed: Mapping[str, float],
) -> str:
    """Name the first output whose shown values are not those of ``outputs``; empty when all are.

    ``allowed`` is how far a number of each output may lie apart.  For outputs that could not be
    sealed whole: a label may be another one where its score is that near to the highest.
    """
    for name in sorted(outputs):
        here = project({name: outputs[name]}, way)[name]
        values = shown.get(name, ())
        if values == here[: len(values)]:
            continue
        if not _nearly(values, outputs[name], way, allowed.get(name, 0.0)):
            return name
    return ""


def _begins(values: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return values == whole[: len(values)]


def _shown_values(array: Array, shown: Shown, most: int) -> Iterable[int | str]:
    if shown == "tokens256":
        most = min(most, TRIAL_SHOWN_TOKENS_MAX)
    if array.dtype.kind == "U":
        cut = TRIAL_SHOWN_TEXT_CHARACTERS_MAX
        return [
            str(one)[:cut] if shown == "full" else _first_tokens(str(one))
            for one in array.ravel()[:most]
        ]
    if shown in {"top1", "tokens256"}:
        return [int(one) for one in _labels(array).ravel()[:most]]
    values = array.ravel()[:most]
    if shown == "digits2":
        return [f"{one:.1e}" for one in values.tolist()]
    if array.dtype.kind == "f":
        return [repr(one) for one in values.tolist()]
    return [int(one) for one in values]


def _labels(array: Array) -> Array:
    """Return whole numbers as they are, scores as the place of the highest of each row."""
    is_scores = array.dtype.kind == "f" or array.dtype.name in _SCORES
    if not is_scores or not array.size:
        return array if array.dtype.kind in "iub" else np.zeros(0, np.int64)
    if array.ndim and array.shape[-1] > 1:
        return np.asarray(np.argmax(array, axis=-1))
    # One score alone says yes or no: above the middle of its range.
    if array.dtype.kind == "f":
        return array > np.float32(0.5)
    limits = np.iinfo(array.dtype)
    return array.astype(np.int64) * 2 > int(limits.max) + int(limits.min)


def _first_tokens(text: str) -> str:
    end = 0
    for _ in range(TRIAL_SHOWN_TOKENS_MAX):
        found = _TOKEN.match(text, end)
        if found is None:
            break
        end = found.end()
    return text[: min(end, TRIAL_SHOWN_TEXT_CHARACTERS_MAX)]


def _nearly(values: tuple[int | str, ...], array: Array, way: Shown, allowed: float) -> bool:
    if array.dtype.kind != "f":
        return False
    if way in {"top1", "tokens256"}:
        return _labels_nearly(values, array, allowed)
    numbers = array.ravel()[: len(values)].astype(np.float64)
    if len(numbers) != len(values):
        return False
    for value, number in zip(values, numbers.tolist(), strict=True):
        try:
            said = np.float64(value)
        except ValueError:
            return False
        # Two digits round by up to half of the second one: a twentieth of the number.
        rounding = abs(number) / 20 if way == "digits2" else 0.0
        if not abs(said - number) <= allowed + rounding:
            return False
    return True


def _labels_nearly(values: tuple[int | str, ...], array: Array, allowed: float) -> bool:
    if not array.ndim or array.shape[-1] <= 1:
        flat = array.ravel()[: len(values)].astype(np.float64)
        if len(flat) != len(values):
            return False
        here = (flat > 0.5).astype(int).tolist()
        return all(
            one == other or abs(score - 0.5) <= allowed
            for one, other, score in zip(values, here, flat.tolist(), strict=True)
        )
    rows = array.reshape(-1, array.shape[-1])[: len(values)].astype(np.float64)
    if len(rows) != len(values):
        return False
    count = rows.shape[1]
    for label, row in zip(values, rows, strict=True):
        if not isinstance(label, int) or not 0 <= label < count:
            return False
        if not float(np.max(row) - row[label]) <= 2 * allowed:
            return False
    return True
