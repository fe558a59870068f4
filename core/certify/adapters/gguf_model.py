"""Reads the header of a GGUF file, version 2 or 3, without its tensors and without a library.

* Counts, strings and arrays are bounded before they are read; arrays are stepped over.
* Every tensor lies inside the file, aligned, and no two of them overlap.
* A chat template is a program in Jinja: it is said to be there, never rendered.

Public description: docs/gguf.md of ggml.  How a model of it would run is not known here.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.certify.adapters.refusal import Unfit, Words, counted, name
from hanse.core.limits import (
    GGUF_ALIGNMENT_BYTES_MAX,
    GGUF_ARRAY_ELEMENTS_MAX,
    GGUF_KEYS_MAX,
    GGUF_NAME_SIZE_BYTES_MAX,
    GGUF_STRING_SIZE_BYTES_MAX,
    GGUF_TENSORS_MAX,
)
from hanse.core.model.artifact import ModelFacts

if TYPE_CHECKING:
    from pathlib import Path

_VERSIONS: Final = (2, 3)
_DIMENSIONS_MAX: Final = 2**2  # GGML_MAX_DIMS
_ALIGNMENT: Final = 32
_READ_BYTES: Final = 1024 * 1024
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {  # gguf_metadata_value_type: struct format
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TYPES: Final = {  # ggml_type: name, elements in a block, bytes of a block
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
_FILE_TYPES: Final = {  # llama_ftype
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
}
_SUGGESTIONS: Final = {
    "general.name": "title",
    "general.description": "summary",
    "general.license": "licence",
    "general.author": "author",
    "general.version": "version",
}
_TEMPLATE: Final = "tokenizer.chat_template"
_KEPT: Final = 512  # characters of a text that is looked up again

Value = str | int | float | bool


def read(stage: Path, file: str) -> ModelFacts:
    """Read the facts of ``file``, or raise ``Unfit`` with the first rule it breaks."""
    path = stage / file
    with path.open("rb") as stream:
        return _Header(stream, path.stat().st_size).facts(file)


class _Header:
    """One pass over the header, never a byte beyond the end of the file."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._buffer = b""
        self._buffer_at = 0
        self._at = 0
        self._values: dict[str, Value] = {}
        self._lengths: dict[str, int] = {}
        self._warnings: list[str] = []

    def facts(self, file: str) -> ModelFacts:
        version = self._start()
        tensors, keys = self._number("<Q"), self._number("<Q")
        if keys > GGUF_KEYS_MAX:
            raise Unfit("keys", keys, GGUF_KEYS_MAX)
        if tensors > GGUF_TENSORS_MAX:
            raise Unfit("tensors", tensors, GGUF_TENSORS_MAX)
        words = Words()
        for _ in range(keys):
            self._pair(words)
        elements, kinds = self._tensors(tensors)
        architecture = self._word("general.architecture")
        context = self._values.get(f"{architecture}.context_length", 0)
        vocabulary = self._lengths.get("tokenizer.ggml.tokens", 0)
        if vocabulary:
            words.say("vocabulary", str(vocabulary))
        self._base_models(words)
        return ModelFacts(
            format="gguf",
            file=file,
            format_version=str(version),
            tensors=tensors,
            parameters=min(elements.total(), 2**62),
            dtypes=counted(elements),
            quantisation=self._quantisation(kinds),
            architecture=architecture,
            context=context if isinstance(context, int) and 0 <= context < 2**62 else 0,
            graph_name=self._word("general.name"),
            metadata=words.metadata,
            suggested=words.suggested,
            warnings=tuple(dict.fromkeys(self._warnings)),
        )

    # --- values -------------------------------------------------------------------------------

    def _start(self) -> int:
        magic = self._take(4)
        if magic != b"GGUF":
            raise Unfit("byte_order", magic.decode("ascii", "replace"), "GGUF")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise Unfit("format_version", version, "2, 3")
        return version

    def _pair(self, words: Words) -> None:
        key = self._string(GGUF_NAME_SIZE_BYTES_MAX, "key")
        if key in self._values or key in self._lengths:
            raise Unfit("key_twice", key, "")
        kind = self._number("<I")
        if kind == _ARRAY:
            self._lengths[key] = self._skip_array(key)
            return
        value = self._value(key, kind)
        self._values[key] = value[:_KEPT] if isinstance(value, str) else value
        if key == _TEMPLATE or key.startswith(f"{_TEMPLATE}."):
            self._warnings.append("template_is_code")
        words.say(key, str(value))
        if suggested := _SUGGESTIONS.get(key):
            words.suggest(suggested, str(value))

    def _value(self, key: str, kind: int) -> Value:
        if kind == _STRING:
            return self._string(GGUF_STRING_SIZE_BYTES_MAX, key)
        form = _SCALARS.get(kind)
        if form is None:
            raise Unfit("value_type", f"{key}: {kind}", "0 .. 12")
        (value,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return value  # type: ignore[no-any-return]  # one of the scalars by its form

    def _skip_array(self, key: str) -> int:
        kind, count = self._number("<I"), self._number("<Q")
        if count > GGUF_ARRAY_ELEMENTS_MAX:
            raise Unfit("array", f"{key}: {count}", GGUF_ARRAY_ELEMENTS_MAX)
        if kind == _STRING:
            for _ in range(count):
                self._skip(self._length(GGUF_STRING_SIZE_BYTES_MAX, key))
        elif kind in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[kind]))
        else:  # an array of arrays: nobody writes one, and nesting has no bound
            raise Unfit("value_type", f"{key}: {kind}", "0 .. 8, 10 .. 12")
        return count

    def _word(self, key: str) -> str:
        value = self._values.get(key, "")
        return name(value) if isinstance(value, str) else ""

    def _base_models(self, words: Words) -> None:
        count = self._values.get("general.base_model.count", 0)
        if not isinstance(count, int):
            return
        found = []
        for number in range(min(count, 16)):
            prefix = f"general.base_model.{number}"
            words_of = [self._word(f"{prefix}.{part}") for part in ("organization", "name")]
            found.append("/".join(one for one in words_of if one))
        words.suggest("base_model", ", ".join(one for one in found if one))

    def _quantisation(self, kinds: Counter[str]) -> str:
        said = self._values.get("general.file_type")
        if isinstance(said, int) and said in _FILE_TYPES:
            return _FILE_TYPES[said]
        return kinds.most_common(1)[0][0] if kinds else ""

    # --- tensors ------------------------------------------------------------------------------

    def _tensors(self, count: int) -> tuple[Counter[str], Counter[str]]:
        alignment = self._values.get("general.alignment", _ALIGNMENT)
        is_power = isinstance(alignment, int) and alignment > 0 and alignment & (alignment - 1) == 0
        if not isinstance(alignment, int) or not is_power or alignment > GGUF_ALIGNMENT_BYTES_MAX:
            raise Unfit("alignment", alignment, f"1 .. {GGUF_ALIGNMENT_BYTES_MAX}")
        elements: Counter[str] = Counter()
        bytes_of: Counter[str] = Counter()
        ranges: list[tuple[int, int, str]] = []
        names: set[str] = set()
        for _ in range(count):
            key, kind, offset, number = self._tensor()
            if key in names:
                raise Unfit("key_twice", key, "")
            names.add(key)
            if kind not in _TYPES:
                raise Unfit("tensor_type", f"{key}: {kind}", "F32 .. MXFP4")
            shown, in_block, block = _TYPES[kind]
            if number % in_block:
                raise Unfit("tensor_bytes", f"{key}: {number}", in_block)
            if offset % alignment:
                raise Unfit("alignment", f"{key}: {offset}", alignment)
            taken = number // in_block * block
            ranges.append((offset, offset + taken, key))
            elements[shown] += number
            bytes_of[shown] += taken
        start = -(-self._at // alignment) * alignment
        present = max(0, self._size - start)
        before = 0
        for begin, end, key in sorted(ranges):
            if begin < before or end > present:
                raise Unfit("tensor_range", f"{key}: {begin} .. {end}", f"{before} .. {present}")
            before = end
        return elements, bytes_of

    def _tensor(self) -> tuple[str, int, int, int]:
        key = self._string(GGUF_NAME_SIZE_BYTES_MAX, "tensor")
        dimensions = self._number("<I")
        if dimensions > _DIMENSIONS_MAX:
            raise Unfit("dimensions", f"{key}: {dimensions}", _DIMENSIONS_MAX)
        number = math.prod(self._number("<Q") for _ in range(dimensions))
        return key, self._number("<I"), self._number("<Q"), number

    # --- bytes --------------------------------------------------------------------------------

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _length(self, most: int, what: str) -> int:
        length = self._number("<Q")
        if length > most:
            raise Unfit("string", f"{what}: {length}", most)
        return length

    def _string(self, most: int, what: str) -> str:
        return self._take(self._length(most, what)).decode("utf-8", "replace")

    def _skip(self, count: int) -> None:
        if count > self._size - self._at:
            raise Unfit("truncated", self._at + count, self._size)
        self._at += count

    def _take(self, count: int) -> bytes:
        if count > self._size - self._at:
            raise Unfit("truncated", self._at + count, self._size)
        start = self._at - self._buffer_at
        if not 0 <= start <= len(self._buffer) - count:
            self._stream.seek(self._at)
            self._buffer = self._stream.read(max(count, _READ_BYTES))
            self._buffer_at, start = self._at, 0
        self._at += count
        return self._buffer[start : start + count]
