"""Small objects (pictures, and later Manifests and cards), named by their SHA-256.

* ``store/small/ab/<sha256>``, written whole or not at all, read back only if the
  bytes still are what the name says.
* Equal bytes are one file.

What an object means, and whether anybody may have it, is not known here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from hanse.core.durable import make_private_folder, write_durably
from hanse.core.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ObjectDamaged(EnvironmentFault):
    """The bytes on disk are not those the name promises."""

    code = "small.damaged"
    text = "object {name} in {path} is damaged"
    fields = ("name", "path")


class SmallStore:
    """All small objects of one data folder."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder`` (the Account's data folder); nothing is made yet."""
        self._root = folder / "store" / "small"

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._root / name[:2] / name

    def put(self, raw: bytes) -> bytes:
        """Keep ``raw`` durably and return its SHA-256; a damaged object is replaced."""
        digest = sha256(raw).digest()
        path = self._path(digest)
        if path.exists() and path.read_bytes() == raw:
            return digest
        make_private_folder(path.parent)
        write_durably(path, raw)
        return digest

    def get(self, digest: bytes) -> bytes | None:
        """Return the object, ``None`` when it is not held, or raise ``ObjectDamaged``."""
        path = self._path(digest)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        if sha256(raw).digest() != digest:
            raise ObjectDamaged(name=digest.hex(), path=self._root)
        return raw

    def has(self, digest: bytes) -> bool:
        """Say whether an object is held, by its name alone."""
        return self._path(digest).is_file()

    def names(self) -> Iterator[bytes]:
        """Yield the SHA-256 of every object held, in order."""
        for path in sorted(self._root.glob("??/*")):
            if len(path.name) == 64:
                yield bytes.fromhex(path.name)
