from __future__ import annotations

import re

import pytest

from hanse.core.limits import SEARCH_TERMS_MAX, SEARCH_TEXT_CHARACTERS_MAX
from hanse.core.market.search import (
    Bridge,
    Phrase,
    SearchDoc,
    SearchText,
    Word,
    facet_token,
    parse_search,
    segment,
    segment_doc,
    segmenter_version,
    stem,
)

FULL_WIDTH = "\uff26\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44\uff54\uff48"
ZALGO = "de\u0336\u0315fe\u0321ct"


def words_of(text, *, is_typing=False):
    return parse_search(text, is_typing=is_typing).terms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("情感分析", "情感 感分 分析 析"),
        ("情", "情"),
        ("金融，深度", "金融 融 深度 度"),
        ("AI模型v2", "ai 模型 型 v2"),
        (FULL_WIDTH, "full width"),
        ("ﬁne Straße", "fine strasse"),
        ("カタカナ・ひらがな", "カタ タカ カナ ナ ひら らが がな な"),
        ("한국어", "한국 국어 어"),
        ("𠀀𠀁", "𠀀𠀁 𠀁"),
        ("豈", "豈"),  # a compatibility character is its plain one
        ("x" * 100, "x" * 64),
        ("a\0b 😀 c_d", "a b c d"),
        (ZALGO, "defect"),
        ("", ""),
        ("。！？", ""),
    ],
)
def test_text_is_cut_into_bigrams_a_last_character_and_words(text, words):
    assert segment(text) == words


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("images", "imag"),
        ("classification", "classif"),
        ("ab", "ab"),
        ("f1", "f1"),
        ("ümlaut", "ümlaut"),
    ],
)
def test_english_words_have_stems_and_others_are_their_own(word, found):
    assert stem(word) == found


def test_a_document_carries_its_words_stems_and_concepts():
    cut = segment_doc(
        SearchDoc("缺陷检测", "钢, images", "Finds scratches.", "sector.manufacturing", "zfa zfb")
    )
    assert cut.title == "缺陷 陷检 检测 测"
    assert cut.tags == "钢 images"
    assert cut.text == "finds scratches"
    assert cut.facets == "zfa zfb"
    assert set(cut.stems.split()) == {
        *("imag", "find", "scratch"),
        *("zcdomaindefectdetection", "zcdomainqualityinspection", "zcsectormanufacturing"),
        *("zcotherdetection", "zcotherimage"),
    }


def test_words_of_two_tags_are_no_phrase():
    assert segment_doc(SearchDoc("", "金融, 风险", "", "", "")).tags == "金融 融 风险 险"


def test_facet_tokens_are_plain_words_and_all_different():
    values = ["a-b", "a.b", "ab", "a z2dz b", "usd:lt100", "MIT", "Apache-2.0", "图像"]
    tokens = [facet_token("licence", value) for value in values]
    assert len(set(tokens)) == len(values)
    assert all(re.fullmatch("[a-z0-9]+", token) for token in tokens)
    assert facet_token("licence", "MIT") == facet_token("licence", "mit")
    assert facet_token("a", "bc") != facet_token("ab", "c")


def test_the_version_names_segmenter_stemmer_unicode_and_concepts():
    assert re.fullmatch(r"\d+-\d+\.\d+(\.\d+)*-\d+\.\d+\.\d+-[0-9a-f]{16}", segmenter_version())


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        ("  。 ", ()),
        ("情", (Phrase(("情",), is_open=True),)),
        ("张三丰", (Phrase(("张三", "三丰")),)),
        ("zebra", (Word("zebra", "zebra"),)),
        ("zebras run", (Word("zebras", "zebra"), Word("run", "run"))),
        ('"zebras run"', (Phrase(("zebras", "run")),)),
        ("“张三丰 abc”", (Phrase(("张三", "三丰", "丰", "abc")),)),
        ('"abc 张三丰"', (Phrase(("abc", "张三", "三丰")),)),
        ('"abc 张"', (Phrase(("abc", "张"), is_open=True),)),
        ('"zebra', (Word("zebra", "zebra"),)),
        ('""', ()),
        ('a"b"c', (Word("a", "a"), Phrase(("b",)), Word("c", "c"))),
        ("缺陷检测", (Bridge((Phrase(("缺陷", "陷检", "检测")),), ("domain.defect-detection",)),)),
        (
            "credit scores today",
            (
                Bridge(
                    (Word("credit", "credit"), Word("scores", "score")), ("domain.credit-scoring",)
                ),
                Word("today", "today"),
            ),
        ),
        ("F1值", (Bridge((Word("f1", "f1"), Phrase(("值",), is_open=True)), ("metric.f1",)),)),
        (
            "金融模型",
            (Bridge((Phrase(("金融", "融模", "模型")),), ("sector.finance", "other.model")),),
        ),
        ("张三模型", (Phrase(("张三", "三模", "模型")),)),  # not all of it names something
    ],
)
def test_a_line_becomes_terms(text, terms):
    assert words_of(text) == terms


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("zebra fin", Word("fin", "fin", is_typed=True)),
        ("zebra fin ", Word("fin", "fin")),
        ("zebra 张", Phrase(("张",), is_open=True)),
        ('"zebra fin"', Phrase(("zebra", "fin"))),
        ('"zebra" fin', Word("fin", "fin", is_typed=True)),
        ('zebra "fin', Word("fin", "fin", is_typed=True)),
        ("images", Bridge((Word("images", "imag", is_typed=True),), ("other.image",))),
    ],
)
def test_the_last_word_is_a_beginning_while_it_is_typed(text, last):
    assert words_of(text, is_typing=True)[-1] == last


@pytest.mark.parametrize(
    "text",
    [
        "OR AND NOT NEAR(a b)",
        "title: ^x - + * { } ( )",
        "a* \"b\" 'c' --",
        '"' * 999,
        "x\0y",
        "\ud800 lone",
        "👩‍👩‍👧‍👦",
        ZALGO * 50,
        "ﷺ" * 40,
    ],
)
def test_operators_and_oddities_are_words_or_nothing(text):
    for is_typing in (False, True):
        for term in words_of(text, is_typing=is_typing):
            parts = term.words if isinstance(term, Bridge) else (term,)
            for part in parts:
                joined = part.text if isinstance(part, Word) else "".join(part.words)
                assert joined.isalnum()


def test_what_is_too_long_is_cut_and_said_so():
    assert parse_search("zebra " * 20_000) == SearchText(
        (Word("zebra", "zebra"),) * SEARCH_TERMS_MAX, is_cut=True
    )
    assert parse_search("张三 " * SEARCH_TERMS_MAX).is_cut is False
    assert parse_search("x" * (SEARCH_TEXT_CHARACTERS_MAX + 1)).is_cut
