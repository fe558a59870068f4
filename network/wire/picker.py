"""Which Piece to ask of whom: the rules of one Artifact's download (network.md 5), without I/O.

* Pieces asked of nobody come first, of these the rarest among the known seeders, of these any
  one; in file order when somebody waits for the first file.
* When nothing is left to ask, a Piece that is open is asked of one second Peer if that is likely
  to be faster; the first good one counts, the other is cancelled.
* A Piece comes from one Peer, so that blame is exact.  A tail that broke is gone on with by the
  same Peer only.
* Whoever sent a wrong Piece is out for this Artifact, and so is who denies again and again what
  it said it has.  Who is silent gives its Pieces back and rests for a minute, who is busy for as
  long as it said.
* A Peer that is reached over a relay is asked nothing while one reached directly could be.

Sets of Pieces are whole numbers, a bit for each: at a million Pieces one step of any rule here
is one operation on 128 KiB, so that no rule needs a list that is kept sorted.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.tree import piece_count, piece_length
from hanse.core.limits import (
    PIECES_BROKEN_MAX,
    PIECES_OPEN_MAX,
    SEEDERS_ACTIVE_MAX,
    SEEDERS_KNOWN_MAX,
)
from hanse.network.wire.bucket import SECOND_MS, Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.clock import Chance
    from hanse.core.model.ids import AuthorKey

REST_MS: Final = 60 * SECOND_MS

_DENIALS: Final = 8  # of Pieces a Peer said it has; then it is asked no more
_BUSY_MS_LEAST: Final = 1 * SECOND_MS
_BUSY_MS_MOST: Final = 10 * 60 * SECOND_MS
_QUIET_MS: Final = 2 * SECOND_MS  # without a byte: what a Peer's rate was says nothing any more


class Layout:
    """The Pieces of several objects, numbered through."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Lay objects of these sizes one behind the other."""
        self.sizes = tuple(sizes)
        self._starts = (0, *accumulate(map(piece_count, self.sizes)))

    @property
    def pieces(self) -> int:
        """Return how many there are."""
        return self._starts[-1]

    def number(self, place: int, piece: int) -> int:
        """Return the number of Piece ``piece`` of the object at ``place``."""
        assert 0 <= piece < piece_count(self.sizes[place])
        return self._starts[place] + piece

    def find(self, number: int) -> tuple[int, int]:
        """Return the object's place and the Piece in it."""
        assert 0 <= number < self.pieces
        # Of objects without a byte, which have no Piece, the last one that begins here is found.
        place = bisect_right(self._starts, number) - 1
        return place, number - self._starts[place]

    def length(self, number: int) -> int:
        """Return how many bytes a Piece has."""
        place, piece = self.find(number)
        return piece_length(self.sizes[place], piece)

    def mask(self, place: int, bits: bytes | None) -> int:
        """Return the Pieces of one object as a set; ``None`` stands for all of them."""
        count = piece_count(self.sizes[place])
        found = (1 << count) - 1 if bits is None else int.from_bytes(bits, "little")
        assert not found >> count
        return found << self._starts[place]


@dataclass(frozen=True, slots=True)
class Ask:
    """One Piece to ask for; ``held`` is what came of it before, and is not asked again."""

    number: int
    held: bytes = b""


@dataclass(slots=True)
class _Seeder:
    pace: Pace
    is_relayed: bool
    have: int = 0
    denials: int = 0
    busy: int = 0  # times in a row
    rests_until_ms: int = 0
    open: dict[int, int] = field(default_factory=dict)  # Piece -> when it was asked for


class Picker:
    """What is wanted of one Artifact, and who was asked for it."""

    def __init__(self, layout: Layout, chance: Chance, *, is_in_order: bool = False) -> None:
        """Begin with nothing wanted; ``want`` says what is."""
        self._layout = layout
        self._chance = chance
        self.is_in_order = is_in_order
        self._missing = 0  # wanted and not good yet
        self._free = 0  # of these, asked of nobody and not being checked
        self._checked: set[int] = set()
        self._seeders: dict[AuthorKey, _Seeder] = {}
        self._out: set[AuthorKey] = set()
        self._planes: list[int] = []  # how many have a Piece, a binary digit of the count in each
        self._askers: dict[int, list[AuthorKey]] = {}  # of each open Piece
        self._broken: dict[int, tuple[AuthorKey, bytes]] = {}

    # --- what is wanted ---------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Say whether nothing is missing of what was wanted so far."""
        return not self._missing

    @property
    def missing(self) -> int:
        """Return how many Pieces are missing."""
        return self._missing.bit_count()

    @property
    def open_pieces(self) -> int:
        """Return how many Pieces are asked for and have not come."""
        return len(self._askers)

    def is_missing(self, pieces: int) -> bool:
        """Say whether anything of a set is missing."""
        return bool(self._missing & pieces)

    def want(self, pieces: int) -> None:
        """Want this set of Pieces, too."""
        new = pieces & ~self._missing
        self._missing |= new
        self._free |= new

    # --- who has it -------------------------------------------------------------------------

    @property
    def peers(self) -> tuple[AuthorKey, ...]:
        """Return the seeders known."""
        return tuple(self._seeders)

    def is_out(self, peer: AuthorKey) -> bool:
        """Say whether ``peer`` is asked no more, for this Artifact."""
        return peer in self._out

    def meet(self, peer: AuthorKey, pace: Pace, *, is_relayed: bool = False) -> bool:
        """Know one more Peer, or say that it is not needed or not wanted."""
        if peer in self._out or peer in self._seeders:
            return False
        if len(self._seeders) >= SEEDERS_KNOWN_MAX:
            useless = [one for one, it in self._seeders.items() if not it.have & self._missing]
            if not useless:
                return False
            self.lose(useless[0])
        self._seeders[peer] = _Seeder(pace, is_relayed)
        return True

    def has(self, peer: AuthorKey, place: int, bits: bytes | None) -> None:
        """Note which Pieces of one object a Peer has; what it said before of it is forgotten."""
        if (seeder := self._seeders.get(peer)) is None:
            return
        seeder.have &= ~self._layout.mask(place, None)
        seeder.have |= self._layout.mask(place, bits)
        self._count()

    def lose(self, peer: AuthorKey, broken: Mapping[int, bytes] | None = None) -> None:
        """Give back what was asked of a Peer that is gone; ``broken`` has what came of a Piece."""
        if peer not in self._seeders:
            return
        self._give_back(peer, broken or {})
        del self._seeders[peer]
        self._count()

    def rest(
        self, peer: AuthorKey, until_ms: int, broken: Mapping[int, bytes] | None = None
    ) -> None:
        """Give back what was asked of a Peer, and ask it nothing before ``until_ms``."""
        if (seeder := self._seeders.get(peer)) is None:
            return
        self._give_back(peer, broken or {})
        seeder.rests_until_ms = max(seeder.rests_until_ms, until_ms)

    def ban(self, peer: AuthorKey) -> None:
        """Ask a Peer no more, and forget what came of it and is not whole."""
        self._out.add(peer)
        self.lose(peer)
        self._broken = {it: (by, held) for it, (by, held) in self._broken.items() if by != peer}

    def ready(self, now_ms: int) -> tuple[AuthorKey, ...]:
        """Return the Peers that have something missing and may be asked now."""
        return tuple(
            peer
            for peer, it in self._seeders.items()
            if it.have & self._missing and self._may_ask(it, now_ms)
        )

    @property
    def is_relayed(self) -> bool:
        """Say whether something is open of a Peer that is reached over a relay."""
        return any(it.is_relayed and it.open for it in self._seeders.values())

    def seeders(self, now_ms: int) -> int:
        """Return how many Peers have something that is missing and may be asked."""
        return sum(
            it.rests_until_ms <= now_ms and bool(it.have & self._missing)
            for it in self._seeders.values()
        )

    def wakes_ms(self, now_ms: int) -> int | None:
        """Return when the next Peer has rested, or ``None`` when nobody does."""
        later = [it.rests_until_ms for it in self._seeders.values() if it.rests_until_ms > now_ms]
        return min(later, default=None)

    # --- what to ask ------------------------------------------------------------------------

    def ask(self, peer: AuthorKey, most: int, now_ms: int) -> list[Ask]:
        """Return up to ``most`` Pieces to ask of ``peer`` now; they are open from here on."""
        seeder = self._seeders.get(peer)
        if seeder is None or not self._may_ask(seeder, now_ms):
            return []
        asks: list[Ask] = []
        room = PIECES_OPEN_MAX - sum(len(it.open) for it in self._seeders.values())
        while len(asks) < min(most, room):
            number = self._next(peer, seeder, now_ms)
            if number is None:
                break
            asks.append(self._open(peer, seeder, number, now_ms))
        return asks

    def _may_ask(self, seeder: _Seeder, now_ms: int) -> bool:
        if seeder.rests_until_ms > now_ms:
            return False
        active = sum(bool(it.open) for it in self._seeders.values())
        if not seeder.open and active >= SEEDERS_ACTIVE_MAX:
            return False
        return not seeder.is_relayed or not any(
            not it.is_relayed and it.rests_until_ms <= now_ms and it.have & self._missing
            for it in self._seeders.values()
        )

    def _next(self, peer: AuthorKey, seeder: _Seeder, now_ms: int) -> int | None:
        able = self._free & seeder.have
        if able:
            return self._choose(peer, able)
        return None if self._is_askable(now_ms) else self._second(peer, seeder, now_ms)

    def _choose(self, peer: AuthorKey, able: int) -> int:
        for number, (sender, _) in self._broken.items():
            if sender == peer and able >> number & 1:
                return number
        if self.is_in_order:
            return _lowest(able)
        # The rarest: of each binary digit of the counts, from the highest one, 0 rather than 1.
        for plane in reversed(self._planes):
            able = able & ~plane or able
        return self._any_of(able)

    def _any_of(self, pieces: int) -> int:
        """Return any one of a set that is not empty."""
        width = pieces.bit_length()
        drawn = self._chance.bytes(32)
        for at in range(0, len(drawn), 4):
            number = int.from_bytes(drawn[at : at + 4], "big") % width
            if pieces >> number & 1:
                return number
        # A thin set: the next one from a place drawn, which is near enough to any one.
        upper = pieces >> number << number
        return _lowest(upper or pieces)

    def _is_askable(self, now_ms: int) -> bool:
        """Say whether somebody may be asked for something that is asked of nobody."""
        return any(
            it.rests_until_ms <= now_ms and it.have & self._free for it in self._seeders.values()
        )

    def _second(self, peer: AuthorKey, seeder: _Seeder, now_ms: int) -> int | None:
        """Return the open Piece that ``peer`` would bring soonest before who was asked first."""
        best, best_gain = None, 0
        for number, askers in self._askers.items():
            if len(askers) > 1 or askers[0] == peer or not seeder.have >> number & 1:
                continue
            first = self._seeders[askers[0]]
            theirs = self._arrives_ms(first, number, now_ms)
            size = self._layout.length(number) * (len(seeder.open) + 1)
            ours = seeder.pace.needs_ms(size)
            if theirs is None:
                gain = REST_MS
            elif ours is None:
                gain = 1 if theirs > SECOND_MS else 0
            else:
                gain = theirs - ours
            if gain > best_gain:
                best, best_gain = number, gain
        return best

    def _arrives_ms(self, seeder: _Seeder, number: int, now_ms: int) -> int | None:
        """Return in how long a Peer will have brought one of its Pieces; ``None``: who knows."""
        if now_ms - seeder.pace.heard_ms >= _QUIET_MS:
            return None
        before = 1 + sum(at < seeder.open[number] for at in seeder.open.values())
        return seeder.pace.needs_ms(self._layout.length(number) * before)

    def _open(self, peer: AuthorKey, seeder: _Seeder, number: int, now_ms: int) -> Ask:
        seeder.open[number] = now_ms
        self._free &= ~(1 << number)
        askers = self._askers.setdefault(number, [])
        askers.append(peer)
        assert len(askers) <= 2
        sender, held = self._broken.get(number, (peer, b""))
        return Ask(number, held if sender == peer else b"")

    # --- what came of it --------------------------------------------------------------------

    def came(self, peer: AuthorKey, number: int) -> bool:
        """Take note that a Piece came whole; ``False`` when it need not be looked at."""
        if not self._close(peer, number):
            return False
        if (seeder := self._seeders.get(peer)) is not None:
            seeder.busy = 0
        if number in self._checked or not self._missing >> number & 1:
            return False
        self._free &= ~(1 << number)
        self._checked.add(number)
        return True

    def good(self, number: int) -> tuple[AuthorKey, ...]:
        """Note that a Piece is here; return of whom it is open, to be cancelled."""
        self._checked.discard(number)
        self._missing &= ~(1 << number)
        self._free &= ~(1 << number)
        self._broken.pop(number, None)
        others = tuple(self._askers.get(number, ()))
        for peer in others:
            self._close(peer, number)
        self._free &= ~(1 << number)
        return others

    def wrong(self, peer: AuthorKey, number: int) -> None:
        """Note that a Piece was not what it should be: it is missing, and its sender is out."""
        self.unwritten(number)
        self.ban(peer)

    def unwritten(self, number: int) -> None:
        """Note that a Piece that came was not kept, by nobody's fault."""
        self._checked.discard(number)
        if self._missing >> number & 1 and number not in self._askers:
            self._free |= 1 << number

    def busy(self, peer: AuthorKey, number: int, retry_ms: int, now_ms: int) -> None:
        """Note that a Peer will not send a Piece now; it rests as long as it said, or longer."""
        self._close(peer, number)
        if (seeder := self._seeders.get(peer)) is None:
            return
        if seeder.rests_until_ms <= now_ms:  # several answers of one refusal count once
            seeder.busy += 1
        patience_ms = _BUSY_MS_LEAST << min(seeder.busy, 7)
        rest_ms = min(max(retry_ms, patience_ms), _BUSY_MS_MOST)
        seeder.rests_until_ms = max(seeder.rests_until_ms, now_ms + rest_ms)

    def denied(self, peer: AuthorKey, number: int) -> None:
        """Note that a Peer has not got a Piece it said it has."""
        self._close(peer, number)
        if (seeder := self._seeders.get(peer)) is None:
            return
        seeder.have &= ~(1 << number)
        seeder.denials += 1
        if seeder.denials >= _DENIALS:
            self.ban(peer)
        else:
            self._count()

    # --- inside -----------------------------------------------------------------------------

    def _give_back(self, peer: AuthorKey, broken: Mapping[int, bytes]) -> None:
        for number, held in broken.items():
            if held and self._missing >> number & 1 and number in self._seeders[peer].open:
                self._broken[number] = (peer, held)
        while len(self._broken) > PIECES_BROKEN_MAX:
            del self._broken[next(iter(self._broken))]
        for number in tuple(self._seeders[peer].open):
            self._close(peer, number)

    def _close(self, peer: AuthorKey, number: int) -> bool:
        """Let a Piece be open of ``peer`` no more; ``False`` when it was not."""
        seeder = self._seeders.get(peer)
        if seeder is None or seeder.open.pop(number, None) is None:
            return False
        askers = self._askers[number]
        askers.remove(peer)
        if not askers:
            del self._askers[number]
            if number not in self._checked and self._missing >> number & 1:
                self._free |= 1 << number
        return True

    def _count(self) -> None:
        """Count for each Piece how many have it: a sum of sets, digit by digit."""
        self._planes = []
        for it in self._seeders.values():
            carry = it.have
            for at, plane in enumerate(self._planes):
                self._planes[at], carry = plane ^ carry, plane & carry
            if carry:
                self._planes.append(carry)


def numbers_of(pieces: int) -> Iterable[int]:
    """Yield the numbers in a set of Pieces, the lowest first."""
    while pieces:
        lowest = pieces & -pieces
        yield lowest.bit_length() - 1
        pieces ^= lowest


def _lowest(pieces: int) -> int:
    return (pieces & -pieces).bit_length() - 1
