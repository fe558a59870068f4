"""The codec against ``dag-cbor``, a strict decoder in pure Python that shares no code with it."""

from __future__ import annotations

import dag_cbor
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hanse.core.errors import BadShape, NotCanonical
from hanse.core.ledger.codec import INT_MAX, INT_MIN, decode_any, encode
from hanse.core.ledger.kinds import KINDS, parse_body
from tests.hostile.codec_mutants import SEEDS, mutate, oracle_value

# Bytes that begin like a CID: what libipld would write as a link.
LIKE_LINKS = st.builds(
    lambda head, tail: head + tail,
    st.sampled_from([b"\x01\x55\x12", b"\x01\x71\x12\x20", b"\x12\x20", b"\x00\x01\x55"]),
    st.binary(max_size=64),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.text(max_size=20)
    | st.binary(max_size=80)
    | LIKE_LINKS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=25,
)
# Pieces of CBOR, glued without sense: more of it decodes than of random bytes.
_PIECES = """
    00 17 1817 1818 19ffff 1a00010000 1b7fffffffffffffff 1b8000000000000000 20 3800 3818
    3bffffffffffffffff 40 4101 580101 60 6161 780161 62c3a4 80 81 82 9801 9f a0 a16161 a2616101
    b801 bf f4 f5 f6 f7 f814 f97e00 fa3f800000 fb3ff8000000000000 ff c0 d82a d82a450001550000
    d82a5825000155121c
"""
PIECES = st.sampled_from([bytes.fromhex(piece) for piece in _PIECES.split()])
GLUED = st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join)


@settings(deadline=None)
@given(VALUES)
def test_what_is_encoded_decodes_to_the_same_and_the_oracle_agrees(value):
    raw = encode(value)
    assert decode_any(raw) == value
    assert dag_cbor.encode(value) == raw
    assert dag_cbor.decode(raw) == value


@settings(deadline=None)
@given(st.binary(max_size=64) | GLUED)
@example(bytes.fromhex("d82a450001550000"))
@example(bytes.fromhex("a2616101616102"))
def test_whatever_decodes_is_the_one_encoding_of_its_value(raw):
    try:
        value = decode_any(raw)
    except (NotCanonical, BadShape) as error:
        if isinstance(error, NotCanonical):
            assert oracle_value(raw) is None
        return
    assert encode(value) == raw
    assert oracle_value(raw) == [value]


@settings(deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 2**64 - 1))
def test_a_changed_body_is_refused_or_canonical(seed, number):
    kind, raw = seed
    mutant = mutate(raw, number)
    try:
        body = parse_body(kind, mutant)
    except (NotCanonical, BadShape):
        return
    assert encode(body) == mutant
    assert oracle_value(mutant) is not None


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(value=VALUES)
def test_no_value_makes_a_kind_raise_anything_else(kind, value):
    with pytest.raises(BadShape):
        parse_body(kind, encode(value))
