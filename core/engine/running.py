"""Running a model on a person's own rows: in the locked Worker, and nowhere else.

* What runs is an Artifact whose plain files are here, by Release, Listing, Draft or its own id;
  or a Sealed local trial that was granted, which counts one run for each opening.
* Rows are read, run and written some at a time, so that their number does not matter; a file
  of answers appears whole or not at all.
* A stream is answered line by line, in order: what is there already is run together, and a bad
  line is answered by what is wrong with it.
* A recurrent model begins anew with each row, unless its rows are the steps of one sequence.
* What is wrong with the first rows is found before a run of a trial is counted.
* A model for medicine says beside every answer that it supports a decision and does not take it.

How rows become tensors, and outputs answers, is ``hanse.core.certify.data``'s.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from hanse.core.certify.data.dataset import Wanted
from hanse.core.certify.data.image_folder import list_pictures
from hanse.core.certify.data.run_answers import AnswerReader
from hanse.core.certify.data.run_rows import JsonRows, rows_wanted
from hanse.core.certify.data.run_sinks import check_output, open_sink, row_object
from hanse.core.certify.data.run_sources import are_pictures, open_source
from hanse.core.certify.inspecting import inspect_limits
from hanse.core.certify.staging import staged
from hanse.core.durable import write_durably_with
from hanse.core.engine.certify_target import Named, named, staged_model, target_of
from hanse.core.engine.kept_draft import decode_kept
from hanse.core.engine.run_session import NoStates, RunSession
from hanse.core.engine.run_stream import StreamAnswers
from hanse.core.engine.trying.data import wanted_of
from hanse.core.engine.trying.records import BUYER, trial_row
from hanse.core.engine.trying.subject import NoRunnableModel, run_limits, subject_of
from hanse.core.model.running import Stage
from hanse.core.trade.trial_rules import TrialRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hanse.core.certify.data.dataset import DataNote, ReadImages
    from hanse.core.certify.data.mapping import DataMapping
    from hanse.core.certify.data.run_answers import Answers
    from hanse.core.certify.data.run_rows import RunRows
    from hanse.core.certify.data.run_sources import RunSource
    from hanse.core.certify.source import ModelSource
    from hanse.core.engine.certify_target import Target
    from hanse.core.engine.content import Content
    from hanse.core.engine.context import Context
    from hanse.core.engine.run_stream import LineSource
    from hanse.core.engine.trying.sealed import SealedRuns
    from hanse.core.errors import HanseError
    from hanse.core.model.card import ModelCard
    from hanse.core.model.control import Control
    from hanse.core.model.running import ModelRunner
    from hanse.core.store.unit_of_work import Repositories

NOTICE_MEDICAL: Final = "run.notice.medical"
ROWS_KEPT: Final = 1000  # of answers that go to no file
_CPU_SECONDS: Final = 30 * 24 * 60 * 60  # a stream may run for weeks; each question has its wall
_WALL_SECONDS: Final = 600.0  # of some rows; whoever waits sees how far it is, and can end it
_SHOWN_DIGITS: Final = 12
_MEDICAL: Final = "medical"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Runnable:
    """What is run, and what a person should know of it beside every answer.

    ``notice`` is the code of a sentence, empty where there is none; ``limitations`` and
    ``out_of_scope`` are the seller's words.  ``runs_used`` is of a sealed trial.
    """

    name: str
    artifact: bytes
    release: bytes | None = None
    trial: bytes | None = None
    sectors: tuple[str, ...] = ()
    limitations: str = ""
    out_of_scope: str = ""
    runs_used: int = 0
    runs_most: int | None = None
    target: Target | None = field(default=None, repr=False)
    card: ModelCard | None = field(default=None, repr=False)
    task: str = ""

    @property
    def notice(self) -> str:
        """Return the code of the notice."""
        return NOTICE_MEDICAL if _MEDICAL in self.sectors else ""

    @property
    def states(self) -> tuple[tuple[str, str], ...]:
        """Return the outputs that are fed back, each with its input."""
        pairs = () if self.card is None else self.card.signature.states
        return tuple((one.output, one.input) for one in pairs)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """How rows are read and answers told; ``is_raw`` leaves the steps behind the model out.

    With ``is_stateful`` the rows are steps of one sequence, and states go from one to the next.
    """

    mapping: DataMapping | None = None
    is_raw: bool = False
    is_stateful: bool = False
    threads: int = 1


@dataclass(frozen=True, slots=True)
class RunReport:
    """What came of a run; ``rows`` holds the first answers where they went to no file.

    ``outside`` counts rows with a value out of range.  ``ns`` is the time in the model itself.
    """

    n: int
    outside: int
    ns: int
    notes: tuple[DataNote, ...]
    isolation: str
    runtime: str
    runs_used: int = 0
    runs_most: int | None = None
    rows: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What came of a stream: lines answered, and those of them by an error."""

    lines: int
    failed: int
    outside: int
    ns: int
    isolation: str
    runs_used: int = 0
    runs_most: int | None = None


class Running:
    """Models of this folder on a person's own rows."""

    def __init__(
        self, context: Context, content: Content, runner: ModelRunner, sealed: SealedRuns
    ) -> None:
        """Bind the Account, its files, what starts Workers, and its sealed trials."""
        self._context = context
        self._content = content
        self._runner = runner
        self._sealed = sealed

    def named(self, text: str) -> Runnable:
        """Return what a person means by the first digits of an id, or raise what is wrong."""
        with self._context.store.reads() as reads:
            target = target_of(reads, self._content, self._context.identity, named(reads, text))
            name, sectors = _words_of(reads, target)
        return _runnable(target, name, sectors, target.card, target.task)

    def of_edition(self, release: bytes) -> Runnable:
        """Return the open edition of a Release; where it has no card of its own, the full one's."""
        with self._context.store.reads() as reads:
            subject = subject_of(reads, self._content, release)
            edition = subject.card.trial.open
            if edition is None or edition.artifact is None:
                raise TrialRefused("not_offered")
            what = Named(edition.artifact, None)
            target = target_of(reads, self._content, self._context.identity, what)
            listing = reads.listings.get(subject.row.listing)
        card = target.card
        if card is None or not card.signature.inputs:
            card = subject.card
        title = "" if listing is None else listing.title
        name = f"{title} {subject.row.version} ({edition.relation or 'trial'})".strip()
        sectors = () if listing is None else listing.sectors
        return _runnable(target, name, sectors, card, target.task or subject.task)

    def of_trial(self, trial: bytes) -> Runnable:
        """Return what a sealed trial opens; nothing is counted yet."""
        with self._context.store.reads() as reads:
            row = trial_row(reads, trial, BUYER)
            subject = subject_of(reads, self._content, row.release)
            listing = reads.listings.get(row.listing)
        title = "" if listing is None else listing.title
        return Runnable(
            name=f"{title} {subject.row.version}".strip(),
            artifact=subject.artifact,
            release=subject.release,
            trial=row.trial,
            sectors=() if listing is None else listing.sectors,
            limitations=subject.card.use.limitations,
            out_of_scope=subject.card.use.out_of_scope,
            runs_used=row.runs_used,
            runs_most=row.runs_max,
            card=subject.card,
            task=subject.task,
        )

    # --- files -------------------------------------------------------------------------------

    def run_file(
        self,
        what: Runnable,
        path: Path,
        request: RunRequest,
        control: Control,
        output: Path | None = None,
        notice: str = "",
    ) -> RunReport:
        """Run every row of ``path``, and write the answers to ``output`` or keep the first.

        ``notice`` is the sentence of the notice, which stands in JSON.  Raises what is wrong with
        a row, ``WorkerFailed``, ``OutputsUnusable``; then no file is made.
        """
        if output is None:
            kept: list[dict[str, object]] = []

            def keep(rows: RunRows, answers: Answers) -> None:
                if len(kept) < ROWS_KEPT:
                    found = zip(rows.given, answers.objects(), rows.outside, strict=True)
                    kept.extend(
                        {**_file_of(given), **row_object(one, outside)}
                        for given, one, outside in found
                    )

            report = self._run(what, path, request, control, lambda _: (keep, _nothing))
            return replace(report, rows=tuple(kept[:ROWS_KEPT]))
        check_output(output)
        head: dict[str, object] = {"model": what.name, "artifact": what.artifact.hex()}
        if notice:
            head["notice"] = notice

        def write(stream: BinaryIO) -> RunReport:
            def opened(source: RunSource) -> _Ends:
                sink = open_sink(output, stream, source.columns, head)
                return sink.write, sink.close

            return self._run(what, path, request, control, opened)

        return write_durably_with(output, write)

    def _run(
        self,
        what: Runnable,
        path: Path,
        request: RunRequest,
        control: Control,
        open_ends: Callable[[RunSource], _Ends],
    ) -> RunReport:
        _check_states(what, request)
        n = outside = 0
        with ExitStack() as stack:
            read_images = stack.enter_context(self._images(path, control))
            model = stack.enter_context(self._model(what, control))

            def source_for(wanted: Wanted) -> RunSource:
                rows = rows_wanted(wanted, (one for _, one in what.states))
                return open_source(path, rows, request.mapping, control, read_images)

            source = batches = None
            if what.card is not None and what.trial is not None:
                # Found out before the run is counted: what is wrong with the first rows.
                source = source_for(wanted_of(what.card, what.task, what.artifact))
                batches = _peeked(source.batches(control))
            session = stack.enter_context(self._session(what, model, request, control))
            if source is None or batches is None:
                source = source_for(session.wanted)
                batches = source.batches(control)
            reader = _reader(what, session.wanted, request)
            write, close = open_ends(source)
            for rows in batches:
                outputs = session.run(rows.inputs, rows.n, control)
                write(rows, reader.read(outputs, rows.n))
                n += rows.n
                outside += sum(1 for one in rows.outside if one)
            close()
            return RunReport(
                n=n,
                outside=outside,
                ns=session.ns,
                notes=source.notes,
                isolation=session.isolation,
                runtime=session.runtime,
                runs_used=self._used(what),
                runs_most=what.runs_most,
            )

    # --- streams -----------------------------------------------------------------------------

    def run_stream(
        self,
        what: Runnable,
        lines: LineSource,
        request: RunRequest,
        control: Control,
        write: Callable[[Sequence[bytes]], None],
        describe: Callable[[HanseError], str],
        notice: str = "",
    ) -> StreamReport:
        """Answer every line in order, one JSON object each; ``write`` gets them as they come.

        ``describe`` makes the sentence of an error; a line that cannot be used is answered by it
        and ends nothing.  Raises what ends the Worker.
        """
        _check_states(what, request)
        with self._model(what, control) as model:
            first = lines.take(1, control)  # before a run is counted
            with self._session(what, model, request, control, is_stream=True) as session:
                wanted = rows_wanted(session.wanted, (one for _, one in what.states))
                stream = StreamAnswers(
                    session,
                    JsonRows(wanted, request.mapping),
                    _reader(what, session.wanted, request),
                    describe,
                    notice,
                )
                some = first
                while some:
                    write(stream.answer(some, control))
                    some = lines.take(session.rows_at_once, control)
                return StreamReport(
                    lines=stream.lines,
                    failed=stream.failed,
                    outside=stream.outside,
                    ns=session.ns,
                    isolation=session.isolation,
                    runs_used=self._used(what),
                    runs_most=what.runs_most,
                )

    # --- models ------------------------------------------------------------------------------

    @contextmanager
    def _model(self, what: Runnable, control: Control) -> Iterator[ModelSource | None]:
        """Give a model whose files are here; a sealed one is opened with its session."""
        if what.target is None:
            yield None
            return
        control.checkpoint("prepare", 0, 1)
        with self._content.work() as scratch:
            model = staged_model(what.target, scratch)
            if model is None:
                formats = (
                    () if what.card is None else tuple(one.format for one in what.card.variants)
                )
                raise NoRunnableModel(artifact=what.artifact, formats=formats)
            yield model

    @contextmanager
    def _session(
        self,
        what: Runnable,
        model: ModelSource | None,
        request: RunRequest,
        control: Control,
        *,
        is_stream: bool = False,
    ) -> Iterator[RunSession]:
        with ExitStack() as stack:
            if model is None:
                assert what.trial is not None
                model = stack.enter_context(
                    self._sealed.memory_source(what.trial, control, certifying=False)
                )
            limits = replace(
                run_limits(model.size_bytes, request.threads),
                cpu_seconds=_CPU_SECONDS,
                wall_seconds=_WALL_SECONDS,
            )
            worker = stack.enter_context(model.worker(self._runner, limits, control))
            loaded = model.load(worker, request.threads, control)
            wanted = Wanted(loaded.inputs, loaded.outputs, what.card, what.task)
            yield RunSession(
                worker,
                loaded,
                wanted,
                what.states,
                is_stateful=request.is_stateful,
                is_stream=is_stream,
            )

    @contextmanager
    def _images(self, path: Path, control: Control) -> Iterator[ReadImages | None]:
        """Give what decodes pictures, in a Worker that sees nothing else."""
        if not are_pictures(path):
            yield None
            return
        images = list_pictures(path, control)
        size = max(one.path.stat().st_size for one in images)
        with (
            self._content.work() as scratch,
            staged({one.name: one.path for one in images}, scratch, (), control) as folder,
        ):
            worker = self._runner.start(Stage(folder), inspect_limits(size), "run")
            try:
                yield worker.read_images
            finally:
                worker.close()

    def _used(self, what: Runnable) -> int:
        if what.trial is None:
            return 0
        with self._context.store.reads() as reads:
            return trial_row(reads, what.trial, BUYER).runs_used


_Ends = tuple["Callable[[RunRows, Answers], None]", "Callable[[], None]"]


def _runnable(
    target: Target, name: str, sectors: tuple[str, ...], card: ModelCard | None, task: str
) -> Runnable:
    return Runnable(
        name=name,
        artifact=target.artifact,
        release=target.release,
        sectors=sectors,
        limitations="" if card is None else card.use.limitations,
        out_of_scope="" if card is None else card.use.out_of_scope,
        target=target,
        card=card,
        task=task,
    )


def _check_states(what: Runnable, request: RunRequest) -> None:
    if request.is_stateful and not what.states:
        raise NoStates(model=what.name)


def _reader(what: Runnable, wanted: Wanted, request: RunRequest) -> AnswerReader:
    states = (output for output, _ in what.states)
    return AnswerReader(wanted, request.mapping, raw=request.is_raw, left_out=states)


def _file_of(given: Mapping[str, object]) -> dict[str, object]:
    """Return what a picture is named by."""
    return {"file": given["file"]} if tuple(given) == ("file",) else {}


def _nothing() -> None:
    """End nothing."""


def _peeked(batches: Iterator[T]) -> Iterator[T]:
    """Read the first of ``batches`` now, and give it again."""
    first = next(batches, None)

    def both() -> Iterator[T]:
        if first is not None:
            yield first
            yield from batches

    return both()


def _words_of(held: Repositories, target: Target) -> tuple[str, tuple[str, ...]]:
    """Return a name for an Artifact, and the sectors it is offered in."""
    if target.listing is not None and target.release is not None:
        listing, release = held.listings.get(target.listing), held.listings.release(target.release)
        if listing is not None and release is not None:
            return f"{listing.title} {release.version}", listing.sectors
    for row in held.drafts.of_artifact(target.artifact):
        draft = decode_kept(row.data)[0]
        return draft.title or target.artifact.hex()[:_SHOWN_DIGITS], draft.sectors
    return target.artifact.hex()[:_SHOWN_DIGITS], ()
