"""Writes ``codec.json``: values with their one encoding, and refused bytes with the reason.

Run as ``python -m tests.vectors.make_codec``.  Valid values are encoded by
``dag-cbor``, which shares no code with Hanse; hostile bytes are written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import dag_cbor

from tests.vectors.make_kinds import readable

FILE = Path(__file__).with_name("codec.json")

# A hash that happens to begin like a CID (version 1, raw, SHA-256, 28 bytes) is still 32 bytes.
LIKE_A_LINK = bytes.fromhex("0155121c") + bytes(28)

VALID: tuple[tuple[str, object], ...] = (
    ("null", None),
    ("false", False),
    ("true", True),
    ("0", 0),
    ("23, the last in the head itself", 23),
    ("24, the first of one byte", 24),
    ("255", 255),
    ("256", 256),
    ("65,535", 65_535),
    ("65,536", 65_536),
    ("2^32 - 1", 2**32 - 1),
    ("2^32", 2**32),
    ("2^63 - 1, the greatest", 2**63 - 1),
    ("-1", -1),
    ("-24", -24),
    ("-25", -25),
    ("-2^63, the least", -(2**63)),
    ("empty bytes", b""),
    ("24 bytes", bytes(range(24))),
    ("bytes that begin like a CID", LIKE_A_LINK),
    ("bytes that are a whole CIDv0", bytes.fromhex("1220") + bytes(32)),
    ("bytes with the head of a link in them", bytes.fromhex("d82a4100d82a")),
    ("empty text", ""),
    ("Chinese text", "模型市场"),
    ("text beyond the basic plane", "\U0001f9ed"),
    ("empty list", []),
    ("nested lists", [1, [2, [3, []]]]),
    ("24 items", [0] * 24),
    ("empty map", {}),
    ("keys by length, then bytes", {"a": 1, "b": 2, "aa": 3, "ä": 4, "zz": 5}),
    ("everything", {"n": None, "list": [True, -1, b"\x00", ""], "map": {"k": LIKE_A_LINK}}),
)

_NESTED_33 = "81" * 33 + "80"

HOSTILE: tuple[tuple[str, str, str], ...] = (
    ("nothing", "not_canonical", ""),
    ("a byte follows", "not_canonical", "8000"),
    ("two values", "not_canonical", "0101"),
    ("a list that ends early", "not_canonical", "8201"),
    ("a map that ends early", "not_canonical", "a16161"),
    ("text that ends early", "not_canonical", "626161"[:-2]),
    ("bytes that end early", "not_canonical", "4201"),
    ("a head that ends early", "not_canonical", "19ff"),
    ("a list of 2^63 - 1 items, claimed", "not_canonical", "9b7fffffffffffffff"),
    ("a list of 2^64 - 1 items, claimed", "not_canonical", "9bffffffffffffffff"),
    ("a map of 2^63 - 1 items, claimed", "not_canonical", "bb7fffffffffffffff"),
    ("bytes of 2^63 - 1, claimed", "not_canonical", "5b7fffffffffffffff"),
    ("text of 2^64 - 1, claimed", "not_canonical", "7bffffffffffffffff"),
    ("a list of 2^32 - 1 items, claimed", "not_canonical", "9affffffff"),
    ("bytes without a fixed length", "not_canonical", "5f4101ff"),
    ("text without a fixed length", "not_canonical", "7f6161ff"),
    ("a list without a fixed length", "not_canonical", "9f01ff"),
    ("a map without a fixed length", "not_canonical", "bf616101ff"),
    ("a break alone", "not_canonical", "ff"),
    ("17 in one byte more", "not_canonical", "1817"),
    ("255 in one byte more", "not_canonical", "1900ff"),
    ("65,535 in two bytes more", "not_canonical", "1a0000ffff"),
    ("2^32 - 1 in four bytes more", "not_canonical", "1b00000000ffffffff"),
    ("-1 in one byte more", "not_canonical", "3800"),
    ("-256 in one byte more", "not_canonical", "3900ff"),
    ("a length of bytes in one byte more", "not_canonical", "580101"),
    ("a length of text in one byte more", "not_canonical", "780161"),
    ("a length of a list in one byte more", "not_canonical", "980101"),
    ("a length of a map in one byte more", "not_canonical", "b801616101"),
    ("a length of a key in one byte more", "not_canonical", "a178016101"),
    ("reserved info 28", "not_canonical", "1c"),
    ("reserved info 29", "not_canonical", "5d"),
    ("reserved info 30", "not_canonical", "9e"),
    ("a number without a fixed length", "not_canonical", "1f"),
    ("a key twice", "not_canonical", "a2616101616102"),
    ("keys out of order", "not_canonical", "a2616201616102"),
    ("a long key before a short one", "not_canonical", "a262616101616202"),
    ("keys out of order in an inner map", "not_canonical", "81a2616201616102"),
    ("a key that is a number", "not_canonical", "a10101"),
    ("a key that is bytes", "not_canonical", "a1416101"),
    ("a key that is null", "not_canonical", "a1f601"),
    ("a key that is a list", "not_canonical", "a18001"),
    ("float of 16 bits", "not_canonical", "f93c00"),
    ("float of 32 bits", "not_canonical", "fa3f800000"),
    ("float of 64 bits", "bad_shape", "fb3ff8000000000000"),
    ("float that is whole", "bad_shape", "fb3ff0000000000000"),
    ("float zero with a minus", "not_canonical", "fb8000000000000000"),
    ("float in a list", "bad_shape", "81fb3ff8000000000000"),
    ("NaN of 16 bits", "not_canonical", "f97e00"),
    ("NaN of 64 bits", "not_canonical", "fb7ff8000000000000"),
    ("infinity", "not_canonical", "fb7ff0000000000000"),
    ("undefined", "not_canonical", "f7"),
    ("simple value 0", "not_canonical", "e0"),
    ("simple value 32", "not_canonical", "f820"),
    ("false in one byte more", "not_canonical", "f814"),
    ("simple value 255", "not_canonical", "f8ff"),
    ("tag 0, a date", "not_canonical", "c06a323032362d30312d3031"),
    ("tag 2, a large number", "not_canonical", "c249010000000000000000"),
    ("tag 3, a large number below zero", "not_canonical", "c349010000000000000000"),
    ("tag 24, encoded inside", "not_canonical", "d8184101"),
    ("tag 55799, self-described", "not_canonical", "d9d9f701"),
    ("tag 42, a link", "not_canonical", "d82a5825000155121c" + "00" * 32),
    (
        "tag 42, a whole CIDv1",
        "not_canonical",
        "d82a58250001551220" + "00" * 32,
    ),
    ("tag 42 over text", "not_canonical", "d82a6161"),
    ("tag 42 over no bytes", "not_canonical", "d82a40"),
    ("tag 42 in two bytes", "not_canonical", "d9002a450001550000"),
    ("tag 42 as a key", "not_canonical", "a1d82a45000155000001"),
    ("text that is not UTF-8", "not_canonical", "61ff"),
    ("text with a lone surrogate", "not_canonical", "63eda080"),
    ("text with an overlong character", "not_canonical", "62c080"),
    ("text beyond Unicode", "not_canonical", "64f4908080"),
    ("text cut inside a character", "not_canonical", "62e4b8"),
    ("a key that is not UTF-8", "not_canonical", "a161ff01"),
    ("2^63", "bad_shape", "1b8000000000000000"),
    ("2^64 - 1", "bad_shape", "1bffffffffffffffff"),
    ("-2^63 - 1", "bad_shape", "3b8000000000000000"),
    ("-2^64", "bad_shape", "3bffffffffffffffff"),
    ("2^63 in a map", "bad_shape", "a161611b8000000000000000"),
    ("33 lists around a list", "bad_shape", _NESTED_33),
    ("33 maps around a map", "bad_shape", "a16161" * 33 + "a0"),
)


def document() -> str:
    """Return the text of ``codec.json``."""
    return (
        json.dumps(
            {
                "about": "Canonical DAG-CBOR as Hanse reads it; reason is the one it refuses with.",
                "valid": [
                    {"note": note, "hex": dag_cbor.encode(value).hex(), "value": readable(value)}
                    for note, value in VALID
                ],
                "hostile": [
                    {"note": note, "reason": reason, "hex": raw} for note, reason, raw in HOSTILE
                ],
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
