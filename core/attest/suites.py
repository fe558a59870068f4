"""The suites this program knows, by name and by the hash of their bytes.

* Suites are files in ``resources/suites``; one that was released is never changed again.
* A suite is what its SHA-256 says: a Certificate that names other bytes under a known name is
  under an unknown suite, and counts for nothing.
* ``superseded_by`` marks a version that is not to be used any more; it stays readable, so that
  what was measured under it can still be looked at.

What a check does, and how it is run, is ``hanse.core.certify``'s.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec

from hanse.core.errors import VerificationFailed, WrongUse
from hanse.core.limits import SUITE_SIZE_BYTES_MAX
from hanse.core.model.suite import Suite, SuiteData

if TYPE_CHECKING:
    from collections.abc import Iterable


class BadSuite(VerificationFailed):
    """The bytes are no suite of checks; ``where`` says at which place."""

    code = "suite.bad"

    def __init__(self, where: str, reason: str) -> None:
        """Name the place and what is wrong there."""
        super().__init__(where=where, reason=reason)


class SuiteNotHere(WrongUse):
    """A suite was asked for that this program does not have."""

    code = "suite.not_here"
    text = "no suite {name} here; known: {known}"
    fields = ("name", "known")


def read_suite(raw: bytes) -> Suite:
    """Read the file of one suite, or raise ``BadSuite``; its hash is over the bytes given."""
    if len(raw) > SUITE_SIZE_BYTES_MAX:
        raise BadSuite("$", f"{len(raw)} bytes, limit {SUITE_SIZE_BYTES_MAX}")
    try:
        data = msgspec.json.decode(raw, type=SuiteData)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason, _, where = str(error).partition(" - at ")
        raise BadSuite(where.strip("`") or "$", reason) from error
    ids = [one.id for one in data.checks]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise BadSuite("$.checks", f"{twice[0]} stands twice")
    return Suite(data=data, sha256=sha256(raw).digest())


@dataclass(frozen=True, slots=True)
class SuiteIndex:
    """The suites a program knows."""

    suites: tuple[Suite, ...]

    def by_sha256(self, digest: bytes) -> Suite | None:
        """Return the suite with these bytes; ``None`` when it is unknown here."""
        return next((one for one in self.suites if one.sha256 == digest), None)

    def named(self, name: str) -> Suite | None:
        """Return the suite of this name, such as ``core/1.0.0``."""
        return next((one for one in self.suites if one.name == name), None)

    def newest(self, suite_id: str) -> Suite:
        """Return the highest version that nothing supersedes, or raise ``SuiteNotHere``."""
        usable = [
            one for one in self.suites if one.data.id == suite_id and one.data.superseded_by is None
        ]
        if not usable:
            known = tuple(sorted(one.name for one in self.suites))
            raise SuiteNotHere(name=suite_id, known=known)
        return max(usable, key=_version)


def index_suites(suites: Iterable[Suite]) -> SuiteIndex:
    """Put suites into an index; raise ``BadSuite`` when one name stands for two."""
    held = tuple(sorted(suites, key=lambda one: one.name))
    for left, right in itertools.pairwise(held):
        if left.name == right.name:
            raise BadSuite("$.version", f"{left.name} stands for two suites")
    return SuiteIndex(held)


@cache
def bundled() -> SuiteIndex:
    """Return the suites that came with this program; read once for each process."""
    folder = files("hanse.resources").joinpath("suites")
    if not folder.is_dir():
        return SuiteIndex(())
    return index_suites(
        read_suite(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".json")
    )


def _version(suite: Suite) -> tuple[int, ...]:
    return tuple(int(part) for part in suite.data.version.split("."))
