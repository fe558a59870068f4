from __future__ import annotations

import pytest

from hanse.core.ledger.entry import CheckedEntry
from hanse.core.limits import PARKED_MS_MAX
from hanse.core.model.ids import EntryId
from tests.fakes.author import Author
from tests.unit.core.store.conftest import NOW_MS


@pytest.fixture
def device():
    device = Author("parked").device()
    for _ in range(8):
        device.append("follow/1")
    return device


@pytest.fixture
def uow(store):
    with store.unit_of_work() as uow:
        yield uow


def size_of(entry):
    return len(entry.header_bytes) + len(entry.signature) + len(entry.body)


def test_what_waits_comes_back_as_it_came(uow, device):
    for entry in reversed(device.entries[2:5]):
        uow.parked.add(entry, "gap", NOW_MS)
    assert uow.parked.ready_for(device.key) == device.entries[2:5]
    assert uow.parked.at(device.key, 4) == device.entries[3]
    assert uow.parked.at(device.key, 9) is None
    assert uow.parked.of_prev(device.ids[1]) == [device.entries[2]]
    assert uow.parked.by_reason("gap") == device.entries[4:1:-1]
    assert uow.parked.by_reason("future") == []
    assert uow.parked.count() == 3


def test_a_repeat_waits_once_and_may_bring_the_body(uow, device):
    entry = device.entries[2]
    uow.parked.add(CheckedEntry(entry.without_body()), "gap", NOW_MS)
    uow.parked.add(entry, "delegation", NOW_MS)
    uow.parked.add(CheckedEntry(entry.without_body()), "delegation", NOW_MS)
    assert uow.parked.by_reason("delegation") == [entry]
    assert uow.parked.held() == (1, size_of(entry))


def test_of_two_at_one_place_the_lower_id_has_its_turn_first(uow, device):
    other = device.fork_at(3)
    rival = other.append("follow/1")
    first, second = sorted((device.entries[2], rival), key=lambda entry: entry.entry_id)
    for entry in (second, first):
        uow.parked.add(entry, "gap", NOW_MS)
    assert uow.parked.at(device.key, 3) == first
    assert uow.parked.of_prev(device.ids[1]) == [first, second]


def test_removing_takes_out_what_is_there(uow, device):
    for entry in device.entries[:3]:
        uow.parked.add(entry, "gap", NOW_MS)
    uow.parked.remove([device.ids[0], device.ids[7], EntryId(bytes(32))])
    uow.parked.remove([])
    assert uow.parked.ready_for(device.key) == device.entries[1:3]
    assert uow.parked.count() == 2


def test_of_one_feed_the_oldest_go_first(uow, device, monkeypatch):
    monkeypatch.setattr("hanse.core.store.parked.PARKED_PER_FEED_MAX", 3)
    other = Author("other").device()
    uow.parked.add(other.entries[0], "gap", NOW_MS)
    for entry in device.entries[:5]:
        uow.parked.add(entry, "gap", NOW_MS)
    assert uow.parked.ready_for(device.key) == device.entries[2:5]
    assert uow.parked.ready_for(other.key) == other.entries


def test_in_all_the_oldest_go_first(uow, device, monkeypatch):
    monkeypatch.setattr("hanse.core.store.parked.PARKED_ENTRIES_MAX", 4)
    for entry in device.entries[:6]:
        uow.parked.add(entry, "gap", NOW_MS)
    assert uow.parked.ready_for(device.key) == device.entries[2:6]
    assert uow.parked.held() == (4, sum(map(size_of, device.entries[2:6])))


def test_bytes_in_all_are_bounded_too(uow, device, monkeypatch):
    room = sum(map(size_of, device.entries[1:4]))
    monkeypatch.setattr("hanse.core.store.parked.PARKED_SIZE_BYTES_MAX", room)
    for entry in device.entries[:4]:
        uow.parked.add(entry, "gap", NOW_MS)
    assert uow.parked.ready_for(device.key) == device.entries[1:4]


def test_counts_hold_in_a_later_transaction(store, device):
    with store.unit_of_work() as uow:
        for entry in device.entries[:4]:
            uow.parked.add(entry, "gap", NOW_MS)
        uow.commit()
    with store.reads() as reads:
        assert reads.parked.held() == (4, sum(map(size_of, device.entries[:4])))


def test_nothing_waits_longer_than_a_day(uow, device):
    uow.parked.add(device.entries[0], "gap", NOW_MS)
    uow.parked.add(device.entries[1], "gap", NOW_MS + 1)
    assert uow.parked.expire(NOW_MS + PARKED_MS_MAX - 1) == 0
    assert uow.parked.expire(NOW_MS + PARKED_MS_MAX) == 1
    assert uow.parked.ready_for(device.key) == [device.entries[1]]


def test_more_than_a_page_waits_for_one_reason(uow, device, monkeypatch):
    monkeypatch.setattr("hanse.core.store.parked._IDS_PER_QUERY", 2)
    for entry in device.entries:
        uow.parked.add(entry, "future", NOW_MS)
    assert uow.parked.by_reason("future") == device.entries
    uow.parked.remove(device.ids)
    assert uow.parked.count() == 0
