r"""One Entry: how it is built, signed, parsed and named.

* Header ``H`` = DAG-CBOR ``[1, author, seq, prev, root, time_ms, kind,
  body_hash, body_len, refs]``; signature over ``hanse/entry/v1\0`` + H;
  id = SHA-256(H + signature).  The Body is apart, named by hash and length.
* The bytes that travelled are kept and never made again from the values.
* Trust is a type: ``parse_entry`` gives a ``SignedEntry`` (rules A1 to A3: it
  has the right form), ``check_entry`` a ``CheckedEntry`` (A5: its author signed
  it), and only ``hanse.core.ledger.feed`` accepts one (``ledger.feed``).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, NewType

import msgspec

from hanse.core.crypto.signing import PREFIX_ENTRY, Signer, verify
from hanse.core.errors import BadShape, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.kinds import KINDS, is_kind_text
from hanse.core.limits import (
    BODY_SIZE_BYTES_MAX,
    HEADER_SIZE_BYTES_MAX,
    REFS_MAX,
    SEQ_MAX,
    SIGNATURE_SIZE_BYTES,
)
from hanse.core.model.ids import AuthorKey, EntryId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.ledger.tree import Peaks

HEADER_VERSION: Final = 1
PRIVATE_KINDS: Final = frozenset({"private/1", "receipt/1", "ruling/1"})

Key32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_TIME_MS_MAX: Final = 2**63 - 1


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The ten fixed fields, which verify alone."""

    version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    author: Key32
    seq: Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
    prev: Key32 | None
    root: Key32 | None
    time_ms: Annotated[int, msgspec.Meta(ge=0, le=_TIME_MS_MAX)]
    kind: str
    body_hash: Key32
    body_len: Annotated[int, msgspec.Meta(ge=1, le=BODY_SIZE_BYTES_MAX)]
    refs: tuple[Key32, ...]


class SignedEntry(NamedTuple):
    """An Entry of the right form; nobody has checked yet who signed it."""

    header_bytes: bytes
    signature: bytes
    body: bytes | None
    header: Header
    entry_id: EntryId

    @property
    def author(self) -> AuthorKey:
        """Return the key that claims to have signed."""
        return AuthorKey(self.header.author)

    @property
    def seq(self) -> int:
        """Return the 1-based place in the Feed."""
        return self.header.seq

    @property
    def kind(self) -> str:
        """Return the Entry kind, such as ``profile/1``."""
        return self.header.kind

    def without_body(self) -> SignedEntry:
        """Return the same Entry with its Body withheld."""
        return self._replace(body=None)


# A SignedEntry whose signature was checked.  Only ``check_entry`` makes one.
CheckedEntry = NewType("CheckedEntry", SignedEntry)


@dataclass(frozen=True, slots=True)
class Head:
    """The last accepted Entry of a Feed."""

    seq: int
    entry_id: EntryId
    time_ms: int


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Header and Body of an Entry that waits for its signature: exactly what will be signed."""

    header: Header
    header_bytes: bytes
    body: bytes


def is_private_kind(kind: str) -> bool:
    """Say whether Entries of this kind carry a sealed Body."""
    return kind in PRIVATE_KINDS


def build_entry(
    author: AuthorKey,
    head: Head | None,
    peaks: Peaks,
    kind: str,
    body: bytes,
    *,
    refs: Sequence[bytes] = (),
    now_ms: int,
) -> Unsigned:
    """Build the Entry that follows ``head``.

    Its time is the later of ``now_ms`` and the predecessor's, so a clock that
    was set back cannot break the Feed.
    """
    assert (head is None) == (peaks.count == 0)
    header = Header(
        version=HEADER_VERSION,
        author=author,
        seq=1 if head is None else head.seq + 1,
        prev=None if head is None else head.entry_id,
        root=peaks.root(),
        time_ms=now_ms if head is None else max(now_ms, head.time_ms),
        kind=kind,
        body_hash=sha256(body).digest(),
        body_len=len(body),
        refs=tuple(sorted(set(refs))),
    )
    return Unsigned(header, encode(header), body)


def sign_entry(unsigned: Unsigned, signer: Signer) -> SignedEntry:
    """Sign ``unsigned`` and read the result back through the gate every stranger's Entry passes."""
    assert signer.public_key == unsigned.header.author
    signature = signer.sign(PREFIX_ENTRY, unsigned.header_bytes)
    return parse_entry(unsigned.header_bytes, signature, unsigned.body)


def parse_entry(header_bytes: bytes, signature: bytes, body: bytes | None = None) -> SignedEntry:
    """Give the bytes a form (rules A1 to A3), or raise ``RejectedEntry``.

    The Body is only carried along: whether it fits is looked at on acceptance
    (A12), so that a wrong Body never costs a good Header.
    """
    # (A1) Sizes, before anything is decoded.
    if len(header_bytes) > HEADER_SIZE_BYTES_MAX:
        raise RejectedEntry(
            "too_big", f"header of {len(header_bytes)} bytes, limit {HEADER_SIZE_BYTES_MAX}"
        )
    if len(signature) != SIGNATURE_SIZE_BYTES:
        raise RejectedEntry(
            "too_big", f"signature of {len(signature)} bytes, expected {SIGNATURE_SIZE_BYTES}"
        )
    # (A2, A3) One canonical encoding, and the shape of a Header.
    header = decode(header_bytes, Header)
    if header.version != HEADER_VERSION:
        raise RejectedEntry("version", f"header version {header.version}, known {HEADER_VERSION}")
    if header.kind not in KINDS and not is_kind_text(header.kind):
        raise BadShape(f"kind {header.kind!r}")
    is_first = header.seq == 1
    if (header.prev is None) != is_first or (header.root is None) != is_first:
        raise BadShape(f"seq {header.seq} with prev and root null out of place")
    if header.refs:
        _check_refs(header)
    entry_id = EntryId(sha256(header_bytes + signature).digest())
    return SignedEntry(header_bytes, signature, body, header, entry_id)


def _check_refs(header: Header) -> None:
    refs = header.refs
    if len(refs) > REFS_MAX:
        raise BadShape(f"{len(refs)} refs, limit {REFS_MAX}")
    if any(left >= right for left, right in itertools.pairwise(refs)):
        raise BadShape("refs are not sorted and unique")
    if header.kind in PRIVATE_KINDS:
        raise BadShape(f"refs on private kind {header.kind}")


def check_entry(entry: SignedEntry) -> CheckedEntry:
    """Check the signature (rule A5), or raise ``RejectedEntry``.

    The expensive rule, and the only one that may run on any thread: it depends
    on the bytes alone.
    """
    if not verify(entry.header.author, PREFIX_ENTRY, entry.header_bytes, entry.signature):
        raise RejectedEntry("bad_signature", f"seq {entry.header.seq}")
    return CheckedEntry(entry)


def recall_entry(header_bytes: bytes, signature: bytes, body: bytes | None) -> CheckedEntry:
    """Read back an Entry that was checked before it was stored; only the store calls this.

    The commit that wrote it is the checkpoint of verified state, so its signature
    is not checked again.  Bytes that changed on disk since are found by the
    re-hash, or here when they no longer parse.
    """
    return CheckedEntry(parse_entry(header_bytes, signature, body))


def body_fits(entry: SignedEntry, body: bytes) -> bool:
    """Say whether ``body`` is the one the Header names (rule A12)."""
    header = entry.header
    return len(body) == header.body_len and sha256(body).digest() == header.body_hash
