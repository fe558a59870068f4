from __future__ import annotations

import io
import struct

import msgspec
import numpy as np
import pytest

from hanse.core.certify import frames
from hanse.core.certify.tensors import BadTensor, array_of, from_wire, tensor_of, to_wire
from hanse.core.limits import (
    TENSOR_TEXTS_MAX,
    WORKER_ANSWER_SIZE_BYTES_MAX,
    WORKER_INPUT_SIZE_BYTES_MAX,
    WORKER_PUT_SIZE_BYTES_MAX,
    WORKER_REQUEST_SIZE_BYTES_MAX,
)
from hanse.core.model.arrays import DTYPES
from hanse.core.model.artifact import ModelFacts, TensorFacts
from hanse.core.model.running import Block

ASK = frames.Inspect(id=1, file="m.onnx", file_format="onnx")
READY = frames.Ready(layers=("a",), grade="full", versions={"onnx": "1"})
X = TensorFacts(name="x", dtype="float32", shape=("n", None, 3))
ANSWERS = [
    READY,
    frames.Facts(id=1, facts=ModelFacts(format="onnx", file="m.onnx")),
    frames.Failed(id=1, kind="limit", word="", values={"found": 1}, message="memory"),
    frames.Taken(id=2, size=7),
    frames.Session(
        id=3,
        inputs=(X,),
        outputs=(),
        load_ns=5,
        base_rss_bytes=1,
        rss_bytes=2,
        runtime="litert",
        version="1",
        provider="cpu",
        optimisation="off",
    ),
]
REQUESTS = [
    ASK,
    frames.Cancel(id=2),
    frames.Put(id=3, file="m.onnx", offset=0, data=memoryview(b"abc")),
    frames.Load(
        id=4, file="m", file_format="tflite", threads=2, optimisation="all", in_memory=True
    ),
    frames.Pictures(id=5, files=("a.png",), height=1, width=2, resize=True, channels=3),
]
ARRAYS = [
    *(np.array([[0, 1], [1, 0]]).astype(one) for one in DTYPES if one != "string"),
    np.array(["", "é", "a\nb"]),
    np.array(3.5),
    np.array("text"),
    np.zeros((0, 4), np.float32),
    np.zeros((0,), "U1"),
    np.array([np.nan, np.inf, -0.0], np.float16),
    np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    np.arange(4, dtype=">i4"),
    np.arange(10)[::3],
]


def sent(array):
    """Let an array cross a frame to the Worker."""
    raw = frames.encode_request(frames.Run(id=1, inputs=to_wire({"x": array})))
    request = frames.read_request(io.BytesIO(raw))
    return from_wire(request.inputs)["x"]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_comes_out_as_it_went_in(answer):
    assert frames.read_answer(io.BytesIO(frames.encode_answer(answer))) == answer


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_comes_out_as_it_went_in(request_):
    assert frames.read_request(io.BytesIO(frames.encode_request(request_))) == request_


@pytest.mark.parametrize("array", ARRAYS, ids=lambda one: f"{one.dtype}{list(one.shape)}")
def test_an_array_comes_out_as_it_went_in_and_cannot_be_changed(array):
    got = sent(array)
    assert got.shape == array.shape
    assert got.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert got.tobytes() == np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes()
    assert array.dtype.kind == "U" or not got.flags.writeable


def test_numbers_are_read_where_they_came_in():
    raw = frames.encode_request(frames.Run(id=1, inputs=to_wire({"x": np.ones(1000)})))
    request = frames.read_request(io.BytesIO(raw))
    array = from_wire(request.inputs)["x"]
    assert not array.flags.owndata


def test_a_block_crosses_as_it_is():
    block = Block(runs_least=1, ns_least=2, ns_most=3, runs_most=4)
    frame = frames.Bench(id=1, inputs={}, block=block)
    assert frames.read_request(io.BytesIO(frames.encode_request(frame))).block == block


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array([1 + 2j]), np.array(["2020"], "M8[Y]"), np.void(b"x")]
)
def test_what_is_no_tensor_is_not_sent(array):
    with pytest.raises(BadTensor, match="no tensor"):
        tensor_of(np.asarray(array), "x")


@pytest.mark.parametrize(
    ("dtype", "shape", "data", "said"),
    [
        ("float32", [2], bytes(7), "7 bytes"),
        ("float32", [2], bytes(9), "9 bytes"),
        ("float32", [2**62, 2**62], b"", "0 bytes"),
        ("float32", [0, 2**62, 2**62], b"", "array"),
        ("bool", [2], b"\x01\x02", "0 or 1"),
        ("float32", [1], ["a"], "array"),
        ("string", [2], ["a"], "1 texts"),
        ("string", [2], b"ab", "-1 texts"),
        ("string", [1], [7], "int"),
        ("string", [TENSOR_TEXTS_MAX + 1], [], "limit"),
    ],
)
def test_what_came_and_is_no_tensor_is_refused(dtype, shape, data, said):
    body = msgspec.msgpack.encode(
        {
            "type": "out",
            "id": 1,
            "ns": 1,
            "outputs": {"y": {"dtype": dtype, "shape": shape, "data": data}},
        }
    )
    answer = frames.read_answer(io.BytesIO(struct.pack("<I", len(body)) + body))
    with pytest.raises(BadTensor, match=said):
        array_of(answer.outputs["y"])


def test_text_of_one_frame_is_bounded_as_a_whole():
    half = tensor_of(np.full(TENSOR_TEXTS_MAX // 2 + 1, "a"))
    raw = frames.encode_answer(frames.Out(id=1, outputs={"a": half, "b": half}, ns=1))
    answer = frames.read_answer(io.BytesIO(raw), lambda: len(raw))
    with pytest.raises(BadTensor, match=str(TENSOR_TEXTS_MAX)):
        from_wire(answer.outputs)


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


def test_how_long_an_answer_may_be_is_asked_when_it_comes():
    most = [10]
    stream = io.BytesIO(frames.encode_answer(READY) + frames.encode_answer(READY))
    with pytest.raises(frames.BadFrame, match="limit 10"):
        frames.read_answer(stream, lambda: most[0])
    stream.seek(0)
    most[0] = 1000
    assert frames.read_answer(stream, lambda: most[0]) == READY


@pytest.mark.parametrize(
    "request_",
    [
        frames.Inspect(id=1, file="x" * WORKER_REQUEST_SIZE_BYTES_MAX, file_format="onnx"),
        frames.Put(
            id=1, file="m", offset=0, data=memoryview(bytes(WORKER_PUT_SIZE_BYTES_MAX + 2000))
        ),
    ],
)
def test_what_is_too_long_for_its_kind_is_not_sent(request_):
    with pytest.raises(frames.BadFrame):
        frames.encode_request(request_)


def test_only_tensors_may_make_a_frame_long():
    rows = np.zeros(WORKER_REQUEST_SIZE_BYTES_MAX, np.uint8)
    raw = frames.encode_request(frames.Run(id=1, inputs=to_wire({"x": rows})))
    assert WORKER_REQUEST_SIZE_BYTES_MAX < len(raw) < WORKER_INPUT_SIZE_BYTES_MAX


@pytest.mark.parametrize(
    "value",
    [
        {"type": "ready", "layers": [], "grade": "full", "versions": {}, "more": 1},
        {"type": "gift"},
        {"type": "ready"},
        ["ready"],
        {"type": "err", "id": 1, "kind": "odd", "word": "", "values": {}, "message": ""},
        {"type": "err", "id": 1, "kind": "crash", "word": "", "values": {}, "message": "x" * 501},
        {"type": "out", "id": 1, "ns": -1, "outputs": {}},
        {"type": "out", "id": 1, "ns": float("nan"), "outputs": {}},
    ],
)
def test_what_is_no_answer_is_refused(value):
    body = msgspec.msgpack.encode(value)
    with pytest.raises(frames.BadFrame):
        frames.read_answer(io.BytesIO(struct.pack("<I", len(body)) + body))
