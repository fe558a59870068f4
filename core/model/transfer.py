"""Values of a transfer: what of a Release is wanted, what of an object is there.

An object is named by the root of its tree and its size (``ledger.md`` section 8); so is a layer of
hashes.  Nothing here says where bytes lie or who has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Of the transfers that wait the lowest number goes first, then the oldest.
PRIORITY_NOW: Final = 0
PRIORITY_ASKED: Final = 1
PRIORITY_SEED: Final = 9


@unique
class Reason(Enum):
    """Why a Release is fetched; it says whose its files are then."""

    ASKED = "asked"
    TRIAL = "trial"
    ORDER = "order"
    SEED = "seed"  # for a seller one follows
    HEAL = "heal"  # what rotted or went missing


@unique
class HashLayer(IntEnum):
    """Which layer of an object's tree; the numbers stand on the wire."""

    PIECES = 0
    LEAVES = 1


@dataclass(frozen=True, slots=True)
class SmallWanted:
    """A small object to fetch; without a ``is_needed`` one the Release is of no use."""

    sha256: bytes
    bytes_max: int
    is_needed: bool


@dataclass(frozen=True, slots=True)
class ObjectWanted:
    """A file to fetch Piece by Piece, as it travels."""

    root: bytes
    size: int


@dataclass(frozen=True, slots=True)
class HashesWanted:
    """``count`` hashes of one layer, from ``first`` on; 32 bytes for each."""

    root: bytes
    size: int
    layer: HashLayer
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Have:
    """Which Pieces of an object somebody has; ``bits`` is None for all of them."""

    bits: bytes | None


@dataclass(frozen=True, slots=True)
class SeededView:
    """One Artifact that is held and what it cost and gave, in bytes.

    ``ratio_milli`` is what went out for each thousand bytes that came in, None when none did.
    """

    artifact: bytes
    release: bytes | None
    title: str
    version: str
    whose: str
    held_bytes: int
    in_bytes: int
    out_bytes: int
    ratio_milli: int | None
    last_seeded_ms: int | None


@dataclass(frozen=True, slots=True)
class SeedingView:
    """All that is held, and how much of the quota for others it takes."""

    rows: tuple[SeededView, ...]
    quota_bytes: int
    others_bytes: int
    in_bytes: int
    out_bytes: int
    is_seeding_followed: bool


class Bitmap:
    """A set of numbers from 0 to ``count`` - 1: bit i of byte n stands for 8 n + i."""

    __slots__ = ("_bits", "_set", "count")

    def __init__(self, count: int, raw: bytes | None = None) -> None:
        """Begin with nothing set, or with ``raw``, whose length must fit and whose spare bits be 0.

        Raises ``ValueError`` for bytes that are no such set.
        """
        size = bitmap_size(count)
        bits = bytearray(size) if raw is None else bytearray(raw)
        if len(bits) != size:
            raise ValueError(f"a set of {count} has {size} bytes, not {len(bits)}")
        if count % 8 and bits[-1] >> count % 8:
            raise ValueError(f"bits are set behind the {count} there are")
        self.count = count
        self._bits = bits
        self._set = int.from_bytes(bits, "big").bit_count()

    @classmethod
    def full(cls, count: int) -> Bitmap:
        """Make a set of all numbers."""
        found = cls(count)
        found.add_all(range(count))
        return found

    def __contains__(self, number: int) -> bool:
        """Say whether ``number`` is set; what is out of range is not."""
        return 0 <= number < self.count and bool(self._bits[number >> 3] & 1 << (number & 7))

    def __len__(self) -> int:
        """Return how many are set."""
        return self._set

    def __bytes__(self) -> bytes:
        """Return the bits as they travel and are kept."""
        return bytes(self._bits)

    def add(self, number: int) -> None:
        """Set one."""
        assert 0 <= number < self.count
        if number not in self:
            self._bits[number >> 3] |= 1 << (number & 7)
            self._set += 1

    def add_all(self, numbers: Iterable[int]) -> None:
        """Set several."""
        for number in numbers:
            self.add(number)

    def discard(self, number: int) -> None:
        """Clear one."""
        if number in self:
            self._bits[number >> 3] &= ~(1 << (number & 7))
            self._set -= 1

    @property
    def is_full(self) -> bool:
        """Say whether all are set."""
        return self._set == self.count

    def missing(self) -> Iterator[int]:
        """Yield those that are not set, in order."""
        return (number for number in range(self.count) if number not in self)

    def copy(self) -> Bitmap:
        """Return the same set, apart from this one."""
        return Bitmap(self.count, bytes(self._bits))


def bitmap_size(count: int) -> int:
    """Return how many bytes a set of ``count`` numbers takes."""
    return -(-count // 8)
