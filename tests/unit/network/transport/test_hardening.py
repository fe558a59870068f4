"""The library's parts that every host of the program shares, mended once."""

from __future__ import annotations

import hanse.network.transport  # noqa: F401  libp2p cannot be imported before it

# isort: split

import logging

import pytest
import trio
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import MessageTooLarge
from libp2p.network.connection import swarm_connection
from libp2p.peer.id import ID
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from multiaddr import Multiaddr

from hanse.core.limits import ADVERTISED_ADDRESSES_MAX, ADVERTISED_PROTOCOLS_MAX
from hanse.core.model.addresses import PEER_ID_PREFIX
from hanse.network.transport.hardening import bound_negotiation, quieten
from hanse.network.transport.host import LibP2PHost
from tests.fakes.hosts import seed_of


class Wire:
    """Gives what it was told to, byte by byte if asked so."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read(self, n: int) -> bytes:
        taken, self.data = self.data[:n], self.data[n:]
        return taken


def test_line_of_a_negotiation_is_read_as_before() -> None:
    bound_negotiation()
    line = trio.run(MultiselectCommunicator(Wire(b"\x05/abc\n")).read)
    assert line == "/abc"


@pytest.mark.parametrize("data", [b"\x80\x80\x80\x80\x10", b"\x81\x08" + bytes(1025)])
def test_line_of_a_negotiation_that_is_too_long_is_refused_by_its_length(data: bytes) -> None:
    bound_negotiation()
    wire = Wire(data)
    with pytest.raises(MessageTooLarge):
        trio.run(multiselect_communicator.read_delim, wire)
    assert len(wire.data) in {0, 1025}


def test_line_without_an_end_is_refused() -> None:
    bound_negotiation()
    with pytest.raises(ParseError):
        trio.run(multiselect_communicator.read_delim, Wire(b"\x03abc"))


def test_what_the_library_says_of_peers_is_ours_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    quieten()
    with caplog.at_level(logging.DEBUG, "hanse.network.transport.hardening"):
        logging.getLogger("libp2p.network.swarm").error("peer %s is rude", "x")
        swarm_connection.logging.warning("and this one goes to the root logger")
    ours = [record for record in caplog.records if record.name.startswith("hanse.")]
    assert [record.levelno for record in ours] == [logging.DEBUG] * 2
    assert ours[0].getMessage() == "libp2p.network.swarm: peer x is rude"


def test_what_a_peer_tells_of_itself_is_kept_in_measure() -> None:
    peerstore = LibP2PHost(seed_of(0)).inner.get_peerstore()
    peer = ID(PEER_ID_PREFIX + bytes(32))
    for start in range(0, 100, 10):
        peerstore.add_addrs(
            peer, [Multiaddr(f"/ip4/203.0.113.{start + each}/tcp/1") for each in range(10)], 60
        )
    assert len(peerstore.addrs(peer)) == ADVERTISED_ADDRESSES_MAX
    peerstore.add_protocols(peer, ["x" * 1000, *(f"/p/{number}" for number in range(1000))])
    assert len(peerstore.get_protocols(peer)) == ADVERTISED_PROTOCOLS_MAX
    assert max(map(len, peerstore.get_protocols(peer))) < 20


def test_own_key_is_not_pushed_out_by_many_peers() -> None:
    inner = LibP2PHost(seed_of(0)).inner
    peerstore = inner.get_peerstore()
    for number in range(peerstore.max_peers + 20):
        peer = ID(PEER_ID_PREFIX + number.to_bytes(32, "big"))
        peerstore.add_addrs(peer, [Multiaddr("/ip4/203.0.113.1/tcp/1")], 60)
    assert len(peerstore.peer_data_map) <= peerstore.max_peers + 1
    assert inner.get_private_key()


def test_seed_is_in_no_log_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    seed = seed_of(7)
    with caplog.at_level(logging.DEBUG):
        host = LibP2PHost(seed)
    assert seed.hex() not in repr(vars(host)) + caplog.text
