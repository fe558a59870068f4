"""Private bodies: for their readers, in their place, and one by one for everybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from hanse.core.crypto.boxes import BoxSecret, TooManyReaders, seal_envelope
from hanse.core.errors import BadShape, RejectedEntry
from hanse.core.ledger.codec import encode
from hanse.core.ledger.disclosure import (
    Disclosure,
    DisclosureFailed,
    check_disclosure,
    disclose,
    open_body,
    seal_body,
)
from hanse.core.ledger.kinds import Inner, Message1
from tests.fakes.author import Author, DeviceFeed
from tests.fakes.chance import SeededChance

if TYPE_CHECKING:
    from hanse.core.ledger.entry import CheckedEntry

MESSAGE = Message1(order=None, text="the price is fine", files=())
ANN, BOB, EVE = (BoxSecret(bytes([number]) * 32) for number in (1, 2, 3))


@pytest.fixture
def device() -> DeviceFeed:
    return Author(1).device()


def sealed(
    device: DeviceFeed, readers: tuple[BoxSecret, ...] = (ANN,), **where: object
) -> tuple[CheckedEntry, bytes]:
    """Write a Private body for ``readers`` as the next Entry; return it and its key."""
    arguments = {
        "author": device.key,
        "seq": len(device.entries) + 1,
        "header_kind": "private/1",
        "inner_kind": "message/1",
        "inner_body": MESSAGE,
    } | where
    raw, key = seal_body(
        readers=[reader.public_key for reader in readers], chance=SeededChance(7), **arguments
    )
    return device.append("private/1", raw), key


def posted(device: DeviceFeed, plain: bytes) -> tuple[CheckedEntry, bytes]:
    """Write any plaintext, sealed to Ann, as the next Entry."""
    envelope, key = seal_envelope(plain, [ANN.public_key], SeededChance(8))
    raw = encode({"commit": envelope.commit, "ct": envelope.ct, "to": list(envelope.to)})
    return device.append("private/1", raw), key


def reason_of(entry: CheckedEntry, key: bytes) -> str:
    """Return why the reader refuses, having checked that a third party does for the same."""
    with pytest.raises(RejectedEntry) as opened:
        open_body(entry, [ANN])
    with pytest.raises(RejectedEntry) as disclosed:
        check_disclosure(disclose(entry, key))
    assert str(disclosed.value) == str(opened.value)
    return opened.value.reason


def test_a_reader_opens_what_was_sealed(device):
    entry, key = sealed(device)
    opened = open_body(entry, [ANN])
    assert opened.body == MESSAGE
    assert opened.key == key
    assert (opened.inner.author, opened.inner.seq, opened.inner.kind) == (
        device.key,
        2,
        "message/1",
    )


def test_every_reader_opens_it_and_nobody_else(device):
    entry, key = sealed(device, (ANN, BOB))
    assert open_body(entry, [ANN]) == open_body(entry, [BOB]) == open_body(entry, [EVE, BOB])
    assert open_body(entry, [EVE]) is None
    assert open_body(entry, []) is None
    assert check_disclosure(disclose(entry, key))[1] == open_body(entry, [ANN])


def test_the_outside_shows_neither_text_nor_readers(device):
    entry, key = sealed(device, (ANN, BOB))
    for hidden in (MESSAGE.text.encode(), key, ANN.public_key, BOB.public_key):
        assert hidden not in entry.body
    opened = open_body(entry, [ANN])
    for shown in (repr(opened), repr(opened.inner), repr(opened.body)):
        assert MESSAGE.text not in shown
        assert repr(key) not in shown


def test_what_everybody_may_read_is_not_opened(device):
    assert open_body(device.append("profile/1"), [ANN]) is None


def test_without_its_body_nothing_opens(device):
    entry, _ = sealed(device)
    assert open_body(entry.without_body(), [ANN]) is None
    assert open_body(entry._replace(body=entry.body + b"\0"), [ANN]) is None


def test_a_copied_envelope_opens_nowhere_else(device):
    entry, key = sealed(device)
    copied = device.append("private/1", entry.body)
    assert reason_of(copied, key) == "copied_envelope"
    thief = Author(2).device()
    assert len(thief.entries) + 1 == entry.seq
    assert reason_of(thief.append("private/1", entry.body), key) == "copied_envelope"
    assert open_body(entry, [ANN]) is not None


def test_an_inner_kind_nobody_knows_is_named(device):
    body = {"text": "hello"}
    assert reason_of(*posted(device, encode([1, device.key, 2, "haiku/1", body]))) == (
        "unknown_kind"
    )


def test_an_inner_kind_under_the_wrong_header_is_named(device):
    raw, key = seal_body(
        author=device.key,
        seq=2,
        header_kind="private/1",
        inner_kind="message/1",
        inner_body=MESSAGE,
        readers=[ANN.public_key],
        chance=SeededChance(7),
    )
    assert reason_of(device.append("ruling/1", raw), key) == "inner_kind"


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_inside_is_named(device, version):
    fields = msgspec.to_builtins(MESSAGE)
    plain = encode([version, device.key, 2, "message/1", fields])
    assert reason_of(*posted(device, plain)) == "version"


def test_what_is_not_canonical_or_of_its_schema_inside_is_refused(device):
    assert reason_of(*posted(device, b"not DAG-CBOR")) == "not_canonical"
    assert reason_of(*posted(device, encode([1, 2, 3]))) == "bad_shape"
    empty = encode([1, device.key, 4, "message/1", {"order": None, "text": "", "files": []}])
    assert reason_of(*posted(device, empty)) == "bad_shape"


def test_we_seal_nothing_that_a_reader_would_refuse(device):
    empty = Message1(order=None, text="", files=())
    with pytest.raises(BadShape):
        sealed(device, inner_body=empty)
    with pytest.raises(RejectedEntry, match="inner_kind"):
        sealed(device, header_kind="receipt/1")
    with pytest.raises(TooManyReaders):
        sealed(device, ())
    assert len(device.entries) == 1


def test_a_void_body_is_refused_when_it_is_opened(device):
    entry = device.append("private/1", encode({"commit": bytes(32), "ct": b"", "to": []}))
    assert reason_of(entry, bytes(32)) == "bad_shape"


# --- Disclosures -----------------------------------------------------------------------------


def test_a_disclosure_shows_one_body_to_anybody(device):
    entry, key = sealed(device)
    shown, opened = check_disclosure(disclose(entry, key))
    assert shown == entry
    assert opened.body == MESSAGE


def test_a_disclosure_with_another_key_is_refused(device):
    first, _ = sealed(device)
    _, other_key = posted(device, b"x")
    for key in (other_key, bytes(32), b"", bytes(33)):
        with pytest.raises(DisclosureFailed) as caught:
            check_disclosure(disclose(first, key))
        assert caught.value.values == {
            "where": "seq 2",
            "reason": "the key does not open the body",
        }


def test_a_disclosure_of_another_body_is_refused(device):
    entry, key = sealed(device)
    wrong = msgspec.structs.replace(disclose(entry, key), body=entry.body + b"\0")
    with pytest.raises(DisclosureFailed) as caught:
        check_disclosure(wrong)
    assert caught.value.values["reason"] == "the body is not the one the header names"


def test_a_disclosure_of_what_everybody_may_read_is_refused(device):
    entry = device.append("profile/1")
    with pytest.raises(DisclosureFailed) as caught:
        check_disclosure(disclose(entry, bytes(32)))
    assert caught.value.values["reason"] == "profile/1 has no private body"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("version", 2, "version"),
        ("header", b"\xff", "not_canonical"),
        ("header", bytes(1025), "too_big"),
        ("signature", bytes(64), "bad_signature"),
        ("signature", b"", "too_big"),
    ],
)
def test_a_disclosure_whose_entry_breaks_a_rule_has_its_word(device, field, value, reason):
    good = disclose(*sealed(device))
    assert isinstance(good, Disclosure)
    with pytest.raises(RejectedEntry) as caught:
        check_disclosure(msgspec.structs.replace(good, **{field: value}))
    assert caught.value.reason == reason


def test_the_inner_text_names_its_place_and_nothing_else():
    inner = Inner(1, bytes(32), 5, "message/1", {"text": "secret"})
    assert repr(inner) == f"Inner(message/1 for seq 5 of {bytes(32).hex()})"
