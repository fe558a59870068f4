"""The BEP 52 tree: equal to libtorrent's, and no proof that is not exactly of its shape."""

from __future__ import annotations

import hashlib

import pytest

from hanse.core.artifacts.tree import (
    EMPTY_ROOT,
    LEAVES_PER_PIECE,
    ZERO,
    BadBlock,
    PieceTree,
    block_path,
    check_block,
    fold,
    hash_leaves,
    leaf_count,
    leaf_length,
    path_length,
    piece_count,
    piece_length,
    piece_path,
    root_of_layer,
    root_of_leaves,
)
from tests.fakes.content import LEAF, MIB, SIZES, some_bytes


def tree_of(data):
    tree = PieceTree()
    for start in range(0, len(data), LEAF):
        tree.add(data[start : start + LEAF])
    return tree


def libtorrents(data, folder):
    """Return root and Piece layer as libtorrent has them."""
    lt = pytest.importorskip("libtorrent", reason="the oracle is not installed")
    (folder / "file").write_bytes(data)
    storage = lt.file_storage()
    storage.add_file("file", len(data))
    torrent = lt.create_torrent(storage, piece_size=MIB, flags=lt.create_torrent.v2_only)
    lt.set_piece_hashes(torrent, str(folder))
    made = torrent.generate()
    root = made[b"info"][b"file tree"][b"file"][b""][b"pieces root"]
    return root, made[b"piece layers"].get(root, b"")


@pytest.mark.filterwarnings("ignore:create_torrent constructor:DeprecationWarning")
@pytest.mark.parametrize("size", SIZES)
def test_root_and_layer_are_libtorrents(size, tmp_path):
    data = some_bytes(size)
    tree = tree_of(data)
    assert (tree.root(), tree.layer()) == libtorrents(data, tmp_path)
    assert tree.size == size
    assert tree.leaves() == hash_leaves(data)
    assert root_of_leaves(tree.leaves()) == tree.root()
    assert not tree.layer() or root_of_layer(tree.layer()) == tree.root()


def test_no_bytes_have_no_leaves_and_a_root_of_zeros():
    tree = PieceTree()
    assert tree.leaves() == tree.layer() == b""
    assert tree.root() == EMPTY_ROOT == root_of_leaves(b"")
    assert leaf_count(0) == piece_count(0) == path_length(0) == 0


def test_one_block_is_its_own_root():
    assert tree_of(b"x").root() == hashlib.sha256(b"x").digest()


def test_the_last_block_is_not_padded():
    assert tree_of(b"x").root() != tree_of(b"x" + bytes(LEAF - 1)).root()


def test_only_the_last_block_may_be_short():
    tree = tree_of(bytes(100))
    with pytest.raises(AssertionError):
        tree.add(b"more")
    with pytest.raises(AssertionError):
        PieceTree().add(bytes(LEAF + 1))


def test_zero_hashes_fold_into_the_table():
    assert fold(bytes(32 * 64), 0) == ZERO[6]
    assert (
        fold(ZERO[2], 2, 5)
        == hashlib.sha256(
            hashlib.sha256(hashlib.sha256(ZERO[2] + ZERO[2]).digest() + ZERO[3]).digest() + ZERO[4]
        ).digest()
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_shape_adds_up(size):
    assert sum(leaf_length(size, leaf) for leaf in range(leaf_count(size))) == size
    assert sum(piece_length(size, piece) for piece in range(piece_count(size))) == size


@pytest.mark.parametrize("size", SIZES)
def test_every_block_climbs_to_the_root(size):
    data = some_bytes(size)
    tree = tree_of(data)
    leaves, layer, root = tree.leaves(), tree.layer(), tree.root()
    blocks = leaf_count(size)
    for index in {0, 1, blocks // 2, blocks - 1} & set(range(blocks)):
        path = block_path(leaves, index)
        check_block(size, root, index, data[index * LEAF : (index + 1) * LEAF], path)
        start = index // LEAVES_PER_PIECE * LEAVES_PER_PIECE * 32
        assert piece_path(leaves[start : start + LEAVES_PER_PIECE * 32], layer, index) == path


SIZE = 2 * MIB + 3 * LEAF + 100
DATA = some_bytes(SIZE)
TREE = tree_of(DATA)
LAST = leaf_count(SIZE) - 1


def block(index):
    return DATA[index * LEAF : (index + 1) * LEAF]


def proof(**changed):
    good = {
        "size": SIZE,
        "root": TREE.root(),
        "index": 5,
        "block": block(5),
        "path": block_path(TREE.leaves(), 5),
    }
    return good | changed


PATH = block_path(TREE.leaves(), 5)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"index": -1}, "index"),
        ({"index": LAST + 1}, "index"),
        ({"size": 0}, "index"),
        ({"block": block(5)[:-1]}, "block_length"),
        ({"block": block(5) + b"x"}, "block_length"),
        ({"block": b""}, "block_length"),
        ({"index": LAST}, "block_length"),
        ({"path": PATH[:-1]}, "path_length"),
        ({"path": [*PATH, PATH[0]]}, "path_length"),
        ({"size": 64 * MIB}, "path_length"),
        ({"path": [PATH[0][:-1], *PATH[1:]]}, "hash_length"),
        ({"block": block(6)}, "other_root"),
        ({"index": 6}, "other_root"),
        ({"path": PATH[::-1]}, "other_root"),
        ({"root": bytes(32)}, "other_root"),
    ],
)
def test_a_proof_that_is_wrong_in_one_thing_is_refused(changed, reason):
    check_block(**proof())
    with pytest.raises(BadBlock) as caught:
        check_block(**proof(**changed))
    assert caught.value.values["reason"] == reason


def test_an_inner_node_does_not_pass_as_a_block():
    """Leaves and nodes have no prefix: 64 bytes hash alike, and only the size tells."""
    leaves = hash_leaves(some_bytes(2 * LEAF))
    root = root_of_leaves(leaves)
    assert hashlib.sha256(leaves).digest() == root
    with pytest.raises(BadBlock):
        check_block(2 * LEAF, root, 0, leaves, [])
    check_block(64, root, 0, leaves, [])  # which is why a size is signed with its root
