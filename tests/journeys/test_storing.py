"""What models take on the disk: held once, swept when nobody wants it, healed, bounded."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.quota import Whose
from hanse.core.engine.storing import BadQuota
from hanse.core.limits import QUOTA_BYTES_MAX, UNWANTED_OBJECT_MS_MIN
from hanse.core.model.control import Control
from hanse.core.store.objects import ObjectUse, Part
from tests.fakes.content import MIB, damage, some_bytes, write_files
from tests.fakes.shop import (
    body_of,
    check_whole,
    described,
    free_tiers,
    manifests,
    open_by_salt,
    plain_weights,
    publish,
    said,
    seller,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from tests.fakes.people import Person

SIZE = 2 * MIB + 5000


@pytest.fixture
def anna(tmp_path: Path) -> Person:
    return seller(tmp_path)


def files_of(engine: Engine) -> dict[str, bytes]:
    """Return the SHA-256 of every object on the disk."""
    blobs = engine.context.home.folder / "store" / "blobs"
    return {path.name: sha256(path.read_bytes()).digest() for path in blobs.rglob("*.*")}


def real_now_ms(engine: Engine) -> int:
    """Return the time of the newest object: files have the machine's time, not the clock's."""
    return max(found.mtime_ms for found in engine.content.pieces.objects())


def set_clock(person: Person, now_ms: int) -> None:
    person.clock.advance(now_ms - person.clock.now_ms())


def test_equal_files_are_held_once_whatever_model_they_belong_to(
    anna: Person, tmp_path: Path
) -> None:
    shared = some_bytes(SIZE, "shared")
    models = [
        write_files(tmp_path / name, {"weights.bin": shared, "again.bin": shared, name: b"own"})
        for name in ("one", "two")
    ]
    with anna.open() as engine:
        drafts = [engine.publishing.begin(model, Control()).draft_id for model in models]
        view = engine.storing.view()
        assert view.objects == 2  # the shared bytes, and the three bytes both call their own
        assert view.by_whose["own"] == SIZE + 3
        engine.publishing.drop(drafts[0])
        assert engine.storing.view().by_whose["own"] == SIZE + 3
        set_clock(anna, real_now_ms(engine) + 2 * UNWANTED_OBJECT_MS_MIN)
        assert engine.storing.sweep().objects == 0
        engine.publishing.drop(drafts[1])
        assert engine.storing.view().by_whose["own"] == 0
        assert engine.storing.sweep().objects == 2
        assert files_of(engine) == {}


def test_a_dropped_draft_is_swept_only_once_its_files_are_old(anna: Person, tmp_path: Path) -> None:
    with anna.open() as engine:
        draft = engine.publishing.begin(plain_weights(tmp_path / "w"), Control()).draft_id
        engine.publishing.edit(draft, described())
        engine.publishing.seal(draft, Control())
        assert engine.storing.view().objects == 4  # two files, plain and sealed
        engine.publishing.drop(draft)
        assert engine.publishing.drafts() == ()
        now_ms = real_now_ms(engine)
        set_clock(anna, now_ms + UNWANTED_OBJECT_MS_MIN - 10_000)
        assert engine.storing.sweep().objects == 0
        set_clock(anna, now_ms + UNWANTED_OBJECT_MS_MIN + 1)
        swept = engine.storing.sweep()
        assert swept.objects == 4
        assert swept.freed_bytes > 0
        view = engine.storing.view()
        assert (view.objects, view.layer_bytes, view.by_whose["own"]) == (0, 0, 0)
        assert engine.storing.heal(Control()) == ()


def test_small_objects_outlast_every_sweep_and_quota(anna: Person) -> None:
    with anna.open() as engine:
        kept = [engine.content.small.put(raw) for raw in (b"golden vectors", b"piece keys")]
        engine.storing.set_quota(0)
        set_clock(anna, 10**13)
        engine.storing.sweep()
        assert [engine.content.small.get(digest) for digest in kept] == [
            b"golden vectors",
            b"piece keys",
        ]


def test_what_is_published_is_never_swept_and_a_forgotten_import_is(
    anna: Person, tmp_path: Path
) -> None:
    with anna.open() as engine:
        sealed = publish(engine, plain_weights(tmp_path / "sealed"), title="Sealed")
        clear = publish(
            engine, plain_weights(tmp_path / "clear"), title="Clear", price="0", tiers=free_tiers()
        )
        before = files_of(engine)
        import_artifact(plain_weights(tmp_path / "nobody's"), engine.content.pieces, Control())
        assert len(files_of(engine)) == len(before) + 1
        set_clock(anna, real_now_ms(engine) + 2 * UNWANTED_OBJECT_MS_MIN)
        assert engine.storing.sweep().objects == 1
        assert files_of(engine) == before
        healed = {one.artifact: one.is_whole for one in engine.storing.heal(Control())}
        assert healed == {sealed.artifact: True, clear.artifact: True}
        check_whole(engine)


def test_a_rotten_piece_is_made_again_from_the_other_form_of_its_file(
    anna: Person, tmp_path: Path
) -> None:
    with anna.open() as engine:
        source = plain_weights(tmp_path / "w", SIZE)
        done = publish(engine, source, title="Rots")
        body = body_of(engine, done.release)
        plain, sealed = manifests(engine, body)
        number = next(n for n, file in enumerate(plain.files) if file.size == SIZE)
        file, cipher = plain.files[number], sealed.roots[number]
        before = files_of(engine)
        pieces = engine.content.pieces
        damage(pieces.path(file.root, SIZE), 100)
        damage(pieces.path(cipher, SIZE), MIB + 100)
        assert files_of(engine) != before
        (found,) = engine.storing.heal(Control())
        assert (found.healed, found.lost, found.missing) == (2, 0, ())
        assert files_of(engine) == before
        out = open_by_salt(engine, body, tmp_path / "out")
        assert (out / "weights.bin").read_bytes() == (source / "weights.bin").read_bytes()

        # The same Piece rotten in both forms is lost, and named as such.
        damage(pieces.path(file.root, SIZE), 100)
        damage(pieces.path(cipher, SIZE), 100)
        (found,) = engine.storing.heal(Control())
        assert (found.healed, found.lost, found.is_whole) == (0, 2, False)

        # Importing the source again puts it right.
        engine.publishing.begin(source, Control(), listing=done.listing)
        (found,) = engine.storing.heal(Control())
        assert (found.healed, found.lost, found.is_whole) == (1, 0, True)
        assert files_of(engine) == before


def test_without_the_keys_damage_is_found_and_left_alone(anna: Person, tmp_path: Path) -> None:
    with anna.open() as engine:
        done = publish(engine, plain_weights(tmp_path / "w", SIZE), title="Rots")
        body = body_of(engine, done.release)
        _, sealed = manifests(engine, body)
        number = next(n for n, root in enumerate(sealed.roots) if root)
        plain = engine.content.manifest(done.artifact)
        size = plain.files[number].size
        damage(engine.content.pieces.path(sealed.roots[number], size), 1)
        engine.accounts.lock()
        (found,) = engine.storing.heal(Control())
        assert (found.healed, found.lost) == (0, 1)
        assert not found.is_whole


def test_the_clear_files_of_a_gift_that_rotted_are_named(anna: Person, tmp_path: Path) -> None:
    with anna.open() as engine:
        done = publish(
            engine, plain_weights(tmp_path / "w"), title="Gift", price="0", tiers=free_tiers()
        )
        file = engine.content.manifest(done.artifact).files[0]
        damage(engine.content.pieces.path(file.root, file.size), 1)
        (found,) = engine.storing.heal(Control())
        assert (found.lost, found.missing) == (1, ())
        engine.content.pieces.remove(file.root, file.size)
        (found,) = engine.storing.heal(Control())
        assert found.missing == (file.path,)


def test_the_quota_is_for_what_is_held_for_others(anna: Person, tmp_path: Path) -> None:
    with anna.open() as engine:
        publish(engine, plain_weights(tmp_path / "own", 5000), title="Own")
        own = engine.storing.view().by_whose["own"]
        uses = []
        for number in range(3):
            source = plain_weights(tmp_path / f"seeded {number}", 1000 + number)
            imported = import_artifact(source, engine.content.pieces, Control())
            file = next(file for file in imported.manifest.files if file.size >= 1000)
            uses.append(
                ObjectUse(
                    file.root, file.size, imported.manifest.artifact_id, Part.PLAIN, Whose.OTHERS
                )
            )
            with engine.context.store.unit_of_work() as uow:
                uow.objects.want(uses[-1:], anna.clock.now_ms() + number)
                uow.commit()
        assert engine.storing.view().by_whose["others"] == 3003
        engine.storing.set_quota(2500)
        view = engine.storing.view()
        assert (view.by_whose["others"], view.quota_bytes) == (2003, 2500)
        engine.storing.set_quota(0)
        assert engine.storing.view().by_whose == {**view.by_whose, "others": 0, "own": own}
        for wrong in (-1, QUOTA_BYTES_MAX + 1):
            with pytest.raises(BadQuota) as caught:
                engine.storing.set_quota(wrong)
            said(caught.value)
        assert engine.storing.quota() == 0
