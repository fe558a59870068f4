"""When a seller's app may answer again: at once, after waiting, or not in this call.

* A file of many queries is answered one a second; whoever answers it waits in between, and can
  be paused and cancelled meanwhile.
* Behind a network nobody waits: the peer is told to ask again.

How long the wait is, is the grant's.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from hanse.core.clock import Clock
    from hanse.core.model.control import Control

_LOOK_MS: Final = 100  # between two looks at pause and cancel


class Pace(Protocol):
    """Waits, or says that it does not."""

    def wait_until(self, when_ms: int, control: Control) -> bool:
        """Return True once the clock shows ``when_ms``, False when nobody waits."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits by the clock; leaves through ``Cancelled`` when a person ends it."""

    clock: Clock

    def wait_until(self, when_ms: int, control: Control) -> bool:
        """Wait in short steps."""
        start_ms = self.clock.now_ms()
        while (left_ms := when_ms - self.clock.now_ms()) > 0:
            control.checkpoint("pace", self.clock.now_ms() - start_ms, when_ms - start_ms)
            threading.Event().wait(min(left_ms, _LOOK_MS) / 1000)
        return True


class NotWaiting:
    """Never waits."""

    def wait_until(self, when_ms: int, control: Control) -> bool:
        """Say no."""
        del when_ms, control
        return False
