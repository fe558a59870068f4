"""From the schema a database has to the one this program knows.

* Forwards only.  A schema this program does not know is ``SchemaTooNew`` and
  nothing is touched.
* Before an existing database changes, a copy of it is written beside it.
* All steps run in one transaction; a step that fails leaves the schema as it was.
* A new database is given the newest schema at once.  A test holds that this is, statement for
  statement, what all steps lead to; they would take some thirty times as long.

The steps are the files of ``migrations/versions``; their names are the revisions,
in order.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_mock_engine

from hanse.core.errors import SchemaTooNew, StoreDamaged, StoreFull
from hanse.core.store import certification_tables as _certification_tables  # noqa: F401  their tables
from hanse.core.store import network_tables as _network_tables  # noqa: F401  join the metadata
from hanse.core.store.faults import fault_of
from hanse.core.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine
    from sqlalchemy.sql.base import Executable

_log = logging.getLogger(__name__)

_VERSION_TABLE: Final = (  # as alembic writes it
    "CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n\t"
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n)"
)
APPLICATION_ID: Final = 0x48414E53  # "HANS": whose database this is


def scripts_folder() -> Path:
    """Return the folder of the migration steps, in a checkout and in a wheel alike."""
    return Path(str(files("hanse.core.store").joinpath("migrations")))


def known_revisions(scripts: Path) -> tuple[str, ...]:
    """Return the names of all steps, first to last."""
    return tuple(sorted(path.stem for path in (scripts / "versions").glob("[0-9]*.py")))


def read_revision(path: Path) -> str | None:
    """Return the schema a database file has, ``None`` for one that is still empty.

    Raises ``StoreDamaged`` for a file that is no database of Hanse.  Reads only.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        connection = sqlite3.connect(read_only_uri(path), uri=True)
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                return None
            if application != APPLICATION_ID:
                raise StoreDamaged(path=path, detail="it is a database of another program")
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        fault = fault_of(error, path)
        if fault is None:
            fault = StoreDamaged(path=path, detail=str(error))
        raise fault from error
    if row is None:
        raise StoreDamaged(path=path, detail="it does not say which schema it has")
    return str(row[0])


def read_only_uri(path: Path) -> str:
    """Return the address under which SQLite opens ``path`` without changing anything."""
    uri = path.absolute().as_uri() + "?mode=ro"
    wal = path.with_name(path.name + "-wal")
    if wal.exists():
        return uri
    # Nobody has it open; without this SQLite would want to create files beside it.
    return uri + "&immutable=1"


def check_known(path: Path, revision: str | None, known: Sequence[str]) -> None:
    """Raise ``SchemaTooNew`` for a schema this program has never heard of."""
    if revision is not None and revision not in known:
        raise SchemaTooNew(path=path, found=revision, known=known[-1])


def migrate(engine: Engine, path: Path, revision: str | None, scripts: Path) -> None:
    """Bring the database to the newest schema; keep a copy of what was there before."""
    if revision is not None:
        copy_before(engine, path, revision)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        newest = known_revisions(scripts_folder())[-1]
        if revision is None:
            create_newest(connection, newest)
        if revision is not None or newest != known_revisions(scripts)[-1]:
            run_steps(connection, scripts)
    _log.info("schema of %s: from %s to the newest", path.name, revision)


def create_newest(connection: Connection, newest: str) -> None:
    """Give an empty database all tables, and the name of the schema they are, as alembic keeps it.

    In the caller's transaction.
    """
    for statement in _newest_statements():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (newest,))


@cache
def _newest_statements() -> tuple[str, ...]:
    statements = [_VERSION_TABLE]

    def keep(statement: Executable, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=mock.dialect)))  # type: ignore[attr-defined]

    mock = create_mock_engine("sqlite+pysqlite://", keep)
    metadata.create_all(mock, checkfirst=False)
    return tuple(statements)


def copy_before(engine: Engine, path: Path, revision: str) -> Path:
    """Write a copy of the database beside it, synced to disk, and return its path."""
    copy = path.with_name(f"{path.stem}-before-{revision}.db")
    part = copy.with_suffix(".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        # VACUUM cannot run inside a transaction, which every connection of the engine begins.
        raw = engine.raw_connection()
        try:
            raw.driver_connection.execute("VACUUM INTO ?", (str(part),))  # type: ignore[union-attr]
        finally:
            raw.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(copy)
    except OSError as error:
        if error.errno in StoreFull.ERRNOS:
            raise StoreFull(path=copy) from error
        raise
    except sqlite3.Error as error:
        part.unlink(missing_ok=True)
        raise (fault_of(error, copy) or error) from error
    return copy


def run_steps(connection: Connection, scripts: Path) -> None:
    """Run every step the database does not have yet, inside the caller's transaction."""
    # A store that is up to date opens without loading the migration library.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
