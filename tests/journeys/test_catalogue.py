"""The buyer's side, with no network: what came in a feed file is found, filtered, counted, kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hanse.core.engine.catalogue import CardMissing, FollowsItself
from hanse.core.engine.engine import Engine
from hanse.core.engine.redraft import UnknownListing
from hanse.core.errors import StoreLocked
from hanse.core.ledger.kinds import Follow1
from hanse.core.market.catalogue_query import (
    CatalogueQuery,
    EmptyRange,
    ForeignCursor,
    MalformedCursor,
    PriceWithoutCurrency,
)
from hanse.core.model.card import Trials
from hanse.core.store.searches import SavedSearchUnknown
from tests.fakes.drafts import full_card
from tests.fakes.people import Person, give
from tests.fakes.shop import (
    AS_IS,
    body_of,
    check_whole,
    free_tiers,
    plain_weights,
    publish,
    said,
    seller,
    tiny_onnx,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.publishing import PublishedView

MICRO = 1_000_000


def fill(engine: Engine, base: Path) -> dict[str, PublishedView]:
    """Publish five models of four sectors in both languages."""
    card = full_card(parity=None, made_from=None, variants=(), trial=Trials())
    model = tiny_onnx(base / "model.onnx")
    made = {
        "images": publish(
            engine, model, preparation=AS_IS, title="图像识别模型", text="用于图像识别的AI模型",
            lang="zh-CN", task="image-classification",
        ),
        "castings": publish(
            engine, plain_weights(base / "castings"), title="Casting inspector",
            text="Finds defects in castings from images.", sectors=("manufacturing",),
            price="250", currency="EUR", tags=("castings",),
        ),
        "blood": publish(
            engine, plain_weights(base / "blood"), title="Blood counter", text="Counts cells.",
            sectors=("medical",), price="0", currency="USD", tiers=free_tiers(), card=card,
        ),
        "stock": publish(
            engine, plain_weights(base / "stock"), title="库存预测", text="预测下周的销量。",
            lang="zh-CN", sectors=("retail",), price="20", currency="CNY",
        ),
        "paused": publish(engine, plain_weights(base / "paused"), title="Paused image model"),
    }  # fmt: skip
    engine.offering.sign(engine.offering.set_state(made["paused"].listing, "paused"))
    return made


class Market:
    """Anna sells; Bo holds her Feed from a file."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.anna, self.bo = seller(base, "anna"), Person.make(base, "bo")
        with self.anna.open() as engine:
            self.made = fill(engine, base)
        give(self.anna, self.bo, base)

    def query(self, **values: object) -> list[str]:
        """Return the titles Bo finds, in order."""
        with self.bo.open(unlocked=False) as engine:
            return titles(engine, **values)


def titles(engine: Engine, **values: object) -> list[str]:
    return [row.title for row in engine.catalogue.search(CatalogueQuery(**values)).rows]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return Market(tmp_path_factory.mktemp("market"))


# --- searching -------------------------------------------------------------------------------


def test_a_second_peer_finds_the_articles_model_by_words_of_both_languages(market: Market) -> None:
    with market.bo.open(unlocked=False) as engine:
        for words in ("图像", "图", "识别", "识别模型", "image", "Images", "image recognition"):
            assert "图像识别模型" in titles(engine, text=words), words
        assert titles(engine, text="大象") == []
        (row,) = engine.catalogue.search(CatalogueQuery(text="图像识别模型")).rows
        page = engine.catalogue.search(CatalogueQuery(text="图像识别模型"))
        assert page.sellers == {market.anna.view.identity: "anna"}
        shown = engine.catalogue.show(row.listing)
        assert (shown.seller.name, shown.is_own) == ("anna", False)
        assert shown.price.amount.amount == 10_000
        check_whole(engine)


def test_one_word_finds_what_is_written_in_the_other_language(market: Market) -> None:
    assert set(market.query(text="image")) == {"图像识别模型", "Casting inspector"}
    assert "库存预测" in market.query(text="retail")
    assert "Casting inspector" in market.query(text="制造")


def test_filters_narrow_and_prices_need_a_currency(market: Market) -> None:
    assert market.query(sectors=("medical",)) == ["Blood counter"]
    assert set(market.query(sectors=("medical", "retail"))) == {"库存预测", "Blood counter"}
    assert market.query(formats=("onnx",)) == ["图像识别模型"]
    assert market.query(tasks=("image-classification",)) == ["图像识别模型"]
    assert market.query(licences=("MIT",)) == ["Blood counter"]
    assert market.query(level_min=1) == []
    usd = {"currency": "USD"}
    assert market.query(**usd, price_min_micro=50 * MICRO) == ["图像识别模型"]
    assert market.query(**usd, price_max_micro=50 * MICRO) == ["Blood counter"]
    assert market.query(**usd, price_min_micro=101 * MICRO) == []
    assert market.query(**usd, sort="price_up") == ["Blood counter", "图像识别模型"]
    assert market.query(currency="EUR", sort="price_down") == ["Casting inspector"]
    with market.bo.open(unlocked=False) as engine:
        for wrong, query in (
            (PriceWithoutCurrency, CatalogueQuery(price_min_micro=1)),
            (PriceWithoutCurrency, CatalogueQuery(sort="price_up")),
            (EmptyRange, CatalogueQuery(currency="USD", price_min_micro=2, price_max_micro=1)),
        ):
            with pytest.raises(wrong) as caught:
                engine.catalogue.search(query)
            said(caught.value)


def test_facets_count_what_a_search_finds(market: Market) -> None:
    with market.bo.open(unlocked=False) as engine:
        counts = engine.catalogue.facets(CatalogueQuery()).counts
        image = engine.catalogue.facets(CatalogueQuery(text="image")).counts

    def of(found: object, facet: str) -> dict[str, int]:
        return {one.value: one.listings for one in found[facet]}

    assert of(counts, "sector") == {"manufacturing": 1, "medical": 1, "retail": 1}
    assert of(counts, "lang") == {"en": 2, "zh": 2}
    assert of(counts, "format")["onnx"] == 1
    assert of(counts, "licence") == {"mit": 1, "licenseref-hanse-commercial-1": 3}
    assert of(image, "sector") == {"manufacturing": 1}
    assert of(image, "task")["image-classification"] == 1


def test_pages_go_on_where_the_last_one_ended(market: Market) -> None:
    query = CatalogueQuery(sort="newest")
    with market.bo.open(unlocked=False) as engine:
        seen, after = [], None
        while True:
            page = engine.catalogue.search(query, after, 3)
            assert page.count == 4
            seen += [row.listing for row in page.rows]
            after = page.next
            if after is None:
                break
        first = engine.catalogue.search(query, None, 3).next
        with pytest.raises(ForeignCursor) as foreign:
            engine.catalogue.search(CatalogueQuery(sort="size_up"), first, 3)
        with pytest.raises(MalformedCursor) as malformed:
            engine.catalogue.search(query, "nonsense!", 3)
    said(foreign.value)
    said(malformed.value)
    assert len(seen) == len(set(seen)) == 4


def test_the_catalogue_can_be_searched_beside_the_program_that_holds_the_folder(
    market: Market,
) -> None:
    bo = market.bo
    with bo.open() as holder:
        with pytest.raises(StoreLocked):
            bo.open()
        with Engine.open(bo.home, clock=bo.clock, chance=bo.chance, read_only=True) as reader:
            before = titles(reader)
            assert before == titles(holder)
            assert reader.catalogue.facets(CatalogueQuery()).counts["sector"]
            holder.catalogue.save("beside", CatalogueQuery(text="image"))
            assert [one.name for one in reader.catalogue.saved()] == ["beside"]
            holder.catalogue.forget("beside")


# --- one Listing -----------------------------------------------------------------------------


def test_what_a_buyer_does_not_hold_yet_is_said_and_not_made_up(market: Market) -> None:
    listing = market.made["images"].listing
    with market.bo.open(unlocked=False) as engine:
        assert engine.catalogue.show(listing).card is None
        for ask in (
            lambda: engine.catalogue.card_text(listing, "en"),
            lambda: engine.catalogue.bom(listing),
        ):
            with pytest.raises(CardMissing) as caught:
                ask()
            said(caught.value)
        for ask in (engine.catalogue.show, engine.catalogue.bom):
            with pytest.raises(UnknownListing) as unknown:
                ask(b"?" * 32)
            said(unknown.value)


def test_a_listing_leaves_as_a_model_card_and_as_a_bill_of_materials(market: Market) -> None:
    listing = market.made["images"].listing
    with market.anna.open(unlocked=False) as engine:
        english = engine.catalogue.card_text(listing, "en")
        chinese = engine.catalogue.card_text(listing, "zh_CN")
        bom = json.loads(engine.catalogue.bom(listing))
    assert english.startswith("---\n")
    assert "# 图像识别模型" in english
    assert chinese != english
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert bom["metadata"]["component"]["name"] == "图像识别模型"


# --- what a person keeps ---------------------------------------------------------------------


def test_a_saved_search_counts_what_came_since_its_person_looked(tmp_path: Path) -> None:
    anna, bo = seller(tmp_path, "anna"), Person.make(tmp_path, "bo")
    with anna.open() as engine:
        publish(engine, plain_weights(tmp_path / "first"), title="Image one")
    give(anna, bo, tmp_path)
    with bo.open() as engine:
        engine.catalogue.save("images", CatalogueQuery(text="image"))
        engine.catalogue.save("medical", CatalogueQuery(sectors=("medical",)))
        assert [(one.name, one.new) for one in engine.catalogue.saved()] == [
            ("images", 0), ("medical", 0),
        ]  # fmt: skip
    with anna.open() as engine:
        publish(engine, plain_weights(tmp_path / "new"), title="图像分割", lang="zh-CN")
        publish(engine, plain_weights(tmp_path / "text"), title="Translator")
    give(anna, bo, tmp_path)
    with bo.open() as engine:
        assert {one.name: one.new for one in engine.catalogue.saved()} == {
            "images": 1, "medical": 0,
        }  # fmt: skip
        assert engine.catalogue.look("images") == CatalogueQuery(text="image")
        assert all(one.new == 0 for one in engine.catalogue.saved())
        engine.catalogue.forget("medical")
        assert [one.name for one in engine.catalogue.saved()] == ["images"]
        with pytest.raises(SavedSearchUnknown) as caught:
            engine.catalogue.look("medical")
        said(caught.value)
        engine.ledger.rebuild()
        assert [one.name for one in engine.catalogue.saved()] == ["images"]
        check_whole(engine)


def test_following_is_signed_and_filters_the_catalogue(tmp_path: Path) -> None:
    base = tmp_path
    anna, cai, bo = seller(base, "anna"), seller(base, "cai"), Person.make(base, "bo")
    for person in (anna, cai):
        with person.open() as engine:
            publish(
                engine, plain_weights(base / f"of {person.name}"), title=f"Model of {person.name}"
            )
        give(person, bo, base)
    with bo.open() as engine:
        me = bo.view.identity
        assert titles(engine, followed_by=me) == []
        entry = engine.catalogue.follow(anna.view.identity, 1)
        body = body_of(engine, entry.entry_id)
        assert isinstance(body, Follow1)
        assert (body.identity, body.weight) == (anna.view.identity, 1)
        assert titles(engine, followed_by=me) == ["Model of anna"]
        engine.catalogue.follow(cai.view.identity, 3)
        assert sorted((one.name, weight) for one, weight in engine.catalogue.followed()) == [
            ("anna", 1),
            ("cai", 3),
        ]
        engine.catalogue.follow(anna.view.identity, 0)
        assert titles(engine, followed_by=me) == ["Model of cai"]
        assert [one.name for one, _ in engine.catalogue.followed()] == ["cai"]
        with pytest.raises(FollowsItself) as caught:
            engine.catalogue.follow(bo.view.identity, 1)
        said(caught.value)
        assert titles(engine, identity=anna.view.identity) == ["Model of anna"]
        check_whole(engine)


def test_whatever_order_the_feeds_arrive_in_the_catalogue_is_the_same(
    market: Market, tmp_path: Path
) -> None:
    cai = seller(tmp_path, "cai")
    with cai.open() as engine:
        publish(engine, plain_weights(tmp_path / "c"), title="Image model of Cai")
    found = []
    for number, givers in enumerate(((market.anna, cai), (cai, market.anna))):
        taker = Person.make(tmp_path / str(number), "taker")
        for giver in givers:
            give(giver, taker, tmp_path)
        with taker.open() as engine:
            check_whole(engine)
            found.append(titles(engine, sort="newest"))
            found[-1].sort()
    assert found[0] == found[1]
    assert len(found[0]) == 5
