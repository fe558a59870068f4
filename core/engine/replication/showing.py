"""What one Peer is shown of what is held here.

* Headers of every Feed, and always the Bodies that say who speaks for whom: those of root feeds and
  of every Entry 1.  Other Bodies by what the Peer is interested in.
* A Private body only to Devices that are delegated and not revoked, of an Identity it was sent to,
  of the one that wrote it, or of our own; or to anybody once its Envelope key was disclosed.
* A Body that is not held, was erased, or is not for whoever asks: the answers look alike.
* Of our own Feed what may leave (``own_feed``), and the marks move before it does.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from hanse.core.engine.replication.values import (
    BodiesPage,
    EntriesPage,
    HeadsPage,
    HeadsRow,
    SentBody,
)
from hanse.core.errors import RejectedEntry
from hanse.core.ledger.disclosure import DisclosureFailed, check_disclosure, disclose
from hanse.core.ledger.entry import is_private_kind, recall_entry
from hanse.core.ledger.feed import judge_body
from hanse.core.ledger.kinds import Disclose1
from hanse.core.limits import SIGNATURE_SIZE_BYTES
from hanse.core.model.network import HeadClaim, SentEntry, SeqRange
from hanse.core.store.standings import STATE_DISPUTED, STATE_LIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.engine.context import Context
    from hanse.core.engine.replication.own_feed import OwnFeed
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.model.network import Interest
    from hanse.core.store.arrivals import Claim, ShownEntry
    from hanse.core.store.unit_of_work import Repositories

_DISCLOSE: Final = "disclose/1"
_ENTRIES_PER_QUERY: Final = 200  # the longest Bodies make 13 MB
_WRAPPING_BYTES: Final = 16  # DAG-CBOR around one Entry or Body
_DELEGATED: Final = frozenset({STATE_LIVE, STATE_DISPUTED})


def speaker(held: Repositories, device: AuthorKey) -> IdentityId | None:
    """Return the Identity a Device speaks for: delegated, and not revoked."""
    row = held.projections.device(device)
    return None if row is None or row.state not in _DELEGATED else row.identity


class Showing:
    """Answers one Peer at a time; changes nothing but the marks of what left."""

    def __init__(self, context: Context, own: OwnFeed) -> None:
        """Bind the Account, and what of its own Feed may leave."""
        self._context = context
        self._own = own

    # --- Heads ------------------------------------------------------------------------------

    def heads_since(self, held: Repositories, n: int, interest: Interest, limit: int) -> HeadsPage:
        """Return the Feeds to which something came after arrival ``n``.

        While own Entries are held back, ``up_to`` stays before the first of them, so that they
        are told when they may leave.
        """
        found = held.arrivals.since(n, limit)
        wanted = None if interest.authors is None else frozenset(interest.authors)
        rows = []
        for claim in held.arrivals.claims_of_numbers(found.lowest):
            if wanted is not None and claim.author not in wanted:
                continue
            shown = self._shown(held, claim)
            if shown is not None:
                first = min(found.lowest[claim.feed], claim.from_seq, shown.seq)
                late_n = found.last_late.get(claim.feed, 0)
                rows.append(HeadsRow(claim.author, first, shown.seq, shown.entry_id, late_n))
        up_to = found.up_to
        hidden = self._first_hidden(held)
        if hidden is not None and hidden <= up_to:
            up_to = max(n, hidden - 1)
        return HeadsPage(tuple(rows), up_to, found.more)

    def newest_n(self, held: Repositories) -> int:
        """Return up to which arrival others may be told, or compare with us.

        It stays before own Entries that are held back: whoever compares now goes on from there.
        """
        newest, hidden = held.feeds.newest_n(), self._first_hidden(held)
        return newest if hidden is None else min(newest, hidden - 1)

    def frontier(self, held: Repositories, interest: Interest) -> tuple[HeadClaim, ...]:
        """Return what is held of every Feed, by Author."""
        wanted = None if interest.authors is None else frozenset(interest.authors)
        claims = (
            self._shown(held, claim)
            for claim in held.arrivals.claims()
            if wanted is None or claim.author in wanted
        )
        return tuple(claim for claim in claims if claim is not None)

    def _shown(self, held: Repositories, claim: Claim) -> HeadClaim | None:
        """Return a claim as others may see it: our own Feed's ends where it may leave."""
        if claim.author != self._context.device:
            return HeadClaim(claim.author, claim.seq, claim.entry_id)
        seq = self._own.visible_seq(held)
        row = held.feeds.get(claim.author)
        if row is None or row.head is None or seq == 0:
            return None
        if seq == row.head.seq:
            return HeadClaim(claim.author, claim.seq, claim.entry_id)
        entry_id = held.feeds.id_at(row, seq)
        return None if entry_id is None else HeadClaim(claim.author, seq, entry_id)

    def _first_hidden(self, held: Repositories) -> int | None:
        """Return the arrival number of the first own Entry that is held back."""
        row = held.feeds.get(self._context.device)
        seq = self._own.visible_seq(held)
        if row is None or row.head is None or seq == row.head.seq:
            return None
        return held.arrivals.number_at(row, seq + 1)

    # --- Entries ----------------------------------------------------------------------------

    def entries(
        self,
        held: Repositories,
        device: AuthorKey,
        ranges: Sequence[SeqRange],
        *,
        with_bodies: bool,
        interest: Interest,
        most_bytes: int,
        most_entries: int,
    ) -> EntriesPage:
        """Return Entries of ``ranges``, as many as fit, and what is left of the ranges."""
        audience = _Audience(self._context, held, device)
        page = _Packing(most_bytes, most_entries)
        forks: dict[AuthorKey, bytes] = {}
        rest: list[SeqRange] = []
        for part in ranges:
            if page.is_full():
                rest.append(part)
                continue
            proofs = held.forks.of(part.author)
            if proofs:
                forks[part.author] = proofs[0].proof
            first, last = part.first, min(part.last, self._last_seq(held, part))
            while first <= last and not page.is_full():
                found = held.arrivals.shown(part.author, first, last, _ENTRIES_PER_QUERY)
                if not found:
                    break
                for seq, together in groupby(found, key=lambda it: it.seq):
                    sent = [
                        audience.sent(part.author, it, with_bodies=with_bodies, interest=interest)
                        for it in together
                    ]
                    first = page.add(seq, sent)
                    if page.is_full():
                        break
            if page.is_full() and first <= part.last:
                rest.append(SeqRange(part.author, first, part.last))
        self._own.note_leaving(held)
        return EntriesPage(tuple(page.packed), tuple(rest), tuple(sorted(forks.items())))

    def _last_seq(self, held: Repositories, part: SeqRange) -> int:
        return self._own.visible_seq(held) if part.author == self._context.device else part.last

    # --- Bodies -----------------------------------------------------------------------------

    def bodies(
        self, held: Repositories, device: AuthorKey, ids: Sequence[EntryId], most_bytes: int
    ) -> BodiesPage:
        """Return Bodies by the ids of their Entries, as many as fit, in the order asked."""
        audience = _Audience(self._context, held, device)
        found = held.arrivals.bodies(ids)
        visible = self._own.visible_seq(held)
        packed: list[SentBody] = []
        room = most_bytes
        for at, entry_id in enumerate(ids):
            it = found.get(entry_id)
            body = None
            if it is not None and (it.author != self._context.device or it.seq <= visible):
                kind = it.kind or recall_entry(it.header, bytes(SIGNATURE_SIZE_BYTES), None).kind
                if it.body is not None and audience.may_have(it.author, entry_id, kind):
                    body = it.body
            size = _WRAPPING_BYTES + len(entry_id) + len(body or b"")
            if size > room and packed:
                return BodiesPage(tuple(packed), tuple(ids[at:]))
            packed.append(SentBody(entry_id, body))
            room -= size
        self._own.note_leaving(held)
        return BodiesPage(tuple(packed))


class _Packing:
    """Entries that go together in one answer, as many as fit."""

    def __init__(self, most_bytes: int, most_entries: int) -> None:
        self.packed: list[SentEntry] = []
        self._is_full = False
        self._room_bytes = most_bytes
        self._room = most_entries

    def add(self, seq: int, together: Sequence[SentEntry]) -> int:
        """Pack the Entries of one seq; return the seq to go on from.

        They are never parted, or whoever asks would go on behind some of them.  Only where they
        fill an answer alone, which takes a Fork made for it, are the last ones left out.
        """
        size = sum(_size_of(sent) for sent in together)
        if size <= self._room_bytes and len(together) <= self._room:
            self._pack(together)
            return seq + 1
        self._is_full = True
        if self.packed:
            return seq
        for sent in together:
            if self.packed and (self._room == 0 or _size_of(sent) > self._room_bytes):
                break
            self._pack([sent])
        return seq + 1

    def is_full(self) -> bool:
        """Say whether something did not fit."""
        return self._is_full

    def _pack(self, some: Sequence[SentEntry]) -> None:
        self.packed.extend(some)
        self._room -= len(some)
        self._room_bytes -= sum(_size_of(sent) for sent in some)


class _Audience:
    """One Peer, while it is answered: whom it speaks for, and what it may therefore have."""

    def __init__(self, context: Context, held: Repositories, device: AuthorKey) -> None:
        self._context = context
        self._held = held
        self._identity = speaker(held, device)
        self._writers: dict[AuthorKey, IdentityId | None] = {}
        self._roots: dict[AuthorKey, bool] = {}

    def sent(
        self, author: AuthorKey, it: ShownEntry, *, with_bodies: bool, interest: Interest
    ) -> SentEntry:
        """Return an Entry with the Body it may have and is to have."""
        body = it.body
        if body is not None:
            kind = it.kind or recall_entry(it.header, it.sig, None).kind
            is_due = it.seq == 1 or self._is_root(author)
            is_asked = with_bodies and _interests(interest, kind, len(body))
            if not (is_due or is_asked) or not self.may_have(author, it.entry_id, kind):
                body = None
        return SentEntry(it.header, it.sig, body)

    def may_have(self, author: AuthorKey, entry_id: EntryId, kind: str) -> bool:
        """Say whether the Peer may have the Body of an Entry of ``kind`` by ``author``."""
        if not is_private_kind(kind):
            return True
        identity = self._identity
        if identity is not None and (
            identity == self._context.identity
            or identity == self._writer(author)
            or self._held.private_to.may_read(entry_id, identity)
        ):
            return True
        return is_disclosed(self._held, entry_id)

    def _writer(self, author: AuthorKey) -> IdentityId | None:
        if author not in self._writers:
            row = self._held.feeds.get(author)
            self._writers[author] = (
                None if row is None or row.opening is None else row.opening.identity
            )
        return self._writers[author]

    def _is_root(self, author: AuthorKey) -> bool:
        if author not in self._roots:
            row = self._held.feeds.get(author)
            opening = None if row is None else row.opening
            self._roots[author] = opening is not None and opening.is_root
        return self._roots[author]


def is_disclosed(held: Repositories, entry_id: EntryId, entry: CheckedEntry | None = None) -> bool:
    """Say whether a public Disclosure held here shows a Private body to anybody.

    ``entry`` brings a Body that is not held yet.
    """
    keys = [
        key
        for statement in held.arrivals.naming(entry_id, _DISCLOSE)
        for key in _keys_in(statement, entry_id)
    ]
    if keys and entry is None:
        stored = held.feeds.find(entry_id)
        entry = None if stored is None else stored.entry
    if entry is None or entry.body is None:
        return False
    return any(_opens(entry, key) for key in keys)


def _keys_in(statement: CheckedEntry, entry_id: EntryId) -> list[bytes]:
    body = judge_body(statement).body
    return [body.key] if isinstance(body, Disclose1) and body.entry == entry_id else []


def _opens(entry: CheckedEntry, key: bytes) -> bool:
    try:
        check_disclosure(disclose(entry, key))
    except (DisclosureFailed, RejectedEntry):
        return False
    return True


def _interests(interest: Interest, kind: str, size: int) -> bool:
    if size > interest.body_bytes_max:
        return False
    return interest.kinds is None or kind in interest.kinds or is_private_kind(kind)


def _size_of(sent: SentEntry) -> int:
    return _WRAPPING_BYTES + len(sent.header) + len(sent.sig) + len(sent.body or b"")
