"""The rules of an ONNX graph that neither the checker nor the runtime holds.

* Operators of ``ai.onnx`` and ``ai.onnx.ml``, functions the model brings itself, and of
  ``com.microsoft`` the ones ONNX Runtime's quantiser writes; nothing else.
* Nodes, initialisers, nesting, and what function calls expand to are counted, not believed.
* Every tensor has its bytes: in the file, or in a listed file of the stage beside it.
* No tensor the graph states is larger than a machine of our users could hold.

The graph is walked with a list of our own, never by recursion.  What the operators mean is
not known here.
"""

from __future__ import annotations

import math
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    defs,
)

from hanse.core.certify.adapters.refusal import Unfit
from hanse.core.limits import (
    ONNX_EXPANDED_NODES_MAX,
    ONNX_FUNCTIONS_MAX,
    ONNX_INITIALIZERS_MAX,
    ONNX_NESTING_MAX,
    ONNX_NODES_MAX,
    ONNX_TENSOR_SIZE_BYTES_MAX,
    TENSOR_BYTES_MISSING_MAX,
    TENSOR_DIMENSIONS_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from onnx import SparseTensorProto, ValueInfoProto

OWN_DOMAINS: Final = frozenset({"", "ai.onnx.ml"})
QUANTISER_DOMAIN: Final = "com.microsoft"
QUANTISER_OPERATORS: Final = frozenset(  # what onnxruntime.quantization writes, 1.23 to 1.32
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"),
        *("MatMulIntegerToFloat", "MatMulNBits", "MatMulBnb4", "GatherBlockQuantized"),
        *("QAttention", "QEmbedLayerNormalization", "QGemm", "QLinearAdd", "QLinearMul"),
        *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearConcat", "QLinearConv"),
        *("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere"),
        "QLinearReduceMean",
    }
)
_LABELS: Final = frozenset({"classlabels_strings", "classlabels_ints", "classlabels_int64s"})
LOOPS: Final = frozenset({"Loop", "Scan"})

_BITS: Final = {
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
    **dict.fromkeys((27, 28), 6),
    15: 128,
}
_STRING: Final = TensorProto.STRING
_WHOLE: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
# ``*/_ORT_MEM_ADDR_/*`` makes ONNX Runtime read an address of its own memory.
_BAD_IN_LOCATION: Final = re.compile(r"[\\*?\x00-\x1f]|^[A-Za-z]:|^/|^$")

FunctionKey = tuple[str, str, str]


@dataclass(slots=True)
class Walked:
    """What one walk over all graphs of a model counted."""

    operators: Counter[str] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    nodes: int = 0
    initializers: int = 0
    parameters: int = 0
    external: dict[str, None] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    has_loop: bool = False
    has_custom_function: bool = False


def walk(model: ModelProto, folder: Path) -> Walked:
    """Hold every graph of ``model``, which lies in ``folder``, to the rules; count as we go."""
    return _Walk(model, folder).go()


def domain_of(domain: str) -> str:
    """Write the default domain, which has two names, as the empty one."""
    return "" if domain == "ai.onnx" else domain


def dtype_name(data_type: int) -> str:
    """Name a tensor type as numpy does where it can: ``float32``, ``int64``, ``string``."""
    if data_type not in TensorProto.DataType.values():
        return f"type {data_type}"
    written = TensorProto.DataType.Name(data_type).lower()
    return {"float": "float32", "double": "float64"}.get(written, written)


class _Walk:
    def __init__(self, model: ModelProto, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._functions: dict[FunctionKey, FunctionProto] = {
            (domain_of(one.domain), one.name, one.overload): one for one in model.functions
        }
        self._calls: dict[FunctionKey | None, Counter[FunctionKey]] = {}
        self._own_nodes: Counter[FunctionKey | None] = Counter()
        self._within: FunctionKey | None = None
        self._constants: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, int] = {}
        self.found = Walked()

    def go(self) -> Walked:
        if len(self._model.functions) > ONNX_FUNCTIONS_MAX:
            raise Unfit("functions", len(self._model.functions), ONNX_FUNCTIONS_MAX)
        if len(self._functions) < len(self._model.functions):
            raise Unfit("function_twice", len(self._model.functions), len(self._functions))
        self._graphs([self._model.graph])
        for training in self._model.training_info:
            self._graphs([training.initialization, training.algorithm])
        for key, function in self._functions.items():
            self._within = key
            self._calls.setdefault(key, Counter())
            waiting: list[tuple[GraphProto, int]] = []
            self._nodes(function.node, 0, waiting)
            self._attributes(function.attribute_proto, "", 0, waiting)
            self._drain(waiting)
        self._expanded()
        return self.found

    def _graphs(self, graphs: Iterable[GraphProto]) -> None:
        self._drain([(graph, 0) for graph in graphs])

    def _drain(self, waiting: list[tuple[GraphProto, int]]) -> None:
        while waiting:
            graph, depth = waiting.pop()
            if depth > ONNX_NESTING_MAX:
                raise Unfit("nesting", depth, ONNX_NESTING_MAX)
            self.found.initializers += len(graph.initializer) + len(graph.sparse_initializer)
            if self.found.initializers > ONNX_INITIALIZERS_MAX:
                raise Unfit("initializers", self.found.initializers, ONNX_INITIALIZERS_MAX)
            for tensor in graph.initializer:
                self._weights(tensor)
            for sparse in graph.sparse_initializer:
                self._sparse(sparse)
            for values in (graph.input, graph.output, graph.value_info):
                for value in values:
                    _check_value(value)
            self._nodes(graph.node, depth, waiting)

    def _nodes(
        self, nodes: Iterable[NodeProto], depth: int, waiting: list[tuple[GraphProto, int]]
    ) -> None:
        self.found.nodes += len(nodes)  # type: ignore[arg-type]  # a repeated field has a length
        if self.found.nodes > ONNX_NODES_MAX:
            raise Unfit("nodes", self.found.nodes, ONNX_NODES_MAX)
        for node in nodes:
            self._own_nodes[self._within] += 1
            self._operator(node)
            self._attributes(node.attribute, node.op_type, depth, waiting)
            if node.op_type == "Constant" and len(node.output) == 1:
                self._remember(node)
            elif node.op_type in ("ConstantOfShape", "Expand"):
                self._check_made(node)

    def _operator(self, node: NodeProto) -> None:
        domain = domain_of(node.domain)
        key = (domain, node.op_type, node.overload)
        shown = f"{domain}::{node.op_type}" if domain else node.op_type
        if key in self._functions:
            self._calls.setdefault(self._within, Counter())[key] += 1
            self.found.has_custom_function = True
        elif domain == QUANTISER_DOMAIN:
            if node.op_type not in QUANTISER_OPERATORS:
                raise Unfit("operator_domain", shown, "ai.onnx, ai.onnx.ml")
        elif domain not in OWN_DOMAINS:
            raise Unfit("operator_domain", shown, "ai.onnx, ai.onnx.ml")
        elif not defs.has(node.op_type, domain):
            raise Unfit("operator_unknown", shown, f"opset {defs.onnx_opset_version()}")
        self.found.operators[shown] += 1
        self.found.has_loop |= node.op_type in LOOPS

    def _attributes(
        self,
        attributes: Iterable[AttributeProto],
        operator: str,
        depth: int,
        waiting: list[tuple[GraphProto, int]],
    ) -> None:
        for attribute in attributes:
            if attribute.HasField("g"):
                waiting.append((attribute.g, depth + 1))
            waiting += [(graph, depth + 1) for graph in attribute.graphs]
            tensors = [attribute.t] if attribute.HasField("t") else []
            for tensor in (*tensors, *attribute.tensors):
                self._weights(tensor, is_stored=operator == "Constant")
            sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for one in (*sparse, *attribute.sparse_tensors):
                self._sparse(one)
            if attribute.name in _LABELS:
                self._labels(attribute)

    def _labels(self, attribute: AttributeProto) -> None:
        if not self.found.labels:
            texts = [one.decode("utf-8", "replace") for one in attribute.strings]
            self.found.labels = texts or [str(one) for one in attribute.ints]

    # --- tensors ------------------------------------------------------------------------------

    def _weights(self, tensor: TensorProto, *, is_stored: bool = True) -> None:
        elements = self._check_tensor(tensor)
        if is_stored:
            self.found.parameters += elements
            self.found.dtypes[dtype_name(tensor.data_type)] += elements
        if tensor.data_type == TensorProto.INT64 and len(tensor.dims) <= 1 and elements <= 64:
            self._constants[tensor.name] = _small_ints(tensor)

    def _sparse(self, sparse: SparseTensorProto) -> None:
        self._weights(sparse.values)
        self._check_tensor(sparse.indices)
        elements = _elements(sparse.dims, sparse.values.name)
        _check_size(sparse.values.name, elements, sparse.values.data_type)

    def _check_tensor(self, tensor: TensorProto) -> int:
        elements = _elements(tensor.dims, tensor.name)
        if tensor.data_type == _STRING:
            present = len(tensor.string_data)
            if elements != present or tensor.data_location == TensorProto.EXTERNAL:
                raise Unfit("tensor_bytes", f"{tensor.name}: {present}", elements)
            return elements
        bits = _BITS.get(tensor.data_type)
        if bits is None:
            raise Unfit("tensor_type", f"{tensor.name}: {tensor.data_type}", "1 .. 28")
        needed = -(-elements * bits // 8)
        if tensor.data_location == TensorProto.EXTERNAL:
            present = self._external(tensor, needed)
        elif tensor.HasField("raw_data"):
            present = len(tensor.raw_data)
        else:
            present = _typed_bytes(tensor, bits)
        if needed > present + TENSOR_BYTES_MISSING_MAX:
            raise Unfit("tensor_bytes", f"{tensor.name}: {present}", needed)
        return elements

    def _external(self, tensor: TensorProto, needed: int) -> int:
        said = {one.key: one.value for one in tensor.external_data}
        location = said.get("location", "")
        parts = location.split("/")
        if _BAD_IN_LOCATION.search(location) or not {"", ".", ".."}.isdisjoint(parts):
            raise Unfit("external_path", location, "file.data")
        size = self._files.get(location)
        if size is None:
            size = self._files[location] = _size_beside(self._folder, location)
            self.found.external[location] = None
        offset, length = (said.get(key) or "0" for key in ("offset", "length"))
        if not _WHOLE.fullmatch(offset) or not _WHOLE.fullmatch(length):
            raise Unfit("external_range", f"{tensor.name}: {offset}, {length}", "0 ..")
        taken = int(length) if "length" in said else needed
        if int(offset) + max(taken, needed) > size:
            raise Unfit(
                "external_range", f"{tensor.name}: {int(offset) + max(taken, needed)}", size
            )
        return taken

    # --- what the graph makes -------------------------------------------------------------------

    def _remember(self, node: NodeProto) -> None:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.HasField("t"):
                tensor = attribute.t
                if tensor.data_type == TensorProto.INT64 and len(tensor.dims) <= 1:
                    self._constants[node.output[0]] = _small_ints(tensor)
            elif attribute.name == "value_ints":
                self._constants[node.output[0]] = tuple(attribute.ints[:64])
            elif attribute.name == "value_int":
                self._constants[node.output[0]] = (attribute.i,)

    def _check_made(self, node: NodeProto) -> None:
        """Refuse a tensor made of a shape that stands in the graph, if nobody could hold it."""
        place = 0 if node.op_type == "ConstantOfShape" else 1
        if len(node.input) <= place:
            return
        shape = self._constants.get(node.input[place])
        if shape is None or any(one < 0 for one in shape):
            return
        data_type = next(
            (one.t.data_type for one in node.attribute if one.name == "value"), TensorProto.FLOAT
        )
        _check_size(node.output[0] if node.output else "", math.prod(shape), data_type)

    # --- functions ------------------------------------------------------------------------------

    def _expanded(self) -> None:
        """Refuse functions that call themselves, and calls that multiply beyond all bounds."""
        sizes: dict[FunctionKey, int] = {}
        for start in self._functions:
            self._measure(start, sizes)
        total = self._own_nodes[None] + sum(
            sizes[key] * count for key, count in self._calls.get(None, Counter()).items()
        )
        if total > ONNX_EXPANDED_NODES_MAX:
            raise Unfit("expanded_nodes", total, ONNX_EXPANDED_NODES_MAX)

    def _measure(self, start: FunctionKey, sizes: dict[FunctionKey, int]) -> None:
        path: list[FunctionKey] = [start]
        on_path = {start}
        while path:
            key = path[-1]
            called = self._calls.get(key, Counter())
            missing = next((one for one in called if one not in sizes), None)
            if missing is None:
                inner = sum(sizes[one] * count for one, count in called.items())
                sizes[key] = min(self._own_nodes[key] + inner, 2**62)
                on_path.discard(path.pop())
            elif missing in on_path:
                raise Unfit("function_recursive", "::".join(missing[:2]), "")
            else:
                path.append(missing)
                on_path.add(missing)


def _elements(dims: Iterable[int], what: str) -> int:
    sizes = tuple(dims)
    if len(sizes) > TENSOR_DIMENSIONS_MAX:
        raise Unfit("dimensions", f"{what}: {len(sizes)}", TENSOR_DIMENSIONS_MAX)
    if any(one < 0 for one in sizes):
        raise Unfit("dimension_negative", f"{what}: {min(sizes)}", "0 ..")
    return math.prod(sizes)


def _check_size(what: str, elements: int, data_type: int) -> None:
    needed = elements * _BITS.get(data_type, 8) // 8
    if needed > ONNX_TENSOR_SIZE_BYTES_MAX:
        raise Unfit("tensor_size", f"{what}: {needed}", ONNX_TENSOR_SIZE_BYTES_MAX)


def _check_value(value: ValueInfoProto) -> None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return
    dims = [one.dim_value if one.HasField("dim_value") else 1 for one in kind.shape.dim]
    _check_size(value.name, _elements(dims, value.name), kind.elem_type)


def _typed_bytes(tensor: TensorProto, bits: int) -> int:
    entries = len(tensor.int32_data) or len(tensor.float_data) or len(tensor.int64_data)
    entries = entries or len(tensor.double_data) or len(tensor.uint64_data)
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return entries * bits // 16
    return entries * max(bits, 8) // 8


def _small_ints(tensor: TensorProto) -> tuple[int, ...]:
    if tensor.data_location == TensorProto.EXTERNAL:
        return ()
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data[: 64 * 8]
        whole = len(raw) // 8 * 8
        return tuple(
            int.from_bytes(raw[at : at + 8], "little", signed=True) for at in range(0, whole, 8)
        )
    return tuple(tensor.int64_data[:64])


def _size_beside(folder: Path, location: str) -> int:
    """Measure a listed file of the stage; links would lead out of it."""
    path = folder
    for part in location.split("/"):
        path = path / part
        try:
            seen = path.lstat()
        except (OSError, ValueError) as error:
            raise Unfit("external_missing", location, "") from error
        if stat.S_ISLNK(seen.st_mode):
            raise Unfit("external_link", location, "")
    if not stat.S_ISREG(seen.st_mode):
        raise Unfit("external_missing", location, "")
    if seen.st_nlink != 1:
        raise Unfit("external_link", location, "")
    return seen.st_size
