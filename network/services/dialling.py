"""Whom to dial next: rules over values, without I/O; time and chance are arguments.

* Wanted are so many connections: a third near, a third around those, a third any.  Strangers take
  what the others leave, and never the other way round; own Devices are dialled in any case.
* No source may give more than half of what is wanted: whoever fills our list of candidates does
  not fill our connections.  The person's own list and proven near Peers are no such source.
  Of those who dialled us only so many count as wanted ones, for they chose us.
* At a start: who answered before and the LAN at once, the person's list after 2 s if fewer than
  four answered, then what Peers tell of others, then the DHT.
* A dial that failed waits 1 s, twice as long each time, at most 10 min, give or take a fifth.
  A connection that does not last a minute counts as failed, so that nobody keeps us dialling.

``at_ms`` is any clock that never goes back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum, unique
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.engine.peering import Nearness
from hanse.core.model.network import Met
from hanse.network.addresses import Reach, is_told_by, read_address

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from hanse.core.clock import Chance
    from hanse.core.engine.peering import KnownPeer
    from hanse.core.model.ids import AuthorKey
    from hanse.network.addresses import PeerAddress

WANTED: Final = 12
NODE_WANTED: Final = 64
DIALS_AT_ONCE: Final = 8

ENOUGH_AT_START: Final = 4
LIST_AFTER_MS: Final = 2000
EXCHANGE_AFTER_MS: Final = 4000
DIRECTORY_AFTER_MS: Final = 6000

WAIT_FIRST_MS: Final = 1000
WAIT_LONGEST_MS: Final = 600_000
LASTED_MS: Final = 60_000

_DOUBLINGS: Final = (WAIT_LONGEST_MS // WAIT_FIRST_MS).bit_length()
_SPREAD_MILLI: Final = 200
_SEED_SIZE_BYTES: Final = 16


@unique
class Way(IntEnum):
    """How a Peer was come by, in the order ways are tried."""

    TABLE = 0  # it answered before, or it is near
    LAN = 1
    LIST = 2  # a person named it
    EXCHANGE = 3
    DIRECTORY = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Peer that may be dialled; ``source`` is who gives it, ``None`` for whom we trust."""

    device: AuthorKey
    addresses: tuple[PeerAddress, ...]
    way: Way
    met: Met
    nearness: Nearness = Nearness.STRANGER
    source: str | None = None
    has_answered: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A connection, or one that is being made."""

    device: AuthorKey
    nearness: Nearness
    source: str | None
    is_outbound: bool = True


@dataclass(frozen=True, slots=True)
class Attempt:
    """How often in a row a Peer was dialled in vain, and when it may be dialled again."""

    failures: int = 0
    due_ms: int = 0

    def after_failure(self, at_ms: int, chance: Chance) -> Attempt:
        """Return the attempt after one more failure."""
        failures = self.failures + 1
        return Attempt(failures, at_ms + wait_ms(failures, chance))

    def after_loss(self, at_ms: int, lasted_ms: int, chance: Chance) -> Attempt:
        """Return the attempt after a connection was lost that had lasted so long."""
        failures = self.failures + 1 if lasted_ms < LASTED_MS else 1
        return Attempt(failures, at_ms + wait_ms(failures, chance))


def wait_ms(failures: int, chance: Chance) -> int:
    """Return how long to wait after the ``failures``-th failure in a row."""
    assert failures > 0
    wait = min(WAIT_FIRST_MS << min(failures - 1, _DOUBLINGS), WAIT_LONGEST_MS)
    drawn = int.from_bytes(chance.bytes(4), "big") % (2 * _SPREAD_MILLI + 1)
    return wait * (1000 - _SPREAD_MILLI + drawn) // 1000


def ways_open(elapsed_ms: int, connected: int, wanted: int) -> frozenset[Way]:
    """Return what may be tried so long after the start, with so many connected."""
    ways = {Way.TABLE, Way.LAN}
    if connected < ENOUGH_AT_START and elapsed_ms >= LIST_AFTER_MS:
        ways.add(Way.LIST)
    if connected < wanted:
        # With time the list serves too: it is what a person wants, only not what burdens it first.
        if elapsed_ms >= EXCHANGE_AFTER_MS:
            ways |= {Way.LIST, Way.EXCHANGE}
        if elapsed_ms >= DIRECTORY_AFTER_MS:
            ways.add(Way.DIRECTORY)
    return frozenset(ways)


def candidate_of(peer: KnownPeer) -> Candidate:
    """Return a kept Peer as a candidate."""
    places = (read_address(text) for text in peer.addresses)
    is_trusted = peer.is_kept or peer.nearness <= Nearness.NEAR
    is_of_list = peer.is_kept and peer.answered_ms is None and peer.nearness > Nearness.NEAR
    return Candidate(
        device=peer.device,
        addresses=tuple(place for place in places if place is not None),
        way=Way.LIST if is_of_list else Way.TABLE,
        met=peer.met,
        nearness=peer.nearness,
        source=None if is_trusted else peer.met.value,
        has_answered=peer.answered_ms is not None,
    )


def told_places(texts: Iterable[str], met: Met) -> dict[AuthorKey, tuple[PeerAddress, ...]]:
    """Return the places a stranger may send us to, by whom they lead to; the rest is dropped."""
    teller = Reach.LAN if met is Met.LAN else Reach.PUBLIC
    found: dict[AuthorKey, list[PeerAddress]] = {}
    for text in texts:
        place = read_address(text)
        if place is None or place.device is None or not is_told_by(place, teller):
            continue
        places = found.setdefault(place.device, [])
        if place not in places:
            places.append(place)
    return {device: tuple(places) for device, places in found.items()}


@dataclass(frozen=True, slots=True)
class Scene:
    """What is decided upon: ``links`` and ``dialling`` are connections made and being made.

    ``refused`` are our own key and those we do not speak to; ``attempts`` what was tried.
    """

    candidates: Sequence[Candidate]
    links: Sequence[Link]
    dialling: Sequence[Link]
    attempts: Mapping[AuthorKey, Attempt]
    refused: Collection[AuthorKey]
    ways: frozenset[Way]
    wanted: int


def missing(scene: Scene) -> int:
    """Return how many connections are wanted and not there."""
    return max(0, scene.wanted - _Tally(scene).total)


def choose(scene: Scene, at_ms: int, chance: Chance) -> tuple[Candidate, ...]:
    """Return whom to dial now, the first first."""
    room = DIALS_AT_ONCE - len(scene.dialling)
    busy = {link.device for link in (*scene.links, *scene.dialling)}
    tally = _Tally(scene)
    due = [
        candidate
        for candidate in scene.candidates
        if tally.takes(candidate.nearness, candidate.source)  # most are passed over here
        and candidate.addresses
        and candidate.way in scene.ways
        and candidate.device not in busy
        and candidate.device not in scene.refused
        and scene.attempts.get(candidate.device, Attempt()).due_ms <= at_ms
    ]
    if room <= 0 or not due:
        return ()
    seed = chance.bytes(_SEED_SIZE_BYTES)
    due.sort(key=lambda it: (it.nearness, it.way, not it.has_answered, _drawn(seed, it.device)))
    chosen: dict[AuthorKey, Candidate] = {}
    # First every kind its own third, then what is left: near ones do not push out those around.
    for takes in (tally.takes_of_third, tally.takes):
        for candidate in due:
            if len(chosen) == room:
                break
            if candidate.device in chosen or not takes(candidate.nearness, candidate.source):
                continue
            chosen[candidate.device] = candidate
            tally.add(candidate.nearness, candidate.source)
    return tuple(chosen.values())


class _Tally:
    """How many connections there are, of which nearness and from which source."""

    def __init__(self, scene: Scene) -> None:
        self._wanted = scene.wanted
        self._half = max(1, scene.wanted // 2)
        self._third = max(1, scene.wanted // 3)
        self._by_nearness: Counter[Nearness] = Counter()
        self._by_source: Counter[str] = Counter()
        inbound = 0
        for link in (*scene.links, *scene.dialling):
            if link.is_outbound or link.nearness <= Nearness.HOP:
                self.add(link.nearness, link.source)
            else:
                inbound += 1
        self._inbound = min(inbound, self._half)

    @property
    def total(self) -> int:
        return self._inbound + self._by_nearness.total()

    def add(self, nearness: Nearness, source: str | None) -> None:
        self._by_nearness[nearness] += 1
        if source is not None:
            self._by_source[source] += 1

    def takes(self, nearness: Nearness, source: str | None) -> bool:
        """Say whether one more may be connected."""
        if self.takes_of_third(nearness, source):
            return True
        if self.total >= self._wanted or self._is_half(source):
            return False
        around = self._by_nearness[Nearness.NEAR] + self._by_nearness[Nearness.HOP]
        return nearness is Nearness.STRANGER or around < 2 * self._third

    def takes_of_third(self, nearness: Nearness, source: str | None) -> bool:
        """Say whether one more is within the third of its kind, which strangers can be denied."""
        if nearness is Nearness.OWN:
            return True
        if self._is_half(source) or self._by_nearness[nearness] >= self._third:
            return False
        return nearness is not Nearness.STRANGER or self.total < self._wanted

    def _is_half(self, source: str | None) -> bool:
        return source is not None and self._by_source[source] >= self._half


def _drawn(seed: bytes, device: AuthorKey) -> bytes:
    return sha256(seed + device).digest()
