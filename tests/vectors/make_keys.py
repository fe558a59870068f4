"""Writes ``keys.json``: what comes from a phrase, sealed Bodies, and Disclosures.

Run as ``python -m tests.vectors.make_keys``.  Keys are derived with ``hashlib``,
``hmac`` and ``cryptography``, envelopes are sealed with PyNaCl's own boxes; the
program is used for nothing but its choice of 24 Chinese words.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dag_cbor
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_box_easy, crypto_secretbox, crypto_secretbox_NONCEBYTES

from hanse.core.crypto.phrase import new_phrase
from hanse.core.crypto.signing import Signer
from tests.fakes.chance import SeededChance
from tests.vectors.pen import Pen, Written

FILE = Path(__file__).with_name("keys.json")

# The phrase of 32 zero bytes, which every BIP39 program knows: never use it.
ENGLISH = "abandon " * 23 + "art"
CHINESE = new_phrase(bytes(range(32)), "zh_CN").text
DEVICE_SEED = bytes(range(32))
SEAL_SALT = bytes(range(32, 64))
ORDER_ID = bytes(range(64, 96))
ORDER_NONCE = bytes(range(96, 112))


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def ed25519(seed: bytes) -> str:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()


def x25519(seed: bytes) -> str:
    return X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()


def bip39_seed(phrase: str) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", phrase.encode(), b"mnemonic", 2048)


def root_secret(seed: bytes) -> bytes:
    """HKDF-SHA-256 of RFC 5869 for one block of output."""
    return hmac_sha256(hmac_sha256(b"hanse/seed/v1", seed), b"root", b"\1")


def identity_text(key: str) -> str:
    import base64  # noqa: PLC0415 - for this line alone

    return "hanse:id:" + base64.b32encode(bytes.fromhex(key)).decode().lower().rstrip("=")


def root(secret: bytes, r: int) -> dict[str, Any]:
    return {
        "r": r,
        "key": ed25519(hmac_sha256(secret, b"hanse/root/v1\0", u32(r))),
        "identity_salt": hmac_sha256(secret, b"hanse/identity-salt/v1\0", u32(r))[:16].hex(),
    }


def epoch(secret: bytes, number: int) -> dict[str, Any]:
    sale = hmac_sha256(secret, b"hanse/sale-seed/v1\0", u32(number))
    buy = hmac_sha256(secret, b"hanse/buy-seed/v1\0", u32(number))
    order_box = b"hanse/order-box/v1\0"
    return {
        "epoch": number,
        "sale_seed": sale.hex(),
        "buy_seed": buy.hex(),
        "box": x25519(hmac_sha256(buy, b"hanse/box/v1\0")),
        "backup_key": hmac_sha256(buy, b"hanse/backup/v1\0").hex(),
        "content_key": hmac_sha256(sale, b"hanse/content-key/v1\0", SEAL_SALT).hex(),
        "sale_key": hmac_sha256(sale, b"hanse/sale-key/v1\0", ORDER_ID, u32(0)).hex(),
        "seller_order_box": x25519(hmac_sha256(sale, order_box, ORDER_ID)),
        "buyer_order_box": x25519(hmac_sha256(buy, order_box, ORDER_NONCE)),
        "licence_key": ed25519(hmac_sha256(buy, b"hanse/licence-key/v1\0", ORDER_NONCE)),
        "rating_key": ed25519(hmac_sha256(buy, b"hanse/rating-key/v1\0", ORDER_NONCE)),
    }


def phrase(note: str, words: str) -> dict[str, Any]:
    seed = bip39_seed(words)
    secret = root_secret(seed)
    device_box = x25519(hmac_sha256(DEVICE_SEED, b"hanse/device-box/v1\0"))
    return {
        "note": note,
        "phrase": words,
        "bip39_seed": seed.hex(),
        "root_secret": secret.hex(),
        "identity": identity_text(root(secret, 0)["key"]),
        "seal_salt": SEAL_SALT.hex(),
        "order_id": ORDER_ID.hex(),
        "order_nonce": ORDER_NONCE.hex(),
        "roots": [root(secret, r) for r in (0, 1, 31)],
        "epochs": [epoch(secret, number) for number in (0, 1, 2**32 - 1)],
        "device": {"seed": DEVICE_SEED.hex(), "key": ed25519(DEVICE_SEED), "box": device_box},
    }


# --- sealed Bodies --------------------------------------------------------------------------


@dataclass(frozen=True)
class Sealed:
    """One sealed Body in its Entry, and what opens it."""

    entry: Written
    inner: bytes
    key: bytes


class Sealer:
    """Seals to two boxes, each step changeable."""

    def __init__(self) -> None:
        self.chance = SeededChance("hanse/vectors/keys/1")
        self.secrets = [self.chance.bytes(32) for _ in range(3)]
        self.boxes = [bytes.fromhex(x25519(secret)) for secret in self.secrets]
        self.pen = Pen(Signer.from_seed(self.chance.bytes(32)), self.chance)
        self.pen.write("poem/1", {"lines": ["the first entry"]})

    def slot(self, message: bytes, box: bytes) -> bytes:
        ephemeral = self.chance.bytes(32)
        public = bytes.fromhex(x25519(ephemeral))
        nonce = hashlib.blake2b(public + box, digest_size=24).digest()
        return public + crypto_box_easy(message, nonce, box, ephemeral)

    def inner(self, **changes: Any) -> bytes:
        fields = {
            "version": 1,
            "author": self.pen.key,
            "seq": 2,
            "kind": "message/1",
            "body": {"order": None, "text": "Is it still for sale?", "files": []},
        }
        return dag_cbor.encode(list((fields | changes).values()))

    def seal(
        self,
        inner: bytes | None = None,
        *,
        kind: str = "private/1",
        padding: bytes = b"\x80",
        commits_to: bytes | None = None,
        **fields: Any,
    ) -> Sealed:
        plain = self.inner() if inner is None else inner
        key = self.chance.bytes(32)
        padded = plain + padding
        padded += bytes(-len(padded) % 1024)
        nonce = self.chance.bytes(crypto_secretbox_NONCEBYTES)
        commit = hashlib.sha256(b"hanse/envelope/v1\0" + (commits_to or key)).digest()
        body = {
            "commit": commit,
            "ct": nonce + crypto_secretbox(padded, nonce, key),
            "to": [self.slot(key, box) for box in self.boxes[:2]],
        } | fields
        return Sealed(self.pen.draft(kind, body), plain, key)


def envelopes(sealer: Sealer) -> list[dict[str, Any]]:
    """Return one Envelope as its readers and a stranger see it, and broken ones."""
    first, second, stranger = sealer.secrets
    message = sealer.seal()
    long = sealer.seal(sealer.inner(body={"order": bytes(32), "text": "long\n" * 700, "files": []}))
    seeds = sealer.seal(
        sealer.inner(kind="seeds/1", body={"seeds": [[1, bytes(32), bytes([1]) * 32]]})
    )
    good = [
        ("a message, by its first reader", message, first),
        ("a message, by its second reader", message, second),
        ("a message of several paddings", long, first),
        ("seeds of an epoch", seeds, second),
    ]
    nothing = [
        ("not for this box", message, stranger),
        ("it commits to another key", sealer.seal(commits_to=bytes(32)), first),
        ("it is not padded", sealer.seal(padding=b""), first),
    ]
    refused = [
        (
            "sealed for another author",
            "copied_envelope",
            sealer.seal(sealer.inner(author=bytes(32))),
        ),
        ("sealed for another seq", "copied_envelope", sealer.seal(sealer.inner(seq=3))),
        ("version 2 inside", "version", sealer.seal(sealer.inner(version=2))),
        ("an unknown kind inside", "unknown_kind", sealer.seal(sealer.inner(kind="poem/1"))),
        ("a message in a ruling", "inner_kind", sealer.seal(kind="ruling/1")),
        ("a byte follows inside", "not_canonical", sealer.seal(sealer.inner() + b"\0")),
        ("an unknown field inside", "bad_shape", sealer.seal(sealer.inner(body={"text": ""}))),
        ("six fields inside", "bad_shape", sealer.seal(b"\x86" + sealer.inner()[1:] + b"\xf6")),
        ("three slots", "bad_shape", sealer.seal(to=[bytes(80)] * 3)),
        ("a field more outside", "bad_shape", sealer.seal(salt=bytes(16))),
    ]
    return [
        *(
            _envelope(note, it, secret) | {"key": it.key.hex(), "inner": it.inner.hex()}
            for note, it, secret in good
        ),
        *(
            _envelope(note, it, secret) | {"key": None, "inner": None}
            for note, it, secret in nothing
        ),
        *(_envelope(note, it, first) | {"reason": reason} for note, reason, it in refused),
    ]


def _envelope(note: str, sealed: Sealed, secret: bytes) -> dict[str, Any]:
    entry = sealed.entry
    assert entry.body is not None
    return {
        "note": note,
        "header": entry.header.hex(),
        "signature": entry.signature.hex(),
        "body": entry.body.hex(),
        "secret": secret.hex(),
    }


def disclosures(sealer: Sealer) -> list[dict[str, Any]]:
    """Return a Disclosure that holds, and one broken for each reason."""
    message = sealer.seal()
    other = sealer.seal(sealer.inner(body={"order": None, "text": "another", "files": []}))
    copied = sealer.seal(sealer.inner(author=bytes(32)))
    public = sealer.pen.draft("poem/1", {"lines": ["in the clear"]})
    profile = sealer.pen.draft("profile/1", sealer.pen.profile())

    def row(note: str, entry: Written, key: bytes, version: int = 1) -> dict[str, Any]:
        fields = [version, entry.header, entry.signature, entry.body, key]
        return {"note": note, "hex": dag_cbor.encode(fields).hex()}

    bad = "ledger.bad_disclosure"
    swapped = message.entry.with_body(other.entry.body or b"")
    forged = Written(message.entry.header, bytes(64), message.entry.body, 2)
    return [
        row("a message", message.entry, message.key) | {"inner": message.inner.hex()},
        row("another key", message.entry, other.key) | {"reason": bad},
        row("a key of 31 bytes", message.entry, message.key[:-1]) | {"reason": bad},
        row("another body", swapped, other.key) | {"reason": bad},
        row("a body that everybody may read", profile, message.key) | {"reason": bad},
        row("an unknown kind", public, message.key) | {"reason": "unknown_kind"},
        row("a signature of zeros", forged, message.key) | {"reason": "bad_signature"},
        row("a copied envelope", copied.entry, copied.key) | {"reason": "copied_envelope"},
    ]


def document() -> str:
    """Return the text of ``keys.json``."""
    words = ENGLISH.split()
    sealer = Sealer()
    content = {
        "about": (
            "Phrases: all that comes from one; device is made from its own random seed. "
            "Envelopes: an entry with a sealed body, a reader's X25519 secret, and the envelope "
            "key and plaintext he finds (null: nothing for him). Disclosures: [1, header, "
            "signature, body, envelope key] and the plaintext it shows."
        ),
        "phrases": [
            phrase("English", ENGLISH),
            phrase("Simplified Chinese", CHINESE),
            {"note": "23 words", "phrase": " ".join(words[1:]), "reason": "phrase.length"},
            {
                "note": "a word that is in no list",
                "phrase": " ".join(["abandonn", *words[1:]]),
                "reason": "phrase.word",
            },
            {
                "note": "a wrong checksum",
                "phrase": " ".join([*words[:-1], "abandon"]),
                "reason": "phrase.checksum",
            },
        ],
        "envelopes": envelopes(sealer),
        "disclosures": disclosures(sealer),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
