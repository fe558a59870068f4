"""Ed25519 signatures behind domain prefixes, and the one list of all prefixes and labels.

* Every signature covers ``prefix + message``: what was signed as one thing can
  never be shown as another.  No prefix is the beginning of another one, of a
  label, or of what libp2p and DSSE sign with the same Device key.
* PyNaCl signs and verifies: libsodium refuses small-order keys and a second
  form of a signature (S >= L), which ``cryptography`` partly accepts.
* ``verify`` answers yes or no and never raises: its input comes from peers.

What a message means, who may sign it and when is decided elsewhere.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from hanse.core.limits import SIGNATURE_SIZE_BYTES
from hanse.core.model.ids import AuthorKey

# --- what is signed -------------------------------------------------------------------------
PREFIX_ENTRY: Final = b"hanse/entry/v1\0"
PREFIX_DEVICE: Final = b"hanse/device/v1\0"
PREFIX_ROTATE: Final = b"hanse/rotate/v1\0"
PREFIX_SLIP: Final = b"hanse/slip/v1\0"
PREFIX_SALE: Final = b"hanse/sale/v1\0"
PREFIX_CLAIM: Final = b"hanse/claim/v1\0"
PREFIX_TRIAL: Final = b"hanse/trial/v1\0"
PREFIX_HELD: Final = b"hanse/held/v1\0"

# --- what is hashed -------------------------------------------------------------------------
LABEL_ENVELOPE: Final = b"hanse/envelope/v1\0"
LABEL_PIECE: Final = b"hanse/piece/v1\0"
LABEL_FILE: Final = b"hanse/file/v1\0"
LABEL_CK: Final = b"hanse/ck/v1\0"
LABEL_WRAP: Final = b"hanse/wrap/v1\0"
LABEL_W: Final = b"hanse/w/v1\0"
LABEL_TAG: Final = b"hanse/tag/v1\0"
LABEL_MARK: Final = b"hanse/mark/v1\0"
LABEL_BRANCHES: Final = b"hanse/branches/v1\0"

# --- what keys are derived with (``hanse.core.crypto.derivation``) --------------------------
LABEL_ROOT: Final = b"hanse/root/v1\0"
LABEL_IDENTITY_SALT: Final = b"hanse/identity-salt/v1\0"
LABEL_SALE_SEED: Final = b"hanse/sale-seed/v1\0"
LABEL_BUY_SEED: Final = b"hanse/buy-seed/v1\0"
LABEL_CONTENT_KEY: Final = b"hanse/content-key/v1\0"
LABEL_SALE_KEY: Final = b"hanse/sale-key/v1\0"
LABEL_ORDER_BOX: Final = b"hanse/order-box/v1\0"
LABEL_LICENCE_KEY: Final = b"hanse/licence-key/v1\0"
LABEL_RATING_KEY: Final = b"hanse/rating-key/v1\0"
LABEL_BOX: Final = b"hanse/box/v1\0"
LABEL_BACKUP: Final = b"hanse/backup/v1\0"
LABEL_DEVICE_BOX: Final = b"hanse/device-box/v1\0"
LABEL_TRIAL_SEAL: Final = b"hanse/trial-seal/v1\0"

# The Device key is the libp2p host key and signs certificates too; these are the
# first bytes of what it signs there.
FOREIGN_PREFIXES: Final = (
    b"noise-libp2p-static-key:",
    b"libp2p-pubsub:",
    b"libp2p-record:",
    b"\x12libp2p-peer-record",
    b"\x11libp2p-relay-rsvp",
    b"DSSEv1 ",
)

SIGNATURE_PREFIXES: Final = (
    PREFIX_ENTRY,
    PREFIX_DEVICE,
    PREFIX_ROTATE,
    PREFIX_SLIP,
    PREFIX_SALE,
    PREFIX_CLAIM,
    PREFIX_TRIAL,
    PREFIX_HELD,
)

# A part that signs, hashes or derives something new adds its prefix above and here.
ALL_PREFIXES: Final = (
    *SIGNATURE_PREFIXES,
    LABEL_ENVELOPE,
    LABEL_PIECE,
    LABEL_FILE,
    LABEL_CK,
    LABEL_WRAP,
    LABEL_W,
    LABEL_TAG,
    LABEL_MARK,
    LABEL_BRANCHES,
    LABEL_ROOT,
    LABEL_IDENTITY_SALT,
    LABEL_SALE_SEED,
    LABEL_BUY_SEED,
    LABEL_CONTENT_KEY,
    LABEL_SALE_KEY,
    LABEL_ORDER_BOX,
    LABEL_LICENCE_KEY,
    LABEL_RATING_KEY,
    LABEL_BOX,
    LABEL_BACKUP,
    LABEL_DEVICE_BOX,
    LABEL_TRIAL_SEAL,
    *FOREIGN_PREFIXES,
)

_KEY_SIZE_BYTES: Final = 32


class Signer:
    """One Ed25519 key that can sign; shows its public half only."""

    __slots__ = ("_secret_key", "public_key")

    public_key: AuthorKey

    def __init__(self, public_key: bytes, secret_key: bytes) -> None:
        """Hold a key pair as libsodium made it; ``from_seed`` is the usual door."""
        self.public_key = AuthorKey(public_key)
        self._secret_key = secret_key

    @classmethod
    def from_seed(cls, seed: bytes) -> Signer:
        """Make the key pair that belongs to 32 secret bytes, always the same one."""
        return cls(*crypto_sign_seed_keypair(seed))

    def sign(self, prefix: bytes, message: bytes) -> bytes:
        """Return the detached signature over ``prefix + message``."""
        return crypto_sign(prefix + message, self._secret_key)[:SIGNATURE_SIZE_BYTES]

    def __repr__(self) -> str:
        return f"Signer({self.public_key.hex()})"


def verify(public_key: bytes, prefix: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether ``public_key`` signed ``prefix + message``; wrong lengths are a no."""
    # libsodium takes a bare pointer to the key, so a short one would be read past its end;
    # a signature of another length would slide the prefix and so the meaning.
    if len(public_key) != _KEY_SIZE_BYTES or len(signature) != SIGNATURE_SIZE_BYTES:
        return False
    try:
        crypto_sign_open(signature + prefix + message, public_key)
    except BadSignatureError:
        return False
    return True
