from __future__ import annotations

import pytest

from hanse.core.engine.syncing import accept_batch
from tests.fakes.author import Author


class Trouble(Exception):
    pass


def test_leaving_without_a_commit_leaves_no_trace(store):
    with store.unit_of_work() as uow:
        uow.meta.put("name", "value")
    with store.reads() as reads:
        assert reads.meta.get("name") is None


def test_an_error_undoes_everything_and_travels_on(store):
    def fail():
        with store.unit_of_work() as uow:
            uow.meta.put("name", "value")
            raise Trouble

    with pytest.raises(Trouble):
        fail()
    with store.reads() as reads:
        assert reads.meta.get("name") is None


def test_hooks_run_after_the_commit_and_in_order(store):
    seen = []

    def look():
        with store.reads() as reads:
            seen.append(reads.meta.get("name"))

    with store.unit_of_work() as uow:
        uow.after_commit(look)
        uow.after_commit(lambda: seen.append("second"))
        uow.meta.put("name", "value")
        assert seen == []
        uow.commit()
    assert seen == ["value", "second"]


def test_hooks_never_run_without_a_commit(store):
    seen = []
    with store.unit_of_work() as uow:
        uow.after_commit(lambda: seen.append(1))
    with store.unit_of_work() as uow:
        uow.commit()
    assert seen == []


def test_a_hook_that_fails_stops_the_later_ones_and_undoes_nothing(store):
    seen = []

    def fail():
        raise Trouble

    def work():
        with store.unit_of_work() as uow:
            uow.meta.put("name", "value")
            uow.after_commit(fail)
            uow.after_commit(lambda: seen.append(1))
            uow.commit()

    with pytest.raises(Trouble):
        work()
    assert seen == []
    with store.reads() as reads:
        assert reads.meta.get("name") == "value"


def test_a_unit_of_work_can_be_entered_again(store):
    uow = store.unit_of_work()
    for value in ("first", "second"):
        with uow:
            uow.meta.put("name", value)
            uow.commit()
    with store.reads() as reads:
        assert reads.meta.get("name") == "second"


def test_what_an_undone_transaction_knew_of_kinds_is_forgotten(store, take):
    author = Author(1)
    device = author.device()
    device.append("first-unknown/1")
    with store.unit_of_work() as uow:
        accept_batch(uow, [*author.root_entries, *device.entries], 2 * 10**12)
    other = Author(2)
    thing = other.device()
    thing.append("second-unknown/1")
    take(*other.root_entries, *thing.entries)
    take(*author.root_entries, *device.entries)
    with store.reads() as reads:
        assert list(reads.rehash()) == []
        kinds = {stored.entry.kind for stored in reads.feeds.newest()}
    assert {"first-unknown/1", "second-unknown/1"} <= kinds


def test_what_an_undone_transaction_knew_of_an_identity_is_forgotten(store, take):
    author = Author(1)
    with store.unit_of_work() as uow:
        accept_batch(uow, author.root_entries, 2 * 10**12)
        assert uow.projections.standing_of(author.identity) is not None
    with store.unit_of_work() as uow:
        assert uow.projections.standing_of(author.identity) is None
    take(*author.root_entries)
    with store.unit_of_work() as uow:
        assert uow.projections.standing_of(author.identity) is not None
