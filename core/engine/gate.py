"""The gate before publishing: an Artifact is seen to be whole, sound and running, here, first.

* What can be read is tested up to Level 2 under the newest core suite; measuring, which takes
  long, is left to a certification.  What was certified before is not tested again.
* A check that fails stops publishing, unless the seller says that the model is listed untested;
  then it is Level 0, and nothing is signed of it.
* What may carry code is never run: it is listed at Level 0 without a test.

What is signed of it is planned with the Release, in one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.certify.checks.results import sentence_code
from hanse.core.engine.certificate_plan import plan_certificate
from hanse.core.engine.certify_target import CertifyRequest, Target
from hanse.core.engine.certifying import NotTested
from hanse.core.engine.draft_problems import level_of
from hanse.core.engine.suite_runs import suite_of
from hanse.core.model.ids import EntryId
from hanse.core.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.engine.certifying import Certifying
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.signing import PlannedEntry
    from hanse.core.engine.tested import Tested
    from hanse.core.model.card import ModelCard
    from hanse.core.model.control import Control
    from hanse.core.model.listing import Draft
    from hanse.core.store.unit_of_work import Repositories

SUITE: Final = "core"
LEVEL: Final = 2


class Gate:
    """Tests Drafts before they are published."""

    def __init__(self, context: Context, content: Content, certifying: Certifying) -> None:
        """Bind the Account, its files, and what runs suites."""
        self._context = context
        self._content = content
        self._certifying = certifying

    def applies(self, draft: Draft) -> bool:
        """Say whether a Draft is of a kind that is tested, and its seller has it tested."""
        return draft.artifact is not None and not draft.untested and level_of(draft) > 0

    def tested(self, held: Repositories, draft: Draft) -> Tested | None:
        """Return what testing the model of a Draft came to, if that was done."""
        if not self.applies(draft):
            return None
        assert draft.artifact is not None
        view = self._certifying.tested_in(held, draft.artifact, suite_of(SUITE).sha256)
        return None if view is None else view.tested

    def test(self, draft: Draft, control: Control) -> None:
        """Test the model of a Draft, unless that was done; raise ``NoSandbox`` or ``Cancelled``."""
        with self._context.store.reads() as reads:
            if not self.applies(draft) or self.tested(reads, draft) is not None:
                return
        assert draft.artifact is not None
        request = CertifyRequest(artifact=draft.artifact, suite=SUITE, level_most=LEVEL, nice=0)
        job = self._certifying.queue(request, now=True).row.job
        view = self._certifying.run(job, control)
        if view.tested is None:  # another thread ran it, and was stopped
            raise NotTested(job=job, state=view.row.state.value)

    def problems(self, held: Repositories, draft: Draft) -> tuple[Problem, ...]:
        """Return what stops publishing: the first check that failed up to Level 2, and why."""
        tested = self.tested(held, draft)
        if tested is None:
            return ()
        suite = suite_of(SUITE)
        for one in tested.measured.checks:
            planned = suite.check(one.id)
            if one.result == "fail" and planned is not None and planned.level <= LEVEL:
                failed = Problem("publish.gate_failed", "artifact", {"check": one.id})
                return failed, Problem(sentence_code(one.reason), "artifact", dict(one.values))
        return ()

    def plan(
        self,
        held: Repositories,
        draft: Draft,
        card: ModelCard,
        release_of: Callable[[Sequence[EntryId]], EntryId | None],
    ) -> PlannedEntry | None:
        """Plan the Certificate that is signed with the Release; ``None`` where none is."""
        tested = self.tested(held, draft)
        if tested is None:
            return None
        assert draft.artifact is not None
        manifest = self._content.manifest(draft.artifact)
        target = Target(
            artifact=draft.artifact,
            manifest=manifest,
            files=self._content.files(manifest),
            card=card,
            task=draft.task,
            parity=None if draft.parity is None else draft.parity.verdict,
            made_from=draft.made_from,
            release=None,
            listing=None if draft.listing is None else EntryId(draft.listing),
            seller=self._context.identity,
            role="seller",
        )
        before = held.certificates.newest_by(self._context.identity, draft.artifact)
        supersedes = None if before is None or before.revocation is not None else before.cert
        return plan_certificate(self._context, target, tested, release_of, supersedes).entry
