"""Hints that travel by gossip: a new Head, or a Fork (network.md 8).

* ``hanse/heads/1`` is DAG-CBOR ``[1, H, sig]``: the newest Header of the sender's own Feed, with
  its signature.  ``hanse/forks/1`` is a Fork proof.
* A hint proves that somebody signed it and nothing else: whoever wants the Entries asks for them.
* At most 2 KiB; of one author at most one hint in ten seconds is passed on, so that nobody's
  signature can fill the mesh.

Losing every hint costs time, never data.  Who forwarded one is not known here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.entry import CheckedEntry, check_entry, parse_entry
from hanse.core.ledger.forks import Fork, check_fork
from hanse.core.limits import (
    HEADER_SIZE_BYTES_MAX,
    HINT_AUTHORS_REMEMBERED_MAX,
    HINT_SIZE_BYTES_MAX,
    SIGNATURE_SIZE_BYTES,
)

if TYPE_CHECKING:
    from hanse.core.model.network import SentEntry

HEADS_TOPIC: Final = "hanse/heads/1"
FORKS_TOPIC: Final = "hanse/forks/1"
_VERSION: Final = 1
AUTHOR_INTERVAL_MS: Final = 10_000
SEND_INTERVAL_MS: Final = 30_000  # between two hints of one Device, in a small network
SEND_INTERVAL_PER_DEVICE_MS: Final = 200  # and for each Device that is active in a large one

_HeaderBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=HEADER_SIZE_BYTES_MAX)]
_Signature = Annotated[
    bytes, msgspec.Meta(min_length=SIGNATURE_SIZE_BYTES, max_length=SIGNATURE_SIZE_BYTES)
]


class _Hint(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    header: _HeaderBytes
    sig: _Signature


def write_hint(entry: SentEntry) -> bytes:
    """Write the hint for a Head."""
    return encode([_VERSION, entry.header, entry.sig])


def read_hint(raw: bytes) -> CheckedEntry:
    """Read a hint and check its signature, or raise ``RejectedEntry``."""
    if len(raw) > HINT_SIZE_BYTES_MAX:
        raise RejectedEntry("too_big", f"hint of {len(raw)} bytes, limit {HINT_SIZE_BYTES_MAX}")
    hint = decode(raw, _Hint)
    if hint.version != _VERSION:
        raise RejectedEntry("version", f"hint {hint.version}, known {_VERSION}")
    return check_entry(parse_entry(hint.header, hint.sig))


def read_fork_hint(raw: bytes) -> Fork:
    """Read a Fork proof from gossip and check it, or raise ``RejectedEntry``."""
    return check_fork(raw)


def send_interval_ms(active_devices: int) -> int:
    """Return how long a Device waits between two of its hints.

    The whole network carries about five hints a second (network.md 8).
    """
    return max(SEND_INTERVAL_MS, active_devices * SEND_INTERVAL_PER_DEVICE_MS)


@dataclass(slots=True)
class HintRates:
    """Says which hints are passed on: one of an author in ten seconds, and no older one again."""

    _last: OrderedDict[bytes, tuple[int, int]] = field(default_factory=OrderedDict)

    def may_pass(self, author: bytes, seq: int, now_ms: int) -> bool:
        """Note a hint whose signature holds; say whether it is news and not too soon."""
        before = self._last.get(author)
        if before is not None:
            at_ms, newest = before
            if seq <= newest or now_ms - at_ms < AUTHOR_INTERVAL_MS:
                return False
        self._last[author] = (now_ms, seq)
        self._last.move_to_end(author)
        while len(self._last) > HINT_AUTHORS_REMEMBERED_MAX:
            self._last.popitem(last=False)
        return True

    def active(self, now_ms: int, within_ms: int = 60 * 60 * 1000) -> int:
        """Count the authors heard of lately."""
        return sum(now_ms - at_ms <= within_ms for at_ms, _ in self._last.values())
