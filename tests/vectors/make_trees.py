"""Writes ``trees.json``: roots over Entry ids, and proofs that hold or do not.

Run as ``python -m tests.vectors.make_trees``.  Roots and paths are computed by the
recursive definitions of RFC 6962, sections 2.1.1 and 2.1.2, not by the program.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.vectors.pen import tree_root

FILE = Path(__file__).with_name("trees.json")
IDS = [sha256(f"entry {number}".encode()).digest() for number in range(1, 33)]
# The eight leaves of Certificate Transparency's own tests.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
CT_LEAVES.append("606162636465666768696a6b6c6d6e6f")


def split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def path_to(index: int, ids: list[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(ids) == 1:
        return []
    left = split(len(ids))
    if index < left:
        return [*path_to(index, ids[:left]), tree_root(ids[left:])]
    return [*path_to(index - left, ids[left:]), tree_root(ids[:left])]


def proof_of(size: int, ids: list[bytes], *, is_whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b)."""
    if size == len(ids):
        return [] if is_whole else [tree_root(ids)]
    left = split(len(ids))
    if size <= left:
        return [*proof_of(size, ids[:left], is_whole=is_whole), tree_root(ids[left:])]
    return [*proof_of(size - left, ids[left:], is_whole=False), tree_root(ids[:left])]


def peaks_of(ids: list[bytes]) -> bytes:
    """Roots of the full subtrees, largest first."""
    peaks = b""
    while ids:
        size = 1 << (len(ids).bit_length() - 1)
        peaks, ids = peaks + tree_root(ids[:size]), ids[size:]
    return peaks


def tree(note: str, ids: list[bytes]) -> dict[str, Any]:
    return {
        "note": note,
        "ids": [it.hex() for it in ids],
        "peaks": peaks_of(ids).hex(),
        "root": tree_root(ids).hex() if ids else None,
    }


def inclusion(
    note: str, place: int, count: int, reason: str = "", **changes: Any
) -> dict[str, Any]:
    ids = IDS[:count]
    row = {
        "note": note,
        "id": ids[place - 1].hex(),
        "seq": place,
        "size": count,
        "path": [it.hex() for it in path_to(place - 1, ids)],
        "root": tree_root(ids).hex(),
    } | changes
    return row | ({"reason": reason} if reason else {})


def consistency(note: str, old: int, new: int, reason: str = "", **changes: Any) -> dict[str, Any]:
    row = {
        "note": note,
        "old_size": old,
        "old_root": tree_root(IDS[:old]).hex(),
        "new_size": new,
        "new_root": tree_root(IDS[:new]).hex(),
        "path": [it.hex() for it in proof_of(old, IDS[:new])],
    } | changes
    return row | ({"reason": reason} if reason else {})


def document() -> str:
    """Return the text of ``trees.json``."""
    bad = "ledger.bad_proof"
    good_path = [it.hex() for it in path_to(5, IDS[:11])]
    good_proof = [it.hex() for it in proof_of(5, IDS[:11])]
    other = sha256(b"another").hexdigest()
    trees = [tree("nothing", [])]
    trees += [tree(f"{size} ids", IDS[:size]) for size in (1, 2, 3, 4, 5, 7, 8, 11, 32)]
    trees.append(tree("Certificate Transparency's leaves", [bytes.fromhex(it) for it in CT_LEAVES]))
    inclusions = [
        inclusion(f"seq {seq} in {size}", seq, size)
        for seq, size in (
            (1, 1),
            (1, 2),
            (2, 2),
            (3, 3),
            (1, 8),
            (8, 8),
            (6, 11),
            (11, 11),
            (17, 32),
        )
    ]
    inclusions += [
        inclusion("another id", 6, 11, bad, id=other),
        inclusion("another root", 6, 11, bad, root=other),
        inclusion("another seq", 6, 11, bad, seq=7),
        inclusion("another size", 6, 11, bad, size=17),
        inclusion("seq 0", 6, 11, bad, seq=0),
        inclusion("seq beyond the size", 6, 11, bad, seq=12),
        inclusion("a hash too few", 6, 11, bad, path=good_path[:-1]),
        inclusion("a hash too many", 6, 11, bad, path=[*good_path, other]),
        inclusion(
            "two hashes swapped", 6, 11, bad, path=[good_path[1], good_path[0], *good_path[2:]]
        ),
        inclusion("a hash of 31 bytes", 6, 11, bad, path=[good_path[0][:-2], *good_path[1:]]),
    ]
    consistencies = [
        consistency(f"{old} in {new}", old, new)
        for old, new in ((1, 1), (1, 2), (2, 3), (3, 7), (4, 8), (5, 11), (8, 32), (31, 32))
    ]
    consistencies += [
        consistency("another old root", 5, 11, bad, old_root=other),
        consistency("another new root", 5, 11, bad, new_root=other),
        consistency("sizes out of order", 5, 11, bad, old_size=12),
        consistency("old size 0", 5, 11, bad, old_size=0),
        consistency("a hash too few", 5, 11, bad, path=good_proof[:-1]),
        consistency("a hash too many", 5, 11, bad, path=[*good_proof, other]),
        consistency("a path where none belongs", 4, 4, bad, path=[other]),
        consistency("one size, two roots", 4, 4, bad, old_root=other),
        consistency("a hash of 31 bytes", 5, 11, bad, path=[good_proof[0][:-2], *good_proof[1:]]),
    ]
    about = (
        "RFC 6962 with SHA-256. Peaks are the roots of the full subtrees, largest first; "
        "seq counts from 1; paths begin at the lowest hash."
    )
    content = {
        "about": about,
        "trees": trees,
        "inclusion": inclusions,
        "consistency": consistencies,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
