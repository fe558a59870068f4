"""Everything that is wrong with a Draft, or that its seller should know.

* The rules of a Draft alone, of its licences and of its lineage are pure and stand in
  ``hanse.core.market`` and ``hanse.core.trade``; here they are asked with what is held.
* Files that are offered already are refused, saying by whom, unless that Release is
  named as what this was made from; also under other names.
* A suggestion is told until a person answered it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hanse.core.engine.redraft import own_listing, readable_tiers
from hanse.core.market.concepts import concepts
from hanse.core.market.listings import Problem, may_supersede, validate_draft
from hanse.core.model.artifact import READABLE
from hanse.core.model.ids import EntryId, IdentityId
from hanse.core.store.objects import ObjectName, Part
from hanse.core.trade.lineage import lineage_problems
from hanse.core.trade.terms import licence_problems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.ledger.kinds import Release1
    from hanse.core.model.licence import Terms
    from hanse.core.model.listing import Draft
    from hanse.core.store.unit_of_work import Repositories


def problems_of(
    held: Repositories, draft: Draft, identity: IdentityId, now_ms: int
) -> tuple[Problem, ...]:
    """Collect every Problem: of the Draft alone, its licences, and what others published."""
    return (
        *validate_draft(draft, now_ms=now_ms, vocabulary=concepts()),
        *licence_problems(draft),
        *_of_lineage(held, draft, identity),
        *_of_files(held, draft, identity),
        *_of_what_it_follows(held, draft, identity),
    )


def _of_lineage(held: Repositories, draft: Draft, identity: IdentityId) -> tuple[Problem, ...]:
    """Hold the licences against those of the base models that are Releases held here."""
    known: dict[bytes, tuple[Terms, ...]] = {}
    own = set()
    for base in draft.base:
        release = held.listings.release(EntryId(base))
        if release is None:
            continue
        if release.identity == identity:
            own.add(base)
        known[base] = tuple(tier.terms for tier in readable_tiers(release))
    return lineage_problems(draft, known=known, own=frozenset(own))


def _of_what_it_follows(held: Repositories, draft: Draft, identity: IdentityId) -> list[Problem]:
    """Say what forbids this Draft to follow what is published of its Listing."""
    if draft.listing is None:
        return []
    found = own_listing(held, identity, draft.listing)
    problems = []
    if found.listing.state == "withdrawn":
        title = found.listing.title
        problems.append(Problem("listing.withdrawn", "listing", {"title": title}))
    follows = draft.edition == "full"  # an edition to try stands beside the full one
    if follows and found.release is not None and draft.artifact is not None:
        new = _with_version_and_artifact(found.release, draft)
        problems += may_supersede(found.release, new)
    return problems


def _of_files(held: Repositories, draft: Draft, identity: IdentityId) -> list[Problem]:
    """Say whose an Artifact is that is offered already, unless it is named as a base."""
    if draft.artifact is None or draft.listing is not None:
        return []
    uses = (
        use
        for artifact in _with_the_same_files(held, draft.artifact)
        for use in held.listings.by_artifact(artifact)
    )
    for use in uses:
        if use.release in draft.base:
            continue
        row = held.listings.get(use.listing)
        is_own = use.identity == identity
        if is_own and row is not None and row.state == "withdrawn":
            continue  # what one ended oneself may begin anew
        title = "" if row is None else row.title
        values: dict[str, object] = {"title": title, "listing": use.listing}
        if is_own:
            return [Problem("listing.published_by_you", "artifact", values)]
        profile = held.projections.profile(use.identity)
        seller = "" if profile is None else profile.name
        values = {
            "title": title,
            "release": use.release,
            "seller": seller,
            "identity": use.identity,
        }
        return [Problem("listing.published_by_other", "artifact", values)]
    return []


def _with_the_same_files(held: Repositories, artifact: bytes) -> list[bytes]:
    """Return the Artifact and those held here that are the same bytes under other names."""

    def plain(which: bytes) -> set[ObjectName]:
        uses = held.objects.of_artifact(which)
        return {(use.root, use.size) for use in uses if use.part is Part.PLAIN}

    files = plain(artifact)
    if not files:
        return [artifact]
    largest = max(files, key=lambda name: name[1])
    others = {use.artifact for use in held.objects.uses_of(largest) if use.part is Part.PLAIN}
    same = [other for other in sorted(others - {artifact}) if plain(other) == files]
    return [artifact, *same]


def _with_version_and_artifact(old: Release1, draft: Draft) -> Release1:
    """Return ``old`` with what a rule about two Releases compares: version and Artifact."""
    return msgspec.structs.replace(
        old, version=draft.version.strip() or old.version, artifact=draft.artifact or old.artifact
    )


def level_of(draft: Draft) -> int:
    """Return what was reached on this machine: 1 for files that were read and are sound."""
    is_read = bool(draft.facts) and all(facts.format in READABLE for facts in draft.facts)
    has_failed = draft.parity is not None and draft.parity.verdict == "fail"
    return 1 if is_read and not has_failed else 0


def without_answered(before: Draft, after: Draft) -> Draft:
    """Forget that a field was guessed once a person gave it another value."""
    guessed = tuple(
        name for name in after.guessed if _value_at(before, name) == _value_at(after, name)
    )
    return msgspec.structs.replace(after, guessed=guessed)


def _value_at(draft: Draft, path: str) -> object:
    value: object = draft
    for name in path.split("."):
        value = getattr(value, name)
    return value


def still_true(told: Sequence[Problem], draft: Draft) -> tuple[Problem, ...]:
    """Leave out suggestions that a person answered."""
    return tuple(one for one in told if one.code != "facts.suggested" or one.field in draft.guessed)
