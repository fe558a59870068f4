"""Values of the network: other Devices, what two ledgers tell each other, what moves.

A Peer is named by its Device key, which is its libp2p host key too; an address is a multiaddr
as text and proves nothing.  What is read off the wire becomes these values at the wire's edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId


@unique
class Path(Enum):
    """How a Peer is reached."""

    DIRECT = "direct"
    LAN = "lan"
    RELAY = "relay"


@unique
class Met(Enum):
    """How a Peer was first met."""

    KEPT = "kept"  # a person named it
    INVITATION = "invitation"
    LAN = "lan"
    EXCHANGE = "exchange"
    DHT = "dht"
    INBOUND = "inbound"


# --- what two ledgers tell each other ----------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class HeadClaim:
    """That somebody holds the Feed of ``author`` up to the Entry ``entry_id`` at ``seq``."""

    author: AuthorKey
    seq: int
    entry_id: EntryId


@dataclass(frozen=True, slots=True)
class SeqRange:
    """Entries ``first`` to ``last``, both counted, of one Feed."""

    author: AuthorKey
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the arrival numbers of the store named ``store_epoch`` (16 bytes)."""

    store_epoch: bytes
    n: int


@dataclass(frozen=True, slots=True)
class Interest:
    """What one side wants to hear of: ``None`` stands for all.

    ``authors`` bounds the Feeds, ``kinds`` and ``body_bytes_max`` the Bodies.
    """

    authors: tuple[AuthorKey, ...] | None = None
    kinds: tuple[str, ...] | None = None
    body_bytes_max: int = 65_536


@dataclass(frozen=True, slots=True)
class SentEntry:
    """One Entry on its way: the bytes that were signed, and the Body where it goes along."""

    header: bytes
    sig: bytes
    body: bytes | None = None


# --- what is shown of other Devices and of what moves ---------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerView:
    """One Peer as a person sees it; times are milliseconds since 1970, ``None`` for never.

    ``identity`` is what the Peer claims, unless ``is_proven``: then a Delegation held here says
    so.  ``name`` is the Profile's of a proven Identity, else what its invitation called it.
    """

    device: AuthorKey
    identity: IdentityId | None
    name: str
    addresses: tuple[str, ...]
    met: Met
    is_kept: bool
    roles: tuple[str, ...] = ()
    program: str = ""
    is_connected: bool = False
    path: Path | None = None
    relay: AuthorKey | None = None
    seen_ms: int | None = None
    synced_ms: int | None = None
    reason: str | None = None  # why the last dial failed, by a stable word
    penalty_milli: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    is_proven: bool = False
    refused_until_ms: int | None = None  # for what it did; nothing is spoken with it until then
    answered_ms: int | None = None  # last time it answered where we dialled it


@unique
class TransferState(Enum):
    """How far a transfer is."""

    QUEUED = "queued"
    SEARCHING = "searching"  # nobody who has it is connected
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TransferView:
    """One Release on its way here; ``rate`` in bytes a second, ``error`` a code with values."""

    transfer: int
    release: bytes
    artifact: bytes
    title: str
    reason: str
    state: TransferState
    priority: int
    done_bytes: int
    total_bytes: int
    seeders: int = 0
    rate: int = 0
    error: tuple[str, Mapping[str, object]] | None = None


@dataclass(frozen=True, slots=True)
class NetworkEvent:
    """Something that happened out there: a stable word and its values, for a line of JSON."""

    word: str
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How this installation's network is to run; rates are bytes a second, 0 for no limit.

    ``port`` 0 lets the system choose; ``listen`` are multiaddr texts to listen at instead of it.
    """

    port: int = 4801
    listen: tuple[str, ...] = ()
    is_lan: bool = True
    is_dht: bool = True
    is_relay: bool = True  # others may be reached, and we through them, by a relay
    connections: int = 12  # how many are sought
    up_rate: int = 0
    down_rate: int = 0
    seeds_followed: bool = False
    is_node: bool = False  # always on: more connections, and the roles of a Node
