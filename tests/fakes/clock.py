"""A clock that stands still until told to move."""

from __future__ import annotations


class FakeClock:
    """A ``Clock`` set by hand."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        assert ms >= 0
        self._now_ms += ms

    def set_back(self, ms: int) -> None:
        """Let a person or a bad battery turn the clock back."""
        assert ms >= 0
        self._now_ms -= ms
