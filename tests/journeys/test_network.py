"""People on a real network: whole engines, libp2p on loopback, everything in this process.

What is told apart in detail elsewhere is here gone through as a person does: by links, searches,
messages and laptops that come and go.
"""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from hanse.core.artifacts.sealing import check_sealed
from hanse.core.engine.executor import Executor
from hanse.core.engine.home import Home
from hanse.core.engine.ports import NetworkOffline, NoPeer, PortTaken
from hanse.core.engine.trials import Trials
from hanse.core.engine.trying.buyer import Question
from hanse.core.engine.trying.data import OwnData
from hanse.core.errors import AccountLocked, CopiedDisk
from hanse.core.ledger.feed_file import ClaimedHead, write_feed_file
from hanse.core.ledger.kinds import Message1
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.samples import sample_model
from hanse.core.model.addresses import PeerAddress, Reach
from hanse.core.model.control import Control
from hanse.core.model.delivery import DeliveryState
from hanse.core.model.network import Met, Path, TransferState
from hanse.network.addresses import parse_address
from hanse.network.service import NetworkService
from tests.fakes.author import Author
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.content import MIB
from tests.fakes.online import LOOPBACK, online
from tests.fakes.people import START_MS, Person
from tests.fakes.shop import (
    AS_IS,
    body_of,
    check_whole,
    manifests,
    plain_weights,
    publish,
    seller,
)
from tests.fakes.trial_shop import EVERY_WAY, in_process, offer_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path as File

    from hanse.core.engine.engine import Engine
    from hanse.core.ledger.entry import CheckedEntry
    from tests.fakes.author import Writer
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


def test_a_transfer_goes_on_with_another_when_a_connection_breaks(
    tmp_path: File, clock: FakeClock, stack: ExitStack
) -> None:
    anna = seller(tmp_path)
    with anna.open() as engine:
        files = plain_weights(tmp_path / "files", 12 * MIB)
        release = publish(engine, files, preparation=AS_IS).release
    bert, cleo = (Person.make(tmp_path, name, clock) for name in ("bert", "cleo"))
    shop, first = (stack.enter_context(online(it)) for it in (anna, cleo))
    meet(first, shop)
    fetched(first, release)
    buyer = stack.enter_context(online(bert, replace(LOOPBACK, down_rate=6 * MIB)))
    meet(buyer, shop)
    meet(buyer, first)
    buyer.engine.fetching.ask(release)
    buyer.network.fetch(release)
    buyer.until(lambda: any(it.done_bytes for it in buyer.network.transfers()))
    shop.network.stop()
    buyer.until(lambda: not is_connected(buyer, shop))
    assert buyer.engine.fetching.view(release).state is not TransferState.DONE
    buyer.until(lambda: buyer.engine.fetching.view(release).state is TransferState.DONE)
    check_files(buyer.engine, release)


# --- post -----------------------------------------------------------------------------------------


def test_mail_waits_at_the_readers_own_node_until_he_comes(
    tmp_path: File, three: list[Person], stack: ExitStack
) -> None:
    anna, bert, cleo = three
    with bert.open() as engine:
        engine.ledger.export(tmp_path / "bert.hanse-feed")
    mirror, _ = bert.restore_to(tmp_path / "mirror", tmp_path / "bert.hanse-feed", is_mirror=True)
    lost, _ = bert.restore_to(tmp_path / "lost", tmp_path / "bert.hanse-feed")
    keeper = stack.enter_context(online(mirror, NODE))
    with online(lost) as old, online(bert) as reader:
        meet(old, keeper)
        meet(reader, keeper)
        agreed(old, reader, keeper)
        reader.engine.accounts.revoke(old.engine.context.device, bert.phrase, reason="stolen")
        agreed(old, reader, keeper)
    sender = stack.enter_context(online(anna))
    meet(sender, keeper)
    entry = whisper(sender.engine, bert.view.identity)
    sender.network.announce()
    sender.until(lambda: delivery(sender.engine, entry) is DeliveryState.HELD)
    (view,) = sender.engine.posting.views()
    (held,) = view.held
    assert held.mailbox == keeper.engine.context.device
    assert not has_body(keeper.engine, entry)

    thief = stack.enter_context(online(lost))
    meet(thief, keeper)
    assert not has_body(thief.engine, entry)

    reader = stack.enter_context(online(bert))
    meet(reader, keeper)
    reader.until(lambda: has_body(reader.engine, entry))
    meet(reader, sender)
    sender.until(lambda: delivery(sender.engine, entry) is DeliveryState.FETCHED)
    for _ in range(3):  # again and again, and nothing changes
        sender.engine.posting.resend(view.message)
        sender.network.post(entry.entry_id)
        sender.until(lambda: delivery(sender.engine, entry) is DeliveryState.FETCHED)
    assert not has_body(thief.engine, entry)
    assert reader.words().count("collected") == 1
    check_whole(reader.engine)
    del cleo


# --- one person, several laptops ------------------------------------------------------------------


# On a busy machine the second laptop may hear of the Header first; then the Body comes with its
# next session with the first one, later than is waited here.
@pytest.mark.slow
def test_two_laptops_of_one_person_hold_the_same(
    tmp_path: File, three: list[Person], stack: ExitStack
) -> None:
    anna, bert, _ = three
    with bert.open() as engine:
        engine.ledger.export(tmp_path / "bert.hanse-feed")
    second, _ = bert.restore_to(tmp_path / "second", tmp_path / "bert.hanse-feed")
    old, new, friend = (stack.enter_context(online(it)) for it in (bert, second, anna))
    meet(new, old)
    meet(friend, new)  # she never meets the old one
    entry = whisper(friend.engine, bert.view.identity, "to both of you")
    friend.network.announce()
    for laptop in (new, old):
        laptop.until(lambda laptop=laptop: has_body(laptop.engine, entry))
    write(new, "from the new one")
    write(old, "from the old one")
    agreed(old, new, friend)
    assert about(old, new) == about(new, old) == about(friend, old)
    assert not old.words().count("fork") + new.words().count("fork")
    for it in (old, new, friend):
        check_whole(it.engine)


def test_a_copied_folder_is_stopped_when_it_comes_second(
    tmp_path: File, three: list[Person], stack: ExitStack
) -> None:
    anna, bert, _ = three
    friend = stack.enter_context(online(anna))
    with online(bert) as laptop:
        meet(laptop, friend)
    home = Home(tmp_path / "copy" / "data", tmp_path / "copy" / "config")
    shutil.copytree(bert.home.folder, home.folder)
    shutil.copytree(bert.home.config, home.config)
    copied = replace(bert, home=home, chance=SeededChance("the copy"))
    laptop = stack.enter_context(online(bert))
    meet(laptop, friend)
    write(laptop, "by the original")
    agreed(laptop, friend)
    copy = stack.enter_context(online(copied))
    write(copy, "by the copy")
    copy.network.add(link(friend)).result(SOON)
    copy.until(lambda: "own_feed_elsewhere" in copy.words())
    with pytest.raises(CopiedDisk):
        write(copy, "once more")
    write(laptop, "the original goes on")
    friend.until(lambda: about(friend, laptop) == "the original goes on")
    for it in (laptop, copy, friend):
        assert not it.engine.ledger.verify().forks


def test_an_account_put_back_from_an_older_copy_stops_before_it_forks(
    tmp_path: File, three: list[Person], stack: ExitStack
) -> None:
    anna, bert, _ = three
    friend = stack.enter_context(online(anna))
    with online(bert) as laptop:
        meet(laptop, friend)
    kept = tmp_path / "kept"
    shutil.copytree(bert.home.folder.parent, kept)
    with online(bert) as laptop:
        meet(laptop, friend)
        write(laptop, "what the copy does not know")
        agreed(laptop, friend)
    put_back(bert, kept)
    again = stack.enter_context(online(bert))
    write(again, "in the place of what was sent")
    again.network.add(link(friend)).result(SOON)
    again.until(lambda: "own_feed_elsewhere" in again.words())
    with pytest.raises(CopiedDisk):
        write(again, "once more")
    assert again.engine.replicating.confirmation().stale
    assert about(friend, again) == "what the copy does not know"
    for it in (again, friend):
        assert not it.engine.ledger.verify().forks


def put_back(person: Person, kept: File) -> None:
    """Set the folders back in place, as a machine that is rolled back: the mark still fits."""
    for wal in person.home.folder.glob("*-wal"):
        wal.unlink()
    for path in kept.rglob("*"):
        if path.is_file() and path.name not in {"device.mark", "hanse.lock"}:
            target = person.home.folder.parent / path.relative_to(kept)
            target.write_bytes(path.read_bytes())


# --- what everybody agrees on ---------------------------------------------------------------------


def take_in(one: Online, path: File, *feeds: Writer) -> None:
    """Carry feeds to somebody as a file."""
    entries = [entry for feed in feeds for entry in feed.entries]
    claims = [
        ClaimedHead(last.author, last.seq, last.entry_id)
        for last in (feed.entries[-1] for feed in feeds)
    ]
    with path.open("wb") as stream:
        write_feed_file(stream, claims, entries)
    assert not one.engine.ledger.import_file(path).rejected


def proof(one: Online, author: bytes) -> bytes | None:
    return one.engine.replicating.fork_proof(author)


def test_two_who_were_told_different_things_prove_it_to_each_other(
    tmp_path: File, three: list[Person], stack: ExitStack
) -> None:
    cheat = Author("cheat")
    device = cheat.device()
    listing, release, _ = device.publish("An honest model")
    other = device.fork_at(len(device.entries) + 1)
    device.append("price/1", device.price(listing.entry_id, 100))
    other.append("price/1", other.price(listing.entry_id, 900))
    one, two, third = (stack.enter_context(online(it)) for it in three)
    take_in(one, tmp_path / "one.hanse-feed", cheat.root, device)
    take_in(two, tmp_path / "two.hanse-feed", cheat.root, other)
    meet(third, one)
    two.network.add(link(third)).result(SOON)
    everybody = (one, two, third)
    third.until(lambda: all(proof(it, device.key) for it in everybody))
    assert len({proof(it, device.key) for it in everybody}) == 1
    third.until(lambda: len({digest_of(it) for it in everybody}) == 1)
    for it in everybody:
        (feed,) = [one for one in it.engine.ledger.feeds() if one.author == device.key]
        assert feed.state == "frozen"
        shown = it.engine.catalogue.show(listing.entry_id)
        assert shown.price is not None
        assert shown.price.amount not in {100, 900}
        check_whole(it.engine)
    assert any("fork" in it.words() for it in everybody)
    del release


def test_what_is_withdrawn_and_what_is_erased_reaches_everybody(
    tmp_path: File, clock: FakeClock, stack: ExitStack
) -> None:
    anna = seller(tmp_path)
    with anna.open() as engine:
        view = publish(engine, plain_weights(tmp_path / "files"), preparation=AS_IS)
        engine.accounts.edit_profile(about="a slip of the pen")
        slip = engine.ledger.show()[-1]
    bert, cleo = (Person.make(tmp_path, name, clock) for name in ("bert", "cleo"))
    shop, first, last = (stack.enter_context(online(it)) for it in (anna, bert, cleo))
    meet(first, shop)
    meet(last, first)  # never connected to the seller
    assert about(last, shop) == "a slip of the pen"
    shop.engine.offering.sign(shop.engine.offering.set_state(view.listing, "withdrawn"))
    shop.engine.ledger.erase([slip.entry_id], "not meant")
    everybody = (shop, first, last)
    agreed(*everybody)
    for it in everybody:
        it.until(lambda it=it: about(it, shop) == "")
        assert it.engine.catalogue.show(view.listing).row.state == "withdrawn"
        states = {row.seq: row.body_state for row in it.engine.ledger.show(author=slip.author)}
        assert states[slip.seq] == "erased"
        check_whole(it.engine)


def test_what_a_stranger_writes_beyond_the_rate_is_held_and_not_shown(
    tmp_path: File, three: list[Person], stack: ExitStack
) -> None:
    loud = Author("loud")
    device = loud.device()
    for number in range(13):
        device.publish(f"Model number {number}")
    one, two, third = (stack.enter_context(online(it)) for it in three)
    take_in(one, tmp_path / "loud.hanse-feed", loud.root, device)  # by hand: all is shown
    meet(two, one)
    meet(third, two)
    agreed(one, two, third)
    counts = [it.engine.catalogue.search(CatalogueQuery()).count for it in (one, two, third)]
    assert counts == [13, 10, 10]
    for it in (two, third):
        (muted,) = [row for row in it.engine.replicating.muted_views() if row.sort == "listing"]
        assert (muted.identity, muted.count, muted.most) == (loud.identity, 3, 10)
    assert digest_of(one) == digest_of(two) == digest_of(third)


# --- ways to each other ---------------------------------------------------------------------------


def test_two_who_know_only_a_relay_speak_through_it(three: list[Person], stack: ExitStack) -> None:
    anna, bert, cleo = three
    middle = stack.enter_context(online(cleo, NODE))
    one, two = (stack.enter_context(online(it, LOOPBACK)) for it in (anna, bert))
    meet(two, middle)
    run_there(two, two.network._parts.relaying.look)
    assert "relay_reserved" in two.words()
    places = [it for it in run_there(two, addresses_of(two)) if "/p2p-circuit" in it]
    assert places
    invitation = two.engine.peering.invitation(places)
    assert all(it.relay == middle.engine.context.device for it in invitation.addresses)
    meet(one, middle)
    assert not is_connected(one, two)
    view = one.network.add(invitation.link).result(SOON)
    assert view.path is Path.RELAY
    assert view.relay == middle.engine.context.device
    assert path_to(two, one) is Path.RELAY
    agreed(one, two)
    entry = whisper(one.engine, bert.view.identity)
    one.network.announce()
    one.until(lambda: delivery(one.engine, entry) is DeliveryState.ACKNOWLEDGED)
    assert has_body(two.engine, entry)
    assert one.network.health()["paths"] == {"lan": 1, "relay": 1}


def addresses_of(one: Online):
    async def addresses() -> tuple[str, ...]:
        return tuple(one.network._parts.host.addresses())

    return addresses


def run_there(one: Online, call, *args):
    """Run something on a network's own thread, and wait for it."""
    return one.network._thread.submit(call, *args).result(SOON)


@pytest.mark.slow
def test_files_come_over_a_relay_only_from_who_cannot_be_reached_otherwise(
    tmp_path: File, clock: FakeClock, stack: ExitStack
) -> None:
    anna = seller(tmp_path)
    with anna.open() as engine:
        files = plain_weights(tmp_path / "files", 3 * MIB)
        releases = [
            publish(engine, files, preparation=AS_IS).release,
            publish(engine, plain_weights(tmp_path / "more", MIB), preparation=AS_IS).release,
        ]
    bert, cleo, dora = (Person.make(tmp_path, name, clock) for name in ("bert", "cleo", "dora"))
    middle = stack.enter_context(online(cleo, NODE))
    shop, buyer, friend = (stack.enter_context(online(it)) for it in (anna, bert, dora))
    meet(friend, shop)
    fetched(friend, releases[0])
    meet(shop, middle)
    run_there(shop, shop.network._parts.relaying.look)
    places = [it for it in run_there(shop, addresses_of(shop)) if "/p2p-circuit" in it]
    meet(buyer, middle)
    buyer.network.add(shop.engine.peering.invitation(places).link).result(SOON)
    assert path_to(buyer, shop) is Path.RELAY
    meet(buyer, friend)
    agreed(buyer, shop)
    before = shop.engine.seeding.view().out_bytes
    fetched(buyer, releases[0])
    assert shop.engine.seeding.view().out_bytes == before  # all of it came directly
    fetched(buyer, releases[1])
    assert shop.engine.seeding.view().out_bytes > before + MIB
    for release in releases:
        check_files(buyer.engine, release)


def test_a_seller_is_found_by_who_knows_only_a_node(
    tmp_path: File, clock: FakeClock, stack: ExitStack
) -> None:
    anna = seller(tmp_path)
    with anna.open() as engine:
        files = plain_weights(tmp_path / "files", 2 * MIB)
        release = publish(engine, files, preparation=AS_IS).release
    bert, cleo = (Person.make(tmp_path, name, clock) for name in ("bert", "cleo"))
    middle = stack.enter_context(online(cleo, NODE))
    shop, buyer = (stack.enter_context(online(it)) for it in (anna, bert))
    meet(shop, middle)
    middle.until(lambda: shop.network.health()["dht"])
    assert run_there(shop, shop.network._parts.reaching.provide)
    meet(buyer, middle)
    buyer.until(lambda: buyer.network.health()["dht"])
    assert not is_connected(buyer, shop)
    fetched(buyer, release)
    assert path_to(buyer, shop) in {Path.DIRECT, Path.LAN}
    check_files(buyer.engine, release)


def test_three_in_a_row_meet_through_the_one_between(
    three: list[Person], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only public places are passed on, and a test has none: here loopback counts as public.
    monkeypatch.setattr(PeerAddress, "reach", property(lambda _: Reach.PUBLIC))
    one, middle, last = (stack.enter_context(online(it, NODE)) for it in three)
    middle.network.add(link(last)).result(SOON)
    one.network.add(link(middle)).result(SOON)
    device = last.engine.context.device
    one.until(lambda: any(it.device == device for it in one.engine.peering.views()))
    assert one.engine.peering.view(device).met is Met.EXCHANGE
    agreed(one, middle, last)


# --- off, and off again ---------------------------------------------------------------------------


def test_without_a_network_nothing_listens_and_everything_else_works(
    tmp_path: File, clock: FakeClock
) -> None:
    before = sockets()
    anna = seller(tmp_path)
    with anna.open() as engine:
        release = publish(engine, plain_weights(tmp_path / "files"), preparation=AS_IS).release
        assert sockets() == before
    bo = Person.make(tmp_path, "bo", clock)
    with online(anna) as shop, online(bo) as buyer:
        meet(buyer, shop)
        assert len(sockets() - before) >= 4  # two that listen, and both ends of a connection
        assert buyer.network.stop()
        assert not buyer.network.is_online
        shop.until(lambda: not shop.network.connections())
        assert not buyer.network.connections()
        assert not buyer.network.health()["is_alive"]
        for asked in (buyer.network.add(link(shop)), buyer.network.sync()):
            with pytest.raises(NetworkOffline):
                asked.result(SOON)
        buyer.network.announce()
        buyer.network.fetch(release)
        buyer.network.post()
        write(buyer, "written while off")
        entry = whisper(buyer.engine, anna.view.identity)
        assert delivery(buyer.engine, entry) is DeliveryState.QUEUED
        assert buyer.engine.catalogue.search(CatalogueQuery()).count == 1
        assert shop.network.stop()
        assert sockets() == before
    with online(bo) as buyer, online(anna) as shop:  # what was written while off leaves now
        meet(buyer, shop)
        assert about(shop, buyer) == "written while off"
        buyer.until(lambda: delivery(buyer.engine, entry) is DeliveryState.ACKNOWLEDGED)
    assert sockets() == before


def test_a_locked_account_has_no_network(three: list[Person]) -> None:
    before = sockets()
    executor = Executor(1)
    with three[0].open(unlocked=False) as engine:
        with pytest.raises(AccountLocked):
            NetworkService(engine, executor, LOOPBACK, lambda _: None)
        assert sockets() == before
    executor.close()


def test_a_port_that_is_taken_is_named_and_the_rest_goes_on(
    three: list[Person], stack: ExitStack
) -> None:
    one, other = (stack.enter_context(online(it)) for it in three[:2])
    port = parse_address(one.addresses[0]).port
    third = stack.enter_context(three[2].open())
    executor = Executor(1)
    stack.callback(executor.close)
    settings = replace(LOOPBACK, listen=(f"/ip4/127.0.0.1/tcp/{port}",))
    network = NetworkService(third, executor, settings, lambda _: None)
    with pytest.raises(PortTaken) as caught:
        network.start().result(SOON)
    assert caught.value.values == {"port": port}
    assert network.stop()
    assert not network.is_online
    third.accounts.edit_profile(about="all the same")
    assert third.accounts.profile().about == "all the same"
    meet(other, one)


def test_ten_lives_of_one_account_leave_nothing_behind(
    three: list[Person], stack: ExitStack
) -> None:
    anna, bo, _ = three
    friend = stack.enter_context(online(anna))
    threads, open_before = set(threading.enumerate()), sockets()
    for life in range(10):
        with online(bo) as one:
            one.network.add(link(friend)).result(SOON)
            write(one, f"life {life}")
            write(friend, f"life {life}")
            friend.until(lambda life=life, one=one: about(friend, one) == f"life {life}")
            agreed(one, friend)
            write(one, f"after {life}")  # and it stops under way
    friend.until(lambda: not friend.network.connections())
    assert sockets() == open_before
    left = [
        it.name
        for it in set(threading.enumerate()) - threads
        if not it.name.startswith("Trio thread") and "_background_cleanup" not in it.name
    ]
    assert not left
    with friend.engine.context.store.reads() as reads:
        assert not reads.forks.count()


# --- trials ---------------------------------------------------------------------------------------


class QuickClock(FakeClock):
    """A minute passes in a second and a half."""

    def now_ms(self) -> int:
        return super().now_ms() + int(time.monotonic() * 40_000)


def test_a_model_is_tried_sealed_and_asked_over_a_network_that_restarts(
    tmp_path: File, stack: ExitStack
) -> None:
    clock = QuickClock(START_MS)
    anna = Person.make(tmp_path, "anna", clock)
    with anna.open() as engine:
        engine.accounts.confirm_phrase(anna.phrase)
        published = offer_sample(engine, tmp_path, "fraud-detection", EVERY_WAY, untested=True)
    bert = Person.make(tmp_path, "bert", clock)
    rows = tmp_path / "rows.csv"
    rows.write_bytes(sample_model("fraud-detection").rows())
    release = published.release
    buyer = stack.enter_context(online(bert))
    with_model(buyer.engine)

    with online(anna) as shop:
        with_model(shop.engine)
        meet(buyer, shop)
        fetched(buyer, release)
        buying = buyer.engine.trials
        peer = buyer.network.trial(anna.view.identity)
        trial = buying.buying.start(release, "sealed", Control()).trial
        assert buying.carry(trial, peer, Control()).runs_most == 3
        found = buying.sealed.evaluate(trial, OwnData(rows), Control(), ("accuracy",))
        assert found.rows[0].value_micro > 900_000

        question = Question(OwnData(rows), 900_000, 100_000)
        asked = buying.buying.start(release, "answers", Control(), question).trial
        begun = threading.Event()
        control = Control(lambda *_: begun.set())
        carrying = Future()

        def carry() -> None:
            try:
                carrying.set_result(buying.carry(asked, peer, control))
            except Exception as error:  # noqa: BLE001 - looked at below
                carrying.set_exception(error)

        threading.Thread(target=carry, name="carrying").start()
        assert begun.wait(SOON)
        buyer.until(lambda: carrying.done() or buying.buying.show(asked).answers)
        assert shop.network.stop()
    stopped = carrying.exception(SOON)
    assert stopped is None or isinstance(stopped, NoPeer), stopped
    before = buying.buying.show(asked)
    assert before.over or stopped is not None

    with online(anna) as shop:
        with_model(shop.engine)
        meet(buyer, shop)
        view = buying.carry(asked, peer, Control())
        assert view.over == "decided"
        assert buying.verdict(asked).word == "passed"
        (sold,) = [it for it in shop.engine.trials.page("seller") if it.trial == asked]
        assert sold.answers >= view.answers  # what was signed and got lost is given again
        again = buying.carry(asked, peer, Control())
        assert again.answers == view.answers
        (same,) = [it for it in shop.engine.trials.page("seller") if it.trial == asked]
        assert same.answers == sold.answers


def with_model(engine: Engine) -> None:
    engine.trials = Trials(engine.context, engine.content, in_process("fraud-detection"))
