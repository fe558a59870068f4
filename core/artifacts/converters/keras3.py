"""Convert a Keras 3 file to ONNX by Keras itself, on torch.

* Code in the file is looked for in its configuration, read as data, before Keras sees the file;
  and Keras loads it in safe mode, always.
* The reference of the Parity is the loaded model, on the seller's samples or drawn inputs.
* A legacy ``.h5`` is taken too: its layers may lie outside what can be read as data.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import math
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

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


# --- the same text in every converter, compared by a test: a converter is one file ------------

CONTRACT: Final = 1
RTOL: Final = 1e-4  # times the largest finite value of the reference
ATOL: Final = 1e-5
RTOL_HALF: Final = 1e-2  # where an output has half precision
ATOL_HALF: Final = 1e-3
NANO_MOST: Final = 2**62
SEED: Final = 0  # drawn inputs are the same every time
DRAWN_ELEMENTS_MOST: Final = 2**24
TYPES: Final[dict[str, Any]] = {  # numpy's scalar types have no common static type
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class ConversionRefused(Exception):
    """The file cannot be converted; ``code`` is a stable word, ``values["what"]`` what was met."""

    def __init__(self, code: str, what: object = "") -> None:
        """Cut what was met to what a person can read."""
        text = " ".join(str(what).split())
        super().__init__(f"{code}: {text}")
        self.code = code
        self.values = {"what": text if len(text) <= 300 else text[:299] + "\u2026"}
        self.detail = self.values  # the name the Worker looks for


def framework(name: str) -> Any:  # noqa: ANN401  a module without types
    """Import a package that need not be there, or refuse with its name."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConversionRefused("package_missing", error.name or name) from None


def bound(options: dict[str, Any], name: str) -> int:
    """Return one of the bounds that the caller must give."""
    return int(options[name])


def check_size(path: Path, options: dict[str, Any]) -> None:
    """Refuse a source larger than may be converted."""
    size, most = path.stat().st_size, bound(options, "source_size_bytes")
    if size > most:
        raise ConversionRefused("too_large", f"{size} > {most}")


def check_zip(path: Path, options: dict[str, Any]) -> list[str]:
    """Refuse a zip that unpacks to too much, hides or escapes; return its members' names."""
    try:
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ConversionRefused("unreadable", error) from None
    if len(members) > bound(options, "zip_members"):
        raise ConversionRefused("zip_unfit", f"{len(members)} members")
    size = sum(member.file_size for member in members)
    most = bound(options, "zip_factor") * path.stat().st_size + bound(options, "zip_spare_bytes")
    if size > most:
        raise ConversionRefused("zip_unfit", f"{size} > {most}")
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.flag_bits & 1 or ".." in parts or member.filename.startswith(("/", "\\")):
            raise ConversionRefused("zip_unfit", member.filename)
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ConversionRefused("zip_unfit", "one name twice")
    return names


def read_samples(source: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read the seller's samples (``.npz``), a name to an array; empty when there are none."""
    name = str(options.get("samples", ""))
    if not name:
        return {}
    path = source.parent / name
    if path.name != name:
        raise ConversionRefused("samples_unfit", name)
    if path.stat().st_size > bound(options, "samples_size_bytes"):
        raise ConversionRefused("samples_unfit", f"{path.stat().st_size} bytes")
    check_zip(path, options)
    try:
        with np.load(path, allow_pickle=False) as packed:
            arrays = {key: packed[key] for key in packed.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise ConversionRefused("samples_unfit", error) from None
    for key, array in arrays.items():
        if array.dtype.kind not in "biufUS" or array.ndim == 0:
            raise ConversionRefused("samples_unfit", f"{key}: {array.dtype} {array.shape}")
    return arrays


def open_session(model: bytes) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Load a model in the runtime, on one thread, or refuse with the runtime's reason."""
    runtime = framework("onnxruntime")
    settings = runtime.SessionOptions()
    settings.log_severity_level = 3  # or hundreds of KiB of warnings, one for each initialiser
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    try:
        return runtime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  the runtime's errors share no other base
        raise ConversionRefused("not_loadable", error) from None


def run(session: Any, inputs: dict[str, Any]) -> list[Any]:  # noqa: ANN401  as above
    """Run a model once, or refuse with the runtime's reason."""
    try:
        return list(session.run(None, inputs))
    except Exception as error:  # noqa: BLE001  as above
        raise ConversionRefused("not_runnable", error) from None


def draw_inputs(session: Any, rows: int, other: int) -> dict[str, Any] | None:  # noqa: ANN401
    """Draw inputs to the signature, or ``None`` when it asks for what cannot be drawn.

    An open first dimension becomes ``rows``, any other one ``other``; floats lie in [-1, 1),
    integers are 0 or 1.
    """
    chance = np.random.default_rng(SEED)
    drawn: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for one in session.get_inputs():
        kind = TYPES.get(one.type)
        if kind is None:
            return None
        shape = []
        for place, size in enumerate(one.shape):
            open_size = sizes.setdefault(str(size), rows if place == 0 else other)
            shape.append(size if isinstance(size, int) and size >= 0 else open_size)
        if math.prod(shape) > DRAWN_ELEMENTS_MOST:
            return None
        if kind is np.object_:
            drawn[one.name] = chance.choice(np.array(["a", "b"], dtype=object), shape)
        elif np.issubdtype(kind, np.floating):
            drawn[one.name] = chance.uniform(-1, 1, shape).astype(kind)
        else:
            drawn[one.name] = chance.integers(0, 2, shape).astype(kind)
    return drawn


def match_samples(session: Any, samples: dict[str, Any], rows: int) -> dict[str, Any]:  # noqa: ANN401
    """Give each input its sample: ``x`` where there is one input, else by name; cut to ``rows``."""
    wanted = session.get_inputs()
    matched = {}
    for one in wanted:
        array = samples.get("x") if len(wanted) == 1 and "x" in samples else samples.get(one.name)
        kind = TYPES.get(one.type)
        if array is None or kind is None:
            raise ConversionRefused("samples_unfit", f"{one.name} {one.type}")
        sizes = [size for size in one.shape if isinstance(size, int)]
        if array.ndim != len(one.shape) or not set(sizes) <= set(array.shape):
            raise ConversionRefused("samples_unfit", f"{one.name}: {array.shape}, {one.shape}")
        matched[one.name] = array[:rows].astype(kind)
    return matched


def compare(name: str, reference: Any, got: Any, rtol: float, atol: float) -> dict[str, Any]:  # noqa: ANN401
    """Say how far one output lies from its reference; ``ok`` is taken off before it is told."""
    reference, got = np.asarray(reference), np.asarray(got)
    if reference.shape != got.shape:
        return {"name": name, "max_abs": math.inf, "max_rel": math.inf, "equal": 0, "of": 0}
    if reference.dtype.kind not in "fc" or got.dtype.kind not in "fc":
        same = reference.astype(str) == got.astype(str)
        if reference.dtype.kind in "biuf" and got.dtype.kind in "biuf":
            same = reference == got
        return {
            "name": name,
            "max_abs": 0.0,
            "max_rel": 0.0,
            "equal": int(same.sum()),
            "of": same.size,
            "unequal": ~same,
        }
    wide, other = reference.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True):
        return {"name": name, "max_abs": math.inf, "max_rel": math.inf, "equal": 0, "of": 0}
    top = float(np.abs(wide[finite]).max(initial=0.0))
    largest = float(np.abs(wide[finite] - other[finite]).max(initial=0.0))
    allowed = rtol * top + atol
    said = {
        "name": name,
        "max_abs": largest,
        "max_rel": largest / top if top else largest,
        "equal": 0,
        "of": 0,
        "far": not largest <= allowed,
    }
    if wide.ndim == 2 and wide.shape[1] > 1:  # scores of classes: the label is the largest
        said["equal"] = int((wide.argmax(1) == other.argmax(1)).sum())
        said["of"] = wide.shape[0]
        best = np.sort(np.nan_to_num(wide), axis=1)
        said["tied"] = best[:, -1] - best[:, -2] <= 2 * allowed
    return said


def report_parity(
    source_format: str,
    tools: dict[str, str],
    count: int,
    origin: str,
    outputs: list[tuple[str, Any, Any]],
    no_scores: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Compare outputs (name, reference, got); a label may differ where its scores are tied.

    ``no_scores`` names the outputs whose largest column says nothing.
    """
    half = any(np.asarray(got).dtype == np.float16 for _, _, got in outputs)
    rtol, atol = (RTOL_HALF, ATOL_HALF) if half else (RTOL, ATOL)
    rows = [compare(name, reference, got, rtol, atol) for name, reference, got in outputs]
    tied = [row["tied"] for row in rows if "tied" in row and row["name"] not in no_scores]
    is_far = False
    for row in rows:
        if row["name"] in no_scores and "tied" in row:
            row["equal"] = row["of"] = 0
        unequal = row.get("unequal")
        if unequal is not None:
            excused = [mask for mask in tied if mask.shape == unequal.shape]
            is_far |= bool((unequal & ~excused[0] if excused else unequal).any())
        else:
            is_far |= bool(row.get("far", True))
    return {
        "source_format": source_format,
        "tools": tools,
        "inputs": count,
        "origin": origin,
        "outputs": [
            {
                "name": row["name"],
                "max_abs_nano": to_nano(row["max_abs"]),
                "max_rel_nano": to_nano(row["max_rel"]),
                "labels_equal": row["equal"],
                "labels": row["of"],
            }
            for row in rows
        ],
        "rtol_nano": to_nano(rtol),
        "atol_nano": to_nano(atol),
        "verdict": "not_shown" if not rows else "fail" if is_far else "pass",
    }


def to_nano(value: float) -> int:
    """Round up to billionths, cut where a Parity ends."""
    if not math.isfinite(value):
        return NANO_MOST
    return min(math.ceil(round(value * 1e9, 6)), NANO_MOST)


def check_model(model: Any) -> bytes:  # noqa: ANN401  onnx's ModelProto is not typed
    """Merge equal opset rows, check the model in full and return its bytes, or refuse."""
    onnx = framework("onnx")
    versions: dict[str, int] = {}
    for row in model.opset_import:
        domain = "" if row.domain == "ai.onnx" else row.domain
        if versions.setdefault(domain, row.version) != row.version:
            raise ConversionRefused("opset_twice", domain or "ai.onnx")
    del model.opset_import[:]
    for domain, version in versions.items():
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))
    try:
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
    except Exception as error:  # noqa: BLE001  checker, inference and protobuf share no other base
        raise ConversionRefused("not_valid", error) from None


def versions_of(*packages: str) -> dict[str, str]:
    """Return the version of each package, as a Parity names its tools."""
    return {name: importlib.metadata.version(name) for name in packages}


def answer_request() -> None:
    """Read one request on standard input, and print what came of it as the last line."""
    request = json.loads(sys.stdin.read())
    options = request["options"]
    answer: dict[str, Any]
    try:
        answer = {"made": convert(Path(request["source"]), Path(request["target"]), options)}
    except ConversionRefused as refusal:
        answer = {"refused": {"code": refusal.code, "values": refusal.values}}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    answer_request()
