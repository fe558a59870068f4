"""An honest Device in the simulation: a real folder, a real store, the real use cases.

* It is ``boot``ed and it ``crash``es; what was committed is there afterwards, what was not is gone,
  and a disk that lied may have lost the last commits, too.
* It runs its sessions by the rules of ``hanse.network.services.sync``: one for each Peer, of two
  dials at once the one of the smaller key, Feeds asked of one Peer at a time.
* What it wrote and has on disk it remembers outside, so that a world can ask for it at the end.
"""

from __future__ import annotations

import shutil
import struct
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

from hanse.core.engine.context import Context
from hanse.core.engine.engine import _judge_copy
from hanse.core.engine.home import Home
from hanse.core.engine.post_receiving import Received, check_post
from hanse.core.engine.posting import Posting
from hanse.core.engine.replicating import Replicating
from hanse.core.engine.replication.values import OwnHead, Taken, Wanted
from hanse.core.engine.syncing import accept_batch
from hanse.core.errors import RejectedEntry
from hanse.core.keystore.guards import write_mark
from hanse.core.keystore.keystore import Unlocked, read_public
from hanse.core.ledger.kinds import Erase1, Message1
from hanse.core.ledger.quotas import Tier
from hanse.core.limits import SYNC_RECONCILING_MAX
from hanse.core.model.network import Met
from hanse.core.store.engines import DATABASE_FILE, Store
from hanse.core.store.peers import PeerRow
from hanse.network.conduct import Conduct, Offence
from hanse.network.services.sync_acts import UNANSWERED as UNANSWERED_ACTIONS
from hanse.network.services.sync_acts import act
from hanse.network.wire.sync import Phase, SyncExchange
from hanse.network.wire.sync_actions import (
    JudgeOwnHead,
    KeepCursor,
    Look,
    Looked,
    Misdeed,
    NoteDelivered,
    NoteReconciled,
    PassFork,
    ReadFrontier,
    Take,
    TakeBodies,
    TakeDelivery,
    TakeFork,
)
from hanse.network.wire.sync_messages import NONCE_SIZE_BYTES
from tests.fakes.chance import SeededChance
from tests.fakes.people import START_MS, Person
from tests.simulation.sim_shell import UNANSWERED, Party, Session, Stream

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.ledger.kinds import Body
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.network.wire.sync_actions import Action
    from tests.fakes.author import Writer
    from tests.fakes.clock import FakeClock

PATIENCE_MS: Final = 10_000
RENEW_MS: Final = 24 * 60 * 60 * 1000
NAMES: Final = ("anna", "bo", "cem", "dora", "edda", "finn")
_OFFENCES: Final = {Misdeed.FRAME: Offence.FRAME, Misdeed.WRONG_BYTES: Offence.WRONG_BYTES}
_WAL: Final = DATABASE_FILE + "-wal"
_SHM: Final = DATABASE_FILE + "-shm"
_WAL_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24


class Template:
    """One Account to be copied into as many worlds as are wanted."""

    def __init__(self, base: Path, name: str) -> None:
        self.name = name
        self.person = Person.make(base, name)
        with self.person.open() as engine:
            keys = engine.context.keys
            assert keys is not None
            self.keys: Unlocked = keys
            with engine.context.store.unit_of_work() as uow:
                uow.meta.renew_store_epoch(SeededChance(f"epoch of {name}"))
                uow.commit()
        self.public = read_public(self.person.home.keystore)

    @property
    def device(self) -> AuthorKey:
        return self.public.device

    def meet(self, others: Sequence[Template]) -> None:
        """Keep a row for other Devices, as after a status call."""
        with closing(Store.open(self.person.home.folder)) as store, store.unit_of_work() as uow:
            for other in others:
                if other is not self:
                    uow.peers.put(PeerRow(other.device, (), Met.INBOUND, 0))
            uow.commit()

    def know(self, others: Sequence[Template]) -> None:
        """Hold what others wrote when they registered, in the folder for ``acquainted`` worlds."""
        with closing(Store.open(self.folder(is_acquainted=True))) as store:
            for other in others:
                if other is self:
                    continue
                with store.unit_of_work() as uow:
                    accept_batch(uow, other.opening(), START_MS, Tier.STRANGER)
                    uow.commit()

    def opening(self) -> list[CheckedEntry]:
        """Return the Entries of its registration."""
        with (
            closing(Store.open_read_only(self.person.home.folder)) as store,
            store.reads() as reads,
        ):
            return [it.entry for row in reads.feeds.all() for it in reads.feeds.entries(row.author)]

    def folder(self, *, is_acquainted: bool) -> Path:
        """Return the data folder to copy."""
        folder = self.person.home.folder
        if not is_acquainted:
            return folder
        base = folder.parent.parent
        return base.with_name(base.name + "-acquainted") / folder.relative_to(base)


def make_templates(base: Path, names: Sequence[str] = NAMES) -> list[Template]:
    """Make an Account for each name, that has met the Devices of all others."""
    made = [Template(base, name) for name in names]
    for one in made:
        one.meet(made)
    shutil.copytree(base, base.with_name(base.name + "-acquainted"))
    for one in made:
        one.know(made)
    return made


class SkewedClock:
    """The world's clock, a little before or behind."""

    def __init__(self, clock: FakeClock, skew_ms: int) -> None:
        self._clock = clock
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._skew_ms


class SimPeer(Party):
    """One honest Device."""

    def __init__(
        self,
        template: Template,
        base: Path,
        clock: FakeClock,
        seed: str,
        skew_ms: int,
        bodies: Writer,
        *,
        is_acquainted: bool,
    ) -> None:
        self.name = template.name
        self.device = template.device
        self.identity: IdentityId = template.public.identity
        self._template = template
        folder = base / self.name
        self.home = Home(folder / "data", folder / "config")
        (folder / "config").mkdir(parents=True)
        shutil.copytree(template.folder(is_acquainted=is_acquainted), self.home.folder)
        write_mark(self.home.folder, bytes(16))
        self.clock = SkewedClock(clock, skew_ms)
        self.chance = SeededChance(f"{seed} {self.name}")
        self._bodies = bodies
        self.conduct: dict[AuthorKey, Conduct] = {}
        self.sessions: dict[AuthorKey, Session] = {}
        self.closing: list[Session] = []  # replaced, and not through with their last words
        self.acknowledged: list[EntryId] = []
        self.torn = 0
        self.crashes = 0
        self.dropped: list[str] = []
        self.boot()

    def __repr__(self) -> str:
        return self.name

    # --- its life -------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the program."""
        store = Store.open(self.home.folder, chance=self.chance)
        _share_statements(store)
        public = self._template.public
        state = _judge_copy(self.home, store, public)
        self.context = Context(self.home, store, self.clock, self.chance, public, state)
        self.context.keys = self._template.keys
        self.replicating = Replicating(self.context)
        self.posting = Posting(self.context)
        self._looking_at: dict[Session, frozenset[AuthorKey]] = {}
        self._left_to: dict[Session, dict[AuthorKey, tuple[Session, int]]] = {}
        self._cursors: dict[Session, KeepCursor] = {}
        self._frontiers: list[Session] = []
        self._parcels: dict[EntryId, int] = {}

    def stop(self) -> None:
        """End in an orderly way."""
        self.context.store.close()

    def crash(self, tear: random.Random | None = None) -> None:
        """Die, lose what is not on disk, and with ``tear`` what was said to be; start again."""
        self.crashes += 1
        for session in self.all_sessions():
            session.is_over = True
        self.sessions.clear()
        self.closing.clear()
        folder = self.home.folder
        kept = {
            name: (folder / name).read_bytes()
            for name in (DATABASE_FILE, _WAL, _SHM)
            if (folder / name).exists()
        }
        self.context.store.close()
        for name, raw in kept.items():
            if name != _SHM:
                (folder / name).write_bytes(raw)
        (folder / _SHM).unlink(missing_ok=True)
        if tear is not None and _WAL in kept and _SHM in kept:
            (folder / _WAL).write_bytes(torn(kept[_WAL], kept[_SHM], tear))
        self.boot()
        if tear is not None:
            self.torn += 1
            with self.context.store.reads() as reads:
                still = reads.feeds.known(self.acknowledged)
            self.acknowledged = [it for it in self.acknowledged if it in still]

    @property
    def may_sign(self) -> bool:
        return self.context.copy_state.may_sign

    # --- what it writes -------------------------------------------------------------------------

    def write(self, chance: random.Random, others: Sequence[IdentityId]) -> str:
        """Write something of its own; return what."""
        match chance.choice(("profile", "profile", "listing", "follow", "follow", "erase")):
            case "listing":
                body: Body = self._bodies.listing(f"model {chance.random()}")
            case "follow":
                body = self._bodies.follow(chance.choice(others), chance.choice((1, 1, 0)))
            case "erase" if targets := self._erasable():
                body = Erase1(
                    salt=self.context.body_salt(), targets=(chance.choice(targets),), reason=""
                )
            case _:
                body = self._bodies.profile(f"{self.name} {chance.random()}")
        with self.context.store.unit_of_work() as uow:
            entry = self.context.append_own(uow, body)
            uow.commit()
        self._wrote(entry)
        return entry.kind

    def _erasable(self) -> list[EntryId]:
        with self.context.store.reads() as reads:
            row = reads.feeds.get(self.device)
            assert row is not None
            assert row.head is not None
            found = [reads.feeds.entry_at(self.device, seq) for seq in range(2, row.head.seq + 1)]
        kinds = {"profile/1", "listing/1"}
        return [it.entry_id for it in found if it is not None and it.kind in kinds]

    def whisper(self, to: SimPeer, text: str) -> CheckedEntry | None:
        """Write a Private Message, if the reader is known here."""
        context = self.context
        with context.store.unit_of_work() as uow:
            theirs = uow.projections.standing_of(to.identity)
            own = uow.projections.standing_of(self.identity)
            assert own is not None
            if theirs is None or theirs.box is None:
                return None
            boxes = [theirs.box, context.newest_box(own)]
            body = Message1(order=None, text=text, files=())
            ends = [to.identity, self.identity]
            entry = context.append_private(uow, "message/1", body, boxes, ends)
            uow.commit()
        self._wrote(entry)
        return entry

    def _wrote(self, entry: CheckedEntry) -> None:
        self.acknowledged.append(entry.entry_id)
        self.announce()

    # --- sessions -------------------------------------------------------------------------------

    def all_sessions(self) -> list[Session]:
        return [*self.sessions.values(), *self.closing]

    def is_refused(self, device: AuthorKey) -> bool:
        conduct = self.conduct.get(device)
        return conduct is not None and conduct.is_refused(self.clock.now_ms())

    def open(self, stream: Stream, *, is_dialler: bool) -> Session | None:
        """Begin a session on a stream, unless another one goes on instead."""
        device = stream.dialled if is_dialler else stream.dialler
        greeting = self.replicating.greeting(device)
        nonce = self.chance.bytes(NONCE_SIZE_BYTES)
        old = self.sessions.get(device)
        if old is not None:
            is_ours = self.device < device
            if old.is_dialler is not is_dialler and is_dialler is not is_ours:
                return None
            old.step(partial(old.exchange.failed, "busy"))
            self.closing.append(old)
        exchange = SyncExchange(self.device, device, greeting, nonce, is_dialler=is_dialler)
        session = Session(self, stream, exchange, is_dialler=is_dialler)
        self.sessions[device] = session
        return session

    def over(self, session: Session) -> None:
        self._release(session)
        for kept in (self._looking_at, self._left_to):
            kept.pop(session, None)
        self._keep_cursor(session)
        if self.sessions.get(session.device) is session:
            del self.sessions[session.device]
        if session in self.closing:
            self.closing.remove(session)
        self.announce()

    def announce(self) -> None:
        """Tell every Peer what came, or may leave now."""
        for session in tuple(self.sessions.values()):
            session.step(session.exchange.news)

    def sent(self, session: Session, frame: bytes) -> None:
        self.on_sent(self, session, frame)

    def on_sent(self, by: SimPeer, session: Session, frame: bytes) -> None:
        """The world looks at what leaves; replaced by it."""

    def blame(self, session: Session, misdeed: Misdeed) -> None:
        conduct = self.conduct.get(session.device, Conduct())
        now_ms = self.clock.now_ms()
        self.conduct[session.device] = conduct.after(_OFFENCES[misdeed], now_ms)

    # --- what its sessions ask for --------------------------------------------------------------

    def do(self, session: Session, action: Action) -> object:
        match action:
            case ReadFrontier():
                if len(self._frontiers) >= SYNC_RECONCILING_MAX:
                    return None
                self._frontiers.append(session)
            case Look():
                return self._look(session, action)
            case KeepCursor():
                self._cursors[session] = action
                return UNANSWERED
            case NoteReconciled():
                self._cursors.pop(session, None)
            case TakeDelivery():
                return self._received(session, action)
            case NoteDelivered():
                message = self._parcels.pop(action.entry_id, None)
                if message is not None:
                    self.posting.got(message)
                return UNANSWERED
            case PassFork():
                for other in tuple(self.sessions.values()):
                    if other is not session:
                        other.step(partial(other.exchange.show_fork, action.author, action.proof))
                return UNANSWERED
            case _:
                pass
        result = act(self.replicating, session.device, action)
        return UNANSWERED if isinstance(action, UNANSWERED_ACTIONS) else result

    def check(self, session: Session, take: Take) -> object:  # noqa: ARG002
        return self.replicating.check(take.entries)

    def take(self, session: Session, take: Take, batch: object) -> object:
        if take.cursor is not None:
            self._cursors.pop(session, None)
        return self.replicating.take(
            session.device, batch, take.cursor, with_bodies=take.with_bodies
        )

    def supplied(self, session: Session, action: Action, result: object) -> None:
        match action:
            case JudgeOwnHead() if result is not OwnHead.ASK:
                self.announce()
            case Look():
                if self._looking_at.pop(session, None):
                    self._looked(session)
            case Take() | TakeBodies() | TakeFork():
                assert isinstance(result, Taken)
                if result.outcome.accepted or result.forks or result.changes.topics:
                    self.announce()
                self._looked(session)
            case _:
                pass

    def _look(self, session: Session, action: Look) -> Looked:
        elsewhere = {} if action.is_hint else self._asked_elsewhere(session)
        left = self._left_to.setdefault(session, {})
        later, rows = [], []
        for row in action.rows:
            asked = elsewhere.get(row.author)
            (later if asked and self._is_left(left, asked, row.author) else rows).append(row)
        if not later:
            left.clear()
        if not rows:
            return Looked(Wanted(), tuple(later))
        self._looking_at[session] = frozenset(row.author for row in rows)
        return Looked(self.replicating.wanted(session.device, rows), tuple(later))

    def _asked_elsewhere(self, asking: Session) -> dict[AuthorKey, Session]:
        return {
            author: session
            for session in self.sessions.values()
            if session is not asking
            for author in sorted(
                self._looking_at.get(session, frozenset()).union(session.exchange.asked_authors)
            )
        }

    def _is_left(
        self, left: dict[AuthorKey, tuple[Session, int]], asked: Session, author: AuthorKey
    ) -> bool:
        now_ms = self.clock.now_ms()
        trusted, since_ms = left.setdefault(author, (asked, now_ms))
        return trusted is asked and now_ms - since_ms < PATIENCE_MS

    def _looked(self, by: Session) -> None:
        for session in tuple(self.sessions.values()):
            if session is not by and session.exchange.has_later:
                session.step(session.exchange.look_again)

    def _received(self, session: Session, action: TakeDelivery) -> bytes | None:
        try:
            checked = check_post(action.entry)
        except RejectedEntry:
            self.blame(session, Misdeed.WRONG_BYTES)
            return None
        taken = self.posting.receiving.take(checked, is_named=False, is_counted=True)
        return taken.entry_id if isinstance(taken, Received) else None

    # --- from time to time ----------------------------------------------------------------------

    def hand_over(self, to: SimPeer) -> int:
        """Deliver what waits for somebody on the open session with him; return how much."""
        session = self.sessions.get(to.device)
        if session is None or session.is_over:
            return 0
        count = 0
        for message in self.posting.waiting_for(to.identity):
            if not session.exchange.may_deliver or not self.replicating.may_leave(message.n):
                break
            if message.entry_id in self._parcels:
                continue
            parcel = self.posting.begin(message.message)
            if parcel is not None:
                self._parcels[parcel.entry_id] = parcel.message
                session.step(partial(session.exchange.deliver, parcel.entry, parcel.entry_id))
                count += 1
        return count

    def tick(self) -> None:
        """Do what is due by now."""
        now_ms = self.clock.now_ms()
        for session in self.all_sessions():
            exchange = session.exchange
            if session.end is not None:
                continue
            if exchange.has_later:
                session.step(exchange.look_again)
            if exchange.phase is not Phase.RECON:
                self._release(session)
            waiting = exchange.waiting_for
            if waiting is None:
                session.waited = None
            elif session.waited is None or session.waited[0] != waiting:
                session.waited = (waiting, now_ms)
            elif now_ms - session.waited[1] >= waiting.seconds * 1000:
                session.step(exchange.overdue)

    def keep_cursors(self) -> None:
        for session in tuple(self._cursors):
            self._keep_cursor(session)

    def _keep_cursor(self, session: Session) -> None:
        action = self._cursors.pop(session, None)
        if action is not None:
            act(self.replicating, session.device, action)

    def _release(self, session: Session) -> None:
        if session in self._frontiers:
            self._frontiers.remove(session)

    # --- what it has at the end -----------------------------------------------------------------

    def ids(self) -> dict[AuthorKey, list[EntryId]]:
        """Return everything held, in Feeds and on branches, by Author."""
        with self.context.store.reads() as reads:
            return {
                row.author: sorted(
                    [*reads.feeds.ids(row.author)]
                    + [it.entry_id for it in reads.feeds.branch_entries(row.author)]
                )
                for row in reads.feeds.all()
            }

    def digest(self) -> bytes:
        with self.context.store.reads() as reads:
            return reads.projections.digest()

    def proved(self) -> set[AuthorKey]:
        """Return whose Forks are proved here."""
        with self.context.store.reads() as reads:
            return {row.author for row in reads.feeds.all() if reads.forks.of(row.author)}

    def has_body(self, entry_id: EntryId) -> bool:
        with self.context.store.reads() as reads:
            found = reads.feeds.find(entry_id)
            waiting = reads.parked.get(entry_id)
            is_here = found is not None and found.entry.body is not None
            return is_here or (waiting is not None and waiting.body is not None)


_DIALECTS: Final[dict[str, tuple[object, object]]] = {}


def _share_statements(store: Store) -> None:
    """Let all stores of the simulation share their compiled statements: they are many, and short.

    A store compiles each statement once, which in a world of half a second is a third of its time.
    """
    for name in ("_writer", "_readers"):
        engine = getattr(store, name)
        dialect, cache = _DIALECTS.setdefault(name, (engine.dialect, engine._compiled_cache))
        engine.dialect, engine._compiled_cache = dialect, cache


def torn(wal: bytes, shm: bytes, chance: random.Random) -> bytes:
    """Return a log of which the end never reached the disk, though it was said to.

    What was moved into the database already is left alone: it was synced before.
    """
    if len(shm) < 136 or len(wal) <= _WAL_HEADER_BYTES:
        return wal
    page_size = struct.unpack(">I", wal[8:12])[0]
    frame = _FRAME_HEADER_BYTES + page_size
    valid, moved = struct.unpack_from("=I", shm, 16)[0], struct.unpack_from("=I", shm, 96)[0]
    last = min(valid, (len(wal) - _WAL_HEADER_BYTES) // frame)
    if moved >= last:
        return wal
    first = max(moved, last - chance.choice((10, 60, 300, 10_000)))
    at = _WAL_HEADER_BYTES + frame * chance.randint(first, last - 1) + chance.randrange(frame)
    return wal[:at] if chance.random() < 0.5 else wal[:at] + bytes(len(wal) - at)
