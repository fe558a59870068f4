"""Sealing: the ciphertext has libtorrent's roots, and nothing is paid that is not whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt

from hanse.core.artifacts import parts
from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.manifest import FileEntry, Manifest, read_sealed_manifest
from hanse.core.artifacts.pieces import NotEnoughSpace, ObjectMissing, PieceDamaged, PieceStore
from hanse.core.artifacts.sealing import SealDiffers, check_sealed, seal_artifact
from hanse.core.artifacts.tree import hash_leaves, root_of_leaves
from hanse.core.crypto.stream import piece_key, xor_piece
from hanse.core.ledger.kinds.fields import Seal
from hanse.core.limits import SPACE_RESERVE_BYTES
from hanse.core.model.control import Cancelled, Control
from tests.fakes.content import (
    CONTENT_KEY,
    LEAF,
    MIB,
    SALT,
    SIZES,
    damage,
    imported,
    sealed,
    some_bytes,
)
from tests.unit.core.artifacts.test_tree import libtorrents, tree_of

FILES = {"a.onnx": some_bytes(3 * MIB + 5), "b/empty": b"", "b/small": some_bytes(LEAF + 1)}


def seal_of(found, manifest, **changed):
    fields = {
        "v": 1,
        "epoch": 0,
        "salt": SALT,
        "ck_commit": found.ck_commit,
        "seal_root": found.seal_root,
        "scope": "release",
        "manifests": (manifest.artifact_id, found.manifest.sealed_id),
    }
    return Seal(**(fields | changed))


@pytest.mark.filterwarnings("ignore:create_torrent constructor:DeprecationWarning")
@pytest.mark.parametrize("size", SIZES)
def test_cipher_root_and_layer_are_libtorrents_over_libsodiums_bytes(size, tmp_path):
    data = some_bytes(size)
    store, manifest, found = sealed(tmp_path, {"a": data})
    [root] = found.manifest.roots
    oracle = b"".join(
        crypto_aead_chacha20poly1305_ietf_encrypt(
            data[piece * MIB : (piece + 1) * MIB],
            b"",
            bytes(12),
            piece_key(CONTENT_KEY, 0, piece),
        )[:-16]
        for piece in range(-(-size // MIB))
    )
    assert store.path(root, size).read_bytes() == oracle
    assert (root, store.layer(root, size)) == libtorrents(oracle, tmp_path)
    assert manifest.files[0].root == tree_of(data).root()


def test_a_sealed_artifact_is_described_as_a_release_does(tmp_path):
    store, manifest, found = sealed(tmp_path, FILES)
    assert found.manifest.artifact_id == manifest.artifact_id
    assert (found.manifest.salt, found.manifest.ck_commit) == (SALT, found.ck_commit)
    assert found.manifest.roots[1] == bytes(32)
    assert read_sealed_manifest(found.manifest.encode(), manifest) == found.manifest
    check_sealed(manifest, found.manifest, seal_of(found, manifest), 3, store, Control())


def test_equal_files_are_sealed_differently(tmp_path):
    _, _, found = sealed(tmp_path, {"a": some_bytes(100), "b": some_bytes(100)})
    assert found.manifest.roots[0] != found.manifest.roots[1]


def test_any_leaf_of_the_ciphertext_is_computed_alone(tmp_path):
    data = some_bytes(2 * MIB + 3 * LEAF + 7)
    store, _, found = sealed(tmp_path, {"a": b"x", "b": data})
    root = found.manifest.roots[1]
    leaves = store.leaves(root, len(data))
    for leaf in (0, 63, 64, 127, 128, 131):
        piece, inner = divmod(leaf, 64)
        plain = data[leaf * LEAF : (leaf + 1) * LEAF]
        made = xor_piece(piece_key(CONTENT_KEY, 1, piece), plain, inner)
        assert hashlib.sha256(made).digest() == leaves[leaf * 32 : leaf * 32 + 32]


def test_what_rotted_is_never_sealed(tmp_path):
    store, manifest = imported(tmp_path, FILES)
    file = manifest.files[0]
    damage(store.path(file.root, file.size), 2 * MIB)
    with pytest.raises(PieceDamaged) as caught:
        seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())
    assert caught.value.pieces == (2,)
    assert len(list(store.objects())) == 3  # no ciphertext
    store.remove(file.root, file.size)
    with pytest.raises(ObjectMissing):
        seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())


def test_sealing_needs_room(tmp_path):
    _, manifest = imported(tmp_path, FILES)
    full = PieceStore(tmp_path / "data", free=lambda _: SPACE_RESERVE_BYTES + manifest.size - 1)
    with pytest.raises(NotEnoughSpace):
        seal_artifact(manifest, CONTENT_KEY, SALT, full, Control())


def test_cancelled_sealing_goes_on_to_the_same_ciphertext(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECES_PER_CHECKPOINT_MAX", 2)
    store, manifest = imported(tmp_path, {"a": some_bytes(12 * MIB), "b": some_bytes(10)})
    control = Control(report=lambda _, done, __: done >= 8 * MIB and control.cancel())
    with pytest.raises(Cancelled):
        seal_artifact(manifest, CONTENT_KEY, SALT, store, control)
    assert len(list(store.objects())) == 2
    [part] = (store.folder / "part").glob("*.data")
    assert part.stat().st_size == 8 * MIB
    found = seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())
    other = PieceStore(tmp_path / "other")
    for file in manifest.files:
        with store.open(file.root, file.size) as stream:
            other.add(file.root, file.size, stream)
    assert seal_artifact(manifest, CONTENT_KEY, SALT, other, Control()) == found


def test_each_difference_to_the_signed_seal_is_named(tmp_path):
    store, manifest, found = sealed(tmp_path, FILES)
    wrong = bytes(range(32))
    ids = (manifest.artifact_id, found.manifest.sealed_id)
    for changed, files, what in (
        ({"manifests": (wrong, ids[1])}, 3, "artifact"),
        ({"manifests": (ids[0], wrong)}, 3, "sealed_manifest"),
        ({"salt": wrong}, 3, "salt"),
        ({"ck_commit": wrong}, 3, "ck_commit"),
        ({"seal_root": wrong}, 3, "seal_root"),
        ({}, 2, "files"),
    ):
        seal = seal_of(found, manifest, **changed)
        with pytest.raises(SealDiffers) as caught:
            check_sealed(manifest, found.manifest, seal, files, store, Control())
        assert caught.value.values["what"] == what


def test_a_sealed_manifest_of_another_artifact_is_refused(tmp_path):
    store, manifest, found = sealed(tmp_path, FILES)
    other = Manifest.of([*manifest.files[:2], FileEntry("c", 1, b"r" * 32, b"d" * 32)])
    seal = seal_of(found, manifest, manifests=(other.artifact_id, found.manifest.sealed_id))
    with pytest.raises(SealDiffers) as caught:
        check_sealed(other, found.manifest, seal, 3, store, Control())
    assert caught.value.values["what"] == "artifact"


def test_manifests_that_do_not_climb_to_the_signed_root_are_refused(tmp_path):
    """The seller signed ids and a root that contradict each other: no Proof would ever climb."""
    store, manifest, found = sealed(tmp_path, FILES)
    swapped = replace(found.manifest, roots=(b"r" * 32, *found.manifest.roots[1:]))
    seal = seal_of(found, manifest, manifests=(manifest.artifact_id, swapped.sealed_id))
    with pytest.raises(SealDiffers) as caught:
        check_sealed(manifest, swapped, seal, 3, store, Control())
    assert caught.value.values["what"] == "seal_root"


def test_not_ready_to_pay_while_a_cipher_piece_is_damaged_or_missing(tmp_path):
    store, manifest, found = sealed(tmp_path, FILES)
    arguments = (manifest, found.manifest, seal_of(found, manifest), 3, store, Control())
    root, size = found.manifest.roots[0], manifest.files[0].size
    damage(store.path(root, size), MIB)
    with pytest.raises(PieceDamaged) as caught:
        check_sealed(*arguments)
    assert caught.value.pieces == (1,)
    store.remove(root, size)
    with pytest.raises(ObjectMissing):
        check_sealed(*arguments)


def test_not_ready_to_pay_without_the_whole_plain_leaf_layer(tmp_path):
    store, manifest, found = sealed(tmp_path, FILES)
    arguments = (manifest, found.manifest, seal_of(found, manifest), 3, store, Control())
    file = manifest.files[0]
    [path] = store.layers.folder.glob(f"??/{file.root.hex()}*.l")
    leaves = path.read_bytes()
    for spoiled in (leaves[:-32], leaves[:-1] + b"\0", bytes(len(leaves))):
        path.write_bytes(spoiled)
        with pytest.raises(LayerMissing):
            check_sealed(*arguments)
    store.remove(file.root, file.size)  # a buyer holds no plain file
    with pytest.raises(LayerMissing):
        check_sealed(*arguments)
    data = FILES["a.onnx"]
    store.layers.keep(
        file.root,
        file.size,
        [hash_leaves(data[start : start + MIB]) for start in range(0, len(data), MIB)],
    )
    check_sealed(*arguments)


def test_a_key_of_another_release_gives_other_bytes(tmp_path):
    store, manifest = imported(tmp_path, FILES)
    one = seal_artifact(manifest, CONTENT_KEY, SALT, store, Control())
    other = seal_artifact(manifest, bytes(32), bytes(32), store, Control())
    assert one.ck_commit != other.ck_commit
    assert one.manifest.roots[0] != other.manifest.roots[0]
    plain = FILES["b/small"]
    assert manifest.files[2].root == root_of_leaves(hash_leaves(plain))
