"""Certificates as files: what one proves, without an Account, and whether for files on a disk.

* Nothing but the file is needed; the suites are those of this program.
* A fault is raised as ``BadStatement``, which names the field; a report means that all holds.
* Files are only read and hashed; links in a folder are refused as they are on import.
* What a file cannot show is said: that its signer measured honestly, and what came after.

The rules are ``hanse.core.attest``'s.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.lanes import read_whole
from hanse.core.artifacts.manifest import FileEntry, Manifest
from hanse.core.artifacts.sources import check_unchanged, list_source, open_source
from hanse.core.artifacts.tree import EMPTY_ROOT, PieceTree
from hanse.core.attest.cert_file import read_cert_file, verify_cert_file
from hanse.core.attest.levels import LEVEL_WORDS
from hanse.core.attest.suites import bundled
from hanse.core.attest.verifying import ModelFiles
from hanse.core.engine.views import VerifyReport
from hanse.core.limits import LEAF_SIZE_BYTES, PIECE_SIZE_BYTES
from hanse.core.model.certificate import Subject
from hanse.core.model.control import Control

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.artifacts.sources import Source, SourceFile
    from hanse.core.attest.cert_file import CertReport
    from hanse.core.model.certificate import Statement

Sentence = tuple[str, dict[str, object]]

_STAGE: Final = "verify"


def verify_certificate(
    subject: str,
    raw: bytes,
    now_ms: int,
    against: Path | None = None,
    control: Control | None = None,
) -> VerifyReport:
    """Say what the file ``raw`` proves, and by whom, or raise ``BadStatement``.

    ``against`` is a model file, or the folder of one, which it should be for.
    """
    file = read_cert_file(raw)
    report = verify_cert_file(file, bundled(), now_ms)  # what is cheap comes first
    if against is not None:
        files = hash_model(against, Control() if control is None else control)
        report = verify_cert_file(file, bundled(), now_ms, files)
    proved = [*_proved(report)]
    if against is not None:
        proved.append(("verify.cert.against", {"path": against}))
    return VerifyReport(
        subject=subject,
        entries=len(file.roots) + (3 if report.later_seq else 2),
        feeds=len({one.author for one in (*file.roots, file.entry)}),
        identities=(report.identity,),
        forks=0,
        waiting=0,
        faults=(),
        proved=tuple(proved),
        open_points=tuple(_open_points(report)),
    )


def hash_model(path: Path, control: Control) -> ModelFiles:
    """Hash a model on disk as its Manifest would list it; nothing is written.

    Raise an error that names the first thing which could not be imported either.
    """
    source = list_source(path)
    entries: list[FileEntry] = []
    done = 0
    for file in source.files:
        entries.append(_hash_file(source, file, control, done))
        done += file.size
    check_unchanged(source, list_source(path))
    manifest = Manifest.of(entries)
    subjects = tuple(Subject(one.path, one.sha256) for one in manifest.files)
    # A single file is looked for under whatever name it has, so it is not named by its list.
    artifact = None if len(subjects) == 1 else manifest.artifact_id
    return ModelFiles(artifact, subjects)


def _hash_file(source: Source, file: SourceFile, control: Control, done: int) -> FileEntry:
    digest, tree = sha256(), PieceTree()
    piece = memoryview(bytearray(PIECE_SIZE_BYTES))
    with open_source(source, file) as stream:
        while got := read_whole(stream.readinto, piece):
            control.checkpoint(_STAGE, done + tree.size, source.size)
            digest.update(piece[:got])
            for start in range(0, got, LEAF_SIZE_BYTES):
                tree.add(piece[start : min(start + LEAF_SIZE_BYTES, got)])
    if tree.size != file.size:
        raise file.changed("size", file.size, tree.size)
    root = tree.root() if tree.size else EMPTY_ROOT
    return FileEntry(file.path, file.size, root, digest.digest())


def _proved(report: CertReport) -> list[Sentence]:
    statement = report.statement
    measured = statement.measured
    failed = tuple(one.id for one in measured.checks if one.result == "fail")
    lines: list[Sentence] = [
        (
            "verify.cert.signed",
            {
                "author": report.device,
                "identity": report.identity,
                "role": statement.role,
                "seq": report.seq,
                "signed_ms": report.signed_ms,
            },
        ),
        *_subjects(statement),
        (
            "verify.cert.level",
            {
                "level": LEVEL_WORDS[report.level],
                "suite": measured.suite,
                "outcome": measured.outcome,
            },
        ),
        (
            "verify.cert.isolation",
            {"grade": measured.isolation.grade, "machine": measured.machine.machine_class},
        ),
    ]
    if failed:
        lines.insert(-1, ("verify.cert.failed", {"checks": failed}))
    if report.later_seq:
        values: dict[str, object] = {"later_seq": report.later_seq, "later_ms": report.later_ms}
        lines.append(("verify.cert.included", values))
    lines.append(("verify.cert.alone", {}))
    return lines


def _subjects(statement: Statement) -> list[Sentence]:
    return [
        ("verify.cert.subject", {"name": one.name, "digest": one.sha256})
        for one in statement.subjects
    ]


def _open_points(report: CertReport) -> list[Sentence]:
    points: list[Sentence] = [("verify.cert.believed", {"identity": report.identity})]
    if not report.is_suite_known:
        measured = report.statement.measured
        points.insert(
            0,
            (
                "verify.cert.unknown_suite",
                {"suite": measured.suite, "digest": measured.suite_sha256},
            ),
        )
    points.append(
        ("verify.cert.revoked_later", {"signed_ms": max(report.later_ms, report.signed_ms)})
    )
    return points
