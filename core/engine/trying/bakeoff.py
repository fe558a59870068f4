"""Bring my data: one data set, several models, one table; nothing of it leaves.

* A candidate is an Artifact or a Release whose plain files are here, the open edition of a
  Release, or a Sealed local trial that was granted (which counts one of its runs).
* Each model has its own Worker, one after the other: it gets the inputs, never the truth, and
  its short block of timed runs disturbs no other.
* What is wrong with the data is said before anything runs.  A model that fails stands in the
  table with a word, and the others are compared all the same.
* Price and relation come from the Listing; whether two models differ by more than chance is
  ``hanse.core.certify.data``'s to say.

Figures compare within one table only: same data, same machine, same night (``bakeoff/1.0.0``).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.pieces import ObjectMissing
from hanse.core.certify.data import (
    BakeOffEntry,
    Wanted,
    judge,
    plan_quality,
    rank,
    table_csv,
)
from hanse.core.certify.data.faults import OutputsUnusable
from hanse.core.certify.measure import nearest_rank
from hanse.core.engine.certify_target import Named, staged_model, target_of
from hanse.core.engine.redraft import total_of
from hanse.core.engine.trying.data import read_own_data, wanted_of
from hanse.core.engine.trying.records import BUYER, trial_row
from hanse.core.engine.trying.subject import NoRunnableModel, run_limits, subject_of
from hanse.core.errors import WrongUse
from hanse.core.limits import BAKEOFF_CANDIDATES_MAX
from hanse.core.model.running import Block, WorkerFailed
from hanse.core.trade.trial_rules import TrialRefused, TrialSpent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hanse.core.certify.data import BakeOffTable, CostMatrix, DataSet, Judged
    from hanse.core.certify.source import ModelSource
    from hanse.core.engine.certify_target import Target
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.trying.data import OwnData
    from hanse.core.engine.trying.sealed import SealedRuns
    from hanse.core.model.control import Control
    from hanse.core.model.ids import EntryId
    from hanse.core.model.money import Money
    from hanse.core.model.running import ModelRunner
    from hanse.core.store.unit_of_work import Repositories

SUITE: Final = "bakeoff/1.0.0"
# Frozen with the suite: another block would be another figure.
_BLOCK: Final = Block(
    runs_least=20,
    ns_least=200_000_000,
    ns_most=5_000_000_000,
    runs_most=2000,
    warmup_runs_most=50,
    warmup_ns_most=1_000_000_000,
)
_BATCH: Final = 64
_MEDIAN: Final = 50
_SHOWN_DIGITS: Final = 12


class TooManyCandidates(WrongUse):
    """A bake-off compares a short list."""

    code = "bakeoff.too_many"
    text = "{found} candidates, limit {most}"
    fields = ("found", "most")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model to compare: by exactly one of Artifact, Release or Trial.

    With ``is_open`` a Release stands for its open edition.  ``name`` is made from the Listing
    where it is empty.
    """

    artifact: bytes | None = None
    release: bytes | None = None
    trial: bytes | None = None
    is_open: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class BakeOff:
    """The table of a bake-off, and the same as CSV."""

    suite: str
    table: BakeOffTable
    csv: str


@dataclass(frozen=True, slots=True)
class _Entrant:
    """A candidate with all that is known of it before it runs."""

    name: str
    wanted: Wanted
    target: Target | None
    trial: bytes | None
    price: Money | None
    relation: str


class BakeOffs:
    """Comparisons on this person's own data."""

    def __init__(
        self, context: Context, content: Content, runner: ModelRunner, sealed: SealedRuns
    ) -> None:
        """Bind the Account, its files, what starts Workers, and its sealed trials."""
        self._context = context
        self._content = content
        self._runner = runner
        self._sealed = sealed

    def run(
        self,
        candidates: Sequence[Candidate],
        data: OwnData,
        metric: str,
        control: Control,
        costs: CostMatrix | None = None,
    ) -> BakeOff:
        """Run every candidate on the data and rank them by ``metric``, or by expected cost."""
        if not 1 <= len(candidates) <= BAKEOFF_CANDIDATES_MAX:
            raise TooManyCandidates(found=len(candidates), most=BAKEOFF_CANDIDATES_MAX)
        entrants = [self._entrant(one) for one in candidates]
        read = [
            read_own_data(data, one.wanted, self._content, self._runner, control)
            for one in entrants
        ]
        entries = []
        for number, (entrant, dataset) in enumerate(zip(entrants, read, strict=True)):
            control.checkpoint("bakeoff", number, len(entrants))
            entries.append(self._entry(entrant, dataset, metric, control))
        control.checkpoint("bakeoff", len(entrants), len(entrants))
        table = rank(entries, metric, costs)
        return BakeOff(SUITE, table, table_csv(table))

    # --- who takes part ----------------------------------------------------------------------

    def _entrant(self, one: Candidate) -> _Entrant:
        with self._context.store.reads() as reads:
            if one.trial is not None:
                row = trial_row(reads, one.trial, BUYER)
                return self._of_release(reads, one, row.release, one.trial)
            if one.release is not None:
                return self._of_release(reads, one, one.release, None)
            assert one.artifact is not None
            what = Named(one.artifact, None)
            target = target_of(reads, self._content, self._context.identity, what)
            price, title = None, one.artifact.hex()[:_SHOWN_DIGITS]
            if target.release is not None:
                price, title = _from_listing(reads, target.release)
            return _Entrant(one.name or title, _wanted(target), target, None, price, "")

    def _of_release(
        self, held: Repositories, one: Candidate, release: bytes, trial: bytes | None
    ) -> _Entrant:
        subject = subject_of(held, self._content, release)
        price, title = _from_listing(held, subject.release)
        wanted = wanted_of(subject.card, subject.task, subject.artifact)
        if trial is not None:
            return _Entrant(one.name or title, wanted, None, trial, price, "")
        artifact, relation = subject.artifact, ""
        if one.is_open:
            edition = subject.card.trial.open
            if edition is None or edition.artifact is None:
                raise TrialRefused("not_offered")
            artifact, relation = edition.artifact, edition.relation or ""
        what = Named(artifact, None if one.is_open else subject.release)
        target = target_of(held, self._content, self._context.identity, what)
        if target.card is not None and target.card.signature.inputs:
            wanted = _wanted(target)
        return _Entrant(one.name or title, wanted, target, None, price, relation)

    # --- running -----------------------------------------------------------------------------

    def _entry(
        self, entrant: _Entrant, dataset: DataSet, metric: str, control: Control
    ) -> BakeOffEntry:
        """Run one candidate; what it fails by is a word of the table."""
        failure, judged, p50_ns, peak = "", None, None, None
        try:
            with self._source(entrant, control) as source:
                judged, p50_ns, peak = self._measure(source, entrant, dataset, metric, control)
        except WorkerFailed as error:
            if error.kind == "cancelled":
                raise
            failure = f"worker_{error.kind}"
        except TrialSpent as error:
            failure = f"trial_{error.limit}"
        except OutputsUnusable:
            failure = "outputs"
        except ObjectMissing:
            failure = "missing"
        return BakeOffEntry(
            name=entrant.name,
            judged=judged,
            p50_ns=p50_ns,
            peak_rss_bytes=peak,
            price=entrant.price,
            relation=entrant.relation,
            failure=failure,
        )

    @contextmanager
    def _source(self, entrant: _Entrant, control: Control) -> Iterator[ModelSource]:
        if entrant.trial is not None:
            with self._sealed.memory_source(entrant.trial, control, certifying=False) as source:
                yield source
            return
        assert entrant.target is not None
        with self._content.work() as scratch:
            model = staged_model(entrant.target, scratch)
            if model is None:
                raise NoRunnableModel(artifact=entrant.target.artifact, formats=())
            yield model

    def _measure(
        self,
        source: ModelSource,
        entrant: _Entrant,
        dataset: DataSet,
        metric: str,
        control: Control,
    ) -> tuple[Judged, int, int]:
        """Return what the model answered, its median time for one row, and its peak memory."""
        with source.worker(self._runner, run_limits(source.size_bytes), control) as worker:
            source.load(worker, 1, control)
            ran = worker.evaluate(dataset.inputs, _BATCH, control)
            row = {name: array[:1] for name, array in dataset.inputs.items()}
            times = worker.bench(row, _BLOCK, control)
            usage = worker.close()
        plan = plan_quality(entrant.wanted, dataset, (metric,))
        judged = judge(dataset, ran.outputs, plan)
        return judged, nearest_rank(sorted(times.ns), _MEDIAN), usage.peak_rss_bytes


def _wanted(target: Target) -> Wanted:
    """Return what a model held here wants, as its card states it."""
    if target.card is None:
        raise NoRunnableModel(artifact=target.artifact, formats=())
    return wanted_of(target.card, target.task, target.artifact)


def _from_listing(held: Repositories, release: EntryId) -> tuple[Money | None, str]:
    """Return what a Release costs, and a name for it."""
    row = held.listings.release(release)
    listing = None if row is None else held.listings.get(row.listing)
    if row is None or listing is None:
        return None, release.hex()[:_SHOWN_DIGITS]
    price = listing.price_of(release)
    return None if price is None else total_of(price), f"{listing.title} {row.version}"
