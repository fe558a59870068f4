"""One thing that is wrong with what a person typed, or that he should know.

* A Problem is data: a stable ``code``, the ``field`` it stands beside, and named values;
  ``hanse.core.sentences`` makes a sentence of code and values.
* ``is_warning`` says that the act may go on.

What counts as a problem is decided by the rules that return them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Problem:
    """``field`` is a path such as ``price`` or ``tiers[1].price``."""

    code: str
    field: str
    values: Mapping[str, object] = dataclasses.field(default_factory=dict)
    is_warning: bool = False
