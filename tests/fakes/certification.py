"""What is certified in tests: one small file as an Artifact, and suites that take no time."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from hanse.core.artifacts.manifest import FileEntry, Manifest
from hanse.core.artifacts.tree import hash_leaves, root_of_leaves
from hanse.core.attest.suites import bundled, read_suite
from hanse.core.certify.checks.suite_run import Job, Settings
from hanse.core.certify.source import StagedModel
from hanse.core.model.certificate import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.model.suite import Suite

MACHINE = Machine("x86_64-v3/2c", "x86_64", "x86_64-v3", "a processor", 2, 8, "linux 6.18")
SETTINGS = Settings(threads=2, cores=0, nice=0, app="0")


def suite_of(*ids: str, **params: int) -> Suite:
    """Cut the quick suite to some checks (all without ``ids``), with other parameters."""
    quick = bundled().newest("quick").data
    checks = [
        msgspec.structs.replace(
            one, params={key: params.get(key, value) for key, value in one.params.items()}
        )
        for one in quick.checks
        if not ids or one.id in ids
    ]
    return read_suite(msgspec.json.encode(msgspec.structs.replace(quick, checks=tuple(checks))))


def manifest_of(files: dict[str, Path]) -> Manifest:
    """Make the Manifest of small files."""
    rows = []
    for name, path in files.items():
        raw = path.read_bytes()
        root = root_of_leaves(hash_leaves(raw))
        rows.append(FileEntry(name, len(raw), root, sha256(raw).digest()))
    return Manifest.of(rows)


def job_of(folder: Path, raw: bytes, name: str = "model.onnx", **given: object) -> Job:
    """Write ``raw`` as a file of ``folder`` and make a job of it; an ONNX file runs."""
    path = folder / name
    path.write_bytes(raw)
    files = {name: path}
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    source = StagedModel(name, "onnx", files, scratch) if name.endswith(".onnx") else None
    known = {"manifest": manifest_of(files), "source": source, "files": files, "scratch": scratch}
    return Job(**(known | given))
