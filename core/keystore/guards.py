"""Guards against a second writer: two processes on one folder, or a copied disk.

Two writers with one Device key make a Fork, which nobody can take back.  So:

* ``FolderLock``: an OS lock on an open file.  The system decides and releases it
  when the process dies, however it dies; what the file says is for people only.
* ``device.mark`` names machine and place of its own file: copied or restored
  folders do not fit it.  A moved folder keeps its inode on one file system.
* ``Highwater``, in the *configuration* folder, holds the last own Entry that may
  have been sent: a database older than that must not sign.
* ``LeftMark``, beside it, holds the last own Entry that was handed to a peer: others may
  hold no more of ours, and a Device without one has nobody who could.
* ``ShownHeader`` keeps what a peer showed: an Entry our key signed and this database does
  not have.  While it lies there, nothing is signed.
* ``check_copy`` turns all of it into one answer and touches nothing.

When a peer is asked, and what a stopped Account does then, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from enum import Enum, unique
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import msgspec

from hanse.core.clock import Clock, SystemClock
from hanse.core.crypto.signing import LABEL_MARK
from hanse.core.durable import make_private_folder, write_durably, write_durably_made
from hanse.core.errors import (
    EnvironmentFault,
    FileUnreadable,
    FolderNotWritable,
    RejectedEntry,
    StoreLocked,
)
from hanse.core.ledger.codec import decode, encode
from hanse.core.limits import (
    GUARD_FILE_SIZE_BYTES_MAX,
    LOCK_HOLDER_CHARACTERS_MAX,
    LOCK_SINCE_MS_MAX,
    SEQ_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId

if TYPE_CHECKING:
    from collections.abc import Sequence

if sys.platform == "win32":
    import msvcrt
    import winreg
else:
    import fcntl

LOCK_FILE: Final = "hanse.lock"
MARK_FILE: Final = "device.mark"
MARK_SALT_SIZE_BYTES: Final = 16
HIGHWATER_FOLDER: Final = "highwater"
LEFT_FOLDER: Final = "left"
SHOWN_FOLDER: Final = "shown"

_MACHINE_ID_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))

_MACHINE_ID: Final = re.compile(rb"[0-9a-fA-F]{32}")
_LOCKED_BYTE: Final = 2**30

_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Salt = Annotated[
    bytes, msgspec.Meta(min_length=MARK_SALT_SIZE_BYTES, max_length=MARK_SALT_SIZE_BYTES)
]
_Seq = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]


class HighwaterDamaged(EnvironmentFault):
    """The record of what was sent last cannot be read, so nothing may be signed."""

    code = "highwater.damaged"
    text = "{path} is damaged: {detail}"
    fields = ("path", "detail")


@unique
class MarkState(Enum):
    """What ``device.mark`` says about the folder it lies in."""

    FINE = "fine"
    ABSENT = "absent"  # none, or none that can be read: says nothing about machine or place
    OTHER_PLACE = "other_place"
    OTHER_MACHINE = "other_machine"


@unique
class CopyState(Enum):
    """Whether this folder may sign; the value is the reason word of ``CopiedDisk``."""

    FINE = "fine"
    MOVED = "moved"
    COPY = "copied"
    STALE = "older_than_sent"

    @property
    def may_sign(self) -> bool:
        """True for a folder to go on with; a moved one gets a new mark first."""
        return self in {CopyState.FINE, CopyState.MOVED}


def check_copy(
    mark: MarkState,
    highwater: tuple[int, EntryId] | None,
    head: tuple[int, EntryId] | None,
    shown: tuple[int, EntryId] | None = None,
) -> CopyState:
    """Give the verdict on a data folder from its mark and three (seq, id) of our own Feed.

    ``highwater`` is what may have been sent, ``head`` what the database holds, ``shown``
    a Header *signed by our key*, and checked, that a peer holds: a bare claim could stop
    anybody.  None stands for nothing.
    """
    if mark is MarkState.OTHER_MACHINE:
        return CopyState.COPY
    if _is_behind(head, highwater) or _is_behind(head, shown):
        return CopyState.STALE
    if mark is MarkState.FINE:
        return CopyState.FINE
    # The head may be one ahead of the high-water mark after a crash between the two writes.
    # In a folder at a new place that cannot be told from a copy that wrote on.
    return CopyState.MOVED if highwater == head else CopyState.COPY


def _is_behind(head: tuple[int, EntryId] | None, sent: tuple[int, EntryId] | None) -> bool:
    if sent is None:
        return False
    if head is None or head[0] < sent[0]:
        return True
    return head[0] == sent[0] and head[1] != sent[1]


class FolderLock:
    """The right to write in one data folder; one at a time, over threads and processes.

    Taken on entering a ``with`` block, or ``StoreLocked`` is raised, which says who holds
    it.  The file stays when the lock is given back: who deletes it while it is held makes
    a second lock possible.  A process forked while it is held keeps it alive.
    """

    def __init__(self, folder: Path, program: str = "", clock: Clock | None = None) -> None:
        """Name folder and holder; nothing is opened yet."""
        self._folder = folder
        self._program = program or Path(sys.argv[0]).name
        self._clock = SystemClock() if clock is None else clock
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """True between ``acquire`` and ``release`` of this object."""
        return self._descriptor is not None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock at once, or raise ``StoreLocked`` or ``FolderNotWritable``."""
        assert self._descriptor is None, "one FolderLock is taken once at a time"
        path = self._folder / LOCK_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise FolderNotWritable(path=path, detail=error.strerror or str(error)) from error
        with ExitStack() as undo:
            undo.callback(os.close, descriptor)
            if not _lock_now(descriptor):
                raise StoreLocked(path=self._folder, holder=_read_holder(descriptor))
            self._write_holder(descriptor)
            undo.pop_all()
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)  # the system takes the lock off with the last descriptor

    def _write_holder(self, descriptor: int) -> None:
        holder = _Holder(
            pid=os.getpid(),
            program=self._program[:LOCK_HOLDER_CHARACTERS_MAX],
            host=socket.gethostname()[:LOCK_HOLDER_CHARACTERS_MAX],
            since_ms=self._clock.now_ms(),
        )
        # A full disk leaves the holder unnamed, which is no reason to refuse the lock.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, msgspec.json.encode(holder))


class _Holder(msgspec.Struct, frozen=True):
    pid: int
    program: Annotated[str, msgspec.Meta(max_length=LOCK_HOLDER_CHARACTERS_MAX)]
    host: Annotated[str, msgspec.Meta(max_length=LOCK_HOLDER_CHARACTERS_MAX)]
    since_ms: Annotated[int, msgspec.Meta(ge=0, le=LOCK_SINCE_MS_MAX)]


def _read_holder(descriptor: int) -> str:
    """Say who wrote the lock file; it may be half written or made up, so it is only shown."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        holder = msgspec.json.decode(os.read(descriptor, GUARD_FILE_SIZE_BYTES_MAX), type=_Holder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "another process"
    since = datetime.fromtimestamp(holder.since_ms / 1000, UTC).isoformat(" ", "seconds")
    who = f"{holder.program}, process {holder.pid} on {holder.host}, since {since}"
    return "".join(character if character.isprintable() else "?" for character in who)


if sys.platform == "win32":  # not verified

    def _lock_now(descriptor: int) -> bool:
        # Far behind the text, because a byte locked here cannot be read by others.
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:

    def _lock_now(descriptor: int) -> bool:
        # flock, not lockf: the latter is lost when any descriptor of the file is closed,
        # and never keeps two threads of one process apart.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def machine_id(files: Sequence[Path] = _MACHINE_ID_FILES) -> bytes:
    """Return what stays the same on this machine and differs on another one.

    Without an id of the operating system it is the host's name, so a container that
    gets a new name each time counts as a new machine: give it an ``/etc/machine-id``.
    """
    found = _platform_id() if sys.platform in {"win32", "darwin"} else _id_in(files)
    return found or b"host:" + socket.gethostname().encode("utf-8", "surrogatepass")


def _id_in(files: Sequence[Path]) -> bytes:
    for path in files:
        try:
            text = path.read_bytes()[:GUARD_FILE_SIZE_BYTES_MAX].strip()
        except OSError:
            continue
        if _MACHINE_ID.fullmatch(text):  # not empty or "uninitialized", as in images of disks
            return b"machine:" + text.lower()
    return b""


def _platform_id() -> bytes:
    """Ask Windows or macOS (neither verified)."""
    if sys.platform == "win32":
        try:
            with winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography"
            ) as key:
                return b"machine:" + str(winreg.QueryValueEx(key, "MachineGuid")[0]).encode()
        except OSError:
            return b""
    command = ("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
    try:
        answer = subprocess.run(command, capture_output=True, timeout=10, check=True).stdout  # noqa: S603 - fixed command
    except (OSError, subprocess.SubprocessError):
        return b""
    match = re.search(rb'"IOPlatformUUID" = "([0-9A-Fa-f-]{36})"', answer)
    return b"machine:" + match[1] if match else b""


class _Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Literal[1]
    salt: _Salt
    machine: _Hash
    place: _Hash


def write_mark(folder: Path, salt: bytes, machine: bytes | None = None) -> None:
    """Mark ``folder`` as living here; ``salt`` is 16 random bytes of this folder.

    ``machine`` stands in for ``machine_id()``.
    """
    machine = machine_id() if machine is None else machine

    def content(status: os.stat_result) -> bytes:
        machine_hash, place_hash = _mark_hashes(salt, machine, status)
        return encode({"v": 1, "salt": salt, "machine": machine_hash, "place": place_hash})

    write_durably_made(folder / MARK_FILE, content)


def check_mark(folder: Path, machine: bytes | None = None) -> MarkState:
    """Compare the mark with this machine and with the place of its own file.

    ``st_dev`` may change when a disk is mounted anew (btrfs, USB, LVM): that reads as
    another place, on which ``check_copy`` goes on if nothing else is amiss.
    """
    try:
        with (folder / MARK_FILE).open("rb") as file:
            raw = file.read(GUARD_FILE_SIZE_BYTES_MAX)
            status = os.fstat(file.fileno())
    except FileNotFoundError:
        return MarkState.ABSENT
    except OSError as error:
        raise FileUnreadable(
            path=folder / MARK_FILE, detail=error.strerror or str(error)
        ) from error
    try:
        mark = decode(raw, _Mark)
    except RejectedEntry:
        return MarkState.ABSENT
    machine = machine_id() if machine is None else machine
    machine_hash, place_hash = _mark_hashes(mark.salt, machine, status)
    if mark.machine != machine_hash:
        return MarkState.OTHER_MACHINE
    return MarkState.FINE if mark.place == place_hash else MarkState.OTHER_PLACE


def _mark_hashes(salt: bytes, machine: bytes, status: os.stat_result) -> tuple[bytes, bytes]:
    # Two hashes, since one over both could not say which of the two has changed.
    machine_hash = hashlib.sha256(LABEL_MARK + salt + machine).digest()
    place = struct.pack(">QQ", status.st_dev % 2**64, status.st_ino % 2**64)
    return machine_hash, hashlib.sha256(LABEL_MARK + salt + machine_hash + place).digest()


class _SeqMark:
    """One (seq, id) of our own Feed in a file of its own, with a hash over it."""

    def __init__(self, folder: Path, device: AuthorKey) -> None:
        self._device = device
        self._path = folder / device.hex()

    def read(self) -> tuple[int, EntryId] | None:
        """Return (seq, id), None if nothing was ever sent, or raise ``HighwaterDamaged``."""
        raw = _read_guard(self._path)
        if raw is None:
            return None
        try:
            device, seq, entry_id, check = decode(raw, tuple[_Hash, _Seq, _Hash, _Hash])
        except RejectedEntry as error:
            raise HighwaterDamaged(path=self._path, detail=error.reason) from error
        # Without this a flipped bit in seq would let an old database pass.
        if check != self._check(seq, EntryId(entry_id)) or device != self._device:
            raise HighwaterDamaged(path=self._path, detail="content does not fit its hash")
        return seq, EntryId(entry_id)

    def write(self, seq: int, entry_id: EntryId) -> None:
        """Record, durably, that this Entry may be sent; call after COMMIT, before sending."""
        folder = self._path.parent
        if not folder.is_dir():
            make_private_folder(folder)
        check = self._check(seq, entry_id)
        write_durably(self._path, encode([self._device, seq, entry_id, check]))

    def _check(self, seq: int, entry_id: EntryId) -> bytes:
        return hashlib.sha256(encode([self._device, seq, entry_id])).digest()


class Highwater(_SeqMark):
    """The last own Entry that may have left this Device, kept apart from the data folder."""

    def __init__(self, config_folder: Path, device: AuthorKey) -> None:
        """Name the file; nothing is read or written yet."""
        super().__init__(config_folder / HIGHWATER_FOLDER, device)


class LeftMark(_SeqMark):
    """The last own Entry that was handed to a peer; what a file carried away is not counted."""

    def __init__(self, config_folder: Path, device: AuthorKey) -> None:
        """Name the file; nothing is read or written yet."""
        super().__init__(config_folder / LEFT_FOLDER, device)


class ShownHeader:
    """The Header and signature that prove another copy of this Device, kept over restarts."""

    def __init__(self, config_folder: Path, device: AuthorKey) -> None:
        """Name the file; nothing is read or written yet."""
        self._path = config_folder / SHOWN_FOLDER / device.hex()

    def read(self) -> tuple[bytes, bytes] | None:
        """Return Header and signature as they came, None if nothing was shown.

        Raises ``HighwaterDamaged``: a record that cannot be read stops signing all the same.
        """
        raw = _read_guard(self._path)
        if raw is None:
            return None
        try:
            header, sig = decode(raw, tuple[bytes, bytes])
        except RejectedEntry as error:
            raise HighwaterDamaged(path=self._path, detail=error.reason) from error
        return header, sig

    def write(self, header: bytes, sig: bytes) -> None:
        """Keep what was shown, durably; the first one stays."""
        if self._path.exists():
            return
        folder = self._path.parent
        if not folder.is_dir():
            make_private_folder(folder)
        write_durably(self._path, encode([header, sig]))


def _read_guard(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(GUARD_FILE_SIZE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error
