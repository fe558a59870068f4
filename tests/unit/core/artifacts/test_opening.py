"""Opening: every Leaf checked, and nobody blamed for what a disk did."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import pytest

from hanse.core.artifacts import parts
from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.manifest import Manifest, SealedManifest
from hanse.core.artifacts.opening import (
    TargetExists,
    WrongContentKey,
    WrongLeaf,
    check_opens,
    open_artifact,
)
from hanse.core.artifacts.pieces import NotEnoughSpace, ObjectMissing, PieceDamaged, PieceStore
from hanse.core.artifacts.tree import hash_leaves
from hanse.core.crypto.stream import content_key_commitment
from hanse.core.limits import SPACE_RESERVE_BYTES
from hanse.core.model.control import Cancelled, Control
from tests.fakes.content import CONTENT_KEY, LEAF, MIB, SALT, damage, sealed, some_bytes
from tests.unit.core.artifacts.test_tree import tree_of

FILES = {
    "a.onnx": some_bytes(3 * MIB + 5),
    "b/empty": b"",
    "b/small": some_bytes(LEAF + 1),
    "one piece": some_bytes(700_000),
}


def as_buyer(store, manifest):
    """Drop the plain files, keep their public leaf layers."""
    for file in manifest.files:
        data = FILES.get(file.path, b"")
        store.remove(file.root, file.size)
        chunks = (hash_leaves(data[start : start + MIB]) for start in range(0, len(data), MIB))
        store.layers.keep(file.root, file.size, chunks)


@pytest.fixture
def bought(tmp_path):
    store, manifest, found = sealed(tmp_path, FILES)
    as_buyer(store, manifest)
    return store, manifest, found.manifest


def opened(bought, target=None, key=CONTENT_KEY):
    store, manifest, sealed_manifest = bought
    return open_artifact(manifest, sealed_manifest, key, store, target, Control())


def test_opened_files_are_the_plain_ones(bought):
    store, manifest, _ = bought
    found = opened(bought)
    assert (found.opened_bytes, found.wrong_digests) == (manifest.size, ())
    for file in manifest.files:
        with store.open(file.root, file.size) as stream:
            assert stream.read() == FILES[file.path]
    assert list((store.folder / "part").iterdir()) == []


def test_files_can_be_opened_into_a_folder(bought, tmp_path):
    store, manifest, _ = bought
    assert opened(bought, tmp_path / "out").opened_bytes == manifest.size
    for path, data in FILES.items():
        assert (tmp_path / "out" / path).read_bytes() == data
    assert not any(store.has(file.root, file.size) for file in manifest.files if file.size)
    assert list((store.folder / "part").iterdir()) == []


def test_nothing_is_overwritten(bought, tmp_path):
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "b" / "small").write_text("mine")
    with pytest.raises(TargetExists):
        opened(bought, tmp_path / "out")
    assert (tmp_path / "out" / "b" / "small").read_text() == "mine"
    assert not (tmp_path / "out" / "a.onnx").exists()


def test_what_is_held_already_is_not_opened_again(bought):
    opened(bought)
    assert opened(bought).opened_bytes == 0


def test_opening_needs_room(bought):
    store, manifest, sealed_manifest = bought
    full = PieceStore(store.folder.parent, free=lambda _: SPACE_RESERVE_BYTES + manifest.size - 1)
    with pytest.raises(NotEnoughSpace):
        opened((full, manifest, sealed_manifest))


def test_another_key_is_refused_before_anything_is_opened(bought):
    before = list(bought[0].objects())
    with pytest.raises(WrongContentKey):
        opened(bought, key=bytes(32))
    assert list(bought[0].objects()) == before


def test_rot_on_disk_is_rot_and_not_the_sellers_fault(bought):
    store, manifest, sealed_manifest = bought
    file, root = manifest.files[0], sealed_manifest.roots[0]
    damage(store.path(root, file.size), 2 * MIB + 9)
    for act in (
        lambda: opened(bought),
        lambda: check_opens(manifest, sealed_manifest, CONTENT_KEY, store, Control()),
    ):
        with pytest.raises(PieceDamaged) as caught:
            act()
        assert caught.value.pieces == (2,)
        assert root.hex() in caught.value.values["name"]
    assert not store.has(file.root, file.size)


def cheat(tmp_path, at, size=3 * MIB + 5):
    """Seal other bytes than the Manifest promises, with consistent cipher trees."""
    data = some_bytes(size)
    other = bytearray(data)
    other[at] ^= 1
    store, manifest, found = sealed(tmp_path, {"a": bytes(other)})
    honest = tree_of(data)
    chunks = (hash_leaves(data[start : start + MIB]) for start in range(0, size, MIB))
    store.layers.keep(honest.root(), size, chunks)
    file = replace(manifest.files[0], root=honest.root(), sha256=hashlib.sha256(data).digest())
    lying = Manifest((file,))
    return store, lying, replace(found.manifest, artifact_id=lying.artifact_id), honest


@pytest.mark.parametrize("at", [0, LEAF - 1, LEAF, MIB + 5 * LEAF, 3 * MIB + 4])
def test_a_wrong_leaf_is_named_with_the_hash_it_should_have(tmp_path, at):
    store, manifest, found, honest = cheat(tmp_path, at)
    block = at // LEAF
    for act in (
        lambda: open_artifact(manifest, found, CONTENT_KEY, store, None, Control()),
        lambda: check_opens(manifest, found, CONTENT_KEY, store, Control()),
    ):
        with pytest.raises(WrongLeaf) as caught:
            act()
        assert caught.value.values["block"] == block
        assert caught.value.values["file"] == 0
        assert caught.value.values["expected"] == honest.leaves()[block * 32 : block * 32 + 32]
    assert not store.has(manifest.files[0].root, manifest.files[0].size)
    assert list((store.folder / "part").iterdir()) == []


@pytest.mark.parametrize("size", [1, LEAF, LEAF + 1])
def test_a_wrong_leaf_of_a_small_file_is_found(tmp_path, size):
    store, manifest, found, _ = cheat(tmp_path, size - 1, size)
    with pytest.raises(WrongLeaf) as caught:
        check_opens(manifest, found, CONTENT_KEY, store, Control())
    assert caught.value.values["block"] == (size - 1) // LEAF


def test_a_wrong_leaf_that_also_rotted_blames_the_disk(tmp_path):
    store, manifest, found, _ = cheat(tmp_path, 0)
    damage(store.path(found.roots[0], manifest.files[0].size), 100)
    with pytest.raises(PieceDamaged):
        check_opens(manifest, found, CONTENT_KEY, store, Control())


def test_without_its_hashes_nothing_is_opened(bought):
    store, manifest, _ = bought
    for file in manifest.files:
        store.layers.remove(file.root, file.size)
    with pytest.raises(LayerMissing):
        opened(bought)


def test_without_its_ciphertext_nothing_is_opened(bought):
    store, manifest, sealed_manifest = bought
    store.remove(sealed_manifest.roots[0], manifest.files[0].size)
    with pytest.raises(ObjectMissing):
        opened(bought)


def test_a_wrong_digest_is_told_and_is_no_fault(bought):
    store, manifest, sealed_manifest = bought
    files = (replace(manifest.files[0], sha256=bytes(32)), *manifest.files[1:])
    found = open_artifact(Manifest(files), sealed_manifest, CONTENT_KEY, store, None, Control())
    assert found.wrong_digests == ("a.onnx",)


def test_a_seller_can_check_his_own_ciphertext_without_writing(bought):
    store, manifest, sealed_manifest = bought
    store.has(bytes(32), 0)  # the file of no bytes appears when it is asked for
    before = [path for path in sorted(store.folder.rglob("*")) if path.is_file()]
    said = []
    control = Control(report=lambda *words: said.append(words))
    check_opens(manifest, sealed_manifest, CONTENT_KEY, store, control)
    assert said[-1] == ("check", manifest.size, manifest.size)
    assert [path for path in sorted(store.folder.rglob("*")) if path.is_file()] == before


def test_cancelled_opening_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECES_PER_CHECKPOINT_MAX", 2)
    data = some_bytes(12 * MIB)
    monkeypatch.setitem(FILES, "large", data)
    store, manifest, found = sealed(tmp_path, {"large": data})
    as_buyer(store, manifest)
    control = Control(report=lambda _, done, __: done >= 8 * MIB and control.cancel())
    with pytest.raises(Cancelled):
        open_artifact(manifest, found.manifest, CONTENT_KEY, store, None, control)
    assert not store.has(manifest.files[0].root, len(data))
    [part] = (store.folder / "part").glob("*.data")
    assert part.stat().st_size == 8 * MIB
    result = open_artifact(manifest, found.manifest, CONTENT_KEY, store, None, Control())
    assert result.wrong_digests == ()
    assert store.verify(manifest.files[0].root, len(data), Control()) == ()


def test_files_of_two_releases_open_with_their_own_keys_only(tmp_path):
    store, manifest, found = sealed(tmp_path, {"a": some_bytes(100)})
    other = SealedManifest(
        manifest.artifact_id, SALT, content_key_commitment(bytes(32)), found.manifest.roots
    )
    with pytest.raises(WrongLeaf):
        check_opens(manifest, other, bytes(32), store, Control())
    assert store.read_piece(manifest.files[0].root, 100, 0) == some_bytes(100)
    store.add(manifest.files[0].root, 100, io.BytesIO(some_bytes(100)))
