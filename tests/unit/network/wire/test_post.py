"""Frames of ``/hanse/post/1``: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.ledger.codec import encode
from hanse.core.limits import BODY_SIZE_BYTES_MAX, FRAME_SIZE_BYTES_MAX, HEADER_SIZE_BYTES_MAX
from hanse.network.wire.frames import FrameReader, ProtocolViolation
from hanse.network.wire.post import (
    MESSAGES,
    Collect,
    Drop,
    Dropped,
    Got,
    Item,
    Items,
    Post,
    Sorry,
    fitting,
    write,
)

KEY, SIG = b"k" * 32, b"s" * 64
EVERY = (
    Post(1, b"header", SIG, b"body", None, None),
    Post(2, b"header", SIG, b"body", KEY, b"stamp"),
    Got(3, KEY, "got", None, None),
    Got(4, KEY, "parked", None, None),
    Got(5, KEY, "held", 1_700_000_000_000, SIG),
    Collect(6, 0, 512),
    Items(7, (Item(9, b"header", SIG, b"body"), Item(10, b"header", SIG, b"body")), more=True),
    Items(8, (), more=False),
    Drop(9, (KEY, KEY)),
    Dropped(10, 2),
    Sorry(11, "quota", 1000),
)
NAMES = [f"{type(message).__name__}-{message.call}" for message in EVERY]


def refused(raw):
    reader = FrameReader(MESSAGES)
    with pytest.raises(ProtocolViolation):
        reader.feed(len(raw).to_bytes(4, "big") + raw)


@pytest.mark.parametrize("message", EVERY, ids=NAMES)
def test_a_message_is_read_as_it_was_written_whole_and_byte_by_byte(message):
    raw = write(message)
    assert [it.message for it in FrameReader(MESSAGES).feed(raw)] == [message]
    reader, found = FrameReader(MESSAGES), []
    for at in range(len(raw)):
        found += reader.feed(raw[at : at + 1])
    assert [it.message for it in found] == [message]
    assert reader.is_between_frames


@given(st.binary(max_size=200))
def test_random_bytes_are_messages_or_a_violation(raw):
    reader = FrameReader(MESSAGES)
    try:
        reader.feed(len(raw).to_bytes(4, "big") + raw)
    except ProtocolViolation:
        return
    assert reader.is_between_frames


@given(st.sampled_from(EVERY), st.data())
def test_a_changed_frame_is_another_message_or_a_violation(message, data):
    raw = bytearray(write(message))
    place = data.draw(st.integers(4, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        found = FrameReader(MESSAGES).feed(bytes(raw))
    except ProtocolViolation:
        return
    assert [write(it.message) for it in found] == [bytes(raw)]


@pytest.mark.parametrize(
    "value",
    [
        [2, 1, KEY, "held", None, None],  # a promise without its date and signature
        [2, 1, KEY, "held", 5, None],
        [2, 1, KEY, "got", 5, SIG],  # a date nobody promised
        [2, 1, KEY, "kept", None, None],
        [1, 1, b"h", SIG, b"", None, None],
        [1, 1, b"h" * (HEADER_SIZE_BYTES_MAX + 1), SIG, b"b", None, None],
        [1, 1, b"h", SIG, b"b" * (BODY_SIZE_BYTES_MAX + 1), None, None],
        [1, 1, b"h", SIG[1:], b"b", None, None],
        [1, 1, b"h", SIG, b"b", KEY[1:], None],
        [1, 1, b"h", SIG, b"b", None, None, None],
        [1, 2**32, b"h", SIG, b"b", None, None],
        [3, 1, -1, 5],
        [3, 1, 0, 513],
        [5, 1, [KEY] * 513],
        [4, 1, [[1, b"h", SIG, b"b"]] * 513, False],
        [8, 1],
        [],
        {},
    ],
    ids=range(18),
)
def test_what_has_another_shape_is_a_violation(value):
    refused(encode(value))


def test_no_more_items_are_sent_than_fit_one_frame():
    item = Item(2**63 - 1, b"h" * HEADER_SIZE_BYTES_MAX, SIG, b"b" * BODY_SIZE_BYTES_MAX)
    fit = fitting([item] * 40)
    assert len(write(Items(2**32 - 1, tuple(fit), more=True))) <= FRAME_SIZE_BYTES_MAX
    assert len(fit) == FRAME_SIZE_BYTES_MAX // (BODY_SIZE_BYTES_MAX + HEADER_SIZE_BYTES_MAX + 96)
    assert fitting([item]) == [item]
