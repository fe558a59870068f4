"""Asking about Certificates, what was taken back, and what people think of Releases.

* A Certificate is shown with its revocation, if its own Identity revoked it.
* One *counts* when its suite is known here, it was not revoked, and its Identity has no newer
  one of this Artifact that counts.  What came of running another one again counts where that
  is of another Identity, of the same Artifact, held, known and not revoked.
* Lists come in pages, the newest first, which go on by key.
* The full statement is not kept twice: it is read again from the Body of the Entry.

What the counts come to is ``hanse.core.store.catalogue``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    case,
    func,
    select,
    true,
    tuple_,
)

from hanse.core.ledger.codec import decode
from hanse.core.ledger.kinds import ReviewPoint
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.store.certification_tables import cert_revocations, certificates, human_reviews
from hanse.core.store.projections import read_hashes
from hanse.core.store.tables import releases

if TYPE_CHECKING:
    from typing import Any

    from hanse.core.model.certificate import Outcome, Role, Verdict
    from hanse.core.model.running import Grade
    from hanse.core.store.feed_rows import AnyRow

CERTIFICATES_PER_PAGE: Final = 50
REVIEWS_PER_PAGE: Final = 50

ReviewVerdict = Literal["approve", "object", "abstain"]
Conflict = Literal["none", "customer", "colleague", "paid", "other"]
PageKey = tuple[int, bytes]  # time_ms, id of the Entry
_LAST: Final[PageKey] = (2**63 - 1, b"")

_REVOKED: Final = and_(
    cert_revocations.c.cert == certificates.c.cert,
    cert_revocations.c.identity == certificates.c.identity,
)
_COUNTS: Final = and_(
    certificates.c.known.is_(true()),
    ~select(cert_revocations.c.cert).where(_REVOKED).correlate(certificates).exists(),
)
# A verdict is about somebody else's Certificate of this Artifact that could count itself.
_other: Final = certificates.alias("other")
_ABOUT_OTHER: Final = (
    select(_other.c.cert)
    .where(
        _other.c.cert == certificates.c.reproduces,
        _other.c.identity != certificates.c.identity,
        _other.c.artifact == certificates.c.artifact,
        _other.c.known.is_(true()),
        ~select(cert_revocations.c.cert)
        .where(
            cert_revocations.c.cert == _other.c.cert,
            cert_revocations.c.identity == _other.c.identity,
        )
        .correlate(_other)
        .exists(),
    )
    .correlate(certificates)
    .exists()
)
_REVOCATION: Final = ("entry", "time_ms", "reason", "text")
_WITH_REVOCATION: Final = select(
    *certificates.columns,
    *(cert_revocations.c[name].label(f"revoked_{name}") for name in _REVOCATION),
).outerjoin(cert_revocations, _REVOKED)
_NEWEST: Final = (certificates.c.time_ms.desc(), certificates.c.cert.desc())
_PAGE: Final = (
    _WITH_REVOCATION.where(
        tuple_(certificates.c.time_ms, certificates.c.cert)
        < tuple_(bindparam("before_ms"), bindparam("before"))
    )
    .order_by(*_NEWEST)
    .limit(bindparam("limit"))
)

CERT_OF_ID: Final = _WITH_REVOCATION.where(certificates.c.cert == bindparam("cert"))
CERTS_BETWEEN: Final = (
    select(certificates.c.cert)
    .where(certificates.c.cert.between(bindparam("low"), bindparam("high")))
    .order_by(certificates.c.cert)
    .limit(bindparam("limit"))
)
CERTS_OF_ARTIFACT: Final = _PAGE.where(certificates.c.artifact == bindparam("of"))
CERTS_OF_RELEASE: Final = _PAGE.where(certificates.c.release == bindparam("of"))
CERTS_BY_IDENTITY: Final = _PAGE.where(certificates.c.identity == bindparam("of"))
REPRODUCTIONS: Final = _PAGE.where(certificates.c.reproduces == bindparam("of"))
NEWEST_BY: Final = (
    _WITH_REVOCATION.where(
        certificates.c.artifact == bindparam("artifact"),
        certificates.c.identity == bindparam("identity"),
        _COUNTS,
    )
    .order_by(
        certificates.c.time_ms.desc(), certificates.c.author.desc(), certificates.c.seq.desc()
    )
    .limit(1)
)
IS_GOLDEN: Final = (
    select(certificates.c.cert).where(certificates.c.golden == bindparam("golden")).limit(1)
)
_PLACED: Final = (
    select(
        certificates.c.artifact,
        certificates.c.identity,
        certificates.c.cert,
        certificates.c.level,
        certificates.c.outcome,
        case((_ABOUT_OTHER, certificates.c.verdict), else_=None).label("verdict"),
        certificates.c.quality_failed,
        func.lead(certificates.c.cert)
        .over(
            partition_by=(certificates.c.artifact, certificates.c.identity),
            order_by=(certificates.c.time_ms, certificates.c.author, certificates.c.seq),
        )
        .label("newer"),
    )
    .where(certificates.c.artifact.in_(bindparam("ids", expanding=True)), _COUNTS)
    .subquery("placed")
)
# Of each Identity the one that counts, of each Artifact.
COUNTING: Final = select(_PLACED).where(_PLACED.c.newer.is_(None))
ARTIFACTS_OF_CERTS: Final = select(certificates.c.artifact).where(
    certificates.c.cert.in_(bindparam("ids", expanding=True))
)
ARTIFACTS_OF_IDENTITY: Final = select(certificates.c.artifact).where(
    certificates.c.identity == bindparam("identity")
)
ARTIFACT_OF_RELEASE: Final = (
    select(releases.c.artifact).where(releases.c.release == bindparam("release")).limit(1)
)
REVIEWS_OF: Final = (
    select(human_reviews)
    .where(
        human_reviews.c.release == bindparam("release"),
        human_reviews.c.artifact == bindparam("artifact"),
        tuple_(human_reviews.c.time_ms, human_reviews.c.entry)
        < tuple_(bindparam("before_ms"), bindparam("before")),
    )
    .order_by(human_reviews.c.time_ms.desc(), human_reviews.c.entry.desc())
    .limit(bindparam("limit"))
)
REVIEWS_BY_IDENTITY: Final = (
    select(human_reviews)
    .where(
        human_reviews.c.identity == bindparam("identity"),
        tuple_(human_reviews.c.time_ms, human_reviews.c.entry)
        < tuple_(bindparam("before_ms"), bindparam("before")),
    )
    .order_by(human_reviews.c.time_ms.desc(), human_reviews.c.entry.desc())
    .limit(bindparam("limit"))
)
REVIEW_BY: Final = select(human_reviews).where(
    human_reviews.c.release == bindparam("release"),
    human_reviews.c.artifact == bindparam("artifact"),
    human_reviews.c.identity == bindparam("identity"),
)
VERDICTS_OF_RELEASES: Final = select(
    human_reviews.c.release,
    human_reviews.c.artifact,
    human_reviews.c.identity,
    human_reviews.c.verdict,
).where(human_reviews.c.release.in_(bindparam("ids", expanding=True)))
RELEASES_REVIEWED_BY: Final = select(human_reviews.c.release).where(
    human_reviews.c.identity == bindparam("identity")
)


@dataclass(frozen=True, slots=True)
class RevocationRow:
    """That a Certificate was taken back by its own Identity, and why."""

    entry: EntryId
    time_ms: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One Certificate as lists show it.

    ``is_known`` says that this program knows its suite.  ``p50_ns`` is the median of one row by
    one thread.  ``quality_failed`` says that a figure fell short of what the card claims.
    """

    cert: EntryId
    identity: IdentityId
    author: AuthorKey
    seq: int
    time_ms: int
    artifact: bytes
    release: EntryId | None
    suite: str
    suite_sha256: bytes
    is_known: bool
    level: int
    outcome: Outcome
    role: Role
    golden: bytes | None
    golden_size: int | None
    reproduces: EntryId | None
    verdict: Verdict | None
    quality_failed: bool
    isolation: Grade
    machine_class: str
    runtime: str | None
    p50_ns: int | None
    peak_kib: int | None
    finished_ms: int
    revocation: RevocationRow | None

    @property
    def place(self) -> PageKey:
        """Return where a page goes on behind this one."""
        return self.time_ms, self.cert


@dataclass(frozen=True, slots=True)
class HumanReviewRow:
    """What one Identity thinks of one Release, as it last said."""

    entry: EntryId
    release: EntryId
    artifact: bytes
    identity: IdentityId
    time_ms: int
    verdict: ReviewVerdict
    conflict: Conflict
    paid_by: str | None
    points: tuple[ReviewPoint, ...]
    notes: str
    tried: tuple[bytes, ...]
    supersedes: EntryId | None

    @property
    def place(self) -> PageKey:
        """Return where a page goes on behind this one."""
        return self.time_ms, self.entry


class CertificateRepository:
    """All Certificates and human reviews held."""

    def __init__(self, connection: Connection) -> None:
        """Read on ``connection``."""
        self._connection = connection

    def get(self, cert: EntryId) -> CertificateRow | None:
        """Return one Certificate; ``None`` also for an Entry that is void."""
        row = self._connection.execute(CERT_OF_ID, {"cert": cert}).first()
        return None if row is None else _certificate(row)

    def between(self, low: bytes, high: bytes, limit: int) -> list[EntryId]:
        """Return the ids of Certificates from ``low`` to ``high``, in order."""
        which = {"low": low, "high": high, "limit": limit}
        return [EntryId(row.cert) for row in self._connection.execute(CERTS_BETWEEN, which)]

    def revocation_of(self, cert: EntryId) -> RevocationRow | None:
        """Return how its own Identity took a Certificate back."""
        held = self.get(cert)
        return None if held is None else held.revocation

    def newest_by(self, identity: IdentityId, artifact: bytes) -> CertificateRow | None:
        """Return the Certificate of an Artifact that counts of one Identity."""
        which = {"identity": identity, "artifact": artifact}
        row = self._connection.execute(NEWEST_BY, which).first()
        return None if row is None else _certificate(row)

    def of_artifact(
        self, artifact: bytes, before: PageKey | None = None, limit: int = CERTIFICATES_PER_PAGE
    ) -> list[CertificateRow]:
        """Return Certificates of an Artifact, whether they count or not.

        ``before`` is the ``place`` of the last one of the page before.
        """
        return self._certificates(CERTS_OF_ARTIFACT, artifact, before, limit)

    def of_release(
        self, release: EntryId, before: PageKey | None = None, limit: int = CERTIFICATES_PER_PAGE
    ) -> list[CertificateRow]:
        """Return Certificates whose statement names a Release."""
        return self._certificates(CERTS_OF_RELEASE, release, before, limit)

    def by_identity(
        self,
        identity: IdentityId,
        before: PageKey | None = None,
        limit: int = CERTIFICATES_PER_PAGE,
    ) -> list[CertificateRow]:
        """Return the Certificates one Identity issued."""
        return self._certificates(CERTS_BY_IDENTITY, identity, before, limit)

    def reproductions_of(
        self, cert: EntryId, before: PageKey | None = None, limit: int = CERTIFICATES_PER_PAGE
    ) -> list[CertificateRow]:
        """Return Certificates that say what came of running one again."""
        return self._certificates(REPRODUCTIONS, cert, before, limit)

    def is_golden(self, digest: bytes) -> bool:
        """Say whether a Certificate held names this Blob as its golden vectors."""
        return self._connection.execute(IS_GOLDEN, {"golden": digest}).first() is not None

    def human_reviews_of(
        self, release: EntryId, before: PageKey | None = None, limit: int = REVIEWS_PER_PAGE
    ) -> list[HumanReviewRow]:
        """Return what people think of a Release held, of each the newest about its Artifact."""
        artifact = self._connection.execute(
            ARTIFACT_OF_RELEASE, {"release": release}
        ).scalar_one_or_none()
        if artifact is None:
            return []
        before_ms, before_id = before or _LAST
        rows = self._connection.execute(
            REVIEWS_OF,
            {
                "release": release,
                "artifact": artifact,
                "before_ms": before_ms,
                "before": before_id,
                "limit": limit,
            },
        )
        return [_review(row) for row in rows]

    def human_review_by(
        self, identity: IdentityId, release: EntryId, artifact: bytes
    ) -> HumanReviewRow | None:
        """Return what one Identity last said of a Release and its Artifact."""
        which = {"identity": identity, "release": release, "artifact": artifact}
        row = self._connection.execute(REVIEW_BY, which).first()
        return None if row is None else _review(row)

    def human_reviews_by(
        self, identity: IdentityId, before: PageKey | None = None, limit: int = REVIEWS_PER_PAGE
    ) -> list[HumanReviewRow]:
        """Return what one Identity last said of each Release."""
        before_ms, before_id = before or _LAST
        rows = self._connection.execute(
            REVIEWS_BY_IDENTITY,
            {"identity": identity, "before_ms": before_ms, "before": before_id, "limit": limit},
        )
        return [_review(row) for row in rows]

    def _certificates(
        self, statement: Select[*tuple[Any, ...]], of: bytes, before: PageKey | None, limit: int
    ) -> list[CertificateRow]:
        before_ms, before_id = before or _LAST
        rows = self._connection.execute(
            statement, {"of": of, "before_ms": before_ms, "before": before_id, "limit": limit}
        )
        return [_certificate(row) for row in rows]


def _certificate(row: AnyRow) -> CertificateRow:
    revocation = None
    if row.revoked_entry is not None:
        revocation = RevocationRow(
            EntryId(row.revoked_entry), row.revoked_time_ms, row.revoked_reason, row.revoked_text
        )
    return CertificateRow(
        cert=EntryId(row.cert),
        identity=IdentityId(row.identity),
        author=AuthorKey(row.author),
        seq=row.seq,
        time_ms=row.time_ms,
        artifact=row.artifact,
        release=None if row.release is None else EntryId(row.release),
        suite=row.suite,
        suite_sha256=row.suite_sha256,
        is_known=row.known,
        level=row.level,
        outcome=row.outcome,
        role=row.role,
        golden=row.golden,
        golden_size=row.golden_size,
        reproduces=None if row.reproduces is None else EntryId(row.reproduces),
        verdict=row.verdict,
        quality_failed=row.quality_failed,
        isolation=row.isolation,
        machine_class=row.machine_class,
        runtime=row.runtime,
        p50_ns=row.p50_ns,
        peak_kib=row.peak_kib,
        finished_ms=row.finished_ms,
        revocation=revocation,
    )


def _review(row: AnyRow) -> HumanReviewRow:
    return HumanReviewRow(
        entry=EntryId(row.entry),
        release=EntryId(row.release),
        artifact=row.artifact,
        identity=IdentityId(row.identity),
        time_ms=row.time_ms,
        verdict=row.verdict,
        conflict=row.conflict,
        paid_by=row.paid_by,
        points=decode(row.points, tuple[ReviewPoint, ...]),
        notes=row.notes,
        tried=read_hashes(row.tried),
        supersedes=None if row.supersedes is None else EntryId(row.supersedes),
    )
