"""Reads an ONNX file: our own rules, then the checker, then the runtime; and its facts.

* The checker alone passes custom operators, endless loops and 256 GiB tensors (measured), so
  a session is made too: it allocates, and with all optimisations off it computes nothing.
* Loops are allowed and said; what bounds them is the time limit of a run.

Whether the model computes what its seller says is measured elsewhere.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import onnx
import onnx.checker
import onnx.shape_inference
import onnxruntime  # type: ignore[import-untyped]  # ships no types
from google.protobuf.message import DecodeError
from onnx import ModelProto, TypeProto, defs
from onnxruntime.capi import (  # type: ignore[import-untyped]
    _pybind_state as _runtime,  # nothing public says which opsets it knows
)

from hanse.core.certify.adapters.onnx_graph import domain_of, dtype_name, walk
from hanse.core.certify.adapters.refusal import Unfit, Words, counted, name
from hanse.core.limits import ONNX_SIZE_BYTES_MAX, TENSORS_OF_A_SIGNATURE_MAX
from hanse.core.model.artifact import ModelFacts, TensorFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from onnx import ValueInfoProto

    from hanse.core.certify.adapters.onnx_graph import Walked

_IR_VERSION_FROM: Final = 3
_SAYS_NOTHING: Final = re.compile(  # names that tools give, not people
    r"(?i)^(|graph|g|main|main_graph|model|torch[-_]jit.*|tf2onnx|onnx|[0-9a-f]{32}|CNTKGraph)$"
)
_SUGGESTIONS: Final = {
    "title": "title",
    "name": "title",
    "model_name": "title",
    "description": "summary",
    "license": "licence",
    "licence": "licence",
    "author": "author",
    "version": "version",
    "labels": "labels",
    "classes": "labels",
    "class_names": "labels",
    "names": "labels",
    "task": "task",
}
_QUANTISING: Final = re.compile(r"Quantize|^QLinear|Integer|NBits|^Q[A-Z]|Bnb4")
OUT_OF_MEMORY: Final = ("bad_alloc", "bad allocation", "Failed to allocate memory")


def versions() -> dict[str, str]:
    """Name the readers of this format and their versions."""
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def opset_most() -> int:
    """Return the newest ``ai.onnx`` opset that both the checker and the runtime know."""
    known = max(
        (one.since_version for one in _runtime.get_all_operator_schema() if one.domain == ""),
        default=0,
    )
    return min(known, defs.onnx_opset_version())


def read(stage: Path, file: str) -> ModelFacts:
    """Read the facts of ``file``, or raise ``Unfit`` with the first rule it breaks."""
    path = stage / file
    size = path.stat().st_size
    if size > ONNX_SIZE_BYTES_MAX:
        raise Unfit("file_size", size, ONNX_SIZE_BYTES_MAX)
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError as error:
        raise Unfit("not_readable", "protobuf", "ONNX") from error
    warnings: list[str] = []
    opset = _opset(model, warnings)
    walked = walk(model, path.parent)
    facts = _facts(model, file, opset, walked, warnings)
    del model
    _check(path, stage)
    _load(path, stage)
    return facts


def _opset(model: ModelProto, warnings: list[str]) -> dict[str, int]:
    if not _IR_VERSION_FROM <= model.ir_version <= onnx.IR_VERSION:
        allowed = f"{_IR_VERSION_FROM} .. {onnx.IR_VERSION}"
        raise Unfit("ir_version", model.ir_version, allowed)
    opset: dict[str, int] = {}
    for row in model.opset_import:
        domain = domain_of(row.domain)
        if domain in opset:
            if opset[domain] != row.version:
                found = f"{domain or 'ai.onnx'} {opset[domain]}, {row.version}"
                raise Unfit("opset_conflict", found, "")
            warnings.append("opset_twice")
        opset[domain] = row.version
    newest = opset_most()
    if not 1 <= opset.get("", 1) <= newest:
        raise Unfit("opset_newer", opset[""], newest)
    return opset


def _check(path: Path, stage: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except MemoryError:
        raise
    except Exception as error:  # whatever its C++ raises means: not valid
        raise Unfit("checker", runtime_words(error, stage), "") from error


def _load(path: Path, stage: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it says in full is in the exception
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:
        if any(words in str(error) for words in OUT_OF_MEMORY):
            raise MemoryError from error
        raise Unfit("runtime", runtime_words(error, stage), "") from error


def runtime_words(error: Exception, stage: Path) -> str:
    """Cut what a C++ library says to its sentence: no paths, no addresses, one line."""
    said = str(error).replace(f"{stage}/", "").replace(str(stage), "")
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", said)
    said = re.sub(r"/\S+?\.(h|cc|cpp):\d+ .*?\) ", "", said)
    return name(" ".join(said.split()))[:300]


# --- facts --------------------------------------------------------------------------------------


def _facts(
    model: ModelProto, file: str, opset: dict[str, int], walked: Walked, warnings: list[str]
) -> ModelFacts:
    graph = model.graph
    stored = {one.name for one in graph.initializer}
    stored |= {one.values.name for one in graph.sparse_initializer}
    given = [one for one in graph.input if one.name not in stored]
    for count in (len(given), len(graph.output)):
        if count > TENSORS_OF_A_SIGNATURE_MAX:
            raise Unfit("signature", count, TENSORS_OF_A_SIGNATURE_MAX)
    if len(given) < len(graph.input):
        warnings.append("initializers_as_inputs")
    if walked.has_loop:
        warnings.append("loop")
    if walked.has_custom_function:
        warnings.append("own_functions")
    if model.training_info:
        warnings.append("training_graph")
    inputs = _signature(given)
    words = _words(model, walked, inputs)
    return ModelFacts(
        format="onnx",
        file=file,
        inputs=inputs,
        outputs=_signature(graph.output),
        format_version=str(model.ir_version),
        producer=name(f"{model.producer_name} {model.producer_version}".strip()),
        graph_name=name(graph.name),
        opset={name(key or "ai.onnx"): version for key, version in opset.items()},
        operators=counted(walked.operators),
        nodes=walked.nodes,
        tensors=walked.initializers,
        parameters=min(walked.parameters, 2**62),
        dtypes=counted(walked.dtypes),
        quantisation=_quantisation(walked.operators, walked.dtypes),
        external_files=tuple(name(one) for one in sorted(walked.external)),
        metadata=words.metadata,
        suggested=words.suggested,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _words(model: ModelProto, walked: Walked, inputs: tuple[TensorFacts, ...]) -> Words:
    words = Words()
    for row in model.metadata_props:
        words.say(row.key, row.value)
        if suggested := _SUGGESTIONS.get(row.key.lower()):
            words.suggest(suggested, row.value)
    if walked.labels:
        words.suggest("labels", json.dumps(walked.labels, ensure_ascii=False))
    if not _SAYS_NOTHING.match(model.graph.name):
        words.suggest("title", model.graph.name)
    words.suggest("summary", model.doc_string)
    if any(_is_picture(one) for one in inputs):
        words.suggest("modality_in", "image")
    return words


def _is_picture(tensor: TensorFacts) -> bool:
    shape = tensor.shape
    return shape is not None and len(shape) == 4 and (shape[1] in (1, 3) or shape[3] in (1, 3))


def _signature(values: Iterable[ValueInfoProto]) -> tuple[TensorFacts, ...]:
    return tuple(_tensor(one) for one in values)


def _tensor(value: ValueInfoProto) -> TensorFacts:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return TensorFacts(name=name(value.name), dtype=name(_type_name(value.type)), shape=None)
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            one.dim_value
            if one.HasField("dim_value")
            else (name(one.dim_param) or None if one.HasField("dim_param") else None)
            for one in tensor.shape.dim
        )
    return TensorFacts(name=name(value.name), dtype=dtype_name(tensor.elem_type), shape=shape)


def _type_name(kind: TypeProto, depth: int = 0) -> str:
    which = kind.WhichOneof("value") or "unknown"
    if depth > 8:
        return which
    match which:
        case "tensor_type":
            return f"tensor({dtype_name(kind.tensor_type.elem_type)})"
        case "sequence_type":
            return f"sequence({_type_name(kind.sequence_type.elem_type, depth + 1)})"
        case "map_type":
            key = dtype_name(kind.map_type.key_type)
            return f"map({key}, {_type_name(kind.map_type.value_type, depth + 1)})"
        case "optional_type":
            return f"optional({_type_name(kind.optional_type.elem_type, depth + 1)})"
        case _:
            return which


def _quantisation(operators: Mapping[str, int], dtypes: Mapping[str, int]) -> str:
    if any(_QUANTISING.search(one.rpartition("::")[2]) for one in operators):
        for kind in ("int2", "uint2", "int4", "uint4", "float8"):
            if any(one.startswith(kind) for one in dtypes):
                return kind
        return "int4" if any("NBits" in one or "Bnb4" in one for one in operators) else "int8"
    largest = max(dtypes, key=lambda one: dtypes[one], default="")
    return largest if largest in ("float16", "bfloat16") else ""
