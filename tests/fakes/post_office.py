"""People on a network in memory who post to each other: whole engines, and the post service."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from hanse.core.engine.executor import Executor
from hanse.core.ledger.kinds import Message1
from hanse.network.ports import Listeners
from hanse.network.services.post import PostService
from hanse.network.services.surroundings import Surroundings
from tests.fakes.hosts import MemoryNetwork
from tests.fakes.people import Person, give

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.posting import DeliveryView
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.delivery import DeliveryState
    from hanse.core.model.ids import AuthorKey, IdentityId
    from hanse.core.model.network import NetworkEvent
    from hanse.network.conduct import Offence
    from tests.fakes.hosts import MemoryHost


@dataclass
class Stop:
    """One Device that is on: an open engine, its host, its post."""

    engine: Engine
    host: MemoryHost
    service: PostService
    surroundings: Surroundings
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    offences: list[tuple[AuthorKey, Offence]] = field(default_factory=list)
    _told: trio.Event = field(default_factory=trio.Event)

    @property
    def identity(self) -> IdentityId:
        return self.engine.context.identity

    @property
    def device(self) -> AuthorKey:
        return self.engine.context.device

    async def has_event(self) -> None:
        """Wait until something happened here."""
        while not self.events:
            self._told = trio.Event()
            await self._told.wait()

    def note(self, event: NetworkEvent) -> None:
        self.events.append((event.word, dict(event.values)))
        self._told.set()

    def state(self, message: int) -> DeliveryState:
        return next(it.state for it in self.views() if it.message == message)

    def views(self) -> tuple[DeliveryView, ...]:
        return self.engine.posting.views()

    def holds(self, entry: CheckedEntry) -> bool:
        """Say whether the Body of an Entry is here."""
        with self.engine.context.store.reads() as reads:
            stored = reads.feeds.find(entry.entry_id)
        return stored is not None and stored.entry.body is not None

    def mailed(self) -> int:
        """Return how many items the Mailbox has."""
        return self.engine.posting.mailbox.use().items


class Office:
    """A network on which people's Devices come and go."""

    def __init__(self, network: MemoryNetwork, stack: ExitStack) -> None:
        self.network = network
        self._stack = stack
        self.stops: list[Stop] = []
        self.may_leave: Callable[[int], bool] = lambda _: True
        self._addresses: dict[AuthorKey, str] = {}

    def open(self, person: Person) -> Stop:
        """Start a Device; it knows nobody's address until ``meet``."""
        engine = self._stack.enter_context(person.open())
        executor = Executor()
        self._stack.callback(executor.close)
        listeners = Listeners()
        host = self.network.host(
            engine.context.device, listeners, address=self._addresses.get(engine.context.device)
        )
        self._addresses[host.device] = host.addresses()[0].partition("/p2p/")[0]
        surroundings = Surroundings(
            host=host,
            engine=engine,
            executor=executor,
            clock=person.clock,
            chance=person.chance,
            on_event=lambda event: stop.note(event),  # noqa: PLW0108 - made below
            on_offence=lambda device, offence: stop.offences.append((device, offence)),
            listeners=listeners,
        )

        async def reach(identity: IdentityId, wanted: object = ()) -> list[AuthorKey]:  # noqa: ARG001 - all of them
            for stop in self.stops:
                if stop.identity == identity and not stop.host.is_gone and stop.host is not host:
                    await host.dial(stop.host.addresses()[0])
            return [one.device for one in host.connections()]

        service = PostService(surroundings, reach, self._may_leave)
        service.serve()
        stop = Stop(engine, host, service, surroundings)
        self.stops.append(stop)
        return stop

    def _may_leave(self, n: int) -> bool:
        return self.may_leave(n)

    def close(self, stop: Stop) -> None:
        """Let a Device end."""
        self.network.stop(stop.host)
        self.stops.remove(stop)
        stop.surroundings.executor.close()
        stop.engine.close()


@asynccontextmanager
async def office() -> AsyncIterator[Office]:
    """Open a network in memory; what is on is closed at the end."""
    with trio.fail_after(20):
        async with MemoryNetwork() as network:
            with ExitStack() as stack:
                yield Office(network, stack)
        assert network.raised == []


def words(sender: Stop, to: Person | Stop, text: str = "hello") -> CheckedEntry:
    """Sign a Private Message to somebody whose Feed is held."""
    context = sender.engine.context
    identity = to.identity if isinstance(to, Stop) else to.view.identity
    with context.store.unit_of_work() as uow:
        theirs = uow.projections.standing_of(identity)
        own = uow.projections.standing_of(context.identity)
        assert theirs is not None
        assert own is not None
        boxes = [theirs.box, context.newest_box(own)]
        body = Message1(order=None, text=text, files=())
        entry = context.append_private(uow, "message/1", body, boxes, [identity, context.identity])
        uow.commit()
    return entry


def acquainted(base: Path, *people: Person) -> Iterator[Person]:
    """Let everybody hold everybody's Feeds."""
    for giver in people:
        for taker in people:
            if giver is not taker:
                give(giver, taker, base)
    yield from people
