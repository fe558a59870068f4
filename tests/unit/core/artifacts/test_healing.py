"""Healing: each form of an Artifact from the other, and what is lost in both is named."""

from __future__ import annotations

import pytest

from hanse.core.artifacts.healing import reseal_pieces
from hanse.core.artifacts.opening import WrongContentKey, check_opens
from hanse.core.model.control import Control
from tests.fakes.content import CONTENT_KEY, MIB, damage, sealed, some_bytes

FILES = {"a": some_bytes(3 * MIB + 5), "b": some_bytes(100), "c": b""}


@pytest.fixture
def held(tmp_path):
    store, manifest, found = sealed(tmp_path, FILES)
    return store, manifest, found.manifest


def heal(held, key=CONTENT_KEY):
    store, manifest, sealed_manifest = held
    return reseal_pieces(manifest, sealed_manifest, key, store, Control())


def places(held):
    """Return the paths of the first file, plain and sealed."""
    store, manifest, sealed_manifest = held
    file = manifest.files[0]
    return store.path(file.root, file.size), store.path(sealed_manifest.roots[0], file.size)


def check_whole(held):
    store, manifest, sealed_manifest = held
    for file, root in zip(manifest.files, sealed_manifest.roots, strict=True):
        assert store.verify(file.root, file.size, Control()) == ()
        assert store.verify(root, file.size, Control()) == ()
    check_opens(manifest, sealed_manifest, CONTENT_KEY, store, Control())


def test_what_is_whole_is_left_alone(held):
    found = heal(held)
    assert found.is_whole
    assert found.healed_plain == found.healed_sealed == ()


def test_each_form_is_healed_from_the_other(held):
    plain, cipher = places(held)
    damage(plain, 0)
    damage(cipher, MIB)
    damage(cipher, 3 * MIB + 1, 1)
    found = heal(held)
    assert found.healed_plain == ((0, 0),)
    assert found.healed_sealed == ((0, 1), (0, 3))
    assert found.is_whole
    check_whole(held)


def test_what_rotted_in_both_is_named_and_the_rest_is_healed(held):
    plain, cipher = places(held)
    for offset in (MIB, 2 * MIB):
        damage(plain, offset)
    damage(cipher, MIB + 500_000)
    found = heal(held)
    assert found.lost_plain == found.lost_sealed == ((0, 1),)
    assert found.healed_plain == ((0, 2),)
    assert not found.is_whole


def test_without_the_key_rot_is_found_only(held):
    plain, cipher = places(held)
    damage(plain, 0)
    damage(cipher, MIB)
    found = heal(held, None)
    assert (found.lost_plain, found.lost_sealed) == (((0, 0),), ((0, 1),))


def test_another_key_changes_nothing(held):
    plain, _ = places(held)
    damage(plain, 0)
    before = plain.read_bytes()
    with pytest.raises(WrongContentKey):
        heal(held, bytes(32))
    assert plain.read_bytes() == before


def test_a_file_cut_short_is_healed(held):
    plain, _ = places(held)
    plain.chmod(0o600)
    with plain.open("r+b") as file:
        file.truncate(MIB + 3)
    assert heal(held).healed_plain == ((0, 1), (0, 2), (0, 3))
    check_whole(held)


def test_a_sealed_file_that_is_gone_is_sealed_again(held):
    store, manifest, sealed_manifest = held
    store.remove(sealed_manifest.roots[0], manifest.files[0].size)
    assert heal(held).healed_sealed == ((0, 0), (0, 1), (0, 2), (0, 3))
    check_whole(held)


def test_a_sealed_file_gone_beside_a_damaged_plain_one_is_lost(held):
    store, manifest, sealed_manifest = held
    damage(places(held)[0], 0)
    store.remove(sealed_manifest.roots[0], manifest.files[0].size)
    found = heal(held)
    assert found.lost_plain == ((0, 0),)
    assert found.lost_sealed == ((0, 0), (0, 1), (0, 2), (0, 3))


def test_who_only_seeds_misses_no_plain_file(held):
    store, manifest, _ = held
    for file in manifest.files:
        store.remove(file.root, file.size)
    assert heal(held, None).is_whole


def test_lost_hashes_are_made_again(held):
    store, manifest, sealed_manifest = held
    for file, root in zip(manifest.files, sealed_manifest.roots, strict=True):
        store.layers.remove(file.root, file.size)
        store.layers.remove(root, file.size)
    assert heal(held).is_whole
    check_whole(held)
