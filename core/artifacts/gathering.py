"""Objects and leaf layers that come in parts, in any order, and may be gone on with any day.

* ``store/part/NAME.data`` is a sparse file of the full length; what comes is verified before it is
  written to its place, so wrong bytes never touch the disk.
* ``NAME.have`` says which units are durable: the data is synced first, then the bits are written.
  A record that is torn, of another object, or beside a file of another length counts for nothing.
* What an earlier run left is believed for the time being and hashed again before the object gets
  its name; what rotted meanwhile comes again.
* No file stays open between two calls, so that ten thousand of them can be under way.

Where the bytes come from, and which are asked for next, is not known here.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from hanse.core.artifacts.faults import disk_faults, read_faults
from hanse.core.artifacts.layers import Checker, leaves_length
from hanse.core.artifacts.parts import drop_part
from hanse.core.artifacts.tree import (
    HASH_SIZE_BYTES,
    PIECE_LEAVES_SIZE_BYTES,
    hash_leaves,
    leaf_count,
    piece_count,
    piece_length,
)
from hanse.core.durable import make_private_folder, write_durably
from hanse.core.errors import EnvironmentFault, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.limits import (
    ARTIFACT_FILE_SIZE_BYTES_MAX,
    GATHERING_BITMAP_SIZE_BYTES_MAX,
    GATHERING_RECORD_SIZE_BYTES_MAX,
    LEAF_SIZE_BYTES,
    PIECE_SIZE_BYTES,
)
from hanse.core.model.transfer import Bitmap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hanse.core.artifacts.parts import Progress

_Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_SIZE_BYTES, max_length=HASH_SIZE_BYTES)]
_BINARY: Final = getattr(os, "O_BINARY", 0)
_MODE: Final = 0o600


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Which units of an object are durable; ``check`` is the SHA-256 of ``bits``."""

    version: Literal[1]
    root: _Hash
    size: Annotated[int, msgspec.Meta(ge=1, le=ARTIFACT_FILE_SIZE_BYTES_MAX)]
    bits: Annotated[bytes, msgspec.Meta(max_length=GATHERING_BITMAP_SIZE_BYTES_MAX)]
    check: _Hash


class _Sparse:
    """A file of equal units, the last one shorter, and which of them are there."""

    def __init__(self, base: Path, checker: Checker, length: int, unit_bytes: int) -> None:
        """Read what an earlier run left at ``base``; nothing is made yet."""
        self.root, self.size = checker.root, checker.size
        self._checker = checker
        self._base = base
        self._length = length
        self._unit_bytes = unit_bytes
        self.data_path = base.with_name(base.name + ".data")
        self._have_path = base.with_name(base.name + ".have")
        self._lock = threading.Lock()
        self._is_dirty = False
        have = self._read_record()
        if have is None and self._have_path.exists():
            drop_part(base)  # a record that counts for nothing must not count later
        self._have = Bitmap(piece_count(self.size)) if have is None else have
        self._durable = self._have.copy()
        # Of an earlier run: to be hashed again before anything is made of it.
        self._unproved = self._have.copy()

    @property
    def is_full(self) -> bool:
        """Say whether all units are there."""
        with self._lock:
            return self._have.is_full

    @property
    def is_proved(self) -> bool:
        """Say whether nothing is left of an earlier run that was not hashed again."""
        with self._lock:
            return not len(self._unproved)

    def have(self) -> Bitmap:
        """Return a copy of which units are there."""
        with self._lock:
            return self._have.copy()

    def sync(self) -> None:
        """Make durable what was written, then say so; after a fault it has to come again."""
        with self._lock:
            if not self._is_dirty:
                return
            have = self._have.copy()
        try:
            self._sync_files()
            check = sha256(bytes(have)).digest()
            record = Record(1, self.root, self.size, bytes(have), check)
            write_durably(self._have_path, encode(record))
        except EnvironmentFault:
            # What the disk did with pages it failed to write is not known.
            self._forget_unsynced()
            raise
        with self._lock:
            self._durable = have
            self._is_dirty = bytes(self._have) != bytes(have)

    def _sync_files(self) -> None:
        _sync(self.data_path)

    def _forget_unsynced(self) -> None:
        with self._lock:
            self._have = self._durable.copy()
            self._is_dirty = False

    def discard(self) -> None:
        """Remove everything of it."""
        with disk_faults(self.data_path):
            drop_part(self._base)
        with self._lock:
            self._have = Bitmap(self._have.count)
            self._durable = self._have.copy()
            self._unproved = self._have.copy()
            self._is_dirty = False

    def _unit_length(self, unit: int) -> int:
        return min(self._unit_bytes, self._length - unit * self._unit_bytes)

    def _write(self, path: Path, length: int, offset: int, data: bytes | memoryview) -> None:
        with disk_faults(path), _opened(path, length) as descriptor:
            os.lseek(descriptor, offset, os.SEEK_SET)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

    def _read(self, unit: int) -> bytes:
        """Return a unit as it lies there; short, or nothing, when the file is."""
        with read_faults(self.data_path), self.data_path.open("rb", buffering=0) as file:
            file.seek(unit * self._unit_bytes)
            return file.read(self._unit_length(unit)) or b""

    def _note(self, unit: int) -> None:
        with self._lock:
            self._have.add(unit)
            self._unproved.discard(unit)
            self._is_dirty = True

    def _lost(self, unit: int) -> None:
        with self._lock:
            for bits in (self._have, self._durable, self._unproved):
                bits.discard(unit)
            self._is_dirty = True

    def _to_prove(self) -> list[int]:
        with self._lock:
            return [unit for unit in range(self._unproved.count) if unit in self._unproved]

    def _proved(self, unit: int) -> None:
        with self._lock:
            self._unproved.discard(unit)

    def _read_record(self) -> Bitmap | None:
        try:
            with self._have_path.open("rb") as file:
                raw = file.read(GATHERING_RECORD_SIZE_BYTES_MAX + 1)
            record = decode(raw, Record)
            if self.data_path.stat().st_size != self._length:
                return None
            is_same = (record.root, record.size) == (self.root, self.size)
            if not is_same or sha256(record.bits).digest() != record.check:
                return None
            return Bitmap(piece_count(self.size), record.bits)
        except (OSError, RejectedEntry, ValueError):
            return None


class Gathering(_Sparse):
    """One object on its way: its Pieces, and beside them the leaf hashes it will need."""

    def __init__(self, base: Path, checker: Checker) -> None:
        """Go on at ``base``; ``checker`` knows the Piece layer."""
        assert checker.size > 0
        super().__init__(base, checker, checker.size, PIECE_SIZE_BYTES)
        self.leaves_path = base.with_name(base.name + ".leaves")

    def put(self, piece: int, data: bytes | memoryview) -> bool:
        """Take one Piece; False when these are not its bytes, and nothing was written then."""
        if not 0 <= piece < piece_count(self.size) or len(data) != piece_length(self.size, piece):
            return False
        leaves = hash_leaves(data)
        if not self._checker.is_piece(piece, leaves):
            return False
        self._write(self.data_path, self.size, piece * PIECE_SIZE_BYTES, data)
        self._keep_leaves(piece, leaves)
        self._note(piece)
        return True

    def read(self, piece: int) -> bytes | None:
        """Return one Piece that is there and right, hashed anew; else None."""
        with self._lock:
            if piece not in self._have:
                return None
        data = self._read(piece)
        return data if self._checker.is_piece(piece, hash_leaves(data)) else None

    def prove(self, progress: Progress) -> bool:
        """Hash again what an earlier run left; False when some of it has to come again."""
        is_right = True
        for piece in self._to_prove():
            data = self._read(piece)
            leaves = hash_leaves(data)
            if self._checker.is_piece(piece, leaves):
                self._keep_leaves(piece, leaves)
                self._proved(piece)
            else:
                self._lost(piece)
                is_right = False
            progress.advance(len(data))
        return is_right

    def finish(self) -> tuple[bytes, bytes]:
        """Make all of it durable; return its root and its Piece layer."""
        assert self.is_full
        assert not self._to_prove()
        _sync(self.data_path)
        if self.size > LEAF_SIZE_BYTES:
            _sync(self.leaves_path)
        return self.root, self._checker.layer

    def _keep_leaves(self, piece: int, leaves: bytes) -> None:
        if self.size > LEAF_SIZE_BYTES:  # else the root is the only leaf
            length = leaf_count(self.size) * HASH_SIZE_BYTES
            self._write(self.leaves_path, length, piece * PIECE_LEAVES_SIZE_BYTES, leaves)


class LeafGathering(_Sparse):
    """The leaf layer of one file on its way, Piece by Piece; the file itself may never come."""

    def __init__(self, base: Path, checker: Checker) -> None:
        """Go on at ``base``; ``checker`` knows the Piece layer."""
        assert checker.size > LEAF_SIZE_BYTES
        length = leaf_count(checker.size) * HASH_SIZE_BYTES
        super().__init__(base, checker, length, PIECE_LEAVES_SIZE_BYTES)

    def put(self, piece: int, raw: bytes) -> bool:
        """Take the leaf hashes of some Pieces, from ``piece`` on; False when one is wrong."""
        chunks: list[bytes] = []
        offset, number = 0, piece
        while offset < len(raw):
            length = leaves_length(self.size, number)
            chunk = raw[offset : offset + length]
            if not length or not self._checker.is_piece(number, chunk):
                return False
            chunks.append(chunk)
            offset, number = offset + length, number + 1
        if chunks:
            offset = piece * PIECE_LEAVES_SIZE_BYTES
            self._write(self.data_path, self._length, offset, b"".join(chunks))
        for number in range(piece, piece + len(chunks)):
            self._note(number)
        return bool(chunks)

    def prove(self) -> bool:
        """Look again at what an earlier run left; False when some of it has to come again."""
        is_right = True
        for piece in self._to_prove():
            if self._checker.is_piece(piece, self._read(piece)):
                self._proved(piece)
            else:
                self._lost(piece)
                is_right = False
        return is_right

    def finish(self) -> tuple[Path, bytes]:
        """Make all of it durable; return the file of it and the Piece layer."""
        assert self.is_full
        assert not self._to_prove()
        _sync(self.data_path)
        return self.data_path, self._checker.layer


def write_record(base: Path, root: bytes, size: int, have: Bitmap) -> None:
    """Say which Pieces of a file that is about to lie at ``base`` are worth keeping."""
    make_private_folder(base.parent)
    bits = bytes(have)
    record = Record(1, root, size, bits, sha256(bits).digest())
    write_durably(base.with_name(base.name + ".have"), encode(record))


@contextmanager
def _opened(path: Path, length: int) -> Iterator[int]:
    """Open a sparse file, made at its full length when it is not there."""
    flags = os.O_RDWR | os.O_CREAT | _BINARY
    try:
        descriptor = os.open(path, flags, _MODE)
    except FileNotFoundError:
        make_private_folder(path.parent)
        descriptor = os.open(path, flags, _MODE)
    try:
        if os.fstat(descriptor).st_size != length:
            os.ftruncate(descriptor, length)
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    with disk_faults(path):
        descriptor = os.open(path, os.O_RDWR | _BINARY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
