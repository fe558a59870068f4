"""One session of ``/hanse/sync/1``: bytes in, actions out (ledger.md 7).

* Both sides begin with HELLO.  Where each can go on from what it has read of the other before,
  they tell what came since; else they first reconcile all Heads.  Then both ask for what they
  lack, each as fast as it takes it in, and go on telling what comes.
* Telling (``sync_telling``) and asking (``sync_asking``) go on side by side on one stream.
* Everything the other side may send was asked for or has a bound, so whoever reads the stream never
  has to wait.  Who breaks a bound, or shows again and again that it does not hold what it
  announced, ends the session and has it held against him.
* No time is known here: ``waiting_for`` says what is due, and ``overdue`` ends it.

Whoever runs a session does its actions (``sync_actions``) and gives back their results.  What comes
out depends on what goes in, and on its order, alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final, assert_never

from hanse.core.engine.replication.values import (
    BodiesPage,
    EntriesPage,
    HeadsPage,
    HeadsRow,
    MissingBodies,
    OwnHead,
    Taken,
)
from hanse.core.limits import (
    SYNC_BATCH_ENTRIES_MAX,
    SYNC_DELIVERIES_OPEN_MAX,
    SYNC_FORKS_MAX,
    SYNC_WANTS_OPEN_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.model.network import Cursor, HeadClaim, SentEntry
from hanse.network.wire.frames import FrameReader, ProtocolViolation
from hanse.network.wire.recon import Frontier, Reconciler, salt_of
from hanse.network.wire.sync_actions import (
    Blame,
    Close,
    Ending,
    JudgeOwnHead,
    Look,
    Looked,
    Misdeed,
    NoteDelivered,
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
from hanse.network.wire.sync_asking import Asking, Forging, Withholding
from hanse.network.wire.sync_messages import (
    MESSAGES,
    NONCE_SIZE_BYTES,
    VERSION,
    Bodies,
    Deliver,
    Entries,
    ForkShown,
    Got,
    HeadPlace,
    Heads,
    Hello,
    InterestMap,
    Place,
    Recon,
    ReconRange,
    Seen,
    Sorry,
    SorryCode,
    SyncMessage,
    Want,
    WantBodies,
    write,
)
from hanse.network.wire.sync_telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.engine.replication.values import Greeting
    from hanse.network.wire.sync_actions import Action

HELLO_SECONDS: Final = 30
ANSWER_SECONDS: Final = 60


@unique
class Phase(Enum):
    """How far a session is."""

    HELLO = "hello"
    RECON = "recon"
    PULL = "pull"
    LIVE = "live"  # nothing is open on our side
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the other side owes us: the same value for ``seconds`` means that it is silent."""

    what: str
    mark: tuple[int, int]
    seconds: int


class SyncExchange:
    """One side of one session."""

    def __init__(
        self,
        own: AuthorKey,
        peer: AuthorKey,
        greeting: Greeting,
        nonce: bytes,
        *,
        is_dialler: bool,
        batch_entries: int = SYNC_BATCH_ENTRIES_MAX,
    ) -> None:
        """Speak as the Device ``own`` with ``peer``; ``nonce`` is new for every session."""
        assert len(nonce) == NONCE_SIZE_BYTES
        self.peer = peer
        self._own = own
        self._greeting = greeting
        self._nonce = nonce
        self._is_dialler = is_dialler
        self._reader = FrameReader(MESSAGES)
        self._out: list[Action] = []
        self._telling = Telling(self._out)
        self._asking = Asking(self._out, own, batch_entries)
        self._phase = Phase.HELLO
        self._hello: Hello | None = None
        self._reconciler: Reconciler | None = None
        self._held_ranges: tuple[ReconRange, ...] | None = None  # came before we could compare
        self._recon_steps = 0
        self._is_comparing = False
        self._has_frontier = False
        self._has_begun = False
        self._tells_everything = False
        self._forks_in = 0
        self._deliveries: dict[EntryId, None] = {}
        self._deliveries_in = 0
        self.frames_in = 0

    # --- how far it is --------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Return how far the session is."""
        if self._phase is Phase.PULL and self._asking.is_settled:
            return Phase.LIVE
        return self._phase

    @property
    def is_settled(self) -> bool:
        """Say whether each side has what the other told, as far as this one knows."""
        return self.phase is Phase.LIVE and self._telling.is_settled

    @property
    def behind_by(self) -> int:
        """Return how many Entries are still to come."""
        return self._asking.behind_by

    @property
    def entries_in(self) -> int:
        """Return how many Entries came that are new here."""
        return self._asking.entries_in

    @property
    def entries_out(self) -> int:
        """Return how many Entries were sent."""
        return self._telling.entries_out

    @property
    def asked_authors(self) -> tuple[AuthorKey, ...]:
        """Return whose Entries this session asks for, now or next."""
        return self._asking.asked_authors

    @property
    def has_later(self) -> bool:
        """Say whether rows wait for ``look_again``."""
        return self._asking.has_later

    @property
    def may_deliver(self) -> bool:
        """Say whether a Private Entry may be handed over now."""
        is_open = self._phase in {Phase.RECON, Phase.PULL}
        return is_open and len(self._deliveries) < SYNC_DELIVERIES_OPEN_MAX

    @property
    def buffered_bytes(self) -> int:
        """Return how much of a frame has come that is not whole yet: a slow answer, no silence."""
        return self._reader.held_bytes

    @property
    def waiting_for(self) -> Waiting | None:
        """Return what the other side owes us, if anything."""
        if self._phase is Phase.HELLO:
            return Waiting("hello", (0, 0), HELLO_SECONDS)
        if self._phase is Phase.RECON:
            if self._is_comparing or not self._has_frontier:
                return None
            return Waiting("recon", (self._recon_steps, 0), ANSWER_SECONDS)
        if self._phase is Phase.PULL and (oldest := self._asking.oldest_open) is not None:
            return Waiting("answer", oldest, ANSWER_SECONDS)
        return None

    # --- what happens ---------------------------------------------------------------------------

    def start(self) -> tuple[Action, ...]:
        """Say HELLO; the first thing of all."""
        greeting = self._greeting
        cursor = None if greeting.needs_reconciling else greeting.cursor
        head = greeting.your_head
        hello = Hello(
            VERSION,
            greeting.store_epoch,
            self._nonce,
            greeting.newest_n,
            None if cursor is None else Place(cursor.store_epoch, cursor.n),
            None if head is None else HeadPlace(head.seq, head.entry_id),
            InterestMap.of(greeting.interest),
        )
        return self._step(lambda: self._out.append(Send(write(hello))))

    def feed(self, data: bytes | bytearray | memoryview) -> tuple[Action, ...]:
        """Take what the stream brought."""

        def step() -> None:
            for framed in self._reader.feed(data):
                if self._phase is Phase.CLOSED:
                    return
                message = framed.message
                self.frames_in += 1
                assert isinstance(message, SyncMessage)
                self._receive(message)

        return self._step(step)

    def supplied(self, action: Action, result: object) -> tuple[Action, ...]:
        """Take the result of an action that has one; see there of which type."""
        return self._step(lambda: self._supply(action, result))

    def news(self) -> tuple[Action, ...]:
        """Note that something came into our store, or may leave it now."""
        return self._step(self._telling.news)

    def hinted(self, claim: HeadClaim) -> tuple[Action, ...]:
        """Ask for a Head that somebody hinted at, if it is wanted; lost while not yet pulling."""
        return self._step(lambda: self._asking.hinted(claim) if self._phase is Phase.PULL else None)

    def look_again(self) -> tuple[Action, ...]:
        """Look again at rows that were being asked of somebody else."""
        return self._step(self._asking.look_again)

    def show_fork(self, author: AuthorKey, proof: bytes) -> tuple[Action, ...]:
        """Show the other side a Fork proof it was not shown yet."""
        if self._phase is Phase.HELLO:
            return ()
        return self._step(lambda: self._telling.tell_fork(author, proof))

    def deliver(self, entry: SentEntry, entry_id: EntryId) -> tuple[Action, ...]:
        """Hand over a Private Entry; ``may_deliver`` must be true.  Its Body goes along."""
        assert self.may_deliver
        assert entry.body is not None
        self._deliveries[entry_id] = None
        frame = write(Deliver(entry.header, entry.sig, entry.body))
        return self._step(lambda: self._out.append(Send(frame)))

    def set_most_open(self, count: int) -> None:
        """Bound how many requests are open, where many sessions ask at once."""
        self._asking.most_open = max(1, min(count, SYNC_WANTS_OPEN_MAX))

    def overdue(self) -> tuple[Action, ...]:
        """End it: what ``waiting_for`` named did not come in time."""
        return self._step(lambda: self._close(Ending.SILENT))

    def failed(self, code: SorryCode, retry_ms: int = 0) -> tuple[Action, ...]:
        """End it: we cannot go on, by no fault of the other side."""
        return self._step(lambda: self._say_sorry(Ending.FAILED, code, retry_ms))

    def ended(self) -> tuple[Action, ...]:
        """Note that the stream has ended."""
        return self._step(lambda: self._close(Ending.GONE))

    def _step(self, step: Callable[[], None]) -> tuple[Action, ...]:
        if self._phase is Phase.CLOSED:
            return ()
        try:
            step()
            for author, proof in self._asking.forks:
                self._telling.tell_fork(author, proof)
            self._asking.forks.clear()
        except ProtocolViolation as error:
            self._break(error)
        except Withholding:
            self._out.append(Blame(Misdeed.WRONG_BYTES))
            self._say_sorry(Ending.BROKEN, "unexpected")
        except Forging:
            self._say_sorry(Ending.BROKEN, "bad_frame")  # it was blamed for already
        actions = tuple(self._out)
        self._out.clear()
        return actions

    def _break(self, error: ProtocolViolation) -> None:
        words: dict[object, SorryCode] = {
            "too_big": "too_big",
            "unexpected": "unexpected",
            "version": "version",
        }
        code = words.get(error.values["reason"], "bad_frame")
        if code != "version":  # a later program is no offence
            self._out.append(Blame(Misdeed.FRAME))
        self._say_sorry(Ending.BROKEN, code)

    def _say_sorry(self, ending: Ending, code: SorryCode, retry_ms: int = 0) -> None:
        self._out.append(Send(write(Sorry(code, "", retry_ms))))
        self._close(ending, code, retry_ms)

    def _close(self, ending: Ending, code: SorryCode | None = None, retry_ms: int = 0) -> None:
        self._phase = Phase.CLOSED
        self._out.append(Close(ending, code, retry_ms))

    # --- what the other side says -----------------------------------------------------------------

    def _receive(self, message: SyncMessage) -> None:
        if isinstance(message, Sorry):
            self._close(Ending.SORRY, message.code, message.retry_ms)
            return
        if (self._hello is None) != isinstance(message, Hello):
            raise MESSAGES.violation("unexpected")
        match message:
            case Hello():
                self._on_hello(message)
            case Recon():
                self._on_recon(message)
            case Heads():
                self._on_heads(message)
            case Seen():
                self._telling.seen(message.n)
            case Want() | WantBodies():
                self._telling.want(message)
            case Entries():
                self._asking.entries(message)
            case Bodies():
                self._asking.bodies(message)
            case ForkShown():
                self._forks_in += 1
                if self._forks_in > SYNC_FORKS_MAX:
                    raise MESSAGES.violation("unexpected")
                self._out.append(TakeFork(message.proof))
            case Deliver():
                self._on_deliver(message)
            case Got():
                self._on_got(message)
            case _:
                assert_never(message)

    def _on_hello(self, hello: Hello) -> None:
        if hello.version != VERSION:
            raise MESSAGES.violation("version")
        self._hello = hello
        self._telling.set_interest(hello.interest.interest())
        head = hello.your_head
        self._asking.own_claimed(
            None if head is None else HeadClaim(self._own, head.seq, EntryId(head.entry_id))
        )
        greeting = self._greeting
        ours = None if greeting.needs_reconciling else greeting.cursor
        theirs = hello.cursor
        if (
            ours is not None
            and theirs is not None
            and (ours.store_epoch, theirs.store_epoch) == (hello.store_epoch, greeting.store_epoch)
            and ours.n <= hello.newest_n
            and theirs.n <= greeting.newest_n
        ):
            self._phase = Phase.PULL
            self._asking.expect_heads(ours.n, is_all=False)
        else:
            self._phase = Phase.RECON
            # The other side may be through with it, and have seen it all, while we compare.
            self._telling.await_seen(greeting.newest_n)

    def _begin_telling(self) -> None:
        """Begin once our own Head was judged: only then it is known how much of it may be shown."""
        hello = self._hello
        assert hello is not None
        if self._phase is Phase.PULL:
            if hello.cursor is not None and not self._tells_everything:
                self._telling.tell_from(hello.cursor.n)
            return
        nonces = (self._nonce, hello.nonce)
        salt = salt_of(*(nonces if self._is_dialler else nonces[::-1]))
        self._out.append(ReadFrontier(hello.interest.interest(), salt))

    def _on_heads(self, message: Heads) -> None:
        self._telling.heard(message.rows)
        rows = (
            HeadsRow(AuthorKey(it.author), it.from_seq, it.to_seq, EntryId(it.entry_id))
            for it in message.rows
        )
        self._asking.told(rows, self._cursor(message.up_to), more=message.more)

    def _on_deliver(self, message: Deliver) -> None:
        self._deliveries_in += 1
        if self._deliveries_in > SYNC_DELIVERIES_OPEN_MAX:
            raise MESSAGES.violation("unexpected")
        self._out.append(TakeDelivery(SentEntry(message.header, message.sig, message.body)))

    def _on_got(self, message: Got) -> None:
        entry_id = EntryId(message.entry_id)
        if entry_id not in self._deliveries:
            raise MESSAGES.violation("unexpected")
        del self._deliveries[entry_id]
        self._out.append(NoteDelivered(entry_id))

    def _cursor(self, n: int) -> Cursor:
        assert self._hello is not None
        return Cursor(self._hello.store_epoch, n)

    # --- reconciling ------------------------------------------------------------------------------

    def _on_recon(self, message: Recon) -> None:
        is_too_early = self._is_dialler and not self._recon_steps
        is_answered = self._is_comparing or self._held_ranges is not None
        if self._phase is not Phase.RECON or is_too_early or is_answered:
            raise MESSAGES.violation("unexpected")
        if not message.ranges:
            # At once, since what is told instead may be here already.
            self._tell_everything()
        elif not self._has_frontier:
            self._held_ranges = message.ranges
        else:
            self._compare(message.ranges)

    def _frontier_built(self, frontier: Frontier | None) -> None:
        if self._phase is not Phase.RECON:
            return  # the other side has given up meanwhile
        self._has_frontier = True
        self._reconciler = None if frontier is None else Reconciler(frontier)
        held, self._held_ranges = self._held_ranges, None
        if self._is_dialler or held is not None:
            self._compare(held)

    def _compare(self, ranges: tuple[ReconRange, ...] | None) -> None:
        if self._reconciler is None:
            self._out.append(Send(write(Recon(()))))
            self._tell_everything()
            return
        self._is_comparing = True
        self._out.append(Reconcile(self._reconciler, ranges))

    def _compared(self, answer: object) -> None:
        self._is_comparing = False
        self._recon_steps += 1
        if isinstance(answer, ProtocolViolation):
            raise answer
        if answer is not None:
            assert isinstance(answer, tuple)
            self._out.append(Send(write(Recon(answer))))
        reconciler = self._reconciler
        assert reconciler is not None
        if not reconciler.is_done:
            return
        if reconciler.gave_up:
            self._tell_everything()
            return
        assert self._hello is not None
        self._reconciler = None
        self._phase = Phase.PULL
        self._asking.found(reconciler.theirs, self._cursor(self._hello.newest_n))

    def _tell_everything(self) -> None:
        self._reconciler = None
        self._held_ranges = None
        self._phase = Phase.PULL
        self._tells_everything = True
        self._asking.expect_heads(0, is_all=True)
        self._telling.tell_from(0)

    # --- what the engine says ---------------------------------------------------------------------

    def _supply(self, action: Action, result: object) -> None:
        match action, result:
            case ReadHeads(), HeadsPage():
                self._telling.heads_read(result)
            case ReadFrontier(), Frontier() | None:
                self._frontier_built(result)
            case Reconcile(), _:
                self._compared(result)
            case ReadEntries(), EntriesPage():
                self._telling.entries_read(result)
            case ReadBodies(), BodiesPage():
                self._telling.bodies_read(result)
            case Look(), Looked():
                self._asking.looked(result)
            case JudgeOwnHead(), OwnHead():
                self._asking.judged(result)
                if not self._has_begun:
                    self._has_begun = True
                    self._begin_telling()
            case ShowOwnHead(), bool():
                self._asking.own_shown(is_proof=result)
            case Take() | TakeBodies(), Taken():
                self._asking.taken(result)
            case TakeFork(), Taken():
                self._asking.note(result)
                self._asking.pump()
            case ReadMissing(), MissingBodies():
                self._asking.missing(result)
            case TakeDelivery(), _:
                self._delivery_taken(result)
            case _:
                raise AssertionError((action, result))

    def _delivery_taken(self, entry_id: object) -> None:
        self._deliveries_in -= 1
        if isinstance(entry_id, bytes):
            self._out.append(Send(write(Got(entry_id))))
