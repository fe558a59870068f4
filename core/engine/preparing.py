"""Making an imported model ready to be offered: looked at, normalised, converted.

* Every model file is inspected in a Worker; one that breaks a rule ends it with a
  sentence.
* What can be made into a file that runs is made so, and becomes an Artifact of its own;
  the other files go along.  What cannot stays as it is, and why is a Problem, not an
  error: it can still be listed, without a Level.

Whether the Draft may then be published is decided elsewhere.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from hanse.core.artifacts.conversion import (
    ConversionUnavailable,
    NotConvertible,
    prepare,
)
from hanse.core.artifacts.importing import import_artifact
from hanse.core.certify.inspecting import inspect_files
from hanse.core.market.concepts import concepts
from hanse.core.market.listings import Problem, apply_facts
from hanse.core.model.running import ConversionRefused, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.core.artifacts.manifest import Manifest
    from hanse.core.engine.content import Content
    from hanse.core.errors import HanseError
    from hanse.core.model.artifact import ModelFacts, Parity
    from hanse.core.model.control import Control
    from hanse.core.model.listing import Draft
    from hanse.core.model.running import ModelRunner


@dataclass(frozen=True, slots=True)
class Preparation:
    """What the seller gives for a Conversion.

    ``samples`` is a ``.npz`` of inputs (and outputs), ``python`` an interpreter that has
    the framework, ``trusted`` the types of a ``.skops`` he vouches for.  With ``as_is``
    nothing is converted or normalised.
    """

    samples: Path | None = None
    python: Path | None = None
    trusted: Sequence[str] = ()
    as_is: bool = False


@dataclass(slots=True)
class _Result:
    files: dict[str, Path]
    parity: Parity | None = None
    changed: bool = False
    told: list[Problem] = field(default_factory=list)


def prepare_model(
    draft: Draft,
    manifest: Manifest,
    content: Content,
    runner: ModelRunner,
    preparation: Preparation,
    control: Control,
) -> tuple[Draft, Manifest, tuple[Problem, ...]]:
    """Return the Draft with what its files show, the Artifact to offer, and what to tell.

    Raise ``FormatRefused`` for a file that breaks a rule, ``WorkerFailed`` when it could
    not be looked at, or ``Cancelled``.
    """
    made_from = None
    with content.work() as folder:
        facts = _inspect(content.files(manifest), runner, folder, control)
        result = _Result(dict(content.files(manifest)))
        if not preparation.as_is:
            for number, one in enumerate(facts):
                scratch = folder / f"made-{number}"
                _prepare_file(one, result, runner, scratch, preparation, control)
        if result.changed:
            made = _gather(result.files, folder / "out")
            made_from = manifest.artifact_id
            manifest = import_artifact(made, content.pieces, control).manifest
            facts = _inspect(content.files(manifest), runner, folder, control)
    draft = msgspec.structs.replace(
        draft,
        parity=result.parity,
        made_from=made_from,
        artifact=manifest.artifact_id,
        size=manifest.size,
        files=len(manifest.files),
    )
    told = result.told
    if facts:
        draft, more = apply_facts(draft, facts, vocabulary=concepts())
        told = [*told, *more, *_seen(facts)]
    else:
        told = [*told, Problem("listing.no_model_file", "artifact", {}, is_warning=True)]
    return draft, manifest, tuple(told)


def _seen(facts: Sequence[ModelFacts]) -> list[Problem]:
    """Tell what inspection found odd, once for each file."""
    return [
        Problem(f"facts.warning.{word}", one.file, is_warning=True)
        for one in facts
        for word in one.warnings
    ]


def _inspect(
    files: Mapping[str, Path], runner: ModelRunner, folder: Path, control: Control
) -> tuple[ModelFacts, ...]:
    return inspect_files(runner, files, folder, control).facts


def _prepare_file(
    facts: ModelFacts,
    result: _Result,
    runner: ModelRunner,
    scratch: Path,
    preparation: Preparation,
    control: Control,
) -> None:
    scratch.mkdir()
    try:
        done = prepare(
            facts,
            result.files,
            runner,
            scratch,
            control,
            preparation.samples,
            preparation.python,
            trusted=preparation.trusted,
        )
    except (ConversionUnavailable, NotConvertible, ConversionRefused, WorkerFailed) as error:
        if isinstance(error, WorkerFailed) and error.kind == "cancelled":
            raise
        result.told.append(_not_converted(facts.file, error))
        return
    result.told += [
        Problem(f"convert.note.{note}", facts.file, {}, is_warning=True) for note in done.notes
    ]
    if done.kept:
        result.files = dict(done.files)
        result.changed = True
    if done.parity is not None and (result.parity is None or result.parity.verdict != "fail"):
        result.parity = done.parity


def _not_converted(file: str, error: HanseError) -> Problem:
    return Problem(error.code, file, error.values, is_warning=True)


def _gather(files: Mapping[str, Path], out: Path) -> Path:
    """Link all files under their names in the Artifact; return what is to be imported."""
    out.mkdir()
    for name, path in files.items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:  # another disk, or one without links
            shutil.copyfile(path, target)
    return out / next(iter(files)) if len(files) == 1 else out
