"""Small files that prove one thing each, to anybody, with nothing else in hand.

* ``.hanse-fork``: two Entries that cannot both be in one Feed.
* ``.hanse-disclosure``: one Private body, opened (``ledger.disclosure``).
* ``.hanse-proof``: one Entry stands in the history a later Header commits to.

Each is a magic word, byte 1, and one DAG-CBOR value of bounded size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec

from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.disclosure import Disclosure
from hanse.core.ledger.entry import CheckedEntry, check_entry, parse_entry
from hanse.core.ledger.tree import BadProof, check_inclusion, inclusion
from hanse.core.limits import SEQ_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

FORK_MAGIC: Final = b"HANSEFORK\x01"
DISCLOSURE_MAGIC: Final = b"HANSEDISC\x01"
PROOF_MAGIC: Final = b"HANSEPROOF\x01"
_VERSION: Final = 1
T = TypeVar("T")
_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class EvidenceDamaged(VerificationFailed):
    """An evidence file is not what Hanse wrote."""

    code = "evidence.damaged"

    def __init__(self, reason: str) -> None:
        """Say what is wrong with it."""
        super().__init__(where="byte 0", reason=reason)


class InclusionEvidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An Entry, a later Header of the same Feed, and the path between them."""

    version: int
    header: bytes
    signature: bytes
    later_header: bytes
    later_signature: bytes
    path: Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=SEQ_MAX.bit_length())]


def write_inclusion(entry: CheckedEntry, later: CheckedEntry, ids: Sequence[bytes]) -> bytes:
    """Prove that ``entry`` stands in the history of ``later``.

    ``ids`` are those of the Feed from seq 1 up to the one before ``later``.
    """
    assert entry.author == later.author
    assert entry.seq < later.seq == len(ids) + 1
    evidence = InclusionEvidence(
        _VERSION,
        entry.header_bytes,
        entry.signature,
        later.header_bytes,
        later.signature,
        tuple(inclusion(ids, entry.seq)),
    )
    return PROOF_MAGIC + encode(evidence)


def check_inclusion_evidence(raw: bytes) -> tuple[CheckedEntry, CheckedEntry]:
    """Check a ``.hanse-proof`` and return the Entry and the later Header that commits to it."""
    evidence = _decode(raw, PROOF_MAGIC, InclusionEvidence)
    if evidence.version != _VERSION:
        raise RejectedEntry("version", f"proof {evidence.version}, known {_VERSION}")
    entry = check_entry(parse_entry(evidence.header, evidence.signature))
    later = check_entry(parse_entry(evidence.later_header, evidence.later_signature))
    if entry.author != later.author:
        raise BadProof("proof", "the two headers are of two feeds")
    root = later.header.root
    if root is None or entry.seq >= later.seq:
        raise BadProof("proof", f"seq {later.seq} commits to nothing at seq {entry.seq}")
    check_inclusion(entry.entry_id, entry.seq, later.seq - 1, evidence.path, root)
    return entry, later


def write_disclosure(disclosure: Disclosure) -> bytes:
    """Return the bytes of a ``.hanse-disclosure``."""
    return DISCLOSURE_MAGIC + encode(disclosure)


def read_disclosure(raw: bytes) -> Disclosure:
    """Read a ``.hanse-disclosure``; checking it is ``check_disclosure``."""
    return _decode(raw, DISCLOSURE_MAGIC, Disclosure)


def write_fork(proof: bytes) -> bytes:
    """Return the bytes of a ``.hanse-fork``."""
    return FORK_MAGIC + proof


def read_fork(raw: bytes) -> bytes:
    """Return the proof in a ``.hanse-fork``; checking it is ``check_fork``."""
    return raw.removeprefix(FORK_MAGIC)


def _decode(raw: bytes, magic: bytes, shape: type[T]) -> T:
    assert raw.startswith(magic)
    try:
        return decode(raw.removeprefix(magic), shape)
    except RejectedEntry as error:
        raise EvidenceDamaged(f"{error.reason}: {error.detail}") from error
