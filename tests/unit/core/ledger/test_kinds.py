"""What may stand in a Body of each kind, and that whatever breaks a rule is named."""

from __future__ import annotations

import re

import dag_cbor
import msgspec
import pytest

from hanse.core.errors import BadShape, NotCanonical, RejectedEntry
from hanse.core.ledger.codec import encode
from hanse.core.ledger.kinds import (
    INNER_KINDS,
    KINDS,
    Blob,
    Disclose1,
    Inner,
    InnerBody,
    InnerRule,
    Listing1,
    Message1,
    Profile1,
    Seeds1,
    UnknownKind,
    add_inner_kind,
    encode_body,
    is_kind_text,
    kind_of,
    parse_body,
    parse_inner_body,
    private,
)
from hanse.core.limits import BODY_SIZE_BYTES_MAX
from tests.vectors.make_kinds import BROKEN, VALID, VALID_INNER, plain

EXAMPLES = dict(zip(KINDS, VALID, strict=True))
PRIVATE = {"private/1", "receipt/1", "ruling/1"}
CASES = [(kind, note, change) for kind, rows in BROKEN.items() for note, change in rows]
# Faults of the codec inside an open map do not say in which one.
UNNAMED = {
    ("listing/1", "prefs nested 40 levels"),
    ("demand/1", "need nested 40 levels"),
    ("price/1", "params with an integer beyond 2^63 - 1"),
}


def changed(kind: str, **values: object) -> bytes:
    return encode(plain(EXAMPLES[kind]) | values)


def inner_of(body: InnerBody, kind: str) -> Inner:
    return Inner(1, bytes(32), 5, kind, plain(body))


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_body_round_trips(kind):
    body = EXAMPLES[kind]
    raw = encode_body(body)
    assert parse_body(kind, raw) == body
    assert kind_of(body) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_needed_and_no_other_is_allowed(kind):
    fields = plain(EXAMPLES[kind])
    for name in fields:
        with pytest.raises(BadShape, match=f"`{name}`"):
            parse_body(kind, encode({key: it for key, it in fields.items() if key != name}))
    with pytest.raises(BadShape, match="`extra`"):
        parse_body(kind, encode(fields | {"extra": None}))


@pytest.mark.parametrize("kind", KINDS)
def test_public_bodies_have_a_salt_and_sealed_ones_none(kind):
    assert ("salt" in plain(EXAMPLES[kind])) is not KINDS[kind].private
    assert KINDS[kind].private is (kind in PRIVATE)
    if kind not in PRIVATE:
        for size in (0, 15, 17):
            with pytest.raises(BadShape, match="salt"):
                parse_body(kind, changed(kind, salt=bytes(size)))


@pytest.mark.parametrize(("kind", "note", "change"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])
def test_a_broken_rule_names_its_field(kind, note, change):
    with pytest.raises(BadShape) as caught:
        parse_body(kind, dag_cbor.encode(plain(EXAMPLES[kind]) | change))
    if (kind, note) not in UNNAMED:
        named = re.search(r"`(?:\$\.)?(\w+)", caught.value.detail.rpartition(" ")[2])
        assert named is not None
        assert named[1] in {*plain(EXAMPLES[kind]), *change}


def test_every_kind_of_the_table_has_broken_examples():
    assert set(BROKEN) == set(KINDS)


def test_only_the_root_feed_kinds_are_signed_by_a_root_key():
    roots = {kind for kind, rule in KINDS.items() if rule.root}
    assert roots == {"identity/1", "revoke/1", "rotate/1"}


def test_what_others_count_by_is_not_erasable():
    kept = {kind for kind, rule in KINDS.items() if not rule.erasable}
    assert kept == {
        "identity/1",
        "device/1",
        "revoke/1",
        "rotate/1",
        "erase/1",
        "fork/1",
        "sale/1",
        "receipt/1",
        "ruling/1",
        "fault/1",
        "cert-revoke/1",
        "licence-revoke/1",
    }


def test_text_limits_count_characters_not_bytes():
    chinese = "模" * 60
    assert parse_body("profile/1", changed("profile/1", name=chinese)).name == chinese
    with pytest.raises(BadShape, match=r"\$\.name"):
        parse_body("profile/1", changed("profile/1", name=chinese + "型"))


def test_a_body_above_the_limit_is_refused_whole():
    text = "\U0001f9ed" * 16_000
    tags = tuple("\U0001f9ed" * 38 + f"{i:02}" for i in range(16))
    body = msgspec.structs.replace(EXAMPLES["listing/1"], text=text, tags=tags)
    assert len(encode(body)) > BODY_SIZE_BYTES_MAX
    with pytest.raises(BadShape, match=f"limit {BODY_SIZE_BYTES_MAX}"):
        encode_body(body)


def test_the_largest_listing_in_chinese_fits():
    body = msgspec.structs.replace(
        EXAMPLES["listing/1"], text="模" * 16_000, title="型" * 120, summary="市" * 500
    )
    assert parse_body("listing/1", encode_body(body)) == body


def test_we_write_no_body_that_a_peer_would_refuse():
    with pytest.raises(BadShape, match=r"\$\.name"):
        encode_body(msgspec.structs.replace(EXAMPLES["profile/1"], name="two\nlines"))
    with pytest.raises(BadShape, match=r"\$\.key"):
        encode_body(Disclose1(salt=bytes(16), entry=bytes(32), key=b"short"))


def test_an_unknown_kind_is_said_to_be_unknown():
    for kind in ("listing/2", "mailbox/1", "proposal/1", "order/1", "", "x"):
        with pytest.raises(UnknownKind) as caught:
            parse_body(kind, b"\xa0")
        assert caught.value.reason == "unknown_kind"


def test_bytes_that_are_not_canonical_are_named_before_the_shape():
    with pytest.raises(NotCanonical):
        parse_body("profile/1", b"\xb8\x00")
    with pytest.raises(NotCanonical):
        parse_body("profile/1", b"")


@pytest.mark.parametrize(
    ("text", "is_kind"),
    [
        ("listing/1", True),
        ("human-review/1", True),
        ("a" * 31 + "/999", True),
        ("ab/1", True),
        ("a/1", False),
        ("a" * 32 + "/1", False),
        ("listing/0", False),
        ("listing/01", False),
        ("listing/1000", False),
        ("listing", False),
        ("Listing/1", False),
        ("-listing/1", False),
        ("listing_x/1", False),
        ("listing/1\n", False),
        ("listing/\uff11", False),
        ("", False),
    ],
)
def test_a_kind_is_small_letters_and_a_version(text, is_kind):
    assert is_kind_text(text) is is_kind


def test_null_stands_for_what_is_absent():
    body = Profile1(
        salt=bytes(16), name="n", about="", web=(), contact=None, sectors=(), avatar=None, lang=None
    )
    assert parse_body("profile/1", encode_body(body)) == body


def test_a_trial_edition_may_name_the_full_one():
    raw = changed("release/1", edition="trial", of=bytes(32), seal=None)
    assert parse_body("release/1", raw).seal is None


def test_a_review_may_rest_on_a_public_sale_alone():
    raw = changed("review/1", receipt=None, nonce=None, supersedes=bytes(32), withdrawn=True)
    assert parse_body("review/1", raw).withdrawn


def test_a_sale_below_zero_is_no_fact():
    fact = [1, *[bytes(32)] * 4, 0, [-5, "EUR", 2], bytes(32), bytes(32)]
    with pytest.raises(BadShape, match="below 0"):
        parse_body("sale/1", changed("sale/1", fact=encode(fact)))


def test_an_open_map_holds_every_plain_value():
    prefs = {"a": [None, True, -1, b"\x00", "two\nlines", {"b": []}]}
    body = parse_body("listing/1", changed("listing/1", prefs=prefs))
    assert isinstance(body, Listing1)
    assert body.prefs == prefs


def test_an_open_map_of_exactly_its_limit_passes():
    assert parse_body("listing/1", changed("listing/1", prefs={"many": [0] * 998}))


# --- inside sealed Bodies -------------------------------------------------------------------


@pytest.mark.parametrize("body", VALID_INNER, ids=lambda body: type(body).__name__)
def test_an_inner_body_is_read_under_a_private_header(body):
    kind = next(kind for kind, rule in INNER_KINDS.items() if rule.body is type(body))
    assert parse_inner_body("private/1", inner_of(body, kind)) == body


def test_an_inner_kind_under_the_wrong_header_is_refused():
    for header_kind in ("receipt/1", "ruling/1", "listing/1"):
        with pytest.raises(RejectedEntry) as caught:
            parse_inner_body(header_kind, inner_of(VALID_INNER[0], "message/1"))
        assert caught.value.reason == "inner_kind"


def test_an_unknown_inner_kind_is_refused():
    with pytest.raises(RejectedEntry) as caught:
        parse_inner_body("private/1", Inner(1, bytes(32), 1, "profile/1", {}))
    assert caught.value.reason == "unknown_kind"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "t" * 4001),
        ("text", "a\x07b"),
        ("files", [[bytes(32), 1, None]] * 5),
        ("files", [[bytes(31), 1, None]]),
        ("order", bytes(31)),
    ],
)
def test_a_broken_message_is_refused(name, value):
    fields = plain(VALID_INNER[0]) | {name: value}
    with pytest.raises(BadShape, match=rf"\$\.{name}"):
        parse_inner_body("private/1", Inner(1, bytes(32), 1, "message/1", fields))


def test_a_message_says_something():
    fields = {"order": None, "text": "", "files": []}
    with pytest.raises(BadShape, match="neither"):
        parse_inner_body("private/1", Inner(1, bytes(32), 1, "message/1", fields))
    fields["files"] = [[bytes(32), 1, None]]
    assert parse_inner_body("private/1", Inner(1, bytes(32), 1, "message/1", fields))


@pytest.mark.parametrize(
    "seeds",
    [
        [],
        [[1, bytes(32), bytes(32)], [0, bytes(32), bytes(32)]],
        [[0, bytes(32), bytes(32)], [0, bytes(32), bytes(32)]],
        [[0, bytes(32), bytes(31)]],
        [[0, bytes(32)]],
    ],
    ids=["none", "out of order", "twice", "short", "half"],
)
def test_broken_seeds_are_refused(seeds):
    with pytest.raises(BadShape, match=r"\$\.seeds"):
        parse_inner_body("private/1", Inner(1, bytes(32), 1, "seeds/1", {"seeds": seeds}))


def test_secrets_show_in_no_representation():
    secret = bytes(range(32))
    seeds = Seeds1(seeds=((0, secret, secret),))
    blob = Blob(bytes(32), 1, secret)
    message = Message1(order=None, text="between us", files=(blob,))
    inner = inner_of(seeds, "seeds/1")
    shown = repr([seeds, blob, message, inner, inner_of(message, "message/1")])
    assert repr(secret) not in shown
    assert secret.hex() not in shown
    assert "between us" not in shown
    assert "private" in repr(blob)
    assert "public" in repr(Blob(bytes(32), 1, None))


def test_a_higher_part_can_add_its_inner_kind():
    class Note1(InnerBody, frozen=True, kw_only=True):
        text: str

    add_inner_kind(InnerRule("note/1", Note1, frozenset({"private/1"})))
    try:
        inner = Inner(1, bytes(32), 1, "note/1", {"text": "n"})
        assert parse_inner_body("private/1", inner) == Note1(text="n")
    finally:
        del private._INNER_KINDS["note/1"]
