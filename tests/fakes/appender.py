"""A program that appends own Entries and says on its output what is on disk.

``python -m tests.fakes.appender FOLDER COUNT`` writes what is missing of the Feed
that ``feed_of(COUNT)`` is, one Entry a transaction, and prints the seq after each
commit.  Whoever started it may kill it at any moment.
"""

from __future__ import annotations

import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hanse.core.engine.syncing import accept_batch
from hanse.core.store.engines import Store
from tests.fakes.author import START_MS, Author, DeviceFeed

if TYPE_CHECKING:
    from hanse.core.ledger.entry import CheckedEntry

NOW_MS = START_MS + 10**9


@cache
def feed_of(count: int) -> tuple[Author, DeviceFeed]:
    """Write the same Feed every time, ``count`` Entries long."""
    author = Author("appender")
    device = author.device()
    while len(device.entries) < count:
        device.append("profile/1")
    return author, device


def append(store: Store, entries: list[CheckedEntry]) -> None:
    """Take Entries in, in one transaction."""
    with store.unit_of_work() as uow:
        accept_batch(uow, entries, NOW_MS)
        uow.commit()


def held(store: Store, device: DeviceFeed) -> int:
    """Return how many Entries of the Feed are held."""
    with store.reads() as reads:
        row = reads.feeds.get(device.key)
    return 0 if row is None or row.head is None else row.head.seq


def check_whole(store: Store, device: DeviceFeed) -> int:
    """Assert that what is held is an exact prefix of the Feed, and sound; return its length."""
    length = held(store, device)
    with store.reads() as reads:
        assert reads.feeds.ids(device.key) == device.ids[:length]
        assert list(reads.rehash()) == []
        assert reads.projections.difference() is None
    return length


def say(word: object) -> None:
    """Write one line at once: what was said was on disk."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Append until the Feed is complete."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    author, device = feed_of(count)
    with closing(Store.open(folder)) as store:
        append(store, author.root_entries)
        say("ready")
        for entry in device.entries[held(store, device) :]:
            append(store, [entry])
            say(entry.seq)


if __name__ == "__main__":
    main()
