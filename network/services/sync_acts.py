"""What a sync session asks of the engine, done by the engine: one call for each action.

``read`` belongs on a thread that reads, ``write`` on the one that writes.  ``act`` does any action
that has a result, or changes something here, at once: for whoever has one thread and his own time,
such as a simulation.  None of them sends anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.recon import Frontier
from hanse.network.wire.sync_actions import (
    JudgeOwnHead,
    KeepCursor,
    Look,
    Looked,
    NoteReconciled,
    ReadBodies,
    ReadEntries,
    ReadFrontier,
    ReadHeads,
    ReadMissing,
    Reconcile,
    ShowOwnHead,
    Take,
    TakeBodies,
    TakeFork,
)

if TYPE_CHECKING:
    from hanse.core.engine.replicating import Replicating
    from hanse.core.model.ids import AuthorKey

ReadAction = ReadHeads | ReadEntries | ReadBodies | JudgeOwnHead | ReadMissing
WriteAction = ShowOwnHead | TakeBodies | TakeFork | KeepCursor | NoteReconciled
EngineAction = ReadAction | WriteAction | ReadFrontier | Reconcile | Look | Take

UNANSWERED: Final = (KeepCursor, NoteReconciled)  # actions without a result


def read(replicating: Replicating, device: AuthorKey, action: ReadAction) -> object:
    """Do an action that reads."""
    match action:
        case ReadHeads():
            return replicating.heads_since(device, action.n, action.interest, action.limit)
        case ReadEntries():
            return replicating.entries(
                device,
                action.ranges,
                with_bodies=action.with_bodies,
                interest=action.interest,
                most_bytes=action.most_bytes,
                most_entries=action.most_entries,
            )
        case ReadBodies():
            return replicating.bodies(device, action.ids, most_bytes=action.most_bytes)
        case JudgeOwnHead():
            return replicating.judge_own_head(device, action.claim)
        case ReadMissing():
            return replicating.missing_bodies(device, action.after)


def write(replicating: Replicating, device: AuthorKey, action: WriteAction) -> object:
    """Do an action that writes."""
    match action:
        case ShowOwnHead():
            return replicating.own_head_shown(device, action.entry)
        case TakeBodies():
            return replicating.take_bodies(device, action.bodies)
        case TakeFork():
            return replicating.take_fork(device, action.proof)
        case KeepCursor():
            replicating.keep_cursor(device, action.cursor)
        case NoteReconciled():
            replicating.reconciled(device, action.cursor)
    return None


def reconcile(action: Reconcile) -> object:
    """Take one step of reconciling."""
    try:
        return action.run()
    except ProtocolViolation as violation:
        return violation


def act(replicating: Replicating, device: AuthorKey, action: EngineAction) -> object:
    """Do one action and return its result, ``None`` for those of ``UNANSWERED``."""
    match action:
        case ReadFrontier():
            return Frontier(replicating.frontier(device, action.interest), action.salt)
        case Reconcile():
            return reconcile(action)
        case Look():
            return Looked(replicating.wanted(device, action.rows))
        case Take():
            batch = replicating.check(action.entries)
            return replicating.take(device, batch, action.cursor, with_bodies=action.with_bodies)
        case ReadHeads() | ReadEntries() | ReadBodies() | JudgeOwnHead() | ReadMissing():
            return read(replicating, device, action)
        case _:
            return write(replicating, device, action)
