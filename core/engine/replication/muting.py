"""Showing no more of one writer than the rates allow (market.md 5).

* What came over the network is counted on the day it came; our own Entries never are.
* What is over the rate waits, and gets its turn on later days in the order it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.engine.replication.values import MutedView
from hanse.core.ledger.feed import judge_body
from hanse.core.ledger.kinds import Listing1, Price1, Release1
from hanse.core.ledger.quotas import DAY_MS, Tier
from hanse.core.limits import HOUSEKEEPING_ROWS_MAX
from hanse.core.market.admission import SORT_ANY, is_shown, rate_of, sort_of
from hanse.core.store.intake import Muted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.engine.context import Context
    from hanse.core.engine.syncing import TakenEntry, TierOf
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork


class Muting:
    """What is shown of what came."""

    def __init__(self, context: Context) -> None:
        """Bind the Account."""
        self._context = context
        self._looked_at = 0  # the place in the queue up to which turns were given

    def count(self, uow: UnitOfWork, taken: Iterable[TakenEntry], now_ms: int) -> int:
        """Count what was just taken; mute what is over the rate, and return how much that is."""
        day = now_ms // DAY_MS
        shown: dict[tuple[IdentityId, str], int] = {}
        waiting: dict[tuple[IdentityId, str], bool] = {}
        fresh: dict[tuple[IdentityId, str], int] = {}
        muted: list[Muted] = []
        for it in taken:
            sort, identity = sort_of(it.entry.kind), it.identity
            if sort is None or identity == self._context.identity:
                continue

            def counted(name: str, identity: IdentityId = identity) -> int:
                key = identity, name
                if key not in shown:
                    shown[key] = uow.intake.counted(day, identity, name)
                return shown[key]

            key = identity, sort
            if key not in waiting:
                waiting[key] = uow.intake.is_waiting(*key)
            if not waiting[key] and is_shown(counted, sort, it.tier):
                for name in _sorts(sort):
                    shown[identity, name] = counted(name) + 1
                    fresh[identity, name] = fresh.get((identity, name), 0) + 1
            else:
                waiting[key] = True
                muted.append(Muted(it.entry.entry_id, identity, sort, _listing_of(it.entry)))
        uow.intake.mute(day, muted)
        for (identity, name), more in sorted(fresh.items()):
            uow.intake.count(day, identity, name, more)
        return len(muted)

    def give_turns(self, uow: UnitOfWork, tier_of: TierOf, now_ms: int) -> int:
        """Show what waited and has its turn today; return how much, of a bounded part."""
        day = now_ms // DAY_MS
        uow.intake.forget_before(day)
        part = uow.intake.waiting(self._looked_at)
        places = []
        for it in part:

            def counted(name: str, identity: IdentityId = it.identity) -> int:
                return uow.intake.counted(day, identity, name)

            if is_shown(counted, it.sort, tier_of(it.identity)):
                places.append(it.place)
                for name in _sorts(it.sort):
                    uow.intake.count(day, it.identity, name, 1)
        uow.intake.unmute(places)
        self._looked_at = part[-1].place if len(part) == HOUSEKEEPING_ROWS_MAX else 0
        return len(places)

    def views(self, held: Repositories) -> tuple[MutedView, ...]:
        """Return what is not shown, and the rate it was over."""
        views = []
        for it in held.intake.by_sort():
            rows = held.feeds.of_identity(it.identity)
            tier = next((row.tier for row in rows), Tier.STRANGER)
            views.append(MutedView(it.identity, it.sort, it.day, it.count, rate_of(it.sort, tier)))
        return tuple(views)


def _sorts(sort: str) -> tuple[str, ...]:
    return (sort,) if sort == SORT_ANY else (sort, SORT_ANY)


def _listing_of(entry: CheckedEntry) -> bytes | None:
    """Return of which Listing an Entry is, ``None`` where it is of none that is known."""
    match judge_body(entry).body:
        case Listing1(listing=named):
            return entry.entry_id if named is None else named
        case Release1(listing=named) | Price1(listing=named):
            return named
        case _:
            return None
