"""What a ``SyncExchange`` asks of whoever runs it.

Each action is a value.  Those that name a result are answered by ``exchange.supplied(action,
result)``, once each; the others want no answer.  ``TakingAction``s are done one after another in
the order given, and so are all others; the two rows may go on side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hanse.core.engine.replication.values import HeadsRow, SentBody, Wanted
    from hanse.core.model.ids import AuthorKey, EntryId
    from hanse.core.model.network import Cursor, HeadClaim, Interest, SentEntry, SeqRange
    from hanse.network.wire.recon import Reconciler
    from hanse.network.wire.sync_messages import ReconRange, SorryCode


@unique
class Misdeed(Enum):
    """What a Peer did wrong, by how much it weighs."""

    FRAME = "frame"  # it broke a rule of the protocol
    WRONG_BYTES = "wrong_bytes"  # a signature, a Body, a Head it cannot show


@unique
class Ending(Enum):
    """Why a session ends."""

    GONE = "gone"  # the other side closed
    SORRY = "sorry"  # it said why
    BROKEN = "broken"  # it broke a rule
    SILENT = "silent"
    FAILED = "failed"  # we cannot go on


# --- what is sent, and what has to be read for it ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Write one frame."""

    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadHeads:
    """Read what came here after arrival ``n``; the result is a ``HeadsPage``."""

    n: int
    interest: Interest
    limit: int


@dataclass(frozen=True, slots=True)
class ReadFrontier:
    """Build the set to be reconciled; the result is a ``Frontier``, or ``None``: no room now."""

    interest: Interest
    salt: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Reconcile:
    """Take one step of reconciling, which may be long.

    The result is what ``begin`` (no ``ranges``) or ``receive`` returned, or the
    ``ProtocolViolation`` it raised.
    """

    reconciler: Reconciler
    ranges: tuple[ReconRange, ...] | None

    def run(self) -> tuple[ReconRange, ...] | None:
        """Do it."""
        if self.ranges is None:
            return self.reconciler.begin()
        return self.reconciler.receive(self.ranges)


@dataclass(frozen=True, slots=True)
class ReadEntries:
    """Read what the Peer asked for; the result is an ``EntriesPage``."""

    ranges: tuple[SeqRange, ...]
    with_bodies: bool
    interest: Interest
    most_bytes: int
    most_entries: int


@dataclass(frozen=True, slots=True)
class ReadBodies:
    """Read what the Peer asked for; the result is a ``BodiesPage``."""

    ids: tuple[EntryId, ...]
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Close:
    """End the stream, after what is to be sent before it; the last action of all."""

    ending: Ending
    code: SorryCode | None = None  # what was said, by whichever side
    retry_ms: int = 0


@dataclass(frozen=True, slots=True)
class Blame:
    """Hold something against the Peer."""

    misdeed: Misdeed


# --- what is taken in ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """Ask what of these rows is wanted; the result is a ``Looked``."""

    rows: tuple[HeadsRow, ...]
    is_hint: bool = False


@dataclass(frozen=True, slots=True)
class Looked:
    """What is wanted, and rows that are being asked of somebody else: look again later."""

    wanted: Wanted
    later: tuple[HeadsRow, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeOwnHead:
    """Judge what the Peer holds of our own Feed; the result is an ``OwnHead``."""

    claim: HeadClaim | None


@dataclass(frozen=True, slots=True)
class ShowOwnHead:
    """Show what the Peer brought for that claim; the result is whether our key signed it."""

    entry: SentEntry | None


@dataclass(frozen=True, slots=True)
class Take:
    """Check and take a batch, and ``cursor`` with it; the result is a ``Taken``.

    ``cursor`` is kept only if the ``Taken`` names nothing to ask for.
    Two may be open: the second may be checked while the first is written.
    """

    entries: tuple[SentEntry, ...] = field(repr=False)
    cursor: Cursor | None
    with_bodies: bool


@dataclass(frozen=True, slots=True)
class TakeBodies:
    """Take Bodies; the result is a ``Taken``."""

    bodies: tuple[SentBody, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakeFork:
    """Take a Fork proof; the result is a ``Taken``."""

    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadMissing:
    """Read which Bodies are missing here; the result is a ``MissingBodies``."""

    after: int


@dataclass(frozen=True, slots=True)
class KeepCursor:
    """Note how far the Peer's arrivals were seen; may be late or left out, at the cost of rows."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class NoteReconciled:
    """Note that everything up to ``cursor`` was reconciled, or told whole."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class TakeDelivery:
    """Take a Private Entry that was handed over.

    The result is its id once it is on disk, ``None`` when it is not wanted.
    """

    entry: SentEntry = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoteDelivered:
    """Note that the Peer acknowledged what was handed over to it."""

    entry_id: EntryId


@dataclass(frozen=True, slots=True)
class PassFork:
    """Show a new Fork proof to others."""

    author: AuthorKey
    proof: bytes = field(repr=False)


TellingAction = (
    Send | ReadHeads | ReadFrontier | Reconcile | ReadEntries | ReadBodies | Blame | Close
)
TakingAction = (
    Look
    | JudgeOwnHead
    | ShowOwnHead
    | Take
    | TakeBodies
    | TakeFork
    | ReadMissing
    | KeepCursor
    | NoteReconciled
    | TakeDelivery
    | NoteDelivered
    | PassFork
)
Action = TellingAction | TakingAction
