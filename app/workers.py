"""The background: one thread that works off the queue of jobs, one job at a time.

* While a job measures nothing else of ours runs, so that figures mean something.
* What a person waits for goes before what runs by itself: between two checks the job under way
  makes room and goes on later, with what it has finished.
* A paused job stands where it is; a cancelled one ends its Worker at once.
* Closing interrupts the job under way; the next start queues it again.

Which jobs there are and what they come to is ``hanse.core.engine.certifying``'s.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from hanse.core.errors import HanseError
from hanse.core.model.control import Cancelled, Control
from hanse.core.store.jobs import PRIORITY_NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.engine.certifying import JobView
    from hanse.core.engine.engine import Engine

_log: Final = logging.getLogger(__name__)

BETWEEN_CHECKS: Final = "certify"  # the stage that is reported before each check
_LOOK_SECONDS: Final = 1.0  # a job queued by another process is found so
_CLOSE_SECONDS: Final = 5.0


def _nobody(_: JobView) -> None:
    """Tell nobody."""


class JobRunner:
    """Works off the jobs of one open engine."""

    def __init__(
        self,
        engine: Engine,
        *,
        on_done: Callable[[JobView], None] = _nobody,
        on_progress: Callable[[int, str, int, int], None] = lambda *_: None,
        is_signing: bool = False,
        cores: int = 0,
    ) -> None:
        """Bind the engine; both callbacks are called on the thread of the jobs.

        ``on_progress`` gets job, stage, done and total.  With ``is_signing`` results that are
        better than what was signed before are signed while the Account is unlocked.  No job
        takes more than ``cores`` cores, 0 for all.
        """
        self._engine = engine
        self._on_done = on_done
        self._on_progress = on_progress
        self._is_signing = is_signing
        self._cores = cores
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.RLock()  # a signal may close it while its own thread holds it
        self._control: Control | None = None
        self._job: JobView | None = None
        self._is_interrupted = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> int:
        """Queue again what the last run left, and begin; return how many that were."""
        recovered = self._engine.certifying.recover()
        self._thread.start()
        return recovered

    def wake(self) -> None:
        """Look for jobs now: one was queued, or goes on.

        A job that stands paused makes room for one that a person waits for.
        """
        with self._lock:
            is_standing = self._control is not None and self._control.is_paused
        if is_standing and self._is_something_urgent():
            self.interrupt()
        self._wake.set()

    def pause(self, job: int, *, is_paused: bool) -> JobView:
        """Let a job stand, or go on, wherever it is."""
        with self._lock:
            if self._control is not None and self._job is not None and self._job.row.job == job:
                (self._control.pause if is_paused else self._control.go_on)()
        view = self._engine.certifying.pause(job, is_paused=is_paused)
        self.wake()
        return view

    def cancel(self, job: int) -> None:
        """Give a job up; the Worker of one under way is ended at once."""
        with self._lock:
            if self._control is not None and self._job is not None and self._job.row.job == job:
                self._control.cancel()
                return
        self._engine.certifying.cancel(job)

    def finish(self) -> None:
        """Work off what is queued, instead of ``start``: until nothing is left, or ``close``."""
        self._engine.certifying.recover()
        while not self._closing.is_set():
            due = self._engine.certifying.next_job()
            if due is None:
                return
            self._run(due)

    def close(self) -> bool:
        """Interrupt the job under way and end the thread; say whether it ended in time."""
        self._closing.set()
        self.interrupt()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)
        return not self._thread.is_alive()

    def interrupt(self) -> None:
        """End the job under way so that it goes on later."""
        with self._lock:
            if self._control is not None:
                self._is_interrupted = True
                self._control.cancel()

    def _work(self) -> None:
        while not self._closing.is_set():
            due = self._engine.certifying.next_job()
            if due is None:
                self._wake.wait(_LOOK_SECONDS)
                self._wake.clear()
                continue
            self._run(due)

    def _run(self, due: JobView) -> None:
        job = due.row.job
        control = Control(report=lambda stage, done, total: self._report(job, stage, done, total))
        with self._lock:
            if self._closing.is_set():
                return
            self._control, self._job, self._is_interrupted = control, due, False
        try:
            done = self._engine.certifying.run(
                job,
                control,
                is_interrupted=lambda: self._is_interrupted,
                cores=self._cores,
            )
            if self._is_signing:
                self._engine.certifying.sign_if_better(job)
        except Cancelled:
            done = self._engine.certifying.job(job)
            if self._is_interrupted and not self._closing.is_set():
                self._engine.certifying.requeue(job)
        except HanseError as error:
            # Kept with the job, where a person reads it; the queue goes on.
            _log.info("job %d ended with %s", job, error.code)
            done = self._engine.certifying.job(job)
        except Exception:  # noqa: BLE001  said below
            # The boundary of the thread: one job must not end the queue.  It is interrupted, and
            # goes on at the next start.
            _log.exception("job %d ended with a fault of ours", job)
            done = self._engine.certifying.job(job)
        finally:
            with self._lock:
                self._control = self._job = None
        self._on_done(done)

    def _report(self, job: int, stage: str, done: int, total: int) -> None:
        self._on_progress(job, stage, done, total)
        if stage == BETWEEN_CHECKS and self._is_something_urgent():
            self.interrupt()

    def _is_something_urgent(self) -> bool:
        """Say whether a person waits for another job than the one under way."""
        job = self._job  # may end meanwhile
        if job is None or job.row.priority <= PRIORITY_NOW:
            return False
        due = self._engine.certifying.next_job()
        return due is not None and due.row.priority < job.row.priority
