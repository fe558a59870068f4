"""A data folder comes to be whole or not at all.

It is built beside its place under another name, with everything in it, and
renamed once it is complete.  A program killed half way leaves a ``.making``
folder, which the next try removes, and never half an Account.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Self

from hanse.core.durable import sync_folder
from hanse.core.engine.home import Home
from hanse.core.errors import AccountExists, FolderNotWritable, Refused, StoreFull
from hanse.core.keystore.guards import LOCK_FILE, MARK_SALT_SIZE_BYTES, FolderLock, write_mark
from hanse.core.keystore.keystore import KEYSTORE_FILE, read_public
from hanse.core.store.engines import Store

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from hanse.core.clock import Chance


class FolderNotEmpty(Refused):
    """A new Account needs an empty folder."""

    code = "account.folder_not_empty"
    text = "{path} is not empty: it holds {found}"
    fields = ("path", "found")


class Making:
    """A ``with`` block in which a data folder is built; ``finish`` puts it in its place."""

    def __init__(self, home: Home, chance: Chance) -> None:
        """Refuse a place that is taken; nothing is made yet."""
        _check_free(home)
        self.home = Home(home.folder.with_name(f".{home.folder.name}.making"), home.config)
        self._target = home.folder
        self._chance = chance
        self._lock = FolderLock(self.home.folder)
        self.store: Store

    def __enter__(self) -> Self:
        """Make the folder, lock it against a second maker, and open its store."""
        folder = self.home.folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _fault(error, folder) from error
        self._lock.acquire()
        try:
            for leftover in folder.iterdir():
                if leftover.name != LOCK_FILE:
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            self.store = Store.open(folder)
        except BaseException:
            self._lock.release()
            raise
        return self

    def finish(self) -> None:
        """Mark the folder as living here and rename it to its place."""
        folder = self.home.folder
        assert (folder / KEYSTORE_FILE).is_file()
        self.store.close()
        try:
            write_mark(folder, self._chance.bytes(MARK_SALT_SIZE_BYTES))
            if self._target.exists():
                _remove_empty(self._target)
            folder.rename(self._target)
            sync_folder(self._target.parent)
        except OSError as error:
            raise _fault(error, self._target) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what is open; a folder that was not finished is removed."""
        self.store.close()
        # While the lock is held: another maker may take the place as soon as it is free.
        if self.home.folder.exists():
            shutil.rmtree(self.home.folder, ignore_errors=True)
        self._lock.release()


def _check_free(home: Home) -> None:
    if home.keystore.exists():
        raise AccountExists(path=home.folder, name=read_public(home.keystore).name)
    try:
        found = sorted(item.name for item in home.folder.iterdir() if item.name != LOCK_FILE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _fault(error, home.folder) from error
    if found:
        raise FolderNotEmpty(path=home.folder, found=found[0])


def _remove_empty(folder: Path) -> None:
    (folder / LOCK_FILE).unlink(missing_ok=True)
    folder.rmdir()


def _fault(error: OSError, path: Path) -> StoreFull | FolderNotWritable:
    if error.errno in StoreFull.ERRNOS:
        return StoreFull(path=path)
    return FolderNotWritable(path=path, detail=error.strerror or str(error))
