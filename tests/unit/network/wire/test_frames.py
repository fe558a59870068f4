"""Frames and tails, whole, in portions and byte by byte."""

from __future__ import annotations

import random

import msgspec
import pytest

from hanse.core.limits import STREAM_TAIL_SIZE_BYTES_MAX
from hanse.network.wire.frames import (
    Framed,
    FrameReader,
    Messages,
    ProtocolViolation,
    encode_frame,
)


class Word(msgspec.Struct, array_like=True, tag=1, forbid_unknown_fields=True, frozen=True):
    text: str


class Bytes(msgspec.Struct, array_like=True, tag=2, forbid_unknown_fields=True, frozen=True):
    size: int


def reader(**how) -> FrameReader:
    tail = lambda message: message.size if isinstance(message, Bytes) else 0  # noqa: E731
    return FrameReader(Messages("test", Word | Bytes, 16, **{"tail_bytes": tail, **how}))


def reason(frames: FrameReader, data: bytes) -> str:
    with pytest.raises(ProtocolViolation) as caught:
        frames.feed(data)
    assert caught.value.values["where"] == "test"
    return caught.value.values["reason"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("portion", [1, 3, 17_000, 65_507, 262_144])
def test_messages_and_tails_come_out_as_they_went_in_whatever_the_portions(kind, portion):
    chance = random.Random(portion)
    sent, raw = [], b""
    for _ in range(6):
        if chance.random() < 0.5:
            sent.append(Framed(Word("hello")))
            raw += encode_frame(Word("hello"))
        else:
            size = chance.choice((1, 100, 20_000, 40_000 if portion < 10 else 300_000))
            tail = chance.randbytes(size)
            sent.append(Framed(Bytes(size), tail))
            raw += encode_frame(Bytes(size)) + tail
    frames, found = reader(), []
    for start in range(0, len(raw), portion):
        found += frames.feed(kind(raw[start : start + portion]))
    assert found == sent
    assert all(type(it.tail) is bytes for it in found)
    assert frames.is_between_frames
    assert frames.held_bytes == 0


def test_what_is_changed_after_it_was_given_is_not_changed_in_a_tail():
    frames = reader()
    frames.feed(encode_frame(Bytes(40_000)))
    buffer = bytearray(20_000)
    frames.feed(buffer)
    buffer[:] = b"x" * 20_000
    (framed,) = frames.feed(memoryview(bytes(20_000)))
    assert framed.tail == bytes(40_000)


def test_how_much_of_a_tail_has_come_is_known():
    frames = reader()
    assert frames.awaiting is None
    frames.feed(encode_frame(Bytes(40_000)) + bytes(10))
    frames.feed(bytes(30_000))
    assert frames.awaiting == Bytes(40_000)
    assert frames.tail_held_bytes == frames.held_bytes == 30_010
    assert not frames.is_between_frames
    assert frames.take_partial_tail() == bytes(30_010)


def test_a_length_is_judged_before_anything_is_waited_for():
    assert reason(reader(frame_bytes_max=100), b"\x00\x00\x00\x65") == "too_big"
    assert reason(reader(), b"\x00\x00\x00\x00") == "bad_frame"


def test_a_tail_is_judged_before_anything_of_it_is_waited_for():
    assert reason(reader(), encode_frame(Bytes(STREAM_TAIL_SIZE_BYTES_MAX + 1))) == "too_big"
    assert reason(reader(), encode_frame(Bytes(-1))) == "too_big"


def test_nothing_is_held_beyond_what_was_announced():
    frames = reader()
    frames.feed(b"\x00\x00\x00\x64" + bytes(90))
    assert frames.held_bytes == 94
    assert not frames.is_between_frames


@pytest.mark.parametrize(
    "raw",
    [
        b"\x82\x01",
        b"\x82\x18\x01\x61a",
        b"\x82\x05\x01",
        b"\x83\x01\x61a\x01",
        b"\xff",
        b"\x82\x01\x01",
    ],
    ids=["cut", "not_canonical", "unknown", "a_field_more", "junk", "another_type"],
)
def test_a_frame_that_is_no_message_is_a_violation(raw):
    assert reason(reader(), len(raw).to_bytes(4, "big") + raw) == "bad_frame"


def test_many_values_are_refused_before_any_is_made():
    raw = b"\x82\x01\x9a\x00\x0f\x42\x40" + bytes(1_000_000)
    frames = reader()
    assert reason(frames, len(raw).to_bytes(4, "big") + raw) == "bad_frame"


def test_a_tail_that_comes_byte_by_byte_costs_no_more_than_its_bytes():
    frames = reader()
    frames.feed(encode_frame(Bytes(200_000)))
    for _ in range(100_000):
        frames.feed(b"x")
    assert len(frames._tail._portions) == 1
