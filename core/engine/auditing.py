"""``hanse verify FILE``: what a file proves, without an Account and without network.

* The kind of file is found by its first bytes, never by its name.
* Everything is judged by the same rules as an arriving Entry, in memory.
* The answer names what is proved and by whom, what the file cannot show, and the
  first fault of each Feed with its frame, byte offset, Author and seq.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.artifacts.content_vectors import check_content_vectors, is_content_vectors
from hanse.core.attest.cert_file import is_cert_file
from hanse.core.attest.vectors import check_certificate_vectors, is_certificate_vectors
from hanse.core.engine.certificate_files import verify_certificate
from hanse.core.engine.sources import open_file
from hanse.core.engine.trying.proof import is_proof_file, verify_warranty
from hanse.core.engine.views import Fault, VerifyReport
from hanse.core.errors import (
    FileTooLarge,
    RejectedEntry,
    VerificationFailed,
    WrongUse,
)
from hanse.core.keystore.backup_file import is_backup
from hanse.core.ledger.disclosure import check_disclosure
from hanse.core.ledger.entry import SignedEntry, body_fits, check_entry
from hanse.core.ledger.evidence import (
    DISCLOSURE_MAGIC,
    FORK_MAGIC,
    PROOF_MAGIC,
    check_inclusion_evidence,
    read_disclosure,
    read_fork,
)
from hanse.core.ledger.feed import Accepted, BodyState, Forked, Rejected
from hanse.core.ledger.feed_file import FeedFileDamaged, FeedFileReader, FileEntry, is_feed_file
from hanse.core.ledger.forks import check_fork
from hanse.core.ledger.replay import MemoryLedger
from hanse.core.ledger.vectors import check_vectors, is_vector_file
from hanse.core.limits import (
    EVIDENCE_FILE_SIZE_BYTES_MAX,
    FEED_FILE_ENTRIES_MAX,
    WARRANTY_FILE_SIZE_BYTES_MAX,
)
from hanse.core.model.ids import AuthorKey

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.model.control import Control

_START_BYTES: Final = 64
_PROGRESS_EVERY: Final = 1000
_VOID_SHOWN: Final = 20

Progress = Callable[[int], None]


class NotAHanseFile(WrongUse):
    """The file is of no kind that Hanse exports."""

    code = "verify.unknown_file"
    text = "{path} is no file that hanse exports"
    fields = ("path",)


class NotACertificate(WrongUse):
    """Only a Certificate is for files, so nothing else is compared with them."""

    code = "verify.not_a_certificate"
    text = "{path} is no certificate, so it cannot be for {against}"
    fields = ("path", "against")


class BackupNeedsPhrase(WrongUse):
    """A backup is sealed; without the phrase nothing in it can be verified."""

    code = "verify.backup"
    text = "{path} is a backup; use the backup drill, which asks for the phrase"
    fields = ("path",)


def verify_file(
    path: Path,
    now_ms: int,
    progress: Progress | None = None,
    *,
    against: Path | None = None,
    control: Control | None = None,
) -> VerifyReport:
    """Verify any file Hanse exports; a report with faults means the answer is no.

    A Certificate that does not hold raises ``BadStatement``, the Proof of a failed Replay
    ``BadProofFile`` or ``BadWarranty``; ``against`` names model files that
    it should be for, which ``control`` watches being hashed.
    """
    with open_file(path) as stream:
        start = stream.read(_START_BYTES)
        stream.seek(0)
        if is_cert_file(start):
            raw = _read_small(stream, path)
            return verify_certificate(path.name, raw, now_ms, against, control)
        if against is not None:
            raise NotACertificate(path=path, against=against)
        if is_proof_file(start):
            raw = stream.read(WARRANTY_FILE_SIZE_BYTES_MAX + 1)
            return verify_warranty(path.name, raw, now_ms)
        if is_feed_file(start):
            return _verify_feeds(stream, path.name, now_ms, progress)
        if is_backup(start):
            raise BackupNeedsPhrase(path=path)
        checks = (
            (FORK_MAGIC, _verify_fork),
            (DISCLOSURE_MAGIC, _verify_disclosure),
            (PROOF_MAGIC, _verify_proof),
        )
        for magic, check in checks:
            if start.startswith(magic):
                return _guarded(path.name, check, _read_small(stream, path))
        if is_vector_file(start):
            return _guarded(path.name, _verify_vectors, _read_small(stream, path))
    raise NotAHanseFile(path=path)


def _read_small(stream: BinaryIO, path: Path) -> bytes:
    raw = stream.read(EVIDENCE_FILE_SIZE_BYTES_MAX + 1)
    if len(raw) > EVIDENCE_FILE_SIZE_BYTES_MAX:
        raise FileTooLarge(path=path, found=path.stat().st_size, most=EVIDENCE_FILE_SIZE_BYTES_MAX)
    return raw


def _guarded(subject: str, check: Callable[[str, bytes], VerifyReport], raw: bytes) -> VerifyReport:
    """Turn what a check refuses into a report that says no."""
    try:
        return check(subject, raw)
    except RejectedEntry as error:
        fault = Fault("byte 0", error.reason, error.detail)
    except VerificationFailed as error:
        fault = Fault(str(error.values["where"]), error.code, str(error.values["reason"]))
    return VerifyReport(subject, 0, 0, (), 0, 0, (fault,))


def _verify_fork(subject: str, raw: bytes) -> VerifyReport:
    fork = check_fork(read_fork(raw))
    values = {"author": fork.author, "seq": fork.disputed_seq}
    return VerifyReport(subject, 2, 1, (), 1, 0, (), proved=(("verify.fork", values),))


def _verify_disclosure(subject: str, raw: bytes) -> VerifyReport:
    entry, opened = check_disclosure(read_disclosure(raw))
    values: dict[str, object] = {
        "author": entry.author,
        "seq": entry.seq,
        "kind": opened.inner.kind,
        "time_ms": entry.header.time_ms,
    }
    return VerifyReport(
        subject,
        1,
        1,
        (),
        0,
        0,
        (),
        proved=(("verify.disclosure", values),),
        open_points=(("verify.delegation_not_in_file", {"author": entry.author}),),
    )


def _verify_proof(subject: str, raw: bytes) -> VerifyReport:
    entry, later = check_inclusion_evidence(raw)
    values = {
        "author": entry.author,
        "entry": entry.entry_id,
        "seq": entry.seq,
        "later_seq": later.seq,
    }
    return VerifyReport(
        subject,
        2,
        1,
        (),
        0,
        0,
        (),
        proved=(("verify.inclusion", values),),
        open_points=(("verify.delegation_not_in_file", {"author": entry.author}),),
    )


def _verify_vectors(subject: str, raw: bytes) -> VerifyReport:
    if is_content_vectors(raw):
        count, faults = check_content_vectors(raw)
    elif is_certificate_vectors(raw):
        count, faults = check_certificate_vectors(raw)
    else:
        count, faults = check_vectors(raw)
    return VerifyReport(
        subject,
        count,
        0,
        (),
        0,
        0,
        tuple(Fault(where, "vector", detail) for where, detail in faults),
        proved=(("verify.vectors", {"count": count - len(faults)}),),
    )


class _FileVerifier:
    """Judges one feed file; keeps the first fault of each Feed."""

    def __init__(self, now_ms: int) -> None:
        self.ledger = MemoryLedger()
        self.faults: dict[bytes, Fault] = {}
        self.void: list[tuple[bytes, int]] = []
        self.entries = 0
        self._now_ms = now_ms

    def fault(self, author: bytes, fault: Fault) -> None:
        self.faults.setdefault(author, fault)

    def take(self, item: FileEntry) -> None:
        entry = item.entry
        self.entries += 1
        where = f"frame {item.frame}, byte {item.offset}"
        try:
            checked = check_entry(entry)
        except RejectedEntry as error:
            self.fault(
                entry.author, Fault(where, error.reason, error.detail, entry.author, entry.seq)
            )
            return
        if entry.body is not None and not body_fits(entry, entry.body):
            self.fault(entry.author, _body_fault(where, entry))
        verdict = self.ledger.accept(checked, self._now_ms)
        match verdict:
            case Rejected(reason, detail):
                self.fault(entry.author, Fault(where, reason, detail, entry.author, entry.seq))
            case Forked(fork):
                detail = f"disputed from seq {fork.disputed_seq}"
                self.fault(
                    entry.author, Fault(where, "fork", detail, entry.author, fork.disputed_seq)
                )
            case Accepted(BodyState.VOID):
                # Its Author's doing, not the file's: the Header stands, the Body says nothing.
                self.void.append((entry.author, entry.seq))
            case _:
                pass

    def close(self, reader: FeedFileReader) -> None:
        """Compare with what the file said it holds, and name what still waits."""
        for entry, reason in self.ledger.waiting.values():
            if reason != "future":
                self.fault(
                    entry.author,
                    Fault(
                        "end of file",
                        reason,
                        "waits for what is not in the file",
                        entry.author,
                        entry.seq,
                    ),
                )
        for claimed in reader.heads:
            feed = self.ledger.feeds.get(AuthorKey(claimed.author))
            head = None if feed is None else feed.verifier.head
            if head is None or (head.seq, head.entry_id) != (claimed.seq, claimed.entry_id):
                found = "nothing" if head is None else f"seq {head.seq}"
                self.fault(
                    claimed.author,
                    Fault(
                        "frame 1",
                        "head",
                        f"the file says seq {claimed.seq}, holds {found}",
                        claimed.author,
                        claimed.seq,
                    ),
                )


def _verify_feeds(
    stream: BinaryIO, subject: str, now_ms: int, progress: Progress | None
) -> VerifyReport:
    verifier = _FileVerifier(now_ms)
    try:
        reader = FeedFileReader(stream)
        for item in reader:
            verifier.take(item)
            if verifier.entries > FEED_FILE_ENTRIES_MAX:
                raise _too_many(item)
            if progress is not None and verifier.entries % _PROGRESS_EVERY == 0:
                progress(verifier.entries)
        verifier.close(reader)
    except FeedFileDamaged as error:
        damage = Fault(str(error.values["where"]), "damaged", str(error.values["reason"]))
        # Reading ends here; what was found in earlier frames stays the first fault.
        verifier.faults[b""] = damage
    return _report(verifier, subject)


def _body_fault(where: str, entry: SignedEntry) -> Fault:
    header = entry.header
    detail = f"not the body of {header.body_len} bytes with hash {header.body_hash.hex()}"
    return Fault(where, "bad_body", detail, entry.author, entry.seq)


def _too_many(item: FileEntry) -> FeedFileDamaged:
    return FeedFileDamaged(item.frame, item.offset, f"more than {FEED_FILE_ENTRIES_MAX} entries")


def _report(verifier: _FileVerifier, subject: str) -> VerifyReport:
    ledger = verifier.ledger
    counts = ledger.what_counts()
    proved: list[tuple[str, dict[str, object]]] = []
    open_points: list[tuple[str, dict[str, object]]] = [
        ("verify.void_body", {"author": author, "seq": seq})
        for author, seq in verifier.void[:_VOID_SHOWN]
    ]
    identities = set()
    for author, feed in sorted(ledger.feeds.items()):
        head, opening = feed.verifier.head, feed.opening
        if head is None or opening is None or author in verifier.faults:
            continue
        identities.add(bytes(opening.identity))
        values: dict[str, object] = {
            "author": author,
            "identity": opening.identity,
            "entries": head.seq,
            "head": head.entry_id,
        }
        proved.append(("verify.root_feed" if opening.is_root else "verify.device_feed", values))
        if counts[author] < head.seq:
            open_points.append(
                ("verify.cut", {"author": author, "counted": counts[author], "entries": head.seq})
            )
    return VerifyReport(
        subject=subject,
        entries=verifier.entries,
        feeds=len(ledger.feeds),
        identities=tuple(sorted(identities)),
        forks=len(ledger.forks),
        waiting=len(ledger.waiting),
        faults=tuple(verifier.faults.values()),
        proved=tuple(proved),
        open_points=tuple(open_points),
    )
