"""What is kept for others, and what goes when it becomes too much.

* Only content that is held to seed it for others counts and may go; own, bought, on
  trial or in an open Order never does, also when others want the same file.
* The least recently seeded goes first; of two, the larger; of two of a size, by root.
* One file is counted once, however many Artifacts have it.

Nothing here touches a file, a database or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING

from hanse.core.errors import Refused
from hanse.core.limits import OTHERS_CONTENT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable


class QuotaFull(Refused):
    """Content of others is not taken: it does not fit, whatever is dropped."""

    code = "content.quota"
    text = "{need_bytes} of others' content do not fit into {most_bytes}"
    fields = ("need_bytes", "most_bytes")


@unique
class Whose(Enum):
    """Why an object is held."""

    OWN = "own"
    BOUGHT = "bought"
    TRIAL = "trial"
    ORDER = "order"
    OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Held:
    """One reason to hold one object; an object may be held for several."""

    root: bytes
    size: int
    whose: Whose
    last_seeded_ms: int


def choose_drops(
    held: Iterable[Held], most_bytes: int = OTHERS_CONTENT_BYTES_MAX
) -> tuple[Held, ...]:
    """Choose what to drop so that others' content fits into ``most_bytes``."""
    seeded = _held_for_others(held)
    too_much = sum(size for _, size in seeded) - most_bytes
    drops: list[Held] = []
    for one in sorted(seeded.values(), key=lambda it: (it.last_seeded_ms, -it.size, it.root)):
        if too_much <= 0:
            break
        drops.append(one)
        too_much -= one.size
    return tuple(drops)


def check_room(
    held: Iterable[Held], coming_bytes: int, most_bytes: int = OTHERS_CONTENT_BYTES_MAX
) -> tuple[Held, ...]:
    """Choose what to drop so that ``coming_bytes`` more fit, or raise ``QuotaFull``."""
    if coming_bytes > most_bytes:
        raise QuotaFull(need_bytes=coming_bytes, most_bytes=most_bytes)
    return choose_drops(held, most_bytes - coming_bytes)


def _held_for_others(held: Iterable[Held]) -> dict[tuple[bytes, int], Held]:
    """Return what is held for others alone, each object once, with its last seeding."""
    seeded: dict[tuple[bytes, int], Held] = {}
    kept: set[tuple[bytes, int]] = set()
    for one in held:
        name = (one.root, one.size)
        if one.whose is not Whose.OTHERS:
            kept.add(name)
        elif name not in seeded or seeded[name].last_seeded_ms < one.last_seeded_ms:
            seeded[name] = one
    return {name: one for name, one in seeded.items() if name not in kept}
