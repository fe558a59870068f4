"""A seller with real, sealed Releases of the sample models, and a buyer who holds what anybody may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from hanse.core.market.samples import sample_model
from hanse.core.model.card import AnswersTrial, OpenTrial, SealedTrial, Trials
from hanse.core.model.control import Control
from tests.fakes.people import Person, give
from tests.fakes.shop import AS_IS, carry_sealed, seller

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.publishing import PublishedView
    from hanse.core.model.listing import Draft
    from tests.fakes.clock import FakeClock

DAY_MS = 24 * 60 * 60 * 1000
EVERY_WAY = Trials(
    sealed_local=SealedTrial(runs=3, days=5, certify=True),
    signed_answers=AnswersTrial(per_buyer=120, per_30d=400),
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
    sample = sample_model(sample_id)
    folder = base / f"{sample_id}-{len(list(base.iterdir()))}"
    folder.mkdir()
    file = folder / "model.onnx"
    file.write_bytes(sample.graph())
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
    publishing.edit(draft, change)
    return publishing.publish(draft, publishing.preview(draft, control))


@dataclass
class Market:
    """Anna sells, Bert buys; both share one clock that stands still until told."""

    base: Path
    anna: Person
    bert: Person
    selling: Engine
    buying: Engine
    published: PublishedView
    rows: Path

    @property
    def pace(self) -> MovingPace:
        return MovingPace(self.anna.clock)

    def close(self) -> None:
        self.selling.close()
        self.buying.close()


def open_market(
    base: Path, sample_id: str = "fraud-detection", trials: Trials = EVERY_WAY
) -> Market:
    """Publish a sample model and bring everything public of it to a buyer."""
    anna = seller(base, "anna")
    bert = Person.make(base, "bert", anna.clock)
    with anna.open() as engine:
        published = offer_sample(engine, base, sample_id, trials)
    give(anna, bert, base)
    rows = base / "rows.csv"
    rows.write_bytes(sample_model(sample_id).rows())
    selling, buying = anna.open(), bert.open()
    carry_sealed(selling, buying, published.release)
    return Market(base, anna, bert, selling, buying, published, rows)


def open_edition(artifact: bytes) -> Trials:
    """Return the trial section of a full Release with an open edition."""
    return Trials(open=OpenTrial(artifact=artifact, relation="smaller", note="half the trees"))
