"""``Peers`` where there is no network: what is known is shown, what needs others says so.

What was queued (a transfer, a delivery) stands in the store and begins when the network does, so
that asking for it is no error.  Why there is none is a stable word of ``NetworkOffline``:
``switched_off``, ``locked``, ``not_running``, ``closing``; a library that is missing is an error
of its own, given by the caller.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

from hanse.core.engine.ports import NetworkOffline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.trying.peer import TrialPeer
    from hanse.core.errors import HanseError
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.model.network import PeerView, TransferView

T = TypeVar("T")

SWITCHED_OFF: Final = "switched_off"
LOCKED: Final = "locked"
NOT_RUNNING: Final = "not_running"
CLOSING: Final = "closing"


class NoPeers:
    """The network of a program that has none."""

    def __init__(self, engine: Engine, reason: str | HanseError = NOT_RUNNING) -> None:
        """Say ``reason``, a word or the very error, to whoever needs others."""
        self._engine = engine
        self._reason = reason

    @property
    def is_online(self) -> bool:
        """Say that the network does not run."""
        return False

    def connections(self) -> Sequence[PeerView]:
        """Return nobody; who is known is shown by ``Engine.peering``."""
        return ()

    def add(self, text: str, *, is_kept: bool = True) -> Future[PeerView]:
        """Keep the Peer if that is wanted, and end with the error: nobody is dialled.

        Raises what reading ``text`` raises.
        """
        if is_kept:
            self._engine.peering.keep(text)
        return _ended(self._error())

    def sync(self, device: AuthorKey | None = None) -> Future[Mapping[AuthorKey, int]]:
        """End with the error."""
        del device
        return _ended(self._error())

    def fetch(self, release: bytes) -> None:
        """Leave it queued: ``Engine.fetching`` has it."""

    def transfers(self) -> Sequence[TransferView]:
        """Return the transfers that wait for a network."""
        return self._engine.fetching.views()

    def post(self, entry_id: EntryId | None = None) -> None:
        """Leave it in the outbox."""

    def announce(self) -> None:
        """Leave it: whoever connects hears of it."""

    def trial(self, seller: IdentityId) -> TrialPeer:
        """Raise the error."""
        del seller
        raise self._error()

    def _error(self) -> HanseError:
        if isinstance(self._reason, str):
            return NetworkOffline(reason=self._reason)
        return self._reason


def _ended(error: HanseError) -> Future[T]:
    future: Future[T] = Future()
    future.set_exception(error)
    return future
