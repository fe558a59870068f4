"""Search against brute force: every word of every document is looked at, without an index.

The oracle shares neither the segmenter nor the concept tree: Chinese is found by ``in``, as
LIKE would, words by splitting at spaces, Concepts by looking for each alias of the table.
"""

from __future__ import annotations

import random
import re
import tomllib
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.search import stem
from hanse.core.store.engines import Store
from tests.fakes.author import START_MS
from tests.fakes.catalogue import Shelf, Shown

DOCUMENTS = 2000
ROWS = tomllib.loads(files("hanse.resources").joinpath("concepts.toml").read_text("utf-8"))[
    "concept"
]
BROADER = {row["id"]: row.get("broader") for row in ROWS}
ZH_ALIASES = {
    alias.casefold(): row["id"]
    for row in ROWS
    for alias in row["zh"]
    if alias not in row.get("quiet", ())
}
EN_ALIASES = {
    alias: row["id"]
    for row in ROWS
    for alias in row["en"]
    if alias not in row.get("quiet", ()) and re.fullmatch("[a-z ]+", alias)
}
# Few characters, so that every word of two stands in many places, also where it is none.
CHARACTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
SYLLABLES = ("ba", "de", "ki", "lo", "mu", "ne", "po", "ra", "su", "ti")
STOPS = ("，", "。", "、", " ", "！", "\n", " / ", "“", "（")
TAGS = tuple(alias for alias in ZH_ALIASES if re.fullmatch("[\u4e00-\u9fff]+", alias))
NAMES = tuple(EN_ALIASES)


def made_words(chance):
    endings = ("", "", "s", "ing", "ed", "ation")
    return sorted(
        {
            "".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) + chance.choice(endings)
            for _ in range(160)
        }
    )


WORDS = made_words(random.Random(1))


def made_document(chance):
    """Mix both languages, aliases among made-up words, with and without punctuation."""

    def chinese():
        parts = ["".join(chance.choices(CHARACTERS, k=chance.randint(1, 6)))]
        if chance.random() < 0.4:
            parts.append(chance.choice(TAGS))
        chance.shuffle(parts)
        return "".join(parts)

    def english():
        words = chance.choices(WORDS, k=chance.randint(1, 5))
        if chance.random() < 0.4:
            words.insert(chance.randint(0, len(words)), chance.choice(NAMES))
        return " ".join(words)

    def text(count):
        parts = []
        for _ in range(count):
            parts.append(chinese() if chance.random() < 0.5 else english())
            parts.append(chance.choice(STOPS))
        return "".join(parts).strip()

    return Shown(title=text(1) or "x", tags=(english(), chinese()), text=text(chance.randint(0, 4)))


SHOWN = tuple(made_document(chance) for chance in [random.Random(2)] for _ in range(DOCUMENTS))


def said(shown):
    """Return the texts that stand apart: nothing is found across two of them."""
    return [part.casefold() for part in (shown.title, *shown.tags, shown.text)]


def latin(text):
    return re.findall("[a-z0-9]+", text)


def one(word):
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "sui" else word


# Each with its words in the singular, and a space on both sides.
FLAT_ALIASES = {
    f" {' '.join(one(word) for word in alias.split())} ": concept
    for alias, concept in EN_ALIASES.items()
}


def names(texts):
    """Return every Concept the texts are about, the wider ones too."""
    found = set()
    for text in texts:
        found |= {concept for alias, concept in ZH_ALIASES.items() if alias in text}
        # Words in the singular; whatever is neither letter nor space parts them.
        flat = re.sub("[a-z]+", lambda word: one(word.group()), text)
        flat = " " + re.sub("[^a-z ]", " | ", flat) + " "
        found |= {concept for alias, concept in FLAT_ALIASES.items() if alias in flat}
    for concept in tuple(found):
        wider = BROADER[concept]
        while wider is not None:
            found.add(wider)
            wider = BROADER[wider]
    return found


@dataclass(frozen=True)
class Looked:
    """A document taken apart once: its texts, its words, their stems, what it is about."""

    texts: tuple[str, ...]
    words: frozenset[str]
    stems: frozenset[str]
    ids: set[str]


@cache
def looked():
    found = []
    for shown in SHOWN:
        texts = tuple(said(shown))
        words = frozenset(word for text in texts for word in latin(text))
        stems = frozenset(stem(word) for word in words if re.fullmatch("[a-z]{2,}", word))
        # Every document of the corpus has this task and this format.
        ids = names(texts) | {"task.other", "format.onnx"}
        found.append(Looked(texts, words, stems, ids))
    return found


def covering(run):
    """Return the Concepts whose names together are ``run``, the longest first, or none."""
    ids, covered, at = [], 0, 0
    while at < len(run):
        longest = max((a for a in ZH_ALIASES if run.startswith(a, at)), key=len, default="")
        if longest and at + len(longest) > covered:
            if at > covered:
                return []
            ids.append(ZH_ALIASES[longest])
            covered = at + len(longest)
        at += 1
    return ids if covered == len(run) else []


def expected(pieces, *, is_typing=False):
    """Return the numbers of the documents that have every piece."""
    found = set(range(1, DOCUMENTS + 1))
    for at, piece in enumerate(pieces):
        is_typed = is_typing and at == len(pieces) - 1
        if re.fullmatch("[a-z ]+", piece):
            words = [(word, stem(word)) for word in piece.split()]
            ids = [EN_ALIASES[piece]] if piece in EN_ALIASES else []
        else:
            words = []
            ids = covering(piece)
        found &= {
            number
            for number, doc in enumerate(looked(), 1)
            if (ids and doc.ids.issuperset(ids))
            or (words and all(has_word(doc, *word) for word in words))
            or (not words and any(piece in text for text in doc.texts))
            or (is_typed and any(word.startswith(piece) for word in doc.words))
        }
    return found


def has_word(doc, word, its_stem):
    return word in doc.words or its_stem in doc.stems


@pytest.fixture(scope="module")
def reads(tmp_path_factory):
    with closing(Store.open(tmp_path_factory.mktemp("oracle"))) as store:
        with store.unit_of_work() as uow:
            Shelf(uow._connection).put(*SHOWN)
            uow.commit()
        with store.reads() as reads:
            yield reads


def hits(reads, text, *, is_typing=False):
    """Return every hit, page by page."""
    query = CatalogueQuery(text=text, is_typing=is_typing)
    found, place = [], None
    while True:
        page = reads.search.query(query, place, 200, now_ms=START_MS)
        found += [row.n for row in page.rows]
        place = page.next
        if place is None:
            assert len(found) == len(set(found)) == page.count
            return set(found)


FIXED = [
    *("天", "荒", "藏", "天地", "玄黄", "日月", "往秋", "天地玄", "宇宙洪荒", "张寒来"),
    *("图像识别", "缺陷检测", "瑕疵", "金融", "模型", "检测", "图像", "金融模型", "设备故障模型"),
    *("image recognition", "defect detection", "surface defect detection", "model", "finance"),
    *(WORDS[0], WORDS[40], WORDS[80], WORDS[120]),
]


@pytest.mark.parametrize("text", FIXED)
def test_a_word_finds_what_brute_force_finds(reads, text):
    assert hits(reads, text) == expected([text])


@pytest.mark.parametrize("text", ["b", "ba", "bad", "bade", "badeki", "defec", "天地", "天"])
def test_a_beginning_finds_what_brute_force_finds(reads, text):
    assert hits(reads, text, is_typing=True) == expected([text], is_typing=True)


def test_the_corpus_is_not_trivial():
    counts = [len(expected([text])) for text in FIXED]
    assert sum(5 < count < DOCUMENTS // 2 for count in counts) > len(FIXED) // 2


@st.composite
def sliced(draw):
    """Cut one to four characters out of a document, so that there is something to find."""
    text = draw(st.sampled_from(said(draw(st.sampled_from(SHOWN)))))
    runs = re.findall("[\u4e00-\u9fff]+", text)
    if not runs:
        return draw(st.sampled_from(CHARACTERS))
    run = draw(st.sampled_from(runs))
    start = draw(st.integers(0, len(run) - 1))
    return run[start : start + draw(st.integers(1, 4))]


CHINESE = st.text(CHARACTERS, min_size=1, max_size=3) | st.sampled_from(TAGS) | sliced()
ENGLISH = st.sampled_from(WORDS) | st.sampled_from(NAMES)


@settings(max_examples=80, deadline=None)
@given(CHINESE)
@example("天地")
def test_chinese_of_any_length_is_found_as_like_would(reads, text):
    assert hits(reads, text) == expected([text])


@settings(max_examples=80, deadline=None)
@given(ENGLISH)
def test_english_is_found_by_word_stem_and_meaning(reads, text):
    assert hits(reads, text) == expected([text])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(WORDS), st.integers(1, 6))
def test_a_word_being_typed_is_found_by_its_beginning(reads, word, length):
    text = word[:length]
    assert hits(reads, text, is_typing=True) == expected([text], is_typing=True)


@settings(max_examples=50, deadline=None)
@given(CHINESE, ENGLISH, st.booleans())
def test_words_of_both_languages_must_both_be_there(reads, chinese, english, chinese_first):
    pieces = [chinese, english] if chinese_first else [english, chinese]
    assert hits(reads, "，".join(pieces)) == expected(pieces)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80), st.booleans())
@example('"', True)
@example("\0", False)
@example('a" OR "b', False)
@example("NEAR(天 地)", True)
@example("title:x AND NOT {", False)
@example("*", True)
@example("\u0301\u0301", False)
def test_anything_may_be_typed(reads, text, is_typing):
    query = CatalogueQuery(text=text, is_typing=is_typing)
    page = reads.search.query(query, now_ms=START_MS)
    assert page.count <= DOCUMENTS


def test_a_hundred_thousand_characters_are_answered(reads):
    for part in ("天地，", "image ", '"', "😀", "NOT ( ", "x"):
        page = reads.search.query(CatalogueQuery(text=part * 100_000), now_ms=START_MS)
        assert page.is_cut
