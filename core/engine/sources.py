"""Files that bring Entries: feed files, backups; and what is taken in from them.

* An Entry from a file passes the same gate as one from a peer.
* A feed file's Entries stand for themselves: what came before a fault is kept.
* A backup's items count only when its end was reached, so a caller that is not
  building a new folder reads it to the end first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from hanse.core.engine.syncing import Outcome, Refusal, accept_batch, check_entries
from hanse.core.errors import FileUnreadable, RejectedEntry, WrongUse
from hanse.core.keystore.backup_file import BackupDamaged, is_backup, read_backup
from hanse.core.ledger.codec import decode
from hanse.core.ledger.entry import SignedEntry, parse_entry, recall_entry
from hanse.core.ledger.feed_file import FeedFileReader, is_feed_file

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from hanse.core.crypto.derivation import RootSecret
    from hanse.core.store.unit_of_work import UnitOfWork

FRAME_ENTRY = "entry"
FRAME_BLOB = "blob"
_START_BYTES = 16

Progress = Callable[[int], None]


class NotASource(WrongUse):
    """The file is neither a feed file nor a backup."""

    code = "source.unknown"
    text = "{path} is neither a .hanse-feed nor a .hanse-backup file"
    fields = ("path",)


@dataclass(frozen=True, slots=True)
class Blob:
    """One small object a backup brings."""

    raw: bytes


Item = SignedEntry | Blob


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file a person named, or raise ``FileUnreadable``."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error
    with stream:
        try:
            yield stream
        except OSError as error:
            raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error


def read_items(path: Path, secret: RootSecret) -> Iterator[Item]:
    """Yield what a feed file or a backup of this phrase holds, one item at a time."""
    with open_file(path) as stream:
        start = stream.read(_START_BYTES)
        stream.seek(0)
        if is_feed_file(start):
            for item in FeedFileReader(stream):
                yield item.entry
        elif is_backup(start):
            yield from _backup_items(stream, secret)
        else:
            raise NotASource(path=path)


def _backup_items(stream: BinaryIO, secret: RootSecret) -> Iterator[Item]:
    frames = read_backup(stream, lambda epoch: secret.seeds(epoch).backup_key())
    for kind, payload in frames:
        if kind == FRAME_BLOB:
            yield Blob(payload)
        elif kind == FRAME_ENTRY:
            try:
                header, signature, body = decode(payload, tuple[bytes, bytes, bytes | None])
                yield parse_entry(header, signature, body)
            except RejectedEntry as error:
                raise BackupDamaged(position=stream.tell(), detail=error.detail) from error


def in_batches(items: Iterator[Item], size: int) -> Iterator[tuple[list[SignedEntry], list[Blob]]]:
    """Group items, so that one transaction never holds more than ``size`` Entries."""
    entries: list[SignedEntry] = []
    blobs: list[Blob] = []
    for item in items:
        if isinstance(item, Blob):
            blobs.append(item)
        else:
            entries.append(item)
        if len(entries) + len(blobs) >= size:
            yield entries, blobs
            entries, blobs = [], []
    if entries or blobs:
        yield entries, blobs


def accept_unchecked(
    uow: UnitOfWork, entries: Sequence[SignedEntry], now_ms: int, pool: Executor | None = None
) -> Outcome:
    """Check the signatures of ``entries``, on ``pool`` if given, and take in those that hold."""
    # (A4) What is held already costs one query and no signature check: its id, which
    # covers Header and signature, is that of an Entry that was checked.
    held = uow.feeds.known([entry.entry_id for entry in entries])
    known = [it for it in entries if it.entry_id in held]
    judged = check_entries([it for it in entries if it.entry_id not in held], pool)
    refused = [item for item in judged if isinstance(item, Refusal)]
    checked = [item for item in judged if not isinstance(item, Refusal)]
    late = [recall_entry(it.header_bytes, it.signature, it.body) for it in known if it.body]
    outcome = accept_batch(uow, [*checked, *late], now_ms)
    outcome.known += len(known) - len(late)
    outcome.refused.extend(refused)
    return outcome
