"""Transfers and traffic as they are kept: once for each Release, in order, never without end."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanse.core.artifacts.pieces import NotEnoughSpace
from hanse.core.model.ids import EntryId
from hanse.core.model.network import TransferState
from hanse.core.model.transfer import Reason
from hanse.core.store import traffic, transfers
from hanse.core.store.transfers import NewTransfer, TooManyTransfers

ARTIFACT = b"a" * 32
ONE, TWO = (b"1" * 32, 5), (b"2" * 32, 7)


def release(number: int) -> EntryId:
    return EntryId(number.to_bytes(32, "big"))


def new(number: int, state: TransferState = TransferState.QUEUED, priority: int = 1) -> NewTransfer:
    return NewTransfer(release(number), ARTIFACT, Reason.ASKED, state, priority, 100)


def put(store, *asked: NewTransfer, now_ms: int = 1) -> None:
    with store.unit_of_work() as uow:
        for one in asked:
            uow.transfers.put(one, now_ms)
        uow.commit()


def test_what_is_due_comes_by_priority_and_then_by_age(store):
    put(store, new(1, priority=9), new(2), new(3), new(4, priority=0))
    with store.reads() as reads:
        assert [row.release for row in reads.transfers.due()] == [
            release(one) for one in (4, 2, 3, 1)
        ]


def test_what_is_paused_failed_or_ended_is_not_due(store):
    put(store, *map(new, range(5)))
    with store.unit_of_work() as uow:
        uow.transfers.set_paused(release(0), 2, is_paused=True)
        uow.transfers.move(release(1), TransferState.FAILED, 2)
        uow.transfers.move(release(2), TransferState.DONE, 2)
        uow.transfers.move(release(3), TransferState.CANCELLED, 2)
        uow.commit()
    with store.reads() as reads:
        assert [row.release for row in reads.transfers.due()] == [release(4)]
        assert [row.release for row in reads.transfers.live()] == [
            release(one) for one in (0, 1, 4)
        ]
        assert len(reads.transfers.all()) == 5


def test_an_error_is_kept_by_its_code_and_its_values(store):
    put(store, new(1))
    error = NotEnoughSpace(path=Path("/x"), need_bytes=5, have_bytes=4)
    with store.unit_of_work() as uow:
        uow.transfers.move(release(1), TransferState.FAILED, 2, error)
        uow.commit()
    with store.reads() as reads:
        row = reads.transfers.get(release(1))
    assert row.error == ("store.no_room", {"path": "/x", "need_bytes": 5, "have_bytes": 4})


def test_asking_again_takes_the_place_of_what_was_noted(store):
    put(store, new(1, TransferState.CANCELLED))
    with store.reads() as reads:
        first = reads.transfers.get(release(1))
    put(store, new(1), now_ms=9)
    with store.reads() as reads:
        (row,) = reads.transfers.all()
    assert (row.transfer, row.state, row.created_ms) == (first.transfer, TransferState.QUEUED, 1)


def test_only_so_many_wait_and_only_so_much_history_is_kept(store, monkeypatch):
    monkeypatch.setattr(transfers, "TRANSFERS_OPEN_MAX", 2)
    put(store, new(1), new(2))
    with store.unit_of_work() as uow, pytest.raises(TooManyTransfers):
        uow.transfers.put(new(3), 1)
    for number in range(10, 16):
        put(store, new(number, TransferState.DONE), now_ms=number)
    monkeypatch.setattr(transfers, "_OLD", transfers._OLD.offset(2))
    put(store, new(99, TransferState.DONE), now_ms=99)
    with store.reads() as reads:
        left = [row.release for row in reads.transfers.all()]
    assert set(left) == {release(one) for one in (1, 2, 15, 99)}


def test_traffic_adds_up_by_object(store):
    with store.unit_of_work() as uow:
        uow.traffic.add({ONE: 10}, {ONE: 3, TWO: 4}, 1)
        uow.traffic.add({TWO: 1}, {ONE: 2}, 2)
        uow.traffic.add({}, {}, 3)
        uow.commit()
    with store.reads() as reads:
        assert reads.traffic.of(ONE) == (10, 5)
        assert reads.traffic.of(TWO) == (1, 4)
        assert reads.traffic.of((b"3" * 32, 1)) == (0, 0)
        assert reads.traffic.totals() == (11, 9)


def test_the_count_that_changed_longest_ago_goes_first(store, monkeypatch):
    monkeypatch.setattr(traffic, "TRAFFIC_ROWS_MAX", 2)
    monkeypatch.setattr(traffic, "_OLD", traffic._OLD.offset(2))
    with store.unit_of_work() as uow:
        for number in range(4):
            uow.traffic.add({(bytes([number]) * 32, 1): 1}, {}, number)
        uow.commit()
    with store.reads() as reads:
        assert reads.traffic.totals() == (2, 0)
        assert reads.traffic.of((bytes([3]) * 32, 1)) == (1, 0)
