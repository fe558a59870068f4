"""Who is kept of the Devices that spoke to us, and who makes room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.limits import PEERS_KEPT_MAX
from hanse.core.model.network import Cursor, Met
from hanse.core.store.peers import FORGOTTEN_AFTER_MS, PeerRow
from tests.fakes.author import Author

NOW_MS = 1_700_000_000_000


@pytest.fixture
def held(store):
    with store.unit_of_work() as uow:
        yield uow.peers


def key(number):
    return number.to_bytes(32, "big")


def row(number, **values):
    return PeerRow(key(number), ("/ip4/198.51.100.1/tcp/1",), Met.INBOUND, NOW_MS, **values)


FULL = PeerRow(
    device=key(1),
    addresses=("/ip4/198.51.100.1/tcp/1", "/dns/a/tcp/2"),
    met=Met.EXCHANGE,
    met_ms=NOW_MS,
    is_kept=True,
    identity=key(9),
    roles=("node", "relay"),
    program="hanse/1",
    name="安娜",
    cursor=Cursor(b"e" * 16, 7),
    reconciled_ms=1,
    seen_ms=2,
    answered_ms=3,
    tried_ms=4,
    failures=5,
    reason="silent",
    penalty_milli=6,
    penalty_ms=7,
    refused_until_ms=8,
    in_bytes=9,
    out_bytes=10,
)


def test_a_peer_is_there_as_it_was_put(held):
    held.put(FULL)
    assert held.get(FULL.device) == FULL
    changed = replace(FULL, name="", addresses=(), cursor=None, is_kept=False)
    held.put(changed)
    assert held.get(FULL.device) == changed
    assert held.all() == [changed]


def test_the_persons_list_is_apart(held):
    held.put(row(1))
    held.put(row(2, is_kept=True))
    assert [it.device for it in held.kept()] == [key(2)]
    assert held.count_kept() == 1


def test_a_peer_that_is_forgotten_is_gone(held):
    held.put(row(1))
    assert held.forget(key(1))
    assert not held.forget(key(1))
    assert held.get(key(1)) is None


def test_a_cursor_is_kept_with_its_peer_and_of_nobody_else(held):
    held.put(row(1))
    held.keep_cursor(key(1), Cursor(b"x" * 16, 3), 5)
    held.keep_cursor(key(1), Cursor(b"x" * 16, 4))
    held.keep_cursor(key(2), Cursor(b"x" * 16, 4))
    found = held.get(key(1))
    assert (found.cursor, found.reconciled_ms) == (Cursor(b"x" * 16, 4), 5)
    assert held.get(key(2)) is None
    held.keep_cursor(key(1), None)
    assert held.get(key(1)).cursor is None


def test_bytes_are_added_up(held):
    held.put(row(1, in_bytes=1))
    held.count_bytes(key(1), 10, 20)
    held.count_bytes(key(1), 10, 20)
    found = held.get(key(1))
    assert (found.in_bytes, found.out_bytes) == (21, 40)


def test_who_claims_an_identity_is_found_and_who_has_penalties(held):
    held.put(row(1, identity=key(9)))
    held.put(row(2, identity=key(8), penalty_milli=5))
    assert [it.device for it in held.claiming(key(9))] == [key(1)]
    assert [it.device for it in held.with_penalties()] == [key(2)]


def test_a_delegation_is_believed_only_when_it_is_held(store, take, held):
    author = Author("anna")
    device = author.device.public_key
    assert held.delegations([device]) == {}
    take(*author.opening())
    with store.reads() as reads:
        assert reads.peers.delegations([device, key(1)]) == {device: author.identity}


def test_whom_nothing_was_heard_of_for_90_days_is_forgotten(held):
    late = NOW_MS + FORGOTTEN_AFTER_MS + 1
    held.put(row(1))
    held.put(row(2, seen_ms=NOW_MS + 2))
    held.put(row(3, is_kept=True))
    held.put(row(4, refused_until_ms=late + 1))
    assert held.sweep(late) == 1
    assert [it.device for it in held.all()] == [key(2), key(3), key(4)]
    assert held.sweep(late) == 0


def test_a_full_table_makes_room_the_least_useful_first(store):
    with store.unit_of_work() as uow:
        for number in range(PEERS_KEPT_MAX - 3):
            uow.peers.put(row(10 + number, seen_ms=NOW_MS + number))
        uow.peers.put(row(1, is_kept=True))
        uow.peers.put(row(2, answered_ms=NOW_MS - FORGOTTEN_AFTER_MS))
        uow.peers.put(row(3))  # never heard of since it was met: the first to go
        assert len(uow.peers.all()) == PEERS_KEPT_MAX
        uow.peers.put(row(4, seen_ms=NOW_MS))
        left = {it.device for it in uow.peers.all()}
    assert len(left) <= PEERS_KEPT_MAX
    assert {key(1), key(2), key(4)} <= left
    assert key(3) not in left
    assert key(9 + PEERS_KEPT_MAX - 3) in left
    # A flood of those that never answer where they are dialled drives out none that does.
    with store.unit_of_work() as uow:
        for number in range(PEERS_KEPT_MAX - 1):
            uow.peers.put(row(10 + number, answered_ms=NOW_MS + number))
        uow.peers.put(row(1, is_kept=True))
        for number in range(20_000, 20_100):
            uow.peers.put(row(number, seen_ms=NOW_MS * 2))
        useful = [it for it in uow.peers.all() if it.answered_ms is not None]
    assert len(useful) >= PEERS_KEPT_MAX - 60


def test_a_known_identity_is_more_useful_than_an_unknown_one(store, take):
    author = Author("anna")
    take(*author.opening())
    known = author.device.public_key
    with store.unit_of_work() as uow:
        uow.peers.put(PeerRow(known, (), Met.INBOUND, 1))
        for number in range(PEERS_KEPT_MAX):
            uow.peers.put(row(10 + number, seen_ms=NOW_MS + number))
        assert uow.peers.get(known) is not None
