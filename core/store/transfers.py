"""The Releases this folder fetches, or has fetched: which, why, how far, and what went wrong.

* A Release is fetched once: asking again goes on with what is there.
* Of those that wait the lowest priority number goes first, then the oldest.
* What has ended is history, of which only so much is kept; the files are none of it.

Which bytes are there, and from whom they come, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, false, func, insert, select, update

from hanse.core.errors import HanseError, Refused
from hanse.core.limits import JOB_ERROR_CHARACTERS_MAX, TRANSFERS_ENDED_MAX, TRANSFERS_OPEN_MAX
from hanse.core.model.ids import EntryId
from hanse.core.model.network import TransferState
from hanse.core.model.transfer import Reason
from hanse.core.store.network_tables import transfers
from hanse.core.store.tables import listings, releases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Select

    from hanse.core.store.feed_rows import AnyRow

_WAITING: Final = (TransferState.QUEUED, TransferState.SEARCHING, TransferState.RUNNING)
_ENDED: Final = (TransferState.DONE, TransferState.CANCELLED)
_WORDS: Final = tuple(state.value for state in _ENDED)

TRANSFER_OF: Final = select(transfers).where(transfers.c.release == bindparam("release"))
DUE: Final = (
    select(transfers)
    .where(
        transfers.c.state.in_([state.value for state in _WAITING]),
        transfers.c.is_paused == false(),
    )
    .order_by(transfers.c.priority, transfers.c.transfer)
)
LIVE: Final = (
    select(transfers).where(transfers.c.state.not_in(_WORDS)).order_by(transfers.c.transfer)
)
ALL: Final = select(transfers).order_by(transfers.c.priority, transfers.c.transfer)
OPEN_COUNT: Final = (
    select(func.count()).select_from(transfers).where(transfers.c.state.not_in(_WORDS))
)
STAMP: Final = select(func.count(), func.max(transfers.c.transfer))
_OLD: Final = (
    select(transfers.c.transfer)
    .where(transfers.c.state.in_(_WORDS))
    .order_by(transfers.c.changed_ms.desc(), transfers.c.transfer.desc())
    .offset(TRANSFERS_ENDED_MAX)
)
TITLE_OF: Final = (
    select(releases.c.version, listings.c.title)
    .outerjoin(
        listings,
        (listings.c.listing == releases.c.listing) & (listings.c.identity == releases.c.identity),
    )
    .where(releases.c.release == bindparam("release"))
    .limit(1)
)


class TooManyTransfers(Refused):
    """So many Releases are being fetched that no more are taken."""

    code = "transfer.too_many"
    text = "{most} transfers wait already"
    fields = ("most",)


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One Release on its way; ``error`` is the code and the values of what went wrong."""

    transfer: int
    release: EntryId
    artifact: bytes
    reason: Reason
    state: TransferState
    priority: int
    is_paused: bool
    total_bytes: int
    done_bytes: int
    created_ms: int
    changed_ms: int
    error: tuple[str, Mapping[str, str | int]] | None

    @property
    def is_ended(self) -> bool:
        """Say whether nothing more is to be done."""
        return self.state in _ENDED

    @property
    def is_due(self) -> bool:
        """Say whether somebody should work on it."""
        return self.state in _WAITING and not self.is_paused


@dataclass(frozen=True, slots=True)
class NewTransfer:
    """A Release to fetch."""

    release: EntryId
    artifact: bytes
    reason: Reason
    state: TransferState
    priority: int
    total_bytes: int
    done_bytes: int = 0


class TransferRepository:
    """All transfers of this folder."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def put(self, new: NewTransfer, now_ms: int) -> TransferRow:
        """Note a Release to fetch, in place of what was noted of it; or ``TooManyTransfers``."""
        is_open = new.state not in _ENDED
        if is_open and self._connection.execute(OPEN_COUNT).scalar_one() >= TRANSFERS_OPEN_MAX:
            raise TooManyTransfers(most=TRANSFERS_OPEN_MAX)
        values = {
            "artifact": new.artifact,
            "reason": new.reason.value,
            "state": new.state.value,
            "priority": new.priority,
            "is_paused": False,
            "total_bytes": new.total_bytes,
            "done_bytes": new.done_bytes,
            "changed_ms": now_ms,
            "error": None,
        }
        if self.get(new.release) is None:
            self._connection.execute(
                insert(transfers).values(release=new.release, created_ms=now_ms, **values)
            )
        else:
            self._change(new.release, **values)
        self._connection.execute(delete(transfers).where(transfers.c.transfer.in_(_OLD)))
        return self._held(new.release)

    def get(self, release: EntryId) -> TransferRow | None:
        """Return what is noted of one Release."""
        row = self._connection.execute(TRANSFER_OF, {"release": release}).first()
        return None if row is None else _transfer(row)

    def due(self) -> list[TransferRow]:
        """Return what to work on: not paused, failed or ended; the most urgent first."""
        return self._rows(DUE)

    def live(self) -> list[TransferRow]:
        """Return what has not ended, also what is paused or failed."""
        return self._rows(LIVE)

    def all(self) -> list[TransferRow]:
        """Return everything noted, the most urgent first."""
        return self._rows(ALL)

    def stamp(self) -> tuple[int, int]:
        """Return two numbers that change when a transfer is added."""
        count, newest = self._connection.execute(STAMP).one()
        return count, newest or 0

    def title(self, release: EntryId) -> str:
        """Return title and version of a Release; empty when it is not held any more."""
        row = self._connection.execute(TITLE_OF, {"release": release}).first()
        return "" if row is None else f"{row.title or ''} {row.version}".strip()

    def move(
        self,
        release: EntryId,
        state: TransferState,
        now_ms: int,
        error: HanseError | None = None,
    ) -> TransferRow:
        """Note another state, and why."""
        self._change(
            release,
            state=state.value,
            changed_ms=now_ms,
            error=None if error is None else _written(error),
        )
        return self._held(release)

    def set_paused(self, release: EntryId, now_ms: int, *, is_paused: bool) -> TransferRow:
        """Note that a transfer is to wait, or to go on."""
        self._change(release, is_paused=is_paused, changed_ms=now_ms)
        return self._held(release)

    def set_priority(self, release: EntryId, priority: int, now_ms: int) -> TransferRow:
        """Move a transfer to the front or the back."""
        self._change(release, priority=priority, changed_ms=now_ms)
        return self._held(release)

    def set_reason(self, release: EntryId, reason: Reason, now_ms: int) -> TransferRow:
        """Note a stronger reason for the same files."""
        self._change(release, reason=reason.value, changed_ms=now_ms)
        return self._held(release)

    def progress(self, release: EntryId, done_bytes: int, total_bytes: int, now_ms: int) -> None:
        """Note how far a transfer is."""
        self._change(release, done_bytes=done_bytes, total_bytes=total_bytes, changed_ms=now_ms)

    def _change(self, release: EntryId, **values: object) -> None:
        which: ColumnElement[bool] = transfers.c.release == release
        self._connection.execute(update(transfers).where(which).values(**values))

    def _held(self, release: EntryId) -> TransferRow:
        row = self.get(release)
        assert row is not None
        return row

    def _rows(self, statement: Select[*tuple[object, ...]]) -> list[TransferRow]:
        return [_transfer(row) for row in self._connection.execute(statement)]


def _transfer(row: AnyRow) -> TransferRow:
    error = None
    if row.error is not None:
        code, values = msgspec.json.decode(row.error, type=tuple[str, dict[str, str | int]])
        error = (code, values)
    return TransferRow(
        transfer=row.transfer,
        release=EntryId(row.release),
        artifact=row.artifact,
        reason=Reason(row.reason),
        state=TransferState(row.state),
        priority=row.priority,
        is_paused=row.is_paused,
        total_bytes=row.total_bytes,
        done_bytes=row.done_bytes,
        created_ms=row.created_ms,
        changed_ms=row.changed_ms,
        error=error,
    )


def _written(error: HanseError) -> str:
    """Write an error; what is neither text nor a whole number as its text."""
    shown = {
        name: value if isinstance(value, int) else _as_text(value)[:JOB_ERROR_CHARACTERS_MAX]
        for name, value in error.values.items()
    }
    return msgspec.json.encode([error.code, shown]).decode()


def _as_text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
