"""Opening in memory: piece keys alone, every Leaf checked, nothing left behind."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest

from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.memory_opening import (
    BadPieceKeys,
    MemoryOpening,
    WrongPieceKey,
    check_piece_keys,
    piece_keys,
)
from hanse.core.artifacts.opening import open_artifact
from hanse.core.artifacts.pieces import PieceDamaged
from hanse.core.artifacts.tree import piece_count
from hanse.core.crypto.stream import piece_key
from hanse.core.model.control import Control
from tests.fakes.content import CONTENT_KEY, LEAF, MIB, damage, sealed, some_bytes
from tests.unit.core.artifacts.test_opening import as_buyer

FILES = {
    "a.onnx": some_bytes(3 * MIB + 5),
    "b/empty": b"",
    "b/small": some_bytes(LEAF + 1),
    "one piece": some_bytes(700_000),
}


def as_held(folder):
    """Make a buyer's store: ciphertext and public leaf layers, no plain file."""
    store, manifest, found = sealed(folder, FILES)
    as_buyer(store, manifest)
    return store, manifest, found.manifest


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    return as_held(tmp_path_factory.mktemp("buyer"))


@pytest.fixture
def held_alone(tmp_path):
    """A store that a test may damage."""
    return as_held(tmp_path)


def opening_of(held, keys=None):
    store, manifest, sealed_manifest = held
    given = piece_keys(CONTENT_KEY, manifest) if keys is None else keys
    return MemoryOpening(manifest, sealed_manifest, given, store)


def opened(opening, path):
    return b"".join(bytes(view) for view in opening.pieces(opening.number_of(path)))


def test_piece_keys_stand_in_the_order_of_the_manifest(held):
    _, manifest, _ = held
    keys = piece_keys(CONTENT_KEY, manifest)
    assert len(keys) == 32 * sum(piece_count(file.size) for file in manifest.files) == 32 * 6
    assert keys[:32] == piece_key(CONTENT_KEY, 0, 0)
    assert keys[3 * 32 : 4 * 32] == piece_key(CONTENT_KEY, 0, 3)
    assert keys[4 * 32 : 5 * 32] == piece_key(CONTENT_KEY, 2, 0)  # file 1 has no bytes, so no key
    assert CONTENT_KEY not in keys


def test_every_file_opens_to_what_it_was(held):
    opening = opening_of(held)
    for path, data in FILES.items():
        assert opened(opening, path) == data
    assert opening.number_of("nowhere") is None


def test_nothing_plain_is_written(held):
    store, manifest, _ = held
    before = sorted(path for path in store.folder.rglob("*") if path.is_file())
    opening = opening_of(held)
    for path in FILES:
        opened(opening, path)
    assert sorted(path for path in store.folder.rglob("*") if path.is_file()) == before
    assert not any(store.has(file.root, file.size) for file in manifest.files if file.size)


def test_the_buffer_is_wiped_when_the_file_is_done(held):
    opening = opening_of(held)
    views = list(opening.pieces(0))
    assert views
    assert not any(any(view) for view in views)


def test_the_buffer_is_wiped_when_whoever_takes_the_pieces_stops(held):
    pieces = opening_of(held).pieces(0)
    view = next(pieces)
    assert bytes(view[:8]) == FILES["a.onnx"][:8]
    pieces.close()
    gc.collect()
    assert not any(view)


def test_erased_keys_open_nothing(held):
    opening = opening_of(held)
    opening.erase()
    with pytest.raises(WrongPieceKey):
        opened(opening, "one piece")


def test_a_wrong_key_is_told_by_file_and_piece(held):
    _, manifest, _ = held
    keys = bytearray(piece_keys(CONTENT_KEY, manifest))
    keys[2 * 32] ^= 1
    opening = opening_of(held, bytes(keys))
    with pytest.raises(WrongPieceKey) as caught:
        opened(opening, "a.onnx")
    assert caught.value.values == {"file": 0, "path": "a.onnx", "piece": 2}
    assert opened(opening, "one piece") == FILES["one piece"]


def test_keys_of_another_order_of_files_open_nothing(held):
    keys = piece_keys(CONTENT_KEY, replace(held[1], files=held[1].files[::-1]))
    with pytest.raises(WrongPieceKey):
        opened(opening_of(held, keys), "a.onnx")


def test_rot_is_not_blamed_on_the_seller(held_alone):
    store, manifest, sealed_manifest = held_alone
    damage(store.path(sealed_manifest.roots[0], manifest.files[0].size), MIB + 17)
    with pytest.raises(PieceDamaged):
        opened(opening_of(held_alone), "a.onnx")


def test_without_the_leaf_layer_nothing_opens(held_alone):
    store, manifest, _ = held_alone
    store.layers.remove(manifest.files[0].root, manifest.files[0].size)
    with pytest.raises(LayerMissing):
        opened(opening_of(held_alone), "a.onnx")


@pytest.mark.parametrize("length", [0, 31, 5 * 32, 6 * 32 - 1, 7 * 32])
def test_a_list_of_another_length_is_refused(held, length):
    with pytest.raises(BadPieceKeys):
        opening_of(held, bytes(length))


def test_an_artifact_with_too_many_pieces_has_no_list(held):
    _, manifest, _ = held
    huge = replace(manifest.files[0], size=130 * 1024**3)
    large = replace(manifest, files=(huge,))
    with pytest.raises(BadPieceKeys):
        piece_keys(CONTENT_KEY, large)
    with pytest.raises(BadPieceKeys):
        check_piece_keys(bytes(32), large)


def test_keys_show_in_no_representation(held):
    keys = piece_keys(CONTENT_KEY, held[1])
    shown = repr(opening_of(held))
    assert keys[:32].hex() not in shown
    assert held[1].artifact_id.hex() in shown


def test_piece_keys_open_what_the_content_key_opens(held, tmp_path):
    store, manifest, sealed_manifest = held
    whole = tmp_path / "whole"
    open_artifact(manifest, sealed_manifest, CONTENT_KEY, store, whole, Control())
    opening = opening_of(held)
    for file in manifest.files:
        assert (whole / file.path).read_bytes() == opened(opening, file.path)
