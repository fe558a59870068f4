"""Print the figures of the run, ready for ``docs/benchmarks.md``."""

from __future__ import annotations

import platform
import sqlite3
from typing import TYPE_CHECKING

from tests.bench.figures import REPORTED

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show every figure beside its goal."""
    if not REPORTED:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{platform.machine()}, ratios in one run"
    )
    terminalreporter.write_line("| figure | seen | goal | spread, times, conditions |")
    terminalreporter.write_line("|---|---|---|---|")
    for figure in REPORTED:
        terminalreporter.write_line(
            f"| {figure.name} | {figure.value} | {figure.goal} | {figure.note} |"
        )
