"""A person's own data read for one model: a table, arrays, or a folder of pictures.

* Which inputs a model wants is what its card states while only the seller has the model; once
  it is loaded here, what its session says.
* Pictures are decoded by a Worker of its own that sees nothing else.
* Data and labels stay in this process, except for what is asked of a seller on purpose.

What a mapping is, and what is read, is ``hanse.core.certify.data``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.certify.data import Wanted, list_images, read_dataset
from hanse.core.certify.inspecting import inspect_limits
from hanse.core.certify.staging import staged
from hanse.core.errors import Refused
from hanse.core.model.artifact import TensorFacts
from hanse.core.model.running import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hanse.core.certify.data import DataMapping, DataSet
    from hanse.core.engine.content import Content
    from hanse.core.model.card import ModelCard, Tensor
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner


class NoSignature(Refused):
    """A card does not say what goes into the model, so no data can be mapped to it."""

    code = "trial.no_signature"
    text = "the card of artifact {artifact} states no inputs"
    fields = ("artifact",)


@dataclass(frozen=True, slots=True)
class OwnData:
    """Where a person's data lie, and how they map to a model, if that was said."""

    path: Path
    mapping: DataMapping | None = None


def wanted_of(card: ModelCard, task: str, artifact: bytes) -> Wanted:
    """Return what a model wants as its card states it, or raise ``NoSignature``."""
    if not card.signature.inputs:
        raise NoSignature(artifact=artifact)
    return Wanted(
        inputs=_facts(card.signature.inputs),
        outputs=_facts(card.signature.outputs),
        card=card,
        task=task,
    )


def _facts(tensors: Sequence[Tensor]) -> tuple[TensorFacts, ...]:
    return tuple(TensorFacts(name=one.name, dtype=one.dtype, shape=one.shape) for one in tensors)


def read_own_data(
    data: OwnData, wanted: Wanted, content: Content, runner: ModelRunner, control: Control
) -> DataSet:
    """Read the data for the model ``wanted``; raise what ``read_dataset`` does."""
    if not data.path.is_dir():
        return read_dataset(data.path, wanted, data.mapping, None, control)
    images = list_images(data.path, control)
    size = sum(one.path.stat().st_size for one in images)
    with (
        content.work() as scratch,
        staged({one.name: one.path for one in images}, scratch, frozenset(), control) as folder,
    ):
        worker = runner.start(Stage(folder), inspect_limits(size), "run")
        try:
            return read_dataset(data.path, wanted, data.mapping, worker.read_images, control)
        finally:
            worker.close()
