"""Golden vectors of Certificates, run against this program.

* The same kind of file as ``hanse.core.ledger.vectors`` reads, with other members; what is JSON
  itself stands there as text.
* Its suites stand in the file itself, so it depends on none that come with the program.
* The reason of what must be refused is the word of the step that refuses it
  (``attest.faults.STEPS``); of a suite it is the error's code.

Nothing here reads a file; the bytes are an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from hanse.core.attest.cert_file import read_cert_file, verify_cert_file
from hanse.core.attest.faults import BadStatement
from hanse.core.attest.reproduction import reproduction_verdict
from hanse.core.attest.statement import encode_statement
from hanse.core.attest.suites import SuiteIndex, index_suites, read_suite
from hanse.core.attest.verifying import ModelFiles, index_of_body, verify_envelope
from hanse.core.ledger.kinds import Cert1, parse_body
from hanse.core.ledger.vectors import (
    Check,
    Hex,
    Hex32,
    Vector,
    VectorsDamaged,
    each_vector,
    first_difference,
    run_checks,
)
from hanse.core.limits import CERT_FILE_SIZE_BYTES_MAX, VECTOR_IDS_MAX
from hanse.core.model.certificate import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hanse.core.errors import HanseError

Text = Annotated[str, msgspec.Meta(max_length=CERT_FILE_SIZE_BYTES_MAX)]
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class _Suite(Vector, frozen=True, kw_only=True):
    hex: Hex
    sha256: Hex32 | None = None
    name: str | None = None


class _ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    sha256: Hex32


class _Envelope(Vector, frozen=True, kw_only=True):
    """An envelope under a Device key; ``body`` and ``files`` where they are to be compared."""

    envelope: Text
    device: Hex
    body: Hex | None = None
    files: Annotated[list[_ModelFile], msgspec.Meta(max_length=VECTOR_IDS_MAX)] | None = None
    payload: Hex | None = None
    artifact: Hex32 | None = None
    suite: str | None = None
    level: int | None = None
    outcome: str | None = None


class _File(Vector, frozen=True, kw_only=True):
    file: Text
    now_ms: _Natural
    identity: Hex32 | None = None
    entry: Hex32 | None = None
    level: int | None = None
    later_seq: int | None = None


class _Verdict(Vector, frozen=True, kw_only=True):
    compared: _Natural
    failing: _Natural
    verdict: str


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    suites: list[_Suite] = []
    statements: list[_Envelope] = []
    cert_files: list[_File] = []
    verdicts: list[_Verdict] = []


def is_certificate_vectors(raw: bytes) -> bool:
    """Say whether a file of vectors has members of this kind."""
    try:
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return not members.keys().isdisjoint(set(_Document.__struct_fields__) - {"about"})


def check_certificate_vectors(raw: bytes) -> tuple[int, list[tuple[str, str]]]:
    """Run every vector in ``raw``; return how many there are, and where which differ and how."""
    try:
        document = msgspec.json.decode(raw, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise VectorsDamaged(str(error)) from error
    return run_checks(_checks(document))


def _checks(document: _Document) -> Iterator[Check]:
    yield from each_vector("suites", document.suites, _check_suite)
    known = [read_suite(_b(one.hex)) for one in document.suites if one.reason is None]
    suites = index_suites(known)
    yield from each_vector("statements", document.statements, _envelope_check(suites), _word)
    yield from each_vector("cert_files", document.cert_files, _file_check(suites), _word)
    yield from each_vector("verdicts", document.verdicts, _check_verdict)


def _word(error: HanseError) -> str:
    return error.step if isinstance(error, BadStatement) else error.code


def _b(text: str) -> bytes:
    return bytes.fromhex(text)


def _check_suite(vector: _Suite) -> str | None:
    found = read_suite(_b(vector.hex))
    return first_difference(
        [("sha256", vector.sha256, found.sha256.hex()), ("name", vector.name, found.name)]
    )


def _envelope_check(suites: SuiteIndex) -> Callable[[_Envelope], str | None]:
    def check(vector: _Envelope) -> str | None:
        index = None
        if vector.body is not None:
            body = parse_body("cert/1", _b(vector.body))
            assert isinstance(body, Cert1)
            index = index_of_body(body)
        files = None
        if vector.files is not None:
            subjects = tuple(Subject(one.name, _b(one.sha256)) for one in vector.files)
            files = ModelFiles(None, subjects)
        envelope, device = vector.envelope.encode(), _b(vector.device)
        found = verify_envelope(envelope, device, index=index, suites=suites, manifest=files)
        if vector.payload is not None and (raw := encode_statement(found).hex()) != vector.payload:
            return f"payload: expected {vector.payload}, found {raw}"
        return first_difference(
            [
                ("artifact", vector.artifact, found.artifact.hex()),
                ("suite", vector.suite, found.measured.suite),
                ("level", vector.level, found.level),
                ("outcome", vector.outcome, found.measured.outcome),
            ]
        )

    return check


def _file_check(suites: SuiteIndex) -> Callable[[_File], str | None]:
    def check(vector: _File) -> str | None:
        found = verify_cert_file(read_cert_file(vector.file.encode()), suites, vector.now_ms)
        return first_difference(
            [
                ("identity", vector.identity, found.identity.hex()),
                ("entry", vector.entry, found.entry.hex()),
                ("level", vector.level, found.level),
                ("later_seq", vector.later_seq, found.later_seq),
            ]
        )

    return check


def _check_verdict(vector: _Verdict) -> str | None:
    if vector.failing > vector.compared:
        return f"{vector.failing} of {vector.compared} fail"
    found = reproduction_verdict(vector.compared, vector.failing)
    return first_difference([("verdict", vector.verdict, found)])
