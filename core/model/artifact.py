"""What inspection finds in an Artifact, as values: Model facts, and what came of a Conversion.

* Facts come out of a Worker that looked at a stranger's file, so they are decoded
  like anything from outside: bounded, typed, unknown fields forbidden.
* A fact is what the file says of itself.  Whether it is true is measured elsewhere.

What may be listed, run or certified is decided elsewhere, from ``format``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from hanse.core.limits import (
    FACT_NAME_CHARACTERS_MAX,
    FACT_TEXT_CHARACTERS_MAX,
    FACT_VALUES_MAX,
    TENSOR_DIMENSIONS_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
)

Format = Literal[
    "onnx",
    "tflite",
    "gguf",
    "safetensors",
    "skops",
    "keras_h5",
    "keras",
    "pt2",
    "savedmodel",
    "torchscript",
    "pytorch",
    "pickle",
    "joblib",
    "npy",
    "npz",
    "ort",
    "archive",
    "unknown",
]

READABLE: Final[frozenset[str]] = frozenset({"onnx", "tflite", "gguf", "safetensors"})
RUNNABLE: Final[frozenset[str]] = frozenset({"onnx", "tflite"})  # by a Worker, as they are
CONVERTIBLE: Final[dict[str, str]] = {  # to ONNX, and the extra it needs
    "skops": "sklearn",
    "keras_h5": "keras",
    "keras": "torch",
    "pt2": "torch",
}
MAY_CARRY_CODE: Final[frozenset[str]] = frozenset(
    {
        "keras_h5",
        "keras",
        "skops",
        "pt2",
        "savedmodel",
        "torchscript",
        "pytorch",
        "pickle",
        "joblib",
        "npy",
        "npz",
        "ort",
        "archive",
        "unknown",
    }
)

Name = Annotated[str, msgspec.Meta(max_length=FACT_NAME_CHARACTERS_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=FACT_TEXT_CHARACTERS_MAX)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Dimension = Annotated[int, msgspec.Meta(ge=0, le=2**62)] | Name | None  # number, symbol, unknown


class TensorFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output: ``shape`` holds numbers, symbols, or ``None`` where nothing is said."""

    name: Name
    dtype: Name
    shape: Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=TENSOR_DIMENSIONS_MAX)] | None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model file says of itself.

    ``parameters`` counts stored weights, ``operators`` how often each stands in the
    graph, ``opset`` the version of each operator domain; ``metadata`` and ``suggested``
    (title, labels, licence, base model, ...) are the file's words, cut to their limits.
    ``warnings`` are stable codes of the catalogue (``facts.warning.WORD``).
    """

    format: Format
    file: Name
    inputs: Annotated[
        tuple[TensorFacts, ...], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)
    ] = ()
    outputs: Annotated[
        tuple[TensorFacts, ...], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)
    ] = ()
    format_version: Name = ""  # ONNX: the IR version; GGUF: its version
    producer: Name = ""
    graph_name: Name = ""
    opset: Annotated[dict[Name, Natural], msgspec.Meta(max_length=FACT_VALUES_MAX)] = {}
    operators: Annotated[dict[Name, Natural], msgspec.Meta(max_length=FACT_VALUES_MAX)] = {}
    nodes: Natural = 0
    tensors: Natural = 0
    parameters: Natural = 0
    dtypes: Annotated[dict[Name, Natural], msgspec.Meta(max_length=FACT_VALUES_MAX)] = {}
    quantisation: Name = ""
    architecture: Name = ""
    context: Natural = 0
    external_files: Annotated[tuple[Name, ...], msgspec.Meta(max_length=FACT_VALUES_MAX)] = ()
    metadata: Annotated[dict[Name, Text], msgspec.Meta(max_length=FACT_VALUES_MAX)] = {}
    suggested: Annotated[dict[Name, Text], msgspec.Meta(max_length=FACT_VALUES_MAX)] = {}
    warnings: Annotated[tuple[Name, ...], msgspec.Meta(max_length=FACT_VALUES_MAX)] = ()


class OutputParity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far one output lies from its reference; figures in billionths (1e-9), cut at 2**62.

    ``labels_equal`` of ``labels`` compared; both 0 where the output is no label or score.
    """

    name: Name
    max_abs_nano: Natural
    max_rel_nano: Natural
    labels_equal: Natural
    labels: Natural


class Parity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a converted or normalised model agrees with what it was made from.

    ``origin`` says where the inputs came from: ``seller``, ``drawn`` (at random, to the
    signature) or ``none``.  Tolerance: ``rtol_nano`` times the reference plus ``atol_nano``.
    """

    source_format: Format
    tools: Annotated[dict[Name, Name], msgspec.Meta(max_length=FACT_VALUES_MAX)]
    inputs: Natural
    origin: Literal["seller", "drawn", "none"]
    outputs: Annotated[
        tuple[OutputParity, ...], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)
    ]
    rtol_nano: Natural
    atol_nano: Natural
    verdict: Literal["pass", "fail", "not_shown"]
