"""Who has an upload slot, and for how long."""

from __future__ import annotations

from hanse.core.model.ids import AuthorKey
from hanse.network.wire.choke import STRANGER, TURN_MS, Choke

ANNA, BERTA, CARLA, DORA = (AuthorKey(bytes([number]) * 32) for number in range(1, 5))
NEAR, BUYER = 1, -1
NOW = 1_000_000


def ask_often(choke: Choke, peer: AuthorKey, rank: int, until_ms: int) -> int | None:
    """Ask every second and return when the Peer was first refused."""
    for now in range(NOW, until_ms, 1000):
        if choke.ask(peer, rank, now) is not None:
            return now
    return None


def test_a_free_slot_is_for_whoever_asks():
    choke = Choke(2)
    assert choke.free(NOW) == 2
    assert choke.ask(ANNA, STRANGER, NOW) is None
    assert choke.ask(BERTA, NEAR, NOW) is None
    assert choke.free(NOW) == 0


def test_who_has_a_slot_keeps_it_while_it_asks():
    choke = Choke(1)
    assert ask_often(choke, ANNA, STRANGER, NOW + 10 * TURN_MS) is None


def test_who_asks_no_more_has_left_it():
    choke = Choke(1)
    choke.ask(ANNA, NEAR, NOW)
    assert choke.free(NOW + 9_999) == 0
    assert choke.free(NOW + 10_000) == 1


def test_a_slow_reader_that_is_being_sent_to_keeps_its_slot():
    choke = Choke(1)
    choke.ask(ANNA, NEAR, NOW)
    choke.touch(ANNA, NOW + 9_000)
    choke.touch(BERTA, NOW)  # who has none gets none
    assert choke.free(NOW + 18_000) == 0


def test_strangers_take_turns():
    choke = Choke(1)
    choke.ask(ANNA, STRANGER, NOW)
    retry_ms = choke.ask(BERTA, STRANGER, NOW + 5_000)
    assert retry_ms == TURN_MS - 5_000
    for now in range(NOW, NOW + TURN_MS + 1, 5000):
        choke.ask(ANNA, STRANGER, now)
    assert choke.ask(BERTA, STRANGER, NOW + TURN_MS) is None
    assert choke.ask(ANNA, STRANGER, NOW + TURN_MS) == TURN_MS


def test_a_nearer_peer_takes_the_slot_of_the_farthest():
    choke = Choke(3)
    choke.ask(ANNA, STRANGER, NOW)
    choke.ask(BERTA, STRANGER, NOW + 1)
    choke.ask(CARLA, NEAR, NOW)
    assert choke.ask(DORA, BUYER, NOW + 2) is None
    assert choke.ask(CARLA, NEAR, NOW + 2) is None
    assert choke.ask(BERTA, STRANGER, NOW + 2) is None
    assert choke.ask(ANNA, STRANGER, NOW + 2) is not None


def test_the_last_slot_of_a_stranger_is_not_taken():
    choke = Choke(2)
    choke.ask(ANNA, STRANGER, NOW)
    choke.ask(BERTA, BUYER, NOW)
    assert choke.ask(CARLA, BUYER, NOW) is not None
    assert choke.ask(ANNA, STRANGER, NOW) is None


def test_a_stranger_gets_a_slot_when_strangers_have_none():
    choke = Choke(2)
    choke.ask(ANNA, NEAR, NOW)
    choke.ask(BERTA, BUYER, NOW)
    assert choke.ask(CARLA, STRANGER, NOW) is None
    assert choke.ask(BERTA, BUYER, NOW) is None
    assert choke.ask(ANNA, NEAR, NOW) is not None


def test_who_waits_is_told_to_come_back_in_a_second_at_least():
    choke = Choke(1)
    choke.ask(ANNA, BUYER, NOW)
    choke.ask(ANNA, BUYER, NOW + 9_000)
    choke.ask(ANNA, BUYER, NOW + 18_000)
    choke.ask(ANNA, BUYER, NOW + 27_000)
    assert choke.ask(BERTA, BUYER, NOW + TURN_MS - 1) == 1_000


def test_who_is_gone_has_no_slot():
    choke = Choke(1)
    choke.ask(ANNA, STRANGER, NOW)
    choke.leave(ANNA)
    choke.leave(BERTA)
    assert choke.free(NOW) == 1
