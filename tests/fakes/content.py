"""Bytes that repeat, and small stores, for tests of the content store."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.pieces import PieceStore
from hanse.core.artifacts.sealing import seal_artifact
from hanse.core.model.control import Control

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
LEAF = 16 * 1024
CONTENT_KEY = hashlib.sha256(b"content key").digest()
SALT = hashlib.sha256(b"salt").digest()
# One byte, one leaf, one Piece, and one to either side; odd and even Pieces.
SIZES = (
    *(1, 1000, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF, 65 * 1024),
    *(MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5, 5 * MIB + 70_000),
)


def some_bytes(size: int, seed: str = "") -> bytes:
    """Return ``size`` bytes that look random and are always the same."""
    base = _base(seed)
    turned = (base[turn:] + base[:turn] for turn in range(1, size // MIB + 2))  # no two alike
    return b"".join(turned)[:size]


@cache
def _base(seed: str) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(MIB)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files below ``folder`` and return it."""
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder


def imported(tmp_path: Path, files: dict[str, bytes]):
    """Import files into a store below ``tmp_path``; return store and Manifest."""
    store = PieceStore(tmp_path / "data")
    source = write_files(tmp_path / "source", files)
    return store, import_artifact(source, store, Control()).manifest


def sealed(tmp_path: Path, files: dict[str, bytes]):
    """Import and seal files; return store, Manifest and what sealing gave."""
    store, manifest = imported(tmp_path, files)
    return store, manifest, seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())


def damage(path: Path, offset: int, size: int = 3) -> None:
    """Let a file rot: other bytes at ``offset``."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset)
        before = file.read(size)
        file.seek(offset)
        file.write(bytes(one ^ 0xA5 for one in before))
    path.chmod(0o444)
