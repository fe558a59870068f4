"""A suite of checks, as data: what is tried, how hard, and for how long.

* A suite is frozen once it is released; its SHA-256 is over the bytes of its file.
* Figures compare only under one suite and on one data set.
* A check is left out of a run only with a recorded reason.

What a check does is ``hanse.core.certify.checks``'s; which suites exist, ``hanse.core.attest``'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

CheckId = Annotated[str, msgspec.Meta(max_length=60, pattern=r"^[a-z]+(\.[a-z0-9_*]+)+\Z")]


class SuitePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of a suite is: a JSON map without unknown fields."""


class Bounds(SuitePart, frozen=True, kw_only=True):
    """How long one check may take: seconds by the clock, and of the processor."""

    wall_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)]
    cpu_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)]


class SuiteCheck(SuitePart, frozen=True, kw_only=True):
    """One check: the Level it belongs to, whole-number parameters, and its bounds."""

    id: CheckId
    level: Literal[1, 2, 3]
    params: dict[str, int] = {}
    bounds: Bounds


class SuiteData(SuitePart, frozen=True, kw_only=True):
    """What the file of a suite holds."""

    id: Annotated[str, msgspec.Meta(max_length=24, pattern=r"^[a-z][a-z0-9-]*\Z")]
    version: Annotated[str, msgspec.Meta(max_length=15, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+\Z")]
    checks: Annotated[tuple[SuiteCheck, ...], msgspec.Meta(min_length=1, max_length=256)]
    superseded_by: str | None = None


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A suite and the hash of the bytes it was read from."""

    data: SuiteData
    sha256: bytes

    @property
    def name(self) -> str:
        """Return id and version, such as ``core/1.0.0``."""
        return f"{self.data.id}/{self.data.version}"

    def check(self, check_id: str) -> SuiteCheck | None:
        """Return the check of this id; ``quality.accuracy`` is found as ``quality.*``."""
        wild = check_id.partition(".")[0] + ".*"
        found = (one for one in self.data.checks if one.id in (check_id, wild))
        return next(found, None)
