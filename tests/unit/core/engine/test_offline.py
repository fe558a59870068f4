"""The network of a program that has none."""

from __future__ import annotations

import pytest

from hanse.core.engine.inviting import BadInvitation
from hanse.core.engine.offline import LOCKED, NoPeers
from hanse.core.engine.ports import NetworkMissing, NetworkOffline
from hanse.core.model.addresses import peer_id_text
from tests.fakes.people import Person

LINK = f"hanse:peer/{peer_id_text(bytes(32))}?a=/ip4/198.51.100.7/tcp/4801"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with Person.make(tmp_path_factory.mktemp("offline"), "anna").open() as opened:
        yield opened


def test_what_needs_others_ends_with_the_reason(engine):
    peers = NoPeers(engine, LOCKED)
    for future in (peers.add(LINK), peers.sync()):
        error = future.exception(timeout=0)
        assert isinstance(error, NetworkOffline)
        assert error.values == {"reason": LOCKED}
    with pytest.raises(NetworkOffline):
        peers.trial(bytes(32))


def test_a_missing_library_is_said_as_it_is(engine):
    error = NetworkMissing(reason="no module")
    assert NoPeers(engine, error).sync().exception(timeout=0) is error


def test_adding_keeps_what_is_to_be_dialled_later(engine):
    peers = NoPeers(engine)
    link = LINK.replace(peer_id_text(bytes(32)), peer_id_text(bytes([1]) * 32))
    before = len(engine.peering.kept())
    peers.add(link, is_kept=False)
    assert len(engine.peering.kept()) == before
    peers.add(link)
    assert len(engine.peering.kept()) == before + 1
    with pytest.raises(BadInvitation):
        peers.add("nonsense")


def test_what_is_queued_stays_queued(engine):
    peers = NoPeers(engine)
    assert not peers.is_online
    assert peers.connections() == ()
    assert peers.transfers() == ()
    peers.fetch(bytes(32))
    peers.post()
    peers.announce()
    assert engine.posting.views() == ()
