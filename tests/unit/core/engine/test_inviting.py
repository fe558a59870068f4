"""Invitations: one strict form as link, QR code and file."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.engine.inviting import (
    BadInvitation,
    Invitation,
    make_invitation,
    qr_png,
    qr_svg,
    qr_text,
    read_invitation,
    read_invitation_file,
    write_invitation_file,
)
from hanse.core.errors import FileTooLarge, FileUnreadable
from hanse.core.limits import (
    INVITATION_SIZE_BYTES_MAX,
    PEER_ADDRESSES_MAX,
    PEER_NAME_CHARACTERS_MAX,
)
from hanse.core.model.addresses import BadAddress, parse_address, peer_id_text
from hanse.core.model.ids import identity_text

DEVICE = bytes(range(32))
RELAY = bytes([5]) * 32
IDENTITY = bytes([6]) * 32
ID = peer_id_text(DEVICE)
PLACE = "/ip4/198.51.100.7/tcp/4801"
LINK = f"hanse:peer/{ID}?a={PLACE}"
BASE32 = identity_text(IDENTITY).removeprefix("hanse:id:")


def places(*texts):
    return tuple(parse_address(text).of(DEVICE) for text in texts)


def test_a_link_has_this_form():
    made = make_invitation(DEVICE, places(PLACE, "/dns4/a.example/tcp/1"), IDENTITY, "安娜 & Bo")
    assert made.link == (
        f"{LINK}&a=/dns4/a.example/tcp/1&i={BASE32}&n=%E5%AE%89%E5%A8%9C%20%26%20Bo"
    )
    assert read_invitation(made.link) == made


def test_a_relay_stands_in_a_link():
    relayed = f"{PLACE}/p2p/{peer_id_text(RELAY)}/p2p-circuit"
    made = make_invitation(DEVICE, places(relayed))
    assert read_invitation(made.link).addresses[0].relay == RELAY


def test_a_plain_address_is_an_invitation_too():
    found = read_invitation(f" {PLACE}/p2p/{ID}\n")
    assert found == Invitation(DEVICE, places(PLACE))


def test_a_link_may_be_escaped_more_than_needed():
    assert read_invitation(LINK.replace("a=/ip4", "a=%2Fip4")) == read_invitation(LINK)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "form"),
        ("hanse:peer/", "form"),
        ("hanse:peer/" + ID, "form"),
        (LINK.replace("hanse:", "HANSE:"), "form"),
        (LINK.replace("peer/", "listing/"), "form"),
        (LINK + "#top", "form"),
        (LINK + "&n=a b", "form"),
        (LINK + "&n=安", "form"),
        (LINK + "&n=%zz", "form"),
        (LINK + "&n=%FF", "form"),
        (LINK + "\n" + LINK, "form"),
        (f"hanse:peer/{ID[:-1]}?a={PLACE}", "key"),
        (f"hanse:peer/{ID}?i={BASE32}", "no_address"),
        (LINK + "&a=/ip4/1.2.3.4/udp/1", "address"),
        (LINK + f"&a=/ip4/1.2.3.4/tcp/1/p2p/{peer_id_text(RELAY)}", "address"),
        (LINK + f"&a={PLACE}/p2p/{ID}/p2p-circuit", "address"),
        (LINK + "&", "part"),
        (LINK + "&x=1", "part"),
        (LINK + "&n", "part"),
        (LINK + f"&a={PLACE}", "twice"),
        (LINK + "&n=a&n=b", "twice"),
        (LINK + f"&i={BASE32}&i={BASE32}", "twice"),
        (LINK + "&i=" + BASE32[:-1], "identity"),
        (LINK + "&i=" + BASE32.upper(), "identity"),
        (LINK + "&n=", "name"),
        (LINK + "&n=%20a", "name"),
        (LINK + "&n=a%0Ab", "name"),
        (LINK + "&n=" + "a" * (PEER_NAME_CHARACTERS_MAX + 1), "name"),
        (f"hanse:peer/{ID}?{'&'.join(f'a=/ip4/1.2.3.{n}/tcp/1' for n in range(9))}", "addresses"),
        (LINK + "&n=" + "a" * INVITATION_SIZE_BYTES_MAX, "too_long"),
        (PLACE, "no_key"),
        ("\ud800", "form"),
    ],
)  # fmt: skip
def test_what_is_no_invitation_is_refused_with_the_reason(text, reason):
    with pytest.raises(BadInvitation) as caught:
        read_invitation(text)
    assert caught.value.values["reason"] == reason
    assert len(caught.value.values["found"]) <= 80


def test_a_plain_address_that_is_none_says_what_is_wrong():
    with pytest.raises(BadAddress):
        read_invitation("/ip4/198.51.100.7/udp/1")


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda tail: LINK + tail))
def test_reading_raises_nothing_else(text):
    try:
        found = read_invitation(text)
    except (BadInvitation, BadAddress):
        return
    assert read_invitation(found.link) == found


@given(
    st.integers(0, 12),
    st.sampled_from(["", "安" * PEER_NAME_CHARACTERS_MAX, "Anna"]),
    st.booleans(),
)
def test_what_is_made_fits_and_is_read_back(count, name, has_identity):
    relay = f"/p2p/{peer_id_text(RELAY)}/p2p-circuit"
    many = places(*(f"/dns4/{'a' * 60}{n}.example/tcp/65535{relay}" for n in range(count + 1)))
    made = make_invitation(DEVICE, many, IDENTITY if has_identity else None, name)
    assert 1 <= len(made.addresses) <= PEER_ADDRESSES_MAX
    assert made.addresses == many[: len(made.addresses)]
    assert read_invitation(made.link) == made


def test_a_file_holds_the_link(tmp_path):
    made = read_invitation(LINK)
    path = tmp_path / "anna.hanse-peer"
    write_invitation_file(path, made)
    assert path.read_text() == LINK + "\n"
    assert read_invitation_file(path) == made
    path.write_bytes(LINK.encode() + b"\r\n")
    assert read_invitation_file(path) == made


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "x.hanse-peer"
    with pytest.raises(FileUnreadable):
        read_invitation_file(path)
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(BadInvitation):
        read_invitation_file(path)
    path.write_bytes(LINK.encode() + b"\n" * INVITATION_SIZE_BYTES_MAX)
    with pytest.raises(FileTooLarge):
        read_invitation_file(path)


def test_a_qr_code_is_drawn_as_text_and_as_pictures():
    made = make_invitation(DEVICE, places(PLACE), IDENTITY, "Anna")
    lines = qr_text(made).rstrip("\n").split("\n")
    widths = {len(line) for line in lines}
    assert len(widths) == 1
    assert widths.pop() in {2 * len(lines), 2 * len(lines) - 1}  # a square, two modules a line
    picture = ET.fromstring(qr_svg(made))
    assert picture.tag.endswith("svg")
    assert qr_png(made).startswith(b"\x89PNG\r\n\x1a\n")
