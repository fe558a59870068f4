"""Whom to dial next: properties of the choice, the waits and the ways."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.engine.peering import KnownPeer, Nearness
from hanse.core.model.addresses import parse_address, peer_id_text
from hanse.core.model.network import Met
from hanse.network.services.dialling import (
    DIALS_AT_ONCE,
    LASTED_MS,
    WAIT_LONGEST_MS,
    WANTED,
    Attempt,
    Candidate,
    Link,
    Scene,
    Way,
    candidate_of,
    choose,
    missing,
    told_places,
    wait_ms,
    ways_open,
)
from tests.fakes.chance import SeededChance

ALL_WAYS = frozenset(Way)
PLACE = (parse_address("/ip4/198.51.100.1/tcp/1"),)


def key(number):
    return number.to_bytes(32, "big")


def candidate(number, **values):
    way = values.pop("way", Way.TABLE)
    return Candidate(key(number), PLACE, way, values.pop("met", Met.EXCHANGE), **values)


def many(count, start=0, **values):
    return [candidate(start + number, **values) for number in range(count)]


def scene(candidates, **values):
    usual = {
        "links": (),
        "dialling": (),
        "attempts": {},
        "refused": frozenset(),
        "ways": ALL_WAYS,
        "wanted": WANTED,
    }
    return Scene(candidates=candidates, **usual | values)


def dialled_out(candidates, rounds=20, links=(), **values):
    """Return the connections after every dial that was chosen has worked."""
    links = list(links)
    for number in range(rounds):
        chosen = choose(scene(candidates, links=links, **values), 0, SeededChance(number))
        links += [Link(it.device, it.nearness, it.source) for it in chosen]
    return links


candidates_drawn = st.lists(
    st.builds(
        candidate,
        st.integers(0, 60),
        way=st.sampled_from(list(Way)),
        nearness=st.sampled_from(list(Nearness)),
        source=st.sampled_from([None, "exchange:1", "exchange:2", "lan", "dht"]),
        has_answered=st.booleans(),
    ),
    max_size=80,
)
links_drawn = st.lists(
    st.builds(
        Link,
        st.integers(40, 100).map(key),
        st.sampled_from(list(Nearness)),
        st.sampled_from([None, "exchange:1", "lan"]),
        is_outbound=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda it: it.device,
)


@given(
    candidates_drawn,
    links_drawn,
    links_drawn,
    st.sets(st.integers(0, 60).map(key)),
    st.dictionaries(st.integers(0, 60).map(key), st.builds(Attempt, st.just(1), st.integers(0, 9))),
    st.sets(st.sampled_from(list(Way))).map(frozenset),
    st.integers(1, 20),
)
def test_what_is_chosen_may_be_dialled(given_, links, dialling, refused, attempts, ways, wanted):
    here = Scene(given_, links, dialling, attempts, refused, ways, wanted)
    chosen = choose(here, 5, SeededChance(1))
    devices = [it.device for it in chosen]
    assert len(devices) == len(set(devices)) <= max(0, DIALS_AT_ONCE - len(dialling))
    assert not set(devices) & refused
    assert not set(devices) & {it.device for it in (*links, *dialling)}
    assert all(it.way in ways and it in given_ for it in chosen)
    assert all(attempts.get(it, Attempt()).due_ms <= 5 for it in devices)
    assert chosen == choose(here, 5, SeededChance(1))


@given(candidates_drawn)
def test_no_source_gives_more_than_half(given_):
    by_source = Counter(
        it.source for it in dialled_out(given_) if it.nearness is not Nearness.OWN and it.source
    )
    assert max(by_source.values(), default=0) <= WANTED // 2


@given(candidates_drawn)
def test_strangers_never_make_more_than_is_wanted(given_):
    strangers = [it for it in dialled_out(given_) if it.nearness is Nearness.STRANGER]
    assert len(strangers) <= WANTED


def test_three_thirds_are_near_around_and_any():
    given_ = [
        *many(20, 0, nearness=Nearness.NEAR),
        *many(20, 100, nearness=Nearness.HOP),
        *many(20, 200, source="exchange:1"),
        *many(20, 300, source="exchange:2"),
    ]
    found = Counter(it.nearness for it in dialled_out(given_))
    assert found[Nearness.STRANGER] == WANTED // 3
    assert found[Nearness.NEAR] + found[Nearness.HOP] == 2 * WANTED // 3
    assert found.total() == WANTED


def test_strangers_take_what_nobody_nearer_wants():
    given_ = [*many(9, 100, source="dht"), *many(9, 200, source="exchange:1")]
    assert len(dialled_out(given_)) == WANTED


def test_near_ones_get_their_third_although_strangers_were_first():
    strangers = [Link(key(900 + n), Nearness.STRANGER, f"s{n % 3}") for n in range(WANTED)]
    links = dialled_out(many(9, nearness=Nearness.NEAR), links=strangers)
    assert sum(it.nearness is Nearness.NEAR for it in links) == WANTED // 3


def test_own_devices_are_dialled_in_any_case_and_first():
    full = [Link(key(900 + n), Nearness.STRANGER, None) for n in range(WANTED)]
    own = candidate(1, nearness=Nearness.OWN)
    assert choose(scene([own], links=full), 0, SeededChance(1)) == (own,)
    given_ = [*many(30, 100), own, candidate(2, nearness=Nearness.NEAR)]
    assert [it.device for it in choose(scene(given_), 0, SeededChance(1))][:2] == [key(1), key(2)]


def test_who_dials_us_does_not_surround_us():
    inbound = [Link(key(900 + n), Nearness.STRANGER, None, is_outbound=False) for n in range(150)]
    here = scene(many(30), links=inbound)
    assert missing(here) == WANTED - WANTED // 2
    assert len(choose(here, 0, SeededChance(1))) == WANTED - WANTED // 2


def test_who_answered_before_goes_first_among_equals():
    given_ = [*many(30, 100), *many(4, 0, has_answered=True)]
    chosen = choose(scene(given_), 0, SeededChance(1))
    assert {it.device for it in chosen[:4]} == {key(n) for n in range(4)}
    others = choose(scene(given_), 0, SeededChance(2))
    assert {it.device for it in others} != {it.device for it in chosen}


def test_without_an_address_nobody_is_dialled():
    assert choose(scene([replace(candidate(1), addresses=())]), 0, SeededChance(1)) == ()


@given(st.integers(1, 200), st.integers())
def test_a_wait_doubles_up_to_ten_minutes_give_or_take_a_fifth(failures, seed):
    wait = wait_ms(failures, SeededChance(seed))
    expected = min(1000 * 2 ** min(failures - 1, 40), WAIT_LONGEST_MS)
    assert 0.8 * expected <= wait <= 1.2 * expected


def test_waits_of_different_peers_differ():
    chance = SeededChance(1)
    assert len({wait_ms(1, chance) for _ in range(50)}) > 20


def test_failures_count_and_a_short_connection_is_one():
    chance = SeededChance(1)
    attempt = Attempt()
    for number in range(1, 5):
        attempt = attempt.after_failure(100, chance)
        assert attempt.failures == number
        assert attempt.due_ms > 100
    assert attempt.after_loss(100, LASTED_MS - 1, chance).failures == 5
    assert attempt.after_loss(100, LASTED_MS, chance).failures == 1


def test_ways_open_one_after_the_other():
    assert ways_open(0, 0, WANTED) == {Way.TABLE, Way.LAN}
    assert ways_open(2000, 3, WANTED) == {Way.TABLE, Way.LAN, Way.LIST}
    assert ways_open(2000, 4, WANTED) == {Way.TABLE, Way.LAN}
    assert ways_open(4000, 4, WANTED) == {Way.TABLE, Way.LAN, Way.LIST, Way.EXCHANGE}
    assert ways_open(6000, 4, WANTED) == ALL_WAYS
    assert ways_open(10**9, WANTED, WANTED) == {Way.TABLE, Way.LAN}


def known(**values):
    usual = {
        "device": key(1),
        "addresses": (f"/ip4/198.51.100.1/tcp/1/p2p/{peer_id_text(key(1))}", "of tomorrow"),
        "met": Met.EXCHANGE,
        "is_kept": False,
        "nearness": Nearness.STRANGER,
        "answered_ms": None,
        "failures": 0,
        "refused_until_ms": None,
    }
    return KnownPeer(**usual | values)


@pytest.mark.parametrize(
    ("values", "way", "source"),
    [
        ({}, Way.TABLE, "exchange"),
        ({"is_kept": True}, Way.LIST, None),
        ({"is_kept": True, "answered_ms": 5}, Way.TABLE, None),
        ({"is_kept": True, "nearness": Nearness.OWN}, Way.TABLE, None),
        ({"nearness": Nearness.NEAR}, Way.TABLE, None),
        ({"nearness": Nearness.HOP}, Way.TABLE, "exchange"),
    ],
)
def test_a_kept_peer_is_a_candidate(values, way, source):
    found = candidate_of(known(**values))
    assert (found.way, found.source) == (way, source)
    assert [it.place for it in found.addresses] == ["/ip4/198.51.100.1/tcp/1"]


@pytest.mark.parametrize("met", [Met.EXCHANGE, Met.DHT, Met.LAN, Met.INBOUND])
def test_a_stranger_sends_us_nowhere_near(met):
    ends = f"/p2p/{peer_id_text(key(1))}"
    texts = [
        f"/ip4/127.0.0.1/tcp/1{ends}",
        f"/ip6/::1/tcp/1{ends}",
        f"/ip6/::ffff:127.0.0.1/tcp/1{ends}",
        f"/ip4/192.168.1.1/tcp/1{ends}",
        f"/dns/localhost/tcp/1{ends}",
        "/ip4/198.51.100.1/tcp/1",
        "nonsense",
        f"/ip4/198.51.100.2/tcp/1{ends}",
        f"/ip4/198.51.100.2/tcp/1{ends}",
    ]
    found = told_places(texts, met)
    hosts = [it.host for it in found.pop(key(1))]
    assert hosts == (["192.168.1.1"] if met is Met.LAN else []) + ["198.51.100.2"]
    assert found == {}
