"""Envelopes: who can open them, what they hide, and what does not open."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from nacl.public import PrivateKey, SealedBox
from nacl.secret import SecretBox
from nacl.utils import random as system_bytes

from hanse.core.crypto.boxes import (
    BadBoxKey,
    BoxSecret,
    Envelope,
    PrivateBodyTooLarge,
    TooManyReaders,
    open_envelope,
    open_with_key,
    seal_envelope,
)
from hanse.core.crypto.passwords import seal_secret
from hanse.core.limits import BODY_SIZE_BYTES_MAX, PRIVATE_PLAINTEXT_SIZE_BYTES_MAX
from tests.fakes.chance import SeededChance

PLAIN = b"inner bytes"


def boxes(count):
    return [BoxSecret(hashlib.sha256(b"reader %d" % n).digest()) for n in range(count)]


def keys_of(secrets):
    return [secret.public_key for secret in secrets]


def seal(count=2, plain=PLAIN, seed=1):
    secrets = boxes(count)
    envelope, key = seal_envelope(plain, keys_of(secrets), SeededChance(seed))
    return envelope, key, secrets


def commit_to(key):
    return hashlib.sha256(b"hanse/envelope/v1\0" + key).digest()


@pytest.mark.parametrize("count", range(1, 9))
def test_every_reader_opens_it(count):
    envelope, key, secrets = seal(count)
    for secret in secrets:
        assert open_envelope(envelope, secret) == (PLAIN, key)


def test_nobody_else_opens_it():
    envelope, _, _ = seal()
    assert open_envelope(envelope, BoxSecret(bytes(32))) is None


@pytest.mark.parametrize(
    ("count", "slots"), [(1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (6, 8), (7, 8), (8, 8)]
)
def test_number_of_slots_tells_the_readers_only_roughly(count, slots):
    envelope, _, _ = seal(count)
    assert len(envelope.to) == slots
    assert {len(slot) for slot in envelope.to} == {80}


@pytest.mark.parametrize(
    ("size", "padded"), [(0, 1024), (1, 1024), (1023, 1024), (1024, 2048), (3000, 3072)]
)
def test_length_shows_only_in_steps(size, padded):
    envelope, key, _ = seal(plain=bytes(size))
    assert len(envelope.ct) == 24 + 16 + padded
    assert open_with_key(envelope, key) == bytes(size)


def test_key_opens_it_without_any_box():
    envelope, key, _ = seal()
    assert open_with_key(envelope, key) == PLAIN


def test_commitment_is_the_hash_of_the_key():
    envelope, key, _ = seal()
    assert envelope.commit == commit_to(key)


def test_library_itself_opens_our_slots_and_cipher_text():
    envelope, key, secrets = seal(1)
    opened = []
    for slot in envelope.to:
        try:
            opened.append(SealedBox(PrivateKey(secrets[0].private_key)).decrypt(slot))
        except Exception:  # noqa: BLE001 - the dummy slot; any refusal will do
            continue
    assert opened == [key]
    assert SecretBox(key).decrypt(envelope.ct) == PLAIN + b"\x80" + bytes(1024 - len(PLAIN) - 1)


def test_we_open_slots_the_library_sealed():
    envelope, key, secrets = seal()
    slots = tuple(SealedBox(PrivateKey(s.private_key).public_key).encrypt(key) for s in secrets)
    for secret in secrets:
        assert open_envelope(replace(envelope, to=slots), secret) == (PLAIN, key)


def test_same_chance_seals_the_same_bytes():
    assert seal(3)[0] == seal(3)[0]
    assert seal(3)[0] != seal(3, seed=2)[0]


def test_readers_named_twice_get_one_slot():
    secret = boxes(1)[0]
    envelope, _ = seal_envelope(PLAIN, [secret.public_key] * 9, SeededChance(1))
    assert len(envelope.to) == 2


def test_place_of_a_reader_is_left_to_chance():
    first = boxes(3)[0]
    places = Counter()
    for seed in range(200):
        envelope, _, _ = seal(3, seed=seed)
        found = [
            place
            for place, slot in enumerate(envelope.to)
            if open_envelope(replace(envelope, to=(slot, slot)), first)
        ]
        places[found[0]] += 1
    assert min(places[place] for place in range(4)) > 25  # 50 expected


def test_largest_plaintext_fits_a_body():
    envelope, key, _ = seal(8, plain=bytes(PRIVATE_PLAINTEXT_SIZE_BYTES_MAX))
    size = len(envelope.ct) + len(envelope.commit) + sum(len(slot) for slot in envelope.to)
    assert size < BODY_SIZE_BYTES_MAX - 100  # the rest: names and lengths around them
    assert open_with_key(envelope, key) == bytes(PRIVATE_PLAINTEXT_SIZE_BYTES_MAX)


def test_larger_plaintext_is_refused():
    with pytest.raises(PrivateBodyTooLarge) as caught:
        seal(plain=bytes(PRIVATE_PLAINTEXT_SIZE_BYTES_MAX + 1))
    assert caught.value.values == {"found": 61_441, "most": 61_440}


@pytest.mark.parametrize("count", [0, 9])
def test_no_reader_and_nine_readers_are_refused(count):
    with pytest.raises(TooManyReaders) as caught:
        seal(count)
    assert caught.value.values == {"found": count, "most": 8}


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), bytes(31), bytes(33), b""])
def test_box_key_anybody_could_open_is_refused(key):
    with pytest.raises(BadBoxKey):
        seal_envelope(PLAIN, [key], SeededChance(1))


def test_slot_with_another_key_does_not_mislead():
    envelope, key, secrets = seal(1)
    sealer = SealedBox(PrivateKey(secrets[0].private_key).public_key)
    decoy = sealer.encrypt(bytes(32))
    mine = sealer.encrypt(key)
    assert open_envelope(replace(envelope, to=(decoy, mine)), secrets[0]) == (PLAIN, key)


def test_cipher_text_that_opens_under_another_key_than_committed_is_refused():
    envelope, _, secrets = seal(1)
    other = system_bytes(32)
    sealer = SealedBox(PrivateKey(secrets[0].private_key).public_key)
    swapped = Envelope(
        envelope.commit,
        seal_secret(other, b"other words".ljust(1024, b"\0"), bytes(24)),
        (sealer.encrypt(other),) * 2,
    )
    assert open_envelope(swapped, secrets[0]) is None
    assert open_with_key(swapped, other) is None


@pytest.mark.parametrize("count", [0, 1, 3, 5, 6, 7, 9, 16])
def test_other_numbers_of_slots_are_refused(count):
    envelope, _, secrets = seal(1)
    slots = (envelope.to * 8)[:count]
    assert open_envelope(replace(envelope, to=slots), secrets[0]) is None


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), bytes(33)])
def test_key_that_is_not_the_committed_one_opens_nothing(key):
    envelope, _, _ = seal()
    assert open_with_key(envelope, key) is None


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        bytes(1024),
        b"\x80" + bytes(1023) + bytes(1024),
        PLAIN,
        PLAIN.ljust(1023, b"\x80"),
        b"x" * 1024,
        bytes(PRIVATE_PLAINTEXT_SIZE_BYTES_MAX + 2047) + b"\x80",
    ],
    ids=["empty", "no mark", "mark too early", "short", "one less", "no zeros", "too long"],
)
def test_wrong_padding_opens_nothing(padded):
    key = b"\x03" * 32
    envelope = Envelope(commit_to(key), seal_secret(key, padded, bytes(24)), ())
    assert open_with_key(envelope, key) is None


def test_repr_shows_the_public_key_only():
    secret = BoxSecret(b"\x42" * 32)
    assert repr(secret) == f"BoxSecret(public_key={secret.public_key!r})"
