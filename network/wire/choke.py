"""Whom we send Pieces to: a few upload slots, and who has them.

* A slot is given when a Peer asks and one is free; who asks nothing for a while has left it.
* With none free, a nearer Peer takes the slot of the farthest one, but never the last slot of
  a stranger; a stranger takes one when strangers have none.
* Among equals a slot changes hands after half a minute, if somebody else asks for it.
* Everybody else is told at once when to ask again, and asks elsewhere.

How near a Peer is, is told from outside by a rank: the lower the nearer, ``STRANGER`` for one
nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey

STRANGER: Final = 3
TURN_MS: Final = 30_000

_IDLE_MS: Final = 10_000
_RETRY_MS_LEAST: Final = 1_000


@dataclass(slots=True)
class _Holder:
    rank: int
    since_ms: int
    asked_ms: int


class Choke:
    """The upload slots of one program."""

    def __init__(self, slots: int) -> None:
        """Have ``slots`` of them, all free."""
        assert slots > 0
        self._slots = slots
        self._holders: dict[AuthorKey, _Holder] = {}

    def free(self, now_ms: int) -> int:
        """Return how many slots nobody has."""
        self._forget(now_ms)
        return self._slots - len(self._holders)

    def ask(self, peer: AuthorKey, rank: int, now_ms: int) -> int | None:
        """Return ``None`` when ``peer`` may have a Piece now, else when to ask again, in ms."""
        self._forget(now_ms)
        holder = self._holders.get(peer)
        if holder is not None:
            holder.rank, holder.asked_ms = rank, now_ms
            return None
        if len(self._holders) >= self._slots:
            loser = self._loser(rank, now_ms)
            if loser is None:
                return self._retry_ms(rank, now_ms)
            del self._holders[loser]
        self._holders[peer] = _Holder(rank, now_ms, now_ms)
        return None

    def touch(self, peer: AuthorKey, now_ms: int) -> None:
        """Note that ``peer`` is being sent to, so that a slow reader keeps its slot."""
        if (holder := self._holders.get(peer)) is not None:
            holder.asked_ms = now_ms

    def leave(self, peer: AuthorKey) -> None:
        """Take the slot of a Peer that is gone."""
        self._holders.pop(peer, None)

    def _loser(self, rank: int, now_ms: int) -> AuthorKey | None:
        """Return who gives its slot to somebody of ``rank``, if anybody does."""
        strangers = sum(it.rank >= STRANGER for it in self._holders.values())
        # The farthest first, and of these who has had its slot longest.
        rows = sorted(self._holders.items(), key=lambda row: (-row[1].rank, row[1].since_ms))
        for peer, it in rows:
            if it.rank == rank and now_ms - it.since_ms >= TURN_MS:
                return peer
            if it.rank > rank and (it.rank < STRANGER or strangers > 1):
                return peer
            if rank >= STRANGER and not strangers:
                return peer
        return None

    def _retry_ms(self, rank: int, now_ms: int) -> int:
        """Return when the next turn among equals ends."""
        ends = [it.since_ms + TURN_MS for it in self._holders.values() if it.rank == rank]
        return max(_RETRY_MS_LEAST, min(ends, default=now_ms + TURN_MS) - now_ms)

    def _forget(self, now_ms: int) -> None:
        for peer, it in list(self._holders.items()):
            if now_ms - it.asked_ms >= _IDLE_MS:
                del self._holders[peer]
