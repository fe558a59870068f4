"""An open store in an empty folder, and short ways to fill it."""

from __future__ import annotations

from contextlib import closing

import pytest

from hanse.core.engine.syncing import accept_batch
from hanse.core.store.engines import Store
from tests.fakes.author import START_MS

NOW_MS = START_MS + 10**8


@pytest.fixture
def store(tmp_path):
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
