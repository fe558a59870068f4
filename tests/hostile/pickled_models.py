"""Files that may carry code: pickles of every kind, zip files, Keras configurations."""

from __future__ import annotations

import io
import json
import lzma
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from tests.hostile.case import MARKER, Case, noise, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pickled(path: Path, module: str, function: str, *arguments: str) -> bytes:
    """A pickle of protocol 2 that calls ``module.function`` when it is loaded, written by hand."""
    raw = b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"("
    for argument in arguments:
        text = argument.replace("MARKER", str(path.parent / MARKER)).encode()
        raw += b"X" + struct.pack("<I", len(text)) + text
    return raw + b"tR."


def old_pickle(path: Path) -> bytes:
    """A pickle of protocol 0: lines of text."""
    return f"cos\nsystem\n(S'touch {path.parent / MARKER}'\ntR.".encode()


CALLS = {
    "os_system": ("os", "system", "touch MARKER"),
    "eval": ("builtins", "eval", "open('MARKER', 'w')"),
    "subprocess": ("subprocess", "getoutput", "touch MARKER"),
    "runpy": ("runpy", "run_path", "MARKER"),
    "timeit": ("timeit", "timeit", "open('MARKER', 'w')"),
    "cprofile": ("cProfile", "run", "open('MARKER', 'w')"),
    "pydoc": ("pydoc", "pipepager", "x", "touch MARKER"),
    "pip_main": ("pip", "main", "MARKER"),
    "ctypes": ("ctypes", "CDLL", "MARKER"),
    "urlretrieve": ("urllib.request", "urlretrieve", "file:///etc/hostname", "MARKER"),
    "numpy_runstring": ("numpy.testing._private.utils", "runstring", "open('MARKER', 'w')"),
    "import_module": ("importlib", "import_module", "MARKER"),
}


def payload(path: Path) -> bytes:
    return pickled(path, *CALLS["os_system"])


def torch_zip(path: Path, *, script: bool = False) -> bytes:
    members = {"model/data.pkl": payload(path), "model/data/0": bytes(64), "model/version": b"3\n"}
    if script:
        members |= {"model/constants.pkl": payload(path), "model/code/m.py": b"x = 1\n"}
    return zipped(members)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as packed:
        for name, raw in members.items():
            packed.writestr(name, raw)
    return stream.getvalue()


def object_array(path: Path) -> bytes:
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + payload(path)


def pickles() -> Iterator[Case]:
    for name, call in CALLS.items():
        make = lambda path, call=call: path.write_bytes(pickled(path, *call)) and None  # noqa: E731
        yield Case(f"pickle_{name}", "m.pkl", make, format="pickle", warnings=("never_loaded",))

    def case(name: str, file: str, raw: Callable[[Path], bytes], **known: object) -> Case:
        return Case(name, file, lambda path: path.write_bytes(raw(path)) and None, **known)  # type: ignore[arg-type]

    yield case("pickle_protocol_0", "m.pkl", old_pickle, format="pickle")
    yield case("pickle_truncated", "m.pkl", lambda p: payload(p)[:-1], format="pickle")
    yield case("pickle_old_truncated", "m.pkl", lambda p: old_pickle(p)[:-1], format="pickle")
    yield case("joblib_zlib", "m.joblib", lambda p: zlib.compress(payload(p)), format="joblib")
    yield case("joblib_xz", "m.joblib", lambda p: lzma.compress(payload(p)), format="joblib")
    yield case(
        "joblib_lzma",
        "m.joblib",
        lambda p: lzma.compress(payload(p), lzma.FORMAT_ALONE),
        format="joblib",
    )
    for suffix in ("onnx", "safetensors", "gguf", "tflite", "h5", "keras", "npz", "md", "json"):
        yield case(f"pickle_named_{suffix}", f"m.{suffix}", payload, rule="name_disagrees")
        yield case(f"pickle_0_named_{suffix}", f"m.{suffix}", old_pickle, rule="name_disagrees")
    yield case("pickle_named_bin", "m.bin", payload, format="pickle")
    yield case("pickle_named_weights", "m.weights", payload, format="pickle")
    yield case("pickle_named_nothing", "m", payload, format="pickle")
    yield case("torch_zip", "m.pt", torch_zip, format="pytorch", warnings=("never_loaded",))
    yield case("torch_script", "m.pt", lambda p: torch_zip(p, script=True), format="torchscript")
    yield case(
        "torch_old",
        "m.pth",
        lambda p: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + payload(p),
        format="pytorch",
    )
    yield case(
        "torch_bad_crc", "m.pt", lambda p: spoiled(torch_zip(p), b"touch", b"tOuch"), rule="zip"
    )
    yield case("torch_encrypted", "m.pt", lambda p: flagged(torch_zip(p)), rule="member_encrypted")
    yield case("array_of_objects", "m.npy", object_array, format="npy", warnings=("objects",))
    yield case(
        "arrays_of_objects",
        "m.npz",
        lambda p: zipped({"a.npy": object_array(p)}),
        format="npz",
        warnings=("objects",),
    )


def spoiled(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert old in raw
    return raw.replace(old, new, 1)


def flagged(raw: bytes) -> bytes:
    """Set the encryption flag in every row of the directory of a zip file."""
    out = bytearray(raw)
    at = out.find(b"PK\x01\x02")
    while at >= 0:
        out[at + 8] |= 1
        at = out.find(b"PK\x01\x02", at + 4)
    return bytes(out)


def bomb() -> bytes:
    return zipped(
        {"model/data.pkl": b"\x80\x02N.", "model/data/0": bytes(64 * 1024**2)},
        zipfile.ZIP_DEFLATED,
    )


def lying_bomb() -> bytes:
    """The directory and the header say 1,000 bytes; the stream holds 64 MiB."""
    raw = bytearray(zipped({"model/data.pkl": bytes(64 * 1024**2)}, zipfile.ZIP_DEFLATED))
    directory = raw.find(b"PK\x01\x02")
    struct.pack_into("<I", raw, 22, 1000)
    struct.pack_into("<I", raw, directory + 24, 1000)
    return bytes(raw)


def overlapping() -> bytes:
    """Two rows of the directory name one place."""
    raw = zipped({"model/data.pkl": b"\x80\x02N.", "model/data/0": bytes(4096)})
    directory = raw.find(b"PK\x01\x02")
    end = raw.find(b"PK\x05\x06")
    rows = raw[directory:end]
    second = rows.find(b"PK\x01\x02", 4)
    twice = bytearray(rows[second:])
    twice[46 : 46 + 12] = b"model/data/1"
    out = bytearray(raw[:directory] + rows + twice + raw[end:])
    at = out.find(b"PK\x05\x06")
    struct.pack_into("<HHI", out, at + 8, 3, 3, len(rows) + len(twice))
    return bytes(out)


def hidden_member() -> bytes:
    """A member that stands in the file and not in the directory."""
    raw = zipped({"model/data.pkl": b"\x80\x02N.", "model/data/0": bytes(64)})
    hidden = zipped({"model/data.pkl": b"\x80\x02cos\nsystem\n"})
    hidden = hidden[: hidden.find(b"PK\x01\x02")]
    directory = raw.find(b"PK\x01\x02")
    out = bytearray(raw[:directory] + hidden + raw[directory:])
    at = out.find(b"PK\x05\x06")
    struct.pack_into("<I", out, at + 16, directory + len(hidden))
    return bytes(out)


def many_members() -> bytes:
    return zipped({"model/data.pkl": b"N."} | {f"model/{number}": b"" for number in range(10_001)})


def zips() -> Iterator[Case]:
    packed = b"\x80\x02N."
    yield Case("zip_bomb", "m.pt", write(bomb), rule="member_ratio")
    yield Case("zip_lying_bomb", "m.pt", write(lying_bomb), rule="zip")
    yield Case("zip_overlapping", "m.pt", write(overlapping), rule="hidden_bytes")
    yield Case("zip_hidden_member", "m.pt", write(hidden_member), rule="hidden_bytes")
    yield Case("zip_many_members", "m.pt", write(many_members), rule="members")
    for name, member in (("parent", "../../x"), ("absolute", "/etc/x"), ("drive", "C:/x")):
        raw = zipped({"model/data.pkl": packed, member: b"x"})
        yield Case(f"zip_name_{name}", "m.pt", write(raw), rule="member_name")
    twice = spoiled(zipped({"m/data.pkl": packed, "m/datb.pkl": packed}), b"m/datb", b"m/data")
    twice = spoiled(twice, b"m/datb", b"m/data")
    yield Case("zip_member_twice", "m.pt", write(twice), rule="member_twice")
    yield Case(
        "zip_behind_text",
        "m.bin",
        write(b"hello" + zipped({"a/data.pkl": packed})),
        rule="hidden_bytes",
    )
    yield Case("zip_without_directory", "m.zip", write(zipped({"a": bytes(99)})[:60]), rule="zip")


def keras_zip(layers: list[dict[str, object]]) -> bytes:
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "harmless", "layers": layers},
        "registered_name": None,
    }
    return zipped(
        {
            "metadata.json": json.dumps({"keras_version": "3.8.0"}).encode(),
            "config.json": json.dumps(config).encode(),
            "model.weights.h5": b"\x89HDF\r\n\x1a\n",
        }
    )


LAMBDA = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {
        "name": "run",
        "function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}},
    },
}
FUNCTION = {  # CVE-2025-1550: a configuration that names any function of any module
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {
        "kernel_initializer": {
            "module": "os",
            "class_name": "function",
            "config": "system",
            "registered_name": "system",
        }
    },
}


def h5(fill: Callable[[object], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        import h5py  # noqa: PLC0415  of an extra

        with h5py.File(path, "w") as file:
            fill(file)

    return make


def h5_config(*layers: dict[str, object]) -> Callable[[Path], None]:
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}

    def fill(file: object) -> None:
        file.attrs["model_config"] = json.dumps(config)  # type: ignore[attr-defined]
        file.create_group("model_weights")["w"] = np.zeros((2, 3), "f4")  # type: ignore[attr-defined]

    return h5(fill)


def external_link(file: object) -> None:
    import h5py  # noqa: PLC0415

    file["model_weights"] = h5py.ExternalLink("/etc/hostname", "/")  # type: ignore[index]


def soft_link(file: object) -> None:
    import h5py  # noqa: PLC0415

    file.create_group("model_weights")["w"] = h5py.SoftLink("/nowhere")  # type: ignore[attr-defined]


def external_storage(file: object) -> None:
    file.create_dataset("w", (4,), "u1", external=[("/etc/hostname", 0, 4)])  # type: ignore[attr-defined]


def virtual_dataset(file: object) -> None:
    import h5py  # noqa: PLC0415

    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_virtual_dataset("w", layout)  # type: ignore[attr-defined]


def group_in_itself(file: object) -> None:
    group = file.create_group("model_weights")  # type: ignore[attr-defined]
    group["again"] = group


def keras() -> Iterator[Case]:
    both = ("never_loaded", "lambda_layer")
    yield Case("keras_lambda", "m.keras", write(keras_zip([LAMBDA])), format="keras", warnings=both)
    yield Case(
        "keras_function",
        "m.keras",
        write(keras_zip([FUNCTION])),
        format="keras",
        warnings=("function_in_config", "foreign_type"),
    )
    deep = zipped({"config.json": b"[" * 10**6, "metadata.json": b"{}"})
    yield Case("keras_deep_json", "m.keras", write(deep), rule="header")
    yield Case(
        "h5_lambda", "m.h5", h5_config(LAMBDA), format="keras_h5", warnings=both, needs="h5py"
    )
    yield Case("h5_external_link", "m.h5", h5(external_link), rule="link", needs="h5py")
    yield Case("h5_soft_link", "m.h5", h5(soft_link), rule="link", needs="h5py")
    yield Case("h5_external_storage", "m.h5", h5(external_storage), rule="link", needs="h5py")
    yield Case("h5_virtual", "m.h5", h5(virtual_dataset), rule="link", needs="h5py")
    yield Case("h5_group_in_itself", "m.h5", h5(group_in_itself), format="keras_h5", needs="h5py")
    yield Case(
        "h5_noise",
        "m.h5",
        write(b"\x89HDF\r\n\x1a\n" + noise(4096)),
        rule="not_readable",
        needs="h5py",
    )
