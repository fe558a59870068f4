"""``hanse verify FILE``: whether what an exported file says is true, without an Account.

With ``--against`` also whether a Certificate is for these files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.commands.showing import fault_lines, named
from hanse.app.progress import long_work
from hanse.core.engine.auditing import verify_file
from hanse.core.errors import VerificationFailed
from hanse.core.model.ids import identity_text

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.engine.views import VerifyReport


def verify(desk: Desk, *, path: Path, against: Path | None) -> Answer:
    """Check one file and say what it proves, and by whom."""
    now_ms = desk.hanse.clock.now_ms()
    with long_work(desk) as progress:
        report = verify_file(path, now_ms, against=against, control=progress.control)
    return report_answer(desk, report)


def report_answer(desk: Desk, report: VerifyReport) -> Answer:
    """Say what a verification has shown; its first fault makes the answer no."""
    values = {
        "subject": report.subject,
        "feeds": report.feeds,
        "entries": report.entries,
        "identities": tuple(identity_text(it) for it in report.identities) or None,
        "forks": report.forks,
        "waiting": report.waiting,
    }
    lines = [*named(desk, values)]
    for code, shown in report.proved:
        lines.append(desk.say("verify.proved", what=desk.say(code, **shown)))
    for code, shown in report.open_points:
        lines.append(desk.say("verify.open_point", what=desk.say(code, **shown)))
    lines += ["", desk.say("verify.holds" if report.holds else "verify.broken")]
    if report.holds:
        return Answer(report, lines)
    first = report.faults[0]
    refusal = VerificationFailed(where=first.where, reason=first.reason)
    return Answer(report, [*lines, *fault_lines(desk, report.faults)], refusal)
