"""One sealed file that brings an Identity back on another machine, with the phrase.

* It holds Entries (also the sealed Private bodies held here), small objects, and
  no key of a Device: a restore is always a new Device.
* It is sealed under the Backup key of the newest epoch, which the phrase gives.
* A drill restores it into a throw-away folder and verifies what came out, because
  a backup nobody has restored is a hope.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hanse.core.artifacts.small import SmallStore
from hanse.core.durable import write_durably_with
from hanse.core.engine.context import Context
from hanse.core.engine.home import Home
from hanse.core.engine.ledger import HeldLedger
from hanse.core.engine.registering import restore
from hanse.core.engine.sources import FRAME_BLOB, FRAME_ENTRY, open_file
from hanse.core.engine.views import BackupReport, Fault
from hanse.core.errors import VerificationFailed
from hanse.core.keystore.backup_file import BackupWriter, read_epoch
from hanse.core.keystore.guards import CopyState
from hanse.core.keystore.keystore import KdfCost, read_public
from hanse.core.ledger.codec import encode
from hanse.core.limits import KDF_MEMORY_BYTES_MIN, KDF_OPS_MIN
from hanse.core.store.engines import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.clock import Chance, Clock
    from hanse.core.crypto.phrase import Phrase
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.store.unit_of_work import Repositories

_PAGE = 1000


class DrillFailed(VerificationFailed):
    """The backup was read, but what it restores does not verify."""

    code = "backup.drill_failed"

    def __init__(self, fault: Fault) -> None:
        """Name the first fault."""
        super().__init__(where=fault.where, reason=f"{fault.reason}: {fault.detail}")


class Backups:
    """Backups of the Account that is open."""

    def __init__(self, context: Context) -> None:
        """Work on ``context``."""
        self._context = context

    def make(self, path: Path) -> BackupReport:
        """Write a new backup file, whole or not at all."""
        context = self._context
        context.unlocked()
        small = SmallStore(context.home.folder)
        counts = {FRAME_ENTRY: 0, FRAME_BLOB: 0}
        with context.store.reads() as reads:
            context.note_leaving(reads)
            seeds = context.all_seeds(reads)
            epoch = max(seeds)

            def write(stream: BinaryIO) -> int:
                writer = BackupWriter(stream, epoch, seeds[epoch].backup_key(), context.chance)
                for entry in _entries(reads):
                    writer.add(
                        FRAME_ENTRY, encode([entry.header_bytes, entry.signature, entry.body])
                    )
                    counts[FRAME_ENTRY] += 1
                for digest in small.names():
                    blob = small.get(digest)
                    assert blob is not None
                    writer.add(FRAME_BLOB, blob)
                    counts[FRAME_BLOB] += 1
                writer.close()
                return epoch

            write_durably_with(path, write)
        return BackupReport(
            path=path,
            entries=counts[FRAME_ENTRY],
            blobs=counts[FRAME_BLOB],
            size_bytes=path.stat().st_size,
            identity=context.identity,
            epoch=epoch,
        )


def _entries(reads: Repositories) -> Iterator[CheckedEntry]:
    """Yield everything held: root feeds first, then Devices, then what lies on other branches."""
    rows = sorted(
        reads.feeds.all(),
        key=lambda row: (
            row.opening is None or not row.opening.is_root,
            0 if row.opening is None else row.opening.r,
            row.author,
        ),
    )
    for row in rows:
        seq = 1
        while page := reads.feeds.entries(row.author, seq, _PAGE):
            for stored in page:
                yield stored.entry
            seq = page[-1].entry.seq + 1
    for row in rows:
        yield from reads.feeds.branch_entries(row.author)


def drill(path: Path, phrase: Phrase, *, clock: Clock, chance: Chance) -> BackupReport:
    """Restore ``path`` into a throw-away folder, verify it, and say what it holds."""
    with open_file(path) as stream:
        epoch = read_epoch(stream)
    with tempfile.TemporaryDirectory(prefix="hanse-drill-") as name:
        home = Home(Path(name) / "data", Path(name) / "config")
        passphrase = chance.bytes(16).hex()
        cheap = KdfCost(KDF_OPS_MIN, KDF_MEMORY_BYTES_MIN)  # a random passphrase, gone in a moment
        restored = restore(
            home,
            phrase=phrase,
            passphrase=passphrase,
            name="drill",
            device_name="drill",
            source=path,
            clock=clock,
            chance=chance,
            kdf=cheap,
        )
        with closing(Store.open(home.folder)) as store:
            public = read_public(home.keystore)
            context = Context(home, store, clock, chance, public, CopyState.FINE)
            report = HeldLedger(context).verify()
        if report.faults:
            raise DrillFailed(report.faults[0])
        blobs = sum(1 for _ in SmallStore(home.folder).names())
    return BackupReport(
        path=path,
        entries=restored.entries,
        blobs=blobs,
        size_bytes=path.stat().st_size,
        identity=restored.account.identity,
        epoch=epoch,
    )
