"""Formats that may carry code: recognised, measured as data where that is safe, never loaded.

* A pickle is not read at all.
* Of a zip file the directory and the checksums are read; of a JSON member in it the names of
  layers and types, so that a person sees what a loader would have been asked for.
* Arrays tell their type and shape in a header of text.

What would come out of loading one is not known here, and nobody here finds out.
"""

from __future__ import annotations

import ast
import json
import math
import zipfile
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, Final

from hanse.core.certify.adapters import zip_members
from hanse.core.certify.adapters.refusal import Unfit, Words, counted, name
from hanse.core.limits import (
    NPY_HEADER_SIZE_BYTES_MAX,
    TENSOR_DIMENSIONS_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
)
from hanse.core.model.artifact import ModelFacts, TensorFacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hanse.core.model.artifact import Format

_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
_NEVER_LOADED: Final = "never_loaded"
_KERAS_OWN: Final = ("keras.", "tensorflow.keras.", "builtins.")
_LAYERS_THAT_RUN_CODE: Final = frozenset({"Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda"})


def read_opaque(file_format: Format, stage: Path, file: str) -> ModelFacts:
    """Say the format and no more; a zip file must keep the rules of zip files."""
    path = stage / file
    words = Words()
    with path.open("rb") as stream:
        begins_as_zip = stream.read(4) in _ZIP_MAGIC
    if begins_as_zip or zipfile.is_zipfile(path):  # behind other bytes it is one all the same
        members = zip_members.checked(path)
        words.say("members", str(len(members.names)))
        words.say("unpacked_bytes", str(members.unpacked_bytes))
    return ModelFacts(
        format=file_format, file=file, metadata=words.metadata, warnings=(_NEVER_LOADED,)
    )


def read_skops(stage: Path, file: str) -> ModelFacts:
    """List the types a ``.skops`` file asks for, from its ``schema.json``."""
    members = zip_members.checked(stage / file)
    schema = _json(members.text("schema.json"), "schema.json")
    types: Counter[str] = Counter()
    for node in _objects(schema):
        kind = node.get("__class__")
        if isinstance(kind, str):
            types[f"{node.get('__module__', '')}.{kind}"] += 1
    words = Words()
    words.say("types", ", ".join(sorted(types)))
    outermost = ""
    if isinstance(schema, dict):
        words.say("skops", str(schema.get("_skops_version", "")))
        outermost = str(schema.get("__class__", ""))
    return ModelFacts(
        format="skops",
        file=file,
        operators=counted(types),
        architecture=name(outermost),
        metadata=words.metadata,
        warnings=(_NEVER_LOADED,),
    )


def read_keras(stage: Path, file: str) -> ModelFacts:
    """Count the layers a ``.keras`` file names in its ``config.json``."""
    members = zip_members.checked(stage / file)
    words = Words()
    if "metadata.json" in members.names:
        metadata = _json(members.text("metadata.json"), "metadata.json")
        if isinstance(metadata, dict):
            words.say("keras", str(metadata.get("keras_version", "")))
    config = _json(members.text("config.json"), "config.json")
    return keras_facts("keras", file, config, words)


def keras_facts(file_format: Format, file: str, config: object, words: Words) -> ModelFacts:
    """Say which layers a Keras configuration names, and which of them would run code."""
    layers: Counter[str] = Counter()
    warnings = [_NEVER_LOADED]
    for node in _objects(config):
        kind = node.get("class_name")
        if not isinstance(kind, str):
            continue
        layers[kind] += 1
        module = node.get("module")
        if kind in _LAYERS_THAT_RUN_CODE:
            warnings.append("lambda_layer")
        if kind == "function":  # names something to call; CVE-2025-1550 called it
            warnings.append("function_in_config")
        if isinstance(module, str) and not f"{module}.".startswith(_KERAS_OWN):
            warnings.append("foreign_type")
            words.say(f"foreign_type.{module}.{kind}", "")
    title = config.get("config", {}) if isinstance(config, dict) else {}
    if isinstance(title, dict) and isinstance(title.get("name"), str):
        words.suggest("title", title["name"])
    return ModelFacts(
        format=file_format,
        file=file,
        operators=counted(layers),
        nodes=layers.total(),
        architecture=name(str(config.get("class_name", ""))) if isinstance(config, dict) else "",
        metadata=words.metadata,
        suggested=words.suggested,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def read_npy(stage: Path, file: str) -> ModelFacts:
    """Read type and shape of an array from its header."""
    path = stage / file
    with path.open("rb") as stream:
        dtype, shape, has_objects = _npy_header(stream, file)
    warnings = ("objects",) if has_objects else ()
    tensor = TensorFacts(name=file, dtype=dtype, shape=shape)
    return ModelFacts(
        format="npy",
        file=file,
        outputs=(tensor,),
        tensors=1,
        dtypes={dtype: min(math.prod(shape), 2**62)},
        warnings=warnings,
    )


def read_npz(stage: Path, file: str) -> ModelFacts:
    """Read types and shapes of the arrays of a ``.npz`` file."""
    path = stage / file
    members = zip_members.checked(path)
    dtypes: Counter[str] = Counter()
    tensors = []
    has_objects = False
    with zipfile.ZipFile(path) as opened:
        for member in members.names:
            with opened.open(member) as stream:
                dtype, shape, is_object = _npy_header(stream, member)
            dtypes[dtype] += math.prod(shape)
            has_objects |= is_object
            tensors.append(TensorFacts(name=name(member), dtype=dtype, shape=shape))
    return ModelFacts(
        format="npz",
        file=file,
        outputs=tuple(tensors[:TENSORS_OF_A_SIGNATURE_MAX]),
        tensors=len(tensors),
        dtypes=counted(dtypes),
        warnings=("objects",) if has_objects else (),
    )


def _npy_header(stream: IO[bytes], shown: str) -> tuple[str, tuple[int, ...], bool]:
    """Read the header of NEP 1: a Python literal, which is parsed as one and not evaluated."""
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise Unfit("header", shown, "NUMPY 1 .. 3")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > NPY_HEADER_SIZE_BYTES_MAX:
        raise Unfit("header_size", length, NPY_HEADER_SIZE_BYTES_MAX)
    try:
        row = ast.literal_eval(stream.read(length).decode("utf-8").strip())
        shape, kind = tuple(row["shape"]), row["descr"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise Unfit("header", shown, "descr, fortran_order, shape") from error
    if not all(type(one) is int and one >= 0 for one in shape):
        raise Unfit("dimension_negative", f"{shown}: {shape}", "0 ..")
    if len(shape) > TENSOR_DIMENSIONS_MAX:
        raise Unfit("dimensions", f"{shown}: {len(shape)}", TENSOR_DIMENSIONS_MAX)
    return name(str(kind)), shape, "O" in str(kind)


def _json(raw: bytes, member: str) -> Any:  # noqa: ANN401  JSON, looked at row by row
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unfit("header", f"{member}: {error}", "JSON") from error


def _objects(value: object) -> Iterator[dict[str, object]]:
    """Yield every JSON object inside ``value``, with a list of our own and no recursion."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
