from __future__ import annotations

import pytest

from hanse.core.model.delivery import DeliveryState
from tests.fakes.author import Author
from tests.unit.core.store.conftest import NOW_MS


@pytest.fixture
def device(take):
    author = Author("outbox")
    device = author.device()
    for _ in range(4):
        device.append("profile/1")
    take(*author.root_entries, *device.entries)
    return device


@pytest.fixture
def uow(store, device):  # noqa: ARG001 - must be there before the transaction begins
    with store.unit_of_work() as uow:
        yield uow


def test_an_announcement_is_due_at_once_and_names_its_entry(uow, device):
    message = uow.outbox.announce(device.ids[2], NOW_MS)
    (due,) = uow.outbox.due(NOW_MS)
    assert (due.message, due.to, due.entry_id) == (message, None, device.ids[2])
    assert (due.state, due.tries, due.created_ms) == (DeliveryState.QUEUED, 0, NOW_MS)
    assert uow.outbox.due(NOW_MS - 1) == []


def test_a_newer_announcement_takes_the_place_of_one_not_sent_yet(uow, device):
    uow.outbox.announce(device.ids[1], NOW_MS)
    newer = uow.outbox.announce(device.ids[2], NOW_MS)
    assert [it.message for it in uow.outbox.due(NOW_MS)] == [newer]


def test_an_announcement_on_its_way_stays(uow, device):
    first = uow.outbox.announce(device.ids[1], NOW_MS)
    uow.outbox.mark(first, DeliveryState.SENT, NOW_MS + 1)
    second = uow.outbox.announce(device.ids[2], NOW_MS)
    assert [it.message for it in uow.outbox.due(NOW_MS + 1)] == [second, first]


def test_announcements_of_other_feeds_stay(uow, device):
    root = Author("outbox").root
    assert uow.feeds.find(root.ids[0]) is not None
    uow.outbox.announce(root.ids[0], NOW_MS)
    uow.outbox.announce(device.ids[0], NOW_MS)
    assert len(uow.outbox.due(NOW_MS)) == 2


def test_deliveries_are_kept_until_somebody_has_them(uow, device):
    reader = Author("reader").identity
    message = uow.outbox.send(reader, device.ids[2], NOW_MS)
    assert uow.outbox.get(message).to == reader
    uow.outbox.mark(message, DeliveryState.SENT, NOW_MS + 60_000)
    assert uow.outbox.due(NOW_MS) == []
    (due,) = uow.outbox.due(NOW_MS + 60_000)
    assert (due.tries, due.state) == (1, DeliveryState.SENT)
    uow.outbox.mark(message, DeliveryState.ACKNOWLEDGED)
    assert uow.outbox.due(NOW_MS * 2) == []
    assert uow.outbox.get(message).state is DeliveryState.ACKNOWLEDGED
    assert uow.outbox.get(message + 1) is None


def test_the_longest_overdue_comes_first_and_pages_are_bounded(uow, device):
    reader = Author("reader").identity
    times = [NOW_MS + 3, NOW_MS + 1, NOW_MS + 2]
    for time_ms in times:
        uow.outbox.send(reader, device.ids[0], time_ms)
    assert [it.next_ms for it in uow.outbox.due(NOW_MS + 9)] == sorted(times)
    assert len(uow.outbox.due(NOW_MS + 9, limit=2)) == 2


def test_readers_of_a_private_body_are_remembered(uow, device):
    readers = [Author(number).identity for number in range(3)]
    uow.private_to.add(device.ids[1], readers)
    uow.private_to.add(device.ids[1], readers[:1])
    uow.private_to.add(device.ids[2], [])
    assert uow.private_to.readers(device.ids[1]) == sorted(readers)
    assert uow.private_to.may_read(device.ids[1], readers[1])
    assert not uow.private_to.may_read(device.ids[2], readers[1])


def test_secrets_are_put_replaced_listed_by_prefix_and_removed(uow):
    uow.secrets.put("seeds/1", b"one")
    uow.secrets.put("seeds/2", b"two")
    uow.secrets.put("rail/bank", b"three")
    uow.secrets.put("seeds/1", b"new")
    assert uow.secrets.get("seeds/1") == b"new"
    assert uow.secrets.get("seeds/9") is None
    assert uow.secrets.named("seeds/") == [("seeds/1", b"new"), ("seeds/2", b"two")]
    uow.secrets.remove("seeds/1")
    uow.secrets.remove("seeds/9")
    assert uow.secrets.named("") == [("rail/bank", b"three"), ("seeds/2", b"two")]
