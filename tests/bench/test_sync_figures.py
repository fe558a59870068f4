"""What agreeing costs: a first sync, and the little that is missing of much.

Both people run in this process and share its interpreter, over real hosts on loopback: two
machines have twice as much.  Signatures are checked bare for comparison, on one thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from nacl.bindings import crypto_sign_open

from hanse.core.crypto.signing import PREFIX_ENTRY
from hanse.core.engine.syncing import accept_batch
from hanse.core.ledger.entry import check_entry
from hanse.core.ledger.quotas import Tier
from hanse.core.model.ids import IdentityId
from tests.bench.figures import report, seconds
from tests.bench.ledgers import START_MS, Writer, identity_with_device, profile
from tests.fakes.online import SOON, Online, online
from tests.fakes.people import Person

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.ledger.entry import SignedEntry

COUNT = 100_000
FEEDS = 500
MISSING = 100
LONG = 3600.0
BATCH = 5000

# Entries; who wrote them, the followed ones first; the Identities that are followed.
Written = tuple[list["SignedEntry"], list[Writer], set[bytes]]

pytestmark = pytest.mark.slow


def take(engine: Engine, entries: Sequence[SignedEntry]) -> None:
    """Take Entries in as from a file."""
    for start in range(0, len(entries), BATCH):
        checked = [check_entry(entry) for entry in entries[start : start + BATCH]]
        with engine.context.store.unit_of_work() as uow:
            accept_batch(uow, checked, engine.context.clock.now_ms(), Tier.NEAR)
            uow.commit()


def held(engine: Engine) -> int:
    """Return how many Entries are held."""
    with engine.context.store.reads() as reads:
        return sum(row.head.seq for row in reads.feeds.all() if row.head is not None)


def size(entries: Sequence[SignedEntry]) -> int:
    return sum(len(it.header_bytes) + len(it.signature) + len(it.body or b"") for it in entries)


def bare(entries: Sequence[SignedEntry]) -> None:
    for entry in entries:
        crypto_sign_open(entry.signature + PREFIX_ENTRY + entry.header_bytes, entry.author)


@pytest.fixture(scope="module")
def writers() -> Written:
    entries: list[SignedEntry] = []
    devices, followed = [], set()
    for number in range(FEEDS):
        opening, device = identity_with_device(90_000 + number)
        entries += opening
        for step in range(COUNT // FEEDS - len(opening)):
            entries.append(device.write(profile(step), START_MS + step))
        devices.append(device)
        if number < MISSING:
            followed.add(opening[0].author)
    return entries, devices, followed


@pytest.fixture
def sides(tmp_path: Path, writers: Written) -> Iterator[tuple[Online, Online]]:
    """Give somebody who has everything, and somebody who has nothing."""
    full, empty = (Person.make(tmp_path, name) for name in ("anna", "bo"))
    with full.open() as engine:
        take(engine, writers[0])
    with empty.open() as engine:
        for entry in writers[0]:
            if entry.kind == "identity/1" and entry.author in writers[2]:
                engine.catalogue.follow(IdentityId(entry.author), 1)
    with online(full) as here, online(empty) as there:
        yield here, there


def wire_bytes(there: Online) -> tuple[int, int]:
    """Return what came and what went on the only connection, of all protocols."""
    parts = there.network._parts
    assert parts is not None
    (connection,) = parts.host.connections()
    return connection.in_bytes, connection.out_bytes


def frames(there: Online) -> int:
    parts = there.network._parts
    assert parts is not None
    (session,) = parts.sync._sessions.values()
    return session.exchange.frames_in


def test_a_first_sync_and_what_is_missing_later(
    sides: tuple[Online, Online], writers: Written
) -> None:
    here, there = sides
    entries, devices, _ = writers

    def sync() -> None:
        there.network.add(here.addresses[0]).result(SOON)
        there.network.sync().result(LONG)
        there.until(lambda: held(there.engine) >= held(here.engine), LONG)

    before = seconds(lambda: bare(entries))
    busy = time.process_time()
    took = seconds(sync)
    busy = time.process_time() - busy
    yard = (before + seconds(lambda: bare(entries))) / 2
    came, went = wire_bytes(there)
    report(
        "first sync / bare crypto_sign_open of the same Entries, time",
        f"{took / yard:.2f}",
        "<= 1.6",
        f"{COUNT} profile/1 of {FEEDS} Feeds, both people in one process; {took:.1f} s against "
        f"{yard:.1f} s; processor {busy / yard:.2f}",
    )
    report(
        "first sync, bytes on the wire / bytes of the Entries",
        f"{(came + went) / size(entries):.3f}",
        "-",
        f"{came / 1e6:.1f} MB came, {went / 1e3:.0f} kB went",
    )

    for name, each, authors in (
        ("of ten followed Feeds", MISSING // 10, devices),
        ("of a followed Feed each", 1, devices),
        ("of a Feed of a stranger each", 1, devices[::-1]),
    ):
        more = [
            device.write(profile(1_000_000 + step), START_MS + 100_000 + step)
            for device in authors[: MISSING // each]
            for step in range(each)
        ]
        came, went = wire_bytes(there)
        heard = frames(there)
        take(here.engine, more)

        def propagate() -> None:
            here.network.announce()
            there.until(lambda: held(there.engine) >= held(here.engine), LONG)
            there.network.sync().result(LONG)

        took = seconds(propagate)
        now_came, now_went = wire_bytes(there)
        sync_bytes = now_came - came + now_went - went
        ratio = sync_bytes / size(more)
        report(
            f"{MISSING} missing Entries {name}, bytes both ways / bytes of the Entries",
            f"{ratio:.2f}",
            "<= 1.2",
            f"{size(more)} B of Entries, {now_came - came} B came, {now_went - went} B went; "
            f"{frames(there) - heard} frames came; {took * 1000:.0f} ms",
        )
