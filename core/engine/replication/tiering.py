"""How near everybody is, kept true: from our follows, theirs, and whom we sent something sealed.

* The rule is ``hanse.core.market.admission``; here is what it is shown, and what is changed when
  its answer changes.
* Two small questions say whether our own part has changed; what others follow is looked at again
  when one of them wrote of it.
* A Feed that the person brought from a file stays near until an Identity's own tier changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.ledger.quotas import Tier
from hanse.core.limits import TIERED_IDENTITIES_MAX
from hanse.core.market.admission import tiers
from hanse.core.model.ids import IdentityId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.engine.context import Context
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

_NEAR_BEFORE: Final = "replication.near"  # who was, when the Feeds were last told; hex


class Tiering:
    """The tiers as this Account sees them; asked and changed by the writer."""

    def __init__(self, context: Context) -> None:
        """Know nothing yet."""
        self._context = context
        self._tiers: dict[IdentityId, Tier] | None = None
        self._ours: object = None
        self._pending: dict[IdentityId, Tier] = {}

    def forget(self) -> None:
        """Work everything out anew at the next question: somebody's follows changed."""
        self._ours = None

    def tier_of(self, identity: IdentityId) -> Tier:
        """Return how near an Identity was when ``refresh`` was last called."""
        return (self._tiers or {}).get(identity, Tier.STRANGER)

    def refresh(self, held: Repositories) -> None:
        """Look whether anything changed, and note whose Feeds are to be told."""
        own = self._context.identity
        ours = (
            tuple((it.target, it.weight > 0) for it in held.projections.follows_of(own)),
            held.private_to.newest(),
        )
        if self._tiers is not None and ours == self._ours:
            return
        found = tiers(
            own,
            lambda identity: _followed(held, identity),
            held.private_to.parties(TIERED_IDENTITIES_MAX),
        )
        before = self._tiers
        if before is None:
            before = dict.fromkeys(_near_before(held), Tier.NEAR)
            # What is stored may be older than this program's memory: every tier is told again.
            self._pending.update(found)
        self._pending.update(
            (identity, found.get(identity, Tier.STRANGER))
            for identity in before.keys() | found.keys()
            if before.get(identity) is not found.get(identity)
        )
        self._tiers, self._ours = found, ours

    def settle(self, uow: UnitOfWork, most: int) -> int:
        """Tell at most ``most`` Identities' Feeds how near they are; return how many changed."""
        changed = 0
        for identity in list(self._pending)[:most]:
            tier = self._pending.pop(identity)
            if tier is not Tier.STRANGER:
                uow.room.want_again(identity)
            for row in list(uow.feeds.of_identity(identity)):
                if row.tier is not tier:
                    uow.feeds.set_tier(row.author, tier)
                    changed += 1
        if not self._pending and self._tiers is not None:
            near = sorted(it.hex() for it, tier in self._tiers.items() if tier is Tier.NEAR)
            text = msgspec.json.encode(near).decode()
            if uow.meta.get(_NEAR_BEFORE) != text:
                uow.meta.put(_NEAR_BEFORE, text)
        return changed


def _followed(held: Repositories, identity: IdentityId) -> Iterator[IdentityId]:
    return (it.target for it in held.projections.follows_of(identity) if it.weight > 0)


def _near_before(held: Repositories) -> list[IdentityId]:
    text = held.meta.get(_NEAR_BEFORE)
    if text is None:
        return []
    return [IdentityId(bytes.fromhex(it)) for it in msgspec.json.decode(text, type=list[str])]
