from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from hanse.core.engine.syncing import accept_batch
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.ledger.feed import BodyState
from hanse.core.model.ids import EntryId
from hanse.core.store import fold_table
from hanse.core.store.engines import Store
from hanse.core.store.projections import PROJECTIONS, FoldItem
from hanse.core.store.tables import devices, erasures, profiles, projections
from tests.fakes.author import START_MS, Author


@pytest.fixture
def author():
    return Author("projector")


def read(store, question):
    with store.reads() as reads:
        assert reads.projections.difference() is None
        return question(reads)


def name_of(store, author):
    row = read(store, lambda reads: reads.projections.profile(author.identity))
    return None if row is None else row.name


def state_of(store, entry):
    return read(store, lambda reads: reads.feeds.find(entry.entry_id).body_state)


def device_of(store, author, device):
    rows = read(store, lambda reads: reads.projections.devices(author.identity))
    return next((row for row in rows if row.device == device.key), None)


# --- profiles -------------------------------------------------------------------------------


def test_the_newest_profile_wins_across_devices_and_not_the_last_to_come(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    new = phone.append("profile/1", phone.profile("new"), time_ms=START_MS + 5000)
    old = laptop.append("profile/1", laptop.profile("old"), time_ms=START_MS + 4000)
    take(*author.root_entries, phone.entries[0], new)
    assert name_of(store, author) == "new"
    take(laptop.entries[0], old)
    assert name_of(store, author) == "new"


def test_a_tie_is_broken_by_the_device_key(store, take, author):
    feeds = sorted((author.device(), author.device("phone")), key=lambda feed: feed.key)
    for feed in feeds:
        feed.append("profile/1", feed.profile(feed.key.hex()[:8]), time_ms=START_MS + 1)
    take(*author.root_entries, *feeds[1].entries, *feeds[0].entries)
    assert name_of(store, author) == feeds[1].key.hex()[:8]


def test_every_field_of_a_profile_comes_back(store, take, author):
    laptop = author.device()
    laptop.append(
        "profile/1",
        laptop.profile(
            "漢斯",
            about="first\nsecond",
            web=("https://a.example", "https://b.example"),
            contact="mail@a.example",
            sectors=("metal",),
            lang="zh",
            avatar=bytes(32),
        ),
    )
    take(*author.root_entries, *laptop.entries)
    row = read(store, lambda reads: reads.projections.profile(author.identity))
    assert (row.name, row.about, row.lang) == ("漢斯", "first\nsecond", "zh")
    assert (row.web, row.sectors) == (("https://a.example", "https://b.example"), ("metal",))
    assert (row.contact, row.avatar) == ("mail@a.example", bytes(32))


def test_a_void_profile_is_not_projected_and_its_header_is_held(store, take, author):
    laptop = author.device()
    good = laptop.append("profile/1", laptop.profile("good"))
    void = laptop.append("profile/1", b"\xa1\x61a\x01")
    take(*author.root_entries, laptop.entries[0], good, void)
    assert name_of(store, author) == "good"
    assert state_of(store, void) is BodyState.VOID


def test_a_late_body_is_projected(store, take, author):
    laptop = author.device()
    entry = laptop.append("profile/1", laptop.profile("late"))
    take(*author.root_entries, laptop.entries[0], CheckedEntry(entry.without_body()))
    assert name_of(store, author) is None
    take(entry)
    assert name_of(store, author) == "late"


def test_a_mirror_speaks_for_nobody(store, take, author):
    node = author.device("node", "mirror")
    node.append("profile/1", node.profile("mirror"))
    take(*author.root_entries, *node.entries)
    assert name_of(store, author) is None
    assert device_of(store, author, node).role == "mirror"


# --- devices and identities -----------------------------------------------------------------


def test_a_revoked_device_counts_up_to_its_cut(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    laptop.append("profile/1", laptop.profile("before"))
    laptop.append("profile/1", laptop.profile("after"))
    take(*author.root_entries, *laptop.entries, *phone.entries)
    assert name_of(store, author) == "after"
    take(author.revoke(laptop, 2, successor=phone.key, reason="stolen"))
    assert name_of(store, author) == "before"
    row = device_of(store, author, laptop)
    assert (row.state, row.cut_seq, row.reason) == ("revoked", 2, "stolen")
    assert row.successor == phone.key
    assert device_of(store, author, phone).state == "live"


def test_a_device_revoked_from_the_start_speaks_for_nobody(store, take, author):
    laptop = author.device()
    laptop.append("profile/1")
    take(*author.root_entries, *laptop.entries, author.revoke(laptop, 0))
    assert name_of(store, author) is None
    assert device_of(store, author, laptop).state == "revoked"


def test_a_forked_device_is_disputed_from_the_fork_on(store, take, author):
    laptop = author.device()
    laptop.append("profile/1", laptop.profile("before"))
    other = laptop.fork_at(3)
    laptop.append("profile/1", laptop.profile("one"))
    other.append("profile/1", other.profile("two"))
    take(*author.root_entries, *laptop.entries, other.entries[2])
    assert name_of(store, author) == "before"
    assert device_of(store, author, laptop).state == "disputed"


def test_a_rotation_voids_the_devices_it_does_not_name(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    laptop.append("profile/1", laptop.profile("laptop"))
    phone.append("profile/1", phone.profile("phone"), time_ms=START_MS + 10**6)
    author.rotate([(laptop, None)])
    take(*author.root_entries, *laptop.entries, *phone.entries)
    assert name_of(store, author) == "laptop"
    assert device_of(store, author, phone).state == "void"
    assert device_of(store, author, laptop).state == "live"


def test_a_device_that_opened_twice_has_no_row_until_the_root_confirms_one(store, take, author):
    laptop = author.device("one")
    other = laptop.fork_at(1)
    author.delegate(other, "two")
    take(*author.root_entries, *laptop.entries, *other.entries)
    assert device_of(store, author, laptop) is None
    take(author.revoke(laptop, 1))
    assert device_of(store, author, laptop).name == "one"


def test_identities_are_listed_with_what_their_root_says(store, take, author):
    others = [Author(number) for number in range(3)]
    for person in (author, *others):
        take(*person.root_entries)
    found = read(store, lambda reads: list(reads.projections.identities()))
    assert found == sorted(person.identity for person in (author, *others))


def test_the_standing_of_an_identity_not_held_is_missing(store, author):
    assert read(store, lambda reads: reads.projections.standing_of(author.identity)) is None


# --- erasing --------------------------------------------------------------------------------


def test_an_erased_body_goes_and_what_it_said_with_it(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    laptop.append("profile/1", laptop.profile("stays"))
    last = laptop.append("profile/1", laptop.profile("goes"))
    take(*author.root_entries, *laptop.entries, *phone.entries)
    take(phone.erase([last.entry_id]))
    assert name_of(store, author) == "stays"
    assert state_of(store, last) is BodyState.ERASED
    with store.reads() as reads:
        assert reads.feeds.find(last.entry_id).entry.body is None


def test_an_erased_body_that_comes_later_is_dropped_on_arrival(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    last = laptop.append("profile/1")
    take(*author.root_entries, *phone.entries, phone.erase([last.entry_id]))
    take(*laptop.entries)
    assert name_of(store, author) is None
    assert state_of(store, last) is BodyState.ERASED
    take(*laptop.entries)
    assert state_of(store, last) is BodyState.ERASED


def test_what_others_count_by_cannot_be_erased(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    erase = phone.erase([laptop.ids[0], *author.root.ids])
    again = laptop.erase([erase.entry_id])
    take(*author.root_entries, *laptop.entries, *phone.entries)
    for entry in (*author.root_entries, laptop.entries[0], erase, again):
        assert state_of(store, entry) is BodyState.HERE


def test_nobody_erases_what_is_not_his_own(store, take, author):
    laptop = author.device()
    last = laptop.append("profile/1", laptop.profile("mine"))
    stranger = Author("stranger")
    thing = stranger.device()
    thing.erase([last.entry_id])
    take(*stranger.root_entries, *thing.entries, *author.root_entries, *laptop.entries)
    assert name_of(store, author) == "mine"
    assert state_of(store, last) is BodyState.HERE


def test_when_the_erase_no_longer_counts_the_body_is_wanted_again(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    last = laptop.append("profile/1", laptop.profile("mine"))
    take(*author.root_entries, *laptop.entries, *phone.entries, phone.erase([last.entry_id]))
    assert state_of(store, last) is BodyState.ERASED
    take(author.revoke(phone, 1))
    assert state_of(store, last) is BodyState.ABSENT
    take(last)
    assert name_of(store, author) == "mine"


# --- rebuilding and comparing ---------------------------------------------------------------


@pytest.fixture
def filled(store, take, author):
    laptop, phone = author.device(), author.device("phone")
    for _ in range(5):
        laptop.append("profile/1")
        phone.append("nobody-knows/1")
    phone.erase([laptop.ids[2]])
    take(*author.root_entries, *laptop.entries, *phone.entries)
    return store


def test_a_rebuild_from_nothing_gives_the_same_rows(filled):
    before = read(filled, lambda reads: reads.projections.digest())
    with filled.unit_of_work() as uow:
        for table in (profiles, devices, erasures):
            uow._connection.execute(delete(table))
        uow.commit()
    with filled.reads() as reads:
        assert reads.projections.digest() != before
    seen = []
    assert filled.rebuild_projections(seen.append) == 5
    assert seen[-1] == 5
    assert read(filled, lambda reads: reads.projections.digest()) == before


def test_a_rebuild_that_is_not_committed_changes_nothing(filled):
    before = read(filled, lambda reads: reads.projections.digest())
    with filled.unit_of_work() as uow:
        uow.projections.rebuild()
    assert read(filled, lambda reads: reads.projections.digest()) == before


def test_a_rebuild_with_more_rows_than_memory_takes_is_the_same(filled, take, monkeypatch):
    for number in range(7):
        person = Author(number)
        for device in (person.device(), person.device("phone")):
            device.append("profile/1")
            take(*person.root_entries, *device.entries)
    before = read(filled, lambda reads: reads.projections.digest())
    monkeypatch.setattr(fold_table, "FOLDED_ROWS_IN_MEMORY_MAX", 2)
    filled.rebuild_projections()
    assert read(filled, lambda reads: reads.projections.digest()) == before


@pytest.mark.parametrize("table", [profiles, devices, erasures], ids=lambda table: table.name)
def test_a_missing_row_is_a_difference(filled, table):
    with filled.unit_of_work() as uow:
        uow._connection.execute(delete(table))
        assert table.name in uow.projections.difference()


def test_a_changed_row_is_a_difference(filled):
    with filled.unit_of_work() as uow:
        uow._connection.execute(update(profiles).values(name="somebody else"))
        assert "profiles" in uow.projections.difference()


def test_a_row_of_nobody_is_a_difference(filled):
    with filled.unit_of_work() as uow:
        uow._connection.execute(update(erasures).values(identity=bytes(32)))
        uow._connection.execute(
            erasures.insert().values(target=bytes(32), identity=bytes(32), by=bytes(32))
        )
        assert "erasures" in uow.projections.difference()


def test_a_new_version_of_a_projection_is_folded_anew_at_the_next_start(tmp_path, author):
    laptop = author.device()
    laptop.append("profile/1", laptop.profile("mine"))
    store = Store.open(tmp_path)
    with store.unit_of_work() as uow:
        accept_batch(uow, [*author.root_entries, *laptop.entries], 2 * 10**12)
        assert not uow.projections.is_outdated()
        uow._connection.execute(update(profiles).values(name="folded by an older program"))
        uow._connection.execute(
            update(projections).where(projections.c.name == "profiles").values(version=0)
        )
        assert uow.projections.is_outdated()
        uow.commit()
    store.close()
    again = Store.open(tmp_path)
    assert name_of(again, author) == "mine"
    with again.reads() as reads:
        assert not reads.projections.is_outdated()
    again.close()


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda projection: projection.name)
def test_a_fold_is_commutative_and_idempotent(projection, author):
    laptop, phone = author.device(), author.device("phone")
    target = EntryId(bytes(32))
    bodies = {
        "listing/1": lambda feed: feed.listing(feed.key.hex(), listing=target),
        "release/1": lambda feed: feed.release(target),
        "price/1": lambda feed: feed.price(target),
        "renew/1": lambda feed: feed.renewal([target]),
        "follow/1": lambda feed: feed.follow(author.identity),
        "cert/1": lambda feed: feed.certificate(target),
        "cert-revoke/1": lambda feed: feed.cert_revocation(target, text=feed.key.hex()),
        "human-review/1": lambda feed: feed.human_review(target, target, notes=feed.key.hex()),
    }
    for feed in (laptop, phone):
        for kind, body in bodies.items():
            feed.append(kind, body(feed), time_ms=START_MS + 1)
        feed.append("profile/1", time_ms=START_MS + 1)
        feed.erase([target], time_ms=START_MS + 2)
    items = [
        FoldItem(
            entry.entry_id,
            entry.author,
            entry.seq,
            entry.header.time_ms,
            entry.kind,
            author.identity,
            entry.body,
        )
        for entry in (*laptop.entries, *phone.entries)
        if entry.kind in projection.kinds
    ]
    results = []
    for order in (items, items[::-1], [*items, *items], [*items[::-1], *items]):
        rows = {}
        for item in order:
            for key in projection.keys(item):
                rows[key] = projection.fold(key, rows.get(key), item)
        results.append(rows)
    assert all(rows == results[0] for rows in results)
    assert results[0]


def test_a_body_that_does_not_parse_changes_no_row(author):
    for projection in PROJECTIONS:
        for kind in projection.kinds:
            item = FoldItem(
                EntryId(bytes(32)), author.root.key, 2, 0, kind, author.identity, b"\xff"
            )
            assert item.body is None
            assert [projection.fold(key, None, item) for key in projection.keys(item)] in (
                [],
                [None],
            )
