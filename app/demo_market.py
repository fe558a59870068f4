"""The part of ``hanse demo`` that sells: the article's listing, four trained models, a search.

* The article's listing is run as it stands, by a process of its own, on Anna's Account.
* Models are trained here and now, converted by a Worker, and published with the figures
  that were just measured; nothing is staged.
* The search is Bo's, on his own machine, in both languages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hanse.app.demo_certify import TRIED, Sold
from hanse.app.demo_models import SECTORS, TARGET, TrainedModel, TrainingNeeds, train
from hanse.core.engine.preparing import Preparation
from hanse.core.engine.publish_call import Call, offer
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.concepts import concepts
from hanse.core.market.currencies import show_money
from hanse.core.model.card import (
    AnswersTrial,
    Column,
    Dataset,
    EthicalRisk,
    EvaluationSet,
    FairnessRisk,
    ModelCard,
    Recipe,
    Result,
    Risk,
    SealedTrial,
    Signature,
    TrainingData,
    Trials,
    Use,
)
from hanse.core.model.control import Control
from hanse.core.model.money import Money
from hanse.core.sentences import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hanse.app.demo_models import Sector
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.home import Home
    from hanse.core.model.listing import Draft

EXAMPLE: Final = "publish_model.py"
_SEED: Final = 7
_SECONDS: Final = 120
_PRICES: Final[Mapping[Sector, str]] = {
    "medical": "250.00",
    "finance": "180.00",
    "retail": "90.00",
    "manufacturing": "120.00",
}
# How the model that Bo tries may be tried before it is bought.
_WAYS: Final = Trials(
    sealed_local=SealedTrial(runs=3, days=7),
    signed_answers=AnswersTrial(per_buyer=400, per_30d=4000),
)
# What is asked, in Chinese and in English: a word of the title in each, and one of the article.
_QUESTIONS: Final = (
    "图像",
    "image",
    "诊断",
    "diagnosis",
    "信用评估",
    "credit scoring",
    "需求预测",
    "质检",
)


class Market:
    """Selling and searching, told by the demo's own voice."""

    def __init__(
        self,
        base: Path,
        language: str,
        step: Callable[..., None],
        must: Callable[..., None],
    ) -> None:
        """Tell steps by ``step`` and stop at what does not hold by ``must``."""
        self._base = base
        self._language = language
        self._step = step
        self._must = must

    def run_the_example(self, home: Home, passphrase: str) -> None:
        """Run ``examples/publish_model.py`` unchanged; its one line is the success line."""
        folder = self._base / "example"
        # Beside the layers, in a checkout and in a wheel alike.
        app = Path(str(files("hanse.app"))).resolve()
        shutil.copytree(app.parent / "examples", folder)
        secret = self._base / "passphrase"
        secret.write_text(passphrase + "\n", encoding="utf-8")
        secret.chmod(0o600)
        told = {
            "HANSE_DATA_DIR": str(home.folder),
            "HANSE_CONFIG_DIR": str(home.config),
            "HANSE_PASSPHRASE_FILE": str(secret),
            "HANSE_LANG": self._language,
        }
        done = subprocess.run(  # noqa: S603 - our interpreter and our file
            [sys.executable, EXAMPLE],
            cwd=folder,
            env={**os.environ, **told},
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        line = done.stdout.decode().strip()
        expected = say("publish.done", {"model": "图像识别模型"}, self._language)
        self._must(
            line == expected, "demo.example_failed", line=line or done.stderr.decode()[-500:]
        )
        self._step("demo.example", line=line)

    def train_and_sell(self, engine: Engine) -> tuple[Sold, ...]:
        """Train, convert, test and publish one model for each sector; none where that cannot be."""
        folder = self._base / "trained"
        folder.mkdir()
        sold = []
        for sector in SECTORS:
            begin = time.monotonic()
            try:
                trained = train(sector, folder, _SEED)
            except TrainingNeeds as error:
                self._step(error.code, **error.values)
                return ()
            call = Call(
                self._say(f"demo.model.{sector}"),
                self._say(f"demo.text.{sector}"),
                trained.path,
                _PRICES[sector],
                lang=self._language.replace("_", "-"),
                preparation=Preparation(samples=trained.samples),
                change=lambda draft, it=trained: self._described(draft, it),  # type: ignore[misc]
            )
            engine.content.small.put(trained.rows.read_bytes())
            done = offer(engine, call, self._language, Control(), agree=None, echo=None)
            sold.append(Sold(trained, done))
            view = engine.catalogue.show(done.listing_id)
            assert view.card is not None
            parity = view.card.parity
            self._must(
                parity is not None and parity.verdict == "pass", "demo.parity_failed", sector=sector
            )
            self._step(
                "demo.sold",
                model=call.model_name,
                sector=concepts().name(f"sector.{sector}", self._language),
                metric=self._metric(trained.metric),
                value=f"{trained.value_micro / 1_000_000:.3f}",
                count=trained.n_test,
                listing=done.listing_id.hex()[:12],
                seconds=f"{time.monotonic() - begin:.1f}",
            )
        return tuple(sold)

    def search(self, engine: Engine, *, has_trained: bool) -> None:
        """Find what Anna sells, on Bo's machine, in both languages, by words and by sector."""
        for question in _QUESTIONS if has_trained else _QUESTIONS[:2]:
            page = engine.catalogue.search(CatalogueQuery(text=question))
            self._must(len(page.rows) > 0, "demo.search_failed", question=question)
            row = page.rows[0]
            assert row.price_minor is not None
            price = Money(row.price_minor, row.currency, row.exponent)
            self._step(
                "demo.found",
                question=question,
                count=page.count,
                model=row.title,
                price=show_money(price, self._language),
            )
        counts = engine.catalogue.facets(CatalogueQuery()).counts["sector"]
        shown = tuple(
            f"{concepts().name(f'sector.{one.value}', self._language)} {one.listings}"
            for one in counts
        )
        if shown:
            self._step("demo.sectors", sectors=shown)

    def _described(self, draft: Draft, trained: TrainedModel) -> Draft:
        """State what the model is for, what it cannot do, and what was measured."""
        kind: Literal["synthetic", "public"] = "synthetic" if trained.is_synthetic else "public"
        data = Dataset(
            name=self._say(f"demo.data.{trained.sector}"),
            source=kind,
            provenance=self._say(f"demo.data.{kind}"),
            personal="no",
            sensitive="no",
        )
        claim = Result(
            dataset=trained.rows.name,
            split=self._say("demo.split"),
            sha256=sha256(trained.rows.read_bytes()).digest(),
            metric=trained.metric,
            value_micro=trained.value_micro,
            ci_low_micro=trained.ci_low_micro,
            ci_high_micro=trained.ci_high_micro,
        )
        risk = Risk(
            ethics=(EthicalRisk(risk=self._say("demo.risk"), mitigation=self._say("demo.remedy")),),
            fairness=(FairnessRisk(group=self._say("demo.group"), harm=self._say("demo.harm")),),
            explainability=self._say("demo.explainability"),
            safety_risk=self._say("demo.safety"),
            human_oversight=self._say("demo.oversight"),
        )
        use = Use(
            users=self._say("demo.users"),
            uses=self._say(f"demo.text.{trained.sector}"),
            out_of_scope=self._say("demo.out_of_scope"),
            limitations=self._say("demo.limitations"),
        )
        rows = trained.rows.read_bytes()
        card = msgspec.structs.replace(
            draft.card,
            signature=_with_columns(draft.card.signature, trained.columns),
            recipe=Recipe(labels=trained.labels),
            evaluation=EvaluationSet(
                name=trained.rows.name,
                sha256=sha256(rows).digest(),
                size=len(rows),
                targets=(TARGET,),
            ),
            trial=_WAYS if trained.sector == TRIED else Trials(),
            training=TrainingData(datasets=(data,)),
            claims=(claim,),
            use=use,
            risk=risk,
            checklist=("yes",) * len(ModelCard().checklist),
        )
        return msgspec.structs.replace(draft, sectors=(trained.sector,), card=card)

    def _metric(self, metric: str) -> str:
        found = concepts().find(metric, "metric")
        return metric if found is None else concepts().name(found, self._language)

    def _say(self, code: str) -> str:
        return say(code, {}, self._language)


def _with_columns(signature: Signature, names: tuple[str, ...]) -> Signature:
    """Name the columns of the one input, once the file has shown it, so that tables can be read."""
    columns = tuple(Column(name=name) for name in names)
    inputs = tuple(msgspec.structs.replace(one, columns=columns) for one in signature.inputs)
    return msgspec.structs.replace(signature, inputs=inputs)
