"""What a person wants to import: found, bounded and opened without being led astray.

* One file, or a folder with everything below it.  A link the person named himself is
  followed; a link *in* a folder is refused, wherever it points.
* Pipes, sockets and devices are refused and never opened in a way that could wait.
* What the desktop leaves behind (``LEFT_OUT``) is left out and named; folders without
  files vanish, since a Manifest has files only.
* Between listing and opening a file may be replaced: every part of its path is opened
  without following links, and what was opened must be the file that was listed.

What is in the files is not known here.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.faults import read_faults
from hanse.core.artifacts.manifest import (
    TooManyFiles,
    check_path,
    check_paths,
    check_sizes,
    shown_path,
)
from hanse.core.errors import FileUnreadable, Refused, WrongUse
from hanse.core.limits import ARTIFACT_FILES_MAX, SOURCE_ENTRIES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

LEFT_OUT: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})

_OPEN: Final = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe put there meanwhile would wait for a writer
)
_FOLDER: Final = getattr(os, "O_DIRECTORY", 0)
_KINDS: Final = (
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


class SourceMissing(WrongUse):
    """There is nothing at the path to import."""

    code = "import.missing"
    text = "there is no {path}"
    fields = ("path",)


class SourceEmpty(Refused):
    """A file without bytes, or a folder without any file that has some."""

    code = "import.empty"
    text = "{path} holds no bytes"
    fields = ("path",)


class LinkInSource(Refused):
    """A symbolic link in a folder; ``leads`` is ``inside``, ``outside`` or ``nowhere``."""

    code = "import.link"
    text = "{path} is a link to {target}, which leads {leads}"
    fields = ("path", "target", "leads")


class SpecialFile(Refused):
    """A pipe, socket or device; ``kind`` is a stable word."""

    code = "import.special"
    text = "{path} is no regular file but a {kind}"
    fields = ("path", "kind")


class SourceChanged(Refused):
    """A file changed while it was read; ``what`` is a stable word."""

    code = "import.changed"
    text = "{path} changed while it was read: {what} was {before}, is {after}"
    fields = ("path", "what", "before", "after")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file as it was when the source was listed; ``path`` is the one for the Manifest."""

    path: str
    place: Path
    size: int
    mtime_ns: int
    inode: int

    def check_same(self, state: os.stat_result) -> None:
        """Raise ``SourceChanged`` when ``state`` is not that of the file that was listed."""
        if not stat.S_ISREG(state.st_mode):
            raise self.changed("kind", "file", _kind(state.st_mode))
        for what, before, after in (
            ("inode", self.inode, state.st_ino),
            ("size", self.size, state.st_size),
            ("mtime", self.mtime_ns, state.st_mtime_ns),
        ):
            if before != after:
                raise self.changed(what, before, after)

    def changed(self, what: str, before: object, after: object) -> SourceChanged:
        """Say what changed, as an error to raise."""
        return SourceChanged(path=self.place, what=what, before=before, after=after)


@dataclass(frozen=True, slots=True)
class Source:
    """Everything that would be imported, and what is left out."""

    folder: Path  # the folder the files' paths begin at
    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """The size of all files together."""
        return sum(file.size for file in self.files)


def list_source(source: Path, name: str | None = None) -> Source:
    """List what ``source`` holds; ``name`` is the path of a single file in its Manifest.

    Raises an error that names the first thing which cannot be imported.
    """
    given = source.absolute()
    real = _real(given)
    with read_faults(given):
        state = real.lstat()
    if stat.S_ISDIR(state.st_mode):
        files, left_out = _walk(real)
    else:
        path = given.name if name is None else name
        check_path(path)
        files, left_out = [_found(path, real, state)], []
    check_paths(file.path for file in files)
    check_sizes([(file.path, file.size) for file in files])
    if not sum(file.size for file in files):
        raise SourceEmpty(path=given)
    folder = real if stat.S_ISDIR(state.st_mode) else real.parent
    files.sort(key=lambda file: file.path.encode())
    return Source(folder, tuple(files), tuple(left_out))


def check_unchanged(before: Source, after: Source) -> None:
    """Raise ``SourceChanged`` when a second listing differs from the first."""
    known = {file.place: file for file in before.files}
    now = {file.place: file for file in after.files}
    for place, file in known.items():
        if (found := now.get(place)) is None:
            raise file.changed("files", len(known), len(now))
        for what in ("inode", "size", "mtime_ns"):
            was, is_now = getattr(file, what), getattr(found, what)
            if was != is_now:
                raise file.changed(what.removesuffix("_ns"), was, is_now)
    for place, file in now.items():
        if place not in known:
            raise file.changed("files", len(known), len(now))


@contextmanager
def open_source(source: Source, file: SourceFile) -> Iterator[FileIO]:
    """Open a listed file, if it still is that file; raise ``SourceChanged`` otherwise."""
    with read_faults(file.place):
        try:
            descriptor = _open_beneath(source.folder, file.place)
        except OSError as error:
            # A link put in the way, a folder that is none any more, a file taken away.
            if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO}:
                raise file.changed("kind", "file", "other") from error
            raise
        try:
            file.check_same(os.fstat(descriptor))
            opened = os.fdopen(descriptor, "rb", buffering=0)
        except BaseException:
            os.close(descriptor)
            raise
        with opened:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            yield opened


def _real(given: Path) -> Path:
    try:
        return Path(os.path.realpath(given, strict=True))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise SourceMissing(path=given) from error
    except OSError as error:
        raise FileUnreadable(path=given, detail=error.strerror or str(error)) from error


def _walk(root: Path) -> tuple[list[SourceFile], list[str]]:
    """List every file below ``root``, bounded in number before anything is kept."""
    files: list[SourceFile] = []
    left_out: list[str] = []
    waiting = [root]
    entries = 0
    while waiting:
        folder = waiting.pop()
        with read_faults(folder), os.scandir(folder) as found:
            for entry in found:
                entries += 1
                if entries > SOURCE_ENTRIES_MAX:
                    raise _too_many(root, "entries", entries, SOURCE_ENTRIES_MAX)
                place = Path(entry.path)
                path = place.relative_to(root).as_posix()
                state = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(state.st_mode):
                    raise _link(root, place, path)
                if stat.S_ISDIR(state.st_mode):
                    check_path(path)
                    waiting.append(place)
                elif entry.name in LEFT_OUT and stat.S_ISREG(state.st_mode):
                    left_out.append(path)
                else:
                    files.append(_found(path, place, state))
                    if len(files) > ARTIFACT_FILES_MAX:
                        raise _too_many(root, "files", len(files), ARTIFACT_FILES_MAX)
    return files, sorted(left_out)


def _found(path: str, place: Path, state: os.stat_result) -> SourceFile:
    if not stat.S_ISREG(state.st_mode):
        raise SpecialFile(path=shown_path(path), kind=_kind(state.st_mode))
    # Windows fills st_ino only in a full stat, which a listing is not.
    inode = state.st_ino or place.stat().st_ino
    return SourceFile(path, place, state.st_size, state.st_mtime_ns, inode)


def _kind(mode: int) -> str:
    return next((word for is_kind, word in _KINDS if is_kind(mode)), "other")


def _link(root: Path, place: Path, path: str) -> LinkInSource:
    target = ""
    with suppress(OSError):
        target = str(place.readlink())
    try:
        leads = "inside" if Path(os.path.realpath(place, strict=True)).is_relative_to(root) else ""
    except OSError:
        leads = "nowhere"
    return LinkInSource(path=shown_path(path), target=shown_path(target), leads=leads or "outside")


def _too_many(root: Path, what: str, found: int, most: int) -> TooManyFiles:
    return TooManyFiles(path=root, what=what, found=found, most=most)


def _open_beneath(folder: Path, place: Path) -> int:
    """Open ``place``, following no link from ``folder`` on."""
    if os.open not in os.supports_dir_fd:  # not verified: Windows
        return os.open(place, _OPEN)
    *between, name = place.relative_to(folder).parts
    parent = os.open(folder, _OPEN | _FOLDER)
    try:
        for part in between:
            inner = os.open(part, _OPEN | _FOLDER, dir_fd=parent)
            os.close(parent)
            parent = inner
        return os.open(name, _OPEN, dir_fd=parent)
    finally:
        os.close(parent)
