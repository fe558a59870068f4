"""A thousand worlds from a thousand seeds, and how the cost of the sync grows with the network.

For growth everybody keeps a ledger in memory (``tests.fakes.sync_pair``): what is counted are
messages and bytes, which do not depend on the store.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from hanse.core.model.network import Cursor
from tests.bench.figures import report
from tests.fakes.sync_pair import MemoryLedger, Side, entry
from tests.simulation.sim_peer import make_templates
from tests.simulation.world import HELD_BYTES, World

if TYPE_CHECKING:
    from hanse.core.model.network import SentEntry

SEEDS: Final = 1000
PEERS: Final = (10, 100, 1000)
NEIGHBOURS: Final = 8  # of each, on average
_SEEN_LAST: Final = 2  # Entries of each Feed that are there before


@pytest.mark.slow
def test_a_thousand_worlds_come_to_one_truth() -> None:
    memory = Path("/dev/shm")
    begun = time.perf_counter()
    held, faults, forks, stopped = 0, 0, 0, 0
    failed: list[str] = []
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        base = Path(name)
        templates = make_templates(base / "templates")
        for seed in range(SEEDS):
            with World(seed, base / "world", templates) as world:
                try:
                    figures = world.run()
                except AssertionError as error:
                    failed.append(str(error))
                    continue
                finally:
                    shutil.rmtree(base / "world")
            held = max(held, figures.held_bytes)
            faults += figures.lost + figures.crashes
            forks += figures.forks
            stopped += figures.stale
    took = time.perf_counter() - begun
    report(
        f"simulated worlds of {SEEDS} seeds that came to one truth",
        f"{SEEDS - len(failed)}",
        f"{SEEDS}",
        f"{took / SEEDS:.2f} s each; {faults} lost streams and crashes, {forks} Forks proved, "
        f"{stopped} Devices stopped behind what they had sent",
    )
    report(
        "most that one session of them held in memory",
        f"{held / 1024:.0f} KiB",
        f"{HELD_BYTES // 1024**2} MiB",
    )
    assert not failed, "\n".join(failed)


class Crowd:
    """Many Devices, each with sessions to some others, and what passes between them."""

    def __init__(self, count: int) -> None:
        """Let ``count`` Devices hold the same Feeds, one of each, and know that of each other."""
        chance = random.Random(count)
        self.ledgers = [MemoryLedger(f"{count} {number}") for number in range(count)]
        feeds = [
            (ledger.device, [entry(ledger.device, seq) for seq in range(1, _SEEN_LAST + 1)])
            for ledger in self.ledgers
        ]
        for ledger in self.ledgers:
            for _, entries in feeds:
                for it in entries:
                    ledger._add(it)
        self.sides: dict[MemoryLedger, list[Side]] = {it: [] for it in self.ledgers}
        self._far: dict[int, Side] = {}
        self._owner: dict[int, MemoryLedger] = {}
        self.messages = 0
        self.size_bytes = 0
        self._waiting: deque[Side] = deque()
        order = chance.sample(self.ledgers, count)
        pairs = {(order[chance.randrange(at)], order[at]) for at in range(1, count)}
        while len(pairs) < min(count * NEIGHBOURS // 2, count * (count - 1) // 2):
            one, other = chance.sample(self.ledgers, 2)
            if (other, one) not in pairs:
                pairs.add((one, other))
        for one, other in sorted(pairs, key=lambda it: (it[0].device, it[1].device)):
            for near, far in ((one, other), (other, one)):
                near.cursors[far.device] = Cursor(far.epoch, len(far.arrivals))
            self.join(one, other)
        self.run()

    def join(self, one: MemoryLedger, other: MemoryLedger) -> None:
        """Open a session."""
        near = Side(one, one.exchange(other.device, is_dialler=True))
        far = Side(other, other.exchange(one.device, is_dialler=False))
        for side, its, opposite in ((near, one, far), (far, other, near)):
            self.sides[its].append(side)
            self._far[id(side)] = opposite
            self._owner[id(side)] = its
            side.add(side.exchange.start())
            self._waiting.append(side)

    def write(self, ledger: MemoryLedger) -> SentEntry:
        """Write one Entry and tell of it."""
        before = len(ledger.feeds[ledger.device])
        ledger.write(ledger.device)
        self._tell(ledger)
        return ledger.feeds[ledger.device][before]

    def _tell(self, ledger: MemoryLedger, but: Side | None = None) -> None:
        for side in self.sides[ledger]:
            if side is not but:
                side.add(side.exchange.news())
                self._waiting.append(side)

    def run(self) -> None:
        """Let everything be done and carried until nothing moves."""
        while self._waiting:
            side = self._waiting.popleft()
            ledger = self._owner[id(side)]
            held = len(ledger.arrivals)
            side.work()
            if len(ledger.arrivals) > held:
                self._tell(ledger)
            self.messages += len(side.frames)
            self.size_bytes += sum(map(len, side.frames))
            side.frames.clear()
            if side.sent:
                data, side.sent = bytes(side.sent), bytearray()
                far = self._far[id(side)]
                far.add(far.exchange.feed(data))
                self._waiting.append(far)

    def spent(self) -> tuple[int, int]:
        """Return messages and bytes since the last question."""
        spent = self.messages, self.size_bytes
        self.messages = self.size_bytes = 0
        return spent


@pytest.mark.slow
def test_the_cost_of_the_sync_grows_with_what_is_new() -> None:
    for count in PEERS:
        crowd = Crowd(count)
        greeted, greeted_bytes = crowd.spent()
        writer = crowd.ledgers[0]
        sent = crowd.write(writer)
        crowd.run()
        assert all(len(it.feeds[writer.device]) == _SEEN_LAST + 1 for it in crowd.ledgers)
        messages, size = crowd.spent()
        entry_bytes = len(sent.header) + len(sent.sig) + len(sent.body or b"")
        report(
            f"one new Entry of {entry_bytes} B to {count} peers, for each of them",
            f"{messages / count:.1f} messages, {size / count:,.0f} B",
            note=f"{NEIGHBOURS} neighbours each; greeting all: {greeted / count:.1f} messages, "
            f"{greeted_bytes / count:,.0f} B",
        )
        stranger = MemoryLedger(f"stranger to {count}")  # has nothing to be passed on
        crowd.sides[stranger] = []
        crowd.join(stranger, crowd.ledgers[-1])
        held = len(writer.arrivals)
        crowd.run()
        assert len(stranger.arrivals) == held
        messages, size = crowd.spent()
        report(
            f"first contact of one with {held} Entries of {count} peers",
            f"{messages} messages, {size / 1024:,.0f} KiB",
            note=f"{size / (held * entry_bytes):.2f} of the bytes of the Entries",
        )
