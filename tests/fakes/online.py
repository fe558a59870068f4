"""People whose engines are on a real network, on loopback, in this process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hanse.core.engine.executor import Executor
from hanse.core.model.network import NetworkSettings
from hanse.network.service import NetworkService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hanse.core.engine.engine import Engine
    from hanse.core.model.network import NetworkEvent
    from tests.fakes.people import Person

LOOPBACK = NetworkSettings(listen=("/ip4/127.0.0.1/tcp/0",), is_lan=False)
SOON = 20.0
_JOBS = 2


@dataclass
class Online:
    """One engine and its network."""

    engine: Engine
    network: NetworkService
    addresses: tuple[str, ...] = ()
    events: list[NetworkEvent] = field(default_factory=list)
    _told: threading.Condition = field(default_factory=threading.Condition)

    def note(self, event: NetworkEvent) -> None:
        with self._told:
            self.events.append(event)
            self._told.notify_all()

    def until(self, holds: Callable[[], object], within: float = SOON) -> None:
        """Wait until something holds; looked at with each event, and a few times a second."""
        end = time.monotonic() + within
        while not holds():
            left = end - time.monotonic()
            assert left > 0, [event.word for event in self.events]
            with self._told:
                self._told.wait(min(left, 0.05))

    def words(self) -> list[str]:
        return [event.word for event in self.events]


def all_threads_of(executor: Executor, jobs: int) -> None:
    """Begin every thread now: one that begins in the middle of a test would seem left behind."""
    for lane, count in ((executor.write, 1), (executor.read, 3), (executor.job, jobs)):
        together = threading.Barrier(count)
        for done in [lane(together.wait) for _ in range(count)]:
            done.result(SOON)


@contextmanager
def online(person: Person, settings: NetworkSettings = LOOPBACK) -> Iterator[Online]:
    """Open and unlock a Person's Account and run its network."""
    engine = person.open()
    executor = Executor(_JOBS)
    all_threads_of(executor, _JOBS)
    waiting: list[NetworkEvent] = []
    try:
        made: Online | None = None

        def tell(event: NetworkEvent) -> None:
            (waiting.append if made is None else made.note)(event)

        network = NetworkService(engine, executor, settings, tell)
        made = Online(engine, network, events=waiting)
        try:
            addresses = network.start().result(SOON)
            assert isinstance(addresses, tuple)
            made.addresses = addresses
            yield made
        finally:
            assert network.stop()
    finally:
        executor.close()
        engine.close()
