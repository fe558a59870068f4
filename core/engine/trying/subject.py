"""What a Trial is about: one Release, its card, its files held here, and the model to run.

* A Release is what its Identity signed; without its card here nothing can be tried, since the
  card says which ways are switched on.
* An own Release is not tried: its plain files lie here, and are run as they are.
* Files that are missing are named, so that they can be fetched or carried over.

What may be granted is decided in ``hanse.core.trade``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.manifest import read_manifest, read_sealed_manifest
from hanse.core.artifacts.sealing import check_sealed
from hanse.core.certify.inspecting import inspect_limits
from hanse.core.engine.catalogue import CardMissing
from hanse.core.errors import Refused, RejectedEntry, WrongUse
from hanse.core.market.card_codec import read_card
from hanse.core.model.ids import EntryId

if TYPE_CHECKING:
    from hanse.core.artifacts.manifest import Manifest, SealedManifest
    from hanse.core.engine.content import Content
    from hanse.core.model.artifact import Format
    from hanse.core.model.card import ModelCard
    from hanse.core.model.control import Control
    from hanse.core.model.ids import IdentityId
    from hanse.core.model.running import WorkerLimits
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.unit_of_work import Repositories

_TEXTS: Final = (".md", ".txt", ".json", ".csv", ".toml", ".yaml", ".yml", ".html", ".license")
_CPU_SECONDS: Final = 60 * 60  # all questions of one Worker together; each has its own wall limit


class UnknownRelease(WrongUse):
    """No Release with this id is held."""

    code = "trial.unknown_release"
    text = "no release {release} is held here"
    fields = ("release",)


class OwnRelease(WrongUse):
    """A Release of one's own needs no Trial: its files are here."""

    code = "trial.own_release"
    text = "release {release} is of this account"
    fields = ("release",)


class NotSealed(Refused):
    """A Release given in the clear needs no sealed Trial: anybody may run it."""

    code = "trial.not_sealed"
    text = "release {release} is given in the clear"
    fields = ("release",)


class NoRunnableModel(Refused):
    """No file of an Artifact can be run here; ``formats`` are those it has."""

    code = "trial.no_model"
    text = "artifact {artifact} has no model that runs here, only {formats}"
    fields = ("artifact", "formats")


@dataclass(frozen=True, slots=True)
class Subject:
    """One Release with its card, and the task of its Listing (a hub id, or empty)."""

    row: ReleaseRow
    card: ModelCard
    task: str

    @property
    def release(self) -> EntryId:
        """Return the Release's id."""
        return self.row.release

    @property
    def seller(self) -> IdentityId:
        """Return whose it is."""
        return self.row.identity

    @property
    def artifact(self) -> bytes:
        """Return the Artifact of the full model."""
        return self.row.artifact


def subject_of(held: Repositories, content: Content, release: bytes) -> Subject:
    """Read a Release and its card; raise ``UnknownRelease`` or ``CardMissing``."""
    row = held.listings.release(EntryId(release))
    if row is None:
        raise UnknownRelease(release=release)
    raw = content.small.get(row.card)
    if raw is None:
        raise CardMissing(release=release)
    listing = held.listings.get(row.listing)
    try:
        return Subject(row, read_card(raw), "" if listing is None else listing.task)
    except RejectedEntry as error:
        raise CardMissing(release=release) from error


def sealed_files(
    subject: Subject, content: Content, control: Control
) -> tuple[Manifest, SealedManifest]:
    """Return both Manifests of a sealed Release, all its ciphertext held and right.

    Raises ``ObjectMissing``, ``PieceDamaged`` or ``LayerMissing`` for what has to be fetched,
    ``SealDiffers`` where what is held is not what was signed.
    """
    seal = subject.row.seal
    if seal is None:
        raise NotSealed(release=subject.release)
    plain = read_manifest(content.object(seal.manifests[0]))
    sealed = read_sealed_manifest(content.object(seal.manifests[1]), plain)
    check_sealed(plain, sealed, seal, subject.row.files, content.pieces, control)
    return plain, sealed


def run_limits(size_bytes: int, threads: int = 1) -> WorkerLimits:
    """Return how much a Worker may take that runs a model somebody waits for."""
    limits = inspect_limits(size_bytes, threads)
    return replace(limits, cpu_seconds=_CPU_SECONDS, nice=0)


def model_file(subject: Subject, manifest: Manifest) -> tuple[str, Format]:
    """Name the file of a sealed Release that runs, as its card says it; the run will tell."""
    names = {file.path for file in manifest.files}
    for variant in subject.card.variants:
        if variant.format == "onnx" and variant.file in names:
            return variant.file, "onnx"
        if variant.format == "tflite" and variant.file in names:
            return variant.file, "tflite"
    found = tuple(variant.format for variant in subject.card.variants)
    raise NoRunnableModel(artifact=subject.artifact, formats=found or subject.row.formats)


def files_beside(subject: Subject, manifest: Manifest, file: str) -> tuple[str, ...]:
    """Name the files an ONNX graph may keep its tensors in: all that are neither text nor model.

    The graph is sealed, so nobody can look which it names; too many take memory and no more.
    """
    models = {variant.file for variant in subject.card.variants}
    return tuple(
        one.path
        for one in manifest.files
        if one.size
        and one.path != file
        and one.path not in models
        and not one.path.lower().endswith(_TEXTS)
    )
