"""The Keystore: one file that holds a Device's secret keys under a passphrase.

File: ``HANSEKEY``, one byte 1, then DAG-CBOR ``{kdf, ops, mem, salt, pub, box}``.
``pub`` (identity, device, name) is read without the passphrase.  ``box`` is a
SecretBox of the secrets, which name SHA-256 of ``pub``, because SecretBox has no
associated data.

* Everything that can be checked without the passphrase is checked before the key
  derivation runs: a made-up file costs no memory and no time.
* After those checks exactly one derivation at the file's cost runs, whatever the
  passphrase; then the box opens or it does not.  A wrong passphrase and a changed
  box are one answer (``WrongPassphrase``) after one time: telling them apart would
  need a second check value, which helps only who guesses.
* A file is replaced as a whole or not at all; a refused passphrase changes nothing.

Where the file lies and who asks for the passphrase is decided by the caller.  The
derivation takes about a second by design: never on the window's thread.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import msgspec

from hanse.core.crypto.derivation import EpochSeeds, device_box_secret
from hanse.core.crypto.passwords import (
    KDF_SALT_SIZE_BYTES,
    NONCE_SIZE_BYTES,
    derive_key,
    normal_passphrase,
    open_secret,
    seal_secret,
)
from hanse.core.crypto.signing import Signer
from hanse.core.durable import write_durably
from hanse.core.errors import (
    FileUnreadable,
    KdfOutOfRange,
    KeystoreDamaged,
    KeystoreTooNew,
    NoAccount,
    PassphraseTooShort,
    Refused,
    RejectedEntry,
    WrongPassphrase,
    WrongUse,
)
from hanse.core.ledger.codec import decode, encode
from hanse.core.limits import (
    KDF_MEMORY_BYTES_MAX,
    KDF_MEMORY_BYTES_MIN,
    KDF_OPS_MAX,
    KDF_OPS_MIN,
    KEYSTORE_SIZE_BYTES_MAX,
    PASSPHRASE_CHARACTERS_MIN,
    PASSPHRASE_SIZE_BYTES_MAX,
)
from hanse.core.model.ids import AuthorKey, IdentityId

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.clock import Chance
    from hanse.core.crypto.boxes import BoxSecret

KEYSTORE_FILE: Final = "keystore.hks"
KEYSTORE_VERSION: Final = 1

_MAGIC: Final = b"HANSEKEY"
_HEAD_SIZE_BYTES: Final = len(_MAGIC) + 1
_KDF: Final = "argon2id13"
_INT64_MAX: Final = 2**63 - 1

_T = TypeVar("_T")
_Key32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Salt = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Epoch = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class PassphraseTooLong(WrongUse):
    """A new passphrase has too many bytes."""

    code = "keystore.passphrase_too_long"
    text = "a passphrase has at most {most} bytes, not {found}"
    fields = ("most", "found")


class SeedsMissing(Refused):
    """The Device was not given the seeds of a key epoch (a mirror has none)."""

    code = "keystore.seeds_missing"
    text = "this device does not hold the seeds of key epoch {epoch}"
    fields = ("epoch",)


@dataclass(frozen=True, slots=True)
class KdfCost:
    """What one guess at the passphrase costs: passes over so much memory."""

    ops: int = 3
    memory_bytes: int = 256 * 1024**2

    def __post_init__(self) -> None:
        assert KDF_OPS_MIN <= self.ops <= KDF_OPS_MAX
        assert KDF_MEMORY_BYTES_MIN <= self.memory_bytes <= KDF_MEMORY_BYTES_MAX


DEFAULT_COST: Final = KdfCost()


@dataclass(frozen=True, slots=True)
class KeystorePublic:
    """What a Keystore says of itself to anybody; not yet proved by its secrets."""

    identity: IdentityId
    device: AuthorKey
    name: str


@dataclass(frozen=True, slots=True)
class Unlocked:
    """The secrets of one Device; dropped when the Account is locked.

    ``seeds`` are in order of their epochs and empty on a mirror.
    """

    identity: IdentityId
    name: str
    device_signer: Signer
    device_seed: bytes = field(repr=False)
    seeds: tuple[EpochSeeds, ...]
    local_key: bytes = field(repr=False)
    created_ms: int

    def __post_init__(self) -> None:
        assert Signer.from_seed(self.device_seed).public_key == self.device_signer.public_key
        assert _are_ordered(self.seeds)

    @property
    def device(self) -> AuthorKey:
        """The public key this Device signs with."""
        return self.device_signer.public_key

    @property
    def is_mirror(self) -> bool:
        """Say whether this Device only seeds and carries mail: it was given no seeds."""
        return not self.seeds

    @property
    def newest_seeds(self) -> EpochSeeds:
        """The seeds of the latest key epoch held, or ``SeedsMissing`` on a mirror."""
        if not self.seeds:
            raise SeedsMissing(epoch=0)
        return self.seeds[-1]

    def seeds_of(self, epoch: int) -> EpochSeeds:
        """Return the seeds of ``epoch``, or raise ``SeedsMissing``."""
        for seeds in self.seeds:
            if seeds.epoch == epoch:
                return seeds
        raise SeedsMissing(epoch=epoch)

    def box_secrets(self) -> tuple[BoxSecret, ...]:
        """Return every box private bodies may be sealed to: newest epoch first, Device last."""
        boxes = (seeds.box_secret() for seeds in reversed(self.seeds))
        return (*boxes, device_box_secret(self.device_seed))


def write_keystore(
    path: Path,
    unlocked: Unlocked,
    passphrase: str,
    chance: Chance,
    kdf: KdfCost = DEFAULT_COST,
) -> None:
    """Seal the secrets under ``passphrase`` and replace the file at ``path``.

    A passphrase that is too short is refused, unless it is the one the file already
    opens with: a rule must not stop new keys from being saved.
    """
    size = len(normal_passphrase(passphrase).encode("utf-8", "surrogatepass"))
    if size > PASSPHRASE_SIZE_BYTES_MAX:
        raise PassphraseTooLong(most=PASSPHRASE_SIZE_BYTES_MAX, found=size)
    characters = len(normal_passphrase(passphrase))
    if characters < PASSPHRASE_CHARACTERS_MIN and not _opens(path, passphrase):
        raise PassphraseTooShort(least=PASSPHRASE_CHARACTERS_MIN, found=characters)

    public = {"identity": unlocked.identity, "device": unlocked.device, "name": unlocked.name}
    secrets = {
        "v": KEYSTORE_VERSION,
        "identity": unlocked.identity,
        "device_seed": unlocked.device_seed,
        "seeds": [[seeds.epoch, seeds.sale, seeds.buy] for seeds in unlocked.seeds],
        "local_key": unlocked.local_key,
        "created_ms": unlocked.created_ms,
        "pub_hash": hashlib.sha256(encode(public)).digest(),
    }
    salt = chance.bytes(KDF_SALT_SIZE_BYTES)
    key = derive_key(passphrase, salt, kdf.ops, kdf.memory_bytes)
    content = {
        "kdf": _KDF,
        "ops": kdf.ops,
        "mem": kdf.memory_bytes,
        "salt": salt,
        "pub": public,
        "box": seal_secret(key, encode(secrets), chance.bytes(NONCE_SIZE_BYTES)),
    }
    raw = _MAGIC + bytes([KEYSTORE_VERSION]) + encode(content)
    assert len(raw) <= KEYSTORE_SIZE_BYTES_MAX  # some 600 epochs; each is an act of a person
    write_durably(path, raw)


def read_public(path: Path) -> KeystorePublic:
    """Say whose Keystore this is, without the passphrase."""
    return _public(_read(path))


def unlock(path: Path, passphrase: str) -> Unlocked:
    """Open the Keystore, or raise and leave everything as it was.

    Before any key derivation: ``NoAccount``, ``FileUnreadable``, ``KeystoreDamaged``,
    ``KeystoreTooNew``, ``KdfOutOfRange``.  After it: ``WrongPassphrase``, or
    ``KeystoreDamaged`` when the box opens and does not fit what stands around it.
    """
    content = _read(path)
    key = derive_key(passphrase, content.salt, content.ops, content.mem)
    plain = open_secret(key, content.box)
    if plain is None:
        raise WrongPassphrase
    return _unlocked(path, content.pub, plain)


def change_passphrase(path: Path, old: str, new: str, chance: Chance) -> None:
    """Seal the same secrets under another passphrase, at the cost the file has."""
    content = _read(path)
    unlocked = unlock(path, old)
    write_keystore(path, unlocked, new, chance, KdfCost(content.ops, content.mem))


class _Public(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: _Key32
    device: _Key32
    name: Annotated[str, msgspec.Meta(max_length=256)]


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kdf: Literal["argon2id13"]
    ops: int
    mem: int
    salt: _Salt
    pub: _Public
    box: bytes


class _Secrets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Literal[1]
    identity: _Key32
    device_seed: _Key32
    seeds: tuple[tuple[_Epoch, _Key32, _Key32], ...]
    local_key: _Key32
    created_ms: Annotated[int, msgspec.Meta(ge=0, le=_INT64_MAX)]
    pub_hash: _Key32

    def __repr__(self) -> str:
        return "_Secrets()"


def _read(path: Path) -> _Content:
    """Check everything that needs no passphrase, cheapest first."""
    try:
        with path.open("rb") as file:
            raw = file.read(KEYSTORE_SIZE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NoAccount(path=path.parent) from None
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error

    if len(raw) > KEYSTORE_SIZE_BYTES_MAX:
        detail = f"size over {KEYSTORE_SIZE_BYTES_MAX} bytes"
        raise KeystoreDamaged(path=path, detail=detail)
    if len(raw) < _HEAD_SIZE_BYTES or not raw.startswith(_MAGIC):
        raise KeystoreDamaged(path=path, detail="first bytes are not HANSEKEY and a version")
    if (version := raw[len(_MAGIC)]) > KEYSTORE_VERSION:
        raise KeystoreTooNew(path=path, found=version, known=KEYSTORE_VERSION)
    if version < KEYSTORE_VERSION:
        raise KeystoreDamaged(path=path, detail=f"version {version}")

    content = _decode(path, "content", raw[_HEAD_SIZE_BYTES:], _Content)
    _check_range(path, "ops", content.ops, KDF_OPS_MIN, KDF_OPS_MAX)
    _check_range(path, "mem", content.mem, KDF_MEMORY_BYTES_MIN, KDF_MEMORY_BYTES_MAX)
    return content


def _check_range(path: Path, name: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        raise KdfOutOfRange(path=path, name=name, found=found, least=least, most=most)


def _decode(path: Path, part: str, raw: bytes, shape: type[_T]) -> _T:
    try:
        return decode(raw, shape)
    except RejectedEntry as error:
        # Not chained: the decoder's words about the sealed part could quote a secret.
        raise KeystoreDamaged(path=path, detail=f"{part}, {error.reason}") from None


def _public(content: _Content) -> KeystorePublic:
    public = content.pub
    return KeystorePublic(IdentityId(public.identity), AuthorKey(public.device), public.name)


def _unlocked(path: Path, public: _Public, plain: bytes) -> Unlocked:
    secrets = _decode(path, "sealed part", plain, _Secrets)
    signer = Signer.from_seed(secrets.device_seed)
    encoded = encode({"identity": public.identity, "device": public.device, "name": public.name})
    if hashlib.sha256(encoded).digest() != secrets.pub_hash:
        raise KeystoreDamaged(path=path, detail="public part was changed")
    if (secrets.identity, signer.public_key) != (public.identity, public.device):
        raise KeystoreDamaged(path=path, detail="sealed part belongs to another device")
    seeds = tuple(EpochSeeds(epoch, sale, buy) for epoch, sale, buy in secrets.seeds)
    if not _are_ordered(seeds):
        raise KeystoreDamaged(path=path, detail="sealed part, epochs out of order")
    return Unlocked(
        identity=IdentityId(secrets.identity),
        name=public.name,
        device_signer=signer,
        device_seed=secrets.device_seed,
        seeds=seeds,
        local_key=secrets.local_key,
        created_ms=secrets.created_ms,
    )


def _are_ordered(seeds: tuple[EpochSeeds, ...]) -> bool:
    epochs = [one.epoch for one in seeds]
    return epochs == sorted(set(epochs))


def _opens(path: Path, passphrase: str) -> bool:
    try:
        unlock(path, passphrase)
    except (NoAccount, WrongPassphrase):
        return False
    return True
