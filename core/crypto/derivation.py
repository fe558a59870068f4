"""The only place where keys are derived: one phrase gives all keys but a Device's.

* BIP39 seed -> R (``RootSecret``) by HKDF-SHA-256; R -> Root keys and, per key
  epoch e, the sale seed and the buy seed (``EpochSeeds``) by HMAC-SHA256 under a
  label that ends in a zero byte; the seeds -> everything else likewise.
* Integers are unsigned, 32 bits, big-endian.
* Who holds R makes all of it; who holds one epoch's seeds makes that epoch's.
  The sale seed and the buy seed say nothing about each other.
* The Device key is random and not derived; only its box is, from its seed.

Where the secrets are kept, and when a new epoch starts, is not known here.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hanse.core.crypto.boxes import BoxSecret
from hanse.core.crypto.signing import (
    LABEL_BACKUP,
    LABEL_BOX,
    LABEL_BUY_SEED,
    LABEL_CONTENT_KEY,
    LABEL_DEVICE_BOX,
    LABEL_IDENTITY_SALT,
    LABEL_LICENCE_KEY,
    LABEL_ORDER_BOX,
    LABEL_RATING_KEY,
    LABEL_ROOT,
    LABEL_SALE_KEY,
    LABEL_SALE_SEED,
    LABEL_TRIAL_SEAL,
    Signer,
)

BIP39_SEED_SIZE_BYTES: Final = 64
SECRET_SIZE_BYTES: Final = 32
BODY_SALT_SIZE_BYTES: Final = 16
ORDER_NONCE_SIZE_BYTES: Final = 16

_HKDF_SALT: Final = b"hanse/seed/v1"
_HKDF_INFO: Final = b"root"


@dataclass(frozen=True, slots=True)
class EpochSeeds:
    """The two seeds of one key epoch; every full Device holds them in its Keystore."""

    epoch: int
    sale: bytes = field(repr=False)
    buy: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.sale) == SECRET_SIZE_BYTES
        assert len(self.buy) == SECRET_SIZE_BYTES

    def box_secret(self) -> BoxSecret:
        """Make the Box key: private bodies sealed to this Identity open with it."""
        return BoxSecret(_hmac(self.buy, LABEL_BOX))

    def backup_key(self) -> bytes:
        """Make the key of this epoch's ``.hanse-backup`` files."""
        return _hmac(self.buy, LABEL_BACKUP)

    def content_key(self, seal_salt: bytes) -> bytes:
        """Make the Content key of the Release sealed with this salt of 32 bytes."""
        assert len(seal_salt) == SECRET_SIZE_BYTES
        return _hmac(self.sale, LABEL_CONTENT_KEY, seal_salt)

    def sale_key(self, order_id: bytes, counter: int = 0) -> bytes:
        """Make the fresh secret K of one Order."""
        assert len(order_id) == SECRET_SIZE_BYTES
        return _hmac(self.sale, LABEL_SALE_KEY, order_id, _u32(counter))

    def seller_order_box(self, order_id: bytes) -> BoxSecret:
        """Make the box in which the seller receives the Steps of one Order."""
        assert len(order_id) == SECRET_SIZE_BYTES
        return BoxSecret(_hmac(self.sale, LABEL_ORDER_BOX, order_id))

    def buyer_order_box(self, order_nonce: bytes) -> BoxSecret:
        """Make the box in which the buyer receives the Steps of one Order.

        From the nonce of his ORDER, since its box key must stand in the ORDER
        before that has an id.
        """
        assert len(order_nonce) == ORDER_NONCE_SIZE_BYTES
        return BoxSecret(_hmac(self.buy, LABEL_ORDER_BOX, order_nonce))

    def licence_signer(self, order_nonce: bytes) -> Signer:
        """Make the key that grants the seats of the Licence bought with one ORDER."""
        assert len(order_nonce) == ORDER_NONCE_SIZE_BYTES
        return Signer.from_seed(_hmac(self.buy, LABEL_LICENCE_KEY, order_nonce))

    def rating_signer(self, order_nonce: bytes) -> Signer:
        """Make the key that lets one sale be counted and later reviewed."""
        assert len(order_nonce) == ORDER_NONCE_SIZE_BYTES
        return Signer.from_seed(_hmac(self.buy, LABEL_RATING_KEY, order_nonce))


@dataclass(frozen=True, slots=True)
class RootSecret:
    """R, all an Identity's secrets in 32 bytes; made from the phrase, used, dropped."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.raw) == SECRET_SIZE_BYTES

    @classmethod
    def from_bip39_seed(cls, seed: bytes) -> RootSecret:
        """Make R from the 64 bytes BIP39 gives for a phrase."""
        assert len(seed) == BIP39_SEED_SIZE_BYTES
        hkdf = HKDF(algorithm=SHA256(), length=SECRET_SIZE_BYTES, salt=_HKDF_SALT, info=_HKDF_INFO)
        return cls(hkdf.derive(seed))

    def root_signer(self, r: int) -> Signer:
        """Make Root key ``r``; r counts the rotations under this phrase."""
        return Signer.from_seed(_hmac(self.raw, LABEL_ROOT, _u32(r)))

    def identity_salt(self, r: int) -> bytes:
        """Make the Body salt of root feed ``r``'s first Entry.

        Derived, not random: so a restore writes that Entry again byte for byte
        instead of a second one, which would be a Fork of the root feed.
        """
        return _hmac(self.raw, LABEL_IDENTITY_SALT, _u32(r))[:BODY_SALT_SIZE_BYTES]

    def seeds(self, epoch: int) -> EpochSeeds:
        """Make the seeds of one key epoch."""
        return EpochSeeds(
            epoch,
            sale=_hmac(self.raw, LABEL_SALE_SEED, _u32(epoch)),
            buy=_hmac(self.raw, LABEL_BUY_SEED, _u32(epoch)),
        )


def device_box_secret(device_seed: bytes) -> BoxSecret:
    """Make the box in which a Device receives new seeds; it never leaves the Device."""
    assert len(device_seed) == SECRET_SIZE_BYTES
    return BoxSecret(_hmac(device_seed, LABEL_DEVICE_BOX))


def trial_seal_key(content_key: bytes, trial: bytes) -> bytes:
    """Make the key one Trial's full outputs are sealed with; it says nothing about the other.

    ``trial`` is the Entry id of its REQUEST.
    """
    assert len(content_key) == SECRET_SIZE_BYTES
    assert len(trial) == SECRET_SIZE_BYTES
    return _hmac(content_key, LABEL_TRIAL_SEAL, trial)


def _hmac(key: bytes, label: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, label + b"".join(parts), "sha256")


def _u32(number: int) -> bytes:
    return struct.pack(">I", number)
