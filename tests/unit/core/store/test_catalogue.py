from __future__ import annotations

import pytest
from sqlalchemy import delete, select, text, update

from hanse.core.market.search import segmenter_version
from hanse.core.model.licence import RIGHTS
from hanse.core.store import cataloguing
from hanse.core.store.engines import Store
from hanse.core.store.search import SEGMENTER
from hanse.core.store.tables import (
    catalogue,
    catalogue_text,
    facet_values,
    listing_facets,
    listings,
    projections,
)
from tests.fakes.author import START_MS, VALID_UNTIL_MS, Author, tier


@pytest.fixture
def author():
    return Author("seller")


@pytest.fixture
def rows(store):
    """Read the catalogue by title, and hold that it is what its rows give."""

    def rows():
        with store.reads() as reads:
            assert reads.projections.difference() is None
            found = reads._connection.execute(select(catalogue).order_by(catalogue.c.n))
            return {row.title: row for row in found}

    return rows


def hits(store, words):
    statement = text("SELECT rowid FROM catalogue_fts WHERE catalogue_fts MATCH :words ORDER BY 1")
    with store.reads() as reads:
        return list(reads._connection.execute(statement, {"words": words}).scalars())


def counts(store, facet):
    with store.reads() as reads:
        found = reads._connection.execute(
            select(facet_values.c.value, facet_values.c.listings).where(
                facet_values.c.facet == facet
            )
        )
        return dict(found.all())


# --- what is in it --------------------------------------------------------------------------


def test_a_listing_is_in_the_catalogue_once_it_has_a_release_and_a_price(take, rows, author):
    laptop = author.device()
    listing = laptop.append("listing/1", laptop.listing("model"))
    take(*author.root_entries, *laptop.entries)
    assert rows() == {}
    take(laptop.append("release/1", laptop.release(listing.entry_id)))
    assert rows() == {}
    take(laptop.append("price/1", laptop.price(listing.entry_id)))
    assert set(rows()) == {"model"}


def test_the_columns_say_what_the_newest_full_release_and_its_price_say(take, rows, author):
    laptop = author.device()
    listing, first, _ = laptop.publish(
        "model", sectors=("finance", "retail"), trials=("open",), concepts=("framework.jax",)
    )
    laptop.append("release/1", laptop.release(listing.entry_id, edition="trial", of=first.entry_id))
    none = dict.fromkeys(RIGHTS, 0)
    tiers = (
        tier("Apache-2.0", **(none | {"commercial": 1})),
        tier("MIT", -250, **(none | {"resale": 2, "clauses": {"resale": 4}})),
    )
    release = laptop.append(
        "release/1",
        laptop.release(
            listing.entry_id, version="2.0.0", size=5 * 10**7, formats=("gguf",), tiers=tiers
        ),
    )
    price = laptop.append(
        "price/1",
        laptop.price(
            listing.entry_id,
            1300,
            "EUR",
            release=release.entry_id,
            params={"terms": [["launch", -100]]},
        ),
    )
    renewed = laptop.append("renew/1", laptop.renewal([listing.entry_id], VALID_UNTIL_MS + 9))
    take(*author.root_entries, *laptop.entries)
    row = rows()["model"]
    assert (row.listing, row.identity) == (listing.entry_id, author.identity)
    assert (row.release, row.price, row.version) == (release.entry_id, price.entry_id, "2.0.0")
    assert (row.price_minor, row.currency, row.exponent) == (950, "EUR", 2)
    assert (row.price_micro, row.price_band, row.mode) == (9_500_000, "eur:lt10", "fixed")
    assert (row.size, row.size_band, row.formats) == (5 * 10**7, "lt100mb", '["gguf"]')
    assert (row.licence, row.rights) == ("Apache-2.0", '["commercial","resale"]')
    assert (row.frameworks, row.trials) == ('["jax"]', '["open"]')
    assert (row.releases, row.trial_editions, row.level) == (3, 1, 0)
    assert (row.score_milli, row.reviews) == (None, None)
    assert row.published_ms == listing.header.time_ms
    assert row.updated_ms == price.header.time_ms < renewed.header.time_ms
    assert row.valid_until_ms == VALID_UNTIL_MS + 9


def test_a_price_on_request_is_in_the_catalogue_without_an_amount(take, rows, author):
    laptop = author.device()
    listing, *_ = laptop.publish("model")
    laptop.append("price/1", laptop.price(listing.entry_id, 500, mode="rfq"))
    take(*author.root_entries, *laptop.entries)
    row = rows()["model"]
    assert (row.price_minor, row.price_micro, row.price_band) == (None, None, "ask")


@pytest.mark.parametrize(
    ("state", "is_in"), [("open", True), ("paused", True), ("withdrawn", False)]
)
def test_what_is_withdrawn_leaves_the_catalogue_and_what_is_paused_does_not(
    take, rows, author, state, is_in
):
    laptop = author.device()
    listing, *_ = laptop.publish("model")
    take(*author.root_entries, *laptop.entries)
    take(laptop.append("listing/1", laptop.listing(listing=listing.entry_id, state=state)))
    assert [row.state for row in rows().values()] == ([state] if is_in else [])


def test_a_trial_edition_alone_is_nothing_to_sell(take, rows, author):
    laptop = author.device()
    listing = laptop.append("listing/1")
    laptop.append("release/1", laptop.release(listing.entry_id, edition="trial"))
    laptop.append("price/1", laptop.price(listing.entry_id))
    take(*author.root_entries, *laptop.entries)
    assert rows() == {}


# --- numbers --------------------------------------------------------------------------------


def test_what_changed_gets_a_greater_number_and_what_is_renewed_keeps_its(take, rows, author):
    laptop = author.device()
    first, *_ = laptop.publish("first")
    second, *_ = laptop.publish("second")
    take(*author.root_entries, *laptop.entries)
    before = {title: row.n for title, row in rows().items()}
    assert before["first"] < before["second"]
    take(laptop.append("renew/1", laptop.renewal([second.entry_id], VALID_UNTIL_MS + 1)))
    assert rows()["second"].n == before["second"]
    assert rows()["second"].valid_until_ms == VALID_UNTIL_MS + 1
    take(laptop.append("price/1", laptop.price(first.entry_id, 1)))
    assert rows()["first"].n > before["second"]


def test_a_number_is_never_used_again(take, rows, author):
    laptop = author.device()
    listing, *_ = laptop.publish("gone")
    take(*author.root_entries, *laptop.entries)
    last = rows()["gone"].n
    take(laptop.append("listing/1", laptop.listing(listing=listing.entry_id, state="withdrawn")))
    assert rows() == {}
    take(*laptop.publish("next"))
    assert rows()["next"].n == last + 1


def test_a_rebuild_changes_no_number(store, take, rows, author):
    laptop = author.device()
    for name in "abc":
        laptop.publish(name)
    take(*author.root_entries, *laptop.entries)
    before = {title: row.n for title, row in rows().items()}
    store.rebuild_projections()
    assert {title: row.n for title, row in rows().items()} == before


def test_listings_that_come_together_are_numbered_by_when_they_changed(take, rows, author):
    laptop, phone = author.device(), author.device("phone")
    late = phone.append("listing/1", phone.listing("late"), time_ms=START_MS + 60_000)
    phone.append("release/1", phone.release(late.entry_id))
    phone.append("price/1", phone.price(late.entry_id))
    laptop.publish("early")
    take(*author.root_entries, *phone.entries, *laptop.entries)
    found = rows()
    assert found["early"].n < found["late"].n


# --- words and facets -----------------------------------------------------------------------


def test_words_follow_the_listing(store, take, rows, author):
    laptop = author.device()
    listing, *_ = laptop.publish("old", summary="brief", tags=("shiny",))
    take(*author.root_entries, *laptop.entries)
    n = rows()["old"].n
    assert hits(store, "old") == hits(store, "brief") == hits(store, "tags : shiny") == [n]
    take(laptop.append("listing/1", laptop.listing("new", listing=listing.entry_id)))
    n = rows()["new"].n
    assert hits(store, "old") == hits(store, "shiny") == []
    assert hits(store, "new") == [n]
    take(laptop.erase([listing.entry_id]))
    assert hits(store, "new") == []


def test_each_value_of_a_facet_counts_a_listing_once(store, take, rows, author):
    laptop = author.device()
    laptop.publish("a", sectors=("finance", "retail"))
    listing, *_ = laptop.publish("b", sectors=("retail", "Retail"), lang="zh-CN")
    take(*author.root_entries, *laptop.entries)
    assert counts(store, "sector") == {"finance": 1, "retail": 2}
    assert counts(store, "lang") == {"en": 1, "zh": 1}
    assert counts(store, "level") == {"0": 2}
    take(laptop.append("listing/1", laptop.listing("b", listing=listing.entry_id, sectors=("x",))))
    assert counts(store, "sector") == {"finance": 1, "retail": 1, "x": 1}
    take(laptop.append("listing/1", laptop.listing(listing=listing.entry_id, state="withdrawn")))
    assert counts(store, "sector") == {"finance": 1, "retail": 1}
    assert rows().keys() == {"a"}


def test_more_listings_than_a_slice_are_followed(store, take, rows, author, monkeypatch):
    monkeypatch.setattr(cataloguing, "LISTINGS_PER_SLICE", 2)
    laptop, phone = author.device(), author.device("phone")
    for number in range(5):
        laptop.publish(f"model {number}")
    take(*author.root_entries, *laptop.entries, *phone.entries)
    assert len(rows()) == 5
    take(author.revoke(laptop, 7, successor=phone.key))
    assert set(rows()) == {"model 0", "model 1"}
    store.rebuild_projections()
    assert counts(store, "state") == {"open": 2}


# --- comparing and making again -------------------------------------------------------------


SPOILED = {
    "a column": update(catalogue).values(title="another"),
    "a text": update(catalogue_text).values(text="another"),
    "no text": delete(catalogue_text),
    "no row": delete(catalogue),
    "a facet": update(listing_facets).where(listing_facets.c.value == 1).values(value=99),
    "a facet's name": update(facet_values).where(facet_values.c.number == 1).values(value="x"),
    "a count": update(facet_values).values(listings=7),
    "a row of nothing": update(catalogue).values(listing=bytes(32)),
    "a text of nothing": catalogue_text.insert().values(
        n=99, title="", tags="", stems_source="", facets="", text=""
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_not_what_the_rows_give_is_a_difference_and_a_rebuild_mends_it(
    store, take, rows, author, name
):
    laptop = author.device()
    laptop.publish("model")
    take(*author.root_entries, *laptop.entries)
    with store.unit_of_work() as uow:
        uow._connection.execute(SPOILED[name])
        assert uow.projections.difference() is not None
        uow.commit()
    store.rebuild_projections()
    assert set(rows()) == {"model"}
    assert len(hits(store, "model")) == 1


def test_a_changed_listing_row_is_a_difference(store, take, author):
    laptop = author.device()
    laptop.publish("model")
    take(*author.root_entries, *laptop.entries)
    with store.unit_of_work() as uow:
        uow._connection.execute(update(listings).values(title="another"))
        assert "listings" in uow.projections.difference()


@pytest.mark.parametrize("name", ["catalogue", "listings"])
def test_a_new_version_makes_the_catalogue_again_at_the_next_start(tmp_path, name):
    store = Store.open(tmp_path)
    with store.unit_of_work() as uow:
        uow._connection.execute(
            update(projections).where(projections.c.name == name).values(version=0)
        )
        uow._connection.execute(facet_values.insert().values(facet="x", value="y", listings=1))
        uow.commit()
    store.close()
    again = Store.open(tmp_path)
    with again.reads() as reads:
        assert reads.projections.difference() is None
    again.close()


def test_another_segmenter_makes_the_index_again_at_the_next_start(store, take, author):
    laptop = author.device()
    laptop.publish("model")
    take(*author.root_entries, *laptop.entries)
    with store.unit_of_work() as uow:
        assert not uow.index.is_outdated()
        uow._connection.execute(
            text("INSERT INTO catalogue_fts (catalogue_fts) VALUES ('delete-all')")
        )
        uow.meta.put(SEGMENTER, "another")
        uow.commit()
    assert hits(store, "model") == []
    store.close()
    again = Store.open(store.path.parent)
    assert len(hits(again, "model")) == 1
    with again.reads() as reads:
        assert reads.meta.get(SEGMENTER) == segmenter_version()
    again.close()
