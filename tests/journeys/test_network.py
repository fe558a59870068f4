"""People on a real network: whole engines, libp2p on loopback, everything in this process.

What is told apart in detail elsewhere is here gone through as a person does: by links, searches,
messages and laptops that come and go.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from hanse.core.artifacts.sealing import check_sealed
from hanse.core.engine.home import Home
from hanse.core.engine.ports import NetworkOffline, NoPeer, PortTaken
from hanse.core.errors import AccountLocked, CopiedDisk
from hanse.core.ledger.feed_file import ClaimedHead, write_feed_file
from hanse.core.ledger.kinds import Message1
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.model.control import Control
from hanse.core.model.delivery import DeliveryState
from hanse.core.model.network import Path, TransferState
from hanse.network.addresses import parse_address, peer_id_text
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.content import MIB
from tests.fakes.online import LOOPBACK, online
from tests.fakes.people import START_MS, Person, digest
from tests.fakes.shop import (
    AS_IS,
    body_of,
    check_whole,
    described,
    manifests,
    plain_weights,
    publish,
    seller,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path as File

    from hanse.core.engine.engine import Engine
    from hanse.core.ledger.entry import CheckedEntry
    from tests.fakes.online import Online

SOON = 20.0
NODE = replace(LOOPBACK, is_node=True)


# --- what people do -------------------------------------------------------------------------------


def link(of: Online) -> str:
    """Write the link one sends to a friend."""
    return of.engine.peering.invitation(of.addresses).link


def meet(one: Online, other: Online) -> None:
    """Let ``one`` add ``other`` by a link, and both agree on everything."""
    one.network.add(link(other)).result(SOON)
    agreed(one, other)


def heads(one: Online) -> dict[bytes, tuple[int, bytes]]:
    with one.engine.context.store.reads() as reads:
        return {
            row.author: (row.head.seq, row.head.entry_id)
            for row in reads.feeds.all()
            if row.head is not None
        }


def agreed(*everybody: Online) -> None:
    """Wait until all hold the same of every Feed, and what it comes to is the same."""
    first = everybody[0]
    first.until(lambda: all(heads(it) == heads(first) for it in everybody[1:]))
    first.until(lambda: len({digest_of(it) for it in everybody}) == 1)


def digest_of(one: Online) -> bytes:
    with one.engine.context.store.reads() as reads:
        return reads.projections.digest()


def is_connected(one: Online, other: Online) -> bool:
    device = other.engine.context.device
    return any(it.device == device for it in one.network.connections())


def path_to(one: Online, other: Online) -> Path | None:
    device = other.engine.context.device
    return next((it.path for it in one.network.connections() if it.device == device), None)


def hang_up(one: Online, other: Online) -> None:
    """Break the connection, as a cable does."""

    async def cut() -> None:
        await one.network._there().host.hang_up(other.engine.context.device)

    one.network._thread.submit(cut).result(SOON)


def write(one: Online, about: str) -> None:
    one.engine.accounts.edit_profile(about=about)


def about(one: Online, whom: Online) -> str:
    return one.engine.accounts.profile(whom.engine.context.identity).about


def fetched(one: Online, release: bytes) -> None:
    """Ask for a Release and wait for it."""
    one.engine.fetching.ask(release)
    one.network.fetch(release)
    one.until(lambda: one.engine.fetching.view(release).state is TransferState.DONE)


def check_files(engine: Engine, release: bytes) -> None:
    """Check every sealed file that came against what the seller signed."""
    body = body_of(engine, release)
    plain, sealed = manifests(engine, body)
    check_sealed(plain, sealed, body.seal, body.files, engine.content.pieces, Control())


def whisper(sender: Engine, reader: bytes, text: str = "hello") -> CheckedEntry:
    """Sign a Private Message to whom is held here."""
    context = sender.context
    with context.store.unit_of_work() as uow:
        theirs = uow.projections.standing_of(reader)
        own = uow.projections.standing_of(context.identity)
        boxes = [theirs.box, context.newest_box(own)]
        body = Message1(order=None, text=text, files=())
        entry = context.append_private(uow, "message/1", body, boxes, [reader, context.identity])
        uow.commit()
    return entry


def has_body(engine: Engine, entry: CheckedEntry) -> bool:
    with engine.context.store.reads() as reads:
        stored = reads.feeds.find(entry.entry_id)
    return stored is not None and stored.entry.body is not None


def delivery(engine: Engine, entry: CheckedEntry) -> DeliveryState:
    (view,) = [it for it in engine.posting.views() if it.entry_id == entry.entry_id]
    return view.state


def sockets() -> set[tuple[object, ...]]:
    """Return what this process listens at or is connected by."""
    found = psutil.Process().net_connections("inet")
    return {(it.laddr, it.raddr) for it in found if it.status in {"LISTEN", "ESTABLISHED"}}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_MS)


@pytest.fixture
def three(tmp_path: File, clock: FakeClock) -> list[Person]:
    return [Person.make(tmp_path, name, clock) for name in ("anna", "bo", "cleo")]


# --- publish, find, fetch -------------------------------------------------------------------------


def test_a_listing_is_found_by_a_link_and_fetched_from_two(
    tmp_path: File, clock: FakeClock, stack: ExitStack
) -> None:
    anna = seller(tmp_path)
    with anna.open() as engine:
        files = plain_weights(tmp_path / "files", 6 * MIB + 5)
        release = publish(engine, files, preparation=AS_IS, title="Night owl").release
    bert, cleo = (Person.make(tmp_path, name, clock) for name in ("bert", "cleo"))
    shop = stack.enter_context(online(anna))
    first = stack.enter_context(online(cleo))
    meet(first, shop)
    fetched(first, release)
    buyer = stack.enter_context(online(bert, replace(LOOPBACK, down_rate=8 * MIB)))
    assert not buyer.engine.catalogue.search(CatalogueQuery(text="owl")).rows
    meet(buyer, shop)
    (row,) = buyer.engine.catalogue.search(CatalogueQuery(text="owl")).rows
    assert release in {it.release for it in buyer.engine.catalogue.show(row.listing).row.releases}
    meet(buyer, first)
    before = [it.engine.seeding.view().out_bytes for it in (shop, first)]
    fetched(buyer, release)
    check_files(buyer.engine, release)
    gave = [
        it.engine.seeding.view().out_bytes - was
        for it, was in zip((shop, first), before, strict=True)
    ]
    assert all(gave)
    assert sum(gave) < 8 * MIB + MIB  # at most one Piece was asked of both at the end
    for it in (shop, first, buyer):
        check_whole(it.engine)
    assert digest_of(shop) == digest_of(first) == digest_of(buyer)
