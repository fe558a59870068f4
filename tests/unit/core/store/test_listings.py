from __future__ import annotations

import pytest

from hanse.core.ledger.codec import encode
from hanse.core.ledger.kinds import Seal
from hanse.core.model.ids import EntryId
from hanse.core.model.money import Money
from hanse.core.store import listings as listings_module
from tests.fakes.author import START_MS, VALID_UNTIL_MS, Author


@pytest.fixture
def author():
    return Author("seller")


@pytest.fixture
def read(store):
    def read(question):
        with store.reads() as reads:
            assert reads.projections.difference() is None
            return question(reads)

    return read


def listing_of(read, entry):
    return read(lambda reads: reads.listings.get(entry.entry_id))


# --- Listings -------------------------------------------------------------------------------


def test_every_field_of_a_listing_comes_back(take, read, author):
    laptop = author.device()
    entry = laptop.append(
        "listing/1",
        laptop.listing(
            "图像识别模型",
            summary="short",
            text="long\ntext",
            lang="zh-CN",
            task="ocr",
            sectors=("retail", "finance"),
            tags=("字", "text"),
            concepts=("framework.keras",),
            trials=("sealed",),
            prefs={"weights": {"price": 3}, "seats_min": 2},
            capacity=7,
            mediators=(bytes([1]) * 32, bytes([2]) * 32),
            state="paused",
            media=(bytes([3]) * 32,),
        ),
    )
    take(*author.root_entries, *laptop.entries)
    row = listing_of(read, entry)
    assert (row.listing, row.entry, row.identity) == (entry.entry_id,) * 2 + (author.identity,)
    assert (row.title, row.summary, row.text) == ("图像识别模型", "short", "long\ntext")
    assert (row.lang, row.task, row.state) == ("zh-CN", "ocr", "paused")
    assert (row.sectors, row.tags) == (("retail", "finance"), ("字", "text"))
    assert (row.concepts, row.trials) == (("framework.keras",), ("sealed",))
    assert row.prefs == {"weights": {"price": 3}, "seats_min": 2}
    assert (row.capacity, row.media) == (7, (bytes([3]) * 32,))
    assert row.mediators == (bytes([1]) * 32, bytes([2]) * 32)
    assert (row.created_ms, row.time_ms) == (entry.header.time_ms,) * 2
    assert (row.first_author, row.valid_until_ms) == (laptop.key, VALID_UNTIL_MS)
    assert (row.releases, row.prices, row.newest_release) == ((), (), None)


def test_another_device_of_the_same_identity_amends_a_listing(take, read, author):
    laptop, phone = author.device(), author.device("phone")
    first, _, _ = laptop.publish("first")
    later = phone.append(
        "listing/1", phone.listing("later", listing=first.entry_id), time_ms=START_MS + 60_000
    )
    take(*author.root_entries, *phone.entries)
    assert listing_of(read, first) is None  # its first entry is not here yet
    take(*laptop.entries)
    row = listing_of(read, first)
    assert (row.title, row.entry) == ("later", later.entry_id)
    assert (row.first_author, row.created_ms) == (laptop.key, first.header.time_ms)
    assert read(lambda reads: reads.listings.get(later.entry_id)) is None


def test_an_amendment_older_than_the_first_entry_changes_no_word(take, read, author):
    laptop, phone = author.device(), author.device("phone")
    first = laptop.append("listing/1", laptop.listing("first"), time_ms=START_MS + 60_000)
    phone.append("listing/1", phone.listing("by a slow clock", listing=first.entry_id))
    take(*author.root_entries, *laptop.entries, *phone.entries)
    assert listing_of(read, first).title == "first"


def test_nobody_writes_into_the_listing_of_somebody_else(take, read, author):
    laptop, stranger = author.device(), Author("stranger")
    thing = stranger.device()
    mine, release, _ = laptop.publish("mine")
    thing.append("listing/1", thing.listing("not yours", listing=mine.entry_id))
    forged = thing.append("release/1", thing.release(mine.entry_id))
    thing.append("price/1", thing.price(mine.entry_id, 1, release=release.entry_id))
    thing.append("renew/1", thing.renewal([mine.entry_id], 1))
    take(*stranger.root_entries, *thing.entries)
    assert listing_of(read, mine) is None
    take(*author.root_entries, *laptop.entries)
    row = listing_of(read, mine)
    assert (row.title, row.identity, row.valid_until_ms) == (
        "mine",
        author.identity,
        VALID_UNTIL_MS,
    )
    assert [it.release for it in row.releases] == [release.entry_id]
    assert [it.amount.amount for it in row.prices] == [2500]
    assert read(lambda reads: reads.listings.release(forged.entry_id)).identity == stranger.identity


def test_the_listings_of_an_identity_come_in_pages_the_newest_first(take, read, author):
    laptop = author.device()
    first, *rest = [laptop.append("listing/1", laptop.listing(name)) for name in "abcde"]
    laptop.append("listing/1", laptop.listing("a again", listing=first.entry_id))
    take(*author.root_entries, *laptop.entries)

    def pages(reads):
        found, before = [], None
        while page := reads.listings.of_identity(author.identity, before, limit=2):
            found.append([row.title for row in page])
            before = (page[-1].time_ms, page[-1].listing)
        return found

    assert read(pages) == [["a again", "e"], ["d", "c"], ["b"]]
    assert len(rest) == 4


# --- Releases -------------------------------------------------------------------------------


def test_every_field_of_a_release_comes_back(take, read, author):
    laptop = author.device()
    listing = laptop.append("listing/1")
    artifact, key = bytes([4]) * 32, bytes([5]) * 32
    seal = Seal(
        v=1,
        epoch=3,
        salt=key,
        ck_commit=key,
        seal_root=key,
        scope="release",
        manifests=(artifact, key),
    )
    tiers = ({"name": "team", "terms": {"seats": 5}, "price": 9}, {"name": "one"})
    before = laptop.append("release/1", laptop.release(listing.entry_id))
    entry = laptop.append(
        "release/1",
        laptop.release(
            listing.entry_id,
            version="2.0.0-β",
            artifact=artifact,
            size=12345,
            files=3,
            formats=("onnx", "skops"),
            seal=seal,
            tiers=tiers,
            base=(bytes([6]) * 32, bytes([7]) * 32),
            notes="faster\nsmaller",
            supersedes=before.entry_id,
        ),
    )
    take(*author.root_entries, *laptop.entries)
    row = read(lambda reads: reads.listings.release(entry.entry_id))
    assert (row.release, row.listing) == (entry.entry_id, listing.entry_id)
    assert (row.version, row.artifact, row.size, row.files) == ("2.0.0-β", artifact, 12345, 3)
    assert (row.formats, row.edition, row.of) == (("onnx", "skops"), "full", None)
    assert (row.seal, row.tiers) == (seal, tiers)
    assert (row.base, row.notes) == ((bytes([6]) * 32, bytes([7]) * 32), "faster\nsmaller")
    assert (row.supersedes, row.time_ms) == (before.entry_id, entry.header.time_ms)


def test_the_newest_full_release_is_found_across_devices(take, read, author):
    laptop, phone = author.device(), author.device("phone")
    listing = laptop.append("listing/1")
    new = phone.append(
        "release/1", phone.release(listing.entry_id, version="2"), time_ms=START_MS + 60_000
    )
    laptop.append("release/1", laptop.release(listing.entry_id, version="1"))
    phone.append(
        "release/1", phone.release(listing.entry_id, edition="trial", of=new.entry_id, version="t")
    )
    take(*author.root_entries, *laptop.entries, *phone.entries)
    row = listing_of(read, listing)
    assert [it.version for it in row.releases] == ["1", "2", "t"]
    assert row.newest_release.version == "2"
    found = read(lambda reads: reads.listings.newest_release(listing.entry_id))
    assert found == row.newest_release
    assert read(lambda reads: reads.listings.newest_release(EntryId(bytes(32)))) is None


def test_older_releases_come_in_pages(take, read, author, monkeypatch):
    monkeypatch.setattr(listings_module, "RELEASES_PER_PAGE", 2)
    laptop = author.device()
    listing = laptop.append("listing/1")
    for version in "12345":
        laptop.append("release/1", laptop.release(listing.entry_id, version=version))
    take(*author.root_entries, *laptop.entries)
    row = listing_of(read, listing)
    assert [it.version for it in row.releases] == ["4", "5"]
    page = read(lambda reads: reads.listings.releases_before(row.releases[0], limit=2))
    assert [it.version for it in page] == ["3", "2"]
    page = read(lambda reads: reads.listings.releases_before(page[-1], limit=2))
    assert [it.version for it in page] == ["1"]


def test_who_gives_an_artifact_is_told_the_earliest_first(take, read, author):
    artifact = bytes([9]) * 32
    other = Author("other")
    feeds = []
    for person, time_ms in ((author, START_MS + 2000), (other, START_MS + 1000)):
        laptop = person.device()
        listing = laptop.append("listing/1", time_ms=time_ms)
        laptop.append("release/1", laptop.release(listing.entry_id, artifact=artifact))
        laptop.append("release/1", laptop.release(EntryId(bytes(32)), artifact=artifact))
        take(*person.root_entries, *laptop.entries)
        feeds.append(laptop)
    found = read(lambda reads: reads.listings.by_artifact(artifact))
    assert [it.identity for it in found] == [other.identity, author.identity]
    assert [it.release for it in found] == [feeds[1].ids[2], feeds[0].ids[2]]
    first = found[0]
    after = read(lambda reads: reads.listings.by_artifact(artifact, (first.time_ms, first.release)))
    assert after == found[1:]
    assert read(lambda reads: reads.listings.by_artifact(bytes(32))) == []


# --- prices and renewals --------------------------------------------------------------------


def test_the_price_of_a_release_comes_before_that_of_its_listing(take, read, author):
    laptop = author.device()
    listing, release, _ = laptop.publish()
    params = {"terms": [{"name": "launch", "minor": -1000}]}
    own = laptop.append(
        "price/1",
        laptop.price(
            listing.entry_id,
            700,
            release=release.entry_id,
            params=params,
            floor=5,
            ceil=900,
            tick=5,
            anchors=(bytes([1]) * 32,),
        ),
    )
    second = laptop.append("release/1", laptop.release(listing.entry_id))
    take(*author.root_entries, *laptop.entries)
    row = listing_of(read, listing)
    price = row.price_of(release.entry_id)
    assert (price.price, price.release, price.mode) == (own.entry_id, release.entry_id, "fixed")
    assert (price.amount, price.params) == (Money(700, "USD", 2), params)
    assert (price.floor, price.ceil, price.tick) == (5, 900, 5)
    assert (price.anchors, price.time_ms) == ((bytes([1]) * 32,), own.header.time_ms)
    assert row.price_of(second.entry_id).amount == Money(2500, "USD", 2)
    assert row.price_of(second.entry_id).release is None


def test_the_newest_price_counts_whichever_comes_last(take, read, author):
    laptop, phone = author.device(), author.device("phone")
    listing, *_ = laptop.publish()
    phone.append("price/1", phone.price(listing.entry_id, 1), time_ms=START_MS + 60_000)
    take(*author.root_entries, *phone.entries)
    take(*laptop.entries)
    assert [it.amount.amount for it in listing_of(read, listing).prices] == [1]


def test_a_renewal_newer_than_the_newest_entry_says_how_long(take, read, author):
    laptop = author.device()
    listing, *_ = laptop.publish()
    laptop.append("renew/1", laptop.renewal([listing.entry_id], VALID_UNTIL_MS + 5))
    take(*author.root_entries, *laptop.entries)
    assert listing_of(read, listing).valid_until_ms == VALID_UNTIL_MS + 5
    amended = laptop.listing("again", listing=listing.entry_id, valid_until=VALID_UNTIL_MS + 1)
    take(laptop.append("listing/1", amended))
    assert listing_of(read, listing).valid_until_ms == VALID_UNTIL_MS + 1


# --- what no longer counts ------------------------------------------------------------------


def test_a_listing_whose_first_entry_was_erased_is_no_listing(take, read, author):
    laptop = author.device()
    listing, *_ = laptop.publish()
    laptop.append("listing/1", laptop.listing("amended", listing=listing.entry_id))
    take(*author.root_entries, *laptop.entries)
    assert listing_of(read, listing).title == "amended"
    take(laptop.erase([listing.entry_id]))
    assert listing_of(read, listing) is None


def test_what_a_revoked_device_wrote_after_its_cut_is_gone(take, read, author):
    laptop, phone = author.device(), author.device("phone")
    listing, *_ = laptop.publish("before")
    laptop.append("listing/1", laptop.listing("after", listing=listing.entry_id))
    take(*author.root_entries, *laptop.entries, *phone.entries)
    assert listing_of(read, listing).title == "after"
    take(author.revoke(laptop, 4, successor=phone.key))
    assert listing_of(read, listing).title == "before"


# --- follows --------------------------------------------------------------------------------


def test_the_newest_follow_of_each_counts_and_taking_back_ends_it(take, read, author):
    laptop, phone = author.device(), author.device("phone")
    others = [Author(f"other {number}").identity for number in range(3)]
    for other in others:
        laptop.append("follow/1", laptop.follow(other))
    phone.append("follow/1", phone.follow(others[0], 0), time_ms=START_MS + 60_000)
    phone.append("follow/1", phone.follow(others[1], 3))
    take(*author.root_entries, *phone.entries, *laptop.entries)
    found = read(lambda reads: list(reads.projections.follows_of(author.identity)))
    expected = {others[1]: 3, others[2]: 1}
    assert [(it.target, it.weight) for it in found] == sorted(expected.items())


def test_an_open_map_of_an_author_comes_back_as_it_was_signed(take, read, author):
    laptop = author.device()
    odd = {"b": [1, None, {"c": b"\x00"}], "a": "x"}
    entry = laptop.append("listing/1", laptop.listing(prefs=odd))
    take(*author.root_entries, *laptop.entries)
    assert encode(listing_of(read, entry).prefs) == encode(odd)
