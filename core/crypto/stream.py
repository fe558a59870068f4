"""The cipher of sealed Artifacts: one key for each Piece, any Leaf of it alone.

* Piece key = SHA-256(``hanse/piece/v1`` + 0 + Content key + u32 file + u64 Piece).  A key
  serves one Piece of one file only, so the nonce may be zero.
* Key stream: ChaCha20 of RFC 8439 from block 1, which equals libsodium's IETF AEAD; a Leaf
  is 256 blocks of it, so Leaf ``n`` begins at block ``1 + 256 n``.
* No tag: the ciphertext's own tree says whether it is right, and an exclusive-or lets
  any Leaf be computed again from its plain bytes.
* Sealing and opening are the same act.

Which file and which Piece it is, and whether a key is the right one, is not known here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from hanse.core.crypto.signing import LABEL_CK, LABEL_PIECE
from hanse.core.limits import LEAF_SIZE_BYTES, PIECE_SIZE_BYTES

CONTENT_KEY_SIZE_BYTES: Final = 32

_BLOCK_SIZE_BYTES: Final = 64  # RFC 8439
_BLOCKS_PER_LEAF: Final = LEAF_SIZE_BYTES // _BLOCK_SIZE_BYTES
_LEAVES_PER_PIECE: Final = PIECE_SIZE_BYTES // LEAF_SIZE_BYTES
_ZERO_NONCE: Final = bytes(12)


def content_key_commitment(content_key: bytes) -> bytes:
    """Return what a Release publishes of its Content key: SHA-256 behind its own label."""
    assert len(content_key) == CONTENT_KEY_SIZE_BYTES
    return sha256(LABEL_CK + content_key).digest()


def piece_key(content_key: bytes, file: int, piece: int) -> bytes:
    """Make the key of one Piece; file and Piece count from 0."""
    assert len(content_key) == CONTENT_KEY_SIZE_BYTES
    place = file.to_bytes(4, "big") + piece.to_bytes(8, "big")
    return sha256(LABEL_PIECE + content_key + place).digest()


def xor_piece(key: bytes, data: bytes | memoryview, leaf: int = 0) -> bytes:
    """Seal or open ``data``, which begins at Leaf ``leaf`` (0 to 63) of the key's Piece."""
    return _cipher(key, len(data), leaf).encryptor().update(data)


def xor_piece_into(key: bytes, data: memoryview, out: memoryview) -> None:
    """Seal or open a whole Piece into ``out``, which has the same length."""
    assert len(data) == len(out)
    _cipher(key, len(data), 0).encryptor().update_into(data, out)


def _cipher(key: bytes, size: int, leaf: int) -> Cipher[None]:
    assert 0 <= leaf < _LEAVES_PER_PIECE
    assert leaf * LEAF_SIZE_BYTES + size <= PIECE_SIZE_BYTES
    start = (1 + _BLOCKS_PER_LEAF * leaf).to_bytes(4, "little")
    return Cipher(ChaCha20(key, start + _ZERO_NONCE), mode=None)
