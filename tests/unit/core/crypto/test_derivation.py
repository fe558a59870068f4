"""The table of keys, computed a second time with the standard library alone."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from hanse.core.crypto.derivation import EpochSeeds, RootSecret, device_box_secret
from hanse.core.crypto.phrase import new_phrase, root_secret

BIP39_SEED = bytes(range(64))
ORDER_ID = b"\x07" * 32
ORDER_NONCE = b"\x08" * 16
SEAL_SALT = b"\x09" * 32


def hkdf(secret, salt, info, size):
    """RFC 5869, section 2, as it is written there."""
    prk = hmac.new(salt, secret, hashlib.sha256).digest()
    out, block = b"", b""
    for counter in range(1, 255):
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
        if len(out) >= size:
            break
    return out[:size]


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


@pytest.fixture
def root():
    return RootSecret.from_bip39_seed(BIP39_SEED)


@pytest.fixture
def seeds(root):
    return root.seeds(3)


def test_second_hkdf_gives_the_vector_of_rfc_5869():
    okm = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_root_secret_is_the_hkdf_of_the_bip39_seed(root):
    assert root.raw == hkdf(BIP39_SEED, b"hanse/seed/v1", b"root", 32)


@pytest.mark.parametrize("r", [0, 1, 31])
def test_root_key_is_made_from_its_number(root, r):
    seed = mac(root.raw, b"hanse/root/v1\0" + r.to_bytes(4, "big"))
    assert root.root_signer(r).public_key == bytes(SigningKey(seed).verify_key)


def test_identity_salt_is_made_from_the_number_of_the_root_key(root):
    for r in (0, 2):
        expected = mac(root.raw, b"hanse/identity-salt/v1\0" + r.to_bytes(4, "big"))[:16]
        assert root.identity_salt(r) == expected


def test_seeds_are_made_from_their_epoch(root):
    for epoch in (0, 1, 2**32 - 1):
        number = epoch.to_bytes(4, "big")
        assert root.seeds(epoch).epoch == epoch
        assert root.seeds(epoch).sale == mac(root.raw, b"hanse/sale-seed/v1\0" + number)
        assert root.seeds(epoch).buy == mac(root.raw, b"hanse/buy-seed/v1\0" + number)


def test_keys_of_the_seller_come_from_the_sale_seed(seeds):
    sale = seeds.sale
    assert seeds.content_key(SEAL_SALT) == mac(sale, b"hanse/content-key/v1\0" + SEAL_SALT)
    assert seeds.sale_key(ORDER_ID) == mac(sale, b"hanse/sale-key/v1\0" + ORDER_ID + bytes(4))
    assert seeds.sale_key(ORDER_ID, 1) == mac(sale, b"hanse/sale-key/v1\0" + ORDER_ID + b"\0\0\0\1")
    assert seeds.seller_order_box(ORDER_ID).private_key == mac(
        sale, b"hanse/order-box/v1\0" + ORDER_ID
    )


def test_keys_of_the_buyer_come_from_the_buy_seed(seeds):
    buy = seeds.buy
    assert seeds.backup_key() == mac(buy, b"hanse/backup/v1\0")
    assert seeds.box_secret().private_key == mac(buy, b"hanse/box/v1\0")
    assert seeds.buyer_order_box(ORDER_NONCE).private_key == mac(
        buy, b"hanse/order-box/v1\0" + ORDER_NONCE
    )
    for signer, label in (
        (seeds.licence_signer(ORDER_NONCE), b"hanse/licence-key/v1\0"),
        (seeds.rating_signer(ORDER_NONCE), b"hanse/rating-key/v1\0"),
    ):
        key = SigningKey(mac(buy, label + ORDER_NONCE))
        assert signer.public_key == bytes(key.verify_key)


def test_box_key_is_the_x25519_key_of_its_secret(seeds):
    box = seeds.box_secret()
    assert box.public_key == bytes(PrivateKey(box.private_key).public_key)


def test_device_box_comes_from_the_device_seed():
    assert device_box_secret(bytes(32)).private_key == mac(bytes(32), b"hanse/device-box/v1\0")


def test_keys_of_a_known_phrase_never_change():
    root = root_secret(new_phrase(bytes(32), "en"))
    seeds = root.seeds(0)
    assert root.root_signer(0).public_key.hex() == GOLDEN["root 0"]
    assert root.root_signer(1).public_key.hex() == GOLDEN["root 1"]
    assert root.identity_salt(0).hex() == GOLDEN["identity salt 0"]
    assert seeds.box_secret().public_key.hex() == GOLDEN["box 0"]
    assert seeds.backup_key().hex() == GOLDEN["backup 0"]
    assert seeds.content_key(bytes(32)).hex() == GOLDEN["content key"]
    assert seeds.sale_key(bytes(32)).hex() == GOLDEN["sale key"]


def test_no_secret_stands_in_a_repr(root, seeds):
    shown = repr(root) + repr(seeds) + repr(seeds.box_secret()) + repr([seeds, root])
    for secret in (root.raw, seeds.sale, seeds.buy, seeds.box_secret().private_key):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
    assert repr(EpochSeeds(3, bytes(32), bytes(32))) == "EpochSeeds(epoch=3)"


GOLDEN = {
    "root 0": "d448570324ac379ff7f252f12cc9c23efc177d4c0091c124fb4729f2697f7dad",
    "root 1": "8879db46ee4c6ede54272fb7cf2cfc2a96c89e5be7af9398bc15a516e4da81c9",
    "identity salt 0": "89abf369ef756b73fbc8c86c17fed5a7",
    "box 0": "b6472f437c996651ea4852a88d9e2a2fba871ab65ab0ed496da0166e0c66ed37",
    "backup 0": "a9826e0555dff9d5aebe7099feba0972dfb5a362c4fd835bbf61ae08fd37e27b",
    "content key": "5686d51cd0c8454260a49476ed7628f23bcad3b25f78d45528849f96483d7305",
    "sale key": "b0429d77163c48d808e65ee3c051c7720fcf017c3f98d95823f7daa9fca755a3",
}
