"""What the models of this folder take on the disk: counted, swept, checked and healed.

* Own files are never dropped by a quota; the quota is for what is held for others.
* A sweep removes files that no row wants, once they are old enough to be nobody's work
  in hand.
* Healing hashes everything again, makes damaged Pieces from the other form of the same
  file, and says which are lost: those have to be fetched from somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from hanse.core.artifacts.healing import Healed, reseal_pieces
from hanse.core.artifacts.manifest import read_manifest, read_sealed_manifest
from hanse.core.artifacts.pieces import gathering_name, leaf_gathering_name
from hanse.core.artifacts.quota import QuotaFull, Whose
from hanse.core.artifacts.tree import piece_count
from hanse.core.engine.release_parts import parts_under_way
from hanse.core.errors import EnvironmentFault, Refused, WrongUse
from hanse.core.limits import (
    OTHERS_CONTENT_BYTES_MAX,
    QUOTA_BYTES_MAX,
    UNWANTED_OBJECT_MS_MIN,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.artifacts.manifest import Manifest
    from hanse.core.artifacts.pieces import Swept
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.model.control import Control
    from hanse.core.store.objects import ManifestRow, ObjectName
    from hanse.core.store.unit_of_work import UnitOfWork

_QUOTA_NAME: Final = "quota_bytes"

Mend: TypeAlias = "Callable[[bytes, int, Sequence[int]], bool]"


class BadQuota(WrongUse):
    """A quota is no size this program could keep to."""

    code = "storage.bad_quota"
    text = "a quota has 0 to {most_bytes} bytes, not {found_bytes}"
    fields = ("found_bytes", "most_bytes")


@dataclass(frozen=True, slots=True)
class StorageView:
    """What is on the disk: by whose it is, what is in the making, what is free."""

    by_whose: dict[str, int]
    objects: int
    object_bytes: int
    layer_bytes: int
    part_bytes: int
    free_bytes: int
    quota_bytes: int


@dataclass(frozen=True, slots=True)
class HealedArtifact:
    """What was found wrong with one Artifact; ``missing`` names files that are not held.

    ``asked`` counts the lost Pieces that are being fetched again.
    """

    artifact: bytes
    healed: int
    lost: int
    missing: tuple[str, ...]
    asked: int = 0

    @property
    def is_whole(self) -> bool:
        """Say whether nothing has to be fetched."""
        return not self.lost and not self.missing


class Storing:
    """The content store of one Account, looked after."""

    def __init__(self, context: Context, content: Content) -> None:
        """Bind the Account and its files."""
        self._context = context
        self._content = content

    def view(self) -> StorageView:
        """Count everything."""
        with self._context.store.reads() as reads:
            by_whose = {whose.value: size for whose, size in reads.objects.usage().items()}
        usage = self._content.pieces.usage()
        return StorageView(
            by_whose=by_whose,
            objects=usage.objects,
            object_bytes=usage.object_bytes,
            layer_bytes=usage.layer_bytes,
            part_bytes=usage.part_bytes,
            free_bytes=self._content.pieces.free_bytes(),
            quota_bytes=self.quota(),
        )

    def quota(self) -> int:
        """Return how many bytes may be held for others."""
        with self._context.store.reads() as reads:
            kept = reads.meta.get(_QUOTA_NAME)
        return OTHERS_CONTENT_BYTES_MAX if kept is None else int(kept)

    def set_quota(self, size_bytes: int) -> None:
        """Set it; what is too much is dropped, the one seeded longest ago first."""
        if not 0 <= size_bytes <= QUOTA_BYTES_MAX:
            raise BadQuota(found_bytes=size_bytes, most_bytes=QUOTA_BYTES_MAX)
        with self._context.store.unit_of_work() as uow:
            uow.meta.put(_QUOTA_NAME, str(size_bytes))
            self._keep_quota(uow, size_bytes)
            uow.commit()

    def check_quota(self, coming_bytes: int) -> None:
        """Raise ``QuotaFull`` when so much of others does not fit, whatever is dropped."""
        most = self.quota()
        if coming_bytes > most:
            raise QuotaFull(need_bytes=coming_bytes, most_bytes=most)

    def make_room(self, uow: UnitOfWork, coming_bytes: int) -> None:
        """Drop what was seeded longest ago until ``coming_bytes`` of others fit; caller commits."""
        self.check_quota(coming_bytes)
        self._keep_quota(uow, self.quota() - coming_bytes)

    def _keep_quota(self, uow: UnitOfWork, most_bytes: int) -> None:
        while uow.objects.usage()[Whose.OTHERS] > most_bytes:
            name = uow.objects.evictable(limit=1)
            if not name:
                return
            uow.objects.evict(name[0])

    def sweep(self) -> Swept:
        """Remove what nothing wants: after a dropped Draft, an eviction, an abandoned import."""
        small = self._content.small
        with self._context.store.reads() as reads:
            wanted = set(reads.objects.wanted())
            sealed = {row.artifact for row in reads.objects.all_manifests() if row.sealed}
            coming = list(parts_under_way(reads, small))
        now_ms = self._context.clock.now_ms()
        self._content.sweep_work(now_ms)
        manifests = filter(None, map(self._manifest, sealed))
        beside = {(file.root, file.size) for one in manifests for file in one.files}
        fetched = {name for parts in coming for name in parts.travelling()}
        leafless = {(one.root, one.size) for parts in coming for one in parts.leaf_files()}
        beside |= leafless
        wanted |= fetched
        under_way = {gathering_name(*name) for name in fetched}
        under_way |= {leaf_gathering_name(*name) for name in leafless}
        return self._content.pieces.sweep(
            lambda root, size: (root, size) in wanted,
            now_ms,
            UNWANTED_OBJECT_MS_MIN,
            keep_layers=lambda root, size: (root, size) in beside,
            keep_part=under_way.__contains__,
        )

    def heal(
        self,
        control: Control,
        mend: Mend = lambda _root, _size, _pieces: False,
    ) -> tuple[HealedArtifact, ...]:
        """Check every Artifact held and make damaged Pieces again where that is possible.

        What is lost is given to ``mend`` by file, which has it fetched where there is a network
        and says whether it does.
        """
        context = self._context
        with context.store.reads() as reads:
            rows = list(reads.objects.all_manifests())
            seeds = context.all_seeds(reads) if context.keys is not None else {}
        sealed = {row.artifact for row in rows if row.sealed is not None}
        found = []
        for row in rows:
            if row.sealed is None and row.artifact in sealed:
                continue  # looked at together with its ciphertext
            manifest = self._manifest(row.artifact)
            if manifest is None:
                found.append(HealedArtifact(row.artifact, 0, 0, (row.artifact.hex(),)))
                continue
            if row.sealed is None:
                found.append(self._check_plain(manifest, control, mend))
                continue
            key = None
            if row.key_epoch in seeds and row.salt is not None:
                key = seeds[row.key_epoch].content_key(row.salt)
            found.append(self._heal_sealed(manifest, row, key, control, mend))
        return tuple(found)

    def _manifest(self, artifact: bytes) -> Manifest | None:
        raw = self._content.small.get(artifact)
        return None if raw is None else read_manifest(raw)

    def _check_plain(self, manifest: Manifest, control: Control, mend: Mend) -> HealedArtifact:
        pieces = self._content.pieces
        lost, asked, missing = 0, 0, []
        for file in manifest.files:
            if pieces.has(file.root, file.size):
                damaged = pieces.verify(file.root, file.size, control)
                lost += len(damaged)
            else:
                missing.append(file.path)
                damaged = tuple(range(piece_count(file.size)))
            asked += _asked(mend, (file.root, file.size), damaged)
        return HealedArtifact(manifest.artifact_id, 0, lost, tuple(missing), asked)

    def _heal_sealed(
        self,
        manifest: Manifest,
        row: ManifestRow,
        key: bytes | None,
        control: Control,
        mend: Mend,
    ) -> HealedArtifact:
        assert row.sealed is not None
        raw = self._content.small.get(row.sealed)
        if raw is None:
            return HealedArtifact(row.artifact, 0, 0, (row.sealed.hex(),))
        sealed = read_sealed_manifest(raw, manifest)
        healed: Healed = reseal_pieces(manifest, sealed, key, self._content.pieces, control)
        damaged: dict[int, list[int]] = {}
        for file, piece in healed.lost_sealed:
            damaged.setdefault(file, []).append(piece)
        return HealedArtifact(
            row.artifact,
            len(healed.healed_plain) + len(healed.healed_sealed),
            len(healed.lost_plain) + len(healed.lost_sealed),
            (),
            sum(
                _asked(mend, (sealed.roots[file], manifest.files[file].size), pieces)
                for file, pieces in damaged.items()
            ),
        )


def _asked(mend: Mend, name: ObjectName, pieces: Sequence[int]) -> int:
    """Have Pieces come again; return how many will."""
    if not pieces:
        return 0
    try:
        return len(pieces) if mend(*name, pieces) else 0
    except (Refused, EnvironmentFault):  # no room for it now: the next time
        return 0
