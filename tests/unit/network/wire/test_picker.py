"""The rules of one Artifact's download, one by one, and then all against whatever Peers do."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.core.limits import (
    PIECE_SIZE_BYTES,
    PIECES_OPEN_MAX,
    SEEDERS_ACTIVE_MAX,
    SEEDERS_KNOWN_MAX,
)
from hanse.core.model.ids import AuthorKey
from hanse.network.wire.bucket import Pace
from hanse.network.wire.picker import REST_MS, Layout, Picker, numbers_of
from tests.fakes.chance import SeededChance
from tests.fakes.simulated_swarm import MIB, SimulatedSeeder, SimulatedSwarm

ANNA, BERTA, CARLA = (AuthorKey(bytes([number]) * 32) for number in (1, 2, 3))
NOW = 1_000_000


def picker_of(*pieces: int, seed: int = 1, is_in_order: bool = False) -> Picker:
    layout = Layout([count * PIECE_SIZE_BYTES for count in pieces])
    picker = Picker(layout, SeededChance(seed), is_in_order=is_in_order)
    for place in range(len(pieces)):
        picker.want(layout.mask(place, None))
    return picker


def meet(picker: Picker, peer: AuthorKey, *pieces: int, rate: int | None = None, **how) -> Pace:
    """Let a Peer have these Pieces of the first object, or all of it."""
    pace = Pace(NOW)
    pace.rate = rate
    assert picker.meet(peer, pace, **how)
    bits = sum(1 << piece for piece in pieces)
    count = picker._layout.pieces
    picker.has(peer, 0, bits.to_bytes(-(-count // 8), "little") if pieces else None)
    return pace


def asked(picker: Picker, peer: AuthorKey, most: int = 1, now_ms: int = NOW) -> list[int]:
    return [ask.number for ask in picker.ask(peer, most, now_ms)]


# --- places and numbers ------------------------------------------------------------------------


def test_every_piece_of_every_object_has_one_number():
    layout = Layout([3 * MIB + 1, 0, 5, MIB])
    places = [layout.find(number) for number in range(layout.pieces)]
    assert places == [(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (3, 0)]
    assert [layout.number(*place) for place in places] == list(range(6))
    assert [layout.length(number) for number in range(6)] == [MIB, MIB, MIB, 1, 5, MIB]


def test_bit_i_of_byte_n_stands_for_piece_8n_plus_i():
    layout = Layout([MIB, 10 * MIB])
    assert list(numbers_of(layout.mask(1, bytes([0b1000_0001, 0b10])))) == [1, 8, 10]
    assert list(numbers_of(layout.mask(1, None))) == list(range(1, 11))


# --- which one ---------------------------------------------------------------------------------


def test_a_piece_is_asked_of_one_peer_while_others_are_free():
    picker = picker_of(4)
    meet(picker, ANNA)
    meet(picker, BERTA)
    first, second = asked(picker, ANNA, 2), asked(picker, BERTA, 2)
    assert sorted(first + second) == [0, 1, 2, 3]


def test_the_rarest_piece_comes_first():
    picker = picker_of(4)
    meet(picker, ANNA, 0, 1, 2, 3)
    meet(picker, BERTA, 0, 1, 3)
    meet(picker, CARLA, 0, 3)
    assert asked(picker, ANNA, 2) == [2, 1]


def test_rarity_is_counted_again_when_somebody_leaves():
    picker = picker_of(3)
    meet(picker, ANNA, 0, 1, 2)
    meet(picker, BERTA, 0, 1)
    meet(picker, CARLA, 1, 2)
    picker.lose(CARLA)
    assert asked(picker, ANNA) == [2]


def test_among_equals_chance_decides():
    firsts = set()
    for seed in range(40):
        picker = picker_of(16, seed=seed)
        meet(picker, ANNA)
        firsts.update(asked(picker, ANNA))
    assert len(firsts) > 8


def test_files_come_in_order_when_somebody_waits_for_the_first():
    picker = picker_of(3, 2, is_in_order=True)
    meet(picker, ANNA)
    picker.has(ANNA, 1, None)
    assert asked(picker, ANNA, 5) == [0, 1, 2, 3, 4]


def test_what_a_peer_has_not_got_is_not_asked_of_it():
    picker = picker_of(8)
    meet(picker, ANNA, 2, 5)
    assert sorted(asked(picker, ANNA, 8)) == [2, 5]


def test_what_was_said_of_an_object_before_is_forgotten():
    picker = picker_of(8)
    meet(picker, ANNA, 2, 5)
    picker.has(ANNA, 0, bytes([0b1000]))
    assert asked(picker, ANNA, 8) == [3]


def test_only_what_can_be_judged_is_asked():
    layout = Layout([2 * MIB, 2 * MIB])
    picker = Picker(layout, SeededChance(1))
    picker.want(layout.mask(1, None))
    meet(picker, ANNA)
    picker.has(ANNA, 1, None)
    assert sorted(asked(picker, ANNA, 8)) == [2, 3]


# --- how many ----------------------------------------------------------------------------------


def test_depth_follows_the_rate_within_one_and_eight():
    pace = Pace(NOW)
    assert pace.depth == 1
    pace.begin(NOW)
    pace.add(PIECE_SIZE_BYTES, NOW + 500, is_whole=True)
    assert (pace.rate, pace.depth) == (2 * MIB, 3)
    pace.begin(NOW)
    for second in range(1, 20):
        pace.add(100 * MIB, NOW + 1000 * second)
    assert pace.depth == 8
    for second in range(20, 60):
        pace.add(1000, NOW + 1000 * second)
    assert pace.depth == 1


def test_time_without_a_question_does_not_count_against_a_peer():
    pace = Pace(NOW)
    pace.begin(NOW + 60_000)
    pace.add(PIECE_SIZE_BYTES, NOW + 60_100, is_whole=True)
    assert pace.rate == 10 * MIB


def test_a_peer_is_silent_after_twenty_seconds_without_a_byte():
    pace = Pace(NOW)
    pace.begin(NOW)
    pace.add(1, NOW + 10_000)
    assert not pace.is_silent(NOW + 29_999)
    assert pace.is_silent(NOW + 30_000)


def test_no_more_pieces_are_open_than_may_be():
    picker = picker_of(500)
    for number in range(8):
        meet(picker, AuthorKey(bytes([number]) * 32))
    counts = [len(asked(picker, AuthorKey(bytes([number]) * 32), 50)) for number in range(8)]
    assert sum(counts) == PIECES_OPEN_MAX


def test_five_peers_are_active_and_sixteen_known():
    picker = picker_of(500)
    peers = [AuthorKey(bytes([number]) * 32) for number in range(SEEDERS_KNOWN_MAX)]
    for peer in peers:
        meet(picker, peer)
    assert not picker.meet(AuthorKey(bytes(31) + b"\x99"), Pace(NOW))
    assert [bool(asked(picker, peer)) for peer in peers].count(True) == SEEDERS_ACTIVE_MAX


def test_who_has_nothing_that_is_missing_makes_room_for_another():
    picker = picker_of(8)
    peers = [AuthorKey(bytes([number]) * 32) for number in range(SEEDERS_KNOWN_MAX)]
    for peer in peers:
        meet(picker, peer, 3)
    (number,) = asked(picker, peers[0])
    picker.came(peers[0], number)
    picker.good(number)
    meet(picker, AuthorKey(bytes(31) + b"\x99"))
    assert len(picker.peers) == SEEDERS_KNOWN_MAX


def test_a_peer_over_a_relay_is_asked_only_when_nobody_is_reached_directly():
    picker = picker_of(8)
    meet(picker, ANNA, is_relayed=True)
    meet(picker, BERTA)
    assert asked(picker, ANNA) == []
    picker.rest(BERTA, NOW + 5)
    assert len(asked(picker, ANNA)) == 1
    assert picker.is_relayed
    assert asked(picker, ANNA, now_ms=NOW + 5) == []


# --- end game ----------------------------------------------------------------------------------


def test_when_nothing_is_left_an_open_piece_is_asked_of_one_second_peer():
    picker = picker_of(1)
    meet(picker, ANNA, rate=1000)
    meet(picker, BERTA, rate=MIB)
    meet(picker, CARLA, rate=MIB)
    assert asked(picker, ANNA) == asked(picker, BERTA) == [0]
    assert asked(picker, CARLA) == []
    assert picker.came(BERTA, 0)
    assert picker.good(0) == (ANNA,)
    assert picker.is_done
    assert not picker.came(ANNA, 0)  # it crossed our CANCEL


def test_a_second_peer_is_not_asked_for_what_it_would_bring_later():
    picker = picker_of(1)
    meet(picker, ANNA, rate=5 * MIB)
    meet(picker, BERTA, rate=MIB)
    asked(picker, ANNA)
    assert asked(picker, BERTA) == []


def test_a_second_peer_is_asked_when_the_first_falls_silent():
    picker = picker_of(1)
    meet(picker, ANNA, rate=5 * MIB)
    meet(picker, BERTA, rate=MIB)
    asked(picker, ANNA)
    assert asked(picker, BERTA, now_ms=NOW + 2000) == [0]


def test_no_piece_is_doubled_while_one_is_asked_of_nobody():
    picker = picker_of(2)
    meet(picker, ANNA, rate=1)
    meet(picker, BERTA, 0, rate=MIB)
    picker.has(ANNA, 0, None)
    first = asked(picker, ANNA)
    picker.rest(BERTA, NOW)
    if first == [0]:
        assert asked(picker, BERTA) == []
    assert asked(picker, ANNA) == [1 - first[0]]


def test_what_comes_twice_is_looked_at_once():
    picker = picker_of(1)
    meet(picker, ANNA, rate=1)
    meet(picker, BERTA, rate=MIB)
    asked(picker, ANNA)
    asked(picker, BERTA)
    assert picker.came(BERTA, 0)
    assert not picker.came(ANNA, 0)
    picker.wrong(BERTA, 0)
    assert asked(picker, ANNA) == [0]


# --- who does not do as it should --------------------------------------------------------------


def test_who_sent_a_wrong_piece_is_out_and_its_pieces_come_again():
    picker = picker_of(3)
    meet(picker, ANNA)
    meet(picker, BERTA)
    mine = asked(picker, ANNA, 3)
    assert picker.came(ANNA, mine[0])
    picker.wrong(ANNA, mine[0])
    assert picker.is_out(ANNA)
    assert not picker.meet(ANNA, Pace(NOW))
    assert sorted(asked(picker, BERTA, 3)) == [0, 1, 2]


def test_who_denies_again_and_again_what_it_said_it_has_is_out():
    picker = picker_of(20)
    meet(picker, ANNA)
    for _ in range(8):
        (number,) = asked(picker, ANNA)
        picker.denied(ANNA, number)
    assert picker.is_out(ANNA)
    assert picker.missing == 20


def test_who_denied_one_piece_is_asked_for_others():
    picker = picker_of(2)
    meet(picker, ANNA)
    (number,) = asked(picker, ANNA)
    picker.denied(ANNA, number)
    assert asked(picker, ANNA, 2) == [1 - number]


def test_who_is_busy_rests_as_long_as_it_said():
    picker = picker_of(2)
    meet(picker, ANNA)
    (number,) = asked(picker, ANNA)
    picker.busy(ANNA, number, 30_000, NOW)
    assert asked(picker, ANNA, now_ms=NOW + 29_999) == []
    assert len(asked(picker, ANNA, now_ms=NOW + 30_000)) == 1


def test_who_is_busy_for_ever_is_asked_less_and_less():
    picker = picker_of(1)
    meet(picker, ANNA)
    now, times = NOW, 0
    while now < NOW + 3_600_000:
        for number in asked(picker, ANNA, now_ms=now):
            picker.busy(ANNA, number, 0, now)
            times += 1
        now += 1000
    assert times < 40


def test_what_was_asked_of_a_peer_that_rests_is_given_back_at_once():
    picker = picker_of(2)
    meet(picker, ANNA)
    meet(picker, BERTA)
    assert len(asked(picker, ANNA, 2)) == 2
    picker.rest(ANNA, NOW + REST_MS)
    assert sorted(asked(picker, BERTA, 2)) == [0, 1]
    assert picker.wakes_ms(NOW) == NOW + REST_MS


def test_a_broken_tail_is_gone_on_with_by_the_same_peer():
    picker = picker_of(9)
    meet(picker, ANNA)
    (number,) = asked(picker, ANNA)
    picker.lose(ANNA, {number: b"beginning"})
    meet(picker, ANNA)
    (ask,) = picker.ask(ANNA, 1, NOW)
    assert (ask.number, ask.held) == (number, b"beginning")


def test_a_broken_tail_is_of_no_use_to_another_peer():
    picker = picker_of(1)
    meet(picker, ANNA)
    asked(picker, ANNA)
    picker.rest(ANNA, NOW, {0: b"beginning"})
    meet(picker, BERTA)
    (ask,) = picker.ask(BERTA, 1, NOW)
    assert ask.held == b""


def test_what_a_liar_began_is_forgotten():
    picker = picker_of(2)
    meet(picker, ANNA)
    first, second = asked(picker, ANNA, 2)
    picker.rest(ANNA, NOW, {first: b"beginning"})
    asked(picker, ANNA, 2)
    assert picker.came(ANNA, second)
    picker.wrong(ANNA, second)
    assert picker._broken == {}


# --- many Peers, over time -----------------------------------------------------------------------


def download(rates: list[int], pieces: int = 162, **rules) -> tuple[float, list[int]]:
    """Return bytes a second, and how many Pieces each brought."""
    layout = Layout([pieces * MIB])
    picker = Picker(layout, SeededChance(1))
    picker.want(layout.mask(0, None))
    seeders = [SimulatedSeeder(rate * MIB) for rate in rates]
    return SimulatedSwarm(layout, picker, seeders, **rules).run(), [it.sent for it in seeders]


def fixed_depth(seeder: SimulatedSeeder, _: Pace, picker: Picker) -> int:
    """Four Pieces of each Peer, and no end game."""
    return min(4 - len(seeder.waiting), picker.missing - picker.open_pieces)


def test_three_limited_seeders_bring_nearly_three_times_as_much_as_one():
    one, _ = download([15])
    three, shares = download([15, 15, 15])
    assert three >= 2.7 * one
    assert max(shares) - min(shares) <= 2


def test_depth_by_rate_and_end_game_beat_a_fixed_depth():
    adaptive, _ = download([15, 5, 1])
    fixed, _ = download([15, 5, 1], room=fixed_depth)
    assert adaptive > 1.2 * fixed
    assert adaptive > 0.9 * 21 * MIB


def test_hardly_anything_comes_twice():
    _, shares = download([15, 5, 1])
    assert sum(shares) <= 162 + 8


# --- whatever Peers do ---------------------------------------------------------------------------


class Play:
    """A download among Peers of all manners, one random event after another."""

    def __init__(self, seed: int, pieces: int, manners: str) -> None:
        self.random = random.Random(seed)
        self.layout = Layout([pieces // 2 * MIB, (pieces - pieces // 2) * MIB])
        self.picker = Picker(self.layout, SeededChance(seed))
        for place in range(2):
            self.picker.want(self.layout.mask(place, None))
        self.manners = {
            AuthorKey(bytes([at]) * 32): manner for at, manner in enumerate(manners + "h")
        }
        self.open: dict[AuthorKey, set[int]] = {peer: set() for peer in self.manners}
        self.checking: list[tuple[AuthorKey, int]] = []
        self.good: list[int] = []
        self.now = NOW

    def meet(self, peer: AuthorKey) -> None:
        if self.picker.meet(peer, Pace(self.now), is_relayed=self.random.random() < 0.2):
            for place in range(2):
                is_all = self.manners[peer] != "p"
                mask = self.layout.mask(place, None) >> self.layout.number(place, 0)
                some = mask & self.random.getrandbits(mask.bit_length())
                size = -(-mask.bit_length() // 8)
                self.picker.has(peer, place, None if is_all else some.to_bytes(size, "little"))

    def step(self) -> None:
        self.now += self.random.choice((0, 1, 100, 3000))
        peer = self.random.choice(list(self.manners))
        if peer not in self.picker.peers:
            self.meet(peer)
        for ask in self.picker.ask(peer, 8 - len(self.open[peer]), self.now):
            assert ask.number not in self.open[peer]
            self.open[peer].add(ask.number)
        self.check()
        if self.open[peer]:
            self.answer(peer, self.random.choice(sorted(self.open[peer])))
        if self.checking and self.random.random() < 0.7:
            self.judge()
        self.check()

    def answer(self, peer: AuthorKey, number: int) -> None:
        drawn = self.random.random()
        if drawn < 0.05 or self.manners[peer] == "s":  # silent, and found out
            self.open[peer].clear()
            self.picker.rest(peer, self.now + 60_000, {number: b"x"})
        elif drawn < 0.1:
            self.open[peer].clear()
            self.picker.lose(peer, {number: b"x"})
        elif self.manners[peer] == "b":
            self.open[peer].discard(number)
            self.picker.busy(peer, number, self.random.choice((0, 5000)), self.now)
        elif self.manners[peer] == "d":
            self.open[peer].discard(number)
            self.picker.denied(peer, number)
            self.forget_if_out(peer)
        else:
            self.open[peer].discard(number)
            if self.picker.came(peer, number):
                self.checking.append((peer, number))

    def judge(self) -> None:
        peer, number = self.checking.pop(self.random.randrange(len(self.checking)))
        if self.manners[peer] == "w" and self.random.random() < 0.5:
            self.picker.wrong(peer, number)
            self.forget_if_out(peer)
        elif self.random.random() < 0.05:
            self.picker.unwritten(number)
        else:
            self.good.append(number)
            for other in self.picker.good(number):
                self.open[other].remove(number)

    def forget_if_out(self, peer: AuthorKey) -> None:
        if self.picker.is_out(peer):
            self.open[peer].clear()

    def check(self) -> None:
        picker = self.picker
        of_picker = {peer: set(it.open) for peer, it in picker._seeders.items()}
        assert {peer: it for peer, it in self.open.items() if it} == {
            peer: it for peer, it in of_picker.items() if it
        }
        assert sum(map(len, of_picker.values())) <= PIECES_OPEN_MAX
        assert sum(map(bool, of_picker.values())) <= SEEDERS_ACTIVE_MAX
        asked = [number for it in of_picker.values() for number in it]
        assert all(asked.count(number) <= 2 for number in asked)
        # Each Piece is in exactly one place: free, open, being checked, or good.
        checked = {number for _, number in self.checking}
        free = set(numbers_of(picker._free))
        assert free.isdisjoint(asked)
        assert free.isdisjoint(checked)
        assert free | set(asked) | checked | set(self.good) == set(range(self.layout.pieces))
        assert len(self.good) == len(set(self.good))
        assert picker.missing == self.layout.pieces - len(self.good)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.text("hpwbds", max_size=9))
def test_every_piece_comes_once_however_peers_come_go_stall_and_lie(seed, pieces, manners):
    play = Play(seed, pieces, manners)
    for _ in range(20_000):
        if play.picker.is_done:
            break
        play.step()
    assert play.picker.is_done
    assert sorted(play.good) == list(range(pieces))


def test_a_tebibyte_is_no_different():
    layout = Layout([1024**4])
    picker = Picker(layout, SeededChance(1))
    picker.want(layout.mask(0, None))
    for number in range(3):
        picker.meet(AuthorKey(bytes([number]) * 32), Pace(NOW))
        picker.has(AuthorKey(bytes([number]) * 32), 0, None)
    numbers = asked(picker, AuthorKey(bytes(32)), 8)
    assert len(set(numbers)) == 8


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_asks_the_same(seed):
    runs = []
    for _ in range(2):
        picker = picker_of(50, seed=seed)
        meet(picker, ANNA)
        runs.append(asked(picker, ANNA, 8))
    assert runs[0] == runs[1]
