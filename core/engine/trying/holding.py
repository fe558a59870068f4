"""The ciphertext of a Sealed local trial: kept while the trial lasts, then as anybody's content.

* It is marked as held for a trial when the REQUEST is signed, so that neither a sweep nor the
  quota takes it, and the Artifact stands in the list of what is held.
* When the trial is over it stays as content held for others: whoever buys next needs it, and the
  quota takes it when there is no room.
* What is held for a stronger reason, such as being bought, stays that.

When a trial is over is not known here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hanse.core.artifacts.quota import Whose
from hanse.core.store.objects import ManifestRow, ObjectUse, Part

if TYPE_CHECKING:
    from hanse.core.artifacts.manifest import Manifest, SealedManifest
    from hanse.core.engine.trying.subject import Subject
    from hanse.core.store.trials import TrialRow
    from hanse.core.store.unit_of_work import UnitOfWork


def hold_sealed(
    uow: UnitOfWork, subject: Subject, plain: Manifest, sealed: SealedManifest, now_ms: int
) -> None:
    """Note that a trial wants the ciphertext, which is on disk; the caller commits."""
    seal = subject.row.seal
    assert seal is not None
    known = {
        (use.root, use.size): use.whose
        for use in uow.objects.of_artifact(subject.artifact)
        if use.part is Part.CIPHER
    }
    names = [(root, file.size) for root, file in zip(sealed.roots, plain.files, strict=True)]
    uow.objects.want(
        [
            ObjectUse(root, size, subject.artifact, Part.CIPHER, Whose.TRIAL, subject.release)
            for root, size in names
            if known.get((root, size), Whose.OTHERS) is Whose.OTHERS
        ],
        now_ms,
    )
    if uow.objects.manifest_of_release(subject.release) is None:
        row = ManifestRow(
            subject.artifact, now_ms, seal.manifests[1], seal.salt, release=subject.release
        )
        uow.objects.put_manifest(row)


def hold_no_longer(uow: UnitOfWork, row: TrialRow, now_ms: int) -> None:
    """Leave the ciphertext of a trial that is over to the quota; the caller commits."""
    uow.objects.want(
        [
            replace(use, whose=Whose.OTHERS)
            for use in uow.objects.of_artifact(row.artifact)
            if use.whose is Whose.TRIAL and use.release == row.release
        ],
        now_ms,
    )
