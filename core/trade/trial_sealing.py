"""The full outputs of signed answers, sealed until the model is bought.

* T = HMAC-SHA256(Content key, ``hanse/trial-seal/v1`` + 0 + trial).  The seller has it from the
  start, the buyer with the Content key he pays for; a copier of the model's answers never.
* GRANT holds SHA-256(T), so the key cannot be changed afterwards.
* XChaCha20-Poly1305: the nonce is the answer's number, its other fields are bound.  One number
  of one Trial is answered once; a repeat sends the kept bytes again and seals nothing anew.

What the sealed bytes mean is not known here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from hanse.core.crypto.authenticated import BOUND_NONCE_SIZE_BYTES, open_bound, seal_bound
from hanse.core.crypto.derivation import trial_seal_key
from hanse.core.errors import VerificationFailed
from hanse.core.ledger.codec import encode

if TYPE_CHECKING:
    from hanse.core.model.trial import Answer, AnswersTerms


class WrongSealKey(VerificationFailed):
    """The Content key does not give the key the grant committed to: a signed fault."""

    code = "trial.wrong_seal_key"
    text = "the content key gives a seal key with commitment {found}, the grant says {expected}"
    fields = ("expected", "found")


def seal_commitment(seal_key: bytes) -> bytes:
    """Return what a GRANT says of its seal key."""
    return sha256(seal_key).digest()


def seal_key_of(content_key: bytes, trial: bytes, terms: AnswersTerms) -> bytes:
    """Derive T after the purchase, or raise ``WrongSealKey`` if it is not the committed one."""
    key = trial_seal_key(content_key, trial)
    if (found := seal_commitment(key)) != terms.seal_commit:
        raise WrongSealKey(expected=terms.seal_commit.hex(), found=found.hex())
    return key


def seal_output(answer: Answer, output: bytes, seal_key: bytes) -> Answer:
    """Return ``answer`` with ``output`` sealed into it; what stood in ``sealed`` is replaced."""
    sealed = seal_bound(seal_key, _nonce(answer.i), output, _bound_fields(answer))
    return msgspec.structs.replace(answer, sealed=sealed)


def open_output(answer: Answer, seal_key: bytes) -> bytes | None:
    """Return the sealed output, or None: another key, or a field was changed."""
    return open_bound(seal_key, _nonce(answer.i), answer.sealed, _bound_fields(answer))


def _nonce(i: int) -> bytes:
    return i.to_bytes(BOUND_NONCE_SIZE_BYTES, "big")


def _bound_fields(answer: Answer) -> bytes:
    fields = {name: getattr(answer, name) for name in answer.__struct_fields__ if name != "sealed"}
    return encode(fields)
