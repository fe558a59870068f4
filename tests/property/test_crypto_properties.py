"""Changed bytes: no envelope, signature or Keystore survives one unnoticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.core.crypto.boxes import BoxSecret, open_envelope, open_with_key, seal_envelope
from hanse.core.crypto.derivation import RootSecret
from hanse.core.crypto.passwords import open_secret, seal_secret
from hanse.core.crypto.phrase import new_phrase, parse_phrase
from hanse.core.crypto.signing import SIGNATURE_PREFIXES, Signer, verify
from hanse.core.errors import BadPhraseChecksum, HanseError
from hanse.core.keystore.keystore import KdfCost, Unlocked, unlock, write_keystore
from hanse.core.limits import KDF_MEMORY_BYTES_MAX
from hanse.core.model.ids import IdentityId
from tests.fakes.chance import SeededChance

MIB = 1024 * 1024
PASSPHRASE = "correct horse battery"
SEEDS = st.binary(min_size=32, max_size=32)


def changed(raw, place, mask):
    return raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :]


@given(plain=st.binary(max_size=3000), readers=st.integers(1, 8), seed=st.integers())
def test_every_reader_and_the_key_open_an_envelope(plain, readers, seed):
    chance = SeededChance(seed)
    secrets = [BoxSecret(chance.bytes(32)) for _ in range(readers)]
    envelope, key = seal_envelope(plain, [secret.public_key for secret in secrets], chance)
    assert open_with_key(envelope, key) == plain
    assert {open_envelope(envelope, secret) for secret in secrets} == {(plain, key)}


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_changed_byte_of_an_envelope_is_found(mask):
    chance = SeededChance(1)
    secrets = [BoxSecret(chance.bytes(32)) for _ in range(2)]
    envelope, key = seal_envelope(b"inner", [secret.public_key for secret in secrets], chance)
    for name in ("commit", "ct"):
        raw = getattr(envelope, name)
        for place in range(len(raw)):
            spoiled = replace(envelope, **{name: changed(raw, place, mask)})
            assert open_with_key(spoiled, key) is None
            assert [open_envelope(spoiled, secret) for secret in secrets] == [None, None]
    for number, slot in enumerate(envelope.to):
        for place in range(len(slot)):
            slots = list(envelope.to)
            slots[number] = changed(slot, place, mask)
            spoiled = replace(envelope, to=tuple(slots))
            # The slot of one reader is nothing to the other; the Body's hash covers both.
            opened = [open_envelope(spoiled, secret) for secret in secrets]
            assert sorted(opened, key=repr) == [(b"inner", key), None]


@given(commit=st.binary(max_size=40), ct=st.binary(max_size=1200), to=st.binary(max_size=160))
def test_made_up_envelope_opens_to_nothing(commit, ct, to):
    envelope, key = seal_envelope(b"", [BoxSecret(bytes(32)).public_key], SeededChance(1))
    spoiled = replace(envelope, commit=commit, ct=ct, to=(to[:80], to[80:]))
    assert open_envelope(spoiled, BoxSecret(bytes(32))) is None
    assert open_with_key(spoiled, key) is None


@given(seed=SEEDS, prefix=st.sampled_from(SIGNATURE_PREFIXES), message=st.binary(max_size=300))
def test_signature_verifies_for_its_prefix_alone(seed, prefix, message):
    signer = Signer.from_seed(seed)
    signature = signer.sign(prefix, message)
    fit = [one for one in SIGNATURE_PREFIXES if verify(signer.public_key, one, message, signature)]
    assert fit == [prefix]


@given(
    key=st.binary(max_size=40),
    prefix=st.binary(max_size=20),
    message=st.binary(max_size=40),
    signature=st.binary(max_size=80),
)
def test_made_up_signature_is_a_no_and_never_an_exception(key, prefix, message, signature):
    assert verify(key, prefix, message, signature) is False


@given(key=SEEDS, plain=st.binary(max_size=200), place=st.integers(0), mask=st.integers(1, 255))
def test_changed_secret_box_does_not_open(key, plain, place, mask):
    box = seal_secret(key, plain, bytes(24))
    assert open_secret(key, box) == plain
    assert open_secret(key, changed(box, place % len(box), mask)) is None


@given(root=SEEDS, epochs=st.sets(st.integers(0, 2**32 - 1), min_size=2, max_size=4))
def test_no_two_epochs_share_a_key(root, epochs):
    seeds = [RootSecret(root).seeds(epoch) for epoch in epochs]
    keys = [key for one in seeds for key in (one.sale, one.buy, one.backup_key())]
    assert len(set(keys)) == len(keys)


@given(entropy=SEEDS, places=st.sets(st.integers(0, 23), min_size=2, max_size=2))
def test_two_swapped_words_give_another_phrase_or_an_error(entropy, places):
    phrase = new_phrase(entropy, "en")
    words = list(phrase.words)
    one, two = places
    words[one], words[two] = words[two], words[one]
    try:
        read = parse_phrase(" ".join(words))
    except BadPhraseChecksum:
        return
    # One in 256 fits by chance; it is then another phrase, unless the words are equal.
    assert (read == phrase) == (words == list(phrase.words))


@pytest.fixture(scope="module")
def keystore(tmp_path_factory):
    root = RootSecret(b"\x11" * 32)
    unlocked = Unlocked(
        identity=IdentityId(root.root_signer(0).public_key),
        name="n",
        device_signer=Signer.from_seed(b"\x22" * 32),
        device_seed=b"\x22" * 32,
        seeds=(root.seeds(0),),
        local_key=b"\x33" * 32,
        created_ms=1,
    )
    path = tmp_path_factory.mktemp("keystore") / "keystore.hks"
    write_keystore(path, unlocked, PASSPHRASE, SeededChance(1), KdfCost(1, 8 * MIB))
    return path


@settings(deadline=None, max_examples=60)
@given(place=st.integers(0), mask=st.integers(1, 255))
def test_changed_byte_of_a_keystore_is_a_deliberate_error(keystore, place, mask):
    raw = keystore.read_bytes()
    place %= len(raw)
    memory = raw.index(b"cmem") + 5
    if memory <= place < memory + 4:
        mask = 0x80  # over the limit: a smaller change would make this test fill the memory
        place = memory
        assert int.from_bytes(changed(raw, place, mask)[memory : memory + 4]) > KDF_MEMORY_BYTES_MAX
    spoiled = keystore.with_name("spoiled.hks")
    spoiled.write_bytes(changed(raw, place, mask))
    with pytest.raises(HanseError):
        unlock(spoiled, PASSPHRASE)


def test_cheap_keystore_itself_opens(keystore):
    assert unlock(keystore, PASSPHRASE).name == "n"
