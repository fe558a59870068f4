"""Objects that come in any order: verified first, durable by bits, gone on with, never trusted."""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from hanse.core.artifacts.gathering import Gathering, Record
from hanse.core.artifacts.layers import LayerMissing
from hanse.core.artifacts.parts import Progress
from hanse.core.artifacts.pieces import PieceStore, gathering_name
from hanse.core.artifacts.tree import (
    PIECE_LEAVES_SIZE_BYTES,
    PieceTree,
    hash_leaves,
    leaf_count,
    piece_count,
)
from hanse.core.errors import StoreFull
from hanse.core.ledger.codec import decode, encode
from hanse.core.limits import PART_MS_MAX
from hanse.core.model.control import Cancelled, Control
from tests.fakes.content import LEAF, MIB, SIZES, damage, some_bytes
from tests.fakes.swarm import pieces_of

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 5 * MIB + 70_000


class Thing:
    """Some bytes with their tree, as a seeder has them."""

    def __init__(self, size: int, seed: str = "thing") -> None:
        self.raw = some_bytes(size, seed)
        tree = PieceTree()
        for start in range(0, size, LEAF):
            tree.add(self.raw[start : start + LEAF])
        self.size = size
        self.root, self.layer, self.leaves = tree.root(), tree.layer(), tree.leaves()
        self.pieces = list(pieces_of(self.raw))

    @property
    def name(self) -> tuple[bytes, int]:
        return self.root, self.size


@pytest.fixture
def store(tmp_path) -> PieceStore:
    return PieceStore(tmp_path)


def began(store: PieceStore, thing: Thing) -> Gathering:
    if thing.layer:
        store.layers.keep_pieces(*thing.name, thing.layer)
    return store.gathering(*thing.name)


def progress(control: Control | None = None) -> Progress:
    return Progress(control or Control(), "fetch", 0)


def have_path(store: PieceStore, thing: Thing) -> Path:
    return store.folder / "part" / f"{gathering_name(*thing.name)}.have"


def put_all(gathering: Gathering, thing: Thing) -> None:
    for piece in gathering.have().missing():
        assert gathering.put(piece, thing.pieces[piece])


def install(store: PieceStore, gathering: Gathering, thing: Thing) -> None:
    assert gathering.prove(progress())
    assert store.install(gathering, thing.root) == thing.root


def check_stored(store: PieceStore, thing: Thing) -> None:
    assert store.path(*thing.name).read_bytes() == thing.raw
    assert store.leaves(*thing.name) == thing.leaves
    assert store.layer(*thing.name) == thing.layer
    assert store.verify(*thing.name, Control()) == ()
    assert list((store.folder / "part").iterdir()) == []


# --- any order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_an_object_comes_together_from_pieces_in_any_order(store, size):
    thing = Thing(size)
    gathering = began(store, thing)
    for piece in sorted(range(piece_count(size)), key=lambda one: sha256(bytes([one])).digest()):
        assert gathering.put(piece, thing.pieces[piece])
    install(store, gathering, thing)
    check_stored(store, thing)


def test_wrong_bytes_are_refused_and_never_touch_the_disk(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    wrong = bytearray(thing.pieces[2])
    wrong[70_000] ^= 1
    assert not gathering.put(2, bytes(wrong))
    assert not gathering.put(2, thing.pieces[1])
    assert not gathering.data_path.exists()
    assert len(gathering.have()) == 0


@pytest.mark.parametrize("piece", [-1, 6, 2**40])
def test_a_piece_that_the_object_does_not_have_is_refused(store, piece):
    thing = Thing(SIZE)
    assert not began(store, thing).put(piece, thing.pieces[0])


def test_a_piece_of_another_length_is_refused(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    assert not gathering.put(0, thing.pieces[0][:-1])
    assert not gathering.put(5, thing.pieces[0])
    assert not gathering.put(0, b"")


def test_without_its_piece_layer_no_piece_can_be_judged(store):
    thing = Thing(SIZE)
    with pytest.raises(LayerMissing):
        store.gathering(*thing.name)


def test_a_piece_layer_that_does_not_fold_to_the_root_is_not_kept(store):
    thing = Thing(SIZE)
    wrong = bytes(32) + thing.layer[32:]
    assert not store.layers.keep_pieces(*thing.name, wrong)
    assert not store.layers.keep_pieces(*thing.name, thing.layer[:-32])
    with pytest.raises(LayerMissing):
        store.gathering(*thing.name)


def test_pieces_are_given_on_before_the_object_is_whole(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    gathering.put(5, thing.pieces[5])
    assert gathering.read(5) == thing.pieces[5]
    assert gathering.read(4) is None


def test_a_piece_that_rotted_on_its_way_is_not_given_on(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    gathering.put(1, thing.pieces[1])
    damage(gathering.data_path, MIB + 5)
    assert gathering.read(1) is None


# --- gone on with ------------------------------------------------------------------------------


def test_only_what_was_synced_is_there_after_a_crash(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    gathering.put(4, thing.pieces[4])
    gathering.sync()
    gathering.put(1, thing.pieces[1])  # and then the power fails
    again = store.gathering(*thing.name)
    assert list(again.have().missing()) == [0, 1, 2, 3, 5]
    put_all(again, thing)
    install(store, again, thing)
    check_stored(store, thing)


def changed_record(path: Path, **values: object) -> None:
    record = decode(path.read_bytes(), Record)
    fields = {name: values.get(name, getattr(record, name)) for name in record.__struct_fields__}
    path.write_bytes(encode(Record(**fields)))


TEARS = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(100_000)),
    "other bits": lambda path: changed_record(path, bits=b"\x1f"),
    "bits behind the end": lambda path: changed_record(
        path, bits=b"\xff", check=sha256(b"\xff").digest()
    ),
    "more bits": lambda path: changed_record(
        path, bits=b"\x3f\x00", check=sha256(b"\x3f\x00").digest()
    ),
    "another object": lambda path: changed_record(path, root=bytes(32)),
    "another size": lambda path: changed_record(path, size=SIZE - 1),
}


@pytest.mark.parametrize("tear", sorted(TEARS))
def test_a_broken_record_counts_for_nothing(store, tear):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    gathering.sync()
    TEARS[tear](have_path(store, thing))
    again = store.gathering(*thing.name)
    assert len(again.have()) == 0
    put_all(again, thing)
    install(store, again, thing)
    check_stored(store, thing)


def test_bits_beside_a_file_of_another_length_count_for_nothing(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    gathering.sync()
    os.truncate(gathering.data_path, SIZE - 1)
    assert len(store.gathering(*thing.name).have()) == 0


def test_bits_without_a_file_count_for_nothing(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    gathering.sync()
    gathering.data_path.unlink()
    assert len(store.gathering(*thing.name).have()) == 0


def test_what_rotted_between_two_days_is_found_and_comes_again(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    gathering.sync()
    damage(gathering.data_path, 3 * MIB + 100)
    again = store.gathering(*thing.name)
    assert again.is_full
    assert not again.is_proved
    assert not again.prove(progress())
    assert list(again.have().missing()) == [3]
    put_all(again, thing)
    install(store, again, thing)
    check_stored(store, thing)


def test_proving_can_be_cancelled_and_believes_nothing_more(store):
    thing = Thing(18 * MIB)
    gathering = began(store, thing)
    put_all(gathering, thing)
    gathering.sync()
    control = Control()
    control.cancel()
    again = store.gathering(*thing.name)
    with pytest.raises(Cancelled):
        again.prove(progress(control))
    assert not again.is_proved


def test_an_object_that_was_brought_in_meanwhile_stays_as_it_is(store, tmp_path):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    source = tmp_path / "source"
    source.write_bytes(thing.raw)
    with source.open("rb") as stream:
        store.add(*thing.name, stream)
    install(store, gathering, thing)
    check_stored(store, thing)


def test_a_discarded_object_leaves_nothing(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    gathering.sync()
    gathering.discard()
    assert list((store.folder / "part").iterdir()) == []
    assert len(gathering.have()) == 0


# --- a full disk -------------------------------------------------------------------------------


def refuse(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_refuses_a_piece_and_loses_none(store, monkeypatch):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    gathering.put(0, thing.pieces[0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(StoreFull):
            gathering.put(1, thing.pieces[1])
    assert list(gathering.have().missing()) == [1, 2, 3, 4, 5]
    put_all(gathering, thing)
    install(store, gathering, thing)
    check_stored(store, thing)


def test_what_could_not_be_synced_has_to_come_again(store, monkeypatch):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    gathering.put(0, thing.pieces[0])
    gathering.sync()
    gathering.put(1, thing.pieces[1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreFull):
            gathering.sync()
    assert list(gathering.have().missing()) == [1, 2, 3, 4, 5]
    put_all(gathering, thing)
    install(store, gathering, thing)
    check_stored(store, thing)


# --- leaf layers -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [LEAF + 1, MIB - 1, MIB, MIB + 1, SIZE])
def test_a_leaf_layer_comes_together_from_ranges_in_any_order(store, size):
    thing = Thing(size)
    if thing.layer:
        store.layers.keep_pieces(*thing.name, thing.layer)
    gathering = store.leaf_gathering(*thing.name)
    for piece in reversed(range(piece_count(size))):
        start = piece * PIECE_LEAVES_SIZE_BYTES
        assert gathering.put(piece, thing.leaves[start : start + PIECE_LEAVES_SIZE_BYTES])
    assert gathering.prove()
    store.install_leaves(gathering)
    assert store.layers.has(*thing.name)
    assert store.leaves(*thing.name) == thing.leaves
    assert list((store.folder / "part").iterdir()) == []


def leaves_of(store: PieceStore, thing: Thing):
    store.layers.keep_pieces(*thing.name, thing.layer)
    return store.leaf_gathering(*thing.name)


@pytest.mark.parametrize("cut", [slice(0, -1), slice(32, None), slice(0, 32), slice(0, 0)])
def test_a_leaf_range_of_another_length_is_refused(store, cut):
    thing = Thing(SIZE)
    assert not leaves_of(store, thing).put(0, thing.leaves[cut])


def test_one_wrong_leaf_refuses_its_whole_range(store):
    thing = Thing(SIZE)
    gathering = leaves_of(store, thing)
    wrong = bytearray(thing.leaves)
    wrong[3 * PIECE_LEAVES_SIZE_BYTES + 5] ^= 1
    assert not gathering.put(0, bytes(wrong))
    assert not gathering.data_path.exists()


def test_leaves_behind_the_end_are_refused(store):
    thing = Thing(SIZE)
    gathering = leaves_of(store, thing)
    assert not gathering.put(0, thing.leaves + bytes(32))
    assert not gathering.put(6, bytes(32))


def test_leaves_of_an_earlier_day_are_looked_at_again(store):
    thing = Thing(SIZE)
    gathering = leaves_of(store, thing)
    gathering.put(0, thing.leaves)
    gathering.sync()
    damage(gathering.data_path, 2 * PIECE_LEAVES_SIZE_BYTES)
    again = store.leaf_gathering(*thing.name)
    assert again.is_full
    assert not again.prove()
    assert list(again.have().missing()) == [2]


# --- taken apart, and swept --------------------------------------------------------------------


def test_a_damaged_object_is_taken_apart_and_only_its_damaged_pieces_come_again(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    install(store, gathering, thing)
    damage(store.path(*thing.name), 2 * MIB + 9)
    damaged = store.verify(*thing.name, Control())
    store.take_apart(*thing.name, damaged)
    assert not store.has(*thing.name)
    again = store.gathering(*thing.name)
    assert list(again.have().missing()) == [2]
    put_all(again, thing)
    install(store, again, thing)
    check_stored(store, thing)


def test_an_object_that_was_cut_short_is_taken_apart_at_its_full_length(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    install(store, gathering, thing)
    path = store.path(*thing.name)
    path.chmod(0o600)
    os.truncate(path, 3 * MIB + 1)
    store.take_apart(*thing.name, store.verify(*thing.name, Control()))
    again = store.gathering(*thing.name)
    assert list(again.have().missing()) == [3, 4, 5]
    put_all(again, thing)
    install(store, again, thing)
    check_stored(store, thing)


def test_an_object_without_its_hashes_is_dropped_when_taken_apart(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    put_all(gathering, thing)
    install(store, gathering, thing)
    store.layers.remove(*thing.name)
    store.take_apart(*thing.name, (0,))
    assert not store.path(*thing.name).exists()


def test_a_sweep_keeps_parts_that_are_wanted_however_old(store):
    kept, dropped = Thing(SIZE), Thing(SIZE, "other")
    for thing in (kept, dropped):
        gathering = began(store, thing)
        gathering.put(0, thing.pieces[0])
        gathering.sync()
    later_ms = have_path(store, kept).stat().st_mtime_ns // 1_000_000 + PART_MS_MAX + 1000
    wanted = {gathering_name(*kept.name)}
    swept = store.sweep(
        lambda _root, _size: False,
        later_ms,
        0,
        keep_layers=lambda root, size: (root, size) == kept.name,
        keep_part=wanted.__contains__,
    )
    assert swept.parts == 1
    assert len(store.gathering(*kept.name).have()) == 1
    assert not have_path(store, dropped).exists()


def test_holes_in_a_file_on_its_way_do_not_count_as_used(store):
    thing = Thing(SIZE)
    gathering = began(store, thing)
    gathering.put(5, thing.pieces[5])
    assert gathering.data_path.stat().st_size == SIZE
    assert store.usage().part_bytes < 2 * MIB


def test_hashing_a_piece_gives_the_leaves_the_tree_has():
    thing = Thing(SIZE)
    assert b"".join(map(hash_leaves, thing.pieces)) == thing.leaves
    assert len(thing.leaves) == 32 * leaf_count(SIZE)
