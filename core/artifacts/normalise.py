"""Which ONNX files are normalised, and what must be true of a result before it replaces its source.

* Normalising is without loss or it does not happen: the outputs agree, and it is not slower.
* Both are measured by the Worker and judged here, from its figures, and only if it also kept
  its result: whatever a Worker answers is treated as written by the model's author.
* A model with tensors in other files is left as it is.

How a file is normalised is the converter's business (``converters/normalise_onnx.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.running import Made

CONVERTER: Final = "normalise_onnx"
IR_VERSION_LEAST: Final = 4
_CHANGED_WHERE: Final = frozenset({"initializers_as_inputs", "opset_twice"})

# Two equal models, timed in turns on a shared machine, differ by up to 3 in 100; the medians of
# all rounds, which cross the wire, by more than the median of the ratios the Worker decides by.
_SLOWER_PERCENT: Final = 110


def reason_against(facts: ModelFacts) -> str:
    """Say by a stable word why this ONNX file is not normalised; empty when it may be."""
    if facts.external_files:
        return "external_data"
    # What inspection saw says whether a Worker would change anything: one is not started for it.
    is_old = not facts.format_version.isdecimal() or int(facts.format_version) < IR_VERSION_LEAST
    return "" if is_old or _CHANGED_WHERE.intersection(facts.warnings) else "nothing_to_do"


def is_better(made: Made) -> bool:
    """Say whether a normalised model may replace its source."""
    before, after = made.figures.get("p50_before_ns", 0), made.figures.get("p50_after_ns", 0)
    return (
        made.kept
        and len(made.files) == 1
        and made.parity.verdict == "pass"
        and 0 < after * 100 <= before * _SLOWER_PERCENT
    )
