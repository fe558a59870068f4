"""The rules of a zip file, whatever it holds: measured and checked, never unpacked to disk.

* Few members, none that grows out of proportion, and all of them together bounded.
* No encryption, no name that leads out of a folder, no name twice.
* No bytes between the members: what one program skips another may load.
* Every checksum is right.

What the members mean is not known here.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.certify.adapters.refusal import Unfit
from hanse.core.limits import (
    ZIP_DIRECTORY_SIZE_BYTES_MAX,
    ZIP_MEMBERS_MAX,
    ZIP_RATIO_MAX,
    ZIP_TEXT_SIZE_BYTES_MAX,
    ZIP_UNPACKED_FACTOR_MAX,
    ZIP_UNPACKED_SPARE_BYTES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_HAS_DESCRIPTOR: Final = 0x8
_DESCRIPTOR_BYTES: Final = (0, 12, 16, 20, 24)
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_END: Final = struct.Struct("<4s4H2IH")
_END_BYTES: Final = _END.size + 65_535
_READ_BYTES: Final = 1024 * 1024
_SMALL_BYTES: Final = 64 * 1024  # a member this small may have any ratio: it cannot hurt
_KNOWN_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class Members:
    """A zip file that keeps the rules: its path and what stands in its directory."""

    path: Path
    names: tuple[str, ...]
    unpacked_bytes: int

    def text(self, member: str) -> bytes:
        """Return one member that is read as text, or raise ``Unfit`` when it is too long."""
        with zipfile.ZipFile(self.path) as opened:
            row = opened.getinfo(member)
            if row.file_size > ZIP_TEXT_SIZE_BYTES_MAX:
                raise Unfit("member_size", f"{member}: {row.file_size}", ZIP_TEXT_SIZE_BYTES_MAX)
            return opened.read(row)


def checked(path: Path) -> Members:
    """Hold the zip file to the rules, or raise ``Unfit`` with the first it breaks."""
    size = path.stat().st_size
    _check_directory(path, size)
    try:
        with zipfile.ZipFile(path) as opened:
            rows = opened.infolist()
            unpacked = _check_rows(rows, size)
            with path.open("rb") as stream:
                _check_places(stream, rows, opened.start_dir)
            for row in rows:
                _check_content(opened, row)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise Unfit("zip", str(error), "") from error
    return Members(path, tuple(row.filename for row in rows), unpacked)


def _check_directory(path: Path, size: int) -> None:
    """Bound the directory before ``zipfile`` reads it whole."""
    with path.open("rb") as stream:
        stream.seek(max(0, size - _END_BYTES))
        tail = stream.read(_END_BYTES)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise Unfit("zip", "no directory", "")
    row = _END.unpack_from(tail, at)
    count, length = row[4], row[5]
    if count != 0xFFFF and count > ZIP_MEMBERS_MAX:
        raise Unfit("members", count, ZIP_MEMBERS_MAX)
    # In the 64-bit form the record stands elsewhere; zipfile then reads at most the file's end.
    length = min(length, size) if length != 0xFFFFFFFF else _zip64_length(tail[:at], size)
    if length > ZIP_DIRECTORY_SIZE_BYTES_MAX:
        raise Unfit("members", length, ZIP_DIRECTORY_SIZE_BYTES_MAX)


def _zip64_length(before: bytes, size: int) -> int:
    at = before.rfind(b"PK\x06\x06")
    if at < 0 or at + 56 > len(before):
        return size
    return int(struct.unpack_from("<Q", before, at + 40)[0])


def _check_rows(rows: Sequence[zipfile.ZipInfo], size: int) -> int:
    if len(rows) > ZIP_MEMBERS_MAX:
        raise Unfit("members", len(rows), ZIP_MEMBERS_MAX)
    seen: set[str] = set()
    for row in rows:
        named = row.orig_filename
        parts = named.replace("\\", "/").split("/")
        if named.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in named:
            raise Unfit("member_name", named, "folder/file")
        if named in seen:
            raise Unfit("member_twice", named, "")
        seen.add(named)
        if row.flag_bits & _ENCRYPTED:
            raise Unfit("member_encrypted", named, "")
        if row.compress_type not in _KNOWN_METHODS:
            raise Unfit("member_method", f"{named}: {row.compress_type}", "0, 8")
        if row.file_size > max(row.compress_size * ZIP_RATIO_MAX, _SMALL_BYTES):
            raise Unfit("member_ratio", f"{named}: {row.file_size}", ZIP_RATIO_MAX)
    unpacked = sum(row.file_size for row in rows)
    most = ZIP_UNPACKED_FACTOR_MAX * size + ZIP_UNPACKED_SPARE_BYTES_MAX
    if unpacked > most:
        raise Unfit("unpacked", unpacked, most)
    return unpacked


def _check_places(stream: BinaryIO, rows: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """Refuse bytes before, between and behind the members: they would be a member for some."""
    end = 0
    slack: tuple[int, ...] = (0,)
    for row in sorted(rows, key=lambda one: one.header_offset):
        if row.header_offset - end not in slack:
            raise Unfit("hidden_bytes", f"{row.filename}: {row.header_offset - end}", 0)
        stream.seek(row.header_offset)
        local = _LOCAL.unpack(stream.read(_LOCAL.size))
        name_bytes, extra_bytes = local[9], local[10]
        if local[0] != b"PK\x03\x04" or local[2] & _ENCRYPTED:
            raise Unfit("hidden_bytes", row.filename, "")
        end = row.header_offset + _LOCAL.size + name_bytes + extra_bytes + row.compress_size
        slack = _DESCRIPTOR_BYTES if row.flag_bits & _HAS_DESCRIPTOR else (0,)
    if directory - end not in slack:
        raise Unfit("hidden_bytes", directory - end, 0)


def _check_content(opened: zipfile.ZipFile, row: zipfile.ZipInfo) -> None:
    """Read a member through, in parts; ``zipfile`` raises where the checksum is wrong."""
    with opened.open(row) as stream:
        total = 0
        while part := stream.read(_READ_BYTES):
            total += len(part)
    if total != row.file_size:
        raise Unfit("zip", f"{row.filename}: {total}", row.file_size)
