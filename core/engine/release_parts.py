"""What belongs to one Release, as anybody may hold it: Manifests, files, small objects.

* Of a sealed Release that is the ciphertext and the leaf layers of its plain files; of one given in
  the clear, its files.
* Nothing is taken from a Manifest before its hash was the signed one; whoever reads small objects
  sees to that.

How they come here, by a file or over the network, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.artifacts.manifest import read_manifest, read_sealed_manifest
from hanse.core.artifacts.quota import Whose
from hanse.core.artifacts.sealing import check_seal
from hanse.core.engine.redraft import readable_tiers
from hanse.core.errors import HanseError, RejectedEntry
from hanse.core.limits import CARD_SIZE_BYTES_MAX, LEAF_SIZE_BYTES, MANIFEST_SIZE_BYTES_MAX
from hanse.core.market.card_codec import read_card
from hanse.core.store.objects import ManifestRow, ObjectUse, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hanse.core.artifacts.manifest import FileEntry, Manifest, SealedManifest
    from hanse.core.artifacts.small import SmallStore
    from hanse.core.model.ids import EntryId
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.objects import ObjectName
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork


@dataclass(frozen=True, slots=True)
class Parts:
    """One Release with its Manifests."""

    row: ReleaseRow
    plain: Manifest
    sealed: SealedManifest | None

    @property
    def kind(self) -> Part:
        """Say whether the files travel as they are or sealed."""
        return Part.PLAIN if self.sealed is None else Part.CIPHER

    @property
    def is_right_count(self) -> bool:
        """Say whether there are as many files as the Release signed."""
        return len(self.plain.files) == self.row.files

    def wanted(self) -> list[ObjectName]:
        """Return the objects to hold, each once."""
        roots = [file.root for file in self.plain.files]
        if self.sealed is not None:
            roots = list(self.sealed.roots)
        named = zip(roots, self.plain.files, strict=True)
        return list(dict.fromkeys((root, file.size) for root, file in named))

    def travelling(self) -> list[ObjectName]:
        """Return those of them that travel; the empty file needs not."""
        return [one for one in self.wanted() if one[1]]

    def leaf_files(self) -> list[FileEntry]:
        """Return the plain files whose leaf layers go with ciphertext; one leaf needs none."""
        if self.sealed is None:
            return []
        found = {(file.root, file.size): file for file in self.plain.files}
        return [file for (_, size), file in found.items() if size > LEAF_SIZE_BYTES]


def read_parts(row: ReleaseRow, read: Callable[[bytes], bytes]) -> Parts:
    """Read both Manifests of a Release and check a seal against what it signed.

    ``read`` returns a small object by its hash.  Raises ``BadManifest``, ``BadArtifactPath`` or
    ``SealDiffers``, all of which are the seller's fault.
    """
    plain = read_manifest(read(row.artifact))
    if row.seal is None:
        return Parts(row, plain, None)
    sealed = read_sealed_manifest(read(row.seal.manifests[1]), plain)
    check_seal(plain, sealed, row.seal, row.files)
    return Parts(row, plain, sealed)


def parts_here(row: ReleaseRow, small: SmallStore) -> Parts | None:
    """Return the parts of a Release whose Manifests are held and sound, else None."""
    found: dict[bytes, bytes] = {}
    for digest in manifests_needed(row):
        raw = small_here(small, digest)
        if raw is None:
            return None
        found[digest] = raw
    try:
        parts = read_parts(row, found.__getitem__)
    except HanseError:
        return None  # a seller may sign the hash of anything
    return parts if parts.is_right_count else None


def small_here(small: SmallStore, digest: bytes) -> bytes | None:
    """Return a small object; one that rotted is as good as none."""
    try:
        return small.get(digest)
    except HanseError:
        return None


def manifests_needed(row: ReleaseRow) -> tuple[bytes, ...]:
    """Name the Manifests of a Release."""
    return (row.artifact,) if row.seal is None else (row.artifact, row.seal.manifests[1])


def small_needed(row: ReleaseRow) -> dict[bytes, int]:
    """Return the small objects without which a Release is of no use, with their bounds."""
    manifests = dict.fromkeys(manifests_needed(row), MANIFEST_SIZE_BYTES_MAX)
    return {row.card: CARD_SIZE_BYTES_MAX, **manifests}


def licence_texts(row: ReleaseRow) -> set[bytes]:
    """Name the texts of a Release's licences."""
    return {tier.terms.text_hash for tier in readable_tiers(row)}


def named_by_card(raw: bytes) -> set[bytes]:
    """Return the Blobs a card names: its evaluation set, and samples of inputs and outputs."""
    try:
        card = read_card(raw)
    except RejectedEntry:
        return set()  # the seller signed the hash of something else
    evaluation = card.stated_evaluation
    found = {card.recipe.samples, None if evaluation is None else evaluation.sha256}
    return {one for one in found if one is not None}


def unwanted_bytes(held: Repositories, parts: Parts) -> int:
    """Count what a Release would add to what is held for others."""
    return sum(size for root, size in parts.travelling() if not held.objects.uses_of((root, size)))


def note_uses(
    uow: UnitOfWork, parts: Parts, names: Iterable[ObjectName], now_ms: int, whose: Whose
) -> None:
    """Note that files of a Release are here, and why; the caller commits.

    What the Artifact wants already, perhaps for a stronger reason, stays as it is.
    """
    row = parts.row
    known = {
        (use.root, use.size): use.whose
        for use in uow.objects.of_artifact(row.artifact)
        if use.part is parts.kind
    }
    uow.objects.want(
        [
            ObjectUse(*one, row.artifact, parts.kind, whose, row.release)
            for one in names
            if one not in known or (whose is not Whose.OTHERS and known[one] is Whose.OTHERS)
        ],
        now_ms,
    )


def note_held(uow: UnitOfWork, parts: Parts, now_ms: int, whose: Whose = Whose.OTHERS) -> None:
    """Note that all files of a Release are here; the caller commits."""
    note_uses(uow, parts, parts.wanted(), now_ms, whose)
    row = parts.row
    held = {manifest.sealed for manifest in uow.objects.manifests_of(row.artifact)}
    digest = None if row.seal is None else row.seal.manifests[1]
    if digest not in held:
        salt = None if row.seal is None else row.seal.salt
        uow.objects.put_manifest(
            ManifestRow(row.artifact, now_ms, digest, salt, release=row.release)
        )


def parts_under_way(held: Repositories, small: SmallStore) -> Iterator[Parts]:
    """Yield what is known of the Releases that are being fetched."""
    yield from parts_of(held, small, (row.release for row in held.transfers.live()))


def parts_of(held: Repositories, small: SmallStore, releases: Iterable[EntryId]) -> Iterator[Parts]:
    """Yield the parts of Releases whose Manifests are held."""
    for release in releases:
        row = held.listings.release(release)
        parts = None if row is None else parts_here(row, small)
        if parts is not None:
            yield parts
