"""What a look at this installation found: how serious it is, and the sentence that says it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@unique
class State(Enum):
    """How serious a finding is."""

    FINE = "fine"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at, and the sentence that says how it is."""

    state: State
    code: str
    values: Mapping[str, object]
