"""What a Peer sent, taken in: checked off the writer, kept in one transaction.

* ``check`` looks at what depends on the bytes alone; what is held already costs no signature.
* What a Peer did wrong (a signature that does not hold, bytes that are no Entry, another Body) is
  told from what an Author did wrong (a chain that does not fit), which is nobody's fault who
  passes it on.
* A Private body is kept by those it is for: it opens with our keys, is of our own Identity, or was
  disclosed to everybody.  Any other is left out, the Header stays.
* An Entry by our own key that is not held here is evidence, and never taken in: what we wrote and
  never sent must not become a Fork (``own_feed``).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from hanse.core.engine.changes import Changes, Topic
from hanse.core.engine.replication.showing import is_disclosed
from hanse.core.engine.replication.values import CheckedBatch, Fault, Taken
from hanse.core.engine.syncing import Acceptor, Outcome, Refusal, check_entries
from hanse.core.errors import AccountLocked, RejectedEntry
from hanse.core.ledger.disclosure import open_body
from hanse.core.ledger.entry import (
    CheckedEntry,
    SignedEntry,
    body_fits,
    is_private_kind,
    parse_entry,
    recall_entry,
)
from hanse.core.ledger.feed import BodyState, judge_body
from hanse.core.ledger.forks import check_fork
from hanse.core.ledger.kinds import Device1
from hanse.core.limits import ENTRIES_PER_SLICE
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.model.network import SentEntry, SeqRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.engine.context import Context
    from hanse.core.engine.replication.asking import Asking
    from hanse.core.engine.replication.muting import Muting
    from hanse.core.engine.replication.own_feed import OwnFeed
    from hanse.core.engine.replication.tiering import Tiering
    from hanse.core.engine.replication.values import SentBody
    from hanse.core.model.network import Cursor
    from hanse.core.store.unit_of_work import UnitOfWork

_VERIFYING_THREADS: Final = 2  # PyNaCl gives the interpreter lock back while it verifies
_SETTLED_AT_ONCE: Final = 100  # Identities whose Feeds are told how near they are, in one batch
_TOPICS: Final = {
    "identity": Topic.DEVICES,
    "device": Topic.DEVICES,
    "revoke": Topic.DEVICES,
    "rotate": Topic.DEVICES,
    "profile": Topic.PROFILES,
    "listing": Topic.CATALOGUE,
    "release": Topic.CATALOGUE,
    "price": Topic.CATALOGUE,
    "renew": Topic.CATALOGUE,
    "erase": Topic.CATALOGUE,
    "cert": Topic.CERTIFICATES,
    "cert-revoke": Topic.CERTIFICATES,
    "human-review": Topic.CERTIFICATES,
    "follow": Topic.FOLLOWS,
    "private": Topic.POST,
    "receipt": Topic.POST,
    "ruling": Topic.POST,
}
_ROOT_KINDS: Final = frozenset({"revoke/1", "rotate/1"})
_WHO_KINDS: Final = frozenset({"identity/1", "follow/1", *_ROOT_KINDS})


class Taking:
    """Takes in what one Peer after another sends; all but ``check`` on the writer."""

    def __init__(
        self,
        context: Context,
        own: OwnFeed,
        asking: Asking,
        tiering: Tiering,
        muting: Muting,
    ) -> None:
        """Bind the Account and the other parts."""
        self._context = context
        self._own = own
        self._asking = asking
        self._tiering = tiering
        self._muting = muting

    # --- off the writer ---------------------------------------------------------------------

    def check(self, entries: Sequence[SentEntry]) -> CheckedBatch:
        """Check form, Bodies and signatures of ``entries``."""
        faults: list[Fault] = []
        parsed: list[SignedEntry] = []
        for sent in entries:
            try:
                entry = parse_entry(sent.header, sent.sig, sent.body)
            except RejectedEntry as error:
                # A later version is the Author's, and newer Peers pass it on in good faith.
                if error.reason != "version":
                    faults.append(Fault.MALFORMED)
                continue
            if entry.body is not None and not body_fits(entry, entry.body):
                faults.append(Fault.WRONG_BODY)
                entry = entry.without_body()
            parsed.append(entry)
        with self._context.store.reads() as reads:
            held = reads.feeds.known([entry.entry_id for entry in parsed])
        fresh = [entry for entry in parsed if entry.entry_id not in held]
        known = [
            SentEntry(entry.header_bytes, entry.signature, entry.body)
            for entry in parsed
            if entry.entry_id in held
        ]
        if len(fresh) < 2 * ENTRIES_PER_SLICE:
            judged = check_entries(fresh)
        else:
            with ThreadPoolExecutor(_VERIFYING_THREADS, "verify") as pool:
                judged = check_entries(fresh, pool)
        faults.extend(Fault.BAD_SIGNATURE for it in judged if isinstance(it, Refusal))
        checked = tuple(it for it in judged if not isinstance(it, Refusal))
        return CheckedBatch(checked, tuple(known), tuple(faults))

    # --- on the writer ----------------------------------------------------------------------

    def take(
        self,
        device: AuthorKey,
        batch: CheckedBatch,
        cursor: Cursor | None,
        *,
        with_bodies: bool,
    ) -> Taken:
        """Take a checked batch in, and ``cursor`` with it where nothing is left to ask for."""
        late = [recall_entry(it.header, it.sig, it.body) for it in batch.known if it.body]
        taken = self._take(
            device,
            [*batch.checked, *late],
            cursor,
            faults=batch.faults,
            asks_bodies=not with_bodies,
        )
        taken.outcome.known += len(batch.known) - len(late)
        return taken

    def take_bodies(self, device: AuthorKey, bodies: Sequence[SentBody]) -> Taken:
        """Take Bodies of Entries that are held."""
        faults: list[Fault] = []
        late: list[CheckedEntry] = []
        with self._context.store.reads() as reads:
            for it in bodies:
                if it.body is None:
                    continue
                stored = reads.feeds.find(it.entry_id)
                entry = reads.feeds.branch_entry(it.entry_id) if stored is None else stored.entry
                if entry is None:
                    continue  # given up since it was asked for
                if body_fits(entry, it.body):
                    late.append(CheckedEntry(entry._replace(body=it.body)))
                else:
                    faults.append(Fault.WRONG_BODY)
        return self._take(device, late, None, faults=tuple(faults), asks_bodies=False)

    def take_fork(self, device: AuthorKey, proof: bytes) -> Taken:
        """Take a Fork proof in, and ask for the branches it names."""
        try:
            fork = check_fork(proof)
        except RejectedEntry:
            return Taken(Outcome(), faults=(Fault.UNPROVEN,))
        entries = [fork.first, fork.second]
        if fork.author == self._context.device:
            return self._take_own_fork(entries)
        context, now_ms = self._context, self._context.clock.now_ms()
        with context.store.unit_of_work() as uow:
            held = uow.feeds.known([entry.entry_id for entry in entries])
            self._tiering.refresh(uow)
            acceptor = Acceptor(uow, now_ms, self._tiering.tier_of)
            is_new = uow.forks.add(fork)
            if uow.feeds.get(fork.author) is not None:
                acceptor.accept_all(entries)
            acceptor.finish()
            ranges: tuple[SeqRange, ...] = ()
            if len(held) < len(entries) and uow.feeds.get(fork.author) is not None:
                last = fork.second.seq
                part = self._asking.disputed(uow, device, fork.author, fork.disputed_seq, last)
                ranges = (part,)
            uow.commit()
        return Taken(
            acceptor.outcome,
            Changes.of(Topic.FORKS) if is_new else Changes(),
            ranges=ranges,
            forks=((fork.author, proof),) if is_new else (),
        )

    def _take_own_fork(self, entries: Sequence[CheckedEntry]) -> Taken:
        """Stop: the proof names an Entry that another copy of this folder made."""
        with self._context.store.reads() as reads:
            held = reads.feeds.known([entry.entry_id for entry in entries])
        for entry in entries:
            if entry.entry_id not in held:
                self._own.stop(entry)
        is_new = len(held) < len(entries)
        return Taken(Outcome(), Changes.of(Topic.ACCOUNT) if is_new else Changes())

    # --- inside -----------------------------------------------------------------------------

    def _take(
        self,
        device: AuthorKey,
        entries: Iterable[CheckedEntry],
        cursor: Cursor | None,
        *,
        faults: tuple[Fault, ...],
        asks_bodies: bool,
    ) -> Taken:
        context, now_ms = self._context, self._context.clock.now_ms()
        with context.store.unit_of_work() as uow:
            others = self._without_own(uow, entries)
            kept, for_us = self._for_us(uow, others)
            self._tiering.refresh(uow)
            acceptor = Acceptor(uow, now_ms, self._tiering.tier_of)
            frozen = {
                author: None if row is None else row.frozen_seq
                for author in {entry.author for entry in kept}
                for row in (uow.feeds.get(author),)
            }
            acceptor.accept_all(kept)
            self._dispute(uow, acceptor, frozen)
            outcome = acceptor.finish()
            for entry_id in for_us:
                if uow.feeds.find(entry_id) is not None:
                    uow.private_to.add(entry_id, [context.identity])
            self._muting.count(uow, acceptor.taken, now_ms)
            kinds = {it.entry.kind for it in acceptor.taken}
            if kinds & _WHO_KINDS:
                self._tiering.forget()
                self._tiering.refresh(uow)
            self._tiering.settle(uow, _SETTLED_AT_ONCE)
            ranges = self._ranges_after(uow, device, acceptor, frozen)
            bodies = self._bodies_after(uow, device, acceptor, asks_bodies=asks_bodies)
            # Where more is to be asked for, this was not the last of what the cursor stands for.
            if cursor is not None and not (ranges or bodies):
                uow.peers.keep_cursor(device, cursor)
            uow.commit()
        late = {it.kind for it in kept if it.body is not None}
        return Taken(
            outcome,
            _changes(kinds | late, acceptor),
            bodies=tuple(bodies),
            ranges=tuple(ranges),
            forks=tuple((fork.author, fork.proof) for fork in acceptor.forks),
            faults=faults,
        )

    def _dispute(self, uow: UnitOfWork, acceptor: Acceptor, authors: Iterable[AuthorKey]) -> None:
        """Hold against Feeds that grew what was proved of them before they were held."""
        for author in sorted(authors):
            row = uow.feeds.get(author)
            if row is None or row.frozen_seq is None:
                for proof in uow.forks.of(author):
                    fork = check_fork(proof.proof)
                    acceptor.accept_all([fork.first, fork.second])

    def _without_own(self, uow: UnitOfWork, entries: Iterable[CheckedEntry]) -> list[CheckedEntry]:
        """Leave out what our own key signed and is not here; it stops us."""
        others: list[CheckedEntry] = []
        for entry in entries:
            is_own = entry.author == self._context.device
            if is_own and not uow.feeds.known([entry.entry_id]):
                self._own.stop(entry)
            else:
                others.append(entry)
        return others

    def _for_us(
        self, uow: UnitOfWork, entries: Sequence[CheckedEntry]
    ) -> tuple[list[CheckedEntry], list[EntryId]]:
        """Leave out Private bodies that are not for us; return the ids of those that are, too."""
        opening = {
            entry.author: IdentityId(body.identity)
            for entry in entries
            if entry.seq == 1 and isinstance(body := judge_body(entry).body, Device1)
        }
        kept: list[CheckedEntry] = []
        for_us: list[EntryId] = []
        for entry in entries:
            if entry.body is None or not is_private_kind(entry.kind):
                kept.append(entry)
            elif self._may_keep(uow, entry, opening.get(entry.author)):
                for_us.append(entry.entry_id)
                kept.append(entry)
            elif is_disclosed(uow, entry.entry_id, entry):
                kept.append(entry)
            else:
                kept.append(CheckedEntry(entry.without_body()))
        return kept, for_us

    def _may_keep(self, uow: UnitOfWork, entry: CheckedEntry, named: IdentityId | None) -> bool:
        row = uow.feeds.get(entry.author)
        writer = named if row is None or row.opening is None else row.opening.identity
        if writer == self._context.identity:
            return True
        try:
            return open_body(entry, self._context.box_secrets(uow)) is not None
        except (AccountLocked, RejectedEntry):
            return False

    def _ranges_after(
        self,
        uow: UnitOfWork,
        device: AuthorKey,
        acceptor: Acceptor,
        frozen: Mapping[AuthorKey, int | None],
    ) -> list[SeqRange]:
        opened = [it.entry.author for it in acceptor.taken if it.entry.seq == 1]
        ranges = self._asking.rest_of(uow, device, opened)
        ranges.extend(self._asking.gaps(uow, acceptor.gaps))
        ranges.extend(self._asking.branches_of(uow, acceptor.branched))
        for author in sorted({fork.author for fork in acceptor.forks}):
            row = uow.feeds.get(author)
            if row is None or row.frozen_seq is None:
                continue
            # What a Fork disputes now and did not before is looked at as the Peer holds it.
            before = frozen.get(author)
            if before is None:
                last = row.head.seq if row.head is not None else row.frozen_seq
                ranges.append(self._asking.disputed(uow, device, author, row.frozen_seq, last))
            elif row.frozen_seq < before:
                ranges.append(SeqRange(author, row.frozen_seq, before))
        return ranges

    def _bodies_after(
        self, uow: UnitOfWork, device: AuthorKey, acceptor: Acceptor, *, asks_bodies: bool
    ) -> list[EntryId]:
        bodies: list[EntryId] = []
        if asks_bodies:
            bodies.extend(
                it.entry.entry_id
                for it in acceptor.taken
                if it.body_state in {BodyState.ABSENT, BodyState.PRIVATE}
                and self._asking.is_body_wanted(uow, device, it)
            )
        # Who was revoked may have erased what counts again, and is wanted again.
        for identity in sorted(
            {it.identity for it in acceptor.taken if it.entry.kind in _ROOT_KINDS}
        ):
            feeds = list(uow.feeds.of_identity(identity))
            bodies.extend(self._asking.missing_of(uow, feeds))
        return list(dict.fromkeys(bodies))


def _changes(kinds: set[str], acceptor: Acceptor) -> Changes:
    topics = {topic for kind in kinds if (topic := _TOPICS.get(kind.partition("/")[0])) is not None}
    if acceptor.taken or kinds:
        topics.add(Topic.LEDGER)
    if acceptor.forks:
        topics |= {Topic.FORKS, Topic.CATALOGUE, Topic.DEVICES}
    return Changes(frozenset(topics))
