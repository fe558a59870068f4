"""What in libp2p lets one Peer end the program or fill its memory, and is stopped here.

Each replaces a private name of exactly the version that is pinned, and each has a test that
attacks it (``tests/hostile/network``):

* ``bound_negotiation``: a line of multistream-select is at most 1 KiB.  The library reads whatever
  length is announced, before it knows who speaks.
* ``guard_peerstore``: what Peers tell of themselves is kept in measure, and many of them do not
  push out our own key, which has no address and so would be the first to go.
* ``guard_pubsub``: a message that breaks while it is checked is dropped, and its numbers do not
  begin again after a restart: others know the old ones and would drop the new messages.
* ``quieten``: what the library says of Peers goes to our log at debug, or a hostile one fills it;
  what it says to the root logger (and so to the terminal) goes the same way.

``use_safe_parts`` puts in place what is the same for every host of this program.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from libp2p.exceptions import ParseError
from libp2p.network.connection import swarm_connection
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.stream_muxer import muxer_multistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.tcp import tcp
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from hanse.core.limits import (
    ADVERTISED_ADDRESSES_MAX,
    ADVERTISED_PROTOCOL_CHARACTERS_MAX,
    ADVERTISED_PROTOCOLS_MAX,
    NEGOTIATION_SIZE_BYTES_MAX,
    STREAM_WINDOW_BYTES_MAX,
)
from hanse.network.transport.muxer import SafeStream, SafeYamux
from hanse.network.transport.sockets import BufferedTCP

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

_LIBRARY: Final = "libp2p"


def use_safe_parts() -> None:
    """Put our classes and functions where the library looks for its own; may be called again."""
    quieten()
    bound_negotiation()
    for module, name, ours in (
        (yamux, "MAX_WINDOW_SIZE", STREAM_WINDOW_BYTES_MAX),
        (yamux, "YamuxStream", SafeStream),
        (muxer_multistream, "Yamux", SafeYamux),  # a subclass given to new_host is ignored
        (tcp, "TrioTCPStream", BufferedTCP),
    ):
        vars(module)[name] = ours


class _Relay(logging.Handler):
    """Repeats at debug, under our own name, what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: %s", record.name, record.getMessage(), exc_info=record.exc_info)


def quieten() -> None:
    """Take the library's log records, of which Peers decide the number."""
    logger = logging.getLogger(_LIBRARY)
    if not any(isinstance(handler, _Relay) for handler in logger.handlers):
        logger.addHandler(_Relay(logging.WARNING))
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    # This module logs by the root logger's functions, which are methods of any logger.
    vars(swarm_connection)["logging"] = logging.getLogger(swarm_connection.__name__)


def bound_negotiation() -> None:
    """Let no line of a negotiation be longer than any honest one."""

    async def read_line(reader: Any) -> bytes:
        line = await read_varint_prefixed_bytes_limited(reader, NEGOTIATION_SIZE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise ParseError("a line of a negotiation has no end")
        return line[:-1]

    vars(multiselect_communicator)["read_delim"] = read_line


def guard_peerstore(peerstore: Any, own_id: Any) -> None:
    """Keep at most a fixed number of addresses and protocols of each Peer, and always our key."""
    add_addrs, add_protocols = peerstore.add_addrs, peerstore.add_protocols
    enforce = peerstore._enforce_peer_limit

    def add_some_addrs(peer_id: Any, addrs: Sequence[Any], ttl: int = 0) -> None:
        known = peerstore.addrs(peer_id) if peer_id in peerstore.peers_with_addrs() else []
        room = max(0, ADVERTISED_ADDRESSES_MAX - len(known))
        add_addrs(peer_id, list(addrs)[:room], ttl)

    def add_some_protocols(peer_id: Any, protocols: Sequence[str]) -> None:
        known = peerstore.get_protocols(peer_id) if peerstore.has_peer(peer_id) else []
        room = max(0, ADVERTISED_PROTOCOLS_MAX - len(known))
        short = [name for name in protocols if len(name) <= ADVERTISED_PROTOCOL_CHARACTERS_MAX]
        add_protocols(peer_id, short[:room])

    def enforce_but_keep_ours() -> None:
        ours = peerstore.peer_data_map[own_id]
        enforce()
        peerstore.peer_data_map[own_id] = ours

    peerstore.add_addrs, peerstore.add_protocols = add_some_addrs, add_some_protocols
    peerstore._enforce_peer_limit = enforce_but_keep_ours


def guard_pubsub(pubsub: Any) -> None:
    """Let a message that raises while it is checked be dropped, and number ours by the time."""
    push = pubsub.push_msg

    async def push_or_drop(*args: Any, **kwargs: Any) -> None:
        with suppress(Exception):
            await push(*args, **kwargs)

    pubsub.push_msg, pubsub.counter = push_or_drop, time.time_ns()
