"""Private bodies: one plaintext sealed to several boxes, openable later by one key.

* ``ct`` is a SecretBox of the padded plaintext under the Envelope key k, 32 fresh
  bytes; ``commit`` is SHA-256(label + k).  Poly1305 does not commit to a key:
  without this one ``ct`` could open differently under two keys, and showing k to
  a third party would prove nothing.
* ``to`` holds 2, 4 or 8 slots of 80 bytes, shuffled: libsodium's sealed box of k
  for each reader.  Unused slots are sealed to throw-away keys, since plain random
  bytes could be told apart.  So nobody sees who reads, and how many only roughly.
* Sealing is a pure function of its arguments; all randomness is ``chance``.
* Opening never raises: the bytes come from peers.

What the plaintext means, and whether it belongs to the Entry around it, is
checked by the caller.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from nacl.bindings import (
    crypto_box_easy,
    crypto_box_PUBLICKEYBYTES,
    crypto_box_seal_open,
    crypto_box_SEALBYTES,
    crypto_scalarmult_base,
    sodium_pad,
    sodium_unpad,
)
from nacl.exceptions import CryptoError

from hanse.core.crypto.passwords import (
    BOX_OVERHEAD_BYTES,
    KEY_SIZE_BYTES,
    NONCE_SIZE_BYTES,
    open_secret,
    seal_secret,
)
from hanse.core.crypto.signing import LABEL_ENVELOPE
from hanse.core.errors import HanseError, Refused
from hanse.core.limits import (
    ENVELOPE_SLOTS_MAX,
    PRIVATE_PADDING_BYTES,
    PRIVATE_PLAINTEXT_SIZE_BYTES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.clock import Chance

SLOT_COUNTS: Final = (2, 4, 8)
SLOT_SIZE_BYTES: Final = crypto_box_SEALBYTES + KEY_SIZE_BYTES

_CT_SIZE_BYTES_MAX: Final = (
    BOX_OVERHEAD_BYTES + PRIVATE_PLAINTEXT_SIZE_BYTES_MAX + PRIVATE_PADDING_BYTES
)

assert SLOT_SIZE_BYTES == 80
assert SLOT_COUNTS[-1] == ENVELOPE_SLOTS_MAX


class TooManyReaders(Refused):
    """An envelope has at most eight slots."""

    code = "envelope.too_many_readers"
    text = "a private body has 1 to {most} readers, not {found}"
    fields = ("found", "most")


class PrivateBodyTooLarge(Refused):
    """The plaintext of a private body is longer than a Body can carry."""

    code = "envelope.too_large"
    text = "a private body holds {most} bytes, not {found}"
    fields = ("found", "most")


class BadBoxKey(HanseError):
    """A reader's box key is no usable public key, so nothing can be sealed to it."""

    code = "envelope.bad_box_key"
    text = "box key {key} is not usable"
    fields = ("key",)


@dataclass(frozen=True, slots=True)
class BoxSecret:
    """An X25519 private key; what is sealed to its public key opens with it."""

    private_key: bytes = field(repr=False)
    public_key: bytes = field(init=False)

    def __post_init__(self) -> None:
        assert len(self.private_key) == KEY_SIZE_BYTES
        # Computed once: every slot tried needs it, and it costs as much as opening one.
        object.__setattr__(self, "public_key", crypto_scalarmult_base(self.private_key))


@dataclass(frozen=True, slots=True)
class Envelope:
    """The three fields of a private Body, as sealed or as received."""

    commit: bytes
    ct: bytes
    to: tuple[bytes, ...]


def seal_envelope(plain: bytes, readers: Sequence[bytes], chance: Chance) -> tuple[Envelope, bytes]:
    """Seal ``plain`` to the box keys of its readers; return the Envelope and its key.

    Whoever has the key can open this one Envelope and nothing else.
    """
    if len(plain) > PRIVATE_PLAINTEXT_SIZE_BYTES_MAX:
        raise PrivateBodyTooLarge(found=len(plain), most=PRIVATE_PLAINTEXT_SIZE_BYTES_MAX)
    distinct = list(dict.fromkeys(readers))
    if not 1 <= len(distinct) <= ENVELOPE_SLOTS_MAX:
        raise TooManyReaders(found=len(distinct), most=ENVELOPE_SLOTS_MAX)

    key = chance.bytes(KEY_SIZE_BYTES)
    padded = sodium_pad(plain, PRIVATE_PADDING_BYTES)
    ct = seal_secret(key, padded, chance.bytes(NONCE_SIZE_BYTES))
    slots = [_seal_slot(key, reader, chance) for reader in distinct]
    count = next(count for count in SLOT_COUNTS if count >= len(slots))
    while len(slots) < count:
        nobody = BoxSecret(chance.bytes(KEY_SIZE_BYTES)).public_key
        slots.append(_seal_slot(chance.bytes(KEY_SIZE_BYTES), nobody, chance))
    _shuffle(slots, chance)
    return Envelope(_commit(key), ct, tuple(slots)), key


def open_envelope(envelope: Envelope, secret: BoxSecret) -> tuple[bytes, bytes] | None:
    """Return plaintext and Envelope key, or None if it is not for this box or not in order."""
    if len(envelope.to) not in SLOT_COUNTS:
        return None
    for slot in envelope.to:
        key = _open_slot(slot, secret)
        # A slot may open to another key than the committed one; only the latter counts.
        if key is not None and _commit(key) == envelope.commit:
            plain = open_with_key(envelope, key)
            return None if plain is None else (plain, key)
    return None


def open_with_key(envelope: Envelope, key: bytes) -> bytes | None:
    """Open with a disclosed Envelope key, or return None if it is not the committed one."""
    if len(key) != KEY_SIZE_BYTES or _commit(key) != envelope.commit:
        return None
    padded_size = len(envelope.ct) - BOX_OVERHEAD_BYTES
    if len(envelope.ct) > _CT_SIZE_BYTES_MAX or padded_size % PRIVATE_PADDING_BYTES:
        return None
    padded = open_secret(key, envelope.ct)
    if padded is None:
        return None
    try:
        return sodium_unpad(padded, PRIVATE_PADDING_BYTES)
    except CryptoError:
        return None


def _commit(key: bytes) -> bytes:
    return hashlib.sha256(LABEL_ENVELOPE + key).digest()


def _seal_slot(message: bytes, reader: bytes, chance: Chance) -> bytes:
    """Do what ``crypto_box_seal`` does, with the ephemeral key taken from ``chance``.

    libsodium draws that key itself, which would make an Envelope differ on every
    run of the simulator and of the golden vectors.
    """
    ephemeral = BoxSecret(chance.bytes(KEY_SIZE_BYTES))
    if len(reader) != crypto_box_PUBLICKEYBYTES:
        raise BadBoxKey(key=reader.hex())
    nonce = hashlib.blake2b(ephemeral.public_key + reader, digest_size=NONCE_SIZE_BYTES).digest()
    try:
        box = crypto_box_easy(message, nonce, reader, ephemeral.private_key)
    except CryptoError:  # a point of small order: anybody could open what is sealed to it
        raise BadBoxKey(key=reader.hex()) from None
    return ephemeral.public_key + box


def _open_slot(slot: bytes, secret: BoxSecret) -> bytes | None:
    if len(slot) != SLOT_SIZE_BYTES:
        return None
    try:
        return crypto_box_seal_open(slot, secret.public_key, secret.private_key)
    except CryptoError:
        return None


def _shuffle(slots: list[bytes], chance: Chance) -> None:
    """Shuffle in place without bias (Fisher and Yates)."""
    for last in range(len(slots) - 1, 0, -1):
        other = _below(last + 1, chance)
        slots[last], slots[other] = slots[other], slots[last]


def _below(bound: int, chance: Chance) -> int:
    """Draw from 0 to ``bound`` - 1, each equally likely: bytes in the ragged end are refused."""
    limit = 256 - 256 % bound
    while (draw := chance.bytes(1)[0]) >= limit:
        pass
    return draw % bound
