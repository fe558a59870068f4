"""What to ask of a Peer that said what it holds.

* Of a Feed nobody here knows, Entry 1 first: it says whose it is, and so how near and how much of
  it is wanted.  A short one is asked for at once.
* Near Feeds first, then those within two hops, then strangers; of each as much as its quota allows.
  Nothing is asked for that could not be kept.
* Bodies come along where all of them are wanted.  Of a stranger they are asked for one by one: only
  the kinds a market needs.
* Of another Device of this Identity every Private body is asked for: a stranger's first word may
  have reached that one alone.  What is not for us is not kept.
* A claim that differs from what is held where both hold something is a Fork to be shown, or one
  that is known here and grew.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final

from hanse.core.engine.replication.showing import speaker
from hanse.core.engine.replication.values import MissingBodies, Wanted, WantedRange
from hanse.core.ledger.entry import is_private_kind
from hanse.core.ledger.quotas import Tier, allowance
from hanse.core.limits import (
    BRANCH_WINDOW_ENTRIES_MAX,
    CLAIMS_REMEMBERED_MAX,
    FEEDS_MAX,
    MISSING_BODIES_PER_PAGE_MAX,
    PEERS_REMEMBERED_MAX,
)
from hanse.core.market.admission import STRANGERS_KINDS
from hanse.core.model.network import SeqRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.engine.context import Context
    from hanse.core.engine.replication.values import HeadsRow
    from hanse.core.engine.syncing import TakenEntry
    from hanse.core.model.ids import AuthorKey, EntryId
    from hanse.core.store.arrivals import Claim
    from hanse.core.store.feed_rows import FeedRow
    from hanse.core.store.unit_of_work import Repositories

ASKED_AT_ONCE: Final = 16  # Entries of a Feed that is not known
_ORDER: Final = {Tier.NEAR: 0, Tier.HOP: 1, Tier.STRANGER: 2}


class Claims:
    """How far Peers said they hold Feeds; of those spoken with last, for as long as we run."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._by_peer: OrderedDict[AuthorKey, dict[AuthorKey, int]] = OrderedDict()
        self._lock = Lock()

    def note(self, device: AuthorKey, author: AuthorKey, seq: int) -> None:
        """Remember that a Peer holds a Feed up to ``seq``."""
        with self._lock:
            of_peer = self._by_peer.setdefault(device, {})
            self._by_peer.move_to_end(device)
            if len(self._by_peer) > PEERS_REMEMBERED_MAX:
                self._by_peer.popitem(last=False)
            if author not in of_peer and len(of_peer) >= CLAIMS_REMEMBERED_MAX:
                del of_peer[next(iter(of_peer))]
            of_peer[author] = max(seq, of_peer.get(author, 0))

    def of(self, device: AuthorKey, author: AuthorKey) -> int:
        """Return how far a Peer said it holds a Feed, 0 where it said nothing."""
        with self._lock:
            return self._by_peer.get(device, {}).get(author, 0)

    def done(self, device: AuthorKey, author: AuthorKey) -> None:
        """Forget it: the rest was asked for."""
        with self._lock:
            self._by_peer.get(device, {}).pop(author, None)


class Asking:
    """Compares what Peers hold with what is held here."""

    def __init__(self, context: Context, claims: Claims) -> None:
        """Bind the Account."""
        self._context = context
        self._claims = claims

    # --- Entries ----------------------------------------------------------------------------

    def wanted(self, held: Repositories, device: AuthorKey, rows: Sequence[HeadsRow]) -> Wanted:
        """Return what to ask of the Peer that sent ``rows``."""
        ours = held.arrivals.claims_of(row.author for row in rows)
        dropped = held.arrivals.dropped([row.author for row in rows if row.author not in ours])
        is_full = held.arrivals.count_feeds() >= FEEDS_MAX
        ranges: list[tuple[int, WantedRange]] = []
        suspects: list[SeqRange] = []
        bodies: list[EntryId] = []
        for row in rows:
            if row.author == self._context.device:
                suspects.extend(self._own_suspect(held, row))
                continue
            claim = ours.get(row.author)
            feed = held.feeds.get(row.author)
            if claim is None or feed is None or feed.head is None:
                if is_full or row.author in dropped:
                    continue
                self._claims.note(device, row.author, row.to_seq)
                last = row.to_seq if row.to_seq <= ASKED_AT_ONCE else 1
                part = SeqRange(row.author, 1, last)
                ranges.append((_ORDER[Tier.STRANGER], WantedRange(part, with_bodies=False)))
                continue
            if (claim.seq, claim.entry_id) != (row.to_seq, row.entry_id):
                self._compare(held, device, row, claim, feed, ranges, suspects)
            if len(bodies) < MISSING_BODIES_PER_PAGE_MAX and row.from_seq <= feed.head.seq:
                bodies.extend(self._missing_of(held, feed, row.from_seq, row.to_seq))
        ranges.sort(key=lambda it: it[0])
        return Wanted(
            tuple(it for _, it in ranges),
            tuple(suspects),
            tuple(bodies[:MISSING_BODIES_PER_PAGE_MAX]),
        )

    def _compare(
        self,
        held: Repositories,
        device: AuthorKey,
        row: HeadsRow,
        claim: Claim,
        feed: FeedRow,
        ranges: list[tuple[int, WantedRange]],
        suspects: list[SeqRange],
    ) -> None:
        assert feed.head is not None
        head = feed.head.seq
        if row.to_seq <= head and held.feeds.id_at(feed, row.to_seq) == row.entry_id:
            return  # the Peer holds a part of what is held here
        self._claims.note(device, row.author, row.to_seq)
        if claim.has_branches:
            if not held.feeds.known([row.entry_id]):
                # A Fork is known here.  What differs of it is asked for whole: what is held costs
                # little, and Entries of one branch do not tell where the other one ends.
                first = min(claim.from_seq, row.from_seq)
                suspects.append(SeqRange(row.author, first, row.to_seq))
            return
        if row.to_seq <= head:
            suspects.append(SeqRange(row.author, min(row.from_seq, row.to_seq), row.to_seq))
            return
        part = self._allowed(held, feed, head + 1, row.to_seq)
        if part is not None:
            with_bodies = feed.tier is not Tier.STRANGER
            ranges.append((_ORDER[feed.tier], WantedRange(part, with_bodies)))

    def _own_suspect(self, held: Repositories, row: HeadsRow) -> list[SeqRange]:
        """Ask for what a Peer says our key signed and is not here; a word alone proves nothing."""
        claim = held.arrivals.claims_of([row.author]).get(row.author)
        feed = held.feeds.get(row.author)
        if claim is not None and (claim.seq, claim.entry_id) == (row.to_seq, row.entry_id):
            return []
        if feed is not None and held.feeds.id_at(feed, row.to_seq) == row.entry_id:
            return []
        return [SeqRange(row.author, row.to_seq, row.to_seq)]

    def rest_of(
        self, held: Repositories, device: AuthorKey, opened: Iterable[AuthorKey]
    ) -> list[SeqRange]:
        """Return what the Peer holds of Feeds that have just been opened and is not here yet."""
        found: list[tuple[int, SeqRange]] = []
        for author in opened:
            feed = held.feeds.get(author)
            if feed is None or feed.head is None:
                continue
            part = self._allowed(held, feed, feed.head.seq + 1, self._claims.of(device, author))
            self._claims.done(device, author)
            if part is not None:
                found.append((_ORDER[feed.tier], part))
        found.sort(key=lambda it: it[0])
        return [part for _, part in found]

    def _allowed(self, held: Repositories, feed: FeedRow, first: int, last: int) -> SeqRange | None:
        """Return what of ``first`` to ``last`` the quota of its Feed allows."""
        assert feed.head is not None
        known_ms = 0
        if feed.tier is not Tier.NEAR:
            met_ms = held.arrivals.met_ms(feed)
            known_ms = 0 if met_ms is None else self._context.clock.now_ms() - met_ms
        headers, _ = allowance(feed.tier, feed.head.seq, feed.body_bytes, known_ms)
        last = min(last, feed.head.seq + headers)
        return SeqRange(feed.author, first, last) if first <= last else None

    def gaps(self, held: Repositories, waiting: Mapping[AuthorKey, int]) -> list[SeqRange]:
        """Return what comes before Entries that came too early, by Author the lowest such seq."""
        found = []
        for author, seq in sorted(waiting.items()):
            feed = held.feeds.get(author)
            if feed is None or feed.head is None:
                continue  # its Entry 1 is asked for, or waits for the root feed
            part = self._allowed(held, feed, feed.head.seq + 1, seq - 1)
            if part is not None:
                found.append(part)
        return found

    # --- branches ---------------------------------------------------------------------------

    def branches_of(self, held: Repositories, authors: Iterable[AuthorKey]) -> list[SeqRange]:
        """Return where to look for what lies between branches that grew and their Feed."""
        found = []
        for author in sorted(authors):
            gap = held.arrivals.lowest_gap(author)
            if gap is not None and gap >= 1:
                first = max(1, gap - BRANCH_WINDOW_ENTRIES_MAX + 1)
                found.append(SeqRange(author, first, gap))
        return found

    def disputed(
        self, held: Repositories, device: AuthorKey, author: AuthorKey, seq: int, last: int
    ) -> SeqRange:
        """Return the range over which a Fork is to be looked at as the Peer holds it."""
        claim = held.arrivals.claims_of([author]).get(author)
        lowest = seq if claim is None else min(seq, claim.from_seq)
        return SeqRange(author, lowest, max(last, self._claims.of(device, author)))

    # --- Bodies -----------------------------------------------------------------------------

    def missing(self, held: Repositories, device: AuthorKey, after: int) -> MissingBodies:
        """Return Bodies that are missing here and to be asked of a Peer, one page of them."""
        is_own = self._is_own(held, device)

        def is_wanted(tier: Tier, body_bytes: int, kind: str) -> bool:
            return (is_own and is_private_kind(kind)) or is_body_wanted(tier, body_bytes, kind)

        ids, up_to, more = held.arrivals.missing(after, is_wanted)
        return MissingBodies(tuple(ids), up_to, more)

    def is_body_wanted(self, held: Repositories, device: AuthorKey, taken: TakenEntry) -> bool:
        """Say whether the Body of an Entry that came without one is to be asked of its Peer."""
        if is_private_kind(taken.entry.kind):
            return taken.tier is Tier.NEAR or self._is_own(held, device)
        held_bytes = held.feeds.body_bytes(taken.entry.author)
        return is_body_wanted(taken.tier, held_bytes, taken.entry.kind)

    def _is_own(self, held: Repositories, device: AuthorKey) -> bool:
        return speaker(held, device) == self._context.identity

    def missing_of(self, held: Repositories, feeds: Iterable[FeedRow]) -> list[EntryId]:
        """Return Bodies that are missing of these Feeds, up to one page."""
        found: list[EntryId] = []
        for feed in feeds:
            if feed.head is not None and len(found) < MISSING_BODIES_PER_PAGE_MAX:
                found.extend(self._missing_of(held, feed, 1, feed.head.seq))
        return found[:MISSING_BODIES_PER_PAGE_MAX]

    def _missing_of(
        self, held: Repositories, feed: FeedRow, first: int, last: int
    ) -> list[EntryId]:
        def is_wanted(kind: str, is_sealed: bool) -> bool:  # noqa: FBT001  called by the store
            if is_sealed:
                return feed.tier is Tier.NEAR
            return is_body_wanted(feed.tier, feed.body_bytes, kind)

        found = held.arrivals.missing_between(feed, first, last, is_wanted)
        if feed.frozen_seq is not None or feed.broken_id is not None:
            found.extend(held.arrivals.missing_on_branches(feed))
        return found


def is_body_wanted(tier: Tier, body_bytes: int, kind: str) -> bool:
    """Say whether a Body of ``kind`` is wanted of a Feed of which so many bytes are held."""
    _, room = allowance(tier, 0, body_bytes)
    return room > 0 and (tier is not Tier.STRANGER or kind in STRANGERS_KINDS)
