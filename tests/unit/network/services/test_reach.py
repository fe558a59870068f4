"""How we are reached, as others tell it."""

from __future__ import annotations

from hanse.core.limits import REACH_CLAIMS_MAX
from hanse.network.addresses import parse_address
from hanse.network.services.reach import COUNTED_FOR_MS, ReachTally, Sighting

OURS = parse_address("/ip4/203.0.113.5/tcp/4801")
NOW_MS = 1_700_000_000_000


def key(number):
    return number.to_bytes(32, "big")


def teller(host):
    return parse_address(f"/ip4/{host}/tcp/50000")


def note(tally, number, host, observed=OURS, *, dialled_us=True, now_ms=NOW_MS):
    tally.note(key(number), teller(host), observed, now_ms, dialled_us=dialled_us)


def test_a_port_answers_from_outside_when_two_regions_say_so():
    tally = ReachTally()
    note(tally, 1, "198.51.100.1")
    note(tally, 2, "198.51.200.2")  # the same region
    assert tally.open_places(NOW_MS) == ()
    note(tally, 3, "192.0.2.1")
    assert tally.open_places(NOW_MS) == (Sighting(OURS, 3),)


def test_the_word_of_one_peer_counts_once():
    tally = ReachTally()
    for _ in range(5):
        note(tally, 1, "198.51.100.1")
    note(tally, 1, "192.0.2.1")
    assert tally.open_places(NOW_MS) == ()


def test_between_neighbours_nothing_is_said_of_the_outside():
    tally = ReachTally()
    near = parse_address("/ip4/192.168.1.5/tcp/4801")
    for number, host in enumerate(["198.51.100.1", "192.0.2.1"]):
        note(tally, number, host, near)
    for number, host in enumerate(["192.168.1.1", "10.0.0.1", "127.0.0.1"]):
        note(tally, 10 + number, host)
    assert tally.open_places(NOW_MS) == ()


def test_whom_we_dialled_tells_our_address_and_no_open_port():
    tally = ReachTally()
    note(tally, 1, "198.51.100.1", parse_address("/ip4/203.0.113.5/tcp/1"), dialled_us=False)
    note(tally, 2, "192.0.2.1", parse_address("/ip4/203.0.113.5/tcp/2"), dialled_us=False)
    assert tally.open_places(NOW_MS) == ()
    assert tally.seen_hosts(NOW_MS) == ("203.0.113.5",)


def test_what_was_said_a_day_ago_is_not_counted():
    tally = ReachTally()
    note(tally, 1, "198.51.100.1")
    note(tally, 2, "192.0.2.1")
    assert tally.open_places(NOW_MS + COUNTED_FOR_MS) == ()


def test_only_so_many_words_are_remembered():
    tally = ReachTally()
    note(tally, 1, "198.51.100.1")
    note(tally, 2, "192.0.2.1")
    for number in range(REACH_CLAIMS_MAX):
        note(tally, 100 + number, "198.51.100.1", parse_address("/ip4/203.0.113.9/tcp/1"))
    assert tally.open_places(NOW_MS) == ()
