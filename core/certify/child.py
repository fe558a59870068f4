"""One child process with pipes: started alone, drained, measured, and surely ended.

* It gets a session of its own, so that it and whatever it starts are ended together.
* Its environment is written here, not inherited: no secret of ours can be in it.
* Its standard error is always read; the first part is kept, and a flood ends the child.
* It is reaped exactly once; after that its number is never signalled.

What is said over the pipes is not known here.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.limits import (
    WORKER_FLOOD_SIZE_BYTES_MAX,
    WORKER_MESSAGE_CHARACTERS_MAX,
    WORKER_STDERR_SIZE_BYTES_MAX,
)
from hanse.core.model.running import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ_BYTES: Final = 64 * 1024
_REAP_SECONDS: Final = 0.005  # between two looks whether it has ended
_JOIN_SECONDS: Final = 5.0  # a pipe held open by what the child left behind is given up then
_MS: Final = 1000
_LAST_CHARACTERS: Final = 2000
# What native code says before it gives up: Rust, C++, and the interpreter itself.
_OUT_OF_MEMORY: Final = ("memory allocation of", "bad_alloc", "MemoryError")


def environment(scratch: Path | None) -> dict[str, str]:
    """Return all a Worker may know of its surroundings; homes and caches lie in ``scratch``."""
    plain = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        # Without it ORT >= 1.29 starts an uploader thread and a database at import (measured).
        "ORT_DISABLE_TELEMETRY": "1",
    }
    if sys.platform == "win32" and (root := os.environ.get("SYSTEMROOT")):
        plain["SYSTEMROOT"] = root  # not verified: sockets and random numbers need it there
    if scratch is None:
        return plain
    places = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "KERAS_HOME")
    return plain | dict.fromkeys(places, str(scratch))


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: its exit status, or the negative number of the signal."""

    status: int
    usage: Usage

    @property
    def is_limit(self) -> bool:
        """Say whether the system ended it for taking too much CPU or writing too much."""
        return sys.platform != "win32" and -self.status in (signal.SIGXCPU, signal.SIGXFSZ)

    @property
    def said(self) -> str:
        """Name the status for a person who knows processes."""
        if self.status >= 0:
            return f"exit status {self.status}"
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"


def last_words(ending: Ending, errors: str) -> str:
    """Say how a child ended, with the last line it wrote that is more than advice."""
    lines = [line.strip() for line in errors.splitlines()]
    lines = [line for line in lines if line and not line.startswith("note:")]
    return "; ".join((ending.said, *lines[-1:]))[:WORKER_MESSAGE_CHARACTERS_MAX]


def ran_out_of_memory(errors: str) -> bool:
    """Say whether the last thing a child wrote was that memory ran out."""
    return any(words in errors[-_LAST_CHARACTERS:] for words in _OUT_OF_MEMORY)


class Child:
    """One running child; ``kill`` may be called from any thread, the rest from one."""

    def __init__(self, command: Sequence[str], scratch: Path | None) -> None:
        """Start ``command``; raise ``OSError`` when there is no such program."""
        self._started = time.monotonic()
        self._popen = subprocess.Popen(  # noqa: S603  our interpreter, or the one the person named
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            close_fds=True,
            start_new_session=True,
            cwd=Path(sys.executable).anchor,
            env=environment(scratch),
        )
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._peak_bytes = 0
        self._said = bytearray()
        self.flooded = False
        self._drain = threading.Thread(target=self._drain_errors, name="worker-stderr", daemon=True)
        self._drain.start()

    @property
    def stdout(self) -> io.BufferedReader:
        """The pipe the child answers on; ``read`` gives all that was asked for, or the end."""
        assert isinstance(self._popen.stdout, io.BufferedReader)
        return self._popen.stdout

    @property
    def errors(self) -> str:
        """What the child wrote to its standard error, its first part."""
        return bytes(self._said).decode("utf-8", "replace")

    def write(self, raw: bytes, seconds: float) -> bool:
        """Give ``raw`` to the child; False when it has ended, or does not read for ``seconds``."""
        assert self._popen.stdin is not None
        descriptor = self._popen.stdin.fileno()
        deadline = time.monotonic() + seconds
        left = memoryview(raw)
        if sys.platform != "win32":  # not verified: there a pipe cannot be asked, and this waits
            os.set_blocking(descriptor, False)
        try:
            while left:
                if sys.platform != "win32":
                    wait = deadline - time.monotonic()
                    if wait <= 0 or not select.select([], [descriptor], [], wait)[1]:
                        return False
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(descriptor, left) :]
        except OSError:
            return False
        return True

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
            status = Path("/proc", str(self._popen.pid), "status").read_text("ascii", "replace")
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self._peak_bytes = max(self._peak_bytes, int(line.split()[1]) * 1024)

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
            if sys.platform == "win32":
                self._popen.kill()
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
            return Ending(self._popen.wait(), self._usage(0, 0))
        if self._popen.returncode is not None:
            return Ending(self._popen.returncode, self._usage(0, self._peak_bytes))
        _, raw, used = os.wait4(self._popen.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(raw)
        cpu_ms = int((used.ru_utime + used.ru_stime) * _MS)
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of each system
        peak_bytes = self._peak_bytes or used.ru_maxrss * unit
        return Ending(self._popen.returncode, self._usage(cpu_ms, peak_bytes))

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
