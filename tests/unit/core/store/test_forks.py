from __future__ import annotations

import pytest

from hanse.core.ledger.forks import check_fork, fork_of
from tests.fakes.author import Author


@pytest.fixture
def uow(store):
    with store.unit_of_work() as uow:
        yield uow


def forks_of(author, count, seq=3):
    """Return ``count`` proofs of one Device, all at one seq."""
    device = author.device()
    for _ in range(seq - 1):
        device.append("follow/1")
    found = []
    for _ in range(count):
        rival = device.fork_at(seq).append("follow/1")
        found.append(fork_of(device.entries[seq - 1], rival))
    return device, found


def test_a_proof_is_kept_once_and_can_be_checked_again(uow):
    device, (fork,) = forks_of(Author(1), 1)
    assert uow.forks.add(fork)
    assert not uow.forks.add(fork)
    (stored,) = uow.forks.of(device.key)
    assert check_fork(stored.proof) == check_fork(fork.proof)
    assert (stored.disputed_seq, stored.last_seq, stored.is_of_one_seq) == (3, 3, True)
    assert uow.forks.count() == 1


def test_neighbours_that_do_not_fit_are_told_from_two_at_one_seq(uow):
    device = Author(1).device()
    device.append("follow/1")
    device.append("follow/1")
    other = device.fork_at(2)
    other.append("follow/1")
    rival = other.append("follow/1")
    fork = fork_of(device.entries[1], rival)
    assert uow.forks.add(fork)
    (stored,) = uow.forks.of(device.key)
    assert (stored.disputed_seq, stored.last_seq, stored.is_of_one_seq) == (2, 3, False)


def test_of_one_author_the_same_proofs_stay_whatever_the_order(store, monkeypatch):
    monkeypatch.setattr("hanse.core.store.forks.FORKS_PER_AUTHOR_MAX", 3)
    device, found = forks_of(Author(1), 6)
    lower = device.fork_at(2).append("follow/1")
    found.append(fork_of(device.entries[1], lower))
    kept = []
    for order in (found, found[::-1]):
        with store.unit_of_work() as uow:
            for fork in order:
                uow.forks.add(fork)
            kept.append([stored.proof for stored in uow.forks.of(device.key)])
    assert kept[0] == kept[1]
    assert kept[0][0] == found[-1].proof
    assert len(kept[0]) == 3


def test_a_proof_that_is_not_kept_is_not_new(uow, monkeypatch):
    monkeypatch.setattr("hanse.core.store.forks.FORKS_PER_AUTHOR_MAX", 1)
    _, found = forks_of(Author(1), 4)
    added = [fork for fork in found if uow.forks.add(fork)]
    assert uow.forks.count() == 1
    assert not any(uow.forks.add(fork) for fork in found if fork is not added[-1])


def test_of_feeds_not_held_the_oldest_go_and_those_held_stay(store, take, monkeypatch):
    monkeypatch.setattr("hanse.core.store.forks.FORKS_OF_UNHELD_FEEDS_MAX", 3)
    author = Author("held")
    device, (own,) = forks_of(author, 1)
    take(*author.root_entries, *device.entries)
    strangers = [forks_of(Author(number), 1)[1][0] for number in range(5)]
    with store.unit_of_work() as uow:
        uow.forks.add(own)
        for fork in strangers:
            assert uow.forks.add(fork)
        uow.commit()
    with store.unit_of_work() as uow:
        kept = [proof for _, proof in uow.forks.proofs()]
        assert kept == [own.proof, *(fork.proof for fork in strangers[2:])]


def test_all_proofs_are_paged_by_arrival(uow):
    found = [forks_of(Author(number), 1)[1][0] for number in range(5)]
    for fork in found:
        uow.forks.add(fork)
    first = uow.forks.all(limit=2)
    rest = uow.forks.all(after=first[-1].number)
    assert [stored.proof for stored in (*first, *rest)] == [fork.proof for fork in found]
    assert [proof for _, proof in uow.forks.proofs()] == [fork.proof for fork in found]
