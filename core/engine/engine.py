"""One open Account: the lock, the store, and the use cases bound to them.

* Opening takes the folder's lock first, so a second process is refused before it
  can read anything half-written; closing gives it back last.
* A folder without a Keystore is no Account; nothing is created silently.
* Whether the folder was copied or rolled back is judged at every open, and the keys of sealed
  trials that are over are erased.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from hanse.core.certify.client import WorkerClient
from hanse.core.certify.warm import WarmRunner
from hanse.core.engine.accounts import Accounts
from hanse.core.engine.backups import Backups
from hanse.core.engine.carrying import Carrying
from hanse.core.engine.catalogue import Catalogue
from hanse.core.engine.certificates import Certificates
from hanse.core.engine.certifying import Certifying
from hanse.core.engine.content import Content
from hanse.core.engine.context import Context
from hanse.core.engine.fetching import Fetching
from hanse.core.engine.gate import Gate
from hanse.core.engine.human_reviews import HumanReviews
from hanse.core.engine.ledger import HeldLedger
from hanse.core.engine.offering import Offering
from hanse.core.engine.peering import Peering
from hanse.core.engine.posting import Posting
from hanse.core.engine.publishing import Publishing
from hanse.core.engine.replicating import Replicating
from hanse.core.engine.running import Running
from hanse.core.engine.seeding import Seeding
from hanse.core.engine.storing import Storing
from hanse.core.engine.trials import Trials
from hanse.core.errors import EnvironmentFault, NoAccount
from hanse.core.keystore.guards import (
    MARK_SALT_SIZE_BYTES,
    CopyState,
    FolderLock,
    Highwater,
    ShownHeader,
    check_copy,
    check_mark,
    write_mark,
)
from hanse.core.keystore.keystore import KeystorePublic, read_public
from hanse.core.store.engines import Store

if TYPE_CHECKING:
    from types import TracebackType

    from hanse.core.clock import Chance, Clock
    from hanse.core.engine.home import Home
    from hanse.core.model.running import ModelRunner


class Engine:
    """All use cases of one Account; a context manager."""

    def __init__(
        self, context: Context, stack: ExitStack, runner: ModelRunner, app: str = ""
    ) -> None:
        """Bind the use cases; ``Engine.open`` is the usual door."""
        self._stack = stack
        self._is_closed = False
        self.context = context
        self.accounts = Accounts(context)
        self.ledger = HeldLedger(context)
        self.backups = Backups(context)
        self.content = Content(context)
        self.trials = Trials(context, self.content, runner)
        self.running = Running(context, self.content, runner, self.trials.sealed)
        sealed = self.trials.sealed.memory_source
        self.certifying = Certifying(context, self.content, runner, sealed, app)
        self.certificates = Certificates(context, self.content)
        self.human_reviews = HumanReviews(context)
        self.publishing = Publishing(
            context, self.content, runner, Gate(context, self.content, self.certifying)
        )
        self.offering = Offering(context, self.content)
        self.catalogue = Catalogue(context, self.content)
        self.storing = Storing(context, self.content)
        self.peering = Peering(context)
        self.posting = Posting(context)
        self.replicating = Replicating(context)
        self.fetching = Fetching(context, self.content, self.storing)
        self.seeding = Seeding(context, self.content, self.storing, self.fetching)
        self.carrying = Carrying(context, self.content, self.ledger, self.storing)

    @classmethod
    def open(
        cls,
        home: Home,
        *,
        clock: Clock,
        chance: Chance,
        read_only: bool = False,
        runner: ModelRunner | None = None,
        app: str = "",
        is_warm: bool = False,
    ) -> Engine:
        """Open the Account in ``home``, or raise and leave everything as it was.

        ``read_only`` takes no lock and writes nothing; it reads beside a process
        that holds the folder.  ``runner`` starts Workers; the program's own by default.
        ``app`` is the version of this program, which Certificates state.  With ``is_warm`` the
        next Worker is begun while there is none to wait for, once models were looked at.
        """
        if not home.keystore.exists():
            raise NoAccount(path=home.folder)
        with ExitStack() as stack:
            if not read_only:
                stack.enter_context(FolderLock(home.folder))
            public = read_public(home.keystore)
            opener = Store.open_read_only if read_only else Store.open
            store = opener(home.folder)
            stack.callback(store.close)
            state = _judge_copy(home, store, public)
            if state is CopyState.MOVED and not read_only:
                write_mark(home.folder, chance.bytes(MARK_SALT_SIZE_BYTES))
            context = Context(home, store, clock, chance, public, state)
            if runner is None and is_warm:
                runner = warm = WarmRunner(WorkerClient())
                stack.callback(warm.close)
            engine = cls(context, stack.pop_all(), runner or WorkerClient(), app)
        if not read_only:
            # Whoever cannot write now erases the keys of a trial that is over before he runs it.
            with suppress(EnvironmentFault):
                engine.trials.sealed.expire()
        return engine

    def close(self) -> None:
        """Drop the keys, close the store, give the lock back; harmless when repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        self.context.keys = None
        # The lock is given back also when the mark cannot be written, such as on a full disk.
        with self._stack:
            if not self.context.store.is_read_only:
                with self.context.store.reads() as reads:
                    self.context.note_leaving(reads)

    def __enter__(self) -> Self:
        """Return this open Account."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, whatever happened."""
        self.close()


def _judge_copy(home: Home, store: Store, public: KeystorePublic) -> CopyState:
    with store.reads() as reads:
        row = reads.feeds.get(public.device)
    head = None if row is None or row.head is None else (row.head.seq, row.head.entry_id)
    state = check_copy(check_mark(home.folder), Highwater(home.config, public.device).read(), head)
    if state.may_sign and ShownHeader(home.config, public.device).read() is not None:
        return CopyState.STALE  # a peer showed what this database did not have
    return state
