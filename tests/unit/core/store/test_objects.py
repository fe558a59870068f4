from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.artifacts.quota import Whose
from hanse.core.model.ids import EntryId
from hanse.core.store import objects as objects_module
from hanse.core.store.objects import ManifestRow, ObjectUse, Part

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32  # Artifacts
RELEASE = EntryId(bytes([7]) * 32)


def use(root, artifact=ONE, whose=Whose.OWN, part=Part.PLAIN, size=100, **more):
    return ObjectUse(bytes([root]) * 32, size, artifact, part, whose, **more)


def name(root, size=100):
    return bytes([root]) * 32, size


@pytest.fixture
def held(store):
    """Give the objects of one transaction."""
    with store.unit_of_work() as uow:
        yield uow.objects


# --- what is wanted -------------------------------------------------------------------------


def test_what_an_artifact_wants_comes_back(held):
    uses = [
        use(10, part=Part.CIPHER, release=RELEASE, key_epoch=3),
        use(11),
        use(11, size=101),
    ]
    held.want(uses, 5)
    assert held.of_artifact(ONE) == uses
    assert list(held.wanted()) == [name(10), name(11), name(11, 101)]
    assert held.of_artifact(TWO) == []


def test_wanting_again_says_it_anew(held):
    held.want([use(10, whose=Whose.ORDER)], 5)
    held.want([use(10, whose=Whose.BOUGHT, release=RELEASE)], 6)
    assert held.of_artifact(ONE) == [use(10, whose=Whose.BOUGHT, release=RELEASE)]
    assert held.usage()[Whose.BOUGHT] == 100
    assert held.usage()[Whose.ORDER] == 0


def test_an_object_two_artifacts_share_is_wanted_until_neither_does(held):
    held.want([use(10), use(11)], 5)
    held.want([use(10, TWO, Whose.OTHERS)], 5)
    assert held.release_artifact(ONE) == [name(11)]
    assert list(held.wanted()) == [name(10)]
    assert held.uses_of(name(10)) == [use(10, TWO, Whose.OTHERS)]
    assert held.release_artifact(TWO) == [name(10)]
    assert list(held.wanted()) == []
    assert held.uses_of(name(10)) == []


def test_one_part_of_an_artifact_is_released_alone(held):
    held.want([use(10), use(11, part=Part.CIPHER)], 5)
    assert held.release_artifact(ONE, Part.CIPHER) == [name(11)]
    assert held.of_artifact(ONE) == [use(10)]
    assert held.release_artifact(TWO) == []


def test_all_that_is_wanted_is_walked_page_by_page(held):
    uses = [use(root, size=root) for root in range(30)]
    held.want(uses, 5)
    assert list(held.wanted()) == [(it.root, it.size) for it in uses]
    assert len(uses) < objects_module._ROWS_PER_PAGE


def test_wanting_nothing_changes_nothing(held):
    held.want([], 5)
    assert list(held.wanted()) == []


# --- whose, and what goes first -------------------------------------------------------------


def test_a_shared_object_counts_once_and_for_the_strongest_reason(held):
    held.want([use(10, whose=Whose.OTHERS), use(11, whose=Whose.OTHERS, size=7)], 5)
    held.want([use(10, TWO, Whose.TRIAL)], 5)
    assert held.usage() == {
        Whose.OWN: 0,
        Whose.BOUGHT: 0,
        Whose.TRIAL: 100,
        Whose.ORDER: 0,
        Whose.OTHERS: 7,
    }
    held.release_artifact(TWO)
    assert held.usage()[Whose.OTHERS] == 107


def test_only_what_is_for_others_is_evictable_the_longest_unseeded_first(held):
    held.want([use(root, whose=Whose.OTHERS) for root in (10, 11, 12)], 5)
    held.want([use(13), use(12, TWO, Whose.ORDER)], 5)
    assert held.evictable() == [name(10), name(11)]
    held.seeded(name(10), 9)
    assert held.evictable() == [name(11), name(10)]
    assert held.evictable(limit=1) == [name(11)]


def test_evicting_forgets_an_object_of_others_and_no_other(held):
    held.want([use(10, whose=Whose.OTHERS), use(11)], 5)
    held.want([use(10, TWO, Whose.OTHERS)], 5)
    held.evict(name(10))
    held.evict(name(11))
    assert list(held.wanted()) == [name(11)]
    assert held.uses_of(name(10)) == []


# --- Manifests ------------------------------------------------------------------------------


def test_an_artifact_is_held_in_the_clear_and_sealed_several_times(held):
    clear = ManifestRow(ONE, 5)
    first = ManifestRow(ONE, 6, bytes([3]) * 32, bytes([4]) * 32, 1, RELEASE)
    second = ManifestRow(ONE, 7, bytes([5]) * 32, bytes([6]) * 32, 2)
    for row in (second, clear, first, ManifestRow(TWO, 8)):
        held.put_manifest(row)
    assert held.manifests_of(ONE) == [clear, first, second]
    assert held.manifest_of_release(RELEASE) == first
    assert held.manifest_of_release(EntryId(ONE)) is None
    assert [row.artifact for row in held.all_manifests()] == [ONE, ONE, ONE, TWO]


def test_a_manifest_gets_its_release_when_that_is_published(held):
    row = ManifestRow(ONE, 6, bytes([3]) * 32, bytes([4]) * 32, 1)
    held.put_manifest(row)
    held.put_manifest(replace(row, release=RELEASE, added_ms=9))
    assert held.manifests_of(ONE) == [replace(row, release=RELEASE)]


def test_a_manifest_is_dropped_and_the_others_of_its_artifact_stay(held):
    sealed = ManifestRow(ONE, 6, bytes([3]) * 32)
    held.put_manifest(sealed)
    held.put_manifest(ManifestRow(ONE, 5))
    held.drop_manifest(ONE)
    assert held.manifests_of(ONE) == [sealed]
    held.drop_manifest(ONE, sealed.sealed)
    assert held.manifests_of(ONE) == []
