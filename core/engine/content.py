"""The bytes of models in one data folder: imported, sealed, and the rows that say why.

* Files first, then the rows that want them, in the caller's transaction: what a row
  names is on disk.  Files that no row wants are swept later.
* A seal's salt is random and belongs to one Artifact; the Content key is made of it and
  of the seeds of a key epoch, and is kept nowhere.
* Work that a Worker reads or writes has a folder on the same disk, emptied afterwards.

What is published of it is not known here.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.manifest import (
    SALT_SIZE_BYTES,
    Manifest,
    read_manifest,
    read_sealed_manifest,
    seal_root,
)
from hanse.core.artifacts.opening import check_opens
from hanse.core.artifacts.pieces import ObjectMissing, PieceStore
from hanse.core.artifacts.quota import Whose
from hanse.core.artifacts.sealing import seal_artifact
from hanse.core.artifacts.small import SmallStore
from hanse.core.durable import make_private_folder, make_temporary_folder
from hanse.core.ledger.kinds import Seal
from hanse.core.limits import PART_MS_MAX
from hanse.core.store.objects import ManifestRow, ObjectUse, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hanse.core.engine.context import Context
    from hanse.core.model.control import Control
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

_WORK_PREFIX: Final = "work-"
_SALT_NAME: Final = "seal_salt/"


@dataclass(frozen=True, slots=True)
class SealedHere:
    """A sealing of one Artifact whose files are on disk: what its Release will say of it."""

    seal: Seal
    files: int


class Content:
    """All files of models of one Account."""

    def __init__(self, context: Context) -> None:
        """Use the Account's data folder; nothing is made yet."""
        self._context = context
        self.pieces = PieceStore(context.home.folder)
        self.small = SmallStore(context.home.folder)

    @contextmanager
    def work(self) -> Iterator[Path]:
        """Give an empty folder beside the objects, so that files can be linked into it."""
        parent = self._context.home.folder / "store" / "work"
        make_private_folder(parent)
        folder = make_temporary_folder(parent, _WORK_PREFIX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep_work(self, now_ms: int) -> None:
        """Remove folders that a killed program left; none is in use for so long."""
        for folder in (self._context.home.folder / "store" / "work").glob(f"{_WORK_PREFIX}*"):
            if now_ms - folder.stat().st_mtime_ns // 1_000_000 >= PART_MS_MAX:
                shutil.rmtree(folder, ignore_errors=True)

    def files(self, manifest: Manifest) -> Mapping[str, Path]:
        """Name where the plain bytes of each file lie."""
        return {file.path: self.pieces.path(file.root, file.size) for file in manifest.files}

    def manifest(self, artifact: bytes) -> Manifest:
        """Read the list of files of an Artifact held here."""
        return read_manifest(self.object(artifact))

    def object(self, digest: bytes) -> bytes:
        """Return a small object, or raise ``ObjectMissing``."""
        raw = self.small.get(digest)
        if raw is None:
            raise ObjectMissing(name=digest.hex(), path=self._context.home.folder)
        return raw

    def keep(self, uow: UnitOfWork, manifest: Manifest) -> None:
        """Note that the plain files of an Artifact, which are on disk, are wanted as our own."""
        self.small.put(manifest.encode())
        artifact, now_ms = manifest.artifact_id, self._context.clock.now_ms()
        uow.objects.want(
            [
                ObjectUse(file.root, file.size, artifact, Part.PLAIN, Whose.OWN)
                for file in manifest.files
            ],
            now_ms,
        )
        if all(row.sealed is not None for row in uow.objects.manifests_of(artifact)):
            uow.objects.put_manifest(ManifestRow(artifact, now_ms))  # else it may name a Release

    def sealing(self, held: Repositories, artifact: bytes) -> SealedHere | None:
        """Return the sealing of an Artifact that waits for its Release, if there is one.

        Under the newest key epoch, and of no other Release: each has a Content key of its own.
        """
        epoch = self._newest_epoch(held)
        for row in held.objects.manifests_of(artifact):
            if row.sealed is not None and row.key_epoch == epoch and row.release is None:
                assert row.salt is not None
                return self._sealed_here(artifact, row.sealed, row.salt, epoch)
        return None

    def seal(self, artifact: bytes, control: Control) -> SealedHere:
        """Seal an Artifact under its own Content key, open it once, and keep what it needs."""
        context = self._context
        with context.store.unit_of_work() as uow:
            known = self.sealing(uow, artifact)
            if known is not None:
                return known
            epoch = self._newest_epoch(uow)
            seeds = context.all_seeds(uow)[epoch]
            salt = self._salt(uow, artifact, epoch)
            uow.commit()
        manifest = self.manifest(artifact)
        key = seeds.content_key(salt)
        sealed = seal_artifact(manifest, key, salt, self.pieces, control)
        check_opens(manifest, sealed.manifest, key, self.pieces, control)
        digest = self.small.put(sealed.manifest.encode())
        now_ms = context.clock.now_ms()
        with context.store.unit_of_work() as uow:
            uow.objects.want(
                [
                    ObjectUse(root, file.size, artifact, Part.CIPHER, Whose.OWN, None, epoch)
                    for root, file in zip(sealed.manifest.roots, manifest.files, strict=True)
                ],
                now_ms,
            )
            uow.objects.put_manifest(ManifestRow(artifact, now_ms, digest, salt, epoch))
            uow.commit()
        return self._sealed_here(artifact, digest, salt, epoch)

    def _salt(self, uow: UnitOfWork, artifact: bytes, epoch: int) -> bytes:
        """Draw the salt of the next Release once: a sealing that was killed goes on with it."""
        name = f"{_SALT_NAME}{epoch}/{artifact.hex()}"
        kept = uow.meta.get(name)
        used = {row.salt for row in uow.objects.manifests_of(artifact) if row.release is not None}
        if kept is None or bytes.fromhex(kept) in used:
            kept = self._context.chance.bytes(SALT_SIZE_BYTES).hex()
            uow.meta.put(name, kept)
        return bytes.fromhex(kept)

    def _newest_epoch(self, held: Repositories) -> int:
        return max(self._context.all_seeds(held))

    def _sealed_here(self, artifact: bytes, digest: bytes, salt: bytes, epoch: int) -> SealedHere:
        manifest = self.manifest(artifact)
        sealed = read_sealed_manifest(self.object(digest), manifest)
        seal = Seal(
            v=1,
            epoch=epoch,
            salt=salt,
            ck_commit=sealed.ck_commit,
            seal_root=seal_root(manifest, sealed.roots),
            scope="release",
            manifests=(artifact, digest),
        )
        return SealedHere(seal, len(manifest.files))
