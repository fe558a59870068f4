"""The content store: files named by their BEP 52 root and size, plain and sealed alike.

* ``store/blobs/ab/<root>.<size>``, one file for each object, mode 0444; equal files are
  one object.  ``store/layers`` holds what they are checked against.
* An object gets its name last: after its bytes are synced and folded to the root.  So
  whatever has a name was whole once, and nothing half-written is ever listed.
* Disks rot: ``verify`` finds the Pieces that do, ``read_piece`` never returns one, and
  ``repair_piece`` takes only the right bytes.
* What nobody keeps is swept once it is old enough to be nobody's work in hand.

Which Artifact a file belongs to, and who may have it, is not known here.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.artifacts.faults import disk_faults, read_faults
from hanse.core.artifacts.gathering import Gathering, LeafGathering, write_record
from hanse.core.artifacts.lanes import Lanes, Slot, read_whole
from hanse.core.artifacts.layers import LayerMissing, Layers, object_name, parse_name
from hanse.core.artifacts.parts import (
    SUFFIXES,
    Part,
    Progress,
    Record,
    drop_part,
    is_in_use,
    part_at,
    read_record,
)
from hanse.core.artifacts.tree import (
    EMPTY_ROOT,
    LEAVES_PER_PIECE,
    hash_leaves,
    piece_count,
    piece_length,
    piece_path,
)
from hanse.core.durable import make_private_folder, sync_folder, write_durably
from hanse.core.errors import EnvironmentFault, VerificationFailed
from hanse.core.ledger.codec import encode
from hanse.core.limits import (
    PART_MS_MAX,
    PIECE_SIZE_BYTES,
    SHOWN_PIECES_MAX,
    SPACE_RESERVE_BYTES,
    UNSYNCED_BYTES_MAX,
)
from hanse.core.model.control import Control
from hanse.core.model.transfer import Bitmap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hanse.core.artifacts.lanes import Job

_OBJECT_MODE: Final = 0o444
_MENDING_MODE: Final = 0o600


class ObjectMissing(EnvironmentFault):
    """The bytes of a file are not held, or not all of them."""

    code = "content.missing"
    text = "object {name} is not held in {path}"
    fields = ("name", "path")


class PieceDamaged(EnvironmentFault):
    """Pieces on disk are no longer what their root promises; they can be fetched or made again."""

    code = "content.damaged"
    text = "object {name} in {path} has {count} damaged pieces, from 0: {first}"
    fields = ("name", "path", "count", "first")

    def __init__(self, name: str, path: Path, pieces: Sequence[int]) -> None:
        """Show the first ones; ``pieces`` has all."""
        super().__init__(
            name=name, path=path, count=len(pieces), first=tuple(pieces[:SHOWN_PIECES_MAX])
        )
        self.pieces = tuple(pieces)


class OtherContent(VerificationFailed):
    """Bytes that came are not those of the object they were announced as.

    ``where`` names the object, ``reason`` is ``length``, ``root`` or ``piece``; ``found`` is the
    root that came instead, where all bytes did.
    """

    code = "content.other"
    text = "the bytes are not those of object {where}: {reason}"

    def __init__(self, where: str, reason: str, found: bytes = b"") -> None:
        """Name the object and, by a stable word, what does not fit."""
        super().__init__(where=where, reason=reason)
        self.found = found


class NotEnoughSpace(EnvironmentFault):
    """What is about to be written does not fit on the disk; nothing was begun."""

    code = "store.no_room"
    text = "{path} has {have_bytes} bytes free, {need_bytes} are needed"
    fields = ("path", "need_bytes", "have_bytes")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One file in the store and what it takes on the disk."""

    root: bytes
    size: int
    disk_bytes: int
    mtime_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What the content store takes on the disk."""

    objects: int
    object_bytes: int
    layer_bytes: int
    part_bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed."""

    objects: int
    parts: int
    freed_bytes: int


def disk_free(folder: Path) -> int:
    """Return how many bytes may still be written where ``folder`` is, or will be."""
    with read_faults(folder):
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free


class PieceStore:
    """All content of one data folder."""

    def __init__(
        self,
        folder: Path,
        *,
        free: Callable[[Path], int] = disk_free,
        step_bytes: int = UNSYNCED_BYTES_MAX,
    ) -> None:
        """Use ``folder`` (the Account's data folder); nothing is made yet."""
        self.folder = folder / "store"
        self._blobs = self.folder / "blobs"
        self._parts = self.folder / "part"
        self.layers = Layers(self.folder)
        self._free = free
        self._step_bytes = step_bytes

    # --- what is held -----------------------------------------------------------------------

    def path(self, root: bytes, size: int) -> Path:
        """Return where an object lies, or would lie."""
        name = object_name(root, size)
        return self._blobs / name[:2] / name

    def has(self, root: bytes, size: int) -> bool:
        """Say whether an object is held, by name and length; ``verify`` looks at its bytes."""
        if size == 0 and root == EMPTY_ROOT:
            return self._hold_empty()
        try:
            return self.path(root, size).stat().st_size == size
        except OSError:
            return False

    def _hold_empty(self) -> bool:
        """Hold the file of no bytes: plain and sealed are one, and nobody needs to bring it."""
        path = self.path(EMPTY_ROOT, 0)
        if not path.exists():
            make_private_folder(path.parent)
            with disk_faults(path):
                path.touch(_OBJECT_MODE)
        return True

    def open(self, root: bytes, size: int) -> BinaryIO:
        """Open an object for reading as it lies there, or raise ``ObjectMissing``."""
        if not self.has(root, size):
            raise self._missing(root, size)
        path = self.path(root, size)
        with read_faults(path):
            return path.open("rb", buffering=0)

    def leaves(self, root: bytes, size: int) -> bytes:
        """Return the leaf layer, checked; held perhaps without the object itself."""
        return self.layers.leaves(root, size)

    def layer(self, root: bytes, size: int) -> bytes:
        """Return the Piece layer, checked; empty for an object of up to 1 MiB."""
        return self.layers.layer(root, size)

    def read_piece(self, root: bytes, size: int, piece: int) -> bytes:
        """Return one Piece, or raise ``PieceDamaged`` when it is not what the root promises."""
        buffer = memoryview(bytearray(piece_length(size, piece)))
        with self.open(root, size) as file:
            self.read_into(file, root, size, piece, buffer)
        if not self.layers.checker(root, size).is_piece(piece, hash_leaves(buffer)):
            raise self.damaged(root, size, (piece,))
        return bytes(buffer)

    def read_into(
        self, file: BinaryIO, root: bytes, size: int, piece: int, view: memoryview
    ) -> None:
        """Read one Piece as it lies there; a file that ends early is a damaged Piece."""
        with read_faults(self.path(root, size)):
            file.seek(piece * PIECE_SIZE_BYTES)
            got = read_whole(file.readinto, view)  # type: ignore[attr-defined]  # a raw file
        if got != len(view):
            raise self.damaged(root, size, (piece,))

    def piece_as_held(self, root: bytes, size: int, piece: int, buffer: memoryview) -> bytes:
        """Return one Piece as it lies there, by way of ``buffer``; short when the file is."""
        path = self.path(root, size)
        with read_faults(path), path.open("rb", buffering=0) as file:
            file.seek(piece * PIECE_SIZE_BYTES)
            return bytes(buffer[: read_whole(file.readinto, buffer[: piece_length(size, piece)])])

    def path_of_block(self, root: bytes, size: int, index: int) -> list[bytes]:
        """Return the path from block ``index`` to the root, for a Proof."""
        leaves = self.layers.piece_leaves(root, size, index // LEAVES_PER_PIECE)
        return piece_path(leaves, self.layer(root, size), index)

    def objects(self) -> Iterator[StoredObject]:
        """Yield every object in the order of the roots, whole or not."""
        for path in sorted(self._blobs.glob("??/*")):
            if (parsed := parse_name(path.name)) is None:
                continue
            try:
                state = path.stat()
            except OSError:  # swept meanwhile
                continue
            yield StoredObject(*parsed, state.st_size, state.st_mtime_ns // 1_000_000)

    def roots_of_size(self, size: int) -> list[bytes]:
        """Return the roots of all objects with this size: what a new file may be equal to."""
        end = f".{size}"
        names = (path.name for path in sorted(self._blobs.glob(f"??/*{end}")))
        parsed = (parse_name(name) for name in names)
        return [found[0] for found in parsed if found is not None and self.has(*found)]

    def usage(self) -> Usage:
        """Count what everything takes on the disk."""
        sizes = [found.disk_bytes for found in self.objects()]
        layers = sum(path.stat().st_size for _, _, path in self.layers.names())
        return Usage(len(sizes), sum(sizes), layers, sum(map(_part_bytes, self._part_files())))

    def free_bytes(self) -> int:
        """Return how many bytes the disk still takes."""
        return self._free(self.folder)

    def check_room(self, coming_bytes: int) -> None:
        """Raise ``NotEnoughSpace`` unless so many bytes fit and the reserve stays free."""
        if not coming_bytes:
            return
        need, have = coming_bytes + SPACE_RESERVE_BYTES, self.free_bytes()
        if need > have:
            raise NotEnoughSpace(path=self.folder, need_bytes=need, have_bytes=have)

    # --- bringing in ------------------------------------------------------------------------

    def part(self, name: str, origin: bytes, size: int) -> AbstractContextManager[Part]:
        """Open the part ``name``; ``part_at`` says what is left of it when it fails."""
        return part_at(self._parts / name, origin, size, step_bytes=self._step_bytes)

    def promised_bytes(self, name: str, origin: bytes, size: int) -> int:
        """Return how much of a part an earlier run left, by its record."""
        record = self._read_record(name, ".have", origin, size)
        return record.done if record is not None else 0

    def drop_part(self, name: str) -> None:
        """Remove what an earlier run may have left of ``name``."""
        with disk_faults(self._parts):
            drop_part(self._parts / name)

    def made_before(self, name: str, origin: bytes, size: int) -> bytes | None:
        """Return the root of what an earlier run made as ``name``, if it is still held."""
        record = self._read_record(name, ".made", origin, size)
        is_held = record is not None and self.has(record.hash, size)
        return record.hash if record is not None and is_held else None

    def note_made(self, name: str, origin: bytes, root: bytes, size: int) -> None:
        """Note for a later run that ``name`` became the object ``root``."""
        write_durably(self._parts / f"{name}.made", encode(Record(1, origin, size, size, root)))

    def forget_made(self, name: str) -> None:
        """Take such a note away, when all that belongs together is made."""
        path = self._parts / f"{name}.made"
        with disk_faults(path):
            path.unlink(missing_ok=True)

    def _read_record(self, name: str, suffix: str, origin: bytes, size: int) -> Record | None:
        record = read_record(self._parts / (name + suffix))
        is_same = record is not None and (record.origin, record.size) == (origin, size)
        return record if is_same else None

    def gathering(self, root: bytes, size: int) -> Gathering:
        """Return what takes the Pieces of an object in any order; needs its Piece layer."""
        return Gathering(self._parts / gathering_name(root, size), self.layers.checker(root, size))

    def leaf_gathering(self, root: bytes, size: int) -> LeafGathering:
        """Return what takes the leaf hashes of a file in any order; needs its Piece layer."""
        base = self._parts / leaf_gathering_name(root, size)
        return LeafGathering(base, self.layers.checker(root, size))

    def install_leaves(self, gathered: LeafGathering) -> None:
        """Give a leaf layer that came as a whole its name."""
        path, layer = gathered.finish()
        if not self.layers.has(gathered.root, gathered.size):
            self.layers.install(gathered.root, gathered.size, path, layer)
        gathered.discard()

    def take_apart(self, root: bytes, size: int, damaged: Sequence[int]) -> None:
        """Turn an object with damaged Pieces back into one on its way, to be gathered again.

        Without the hashes it is checked against, nothing of it can be kept.
        """
        path, base = self.path(root, size), self._parts / gathering_name(root, size)
        try:
            self.layers.checker(root, size)
        except LayerMissing:
            self.remove(root, size)
            return
        have = Bitmap.full(piece_count(size))
        for piece in damaged:
            have.discard(piece)
        write_record(base, root, size, have)
        with disk_faults(path):
            path.chmod(_MENDING_MODE)
            os.truncate(path, size)
            path.replace(base.with_name(base.name + ".data"))
            sync_folder(base.parent)
            sync_folder(path.parent)

    def install(self, part: Part | Gathering, expected: bytes | None = None) -> bytes:
        """Give a finished part its name and return its root; an equal object stays as it is.

        Raises ``OtherContent`` when the root is not the ``expected`` one.
        """
        root, layer = part.finish()
        if expected is not None and root != expected:
            raise OtherContent(object_name(expected, part.size), "root", root)
        path = self.path(root, part.size)
        self.layers.install(root, part.size, part.leaves_path, layer)
        if self.has(root, part.size):
            self.touch(root, part.size)
        else:
            make_private_folder(path.parent)
            with disk_faults(path):
                part.data_path.chmod(_OBJECT_MODE)
                part.data_path.replace(path)
                sync_folder(path.parent)
        part.discard()
        return root

    def touch(self, root: bytes, size: int) -> None:
        """Make an object young, so that no sweep takes it before a row names it."""
        path = self.path(root, size)
        with disk_faults(path):
            os.utime(path)

    def add(self, root: bytes, size: int, stream: BinaryIO, control: Control | None = None) -> None:
        """Bring in an object from a stream, or raise ``OtherContent`` and hold nothing of it."""
        progress = Progress(control or Control(), "add", size)
        name = f"add-{object_name(root, size)}"
        with Lanes() as lanes, self.part(name, root, size) as part:
            part.start_over()  # a stream cannot be read from its middle
            part.make(_FromStream(stream, root, size), lanes, progress)
            if stream.read(1):
                raise OtherContent(object_name(root, size), "length")
            self.install(part, root)

    # --- health -----------------------------------------------------------------------------

    def verify(self, root: bytes, size: int, control: Control) -> tuple[int, ...]:
        """Hash an object again and return the numbers of its damaged Pieces.

        Hashes on disk that rotted are put right from bytes that are right.
        """
        path = self.path(root, size)
        if not self.has(root, size) and not path.is_file():
            raise self._missing(root, size)
        try:
            checker = self.layers.checker(root, size)
        except LayerMissing:
            return self._verify_without_layers(root, size, control)
        damaged: list[int] = []
        with read_faults(path), path.open("rb", buffering=0) as file:
            for piece, leaves in self._hashed(file, size, control):
                if not checker.is_piece(piece, leaves):
                    damaged.append(piece)
                elif not self.layers.holds_leaves(root, size, piece, leaves):
                    self.layers.mend(root, size, piece, leaves)
            if file.read(1) and piece_count(size) - 1 not in damaged and size:
                damaged.append(piece_count(size) - 1)  # bytes behind the end: cut by a repair
        return tuple(damaged)

    def _verify_without_layers(self, root: bytes, size: int, control: Control) -> tuple[int, ...]:
        """Make lost layers again from the bytes; if those rotted too, nothing can be told."""
        path = self.path(root, size)
        everything = tuple(range(piece_count(size)))
        if not self.has(root, size):
            return everything
        try:
            with read_faults(path), path.open("rb", buffering=0) as file:
                leaves = (leaves for _, leaves in self._hashed(file, size, control))
                self.layers.keep(root, size, leaves)
        except LayerMissing:
            return everything
        return ()

    def _hashed(self, file: BinaryIO, size: int, control: Control) -> Iterator[tuple[int, bytes]]:
        progress = Progress(control, "verify", size)
        buffer = memoryview(bytearray(min(size, PIECE_SIZE_BYTES)))
        for piece in range(piece_count(size)):
            view = buffer[: piece_length(size, piece)]
            got = read_whole(file.readinto, view)  # type: ignore[attr-defined]  # a raw file
            yield piece, hash_leaves(view[:got])
            progress.advance(len(view))
        progress.look()

    def repair_piece(self, root: bytes, size: int, piece: int, data: bytes | memoryview) -> None:
        """Put a damaged Piece right; raise ``OtherContent`` if ``data`` is not that Piece."""
        is_in_range = 0 <= piece < piece_count(size)
        if not is_in_range or len(data) != piece_length(size, piece):
            raise OtherContent(object_name(root, size), "length")
        leaves = hash_leaves(data)
        if not self.layers.checker(root, size).is_piece(piece, leaves):
            raise OtherContent(object_name(root, size), "piece")
        path = self.path(root, size)
        with disk_faults(path):
            path.chmod(_MENDING_MODE)
            with path.open("r+b") as file:
                file.seek(piece * PIECE_SIZE_BYTES)
                file.write(data)
                if os.fstat(file.fileno()).st_size > size or piece == piece_count(size) - 1:
                    file.truncate(size)
                file.flush()
                os.fsync(file.fileno())
            path.chmod(_OBJECT_MODE)
        self.layers.mend(root, size, piece, leaves)

    # --- letting go -------------------------------------------------------------------------

    def remove(self, root: bytes, size: int) -> None:
        """Drop an object and its layers; nothing happens when it is not held."""
        path = self.path(root, size)
        with disk_faults(path):
            if os.name == "nt":  # not verified: a read-only file is not deleted there
                path.chmod(_MENDING_MODE)
            path.unlink(missing_ok=True)
        self.layers.remove(root, size)

    def sweep(
        self,
        keep: Callable[[bytes, int], bool],
        now_ms: int,
        min_age_ms: int,
        *,
        keep_layers: Callable[[bytes, int], bool] = lambda _root, _size: False,
        keep_part: Callable[[str], bool] = lambda _name: False,
    ) -> Swept:
        """Remove objects and layers that ``keep`` does not want and that are old enough.

        Of a file that is only held sealed ``keep_layers`` may want the layers: what is opened is
        checked against them.  Parts that nobody went on with go too, after a day, but for those
        that ``keep_part`` wants by name.
        """
        objects = parts = freed = 0
        for found in list(self.objects()):
            is_old = now_ms - found.mtime_ms >= min_age_ms
            if is_old and not keep(found.root, found.size):
                self.remove(found.root, found.size)
                objects += 1
                freed += found.disk_bytes
        for root, size, path in list(self.layers.names()):
            if _is_older(path, now_ms, min_age_ms) and not (
                self.has(root, size) or keep(root, size) or keep_layers(root, size)
            ):
                freed += _disk_bytes(path)
                self.layers.remove(root, size)
        for path in list(self._part_files()):
            base = path.with_name(path.name.removesuffix(path.suffix))
            is_old = _is_older(path, now_ms, PART_MS_MAX) and not is_in_use(base)
            if is_old and not keep_part(base.name):
                freed += _part_bytes(path)
                with disk_faults(path):
                    path.unlink(missing_ok=True)
                parts += path.suffix == SUFFIXES[-1]
        return Swept(objects, parts, freed)

    def _part_files(self) -> Iterator[Path]:
        for path in sorted(self._parts.glob("*")):
            if path.suffix in SUFFIXES or path.suffix == ".new":  # a record not yet renamed
                yield path

    def damaged(self, root: bytes, size: int, pieces: Sequence[int]) -> PieceDamaged:
        """Name damaged Pieces, as an error to raise."""
        return PieceDamaged(object_name(root, size), self._blobs, pieces)

    def _missing(self, root: bytes, size: int) -> ObjectMissing:
        return ObjectMissing(name=object_name(root, size), path=self._blobs)


@dataclass(slots=True)
class _FromStream:
    """A stream that claims to be the object ``root``."""

    stream: BinaryIO
    root: bytes
    size: int

    def begin(self) -> None:
        """Start where the stream is."""

    def fill(self, piece: int, slot: Slot) -> Sequence[Job]:
        """Read the next Piece."""
        view = slot.made[: piece_length(self.size, piece)]
        got = 0
        while got < len(view) and (data := self.stream.read(len(view) - got)):
            view[got : got + len(data)] = data
            got += len(data)
        if got != len(view):
            raise OtherContent(object_name(self.root, self.size), "length")
        return ()

    def again(self, view: memoryview) -> Sequence[Job]:
        """Say that a stream is never gone on with."""
        raise AssertionError(f"{len(view)} bytes of a stream cannot come again")

    def check(self, piece: int, slot: Slot) -> None:
        """Leave the check to the root over all of it."""


def gathering_name(root: bytes, size: int) -> str:
    """Return the name of the part of an object that comes in any order."""
    return f"fetch-{object_name(root, size)}"


def leaf_gathering_name(root: bytes, size: int) -> str:
    """Return the name of the part of a leaf layer that comes in any order."""
    return f"leaves-{object_name(root, size)}"


def _part_bytes(path: Path) -> int:
    """Return what a part takes: less than its length while it has holes."""
    try:
        state = path.stat()
    except OSError:
        return 0
    blocks = getattr(state, "st_blocks", None)  # not known on every system
    return state.st_size if blocks is None else min(state.st_size, blocks * 512)


def _disk_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_older(path: Path, now_ms: int, age_ms: int) -> bool:
    try:
        return now_ms - path.stat().st_mtime_ns // 1_000_000 >= age_ms
    except OSError:
        return False
