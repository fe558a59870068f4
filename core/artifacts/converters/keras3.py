"""Convert a Keras 3 file to ONNX by Keras itself, on torch.

* Code in the file is looked for in its configuration, read as data, before Keras sees the file;
  and Keras loads it in safe mode, always.
* The reference of the Parity is the loaded model, on the seller's samples or drawn inputs.
* A legacy ``.h5`` is taken too: its layers may lie outside what can be read as data.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hanse.core.artifacts.converters.answering import (
    ConversionRefused,
    bound,
    check_size,
    check_zip,
    framework,
    versions_of,
)
from hanse.core.artifacts.converters.parity import (
    SEED,
    check_model,
    draw_inputs,
    match_samples,
    open_session,
    read_samples,
    report_parity,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

ROWS: Final = 16
OTHER_SIZE: Final = 32
# Layers whose configuration is a program, and operations on arbitrary functions.
CODE_CLASSES: Final = frozenset({"Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
FUNCTIONS: Final = frozenset(  # what a configuration may name as a function: activations
    {
        "celu",
        "elu",
        "exponential",
        "gelu",
        "glu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softmax",
        "softplus",
        "softsign",
        "sparse_plus",
        "sparsemax",
        "squareplus",
        "swish",
        "tanh",
        "tanh_shrink",
        "threshold",
    }
)
CODE_CLASSES_MORE: Final = frozenset({"TFOpLambda", "TFSMLayer", "SlicingOpLambda", "__lambda__"})


def convert(source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write the model as ONNX to ``target`` and compare the two."""
    check_size(source, options)
    is_zip = zipfile.is_zipfile(source)
    check_configuration(read_configuration(source, is_zip=is_zip, options=options), options)
    os.environ["KERAS_BACKEND"] = "torch"
    with contextlib.redirect_stdout(sys.stderr):  # progress, and advice to the author
        keras = framework("keras")
        if keras.backend.backend() != "torch":
            raise ConversionRefused("package_missing", "torch")
        framework("onnxscript")
        named = source
        if source.suffix not in {".keras", ".h5"}:  # Keras goes by the name
            named = target.with_name("source" + (".keras" if is_zip else ".h5"))
            named.write_bytes(source.read_bytes())
        try:
            model = keras.models.load_model(named, compile=False, safe_mode=True)
        except Exception as error:  # noqa: BLE001  a file of a stranger fails in any way
            raise ConversionRefused("unreadable", error) from None
        samples = read_samples(source, options)
        raw, outputs, count = export(model, target, samples, bound(options, "rows"))
    target.write_bytes(raw)
    source_format = "keras" if is_zip else "keras_h5"
    tools = versions_of("keras", "torch", "onnxscript", "onnx", "onnxruntime")
    origin = "seller" if samples else "drawn"
    return {
        "files": [target.name],
        "parity": report_parity(source_format, tools, count, origin, outputs),
        "kept": True,
        "notes": [],
        "figures": {},
    }


def read_configuration(source: Path, *, is_zip: bool, options: dict[str, Any]) -> bytes:
    """Read the model's configuration as bytes, bounded, or refuse."""
    most = bound(options, "config_size_bytes")
    if is_zip:
        if "config.json" not in check_zip(source, options):
            raise ConversionRefused("no_config", "config.json")
        try:
            with zipfile.ZipFile(source) as packed:
                if packed.getinfo("config.json").file_size > most:
                    raise ConversionRefused("config_too_large", most)
                return packed.read("config.json")
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ConversionRefused("unreadable", error) from None
    h5py = framework("h5py")
    try:
        with h5py.File(source, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ConversionRefused("unreadable", error) from None
    if text is None:
        raise ConversionRefused("no_config", "model_config")
    raw = text if isinstance(text, bytes) else str(text).encode()
    if len(raw) > most:
        raise ConversionRefused("config_too_large", f"{len(raw)} > {most}")
    return raw


def check_configuration(raw: bytes, options: dict[str, Any]) -> None:
    """Refuse a configuration that nests too deep, or holds or names code, wherever it stands."""
    try:
        text = raw.decode()
        depth = deepest = 0
        for mark in re.finditer(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', text, re.DOTALL):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
            deepest = max(deepest, depth)
        if deepest > bound(options, "config_depth"):
            raise ConversionRefused("config_too_deep", deepest)
        configuration = json.loads(text)
    except ValueError as error:
        raise ConversionRefused("unreadable", error) from None
    if not isinstance(configuration, dict):
        raise ConversionRefused("no_config", type(configuration).__name__)
    waiting: list[Any] = [configuration]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
            kind, module = str(one.get("class_name", "")), str(one.get("module") or "keras")
            if kind in CODE_CLASSES | CODE_CLASSES_MORE:
                inner = one.get("config")
                name = inner.get("name") if isinstance(inner, dict) else ""
                raise ConversionRefused("code", f"{name or kind} ({kind})")
            if kind == "function":  # Keras writes them with the module ``builtins``
                name = str(one.get("config"))
                if name not in FUNCTIONS:
                    raise ConversionRefused("code", f"{module}.{name}")
            elif module.partition(".")[0] != "keras":
                raise ConversionRefused("code", f"{module}.{kind}")
        elif isinstance(one, list):
            waiting += one


def export(
    model: Any,  # noqa: ANN401  Keras has no types
    target: Path,
    samples: dict[str, Any],
    most: int,
) -> tuple[bytes, list[tuple[str, Any, Any]], int]:
    """Export a loaded model; return its bytes, and its outputs beside Keras's own."""
    onnx = framework("onnx")
    raw_file = target.with_name(target.name + ".export")
    try:
        shapes = [tuple(one.shape) for one in model.inputs]
    except Exception as error:  # noqa: BLE001  a model that was never called has no inputs
        raise ConversionRefused("not_exportable", error) from None
    chance = np.random.default_rng(SEED)
    probe = [
        np.asarray(
            chance.uniform(
                -1, 1, [size or (1, OTHER_SIZE)[place > 0] for place, size in enumerate(shape)]
            ),
            dtype=np.float32,
        )
        for shape in shapes
    ]
    try:
        model.predict(probe if len(probe) > 1 else probe[0], verbose=0)  # export wants one call
        model.export(str(raw_file), format="onnx", verbose=False)
        exported = onnx.load(str(raw_file))
    except Exception as error:  # noqa: BLE001  an exporter fails in any way
        raise ConversionRefused("not_exportable", error) from None
    finally:
        for left in raw_file.parent.glob(raw_file.name + "*"):
            left.unlink()
    name_outputs(onnx, exported, [str(name) for name in model.output_names])
    raw = check_model(exported)
    session = open_session(raw)
    if samples:
        inputs: dict[str, Any] | None = match_samples(session, samples, most)
    else:
        inputs = draw_inputs(session, ROWS, OTHER_SIZE)
    if inputs is None:
        raise ConversionRefused("not_exportable", [one.type for one in session.get_inputs()])
    arrays = list(inputs.values())
    try:
        said = model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)
    except Exception as error:  # noqa: BLE001  a model of a stranger fails in any way
        raise ConversionRefused("not_runnable", error) from None
    references = list(said.values()) if isinstance(said, dict) else said
    references = references if isinstance(references, list) else [references]
    names = [one.name for one in session.get_outputs()]
    got = run(session, inputs)
    if len(references) != len(got):
        raise ConversionRefused("not_exportable", f"{len(got)} outputs, not {len(references)}")
    return raw, list(zip(names, references, got, strict=True)), len(arrays[0])


def name_outputs(onnx: Any, exported: Any, names: list[str]) -> None:  # noqa: ANN401  no types
    """Give outputs that the exporter only numbered the names they have in Keras."""
    graph = exported.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    if len(names) != len(graph.output) or taken & set(names) or len(set(names)) < len(names):
        return
    for output, name in zip(graph.output, names, strict=True):
        if output.name.isdigit():
            graph.node.append(onnx.helper.make_node("Identity", [output.name], [name]))
            output.name = name
