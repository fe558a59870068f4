r"""DSSE: what is signed of an envelope, and signing and verifying it with a Device key.

* Signed is the pre-authentication encoding of DSSE version 1,
  ``"DSSEv1" SP len(type) SP type SP len(payload) SP payload`` with lengths in decimal.
* Its first bytes are ``DSSEv1 ``, which stands among the prefixes of
  ``hanse.core.crypto.signing``: no Entry can pass as an envelope, nor an envelope as an Entry.
* Ed25519 signs these bytes as they are; nothing is hashed before.

Source: https://github.com/secure-systems-lab/dsse, protocol.md of version 1.0.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.crypto.signing import verify

if TYPE_CHECKING:
    from hanse.core.crypto.signing import Signer

PREFIX_DSSE: Final = b"DSSEv1 "


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a signature over ``payload`` covers, ``DSSEv1 `` included."""
    return PREFIX_DSSE + _after_prefix(payload_type, payload)


def sign_dsse(signer: Signer, payload_type: str, payload: bytes) -> bytes:
    """Return the 64-byte signature of ``signer`` over the payload and its type."""
    return signer.sign(PREFIX_DSSE, _after_prefix(payload_type, payload))


def verify_dsse(public_key: bytes, payload_type: str, payload: bytes, signature: bytes) -> bool:
    """Say whether ``public_key`` signed this payload as this type; never raises."""
    return verify(public_key, PREFIX_DSSE, _after_prefix(payload_type, payload), signature)


def _after_prefix(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode("utf-8", "surrogatepass")
    return b"%d %s %d %s" % (len(kind), kind, len(payload), payload)
