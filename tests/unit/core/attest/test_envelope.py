"""Envelopes: what another program verifies, and what is refused before anything is parsed."""

from __future__ import annotations

import base64
import copy
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from hanse.core.attest.envelope import PAYLOAD_TYPE, key_id, open_envelope, sign_envelope
from hanse.core.attest.faults import BadStatement
from hanse.core.crypto.dsse import sign_dsse
from hanse.core.crypto.signing import Signer
from hanse.core.limits import EVIDENCE_SIZE_BYTES_MAX, STATEMENT_SIZE_BYTES_MAX

SIGNER = Signer.from_seed(b"d" * 32)
OTHER = Signer.from_seed(b"o" * 32)
PAYLOAD = b'{"level":3}'
ENVELOPE = sign_envelope(PAYLOAD, SIGNER)


def refused(raw, signer=SIGNER):
    with pytest.raises(BadStatement) as caught:
        open_envelope(raw, signer.public_key)
    return caught.value.step, caught.value.what


def changed(**changes):
    value = json.loads(ENVELOPE)
    value["signatures"][0] |= {key: changes.pop(key) for key in ("keyid", "sig") if key in changes}
    return json.dumps(value | changes).encode()


def oracle(raw):
    """securesystemslib's view of an envelope; it empties what it is given."""
    return Envelope.from_dict(copy.deepcopy(json.loads(raw)))


def key_of(signer):
    public = Ed25519PublicKey.from_public_bytes(bytes(signer.public_key))
    return SSlibKey.from_crypto(public, keyid=key_id(signer.public_key))


def test_what_is_signed_comes_out_again():
    assert open_envelope(ENVELOPE, SIGNER.public_key) == PAYLOAD


def test_another_program_verifies_it_under_the_same_key():
    key = key_of(SIGNER)
    assert oracle(ENVELOPE).verify([key], 1) == {key.keyid: key}


def test_another_program_refuses_what_is_refused_here():
    raw = changed(payload=base64.b64encode(b'{"level":4}').decode())
    with pytest.raises(VerificationError):
        oracle(raw).verify([key_of(SIGNER)], 1)
    assert refused(raw) == ("signature", "payload")


def test_an_envelope_written_with_spaces_holds_too():
    raw = json.dumps(json.loads(ENVELOPE), indent=2).encode()
    assert open_envelope(raw, SIGNER.public_key) == PAYLOAD


def test_another_key_is_no_signature():
    assert refused(ENVELOPE, OTHER) == ("signature", "payload")


def test_a_hint_at_another_key_is_refused_though_nothing_is_looked_up_by_it():
    assert refused(changed(keyid=key_id(OTHER.public_key))) == (
        "signature",
        "$.signatures[0].keyid",
    )


def test_a_payload_of_another_type_is_refused_though_it_is_signed():
    kind = "application/json"
    sig = base64.b64encode(sign_dsse(SIGNER, kind, PAYLOAD)).decode()
    assert refused(changed(payloadType=kind, sig=sig)) == ("payload_type", "$.payloadType")


@pytest.mark.parametrize("text", ["AA==", "", base64.b64encode(bytes(65)).decode()])
def test_a_signature_of_another_length_is_none(text):
    assert refused(changed(sig=text)) == ("signature", "$.signatures[0].sig")


@pytest.mark.parametrize("text", ["*", "eA", "eB==", "e\nA==", "é", "-_-_"])
def test_base64_has_one_form(text):
    assert refused(changed(payload=text)) == ("json", "$.payload")


def test_a_key_that_stands_twice_is_refused():
    raw = ENVELOPE.replace(b'{"payload":', b'{"payload":"","payload":', 1)
    assert refused(raw) == ("json", "envelope payload")


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "envelope"),
        (b"\xff\xfe", "envelope"),
        (b"[]", "$"),
        (b"[" * 50_000, "envelope"),
        (changed(extra=1), "$.extra"),
        (changed(payloadType=1), "$.payloadType"),
        (changed(signatures=[]), "$.signatures"),
        (changed(signatures=[{"keyid": "", "sig": ""}] * 2), "$.signatures"),
        (b'{"payload":1e400}', "envelope"),
        (b'{"payload":NaN}', "envelope"),
        (b'{"payload":' + b"9" * 5000 + b"}", "envelope"),
    ],
)
def test_what_is_no_envelope_is_refused_by_its_place(raw, what):
    assert refused(raw) == ("json", what)


def test_what_is_too_long_is_refused_before_it_is_read():
    assert refused(b" " * (EVIDENCE_SIZE_BYTES_MAX + 1)) == ("json", "envelope")
    with pytest.raises(BadStatement):
        sign_envelope(bytes(STATEMENT_SIZE_BYTES_MAX + 1), SIGNER)
    long = base64.b64encode(bytes(STATEMENT_SIZE_BYTES_MAX + 1)).decode()
    assert refused(changed(payload=long)) == ("json", "payload")


def test_the_longest_payload_fits_an_envelope():
    raw = sign_envelope(b"x" * STATEMENT_SIZE_BYTES_MAX, SIGNER)
    assert len(raw) <= EVIDENCE_SIZE_BYTES_MAX
    assert json.loads(raw)["payloadType"] == PAYLOAD_TYPE
