"""Drafts of this folder: what is on its way to being published, and how far it is.

* A Draft's content is its owner's bytes; here stand its size, its state and what it is
  about.
* A Draft that was published stays as it was: so nothing is published twice.

What the states mean, and what must be true in each, is the publishing engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from hanse.core.errors import Refused, WrongUse
from hanse.core.limits import DRAFT_SIZE_BYTES_MAX, DRAFTS_MAX
from hanse.core.model.ids import EntryId
from hanse.core.store.tables import drafts

if TYPE_CHECKING:
    from hanse.core.store.feed_rows import AnyRow

DRAFT_ID_SIZE_BYTES: Final = 16
DRAFTS_PER_PAGE: Final = 50

DraftKey = tuple[int, bytes]  # updated_ms, draft

DRAFT_OF_ID: Final = select(drafts).where(drafts.c.draft == bindparam("draft"))
DRAFTS_BEFORE: Final = (
    select(drafts)
    .where(
        tuple_(drafts.c.updated_ms, drafts.c.draft)
        < tuple_(bindparam("before_ms"), bindparam("before"))
    )
    .order_by(drafts.c.updated_ms.desc(), drafts.c.draft.desc())
    .limit(bindparam("limit"))
)
DRAFTS_OF_ARTIFACT: Final = (
    select(drafts).where(drafts.c.artifact == bindparam("artifact")).limit(DRAFTS_PER_PAGE)
)
OPEN_DRAFTS: Final = (  # what was published is history, and hinders nobody
    select(func.count()).select_from(drafts).where(drafts.c.state != "PUBLISHED")
)
_LAST: Final[DraftKey] = (2**63 - 1, b"")


class DraftUnknown(WrongUse):
    """There is no draft of this id."""

    code = "draft.unknown"
    text = "there is no draft {draft}"
    fields = ("draft",)


class DraftPublished(Refused):
    """A draft was published already, so it cannot change."""

    code = "draft.published"
    text = "draft {draft} was published as listing {listing}"
    fields = ("draft", "listing")


class DraftTooLarge(Refused):
    """A draft holds more than is kept of one."""

    code = "draft.too_large"
    text = "a draft of {found_bytes} bytes, limit {most_bytes}"
    fields = ("found_bytes", "most_bytes")


class TooManyDrafts(Refused):
    """No more drafts are kept in one folder."""

    code = "draft.too_many"
    text = "{most} drafts are kept already"
    fields = ("most",)


@unique
class DraftState(Enum):
    """How far a draft has come."""

    IMPORTED = "IMPORTED"
    PREPARED = "PREPARED"
    TESTED = "TESTED"
    DRAFTED = "DRAFTED"
    PUBLISHED = "PUBLISHED"


@dataclass(frozen=True, slots=True)
class DraftRow:
    """One draft: ``data`` is its owner's, ``source`` the path it was imported from."""

    draft: bytes
    state: DraftState
    data: bytes
    created_ms: int
    updated_ms: int
    source: str | None = None
    artifact: bytes | None = None
    listing: EntryId | None = None


class DraftRepository:
    """All drafts of this folder."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection

    def get(self, draft: bytes) -> DraftRow | None:
        """Return one draft."""
        row = self._connection.execute(DRAFT_OF_ID, {"draft": draft}).first()
        return None if row is None else _draft(row)

    def put(self, row: DraftRow) -> None:
        """Keep a draft, in place of what was there; its ``created_ms`` stays the first one.

        Raises ``DraftPublished``, ``DraftTooLarge`` or ``TooManyDrafts``.
        """
        assert len(row.draft) == DRAFT_ID_SIZE_BYTES
        if len(row.data) > DRAFT_SIZE_BYTES_MAX:
            raise DraftTooLarge(found_bytes=len(row.data), most_bytes=DRAFT_SIZE_BYTES_MAX)
        held = self.get(row.draft)
        if held is None:
            if self._connection.execute(OPEN_DRAFTS).scalar_one() >= DRAFTS_MAX:
                raise TooManyDrafts(most=DRAFTS_MAX)
        else:
            _check_open(held)
        statement = insert(drafts).values(
            draft=row.draft,
            state=row.state.value,
            source=row.source,
            artifact=row.artifact,
            listing=row.listing,
            created_ms=row.created_ms,
            updated_ms=row.updated_ms,
            data=row.data,
        )
        kept = {drafts.c.draft, drafts.c.created_ms}
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[drafts.c.draft],
                set_={
                    it.name: statement.excluded[it.name] for it in drafts.columns if it not in kept
                },
            )
        )

    def advance(
        self, draft: bytes, state: DraftState, now_ms: int, *, listing: EntryId | None = None
    ) -> None:
        """Note how far a draft has come, and as what it was published.

        Raises ``DraftUnknown`` or ``DraftPublished``.
        """
        held = self.get(draft)
        if held is None:
            raise DraftUnknown(draft=draft)
        _check_open(held)
        self._connection.execute(
            drafts.update()
            .where(drafts.c.draft == draft)
            .values(state=state.value, updated_ms=now_ms, listing=listing or held.listing)
        )

    def page(self, before: DraftKey | None = None, limit: int = DRAFTS_PER_PAGE) -> list[DraftRow]:
        """Return drafts, the one changed last first.

        ``before`` is the (updated_ms, draft) of the last one of the page before.
        """
        before_ms, before_id = before or _LAST
        rows = self._connection.execute(
            DRAFTS_BEFORE, {"before_ms": before_ms, "before": before_id, "limit": limit}
        )
        return [_draft(row) for row in rows]

    def of_artifact(self, artifact: bytes) -> list[DraftRow]:
        """Return the drafts that are about an Artifact."""
        rows = self._connection.execute(DRAFTS_OF_ARTIFACT, {"artifact": artifact})
        return [_draft(row) for row in rows]

    def drop(self, draft: bytes) -> bool:
        """Forget a draft, also a published one; say whether it was there."""
        return bool(
            self._connection.execute(delete(drafts).where(drafts.c.draft == draft)).rowcount
        )


def _check_open(held: DraftRow) -> None:
    if held.state is DraftState.PUBLISHED:
        raise DraftPublished(draft=held.draft, listing=held.listing)


def _draft(row: AnyRow) -> DraftRow:
    return DraftRow(
        draft=row.draft,
        state=DraftState(row.state),
        data=row.data,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        source=row.source,
        artifact=row.artifact,
        listing=None if row.listing is None else EntryId(row.listing),
    )
