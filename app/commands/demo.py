"""``hanse demo``: the main job, from end to end, in throw-away folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.demo import run_demo
from hanse.core.errors import EXIT_DONE, VerificationFailed

if TYPE_CHECKING:
    from hanse.app.desk import Desk


def demo(desk: Desk, *, quick: bool) -> Answer:
    """Run the demonstration; its lines appear as it goes."""
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        if not desk.is_json:
            desk.console.out(line)

    status = run_demo(show, quick=quick, language=desk.language)
    result = {"lines": lines}
    if status == EXIT_DONE:
        return Answer(result)
    return Answer(result, (), VerificationFailed(where="demo", reason=lines[-1] if lines else "?"))
