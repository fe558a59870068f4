"""Running a sealed model on the buyer's machine: counted first, opened in memory, forgotten.

* A run is one opening of the model, whatever is asked of it until it is closed.  It is counted
  in a transaction of its own *before* it happens: whoever ends the program between the two has
  lost a run, not won one.
* At the limit, after the date, and when the clock went back by more than an hour the piece keys
  are erased, in the same transaction that says so; nothing runs then.
* What is wrong with the data, or missing of the ciphertext, is found before a run is counted.
* The plain model is never written: it goes from this process's memory into the Worker's.

A Trial edition runs from its plain files, without counting.  The honest sentence about all this
stands in the view of the Trial.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.manifest import read_manifest, read_sealed_manifest
from hanse.core.artifacts.memory_opening import MemoryOpening
from hanse.core.artifacts.sealing import check_seal
from hanse.core.certify.data import evaluate_quality, plan_quality
from hanse.core.certify.memory_model import SealedModel
from hanse.core.crypto.blobs import open_blob
from hanse.core.engine.trying.data import read_own_data, wanted_of
from hanse.core.engine.trying.keys import erase_keys, kept_keys, spent_word
from hanse.core.engine.trying.records import BUYER, TrialDamaged, trial_of, trial_row
from hanse.core.engine.trying.subject import files_beside, model_file, run_limits, subject_of
from hanse.core.engine.trying.views import SealedQuality, SealedRun
from hanse.core.errors import Refused
from hanse.core.model.trial import TrialState
from hanse.core.trade.trial_rules import TrialRefused, TrialSpent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hanse.core.certify.source import ModelSource
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.data import OwnData
    from hanse.core.engine.trying.subject import Subject
    from hanse.core.model.arrays import Array
    from hanse.core.model.control import Control
    from hanse.core.model.ids import EntryId
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.trial import SealedTerms
    from hanse.core.store.trials import TrialRow
    from hanse.core.store.unit_of_work import Repositories

_BATCH: Final = 64


class NotForCertifying(Refused):
    """The seller granted a trial that may not be certified with."""

    code = "trial.not_for_certifying"
    text = "trial {trial} may not be certified with"
    fields = ("trial",)


class SealedRuns:
    """Sealed local trials granted to this Account."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner) -> None:
        """Bind the Account, its files, and what starts Workers."""
        self._context = context
        self._content = content
        self._runner = runner

    def run(self, trial: bytes, inputs: Mapping[str, Array], control: Control) -> SealedRun:
        """Run the sealed model once on ``inputs`` by name; counts one run."""
        with self._content.work() as scratch:
            model, used, most = self._counted(trial, scratch, control)
            with model.worker(self._runner, run_limits(model.size_bytes), control) as worker:
                model.load(worker, 1, control)
                model.opening.erase()
                ran = worker.run(inputs, control)
                return SealedRun(used, most, dict(ran.outputs), ran.ns, worker.grade)

    def evaluate(
        self,
        trial: bytes,
        data: OwnData,
        control: Control,
        metrics: tuple[str, ...] | None = None,
    ) -> SealedQuality:
        """Judge the sealed model on one's own data; counts one run, and nothing leaves."""
        with self._context.store.reads() as reads:
            row = trial_row(reads, trial, BUYER)
            subject = subject_of(reads, self._content, row.release)
        wanted = wanted_of(subject.card, subject.task, subject.artifact)
        dataset = read_own_data(data, wanted, self._content, self._runner, control)
        plan = plan_quality(wanted, dataset, metrics)
        with self._content.work() as scratch:
            model, used, most = self._counted(trial, scratch, control)
            with model.worker(self._runner, run_limits(model.size_bytes), control) as worker:
                model.load(worker, 1, control)
                model.opening.erase()
                ran = worker.evaluate(dataset.inputs, _BATCH, control)
                grade = worker.grade
        rows = evaluate_quality(dataset, ran.outputs, plan, is_public=False)
        return SealedQuality(used, most, tuple(rows), grade)

    @contextmanager
    def memory_source(
        self, trial: bytes, control: Control, *, certifying: bool = True
    ) -> Iterator[ModelSource]:
        """Give the sealed model as a source like any other; counts one run.

        A tester certifies with it if the seller granted that, else ``NotForCertifying``.  Its
        keys are wiped from memory when the block ends.
        """
        if certifying:
            with self._context.store.reads() as reads:
                terms = self._terms(reads, trial_row(reads, trial, BUYER))
            if not terms.certify:
                raise NotForCertifying(trial=trial)
        with self._content.work() as scratch:
            model, _, _ = self._counted(trial, scratch, control)
            try:
                yield model
            finally:
                model.opening.erase()

    def expire(self) -> int:
        """Erase the keys of every sealed trial that is over; return how many there were.

        Called when the program starts; while it runs, a run that is asked for erases them too.
        A folder without such a trial is not written to.
        """
        context, waiting, erased = self._context, self._with_keys(), 0
        if not waiting:
            return 0
        with context.store.unit_of_work() as uow:
            for trial in waiting:
                row, now_ms = trial_row(uow, trial, BUYER), context.clock.now_ms()
                if spent_word(uow, row, now_ms) is not None:
                    erase_keys(uow, row, now_ms)
                    erased += 1
                else:
                    uow.trials.seen(row.trial, BUYER, now_ms)
            uow.commit()
        return erased

    def _with_keys(self) -> list[EntryId]:
        """Return the sealed trials whose keys are here."""
        found: list[EntryId] = []
        with self._context.store.reads() as reads:
            for state in (TrialState.GRANTED, TrialState.RUNNING):
                before = None
                while page := reads.trials.page(BUYER, before, state=state):
                    found += (
                        row.trial
                        for row in page
                        if row.way == "sealed" and row.keys_erased_ms is None
                    )
                    before = (page[-1].updated_ms, page[-1].trial)
        return found

    # --- counting ----------------------------------------------------------------------------

    def _counted(
        self, trial: bytes, scratch: Path, control: Control
    ) -> tuple[SealedModel, int, int]:
        """Make the model ready and count a run; return it with the runs used and granted.

        Raises ``TrialSpent`` once it is over, and what is missing or does not fit before.
        """
        control.checkpoint("prepare", 0, 1)
        with self._context.store.reads() as reads:
            row = trial_row(reads, trial, BUYER)
            terms = self._terms(reads, row)
            keys = kept_keys(self._context, reads, row.trial)
            subject = subject_of(reads, self._content, row.release)
        model = None
        if keys is not None:
            model = self._model(subject, terms, keys, scratch)
            model.check_memory()
        used = self._count(row.trial)
        if model is None:
            raise TrialSpent("clock")
        return model, used, terms.runs_max

    def _count(self, trial: EntryId) -> int:
        """Count one run durably, or erase the keys and raise ``TrialSpent``."""
        context = self._context
        with context.store.unit_of_work() as uow:
            row = trial_row(uow, trial, BUYER)
            if row.close is not None:
                raise TrialRefused("closed")
            terms = self._terms(uow, row)
            now_ms = context.clock.now_ms()
            word = spent_word(uow, row, now_ms)
            if word is not None:
                erase_keys(uow, row, now_ms)
                uow.commit()
                raise TrialSpent(word)
            used = uow.trials.count_run(trial, now_ms)
            if row.state is TrialState.GRANTED:
                uow.trials.runs(trial, BUYER, now_ms)
            if used >= terms.runs_max:
                erase_keys(uow, row, now_ms)  # this run has them in memory already
            uow.commit()
        return used

    def _terms(self, held: Repositories, row: TrialRow) -> SealedTerms:
        granted = trial_of(held, row, self._context.identity).granted
        if granted is None or granted.grant.sealed is None:
            raise TrialRefused("not_granted")
        return granted.grant.sealed

    def _model(
        self, subject: Subject, terms: SealedTerms, sealed_keys: bytes, scratch: Path
    ) -> SealedModel:
        """Bring Manifests, ciphertext and keys together; raise for the first that is missing."""
        content, seal = self._content, subject.row.seal
        assert seal is not None
        assert terms.keys.key is not None
        plain = read_manifest(content.object(seal.manifests[0]))
        sealed = read_sealed_manifest(content.object(seal.manifests[1]), plain)
        check_seal(plain, sealed, seal, subject.row.files)
        file, file_format = model_file(subject, plain)
        beside = files_beside(subject, plain, file) if file_format == "onnx" else ()
        for root, one in zip(sealed.roots, plain.files, strict=True):
            if one.path in (file, *beside):
                content.pieces.open(root, one.size).close()
        keys = open_blob(sealed_keys, terms.keys.key)
        if keys is None:
            raise TrialDamaged(trial=subject.release, part="keys")
        opening = MemoryOpening(plain, sealed, keys, content.pieces)
        return SealedModel(file, file_format, opening, scratch, beside)
