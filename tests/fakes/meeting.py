"""People whose Devices find each other on a network in memory, in a time that only tests move.

Everything runs on one thread: work of the engine is done when it is asked for, so that
``trio.testing.MockClock`` may jump over every wait without leaving work behind.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock

from hanse.network.ports import Listeners
from hanse.network.services.blaming import Blaming
from hanse.network.services.finding import FindingService
from hanse.network.services.status import StatusService
from hanse.network.services.surroundings import Surroundings
from tests.fakes.hosts import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from hanse.core.engine.engine import Engine
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import NetworkEvent
    from hanse.network.services.finding import Source
    from tests.fakes.hosts import MemoryHost

PROGRAM = "hanse/test"


class InlineExecutor:
    """An ``Executor`` whose work is done before it returns."""

    def __init__(self):
        self.error = None  # raised instead of taking work, as when too much waits

    def _done(self, work):
        if self.error is not None:
            raise self.error
        future = Future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001  it belongs to whoever asked
            future.set_exception(error)
        return future

    write = read = job = _done


@dataclass
class Place:
    """One Device that is on."""

    engine: Engine
    host: MemoryHost
    surroundings: Surroundings
    blaming: Blaming
    status: StatusService
    finding: FindingService
    events: list[NetworkEvent]

    @property
    def device(self) -> AuthorKey:
        return self.host.device

    @property
    def address(self) -> str:
        return self.host.addresses()[0]

    @property
    def peers(self) -> set[AuthorKey]:
        return {it.device for it in self.host.connections()}

    def told(self, word: str) -> list[dict[str, object]]:
        return [dict(it.values) for it in self.events if it.word == word]


class Meeting:
    """A network on which Devices come up."""

    def __init__(self, network: MemoryNetwork, nursery: trio.Nursery) -> None:
        self.network = network
        self.nursery = nursery
        self._count = 0

    def place(
        self,
        engine: Engine,
        *,
        address: str | None = None,
        roles: Sequence[str] = (),
        wanted: int = 12,
        sources: Sequence[Source] = (),
    ) -> Place:
        """Bring a Device up; its loops are started by ``begin``."""
        self._count += 1
        context = engine.context
        blaming = Blaming(context.clock, engine.peering.held_against())
        listeners = Listeners()
        host = self.network.host(
            context.device,
            listeners,
            # Each in a region of its own, so that their words count apart.
            address=address or f"/ip4/198.{50 + self._count}.100.1/tcp/4801",
            is_refused=blaming.is_denied,
        )
        events: list[NetworkEvent] = []
        surroundings = Surroundings(
            host=host,
            engine=engine,
            executor=InlineExecutor(),
            clock=context.clock,
            chance=context.chance,
            on_event=events.append,
            on_offence=blaming.on_offence,
            listeners=listeners,
        )
        status = StatusService(surroundings, PROGRAM, lambda: roles)
        finding = FindingService(
            surroundings, status, wanted=wanted, is_denied=blaming.is_denied, sources=sources
        )
        place = Place(engine, host, surroundings, blaming, status, finding, events)
        status.serve()
        return place

    async def begin(self, *places: Place) -> None:
        """Start the loops of Devices."""
        for place in places:
            await self.nursery.start(place.blaming.run, place.surroundings)
            for service in (place.status, place.finding):
                await self.nursery.start(service.run)


@asynccontextmanager
async def meeting() -> AsyncIterator[Meeting]:
    async with MemoryNetwork() as network:
        async with trio.open_nursery() as nursery:
            yield Meeting(network, nursery)
            nursery.cancel_scope.cancel()
        assert [repr(error) for error in network.raised] == []


def in_no_time(main: Callable[[], Awaitable[None]], most_seconds: float = 100_000.0) -> None:
    """Run ``main`` under a clock that jumps over every wait, its tasks in the same order always."""

    async def bounded() -> None:
        with trio.fail_after(most_seconds):
            await main()

    # trio shuffles tasks that are ready at the same time, from a generator of its own.
    scheduling = trio._core._run
    before = scheduling._ALLOW_DETERMINISTIC_SCHEDULING
    scheduling._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduling._r.seed(1)
    try:
        trio.run(bounded, clock=MockClock(autojump_threshold=0))
    finally:
        scheduling._ALLOW_DETERMINISTIC_SCHEDULING = before
