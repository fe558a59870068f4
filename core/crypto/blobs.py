"""Private Blobs: long bytes sealed under a key of their own; any peer may serve them blindly.

* SecretBox (XSalsa20-Poly1305, nonce in front) over the bytes padded to whole 4,096.
* Sealing is a pure function of its arguments: the same key and nonce give the same bytes.
* Opening never raises: the bytes come from peers and files.

Where the key stands, and what the bytes mean, is not known here.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import sodium_pad, sodium_unpad
from nacl.exceptions import CryptoError

from hanse.core.crypto.passwords import (
    BOX_OVERHEAD_BYTES,
    KEY_SIZE_BYTES,
    open_secret,
    seal_secret,
)

BLOB_PADDING_BYTES: Final = 4096


def seal_blob(plain: bytes, key: bytes, nonce: bytes) -> bytes:
    """Seal ``plain`` under ``key`` (32 bytes) and a fresh nonce (24 bytes)."""
    assert len(key) == KEY_SIZE_BYTES
    return seal_secret(key, sodium_pad(plain, BLOB_PADDING_BYTES), nonce)


def open_blob(sealed: bytes, key: bytes) -> bytes | None:
    """Open what ``seal_blob`` made, or return None: wrong key, or changed bytes."""
    if len(key) != KEY_SIZE_BYTES or (len(sealed) - BOX_OVERHEAD_BYTES) % BLOB_PADDING_BYTES:
        return None
    padded = open_secret(key, sealed)
    if padded is None:
        return None
    try:
        return sodium_unpad(padded, BLOB_PADDING_BYTES)
    except CryptoError:
        return None
