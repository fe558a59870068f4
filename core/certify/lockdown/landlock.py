"""Landlock by ``ctypes``: which files, ports and processes this thread may reach from now on.

* All rights of the kernel's ABI are handled, so that what no rule names is denied: files,
  TCP bind and connect (ABI >= 4), abstract sockets and signals (ABI >= 6).
* A rule gives reading beneath a path, or reading and writing beneath the scratch folder;
  none gives the right to execute, to make devices, or to use the ioctls of one.
* A path that is not there gets no rule: nothing can be reached by it either.
* Only the standard library of Python 3.9: this also runs in an interpreter the person named.

Numbers: landlock(7) and ``linux/landlock.h``; the calls have one number on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import stat
from typing import TYPE_CHECKING, Final

from hanse.core.certify.lockdown.plan import NoLayer

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH: Final = 1

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REMOVE: Final = 1 << 4 | 1 << 5  # folders, files
_MAKE: Final = 1 << 7 | 1 << 8  # folders, files; no devices, sockets, pipes, links
_REFER: Final = 1 << 13  # rename into another folder
_TRUNCATE: Final = 1 << 14
_READ: Final = _READ_FILE | _READ_DIR
_WRITE: Final = _READ | _WRITE_FILE | _REMOVE | _MAKE | _REFER | _TRUNCATE
_OF_A_FILE: Final = _READ_FILE | _WRITE_FILE | _TRUNCATE

# The first ABI that knows the right above which bit of a file; 16 rights since ABI 5.
_FILE_RIGHTS: Final = ((5, 16), (3, 15), (2, 14), (1, 13))
_TCP: Final = 0b11  # bind, connect
_TCP_SINCE: Final = 4
_SCOPE: Final = 0b11  # abstract sockets, signals
_SCOPE_SINCE: Final = 6
_KNOWN_ABI: Final = 7  # of a later one we use what this one has


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("ports", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def abi() -> int:
    """Return the ABI of this kernel as far as it is known here; 0 without Landlock."""
    found = _libc.syscall(
        ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)
    )
    return max(0, min(int(found), _KNOWN_ABI))


def word(version: int) -> str:
    """Name the layer as Certificates show it, such as ``landlock:7:fs+tcp+scope``."""
    parts = ["fs"]
    if version >= _TCP_SINCE:
        parts.append("tcp")
    if version >= _SCOPE_SINCE:
        parts.append("scope")
    return f"landlock:{version}:{'+'.join(parts)}"


def restrict(readable: Iterable[str], writable: Iterable[str]) -> str:
    """Deny this thread all but what lies beneath these paths; return the name of the layer.

    Raise ``NoLayer`` without Landlock, or when a rule of an existing path is not taken.
    """
    version = abi()
    if version == 0:
        raise NoLayer("landlock", "no_landlock")
    handled = next(count for since, count in _FILE_RIGHTS if version >= since)
    rules = _Ruleset((1 << handled) - 1, _TCP, _SCOPE)
    size = 24 if version >= _SCOPE_SINCE else 16 if version >= _TCP_SINCE else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path, _READ)
        for path in writable:
            _allow(ruleset, path, _WRITE & (1 << handled) - 1)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return word(version)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_A_FILE
        rule = _Beneath(rights, parent)
        _call(
            _ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(parent)


def _call(number: int, *arguments: object) -> int:
    done = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if done < 0:
        raise NoLayer("landlock", os.strerror(ctypes.get_errno()))
    return done
