"""Reads a TFLite file as data: tables by hand, every offset checked before it is followed.

* Nothing of the file is trusted: not a table's size, not a vector's length, not an index.
* Tables may be shared and so be met again and again; how many are looked at is bounded.
* Constants have the bytes their shape and type ask for.

The layout is flatbuffers' (its public internals document) and the field numbers are those of
the format's public schema.  What an operator computes is not known here.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.certify.adapters.refusal import Unfit, Words, counted, name
from hanse.core.certify.adapters.tflite_operators import CUSTOM, OPERATORS
from hanse.core.limits import (
    FACT_TEXT_CHARACTERS_MAX,
    TENSOR_DIMENSIONS_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
    TFLITE_ELEMENTS_MAX,
    TFLITE_SIZE_BYTES_MAX,
    TFLITE_TABLES_MAX,
)
from hanse.core.model.artifact import ModelFacts, TensorFacts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_VERSION: Final = 3
_DTYPES: Final = (  # TensorType: name and bits; None where the bytes follow from no shape
    ("float32", 32),
    ("float16", 16),
    ("int32", 32),
    ("uint8", 8),
    ("int64", 64),
    ("string", None),
    ("bool", 8),
    ("int16", 16),
    ("complex64", 64),
    ("int8", 8),
    ("float64", 64),
    ("complex128", 128),
    ("uint64", 64),
    ("resource", None),
    ("variant", None),
    ("uint32", 32),
    ("uint16", 16),
    ("int4", 4),
    ("bfloat16", 16),
    ("int2", 2),
    ("uint4", 4),
    ("float8e4m3fn", 8),
    ("float8e5m2", 8),
)
_QUANTISED: Final = frozenset({"int8", "uint8", "int16", "int4", "int2", "uint4"})
_INLINE_DATA_FROM: Final = 2  # Buffer.offset of 0 or 1 means: the bytes are in the vector


def read(stage: Path, file: str) -> ModelFacts:
    """Read the facts of ``file``, or raise ``Unfit`` with the first rule it breaks."""
    path = stage / file
    size = path.stat().st_size
    if size > TFLITE_SIZE_BYTES_MAX:
        raise Unfit("file_size", size, TFLITE_SIZE_BYTES_MAX)
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw,
    ):
        return _Model(_Bytes(raw)).facts(file)


class _Bytes:
    """The file, read at checked places only, and a budget of tables."""

    def __init__(self, raw: mmap.mmap) -> None:
        self._raw = raw
        self.size = len(raw)
        self._tables = 0
        self._elements = 0

    def number(self, form: str, at: int) -> int:
        width = struct.calcsize(form)
        if at < 0 or at + width > self.size:
            raise Unfit("offset", at, self.size)
        return int(struct.unpack_from(form, self._raw, at)[0])

    def slice(self, at: int, count: int) -> bytes:
        self.check(at, count)
        return self._raw[at : at + count]

    def check(self, at: int, count: int) -> None:
        if at < 0 or at + count > self.size:
            raise Unfit("offset", at + count, self.size)

    def spend(self, elements: int) -> None:
        self._elements += elements
        if self._elements > TFLITE_ELEMENTS_MAX:
            raise Unfit("elements", self._elements, TFLITE_ELEMENTS_MAX)

    def table(self, at: int) -> _Table:
        self._tables += 1
        if self._tables > TFLITE_TABLES_MAX:
            raise Unfit("tables", self._tables, TFLITE_TABLES_MAX)
        return _Table(self, at)


class _Table:
    """One table: its fields by number, each at a checked place."""

    def __init__(self, raw: _Bytes, at: int) -> None:
        self._raw = raw
        self._at = at
        self._fields = at - raw.number("<i", at)
        self._fields_bytes = raw.number("<H", self._fields)
        self._own_bytes = raw.number("<H", self._fields + 2)
        raw.check(self._fields, self._fields_bytes)
        raw.check(at, self._own_bytes)

    def number(self, field: int, form: str, default: int = 0) -> int:
        place = self._place(field)
        return default if place is None else self._raw.number(form, place)

    def text(self, field: int) -> str:
        at, count = self._vector(field, 1)
        kept = self._raw.slice(at, min(count, FACT_TEXT_CHARACTERS_MAX * 4))
        self._raw.spend(len(kept) // 4)
        return kept.decode("utf-8", "replace")

    def data(self, field: int) -> tuple[int, int]:
        """Return where a vector of bytes lies and how long it is; nothing of it is read."""
        return self._vector(field, 1)

    def numbers(self, field: int) -> tuple[int, ...]:
        at, count = self._vector(field, 4)
        self._raw.spend(count)
        return struct.unpack(f"<{count}i", self._raw.slice(at, count * 4))

    def tables(self, field: int) -> list[_Table]:
        at, count = self._vector(field, 4)
        found = []
        for number in range(count):
            place = at + 4 * number
            found.append(self._raw.table(place + self._raw.number("<I", place)))
        return found

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._fields_bytes:
            return None
        offset = self._raw.number("<H", self._fields + entry)
        if offset == 0:
            return None
        if offset >= self._own_bytes:
            raise Unfit("offset", offset, self._own_bytes)
        return self._at + offset

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._raw.number("<I", place)
        count = self._raw.number("<I", start)
        self._raw.check(start + 4, count * width)
        return start + 4, count


@dataclass(frozen=True, slots=True)
class _Tensor:
    facts: TensorFacts
    buffer: int
    elements: int
    bits: int | None
    is_sparse: bool
    is_scaled: bool


class _Model:
    """The tables of one model, walked once."""

    def __init__(self, raw: _Bytes) -> None:
        self._raw = raw
        self._root = raw.table(raw.number("<I", 0))
        self._warnings: list[str] = []

    def facts(self, file: str) -> ModelFacts:
        root = self._root
        if (version := root.number(0, "<I")) != _VERSION:
            raise Unfit("format_version", version, _VERSION)
        if root.has(8) or root.has(9):
            raise Unfit("external_buffers", file, "")
        codes = [self._operator_name(one) for one in root.tables(1)]
        buffers = [self._buffer_bytes(one) for one in root.tables(4)]
        graphs = root.tables(2)
        if not graphs:
            raise Unfit("no_graph", 0, "1 ..")
        operators: Counter[str] = Counter()
        elements: Counter[str] = Counter()
        signatures = []
        stored: set[int] = set()
        is_quantised = False
        for graph in graphs:
            tensors = [self._tensor(one) for one in graph.tables(0)]
            for tensor in tensors:
                if self._is_constant(tensor, buffers) and tensor.buffer not in stored:
                    stored.add(tensor.buffer)
                    elements[tensor.facts.dtype] += tensor.elements
                is_quantised |= tensor.is_scaled and tensor.facts.dtype in _QUANTISED
            operators.update(self._operators(graph, codes, len(tensors)))
            signatures.append([self._pick(graph.numbers(field), tensors) for field in (1, 2)])
        inputs, outputs = signatures[0]
        words = self._words(inputs)
        largest = max(elements, key=lambda one: elements[one], default="")
        if is_quantised:
            shown = largest if largest in _QUANTISED else "int8"
        else:
            shown = largest if largest == "float16" else ""
        return ModelFacts(
            format="tflite",
            file=file,
            inputs=inputs,
            outputs=outputs,
            format_version=str(version),
            graph_name=name(graphs[0].text(4)),
            operators=counted(operators),
            nodes=operators.total(),
            tensors=len(stored),
            parameters=min(elements.total(), 2**62),
            dtypes=counted(elements),
            quantisation=shown,
            metadata=words.metadata,
            suggested=words.suggested,
            warnings=tuple(dict.fromkeys(self._warnings)),
        )

    def _operator_name(self, code: _Table) -> str:
        number = max(code.number(0, "<b"), code.number(3, "<i"))
        if not 0 <= number < len(OPERATORS):
            raise Unfit("operator_unknown", number, f"0 .. {len(OPERATORS) - 1}")
        if number != CUSTOM:
            return OPERATORS[number]
        self._warnings.append("custom_operator")
        return f"CUSTOM {name(code.text(1))}"

    def _buffer_bytes(self, buffer: _Table) -> int:
        offset, size = buffer.number(1, "<Q"), buffer.number(2, "<Q")
        if offset >= _INLINE_DATA_FROM:  # of files over 2 GiB, behind the tables
            self._raw.check(offset, size)
            return size
        return buffer.data(0)[1]

    def _tensor(self, table: _Table) -> _Tensor:
        label = name(table.text(3))
        kind = table.number(1, "<b")
        if not 0 <= kind < len(_DTYPES):
            raise Unfit("tensor_type", f"{label}: {kind}", f"0 .. {len(_DTYPES) - 1}")
        dtype, bits = _DTYPES[kind]
        sizes, shown = table.numbers(0), table.numbers(7)
        if max(len(sizes), len(shown)) > TENSOR_DIMENSIONS_MAX:
            raise Unfit("dimensions", f"{label}: {len(sizes)}", TENSOR_DIMENSIONS_MAX)
        if any(one < 0 for one in sizes) or any(one < -1 for one in shown):
            raise Unfit("dimension_negative", f"{label}: {min(*sizes, *shown, 0)}", "0 ..")
        shape = tuple(None if one == -1 else one for one in shown or sizes)
        quantisation = table.has(4)
        return _Tensor(
            facts=TensorFacts(name=label, dtype=dtype, shape=shape),
            buffer=table.number(2, "<I"),
            elements=math.prod(sizes),
            bits=bits,
            is_sparse=table.has(6),
            is_scaled=quantisation,
        )

    def _is_constant(self, tensor: _Tensor, buffers: Sequence[int]) -> bool:
        if tensor.buffer >= max(len(buffers), 1):
            raise Unfit("index", f"{tensor.facts.name}: {tensor.buffer}", len(buffers))
        present = buffers[tensor.buffer] if buffers else 0
        if present == 0:
            return False
        if tensor.bits is not None and not tensor.is_sparse:
            needed = -(-tensor.elements * tensor.bits // 8)
            if needed != present:
                raise Unfit("tensor_bytes", f"{tensor.facts.name}: {present}", needed)
        return True

    def _operators(self, graph: _Table, codes: Sequence[str], tensors: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for operator in graph.tables(3):
            index = operator.number(0, "<I")
            if index >= len(codes):
                raise Unfit("index", index, len(codes))
            for field in (1, 2):
                for one in operator.numbers(field):
                    if not -1 <= one < tensors:  # -1: an input that is left out
                        raise Unfit("index", one, tensors)
            found[codes[index]] += 1
            if codes[index] == "WHILE":
                self._warnings.append("loop")
        return found

    def _pick(self, indices: Sequence[int], tensors: Sequence[_Tensor]) -> tuple[TensorFacts, ...]:
        if len(indices) > TENSORS_OF_A_SIGNATURE_MAX:
            raise Unfit("signature", len(indices), TENSORS_OF_A_SIGNATURE_MAX)
        for one in indices:
            if not 0 <= one < len(tensors):
                raise Unfit("index", one, len(tensors))
        return tuple(tensors[one].facts for one in indices)

    def _words(self, inputs: Sequence[TensorFacts]) -> Words:
        words = Words()
        if description := self._root.text(3):
            words.say("description", description)
        for row in self._root.tables(6):
            words.say(f"metadata.{row.text(0)}", "")
        for signature in self._root.tables(7):
            words.say(f"signature.{signature.text(2)}", str(signature.number(4, "<I")))
        shapes = [one.shape for one in inputs if one.shape is not None]
        if any(len(one) == 4 and (one[3] in (1, 3) or one[1] in (1, 3)) for one in shapes):
            words.suggest("modality_in", "image")
        return words
