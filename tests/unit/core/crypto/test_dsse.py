"""What DSSE signs, against its own specification and against another program."""

from __future__ import annotations

from nacl.signing import VerifyKey

from hanse.core.crypto.dsse import PREFIX_DSSE, pre_authentication, sign_dsse, verify_dsse
from hanse.core.crypto.signing import FOREIGN_PREFIXES, PREFIX_ENTRY, Signer, verify

TYPE = "http://example.com/HelloWorld"
SIGNER = Signer.from_seed(b"s" * 32)


def test_the_encoding_is_that_of_the_specification():
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication(TYPE, b"hello world") == expected


def test_lengths_are_of_bytes():
    assert pre_authentication("é", "é".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


def test_another_library_verifies_the_signature():
    signature = sign_dsse(SIGNER, TYPE, b"payload")
    VerifyKey(bytes(SIGNER.public_key)).verify(pre_authentication(TYPE, b"payload"), signature)


def test_only_the_same_key_type_and_payload_verify():
    signature = sign_dsse(SIGNER, TYPE, b"payload")
    assert verify_dsse(SIGNER.public_key, TYPE, b"payload", signature)
    assert not verify_dsse(SIGNER.public_key, TYPE, b"payloae", signature)
    assert not verify_dsse(SIGNER.public_key, TYPE + "s", b"payload", signature)
    assert not verify_dsse(Signer.from_seed(b"o" * 32).public_key, TYPE, b"payload", signature)
    assert not verify_dsse(SIGNER.public_key, TYPE, b"payload", signature[:-1])
    assert not verify_dsse(b"", TYPE, b"payload", signature)


def test_bytes_cannot_move_between_type_and_payload():
    signature = sign_dsse(SIGNER, "a", b"1 b")
    assert not verify_dsse(SIGNER.public_key, "a 3", b" b", signature)


def test_an_envelope_is_never_an_entry():
    assert PREFIX_DSSE in FOREIGN_PREFIXES
    signature = sign_dsse(SIGNER, TYPE, b"payload")
    message = pre_authentication(TYPE, b"payload")
    assert not verify(SIGNER.public_key, PREFIX_ENTRY, message, signature)


def test_a_type_that_is_no_text_is_no_signature():
    assert not verify_dsse(SIGNER.public_key, "\ud800", b"", bytes(64))
