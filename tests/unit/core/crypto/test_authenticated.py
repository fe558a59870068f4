"""Sealing with bound data."""

from __future__ import annotations

import pytest

from hanse.core.crypto.authenticated import open_bound, seal_bound

KEY, NONCE = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58))
PLAIN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
    b"future, sunscreen would be it."
)
BOUND = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")


def test_the_vector_of_the_draft_holds():
    # XChaCha20-Poly1305, draft-irtf-cfrg-xchacha-03, A.3.1
    sealed = seal_bound(KEY, NONCE, PLAIN, BOUND)
    assert sealed[:16].hex() == "bd6d179d3e83d43b9576579493c0e939"
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49"
    assert open_bound(KEY, NONCE, sealed, BOUND) == PLAIN


@pytest.mark.parametrize("size", [0, 1, 64, 70_000])
def test_what_was_sealed_opens(size):
    sealed = seal_bound(KEY, NONCE, bytes(size), BOUND)
    assert len(sealed) == size + 16
    assert open_bound(KEY, NONCE, sealed, BOUND) == bytes(size)


def test_any_other_key_nonce_or_bound_data_opens_nothing():
    sealed = seal_bound(KEY, NONCE, PLAIN, BOUND)
    assert open_bound(bytes(32), NONCE, sealed, BOUND) is None
    assert open_bound(KEY, bytes(24), sealed, BOUND) is None
    assert open_bound(KEY, NONCE, sealed, b"") is None


def test_every_changed_bit_is_seen():
    sealed = seal_bound(KEY, NONCE, b"short", BOUND)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        assert open_bound(KEY, NONCE, bytes(changed), BOUND) is None


@pytest.mark.parametrize("size", [0, 15])
def test_too_few_bytes_are_a_no(size):
    assert open_bound(KEY, NONCE, bytes(size), BOUND) is None
