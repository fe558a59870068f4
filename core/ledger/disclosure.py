"""Private bodies: sealed to named readers, opened by them, and later disclosed one by one.

* Inside stands DAG-CBOR ``[1, author, seq, kind, body]``: the envelope names the
  place it was written for, so nobody can post a copied one as his own.
* The Body commits to its Envelope key, so one ciphertext opens in one way only
  and a Disclosure proves something.
* A Disclosure is (Header, signature, Body, Envelope key) for anybody: it shows
  this one Body and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.crypto.boxes import (
    BoxSecret,
    Envelope,
    open_envelope,
    open_with_key,
    seal_envelope,
)
from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.entry import CheckedEntry, Header, body_fits, check_entry, parse_entry
from hanse.core.ledger.kinds import (
    INNER_KINDS,
    Body,
    Inner,
    InnerBody,
    PrivateBody,
    parse_body,
    parse_inner_body,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.core.clock import Chance
    from hanse.core.model.ids import AuthorKey

_VERSION: Final = 1


class DisclosureFailed(VerificationFailed):
    """A disclosed Body is not the one its Header names, or does not open."""

    code = "ledger.bad_disclosure"

    def __init__(self, seq: int, reason: str) -> None:
        """Name the place and the check that failed."""
        super().__init__(where=f"seq {seq}", reason=reason)


@dataclass(frozen=True, slots=True)
class Opened:
    """One opened Private body and the Envelope key that shows it to others."""

    inner: Inner
    body: Body
    key: bytes = field(repr=False)


class Disclosure(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a party gives a third one: one Entry with its Body and Envelope key."""

    version: int
    header: bytes
    signature: bytes
    body: bytes
    key: bytes


def seal_body(
    *,
    author: AuthorKey,
    seq: int,
    header_kind: str,
    inner_kind: str,
    inner_body: InnerBody,
    readers: Sequence[bytes],
    chance: Chance,
) -> tuple[bytes, bytes]:
    """Seal one Body for ``readers`` (box keys); return its bytes and the Envelope key.

    It can only be used in the Entry at ``seq`` of ``author``.
    """
    assert inner_kind in INNER_KINDS
    fields = msgspec.to_builtins(inner_body, builtin_types=(bytes,))
    inner = Inner(_VERSION, author, seq, inner_kind, fields)
    parse_inner_body(header_kind, inner)  # what we seal passes the gate every reader has
    plain = encode(inner)
    envelope, key = seal_envelope(plain, readers, chance)
    body = {"commit": envelope.commit, "ct": envelope.ct, "to": list(envelope.to)}
    return encode(body), key


def _envelope_of(entry: CheckedEntry) -> Envelope | None:
    if entry.body is None or not body_fits(entry, entry.body):
        return None
    body = parse_body(entry.kind, entry.body)
    if not isinstance(body, PrivateBody):
        return None  # everybody may read it as it is
    return Envelope(commit=body.commit, ct=body.ct, to=tuple(body.to))


def _check_inner(header: Header, plain: bytes, key: bytes) -> Opened:
    """Check that what was sealed was sealed for this place; raise ``RejectedEntry``."""
    inner = decode(plain, Inner)
    if inner.version != _VERSION:
        raise RejectedEntry("version", f"private body {inner.version}, known {_VERSION}")
    if inner.author != header.author or inner.seq != header.seq:
        raise RejectedEntry(
            "copied_envelope",
            f"sealed for seq {inner.seq} of {inner.author.hex()}, "
            f"found at seq {header.seq} of {header.author.hex()}",
        )
    return Opened(inner, parse_inner_body(header.kind, inner), key)


def open_body(entry: CheckedEntry, secrets: Iterable[BoxSecret]) -> Opened | None:
    """Open a Private body with the first key that fits; ``None`` when it is not for us.

    Raises ``RejectedEntry`` when it opens, but was sealed for another place or
    holds what its kind does not allow.
    """
    envelope = _envelope_of(entry)
    if envelope is None:
        return None
    for secret in secrets:
        opened = open_envelope(envelope, secret)
        if opened is not None:
            plain, key = opened
            return _check_inner(entry.header, plain, key)
    return None


def disclose(entry: CheckedEntry, key: bytes) -> Disclosure:
    """Make the evidence that shows this one Body to anybody."""
    assert entry.body is not None
    return Disclosure(_VERSION, entry.header_bytes, entry.signature, entry.body, key)


def check_disclosure(disclosure: Disclosure) -> tuple[CheckedEntry, Opened]:
    """Check everything a third party can; raise ``DisclosureFailed`` or ``RejectedEntry``."""
    if disclosure.version != _VERSION:
        raise RejectedEntry("version", f"disclosure {disclosure.version}, known {_VERSION}")
    entry = check_entry(parse_entry(disclosure.header, disclosure.signature, disclosure.body))
    if not body_fits(entry, disclosure.body):
        raise DisclosureFailed(entry.seq, "the body is not the one the header names")
    envelope = _envelope_of(entry)
    if envelope is None:
        raise DisclosureFailed(entry.seq, f"{entry.kind} has no private body")
    plain = open_with_key(envelope, disclosure.key)
    if plain is None:
        raise DisclosureFailed(entry.seq, "the key does not open the body")
    return entry, _check_inner(entry.header, plain, disclosure.key)
