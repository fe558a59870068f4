"""What stands around a child from outside: its environment, and bubblewrap where it works.

* Its environment is written here, not inherited: no secret of ours can be in it.
* bubblewrap is an outer layer and never the only one: inside it programs can still be started.
* It is used only where a trial run works; some systems forbid it.  That is tried once.
* The child sees the system's programs, the interpreter's, ours, its stage and its scratch
  folder, and nothing else has a name there.

What the child gives up by itself is not known here.
"""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LAYER: Final = "bwrap"
_TRIAL_SECONDS: Final = 10.0
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
_OF_A_CONVERSION: Final = ("/etc",)
_DEVICES: Final = "/sys/devices/system/cpu"
_SHIELD: Final = (
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
    "--clearenv",
)


def environment(scratch: Path | None) -> dict[str, str]:
    """Return all a child may know of its surroundings; homes and caches lie in ``scratch``."""
    plain = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        # Without it ORT >= 1.29 starts an uploader thread and a database at import (measured).
        "ORT_DISABLE_TELEMETRY": "1",
        "HDF5_USE_FILE_LOCKING": "FALSE",  # nobody writes to the stage, and no lock is allowed
    }
    if sys.platform == "win32" and (root := os.environ.get("SYSTEMROOT")):
        plain["SYSTEMROOT"] = root  # not verified: sockets and random numbers need it there
    if scratch is None:
        return plain
    places = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "KERAS_HOME")
    return plain | {"KERAS_BACKEND": "torch"} | dict.fromkeys(places, str(scratch))


def command(
    inner: Sequence[str], stage: Path | None, scratch: Path | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return ``inner`` inside bubblewrap and the name of that layer, or ``inner`` as it is."""
    if reason_against():
        return tuple(inner), ()
    return wrapped(str(_program()), inner, stage, scratch), (LAYER,)


def layers() -> tuple[str, ...]:
    """Name the outer layer, if this system has one."""
    return () if reason_against() else (LAYER,)


def missing() -> tuple[tuple[str, str], ...]:
    """Name the outer layer and why it cannot be had, if so."""
    reason = reason_against()
    return ((LAYER, reason),) if reason else ()


@functools.cache
def reason_against() -> str:
    """Say why there is no outer layer here; empty where it works."""
    program = _program()
    if program is None:
        return "not_installed"
    try:
        done = subprocess.run(  # noqa: S603  the system's own program, with our words
            wrapped(program, (sys.executable, "-I", "-c", "pass"), None, None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TRIAL_SECONDS,
            check=False,
            env=environment(None),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.returncode}"


def wrapped(
    program: str, inner: Sequence[str], stage: Path | None, scratch: Path | None
) -> tuple[str, ...]:
    """Return the command line of bubblewrap around ``inner``."""
    words = [program, *_SHIELD]
    for name, value in environment(scratch).items():
        words += ["--setenv", name, value]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  its own
    for path in _shown(inner, is_conversion=scratch is not None):
        words += _bind(path)
    words += ["--ro-bind-try", _DEVICES, _DEVICES]
    if stage is not None:
        words += ["--ro-bind", str(stage), str(stage)]
    if scratch is not None:
        words += ["--bind", str(scratch), str(scratch)]
    return (*words, "--chdir", "/", "--", *inner)


def _program() -> str | None:
    return shutil.which(LAYER, path=os.defpath) if sys.platform == "linux" else None


def _shown(inner: Sequence[str], *, is_conversion: bool) -> Iterator[str]:
    """Name what is to be seen, outer folders before what lies in them."""
    places = {sys.prefix, sys.base_prefix, *(one for one in sys.path if os.path.isabs(one))}  # noqa: PTH117
    places.add(str(Path(__file__).resolve().parents[2]))
    if os.path.isabs(inner[0]):  # noqa: PTH117
        places |= set(_folders_of_interpreter(Path(inner[0])))
    yield from _SYSTEM
    yield from sorted(glob.glob("/lib*"))  # noqa: PTH207
    if is_conversion:
        yield from _OF_A_CONVERSION
    kept = (one for one in places if os.path.isdir(one) and os.path.realpath(one) != "/")  # noqa: PTH112
    yield from sorted(kept)


def _folders_of_interpreter(python: Path) -> Iterator[str]:
    """Name the folders of an interpreter the person named, and of the one it was made from."""
    yield str(python.parent.parent)
    yield str(python.resolve().parent.parent)


def _bind(path: str) -> tuple[str, ...]:
    if os.path.islink(path) and path.count("/") == 1:  # noqa: PTH114  /bin is usr/bin
        return ("--symlink", os.readlink(path), path)  # noqa: PTH115
    return ("--ro-bind-try", path, path)
