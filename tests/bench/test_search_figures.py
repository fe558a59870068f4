"""Search over 100 thousand and a million Listings, half of them Chinese.

The mix has frequent and rare words of both languages, one to three characters, words being
typed, two words, filters, ranges and every kind of order; twenty rows a page, as the terminal
shows them.  Filling a million takes many minutes.
"""

from __future__ import annotations

import faulthandler
import os
import random
import shutil
import statistics
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
from sqlalchemy import text

from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.concepts import concepts
from hanse.core.market.search import SearchDoc
from hanse.core.store.engines import Store
from tests.bench.catalogues import START_MS, YEAR_MS, Vocabulary, fill
from tests.bench.figures import report, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

T = TypeVar("T")

NOW_MS = START_MS + YEAR_MS
ROUNDS = 12
ROWS = 20
INDEXED = 200


def queries(vocabulary: Vocabulary, chance: random.Random) -> Iterator[tuple[str, CatalogueQuery]]:
    """Give one query of each kind, with its kind."""
    sector = chance.choice(concepts().sectors())

    def of(words: list[str], length: int) -> str:
        return chance.choice([word for word in words if len(word) == length])

    def zh(first: int, last: int) -> str:
        return chance.choice(vocabulary.zh[first:last])

    def en(first: int, last: int) -> str:
        return chance.choice(vocabulary.en[first:last])

    def alias(lang: str) -> str:
        row = chance.choice(vocabulary.rows[:60])
        return chance.choice(row.zh if lang == "zh" else row.en)

    ask = CatalogueQuery
    yield "words", ask(text=zh(0, 60))
    yield "words", ask(text=en(0, 40))
    yield "words", ask(text=zh(3000, 20_000))
    yield "words", ask(text=en(3000, 20_000))
    yield "words", ask(text=chance.choice(zh(0, 2000)))
    yield "words", ask(text=of(vocabulary.zh[:3000], 2))
    yield "words", ask(text=of(vocabulary.zh[:8000], 3))
    yield "words", ask(text=alias("zh"))
    yield "words", ask(text=alias("en"))
    yield "words", ask(text=f"{en(0, 200)} {en(0, 200)}")
    yield "words", ask(text=f"{alias('zh')} {zh(0, 100)}")
    yield "typed", ask(text=en(0, 2000)[:2], is_typing=True)
    yield "typed", ask(text=en(0, 2000)[:3], is_typing=True)
    yield "typed", ask(text=en(0, 2000)[:5], is_typing=True)
    yield "filtered", ask(text=alias("zh"), sectors=(sector,))
    yield "filtered", ask(text=alias("en"), level_min=1, rights=("commercial",))
    yield (
        "filtered",
        ask(
            text=en(0, 40),
            currency="EUR",
            price_min_micro=50_000_000,
            price_max_micro=80_000_000,
        ),
    )
    yield "sorted", ask(text=alias("en"), sort="newest")
    yield "sorted", ask(text=en(0, 200), sort="price_up", currency="USD")
    yield "sorted", ask(text=alias("zh"), sort="rating")
    yield "browsed", ask()
    yield "browsed", ask(sort="price_down", currency="CNY")
    yield "browsed", ask(sectors=(sector,))
    yield "browsed", ask(sectors=(sector,), formats=("onnx",), sort="price_up", currency="USD")
    yield (
        "browsed",
        ask(
            tasks=("image-classification",),
            level_min=1,
            currency="USD",
            price_max_micro=200_000_000,
            sort="rating",
        ),
    )


@pytest.mark.parametrize(
    ("count", "goal"), [(100_000, "< 50"), (1_000_000, "< 100")], ids=["100k", "1M"]
)
def test_search(tmp_path: Path, count: int, goal: str) -> None:
    faulthandler.cancel_dump_traceback_later()  # this is slow, and does not hang
    with closing(Store.open(tmp_path)) as store:
        began = time.perf_counter()
        vocabulary = fill(store, count)
        report(f"{count:,} Listings written in bulk", f"{time.perf_counter() - began:.0f} s")
        measure(store, vocabulary, count, goal)
    shutil.rmtree(tmp_path)  # gigabytes, which pytest would keep for a while


def measure(store: Store, vocabulary: Vocabulary, count: int, goal: str) -> None:
    """Report every figure of one filled store."""
    chance = random.Random(5)
    first: dict[str, list[float]] = {}
    following: list[float] = []
    facets: list[float] = []
    plain_facets: list[float] = []
    browse: list[float] = []
    for _ in range(ROUNDS):
        for kind, query in queries(vocabulary, chance):
            with store.reads() as reads:
                took, page = timed(partial(reads.search.query, query, limit=ROWS, now_ms=NOW_MS))
                first.setdefault(kind, []).append(took)
                if query == CatalogueQuery():
                    browse.append(took)
                if page.next is not None:
                    took, _ = timed(
                        partial(reads.search.query, query, page.next, ROWS, now_ms=NOW_MS)
                    )
                    following.append(took)
                took, _ = timed(partial(reads.search.facets, query, now_ms=NOW_MS))
                (plain_facets if query == CatalogueQuery() else facets).append(took)
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    mixed = [took for kind in first.values() for took in kind]
    report(f"search of {count:,}, p99 of {len(mixed)}, ms", shown(mixed), goal, load)
    for kind, values in first.items():
        report(f"  {kind}", shown(values))
    report("  first page of everything", shown(browse))
    report("  next page", shown(following))
    report("  facets of hits", shown(facets), "8 to 25")
    report("  facets of everything", shown(plain_facets))
    report_size(store, count)
    report_indexing(store, vocabulary)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return how many milliseconds ``work`` took, and what came of it."""
    began = time.perf_counter()
    found = work()
    return (time.perf_counter() - began) * 1000, found


def shown(values: list[float]) -> str:
    """Write the median and the 99th percentile."""
    values = sorted(values)
    return f"p50 {statistics.median(values):.1f}, p99 {values[int(len(values) * 0.99)]:.1f}"


def report_size(store: Store, count: int) -> None:
    with store.reads() as reads:
        size = sum(
            reads._connection.execute(text(statement)).scalar_one()
            for statement in (
                "SELECT sum(length(block)) FROM catalogue_fts_data",
                "SELECT sum(length(sz)) FROM catalogue_fts_docsize",
            )
        )
    report("  index", f"{size / 1e6:.0f} MB", note=f"{size / count:.0f} bytes a Listing")


def report_indexing(store: Store, vocabulary: Vocabulary) -> None:
    """Index documents of usual length that were never seen, all in one transaction."""
    docs = [
        SearchDoc(
            vocabulary.sentence(lang, 2, 5).text,
            "",
            " ".join(vocabulary.sentence(lang, 6, 14).text for _ in range(4)),
            "sector.finance task.image-classification",
            "zfa zfb",
        )
        for _ in range(INDEXED // 2)
        for lang in ("zh", "en")
    ]
    took = []
    with store.unit_of_work() as uow:
        for n, doc in enumerate(docs, 10**9):
            took.append(seconds(partial(uow.index.put, n, doc, None)) * 1000)
        commit = seconds(uow.commit) * 1000
    report(
        "  one Listing indexed, ms",
        f"{(sum(took) + commit) / INDEXED:.2f}",
        "< 2",
        f"median {statistics.median(took):.2f} and 1/{INDEXED} of a commit of {commit:.0f} ms",
    )
    with store.unit_of_work() as uow:
        for n, doc in enumerate(docs, 10**9):
            uow.index.remove(n, doc)
        uow.commit()
