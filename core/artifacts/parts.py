"""An object on its way into the store: written Piece by Piece, gone on with after a kill.

* ``store/part/NAME.data`` grows from its beginning; after every 64 MiB it is synced, then
  ``NAME.have`` says how much of it is durable and which Piece layer that has.
* After a crash only what the record says is believed, and only after the bytes were read
  and hashed again and gave that layer; else the object is begun anew.
* ``origin`` names what is being made; a record of another origin counts for nothing.
* One part has one writer at a time in this process; ``hanse.lock`` keeps others out.

What the bytes are, and what name they get in the end, is not known here.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

import msgspec

from hanse.core.artifacts.faults import disk_faults
from hanse.core.artifacts.lanes import Job, Lanes, Slot, read_whole
from hanse.core.artifacts.tree import (
    HASH_SIZE_BYTES,
    hash_leaves,
    piece_count,
    piece_length,
    piece_node,
    root_of_layer,
    root_of_leaves,
)
from hanse.core.durable import make_private_folder, write_durably
from hanse.core.errors import EnvironmentFault, HanseError, RejectedEntry, StoreFull
from hanse.core.ledger.codec import decode, encode
from hanse.core.limits import (
    ARTIFACT_FILE_SIZE_BYTES_MAX,
    LEAF_SIZE_BYTES,
    PART_RECORD_SIZE_BYTES_MAX,
    PIECE_SIZE_BYTES,
    PIECES_PER_CHECKPOINT_MAX,
)
from hanse.core.model.control import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from io import FileIO
    from pathlib import Path

    from hanse.core.model.control import Control

# In the order in which they are removed; ``.made`` notes the root of what became an object.
SUFFIXES: Final = (".made", ".have", ".leaves", ".data")

_Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_SIZE_BYTES, max_length=HASH_SIZE_BYTES)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=ARTIFACT_FILE_SIZE_BYTES_MAX)]

_in_use: set[Path] = set()
_in_use_lock = threading.Lock()


class PartInUse(EnvironmentFault):
    """The same object is being made by another thread."""

    code = "content.in_use"
    text = "{path} is being written by another job"
    fields = ("path",)


class _Rotten(Exception):
    """What the record says is durable is not on the disk."""


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How much of a part is durable: ``done`` bytes, whose Piece layer has this SHA-256.

    In a ``.made`` note all of it is, and the hash is the root it has got.
    """

    version: Literal[1]
    origin: _Hash
    size: _Size
    done: _Size
    hash: _Hash


@dataclass(slots=True)
class Progress:
    """How far a stage is over all its files; looks at pause and cancel every few Pieces."""

    control: Control
    stage: str
    total: int
    done: int = 0
    _quiet: int = field(default=0)

    def advance(self, count: int) -> None:
        """Count bytes, and give the person who watches a chance."""
        self.done += count
        self._quiet += 1
        if self._quiet >= PIECES_PER_CHECKPOINT_MAX:
            self.look()

    def look(self) -> None:
        """Report, wait while paused, and raise ``Cancelled`` when told to end."""
        self._quiet = 0
        self.control.checkpoint(self.stage, self.done, self.total)


class Making(Protocol):
    """Where the bytes of a part come from."""

    def begin(self) -> None:
        """Start at the first byte, perhaps not for the first time."""
        ...

    def fill(self, piece: int, slot: Slot) -> Sequence[Job]:
        """Put the bytes of one Piece into ``slot.made``; return jobs beside hashing them."""
        ...

    def again(self, view: memoryview) -> Sequence[Job]:
        """Return the jobs beside hashing for bytes that were already made before a kill."""
        ...

    def check(self, piece: int, slot: Slot) -> None:
        """Refuse a new Piece, by raising, before it is written.

        ``slot.results`` has the Leaves of ``slot.made``, then what ``fill``'s jobs gave.
        """
        ...


class Part:
    """One object being written."""

    def __init__(self, base: Path, origin: bytes, size: int, *, step_bytes: int) -> None:
        """Open the files at ``base`` + suffix, and read what the record promises."""
        assert len(origin) == HASH_SIZE_BYTES
        self.size = size
        self._base = base
        self.data_path, self.leaves_path, self._have_path = (
            base.with_name(base.name + suffix) for suffix in (".data", ".leaves", ".have")
        )
        self._origin = origin
        self._step_bytes = step_bytes
        self._record = self._read_record()
        self._layer = bytearray()
        self._leaves = b""
        self._syncer: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None
        self._done = self._synced = self._at = 0
        make_private_folder(base.parent)
        with disk_faults(self.data_path):
            mode = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            descriptor = os.open(self.data_path, mode, 0o600)
            self._data: FileIO = os.fdopen(descriptor, "r+b", buffering=0)
            self._leaves_file = self.leaves_path.open("w+b")  # made again, so never believed
        if self._record is None:
            self.start_over()

    @property
    def pieces_promised(self) -> int:
        """How many Pieces the record says are durable; they are read back first."""
        return piece_count(self._record.done) if self._record else 0

    def start_over(self) -> None:
        """Forget everything written so far."""
        self._record = None
        self._layer.clear()
        self._done = self._synced = 0
        with disk_faults(self.data_path):
            self._have_path.unlink(missing_ok=True)
            self._data.truncate(0)
            self._at = self._data.seek(0)
            self._leaves_file.seek(0)
            self._leaves_file.truncate(0)

    def make(self, making: Making, lanes: Lanes, progress: Progress) -> None:
        """Bring the object to its end, from what an earlier run left or from the beginning."""
        before = progress.done
        while True:
            try:
                self._make_once(making, lanes, progress)
            except _Rotten:
                progress.done = before
                self.start_over()
            else:
                return

    def _make_once(self, making: Making, lanes: Lanes, progress: Progress) -> None:
        promised = self.pieces_promised

        def fill(piece: int, slot: Slot) -> list[Job]:
            view = slot.made[: piece_length(self.size, piece)]
            if piece < promised:
                self._read_back(piece, view)
                more = making.again(view)
            else:
                more = making.fill(piece, slot)
            return [(hash_leaves, view), *more]

        making.begin()
        with closing(lanes.run(range(piece_count(self.size)), fill)) as moving:
            for piece, slot in moving:
                view = slot.made[: piece_length(self.size, piece)]
                if piece < promised:
                    self._confirm(slot.results[0], view)
                else:
                    making.check(piece, slot)
                    self._write(slot.results[0], view)
                progress.advance(len(view))

    def _read_back(self, piece: int, view: memoryview) -> None:
        self._at = -1  # the next to write seeks first
        self._data.seek(piece * PIECE_SIZE_BYTES)
        if read_whole(self._data.readinto, view) != len(view):
            raise _Rotten

    def _confirm(self, leaves: bytes, view: memoryview) -> None:
        record = self._record
        assert record is not None
        with disk_faults(self.leaves_path):
            self._take(leaves, view)
        if self._done == record.done:
            if sha256(self._layer).digest() != record.hash:
                raise _Rotten
            self._synced = self._done
            with disk_faults(self.data_path):
                self._data.truncate(self._done)  # what came after was never durable

    def _write(self, leaves: bytes, view: memoryview) -> None:
        with disk_faults(self.data_path):
            if self._at != self._done:
                self._data.seek(self._done)
            written = 0
            while written < len(view):
                written += self._data.write(view[written:])
            self._at = self._done + written
            self._take(leaves, view)
            if self._done - self._synced >= self._step_bytes and self._done < self.size:
                self._sync_beside()

    def _take(self, leaves: bytes, view: memoryview) -> None:
        self._leaves = leaves
        self._leaves_file.write(leaves)
        self._layer += piece_node(leaves)
        self._done += len(view)

    def _sync_beside(self) -> None:
        """Make what was written durable while the next Pieces are on their way."""
        self._wait_for_sync()
        if self._syncer is None:
            self._syncer = ThreadPoolExecutor(1, thread_name_prefix="hanse-sync")
        layer = sha256(self._layer).digest()
        record = Record(1, self._origin, self.size, self._done, layer)
        self._syncing = self._syncer.submit(self._sync, record)
        self._synced = self._done

    def _sync(self, record: Record) -> None:
        """Sync the bytes first; only then may the record speak of them."""
        os.fsync(self._data.fileno())
        write_durably(self._have_path, encode(record))

    def _wait_for_sync(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            with disk_faults(self.data_path):
                syncing.result()

    def finish(self) -> tuple[bytes, bytes]:
        """Make all of it durable; return its root and its Piece layer."""
        assert self._done == self.size
        self._wait_for_sync()
        with disk_faults(self.data_path):
            os.fsync(self._data.fileno())
            self._leaves_file.flush()
            if self.size > LEAF_SIZE_BYTES:  # else the root is the only leaf
                os.fsync(self._leaves_file.fileno())
        self.close()
        layer = bytes(self._layer)
        if self.size > PIECE_SIZE_BYTES:
            return root_of_layer(layer), layer
        return root_of_leaves(self._leaves), b""

    def keep(self) -> None:
        """Leave as much as can be gone on with later, or nothing."""
        if self._record is not None and self._done < self._record.done:
            self.close()  # the record still says what is durable
            return
        try:
            if self._done > self._synced:
                self._sync_beside()
            self._wait_for_sync()
        except EnvironmentFault:
            self._synced = 0
        self.close()
        if not self._synced:
            self.discard()

    def discard(self) -> None:
        """Remove everything."""
        self.close()
        drop_part(self._base)

    def close(self) -> None:
        """Let go of the files; they stay where they are."""
        if self._syncer is not None:
            self._syncer.shutdown()
        with suppress(OSError):  # a full disk refuses the last leaf hashes, which are made again
            self._leaves_file.close()
        self._data.close()

    def _read_record(self) -> Record | None:
        record = read_record(self._have_path)
        if record is None or (record.origin, record.size) != (self._origin, self.size):
            return None
        is_whole_pieces = record.done % PIECE_SIZE_BYTES == 0 or record.done == self.size
        return record if 0 < record.done <= self.size and is_whole_pieces else None


def read_record(path: Path) -> Record | None:
    """Read the record of a part; one that cannot be read promises nothing."""
    try:
        with path.open("rb") as file:
            raw = file.read(PART_RECORD_SIZE_BYTES_MAX + 1)
        return decode(raw, Record)
    except (OSError, RejectedEntry):
        return None


@contextmanager
def part_at(base: Path, origin: bytes, size: int, *, step_bytes: int) -> Iterator[Part]:
    """Open a part, and decide by how its making ended what is left of it.

    Cancelled, or the machine failed: what is durable stays and is gone on with.  The disk
    is full, or the bytes are wrong: nothing stays.
    """
    with _in_use_lock:
        if base in _in_use:
            raise PartInUse(path=base)
        _in_use.add(base)
    try:
        part = Part(base, origin, size, step_bytes=step_bytes)
        try:
            yield part
        except HanseError as error:
            is_fault = isinstance(error, EnvironmentFault) and not isinstance(error, StoreFull)
            if is_fault or isinstance(error, Cancelled):
                part.keep()
            else:
                part.discard()
            raise
        finally:
            part.close()
    finally:
        with _in_use_lock:
            _in_use.discard(base)


def drop_part(base: Path) -> None:
    """Remove what an earlier run may have left of a part."""
    for name in (f".{base.name}.have.new", *(base.name + suffix for suffix in SUFFIXES)):
        base.with_name(name).unlink(missing_ok=True)


def is_in_use(base: Path) -> bool:
    """Say whether a part is being written right now."""
    with _in_use_lock:
        return base in _in_use
