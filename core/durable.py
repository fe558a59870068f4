"""Files that are replaced as a whole, or not at all, also when the power fails.

* A new file beside the old one, synced, then renamed over it, then the folder
  synced: at every moment the name shows all of the old bytes or all of the new.
* Mode 0600 from the first byte on.
* One fixed temporary name for each file, so leftovers of a crash never pile up.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from hanse.core.errors import FolderNotWritable, StoreFull

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


def write_durably(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``; when it raises, the old content still stands.

    Raises ``StoreFull`` or ``FolderNotWritable``.
    """
    write_durably_with(path, lambda file: file.write(data))


def write_durably_made(path: Path, make: Callable[[os.stat_result], bytes]) -> None:
    """Replace ``path`` by what ``make`` says for the file the bytes will lie in.

    A rename keeps device and inode, so content may name its own place.
    """
    write_durably_with(path, lambda file: file.write(make(os.fstat(file.fileno()))))


def write_durably_with(path: Path, write: Callable[[BinaryIO], T]) -> T:
    """Replace ``path`` by what ``write`` puts into a stream; return what it returned."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
            with os.fdopen(descriptor, "wb") as file:
                result = write(file)
                file.flush()
                os.fsync(descriptor)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise _fault(path, error) from error
    return result


def sync_folder(folder: Path) -> None:
    """Make renames and new names in ``folder`` survive a power cut."""
    if os.name == "nt":  # not verified: Windows opens no folders and journals renames itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, for this user only, durably."""
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise _fault(folder, error) from error


def make_temporary_folder(parent: Path, prefix: str) -> Path:
    """Make an empty folder of a new name below ``parent``, for this user only.

    Raises ``StoreFull`` or ``FolderNotWritable``.
    """
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        raise _fault(parent, error) from error


def _fault(path: Path, error: OSError) -> StoreFull | FolderNotWritable:
    if error.errno in StoreFull.ERRNOS:
        return StoreFull(path=path)
    return FolderNotWritable(path=path, detail=error.strerror or str(error))
