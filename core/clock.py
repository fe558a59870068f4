"""Time and chance as arguments: the only file that reads the clock or the system's randomness.

A use case takes both, reads the clock once, and so has one time.  Tests and the
simulator pass their own.
"""

from __future__ import annotations

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in milliseconds since 1970, UTC."""

    def now_ms(self) -> int:
        """Return the present time."""
        ...


class Chance(Protocol):
    """Gives random bytes for keys, nonces and salts."""

    def bytes(self, size: int) -> bytes:
        """Return ``size`` random bytes."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return the machine's time."""
        return time.time_ns() // 1_000_000


class SystemChance:
    """The operating system's random numbers."""

    def bytes(self, size: int) -> bytes:
        """Return bytes nobody can predict."""
        return secrets.token_bytes(size)
