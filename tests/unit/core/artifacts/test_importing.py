"""Importing: one pass, nothing half-written listed, and always the same Artifact."""

from __future__ import annotations

import hashlib
import os

import pytest

from hanse.core.artifacts import parts
from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.pieces import NotEnoughSpace, PieceStore
from hanse.core.artifacts.sources import SourceChanged
from hanse.core.limits import SPACE_RESERVE_BYTES
from hanse.core.model.control import Cancelled, Control
from tests.fakes.content import LEAF, MIB, SIZES, damage, some_bytes, write_files
from tests.unit.core.artifacts.test_tree import tree_of

STEP = 2 * MIB  # what is written between two records here


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECES_PER_CHECKPOINT_MAX", 2)  # so that small files have some
    return PieceStore(tmp_path / "data", step_bytes=STEP)


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", SIZES)
def test_a_file_becomes_an_object_with_its_root_and_digest(tmp_path, store, size):
    data = some_bytes(size)
    write_files(tmp_path, {"model.onnx": data})
    found = import_artifact(tmp_path / "model.onnx", store, Control())
    [file] = found.manifest.files
    assert (file.path, file.size) == ("model.onnx", size)
    assert file.root == tree_of(data).root()
    assert file.sha256 == hashlib.sha256(data).digest()
    assert (found.reused_bytes, found.copied_bytes) == (0, size)
    assert store.verify(file.root, size, Control()) == ()
    assert store.leaves(file.root, size) == tree_of(data).leaves()
    assert files_of(store.folder / "part") == []


def test_a_folder_becomes_one_artifact(tmp_path, store):
    files = {"a.onnx": some_bytes(3 * MIB), "b/weights": some_bytes(LEAF + 1), "empty": b""}
    source = write_files(tmp_path / "source", files | {".DS_Store": b"x"})
    found = import_artifact(source, store, Control())
    assert [file.path for file in found.manifest.files] == sorted(files)
    assert found.left_out == (".DS_Store",)
    for file in found.manifest.files:
        with store.open(file.root, file.size) as held:
            assert held.read() == files[file.path]


def test_importing_again_copies_nothing(tmp_path, store):
    files = {"a": some_bytes(3 * MIB), "b": some_bytes(100), "copy of a": some_bytes(3 * MIB)}
    source = write_files(tmp_path / "source", files)
    first = import_artifact(source, store, Control())
    assert (first.reused_bytes, first.copied_bytes) == (3 * MIB, 3 * MIB + 100)
    before = {path: path.stat().st_ino for path in files_of(store.folder)}
    again = import_artifact(source, store, Control())
    assert again.manifest == first.manifest
    assert (again.reused_bytes, again.copied_bytes) == (6 * MIB + 100, 0)
    assert {path: path.stat().st_ino for path in files_of(store.folder)} == before


def test_a_found_object_is_young_again_so_that_no_sweep_takes_it(tmp_path, store):
    write_files(tmp_path, {"a": some_bytes(100)})
    [file] = import_artifact(tmp_path / "a", store, Control()).manifest.files
    os.utime(store.path(file.root, 100), (1, 1))
    import_artifact(tmp_path / "a", store, Control())
    assert store.path(file.root, 100).stat().st_mtime > 1_000_000


@pytest.mark.parametrize("at", [0, 5 * MIB, 9 * MIB - 1])
def test_a_file_of_the_same_size_that_differs_late_is_copied(tmp_path, store, at):
    data = bytearray(some_bytes(9 * MIB))
    write_files(tmp_path, {"a": bytes(data)})
    import_artifact(tmp_path / "a", store, Control())
    data[at] ^= 1
    write_files(tmp_path, {"b": bytes(data)})
    found = import_artifact(tmp_path / "b", store, Control())
    assert found.copied_bytes == 9 * MIB
    assert found.manifest.files[0].root == tree_of(bytes(data)).root()
    assert found.manifest.files[0].sha256 == hashlib.sha256(data).digest()


def test_importing_again_heals_what_rotted(tmp_path, store):
    data = some_bytes(3 * MIB)
    write_files(tmp_path, {"a": data})
    [file] = import_artifact(tmp_path / "a", store, Control()).manifest.files
    damage(store.path(file.root, file.size), MIB + 5)
    found = import_artifact(tmp_path / "a", store, Control())
    assert found.copied_bytes == 0
    assert store.path(file.root, file.size).read_bytes() == data


def test_progress_grows_to_the_whole(tmp_path, store):
    said = []
    source = write_files(tmp_path / "source", {"a": some_bytes(10 * MIB), "b": some_bytes(10)})
    total = 10 * MIB + 10
    import_artifact(source, store, Control(report=lambda *words: said.append(words)))
    assert {(stage, whole) for stage, _, whole in said} == {("import", total)}
    done = [done for _, done, _ in said]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, total)
    assert len(done) >= 4


class CancelAt(Control):
    """A Control that cancels itself once so many bytes are done."""

    def __init__(self, limit):
        super().__init__(report=self.look)
        self.limit, self.seen = limit, []

    def look(self, _stage, done, _total):
        self.seen.append(done)
        if done >= self.limit:
            self.cancel()


def test_a_cancelled_import_lists_nothing_and_goes_on_from_where_it_was(tmp_path, store):
    data = some_bytes(12 * MIB)
    write_files(tmp_path, {"a": data})
    with pytest.raises(Cancelled):
        import_artifact(tmp_path / "a", store, CancelAt(4 * MIB))
    assert list(store.objects()) == []
    [part] = (store.folder / "part").glob("*.data")
    assert part.stat().st_size == 4 * MIB
    with part.open("r+b") as file:  # what is not recorded as durable does not count
        file.truncate(5 * MIB)
    found = import_artifact(tmp_path / "a", store, Control())
    assert found.manifest.files[0].root == tree_of(data).root()
    assert found.manifest.files[0].sha256 == hashlib.sha256(data).digest()
    assert files_of(store.folder / "part") == []


def test_what_was_written_before_is_read_back_and_not_believed(tmp_path, store):
    data = some_bytes(12 * MIB)
    write_files(tmp_path, {"a": data})
    with pytest.raises(Cancelled):
        import_artifact(tmp_path / "a", store, CancelAt(8 * MIB))
    [part] = (store.folder / "part").glob("*.data")
    part.chmod(0o600)
    with part.open("r+b") as file:
        file.seek(MIB)
        file.write(b"rot")
    found = import_artifact(tmp_path / "a", store, Control())
    assert found.manifest.files[0].root == tree_of(data).root()
    with store.open(found.manifest.files[0].root, len(data)) as held:
        assert held.read() == data


@pytest.mark.parametrize("spoil", ["gone", "short", "record", "garbage"])
def test_a_spoiled_part_is_begun_anew(tmp_path, store, spoil):
    data = some_bytes(12 * MIB)
    write_files(tmp_path, {"a": data})
    with pytest.raises(Cancelled):
        import_artifact(tmp_path / "a", store, CancelAt(8 * MIB))
    [part] = (store.folder / "part").glob("*.data")
    [record] = (store.folder / "part").glob("*.have")
    if spoil == "gone":
        part.unlink()
    elif spoil == "short":
        os.truncate(part, 3 * MIB)
    elif spoil == "record":
        record.unlink()
    else:
        record.write_bytes(b"\xff" * 5000)
    assert (
        import_artifact(tmp_path / "a", store, Control()).manifest.files[0].root
        == tree_of(data).root()
    )


def test_a_source_that_changed_since_starts_over(tmp_path, store):
    write_files(tmp_path, {"a": some_bytes(12 * MIB)})
    with pytest.raises(Cancelled):
        import_artifact(tmp_path / "a", store, CancelAt(8 * MIB))
    other = some_bytes(12 * MIB, "other")
    write_files(tmp_path, {"a": other})
    os.utime(tmp_path / "a", (5, 5))
    found = import_artifact(tmp_path / "a", store, Control())
    assert found.manifest.files[0].root == tree_of(other).root()


def test_an_import_cancelled_before_anything_leaves_nothing(tmp_path, store):
    write_files(tmp_path, {"a": some_bytes(100)})
    with pytest.raises(Cancelled):
        import_artifact(tmp_path / "a", store, CancelAt(0))
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "change", ["grow", "shrink", "touch", "replace", "rewrite", "add", "remove"]
)
def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path, store, change):
    source = write_files(tmp_path / "source", {"a": some_bytes(10 * MIB), "b": some_bytes(10)})
    place = source / "a"

    def interfere(_stage, done, _total):
        if not 0 < done < 10 * MIB or interfered:
            return
        interfered.append(done)
        if change == "grow":
            with place.open("ab") as file:
                file.write(b"more")
        elif change == "shrink":
            os.truncate(place, 9 * MIB)
        elif change == "touch":
            os.utime(place, (7, 7))
        elif change == "replace":
            write_files(source, {"new": some_bytes(10 * MIB, "other")})
            (source / "new").replace(place)
        elif change == "rewrite":
            place.write_bytes(some_bytes(10 * MIB, "other"))
        elif change == "add":
            write_files(source, {"c": b"x"})
        else:
            (source / "b").unlink()

    interfered = []
    with pytest.raises(SourceChanged) as caught:
        import_artifact(source, store, Control(report=interfere))
    assert interfered
    assert caught.value.values["before"] != caught.value.values["after"]
    assert files_of(store.folder / "part") == []


def store_with_room(tmp_path, room):
    return PieceStore(tmp_path / "data", free=lambda _: SPACE_RESERVE_BYTES + room)


def test_room_is_checked_first_for_files_and_ciphertext(tmp_path):
    write_files(tmp_path, {"a": some_bytes(3 * MIB)})
    store = store_with_room(tmp_path, 6 * MIB - 1)
    with pytest.raises(NotEnoughSpace) as caught:
        import_artifact(tmp_path / "a", store, Control())
    assert caught.value.values["need_bytes"] == SPACE_RESERVE_BYTES + 6 * MIB
    assert not store.folder.exists()
    import_artifact(tmp_path / "a", store_with_room(tmp_path, 6 * MIB), Control())


def test_what_is_there_already_needs_no_room(tmp_path, store):
    write_files(tmp_path, {"a": some_bytes(3 * MIB), "b": some_bytes(3 * MIB, "other")})
    import_artifact(tmp_path / "a", store, Control())
    full = store_with_room(tmp_path, 0)
    assert import_artifact(tmp_path / "a", full, Control()).copied_bytes == 0
    with pytest.raises(NotEnoughSpace):  # of the same size, but another
        import_artifact(tmp_path / "b", full, Control())


def test_what_was_written_before_needs_no_room_again(tmp_path, store):
    write_files(tmp_path, {"a": some_bytes(12 * MIB)})
    with pytest.raises(Cancelled):
        import_artifact(tmp_path / "a", store, CancelAt(8 * MIB))
    with pytest.raises(NotEnoughSpace):
        import_artifact(tmp_path / "a", store_with_room(tmp_path, 8 * MIB - 1), Control())
    import_artifact(tmp_path / "a", store_with_room(tmp_path, 8 * MIB), Control())
