"""Signatures: the RFC's vectors, an independent library, and what must be refused."""

from __future__ import annotations

from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hanse.core.crypto.signing import (
    ALL_PREFIXES,
    FOREIGN_PREFIXES,
    PREFIX_DEVICE,
    PREFIX_ENTRY,
    Signer,
    verify,
)

SEED = bytes(range(32))
MESSAGE = b"message"
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, 7.1, tests 1 to 3: secret seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
            "1cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
            "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
            "984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]

# The points of order 1, 2, 4, 4, 8, 8, 8, 8, and other spellings of some of them.
SMALL_ORDER_KEYS = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_vectors_of_rfc_8032_hold(seed, public, message, signature):
    signer = Signer.from_seed(bytes.fromhex(seed))
    assert signer.public_key.hex() == public
    assert signer.sign(b"", bytes.fromhex(message)).hex() == signature
    assert verify(bytes.fromhex(public), b"", bytes.fromhex(message), bytes.fromhex(signature))


def test_another_library_verifies_our_signature():
    signer = Signer.from_seed(SEED)
    signature = signer.sign(PREFIX_ENTRY, MESSAGE)
    key = Ed25519PublicKey.from_public_bytes(signer.public_key)
    key.verify(signature, b"hanse/entry/v1\0message")


def test_signature_for_one_purpose_is_no_other():
    signer = Signer.from_seed(SEED)
    signature = signer.sign(PREFIX_ENTRY, MESSAGE)
    assert verify(signer.public_key, PREFIX_ENTRY, MESSAGE, signature)
    assert not verify(signer.public_key, PREFIX_DEVICE, MESSAGE, signature)


def test_signature_of_another_key_is_refused():
    signature = Signer.from_seed(SEED).sign(PREFIX_ENTRY, MESSAGE)
    assert not verify(Signer.from_seed(bytes(32)).public_key, PREFIX_ENTRY, MESSAGE, signature)


def test_every_changed_bit_of_a_signature_is_refused():
    signer = Signer.from_seed(SEED)
    signature = signer.sign(PREFIX_ENTRY, MESSAGE)
    for bit in range(8 * len(signature)):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        assert not verify(signer.public_key, PREFIX_ENTRY, MESSAGE, bytes(changed)), bit


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_key_of_wrong_length_is_a_no(size):
    signature = Signer.from_seed(SEED).sign(PREFIX_ENTRY, MESSAGE)
    assert not verify(bytes(size), PREFIX_ENTRY, MESSAGE, signature)


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_signature_of_wrong_length_is_a_no(size):
    signer = Signer.from_seed(SEED)
    long = signer.sign(PREFIX_ENTRY, MESSAGE) * 2
    assert not verify(signer.public_key, PREFIX_ENTRY, MESSAGE, long[:size])


def test_bytes_cannot_slide_from_the_signature_into_the_message():
    signer = Signer.from_seed(SEED)
    signature = signer.sign(PREFIX_ENTRY, MESSAGE)
    longer = signature + PREFIX_ENTRY
    assert not verify(signer.public_key, b"", MESSAGE, longer)


def test_second_form_of_a_signature_is_refused():
    signer = Signer.from_seed(SEED)
    signature = signer.sign(PREFIX_ENTRY, MESSAGE)
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert not verify(
        signer.public_key, PREFIX_ENTRY, MESSAGE, signature[:32] + s.to_bytes(32, "little")
    )


@pytest.mark.parametrize("key", SMALL_ORDER_KEYS)
@pytest.mark.parametrize("point", SMALL_ORDER_KEYS)
def test_key_of_small_order_signs_nothing(key, point):
    # With S = 0 such a key would "sign" every message, or one in eight.
    signature = bytes.fromhex(point) + bytes(32)
    messages = [b"%d" % number for number in range(16)]
    assert not any(verify(bytes.fromhex(key), PREFIX_ENTRY, m, signature) for m in messages)


def test_key_that_is_no_point_is_a_no():
    signature = Signer.from_seed(SEED).sign(PREFIX_ENTRY, MESSAGE)
    assert not verify(b"\x02" + bytes(31), PREFIX_ENTRY, MESSAGE, signature)


def test_no_prefix_is_a_prefix_of_another():
    clashes = [(a, b) for a, b in permutations(ALL_PREFIXES, 2) if b.startswith(a)]
    assert clashes == []


def test_every_prefix_of_ours_names_hanse_and_a_version_and_ends_in_a_zero_byte():
    for prefix in set(ALL_PREFIXES) - set(FOREIGN_PREFIXES):
        assert prefix.startswith(b"hanse/")
        assert prefix.endswith(b"/v1\0")
        assert prefix.count(b"\0") == 1


def test_signer_shows_its_public_key_only():
    signer = Signer.from_seed(SEED)
    assert repr(signer) == f"Signer({signer.public_key.hex()})"
