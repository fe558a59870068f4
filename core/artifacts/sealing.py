"""Sealing: an Artifact under its Content key, so that anybody may hold it before it is paid.

* Each Piece is read, checked against the plain tree, sealed under its own key, and hashed
  into the ciphertext's tree; what rotted on disk is never sealed.
* Killed or cancelled, sealing under the same salt goes on from what is durable, also over
  files that were sealed whole: a note of their roots waits beside the unfinished parts.
* ``check_sealed`` is all that must hold before a buyer pays: ids, salt, commitment, root
  and number of files as signed, every cipher Piece, and every hash of the plain leaf layer.
  The layer is what lets him name the wrong Leaf later, and show what it should have been.

Where the Content key comes from, and who gets it, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from hanse.core.artifacts.lanes import Lanes
from hanse.core.artifacts.manifest import SALT_SIZE_BYTES, SealedManifest, seal_root
from hanse.core.artifacts.parts import Progress
from hanse.core.artifacts.tree import hash_leaves, piece_count, piece_length
from hanse.core.crypto.stream import content_key_commitment, piece_key, xor_piece_into
from hanse.core.errors import VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from hanse.core.artifacts.lanes import Job, Slot
    from hanse.core.artifacts.manifest import FileEntry, Manifest
    from hanse.core.artifacts.pieces import PieceStore
    from hanse.core.ledger.kinds.fields import Seal
    from hanse.core.model.control import Control


class SealDiffers(VerificationFailed):
    """What is held is not what the Release's seal says; ``what`` is a stable word."""

    code = "seal.differs"
    text = "the seal says {expected} for {what}, held is {found}"
    fields = ("what", "expected", "found")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed Artifact, as a Release describes it."""

    manifest: SealedManifest
    seal_root: bytes
    ck_commit: bytes


def seal_artifact(
    manifest: Manifest, content_key: bytes, salt: bytes, store: PieceStore, control: Control
) -> Sealed:
    """Seal every file of ``manifest`` and hold the ciphertext.

    A salt never serves two plaintexts: the caller draws a new one for each Artifact.
    Raises ``PieceDamaged`` when a plain Piece is not what the Manifest says.
    """
    assert len(salt) == SALT_SIZE_BYTES
    commitment = content_key_commitment(content_key)
    store.check_room(
        sum(
            _to_write(store, salt, number, file, commitment)
            for number, file in enumerate(manifest.files)
        )
    )
    progress = Progress(control, "seal", manifest.size)
    progress.look()
    roots: list[bytes] = []
    with Lanes() as lanes:
        for number, file in enumerate(manifest.files):
            roots.append(seal_file(file, number, content_key, salt, store, lanes, progress))
    progress.look()
    for number in range(len(roots)):
        store.forget_made(_part_name(salt, number))
    sealed = SealedManifest(manifest.artifact_id, salt, commitment, tuple(roots))
    return Sealed(sealed, seal_root(manifest, roots), commitment)


def seal_file(
    file: FileEntry,
    number: int,
    content_key: bytes,
    salt: bytes,
    store: PieceStore,
    lanes: Lanes,
    progress: Progress,
    expected: bytes | None = None,
) -> bytes:
    """Seal one file and return its cipher root; with ``expected``, hold no other."""
    name = _part_name(salt, number)
    origin = _origin(salt, number, file, content_key_commitment(content_key))
    if expected is None and (root := store.made_before(name, origin, file.size)) is not None:
        progress.advance(file.size)
        return root
    with (
        store.open(file.root, file.size) as plain,
        store.part(name, origin, file.size) as part,
    ):
        part.make(_Sealing(file, number, content_key, store, plain), lanes, progress)
        root = store.install(part, expected)
    store.note_made(name, origin, root, file.size)
    return root


def _to_write(
    store: PieceStore, salt: bytes, number: int, file: FileEntry, commitment: bytes
) -> int:
    name, origin = _part_name(salt, number), _origin(salt, number, file, commitment)
    if store.made_before(name, origin, file.size) is not None:
        return 0
    return file.size - store.promised_bytes(name, origin, file.size)


def _part_name(salt: bytes, number: int) -> str:
    return f"seal-{salt.hex()}-{number}"


def _origin(salt: bytes, number: int, file: FileEntry, commitment: bytes) -> bytes:
    return sha256(salt + number.to_bytes(4, "big") + file.root + commitment).digest()


class _Sealing:
    """The ciphertext of one file, made from plain Pieces that are checked first."""

    def __init__(
        self, file: FileEntry, number: int, content_key: bytes, store: PieceStore, plain: BinaryIO
    ) -> None:
        self._file = file
        self._number = number
        self._content_key = content_key
        self._store = store
        self._plain = plain
        self._checker = store.layers.checker(file.root, file.size)

    def begin(self) -> None:
        """Keep nothing between two beginnings."""

    def fill(self, piece: int, slot: Slot) -> Sequence[Job]:
        """Read one plain Piece and seal it; the plain bytes are hashed beside."""
        size = piece_length(self._file.size, piece)
        source, made = slot.source[:size], slot.made[:size]
        self._store.read_into(self._plain, self._file.root, self._file.size, piece, source)
        key = piece_key(self._content_key, self._number, piece)
        xor_piece_into(key, source, made)
        return [(hash_leaves, source)]

    def again(self, view: memoryview) -> Sequence[Job]:
        """Hash nothing beside ciphertext that was made before."""
        del view
        return ()

    def check(self, piece: int, slot: Slot) -> None:
        """Refuse to seal what rotted."""
        _, plain_leaves = slot.results
        if not self._checker.is_piece(piece, plain_leaves):
            raise self._store.damaged(self._file.root, self._file.size, (piece,))


# --- ready to pay ---------------------------------------------------------------------------


def check_seal(manifest: Manifest, sealed: SealedManifest, seal: Seal, files: int) -> None:
    """Raise ``SealDiffers`` unless both Manifests are the ones the Release signed.

    ``seal`` and ``files`` are the Release's.  Root and files are computed from the
    Manifests: a true Proof would otherwise not climb to what was signed.
    """
    for what, expected, found in (
        ("artifact", seal.manifests[0], manifest.artifact_id),
        ("sealed_manifest", seal.manifests[1], sealed.sealed_id),
        ("artifact", manifest.artifact_id, sealed.artifact_id),
        ("salt", seal.salt, sealed.salt),
        ("ck_commit", seal.ck_commit, sealed.ck_commit),
        ("files", files, len(manifest.files)),
        ("files", files, len(sealed.roots)),
    ):
        if expected != found:
            raise SealDiffers(what=what, expected=expected, found=found)
    if (root := seal_root(manifest, sealed.roots)) != seal.seal_root:
        raise SealDiffers(what="seal_root", expected=seal.seal_root, found=root)


def check_sealed(
    manifest: Manifest,
    sealed: SealedManifest,
    seal: Seal,
    files: int,
    store: PieceStore,
    control: Control,
) -> None:
    """Raise unless everything is held and right that must be before a buyer pays.

    ``SealDiffers`` is the seller's fault or the wrong Release; ``ObjectMissing``,
    ``PieceDamaged`` and ``LayerMissing`` mean: fetch that again.
    """
    check_seal(manifest, sealed, seal, files)
    done = 0
    for file, root in zip(manifest.files, sealed.roots, strict=True):
        control.checkpoint("check", done, manifest.size)
        if damaged := store.verify(root, file.size, control):
            raise store.damaged(root, file.size, damaged)
        for piece in range(piece_count(file.size)):
            store.layers.piece_leaves(file.root, file.size, piece)
        done += file.size
    control.checkpoint("check", done, manifest.size)
