"""The ``.hanse-release`` file: a Release with what anybody may hold of it, in one file.

A ZIP whose members are stored as they are, named by what they hold, in this order::

    feed.hanse-feed           the Feeds of the seller, and of who certified the Artifact
    small/SHA-256             card, licence texts, Manifests, golden vectors, evaluation set
    leaves/ROOT-SIZE          the leaf layer of a plain file above one leaf, of a sealed Release
    cipher/ROOT-SIZE          a sealed file; or plain/ROOT-SIZE, of a Release given in the clear

and whose comment is ``HANSE-RELEASE 1 RELEASE``.  Any program that knows ZIP opens it.

* Nothing is believed of the directory but where bytes lie: who reads them checks the hash.
* The directory is bounded before it is read; compressed, encrypted or doubled members and
  names of another form are refused.
* Files of many GiB are written and read Piece by Piece.

Which members a Release should have is not known here.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.artifacts.tree import HASH_SIZE_BYTES
from hanse.core.engine.sources import open_file
from hanse.core.errors import VerificationFailed
from hanse.core.limits import (
    RELEASE_FILE_DIRECTORY_SIZE_BYTES_MAX,
    RELEASE_FILE_MEMBERS_MAX,
    SHOWN_PATH_CHARACTERS_MAX,
)
from hanse.core.model.ids import EntryId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FEED: Final = "feed.hanse-feed"

_MAGIC: Final = b"HANSE-RELEASE "
_COMMENT: Final = _MAGIC + b"1 "
_COMMENT_BYTES: Final = len(_COMMENT) + 2 * HASH_SIZE_BYTES
_NAMES: Final = re.compile(
    r"feed\.hanse-feed|small/[0-9a-f]{64}|(cipher|plain|leaves)/[0-9a-f]{64}-(0|[1-9][0-9]{0,11})"
)
_END: Final = struct.Struct("<4s4H2IH")
_END_64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64_BYTES: Final = 20
_IN_64: Final = 0xFFFFFFFF
_LOCAL: Final = struct.Struct("<4s5H3I2H")


class BadReleaseFile(VerificationFailed):
    """A release file is not what Hanse wrote; ``where`` is a member, ``reason`` a stable word."""

    code = "release_file.bad"
    text = "the release file is not sound, {where}: {reason}"

    def __init__(self, where: str, reason: str) -> None:
        """Name the member, or the file, and the rule."""
        super().__init__(where=where, reason=reason)


class MemberSize(VerificationFailed):
    """A member has not the size its Release or its name says."""

    code = "release_file.size"
    text = "member {member} has {found_bytes} bytes, expected {expected_bytes}"
    fields = ("member", "expected_bytes", "found_bytes")


class MemberDiffers(VerificationFailed):
    """The bytes of a member are not those it is named after."""

    code = "release_file.differs"
    text = "member {member} has the hash {found}, expected {expected}"
    fields = ("member", "expected", "found")


def small_name(digest: bytes) -> str:
    """Name the member that holds a small object."""
    return f"small/{digest.hex()}"


def file_name(kind: str, root: bytes, size: int) -> str:
    """Name the member of a file; ``kind`` is ``cipher``, ``plain`` or ``leaves``."""
    return f"{kind}/{root.hex()}-{size}"


@contextmanager
def release_file_writer(stream: BinaryIO, release: bytes) -> Iterator[ReleaseFileWriter]:
    """Begin the file of one Release; its directory is written when the block ends well."""
    archive = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True)
    archive.comment = _COMMENT + release.hex().encode()
    try:
        yield ReleaseFileWriter(archive)
    except BaseException:
        with suppress(OSError):  # on a full disk its directory does not fit either
            archive.close()
        raise
    archive.close()


class ReleaseFileWriter:
    """Writes one file into a stream that can seek, member after member."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Write into what ``release_file_writer`` began."""
        self._archive = archive

    @contextmanager
    def member(self, name: str) -> Iterator[BinaryIO]:
        """Give the stream of the next member; its size need not be known."""
        # A name without a date: the same Release gives the same bytes.
        with self._archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
            yield stream  # type: ignore[misc]  # of bytes, as a binary stream is

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write one member."""
        with self.member(name) as stream:
            for chunk in chunks:
                stream.write(chunk)


class ReleaseFileReader:
    """One file, its directory checked; members are read by name."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Check form and directory; ``name`` is the file's, for whoever reads an error."""
        self._stream = stream
        self._size = stream.seek(0, io.SEEK_END)
        self.release = self._check_end(name)
        try:
            with zipfile.ZipFile(stream) as archive:
                rows = archive.infolist()
        except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError) as error:
            raise BadReleaseFile(name, "directory") from error
        if len(rows) > RELEASE_FILE_MEMBERS_MAX:
            raise BadReleaseFile(name, "too_many")
        self._rows: dict[str, zipfile.ZipInfo] = {}
        for row in rows:
            self._add(row)

    @property
    def names(self) -> frozenset[str]:
        """Return the names of all members."""
        return frozenset(self._rows)

    def size(self, name: str) -> int:
        """Return the length of a member, or raise ``BadReleaseFile`` when there is none."""
        row = self._rows.get(name)
        if row is None:
            raise BadReleaseFile(name, "missing")
        return row.file_size

    def open(self, name: str) -> BinaryIO:
        """Return the bytes of a member as a stream of its own; checked by whoever reads it."""
        size = self.size(name)
        row = self._rows[name]
        try:
            self._stream.seek(row.header_offset)
            local = _LOCAL.unpack(self._stream.read(_LOCAL.size))
            begin = row.header_offset + _LOCAL.size + local[9] + local[10]
            named = self._stream.read(local[9])
        except (struct.error, ValueError) as error:
            raise BadReleaseFile(name, "directory") from error
        if local[0] != b"PK\x03\x04" or named != name.encode() or begin + size > self._size:
            raise BadReleaseFile(name, "directory")
        return io.BufferedReader(_Window(self._stream, begin, size))

    def _check_end(self, name: str) -> EntryId:
        """Return the Release the file says it is of; bound the directory before it is read."""
        before = _END.size + _COMMENT_BYTES
        self._stream.seek(0)
        if self._stream.read(4) != b"PK\x03\x04":
            raise BadReleaseFile(name, "not_ours")
        at = max(0, self._size - before - _LOCATOR_64_BYTES - _END_64.size)
        self._stream.seek(at)
        tail = self._stream.read()
        end, comment = tail[-before:-_COMMENT_BYTES], tail[-_COMMENT_BYTES:]
        if not comment.startswith(_MAGIC) or end[:4] != b"PK\x05\x06":
            raise BadReleaseFile(name, "cut")
        if not comment.startswith(_COMMENT):
            raise BadReleaseFile(name, "version")
        length = _END.unpack(end)[5]
        if length == _IN_64:
            if len(tail) != before + _LOCATOR_64_BYTES + _END_64.size:
                raise BadReleaseFile(name, "directory")
            length = _END_64.unpack_from(tail)[8]
        if length > RELEASE_FILE_DIRECTORY_SIZE_BYTES_MAX:
            raise BadReleaseFile(name, "too_many")
        try:
            return EntryId(bytes.fromhex(comment.removeprefix(_COMMENT).decode("ascii")))
        except ValueError as error:
            raise BadReleaseFile(name, "directory") from error

    def _add(self, row: zipfile.ZipInfo) -> None:
        name = row.orig_filename
        if not _NAMES.fullmatch(name):
            raise BadReleaseFile(ascii(name)[1:-1][:SHOWN_PATH_CHARACTERS_MAX], "name")
        if name in self._rows:
            raise BadReleaseFile(name, "twice")
        if row.flag_bits & 0x1:
            raise BadReleaseFile(name, "encrypted")
        if row.compress_type != zipfile.ZIP_STORED or row.compress_size != row.file_size:
            raise BadReleaseFile(name, "compressed")
        if row.file_size > self._size:
            raise BadReleaseFile(name, "directory")
        self._rows[name] = row


@contextmanager
def open_release_file(path: Path) -> Iterator[ReleaseFileReader]:
    """Open a file a person named; raises ``FileUnreadable`` or ``BadReleaseFile``."""
    with open_file(path) as stream:
        yield ReleaseFileReader(stream, path.name)


class _Window(io.RawIOBase):
    """Some bytes of a file as a file of its own."""

    def __init__(self, stream: BinaryIO, begin: int, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._begin = begin
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        self._stream.seek(self._begin + self._at)
        data = self._stream.read(count)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
