"""What a Worker does to itself before it sees a model byte: it gives up what it will not need.

* ``bound_this_process`` runs in the child, after its imports and before ``ready``; it answers
  the names of the layers in force, which the parent and every Certificate show.
* A bound that cannot be set raises ``NoBound``, and the Worker ends without ``ready``.

Why a number is what it is, and what is then read, is not known here.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

from hanse.core.limits import WORKER_OPEN_FILES_MAX

_NICE: Final = 10
_CPU_GRACE_SECONDS: Final = 5  # between the signal that says so and the one that ends it
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
_PR_SET_NO_NEW_PRIVS: Final = 38


class NoBound(Exception):
    """A bound could not be set; the text names it."""


def bound_this_process(memory_bytes: int, cpu_seconds: int, write_bytes: int) -> tuple[str, ...]:
    """Set every bound this system has and name them; raise ``NoBound`` when one fails."""
    layers: list[str] = []
    if sys.platform == "linux":
        _set_process_flags()
        layers += ["not_dumpable", "no_new_privs"]
    if sys.platform != "win32":  # not verified: Windows bounds a Worker by a Job Object, later
        _set_resource_limits(memory_bytes, cpu_seconds, write_bytes)
        layers += ["limit_memory", "limit_cpu", "limit_files", "limit_write", "limit_core"]
        os.nice(_NICE)
        layers.append("nice")
    return tuple(layers)


if sys.platform == "linux":

    def _set_process_flags() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for name, number, value in (
            ("not_dumpable", _PR_SET_DUMPABLE, 0),
            ("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1),
        ):
            if libc.prctl(number, value, 0, 0, 0) != 0:
                raise NoBound(f"{name}: {os.strerror(ctypes.get_errno())}")


if sys.platform != "win32":
    import resource

    def _set_resource_limits(memory_bytes: int, cpu_seconds: int, write_bytes: int) -> None:
        bounds = (
            ("limit_memory", resource.RLIMIT_AS, memory_bytes, 0),
            ("limit_cpu", resource.RLIMIT_CPU, cpu_seconds, _CPU_GRACE_SECONDS),
            ("limit_files", resource.RLIMIT_NOFILE, WORKER_OPEN_FILES_MAX, 0),
            ("limit_write", resource.RLIMIT_FSIZE, write_bytes, 0),
            ("limit_core", resource.RLIMIT_CORE, 0, 0),
        )
        for name, which, wanted, grace in bounds:
            _, most = resource.getrlimit(which)
            hard = wanted + grace
            if most != resource.RLIM_INFINITY:  # never more than this user may have
                hard = min(hard, most)
            try:
                resource.setrlimit(which, (min(wanted, hard), hard))
            except (OSError, ValueError) as error:
                raise NoBound(f"{name}: {error}") from error
