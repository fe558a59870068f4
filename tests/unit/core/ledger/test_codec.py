"""One encoding for one value, and nothing but ``NotCanonical`` or ``BadShape`` for the rest."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from enum import Enum
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.errors import BadShape, NotCanonical
from hanse.core.ledger.codec import (
    INT_MAX,
    INT_MIN,
    Unencodable,
    bound_items,
    decode,
    decode_any,
    encode,
    is_text,
)
from hanse.core.limits import NESTING_DEPTH_MAX


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=0, le=9)]
    key: bytes | None


class Loose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    rows: tuple[Row, ...] = ()
    more: dict[str, object] = {}


class Tree(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    children: list[Tree]


# Every leading byte pattern by which libipld takes bytes for a link.
LIKE_LINKS = [
    bytes.fromhex("0155121c") + bytes(28),
    bytes.fromhex("0171121c") + bytes(range(28)),
    bytes.fromhex("01550000"),
    bytes.fromhex("1220") + bytes(32),
    bytes.fromhex("015512026162") + bytes(100),
]


def nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


def test_a_list_struct_is_its_list_and_a_map_struct_its_map():
    assert encode(Row(7, b"\x01")) == bytes.fromhex("82074101")
    assert decode_any(encode(Loose(1, (Row(2, None),)))) == {
        "number": 1,
        "rows": [[2, None]],
        "more": {},
    }


def test_what_was_encoded_decodes_to_the_same():
    value = Loose(INT_MIN, (Row(9, b"\xff"),), {"a": [INT_MAX, "ä", None, True, {"b": b""}]})
    assert decode(encode(value), Loose) == value


def test_maps_are_sorted_by_length_of_the_key_then_by_its_bytes():
    assert encode({"bb": 1, "ä": 2, "b": 3, "a": 4}) == bytes.fromhex(
        "a461610461620362626201 62c3a402"
    )


@pytest.mark.parametrize("raw", LIKE_LINKS, ids=lambda raw: raw[:4].hex())
def test_bytes_that_look_like_a_link_stay_bytes(raw):
    value = {"a": [raw, -1, 24, 256, 70_000, 2**40, None, True, False, "x"], "key": raw, "c": {}}
    encoded = encode(value)
    assert b"\xd8\x2a" not in encoded
    assert decode_any(encoded) == value
    assert decode(encode(Row(1, raw)), Row) == Row(1, raw)


def test_bytes_that_hold_the_mark_of_a_link_stay_bytes():
    raw = b"\x00\xd8\x2a\x00"
    assert decode_any(encode([raw, raw])) == [raw, raw]


def test_a_link_is_refused_even_where_bytes_are_expected():
    link = bytes.fromhex("d82a5825000155121c") + bytes(32)
    with pytest.raises(NotCanonical):
        decode_any(link)
    with pytest.raises(NotCanonical):
        decode(b"\x82\x01" + link, Row)


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        [1.0],
        {"a": float("nan")},
        INT_MAX + 1,
        INT_MIN - 1,
        2**70,
        {1: 2},
        {b"a": 1},
        {"a": {None: 1}},
        "\ud800",
        {"\udfff": 1},
        object(),
        nested(NESTING_DEPTH_MAX + 1),
        nested(3000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_encoding_is_our_bug(value):
    with pytest.raises(Unencodable):
        encode(value)


def test_a_set_is_a_sorted_list():
    ids = {bytes([n]) * 32 for n in range(50)}
    assert encode(ids) == encode(sorted(ids))


def test_a_value_that_holds_itself_has_no_encoding():
    value: list[object] = []
    value.append(value)
    with pytest.raises(Unencodable):
        encode(value)


def test_a_word_of_a_closed_set_is_encoded_as_its_text():
    class Word(Enum):
        OPEN = "open"

    assert encode([Word.OPEN]) == encode(["open"])


def test_the_deepest_allowed_value_passes_and_one_level_more_does_not():
    deepest = nested(NESTING_DEPTH_MAX - 1)
    assert decode_any(encode(deepest)) == deepest
    with pytest.raises(BadShape, match="deeper"):
        decode_any(b"\x81" * (NESTING_DEPTH_MAX + 1) + b"\x80")


@pytest.mark.parametrize("levels", [1_000, 10_000, 100_000])
def test_deep_nesting_is_refused_in_every_shape(levels):
    for raw in (b"\x81" * levels + b"\x80", b"\xa1\x61a" * levels + b"\xa0"):
        for shape in (Tree, Loose, Row, list):
            with pytest.raises(BadShape):
                decode(raw, shape)
        with pytest.raises(BadShape):
            decode_any(raw)


def test_a_million_levels_do_not_end_the_process():
    program = """
from hanse.core.errors import BadShape
from hanse.core.ledger.codec import decode_any
for raw in (b"\\x81" * 1_000_000 + b"\\x80", b"\\xa1\\x61a" * 1_000_000 + b"\\xa0"):
    try:
        decode_any(raw)
    except BadShape:
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert done.stdout.split() == ["refused"] * 2


def test_text_is_never_read_as_bytes():
    with pytest.raises(BadShape, match="Expected `bytes"):
        decode(encode([1, "AAAA"]), Row)


def test_one_value_too_many_or_too_few_is_a_bad_shape():
    for row in ([1], [1, None, None]):
        with pytest.raises(BadShape):
            decode(encode(row), Row)


def test_an_unknown_field_is_named():
    with pytest.raises(BadShape, match="`zzz`"):
        decode(encode({"number": 1, "zzz": 1}), Loose)


def test_true_is_no_number_and_a_float_is_none_either():
    with pytest.raises(BadShape):
        decode(encode({"number": True}), Loose)
    with pytest.raises(BadShape, match="float"):
        decode(bytes.fromhex("a1666e756d626572fb3ff0000000000000"), Loose)


def test_a_float_or_wide_number_hides_in_no_open_map():
    head = bytes.fromhex("a2646d6f7265a16178")  # {"more": {"x": ...
    tail = bytes.fromhex("666e756d62657201")  # ...}, "number": 1}
    assert decode(head + b"\x01" + tail, Loose).more == {"x": 1}
    for hidden in ("fb3ff8000000000000", "1b8000000000000000", "3b8000000000000000"):
        with pytest.raises(BadShape):
            decode(head + bytes.fromhex(hidden) + tail, Loose)


def test_a_number_beyond_64_bits_is_refused_where_no_range_is_given():
    with pytest.raises(BadShape, match="64 bits"):
        decode(bytes.fromhex("a1666e756d6265721bffffffffffffffff"), Loose)


def test_a_float_beside_bytes_like_a_link_is_refused_alike():
    raw = b"\x82\xfb\x3f\xf8" + bytes(6) + b"\x58\x20" + LIKE_LINKS[0]
    with pytest.raises(BadShape, match="float"):
        decode_any(raw)


@pytest.mark.parametrize(
    ("value", "single", "multi"),
    [
        ("", True, True),
        ("plain", True, True),
        ("Lübeck 模型", True, True),
        ("Lu\u0308beck", False, False),
        ("two\nlines", False, True),
        ("a\tb", False, False),
        ("a\r\nb", False, False),
        ("a\x00b", False, False),
        ("a\x7fb", False, False),
        ("a\x85b", False, False),
        ("a\u2028b", False, False),
        ("a\u2029b", False, False),
        ("\u212b", False, False),
        ("\U0001f9ed", True, True),
    ],
)
def test_text_is_composed_and_has_no_controls(value, single, multi):
    assert is_text(value, multiline=False) is single
    assert is_text(value, multiline=True) is multi


# --- how many values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (None, 1),
        (24, 1),
        (2**40, 1),
        (-1, 1),
        ("a" * 300, 1),
        (b"\x80" * 5000, 1),
        ([], 1),
        ([1, [2, b"3"], {"k": "v"}], 8),
        ({"a": {"b": [None, True]}}, 7),
    ],
)
def test_values_are_counted_by_their_heads(value, count):
    raw = encode(value)
    bound_items(raw, count)
    with pytest.raises(BadShape):
        bound_items(raw, count - 1)


@given(st.binary(max_size=200))
def test_counting_reads_any_bytes(raw):
    with suppress(BadShape):
        bound_items(raw, 50)


def test_what_a_head_claims_counts_before_it_is_there():
    for lie in (b"\x9b", b"\xbb"):
        with pytest.raises(BadShape):
            bound_items(lie + b"\xff" * 8, 2**40)
    bound_items(b"\x5b" + b"\xff" * 8, 1)  # bytes are one value; that they are cut is told later
