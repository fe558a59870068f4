"""Frames of ``/hanse/trial/1``, and the tails behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.ledger.codec import encode
from hanse.core.limits import STREAM_TAIL_SIZE_BYTES_MAX
from hanse.network.wire.frames import FrameReader, ProtocolViolation
from hanse.network.wire.trials import MESSAGES, Answer, Ask, Progress, Query, Sorry, Told, write

TAIL = b"HANSETRIAL and more"
WITH_TAIL = (Ask, Told, Query, Answer)
EVERY = (
    *(kind(number, len(TAIL)) for number, kind in enumerate(WITH_TAIL)),
    Progress(5, 3, 10),
    Sorry(6, "busy", 2000),
)
NAMES = [type(message).__name__ for message in EVERY]


def on_the_wire(message):
    return write(message) + (TAIL if isinstance(message, WITH_TAIL) else b"")


@pytest.mark.parametrize("message", EVERY, ids=NAMES)
def test_a_message_and_its_tail_are_read_whole_and_byte_by_byte(message):
    raw = on_the_wire(message)
    tail = TAIL if isinstance(message, WITH_TAIL) else b""
    for step in (len(raw), 1, 7):
        reader, found = FrameReader(MESSAGES), []
        for at in range(0, len(raw), step):
            found += reader.feed(raw[at : at + step])
        assert [(it.message, it.tail) for it in found] == [(message, tail)]
        assert reader.is_between_frames


@given(st.lists(st.sampled_from(EVERY), max_size=6), st.integers(1, 40))
def test_messages_follow_each_other_in_any_portions(messages, step):
    raw = b"".join(map(on_the_wire, messages))
    reader, found = FrameReader(MESSAGES), []
    for at in range(0, len(raw), step):
        found += reader.feed(raw[at : at + step])
    assert [it.message for it in found] == messages


@given(st.binary(max_size=300))
def test_random_bytes_are_messages_or_a_violation(raw):
    reader = FrameReader(MESSAGES)
    try:
        reader.feed(raw)
    except ProtocolViolation:
        return
    assert reader.held_bytes <= len(raw)


@pytest.mark.parametrize(
    "value",
    [[1, 0, 0], [1, 0, STREAM_TAIL_SIZE_BYTES_MAX + 1], [1, 0, -1], [6, 0, "no", 0], [7, 0], [1]],
    ids=range(6),
)
def test_what_has_another_shape_is_a_violation(value):
    raw = encode(value)
    with pytest.raises(ProtocolViolation):
        FrameReader(MESSAGES).feed(len(raw).to_bytes(4, "big") + raw)


def test_a_frame_of_more_than_a_few_bytes_is_refused_by_its_length_alone():
    with pytest.raises(ProtocolViolation):
        FrameReader(MESSAGES).feed((257).to_bytes(4, "big"))
