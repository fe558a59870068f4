"""A seller with a published model, a buyer who knows of it, and the services between them."""

from __future__ import annotations

import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import trio

from hanse.core.clock import SystemClock
from hanse.core.engine.executor import Executor
from hanse.core.engine.home import Home
from hanse.core.limits import PIECE_SIZE_BYTES
from hanse.core.model.network import TransferState
from hanse.network.ports import Listeners
from hanse.network.services.fetching import FetchingService
from hanse.network.services.seeding import SeedingService
from hanse.network.services.surroundings import Surroundings
from tests.fakes.chance import SeededChance
from tests.fakes.people import Person
from tests.fakes.shop import AS_IS, plain_weights, publish, seller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import NetworkEvent
    from hanse.core.model.transfer import Have
    from hanse.network.conduct import Offence
    from hanse.network.ports import Host

SOON = 20.0


@dataclass
class Shelf:
    """A seller's open engine and what it published."""

    person: Person
    engine: Engine
    executor: Executor
    release: bytes

    def close(self) -> None:
        self.executor.close()
        self.engine.close()


def shelf(base: Path, size: int, name: str = "anna") -> Shelf:
    """Publish files of ``size`` bytes and a few more."""
    person = seller(base, name)
    engine = person.open()
    release = publish(engine, plain_weights(base / "files", size), preparation=AS_IS).release
    executor = Executor(1)
    # Its threads begin here and not in the middle of a test.
    for lane in (executor.job, executor.write):
        lane(time.monotonic).result()
    engine.ledger.export(base / f"{name}.hanse-feed")
    return Shelf(person, engine, executor, release)


def buyer(base: Path, feed: Path, name: str = "berta") -> Person:
    """Make somebody who has the seller's Entries and none of its files; nothing is open."""
    person = Person.make(base, name)
    with person.open() as engine:
        assert not engine.ledger.import_file(feed).rejected
    return person


def again(person: Person, base: Path, release: bytes) -> Shelf:
    """Open a copy of a buyer: registering one takes longer than most tests."""
    shutil.copytree(person.home.folder.parent, base / person.name)
    home = Home(base / person.name / "data", base / person.name / "config")
    copied = replace(person, home=home)
    return Shelf(copied, copied.open(), Executor(1), release)


@dataclass
class Seen:
    """What services told and held against Peers."""

    events: list[NetworkEvent] = field(default_factory=list)
    offences: list[tuple[AuthorKey, Offence]] = field(default_factory=list)

    def words(self) -> list[str]:
        return [it.word for it in self.events]


def surroundings(host: Host, of: Shelf, seen: Seen, *, seeding: object = None) -> Surroundings:
    """Give a host the engine of a shelf, with other manners of seeding if asked."""
    engine = of.engine if seeding is None else SimpleNamespace(seeding=seeding)
    listeners = getattr(host, "listeners", Listeners())
    return Surroundings(
        host=host,
        engine=engine,
        executor=of.executor,
        clock=SystemClock(),
        chance=SeededChance(1),
        on_event=seen.events.append,
        on_offence=lambda device, offence: seen.offences.append((device, offence)),
        listeners=listeners,
    )


@asynccontextmanager
async def fetching(around: Surroundings, **how: object) -> AsyncIterator[FetchingService]:
    """Run a fetching service."""
    service = FetchingService(around, **how)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        yield service
        nursery.cancel_scope.cancel()


def seed(around: Surroundings, **how: object) -> SeedingService:
    """Let a host answer."""
    service = SeedingService(around, **how)
    service.serve()
    return service


async def until(holds: Callable[[], object], within: float = SOON) -> None:
    """Wait for something that tests cannot be woken by."""
    with trio.fail_after(within):
        while not holds():  # noqa: ASYNC110  nothing tells
            await trio.sleep(0.01)


async def arrived(of: Shelf, release: bytes | None = None) -> None:
    """Wait until a transfer has ended well."""
    name = of.release if release is None else release
    await until(lambda: of.engine.fetching.view(name).state is TransferState.DONE)


class Manners:
    """The seeding of an engine, and what was asked of it; a subclass does otherwise."""

    def __init__(self, of: Shelf) -> None:
        self.real = of.engine.seeding
        self.pieces: list[tuple[int, int]] = []  # Piece and offset, of the large file

    def small(self, device: bytes, digest: bytes) -> bytes | None:
        return self.real.small(device, digest)

    def have(self, root: bytes, size: int) -> Have | None:
        return self.real.have(root, size)

    def hashes(self, root: bytes, size: int, layer: int, first: int, count: int) -> bytes | None:
        return self.real.hashes(root, size, layer, first, count)

    def piece(self, root: bytes, size: int, piece: int, offset: int, length: int) -> bytes | None:
        if size > PIECE_SIZE_BYTES:
            self.pieces.append((piece, offset))
        return self.real.piece(root, size, piece, offset, length)

    def served(self, root: bytes, size: int, count: int) -> None:
        self.real.served(root, size, count)

    def flush(self) -> None:
        self.real.flush()
