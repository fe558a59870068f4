"""From a file or folder on disk to an Artifact in the store, in one pass.

* Each Piece is read once, hashed twice (the tree, and the digest of the whole file in a
  second thread) and written; memory stays the same for 1 KB and for 50 GB.
* Room is checked first, for the files and for their ciphertext to come.
* A file the store may already have, by its size, is first only read and compared; when
  it is one, nothing is copied.  Otherwise it is begun again and written.
* Killed or cancelled, it goes on from what is durable, if the source has the same path,
  size, time and inode; else it starts over.
* The source must be the same before and after, each file and the list of them.

What format the files have, and what they are worth, is not known here.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from hanse.core.artifacts.lanes import Digest, Lanes, read_whole
from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.manifest import FileEntry, Manifest
from hanse.core.artifacts.parts import Progress
from hanse.core.artifacts.sources import check_unchanged, list_source, open_source
from hanse.core.artifacts.tree import hash_leaves, piece_count, piece_length
from hanse.core.ledger.codec import encode
from hanse.core.limits import PIECE_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO
    from pathlib import Path

    from hanse.core.artifacts.lanes import Job, Slot
    from hanse.core.artifacts.pieces import PieceStore
    from hanse.core.artifacts.sources import Source, SourceFile
    from hanse.core.model.control import Control

_CIPHER_TOO = 2  # the plain bytes, and as many again once they are sealed


@dataclass(frozen=True, slots=True)
class Imported:
    """An Artifact that is now in the store, and how much of it was there before.

    ``left_out`` names what the desktop had left in the folder and was not imported.
    """

    manifest: Manifest
    reused_bytes: int
    copied_bytes: int
    left_out: tuple[str, ...]


def import_artifact(
    source: Path, store: PieceStore, control: Control, *, name: str | None = None
) -> Imported:
    """Bring ``source`` into the store; ``name`` renames a single file.

    Raises what names the first thing in the way; what was copied whole by then stays in
    the store and is found again, or swept after a while.
    """
    listed = list_source(source, name)
    store.check_room(sum(_to_write(store, file) for file in listed.files) * _CIPHER_TOO)
    progress = Progress(control, "import", listed.size)
    progress.look()
    entries: list[FileEntry] = []
    reused = 0
    with Lanes() as lanes:
        for file in listed.files:
            entry, was_there = _import_file(listed, file, store, lanes, progress)
            entries.append(entry)
            reused += file.size if was_there else 0
    check_unchanged(listed, list_source(source, name))
    progress.look()
    return Imported(Manifest.of(entries), reused, listed.size - reused, listed.left_out)


def _to_write(store: PieceStore, file: SourceFile) -> int:
    if store.roots_of_size(file.size):  # perhaps one of them; if not, room is checked again
        return 0
    return file.size - store.promised_bytes(_part_name(file), _origin(file), file.size)


def _part_name(file: SourceFile) -> str:
    return "import-" + sha256(os.fsencode(file.place)).hexdigest()


def _origin(file: SourceFile) -> bytes:
    return sha256(encode([file.size, file.mtime_ns, file.inode])).digest()


def _import_file(
    source: Source, file: SourceFile, store: PieceStore, lanes: Lanes, progress: Progress
) -> tuple[FileEntry, bool]:
    with open_source(source, file) as stream:
        making = _FromSource(file, stream)
        root = _find_equal(making, store, lanes, progress)
        was_there = root is not None
        if root is None:
            root = _copy(making, store, lanes, progress)
        making.check_end()
    return FileEntry(file.path, file.size, root, making.digest.digest()), was_there


def _copy(making: _FromSource, store: PieceStore, lanes: Lanes, progress: Progress) -> bytes:
    file = making.file
    name, origin = _part_name(file), _origin(file)
    missing = file.size - store.promised_bytes(name, origin, file.size)
    store.check_room(missing * _CIPHER_TOO)
    with store.part(name, origin, file.size) as part:
        part.make(making, lanes, progress)
        making.check_end()
        return store.install(part)


def _find_equal(
    making: _FromSource, store: PieceStore, lanes: Lanes, progress: Progress
) -> bytes | None:
    """Return the root of the object that has just the source's bytes, or None.

    A Piece of it that rotted is put right on the way.
    """
    file, size = making.file, making.file.size
    roots = store.roots_of_size(size)
    if not roots:
        return None
    before = progress.done
    making.begin()

    def fill(piece: int, slot: Slot) -> list[Job]:
        more = making.fill(piece, slot)
        return [(hash_leaves, slot.made[: piece_length(size, piece)]), *more]

    with closing(lanes.run(range(piece_count(size)), fill)) as moving:
        for piece, slot in moving:
            view = slot.made[: piece_length(size, piece)]
            leaves = slot.results[0]
            roots = [root for root in roots if _has_piece(store, root, size, piece, leaves)]
            if not roots:
                progress.done = before
                return None
            for root in roots:
                if store.piece_as_held(root, size, piece, slot.source) != bytes(view):
                    store.repair_piece(root, size, piece, view)
            progress.advance(len(view))
    if not making.is_at(store.path(roots[0], size)):
        store.touch(roots[0], size)  # or the source's own time would change
    store.drop_part(_part_name(file))
    return roots[0]


def _has_piece(store: PieceStore, root: bytes, size: int, piece: int, leaves: bytes) -> bool:
    try:
        return store.layers.checker(root, size).is_piece(piece, leaves)
    except LayerMissing:
        return False


class _FromSource:
    """The bytes of one listed file, and the digest of all of them."""

    def __init__(self, file: SourceFile, stream: FileIO) -> None:
        self.file = file
        self._stream = stream
        self._at = 0
        self.digest = Digest()

    def begin(self) -> None:
        """Start the digest anew."""
        self.digest = Digest()

    def fill(self, piece: int, slot: Slot) -> Sequence[Job]:
        """Read one Piece; a file that ends early has changed."""
        view = slot.made[: piece_length(self.file.size, piece)]
        begin = piece * PIECE_SIZE_BYTES
        if begin != self._at:
            self._stream.seek(begin)
        got = read_whole(self._stream.readinto, view)
        self._at = begin + got
        if got != len(view):
            raise self.file.changed("size", self.file.size, begin + got)
        return self.again(view)

    def again(self, view: memoryview) -> Sequence[Job]:
        """Take bytes into the digest, wherever they were read."""
        return [(self.digest.update, view)]

    def is_at(self, path: Path) -> bool:
        """Say whether the source is a second name of the file at ``path``."""
        return os.path.samestat(os.fstat(self._stream.fileno()), path.stat())

    def check(self, piece: int, slot: Slot) -> None:
        """Accept any bytes: what was read is what is imported."""

    def check_end(self) -> None:
        """Raise ``SourceChanged`` unless the file is still the one that was listed."""
        state = os.fstat(self._stream.fileno())
        self._at = self._stream.seek(self.file.size)
        if self._stream.read(1):
            raise self.file.changed("size", self.file.size, max(state.st_size, self.file.size + 1))
        self.file.check_same(state)
