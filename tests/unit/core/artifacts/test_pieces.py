"""The content store: what is held is whole, what rots is found, what nobody keeps goes."""

from __future__ import annotations

import io
import stat

import pytest

from hanse.core.artifacts.layers import LayerMissing, object_name, parse_name
from hanse.core.artifacts.parts import PartInUse
from hanse.core.artifacts.pieces import (
    NotEnoughSpace,
    ObjectMissing,
    OtherContent,
    PieceDamaged,
    PieceStore,
)
from hanse.core.artifacts.tree import check_block, hash_leaves, leaf_count
from hanse.core.limits import PART_MS_MAX, SPACE_RESERVE_BYTES
from hanse.core.model.control import Cancelled, Control
from tests.fakes.content import LEAF, MIB, SIZES, damage, some_bytes
from tests.unit.core.artifacts.test_tree import tree_of

SIZE = 3 * MIB + 5
DATA = some_bytes(SIZE)
TREE = tree_of(DATA)
ROOT = TREE.root()
FAR_MS = 10**15


@pytest.fixture
def store(tmp_path):
    return PieceStore(tmp_path)


@pytest.fixture
def held(store):
    store.add(ROOT, SIZE, io.BytesIO(DATA))
    return store


def layer_files(store):
    return sorted(path.suffix for path in store.layers.folder.glob("??/*"))


@pytest.mark.parametrize("size", [0, *SIZES])
def test_what_is_added_is_held_and_checked(store, size):
    data = some_bytes(size)
    tree = tree_of(data)
    store.add(tree.root(), size, io.BytesIO(data))
    assert store.has(tree.root(), size)
    with store.open(tree.root(), size) as file:
        assert file.read() == data
    assert store.leaves(tree.root(), size) == tree.leaves()
    assert store.layer(tree.root(), size) == tree.layer()
    assert store.verify(tree.root(), size, Control()) == ()


def test_it_lies_where_the_design_says(held, tmp_path):
    path = tmp_path / "store" / "blobs" / ROOT.hex()[:2] / f"{ROOT.hex()}.{SIZE}"
    assert held.path(ROOT, SIZE) == path
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    layers = tmp_path / "store" / "layers" / ROOT.hex()[:2]
    assert (layers / f"{ROOT.hex()}.{SIZE}.l").read_bytes() == TREE.leaves()
    assert (layers / f"{ROOT.hex()}.{SIZE}.p").read_bytes() == TREE.layer()
    assert list((tmp_path / "store" / "part").iterdir()) == []


@pytest.mark.parametrize("size", [1, LEAF])
def test_a_file_of_one_leaf_needs_no_layer_on_disk(store, size):
    root = tree_of(some_bytes(size)).root()
    store.add(root, size, io.BytesIO(some_bytes(size)))
    assert layer_files(store) == []


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b"x" + DATA[1:], b""])
def test_other_bytes_are_refused_and_nothing_of_them_stays(store, tmp_path, data):
    with pytest.raises(OtherContent):
        store.add(ROOT, SIZE, io.BytesIO(data))
    assert not store.has(ROOT, SIZE)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_an_equal_object_stays_as_it_is(held):
    before = held.path(ROOT, SIZE).stat()
    held.add(ROOT, SIZE, io.BytesIO(DATA))
    assert held.path(ROOT, SIZE).stat().st_ino == before.st_ino
    assert [found.size for found in held.objects()] == [SIZE]


def test_a_piece_comes_only_if_it_is_right(held):
    assert held.read_piece(ROOT, SIZE, 1) == DATA[MIB : 2 * MIB]
    assert held.read_piece(ROOT, SIZE, 3) == DATA[3 * MIB :]
    damage(held.path(ROOT, SIZE), MIB + 77)
    with pytest.raises(PieceDamaged) as caught:
        held.read_piece(ROOT, SIZE, 1)
    assert caught.value.pieces == (1,)
    assert held.read_piece(ROOT, SIZE, 0) == DATA[:MIB]


def test_what_is_not_held_is_missing(store):
    for act in (
        store.open,
        lambda *it: store.read_piece(*it, 0),
        lambda *it: store.verify(*it, Control()),
    ):
        with pytest.raises(ObjectMissing):
            act(ROOT, SIZE)
    with pytest.raises(LayerMissing):
        store.layer(ROOT, SIZE)


def test_a_proof_comes_from_the_layers(held):
    for index in (0, 63, 64, leaf_count(SIZE) - 1):
        path = held.path_of_block(ROOT, SIZE, index)
        check_block(SIZE, ROOT, index, DATA[index * LEAF : (index + 1) * LEAF], path)


def test_rot_is_found_and_put_right(held):
    for offset in (0, 2 * MIB - 1, SIZE - 1):
        damage(held.path(ROOT, SIZE), offset, 1)
    assert held.verify(ROOT, SIZE, Control()) == (0, 1, 3)
    for piece in (0, 1, 3):
        held.repair_piece(ROOT, SIZE, piece, DATA[piece * MIB : (piece + 1) * MIB])
    assert held.verify(ROOT, SIZE, Control()) == ()
    assert stat.S_IMODE(held.path(ROOT, SIZE).stat().st_mode) == 0o444


@pytest.mark.parametrize("length", [0, 100, MIB, SIZE - 1])
def test_a_file_cut_short_is_damaged_from_there_and_can_be_put_right(held, length):
    path = held.path(ROOT, SIZE)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(length)
    assert not held.has(ROOT, SIZE)
    damaged = held.verify(ROOT, SIZE, Control())
    assert damaged == tuple(range(length // MIB, 4))
    for piece in damaged:
        held.repair_piece(ROOT, SIZE, piece, DATA[piece * MIB : (piece + 1) * MIB])
    assert held.has(ROOT, SIZE)
    assert held.verify(ROOT, SIZE, Control()) == ()


def test_bytes_behind_the_end_are_found_and_cut(held):
    path = held.path(ROOT, SIZE)
    path.chmod(0o600)
    with path.open("ab") as file:
        file.write(b"more")
    assert held.verify(ROOT, SIZE, Control()) == (3,)
    held.repair_piece(ROOT, SIZE, 3, DATA[3 * MIB :])
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("piece", "data"),
    [(0, DATA[MIB : 2 * MIB]), (0, DATA[: MIB - 1]), (3, DATA[:MIB]), (4, b"x"), (-1, DATA[-5:])],
)
def test_a_repair_takes_only_the_right_bytes(held, piece, data):
    with pytest.raises(OtherContent):
        held.repair_piece(ROOT, SIZE, piece, data)
    assert held.path(ROOT, SIZE).read_bytes() == DATA


def rot_layer(store, suffix):
    [path] = store.layers.folder.glob(f"??/*{suffix}")
    damage(path, 40)


def reopened(store):
    return PieceStore(store.folder.parent)


def test_a_rotten_piece_layer_is_made_again_from_the_leaves(held):
    rot_layer(held, ".p")
    assert reopened(held).layer(ROOT, SIZE) == TREE.layer()
    [path] = held.layers.folder.glob("??/*.p")
    assert path.read_bytes() == TREE.layer()


def test_a_rotten_leaf_layer_is_never_used_and_made_again_from_the_bytes(held):
    rot_layer(held, ".l")
    again = reopened(held)
    with pytest.raises(LayerMissing):
        again.leaves(ROOT, SIZE)
    assert again.verify(ROOT, SIZE, Control()) == ()
    assert again.leaves(ROOT, SIZE) == TREE.leaves()


@pytest.mark.parametrize("gone", [(".p", ".l"), (".l",), (".p",)])
def test_lost_layers_are_made_again_from_the_bytes(held, gone):
    for suffix in gone:
        [path] = held.layers.folder.glob(f"??/*{suffix}")
        path.unlink()
    again = reopened(held)
    assert again.verify(ROOT, SIZE, Control()) == ()
    assert again.leaves(ROOT, SIZE) == TREE.leaves()
    assert layer_files(again) == [".l", ".p"]


def test_without_layers_rotten_bytes_are_damaged_as_a_whole(held):
    rot_layer(held, ".l")
    rot_layer(held, ".p")
    damage(held.path(ROOT, SIZE), MIB)
    assert reopened(held).verify(ROOT, SIZE, Control()) == (0, 1, 2, 3)


def chunks(data=DATA):
    return [hash_leaves(data[start : start + MIB]) for start in range(0, len(data), MIB)]


def test_a_leaf_layer_is_kept_without_the_file(store):
    store.layers.keep(ROOT, SIZE, chunks())
    assert store.layers.has(ROOT, SIZE)
    assert not store.has(ROOT, SIZE)
    assert store.leaves(ROOT, SIZE) == TREE.leaves()


@pytest.mark.parametrize(
    "wrong",
    [
        chunks()[:-1],
        [*chunks(), bytes(32)],
        [bytes(2048), *chunks()[1:]],
        [chunks()[0][:-32], *chunks()[1:]],
        [chunks()[0] + chunks()[1], *chunks()[2:]],
        [],
    ],
)
def test_a_leaf_layer_of_something_else_is_not_kept(store, wrong):
    with pytest.raises(LayerMissing):
        store.layers.keep(ROOT, SIZE, wrong)
    assert layer_files(store) == []


@pytest.mark.usefixtures("held")
def test_a_sweep_takes_what_is_old_and_unwanted_only(store):
    small = some_bytes(100)
    kept = tree_of(small).root()
    store.add(kept, 100, io.BytesIO(small))
    assert store.sweep(lambda *_: False, 0, 1).objects == 0  # too young for any clock
    swept = store.sweep(lambda root, _: root == kept, FAR_MS, 3_600_000)
    assert (swept.objects, swept.freed_bytes) == (1, SIZE)
    assert [found.root for found in store.objects()] == [kept]
    assert layer_files(store) == []


def test_a_sweep_leaves_the_layers_of_files_somebody_wants(store):
    store.layers.keep(ROOT, SIZE, chunks())
    store.sweep(lambda *_: True, FAR_MS, 0)
    assert layer_files(store) == [".l", ".p"]
    store.sweep(lambda *_: False, FAR_MS, 0)
    assert layer_files(store) == []


def test_stale_parts_are_swept_after_a_day_unless_in_use(store):
    with store.part("name", bytes(32), 5) as part:
        now_ms = part.data_path.stat().st_mtime_ns // 1_000_000
        later_ms = now_ms + PART_MS_MAX + 1000
        assert store.sweep(lambda *_: True, later_ms, 0).parts == 0
        assert part.data_path.exists()
    assert store.sweep(lambda *_: True, now_ms + PART_MS_MAX - 1000, 0).parts == 0
    assert store.sweep(lambda *_: True, later_ms, 0).parts == 1
    assert not part.data_path.exists()


def test_one_part_has_one_writer(store):
    with (
        store.part("name", bytes(32), 5),
        pytest.raises(PartInUse),
        store.part("name", bytes(32), 5),
    ):
        pass
    with store.part("name", bytes(32), 5):
        pass


def test_usage_counts_everything(held):
    usage = held.usage()
    assert (usage.objects, usage.object_bytes, usage.part_bytes) == (1, SIZE, 0)
    assert usage.layer_bytes == len(TREE.leaves()) + len(TREE.layer())


def test_a_removed_object_is_gone_and_may_be_removed_again(held):
    held.remove(ROOT, SIZE)
    held.remove(ROOT, SIZE)
    assert not held.has(ROOT, SIZE)
    assert held.usage().layer_bytes == 0


def test_room_is_what_comes_and_a_reserve(tmp_path):
    store = PieceStore(tmp_path, free=lambda _: SPACE_RESERVE_BYTES + 10)
    store.check_room(10)
    store.check_room(0)
    with pytest.raises(NotEnoughSpace) as caught:
        store.check_room(11)
    assert caught.value.values["need_bytes"] == SPACE_RESERVE_BYTES + 11
    assert caught.value.values["have_bytes"] == SPACE_RESERVE_BYTES + 10


def test_free_space_is_asked_where_the_folder_will_be(tmp_path):
    assert PieceStore(tmp_path / "not" / "yet").free_bytes() > 0


def test_a_cancelled_add_leaves_nothing_listed(store):
    control = Control()
    control.cancel()
    data = some_bytes(20 * MIB)
    with pytest.raises(Cancelled):
        store.add(tree_of(data).root(), len(data), io.BytesIO(data), control)
    assert list(store.objects()) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        ROOT.hex(),
        f"{ROOT.hex()}.",
        f"{ROOT.hex()}.01",
        f"{ROOT.hex()}.-1",
        f"{ROOT.hex()}.٣",
        f"{ROOT.hex().upper()}.1",
        f"{ROOT.hex()[:-2]}zz.1",
        f"{ROOT.hex()}.1.l",
    ],
)
def test_only_our_names_are_read(name):
    assert parse_name(name) is None
    assert parse_name(object_name(ROOT, 7)) == (ROOT, 7)


def test_files_that_are_not_ours_are_left_alone(held):
    stray = held.path(ROOT, SIZE).with_name("notes.txt")
    stray.write_text("mine")
    held.sweep(lambda *_: False, FAR_MS, 0)
    assert stray.read_text() == "mine"
    assert list(held.objects()) == []
