"""Peer ids and multiaddr texts: read strictly, written one way, and classed by how far they are."""

from __future__ import annotations

import hashlib
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.limits import MULTIADDR_CHARACTERS_MAX
from hanse.core.model.addresses import (
    BadAddress,
    PeerAddress,
    Reach,
    is_told_by,
    parse_address,
    parse_peer_id,
    peer_id_text,
    read_address,
)
from hanse.core.model.ids import BadId

DEVICE = bytes(range(32))
OTHER = bytes([7]) * 32
ID = peer_id_text(DEVICE)
OTHER_ID = peer_id_text(OTHER)

keys = st.binary(min_size=32, max_size=32)


def place_of(host, kind="ip4", port=4801):
    return PeerAddress(kind, host, port)


def test_a_peer_id_is_what_libp2p_calls_this_key():
    importlib.import_module("hanse.network.transport")  # libp2p is imported behind it alone
    lib = importlib.import_module("libp2p.peer.id")
    for number in range(20):
        key = hashlib.sha256(bytes([number])).digest()
        assert lib.ID.from_base58(peer_id_text(key)).to_bytes().hex() == "002408011220" + key.hex()


@given(keys)
def test_a_peer_id_is_read_back(key):
    assert parse_peer_id(peer_id_text(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        ID[:-1],
        ID + "1",
        ID.replace("1", "0", 1),
        "1" * 52,
        "z" * 52,
        ID.lower(),
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "é" * 52,
    ],
)
def test_what_is_no_peer_id_is_refused(text):
    with pytest.raises(BadId):
        parse_peer_id(text)


@given(st.text(max_size=60))
def test_reading_a_peer_id_never_fails_otherwise(text):
    try:
        key = parse_peer_id(text)
    except BadId:
        return
    assert peer_id_text(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.7/tcp/4801",
        f"/ip4/192.0.2.7/tcp/4801/p2p/{ID}",
        "/ip6/2001:db8::1/tcp/1",
        f"/dns4/node.example.org/tcp/65535/p2p/{ID}",
        "/dns/localhost/tcp/80",
        f"/ip4/192.0.2.7/tcp/4801/p2p/{OTHER_ID}/p2p-circuit",
        f"/ip4/192.0.2.7/tcp/4801/p2p/{OTHER_ID}/p2p-circuit/p2p/{ID}",
    ],
)
def test_an_address_is_written_as_it_was_read(text):
    assert parse_address(text).text == text
    assert read_address(text) == parse_address(text)


def test_an_address_is_written_one_way():
    assert parse_address("/ip6/2001:DB8:0:0::1/tcp/1").text == "/ip6/2001:db8::1/tcp/1"
    assert parse_address("/dns/Example.ORG/tcp/1").text == "/dns/example.org/tcp/1"


def test_an_address_over_a_relay_has_both_keys():
    address = parse_address(f"/ip4/192.0.2.7/tcp/1/p2p/{OTHER_ID}/p2p-circuit/p2p/{ID}")
    assert (address.device, address.relay) == (DEVICE, OTHER)
    assert address.place == f"/ip4/192.0.2.7/tcp/1/p2p/{OTHER_ID}/p2p-circuit"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "form"),
        ("192.0.2.7:4801", "form"),
        ("/ip4/192.0.2.7", "form"),
        ("/ip4/192.0.2.7/udp/4801/quic-v1", "transport"),
        ("/ip4/192.0.2.7/tcp/4801/", "transport"),
        ("/ip4/192.0.2.7/tcp/4801/ws", "transport"),
        (f"/ip4/192.0.2.7/tcp/4801/p2p/{ID}/p2p/{ID}", "transport"),
        ("/ip4/192.0.2.300/tcp/4801", "host"),
        ("/ip4/0192.0.2.3/tcp/4801", "host"),
        ("/ip6/192.0.2.7/tcp/4801", "host"),
        ("/ip6/fe80::1%eth0/tcp/4801", "host"),
        ("/ip6zone/eth0/tcp/1", "form"),
        ("/dns/-bad/tcp/1", "host"),
        ("/dns/a..b/tcp/1", "host"),
        ("/dns//tcp/1", "host"),
        ("/dns/" + "a" * 64 + "/tcp/1", "host"),
        ("/ip4/192.0.2.7/tcp/0", "port"),
        ("/ip4/192.0.2.7/tcp/65536", "port"),
        ("/ip4/192.0.2.7/tcp/+80", "port"),
        ("/ip4/192.0.2.7/tcp/080", "port"),
        ("/ip4/192.0.2.7/tcp/4801/p2p/" + ID[:-1], "key"),
        (f"/ip4/192.0.2.7/tcp/1/p2p/{ID}/p2p-circuit/p2p/{ID}", "key"),
        ("/ip4/0.0.0.0/tcp/4801", "nowhere"),
        ("/ip4/224.0.0.251/tcp/4801", "nowhere"),
        ("/ip4/255.255.255.255/tcp/4801", "nowhere"),
        ("/ip6/::/tcp/4801", "nowhere"),
        ("/ip6/ff02::1/tcp/4801", "nowhere"),
        ("/dns/" + "a." * 200 + "org/tcp/1", "too_long"),
    ],
)
def test_what_cannot_be_dialled_is_refused_with_the_reason(text, reason):
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    assert caught.value.values["reason"] == reason
    assert len(str(caught.value.values["found"])) <= MULTIADDR_CHARACTERS_MAX
    assert read_address(text) is None


@given(st.text(alphabet="/ip46dnstcpudp2-circuit0123456789.:abcXY%", max_size=80))
def test_reading_an_address_raises_nothing_else(text):
    address = read_address(text)
    if address is not None:
        assert parse_address(address.text) == address


@pytest.mark.parametrize(
    ("kind", "host", "reach"),
    [
        ("ip4", "127.0.0.1", Reach.LOOPBACK),
        ("ip4", "127.9.9.9", Reach.LOOPBACK),
        ("ip6", "::1", Reach.LOOPBACK),
        ("ip4", "10.1.2.3", Reach.LAN),
        ("ip4", "172.31.0.1", Reach.LAN),
        ("ip4", "192.168.1.1", Reach.LAN),
        ("ip4", "169.254.1.1", Reach.LAN),
        ("ip4", "100.64.0.1", Reach.LAN),
        ("ip6", "fd00::1", Reach.LAN),
        ("ip6", "fe80::1", Reach.LAN),
        ("ip4", "198.51.100.7", Reach.PUBLIC),
        ("ip4", "172.32.0.1", Reach.PUBLIC),
        ("ip6", "2001:db8::1", Reach.PUBLIC),
        # What a gateway would turn into an address of this machine or house.
        ("ip6", "::ffff:127.0.0.1", Reach.LOOPBACK),
        ("ip6", "::ffff:192.168.1.1", Reach.LAN),
        ("ip6", "2002:7f00:1::", Reach.LOOPBACK),
        ("ip6", "64:ff9b::a00:1", Reach.LAN),
        ("dns", "localhost", None),
    ],
)
def test_how_far_a_place_is(kind, host, reach):
    assert parse_address(f"/{kind}/{host}/tcp/1").reach is reach


@pytest.mark.parametrize("teller", list(Reach))
def test_nobody_sends_us_nearer_than_he_is(teller):
    hosts = {Reach.LOOPBACK: "127.0.0.1", Reach.LAN: "10.0.0.1", Reach.PUBLIC: "198.51.100.1"}
    for reach, host in hosts.items():
        assert is_told_by(place_of(host), teller) == (reach >= teller)
    assert not is_told_by(place_of("localhost", "dns"), teller)
