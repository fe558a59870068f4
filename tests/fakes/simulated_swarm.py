"""Seeders of given rates, and a clock that jumps from event to event, for the picker.

Nothing here moves a byte: a Peer brings a Piece of n bytes n / rate after the one before it, and
its delay after it was asked for.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from hanse.core.model.ids import AuthorKey
from hanse.network.wire.bucket import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.network.wire.picker import Layout, Picker

MIB: Final = 1024 * 1024


@dataclass(slots=True)
class SimulatedSeeder:
    """One Peer: bytes a second, and how long a question takes to reach it."""

    rate: int
    delay_ms: int = 20
    name: AuthorKey | None = None
    free_at_ms: float = 0
    waiting: dict[int, float] = field(default_factory=dict)  # Piece -> when it will be here
    sent: int = 0


class SimulatedSwarm:
    """A download from simulated seeders, by the picker's rules or by those of ``room``."""

    def __init__(
        self,
        layout: Layout,
        picker: Picker,
        seeders: list[SimulatedSeeder],
        *,
        room: Callable[[SimulatedSeeder, Pace, Picker], int] | None = None,
    ) -> None:
        self.layout, self.picker = layout, picker
        self.seeders = {}
        self.paces = {}
        self.room = room or (lambda seeder, pace, _: pace.depth - len(seeder.waiting))
        self.now_ms = 0.0
        self._events: list[tuple[float, int, AuthorKey, int]] = []
        self._order = count()
        for at, seeder in enumerate(seeders):
            seeder.name = AuthorKey(bytes([at]) * 32)
            self.seeders[seeder.name] = seeder
            self.paces[seeder.name] = Pace(0)
            picker.meet(seeder.name, self.paces[seeder.name])
            for place in range(len(layout.sizes)):
                picker.has(seeder.name, place, None)

    def run(self) -> float:
        """Fetch everything and return how many bytes a second that was."""
        self._ask_all()
        while not self.picker.is_done:
            if not self._events:
                break
            self.now_ms, _, name, number = heapq.heappop(self._events)
            seeder = self.seeders[name]
            if number not in seeder.waiting:
                continue  # it was cancelled, before it was sent
            del seeder.waiting[number]
            seeder.sent += 1
            now = int(self.now_ms)
            self.paces[name].add(self.layout.length(number), now, is_whole=True)
            if self.picker.came(name, number):
                for other in self.picker.good(number):
                    self._cancel(self.seeders[other], number)
            self._ask_all()
        assert self.picker.is_done
        total = sum(self.layout.sizes)
        return total * 1000 / self.now_ms

    def _ask_all(self) -> None:
        for name, seeder in self.seeders.items():
            pace = self.paces[name]
            most = self.room(seeder, pace, self.picker)
            if most <= 0:
                continue
            is_idle = not seeder.waiting
            for ask in self.picker.ask(name, most, int(self.now_ms)):
                if is_idle:
                    pace.begin(int(self.now_ms))
                    is_idle = False
                self._send(seeder, ask.number)

    def _send(self, seeder: SimulatedSeeder, number: int) -> None:
        begins = max(seeder.free_at_ms, self.now_ms + seeder.delay_ms)
        seeder.free_at_ms = begins + self.layout.length(number) * 1000 / seeder.rate
        seeder.waiting[number] = seeder.free_at_ms
        heapq.heappush(self._events, (seeder.free_at_ms, next(self._order), seeder.name, number))

    def _cancel(self, seeder: SimulatedSeeder, number: int) -> None:
        """Take a Piece back that was not begun; one that was comes, and is dropped."""
        ends = seeder.waiting[number]
        if ends - self.layout.length(number) * 1000 / seeder.rate <= self.now_ms:
            return
        del seeder.waiting[number]
        again = sorted(seeder.waiting, key=lambda it: seeder.waiting[it])
        seeder.free_at_ms = min([ends, *seeder.waiting.values()]) if again else self.now_ms
        begun = [it for it in again if seeder.waiting[it] < ends]
        seeder.free_at_ms = max([self.now_ms, *(seeder.waiting[it] for it in begun)])
        for it in again:
            if it not in begun:
                self._send(seeder, it)
