"""What a service of the network may use: a host with streams, and the engine behind threads.

``network.transport`` implements ``Host`` and ``Stream`` on libp2p; tests run the same services on
streams in memory.  Every wait here is bounded by whoever implements it: a Peer that is silent
raises ``PeerSilent``, one that is gone ``NoPeer``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import Path


class StreamEnded(Exception):
    """The other side closed, reset or lost the stream while something was read or written."""


class Stream(Protocol):
    """One stream to one Peer, both ways."""

    @property
    def peer(self) -> AuthorKey:
        """Return the Device at the other end, as Noise proved it."""
        ...

    @property
    def path(self) -> Path:
        """Return how it is reached."""
        ...

    async def read(self, within_seconds: float | None = None) -> bytes:
        """Return 1 to 262,144 bytes, or ``b""`` when the other side has closed its half.

        Raises ``PeerSilent`` when nothing comes in time, ``StreamEnded`` when the stream is lost.
        """
        ...

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it, in slices; raises ``PeerSilent`` when the other side stops reading."""
        ...

    async def close(self) -> None:
        """Say that nothing more is written; what was written still arrives."""
        ...

    async def reset(self) -> None:
        """Drop the stream, both ways; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Connection:
    """One Peer we are connected to; ``address`` is what it came from or was dialled at."""

    device: AuthorKey
    address: str
    is_outbound: bool
    path: Path
    since_ms: int
    relay: AuthorKey | None = None
    in_bytes: int = 0
    out_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many inbound streams of one protocol are served at once; more are refused."""

    per_peer: int
    in_all: int


class Host(Protocol):
    """Our Device among others.  Every method belongs to the network thread."""

    @property
    def device(self) -> AuthorKey:
        """Return our own Device key."""
        ...

    def addresses(self) -> Sequence[str]:
        """Return the multiaddr texts we listen at, each ending in ``/p2p/<peer id>``."""
        ...

    def serve(
        self, protocol: str, handler: Callable[[Stream], Awaitable[None]], bounds: Bounds
    ) -> None:
        """Let ``handler`` have every inbound stream of ``protocol``.

        Whatever a handler raises resets its stream and nothing else.
        """
        ...

    def connections(self) -> Sequence[Connection]:
        """Return who is connected, each Peer once."""
        ...

    def is_connected(self, device: AuthorKey) -> bool:
        """Say whether ``device`` is connected."""
        ...

    async def dial(self, address: str) -> AuthorKey:
        """Connect to a multiaddr text and return whose key answered; raises ``NoPeer``."""
        ...

    async def open(self, device: AuthorKey, protocol: str) -> Stream:
        """Open a stream to a connected Peer; raises ``NoPeer`` or ``PeerSilent``."""
        ...

    async def hang_up(self, device: AuthorKey) -> None:
        """Close every connection to ``device``; never raises."""
        ...


@dataclass(slots=True)
class Listeners:
    """Who is told of connections: called on the network thread, must not wait."""

    on_connected: list[Callable[[Connection], None]] = field(default_factory=list)
    on_lost: list[Callable[[AuthorKey], None]] = field(default_factory=list)


class Mesh(Protocol):
    """A mesh of Peers that pass small messages on; losing one costs time, never data."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Pass a message to the mesh; with nobody there, to nobody.  Never raises."""
        ...

    async def heard(self) -> tuple[str, bytes]:
        """Wait for the next message: its topic and what it says; our own come back too."""
        ...


class Directory(Protocol):
    """Who says to hold what, kept by strangers; never raises, and every answer is a hint."""

    async def provide(self, key: str) -> bool:
        """Say that we hold what ``key`` stands for; False when nobody took it."""
        ...

    async def providers(self, key: str) -> Sequence[tuple[AuthorKey, Sequence[str]]]:
        """Return Devices that say to hold it, with multiaddr texts to try."""
        ...
