"""What can be wrong with a data set, and with what is asked of it.

Every error names the thing, what was found, and what was expected or known, so that the
person can put it right in the file or give the mapping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.errors import Refused, WrongUse

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN: Final = 8  # names of a longer list
_CHARACTERS_SHOWN: Final = 60


class DatasetRefused(Refused):
    """A file or folder breaks a rule of its format; ``rule`` is a stable word."""

    code = "dataset.refused"
    text = "{file}: {rule}: found {found}, expected {expected}"
    fields = ("file", "rule", "found", "expected")

    def __init__(self, file: str, rule: str, found: object, expected: object) -> None:
        """Name the file, the rule, what was found and what was expected."""
        super().__init__(file=file, rule=rule, found=found, expected=expected)
        self.rule = rule


class BadEncoding(Refused):
    """Text that is not UTF-8; ``line`` is the first that cannot be read."""

    code = "dataset.encoding"
    text = "{file}, line {line}: not UTF-8 ({found})"
    fields = ("file", "line", "found")


class MissingValue(Refused):
    """A used column has a row without a value; ``row`` counts from 1 below the header."""

    code = "dataset.missing_value"
    text = "column {column}, row {row}: no value"
    fields = ("column", "row")


class NotANumber(Refused):
    """A column of numbers holds something else; ``expected`` is a stable word."""

    code = "dataset.not_a_number"
    text = "column {column}, row {row}: {found!r}, expected {expected}"
    fields = ("column", "row", "found", "expected")


class UnknownCategory(Refused):
    """A value is none of the categories that the recipe knows for its column."""

    code = "dataset.unknown_category"
    text = "column {column}, row {row}: {found!r} is none of {known}"
    fields = ("column", "row", "found", "known")


class UnknownColumn(Refused):
    """The mapping names a column or array that the data do not have."""

    code = "dataset.unknown_column"
    text = "no column {column}; there are {known}"
    fields = ("column", "known")


class ColumnsMissing(Refused):
    """The model names the columns of an input, and the data lack some of them."""

    code = "dataset.columns_missing"
    text = "{tensor} needs columns {missing}; there are {found}"
    fields = ("tensor", "missing", "found")


class UnknownInput(Refused):
    """The mapping names an input that the model does not have."""

    code = "dataset.unknown_input"
    text = "the model has no input {tensor}; it has {known}"
    fields = ("tensor", "known")


class MappingNeeded(Refused):
    """An input, or the truth, cannot be found by name: the person must map it.

    ``tensor`` is the name of the input or ``target``; ``expected`` its shape or what was looked
    for; ``found`` the columns or arrays there are.
    """

    code = "dataset.mapping_needed"
    text = "say which columns are {tensor} {expected}; there are {found}"
    fields = ("tensor", "expected", "found")


class MappingRefused(WrongUse):
    """A mapping cannot be read."""

    code = "dataset.mapping_refused"
    text = "the mapping cannot be read: {detail}"
    fields = ("detail",)


class WrongShape(Refused):
    """What the recipe makes of the data does not fit an input."""

    code = "dataset.wrong_shape"
    text = "{tensor} takes {expected}, the data give {found}"
    fields = ("tensor", "expected", "found")


class RecipeRefused(Refused):
    """A step of the recipe cannot be done; ``reason`` is a stable word."""

    code = "dataset.recipe"
    text = "recipe step {number} ({step}): {reason}: {detail}"
    fields = ("number", "step", "reason", "detail")


class UnknownLabel(Refused):
    """The truth has labels that the model does not give."""

    code = "dataset.unknown_label"
    text = "labels {found} are none of the model's: {known}"
    fields = ("found", "known")


class DataTooSmall(Refused):
    """There are too few rows to tell the claim from one that is worse by the margin."""

    code = "dataset.too_small"
    text = "{n} rows, {needed} needed for {claim} within {margin}"
    fields = ("n", "needed", "claim", "margin")


class UnknownMetric(WrongUse):
    """No metric of this name."""

    code = "dataset.unknown_metric"
    text = "no metric {metric}; there are {known}"
    fields = ("metric", "known")


class OutputsUnusable(Refused):
    """The model's outputs hold nothing that this task is judged by; ``reason`` is a word."""

    code = "dataset.outputs"
    text = "the outputs cannot be judged, {reason}: {found}"
    fields = ("reason", "found")

    def __init__(self, reason: str, found: object) -> None:
        """Say why, and which outputs there are."""
        super().__init__(reason=reason, found=found)
        self.reason = reason


class CostsRefused(Refused):
    """A cost matrix breaks a rule; ``rule`` is a stable word."""

    code = "dataset.costs"
    text = "cost matrix: {rule}: found {found}, expected {expected}"
    fields = ("rule", "found", "expected")

    def __init__(self, rule: str, found: object, expected: object) -> None:
        """Name the rule, what was found and what was expected."""
        super().__init__(rule=rule, found=found, expected=expected)
        self.rule = rule


def shown(text: str) -> str:
    """Cut a value of the data so that a sentence stays one."""
    return text if len(text) <= _CHARACTERS_SHOWN else text[:_CHARACTERS_SHOWN] + "…"


def named(names: Iterable[str]) -> tuple[str, ...]:
    """Return the first names of a list, and how many more there are, for a sentence."""
    every = tuple(names)
    kept = tuple(shown(one) for one in every[:_SHOWN])
    return kept if len(every) <= _SHOWN else (*kept, f"… +{len(every) - _SHOWN}")
