"""Rebuild a Keras ``.h5`` as ONNX from what it says, as data: Keras is not needed and not asked.

* HDF5: hard links only, no object twice on one path, no external or virtual storage, known
  filters, every array bounded before it is read; so a file cannot point outside itself.
* The configuration is bounded (bytes, nesting, layers) before it is used.  A layer outside the
  table is refused by name, and one that carries code (``Lambda``) before everything else.
* Values are kept as Keras means them, channels last; around a convolution they are turned, and
  stay turned until something needs them back.
* The reference of the Parity is the seller's own samples (``x`` and ``y``); without them none is
  shown.

Sources: the HDF5 layout of ``keras.saving`` (Keras 2 and 3), and the ONNX operators of opset 18.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hanse.core.artifacts.converters.answering import (
    ConversionRefused,
    bound,
    check_size,
    framework,
    versions_of,
)
from hanse.core.artifacts.converters.parity import (
    check_model,
    match_samples,
    open_session,
    read_samples,
    report_parity,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPSET: Final = 18
IR_VERSION: Final = 8  # the least for opset 18
FILTERS: Final = frozenset({1, 2, 3, 32000})  # deflate, shuffle, fletcher32, lzf: in the library
SLACK_BYTES: Final = 64 * 1024  # a small array may be stored in nothing at all
DIMENSION_MOST: Final = 2**31
NAME_CHARACTERS_MOST: Final = 200
BATCH: Final = "batch"
CODE_CLASSES: Final = frozenset({"Lambda", "TFOpLambda", "SlicingOpLambda", "TFSMLayer"})
OWN_MODULES: Final = re.compile(r"((tensorflow\.(python\.)?)?keras|tf_keras)(\.|$)")
Shape = tuple[int | None, ...]  # without the batch


def convert(source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write the network as ONNX to ``target``, and compare it with the seller's samples if any."""
    check_size(source, options)
    h5py = framework("h5py")
    try:
        with h5py.File(source, "r") as file:
            check_objects(h5py, file, options)
            configuration, version = read_configuration(h5py, file, options)
            weights = Weights(file, bound(options, "weights_size_bytes"), bound(options, "ratio"))
            model = rebuild(configuration, weights, version, bound(options, "layers"))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        # What the HDF5 library finds wrong inside a file has no class of its own.
        raise ConversionRefused("unreadable", error) from None
    raw = check_model(model)
    session = open_session(raw)
    samples = read_samples(source, options)
    count, outputs = 0, []
    if samples:
        inputs = match_samples(session, samples, bound(options, "rows"))
        count = len(next(iter(inputs.values())))
        got = run(session, inputs)
        names = [one.name for one in session.get_outputs()]
        for name, array in zip(names, got, strict=True):
            said = samples.get("y") if len(names) == 1 and "y" in samples else samples.get(name)
            if said is not None:
                outputs.append((name, said[:count], array))
    target.write_bytes(raw)
    tools = versions_of("h5py", "onnx", "onnxruntime")
    if version:
        tools["keras (of the file)"] = version[:NAME_CHARACTERS_MOST]
    origin = "seller" if outputs else "none"
    return {
        "files": [target.name],
        "parity": report_parity("keras_h5", tools, count if outputs else 0, origin, outputs),
        "kept": True,
        "notes": [] if outputs else ["no_samples"],
        "figures": {},
    }


# --- the file -----------------------------------------------------------------------------------


def check_objects(h5py: Any, file: Any, options: dict[str, Any]) -> None:  # noqa: ANN401  no types
    """Walk every link; refuse what leads elsewhere, repeats a group, or is stored elsewhere."""
    most = bound(options, "objects")
    seen = {h5py.h5o.get_info(file.id).addr}
    waiting = [file]
    count = 0
    while waiting:
        group = waiting.pop()
        for name in group:
            count += 1
            where = f"{group.name.rstrip('/')}/{name}"
            if count > most:
                raise ConversionRefused("too_many_objects", most)
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise ConversionRefused("link", where)
            one = group[name]
            if isinstance(one, h5py.Group):
                address = h5py.h5o.get_info(one.id).addr
                if address in seen:
                    raise ConversionRefused("link", where)
                seen.add(address)
                waiting.append(one)
            elif isinstance(one, h5py.Dataset):
                check_dataset(one, where)
            else:
                raise ConversionRefused("link", where)


def check_dataset(dataset: Any, where: str) -> None:  # noqa: ANN401  h5py has no types
    """Refuse an array whose bytes lie in another file, or need a filter that is not built in."""
    if dataset.is_virtual or dataset.external:
        raise ConversionRefused("stored_elsewhere", where)
    layout = dataset.id.get_create_plist()
    for number in range(layout.get_nfilters()):
        if layout.get_filter(number)[0] not in FILTERS:
            raise ConversionRefused("filter", where)


def read_configuration(
    h5py: Any,  # noqa: ANN401  no types
    file: Any,  # noqa: ANN401  no types
    options: dict[str, Any],
) -> tuple[dict[str, Any], str]:
    """Read ``model_config`` within its bounds, and the version of Keras that wrote it."""
    if "model_config" not in file.attrs:
        raise ConversionRefused("no_config", "model_config")
    most = bound(options, "config_size_bytes")
    stored = h5py.h5a.open(file.id, b"model_config").get_storage_size()
    if stored > most:
        raise ConversionRefused("config_too_large", f"{stored} > {most}")
    raw = file.attrs["model_config"]
    text = raw.decode() if isinstance(raw, bytes) else raw
    if not isinstance(text, str):
        raise ConversionRefused("no_config", type(raw).__name__)
    if len(text) > most:
        raise ConversionRefused("config_too_large", f"{len(text)} > {most}")
    depth = deepest = 0
    for mark in re.finditer(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        deepest = max(deepest, depth)
    if deepest > bound(options, "config_depth"):
        raise ConversionRefused("config_too_deep", deepest)
    configuration = json.loads(text)
    if not isinstance(configuration, dict):
        raise ConversionRefused("no_config", type(configuration).__name__)
    version = file.attrs.get("keras_version", "")
    version = version.decode() if isinstance(version, bytes) else version
    return configuration, version if isinstance(version, str) else ""


class Weights:
    """The arrays of the file, by layer and the last part of their names; read within bounds."""

    def __init__(self, file: Any, most_bytes: int, ratio: int) -> None:  # noqa: ANN401  no types
        """Use ``model_weights`` of ``file``; nothing is read yet."""
        self._root = file.get("model_weights", file)
        self._left = most_bytes
        self._ratio = ratio

    def get(self, layer: str, *names: str, shape: tuple[int | None, ...]) -> Any:  # noqa: ANN401
        """Return the one array of ``layer`` with one of ``names``, of this shape, as float32."""
        found = self._find(layer)
        kept = [dataset for name in names for dataset in found.get(name, [])]
        where = f"{layer}/{names[0]}"
        if len(kept) != 1:
            raise ConversionRefused("weights_twice" if kept else "weights_missing", where)
        dataset = kept[0]
        fits = len(dataset.shape) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, dataset.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("?" if size is None else str(size) for size in shape)
            raise ConversionRefused("weights_shape", f"{where}: {dataset.shape}, ({wanted})")
        if dataset.dtype.kind != "f":
            raise ConversionRefused("weights_type", f"{where}: {dataset.dtype}")
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        if size > self._left or size > self._ratio * dataset.id.get_storage_size() + SLACK_BYTES:
            raise ConversionRefused("weights_too_large", f"{where}: {size}")
        self._left -= size
        array = dataset[()].astype(np.float32)
        if not np.isfinite(array).all():
            raise ConversionRefused("weights_not_finite", where)
        return array

    def _find(self, layer: str) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        # A name may hold a slash, which HDF5 reads as a folder; it is walked like one.
        top = self._root.get(layer)
        waiting: list[Any] = [top] if hasattr(top, "keys") else []
        while waiting:
            group = waiting.pop()
            for name in group:
                one = group[name]
                if hasattr(one, "keys"):
                    waiting.append(one)
                else:
                    found.setdefault(name.partition(":")[0], []).append(one)
        return found


# --- the graph ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """One tensor: ``shape`` as Keras has it, without the batch; ``turned`` when channels first."""

    name: str
    shape: Shape
    turned: bool = False


@dataclass
class Layer:
    """One layer of the configuration, and where its inputs come from, call by call."""

    name: str
    kind: str
    config: dict[str, Any]
    calls: list[list[tuple[str, int]]] = field(default_factory=list)

    def refuse(self, code: str, what: object) -> ConversionRefused:
        """Return the refusal of this layer for ``what``."""
        return ConversionRefused(code, f"{self.name} ({self.kind}): {what}")

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number of the configuration."""
        value = self.config.get(key, default)
        if type(value) is not int or not least <= value < DIMENSION_MOST:
            raise self.refuse("setting", f"{key} = {value}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a finite number of the configuration."""
        value = self.config.get(key, default)
        if isinstance(value, dict) and "value" in (inner := value.get("config", value)):
            value = inner["value"]  # Keras 3 may wrap a scalar
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.refuse("setting", f"{key} = {value}")
        return float(value)

    def pair(self, key: str, default: int | None = None, least: int = 1) -> tuple[int, int]:
        """Return two whole numbers, or one twice."""
        value = self.config.get(key)
        value = default if value is None else value
        pair: list[Any] = value if isinstance(value, list) else [value, value]
        if len(pair) != 2 or any(type(one) is not int or not least <= one < 2**16 for one in pair):
            raise self.refuse("setting", f"{key} = {value}")
        return pair[0], pair[1]

    def yes(self, key: str, *, default: bool) -> bool:
        """Return a truth value of the configuration."""
        value = self.config.get(key, default)
        if type(value) is not bool:
            raise self.refuse("setting", f"{key} = {value}")
        return value

    def word(self, key: str, default: str, *allowed: str) -> str:
        """Return one of the ``allowed`` words."""
        value = self.config.get(key, default) or default
        if value not in allowed:
            raise self.refuse("setting", f"{key} = {value}")
        return str(value)


class Graph:
    """Nodes and initialisers as they are added."""

    def __init__(self, weights: Weights, version: str) -> None:
        """Begin empty; ``version`` is that of the Keras that wrote the file."""
        self._onnx = framework("onnx")
        self.weights = weights
        self.is_keras_2 = version.startswith(("1.", "2."))
        self.nodes: list[Any] = []
        self.initialisers: list[Any] = []
        self._names: Counter[str] = Counter()

    def fresh(self, name: str) -> str:
        """Return ``name``, or it with a number when it was given before."""
        self._names[name] += 1
        count = self._names[name]
        return name if count == 1 else self.fresh(f"{name}.{count}")

    def constant(self, name: str, array: Any) -> str:  # noqa: ANN401  an array
        """Add an initialiser and return its name."""
        kept = self.fresh(name)
        tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), kept)
        self.initialisers.append(tensor)
        return kept

    def add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output and return the output's name."""
        output = self.fresh(name)
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def turn(self, value: Value) -> Value:
        """Bring a picture to channels first."""
        if value.turned:
            return value
        name = self.add("Transpose", [value.name], f"{value.name}/first", perm=[0, 3, 1, 2])
        return Value(name, value.shape, turned=True)

    def back(self, value: Value) -> Value:
        """Bring a value to the order Keras means."""
        if not value.turned:
            return value
        name = self.add("Transpose", [value.name], f"{value.name}/last", perm=[0, 2, 3, 1])
        return Value(name, value.shape)


def rebuild(configuration: dict[str, Any], weights: Weights, version: str, layers_most: int) -> Any:  # noqa: ANN401  onnx's ModelProto is not typed
    """Build the ONNX model that ``configuration`` and ``weights`` describe, or refuse."""
    refuse_code(configuration)
    kind, inner = configuration.get("class_name"), configuration.get("config")
    is_sequential = kind == "Sequential"
    if kind not in {"Sequential", "Functional", "Model"}:
        raise ConversionRefused("layer", f"{kind}")
    if is_sequential and isinstance(inner, list):  # before Keras 2.2.3
        inner = {"layers": inner}
    if not isinstance(inner, dict) or not isinstance(inner.get("layers"), list):
        raise ConversionRefused("no_config", "layers")
    if len(inner["layers"]) > layers_most:
        raise ConversionRefused("too_many_layers", f"{len(inner['layers'])} > {layers_most}")
    parsed = [parse_layer(one) for one in inner["layers"]]
    layers = {layer.name: layer for layer in parsed}
    if len(layers) < len(parsed):
        raise ConversionRefused("graph", "one name twice")
    if is_sequential:
        starts, ends = chain(parsed, layers, inner)
    else:
        for raw, layer in zip(inner["layers"], parsed, strict=True):
            layer.calls = read_calls(layer, raw.get("inbound_nodes"))
        starts = references(inner.get("input_layers"))
        ends = references(inner.get("output_layers"))
    return assemble(layers, starts, ends, Graph(weights, version), str(inner.get("name") or kind))


def refuse_code(configuration: dict[str, Any]) -> None:
    """Refuse a configuration that holds a program anywhere, before its layers are looked at."""
    waiting: list[Any] = [configuration]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
            kind = str(one.get("class_name", ""))
            if kind in CODE_CLASSES or kind == "__lambda__":
                inner = one.get("config")
                name = inner.get("name") if isinstance(inner, dict) else None
                raise ConversionRefused("code", f"{name or one.get('name') or kind} ({kind})")


def parse_layer(raw: Any) -> Layer:  # noqa: ANN401  JSON
    """Read one layer; refuse it by name when it is not in the table."""
    if not isinstance(raw, dict) or not isinstance(raw.get("config"), dict):
        raise ConversionRefused("no_config", "layers")
    kind, config = str(raw.get("class_name")), raw["config"]
    name = raw.get("name") or config.get("name")
    if not isinstance(name, str) or not name.isprintable() or len(name) > NAME_CHARACTERS_MOST:
        raise ConversionRefused("no_config", f"{kind}: {str(name)[:NAME_CHARACTERS_MOST]}")
    layer = Layer(name, kind, config)
    module, registered = raw.get("module"), raw.get("registered_name")
    is_own = module is None or OWN_MODULES.match(str(module))
    if kind not in BUILDERS or not is_own or registered not in (None, kind):
        raise ConversionRefused("layer", f"{name} ({registered or kind})")
    dtype = config.get("dtype")
    inner = dtype.get("config") if isinstance(dtype, dict) else None
    policy = inner.get("name") if isinstance(inner, dict) else dtype
    if policy not in (None, "float32"):
        raise layer.refuse("setting", f"dtype = {policy}")
    return layer


def chain(
    parsed: list[Layer], layers: dict[str, Layer], inner: dict[str, Any]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Connect the layers of a Sequential one after the other; return its input and output."""
    if not parsed:
        raise ConversionRefused("graph", "no layers")
    first = parsed[0]
    if first.kind != "InputLayer":
        shape = first.config.get("batch_input_shape") or first.config.get("batch_shape")
        shape = shape or inner.get("build_input_shape")
        name = "input" if "input" not in layers else f"{first.name}_input"
        start = Layer(name, "InputLayer", {"batch_shape": shape})
        layers[name] = start
        parsed = [start, *parsed]
    before = parsed[0].name
    parsed[0].calls = [[]]
    for layer in parsed[1:]:
        layer.calls = [[(before, 0)]]
        before = layer.name
    return [(parsed[0].name, 0)], [(before, 0)]


def read_calls(layer: Layer, raw: Any) -> list[list[tuple[str, int]]]:  # noqa: ANN401  JSON
    """Read ``inbound_nodes``: lists (Keras 2), or dictionaries with tensors in them (Keras 3)."""
    if not isinstance(raw, list):
        raise layer.refuse("graph", "inbound_nodes")
    calls = []
    for call in raw:
        if isinstance(call, dict):
            if tensors_in(call.get("kwargs")):
                raise layer.refuse("graph", "kwargs")
            calls.append(tensors_in(call.get("args")))
        elif isinstance(call, list):
            if any(isinstance(row, list) and len(row) > 3 and row[3] for row in call):
                raise layer.refuse("graph", "kwargs")
            calls.append(references(call))
        else:
            raise layer.refuse("graph", "inbound_nodes")
    return calls or [[]]  # an input is called once, with nothing


def tensors_in(raw: Any) -> list[tuple[str, int]]:  # noqa: ANN401  JSON
    """Return the tensors named anywhere in ``raw``, in order."""
    found: list[tuple[str, int]] = []
    waiting = [raw]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict) and one.get("class_name") == "__keras_tensor__":
            inner = one.get("config")
            found += references(inner.get("keras_history") if isinstance(inner, dict) else None)
        elif isinstance(one, dict):
            waiting += reversed(one.values())
        elif isinstance(one, list):
            waiting += reversed(one)
    return found


def references(raw: Any) -> list[tuple[str, int]]:  # noqa: ANN401  JSON
    """Read ``[layer, call, tensor]``, one or a list (or map) of them."""
    rows = list(raw.values()) if isinstance(raw, dict) else raw
    if isinstance(rows, list) and rows and isinstance(rows[0], str):
        rows = [rows]
    if not isinstance(rows, list):
        raise ConversionRefused("graph", "input_layers, output_layers, inbound_nodes")
    found = []
    for row in rows:
        is_one = isinstance(row, list) and len(row) >= 3 and isinstance(row[0], str)
        if not is_one or type(row[1]) is not int or row[2] != 0:
            raise ConversionRefused("graph", row)
        found.append((row[0], row[1]))
    return found


def assemble(
    layers: dict[str, Layer],
    starts: list[tuple[str, int]],
    ends: list[tuple[str, int]],
    graph: Graph,
    name: str,
) -> Any:  # noqa: ANN401  onnx's ModelProto is not typed
    """Build every call that the outputs need, in an order in which its inputs come first."""
    onnx = framework("onnx")
    values: dict[tuple[str, int], Value] = {}
    inputs = []
    for start in starts:
        layer = layers.get(start[0])
        if layer is None or layer.kind != "InputLayer" or start in values:
            raise ConversionRefused("graph", start[0])
        shape, batch = input_shape(layer)
        values[start] = Value(graph.fresh(layer.name), shape)
        inputs.append(tensor_info(onnx, values[start].name, shape, batch))
    if not inputs or not ends:
        raise ConversionRefused("graph", "no inputs or outputs")
    names = [graph.fresh(end[0]) for end in ends]  # before anything inside takes them

    # Depth first without recursion; a call met again while its inputs are open closes a circle.
    opened: set[tuple[str, int]] = set()
    waiting = list(reversed(ends))
    while waiting:
        call = waiting[-1]
        if call in values:
            waiting.pop()
            continue
        layer = layers.get(call[0])
        if layer is None or not 0 <= call[1] < len(layer.calls) or layer.kind == "InputLayer":
            raise ConversionRefused("graph", f"{call[0]} {call[1]}")
        missing = [one for one in layer.calls[call[1]] if one not in values]
        if not missing:
            given = [values[one] for one in layer.calls[call[1]]]
            values[call] = BUILDERS[layer.kind](graph, layer, given)
            waiting.pop()
        elif call in opened:
            raise ConversionRefused("circle", call[0])
        else:
            opened.add(call)
            waiting += reversed(missing)

    batch = inputs[0].type.tensor_type.shape.dim[0]
    size = batch.dim_value or BATCH
    outputs = []
    for out, end in zip(names, ends, strict=True):
        value = graph.back(values[end])
        graph.nodes.append(onnx.helper.make_node("Identity", [value.name], [out]))
        outputs.append(tensor_info(onnx, out, value.shape, size))
    drawn = onnx.helper.make_graph(
        graph.nodes, name[:NAME_CHARACTERS_MOST], inputs, outputs, graph.initialisers
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    return onnx.helper.make_model(
        drawn, opset_imports=opset, ir_version=IR_VERSION, producer_name="hanse"
    )


def input_shape(layer: Layer) -> tuple[Shape, int | str]:
    """Return the shape of an input without its batch, and the batch."""
    raw = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
    if not isinstance(raw, list) or not 2 <= len(raw) <= 5:
        raise layer.refuse("setting", f"batch_shape = {raw}")
    for size in raw:
        if size is not None and (type(size) is not int or not 1 <= size < DIMENSION_MOST):
            raise layer.refuse("setting", f"batch_shape = {raw}")
    return tuple(raw[1:]), raw[0] or BATCH


def tensor_info(onnx: Any, name: str, shape: Shape, batch: int | str) -> Any:  # noqa: ANN401
    """Describe a float tensor; an open size gets a name of its own, the checker wants one."""
    sizes: list[int | str] = [batch]
    sizes += [f"{name}.{n}" if size is None else size for n, size in enumerate(shape, start=1)]
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)


# --- the layers ---------------------------------------------------------------------------------


def only(layer: Layer, given: list[Value], ranks: tuple[int, ...] = ()) -> Value:
    """Return the one input of a layer, of one of these ranks (the batch not counted)."""
    if len(given) != 1:
        raise layer.refuse("graph", f"{len(given)} inputs")
    if ranks and len(given[0].shape) not in ranks:
        raise layer.refuse("shape", given[0].shape)
    return given[0]


def known(layer: Layer, size: int | None) -> int:
    """Return a size that must be known."""
    if size is None:
        raise layer.refuse("shape", None)
    return size


def build_identity(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Let through what only matters in training."""
    del graph
    return only(layer, given)


def build_input(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Refuse an input that the model does not list among its inputs."""
    del graph
    raise layer.refuse("graph", f"{len(given)} inputs")


def picture(graph: Graph, layer: Layer, given: list[Value]) -> tuple[Value, bool]:
    """Return the input channels first, with its shape as (rows, columns, channels).

    The flag tells that Keras itself means channels first.
    """
    value = only(layer, given, (3,))
    order = layer.word("data_format", "channels_last", "channels_last", "channels_first")
    if order == "channels_first":
        plain = graph.back(value)
        channels, rows, columns = plain.shape
        return Value(plain.name, (rows, columns, channels), turned=True), True
    return graph.turn(value), False


def hand_back(value: Value, *, is_first: bool) -> Value:
    """Return a picture in the order of its layer."""
    if not is_first:
        return value
    rows, columns, channels = value.shape
    return Value(value.name, (channels, rows, columns))


def window(
    layer: Layer,
    size: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    shape: Shape,
) -> tuple[dict[str, Any], list[int | None]]:
    """Return the ONNX attributes of a sliding window, and the rows and columns that come out.

    ``same`` puts the odd one of the padding at the end, as TensorFlow does.
    """
    is_same = layer.word("padding", "valid", "valid", "same") == "same"
    attributes: dict[str, Any] = {"strides": list(strides)}
    begins, ends = [0, 0], [0, 0]
    sizes: list[int | None] = []
    for axis in range(2):
        length = shape[axis]
        reach = (size[axis] - 1) * dilations[axis] + 1
        if length is None:
            sizes.append(None)
        elif is_same:
            out = -(-length // strides[axis])
            padding = max(0, (out - 1) * strides[axis] + reach - length)
            begins[axis], ends[axis] = padding // 2, padding - padding // 2
            sizes.append(out)
        elif reach > length:
            raise layer.refuse("shape", shape)
        else:
            sizes.append((length - reach) // strides[axis] + 1)
    if is_same and None in sizes:
        if dilations != (1, 1):  # the runtime cannot find that padding by itself
            raise layer.refuse("shape", shape)
        attributes["auto_pad"] = "SAME_UPPER"
    else:
        attributes["pads"] = begins + ends
    return attributes, sizes


def convolve(
    graph: Graph,
    layer: Layer,
    value: Value,
    kernel: Any,  # noqa: ANN401  an array
    bias: Any,  # noqa: ANN401  an array
    groups: int,
) -> Value:
    """Add a convolution; ``kernel`` is (out, in, rows, columns), ``bias`` an array or ``None``."""
    strides, dilations = layer.pair("strides", 1), layer.pair("dilation_rate", 1)
    size = (kernel.shape[2], kernel.shape[3])
    attributes, sizes = window(layer, size, strides, dilations, value.shape)
    inputs = [value.name, graph.constant(f"{layer.name}/kernel", kernel)]
    if bias is not None:
        inputs.append(graph.constant(f"{layer.name}/bias", bias))
    name = graph.add(
        "Conv",
        inputs,
        layer.name,
        group=groups,
        dilations=list(dilations),
        kernel_shape=list(size),
        **attributes,
    )
    return Value(name, (*sizes, kernel.shape[0]), turned=True)


def bias_of(graph: Graph, layer: Layer, count: int) -> Any:  # noqa: ANN401  an array
    """Return the bias of a layer, or ``None``."""
    if not layer.yes("use_bias", default=True):
        return None
    return graph.weights.get(layer.name, "bias", shape=(count,))


def build_conv(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Conv2D: kernel (rows, columns, in / groups, out)."""
    value, is_first = picture(graph, layer, given)
    channels = known(layer, value.shape[2])
    groups, filters = layer.whole("groups", 1), layer.whole("filters")
    if channels % groups or filters % groups:
        raise layer.refuse("setting", f"groups = {groups}")
    shape = (*layer.pair("kernel_size"), channels // groups, filters)
    kernel = graph.weights.get(layer.name, "kernel", shape=shape).transpose(3, 2, 0, 1)
    out = convolve(graph, layer, value, kernel, bias_of(graph, layer, filters), groups)
    return activated(graph, layer, hand_back(out, is_first=is_first))


def depthwise(graph: Graph, layer: Layer, channels: int, *names: str) -> Any:  # noqa: ANN401
    """Return a depthwise kernel (rows, columns, in, times) as one for a grouped convolution."""
    times = layer.whole("depth_multiplier", 1)
    size = layer.pair("kernel_size")
    kernel = graph.weights.get(layer.name, *names, shape=(*size, channels, times))
    return kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, *size)


def build_depthwise(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """DepthwiseConv2D: its kernel is ``kernel`` in Keras 3, ``depthwise_kernel`` in Keras 2."""
    value, is_first = picture(graph, layer, given)
    channels = known(layer, value.shape[2])
    kernel = depthwise(graph, layer, channels, "kernel", "depthwise_kernel")
    bias = bias_of(graph, layer, kernel.shape[0])
    out = convolve(graph, layer, value, kernel, bias, channels)
    return activated(graph, layer, hand_back(out, is_first=is_first))


def build_separable(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """SeparableConv2D: a depthwise convolution without bias, then one of size 1."""
    value, is_first = picture(graph, layer, given)
    channels, filters = known(layer, value.shape[2]), layer.whole("filters")
    kernel = depthwise(graph, layer, channels, "depthwise_kernel")
    deep = convolve(graph, layer, value, kernel, None, channels)
    shape = (1, 1, kernel.shape[0], filters)
    point = graph.weights.get(layer.name, "pointwise_kernel", shape=shape).transpose(3, 2, 0, 1)
    inputs = [deep.name, graph.constant(f"{layer.name}/pointwise", point)]
    if (bias := bias_of(graph, layer, filters)) is not None:
        inputs.append(graph.constant(f"{layer.name}/bias", bias))
    out = Value(graph.add("Conv", inputs, layer.name), (*deep.shape[:2], filters), turned=True)
    return activated(graph, layer, hand_back(out, is_first=is_first))


def build_pool(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """MaxPooling2D and AveragePooling2D; padding never counts in an average."""
    value, is_first = picture(graph, layer, given)
    size = layer.pair("pool_size", 2)
    strides = size if layer.config.get("strides") is None else layer.pair("strides")
    attributes, sizes = window(layer, size, strides, (1, 1), value.shape)
    operator = "MaxPool" if layer.kind == "MaxPooling2D" else "AveragePool"
    name = graph.add(operator, [value.name], layer.name, kernel_shape=list(size), **attributes)
    return hand_back(Value(name, (*sizes, value.shape[2]), turned=True), is_first=is_first)


def build_global_pool(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """GlobalAveragePooling2D and GlobalMaxPooling2D."""
    value, is_first = picture(graph, layer, given)
    keep = layer.yes("keepdims", default=False)
    is_max = layer.kind == "GlobalMaxPooling2D"
    operator = "GlobalMaxPool" if is_max else "GlobalAveragePool"
    name = graph.add(operator, [value.name], layer.name)
    if keep:
        return hand_back(Value(name, (1, 1, value.shape[2]), turned=True), is_first=is_first)
    name = graph.add("Flatten", [name], f"{layer.name}/flat", axis=1)
    return Value(name, (value.shape[2],))


def build_zero_padding(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """ZeroPadding2D: one number, two, or two pairs."""
    value, is_first = picture(graph, layer, given)
    raw = layer.config.get("padding", 1)
    rows = raw if isinstance(raw, list) else [raw, raw]
    pairs = [one if isinstance(one, list) else [one, one] for one in rows]
    numbers = [number for pair in pairs for number in pair]
    if len(numbers) != 4 or any(type(one) is not int or not 0 <= one < 2**16 for one in numbers):
        raise layer.refuse("setting", f"padding = {raw}")
    (top, bottom), (left, right) = pairs
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], dtype=np.int64)
    name = graph.add("Pad", [value.name, graph.constant(f"{layer.name}/pads", pads)], layer.name)
    height, width, channels = value.shape
    shape = (
        None if height is None else height + top + bottom,
        None if width is None else width + left + right,
        channels,
    )
    return hand_back(Value(name, shape, turned=True), is_first=is_first)


def build_batch_norm(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """BatchNormalization with its moving mean and variance, along the last axis or the first."""
    value = only(layer, given)
    rank = len(value.shape)
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if type(axis) is not int or axis not in (-1, rank, 1):
        raise layer.refuse("setting", f"axis = {axis}")
    is_last = axis in (-1, rank)
    channels = known(layer, value.shape[-1] if is_last else value.shape[0])
    get, shape = graph.weights.get, (channels,)
    ones, zeros = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    has_scale, has_centre = layer.yes("scale", default=True), layer.yes("center", default=True)
    gamma = get(layer.name, "gamma", shape=shape) if has_scale else ones
    beta = get(layer.name, "beta", shape=shape) if has_centre else zeros
    mean = get(layer.name, "moving_mean", shape=shape)
    variance = get(layer.name, "moving_variance", shape=shape)
    if (variance < 0).any():
        raise layer.refuse("weights_not_finite", "moving_variance")
    epsilon = layer.number("epsilon", 1e-3)
    if rank in {1, 3} or not is_last:
        plain = graph.turn(value) if rank == 3 and is_last else graph.back(value)
        arrays = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
        parts = [graph.constant(f"{layer.name}/{one}", array) for one, array in arrays.items()]
        name = graph.add("BatchNormalization", [plain.name, *parts], layer.name, epsilon=epsilon)
        return Value(name, value.shape, turned=plain.turned)
    scale = gamma / np.sqrt(variance + np.float32(epsilon))
    return affine(graph, layer, value, scale, beta - mean * scale)


def affine(graph: Graph, layer: Layer, value: Value, scale: Any, offset: Any) -> Value:  # noqa: ANN401
    """Multiply and add along the last axis, or by one number."""
    times = graph.constant(f"{layer.name}/scale", np.asarray(scale, np.float32))
    plus = graph.constant(f"{layer.name}/offset", np.asarray(offset, np.float32))
    value = value if np.ndim(scale) == np.ndim(offset) == 0 else graph.back(value)
    scaled = graph.add("Mul", [value.name, times], f"{layer.name}/scaled")
    return Value(graph.add("Add", [scaled, plus], layer.name), value.shape, turned=value.turned)


def build_rescaling(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Rescaling by numbers, or by one number for each channel."""
    value = only(layer, given)
    parts = []
    for key, default in (("scale", 1.0), ("offset", 0.0)):
        raw = layer.config.get(key, default)
        numbers = raw if isinstance(raw, list) else [layer.number(key, default)]
        finite = all(type(one) in (int, float) and math.isfinite(one) for one in numbers)
        if not finite or len(numbers) not in (1, value.shape[-1]):
            raise layer.refuse("setting", f"{key} = {raw}")
        parts.append(np.array(numbers if isinstance(raw, list) else numbers[0], np.float32))
    return affine(graph, layer, value, *parts)


def build_normalization(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Take mean and variance away, as adapted to data along the last axis."""
    value = only(layer, given)
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(value.shape)) or layer.config.get("mean") is not None:
        raise layer.refuse("setting", f"axis = {axis}, mean = {layer.config.get('mean')}")
    shape = (known(layer, value.shape[-1]),)
    mean = graph.weights.get(layer.name, "mean", shape=shape)
    variance = graph.weights.get(layer.name, "variance", shape=shape)
    if (variance < 0).any():
        raise layer.refuse("weights_not_finite", "variance")
    scale = 1 / np.maximum(np.sqrt(variance), np.float32(1e-7))
    if layer.yes("invert", default=False):
        return affine(graph, layer, value, 1 / scale, mean)
    return affine(graph, layer, value, scale, -mean * scale)


def build_dense(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Dense along the last axis."""
    value = graph.back(only(layer, given))
    units = layer.whole("units")
    shape = (known(layer, value.shape[-1]), units)
    kernel = graph.constant(
        f"{layer.name}/kernel", graph.weights.get(layer.name, "kernel", shape=shape)
    )
    bias = bias_of(graph, layer, units)
    parts = [] if bias is None else [graph.constant(f"{layer.name}/bias", bias)]
    if len(value.shape) == 1:
        name = graph.add("Gemm", [value.name, kernel, *parts], layer.name)
    else:
        name = graph.add("MatMul", [value.name, kernel], layer.name)
        name = graph.add("Add", [name, *parts], layer.name) if parts else name
    return activated(graph, layer, Value(name, (*value.shape[:-1], units)))


def build_flatten(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Flatten in the order Keras means, which is not that of the runtime."""
    layer.word("data_format", "channels_last", "channels_last")
    value = graph.back(only(layer, given))
    sizes = [known(layer, size) for size in value.shape]
    return Value(graph.add("Flatten", [value.name], layer.name, axis=1), (math.prod(sizes),))


def build_reshape(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Reshape within one row of the batch."""
    value = graph.back(only(layer, given))
    total = math.prod(known(layer, size) for size in value.shape)
    raw = layer.config.get("target_shape")
    is_list = isinstance(raw, list) and 1 <= len(raw) <= 8
    if not is_list or any(type(size) is not int or size == 0 or size < -1 for size in raw or []):
        raise layer.refuse("setting", f"target_shape = {raw}")
    sizes: list[int] = list(raw or [])
    rest = math.prod(size for size in sizes if size > 0)
    if sizes.count(-1) > 1 or total % rest or (-1 not in sizes and rest != total):
        raise layer.refuse("setting", f"target_shape = {raw}")
    shape = [total // rest if size == -1 else size for size in sizes]
    wanted = graph.constant(f"{layer.name}/shape", np.array([-1, *shape], np.int64))
    return Value(graph.add("Reshape", [value.name, wanted], layer.name), tuple(shape))


def build_merge(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Join values of one shape element by element."""
    if len(given) < 2 or (layer.kind == "Subtract" and len(given) != 2):
        raise layer.refuse("graph", f"{len(given)} inputs")
    if any(value.shape != given[0].shape for value in given):
        raise layer.refuse("shape", [value.shape for value in given])
    values = given if all(value.turned for value in given) else [graph.back(one) for one in given]
    names = [value.name for value in values]
    operator = MERGES[layer.kind]
    if operator in {"Max", "Min", "Mean"}:
        name = graph.add(operator, names, layer.name)
    else:
        name = names[0]
        for other in names[1:]:
            name = graph.add(operator, [name, other], layer.name)
    return Value(name, given[0].shape, turned=values[0].turned)


def build_concatenate(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Concatenate along one axis of a row."""
    if len(given) < 2:
        raise layer.refuse("graph", f"{len(given)} inputs")
    rank = len(given[0].shape)
    axis = layer.config.get("axis", -1)
    place = axis - 1 if type(axis) is int and axis > 0 else axis + rank if type(axis) is int else -1
    if not 0 <= place < rank or any(len(value.shape) != rank for value in given):
        raise layer.refuse("setting", f"axis = {axis}")
    rests = {(*value.shape[:place], *value.shape[place + 1 :]) for value in given}
    if len(rests) > 1:
        raise layer.refuse("shape", [value.shape for value in given])
    length = sum(known(layer, value.shape[place]) for value in given)
    shape = (*given[0].shape[:place], length, *given[0].shape[place + 1 :])
    is_turned = all(value.turned for value in given)
    values = given if is_turned else [graph.back(value) for value in given]
    along = (2, 3, 1)[place] if is_turned else place + 1
    name = graph.add("Concat", [value.name for value in values], layer.name, axis=along)
    return Value(name, shape, turned=is_turned)


def build_activation(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Activation by its name."""
    return activated(graph, layer, only(layer, given))


def build_softmax(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """Softmax along the last axis."""
    value = only(layer, given)
    if layer.config.get("axis", -1) not in (-1, len(value.shape)):
        raise layer.refuse("setting", f"axis = {layer.config.get('axis')}")
    return apply(graph, layer, value, "softmax")


def build_relu(graph: Graph, layer: Layer, given: list[Value]) -> Value:
    """ReLU with an upper bound or a slope below 0; LeakyReLU; ELU."""
    value = only(layer, given)
    if layer.kind == "ELU":
        return simple(graph, layer, value, "Elu", alpha=layer.number("alpha", 1.0))
    if layer.kind == "LeakyReLU":
        default = layer.number("alpha", 0.3)  # Keras 2 calls it alpha
        slope = layer.number("negative_slope", default)
        return simple(graph, layer, value, "LeakyRelu", alpha=slope)
    slope, threshold = layer.number("negative_slope", 0.0), layer.number("threshold", 0.0)
    if threshold:
        raise layer.refuse("setting", f"threshold = {threshold}")
    operator = {"alpha": slope} if slope else {}
    out = simple(graph, layer, value, "LeakyRelu" if slope else "Relu", **operator)
    if layer.config.get("max_value") is None:
        return out
    most = graph.constant(f"{layer.name}/max", np.float32(layer.number("max_value", 0.0)))
    name = graph.add("Min", [out.name, most], layer.name)
    return Value(name, out.shape, turned=out.turned)


def activated(graph: Graph, layer: Layer, value: Value) -> Value:
    """Apply the activation that a layer carries."""
    name = layer.config.get("activation") or "linear"
    if isinstance(name, dict):  # a function of Keras, written out, or one of the author's
        name = f"{name.get('module')}.{name.get('config') or name.get('class_name')}"
    return apply(graph, layer, value, str(name))


def apply(graph: Graph, layer: Layer, value: Value, name: str) -> Value:
    """Apply the activation called ``name``, or refuse it by its name."""
    if name == "linear":
        return value
    if name == "softmax":
        return simple(graph, layer, value, "Softmax", axis=1 if value.turned else -1)
    if name in SIMPLE:
        operator, attributes = SIMPLE[name]
        return simple(graph, layer, value, operator, **attributes)
    if name == "relu6":
        bounds = [graph.constant(f"{layer.name}/{one}", np.float32(one)) for one in (0, 6)]
        out = graph.add("Clip", [value.name, *bounds], layer.name)
    elif name in {"silu", "swish"}:
        gate = graph.add("Sigmoid", [value.name], f"{layer.name}/gate")
        out = graph.add("Mul", [value.name, gate], layer.name)
    elif name == "hard_sigmoid":
        alpha = 0.2 if graph.is_keras_2 else 1 / 6
        out = graph.add("HardSigmoid", [value.name], layer.name, alpha=alpha, beta=0.5)
    else:
        raise layer.refuse("activation", name)
    return Value(out, value.shape, turned=value.turned)


def simple(graph: Graph, layer: Layer, value: Value, operator: str, **attributes: Any) -> Value:  # noqa: ANN401
    """Apply one operator element by element."""
    name = graph.add(operator, [value.name], layer.name, **attributes)
    return Value(name, value.shape, turned=value.turned)


SIMPLE: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "elu": ("Elu", {}),
    "exponential": ("Exp", {}),
    "relu": ("Relu", {}),
    "selu": ("Selu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}
MERGES: Final = {
    "Add": "Add",
    "Average": "Mean",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Subtract": "Sub",
}
BUILDERS: Final[dict[str, Callable[[Graph, Layer, list[Value]], Value]]] = {
    "Activation": build_activation,
    "ActivityRegularization": build_identity,
    "AveragePooling2D": build_pool,
    "BatchNormalization": build_batch_norm,
    "Concatenate": build_concatenate,
    "Conv2D": build_conv,
    "Dense": build_dense,
    "DepthwiseConv2D": build_depthwise,
    "Dropout": build_identity,
    "ELU": build_relu,
    "Flatten": build_flatten,
    "GaussianDropout": build_identity,
    "GaussianNoise": build_identity,
    "GlobalAveragePooling2D": build_global_pool,
    "GlobalMaxPooling2D": build_global_pool,
    "InputLayer": build_input,
    "LeakyReLU": build_relu,
    "MaxPooling2D": build_pool,
    "Normalization": build_normalization,
    "ReLU": build_relu,
    "Rescaling": build_rescaling,
    "Reshape": build_reshape,
    "SeparableConv2D": build_separable,
    "Softmax": build_softmax,
    "SpatialDropout2D": build_identity,
    "ZeroPadding2D": build_zero_padding,
    **dict.fromkeys(MERGES, build_merge),
}
