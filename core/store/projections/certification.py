"""What was found of Artifacts, what was taken back of it, and what people think of Releases.

* A Certificate whose envelope does not verify, or whose index is not what its statement says,
  is no row: its Entry is void.
* A suite this program does not know makes a row that is not ``known`` and counts for nothing.
  Another program may know it, so the suites are part of the version.
* A revocation may name anything; it counts for a Certificate of the same Identity only, which
  is joined where it is read.  So it does not matter which of the two came first.
* Of what one Identity says of one Release and its Artifact the newest review counts.

What these come to together is ``hanse.core.store.catalogue``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.attest.faults import BadStatement
from hanse.core.attest.suites import bundled
from hanse.core.attest.verifying import UnknownSuite, index_of_body, verify_envelope
from hanse.core.ledger.codec import encode
from hanse.core.ledger.kinds import Cert1, CertRevoke1, HumanReview1
from hanse.core.store.certification_tables import cert_revocations, certificates, human_reviews
from hanse.core.store.projections.fold import FoldItem, Key, Values, is_newest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.model.certificate import Statement

_VERSION: Final = 1
_QUALITY: Final = "quality."
_FAIL: Final = "fail"


class Certificates:
    """Every Certificate that holds, with what lists and counts need of its statement."""

    name = "certificates"
    kinds = frozenset({"cert/1"})
    table = certificates

    @property
    def version(self) -> int:
        """Return another number wherever another suite is known."""
        known = sorted(suite.sha256 for suite in bundled().suites)
        digest = sha256(encode([_VERSION, known])).digest()
        return int.from_bytes(digest[:4], "big")

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name the Certificate: it has the id of its Entry."""
        return ((item.entry_id, item.identity),)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """There is one Entry to a row, and none to a Certificate that does not hold."""
        body = item.body
        if row is not None or not isinstance(body, Cert1):
            return row
        is_known = True
        try:
            statement = verify_envelope(
                body.envelope,
                item.author,
                index=index_of_body(body),
                suites=bundled(),
                manifest=None,
            )
        except UnknownSuite as unknown:
            statement, is_known = unknown.statement, False
        except BadStatement:
            return None
        cert, identity = key
        return {
            "cert": cert,
            "identity": identity,
            "author": item.author,
            "seq": item.seq,
            "time_ms": item.time_ms,
            "known": is_known,
            **_stated(statement),
        }


def _stated(statement: Statement) -> Values:
    measured = statement.measured
    golden, runtime, memory = measured.golden, measured.runtime, measured.memory
    reproduces = statement.reproduces
    single = next((row for row in measured.perf if (row.batch, row.threads) == (1, 1)), None)
    return {
        "artifact": statement.artifact,
        "release": statement.release,
        "suite": measured.suite,
        "suite_sha256": measured.suite_sha256,
        "level": statement.level,
        "outcome": measured.outcome,
        "role": statement.role,
        "golden": None if golden is None else golden.sha256,
        "golden_size": None if golden is None else golden.size,
        "reproduces": None if reproduces is None else reproduces.entry,
        "verdict": None if reproduces is None else reproduces.verdict,
        "quality_failed": any(
            one.result == _FAIL and one.id.startswith(_QUALITY) for one in measured.checks
        ),
        "isolation": measured.isolation.grade,
        "machine_class": measured.machine.machine_class,
        "runtime": None if runtime is None else f"{runtime.name} {runtime.version}",
        "p50_ns": None if single is None else single.p50,
        "peak_kib": None if memory is None else memory.peak_kib,
        "finished_ms": measured.finished_ms,
    }


class CertRevocations:
    """What Identities took back; whether it was theirs is looked at where it is read."""

    name = "cert_revocations"
    version = 1
    kinds = frozenset({"cert-revoke/1"})
    table = cert_revocations

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name the Certificate."""
        body = item.body
        return ((body.cert, item.identity),) if isinstance(body, CertRevoke1) else ()

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Newest wins: one that was taken back stays so, but the reason may be put right."""
        if not is_newest(row, item):
            return row
        body = item.body
        assert isinstance(body, CertRevoke1)
        return {
            "cert": key[0],
            "identity": key[1],
            "entry": item.entry_id,
            "time_ms": item.time_ms,
            "author": item.author,
            "seq": item.seq,
            "reason": body.reason,
            "text": body.text,
        }


class HumanReviews:
    """What each Identity thinks of each Release, as it last said of this Artifact."""

    name = "human_reviews"
    version = 1
    kinds = frozenset({"human-review/1"})
    table = human_reviews

    def keys(self, item: FoldItem) -> Iterable[Key]:
        """Name the Release and the Artifact it was looked at as."""
        body = item.body
        if not isinstance(body, HumanReview1):
            return ()
        return ((body.release, body.artifact, item.identity),)

    def fold(self, key: Key, row: Values | None, item: FoldItem) -> Values | None:
        """Newest wins, whatever it says it supersedes."""
        if not is_newest(row, item):
            return row
        body = item.body
        assert isinstance(body, HumanReview1)
        release, artifact, identity = key
        return {
            "release": release,
            "artifact": artifact,
            "identity": identity,
            "entry": item.entry_id,
            "time_ms": item.time_ms,
            "author": item.author,
            "seq": item.seq,
            "verdict": body.verdict,
            "conflict": body.conflict,
            "paid_by": body.paid_by,
            "tried": b"".join(body.tried),
            "supersedes": body.supersedes,
            "points": encode(body.points),
            "notes": body.notes,
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """What Entries may change something about: Artifacts, Certificates, Releases, by id."""

    artifacts: set[bytes] = field(default_factory=set)
    certs: set[bytes] = field(default_factory=set)
    releases: set[bytes] = field(default_factory=set)

    def __or__(self, other: Judged) -> Judged:
        return Judged(
            self.artifacts | other.artifacts,
            self.certs | other.certs,
            self.releases | other.releases,
        )


def judged_by(items: Iterable[FoldItem]) -> Judged:
    """Return what Entries say something about that was found, taken back or thought of it."""
    found = Judged()
    for item in items:
        match item.body:
            case Cert1(artifact=artifact):
                found.artifacts.add(artifact)
            case CertRevoke1(cert=cert):
                found.certs.add(cert)
            case HumanReview1(release=release):
                found.releases.add(release)
            case _:
                pass
    return found
