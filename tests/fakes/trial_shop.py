"""A seller with real, sealed Releases, and a buyer who holds what anybody may of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import onnx
import onnxruntime

from hanse.core.certify.client import WorkerClient
from hanse.core.engine.trials import Trials as TrialCases
from hanse.core.market.samples import sample_model
from hanse.core.model.artifact import ModelFacts
from hanse.core.model.card import AnswersTrial, OpenTrial, SealedTrial, Trials
from hanse.core.model.control import Control
from tests.fakes.people import Person, give
from tests.fakes.running import FakeModel, FakeRunner, tensor
from tests.fakes.shop import AS_IS, carry_sealed, seller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.publishing import DraftView, PublishedView
    from hanse.core.model.arrays import Array
    from hanse.core.model.listing import Draft
    from hanse.core.model.running import ModelRunner
    from tests.fakes.clock import FakeClock

DAY_MS = 24 * 60 * 60 * 1000
EVERY_WAY = Trials(
    sealed_local=SealedTrial(runs=3, days=5, certify=True),
    signed_answers=AnswersTrial(per_buyer=400, per_30d=4000),
)


@dataclass
class MovingPace:
    """A pace that lets time pass instead of waiting."""

    clock: FakeClock
    waits: int = 0

    def wait_until(self, when_ms: int, control: Control) -> bool:
        control.checkpoint("pace", 0, 1)
        self.waits += 1
        self.clock.advance(max(0, when_ms - self.clock.now_ms()))
        return True


def offer_sample(
    engine: Engine, base: Path, sample_id: str, trials: Trials, **values: object
) -> PublishedView:
    """Publish one sample model with the ways to try of ``trials``."""
    draft = draft_sample(engine, base, sample_id, trials, **values).draft_id
    return engine.publishing.publish(draft, engine.publishing.preview(draft, Control()))


def twin(sample_id: str, named: str) -> bytes:
    """Return a sample model as another Artifact that gives the same answers."""
    graph = onnx.load_from_string(sample_model(sample_id).graph())
    graph.doc_string = named
    return graph.SerializeToString()


def draft_sample(
    engine: Engine,
    base: Path,
    sample_id: str,
    trials: Trials,
    named: str = "",
    **values: object,
) -> DraftView:
    """Import one sample model and describe it, ready to be published.

    What is offered already is not offered again: ``named`` makes a twin of it.
    """
    sample = sample_model(sample_id)
    folder = base / f"{sample_id}-{len(list(base.iterdir()))}"
    folder.mkdir()
    file = folder / "model.onnx"
    file.write_bytes(twin(sample_id, named) if named else sample.graph())
    described = sample.draft("en")

    def change(draft: Draft) -> Draft:
        card = msgspec.structs.replace(
            described.card,
            variants=draft.card.variants,
            architecture=draft.card.architecture,
            trial=trials,
        )
        return msgspec.structs.replace(
            draft,
            title=described.title,
            text=described.text,
            task=described.task,
            sectors=described.sectors,
            price=described.price,
            currency=described.currency,
            card=card,
            **values,
        )

    publishing, control = engine.publishing, Control()
    draft = publishing.begin(file, control, preparation=AS_IS).draft_id
    return publishing.edit(draft, change)


def in_process(
    sample_id: str,
    change: Callable[[dict[str, Array]], dict[str, Array]] = dict,
    **facts: object,
) -> FakeRunner:
    """Return a runner that has a sample model in this process; ``change`` makes it another one."""
    session = onnxruntime.InferenceSession(
        sample_model(sample_id).graph(), providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        made = session.run(names, dict(inputs))
        return change(dict(zip(names, made, strict=True)))

    types = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(string)": "string"}
    inputs, outputs = (
        tuple(tensor(one.name, types[one.type], *one.shape) for one in several)
        for several in (session.get_inputs(), session.get_outputs())
    )
    known = {"operators": {"ai.onnx.ml::TreeEnsembleClassifier": 1, "Exp": 1}, **facts}
    found = ModelFacts(format="onnx", file="model.onnx", inputs=inputs, outputs=outputs, **known)
    return FakeRunner({"model.onnx": FakeModel(inputs, outputs, run, facts=found)})


@dataclass
class Market:
    """Anna sells, Bert buys; both share one clock that stands still until told.

    Models run in this process, unless ``work`` says otherwise.
    """

    base: Path
    anna: Person
    bert: Person
    selling: Engine
    buying: Engine
    published: PublishedView
    rows: Path
    sells: ModelRunner = field(default_factory=WorkerClient)
    buys: ModelRunner = field(default_factory=WorkerClient)

    @property
    def pace(self) -> MovingPace:
        return MovingPace(self.anna.clock)

    def work(self, sells: ModelRunner, buys: ModelRunner) -> None:
        """Let both sides run models by these runners from now on."""
        self.sells, self.buys = sells, buys
        for engine, runner in ((self.selling, sells), (self.buying, buys)):
            engine.trials = TrialCases(engine.context, engine.content, runner)

    def offer(self, sample_id: str, trials: Trials, **values: object) -> PublishedView:
        """Let Anna publish another model, and Bert hold what anybody may of it."""
        published = offer_sample(self.selling, self.base, sample_id, trials, **values)
        self.bring()
        carry_sealed(self.selling, self.buying, published.release)
        return published

    def bring(self) -> None:
        """Bring to Bert what Anna has signed."""
        path = self.base / f"{self.selling.ledger.show()[-1].seq}.hanse-feed"
        self.selling.ledger.export(path)
        assert not self.buying.ledger.import_file(path).rejected

    def close(self) -> None:
        self.selling.close()
        self.buying.close()

    def restart(self) -> None:
        """End both programs and start them again."""
        self.close()
        self.selling, self.buying = self.anna.open(), self.bert.open()
        self.work(self.sells, self.buys)


def open_market(
    base: Path,
    sample_id: str = "fraud-detection",
    trials: Trials = EVERY_WAY,
    **values: object,
) -> Market:
    """Publish a sample model and bring everything public of it to a buyer.

    With ``untested=True`` no Worker runs it before; that takes seconds.
    """
    anna = seller(base, "anna")
    bert = Person.make(base, "bert", anna.clock)
    with anna.open() as engine:
        published = offer_sample(engine, base, sample_id, trials, **values)
    give(anna, bert, base)
    rows = base / "rows.csv"
    rows.write_bytes(sample_model(sample_id).rows())
    selling, buying = anna.open(), bert.open()
    carry_sealed(selling, buying, published.release)
    found = Market(base, anna, bert, selling, buying, published, rows)
    found.work(in_process(sample_id), in_process(sample_id))
    return found


def open_edition(artifact: bytes) -> Trials:
    """Return the trial section of a full Release with an open edition."""
    return Trials(open=OpenTrial(artifact=artifact, relation="smaller", note="half the trees"))
