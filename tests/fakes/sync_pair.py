"""Two sides of ``/hanse/sync/1`` without a store, a thread or a wire.

``MemoryLedger`` answers what a ``SyncExchange`` asks of the engine from plain lists: it keeps what
it is given and judges nothing.  ``Pair`` carries the bytes, as many at a time as a test likes.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING

from hanse.core.engine.replication.values import (
    BodiesPage,
    EntriesPage,
    Fault,
    Greeting,
    HeadsPage,
    HeadsRow,
    MissingBodies,
    OwnHead,
    SentBody,
    Taken,
    Wanted,
    WantedRange,
)
from hanse.core.engine.syncing import Outcome
from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import Header
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.model.network import Cursor, HeadClaim, Interest, SentEntry, SeqRange
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.recon import Frontier
from hanse.network.wire.sync import SyncExchange
from hanse.network.wire.sync_actions import (
    Blame,
    Close,
    JudgeOwnHead,
    KeepCursor,
    Look,
    Looked,
    NoteDelivered,
    NoteReconciled,
    PassFork,
    ReadBodies,
    ReadEntries,
    ReadFrontier,
    ReadHeads,
    ReadMissing,
    Reconcile,
    Send,
    ShowOwnHead,
    Take,
    TakeBodies,
    TakeDelivery,
    TakeFork,
)
from hanse.network.wire.sync_requests import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.network.wire.sync_actions import Action


def key(name: str) -> AuthorKey:
    return AuthorKey(sha256(name.encode()).digest())


def entry(author: bytes, seq: int, branch: str = "", body_bytes: int = 40) -> SentEntry:
    """Make an Entry that only looks like one: nobody signed it."""
    salt = sha256(author + seq.to_bytes(8, "big") + branch.encode()).digest()
    body = (salt * (body_bytes // 32 + 1))[:body_bytes]
    header = Header(
        version=1,
        author=author,
        seq=seq,
        prev=None if seq == 1 else salt,
        root=None if seq == 1 else salt,
        time_ms=seq,
        kind="note/1",
        body_hash=sha256(body).digest(),
        body_len=len(body),
        refs=(),
    )
    return SentEntry(encode(header), salt * 2, body)


def id_of(sent: SentEntry) -> EntryId:
    return EntryId(sha256(sent.header + sent.sig).digest())


class MemoryLedger:
    """What one Device holds, by Author and in the order of arrival."""

    def __init__(self, name: str) -> None:
        self.device = key(name)
        self.epoch = sha256(name.encode()).digest()[:16]
        self.feeds: dict[AuthorKey, list[SentEntry]] = {}
        self.branches: dict[AuthorKey, list[SentEntry]] = {}
        self.forks: dict[AuthorKey, bytes] = {}
        self.arrivals: list[tuple[AuthorKey, int]] = []
        self.cursors: dict[AuthorKey, Cursor] = {}
        self.reconciled: list[Cursor] = []
        self.claims: list[HeadClaim | None] = []
        self.proofs: list[SentEntry] = []
        self.missing_bodies: list[EntryId] = []
        self.delivered: list[EntryId] = []
        self.got: list[EntryId] = []
        self.interest = Interest()
        self.without_bodies = False
        self.batches: list[int] = []

    # --- what a test does -------------------------------------------------------------------

    def write(self, author: str | AuthorKey, count: int = 1, **how: object) -> None:
        author = key(author) if isinstance(author, str) else author
        for _ in range(count):
            self._add(entry(author, len(self.feeds.get(author, ())) + 1, **how))

    def heads(self) -> dict[AuthorKey, tuple[int, EntryId]]:
        return {author: (len(feed), id_of(feed[-1])) for author, feed in self.feeds.items()}

    def greeting(self, peer: AuthorKey) -> Greeting:
        held = self.feeds.get(peer)
        head = None if not held else HeadClaim(peer, len(held), id_of(held[-1]))
        cursor = self.cursors.get(peer)
        return Greeting(self.epoch, len(self.arrivals), cursor, head, self.interest, cursor is None)

    def exchange(self, peer: AuthorKey, *, is_dialler: bool, **how: int) -> SyncExchange:
        nonce = self.epoch if is_dialler else self.epoch[::-1]
        greeting = self.greeting(peer)
        return SyncExchange(self.device, peer, greeting, nonce, is_dialler=is_dialler, **how)

    # --- what an exchange asks for ------------------------------------------------------------

    def do(self, action: Action, peer: AuthorKey) -> object:
        match action:
            case ReadHeads():
                return self._heads_since(action.n, action.limit)
            case ReadFrontier():
                claims = (HeadClaim(a, seq, i) for a, (seq, i) in self.heads().items())
                return Frontier(claims, action.salt)
            case Reconcile():
                try:
                    return action.run()
                except ProtocolViolation as violation:
                    return violation
            case ReadEntries():
                return self._entries(action)
            case ReadBodies():
                held = {id_of(it): it.body for feed in self.feeds.values() for it in feed}
                return BodiesPage(tuple(SentBody(it, held.get(it)) for it in action.ids))
            case Look():
                return Looked(self._wanted(action.rows))
            case JudgeOwnHead():
                return self._judge(action.claim)
            case ShowOwnHead():
                if action.entry is None:
                    return False
                self.proofs.append(action.entry)
                return True
            case Take():
                return self._take(action, peer)
            case TakeBodies():
                for it in action.bodies:
                    self.missing_bodies.remove(it.entry_id)
                return Taken(Outcome(known=len(action.bodies)))
            case TakeFork():
                try:
                    author, _ = place_of(action.proof)
                except ProtocolViolation:
                    return Taken(Outcome(), faults=(Fault.UNPROVEN,))
                return self._fork(AuthorKey(author), action.proof)
            case ReadMissing():
                return MissingBodies(tuple(self.missing_bodies), 1, more=False)
            case KeepCursor():
                self.cursors[peer] = action.cursor
            case NoteReconciled():
                self.cursors[peer] = action.cursor
                self.reconciled.append(action.cursor)
            case TakeDelivery():
                self.delivered.append(id_of(action.entry))
                return id_of(action.entry)
            case NoteDelivered():
                self.got.append(action.entry_id)
            case PassFork():
                pass
            case _:
                raise AssertionError(action)
        return _NOTHING

    def _add(self, sent: SentEntry) -> bool:
        author, seq = place_of(sent.header)
        feed = self.feeds.setdefault(AuthorKey(author), [])
        if seq != len(feed) + 1:
            return False
        feed.append(sent)
        self.arrivals.append((AuthorKey(author), seq))
        return True

    def _heads_since(self, n: int, limit: int) -> HeadsPage:
        came = self.arrivals[n : n + limit]
        lowest: dict[AuthorKey, int] = {}
        for author, seq in came:
            lowest.setdefault(author, seq)
        heads = self.heads()
        rows = tuple(HeadsRow(author, seq, *heads[author]) for author, seq in lowest.items())
        return HeadsPage(rows, n + len(came), n + len(came) < len(self.arrivals))

    def _entries(self, action: ReadEntries) -> EntriesPage:
        found: list[SentEntry] = []
        room = action.most_bytes
        for place, part in enumerate(action.ranges):
            feed = self.feeds.get(part.author, [])
            branch = {place_of(it.header)[1]: it for it in self.branches.get(part.author, [])}
            for seq in range(part.first, min(part.last, max([len(feed), *branch])) + 1):
                together = feed[seq - 1 : seq] + ([branch[seq]] if seq in branch else [])
                sent = [
                    it if action.with_bodies else SentEntry(it.header, it.sig) for it in together
                ]
                size = sum(len(it.header) + len(it.sig) + len(it.body or b"") for it in sent)
                if size > room or len(found) + len(sent) > action.most_entries:
                    rest = (SeqRange(part.author, seq, part.last), *action.ranges[place + 1 :])
                    return EntriesPage(tuple(found), rest)
                room -= size
                found += sent
        return EntriesPage(tuple(found))

    def _wanted(self, rows: Iterable[HeadsRow]) -> Wanted:
        ranges, suspects = [], []
        for row in rows:
            held = len(self.feeds.get(row.author, ()))
            if row.to_seq > held:
                part = SeqRange(row.author, held + 1, row.to_seq)
                ranges.append(WantedRange(part, with_bodies=not self.without_bodies))
            elif row.author not in self.forks and row.entry_id != id_of(
                self.feeds[row.author][row.to_seq - 1]
            ):
                suspects.append(SeqRange(row.author, row.to_seq, row.to_seq))
        return Wanted(tuple(ranges), tuple(suspects))

    def _judge(self, claim: HeadClaim | None) -> OwnHead:
        self.claims.append(claim)
        if claim is None:
            return OwnHead.ABSENT
        feed = self.feeds.get(self.device, [])
        is_ours = claim.seq <= len(feed) and id_of(feed[claim.seq - 1]) == claim.entry_id
        return OwnHead.CONFIRMED if is_ours else OwnHead.ASK

    def _take(self, action: Take, peer: AuthorKey) -> Taken:
        outcome = Outcome()
        forks: tuple[tuple[AuthorKey, bytes], ...] = ()
        self.batches.append(len(action.entries))
        for sent in action.entries:
            author, seq = place_of(sent.header)
            if self._add(sent):
                outcome.accepted += 1
                if sent.body is None:
                    self.missing_bodies.append(id_of(sent))
                continue
            held = self.feeds[AuthorKey(author)]
            if seq <= len(held) and id_of(held[seq - 1]) != id_of(sent):
                outcome.forks += 1
                self.branches.setdefault(AuthorKey(author), []).append(sent)
                forks += self._fork(AuthorKey(author), sent.header).forks
            else:
                outcome.known += 1
        if action.cursor is not None and not self.missing_bodies:
            self.cursors[peer] = action.cursor
        return Taken(outcome, bodies=tuple(self.missing_bodies), forks=forks)

    def _fork(self, author: AuthorKey, proof: bytes) -> Taken:
        is_new = author not in self.forks
        self.forks.setdefault(author, proof)
        return Taken(Outcome(), forks=((author, proof),) if is_new else ())


_NOTHING = object()


class Side:
    """One ledger with one session of it."""

    def __init__(self, ledger: MemoryLedger, exchange: SyncExchange) -> None:
        self.ledger = ledger
        self.exchange = exchange
        self.waiting: deque[Action] = deque()
        self.sent = bytearray()  # on its way to the other side
        self.frames: list[bytes] = []
        self.blamed: list[Blame] = []
        self.closed: Close | None = None

    def add(self, actions: Iterable[Action]) -> None:
        self.waiting.extend(actions)

    def work(self) -> bool:
        """Do what is to be done; say whether anything was."""
        had_work = bool(self.waiting)
        while self.waiting:
            action = self.waiting.popleft()
            match action:
                case Send():
                    self.sent += action.frame
                    self.frames.append(action.frame)
                case Blame():
                    self.blamed.append(action)
                case Close():
                    self.closed = action
                case _:
                    result = self.ledger.do(action, self.exchange.peer)
                    if result is not _NOTHING:
                        self.add(self.exchange.supplied(action, result))
        return had_work


class Pair:
    """Two Devices in one session."""

    def __init__(self, dialler: MemoryLedger, dialled: MemoryLedger, **how: int) -> None:
        self.dialler = Side(dialler, dialler.exchange(dialled.device, is_dialler=True, **how))
        self.dialled = Side(dialled, dialled.exchange(dialler.device, is_dialler=False, **how))
        self.dialler.add(self.dialler.exchange.start())
        self.dialled.add(self.dialled.exchange.start())

    def run(self, portion: int = 262_144) -> Pair:
        """Carry bytes until nothing is left to do."""
        sides = ((self.dialler, self.dialled), (self.dialled, self.dialler))
        moved = True
        while moved:
            moved = False
            for near, far in sides:
                moved |= near.work()
                data, near.sent = bytes(near.sent), bytearray()
                for start in range(0, len(data), portion):
                    far.add(far.exchange.feed(data[start : start + portion]))
                    far.work()
                    moved = True
        return self

    @property
    def bytes_sent(self) -> int:
        return sum(len(frame) for side in (self.dialler, self.dialled) for frame in side.frames)
