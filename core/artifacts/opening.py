"""Opening: from ciphertext and Content key to the plain files, every Leaf checked.

* The key must be the one the seal commits to before a byte is opened.
* Every Leaf is compared with the public plain leaf layer.  A Leaf that differs is judged in
  this order: ciphertext that is not what its own root says is **disk rot**, to be fetched
  again; right ciphertext that opens to something else is a **wrong Leaf**, the seller's
  fault, which can be proved.  Nobody is blamed before that check.
* Plain files go into the store, or into a folder, or nowhere: ``check_opens`` is how a
  seller makes sure, before he signs, that a buyer will be able to open.
* The informative SHA-256 of each file is computed on the way; a wrong one is told.

Whether anybody paid is not known here.
"""

from __future__ import annotations

import errno
import shutil
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from hanse.core.artifacts.faults import disk_faults
from hanse.core.artifacts.lanes import Digest, Lanes
from hanse.core.artifacts.layers import object_name
from hanse.core.artifacts.manifest import shown_path
from hanse.core.artifacts.parts import Progress
from hanse.core.artifacts.pieces import OtherContent
from hanse.core.artifacts.tree import (
    HASH_SIZE_BYTES,
    LEAVES_PER_PIECE,
    hash_leaves,
    piece_count,
    piece_length,
)
from hanse.core.crypto.stream import content_key_commitment, piece_key, xor_piece_into
from hanse.core.durable import make_private_folder, sync_folder, write_durably_with
from hanse.core.errors import Refused, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

    from hanse.core.artifacts.lanes import Job, Slot
    from hanse.core.artifacts.manifest import FileEntry, Manifest, SealedManifest
    from hanse.core.artifacts.parts import Part
    from hanse.core.artifacts.pieces import PieceStore
    from hanse.core.model.control import Control

_COPY_BYTES: Final = 1024 * 1024


class WrongContentKey(VerificationFailed):
    """The Content key is not the one the seal commits to."""

    code = "content.wrong_key"
    text = "the content key has commitment {found}, the seal says {expected}"
    fields = ("expected", "found")


class WrongLeaf(VerificationFailed):
    """A Leaf opens to other bytes than the plain Manifest promises: the seller's fault.

    ``file`` and ``block`` count from 0; the ciphertext was checked before this was said.
    """

    code = "content.wrong_leaf"
    text = "block {block} of file {file} ({path}) opens to {found}, not {expected}"
    fields = ("file", "path", "block", "expected", "found")


class TargetExists(Refused):
    """A file would have to be overwritten."""

    code = "content.target_exists"
    text = "{path} exists already"
    fields = ("path",)


@dataclass(frozen=True, slots=True)
class Opened:
    """What was opened; ``wrong_digests`` names files whose informative SHA-256 is wrong."""

    opened_bytes: int
    wrong_digests: tuple[str, ...]


def open_artifact(
    manifest: Manifest,
    sealed: SealedManifest,
    content_key: bytes,
    store: PieceStore,
    target: Path | None,
    control: Control,
) -> Opened:
    """Open every file into the store, or below the folder ``target``.

    Raises ``WrongContentKey``, ``WrongLeaf``, ``PieceDamaged`` (fetch it again and go on),
    ``ObjectMissing`` or ``LayerMissing``; files opened before stay.
    """
    check_content_key(sealed, content_key)
    if target is not None:
        for file in manifest.files:
            if (path := target.joinpath(*file.path.split("/"))).exists():
                raise TargetExists(path=path)
    wanted = [
        number
        for number, file in enumerate(manifest.files)
        if target is not None or not _is_held(store, file, control)
    ]
    total = sum(manifest.files[number].size for number in wanted)
    store.check_room(
        total - sum(_promised(store, sealed, number, manifest.files[number]) for number in wanted)
    )
    progress = Progress(control, "open", total)
    progress.look()
    wrong: list[str] = []
    with Lanes() as lanes:
        for number in wanted:
            file = manifest.files[number]
            opening = Opening(manifest, sealed, number, content_key, store)
            with (
                opening,
                store.part(_part_name(sealed, number), _origin(sealed, number), file.size) as part,
            ):
                part.make(opening, lanes, progress)
                if target is None:
                    store.install(part, file.root)
                else:
                    _hand_over(part, file, target)
            if opening.digest.digest() != file.sha256:
                wrong.append(file.path)
    progress.look()
    return Opened(total, tuple(wrong))


def check_opens(
    manifest: Manifest,
    sealed: SealedManifest,
    content_key: bytes,
    store: PieceStore,
    control: Control,
) -> None:
    """Open everything and write nothing; raise as ``open_artifact`` does.

    A seller calls this on his own ciphertext before he signs the Release.  A wrong
    digest is no fault here: the Manifest's was made by the import.
    """
    check_content_key(sealed, content_key)
    progress = Progress(control, "check", manifest.size)
    progress.look()
    with Lanes() as lanes:
        for number, file in enumerate(manifest.files):
            with Opening(manifest, sealed, number, content_key, store) as opening:

                def fill(piece: int, slot: Slot, opening: Opening = opening) -> Sequence[Job]:
                    return opening.open_piece(piece, slot)

                with closing(lanes.run(range(piece_count(file.size)), fill)) as moving:
                    for piece, slot in moving:
                        opening.check(piece, slot)
                        progress.advance(piece_length(file.size, piece))
    progress.look()


def check_content_key(sealed: SealedManifest, content_key: bytes) -> None:
    """Raise ``WrongContentKey`` unless the seal commits to this key."""
    if (found := content_key_commitment(content_key)) != sealed.ck_commit:
        raise WrongContentKey(expected=sealed.ck_commit, found=found)


class Opening:
    """One file being opened: reads ciphertext, checks plain Leaves, says whose fault it is."""

    def __init__(
        self,
        manifest: Manifest,
        sealed: SealedManifest,
        number: int,
        content_key: bytes,
        store: PieceStore,
    ) -> None:
        """Find the hashes both trees are checked against, or raise ``LayerMissing``."""
        self._file = manifest.files[number]
        self._number = number
        self._root = sealed.roots[number]
        self._content_key = content_key
        self._store = store
        self._plain = store.layers.checker(self._file.root, self._file.size)
        self._cipher: BinaryIO | None = None
        self.digest = Digest()

    def __enter__(self) -> Self:
        self._cipher = self._store.open(self._root, self._file.size)
        return self

    def __exit__(self, *_: object) -> None:
        if self._cipher is not None:
            self._cipher.close()

    def begin(self) -> None:
        """Start the digest anew."""
        self.digest = Digest()

    def fill(self, piece: int, slot: Slot) -> Sequence[Job]:
        """Open one Piece; its plain bytes go into the digest beside the tree."""
        self.open_piece(piece, slot)
        return self.again(slot.made[: piece_length(self._file.size, piece)])

    def open_piece(self, piece: int, slot: Slot) -> Sequence[Job]:
        """Read and open one Piece; return the job that hashes its Leaves."""
        assert self._cipher is not None
        size = piece_length(self._file.size, piece)
        source, made = slot.source[:size], slot.made[:size]
        self._store.read_into(self._cipher, self._root, self._file.size, piece, source)
        xor_piece_into(piece_key(self._content_key, self._number, piece), source, made)
        return [(hash_leaves, made)]

    def again(self, view: memoryview) -> Sequence[Job]:
        """Take plain bytes into the digest."""
        return [(self.digest.update, view)]

    def check(self, piece: int, slot: Slot) -> None:
        """Compare a Piece's Leaves with the plain tree; find out whose fault a difference is."""
        leaves = slot.results[0]
        if self._plain.is_piece(piece, leaves):
            return
        root, size = self._root, self._file.size
        cipher = hash_leaves(slot.source[: piece_length(size, piece)])
        if not self._store.layers.checker(root, size).is_piece(piece, cipher):
            raise self._store.damaged(root, size, (piece,))
        promised = self._store.layers.piece_leaves(self._file.root, size, piece)
        for start in range(0, len(leaves), HASH_SIZE_BYTES):
            expected, found = (it[start : start + HASH_SIZE_BYTES] for it in (promised, leaves))
            if expected != found:
                raise WrongLeaf(
                    file=self._number,
                    path=shown_path(self._file.path),
                    block=piece * LEAVES_PER_PIECE + start // HASH_SIZE_BYTES,
                    expected=expected,
                    found=found,
                )
        raise AssertionError("leaves that are equal have one node")


def _is_held(store: PieceStore, file: FileEntry, control: Control) -> bool:
    """Say whether the plain file is here already and whole."""
    return store.has(file.root, file.size) and not store.verify(file.root, file.size, control)


def _promised(store: PieceStore, sealed: SealedManifest, number: int, file: FileEntry) -> int:
    return store.promised_bytes(_part_name(sealed, number), _origin(sealed, number), file.size)


def _part_name(sealed: SealedManifest, number: int) -> str:
    return f"open-{sealed.sealed_id.hex()}-{number}"


def _origin(sealed: SealedManifest, number: int) -> bytes:
    return sha256(sealed.roots[number] + number.to_bytes(4, "big")).digest()


def _hand_over(part: Part, file: FileEntry, target: Path) -> None:
    """Move a finished part to its place in a folder, also on another disk."""
    root, _ = part.finish()
    if root != file.root:
        raise OtherContent(object_name(file.root, file.size), "root")
    path = target.joinpath(*file.path.split("/"))
    make_private_folder(path.parent)
    if path.exists():
        raise TargetExists(path=path)
    with disk_faults(path):
        try:
            part.data_path.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with part.data_path.open("rb") as opened:
                write_durably_with(path, lambda to: shutil.copyfileobj(opened, to, _COPY_BYTES))
    part.discard()
