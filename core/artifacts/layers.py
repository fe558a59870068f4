"""Leaf layers and Piece layers on disk: what every byte of an object is checked against.

* ``store/layers/ab/<root>.<size>.l`` holds the leaf hashes, for files above one leaf;
  ``.p`` the Piece layer, for files above 1 MiB.  Smaller ones follow from the root.
* A layer is used only after it folded to the root it is named after; the leaf layer
  Piece by Piece, so that 64 GiB of content never brings 128 MiB of hashes into memory.
* A Piece layer that is lost or damaged is made again from the leaf layer.
* The leaf layer of a *plain* file is public and may be held without the file.

Whether the bytes themselves are held is not known here.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.faults import disk_faults
from hanse.core.artifacts.tree import (
    EMPTY_ROOT,
    HASH_SIZE_BYTES,
    PIECE_LEAVES_SIZE_BYTES,
    leaf_count,
    piece_count,
    piece_node,
    root_of_layer,
    root_of_leaves,
)
from hanse.core.durable import make_private_folder, sync_folder, write_durably
from hanse.core.errors import EnvironmentFault
from hanse.core.limits import LAYERS_REMEMBERED_MAX, LEAF_SIZE_BYTES, PIECE_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_LEAVES: Final = ".l"
_PIECES: Final = ".p"


class LayerMissing(EnvironmentFault):
    """The hashes an object is checked against are not held, or no longer fold to its root."""

    code = "content.layer_missing"
    text = "the hashes of object {name} are missing or damaged in {path}"
    fields = ("name", "path")


def object_name(root: bytes, size: int) -> str:
    """Return the name of an object: its root in hexadecimal, a dot, its size."""
    return f"{root.hex()}.{size}"


def leaves_length(size: int, piece: int) -> int:
    """Return how many bytes the leaf hashes of one Piece have; 0 when there is no such Piece."""
    left = leaf_count(size) * HASH_SIZE_BYTES - piece * PIECE_LEAVES_SIZE_BYTES
    return max(0, min(left, PIECE_LEAVES_SIZE_BYTES)) if piece >= 0 else 0


@dataclass(frozen=True, slots=True)
class Checker:
    """Says of any Piece of one object whether it is the one its root promises.

    ``layer`` has been folded to ``root``; it is empty for an object of up to 1 MiB.
    """

    root: bytes
    size: int
    layer: bytes

    def is_piece(self, piece: int, leaves: bytes) -> bool:
        """Compare the leaf hashes of one Piece with what the root promises."""
        if len(leaves) != leaves_length(self.size, piece):
            return False
        if not self.layer:
            return root_of_leaves(leaves) == self.root
        start = piece * HASH_SIZE_BYTES
        return piece_node(leaves) == self.layer[start : start + HASH_SIZE_BYTES]


class Layers:
    """All layers of one data folder."""

    def __init__(self, store_folder: Path) -> None:
        """Use ``store_folder``; nothing is made yet."""
        self.folder = store_folder / "layers"
        self._remembered: OrderedDict[tuple[bytes, int], Checker] = OrderedDict()
        self._lock = threading.Lock()

    def checker(self, root: bytes, size: int) -> Checker:
        """Return what checks an object's Pieces, or raise ``LayerMissing``."""
        with self._lock:
            if (found := self._remembered.get((root, size))) is not None:
                self._remembered.move_to_end((root, size))
                return found
        found = Checker(root, size, self._read_layer(root, size))
        with self._lock:
            self._remembered[root, size] = found
            while len(self._remembered) > LAYERS_REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return found

    def layer(self, root: bytes, size: int) -> bytes:
        """Return the Piece layer, folded to its root; empty for a file of up to 1 MiB."""
        return self.checker(root, size).layer

    def leaves(self, root: bytes, size: int) -> bytes:
        """Return the whole leaf layer, checked; 2 MiB for each GiB."""
        return b"".join(self.piece_leaves(root, size, piece) for piece in range(piece_count(size)))

    def piece_leaves(self, root: bytes, size: int, piece: int) -> bytes:
        """Return the leaf hashes of one Piece, checked, or raise ``LayerMissing``."""
        checker = self.checker(root, size)
        leaves = self._piece_leaves_as_held(root, size, piece)
        if not checker.is_piece(piece, leaves):
            raise self._missing(root, size)
        return leaves

    def holds_leaves(self, root: bytes, size: int, piece: int, leaves: bytes) -> bool:
        """Say whether the leaf layer on disk has just these hashes for one Piece."""
        return self._piece_leaves_as_held(root, size, piece) == leaves

    def keep(self, root: bytes, size: int, leaves: Iterable[bytes]) -> None:
        """Keep a leaf layer that came as one chunk for each Piece, if it leads to ``root``.

        Raises ``LayerMissing`` and keeps nothing when it does not.
        """
        nodes, small, count = bytearray(), b"", 0
        path = self._path(root, size, _LEAVES)
        new = path.with_name(f".{path.name}.new")
        make_private_folder(path.parent)
        with disk_faults(path):
            try:
                with new.open("wb") as file:
                    for chunk in leaves:
                        if not chunk or len(chunk) != leaves_length(size, count):
                            raise self._missing(root, size)
                        nodes += piece_node(chunk)
                        small = chunk
                        count += 1
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                if count != piece_count(size):
                    raise self._missing(root, size)
                is_large = size > PIECE_SIZE_BYTES
                found = root_of_layer(bytes(nodes)) if is_large else root_of_leaves(small)
                if found != root:
                    raise self._missing(root, size)
                self.install(root, size, new, bytes(nodes))
            finally:
                new.unlink(missing_ok=True)

    def keep_pieces(self, root: bytes, size: int, layer: bytes) -> bool:
        """Keep the Piece layer of an object above 1 MiB, if it folds to ``root``."""
        is_length = len(layer) == piece_count(size) * HASH_SIZE_BYTES
        if size <= PIECE_SIZE_BYTES or not is_length or root_of_layer(layer) != root:
            return False
        path = self._path(root, size, _PIECES)
        make_private_folder(path.parent)
        write_durably(path, layer)
        return True

    def install(self, root: bytes, size: int, leaves_file: Path, layer: bytes) -> None:
        """Give a synced file of leaf hashes, known to be right, its name; and the layer beside it.

        The file is used up or left alone; whoever made it removes what is left.
        """
        if size <= LEAF_SIZE_BYTES:
            return
        path = self._path(root, size, _LEAVES)
        make_private_folder(path.parent)
        with disk_faults(path):
            leaves_file.replace(path)
            if size > PIECE_SIZE_BYTES:
                write_durably(self._path(root, size, _PIECES), layer)  # syncs the folder too
            else:
                sync_folder(path.parent)

    def mend(self, root: bytes, size: int, piece: int, leaves: bytes) -> None:
        """Write the right hashes of one Piece into the leaf layer."""
        if size <= LEAF_SIZE_BYTES:
            return
        path = self._path(root, size, _LEAVES)
        make_private_folder(path.parent)
        with disk_faults(path), path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(piece * PIECE_LEAVES_SIZE_BYTES)
            file.write(leaves)
            file.truncate(leaf_count(size) * HASH_SIZE_BYTES)
            file.flush()
            os.fsync(file.fileno())

    def has(self, root: bytes, size: int) -> bool:
        """Say whether both layers are there, by name and length."""
        return (
            size <= LEAF_SIZE_BYTES
            or self._length(root, size, _LEAVES) == leaf_count(size) * HASH_SIZE_BYTES
        ) and (
            size <= PIECE_SIZE_BYTES
            or self._length(root, size, _PIECES) == piece_count(size) * HASH_SIZE_BYTES
        )

    def remove(self, root: bytes, size: int) -> None:
        """Forget the layers of one object."""
        with self._lock:
            self._remembered.pop((root, size), None)
        for suffix in (_LEAVES, _PIECES):
            path = self._path(root, size, suffix)
            with disk_faults(path):
                path.unlink(missing_ok=True)

    def names(self) -> Iterator[tuple[bytes, int, Path]]:
        """Yield root, size and file of everything here that has the name of a layer."""
        for path in sorted(self.folder.glob("??/*")):
            name, dot, suffix = path.name.rpartition(".")
            if dot and "." + suffix in {_LEAVES, _PIECES} and (parsed := parse_name(name)):
                yield *parsed, path

    def _path(self, root: bytes, size: int, suffix: str) -> Path:
        name = object_name(root, size)
        return self.folder / name[:2] / (name + suffix)

    def _length(self, root: bytes, size: int, suffix: str) -> int:
        try:
            return self._path(root, size, suffix).stat().st_size
        except OSError:
            return -1

    def _missing(self, root: bytes, size: int) -> LayerMissing:
        return LayerMissing(name=object_name(root, size), path=self.folder)

    def _piece_leaves_as_held(self, root: bytes, size: int, piece: int) -> bytes:
        assert 0 <= piece < piece_count(size)
        if size <= LEAF_SIZE_BYTES:
            return root
        try:
            with self._path(root, size, _LEAVES).open("rb", buffering=0) as file:
                file.seek(piece * PIECE_LEAVES_SIZE_BYTES)
                return file.read(PIECE_LEAVES_SIZE_BYTES) or b""
        except OSError:
            return b""

    def _read_layer(self, root: bytes, size: int) -> bytes:
        if size <= PIECE_SIZE_BYTES:
            if (size == 0) != (root == EMPTY_ROOT):
                raise self._missing(root, size)
            return b""
        path = self._path(root, size, _PIECES)
        layer = b""
        with suppress(OSError), path.open("rb") as file:
            layer = file.read(piece_count(size) * HASH_SIZE_BYTES + 1)
        if len(layer) == piece_count(size) * HASH_SIZE_BYTES and root_of_layer(layer) == root:
            return layer
        return self._layer_from_leaves(root, size)

    def _layer_from_leaves(self, root: bytes, size: int) -> bytes:
        """Make the Piece layer again and keep it."""
        nodes = bytearray()
        for piece in range(piece_count(size)):
            leaves = self._piece_leaves_as_held(root, size, piece)
            if len(leaves) != leaves_length(size, piece):
                raise self._missing(root, size)
            nodes += piece_node(leaves)
        layer = bytes(nodes)
        if root_of_layer(layer) != root:
            raise self._missing(root, size)
        write_durably(self._path(root, size, _PIECES), layer)
        return layer


def parse_name(name: str) -> tuple[bytes, int] | None:
    """Read the name of an object, or return None for a file that is none of ours."""
    root, dot, size = name.partition(".")
    if len(root) != 2 * HASH_SIZE_BYTES or not dot or not size.isascii() or not size.isdecimal():
        return None
    try:
        parsed = bytes.fromhex(root), int(size)
    except ValueError:
        return None
    return parsed if object_name(*parsed) == name else None
