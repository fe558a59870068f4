"""The Merkle tree of one file's bytes: BitTorrent v2 (BEP 52) with SHA-256.

* Leaf = SHA-256 of a block of 16 KiB, without prefix or index; the last block is
  hashed as it is, not padded.
* Root: leaves filled up with zero hashes to a power of two, node = SHA-256(left + right).
  A file of up to 64 leaves is filled to *its own* power of two only.
* Piece layer: the nodes over 64 leaves (1 MiB) each, for files above 1 MiB; the last Piece
  is filled to 64 leaves with zero hashes, the layer with roots of 64 zero hashes.
* A file of no bytes has no leaves; its root is written as 32 zero bytes.
* Leaves and nodes are not told apart, only the size fixes the shape: **a root is never
  used without its signed size**, and every proof checks index, block and path length.

Leaves and layers are kept as bytes, 32 for each hash.  Where they lie is not known here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.errors import VerificationFailed
from hanse.core.limits import LEAF_SIZE_BYTES, PIECE_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_SIZE_BYTES: Final = 32
LEAVES_PER_PIECE: Final = PIECE_SIZE_BYTES // LEAF_SIZE_BYTES
PIECE_LEAVES_SIZE_BYTES: Final = LEAVES_PER_PIECE * HASH_SIZE_BYTES
EMPTY_ROOT: Final = bytes(HASH_SIZE_BYTES)

_PIECE_HEIGHT: Final = LEAVES_PER_PIECE.bit_length() - 1
_PAIR_SIZE_BYTES: Final = 2 * HASH_SIZE_BYTES
_HEIGHTS: Final = 64  # more than any size of 64 bits needs


def _zeros() -> tuple[bytes, ...]:
    """Return the root over 2**h zero hashes, for each height h."""
    zeros = [bytes(HASH_SIZE_BYTES)]
    for _ in range(_HEIGHTS):
        zeros.append(sha256(zeros[-1] * 2).digest())
    return tuple(zeros)


ZERO: Final = _zeros()

assert LEAVES_PER_PIECE == 1 << _PIECE_HEIGHT


class BadBlock(VerificationFailed):
    """A block does not stand where it claims to; ``where`` is block/blocks, from 0."""

    code = "content.bad_block"
    text = "block {where} does not belong below the root: {reason}"

    def __init__(self, where: str, reason: str) -> None:
        """Name the block and, by a stable word, what is wrong."""
        super().__init__(where=where, reason=reason)


# --- shape: what the size alone says --------------------------------------------------------


def leaf_count(size: int) -> int:
    """Return how many blocks of 16 KiB, the last one shorter, make ``size`` bytes."""
    return -(-size // LEAF_SIZE_BYTES)


def piece_count(size: int) -> int:
    """Return how many Pieces of 1 MiB, the last one shorter, make ``size`` bytes."""
    return -(-size // PIECE_SIZE_BYTES)


def leaf_length(size: int, leaf: int) -> int:
    """Return the exact length of block ``leaf``."""
    assert 0 <= leaf < leaf_count(size)
    return min(LEAF_SIZE_BYTES, size - leaf * LEAF_SIZE_BYTES)


def piece_length(size: int, piece: int) -> int:
    """Return the exact length of Piece ``piece``."""
    assert 0 <= piece < piece_count(size)
    return min(PIECE_SIZE_BYTES, size - piece * PIECE_SIZE_BYTES)


def path_length(size: int) -> int:
    """Return how many hashes lead from a block to the root."""
    return max(leaf_count(size) - 1, 0).bit_length()


# --- hashing --------------------------------------------------------------------------------


def hash_leaves(data: bytes | memoryview) -> bytes:
    """Hash each block of 16 KiB in ``data``, which begins at a block; 32 bytes for each."""
    view = memoryview(data)
    if len(view) <= LEAF_SIZE_BYTES:
        return sha256(view).digest() if view else b""
    return b"".join(
        [
            sha256(view[start : start + LEAF_SIZE_BYTES]).digest()
            for start in range(0, len(view), LEAF_SIZE_BYTES)
        ]
    )


def fold(nodes: bytes, height: int, top: int | None = None) -> bytes:
    """Fold nodes of one ``height`` to a single one, or on up to ``top`` with zero hashes."""
    assert nodes
    while len(nodes) > HASH_SIZE_BYTES or (top is not None and height < top):
        if len(nodes) % _PAIR_SIZE_BYTES:
            nodes += ZERO[height]
        # Neighbours lie side by side already: one slice is left + right.
        nodes = b"".join(
            [
                sha256(nodes[start : start + _PAIR_SIZE_BYTES]).digest()
                for start in range(0, len(nodes), _PAIR_SIZE_BYTES)
            ]
        )
        height += 1
    return nodes


def piece_node(leaves: bytes) -> bytes:
    """Return the Piece layer's node over up to 64 leaves."""
    assert len(leaves) <= PIECE_LEAVES_SIZE_BYTES
    return fold(leaves, 0, _PIECE_HEIGHT)


def root_of_leaves(leaves: bytes) -> bytes:
    """Return the root over all leaves of a file."""
    return fold(leaves, 0) if leaves else EMPTY_ROOT


def root_of_layer(layer: bytes) -> bytes:
    """Return the root over the Piece layer of a file above 1 MiB."""
    return fold(layer, _PIECE_HEIGHT)


class PieceTree:
    """The tree of a file that is read from its beginning, block by block."""

    __slots__ = ("_leaves", "_nodes", "size")

    def __init__(self) -> None:
        """Start with no bytes."""
        self.size = 0
        self._leaves = bytearray()
        self._nodes = bytearray()

    def add(self, block: bytes | memoryview) -> None:
        """Take the next block; only the last one may be shorter than 16 KiB."""
        assert 0 < len(block) <= LEAF_SIZE_BYTES
        assert self.size % LEAF_SIZE_BYTES == 0
        self._leaves += sha256(block).digest()
        self.size += len(block)
        if len(self._leaves) % PIECE_LEAVES_SIZE_BYTES == 0:
            self._nodes += piece_node(bytes(self._leaves[-PIECE_LEAVES_SIZE_BYTES:]))

    def leaves(self) -> bytes:
        """Return the Leaf layer so far, 32 bytes for each block."""
        return bytes(self._leaves)

    def layer(self) -> bytes:
        """Return the Piece layer; none for a file of up to 1 MiB (BEP 52)."""
        if self.size <= PIECE_SIZE_BYTES:
            return b""
        rest = bytes(self._leaves[len(self._nodes) // HASH_SIZE_BYTES * PIECE_LEAVES_SIZE_BYTES :])
        return bytes(self._nodes) + (piece_node(rest) if rest else b"")

    def root(self) -> bytes:
        """Return the root over all bytes so far."""
        if self.size <= PIECE_SIZE_BYTES:
            return root_of_leaves(bytes(self._leaves))
        return root_of_layer(self.layer())


# --- proofs ---------------------------------------------------------------------------------


def block_path(leaves: bytes, index: int) -> list[bytes]:
    """Return the path from block ``index`` to the root over ``leaves``, lowest sibling first."""
    assert 0 <= index < len(leaves) // HASH_SIZE_BYTES
    return path_in(leaves, index, 0)


def path_in(nodes: bytes, index: int, height: int) -> list[bytes]:
    """Return the path from node ``index`` of one ``height`` to the root over ``nodes``."""
    path: list[bytes] = []
    while len(nodes) > HASH_SIZE_BYTES:
        if len(nodes) % _PAIR_SIZE_BYTES:
            nodes += ZERO[height]
        sibling = (index ^ 1) * HASH_SIZE_BYTES
        path.append(nodes[sibling : sibling + HASH_SIZE_BYTES])
        nodes = b"".join(
            [
                sha256(nodes[start : start + _PAIR_SIZE_BYTES]).digest()
                for start in range(0, len(nodes), _PAIR_SIZE_BYTES)
            ]
        )
        index >>= 1
        height += 1
    return path


def piece_path(leaves: bytes, layer: bytes, index: int) -> list[bytes]:
    """Return block ``index``'s path from the leaves of its Piece and the Piece layer alone.

    The same path as ``block_path``, without hashing every leaf of the file; ``layer`` is
    empty for a file of up to 1 MiB.
    """
    piece, leaf = divmod(index, LEAVES_PER_PIECE)
    if not layer:
        assert piece == 0
        return block_path(leaves, leaf)
    filled = leaves + bytes(PIECE_LEAVES_SIZE_BYTES - len(leaves))
    return path_in(filled, leaf, 0) + path_in(layer, piece, _PIECE_HEIGHT)


def check_block(size: int, root: bytes, index: int, block: bytes, path: Sequence[bytes]) -> None:
    """Raise ``BadBlock`` unless ``block`` is block ``index`` of the file with that root and size.

    Cheap refusals first; nothing is hashed before the shape is the one ``size`` gives.
    """
    blocks = leaf_count(size)
    where = f"{index}/{blocks}"
    if not 0 <= index < blocks:
        raise BadBlock(where, "index")
    if len(block) != leaf_length(size, index):
        raise BadBlock(where, "block_length")
    if len(path) != path_length(size):
        raise BadBlock(where, "path_length")
    if any(len(sibling) != HASH_SIZE_BYTES for sibling in path):
        raise BadBlock(where, "hash_length")
    if climb(sha256(block).digest(), index, path) != root:
        raise BadBlock(where, "other_root")


def climb(node: bytes, index: int, path: Sequence[bytes]) -> bytes:
    """Return the root that ``path`` leads to from the node at ``index``."""
    for sibling in path:
        node = sha256(sibling + node if index & 1 else node + sibling).digest()
        index >>= 1
    return node
