"""The Merkle tree over one Feed's Entry ids: RFC 6962 with SHA-256.

* Leaf = SHA-256(00 + id), node = SHA-256(01 + left + right), split at the
  largest power of two below the size (RFC 6962, section 2.1).
* ``Peaks`` is the running form: the roots of the full subtrees, at most 31.
* An inclusion proof shows that one id stands at one seq below a root; a
  consistency proof shows that one root continues another.
* Checking raises ``BadProof`` and says where; it never answers with a boolean
  that could be ignored.

Seq is 1-based everywhere, as in a Feed; the RFC's index is ``seq - 1``.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.errors import VerificationFailed
from hanse.core.limits import SEQ_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_SIZE_BYTES: Final = 32
_LEAF: Final = b"\0"
_NODE: Final = b"\1"


class BadProof(VerificationFailed):
    """A Merkle proof does not lead to the root it claims."""

    code = "ledger.bad_proof"

    def __init__(self, where: str, reason: str) -> None:
        """Name the proof and what is wrong with it."""
        super().__init__(where=where, reason=reason)


class Peaks:
    """The frontier of a growing tree, largest subtree first.

    ``add`` appends one id in amortised constant time; ``root`` commits to all
    ids added so far.  As bytes: the 32-byte peaks after each other, which with
    the count is the whole state.
    """

    __slots__ = ("count", "stack")

    def __init__(self, count: int = 0, stack: Sequence[bytes] = ()) -> None:
        """Start empty, or from a state that ``to_bytes`` gave."""
        self.count = count
        self.stack = list(stack)

    @classmethod
    def from_bytes(cls, count: int, raw: bytes) -> Peaks:
        """Rebuild the state; raise ``BadProof`` if the number of peaks cannot be right."""
        if not 0 <= count <= SEQ_MAX or len(raw) != HASH_SIZE_BYTES * count.bit_count():
            raise BadProof("peaks", f"{len(raw)} bytes of peaks for {count} entries")
        return cls(
            count, [raw[i : i + HASH_SIZE_BYTES] for i in range(0, len(raw), HASH_SIZE_BYTES)]
        )

    def to_bytes(self) -> bytes:
        """Return the peaks, largest subtree first."""
        return b"".join(self.stack)

    def copy(self) -> Peaks:
        """Return an independent state."""
        return Peaks(self.count, self.stack)

    def add(self, entry_id: bytes) -> None:
        """Append one Entry id."""
        node, count, stack = sha256(_LEAF + entry_id).digest(), self.count, self.stack
        while count & 1:
            node = sha256(_NODE + stack.pop() + node).digest()
            count >>= 1
        stack.append(node)
        self.count += 1

    def root(self) -> bytes | None:
        """Return the root over all ids so far, or ``None`` over none (a Feed's first Header)."""
        stack = self.stack
        if not stack:
            return None
        node = stack[-1]
        for left in stack[-2::-1]:
            node = sha256(_NODE + left + node).digest()
        return node


def _split(size: int) -> int:
    """Return the largest power of two below ``size`` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def root_of(ids: Sequence[bytes]) -> bytes | None:
    """Return the root over ``ids``, by the recursive definition of the RFC."""
    if not ids:
        return None
    return _subtree(ids, 0, len(ids))


def _subtree(ids: Sequence[bytes], start: int, stop: int) -> bytes:
    peaks = Peaks()
    for index in range(start, stop):
        peaks.add(ids[index])
    root = peaks.root()
    assert root is not None
    return root


def inclusion(ids: Sequence[bytes], seq: int) -> list[bytes]:
    """Return the path from the id at ``seq`` to the root over ``ids``, lowest sibling first."""
    assert 1 <= seq <= len(ids)
    path: list[bytes] = []
    start, stop, index = 0, len(ids), seq - 1
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(_subtree(ids, middle, stop))
            stop = middle
        else:
            path.append(_subtree(ids, start, middle))
            start = middle
    path.reverse()
    return path


def check_inclusion(
    entry_id: bytes, seq: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Raise ``BadProof`` unless ``path`` leads from the id at ``seq`` to the root of ``size`` ids.

    The steps of RFC 9162, section 2.1.3.2.
    """
    where = f"inclusion of seq {seq} in {size}"
    if not 1 <= seq <= size <= SEQ_MAX:
        raise BadProof(where, "seq is outside the tree")
    if len(path) > SEQ_MAX.bit_length():
        raise BadProof(where, f"a path of {len(path)} hashes is longer than any tree")
    index, last = seq - 1, size - 1
    node = sha256(_LEAF + entry_id).digest()
    for sibling in path:
        if len(sibling) != HASH_SIZE_BYTES:
            raise BadProof(where, f"a hash of {len(sibling)} bytes in the path")
        if last == 0:
            raise BadProof(where, f"a path of {len(path)} hashes is too long")
        if index & 1 or index == last:
            node = sha256(_NODE + sibling + node).digest()
            while index and not index & 1:
                index >>= 1
                last >>= 1
        else:
            node = sha256(_NODE + node + sibling).digest()
        index >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(where, f"a path of {len(path)} hashes is too short")
    if node != root:
        raise BadProof(where, f"the path leads to {node.hex()}, not {root.hex()}")


def consistency(ids: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the root over all ``ids`` continues that of the first ones."""
    assert 1 <= old_size <= len(ids)
    path: list[bytes] = []
    start, stop, is_whole = 0, len(ids), True
    size = old_size
    while size != stop - start:
        middle = start + _split(stop - start)
        if size <= middle - start:
            path.append(_subtree(ids, middle, stop))
            stop = middle
        else:
            path.append(_subtree(ids, start, middle))
            size -= middle - start
            start = middle
            is_whole = False
    if not is_whole:
        path.append(_subtree(ids, start, stop))
    path.reverse()
    return path


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Raise ``BadProof`` unless the tree of ``new_size`` ids begins with that of ``old_size``.

    The steps of RFC 9162, section 2.1.4.2.
    """
    where = f"consistency of {old_size} with {new_size}"
    if not 1 <= old_size <= new_size <= SEQ_MAX:
        raise BadProof(where, "sizes are out of order")
    if any(len(node) != HASH_SIZE_BYTES for node in path):
        raise BadProof(where, "a hash in the path is not 32 bytes long")
    if old_size == new_size:
        if path:
            raise BadProof(where, f"{len(path)} hashes where none belong")
        if old_root != new_root:
            raise BadProof(where, f"root {old_root.hex()} is not {new_root.hex()}")
        return
    nodes = list(path)
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        raise BadProof(where, "the path is empty")
    index, last = old_size - 1, new_size - 1
    while index & 1:
        index >>= 1
        last >>= 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise BadProof(where, f"a path of {len(path)} hashes is too long")
        if index & 1 or index == last:
            old = sha256(_NODE + sibling + old).digest()
            new = sha256(_NODE + sibling + new).digest()
            while index and not index & 1:
                index >>= 1
                last >>= 1
        else:
            new = sha256(_NODE + new + sibling).digest()
        index >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(where, f"a path of {len(path)} hashes is too short")
    if old != old_root:
        raise BadProof(where, f"the path leads to the old root {old.hex()}, not {old_root.hex()}")
    if new != new_root:
        raise BadProof(where, f"the path leads to the new root {new.hex()}, not {new_root.hex()}")
