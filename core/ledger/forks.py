"""Forks: two Entries of one Author that cannot both be in one Feed.

* A proof is DAG-CBOR ``[1, H1, sig1, H2, sig2]``: one Author, and either equal
  seq with different ids (ordered by id), or seq n and n + 1 where the second
  does not name the first as its predecessor.  No Body is needed; anybody can
  check it, for ever, with nothing else in hand.
* A Feed is disputed from the lowest seq any proof names: the seq itself for two
  Entries at one place, n for neighbours that do not fit.  That makes the
  disputed place the same on every Peer, whichever branch came first.
* A Fork frees its Author of nothing and nothing at or after it counts for him.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.entry import CheckedEntry, SignedEntry, check_entry, parse_entry
from hanse.core.limits import (
    FORK_PROOF_SIZE_BYTES_MAX,
    HEADER_SIZE_BYTES_MAX,
    SIGNATURE_SIZE_BYTES,
)

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey

_PROOF_VERSION: Final = 1
_HeaderBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=HEADER_SIZE_BYTES_MAX)]
_Signature = Annotated[
    bytes, msgspec.Meta(min_length=SIGNATURE_SIZE_BYTES, max_length=SIGNATURE_SIZE_BYTES)
]


class _Proof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    header_a: _HeaderBytes
    signature_a: _Signature
    header_b: _HeaderBytes
    signature_b: _Signature


@dataclass(frozen=True, slots=True)
class Fork:
    """A checked Fork: whose, from where the Feed is disputed, and the two Entries."""

    author: AuthorKey
    disputed_seq: int
    first: CheckedEntry
    second: CheckedEntry
    proof: bytes


def disputed_seq(first: SignedEntry, second: SignedEntry) -> int | None:
    """Return the seq from which the two dispute one Feed, or ``None`` when they do not.

    ``first`` must not be later in the Feed than ``second``.
    """
    if first.author != second.author or first.entry_id == second.entry_id:
        return None
    if first.seq == second.seq:
        return first.seq
    if first.seq + 1 == second.seq and second.header.prev != first.entry_id:
        return first.seq
    return None


def fork_of(a: CheckedEntry, b: CheckedEntry) -> Fork | None:
    """Return the Fork that the two Entries prove, or ``None``.

    The order in which they are given does not matter: the proof is the same
    bytes on every Peer that holds these two.
    """
    first, second = sorted((a, b), key=lambda entry: (entry.seq, entry.entry_id))
    seq = disputed_seq(first, second)
    if seq is None:
        return None
    proof = encode(
        _Proof(
            _PROOF_VERSION,
            first.header_bytes,
            first.signature,
            second.header_bytes,
            second.signature,
        )
    )
    # Two largest possible Headers (739 bytes each) and their signatures stay below the limit.
    assert len(proof) <= FORK_PROOF_SIZE_BYTES_MAX
    return Fork(first.author, seq, first, second, proof)


def check_fork(proof: bytes) -> Fork:
    """Check a proof that came from anywhere, or raise ``RejectedEntry`` naming what fails."""
    if len(proof) > FORK_PROOF_SIZE_BYTES_MAX:
        raise RejectedEntry(
            "too_big", f"fork proof of {len(proof)} bytes, limit {FORK_PROOF_SIZE_BYTES_MAX}"
        )
    shape = decode(proof, _Proof)
    if shape.version != _PROOF_VERSION:
        raise RejectedEntry("version", f"fork proof {shape.version}, known {_PROOF_VERSION}")
    first = check_entry(parse_entry(shape.header_a, shape.signature_a))
    second = check_entry(parse_entry(shape.header_b, shape.signature_b))
    fork = fork_of(first, second)
    if fork is None:
        raise RejectedEntry("no_fork", "the two entries can stand in one feed")
    if fork.proof != proof:
        raise RejectedEntry("no_fork", "the two entries are not in the order of a proof")
    return fork
