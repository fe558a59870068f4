"""The ledger's speed, each figure as a ratio to what it competes with in the same run."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from nacl.bindings import crypto_sign_open

from hanse.core.crypto.boxes import open_envelope, seal_envelope
from hanse.core.crypto.derivation import device_box_secret
from hanse.core.crypto.signing import PREFIX_ENTRY
from hanse.core.engine.context import append_signed
from hanse.core.engine.syncing import accept_batch, check_entries
from hanse.core.ledger.entry import check_entry, parse_entry
from hanse.core.ledger.evidence import check_inclusion_evidence, write_inclusion
from hanse.core.ledger.forks import check_fork, fork_of
from hanse.core.ledger.kinds import Follow1, encode_body
from hanse.core.ledger.replay import MemoryLedger
from hanse.core.ledger.tree import check_inclusion, inclusion, root_of
from hanse.core.store.engines import Store
from tests.bench.figures import report, report_ratio, seconds
from tests.bench.ledgers import START_MS, identity_with_device, profile, some_entries
from tests.fakes.chance import SeededChance

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.ledger.entry import CheckedEntry, SignedEntry

NOW_MS = START_MS + 10_000_000
COUNT = 10_000
SLICE = 250

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def entries() -> list[SignedEntry]:
    return some_entries(COUNT)


@pytest.fixture(scope="module")
def follows() -> list[SignedEntry]:
    """Entries of a kind that this part projects nowhere, as most kinds are in most tables."""
    result: list[SignedEntry] = []
    for number in range(10):
        opening, device = identity_with_device(7_000 + number)
        result += opening
        for step in range(COUNT // 10 - len(opening)):
            body = Follow1(
                salt=step.to_bytes(16, "big"), identity=step.to_bytes(32, "big"), weight=1
            )
            result.append(device.write(body, START_MS + step))
    return result


def bare(entries: list[SignedEntry]) -> None:
    for entry in entries:
        crypto_sign_open(entry.signature + PREFIX_ENTRY + entry.header_bytes, entry.author)


def raw_of(entries: list[SignedEntry]) -> list[tuple[bytes, bytes, bytes | None]]:
    return [(entry.header_bytes, entry.signature, entry.body) for entry in entries]


def test_validation_to_bare_signature_checks(entries: list[SignedEntry]) -> None:
    raw = raw_of(entries)
    opening_kinds = {"identity/1", "device/1"}
    bare_headers = [
        (entry.header_bytes, entry.signature, entry.body if entry.kind in opening_kinds else None)
        for entry in entries
    ]

    def validate(items: list[tuple[bytes, bytes, bytes | None]]) -> None:
        ledger = MemoryLedger()
        for start in range(0, len(items), SLICE):
            parsed = [parse_entry(*item) for item in items[start : start + SLICE]]
            for checked in [check_entry(entry) for entry in parsed]:
                ledger.accept(checked, NOW_MS)
        assert not ledger.waiting

    report_ratio(
        "validation of entries (A1 to A14, Body and schema) / bare crypto_sign_open",
        lambda: validate(raw),
        lambda: bare(entries),
        goal=">= 0.85",
        note=f"{COUNT} profile/1 of 10 Feeds, slices of {SLICE}",
    )
    report_ratio(
        "validation of headers alone (A1 to A11) / bare crypto_sign_open",
        lambda: validate(bare_headers),
        lambda: bare(entries),
        goal=">= 0.85",
        note="Bodies withheld",
    )


def append_all(
    folder: Path, raw: list[tuple[bytes, bytes, bytes | None]], pool: ThreadPoolExecutor | None
) -> Store:
    store = Store.open(folder)
    for start in range(0, len(raw), 5000):
        parsed = [parse_entry(*item) for item in raw[start : start + 5000]]
        checked: list[CheckedEntry] = check_entries(parsed, pool)  # type: ignore[assignment]
        with store.unit_of_work() as uow:
            outcome = accept_batch(uow, checked, NOW_MS)
            uow.commit()
        assert outcome.accepted == len(parsed)
    return store


@pytest.mark.parametrize("kind", ["follow/1", "profile/1"])
@pytest.mark.parametrize("threads", [1, 2])
def test_verified_append_to_bare_signature_checks(
    entries: list[SignedEntry],
    follows: list[SignedEntry],
    tmp_path: Path,
    kind: str,
    threads: int,
) -> None:
    chosen = entries if kind == "profile/1" else follows
    raw = raw_of(chosen)
    numbers = iter(range(1000))
    with ThreadPoolExecutor(threads) as pool:
        used = pool if threads > 1 else None

        def append() -> None:
            append_all(tmp_path / str(next(numbers)), raw, used).close()

        report_ratio(
            f"verified append to SQLite, {kind}, {threads} verifying thread(s) / bare",
            append,
            lambda: bare(chosen),
            goal=">= 0.68" if threads == 1 else ">= 1.1 on two idle cores",
            note="5,000 a transaction, FULL, projected"
            if kind == "profile/1"
            else "5,000 a transaction, FULL, a kind with no projection",
            rounds=5,
        )


def test_durable_own_append_to_the_disks_own_rate(tmp_path: Path) -> None:
    opening, device = identity_with_device(1)
    store = Store.open(tmp_path / "store")
    with store.unit_of_work() as uow:
        accept_batch(uow, [check_entry(entry) for entry in opening], NOW_MS)
        uow.commit()
    number = iter(range(10**6))
    file = (tmp_path / "yardstick").open("wb")
    size = 3 * 4096 + 24 * 3  # the pages one commit writes to the log, with their heads

    def disk() -> None:
        for _ in range(50):
            file.write(os.urandom(size))
            file.flush()
            os.fdatasync(file.fileno())

    def append() -> None:
        for _ in range(50):
            with store.unit_of_work() as uow:
                body = encode_body(profile(next(number)))
                append_signed(uow, device.signer, "profile/1", body, now_ms=NOW_MS)
                uow.commit()

    report_ratio(
        "durable own append / write + fdatasync of the same disk",
        append,
        disk,
        goal=">= 0.75",
        note="one profile/1 a commit: built, signed, checked, projected",
    )
    file.close()
    store.close()


def test_projection_rebuild_to_bare_signature_checks(
    entries: list[SignedEntry], tmp_path: Path
) -> None:
    store = append_all(tmp_path, raw_of(entries), None)

    def rebuild() -> None:
        with store.unit_of_work() as uow:
            uow.projections.rebuild()
            uow.commit()

    report_ratio(
        "projection rebuild / bare signature checks of the same entries",
        rebuild,
        lambda: bare(entries),
        goal=">= 5",
        note="every entry is a profile/1 and folded",
    )
    store.close()


def test_start_with_many_entries_from_the_checkpoint(tmp_path: Path) -> None:
    """One million Entries by default; ``HANSE_BENCH_ENTRIES`` takes another number."""
    count = int(os.environ.get("HANSE_BENCH_ENTRIES", "1000000"))
    made = 0
    number = 0
    store = Store.open(tmp_path)
    while made < count:
        feed = some_entries(20_000, feeds=1, seed=900 + number)
        number += 1
        # Signed by us a moment ago: checking them again would only take time here.
        with store.unit_of_work() as uow:
            accept_batch(uow, feed, NOW_MS + 10**7)  # type: ignore[arg-type]
            uow.commit()
        made += len(feed)
    store.close()

    def usable() -> None:
        opened = Store.open(tmp_path)
        with opened.reads() as reads:
            heads = [row.head for row in reads.feeds.all()]
        assert len(heads) == 2 * number
        opened.close()

    times = [seconds(usable) for _ in range(5)]
    report(
        f"start with {made} entries to a usable ledger",
        f"{statistics.median(times):.3f} s",
        "< 1 s",
        f"{min(times):.3f} to {max(times):.3f} s, {number * 2} feeds, closed cleanly before",
    )
    opened = Store.open(tmp_path)
    begin = time.perf_counter()
    with opened.reads() as reads:
        assert list(reads.rehash()) == []
    took = time.perf_counter() - begin
    report(
        "all of it hashed again",
        f"{made / took:,.0f} entries/s",
        "1 M in < 5 s",
        f"{took:.1f} s",
    )
    opened.close()


def test_inclusion_proofs_and_their_size(entries: list[SignedEntry]) -> None:
    ids = [entry.entry_id for entry in some_entries(20_000, feeds=1, seed=3)]
    path = inclusion(ids, 777)

    root = root_of(ids)
    assert root is not None

    def check() -> None:
        for _ in range(2000):
            check_inclusion(ids[776], 777, len(ids), path, root)

    took = min(seconds(check) for _ in range(5))
    report(
        "inclusion proof checks",
        f"{2000 / took:,.0f}/s",
        "-",
        f"{32 * len(path)} bytes of path at {len(ids)} entries",
    )
    feed = [check_entry(entry) for entry in entries if entry.author == entries[1].author]
    raw = write_inclusion(feed[3], feed[-1], [entry.entry_id for entry in feed[:-1]])
    took = min(seconds(lambda: check_inclusion_evidence(raw)) for _ in range(200))
    report(
        ".hanse-proof checked whole (two signatures, path)",
        f"{1 / took:,.0f}/s",
        "-",
        f"{len(raw)} bytes at {len(feed)} entries",
    )


def test_fork_proofs_and_their_size() -> None:
    _, device = identity_with_device(5)
    before = device.head
    peaks = device.peaks.copy() if device.peaks else None
    one = check_entry(device.write(profile(1), START_MS))
    device.head, device.peaks = before, peaks
    two = check_entry(device.write(profile(2), START_MS))
    fork = fork_of(one, two)
    assert fork is not None

    def check() -> None:
        for _ in range(500):
            check_fork(fork.proof)

    took = min(seconds(check) for _ in range(5))
    report("fork proof checks", f"{500 / took:,.0f}/s", ">= 5,000/s", f"{len(fork.proof)} bytes")


def test_private_bodies_sealed_and_opened() -> None:
    chance = SeededChance(1)
    secrets = [device_box_secret(chance.bytes(32)) for _ in range(3)]
    readers = [secret.public_key for secret in secrets]
    plain = chance.bytes(720)
    envelope, _ = seal_envelope(plain, readers, chance)

    def seal() -> None:
        for _ in range(200):
            seal_envelope(plain, readers, chance)

    def open_one() -> None:
        for _ in range(200):
            assert open_envelope(envelope, secrets[0]) is not None

    sealed = min(seconds(seal) for _ in range(5))
    opened = min(seconds(open_one) for _ in range(5))
    report("private body of 720 bytes sealed in 4 slots", f"{200 / sealed:,.0f}/s", ">= 3,000/s")
    report("the same opened", f"{200 / opened:,.0f}/s", ">= 3,000/s")
