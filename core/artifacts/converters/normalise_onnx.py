"""Normalise an ONNX file without loss: what the runtime may take for constant is made constant.

* Initialisers leave the inputs of the graph (below IR 4 they had to stand there; from IR 4 on they
  are defaults that a caller may replace, so the runtime cannot fold them), the IR version becomes
  at least 4, equal opset rows become one.
* Only the outer graph is touched: nodes, functions and graphs inside nodes stay as they are.
* A model with tensors in other files is left alone: it would have to be copied with them.
* The result is kept only if its outputs agree and it is not slower.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import statistics
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

IR_VERSION_LEAST: Final = 4
ROWS: Final = 4
OTHER_SIZES: Final = (8, 1, 32, 224)  # tried in turn for open dimensions that are no batch
ROUNDS: Final = 15
BLOCK_NS: Final = 10_000_000  # one block of calls, long against the clock and the scheduler
CALLS_MOST: Final = 100
TIMING_NS_MOST: Final = 10_000_000_000
SLOWER: Final = 1.05  # equal models differ by up to 3 in 100 between runs on a shared machine


def convert(source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write the normalised model to ``target`` if it is worth keeping, and say what came of it."""
    check_size(source, options)
    raw = source.read_bytes()
    onnx = framework("onnx")
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # noqa: BLE001  protobuf's errors differ between its versions
        raise ConversionRefused("unreadable", error) from None
    if has_external_data(onnx, model):
        return left("external_data")
    changes = normalise(model)
    if not changes:
        return left("nothing_to_do")
    normal = check_model(model)
    before, after = open_session(raw), open_session(normal)

    samples = read_samples(source, options)
    if samples:
        inputs: dict[str, Any] | None = match_samples(before, samples, bound(options, "rows"))
        other = OTHER_SIZES[0]
        reference = run(before, inputs or {})
    else:
        inputs, other, reference = run_drawn(before)
    if inputs is None:
        return left("not_compared", *changes)
    rows = max((np.shape(array)[0] for array in inputs.values() if np.ndim(array)), default=1)
    try:
        outputs = [
            (one.name, as_array(ref), as_array(got))
            for one, ref, got in zip(
                before.get_outputs(), reference, run(after, inputs), strict=True
            )
        ]
    except ValueError:  # sequences of different lengths: nothing to subtract
        return left("not_compared", *changes)
    origin = "seller" if samples else "drawn"
    tools = versions_of("onnx", "onnxruntime")
    parity = report_parity("onnx", tools, int(rows), origin, outputs)
    if parity["verdict"] != "pass":
        return left("outputs_differ", *changes, parity=parity)

    single = None if samples else draw_inputs(before, 1, other)
    ratio, figures = time_both(before, after, inputs if single is None else single)
    if ratio > SLOWER:
        return left("slower", *changes, parity=parity, figures=figures)
    target.write_bytes(normal)
    return {
        "files": [target.name],
        "parity": parity,
        "kept": True,
        "notes": changes,
        "figures": figures,
    }


def left(
    *notes: str, parity: dict[str, Any] | None = None, figures: dict[str, int] | None = None
) -> dict[str, Any]:
    """Say that the source stays as it is, and why."""
    return {
        "files": [],
        "parity": parity or report_parity("onnx", {}, 0, "none", []),
        "kept": False,
        "notes": list(notes),
        "figures": figures or {},
    }


def normalise(model: Any) -> list[str]:  # noqa: ANN401  onnx's ModelProto is not typed
    """Change ``model`` in place; return what was changed, as stable words."""
    changes = []
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer}
    fixed |= {tensor.values.name for tensor in graph.sparse_initializer}
    kept = [one for one in graph.input if one.name not in fixed]
    if len(kept) < len(graph.input):
        # From IR 4 on, an initialiser among the inputs is a default that a caller may replace.
        is_default = model.ir_version >= IR_VERSION_LEAST
        changes.append("defaults_fixed" if is_default else "initialisers_fixed")
        del graph.input[:]
        graph.input.extend(kept)
    if model.ir_version < IR_VERSION_LEAST:
        changes.append("ir_raised")
        model.ir_version = IR_VERSION_LEAST
    rows = ["" if row.domain == "ai.onnx" else row.domain for row in model.opset_import]
    if len(set(rows)) < len(rows):
        changes.append("opset_merged")  # by check_model, which also refuses rows that differ
    return changes


def has_external_data(onnx: Any, model: Any) -> bool:  # noqa: ANN401  onnx's protos are not typed
    """Say whether any tensor, also inside nodes, lies in another file."""
    waiting = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while waiting or nodes:
        tensors = []
        if waiting:
            graph = waiting.pop()
            tensors += graph.initializer
            for sparse in graph.sparse_initializer:
                tensors += [sparse.values, sparse.indices]
            nodes += graph.node
        for node in nodes:
            for attribute in node.attribute:
                waiting += [*attribute.graphs]
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                tensors += [attribute.t, *attribute.tensors]
        nodes = []
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            return True
    return False


def run_drawn(session: Any) -> tuple[dict[str, Any] | None, int, list[Any]]:  # noqa: ANN401
    """Find drawn inputs that the model accepts: they, the size of open dimensions, its outputs."""
    for other in OTHER_SIZES:
        inputs = draw_inputs(session, ROWS, other)
        if inputs is None:
            continue
        try:
            return inputs, other, run(session, inputs)
        except ConversionRefused:
            continue
    return None, 0, []


def as_array(value: Any) -> Any:  # noqa: ANN401  a tensor, or a sequence of maps or tensors
    """Bring one output of the runtime to an array; ``ValueError`` where it has no shape."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([[row[key] for key in sorted(row)] for row in value])
    return np.asarray(value)


def time_both(before: Any, after: Any, inputs: dict[str, Any]) -> tuple[float, dict[str, int]]:  # noqa: ANN401
    """Time both models in turns; return the median ratio of a round, and the median times."""
    clock = time.perf_counter_ns
    for session in (before, after):
        session.run(None, inputs)
    begin = clock()
    before.run(None, inputs)
    call_ns = max(clock() - begin, 1)
    calls = max(1, min(CALLS_MOST, BLOCK_NS // call_ns))
    rounds = max(3, min(ROUNDS, TIMING_NS_MOST // (2 * calls * call_ns)))
    took: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds):
        for is_after in (False, True) if number % 2 else (True, False):
            session = after if is_after else before
            begin = clock()
            for _ in range(calls):
                session.run(None, inputs)
            took[is_after].append((clock() - begin) / calls)
    ratio = statistics.median(new / old for old, new in zip(took[False], took[True], strict=True))
    return ratio, {
        "p50_before_ns": round(statistics.median(took[False])),
        "p50_after_ns": round(statistics.median(took[True])),
    }


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
