"""What publishing and searching cost through the engine: real Workers, real files, real disk."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import pytest

from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.concepts import concepts
from hanse.core.market.listings import listing_body, price_body, release_body
from hanse.core.model.control import Control
from hanse.core.model.listing import Draft, TierDraft
from hanse.core.trade.terms import template
from tests.bench.figures import report, seconds
from tests.fakes.people import START_MS
from tests.fakes.shop import described, seller, tiny_onnx

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 7
LISTINGS = 1000
MODEL_BYTES = 1_000_000

pytestmark = pytest.mark.slow


class Stages:
    """Adds up how long each stage took, by the checkpoints the work passes."""

    def __init__(self) -> None:
        self.ms: defaultdict[str, float] = defaultdict(float)
        self._stage = ""
        self._since = time.perf_counter()

    def enter(self, stage: str) -> None:
        now = time.perf_counter()
        self.ms[self._stage] += (now - self._since) * 1000
        self._stage, self._since = stage, now

    def report(self, stage: str, _done: int, _total: int) -> None:
        if stage != self._stage:
            self.enter(stage)


def publish_once(engine, file: Path) -> dict[str, float]:
    """Publish one model and return the milliseconds of each stage."""
    stages = Stages()
    control, publishing = Control(stages.report), engine.publishing
    stages.enter("begin")
    draft = publishing.begin(file, control).draft_id
    stages.enter("describe")
    publishing.edit(draft, described(title=file.stem))
    stages.enter("preview")
    preview = publishing.preview(draft, control)
    stages.enter("sign")
    publishing.publish(draft, preview)
    stages.enter("")
    del stages.ms[""]
    return stages.ms


def test_publishing_a_small_model_end_to_end(tmp_path: Path) -> None:
    person = seller(tmp_path)
    files = [
        tiny_onnx(tmp_path / f"model-{number}.onnx", 4 + number, weights=MODEL_BYTES)
        for number in range(ROUNDS + 1)
    ]
    assert all(file.stat().st_size >= MODEL_BYTES for file in files)
    with person.open() as engine:
        publish_once(engine, files[0])
        rounds = [publish_once(engine, file) for file in files[1:]]
    whole = [sum(one.values()) for one in rounds]
    parts = {
        stage: statistics.median(one.get(stage, 0) for one in rounds)
        for stage in dict.fromkeys(itertools.chain.from_iterable(rounds))
    }
    report(
        "publish of a 1 MB ONNX model, end to end",
        f"{statistics.median(whole):.0f} ms",
        "told",
        f"{min(whole):.0f} to {max(whole):.0f}; "
        + ", ".join(f"{stage} {ms:.0f}" for stage, ms in parts.items()),
    )


def fill(engine) -> None:
    """Sign a thousand Listings with their Releases and prices in one transaction."""
    context, vocabulary = engine.context, concepts()
    tier = TierDraft(name="Standard", terms=template("commercial-1").terms)
    sectors, tasks = vocabulary.sectors(), vocabulary.tasks()
    base = Draft(tiers=(tier,), size=1000, files=1, formats=("onnx",))
    with context.store.unit_of_work() as uow:
        for number in range(LISTINGS):
            draft = msgspec.structs.replace(
                base,
                title=f"图像识别模型 {number}" if number % 2 else f"Image recogniser {number}",
                text="用于图像识别的AI模型。" if number % 2 else "Finds what is in an image.",
                lang="zh" if number % 2 else "en",
                sectors=(sectors[number % len(sectors)],),
                task=tasks[number % len(tasks)],
                price=str(number + 1),
                artifact=number.to_bytes(32, "big"),
            )
            listing = context.append_own(
                uow,
                listing_body(draft, context.body_salt(), now_ms=START_MS, vocabulary=vocabulary),
            ).entry_id
            card = bytes(32)
            for body in (
                release_body(draft, context.body_salt(), listing=listing, card=card, seal=None),
                price_body(draft, context.body_salt(), listing=listing),
            ):
                context.append_own(uow, body, [listing])
        uow.commit()


def test_searching_a_thousand_listings(tmp_path: Path) -> None:
    person = seller(tmp_path)
    queries = {
        "two Chinese characters": CatalogueQuery(text="图像"),
        "one word across languages": CatalogueQuery(text="image"),
        "a word and a sector": CatalogueQuery(text="image", sectors=("medical",)),
        "everything by price": CatalogueQuery(currency="USD", sort="price_up"),
    }
    with person.open() as engine:
        took = seconds(lambda: fill(engine))
        report(
            "sign and project 1,000 Listings, Releases, prices",
            f"{took / (3 * LISTINGS) * 1000:.2f} ms/Entry",
            note=f"{took:.1f} s in one transaction",
        )
        for name, query in queries.items():
            times = sorted(
                seconds(lambda query=query: engine.catalogue.search(query)) for _ in range(100)
            )
            report(
                f"search of 1,000 Listings through the engine: {name}",
                f"p50 {times[50] * 1000:.1f} ms, p99 {times[98] * 1000:.1f} ms",
                "50, 100",
                f"{engine.catalogue.search(query).count} hits",
            )
        facets = sorted(
            seconds(lambda: engine.catalogue.facets(CatalogueQuery(text="image")))
            for _ in range(30)
        )
        report("facets of 1,000 hits through the engine", f"p50 {facets[15] * 1000:.1f} ms")
