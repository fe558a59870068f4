"""Starts Workers: the ``ModelRunner`` of the program.

* One job, one Worker; it is locked before it sees a model byte, or nothing is run.
* A Worker is our own interpreter and nothing of the surroundings; where the system has an
  outer layer it stands around it.
* A child may be started before there is a job; until it is greeted it holds nothing.

What a Worker is asked is not known here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hanse.core.certify.child import Child
from hanse.core.certify.foreign import ForeignConverter
from hanse.core.certify.lockdown import outer_command
from hanse.core.certify.worker_process import WorkerProcess
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hanse.core.model.running import Profile, Stage, Worker, WorkerLimits


def worker_command() -> tuple[str, ...]:
    """Return how a Worker is started: our interpreter, without user site or environment."""
    return (sys.executable, "-I", "-m", "hanse.core.certify.worker")


class WorkerClient:
    """Starts a Worker for each job, and each from nothing."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """Start Workers by ``command``; a test gives a program that misbehaves."""
        self._command = tuple(command or worker_command())
        self._is_own = command is None

    def start(
        self, stage: Stage, limits: WorkerLimits, profile: Profile, python: Path | None = None
    ) -> Worker:
        """Start a Worker that is ready, or raise ``WorkerFailed`` or ``NoSandbox``.

        With ``python`` the converter is run by that interpreter, which needs not know
        Hanse; such a Worker converts and nothing else.
        """
        if python is not None:
            return ForeignConverter(python, stage, limits)
        return self.start_on(None, stage, limits, profile)

    def start_on(
        self,
        child: Child | None,
        stage: Stage,
        limits: WorkerLimits,
        profile: Profile,
        on_end: Callable[[], None] | None = None,
    ) -> Worker:
        """Start a Worker on a child that waits, or on a new one; ``on_end`` is called once."""
        outer: tuple[str, ...] = ()
        if child is None:
            command, outer = self._outer(stage.folder, stage.scratch)
            child = _child(command, stage.scratch, outer)
        return WorkerProcess(child, stage, limits, profile, outer, on_end)

    def start_waiting(self) -> Child | None:
        """Start a child that waits to be greeted; None where the outer layer forbids it.

        A child inside the outer layer cannot be shown its stage later.
        """
        if self._outer(None, None)[1]:
            return None
        return _child(self._command, None, ())

    def _outer(
        self, stage: Path | None, scratch: Path | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return outer_command(self._command, stage, scratch) if self._is_own else (self._command, ())


def _child(command: Sequence[str], scratch: Path | None, outer: Sequence[str]) -> Child:
    try:
        return Child(command, scratch, outer)
    except OSError as error:
        raise WorkerFailed("crash", "start", error.strerror or str(error)) from error
