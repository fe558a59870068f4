"""The Merkle tree against Certificate Transparency's own tree and the recursive definition."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.ledger.tree import (
    BadProof,
    Peaks,
    check_consistency,
    check_inclusion,
    consistency,
    inclusion,
    root_of,
)

# The eight leaves and roots of the Certificate Transparency reference tests (RFC 6962).
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def recursive_root(ids: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(ids) == 1:
        return sha256(b"\0" + ids[0]).digest()
    split = 1
    while split * 2 < len(ids):
        split *= 2
    return sha256(b"\1" + recursive_root(ids[:split]) + recursive_root(ids[split:])).digest()


def some_ids(count: int) -> list[bytes]:
    return [sha256(f"entry {number}".encode()).digest() for number in range(count)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    peaks = Peaks()
    for leaf in CT_LEAVES[:size]:
        peaks.add(leaf)
    root = peaks.root()
    assert root is not None
    assert root.hex() == CT_ROOTS[size - 1]


def test_peaks_agree_with_the_recursive_definition_up_to_two_hundred() -> None:
    ids = some_ids(200)
    peaks = Peaks()
    assert peaks.root() is None
    for size, entry_id in enumerate(ids, 1):
        peaks.add(entry_id)
        assert peaks.root() == recursive_root(ids[:size]) == root_of(ids[:size])
        assert len(peaks.stack) == size.bit_count()


def test_peaks_survive_their_bytes_and_a_wrong_number_of_them_is_refused() -> None:
    peaks = Peaks()
    for entry_id in some_ids(77):
        peaks.add(entry_id)
    again = Peaks.from_bytes(77, peaks.to_bytes())
    assert again.root() == peaks.root()
    with pytest.raises(BadProof, match="128 bytes of peaks for 79 entries") as caught:
        Peaks.from_bytes(79, peaks.to_bytes())
    assert caught.value.values["where"] == "peaks"


@given(st.integers(1, 130), st.data())
def test_every_inclusion_proof_leads_to_the_root_and_to_no_other(
    size: int, data: st.DataObject
) -> None:
    ids = some_ids(size)
    seq = data.draw(st.integers(1, size))
    path = inclusion(ids, seq)
    root = recursive_root(ids)
    check_inclusion(ids[seq - 1], seq, size, path, root)
    assert len(path) <= (size - 1).bit_length()

    wrong = data.draw(st.sampled_from(["id", "seq", "size", "path", "root", "short", "long"]))
    entry_id, where, total, steps, top = ids[seq - 1], seq, size, list(path), root
    match wrong:
        case "id":
            entry_id = sha256(entry_id).digest()
        case "seq":
            where = seq % size + 1 if size > 1 else 2
        case "size":
            total = size + 1 + data.draw(st.integers(0, size))
        case "path" if steps:
            place = data.draw(st.integers(0, len(steps) - 1))
            steps[place] = sha256(steps[place]).digest()
        case "short" if steps:
            steps.pop()
        case "long":
            steps.append(bytes(32))
        case _:
            top = sha256(root).digest()
    if total != size:
        # A tree of another size can share the shape of one path; its root never agrees.
        top = recursive_root(some_ids(total))
    with pytest.raises(BadProof):
        check_inclusion(entry_id, where, total, steps, top)


@given(st.integers(1, 130), st.data())
def test_every_consistency_proof_holds_for_its_two_roots_only(
    size: int, data: st.DataObject
) -> None:
    ids = some_ids(size)
    old_size = data.draw(st.integers(1, size))
    path = consistency(ids, old_size)
    old_root, new_root = recursive_root(ids[:old_size]), recursive_root(ids)
    check_consistency(old_size, old_root, size, new_root, path)

    other = sha256(old_root).digest()
    with pytest.raises(BadProof):
        check_consistency(old_size, other, size, new_root, path)
    with pytest.raises(BadProof):
        check_consistency(old_size, old_root, size, other, path)
    with pytest.raises(BadProof):
        check_consistency(old_size, old_root, size, new_root, [*path, bytes(32)])
    if path:
        with pytest.raises(BadProof):
            check_consistency(old_size, old_root, size, new_root, path[:-1])


@pytest.mark.parametrize(
    ("seq", "size", "path", "says"),
    [
        (0, 5, [], "outside the tree"),
        (6, 5, [], "outside the tree"),
        (1, 2**40, [], "outside the tree"),
        (1, 5, [b"short"], "hash of 5 bytes"),
        (1, 5, [bytes(32)] * 40, "longer than any tree"),
    ],
)
def test_a_proof_of_impossible_shape_is_refused_with_its_reason(
    seq: int, size: int, path: list[bytes], says: str
) -> None:
    with pytest.raises(BadProof, match=says):
        check_inclusion(bytes(32), seq, size, path, bytes(32))


def test_a_consistency_proof_of_no_hashes_is_refused_where_some_belong() -> None:
    with pytest.raises(BadProof, match="the path is empty"):
        check_consistency(3, bytes(32), 5, bytes(32), [])


def test_history_cannot_be_shortened() -> None:
    ids = some_ids(9)
    with pytest.raises(BadProof, match="out of order"):
        check_consistency(9, recursive_root(ids), 5, recursive_root(ids[:5]), [])
