"""Manifests: the list of files that is an Artifact, and what sealing adds to it.

* Plain Manifest = DAG-CBOR ``[1, [[path, size, root, sha256], ...]]`` sorted by path bytes;
  the Artifact id is its SHA-256.  ``root`` binds; ``sha256`` is informative.
* Sealed Manifest = DAG-CBOR ``[1, artifact id, salt, ck_commit, [cipher root, ...]]``, in the
  order of the plain one.
* ``seal_root`` is the root over file records SHA-256(``hanse/file/v1`` + 0 + u32 file +
  u64 size + plain root + cipher root), filled with zero hashes to a power of two.  The file
  number is inside, so no file passes as another.
* Paths are fit for every system: no way out of a folder, no two that one system takes for one.
* Reading is strict and bounded: what is accepted is the one encoding of what it says, and
  nothing is built from a count before its bytes are there.

Whether the bytes are held, and who says that they are worth anything, is not known here.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.tree import EMPTY_ROOT, HASH_SIZE_BYTES, climb, fold, path_in
from hanse.core.crypto.signing import LABEL_FILE
from hanse.core.errors import Refused, VerificationFailed
from hanse.core.ledger.codec import encode
from hanse.core.limits import (
    ARTIFACT_FILE_SIZE_BYTES_MAX,
    ARTIFACT_FILES_MAX,
    ARTIFACT_PATH_SIZE_BYTES_MAX,
    ARTIFACT_SIZE_BYTES_MAX,
    MANIFEST_SIZE_BYTES_MAX,
    SHOWN_PATH_CHARACTERS_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SALT_SIZE_BYTES: Final = 32

_VERSION: Final = 1
_UNSIGNED, _BYTES, _TEXT, _LIST = 0, 2, 3, 4  # CBOR major types
_ROW_FIELDS: Final = 4
_SEALED_FIELDS: Final = 5
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_ON_WINDOWS: Final = re.compile('[<>:"|?*]')
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE
)


class BadArtifactPath(Refused):
    """A file's path may not stand in a Manifest; ``rule`` is a stable word."""

    code = "artifact.bad_path"
    text = "path {path} may not stand in an artifact: {rule}"
    fields = ("path", "rule")

    def __init__(self, path: str, rule: str) -> None:
        """Name the rule broken; the path is shown without what could fool a terminal."""
        super().__init__(path=shown_path(path), rule=rule)
        self.rule = rule


class ArtifactTooLarge(Refused):
    """A file, or all files together, are larger than an Artifact may be."""

    code = "artifact.too_large"
    text = "{path} has {found_bytes} bytes, limit {most_bytes}"
    fields = ("path", "found_bytes", "most_bytes")


class TooManyFiles(Refused):
    """More files, or a longer list of them, than an Artifact may have."""

    code = "artifact.too_many_files"
    text = "{path} has {found} {what}, limit {most}"
    fields = ("path", "what", "found", "most")


class BadManifest(VerificationFailed):
    """The bytes are no Manifest; ``reason`` is a stable word, ``offset`` where it shows."""

    code = "manifest.bad"
    text = "manifest is wrong at byte {offset}: {reason}"
    fields = ("offset", "reason")

    def __init__(self, offset: int, reason: str) -> None:
        """Say where and why."""
        super().__init__(offset=offset, reason=reason)
        self.reason = reason


# --- paths ----------------------------------------------------------------------------------


def shown_path(path: str) -> str:
    """Write a path so that a terminal can show it: cut, and nothing in it acts."""
    cut = path[:SHOWN_PATH_CHARACTERS_MAX]
    text = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut
    )
    return text if len(cut) == len(path) else text + "..."


def check_path(path: str) -> None:
    """Raise ``BadArtifactPath`` unless ``path`` is fit for every system."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:  # a name on disk that is no text
        raise BadArtifactPath(path, "not_text") from error
    if size > ARTIFACT_PATH_SIZE_BYTES_MAX:
        raise BadArtifactPath(path, "too_long")
    if _CONTROLS.search(path):
        raise BadArtifactPath(path, "control")
    if "\\" in path:
        raise BadArtifactPath(path, "backslash")
    # A colon would write into another stream of a file there, the others into none.
    if _NOT_ON_WINDOWS.search(path):
        raise BadArtifactPath(path, "not_on_windows")
    if not unicodedata.is_normalized("NFC", path):
        raise BadArtifactPath(path, "not_nfc")
    for part in path.split("/"):
        if not part:
            raise BadArtifactPath(path, "empty_part")
        if part in {".", ".."}:
            raise BadArtifactPath(path, "dots")
        if part.endswith((".", " ")):
            raise BadArtifactPath(path, "trailing")
        if _RESERVED.fullmatch(part.split(".", 1)[0].rstrip(" ")):
            raise BadArtifactPath(path, "reserved")


def check_paths(paths: Iterable[str]) -> None:
    """Check each path, and that no two are one on a system that ignores case.

    A file may not have the name of a folder either.
    """
    files: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        check_path(path)
        folded = _folded(path)
        if folded in files:
            raise BadArtifactPath(path, "twin")
        files.add(folded)
        end = folded.rfind("/")
        while end > 0 and (folder := folded[:end]) not in folders:
            folders.add(folder)
            end = folded.rfind("/", 0, end)
    for path in sorted(files & folders):
        raise BadArtifactPath(path, "folder_and_file")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


# --- the plain Manifest ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its BEP 52 root binds; ``sha256`` is the plain digest model hubs publish."""

    path: str
    size: int
    root: bytes
    sha256: bytes


@dataclass(frozen=True)
class Manifest:
    """The files of an Artifact, sorted by path bytes; made by ``of`` or ``read_manifest``."""

    files: tuple[FileEntry, ...]

    @classmethod
    def of(cls, files: Iterable[FileEntry]) -> Manifest:
        """Sort the files and check paths, counts and sizes."""
        found = cls(tuple(sorted(files, key=lambda file: file.path.encode(errors="replace"))))
        check_paths(file.path for file in found.files)
        check_sizes([(file.path, file.size) for file in found.files])
        if len(raw := found.encode()) > MANIFEST_SIZE_BYTES_MAX:
            raise TooManyFiles(
                path=shown_path(found.files[0].path),
                what="manifest_bytes",
                found=len(raw),
                most=MANIFEST_SIZE_BYTES_MAX,
            )
        return found

    @cached_property
    def artifact_id(self) -> bytes:
        """The Artifact id: what Certificates, Trials and Licences bind."""
        return sha256(self.encode()).digest()

    @property
    def size(self) -> int:
        """The size of all files together."""
        return sum(file.size for file in self.files)

    def encode(self) -> bytes:
        """Return the one encoding, whose SHA-256 is the Artifact id."""
        rows = [[file.path, file.size, file.root, file.sha256] for file in self.files]
        return encode([_VERSION, rows])


def check_sizes(files: Sequence[tuple[str, int]]) -> None:
    """Raise ``TooManyFiles`` or ``ArtifactTooLarge`` for (path, size) beyond the limits."""
    if len(files) > ARTIFACT_FILES_MAX:
        raise TooManyFiles(path=".", what="files", found=len(files), most=ARTIFACT_FILES_MAX)
    for path, size in files:
        _check_size(path, size, ARTIFACT_FILE_SIZE_BYTES_MAX)
    _check_size(".", sum(size for _, size in files), ARTIFACT_SIZE_BYTES_MAX)


def _check_size(path: str, found: int, most: int) -> None:
    if found > most:
        raise ArtifactTooLarge(path=shown_path(path), found_bytes=found, most_bytes=most)


def read_manifest(raw: bytes) -> Manifest:
    """Read the bytes of a plain Manifest, or raise ``BadManifest`` or what ``check_path`` does."""
    reader = _Reader(raw)
    reader.version(2)
    count = reader.head(_LIST, ARTIFACT_FILES_MAX, "too_many_files")
    files: list[FileEntry] = []
    before = b""
    for _ in range(count):
        begin = reader.offset
        reader.exactly(_LIST, _ROW_FIELDS)
        path_bytes = reader.sized(_TEXT, ARTIFACT_PATH_SIZE_BYTES_MAX)
        if path_bytes <= before and files:
            raise BadManifest(begin, "unsorted")
        before = path_bytes
        size = reader.head(_UNSIGNED, ARTIFACT_FILE_SIZE_BYTES_MAX, "too_big")
        root = reader.hash()
        if (size == 0) != (root == EMPTY_ROOT):
            raise BadManifest(begin, "empty_root")
        files.append(FileEntry(reader.text(path_bytes, begin), size, root, reader.hash()))
    reader.end()
    if not (size := sum(file.size for file in files)):
        raise BadManifest(0, "empty")
    if size > ARTIFACT_SIZE_BYTES_MAX:
        raise BadManifest(0, "too_big")
    check_paths(file.path for file in files)
    return Manifest(tuple(files))


# --- sealing --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SealedManifest:
    """The roots of an Artifact's ciphertext, in the order of its plain Manifest."""

    artifact_id: bytes
    salt: bytes
    ck_commit: bytes
    roots: tuple[bytes, ...]

    @cached_property
    def sealed_id(self) -> bytes:
        """The id of the sealed Manifest: what ``release/1`` names beside the Artifact id."""
        return sha256(self.encode()).digest()

    def encode(self) -> bytes:
        """Return the one encoding."""
        return encode([_VERSION, self.artifact_id, self.salt, self.ck_commit, list(self.roots)])


def read_sealed_manifest(raw: bytes, manifest: Manifest) -> SealedManifest:
    """Read the bytes of ``manifest``'s sealed Manifest, or raise ``BadManifest``."""
    reader = _Reader(raw)
    reader.version(_SEALED_FIELDS)
    artifact_id, salt, ck_commit = reader.hash(), reader.hash(), reader.hash()
    if artifact_id != manifest.artifact_id:
        raise BadManifest(0, "other_artifact")
    begin = reader.offset
    count = reader.head(_LIST, ARTIFACT_FILES_MAX, "too_many_files")
    if count != len(manifest.files):
        raise BadManifest(begin, "other_files")
    roots: list[bytes] = []
    for file in manifest.files:
        begin = reader.offset
        roots.append(reader.hash())
        if (file.size == 0) != (roots[-1] == EMPTY_ROOT):
            raise BadManifest(begin, "empty_root")
    reader.end()
    return SealedManifest(artifact_id, salt, ck_commit, tuple(roots))


def file_record(file: int, size: int, plain_root: bytes, cipher_root: bytes) -> bytes:
    """Return the leaf of one file below ``seal_root``; ``file`` counts from 0."""
    place = file.to_bytes(4, "big") + size.to_bytes(8, "big")
    return sha256(LABEL_FILE + place + plain_root + cipher_root).digest()


def seal_root(manifest: Manifest, roots: Sequence[bytes]) -> bytes:
    """Return the root over all file records: all that a Proof has to climb to."""
    return fold(_records(manifest, roots), 0)


def seal_path(manifest: Manifest, roots: Sequence[bytes], file: int) -> list[bytes]:
    """Return the path from one file's record to ``seal_root``, lowest sibling first."""
    return path_in(_records(manifest, roots), file, 0)


def is_below_seal_root(
    root: bytes, files: int, file: int, record: bytes, path: Sequence[bytes]
) -> bool:
    """Say whether ``record`` is that of file ``file`` of ``files`` (a signed number)."""
    return (
        0 <= file < files <= ARTIFACT_FILES_MAX
        and len(path) == (files - 1).bit_length()
        and all(len(sibling) == HASH_SIZE_BYTES for sibling in path)
        and climb(record, file, path) == root
    )


def _records(manifest: Manifest, roots: Sequence[bytes]) -> bytes:
    assert len(roots) == len(manifest.files)
    pairs = zip(manifest.files, roots, strict=True)
    return b"".join(
        file_record(number, file.size, file.root, root) for number, (file, root) in enumerate(pairs)
    )


# --- strict reading -------------------------------------------------------------------------


class _Reader:
    """Reads the few CBOR forms a Manifest has, each in its shortest form only.

    So what is read is canonical by construction, and a hostile count or nesting never
    becomes an object.
    """

    def __init__(self, raw: bytes) -> None:
        if len(raw) > MANIFEST_SIZE_BYTES_MAX:
            raise BadManifest(0, "too_big")
        self._raw = raw
        self.offset = 0

    def head(self, major: int, most: int, beyond: str) -> int:
        """Read one head of type ``major`` and return its number."""
        begin = self.offset
        found, info = divmod(self.take(1)[0], 32)
        if found != major or info > 27:
            raise BadManifest(begin, "bad_shape")
        if info < 24:
            number = info
        else:
            width = 1 << (info - 24)
            number = int.from_bytes(self.take(width), "big")
            if number < (24 if width == 1 else 1 << 4 * width):
                raise BadManifest(begin, "not_canonical")
        if number > most:
            raise BadManifest(begin, beyond)
        return number

    def exactly(self, major: int, number: int) -> None:
        """Read one head whose number can only be this one."""
        begin = self.offset
        if self.head(major, 2**64, "bad_shape") != number:
            raise BadManifest(begin, "bad_shape")

    def version(self, fields: int) -> None:
        """Read the outer list and the format's number."""
        self.exactly(_LIST, fields)
        begin = self.offset
        if self.head(_UNSIGNED, 2**64, "version") != _VERSION:
            raise BadManifest(begin, "version")

    def sized(self, major: int, most: int) -> bytes:
        """Read bytes or text of a length up to ``most``."""
        return self.take(self.head(major, most, "too_big"))

    def hash(self) -> bytes:
        """Read 32 bytes."""
        self.exactly(_BYTES, HASH_SIZE_BYTES)
        return self.take(HASH_SIZE_BYTES)

    def text(self, raw: bytes, begin: int) -> str:
        """Read UTF-8."""
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise BadManifest(begin, "not_text") from error

    def take(self, size: int) -> bytes:
        """Take the next bytes."""
        if self.offset + size > len(self._raw):
            raise BadManifest(self.offset, "cut_short")
        self.offset += size
        return self._raw[self.offset - size : self.offset]

    def end(self) -> None:
        """Refuse bytes behind the end."""
        if self.offset != len(self._raw):
            raise BadManifest(self.offset, "trailing")
