"""The threads on which use cases run: one that writes, three that read, a few for long work.

* ``write`` runs one use case after another, in the order given: the store has one writer.
* ``read`` runs queries beside it.
* ``job`` is for hashing and disk: it never holds the writer for longer than one use case.
* Each answers with a Future, so nobody's thread waits; a queue that is full says so at once.

What the work is, is not known here.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from hanse.core.errors import Refused
from hanse.core.limits import EXECUTOR_WAITING_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_READERS: Final = 3


class TooBusy(Refused):
    """More work waits than may; whoever asked tries again later."""

    code = "executor.too_busy"
    text = "{found} pieces of work wait, the most is {most}"
    fields = ("found", "most")


class _Lane:
    """A few threads of one name, and a bound on what waits for them."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, f"hanse-{name}")
        self._lock = threading.Lock()
        self._open = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._open >= EXECUTOR_WAITING_MAX:
                raise TooBusy(found=self._open, most=EXECUTOR_WAITING_MAX)
            self._open += 1
        try:
            future = self._pool.submit(work)
        except BaseException:
            self._left(None)
            raise
        future.add_done_callback(self._left)
        return future

    def _left(self, _: Future[T] | None) -> None:
        with self._lock:
            self._open -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Executor:
    """The threads of one open engine; closed before the engine is."""

    def __init__(self, job_threads: int = 1) -> None:
        """Start no thread before the first work."""
        self._writer = _Lane("engine", 1)
        self._readers = _Lane("reader", _READERS)
        self._jobs = _Lane("job", max(1, job_threads))

    def write(self, work: Callable[[], T]) -> Future[T]:
        """Run a use case that writes; raises ``TooBusy`` when too many wait."""
        return self._writer.submit(work)

    def read(self, work: Callable[[], T]) -> Future[T]:
        """Run a query beside the writer."""
        return self._readers.submit(work)

    def job(self, work: Callable[[], T]) -> Future[T]:
        """Run work that hashes or moves bytes."""
        return self._jobs.submit(work)

    def close(self) -> None:
        """Finish what runs, drop what waits, and end the threads; harmless when repeated."""
        for lane in (self._jobs, self._readers, self._writer):
            lane.close()
