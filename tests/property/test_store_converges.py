"""Order must not matter: the same Entries, however they come, give the same Projections."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hanse.core.engine.syncing import accept_batch
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.store.engines import Store
from hanse.core.store.tables import catalogue
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


def offered(author: Author) -> list[CheckedEntry]:
    """Two Devices write of one Listing, and of another that waits for its Release."""
    laptop, phone = author.device("laptop"), author.device("phone")
    listing, release, _ = laptop.publish("Defects", sectors=("retail", "manufacturing"))
    phone.append(
        "listing/1",
        phone.listing("缺陷检测", listing=listing.entry_id, tags=("金属", "steel"), lang="zh"),
        time_ms=START_MS + 2500,
    )
    second = phone.append("release/1", phone.release(listing.entry_id, version="1.1.0"))
    phone.append("release/1", phone.release(listing.entry_id, edition="trial", of=second.entry_id))
    phone.append("price/1", phone.price(listing.entry_id, 900))
    laptop.append("price/1", laptop.price(listing.entry_id, 700, release=second.entry_id))
    laptop.append("renew/1", laptop.renewal([listing.entry_id], START_MS + 10**9))
    phone.append("renew/1", phone.renewal([listing.entry_id, release.entry_id], START_MS + 10**8))
    phone.append("listing/1", phone.listing("Nothing to sell yet"))
    phone.append("follow/1", phone.follow(author.identity, 3))
    laptop.append("follow/1", laptop.follow(author.identity, 0))
    return [*author.root_entries, *laptop.entries, *phone.entries]


def offered_on_request(author: Author) -> list[CheckedEntry]:
    laptop, phone = author.device("laptop"), author.device("phone")
    listing, _, _ = laptop.publish("One", state="paused")
    phone.append("price/1", phone.price(listing.entry_id, 0, mode="rfq"), time_ms=START_MS + 9000)
    other, _, _ = laptop.publish("Two")
    phone.append("listing/1", phone.listing("Two", listing=other.entry_id, state="withdrawn"))
    again = laptop.listing("Three", listing=other.entry_id)
    laptop.append("listing/1", again, time_ms=START_MS + 20_000)
    return [*author.root_entries, *laptop.entries, *phone.entries]


def offered_from_a_lost_device(author: Author) -> list[CheckedEntry]:
    """What the thief wrote of the Listings does not count, what was before does."""
    laptop, phone = author.device("laptop"), author.device("phone")
    listing, _, _ = laptop.publish("Mine")
    phone.append("listing/1", phone.listing("Still mine", listing=listing.entry_id))
    laptop.append("listing/1", laptop.listing("Stolen", listing=listing.entry_id))
    laptop.append("price/1", laptop.price(listing.entry_id, 1))
    laptop.publish("Forged")
    author.revoke(laptop, 4, successor=phone.key, reason="stolen")
    return [*author.root_entries, *laptop.entries, *phone.entries]


def offered_and_erased(author: Author) -> list[CheckedEntry]:
    """One Listing loses its newest words, one its price, one its first Entry, one its Release."""
    laptop, phone = author.device("laptop"), author.device("phone")
    first, second, third, fourth = (laptop.publish(name) for name in ("A", "B", "C", "D"))
    again = phone.append("listing/1", phone.listing("A2", listing=first[0].entry_id))
    phone.append("listing/1", phone.listing("C2", listing=third[0].entry_id))
    phone.erase([again.entry_id, second[2].entry_id])
    phone.erase([third[0].entry_id, fourth[1].entry_id])
    return [*author.root_entries, *laptop.entries, *phone.entries]


def offered_among_strangers(author: Author) -> list[CheckedEntry]:
    """A stranger amends, releases, prices and renews what is not his."""
    laptop, stranger = author.device("laptop"), Author("stranger")
    thing = stranger.device()
    listing, release, _ = laptop.publish("Mine")
    thing.append("listing/1", thing.listing("Not yours", listing=listing.entry_id))
    thing.append("release/1", thing.release(listing.entry_id))
    thing.append("price/1", thing.price(listing.entry_id, 1))
    thing.append("price/1", thing.price(listing.entry_id, 1, release=release.entry_id))
    thing.append("renew/1", thing.renewal([listing.entry_id], 1))
    thing.publish("His own")
    return [
        *author.root_entries,
        *stranger.root_entries,
        *laptop.entries,
        *thing.entries,
    ]


def offered_on_two_branches(author: Author) -> list[CheckedEntry]:
    laptop, phone = author.device("laptop"), author.device("phone")
    listing, _, _ = laptop.publish("Before")
    other = laptop.fork_at(5)
    laptop.append("listing/1", laptop.listing("One", listing=listing.entry_id))
    other.append("listing/1", other.listing("Other", listing=listing.entry_id))
    other.publish("On the other branch")
    phone.append("price/1", phone.price(listing.entry_id, 5))
    return [*author.root_entries, *laptop.entries, *other.entries[4:], *phone.entries]


def certified(author: Author) -> list[CheckedEntry]:
    """Found, found again, found otherwise, taken back, objected to, erased; and by a thief."""
    laptop, stranger, thief = author.device("laptop"), Author("tester"), Author("thief")
    other, lost = stranger.device(), thief.device()
    artifact, old = bytes([7]) * 32, bytes([8]) * 32
    listing, _, _ = laptop.publish("Found to be good")
    release = laptop.append("release/1", laptop.release(listing.entry_id, artifact=artifact))
    cert = laptop.certify(artifact, level=2)
    wrong, slip = laptop.certify(artifact), laptop.certify(artifact, fails="quality.accuracy")
    laptop.append("cert-revoke/1", laptop.cert_revocation(wrong.entry_id))
    laptop.erase([slip.entry_id])
    laptop.append("cert/1", msgspec.structs.replace(laptop.certificate(artifact), level=1))
    laptop.certify(artifact, suite="core/9.0.0", suite_sha256=bytes(32))
    for verdict in ("differ", "agree"):
        other.certify(artifact, reproduces=(cert.entry_id, verdict))
        review = other.human_review(release.entry_id, artifact, "object", notes=verdict)
        other.append("human-review/1", review)
    other.certify(old, reproduces=(cert.entry_id, "agree"))
    other.append("cert-revoke/1", other.cert_revocation(cert.entry_id))
    lost.certify(artifact, reproduces=(cert.entry_id, "differ"))
    lost.append("human-review/1", lost.human_review(release.entry_id, artifact, "object"))
    thief.revoke(lost, 1)
    feeds = (author.root, stranger.root, thief.root, laptop, other, lost)
    return [entry for feed in feeds for entry in feed.entries]


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
    offered,
    offered_on_request,
    offered_from_a_lost_device,
    offered_and_erased,
    offered_among_strangers,
    offered_on_two_branches,
    certified,
)
IN_CATALOGUE = {
    offered: {"缺陷检测"},
    offered_on_request: {"One", "Three"},
    offered_from_a_lost_device: {"Still mine"},
    offered_and_erased: {"A"},
    offered_among_strangers: {"Mine", "His own"},
    offered_on_two_branches: {"Before"},
    certified: {"Found to be good"},
}

EXAMPLES = {certified: 2}  # beside those below: it is the largest world


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An empty store to copy: making one anew takes longer than a whole example."""
    folder = tmp_path_factory.mktemp("empty")
    Store.open(folder).close()
    return folder


def searched(uow) -> list[object]:
    """Return the catalogue with its facets and every word of its index, but for the numbers."""
    execute = uow._connection.exec_driver_sql
    listing = {row.n: row.listing for row in execute("SELECT n, listing FROM catalogue")}
    rows = [tuple(row)[1:] for row in execute("SELECT * FROM catalogue ORDER BY listing")]
    texts = [(listing[n], *it) for n, *it in execute("SELECT * FROM catalogue_text")]
    facets = execute(
        "SELECT n, facet, facet_values.value, listings FROM listing_facets"
        " JOIN facet_values ON number = listing_facets.value"
    )
    execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, catalogue_fts, 'instance')")
    words = sorted((listing[n], *it) for n, *it in execute("SELECT doc, term, col FROM words"))
    execute("DROP TABLE temp.words")
    return [rows, sorted(texts), sorted((listing[n], *it) for n, *it in facets), words]


def digest_of(empty: Path, batches, *, check_rebuild: bool) -> tuple[bytes, list[object]]:
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
            with store.unit_of_work() as uow:
                found = searched(uow)
            if check_rebuild:
                store.rebuild_projections()
                with store.unit_of_work() as uow:
                    assert uow.projections.digest() == digest
                    assert searched(uow) == found
    return digest, found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_any_order_and_repetition_gives_the_same_projections(empty, scenario):
    entries = scenario(Author(scenario.__name__))
    # A Body that was dropped and then wanted again is there once it is brought again.
    again = [entries] if scenario is erased_by_a_thief else []
    expected = digest_of(empty, [entries, *again], check_rebuild=True)

    @settings(
        max_examples=EXAMPLES.get(scenario, 6 if scenario in IN_CATALOGUE else 12),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
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


@pytest.mark.parametrize("scenario", IN_CATALOGUE, ids=lambda scenario: scenario.__name__)
def test_the_catalogue_of_each_world_is_what_a_person_expects(empty, scenario):
    _, (rows, *_) = digest_of(empty, [scenario(Author(scenario.__name__))], check_rebuild=False)
    titles = [column.key for column in catalogue.columns].index("title") - 1
    assert {row[titles] for row in rows} == IN_CATALOGUE[scenario]


def test_what_was_found_in_that_world_is_what_a_person_expects(empty):
    _, (rows, *_) = digest_of(empty, [certified(Author("certified"))], check_rebuild=False)
    (row,) = rows
    names = [column.key for column in catalogue.columns][1:]
    shown = dict(zip(names, row, strict=True))
    expected = {"level": 2, "cert_failed": 0, "contradicted": 0, "reproduced": 1, "differ": 0}
    assert {name: shown[name] for name in expected} == expected
    assert shown["objections"] == 1


@pytest.mark.parametrize(
    "scenario",
    [plain, erased, revoked, offered, offered_and_erased, certified],
    ids=lambda it: it.__name__,
)
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
