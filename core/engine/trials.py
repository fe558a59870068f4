"""Testing before purchase: everything a buyer or a seller can do about a Trial, in one place.

* Three ways the seller switches on per Release: the open edition, a Sealed local trial, signed
  answers.
* Steps, queries and answers travel as ``.hanse-trial`` files, or through any ``TrialPeer``.
* After delivery the answers are run again; a mismatch is a Proof that anybody can check.

Each part keeps its own rules; see ``buyer``, ``seller``, ``editions``,
``sealed``, ``replaying`` and ``bakeoff``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.engine.trying.bakeoff import BakeOffs
from hanse.core.engine.trying.buyer import Buying
from hanse.core.engine.trying.naming import trial_named
from hanse.core.engine.trying.offer import trial_offer
from hanse.core.engine.trying.pace import Waiting
from hanse.core.engine.trying.proof import verify_proof_file
from hanse.core.engine.trying.replaying import Replaying
from hanse.core.engine.trying.sealed import SealedRuns
from hanse.core.engine.trying.seller import Answering
from hanse.core.engine.trying.showing import view_of
from hanse.core.model.trial import TrialState
from hanse.core.store.trials import TRIALS_PER_PAGE

if TYPE_CHECKING:
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.offer import TrialOffer
    from hanse.core.engine.trying.pace import Pace
    from hanse.core.engine.trying.peer import TrialPeer
    from hanse.core.engine.trying.proof import VerifiedProof
    from hanse.core.engine.trying.views import TrialView, VerdictView
    from hanse.core.model.control import Control
    from hanse.core.model.ids import EntryId
    from hanse.core.model.running import ModelRunner
    from hanse.core.store.trials import TrialKey, TrialRole

_QUERIES_AT_ONCE: Final = 10  # what is asked beyond the decision is wasted
_SECOND_MS: Final = 1000


class Trials:
    """All Trials of one Account, in both roles."""

    def __init__(self, context: Context, content: Content, runner: ModelRunner) -> None:
        """Bind the Account, its files, and what starts Workers."""
        self._context = context
        self._content = content
        self.buying = Buying(context, content, runner)
        self.editions = self.buying.editions
        self.answering = Answering(context, content, runner)
        self.sealed = SealedRuns(context, content, runner)
        self.replaying = Replaying(context, content, runner)
        self.bakeoffs = BakeOffs(context, content, runner, self.sealed)

    def offer(self, text: str) -> TrialOffer:
        """Return the ways to try a Release, by the first digits of its id or its Listing's."""
        with self._context.store.reads() as reads:
            return trial_offer(reads, self._content, text)

    def named(self, text: str) -> tuple[EntryId, TrialRole]:
        """Return what a person means by the first digits of a Trial's id, and our role in it."""
        with self._context.store.reads() as reads:
            return trial_named(reads, text)

    def page(
        self,
        role: TrialRole,
        before: TrialKey | None = None,
        limit: int = TRIALS_PER_PAGE,
        *,
        state: TrialState | None = None,
    ) -> tuple[TrialView, ...]:
        """Return the Trials in one role, the one changed last first."""
        with self._context.store.reads() as reads:
            rows = reads.trials.page(role, before, limit, state=state)
            return tuple(view_of(self._context, reads, row) for row in rows)

    def carry(
        self, trial: bytes, peer: TrialPeer, control: Control, pace: Pace | None = None
    ) -> TrialView:
        """Take a Trial as far as its seller answers: grant, queries, until it is decided.

        Goes on where it was left.  Returns when the Trial is over or the seller answers no
        further now; what the peer raises leaves everything as it stands.
        """
        view = self.buying.show(trial)
        if view.state is TrialState.REQUESTED:
            view = self.buying.take(peer.ask(self.buying.outgoing(trial), control))
        pace = pace or Waiting(self._context.clock)
        while view.way == "answers" and view.answers_most is not None and not view.over:
            control.checkpoint("answers", view.answers, view.answers_most)
            queries = self.buying.next_queries(trial, _QUERIES_AT_ONCE, peer.most_bytes)
            before = view.answers
            view = self.buying.take(peer.query(queries, control))
            if view.stopped == "too_fast":
                if not pace.wait_until(self._context.clock.now_ms() + _SECOND_MS, control):
                    break
            elif view.answers == before:
                break
        return view

    def verdict(self, trial: bytes) -> VerdictView:
        """Say what the answers decide so far."""
        return self.buying.verdict(trial)

    def verify_proof(self, raw: bytes) -> VerifiedProof:
        """Check a ``.hanse-warranty`` as anybody can; raise what does not hold."""
        return verify_proof_file(raw, self._context.clock.now_ms())
