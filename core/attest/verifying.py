"""Verification of a Certificate: ten steps in their order, one error each.

1. Size, bounds of the JSON, no key twice.
2. The type of the payload.
3. The signature of the Device key, over the bytes that came.
4. The Device spoke for its Identity at this place of its Feed.
5. The types of Statement and predicate; known fields only, each of its kind.
6. The index in the Body says what the Statement says.
7. The Statement fits itself: the Level, the order of figures, the result.
8. The suite is known here; what is under another one is signed, and counts for nothing.
9. The subjects are the files of the Release.
10. It was not revoked.

What is not asked is passed over: a step whose question is ``None`` is not looked at.  Nothing is
kept, so a refusal changes nothing.  Where these answers come from is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.attest.envelope import check_signed, read_envelope
from hanse.core.attest.faults import BadStatement
from hanse.core.attest.levels import check_consistent
from hanse.core.attest.statement import read_statement, subjects_of
from hanse.core.ledger.identities import Void
from hanse.core.ledger.kinds import Blob, Cert1

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.attest.suites import SuiteIndex
    from hanse.core.model.certificate import Statement, Subject
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId


_LEVELS: Final[Mapping[int, Literal[0, 1, 2, 3]]] = {0: 0, 1: 1, 2: 2, 3: 3}


class UnknownSuite(BadStatement):
    """All before it holds, but the suite is not known here: it counts for nothing.

    ``statement`` is what was signed.
    """

    code = "certificate.unknown_suite"

    def __init__(self, statement: Statement) -> None:
        """Name the suite."""
        measured = statement.measured
        found = f"{measured.suite} {measured.suite_sha256.hex()}"
        super().__init__("suite", "$.predicate.suite.sha256", "known_suite", found)
        self.statement = statement


@dataclass(frozen=True, slots=True)
class CertIndex:
    """What a ``cert/1`` Body repeats of its Statement, so that it is found without opening it."""

    artifact: bytes
    suite: str
    suite_sha256: bytes
    level: int
    golden: tuple[bytes, int] | None  # SHA-256 and size
    reproduces: EntryId | bytes | None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files a Certificate should be for: those of a Release's Manifest, or on a disk.

    ``artifact`` is ``None`` where only the files are known.
    """

    artifact: bytes | None
    files: tuple[Subject, ...]


def index_of(statement: Statement) -> CertIndex:
    """Return the index that belongs to a Statement."""
    measured = statement.measured
    golden, reproduces = measured.golden, statement.reproduces
    return CertIndex(
        artifact=statement.artifact,
        suite=measured.suite,
        suite_sha256=measured.suite_sha256,
        level=measured.level,
        golden=None if golden is None else (golden.sha256, golden.size),
        reproduces=None if reproduces is None else reproduces.entry,
    )


def index_of_body(body: Cert1) -> CertIndex:
    """Return the index a Body has."""
    return CertIndex(
        artifact=body.artifact,
        suite=body.suite,
        suite_sha256=body.suite_sha256,
        level=body.level,
        golden=None if body.golden is None else (body.golden.sha256, body.golden.size),
        reproduces=body.reproduces,
    )


def cert_body(envelope: bytes, statement: Statement, salt: bytes) -> Cert1:
    """Make the Body that carries a signed Statement and its index."""
    index = index_of(statement)
    level = index.level
    if level not in _LEVELS:  # only a value that nobody encoded
        raise BadStatement("index", "$.predicate.level", "<= 3", level)
    return Cert1(
        salt=salt,
        envelope=envelope,
        artifact=index.artifact,
        suite=index.suite,
        suite_sha256=index.suite_sha256,
        level=_LEVELS[level],
        golden=None if index.golden is None else Blob(*index.golden, None),
        reproduces=index.reproduces,
    )


def verify_envelope(
    envelope: bytes,
    device: AuthorKey | bytes,
    *,
    index: CertIndex | None,
    suites: SuiteIndex | None,
    manifest: ModelFiles | None,
    speaks: IdentityId | Void | None = None,
    revoked: str | None = None,
) -> Statement:
    """Return the Statement ``device`` signed, or raise ``BadStatement`` at the first fault.

    ``speaks`` is what ``ledger.identities.speaks_for`` said of its Entry, ``revoked`` the reason
    of a revocation by its issuer.  An unknown suite raises ``UnknownSuite``; with ``suites``
    ``None`` the suite, and what needs its checks, is not looked at.
    """
    # (1) Sizes first, then what two readers could read differently.
    found = read_envelope(envelope)

    # (2, 3) The bytes that came are what was signed; only then is the payload parsed.
    check_signed(found, device)

    # (4) A key alone is nobody.
    if isinstance(speaks, Void):
        raise BadStatement("delegation", "device", "speaks_for_identity", speaks.reason)

    # (1, 5) The payload: bounds and one canonical form, then every field.
    statement = read_statement(found.payload)

    # (6) The index repeats the statement, or the Body is void.
    if index is not None:
        _check_index(index, index_of(statement))

    # (7) Before the suite is asked for, so that an unknown one hides no contradiction.
    measured = statement.measured
    suite = None if suites is None else suites.by_sha256(measured.suite_sha256)
    check_consistent(statement, suite)

    # (8) Another suite under a known name is an unknown one.
    if suites is not None and (suite is None or suite.name != measured.suite):
        raise UnknownSuite(statement)

    # (9) For these bytes and no others.
    if manifest is not None:
        check_for_files(statement, manifest)

    # (10) Its issuer took it back.
    if revoked is not None:
        raise BadStatement("revoked", "certificate", "not_revoked", revoked)
    return statement


def check_cert_body(body: Cert1, author: AuthorKey | bytes) -> Statement:
    """Return the Statement in a Body that ``author`` signed, or raise ``BadStatement``.

    For a Projection: steps 1 to 3 and 5 to 7, which depend on the Body and its Author alone.
    Which suites a program knows changes with the program, so step 8 is for whoever looks.
    """
    return verify_envelope(
        body.envelope, author, index=index_of_body(body), suites=None, manifest=None
    )


def check_for_files(statement: Statement, manifest: ModelFiles) -> None:
    """Raise ``BadStatement`` (step 9) unless the Statement is about exactly these files.

    A single file may have another name, since a copy is the same model.
    """
    artifact = manifest.artifact
    # The files say it better than the name of their list, so they come first.
    _compare(statement.subjects, subjects_of(artifact or b"", manifest.files))
    if len(manifest.files) != statement.files:
        raise BadStatement(
            "subjects", "$.predicate.artifact.files", len(manifest.files), statement.files
        )
    if artifact is not None and artifact != statement.artifact:
        raise BadStatement(
            "subjects", "$.predicate.artifact.id", artifact.hex(), statement.artifact.hex()
        )


def _compare(stated: tuple[Subject, ...], expected: tuple[Subject, ...]) -> None:
    if len(stated) == len(expected) == 1:
        if stated[0].sha256 != expected[0].sha256:
            raise BadStatement(
                "subjects", stated[0].name, expected[0].sha256.hex(), stated[0].sha256.hex()
            )
        return
    held = {one.name: one.sha256 for one in expected}
    for one in stated:
        here = held.pop(one.name, None)
        if here != one.sha256:
            raise BadStatement(
                "subjects", one.name, "nothing" if here is None else here.hex(), one.sha256.hex()
            )
    for name, digest in held.items():
        raise BadStatement("subjects", name, digest.hex(), "nothing")


def _check_index(index: CertIndex, stated: CertIndex) -> None:
    rows = (
        ("artifact", index.artifact, stated.artifact),
        ("suite", index.suite, stated.suite),
        ("suite_sha256", index.suite_sha256, stated.suite_sha256),
        ("level", index.level, stated.level),
        ("golden", _golden(index), _golden(stated)),
        ("reproduces", index.reproduces, stated.reproduces),
    )
    for name, found, expected in rows:
        if found != expected:
            raise BadStatement("index", f"body.{name}", _word(expected), _word(found))


def _golden(index: CertIndex) -> str | None:
    return None if index.golden is None else f"{index.golden[0].hex()} {index.golden[1]}"


def _word(value: object) -> object:
    return "nothing" if value is None else value
