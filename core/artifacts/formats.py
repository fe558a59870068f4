"""Which format a file has, by its bytes; nothing is loaded, unpickled or unpacked to disk.

* Of each file at most 64 KiB are read, and of a zip file as much of its end and its directory.
* The bytes decide.  A name that says otherwise is refused, never guessed around: whoever
  named it so either erred or hoped that somebody would load it.
* In a folder, every file of a model format is a variant; what lies beside it is not looked
  into further.

Whether a file of a format is sound is asked of a Worker, not here.
"""

from __future__ import annotations

import bz2
import io
import lzma
import pickletools  # names opcodes, runs none
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from hanse.core.errors import FileUnreadable, Refused
from hanse.core.limits import (
    RECOGNISE_MEMORY_BYTES_MAX,
    RECOGNISE_SIZE_BYTES_MAX,
    RECOGNISE_UNPACKED_BYTES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hanse.core.model.artifact import Format


class FormatRefused(Refused):
    """A file breaks a rule; ``rule`` is a stable word, the rest what was and what may be."""

    code = "format.refused"
    text = "{file} refused, {rule}: found {found}, allowed {allowed}"
    fields = ("file", "rule", "found", "allowed")


@dataclass(frozen=True, slots=True)
class Recognised:
    """One model file of an Artifact; the parts of one model share their ``variant``."""

    file: str
    format: Format
    variant: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What an Artifact consists of: model files, arrays of numbers, and all other files."""

    models: tuple[Recognised, ...]
    arrays: tuple[str, ...]
    others: tuple[str, ...]


_TEXTS: Final = frozenset(
    {
        *(".md", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".csv", ".tsv", ".xml"),
        *(".py", ".html", ".cfg", ".ini", ".jinja", ".license", ".proto", ".pbtxt"),
    }
)
_BY_NAME: Final[Mapping[str, frozenset[Format]]] = {
    ".onnx": frozenset({"onnx"}),
    ".tflite": frozenset({"tflite"}),
    ".gguf": frozenset({"gguf"}),
    ".safetensors": frozenset({"safetensors"}),
    ".skops": frozenset({"skops"}),
    ".h5": frozenset({"keras_h5"}),
    ".hdf5": frozenset({"keras_h5"}),
    ".keras": frozenset({"keras"}),
    ".pt2": frozenset({"pt2"}),
    ".pt": frozenset({"pytorch", "torchscript", "pickle"}),
    ".pth": frozenset({"pytorch", "torchscript", "pickle"}),
    ".pkl": frozenset({"pickle", "joblib"}),
    ".pickle": frozenset({"pickle", "joblib"}),
    ".joblib": frozenset({"joblib", "pickle"}),
    ".npy": frozenset({"npy"}),
    ".npz": frozenset({"npz"}),
    ".ort": frozenset({"ort"}),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".xz", ".bz2"), frozenset({"archive"})),
    **dict.fromkeys((".gz", ".zst"), frozenset({"archive"})),
    **dict.fromkeys(_TEXTS, frozenset({"unknown"})),
}
_ARRAYS: Final = frozenset({"npy", "npz"})
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}(?=\.[A-Za-z0-9]+$)")


def recognise(path: Path, name: str | None = None) -> Format:
    """Say which format the bytes of ``path`` have; ``name`` is its name where ``path`` is not.

    Raise ``FormatRefused`` when it is empty, no file, or the name says another format, and
    ``FileUnreadable`` when it cannot be read.
    """
    shown = name if name is not None else path.name
    try:
        if not path.is_file():
            raise FormatRefused(file=shown, rule="no_file", found="", allowed="")
        with path.open("rb") as file:
            found = _by_bytes(_Head(file), shown)
    except OSError as error:
        detail = error.strerror or str(error)
        raise FileUnreadable(path=path, detail=detail) from error
    if found is None:
        raise FormatRefused(file=shown, rule="empty", found=0, allowed="1 ..")
    allowed = _BY_NAME.get(PurePosixPath(shown).suffix.lower())
    if allowed is not None and found not in allowed:
        listed = tuple(sorted(allowed))
        raise FormatRefused(file=shown, rule="name_disagrees", found=found, allowed=listed)
    return found


def recognise_artifact(files: Mapping[str, Path]) -> Layout:
    """Sort the files of an Artifact, its relative paths given with where their bytes lie.

    An archive, and a lone file of no known format, count as the model when there is nothing
    better; an empty file beside others is no model and harms nobody.
    """
    found: dict[str, Format] = {}
    for file, path in sorted(files.items()):
        is_empty_beside = len(files) > 1 and path.is_file() and path.stat().st_size == 0
        found[file] = "unknown" if is_empty_beside else recognise(path, file)
    models = [file for file, kind in found.items() if kind not in {*_ARRAYS, "archive", "unknown"}]
    if not models:
        models = [file for file, kind in found.items() if kind == "archive"]
    if not models and len(found) == 1:
        models = list(found)
    arrays = tuple(file for file, kind in found.items() if kind in _ARRAYS and file not in models)
    return Layout(
        models=tuple(Recognised(file, found[file], _SHARD.sub("", file)) for file in models),
        arrays=arrays,
        others=tuple(file for file in found if file not in {*models, *arrays}),
    )


# --- by bytes -----------------------------------------------------------------------------------


class _Head:
    """The first bytes of a file, and a budget for a few more from elsewhere."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        self.first = file.read(RECOGNISE_SIZE_BYTES_MAX // 2)
        self._left = RECOGNISE_SIZE_BYTES_MAX - len(self.first)

    def at(self, offset: int, count: int) -> bytes:
        """Return ``count`` bytes from ``offset``, fewer at the end or when too much was read."""
        if offset + count <= len(self.first):
            return self.first[offset : offset + count]
        count = max(0, min(count, self._left))
        self._left -= count
        self._file.seek(offset)
        return self._file.read(count)

    def end_of_zip(self) -> bytes:
        """Return the last bytes, where a zip file says where its directory lies."""
        self._file.seek(max(0, self.size - _ZIP_END_BYTES))
        return self._file.read(_ZIP_END_BYTES)

    def directory(self, offset: int) -> bytes:
        """Return the first part of a zip file's directory."""
        self._file.seek(offset)
        return self._file.read(RECOGNISE_SIZE_BYTES_MAX)


def _by_bytes(head: _Head, name: str) -> Format | None:
    first = head.first
    if not first:
        return None
    for magic, offset, found in _MAGIC:
        if first[offset : offset + len(magic)] == magic:
            return found
    if first.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_format(head)
    if unpacked := _unpacked(first):
        return "joblib" if _is_pickle(unpacked) else "archive"
    if first.startswith(_COMPRESSED):
        return "archive"
    if _is_pickle(first):
        return _pickle_format(first)
    for looks_like, found in _SHAPES:
        if looks_like(head, name):
            return found
    # Last, since it is the only one found by its end: anything may stand before a zip file.
    where = _zip_end(head)
    is_zip = where is not None and head.directory(where).startswith(b"PK\x01\x02")
    return "archive" if is_zip else "unknown"


_MAGIC: Final[tuple[tuple[bytes, int, Format], ...]] = (
    (b"GGUF", 0, "gguf"),
    (b"FUGG", 0, "gguf"),  # the other byte order: the reader says so
    (b"TFL3", 4, "tflite"),
    (b"ORTM", 4, "ort"),
    (b"\x89HDF\r\n\x1a\n", 0, "keras_h5"),
    (b"\x93NUMPY", 0, "npy"),
    (b"7z\xbc\xaf\x27\x1c", 0, "archive"),
    (b"Rar!\x1a\x07", 0, "archive"),
    (b"ustar", 257, "archive"),
    (b"ZF0x", 0, "joblib"),  # joblib before 0.10
)


# --- zip files ----------------------------------------------------------------------------------

_ZIP_END: Final = struct.Struct("<4s4H2IH")
_ZIP_END_BYTES: Final = 22 + 65_535  # the record and its comment, which has no other bound
_ZIP64_LOCATOR: Final = struct.Struct("<4sIQI")
_ZIP64_END: Final = struct.Struct("<4sQ2H2I4Q")
_ZIP_ROW: Final = struct.Struct("<4s6H3I5H2I")


def _zip_end(head: _Head) -> int | None:
    """Return where the directory of a zip file lies, ``None`` when there is none."""
    tail = head.end_of_zip()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _ZIP_END.size > len(tail):
        return None
    length, offset = _ZIP_END.unpack_from(tail, at)[5:7]
    locator = at - _ZIP64_LOCATOR.size
    if offset == 0xFFFFFFFF and locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        where = int(_ZIP64_LOCATOR.unpack_from(tail, locator)[2])
        record = head.directory(where)[: _ZIP64_END.size] if where < head.size else b""
        if len(record) == _ZIP64_END.size and record.startswith(b"PK\x06\x06"):
            offset = int(_ZIP64_END.unpack(record)[9])
    elif length != 0xFFFFFFFF:
        # Counted back from the end, as readers do: what stands before the zip file moves it.
        offset = max(0, head.size - len(tail) + at - length)
    return int(offset) if offset < head.size else None


def _zip_format(head: _Head) -> Format:
    where = _zip_end(head)
    if where is None:
        return "archive"
    names = _zip_names(head.directory(where))
    parts = {name.rpartition("/")[2] for name in names}
    folders = {name.rpartition("/")[0] for name in names}
    if "archive_format" in parts or "serialized_exported_program.json" in names:
        return "pt2"
    if "data.pkl" in parts:
        is_script = "constants.pkl" in parts or any(
            one.rpartition("/")[2] == "code" for one in folders
        )
        return "torchscript" if is_script else "pytorch"
    if "schema.json" in names:
        return "skops"
    if "config.json" in names and not {"model.weights.h5", "metadata.json"}.isdisjoint(names):
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "archive"


def _zip_names(directory: bytes) -> list[str]:
    names: list[str] = []
    at = 0
    while at + _ZIP_ROW.size <= len(directory) and directory[at : at + 4] == b"PK\x01\x02":
        row = _ZIP_ROW.unpack_from(directory, at)
        name, extra, comment = row[10:13]
        at += _ZIP_ROW.size
        names.append(directory[at : at + name].decode("utf-8", "replace"))
        at += name + extra + comment
    return names


# --- compressed streams -------------------------------------------------------------------------

_COMPRESSED: Final = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
)
_ZLIB: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_LZMA_ALONE: Final = b"\x5d\x00\x00"


def _unpacked(first: bytes) -> bytes:
    """Return the beginning of what a stream unpacks to; nothing when it is no such stream."""
    most = RECOGNISE_UNPACKED_BYTES_MAX
    try:
        if first.startswith((b"\x1f\x8b", *_ZLIB)):
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(first, most)
        if first.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(first, most)
        if first.startswith((b"\xfd7zXZ\x00", _LZMA_ALONE)):
            unpacker = lzma.LZMADecompressor(memlimit=RECOGNISE_MEMORY_BYTES_MAX)
            return unpacker.decompress(first, most)
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
        pass
    return b""


# --- pickles ------------------------------------------------------------------------------------

_TORCH_MAGIC: Final = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # torch.save before 1.6
_NAMES_CODE: Final = frozenset({"GLOBAL", "INST"})  # protocols 0 and 1 know no other way
_RUNS_CODE: Final = frozenset({"REDUCE", "INST", "OBJ", "BUILD"})
_DOTTED: Final = re.compile(r"[\w.]+ [\w.]+")


def _pickle_format(first: bytes) -> Format:
    if _TORCH_MAGIC in first[:32]:
        return "pytorch"
    if b"joblib" in first or b"NumpyArrayWrapper" in first:
        return "joblib"
    return "pickle"


def _is_pickle(raw: bytes) -> bool:
    """Say whether ``raw`` begins a pickle: by its header, or because it would run as one.

    Protocols 0 and 1 have no header, and "cat", "dog" on two lines name a function there;
    so the stack is followed, and something must have been made of what was named.
    """
    if len(raw) > 2 and raw[0] == 0x80 and 2 <= raw[1] <= 5:
        return chr(raw[2]) in pickletools.code2op  # type: ignore[attr-defined]  # not in its stubs
    depth: list[int] = [0]
    is_named = False
    try:
        for opcode, argument, position in pickletools.genops(raw):
            if opcode.name == "STOP":  # "N." begins many a line of text
                return depth == [1] and position == len(raw) - 1
            before, after = opcode.stack_before, opcode.stack_after
            if pickletools.markobject in before:
                below = before.index(pickletools.markobject)
                if len(depth) == 1:
                    return False
                depth.pop()
                taken = below
            else:
                taken = len(before)
            if depth[-1] < taken:
                return False
            depth[-1] -= taken
            if after == [pickletools.markobject]:
                depth.append(0)
            else:
                depth[-1] += len(after)
            if opcode.name in _NAMES_CODE and _DOTTED.fullmatch(str(argument)):
                is_named = True
            if is_named and opcode.name in _RUNS_CODE:
                return True
    except (ValueError, UnicodeDecodeError, OverflowError, DeprecationWarning):
        pass  # a warning is an error where a person asked for that
    return False


# --- formats without a magic number -------------------------------------------------------------

_JSON_OBJECT: Final = re.compile(rb'\{\s*["}]')
_MODEL_FIELDS: Final = {  # onnx.proto, ModelProto: number -> wire type
    **dict.fromkeys((1, 5), 0),
    **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), 2),
}
_GRAPH_FIELDS: Final = {1, 2, 5, 10, 11, 12, 13, 14, 15, 16}  # GraphProto, all of them messages
_GRAPH: Final = 7
_OPSET_IMPORT: Final = 8


def _looks_like_safetensors(head: _Head, _name: str) -> bool:
    return head.size > 8 and _JSON_OBJECT.match(head.first, 8) is not None


def _looks_like_saved_model(head: _Head, name: str) -> bool:
    return PurePosixPath(name).name == "saved_model.pb" and head.first.startswith(b"\x08\x01\x12")


def _looks_like_onnx(head: _Head, _name: str) -> bool:
    """Follow the outermost fields, stepping over their content: any bytes may begin as protobuf."""
    seen: set[int] = set()
    at = 0
    while at < head.size:
        row = head.at(at, 20)
        key, used = _varint(row, 0)
        number, wire = key >> 3, key & 7
        if not row:  # the budget is spent; what was seen was sound
            break
        if not used or _MODEL_FIELDS.get(number) != wire:
            return False
        value, more = _varint(row, used)
        if not more:
            return False
        at += used + more
        if wire == 2:
            if at + value > head.size:
                return False
            if number == _GRAPH and value and not _begins_as_graph(head.at(at, 1)):
                return False
            at += value
        seen.add(number)
    return {_GRAPH, _OPSET_IMPORT} <= seen


def _begins_as_graph(raw: bytes) -> bool:
    return len(raw) == 1 and raw[0] >> 3 in _GRAPH_FIELDS and raw[0] & 7 == 2


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Read one variable-length number; the second value is how many bytes it took, 0 if none."""
    value = 0
    for used in range(10):
        if at + used >= len(raw):
            return 0, 0
        byte = raw[at + used]
        value |= (byte & 0x7F) << (7 * used)
        if byte < 0x80:
            return value, used + 1
    return 0, 0


_SHAPES: Final[tuple[tuple[Callable[[_Head, str], bool], Format], ...]] = (
    (_looks_like_safetensors, "safetensors"),
    (_looks_like_saved_model, "savedmodel"),
    (_looks_like_onnx, "onnx"),
)
