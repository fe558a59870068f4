"""``/hanse/status/1`` on the wire: messages, bounds, and whatever else a Peer may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.ledger.codec import encode
from hanse.core.limits import (
    MULTIADDR_CHARACTERS_MAX,
    STATUS_ADDRESSES_MAX,
    STATUS_ANSWER_SIZE_BYTES_MAX,
    STATUS_FRAME_SIZE_BYTES_MAX,
    STATUS_PEERS_MAX,
)
from hanse.network.wire.frames import Framed, FrameReader, ProtocolViolation
from hanse.network.wire.status import (
    ANSWERS,
    QUESTIONS,
    About,
    Hello,
    MorePeers,
    PeerLine,
    PeerLines,
    Sorry,
    write_status,
)

U32 = 2**32 - 1
places = st.text(min_size=1, max_size=40)
abouts = st.builds(
    About,
    v=st.integers(0, U32),
    program=st.text(max_size=60),
    roles=st.lists(st.sampled_from(["node", "relay", "of_tomorrow"]), max_size=8).map(tuple),
    identity=st.none() | st.binary(min_size=32, max_size=32),
    observed=st.none() | places,
    time_ms=st.integers(0, 2**53 - 1),
    peers=st.integers(0, 2**31 - 1),
    addresses=st.lists(places, max_size=STATUS_ADDRESSES_MAX).map(tuple),
)
calls = st.integers(0, U32)
hellos = st.builds(Hello, calls, abouts)
lines = st.builds(
    PeerLine,
    st.binary(min_size=32, max_size=32),
    st.lists(places, max_size=STATUS_ADDRESSES_MAX).map(tuple),
    st.integers(0, U32),
)
questions = hellos | st.builds(MorePeers, calls, st.integers(1, STATUS_PEERS_MAX))
answers = (
    hellos
    | st.builds(PeerLines, calls, st.lists(lines, max_size=STATUS_PEERS_MAX).map(tuple))
    | st.builds(Sorry, calls, st.sampled_from(["busy", "version"]), st.integers(0, 1000))
)
HELLO = Hello(1, About(1, "hanse", ("node",), bytes(32), "/ip4/198.51.100.1/tcp/1", 5, 3))


def framed(value):
    raw = encode(value)
    return len(raw).to_bytes(4, "big") + raw


def read_all(messages, data, step):
    reader = FrameReader(messages)
    found = []
    for start in range(0, len(data), step):
        found += reader.feed(data[start : start + step])
    return [it.message for it in found], reader


@given(st.lists(questions, max_size=4), st.integers(1, 50))
def test_questions_are_read_back_in_any_portions(messages, step):
    data = b"".join(write_status(it) for it in messages)
    found, reader = read_all(QUESTIONS, data, step)
    assert found == messages
    assert reader.is_between_frames


@given(st.lists(answers, max_size=3))
def test_answers_are_read_back_byte_by_byte(messages):
    data = b"".join(write_status(it) for it in messages)
    assert read_all(ANSWERS, data, 1)[0] == messages


def test_the_bytes_of_a_hello_are_these():
    """What a program that knows only the specification sends."""
    about = {
        "v": 1,
        "program": "other/2",
        "roles": [],
        "identity": None,
        "observed": "/ip4/198.51.100.1/tcp/4801",
        "time_ms": 1_700_000_000_000,
        "peers": 4,
    }
    (found,) = FrameReader(QUESTIONS).feed(framed([1, 7, about]))
    assert found == Framed(
        Hello(7, About(1, "other/2", (), None, about["observed"], about["time_ms"], 4))
    )


def test_what_a_later_version_says_more_is_passed_over():
    about = {"v": 2, "program": "", "roles": [], "identity": None, "observed": None, "time_ms": 0}
    (found,) = FrameReader(QUESTIONS).feed(framed([1, 7, about | {"peers": 0, "colour": "red"}]))
    assert found.message.about.v == 2


def test_the_longest_answer_fits_and_the_longest_hello_does_too():
    long = ("/" + "x" * (MULTIADDR_CHARACTERS_MAX - 1),) * STATUS_ADDRESSES_MAX
    line = PeerLine(b"\xff" * 32, long, U32)
    data = write_status(PeerLines(U32, (line,) * STATUS_PEERS_MAX))
    assert STATUS_ANSWER_SIZE_BYTES_MAX * 0.9 < len(data) <= STATUS_ANSWER_SIZE_BYTES_MAX
    (found,) = FrameReader(ANSWERS).feed(data)
    assert found.message.peers[-1] == line
    words = ("w" * 32,) * 8
    about = About(U32, "界" * 60, words, bytes(32), long[0], 2**53 - 1, 2**31 - 1, long)
    assert len(write_status(Hello(U32, about))) <= STATUS_FRAME_SIZE_BYTES_MAX


ROW = [bytes(32), ["/ip4/198.51.100.1/tcp/1"], 0]


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ([3, 1, [ROW] * 33], ANSWERS),
        ([3, 1, [[bytes(31), [], 0]]], ANSWERS),
        ([3, 1, [[bytes(32), ["a"] * 5, 0]]], ANSWERS),
        ([3, 1, [[bytes(32), ["a" * 257], 0]]], ANSWERS),
        ([3, 1, [[bytes(32), ["a"], -1]]], ANSWERS),
        ([3, 1, [[bytes(32), [""], 0]]], ANSWERS),
        ([3, 1, [[*ROW, 1]]], ANSWERS),
        ([3, 1, []], QUESTIONS),
        ([4, 1, "busy", 0], QUESTIONS),
        ([4, 1, "Busy!", 0], ANSWERS),
        ([4, 1, "busy", -1], ANSWERS),
        ([2, 1, 0], QUESTIONS),
        ([2, 1, 33], QUESTIONS),
        ([2, 2**32, 1], QUESTIONS),
        ([2, 1], QUESTIONS),
        ([2, 1, 1, 1], QUESTIONS),
        ([2, 1, True], QUESTIONS),
        ([2, 1, 1], ANSWERS),
        ([1, 1, {}], QUESTIONS),
        ([1, 1, []], QUESTIONS),
        ([9, 1], QUESTIONS),
        ([], QUESTIONS),
        ({}, QUESTIONS),
        (1, QUESTIONS),
        (None, QUESTIONS),
    ],
)
def test_what_is_no_message_is_a_violation(value, messages):
    with pytest.raises(ProtocolViolation) as caught:
        FrameReader(messages).feed(framed(value))
    assert caught.value.values["reason"] == "bad_frame"


@pytest.mark.parametrize(
    ("messages", "most"),
    [(QUESTIONS, STATUS_FRAME_SIZE_BYTES_MAX), (ANSWERS, STATUS_ANSWER_SIZE_BYTES_MAX)],
    ids=["questions", "answers"],
)
def test_a_frame_that_is_too_long_is_refused_by_its_length_alone(messages, most):
    reader = FrameReader(messages)
    assert reader.feed(most.to_bytes(4, "big")) == []
    with pytest.raises(ProtocolViolation) as caught:
        FrameReader(messages).feed((most + 1).to_bytes(4, "big"))
    assert caught.value.values["reason"] == "too_big"


def test_ten_thousand_rows_are_refused_before_they_are_made():
    with pytest.raises(ProtocolViolation):
        FrameReader(ANSWERS).feed(framed([3, 1, [[b"", [], 0]] * 10_000]))


@given(st.binary(max_size=300), st.integers(1, 20), st.sampled_from([QUESTIONS, ANSWERS]))
def test_any_bytes_are_messages_or_a_violation(data, step, messages):
    try:
        found, reader = read_all(messages, data, step)
    except ProtocolViolation:
        return
    assert len(found) <= len(data)
    assert reader.held_bytes <= len(data)


@given(st.data(), st.sampled_from([QUESTIONS, ANSWERS]))
def test_a_damaged_frame_is_a_message_or_a_violation(data, messages):
    raw = bytearray(write_status(HELLO))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found, _ = read_all(messages, bytes(raw), len(raw))
    except ProtocolViolation:
        return
    assert len(found) <= 1
