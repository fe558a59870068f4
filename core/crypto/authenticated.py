"""Sealing with data that is bound and not hidden: XChaCha20-Poly1305 (IETF), as in libsodium.

* Changed ciphertext, other bound data, another nonce or another key: nothing opens.
* A nonce of 24 bytes serves one plaintext under one key; which one is the caller's to choose.

What is sealed, and what is bound to it, is not known here.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

BOUND_KEY_SIZE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_KEYBYTES
BOUND_NONCE_SIZE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
BOUND_TAG_SIZE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_ABYTES


def seal_bound(key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    """Seal ``plain`` and bind ``bound`` to it; the result is 16 bytes longer than ``plain``."""
    return crypto_aead_xchacha20poly1305_ietf_encrypt(plain, bound, nonce, key)


def open_bound(key: bytes, nonce: bytes, sealed: bytes, bound: bytes) -> bytes | None:
    """Open what ``seal_bound`` made, or return None where anything differs."""
    if len(sealed) < BOUND_TAG_SIZE_BYTES:
        return None
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, bound, nonce, key)
    except CryptoError:
        return None
