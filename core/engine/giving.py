"""What anybody may have of what lies in this folder: the rule that stands before every answer.

* Given are: ciphertext of Releases, files of Releases given in the clear, the leaf layers of their
  plain files, both Manifests, and small objects that public Entries held here name.
* Never given: plain files of a sealed Release, Drafts, what was bought or opened, private Blobs.
* **What a stranger signs gives nothing away.**  A Release may name any root, also that of a file
  that is secret here; so a plain file that this Account has for itself is given only when this very
  Account published it in the clear, whatever others name.  A Draft's Manifest and leaf layers
  wait in the same way for the Account's own Release.
* What is not held and what is not given look alike.

Who asks, and how much he gets, is not known here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.quota import Whose
from hanse.core.artifacts.tree import HASH_SIZE_BYTES
from hanse.core.engine.release_parts import (
    licence_texts,
    manifests_needed,
    named_by_card,
    parts_here,
    small_here,
)
from hanse.core.limits import SEEDED_FILES_MAX, SEEDED_PROOFS_REMEMBERED_MAX
from hanse.core.store.objects import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.model.ids import EntryId
    from hanse.core.store.listings import ReleaseRow
    from hanse.core.store.objects import ObjectName, ObjectUse
    from hanse.core.store.unit_of_work import Repositories

_DECISION_MS: Final = 10_000  # that a file may be given stands so long
_INDEX_MS: Final = 5000  # Entries alone do not make a new index more often

Stamp = tuple[int, ...]


@dataclass(slots=True)
class _Index:
    """What the Releases name whose files are held, or are on their way."""

    small: set[bytes] = field(default_factory=set)
    plain_files: set[bytes] = field(default_factory=set)  # root + size, of sealed Releases
    stamp: Stamp = ()
    newest_n: int = -1
    made_ms: int = -1


class Giving:
    """Says of everything in one Account's folder whether anybody may have it."""

    def __init__(self, context: Context, content: Content) -> None:
        """Bind the Account and its files."""
        self._context = context
        self._content = content
        self._lock = threading.Lock()
        self._index = _Index()
        self._given_ms: OrderedDict[tuple[bytes, int, bool], int] = OrderedDict()

    # --- files -------------------------------------------------------------------------------

    def may_give_object(self, root: bytes, size: int, *, is_coming: bool = False) -> bool:
        """Say whether the bytes of a file are for anybody; ``is_coming`` while it is fetched."""
        return self._decided(
            (root, size, True),
            lambda held: self._is_public(held, (root, size), is_coming=is_coming),
        )

    def may_give_hashes(self, root: bytes, size: int, *, is_coming: bool = False) -> bool:
        """Say whether the layers of a file are for anybody, with or without its bytes."""
        name = (root, size)

        def decide(held: Repositories) -> bool:
            is_public = self._is_public(held, name, is_coming=is_coming)
            return is_public or self._is_of_sealed(held, name)

        return self._decided((root, size, False), decide)

    def _decided(
        self, key: tuple[bytes, int, bool], decide: Callable[[Repositories], bool]
    ) -> bool:
        """Return a decision, perhaps the yes of a few seconds ago."""
        now_ms = self._context.clock.now_ms()
        with self._lock:
            known_ms = self._given_ms.get(key)
        if known_ms is not None and 0 <= now_ms - known_ms < _DECISION_MS:
            return True
        with self._context.store.reads() as reads:
            answer = decide(reads)
        with self._lock:
            self._given_ms.pop(key, None)
            if answer:
                self._given_ms[key] = now_ms
            while len(self._given_ms) > SEEDED_PROOFS_REMEMBERED_MAX:
                self._given_ms.popitem(last=False)
        return answer

    def _is_public(self, held: Repositories, name: ObjectName, *, is_coming: bool) -> bool:
        uses = held.objects.uses_of(name)
        if not uses:
            return is_coming  # of a Release, and got from others
        ours = [use for use in uses if use.part is Part.PLAIN and use.whose is not Whose.OTHERS]
        if any(self._is_given_by_us(held, use) for use in ours):
            return True
        # One secret use is enough: what else names this file is perhaps a stranger's trick.
        if not all(use.whose is not Whose.OWN and _release_is_open(held, use) for use in ours):
            return False
        return any(self._is_given(held, name, use) for use in uses)

    def _is_given_by_us(self, held: Repositories, use: ObjectUse) -> bool:
        return use.whose is Whose.OWN and held.public.gave_in_the_clear(
            self._context.identity, use.artifact
        )

    def _is_given(self, held: Repositories, name: ObjectName, use: ObjectUse) -> bool:
        if use.part is Part.PLAIN:
            return _release_is_open(held, use)
        releases = {row.release for row in held.objects.manifests_of(use.artifact)} | {use.release}
        rows = [held.listings.release(one) for one in releases if one is not None]
        for row in rows:
            parts = None if row is None else parts_here(row, self._content.small)
            if parts is not None and parts.sealed is not None and name in parts.wanted():
                return True
        return False

    def _is_of_sealed(self, held: Repositories, name: ObjectName) -> bool:
        """Say whether a plain file is of a sealed Release, and not only of a Draft of ours."""
        own = [use for use in held.objects.uses_of(name) if use.whose is Whose.OWN]
        artifacts = {use.artifact for use in own if use.part is Part.PLAIN}
        identity = self._context.identity
        if artifacts and not any(held.public.has_released(identity, one) for one in artifacts):
            return False
        return _key(name) in self._fresh(held).plain_files

    # --- small objects -------------------------------------------------------------------------

    def may_give_small(self, digest: bytes) -> bool:
        """Say whether a small object is for anybody."""
        with self._context.store.reads() as reads:
            if any(
                use.whose is Whose.OWN and use.part is Part.PLAIN
                for use in reads.objects.of_artifact(digest)
            ):
                return reads.public.has_released(self._context.identity, digest)
            return (
                digest in self._index.small
                or reads.public.is_named(digest)
                or reads.certificates.is_golden(digest)
                or digest in self._fresh(reads).small
            )

    # --- the index -----------------------------------------------------------------------------

    def _fresh(self, held: Repositories) -> _Index:
        """Return the index, made again when what is held has changed."""
        stamp = (*held.objects.releases_stamp(), *held.transfers.stamp())
        newest_n, now_ms = held.feeds.newest_n(), self._context.clock.now_ms()
        with self._lock:
            known = self._index
        is_recent = 0 <= now_ms - known.made_ms < _INDEX_MS
        if known.stamp == stamp and (known.newest_n == newest_n or is_recent):
            return known
        made = _Index(stamp=stamp, newest_n=newest_n, made_ms=now_ms)
        for release in _releases_here(held):
            row = held.listings.release(release)
            if row is not None:
                self._add(made, held, row)
        with self._lock:
            self._index = made
        return made

    def _add(self, index: _Index, held: Repositories, row: ReleaseRow) -> None:
        small = self._content.small
        index.small |= {row.card, *manifests_needed(row), *licence_texts(row)}
        card = small_here(small, row.card)
        if card is not None:
            index.small |= named_by_card(card)
        listing = held.listings.get(row.listing)
        if listing is not None:
            index.small.update(listing.media)
        parts = parts_here(row, small)
        if parts is not None and len(index.plain_files) < SEEDED_FILES_MAX:
            index.plain_files |= {_key((file.root, file.size)) for file in parts.leaf_files()}


def _release_is_open(held: Repositories, use: ObjectUse) -> bool:
    row = None if use.release is None else held.listings.release(use.release)
    return row is not None and row.seal is None and row.artifact == use.artifact


def _releases_here(held: Repositories) -> Iterable[EntryId]:
    """Name the Releases whose files are held, or are on their way."""
    kept = (row.release for row in held.objects.all_manifests())
    coming = (row.release for row in held.transfers.live())
    return dict.fromkeys(one for one in (*kept, *coming) if one is not None)


def _key(name: ObjectName) -> bytes:
    root, size = name
    assert len(root) == HASH_SIZE_BYTES
    return root + size.to_bytes(8, "big")
