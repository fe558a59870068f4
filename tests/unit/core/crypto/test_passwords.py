"""Argon2id against a second library, SecretBox against the vector of its authors."""

from __future__ import annotations

import unicodedata

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl.secret import SecretBox

from hanse.core.crypto import passwords
from hanse.core.crypto.passwords import NotEnoughMemory, derive_key, open_secret, seal_secret

SALT = bytes(range(16))
MIB = 1024 * 1024
KEY = b"\x05" * 32
NONCE = b"\x06" * 24


def cheap(passphrase, salt=SALT):
    return derive_key(passphrase, salt, 1, 8 * MIB)


def test_second_library_derives_the_same_key():
    oracle = Argon2id(salt=SALT, length=32, iterations=2, lanes=1, memory_cost=16 * 1024)
    assert derive_key("correct horse", SALT, 2, 16 * MIB) == oracle.derive(b"correct horse")


def test_salt_ops_and_memory_all_count():
    keys = {
        cheap("p"),
        cheap("p", bytes(16)),
        derive_key("p", SALT, 2, 8 * MIB),
        derive_key("p", SALT, 1, 9 * MIB),
    }
    assert len(keys) == 4


def test_composed_and_decomposed_letters_are_one_passphrase():
    composed = "z\u00fcrich \u4e2d\u6587 passphrase"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert cheap(composed) == cheap(decomposed)


def test_full_width_letters_are_the_plain_ones():
    assert cheap("\uff41\uff42\uff43") == cheap("abc")


@pytest.mark.parametrize("passphrase", ["", "a", "\ud800", "x" * 100_000, "\0"])
def test_any_text_gives_a_key(passphrase):
    assert len(cheap(passphrase)) == 32


def test_memory_that_is_not_to_be_had_is_an_error_of_the_environment(monkeypatch):
    def no_memory(*_arguments):
        raise passwords.SodiumFault("Unexpected failure in key derivation")

    monkeypatch.setattr(passwords, "crypto_pwhash_alg", no_memory)
    with pytest.raises(NotEnoughMemory) as caught:
        cheap("secret words")
    assert caught.value.values == {"need_bytes": 8 * MIB}
    assert "secret" not in str(caught.value)


def test_vector_of_the_nacl_authors_holds():
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    plain = bytes.fromhex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d4"
        "5e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a"
        "024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
    )
    cipher = bytes.fromhex(
        "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c5"
        "31a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8a"
        "b932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622"
        "a43d14a6599b1f654cb45a74e355a5"
    )
    assert seal_secret(key, plain, nonce) == nonce + cipher
    assert open_secret(key, nonce + cipher) == plain


def test_second_door_of_the_library_opens_what_we_seal():
    assert SecretBox(KEY).decrypt(seal_secret(KEY, b"plain", NONCE)) == b"plain"


def test_wrong_key_opens_nothing():
    assert open_secret(bytes(32), seal_secret(KEY, b"plain", NONCE)) is None


def test_every_changed_byte_is_found():
    box = seal_secret(KEY, b"plain", NONCE)
    for place in range(len(box)):
        changed = box[:place] + bytes([box[place] ^ 1]) + box[place + 1 :]
        assert open_secret(KEY, changed) is None, place


@pytest.mark.parametrize("size", range(41))
def test_box_cut_short_opens_nothing(size):
    assert open_secret(KEY, seal_secret(KEY, b"plain", NONCE)[:size]) is None
