"""Pieces in hand: in order, bounded, and nothing left behind."""

from __future__ import annotations

from contextlib import closing

import pytest

from hanse.core.artifacts.lanes import Digest, Lanes, read_whole
from hanse.core.limits import PIECES_IN_HAND_MAX


def filler(ahead, fail_at=None):
    def work(view):
        if view[0] == fail_at:
            raise ValueError(fail_at)
        return bytes(view[:1])

    def fill(piece, slot):
        ahead.append(piece)
        slot.made[0] = piece
        return [(work, slot.made[:1]), (work, slot.made[:1])]

    return fill


@pytest.mark.parametrize("count", [0, 1, 2, PIECES_IN_HAND_MAX, 50])
def test_pieces_come_in_order_with_what_each_lane_found(count):
    ahead = []
    with Lanes() as lanes:
        found = [
            (piece, list(slot.results)) for piece, slot in lanes.run(range(count), filler(ahead))
        ]
    assert found == [(n, [bytes([n])] * 2) for n in range(count)]


def test_no_more_than_a_few_pieces_are_in_hand():
    ahead = []
    with Lanes() as lanes, closing(lanes.run(range(50), filler(ahead))) as moving:
        for piece, _ in moving:
            assert ahead[-1] - piece <= PIECES_IN_HAND_MAX


def test_what_fails_in_a_lane_is_raised_at_its_piece_and_the_lanes_go_on():
    with Lanes() as lanes:
        seen = []
        with pytest.raises(ValueError, match="7"):  # noqa: SIM117
            with closing(lanes.run(range(50), filler([], fail_at=7))) as moving:
                seen.extend(piece for piece, _ in moving)
        again = [slot.results[0] for _, slot in lanes.run(range(9), filler([]))]
        assert again == [bytes([n]) for n in range(9)]


def test_who_stops_early_leaves_nothing_in_the_lanes():
    with Lanes() as lanes:
        with closing(lanes.run(range(50), filler([]))) as moving:
            next(moving)
        found = [slot.results[1] for _, slot in lanes.run(range(5), filler([]))]
        assert found == [bytes([n]) for n in range(5)]


def test_a_digest_is_that_of_all_bytes():
    digest = Digest()
    assert digest.update(memoryview(b"ab")) == b""
    digest.update(memoryview(b"c"))
    assert digest.digest().hex().startswith("ba7816bf")


def test_a_view_is_filled_by_as_many_reads_as_it_takes():
    parts = [b"ab", b"c", b""]

    def read(view):
        part = parts.pop(0)
        view[: len(part)] = part
        return len(part)

    view = memoryview(bytearray(5))
    assert read_whole(read, view) == 3
    assert view[:3] == b"abc"
