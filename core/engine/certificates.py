"""Certificates held here: looking at them, beside what was claimed; taking back, writing out.

* What stands in a row is an index; what is shown of one Certificate is read from its signed
  envelope again.
* Level 4 is computed for whoever looks, from whom he follows: ``weights`` are his.
* A Certificate that was taken back stays and is shown struck through.

Whether a model is good is not known here, only who measured what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hanse.core.artifacts.manifest import read_manifest
from hanse.core.attest.cert_file import write_cert_file
from hanse.core.attest.envelope import open_envelope
from hanse.core.attest.faults import BadStatement
from hanse.core.attest.reproduction import reproduction
from hanse.core.attest.statement import read_statement
from hanse.core.attest.verifying import ModelFiles, check_for_files
from hanse.core.durable import write_durably
from hanse.core.engine.accounts import entry_view
from hanse.core.engine.certify_target import read_held_card
from hanse.core.engine.naming import certificate_named
from hanse.core.engine.signing import PlannedEntry, Preview, show, sign
from hanse.core.errors import Refused, WrongUse
from hanse.core.ledger.evidence import write_inclusion
from hanse.core.ledger.kinds import Cert1, CertRevoke1, parse_body
from hanse.core.market.claims import compare_claims
from hanse.core.model.certificate import Certificate, Subject
from hanse.core.model.ids import EntryId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hanse.core.engine.certify_target import Named
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.views import EntryView
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.ledger.kinds import Body
    from hanse.core.model.certificate import ComparedClaim, Reproduction
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.certificates import CertificateRow
    from hanse.core.store.unit_of_work import Repositories

RevokeReason = Literal["wrong_file", "machine_fault", "suite_fault", "mistake", "key_compromise"]

_MOST: Final = 200
_WEIGHT_MILLI: Final = 1000


class UnknownCertificate(WrongUse):
    """No Certificate with this id is held."""

    code = "certificate.unknown"
    text = "no certificate {certificate} is held here"
    fields = ("certificate",)


class NotYourCertificate(Refused):
    """Only who signed a Certificate may take it back."""

    code = "certificate.not_yours"
    text = "certificate {certificate} was signed by {identity}"
    fields = ("certificate", "identity")


class AlreadyRevoked(Refused):
    """A Certificate was taken back before."""

    code = "certificate.revoked_before"
    text = "certificate {certificate} was taken back already: {reason}"
    fields = ("certificate", "reason")


@dataclass(frozen=True, slots=True)
class CertificateView:
    """One Certificate whole, and how it stands; ``name`` is its signer's."""

    row: CertificateRow
    certificate: Certificate
    name: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class CertificatesView:
    """All Certificates of an Artifact, and what they come to for whoever looks here."""

    rows: tuple[CertificateRow, ...]
    names: Mapping[bytes, str]
    reproduction: Reproduction
    claims: tuple[ComparedClaim, ...]


class Certificates:
    """Certificates of everybody, as they are held here."""

    def __init__(self, context: Context, content: Content) -> None:
        """Bind the Account and its files."""
        self._context = context
        self._content = content

    def named(self, text: str) -> EntryId:
        """Return the Certificate whose id begins with ``text``; raise what ``naming`` raises."""
        with self._context.store.reads() as reads:
            return certificate_named(reads, text)

    def show(self, cert: bytes) -> CertificateView:
        """Return one Certificate, or raise ``UnknownCertificate``."""
        with self._context.store.reads() as reads:
            row = _row(reads, cert)
            return CertificateView(
                row=row,
                certificate=read_certificate(reads, row),
                name=_name(reads, row.identity),
                is_own=row.identity == self._context.identity,
            )

    def of_release(self, release: EntryId) -> CertificatesView | None:
        """Return what is known of the Artifact of a Release; ``None`` when it is not held."""
        with self._context.store.reads() as reads:
            row = reads.listings.release(release)
            if row is None:
                return None
            return self._of_artifact(reads, row.artifact, row.identity, row.card)

    def of_named(self, what: Named) -> CertificatesView:
        """Return what is known of what somebody named: of its Release where that is held."""
        found = None if what.release is None else self.of_release(what.release)
        return self.of_artifact(what.artifact) if found is None else found

    def of_artifact(self, artifact: bytes) -> CertificatesView:
        """Return what is known of an Artifact, offered or not."""
        with self._context.store.reads() as reads:
            return self._of_artifact(reads, artifact, self._context.identity, None)

    def _of_artifact(
        self, held: Repositories, artifact: bytes, seller: IdentityId, card: bytes | None
    ) -> CertificatesView:
        rows = tuple(held.certificates.of_artifact(artifact, limit=_MOST))
        counted = [row for row in rows if row.revocation is None and row.is_known]
        certificates = [read_certificate(held, row) for row in counted]
        certificates = [one for one in certificates if self._is_for_these(one, artifact)]
        follows = held.projections.follows_of(self._context.identity)
        weights = {one.target: one.weight * _WEIGHT_MILLI for one in follows}
        if weights:  # whoever trusts somebody trusts what was measured on his own machine
            weights[self._context.identity] = _WEIGHT_MILLI
        said = None if card is None else read_held_card(self._content, card)
        figures = [
            row
            for one in certificates
            if one.identity in {seller, self._context.identity}
            for row in one.statement.measured.quality
        ]
        return CertificatesView(
            rows=rows,
            names={bytes(row.identity): _name(held, row.identity) for row in rows},
            reproduction=reproduction(certificates, seller=seller, weights=weights or None),
            claims=() if said is None else compare_claims(said.claims, figures),
        )

    def _is_for_these(self, one: Certificate, artifact: bytes) -> bool:
        """Say whether a Certificate is about the files of the Manifest, where that is held.

        Anybody can write any Artifact's id beside other files; such a one counts for nothing.
        """
        raw = self._content.small.get(artifact)
        if raw is None:
            return True
        files = tuple(Subject(file.path, file.sha256) for file in read_manifest(raw).files)
        try:
            check_for_files(one.statement, ModelFiles(artifact, files))
        except BadStatement:
            return False
        return True

    # --- taking back -------------------------------------------------------------------------

    def revoke(self, cert: bytes, reason: RevokeReason, text: str) -> Preview:
        """Show what taking an own Certificate back comes to."""
        context = self._context
        context.may_sign()
        with context.store.reads() as reads:
            row = _row(reads, cert)
        if row.identity != context.identity:
            raise NotYourCertificate(certificate=cert, identity=row.identity)
        if row.revocation is not None:
            raise AlreadyRevoked(certificate=cert, reason=row.revocation.reason)

        def make(salt: bytes, _ids: Sequence[EntryId]) -> Body:
            return CertRevoke1(salt=salt, cert=EntryId(cert), reason=reason, text=text)

        return show(context, [PlannedEntry(make, lambda _: (cert,))])

    def sign(self, preview: Preview) -> EntryView:
        """Sign what was shown; the Entry is on disk when this returns."""
        with self._context.store.unit_of_work() as uow:
            (made,) = sign(self._context, uow, preview)
            view = entry_view(made, self._context.identity)
            uow.commit()
        return view

    # --- writing out -------------------------------------------------------------------------

    def export(self, cert: bytes, path: Path) -> CertificateRow:
        """Write a ``.hanse-cert``: all that is needed to verify it without anything else."""
        with self._context.store.reads() as reads:
            row = _row(reads, cert)
            entry = _entry(reads, row.cert)
            delegation = _entry_at(reads, row, 1)
            roots = tuple(_roots(reads, row.identity))
            feed = reads.feeds.get(row.author)
            assert feed is not None
            assert feed.head is not None
            inclusion = None
            if feed.head.seq > row.seq:
                later = _entry_at(reads, row, feed.head.seq)
                ids = reads.feeds.ids(row.author)[: feed.head.seq - 1]
                inclusion = write_inclusion(entry, later, ids)
        write_durably(path, write_cert_file(entry, delegation, roots, inclusion))
        return row


def read_certificate(held: Repositories, row: CertificateRow) -> Certificate:
    """Read a Certificate from its Entry; the projection has verified it before."""
    entry = _entry(held, row.cert)
    assert entry.body is not None
    body = parse_body(entry.kind, entry.body)
    assert isinstance(body, Cert1)
    return Certificate(
        statement=read_statement(open_envelope(body.envelope, row.author)),
        envelope=body.envelope,
        device=row.author,
        identity=row.identity,
        entry=row.cert,
    )


def _row(held: Repositories, cert: bytes) -> CertificateRow:
    row = held.certificates.get(EntryId(cert))
    if row is None:
        raise UnknownCertificate(certificate=cert)
    return row


def _entry(held: Repositories, cert: EntryId) -> CheckedEntry:
    stored = held.feeds.find(cert)
    assert stored is not None, "a projection names what is held"
    return stored.entry


def _entry_at(held: Repositories, row: CertificateRow, seq: int) -> CheckedEntry:
    entry = held.feeds.entry_at(row.author, seq)
    assert entry is not None, "a Feed is held from its first Entry"
    return entry


def _roots(held: Repositories, identity: IdentityId) -> Iterator[CheckedEntry]:
    """Yield every Entry of the root feeds: who speaks for the Identity, and until when."""
    for feed in held.feeds.of_identity(identity):
        if feed.opening is not None and feed.opening.is_root:
            seq = 1
            while page := held.feeds.entries(feed.author, seq, _MOST):
                yield from (stored.entry for stored in page)
                seq = page[-1].entry.seq + 1


def _name(held: Repositories, identity: IdentityId) -> str:
    profile = held.projections.profile(identity)
    return "" if profile is None else profile.name
