"""Whole networks on loopback: what two or three people see of each other, and how it ends."""

from __future__ import annotations

import threading
import time

import pytest

from hanse.core.engine.context import AccountLocked
from hanse.core.engine.executor import Executor
from hanse.core.engine.ports import NetworkOffline, NoPeer, PortTaken
from hanse.core.model.delivery import DeliveryState
from hanse.core.model.network import NetworkSettings, TransferState
from hanse.network.service import NetworkService
from tests.fakes.content import MIB, some_bytes, write_files
from tests.fakes.online import LOOPBACK, SOON, online
from tests.fakes.people import Person, digest
from tests.fakes.post_office import words
from tests.fakes.shop import AS_IS, check_whole, free_tiers, publish, seller


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Make a seller with a Release in the clear, and somebody else; each test lets them go on."""
    base = tmp_path_factory.mktemp("people")
    anna = seller(base)
    with anna.open() as engine:
        files = write_files(base / "model", {"a.bin": some_bytes(2 * MIB + 3, "clear")})
        release = publish(
            engine, files, preparation=AS_IS, title="Open", price="0", tiers=free_tiers()
        ).release
    return anna, Person.make(base, "bo"), release


def meet(one, other):
    """Connect two people, and let each have what the other has."""
    one.network.add(other.addresses[0]).result(SOON)
    one.network.sync(other.engine.context.device).result(SOON)
    other.network.sync(one.engine.context.device).result(SOON)


def about(online_at, person):
    profile = online_at.engine.accounts.profile(person.view.identity)
    return None if profile is None else profile.about


def test_two_people_agree_and_hear_of_each_other_at_once(people):
    anna, bo, _ = people
    with online(anna) as here, online(bo) as there:
        meet(there, here)
        (view,) = there.network.connections()
        assert view.device == here.engine.context.device
        (shown,) = there.network.sync_views()
        assert shown.behind_by == 0
        here.engine.accounts.edit_profile(about="News of a minute ago.")  # nobody else is told
        there.until(lambda: about(there, anna) == "News of a minute ago.")
        there.engine.accounts.edit_profile(about="And an answer.")
        here.until(lambda: about(here, bo) == "And an answer.")
        assert there.network.health()["peers"] == 1
        assert "greeted" in there.words()
    assert digest(anna) == digest(bo)


def test_a_message_is_delivered_and_acknowledged(people):
    anna, bo, _ = people
    with online(anna) as here, online(bo) as there:
        meet(there, here)
        entry = words(here, bo)
        here.network.post(entry.entry_id)
        here.until(
            lambda: DeliveryState.ACKNOWLEDGED in {it.state for it in here.engine.posting.views()}
        )
        with there.engine.context.store.reads() as reads:
            assert reads.feeds.find(entry.entry_id).entry.body == entry.body


def test_a_release_is_fetched_from_who_sells_it(people):
    anna, bo, release = people
    with online(anna) as here, online(bo) as there:
        meet(there, here)
        there.engine.fetching.ask(release)
        there.network.fetch(release)
        there.until(lambda: there.engine.fetching.view(release).state is TransferState.DONE)
        check_whole(there.engine)


def test_one_identity_starts_again_and_is_spoken_to_again(people):
    anna, bo, _ = people
    with online(bo) as there:
        for number in range(2):
            with online(anna) as here:
                meet(here, there)
                here.engine.accounts.edit_profile(about=f"Back for time {number}.")
                there.until(lambda said=f"Back for time {number}.": about(there, anna) == said)
            there.until(lambda: not there.network.connections())
            assert not there.network.sync_views()


def test_with_nobody_there_is_nobody_to_agree_with(people):
    anna, bo, _ = people
    with online(anna) as here:
        assert here.network.sync().result(SOON) == {}
        with pytest.raises(NoPeer):
            here.network.sync(bo.view.device).result(SOON)
        assert here.network.is_online
    assert not here.network.is_online
    with pytest.raises(NetworkOffline):
        here.network.sync().result(SOON)
    assert here.network.connections() == ()
    assert here.network.health()["is_alive"] is False


def test_a_stop_is_quick_and_leaves_no_thread_and_no_ear(people):
    anna, bo, _ = people
    with online(bo) as there, online(anna) as here:
        meet(here, there)
        begun = time.monotonic()
        assert here.network.stop()
        assert time.monotonic() - begun < 5
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("hanse-network") == 1
        assert here.engine.context.on_own == []
        assert here.words()[-1] == "network_stopped"
        here.engine.accounts.edit_profile(about="Nobody hears this.")


def test_a_locked_account_has_no_network(people):
    anna, _, _ = people
    executor = Executor()
    with anna.open(unlocked=False) as engine, pytest.raises(AccountLocked):
        NetworkService(engine, executor, LOOPBACK, lambda _: None)
    executor.close()


def test_a_port_that_is_taken_is_named(people):
    anna, bo, _ = people
    with online(anna) as here:
        address = here.addresses[0].partition("/p2p/")[0]
        port = int(address.rpartition("/")[2])
        executor = Executor()
        with bo.open() as engine:
            network = NetworkService(
                engine, executor, NetworkSettings(listen=(address,), is_lan=False), lambda _: None
            )
            with pytest.raises(PortTaken) as caught:
                network.start().result(SOON)
            assert caught.value.values["port"] == port
            assert network.stop()
        executor.close()
