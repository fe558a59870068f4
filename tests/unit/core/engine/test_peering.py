"""What is known of other Devices, without any network."""

from __future__ import annotations

import pytest

from hanse.core.engine import peering as peering_module
from hanse.core.engine.inviting import BadInvitation, read_invitation
from hanse.core.engine.peering import (
    ANSWERED_LATELY_MS,
    Heard,
    HeldAgainst,
    Nearness,
    NoOwnAddress,
    OwnPeer,
    OwnPlace,
    PassedOn,
    PeerListFull,
    PeerUnclear,
    PeerUnknown,
)
from hanse.core.engine.sources import accept_unchecked
from hanse.core.limits import PEER_ADDRESSES_MAX, STATUS_PEERS_MAX
from hanse.core.model.addresses import BadAddress, parse_address, peer_id_text
from hanse.core.model.network import Met
from tests.fakes.author import Author
from tests.fakes.people import Person

DEVICE = bytes(range(32))
ID = peer_id_text(DEVICE)
PLACE = "/ip4/198.51.100.7/tcp/4801"
LINK = f"hanse:peer/{ID}?a={PLACE}&n=Bo"


@pytest.fixture(scope="module")
def anna(tmp_path_factory):
    return Person.make(tmp_path_factory.mktemp("peering"), "anna")


@pytest.fixture(scope="module")
def opened(anna):
    with anna.open() as engine:
        yield engine


@pytest.fixture
def peering(opened):
    """Give one Account to all tests here: making one takes longer than any of them."""
    with opened.context.store.unit_of_work() as uow:
        for row in uow.peers.all():
            uow.peers.forget(row.device)
        uow.meta.put("own_places", "[]")
        uow.commit()
    return opened.peering


def key(number):
    return number.to_bytes(32, "big")


def place(text=PLACE, device=DEVICE):
    return parse_address(text).of(device)


def heard(device=DEVICE, **values):
    return Heard(device=device, met=values.pop("met", Met.INBOUND), **values)


def node_at(peering, number, host, **values):
    """Let a Node answer where we dialled it."""
    device = key(number)
    peering.heard(
        heard(device, roles=("node",), dialled=place(f"/ip4/{host}/tcp/1", device), **values)
    )
    return device


# --- the person's own list ---------------------------------------------------------------------


def test_a_peer_is_put_on_the_list_by_its_link(peering):
    view = peering.keep(LINK)
    assert (view.device, view.name, view.is_kept, view.met) == (DEVICE, "Bo", True, Met.INVITATION)
    assert view.addresses == (f"{PLACE}/p2p/{ID}",)
    assert peering.kept() == (view,)
    assert peering.views() == (view,)


def test_a_peer_is_put_on_the_list_by_an_address_with_its_key(peering):
    view = peering.keep(f"{PLACE}/p2p/{ID}")
    assert (view.met, view.name, view.identity) == (Met.KEPT, "", None)


@pytest.mark.parametrize(
    ("text", "error"),
    [(PLACE, BadInvitation), ("/ip4/1.2.3.4/udp/1", BadAddress), ("hello", BadInvitation)],
)
def test_what_is_no_invitation_changes_nothing(peering, text, error):
    with pytest.raises(error):
        peering.keep(text)
    assert peering.views() == ()


def test_ones_own_invitation_is_not_kept(peering):
    own = peering.invitation([PLACE]).link
    with pytest.raises(OwnPeer):
        peering.keep(own)
    assert peering.views() == ()


def test_keeping_again_adds_places_and_forgives_failures(peering):
    peering.keep(LINK)
    peering.failed(DEVICE, "silent")
    assert peering.view(DEVICE).reason == "silent"
    view = peering.keep(f"/ip4/198.51.100.8/tcp/1/p2p/{ID}")
    assert view.addresses == (f"/ip4/198.51.100.8/tcp/1/p2p/{ID}", f"{PLACE}/p2p/{ID}")
    assert (view.reason, view.name) == (None, "Bo")


def test_the_list_has_an_end(peering, monkeypatch):
    monkeypatch.setattr(peering_module, "PEERS_LISTED_MAX", 1)
    peering.keep(LINK)
    peering.keep(LINK)
    with pytest.raises(PeerListFull):
        peering.keep(f"{PLACE}/p2p/{peer_id_text(key(5))}")


def test_who_is_forgotten_is_gone_and_not_forgiven(peering):
    peering.keep(LINK)
    peering.forget(DEVICE)
    assert peering.views() == ()
    with pytest.raises(PeerUnknown):
        peering.forget(DEVICE)
    peering.keep(LINK)
    peering.hold_against([HeldAgainst(DEVICE, 5000, 7, None)])
    peering.forget(DEVICE)
    (left,) = peering.views()
    assert (left.is_kept, left.addresses, left.name) == (False, (), "")
    assert peering.held_against() == (HeldAgainst(DEVICE, 5000, 7, None),)


def test_an_empty_list_is_allowed(peering):
    assert peering.views() == peering.kept() == peering.known() == ()


def test_a_peer_is_named_in_several_ways(peering):
    peering.keep(LINK)
    for text in (ID, LINK, f"{PLACE}/p2p/{ID}", DEVICE.hex(), DEVICE.hex()[:8].upper(), f" {ID} "):
        assert peering.named(text) == DEVICE
    for text in ("00", "ffffffff", peer_id_text(key(3))):
        with pytest.raises((PeerUnknown, BadInvitation)):
            peering.named(text)
    peering.heard(heard(DEVICE[:31] + b"\xff"))
    with pytest.raises(PeerUnclear):
        peering.named(DEVICE.hex()[:8])


# --- what Peers say ------------------------------------------------------------------------------


def test_a_peer_that_answers_is_kept_with_what_it_says(peering, anna):
    peering.heard(
        heard(
            program="hanse/1",
            roles=("node", "relay"),
            identity=key(9),
            addresses=(place("/ip4/198.51.100.9/tcp/2"),),
            dialled=place(),
        )
    )
    view = peering.view(DEVICE)
    now_ms = anna.clock.now_ms()
    assert (view.seen_ms, view.answered_ms, view.program) == (now_ms, now_ms, "hanse/1")
    assert view.addresses == (f"{PLACE}/p2p/{ID}", f"/ip4/198.51.100.9/tcp/2/p2p/{ID}")
    assert (view.identity, view.is_proven, view.is_kept) == (key(9), False, False)


def test_where_it_answered_stays_before_what_it_says(peering):
    peering.heard(heard(dialled=place()))
    peering.heard(heard(addresses=(place("/ip4/203.0.113.1/tcp/1"),)))
    assert peering.view(DEVICE).addresses[0] == f"{PLACE}/p2p/{ID}"


def test_addresses_are_bounded_and_a_name_is_not_pushed_out(peering):
    peering.keep(f"/dns4/a.example/tcp/1/p2p/{ID}")
    for number in range(3 * PEER_ADDRESSES_MAX):
        peering.heard(heard(addresses=(place(f"/ip4/203.0.113.{number}/tcp/1"),)))
    addresses = peering.view(DEVICE).addresses
    assert len(addresses) == PEER_ADDRESSES_MAX
    assert addresses[0].startswith(f"/ip4/203.0.113.{3 * PEER_ADDRESSES_MAX - 1}/")
    assert f"/dns4/a.example/tcp/1/p2p/{ID}" in addresses


def test_a_program_that_cannot_be_shown_is_not(peering):
    peering.heard(heard(program="\x1b[2J"))
    assert peering.view(DEVICE).program == ""


def test_what_says_our_own_key_is_not_kept(peering, opened):
    assert peering.heard(heard(opened.context.device)) is None
    assert peering.views() == ()


def test_a_word_that_is_repeated_is_not_written_each_time(peering, anna):
    peering.heard(heard(dialled=place()))
    before = peering.view(DEVICE)
    anna.clock.advance(60_000)
    peering.heard(heard(dialled=place()))
    assert peering.view(DEVICE) == before
    anna.clock.advance(60 * 60_000)
    peering.heard(heard(dialled=place()))
    assert peering.view(DEVICE).seen_ms == anna.clock.now_ms()


def test_a_failed_dial_is_counted_until_the_peer_answers(peering):
    peering.failed(DEVICE, "silent")
    assert peering.views() == ()
    peering.keep(LINK)
    peering.failed(DEVICE, "silent")
    peering.failed(DEVICE, "refused")
    (known,) = peering.known()
    assert (known.failures, peering.view(DEVICE).reason) == (2, "refused")
    peering.heard(heard(dialled=place()))
    (known,) = peering.known()
    assert (known.failures, peering.view(DEVICE).reason) == (0, None)


def test_an_identity_is_believed_by_its_delegation_only(peering, opened, anna, tmp_path):
    bert = Person.make(tmp_path, "bert", anna.clock)
    with bert.open() as other:
        device, identity = other.context.device, other.context.identity
        feed = tmp_path / "bert.hanse-feed"
        other.ledger.export(feed)
    peering.heard(heard(device, identity=key(9)))
    view = peering.view(device)
    assert (view.identity, view.is_proven, view.name) == (key(9), False, "")
    assert peering.identity_of(device) is None
    assert peering.devices_of(identity) == ()
    opened.ledger.import_file(feed)
    view = peering.view(device)
    assert (view.identity, view.is_proven, view.name) == (identity, True, "bert")
    assert peering.identity_of(device) == identity
    assert peering.devices_of(identity) == (device,)
    assert peering.views_of([device, key(1)]) == {device: view}


def test_how_near_a_peer_is_follows_from_proven_follows(opened, peering):
    authors = [Author(name) for name in ("followed", "hop one", "hop two", "too far")]
    devices = [author.device() for author in authors]
    for device, after in zip(devices, authors[1:], strict=False):
        device.append("follow/1", device.follow(after.identity))
    entries = [
        entry
        for author, device in zip(authors, devices, strict=True)
        for entry in (*author.root_entries, *device.entries)
    ]
    with opened.context.store.unit_of_work() as uow:
        accept_unchecked(uow, entries, opened.context.clock.now_ms())
        uow.commit()
    opened.catalogue.follow(authors[0].identity, 1)
    own = opened.context.device
    found = peering.nearness_of([own, *(it.key for it in devices), key(1)])
    assert list(found.values()) == [
        Nearness.OWN,
        Nearness.NEAR,
        Nearness.HOP,
        Nearness.HOP,
        Nearness.STRANGER,
        Nearness.STRANGER,
    ]
    # A claim alone brings nobody nearer.
    peering.heard(heard(identity=opened.context.identity, addresses=(place(),)))
    peering.heard(heard(devices[0].key, addresses=(place(device=devices[0].key),)))
    assert {it.device: it.nearness for it in peering.known()} == {
        DEVICE: Nearness.STRANGER,
        devices[0].key: Nearness.NEAR,
    }


# --- passing on ----------------------------------------------------------------------------------


def test_nodes_that_answered_lately_are_passed_on_the_newest_first(peering, anna):
    first = node_at(peering, 1, "198.51.100.1", addresses=(place("/ip4/203.0.113.1/tcp/1"),))
    anna.clock.advance(10_000)
    second = node_at(peering, 2, "198.51.100.2")
    assert peering.passed_on(key(9)) == (
        PassedOn(second, (f"/ip4/198.51.100.2/tcp/1/p2p/{peer_id_text(second)}",), 0),
        PassedOn(first, (f"/ip4/198.51.100.1/tcp/1/p2p/{peer_id_text(first)}",), 10),
    )
    assert [it.device for it in peering.passed_on(first)] == [second]
    assert len(peering.passed_on(key(9), 1)) == 1


def test_nobody_else_is_passed_on(peering, anna):
    node_at(peering, 1, "198.51.100.1")
    anna.clock.advance(ANSWERED_LATELY_MS + 1)
    node_at(peering, 2, "192.168.1.1")
    node_at(peering, 3, "127.0.0.1")
    refused = node_at(peering, 4, "198.51.100.4")
    peering.hold_against([HeldAgainst(refused, 20_000, 0, anna.clock.now_ms() + 1)])
    peering.heard(heard(key(5), roles=("relay",), dialled=place(device=key(5))))
    peering.heard(heard(key(6), roles=("node",), addresses=(place(device=key(6)),)))
    peering.keep(LINK)
    assert peering.passed_on(key(9)) == ()


def test_at_most_32_are_passed_on(peering):
    for number in range(STATUS_PEERS_MAX + 5):
        node_at(peering, number, f"198.51.100.{number}")
    assert len(peering.passed_on(key(999))) == STATUS_PEERS_MAX


# --- conduct, bytes, our own places --------------------------------------------------------------


def test_what_is_held_against_a_peer_outlasts_the_program(tmp_path):
    bert = Person.make(tmp_path, "bert")
    held = (HeldAgainst(DEVICE, 21_000, 3, 4), HeldAgainst(key(7), 1000, 5, None))
    with bert.open() as engine:
        engine.peering.hold_against(held)
    with bert.open() as engine:
        assert engine.peering.held_against() == tuple(sorted(held, key=lambda it: it.device))


def test_a_penalty_is_shown_as_what_is_left_of_it(peering, anna):
    now_ms = anna.clock.now_ms()
    peering.hold_against([HeldAgainst(DEVICE, 21_000, now_ms, now_ms + 1)])
    view = peering.view(DEVICE)
    assert (view.penalty_milli, view.refused_until_ms) == (21_000, now_ms + 1)
    anna.clock.advance(2 * 60 * 60_000)
    assert peering.view(DEVICE).penalty_milli == 5250


def test_bytes_are_counted_for_each_peer(peering):
    peering.keep(LINK)
    peering.count_bytes({DEVICE: (5, 7), key(1): (1, 1)})
    view = peering.view(DEVICE)
    assert (view.in_bytes, view.out_bytes) == (5, 7)


def test_who_was_long_silent_is_swept(peering, anna):
    peering.heard(heard())
    assert peering.sweep() == 0
    anna.clock.advance(91 * 24 * 60 * 60 * 1000)
    assert peering.sweep() == 1


def test_an_invitation_names_public_places_first_and_loopback_only_alone(peering, opened):
    relay = peer_id_text(key(3))
    given = [
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/192.168.1.5/tcp/1",
        f"/ip4/198.51.100.2/tcp/1/p2p/{relay}/p2p-circuit",
        "/ip4/198.51.100.1/tcp/1",
        "no address",
    ]
    made = peering.invitation(given, "An")
    assert [it.place for it in made.addresses] == [given[3], given[1], given[2]]
    assert (made.device, made.identity) == (opened.context.device, opened.context.identity)
    assert made.name == "An"
    only = peering.invitation(given[:1])
    assert [it.place for it in only.addresses] == given[:1]
    assert only.name == "anna"
    assert read_invitation(only.link) == only


def test_without_a_known_place_nobody_can_be_invited(peering):
    with pytest.raises(NoOwnAddress):
        peering.invitation()


def test_places_that_were_noted_serve_an_invitation_later(peering):
    peering.note_own_places([OwnPlace("/ip4/192.168.1.5/tcp/1"), OwnPlace(PLACE, 3)])
    peering.note_own_places([OwnPlace("/ip4/192.168.1.5/tcp/1"), OwnPlace(PLACE, 3)])
    assert peering.own_places()[0] == OwnPlace(PLACE, 3)
    made = peering.invitation()
    assert [it.place for it in made.addresses] == [PLACE, "/ip4/192.168.1.5/tcp/1"]


def test_a_kept_peer_is_shown_before_one_that_was_heard_of_later(peering, anna):
    peering.keep(LINK)
    anna.clock.advance(1000)
    peering.heard(heard(key(1)))
    anna.clock.advance(1000)
    peering.heard(heard(key(2)))
    assert [it.device for it in peering.views()] == [DEVICE, key(2), key(1)]
