"""A Release carried by a file: written by whoever holds it, taken by whoever wants to try it.

* What is written is what anybody may hold: Entries, small objects, ciphertext and the leaf
  layers of the plain files; of a Release given in the clear, its files.  Never a key.
* Entries first, through the same gate as any; then nothing is kept before its hash was checked
  against what the Entries signed, and nothing that they do not name is taken.
* What was whole before a kill, a cancel or a fault stays; the same file again goes on.
* What is taken is held for others: the quota takes it when there is no room.

Whether a Release is worth anything, still offered or withdrawn, is not asked.  Nothing is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.layers import LayerMissing, leaves_length
from hanse.core.artifacts.pieces import ObjectMissing, OtherContent
from hanse.core.artifacts.tree import (
    HASH_SIZE_BYTES,
    leaf_count,
    piece_count,
    piece_length,
    piece_node,
    root_of_layer,
    root_of_leaves,
)
from hanse.core.durable import write_durably_with
from hanse.core.engine.release_file import (
    FEED,
    BadReleaseFile,
    MemberDiffers,
    MemberSize,
    file_name,
    open_release_file,
    release_file_writer,
    small_name,
)
from hanse.core.engine.release_parts import (
    Parts,
    licence_texts,
    named_by_card,
    note_held,
    read_parts,
    small_needed,
    unwanted_bytes,
)
from hanse.core.engine.trying.subject import UnknownRelease
from hanse.core.errors import Refused
from hanse.core.limits import (
    BLOB_SIZE_BYTES_MAX,
    CARD_SIZE_BYTES_MAX,
    PIECE_SIZE_BYTES,
    RELEASE_FILE_CERTIFICATES_MAX,
    RELEASE_FILE_SMALL_MAX,
)
from hanse.core.model.ids import EntryId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from hanse.core.artifacts.manifest import FileEntry
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.ledger import HeldLedger
    from hanse.core.engine.release_file import ReleaseFileReader
    from hanse.core.engine.storing import Storing
    from hanse.core.engine.views import ImportReport
    from hanse.core.model.control import Control
    from hanse.core.model.ids import AuthorKey, IdentityId
    from hanse.core.store.certificates import CertificateRow
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.unit_of_work import Repositories

_STAGE: Final = "carry"
_DAMAGED: Final = "damaged"  # what an import calls a feed file that is not whole
_PAGE: Final = 50


class ReleaseNotInFile(Refused):
    """The Feeds of a release file do not lead to the Release it says it is of."""

    code = "release_file.no_release"
    text = "{path} names release {release}, and its feeds do not have it"
    fields = ("path", "release")


@dataclass(frozen=True, slots=True)
class CarriedView:
    """What was written; ``files`` is 0 for a file with the small parts alone."""

    path: Path
    release: bytes
    feeds: int
    entries: int
    small: int
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TakenView:
    """What was taken; ``is_whole`` says that all files of the Release are held now."""

    release: bytes
    listing: bytes
    artifact: bytes
    feed: ImportReport
    small: int
    files: int
    size_bytes: int
    is_sealed: bool
    is_whole: bool


class Carrying:
    """Releases carried in and out of one Account by files."""

    def __init__(
        self, context: Context, content: Content, ledger: HeldLedger, storing: Storing
    ) -> None:
        """Bind the Account, its files, its Feeds and its quota."""
        self._context = context
        self._content = content
        self._ledger = ledger
        self._storing = storing

    # --- out ---------------------------------------------------------------------------------

    def write_release(
        self, release: bytes, path: Path, control: Control, *, with_files: bool = True
    ) -> CarriedView:
        """Write a ``.hanse-release``: replaced as a whole, or not at all.

        Raises ``UnknownRelease``, and ``ObjectMissing``, ``PieceDamaged`` or ``LayerMissing``
        for what is not held here as it was signed.
        """
        with self._context.store.reads() as reads:
            row = reads.listings.release(EntryId(release))
            if row is None:
                raise UnknownRelease(release=release)
            certificates = _carried_certificates(reads, row)
            authors = _authors(reads, [row.identity, *(one.identity for one in certificates)])
        parts = self._parts(row, self._content.object)
        small = self._small(row, certificates)
        objects = _member_names(parts) if with_files else {}
        layers = _layer_names(parts) if with_files else {}
        for root, size in objects:
            if not self._content.pieces.has(root, size):
                path_there = self._content.pieces.path(root, size)
                raise ObjectMissing(name=path_there.name, path=self._content.pieces.folder)
        total, done = sum(size for _, size in objects), 0

        def pieces(root: bytes, size: int) -> Iterator[bytes]:
            for piece in range(piece_count(size)):
                control.checkpoint(_STAGE, done + piece * PIECE_SIZE_BYTES, total)
                yield self._content.pieces.read_piece(root, size, piece)

        def write(stream: BinaryIO) -> tuple[int, int]:
            nonlocal done
            control.checkpoint(_STAGE, 0, total)
            with release_file_writer(stream, release) as writer:
                with writer.member(FEED) as feed:
                    entries, feeds = self._ledger.write_feeds(feed, authors=authors)
                for digest in small:
                    writer.put(small_name(digest), [self._content.object(digest)])
                for name, file in layers.items():
                    control.checkpoint(_STAGE, 0, total)
                    writer.put(name, self._layer(file))
                for (root, size), name in objects.items():
                    writer.put(name, pieces(root, size))
                    done += size
            control.checkpoint(_STAGE, total, total)
            return entries, feeds

        entries, feeds = write_durably_with(path, write)
        return CarriedView(
            path=path,
            release=release,
            feeds=feeds,
            entries=entries,
            small=len(small),
            files=len(objects),
            size_bytes=path.stat().st_size,
        )

    def _layer(self, file: FileEntry) -> Iterator[bytes]:
        for piece in range(piece_count(file.size)):
            yield self._content.pieces.layers.piece_leaves(file.root, file.size, piece)

    def _small(self, row: ReleaseRow, certificates: Sequence[CertificateRow]) -> list[bytes]:
        """Name the small objects to write: what the Release needs, and the others where held."""
        needed = small_needed(row)
        small = self._content.small
        maybe = named_by_card(self._content.object(row.card)) | licence_texts(row)
        golden = [one.golden for one in certificates if one.golden is not None]
        others = [one for one in (*maybe, *golden) if one not in needed]
        held = [one for one in dict.fromkeys(others) if small.get(one) is not None]
        return [*needed, *held]

    def _parts(self, row: ReleaseRow, read: Callable[[bytes], bytes]) -> Parts:
        """Read both Manifests and check them against what the Release signed."""
        parts = read_parts(row, read)
        if not parts.is_right_count:
            raise BadReleaseFile(small_name(row.artifact), "other_files")
        return parts

    # --- in ----------------------------------------------------------------------------------

    def take_release(self, path: Path, control: Control) -> TakenView:
        """Take a ``.hanse-release``; raises what is wrong with it and keeps what was right.

        The Entries stay in every case: they passed the gate by themselves.
        """
        with open_release_file(path) as file:
            control.checkpoint(_STAGE, 0, 1)
            feed = self._take_feeds(file)
            with self._context.store.reads() as reads:
                row = reads.listings.release(file.release)
                if row is None:
                    raise ReleaseNotInFile(path=path.name, release=file.release)
                golden = _golden_in(reads, row, file)
            needed, texts = small_needed(row), licence_texts(row)
            parts = self._parts(row, lambda digest: _read_small(file, digest, needed[digest]))
            small = {**needed, **dict.fromkeys(texts, BLOB_SIZE_BYTES_MAX), **golden}
            card = _read_small(file, row.card, CARD_SIZE_BYTES_MAX)
            small.update(dict.fromkeys(named_by_card(card), BLOB_SIZE_BYTES_MAX))
            present = {
                digest: small[digest] for digest in small if small_name(digest) in file.names
            }
            has_files = self._check_names(file, parts, present)
            self._check_room(file, parts, present, has_files=has_files)
            for number, (digest, most) in enumerate(present.items()):
                control.checkpoint(_STAGE, number, len(present))
                self._content.small.put(_read_small(file, digest, most))
            if has_files:
                self._take_files(file, parts, control)
        pieces = self._content.pieces
        objects = _member_names(parts)
        return TakenView(
            release=row.release,
            listing=row.listing,
            artifact=row.artifact,
            feed=feed,
            small=len(present),
            files=len(objects) if has_files else 0,
            size_bytes=sum(size for _, size in objects) if has_files else 0,
            is_sealed=row.seal is not None,
            is_whole=all(pieces.has(*one) for one in parts.wanted()),
        )

    def _take_feeds(self, file: ReleaseFileReader) -> ImportReport:
        report = self._ledger.import_feeds(file.open(FEED), FEED)
        for fault in report.rejected:
            if fault.reason == _DAMAGED:
                raise BadReleaseFile(FEED, _DAMAGED)
        return report

    def _check_names(self, file: ReleaseFileReader, parts: Parts, small: dict[bytes, int]) -> bool:
        """Refuse what the Release does not name, or a part of its files; say if there are any."""
        if len(small) > RELEASE_FILE_SMALL_MAX:
            raise BadReleaseFile(FEED, "too_many")
        known = {FEED, *map(small_name, small)}
        sizes = {name: size for (_, size), name in _member_names(parts).items()}
        for name, one in _layer_names(parts).items():
            sizes[name] = leaf_count(one.size) * HASH_SIZE_BYTES
        for name in sorted(file.names - known - set(sizes)):
            raise BadReleaseFile(name, "unknown")
        if not file.names & set(sizes):
            return False
        for name, size in sizes.items():
            if file.size(name) != size:
                raise MemberSize(member=name, expected_bytes=size, found_bytes=file.size(name))
        return True

    def _check_room(
        self, file: ReleaseFileReader, parts: Parts, small: dict[bytes, int], *, has_files: bool
    ) -> None:
        """Raise ``NotEnoughSpace`` or ``QuotaFull`` before anything is written."""
        coming = sum(file.size(small_name(digest)) for digest in small)
        if has_files:
            objects = _member_names(parts)
            missing = [one for one in objects if not self._content.pieces.has(*one)]
            coming += sum(size for _, size in missing)
            coming += sum(file.size(name) for name in _layer_names(parts))
            with self._context.store.reads() as reads:
                self._storing.check_quota(unwanted_bytes(reads, parts))
        self._content.pieces.check_room(coming)

    def _take_files(self, file: ReleaseFileReader, parts: Parts, control: Control) -> None:
        """Take layers and files, then note them; each is whole before the next is begun."""
        for name, one in _layer_names(parts).items():
            control.checkpoint(_STAGE, 0, 1)
            self._take_layer(file, name, one)
        objects, done = _member_names(parts), 0
        total = sum(size for _, size in objects)
        for (root, size), name in objects.items():
            control.checkpoint(_STAGE, done, total)
            self._take_file(file, name, root, size, control)
            done += size
        context = self._context
        with context.store.unit_of_work() as uow:
            self._storing.make_room(uow, unwanted_bytes(uow, parts))
            note_held(uow, parts, context.clock.now_ms())
            uow.commit()

    def _take_file(
        self, file: ReleaseFileReader, name: str, root: bytes, size: int, control: Control
    ) -> None:
        pieces = self._content.pieces
        stream = file.open(name)
        if pieces.has(root, size):
            for piece in pieces.verify(root, size, control):  # rotten here, and right in the file
                stream.seek(piece * PIECE_SIZE_BYTES)
                raw = stream.read(piece_length(size, piece))
                try:
                    pieces.repair_piece(root, size, piece, raw)
                except OtherContent as error:
                    raise BadReleaseFile(name, "piece") from error
            pieces.touch(root, size)
            return
        try:
            pieces.add(root, size, stream, control)
        except OtherContent as error:
            if not error.found:
                raise BadReleaseFile(name, "cut") from error
            raise MemberDiffers(
                member=name, expected=root.hex(), found=error.found.hex()
            ) from error

    def _take_layer(self, file: ReleaseFileReader, name: str, one: FileEntry) -> None:
        nodes, last = bytearray(), b""

        def chunks() -> Iterator[bytes]:
            nonlocal last
            stream = file.open(name)
            for piece in range(piece_count(one.size)):
                last = stream.read(leaves_length(one.size, piece))
                nodes.extend(piece_node(last))
                yield last

        try:
            self._content.pieces.layers.keep(one.root, one.size, chunks())
        except LayerMissing as error:
            is_large = one.size > PIECE_SIZE_BYTES
            found = root_of_layer(bytes(nodes)) if is_large else root_of_leaves(last)
            raise MemberDiffers(member=name, expected=one.root.hex(), found=found.hex()) from error


def _member_names(parts: Parts) -> dict[tuple[bytes, int], str]:
    """Name the members that hold the files of a Release."""
    return {one: file_name(parts.kind.value, *one) for one in parts.travelling()}


def _layer_names(parts: Parts) -> dict[str, FileEntry]:
    """Name the members that hold the leaf layers which go with ciphertext."""
    return {file_name("leaves", file.root, file.size): file for file in parts.leaf_files()}


def _carried_certificates(held: Repositories, row: ReleaseRow) -> list[CertificateRow]:
    """Return the newest Certificates of the Artifact, and always the seller's."""
    newest = held.certificates.of_artifact(row.artifact, limit=RELEASE_FILE_CERTIFICATES_MAX)
    own = held.certificates.newest_by(row.identity, row.artifact)
    if own is not None and own.cert not in {one.cert for one in newest}:
        newest = [*newest[:-1], own]
    return newest


def _authors(held: Repositories, identities: Sequence[IdentityId]) -> list[AuthorKey]:
    return [
        feed.author
        for identity in dict.fromkeys(identities)
        for feed in held.feeds.of_identity(identity)
    ]


def _golden_in(held: Repositories, row: ReleaseRow, file: ReleaseFileReader) -> dict[bytes, int]:
    """Return the golden vectors in a file that Certificates held here name, with their sizes."""
    found: dict[bytes, int] = {}
    before = None
    while page := held.certificates.of_artifact(row.artifact, before, _PAGE):
        for one in page:
            if one.golden is not None and small_name(one.golden) in file.names:
                found[one.golden] = BLOB_SIZE_BYTES_MAX
        before = page[-1].place
    return found


def _read_small(file: ReleaseFileReader, digest: bytes, most: int) -> bytes:
    """Read a small object of at most ``most`` bytes; raise ``MemberDiffers`` if it is another."""
    name = small_name(digest)
    size = file.size(name)
    if size > most:
        raise MemberSize(member=name, expected_bytes=most, found_bytes=size)
    raw = file.open(name).read(size)
    if (found := sha256(raw).digest()) != digest:
        raise MemberDiffers(member=name, expected=digest.hex(), found=found.hex())
    return raw
