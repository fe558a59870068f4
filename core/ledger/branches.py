"""The branches of forked Feeds, judged the same on every Peer.

Which branch of a Fork stands in a Feed depends on which came first; what the Root
said on a forked root feed does not.  So its whole tree is walked from Entry 1, each path judged by
the rules of ``ledger.feed`` as if it were the only one:

* An Entry counts when it follows well on its path.  A broken one, and what follows
  it or a rotation, counts on no path.
* An Entry whose Body is missing ends its path until the Body is here.
* ``branch_to`` finds the branch of a *Device's* Feed that a revocation confirmed, so
  that it can be put in the place of the one that came first.
* Whether the Root key belongs to the Identity that Entry 1 names is the question of
  ``ledger.identities.standing``, which reads the result.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from hanse.core.ledger.entry import CheckedEntry, Head
from hanse.core.ledger.feed import Accepted, FeedState, FeedVerifier, judge_body
from hanse.core.ledger.identities import ROLE_ROOT, Opening
from hanse.core.ledger.kinds import Identity1
from hanse.core.ledger.tree import Peaks
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def valid_on_any_branch(
    main: Iterable[CheckedEntry], others: Iterable[CheckedEntry]
) -> list[CheckedEntry]:
    """Return the Entries of one root feed that are valid on any branch, by seq and id.

    ``main`` is what stands in the Feed and ``others`` what does not; which is which
    changes nothing.
    """
    following: dict[EntryId | None, dict[EntryId, CheckedEntry]] = {}
    for entry in chain(others, main):
        prev = entry.header.prev
        siblings = following.setdefault(None if prev is None else EntryId(prev), {})
        held = siblings.get(entry.entry_id)
        if held is None or held.body is None:
            siblings[entry.entry_id] = entry

    valid: list[CheckedEntry] = []
    paths: list[FeedVerifier] = []
    for first in following.get(None, {}).values():
        verifier = _opened_by(first)
        if verifier is not None:
            valid.append(first)
            paths.append(verifier)
    while paths:
        path = paths.pop()
        assert path.head is not None
        for entry in following.get(path.head.entry_id, {}).values():
            if entry.author != path.author or entry.seq != path.head.seq + 1:
                continue
            longer = _copy(path)
            # At its own time: a clock that ran ahead must not part two Peers.
            if isinstance(longer.accept(entry, entry.header.time_ms), Accepted):
                valid.append(entry)
                paths.append(longer)
    return sorted(valid, key=lambda entry: (entry.seq, entry.entry_id))


def branch_to(last_id: EntryId, others: Mapping[EntryId, CheckedEntry]) -> list[CheckedEntry]:
    """Return the path among ``others`` that ends in ``last_id``, in order; it may be empty.

    What its first Entry names as the one before it stands in the Feed, or nowhere here.
    """
    path: list[CheckedEntry] = []
    wanted: EntryId | None = last_id
    while wanted is not None and (entry := others.get(wanted)) is not None:
        path.append(entry)
        prev = entry.header.prev
        wanted = None if prev is None else EntryId(prev)
    path.reverse()
    return path


def judged_along(
    verifier: FeedVerifier, path: Iterable[CheckedEntry], now_ms: int
) -> list[tuple[CheckedEntry, Accepted]] | None:
    """Accept ``path`` from its joint on; return ``None`` where one Entry does not follow."""
    accepted: list[tuple[CheckedEntry, Accepted]] = []
    for entry in path:
        verdict = verifier.accept(entry, now_ms)
        if not isinstance(verdict, Accepted):
            return None
        accepted.append((entry, verdict))
    return accepted


def _opened_by(first: CheckedEntry) -> FeedVerifier | None:
    """Start a path with Entry 1 of a root feed, or ``None`` when it opens none."""
    body = judge_body(first).body
    if not isinstance(body, Identity1):
        return None
    peaks = Peaks()
    peaks.add(first.entry_id)
    return _path(
        first.author,
        Head(1, first.entry_id, first.header.time_ms),
        peaks,
        Opening(IdentityId(body.identity), body.r, ROLE_ROOT),
        FeedState.LIVE,
    )


def _copy(path: FeedVerifier) -> FeedVerifier:
    assert path.head is not None
    assert path.opening is not None
    return _path(path.author, path.head, path.peaks.copy(), path.opening, path.state)


def _path(
    author: AuthorKey, head: Head, peaks: Peaks, opening: Opening, state: FeedState
) -> FeedVerifier:
    # Only the next Entry of the path is ever shown to it, so it never looks back.
    return FeedVerifier(
        author,
        held_at=lambda _seq: None,
        standing_of=lambda _identity: None,
        head=head,
        peaks=peaks,
        opening=opening,
        state=state,
    )
