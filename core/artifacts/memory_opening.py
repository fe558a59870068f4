"""Opening a sealed Artifact in memory only, with piece keys and without the Content key.

* The piece keys of an Artifact are 32 bytes for each Piece, files in the order of the Manifest;
  a file of no bytes has none.  They come from the Content key one way: who holds them can open
  this one copy, and neither the answers sealed under T nor anything else.
* Each Piece is opened, compared with the public plain leaf layer, handed on, and its buffer
  wiped.  Nothing is written; at most one Piece is plain at a time here.
* A Piece that differs is looked at before anybody is blamed: ciphertext that is not what its
  root says is disk rot, right ciphertext means that a key is wrong.

Whoever takes the Pieces holds the model in his memory: this deters copying, and cannot prevent
it.  How often it may be run is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.manifest import shown_path
from hanse.core.artifacts.tree import hash_leaves, piece_count, piece_length
from hanse.core.crypto.stream import piece_key, xor_piece_into
from hanse.core.errors import VerificationFailed
from hanse.core.limits import PIECE_KEYS_SIZE_BYTES_MAX, PIECE_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.artifacts.manifest import Manifest, SealedManifest
    from hanse.core.artifacts.pieces import PieceStore

PIECE_KEY_SIZE_BYTES: Final = 32


class BadPieceKeys(VerificationFailed):
    """The list of piece keys is not as long as the Manifest wants it, or longer than allowed."""

    code = "content.bad_piece_keys"
    text = "{found_bytes} bytes of piece keys, {expected_bytes} belong to this artifact"
    fields = ("found_bytes", "expected_bytes")


class WrongPieceKey(VerificationFailed):
    """Right ciphertext opens to something else than the Manifest promises; from 0."""

    code = "content.wrong_piece_key"
    text = "piece {piece} of file {file} ({path}) does not open with the key that was given"
    fields = ("file", "path", "piece")


def piece_keys(content_key: bytes, manifest: Manifest) -> bytes:
    """Derive all piece keys of an Artifact: 32 bytes a Piece, files in Manifest order.

    Raise ``BadPieceKeys`` for an Artifact whose list would be longer than a grant can carry.
    """
    _check_length(_keys_length(manifest), manifest)
    return b"".join(
        piece_key(content_key, number, piece)
        for number, file in enumerate(manifest.files)
        for piece in range(piece_count(file.size))
    )


def check_piece_keys(keys: bytes | bytearray, manifest: Manifest) -> None:
    """Raise ``BadPieceKeys`` unless ``keys`` has the length this Artifact needs."""
    _check_length(len(keys), manifest)


class MemoryOpening:
    """A sealed Artifact and its piece keys; its text representation shows neither key nor file."""

    def __init__(
        self, manifest: Manifest, sealed: SealedManifest, keys: bytes, store: PieceStore
    ) -> None:
        """Take a copy of the keys that ``erase`` can wipe; raise ``BadPieceKeys``."""
        check_piece_keys(keys, manifest)
        self.manifest = manifest
        self._sealed = sealed
        self._store = store
        self._keys = bytearray(keys)

    def __repr__(self) -> str:
        return f"MemoryOpening({self.manifest.artifact_id.hex()})"

    def erase(self) -> None:
        """Wipe the keys; afterwards nothing opens any more."""
        self._keys[:] = bytes(len(self._keys))

    def number_of(self, path: str) -> int | None:
        """Return which file of the Artifact ``path`` is, from 0, or ``None``."""
        found = (number for number, file in enumerate(self.manifest.files) if file.path == path)
        return next(found, None)

    def pieces(self, number: int) -> Iterator[memoryview]:
        """Open one file Piece by Piece; each view holds plain bytes until the next is asked for.

        Raise ``WrongPieceKey``, ``PieceDamaged`` (fetch it again), ``ObjectMissing`` or
        ``LayerMissing``.  The buffer is wiped however this ends.
        """
        file, root = self.manifest.files[number], self._sealed.roots[number]
        if not file.size:
            return
        plain = self._store.layers.checker(file.root, file.size)
        before = sum(piece_count(one.size) for one in self.manifest.files[:number])
        source, made = bytearray(PIECE_SIZE_BYTES), bytearray(PIECE_SIZE_BYTES)
        try:
            with self._store.open(root, file.size) as cipher:
                for piece in range(piece_count(file.size)):
                    size = piece_length(file.size, piece)
                    sealed, opened = memoryview(source)[:size], memoryview(made)[:size]
                    self._store.read_into(cipher, root, file.size, piece, sealed)
                    start = (before + piece) * PIECE_KEY_SIZE_BYTES
                    key = bytes(self._keys[start : start + PIECE_KEY_SIZE_BYTES])
                    xor_piece_into(key, sealed, opened)
                    if not plain.is_piece(piece, hash_leaves(opened)):
                        raise self._fault(number, piece, sealed)
                    yield opened
        finally:
            made[:] = bytes(PIECE_SIZE_BYTES)

    def _fault(self, number: int, piece: int, sealed: memoryview) -> Exception:
        """Find out whose fault a Piece is that opens to something else."""
        file, root = self.manifest.files[number], self._sealed.roots[number]
        if not self._store.layers.checker(root, file.size).is_piece(piece, hash_leaves(sealed)):
            return self._store.damaged(root, file.size, (piece,))
        return WrongPieceKey(file=number, path=shown_path(file.path), piece=piece)


def _keys_length(manifest: Manifest) -> int:
    return PIECE_KEY_SIZE_BYTES * sum(piece_count(file.size) for file in manifest.files)


def _check_length(found: int, manifest: Manifest) -> None:
    expected = min(_keys_length(manifest), PIECE_KEYS_SIZE_BYTES_MAX)
    if found != expected:
        raise BadPieceKeys(found_bytes=found, expected_bytes=expected)
