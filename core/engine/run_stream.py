"""A stream of rows as JSON: line in, line out, in order, as they come.

* What is there already is run together; nothing waits for a batch to fill.
* A line that cannot be used is answered by what is wrong with it, and ends nothing.
* An ``id`` that a row brings along stands in its answer.

Where lines come from and go to is the caller's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from hanse.core.certify.data.run_rows import RowRefused
from hanse.core.certify.data.run_sinks import row_object
from hanse.core.certify.data.run_sources import read_json
from hanse.core.errors import HanseError, WrongUse
from hanse.core.limits import RUN_LINE_SIZE_BYTES_MAX
from hanse.core.model.control import Cancelled
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.certify.data.run_answers import AnswerReader
    from hanse.core.certify.data.run_rows import JsonRows
    from hanse.core.engine.run_session import RunSession
    from hanse.core.model.control import Control

_REFUSED: Final = "refused"


class LineTooLong(WrongUse):
    """One line of a stream is longer than a row may be."""

    code = "run.line_too_long"
    text = "line {line} has {found} bytes, limit {most}"
    fields = ("line", "found", "most")


class LineSource(Protocol):
    """Lines that come one after the other, now or later."""

    def take(self, most: int, control: Control) -> Sequence[bytes]:
        """Wait for a line and return those that are there, at most so many; none at the end."""
        ...


class StreamAnswers:
    """Answers lines, some at a time, in their order."""

    def __init__(
        self,
        session: RunSession,
        rows: JsonRows,
        reader: AnswerReader,
        describe: Callable[[HanseError], str],
        notice: str,
    ) -> None:
        """Take a loaded model, and how its rows are read and its answers told."""
        self._session = session
        self._rows = rows
        self._reader = reader
        self._describe = describe
        self._notice = {"notice": notice} if notice else {}
        self.lines = self.failed = self.outside = 0

    def answer(self, lines: Sequence[bytes], control: Control) -> list[bytes]:
        """Return one line of JSON for each line."""
        first = self.lines + 1
        self.lines += len(lines)
        answers: dict[int, dict[str, object]] = {}
        values: list[tuple[int, object]] = []
        for number, line in enumerate(lines, start=first):
            try:
                values.append((number, _value_of(line, number)))
            except (RowRefused, LineTooLong) as error:
                answers[number] = self._refusal(number, error)
        waiting = deque([values] if values else [])
        while waiting:
            some = waiting.popleft()
            try:
                answers.update(self._run(some, control))
            except WorkerFailed as error:
                if error.kind != _REFUSED:
                    raise
                fault: HanseError = error
            except Cancelled:
                raise
            except HanseError as error:
                fault = error
            else:
                continue
            if len(some) > 1:  # one of them is at fault: each by itself says which
                waiting.extendleft([one] for one in reversed(some))
            else:
                number, value = some[0]
                answers[number] = {**_id_of(value), **self._refusal(number, fault)}
        return [msgspec.json.encode(answers[number]) for number in sorted(answers)]

    def _run(
        self, some: Sequence[tuple[int, object]], control: Control
    ) -> dict[int, dict[str, object]]:
        rows = self._rows.read([value for _, value in some], some[0][0])
        outputs = self._session.run(rows.inputs, rows.n, control)
        answers = self._reader.read(outputs, rows.n).objects()
        self.outside += sum(1 for one in rows.outside if one)
        return {
            number: {**_id_of(value), **row_object(answer, outside), **self._notice}
            for (number, value), answer, outside in zip(some, answers, rows.outside, strict=True)
        }

    def _refusal(self, line: int, error: HanseError) -> dict[str, object]:
        self.failed += 1
        return {"error": self._describe(error), "code": error.code, "line": line}


def _value_of(line: bytes, number: int) -> object:
    if len(line) > RUN_LINE_SIZE_BYTES_MAX:
        raise LineTooLong(line=number, found=len(line), most=RUN_LINE_SIZE_BYTES_MAX)
    return read_json(line, number)


def _id_of(value: object) -> dict[str, object]:
    """Return what a program names its own row by."""
    if isinstance(value, dict) and isinstance(value.get("id"), str | int):
        return {"id": value["id"]}
    return {}
