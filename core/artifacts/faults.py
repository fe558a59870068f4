"""What the disk says, as our errors: full, not writable, not readable.

Who caused it, and what is undone then, is not known here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hanse.core.errors import FileUnreadable, FolderNotWritable, StoreFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn what fails while ``path`` is written into ``StoreFull`` or ``FolderNotWritable``."""
    try:
        yield
    except OSError as error:
        if error.errno in StoreFull.ERRNOS:
            raise StoreFull(path=path) from error
        raise FolderNotWritable(path=path, detail=error.strerror or str(error)) from error


@contextmanager
def read_faults(path: Path) -> Iterator[None]:
    """Turn what fails while ``path`` is read into ``FileUnreadable``."""
    try:
        yield
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error
