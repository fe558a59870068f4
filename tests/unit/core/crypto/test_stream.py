"""The cipher of sealed Artifacts, against RFC 8439 and libsodium."""

from __future__ import annotations

import hashlib

import pytest
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt

from hanse.core.crypto.stream import (
    content_key_commitment,
    piece_key,
    xor_piece,
    xor_piece_into,
)
from tests.fakes.content import LEAF, MIB, some_bytes

KEY = hashlib.sha256(b"key").digest()
# RFC 8439, appendix A.1, vectors 2 and 3: block 1 under a zero nonce.
RFC_8439 = {
    bytes(32): "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
    bytes(31) + b"\x01": "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
    "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
}


@pytest.mark.parametrize(("key", "stream"), RFC_8439.items())
def test_the_key_stream_begins_with_block_one_of_the_rfc(key, stream):
    assert xor_piece(key, bytes(64)).hex() == stream


@pytest.mark.parametrize("size", [1, 63, 64, 65, LEAF - 1, LEAF + 1, MIB])
def test_a_piece_is_what_libsodium_would_seal_without_its_tag(size):
    plain = some_bytes(size)
    oracle = crypto_aead_chacha20poly1305_ietf_encrypt(plain, b"", bytes(12), KEY)[:-16]
    assert xor_piece(KEY, plain) == oracle


def test_sealing_twice_opens():
    plain = some_bytes(MIB)
    assert xor_piece(KEY, xor_piece(KEY, plain)) == plain


@pytest.mark.parametrize("leaf", [0, 1, 31, 63])
def test_any_leaf_is_computed_alone(leaf):
    plain = some_bytes(MIB)
    part = slice(leaf * LEAF, (leaf + 1) * LEAF)
    assert xor_piece(KEY, plain[part], leaf) == xor_piece(KEY, plain)[part]


def test_a_short_last_leaf_is_computed_alone():
    plain = some_bytes(5 * LEAF + 100)
    assert xor_piece(KEY, plain[5 * LEAF :], 5) == xor_piece(KEY, plain)[5 * LEAF :]


@pytest.mark.parametrize("size", [1, 100, MIB])
def test_sealing_into_a_buffer_gives_the_same(size):
    plain, out = some_bytes(size), bytearray(size)
    xor_piece_into(KEY, memoryview(plain), memoryview(out))
    assert out == xor_piece(KEY, plain)


def test_a_piece_key_is_the_hash_its_description_says():
    place = (3).to_bytes(4, "big") + (2**40).to_bytes(8, "big")
    assert piece_key(KEY, 3, 2**40) == hashlib.sha256(b"hanse/piece/v1\0" + KEY + place).digest()


def test_no_two_pieces_share_a_key():
    keys = {piece_key(KEY, file, piece) for file in range(20) for piece in range(20)}
    assert len(keys) == 400


def test_the_commitment_is_the_hash_its_description_says():
    assert content_key_commitment(KEY) == hashlib.sha256(b"hanse/ck/v1\0" + KEY).digest()


@pytest.mark.parametrize(("size", "leaf"), [(LEAF + 1, 63), (1, 64), (MIB + 1, 0)])
def test_a_piece_key_never_reaches_beyond_its_piece(size, leaf):
    with pytest.raises(AssertionError):
        xor_piece(KEY, bytes(size), leaf)
