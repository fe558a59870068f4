"""Accounts that the tests of services share: making one takes longer than most of them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import pytest

from hanse.core.engine.home import Home
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.people import START_MS, Person

NAMES = ("anna", "bo", "cleo")


@pytest.fixture(scope="session")
def accounts(tmp_path_factory):
    """Open Accounts by name, each made once; what they know of Peers is dropped for each test."""
    base = tmp_path_factory.mktemp("accounts")
    opened = {}
    with ExitStack() as stack:

        def account(name):
            if name not in opened:
                opened[name] = stack.enter_context(Person.make(base, name).open())
            return opened[name]

        account.opened = opened
        yield account


@pytest.fixture
def account(accounts):
    for engine in accounts.opened.values():
        with engine.context.store.unit_of_work() as uow:
            for row in uow.peers.all():
                uow.peers.forget(row.device)
            uow.meta.put("own_places", "[]")
            uow.commit()
    return accounts


@pytest.fixture(scope="session")
def registered(tmp_path_factory):
    base = tmp_path_factory.mktemp("registered")
    return {name: Person.make(base, name) for name in NAMES}


@pytest.fixture
def people(registered, tmp_path):
    """Folders of their own for each test, of Accounts that were made once."""
    found = []
    for name, person in registered.items():
        folder = tmp_path / name
        shutil.copytree(person.home.folder.parent, folder)
        home = Home(folder / "data", folder / "config")
        clock, chance = FakeClock(START_MS + 1000), SeededChance(f"{name} {tmp_path.name}")
        found.append(Person(name, home, person.phrase, person.view, clock, chance))
    return found
