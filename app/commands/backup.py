"""``hanse backup``: one sealed file, put back or only tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.commands import account
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.showing import named
from hanse.core.engine import backups
from hanse.core.model.ids import identity_text

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.engine.views import BackupReport


def make(desk: Desk, *, path: Path) -> Answer:
    """Write everything but the Device key to one file that only the phrase opens."""
    refuse_existing(path)
    with desk.unlocked() as engine:
        report = engine.backups.make(path)
    return _answer(desk, report, "backup.made")


def restore(
    desk: Desk,
    *,
    path: Path,
    name: str | None,
    device_name: str | None,
    phrase_file: Path | None,
    new_passphrase_file: Path | None,
) -> Answer:
    """Make this installation a new Device with what the backup holds."""
    return account.restore(
        desk,
        source=path,
        mirror=False,
        name=name,
        device_name=device_name,
        phrase_file=phrase_file,
        new_passphrase_file=new_passphrase_file,
    )


def drill(desk: Desk, *, path: Path, phrase_file: Path | None) -> Answer:
    """Restore a backup into a folder that is thrown away, and verify it."""
    phrase = desk.phrase(phrase_file)
    report = backups.drill(path, phrase, clock=desk.hanse.clock, chance=desk.hanse.chance)
    return _answer(desk, report, "backup.drilled")


def _answer(desk: Desk, report: BackupReport, said: str) -> Answer:
    values = {
        "file": report.path,
        "identity": identity_text(report.identity),
        "entries": report.entries,
        "objects": report.blobs,
        "size_bytes": desk.say("value.size", size_bytes=report.size_bytes),
    }
    return Answer(report, [desk.say(said), "", *named(desk, values)])
