"""A passphrase becomes a key by Argon2id; a key seals a secret by SecretBox.

* The passphrase counts as its NFKC form, so that two keyboards that compose a
  letter differently open the same file.
* Any text is hashed at full cost: an empty, short or huge passphrase takes no
  short cut that a clock could see.
* A sealed secret is nonce (24 bytes) + XSalsa20-Poly1305; it has no associated
  data, so what stands beside it must be bound from inside.

Which cost is fit, and what is sealed, is the caller's business.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from nacl.bindings import (
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2ID13,
    crypto_secretbox,
    crypto_secretbox_MACBYTES,
    crypto_secretbox_NONCEBYTES,
    crypto_secretbox_open,
)
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as SodiumFault

from hanse.core.errors import EnvironmentFault

KEY_SIZE_BYTES: Final = 32
KDF_SALT_SIZE_BYTES: Final = 16
NONCE_SIZE_BYTES: Final = crypto_secretbox_NONCEBYTES
BOX_OVERHEAD_BYTES: Final = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES


class NotEnoughMemory(EnvironmentFault):
    """The machine cannot give the memory the key derivation asks for."""

    code = "keystore.not_enough_memory"
    text = "deriving the key takes {need_bytes} bytes of memory, which this machine did not give"
    fields = ("need_bytes",)


def normal_passphrase(passphrase: str) -> str:
    """Return the form in which a passphrase is counted and hashed."""
    return unicodedata.normalize("NFKC", passphrase)


def derive_key(passphrase: str, salt: bytes, ops: int, memory_bytes: int) -> bytes:
    """Spend ``ops`` passes over ``memory_bytes`` to turn a passphrase into a key.

    Raises ``NotEnoughMemory`` when the memory is not to be had.
    """
    # A terminal can hand over lone surrogates, which plain UTF-8 refuses with the text in
    # the error; hashed as they are, they simply open nothing.
    raw = normal_passphrase(passphrase).encode("utf-8", "surrogatepass")
    try:
        return crypto_pwhash_alg(
            KEY_SIZE_BYTES, raw, salt, ops, memory_bytes, crypto_pwhash_ALG_ARGON2ID13
        )
    except SodiumFault:
        raise NotEnoughMemory(need_bytes=memory_bytes) from None


def seal_secret(key: bytes, plain: bytes, nonce: bytes) -> bytes:
    """Seal under a fresh nonce of 24 bytes, which is put in front."""
    return nonce + crypto_secretbox(plain, nonce, key)


def open_secret(key: bytes, box: bytes) -> bytes | None:
    """Open what ``seal_secret`` made, or return None: wrong key or changed bytes."""
    if len(box) < BOX_OVERHEAD_BYTES:
        return None
    try:
        return crypto_secretbox_open(box[NONCE_SIZE_BYTES:], box[:NONCE_SIZE_BYTES], key)
    except CryptoError:
        return None
