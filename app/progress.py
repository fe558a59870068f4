"""Long work at a terminal: how far it is, in one line, and Ctrl-C that ends it cleanly.

* The first Ctrl-C tells the work to leave at its next checkpoint; a second one does not
  wait for that.
* Nothing is shown with ``--json``.
* While the person is asked something, Ctrl-C does what it always does.
* In a command that is done for another process the Ctrl-C is that one's, and is handed on here.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from hanse.core.model.control import Control

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from hanse.app.desk import Desk

Describe = Callable[[str, int, int], str | None]  # stage, done, total

_SHOWN_SECONDS: Final = 0.1  # between two lines; a change of stage is shown at once


@runtime_checkable
class TakesInterrupts(Protocol):
    """A terminal whose Ctrl-C comes by another way than a signal."""

    def interrupts(self, taker: Callable[[], object] | None) -> AbstractContextManager[None]:
        """Let ``taker`` have Ctrl-C as long as the block runs; None ends what is asked."""
        ...


class Progress:
    """What a person sees of one piece of long work, and the way to end it."""

    def __init__(self, desk: Desk, describe: Describe | None = None) -> None:
        """Show nothing yet; ``describe`` says a stage in its own words, or leaves it with None."""
        self.control = Control(report=self._report)
        self.on_end: Callable[[], object] | None = None
        self._desk = desk
        self._describe = describe
        self._stage = ""
        self._next_at = 0.0

    def clear(self) -> None:
        """Take the line away."""
        if self._stage:
            self._stage = ""
            self._desk.console.progress("")

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let the person be asked something in between."""
        self.clear()
        with _interrupts(self._desk, None):
            yield

    def interrupted(self) -> None:
        """Tell the work to end, and whoever else is to know; the second time, end at once."""
        if self.control.is_cancelled:
            raise KeyboardInterrupt
        self.control.cancel()
        if self.on_end is not None:
            self.on_end()

    def _report(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._desk.is_json or (stage == self._stage and now < self._next_at):
            return
        self._stage, self._next_at = stage, now + _SHOWN_SECONDS
        described = None if self._describe is None else self._describe(stage, done, total)
        if described is not None:
            shown = described
        elif total > 1:
            percent = min(100, 100 * done // total)
            shown = self._desk.say("progress.percent", stage=stage, percent=percent)
        else:
            shown = self._desk.say("progress.stage", stage=stage)
        self._desk.console.progress(shown)


@contextmanager
def long_work(desk: Desk, describe: Describe | None = None) -> Iterator[Progress]:
    """Show progress and take Ctrl-C as long as the block runs."""
    progress = Progress(desk, describe)
    with _interrupts(desk, progress.interrupted):
        try:
            yield progress
        finally:
            progress.clear()


@contextmanager
def _interrupts(desk: Desk, taker: Callable[[], object] | None) -> Iterator[None]:
    """Let ``taker`` have Ctrl-C, or with None the usual handler."""
    if isinstance(desk.console, TakesInterrupts):
        with desk.console.interrupts(taker):
            yield
        return
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say who takes it
        return

    def handler(number: int, frame: FrameType | None) -> None:
        if taker is None:
            signal.default_int_handler(number, frame)
        else:
            taker()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
