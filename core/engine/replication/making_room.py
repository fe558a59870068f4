"""Keeping what is held of strangers within its bounds (ledger.md 4).

* Whole Identities are given up, those of whom something came longest ago first, until a tenth of
  each bound is free, and only some in one round.
* Never one that is near or within two hops, that an Entry of ours names, or whose files are used.
* What was given up is not fetched again for a month, or until it is no stranger's any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.ledger.quotas import DAY_MS, Tier
from hanse.core.limits import (
    FEEDS_DROPPED_AT_ONCE_MAX,
    FEEDS_MAX,
    STRANGERS_BODIES_BYTES_MAX,
    STRANGERS_HEADERS_MAX,
)

if TYPE_CHECKING:
    from hanse.core.engine.context import Context
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.room import Totals
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

FORGOTTEN_AFTER_MS: Final = 30 * DAY_MS
_LOOKED_AT: Final = 4 * FEEDS_DROPPED_AT_ONCE_MAX


class MakingRoom:
    """Gives up Feeds of strangers; on the writer."""

    def __init__(self, context: Context) -> None:
        """Bind the Account."""
        self._context = context
        self._is_freeing = False

    def is_due(self, held: Repositories) -> bool:
        """Say whether a bound is reached, or was and there is not enough room yet."""
        return _is_over(held.room.totals(), tenths=9 if self._is_freeing else 10)

    def round(self, uow: UnitOfWork, now_ms: int) -> int:
        """Give up some Identities; return how many."""
        totals = uow.room.totals()
        dropped = 0
        for identity in uow.room.least_used(_LOOKED_AT):
            if dropped == FEEDS_DROPPED_AT_ONCE_MAX or not _is_over(totals, tenths=9):
                break
            rows = list(uow.feeds.of_identity(identity))
            if any(row.tier is not Tier.STRANGER for row in rows):
                continue
            if uow.room.is_needed(identity, self._context.identity):
                continue
            give_up(uow, identity, now_ms)
            dropped += 1
            totals = uow.room.totals()
        self._is_freeing = dropped > 0 and _is_over(totals, tenths=9)
        return dropped


def give_up(uow: UnitOfWork, identity: IdentityId, now_ms: int) -> None:
    """Forget everything held of an Identity, in the Ledger and in what is made of it."""
    for row in list(uow.feeds.of_identity(identity)):
        uow.feeds.drop(row.author, now_ms)
        uow.projections.forget_device(row.author)
    uow.projections.refold(identity)
    uow.intake.forget(identity)


def _is_over(totals: Totals, *, tenths: int) -> bool:
    return (
        10 * totals.feeds > tenths * FEEDS_MAX
        or 10 * totals.headers > tenths * STRANGERS_HEADERS_MAX
        or 10 * totals.body_bytes > tenths * STRANGERS_BODIES_BYTES_MAX
    )
