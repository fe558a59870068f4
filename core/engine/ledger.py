"""What a person can do with the ledger held here: look, verify, export, import, disclose, erase.

* Reading needs no unlocked Account; whatever writes an Entry does.
* ``verify`` checks everything again from the bytes on disk: hashes, signatures,
  chains, and that the Projections are what the Entries say.
* An import takes what holds and names what does not; a fault in the file loses
  nothing that came before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from hanse.core.durable import write_durably_with
from hanse.core.engine.accounts import entry_view
from hanse.core.engine.sources import accept_unchecked, open_file
from hanse.core.engine.syncing import Outcome
from hanse.core.engine.views import (
    EntryView,
    ExportReport,
    Fault,
    FeedView,
    ImportReport,
    VerifyReport,
)
from hanse.core.errors import Refused, RejectedEntry, WrongUse
from hanse.core.ledger.disclosure import disclose, open_body
from hanse.core.ledger.entry import CheckedEntry, SignedEntry, check_entry
from hanse.core.ledger.evidence import (
    DISCLOSURE_MAGIC,
    FORK_MAGIC,
    read_fork,
    write_disclosure,
    write_inclusion,
)
from hanse.core.ledger.feed import BodyState
from hanse.core.ledger.feed_file import (
    ClaimedHead,
    FeedFileDamaged,
    FeedFileReader,
    is_feed_file,
    write_feed_file,
)
from hanse.core.ledger.forks import check_fork
from hanse.core.ledger.identities import Opening, counted_until
from hanse.core.ledger.kinds import KINDS, Disclose1, Erase1, parse_body
from hanse.core.limits import (
    ENTRIES_PER_BATCH_MAX,
    ERASE_TARGETS_MAX,
    FEEDS_IN_FILE_MAX,
    FORK_PROOF_SIZE_BYTES_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.context import Context
    from hanse.core.store.feed_rows import FeedRow, StoredEntry
    from hanse.core.store.rehash import RehashFault
    from hanse.core.store.unit_of_work import Repositories

Progress = Callable[[int], None]

_PAGE = 1000
_VERIFYING_THREADS = 2  # PyNaCl gives the interpreter lock back while it verifies


class UnknownEntry(WrongUse):
    """No Entry with that id is held here."""

    code = "ledger.unknown_entry"
    text = "entry {entry} is not held here"
    fields = ("entry",)


class UnknownFeed(WrongUse):
    """No Feed of that Author is held here."""

    code = "ledger.unknown_feed"
    text = "no feed of {author} is held here"
    fields = ("author",)


class TooManyFeeds(Refused):
    """One file holds only so many Feeds."""

    code = "ledger.too_many_feeds"
    text = "{found} feeds do not fit one file, limit {most}"
    fields = ("found", "most")


class NotOurEntry(Refused):
    """Only an Entry of one's own Identity can be erased."""

    code = "ledger.not_ours"
    text = "entry {entry} is not of this identity"
    fields = ("entry",)


class NotErasable(Refused):
    """Others count by Entries of this kind, so their Bodies stay."""

    code = "ledger.not_erasable"
    text = "entry {entry} of kind {kind} cannot be erased"
    fields = ("entry", "kind")


class NotDisclosable(Refused):
    """The Entry has no Private body that opens here."""

    code = "ledger.not_disclosable"
    text = "entry {entry} has no private body that opens with this account's keys"
    fields = ("entry",)


class NoLaterHeader(Refused):
    """The newest Entry of a Feed is not yet committed to by a later one."""

    code = "ledger.no_later_header"
    text = "entry {entry} is the newest of its feed; nothing commits to it yet"
    fields = ("entry",)


class NotAFeedFile(WrongUse):
    """Only feed files and Fork proofs can be imported."""

    code = "ledger.not_a_feed_file"
    text = "{path} is neither a .hanse-feed nor a .hanse-fork file"
    fields = ("path",)


class HeldLedger:
    """All Feeds held in one data folder, as use cases."""

    def __init__(self, context: Context) -> None:
        """Work on ``context``."""
        self._context = context

    # --- looking ----------------------------------------------------------------------------

    def show(
        self, *, tail: int = 20, author: bytes | None = None, kind: str | None = None
    ) -> tuple[EntryView, ...]:
        """Return the newest ``tail`` Entries of one Feed (default: this Device's), oldest first."""
        wanted = AuthorKey(self._context.device if author is None else author)
        with self._context.store.reads() as reads:
            row = self._row(reads, wanted)
            counted = counted_of(reads, row)
            found: list[StoredEntry] = []
            above = 1 if row.head is None else row.head.seq + 1
            while above > 1 and len(found) < tail:
                start = max(1, above - _PAGE)
                page = reads.feeds.entries(wanted, start, above - start)
                matching = [it for it in page if kind is None or it.entry.kind == kind]
                found = matching[-(tail - len(found)) :] + found if matching else found
                above = start
            identity = None if row.opening is None else row.opening.identity
            return tuple(_stored_view(stored, identity, counted) for stored in found)

    def _row(self, reads: Repositories, author: AuthorKey) -> FeedRow:
        row = reads.feeds.get(author)
        if row is None:
            raise UnknownFeed(author=author.hex())
        return row

    def feeds(self) -> tuple[FeedView, ...]:
        """Return every Feed held here."""
        with self._context.store.reads() as reads:
            return tuple(
                FeedView(
                    author=row.author,
                    identity=None if row.opening is None else row.opening.identity,
                    role=None if row.opening is None else row.opening.role,
                    state=row.state.value,
                    head_seq=0 if row.head is None else row.head.seq,
                    head_id=None if row.head is None else row.head.entry_id,
                    frozen_seq=row.frozen_seq,
                    is_own=row.opening is not None
                    and row.opening.identity == self._context.identity,
                )
                for row in reads.feeds.all()
            )

    # --- verifying --------------------------------------------------------------------------

    def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Check everything held, from the bytes on disk; the first fault of each Feed is named."""
        faults: dict[bytes, Fault] = {}
        entries = 0
        identities: set[bytes] = set()
        with self._context.store.reads() as reads:
            for found in reads.rehash():
                faults.setdefault(found.author, as_fault(found))
            rows = list(reads.feeds.all())
            for row in rows:
                if row.opening is not None:
                    identities.add(row.opening.identity)
                if row.author in faults:
                    continue
                for stored in _all_entries(reads, row.author):
                    entries += 1
                    try:
                        check_entry(stored.entry)
                    except RejectedEntry as error:
                        faults[row.author] = Fault(
                            f"entry {stored.n}",
                            error.reason,
                            error.detail,
                            row.author,
                            stored.entry.seq,
                        )
                        break
                    if progress is not None and entries % _PAGE == 0:
                        progress(entries)
            forks = 0
            for author, proof in reads.forks.proofs():
                try:
                    check_fork(proof)
                    forks += 1
                except RejectedEntry as error:
                    faults.setdefault(
                        author, Fault("fork proof", error.reason, error.detail, author)
                    )
            if not faults and (detail := reads.projections.difference()) is not None:
                faults[b""] = Fault("projections", "stale_projection", detail)
            waiting = reads.parked.count()
        return VerifyReport(
            subject=str(self._context.home.folder),
            entries=entries,
            feeds=len(rows),
            identities=tuple(sorted(identities)),
            forks=forks,
            waiting=waiting,
            faults=tuple(faults.values()),
        )

    def rebuild(self, progress: Progress | None = None) -> int:
        """Compute every Projection anew from the Entries; return how many were folded."""
        return self._context.store.rebuild_projections(progress)

    # --- files ------------------------------------------------------------------------------

    def export(
        self,
        path: Path,
        *,
        authors: Sequence[bytes] | None = None,
        everything: bool = False,
    ) -> ExportReport:
        """Write Feeds to one file: this Identity's, those of ``authors``, or every one held.

        With a Feed go the root feeds that say whose it is.  Private bodies that
        are held travel sealed, as they stand in the ledger.
        """
        entries, feeds = write_durably_with(
            path, lambda stream: self.write_feeds(stream, authors=authors, everything=everything)
        )
        return ExportReport(path, entries, feeds, path.stat().st_size)

    def write_feeds(
        self,
        stream: BinaryIO,
        *,
        authors: Sequence[bytes] | None = None,
        everything: bool = False,
    ) -> tuple[int, int]:
        """Write what ``export`` writes into a stream; return how many Entries and Feeds."""
        with self._context.store.reads() as reads:
            self._context.note_leaving(reads)
            rows = self._chosen(reads, authors, everything=everything)
            if len(rows) > FEEDS_IN_FILE_MAX:
                raise TooManyFeeds(found=len(rows), most=FEEDS_IN_FILE_MAX)
            heads = [
                ClaimedHead(row.author, row.head.seq, row.head.entry_id)
                for row in rows
                if row.head is not None
            ]

            def entries() -> Iterator[SignedEntry]:
                for row in rows:
                    for stored in _all_entries(reads, row.author):
                        yield stored.entry

            return write_feed_file(stream, heads, entries()), len(heads)

    def _chosen(
        self, reads: Repositories, authors: Sequence[bytes] | None, *, everything: bool
    ) -> list[FeedRow]:
        if everything:
            rows = list(reads.feeds.all())
        elif authors is None:
            rows = list(reads.feeds.of_identity(self._context.identity))
        else:
            named = {AuthorKey(author): self._row(reads, AuthorKey(author)) for author in authors}
            for row in list(named.values()):
                if row.opening is not None:
                    for other in reads.feeds.of_identity(row.opening.identity):
                        if other.opening is not None and other.opening.is_root:
                            named[other.author] = other
            rows = list(named.values())
        # Root feeds first and in the order of their rotations, so that a reader never waits.
        return sorted(rows, key=lambda row: _export_order(row.opening, row.author))

    def import_file(self, path: Path, progress: Progress | None = None) -> ImportReport:
        """Take in a feed file or a Fork proof; what was taken before a fault stays."""
        with open_file(path) as stream:
            start = stream.read(len(FORK_MAGIC))
            stream.seek(0)
            if is_feed_file(start):
                return self.import_feeds(stream, path.name, progress)
            if start == FORK_MAGIC:
                raw = stream.read(FORK_PROOF_SIZE_BYTES_MAX + len(FORK_MAGIC) + 1)
                return self._import_fork(raw, path.name)
        raise NotAFeedFile(path=path)

    def import_feeds(
        self, stream: BinaryIO, subject: str, progress: Progress | None = None
    ) -> ImportReport:
        """Take in a feed file from a stream; what was taken before a fault stays."""
        total = Outcome()
        damage: list[Fault] = []
        batch: list[SignedEntry] = []
        read = 0

        def take(pool: Executor) -> None:
            with self._context.store.unit_of_work() as uow:
                outcome = accept_unchecked(uow, batch, self._context.clock.now_ms(), pool)
                uow.commit()
            batch.clear()
            total.add(outcome)

        with ThreadPoolExecutor(_VERIFYING_THREADS, "verify") as pool:
            try:
                for item in FeedFileReader(stream):
                    batch.append(item.entry)
                    read += 1
                    if len(batch) >= ENTRIES_PER_BATCH_MAX:
                        take(pool)
                        if progress is not None:
                            progress(read)
            except FeedFileDamaged as error:
                where, reason = str(error.values["where"]), str(error.values["reason"])
                damage.append(Fault(where, "damaged", reason))
            if batch:
                take(pool)
        refused = [
            Fault("entry", item.reason, item.detail, item.author, item.seq)
            for item in total.refused
        ]
        return ImportReport(
            subject, total.accepted, total.known, total.parked, total.forks, (*damage, *refused)
        )

    def _import_fork(self, raw: bytes, subject: str) -> ImportReport:
        fork = check_fork(read_fork(raw))
        with self._context.store.unit_of_work() as uow:
            outcome = accept_unchecked(uow, [fork.first, fork.second], self._context.clock.now_ms())
            uow.forks.add(fork)
            uow.commit()
        return ImportReport(subject, outcome.accepted, outcome.known, outcome.parked, 1, ())

    # --- private bodies, erasing, proofs ----------------------------------------------------

    def disclose(self, entry_id: bytes, path: Path | None, *, public: bool = False) -> None:
        """Show one Private body: to whom gets the file, or with ``public`` to everybody.

        A public Disclosure is an Entry and cannot be taken back.
        """
        context = self._context
        context.unlocked()
        with context.store.reads() as reads:
            stored = self._stored(reads, entry_id)
            opened = open_body(stored.entry, context.box_secrets(reads))
            context.note_leaving(reads)
        if opened is None:
            raise NotDisclosable(entry=entry_id.hex())
        if path is not None:
            raw = write_disclosure(disclose(stored.entry, opened.key))
            assert raw.startswith(DISCLOSURE_MAGIC)
            write_durably_with(path, lambda stream: stream.write(raw))
        if public:
            body = Disclose1(salt=context.body_salt(), entry=entry_id, key=opened.key)
            with context.store.unit_of_work() as uow:
                context.append_own(uow, body, refs=[entry_id])
                uow.commit()

    def erase(self, entry_ids: Sequence[bytes], reason: str) -> EntryView:
        """Ask everybody to drop the Bodies of own Entries; here they are dropped at once.

        Nobody can force remote copies.
        """
        context = self._context
        context.may_sign()
        assert 1 <= len(entry_ids) <= ERASE_TARGETS_MAX
        with context.store.unit_of_work() as uow:
            for entry_id in entry_ids:
                stored = self._stored(uow, entry_id)
                row = self._row(uow, stored.entry.author)
                if row.opening is None or row.opening.identity != context.identity:
                    raise NotOurEntry(entry=entry_id.hex())
                rule = KINDS.get(stored.entry.kind)
                if rule is not None and not rule.erasable:
                    raise NotErasable(entry=entry_id.hex(), kind=stored.entry.kind)
            targets = tuple(sorted(set(entry_ids)))
            body = Erase1(salt=context.body_salt(), targets=targets, reason=reason)
            entry = context.append_own(uow, body)
            uow.commit()
        return entry_view(entry, context.identity)

    def proof(self, entry_id: bytes, path: Path) -> EntryView:
        """Write the proof that an Entry stands in the history its Feed's Head commits to."""
        with self._context.store.reads() as reads:
            stored = self._stored(reads, entry_id)
            self._context.note_leaving(reads)
            row = self._row(reads, stored.entry.author)
            assert row.head is not None
            if stored.entry.seq >= row.head.seq:
                raise NoLaterHeader(entry=entry_id.hex())
            later = reads.feeds.entry_at(row.author, row.head.seq)
            assert later is not None
            ids = reads.feeds.ids(row.author)[: row.head.seq - 1]
            identity = None if row.opening is None else row.opening.identity
            counted = counted_of(reads, row)
        raw = write_inclusion(stored.entry, later, ids)
        write_durably_with(path, lambda stream: stream.write(raw))
        return _stored_view(stored, identity, counted)

    def _stored(self, reads: Repositories, entry_id: bytes) -> StoredEntry:
        stored = reads.feeds.find(EntryId(entry_id))
        if stored is None:
            raise UnknownEntry(entry=entry_id.hex())
        return stored


def as_fault(found: RehashFault) -> Fault:
    """Show what re-hashing found as any other fault is shown."""
    return Fault(found.where, found.reason, found.detail, found.author, found.seq)


def counted_of(reads: Repositories, row: FeedRow) -> int:
    """Return the last seq of a Feed that counts (``ledger.identities``)."""
    if row.opening is None:
        return 0
    known = reads.projections.standing_of(row.opening.identity)
    if known is None:
        return 0

    def id_at(seq: int) -> EntryId | None:
        entry = reads.feeds.entry_at(row.author, seq)
        return None if entry is None else entry.entry_id

    return counted_until(row.opening, row.author, known, row.frozen_seq, id_at)


def _all_entries(reads: Repositories, author: AuthorKey) -> Iterator[StoredEntry]:
    seq = 1
    while page := reads.feeds.entries(author, seq, _PAGE):
        yield from page
        seq = page[-1].entry.seq + 1


def _export_order(opening: Opening | None, author: bytes) -> tuple[int, int, bytes]:
    if opening is None:
        return (2, 0, author)
    return (0 if opening.is_root else 1, opening.r, author)


def _stored_view(stored: StoredEntry, identity: IdentityId | None, counted: int) -> EntryView:
    entry: CheckedEntry = stored.entry
    body: dict[str, object] | None = None
    rule = KINDS.get(entry.kind)
    if (
        entry.body is not None
        and stored.body_state is BodyState.HERE
        and rule is not None
        and not rule.private
    ):
        parsed = parse_body(entry.kind, entry.body)
        body = {name: getattr(parsed, name) for name in parsed.__struct_fields__}
    view = entry_view(entry, identity)
    return EntryView(
        **{
            **{name: getattr(view, name) for name in view.__slots__},
            "body_state": stored.body_state.value,
            "counts": entry.seq <= counted,
            "body": body,
        }
    )
