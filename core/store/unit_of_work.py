"""One transaction: everything in it is kept together, or nothing is.

* ``with uow: ... uow.commit()``.  Leaving without a commit leaves no trace.
* What must follow a commit (the high-water mark, waking the network) is given to
  ``after_commit`` and runs only when the disk has it, in the order given.
* ``Reads`` is the same view on a connection that cannot write.

When a transaction begins and what belongs into it is the use case's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from hanse.core.store.arrivals import ArrivalRepository
from hanse.core.store.catalogue_search import CatalogueSearch
from hanse.core.store.cataloguing import CatalogueKeeper
from hanse.core.store.certificates import CertificateRepository
from hanse.core.store.drafts import DraftRepository
from hanse.core.store.feeds import FeedRepository
from hanse.core.store.forks import ForkRepository
from hanse.core.store.intake import IntakeRepository
from hanse.core.store.jobs import JobRepository
from hanse.core.store.listings import ListingRepository
from hanse.core.store.mailbox import MailboxRepository
from hanse.core.store.memory import Memory
from hanse.core.store.meta import MetaRepository
from hanse.core.store.objects import ObjectRepository
from hanse.core.store.outbox import OutboxRepository
from hanse.core.store.parked import ParkedRepository
from hanse.core.store.peers import PeerRepository
from hanse.core.store.private_to import PrivateToRepository
from hanse.core.store.projector import Projector
from hanse.core.store.public_names import PublicNames
from hanse.core.store.rehash import RehashFault, RehashSlice, rehash
from hanse.core.store.room import RoomRepository
from hanse.core.store.search import Fts5Index
from hanse.core.store.searches import SavedSearchRepository
from hanse.core.store.secrets import SecretRepository
from hanse.core.store.traffic import TrafficRepository
from hanse.core.store.transfers import TransferRepository
from hanse.core.store.trials import TrialRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from sqlalchemy import Connection, Engine


class Repositories:
    """Everything held, by what it is; on one connection and in one transaction."""

    feeds: FeedRepository
    arrivals: ArrivalRepository
    parked: ParkedRepository
    forks: ForkRepository
    outbox: OutboxRepository
    mailbox: MailboxRepository
    private_to: PrivateToRepository
    peers: PeerRepository
    intake: IntakeRepository
    room: RoomRepository
    index: Fts5Index
    catalogue: CatalogueKeeper
    search: CatalogueSearch
    projections: Projector
    listings: ListingRepository
    certificates: CertificateRepository
    drafts: DraftRepository
    objects: ObjectRepository
    jobs: JobRepository
    trials: TrialRepository
    public: PublicNames
    transfers: TransferRepository
    traffic: TrafficRepository
    saved_searches: SavedSearchRepository
    secrets: SecretRepository
    meta: MetaRepository

    def _bind(self, connection: Connection, memory: Memory) -> None:
        self.feeds = FeedRepository(connection, memory)
        self.arrivals = ArrivalRepository(connection, memory, self.feeds)
        self.parked = ParkedRepository(connection, memory)
        self.forks = ForkRepository(connection)
        self.outbox = OutboxRepository(connection)
        self.mailbox = MailboxRepository(connection)
        self.private_to = PrivateToRepository(connection)
        self.peers = PeerRepository(connection)
        self.intake = IntakeRepository(connection)
        self.room = RoomRepository(connection)
        self.index = Fts5Index(connection)
        self.catalogue = CatalogueKeeper(connection, self.index)
        self.search = CatalogueSearch(connection)
        self.projections = Projector(connection, self.feeds, memory, self.catalogue)
        self.listings = ListingRepository(connection)
        self.certificates = CertificateRepository(connection)
        self.drafts = DraftRepository(connection)
        self.objects = ObjectRepository(connection)
        self.jobs = JobRepository(connection)
        self.trials = TrialRepository(connection)
        self.public = PublicNames(connection)
        self.transfers = TransferRepository(connection)
        self.traffic = TrafficRepository(connection)
        self.saved_searches = SavedSearchRepository(connection)
        self.secrets = SecretRepository(connection)
        self.meta = MetaRepository(connection)


class Reads(Repositories):
    """One consistent state of everything held; writing through it is our bug and fails."""

    def __init__(self, connection: Connection) -> None:
        """Read on ``connection``, in the transaction it has begun."""
        self._connection = connection
        # Another transaction sees another state, so nothing is remembered from one to the next.
        self._memory = Memory()
        self._bind(connection, self._memory)

    def rehash(self, after: bytes = b"") -> Iterator[RehashFault]:
        """Hash everything held again and yield the first fault of each Feed."""
        for part in self.rehash_slices(after):
            if part.fault is not None:
                yield part.fault

    def rehash_slices(self, after: bytes = b"") -> Iterator[RehashSlice]:
        """Do the same in slices, for a job that shows how far it is and may stop between two."""
        return rehash(self._connection, self.feeds, self._memory.kinds, after)


class UnitOfWork(Repositories):
    """One write transaction; may be entered again once it was left."""

    def __init__(self, writer: Engine, memory: Memory) -> None:
        """Begin nothing yet."""
        self._writer: Final = writer
        self._memory: Final = memory
        self._connection: Connection | None = None
        self._hooks: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        """Take the writing connection and begin."""
        assert self._connection is None
        connection = self._writer.connect()
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._hooks = []
        self._bind(connection, self._memory)
        return self

    def after_commit(self, hook: Callable[[], object]) -> None:
        """Run ``hook`` once this transaction is on disk; never if it is not."""
        assert self._connection is not None
        self._hooks.append(hook)

    def commit(self) -> None:
        """Put everything on disk, then run the hooks; a hook that fails stops the later ones."""
        assert self._connection is not None
        self._connection.commit()
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Undo what was not committed and give the connection back."""
        connection = self._connection
        assert connection is not None
        self._connection = None
        self._hooks = []
        try:
            if connection.in_transaction():
                self._memory.forget()
                connection.rollback()
        finally:
            connection.close()
