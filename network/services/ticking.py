"""The network thread's own time, for waits and rates: no change of the machine's clock moves it."""

from __future__ import annotations

import trio


def ticks_ms() -> int:
    """Return the milliseconds since some moment before this thread began."""
    return int(trio.current_time() * 1000)
