"""Chance that repeats: the same seed gives the same bytes, in the order asked for."""

from __future__ import annotations

import hashlib


class SeededChance:
    """A ``Chance`` whose n-th answer is SHAKE-256 of the seed and n."""

    def __init__(self, seed: int | str | bytes) -> None:
        self._seed = seed if isinstance(seed, bytes) else str(seed).encode()
        self._calls = 0

    def bytes(self, size: int) -> bytes:
        self._calls += 1
        call = self._calls.to_bytes(8, "big")
        return hashlib.shake_256(call + self._seed).digest(size)
