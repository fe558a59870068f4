"""What the files are, before anything runs: integrity, paths, formats, structure, safety policy.

* Integrity first: every file's SHA-256, and the root that binds it, are those of the Manifest.
* Formats are recognised by bytes; all else is read in a Worker, which says the first rule that
  is broken.  That rule belongs to one check; the other checks of the reader stay undecided.
* Allow by format.  What may carry code never runs, whatever a scanner says: a scanner may add
  that it found something or that it does not know, and never that a file is safe.
* Of a sealed Trial there are no files: its Pieces are checked against the Manifest's roots as
  they are opened, and the rest is left out with that reason.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.formats import FormatRefused, Recognised, recognise_artifact
from hanse.core.artifacts.manifest import (
    ArtifactTooLarge,
    BadArtifactPath,
    TooManyFiles,
    check_paths,
    check_sizes,
    shown_path,
)
from hanse.core.artifacts.tree import PieceTree
from hanse.core.certify.checks.results import (
    failed,
    failed_by,
    failed_worker,
    passed,
    skipped,
    warned,
)
from hanse.core.certify.checks.scanning import scan_pickle
from hanse.core.certify.inspecting import inspect_files
from hanse.core.errors import FileUnreadable
from hanse.core.limits import LEAF_SIZE_BYTES
from hanse.core.model.artifact import CONVERTIBLE, MAY_CARRY_CODE, READABLE, RUNNABLE
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hanse.core.artifacts.manifest import FileEntry, Manifest
    from hanse.core.model.artifact import Format, ModelFacts
    from hanse.core.model.certificate import CheckResult
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner

READERS: Final[Mapping[str, frozenset[str]]] = {  # check of a reader -> formats it is about
    "onnx.domains": frozenset({"onnx"}),
    "onnx.tensors": frozenset({"onnx"}),
    "onnx.checker": frozenset({"onnx"}),
    "st.header": frozenset({"safetensors"}),
    "gguf.header": frozenset({"gguf"}),
}
_READ_BYTES: Final = 1024 * 1024
_MAGIC: Final = frozenset({"name_disagrees", "empty", "no_file"})
_PATHS: Final = frozenset({"path", "external_path", "external_link"})
_DOMAINS: Final = frozenset(
    {
        *("operator_domain", "operator_unknown", "opset_newer", "opset_conflict", "ir_version"),
        *("function_recursive", "function_twice"),
    }
)
_TENSORS: Final = frozenset(
    {
        *("dimension_negative", "dimensions", "tensor_bytes", "tensor_range", "tensor_size"),
        *("tensor_type", "external_missing", "external_range", "external_buffers"),
    }
)
_LIMITS: Final = frozenset(
    {
        *("nodes", "nesting", "functions", "expanded_nodes", "file_size", "initializers"),
        *("signature", "tensors", "elements", "tables", "objects", "members", "member_size"),
        *("member_ratio", "unpacked"),
    }
)
_HEADERS: Final = {"safetensors": "st.header", "gguf": "gguf.header"}


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at all files came to: ``refused`` is the check that failed, and how."""

    models: tuple[Recognised, ...] = ()
    facts: tuple[ModelFacts, ...] = ()
    refused: Mapping[str, CheckResult] = field(default_factory=dict)

    @property
    def formats(self) -> frozenset[Format]:
        """Return the formats of all model files."""
        return frozenset(one.format for one in self.models)

    def facts_of(self, file: str) -> ModelFacts | None:
        """Return the facts of one file, if they were read."""
        return next((one for one in self.facts if one.file == file), None)


def look(files: Mapping[str, Path], scratch: Path, runner: ModelRunner, control: Control) -> Looked:
    """Recognise all files, and read their facts in a Worker of its own."""
    try:
        layout = recognise_artifact(files)
    except FormatRefused as error:
        return Looked(refused={"format.magic": failed_by("format.magic", error)})
    try:
        found = inspect_files(runner, files, scratch, control)
    except FormatRefused as error:
        kinds = {one.file: one.format for one in layout.models}
        name = check_of_rule(
            str(error.values["rule"]), kinds.get(str(error.values["file"]), "unknown")
        )
        return Looked(layout.models, refused={name: failed_by(name, error)})
    except WorkerFailed as error:
        name = _check_of_reader(layout.models)
        return Looked(layout.models, refused={name: failed_worker(name, error)})
    return Looked(layout.models, found.facts)


def check_of_rule(rule: str, file_format: Format) -> str:
    """Say which check a reader's rule belongs to."""
    if rule in _MAGIC:
        return "format.magic"
    if file_format in _HEADERS:
        return _HEADERS[file_format]
    if rule in _PATHS:
        return "format.paths"
    if file_format == "onnx":
        if rule in _DOMAINS:
            return "onnx.domains"
        if rule in _TENSORS:
            return "onnx.tensors"
    if rule in _LIMITS:
        return "format.limits"
    return "onnx.checker" if file_format == "onnx" else "format.magic"


def check_integrity(
    check_id: str, manifest: Manifest, files: Mapping[str, Path] | None, control: Control
) -> CheckResult:
    """Compare every file with its SHA-256 and its root; raise ``FileUnreadable``."""
    if files is None:
        return passed(check_id, str(len(manifest.files)), "by_pieces", count=len(manifest.files))
    listed = {one.path for one in manifest.files}
    odd = sorted(listed ^ set(files))
    if odd:
        reason = "file_missing" if odd[0] in listed else "file_extra"
        return failed(check_id, reason, file=shown_path(odd[0]))
    done = 0
    for entry in manifest.files:
        if not _is_same(entry, files[entry.path], control, done, manifest.size):
            return failed(check_id, "hash_differs", file=shown_path(entry.path))
        done += entry.size
    return passed(check_id, f"{len(listed)} of {len(listed)}")


def check_manifest_paths(check_id: str, manifest: Manifest, looked: Looked) -> CheckResult:
    """Check that no path leads out of the folder, or is two files on another system."""
    try:
        check_paths(one.path for one in manifest.files)
    except BadArtifactPath as error:
        return failed(check_id, "path", error.rule, file=str(error.values["path"]))
    return looked.refused.get(check_id) or passed(check_id)


def check_manifest_limits(check_id: str, manifest: Manifest, looked: Looked) -> CheckResult:
    """Check counts and sizes of files, and of what stands in them."""
    try:
        check_sizes([(one.path, one.size) for one in manifest.files])
    except (ArtifactTooLarge, TooManyFiles) as error:
        return failed(check_id, "too_large", error.code, file=str(error.values["path"]))
    return looked.refused.get(check_id) or passed(check_id)


def check_read(check_id: str, looked: Looked) -> CheckResult:
    """Say what the reader came to under this check; undecided after another one failed."""
    found = looked.refused.get(check_id)
    if found is not None:
        return found
    if looked.refused and check_id != "format.magic":
        return skipped(check_id, "earlier_failed", check=next(iter(looked.refused)))
    formats = READERS.get(check_id, looked.formats)
    kept = [one.file for one in looked.models if one.format in formats]
    return passed(
        check_id, ", ".join(sorted({one.format for one in looked.models})) if kept else ""
    )


def check_policy(
    check_id: str, looked: Looked, files: Mapping[str, Path], control: Control
) -> CheckResult:
    """Allow by format; name what may carry code, with the one line a scanner may add."""
    if "format.magic" in looked.refused:
        return skipped(check_id, "earlier_failed", check="format.magic")
    if not looked.models:
        return failed(check_id, "no_model")
    unsafe = [one for one in looked.models if one.format in MAY_CARRY_CODE]
    if not unsafe:
        return passed(check_id, ", ".join(sorted(looked.formats)))
    first = unsafe[0]
    control.checkpoint(check_id, 0, 1)
    values = {"file": shown_path(first.file), "format": first.format}
    if looked.formats & (RUNNABLE | READABLE):
        return warned(check_id, "code_beside", **values)
    if first.format in CONVERTIBLE:
        return failed(check_id, "convert_first", **values)
    names = scan_pickle(files[first.file])
    if names:
        return failed(check_id, "code_found", "found", **values, names=", ".join(names))
    return failed(check_id, "may_carry_code", "unknown", **values)


def _check_of_reader(models: tuple[Recognised, ...]) -> str:
    """Name the check that stands for a Worker that gave no answer about these files."""
    formats = [one.format for one in models]
    for name, about in READERS.items():
        if name not in {"onnx.domains", "onnx.tensors"} and not about.isdisjoint(formats):
            return name
    return "format.limits"


def _is_same(entry: FileEntry, path: Path, control: Control, done: int, total: int) -> bool:
    """Hash one file in blocks of the tree; ``done`` of ``total`` bytes came before it."""
    digest, tree = sha256(), PieceTree()
    buffer = bytearray(LEAF_SIZE_BYTES)
    view = memoryview(buffer)
    try:
        with io.BufferedReader(path.open("rb", buffering=0), _READ_BYTES) as file:
            while size := file.readinto(buffer):
                if tree.size % (64 * LEAF_SIZE_BYTES) == 0:
                    control.checkpoint("format.hashes", done + tree.size, total)
                if tree.size + size > entry.size:
                    return False
                digest.update(view[:size])
                tree.add(view[:size])
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error
    return (tree.size, digest.digest(), tree.root()) == (entry.size, entry.sha256, entry.root)
