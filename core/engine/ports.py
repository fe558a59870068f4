"""What the engine asks of the network, and what a terminal or a window may ask of it.

The network implements ``Peers``; where there is none (offline, or the library is missing) the
same questions are answered by ``NoPeers`` in ``hanse.core.engine.offline``.  Futures end with the
errors named here, which say what was tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hanse.core.errors import EnvironmentFault, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from hanse.core.engine.trying.peer import TrialPeer
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.model.network import PeerView, TransferView


class NoPeer(EnvironmentFault):
    """Nobody could be reached; ``tried`` says how many addresses were."""

    code = "network.no_peer"
    text = "nobody of {whom} could be reached ({tried} addresses tried)"
    fields = ("whom", "tried")


class PeerSilent(EnvironmentFault):
    """A Peer was reached and did not answer in time."""

    code = "network.peer_silent"
    text = "{peer} did not answer within {seconds} seconds"
    fields = ("peer", "seconds")


class PeerBusy(Refused):
    """A Peer answers later: it has too much to do, or we asked too often."""

    code = "network.peer_busy"
    text = "{peer} is busy, again in {retry_ms} ms"
    fields = ("peer", "retry_ms")


class PeerRefused(Refused):
    """A Peer will not do it; ``reason`` is the word it gave."""

    code = "network.peer_refused"
    text = "{peer} refused: {reason}"
    fields = ("peer", "reason")


class NoSeeder(EnvironmentFault):
    """Nobody who is connected has the files of a Release."""

    code = "network.no_seeder"
    text = "nobody who could be reached has the files of release {release}"
    fields = ("release",)


class PortTaken(EnvironmentFault):
    """Another program listens on the port."""

    code = "network.port_taken"
    text = "port {port} is in use by another program"
    fields = ("port",)


class NetworkMissing(EnvironmentFault):
    """The network library cannot be used; everything else works."""

    code = "network.missing"
    text = "the network cannot be started: {reason}"
    fields = ("reason",)


class NetworkOffline(Refused):
    """The network is switched off, or the Account is locked."""

    code = "network.offline"
    text = "the network is off: {reason}"
    fields = ("reason",)


class Peers(Protocol):
    """The network as the rest of Hanse sees it; every method may be called from any thread."""

    @property
    def is_online(self) -> bool:
        """Say whether the network runs."""
        ...

    def connections(self) -> Sequence[PeerView]:
        """Return the Peers we are connected to."""
        ...

    def add(self, text: str, *, is_kept: bool = True) -> Future[PeerView]:
        """Dial an address, a link or the text of an invitation, and remember who answered."""
        ...

    def sync(self, device: AuthorKey | None = None) -> Future[Mapping[AuthorKey, int]]:
        """Synchronise now with one Peer or all; the answer counts new Entries for each."""
        ...

    def fetch(self, release: bytes) -> None:
        """Look at the transfers: one was asked for, went on, or was paused."""
        ...

    def transfers(self) -> Sequence[TransferView]:
        """Return the transfers under way, with their rates."""
        ...

    def post(self, entry_id: EntryId | None = None) -> None:
        """Look at the outbox: something is to be delivered, or to be tried again now."""
        ...

    def announce(self) -> None:
        """Tell connected Peers that own Entries are there."""
        ...

    def trial(self, seller: IdentityId) -> TrialPeer:
        """Return the seller of a Trial, reached over the network; its calls block."""
        ...
