"""The open edition of a Release: another Artifact in the clear, found from the full one's card.

* It needs no grant and has no limit: whoever holds its files runs them.
* It is not what is sold.  How it differs stands beside every figure, as the seller stated it.
* Nothing of the data that it is tried on leaves.

Which Artifact it is, and how it differs, is the seller's signed card's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.importing import import_artifact
from hanse.core.artifacts.quota import Whose
from hanse.core.certify.data import evaluate_quality, plan_quality
from hanse.core.engine.certify_target import Named, staged_model, target_of
from hanse.core.engine.trying.data import read_own_data, wanted_of
from hanse.core.engine.trying.records import BUYER
from hanse.core.engine.trying.replaying import OtherArtifact
from hanse.core.engine.trying.subject import NoRunnableModel, run_limits, subject_of
from hanse.core.engine.trying.views import HONEST_OPEN, OpenQuality, TrialView
from hanse.core.model.trial import TrialState
from hanse.core.store.objects import ManifestRow, ObjectUse, Part
from hanse.core.trade.trial_rules import TrialRefused

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.certify.data import Wanted
    from hanse.core.engine.certify_target import Target
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.data import OwnData
    from hanse.core.engine.trying.subject import Subject
    from hanse.core.model.card import OpenTrial
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner

_BATCH: Final = 64


class OpenEditions:
    """Editions to try of other people's Releases, whose files are here."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner) -> None:
        """Bind the Account, its files, and what starts Workers."""
        self._context = context
        self._content = content
        self._runner = runner

    def find(self, subject: Subject) -> TrialView:
        """Return the open edition of a Release as a Trial that runs already.

        Raises ``TrialRefused`` where there is none, ``ArtifactNotHeld`` where it has to be fetched.
        """
        edition, target = self._edition(subject)
        return TrialView(
            trial=None,
            role=BUYER,
            way="open",
            state=TrialState.GRANTED,
            release=subject.release,
            listing=subject.row.listing,
            artifact=target.artifact,
            counterparty=subject.seller,
            honest=HONEST_OPEN,
            over="",
            created_ms=self._context.clock.now_ms(),
            relation=edition.relation,
            note=edition.note,
        )

    def bring(self, release: bytes, path: Path, control: Control) -> TrialView:
        """Take the files of an edition that somebody handed over; ``path`` is a file or a folder.

        Raises ``OtherArtifact`` for files that are not the edition the card names.
        """
        context, content = self._context, self._content
        with context.store.reads() as reads:
            subject = subject_of(reads, content, release)
        wanted = _offered(subject)[1]
        manifest = import_artifact(path, content.pieces, control).manifest
        if manifest.artifact_id != wanted:
            raise OtherArtifact(expected=wanted.hex(), found=manifest.artifact_id.hex())
        content.small.put(manifest.encode())
        with context.store.unit_of_work() as uow:
            if not any(use.part is Part.PLAIN for use in uow.objects.of_artifact(wanted)):
                now_ms = context.clock.now_ms()
                uow.objects.want(
                    [
                        ObjectUse(one.root, one.size, wanted, Part.PLAIN, Whose.TRIAL)
                        for one in manifest.files
                    ],
                    now_ms,
                )
                uow.objects.put_manifest(ManifestRow(wanted, now_ms))
            uow.commit()
        return self.find(subject)

    def evaluate(
        self,
        release: bytes,
        data: OwnData,
        control: Control,
        metrics: tuple[str, ...] | None = None,
    ) -> OpenQuality:
        """Judge the open edition of the full Release ``release`` on one's own data."""
        with self._context.store.reads() as reads:
            subject = subject_of(reads, self._content, release)
        edition, target = self._edition(subject)
        wanted = _wanted(target, subject)
        dataset = read_own_data(data, wanted, self._content, self._runner, control)
        plan = plan_quality(wanted, dataset, metrics)
        with self._content.work() as scratch:
            model = staged_model(target, scratch)
            if model is None:
                formats = tuple(one.format for one in subject.card.variants)
                raise NoRunnableModel(artifact=target.artifact, formats=formats)
            with model.worker(self._runner, run_limits(model.size_bytes), control) as worker:
                model.load(worker, 1, control)
                ran = worker.evaluate(dataset.inputs, _BATCH, control)
                grade = worker.grade
        rows = evaluate_quality(dataset, ran.outputs, plan, is_public=False)
        return OpenQuality(target.artifact, edition.relation, edition.note, tuple(rows), grade)

    def _edition(self, subject: Subject) -> tuple[OpenTrial, Target]:
        edition, artifact = _offered(subject)
        context = self._context
        with context.store.reads() as reads:
            what = Named(artifact, None)
            return edition, target_of(reads, self._content, context.identity, what)


def _offered(subject: Subject) -> tuple[OpenTrial, bytes]:
    edition = subject.card.trial.open
    if edition is None or edition.artifact is None:
        raise TrialRefused("not_offered")
    return edition, edition.artifact


def _wanted(target: Target, subject: Subject) -> Wanted:
    """Return what the edition wants: by its own card, else by that of the full model."""
    if target.card is not None and target.card.signature.inputs:
        return wanted_of(target.card, target.task or subject.task, target.artifact)
    return wanted_of(subject.card, subject.task, target.artifact)
