"""What is certified: an Artifact held here, what is said of it, and by whom it is offered.

* It is found by Release, by Listing (its newest full Release), by Draft, or by its own id.
* Its plain files must be here; a sealed one that is not ours is certified through a Trial.
* Whoever offers it certifies as *seller*, everybody else as *tester*.

How it is certified is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from hanse.core.artifacts.formats import recognise_artifact
from hanse.core.certify.source import StagedModel
from hanse.core.engine.kept_draft import decode_kept
from hanse.core.engine.naming import id_digits, listing_named, release_named, the_one
from hanse.core.errors import Refused, RejectedEntry, WrongUse
from hanse.core.market.card_codec import read_card
from hanse.core.model.artifact import RUNNABLE
from hanse.core.model.ids import BadId, EntryId
from hanse.core.store.objects import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hanse.core.artifacts.manifest import Manifest
    from hanse.core.engine.content import Content
    from hanse.core.model.card import ModelCard
    from hanse.core.model.certificate import ParityWord, Role
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.unit_of_work import Repositories


class ArtifactNotHeld(Refused):
    """The plain files of an Artifact are not on this machine."""

    code = "certify.not_held"
    text = "the plain files of artifact {artifact} are not held here"
    fields = ("artifact",)


class NothingToCertify(WrongUse):
    """No Release, Listing, Draft or Artifact held here is meant."""

    code = "certify.nothing"
    text = "nothing held here is named {found}"
    fields = ("found",)


@dataclass(frozen=True, slots=True)
class Named:
    """An Artifact, and the Release it was found by, if any."""

    artifact: bytes
    release: EntryId | None


@dataclass(frozen=True, slots=True)
class Target:
    """An Artifact with what is said of it; ``files`` are where its plain bytes lie, if they do."""

    artifact: bytes
    manifest: Manifest
    files: Mapping[str, Path]
    card: ModelCard | None
    task: str
    parity: ParityWord | None
    made_from: bytes | None
    release: EntryId | None
    listing: EntryId | None
    seller: IdentityId | None
    role: Role


def named(held: Repositories, text: str) -> Named:
    """Find what a person means by the first digits of an id of any kind."""
    try:
        digits = id_digits(text)
    except BadId as error:
        raise NothingToCertify(found=text) from error
    for find in (_by_release, _by_listing, _by_draft, _by_artifact):
        found = find(held, digits)
        if found is not None:
            return found
    raise NothingToCertify(found=text)


def target_of(
    held: Repositories,
    content: Content,
    identity: IdentityId,
    what: Named,
    *,
    is_sealed: bool = False,
) -> Target:
    """Gather what is known of an Artifact whose plain files are here, or raise.

    With ``is_sealed`` they need not be: the model is opened in memory, by a Trial.
    """
    artifact = what.artifact
    is_here = any(use.part is Part.PLAIN for use in held.objects.of_artifact(artifact))
    if not is_here and not is_sealed:
        raise ArtifactNotHeld(artifact=artifact)
    manifest = content.manifest(artifact)
    files = content.files(manifest) if is_here and not is_sealed else {}
    release = _release(held, identity, what)
    if release is not None:
        row = held.listings.get(release.listing)
        card = read_held_card(content, release.card)
        return Target(
            artifact=artifact,
            manifest=manifest,
            files=files,
            card=card,
            task="" if row is None else row.task,
            parity=None if card is None or card.parity is None else card.parity.verdict,
            made_from=None if card is None else card.made_from,
            release=release.release,
            listing=release.listing,
            seller=release.identity,
            role="seller" if release.identity == identity else "tester",
        )
    drafts = held.drafts.of_artifact(artifact)
    draft = None if not drafts else decode_kept(drafts[0].data)[0]
    return Target(
        artifact=artifact,
        manifest=manifest,
        files=files,
        card=None if draft is None else draft.card,
        task="" if draft is None else draft.task,
        parity=None if draft is None or draft.parity is None else draft.parity.verdict,
        made_from=None if draft is None else draft.made_from,
        release=None,
        listing=None,
        seller=identity if draft is not None else None,
        role="tester" if draft is None else "seller",
    )


def staged_model(target: Target, scratch: Path) -> StagedModel | None:
    """Return the first file of an Artifact that a Worker can run, or ``None``."""
    layout = recognise_artifact(target.files)
    for one in layout.models:
        if one.format in RUNNABLE:
            beside = frozenset(
                name
                for name in (*layout.arrays, *layout.others)
                if one.format == "onnx" and target.files[name].stat().st_size
            )
            wanted = {name: target.files[name] for name in (one.file, *sorted(beside))}
            return StagedModel(one.file, one.format, wanted, scratch, beside)
    return None


def _by_release(held: Repositories, digits: str) -> Named | None:
    try:
        release = held.listings.release(release_named(held, digits))
    except WrongUse as error:
        if error.code == "id.several":
            raise
        return None
    return None if release is None else Named(release.artifact, release.release)


def _by_listing(held: Repositories, digits: str) -> Named | None:
    try:
        row = held.listings.get(listing_named(held, digits))
    except WrongUse as error:
        if error.code == "id.several":
            raise
        return None
    release = None if row is None else row.newest_release
    return None if release is None else Named(release.artifact, release.release)


def _by_draft(held: Repositories, digits: str) -> Named | None:
    found = [
        row for row in held.drafts.page() if row.draft.hex().startswith(digits) and row.artifact
    ]
    if not found:
        return None
    draft = the_one(digits, "draft", (row.draft for row in found))
    artifact = next(row.artifact for row in found if row.draft == draft)
    return None if artifact is None else Named(artifact, None)


def _by_artifact(held: Repositories, digits: str) -> Named | None:
    held_here = {
        row.artifact
        for row in held.objects.all_manifests()
        if row.artifact.hex().startswith(digits)
    }
    if not held_here:
        return None
    return Named(the_one(digits, "artifact", sorted(held_here)), None)


def _release(held: Repositories, identity: IdentityId, what: Named) -> ReleaseRow | None:
    """Return the Release an Artifact was found by, or else one that gives it, ours first."""
    if what.release is not None:
        return held.listings.release(what.release)
    uses = held.listings.by_artifact(what.artifact)
    own = [use for use in uses if use.identity == identity]
    return next((held.listings.release(use.release) for use in (*own, *uses)), None)


def read_held_card(content: Content, digest: bytes) -> ModelCard | None:
    """Read a Model card by its hash; ``None`` when it is not held, or is none."""
    raw = content.small.get(digest)
    if raw is None:
        return None
    try:
        return read_card(raw)
    except RejectedEntry:
        return None  # the seller signed the hash of something else


class CertifyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one certification job was asked for; kept with the job, so that it can go on.

    ``data`` is a file or folder of the person's own with its mapping as JSON; its figures stay
    here unless ``is_public``.  ``threads`` and ``cores`` of 0 take what the settings allow.
    """

    v: int = 1
    artifact: bytes
    release: bytes | None = None
    suite: str = "core"
    level_most: int = 3
    reproduces: bytes | None = None
    trial: bytes | None = None
    data: str = ""
    mapping: bytes = b""
    metrics: tuple[str, ...] = ()
    is_public: bool = False
    cores: int = 0
    nice: int = 10
