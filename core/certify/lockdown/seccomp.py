"""The list of allowed system calls, written by libseccomp as a program for the kernel.

* What the list does not name is answered ``EPERM``; another architecture's call ends the
  process.  A list of denied calls looked complete and was not (``certification.md`` 6).
* ``allow/1`` is frozen: another list gets another name, since Certificates carry it.
* A name this architecture does not have is left out; a condition never is.
* ``convert`` adds what frameworks need to write files into one folder.  ``chmod`` and its like
  are answered as done and are not: no other layer keeps them to that folder.

The program is only written here.  Whoever is to be bound by it puts it on itself
(``hanse.core.certify.lockdown.linux``), also an interpreter that has no libseccomp.
"""

from __future__ import annotations

import errno
import functools
import os
import platform
from typing import TYPE_CHECKING, Any, Final

from hanse.core.certify.lockdown.linux import PID_MARK
from hanse.core.certify.lockdown.plan import NoLayer

if TYPE_CHECKING:
    from hanse.core.model.running import Profile

NAME: Final = "seccomp:allow/1"

_FREE: Final = """
    read write readv writev pread64 close fstat newfstatat stat lstat statx lseek munmap mremap
    madvise brk rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack futex futex_waitv
    set_robust_list get_robust_list rseq set_tid_address clock_gettime clock_getres
    clock_nanosleep nanosleep gettimeofday times getrusage sched_yield getpid gettid getppid
    getuid geteuid getgid getegid getcwd getdents64 readlink readlinkat access faccessat
    faccessat2 exit exit_group poll ppoll getrandom uname sysinfo getcpu sched_getaffinity
    sched_getparam sched_getscheduler membarrier restart_syscall
"""
_CONVERT_FREE: Final = """
    open openat mmap mprotect mkdir mkdirat unlink unlinkat rename renameat renameat2 rmdir
    ftruncate fsync fdatasync flock pwrite64 pwritev fallocate eventfd2 epoll_create
    epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 pipe2 statfs fstatfs
"""
_CONVERT_AS_IF: Final = "chmod fchmod fchmodat fchmodat2 utimensat"

# The newest calls have one number on every architecture, also where libseccomp is older.
_NOT_THERE: Final = {"clone3": 435, "openat2": 437}  # so that threads fall back to ``clone``

# linux/fcntl.h by way of ``os``, where they differ; linux/mman.h, sched.h, prctl.h, fcntl.h.
_WRITING: Final = (
    os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)
)
_PROT_EXEC: Final = 4
_CLONE_THREAD: Final = 0x00010000
_CLONE_MORE: Final = 0x7E02_3000  # a namespace, a descriptor, a tracer
_PR_SET_NAME: Final = 15
_FCNTL: Final = (0, 1, 2, 3, 1030)  # dup, flags of a descriptor, flags of a file; no owner
_IOCTL: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, is there more


def load_library() -> Any:  # noqa: ANN401  a module without types
    """Import pyseccomp, which looks for libseccomp by starting a program; raise ``NoLayer``."""
    try:
        import pyseccomp  # type: ignore[import-untyped]  # noqa: PLC0415  a program is started here
    except (ImportError, OSError, RuntimeError) as error:
        raise NoLayer("seccomp", "no_libseccomp") from error
    return pyseccomp


def word(profile: Profile) -> str:
    """Name the layer as Certificates show it."""
    return f"{NAME}+convert" if profile == "convert" else NAME


def missing() -> tuple[tuple[str, str], ...]:
    """Say why there can be no list, if so."""
    try:
        program("run")
    except NoLayer as error:
        return ((error.layer, error.reason),)
    return ()


@functools.cache
def program(profile: Profile) -> bytes:
    """Return the classic BPF program of ``profile`` for this architecture; raise ``NoLayer``.

    Where a call must name the process itself, the program holds ``PID_MARK``.
    """
    library = load_library()
    try:
        return _written(library, profile)
    except OSError as error:
        raise NoLayer("seccomp", error.strerror or str(error)) from error


def _written(library: Any, profile: Profile) -> bytes:  # noqa: ANN401
    rules = library.SyscallFilter(library.ERRNO(errno.EPERM))
    rules.set_attr(library.Attr.ACT_BADARCH, library.KILL_PROCESS)

    def add(name: str, *conditions: object, action: int = library.ALLOW) -> None:
        number = library.resolve_syscall(library.Arch.NATIVE, name)
        if number < 0:  # not on this architecture, or younger than libseccomp
            number = _NOT_THERE.get(name, -1)
        if number >= 0:
            rules.add_rule(action, number, *conditions)

    def holds(place: int, mask: int, value: int) -> object:
        return library.Arg(place, library.MASKED_EQ, mask, value)

    def equals(place: int, value: int) -> object:
        return library.Arg(place, library.EQ, value)

    for name in _FREE.split():
        add(name)
    clone_flags = 1 if platform.machine().startswith("s390") else 0  # clone(2)
    add("clone", holds(clone_flags, _CLONE_THREAD | _CLONE_MORE, _CLONE_THREAD))
    add("tgkill", equals(0, PID_MARK))
    add("prlimit64", equals(0, 0), equals(2, 0))
    add("prctl", equals(0, _PR_SET_NAME))
    for command in _FCNTL:
        add("fcntl", equals(1, command))
    for name in _NOT_THERE:
        add(name, action=library.ERRNO(errno.ENOSYS))
    if profile == "convert":
        for name in _CONVERT_FREE.split():
            add(name)
        for name in _CONVERT_AS_IF.split():
            add(name, action=library.ERRNO(0))
        for command in _IOCTL:
            add("ioctl", equals(1, command))
        add("sched_setaffinity", equals(0, 0))  # its own, not its parent's
    else:
        add("open", holds(1, _WRITING, 0))
        add("openat", holds(2, _WRITING, 0))
        add("mmap", holds(2, _PROT_EXEC, 0))
        add("mprotect", holds(2, _PROT_EXEC, 0))
    with open(os.memfd_create("rules"), "w+b") as file:  # noqa: PTH123  it has no path
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
