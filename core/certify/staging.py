"""The stage: a folder of its own, where a Worker finds the files of one job and no others.

* Files get their real names back: in the content store they are named by what they hold.
* A file is linked in where that can be; what a reader would refuse as linked is copied.
* When the job is done the folder is gone; what lies behind the links is untouched.

What the files are is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.formats import FormatRefused
from hanse.core.durable import make_temporary_folder
from hanse.core.errors import FileUnreadable, StoreFull

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from hanse.core.model.control import Control

_COPY_BYTES: Final = 16 * 1024 * 1024
_FILE_MODE: Final = 0o444
_FOLDER_MODE: Final = 0o500
_OWN_FOLDER_MODE: Final = 0o700


@contextlib.contextmanager
def staged(
    files: Mapping[str, Path], scratch: Path, copied: Collection[str], control: Control
) -> Iterator[Path]:
    """Make a read-only folder under ``scratch`` with ``files`` by their relative names.

    ``copied`` names the ones that get bytes of their own.  Raise ``StoreFull``,
    ``FolderNotWritable`` or ``FileUnreadable``; in every case nothing stays behind.
    """
    stage = make_temporary_folder(scratch, "stage-").resolve()
    try:
        for number, (name, source) in enumerate(sorted(files.items())):
            control.checkpoint("stage", number, len(files))
            _put(source, _inside(stage, name), is_copied=name in copied, control=control)
        _close(stage)
        yield stage
    finally:
        _remove(stage)


def _inside(stage: Path, name: str) -> Path:
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or "\\" in name or "\0" in name:
        raise FormatRefused(file=name, rule="path", found=name, allowed="folder/file")
    return stage.joinpath(*parts)


def _put(source: Path, target: Path, *, is_copied: bool, control: Control) -> None:
    try:
        if not stat.S_ISREG(source.lstat().st_mode):  # a link would show what it points to
            raise FileUnreadable(path=source, detail="")
        target.parent.mkdir(mode=_OWN_FOLDER_MODE, parents=True, exist_ok=True)
        if not is_copied:
            with contextlib.suppress(OSError):  # another disk, or one that has no links
                target.hardlink_to(source)
                return
        _copy(source, target, control)
    except OSError as error:
        if error.errno in StoreFull.ERRNOS:
            raise StoreFull(path=target.parent) from error
        raise FileUnreadable(path=source, detail=error.strerror or str(error)) from error


def _copy(source: Path, target: Path, control: Control) -> None:
    """Copy in parts; a file system that can share the bytes of two files does so."""
    with source.open("rb") as read, target.open("xb") as written:
        size = os.fstat(read.fileno()).st_size
        done = 0
        is_shared = sys.platform == "linux"
        while done < size:
            control.checkpoint("copy", done, size)
            if is_shared:
                try:
                    done += os.copy_file_range(read.fileno(), written.fileno(), _COPY_BYTES)
                    continue
                except OSError:
                    is_shared = False
                    read.seek(done)
                    written.seek(done)
            part = read.read(_COPY_BYTES)
            if not part:
                break
            written.write(part)
            done += len(part)
    target.chmod(_FILE_MODE)


def _close(stage: Path) -> None:
    for folder, _, _ in os.walk(stage):
        Path(folder).chmod(_FOLDER_MODE)


def _remove(stage: Path) -> None:
    """Open the folders again and remove them; the modes of linked files are others' business."""
    for folder, _, _ in os.walk(stage):
        with contextlib.suppress(OSError):
            Path(folder).chmod(_OWN_FOLDER_MODE)
    shutil.rmtree(stage, ignore_errors=True)
