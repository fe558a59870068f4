"""How fast one Peer may make us work: it waits, and nobody else does."""

from __future__ import annotations

import trio


class Pace:
    """Holds up whoever goes faster than so many a second, after a burst of one second."""

    def __init__(self, per_second: int) -> None:
        """Begin with a whole burst."""
        self._per_second = per_second
        self._free_at = 0.0
        self._count = 0

    async def wait(self, count: int | None = None) -> None:
        """Wait until one more, or the ``count``-th of all, may go."""
        self._count, new = (self._count + 1, 1) if count is None else (count, count - self._count)
        now = trio.current_time()
        self._free_at = max(self._free_at, now - 1.0) + new / self._per_second
        if self._free_at > now:
            await trio.sleep(self._free_at - now)
