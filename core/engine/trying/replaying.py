"""Warranty by Replay: after delivery, the answers of the Trial are run again on what was delivered.

* The seal key comes from the Content key the buyer paid for; one that is not what the GRANT
  committed to is the seller's signed fault.
* The delivered files must be the Artifact that was granted: other files are shown by their
  hashes, not by running them.
* The model runs in a Worker.  What it comes to is kept, and belongs into COMPLETE.
* A mismatch is signed as a Private Entry ``warranty/1`` and written as a file that anybody can
  check.

What counts as a mismatch is ``hanse.core.certify.replay``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.artifacts.importing import import_artifact
from hanse.core.certify.inspecting import inspect_files
from hanse.core.certify.replay import Session
from hanse.core.certify.replay import replay as replay_answers
from hanse.core.certify.warranty import make_proof
from hanse.core.crypto.blobs import seal_blob
from hanse.core.crypto.passwords import KEY_SIZE_BYTES, NONCE_SIZE_BYTES
from hanse.core.engine.certify_target import Named, Target, staged_model, target_of
from hanse.core.engine.trying.post import append_step, disclose_own, opening_entries
from hanse.core.engine.trying.proof import ProofFile, entry_row, write_proof_file
from hanse.core.engine.trying.records import (
    BUYER,
    disclosure_of,
    exchanges_of,
    trial_of,
    trial_row,
)
from hanse.core.engine.trying.subject import NoRunnableModel, run_limits
from hanse.core.engine.trying.views import ReplayView
from hanse.core.errors import VerificationFailed
from hanse.core.model.blob import Blob
from hanse.core.trade.trial_rules import TrialRefused
from hanse.core.trade.trial_sealing import seal_key_of

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.certify.warranty import ProofParts
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.model.control import Control
    from hanse.core.model.ids import EntryId
    from hanse.core.model.running import ModelRunner
    from hanse.core.model.trial import Exchange, Granted, ReplayResult
    from hanse.core.store.trials import TrialRow


class OtherArtifact(VerificationFailed):
    """What was delivered is not the Artifact of the grant: its hashes say so, no run is needed."""

    code = "trial.other_artifact"
    text = "the delivered files are artifact {found}, the grant is of {expected}"
    fields = ("expected", "found")


class Replaying:
    """Replays of this Account's own Trials."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner) -> None:
        """Bind the Account, its files, and what starts Workers."""
        self._context = context
        self._content = content
        self._runner = runner

    def replay(
        self,
        trial: bytes,
        content_key: bytes,
        control: Control,
        delivered: Path | None = None,
        *,
        order: EntryId | None = None,
    ) -> ReplayView:
        """Run every kept answer again on the delivered model, and keep what it comes to.

        ``delivered`` are the opened files, a single one or a folder; without it they are looked
        for in the store.  A mismatch comes with the bytes of a Proof.  Raises ``OtherArtifact``,
        ``WrongSealKey`` or ``BadTranscript``.
        """
        context = self._context
        with context.store.reads() as reads:
            row = trial_row(reads, trial, BUYER)
            granted = trial_of(reads, row, context.identity).granted
            exchanges = tuple(exchanges_of(reads, row))
        if granted is None or granted.grant.answers is None:
            raise TrialRefused("not_granted")
        if not exchanges:
            raise TrialRefused("no_answers")
        seal_key = seal_key_of(content_key, row.trial, granted.grant.answers)
        result = self._run(granted, exchanges, seal_key, delivered, control)
        proof = None
        if result.verdict == "mismatch":
            context.may_sign()
            proof = self._prove(row, make_proof(granted, exchanges, seal_key, result), order)
        with context.store.unit_of_work() as uow:
            uow.trials.replayed(row.trial, BUYER, result.verdict, context.clock.now_ms())
            uow.commit()
        return ReplayView(row.trial, result, proof)

    def _run(
        self,
        granted: Granted,
        exchanges: tuple[Exchange, ...],
        seal_key: bytes,
        delivered: Path | None,
        control: Control,
    ) -> ReplayResult:
        content = self._content
        target = self._delivered(granted, delivered, control)
        with content.work() as scratch:
            model = staged_model(target, scratch)
            if model is None:
                raise NoRunnableModel(artifact=target.artifact, formats=())
            found = inspect_files(self._runner, target.files, scratch, control).facts
            facts = next((one for one in found if one.file == model.file), None)
            with model.worker(self._runner, run_limits(model.size_bytes), control) as worker:
                session = Session(worker, model.load(worker, 1, control), facts)
                return replay_answers(granted, exchanges, seal_key, session, control)

    def _delivered(self, granted: Granted, delivered: Path | None, control: Control) -> Target:
        """Find the delivered files, which must be the Artifact that was granted."""
        wanted = granted.grant.artifact
        if delivered is None:
            with self._context.store.reads() as reads:
                what = Named(wanted, None)
                return target_of(reads, self._content, self._context.identity, what)
        manifest = import_artifact(delivered, self._content.pieces, control).manifest
        if manifest.artifact_id != wanted:
            raise OtherArtifact(expected=wanted.hex(), found=manifest.artifact_id.hex())
        return Target(
            artifact=wanted,
            manifest=manifest,
            files=self._content.files(manifest),
            card=None,
            task="",
            parity=None,
            made_from=None,
            release=None,
            listing=None,
            seller=None,
            role="buyer",
        )

    def _prove(self, row: TrialRow, parts: ProofParts, order: EntryId | None) -> bytes:
        """Sign the Proof as a Private Entry and write it for others."""
        context, chance = self._context, self._context.chance
        sealed: list[bytes] = []
        blobs: list[Blob] = []
        for plain in (parts.inputs, parts.outputs):
            key = chance.bytes(KEY_SIZE_BYTES)
            sealed.append(seal_blob(plain, key, chance.bytes(NONCE_SIZE_BYTES)))
            digest = self._content.small.put(sealed[-1])
            blobs.append(Blob(digest, len(sealed[-1]), key))
        with context.store.unit_of_work() as uow:
            body = parts.body(order, blobs[0], blobs[1])
            entry = append_step(context, uow, body, row.counterparty)
            warranty = disclose_own(context, uow, entry)
            release = uow.feeds.find(row.release)
            assert release is not None
            assert row.grant is not None
            file = ProofFile(
                request=disclosure_of(row, row.request),
                grant=disclosure_of(row, row.grant),
                warranty=warranty,
                release=entry_row(release.entry),
                inputs=sealed[0],
                outputs=sealed[1],
                openings=tuple(
                    entry_row(one)
                    for one in opening_entries(uow, (context.identity, row.counterparty))
                ),
            )
            raw = write_proof_file(file, context.clock.now_ms())
            context.note_leaving(uow)
            uow.commit()
        return raw
