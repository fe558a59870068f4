"""What a certification job came to, as it is kept until somebody signs it, or for ever.

* Everything measured is kept, also figures on a person's own data, which never leave by
  themselves: ``public_part`` is what may be signed.
* It is this folder's own and not signed; nothing here is evidence to anybody else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hanse.core.attest.levels import allowed_level
from hanse.core.ledger.codec import decode, encode
from hanse.core.model.certificate import Measured, Reproduces  # noqa: TC001  read by type

if TYPE_CHECKING:
    from hanse.core.model.suite import Suite


@dataclass(frozen=True, slots=True)
class Tested:
    """What was measured, the hash of the golden vectors kept here, and what was reproduced."""

    measured: Measured
    golden: bytes | None
    reproduces: Reproduces | None = None


def encode_tested(tested: Tested) -> bytes:
    """Return the bytes a job keeps."""
    return encode(tested)


def read_tested(raw: bytes) -> Tested:
    """Read what ``encode_tested`` wrote, or raise ``RejectedEntry``."""
    return decode(raw, Tested)


def public_part(measured: Measured, suite: Suite) -> Measured:
    """Leave out what was measured on private data; the Level is what the rest allows.

    A check of quality that rests on private rows alone goes with them.
    """
    rows = tuple(row for row in measured.quality if row.is_public)
    if len(rows) == len(measured.quality):
        return measured
    kept = {f"quality.{row.metric}" for row in rows}
    checks = tuple(
        one for one in measured.checks if not one.id.startswith("quality.") or one.id in kept
    )
    level = allowed_level(suite, checks, rows, measured.isolation)
    return replace(measured, quality=rows, checks=checks, level=level)
