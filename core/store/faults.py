"""What SQLite complains about, in our words: the one place where its error codes are read.

* No space, or a file that may not grow: ``StoreFull``.  What was committed before
  stays, the transaction under way is gone, and the store works again once there
  is room.
* Pages that are not what SQLite wrote: ``StoreDamaged``.
* A file or folder that cannot be written: ``FolderNotWritable``.
* A second program that writes: ``StoreLocked``; the lock of the data folder keeps it out.

Everything else is our bug and travels as it is.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine, event

from hanse.core.errors import (
    EnvironmentFault,
    FolderNotWritable,
    StoreDamaged,
    StoreFull,
    StoreLocked,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import ExceptionContext

_log = logging.getLogger(__name__)

_PRIMARY: Final = 0xFF  # the low byte of an extended code is its family
_FULL: Final = frozenset({sqlite3.SQLITE_FULL})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NOT_WRITABLE: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
)
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PROBE_SIZE_BYTES: Final = 256 * 1024


def name_faults(engine: Engine, path: Path, *, is_writer: bool) -> None:
    """Make every error of ``engine`` that is the machine's fault one of ours."""

    @event.listens_for(engine, "handle_error")
    def _(context: ExceptionContext) -> None:
        original = context.original_exception
        if isinstance(original, sqlite3.Error):
            fault = fault_of(original, path, is_writer=is_writer)
            if fault is not None:
                raise fault from original


def fault_of(
    error: sqlite3.Error, path: Path, *, is_writer: bool = True
) -> EnvironmentFault | None:
    """Return what ``error`` means for the person, or ``None`` when it is our own bug."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    family = code & _PRIMARY
    if family in _FULL:
        return StoreFull(path=path)
    if family in _DAMAGED:
        return StoreDamaged(path=path, detail=str(error))
    if family in _NOT_WRITABLE:
        # A reader that tries to write is our bug, not the folder's.
        if family == sqlite3.SQLITE_READONLY and not is_writer:
            return None
        return FolderNotWritable(path=path, detail=str(error))
    if family in _BUSY:
        return StoreLocked(path=path, holder="another program")
    if family == sqlite3.SQLITE_IOERR:
        if has_no_room(path):
            return StoreFull(path=path)
        return StoreDamaged(path=path, detail=f"{error} ({error.sqlite_errorname})")
    return None


def has_no_room(path: Path) -> bool:
    """Find out by trying whether files beside ``path`` can grow.

    SQLite reports a quota and a size limit as a bare I/O error and keeps the
    reason to itself.
    """
    largest = max(
        (_size(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-shm")), default=0
    )
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            probe.write(bytes(_PROBE_SIZE_BYTES))
            probe.flush()
            # A sparse byte beyond the largest file meets a size limit without using space.
            os.pwrite(probe.fileno(), b"\0", largest + _PROBE_SIZE_BYTES)
    except OSError as error:
        if error.errno in StoreFull.ERRNOS:
            return True
        _log.debug("cannot probe for room beside %s: %s", path, error)
    return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
