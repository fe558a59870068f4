"""The database file of one data folder: opened, checked, and closed in the right order.

* One connection writes and checkpoints, with every commit synced to disk
  (``FULL``); the lock of the data folder keeps other programs from writing.
* Readers have their own connections, which cannot change anything.
* A store is usable as soon as its schema is known to fit: the commit that wrote a
  Head *is* the checkpoint of verified state, so nothing is scanned or verified
  again at start.  Bits that rot later are found by ``hanse.core.store.rehash``.
* Closing closes the readers first, so that the writer alone ever checkpoints.

Whose folder it is, and whether it may sign, is not known here.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from hanse.core.clock import Chance, SystemChance
from hanse.core.errors import (
    EnvironmentFault,
    FolderNotWritable,
    StoreDamaged,
    StoreFull,
)
from hanse.core.limits import STORE_READERS_MAX
from hanse.core.store import migrating
from hanse.core.store.faults import name_faults
from hanse.core.store.memory import Memory
from hanse.core.store.meta import STORE_EPOCH
from hanse.core.store.unit_of_work import Reads, UnitOfWork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hanse.core.store.projector import Progress

_log = logging.getLogger(__name__)

DATABASE_FILE: Final = "hanse.db"
_BUSY_SECONDS: Final = 2.0
_POOL_SECONDS: Final = 30.0
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700

_WRITER_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-65536",
    "journal_size_limit=67108864",
    "fullfsync=ON",  # acts on macOS only
    "secure_delete=ON",  # erased keys leave no trace in a page that is used again
)
_READER_PRAGMAS: Final = ("query_only=ON", "cache_size=-16384")


class Store:
    """One open database."""

    def __init__(self, path: Path, writer: Engine | None, readers: Engine) -> None:
        """Hold engines that ``open`` has checked."""
        self.path = path
        self._writer = writer
        self._readers = readers
        self._memory = Memory()
        self._is_open = True

    @classmethod
    def open(
        cls, folder: Path, *, chance: Chance | None = None, scripts: Path | None = None
    ) -> Store:
        """Open the database of ``folder`` for writing, making or migrating it as needed.

        The caller holds the lock of the folder.  Raises ``SchemaTooNew``,
        ``StoreDamaged``, ``FolderNotWritable`` or ``StoreFull``; an existing
        database is unchanged then.
        """
        path = folder / DATABASE_FILE
        scripts = migrating.scripts_folder() if scripts is None else scripts
        known = migrating.known_revisions(scripts)
        _make_file(folder, path)
        revision = migrating.read_revision(path)
        migrating.check_known(path, revision, known)
        writer = _writer_engine(path)
        try:
            if revision != known[-1]:
                migrating.migrate(writer, path, revision, scripts)
            store = cls(path, writer, _readers_engine(path, is_shared=False))
            store._prepare(SystemChance() if chance is None else chance)
        except BaseException:
            writer.dispose()
            raise
        return store

    @classmethod
    def open_read_only(cls, folder: Path) -> Store:
        """Open the database of a folder that another program holds, or that cannot be written."""
        path = folder / DATABASE_FILE
        if not path.exists():
            raise StoreDamaged(path=path, detail="there is no database")
        known = migrating.known_revisions(migrating.scripts_folder())
        revision = migrating.read_revision(path)
        migrating.check_known(path, revision, known)
        if revision != known[-1]:
            # What an older schema lacks can only be added by a writer.
            raise StoreDamaged(path=path, detail=f"schema {revision} must be migrated first")
        return cls(path, None, _readers_engine(path, is_shared=True))

    @property
    def is_read_only(self) -> bool:
        """Say whether this store can be read only."""
        return self._writer is None

    @property
    def store_epoch(self) -> bytes:
        """Return the 16 bytes that name this numbering of arrivals; new after a restore."""
        with self.reads() as reads:
            return reads.meta.store_epoch()

    def unit_of_work(self) -> UnitOfWork:
        """Return one transaction, which begins when it is entered."""
        assert self._is_open
        if self._writer is None:
            raise FolderNotWritable(path=self.path, detail="opened for reading only")
        return UnitOfWork(self._writer, self._memory)

    @contextmanager
    def reads(self) -> Iterator[Reads]:
        """Give one consistent state to read from; keep it short, the log grows meanwhile."""
        assert self._is_open
        with self._readers.connect() as connection, connection.begin():
            yield Reads(connection)

    def rebuild_projections(self, progress: Progress | None = None) -> int:
        """Make every Projection again from the Entries; return how many were folded.

        One transaction: readers see the old rows until it is done, and a program
        that is killed meanwhile loses nothing.
        """
        with self.unit_of_work() as uow:
            count = uow.projections.rebuild(progress)
            uow.commit()
        return count

    def close(self) -> None:
        """Close readers, then checkpoint and close the writer; a second call does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        self._readers.dispose()
        if self._writer is not None:
            try:
                _checkpoint(self._writer)
            except EnvironmentFault as error:
                # The log stays beside the database and is read at the next start.
                _log.info("closed %s without a checkpoint: %s", self.path.name, error)
            finally:
                self._writer.dispose()

    def _prepare(self, chance: Chance) -> None:
        """Name a new store, and fold anew what this program folds differently."""
        assert self._writer is not None
        with self.unit_of_work() as uow:
            if uow.meta.get(STORE_EPOCH) is None:
                uow.meta.renew_store_epoch(chance)
            if uow.projections.is_outdated():
                uow.projections.rebuild()
            elif uow.index.is_outdated():
                uow.index.rebuild(uow.catalogue.docs())
            uow.commit()


def _make_file(folder: Path, path: Path) -> None:
    """Make folder and file readable by their owner alone, and prove that they can be written."""
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _FILE_MODE))
    except OSError as error:
        if error.errno in StoreFull.ERRNOS:
            raise StoreFull(path=path) from error
        raise FolderNotWritable(path=path, detail=error.strerror or str(error)) from error


def _writer_engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        # Else Python begins transactions by itself and DDL of a failed migration stays.
        connection.isolation_level = None
        for pragma in _WRITER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    name_faults(engine, path, is_writer=True)
    return engine


def _readers_engine(path: Path, *, is_shared: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        # A connection that cannot write cannot checkpoint another program's log either.
        address = migrating.read_only_uri(path) if is_shared else path.absolute().as_uri()
        return sqlite3.connect(
            address,
            uri=True,
            timeout=_BUSY_SECONDS,
            check_same_thread=False,
            isolation_level=None,
        )

    engine = create_engine(
        "sqlite+pysqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=STORE_READERS_MAX,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
    )

    @event.listens_for(engine, "connect")
    def _(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        for pragma in _READER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    name_faults(engine, path, is_writer=False)
    return engine


def _checkpoint(writer: Engine) -> None:
    """Move the log into the database; the connection must be outside a transaction."""
    raw = writer.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.close()
    finally:
        raw.close()
