"""How fast bytes may pass: a bucket that fills by the second, and the pace of one Peer.

Figures are whole bytes and milliseconds; who waits, and on what, is not known here.
"""

from __future__ import annotations

from typing import Final

from hanse.core.limits import PIECE_GETS_OPEN_MAX, PIECE_SIZE_BYTES

SECOND_MS: Final = 1000
SILENT_MS: Final = 20 * SECOND_MS

_SAMPLE_MS: Final = 1000


class Bucket:
    """Lets ``rate`` bytes a second pass, and one second's worth at once; ``None`` lets all pass.

    What is taken may exceed what is there: who takes then waits, and nobody takes meanwhile.
    """

    __slots__ = ("_at_ms", "_level", "_rate")

    def __init__(self, rate: int | None, now_ms: int) -> None:
        """Begin full."""
        assert rate is None or rate > 0
        self._rate = rate
        self._level = (rate or 0) * SECOND_MS  # in thousandths of a byte
        self._at_ms = now_ms

    @property
    def rate(self) -> int | None:
        """Return the bytes a second, or ``None`` without a bound."""
        return self._rate

    def set_rate(self, rate: int | None, now_ms: int) -> None:
        """Let another rate hold from now on; a debt is kept."""
        assert rate is None or rate > 0
        self._fill(now_ms)
        self._rate = rate
        self._level = min(self._level, (rate or 0) * SECOND_MS)

    def wait_ms(self, now_ms: int) -> int:
        """Return for how long nothing more may be taken."""
        if self._rate is None:
            return 0
        self._fill(now_ms)
        return max(0, -(self._level // self._rate))

    def take(self, size: int, now_ms: int) -> int:
        """Take ``size`` bytes and return for how long to wait then."""
        if self._rate is None:
            return 0
        self._fill(now_ms)
        self._level -= size * SECOND_MS
        return max(0, -(self._level // self._rate))

    def _fill(self, now_ms: int) -> None:
        rate = self._rate or 0
        # A clock that was set back gives nothing and takes nothing.
        passed_ms = max(0, now_ms - self._at_ms)
        self._level = min(rate * SECOND_MS, self._level + rate * passed_ms)
        self._at_ms = now_ms


class Pace:
    """How fast one Peer brings bytes, and so how many Pieces are asked of it at once.

    One Piece at first; then as many as come in a second, and one more, up to eight.
    """

    __slots__ = ("_bytes", "_since_ms", "heard_ms", "rate")

    def __init__(self, now_ms: int) -> None:
        """Know nothing yet."""
        self.rate: int | None = None  # bytes a second, while something was asked
        self.heard_ms = now_ms  # when bytes came last, or the first question went out
        self._since_ms = now_ms
        self._bytes = 0

    @property
    def depth(self) -> int:
        """Return how many Pieces are asked at once."""
        if self.rate is None:
            return 1
        return min(self.rate // PIECE_SIZE_BYTES + 1, PIECE_GETS_OPEN_MAX)

    def begin(self, now_ms: int) -> None:
        """Note that something is asked and nothing was open before: time without work is none."""
        self.heard_ms = self._since_ms = now_ms
        self._bytes = 0

    def add(self, size: int, now_ms: int, *, is_whole: bool = False) -> None:
        """Count bytes that came; ``is_whole`` says that a Piece ends with them."""
        self._bytes += size
        self.heard_ms = now_ms
        passed_ms = now_ms - self._since_ms
        if passed_ms < _SAMPLE_MS and not (is_whole and self.rate is None):
            return
        sample = self._bytes * SECOND_MS // max(1, passed_ms)
        self.rate = sample if self.rate is None else (self.rate + sample) // 2
        self._since_ms, self._bytes = now_ms, 0

    def is_silent(self, now_ms: int) -> bool:
        """Say whether nothing came for too long of a Peer that is asked something."""
        return now_ms - self.heard_ms >= SILENT_MS

    def needs_ms(self, size: int) -> int | None:
        """Return how long ``size`` bytes will take, or ``None`` when nobody can say."""
        return None if self.rate is None else size * SECOND_MS // max(1, self.rate)
