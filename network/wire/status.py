"""``/hanse/status/1``: what a Peer says of itself, and whom it knows (network.md 4).

* HELLO goes each way: the dialler asks with it, the answer has the same ``call``.  Both are at
  most 4 KiB.  A later HELLO may say more; what it says more is passed over, so that versions can
  be told apart before they cannot read each other.
* PEERS answers MORE_PEERS with at most 32 Devices that were reached where they are said to be.
* All of it is hearsay.  ``identity`` waits for a Delegation, addresses for a key that answers.

Who is asked, and how often, is decided elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from hanse.core.limits import (
    MULTIADDR_CHARACTERS_MAX,
    PEER_ROLES_MAX,
    PROGRAM_CHARACTERS_MAX,
    STATUS_ADDRESSES_MAX,
    STATUS_ANSWER_SIZE_BYTES_MAX,
    STATUS_FRAME_ITEMS_MAX,
    STATUS_FRAME_SIZE_BYTES_MAX,
    STATUS_PEERS_CLAIMED_MAX,
    STATUS_PEERS_MAX,
    STATUS_WORD_CHARACTERS_MAX,
)
from hanse.core.model.ids import ID_SIZE_BYTES
from hanse.network.wire.frames import Messages, encode_frame

PROTOCOL: Final = "/hanse/status/1"
VERSION: Final = 1
ROLES: Final = ("node", "relay", "mailbox", "seeder")

_CALL_LAST: Final = 2**32 - 1
_TIME_LAST: Final = 2**53 - 1
_RETRY_MS_LAST: Final = 24 * 60 * 60 * 1000

Call = Annotated[int, msgspec.Meta(ge=0, le=_CALL_LAST)]
Key = Annotated[bytes, msgspec.Meta(min_length=ID_SIZE_BYTES, max_length=ID_SIZE_BYTES)]
Word = Annotated[
    str, msgspec.Meta(min_length=1, max_length=STATUS_WORD_CHARACTERS_MAX, pattern="^[a-z_]+$")
]
Place = Annotated[str, msgspec.Meta(min_length=1, max_length=MULTIADDR_CHARACTERS_MAX)]
Places = Annotated[tuple[Place, ...], msgspec.Meta(max_length=STATUS_ADDRESSES_MAX)]


class About(msgspec.Struct, frozen=True):
    """What a Peer says of itself.

    ``observed`` is where it sees the other side: what it dialled, or what dialled it.
    ``addresses`` are where it may be dialled; a program that cannot be says none.
    """

    v: Annotated[int, msgspec.Meta(ge=0, le=_CALL_LAST)]
    program: Annotated[str, msgspec.Meta(max_length=PROGRAM_CHARACTERS_MAX)]
    roles: Annotated[tuple[Word, ...], msgspec.Meta(max_length=PEER_ROLES_MAX)]
    identity: Key | None
    observed: Place | None
    time_ms: Annotated[int, msgspec.Meta(ge=0, le=_TIME_LAST)]
    peers: Annotated[int, msgspec.Meta(ge=0, le=STATUS_PEERS_CLAIMED_MAX)]
    addresses: Places = ()


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Say who one is; asked and answered."""

    call: Call
    about: About


class MorePeers(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Ask for up to ``n`` other Peers."""

    call: Call
    n: Annotated[int, msgspec.Meta(ge=1, le=STATUS_PEERS_MAX)]


class PeerLine(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One Device, where it answered, and how many seconds ago it did."""

    device: Key
    addresses: Annotated[tuple[Place, ...], msgspec.Meta(max_length=STATUS_ADDRESSES_MAX)]
    seen_s: Annotated[int, msgspec.Meta(ge=0, le=_CALL_LAST)]


class PeerLines(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Answer MORE_PEERS (PEERS on the wire)."""

    call: Call
    peers: Annotated[tuple[PeerLine, ...], msgspec.Meta(max_length=STATUS_PEERS_MAX)]


class Sorry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Refuse one call, by a stable word; ``retry_ms`` 0 for never."""

    call: Call
    code: Word
    retry_ms: Annotated[int, msgspec.Meta(ge=0, le=_RETRY_MS_LAST)]


StatusMessage = Hello | MorePeers | PeerLines | Sorry

# Who serves reads questions, who asked reads answers; only an answer may be long.
QUESTIONS: Final = Messages(
    PROTOCOL, Hello | MorePeers, STATUS_FRAME_ITEMS_MAX, STATUS_FRAME_SIZE_BYTES_MAX
)
ANSWERS: Final = Messages(
    PROTOCOL, Hello | PeerLines | Sorry, STATUS_FRAME_ITEMS_MAX, STATUS_ANSWER_SIZE_BYTES_MAX
)


def write_status(message: StatusMessage) -> bytes:
    """Write one message as a frame; one that is too long is our own bug."""
    is_answer = isinstance(message, PeerLines)
    most = STATUS_ANSWER_SIZE_BYTES_MAX if is_answer else STATUS_FRAME_SIZE_BYTES_MAX
    return encode_frame(message, most)
