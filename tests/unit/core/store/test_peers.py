"""Who is kept of the Devices that spoke to us, and who makes room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.model.network import Cursor, Met
from hanse.core.store import peers as peers_module
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


def test_the_persons_list_is_counted(held):
    held.put(row(1))
    held.put(row(2, is_kept=True))
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


def test_who_has_penalties_is_found(held):
    held.put(row(1))
    held.put(row(2, penalty_milli=5))
    assert [it.device for it in held.with_penalties()] == [key(2)]


def test_a_delegation_is_believed_only_when_it_is_held(store, take):
    author = Author("anna")
    device = author.device()
    with store.reads() as reads:
        assert reads.peers.delegations([device.key]) == {}
    take(*author.root_entries, *device.entries)
    with store.reads() as reads:
        found = reads.peers.delegations([device.key, key(1)])
    assert found == {device.key: author.identity}


def test_whom_nothing_was_heard_of_for_90_days_is_forgotten(held):
    late = NOW_MS + FORGOTTEN_AFTER_MS + 1
    held.put(row(1))
    held.put(row(2, seen_ms=NOW_MS + 2))
    held.put(row(3, is_kept=True))
    held.put(row(4, refused_until_ms=late + 1))
    assert held.sweep(late) == 1
    assert [it.device for it in held.all()] == [key(2), key(3), key(4)]
    assert held.sweep(late) == 0


@pytest.fixture
def room(monkeypatch):
    """Let a table be full with fewer rows; how many it takes is a figure, not a rule."""
    monkeypatch.setattr(peers_module, "PEERS_KEPT_MAX", 200)
    return 200


def test_a_full_table_makes_room_the_least_useful_first(store, room):
    with store.unit_of_work() as uow:
        for number in range(room - 3):
            uow.peers.put(row(10 + number, seen_ms=NOW_MS + number))
        uow.peers.put(row(1, is_kept=True))
        uow.peers.put(row(2, answered_ms=NOW_MS - FORGOTTEN_AFTER_MS))
        uow.peers.put(row(3))  # never heard of since it was met: the first to go
        assert len(uow.peers.all()) == room
        uow.peers.put(row(4, seen_ms=NOW_MS))
        left = {it.device for it in uow.peers.all()}
    assert len(left) <= room
    assert {key(1), key(2), key(4)} <= left
    assert key(3) not in left
    assert key(9 + room - 3) in left


def test_a_flood_drives_out_nobody_that_answered_where_it_was_dialled(store, room):
    with store.unit_of_work() as uow:
        for number in range(room - 60):
            uow.peers.put(row(10 + number, answered_ms=NOW_MS + number))
        for number in range(10_000, 10_000 + 2 * room):
            uow.peers.put(row(number, seen_ms=NOW_MS * 2))
        assert len(uow.peers.all()) <= room
        useful = [it for it in uow.peers.all() if it.answered_ms is not None]
    assert len(useful) == room - 60


def test_the_persons_own_list_never_makes_room(store, room):
    with store.unit_of_work() as uow:
        for number in range(room):
            uow.peers.put(row(10 + number, is_kept=True))
        uow.peers.put(row(1))
        assert uow.peers.count_kept() == room


def test_a_known_identity_is_more_useful_than_an_unknown_one(store, take, room):
    author = Author("anna")
    device = author.device()
    take(*author.root_entries, *device.entries)
    with store.unit_of_work() as uow:
        uow.peers.put(PeerRow(device.key, (), Met.INBOUND, 1))
        for number in range(room):
            uow.peers.put(row(10 + number, seen_ms=NOW_MS + number))
        assert uow.peers.get(device.key) is not None
