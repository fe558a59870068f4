"""The frames of a ``.hanse-backup``: sealed, in order, complete, or refused.

File: ``HANSEBAK``, one byte 1, u32 key epoch, then frames: u32 length and a SecretBox
under the Backup key of that epoch.  Inside a frame: DAG-CBOR
``[backup id, index, kind, payload]``.

* Frame 0 is of kind ``start`` and brings the backup id, 16 random bytes; the last
  one is of kind ``end``.  So a frame that is dropped, repeated, swapped, cut off or
  taken from another backup of the same epoch is found, and where.
* If not even frame 0 opens, the phrase is taken to be another one: a changed byte
  there looks the same.  Every later frame that fails is damage.
* Read and written one frame at a time; whole files never lie in memory.  So items
  are handed out before the end was seen: keep them only when reading has ended
  without an error.

What kinds of items there are, and what they mean, is the caller's business.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import msgspec

from hanse.core.crypto.passwords import (
    BOX_OVERHEAD_BYTES,
    NONCE_SIZE_BYTES,
    open_secret,
    seal_secret,
)
from hanse.core.errors import EnvironmentFault, Refused, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.limits import (
    BACKUP_FRAME_SIZE_BYTES_MAX,
    BACKUP_KIND_CHARACTERS_MAX,
    BACKUP_WRAPPING_BYTES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hanse.core.clock import Chance

BACKUP_VERSION: Final = 1
BACKUP_ID_SIZE_BYTES: Final = 16

_MAGIC: Final = b"HANSEBAK"
_HEADER: Final = struct.Struct(">8sBI")
_LENGTH: Final = struct.Struct(">I")
_START: Final = "start"
_END: Final = "end"
_BOX_SIZE_BYTES_MAX: Final = (
    BOX_OVERHEAD_BYTES + BACKUP_WRAPPING_BYTES_MAX + BACKUP_FRAME_SIZE_BYTES_MAX
)


class BackupDamaged(EnvironmentFault):
    """The backup is not what Hanse wrote; ``position`` is a byte offset in the file."""

    code = "backup.damaged"
    text = "backup is damaged at byte {position}: {detail}"
    fields = ("position", "detail")


class BackupWrongPhrase(Refused):
    """The backup belongs to another phrase or key epoch (or its first frame is damaged)."""

    code = "backup.wrong_phrase"
    text = "the backup of key epoch {epoch} does not open with this phrase"
    fields = ("epoch",)


class BackupTooNew(Refused):
    """The backup was written by a later Hanse."""

    code = "backup.too_new"
    text = "the backup has format {found}, this program knows {known}"
    fields = ("found", "known")


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    backup_id: Annotated[
        bytes, msgspec.Meta(min_length=BACKUP_ID_SIZE_BYTES, max_length=BACKUP_ID_SIZE_BYTES)
    ]
    index: Annotated[int, msgspec.Meta(ge=0)]
    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=BACKUP_KIND_CHARACTERS_MAX)]
    payload: Annotated[bytes, msgspec.Meta(max_length=BACKUP_FRAME_SIZE_BYTES_MAX)]

    def __repr__(self) -> str:
        return f"_Frame({self.index}, {self.kind!r})"


def is_backup(start: bytes) -> bool:
    """Say whether a file that begins with these bytes is a backup of any version."""
    return start.startswith(_MAGIC)


def read_epoch(stream: BinaryIO) -> int:
    """Return the key epoch in the header, which is not sealed."""
    return _Reader(stream).read_header()


class BackupWriter:
    """Writes one backup to a stream; a backup without ``close`` reads as cut off."""

    def __init__(self, stream: BinaryIO, epoch: int, key: bytes, chance: Chance) -> None:
        """Write the header and the first frame; ``key`` is the Backup key of ``epoch``."""
        self._stream = stream
        self._key = key
        self._chance = chance
        self._backup_id = chance.bytes(BACKUP_ID_SIZE_BYTES)
        self._index = 0
        self._is_closed = False
        stream.write(_HEADER.pack(_MAGIC, BACKUP_VERSION, epoch))
        self._write(_START, b"")

    def add(self, kind: str, payload: bytes) -> None:
        """Write one item."""
        assert kind not in {_START, _END}
        self._write(kind, payload)

    def close(self) -> None:
        """Write the last frame; the stream stays open and is the caller's to sync."""
        self._write(_END, b"")
        self._is_closed = True

    def _write(self, kind: str, payload: bytes) -> None:
        assert not self._is_closed
        assert 1 <= len(kind) <= BACKUP_KIND_CHARACTERS_MAX
        assert len(payload) <= BACKUP_FRAME_SIZE_BYTES_MAX
        plain = encode([self._backup_id, self._index, kind, payload])
        box = seal_secret(self._key, plain, self._chance.bytes(NONCE_SIZE_BYTES))
        assert len(box) <= _BOX_SIZE_BYTES_MAX
        self._stream.write(_LENGTH.pack(len(box)) + box)
        self._index += 1


def read_backup(stream: BinaryIO, key_for: Callable[[int], bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, payload) of every item; only an iteration that ends by itself is whole.

    ``key_for`` gives the Backup key of the epoch in the header.  Raises ``BackupTooNew``,
    ``BackupWrongPhrase`` or ``BackupDamaged``, also after items were given.
    """
    reader = _Reader(stream)
    epoch = reader.read_header()
    key = key_for(epoch)

    first = reader.read_frame(key)
    if first is None:
        raise BackupWrongPhrase(epoch=epoch)
    if (first.index, first.kind) != (0, _START):
        raise reader.damage("the first frame is not the start")

    index = 0
    while True:
        frame = reader.read_frame(key)
        index += 1
        if frame is None:
            raise reader.damage("frame does not open")
        if frame.backup_id != first.backup_id:
            raise reader.damage("frame of another backup")
        if frame.index != index:
            raise reader.damage(f"frame {frame.index} where {index} belongs")
        if frame.kind == _END:
            break
        yield frame.kind, frame.payload
    reader.read_nothing()


@dataclass(slots=True)
class _Reader:
    """Reads whole parts and knows where the current one began."""

    stream: BinaryIO
    begin: int = field(default=0, init=False)
    position: int = field(default=0, init=False)

    def read_header(self) -> int:
        magic, version, epoch = _HEADER.unpack(self._read(_HEADER.size, "header is cut off"))
        if magic != _MAGIC or version < BACKUP_VERSION:
            raise self.damage("not a backup of Hanse")
        if version > BACKUP_VERSION:
            raise BackupTooNew(found=version, known=BACKUP_VERSION)
        assert isinstance(epoch, int)  # struct says Any
        return epoch

    def read_frame(self, key: bytes) -> _Frame | None:
        """Return the next frame, or None if it does not open under ``key``."""
        self.begin = self.position
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, "cut off before the end frame"))
        if not BOX_OVERHEAD_BYTES <= length <= _BOX_SIZE_BYTES_MAX:
            raise self.damage(f"frame of {length} bytes")
        plain = open_secret(key, self._read(length, "cut off inside a frame"))
        if plain is None:
            return None
        try:
            return decode(plain, _Frame)
        except RejectedEntry as error:
            raise self.damage(f"frame content, {error.reason}") from None

    def read_nothing(self) -> None:
        self.begin = self.position
        if self.stream.read(1):
            raise self.damage("bytes after the end frame")

    def damage(self, detail: str) -> BackupDamaged:
        return BackupDamaged(position=self.begin, detail=detail)

    def _read(self, size: int, missing: str) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:  # a stream may give less than asked for before its end
            part = self.stream.read(left)
            if not part:
                raise self.damage(missing)
            parts.append(part)
            left -= len(part)
        self.position += size
        return b"".join(parts)
