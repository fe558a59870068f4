"""TFLite files with offsets, lengths and indices that lie, by the format's own builder."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import flatbuffers
import numpy as np

from tests.hostile.case import Case, noise, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def tflite(
    *, spoil: Callable[[bytearray], None] | None = None, custom: bool = False, **said: int
) -> bytes:
    """A model of one ADD of an input and a constant, through the format's own builder."""
    b = flatbuffers.Builder(1024)

    def numbers(values: list[int]) -> int:
        return int(b.CreateNumpyVector(np.array(values, np.int32)))

    def offsets(values: list[int]) -> int:
        b.StartVector(4, len(values), 4)
        for one in reversed(values):
            b.PrependUOffsetTRelative(one)
        return int(b.EndVector())

    def tensor(label: str, buffer: int, shape: list[int]) -> int:
        name, sizes = b.CreateString(label), numbers(shape)
        b.StartObject(10)
        b.PrependUOffsetTRelativeSlot(0, sizes, 0)
        b.PrependInt8Slot(1, said.get("type", 0), 0)
        b.PrependUint32Slot(2, buffer, 0)
        b.PrependUOffsetTRelativeSlot(3, name, 0)
        return int(b.EndObject())

    data = b.CreateByteVector(np.ones(said.get("constant", 4), np.float32).tobytes())
    b.StartObject(3)
    empty = b.EndObject()
    b.StartObject(3)
    b.PrependUOffsetTRelativeSlot(0, data, 0)
    filled = b.EndObject()
    buffers = offsets([empty, filled])
    size = said.get("size", 4)
    tensors = offsets(
        [
            tensor("x", 0, [1, size]),
            tensor("w", said.get("buffer", 1), [1, 4]),
            tensor("y", 0, [1, 4]),
        ]
    )
    op_in, op_out = numbers([0, said.get("operand", 1)]), numbers([2])
    b.StartObject(9)
    b.PrependUint32Slot(0, said.get("opcode", 0), 0)
    b.PrependUOffsetTRelativeSlot(1, op_in, 0)
    b.PrependUOffsetTRelativeSlot(2, op_out, 0)
    operator_ = b.EndObject()
    operators = offsets([operator_] * said.get("operators", 1))
    graph_in, graph_out, label = (
        numbers([said.get("input", 0)]),
        numbers([2]),
        b.CreateString("main"),
    )
    b.StartObject(5)
    for slot, value in enumerate((tensors, graph_in, graph_out, operators, label)):
        b.PrependUOffsetTRelativeSlot(slot, value, 0)
    graph = b.EndObject()
    graphs = offsets([graph] * said.get("graphs", 1))
    custom_code = b.CreateString("Evil") if custom else 0
    b.StartObject(4)
    b.PrependInt8Slot(0, 32 if custom else 0, 0)
    if custom:
        b.PrependUOffsetTRelativeSlot(1, custom_code, 0)
    b.PrependInt32Slot(3, 32 if custom else said.get("builtin", 0), 0)
    code = b.EndObject()
    codes = offsets([code])
    text = b.CreateString("made")
    b.StartObject(10)
    b.PrependUint32Slot(0, said.get("version", 3), 0)
    b.PrependUOffsetTRelativeSlot(1, codes, 0)
    b.PrependUOffsetTRelativeSlot(2, graphs, 0)
    b.PrependUOffsetTRelativeSlot(3, text, 0)
    b.PrependUOffsetTRelativeSlot(4, buffers, 0)
    if said.get("external"):
        b.PrependUOffsetTRelativeSlot(9, buffers, 0)
    b.Finish(b.EndObject(), b"TFL3")
    raw = bytearray(b.Output())
    if spoil is not None:
        spoil(raw)
    return bytes(raw)


def at_root(field: int, value: int) -> Callable[[bytearray], None]:
    """Overwrite the four bytes of a field of the outermost table."""

    def spoil(raw: bytearray) -> None:
        root = struct.unpack_from("<I", raw, 0)[0]
        fields = root - struct.unpack_from("<i", raw, root)[0]
        place = root + struct.unpack_from("<H", raw, fields + 4 + 2 * field)[0]
        struct.pack_into("<I", raw, place, value % 2**32)

    return spoil


def root_at(value: int) -> Callable[[bytearray], None]:
    return lambda raw: struct.pack_into("<I", raw, 0, value % 2**32)


def length_of(field: int, value: int) -> Callable[[bytearray], None]:
    """Overwrite the length of a vector of the outermost table."""

    def spoil(raw: bytearray) -> None:
        root = struct.unpack_from("<I", raw, 0)[0]
        fields = root - struct.unpack_from("<i", raw, root)[0]
        place = root + struct.unpack_from("<H", raw, fields + 4 + 2 * field)[0]
        struct.pack_into("<I", raw, place + struct.unpack_from("<I", raw, place)[0], value)

    return spoil


def tables_in_a_circle(raw: bytearray) -> None:
    """Let every subgraph be the outermost table itself, by an offset that wraps around."""
    root = struct.unpack_from("<I", raw, 0)[0]
    fields = root - struct.unpack_from("<i", raw, root)[0]
    place = root + struct.unpack_from("<H", raw, fields + 4 + 2 * 2)[0]
    vector = place + struct.unpack_from("<I", raw, place)[0]
    struct.pack_into("<I", raw, vector + 4, (root - vector - 4) % 2**32)


def fields_behind_the_end(raw: bytearray) -> None:
    root = struct.unpack_from("<I", raw, 0)[0]
    struct.pack_into("<i", raw, root, -len(raw))


def fields_too_long(raw: bytearray) -> None:
    root = struct.unpack_from("<I", raw, 0)[0]
    fields = root - struct.unpack_from("<i", raw, root)[0]
    struct.pack_into("<H", raw, fields, 0xFFFF)


def tflite_files() -> Iterator[Case]:
    def case(name: str, raw: bytes, rule: str | None, *warnings: str) -> Case:
        kind = None if rule else "tflite"
        return Case(
            f"tflite_{name}", "m.tflite", write(raw), rule=rule, format=kind, warnings=warnings
        )

    yield case("sound", tflite(), None)
    yield case("custom", tflite(custom=True), None, "custom_operator")
    yield case("root_outside", tflite(spoil=root_at(2**31)), "offset")
    yield case("subgraphs_outside", tflite(spoil=at_root(2, 2**31)), "offset")
    yield case("buffers_outside", tflite(spoil=at_root(4, 2**31)), "offset")
    yield case("text_outside", tflite(spoil=length_of(3, 2**31)), "offset")
    yield case("vector_huge", tflite(spoil=length_of(4, 2**30 - 1)), "offset")
    yield case("circle", tflite(spoil=tables_in_a_circle), "offset")
    yield case("fields_outside", tflite(spoil=fields_behind_the_end), "offset")
    yield case("fields_too_long", tflite(spoil=fields_too_long), "offset")
    yield case("version", tflite(version=9), "format_version")
    yield case("opcode", tflite(opcode=7), "index")
    yield case("operand", tflite(operand=99), "index")
    yield case("input", tflite(input=99), "index")
    yield case("buffer", tflite(buffer=99), "index")
    yield case("type", tflite(type=99), "tensor_type")
    yield case("negative", tflite(size=-5), "dimension_negative")
    yield case("constant_short", tflite(constant=2), "tensor_bytes")
    yield case("builtin", tflite(builtin=5000), "operator_unknown")
    yield case("external", tflite(external=1), "external_buffers")
    # One operator, named 50,000 times by each of a thousand graphs that are one graph.
    yield case("shared_tables", tflite(operators=50_000, graphs=1000), "tables")
    yield case("noise", b"\x10\0\0\0TFL3" + noise(4096), "offset")
