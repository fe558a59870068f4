"""Workers that need not be waited for: one child has done its imports before there is a job.

* At most one child waits; it has read nothing, is not locked yet, and knows no stage.
* A job takes it and keeps it to itself; whatever happens, it is not used for another.
* The next one is begun when a job was given one that reads or converts, and when it has ended
  for one that runs a model: its imports would disturb what is measured.
* A child that died while waiting is replaced; when the program ends, its pipe does, and so
  does the child.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.certify.child import Child
    from hanse.core.certify.client import WorkerClient
    from hanse.core.model.running import Profile, Stage, Worker, WorkerLimits


class WarmRunner:
    """A ``ModelRunner`` that keeps one child waiting; may be used from several threads."""

    def __init__(self, runner: WorkerClient) -> None:
        """Start Workers as ``runner`` does; nothing waits before ``warm_up`` or the first job."""
        self._runner = runner
        self._lock = threading.Lock()
        self._waiting: Child | None = None
        self._is_closed = False

    def start(
        self, stage: Stage, limits: WorkerLimits, profile: Profile, python: Path | None = None
    ) -> Worker:
        """Start a Worker by the child that waits, or from nothing when none does."""
        if python is not None:
            return self._runner.start(stage, limits, profile, python)
        is_measured = profile == "run"
        on_end = self.warm_up if is_measured else None
        child = self._take()
        try:
            worker = self._runner.start_on(child, stage, limits, profile, on_end)
        except WorkerFailed:
            if child is None:
                raise
            worker = self._runner.start_on(None, stage, limits, profile, on_end)
        if not is_measured:
            self.warm_up()
        return worker

    def warm_up(self) -> None:
        """Begin the child that will wait, unless one does; harmless when it cannot be begun."""
        with self._lock:
            if self._is_closed or (self._waiting is not None and self._waiting.is_alive):
                return
            self._drop()
            with contextlib.suppress(WorkerFailed):  # the next job says why, if it is still so
                self._waiting = self._runner.start_waiting()

    def close(self) -> None:
        """End the child that waits, and begin no other; harmless when repeated."""
        with self._lock:
            self._is_closed = True
            self._drop()

    def _take(self) -> Child | None:
        with self._lock:
            child = self._waiting
            if child is None or not child.is_alive:
                self._drop()
                return None
            self._waiting = None
            return child

    def _drop(self) -> None:
        if self._waiting is not None:
            self._waiting.end(0)
            self._waiting = None
