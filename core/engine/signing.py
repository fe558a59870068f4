"""Own Entries that a person reads before they are signed: shown, confirmed, appended.

* ``Plan`` says which Bodies follow each other; a later one may name the ids of
  earlier ones, as a Release names its Listing.
* ``show`` builds and signs the Entries in a transaction that is rolled back.  Nothing
  of it is kept or leaves the process.
* ``sign`` appends them again with the same salts and time.  An Ed25519 signature is a
  function of key and bytes, so they are the same Entries, to the last bit.  When the
  Feed went on in between they cannot be, and ``PreviewStale`` says so: the person
  looks again.

What the Bodies mean, and whether they may be signed, is the caller's to decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from hanse.core.errors import Refused
from hanse.core.ledger.kinds import parse_body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hanse.core.engine.context import Context
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.ledger.kinds import Body
    from hanse.core.model.ids import EntryId
    from hanse.core.store.unit_of_work import UnitOfWork


class PreviewStale(Refused):
    """Something else was signed since the preview; nothing of this was."""

    code = "signing.stale"
    text = "the feed went on from seq {expected} to {found} since the preview"
    fields = ("expected", "found")


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """One Body to come, made from its salt and the ids of the Entries before it."""

    make: Callable[[bytes, Sequence[EntryId]], Body]
    refs: Callable[[Sequence[EntryId]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An Entry exactly as it will be signed."""

    kind: str
    body: Mapping[str, object]
    body_hash: bytes
    body_len: int
    entry_id: EntryId


@dataclass(frozen=True, slots=True)
class Preview:
    """What will be signed: the Entries in order, and all that makes them what they are.

    ``about`` is the caller's: it says what state of its own things was shown.
    """

    entries: tuple[ShownEntry, ...]
    time_ms: int
    head_seq: int
    plan: tuple[PlannedEntry, ...] = field(repr=False)
    salts: tuple[bytes, ...] = field(repr=False)
    about: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Return how long all Bodies are together."""
        return sum(entry.body_len for entry in self.entries)


def show(context: Context, plan: Sequence[PlannedEntry], *, about: bytes = b"") -> Preview:
    """Build what ``plan`` comes to, and keep nothing."""
    now_ms = context.clock.now_ms()
    salts = tuple(context.body_salt() for _ in plan)
    with context.store.unit_of_work() as uow:
        before = _head_seq(uow, context)
        made = _append(context, uow, plan, salts, now_ms)
        # No commit: leaving the transaction undoes everything.
    return Preview(tuple(map(_shown, made)), now_ms, before, tuple(plan), salts, about)


def sign(context: Context, uow: UnitOfWork, preview: Preview) -> tuple[CheckedEntry, ...]:
    """Append what was shown to the caller's transaction, or raise ``PreviewStale``."""
    found = _head_seq(uow, context)
    if found != preview.head_seq:
        raise PreviewStale(expected=preview.head_seq, found=found)
    made = _append(context, uow, preview.plan, preview.salts, preview.time_ms)
    shown = [entry.entry_id for entry in preview.entries]
    assert [entry.entry_id for entry in made] == shown
    return made


def _append(
    context: Context,
    uow: UnitOfWork,
    plan: Sequence[PlannedEntry],
    salts: Sequence[bytes],
    now_ms: int,
) -> tuple[CheckedEntry, ...]:
    made: list[CheckedEntry] = []
    ids: list[EntryId] = []
    for step, salt in zip(plan, salts, strict=True):
        body = step.make(salt, ids)
        made.append(context.append_own(uow, body, step.refs(ids), now_ms))
        ids.append(made[-1].entry_id)
    return tuple(made)


def _head_seq(uow: UnitOfWork, context: Context) -> int:
    row = uow.feeds.get(context.device)
    return 0 if row is None or row.head is None else row.head.seq


def _shown(entry: CheckedEntry) -> ShownEntry:
    assert entry.body is not None
    body = parse_body(entry.kind, entry.body)
    return ShownEntry(
        kind=entry.kind,
        body=msgspec.structs.asdict(body),
        body_hash=entry.header.body_hash,
        body_len=entry.header.body_len,
        entry_id=entry.entry_id,
    )
