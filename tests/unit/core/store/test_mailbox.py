from __future__ import annotations

import pytest

from tests.fakes.author import Author
from tests.unit.core.store.conftest import NOW_MS

READER = Author("reader").identity
OTHER = Author("other reader").identity
DEVICES = tuple(Author(f"device {number}").identity for number in range(2))


@pytest.fixture
def posted():
    """Five Entries with Bodies, of one Author."""
    device = Author("poster").device()
    for _ in range(5):
        device.append("profile/1")
    return [entry for entry in device.entries if entry.body is not None][:5]


@pytest.fixture
def box(store):
    with store.unit_of_work() as uow:
        yield uow.mailbox


def keep(box, entries, reader=READER, *, until_ms=NOW_MS + 10, is_stranger=False):
    for entry in entries:
        box.add(reader, entry, NOW_MS, until_ms, is_stranger=is_stranger)


def ids(items):
    return [item.entry_id for item in items]


def test_items_come_out_in_the_order_they_came_with_the_bytes_they_had(box, posted):
    keep(box, posted)
    items = box.after(READER, 0, 100)
    assert ids(items) == [entry.entry_id for entry in posted]
    assert [(it.header, it.sig, it.body) for it in items] == [
        (entry.header_bytes, entry.signature, entry.body) for entry in posted
    ]
    assert ids(box.after(READER, items[1].n, 2)) == ids(items[2:4])


def test_the_same_item_again_keeps_its_number_and_its_date(box, posted):
    keep(box, posted[:1])
    first = box.get(READER, posted[0].entry_id)
    keep(box, posted[:1], until_ms=NOW_MS + 99)
    assert box.get(READER, posted[0].entry_id) == first
    assert box.used().items == 1


def test_readers_do_not_see_each_others_items(box, posted):
    keep(box, posted[:2])
    keep(box, posted[:3], OTHER)
    assert ids(box.after(READER, 0, 9)) == [entry.entry_id for entry in posted[:2]]
    assert box.drop(READER, [posted[2].entry_id]) == 0
    assert box.used(OTHER).items == 3


def test_room_is_counted_for_each_author_reader_and_in_all(box, posted):
    keep(box, posted[:2], is_stranger=True)
    keep(box, posted[2:])
    size = sum(len(e.header_bytes) + len(e.signature) + len(e.body) for e in posted)
    assert (box.used().items, box.used().size_bytes) == (5, size)
    assert box.used(READER, [posted[0].author]).items == 5
    assert box.used(READER, [DEVICES[0]]).items == 0
    assert box.used(by_strangers=True).items == 2


def test_what_is_over_its_date_goes(box, posted):
    keep(box, posted[:2], until_ms=NOW_MS + 5)
    keep(box, posted[2:], until_ms=NOW_MS + 6)
    assert box.expire(NOW_MS + 4) == 0
    assert box.expire(NOW_MS + 5) == 2
    assert ids(box.after(READER, 0, 9)) == [entry.entry_id for entry in posted[2:]]


def test_numbers_are_not_given_twice(box, posted):
    keep(box, posted[:2])
    last = box.after(READER, 0, 9)[-1].n
    box.drop_up_to(READER, last)
    keep(box, posted[2:3])
    assert box.after(READER, 0, 9)[0].n > last


def test_what_a_device_has_read_never_goes_back(box):
    assert box.read_up_to(DEVICES[0]) == 0
    box.note_read(DEVICES[0], 7)
    box.note_read(DEVICES[0], 3)
    assert [box.read_up_to(device) for device in DEVICES] == [7, 0]


def test_post_is_counted_by_day_sort_and_sender(box):
    for sender in (b"a", b"a", b"b"):
        box.count_post(5, "post.ask", sender)
    box.count_post(6, "post.ask", b"a")
    box.count_post(5, "post.any", b"a")
    assert box.posted(5, ("post.ask",), b"a") == 2
    assert box.posted(5, ("post.ask", "post.any"), b"a") == 3
    assert box.posted(5, ("post.ask", "post.any")) == 4
    assert box.posted(7, ("post.ask",)) == 0
