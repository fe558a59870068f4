"""How much of a Feed is held, by how near its Identity is to us.

A quota pauses: it never rejects, because a Feed cannot be accepted with a hole.
Headers beyond it are asked for again later, Bodies are dropped and can be asked
for singly.  Of a Feed that is not near, some more Headers are taken for each day it is
known.  What moves an Identity from one tier to another is the market's
business; people's own imports are always near.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from hanse.core.limits import (
    BODIES_PER_HOP_FEED_BYTES_MAX,
    BODIES_PER_NEAR_FEED_BYTES_MAX,
    BODIES_PER_STRANGER_FEED_BYTES_MAX,
    HEADERS_A_DAY_PER_HOP_FEED_MAX,
    HEADERS_A_DAY_PER_STRANGER_FEED_MAX,
    HEADERS_PER_HOP_FEED_MAX,
    HEADERS_PER_NEAR_FEED_MAX,
    HEADERS_PER_STRANGER_FEED_MAX,
)


@unique
class Tier(Enum):
    """How near the Identity behind a Feed is."""

    NEAR = "near"
    HOP = "hop"
    STRANGER = "stranger"


DAY_MS: Final = 24 * 60 * 60 * 1000

# Headers at once, Headers more for each day, bytes of Bodies
_HELD_MAX: Final = {
    Tier.NEAR: (HEADERS_PER_NEAR_FEED_MAX, 0, BODIES_PER_NEAR_FEED_BYTES_MAX),
    Tier.HOP: (
        HEADERS_PER_HOP_FEED_MAX,
        HEADERS_A_DAY_PER_HOP_FEED_MAX,
        BODIES_PER_HOP_FEED_BYTES_MAX,
    ),
    Tier.STRANGER: (
        HEADERS_PER_STRANGER_FEED_MAX,
        HEADERS_A_DAY_PER_STRANGER_FEED_MAX,
        BODIES_PER_STRANGER_FEED_BYTES_MAX,
    ),
}
assert set(_HELD_MAX) == set(Tier)


def allowance(
    tier: Tier, held_headers: int, held_body_bytes: int, known_ms: int = 0
) -> tuple[int, int]:
    """Return how many more Headers and bytes of Bodies of one Feed may be held; never negative.

    ``known_ms`` is for how long the Feed has been held.
    """
    at_once, a_day, bytes_max = _HELD_MAX[tier]
    headers_max = at_once + a_day * (max(0, known_ms) // DAY_MS)
    return max(0, headers_max - held_headers), max(0, bytes_max - held_body_bytes)
