"""ONNX files that lie, reach out, never end, or want more memory than there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.hostile.case import Case, noise, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GIB = 1024**3


def onnx_model(nodes=None, initializers=(), opset=18, functions=(), inputs=None, **other):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    nodes = nodes or [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", inputs or [x], [y], list(initializers))
    rows = other.pop("rows", [helper.make_opsetid("", opset)])
    return helper.make_model(
        graph, opset_imports=rows, functions=list(functions), ir_version=other.pop("ir", 10)
    )


def onnx_bytes(**known: object) -> bytes:
    return onnx_model(**known).SerializeToString()


def external(location: str, beside: Callable[[Path], None] | None = None, **said: int):
    def make(path: Path) -> None:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **said}.items():
            tensor.external_data.add(key=key, value=str(value))
        nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
        path.write_bytes(onnx_bytes(nodes=nodes, initializers=[tensor]))
        if beside is not None:
            beside(path.parent)

    return make


def put_data(folder: Path) -> None:
    (folder / "w.data").write_bytes(bytes(16))


def put_symlink(folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(16))
    (folder / "w.data").symlink_to(folder / "secret")


def put_hard_link(folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(16))
    (folder / "w.data").hardlink_to(folder / "secret")


def put_memory_marker(folder: Path) -> None:
    inner = folder / "*" / "_ORT_MEM_ADDR_"
    inner.mkdir(parents=True)
    (inner / "*").write_bytes(bytes(16))


def operator(name: str, domain: str = "") -> bytes:
    rows = [helper.make_opsetid("", 18)]
    if domain:
        rows.append(helper.make_opsetid(domain, 1))
    return onnx_bytes(nodes=[helper.make_node(name, ["x"], ["y"], domain=domain)], rows=rows)


def constant_of_shape(elements: int) -> bytes:
    shape = numpy_helper.from_array(np.array([elements], np.int64), "s")
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"]),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return onnx_bytes(nodes=nodes, initializers=[shape])


def endless_loop() -> bytes:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["a", "a"], ["b"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 4]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n", 4]),
        ],
    )
    trips = numpy_helper.from_array(np.array(2**60, np.int64), "trips")
    go = numpy_helper.from_array(np.array(True), "true")
    nodes = [helper.make_node("Loop", ["trips", "true", "x"], ["y"], body=body)]
    return onnx_bytes(nodes=nodes, initializers=[trips, go])


def nested_ifs(depth: int) -> bytes:
    """An If in an If in an If, written by hand: the library refuses to nest this deep."""
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    leaf = _leaf(y).SerializeToString()
    graph = leaf
    for _ in range(depth - 1):
        graph = leaf_without_node(y) + field(1, an_if(graph, leaf))
    model = onnx_model(initializers=[numpy_helper.from_array(np.array(True), "c")])
    del model.graph.node[:]
    whole = model.graph.SerializeToString() + field(1, an_if(graph, leaf))
    model.ClearField("graph")
    return model.SerializeToString() + field(7, whole)


def an_if(then_branch: bytes, else_branch: bytes) -> bytes:
    node = helper.make_node("If", ["c"], ["y"]).SerializeToString()
    for name, graph in (("then_branch", then_branch), ("else_branch", else_branch)):
        node += field(5, field(1, name.encode()) + field(6, graph) + b"\xa0\x01\x05")
    return node


def leaf_without_node(y: object) -> bytes:
    return helper.make_graph([], "level", [], [y]).SerializeToString()


def field(number: int, raw: bytes) -> bytes:
    """One field of protobuf that holds bytes."""
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def _leaf(y):
    return helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "else", [], [y])


def both_nested_ifs(depth: int) -> bytes:
    """Both branches hold the next level: the file doubles with each."""
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = _leaf(y)
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "level", [], [y])
    c = numpy_helper.from_array(np.array(True), "c")
    return onnx_bytes(nodes=list(graph.node), initializers=[c])


def function(name: str, calls: list[str]):
    nodes, last = [], "a"
    for number, called in enumerate(calls):
        domain = "" if called == "Relu" else "own"
        nodes.append(helper.make_node(called, [last], [f"t{number}"], domain=domain))
        last = f"t{number}"
    nodes.append(helper.make_node("Identity", [last], ["b"]))
    rows = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, rows)


def functions(table: dict[str, list[str]], start: str) -> bytes:
    rows = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    nodes = [helper.make_node(start, ["x"], ["y"], domain="own")]
    return onnx_bytes(
        nodes=nodes, rows=rows, functions=[function(name, calls) for name, calls in table.items()]
    )


def weights(dims: list[int]) -> bytes:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, raw_data=bytes(16))
    tensor.dims.extend(dims)
    return onnx_bytes(nodes=[helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def given_input(dims: list[int]) -> bytes:
    return onnx_bytes(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)])


def sparse(size: int) -> bytes:
    model = onnx_model(nodes=[helper.make_node("Add", ["x", "w"], ["y"])])
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [size]))
    return model.SerializeToString()


def many_nodes() -> bytes:
    """Two bytes in the file for each node in memory."""
    model = onnx_model()
    empty = b"\x0a\x00" * 1_000_001
    graph = model.graph.SerializeToString() + empty
    del model.graph.node[:]
    rest = model.SerializeToString()
    head = b"\x3a" + varint(len(graph)) + graph
    return rest + head


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def noisy_graph() -> bytes:
    """An outer message that is sound, and a graph of noise that begins like one."""
    inner = b"\x0a\x04" + noise(4096)
    return b"\x08\x0a\x3a" + varint(len(inner)) + inner + b"\x42\x04\x0a\x00\x10\x12"


def onnx() -> Iterator[Case]:
    def case(name: str, raw: bytes, rule: str | None = None, *warnings: str) -> Case:
        kind = None if rule else "onnx"
        return Case(f"onnx_{name}", "m.onnx", write(raw), rule=rule, format=kind, warnings=warnings)

    for name, make, rule in (
        ("parent", external("../../../etc/hostname"), "external_path"),
        ("absolute", external("/etc/hostname"), "external_path"),
        ("drive", external("C:\\secret"), "external_path"),
        ("inner_parent", external("a/../w.data", put_data), "external_path"),
        ("symlink", external("w.data", put_symlink), "external_link"),
        ("hard_link", external("w.data", put_hard_link), "external_link"),
        ("missing", external("w.data"), "external_missing"),
        ("folder", external(".", put_data), "external_path"),
        ("memory", external("*/_ORT_MEM_ADDR_/*", put_memory_marker), "external_path"),
        ("over", external("w.data", put_data, offset=8, length=16), "external_range"),
        ("offset", external("w.data", put_data, offset=2**63 - 1), "external_range"),
        ("negative", external("w.data", put_data, offset=-8), "external_range"),
        (
            "short",
            external("w.data", lambda p: (p / "w.data").write_bytes(bytes(4))),
            "external_range",
        ),
    ):
        yield Case(f"onnx_external_{name}", "m.onnx", make, rule=rule)
    yield Case("onnx_external_sound", "m.onnx", external("w.data", put_data), format="onnx")
    yield case("custom_domain", operator("Anything", "my.company"), "operator_domain")
    yield case("pyop", operator("PyOp", "ai.onnx.contrib"), "operator_domain")
    yield case("microsoft", operator("Inverse", "com.microsoft"), "operator_domain")
    yield case("training", operator("Adam", "ai.onnx.preview.training"), "operator_domain")
    yield case("unknown_operator", operator("PyOp"), "operator_unknown")
    yield case("constant_16_gib", constant_of_shape(4 * GIB), "tensor_size")
    yield case("constant_256_gib", constant_of_shape(64 * GIB), "tensor_size")
    yield case("constant_overflow", constant_of_shape(2**62), "tensor_size")
    yield case("endless_loop", endless_loop(), None, "loop")
    yield case("dims_huge", weights([2**40]), "tensor_bytes")
    yield case("dims_overflow", weights([2**32, 2**32]), "tensor_bytes")
    yield case("dims_negative", weights([-1]), "dimension_negative")
    yield case("dims_many", weights([1] * 33), "dimensions")
    yield case("input_huge", given_input([1, 2**40]), "tensor_size")
    yield case("input_negative", given_input([-1, 4]), "dimension_negative")
    yield case("sparse_huge", sparse(2**40), "tensor_size")
    yield case("ifs_18", nested_ifs(18))
    yield case("ifs_33", nested_ifs(33), "not_readable")
    yield case("ifs_doubling", both_nested_ifs(8))
    yield case("function_recursive", functions({"a": ["b"], "b": ["a"]}, "a"), "function_recursive")
    yield case("function_itself", functions({"a": ["a"]}, "a"), "function_recursive")
    laughs = {f"f{n}": [f"f{n + 1}"] * 10 for n in range(9)} | {"f9": ["Relu"]}
    yield case("function_laughs", functions(laughs, "f0"), "expanded_nodes")
    yield case("function_sound", functions({"a": ["Relu"]}, "a"), None, "own_functions")
    yield case("many_nodes", many_nodes(), "nodes")
    yield case("noise", noise(4096), "name_disagrees")
    yield case("noise_inside", noisy_graph(), "not_readable")
    rows = [helper.make_opsetid("", 18)]
    yield case("opset_twice", onnx_bytes(rows=rows * 2), None, "opset_twice")
    yield case(
        "opset_alias",
        onnx_bytes(rows=[*rows, helper.make_opsetid("ai.onnx", 18)]),
        None,
        "opset_twice",
    )
    yield case(
        "opset_conflict", onnx_bytes(rows=[*rows, helper.make_opsetid("", 17)]), "opset_conflict"
    )
    yield case("opset_newer", onnx_bytes(opset=99), "opset_newer")
    yield case("ir_old", onnx_bytes(ir=2), "ir_version")
    yield case("ir_newer", onnx_bytes(ir=99), "ir_version")
    yield case(
        "not_sorted", onnx_bytes(nodes=[helper.make_node("Relu", ["nothing"], ["y"])]), "checker"
    )
    yield case("wrong_type", onnx_bytes(nodes=[helper.make_node("Not", ["x"], ["y"])]), "checker")
