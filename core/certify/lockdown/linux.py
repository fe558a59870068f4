"""The lock of Linux, put on by a process itself: rights it gave up do not come back.

* In this order: one thread, no new privileges, not dumpable, limits, priority and processors,
  Landlock, the list of system calls.  Each layer binds the thread that calls and those it
  starts later; one that was started before would go free, so there must be none.
* When all is on, it is looked at from inside: what must fail is tried, and must fail.
* Only the standard library of Python 3.9: this also runs in an interpreter the person named,
  which gets the program of the list from us.

Which calls are allowed is not known here.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import struct
import sys
from typing import TYPE_CHECKING, Final

from hanse.core.certify.lockdown import landlock, rlimits
from hanse.core.certify.lockdown.plan import Lock, NoLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.certify.lockdown.plan import LockPlan

PID_MARK: Final = 0x7FEDCBA9  # stands in a program for the process itself; above every real one

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1  # linux/seccomp.h
_TSYNC: Final = 1
_INSTRUCTION: Final = struct.Struct("=HBBI")  # linux/filter.h
_JUMP: Final = 0x05
_CLASS: Final = 0x07
_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
# The number of seccomp(2); the program is for the machine that wrote it, which is this one.
_SECCOMP: Final = {
    "x86_64": 317,
    "aarch64": 277,
    "riscv64": 277,
    "loongarch64": 277,
    "ppc64le": 358,
    "s390x": 348,
}

_READ_ALWAYS: Final = ("/usr", "/proc/self", "/proc/cpuinfo", "/sys/devices/system/cpu")
# What frameworks ask the machine for; of other processes nothing, which root could read there.
_READ_CONVERT: Final = (
    *(f"/proc/{name}" for name in ("meminfo", "stat", "version", "loadavg", "filesystems")),
    *(f"/proc/sys/{name}" for name in ("kernel", "vm")),
)
_CORE: Final = ("physical_package_id", "core_id")
_CPUS: Final = "/sys/devices/system/cpu/cpu{}/topology/{}"

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def lock(plan: LockPlan, program: bytes, list_word: str, open_files: int) -> Lock:
    """Put on every layer and say which; raise ``NoLayer`` at the first that fails.

    ``program`` is the list of system calls, ``list_word`` its name; ``open_files`` is how
    many files may be open at once.
    """
    _check_threads()
    _control("not_dumpable", _PR_SET_DUMPABLE, 0)
    _control("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)
    limits = rlimits.set_limits(plan, open_files)
    _take_place(plan)
    writable = [str(plan.scratch)] if plan.profile == "convert" and plan.scratch else []
    files = landlock.restrict(_readable(plan), writable)
    _allow_only(program)
    _look()
    return Lock(("not_dumpable", "no_new_privs", *limits, files, list_word), "full")


def missing() -> tuple[tuple[str, str], ...]:
    """Name the layers of this module that cannot be had here, and why."""
    found = []
    if landlock.abi() == 0:
        found.append(("landlock", "no_landlock"))
    if _seccomp_number() is None:
        found.append(("seccomp", "other_machine"))
    return tuple(found)


def layers_offered() -> tuple[str, ...]:
    """Name the layers of this module, as ``lock`` would."""
    version = landlock.abi()
    files = (landlock.word(version),) if version else ()
    return ("not_dumpable", "no_new_privs", *rlimits.LAYERS, *files)


def _check_threads() -> None:
    try:
        count = len(list(os.scandir("/proc/self/task")))
    except OSError as error:
        raise NoLayer("one_thread", str(error)) from error
    if count != 1:
        raise NoLayer("one_thread", "other_threads")


def _control(layer: str, option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3) != 0:
        raise NoLayer(layer, os.strerror(ctypes.get_errno()))


def _take_place(plan: LockPlan) -> None:
    """Set priority and processors, which cannot be done later."""
    try:
        if plan.nice:
            os.nice(plan.nice)
        if plan.cores:
            os.sched_setaffinity(0, _spread(sorted(os.sched_getaffinity(0)), plan.cores))
    except OSError as error:
        raise NoLayer("place", str(error)) from error


def _spread(processors: list[int], count: int) -> list[int]:
    """Choose ``count`` processors: the first of every core, before a second of any."""
    cores: dict[tuple[str, ...], int] = {}
    ranked = []
    for number in processors:
        core = tuple(_read(_CPUS.format(number, name)) for name in _CORE)
        cores[core] = cores.get(core, -1) + 1
        ranked.append((cores[core] if all(core) else 0, number))
    return [number for _, number in sorted(ranked)[:count]]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123  of Python 3.9 too, and short
            return file.read().strip()
    except OSError:
        return ""


def _readable(plan: LockPlan) -> Iterator[str]:
    """Name what may be read: the system's programs, the interpreter's, ours, and the stage."""
    if plan.stage is not None:
        if not os.path.isdir(plan.stage):  # noqa: PTH112
            raise NoLayer("landlock", "no_stage")
        yield str(plan.stage)
    yield from _READ_ALWAYS
    yield from glob.glob("/lib*")  # noqa: PTH207
    places = [sys.prefix, sys.base_prefix, own_folder(__file__)]
    if plan.profile == "convert":
        yield from _READ_CONVERT
        yield from _open_to_all("/etc")
        places += sys.path
    # An interpreter that lives in the root folder would open all there is.
    yield from (one for one in places if os.path.isabs(one) and os.path.realpath(one) != "/")  # noqa: PTH117


def own_folder(module: str) -> str:
    """Return the folder of ``hanse.core`` that ``module`` of this package lies in."""
    folder = os.path.dirname(os.path.realpath(module))  # noqa: PTH120
    above, name = os.path.split(os.path.dirname(folder))  # noqa: PTH120
    return above if name == "certify" else folder


def _open_to_all(folder: str) -> Iterator[str]:
    """Name what everybody may read there; the rest stays closed for root too."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.stat().st_mode & 0o004:
                yield entry.path
        except OSError:
            continue


def _seccomp_number() -> int | None:
    return _SECCOMP.get(os.uname().machine) if sys.maxsize > 2**32 else None


def _allow_only(program: bytes) -> None:
    """Put the program on, for all threads there are."""
    number = _seccomp_number()
    if number is None:
        raise NoLayer("seccomp", "other_machine")
    own = _with_own_number(program)
    taken = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_uint(_SET_MODE_FILTER),
        ctypes.c_uint(_TSYNC),
        ctypes.byref(_Program(len(own) // _INSTRUCTION.size, own)),
    )
    if taken > 0:
        raise NoLayer("seccomp", "other_threads")
    if taken < 0:
        raise NoLayer("seccomp", os.strerror(ctypes.get_errno()))


def _with_own_number(program: bytes) -> bytes:
    if not program or len(program) % _INSTRUCTION.size:
        raise NoLayer("seccomp", "bad_program")
    found = 0
    parts = []
    for code, yes, no, value in _INSTRUCTION.iter_unpack(program):
        is_mark = code & _CLASS == _JUMP and value == PID_MARK
        found += is_mark
        parts.append(_INSTRUCTION.pack(code, yes, no, os.getpid() if is_mark else value))
    if not found:
        raise NoLayer("seccomp", "bad_program")
    return b"".join(parts)


def _look() -> None:
    """Try what must fail now; a layer that only seems to be on is none."""
    status = _read("/proc/self/status").splitlines()
    if "NoNewPrivs:\t1" not in status:
        raise NoLayer("no_new_privs", "not_in_force")
    if "Seccomp:\t2" not in status:
        raise NoLayer("seccomp", "not_in_force")
    ctypes.set_errno(0)
    if _libc.socket(_AF_UNIX, _SOCK_STREAM, 0) != -1 or ctypes.get_errno() != errno.EPERM:
        raise NoLayer("seccomp", "not_in_force")
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return
    raise NoLayer("landlock", "not_in_force")
