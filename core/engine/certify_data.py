"""The data sets a certification measures on: the Listing's own, and a person's.

* The Listing's evaluation set is a Blob held here; its figures are public.
* A person's own file or folder stays here: its rows are marked private.
* Pictures are decoded by a Worker of their own, never here.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.certify.checks.quality import Evaluation
from hanse.core.certify.data import (
    DataMapping,
    Wanted,
    list_images,
    mapping_of,
    plan_quality,
    read_dataset,
)
from hanse.core.certify.inspecting import inspect_limits
from hanse.core.certify.staging import staged
from hanse.core.durable import make_temporary_folder, write_durably
from hanse.core.errors import Refused
from hanse.core.model.running import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hanse.core.certify.data.dataset import ReadImages
    from hanse.core.model.artifact import ModelFacts
    from hanse.core.model.card import ModelCard
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner

_BLOB_SUFFIXES: Final = {b"PK": ".npz"}
_IMAGE_BYTES: Final = 256 * 1024**2


class NoSignature(Refused):
    """What goes into the model is not known, so no data can be read for it."""

    code = "certify.no_signature"
    text = "the model shows no inputs, so {data} cannot be read for it"
    fields = ("data",)


def wanted_of(facts: ModelFacts, card: ModelCard | None, task: str) -> Wanted:
    """Say what data are read for: the signature the file shows, its card, its task."""
    return Wanted(inputs=facts.inputs, outputs=facts.outputs, card=card, task=task)


def read_evaluation(
    path: Path,
    wanted: Wanted,
    mapping: DataMapping | None,
    runner: ModelRunner,
    scratch: Path,
    control: Control,
    *,
    metrics: Sequence[str] = (),
    is_public: bool,
) -> Evaluation:
    """Read one data set and plan what is measured on it; raise what is wrong with it."""
    if not wanted.inputs:
        raise NoSignature(data=path.name)
    with _images(path, runner, scratch, control) as read_images:
        dataset = read_dataset(path, wanted, mapping, read_images, control)
    return Evaluation(dataset, plan_quality(wanted, dataset, tuple(metrics) or None), is_public)


def listings_own(
    raw: bytes,
    card: ModelCard,
    wanted: Wanted,
    runner: ModelRunner,
    scratch: Path,
    control: Control,
) -> Evaluation:
    """Read the data given with a Listing, whose bytes are ``raw``."""
    stated = card.stated_evaluation
    assert stated is not None
    suffix = _BLOB_SUFFIXES.get(raw[:2], ".csv")
    folder = make_temporary_folder(scratch, "evaluation-")
    path = folder / Path(stated.name or "evaluation").with_suffix(suffix).name
    write_durably(path, raw)
    return read_evaluation(
        path, wanted, mapping_of(stated), runner, scratch, control, is_public=True
    )


def read_kept_mapping(raw: bytes) -> DataMapping | None:
    """Read the mapping a request was kept with."""
    return msgspec.json.decode(raw, type=DataMapping) if raw else None


def written_mapping(mapping: DataMapping | None) -> bytes:
    """Write a mapping to keep it with a request."""
    return b"" if mapping is None else msgspec.json.encode(mapping, order="deterministic")


@contextmanager
def _images(
    path: Path, runner: ModelRunner, scratch: Path, control: Control
) -> Iterator[ReadImages | None]:
    """Give what decodes the pictures of a folder, ``None`` where there are none."""
    if not path.is_dir():
        yield None
        return
    files = {one.name: one.path for one in list_images(path, control)}
    with staged(files, scratch, (), control) as folder:
        worker = runner.start(Stage(folder), inspect_limits(_IMAGE_BYTES), "run")
        try:
            yield worker.read_images
        finally:
            worker.close()
