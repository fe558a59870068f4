"""What the writer remembers from one transaction to the next, and when it must forget.

There is one writer, so what it read stays true until it changes it itself or
undoes a transaction; then everything is forgotten.  Readers remember nothing
beyond one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.limits import STANDINGS_REMEMBERED_MAX
from hanse.core.store.kind_numbers import KindNumbers

if TYPE_CHECKING:
    from hanse.core.ledger.identities import Standing
    from hanse.core.model.ids import IdentityId


class Memory:
    """Numbers of kinds, and the standing of Identities that were asked for."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.kinds = KindNumbers()
        self._standings: dict[IdentityId, Standing | None] = {}
        self.newest_n: int | None = None  # the highest arrival number ever given
        self.parked: tuple[int, int] | None = None  # how many wait, and how many bytes they are

    def forget(self) -> None:
        """Forget everything: what was read may have been undone."""
        self.kinds.forget()
        self.newest_n = None
        self.parked = None
        self.forget_standings()

    def forget_standings(self) -> None:
        """Forget who stands how: a root Entry came, or one that was held went."""
        self._standings = {}

    def knows(self, identity: IdentityId) -> bool:
        """Say whether the standing of ``identity`` is remembered, also as missing."""
        return identity in self._standings

    def standing(self, identity: IdentityId) -> Standing | None:
        """Return what is remembered."""
        return self._standings.get(identity)

    def remember(self, identity: IdentityId, known: Standing | None) -> None:
        """Keep what was just read."""
        if len(self._standings) >= STANDINGS_REMEMBERED_MAX:
            self.forget_standings()
        self._standings[identity] = known
