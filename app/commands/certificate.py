"""``hanse certificate``: Certificates held here: one whole, all of a model, one as a file.

They are made and taken back by ``hanse certify``, and checked by ``hanse verify``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.commands.certify_shown import (
    certificates_lines,
    isolation_warning,
    level_meaning,
    measured_lines,
    reproduces_line,
    statement_rows,
)
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.listing_bodies import rows_of
from hanse.core.model.ids import identity_text
from hanse.core.sentences import show_time

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.engine.certificates import CertificateView


def show(desk: Desk, *, certificate: str) -> Answer:
    """Show one Certificate whole, read from its signed envelope."""
    with desk.reading() as engine:
        view = engine.certificates.show(engine.certificates.named(certificate))
    said = view.certificate.statement
    lines = [*_standing_lines(desk, view), "", *statement_rows(desk, said), ""]
    lines += measured_lines(desk, said.measured)
    if said.reproduces is not None:
        lines += ["", reproduces_line(desk, said.reproduces)]
    lines += ["", level_meaning(desk, said.level), desk.say("certify.believe")]
    result = {
        "certificate": view.row,
        "name": view.name,
        "is_own": view.is_own,
        "statement": said,
        "device": view.certificate.device,
    }
    return Answer(result, lines)


def show_list(desk: Desk, *, artifact: str) -> Answer:
    """List the Certificates of a model, and say what they come to for whoever looks here."""
    with desk.reading() as engine:
        found = engine.certifying.offered_or_held(artifact)
        view = engine.certificates.of_named(found)
    result = {
        "artifact": found.artifact,
        "release": found.release,
        "certificates": view.rows,
        "names": {row.cert.hex(): view.names[row.identity] for row in view.rows},
        "reproduction": view.reproduction,
        "claims": view.claims,
    }
    return Answer(result, certificates_lines(desk, view))


def export(desk: Desk, *, certificate: str, path: Path) -> Answer:
    """Write a Certificate with all that is needed to verify it."""
    refuse_existing(path)
    with desk.reading() as engine:
        row = engine.certificates.export(engine.certificates.named(certificate), path)
    lines = [desk.say("certificate.exported", path=path)]
    return Answer({"certificate": row.cert, "file": path}, lines)


def _standing_lines(desk: Desk, view: CertificateView) -> list[str]:
    """Say whose it is, and aloud whether it still stands."""
    row = view.row
    who = identity_text(row.identity)
    values = {
        "certificate": row.cert.hex(),
        "signer": f"{view.name} ({who})" if view.name else who,
        "signed": show_time(row.time_ms),
    }
    lines = list(rows_of([(desk.say(f"certify.head.{name}"), it) for name, it in values.items()]))
    if (revocation := row.revocation) is not None:
        reason = desk.say(f"certify.revoked.{revocation.reason}")
        lines.append(f"!!! {desk.say('certify.taken_back', reason=reason)} {revocation.text}")
    if not row.is_known:
        lines.append(f"!!! {desk.say('certify.suite_unknown')}")
    return [*lines, *isolation_warning(desk, row.isolation)]
