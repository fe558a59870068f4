"""An open store in an empty folder, and short ways to fill it."""

from __future__ import annotations

import shutil
from contextlib import closing

import pytest

from hanse.core.engine.syncing import accept_batch
from hanse.core.store.engines import Store
from tests.fakes.author import START_MS

NOW_MS = START_MS + 10**8


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """An empty store to copy: making one anew takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty") / "data"
    Store.open(folder).close()
    return folder


@pytest.fixture
def store(tmp_path, empty):
    shutil.copytree(empty, tmp_path / "data")
    with closing(Store.open(tmp_path / "data")) as opened:
        yield opened


@pytest.fixture
def take(store):
    """Take Entries in, in one transaction."""

    def take(*entries):
        with store.unit_of_work() as uow:
            outcome = accept_batch(uow, entries, NOW_MS)
            uow.commit()
        return outcome

    return take
