from __future__ import annotations

import random

import pytest

from hanse.core.ledger.codec import encode
from hanse.core.store.engines import DATABASE_FILE, Store
from hanse.core.store.rehash import _uint
from tests.fakes.author import START_MS, Author
from tests.unit.core.store.conftest import NOW_MS


@pytest.fixture
def device(take):
    author = Author("rehash")
    device = author.device()
    for number in range(300):
        device.append("profile/1" if number % 2 else "nobody-knows-this-kind-yet/1")
    take(*author.root_entries, *device.entries)
    return device


def change(store, statement, *values):
    with store.unit_of_work() as uow:
        uow._connection.exec_driver_sql(statement, values)
        uow.commit()


def faults(store):
    with store.reads() as reads:
        return list(reads.rehash())


@pytest.mark.usefixtures("device")
def test_a_whole_ledger_has_no_fault(store):
    assert faults(store) == []
    with store.reads() as reads:
        assert sum(part.entries for part in reads.rehash_slices()) == 302


@pytest.mark.usefixtures("device")
def test_it_goes_on_after_a_feed(store, take):
    take(*Author(1).root_entries, *Author(2).root_entries)
    with store.reads() as reads:
        authors = [part.author for part in reads.rehash_slices()]
        assert authors == sorted(authors)
        assert [part.author for part in reads.rehash_slices(authors[1])] == authors[2:]


def test_slices_are_bounded(store, device, monkeypatch):
    monkeypatch.setattr("hanse.core.store.rehash.ENTRIES_PER_BATCH_MAX", 100)
    with store.reads() as reads:
        found = [part for part in reads.rehash_slices() if part.author == device.key]
    assert [part.entries for part in found] == [100, 100, 100, 1]
    assert all(part.fault is None for part in found)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE entries SET sig = zeroblob(64) WHERE seq = 7 AND feed = 2", "bad_id"),
        ("UPDATE entries SET header = zeroblob(200) WHERE seq = 7 AND feed = 2", "bad_id"),
        ("UPDATE entries SET id = zeroblob(32) WHERE seq = 7 AND feed = 2", "bad_id"),
        ("UPDATE entries SET body = zeroblob(60) WHERE seq = 7 AND feed = 2", "bad_body"),
        ("UPDATE entries SET body = NULL WHERE seq = 7 AND feed = 2", "bad_body"),
        ("UPDATE entries SET body_state = 'erased' WHERE seq = 7 AND feed = 2", "bad_body"),
        ("UPDATE entries SET time_ms = 5 WHERE seq = 7 AND feed = 2", "bad_column"),
        ("UPDATE entries SET kind = 1 WHERE seq = 7 AND feed = 2", "bad_column"),
        ("UPDATE entries SET kind = 999 WHERE seq = 7 AND feed = 2", "bad_column"),
        ("DELETE FROM entries WHERE seq = 7 AND feed = 2", "gap"),
    ],
)
def test_the_first_fault_of_a_feed_is_named_with_its_place(store, device, statement, reason):
    change(store, statement)
    (fault,) = faults(store)
    assert (fault.author, fault.seq, fault.reason) == (device.key, 7, reason)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE feeds SET head_seq = 300 WHERE feed = 2", "bad_head"),
        ("UPDATE feeds SET head_seq = 302 WHERE feed = 2", "bad_head"),
        ("UPDATE feeds SET head_id = zeroblob(32) WHERE feed = 2", "bad_head"),
        ("UPDATE feeds SET head_time_ms = 1 WHERE feed = 2", "bad_head"),
        ("UPDATE feeds SET peaks = zeroblob(length(peaks)) WHERE feed = 2", "bad_peaks"),
        ("DELETE FROM entries WHERE feed = 2 AND seq > 290", "bad_head"),
    ],
)
def test_the_row_of_a_feed_must_say_what_its_entries_say(store, device, statement, reason):
    change(store, statement)
    (fault,) = faults(store)
    assert (fault.author, fault.reason) == (device.key, reason)


def test_an_entry_put_in_the_place_of_another_breaks_the_chain(store, device):
    other = device.fork_at(7)
    rival = other.append("follow/1")
    change(
        store,
        "UPDATE entries SET id = ?, header = ?, sig = ?, body = ? WHERE feed = 2 AND seq = 7",
        rival.entry_id,
        rival.header_bytes,
        rival.signature,
        rival.body,
    )
    (fault,) = faults(store)
    assert fault.seq in {7, 8}
    assert fault.reason in {"bad_chain", "bad_column"}


def test_a_header_that_commits_to_another_history_is_found_where_a_slice_ends(store, take):
    author = Author("roots")
    device = author.device()
    wrong = device.spoil("root", "follow/1", device.body("follow/1"))
    good = device.append("follow/1")
    take(*author.root_entries, *device.entries)
    change(
        store,
        "UPDATE entries SET id = ?, header = ?, sig = ?, body = ? WHERE id = ?",
        wrong.entry_id,
        wrong.header_bytes,
        wrong.signature,
        wrong.body,
        good.entry_id,
    )
    (fault,) = faults(store)
    assert (fault.seq, fault.reason) == (2, "bad_root")


def test_a_flipped_bit_on_a_branch_is_found(store, device, take):
    branch = device.fork_at(5).append("follow/1")
    take(branch)
    assert faults(store) == []
    change(store, "UPDATE branches SET sig = zeroblob(64)")
    (fault,) = faults(store)
    assert (fault.seq, fault.reason, fault.author) == (5, "bad_id", device.key)


@pytest.mark.usefixtures("device")
def test_one_damaged_feed_does_not_hide_another(store, take):
    for number in range(3):
        take(*Author(number).root_entries)
    change(store, "UPDATE entries SET sig = zeroblob(64) WHERE seq = 1")
    assert len(faults(store)) == 5


def test_numbers_are_written_as_the_codec_writes_them():
    edges = [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, START_MS, NOW_MS, 2**63 - 1]
    assert [_uint(number) for number in edges] == [encode(number) for number in edges]


def test_flipped_bytes_in_the_file_are_found(tmp_path, device, store):
    """Each flip lands inside some Entry's bytes on disk, past the pages SQLite needs to open."""
    store.close()
    whole = store.path.read_bytes()
    chance = random.Random(7)
    headers = [entry.header_bytes[40:80] for entry in device.entries[10:290]]
    found = 0
    for number, part in enumerate(chance.sample(headers, 20)):
        at = whole.index(part) + chance.randrange(len(part))
        folder = tmp_path / f"flip {number}"
        folder.mkdir()
        raw = bytearray(whole)
        raw[at] ^= 1 << chance.randrange(8)
        (folder / DATABASE_FILE).write_bytes(raw)
        damaged = Store.open(folder)
        found += len(faults(damaged)) == 1
        damaged.close()
    assert found == 20
