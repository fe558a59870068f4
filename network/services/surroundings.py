"""What every service works with: the host, the engine behind its threads, clock, chance, events.

* ``write``, ``read`` and ``job`` run work of the engine on the engine's threads and wait for it
  here without blocking the network thread.
* ``blame`` holds an offence against a Peer; whoever is refused is hung up on.
* ``tell`` gives an event to whoever listens; it only enqueues.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import trio

from hanse.core.model.network import NetworkEvent
from hanse.network.ports import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from hanse.core.clock import Chance, Clock
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.executor import Executor
    from hanse.core.model.ids import AuthorKey
    from hanse.network.conduct import Offence
    from hanse.network.ports import Host

T = TypeVar("T")


async def settled(future: Future[T]) -> T:
    """Wait for work of another thread without blocking this one; cancelled, it is left running."""
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def wake(_: Future[T]) -> None:
        with suppress(trio.RunFinishedError):  # we are closing; nobody is waiting any more
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    await done.wait()
    return future.result()


@dataclass(slots=True)
class Surroundings:
    """What one running network gives to each of its services."""

    host: Host
    engine: Engine
    executor: Executor
    clock: Clock
    chance: Chance
    on_event: Callable[[NetworkEvent], None]
    on_offence: Callable[[AuthorKey, Offence], None]
    listeners: Listeners = field(default_factory=Listeners)

    async def write(self, work: Callable[[], T]) -> T:
        """Run a use case that writes, after those that wait already."""
        return await settled(self.executor.write(work))

    async def read(self, work: Callable[[], T]) -> T:
        """Run a query."""
        return await settled(self.executor.read(work))

    async def job(self, work: Callable[[], T]) -> T:
        """Run work that hashes or moves bytes."""
        return await settled(self.executor.job(work))

    def tell(self, word: str, **values: object) -> None:
        """Give an event to whoever listens."""
        self.on_event(NetworkEvent(word, values))

    def blame(self, device: AuthorKey, offence: Offence) -> None:
        """Hold something against a Peer."""
        self.on_offence(device, offence)
