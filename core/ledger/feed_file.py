"""The ``.hanse-feed`` file: Entries of chosen Feeds as they travelled, and nothing else.

Layout, integers big-endian::

    "HANSEFEED" + byte 1
    frame*            u32 length + DAG-CBOR
      first   ["feeds", 1, [[author, seq, id], ...]]      the Heads it claims to hold
      then    ["entry", H, sig, body or null]             root feeds first, each Feed in order
      last    ["end", entries, SHA-256 of everything before this frame]

The signatures inside are what is believed; the Heads and the end frame only make
a cut or damaged file distinguishable from a shorter honest one.  Reading streams:
one frame is held at a time, and a fault names the frame and its byte offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.ledger.entry import SignedEntry, parse_entry
from hanse.core.limits import FEED_FILE_FRAME_SIZE_BYTES_MAX, FEEDS_IN_FILE_MAX, SEQ_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAGIC: Final = b"HANSEFEED\x01"
_MAGIC_NAME: Final = b"HANSEFEED"
_VERSION: Final = 1


class FeedFileDamaged(VerificationFailed):
    """A feed file is not what Hanse wrote; says at which frame and byte."""

    code = "feed_file.damaged"

    def __init__(self, frame: int, offset: int, reason: str) -> None:
        """Name the first fault."""
        super().__init__(where=f"frame {frame}, byte {offset}", reason=reason)
        self.frame = frame
        self.offset = offset


@dataclass(frozen=True, slots=True)
class ClaimedHead:
    """One Head the file says it leads to."""

    author: bytes
    seq: int
    entry_id: bytes


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One Entry of the file and where it stands."""

    frame: int
    offset: int
    entry: SignedEntry


def write_feed_file(
    stream: BinaryIO, heads: Sequence[ClaimedHead], entries: Iterable[SignedEntry]
) -> int:
    """Write the file and return the number of Entries in it."""
    digest = sha256()
    count = 0

    def put(raw: bytes) -> None:
        digest.update(raw)
        stream.write(raw)

    def frame(value: object) -> None:
        raw = encode(value)
        put(len(raw).to_bytes(4, "big") + raw)

    put(MAGIC)
    frame(["feeds", _VERSION, [[head.author, head.seq, head.entry_id] for head in heads]])
    for entry in entries:
        frame(["entry", entry.header_bytes, entry.signature, entry.body])
        count += 1
    frame(["end", count, digest.digest()])
    return count


def is_feed_file(start: bytes) -> bool:
    """Say whether a file that begins with these bytes is a feed file of any version."""
    return start.startswith(_MAGIC_NAME)


class FeedFileReader:
    """Reads one file from its first byte: Heads, then Entries, then the end.

    ``heads`` is there once the reader is made; iterating gives the Entries and
    raises ``FeedFileDamaged`` at the first fault, also when the end is missing.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Read the magic and the Heads."""
        self._stream = stream
        self._digest = sha256()
        self._offset = 0
        self._frame = 0
        magic = self._take(len(MAGIC))
        if not is_feed_file(magic):
            raise FeedFileDamaged(0, 0, "this is not a .hanse-feed file")
        if magic != MAGIC:
            raise FeedFileDamaged(0, len(_MAGIC_NAME), f"format {magic[-1]}, known {MAGIC[-1]}")
        self._digest.update(magic)
        self.heads = self._read_heads()

    def _fault(self, offset: int, reason: str) -> FeedFileDamaged:
        return FeedFileDamaged(self._frame, offset, reason)

    def _take(self, size: int) -> bytes:
        start = self._offset
        raw = self._stream.read(size)
        self._offset += len(raw)
        if len(raw) != size:
            raise self._fault(start, f"the file ends after {len(raw)} of {size} bytes")
        return raw

    def _next(self) -> tuple[int, bytes, list[object]]:
        """Return offset, raw bytes and value of the next frame."""
        start = self._offset
        self._frame += 1
        prefix = self._take(4)
        size = int.from_bytes(prefix, "big")
        # Bounded before anything is read for it.
        if not 1 <= size <= FEED_FILE_FRAME_SIZE_BYTES_MAX:
            raise self._fault(
                start, f"frame of {size} bytes, limit {FEED_FILE_FRAME_SIZE_BYTES_MAX}"
            )
        raw = self._take(size)
        try:
            value = decode_any(raw)
        except RejectedEntry as error:
            raise self._fault(start, f"{error.reason}: {error.detail}") from error
        if not isinstance(value, list) or not value:
            raise self._fault(start, "a frame is not a list")
        return start, prefix + raw, value

    def _read_heads(self) -> tuple[ClaimedHead, ...]:
        start, raw, value = self._next()
        match value:
            case ["feeds", int(version), list(rows)] if version == _VERSION:
                pass
            case ["feeds", int(version), *_]:
                raise self._fault(start, f"feeds frame version {version}, known {_VERSION}")
            case _:
                raise self._fault(start, "the file does not begin with its heads")
        if len(rows) > FEEDS_IN_FILE_MAX:
            raise self._fault(start, f"{len(rows)} feeds, limit {FEEDS_IN_FILE_MAX}")
        heads: list[ClaimedHead] = []
        for row in rows:
            match row:
                case [bytes(author), int(seq), bytes(entry_id)] if (
                    len(author) == len(entry_id) == 32 and 1 <= seq <= SEQ_MAX
                ):
                    heads.append(ClaimedHead(author, seq, entry_id))
                case _:
                    raise self._fault(start, "a head is not [author, seq, id]")
        self._digest.update(raw)
        return tuple(heads)

    def __iter__(self) -> Iterator[FileEntry]:
        """Yield every Entry, and raise at the first fault."""
        count = 0
        while True:
            start, raw, value = self._next()
            match value:
                case ["entry", bytes(header), bytes(signature), bytes() | None as body]:
                    try:
                        entry = parse_entry(header, signature, body)
                    except RejectedEntry as error:
                        raise self._fault(start, f"{error.reason}: {error.detail}") from error
                    self._digest.update(raw)
                    count += 1
                    yield FileEntry(self._frame, start, entry)
                case ["end", int(claimed), bytes(digest)]:
                    self._check_end(start, count, claimed, digest)
                    return
                case _:
                    raise self._fault(start, "a frame is neither an entry nor the end")

    def _check_end(self, start: int, count: int, claimed: int, digest: bytes) -> None:
        if claimed != count:
            raise self._fault(start, f"{count} entries, the end says {claimed}")
        if digest != self._digest.digest():
            raise self._fault(start, "the digest of the file is another one")
        if self._stream.read(1):
            raise self._fault(self._offset, "bytes follow the end")
