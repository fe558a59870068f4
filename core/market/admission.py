"""Who is near, and how much of one writer is shown: rules over values, no I/O.

* *Near* are we, whom we follow or vouch for, and the parties of our Private bodies; *hop* is who is
  within two follows of somebody near; everybody else is a stranger (market.md 5).
* A Feed cannot have holes, so what is over the rate is kept all the same and *muted*: it stands
  in the Projections, which are the same everywhere, and in no list of results.
* The rates count by the day something arrives here, which no writer can choose.  What waits gets
  its turn on later days, within the same rates.

Labels and keepers, which also decide what is shown, are not known here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from hanse.core.ledger.entry import PRIVATE_KINDS
from hanse.core.ledger.quotas import Tier
from hanse.core.limits import TIERED_IDENTITIES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hanse.core.model.ids import IdentityId

SORT_ANY: Final = "any"
RATES: Final[Mapping[str, int]] = {
    "listing": 10,
    "release": 20,
    "price": 20,
    "demand": 20,
    "offer": 50,
    "review": 50,
    "label": 50,
    "follow": 100,
    SORT_ANY: 200,
}
NEAR_FACTOR: Final = 10
HOPS: Final = 2

# What a market needs of somebody nobody here knows.
STRANGERS_KINDS: Final = frozenset(
    {
        "identity/1",
        "device/1",
        "revoke/1",
        "rotate/1",
        "profile/1",
        "listing/1",
        "release/1",
        "price/1",
        "cert/1",
        "cert-revoke/1",
        "human-review/1",
        "follow/1",
        "renew/1",
        "erase/1",
    }
)
# What says who somebody is, or takes something back, is not talk; what is sealed is shown nowhere.
_UNCOUNTED: Final = PRIVATE_KINDS | {
    "identity/1",
    "device/1",
    "revoke/1",
    "rotate/1",
    "erase/1",
    "fork/1",
    "cert-revoke/1",
    "licence-revoke/1",
}


def tiers(
    own: IdentityId,
    follows_of: Callable[[IdentityId], Iterable[IdentityId]],
    parties: Iterable[IdentityId],
) -> dict[IdentityId, Tier]:
    """Return everybody who is near or hop; who is not in it is a stranger.

    ``follows_of`` gives whom somebody follows with a weight above 0.  Only so many are looked at:
    the nearest first, each one's follows in the order given.
    """
    found: dict[IdentityId, Tier] = {own: Tier.NEAR}
    for identity in (*follows_of(own), *parties):
        if len(found) >= TIERED_IDENTITIES_MAX:
            return found
        found[identity] = Tier.NEAR
    rim = deque((identity, 0) for identity in found)
    while rim:
        identity, distance = rim.popleft()
        if distance == HOPS:
            continue
        for target in follows_of(identity):
            if target in found:
                continue
            if len(found) >= TIERED_IDENTITIES_MAX:
                return found
            found[target] = Tier.HOP
            rim.append((target, distance + 1))
    return found


def sort_of(kind: str) -> str | None:
    """Return as what an Entry of ``kind`` is counted, ``None`` for what never is."""
    if kind in _UNCOUNTED:
        return None
    name = kind.partition("/")[0]
    return name if name in RATES else SORT_ANY


def rate_of(sort: str, tier: Tier) -> int:
    """Return how many of one sort an Identity may have shown for each day."""
    return RATES[sort] * (NEAR_FACTOR if tier is Tier.NEAR else 1)


def is_shown(counted: Callable[[str], int], sort: str, tier: Tier) -> bool:
    """Say whether one more of ``sort`` is shown; ``counted`` says how many were, by sort."""
    return all(counted(it) < rate_of(it, tier) for it in (sort, SORT_ANY))
