"""One run of a suite over an Artifact held here: what is staged, with which data, on which cores.

* A model comes from its plain files, or from a sealed Trial, opened in memory.
* The Listing's own evaluation set is used where it is held, and a person's beside it.
* Golden vectors are kept as a Blob, by their hash.

What a check does is ``hanse.core.certify``'s; which job asked for it is not known here.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.attest.suites import SuiteNotHere, bundled
from hanse.core.certify.certifying import certify
from hanse.core.certify.checks.suite_run import Job, Settings
from hanse.core.certify.golden import read_golden
from hanse.core.certify.hardware import probe_hardware
from hanse.core.certify.inspecting import inspect_files
from hanse.core.engine.certify_data import (
    listings_own,
    read_evaluation,
    read_kept_mapping,
    wanted_of,
)
from hanse.core.engine.certify_target import Named, staged_model, target_of
from hanse.core.engine.tested import Tested
from hanse.core.errors import Refused, RejectedEntry, WrongUse
from hanse.core.model.artifact import ModelFacts, TensorFacts
from hanse.core.model.certificate import Reproduces
from hanse.core.model.ids import EntryId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from hanse.core.certify.certifying import Found
    from hanse.core.certify.checks.quality import Evaluation
    from hanse.core.certify.golden import GoldenVectors
    from hanse.core.certify.source import ModelSource
    from hanse.core.engine.certify_target import CertifyRequest, Target
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.model.card import ModelCard, Tensor
    from hanse.core.model.certificate import CheckResult
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.suite import Suite
    from hanse.core.store.unit_of_work import Repositories

_THREADS_MOST: Final = 64
_NO_METRIC: Final = frozenset(  # tasks that no number here judges
    {"feature-extraction", "text-generation", "text-to-speech", "image-to-text"}
)


class NothingToReproduce(WrongUse):
    """The Certificate that is to be reproduced is not held here."""

    code = "certify.unknown_certificate"
    text = "no certificate {certificate} is held here"
    fields = ("certificate",)


class OtherArtifact(WrongUse):
    """A Certificate that is to be reproduced is of another Artifact."""

    code = "certify.other_artifact"
    text = "the certificate is of artifact {expected}, not of {found}"
    fields = ("expected", "found")


class SuiteRuns:
    """Runs suites over what this folder holds."""

    def __init__(
        self,
        context: Context,
        content: Content,
        runner: ModelRunner,
        sealed: Callable[[bytes, Control], AbstractContextManager[ModelSource]],
        app: str,
    ) -> None:
        """Bind the Account, its files, what starts Workers, and our version.

        ``sealed`` opens the model of a sealed Trial in memory.
        """
        self._context = context
        self._content = content
        self._runner = runner
        self._sealed = sealed
        self._app = app

    def run(
        self,
        request: CertifyRequest,
        control: Control,
        *,
        done: Mapping[str, CheckResult],
        begun: Callable[[int], None],
        keep: Callable[[CheckResult], None],
    ) -> Tested:
        """Run what was asked for; raise what keeps it from being run.

        ``done`` are checks that need not be repeated, ``begun`` is told how many there are when
        everything is staged, ``keep`` each result when it is there.
        """
        suite = suite_of(request.suite)
        release = None if request.release is None else EntryId(request.release)
        with self._context.store.reads() as reads:
            target = target_of(
                reads,
                self._content,
                self._context.identity,
                Named(request.artifact, release),
                is_sealed=request.trial is not None,
            )
            reference, reason = self._reference(reads, request, suite)
        machine = probe_hardware()
        with ExitStack() as stack:
            scratch = stack.enter_context(self._content.work())
            source: ModelSource | None = staged_model(target, scratch)
            if request.trial is not None:
                source = stack.enter_context(self._sealed(request.trial, control))
            work = self._staged(request, target, source, reference, scratch, control)
            begun(len(suite.data.checks))
            found = certify(
                work,
                suite,
                self._runner,
                self._settings(request, machine.cores),
                control,
                clock=self._context.clock,
                machine=machine,
                done=done,
                keep=keep,
                level_most=request.level_most,
            )
        if found.golden is not None:
            self._content.small.put(found.golden)
        return _tested(found, request, reason)

    def _staged(
        self,
        request: CertifyRequest,
        target: Target,
        source: ModelSource | None,
        reference: GoldenVectors | None,
        scratch: Path,
        control: Control,
    ) -> Job:
        samples = None
        if target.card is not None and target.card.recipe.samples is not None:
            samples = self._golden(target.card.recipe.samples)
        evaluations: tuple[Evaluation, ...] = ()
        unreadable: tuple[str, str] | None = None
        if source is not None and request.level_most > 2:
            facts = self._facts(target, source, scratch, control)
            if facts is not None:
                evaluations, unreadable = self._evaluations(
                    request, target, facts, scratch, control
                )
        return Job(
            manifest=target.manifest,
            source=source,
            files=target.files or None,
            scratch=scratch,
            has_metric=target.task not in _NO_METRIC,
            card=target.card,
            samples=samples,
            evaluations=evaluations,
            unreadable=unreadable,
            reference=reference,
        )

    def _facts(
        self, target: Target, source: ModelSource, scratch: Path, control: Control
    ) -> ModelFacts | None:
        """Read what the model says of itself; a file that breaks a rule is the suite's to tell.

        Of one that is in memory only, the card says it: the runtime refuses what is not so.
        """
        if not target.files:
            return None if target.card is None else _stated_facts(source, target.card)
        try:
            found = inspect_files(self._runner, target.files, scratch, control).facts
        except Refused:
            return None
        return next((one for one in found if one.file == source.file), None)

    def _evaluations(
        self,
        request: CertifyRequest,
        target: Target,
        facts: ModelFacts,
        scratch: Path,
        control: Control,
    ) -> tuple[tuple[Evaluation, ...], tuple[str, str] | None]:
        wanted = wanted_of(facts, target.card, target.task)
        found: list[Evaluation] = []
        stated = None if target.card is None else target.card.stated_evaluation
        raw = None if stated is None else self._content.small.get(stated.sha256)
        unreadable = None
        if raw is not None and stated is not None and target.card is not None:
            try:
                own = listings_own(raw, target.card, wanted, self._runner, scratch, control)
                found.append(own)
            except Refused as error:
                # It keeps nobody from testing the rest, and is the failure of its own check.
                unreadable = stated.name, str(error)
        if request.data:
            found.append(
                read_evaluation(
                    Path(request.data),
                    wanted,
                    read_kept_mapping(request.mapping),
                    self._runner,
                    scratch,
                    control,
                    metrics=request.metrics,
                    is_public=request.is_public,
                )
            )
        return tuple(found), unreadable

    def _reference(
        self, held: Repositories, request: CertifyRequest, suite: Suite
    ) -> tuple[GoldenVectors | None, str]:
        """Return the golden vectors of the Certificate that is reproduced, or why there are none.

        Figures compare only under one suite, and so do outputs.
        """
        if request.reproduces is None:
            return None, ""
        row = held.certificates.get(EntryId(request.reproduces))
        if row is None:
            raise NothingToReproduce(certificate=request.reproduces)
        if row.artifact != request.artifact:
            raise OtherArtifact(expected=row.artifact, found=request.artifact)
        if not row.is_known or row.suite != suite.name:
            return None, "suite"
        found = None if row.golden is None else self._golden(row.golden)
        return found, "" if found is not None else "vectors_missing"

    def _golden(self, digest: bytes) -> GoldenVectors | None:
        raw = self._content.small.get(digest)
        if raw is None:
            return None
        try:
            return read_golden(raw)
        except RejectedEntry:
            return None  # somebody signed the hash of something else

    def _settings(self, request: CertifyRequest, cores: int) -> Settings:
        allowed = min(request.cores or cores, cores)
        return Settings(
            threads=min(allowed, _THREADS_MOST),
            cores=request.cores,
            nice=request.nice,
            app=self._app,
        )


def suite_of(name: str) -> Suite:
    """Return the suite ``core`` (its newest version) or ``core/1.0.0``; raise ``SuiteNotHere``."""
    suites = bundled()
    found = suites.named(name) if "/" in name else None
    if found is not None:
        return found
    if "/" in name:
        raise SuiteNotHere(name=name, known=tuple(one.name for one in suites.suites))
    return suites.newest(name)


def _stated_facts(source: ModelSource, card: ModelCard) -> ModelFacts:
    """Return the signature a card states as if the file had shown it."""

    def shown(tensors: Sequence[Tensor]) -> tuple[TensorFacts, ...]:
        return tuple(TensorFacts(name=it.name, dtype=it.dtype, shape=it.shape) for it in tensors)

    return ModelFacts(
        format=source.format,
        file=source.file,
        inputs=shown(card.signature.inputs),
        outputs=shown(card.signature.outputs),
    )


def _tested(found: Found, request: CertifyRequest, reason: str) -> Tested:
    golden = found.measured.golden
    reproduces = None
    if request.reproduces is not None:
        compared = found.compared
        reproduces = Reproduces(
            entry=EntryId(request.reproduces),
            verdict="not_comparable" if compared is None else compared.verdict,
            reason=reason if compared is None else compared.reason,
            max_abs_nano=0 if compared is None else compared.max_abs_nano,
            compared=0 if compared is None else compared.compared,
            failing=0 if compared is None else compared.failing,
        )
    return Tested(found.measured, None if golden is None else golden.sha256, reproduces)
