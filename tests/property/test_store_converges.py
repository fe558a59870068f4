"""Order must not matter: the same Entries, however they come, give the same Projections."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hanse.core.engine.syncing import accept_batch
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.store.engines import Store
from tests.fakes.author import START_MS, Author

NOW_MS = START_MS + 10**8


def plain(author: Author) -> list[CheckedEntry]:
    laptop, phone = author.device("laptop"), author.device("phone")
    for _ in range(3):
        laptop.append("profile/1")
        phone.append("profile/1")
        phone.append("nobody-knows/1")
    return [*author.root_entries, *laptop.entries, *phone.entries]


def mirror(author: Author) -> list[CheckedEntry]:
    laptop, node = author.device(), author.device("node", "mirror")
    laptop.append("profile/1")
    node.append("profile/1")
    return [*author.root_entries, *laptop.entries, *node.entries]


def revoked(author: Author) -> list[CheckedEntry]:
    laptop, phone = author.device("laptop"), author.device("phone")
    for _ in range(4):
        laptop.append("profile/1")
    phone.append("profile/1", time_ms=START_MS + 1)
    author.revoke(laptop, 3, successor=phone.key)
    return [*author.root_entries, *laptop.entries, *phone.entries]


def erased(author: Author) -> list[CheckedEntry]:
    laptop, phone = author.device("laptop"), author.device("phone")
    first = laptop.append("profile/1")
    last = laptop.append("profile/1")
    phone.erase([last.entry_id, laptop.ids[0], first.entry_id])
    phone.erase([last.entry_id])
    return [*author.root_entries, *laptop.entries, *phone.entries]


def erased_by_a_thief(author: Author) -> list[CheckedEntry]:
    """The erase does not count, so what it named is wanted again."""
    laptop, phone = author.device("laptop"), author.device("phone")
    last = laptop.append("profile/1")
    phone.append("profile/1", time_ms=START_MS)
    phone.erase([last.entry_id])
    author.revoke(phone, 2)
    return [*author.root_entries, *laptop.entries, *phone.entries]


def forked(author: Author) -> list[CheckedEntry]:
    laptop, phone = author.device("laptop"), author.device("phone")
    for _ in range(4):
        laptop.append("profile/1")
    other = laptop.fork_at(3)
    for _ in range(3):
        other.append("profile/1")
    phone.append("profile/1", time_ms=START_MS + 1)
    return [*author.root_entries, *laptop.entries, *other.entries[2:], *phone.entries]


def forked_and_confirmed(author: Author) -> list[CheckedEntry]:
    """The Root says which branch it was; on half of the Peers that is not the one held."""
    laptop = author.device("laptop")
    for _ in range(4):
        laptop.append("profile/1")
    other = laptop.fork_at(3)
    for _ in range(3):
        other.append("profile/1")
    author.revoke(other, 4)
    return [*author.root_entries, *laptop.entries, *other.entries[2:]]


def forked_at_the_start(author: Author) -> list[CheckedEntry]:
    laptop = author.device("laptop")
    other = laptop.fork_at(1)
    author.delegate(other, "same key, other name")
    laptop.append("profile/1")
    other.append("profile/1")
    return [*author.root_entries, *laptop.entries, *other.entries]


def forked_at_the_start_and_confirmed(author: Author) -> list[CheckedEntry]:
    laptop = author.device("laptop")
    other = laptop.fork_at(1)
    author.delegate(other, "same key, other name")
    laptop.append("profile/1")
    other.append("profile/1")
    other.append("profile/1")
    author.revoke(other, 2)
    return [*author.root_entries, *laptop.entries, *other.entries]


def forked_root(author: Author) -> list[CheckedEntry]:
    laptop, phone, tablet = (author.device(name) for name in ("laptop", "phone", "tablet"))
    for device in (laptop, phone, tablet):
        device.append("profile/1")
        device.append("profile/1")
    other = author.root.fork_at(2)
    author.revoke(laptop, 2)
    author.revoke(phone, 2, root=other)
    author.revoke(tablet, 1, root=other)
    return [
        *author.root.entries,
        *other.entries[1:],
        *laptop.entries,
        *phone.entries,
        *tablet.entries,
    ]


def rotated(author: Author) -> list[CheckedEntry]:
    laptop, phone = author.device("laptop"), author.device("phone")
    laptop.append("profile/1")
    phone.append("profile/1")
    phone.append("profile/1")
    author.rotate([(laptop, None)])
    tablet = author.device("tablet")
    tablet.append("profile/1", time_ms=START_MS + 1)
    return [*author.root_entries, *laptop.entries, *phone.entries, *tablet.entries]


def rotated_twice_over(author: Author) -> list[CheckedEntry]:
    laptop = author.device("laptop")
    laptop.append("profile/1")
    first = author.root
    other = first.fork_at(2)
    author.rotate([(laptop, None)])
    tablet = author.device("tablet")
    tablet.append("profile/1")
    author.r, author.epoch = 0, 0
    author.rotate([(laptop, 1)], root=other)
    return [
        *first.entries,
        *other.entries[1:],
        *author.roots[1].entries,
        *author.roots[2].entries,
        *laptop.entries,
        *tablet.entries,
    ]


SCENARIOS = (
    plain,
    mirror,
    revoked,
    erased,
    erased_by_a_thief,
    forked,
    forked_and_confirmed,
    forked_at_the_start,
    forked_at_the_start_and_confirmed,
    forked_root,
    rotated,
    rotated_twice_over,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An empty store to copy: making one anew takes longer than a whole example."""
    folder = tmp_path_factory.mktemp("empty")
    Store.open(folder).close()
    return folder


def digest_of(empty: Path, batches, *, check_rebuild: bool) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        shutil.copytree(empty, folder)
        with closing(Store.open(folder)) as store:
            for batch in batches:
                with store.unit_of_work() as uow:
                    accept_batch(uow, batch, NOW_MS)
                    uow.commit()
            with store.reads() as reads:
                digest = reads.projections.digest()
                assert reads.projections.difference() is None
                assert not list(reads.rehash())
            if check_rebuild:
                store.rebuild_projections()
                with store.reads() as reads:
                    assert reads.projections.digest() == digest
    return digest


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_any_order_and_repetition_gives_the_same_projections(empty, scenario):
    entries = scenario(Author(scenario.__name__))
    # A Body that was dropped and then wanted again is there once it is brought again.
    again = [entries] if scenario is erased_by_a_thief else []
    expected = digest_of(empty, [entries, *again], check_rebuild=True)

    @settings(
        max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.integers(min_value=0, max_value=2**32), st.booleans())
    @example(362880, False)  # each was a case in which order mattered once
    @example(362880, True)
    @example(121, True)
    @example(1367862, False)
    def check(seed, is_one_by_one):
        chance = random.Random(seed)
        shuffled = [*entries, *chance.sample(entries, len(entries) // 2)]
        chance.shuffle(shuffled)
        size = 1 if is_one_by_one else chance.randint(2, len(shuffled))
        batches = [list(part) for part in _in_parts(shuffled, size)]
        batches += again
        assert digest_of(empty, batches, check_rebuild=not is_one_by_one) == expected

    check()


@pytest.mark.parametrize("scenario", [plain, erased, revoked], ids=lambda it: it.__name__)
def test_bodies_that_come_late_give_the_same_projections(empty, scenario):
    entries = scenario(Author(scenario.__name__))
    expected = digest_of(empty, [entries], check_rebuild=False)
    bare = [CheckedEntry(entry.without_body()) for entry in entries if entry.seq > 1]
    needed = [entry for entry in entries if entry.seq == 1]
    assert digest_of(empty, [needed, bare, entries], check_rebuild=True) == expected


def _in_parts(items, size):
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part
