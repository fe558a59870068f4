from __future__ import annotations

import itertools
import random
from collections import Counter
from contextlib import closing

import msgspec
import pytest
from sqlalchemy import event, insert, select, text

from hanse.core.market import search as market_search
from hanse.core.market.catalogue_query import (
    SORTS,
    BadQuery,
    CatalogueQuery,
    Cursor,
    EmptyRange,
    ForeignCursor,
    MalformedCursor,
    PageOutOfRange,
    PriceWithoutCurrency,
)
from hanse.core.market.facets import FACETS
from hanse.core.market.search import SearchDoc
from hanse.core.store import catalogue_search
from hanse.core.store.engines import Store
from hanse.core.store.search import SEGMENTER, Fts5Index
from hanse.core.store.tables import catalogue, follows
from tests.fakes.author import START_MS
from tests.fakes.catalogue import ANNA, BO, CAI, YEAR_MS, Shelf, Shown

NOW_MS = START_MS + 1000
DOC = SearchDoc("缺陷检测 model", "steel, 钢", "Finds scratches.", "sector.manufacturing", "zfa")
OTHER = SearchDoc("Translator", "", "用于翻译", "", "zfb")


def anything(_):
    return True


def nothing(_):
    return False


@pytest.fixture
def put(store):
    """Put Listings into the catalogue; return their numbers."""
    held = []

    def put(*listings):
        held.extend(put_into(store, len(held), listings))
        return held[-len(listings) :]

    return put


def put_into(store, newest_n, listings):
    with store.unit_of_work() as uow:
        found = Shelf(uow._connection, newest_n).put(*listings)
        uow.commit()
    return found


@pytest.fixture
def ask(store):
    """Ask for one page and return its numbers."""

    def ask(now_ms=NOW_MS, **query):
        return [row.n for row in page(store, CatalogueQuery(**query), now_ms=now_ms).rows]

    return ask


def page(store, query, after=None, limit=50, *, now_ms=NOW_MS):
    with store.reads() as reads:
        return reads.search.query(query, after, limit, now_ms=now_ms)


def pages(store, query, limit):
    """Return the numbers of every page."""
    found, place = [], None
    while True:
        hits = page(store, query, place, limit)
        found.append([row.n for row in hits.rows])
        place = hits.next
        if place is None:
            return found


def follow(store, who, *sellers):
    row = {"identity": who, "time_ms": 1, "author": who, "seq": 1, "weight": 1}
    with store.unit_of_work() as uow:
        uow._connection.execute(insert(follows), [{**row, "target": one} for one in sellers])
        uow.commit()


def terms(connection):
    """Return every word the index still knows."""
    connection.execute(
        text(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms"
            " USING fts5vocab(main, catalogue_fts, row)"
        )
    )
    return connection.execute(text("SELECT term, doc FROM temp.terms")).all()


def matches(connection, words):
    statement = text("SELECT rowid FROM catalogue_fts WHERE catalogue_fts MATCH :words ORDER BY 1")
    return list(connection.execute(statement, {"words": words}).scalars())


# --- the index ---------------------------------------------------------------------------------


def test_what_is_taken_out_leaves_no_word_behind(store):
    with store.unit_of_work() as uow:
        index = Fts5Index(uow._connection)
        index.put(1, DOC, None)
        index.put(2, OTHER, None)
        assert matches(uow._connection, "scratches") == [1]
        index.remove(1, DOC)
        index.remove(2, OTHER)
        assert terms(uow._connection) == []


def test_a_changed_document_is_found_by_its_new_words_alone(store):
    with store.unit_of_work() as uow:
        index = Fts5Index(uow._connection)
        index.put(1, DOC, None)
        index.put(1, OTHER, DOC)
        assert matches(uow._connection, "scratches") == []
        assert matches(uow._connection, "翻译") == [1]
        index.remove(1, OTHER)
        assert terms(uow._connection) == []


def test_what_is_not_committed_is_not_found(store):
    with store.unit_of_work() as uow:
        Fts5Index(uow._connection).put(1, DOC, None)
    with store.reads() as reads:
        assert matches(reads._connection, "scratches") == []


def test_an_index_of_another_segmenter_is_outdated_until_it_is_made_again(store, monkeypatch):
    with store.unit_of_work() as uow:
        index = Fts5Index(uow._connection)
        index.rebuild([(1, DOC)])
        assert not index.is_outdated()
        monkeypatch.setattr(market_search, "_SEGMENTER", 2)
        market_search.segmenter_version.cache_clear()
        try:
            assert index.is_outdated()
            index.rebuild([(1, DOC), (2, OTHER)])
            assert not index.is_outdated()
            assert uow.meta.get(SEGMENTER).startswith("2-")
        finally:
            monkeypatch.undo()
            market_search.segmenter_version.cache_clear()
        assert index.is_outdated()
        assert matches(uow._connection, "scratches OR 翻译") == [1, 2]


def test_a_rebuild_takes_more_rows_than_fit_in_one_slice(store):
    with store.unit_of_work() as uow:
        index = Fts5Index(uow._connection)
        index.put(7, DOC, None)
        index.rebuild((n, OTHER) for n in range(1, 2501))
        assert len(matches(uow._connection, "翻译")) == 2500
        assert matches(uow._connection, "scratches") == []


# --- words -------------------------------------------------------------------------------------


def test_the_articles_listing_is_found_in_both_languages(put, ask):
    (n,) = put(
        Shown("图像识别模型", text="用于图像识别的AI模型", task="image-classification", lang="zh")
    )
    for words in ("图像", "image", "Image recognition", "识别", "模型", "图", "ai", "图像分类"):
        assert ask(text=words) == [n], words


def test_the_same_thing_is_found_in_the_other_language(put, ask):
    chinese, english, _ = put(
        Shown("钢板表面缺陷检测"), Shown("Surface defect detection for steel"), Shown("Translator")
    )
    assert set(ask(text="缺陷检测")) == {chinese, english}
    assert set(ask(text="surface defect detection")) == {chinese, english}
    assert set(ask(text="defects")) == {chinese, english}
    assert ask(text="钢板") == [chinese]


def test_the_exact_words_between_quotes_are_found_alone(put, ask):
    _, english = put(Shown("钢板表面缺陷检测"), Shown("Surface defect detection"))
    assert ask(text='"defect detection"') == [english]
    assert ask(text='"detection defect"') == []


def test_accents_and_width_make_no_difference(put, ask):
    (n,) = put(Shown("Café für Zürich"))
    for words in ("cafe", "CAFÉ", "zurich", "Zu\u0308rich"):
        assert ask(text=words) == [n], words


def test_words_of_two_characters_are_not_found_across_punctuation(put, ask):
    put(Shown("天地，玄黄", tags=("日", "月"), text="宇 宙\n洪。荒"))
    for words in ("地玄", "日月", "宇宙", "洪荒"):
        assert ask(text=words) == []
    assert len(ask(text="玄黄")) == 1


def test_titles_count_more_than_tags_and_tags_more_than_text(put, ask):
    in_text, in_tags, in_title = put(
        Shown("One", tags=("two",), text="zebra"),
        Shown("One", tags=("zebra",), text="two"),
        Shown("Zebra", tags=("one",), text="two"),
    )
    assert ask(text="zebra") == [in_title, in_tags, in_text]


def test_levels_and_scores_lift_equal_hits(put, ask):
    plain, rated, levelled = put(
        Shown("zebra"), Shown("zebra", score_milli=9000), Shown("zebra", level=3)
    )
    (newest,) = put(Shown("zebra"))
    assert ask(text="zebra") == [levelled, rated, newest, plain]


def test_nothing_to_look_for_is_the_whole_catalogue_newest_first(put, ask):
    old, new = put(Shown(published_ms=START_MS), Shown(published_ms=START_MS + 1))
    for words in ("", "  ", "。", '"'):
        assert ask(text=words) == [new, old]


def test_a_word_that_is_typed_is_found_by_its_beginning(put, ask):
    old, new = put(Shown("zebra"), Shown("zeal"))
    assert ask(text="ze") == []
    assert ask(text="ze", is_typing=True) == [new, old]
    assert ask(text="zeb", is_typing=True) == [old]


# --- filters -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A store whose seven Listings differ in everything one can filter by; only to read."""
    listings = (
        Shown("alpha", sectors=("finance",), task="tabular-classification", price_minor=0),
        Shown("beta", sectors=("finance", "retail"), formats=("onnx", "gguf"), price_minor=999),
        Shown("gamma", sectors=("medical",), formats=("gguf",), price_minor=1000, seller=BO),
        Shown("delta", licence="Apache-2.0", rights=("internal", "commercial"), price_minor=1001),
        Shown("epsilon", trials=("open",), price_minor=None, concepts=("framework.sklearn",)),
        Shown("zeta", currency="EUR", size=10, level=2, score_milli=7500, seller=CAI),
        Shown(
            "eta",
            currency="EUR",
            size=10**10,
            level=3,
            score_milli=8000,
            lang="zh-CN",
            contradicted=True,
        ),
    )
    with closing(Store.open(tmp_path_factory.mktemp("stocked"))) as store:
        put_into(store, 0, listings)
        yield store


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"sectors": ("finance",)}, {1, 2}),
        ({"sectors": ("medical", "retail")}, {2, 3}),
        ({"sectors": ("no-such",)}, set()),
        ({"sectors": ("finance",), "formats": ("gguf",)}, {2}),
        ({"tasks": ("tabular-classification",)}, {1}),
        ({"formats": ("gguf",)}, {2, 3}),
        ({"frameworks": ("sklearn",)}, {5}),
        ({"licences": ("apache-2.0",)}, {4}),
        ({"rights": ("commercial",)}, {1, 2, 3, 4, 5, 6, 7}),
        ({"rights": ("commercial", "internal")}, {4}),
        ({"trials": ("open", "sealed")}, {5}),
        ({"langs": ("zh",)}, {7}),
        ({"currency": "USD"}, {1, 2, 3, 4, 5}),
        ({"currency": "usd"}, {1, 2, 3, 4, 5}),
        ({"currency": "USD", "price_max_micro": 0}, {1}),
        ({"currency": "USD", "price_min_micro": 9_990_000}, {2, 3, 4}),
        ({"currency": "USD", "price_min_micro": 10_000_000}, {3, 4}),
        ({"currency": "USD", "price_max_micro": 9_999_999}, {1, 2}),
        ({"currency": "USD", "price_min_micro": 1, "price_max_micro": 10_000_000}, {2, 3}),
        ({"currency": "USD", "price_min_micro": 0}, {1, 2, 3, 4}),
        ({"size_min": 1_000_001}, {7}),
        ({"size_max": 10}, {6}),
        ({"size_max": 10**12}, {1, 2, 3, 4, 5, 6, 7}),
        ({"size_min": 11, "size_max": 10**9}, {1, 2, 3, 4, 5}),
        ({"currency": "USD", "price_max_micro": 10**12}, {1, 2, 3, 4}),
        ({"size_min": 10, "size_max": 10**6}, {1, 2, 3, 4, 5, 6}),
        ({"level_min": 1}, {6, 7}),
        ({"level_min": 3}, {7}),
        ({"level_min": 4}, set()),
        ({"level_min": 1, "currency": "EUR", "langs": ("en",)}, {6}),
        ({"level_min": 3, "currency": "EUR", "langs": ("en", "zh")}, {7}),
        ({"level_min": 2, "text": "zeta"}, {6}),
        ({"level_min": 3, "text": "zeta"}, set()),
        ({"contradicted": True}, {7}),
        ({"contradicted": False}, {1, 2, 3, 4, 5, 6}),
        ({"contradicted": True, "text": "zeta"}, set()),
        ({"contradicted": False, "text": "zeta", "level_min": 1}, {6}),
        ({"score_min_milli": 7500}, {6, 7}),
        ({"score_min_milli": 7501}, {7}),
        ({"identity": BO}, {3}),
        ({"text": "gamma", "identity": ANNA}, set()),
        ({"text": "beta", "sectors": ("retail",), "currency": "USD"}, {2}),
    ],
)
def test_a_filter_leaves_what_meets_it(stocked, filters, found):
    for sort in ("relevance", "size_up", "price_up"):
        if sort == "price_up" and "currency" not in filters:
            continue
        hits = page(stocked, CatalogueQuery(**filters, sort=sort))
        assert {row.n for row in hits.rows} == found
        assert hits.count == len(found)


def test_a_price_below_a_millionth_is_not_free_but_found(put, ask):
    (n,) = put(Shown("satoshi", currency="BTC", exponent=8, price_minor=1))
    assert ask(currency="BTC", price_max_micro=0) == [n]
    assert ask(currency="BTC", price_min_micro=1) == []


def test_sellers_somebody_follows_are_the_only_ones_shown(store, put, ask):
    put(Shown("alpha"), Shown("beta"), Shown("gamma", seller=BO), Shown("delta", seller=CAI))
    assert ask(followed_by=ANNA) == []
    with store.unit_of_work() as uow:
        row = {"identity": ANNA, "time_ms": 1, "author": ANNA, "seq": 1}
        uow._connection.execute(
            insert(follows),
            [
                {**row, "target": BO, "weight": 1},
                {**row, "target": CAI, "weight": 0},
                {**row, "identity": CAI, "target": ANNA, "weight": 3},
            ],
        )
        uow.commit()
    assert ask(followed_by=ANNA) == [3]
    assert ask(followed_by=ANNA, text="beta") == []
    assert set(ask(followed_by=CAI)) == {1, 2}


def test_five_hundred_followed_sellers_are_one_query(store, put, ask):
    sellers = [n.to_bytes(32, "big") for n in range(600)]
    put(Shown(seller=sellers[0]), Shown(seller=sellers[550]))
    follow(store, ANNA, *sellers)
    assert ask(followed_by=ANNA) == [1]


def test_what_is_paused_or_expired_is_shown_only_when_asked_for(put, ask):
    put(Shown("a"), Shown("a", state="paused"), Shown("a", valid_until_ms=NOW_MS))
    for words in ("", "a"):
        assert ask(text=words) == [1]
        assert set(ask(text=words, with_paused=True)) == {1, 2}
        assert set(ask(text=words, with_expired=True)) == {1, 3}
        assert set(ask(text=words, with_paused=True, with_expired=True)) == {1, 2, 3}
        assert set(ask(text=words, now_ms=NOW_MS - 1)) == {1, 3}
        assert ask(text=words, now_ms=START_MS + 2 * YEAR_MS) == []


# --- orders and pages --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store of many Listings that are often level in what they are sorted by; only to read."""
    chance = random.Random(4)
    listings = [
        Shown(
            "zebra" if chance.random() < 0.5 else "lion",
            text="" if chance.random() < 0.5 else "zebra",
            price_minor=None if chance.random() < 0.2 else chance.randrange(5),
            currency=chance.choice(("USD", "USD", "EUR")),
            size=chance.randrange(1, 6),
            level=chance.randrange(4),
            score_milli=None if chance.random() < 0.5 else chance.randrange(4),
            published_ms=START_MS + chance.randrange(5),
            state="paused" if chance.random() < 0.1 else "open",
            formats=(chance.choice(("onnx", "gguf", "tflite")),),
            seller=chance.choice((ANNA, BO, CAI)),
            contradicted=n % 3 == 0,
        )
        for n in range(120)
    ]
    with closing(Store.open(tmp_path_factory.mktemp("many"))) as store:
        put_into(store, 0, listings)
        follow(store, ANNA, BO, CAI)
        yield store


def in_order(store, sort, *, only=anything):
    """Sort all rows as a person would, without an index."""
    with store.reads() as reads:
        rows = [row for row in reads._connection.execute(select(catalogue)) if row.state == "open"]
    rows = [row for row in rows if only(row)]
    column, falls = {
        "newest": ("published_ms", True),
        "price_up": ("price_micro", False),
        "price_down": ("price_micro", True),
        "size_up": ("size", False),
        "size_down": ("size", True),
        "level": ("level", True),
        "rating": ("score_milli", True),
    }[sort]
    have = [row for row in rows if getattr(row, column) is not None]
    have.sort(key=lambda row: (getattr(row, column), row.n), reverse=falls)
    lack = sorted((row.n for row in rows if getattr(row, column) is None), reverse=True)
    return [row.n for row in have] + lack


# Filters without words, and rows that meet them; also with words, which changes how they are asked.
FILTERED = {
    "level": ({"level_min": 2}, lambda row: row.level >= 2),
    "facet": ({"formats": ("gguf", "ONNX")}, lambda row: row.formats in {'["gguf"]', '["onnx"]'}),
    "seller": ({"identity": BO}, lambda row: row.identity == BO),
    "contradicted": ({"contradicted": True}, lambda row: row.contradicted),
    "not contradicted": ({"contradicted": False}, lambda row: not row.contradicted),
    "followed": ({"followed_by": ANNA}, lambda row: row.identity in {BO, CAI}),
    "currency": ({"currency": "eur"}, lambda row: row.currency == "EUR"),
    "all": (
        {"level_min": 1, "formats": ("onnx",), "currency": "USD", "size_min": 2},
        lambda row: (
            row.level >= 1 and row.formats == '["onnx"]' and row.currency == "USD" and row.size > 1
        ),
    ),
}


WAYS = {
    "sorted at once": {},
    "walked to with a list": {"SEARCH_SORTED_MAX": 1},
    "walked to with questions": {
        "SEARCH_SORTED_MAX": 1,
        "SEARCH_EXAMINED_MAX": 2,
        "SEARCH_LISTED_MAX": 3,
    },
    "walked to in short steps": {
        "SEARCH_SORTED_MAX": 1,
        "SEARCH_EXAMINED_MAX": 2,
        "SEARCH_LISTED_MAX": 3,
        "SEARCH_WALKED_MAX": 7,
        "SEARCH_PROBED_MAX": 3,
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sort", SORTS[1:])
@pytest.mark.parametrize("words", ["", "zebra"])
def test_pages_go_through_every_order_once(many, monkeypatch, sort, way, words):
    for name, most in WAYS[way].items():
        monkeypatch.setattr(catalogue_search, name, most)
    currency = "USD" if sort.startswith("price") else None
    with many.reads() as reads:
        zebras = set(matches(reads._connection, "zebra"))
    expected = in_order(
        many,
        sort,
        only=lambda row: (not words or row.n in zebras) and currency in {None, row.currency},
    )
    query = CatalogueQuery(text=words, sort=sort, currency=currency)
    for limit in (1, 7, 200):
        found = pages(many, query, limit)
        assert list(itertools.chain(*found)) == expected
        if "short" not in way:
            assert all(len(part) == limit for part in found[:-1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("words", ["", "zebra"])
@pytest.mark.parametrize("name", FILTERED)
def test_filtered_pages_go_through_an_order_once(many, monkeypatch, name, words, way):
    for limit_name, most in WAYS[way].items():
        monkeypatch.setattr(catalogue_search, limit_name, most)
    filters, meets = FILTERED[name]
    with many.reads() as reads:
        zebras = set(matches(reads._connection, "zebra"))
    expected = in_order(
        many, "size_down", only=lambda row: meets(row) and (not words or row.n in zebras)
    )
    query = CatalogueQuery(text=words, sort="size_down", **filters)
    assert list(itertools.chain(*pages(many, query, 5))) == expected
    assert expected
    first = page(many, query)
    assert first.count == len(expected) or (first.is_more and first.count < len(expected))


@pytest.mark.parametrize("limit", [1, 7, 60])
def test_pages_by_relevance_meet_every_ranked_hit_once(many, monkeypatch, limit):
    monkeypatch.setattr(catalogue_search, "SEARCH_BOOSTED_MAX", 10)
    monkeypatch.setattr(catalogue_search, "SEARCH_RANKED_MAX", 50)
    query = CatalogueQuery(text="zebra")
    whole = [row.n for row in page(many, query, limit=200).rows]
    found = pages(many, query, limit)
    assert list(itertools.chain(*found)) == whole
    assert len(whole) == len(set(whole)) == 50
    with many.reads() as reads:
        shown = set(in_order(many, "newest")) & set(matches(reads._connection, "zebra"))
    assert set(whole) == set(sorted(shown)[-50:])  # the newest are ranked, no others


def test_a_range_within_the_order_begins_where_the_range_does(many, monkeypatch):
    monkeypatch.setattr(catalogue_search, "SEARCH_SORTED_MAX", 1)
    for sort in ("price_up", "price_down", "size_up", "size_down", "level", "rating"):
        query = CatalogueQuery(
            sort=sort,
            currency="USD",
            price_min_micro=10_000,
            price_max_micro=30_000,
            size_min=2,
            size_max=4,
            level_min=1,
            score_min_milli=1,
        )
        expected = in_order(
            many,
            sort,
            only=lambda row: (
                row.currency == "USD"
                and row.price_micro in range(10_000, 30_001)
                and row.size in range(2, 5)
                and row.level >= 1
                and (row.score_milli or 0) >= 1
            ),
        )
        assert list(itertools.chain(*pages(many, query, 2))) == expected
        assert expected


def test_rows_that_come_meanwhile_do_not_move_the_next_page(store, put):
    put(*(Shown(published_ms=START_MS + number % 7) for number in range(30)))
    query = CatalogueQuery(sort="newest")
    first = page(store, query, limit=10)
    put(*(Shown(published_ms=START_MS + 9) for _ in range(5)))
    second = page(store, query, first.next, 10)
    assert not {row.n for row in first.rows} & {row.n for row in second.rows}
    assert second.count == first.count


@pytest.mark.parametrize(
    "text_",
    [
        "",
        "!",
        "AAAA",
        "ü",
        "W10",
        "x" * 100_000,
        Cursor("00" * 8, 1, 1, 1, is_more=False).encode()[:-1],
        Cursor("00" * 8, 1, 1, 1, is_more=False).encode() + "AA",
    ],
)
def test_a_place_that_no_search_gave_is_refused(text_):
    with pytest.raises(MalformedCursor):
        Cursor.decode(text_)


def test_a_place_of_another_query_is_refused(many):
    place = page(many, CatalogueQuery(), limit=1).next
    assert Cursor.decode(place.encode()) == place
    with pytest.raises(ForeignCursor) as caught:
        page(many, CatalogueQuery(sort="size_up"), place)
    assert caught.value.values["found"] == place.query


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_page_of_another_size_is_refused(store, limit):
    with pytest.raises(PageOutOfRange):
        page(store, CatalogueQuery(), limit=limit)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"sort": "price_up"}, PriceWithoutCurrency),
        ({"price_max_micro": 5}, PriceWithoutCurrency),
        ({"currency": "USD", "price_min_micro": 6, "price_max_micro": 5}, EmptyRange),
        ({"size_min": 6, "size_max": 5}, EmptyRange),
        ({"level_min": 5}, BadQuery),
        ({"sort": "best"}, BadQuery),
        ({"identity": b"short"}, BadQuery),
        ({"sectors": ("x",) * 33}, BadQuery),
        ({"size_min": -1}, BadQuery),
        ({"text": "\ud800"}, BadQuery),
    ],
)
def test_a_query_without_an_answer_is_refused(store, query, error):
    with store.reads() as reads, pytest.raises(error):
        reads.search.query(CatalogueQuery(**query), now_ms=NOW_MS)
    with store.reads() as reads, pytest.raises(error):
        reads.search.facets(CatalogueQuery(**query), now_ms=NOW_MS)


def test_a_query_is_kept_as_text_and_is_the_same_again():
    query = CatalogueQuery(text="图像", sectors=("finance",), identity=ANNA, sort="size_up")
    raw = msgspec.json.encode(query)
    again = msgspec.json.decode(raw, type=CatalogueQuery)
    assert again == query
    assert again.digest == query.digest != CatalogueQuery(text="图像").digest
    assert msgspec.json.encode(CatalogueQuery()) == b"{}"


# --- counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["", "zebra"])
@pytest.mark.parametrize("sort", ["relevance", "size_up"])
def test_counts_end_where_they_are_shown_with_a_plus(store, put, monkeypatch, words, sort):
    put(*(Shown("zebra") for _ in range(12)))
    query = CatalogueQuery(text=words, sort=sort)
    found = page(store, query, limit=2)
    assert (found.count, found.is_more) == (12, False)
    for ranked in (3, 5000):
        monkeypatch.setattr(catalogue_search, "SEARCH_RANKED_MAX", ranked)
        for most, count in ((12, (12, False)), (11, (11, True)), (4, (4, True))):
            monkeypatch.setattr(catalogue_search, "SEARCH_COUNTED_MAX", most)
            found = page(store, query, limit=2)
            assert (found.count, found.is_more) == count
            after = page(store, query, found.next, 2) if found.next else found
            assert (after.count, after.is_more) == count


@pytest.mark.parametrize("words", ["", "zebra"])
def test_of_very_many_only_the_newest_are_looked_at_and_it_says_so(store, put, monkeypatch, words):
    put(*(Shown("zebra", sectors=("retail",)) for _ in range(8)))
    monkeypatch.setattr(catalogue_search, "SEARCH_EXAMINED_MAX", 5)
    monkeypatch.setattr(catalogue_search, "SEARCH_SORTED_MAX", 1)
    query = CatalogueQuery(text=words, size_max=10**9)  # which each row must be read for
    for sort in ("relevance", "newest"):
        found = page(store, msgspec.structs.replace(query, sort=sort))
        assert (found.count, found.is_more) == (5, True)
    with store.reads() as reads:
        counts = reads.search.facets(query, now_ms=NOW_MS)
    assert counts.is_sample
    assert counts.counts["sector"][0].listings == 5


def test_hits_after_a_number_are_counted(store, put):
    put(*(Shown("zebra") for _ in range(4)), Shown("lion"), Shown("zebra", state="paused"))
    with store.reads() as reads:
        for words, n, count in (("zebra", 0, 4), ("zebra", 3, 1), ("", 3, 2), ("zebra", 4, 0)):
            query = CatalogueQuery(text=words)
            assert reads.search.count_since(query, n, now_ms=NOW_MS) == count


# --- facets ------------------------------------------------------------------------------------


def counted(store, query, *, now_ms=NOW_MS):
    with store.reads() as reads:
        found = reads.search.facets(query, now_ms=now_ms)
    return found, {(facet, it.value): it.listings for facet in FACETS for it in found.counts[facet]}


@pytest.mark.parametrize(
    ("query", "only"),
    [
        ({}, anything),
        ({"text": "zebra"}, lambda shown: "zebra" in shown.title),
        ({"sectors": ("finance",)}, lambda shown: "finance" in shown.sectors),
        ({"level_min": 2}, lambda shown: shown.level >= 2),
        ({"text": "nothing"}, nothing),
    ],
)
def test_facets_count_each_value_among_the_hits(store, put, query, only):
    chance = random.Random(6)
    shown = [
        Shown(
            chance.choice(("zebra", "lion")),
            sectors=tuple(chance.sample(("finance", "medical", "retail"), 2)),
            formats=(chance.choice(("onnx", "gguf")),),
            level=chance.randrange(4),
            trials=chance.choice(((), ("open",))),
            state=chance.choice(("open", "open", "paused")),
            valid_until_ms=NOW_MS + chance.randrange(-1, 2),
        )
        for _ in range(60)
    ]
    put(*shown)
    found, counts = counted(store, CatalogueQuery(**query))
    assert not found.is_sample
    hits = [
        one for one in shown if one.state == "open" and one.valid_until_ms > NOW_MS and only(one)
    ]
    expected = Counter()
    for one in hits:
        expected.update(("sector", sector) for sector in one.sectors)
        expected.update(("format", name) for name in one.formats)
        expected.update(("trial", name) for name in one.trials)
        expected["level", str(one.level)] += 1
    of_these = {"sector", "format", "trial", "level"}
    assert {pair: n for pair, n in counts.items() if pair[0] in of_these} == expected
    assert counts.get(("state", "open"), 0) == len(hits)
    assert ("state", "paused") not in counts


def test_values_of_a_facet_stand_by_how_often_they_occur(store, put):
    put(*(Shown(sectors=(name,)) for name in ("retail", "finance", "retail", "medical")))
    found, _ = counted(store, CatalogueQuery())
    assert [(it.value, it.listings) for it in found.counts["sector"]] == [
        *(("retail", 2), ("finance", 1), ("medical", 1)),
    ]


def test_a_catalogue_with_much_that_is_hidden_is_counted_by_its_newest(store, put, monkeypatch):
    expired = {"valid_until_ms": NOW_MS}
    put(Shown(state="paused"), *(Shown(**expired) for _ in range(3)), *(Shown() for _ in range(4)))
    monkeypatch.setattr(catalogue_search, "SEARCH_RANKED_MAX", 3)
    assert not counted(store, CatalogueQuery())[0].is_sample
    monkeypatch.setattr(catalogue_search, "SEARCH_HIDDEN_MAX", 3)
    assert page(store, CatalogueQuery(), limit=1).count == 4
    found, counts = counted(store, CatalogueQuery())
    assert found.is_sample
    assert counts["state", "open"] == 3


# --- how SQLite goes about it -------------------------------------------------------------------


def plans(store, query, after=None):
    """Return how SQLite runs every statement of one query."""
    sent = []
    with store.reads() as reads:
        connection = reads._connection

        @event.listens_for(connection, "before_cursor_execute")
        def _(_connection, _cursor, sql, parameters, _context, _many):
            sent.append((sql, parameters))

        reads.search.query(query, after, 1, now_ms=NOW_MS)
        reads.search.facets(query, now_ms=NOW_MS)
        for sql, parameters in tuple(sent):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
            yield sql, [row.detail for row in rows]


@pytest.mark.parametrize("way", list(WAYS)[:3])
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("words", ["", "zebra"])
def test_every_statement_goes_by_an_index(many, monkeypatch, sort, way, words):
    for name, most in WAYS[way].items():
        monkeypatch.setattr(catalogue_search, name, most)
    query = CatalogueQuery(
        text=words, sort=sort, currency="USD", size_min=1, price_max_micro=10**6, score_min_milli=0
    )
    place = page(many, query, limit=1).next
    # What is ranked, grouped or sorted at once is not much, and a set made of an index neither.
    small = ("bm25(", "GROUP BY", " AS value", "numbers", "found", "FROM facet_values")
    for after in (None, place):
        for sql, plan in plans(many, query, after):
            if any(word in sql for word in small):
                continue
            assert not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)
            # Only the index of words and, by number or in order, the catalogue are gone through.
            scans = [step for step in plan if step.startswith("SCAN")]
            is_ordered = "ORDER BY" in sql and "LIMIT" in sql
            assert all("catalogue_fts VIRTUAL" in step or is_ordered for step in scans), (sql, plan)
