"""Makes model files meant to hurt: ``python -m tests.hostile.make_models FOLDER``."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hostile.case import Case, write
from tests.hostile.header_models import gguf, gguf_files, safetensors_files
from tests.hostile.onnx_models import onnx, onnx_bytes
from tests.hostile.pickled_models import keras, pickles, zipped, zips
from tests.hostile.tflite_models import tflite_files

if TYPE_CHECKING:
    from collections.abc import Iterator


def others() -> Iterator[Case]:
    yield Case("empty", "m.onnx", write(b""), rule="empty")
    yield Case("text_named_onnx", "m.onnx", write(b"just a moment\n"), rule="name_disagrees")
    yield Case("onnx_named_tflite", "m.tflite", write(onnx_bytes()), rule="name_disagrees")
    yield Case("gguf_named_onnx", "m.onnx", write(gguf()), rule="name_disagrees")
    yield Case("ort", "m.ort", write(b"\x20\0\0\0ORTM" + bytes(64)), format="ort")
    yield Case("seven_zip", "m.7z", write(b"7z\xbc\xaf\x27\x1c" + bytes(64)), format="archive")
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", 60_000) + b"(" * 60_000
    yield Case("array_deep_header", "m.npy", write(array), rule="header")
    wide = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + bytes(64)
    yield Case("array_long_header", "m.npy", write(wide), rule="header_size")
    deep = zipped({"schema.json": b'{"a":' * 10**5, "0.npy": b"x"})
    yield Case("skops_deep_json", "m.skops", write(deep), rule="header")


def cases() -> list[Case]:
    made = (
        *(pickles(), zips(), keras(), onnx(), safetensors_files(), gguf_files(), tflite_files()),
        others(),
    )
    found = [case for group in made for case in group]
    assert len({case.name for case in found}) == len(found)
    return found


def make(case: Case, folder: Path) -> Path:
    """Make one case in a folder of its own and return the path of its model."""
    own = folder / case.name
    own.mkdir(parents=True)
    path = own / case.file
    case.make(path)
    return path


if __name__ == "__main__":
    for one in cases():
        make(one, Path(sys.argv[1]))
