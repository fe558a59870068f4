"""Whether two sets of outputs are the same, within what their type and their graph allow.

* Raw outputs are compared, never hashes of them: another CPU rounds differently.
* ``abs(ref - got) <= rtol * max(abs(finite ref of this tensor)) + atol``, everywhere; type,
  shape, and the places of NaN and of each infinity must be equal.
* Whole numbers, truth values and text must be equal.  Only a label that is the place of the
  highest of its scores may differ, where the two scores lie within twice the tolerance; and
  so may labels that stand beside their scores in order (the best ten) change places.
* A recurrent model is compared by one step from a given state: its state is an input like any
  other here, and no output is ever fed back.
* Tolerances are whole billionths.  A declared one counts where it is tighter, never where it
  is wider.

What a difference means for a Certificate or a Trial is decided elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from hanse.core.model.arrays import dtype_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.certificate import Sameness

Difference = Literal["", "missing", "type", "shape", "not_finite", "value"]

NANO: Final = 1_000_000_000

_CUT_NANO: Final = 2**53 - 1  # a Certificate's whole numbers stay below (RFC 8785)
_FLOATS: Final = frozenset({"float16", "float32", "float64"})
_QUANTISED: Final = re.compile(r"[Qq]uantize|^QLinear|Integer$|NBits|^Q[A-Z]|QUANTIZE$")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far outputs may lie apart, relative to the largest and in addition, in billionths."""

    rtol_nano: int
    atol_nano: int

    def tightened(self, declared: Tolerance | None) -> Tolerance:
        """Return the tighter of each figure; a wider declared one changes nothing."""
        if declared is None:
            return self
        return Tolerance(
            min(self.rtol_nano, declared.rtol_nano), min(self.atol_nano, declared.atol_nano)
        )


FULL: Final = Tolerance(100_000, 10_000)  # 1e-4, 1e-5: float32, float64
HALF: Final = Tolerance(10_000_000, 1_000_000)  # 1e-2, 1e-3: float16, bfloat16
QUANTISED: Final = Tolerance(20_000_000, 1_000_000)  # 2e-2, 1e-3: beside quantised operators
EXACT: Final = Tolerance(0, 0)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What comparing came to: ``difference`` is empty when all is within the tolerance.

    ``tensor`` names the first that differs, ``max_abs_nano`` is the largest distance seen of
    finite numbers (cut at 2**53), ``is_bitwise`` says that nothing differs at all.
    """

    difference: Difference
    max_abs_nano: int
    is_bitwise: bool
    tensor: str = ""

    @property
    def agrees(self) -> bool:
        """Say whether all lies within the tolerance."""
        return not self.difference

    @property
    def sameness(self) -> Sameness:
        """Return the word a Certificate has for it."""
        if not self.agrees:
            return "differs"
        return "bitwise" if self.is_bitwise else "tolerance"


def is_quantised(facts: ModelFacts | None) -> bool:
    """Say whether the graph computes with quantised operators."""
    return facts is not None and any(
        _QUANTISED.search(one.rpartition("::")[2]) for one in facts.operators
    )


def tolerance_of(dtype: str, facts: ModelFacts | None = None) -> Tolerance:
    """Return what an output of ``dtype`` (a word of ``DTYPES``) of this model is allowed.

    A model that stores half precision computes in it, whatever the type of its outputs.
    """
    if dtype not in _FLOATS:
        return EXACT
    if is_quantised(facts):
        return QUANTISED
    is_half = facts is not None and facts.quantisation in {"float16", "bfloat16"}
    return HALF if dtype == "float16" or is_half else FULL


def widest(tolerances: Mapping[str, Tolerance]) -> Tolerance:
    """Return the widest of each figure: what a Certificate states of all its outputs."""
    return Tolerance(
        max((one.rtol_nano for one in tolerances.values()), default=0),
        max((one.atol_nano for one in tolerances.values()), default=0),
    )


def agree(ref: Array, got: Array, rtol_nano: int, atol_nano: int) -> Agreement:
    """Compare two tensors; with both tolerances 0 they must be equal."""
    if dtype_name(ref) != dtype_name(got):
        return Agreement("type", 0, is_bitwise=False)
    if ref.shape != got.shape:
        return Agreement("shape", 0, is_bitwise=False)
    if ref.dtype.kind != "f":
        if np.array_equal(ref, got):
            return Agreement("", 0, is_bitwise=True)
        return Agreement("value", _largest_gap(ref, got), is_bitwise=False)
    if ref.tobytes() == got.tobytes():
        return Agreement("", 0, is_bitwise=True)
    wide_ref, wide_got = ref.astype(np.float64), got.astype(np.float64)
    is_finite = np.isfinite(wide_ref)
    if not _same_odd_places(wide_ref, wide_got, is_finite):
        return Agreement("not_finite", 0, is_bitwise=False)
    left, right = wide_ref[is_finite], wide_got[is_finite]
    with np.errstate(over="ignore"):  # two numbers at the ends of the range lie infinitely apart
        gap = float(np.max(np.abs(left - right), initial=0.0))
        most = float(np.max(np.abs(left), initial=0.0)) * rtol_nano / NANO + atol_nano / NANO
    difference: Difference = "" if gap <= most else "value"
    return Agreement(difference, _nano(gap), is_bitwise=False)


def agree_outputs(
    ref: Mapping[str, Array],
    got: Mapping[str, Array],
    facts: ModelFacts | None = None,
    declared: Tolerance | None = None,
) -> Agreement:
    """Compare all outputs of one run by name, each under the tolerance of its type.

    ``declared`` is a tighter tolerance for floats.  Every output of ``ref`` must be there and
    none besides.
    """
    odd = sorted(set(ref) ^ set(got))
    if odd:
        return Agreement("missing", 0, is_bitwise=False, tensor=odd[0])
    largest, is_bitwise = 0, True
    for name in sorted(ref):
        tolerance = tolerance_of(dtype_name(ref[name]), facts)
        if tolerance != EXACT:
            tolerance = tolerance.tightened(declared)
        found = agree(ref[name], got[name], tolerance.rtol_nano, tolerance.atol_nano)
        is_bitwise = is_bitwise and found.is_bitwise
        if found.agrees:
            largest = max(largest, found.max_abs_nano)
        elif found.difference != "value" or not _is_tie(name, ref, got, facts, declared):
            return Agreement(found.difference, found.max_abs_nano, is_bitwise=False, tensor=name)
    return Agreement("", largest, is_bitwise=is_bitwise)


def has_odd_numbers(outputs: Mapping[str, Array]) -> str:
    """Name the first output that holds a NaN or an infinity; empty when none does."""
    for name in sorted(outputs):
        found = outputs[name]
        if found.dtype.kind == "f" and not bool(np.isfinite(found).all()):
            return name
    return ""


def _same_odd_places(ref: Array, got: Array, is_finite: Array) -> bool:
    if not np.array_equal(is_finite, np.isfinite(got)):
        return False
    return np.array_equal(ref[~is_finite], got[~is_finite], equal_nan=True)


def _largest_gap(ref: Array, got: Array) -> int:
    """Return the largest distance of whole numbers in billionths; text has none."""
    if ref.dtype.kind not in "iu" or not ref.size:
        return 0
    return _nano(float(np.max(np.abs(ref.astype(np.float64) - got.astype(np.float64)))))


def _nano(value: float) -> int:
    return _CUT_NANO if not value < _CUT_NANO / NANO else round(value * NANO)


def _is_tie(
    name: str,
    ref: Mapping[str, Array],
    got: Mapping[str, Array],
    facts: ModelFacts | None,
    declared: Tolerance | None,
) -> bool:
    """Say whether labels differ only where the scores they were chosen by nearly tie.

    Both label tensors must be the argmax of one and the same output, so whoever forges a label
    would have to forge the scores as well, and those are compared by themselves.
    """
    labels, others = ref[name], got[name]
    if labels.dtype.kind not in "iu" or labels.shape != others.shape:
        return False
    for key in sorted(ref):
        scores = ref[key]
        if scores.dtype.kind != "f" or got[key].shape != scores.shape or not scores.size:
            continue
        tolerance = tolerance_of(dtype_name(scores), facts).tightened(declared)
        if scores.shape == labels.shape:
            if _change_places(labels, others, scores, tolerance):
                return True
            continue
        places = _places(labels, scores)
        if places is not None and _nearly_tie(
            labels.reshape(places), others.reshape(places), scores, tolerance
        ):
            return True
    return False


def _places(labels: Array, scores: Array) -> tuple[int, ...] | None:
    """Return the shape of the rows of ``scores`` if each has one label, also with a 1 kept."""
    rows = tuple(int(one) for one in scores.shape[:-1])
    return rows if tuple(labels.shape) in (rows, (*rows, 1)) else None


def _nearly_tie(labels: Array, others: Array, scores: Array, tolerance: Tolerance) -> bool:
    """Say whether every row's two labels have scores that nearly tie for the highest."""
    wide = scores.astype(np.float64)
    if not np.isfinite(wide).all():
        return False
    most = _twice(wide, tolerance)
    count = wide.shape[-1]
    if not bool(((labels >= 0) & (labels < count) & (others >= 0) & (others < count)).all()):
        return False
    best = np.max(wide, axis=-1)
    mine = np.take_along_axis(wide, labels.astype(np.int64)[..., None], -1)[..., 0]
    other = np.take_along_axis(wide, others.astype(np.int64)[..., None], -1)[..., 0]
    return bool((mine == best).all() and (best - other <= most).all())


def _change_places(labels: Array, others: Array, scores: Array, tolerance: Tolerance) -> bool:
    """Say whether labels differ only among neighbours of a row whose scores nearly tie.

    The last place of a row may go to one that was just left out: no score of it is there to
    compare with, and its own score is compared like any other.
    """
    wide = scores.astype(np.float64)
    if wide.ndim == 0 or not np.isfinite(wide).all():
        return False
    if bool((np.diff(wide, axis=-1) > 0).any()):  # not in order, so no row of the best
        return False
    most, count = _twice(wide, tolerance), wide.shape[-1]
    rows = zip(
        labels.reshape(-1, count), others.reshape(-1, count), wide.reshape(-1, count), strict=True
    )
    for mine, other, row in rows:
        near = np.abs(row[:, None] - row[None, :]) <= most
        stays = ((other[:, None] == mine[None, :]) & near).any(axis=1)
        if not bool((stays | near[:, -1]).all()):
            return False
    return True


def _twice(wide: Array, tolerance: Tolerance) -> float:
    most = float(np.max(np.abs(wide), initial=0.0)) * tolerance.rtol_nano / NANO
    return 2 * (most + tolerance.atol_nano / NANO)
