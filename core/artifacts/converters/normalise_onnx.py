"""Normalise an ONNX file without loss: what the runtime may take for constant is made constant.

* Initialisers leave the inputs of the graph (below IR 4 they had to stand there; from IR 4 on they
  are defaults that a caller may replace, so the runtime cannot fold them), the IR version becomes
  at least 4, equal opset rows become one.
* Only the outer graph is touched: nodes, functions and graphs inside nodes stay as they are.
* A model with tensors in other files is left alone: it would have to be copied with them.
* The result is kept only if its outputs agree and it is not slower.
"""

from __future__ import annotations

import statistics
import time
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
    draw_inputs,
    match_samples,
    open_session,
    read_samples,
    report_parity,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

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
