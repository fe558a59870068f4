"""How long work says how far it is, and how a person pauses or ends it.

* The work calls ``checkpoint`` often (several times a second), and nothing else;
  whoever watches calls ``pause``, ``go_on`` and ``cancel`` from any thread.
* A cancelled work leaves through ``Cancelled``, which undoes what its caller can
  undo and keeps what can be resumed.

Which thread works, and who looks at the progress, is not known here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hanse.core.errors import EXIT_NO, UserError

if TYPE_CHECKING:
    from collections.abc import Callable


class Cancelled(UserError):
    """A person ended the work; what can be resumed is kept."""

    code = "work.cancelled"
    text = "cancelled"
    exit_code = EXIT_NO


def _say_nothing(stage: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(slots=True)
class Control:
    """One piece of long work, seen from both sides."""

    report: Callable[[str, int, int], None] = _say_nothing
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _running: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._running.set()

    def pause(self) -> None:
        """Let the work stop at its next checkpoint and wait."""
        self._running.clear()

    def go_on(self) -> None:
        """Let paused work continue."""
        self._running.set()

    def cancel(self) -> None:
        """Let the work leave at its next checkpoint, also when it is paused."""
        self._cancelled.set()
        self._running.set()

    @property
    def is_cancelled(self) -> bool:
        """Say whether the work was told to end."""
        return self._cancelled.is_set()

    @property
    def is_paused(self) -> bool:
        """Say whether the work was told to wait."""
        return not self._running.is_set()

    def checkpoint(self, stage: str, done: int, total: int) -> None:
        """Say how far ``stage`` is, wait while paused, and raise ``Cancelled`` when told to end."""
        self.report(stage, done, total)
        self._running.wait()
        if self._cancelled.is_set():
            raise Cancelled
