"""Small ONNX and TFLite models that compute what a test can say in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flatbuffers
import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto, NodeProto, ValueInfoProto
    from onnx import TensorProto as Stored

FLOAT = TensorProto.FLOAT


def value(name: str, shape: Sequence[int | str] | None, kind: int = FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    stored: Mapping[str, np.ndarray] | None = None,
) -> ModelProto:
    rows: list[Stored] = [
        numpy_helper.from_array(array, name) for name, array in (stored or {}).items()
    ]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), rows)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def doubled(rows: int | str = "n") -> ModelProto:
    """Return y = 2 x of shape [rows, 3]."""
    node = helper.make_node("Mul", ["x", "two"], ["y"])
    two = {"two": np.array(2, np.float32)}
    return model([node], [value("x", [rows, 3])], [value("y", [rows, 3])], two)


def summed() -> ModelProto:
    """Return one sum over all rows: its output does not have them."""
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    return model([node], [value("x", ["n", 3])], [value("y", [])])


def scaled() -> ModelProto:
    """Return y = x * factor, where the factor is a number without dimensions."""
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    return model([node], [value("x", ["n", 3]), value("factor", [])], [value("y", ["n", 3])])


def picked() -> ModelProto:
    """Return the item of a list at a place, which the runtime refuses when it is outside."""
    node = helper.make_node("Gather", ["list", "x"], ["y"])
    rows = {"list": np.arange(5, dtype=np.float32)}
    given = value("x", ["n"], TensorProto.INT64)
    return model([node], [given], [value("y", ["n"])], rows)


def same(kind: int = TensorProto.STRING) -> ModelProto:
    """Return what it is given, of any type."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", ["n"], kind)], [value("y", ["n"], kind)])


def listed() -> ModelProto:
    """Return a sequence, which is no tensor."""
    node = helper.make_node("SequenceConstruct", ["x", "x"], ["y"])
    made = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    return model([node], [value("x", ["n", 3])], [made])


def filled() -> ModelProto:
    """Return as many zeros as it is told to."""
    node = helper.make_node("ConstantOfShape", ["x"], ["y"])
    return model([node], [value("x", ["n"], TensorProto.INT64)], [value("y", None)])


def counting() -> ModelProto:
    """Count up to ``x``, one by one, in a loop."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["more_then"]),
            helper.make_node("Add", ["sum", "one"], ["sum_then"]),
        ],
        "body",
        [
            value("step", [], TensorProto.INT64),
            value("more", [], TensorProto.BOOL),
            value("sum", [1]),
        ],
        [value("more_then", [], TensorProto.BOOL), value("sum_then", [1])],
    )
    node = helper.make_node("Loop", ["x", "go", "start"], ["y"], body=body)
    stored = {
        "go": np.array(True),
        "start": np.zeros(1, np.float32),
        "one": np.ones(1, np.float32),
    }
    return model([node], [value("x", [], TensorProto.INT64)], [value("y", [1])], stored)


def outside(file: str, weights: np.ndarray) -> ModelProto:
    """Return x + weights, which lie in a file beside the model."""
    node = helper.make_node("Add", ["x", "weights"], ["y"])
    made = model([node], [value("x", ["n", 3])], [value("y", ["n", 3])])
    stored = made.graph.initializer.add(name="weights", data_type=FLOAT, dims=weights.shape)
    stored.data_location = TensorProto.EXTERNAL
    for key, text in (("location", file), ("offset", "0"), ("length", str(weights.nbytes))):
        stored.external_data.add(key=key, value=text)
    return made


def tflite_doubled(rows: int = 1, *, is_open: bool = False) -> bytes:
    """Return a TFLite model of x + x of shape [rows, 3]; ``is_open`` leaves the rows open.

    The numbers of the fields are those of the format's public schema.
    """
    b = flatbuffers.Builder(1024)

    def numbers(values: Sequence[int]) -> int:
        return int(b.CreateNumpyVector(np.array(values, np.int32)))

    def offsets(values: Sequence[int]) -> int:
        b.StartVector(4, len(values), 4)
        for one in reversed(values):
            b.PrependUOffsetTRelative(one)
        return int(b.EndVector())

    def tensor(label: str) -> int:
        name, shape = b.CreateString(label), numbers([rows, 3])
        signature = numbers([-1, 3]) if is_open else None
        b.StartObject(10)
        b.PrependUOffsetTRelativeSlot(0, shape, 0)
        b.PrependUOffsetTRelativeSlot(3, name, 0)
        if signature is not None:
            b.PrependUOffsetTRelativeSlot(7, signature, 0)
        return int(b.EndObject())

    b.StartObject(3)
    empty = b.EndObject()
    buffers = offsets([empty])
    tensors = offsets([tensor("x"), tensor("y")])
    taken, made = numbers([0, 0]), numbers([1])
    b.StartObject(0)
    options = b.EndObject()
    b.StartObject(9)
    b.PrependUOffsetTRelativeSlot(1, taken, 0)
    b.PrependUOffsetTRelativeSlot(2, made, 0)
    b.PrependUint8Slot(3, 11, 0)  # AddOptions
    b.PrependUOffsetTRelativeSlot(4, options, 0)
    operators = offsets([b.EndObject()])
    given, out = numbers([0]), numbers([1])
    b.StartObject(5)
    b.PrependUOffsetTRelativeSlot(0, tensors, 0)
    b.PrependUOffsetTRelativeSlot(1, given, 0)
    b.PrependUOffsetTRelativeSlot(2, out, 0)
    b.PrependUOffsetTRelativeSlot(3, operators, 0)
    graphs = offsets([b.EndObject()])
    b.StartObject(4)
    b.PrependInt32Slot(2, 1, 0)
    codes = offsets([b.EndObject()])
    b.StartObject(8)
    b.PrependUint32Slot(0, 3, 0)
    b.PrependUOffsetTRelativeSlot(1, codes, 0)
    b.PrependUOffsetTRelativeSlot(2, graphs, 0)
    b.PrependUOffsetTRelativeSlot(4, buffers, 0)
    b.Finish(b.EndObject(), b"TFL3")
    return bytes(b.Output())
