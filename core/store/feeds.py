"""Keeping Feeds: their rows, their Entries, and the branches that Forks prove.

* What a verifier accepted is appended in one go and gets arrival numbers that are
  never used twice.
* The row of a Feed is what the verifier says and nothing else: it is the verified
  checkpoint a later start goes on from.
* An Entry stands in a Feed or on a branch of it, never in both.
* Branches are bounded: of one Feed the lowest (seq, id) stay, so that the same
  Entries leave the same branches whatever their order.
* What comes to a Feed other than at its end, an Entry of a branch or a Body, takes an arrival
  number too, so that who asks what came since hears of it.
* A Feed can be given up as a whole, and fetched again later.

Whether an Entry is accepted, and where, is decided in ``ledger.feed``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import dialect, insert

from hanse.core.ledger.entry import CheckedEntry, recall_entry
from hanse.core.ledger.feed import Accepted, BodyState, FeedState, FeedVerifier
from hanse.core.ledger.kinds import KINDS
from hanse.core.ledger.quotas import Tier
from hanse.core.limits import BRANCH_ENTRIES_PER_FEED_MAX, ENTRIES_PER_BATCH_MAX
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.store.feed_reads import SQLITE_SEQUENCE, FeedReads
from hanse.core.store.network_tables import dropped_feeds, feeds_met, late_arrivals
from hanse.core.store.tables import branches, entries, feeds, parked, refs

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT_KINDS = frozenset(kind for kind, rule in KINDS.items() if rule.root)
_HELD_STATES = frozenset({BodyState.HERE, BodyState.VOID})

_INSERT = insert(feeds)
_SAVE = _INSERT.on_conflict_do_update(
    index_elements=[feeds.c.author],
    set_={
        name: _INSERT.excluded[name]
        for name in (
            "identity",
            "r",
            "role",
            "state",
            "head_seq",
            "head_id",
            "head_time_ms",
            "peaks",
            "frozen_seq",
            "broken_id",
            "seen_ms",
        )
    },
).returning(feeds.c.feed)
# Compiled once: of a batch of 5,000 rows the time goes to SQLite, not to naming parameters.
_ENTRY_NAMES = (
    "n", "feed", "seq", "id", "kind", "time_ms", "body_state", "header", "sig", "body",
)  # fmt: skip
_APPEND = str(insert(entries).compile(dialect=dialect(), column_keys=_ENTRY_NAMES))
_NAME_REFS = str(insert(refs).compile(dialect=dialect(), column_keys=("target", "n")))
_ADD_BODY_BYTES = (
    update(feeds)
    .where(feeds.c.feed == bindparam("at"))
    .values(body_bytes=feeds.c.body_bytes + bindparam("more"))
)


class FeedRepository(FeedReads):
    """All Feeds held here."""

    # --- a Feed's row -----------------------------------------------------------------------

    def save(self, verifier: FeedVerifier, now_ms: int, tier: Tier = Tier.NEAR) -> None:
        """Keep what ``verifier`` says of its Feed; ``tier`` is for one met for the first time."""
        head, opening = verifier.head, verifier.opening
        feed = self._connection.execute(
            _SAVE,
            {
                "author": verifier.author,
                "identity": None if opening is None else opening.identity,
                "r": None if opening is None else opening.r,
                "role": None if opening is None else opening.role,
                "state": verifier.state.value,
                "head_seq": 0 if head is None else head.seq,
                "head_id": None if head is None else head.entry_id,
                "head_time_ms": None if head is None else head.time_ms,
                "peaks": verifier.peaks.to_bytes(),
                "frozen_seq": verifier.frozen_seq,
                "broken_id": None if verifier.broken is None else verifier.broken.entry_id,
                "tier": tier.value,
                "body_bytes": 0,
                "seen_ms": now_ms,
            },
        ).scalar_one()
        self._numbers[verifier.author] = feed
        self._rows.pop(verifier.author, None)
        if verifier.broken is not None:
            # The verifier needs it again; a row that names it must never stand without it.
            self.add_branch(verifier.broken, is_broken=True)

    def set_tier(self, author: AuthorKey, tier: Tier) -> None:
        """Say how near a Feed is from now on."""
        self._connection.execute(
            update(feeds).where(feeds.c.author == author).values(tier=tier.value)
        )
        self._rows.pop(author, None)

    def note_met(self, author: AuthorKey, now_ms: int) -> int:
        """Note since when a Feed is held, unless it is known; return it."""
        feed = self._number_of(author)
        self._connection.execute(
            insert(feeds_met).values(feed=feed, met_ms=now_ms).on_conflict_do_nothing()
        )
        return int(
            self._connection.execute(
                select(feeds_met.c.met_ms).where(feeds_met.c.feed == feed)
            ).scalar_one()
        )

    # --- Entries ----------------------------------------------------------------------------

    def append(self, accepted: Sequence[tuple[CheckedEntry, Accepted]]) -> list[int]:
        """Append Entries in the order their verifiers accepted them; return their arrival numbers.

        A Body is kept when it is here or void; every other one is left out.
        """
        if not accepted:
            return []
        first = self.newest_n() + 1
        rows: list[tuple[object, ...]] = []
        named: list[tuple[object, ...]] = []
        body_bytes: Counter[int] = Counter()
        for n, (entry, verdict) in enumerate(accepted, first):
            header = entry.header
            feed = self._number_of(entry.author)
            body = entry.body if verdict.body_state in _HELD_STATES else None
            if body is not None:
                body_bytes[feed] += len(body)
            rows.append(
                (
                    n,
                    feed,
                    header.seq,
                    entry.entry_id,
                    self._memory.kinds.number(self._connection, header.kind),
                    header.time_ms,
                    verdict.body_state.value,
                    entry.header_bytes,
                    entry.signature,
                    body,
                )
            )
            if header.refs:
                named.extend((target, n) for target in header.refs)
            self._note_root(header.kind)
        self._connection.exec_driver_sql(_APPEND, rows)
        self._memory.newest_n = first + len(rows) - 1
        if named:
            self._connection.exec_driver_sql(_NAME_REFS, named)
        self._add_body_bytes(body_bytes)
        return list(range(first, first + len(rows)))

    def give_body(self, entry_id: EntryId, body: bytes, state: BodyState) -> None:
        """Keep a Body that came late, for an Entry in a Feed or on a branch that has none."""
        assert state in _HELD_STATES
        row = self._connection.execute(
            update(entries)
            .where(entries.c.id == entry_id, entries.c.body.is_(None))
            .values(body=body, body_state=state.value)
            .returning(entries.c.feed, entries.c.seq)
        ).first()
        if row is not None:
            self._add_body_bytes(Counter({row.feed: len(body)}))
            self._note_late(row.feed, row.seq)
        on_branch = self._connection.execute(
            update(branches)
            .where(branches.c.id == entry_id, branches.c.body.is_(None))
            .values(body=body)
            .returning(branches.c.feed, branches.c.seq)
        ).first()
        if on_branch is not None:
            self._note_late(on_branch.feed, on_branch.seq)
        self._memory.forget_standings()

    def drop_body(self, entry_id: EntryId, state: BodyState) -> None:
        """Forget a Body and say why it is not here; the Header stays."""
        assert state not in _HELD_STATES
        row = self._connection.execute(
            select(entries.c.feed, func.length(entries.c.body).label("size")).where(
                entries.c.id == entry_id
            )
        ).first()
        if row is not None:
            self._connection.execute(
                update(entries)
                .where(entries.c.id == entry_id)
                .values(body=None, body_state=state.value)
            )
            self._add_body_bytes(Counter({row.feed: -(row.size or 0)}))
        self._connection.execute(
            update(branches).where(branches.c.id == entry_id).values(body=None)
        )

    # --- branches ---------------------------------------------------------------------------

    def add_branch(self, entry: CheckedEntry, *, is_broken: bool) -> None:
        """Keep an Entry that cannot stand in its Feed: evidence, and what the Root may confirm."""
        if self.in_branches(entry.entry_id):
            if is_broken:
                self._connection.execute(
                    update(branches).where(branches.c.id == entry.entry_id).values(is_broken=True)
                )
            return
        feed = self._number_of(entry.author)
        if not is_broken and not self._has_room(feed, entry):
            return
        self._connection.execute(
            insert(branches).on_conflict_do_nothing(),
            {
                "feed": feed,
                "seq": entry.seq,
                "id": entry.entry_id,
                "prev": entry.header.prev,
                "is_broken": is_broken,
                "header": entry.header_bytes,
                "sig": entry.signature,
                "body": entry.body,
            },
        )
        self._is_branch[entry.entry_id] = True
        self._note_root(entry.kind)
        self._note_late(feed, entry.seq)

    def _has_room(self, feed: int, entry: CheckedEntry) -> bool:
        """Make room on the branches of a Feed by dropping its last (seq, id), if that is not ours.

        What ended a Feed is evidence its row names, so it never goes.
        """
        held = self._connection.execute(
            select(func.count()).select_from(branches).where(branches.c.feed == feed)
        ).scalar_one()
        if held < BRANCH_ENTRIES_PER_FEED_MAX:
            return True
        last = self._connection.execute(
            select(branches.c.branch, branches.c.seq, branches.c.id)
            .where(branches.c.feed == feed, branches.c.is_broken.is_(False))
            .order_by(branches.c.seq.desc(), branches.c.id.desc())
            .limit(1)
        ).first()
        if last is None or (last.seq, last.id) <= (entry.seq, entry.entry_id):
            return False
        self._connection.execute(delete(branches).where(branches.c.branch == last.branch))
        self._is_branch[EntryId(last.id)] = False
        return True

    def switch_branch(
        self,
        author: AuthorKey,
        joint_seq: int,
        accepted: Sequence[tuple[CheckedEntry, Accepted]],
        verifier: FeedVerifier,
    ) -> list[int]:
        """Put ``accepted`` in the place of what stands above ``joint_seq``, which becomes a branch.

        ``verifier`` is the one that accepted them, from the joint on.  What moves
        keeps its bytes and loses its arrival numbers, and with them what waited in
        the outbox for it.
        """
        feed = self._number_of(author)
        self._move_to_branches(feed, joint_seq)
        ids = [entry.entry_id for entry, _ in accepted]
        for start in range(0, len(ids), ENTRIES_PER_BATCH_MAX):
            some = ids[start : start + ENTRIES_PER_BATCH_MAX]
            self._connection.execute(delete(branches).where(branches.c.id.in_(some)))
        self._is_branch.clear()
        row = self.get(author)
        assert row is not None
        self.save(verifier, row.seen_ms)
        return self.append(accepted)

    def _move_to_branches(self, feed: int, joint_seq: int) -> None:
        above = (entries.c.feed == feed, entries.c.seq > joint_seq)
        while True:
            rows = self._connection.execute(
                select(
                    entries.c.n,
                    entries.c.seq,
                    entries.c.id,
                    entries.c.header,
                    entries.c.sig,
                    entries.c.body,
                )
                .where(*above)
                .order_by(entries.c.seq)
                .limit(ENTRIES_PER_BATCH_MAX)
            ).all()
            if not rows:
                return
            moved: list[dict[str, object]] = []
            named: list[dict[str, object]] = []
            body_bytes = 0
            for row in rows:
                entry = recall_entry(row.header, row.sig, None)
                self._note_root(entry.kind)
                body_bytes += len(row.body or b"")
                named.extend({"t": target, "at": row.n} for target in entry.header.refs)
                moved.append(
                    {
                        "feed": feed,
                        "seq": row.seq,
                        "id": row.id,
                        "prev": entry.header.prev,
                        "is_broken": False,
                        "header": row.header,
                        "sig": row.sig,
                        "body": row.body,
                    }
                )
            self._connection.execute(insert(branches).on_conflict_do_nothing(), moved)
            if named:
                self._connection.execute(
                    delete(refs).where(
                        refs.c.target == bindparam("t"), refs.c.n == bindparam("at")
                    ),
                    named,
                )
            self._connection.execute(delete(entries).where(*above, entries.c.seq <= rows[-1].seq))
            self._add_body_bytes(Counter({feed: -body_bytes}))

    # --- giving up --------------------------------------------------------------------------

    def drop(self, author: AuthorKey, now_ms: int) -> None:
        """Forget a Feed with everything of it, and remember that it was given up.

        Its caller folds the Identity anew; proofs of Forks stay.
        """
        row = self.get(author)
        if row is None:
            return
        feed, connection = row.feed, self._connection
        of_feed = select(entries.c.n).where(entries.c.feed == feed)
        connection.execute(delete(refs).where(refs.c.n.in_(of_feed)))
        connection.execute(delete(branches).where(branches.c.feed == feed))
        connection.execute(delete(parked).where(parked.c.author == author))
        connection.execute(delete(entries).where(entries.c.feed == feed))
        connection.execute(delete(feeds).where(feeds.c.feed == feed))
        connection.execute(
            insert(dropped_feeds)
            .values(
                author=author,
                identity=None if row.opening is None else row.opening.identity,
                dropped_ms=now_ms,
            )
            .on_conflict_do_update(
                index_elements=[dropped_feeds.c.author], set_={"dropped_ms": now_ms}
            )
        )
        self._numbers.pop(author, None)
        self._rows.pop(author, None)
        self._is_branch.clear()
        self._memory.parked = None
        self._memory.forget_standings()

    # --- inside -----------------------------------------------------------------------------

    def _note_late(self, feed: int, seq: int) -> None:
        """Give what came to ``seq`` of a Feed out of order an arrival number of its own."""
        n = self.newest_n() + 1
        self._connection.execute(
            insert(late_arrivals).prefix_with("OR REPLACE").values(n=n, feed=feed, seq=seq)
        )
        given = update(SQLITE_SEQUENCE).where(SQLITE_SEQUENCE.c.name == entries.name).values(seq=n)
        if not self._connection.execute(given).rowcount:
            self._connection.execute(insert(SQLITE_SEQUENCE).values(name=entries.name, seq=n))
        self._memory.newest_n = n

    def _number_of(self, author: AuthorKey) -> int:
        """Return the number of a Feed, making an empty row for one that has none."""
        number = self._number(author)
        if number is None:
            number = self._connection.execute(
                insert(feeds)
                .values(
                    author=author,
                    state=FeedState.LIVE.value,
                    head_seq=0,
                    peaks=b"",
                    tier=Tier.STRANGER.value,
                    body_bytes=0,
                    seen_ms=0,
                )
                .returning(feeds.c.feed)
            ).scalar_one()
            self._numbers[author] = number
        return number

    def _add_body_bytes(self, by_feed: Counter[int]) -> None:
        changes = [{"at": feed, "more": size} for feed, size in by_feed.items() if size]
        if changes:
            self._connection.execute(_ADD_BODY_BYTES, changes)
            self._rows.clear()

    def _note_root(self, kind: str) -> None:
        """Forget who stands how when what decides it comes or goes."""
        if kind in _ROOT_KINDS:
            self._memory.forget_standings()
