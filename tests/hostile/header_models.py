"""safetensors and GGUF files with headers that lie."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from tests.hostile.case import Case, write

if TYPE_CHECKING:
    from collections.abc import Iterator


def safetensors(
    header: dict[str, object] | bytes, data: bytes = b"", length: int | None = None
) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def row(
    begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32"
) -> dict[str, object]:
    return {"dtype": dtype, "shape": [4] if shape is None else shape, "data_offsets": [begin, end]}


def safetensors_files() -> Iterator[Case]:
    def case(name: str, raw: bytes, rule: str | None) -> Case:
        kind = None if rule else "safetensors"
        return Case(f"safetensors_{name}", "m.safetensors", write(raw), rule=rule, format=kind)

    data = bytes(16)
    yield case("sound", safetensors({"a": row(0, 16)}, data), None)
    yield case("header_huge", safetensors({"a": row(0, 16)}, data, 2**60), "header_size")
    yield case("header_over", safetensors({"a": row(0, 16)}, data, 4096), "header_size")
    big = b'{"' + b"a" * (16 * 1024**2) + b'":1}'
    yield case("header_long", safetensors(big), "header_size")
    yield case("header_deep", safetensors(b'{"a":' + b"[" * 10**6), "header")
    yield case(
        "overlap", safetensors({"a": row(0, 16), "b": row(8, 24)}, bytes(24)), "tensor_range"
    )
    yield case("gap", safetensors({"a": row(0, 16), "b": row(20, 36)}, bytes(36)), "tensor_range")
    yield case("range", safetensors({"a": row(0, 1600, [400])}, data), "tensor_range")
    yield case(
        "range_swapped", safetensors({"a": row(0, 16), "b": row(16, 0)}, data), "tensor_range"
    )
    yield case("overflow", safetensors({"a": row(0, 16, [2**62, 2**62])}, data), "tensor_bytes")
    yield case("negative", safetensors({"a": row(0, 16, [-4])}, data), "dimensions")
    yield case("offset_negative", safetensors({"a": row(-16, 0)}, data), "tensor_range")
    yield case(
        "offset_bool",
        safetensors(b'{"a":{"dtype":"U8","shape":[],"data_offsets":[false,true]}}', b"1"),
        "tensor_range",
    )
    yield case("type", safetensors({"a": row(0, 16, dtype="PY")}, data), "tensor_type")
    yield case("tail", safetensors({"a": row(0, 16)}, data + payload_tail()), "tail")
    one = json.dumps(row(0, 16))
    yield case("key_twice", safetensors(f'{{"a":{one},"a":{one}}}'.encode(), data), "key_twice")
    yield case(
        "metadata_numbers", safetensors({"__metadata__": {"a": 1}, "a": row(0, 16)}, data), "header"
    )
    many = (
        "{"
        + ",".join(
            f'"{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for n in range(200_001)
        )
        + "}"
    )
    yield case("many_tensors", safetensors(many.encode()), "tensors")


def payload_tail() -> bytes:
    return b"\x80\x02cos\nsystem\nq\x00."


def gguf(
    rows: tuple[bytes, ...] = (), infos: tuple[bytes, ...] = (), data: bytes = b"", **said: int
) -> bytes:
    head = b"GGUF" + struct.pack("<I", said.get("version", 3))
    head += struct.pack("<QQ", said.get("tensors", len(infos)), said.get("keys", len(rows)))
    raw = head + b"".join(rows) + b"".join(infos)
    return raw + bytes(-len(raw) % 32) + data


def gguf_text(text: str | bytes, length: int | None = None) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def gguf_word(key: str, value: str) -> bytes:
    return gguf_text(key) + struct.pack("<I", 8) + gguf_text(value)


def gguf_number(key: str, value: int) -> bytes:
    return gguf_text(key) + struct.pack("<II", 4, value)


def gguf_array(key: str, kind: int, count: int, raw: bytes = b"") -> bytes:
    return gguf_text(key) + struct.pack("<IIQ", 9, kind, count) + raw


def gguf_tensor(key: str, dims: list[int], kind: int = 0, offset: int = 0) -> bytes:
    sizes = b"".join(struct.pack("<Q", one) for one in dims)
    return gguf_text(key) + struct.pack("<I", len(dims)) + sizes + struct.pack("<IQ", kind, offset)


def gguf_files() -> Iterator[Case]:
    def case(name: str, raw: bytes, rule: str | None, *warnings: str) -> Case:
        kind = None if rule else "gguf"
        return Case(f"gguf_{name}", "m.gguf", write(raw), rule=rule, format=kind, warnings=warnings)

    template = gguf_word(
        "tokenizer.chat_template", "{{ cycler.__init__.__globals__.os.system('x') }}"
    )
    yield case("template", gguf((template,)), None, "template_is_code")
    yield case("version_1", gguf(version=1), "format_version")
    yield case("byte_order", b"FUGG" + bytes(20), "byte_order")
    yield case("keys", gguf(keys=2**63), "keys")
    yield case("tensors", gguf(tensors=2**63), "tensors")
    yield case("truncated", gguf(keys=3)[:24], "truncated")
    yield case("key_long", gguf((gguf_text("a", 2**40),)), "string")
    yield case(
        "string_long",
        gguf((gguf_text("a") + struct.pack("<I", 8) + gguf_text("", 2**62),)),
        "string",
    )
    yield case(
        "string_over",
        gguf((gguf_text("a") + struct.pack("<I", 8) + gguf_text("", 1000),)),
        "truncated",
    )
    yield case("array_huge", gguf((gguf_array("a", 0, 2**62),))[:49], "array")
    yield case("array_over", gguf((gguf_array("a", 12, 4 * 1024**2),)), "truncated")
    yield case(
        "array_nested", gguf((gguf_array("a", 9, 1, struct.pack("<IQ", 9, 1)),)), "value_type"
    )
    yield case("array_empty_strings", gguf((gguf_array("a", 8, 4 * 1024**2),)), "truncated")
    yield case("value_type", gguf((gguf_text("a") + struct.pack("<I", 77),)), "value_type")
    yield case("key_twice", gguf((gguf_number("a", 1), gguf_number("a", 2))), "key_twice")
    yield case("alignment_zero", gguf((gguf_number("general.alignment", 0),)), "alignment")
    yield case("alignment_huge", gguf((gguf_number("general.alignment", 2**31),)), "alignment")
    yield case("overflow", gguf((), (gguf_tensor("t", [2**62, 2**62]),), bytes(64)), "tensor_range")
    yield case("offset", gguf((), (gguf_tensor("t", [8], 0, 2**40),), bytes(64)), "tensor_range")
    yield case("offset_odd", gguf((), (gguf_tensor("t", [8], 0, 8),), bytes(64)), "alignment")
    overlap = (gguf_tensor("t", [16], 0, 0), gguf_tensor("u", [8], 0, 32))
    yield case("overlap", gguf((), overlap, bytes(128)), "tensor_range")
    yield case("dimensions", gguf((), (gguf_tensor("t", [1] * 9),), bytes(64)), "dimensions")
    yield case("tensor_type", gguf((), (gguf_tensor("t", [32], 99),), bytes(64)), "tensor_type")
    yield case("block", gguf((), (gguf_tensor("t", [33], 2),), bytes(64)), "tensor_bytes")
