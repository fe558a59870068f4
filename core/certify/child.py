"""One child process with pipes: started alone, drained, measured, and surely ended.

* It gets a session of its own, so that it and whatever it starts are ended together.
* It inherits no file and no environment of ours.
* Its standard error is always read; the first part is kept, and a flood ends the child.
* It is reaped exactly once; after that its number is never signalled.

What is said over the pipes is not known here.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.certify.lockdown.outer import LAYER as OUTER_LAYER
from hanse.core.certify.lockdown.outer import environment
from hanse.core.limits import (
    WORKER_FLOOD_SIZE_BYTES_MAX,
    WORKER_MESSAGE_CHARACTERS_MAX,
    WORKER_STDERR_SIZE_BYTES_MAX,
)
from hanse.core.model.running import NoSandbox, Usage

if sys.platform == "linux":
    import fcntl
if sys.platform == "win32":
    import psutil

    from hanse.core.certify.lockdown.windows import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_NO_SANDBOX: Final = 70  # of a child that could not lock itself
_READ_BYTES: Final = 64 * 1024
_PIPE_BYTES: Final = 1024 * 1024  # what everybody may ask for
_WRITE_BYTES: Final = 1024 * 1024  # at once, where a system would wait for all of it
_LOOK_MS: Final = 100  # between two looks while the child does not read
_REAP_SECONDS: Final = 0.005  # between two looks whether it has ended
_JOIN_SECONDS: Final = 5.0  # a pipe held open by what the child left behind is given up then
_MS: Final = 1000
_LAST_CHARACTERS: Final = 2000
Sent = Literal["done", "ended", "stuck"]
_SIGNALLED: Final = 128  # what a shell, and bubblewrap, add to the number of a signal
_DEPTH: Final = 4  # of bubblewrap: itself, the first process inside, the child
_NO_SANDBOX: Final = re.compile(r"^no sandbox: ([\w.:]+): (.*)$", re.MULTILINE)
_SUSPENDED: Final = 0x4  # CREATE_SUSPENDED of Windows
_MEANING: Final = {
    "SIGXCPU": "its processor time was used up",
    "SIGXFSZ": "it wrote more than it may",
    "SIGKILL": "the system ended it, for its time or for want of memory",
    "SIGSYS": "it made a system call of another machine",
    "SIGSEGV": "it touched memory it does not have",
    "SIGABRT": "it gave up",
}
# What native code says before it gives up: Rust, C++, and the interpreter itself.
_OUT_OF_MEMORY: Final = ("memory allocation of", "bad_alloc", "MemoryError")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: its exit status, or the negative number of the signal.

    ``was_killed`` says that we ended it, for whatever reason.
    """

    status: int
    usage: Usage
    was_killed: bool = False

    @property
    def signal_name(self) -> str:
        """Name the signal that ended it; empty when it ended by itself."""
        if self.status >= 0:
            return ""
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"

    @property
    def is_limit(self) -> bool:
        """Say whether the system ended it for taking too much.

        That is processor time or writing, and ``SIGKILL`` when it was not ours: the system's
        answer to one that goes on after the first, and to want of memory.
        """
        if self.signal_name == "SIGKILL":
            return not self.was_killed
        return self.signal_name in ("SIGXCPU", "SIGXFSZ")

    @property
    def said(self) -> str:
        """Name the status, and what it means, for a person who knows processes."""
        name = self.signal_name
        if not name:
            return f"exit status {self.status}"
        if name == "SIGKILL" and self.was_killed:
            return name
        return f"{name}: {_MEANING[name]}" if name in _MEANING else name


def last_words(ending: Ending, errors: str) -> str:
    """Say how a child ended, with the last line it wrote that is more than advice."""
    lines = [line.strip() for line in errors.splitlines()]
    lines = [line for line in lines if line and not line.startswith("note:")]
    return "; ".join((ending.said, *lines[-1:]))[:WORKER_MESSAGE_CHARACTERS_MAX]


def ran_out_of_memory(errors: str) -> bool:
    """Say whether the last thing a child wrote was that memory ran out."""
    return any(words in errors[-_LAST_CHARACTERS:] for words in _OUT_OF_MEMORY)


def _go_on() -> bool:
    return True


def _can_write(descriptor: int) -> bool:
    """Wait a little until a pipe takes more; not by ``select``, which knows small numbers only."""
    if sys.platform == "win32":
        return True
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    return bool(waiting.poll(_LOOK_MS))


def no_sandbox(ending: Ending, errors: str) -> NoSandbox | None:
    """Return the layer a child could not put on, if that is why it ended.

    Whatever locks itself writes ``no sandbox: LAYER: REASON`` and ends with one status.
    """
    found = _NO_SANDBOX.findall(errors) if ending.status == EXIT_NO_SANDBOX else []
    if not found:
        return None
    layer, reason = found[-1]
    words = (one[:WORKER_MESSAGE_CHARACTERS_MAX] for one in (layer, reason))
    return NoSandbox(**dict(zip(("layer", "reason"), words, strict=True)))


def _cpu_ms(number: int) -> int:
    """Return the processor time of a process of Linux so far."""
    text = Path("/proc", str(number), "stat").read_text("utf-8", "replace")
    fields = text.rpartition(")")[2].split()  # proc(5): from the third field on
    return (int(fields[11]) + int(fields[12])) * _MS // os.sysconf("SC_CLK_TCK")


def _innermost(number: int) -> int:
    """Follow the only children of a process down to the last: the one that was wrapped."""
    for _ in range(_DEPTH):
        tasks = Path("/proc", str(number), "task", str(number), "children")
        below = tasks.read_text("ascii").split()
        if not below:
            return number
        number = int(below[0])
    return number


class Child:
    """One running child; ``kill`` may be called from any thread, the rest from one."""

    def __init__(
        self, command: Sequence[str], scratch: Path | None, outer: Sequence[str] = ()
    ) -> None:
        """Start ``command``; raise ``OSError`` when there is no such program.

        ``outer`` names the layers that ``lockdown.outer_command`` put around it.
        """
        self._started = time.monotonic()
        self._is_wrapped = OUTER_LAYER in outer
        self._popen = subprocess.Popen(  # noqa: S603  our interpreter, or the one the person named
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            close_fds=True,
            start_new_session=True,
            cwd=Path(sys.executable).anchor,
            env=environment(scratch),
            creationflags=_SUSPENDED if sys.platform == "win32" else 0,
        )
        self._widen()
        if sys.platform == "win32":  # not verified: in its job before its first instruction
            self._job = Job(self._popen.pid, str(command[0]))
            psutil.Process(self._popen.pid).resume()
        self._was_killed = False
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._peak_bytes = 0
        self._cpu_ms = 0
        self._said = bytearray()
        self.flooded = False
        self._drain = threading.Thread(target=self._drain_errors, name="worker-stderr", daemon=True)
        self._drain.start()

    def _widen(self) -> None:
        """Make the pipes hold more, so that two processes take turns less often."""
        if sys.platform == "linux":
            for pipe in (self._popen.stdin, self._popen.stdout):
                with contextlib.suppress(OSError):  # more than this user may have
                    fcntl.fcntl(pipe or -1, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def bound(self, memory_bytes: int, cpu_seconds: int, nice: int) -> None:
        """Bound it from outside, before the first word to it; only Windows bounds so."""
        if sys.platform == "win32":
            self._job.bound(memory_bytes, cpu_seconds, is_background=nice > 0)

    def count_from_now(self) -> None:
        """Let the time it takes begin now; one that waited for a job took none of it."""
        self._started = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Say whether it runs."""
        return not self._has_ended()

    @property
    def number(self) -> int:
        """The number of the process itself, inside whatever stands around it."""
        return _innermost(self._popen.pid) if self._is_wrapped else self._popen.pid

    @property
    def stdout(self) -> io.BufferedReader:
        """The pipe the child answers on; ``read`` gives all that was asked for, or the end."""
        assert isinstance(self._popen.stdout, io.BufferedReader)
        return self._popen.stdout

    @property
    def errors(self) -> str:
        """What the child wrote to its standard error, its first part."""
        return bytes(self._said).decode("utf-8", "replace")

    def write(
        self, raw: bytes | bytearray, seconds: float, look: Callable[[], bool] = _go_on
    ) -> Sent:
        """Give ``raw`` to the child, as fast as it reads.

        It is ``stuck`` when it reads nothing for ``seconds``, or when ``look``, which is asked
        several times a second, says no; what ``look`` raises ends the writing as well.
        """
        assert self._popen.stdin is not None
        descriptor = self._popen.stdin.fileno()
        left = memoryview(raw)
        if sys.platform != "win32":  # not verified: there a pipe cannot be asked, and this waits
            os.set_blocking(descriptor, False)
        try:
            taken = looked = time.monotonic()
            while left:
                if _can_write(descriptor):
                    with contextlib.suppress(BlockingIOError):
                        left = left[os.write(descriptor, left[:_WRITE_BYTES]) :]
                        taken = time.monotonic()
                elif time.monotonic() - taken > seconds:
                    return "stuck"
                if time.monotonic() - looked > _LOOK_MS / _MS:  # also of one that sips
                    if not look():
                        return "stuck"
                    looked = time.monotonic()
        except (OSError, ValueError):
            return "ended"
        return "done"

    def close_input(self) -> None:
        """End what the child can read; harmless when repeated."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()

    def note_memory(self) -> None:
        """Look at the most memory it held so far; Linux only, elsewhere the end says it.

        ``wait4`` alone would be wrong: a child counts from its parent's peak before exec.
        """
        with contextlib.suppress(OSError, ValueError, IndexError):
            number = self.number
            status = Path("/proc", str(number), "status").read_text("ascii", "replace")
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self._peak_bytes = max(self._peak_bytes, int(line.split()[1]) * 1024)
            if self._is_wrapped:  # what bubblewrap did not live to wait for is not in ``wait4``
                self._cpu_ms = max(self._cpu_ms, _cpu_ms(number))

    def end(self, seconds: float) -> Ending:
        """Close its input, give it ``seconds`` to end by itself, then end it; repeatable."""
        self.note_memory()
        self.close_input()
        deadline = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < deadline:
            threading.Event().wait(_REAP_SECONDS)
        self.kill()
        ending = self._reap()
        self._drain.join(_JOIN_SECONDS)
        for pipe in (self._popen.stdout, self._popen.stderr):
            assert pipe is not None
            if not self._drain.is_alive():
                pipe.close()
        return ending

    def kill(self) -> None:
        """End the child and what it started, at once; harmless when it has ended."""
        with self._lock:
            if self._ending is not None:
                return
            self._was_killed = self._was_killed or not self._has_ended()
            if sys.platform == "win32":
                self._job.end()
            else:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._popen.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        if self._ending is not None:
            return True
        if sys.platform == "linux":  # looks and leaves it, so that its number stays taken
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._popen.pid, options) is not None
        else:  # noqa: RET505  the checker of types knows one system at a time
            return self._popen.poll() is not None

    def _reap(self) -> Ending:
        """Take its status, once; from then on its number may belong to somebody else."""
        if sys.platform == "linux" and self._ending is None:
            # Waits without the lock, so that ``kill`` stays possible until the last moment.
            os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            if self._ending is None:
                self._ending = self._measured()
            return self._ending

    def _measured(self) -> Ending:
        if sys.platform == "win32":
            return Ending(self._popen.wait(), self._usage(0, 0), self._was_killed)
        if self._popen.returncode is not None:
            usage = self._usage(0, self._peak_bytes)
            return Ending(self._status(), usage, self._was_killed)
        _, raw, used = os.wait4(self._popen.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(raw)
        cpu_ms = max(self._cpu_ms, int((used.ru_utime + used.ru_stime) * _MS))
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of each system
        peak_bytes = self._peak_bytes or used.ru_maxrss * unit
        return Ending(self._status(), self._usage(cpu_ms, peak_bytes), self._was_killed)

    def _status(self) -> int:
        """Return how the child itself ended; bubblewrap tells of a signal as a shell does."""
        status = int(self._popen.returncode)
        return _SIGNALLED - status if self._is_wrapped and status > _SIGNALLED else status

    def _usage(self, cpu_ms: int, peak_bytes: int) -> Usage:
        wall_ms = int((time.monotonic() - self._started) * _MS)
        return Usage(cpu_ms=cpu_ms, peak_rss_bytes=peak_bytes, wall_ms=wall_ms)

    def _drain_errors(self) -> None:
        stderr = self._popen.stderr
        assert isinstance(stderr, io.BufferedReader)
        seen = 0
        with contextlib.suppress(OSError, ValueError):
            while chunk := stderr.read1(_READ_BYTES):
                seen += len(chunk)
                room = WORKER_STDERR_SIZE_BYTES_MAX - len(self._said)
                self._said += chunk[: max(0, room)]
                if seen > WORKER_FLOOD_SIZE_BYTES_MAX and not self.flooded:
                    self.flooded = True
                    self.kill()
