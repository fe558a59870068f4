"""Queries and answers of a Trial as bytes: canonical DAG-CBOR, signed by a Device.

* The signature covers ``hanse/trial/v1`` + 0 + bytes.  A query and an answer have no field of
  the other that is missing in it, so neither can be shown as the other.
* What was signed is kept byte for byte: an answer names its query by the hash of those bytes.
* Reading is bounded before anything is decoded.

Who had to sign, and whether what is said may be said, is decided in ``trial_rules``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.crypto.signing import PREFIX_TRIAL, verify
from hanse.core.errors import BadShape
from hanse.core.ledger.codec import bound_items, decode, encode
from hanse.core.limits import (
    TRIAL_ANSWER_KEPT_BYTES_MAX,
    TRIAL_MESSAGE_ITEMS_MAX,
    TRIAL_QUERY_KEPT_BYTES_MAX,
)
from hanse.core.model.trial import Answer, Query, SignedAnswer, SignedQuery

if TYPE_CHECKING:
    from hanse.core.crypto.signing import Signer
    from hanse.core.model.ids import AuthorKey


def sign_query(query: Query, signer: Signer) -> SignedQuery:
    """Write and sign a query."""
    raw = encode(query)
    return SignedQuery(query, raw, signer.sign(PREFIX_TRIAL, raw))


def sign_answer(answer: Answer, signer: Signer) -> SignedAnswer:
    """Write and sign an answer."""
    raw = encode(answer)
    return SignedAnswer(answer, raw, signer.sign(PREFIX_TRIAL, raw))


def read_query(raw: bytes, signature: bytes) -> SignedQuery:
    """Read a query, or raise ``BadShape`` or ``NotCanonical``; the signature is not checked."""
    _bound(raw, TRIAL_QUERY_KEPT_BYTES_MAX)
    return SignedQuery(decode(raw, Query), raw, signature)


def read_answer(raw: bytes, signature: bytes) -> SignedAnswer:
    """Read an answer, or raise ``BadShape`` or ``NotCanonical``; the signature is not checked."""
    _bound(raw, TRIAL_ANSWER_KEPT_BYTES_MAX)
    return SignedAnswer(decode(raw, Answer), raw, signature)


def is_signed_by(message: SignedQuery | SignedAnswer, device: AuthorKey) -> bool:
    """Say whether ``device`` signed the message's bytes."""
    return verify(device, PREFIX_TRIAL, message.raw, message.signature)


def _bound(raw: bytes, most: int) -> None:
    if len(raw) > most:
        raise BadShape(f"{len(raw)} bytes, limit {most}")
    bound_items(raw, TRIAL_MESSAGE_ITEMS_MAX)
