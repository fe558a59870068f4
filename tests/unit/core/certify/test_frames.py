from __future__ import annotations

import io
import struct

import msgspec
import pytest

from hanse.core.certify import frames
from hanse.core.limits import WORKER_ANSWER_SIZE_BYTES_MAX, WORKER_REQUEST_SIZE_BYTES_MAX
from hanse.core.model.artifact import ModelFacts

ASK = frames.Inspect(id=1, file="m.onnx", file_format="onnx")
READY = frames.Ready(layers=("a",), versions={"onnx": "1"})
ANSWERS = [
    READY,
    frames.Facts(id=1, facts=ModelFacts(format="onnx", file="m.onnx")),
    frames.Failed(id=1, kind="limit", word="", values={"found": 1}, message="memory"),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_comes_out_as_it_went_in(answer):
    assert frames.read_answer(io.BytesIO(frames.encode_answer(answer))) == answer


@pytest.mark.parametrize("request_", [ASK, frames.Cancel(id=2)])
def test_a_request_comes_out_as_it_went_in(request_):
    assert frames.read_request(io.BytesIO(frames.encode_request(request_))) == request_


def test_frames_follow_each_other():
    stream = io.BytesIO(b"".join(frames.encode_answer(one) for one in ANSWERS))
    assert [frames.read_answer(stream) for _ in ANSWERS] == ANSWERS
    assert frames.read_answer(stream) is None


@pytest.mark.parametrize("kept", [1, 3, 4, 10])
def test_an_end_inside_a_frame_is_told_apart(kept):
    with pytest.raises(frames.EndedInFrame):
        frames.read_answer(io.BytesIO(frames.encode_answer(READY)[:kept]))


def test_a_length_is_refused_before_its_bytes_are_read():
    stream = io.BytesIO(struct.pack("<I", WORKER_ANSWER_SIZE_BYTES_MAX + 1) + b"rest")
    with pytest.raises(frames.BadFrame, match=str(WORKER_ANSWER_SIZE_BYTES_MAX)):
        frames.read_answer(stream)
    assert stream.read() == b"rest"


def test_what_is_too_long_is_not_sent():
    long = frames.Inspect(id=1, file="x" * WORKER_REQUEST_SIZE_BYTES_MAX, file_format="onnx")
    with pytest.raises(frames.BadFrame):
        frames.encode_request(long)


@pytest.mark.parametrize(
    "value",
    [
        {"type": "ready", "layers": [], "versions": {}, "more": 1},
        {"type": "gift"},
        {"type": "ready"},
        ["ready"],
        {"type": "err", "id": 1, "kind": "odd", "word": "", "values": {}, "message": ""},
        {"type": "err", "id": 1, "kind": "crash", "word": "", "values": {}, "message": "x" * 501},
    ],
)
def test_what_is_no_answer_is_refused(value):
    body = msgspec.msgpack.encode(value)
    with pytest.raises(frames.BadFrame):
        frames.read_answer(io.BytesIO(struct.pack("<I", len(body)) + body))
