"""Ratios in one run: the thing and its yardstick take turns, and the median ratio is reported.

Absolute times say little on a shared machine; the two sides of one ratio meet the
same neighbours.  Nothing is asserted about speed: goals are printed beside figures.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REPORTED: list[Figure] = []


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    name: str
    value: str
    goal: str
    note: str


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` takes once."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def report(name: str, value: str, goal: str = "-", note: str = "") -> None:
    """Add one line to the report at the end of the run."""
    REPORTED.append(Figure(name, value, goal, note))


def report_ratio(
    name: str,
    work: Callable[[], object],
    yardstick: Callable[[], object],
    *,
    goal: str,
    note: str = "",
    rounds: int = 7,
    units: float = 1,
) -> float:
    """Report the speed of ``work`` as a share of the speed of ``yardstick``.

    ``units`` is how many units of the yardstick's work one call of ``work`` does
    (1 when both do the same amount).  Returns the median.
    """
    ratios, works, yardsticks = [], [], []
    for _ in range(rounds):
        yard = seconds(yardstick)
        took = seconds(work)
        ratios.append(units * yard / took)
        works.append(took)
        yardsticks.append(yard)
    middle = statistics.median(ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    times = f"best {min(works) * 1000:.1f} ms against {min(yardsticks) * 1000:.1f} ms"
    report(name, f"{middle:.2f}", goal, f"{spread}; {times}{'; ' + note if note else ''}")
    return middle
