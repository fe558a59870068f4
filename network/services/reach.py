"""How others reach us, told by those who did: a tally of what Peers say they see.

* A Peer that dialled us and was answered names the place it dialled: that the port is open from
  there.  A Peer we dialled sees our address behind the router, and a port nobody can dial.
* A place counts as open to the outside once Peers of two regions say so, and both they and the
  place are public: who owns one network cannot make us believe in an address.
* What was said a day ago is no longer counted.

Nothing is sent here, and no clock is read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.limits import REACH_CLAIMS_MAX
from hanse.network.addresses import Reach, region_key

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey
    from hanse.network.addresses import PeerAddress

REGIONS_LEAST: Final = 2
COUNTED_FOR_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Sighting:
    """That Peers of several regions say they see us at ``place``."""

    place: PeerAddress
    told: int


@dataclass(frozen=True, slots=True)
class _Claim:
    place: PeerAddress
    region: str
    at_ms: int


class ReachTally:
    """What Peers say; each has one word about the place it dialled, and one about our address."""

    def __init__(self) -> None:
        """Begin without any."""
        self._answered: OrderedDict[AuthorKey, _Claim] = OrderedDict()
        self._seen: OrderedDict[AuthorKey, _Claim] = OrderedDict()

    def note(
        self,
        device: AuthorKey,
        teller: PeerAddress,
        observed: PeerAddress,
        now_ms: int,
        *,
        dialled_us: bool,
    ) -> None:
        """Take the word of a Peer at ``teller``, in place of what it said before.

        Between two Peers that are not both public nothing is said of the outside.
        """
        if teller.reach is not Reach.PUBLIC or observed.reach is not Reach.PUBLIC:
            return
        if teller.relay is not None or observed.relay is not None:
            return
        claims = self._answered if dialled_us else self._seen
        claims.pop(device, None)
        claims[device] = _Claim(observed, region_key(teller), now_ms)
        while len(claims) > REACH_CLAIMS_MAX:
            claims.popitem(last=False)

    def open_places(self, now_ms: int) -> tuple[Sighting, ...]:
        """Return the places that answer from outside, the one most Peers tell of first."""
        by_place: dict[PeerAddress, list[_Claim]] = {}
        for claim in self._answered.values():
            if _counts(claim, now_ms):
                by_place.setdefault(claim.place, []).append(claim)
        return _agreed(by_place)

    def seen_hosts(self, now_ms: int) -> tuple[str, ...]:
        """Return the public addresses we are seen at, behind whatever stands between."""
        by_host: dict[str, set[str]] = {}
        for claim in self._seen.values():
            if _counts(claim, now_ms):
                by_host.setdefault(claim.place.host, set()).add(claim.region)
        agreed = [host for host, regions in by_host.items() if len(regions) >= REGIONS_LEAST]
        return tuple(sorted(agreed, key=lambda host: (-len(by_host[host]), host)))


def _counts(claim: _Claim, now_ms: int) -> bool:
    return abs(now_ms - claim.at_ms) < COUNTED_FOR_MS


def _agreed(by_place: dict[PeerAddress, list[_Claim]]) -> tuple[Sighting, ...]:
    found = [
        Sighting(place, len(claims))
        for place, claims in by_place.items()
        if len({claim.region for claim in claims}) >= REGIONS_LEAST
    ]
    return tuple(sorted(found, key=lambda it: (-it.told, it.place.text)))
