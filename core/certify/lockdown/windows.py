"""The lock of Windows: a Job Object around the child, put on by its parent.

* Memory, processor time and the number of processes are bounded, and the child ends with the
  parent's last handle.  Files and network are not closed to it: grade ``limits``.
* The parent puts it on before the first word to the child; the child makes sure it is in it,
  and that its bounds are those of the plan, before it reads a model byte.
* Not verified: nobody ran this on Windows.  The layer says so, in every Certificate.
* The child's side needs only the standard library of Python 3.9: it also runs in an
  interpreter the person named.

An AppContainer, which would make the grade ``full``, comes later.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.certify.lockdown.plan import Lock, NoLayer

if TYPE_CHECKING:
    from hanse.core.certify.lockdown.plan import LockPlan

LAYER: Final = "job_object:unverified"
LAYERS: Final = ("job_memory", "job_processes", "job_cpu", LAYER)

# winnt.h
_LIMIT_PROCESS_TIME: Final = 0x0000_0002
_LIMIT_ACTIVE_PROCESS: Final = 0x0000_0008
_LIMIT_PRIORITY_CLASS: Final = 0x0000_0020
_LIMIT_PROCESS_MEMORY: Final = 0x0000_0100
_LIMIT_KILL_ON_JOB_CLOSE: Final = 0x0000_2000
_EXTENDED_LIMITS: Final = 9
_BELOW_NORMAL: Final = 0x0000_4000
_TICKS_PER_SECOND: Final = 10_000_000


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimits),
        ("transfers", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


def processes_of(program: str) -> int:
    """Return how many processes this interpreter is: a virtual environment's starts another."""
    return 2 if (Path(program).parent.parent / "pyvenv.cfg").is_file() else 1


def check_limits(found: ExtendedLimits, plan: LockPlan) -> None:
    """Raise ``NoLayer`` unless a job with these limits is at least as tight as ``plan``."""
    basic = found.basic
    ticks = plan.cpu_seconds * _TICKS_PER_SECOND
    for layer, flag, is_tight in (
        ("job_memory", _LIMIT_PROCESS_MEMORY, found.process_memory <= plan.memory_bytes),
        ("job_processes", _LIMIT_ACTIVE_PROCESS, basic.processes in (1, 2)),
        ("job_cpu", _LIMIT_PROCESS_TIME, basic.process_time <= ticks),
        (LAYER, _LIMIT_KILL_ON_JOB_CLOSE, True),
    ):
        if not basic.flags & flag or not is_tight:
            raise NoLayer(layer, "not_in_force")


if sys.platform == "win32":  # not verified
    import win32api
    import win32con
    import win32job

    class Job:
        """The parent's handle of one child's Job Object; the child ends when it is closed."""

        def __init__(self, number: int, program: str) -> None:
            """Put the process ``number``, not yet running, into a job of its own."""
            self._processes = processes_of(program)
            self._job = win32job.CreateJobObject(None, "")
            self._set(_LIMIT_KILL_ON_JOB_CLOSE | _LIMIT_ACTIVE_PROCESS, 0, 0)
            process = win32api.OpenProcess(win32con.PROCESS_ALL_ACCESS, 0, number)
            win32job.AssignProcessToJobObject(self._job, process)

        def bound(self, memory_bytes: int, cpu_seconds: int, *, is_background: bool) -> None:
            """Bound what it may take."""
            flags = (
                _LIMIT_KILL_ON_JOB_CLOSE
                | _LIMIT_ACTIVE_PROCESS
                | _LIMIT_PROCESS_MEMORY
                | _LIMIT_PROCESS_TIME
                | (_LIMIT_PRIORITY_CLASS if is_background else 0)
            )
            self._set(flags, memory_bytes, cpu_seconds)

        def end(self) -> None:
            """End all its processes."""
            win32job.TerminateJobObject(self._job, 1)

        def _set(self, flags: int, memory_bytes: int, cpu_seconds: int) -> None:
            which = win32job.JobObjectExtendedLimitInformation
            limits = win32job.QueryInformationJobObject(self._job, which)
            basic = limits["BasicLimitInformation"]
            basic["LimitFlags"] = flags
            basic["ActiveProcessLimit"] = self._processes
            basic["PerProcessUserTimeLimit"] = cpu_seconds * _TICKS_PER_SECOND
            basic["PriorityClass"] = _BELOW_NORMAL
            limits["ProcessMemoryLimit"] = memory_bytes
            win32job.SetInformationJobObject(self._job, which, limits)

    def lock(plan: LockPlan) -> Lock:
        """Make sure the parent's job holds this process as planned; raise ``NoLayer``."""
        found = ExtendedLimits()
        kernel = ctypes.windll.kernel32
        taken = kernel.QueryInformationJobObject(
            None, _EXTENDED_LIMITS, ctypes.byref(found), ctypes.sizeof(found), None
        )
        if not taken:
            raise NoLayer(LAYER, "not_in_force")
        check_limits(found, plan)
        return Lock(LAYERS, "limits")
