"""The ``.hanse-cert`` file: one Certificate with all that is needed to verify it, and no more.

A JSON map: ``hanse_cert`` 1, ``envelope`` (DSSE), ``device`` (key, hexadecimal), and in base64 as
they travelled the Entries ``entry`` (``cert/1``), ``delegation`` (Entry 1 of the Device's Feed),
``roots`` (the root feeds of its Identity, each from seq 1) and ``inclusion`` (the bytes of a
``.hanse-proof``, or null while nothing followed it).

* The ``envelope`` stands there for other programs; what is believed is the one in the Body, whose
  hash the Device signed.  Where the two differ the first field that does is named.
* Delegation and cuts are judged by the rules of acceptance, over the root feeds in the file.  One
  that was made before a revocation cannot show it: the report says up to when it looks.
* An unknown suite is no fault of the file: the signature holds, and the Level counts for nothing.

Reading files and comparing with models on a disk is ``hanse.core.engine.auditing``'s.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.attest.envelope import Enveloped, read_envelope
from hanse.core.attest.faults import BadStatement, Step, shape_fault, strict_json
from hanse.core.attest.verifying import (
    ModelFiles,
    UnknownSuite,
    check_for_files,
    index_of_body,
    verify_envelope,
)
from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.entry import CheckedEntry, body_fits, check_entry, parse_entry
from hanse.core.ledger.evidence import PROOF_MAGIC, check_inclusion_evidence
from hanse.core.ledger.feed import Accepted, Parked, Rejected
from hanse.core.ledger.identities import counted_until, speaks_for
from hanse.core.ledger.kinds import Cert1, parse_body
from hanse.core.ledger.replay import MemoryLedger
from hanse.core.limits import (
    BODY_SIZE_BYTES_MAX,
    CERT_FILE_SIZE_BYTES_MAX,
    HEADER_SIZE_BYTES_MAX,
    ROOT_FEED_ENTRIES_MAX,
)
from hanse.core.model.ids import AuthorKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.attest.suites import SuiteIndex
    from hanse.core.ledger.identities import Void
    from hanse.core.model.certificate import Statement
    from hanse.core.model.ids import EntryId, IdentityId

_START: Final = re.compile(rb'\s*\{\s*"hanse_cert"\s*:')
_VERSION: Final = 1
_KIND: Final = "cert/1"

Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
# Four characters of base64 hold three bytes.
Base64Header = Annotated[str, msgspec.Meta(max_length=HEADER_SIZE_BYTES_MAX * 2)]
Base64Signature = Annotated[str, msgspec.Meta(max_length=128)]
Base64Body = Annotated[str, msgspec.Meta(max_length=BODY_SIZE_BYTES_MAX * 2)]


class EntryPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Entry as it travelled."""

    header: Base64Header
    signature: Base64Signature
    body: Base64Body


class CertFilePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON of the file."""

    hanse_cert: Literal[1]
    envelope: msgspec.Raw
    device: Hex32
    entry: EntryPart
    delegation: EntryPart
    roots: Annotated[
        tuple[EntryPart, ...], msgspec.Meta(min_length=1, max_length=ROOT_FEED_ENTRIES_MAX)
    ]
    inclusion: Annotated[str, msgspec.Meta(max_length=HEADER_SIZE_BYTES_MAX * 8)] | None


@dataclass(frozen=True, slots=True)
class CertFile:
    """What the file holds, each Entry signed by its Author; nothing else is verified yet."""

    envelope: bytes
    device: AuthorKey
    entry: CheckedEntry
    delegation: CheckedEntry
    roots: tuple[CheckedEntry, ...]
    inclusion: bytes | None


@dataclass(frozen=True, slots=True)
class CertReport:
    """What a file proves.

    ``is_suite_known`` is False for a suite that is unknown here: then ``level`` is 0, whatever
    was signed.  ``later_seq`` and ``later_ms`` are of the Header that commits to the
    Certificate, 0 where the file has none.
    """

    statement: Statement
    identity: IdentityId
    device: AuthorKey
    entry: EntryId
    seq: int
    signed_ms: int
    later_seq: int
    later_ms: int
    is_suite_known: bool

    @property
    def level(self) -> int:
        """Return the Level that counts here."""
        return self.statement.level if self.is_suite_known else 0


def is_cert_file(start: bytes) -> bool:
    """Say whether a file that begins with these bytes is a certificate file of any version."""
    return _START.match(start) is not None


def write_cert_file(
    entry: CheckedEntry,
    delegation: CheckedEntry,
    roots: Sequence[CheckedEntry],
    inclusion: bytes | None,
) -> bytes:
    """Return the bytes of the file, or raise ``BadStatement`` when it would be too large.

    ``entry`` is a ``cert/1`` with its Body, ``delegation`` Entry 1 of its Feed, ``roots`` every
    Entry held of the Identity's root feeds, ``inclusion`` what ``ledger.evidence.write_inclusion``
    gave for a later Header.
    """
    assert entry.kind == _KIND
    assert entry.author == delegation.author
    assert entry.body is not None
    body = parse_body(_KIND, entry.body)
    assert isinstance(body, Cert1)
    value = {
        "hanse_cert": _VERSION,
        "envelope": json.loads(body.envelope),
        "device": entry.author.hex(),
        "entry": _written(entry),
        "delegation": _written(delegation),
        "roots": [_written(one) for one in roots],
        "inclusion": None if inclusion is None else base64.b64encode(inclusion).decode(),
    }
    raw = json.dumps(value, indent=1).encode() + b"\n"
    _check_size(raw)
    return raw


def read_cert_file(raw: bytes) -> CertFile:
    """Take a file apart and check the signature of each Entry; raise ``BadStatement``."""
    _check_size(raw)
    parsed = strict_json(raw, "file")
    try:
        part = msgspec.json.decode(raw, type=CertFilePart)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise shape_fault("json", parsed, error) from error
    inclusion = part.inclusion
    return CertFile(
        envelope=bytes(part.envelope),
        device=AuthorKey(bytes.fromhex(part.device)),
        entry=_entry("signature", "entry", part.entry),
        delegation=_entry("delegation", "delegation", part.delegation),
        roots=tuple(_entry("delegation", f"roots[{n}]", one) for n, one in enumerate(part.roots)),
        inclusion=None if inclusion is None else _unbase64("json", "inclusion", inclusion),
    )


def verify_cert_file(
    file: CertFile, suites: SuiteIndex, now_ms: int, manifest: ModelFiles | None = None
) -> CertReport:
    """Verify all that a file says, or raise ``BadStatement`` at the first fault.

    ``manifest`` are files it should be for; ``now_ms`` only refuses Entries from the future.
    """
    entry = file.entry
    if file.device != entry.author:
        raise BadStatement("signature", "device", entry.author.hex(), file.device.hex())
    body = _body(entry)
    _compare_envelopes(read_envelope(body.envelope), read_envelope(file.envelope))
    speaks = _speaks(file, now_ms)
    is_suite_known = True
    try:
        statement = verify_envelope(
            body.envelope,
            entry.author,
            index=index_of_body(body),
            suites=suites,
            manifest=None,
            speaks=speaks,
        )
    except UnknownSuite as unknown:
        statement, is_suite_known = unknown.statement, False
    if manifest is not None:
        check_for_files(statement, manifest)
    later = None if file.inclusion is None else _later(entry, file.inclusion)
    assert isinstance(speaks, bytes)  # a Void was refused
    return CertReport(
        statement=statement,
        identity=speaks,
        device=entry.author,
        entry=entry.entry_id,
        seq=entry.seq,
        signed_ms=entry.header.time_ms,
        later_seq=0 if later is None else later.seq,
        later_ms=0 if later is None else later.header.time_ms,
        is_suite_known=is_suite_known,
    )


# --- parts ----------------------------------------------------------------------------------


def _check_size(raw: bytes) -> None:
    if len(raw) > CERT_FILE_SIZE_BYTES_MAX:
        raise BadStatement("json", "file", f"<= {CERT_FILE_SIZE_BYTES_MAX} bytes", len(raw))


def _written(entry: CheckedEntry) -> dict[str, str]:
    assert entry.body is not None
    parts = {"header": entry.header_bytes, "signature": entry.signature, "body": entry.body}
    return {name: base64.b64encode(raw).decode() for name, raw in parts.items()}


def _unbase64(step: Step, what: str, text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadStatement(step, what, "base64", text) from error
    return raw


def _entry(step: Step, what: str, part: EntryPart) -> CheckedEntry:
    header = _unbase64(step, f"{what}.header", part.header)
    signature = _unbase64(step, f"{what}.signature", part.signature)
    body = _unbase64(step, f"{what}.body", part.body)
    try:
        entry = check_entry(parse_entry(header, signature, body))
    except RejectedEntry as error:
        where = "signature" if error.reason == "bad_signature" else "header"
        raise BadStatement(step, f"{what}.{where}", "signed_entry", error.detail) from error
    if not body_fits(entry, body):
        raise BadStatement(step, f"{what}.body", entry.header.body_hash.hex(), "other_bytes")
    return entry


def _body(entry: CheckedEntry) -> Cert1:
    if entry.kind != _KIND:
        raise BadStatement("signature", "entry.header", _KIND, entry.kind)
    assert entry.body is not None
    try:
        body = parse_body(entry.kind, entry.body)
    except RejectedEntry as error:
        raise BadStatement("index", "entry.body", _KIND, error.detail) from error
    assert isinstance(body, Cert1)
    return body


def _compare_envelopes(signed: Enveloped, shown: Enveloped) -> None:
    """Name the first field in which the envelope shown is not the one that was signed."""
    rows = (
        ("$.payloadType", signed.payload_type, shown.payload_type),
        ("$.signatures[0].keyid", signed.keyid, shown.keyid),
        ("$.signatures[0].sig", signed.signature.hex(), shown.signature.hex()),
    )
    for what, expected, found in rows:
        if expected != found:
            raise BadStatement("signature", what, expected, found)
    if signed.payload == shown.payload:
        return
    difference = _first_difference(
        strict_json(signed.payload, "payload"), strict_json(shown.payload, "payload"), "$"
    )
    if difference is None:  # the same values in other bytes
        raise BadStatement("signature", "payload", "canonical", "another_form")
    raise BadStatement("signature", *difference)


def _first_difference(
    expected: object, found: object, where: str
) -> tuple[str, object, object] | None:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in (*expected, *(key for key in found if key not in expected)):
            one = _first_difference(
                expected.get(key, "nothing"), found.get(key, "nothing"), f"{where}.{key}"
            )
            if one is not None:
                return one
        return None
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for n, (left, right) in enumerate(zip(expected, found, strict=True)):
            one = _first_difference(left, right, f"{where}[{n}]")
            if one is not None:
                return one
        return None
    # True is 1 to Python and not to JSON.
    same = type(expected) is type(found) and expected == found
    return None if same else (where, expected, found)


def _speaks(file: CertFile, now_ms: int) -> IdentityId | Void:
    """Say for whom the Device spoke at the Entry's seq, as far as the file shows."""
    ledger = MemoryLedger()
    for n, root in enumerate(file.roots):
        verdict = ledger.accept(root, now_ms)
        if not isinstance(verdict, Accepted):
            raise BadStatement("delegation", f"roots[{n}]", "root_entry", _why(verdict))
    delegation, entry = file.delegation, file.entry
    if delegation.author != entry.author:
        raise BadStatement(
            "delegation", "delegation.header", entry.author.hex(), delegation.author.hex()
        )
    verdict = ledger.accept(delegation, now_ms)
    opening = ledger.feeds[delegation.author].opening
    if not isinstance(verdict, Accepted) or opening is None:
        raise BadStatement("delegation", "delegation", "delegation_of_root", _why(verdict))
    known = ledger.standing_of(opening.identity)
    assert known is not None  # the Delegation would not have been accepted
    counted = counted_until(opening, entry.author, known, None, lambda _seq: None)
    return speaks_for(entry, opening, known, counted)


def _why(verdict: object) -> str:
    match verdict:
        case Rejected(reason, detail):
            return f"{reason}: {detail}"
        case Parked(reason):
            return reason
        case _:
            return type(verdict).__name__.lower()


def _later(entry: CheckedEntry, inclusion: bytes) -> CheckedEntry:
    if not inclusion.startswith(PROOF_MAGIC):
        raise BadStatement("signature", "inclusion", "inclusion_proof", "other_bytes")
    try:
        proved, later = check_inclusion_evidence(inclusion)
    except RejectedEntry as error:
        raise BadStatement("signature", "inclusion", "inclusion_proof", error.detail) from error
    except VerificationFailed as error:
        raise BadStatement(
            "signature", "inclusion", "inclusion_proof", error.values.get("reason")
        ) from error
    if proved.entry_id != entry.entry_id:
        raise BadStatement("signature", "inclusion", entry.entry_id.hex(), proved.entry_id.hex())
    return later
