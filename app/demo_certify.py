"""The part of ``hanse demo`` that tests: certification, a sealed trial, a swap that is found out.

* The four trained models run in locked Workers, are measured on rows kept from training, and
  what the seller claimed stands beside what was measured here.
* Bo verifies the Certificates from files alone, tries a sealed model in memory that his node has
  fetched, and asks for signed answers.
* Anna's machine then answers with another model than the one it delivers, once: Bo's replay
  proves it, and the proof is verified without an Account.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.app.demo_models import train
from hanse.core.artifacts.manifest import read_sealed_manifest
from hanse.core.artifacts.opening import open_artifact
from hanse.core.certify.client import WorkerClient
from hanse.core.engine.auditing import verify_file
from hanse.core.engine.certify_target import CertifyRequest
from hanse.core.engine.preparing import Preparation
from hanse.core.engine.trials import Trials
from hanse.core.engine.trying.buyer import Question
from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.proof import verify_proof_file
from hanse.core.ledger.kinds import Release1, parse_body
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.concepts import concepts
from hanse.core.market.scaled import micro_text
from hanse.core.model.control import Control
from hanse.core.model.ids import EntryId
from hanse.core.model.running import Stage
from hanse.core.sentences import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hanse.app.demo_models import TrainedModel
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.publish_call import Published
    from hanse.core.model.running import ModelRunner, Profile, Worker, WorkerLimits

SUITE: Final = "quick"  # the same checks as ``core``, in seconds: its figures are only its own
TRIED: Final = "finance"  # a forest: of a linear model few answers would tell everything
_OTHER_SEED: Final = 8
_ANSWERS: Final = 4
_CLAIM_MICRO: Final = 800_000
_MARGIN_MICRO: Final = 100_000


@dataclass(frozen=True, slots=True)
class Sold:
    """One model that was trained and published."""

    trained: TrainedModel
    done: Published


class Swapper:
    """A seller's machine that answers with another model than the one that is sold.

    Starts real Workers, on the stage of the other model.
    """

    def __init__(self, folder: Path) -> None:
        """Serve what lies in ``folder``, under the names the real files have."""
        self._runner = WorkerClient()
        self._folder = folder

    def start(
        self, stage: Stage, limits: WorkerLimits, profile: Profile, python: Path | None = None
    ) -> Worker:
        """Start a Worker that sees the other model."""
        return self._runner.start(Stage(self._folder, stage.scratch), limits, profile, python)


class Testing:
    """Certifying and trying, told by the demo's own voice."""

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

    def certify(self, engine: Engine, sold: Sequence[Sold]) -> list[Path]:
        """Certify each model on this machine, sign, and write the Certificates out."""
        files = []
        for one in sold:
            begin = time.monotonic()
            request = CertifyRequest(
                artifact=one.done.artifact_id, release=one.done.release_id, suite=SUITE, nice=0
            )
            job = engine.certifying.queue(request, now=True).row.job
            tested = engine.certifying.run(job, Control()).tested
            assert tested is not None
            measured = tested.measured
            self._must(
                measured.level == 3 and measured.outcome != "FAILED",
                "demo.certify_failed",
                model=one.done.model_name,
                level=measured.level,
                outcome=measured.outcome,
            )
            cert = engine.certifying.sign(engine.certifying.preview(job))
            view = engine.certificates.of_release(EntryId(one.done.release_id))
            assert view is not None
            (claim,) = view.claims
            self._must(claim.relation == "within", "demo.claim_failed", model=one.done.model_name)
            assert claim.measured_micro is not None
            row = measured.perf[0]
            self._step(
                "demo.certified",
                model=one.done.model_name,
                level=measured.level,
                metric=self._metric(claim.metric),
                claimed=micro_text(claim.claimed_micro),
                measured=micro_text(claim.measured_micro),
                low=micro_text(claim.low_micro or 0),
                high=micro_text(claim.high_micro or 0),
                n=claim.n,
                p50=f"{row.p50 / 1000:.1f}",
                grade=measured.isolation.grade,
                seconds=f"{time.monotonic() - begin:.1f}",
            )
            path = self._base / f"{one.trained.sector}.hanse-cert"
            engine.certificates.export(cert, path)
            files.append(path)
        return files

    def verify(self, files: Sequence[Path], sold: Sequence[Sold], bo: Engine, now_ms: int) -> None:
        """Verify the Certificates: from the files alone, and as Bo's catalogue counts them."""
        for path in files:
            self._must(verify_file(path, now_ms).holds, "demo.certificate_failed", file=path.name)
        measured = bo.catalogue.search(CatalogueQuery(level_min=3)).count
        self._must(measured == len(sold), "demo.levels_failed", count=measured)
        self._step("demo.certificates_verified", count=len(files))

    def try_sealed(self, anna: Engine, bo: Engine, one: Sold) -> None:
        """Let Bo run the sealed model on his own rows, in memory, as often as was granted."""
        trials = bo.trials
        trial = trials.buying.start(one.done.release_id, "sealed", Control()).trial
        assert trial is not None
        reply = anna.trials.answering.answer(trials.buying.outgoing(trial), Control())
        trials.buying.take(reply.reply)
        found = trials.sealed.evaluate(trial, self._rows(one), Control(), ("accuracy",))
        row = found.rows[0]
        self._step(
            "demo.tried_sealed",
            metric=self._metric(row.metric),
            value=micro_text(row.value_micro),
            n=row.n,
            used=found.runs_used,
            most=found.runs_most,
        )
        view = trials.buying.show(trial)
        self._step("demo.honest", sentence=self._say(view.honest))

    def replay(self, anna: Engine, bo: Engine, one: Sold) -> None:
        """Ask for signed answers twice, once of a swapped model; replay both on the delivery."""
        delivered = self._deliver(anna, bo, one)
        key = content_key(anna, one.done.release_id)
        for is_swapped in (False, True):
            honest = anna.trials
            if is_swapped:
                runner: ModelRunner = Swapper(self._other_model(anna, one))
                anna.trials = Trials(anna.context, anna.content, runner)
            trial = self._answers(anna, bo, one)
            anna.trials = honest
            found = bo.trials.replaying.replay(trial, key, Control(), delivered)
            expected = "mismatch" if is_swapped else "match"
            self._must(
                found.result.verdict == expected,
                "demo.replay_failed",
                expected=expected,
                found=found.result.verdict,
            )
            if found.proof is None:
                self._step("demo.replay_matches", n=found.result.n)
                continue
            proof = verify_proof_file(found.proof, bo.context.clock.now_ms())
            self._must(proof.release == one.done.release_id, "demo.proof_failed")
            self._step(
                "demo.replay_mismatch",
                n=found.result.n,
                failing=found.result.failing,
                size=len(found.proof),
            )

    def _answers(self, anna: Engine, bo: Engine, one: Sold) -> bytes:
        """Take a Trial of signed answers as far as some answers; one a second, as it is ruled."""
        question = Question(self._rows(one), _CLAIM_MICRO, _MARGIN_MICRO)
        trial = bo.trials.buying.start(one.done.release_id, "answers", Control(), question).trial
        assert trial is not None
        granted = anna.trials.answering.answer(bo.trials.buying.outgoing(trial), Control())
        bo.trials.buying.take(granted.reply)
        queries = bo.trials.buying.next_queries(trial, _ANSWERS)
        reply = anna.trials.answering.answer(queries, Control())
        bo.trials.buying.take(reply.reply)
        return trial

    def _deliver(self, anna: Engine, bo: Engine, one: Sold) -> Path:
        """Open the sealed files on Bo's side, as he will be able to once he has paid."""
        folder = self._base / "delivered"
        body = release_of(anna, one.done.release_id)
        assert body.seal is not None
        manifest = bo.content.manifest(body.artifact)
        sealed = read_sealed_manifest(bo.content.object(body.seal.manifests[1]), manifest)
        key = content_key(anna, one.done.release_id)
        open_artifact(manifest, sealed, key, bo.content.pieces, folder, Control())
        return folder / manifest.files[0].path

    def _other_model(self, anna: Engine, one: Sold) -> Path:
        """Train another model of the same shape and lay it under the name of the real one."""
        folder = self._base / "other"
        folder.mkdir()
        other = train(one.trained.sector, folder, _OTHER_SEED)
        preparation = Preparation(samples=other.samples)
        view = anna.publishing.begin(other.path, Control(), preparation=preparation)
        assert view.draft.artifact is not None
        ((_, path),) = anna.content.files(anna.content.manifest(view.draft.artifact)).items()
        served = self._base / "served"
        served.mkdir()
        name = anna.content.manifest(one.done.artifact_id).files[0].path
        (served / name).write_bytes(path.read_bytes())
        anna.publishing.drop(view.draft_id)
        return served

    def _rows(self, one: Sold) -> OwnData:
        return OwnData(one.trained.rows)

    def _metric(self, metric: str) -> str:
        found = concepts().find(metric, "metric")
        return metric if found is None else concepts().name(found, self._language)

    def _say(self, code: str) -> str:
        return say(code, {}, self._language)


def release_of(engine: Engine, release: bytes) -> Release1:
    """Read the Body of a Release that is held."""
    with engine.context.store.reads() as reads:
        stored = reads.feeds.find(EntryId(release))
    assert stored is not None
    assert stored.entry.body is not None
    body = parse_body(stored.entry.kind, stored.entry.body)
    assert isinstance(body, Release1)
    return body


def content_key(engine: Engine, release: bytes) -> bytes:
    """Derive the Content key of an own Release; a sale hands it over."""
    seal = release_of(engine, release).seal
    assert seal is not None
    with engine.context.store.reads() as reads:
        return engine.context.all_seeds(reads)[seal.epoch].content_key(seal.salt)
