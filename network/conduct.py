"""How a Peer behaves, and for how long it is refused: rules over figures, no I/O.

A broken frame costs 1, a wrong Piece or signature 5, flooding 10; what was held against a Peer
halves every hour; 20 refuses it for an hour, 50 for a day (network.md 10).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

_HOUR_MS: Final = 60 * 60 * 1000
_MILLI: Final = 1000


@unique
class Offence(Enum):
    """What a Peer did wrong, and what it costs in thousandths."""

    FRAME = 1 * _MILLI
    WRONG_BYTES = 5 * _MILLI  # a Piece, a signature, a Head it cannot show
    OVERRUN = 10 * _MILLI


_REFUSED: Final = ((50 * _MILLI, 24 * _HOUR_MS), (20 * _MILLI, _HOUR_MS))


@dataclass(frozen=True, slots=True)
class Conduct:
    """What is held against one Peer: ``penalty_milli`` as it was at ``at_ms``."""

    penalty_milli: int = 0
    at_ms: int = 0
    refused_until_ms: int | None = None

    def now(self, now_ms: int) -> int:
        """Return what is left of it at ``now_ms``, in thousandths."""
        hours, rest = divmod(max(0, now_ms - self.at_ms), _HOUR_MS)
        if hours >= 32:
            return 0
        whole = self.penalty_milli >> hours
        # Between two whole hours in a straight line: exact enough, and in whole numbers.
        return whole - whole * rest // (2 * _HOUR_MS)

    def after(self, offence: Offence, now_ms: int) -> Conduct:
        """Return the conduct after one more offence."""
        penalty = self.now(now_ms) + offence.value
        until = self.refused_until_ms
        for least, length_ms in _REFUSED:
            if penalty >= least:
                until = max(until or 0, now_ms + length_ms)
                break
        return Conduct(penalty, now_ms, until)

    def is_refused(self, now_ms: int) -> bool:
        """Say whether the Peer is not spoken to now."""
        return self.refused_until_ms is not None and now_ms < self.refused_until_ms
