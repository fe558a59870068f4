"""Catalogues of any size, half in Chinese, for the benchmarks: made up, the same every time.

Listings are put together of sentences that were cut into search words once, since cutting a
million of them one by one would take longer than everything that is measured.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert

from hanse.core.market.concepts import concepts
from hanse.core.market.facets import price_band, size_band
from hanse.core.market.search import (
    SearchDoc,
    SegmentedDoc,
    concept_token,
    facet_token,
    segment_doc,
    segmenter_version,
)
from hanse.core.store.meta import MetaRepository
from hanse.core.store.projections import write_list
from hanse.core.store.search import SEGMENTER, put_segmented
from hanse.core.store.tables import catalogue, catalogue_text, facet_values, listing_facets
from tests.fakes.author import START_MS
from tests.fakes.catalogue import YEAR_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.store.engines import Store

SEED = 12
WORDS = 20_000  # made-up words of each language
SENTENCES = 40_000
TITLES = 20_000
SELLERS = 3000
ROWS_PER_SLICE = 5000
FORMATS = ("onnx", "safetensors", "gguf", "tflite", "pytorch")
LICENCES = ("MIT", "Apache-2.0", "LicenseRef-commercial-1", "CC-BY-4.0", "LicenseRef-own")
RIGHTS = ("commercial", "internal", "research", "saas", "fine_tune")
CURRENCIES = ("USD", "EUR", "CNY")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of text, its search words, and its stems and concept tokens."""

    text: str
    words: str
    stems: tuple[str, ...]


class Vocabulary:
    """Words of both languages, few of them frequent, as in real text."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        letters = [chr(code) for code in range(0x4E00, 0x4E00 + 6000)]
        chance.shuffle(letters)
        self.zh = [
            "".join(chance.choices(letters, k=chance.choice((1, 2, 2, 2, 2, 3, 4))))
            for _ in range(WORDS)
        ]
        syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
        endings = ("", "", "s", "ing", "ed", "tion")
        made: dict[str, None] = {}
        while len(made) < WORDS:
            word = "".join(chance.choices(syllables, k=chance.randint(1, 4)))
            made[word + chance.choice(endings)] = None
        self.en = list(made)
        known = concepts()
        self.rows = [
            row
            for group in ("sector", "task", "domain", "metric", "other")
            for value in known.values(group)
            if (row := known.get(f"{group}.{value}")) is not None
        ]
        chance.shuffle(self.rows)
        self._weights = falling(WORDS, 1.0)
        self._row_weights = falling(len(self.rows), 0.7)

    def sentence(self, lang: str, least: int, most: int) -> Sentence:
        count = self.chance.randint(least, most)
        words = self.chance.choices(
            self.zh if lang == "zh" else self.en, cum_weights=self._weights, k=count
        )
        if self.chance.random() < 0.5:
            (row,) = self.chance.choices(self.rows, cum_weights=self._row_weights)
            named = row.zh if lang == "zh" else row.en
            words.insert(self.chance.randrange(count + 1), self.chance.choice(named))
        text = "".join(words) if lang == "zh" else " ".join(words)
        cut = segment_doc(SearchDoc("", "", text, "", ""))
        return Sentence(text, cut.text, tuple(cut.stems.split()))


def falling(count: int, power: float) -> list[float]:
    """Return cumulative weights that fall with the rank."""
    return list(itertools.accumulate((rank + 1) ** -power for rank in range(count)))


def fill(store: Store, count: int) -> Vocabulary:
    """Write ``count`` Listings into catalogue, facets and index."""
    chance = random.Random(SEED)
    vocabulary = Vocabulary(chance)
    titles = {
        lang: [vocabulary.sentence(lang, 2, 5) for _ in range(TITLES)] for lang in ("zh", "en")
    }
    sentences = {
        lang: [vocabulary.sentence(lang, 6, 14) for _ in range(SENTENCES)] for lang in ("zh", "en")
    }
    numbers: dict[tuple[str, str], int] = {}
    times: Counter[tuple[str, str]] = Counter()
    listings = _listings(chance, titles, sentences)
    made = 0
    while made < count:
        slice_ = list(itertools.islice(listings, min(ROWS_PER_SLICE, count - made)))
        with store.unit_of_work() as uow:
            connection = uow._connection
            connection.execute(insert(catalogue), [row for row, _, _, _ in slice_])
            connection.execute(insert(catalogue_text), [text for _, text, _, _ in slice_])
            put_segmented(connection, [(row["n"], cut) for row, _, cut, _ in slice_])
            held = []
            for row, _, _, pairs in slice_:
                times.update(pairs)
                held += [
                    {"n": row["n"], "value": numbers.setdefault(pair, len(numbers) + 1)}
                    for pair in pairs
                ]
            connection.execute(insert(listing_facets), held)
            uow.commit()
        made += len(slice_)
    with store.unit_of_work() as uow:
        uow._connection.execute(
            insert(facet_values),
            [
                {"number": number, "facet": facet, "value": value, "listings": times[facet, value]}
                for (facet, value), number in numbers.items()
            ],
        )
        MetaRepository(uow._connection).put(SEGMENTER, segmenter_version())
        uow.commit()
    return vocabulary


def _listings(
    chance: random.Random,
    titles: dict[str, list[Sentence]],
    sentences: dict[str, list[Sentence]],
) -> Iterator[
    tuple[dict[str, object], dict[str, object], SegmentedDoc, tuple[tuple[str, str], ...]]
]:
    known = concepts()
    sectors, tasks = known.sectors(), known.tasks()
    sector_weights, task_weights = falling(len(sectors), 1.0), falling(len(tasks), 1.0)
    sellers = [chance.randbytes(32) for _ in range(SELLERS)]
    tokens: dict[tuple[str, str], str] = {}
    for n in itertools.count(1):
        lang = "zh" if n % 2 else "en"
        (sector,) = chance.choices(sectors, cum_weights=sector_weights)
        (task,) = chance.choices(tasks, cum_weights=task_weights)
        format_, licence = chance.choice(FORMATS), chance.choice(LICENCES)
        rights = tuple(chance.sample(RIGHTS, 2))
        currency = chance.choices(CURRENCIES, (6, 3, 2))[0]
        amount = None if chance.random() < 0.05 else int(10 ** chance.uniform(2, 6))
        size = int(10 ** chance.uniform(4, 10.5))
        level = chance.choice((0, 0, 0, 1, 1, 2, 2, 3))
        published = START_MS + chance.randrange(YEAR_MS)
        state = "paused" if chance.random() < 0.01 else "open"
        seller = chance.choice(sellers)
        pairs = (
            ("task", task),
            ("sector", sector),
            ("format", format_),
            ("licence", licence.casefold()),
            *(("right", right) for right in rights),
            ("level", str(level)),
            ("lang", lang),
            ("state", state),
            ("price_band", price_band(amount, currency, 2)),
            ("size_band", size_band(size)),
        )
        for pair in pairs:
            if pair not in tokens:
                tokens[pair] = facet_token(*pair)
        apart = (facet_token("identity", seller.hex()), facet_token("currency", currency))
        facets = " ".join((*(tokens[it] for it in pairs), *apart))
        title = chance.choice(titles[lang])
        tag = chance.choice(titles[lang])
        body = chance.choices(sentences[lang], k=chance.randint(2, 6))
        stems = set(title.stems).union(tag.stems, *(part.stems for part in body))
        ids = (f"sector.{sector}", f"task.{task}", f"format.{format_}")
        stems.update(concept_token(it) for it in itertools.chain(ids, *map(known.broader, ids)))
        name = n.to_bytes(32, "big")
        row: dict[str, object] = {
            "n": n,
            "listing": name,
            "identity": seller,
            "release": name,
            "price": name,
            "artifact": name,
            "version": "1.0.0",
            "state": state,
            "lang": lang,
            "task": task,
            "sectors": write_list([sector]),
            "tags": write_list([tag.text]),
            "title": title.text,
            "formats": write_list([format_]),
            "frameworks": write_list([]),
            "licence": licence,
            "rights": write_list(rights),
            "trials": write_list([]),
            "mode": "rfq" if amount is None else "fixed",
            "price_minor": amount,
            "currency": currency,
            "exponent": 2,
            "price_micro": None if amount is None else amount * 10_000,
            "price_band": price_band(amount, currency, 2),
            "size": size,
            "size_band": size_band(size),
            "level": level,
            "cert_failed": False,
            "contradicted": False,
            "reproduced": 0,
            "differ": 0,
            "objections": 0,
            "score_milli": None if chance.random() < 0.7 else chance.randrange(1000, 10_000),
            "reviews": None,
            "published_ms": published,
            "updated_ms": published,
            "valid_until_ms": published + YEAR_MS * 3 // 2,
            "releases": 1,
            "trial_editions": 0,
        }
        text = {
            "n": n,
            "title": title.text,
            "tags": tag.text,
            "stems_source": " ".join(ids),
            "facets": facets,
            "text": ("。" if lang == "zh" else ". ").join(part.text for part in body),
        }
        words = SegmentedDoc(
            title.words,
            tag.words,
            " ".join(part.words for part in body),
            " ".join(sorted(stems)),
            facets,
        )
        yield row, text, words, pairs
