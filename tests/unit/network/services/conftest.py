"""Accounts that the tests of services share: making one takes longer than most of them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.fakes.people import Person


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
