"""``hanse run``: a model on one's own rows, from a file to a file, or line by line.

* The model runs in the locked Worker only; whatever is wrong with a row is said by its number.
* Without ``--output`` the first answers are shown; a file appears whole or not at all.
* With ``--stdin`` every line is answered by one line; standard output carries nothing else.
* What a person should know of a model for medicine stands beside its answers, every time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.app.answers import Answer
from hanse.app.columns import harmless
from hanse.app.columns import table as set_in_columns
from hanse.app.command_line import MissingValue
from hanse.app.commands.certify_typed import data_mapping
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.peer import ExcludeEachOther
from hanse.app.commands.showing import named
from hanse.app.progress import long_work
from hanse.core.certify.data import MappingNeeded
from hanse.core.certify.data.run_sinks import OUT_OF_RANGE, check_output
from hanse.core.engine.running import RunRequest
from hanse.core.errors import EXIT_NO, HanseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.running import Runnable, RunReport, StreamReport

EDITION: Final = "open:"  # before a Release: its edition to try
_ROWS_SHOWN: Final = 20
_THREADS_MOST: Final = 64


class SomeLinesFailed(HanseError):
    """Not every line of a stream could be answered by the model."""

    code = "run.lines_failed"
    text = "{failed} of {lines} lines failed"
    fields = ("failed", "lines")
    exit_code = EXIT_NO


def run(
    desk: Desk,
    *,
    model: str | None,
    trial: str | None,
    path: Path | None,
    output: Path | None,
    stdin: bool,
    stateful: bool,
    mapping_file: Path | None,
    input_columns: Sequence[str],
    raw: bool,
    threads: int,
    force: bool,
) -> Answer:
    """Run a model on a file of rows, or on lines as they come."""
    _check_options(desk, model, trial, path, output, is_stream=stdin)
    if output is not None:
        check_output(output)
        if not force:
            refuse_existing(output)
    request = RunRequest(
        mapping=data_mapping(mapping_file, inputs=input_columns),
        is_raw=raw,
        is_stateful=stateful,
        threads=max(1, min(threads, _THREADS_MOST)),
    )
    with _opened(desk, trial) as engine:
        what = _runnable(engine, model, trial)
        if model is not None and model.startswith(EDITION):
            desk.tell("trial.honest.open")
        _tell_beside(desk, what)
        try:
            if stdin:
                return _stream(desk, engine, what, request)
            assert path is not None
            return _file(desk, engine, what, request, path, output)
        except MappingNeeded:
            desk.tell("run.how_to_map")
            raise


def _check_options(
    desk: Desk,
    model: str | None,
    trial: str | None,
    path: Path | None,
    output: Path | None,
    *,
    is_stream: bool,
) -> None:
    if model is None and trial is None:
        raise MissingValue(name=desk.say("metavar.artifact"))
    both = (
        (model is not None and trial is not None, desk.say("metavar.artifact"), "--trial"),
        (is_stream and path is not None, "--stdin", "--input"),
        (is_stream and output is not None, "--stdin", "--output"),
        (is_stream and desk.is_json, "--stdin", "--json"),
    )
    for is_wrong, one, other in both:
        if is_wrong:
            raise ExcludeEachOther(one=one, other=other)
    if not is_stream and path is None:
        raise MissingValue(name="--input")


def _opened(desk: Desk, trial: str | None) -> AbstractContextManager[Engine]:
    """Open the Account to look at it; a trial counts its runs, which is written."""
    return desk.reading() if trial is None else desk.unlocked()


def _runnable(engine: Engine, model: str | None, trial: str | None) -> Runnable:
    if trial is not None:
        return engine.running.of_trial(engine.trials.named(trial)[0])
    assert model is not None
    if model.startswith(EDITION):
        offer = engine.trials.offer(model.removeprefix(EDITION))
        return engine.running.of_edition(offer.release)
    return engine.running.named(model)


def _tell_beside(desk: Desk, what: Runnable) -> None:
    """Say what a person should know before the answers."""
    if what.trial is not None:
        desk.tell("trial.honest.sealed_buyer")
    if what.notice:
        desk.tell("run.beside", model=what.name, notice=desk.say(what.notice))
        for code, text in (
            ("run.limitations", what.limitations),
            ("run.out_of_scope", what.out_of_scope),
        ):
            if text:
                desk.tell(code, text=text)


def _notice(desk: Desk, what: Runnable) -> str:
    return desk.say(what.notice) if what.notice else ""


# --- a file ---------------------------------------------------------------------------------


def _file(
    desk: Desk,
    engine: Engine,
    what: Runnable,
    request: RunRequest,
    path: Path,
    output: Path | None,
) -> Answer:
    notice = _notice(desk, what)
    with long_work(desk) as progress:
        report = engine.running.run_file(what, path, request, progress.control, output, notice)
    for note in report.notes:
        desk.tell(note.code, column=note.column, count=note.count)
    if report.isolation != "full":
        desk.tell("run.limits_only")
    result: dict[str, object] = {
        "model": what.name,
        "artifact": what.artifact,
        "release": what.release,
        "trial": what.trial,
        "notice": notice or None,
        "limitations": what.limitations or None,
        "file": output,
        "n": report.n,
        "out_of_range": report.outside,
        "model_ns": report.ns,
        "runtime": report.runtime,
        "isolation": report.isolation,
        "runs_used": report.runs_used,
        "runs_most": report.runs_most,
    }
    if output is None:
        result["rows"] = report.rows
    return Answer(result, _lines(desk, what, report, output))


def _lines(desk: Desk, what: Runnable, report: RunReport, output: Path | None) -> list[str]:
    lines: list[str] = []
    if output is None:
        lines += _table(desk, report.rows[:_ROWS_SHOWN])
        if report.n > _ROWS_SHOWN:
            lines += ["", desk.say("run.more", count=report.n - _ROWS_SHOWN)]
        lines.append("")
    else:
        lines += [desk.say("run.written", path=output), ""]
    values: dict[str, object] = {
        "model": what.name,
        "rows": report.n,
        "out_of_range": report.outside,
        "per_row": desk.say("run.microseconds", value=report.ns // max(1, report.n) // 1000),
    }
    lines += named(desk, values)
    lines += _left(desk, report)
    if report.outside:
        lines += ["", desk.say("run.outside", count=report.outside)]
    return lines


def _left(desk: Desk, report: RunReport | StreamReport) -> Iterator[str]:
    if report.runs_most is not None:
        left = report.runs_most - report.runs_used
        yield desk.say("run.runs_left", left=left, most=report.runs_most)


def _table(desk: Desk, rows: Sequence[Mapping[str, object]]) -> Sequence[str]:
    """Set answers in a table, each value as short as it reads."""
    names: dict[str, None] = {}
    flat = []
    for row in rows:
        cells: dict[str, str] = {}
        for name, value in row.items():
            if name == "outputs" and isinstance(value, dict):
                cells |= {str(one): _cell(it) for one, it in value.items()}
            elif name != "scores":
                cells[name] = _cell(value)
        names |= dict.fromkeys(cells)
        flat.append(cells)
    order = [one for one in names if one != OUT_OF_RANGE]
    known = [one for one in ("answer", "score") if one in order]
    others = [one for one in order if one not in known]
    marked = [OUT_OF_RANGE] if OUT_OF_RANGE in names else []
    table = [
        [str(number), *(cells.get(one, "") for one in (*known, *others, *marked))]
        for number, cells in enumerate(flat, start=1)
    ]
    heads = [desk.say(f"label.{one}") for one in ("row", *known)]
    heads += [*map(harmless, others), *(desk.say(f"label.{one}") for one in marked)]
    return set_in_columns(heads, table)


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return msgspec.json.encode(value).decode()


# --- a stream -------------------------------------------------------------------------------


def _stream(desk: Desk, engine: Engine, what: Runnable, request: RunRequest) -> Answer:
    def write(lines: Sequence[bytes]) -> None:
        desk.console.out("\n".join(map(_harmless, lines)))

    def describe(error: HanseError) -> str:
        return desk.say(error.code, **error.values)

    with long_work(desk) as progress:
        progress.control.report = lambda *_: None  # lines are the progress
        report = engine.running.run_stream(
            what,
            desk.console.lines(),
            request,
            progress.control,
            write,
            describe,
            _notice(desk, what),
        )
    desk.tell("run.stream_done", lines=report.lines, outside=report.outside)
    for line in _left(desk, report):
        desk.console.err(line)
    if not report.failed:
        return Answer(report)
    refusal = SomeLinesFailed(failed=report.failed, lines=report.lines)
    desk.tell(refusal.code, **refusal.values)
    return Answer(report, (), refusal)


def _harmless(line: bytes) -> str:
    """Return a line of JSON as it can be printed; what could not goes as escapes."""
    text = line.decode()
    if harmless(text) == text:
        return text
    return json.dumps(msgspec.json.decode(line))
