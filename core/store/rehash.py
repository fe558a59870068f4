"""Bits that rotted on disk: every Entry held is hashed again and compared.

* The id must be the hash of Header and signature, each Header must name the id
  before it, and the last ids and the peaks over all ids must be those of the Feed's
  row, which was written when everything was verified.  So no bit of a Header can
  have changed; what a ``root`` commits to is looked at where a slice ends.
* The columns beside a Header repeat it and must agree with it, and a Body must
  have the hash its Header names.
* Of each Feed the first fault is named; what comes after it may only follow from it.

Signatures are not checked: that takes a minute for a million Entries, and bytes
that still have their id are bytes whose signature was checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import NoResultFound

from hanse.core.errors import StoreDamaged
from hanse.core.ledger.feed import BodyState
from hanse.core.ledger.tree import Peaks
from hanse.core.limits import ENTRIES_PER_BATCH_MAX
from hanse.core.store.tables import branches, entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hanse.core.model.ids import AuthorKey
    from hanse.core.store.feed_reads import FeedReads
    from hanse.core.store.feed_rows import AnyRow, FeedRow
    from hanse.core.store.kind_numbers import KindNumbers

# What every Header begins with: a list of ten, version 1, then 32 bytes of Author.
_START: Final = b"\x8a\x01\x58\x20"
_HASH: Final = b"\x58\x20"
_NULL: Final = b"\xf6"
_HELD: Final = frozenset({BodyState.HERE.value, BodyState.VOID.value})

_ENTRIES: Final = (
    select(
        entries.c.n,
        entries.c.seq,
        entries.c.id,
        entries.c.kind,
        entries.c.time_ms,
        entries.c.body_state,
        entries.c.header,
        entries.c.sig,
        entries.c.body,
    )
    .where(entries.c.feed == bindparam("feed"), entries.c.seq > bindparam("after"))
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)
_BRANCHES: Final = (
    select(branches.c.branch, branches.c.seq, branches.c.id, branches.c.header, branches.c.sig)
    .where(branches.c.feed == bindparam("feed"))
    .order_by(branches.c.seq, branches.c.id)
)


@dataclass(frozen=True, slots=True)
class RehashFault:
    """The first thing wrong with one Feed on disk: which row, what, and where in the Feed."""

    where: str
    reason: str
    detail: str
    author: AuthorKey
    seq: int


@dataclass(frozen=True, slots=True)
class RehashSlice:
    """What one step of the way found; ``author`` is the Feed it was in."""

    author: AuthorKey
    entries: int
    fault: RehashFault | None = None


class _Fault(Exception):
    def __init__(self, where: int | str, reason: str, detail: str, seq: int) -> None:
        super().__init__(detail)
        self.where = where if isinstance(where, str) else f"entry {where}"
        self.reason, self.detail, self.seq = reason, detail, seq


def rehash(
    connection: Connection, feeds: FeedReads, kinds: KindNumbers, after: bytes = b""
) -> Iterator[RehashSlice]:
    """Hash everything held again, Feed by Feed after Author ``after``, slice by slice."""
    for row in feeds.all():
        if row.author <= after:
            continue
        checker = _FeedChecker(connection, row, kinds)
        try:
            for count in checker.slices():
                yield RehashSlice(row.author, count)
            checker.check_branches()
        except _Fault as found:
            fault = RehashFault(found.where, found.reason, found.detail, row.author, found.seq)
        except StoreDamaged as error:
            fault = RehashFault(
                f"feed {row.feed}", "unreadable", str(error), row.author, checker.seq + 1
            )
        else:
            continue
        yield RehashSlice(row.author, checker.unreported, fault)


class _FeedChecker:
    """Goes through one Feed from its first Entry."""

    def __init__(self, connection: Connection, row: FeedRow, kinds: KindNumbers) -> None:
        self._connection = connection
        self._row = row
        self._kinds = kinds
        self._start = _START + row.author
        self._prev: bytes | None = None
        self._time_ms = 0
        self._peaks = Peaks()
        self._kind_parts: dict[int, bytes] = {}
        self.seq = 0
        self.unreported = 0

    def slices(self) -> Iterator[int]:
        """Check every Entry, and say after each slice how many that were; then the row."""
        while True:
            page = self._connection.execute(
                _ENTRIES,
                {"feed": self._row.feed, "after": self.seq, "limit": ENTRIES_PER_BATCH_MAX},
            ).all()
            self._check(page)
            if page:
                yield self.unreported
                self.unreported = 0
            if len(page) < ENTRIES_PER_BATCH_MAX:
                break
        self._check_row()

    def _check(self, page: Sequence[AnyRow]) -> None:
        """Check one page in one loop: a million calls would take a second by themselves."""
        start, peaks, last = self._start, self._peaks, len(page) - 1
        add, prev, seq_next = peaks.add, self._prev, self.seq + 1
        for index, row in enumerate(page):
            n, seq, entry_id, kind, time_ms, body_state, header, sig, body = row
            if seq != seq_next:
                raise _Fault(n, "gap", f"seq {seq} follows seq {seq_next - 1}", seq_next)
            if sha256(header + sig).digest() != entry_id:
                raise _Fault(n, "bad_id", "header and signature do not have the id held", seq)
            chain = start + _uint(seq) + (_NULL + _NULL if prev is None else _HASH + prev + _HASH)
            if not header.startswith(chain):
                raise _Fault(n, "bad_chain", "the header is not the next one of its feed", seq)
            at = len(chain)
            if prev is not None:
                if index == last and header[at : at + 32] != peaks.root():
                    raise _Fault(n, "bad_root", "the header commits to another history", seq)
                at += 32
            columns = _uint(time_ms) + (self._kind_parts.get(kind) or self._kind_part(n, kind, seq))
            if not header.startswith(columns, at):
                raise _Fault(n, "bad_column", "time or kind are not those of the header", seq)
            if (body is not None) != (body_state in _HELD):
                raise _Fault(n, "bad_body", f"a body that is {body_state} does not fit", seq)
            at += len(columns) + len(_HASH)
            if body is not None and header[at : at + 32] != sha256(body).digest():
                raise _Fault(n, "bad_body", "the body is not the one the header names", seq)
            add(entry_id)
            prev, seq_next = entry_id, seq + 1
            self._prev, self._time_ms, self.seq = entry_id, time_ms, seq
            self.unreported += 1

    def _kind_part(self, n: int, number: int, seq: int) -> bytes:
        try:
            kind = self._kinds.kind(self._connection, number).encode()
        except NoResultFound:
            raise _Fault(n, "bad_column", f"kind {number} has no name", seq) from None
        size = len(kind)
        part = (bytes((0x60 + size,)) if size < 24 else bytes((0x78, size))) + kind
        self._kind_parts[number] = part
        return part

    def _check_row(self) -> None:
        head = self._row.head
        where = f"feed {self._row.feed}"
        head_seq = 0 if head is None else head.seq
        if head_seq != self.seq:
            raise _Fault(where, "bad_head", f"head {head_seq}, entries up to {self.seq}", self.seq)
        if head is not None and (head.entry_id, head.time_ms) != (self._prev, self._time_ms):
            raise _Fault(where, "bad_head", "the head is not the last entry", self.seq)
        if self._row.peaks != self._peaks.to_bytes():
            raise _Fault(where, "bad_peaks", "the peaks are not those of the entries", self.seq)

    def check_branches(self) -> None:
        """Check the ids of what lies on other branches."""
        for row in self._connection.execute(_BRANCHES, {"feed": self._row.feed}):
            if sha256(row.header + row.sig).digest() != row.id:
                raise _Fault(
                    f"branch {row.branch}",
                    "bad_id",
                    "header and signature do not have the id held",
                    row.seq,
                )


def _uint(number: int) -> bytes:
    """Write a number as the codec does, which is too slow for a million of them."""
    if number < 24:
        return bytes((number,))
    if number < 1 << 8:
        return bytes((0x18, number))
    if number < 1 << 16:
        return b"\x19" + number.to_bytes(2, "big")
    if number < 1 << 32:
        return b"\x1a" + number.to_bytes(4, "big")
    return b"\x1b" + number.to_bytes(8, "big")
