"""The ``.hanse-warranty`` file: a Proof of a failed Replay that anybody can check, without Account.

``"HANSEWARR"`` + byte 1 + one DAG-CBOR map: REQUEST, GRANT and Proof as Disclosures, the Entry of
the Release, the two Blobs as they were sealed, and the root feeds and Delegations that say whose
Devices signed all this.

* Every signature is checked, and that each Device spoke for its Identity at that seq, as far as
  the root feeds in the file know of revocations.
* Release and GRANT must be of one Identity, REQUEST and Proof of another.
* What is then proven by itself, and what stays a signed claim until somebody runs the model, is
  ``hanse.core.certify.warranty``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.certify.warranty import BadWarranty, verify_proof
from hanse.core.crypto.blobs import open_blob
from hanse.core.engine.views import VerifyReport
from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import bound_items, decode, encode
from hanse.core.ledger.disclosure import Disclosure, check_disclosure
from hanse.core.ledger.entry import check_entry, parse_entry
from hanse.core.ledger.feed import judge_body
from hanse.core.ledger.identities import Void, speaks_for
from hanse.core.ledger.kinds import Release1, Trial1, Warranty1
from hanse.core.ledger.replay import MemoryLedger
from hanse.core.limits import (
    TRIAL_MESSAGE_ITEMS_MAX,
    WARRANTY_FILE_ENTRIES_MAX,
    WARRANTY_FILE_SIZE_BYTES_MAX,
)
from hanse.core.model.ids import identity_text
from hanse.core.model.trial import Granted

if TYPE_CHECKING:
    from hanse.core.certify.warranty import ProofCheck
    from hanse.core.ledger.entry import CheckedEntry, SignedEntry
    from hanse.core.model.blob import Blob
    from hanse.core.model.ids import EntryId, IdentityId

MAGIC: Final = b"HANSEWARR\x01"
_MAGIC_NAME: Final = b"HANSEWARR"


class BadProofFile(VerificationFailed):
    """A ``.hanse-warranty`` file does not hold; ``where`` and ``reason`` name the first fault."""

    code = "trial.bad_proof_file"

    def __init__(self, where: str, reason: str) -> None:
        """Name the part and what is wrong with it."""
        super().__init__(where=where, reason=reason)


class _Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: bytes
    signature: bytes
    body: bytes | None


class ProofFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds; ``openings`` are root feeds and the first Entries of Devices."""

    v: Literal[1] = 1
    request: Disclosure
    grant: Disclosure
    warranty: Disclosure
    release: _Entry
    inputs: bytes
    outputs: bytes
    openings: Annotated[tuple[_Entry, ...], msgspec.Meta(max_length=WARRANTY_FILE_ENTRIES_MAX)]


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """A Proof that holds: who says what of whom, and how much of it needs no model to see.

    ``is_proven`` means that an answer contradicts itself; else the delivered model's answers are
    the buyer's signed claim until somebody who holds the model runs it again.
    """

    buyer: IdentityId
    seller: IdentityId
    release: EntryId
    artifact: bytes
    trial: EntryId
    n: int
    failing: int
    runtime: str
    isolation: str
    check: ProofCheck

    @property
    def is_proven(self) -> bool:
        """Say whether a fault is shown without running the model."""
        return self.check.is_proven


def is_proof_file(start: bytes) -> bool:
    """Say whether a file that begins with these bytes is a Proof of any version."""
    return start.startswith(_MAGIC_NAME)


def entry_row(entry: SignedEntry) -> _Entry:
    """Return an Entry as the file holds it."""
    return _Entry(entry.header_bytes, entry.signature, entry.body)


def write_proof_file(file: ProofFile, now_ms: int) -> bytes:
    """Return the bytes of a Proof, which passes the gate every reader has."""
    raw = MAGIC + encode(file)
    verify_proof_file(raw, now_ms)
    return raw


def verify_proof_file(raw: bytes, now_ms: int) -> VerifiedProof:
    """Check everything anybody can; raise ``BadProofFile`` or ``BadWarranty``."""
    # (1) The form.
    file = read_proof(raw)

    # (2) Whose Devices there are.
    ledger = MemoryLedger()
    for row in file.openings:
        try:
            ledger.accept(check_entry(parse_entry(row.header, row.signature, row.body)), now_ms)
        except RejectedEntry as error:
            raise BadProofFile("openings", error.reason) from error

    # (3) Each part is signed, opens, and is of the kind it must be.
    request, asked = _step(file.request, "request")
    grant, given = _step(file.grant, "grant")
    warranty, proof = _warranty(file.warranty)
    release, offered = _release(file.release)
    if asked.request is None or given.grant is None:
        raise BadProofFile("request" if asked.request is None else "grant", "other_step")

    # (4) They are of two parties, and about one Trial of that Release.
    buyer, seller = _speaker(ledger, request, "request"), _speaker(ledger, grant, "grant")
    if _speaker(ledger, warranty, "warranty") != buyer:
        raise BadProofFile("warranty", "other_identity")
    if _speaker(ledger, release, "release") != seller or seller == buyer:
        raise BadProofFile("release", "other_identity")
    if given.grant.trial != request.entry_id or given.grant.way != asked.request.way:
        raise BadProofFile("grant", "other_trial")
    if asked.request.release != release.entry_id:
        raise BadProofFile("release", "other_release")

    # (5) What it shows.
    granted = Granted(
        request=asked.request,
        trial=request.entry_id,
        grant=given.grant,
        grant_id=grant.entry_id,
        buyer=request.author,
        seller=grant.author,
    )
    inputs = _blob(proof.inputs, file.inputs, "inputs")
    outputs = _blob(proof.outputs, file.outputs, "outputs")
    check = verify_proof(proof, granted, inputs, outputs, offered.artifact)
    return VerifiedProof(
        buyer=buyer,
        seller=seller,
        release=release.entry_id,
        artifact=proof.artifact,
        trial=request.entry_id,
        n=proof.n,
        failing=proof.failing,
        runtime=proof.runtime,
        isolation=proof.isolation,
        check=check,
    )


def verify_warranty(subject: str, raw: bytes, now_ms: int) -> VerifyReport:
    """Say what a Proof shows, and by whom, or raise ``BadProofFile`` or ``BadWarranty``."""
    found = verify_proof_file(raw, now_ms)
    values: dict[str, object] = {
        "buyer": identity_text(found.buyer),
        "seller": identity_text(found.seller),
        "release": found.release,
        "artifact": found.artifact,
        "n": found.n,
        "failing": found.failing,
    }
    proved: list[tuple[str, dict[str, object]]] = [("verify.warranty.signed", values)]
    open_points: list[tuple[str, dict[str, object]]] = []
    if found.is_proven:
        proved.append(("verify.warranty.proven", {}))
    else:
        run: dict[str, object] = {"runtime": found.runtime, "isolation": found.isolation}
        open_points.append(("verify.warranty.claimed", run))
    return VerifyReport(
        subject=subject,
        entries=len(read_proof(raw).openings) + 4,
        feeds=len({found.buyer, found.seller}),
        identities=(found.buyer, found.seller),
        forks=0,
        waiting=0,
        faults=(),
        proved=tuple(proved),
        open_points=tuple(open_points),
    )


def read_proof(raw: bytes) -> ProofFile:
    """Read the form of a Proof, and believe nothing of it."""
    if len(raw) > WARRANTY_FILE_SIZE_BYTES_MAX:
        raise BadProofFile("byte 0", f"{len(raw)} bytes, limit {WARRANTY_FILE_SIZE_BYTES_MAX}")
    if not is_proof_file(raw):
        raise BadProofFile("byte 0", "this is not a .hanse-warranty file")
    if not raw.startswith(MAGIC):
        raise BadProofFile(f"byte {len(_MAGIC_NAME)}", "another version")
    try:
        body = raw.removeprefix(MAGIC)
        bound_items(body, TRIAL_MESSAGE_ITEMS_MAX)
        return decode(body, ProofFile)
    except RejectedEntry as error:
        raise BadProofFile(f"byte {len(MAGIC)}", f"{error.reason}: {error.detail}") from error


def _opened(disclosure: Disclosure, where: str) -> tuple[CheckedEntry, object]:
    try:
        entry, opened = check_disclosure(disclosure)
    except RejectedEntry as error:
        raise BadProofFile(where, error.reason) from error
    except VerificationFailed as error:
        raise BadProofFile(where, str(error.values.get("reason", error.code))) from error
    return entry, opened.body


def _step(disclosure: Disclosure, where: str) -> tuple[CheckedEntry, Trial1]:
    entry, body = _opened(disclosure, where)
    if not isinstance(body, Trial1):
        raise BadProofFile(where, "inner_kind")
    return entry, body


def _warranty(disclosure: Disclosure) -> tuple[CheckedEntry, Warranty1]:
    entry, body = _opened(disclosure, "warranty")
    if not isinstance(body, Warranty1):
        raise BadProofFile("warranty", "inner_kind")
    return entry, body


def _release(row: _Entry) -> tuple[CheckedEntry, Release1]:
    try:
        entry = check_entry(parse_entry(row.header, row.signature, row.body))
    except RejectedEntry as error:
        raise BadProofFile("release", error.reason) from error
    body = judge_body(entry).body
    if not isinstance(body, Release1):
        raise BadProofFile("release", "body")
    return entry, body


def _speaker(ledger: MemoryLedger, entry: CheckedEntry, where: str) -> IdentityId:
    """Return for whom an Entry speaks, by the openings in the file."""
    feed = ledger.feeds.get(entry.author)
    opening = None if feed is None else feed.opening
    known = None if opening is None else ledger.standing_of(opening.identity)
    if opening is None or known is None:
        raise BadProofFile(where, "delegation")
    found = speaks_for(entry, opening, known, ledger.what_counts()[entry.author])
    if isinstance(found, Void):
        raise BadProofFile(where, found.reason)
    return found


def _blob(blob: Blob, sealed: bytes, where: str) -> bytes:
    if len(sealed) != blob.size or sha256(sealed).digest() != blob.sha256:
        raise BadProofFile(where, "other_blob")
    plain = None if blob.key is None else open_blob(sealed, blob.key)
    if plain is None:
        raise BadProofFile(where, "does_not_open")
    return plain


__all__ = [
    "MAGIC",
    "BadProofFile",
    "BadWarranty",
    "ProofFile",
    "VerifiedProof",
    "entry_row",
    "is_proof_file",
    "verify_proof_file",
    "verify_warranty",
    "write_proof_file",
]
