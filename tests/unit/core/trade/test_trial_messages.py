"""Queries and answers as signed bytes, and outputs that stay sealed."""

from __future__ import annotations

import msgspec
import pytest
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt

from hanse.core.crypto.derivation import trial_seal_key
from hanse.core.crypto.signing import PREFIX_ENTRY, Signer, verify
from hanse.core.errors import BadShape, NotCanonical
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.limits import TRIAL_ANSWER_KEPT_BYTES_MAX, TRIAL_QUERY_KEPT_BYTES_MAX
from hanse.core.trade.trial_messages import (
    is_signed_by,
    read_answer,
    read_query,
    sign_answer,
    sign_query,
)
from hanse.core.trade.trial_sealing import (
    WrongSealKey,
    open_output,
    seal_key_of,
    seal_output,
)
from tests.fakes.trials import CONTENT_KEY, on_trial


@pytest.fixture(scope="module")
def trial():
    found = on_trial()
    found.exchange(2)
    return found


def test_a_query_is_read_as_it_was_signed(trial):
    signed = trial.ask(0)
    assert read_query(signed.raw, signed.signature) == signed
    assert encode(decode_any(signed.raw)) == signed.raw
    assert is_signed_by(signed, trial.granted.buyer)
    assert not is_signed_by(signed, trial.granted.seller)


def test_an_answer_is_read_as_it_was_signed(trial):
    signed = trial.exchanges[1].answer
    assert read_answer(signed.raw, signed.signature) == signed
    assert is_signed_by(signed, trial.granted.seller)
    assert signed.answer.prev == trial.exchanges[0].answer.id


def test_a_signature_of_a_trial_is_none_of_an_entry(trial):
    signed = trial.ask(0)
    assert not verify(trial.granted.buyer, PREFIX_ENTRY, signed.raw, signed.signature)


def test_a_query_is_no_answer_and_an_answer_no_query(trial):
    query, answer = trial.exchanges[0].query, trial.exchanges[0].answer
    with pytest.raises(BadShape):
        read_answer(query.raw, query.signature)
    with pytest.raises(BadShape):
        read_query(answer.raw, answer.signature)


def test_a_second_encoding_is_refused(trial):
    raw = trial.ask(1).raw
    at = raw.index(b"aisx" if b"aisx" in raw else b"ai\x01")  # key "i", value 1
    longer = raw[: at + 2] + b"\x18\x01" + raw[at + 3 :]
    with pytest.raises(NotCanonical):
        read_query(longer, bytes(64))


def test_messages_beyond_their_size_are_not_even_decoded():
    for read, most in (
        (read_query, TRIAL_QUERY_KEPT_BYTES_MAX),
        (read_answer, TRIAL_ANSWER_KEPT_BYTES_MAX),
    ):
        with pytest.raises(BadShape, match="limit"):
            read(bytes(most + 1), bytes(64))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("i", -1),
        ("i", 400),
        ("index", 10_000),
        ("salt_x", bytes(15)),
        ("trial", bytes(31)),
        ("x", b""),
        ("path", [bytes(32)] * 15),
        ("extra", 1),
    ],
)
def test_a_query_out_of_bounds_is_refused(trial, field, value):
    fields = decode_any(trial.ask(0).raw)
    with pytest.raises(BadShape):
        read_query(encode(fields | {field: value}), bytes(64))


def test_every_field_of_a_query_must_be_there(trial):
    fields = decode_any(trial.ask(0).raw)
    for name in fields:
        with pytest.raises(BadShape):
            read_query(encode({key: it for key, it in fields.items() if key != name}), bytes(64))


# --- sealed outputs -------------------------------------------------------------------------


def test_a_sealed_output_opens_with_its_key_and_no_other(trial):
    answer = trial.exchanges[0].answer.answer
    opened = open_output(answer, trial.seal_key)
    assert opened is not None
    assert open_output(answer, bytes(32)) is None
    assert opened not in answer.sealed


def test_libsodium_alone_opens_what_was_sealed(trial):
    answer = trial.exchanges[1].answer.answer
    fields = decode_any(trial.exchanges[1].answer.raw)
    bound = encode({name: value for name, value in fields.items() if name != "sealed"})
    nonce = (1).to_bytes(24, "big")
    plain = crypto_aead_xchacha20poly1305_ietf_decrypt(answer.sealed, bound, nonce, trial.seal_key)
    assert plain == open_output(answer, trial.seal_key)


@pytest.mark.parametrize(
    "changes",
    [
        {"i": 5},
        {"shown": {"logits": (0, 1)}},
        {"artifact": bytes(32)},
        {"prev": bytes(32)},
        {"query": bytes(32)},
        {"runtime": "litert 2"},
        {"time_ms": 1},
        {"trial": bytes(32)},
        {"sealed": bytes(40)},
        {"sealed": bytes(16)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_field_lets_nothing_open(trial, changes):
    answer = trial.exchanges[0].answer.answer
    assert open_output(msgspec.structs.replace(answer, **changes), trial.seal_key) is None


def test_the_buyer_derives_the_key_from_the_content_key_he_paid_for(trial):
    terms = trial.granted.grant.answers
    assert seal_key_of(CONTENT_KEY, trial.granted.trial, terms) == trial.seal_key
    assert trial_seal_key(CONTENT_KEY, bytes(32)) != trial.seal_key


def test_a_content_key_that_gives_another_key_is_a_fault(trial):
    terms = trial.granted.grant.answers
    with pytest.raises(WrongSealKey):
        seal_key_of(bytes(32), trial.granted.trial, terms)
    with pytest.raises(WrongSealKey):
        seal_key_of(CONTENT_KEY, bytes(32), terms)


def test_sealing_again_gives_the_same_bytes(trial):
    answer = trial.exchanges[0].answer.answer
    output = open_output(answer, trial.seal_key)
    assert output is not None
    assert seal_output(answer, output, trial.seal_key) == answer


def test_keys_show_in_no_representation(trial):
    shown = repr([trial.exchanges, trial.granted])
    assert trial.seal_key.hex() not in shown
    assert repr(trial.seal_key)[2:-1] not in shown
    signer = Signer.from_seed(bytes(32))
    signed = sign_answer(trial.exchanges[0].answer.answer, signer)
    assert signed.signature.hex() not in repr(signed)
    assert sign_query(trial.query(0), signer).signature.hex() not in repr(trial.ask(0))
